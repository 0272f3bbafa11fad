//! The AWS event stream (`application/vnd.amazon.eventstream`) as a stream, as Bedrock answers with it.
//!
//! ```text
//!             12 bytes in               message in
//!   Prelude ───────────────► Message ───────────────► Prelude
//! ```
//!
//! One message is the unit: its CRC stands at its end and its lengths at its start, so it is taken whole (at most
//! [`MESSAGE_BYTES_MAX`]) and leaves with what can leave of its texts by then. Texts that go on over messages are
//! [`super::joined`]; what one holds at the end leaves in a message made like the last that carried it. A message in
//! which nothing changed leaves exactly as it came.
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

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};
use base64::engine::{DecodePaddingMode, general_purpose};

use super::carried::{Carried, Carrier, Target};
use super::fields::Fields;
use super::joined::{Event, Joined, Made};
use super::json::Fail;
use super::leaves::Leaves;
use super::llm::Ends;
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
    joined: Joined<Frame>,
    /// For payloads that are neither JSON nor text: their length stays.
    binary: Carried,
}

/// What a message needs that is made for a text.
#[derive(Clone, Debug)]
struct Frame {
    /// Headers, masked and spelled.
    headers: Vec<u8>,
    /// The event is in base64 in the payload.
    is_wrapped: bool,
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
                    self.mask(&bytes, prelude, &mut target).map_err(fail)?;
                    self.at += bytes.len() as u64;
                    self.message = bytes;
                    self.message.clear();
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
        let mut made = Vec::new();
        self.joined.end(&Ends::All, &mut made, &mut target);
        let fail = |fault: Fault| Fail { limit: fault.limit, what: fault.what, taken: 0 };
        write_made(made, target.out).map_err(fail)
    }

    pub(super) fn held(&self) -> usize {
        self.message.len() + self.joined.held()
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        self.joined.take_unscanned()
    }

    /// Masks a message that is whole, and tells it.
    fn mask(&mut self, bytes: &[u8], prelude: Prelude, target: &mut Target<'_>) -> Result<(), Fault> {
        let message = Message::of(bytes, prelude).map_err(invalid)?;
        let findings = target.findings.len();
        let headers = self.mask_headers(&message, target).map_err(over)?;
        let payload = message.part(&message.payload);
        let at = self.at + message.payload.start as u64;
        let mut made = Vec::new();
        let is_failure = matches!(message.string(":message-type"), Some("exception" | "error"));
        if is_failure {
            self.joined.end(&Ends::All, &mut made, target);
        }
        let name = message.string(":event-type");
        let masked = self.mask_payload(payload, name, &headers, at, &mut made, target).map_err(over)?;
        write_made(made, target.out)?;
        let end = self.at + bytes.len() as u64;
        for finding in target.findings.iter_mut().skip(findings) {
            finding.end = finding.end.min(end);
            finding.start = finding.start.min(finding.end.saturating_sub(1));
        }
        let spelled = bytes.get(PRELUDE_BYTES..message.payload.start).unwrap_or_default();
        match masked {
            None if headers == spelled => target.out.extend_from_slice(bytes),
            masked => {
                let payload = masked.as_deref().unwrap_or(payload);
                frame::write(&headers, payload, target.out).map_err(over)?;
            }
        }
        Ok(())
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

    /// The new payload, if it is new.
    fn mask_payload(
        &mut self,
        payload: &[u8],
        name: Option<&str>,
        headers: &[u8],
        at: u64,
        made: &mut Vec<Made<Frame>>,
        target: &mut Target<'_>,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let Some(leaves) = Leaves::of(payload).filter(|_| is_json(payload)) else {
            let masked = match std::str::from_utf8(payload) {
                Ok(_) => self.joined.mask_whole(b"", payload, at, target),
                Err(_) => self.mask_binary(payload, at, target),
            };
            return Ok((masked != payload).then_some(masked));
        };
        let frame = || Frame { headers: headers.to_vec(), is_wrapped: false };
        let mut event = Event { leaves: &leaves, name, at, last: false, given: Vec::new(), frame: &frame };
        // Of a member that is there twice, clients differ in which they take.
        for (n, leaf) in leaves.iter().enumerate().filter(|(_, l)| leaves.path(l) == b"bytes") {
            let Some(inner) = leaves.text(leaf).and_then(|text| BASE64.decode(text).ok()) else { continue };
            let masked = self.mask_inner(&inner, headers, at, made, target)?;
            event.given.push((n, masked.map(|masked| wrap(&masked))));
        }
        self.joined.mask(event, made, target)
    }

    /// The new event of a model, if it is new.
    fn mask_inner(
        &mut self,
        inner: &[u8],
        headers: &[u8],
        at: u64,
        made: &mut Vec<Made<Frame>>,
        target: &mut Target<'_>,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let Some(leaves) = Leaves::of(inner).filter(|_| is_json(inner)) else {
            let masked = match std::str::from_utf8(inner) {
                Ok(_) => self.joined.mask_whole(b"", inner, at, target),
                Err(_) => self.mask_binary(inner, at, target),
            };
            return Ok((masked != inner).then_some(masked));
        };
        let frame = || Frame { headers: headers.to_vec(), is_wrapped: true };
        let event = Event { leaves: &leaves, name: None, at, last: false, given: Vec::new(), frame: &frame };
        self.joined.mask(event, made, target)
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

/// Writes messages that were made.
fn write_made(made: Vec<Made<Frame>>, out: &mut Vec<u8>) -> Result<(), Fault> {
    for Made { frame, data } in made {
        let payload =
            if frame.is_wrapped { [b"{\"bytes\":", wrap(&data).as_slice(), b"}"].concat() } else { data };
        frame::write(&frame.headers, &payload, out).map_err(over)?;
    }
    Ok(())
}
