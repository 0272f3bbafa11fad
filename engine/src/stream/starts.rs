//! From windows to candidates.

use super::Scratch;
use super::candidate::{Candidate, Progress};
use super::scan::{Scan, Tail};
use crate::compile::automaton::Before;
use crate::compile::prefilter::{RuleRun, Target};
use crate::compile::symbol::{BEFORE_TEXT, END, WILD};
use crate::kernel::{Hit, WINDOW_LEN};
use crate::ruleset::{CompiledRule, Ruleset};

/// Bytes that a window has from its start on; one stands before.
const WINDOW_BYTES: u64 = WINDOW_LEN as u64 - 1;

/// What the kernel found in the present piece.
pub(super) struct Found {
    hits: Vec<Hit>,
    next: usize,
    /// Position of the first place looked at, and the first that was not.
    from: u64,
    to: u64,
}

impl Found {
    pub(super) fn none(scratch: &mut Scratch) -> Found {
        let mut hits = std::mem::take(&mut scratch.hits);
        hits.clear();
        Found { hits, next: 0, from: 0, to: 0 }
    }

    pub(super) fn give_back(self, scratch: &mut Scratch) {
        scratch.hits = self.hits;
    }
}

impl Scan {
    /// Puts the symbols of `from..` with the byte before and what follows into the scratch.
    pub(super) fn fold(&self, ruleset: &Ruleset, scratch: &mut Scratch, from: u64, then: u8) {
        let before = self.byte_before(from).unwrap_or(BEFORE_TEXT);
        ruleset.prefilter.tables.fold(before, self.bytes(from, self.end_at()), then, &mut scratch.symbols);
    }

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
            self.fold(ruleset, scratch, self.at, if end { END } else { WILD });
            found.hits.clear();
            (found.next, found.from, found.to) = (0, self.at, to);
            ruleset.prefilter.tables.find(&scratch.symbols, (to - self.at) as usize, &mut found.hits);
            scratch.work.places += found.hits.len() as u64;
        } else {
            // An enclosed value has ended: what follows it is looked at again.
            found.next = found.hits.partition_point(|h| found.from + u64::from(h.at) < self.at);
        }
        while let Some(hit) = found.hits.get(found.next).copied() {
            let start = found.from + u64::from(hit.at);
            self.at = start;
            if self.has_ready_opening(ruleset) {
                return;
            }
            self.take_hit(ruleset, scratch, start, hit, if end { END } else { WILD });
            found.next += 1;
        }
        self.at = self.at.max(to);
        let forgotten = self.at.saturating_sub(ruleset.prefilter.reach as u64);
        self.decided.retain(|(_, start)| *start >= forgotten);
    }

    fn has_ready_opening(&self, ruleset: &Ruleset) -> bool {
        !self.openings.is_empty() && self.opening_ready(ruleset, false).is_some()
    }

    fn take_hit(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, start: u64, hit: Hit, then: u8) {
        let before = self.byte_before(start).unwrap_or(BEFORE_TEXT);
        let mut targets = std::mem::take(&mut scratch.targets);
        targets.clear();
        let bytes = self.text.get((start - self.base) as usize..).unwrap_or_default();
        ruleset.prefilter.targets(hit, before, bytes, then, &mut targets);
        let mut last: Option<Target> = None;
        for target in targets.iter().filter(|t| last.replace(**t) != Some(**t)) {
            match target.run.and_then(|run| ruleset.prefilter.runs.get(run as usize)) {
                Some(run) => self.try_run(ruleset, scratch, run, start),
                None => {
                    if let Some(start) = start.checked_sub(target.offset.into()) {
                        self.try_start(ruleset, scratch, target.rule, start);
                    }
                }
            }
        }
        scratch.targets = targets;
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
        if start < self.floor || self.decided.contains(&(id, start)) {
            return;
        }
        if let Some((candidate, progress)) = self.begin(rule, scratch, id, start) {
            match progress {
                Progress::Live => self.live.push(candidate),
                Progress::Done | Progress::Over => self.settle(rule, scratch, &candidate, progress),
            }
        }
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
        let progress = candidate.run(rule, &self.text, self.base);
        scratch.work.candidates += 1;
        scratch.work.steps += candidate.at - start;
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
        let tail =
            (progress == Progress::Over).then_some(Tail::Value { state: candidate.state, at: candidate.at });
        self.confirm(rule, scratch, candidate, tail);
    }
}
