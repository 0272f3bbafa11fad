//! JSON values one after another, and the elements of an outermost array: each a document, or the event of a stream.
//!
//! ```text
//!            a value is an event of an LLM's stream
//!   Looking ────────────────────────────────────────► Joined
//!      └────────────────────────────────────────────► Plain
//!            the first bytes held none
//! ```
//!
//! LLM APIs stream without server-sent events too: Gemini the elements of an array, Ollama and gateways lines of JSON. Their
//! deltas are one text, so their values are [`super::joined`] as events are. Everything else is a document of which each
//! string is a text of its own, in constant memory: that is [`JsonWalker`], which takes all values before an event is seen.
//! Values that end in the first [`LOOK_BYTES_MAX`] are looked at: a stream shows in its first values what it is, and a
//! document of records should cost no more than before.
//!
//! An event leaves with all that its texts carry decided; what stands between two events (a line's end, which its client
//! waits for) leaves with the first. A value among events that is too large to hold, or is no JSON, is masked by a
//! [`JsonWalker`] of its own; the texts before it end there.
#![deny(clippy::indexing_slicing)]

mod cut;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::carried::Target;
use super::fields::Fields;
use super::joined::{Carry, Change, Joined, apply};
use super::json::{Fail, JsonWalker};
use super::leaves::Leaves;
use super::llm;
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;
use cut::{Cutter, Piece};

/// Bytes of a body in which a stream shows that it is one; a value that is looked at is held whole.
pub(super) const LOOK_BYTES_MAX: usize = 64 << 10;
/// Most bytes of one event, and of what stands between two.
pub(super) const EVENT_BYTES_MAX: usize = 1 << 20;
const BOM: &[u8; 3] = b"\xEF\xBB\xBF";

/// The walker of one body.
#[derive(Debug)]
pub(super) struct SeriesWalker {
    mode: Mode,
    cutter: Cutter,
    many: bool,
    rules: Rules,
    /// Values that are no events.
    plain: JsonWalker,
    joined: Option<Box<Joined<Element>>>,
    /// The value that is coming in.
    value: Vec<u8>,
    /// It is too large to be an event, or is no JSON: it goes here.
    alone: Option<Box<JsonWalker>>,
    /// Bytes that have been looked at end here.
    look_end: u64,
    /// Bytes between values since the last one.
    between: usize,
    /// Bytes of the body that were taken.
    at: u64,
    fault: Option<Fault>,
    unscanned: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Looking,
    Plain,
    Joined,
}

/// What walkers are made of.
#[derive(Debug)]
struct Rules {
    ruleset: Arc<Ruleset>,
    options: StreamOptions,
    any_bytes: bool,
    fields: Option<Arc<Fields>>,
}

impl Rules {
    fn walker(&self, many: bool) -> JsonWalker {
        JsonWalker::new(&self.ruleset, &self.options, many)
            .with_any_bytes(self.any_bytes)
            .with_fields(self.fields.clone())
    }
}

/// Where the body can't be gone on with.
#[derive(Debug)]
struct Fault {
    at: u64,
    /// Bytes that were taken and not told.
    left: Vec<u8>,
    fail: Fail,
}

impl Fault {
    /// A walker failed at some of the bytes that lie at `at`.
    fn of(fail: Fail, bytes: &[u8], at: u64) -> Fault {
        let left = bytes.get(fail.taken..).unwrap_or_default().to_vec();
        Fault { at: at + fail.taken as u64, left, fail }
    }

    fn limit(what: &'static str, left: &[u8], at: u64) -> Fault {
        Fault { at, left: left.to_vec(), fail: Fail { limit: true, what, taken: 0 } }
    }
}

/// A value, and what stands behind it.
#[derive(Debug)]
struct Element {
    value: Vec<u8>,
    behind: Vec<u8>,
}

impl Carry for Element {
    fn len(&self) -> usize {
        self.value.len()
    }

    fn write(&self, changes: Vec<Change>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if changes.is_empty() {
            out.extend_from_slice(&self.value);
        } else {
            out.extend_from_slice(&apply(&self.value, &changes));
        }
        out.extend_from_slice(&self.behind);
        Ok(())
    }
}

impl SeriesWalker {
    /// `many`: values may stand one after another, with space between.
    pub(super) fn new(
        ruleset: &Arc<Ruleset>,
        options: &StreamOptions,
        many: bool,
        any_bytes: bool,
        fields: Option<Arc<Fields>>,
    ) -> SeriesWalker {
        let rules = Rules { ruleset: Arc::clone(ruleset), options: options.clone(), any_bytes, fields };
        SeriesWalker {
            mode: Mode::Looking,
            cutter: Cutter::new(many),
            many,
            plain: rules.walker(many),
            rules,
            joined: None,
            value: Vec::new(),
            alone: None,
            look_end: LOOK_BYTES_MAX as u64,
            between: 0,
            at: 0,
            fault: None,
            unscanned: 0,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) -> Result<(), Fail> {
        let mut taken = 0;
        while self.mode != Mode::Plain
            && let Some(rest) = chunk.get(taken..).filter(|rest| !rest.is_empty())
        {
            let len = self.step(rest, &mut target).map_err(|fault| self.failed(fault, taken))?;
            taken += len;
            self.at += len as u64;
        }
        let rest = chunk.get(taken..).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        self.plain.push(rest, target).map_err(|fail| Fail { taken: taken + fail.taken, ..fail })
    }

    /// Takes some of the next bytes; how many. None are, where the mode changes; all of the piece are, where it fails.
    fn step(&mut self, rest: &[u8], target: &mut Target<'_>) -> Result<usize, (Fault, usize)> {
        let is_bom = self.at < 3 && usize::try_from(self.at).is_ok_and(|at| BOM.get(at) == rest.first());
        let piece = if is_bom { Piece::Between(1) } else { self.cutter.next(rest) };
        let (len, ends) = match piece {
            Piece::Fault(what) if self.mode == Mode::Joined => {
                let fail = Fail { limit: false, what, taken: 0 };
                return Err((Fault { at: self.at, left: Vec::new(), fail }, 0));
            }
            Piece::Fault(_) => {
                self.mode = Mode::Plain;
                return Ok(0);
            }
            Piece::Between(len) => {
                let bytes = rest.get(..len).unwrap_or_default();
                return self.between(bytes, target).map(|()| len).map_err(|fault| (fault, len));
            }
            Piece::Part(len) => (len, false),
            Piece::Last(len) => (len, true),
        };
        let bytes = rest.get(..len).unwrap_or_default();
        let fed =
            self.part(bytes, target).and_then(|()| if ends { self.end_value(len, target) } else { Ok(()) });
        fed.map(|()| len).map_err(|fault| (fault, len))
    }

    /// Notes a fault behind `taken` bytes of a chunk, and as many as its piece has.
    fn failed(&mut self, (fault, len): (Fault, usize), taken: usize) -> Fail {
        let fail = Fail { taken: taken + len, ..fault.fail };
        self.fault = Some(fault);
        fail
    }

    /// Bytes between values.
    fn between(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<(), Fault> {
        let Some(joined) = &mut self.joined else {
            return pass(&mut self.plain, bytes, self.at, target);
        };
        self.between += bytes.len();
        if self.between > EVENT_BYTES_MAX {
            return Err(Fault::limit("what is between events", bytes, self.at));
        }
        match joined.last_mut() {
            Some(waiting) => waiting.behind.extend_from_slice(bytes),
            None => target.out.extend_from_slice(bytes),
        }
        Ok(())
    }

    /// Bytes of a value, which lie at `at`.
    fn part(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<(), Fault> {
        if let Some(alone) = &mut self.alone {
            return pass(alone, bytes, self.at, target);
        }
        self.value.extend_from_slice(bytes);
        let end = self.at + bytes.len() as u64;
        let begin = end - self.value.len() as u64;
        if self.mode == Mode::Joined {
            return if self.value.len() > EVENT_BYTES_MAX { self.go_alone(begin, target) } else { Ok(()) };
        }
        // Of one value, which no array holds, nothing goes on in another.
        let is_only = !self.many && !self.cutter.in_array();
        if is_only || end > self.look_end {
            let seen = usize::try_from(self.look_end.saturating_sub(begin)).unwrap_or(usize::MAX);
            let may_be = |value: &[u8]| value.get(..seen).is_some_and(llm::may_be_event);
            let is_first_time = self.look_end == LOOK_BYTES_MAX as u64;
            if !is_only && is_first_time && may_be(&self.value) {
                self.look_end = begin + EVENT_BYTES_MAX as u64;
                return Ok(());
            }
            self.mode = Mode::Plain;
            let value = std::mem::take(&mut self.value);
            return pass(&mut self.plain, &value, begin, target);
        }
        Ok(())
    }

    /// The value is masked by a walker of its own.
    fn go_alone(&mut self, begin: u64, target: &mut Target<'_>) -> Result<(), Fault> {
        if let Some(joined) = &mut self.joined {
            joined.end(b"", target);
            joined.drain(target.out).map_err(|what| Fault::limit(what, b"", begin))?;
        }
        let value = std::mem::take(&mut self.value);
        let alone = self.alone.insert(Box::new(self.rules.walker(false).starting_at(begin)));
        pass(alone, &value, begin, target)
    }

    /// The value is in, with the last `len` bytes from `at` on.
    fn end_value(&mut self, len: usize, target: &mut Target<'_>) -> Result<(), Fault> {
        let end = self.at + len as u64;
        let begin = end - self.value.len() as u64;
        self.between = 0;
        if self.mode == Mode::Plain {
            return Ok(());
        }
        let value = std::mem::take(&mut self.value);
        if self.mode == Mode::Looking && !is_event(&value) {
            return pass(&mut self.plain, &value, begin, target);
        }
        self.mode = Mode::Joined;
        let joined = self.joined.get_or_insert_with(|| {
            let mut joined = Joined::new(&self.rules.ruleset, &self.rules.options);
            joined.fields = self.rules.fields.clone();
            Box::new(joined)
        });
        if self.alone.is_none() {
            if let Some(leaves) = Leaves::of(&value) {
                joined.begin();
                if let Err(what) = joined.mask(0, &leaves, None, begin, &[], target) {
                    joined.abandon();
                    return Err(Fault::limit(what, &value, begin));
                }
                let event = Element { value, behind: Vec::new() };
                let left = joined.commit(event, target.out).map_err(|what| Fault::limit(what, b"", end))?;
                if let Some(Element { mut value, .. }) = left {
                    value.clear();
                    self.value = value;
                }
                return Ok(());
            }
            self.value = value;
            self.go_alone(begin, target)?;
        }
        self.end_alone(end, target)
    }

    fn end_alone(&mut self, end: u64, target: &mut Target<'_>) -> Result<(), Fault> {
        let Some(alone) = &mut self.alone else { return Ok(()) };
        let inner = Target { scratch: target.scratch, out: target.out, findings: target.findings };
        alone.finish(inner).map_err(|fail| Fault::of(fail, b"", end))?;
        self.unscanned += alone.take_unscanned();
        self.alone = None;
        Ok(())
    }

    pub(super) fn finish(&mut self, mut target: Target<'_>) -> Result<(), Fail> {
        if self.mode == Mode::Plain {
            return self.plain.finish(target);
        }
        let ended = self.end(&mut target);
        ended.map_err(|fault| self.failed((fault, 0), 0))
    }

    fn end(&mut self, target: &mut Target<'_>) -> Result<(), Fault> {
        let begin = self.at - self.value.len() as u64;
        if self.mode != Mode::Joined {
            let value = std::mem::take(&mut self.value);
            pass(&mut self.plain, &value, begin, target)?;
            let at = self.at;
            let inner = Target { scratch: target.scratch, out: target.out, findings: target.findings };
            return self.plain.finish(inner).map_err(|fail| Fault::of(fail, b"", at));
        }
        if self.cutter.in_value() {
            // A walker says what is wrong with a value that is not whole; a number is.
            if self.alone.is_none() {
                self.go_alone(begin, target)?;
            }
            self.end_alone(self.at, target)?;
        }
        if !self.cutter.may_end() {
            let fail = Fail { limit: false, what: "the JSON ends too early", taken: 0 };
            return Err(Fault { at: self.at, left: Vec::new(), fail });
        }
        self.release(target);
        Ok(())
    }

    fn release(&mut self, target: &mut Target<'_>) {
        if let Some(joined) = &mut self.joined {
            joined.end(b"", target);
            // Nothing is wrong with values that were taken.
            let _ = joined.drain(target.out);
        }
    }

    /// After a fault: what is held leaves masked, and the bytes that were taken and not told are given back.
    pub(super) fn break_off(&mut self, mut target: Target<'_>) -> Vec<u8> {
        self.release(&mut target);
        let mut left = match &mut self.alone {
            Some(alone) => alone.break_off(target),
            None if self.mode == Mode::Joined => Vec::new(),
            None => self.plain.break_off(target),
        };
        left.extend_from_slice(&std::mem::take(&mut self.value));
        left.extend(self.fault.take().map(|fault| fault.left).unwrap_or_default());
        left
    }

    /// Where the fault lies, which may be in what came with earlier chunks; `None`: where the chunk says.
    pub(super) fn fault_at(&self) -> Option<u64> {
        self.fault.as_ref().map(|fault| fault.at)
    }

    pub(super) fn held(&self) -> usize {
        let joined = self.joined.as_ref().map_or(0, |joined| joined.held());
        let alone = self.alone.as_ref().map_or(0, |alone| alone.held());
        self.plain.held() + self.value.len() + joined + alone
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        let joined = self.joined.as_mut().map_or(0, |joined| joined.take_unscanned());
        std::mem::take(&mut self.unscanned) + self.plain.take_unscanned() + joined
    }
}

/// Feeds bytes that lie at `at` to a walker.
fn pass(walker: &mut JsonWalker, bytes: &[u8], at: u64, target: &mut Target<'_>) -> Result<(), Fault> {
    let inner = Target { scratch: target.scratch, out: target.out, findings: target.findings };
    walker.push(bytes, inner).map_err(|fail| Fault::of(fail, bytes, at))
}

/// Whether a value is an event of an LLM's stream.
fn is_event(value: &[u8]) -> bool {
    value.starts_with(b"{")
        && llm::may_be_event(value)
        && Leaves::of(value).is_some_and(|leaves| llm::is_event(&leaves))
}
