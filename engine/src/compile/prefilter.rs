//! One pass that finds where candidates of any rule may start.
//!
//! ```text
//!   bytes ──► symbols ──► kernel ──► (place, buckets) ──► gate ──► (rule, start) ──► the rule's automaton
//!              6 bits     8 bytes        32 bits         16 bytes, exact
//! ```
//! A rule's windows ([`window`](super::window)) are put into 32 buckets such that the buckets' windows together stay
//! rare. Behind each bucket stands a *gate*: by position and byte, a bit for each of its windows; the conjunction
//! over up to sixteen bytes leaves those that are there in full. A stage may pass what a later one takes out, never
//! the other way round.
//!
//! At the end of what has come, symbols and gates that would need more bytes say yes: what remains there are the
//! candidates that a continuation could still make ([`Prefilter::gate`] with the bytes there are).

use std::fmt;

use super::automaton::Before;
use super::path::{PATH_LEN, Path};
use super::symbol::{ByteSet, Model, SymbolSet, WILD, bits};
use super::window::{Run, Trigger, WINDOW_LEN};
use crate::kernel::{InstructionSet, Tables};

/// Longest keyword, in bytes.
pub(crate) const KEYWORD_LEN_MAX: usize = 64;

const BUCKETS: usize = 32;

/// What a window means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) rule: u32,
    /// For an inner window: index into [`Prefilter::runs`].
    pub(crate) run: Option<u32>,
}

/// A rule's run before an inner window.
#[derive(Debug)]
pub(crate) struct RuleRun {
    pub(crate) rule: u32,
    pub(crate) run: Run,
    first: Vec<ByteSet>,
}

impl RuleRun {
    /// True when a match may begin with `byte` after `before`.
    #[inline]
    pub(crate) fn may_start(&self, before: Option<u8>, byte: u8) -> bool {
        self.first.get(Before::of(before) as usize).is_some_and(|f| f.has(byte))
    }
}

/// The windows of one bucket, told apart by all their bytes.
struct Gate {
    targets: Vec<Target>,
    /// Words of 64 windows.
    words: usize,
    /// By byte: its class within this bucket.
    class: Box<[u8; 256]>,
    classes: usize,
    /// By word, position and class: the windows that allow it.
    allowed: Vec<u64>,
}

/// The first stages of the scan, for all rules.
pub(crate) struct Prefilter {
    pub(crate) tables: Tables,
    gates: Vec<Gate>,
    pub(crate) runs: Vec<RuleRun>,
    /// The farthest that a start is before its window, in bytes.
    pub(crate) reach: usize,
}

impl fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows: usize = self.gates.iter().map(|g| g.targets.len()).sum();
        f.debug_struct("Prefilter").field("windows", &windows).finish_non_exhaustive()
    }
}

impl Prefilter {
    pub(crate) fn build(triggers: Vec<Trigger>, model: &Model, set: InstructionSet) -> Prefilter {
        let mut windows: Vec<(Path, Target)> = Vec::new();
        let mut runs = Vec::new();
        for (rule, trigger) in (0u32..).zip(triggers) {
            windows.extend(trigger.at_start.into_iter().map(|path| (path, Target { rule, run: None })));
            for (run, paths) in trigger.inside {
                let target = Target { rule, run: Some(runs.len() as u32) };
                runs.push(RuleRun { rule, run, first: trigger.first.clone() });
                windows.extend(paths.into_iter().map(|path| (path, target)));
            }
        }
        let buckets = into_buckets(windows, model);
        let mut exact = Box::new([[0u32; 64]; WINDOW_LEN]);
        for (bucket, windows) in buckets.iter().enumerate() {
            for symbols in windows.iter().map(|(path, _)| folded(path)) {
                for (table, set) in exact.iter_mut().zip(symbols) {
                    bits(set.0).for_each(|symbol| table[symbol] |= 1 << bucket);
                }
            }
        }
        Prefilter {
            tables: Tables::new(exact).with(set),
            gates: buckets.into_iter().map(Gate::new).collect(),
            reach: runs.iter().map(|r: &RuleRun| r.run.max).max().unwrap_or(0),
            runs,
        }
    }

    /// The targets of a bucket whose windows are `before` and then `bytes`, as far as those go.
    #[inline]
    pub(crate) fn gate(&self, bucket: usize, before: u8, bytes: &[u8], mut found: impl FnMut(Target)) {
        let Some(gate) = self.gates.get(bucket) else { return };
        for word in 0..gate.words {
            let mut left = gate.allowed(word, 0, before);
            for (position, byte) in (1..PATH_LEN).zip(bytes) {
                left &= gate.allowed(word, position, *byte);
                if left == 0 {
                    break;
                }
            }
            let mut last = None;
            for bit in bits(left) {
                // Windows of one rule stand together.
                let target = gate.targets.get(word * 64 + bit).copied();
                if let Some(target) = target.filter(|_| target != last) {
                    found(target);
                }
                last = target;
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let gate = |g: &Gate| g.allowed.len() * 8 + g.targets.len() * size_of::<Target>() + 256;
        self.gates.iter().map(gate).sum::<usize>() + self.runs.len() * 200 + 32 * 1024
    }
}

impl Gate {
    fn new(windows: Vec<(Path, Target)>) -> Gate {
        let (class, classes) = byte_classes(&windows);
        let words = windows.len().div_ceil(64);
        let mut allowed = vec![0u64; words * PATH_LEN * classes];
        for (n, (path, _)) in windows.iter().enumerate() {
            for position in 0..PATH_LEN {
                let set = path.sets.get(position).copied().unwrap_or(ByteSet::ALL);
                let row = ((n / 64) * PATH_LEN + position) * classes;
                for byte in (0..=255u8).filter(|b| set.has(*b)) {
                    allowed[row + usize::from(class[usize::from(byte)])] |= 1 << (n % 64);
                }
            }
        }
        Gate { targets: windows.into_iter().map(|(_, target)| target).collect(), words, class, classes, allowed }
    }

    #[inline]
    fn allowed(&self, word: usize, position: usize, byte: u8) -> u64 {
        let row = (word * PATH_LEN + position) * self.classes;
        self.allowed[row + usize::from(self.class[usize::from(byte)])]
    }
}

/// Bytes that no window of the bucket tells apart share a class.
fn byte_classes(windows: &[(Path, Target)]) -> (Box<[u8; 256]>, usize) {
    let mut class = Box::new([0u8; 256]);
    let mut count = 1usize;
    let mut split = vec![0u8; 512];
    let sets: std::collections::HashSet<ByteSet> =
        windows.iter().flat_map(|(path, _)| path.sets.iter().copied()).collect();
    for set in sets {
        // A class that the set cuts becomes two: the bytes in the set keep the number.
        let mut of = [(false, false); 256];
        for byte in 0..=255u8 {
            let entry = &mut of[usize::from(class[usize::from(byte)])];
            if set.has(byte) { entry.0 = true } else { entry.1 = true }
        }
        split.fill(0);
        for (old, (inside, outside)) in of.iter().enumerate() {
            if *inside && *outside {
                split[old] = count as u8;
                count += 1;
            }
        }
        for byte in 0..=255u8 {
            let old = usize::from(class[usize::from(byte)]);
            if split[old] != 0 && !set.has(byte) {
                class[usize::from(byte)] = split[old];
            }
        }
    }
    (class, count)
}

/// The symbols that a window may have by position; one that has not come is in each.
fn folded(path: &Path) -> [SymbolSet; WINDOW_LEN] {
    std::array::from_fn(|i| match path.sets.get(i) {
        Some(set) => SymbolSet(set.symbols().0 | 1 << WILD),
        None => SymbolSet(u64::MAX),
    })
}

/// Shares the windows out among the buckets: each, the likeliest first, to the bucket that it makes the least likelier.
fn into_buckets(mut windows: Vec<(Path, Target)>, model: &Model) -> Vec<Vec<(Path, Target)>> {
    let chance = |sets: &[SymbolSet; WINDOW_LEN]| -> f32 {
        sets.iter().map(|s| model.alone(SymbolSet(s.0 & !(1 << WILD)))).product()
    };
    windows.sort_by(|a, b| b.0.chance.total_cmp(&a.0.chance));
    let mut buckets: Vec<Vec<(Path, Target)>> = (0..BUCKETS).map(|_| Vec::new()).collect();
    let mut unions = [[SymbolSet(0); WINDOW_LEN]; BUCKETS];
    let mut chances = [0f32; BUCKETS];
    for (path, target) in windows {
        let sets = folded(&path);
        let with = |bucket: usize| -> [SymbolSet; WINDOW_LEN] {
            std::array::from_fn(|i| SymbolSet(unions[bucket][i].0 | sets[i].0))
        };
        let more = |bucket: usize| chance(&with(bucket)) - chances[bucket];
        let costs: Vec<f32> = (0..BUCKETS).map(more).collect();
        let best = (0..BUCKETS).min_by(|a, b| costs[*a].total_cmp(&costs[*b])).unwrap_or_default();
        unions[best] = with(best);
        chances[best] = chance(&unions[best]);
        buckets[best].push((path, target));
    }
    for bucket in &mut buckets {
        bucket.sort_by_key(|(_, target)| (target.rule, target.run));
    }
    buckets
}
