//! What the last few bytes of a chunk may be the beginning of.
//!
//! Chunks end everywhere, in a stream of small deltas after every few bytes, and each time it must be told which values
//! may have begun there. [`Holds`] tells it from the bytes; what it has told becomes a state of an automaton that is
//! made as it goes (a *lazy DFA*), so that text of the usual kind costs a look-up a byte. Long chunks are not followed by
//! it, for it would see few of their bytes: of those it is kept what was told of their last bytes ([`Ends`]).

use std::ops::Range;

use super::mix;
use crate::compile::holds::{Cut, DEPTH, Holds};
use crate::ruleset::Ruleset;

/// When there are so many states, all are forgotten.
const STATES_MAX: usize = 1024;
/// No state yet.
const UNKNOWN: u16 = u16::MAX;
/// Places for states by their hash: so many that half are free.
const SLOTS: usize = 2 * STATES_MAX;

/// The states of one ruleset's [`Holds`].
#[derive(Default)]
pub(super) struct Tails {
    /// The prefilter's number.
    of: u64,
    /// By state: what `Holds` has of it.
    sets: Vec<u64>,
    /// By state and class of byte: the next state.
    next: Vec<u16>,
    /// By state: its windows.
    ranges: Vec<Range<u32>>,
    cuts: Vec<Cut>,
    /// By hash of what `Holds` has, or the next free one after it.
    slots: Vec<u16>,
    /// Room for a step.
    stepped: Vec<u64>,
}

impl Tails {
    /// The windows that are cut after these bytes and whose value may have begun, the farthest first. `before` stands
    /// before the bytes; earlier ones don't matter.
    pub(super) fn cut_windows(&mut self, ruleset: &Ruleset, before: u8, bytes: &[u8]) -> &[Cut] {
        let holds = &ruleset.prefilter.holds;
        if self.of != ruleset.prefilter.number || self.ranges.len() + bytes.len() + 2 > STATES_MAX {
            self.forget(ruleset.prefilter.number, holds);
        }
        let mut state = 0;
        for byte in std::iter::once(&before).chain(bytes) {
            let class = usize::from(holds.class[usize::from(*byte)]);
            let known = self.next[state * holds.classes + class];
            state = if known == UNKNOWN { self.make(holds, state, class) } else { usize::from(known) };
        }
        let range = self.ranges[state].clone();
        &self.cuts[range.start as usize..range.end as usize]
    }

    /// Leaves the first state alone: nothing has come.
    fn forget(&mut self, of: u64, holds: &Holds) {
        self.of = of;
        self.sets.clear();
        self.next.clear();
        self.ranges.clear();
        self.cuts.clear();
        self.slots.clear();
        self.slots.resize(SLOTS, UNKNOWN);
        self.stepped.clear();
        self.stepped.resize(holds.len(), 0);
        self.add(holds);
    }

    /// The state after another.
    fn make(&mut self, holds: &Holds, state: usize, class: usize) -> usize {
        self.stepped.clear();
        self.stepped.extend_from_slice(&self.sets[state * holds.len()..][..holds.len()]);
        holds.step(&mut self.stepped, class);
        let next = self.add(holds);
        self.next[state * holds.classes + class] = next as u16;
        next
    }

    /// The state of what was stepped to.
    fn add(&mut self, holds: &Holds) -> usize {
        let hash = self.stepped.iter().fold(0, |hash, word| mix(hash, *word));
        let mut slot = (hash >> 32) as usize % SLOTS;
        while self.slots[slot] != UNKNOWN {
            let state = usize::from(self.slots[slot]);
            if self.sets[state * holds.len()..][..holds.len()] == *self.stepped {
                return state;
            }
            slot = (slot + 1) % SLOTS;
        }
        let state = self.ranges.len();
        self.slots[slot] = state as u16;
        self.sets.extend_from_slice(&self.stepped);
        self.next.resize(self.next.len() + holds.classes, UNKNOWN);
        let first = self.cuts.len() as u32;
        holds.begun(&self.stepped, |cut| self.cuts.push(cut));
        self.ranges.push(first..self.cuts.len() as u32);
        state
    }
}

/// Ends of long chunks that are known at once: each has one place.
const ENDS: usize = 512;
/// The most windows of those; with more, all are forgotten.
const ENDS_CUTS_MAX: usize = 1 << 14;

/// What is cut after the last bytes of chunks, of one ruleset.
#[derive(Default)]
pub(super) struct Ends {
    /// The prefilter's number.
    of: u64,
    known: Vec<End>,
    cuts: Vec<Cut>,
    /// Room for windows.
    room: Vec<u64>,
}

#[derive(Clone, Default)]
struct End {
    /// The byte before and the others, and how many they are; all 0 where nothing is known.
    bytes: [u8; DEPTH + 1],
    cuts: Range<u32>,
}

impl Ends {
    /// As [`Tails::cut_windows`].
    pub(super) fn cut_windows(&mut self, ruleset: &Ruleset, before: u8, bytes: &[u8]) -> &[Cut] {
        if self.of != ruleset.prefilter.number || self.known.is_empty() || self.cuts.len() > ENDS_CUTS_MAX {
            self.of = ruleset.prefilter.number;
            self.cuts.clear();
            self.cuts.reserve(ENDS_CUTS_MAX);
            self.known.clear();
            self.known.resize(ENDS, End::default());
        }
        let mut key = [0; DEPTH + 1];
        let all = std::iter::once(&before).chain(bytes);
        key.iter_mut().zip(all).for_each(|(to, byte)| *to = *byte);
        key[DEPTH] = 1 + bytes.len() as u8;
        let end = &mut self.known[(mix(0, u64::from_le_bytes(key)) >> 32) as usize % ENDS];
        if end.bytes != key {
            let first = self.cuts.len() as u32;
            let holds = &ruleset.prefilter.holds;
            holds.begun_after(&key[..=bytes.len()], &mut self.room, |cut| self.cuts.push(cut));
            *end = End { bytes: key, cuts: first..self.cuts.len() as u32 };
        }
        &self.cuts[end.cuts.start as usize..end.cuts.end as usize]
    }
}
