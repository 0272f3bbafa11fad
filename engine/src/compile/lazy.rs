//! Steps beyond the head of a table, kept as they are made.
//!
//! What a stream carries from chunk to chunk are [`Threads`]: they mean the same to every thread of the process. Within a
//! chunk they are numbered, and what a byte made of them is noted in rows as in a table. Rows are filled as they are
//! needed, and thrown away all at once when there are too many: then, and for each step that is new, a byte costs as much as
//! the expression has states ([`NFA_STATES_MAX`](super::threads::NFA_STATES_MAX) at most), else a look-up.
//!
//! # Rejected
//! `regex-automata`'s lazy DFA: what its states stand for can't be told, so nothing could be carried but the text itself,
//! walked again for every chunk. Rows that all threads share: a lock where data passes.

use regex_automata::nfa::thompson::NFA;

use super::automaton::{Before, Step};
use super::threads::{Steps, Threads};

/// The most states that are numbered at once, of all automata together.
const STATES_MAX: usize = 8 * 1024;
/// The most transitions that are noted.
const CELLS_MAX: usize = 256 * 1024;
/// The most numbers that tell which threads a state stands for.
const KEYS_MAX: usize = 512 * 1024;
/// A transition that is not known.
const UNKNOWN: u32 = u32::MAX;
/// Places for states by their hash.
const PLACES: usize = 2 * STATES_MAX;

/// A state that is numbered, until the next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbered(u32);

/// The memory of steps; a thread has one for all streams and automata. It takes at most 2.5 MiB.
#[derive(Debug, Default)]
pub(crate) struct Lazy {
    steps: Steps,
    states: Vec<Kept>,
    /// What the states stand for, one after another.
    keys: Vec<u16>,
    /// By state and class: the next state, and whether a match ended before the byte.
    cells: Vec<u32>,
    /// By hash: a state's number and one.
    places: Vec<u32>,
    from: Threads,
    next: Threads,
    /// Threads that nobody uses now.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Threads>>,
}

/// Threads kept for reuse.
const FREE_MAX: usize = 32;

/// A state: where its numbers and its row are.
#[derive(Clone, Copy, Debug)]
struct Kept {
    automaton: u32,
    key: u32,
    key_len: u32,
    row: u32,
}

impl Lazy {
    /// Some threads, in memory that was used before if there is some.
    pub(crate) fn threads(&mut self) -> Box<Threads> {
        self.free.pop().unwrap_or_default()
    }

    /// Keeps them for another candidate.
    pub(crate) fn give_back(&mut self, threads: Box<Threads>) {
        if self.free.len() < FREE_MAX {
            self.free.push(threads);
        }
    }

    /// What all has cost: NFA states visited.
    pub(crate) fn visits(&self) -> u64 {
        self.steps.visits
    }

    /// The state at the start of a match.
    pub(crate) fn start(&mut self, automaton: u32, nfa: &NFA, before: Before) -> Numbered {
        let mut threads = std::mem::take(&mut self.next);
        self.steps.start(nfa, nfa.start_anchored(), before, &mut threads);
        let state = self.number(automaton, nfa, &threads);
        self.next = threads;
        state
    }

    /// The state that a walk was in; `automaton` is a number that no other has.
    pub(crate) fn number(&mut self, automaton: u32, nfa: &NFA, threads: &Threads) -> Numbered {
        if self.places.is_empty() {
            self.places.resize(PLACES, 0);
        }
        let mut place = hash(automaton, threads.key()) % PLACES;
        while let Some(number) = self.places.get(place).and_then(|n| n.checked_sub(1)) {
            if self.is(number, automaton, threads) {
                return Numbered(number);
            }
            place = (place + 1) % PLACES;
        }
        let (columns, key_len) = (nfa.byte_classes().alphabet_len(), threads.len() + 1);
        if self.states.len() == STATES_MAX
            || self.cells.len() + columns > CELLS_MAX
            || self.keys.len() + key_len > KEYS_MAX
        {
            self.forget();
            place = hash(automaton, threads.key()) % PLACES;
        }
        let (key, row) = (self.keys.len() as u32, self.cells.len() as u32);
        self.states.push(Kept { automaton, key, key_len: key_len as u32, row });
        self.keys.extend(threads.key());
        self.cells.resize(self.cells.len() + columns, UNKNOWN);
        if let Some(place) = self.places.get_mut(place) {
            *place = self.states.len() as u32;
        }
        Numbered(self.states.len() as u32 - 1)
    }

    /// Throws all away that is noted.
    pub(crate) fn forget(&mut self) {
        self.states.clear();
        self.keys.clear();
        self.cells.clear();
        self.places.fill(0);
    }

    /// True when more may come of it than has been told.
    pub(crate) fn is_live(&self, state: Numbered) -> bool {
        self.states.get(state.0 as usize).is_some_and(|kept| kept.key_len > 1)
    }

    /// Sets `threads` to what the state stands for.
    pub(crate) fn tell(&self, state: Numbered, threads: &mut Threads) {
        threads.set_key(self.key(state.0));
    }

    /// Takes a byte.
    #[inline]
    pub(crate) fn step(&mut self, automaton: u32, nfa: &NFA, state: &mut Numbered, byte: u8) -> Step {
        let row = self.states.get(state.0 as usize).map_or(0, |s| s.row as usize);
        let cell = self.cells.get(row + usize::from(nfa.byte_classes().get(byte)));
        let cell = match cell.copied().unwrap_or(UNKNOWN) {
            UNKNOWN => self.make(automaton, nfa, *state, byte),
            cell => cell,
        };
        *state = Numbered(cell >> 2);
        match cell & 3 {
            0 => Step::On,
            1 => Step::Matched,
            _ => Step::Dead,
        }
    }

    /// True when the text ending there completes a match.
    pub(crate) fn matches_at_end(&mut self, nfa: &NFA, threads: &Threads) -> bool {
        self.steps.step(nfa, threads, None, &mut self.next)
    }

    /// Takes a byte, where nothing is noted of it.
    pub(crate) fn step_threads(&mut self, nfa: &NFA, threads: &mut Threads, byte: u8) -> Step {
        let matched = self.steps.step(nfa, threads, Some(byte), &mut self.next);
        std::mem::swap(threads, &mut self.next);
        told(matched, threads)
    }

    /// Makes a transition, and notes it.
    fn make(&mut self, automaton: u32, nfa: &NFA, state: Numbered, byte: u8) -> u32 {
        let (mut from, mut next) = (std::mem::take(&mut self.from), std::mem::take(&mut self.next));
        self.tell(state, &mut from);
        let class = nfa.byte_classes().get(byte);
        let matched = self.steps.step(nfa, &from, Some(byte), &mut next);
        let to = self.number(automaton, nfa, &next);
        let cell = to.0 << 2
            | match told(matched, &next) {
                Step::On | Step::Beyond => 0,
                Step::Matched => 1,
                Step::Dead => 2,
            };
        // They may have been thrown away: then the state is another one, or none.
        if self.is(state.0, automaton, &from)
            && let Some(row) = self.states.get(state.0 as usize).map(|s| s.row as usize)
            && let Some(noted) = self.cells.get_mut(row + usize::from(class))
        {
            *noted = cell;
        }
        (self.from, self.next) = (from, next);
        cell
    }

    fn is(&self, number: u32, automaton: u32, threads: &Threads) -> bool {
        let same = |kept: &Kept| kept.automaton == automaton && kept.key_len as usize == threads.len() + 1;
        self.states.get(number as usize).is_some_and(same)
            && threads.key().eq(self.key(number).iter().copied())
    }

    fn key(&self, number: u32) -> &[u16] {
        let range = self.states.get(number as usize).map(|s| s.key as usize..(s.key + s.key_len) as usize);
        range.and_then(|range| self.keys.get(range)).unwrap_or_default()
    }
}

/// What a step came to. Dead ends match nothing after the match that they tell.
fn told(matched: bool, next: &Threads) -> Step {
    match (matched, next.is_dead()) {
        (true, _) => Step::Matched,
        (false, true) => Step::Dead,
        (false, false) => Step::On,
    }
}

/// FNV-1a, folded so that all of it tells.
fn hash(automaton: u32, key: impl Iterator<Item = u16>) -> usize {
    let first = (0xcbf2_9ce4_8422_2325 ^ u64::from(automaton)).wrapping_mul(0x0100_0000_01b3);
    let hash = key.fold(first, |hash, n| (hash ^ u64::from(n)).wrapping_mul(0x0100_0000_01b3));
    (hash ^ hash >> 32) as usize
}
