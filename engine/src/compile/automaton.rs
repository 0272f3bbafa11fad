//! The automata of one expression.
//!
//! A rule is confirmed by a [table](super::table) anchored at a candidate's start, whose state is all that is carried from
//! chunk to chunk. Where a table would be too large it is only a head, beyond which the expression's NFA is walked
//! ([`lazy`](super::lazy)). Where the value lies in a match is told by arithmetic when the expression fixes it, else by a
//! second look at the finished match ([`group`](super::group)). The NFA is made when it is first asked for, from the
//! expression's text, so that rules which nothing is found of don't keep one; should that fail, which it can't for a rule
//! that was compiled, the whole match is the value, and beyond a head nothing matches.
//!
//! A table's state may be neither dead nor able to match again (contradictory look-around); [`Automaton::is_live`]
//! tells the two apart, for hold-back must not wait for what can't come.

use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::primitives::StateID;
use regex_syntax::hir::Hir;

use super::expression::{Expression, Place};
use super::group::GroupFinder;
use super::symbol::ByteSet;
use super::table::{Extent, State, TABLE_BYTES_MAX, Table};
use super::threads::NFA_STATES_MAX;
use crate::built::wire::{Damage, Reader, Writer};

/// The most bytes an expression's NFA may take.
const NFA_BYTES_MAX: usize = 8 << 20;
/// What the table of a rule may cost before it is only a head. Windows are found on all of what was made.
const RULE: Extent =
    Extent { visits_max: 8_000_000, growing_max: 600_000, walked_max: usize::MAX, heads: true };
/// The head that is kept: most candidates fail in it.
const HEAD: Extent = Extent { walked_max: 64, ..RULE };
/// What is searched for has no head.
const SEARCHED: Extent =
    Extent { visits_max: 50_000_000, growing_max: 50_000_000, walked_max: usize::MAX, heads: false };

/// What stands before a position, as far as look-around can tell: the index of a start state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum Before {
    Nothing,
    LineFeed,
    CarriageReturn,
    Word,
    #[default]
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

    /// A byte that is so.
    pub(super) fn example(self) -> Option<u8> {
        match self {
            Before::Nothing => None,
            Before::LineFeed => Some(b'\n'),
            Before::CarriageReturn => Some(b'\r'),
            Before::Word => Some(b'a'),
            Before::Other => Some(b' '),
        }
    }
}

/// An anchored matcher of one expression; a clone shares what is large.
#[derive(Clone)]
pub(crate) struct Automaton {
    table: Table,
    pub(crate) place: Place,
    groups: Arc<Deferred>,
}

/// What tells where the group `secret` lies.
pub(crate) struct Groups {
    pub(crate) nfa: thompson::NFA,
    /// Where the expression does not fix the place of the value.
    pub(crate) group: Option<GroupFinder>,
    /// Index of the group `secret`.
    pub(crate) secret: Option<u32>,
    /// By NFA state: a match can come from it that does not enter the group `secret`.
    pub(crate) skips: Vec<bool>,
}

/// Made of the expression's text when first asked for.
struct Deferred {
    /// No other automaton of this process has it.
    number: u32,
    text: String,
    /// Of the rule.
    has_keywords: bool,
    made: OnceLock<Option<Groups>>,
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
    /// The table ends: its NFA tells.
    Beyond,
}

impl Deferred {
    fn new(text: &str, has_keywords: bool) -> Arc<Deferred> {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        Arc::new(Deferred { number, text: text.to_owned(), has_keywords, made: OnceLock::new() })
    }
}

impl Automaton {
    /// With what tells where the value begins, but not where it ends.
    pub(crate) fn build(expression: &Expression) -> Result<Automaton, String> {
        let nfa = build_nfa(expression)?;
        let table = Table::build(&nfa, nfa.start_anchored(), RULE).map_err(|e| too_large(&e))?;
        let groups = Deferred::new("", false);
        groups.made.get_or_init(|| Some(Groups::new(nfa, expression)));
        Ok(Automaton { table, place: expression.place, groups })
    }

    /// As rules keep it: without its NFA, which is made anew of the expression's text when it is asked for, and with no
    /// more of a head than pays. The text is of a rule that may have keywords.
    pub(crate) fn kept(self, text: &str, has_keywords: bool) -> Automaton {
        let nfa = self.groups().map(|groups| &groups.nfa).filter(|_| !self.is_whole());
        let head = nfa.and_then(|nfa| Table::build(nfa, nfa.start_anchored(), HEAD).ok());
        let table = head.unwrap_or(self.table);
        Automaton { table, place: self.place, groups: Deferred::new(text, has_keywords) }
    }

    /// What tells where the value lies; `None` when it can't be made: the value is the match as a whole.
    pub(crate) fn groups(&self) -> Option<&Groups> {
        let Deferred { text, has_keywords, .. } = &*self.groups;
        let make = || Groups::of(&Expression::of_rule(text, *has_keywords).ok()?).ok();
        self.groups.made.get_or_init(make).as_ref()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.table.write(out);
        self.place.write(out);
    }

    /// `text` is the expression's; it is of a rule that may have keywords.
    pub(crate) fn read(from: &mut Reader<'_>, text: &str, has_keywords: bool) -> Result<Automaton, Damage> {
        let table = Table::read(from)?;
        let place = Place::read(from)?;
        Ok(Automaton { table, place, groups: Deferred::new(text, has_keywords) })
    }

    /// A number that no other automaton has.
    pub(crate) fn number(&self) -> u32 {
        self.groups.number
    }

    /// False where the table is only a head.
    pub(crate) fn is_whole(&self) -> bool {
        self.table.is_whole()
    }

    /// An automaton of the parts one after another, for what can be told of their first bytes.
    pub(crate) fn of_parts(parts: &[Hir]) -> Result<Automaton, String> {
        let hir = Hir::concat(parts.to_vec());
        let expression = Expression { hir, place: Place::WHOLE, secret: None, len_min: 1, len_max: None };
        Automaton::build(&expression)
    }

    pub(crate) fn start(&self, before: Before) -> State {
        self.table.start(before as usize)
    }

    #[inline]
    pub(crate) fn step(&self, state: &mut State, byte: u8) -> Step {
        self.table.step(state, byte)
    }

    /// True when the text ending here completes a match.
    pub(crate) fn matches_at_end(&self, state: State) -> bool {
        self.table.matches_at_end(state)
    }

    /// True when some continuation (the end included) gives a match that has not been told yet.
    #[inline]
    pub(crate) fn is_live(&self, state: State) -> bool {
        self.table.is_live(state)
    }

    /// The classes of bytes that the table tells apart, each with a byte of it.
    pub(crate) fn classes(&self) -> Vec<(u8, ByteSet)> {
        self.table.classes()
    }

    /// True when a match may start with `byte` after `before`.
    pub(crate) fn may_start(&self, before: Before, byte: u8) -> bool {
        let mut state = self.start(before);
        self.step(&mut state, byte) != Step::Dead && self.is_live(state)
    }

    /// Bytes of memory the automata take.
    pub(crate) fn memory_bytes(&self) -> usize {
        let groups = self.groups.made.get().and_then(Option::as_ref);
        self.table.memory_bytes() + groups.map_or(0, Groups::memory_bytes)
    }
}

impl Groups {
    fn of(expression: &Expression) -> Result<Groups, String> {
        let groups = Groups::new(build_nfa(expression)?, expression);
        let group = match expression.secret {
            Some(_) if !expression.place.is_fixed() => {
                Some(GroupFinder::build(&groups.nfa).map_err(|e| too_large(&e))?)
            }
            _ => None,
        };
        Ok(Groups { group, ..groups })
    }

    fn new(nfa: thompson::NFA, expression: &Expression) -> Groups {
        let skips = skipping_states(&nfa, expression.secret);
        Groups { nfa, group: None, secret: expression.secret, skips }
    }

    fn memory_bytes(&self) -> usize {
        let group = self.group.as_ref().map_or(0, GroupFinder::memory_bytes);
        self.nfa.memory_usage() + self.skips.len() + group
    }
}

/// An unanchored matcher: finds the close of an enclosed value.
#[derive(Clone)]
pub(crate) struct Searcher {
    table: Table,
}

impl fmt::Debug for Searcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Searcher").finish_non_exhaustive()
    }
}

impl Searcher {
    pub(crate) fn build(expression: &Expression) -> Result<Searcher, String> {
        let nfa = build_nfa(expression)?;
        let table = Table::build(&nfa, nfa.start_unanchored(), SEARCHED).map_err(|e| too_large(&e))?;
        Ok(Searcher { table })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.table.write(out);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Searcher, Damage> {
        let table = Table::read(from)?;
        if table.is_whole() { Ok(Searcher { table }) } else { Err(Damage("the size of a table")) }
    }

    pub(crate) fn start(&self, before: Before) -> State {
        self.table.start(before as usize)
    }

    /// True when some continuation (the end included) gives a match that has not been told yet.
    pub(crate) fn is_live(&self, state: State) -> bool {
        self.table.is_live(state)
    }

    #[inline]
    pub(crate) fn step(&self, state: &mut State, byte: u8) -> Step {
        self.table.step(state, byte)
    }

    pub(crate) fn matches_at_end(&self, state: State) -> bool {
        self.table.matches_at_end(state)
    }

    /// True when the expression matches somewhere in `haystack`.
    pub(crate) fn is_found_in(&self, haystack: &[u8]) -> bool {
        let mut state = self.start(Before::Nothing);
        for &byte in haystack {
            match self.step(&mut state, byte) {
                Step::Matched => return true,
                Step::Dead | Step::Beyond => return false,
                Step::On => {}
            }
        }
        self.matches_at_end(state)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.table.memory_bytes()
    }
}

fn build_nfa(expression: &Expression) -> Result<thompson::NFA, String> {
    let config = thompson::Config::new()
        .utf8(false)
        .which_captures(WhichCaptures::All)
        .nfa_size_limit(Some(NFA_BYTES_MAX));
    let nfa = thompson::Compiler::new().configure(config).build_from_hir(&expression.hir);
    let nfa = nfa.map_err(|e| too_large(&e))?;
    match nfa.states().len() {
        0..=NFA_STATES_MAX => Ok(nfa),
        more => Err(too_large(&format!("{more} states of an NFA"))),
    }
}

fn too_large(error: &dyn fmt::Display) -> String {
    format!(
        "its automaton can't be built ({error}): make repetitions shorter or classes simpler; the limit is {} MiB",
        TABLE_BYTES_MAX >> 20
    )
}

/// NFA states from which a match can come without entering group `secret`.
fn skipping_states(nfa: &thompson::NFA, secret: Option<u32>) -> Vec<bool> {
    let mut skips = vec![false; nfa.states().len()];
    loop {
        let mut changed = false;
        for (index, state) in nfa.states().iter().enumerate() {
            let reached = |id: StateID| skips[id.as_usize()];
            let skip = match state {
                thompson::State::Match { .. } => true,
                thompson::State::Capture { group_index, slot, .. }
                    if Some(group_index.as_u32()) == secret && slot.as_usize() % 2 == 0 =>
                {
                    false
                }
                thompson::State::Capture { next, .. } | thompson::State::Look { next, .. } => reached(*next),
                thompson::State::ByteRange { trans } => reached(trans.next),
                thompson::State::Sparse(sparse) => sparse.transitions.iter().any(|t| reached(t.next)),
                thompson::State::Dense(dense) => dense.transitions.iter().any(|to| reached(*to)),
                thompson::State::Union { alternates } => alternates.iter().any(|to| reached(*to)),
                thompson::State::BinaryUnion { alt1, alt2 } => reached(*alt1) || reached(*alt2),
                thompson::State::Fail => false,
            };
            changed |= skip && !std::mem::replace(&mut skips[index], skip);
        }
        if !changed {
            return skips;
        }
    }
}
