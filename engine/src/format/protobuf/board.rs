//! Bytes of the body that are held, the texts that lie over them, and what of them is masked.
//!
//! Texts lie within one another: a field that may be a string or a message is a text of its own, and so are the
//! fields within it. Each text is scanned by a stream of its own over the same bytes, and a byte leaves once every
//! text over it has decided. It leaves masked when one of them says so: texts only ever add to what is masked.
//!
//! A text whose bytes are also a message is scanned by runs of printable bytes. Of such texts within one another, only
//! the innermost scans a run that lies within all of them, for it is the same run.
//!
//! Replacements have the length of what they replace, so nothing moves and no length changes. That holds for what a text
//! spells too (escapes, base64: [`Nested`]): a value in base64 is filled so that it stays base64, and an escape within a
//! value is filled whole.
#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::wire;
use crate::format::Finding;
use crate::format::carried::Target;
use crate::format::nested::Nested;
use crate::mask::{FILL, Strategy};
use crate::ruleset::Ruleset;
use crate::stream::{Event, Sink, StreamOptions};

/// Longest run that an outer text leaves to an inner one without having looked at it.
const LEFT_BYTES_MAX: u64 = 4096;
/// Findings that are remembered, so that one value found by two texts is told once.
const RECENT_MAX: usize = 64;

/// The byte is a tag or a length of a message that is taken for one.
pub(super) const STRUCTURE: u8 = 1;
/// The byte is of a varint: masked, it is zero but for its top bit, which says whether more follow.
pub(super) const VARINT: u8 = 2;
/// The byte is of a number with a fixed width: masked, it is zero.
pub(super) const FIXED: u8 = 4;
const MASKED: u8 = 8;

/// What is known of each held byte.
#[derive(Debug, Default)]
struct Marks {
    marks: Vec<u8>,
    /// Where the first of them lies.
    base: u64,
    /// Where the last masked byte ends.
    masked_to: u64,
}

impl Marks {
    fn of(&mut self, range: Range<u64>) -> &mut [u8] {
        let range = indexes(self.base, range, self.marks.len());
        self.marks.get_mut(range).unwrap_or_default()
    }

    /// Whether nothing of the range could be masked by a text that yields: always true of an empty one.
    fn is_structure(&mut self, range: Range<u64>) -> bool {
        self.of(range).iter().all(|mark| mark & STRUCTURE != 0)
    }

    /// Masks the bytes; `yields`: not those that are structure.
    fn mask(&mut self, range: Range<u64>, yields: bool) {
        for mark in self.of(range.clone()) {
            if !yields {
                *mark = MASKED;
            } else if *mark & STRUCTURE == 0 {
                *mark |= MASKED;
            }
        }
        self.masked_to = self.masked_to.max(range.end);
    }
}

fn indexes(base: u64, range: Range<u64>, len: usize) -> Range<usize> {
    let index = |at: u64| usize::try_from(at.saturating_sub(base)).unwrap_or(usize::MAX).min(len);
    let from = index(range.start);
    from..index(range.end).max(from)
}

/// A text that is being scanned.
#[derive(Debug)]
struct Text {
    stream: Nested,
    /// Where the text begins.
    from: u64,
    /// Where what the stream has been given begins, and how far it goes.
    start: u64,
    fed: u64,
    /// The stream has been given something, if only context.
    begun: bool,
    /// All before is decided.
    decided: u64,
    /// The bytes are also a message: its structure stays, and control characters end what is scanned at once.
    yields: bool,
}

impl Text {
    /// A new run begins at `at`.
    fn begin(&mut self, at: u64) {
        self.fed = at;
        self.start = at;
        self.decided = at;
        self.begun = false;
    }
}

/// The board.
#[derive(Debug)]
pub(super) struct Board {
    ruleset: Arc<Ruleset>,
    /// Held bytes as they came, behind `released` that have left and are not cleared away yet.
    bytes: Vec<u8>,
    released: usize,
    marks: Marks,
    /// Outermost first.
    texts: Vec<Text>,
    /// Streams at their start.
    spare: Vec<Nested>,
    recent: VecDeque<Finding>,
    has_masked: bool,
}

impl Board {
    pub(super) fn new(ruleset: &Arc<Ruleset>) -> Board {
        Board {
            ruleset: Arc::clone(ruleset),
            bytes: Vec::new(),
            released: 0,
            marks: Marks::default(),
            texts: Vec::new(),
            spare: Vec::new(),
            recent: VecDeque::new(),
            has_masked: false,
        }
    }

    /// Starts anew, with bytes from `at` on; nothing may be held.
    pub(super) fn begin(&mut self, at: u64) {
        debug_assert!(self.texts.is_empty() && self.held() == 0, "a body ends before the next");
        self.bytes.clear();
        self.released = 0;
        self.marks.marks.clear();
        self.marks.base = at;
        self.marks.masked_to = at;
        self.recent.clear();
        self.has_masked = false;
    }

    /// Takes bytes.
    pub(super) fn append(&mut self, bytes: &[u8]) {
        if self.released > self.bytes.len() / 2 {
            self.bytes.drain(..self.released);
            self.marks.marks.drain(..self.released);
            self.marks.base += self.released as u64;
            self.released = 0;
        }
        self.bytes.extend_from_slice(bytes);
        self.marks.marks.resize(self.bytes.len(), 0);
    }

    /// Where the next byte will lie.
    pub(super) fn end(&self) -> u64 {
        self.marks.base + self.bytes.len() as u64
    }

    /// Bytes as they came.
    pub(super) fn bytes(&self, range: Range<u64>) -> &[u8] {
        let range = indexes(self.marks.base, range, self.bytes.len());
        self.bytes.get(range).unwrap_or_default()
    }

    /// Whether anything that has been released since the start was masked.
    pub(super) fn has_masked(&self) -> bool {
        self.has_masked
    }

    /// Bytes taken and not released.
    pub(super) fn held(&self) -> usize {
        self.bytes.len() - self.released
    }

    /// Marks bytes as [`STRUCTURE`], [`VARINT`] or [`FIXED`].
    pub(super) fn mark(&mut self, range: Range<u64>, kind: u8) {
        self.marks.of(range).iter_mut().for_each(|m| *m |= kind);
    }

    /// How many texts lie over the byte that comes next.
    pub(super) fn texts(&self) -> usize {
        self.texts.len()
    }

    /// A text begins at `at`, behind `context`.
    pub(super) fn open(&mut self, at: u64, yields: bool, context: &[u8]) {
        let stream = self.stream(context);
        let begun = !context.is_empty();
        self.texts.push(Text { stream, from: at, start: at, fed: at, begun, decided: at, yields });
    }

    /// All from `at` on is one text, whatever else it is: nothing of it has left.
    pub(super) fn open_around(&mut self, at: u64) {
        debug_assert_eq!(at, self.marks.base + self.released as u64, "nothing of it has left");
        let stream = self.stream(b"");
        let text = Text { stream, from: at, start: at, fed: at, begun: false, decided: at, yields: false };
        self.texts.insert(0, text);
    }

    fn stream(&mut self, context: &[u8]) -> Nested {
        let options = StreamOptions { strategy: Some(Strategy::Fill) };
        let mut stream = self.spare.pop().unwrap_or_else(|| Nested::new(&self.ruleset, options));
        if !context.is_empty() {
            stream.prime(context);
        }
        stream
    }

    /// The innermost text, of which bytes up to `at` have been read as a message, is none.
    pub(super) fn insist(&mut self, at: u64, target: &mut Target<'_>) {
        self.feed(at, target);
        let Some(text) = self.texts.last_mut() else { return };
        text.yields = false;
        self.marks.of(text.decided..at).iter_mut().for_each(|m| *m &= MASKED);
    }

    /// Gives all texts the bytes up to `to`.
    pub(super) fn feed(&mut self, to: u64, target: &mut Target<'_>) {
        for index in 0..self.texts.len() {
            self.feed_one(index, to, false, target);
        }
    }

    /// The innermost text ends at `to`.
    pub(super) fn close(&mut self, to: u64, target: &mut Target<'_>) {
        let Some(index) = self.texts.len().checked_sub(1) else { return };
        if self.texts.last().is_some_and(|t| t.yields) {
            // While it is there, those around it can leave to it what lies within it.
            self.feed(to, target);
        }
        self.feed_one(index, to, true, target);
        if let Some(text) = self.texts.pop() {
            debug_assert_eq!(text.decided, to, "every byte of a text is decided at its end");
            self.spare.push(text.stream);
        }
    }

    fn feed_one(&mut self, index: usize, to: u64, last: bool, target: &mut Target<'_>) {
        // What lies between two control characters within an inner text is one run of both: the inner one scans it.
        let inner = self.texts.get(index + 1).filter(|t| t.yields).map_or(u64::MAX, |t| t.from);
        let Some(text) = self.texts.get_mut(index) else { return };
        let base = self.marks.base;
        let bytes =
            |range: Range<u64>| self.bytes.get(indexes(base, range, self.bytes.len())).unwrap_or_default();
        let mut sink = TextSink { marks: &mut self.marks, recent: &mut self.recent };
        while text.yields {
            let rest = bytes(text.fed..to);
            if !text.begun && text.start > inner {
                if let Some(control) = rest.iter().rposition(|b| !wire::is_text_byte(*b)) {
                    text.begin(text.fed + control as u64 + 1);
                }
                if to - text.start <= LEFT_BYTES_MAX {
                    return;
                }
                break;
            }
            let Some(run) = rest.iter().position(|b| !wire::is_text_byte(*b)) else { break };
            if text.begun || !sink.marks.is_structure(text.fed..text.fed + run as u64) {
                sink.push(text, rest.get(..run).unwrap_or_default(), true, target);
            }
            text.begin(text.fed + 1);
        }
        sink.push(text, bytes(text.fed..to), last, target);
    }

    /// Masks a number that lies in `range`, of this kind, if its decimal spelling behind its key is a value; tells
    /// whether it is.
    pub(super) fn number(
        &mut self,
        range: Range<u64>,
        kind: u8,
        spelling: &str,
        context: &[u8],
        target: &mut Target<'_>,
    ) -> bool {
        let mut stream = self.stream(context);
        let mut sink = NumberSink { range: range.clone(), masked: false, findings: target.findings };
        stream.push_last(target.scratch, spelling.as_bytes(), &mut sink);
        let is_masked = sink.masked;
        if is_masked {
            self.mark(range.clone(), kind);
            self.marks.mask(range, true);
        }
        self.spare.push(stream);
        is_masked
    }

    /// Releases what every text has decided, up to `to`.
    pub(super) fn release(&mut self, to: u64, out: &mut Vec<u8>) {
        let to = self.texts.iter().map(|t| t.decided).min().unwrap_or(to).min(to);
        let from = self.marks.base + self.released as u64;
        if to <= from {
            return;
        }
        let bytes = self.bytes(from..to);
        let len = bytes.len();
        if self.marks.masked_to <= from {
            out.extend_from_slice(bytes);
        } else {
            let marks = self.marks.marks.get(self.released..).unwrap_or_default();
            out.extend(bytes.iter().zip(marks).map(|(byte, mark)| match mark {
                m if m & MASKED == 0 => *byte,
                m if m & FIXED != 0 => 0,
                m if m & VARINT != 0 => byte & 0x80,
                _ => FILL,
            }));
        }
        self.has_masked |= self.marks.masked_to > from;
        self.released += len;
    }
}

/// Marks what a text's stream masks.
struct TextSink<'a> {
    marks: &'a mut Marks,
    recent: &'a mut VecDeque<Finding>,
}

impl TextSink<'_> {
    /// Gives the text's stream the bytes that come next.
    fn push(&mut self, text: &mut Text, bytes: &[u8], last: bool, target: &mut Target<'_>) {
        let mut sink = StreamSink {
            marks: self.marks,
            recent: self.recent,
            yields: text.yields,
            start: text.start,
            decided: &mut text.decided,
            findings: target.findings,
        };
        if last {
            text.stream.push_last(target.scratch, bytes, &mut sink);
        } else if !bytes.is_empty() {
            text.stream.push(target.scratch, bytes, &mut sink);
        }
        text.begun |= !bytes.is_empty();
        text.fed += bytes.len() as u64;
    }
}

struct StreamSink<'a> {
    marks: &'a mut Marks,
    recent: &'a mut VecDeque<Finding>,
    yields: bool,
    start: u64,
    decided: &'a mut u64,
    findings: &'a mut Vec<Finding>,
}

impl Sink for StreamSink<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        *self.decided += bytes.len() as u64;
    }

    /// What stands for masked bytes follows from their marks.
    fn emit(&mut self, _bytes: &[u8]) {}

    fn skip(&mut self, len: usize) {
        let to = *self.decided + len as u64;
        self.marks.mask(*self.decided..to, self.yields);
        *self.decided = to;
    }

    fn event(&mut self, event: &Event) {
        let finding = Finding {
            rule: event.rule,
            start: self.start + event.input.start,
            // A label in what is spelled has no place of its own.
            end: self.start + event.input.end.max(event.input.start + 1),
        };
        if self.recent.contains(&finding) {
            return;
        }
        if self.recent.len() == RECENT_MAX {
            self.recent.pop_front();
        }
        self.recent.push_back(finding.clone());
        self.findings.push(finding);
    }
}

/// Tells whether a number is a value.
struct NumberSink<'a> {
    range: Range<u64>,
    masked: bool,
    findings: &'a mut Vec<Finding>,
}

impl Sink for NumberSink<'_> {
    fn pass(&mut self, _bytes: &[u8]) {}

    fn emit(&mut self, _bytes: &[u8]) {}

    fn skip(&mut self, len: usize) {
        self.masked |= len > 0;
    }

    fn event(&mut self, event: &Event) {
        self.findings.push(Finding { rule: event.rule, start: self.range.start, end: self.range.end });
    }
}
