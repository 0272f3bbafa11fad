//! The AWS event stream (`application/vnd.amazon.eventstream`) as a stream, as Bedrock answers with it.
//!
//! ```text
//!             12 bytes in               message in
//!   Prelude ───────────────► Message ───────────────► Prelude
//! ```
//!
//! One message is the unit: its CRC stands at its end and its lengths at its start, so it is taken whole (at most
//! [`MESSAGE_BYTES_MAX`]) and leaves when all that its texts carry is decided. Texts that go on over messages are
//! [`super::joined`]. A message in which nothing changed leaves exactly as it came.
//!
//! Texts are the names and values of headers, and the payload: JSON by its leaves, anything else whole. A payload
//! `{"bytes": "…"}` is base64 of a model's own event (`InvokeModelWithResponseStream`), which is masked inside.
//! Where in it a value lies is told to the message, not to the byte.
//!
//! A fault always ends the body: the rest, scanned as text, would pass what is in base64.
#![deny(clippy::indexing_slicing)]

mod frame;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

use super::carried::{Carried, Carrier, Target};
use super::fields::Fields;
use super::joined::{Carry, Change, Joined, apply};
use super::json::Fail;
use super::leaves::Leaves;
use crate::mask::Strategy;
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;
use frame::{Message, PRELUDE_BYTES, Prelude};

/// Most bytes of one message. The format allows 16 MiB of payload; a delta has some hundred bytes.
pub(super) const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Takes base64 with its padding and without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The walker of one body.
#[derive(Debug)]
pub(super) struct EventStreamWalker {
    /// The message that is coming in; its first byte lies at `at`.
    message: Vec<u8>,
    prelude: Option<Prelude>,
    at: u64,
    joined: Joined<Event>,
    /// For payloads that are neither JSON nor text: their length stays.
    binary: Carried,
}

/// Events of models: where they stand in the payload, and they themselves.
type Inner = Vec<(Range<usize>, Vec<u8>)>;

/// A message that is whole.
#[derive(Debug)]
struct Event {
    bytes: Vec<u8>,
    /// Headers, masked and spelled.
    headers: Vec<u8>,
    payload: Range<usize>,
    /// Documents from 1 on.
    inner: Inner,
}

impl Carry for Event {
    fn len(&self) -> usize {
        self.bytes.len() + self.headers.len() + self.inner.iter().map(|(_, bytes)| bytes.len()).sum::<usize>()
    }

    fn write(&self, changes: Vec<Change>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        let spelled = self.bytes.get(PRELUDE_BYTES..self.payload.start).unwrap_or_default();
        if changes.is_empty() && self.headers == spelled {
            out.extend_from_slice(&self.bytes);
            return Ok(());
        }
        let (mut outer, inner): (Vec<_>, Vec<_>) = changes.into_iter().partition(|c| c.document() == 0);
        for (document, (spelling, bytes)) in (1u8..).zip(&self.inner) {
            let of = |change: &&Change| change.document() == document;
            if inner.iter().any(|change| of(&change)) {
                let masked = apply(bytes, inner.iter().filter(of));
                outer.push(Change::to_bytes(0, spelling.clone(), wrap(&masked)));
            }
        }
        let payload = self.bytes.get(self.payload.clone()).unwrap_or_default();
        frame::write(&self.headers, &apply(payload, &outer), out)
    }
}

/// What is wrong with a message.
struct Fault {
    limit: bool,
    what: &'static str,
}

fn invalid(what: &'static str) -> Fault {
    Fault { limit: false, what }
}

fn over(what: &'static str) -> Fault {
    Fault { limit: true, what }
}

impl EventStreamWalker {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> EventStreamWalker {
        let fill = StreamOptions { strategy: Some(Strategy::Fill) };
        EventStreamWalker {
            message: Vec::new(),
            prelude: None,
            at: 0,
            joined: Joined::new(ruleset, options),
            binary: Carried::new(ruleset, &fill, Carrier::Decoded),
        }
    }

    pub(super) fn with_fields(mut self, fields: Option<Arc<Fields>>) -> EventStreamWalker {
        self.joined.fields = fields;
        self
    }

    pub(super) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) -> Result<(), Fail> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let want = self.prelude.map_or(PRELUDE_BYTES, |p| p.total) - self.message.len();
            let (part, after) = rest.split_at(want.min(rest.len()));
            self.message.extend_from_slice(part);
            rest = after;
            let taken = chunk.len() - rest.len();
            let fail = |fault: Fault| Fail { limit: fault.limit, what: fault.what, taken };
            if part.len() < want {
                break;
            }
            match self.prelude {
                None => {
                    let prelude = Prelude::of(&self.message).map_err(|what| fail(invalid(what)))?;
                    if prelude.total > MESSAGE_BYTES_MAX {
                        return Err(fail(over("the size of a message")));
                    }
                    self.prelude = Some(prelude);
                }
                Some(prelude) => {
                    let bytes = std::mem::take(&mut self.message);
                    let left = self.mask(bytes, prelude, &mut target).map_err(fail)?;
                    self.at += prelude.total as u64;
                    if let Some(Event { mut bytes, .. }) = left {
                        bytes.clear();
                        self.message = bytes;
                    }
                    self.prelude = None;
                }
            }
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, mut target: Target<'_>) -> Result<(), Fail> {
        if !self.message.is_empty() {
            return Err(Fail { limit: false, what: "a message ends too early", taken: 0 });
        }
        self.joined.end(b"", &mut target);
        let left = self.joined.drain(target.out);
        left.map(drop).map_err(|what| Fail { limit: true, what, taken: 0 })
    }

    pub(super) fn held(&self) -> usize {
        self.message.len() + self.joined.held()
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        self.joined.take_unscanned()
    }

    /// Masks a message that is whole; it and what waited for it leave, if they can. Gives one that left.
    fn mask(
        &mut self,
        bytes: Vec<u8>,
        prelude: Prelude,
        target: &mut Target<'_>,
    ) -> Result<Option<Event>, Fault> {
        let message = Message::of(&bytes, prelude).map_err(invalid)?;
        let findings = target.findings.len();
        let headers = self.mask_headers(&message, target).map_err(over)?;
        let at = self.at + message.payload.start as u64;
        if matches!(message.string(":message-type"), Some("exception" | "error")) {
            self.joined.end(b"", target);
        }
        self.joined.begin();
        let name = message.string(":event-type");
        let inner = self.mask_payload(message.part(&message.payload), name, at, target).map_err(over)?;
        let end = self.at + bytes.len() as u64;
        for finding in target.findings.iter_mut().skip(findings) {
            finding.end = finding.end.min(end);
            finding.start = finding.start.min(finding.end.saturating_sub(1));
        }
        let payload = message.payload;
        self.joined.commit(Event { bytes, headers, payload, inner }, target.out).map_err(over)
    }

    /// The headers, masked and spelled.
    fn mask_headers(
        &mut self,
        message: &Message<'_>,
        target: &mut Target<'_>,
    ) -> Result<Vec<u8>, &'static str> {
        let mut out = Vec::new();
        for header in &message.headers {
            let name = message.part(&header.name);
            let masked = self.joined.mask_whole(b"", name, self.at + header.name.start as u64, target);
            let value = message.part(&header.value);
            if header.is_text() {
                let context = [b"\"", name, b"\":\""].concat();
                let at = self.at + header.value.start as u64;
                let value = self.joined.mask_whole(&context, value, at, target);
                frame::write_header(&masked, header.kind, &value, &mut out)?;
            } else {
                frame::write_header(&masked, header.kind, value, &mut out)?;
            }
        }
        Ok(out)
    }

    /// Masks the payload; gives the events of models in it.
    fn mask_payload(
        &mut self,
        payload: &[u8],
        name: Option<&str>,
        at: u64,
        target: &mut Target<'_>,
    ) -> Result<Inner, &'static str> {
        let mut inner = Vec::new();
        let Some(leaves) = Leaves::of(payload).filter(|_| is_json(payload)) else {
            let masked = self.mask_other(payload, at, target);
            if masked != payload {
                self.joined.change(0, 0..payload.len(), masked);
            }
            return Ok(inner);
        };
        let mut done = Vec::new();
        // Of a member that is there twice, clients differ in which they take.
        for (n, leaf) in leaves.iter().enumerate().filter(|(_, l)| leaves.path(l) == b"bytes") {
            let Some(bytes) = leaves.text(leaf).and_then(|text| BASE64.decode(text).ok()) else { continue };
            done.push(n);
            let document = u8::try_from(inner.len() + 1).map_err(|_| "the number of events in a message")?;
            if let Some(leaves) = Leaves::of(&bytes).filter(|_| is_json(&bytes)) {
                self.joined.mask(document, &leaves, None, at, &[], target)?;
            } else {
                let masked = self.mask_other(&bytes, at, target);
                if masked != bytes {
                    self.joined.change(0, leaf.spelling(), wrap(&masked));
                }
            }
            inner.push((leaf.spelling(), bytes));
        }
        self.joined.mask(0, &leaves, name, at, &done, target)?;
        Ok(inner)
    }

    /// Masks what is no JSON.
    fn mask_other(&mut self, bytes: &[u8], at: u64, target: &mut Target<'_>) -> Vec<u8> {
        match std::str::from_utf8(bytes) {
            Ok(_) => self.joined.mask_whole(b"", bytes, at, target),
            Err(_) => self.mask_binary(bytes, at, target),
        }
    }

    fn mask_binary(&mut self, bytes: &[u8], at: u64, target: &mut Target<'_>) -> Vec<u8> {
        let mut masked = Vec::with_capacity(bytes.len());
        let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
        self.binary.last(bytes, at, &mut inner);
        masked
    }
}

/// Whether the first byte is that of an object or array.
fn is_json(bytes: &[u8]) -> bool {
    matches!(bytes.trim_ascii_start().first(), Some(b'{' | b'['))
}

/// A string of JSON that is base64 of `bytes`.
fn wrap(bytes: &[u8]) -> Vec<u8> {
    format!("\"{}\"", general_purpose::STANDARD.encode(bytes)).into_bytes()
}
