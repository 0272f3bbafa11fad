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
                guard: std::array::from_fn(|n| bits(&|r| r.run.guard_max > n)),
            }
        });
        let groups = groups.collect();
        Runs { all, groups }
    }

    pub(crate) fn get(&self, run: u32) -> Option<&RuleRun> {
        self.all.get(run as usize)
    }

    /// Adds to `found` the starts of matches whose run, and nothing else, has come by the end of `bytes`: how far each
    /// lies from the end, and which run. `before` stands before `bytes`.
    pub(crate) fn starts(&self, before: Option<u8>, bytes: &[u8], found: &mut Vec<(u32, u32)>) {
        for (first, group) in (0u32..).step_by(64).zip(&self.groups) {
            // Runs that reach from a place to the end: from this place, and from those after it.
            let mut reach = u64::MAX;
            let mut later = [0; GUARD_MAX];
            for (distance, (at, byte)) in (1u32..).zip(bytes.iter().enumerate().rev()) {
                later.rotate_right(1);
                later[0] = reach;
                reach &= group.class[usize::from(*byte)];
                let guarded = later.iter().zip(&group.guard).fold(0, |all, (later, may)| all | later & may);
                let possible = reach | guarded;
                if possible == 0 {
                    break;
                }
                let behind = match at.checked_sub(1) {
                    Some(at) => bytes.get(at).copied(),
                    None => before,
                };
                let starts = possible & group.first[Before::of(behind) as usize][usize::from(*byte)];
                found.extend(bits(starts).map(|bit| (distance, first + bit as u32)));
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.all.len() * size_of::<RuleRun>() + self.groups.len() * size_of::<Group>()
    }
}
