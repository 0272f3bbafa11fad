//! Candidates: where they start, how they end, which spans they become.

use super::candidate::{Candidate, Progress};
use super::exact::ExactScan;
use super::resolve::Release;
use super::starts::Found;
use super::{Scratch, Sink};
use crate::compile::automaton::{Before, Searcher, Step};
use crate::compile::lazy::Lazy;
use crate::compile::table::State;
use crate::compile::threads::Threads;
use crate::mask::Strategy;
use crate::ruleset::{CompiledRule, Ruleset};

/// Text that a stream keeps for itself; where more is kept, it keeps the room as well.
const KEPT_SMALL_BYTES: usize = 1024;

/// A confirmed value that has not been resolved.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) rule: u32,
    /// Where the match began, context included.
    pub(super) match_start: u64,
    /// Where the value begins.
    pub(super) start: u64,
    /// Where it ends; while `tail` is there, the position it has at least reached.
    pub(super) end: u64,
    /// What still looks for the end.
    pub(super) tail: Option<Tail>,
    /// The value has no maximum: it was enclosed, or went on past `len_max`.
    pub(super) unbounded: bool,
}

/// A value without a maximum, looking for its end in constant memory.
#[derive(Clone, Debug)]
pub(super) enum Tail {
    /// A value that went on past `len_max`: it ends where its automaton dies.
    Value { state: State, beyond: Option<Box<Threads>>, at: u64 },
    /// An enclosed value: it ends with a match of `end`.
    Enclosed { state: State, at: u64, matched: Option<u64> },
}

/// A confirmed opening of an enclosed value.
#[derive(Clone, Debug)]
pub(super) struct Opening {
    rule: u32,
    pub(super) start: u64,
    end: u64,
}

/// Up to where things are settled.
#[derive(Debug)]
pub(super) struct Watermarks {
    /// No value that is masked can begin before this and is not in `spans` yet.
    pub(super) values: u64,
    /// No match that is labelled can begin before this and is not in `labels` yet.
    pub(super) labels: u64,
}

/// The scan state.
#[derive(Clone)]
pub(super) struct Scan {
    /// Kept bytes; the first is at `base`.
    pub(super) text: Vec<u8>,
    pub(super) base: u64,
    /// The next start to look at: all before it have been, but for those that lie before an inner window.
    pub(super) at: u64,
    /// Nothing starts before this: the end of the last enclosed value.
    pub(super) floor: u64,
    /// True inside an enclosed value.
    pub(super) enclosed: bool,
    pub(super) live: Vec<Candidate>,
    pub(super) openings: Vec<Opening>,
    /// Rules and starts from `at` on whose match has been confirmed before its window was whole.
    pub(super) decided: Vec<(u32, u64)>,
    pub(super) spans: Vec<Span>,
    pub(super) labels: Vec<Span>,
    pub(super) release: Release,
    pub(super) exact: ExactScan,
    /// Something was found in the text, or enclosed values have begun.
    pub(super) found: bool,
}

impl Scan {
    pub(super) fn new(strategy: Option<Strategy>) -> Scan {
        Scan {
            text: Vec::new(),
            base: 0,
            at: 0,
            floor: 0,
            enclosed: false,
            live: Vec::new(),
            openings: Vec::new(),
            decided: Vec::new(),
            spans: Vec::new(),
            labels: Vec::new(),
            release: Release::new(strategy),
            exact: ExactScan::default(),
            found: false,
        }
    }

    /// Back to the start of a text; memory is kept.
    pub(super) fn reset(&mut self) {
        self.text.clear();
        self.base = 0;
        self.at = 0;
        self.floor = 0;
        self.enclosed = false;
        self.live.clear();
        self.openings.clear();
        self.decided.clear();
        self.spans.clear();
        self.labels.clear();
        self.release.reset();
        self.exact.reset();
        self.found = false;
    }

    /// The context is scanned with what follows it.
    pub(super) fn prime(&mut self, context: &[u8]) {
        debug_assert_eq!(self.end_at(), 0, "context comes before the text");
        self.text.extend_from_slice(context);
        self.release.begin_at(self.end_at());
    }

    /// True while nothing but context has come.
    pub(super) fn is_at_start(&self) -> bool {
        self.end_at() == self.release.origin()
    }

    /// Lets `bytes`, a whole text, pass: it is known to be clean.
    pub(super) fn pass_clean(&mut self, bytes: &[u8], sink: &mut dyn Sink) {
        if !bytes.is_empty() {
            sink.pass(bytes);
        }
        self.reset();
    }

    pub(super) fn held(&self) -> usize {
        self.end_at().saturating_sub(self.release.released()) as usize
    }

    /// The bytes that are held.
    pub(super) fn held_bytes(&self) -> &[u8] {
        self.bytes(self.release.released(), self.end_at())
    }

    /// Whether nothing before the last `len` bytes can matter any more to what comes.
    pub(super) fn is_settled(&self, ruleset: &Ruleset, len: u64) -> bool {
        let from = self.end_at().saturating_sub(len);
        let since = |start: u64| start >= from;
        !self.enclosed
            && self.openings.is_empty()
            && self.release.is_settled(from)
            && self.at >= from + ruleset.history as u64
            && self.exact.mark(ruleset) >= from
            && self.live.iter().all(|c| since(c.start))
            && self.decided.iter().all(|(_, start)| since(*start))
            && self.spans.iter().chain(&self.labels).all(|s| since(s.match_start))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.text.capacity()
            + self.live.capacity() * size_of::<Candidate>()
            + (self.spans.capacity() + self.labels.capacity()) * size_of::<Span>()
    }

    /// Position after the last byte taken.
    pub(super) fn end_at(&self) -> u64 {
        self.base + self.text.len() as u64
    }

    /// The kept bytes between two positions.
    pub(super) fn bytes(&self, from: u64, to: u64) -> &[u8] {
        let from = from.saturating_sub(self.base) as usize;
        let to = to.saturating_sub(self.base) as usize;
        self.text.get(from..to).unwrap_or_default()
    }

    pub(super) fn byte_before(&self, at: u64) -> Option<u8> {
        let index = at.checked_sub(1)?.checked_sub(self.base)?;
        self.text.get(index as usize).copied()
    }

    /// Takes the scratch's room for so many more bytes, so that what the stream keeps between chunks is no larger than
    /// it must.
    pub(super) fn borrow_room(&mut self, scratch: &mut Scratch, more: usize) {
        if self.text.capacity() - self.text.len() < more
            && self.text.len() <= KEPT_SMALL_BYTES
            && self.text.capacity() <= KEPT_SMALL_BYTES
        {
            scratch.text.clear();
            scratch.text.extend_from_slice(&self.text);
            std::mem::swap(&mut self.text, &mut scratch.text);
        }
    }

    /// Gives it back, unless much of the text is kept.
    pub(super) fn return_room(&mut self, scratch: &mut Scratch) {
        if self.text.len() <= KEPT_SMALL_BYTES && self.text.capacity() > KEPT_SMALL_BYTES {
            if scratch.text.capacity() > KEPT_SMALL_BYTES {
                scratch.text = Vec::new();
            }
            scratch.text.clear();
            scratch.text.extend_from_slice(&self.text);
            std::mem::swap(&mut self.text, &mut scratch.text);
        }
    }

    /// Takes a piece of the text and scans it.
    pub(super) fn take(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, piece: &[u8]) {
        self.text.extend_from_slice(piece);
        self.scan_taken(ruleset, scratch, piece.len());
    }

    /// Scans the last bytes of the text, so many as were not scanned yet.
    pub(super) fn scan_taken(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, bytes: usize) {
        scratch.forget_piece();
        scratch.work.bytes += bytes as u64;
        scratch.taken = bytes;
        self.scan(ruleset, scratch, false);
    }

    /// The text ends here.
    pub(super) fn end(&mut self, ruleset: &Ruleset, scratch: &mut Scratch) {
        scratch.forget_piece();
        self.scan(ruleset, scratch, true);
    }

    fn scan(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, end: bool) {
        let mut live = std::mem::take(&mut self.live);
        live.retain_mut(|c| self.run(ruleset, scratch, c));
        live.append(&mut self.live);
        self.live = live;
        self.find_exact(ruleset, scratch, end);
        let mut found = Found::none(scratch);
        loop {
            if self.enclosed && !self.close_enclosed(ruleset, end) {
                break;
            }
            self.find_starts(ruleset, scratch, &mut found, end);
            self.find_exact(ruleset, scratch, end);
            if end && !self.enclosed {
                self.end_candidates(ruleset, scratch);
            }
            if !self.open_enclosed(ruleset, end) {
                break;
            }
        }
        found.give_back(scratch);
        self.run_tails(ruleset, &mut scratch.lazy, end);
    }

    /// Runs a candidate over what is there; true when it is live at the end.
    fn run(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, candidate: &mut Candidate) -> bool {
        let Some(rule) = ruleset.compiled.get(candidate.rule as usize) else {
            return false;
        };
        let (from, visits) = (candidate.at, scratch.lazy.visits());
        let progress = candidate.run(rule, &mut scratch.lazy, &self.text, self.base);
        // One whose table has ended begins anew: those steps are visits.
        scratch.work.steps += candidate.at.saturating_sub(from) + (scratch.lazy.visits() - visits);
        if progress == Progress::Live {
            return true;
        }
        self.settle(rule, scratch, candidate, progress);
        candidate.recycle(&mut scratch.tracker, &mut scratch.lazy);
        false
    }

    /// The text ends where the live candidates stand.
    pub(super) fn end_candidates(&mut self, ruleset: &Ruleset, scratch: &mut Scratch) {
        let mut live = std::mem::take(&mut self.live);
        for mut candidate in live.drain(..) {
            if let Some(rule) = ruleset.compiled.get(candidate.rule as usize) {
                candidate.end(&rule.automaton, &mut scratch.lazy);
                self.confirm(rule, scratch, &candidate, None);
                candidate.recycle(&mut scratch.tracker, &mut scratch.lazy);
            }
        }
        self.live = live;
    }

    /// A candidate has ended: its match, if it has one and it counts, becomes a span, an opening or a label.
    pub(super) fn confirm(
        &mut self,
        rule: &CompiledRule,
        scratch: &mut Scratch,
        c: &Candidate,
        tail: Option<Tail>,
    ) {
        let Some(end) = c.matched else { return };
        if rule.end.is_some() {
            self.found = true;
            self.openings.push(Opening { rule: c.rule, start: c.start, end });
            return;
        }
        let Some((from, to)) = self.value(rule, scratch, c.start, end) else {
            return;
        };
        if !self.counts(rule, c.start, end, from, to) {
            return;
        }
        self.found = true;
        let unbounded = tail.is_some();
        let mut span = Span { rule: c.rule, match_start: c.start, start: from, end: to, tail, unbounded };
        if rule.masks {
            if span.tail.is_some() {
                span.end = c.at;
            }
            self.spans.push(span);
        } else {
            span.tail = None;
            self.labels.push(span);
        }
    }

    /// Where the value lies in the match from `start` to `end`; `None` when it is empty.
    fn value(&self, rule: &CompiledRule, scratch: &mut Scratch, start: u64, end: u64) -> Option<(u64, u64)> {
        let place = rule.automaton.place;
        let before = place.before(start);
        if let (Some(before), Some(after)) = (before.exact(), place.after) {
            let (from, to) = (start + before as u64, end.saturating_sub(after as u64));
            return (from < to).then_some((from, to));
        }
        let groups = rule.automaton.groups();
        let (from, to) = match groups.and_then(|groups| Some((groups.secret?, groups.group.as_ref()?))) {
            Some((group, finder)) => {
                let span = (start - self.base) as usize..(end - self.base) as usize;
                match finder.find(&mut scratch.group, &self.text, span, group) {
                    Some(value) => (self.base + value.start as u64, self.base + value.end as u64),
                    None => (start, end),
                }
            }
            None => (start, end),
        };
        // No value begins before this, and bytes there may be gone.
        let from = from.max(start + before.min as u64);
        (from < to).then_some((from, to))
    }

    /// True when keywords, validators and suppressions let the value count.
    fn counts(&self, rule: &CompiledRule, start: u64, end: u64, from: u64, to: u64) -> bool {
        let value = self.bytes(from, to);
        if !rule.keywords.is_empty() {
            let window =
                if rule.near == 0 { self.bytes(start, end) } else { self.before_value(rule, start, from) };
            if !has_keyword(rule, window) {
                return false;
            }
        }
        rule.validators.iter().all(|v| v.accepts(value))
            && !rule.exact.contains(value)
            && !rule.starts_with.iter().any(|s| value.starts_with(s))
            && !rule.ends_with.iter().any(|s| value.ends_with(s))
            && !rule.suppress.iter().any(|s| s.is_found_in(value))
    }

    /// The bytes in which a keyword counts for a value at `from` in a match that begins at `start`.
    fn before_value(&self, rule: &CompiledRule, start: u64, from: u64) -> &[u8] {
        self.bytes(start.saturating_sub(rule.near as u64).max(self.floor.min(start)), from)
    }

    /// False when a rule lacks its keyword wherever a value in a match from `start` may begin.
    pub(super) fn keyword_can_come(&self, rule: &CompiledRule, start: u64) -> bool {
        if rule.near == 0 {
            return true;
        }
        match rule.automaton.place.before(start).max.map(|max| start + max as u64) {
            Some(from) if from <= self.end_at() => has_keyword(rule, self.before_value(rule, start, from)),
            _ => true,
        }
    }

    /// The opening that is next, once no other can come before it: its index in `openings`.
    pub(super) fn opening_ready(&self, ruleset: &Ruleset, end: bool) -> Option<usize> {
        let priority = |rule: u32| ruleset.compiled.get(rule as usize).map_or(0, |r| r.priority);
        let key = |o: &Opening| (o.start, -priority(o.rule), u64::MAX - o.end, o.rule);
        let (index, first) = self.openings.iter().enumerate().min_by_key(|(_, o)| key(o))?;
        // Every start before the opening's has been found by then, of any rule: which ones are kept must not
        // depend on when the enclosed value is entered.
        let all_found = end || self.at > first.start + ruleset.prefilter.reach as u64;
        let is_enclosed = |rule: u32| ruleset.compiled.get(rule as usize).is_some_and(|r| r.end.is_some());
        let none_before = !self.live.iter().any(|c| c.start <= first.start && is_enclosed(c.rule));
        (all_found && none_before).then_some(index)
    }

    /// Enters the next enclosed value, if one is ready; what started inside it is forgotten.
    fn open_enclosed(&mut self, ruleset: &Ruleset, end: bool) -> bool {
        if self.enclosed {
            return false;
        }
        let Some(index) = self.opening_ready(ruleset, end) else {
            return false;
        };
        let opening = self.openings.swap_remove(index);
        let start = opening.start;
        self.openings.clear();
        self.live.retain(|c| c.start < start);
        self.decided.retain(|(_, decided)| *decided < start);
        self.spans.retain(|s| s.match_start < start);
        self.labels.retain(|s| s.match_start < start);
        let Some(searcher) = searcher(ruleset, opening.rule) else {
            return false;
        };
        let state = searcher.start(Before::of(self.byte_before(opening.end)));
        let tail = Some(Tail::Enclosed { state, at: opening.end, matched: None });
        let (rule, end) = (opening.rule, opening.end);
        self.spans.push(Span { rule, match_start: start, start, end, tail, unbounded: true });
        self.enclosed = true;
        self.exact.open(ruleset, start);
        true
    }

    /// Looks for the close of the enclosed value; true when it was found and the scan goes on after it.
    fn close_enclosed(&mut self, ruleset: &Ruleset, end: bool) -> bool {
        let end_at = self.end_at();
        let active = self.release.open_mut().into_iter();
        let mut spans = self.spans.iter_mut().chain(active);
        let Some(span) = spans.find(|s| matches!(s.tail, Some(Tail::Enclosed { .. }))) else {
            return false;
        };
        let Some(Tail::Enclosed { state, at, matched }) = &mut span.tail else {
            return false;
        };
        let Some(searcher) = searcher(ruleset, span.rule) else {
            return false;
        };
        let from = (*at - self.base) as usize;
        let mut dead = false;
        for &byte in self.text.get(from..).unwrap_or_default() {
            match searcher.step(state, byte) {
                Step::On => {}
                Step::Matched => *matched = Some(*at),
                Step::Dead | Step::Beyond => {
                    dead = true;
                    break;
                }
            }
            *at += 1;
            if matched.is_some() && !searcher.is_live(*state) {
                dead = true;
                break;
            }
        }
        if end && !dead {
            *matched = if searcher.matches_at_end(*state) { Some(*at) } else { matched.or(Some(end_at)) };
        }
        span.end = matched.unwrap_or(*at);
        if !(dead || end) {
            return false;
        }
        let closed = span.end;
        span.tail = None;
        self.enclosed = false;
        self.at = closed;
        self.exact.close(closed);
        self.floor = closed;
        true
    }

    /// Runs the tails of values past their maximum, all in step, so that those which have come to the same state
    /// are one from there on: a later one is covered by the earlier.
    pub(super) fn run_tails(&mut self, ruleset: &Ruleset, lazy: &mut Lazy, end: bool) {
        let is_tail = |s: &Span| matches!(s.tail, Some(Tail::Value { .. }));
        if !self.spans.iter().any(is_tail) && !self.release.open_mut().is_some_and(|s| is_tail(s)) {
            return;
        }
        let end_at = self.end_at();
        // What stands before the value that is being skipped has left: it counts as the first.
        let active = self.release.open_mut().into_iter().map(|s| (0, s));
        let mut waiting: Vec<(u64, &mut Span)> =
            active.chain(self.spans.iter_mut().map(|s| (s.start, s))).collect();
        waiting.retain(|(_, s)| is_tail(s));
        let at_of = |s: &Span| match s.tail {
            Some(Tail::Value { at, .. }) => at,
            Some(Tail::Enclosed { .. }) | None => end_at,
        };
        waiting.sort_by_key(|(first, s)| (at_of(s), *first));
        let mut at = waiting.first().map_or(end_at, |(_, s)| at_of(s));
        let mut waiting = waiting.into_iter().peekable();
        let mut running: Vec<(u64, &mut Span)> = Vec::new();
        loop {
            while let Some(next) = waiting.next_if(|(_, s)| at_of(s) <= at) {
                run_along(&mut running, next);
            }
            let Some(&byte) = self.text.get((at - self.base) as usize) else { break };
            running.retain_mut(|(_, span)| step_tail(ruleset, lazy, span, byte));
            at += 1;
            if running.is_empty() {
                match waiting.peek() {
                    Some((_, next)) => at = at_of(next),
                    None => break,
                }
            }
        }
        let mut distinct = Vec::new();
        for next in running {
            run_along(&mut distinct, next);
        }
        if end {
            for (_, span) in distinct {
                span.tail = None;
                span.end = end_at;
            }
        }
        self.spans.retain(|s| s.tail.is_some() || s.end > s.start);
    }

    /// Forgets bytes that nothing can look at any more.
    pub(super) fn trim(&mut self, ruleset: &Ruleset) {
        let scanned = if self.enclosed { self.end_at() } else { self.at };
        let mut keep = scanned.saturating_sub(ruleset.history as u64);
        // One byte of look-behind, and what a value that ends within a character needs.
        keep = keep.min(self.release.released().saturating_sub(4));
        keep = keep.min(self.exact.mark(ruleset).saturating_sub(1));
        for candidate in &self.live {
            let near = ruleset.compiled.get(candidate.rule as usize).map_or(0, |r| r.near);
            keep = keep.min(candidate.start.saturating_sub(1 + near as u64));
        }
        for opening in &self.openings {
            keep = keep.min(opening.start.saturating_sub(1));
        }
        let unused = keep.saturating_sub(self.base) as usize;
        // Moving what is kept for every byte taken would make byte-wise feeding quadratic in what is kept.
        if unused > 256 || unused >= self.text.len() {
            self.text.drain(..unused.min(self.text.len()));
            self.base += unused as u64;
        }
    }

    /// Tells the sink what is decided.
    pub(super) fn resolve(
        &mut self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        sink: &mut dyn Sink,
        end: bool,
    ) {
        let marks = match end {
            true => Watermarks { values: u64::MAX, labels: u64::MAX },
            false => self.watermarks(ruleset, scratch),
        };
        self.release_values(ruleset, sink, &marks);
        self.release_labels(ruleset, sink, &marks);
        self.trim(ruleset);
    }
}

fn searcher(ruleset: &Ruleset, rule: u32) -> Option<&Searcher> {
    ruleset.compiled.get(rule as usize)?.end.as_ref()
}

fn has_keyword(rule: &CompiledRule, window: &[u8]) -> bool {
    rule.keywords.iter().any(|keyword| {
        let Some(first) = keyword.first() else { return false };
        memchr::memchr2_iter(*first, first.to_ascii_uppercase(), window).any(|at| {
            window.get(at..at + keyword.len()).is_some_and(|found| found.eq_ignore_ascii_case(keyword))
        })
    })
}

/// Adds a tail to those running in step, unless one of them has come to the same state: then nothing is left of
/// its own.
fn run_along<'a>(running: &mut Vec<(u64, &'a mut Span)>, next: (u64, &'a mut Span)) {
    let (first, span) = next;
    let covered = |(before, other): &(u64, &mut Span)| {
        other.rule == span.rule && *before <= first && same_state(other, span)
    };
    if running.iter().any(covered) {
        (span.tail, span.end) = (None, span.start);
    } else {
        running.push((first, span));
    }
}

fn same_state(a: &Span, b: &Span) -> bool {
    match (&a.tail, &b.tail) {
        (
            Some(Tail::Value { state: a, beyond: None, .. }),
            Some(Tail::Value { state: b, beyond: None, .. }),
        ) => a == b,
        (Some(Tail::Value { beyond: a, .. }), Some(Tail::Value { beyond: b, .. })) => a == b,
        _ => false,
    }
}

/// Takes one byte; false when the value has ended.
fn step_tail(ruleset: &Ruleset, lazy: &mut Lazy, span: &mut Span, byte: u8) -> bool {
    let Some(rule) = ruleset.compiled.get(span.rule as usize) else {
        return false;
    };
    let Some(Tail::Value { state, beyond, at }) = &mut span.tail else {
        return false;
    };
    let automaton = &rule.automaton;
    let dead = match beyond {
        None => automaton.step(state, byte) == Step::Dead || !automaton.is_live(*state),
        Some(threads) => automaton.groups().is_none_or(|groups| {
            lazy.step_threads(&groups.nfa, threads, byte);
            threads.is_dead()
        }),
    };
    if dead {
        span.end = *at;
        span.tail = None;
    } else {
        *at += 1;
        span.end = *at;
    }
    !dead
}
