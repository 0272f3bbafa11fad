//! Transition tables.
//!
//! A dense DFA of `regex-automata`, written down again: 16 bits a transition, bytes that are never told apart in one
//! column, and the states in an order that says what they are.
//!
//! ```text
//!   0 … ended          no match can come any more
//!   ended … live       nor here, but a match ended before the byte just taken
//!   live … matched     a match may come
//!   matched …          the same, and one ended before the byte just taken
//! ```

use regex_automata::dfa::Automaton as _;
use regex_automata::dfa::dense;
use regex_automata::util::primitives::StateID;
use std::collections::HashMap;
use std::sync::Arc;

use super::automaton::Step;
use super::symbol::ByteSet;
use crate::built::wire::{Damage, Reader, Writer};

/// Log2 of the most columns.
const COLUMNS_SHIFT_MAX: u32 = 8;

/// A state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct State(u16);

/// Where a table's states come from.
type Dense = dense::DFA<Vec<u32>>;

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
    /// A bit a state: the end of the text completes a match.
    at_end: Arc<[u64]>,
    starts: [State; 5],
}

/// What is known of a DFA's state before it has a number.
#[derive(Clone, Default)]
struct Node {
    next: Vec<u32>,
    is_match: bool,
    at_end: bool,
    live: bool,
}

impl Table {
    /// Writes down what can be reached from `starts`.
    ///
    /// # Errors
    /// There are too many states for 16 bits.
    pub(crate) fn build(dfa: &Dense, starts: [StateID; 5]) -> Result<Table, String> {
        let (class, columns) = columns(dfa);
        let (mut nodes, starts) = walk(dfa, starts, &columns);
        mark_live(&mut nodes);
        let kind = |n: &Node| match (n.live, n.is_match) {
            (false, false) => 0,
            (false, true) => 1,
            (true, false) => 2,
            (true, true) => 3,
        };
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_by_key(|i| kind(&nodes[*i]));
        let first = |k: usize| nodes.iter().filter(|n| kind(n) < k).count() as u16;
        if nodes.len() > usize::from(u16::MAX) {
            return Err(format!("{} states", nodes.len()));
        }
        let mut number = vec![0u16; nodes.len()];
        order.iter().enumerate().for_each(|(new, old)| number[*old] = new as u16);
        let shift = columns.len().next_power_of_two().trailing_zeros();
        let mut next = vec![0u16; nodes.len() << shift];
        let mut at_end = vec![0u64; nodes.len().div_ceil(64)];
        for (old, node) in nodes.iter().enumerate() {
            let state = usize::from(number[old]);
            at_end[state / 64] |= u64::from(node.at_end) << (state % 64);
            for (cell, to) in next[state << shift..].iter_mut().zip(&node.next) {
                *cell = number[*to as usize];
            }
        }
        let starts = starts.map(|s| State(number[s as usize]));
        Ok(Table {
            class: class.into(),
            shift,
            next: next.into(),
            ended: first(1),
            live: first(2),
            matched: first(3),
            at_end: at_end.into(),
            starts,
        })
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.raw(&*self.class);
        out.u8(self.shift as u8);
        out.count(self.at_end.len());
        out.count(self.states());
        out.words16(&self.next);
        out.words64(&self.at_end);
        [self.ended, self.live, self.matched].into_iter().for_each(|first| out.u16(first));
        self.starts.iter().for_each(|start| out.u16(start.0));
    }

    /// # Errors
    /// A state or a column that is not there, or a match of no bytes, of which there would be no end.
    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Table, Damage> {
        let class: [u8; 256] = *from.array()?;
        let shift = u32::from(from.u8()?);
        let (words, states) = (from.count(8)?, from.count(2)?);
        if shift > COLUMNS_SHIFT_MAX
            || states == 0
            || states > usize::from(u16::MAX)
            || words != states.div_ceil(64)
        {
            return Err(Damage("the size of a table"));
        }
        let next = from.words16(states << shift)?;
        let at_end = from.words64(words)?;
        let (ended, live, matched) = (from.u16()?, from.u16()?, from.u16()?);
        let mut starts = [State(0); 5];
        for start in &mut starts {
            *start = State(from.u16()?);
        }
        let known = |state: u16| usize::from(state) < states;
        let columns = class.iter().all(|column| u32::from(*column) >> shift == 0);
        let sorted = ended <= live && live <= matched && usize::from(matched) <= states;
        // The largest is found faster than the first that is too large.
        let last = next.iter().copied().max().unwrap_or(0);
        if !columns || !sorted || !known(last) || !starts.iter().all(|start| known(start.0)) {
            return Err(Damage("a state of a table"));
        }
        let table = Table { class: class.into(), shift, next, ended, live, matched, at_end, starts };
        if starts.into_iter().any(|start| table.matches_nothing(start)) {
            return Err(Damage("a match of no bytes"));
        }
        Ok(table)
    }

    fn states(&self) -> usize {
        self.next.len() >> self.shift
    }

    /// True when a match of no bytes may end at the state.
    fn matches_nothing(&self, start: State) -> bool {
        let row = usize::from(start.0) << self.shift;
        let matched = |next: &u16| *next >= self.matched || (self.ended..self.live).contains(next);
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
        } else {
            Step::Matched
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
fn columns(dfa: &Dense) -> (Box<[u8; 256]>, Vec<u8>) {
    let classes = dfa.byte_classes();
    let mut class = Box::new([0u8; 256]);
    let mut known: HashMap<u8, u8> = HashMap::new();
    let mut examples = Vec::new();
    for byte in 0..=255u8 {
        let column = *known.entry(classes.get(byte)).or_insert_with(|| {
            examples.push(byte);
            (examples.len() - 1) as u8
        });
        class[usize::from(byte)] = column;
    }
    (class, examples)
}

fn walk(dfa: &Dense, starts: [StateID; 5], columns: &[u8]) -> (Vec<Node>, [u32; 5]) {
    // All dead ends are the first node.
    let mut nodes = vec![Node { next: vec![0; columns.len()], ..Node::default() }];
    let mut ids: Vec<Option<StateID>> = vec![None];
    let mut known: HashMap<StateID, u32> = HashMap::new();
    let mut add = |id: StateID, nodes: &mut Vec<Node>, ids: &mut Vec<Option<StateID>>| -> u32 {
        if dfa.is_dead_state(id) || dfa.is_quit_state(id) {
            return 0;
        }
        *known.entry(id).or_insert_with(|| {
            nodes.push(Node::default());
            ids.push(Some(id));
            (nodes.len() - 1) as u32
        })
    };
    let starts = starts.map(|id| add(id, &mut nodes, &mut ids));
    let mut at = 1;
    while let Some(id) = ids.get(at).copied().flatten() {
        let next: Vec<u32> =
            columns.iter().map(|byte| add(dfa.next_state(id, *byte), &mut nodes, &mut ids)).collect();
        nodes[at].next = next;
        nodes[at].is_match = dfa.is_match_state(id);
        nodes[at].at_end = dfa.is_match_state(dfa.next_eoi_state(id));
        at += 1;
    }
    (nodes, starts)
}

/// Marks the nodes from which an untold match can come.
fn mark_live(nodes: &mut [Node]) {
    let mut before: Vec<Vec<u32>> = vec![Vec::new(); nodes.len()];
    let mut work = Vec::new();
    for at in 0..nodes.len() {
        for to in &nodes[at].next {
            if before[*to as usize].last() != Some(&(at as u32)) {
                before[*to as usize].push(at as u32);
            }
        }
        let leads = nodes[at].next.iter().any(|to| nodes[*to as usize].is_match);
        if nodes[at].at_end || leads {
            nodes[at].live = true;
            work.push(at);
        }
    }
    while let Some(node) = work.pop() {
        for &from in &before[node] {
            if !std::mem::replace(&mut nodes[from as usize].live, true) {
                work.push(from as usize);
            }
        }
    }
}
