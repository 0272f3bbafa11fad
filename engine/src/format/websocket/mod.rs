//! What one side of a WebSocket sends (RFC 6455), as a stream.
//!
//! ```text
//!             header of a control frame               payload in
//!   Header ─┬───────────────────────────► Control ─────────────────► Header    behind a close: End
//!           │ header of a data frame                  payload in
//!           └───────────────────────────► Data ────────────────────► Header    the last of its message: that is whole
//! ```
//!
//! # Messages
//! A message is the unit. One in which nothing changed leaves exactly as it came, in its fragments and with its keys. One
//! that changed leaves as one frame with the key of its first.
//!
//! * A text message must be UTF-8 (section 8.1) and is taken whole, at most [`MESSAGE_BYTES_MAX`] with its headers. JSON is
//!   masked by its leaves, anything else as one text.
//! * A binary message is one text, replaced at equal length. One of more than [`HELD_BYTES_MAX`] is not held: it leaves in
//!   fragments of [`FRAGMENT_BYTES`], which an endpoint may not tell from others (section 5.4), so it may be of any length.
//!   The first of them has the key of the message's first frame, the others have keys made of it.
//! * Control frames leave at once, before messages that wait. Their payload is one text, replaced at equal length.
//!
//! # Texts over messages
//! Deltas of APIs that are known, sent by the server, are joined over messages ([`super::joined`]), until what ends them.
//! No other text goes on: the other side may be waiting for the message that would wait, and answer nothing before.
//!
//! # Faults
//! A fault always ends the body: what a key hides can't be scanned as text. Faults are what section 5 forbids, and any bit
//! of an extension: `permessage-deflate` (RFC 7692) must not be negotiated.
//!
//! # Exactness
//! Binary messages are given to their text in blocks of [`BLOCK_BYTES`], so that where fragments end follows from the
//! bytes and not from how they came.
#![deny(clippy::indexing_slicing)]

mod frame;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::carried::{Carried, Carrier, Target};
use super::fields::Fields;
use super::joined::{Carry, Change, Joined, apply};
use super::json::Fail;
use super::leaves::Leaves;
use crate::mask::Strategy;
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;
use frame::{CONTROL_BYTES_MAX, HEADER_BYTES_MAX, Header, Key, Opcode};

/// Most bytes of a text message, as it comes, headers included.
pub(super) const MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Most bytes of a binary message, headers included, that are held to let it leave as it came.
pub(super) const HELD_BYTES_MAX: usize = 64 << 10;
/// Bytes of the fragments of a binary message that is longer.
pub(super) const FRAGMENT_BYTES: usize = 16 << 10;
/// Bytes that a binary message's text is given at once.
const BLOCK_BYTES: usize = 4 << 10;

/// Who sends the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebSocketSide {
    /// The client, whose frames have masking keys (RFC 6455, section 5.1).
    Client,
    /// The server, whose frames have none.
    Server,
}

/// The walker of what one side sends.
#[derive(Debug)]
pub(super) struct WebSocketWalker {
    side: WebSocketSide,
    /// A header that is coming in.
    head: Vec<u8>,
    state: State,
    /// The data message that is coming in.
    message: Option<Message>,
    /// The payload of a control frame that is coming in.
    control: Vec<u8>,
    joined: Joined<Frames>,
    /// For binary messages, and for control frames.
    binary: Carried,
    short: Carried,
    /// Bytes of the body so far.
    at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Header,
    /// In the payload of a frame, of which this much has come.
    Control(Header, u64),
    Data(Header, u64),
    /// A close has come.
    End,
}

/// A data message that is coming in.
#[derive(Debug)]
struct Message {
    is_text: bool,
    /// Of its first frame.
    key: Option<Key>,
    /// Where its first frame begins.
    at: u64,
    /// Its frames as they came; nothing more is added once it leaves in fragments.
    frames: Vec<u8>,
    /// Its payload without the keys: of a binary message in fragments, what has not been scanned.
    payload: Vec<u8>,
    /// Of a binary message in fragments: bytes scanned, masked bytes that have not left, and how many have left.
    sent: Option<Sent>,
}

#[derive(Debug, Default)]
struct Sent {
    scanned: u64,
    masked: Vec<u8>,
    fragments: u64,
}

/// A message that is whole.
#[derive(Debug)]
struct Frames {
    frames: Vec<u8>,
    key: Option<Key>,
    payload: Vec<u8>,
}

impl Carry for Frames {
    fn len(&self) -> usize {
        self.frames.len() + self.payload.len()
    }

    fn write(&self, changes: Vec<Change>, out: &mut Vec<u8>) -> Result<(), &'static str> {
        if changes.is_empty() {
            out.extend_from_slice(&self.frames);
        } else {
            let payload = apply(&self.payload, &changes);
            let len = payload.len() as u64;
            Header { is_last: true, opcode: Opcode::Text, len, key: self.key }.write(&payload, out);
        }
        Ok(())
    }
}

fn invalid(what: &'static str) -> Fail {
    Fail { limit: false, what, taken: 0 }
}

fn over(what: &'static str) -> Fail {
    Fail { limit: true, what, taken: 0 }
}

impl WebSocketWalker {
    pub(super) fn new(
        ruleset: &Arc<Ruleset>,
        options: &StreamOptions,
        side: WebSocketSide,
    ) -> WebSocketWalker {
        let fill = StreamOptions { strategy: Some(Strategy::Fill) };
        WebSocketWalker {
            side,
            head: Vec::new(),
            state: State::Header,
            message: None,
            control: Vec::new(),
            joined: Joined::new(ruleset, options),
            binary: Carried::new(ruleset, &fill, Carrier::Decoded),
            short: Carried::new(ruleset, &fill, Carrier::Decoded),
            at: 0,
        }
    }

    pub(super) fn with_fields(mut self, fields: Option<Arc<Fields>>) -> WebSocketWalker {
        self.joined.fields = fields;
        self
    }

    pub(super) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) -> Result<(), Fail> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let before = chunk.len() - rest.len();
            let taken = self.take(rest, &mut target);
            let taken = taken.map_err(|fail| Fail { taken: before + fail.taken, ..fail })?;
            self.at += taken as u64;
            rest = rest.get(taken..).unwrap_or_default();
        }
        Ok(())
    }

    /// Takes some bytes; tells how many.
    fn take(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<usize, Fail> {
        match self.state {
            State::End => Err(invalid("a frame after the close")),
            State::Header => {
                // One by one, for a header is short and ends where it says.
                self.head.extend(bytes.first());
                debug_assert!(self.head.len() <= HEADER_BYTES_MAX, "a header ends");
                if let Some((header, _)) = Header::of(&self.head).map_err(invalid)? {
                    self.begin(header, target)?;
                }
                Ok(1)
            }
            State::Control(header, index) => {
                let len = usize::try_from(header.len - index).unwrap_or(usize::MAX).min(bytes.len());
                let from = self.control.len();
                self.control.extend_from_slice(bytes.get(..len).unwrap_or_default());
                frame::apply(header.key, index, self.control.get_mut(from..).unwrap_or_default());
                self.state = State::Control(header, index + len as u64);
                if index + len as u64 == header.len {
                    let done = self.end_control(header, self.at + len as u64 - header.len, target);
                    done.map_err(|fail| Fail { taken: len, ..fail })?;
                }
                Ok(len)
            }
            State::Data(header, index) => {
                let len = usize::try_from(header.len - index).unwrap_or(usize::MAX).min(bytes.len());
                let bytes = bytes.get(..len).unwrap_or_default();
                self.payload(header, index, bytes, target)?;
                self.state = State::Data(header, index + len as u64);
                if index + len as u64 == header.len {
                    let done = self.end_frame(header, self.at + len as u64, target);
                    done.map_err(|fail| Fail { taken: len, ..fail })?;
                }
                Ok(len)
            }
        }
    }

    /// A header is in.
    fn begin(&mut self, header: Header, target: &mut Target<'_>) -> Result<(), Fail> {
        match (self.side, header.key) {
            (WebSocketSide::Client, Some(_)) | (WebSocketSide::Server, None) => {}
            (WebSocketSide::Client, None) => return Err(invalid("a client's frame without a key")),
            (WebSocketSide::Server, Some(_)) => return Err(invalid("a server's frame with a key")),
        }
        let head = std::mem::take(&mut self.head);
        let end = self.at + 1;
        if header.opcode.is_control() {
            debug_assert!(header.len <= CONTROL_BYTES_MAX, "a header says no more");
            self.state = State::Control(header, 0);
            return if header.len == 0 { self.end_control(header, end, target) } else { Ok(()) };
        }
        let at = end - head.len() as u64;
        match (header.opcode, &self.message) {
            (Opcode::Continuation, None) => return Err(invalid("a fragment of no message")),
            (Opcode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(invalid("a message within another")),
            (opcode, None) => {
                let is_text = opcode == Opcode::Text;
                let (key, frames, payload) = (header.key, Vec::new(), Vec::new());
                self.message = Some(Message { is_text, key, at, frames, payload, sent: None });
            }
        }
        self.as_it_came(&head, target).map_err(|fail| Fail { taken: 0, ..fail })?;
        self.state = State::Data(header, 0);
        if header.len == 0 { self.end_frame(header, end, target) } else { Ok(()) }
    }

    /// Notes bytes of the message's frames.
    fn as_it_came(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<(), Fail> {
        let Some(message) = self.message.as_mut().filter(|m| m.sent.is_none()) else { return Ok(()) };
        let limit = if message.is_text { MESSAGE_BYTES_MAX } else { HELD_BYTES_MAX };
        if message.frames.len() + bytes.len() <= limit {
            message.frames.extend_from_slice(bytes);
            return Ok(());
        }
        if message.is_text {
            return Err(Fail { taken: limit - message.frames.len(), ..over("the size of a message") });
        }
        message.frames = Vec::new();
        message.sent = Some(Sent::default());
        // What waits leaves first.
        self.joined.end(b"", target);
        self.joined.drain(target.out).map(drop).map_err(over)
    }

    /// Bytes of a data frame's payload, the first of which has this index.
    fn payload(
        &mut self,
        header: Header,
        index: u64,
        bytes: &[u8],
        target: &mut Target<'_>,
    ) -> Result<(), Fail> {
        // In pieces, so that what is held is bounded.
        for (n, piece) in bytes.chunks(BLOCK_BYTES).enumerate() {
            let before = n * BLOCK_BYTES;
            let noted = self.as_it_came(piece, target);
            noted.map_err(|fail| Fail { taken: before + fail.taken, ..fail })?;
            let Some(message) = &mut self.message else { return Ok(()) };
            let from = message.payload.len();
            message.payload.extend_from_slice(piece);
            let index = index + before as u64;
            frame::apply(header.key, index, message.payload.get_mut(from..).unwrap_or_default());
            if message.sent.is_some() {
                message.send(false, &mut self.binary, target);
            }
        }
        Ok(())
    }

    /// A data frame ends at `end`.
    fn end_frame(&mut self, header: Header, end: u64, target: &mut Target<'_>) -> Result<(), Fail> {
        self.state = State::Header;
        if !header.is_last {
            return Ok(());
        }
        let Some(mut message) = self.message.take() else { return Ok(()) };
        if message.sent.is_some() {
            message.send(true, &mut self.binary, target);
            return Ok(());
        }
        let findings = target.findings.len();
        self.joined.begin();
        let frames = if message.is_text {
            self.text(&message, target)?;
            Frames { frames: message.frames, key: message.key, payload: message.payload }
        } else {
            message.rewrite(&mut self.binary, target);
            Frames { frames: message.frames, key: None, payload: Vec::new() }
        };
        // Places are those in the payload, which may lie in several frames.
        for finding in target.findings.iter_mut().skip(findings) {
            finding.end = finding.end.min(end);
            finding.start = finding.start.min(finding.end.saturating_sub(1));
        }
        self.joined.commit(frames, target.out).map(drop).map_err(over)
    }

    /// Masks a text message that is whole.
    fn text(&mut self, message: &Message, target: &mut Target<'_>) -> Result<(), Fail> {
        let payload = &message.payload;
        if std::str::from_utf8(payload).is_err() {
            return Err(invalid("a text message that is not UTF-8"));
        }
        let at = message.at + (message.frames.len().saturating_sub(payload.len())) as u64;
        let is_json = matches!(payload.trim_ascii_start().first(), Some(b'{' | b'[' | b'"'));
        let leaves = if is_json { Leaves::of(payload) } else { None };
        let Some(leaves) = leaves else {
            let masked = self.joined.mask_whole(b"", payload, at, target);
            if masked != *payload {
                self.joined.change(0, 0..payload.len(), masked);
            }
            return Ok(());
        };
        self.joined.mask(0, &leaves, None, at, &[], target).map_err(over)?;
        match self.side {
            WebSocketSide::Client => self.joined.end(b"", target),
            WebSocketSide::Server => self.joined.end_unknown(target),
        }
        Ok(())
    }

    /// A control frame ends; its payload begins at `at`.
    fn end_control(&mut self, header: Header, at: u64, target: &mut Target<'_>) -> Result<(), Fail> {
        self.state = State::Header;
        let payload = std::mem::take(&mut self.control);
        let text = match header.opcode {
            Opcode::Close => {
                self.message = None;
                self.state = State::End;
                self.joined.end(b"", target);
                self.joined.drain(target.out).map_err(over)?;
                match payload.as_slice() {
                    [] => 0,
                    [a, b, ..] if !frame::is_close_code(u16::from_be_bytes([*a, *b])) => {
                        return Err(invalid("a code that no close has"));
                    }
                    [_, _, reason @ ..] if std::str::from_utf8(reason).is_ok() => 2,
                    [_] => return Err(invalid("half a code in a close")),
                    _ => return Err(invalid("a reason that is not UTF-8")),
                }
            }
            Opcode::Ping | Opcode::Pong | Opcode::Continuation | Opcode::Text | Opcode::Binary => 0,
        };
        let (code, text) = payload.split_at_checked(text).unwrap_or((&payload, &[]));
        let mut masked = code.to_vec();
        let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
        self.short.last(text, at + code.len() as u64, &mut inner);
        header.write(&masked, target.out);
        Ok(())
    }

    pub(super) fn finish(&mut self, mut target: Target<'_>) -> Result<(), Fail> {
        let whole = matches!(self.state, State::Header | State::End);
        if !whole || !self.head.is_empty() || self.message.is_some() {
            return Err(invalid("a message ends too early"));
        }
        self.joined.end(b"", &mut target);
        self.joined.drain(target.out).map(drop).map_err(over)
    }

    pub(super) fn held(&self) -> usize {
        let message = self.message.as_ref().map_or(0, Message::held);
        self.head.len() + self.control.len() + message + self.joined.held()
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        self.joined.take_unscanned()
    }
}

impl Message {
    fn held(&self) -> usize {
        let sent = self.sent.as_ref().map_or(0, |s| s.masked.len());
        self.frames.len().max(self.payload.len()) + sent
    }

    /// Scans whole blocks of a binary message, if it is the `last` all, and lets fragments leave.
    fn send(&mut self, last: bool, text: &mut Carried, target: &mut Target<'_>) {
        let Some(sent) = &mut self.sent else { return };
        while self.payload.len() >= BLOCK_BYTES || (last && !self.payload.is_empty()) {
            let block: Vec<u8> = self.payload.drain(..BLOCK_BYTES.min(self.payload.len())).collect();
            let at = self.at + sent.scanned;
            let mut inner =
                Target { scratch: target.scratch, out: &mut sent.masked, findings: target.findings };
            text.plain(&block, at, &mut inner);
            sent.scanned += block.len() as u64;
        }
        if last {
            let mut inner =
                Target { scratch: target.scratch, out: &mut sent.masked, findings: target.findings };
            text.finish(&mut inner);
        }
        while sent.masked.len() > FRAGMENT_BYTES || last {
            let len = sent.masked.len().min(FRAGMENT_BYTES);
            let is_last = last && len == sent.masked.len();
            let opcode = if sent.fragments == 0 { Opcode::Binary } else { Opcode::Continuation };
            let key = frame::key_of(self.key, sent.fragments);
            let fragment: Vec<u8> = sent.masked.drain(..len).collect();
            Header { is_last, opcode, len: len as u64, key }.write(&fragment, target.out);
            sent.fragments += 1;
            if is_last {
                return;
            }
        }
    }

    /// Masks a binary message that is whole: its frames are new where something in it is masked.
    fn rewrite(&mut self, text: &mut Carried, target: &mut Target<'_>) {
        let mut masked = Vec::with_capacity(self.payload.len());
        let at = self.at + (self.frames.len().saturating_sub(self.payload.len())) as u64;
        let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
        text.last(&self.payload, at, &mut inner);
        if masked != self.payload {
            self.frames.clear();
            let (len, key) = (masked.len() as u64, self.key);
            Header { is_last: true, opcode: Opcode::Binary, len, key }.write(&masked, &mut self.frames);
        }
    }
}
