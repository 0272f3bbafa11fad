//! Scanning one logical text as its bytes come.
//!
//! # What is found
//! For every rule and every start, the expression anchored there is matched leftmost-first; the value is the group
//! `secret` or the whole match, and counts when keywords, validators and suppressions let it. Of overlapping
//! values the one that starts first is masked, then the one of higher priority, then the longer one (a value
//! without a maximum counts as the longest), then the one whose rule comes first. What a loser covers beyond its winner is masked as its own when its priority is no
//! lower than the winner's, or when it has no maximum; else it is dropped. Inside an enclosed value nothing is looked for.
//!
//! # How
//! ```text
//!            windows               dies, ends or is cut              no candidate could
//!  kernel ────────────► candidates ─────────────────────────► spans ──────────────────────► sink
//!                       (starts)       (validators …)        (pending)  begin before it  (resolve)
//! ```
//! The kernel sees a start once its window has come whole. At the end of a chunk ([`marks`]) the starts whose windows are
//! cut there are tried as well: what could still become a value is held, what is decided leaves. Which windows are cut is
//! told by an automaton that is made as it goes ([`tails`]), and only of those is asked whose value may have begun. A short
//! text that was found clean is not scanned when it comes again ([`clean`]), and what has come before within a longer one is
//! not looked at again ([`repeats`]).
//!
//! All positions are absolute: bytes since the start of the text, primed context included. A chunk is taken in
//! pieces of at most [`PIECE_BYTES`]; each candidate is run to the end of the piece at once and carried over only
//! when its automaton is still live there.
//!
//! # Invariants
//! * Released is everything before the least position at which a live candidate's value can begin
//!   ([`scan::Watermarks`]). Nothing else decides what is held.
//! * What is kept of the input is bounded: by the longest `len_max` (and `near`) of the rules behind the scan,
//!   and by what unresolved spans hold, which live candidates bound in turn.
//! * A span is resolved when no live candidate can begin at or before it, so the order in which candidates end
//!   does not matter, and with it not where chunks are cut.
//!
//! # Rejected
//! A fixed window held back (leaks longer values and delays every text); one Pike VM over all rules (cost grows
//! with the number of rules); candidates kept for windows that are cut by a chunk's end (hundreds of rules may begin with
//! any letter; they are found anew, for what they need is held or remembered anyway); each place of a chunk's end looked up
//! as the kernel does (6 look-ups, 25 gates and 2 automata for each byte of a stream fed byte by byte: three times the
//! steps); leftmost-first over the union of all rules (one rule's match would hide another's).

mod batch;
mod candidate;
mod clean;
mod exact;
mod marks;
mod repeats;
mod resolve;
mod scan;
mod starts;
mod tails;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use crate::compile::family::Walked;
use crate::compile::group::GroupScratch;
use crate::compile::holds::Cut;
use crate::compile::lazy::Lazy;
use crate::compile::runs::Reaching;
use crate::compile::tracker::TrackerScratch;
use crate::kernel::{Hits, Symbols};
use crate::mask::Strategy;
use crate::ruleset::{RuleId, Ruleset};
pub(crate) use batch::Batch;
use clean::Clean;
use repeats::Repeats;
use scan::Scan;
use starts::Targets;
use tails::{Ends, Tails};

/// A hash with one word more: multiplicative (Knuth, TAOCP 6.4).
fn mix(hash: u64, word: u64) -> u64 {
    (hash.rotate_left(5) ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// A chunk is taken in pieces of at most this many bytes: it bounds what a stream copies at once.
const PIECE_BYTES: usize = 16 * 1024;

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
///
/// Events of masked values come in the order of the input, and so do events of labels; how the two are mixed is
/// not fixed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Which rule.
    pub rule: RuleId,
    /// Bytes of the stream's input that the value took. Primed context is not counted.
    pub input: Range<u64>,
    /// Bytes of the stream's output that stand for it; empty where the action is `label`, for nothing does.
    pub output: Range<u64>,
}

/// Settings of one stream.
#[derive(Clone, Debug, Default)]
pub struct StreamOptions {
    /// In place of the strategies of the ruleset, as length-prefixed carriers need ([`Strategy::Fill`]).
    pub strategy: Option<Strategy>,
}

/// What scanning has cost, in steps and not in time: the same on every machine.
///
/// The work a byte is bounded by the ruleset, whatever the bytes are: [`Scratch::work`] is what tests hold it with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Work {
    /// Bytes taken.
    pub bytes: u64,
    /// Places of which it was known what is there: the text had come before.
    pub known: u64,
    /// Places that the kernel let through.
    pub places: u64,
    /// Candidates that the gates let through.
    pub candidates: u64,
    /// Bytes that candidates' automata took, and states of NFAs visited beyond the heads of tables.
    pub steps: u64,
}

/// Reusable search memory, one a thread, for streams of any ruleset.
#[derive(Default)]
pub struct Scratch {
    pub(crate) tracker: TrackerScratch,
    pub(crate) group: GroupScratch,
    pub(crate) lazy: Lazy,
    /// Room for the text that is scanned; a stream keeps only what it must.
    pub(crate) text: Vec<u8>,
    pub(crate) symbols: Symbols,
    pub(crate) hits: Hits,
    /// Room for exact values.
    pub(crate) exact: crate::exact::Room,
    targets: [Targets; 2],
    tails: Tails,
    ends: Ends,
    clean: Clean,
    repeats: Repeats,
    /// Short texts that are looked at together.
    pub(crate) batch: Batch,
    /// Room for runs that reach the end of a piece.
    reaching: Vec<Reaching>,
    /// Room for windows that are cut.
    cuts: Vec<Cut>,
    /// Bytes of the present piece.
    taken: usize,
    #[cfg(feature = "hyperscan")]
    hyperscan: crate::kernel::hyperscan::Room,
    /// The family walked last, in the present piece.
    walked: Option<Walked>,
    pub(crate) work: Work,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

impl Scratch {
    /// Empty; grows as searches need it.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What is noted of a piece means nothing for the next.
    fn forget_piece(&mut self) {
        self.walked = None;
    }

    /// What all streams have cost that used it.
    #[must_use]
    pub fn work(&self) -> Work {
        self.work
    }
}

/// The scan state of one logical text.
///
/// ```
/// use sluice_engine::{Action, CompileOptions, Confidence, Event, Pattern, Rule, Ruleset, Scratch, Sink};
/// use sluice_engine::{Strategy, Stream, StreamOptions, Suppress};
///
/// #[derive(Default)]
/// struct Masked(Vec<u8>);
///
/// impl Sink for Masked {
///     fn pass(&mut self, bytes: &[u8]) {
///         self.0.extend_from_slice(bytes);
///     }
///     fn emit(&mut self, bytes: &[u8]) {
///         self.0.extend_from_slice(bytes);
///     }
///     fn skip(&mut self, _len: usize) {}
///     fn event(&mut self, event: &Event) {
///         assert_eq!(event.input, 2..14);
///     }
/// }
///
/// let rule = Rule {
///     id: "acme-key".into(),
///     entity: "acme_key".into(),
///     description: "Acme API key".into(),
///     pattern: Pattern::Regex(r"\bacme_[0-9]{7}\b".into()),
///     keywords: Vec::new(),
///     near: 0,
///     validators: Vec::new(),
///     suppress: Suppress::default(),
///     max_len: None,
///     confidence: Confidence::High,
///     action: Action::Mask,
///     labels: Vec::new(),
///     strategy: Strategy::Label,
///     priority: None,
/// };
/// let ruleset = Ruleset::compile(vec![rule], &CompileOptions::default())?;
/// let (mut scratch, mut masked) = (Scratch::new(), Masked::default());
/// let mut stream = Stream::new(&ruleset, StreamOptions::default());
/// stream.push(&mut scratch, b"k=ac", &mut masked);
/// assert_eq!(masked.0, b"k=");
/// stream.push(&mut scratch, b"me_1234567;", &mut masked);
/// stream.finish(&mut scratch, &mut masked);
/// assert_eq!(masked.0, b"k=[acme_key];");
/// # Ok::<(), sluice_engine::CompileError>(())
/// ```
#[derive(Clone)]
pub struct Stream {
    ruleset: Arc<Ruleset>,
    scan: Scan,
}

impl std::fmt::Debug for Stream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stream").field("held", &self.held()).finish_non_exhaustive()
    }
}

impl Stream {
    /// A stream at its start.
    #[must_use]
    pub fn new(ruleset: &Arc<Ruleset>, options: StreamOptions) -> Self {
        Stream { ruleset: Arc::clone(ruleset), scan: Scan::new(options.strategy) }
    }

    /// Gives context that stands before the text (a JSON key, a form field's name) and is not part of it: rules
    /// may match from within it, nothing of it is masked or handed to the sink. Only before the first `push`.
    pub fn prime(&mut self, context: &[u8]) {
        self.scan.prime(context);
    }

    /// Scans `chunk`; tells `sink` all that is decided by now.
    pub fn push(&mut self, scratch: &mut Scratch, chunk: &[u8], sink: &mut dyn Sink) {
        self.scan.borrow_room(scratch, chunk.len());
        for piece in chunk.chunks(PIECE_BYTES) {
            self.scan.take(&self.ruleset, scratch, piece);
            self.scan.resolve(&self.ruleset, scratch, sink, false);
        }
        self.scan.return_room(scratch);
    }

    /// [`Stream::push`] and [`Stream::finish`] in one: cheaper, for nothing has to be held in between.
    pub fn push_last(&mut self, scratch: &mut Scratch, chunk: &[u8], sink: &mut dyn Sink) {
        let (chunk, last) = chunk.split_at(chunk.len().saturating_sub(PIECE_BYTES));
        if !chunk.is_empty() {
            self.push(scratch, chunk, sink);
        }
        let context = self.scan.text.len();
        let is_whole = self.scan.is_at_start() && context + last.len() <= clean::LEN_MAX;
        self.scan.borrow_room(scratch, last.len());
        self.scan.text.extend_from_slice(last);
        let mut place = None;
        if is_whole {
            match scratch.clean.look(self.ruleset.number, context, &self.scan.text) {
                Ok(free) => place = free,
                Err(()) => {
                    self.scan.pass_clean(last, sink);
                    return self.scan.return_room(scratch);
                }
            }
        }
        self.scan.scan_taken(&self.ruleset, scratch, last.len());
        self.scan.end(&self.ruleset, scratch);
        if let Some(place) = place.filter(|_| !self.scan.found) {
            scratch.clean.keep(place, context, &self.scan.text);
        }
        self.finish_ended(scratch, sink);
    }

    /// Ends the text: everything held is decided. The stream is then as new (for the next text of its kind).
    pub fn finish(&mut self, scratch: &mut Scratch, sink: &mut dyn Sink) {
        self.scan.end(&self.ruleset, scratch);
        self.finish_ended(scratch, sink);
    }

    fn finish_ended(&mut self, scratch: &mut Scratch, sink: &mut dyn Sink) {
        self.scan.resolve(&self.ruleset, scratch, sink, true);
        self.scan.reset();
        self.scan.return_room(scratch);
    }

    /// Bytes of input read and not yet released.
    #[must_use]
    pub fn held(&self) -> usize {
        self.scan.held()
    }

    /// The bytes of input that were read and not yet released.
    pub(crate) fn held_bytes(&self) -> &[u8] {
        self.scan.held_bytes()
    }

    /// Whether nothing before the last `len` bytes can matter any more to what comes.
    pub(crate) fn is_settled(&self, len: u64) -> bool {
        self.scan.is_settled(&self.ruleset, len)
    }

    /// Bytes of memory the stream takes now, itself included.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.scan.memory_bytes()
    }
}
