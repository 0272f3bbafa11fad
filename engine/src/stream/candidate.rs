//! A suspected match, from its start until its automaton decides it.

use crate::compile::automaton::{Automaton, Before, Step};
use crate::compile::lazy::Lazy;
use crate::compile::table::State;
use crate::compile::threads::Threads;
use crate::compile::tracker::{Tracker, TrackerScratch};
use crate::ruleset::CompiledRule;

/// One rule tried at one start.
///
/// ```text
///            dead, or no match can come        past len_max, matched
///   Live ──────────────────────────────► Done   Live ─────────────► Over
/// ```
/// Where its automaton's table is only a head and ends, the candidate is walked again from its start, and on, along the NFA.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) rule: u32,
    pub(super) start: u64,
    /// The next byte to take.
    pub(super) at: u64,
    pub(super) state: State,
    /// In its place, beyond the head of a table.
    pub(super) beyond: Option<Box<Threads>>,
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
        Candidate { rule, start, at: start, state, beyond: None, matched: None, before, tracker: None }
    }

    /// Runs on over `text`, whose first byte is at `base`; all bytes from its start on must be in it.
    pub(super) fn run(&mut self, rule: &CompiledRule, lazy: &mut Lazy, text: &[u8], base: u64) -> Progress {
        if self.beyond.is_some() {
            return self.run_beyond(rule, lazy, text, base);
        }
        let limit = self.start + rule.len_max as u64;
        let automaton = &rule.automaton;
        let rest = text.get((self.at - base) as usize..).unwrap_or_default();
        let bytes = rest.get(..(limit + 1).saturating_sub(self.at) as usize).unwrap_or(rest);
        let (from, mut state) = (self.at, self.state);
        let mut ended = Step::On;
        let mut taken = bytes.len();
        for (n, &byte) in bytes.iter().enumerate() {
            match automaton.step(&mut state, byte) {
                Step::On => {}
                Step::Matched => self.matched = Some(from + n as u64),
                step @ (Step::Dead | Step::Beyond) => {
                    (ended, taken) = (step, n);
                    break;
                }
            }
        }
        (self.at, self.state) = (from + taken as u64, state);
        let is_over = self.at > limit;
        match ended {
            Step::Dead => Progress::Done,
            Step::Beyond => self.run_beyond(rule, lazy, text, base),
            Step::On | Step::Matched if !automaton.is_live(state) => Progress::Done,
            // What goes on without its text must not come to the end of a head.
            Step::On | Step::Matched if is_over && !automaton.is_whole() => {
                self.run_beyond(rule, lazy, text, base)
            }
            Step::On | Step::Matched if is_over => Progress::Over,
            Step::On | Step::Matched => Progress::Live,
        }
    }

    /// The same where the table has ended, from the start on if that is so only now.
    fn run_beyond(&mut self, rule: &CompiledRule, lazy: &mut Lazy, text: &[u8], base: u64) -> Progress {
        let limit = self.start + rule.len_max as u64;
        let Some(groups) = rule.automaton.groups() else { return Progress::Done };
        let (automaton, nfa) = (rule.automaton.number(), &groups.nfa);
        let mut state = match &self.beyond {
            Some(threads) => lazy.number(automaton, nfa, threads),
            None => {
                (self.at, self.matched) = (self.start, None);
                lazy.start(automaton, nfa, Before::of(self.before))
            }
        };
        let from = (self.at - base) as usize;
        let mut over = false;
        for &byte in text.get(from..).unwrap_or_default() {
            match lazy.step(automaton, nfa, &mut state, byte) {
                Step::On | Step::Beyond => {}
                Step::Matched => self.matched = Some(self.at),
                Step::Dead => return Progress::Done,
            }
            self.at += 1;
            over = self.at > limit;
            if over {
                break;
            }
        }
        if !lazy.is_live(state) {
            return Progress::Done;
        }
        let threads = self.beyond.get_or_insert_with(|| lazy.threads());
        lazy.tell(state, threads);
        if over { Progress::Over } else { Progress::Live }
    }

    /// The text ends where the candidate stands.
    pub(super) fn end(&mut self, automaton: &Automaton, lazy: &mut Lazy) {
        let matches = match &self.beyond {
            Some(threads) => automaton.groups().is_some_and(|g| lazy.matches_at_end(&g.nfa, threads)),
            None => automaton.matches_at_end(self.state),
        };
        if matches {
            self.matched = Some(self.at);
        }
    }

    /// Nothing more is asked of it: its memory may serve another one.
    pub(super) fn recycle(&mut self, tracker: &mut TrackerScratch, lazy: &mut Lazy) {
        if let Some(own) = self.tracker.take() {
            tracker.give_back(own);
        }
        if let Some(own) = self.beyond.take() {
            lazy.give_back(own);
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
