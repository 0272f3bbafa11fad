//! One logical text and how it is spelled where it lies.
//!
//! A text inside a JSON string or a form value is scanned decoded and leaves as it was spelled. While a part of it
//! is held, [`Runs`] remembers the spelling of just that part: a run without escapes costs one entry, an escape a
//! few bytes. It also knows where each byte lay in the body, which is what findings tell.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Finding;
use super::nested::Nested;
use crate::ruleset::Ruleset;
use crate::stream::{Event, Scratch, Sink, StreamOptions};

/// Longest spelling of one character: `\ud83d\ude00`.
const SPELLING_LEN_MAX: usize = 12;

/// The spelling of held text, oldest first.
#[derive(Debug, Default)]
pub(super) struct Runs(VecDeque<Run>);

#[derive(Debug)]
struct Run {
    /// Decoded bytes left.
    left: usize,
    /// Where the run's next byte lies in the body.
    at: u64,
    spelling: Option<Spelling>,
}

#[derive(Debug)]
struct Spelling {
    bytes: [u8; SPELLING_LEN_MAX],
    len: u8,
    /// Some of the decoded bytes were masked: the spelling does not leave.
    masked: bool,
}

impl Runs {
    fn plain(&mut self, len: usize, at: u64) {
        if len == 0 {
            return;
        }
        match self.0.back_mut() {
            Some(run) if run.spelling.is_none() && run.at + run.left as u64 == at => run.left += len,
            _ => self.0.push_back(Run { left: len, at, spelling: None }),
        }
    }

    fn spelled(&mut self, decoded: usize, at: u64, raw: &[u8]) {
        let mut spelling = Spelling { bytes: [0; SPELLING_LEN_MAX], len: 0, masked: false };
        for (slot, byte) in spelling.bytes.iter_mut().zip(raw) {
            *slot = *byte;
            spelling.len += 1;
        }
        self.0.push_back(Run { left: decoded, at, spelling: Some(spelling) });
    }

    /// Where the next byte of held text lies; `end` when nothing is held.
    fn front_at(&self, end: u64) -> u64 {
        self.0.front().map_or(end, |r| r.at)
    }

    /// Takes `len` decoded bytes off the front. Where they pass, `bytes` are they and their spelling goes to `out`.
    fn take(&mut self, mut len: usize, mut bytes: Option<&[u8]>, out: &mut Vec<u8>) {
        while len > 0 {
            let Some(run) = self.0.front_mut() else { return };
            let now = len.min(run.left);
            run.left -= now;
            len -= now;
            let head = bytes.and_then(|b| b.split_at_checked(now)).map(|(head, rest)| {
                bytes = Some(rest);
                head
            });
            match (&mut run.spelling, head) {
                (None, head) => {
                    out.extend_from_slice(head.unwrap_or_default());
                    run.at += now as u64;
                }
                (Some(spelling), head) => {
                    spelling.masked |= head.is_none();
                    if run.left == 0 && !spelling.masked {
                        out.extend_from_slice(
                            spelling.bytes.get(..spelling.len as usize).unwrap_or_default(),
                        );
                    }
                }
            }
            if run.left == 0 {
                self.0.pop_front();
            }
        }
    }
}

/// How replacement text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Carrier {
    /// As it is; what passes is given decoded.
    Decoded,
    /// As it is.
    Text,
    /// Inside a JSON string.
    Json,
    /// Inside a form name or value.
    Form,
}

/// A logical text in its carrier.
#[derive(Debug)]
pub(super) struct Carried {
    stream: Nested,
    runs: Runs,
    carrier: Carrier,
    /// Where the masked bytes began that nothing has passed behind, and whether an event has told of them.
    mark: Option<u64>,
    told: bool,
    /// Where the next byte of the text lies at the earliest.
    end: u64,
    /// Where the text began, and its decoded bytes that are decided.
    start: Option<u64>,
    decided: u64,
}

/// Where the output of a text goes.
pub(super) struct Target<'a> {
    pub(super) scratch: &'a mut Scratch,
    pub(super) out: &'a mut Vec<u8>,
    pub(super) findings: &'a mut Vec<Finding>,
}

impl Carried {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions, carrier: Carrier) -> Carried {
        let stream = Nested::new(ruleset, options.clone());
        Carried {
            stream,
            runs: Runs::default(),
            carrier,
            mark: None,
            told: false,
            end: 0,
            start: None,
            decided: 0,
        }
    }

    /// Context before the text; only at its start.
    pub(super) fn prime(&mut self, context: &[u8]) {
        self.stream.prime(context);
    }

    /// Bytes spelled as they are, the first of which lies at `at`.
    pub(super) fn plain(&mut self, bytes: &[u8], at: u64, target: &mut Target<'_>) {
        self.start.get_or_insert(at);
        self.runs.plain(bytes.len(), at);
        self.end = at + bytes.len() as u64;
        self.push(bytes, target);
    }

    /// `decoded`, spelled as `raw`, which lies at `at`.
    pub(super) fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64, target: &mut Target<'_>) {
        self.start.get_or_insert(at);
        self.runs.spelled(decoded.len(), at, raw);
        self.end = at + raw.len() as u64;
        self.push(decoded, target);
    }

    /// As [`Carried::plain`] and [`Carried::finish`]: the text ends with these bytes.
    pub(super) fn last(&mut self, bytes: &[u8], at: u64, target: &mut Target<'_>) {
        self.start.get_or_insert(at);
        self.runs.plain(bytes.len(), at);
        self.end = at + bytes.len() as u64;
        let (stream, scratch, mut sink) = self.sink(target);
        stream.push_last(scratch, bytes, &mut sink);
        self.ended();
    }

    fn push(&mut self, bytes: &[u8], target: &mut Target<'_>) {
        let (stream, scratch, mut sink) = self.sink(target);
        stream.push(scratch, bytes, &mut sink);
    }

    /// Ends the text; the next one may begin.
    pub(super) fn finish(&mut self, target: &mut Target<'_>) {
        let (stream, scratch, mut sink) = self.sink(target);
        stream.finish(scratch, &mut sink);
        self.ended();
    }

    fn sink<'a>(
        &'a mut self,
        target: &'a mut Target<'_>,
    ) -> (&'a mut Nested, &'a mut Scratch, CarriedSink<'a>) {
        let sink = CarriedSink {
            runs: &mut self.runs,
            carrier: self.carrier,
            mark: &mut self.mark,
            told: &mut self.told,
            end: self.end,
            start: self.start.unwrap_or(self.end),
            decided: &mut self.decided,
            out: target.out,
            findings: target.findings,
        };
        (&mut self.stream, target.scratch, sink)
    }

    fn ended(&mut self) {
        debug_assert!(self.runs.0.is_empty(), "every byte of a text is passed or skipped");
        self.runs.0.clear();
        self.mark = None;
        self.told = false;
        self.start = None;
        self.decided = 0;
    }

    pub(super) fn held(&self) -> usize {
        self.stream.held()
    }
}

struct CarriedSink<'a> {
    runs: &'a mut Runs,
    carrier: Carrier,
    mark: &'a mut Option<u64>,
    told: &'a mut bool,
    end: u64,
    start: u64,
    decided: &'a mut u64,
    out: &'a mut Vec<u8>,
    findings: &'a mut Vec<Finding>,
}

impl Sink for CarriedSink<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        *self.mark = None;
        *self.decided += bytes.len() as u64;
        match self.carrier {
            Carrier::Decoded => {
                self.runs.take(bytes.len(), Some(bytes), &mut Vec::new());
                self.out.extend_from_slice(bytes);
            }
            Carrier::Text | Carrier::Json | Carrier::Form => {
                self.runs.take(bytes.len(), Some(bytes), self.out)
            }
        }
    }

    fn emit(&mut self, bytes: &[u8]) {
        match self.carrier {
            Carrier::Decoded | Carrier::Text => self.out.extend_from_slice(bytes),
            Carrier::Json => super::json::escape(bytes, self.out),
            Carrier::Form => super::form::encode(bytes, self.out),
        }
    }

    fn skip(&mut self, len: usize) {
        if std::mem::take(self.told) {
            *self.mark = None;
        }
        self.mark.get_or_insert(self.runs.front_at(self.end));
        self.runs.take(len, None, self.out);
        *self.decided += len as u64;
    }

    fn event(&mut self, event: &Event) {
        // A masked value is told where it ends. A label is told whenever it is settled, its bytes may have left, and
        // where each lay is not kept: behind escapes its place is that in the decoded text.
        let (start, end) = match *self.mark {
            Some(start) if event.input.end == *self.decided => {
                *self.told = true;
                (start, self.runs.front_at(self.end))
            }
            // A label in a spelled text has no place of its own.
            _ => (self.start + event.input.start, self.start + event.input.end.max(event.input.start + 1)),
        };
        self.findings.push(Finding { rule: event.rule, start, end });
    }
}
