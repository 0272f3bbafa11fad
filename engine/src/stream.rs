//! Scanning one logical text as its bytes come.

use std::ops::Range;
use std::sync::Arc;

use crate::mask::Strategy;
use crate::ruleset::{RuleId, Ruleset};

/// Takes what a [`Stream`] makes of its input, in order.
///
/// Each byte of the input is accounted for once: `pass` or `skip`. `emit` stands for skipped bytes and may come
/// before, between or after the `skip`s of its match.
pub trait Sink {
    /// The next `bytes.len()` bytes of input leave as they came.
    fn pass(&mut self, bytes: &[u8]);
    /// Replacement text leaves; it stands for no input of its own.
    fn emit(&mut self, bytes: &[u8]);
    /// The next `len` bytes of input are masked: they never leave.
    fn skip(&mut self, len: usize);
    /// A match is complete.
    fn event(&mut self, event: &Event);
}

/// A confirmed match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which rule.
    pub rule: RuleId,
    /// Bytes of the stream's input that the value took. Primed context is not counted.
    pub input: Range<u64>,
    /// Bytes of the stream's output that stand for it; where the action is `label`, the value itself.
    pub output: Range<u64>,
}

/// Settings of one stream.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// In place of the strategies of the ruleset, as length-prefixed carriers need ([`Strategy::Fill`]).
    pub strategy: Option<Strategy>,
}

/// Reusable search memory, one a thread, for streams of any ruleset.
#[derive(Debug, Default)]
pub struct Scratch {}

impl Scratch {
    /// Empty; grows as searches need it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// The scan state of one logical text.
#[derive(Debug)]
pub struct Stream {
    ruleset: Arc<Ruleset>,
}

impl Stream {
    /// A stream at its start.
    #[must_use]
    pub fn new(ruleset: &Arc<Ruleset>, options: StreamOptions) -> Self {
        let _ = options;
        Stream { ruleset: Arc::clone(ruleset) }
    }

    /// Gives context that stands before the text (a JSON key, a form field's name) and is not part of it: rules
    /// may match from within it, nothing of it is masked or handed to the sink. Only before the first `push`.
    pub fn prime(&mut self, scratch: &mut Scratch, context: &[u8]) {
        let _ = (&self.ruleset, scratch, context);
    }

    /// Scans `chunk`; tells `sink` all that is decided by now.
    pub fn push(&mut self, scratch: &mut Scratch, chunk: &[u8], sink: &mut dyn Sink) {
        let _ = (scratch, chunk);
        sink.pass(chunk);
    }

    /// Ends the text: everything held is decided. The stream is then as new (for the next text of its kind).
    pub fn finish(&mut self, scratch: &mut Scratch, sink: &mut dyn Sink) {
        let _ = (scratch, sink);
    }

    /// Bytes of input read and not yet released.
    #[must_use]
    pub fn held(&self) -> usize {
        0
    }
}
