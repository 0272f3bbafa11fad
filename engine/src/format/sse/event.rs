//! One event: its lines, its texts, and how it leaves.
#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::ops::Range;

use super::{Frame, SseWalker};
use crate::format::carried::Target;
use crate::format::joined::{Event, Made};
use crate::format::leaves::Leaves;
use crate::format::llm::Ends;

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
    let lines = lines(event, walker.at == 0);
    let findings = target.findings.len();
    let mut data = Vec::new();
    let mut first = None;
    for line in lines.iter().filter(|l| l.is(event, b"data")) {
        if first.is_some() {
            data.push(b'\n');
        }
        first.get_or_insert(line.value.start);
        data.extend_from_slice(event.get(line.value.clone()).unwrap_or_default());
    }
    let at = walker.at + first.unwrap_or(0) as u64;
    // A parser reads what is not UTF-8 as U+FFFD (WHATWG Encoding, "UTF-8 decode") before it reads JSON.
    let read: Cow<'_, [u8]> = match String::from_utf8_lossy(&data) {
        Cow::Borrowed(_) => Cow::Borrowed(&data),
        Cow::Owned(text) => Cow::Owned(text.into_bytes()),
    };
    let looks_json = matches!(read.trim_ascii_start().first(), Some(b'{' | b'['));
    let leaves = if looks_json { Leaves::of(&read) } else { None };
    let mut made = Vec::new();
    let masked = match leaves {
        Some(leaves) => {
            let frame = || frame(event, &lines);
            let json = Event { leaves: &leaves, name: None, at, last, given: Vec::new(), frame: &frame };
            walker.joined.mask(json, &mut made, target)?
        }
        None => {
            if last || data.trim_ascii() == b"[DONE]" {
                walker.joined.end(&Ends::All, &mut made, target);
            }
            let masked = walker.joined.mask_whole(b"", &data, at, target);
            (masked != data).then_some(masked)
        }
    };
    write_made(walker, made, target);
    write(walker, event, &lines, masked, target);
    // Where broken UTF-8 was read as longer text, places in it are no better than the event.
    let end = walker.at + event.len() as u64;
    for finding in target.findings.iter_mut().skip(findings) {
        finding.end = finding.end.min(end);
        finding.start = finding.start.min(finding.end.saturating_sub(1));
    }
    Ok(())
}

/// What an event made like this one needs.
fn frame(event: &[u8], lines: &[Line]) -> Frame {
    // Of several names the last one counts.
    let named = lines.iter().rev().find(|l| l.is(event, b"event"));
    let name = named.and_then(|l| event.get(l.value.clone())).unwrap_or_default().to_vec();
    let crlf = lines.first().is_some_and(|l| l.end(event) == b"\r\n");
    Frame { name, newline: if crlf { b"\r\n" } else { b"\n" } }
}

/// Writes events that were made.
fn write_made(walker: &mut SseWalker, made: Vec<Made<Frame>>, target: &mut Target<'_>) {
    for Made { frame, data } in made {
        if !frame.name.is_empty() {
            // The name was told where it stood: here it is only masked again.
            let mut findings = Vec::new();
            let mut inner = Target { scratch: target.scratch, out: &mut Vec::new(), findings: &mut findings };
            let line = [b"event: ", frame.name.as_slice()].concat();
            let name = walker.joined.mask_whole(b"", &line, 0, &mut inner);
            target.out.extend(name.iter().filter(|b| !matches!(b, b'\r' | b'\n')));
            target.out.extend_from_slice(frame.newline);
        }
        target.out.extend_from_slice(b"data: ");
        target.out.extend_from_slice(&data);
        target.out.extend_from_slice(frame.newline);
        target.out.extend_from_slice(frame.newline);
    }
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
        let end = line.end(event);
        match (line.is(event, b"data"), &data) {
            (true, None) => target.out.extend_from_slice(bytes),
            (true, Some(data)) => {
                if std::mem::replace(&mut written, true) {
                    continue;
                }
                let prefix = event.get(line.content.start..line.value.start).unwrap_or_default();
                // A name without a colon has an empty value.
                let colon: &[u8] = if prefix.ends_with(b":") || prefix.ends_with(b" ") { b"" } else { b":" };
                for (n, part) in data.split(|b| *b == b'\n').enumerate() {
                    let prefix = if n == 0 { prefix } else { prefix.strip_prefix(BOM).unwrap_or(prefix) };
                    target.out.extend_from_slice(prefix);
                    target.out.extend_from_slice(colon);
                    target.out.extend(part.iter().filter(|b| **b != b'\r'));
                    target.out.extend_from_slice(end);
                }
            }
            (false, _) => {
                let content = event.get(line.content.clone()).unwrap_or_default();
                let at = walker.at + line.content.start as u64;
                let masked = walker.joined.mask_whole(b"", content, at, target);
                let safe = |b: &&u8| !matches!(**b, b'\r' | b'\n');
                target.out.extend(masked.iter().filter(safe));
                target.out.extend_from_slice(end);
            }
        }
    }
}

/// Ends all texts.
pub(super) fn end_all(walker: &mut SseWalker, target: &mut Target<'_>) {
    let mut made = Vec::new();
    walker.joined.end(&Ends::All, &mut made, target);
    write_made(walker, made, target);
}
