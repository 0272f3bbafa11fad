//! gRPC messages (grpc/doc/PROTOCOL-HTTP2.md, "Length-Prefixed-Message") as a stream.
//!
//! ```text
//!            5 bytes in, flag 0              message in
//!   Prefix ─────────────────────► Message ───────────────► Prefix
//!     │  flag 1     whole message in                          ▲
//!     ├──────────► Coded ─────────────────────────────────────┤
//!     │  flag 0x80 (gRPC-Web: trailers)     block in          │
//!     └──────────► Trailers ──────────────────────────────────┘
//! ```
//!
//! A message is walked as [`super::protobuf`] does, in place: its length stays. One that is compressed is taken whole,
//! for its length stands before it and is new when something in it is masked; else it leaves as it came. What the
//! compression is says the field `grpc-encoding`, so the walker is told; without it a compressed message is refused.
//!
//! A fault always ends the body, whatever is asked for: in what can't be taken apart, what is compressed can't be
//! told from what is not, and the former would pass unscanned.
#![deny(clippy::indexing_slicing)]

#[cfg(test)]
mod tests;

use std::sync::Arc;

use super::carried::{Carried, Carrier, Target};
use super::coding::{Coding, CodingErrorKind, CodingLimits, Codings, Decoder, Encoder};
use super::json::Fail;
use super::protobuf::ProtobufWalker;
use super::protobuf::schema::Schema;
use crate::mask::Strategy;
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;

/// Bytes before each message: a flag, and the message's length in network order.
const PREFIX_BYTES: usize = 5;
/// Most bytes of a compressed message, as it comes and as it is decoded: what gRPC's libraries take by default.
pub(super) const CODED_BYTES_MAX: usize = 4 << 20;

/// The walker of one body.
#[derive(Debug)]
pub(super) struct GrpcWalker {
    message: ProtobufWalker,
    trailers: Carried,
    coding: Option<Coding>,
    state: State,
    /// A prefix that is coming in, or a compressed message behind its prefix.
    taken: Vec<u8>,
    /// Bytes of the body so far.
    at: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Prefix,
    Message { left: usize },
    Coded { left: usize },
    Trailers { left: usize },
}

impl GrpcWalker {
    pub(super) fn new(ruleset: &Arc<Ruleset>, schema: Schema, coding: Option<Coding>) -> GrpcWalker {
        let options = StreamOptions { strategy: Some(Strategy::Fill) };
        GrpcWalker {
            message: ProtobufWalker::new(ruleset, schema, false),
            trailers: Carried::new(ruleset, &options, Carrier::Text),
            coding,
            state: State::Prefix,
            taken: Vec::new(),
            at: 0,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) -> Result<(), Fail> {
        let mut rest = chunk;
        while !rest.is_empty() {
            let before = chunk.len() - rest.len();
            let fail = |fail: Fail| Fail { taken: before + fail.taken, ..fail };
            let want = match self.state {
                State::Prefix => PREFIX_BYTES - self.taken.len(),
                State::Message { left } | State::Coded { left } | State::Trailers { left } => left,
            };
            let (part, after) = rest.split_at(want.min(rest.len()));
            match &mut self.state {
                State::Prefix => {
                    self.prefix(part, &mut target).map_err(fail)?;
                }
                State::Message { left } => {
                    *left -= part.len();
                    let inner =
                        Target { scratch: target.scratch, out: target.out, findings: target.findings };
                    self.message.push(part, inner).map_err(fail)?;
                }
                State::Coded { left } => {
                    *left -= part.len();
                    self.taken.extend_from_slice(part);
                }
                State::Trailers { left } => {
                    *left -= part.len();
                    self.trailers.plain(part, self.at, &mut target);
                }
            }
            self.at += part.len() as u64;
            rest = after;
            let taken = chunk.len() - rest.len();
            self.end_message(&mut target).map_err(|fail| Fail { taken, ..fail })?;
        }
        Ok(())
    }

    /// Takes bytes of a prefix; acts on it when it is whole.
    fn prefix(&mut self, part: &[u8], target: &mut Target<'_>) -> Result<(), Fail> {
        let invalid = |what| Err(Fail { limit: false, what, taken: 0 });
        if let (true, Some(flag)) = (self.taken.is_empty(), part.first()) {
            match flag {
                0 | 0x80 => {}
                1 if self.coding.is_some() => {}
                1 => return invalid("a compressed message, and no known grpc-encoding"),
                _ => return invalid("an unknown flag before a message"),
            }
        }
        self.taken.extend_from_slice(part);
        let [flag, len @ ..] = self.taken.as_slice() else { return Ok(()) };
        let Ok(len) = <[u8; 4]>::try_from(len) else { return Ok(()) };
        let left = u32::from_be_bytes(len) as usize;
        match flag {
            1 if left > CODED_BYTES_MAX => {
                let taken = part.len().saturating_sub(1);
                return Err(Fail { limit: true, what: "the size of a compressed message", taken });
            }
            1 => self.state = State::Coded { left },
            flag => {
                self.state = if *flag == 0 { State::Message { left } } else { State::Trailers { left } };
                target.out.extend_from_slice(&self.taken);
                self.taken.clear();
                self.message.begin(self.at + part.len() as u64);
            }
        }
        Ok(())
    }

    /// Ends the message if it is whole.
    fn end_message(&mut self, target: &mut Target<'_>) -> Result<(), Fail> {
        match self.state {
            State::Message { left: 0 } => {
                let inner = Target { scratch: target.scratch, out: target.out, findings: target.findings };
                self.message.finish(inner)?;
            }
            State::Trailers { left: 0 } => self.trailers.finish(target),
            State::Coded { left: 0 } => self.coded(target)?,
            State::Prefix | State::Message { .. } | State::Coded { .. } | State::Trailers { .. } => {
                return Ok(());
            }
        }
        self.state = State::Prefix;
        Ok(())
    }

    /// Masks the compressed message that is in.
    fn coded(&mut self, target: &mut Target<'_>) -> Result<(), Fail> {
        let taken = std::mem::take(&mut self.taken);
        let from = self.at - taken.len() as u64;
        let message = taken.get(PREFIX_BYTES..).unwrap_or_default();
        let codings = Codings::new(self.coding.into_iter().collect()).map_err(fault)?;
        let (mut masked, mut findings) = (Vec::new(), Vec::new());
        let mut decoder = Decoder::new(&codings, CodingLimits::default());
        self.message.begin(0);
        let mut decoded = 0;
        let mut pieces = message.chunks(CODED_PIECE_BYTES);
        loop {
            let mut text = Vec::new();
            let piece = pieces.next();
            match piece {
                Some(piece) => decoder.push(piece, &mut text).map_err(fault)?,
                None => decoder.finish(&mut text).map_err(fault)?,
            }
            decoded += text.len();
            if decoded > CODED_BYTES_MAX {
                return Err(Fail { limit: true, what: "the size of a compressed message", taken: 0 });
            }
            let inner = Target { scratch: target.scratch, out: &mut masked, findings: &mut findings };
            self.message.push(&text, inner)?;
            if piece.is_none() {
                break;
            }
        }
        let inner = Target { scratch: target.scratch, out: &mut masked, findings: &mut findings };
        self.message.finish(inner)?;
        // Where in a compressed message a byte lies can't be said: it is the message that carries the value.
        for finding in &mut findings {
            (finding.start, finding.end) = (from, self.at);
        }
        target.findings.append(&mut findings);
        if !self.message.has_masked() {
            target.out.extend_from_slice(&taken);
            return Ok(());
        }
        let mut encoder = Encoder::new(&decoder.codings());
        let mut coded = Vec::new();
        encoder.push(&masked, &mut coded).map_err(fault)?;
        encoder.finish(&mut coded).map_err(fault)?;
        let len = u32::try_from(coded.len());
        let len =
            len.map_err(|_| Fail { limit: true, what: "the size of a compressed message", taken: 0 })?;
        target.out.push(1);
        target.out.extend_from_slice(&len.to_be_bytes());
        target.out.extend_from_slice(&coded);
        Ok(())
    }

    pub(super) fn finish(&mut self) -> Result<(), Fail> {
        if self.state == State::Prefix && self.taken.is_empty() {
            return Ok(());
        }
        Err(Fail { limit: false, what: "a message ends too early", taken: 0 })
    }

    pub(super) fn held(&self) -> usize {
        let trailers = self.trailers.held();
        match self.state {
            State::Message { .. } => self.message.held(),
            State::Prefix | State::Coded { .. } | State::Trailers { .. } => self.taken.len() + trailers,
        }
    }

    /// Bytes that passed unscanned since this was last asked.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        self.message.take_unscanned()
    }
}

/// Bytes of a compressed message that are decoded at once: with the ratio of the limits it bounds what they become.
const CODED_PIECE_BYTES: usize = 4096;

fn fault(error: super::coding::CodingError) -> Fail {
    match error.kind() {
        CodingErrorKind::Invalid(what) => Fail { limit: false, what, taken: 0 },
        CodingErrorKind::Limit(what) => Fail { limit: true, what, taken: 0 },
    }
}
