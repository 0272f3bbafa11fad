//! Runs of bytes before inner windows: where a match may begin that has not come to its window yet.

use super::automaton::Before;
use super::symbol::{ByteSet, bits};
use super::window::{GUARD_MAX, Run};

/// A rule's run before an inner window.
#[derive(Debug)]
pub(crate) struct RuleRun {
    pub(crate) rule: u32,
    pub(crate) run: Run,
    /// By look-behind: bytes that a match may start with.
    pub(super) first: Vec<ByteSet>,
}

impl RuleRun {
    /// True when a match may begin with `byte` after `before`.
    #[inline]
    pub(crate) fn may_start(&self, before: Option<u8>, byte: u8) -> bool {
        self.first.get(Before::of(before) as usize).is_some_and(|f| f.has(byte))
    }
}

/// All runs; what is asked of each is told of 64 at once.
pub(crate) struct Runs {
    all: Vec<RuleRun>,
    groups: Vec<Group>,
}

/// Runs that reach from a place to the end of what is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reaching {
    /// From the place to the end, in bytes.
    pub(crate) distance: u32,
    group: u32,
    runs: u64,
}

/// A bit for each of 64 runs.
struct Group {
    /// By byte: the runs that have it, of those before whose window the value may begin.
    class: [u64; 256],
    /// By look-behind and byte: the runs before which a match may begin with it.
    first: [[u64; 256]; Before::ALL.len()],
    /// The runs that may have more than so many bytes of guard.
    guard: [u64; GUARD_MAX],
}

impl Runs {
    pub(super) fn new(all: Vec<RuleRun>) -> Runs {
        let groups = all.chunks(64).map(|runs| {
            let bits = |is: &dyn Fn(&RuleRun) -> bool| {
                (0u32..).zip(runs).fold(0, |bits, (n, run)| bits | u64::from(is(run)) << n)
            };
            Group {
                class: std::array::from_fn(|byte| {
                    bits(&|r| r.run.value_min == 0 && r.run.class.has(byte as u8))
                }),
                first: Before::ALL.map(|before| {
                    let first = |r: &RuleRun| r.first.get(before as usize).copied().unwrap_or(ByteSet::ALL);
                    std::array::from_fn(|byte| bits(&|r| first(r).has(byte as u8)))
                }),
                guard: std::array::from_fn(|n| bits(&|r| r.run.value_min == 0 && r.run.guard_max > n)),
            }
        });
        let groups = groups.collect();
        Runs { all, groups }
    }

    pub(crate) fn get(&self, run: u32) -> Option<&RuleRun> {
        self.all.get(run as usize)
    }

    /// Adds to `found` the places from which runs, and nothing else, reach the end of `bytes`, the nearest first.
    pub(crate) fn reaching(&self, bytes: &[u8], found: &mut Vec<Reaching>) {
        for (number, group) in self.groups.iter().enumerate() {
            // Runs that reach from a place to the end: from this place, and from those after it.
            let mut reach = u64::MAX;
            let mut later = [0; GUARD_MAX];
            for (distance, byte) in (1..).zip(bytes.iter().rev()) {
                later = [reach, later[0], later[1], later[2]];
                reach &= group.class[usize::from(*byte)];
                let guarded = (0..GUARD_MAX).fold(0, |all, n| all | later[n] & group.guard[n]);
                let runs = reach | guarded;
                if runs == 0 {
                    break;
                }
                found.push(Reaching { distance, group: number as u32, runs });
            }
        }
    }

    /// Those of the place before which a match may begin with `byte`.
    pub(crate) fn beginning(
        &self,
        place: Reaching,
        before: Option<u8>,
        byte: u8,
    ) -> impl Iterator<Item = &RuleRun> {
        let group = self.groups.get(place.group as usize);
        let runs = group.map_or(0, |g| place.runs & g.first[Before::of(before) as usize][usize::from(byte)]);
        bits(runs).filter_map(move |bit| self.all.get(place.group as usize * 64 + bit))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.all.len() * size_of::<RuleRun>() + self.groups.len() * size_of::<Group>()
    }
}
