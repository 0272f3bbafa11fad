//! Transition tables.
//!
//! An NFA's [threads](super::threads) made states of: 16 bits a transition, bytes that are never told apart in one column,
//! and the states in an order that says what they are.
//!
//! ```text
//!   0 … ended          no match can come any more
//!   ended … live       nor here, but a match ended before the byte just taken
//!   live … matched     a match may come
//!   matched … beyond   the same, and one ended before the byte just taken
//!   beyond …           the table ends: what is there, only the NFA tells
//! ```
//! A table is made from its start on, each state after all that are nearer. Counted repetitions behind one another can
//! make any number of states; where there are more than a table may have, what is nearest is kept, the *head*. Most
//! candidates fail within it.
//!
//! # Rejected
//! The dense DFAs of `regex-automata`: they know no head, so that a second is spent to find that they are too large, and
//! take four times the memory while they are made.

use regex_automata::nfa::thompson::NFA;
use regex_automata::util::primitives::StateID;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use super::automaton::{Before, Step};
use super::symbol::ByteSet;
use super::threads::{Steps, Threads};
use crate::built::wire::{Damage, Reader, Writer};

/// Log2 of the most columns.
const COLUMNS_SHIFT_MAX: u32 = 8;
/// The most bytes of transitions.
pub(super) const TABLE_BYTES_MAX: usize = 4 << 20;
/// The most states.
const STATES_MAX: usize = u16::MAX as usize;

/// The fewest states of a head: the dead end and the starts.
const HEAD_STATES_MIN: usize = 1 + Before::ALL.len();

/// How much of an automaton becomes a table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    /// NFA states visited while it is made, and threads' states kept: what its making costs.
    pub(super) visits_max: u64,
    /// The same while it grows: where each four states that were walked on from have brought more than one that was not.
    pub(super) growing_max: u64,
    /// States that are walked on from.
    pub(super) walked_max: usize,
    /// Where it takes more, there is a head of it; else no table.
    pub(super) heads: bool,
}

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct State(u16);

/// A deterministic automaton; a clone shares what is large.
#[derive(Clone)]
pub(crate) struct Table {
    class: Arc<[u8; 256]>,
    /// Log2 of the columns.
    shift: u32,
    next: Arc<[u16]>,
    ended: u16,
    live: u16,
    matched: u16,
    beyond: u16,
    states: u16,
    /// A bit a state: the end of the text completes a match.
    at_end: Arc<[u64]>,
    starts: [State; 5],
}

/// A state before it has a number.
struct Node {
    key: Rc<Key>,
    at_end: bool,
    live: bool,
}

/// What tells states apart.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    threads: Threads,
    /// A match ended before the byte just taken.
    is_match: bool,
}

/// States found so far, and the transitions of those that have been walked on from.
struct Nodes {
    all: Vec<Node>,
    known: HashMap<Rc<Key>, u32>,
    /// By state and column.
    next: Vec<u32>,
    columns: usize,
    /// For what the end of the text does: the walk's own steps are in the midst of one.
    ends: Steps,
}

impl Table {
    /// Of what can be reached from the NFA's `start`.
    ///
    /// # Errors
    /// It would be larger than the extent allows, and there is no head.
    pub(super) fn build(nfa: &NFA, start: StateID, extent: Extent) -> Result<Table, String> {
        let (class, examples) = columns(nfa);
        let states_max = STATES_MAX.min(TABLE_BYTES_MAX / 2 / examples.len().next_power_of_two());
        let (mut nodes, starts, whole) = Nodes::walk(nfa, start, &examples, states_max, extent);
        match (whole, extent.heads) {
            (true, _) => nodes.mark_live(),
            (false, true) => nodes.keep_head(states_max / 2),
            (false, false) => return Err(format!("it has more than {} states", nodes.walked())),
        }
        Ok(nodes.numbered(&class, starts))
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.raw(&*self.class);
        out.u8(self.shift as u8);
        [self.states, self.ended, self.live, self.matched, self.beyond].into_iter().for_each(|n| out.u16(n));
        out.words16(&self.next);
        out.words64(&self.at_end);
        self.starts.iter().for_each(|start| out.u16(start.0));
    }

    /// # Errors
    /// A state or a column that is not there, or a match of no bytes, of which there would be no end.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Table, Damage> {
        let class: [u8; 256] = *from.array()?;
        let shift = u32::from(from.u8()?);
        let (states, ended, live) = (from.u16()?, from.u16()?, from.u16()?);
        let (matched, beyond) = (from.u16()?, from.u16()?);
        let sorted = ended <= live && live <= matched && matched <= beyond && beyond <= states;
        if shift > COLUMNS_SHIFT_MAX || !sorted || beyond == 0 {
            return Err(Damage("the size of a table"));
        }
        let next = from.words16(usize::from(beyond) << shift)?;
        let at_end = from.words64(usize::from(states).div_ceil(64))?;
        let mut starts = [State(0); 5];
        for start in &mut starts {
            *start = State(from.u16()?);
        }
        let columns = class.iter().all(|column| u32::from(*column) >> shift == 0);
        // The largest is found faster than the first that is too large.
        let last = next.iter().copied().max().unwrap_or(0);
        if !columns || last >= states || !starts.iter().all(|start| start.0 < beyond) {
            return Err(Damage("a state of a table"));
        }
        let table =
            Table { class: class.into(), shift, next, ended, live, matched, beyond, states, at_end, starts };
        if starts.into_iter().any(|start| table.matches_nothing(start)) {
            return Err(Damage("a match of no bytes"));
        }
        Ok(table)
    }

    /// False for a head.
    pub(crate) fn is_whole(&self) -> bool {
        self.beyond == self.states
    }

    /// True when a match of no bytes may end at the state.
    fn matches_nothing(&self, start: State) -> bool {
        let row = usize::from(start.0) << self.shift;
        let matched =
            |next: &u16| (self.matched..self.beyond).contains(next) || (self.ended..self.live).contains(next);
        self.matches_at_end(start) || self.next.iter().skip(row).take(1 << self.shift).any(matched)
    }

    /// The state at the start of a match, by what stands before.
    pub(crate) fn start(&self, before: usize) -> State {
        self.starts[before]
    }

    #[inline]
    pub(crate) fn step(&self, state: &mut State, byte: u8) -> Step {
        let column = usize::from(self.class[usize::from(byte)]);
        let next = self.next[usize::from(state.0) << self.shift | column];
        *state = State(next);
        if next.wrapping_sub(self.live) < self.matched - self.live {
            Step::On
        } else if next < self.ended {
            Step::Dead
        } else if next < self.beyond {
            Step::Matched
        } else {
            Step::Beyond
        }
    }

    /// True when some continuation (the end included) gives a match that has not been told yet.
    #[inline]
    pub(crate) fn is_live(&self, state: State) -> bool {
        state.0 >= self.live
    }

    /// True when the text ending here completes a match.
    pub(crate) fn matches_at_end(&self, state: State) -> bool {
        let word = self.at_end.get(usize::from(state.0) / 64).copied().unwrap_or_default();
        word >> (state.0 % 64) & 1 == 1
    }

    /// The classes of bytes that it tells apart, each with a byte of it.
    pub(crate) fn classes(&self) -> Vec<(u8, ByteSet)> {
        let count = self.class.iter().max().map_or(0, |last| usize::from(*last) + 1);
        let mut classes = vec![(0, ByteSet::EMPTY); count];
        for byte in 0..=255u8 {
            let (example, set) = &mut classes[usize::from(self.class[usize::from(byte)])];
            *example = byte;
            set.add(byte);
        }
        classes
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.next.len() * 2 + self.at_end.len() * 8 + 256
    }
}

/// By byte: its column; and a byte of each.
fn columns(nfa: &NFA) -> ([u8; 256], Vec<u8>) {
    let classes = nfa.byte_classes();
    let class = std::array::from_fn(|byte| classes.get(byte as u8));
    (class, classes.representatives(0..=255).filter_map(|unit| unit.as_u8()).collect())
}

impl Nodes {
    /// Walks on from all states until there is none that has not been, or it takes too much; tells where it starts, and
    /// whether these are all.
    fn walk(
        nfa: &NFA,
        start: StateID,
        examples: &[u8],
        states_max: usize,
        extent: Extent,
    ) -> (Nodes, [u32; 5], bool) {
        let mut nodes = Nodes {
            all: Vec::new(),
            known: HashMap::new(),
            next: Vec::new(),
            columns: examples.len(),
            ends: Steps::default(),
        };
        let (mut steps, mut threads) = (Steps::default(), Threads::default());
        // All dead ends are the first.
        nodes.add(nfa, Threads::default(), false);
        let starts = Before::ALL.map(|before| {
            steps.start(nfa, start, before, &mut threads);
            nodes.add(nfa, threads.clone(), false)
        });
        let mut kept = 0;
        // By whether a match ended, and the byte: what was taken, and the state it led to.
        let mut arrivals: Vec<((bool, Before), Vec<StateID>, u32)> = Vec::new();
        while let Some(node) = nodes.all.get(nodes.walked()) {
            let key = Rc::clone(&node.key);
            kept += key.threads.len() as u64;
            arrivals.clear();
            let has_looks = key.threads.has_looks();
            let mut is_match = steps.decide(nfa, &key.threads, examples.first().copied());
            for byte in examples {
                if has_looks {
                    is_match = steps.decide(nfa, &key.threads, Some(*byte));
                }
                // Most bytes do what another one has done.
                let taken = steps.take(nfa, *byte);
                let kind = (is_match, Before::of(Some(*byte)));
                let same = arrivals.iter().find(|(k, other, _)| *k == kind && other == taken);
                let to = match same.map(|(.., to)| *to) {
                    Some(to) => to,
                    None => {
                        let taken = taken.to_vec();
                        steps.arrive(nfa, *byte, &mut threads);
                        let to = nodes.number(nfa, &threads, is_match);
                        arrivals.push((kind, taken, to));
                        to
                    }
                };
                nodes.next.push(to);
            }
            let visits = steps.visits + nodes.ends.visits + kept;
            let is_growing = 4 * (nodes.all.len() - nodes.walked()) > nodes.walked();
            let visits_max = if is_growing { extent.growing_max } else { extent.visits_max };
            let is_too_much = nodes.all.len() > states_max
                || visits > visits_max
                || nodes.walked() >= extent.walked_max && nodes.walked() < nodes.all.len();
            if is_too_much && nodes.walked() >= HEAD_STATES_MIN {
                return (nodes, starts, false);
            }
        }
        (nodes, starts, true)
    }

    /// States that have been walked on from.
    fn walked(&self) -> usize {
        self.next.len() / self.columns
    }

    fn number(&mut self, nfa: &NFA, threads: &Threads, is_match: bool) -> u32 {
        if threads.is_dead() && !is_match {
            return 0;
        }
        let key = Key { threads: threads.clone(), is_match };
        match self.known.get(&key) {
            Some(known) => *known,
            None => self.add(nfa, key.threads, is_match),
        }
    }

    fn add(&mut self, nfa: &NFA, threads: Threads, is_match: bool) -> u32 {
        let at_end = self.ends.step(nfa, &threads, None, &mut Threads::default());
        let key = Rc::new(Key { threads, is_match });
        let number = self.all.len() as u32;
        self.all.push(Node { key: Rc::clone(&key), at_end, live: false });
        *self.known.entry(key).or_insert(number)
    }

    /// Leaves the first states walked on from, and those that they lead to.
    fn keep_head(&mut self, walked_max: usize) {
        let walked = self.walked().min(walked_max.max(HEAD_STATES_MIN));
        self.next.truncate(walked * self.columns);
        let states = self.next.iter().max().map_or(0, |last| *last as usize + 1).max(walked);
        self.all.truncate(states);
        // What lies beyond is not known. Within the head, too, a state is as live as it would be told to be beyond.
        self.all.iter_mut().for_each(|node| node.live = !node.key.threads.is_dead());
        self.all.iter_mut().skip(walked).for_each(|node| (node.at_end, node.live) = (true, true));
    }

    /// Marks the states from which an untold match can come.
    fn mark_live(&mut self) {
        let mut changed = true;
        while changed {
            changed = false;
            // States lead on to later ones, mostly.
            for at in (0..self.all.len()).rev() {
                let row = self.next.get(at * self.columns..(at + 1) * self.columns).unwrap_or_default();
                let leads = |to: &u32| self.all.get(*to as usize).is_some_and(|n| n.live || n.key.is_match);
                if !self.all[at].live && (self.all[at].at_end || row.iter().any(leads)) {
                    (self.all[at].live, changed) = (true, true);
                }
            }
        }
    }

    /// By column: its number among those that differ, for bytes of which no state asks which it is; and one of each.
    fn merge_columns(&self) -> (Vec<u8>, Vec<usize>) {
        let cells = |column: usize| self.next.iter().skip(column).step_by(self.columns);
        let mut known: HashMap<Vec<u32>, u8> = HashMap::new();
        let mut examples = Vec::new();
        let merged = (0..self.columns).map(|column| {
            *known.entry(cells(column).copied().collect()).or_insert_with(|| {
                examples.push(column);
                examples.len() as u8 - 1
            })
        });
        let merged = merged.collect();
        (merged, examples)
    }

    /// In the order of a table.
    fn numbered(self, class: &[u8; 256], starts: [u32; 5]) -> Table {
        let walked = self.walked();
        let (merged, examples) = self.merge_columns();
        let class: Arc<[u8; 256]> = Arc::new(class.map(|column| merged[usize::from(column)]));
        let shift = examples.len().next_power_of_two().trailing_zeros();
        let kind = |index: usize| match &self.all[index] {
            _ if index >= walked => 4,
            node => 2 * usize::from(node.live) + usize::from(node.key.is_match),
        };
        let mut order: Vec<usize> = (0..self.all.len()).collect();
        order.sort_by_key(|index| kind(*index));
        let first = |k: usize| order.partition_point(|index| kind(*index) < k) as u16;
        let mut number = vec![0u16; order.len()];
        order.iter().enumerate().for_each(|(new, old)| number[*old] = new as u16);
        let mut next = vec![0u16; walked << shift];
        for (old, row) in self.next.chunks_exact(self.columns).enumerate() {
            let cells = next[usize::from(number[old]) << shift..].iter_mut();
            cells.zip(&examples).for_each(|(cell, column)| *cell = number[row[*column] as usize]);
        }
        let mut at_end = vec![0u64; order.len().div_ceil(64)];
        for (new, old) in order.iter().enumerate() {
            at_end[new / 64] |= u64::from(self.all[*old].at_end) << (new % 64);
        }
        Table {
            class,
            shift,
            next: next.into(),
            ended: first(1),
            live: first(2),
            matched: first(3),
            beyond: first(4),
            states: order.len() as u16,
            at_end: at_end.into(),
            starts: starts.map(|start| State(number[start as usize])),
        }
    }
}
