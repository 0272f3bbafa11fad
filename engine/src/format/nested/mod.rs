//! A text and the texts that it spells: escapes (`\u0041`, `%41`, `&#65;`) and runs of base64, one within another.
//!
//! ```text
//!   text ──┬── as it is ────────────────────► Stream ──┐
//!          ├── escapes as what they spell ──► Nested ──┼── a byte leaves once all have decided it
//!          └── a run of base64, decoded ────► Nested ──┘
//! ```
//! What a reading finds is replaced where it is spelled, in that spelling. A text that spells nothing has only the first
//! reading, and costs a search for what could begin another.
//!
//! * An escape begins the second reading, which goes on from where the first one is ([`Stream`] is cloned), until
//!   nothing that was spelled otherwise can matter any more.
//! * A run of [`find::RUN_LEN_MIN`] characters or more is read as the bytes it spells, from its first character on, and
//!   over line breaks behind whole groups of four. What is masked there counts where its first [`find::TEXT_LEN_MIN`] bytes are printable ASCII; labels do not. Of a shorter run that could
//!   still grow, what such a value may begin in is held.
//! * JSON within a JSON string needs no reading of its own: it is text, and its strings' escapes are escapes.
//!
//! # Limits
//! [`DEPTH_MAX`] readings lie within one another. A text so deep that spells a further one is masked from there to its
//! end. No reading is longer than the text it reads, so the work a byte is bounded; what is held is what
//! the streams hold, and of an incomplete escape or run a few bytes.
//!
//! # Rejected
//! Decoding a run before it is scanned (it may be an image of many megabytes); a reading of its own for each kind of
//! escape (they are mixed in one text, and four kinds four deep are 256 readings); every alignment of a run (four
//! times the work, for what is no whole run).
#![deny(clippy::indexing_slicing)]

mod escaped;
mod find;
mod run;
mod source;
#[cfg(test)]
pub(super) mod tests;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use crate::mask::{FILL, Strategy};
use crate::ruleset::Ruleset;
use crate::stream::{Scratch, Sink, Stream, StreamOptions};
use escaped::Escaped;
use find::{Kind, RUN_LEN_MIN, Reach};
use run::Run;
use source::{ESCAPED, Held, PLAIN, PlainSink, RUN, Source};

/// Most readings within one another, the text itself not counted.
pub(super) const DEPTH_MAX: u8 = 4;
/// Bytes that are taken at once while there is more than one reading.
const WINDOW_BYTES: usize = 4096;
/// What stands for a text that is nested too deeply.
const TOO_DEEP: &[u8] = b"[nested_too_deeply]";

/// Tells places in whole texts, one behind another with no byte of a run between, at which another text may be spelled.
pub(super) fn places_spelled(texts: &[u8], mut tell: impl FnMut(usize)) {
    let mut from = 0;
    while let Some((at, escape)) = find::next_escape(texts, from, true) {
        tell(at);
        from = at + escape.map_or(1, |escape| escape.len);
    }
    from = 0;
    while let Some(at) = find::next_run(texts, from) {
        let rest = texts.get(at..).unwrap_or_default();
        let run = rest.get(..find::run_len(rest)).unwrap_or(rest);
        if find::has_text(&[], run) {
            tell(at);
        }
        from = at + run.len();
    }
}

/// A text with all its readings; to be used as a [`Stream`] is.
#[derive(Clone, Debug)]
pub(super) struct Nested {
    ruleset: Arc<Ruleset>,
    options: StreamOptions,
    depth: u8,
    /// Depth of the text that this one reads but for escapes.
    base: u8,
    /// Where the latest bytes are that escapes of the text around spelled.
    spelled: VecDeque<u64>,
    stream: Stream,
    /// Bytes that the readings have been given.
    at: u64,
    /// Those of them that are the beginning of a run.
    head: Vec<u8>,
    /// Where the last escape ended that has been read.
    escape_end: u64,
    /// Bytes that the readings have not been given.
    pending: Vec<u8>,
    /// The text is masked to its end.
    hidden: bool,
    /// While there is more than one reading.
    wide: Option<Box<Wide>>,
}

#[derive(Clone, Debug)]
struct Wide {
    held: Held,
    sources: [Source; 3],
    escaped: Option<Escaped>,
    run: Option<Run>,
}

/// What to do once some bytes have been given to the readings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    /// Nothing.
    More,
    /// What follows can't be told yet.
    Wait,
    /// An escape follows, and there is no reading for it.
    Fork(Kind),
    /// A run begins.
    BeginRun,
    /// The run ends.
    EndRun,
    /// The text is nested too deeply.
    Hide,
}

impl Nested {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: StreamOptions) -> Nested {
        Nested::at_depth(ruleset, options, 0)
    }

    fn at_depth(ruleset: &Arc<Ruleset>, options: StreamOptions, depth: u8) -> Nested {
        Nested {
            ruleset: Arc::clone(ruleset),
            stream: Stream::new(ruleset, options.clone()),
            options,
            depth,
            base: depth,
            spelled: VecDeque::new(),
            at: 0,
            head: Vec::new(),
            escape_end: 0,
            pending: Vec::new(),
            hidden: false,
            wide: None,
        }
    }

    /// Context before the text; only at its start.
    pub(super) fn prime(&mut self, context: &[u8]) {
        self.stream.prime(context);
    }

    /// Takes the next bytes of the text; tells `sink` all that is decided by now.
    pub(super) fn push(&mut self, scratch: &mut Scratch, bytes: &[u8], sink: &mut dyn Sink) {
        self.take(scratch, bytes, false, sink);
    }

    /// [`Nested::push`] and [`Nested::finish`] in one.
    pub(super) fn push_last(&mut self, scratch: &mut Scratch, bytes: &[u8], sink: &mut dyn Sink) {
        let is_simple = self.wide.is_none() && self.pending.is_empty() && !self.hidden;
        if is_simple && self.look(bytes, true) == (bytes.len(), Next::More) {
            self.stream.push_last(scratch, bytes, sink);
            self.reset();
            return;
        }
        self.take(scratch, bytes, true, sink);
        self.end(scratch, sink);
    }

    /// Ends the text: everything held is decided. It is then as new.
    pub(super) fn finish(&mut self, scratch: &mut Scratch, sink: &mut dyn Sink) {
        self.take(scratch, &[], true, sink);
        self.end(scratch, sink);
    }

    /// Bytes read and not yet released.
    pub(super) fn held(&self) -> usize {
        let held = self.wide.as_ref().map_or_else(|| self.stream.held(), |w| w.held.bytes.len());
        self.pending.len() + held
    }

    /// Whether nothing before the last `len` bytes can matter any more to what comes.
    fn is_settled(&self, len: u64) -> bool {
        let is_simple = self.wide.is_none() && self.pending.is_empty() && !self.hidden;
        is_simple && (self.head.len() as u64) < len && self.stream.is_settled(len)
    }

    fn fills(&self) -> bool {
        self.options.strategy == Some(Strategy::Fill)
    }

    fn take(&mut self, scratch: &mut Scratch, bytes: &[u8], last: bool, sink: &mut dyn Sink) {
        if self.pending.is_empty() {
            return self.read(scratch, bytes, last, sink);
        }
        let mut all = std::mem::take(&mut self.pending);
        all.extend_from_slice(bytes);
        self.read(scratch, &all, last, sink);
        if self.pending.is_empty() {
            all.clear();
            self.pending = all;
        }
    }

    fn read(&mut self, scratch: &mut Scratch, bytes: &[u8], last: bool, sink: &mut dyn Sink) {
        let mut rest = bytes;
        while !rest.is_empty() && !self.hidden {
            let window = if self.wide.is_some() { WINDOW_BYTES.min(rest.len()) } else { rest.len() };
            let is_whole = window == rest.len();
            let (len, next) = self.look(rest.get(..window).unwrap_or(rest), last && is_whole);
            let (fed, left) = rest.split_at_checked(len).unwrap_or((rest, &[]));
            self.feed(scratch, fed, sink);
            rest = left;
            match next {
                Next::More => {}
                Next::Wait if is_whole => {
                    self.pending.extend_from_slice(rest);
                    return;
                }
                Next::Wait => {}
                Next::Fork(kind) => self.fork(kind),
                Next::BeginRun => self.begin_run(scratch),
                Next::EndRun => self.end_run(scratch, sink),
                Next::Hide => self.hide(scratch, sink),
            }
        }
        if self.hidden && !rest.is_empty() {
            if self.fills() {
                sink.emit(&vec![FILL; rest.len()]);
            }
            sink.skip(rest.len());
        }
    }

    /// How many of these bytes the readings can be given, and what is to be done then; `last`: the text ends with them.
    fn look(&mut self, bytes: &[u8], last: bool) -> (usize, Next) {
        let mut escapes = Vec::new();
        let (end, next) = self.look_for_escape(bytes, last, &mut escapes);
        let before = bytes.get(..end).unwrap_or(bytes);
        if let Some(run) = self.wide.as_ref().and_then(|w| w.run.as_ref()) {
            let is_all = (last && end == bytes.len()) || matches!(next, Next::Fork(_) | Next::Hide);
            return match find::reach(before, run.chars(), is_all) {
                (len, Reach::Ends) => (len, Next::EndRun),
                (len, Reach::Open) => (len, next),
                (len, Reach::Cut) => (len, Next::Wait),
            };
        }
        let (mut end, mut next) = match self.look_for_run(before, last && end == bytes.len(), &escapes) {
            Some(found) => found,
            None => (end, next),
        };
        if matches!(next, Next::Wait | Next::Fork(_)) {
            end -= self.held_of_run(before, &escapes);
        }
        if let Some(escape) = escapes.iter().find(|e| e.contains(&end)) {
            end = escape.start;
        }
        if next == Next::Wait && end == bytes.len() {
            next = Next::More;
        }
        let escape = escapes.iter().rfind(|e| e.end <= end);
        self.escape_end = escape.map_or(self.escape_end, |e| self.at + e.end as u64);
        (end, next)
    }

    fn look_for_escape(&self, bytes: &[u8], last: bool, read: &mut Vec<Range<usize>>) -> (usize, Next) {
        let is_read = self.wide.as_ref().is_some_and(|w| w.escaped.is_some());
        let mut from = 0;
        while let Some((at, escape)) = find::next_escape(bytes, from, last) {
            let Some(escape) = escape else { return (at, Next::Wait) };
            from = at + escape.len;
            if self.depth == DEPTH_MAX {
                // Backslashes alone are more often drawn than meant.
                if !matches!(escape.decoded(), b"\\" | b"/") {
                    return (at, Next::Hide);
                }
            } else if is_read {
                read.push(at..from);
            } else {
                return (at, Next::Fork(escape.kind));
            }
        }
        (bytes.len(), if last { Next::More } else { Next::Wait })
    }

    /// The first run in `bytes` that is to be read; `at_end`: the text ends with them. No run begins within an escape.
    fn look_for_run(&self, bytes: &[u8], at_end: bool, escapes: &[Range<usize>]) -> Option<(usize, Next)> {
        let first = if self.head.is_empty() { 0 } else { find::run_len(bytes) };
        let mut from = 0;
        let mut head: &[u8] = &[];
        if first + self.head.len() >= RUN_LEN_MIN && self.head.len() < RUN_LEN_MIN {
            head = &self.head;
        } else {
            from = find::next_run(bytes, first)?;
        }
        loop {
            if let Some(escape) = escapes.iter().find(|e| e.contains(&from)) {
                from = escape.end;
            }
            let rest = bytes.get(from..)?;
            let is_long = head.len() + find::run_len(rest) >= RUN_LEN_MIN;
            let (len, reach) = find::reach(rest, head.len() as u64, at_end);
            let run = rest.get(..len).unwrap_or(rest);
            let is_whole = reach == Reach::Ends || at_end;
            if is_long && self.depth == DEPTH_MAX {
                if self.is_own(from as u64 + self.at - head.len() as u64) && find::is_text(head, run) {
                    return Some((from + RUN_LEN_MIN - head.len(), Next::Hide));
                }
            } else if is_long && (!is_whole || find::has_text(head, run)) {
                return Some((from, Next::BeginRun));
            }
            head = &[];
            from = find::next_run(bytes, from + len)?;
        }
    }

    /// How many of the last of `bytes` may be of a value in a run that is short yet.
    fn held_of_run(&self, bytes: &[u8], escapes: &[Range<usize>]) -> usize {
        let after = bytes.len() - escapes.last().map_or(0, |e| e.end.min(bytes.len()));
        let run = find::trailing_run(bytes).min(after);
        if run == 0 || self.depth == DEPTH_MAX {
            return 0;
        }
        let own = bytes.get(bytes.len() - run..).unwrap_or_default();
        let head: &[u8] = if run == bytes.len() { &self.head } else { &[] };
        if head.len() + run < RUN_LEN_MIN { find::held_of_run(head, own).min(run) } else { 0 }
    }

    /// Gives all readings the next bytes.
    fn feed(&mut self, scratch: &mut Scratch, bytes: &[u8], sink: &mut dyn Sink) {
        if bytes.is_empty() {
            return;
        }
        self.at += bytes.len() as u64;
        let since_escape = usize::try_from(self.at.saturating_sub(self.escape_end)).unwrap_or(usize::MAX);
        let run = find::trailing_run(bytes).min(since_escape);
        if run < bytes.len() {
            self.head.clear();
        }
        self.head.extend_from_slice(bytes.get(bytes.len() - run..).unwrap_or_default());
        self.head.truncate(RUN_LEN_MIN);
        let Some(wide) = &mut self.wide else {
            self.stream.push(scratch, bytes, sink);
            return;
        };
        let ruleset = &*self.ruleset;
        wide.held.bytes.extend_from_slice(bytes);
        let [plain, run, escaped] = &mut wide.sources;
        self.stream.push(scratch, bytes, &mut PlainSink { source: plain, ruleset, sink });
        if let Some(reading) = &mut wide.escaped {
            reading.push(scratch, bytes, escaped, ruleset, sink);
        }
        if let Some(reading) = &mut wide.run {
            reading.push(scratch, bytes, run, ruleset);
        }
        wide.held.release(&mut wide.sources, sink);
        self.narrow();
    }

    /// Gives up readings that can't differ from the first any more.
    fn narrow(&mut self) {
        let Some(wide) = &mut self.wide else { return };
        if wide.run.is_some()
            || wide.held.is_within_region()
            || wide.sources.iter().any(|s| !s.edits.is_empty())
        {
            return;
        }
        if let Some(reading) = &wide.escaped {
            if !reading.is_over().is_some_and(|since| self.stream.is_settled(since)) {
                return;
            }
            wide.escaped = None;
            if let Some(source) = wide.sources.get_mut(ESCAPED) {
                *source = Source::from(u64::MAX);
            }
        }
        if wide.sources.get(PLAIN).is_some_and(|s| s.at == wide.held.base) {
            self.wide = None;
        }
    }

    fn widen(&mut self) -> &mut Wide {
        let (stream, fill) = (&self.stream, self.options.strategy == Some(Strategy::Fill));
        let base = self.at - stream.held() as u64;
        self.wide.get_or_insert_with(|| {
            Box::new(Wide {
                held: Held::new(base, stream.held_bytes(), fill),
                sources: [Source::from(base), Source::from(u64::MAX), Source::from(u64::MAX)],
                escaped: None,
                run: None,
            })
        })
    }

    /// An escape comes next: from here on there is a reading for it.
    fn fork(&mut self, kind: Kind) {
        let mut child = self.clone();
        child.depth += 1;
        child.spelled.clear();
        let (at, fill) = (self.at, self.fills());
        let wide = self.widen();
        wide.escaped = Some(Escaped::new(child, at - wide.held.base, kind, fill));
        if let Some(source) = wide.sources.get_mut(ESCAPED) {
            *source = Source::from(wide.held.base);
        }
    }

    /// A run comes next, or has begun with the head.
    fn begin_run(&mut self, scratch: &mut Scratch) {
        let head = std::mem::take(&mut self.head);
        let start = self.at - head.len() as u64;
        let depth = if self.is_own(start) { self.depth } else { self.base };
        let child = Nested::at_depth(&self.ruleset, self.options.clone(), depth + 1);
        let fill = self.fills();
        let ruleset = Arc::clone(&self.ruleset);
        let wide = self.widen();
        let mut run = Run::new(child, start, fill);
        if let Some(source) = wide.sources.get_mut(RUN) {
            // What was masked of the run before may wait for other readings yet.
            source.at = wide.held.base.max(start);
            run.push(scratch, &head, source, &ruleset);
        }
        wide.run = Some(run);
    }

    /// Whether the run that begins at `start` is none in the text around; all texts have those that escapes have no
    /// part in.
    fn is_own(&self, start: u64) -> bool {
        let head = start..start + RUN_LEN_MIN as u64;
        self.depth == self.base || self.spelled.iter().any(|at| head.contains(at))
    }

    /// Forgets places that no run can begin at any more.
    fn forget_spelled(&mut self) {
        let from = self.at.saturating_sub(RUN_LEN_MIN as u64);
        while self.spelled.front().is_some_and(|at| *at < from) {
            self.spelled.pop_front();
        }
    }

    fn end_run(&mut self, scratch: &mut Scratch, sink: &mut dyn Sink) {
        self.head.clear();
        let Some(wide) = &mut self.wide else { return };
        if let (Some(mut run), Some(source)) = (wide.run.take(), wide.sources.get_mut(RUN)) {
            run.finish(scratch, source, &self.ruleset);
            source.at = u64::MAX;
        }
        wide.held.release(&mut wide.sources, sink);
        self.narrow();
    }

    /// What comes is not read any more, so it is masked.
    fn hide(&mut self, scratch: &mut Scratch, sink: &mut dyn Sink) {
        self.stream.finish(scratch, sink);
        if !self.fills() {
            sink.emit(TOO_DEEP);
        }
        self.hidden = true;
    }

    /// The text ends, and the readings have been given all of it.
    fn end(&mut self, scratch: &mut Scratch, sink: &mut dyn Sink) {
        if self.hidden {
            return self.reset();
        }
        let Some(mut wide) = self.wide.take() else {
            self.stream.finish(scratch, sink);
            return self.reset();
        };
        let ruleset = &*self.ruleset;
        let [plain, run, escaped] = &mut wide.sources;
        self.stream.finish(scratch, &mut PlainSink { source: plain, ruleset, sink });
        plain.end_edit();
        if let Some(reading) = &mut wide.escaped {
            reading.finish(scratch, escaped, ruleset, sink);
        }
        if let Some(reading) = &mut wide.run {
            reading.finish(scratch, run, ruleset);
            run.at = u64::MAX;
        }
        wide.held.release(&mut wide.sources, sink);
        debug_assert!(wide.held.bytes.is_empty(), "every byte of a text is decided at its end");
        self.reset();
    }

    fn reset(&mut self) {
        self.at = 0;
        self.head.clear();
        self.escape_end = 0;
        self.spelled.clear();
        self.pending.clear();
        self.hidden = false;
        self.wide = None;
    }
}
