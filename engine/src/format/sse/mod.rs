//! Server-sent events (WHATWG HTML, section 9.2.6) as a stream.
//!
//! One event is the unit: it leaves when its blank line is in and all that its texts carry is decided; texts that go
//! on over events are [`super::joined`]. An event in which nothing changed leaves exactly as it came. What comes last
//! without a blank line is masked as an event: the standard's parser drops it, others do not.
//!
//! Data that is not JSON is one text over all events, and each event's is scanned on its own too; comments and the other
//! fields are texts of their own.
//!
//! Memory: one event of at most [`EVENT_BYTES_MAX`], events that wait of at most
//! [`super::joined::WAITING_BYTES_MAX`], and for each of at most [`super::joined::TEXTS_MAX`] texts its streams.
#![deny(clippy::indexing_slicing)]

#[cfg(test)]
mod alike_tests;
mod event;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::carried::Target;
use super::fields::Fields;
use super::joined::{Joined, Shapes};
use super::json::Fail;
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;
use event::SseEvent;

/// Most bytes of one event, its blank line included.
pub(super) const EVENT_BYTES_MAX: usize = 1 << 20;

/// The walker of one body.
#[derive(Debug)]
pub(super) struct SseWalker {
    /// The event that is coming in; its first byte lies at `at`.
    event: Vec<u8>,
    at: u64,
    /// Where its last line begins.
    line: usize,
    /// The last byte was a CR: an LF belongs to it.
    after_cr: bool,
    joined: Joined<SseEvent>,
    shapes: Shapes,
    /// Room for an event's data.
    data: Vec<u8>,
}

impl SseWalker {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> SseWalker {
        SseWalker {
            event: Vec::new(),
            at: 0,
            line: 0,
            after_cr: false,
            joined: Joined::new(ruleset, options),
            shapes: Shapes::default(),
            data: Vec::new(),
        }
    }

    pub(super) fn with_fields(mut self, fields: Option<Arc<Fields>>) -> SseWalker {
        self.joined.fields = fields;
        self
    }

    pub(super) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) -> Result<(), Fail> {
        let taken = self.take(chunk, &mut target);
        self.joined.catch_up(&mut target);
        // Nothing is wrong with events that were taken.
        let drained = self.joined.drain(target.out).map(drop);
        taken.and(drained.map_err(|what| Fail { limit: true, what, taken: chunk.len() }))
    }

    fn take(&mut self, chunk: &[u8], target: &mut Target<'_>) -> Result<(), Fail> {
        let mut rest = chunk;
        while let Some((&first, tail)) = rest.split_first() {
            let fail = |what, left: &[u8]| Fail { limit: true, what, taken: chunk.len() - left.len() };
            if !self.after_cr
                && self.event.is_empty()
                && let Some(len) = self.shapes.fit(rest)
                && let Some((event, after)) = rest.split_at_checked(len)
                && self.take_alike(event, target).map_err(|what| fail(what, after))?
            {
                rest = after;
                continue;
            }
            if std::mem::take(&mut self.after_cr) && first == b'\n' {
                self.end_of_cr(target);
                rest = tail;
                continue;
            }
            let end = memchr::memchr2(b'\r', b'\n', rest);
            let (line, after) = rest.split_at(end.map_or(rest.len(), |n| n + 1));
            if self.event.len() + line.len() > EVENT_BYTES_MAX {
                return Err(fail("the size of an event", rest));
            }
            self.event.extend_from_slice(line);
            rest = after;
            if end.is_none() {
                break;
            }
            self.after_cr = line.last() == Some(&b'\r');
            let blank = self.event.len() - self.line == 1;
            self.line = self.event.len();
            if blank {
                self.dispatch(false, target).map_err(|what| fail(what, rest))?;
            }
        }
        Ok(())
    }

    /// An LF that belongs to the CR before it.
    fn end_of_cr(&mut self, target: &mut Target<'_>) {
        if self.event.is_empty() {
            match self.joined.last_mut() {
                Some(waiting) => waiting.bytes.push(b'\n'),
                None => target.out.push(b'\n'),
            }
            self.at += 1;
        } else {
            self.event.push(b'\n');
            self.line = self.event.len();
        }
    }

    pub(super) fn finish(&mut self, mut target: Target<'_>) -> Result<(), Fail> {
        self.dispatch(true, &mut target).map_err(|what| Fail { limit: true, what, taken: 0 })
    }

    /// Masks an event that has the shape found last; false: it could not be, and nothing was done.
    fn take_alike(&mut self, event: &[u8], target: &mut Target<'_>) -> Result<bool, &'static str> {
        if event.len() > EVENT_BYTES_MAX || !self.joined.mask_alike(&self.shapes, event, self.at, target) {
            return Ok(false);
        }
        let mut bytes = self.joined.spare.pop().map(|spare| spare.bytes).unwrap_or_default();
        bytes.clear();
        bytes.extend_from_slice(event);
        self.at += event.len() as u64;
        self.joined.commit_ahead(SseEvent::new(bytes), target)?;
        Ok(true)
    }

    /// Masks the event that is in.
    fn dispatch(&mut self, last: bool, target: &mut Target<'_>) -> Result<(), &'static str> {
        let event = std::mem::take(&mut self.event);
        if !last && self.shapes.fit(&event) == Some(event.len()) && self.take_alike(&event, target)? {
            self.event = event;
            self.event.clear();
            self.line = 0;
            return Ok(());
        }
        self.joined.catch_up(target);
        let len = event.len() as u64;
        let left = event::mask(self, event, last, target)?;
        self.at += len;
        self.line = 0;
        if let Some(SseEvent { mut bytes, .. }) = left {
            bytes.clear();
            self.event = bytes;
        }
        Ok(())
    }

    /// After a fault: what is held leaves masked, and the bytes that were taken and not told are given back.
    pub(super) fn break_off(&mut self, mut target: Target<'_>) -> Vec<u8> {
        self.joined.end(b"", &mut target);
        // Nothing is wrong with events that were taken.
        let _ = self.joined.drain(target.out);
        std::mem::take(&mut self.event)
    }

    pub(super) fn held(&self) -> usize {
        self.event.len() + self.joined.held()
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        self.joined.take_unscanned()
    }
}
