//! From windows to candidates.

#[cfg(feature = "hyperscan")]
pub(super) mod hyperscan;

use super::Scratch;
use super::candidate::{Candidate, Progress};
use super::repeats::{Look, PLACES_MIN, Rest, SEEN_BYTES};
use super::scan::{Scan, Tail};
use crate::compile::automaton::Before;
use crate::compile::prefilter::{Prefilter, Target};
use crate::compile::runs::RuleRun;
use crate::compile::symbol::BEFORE_TEXT;
use crate::kernel::{Hits, KIND_PAIRS, WINDOW_LEN};
use crate::ruleset::{CompiledRule, Ruleset};

/// Bytes that a window has from its start on; one stands before.
const WINDOW_BYTES: u64 = WINDOW_LEN as u64 - 1;
/// Bytes from a place on that the kernel looks at, at most.
const LOOKED_AT: u64 = KIND_PAIRS as u64 + 1;
/// Places that are looked at in one go: all that is known of them fits the first-level cache.
const BLOCK_BYTES: u64 = 4096;

/// The windows that are in the present piece: words and classes, each in the order of their places.
pub(super) struct Found {
    lists: [Targets; 2],
    next: [usize; 2],
    /// Position of the first place looked at, and the first that was not.
    from: u64,
    to: u64,
}

/// Windows and their places.
pub(super) type Targets = Vec<(u32, Target)>;

impl Found {
    pub(super) fn none(scratch: &mut Scratch) -> Found {
        let mut lists = std::mem::take(&mut scratch.targets);
        lists.iter_mut().for_each(Vec::clear);
        Found { lists, next: [0; 2], from: 0, to: 0 }
    }

    pub(super) fn give_back(self, scratch: &mut Scratch) {
        scratch.targets = self.lists;
    }

    /// The next window and its list.
    fn peek(&self) -> Option<(usize, u32, Target)> {
        let peek = |list: usize| self.lists[list].get(self.next[list]).map(|(at, t)| (list, *at, *t));
        match (peek(0), peek(1)) {
            (Some(word), Some(class)) => Some(if class.1 < word.1 { class } else { word }),
            (word, class) => word.or(class),
        }
    }

    /// Back to the first window from `at` on.
    fn seek(&mut self, at: u64) {
        for (next, list) in self.next.iter_mut().zip(&self.lists) {
            *next = list.partition_point(|(place, _)| self.from + u64::from(*place) < at);
        }
    }
}

impl Scan {
    /// Looks at all starts whose windows have come, up to the opening of an enclosed value.
    pub(super) fn find_starts(
        &mut self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        found: &mut Found,
        end: bool,
    ) {
        let to = if end { self.end_at() } else { (self.end_at() + 1).saturating_sub(WINDOW_BYTES) };
        if self.enclosed {
            return;
        }
        if self.at < to && !(found.from..found.to).contains(&self.at) {
            self.find_windows(ruleset, scratch, found, to);
        } else {
            // An enclosed value has ended: what follows it is looked at again.
            found.seek(self.at);
        }
        let mut checked = None;
        while let Some((list, at, target)) = found.peek() {
            let start = found.from + u64::from(at);
            self.at = start;
            // All windows of a place are taken before an enclosed value is entered.
            if checked.replace(at) != Some(at) && self.has_ready_opening(ruleset) {
                return;
            }
            self.take_target(ruleset, scratch, start, target);
            found.next[list] += 1;
        }
        self.at = self.at.max(to);
        let forgotten = self.at.saturating_sub(ruleset.prefilter.reach as u64);
        self.decided.retain(|(_, start)| *start >= forgotten);
    }

    /// Finds the windows of all places from `self.at` to `to`.
    fn find_windows(&self, ruleset: &Ruleset, scratch: &mut Scratch, found: &mut Found, to: u64) {
        found.lists.iter_mut().for_each(Vec::clear);
        (found.next, found.from, found.to) = ([0; 2], self.at, to);
        #[cfg(not(feature = "hyperscan"))]
        let mut at = self.at;
        #[cfg(feature = "hyperscan")]
        let mut at = self.find_by_hyperscan(ruleset, scratch, found, to);
        if at == found.from {
            at = self.find_new_windows(ruleset, scratch, found, to);
        }
        self.find_blocks(ruleset, scratch, found, at, to);
    }

    /// Finds the windows of places from `self.at` on, of those that have come before by what was told of them; the first
    /// place that is left.
    fn find_new_windows(&self, ruleset: &Ruleset, scratch: &mut Scratch, found: &mut Found, to: u64) -> u64 {
        let (from, end) = (self.at, self.end_at());
        if to < from + PLACES_MIN as u64 {
            return from;
        }
        // Where the text ends, windows that are cut are none: their places are not told of others.
        let to = if to < end { to } else { (end + 1).saturating_sub(SEEN_BYTES as u64).clamp(from, end) };
        let places = (to - from) as usize;
        let (bytes, before) = (self.bytes(from, end), self.byte_before(from).unwrap_or(BEFORE_TEXT));
        let look = scratch.repeats.look(ruleset.number, &ruleset.prefilter.tables, before, bytes, places);
        match look {
            Look::Passed => return from,
            Look::New => self.find_blocks(ruleset, scratch, found, from, to),
            Look::Known(known) => {
                scratch.work.known += known as u64;
                let rest = std::mem::take(&mut scratch.repeats.rest);
                self.find_in_rest(ruleset, scratch, found, &rest);
                scratch.repeats.rest = rest;
            }
        }
        scratch.repeats.tell(&mut found.lists);
        to
    }

    /// Finds the windows of what has not come before.
    fn find_in_rest(&self, ruleset: &Ruleset, scratch: &mut Scratch, found: &mut Found, rest: &Rest) {
        let Scratch { symbols, hits, work, .. } = scratch;
        let mut next_range = [0; 2];
        for (from, places, bytes) in rest.blocks(BLOCK_BYTES as usize, LOOKED_AT as usize) {
            let Some((before, bytes)) = bytes.split_first() else { continue };
            ruleset.prefilter.tables.find(*before, bytes, places, symbols, hits);
            work.places += (hits.words.len() + hits.classes.len()) as u64;
            self.pass_gates(ruleset, found, hits, false, |list, at| {
                let place = rest.place(from + at as usize, next_range.get_mut(list)?)?;
                Some(place as u32)
            });
        }
    }

    fn find_blocks(
        &self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        found: &mut Found,
        mut from: u64,
        to: u64,
    ) {
        while from < to {
            let next = to.min(from + BLOCK_BYTES);
            self.find_block(ruleset, scratch, found, from, next);
            from = next;
        }
    }

    fn find_block(&self, ruleset: &Ruleset, scratch: &mut Scratch, found: &mut Found, from: u64, to: u64) {
        let end = self.end_at().min(to + LOOKED_AT);
        let (bytes, before) = (self.bytes(from, end), self.byte_before(from).unwrap_or(BEFORE_TEXT));
        let (places, whole) = ((to - from) as usize, (bytes.len() + 2).saturating_sub(WINDOW_LEN));
        let whole = places.min(whole);
        let Prefilter { tables, whole: needed, .. } = &*ruleset.prefilter;
        let Scratch { symbols, hits, .. } = scratch;
        tables.find(before, bytes, whole, symbols, hits);
        // At the end of the text.
        for at in whole..places {
            let before = at.checked_sub(1).map_or(before, |at| bytes[at]);
            let rest = &bytes[at..];
            tables.look(before, rest, needed[rest.len().min(WINDOW_LEN)], at as u32, hits);
        }
        let offset = (from - found.from) as u32;
        // Else places are only looked at whose windows could not need more than there is.
        let ended = found.to == self.end_at();
        scratch.work.places += (hits.words.len() + hits.classes.len()) as u64;
        self.pass_gates(ruleset, found, hits, ended, |_, at| Some(at + offset));
    }

    /// Keeps the windows that are there, of hits whose place in the text `place_of` tells.
    #[inline]
    fn pass_gates(
        &self,
        ruleset: &Ruleset,
        found: &mut Found,
        hits: &Hits,
        ended: bool,
        mut place_of: impl FnMut(usize, u32) -> Option<u32>,
    ) {
        let prefilter = &ruleset.prefilter;
        let Found { lists: [words, classes], from, .. } = found;
        let text_at = |place: u32| {
            let start = *from + u64::from(place);
            let before = self.byte_before(start).unwrap_or(BEFORE_TEXT);
            (before, self.text.get((start - self.base) as usize..).unwrap_or_default())
        };
        // One window may be there twice over, by several ways to write it.
        let add = |targets: &mut Targets, place: u32, target: Target| {
            if targets.last() != Some(&(place, target)) {
                targets.push((place, target));
            }
        };
        for hit in &hits.words {
            let Some(place) = place_of(0, hit.at) else { continue };
            let (before, bytes) = text_at(place);
            prefilter.word_targets(hit.gram, before, bytes, ended, |target| add(words, place, target));
        }
        for hit in &hits.classes {
            let Some(place) = place_of(1, hit.at) else { continue };
            let (before, bytes) = text_at(place);
            prefilter.class_targets(hit.buckets, before, bytes, ended, |target| add(classes, place, target));
        }
    }

    fn has_ready_opening(&self, ruleset: &Ruleset) -> bool {
        !self.openings.is_empty() && self.opening_ready(ruleset, false).is_some()
    }

    /// Tries the starts that a window tells of.
    pub(super) fn take_target(
        &mut self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        window: u64,
        target: Target,
    ) {
        match target.run.and_then(|run| ruleset.prefilter.runs.get(run)) {
            Some(run) => self.try_run(ruleset, scratch, run, window),
            None => {
                if let Some(start) = window.checked_sub(target.offset.into()) {
                    self.try_start(ruleset, scratch, target.rule, start);
                }
            }
        }
    }

    /// Tries the starts before an inner window.
    fn try_run(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, run: &RuleRun, window: u64) {
        for start in self.run_starts(run, window, run.run.min as u64) {
            if self.may_start(run, start) {
                self.try_start(ruleset, scratch, run.rule, start);
            }
        }
    }

    /// True when look-behind and first byte let a match of the run's rule begin at `start`.
    pub(super) fn may_start(&self, run: &RuleRun, start: u64) -> bool {
        let first = self.bytes(start, start + 1).first();
        first.is_some_and(|b| run.may_start(self.byte_before(start), *b))
    }

    /// Positions from which a run may reach `to`, no nearer than `min`.
    pub(super) fn run_starts(&self, run: &RuleRun, to: u64, min: u64) -> std::ops::Range<u64> {
        let low = self.floor.max(self.base);
        let farthest = to.saturating_sub((run.run.max - run.run.guard_max.min(run.run.max)) as u64).max(low);
        let mut first = to;
        for byte in self.bytes(farthest, to).iter().rev() {
            if !run.run.class.has(*byte) {
                break;
            }
            first -= 1;
        }
        first.saturating_sub(run.run.guard_max as u64).max(low)..(to + 1).saturating_sub(min)
    }

    fn try_start(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, id: u32, start: u64) {
        let Some(rule) = ruleset.compiled.get(id as usize) else {
            return;
        };
        if start < self.floor
            || self.decided.contains(&(id, start))
            || !self.may_match(ruleset, scratch, id, start)
        {
            return;
        }
        if let Some((candidate, progress)) = self.begin(rule, scratch, id, start) {
            match progress {
                Progress::Live => self.live.push(candidate),
                Progress::Done | Progress::Over => self.settle(rule, scratch, &candidate, progress),
            }
        }
    }

    /// False when a match of the rule can't begin at `start`, as far as its family tells.
    pub(super) fn may_match(&self, ruleset: &Ruleset, scratch: &mut Scratch, id: u32, start: u64) -> bool {
        let bytes = self.text.get((start - self.base) as usize..).unwrap_or_default();
        let before = self.byte_before(start);
        let Scratch { walked, work, .. } = scratch;
        ruleset.families.may_match(id, start, before, bytes, walked, &mut work.steps)
    }

    /// A candidate of the rule at `start`, run over what is there; `None` when it has failed.
    pub(super) fn begin(
        &self,
        rule: &CompiledRule,
        scratch: &mut Scratch,
        id: u32,
        start: u64,
    ) -> Option<(Candidate, Progress)> {
        let before = self.byte_before(start);
        let state = rule.automaton.start(Before::of(before));
        let mut candidate = Candidate::new(id, start, state, before);
        let visits = scratch.lazy.visits();
        let progress = candidate.run(rule, &mut scratch.lazy, &self.text, self.base);
        scratch.work.candidates += 1;
        scratch.work.steps += candidate.at - start + (scratch.lazy.visits() - visits);
        let holds = progress == Progress::Live || candidate.matched.is_some();
        (holds && self.keyword_can_come(rule, start)).then_some((candidate, progress))
    }

    /// Confirms a candidate that is no longer live.
    pub(super) fn settle(
        &mut self,
        rule: &CompiledRule,
        scratch: &mut Scratch,
        candidate: &Candidate,
        progress: Progress,
    ) {
        let tail = (progress == Progress::Over).then(|| Tail::Value {
            state: candidate.state,
            beyond: candidate.beyond.clone(),
            at: candidate.at,
        });
        self.confirm(rule, scratch, candidate, tail);
    }
}
