//! One event: its lines, its texts, and how it leaves.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;
use std::ops::Range;

use super::leaves::{Leaf, LeafKind, Leaves, feed_string};
use super::{Frame, SseWalker, TEXTS_MAX, Text};
use crate::format::carried::{Carried, Carrier, Target};
use crate::format::json::{self, Handler, Kind};
use crate::format::llm::{self, Ends, Envelope, Key};

/// A line of an event, as ranges of its bytes.
struct Line {
    content: Range<usize>,
    /// From the first byte of the line to after its end.
    whole: Range<usize>,
    /// For a `data` line: its value.
    data: Option<Range<usize>>,
}

fn lines(event: &[u8]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut from = 0;
    while let Some(rest) = event.get(from..).filter(|r| !r.is_empty()) {
        let len = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let end = match rest.get(len..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            _ => 0,
        };
        let content = from..from + len;
        let bytes = event.get(content.clone()).unwrap_or_default();
        // A byte order mark may stand before the first line.
        let skip = if from == 0 && bytes.starts_with(b"\xEF\xBB\xBF") { 3 } else { 0 };
        let data = data_value(bytes.get(skip..).unwrap_or_default()).map(|at| from + skip + at..from + len);
        lines.push(Line { content, whole: from..from + len + end, data });
        from += len + end;
    }
    lines
}

/// Where the value of a `data` line begins.
fn data_value(line: &[u8]) -> Option<usize> {
    let rest = line.strip_prefix(b"data")?;
    match rest {
        [] => Some(4),
        [b':', b' ', ..] => Some(6),
        [b':', ..] => Some(5),
        _ => None,
    }
}

/// Masks `event` and appends it, and what must come before it, to the target. `last`: the body ends with it.
///
/// # Errors
/// The name of a limit.
pub(super) fn mask(
    walker: &mut SseWalker,
    event: &[u8],
    last: bool,
    target: &mut Target<'_>,
) -> Result<(), &'static str> {
    let lines = lines(event);
    let values: Vec<Range<usize>> = lines.iter().filter_map(|l| l.data.clone()).collect();
    let mut data = Vec::new();
    for (n, value) in values.iter().enumerate() {
        if n > 0 {
            data.push(b'\n');
        }
        data.extend_from_slice(event.get(value.clone()).unwrap_or_default());
    }
    let at = walker.at + values.first().map_or(0, |v| v.start) as u64;
    let leaves =
        if matches!(data.trim_ascii_start().first(), Some(b'{' | b'[')) { Leaves::of(&data) } else { None };
    let masked = match leaves {
        Some(leaves) => mask_json(walker, event, &lines, &leaves, at, last, target)?,
        None => {
            if last || data.trim_ascii() == b"[DONE]" {
                end_all(walker, target);
            }
            let masked = mask_whole(&mut walker.whole, &data, at, target);
            (masked != data).then_some(masked)
        }
    };
    write(walker, event, &lines, masked, target);
    Ok(())
}

/// A text that ends where it begins.
fn mask_whole(text: &mut Carried, bytes: &[u8], at: u64, target: &mut Target<'_>) -> Vec<u8> {
    let mut masked = Vec::with_capacity(bytes.len());
    let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
    text.last(bytes, at, &mut inner);
    masked
}

/// Writes the event with new data, if it is new, and its other lines masked.
fn write(
    walker: &mut SseWalker,
    event: &[u8],
    lines: &[Line],
    data: Option<Vec<u8>>,
    target: &mut Target<'_>,
) {
    let mut written = false;
    for line in lines {
        let bytes = event.get(line.whole.clone()).unwrap_or_default();
        let end = event.get(line.content.end..line.whole.end).unwrap_or_default();
        match (&line.data, &data) {
            (Some(_), None) => target.out.extend_from_slice(bytes),
            (Some(value), Some(data)) => {
                if std::mem::replace(&mut written, true) {
                    continue;
                }
                let prefix = event.get(line.content.start..value.start).unwrap_or_default();
                for part in data.split(|b| *b == b'\n') {
                    target.out.extend_from_slice(prefix);
                    target.out.extend(part.iter().filter(|b| **b != b'\r'));
                    target.out.extend_from_slice(end);
                }
            }
            (None, _) => {
                let content = event.get(line.content.clone()).unwrap_or_default();
                let at = walker.at + line.content.start as u64;
                let masked = mask_whole(&mut walker.whole, content, at, target);
                let safe = |b: &&u8| !matches!(**b, b'\r' | b'\n');
                target.out.extend(masked.iter().filter(safe));
                target.out.extend_from_slice(end);
            }
        }
    }
}

/// The new data of an event, if it is new.
fn mask_json(
    walker: &mut SseWalker,
    event: &[u8],
    lines: &[Line],
    leaves: &Leaves<'_>,
    at: u64,
    last: bool,
    target: &mut Target<'_>,
) -> Result<Option<Vec<u8>>, &'static str> {
    let mut reading = llm::read(leaves);
    if last {
        reading.ends = Ends::All;
    }
    let mut edits = Edits::default();
    let deltas: HashMap<usize, Key> = reading.deltas.iter().copied().collect();
    for (n, key) in &reading.deltas {
        if let Some(leaf) = leaves.iter().nth(*n) {
            mask_delta(walker, leaves, leaf, *key, ends(&reading.ends, *key), at, &mut edits, target)?;
        }
    }
    let mut skipped: Vec<Range<usize>> = Vec::new();
    for (range, choice) in leaves.restating() {
        let index = leaves.integer(&format!("choices.{choice}.index")).unwrap_or(*choice);
        let held = walker.texts.iter().any(|(key, text)| key.index == index && text.carried.held() > 0);
        if held || edits.moved.contains(&index) {
            edits.list.push((range.clone(), b"null".to_vec()));
            skipped.push(range.clone());
        }
    }
    for (n, leaf) in leaves.iter().enumerate() {
        let inside = skipped.iter().any(|r| r.contains(&leaf.content.start));
        if !inside && !deltas.contains_key(&n) {
            mask_leaf(walker, leaves, leaf, at, &mut edits, target);
        }
    }
    frame_held(walker, event, lines, leaves, &reading.deltas, &edits);
    end_texts(walker, &reading.ends, target);
    Ok(edits.apply(leaves))
}

/// What changes in an event's data.
#[derive(Default)]
struct Edits {
    list: Vec<(Range<usize>, Vec<u8>)>,
    /// Choices whose text did not leave in this event just as it came.
    moved: Vec<u64>,
}

impl Edits {
    fn apply(mut self, leaves: &Leaves<'_>) -> Option<Vec<u8>> {
        if self.list.is_empty() {
            return None;
        }
        // An outer range comes before those inside it and hides them.
        self.list.sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
        let mut data = Vec::new();
        let mut from = 0;
        for (range, text) in self.list {
            if range.start < from {
                continue;
            }
            data.extend_from_slice(leaves.bytes(from..range.start));
            data.extend_from_slice(&text);
            from = range.end;
        }
        data.extend_from_slice(leaves.bytes(from..leaves.len()));
        Some(data)
    }

    /// The leaf as it leaves.
    fn spell(&self, leaves: &Leaves<'_>, leaf: &Leaf) -> Vec<u8> {
        let range = leaf.spelling();
        match self.list.iter().find(|(r, _)| *r == range) {
            Some((_, text)) => text.clone(),
            None => leaves.bytes(range).to_vec(),
        }
    }
}

fn ends(ends: &Ends, key: Key) -> bool {
    match ends {
        Ends::Nothing => false,
        Ends::Of(list) => list.contains(&key.index),
        Ends::All => true,
    }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut spelled = vec![b'"'];
    json::escape(text, &mut spelled);
    spelled.push(b'"');
    spelled
}

/// Goes on with a text; the leaf gets what is released of it now.
#[allow(clippy::too_many_arguments)]
fn mask_delta(
    walker: &mut SseWalker,
    leaves: &Leaves<'_>,
    leaf: &Leaf,
    key: Key,
    ends: bool,
    at: u64,
    edits: &mut Edits,
    target: &mut Target<'_>,
) -> Result<(), &'static str> {
    let number = walker.texts.len() as u64;
    if !walker.texts.contains_key(&key) && walker.texts.len() >= TEXTS_MAX {
        return Err("the number of texts");
    }
    let text = walker.texts.entry(key).or_insert_with(|| {
        let carried = Carried::new(&walker.ruleset, &walker.options, Carrier::Decoded);
        Text { carried, frame: None, number }
    });
    let held_before = text.carried.held() > 0;
    let mut released = Vec::new();
    let findings = target.findings.len();
    let mut inner = Target { scratch: target.scratch, out: &mut released, findings: target.findings };
    let mut feeder = Feeder {
        text: &mut text.carried,
        target: &mut inner,
        at: at + leaf.spelling().start as u64,
        decoded: Vec::new(),
    };
    // The leaf was tokenized before: it can't fail.
    let _ = feed_string(leaves.bytes(leaf.spelling()), &mut feeder);
    let decoded = feeder.decoded;
    if ends {
        text.carried.finish(&mut inner);
    }
    let unchanged = !held_before && released == decoded && target.findings.len() == findings;
    if !unchanged {
        edits.moved.push(key.index);
        edits.list.push((leaf.spelling(), quoted(&released)));
    }
    if ends {
        walker.texts.remove(&key);
    }
    Ok(())
}

/// Feeds a string's text to a carried text that goes on after it.
struct Feeder<'a, 'b> {
    text: &'a mut Carried,
    target: &'a mut Target<'b>,
    at: u64,
    decoded: Vec<u8>,
}

impl Handler for Feeder<'_, '_> {
    fn structure(&mut self, _bytes: &[u8], _at: u64) {}
    fn open(&mut self, _array: bool) {}
    fn close(&mut self) {}
    fn literal(&mut self) {}
    fn begin(&mut self, _kind: Kind) {}
    fn plain(&mut self, bytes: &[u8], at: u64) {
        self.decoded.extend_from_slice(bytes);
        self.text.plain(bytes, self.at + at, self.target);
    }
    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64) {
        self.decoded.extend_from_slice(decoded);
        self.text.spelled(decoded, raw, self.at + at, self.target);
    }
    fn end(&mut self) {}
    fn over(&self) -> Option<&'static str> {
        None
    }
}

/// Feeds a string's text to a carried text that ends with it.
struct Whole<'a, 'b> {
    text: &'a mut Carried,
    target: &'a mut Target<'b>,
    at: u64,
}

impl Handler for Whole<'_, '_> {
    fn structure(&mut self, _bytes: &[u8], _at: u64) {}
    fn open(&mut self, _array: bool) {}
    fn close(&mut self) {}
    fn literal(&mut self) {}
    fn begin(&mut self, _kind: Kind) {}
    fn plain(&mut self, bytes: &[u8], at: u64) {
        self.text.plain(bytes, self.at + at, self.target);
    }
    fn last(&mut self, bytes: &[u8], at: u64) {
        self.text.last(bytes, self.at + at, self.target);
    }
    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64) {
        self.text.spelled(decoded, raw, self.at + at, self.target);
    }
    fn end(&mut self) {
        self.text.finish(self.target);
    }
    fn over(&self) -> Option<&'static str> {
        None
    }
}

/// Masks a leaf that is a text of its own.
fn mask_leaf(
    walker: &mut SseWalker,
    leaves: &Leaves<'_>,
    leaf: &Leaf,
    at: u64,
    edits: &mut Edits,
    target: &mut Target<'_>,
) {
    let keys = leaves.keys(leaf);
    let spelling = leaf.spelling();
    let raw = leaves.bytes(spelling.clone());
    let at = at + spelling.start as u64;
    let mut context = vec![b'"'];
    context.extend_from_slice(keys.last().copied().unwrap_or_default());
    let mut masked = Vec::new();
    match leaf.kind {
        LeafKind::Literal => return,
        LeafKind::String if llm::is_opaque(&keys) => {
            walker.unscanned += leaf.content.len() as u64;
            return;
        }
        LeafKind::Key | LeafKind::String => {
            if leaf.is_string() {
                context.extend_from_slice(b"\":\"");
                walker.json.prime(target.scratch, &context);
            }
            masked.push(b'"');
            let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
            let mut feeder = Whole { text: &mut walker.json, target: &mut inner, at };
            // The leaf was tokenized before: it can't fail.
            let _ = feed_string(raw, &mut feeder);
            masked.push(b'"');
        }
        LeafKind::Number => {
            context.extend_from_slice(b"\":");
            walker.whole.prime(target.scratch, &context);
            masked = mask_whole(&mut walker.whole, raw, at, target);
            if masked != raw {
                masked = quoted(&masked);
            }
        }
    }
    if masked != raw {
        edits.list.push((spelling, masked));
    }
}

/// Keeps, for each text of this event that holds something, what an event made for it would look like.
fn frame_held(
    walker: &mut SseWalker,
    event: &[u8],
    lines: &[Line],
    leaves: &Leaves<'_>,
    deltas: &[(usize, Key)],
    edits: &Edits,
) {
    let named = lines.iter().find(|l| {
        let content = event.get(l.content.clone()).unwrap_or_default();
        content.starts_with(b"event:")
    });
    let name = named.map_or(Vec::new(), |l| event.get(l.whole.clone()).unwrap_or_default().to_vec());
    let crlf = lines.first().is_some_and(|l| l.whole.len() - l.content.len() == 2);
    for (_, key) in deltas {
        if let Some(text) = walker.texts.get_mut(key).filter(|t| t.carried.held() > 0) {
            let envelope = Envelope::of(leaves, *key, &|leaf| edits.spell(leaves, leaf));
            text.frame =
                Some(Frame { envelope, name: name.clone(), newline: if crlf { b"\r\n" } else { b"\n" } });
        }
    }
}

/// Ends texts; what they held leaves in events made for it.
fn end_texts(walker: &mut SseWalker, which: &Ends, target: &mut Target<'_>) {
    let mut keys: Vec<Key> = walker.texts.keys().copied().filter(|k| ends(which, *k)).collect();
    keys.sort_by_key(|k| walker.texts.get(k).map(|t| t.number));
    for key in keys {
        let Some(mut text) = walker.texts.remove(&key) else { continue };
        let mut released = Vec::new();
        let mut inner = Target { scratch: target.scratch, out: &mut released, findings: target.findings };
        text.carried.finish(&mut inner);
        if let (false, Some(frame)) = (released.is_empty(), &text.frame) {
            target.out.extend_from_slice(&frame.name);
            target.out.extend_from_slice(b"data: ");
            target.out.extend_from_slice(&frame.envelope.before);
            json::escape(&released, target.out);
            target.out.extend_from_slice(&frame.envelope.after);
            target.out.extend_from_slice(frame.newline);
            target.out.extend_from_slice(frame.newline);
        }
    }
}

/// Ends all texts.
pub(super) fn end_all(walker: &mut SseWalker, target: &mut Target<'_>) {
    end_texts(walker, &Ends::All, target);
}
