//! One event: its lines, its texts, and how it leaves.
#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::ops::Range;

use super::SseWalker;
use crate::format::carried::Target;
use crate::format::joined::{Carry, Change, apply};
use crate::format::leaves::Leaves;

const BOM: &[u8; 3] = b"\xEF\xBB\xBF";

/// A line of an event, as ranges of its bytes.
struct Line {
    content: Range<usize>,
    /// From the first byte of the line to after its end.
    whole: Range<usize>,
    /// Its field's name and value (WHATWG HTML, section 9.2.6); both empty for a comment.
    name: Range<usize>,
    value: Range<usize>,
}

impl Line {
    fn is(&self, event: &[u8], name: &[u8]) -> bool {
        event.get(self.name.clone()) == Some(name)
    }

    /// What ends the line.
    fn end<'a>(&self, event: &'a [u8]) -> &'a [u8] {
        event.get(self.content.end..self.whole.end).unwrap_or_default()
    }
}

/// The lines of an event. One byte order mark at the start of the stream is no part of its first line.
fn lines(event: &[u8], is_first: bool) -> Vec<Line> {
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
        let skip = if is_first && from == 0 && rest.starts_with(BOM) { BOM.len() } else { 0 };
        let start = from + skip;
        let line = event.get(start..content.end).unwrap_or_default();
        let colon = memchr::memchr(b':', line);
        let name = start..start + colon.unwrap_or(line.len());
        // One space after the colon is no part of the value; a line without a colon is a name.
        let value = match colon {
            Some(at) if line.get(at + 1) == Some(&b' ') => start + at + 2..content.end,
            Some(at) => start + at + 1..content.end,
            None => content.end..content.end,
        };
        lines.push(Line { content, whole: from..from + len + end, name, value });
        from += len + end;
    }
    lines
}

/// An event that is in whole.
#[derive(Debug)]
pub(super) struct SseEvent {
    pub(super) bytes: Vec<u8>,
    /// It is the first of its stream.
    is_first: bool,
}

impl SseEvent {
    /// Not the first of its stream.
    pub(super) fn new(bytes: Vec<u8>) -> SseEvent {
        SseEvent { bytes, is_first: false }
    }
}

impl Carry for SseEvent {
    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn write(&self, changes: Vec<Change>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if changes.is_empty() {
            out.extend_from_slice(&self.bytes);
        } else {
            let lines = lines(&self.bytes, self.is_first);
            let mut data = Vec::new();
            data_of(&self.bytes, &lines, &mut data);
            write(&self.bytes, &lines, &apply(&read_as(&data, is_json(&data)), &changes), out);
        }
        Ok(())
    }
}

/// The data of an event (WHATWG HTML, section 9.2.6); where its first line's value begins.
fn data_of(event: &[u8], lines: &[Line], data: &mut Vec<u8>) -> Option<usize> {
    data.clear();
    let mut first = None;
    for line in lines.iter().filter(|l| l.is(event, b"data")) {
        if first.is_some() {
            data.push(b'\n');
        }
        first.get_or_insert(line.value.start);
        data.extend_from_slice(event.get(line.value.clone()).unwrap_or_default());
    }
    first
}

/// Whether the data may be JSON: a value of one number or word is no more than text.
fn is_json(data: &[u8]) -> bool {
    let data = data.strip_prefix(BOM).unwrap_or(data);
    matches!(data.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'))
}

/// A parser of JSON reads what is not UTF-8 as U+FFFD (WHATWG Encoding, "UTF-8 decode").
fn read_as(data: &[u8], is_json: bool) -> Cow<'_, [u8]> {
    match String::from_utf8_lossy(data) {
        Cow::Owned(text) if is_json => Cow::Owned(text.into_bytes()),
        Cow::Borrowed(_) | Cow::Owned(_) => Cow::Borrowed(data),
    }
}

/// Masks an event; it and what waited for it are appended to the target, if they can leave. `last`: the body ends with
/// it. Gives memory that is no longer needed.
///
/// # Errors
/// The name of a limit. The event is the walker's again then, if it did not leave.
pub(super) fn mask(
    walker: &mut SseWalker,
    bytes: Vec<u8>,
    last: bool,
    target: &mut Target<'_>,
) -> Result<Option<SseEvent>, &'static str> {
    let is_first = walker.at == 0;
    let event_lines = lines(&bytes, is_first);
    let findings = target.findings.len();
    let mut data = std::mem::take(&mut walker.data);
    let first = data_of(&bytes, &event_lines, &mut data);
    let at = walker.at + first.unwrap_or(0) as u64;
    let end = walker.at + bytes.len() as u64;
    let unscanned = walker.joined.unscanned();
    let masked = mask_lines(walker, &bytes, &event_lines, target);
    walker.joined.begin();
    let result = match first {
        Some(data_at) => {
            // What is found or changed can't be told before, so a shape is only noted when it was neither.
            let may_repeat = !is_first && !last && masked.is_none() && bytes.ends_with(b"\n\n");
            let is_one = event_lines.iter().filter(|l| l.is(&bytes, b"data")).count() == 1;
            let shape = (may_repeat && is_one).then_some(Shape { data_at, findings, unscanned });
            mask_data(walker, &bytes, &event_lines, &data, at, shape, target)
        }
        None => Ok(()),
    };
    walker.data = data;
    if let Err(what) = result {
        walker.joined.abandon();
        walker.event = bytes;
        return Err(what);
    }
    if last {
        walker.joined.end(b"", target);
    }
    let event = SseEvent { bytes: masked.unwrap_or(bytes), is_first };
    let left = walker.joined.commit(event, target.out)?;
    // Where broken UTF-8 was read as longer text, places in it are no better than the event.
    for finding in target.findings.iter_mut().skip(findings) {
        finding.end = finding.end.min(end);
        finding.start = finding.start.min(finding.end.saturating_sub(1));
    }
    Ok(left)
}

/// How things were before an event that others may repeat.
struct Shape {
    /// Where its data begins.
    data_at: usize,
    findings: usize,
    unscanned: u64,
}

fn mask_data(
    walker: &mut SseWalker,
    event: &[u8],
    lines: &[Line],
    data: &[u8],
    at: u64,
    shape: Option<Shape>,
    target: &mut Target<'_>,
) -> Result<(), &'static str> {
    let may_be_json = is_json(data);
    let read = read_as(data, may_be_json);
    // In a stream of words a word in quotes is one more word.
    let is_word = is_word_like(&read) && walker.joined.is_text();
    let leaves = if may_be_json && !is_word { Leaves::of(&read) } else { None };
    if let Some(leaves) = leaves {
        walker.joined.mask(0, &leaves, None, at, &[], target)?;
        if let Some(Shape { data_at, findings, unscanned }) = shape
            && matches!(read, Cow::Borrowed(_))
            && !is_word_like(&read)
            && target.findings.len() == findings
            && walker.joined.unscanned() == unscanned
            && walker.joined.is_unchanged()
        {
            walker.joined.note_shape(&mut walker.shapes, &leaves, event, data_at);
        }
        return Ok(());
    }
    if read.trim_ascii() == b"[DONE]" {
        walker.joined.end(b"", target);
        return Ok(());
    }
    if walker.joined.fields.as_ref().is_some_and(|fields| fields.drops_others()) {
        // A text is at no path, so nobody said that it may leave.
        walker.joined.change(0, 0..read.len(), b"null".to_vec());
        return Ok(());
    }
    // The first event of the Model Context Protocol's older transport: the client waits for it, the server for the client.
    let named = lines.iter().rev().find(|l| l.is(event, b"event"));
    if named.is_some_and(|l| event.get(l.value.clone()) == Some(b"endpoint")) {
        let masked = walker.joined.mask_whole(b"", &read, at, target);
        if masked != *read {
            walker.joined.change(0, 0..read.len(), masked);
        }
        return Ok(());
    }
    walker.joined.mask_text(&read, at, target)
}

fn is_word_like(data: &[u8]) -> bool {
    data.trim_ascii_start().starts_with(b"\"")
}

/// The event with its lines masked that are no data, if that is new.
fn mask_lines(
    walker: &mut SseWalker,
    event: &[u8],
    lines: &[Line],
    target: &mut Target<'_>,
) -> Option<Vec<u8>> {
    let mut new = None;
    let mut from = 0;
    for line in lines.iter().filter(|l| !l.content.is_empty() && !l.is(event, b"data")) {
        let content = event.get(line.content.clone()).unwrap_or_default();
        let masked = walker.joined.mask_whole(b"", content, walker.at + line.content.start as u64, target);
        if masked != content {
            let new = new.get_or_insert_with(Vec::new);
            new.extend_from_slice(event.get(from..line.content.start).unwrap_or_default());
            new.extend(masked.iter().filter(|b| !matches!(**b, b'\r' | b'\n')));
            from = line.content.end;
        }
    }
    if let Some(new) = &mut new {
        new.extend_from_slice(event.get(from..).unwrap_or_default());
    }
    new
}

/// Appends an event with new data.
fn write(event: &[u8], lines: &[Line], data: &[u8], out: &mut Vec<u8>) {
    let mut written = false;
    for line in lines {
        if !line.is(event, b"data") {
            out.extend_from_slice(event.get(line.whole.clone()).unwrap_or_default());
            continue;
        }
        if std::mem::replace(&mut written, true) {
            continue;
        }
        let prefix = event.get(line.content.start..line.value.start).unwrap_or_default();
        // A name without a colon has an empty value.
        let colon: &[u8] = if prefix.ends_with(b":") || prefix.ends_with(b" ") { b"" } else { b":" };
        for (n, part) in data.split(|b| *b == b'\n').enumerate() {
            let prefix = if n == 0 { prefix } else { prefix.strip_prefix(BOM).unwrap_or(prefix) };
            out.extend_from_slice(prefix);
            out.extend_from_slice(colon);
            out.extend(part.iter().filter(|b| **b != b'\r'));
            out.extend_from_slice(line.end(event));
        }
    }
}
