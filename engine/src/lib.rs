//! Sluice's engine: rules compiled to a [`Ruleset`], and streams of bytes scanned and masked with it.
//!
//! The engine does no I/O and knows no clock; threads it uses only to compile. Bytes are pushed in as they come, in chunks of
//! any size; released bytes, replacements and match events come out. What comes out is a function of the input
//! bytes and the ruleset alone, never of where the chunks were cut.
//!
//! * [`Rule`] is what a pack says of one kind of value; [`Ruleset::compile`] makes automata of many of them.
//! * [`Stream`] scans one logical text and tells a [`Sink`] what passes, what is replaced, and what was found.
//! * [`Masker`] takes a whole body in a [`Format`] (text, JSON, NDJSON, SSE, form, protobuf, gRPC, AWS event stream, WebSocket), finds
//!   the logical texts in it, and writes the same format back.
//! * [`Decoder`] and [`Encoder`] take the content codings off a body, under limits, and put them on again.

mod allow;
pub mod built;
mod compile;
pub mod exact;
mod format;
mod kernel;
mod mask;
#[cfg(any(test, feature = "oracle"))]
pub mod oracle;
#[cfg(test)]
mod random;
mod rule;
mod ruleset;
mod stream;
mod validate;

pub use allow::AllowList;
pub use built::{Built, BuiltError};
pub use exact::{ExactError, ExactOptions, ExactSet};
pub use format::{Boundary, FieldAction, FieldError, FieldRule, Fields, InvalidUtf8};
pub use format::{
    CODINGS_MAX, Coding, CodingError, CodingErrorKind, CodingLimits, Codings, Decoder, Encoder,
};
pub use format::{
    Finding, Format, FormatError, FormatErrorKind, Masker, MaskerOptions, OnError, Schema, WebSocketSide,
};
pub use kernel::InstructionSet;
#[cfg(feature = "hyperscan")]
pub use kernel::hyperscan;
pub use mask::{Strategy, StrategyError, TokenKey};
pub use rule::{Action, Confidence, Field, Pattern, Rule, RuleError, Suppress, Validator};
pub use ruleset::{CompileError, CompileOptions, Name, Prefilter, RuleId, Ruleset, Source};
pub use stream::{Event, Scratch, Sink, Stream, StreamOptions, Work};
pub use validate::scheme::Scheme;
