//! Bodies in a format: the logical texts in them are found, masked, and written back in the same format.

mod carried;
mod coding;
mod event_stream;
mod fields;
mod form;
mod grpc;
mod joined;
mod json;
mod leaves;
mod llm;
mod masker;
mod multipart;
mod nested;
mod protobuf;
mod series;
mod sniff;
mod sse;
mod websocket;

use std::fmt;
use std::sync::Arc;

pub use coding::{
    CODINGS_MAX, Coding, CodingError, CodingErrorKind, CodingLimits, Codings, Decoder, Encoder,
};
pub use fields::{FieldAction, FieldError, FieldRule, Fields};
pub use masker::Masker;
pub use multipart::Boundary;
pub use protobuf::schema::Schema;
pub use websocket::WebSocketSide;

use crate::mask::Strategy;
use crate::ruleset::RuleId;

/// How a body carries its texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Chosen by the first bytes; what then does not parse is scanned as text, never refused.
    Auto,
    /// One logical text. Any bytes.
    Text,
    /// As `Text`, with replacements of equal length, for bodies whose framing is not known.
    Bytes,
    /// One JSON value (RFC 8259).
    Json,
    /// JSON values, one a line.
    Ndjson,
    /// Server-sent events (WHATWG HTML, section 9.2), LLM deltas joined to logical texts.
    Sse,
    /// The AWS event stream, as Bedrock answers with it, deltas joined to logical texts. A fault always blocks, for
    /// what is in base64 could pass as text.
    EventStream,
    /// `application/x-www-form-urlencoded` (WHATWG URL, section 5).
    Form,
    /// `multipart/form-data` (RFC 7578) and other multipart types, each part in its own format.
    Multipart(Boundary),
    /// One protobuf message, with replacements of equal length.
    Protobuf(Schema),
    /// gRPC messages (also of gRPC-Web in binary), each behind its prefix, with replacements of equal length. A fault
    /// always blocks, for what is compressed could pass as text.
    Grpc {
        /// What the messages are.
        schema: Schema,
        /// What `grpc-encoding` says; without it a compressed message is a fault.
        coding: Option<Coding>,
    },
    /// The frames that one side of a WebSocket sends (RFC 6455) behind the handshake, without extensions. Messages of text
    /// are read as JSON where they are it, binary ones as bytes. A fault always blocks, for what has a masking key could
    /// pass as text.
    WebSocket(WebSocketSide),
}

/// What happens to a body that is not valid in its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OnError {
    /// Nothing more leaves: an error.
    #[default]
    Block,
    /// The rest is scanned as text.
    Text,
}

/// What happens to bytes in a JSON string that are not UTF-8 (RFC 8259, section 8.1 allows none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum InvalidUtf8 {
    /// The body is not valid JSON.
    #[default]
    Refuse,
    /// They are scanned as they are, and pass.
    Scan,
}

/// Settings of a [`Masker`].
#[derive(Clone, Debug, Default)]
pub struct MaskerOptions {
    /// What happens to a body that is not valid in its format.
    pub on_error: OnError,
    /// In place of the ruleset's strategies.
    pub strategy: Option<Strategy>,
    /// What happens to bytes in a JSON string that are not UTF-8.
    pub invalid_utf8: InvalidUtf8,
    /// Values that are masked, let pass or dropped for where they stand, in the formats that name them, in place of those
    /// of the ruleset. They are told by numbers that follow those of the ruleset's rules.
    pub fields: Option<Arc<Fields>>,
}

/// A match in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which rule.
    pub rule: RuleId,
    /// Offset in the body as it came of the first byte that carries the value.
    pub start: u64,
    /// Offset after the last byte that carries it.
    pub end: u64,
}

/// Why a body can't be masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormatError {
    kind: FormatErrorKind,
    offset: u64,
}

/// The kinds of [`FormatError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FormatErrorKind {
    /// The body is not valid in its format; what was expected.
    Invalid(&'static str),
    /// A limit was passed; its name.
    Limit(&'static str),
}

impl FormatError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> FormatErrorKind {
        self.kind
    }

    /// Offset in the body, in bytes, where it went wrong.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            FormatErrorKind::Invalid(what) => write!(f, "byte {}: {what}", self.offset),
            FormatErrorKind::Limit(what) => write!(f, "byte {}: over the limit of {what}", self.offset),
        }
    }
}

impl std::error::Error for FormatError {}

#[cfg(test)]
mod tests;
