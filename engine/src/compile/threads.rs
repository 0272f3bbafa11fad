//! An expression's NFA walked along all its ways at once: what tables are made of, and what goes on where one ends.
//!
//! A walk's *threads* are the NFA's states that it may be in, the preferred ones first, up to the first that has matched
//! (leftmost-first; Russ Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009). Empty transitions have
//! been followed but for look-around, which the next byte decides. So threads are all that what follows depends on: equal
//! ones are one state of a table.

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::primitives::StateID;

use super::automaton::Before;
use super::tracker::{consume, look_met_by};

/// The most states of an NFA: threads note them in 16 bits, and what a byte costs is bounded by them.
pub(super) const NFA_STATES_MAX: usize = u16::MAX as usize;

/// Where a walk stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Threads {
    states: Vec<u16>,
    /// What the byte before was; the same for all where no look-around asks for it.
    before: Before,
    /// There is look-around among them.
    looks: bool,
}

/// Reusable memory of steps.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    /// By state: the last step that came by.
    seen: Vec<u32>,
    step: u32,
    stack: Vec<StateID>,
    /// Threads whose look-around has been decided.
    decided: Vec<StateID>,
    /// What a byte leads them to.
    taken: Vec<StateID>,
    /// States visited so far: what it all has cost.
    pub(super) visits: u64,
}

impl Threads {
    /// True when nothing can match any more.
    pub(crate) fn is_dead(&self) -> bool {
        self.states.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.states.len()
    }

    /// True when the next byte decides some of them.
    pub(super) fn has_looks(&self) -> bool {
        self.looks
    }

    fn clear(&mut self) {
        self.states.clear();
        (self.before, self.looks) = (Before::Other, false);
    }

    /// As numbers that tell it from all others of the same NFA.
    pub(super) fn key(&self) -> impl Iterator<Item = u16> {
        std::iter::once(u16::from(self.looks) << 8 | self.before as u16).chain(self.states.iter().copied())
    }

    /// From what [`Threads::key`] told.
    pub(super) fn set_key(&mut self, key: &[u16]) {
        let (before, states) = key.split_first().map_or((0, key), |(before, states)| (*before, states));
        self.before = Before::ALL.get(usize::from(before & 0xFF)).copied().unwrap_or_default();
        self.looks = before >> 8 != 0;
        self.states.clear();
        self.states.extend_from_slice(states);
    }
}

impl Steps {
    /// Sets `threads` to where a walk from `start` stands.
    pub(super) fn start(&mut self, nfa: &NFA, start: StateID, before: Before, threads: &mut Threads) {
        threads.clear();
        self.renew(nfa);
        self.follow(nfa, start, threads);
        self.finish(nfa, before, threads);
    }

    /// Takes a byte, or the end of the text: sets `next` to where the walk stands then, and tells whether a match ended
    /// before it.
    pub(super) fn step(&mut self, nfa: &NFA, from: &Threads, byte: Option<u8>, next: &mut Threads) -> bool {
        let matched = self.decide(nfa, from, byte);
        match byte {
            Some(byte) => {
                self.take(nfa, byte);
                self.arrive(nfa, byte, next);
            }
            None => next.clear(),
        }
        matched
    }

    /// The states that a byte leads the decided threads to: the next threads depend on nothing else, but for look-around.
    pub(super) fn take(&mut self, nfa: &NFA, byte: u8) -> &[StateID] {
        self.visits += self.decided.len() as u64;
        self.taken.clear();
        self.taken.extend(self.decided.iter().filter_map(|state| consume(nfa.state(*state), byte)));
        &self.taken
    }

    /// Sets `next` to where the walk stands after the byte that was taken.
    pub(super) fn arrive(&mut self, nfa: &NFA, byte: u8, next: &mut Threads) {
        next.clear();
        self.renew(nfa);
        let taken = std::mem::take(&mut self.taken);
        for to in &taken {
            if self.follow(nfa, *to, next) {
                break;
            }
        }
        self.taken = taken;
        self.finish(nfa, Before::of(Some(byte)), next);
    }

    /// The threads that take a byte, given what comes next; true when one has matched, which those after it do not survive.
    pub(super) fn decide(&mut self, nfa: &NFA, from: &Threads, next: Option<u8>) -> bool {
        self.renew(nfa);
        self.decided.clear();
        let before = from.before.example();
        for thread in &from.states {
            self.stack.clear();
            self.stack.push(StateID::new_unchecked(usize::from(*thread)));
            while let Some(id) = self.stack.pop() {
                if self.is_seen(id) {
                    continue;
                }
                match nfa.state(id) {
                    State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => self.decided.push(id),
                    State::Look { look, next: to } => {
                        if look_met_by(nfa.look_matcher(), *look, before, next) {
                            self.stack.push(*to);
                        }
                    }
                    State::Match { .. } => return true,
                    state => push_empty(state, &mut self.stack),
                }
            }
        }
        false
    }

    /// Adds what empty transitions from a state lead to; true when that is a match.
    fn follow(&mut self, nfa: &NFA, from: StateID, threads: &mut Threads) -> bool {
        self.stack.clear();
        self.stack.push(from);
        while let Some(id) = self.stack.pop() {
            if self.is_seen(id) {
                continue;
            }
            match nfa.state(id) {
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Look { .. } => {
                    threads.states.push(id.as_usize() as u16);
                }
                State::Match { .. } => {
                    threads.states.push(id.as_usize() as u16);
                    return true;
                }
                state => push_empty(state, &mut self.stack),
            }
        }
        false
    }

    /// What stood before is kept only where it is asked for.
    fn finish(&mut self, nfa: &NFA, before: Before, threads: &mut Threads) {
        let is_look =
            |id: &u16| matches!(nfa.state(StateID::new_unchecked((*id).into())), State::Look { .. });
        threads.looks = threads.states.iter().any(is_look);
        threads.before = if threads.looks { told_apart(nfa, before) } else { Before::Other };
    }

    fn renew(&mut self, nfa: &NFA) {
        let states = nfa.states().len();
        if self.seen.len() < states || self.step == u32::MAX {
            self.seen.clear();
            self.seen.resize(states, 0);
            self.step = 0;
        }
        self.step += 1;
    }

    /// True when the present step came by the state before.
    fn is_seen(&mut self, id: StateID) -> bool {
        self.visits += 1;
        let seen = self.seen.get_mut(id.as_usize());
        seen.is_none_or(|seen| std::mem::replace(seen, self.step) == self.step)
    }
}

/// What stands before, as far as the expression's look-around can tell it: else a rule with a word boundary at its start
/// would have other states after a line feed than after a space, and other windows.
fn told_apart(nfa: &NFA, before: Before) -> Before {
    let looks = nfa.look_set_any();
    match before {
        Before::Word if !looks.contains_word() => Before::Other,
        Before::Nothing | Before::LineFeed | Before::CarriageReturn if !looks.contains_anchor() => {
            Before::Other
        }
        Before::LineFeed | Before::CarriageReturn if !looks.contains_anchor_line() => Before::Other,
        Before::Nothing if !looks.contains_anchor_haystack() => Before::LineFeed,
        Before::CarriageReturn if !looks.contains_anchor_crlf() => Before::Other,
        _ => before,
    }
}

/// What a state's empty transitions lead to, the preferred one on top.
fn push_empty(state: &State, stack: &mut Vec<StateID>) {
    match state {
        State::Union { alternates } => stack.extend(alternates.iter().rev()),
        State::BinaryUnion { alt1, alt2 } => stack.extend([*alt2, *alt1]),
        State::Capture { next, .. } | State::Look { next, .. } => stack.push(*next),
        State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) | State::Fail | State::Match { .. } => {}
    }
}
