//! The automata of one expression.
//!
//! A rule is confirmed by a dense DFA anchored at a candidate's start (`regex-automata`), whose state is all that
//! is carried from chunk to chunk. Where the value lies in a match is told by arithmetic when the expression
//! fixes it, else by a Pike VM over the finished match, which is rare and short.
//!
//! A DFA state may be neither dead nor able to match again (contradictory look-around); [`Automaton::is_live`]
//! tells the two apart, for hold-back must not wait for what can't come.

use std::collections::HashMap;
use std::fmt;

use regex_automata::dfa::Automaton as _;
use regex_automata::dfa::{StartKind, dense, sparse};
use regex_automata::nfa::thompson::{self, State, WhichCaptures, pikevm::PikeVM};
use regex_automata::util::primitives::StateID;
use regex_automata::util::start;
use regex_automata::{Anchored, MatchKind};
use regex_syntax::hir::Hir;

use super::expression::{Expression, Place};
use super::symbol::ByteSet;

/// The most bytes one expression's DFA may take.
const DFA_BYTES_MAX: usize = 8 << 20;
/// The most bytes building it may take.
const BUILD_BYTES_MAX: usize = 64 << 20;

/// A dense table is fast and large; one of more bytes than this is kept sparse, a few times smaller and slower.
const DENSE_BYTES_MAX: usize = 140 << 10;

/// A table of transitions.
enum Dfa {
    Dense(dense::DFA<Vec<u32>>),
    Sparse(sparse::DFA<Vec<u8>>),
}

impl Dfa {
    #[inline]
    fn step(&self, state: &mut StateID, byte: u8) -> Step {
        match self {
            Dfa::Dense(dfa) => step(dfa, state, byte),
            Dfa::Sparse(dfa) => step(dfa, state, byte),
        }
    }

    fn matches_at_end(&self, state: StateID) -> bool {
        match self {
            Dfa::Dense(dfa) => dfa.is_match_state(dfa.next_eoi_state(state)),
            Dfa::Sparse(dfa) => dfa.is_match_state(dfa.next_eoi_state(state)),
        }
    }

    fn start_state(&self, config: &start::Config) -> Result<StateID, String> {
        let found = match self {
            Dfa::Dense(dfa) => dfa.start_state(config),
            Dfa::Sparse(dfa) => dfa.start_state(config),
        };
        found.map_err(|e| format!("no start state: {e}"))
    }

    fn memory_bytes(&self) -> usize {
        match self {
            Dfa::Dense(dfa) => dfa.memory_usage(),
            Dfa::Sparse(dfa) => dfa.memory_usage(),
        }
    }
}

/// What stands before a position, as far as look-around can tell: the index of a start state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Before {
    Nothing,
    LineFeed,
    CarriageReturn,
    Word,
    Other,
}

impl Before {
    pub(crate) const ALL: [Before; 5] =
        [Before::Nothing, Before::LineFeed, Before::CarriageReturn, Before::Word, Before::Other];

    pub(crate) fn of(byte: Option<u8>) -> Before {
        match byte {
            None => Before::Nothing,
            Some(b'\n') => Before::LineFeed,
            Some(b'\r') => Before::CarriageReturn,
            Some(b) if b == b'_' || b.is_ascii_alphanumeric() => Before::Word,
            Some(_) => Before::Other,
        }
    }

    fn example(self) -> Option<u8> {
        match self {
            Before::Nothing => None,
            Before::LineFeed => Some(b'\n'),
            Before::CarriageReturn => Some(b'\r'),
            Before::Word => Some(b'a'),
            Before::Other => Some(b' '),
        }
    }
}

/// An anchored matcher of one expression.
pub(crate) struct Automaton {
    dfa: Dfa,
    starts: [StateID; 5],
    /// States from which no match can come any more, sorted: few, for most of them are the dead one.
    ended: Vec<StateID>,
    /// The classes of bytes that the table tells apart, each with a byte of it.
    pub(crate) classes: Vec<(u8, ByteSet)>,
    pub(crate) nfa: thompson::NFA,
    pub(crate) pike: PikeVM,
    pub(crate) secret: Option<u32>,
    pub(crate) place: Place,
    /// By NFA state: a match can come from it that does not enter the group `secret`.
    pub(crate) skips: Vec<bool>,
}

impl fmt::Debug for Automaton {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Automaton").field("bytes", &self.memory_bytes()).finish_non_exhaustive()
    }
}

/// What a step of a DFA told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    On,
    /// A match ended before the byte just taken.
    Matched,
    Dead,
}

impl Automaton {
    pub(crate) fn build(expression: &Expression) -> Result<Automaton, String> {
        let nfa = build_nfa(expression)?;
        let (dfa, classes) = build_dfa(&nfa, StartKind::Anchored)?;
        let starts = start_states(&dfa, Anchored::Yes)?;
        let ended = ended_states(&dfa, &starts, &classes);
        let pike = PikeVM::new_from_nfa(nfa.clone()).map_err(|e| too_large(&e))?;
        let skips = skipping_states(&nfa, expression.secret);
        Ok(Automaton {
            dfa,
            starts,
            ended,
            classes,
            nfa,
            pike,
            secret: expression.secret,
            place: expression.place,
            skips,
        })
    }

    /// An automaton of the parts one after another, for what can be told of their bytes.
    pub(crate) fn of_parts(parts: &[Hir]) -> Result<Automaton, String> {
        Automaton::build(&Expression {
            hir: Hir::concat(parts.to_vec()),
            place: Place::WHOLE,
            secret: None,
            len_min: 1,
            len_max: None,
        })
    }

    pub(crate) fn start(&self, before: Before) -> StateID {
        self.starts[before as usize]
    }

    #[inline]
    pub(crate) fn step(&self, state: &mut StateID, byte: u8) -> Step {
        self.dfa.step(state, byte)
    }

    /// True when the text ending here completes a match.
    pub(crate) fn matches_at_end(&self, state: StateID) -> bool {
        self.dfa.matches_at_end(state)
    }

    /// True when some continuation (the end included) gives a match that has not been told yet.
    #[inline]
    pub(crate) fn is_live(&self, state: StateID) -> bool {
        self.ended.binary_search(&state).is_err()
    }

    /// True when a match may start with `byte` after `before`.
    pub(crate) fn may_start(&self, before: Before, byte: u8) -> bool {
        let mut state = self.start(before);
        self.step(&mut state, byte) != Step::Dead && self.is_live(state)
    }

    /// Bytes of memory the automata take.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.dfa.memory_bytes() + self.nfa.memory_usage() + self.skips.len()
    }
}

/// An unanchored matcher: finds the close of an enclosed value.
pub(crate) struct Searcher {
    dfa: Dfa,
    starts: [StateID; 5],
    /// States from which no match can come any more, sorted: few, for most of them are the dead one.
    ended: Vec<StateID>,
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searcher").finish_non_exhaustive()
    }
}

impl Searcher {
    pub(crate) fn build(expression: &Expression) -> Result<Searcher, String> {
        let nfa = build_nfa(expression)?;
        let (dfa, classes) = build_dfa(&nfa, StartKind::Unanchored)?;
        let starts = start_states(&dfa, Anchored::No)?;
        let ended = ended_states(&dfa, &starts, &classes);
        Ok(Searcher { dfa, starts, ended })
    }

    pub(crate) fn start(&self, before: Before) -> StateID {
        self.starts[before as usize]
    }

    /// True when some continuation (the end included) gives a match that has not been told yet.
    pub(crate) fn is_live(&self, state: StateID) -> bool {
        self.ended.binary_search(&state).is_err()
    }

    #[inline]
    pub(crate) fn step(&self, state: &mut StateID, byte: u8) -> Step {
        self.dfa.step(state, byte)
    }

    pub(crate) fn matches_at_end(&self, state: StateID) -> bool {
        self.dfa.matches_at_end(state)
    }

    /// True when the expression matches somewhere in `haystack`.
    pub(crate) fn is_found_in(&self, haystack: &[u8]) -> bool {
        let mut state = self.start(Before::Nothing);
        for &byte in haystack {
            match self.step(&mut state, byte) {
                Step::Matched => return true,
                Step::Dead => return false,
                Step::On => {}
            }
        }
        self.matches_at_end(state)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.dfa.memory_bytes()
    }
}

fn build_nfa(expression: &Expression) -> Result<thompson::NFA, String> {
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(WhichCaptures::All)
        .nfa_size_limit(Some(DFA_BYTES_MAX));
    thompson::Compiler::new().configure(config).build_from_hir(&expression.hir).map_err(|e| too_large(&e))
}

/// The table, and the classes of bytes that it tells apart, each with a byte of it.
fn build_dfa(nfa: &thompson::NFA, starts: StartKind) -> Result<(Dfa, Vec<(u8, ByteSet)>), String> {
    let config = dense::Config::new()
        .match_kind(MatchKind::LeftmostFirst)
        .start_kind(starts)
        .accelerate(false)
        .dfa_size_limit(Some(DFA_BYTES_MAX))
        .determinize_size_limit(Some(BUILD_BYTES_MAX));
    let dense = dense::Builder::new().configure(config).build_from_nfa(nfa).map_err(|e| too_large(&e))?;
    let of = dense.byte_classes();
    let class = |first: u8| ByteSet::of((0..=255u8).filter(|b| of.get(*b) == of.get(first)));
    let bytes = of.representatives(..).filter_map(|u| u.as_u8());
    let classes = bytes.map(|byte| (byte, class(byte))).collect();
    if dense.memory_usage() <= DENSE_BYTES_MAX {
        return Ok((Dfa::Dense(dense), classes));
    }
    Ok((Dfa::Sparse(dense.to_sparse().map_err(|e| too_large(&e))?), classes))
}

fn too_large(error: &dyn fmt::Display) -> String {
    format!(
        "its automaton can't be built ({error}): make repetitions shorter or classes simpler; the limit is {} MiB",
        DFA_BYTES_MAX >> 20
    )
}

#[inline]
fn step(dfa: &impl regex_automata::dfa::Automaton, state: &mut StateID, byte: u8) -> Step {
    *state = dfa.next_state(*state, byte);
    if !dfa.is_special_state(*state) {
        Step::On
    } else if dfa.is_match_state(*state) {
        Step::Matched
    } else if dfa.is_dead_state(*state) || dfa.is_quit_state(*state) {
        Step::Dead
    } else {
        Step::On
    }
}

fn start_states(dfa: &Dfa, anchored: Anchored) -> Result<[StateID; 5], String> {
    let mut starts = [StateID::ZERO; 5];
    for (slot, before) in starts.iter_mut().zip(Before::ALL) {
        let config = start::Config::new().anchored(anchored).look_behind(before.example());
        *slot = dfa.start_state(&config)?;
    }
    Ok(starts)
}

/// NFA states from which a match can come without entering group `secret`.
fn skipping_states(nfa: &thompson::NFA, secret: Option<u32>) -> Vec<bool> {
    let mut skips = vec![false; nfa.states().len()];
    loop {
        let mut changed = false;
        for (index, state) in nfa.states().iter().enumerate() {
            let reached = |id: StateID| skips[id.as_usize()];
            let skip = match state {
                State::Match { .. } => true,
                State::Capture { group_index, slot, .. }
                    if Some(group_index.as_u32()) == secret && slot.as_usize() % 2 == 0 =>
                {
                    false
                }
                State::Capture { next, .. } | State::Look { next, .. } => reached(*next),
                State::ByteRange { trans } => reached(trans.next),
                State::Sparse(sparse) => sparse.transitions.iter().any(|t| reached(t.next)),
                State::Dense(dense) => dense.transitions.iter().any(|to| reached(*to)),
                State::Union { alternates } => alternates.iter().any(|to| reached(*to)),
                State::BinaryUnion { alt1, alt2 } => reached(*alt1) || reached(*alt2),
                State::Fail => false,
            };
            changed |= skip && !std::mem::replace(&mut skips[index], skip);
        }
        if !changed {
            return skips;
        }
    }
}

/// States from which no match can come: those that can be reached from a start and can't reach a match.
fn ended_states(dfa: &Dfa, starts: &[StateID; 5], classes: &[(u8, ByteSet)]) -> Vec<StateID> {
    let mut seen: Vec<StateID> = Vec::new();
    let mut number: HashMap<StateID, usize> = HashMap::new();
    let mut from: Vec<Vec<u32>> = Vec::new();
    let mut work: Vec<usize> = Vec::new();
    let mut live: Vec<bool> = Vec::new();
    let mut add = |s: StateID, seen: &mut Vec<StateID>, from: &mut Vec<Vec<u32>>| -> usize {
        *number.entry(s).or_insert_with(|| {
            seen.push(s);
            from.push(Vec::new());
            seen.len() - 1
        })
    };
    for &s in starts {
        add(s, &mut seen, &mut from);
    }
    let mut at = 0;
    while let Some(&state) = seen.get(at) {
        let mut ends = dfa.matches_at_end(state);
        for &(byte, _) in classes {
            let mut next = state;
            let step = dfa.step(&mut next, byte);
            ends |= step == Step::Matched;
            let n = add(next, &mut seen, &mut from);
            if step != Step::Dead && from[n].last() != Some(&(at as u32)) {
                from[n].push(at as u32);
            }
        }
        live.resize(seen.len(), false);
        if ends {
            live[at] = true;
            work.push(at);
        }
        at += 1;
    }
    while let Some(n) = work.pop() {
        for &before in &from[n] {
            if !std::mem::replace(&mut live[before as usize], true) {
                work.push(before as usize);
            }
        }
    }
    let mut ended: Vec<StateID> = seen.iter().zip(live).filter(|(_, live)| !live).map(|(s, _)| *s).collect();
    ended.sort();
    ended
}
