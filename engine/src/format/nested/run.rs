//! A run of base64 characters, read as the bytes it spells.
//!
//! ```text
//!   characters   0  1  2  3 │ 4  5  6  7      A value of bytes [s, e) begins in character ⌊8s/6⌋. From there on the
//!   bytes        0   1   2  │ 3   4   5       characters are spelled anew, up to the end of the group of three bytes
//! ```
//! in which it ends. Spaces are added to the replacement where its length would move the bytes behind it out of their
//! groups, so that what is not masked stays spelled as it was. Line breaks lie between groups, and stay behind as many
//! characters of what stands for masked ones.
#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::ops::Range;

use super::Nested;
use super::find::{self, Bits, TEXT_LEN_MIN};
use super::source::{Edit, Source, is_label};
use crate::ruleset::Ruleset;
use crate::stream::{Event, Scratch, Sink};

/// The reading.
#[derive(Clone, Debug)]
pub(super) struct Run {
    child: Nested,
    bits: Bits,
    spelling: Spelling,
    /// Room for what characters spell.
    decoded: Vec<u8>,
}

/// How the run is written where a value is replaced.
#[derive(Clone, Debug)]
struct Spelling {
    /// Where the run begins in the text.
    start: u64,
    /// Bytes that the child has been given and has not decided.
    bytes: Vec<u8>,
    /// Bytes of the run that are decided.
    decided: u64,
    /// Characters so far, and the first one that only base64url has.
    chars: u64,
    url_from: Option<u64>,
    /// Line breaks: characters before them, and their bytes; those before are only counted.
    breaks: VecDeque<(u64, &'static [u8])>,
    break_bytes: u64,
    /// Decided bytes since the last boundary of a group, as they leave and as they came.
    new: Vec<u8>,
    old: u64,
    /// Characters of `new` that have left already.
    left: usize,
    is_dirty: bool,
    value: Value,
    fill: bool,
}

/// The value that is being replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Value {
    None,
    /// It is not known yet whether it counts: its bytes, and what stands for them.
    Begun(Vec<u8>, Vec<u8>),
    Counts,
    /// It is no text: it passes.
    Passes,
}

impl Run {
    pub(super) fn new(child: Nested, start: u64, fill: bool) -> Run {
        let spelling = Spelling {
            start,
            bytes: Vec::new(),
            decided: 0,
            chars: 0,
            url_from: None,
            breaks: VecDeque::new(),
            break_bytes: 0,
            new: Vec::new(),
            old: 0,
            left: 0,
            is_dirty: false,
            value: Value::None,
            fill,
        };
        Run { child, bits: Bits::default(), spelling, decoded: Vec::new() }
    }

    /// Takes the next characters.
    pub(super) fn push(&mut self, scratch: &mut Scratch, run: &[u8], source: &mut Source, ruleset: &Ruleset) {
        self.decoded.clear();
        let mut rest = run;
        while !rest.is_empty() {
            let len = find::run_len(rest);
            let (line, after) = rest.split_at(len);
            self.bits.decode(line, &mut self.decoded);
            self.spelling.line(line);
            let feed: &[u8] = match after {
                [] => b"",
                [b'\r', ..] => b"\r\n",
                _ => b"\n",
            };
            self.spelling.line_break(feed);
            rest = after.get(feed.len()..).unwrap_or_default();
        }
        self.spelling.bytes.extend_from_slice(&self.decoded);
        let mut sink = RunSink { spelling: &mut self.spelling, source, ruleset };
        self.child.push(scratch, &self.decoded, &mut sink);
    }

    /// Characters so far.
    pub(super) fn chars(&self) -> u64 {
        self.spelling.chars
    }

    /// The run ends.
    pub(super) fn finish(&mut self, scratch: &mut Scratch, source: &mut Source, ruleset: &Ruleset) {
        let mut sink = RunSink { spelling: &mut self.spelling, source, ruleset };
        self.child.finish(scratch, &mut sink);
        sink.end_value();
        sink.align();
        sink.flush(true);
        source.end_edit();
    }
}

impl Spelling {
    fn line(&mut self, line: &[u8]) {
        if self.url_from.is_none() {
            let url = memchr::memchr2(b'-', b'_', line);
            self.url_from = url.map(|at| self.chars + at as u64);
        }
        self.chars += line.len() as u64;
    }

    fn line_break(&mut self, bytes: &'static [u8]) {
        if !bytes.is_empty() {
            self.breaks.push_back((self.chars, bytes));
        }
    }

    /// Where in the text the character with this index lies, or the line break before it.
    fn place(&self, chars: u64) -> u64 {
        let breaks = self.breaks.iter().take_while(|(at, _)| *at < chars);
        self.start + chars + self.break_bytes + breaks.map(|(_, bytes)| bytes.len() as u64).sum::<u64>()
    }

    /// Forgets line breaks before the character with this index.
    fn forget(&mut self, chars: u64) {
        while let Some((_, bytes)) = self.breaks.front().filter(|(at, _)| *at < chars) {
            self.break_bytes += bytes.len() as u64;
            self.breaks.pop_front();
        }
    }

    /// Characters that stand for those in `range`, with its line breaks, but for the first `left` ones.
    fn with_breaks(&self, chars: &[u8], range: Range<u64>, left: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(chars.len());
        let mut from = left;
        for (at, bytes) in &self.breaks {
            // One before characters that have left has left too.
            if !range.contains(at) || (*at == range.start && left > 0) {
                continue;
            }
            let to = ((at - range.start) as usize).clamp(from, chars.len().max(from));
            out.extend_from_slice(chars.get(from..to).unwrap_or_default());
            out.extend_from_slice(bytes);
            from = to;
        }
        out.extend_from_slice(chars.get(from..).unwrap_or_default());
        out
    }
}

struct RunSink<'a> {
    spelling: &'a mut Spelling,
    source: &'a mut Source,
    ruleset: &'a Ruleset,
}

impl RunSink<'_> {
    /// The next bytes leave as they came.
    fn keep(&mut self, bytes: &[u8]) {
        let spelling = &mut *self.spelling;
        let mut rest = bytes;
        while spelling.is_dirty {
            let Some((&byte, tail)) = rest.split_first() else { break };
            spelling.new.push(byte);
            spelling.old += 1;
            spelling.decided += 1;
            rest = tail;
            if spelling.old.is_multiple_of(3) {
                self.flush(false);
                return self.keep(rest);
            }
        }
        let spelling = &mut *self.spelling;
        spelling.decided += rest.len() as u64;
        let behind = (spelling.decided % 3) as usize;
        if !spelling.is_dirty && !rest.is_empty() {
            if rest.len() >= behind {
                spelling.new.clear();
            }
            let from = rest.len().saturating_sub(behind);
            spelling.new.extend_from_slice(rest.get(from..).unwrap_or_default());
            let over = spelling.new.len().saturating_sub(behind);
            spelling.new.drain(..over);
            let at = spelling.place(find::chars_of(spelling.decided));
            spelling.forget(find::chars_of(spelling.decided - behind as u64));
            self.source.at = self.source.at.max(at);
        }
    }

    /// From here on the run is spelled anew.
    fn begin(&mut self) {
        let spelling = &mut *self.spelling;
        if !std::mem::replace(&mut spelling.is_dirty, true) {
            spelling.old = spelling.new.len() as u64;
            spelling.left = spelling.new.len();
            let at = spelling.place(find::chars_of(spelling.decided));
            self.source.end_edit();
            self.source.at = self.source.at.max(at);
            self.source.edits.push_back(Edit::at(self.source.at));
        }
    }

    /// Replacement text.
    fn write(&mut self, bytes: &[u8]) {
        self.begin();
        self.spelling.new.extend_from_slice(bytes);
    }

    fn drop_bytes(&mut self, len: u64) {
        self.begin();
        self.spelling.decided += len;
        self.spelling.old += len;
        self.flush(false);
    }

    /// Writes whole groups, and where the run ends what is left.
    fn flush(&mut self, last: bool) {
        let spelling = &mut *self.spelling;
        if !spelling.is_dirty {
            return;
        }
        let (old, mut new) = (spelling.old / 3 * 3, spelling.new.len() / 3 * 3);
        if spelling.fill {
            new = new.min(old as usize);
        }
        let group = spelling.decided - spelling.old;
        let (from, mut until) = (find::chars_of(group), find::chars_of(group + old));
        if last {
            until = find::chars_of(spelling.decided) + u64::from(!spelling.decided.is_multiple_of(3));
        }
        let to = spelling.place(until);
        let written = if last { spelling.new.len() } else { new };
        let is_url = spelling.url_from.is_some_and(|at| at < until);
        let mut chars = Vec::new();
        find::encode(spelling.new.get(..written).unwrap_or_default(), is_url, &mut chars);
        spelling.new.drain(..written.min(spelling.new.len()));
        spelling.old -= old;
        let left = spelling.left.min(chars.len());
        spelling.left -= left;
        if let Some(edit) = self.source.edits.back_mut().filter(|e| !e.done) {
            edit.new.extend(spelling.with_breaks(&chars, from..until, left));
            edit.to = edit.to.max(to);
            self.source.at = self.source.at.max(edit.to);
        }
        spelling.forget(until);
        let is_done = spelling.old == 0 && spelling.new.is_empty() && spelling.value == Value::None;
        if is_done || last {
            spelling.is_dirty = false;
            spelling.new.clear();
            spelling.left = 0;
            self.source.end_edit();
        }
    }

    /// What comes then lies in its groups as it did.
    fn align(&mut self) {
        let spelling = &mut *self.spelling;
        while spelling.is_dirty && !spelling.fill && spelling.new.len() as u64 % 3 != spelling.old % 3 {
            spelling.new.push(b' ');
        }
    }

    /// What was begun as a value is over, known or not.
    fn end_value(&mut self) {
        match std::mem::replace(&mut self.spelling.value, Value::None) {
            Value::Begun(bytes, _) => self.keep(&bytes),
            Value::None | Value::Counts | Value::Passes => {}
        }
    }
}

impl Sink for RunSink<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        self.end_value();
        self.spelling.bytes.drain(..bytes.len().min(self.spelling.bytes.len()));
        self.keep(bytes);
    }

    fn emit(&mut self, text: &[u8]) {
        match &mut self.spelling.value {
            Value::None => self.spelling.value = Value::Begun(Vec::new(), text.to_vec()),
            Value::Begun(_, new) => new.extend_from_slice(text),
            Value::Counts => self.write(text),
            Value::Passes => {}
        }
    }

    fn skip(&mut self, len: usize) {
        let len = len.min(self.spelling.bytes.len());
        let skipped: Vec<u8> = self.spelling.bytes.drain(..len).collect();
        match &mut self.spelling.value {
            Value::Counts => return self.drop_bytes(len as u64),
            Value::Passes => return self.keep(&skipped),
            Value::None => self.spelling.value = Value::Begun(skipped, Vec::new()),
            Value::Begun(bytes, _) => bytes.extend_from_slice(&skipped),
        }
        let Value::Begun(bytes, new) = &mut self.spelling.value else { return };
        if bytes.len() < TEXT_LEN_MIN {
            return;
        }
        let (bytes, new) = (std::mem::take(bytes), std::mem::take(new));
        if bytes.iter().take(TEXT_LEN_MIN).all(|b| find::is_printable(*b)) {
            self.spelling.value = Value::Counts;
            self.write(&new);
            self.drop_bytes(bytes.len() as u64);
        } else {
            self.spelling.value = Value::Passes;
            self.keep(&bytes);
        }
    }

    fn event(&mut self, event: &Event) {
        if is_label(self.ruleset, event.rule) {
            return;
        }
        let counted = self.spelling.value == Value::Counts;
        self.end_value();
        if !counted {
            return;
        }
        if let Some(edit) = self.source.edits.back_mut() {
            edit.rules.push(event.rule);
        }
        self.align();
        if self.spelling.old.is_multiple_of(3) {
            self.flush(false);
        }
    }
}
