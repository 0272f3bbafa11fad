//! A text in which escapes are read as what they spell.
#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;

use super::Nested;
use super::find::{self, Escape, Kind};
use super::source::{Source, is_label};
use crate::mask::FILL;
use crate::ruleset::Ruleset;
use crate::stream::{Event, Scratch, Sink};

/// Escapes whose places are remembered, to tell which labels have one in them.
const ESCAPES_MAX: usize = 4096;

/// The reading.
#[derive(Clone, Debug)]
pub(super) struct Escaped {
    child: Nested,
    map: Map,
    /// Bytes of the child since the last escape.
    since: u64,
    /// Room for what the escapes of a piece spell.
    decoded: Vec<u8>,
}

/// How bytes of the child, which it has not decided, lie in the text.
#[derive(Clone, Debug)]
struct Map {
    parts: VecDeque<Part>,
    /// Of the escape read last.
    kind: Kind,
    /// Replacements are as long as what they replace: what stands for the child's bytes that are masked next.
    fill: Option<Vec<u8>>,
    /// Where in the child the latest escapes are.
    escapes: VecDeque<u64>,
    /// Where the child's next byte is.
    at: u64,
}

#[derive(Clone, Debug)]
struct Part {
    /// Bytes of the child that are left.
    left: u64,
    escape: Option<(Kind, u64)>,
}

impl Escaped {
    /// `child`: as the text has been read so far; `held`: bytes of that which are not decided. An escape comes next.
    pub(super) fn new(child: Nested, held: u64, kind: Kind, fill: bool) -> Escaped {
        let mut map = Map {
            parts: VecDeque::new(),
            kind,
            fill: fill.then(Vec::new),
            escapes: VecDeque::new(),
            at: child.at - held,
        };
        map.plain(held);
        Escaped { child, map, since: 0, decoded: Vec::new() }
    }

    /// Takes the next bytes of the text; no escape is cut by their end.
    pub(super) fn push(
        &mut self,
        scratch: &mut Scratch,
        bytes: &[u8],
        source: &mut Source,
        ruleset: &Ruleset,
        sink: &mut dyn Sink,
    ) {
        let mut decoded = std::mem::take(&mut self.decoded);
        decoded.clear();
        self.child.forget_spelled();
        let mut from = 0;
        while let Some((at, Some(escape))) = find::next_escape(bytes, from, true) {
            self.plain(bytes.get(from..at).unwrap_or_default(), &mut decoded);
            self.escape(&escape, &mut decoded);
            from = at + escape.len;
        }
        self.plain(bytes.get(from..).unwrap_or_default(), &mut decoded);
        self.child.push(scratch, &decoded, &mut EscapedSink { map: &mut self.map, source, ruleset, sink });
        self.decoded = decoded;
    }

    fn plain(&mut self, bytes: &[u8], decoded: &mut Vec<u8>) {
        self.map.plain(bytes.len() as u64);
        self.since += bytes.len() as u64;
        decoded.extend_from_slice(bytes);
    }

    fn escape(&mut self, escape: &Escape, decoded: &mut Vec<u8>) {
        let left = escape.decoded().len() as u64;
        self.map.parts.push_back(Part { left, escape: Some((escape.kind, escape.len as u64)) });
        self.since = 0;
        if self.map.escapes.len() == ESCAPES_MAX {
            self.map.escapes.pop_front();
        }
        self.map.escapes.push_back(self.map.at);
        self.child.spelled.extend(self.map.at..self.map.at + left);
        self.map.at += left;
        decoded.extend_from_slice(escape.decoded());
    }

    /// The text ends.
    pub(super) fn finish(
        &mut self,
        scratch: &mut Scratch,
        source: &mut Source,
        ruleset: &Ruleset,
        sink: &mut dyn Sink,
    ) {
        self.child.finish(scratch, &mut EscapedSink { map: &mut self.map, source, ruleset, sink });
        source.end_edit();
    }

    /// How many bytes ago the text was last spelled otherwise, if nothing of that can matter any more.
    pub(super) fn is_over(&self) -> Option<u64> {
        self.child.is_settled(self.since).then_some(self.since)
    }
}

impl Map {
    fn plain(&mut self, len: u64) {
        self.at += len;
        match self.parts.back_mut() {
            _ if len == 0 => {}
            Some(Part { left, escape: None }) => *left += len,
            _ => self.parts.push_back(Part { left: len, escape: None }),
        }
    }
}

struct EscapedSink<'a> {
    map: &'a mut Map,
    source: &'a mut Source,
    ruleset: &'a Ruleset,
    sink: &'a mut dyn Sink,
}

impl EscapedSink<'_> {
    /// The child has decided `len` bytes.
    fn advance(&mut self, mut len: u64, masked: bool) {
        while len > 0 {
            let Some(part) = self.map.parts.front_mut() else { return };
            let now = len.min(part.left);
            part.left -= now;
            len -= now;
            let (step, to) = match part.escape {
                None => (now, self.source.at + now),
                Some((_, spelled)) if part.left == 0 => (spelled, self.source.at + spelled),
                Some((_, spelled)) => (0, self.source.at + spelled),
            };
            if masked && let Some(edit) = self.source.edit(self.source.at) {
                if let Some(fill) = &mut self.map.fill {
                    let new = fill.drain(..fill.len().min(now as usize));
                    if part.escape.is_none() {
                        edit.new.extend(new);
                    }
                    let len = (to.max(edit.to) - edit.from) as usize;
                    edit.new.resize(len.max(edit.new.len()), FILL);
                }
                edit.to = edit.to.max(to);
            }
            self.source.at += step;
            if part.left == 0 {
                self.map.kind = part.escape.map_or(self.map.kind, |(kind, _)| kind);
                self.map.parts.pop_front();
            }
        }
    }
}

impl Sink for EscapedSink<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        self.source.end_edit();
        self.advance(bytes.len() as u64, false);
    }

    fn emit(&mut self, bytes: &[u8]) {
        if let Some(fill) = &mut self.map.fill {
            fill.extend_from_slice(bytes);
            return;
        }
        let kind = self.map.kind;
        if let Some(edit) = self.source.edit(self.source.at) {
            write(kind, bytes, &mut edit.new);
        }
    }

    fn skip(&mut self, len: usize) {
        self.advance(len as u64, true);
    }

    fn event(&mut self, event: &Event) {
        if !is_label(self.ruleset, event.rule) {
            if let Some(edit) = self.source.edits.back_mut() {
                edit.rules.push(event.rule);
                edit.done = true;
            }
        } else if event.input.is_empty() || self.map.escapes.iter().any(|at| event.input.contains(at)) {
            // What spells nothing the text's own stream tells as well.
            self.sink.event(&Event { rule: event.rule, input: 0..0, output: 0..0 });
        }
    }
}

/// Appends replacement text, spelled as the escapes around it are.
fn write(kind: Kind, bytes: &[u8], out: &mut Vec<u8>) {
    match kind {
        Kind::Percent => crate::format::form::encode(bytes, out),
        Kind::Backslash => crate::format::json::escape(bytes, out),
        Kind::Entity => {
            for &byte in bytes {
                match byte {
                    b'&' => out.extend_from_slice(b"&amp;"),
                    b'<' => out.extend_from_slice(b"&lt;"),
                    b'>' => out.extend_from_slice(b"&gt;"),
                    b'"' => out.extend_from_slice(b"&quot;"),
                    b'\'' => out.extend_from_slice(b"&#39;"),
                    _ => out.push(byte),
                }
            }
        }
    }
}
