//! Up to where things are settled at the end of a chunk.
//!
//! A value may still begin with any candidate that is live, at any start whose window has come in part, and in any
//! run that could reach an inner window. The last two have no candidate yet: they are found anew when their windows
//! are whole, so that they cost nothing between chunks.

use super::Scratch;
use super::candidate::{Candidate, Progress};
use super::scan::{Scan, Watermarks};
use crate::compile::holds::DEPTH;
use crate::compile::prefilter::Target;
use crate::compile::runs::RuleRun;
use crate::compile::symbol::BEFORE_TEXT;
use crate::ruleset::{CompiledRule, Ruleset};

/// Pieces of so many bytes are not followed by the automaton of what is cut: it would see a few bytes of many.
const LONG: usize = 64;

impl Scan {
    /// Up to where nothing new can begin.
    pub(super) fn watermarks(&mut self, ruleset: &Ruleset, scratch: &mut Scratch) -> Watermarks {
        let end = self.end_at();
        let reach = ruleset.prefilter.reach as u64;
        let mut marks = Watermarks { values: end, labels: self.at.saturating_sub(reach) };
        let exact = self.exact.mark(ruleset);
        marks.values = marks.values.min(exact);
        marks.labels = marks.labels.min(exact);
        for opening in &self.openings {
            marks.values = marks.values.min(opening.start);
            marks.labels = marks.labels.min(opening.start);
        }
        for candidate in &mut self.live {
            let Some(rule) = ruleset.compiled.get(candidate.rule as usize) else {
                continue;
            };
            if !rule.masks || rule.end.is_some() {
                marks.labels = marks.labels.min(candidate.start);
            }
            if rule.masks {
                let from = candidate.hold_from(rule, &mut scratch.tracker, &self.text, self.base);
                marks.values = marks.values.min(from);
            }
        }
        if !self.enclosed {
            self.mark_runs(ruleset, scratch, &mut marks);
            self.mark_windows(ruleset, scratch, &mut marks);
        }
        marks
    }

    /// Lowers the marks for runs that reach the end of what is there.
    fn mark_runs(&self, ruleset: &Ruleset, scratch: &mut Scratch, marks: &mut Watermarks) {
        let end = self.end_at();
        let runs = &ruleset.prefilter.runs;
        let low = self.floor.max(self.base).max(end.saturating_sub(ruleset.prefilter.reach as u64));
        let mut reaching = std::mem::take(&mut scratch.reaching);
        reaching.clear();
        runs.reaching(self.bytes(low, end), &mut reaching);
        // The farthest first: what it holds need not be asked of the others.
        for place in reaching.iter().rev() {
            let start = end - u64::from(place.distance);
            if start >= marks.values {
                continue;
            }
            let Some(first) = self.bytes(start, start + 1).first() else { continue };
            for run in runs.beginning(*place, self.byte_before(start), *first) {
                self.mark_run_start(ruleset, scratch, run, start, *first, marks);
            }
        }
        scratch.reaching = reaching;
    }

    fn mark_run_start(
        &self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        run: &RuleRun,
        start: u64,
        first: u8,
        marks: &mut Watermarks,
    ) {
        let in_guard = run.run.guard_outside && !run.run.class.has(first);
        if start + u64::from(in_guard) < marks.values {
            self.mark_start(ruleset, scratch, run.rule, start, marks);
        }
    }

    /// Lowers the marks for windows that are cut by the end of what is there.
    ///
    /// A match that is decided there becomes a span at once: nothing is held for a window's sake.
    fn mark_windows(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, marks: &mut Watermarks) {
        let end = self.end_at();
        let from = self.at;
        // A window may be an inner one, whose match starts before it.
        let reach = ruleset.prefilter.reach as u64;
        if from >= marks.values + reach {
            return;
        }
        let last = self.bytes(from.max(end.saturating_sub(DEPTH as u64 - 1)), end);
        let before = self.byte_before(end - last.len() as u64).unwrap_or(BEFORE_TEXT);
        let mut cuts = std::mem::take(&mut scratch.cuts);
        cuts.clear();
        cuts.extend_from_slice(if scratch.taken < LONG {
            scratch.tails.cut_windows(ruleset, before, last)
        } else {
            scratch.ends.cut_windows(ruleset, before, last)
        });
        for cut in &cuts {
            let start = end - u64::from(cut.have);
            // Beyond what is held already only an inner window matters.
            if start < marks.values || cut.target.run.is_some() {
                self.mark_target(ruleset, scratch, start, cut.target, marks);
            }
        }
        scratch.cuts = cuts;
    }

    /// Lowers the marks for a window that is cut, of which `window` is the first byte.
    fn mark_target(
        &mut self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        window: u64,
        target: Target,
        marks: &mut Watermarks,
    ) {
        match target.run.and_then(|run| ruleset.prefilter.runs.get(run)) {
            Some(run) => {
                let value_from = window + u64::from(target.value_min);
                if target.value_min > 0 && value_from >= marks.values.min(self.end_at()) {
                    return;
                }
                for start in self.run_starts(run, window, run.run.min as u64) {
                    if self.may_start(run, start) {
                        self.decide_start(ruleset, scratch, run.rule, start, marks);
                    }
                }
            }
            None => {
                if let Some(start) = window.checked_sub(target.offset.into()) {
                    let value_from = start + u64::from(target.value_min);
                    if value_from < marks.values.min(self.end_at()) {
                        self.decide_start(ruleset, scratch, target.rule, start, marks);
                    }
                }
            }
        }
    }

    /// Lowers the marks when a match of the rule may begin at `start` and go on past what is there.
    fn mark_start(
        &self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        id: u32,
        start: u64,
        marks: &mut Watermarks,
    ) {
        let Some(rule) = ruleset.compiled.get(id as usize) else { return };
        if self.may_lower(rule, start, marks)
            && self.may_match(ruleset, scratch, id, start)
            && let Some((mut candidate, Progress::Live)) = self.begin(rule, scratch, id, start)
        {
            self.mark_candidate(rule, scratch, &mut candidate, marks);
        }
    }

    /// True when a value of the rule whose match begins at `start` could lower the marks.
    fn may_lower(&self, rule: &CompiledRule, start: u64, marks: &Watermarks) -> bool {
        let nearest = start + rule.automaton.place.before(start).min as u64;
        rule.masks && start >= self.floor && nearest < marks.values && nearest < self.end_at()
    }

    fn mark_candidate(
        &self,
        rule: &CompiledRule,
        scratch: &mut Scratch,
        candidate: &mut Candidate,
        marks: &mut Watermarks,
    ) {
        let from = candidate.hold_from(rule, &mut scratch.tracker, &self.text, self.base);
        candidate.recycle(&mut scratch.tracker, &mut scratch.lazy);
        marks.values = marks.values.min(from);
        if rule.end.is_some() {
            marks.labels = marks.labels.min(candidate.start);
        }
    }

    /// As [`Scan::mark_start`], and confirms a match that is decided.
    fn decide_start(
        &mut self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        id: u32,
        start: u64,
        marks: &mut Watermarks,
    ) {
        let Some(rule) = ruleset.compiled.get(id as usize) else { return };
        if !self.may_lower(rule, start, marks)
            || self.decided.contains(&(id, start))
            || !self.may_match(ruleset, scratch, id, start)
        {
            return;
        }
        let Some((mut candidate, progress)) = self.begin(rule, scratch, id, start) else { return };
        if progress == Progress::Live {
            return self.mark_candidate(rule, scratch, &mut candidate, marks);
        }
        self.settle(rule, scratch, &candidate, progress);
        if progress == Progress::Over {
            self.run_tails(ruleset, &mut scratch.lazy, false);
        }
        self.decided.push((id, start));
        if rule.end.is_some() {
            marks.values = marks.values.min(start);
            marks.labels = marks.labels.min(start);
        }
    }
}
