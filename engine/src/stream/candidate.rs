//! A suspected match, from its start until its automaton decides it.

use crate::compile::automaton::{Automaton, Step};
use crate::compile::table::State;
use crate::compile::tracker::{Tracker, TrackerScratch};
use crate::ruleset::CompiledRule;

/// One rule tried at one start.
///
/// ```text
///            dead, or no match can come        past len_max, matched
///   Live ──────────────────────────────► Done   Live ─────────────► Over
/// ```
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) rule: u32,
    pub(super) start: u64,
    /// The next byte to take.
    pub(super) at: u64,
    pub(super) state: State,
    /// End of the best match so far.
    pub(super) matched: Option<u64>,
    before: Option<u8>,
    tracker: Option<Box<Tracker>>,
}

/// How far a candidate got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// More bytes may change it.
    Live,
    /// Decided: `matched` tells.
    Done,
    /// It has taken all bytes it may, and could go on.
    Over,
}

impl Candidate {
    pub(super) fn new(rule: u32, start: u64, state: State, before: Option<u8>) -> Candidate {
        Candidate { rule, start, at: start, state, matched: None, before, tracker: None }
    }

    /// Runs on over `text`, whose first byte is at `base`; all bytes from `self.at` on must be in it.
    pub(super) fn run(&mut self, rule: &CompiledRule, text: &[u8], base: u64) -> Progress {
        let limit = self.start + rule.len_max as u64;
        let automaton = &rule.automaton;
        let from = (self.at - base) as usize;
        for &byte in text.get(from..).unwrap_or_default() {
            match automaton.step(&mut self.state, byte) {
                Step::On => {}
                Step::Matched => self.matched = Some(self.at),
                Step::Dead => return Progress::Done,
            }
            self.at += 1;
            if self.at > limit {
                return if automaton.is_live(self.state) { Progress::Over } else { Progress::Done };
            }
        }
        if automaton.is_live(self.state) { Progress::Live } else { Progress::Done }
    }

    /// The text ends where the candidate stands.
    pub(super) fn end(&mut self, automaton: &Automaton) {
        if automaton.matches_at_end(self.state) {
            self.matched = Some(self.at);
        }
    }

    /// Nothing more is asked of it: its memory may serve another one.
    pub(super) fn recycle(&mut self, scratch: &mut TrackerScratch) {
        if let Some(tracker) = self.tracker.take() {
            scratch.give_back(tracker);
        }
    }

    /// The least position at which its value can begin: nothing from there on may be released.
    pub(super) fn hold_from(
        &mut self,
        rule: &CompiledRule,
        scratch: &mut TrackerScratch,
        text: &[u8],
        base: u64,
    ) -> u64 {
        if rule.end.is_some() {
            return self.start;
        }
        let value = rule.automaton.place.before(self.start);
        if let Some(before) = value.exact() {
            return (self.start + before as u64).min(self.at);
        }
        if self.start + value.min as u64 >= self.at {
            return self.at;
        }
        let (start, before) = (self.start, self.before);
        let Some(groups) = rule.automaton.groups() else { return start };
        let tracker = self.tracker.get_or_insert_with(|| scratch.tracker(groups, start, before));
        let (from, to) = ((tracker.at() - base) as usize, (self.at - base) as usize);
        tracker.advance(groups, scratch, text.get(from..to).unwrap_or_default());
        tracker.value_start_min(groups, scratch)
    }
}
