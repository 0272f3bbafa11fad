//! One pass that finds where candidates of any rule may start.
//!
//! ```text
//!   bytes ──► symbols ──► kernel ──► (place, buckets) ──► gate ──► (rule, start) ──► the rule's automaton
//!              6 bits     8 bytes        32 bits         16 bytes, exact
//! ```
//! A rule's windows ([`window`](super::window)) are put into 32 buckets such that the buckets' windows together stay
//! rare. Windows that begin with one of few words are looked up by their first bytes ([`words`](super::words)).
//! Behind each bucket of the others stands a *gate*: by position and byte, a bit for each of its windows; the
//! conjunction over up to sixteen bytes leaves those that are there in full. A stage may pass what a later one takes
//! out, never the other way round.
//!
//! At the end of what has come, stages that would need more bytes say yes: what remains there are the candidates that
//! a continuation could still make ([`Prefilter::targets`] with the bytes there are).

use std::fmt;

use super::automaton::Before;
use super::path::{PATH_LEN, Path};
use super::symbol::{ByteSet, Fold, Models, SymbolSet, WILD, WORD_SYMBOLS, bits};
use super::window::{Run, Trigger, WINDOW_LEN};
use super::words::{Words, add_grams, is_word};
use crate::kernel::{BUCKETS, Exact, Grams, Hit, InstructionSet, Tables};

/// What a window means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) rule: u32,
    /// For an inner window: index into [`Prefilter::runs`].
    pub(crate) run: Option<u32>,
    /// Else how many bytes before the window the match starts. They are not of the value.
    pub(crate) offset: u8,
    /// How many bytes into the match its value begins, at least.
    pub(crate) value_min: u8,
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
    /// A power of two.
    classes: usize,
    /// By word, position and class: the windows that allow it.
    allowed: Vec<u64>,
}

/// The first stages of the scan, for all rules.
pub(crate) struct Prefilter {
    pub(crate) tables: Tables,
    words: Words,
    /// Of the buckets of classes.
    gates: Vec<Gate>,
    pub(crate) runs: Vec<RuleRun>,
    /// Indices into `runs`, those without a guard first.
    pub(crate) run_order: Vec<u32>,
    /// The buckets of inner windows.
    pub(crate) run_buckets: u32,
    /// The farthest that a start is before its window, in bytes.
    pub(crate) reach: usize,
}

impl fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: usize = self.gates.iter().map(|g| g.targets.len()).sum();
        let windows = classes + self.words.len();
        f.debug_struct("Prefilter").field("windows", &windows).finish_non_exhaustive()
    }
}

impl Prefilter {
    pub(crate) fn build(triggers: Vec<Trigger>, models: &Models, set: InstructionSet) -> Prefilter {
        let mut windows: Vec<(Path, Target)> = Vec::new();
        let mut runs = Vec::new();
        for (rule, trigger) in (0u32..).zip(triggers) {
            windows.extend(trigger.at_start.into_iter().map(|path| {
                let (offset, value_min) = (path.offset, path.value_min);
                (path, Target { rule, run: None, offset, value_min })
            }));
            for (run, paths) in trigger.inside {
                let target = Target { rule, run: Some(runs.len() as u32), offset: 0, value_min: 0 };
                runs.push(RuleRun { rule, run, first: trigger.first.clone() });
                windows.extend(paths.into_iter().map(|path| (path, target)));
            }
        }
        let offset_max = windows.iter().map(|(_, t)| usize::from(t.offset)).max().unwrap_or(0);
        // At the end of a chunk, inner windows are looked for where words are not any more.
        let (words, classes): (Vec<_>, Vec<_>) =
            windows.into_iter().partition(|(path, target)| target.run.is_none() && is_word(path));
        let buckets = into_buckets(classes, models);
        let mut exact: Box<Exact> = Box::new([[0; 64]; WINDOW_LEN]);
        for (bucket, windows) in buckets.iter().enumerate() {
            for (path, _) in windows {
                for (table, set) in exact.iter_mut().zip(symbols(path)) {
                    bits(set.0).for_each(|symbol| table[symbol] |= 1 << bucket);
                }
            }
        }
        let mut grams = Grams::new();
        for (path, _) in &words {
            let before = path.sets.first().map_or(u64::MAX, |set| set.symbols(Fold::Words).0);
            let word = (1u64 << WORD_SYMBOLS) - 1;
            for (symbol, some) in [(0, before & word), (WORD_SYMBOLS, before & !word)] {
                if some != 0 {
                    add_grams(path, |gram| grams.add(symbol, gram));
                }
            }
        }
        // At the end of a chunk those without a guard are asked first: what they hold need not be asked of the others.
        let mut run_order: Vec<u32> = (0..).take(runs.len()).collect();
        run_order.sort_by_key(|n| runs.get(*n as usize).map_or(0, |r: &RuleRun| r.run.guard_max));
        let has_run = |bucket: &Vec<(Path, Target)>| bucket.iter().any(|(_, target)| target.run.is_some());
        let run_buckets =
            (0u32..).zip(&buckets).filter(|(_, b)| has_run(b)).fold(0, |all, (n, _)| all | 1 << n);
        Prefilter {
            run_buckets,
            run_order,
            tables: Tables::new(exact, grams).with(set),
            words: Words::new(words),
            gates: buckets.into_iter().map(Gate::new).collect(),
            reach: runs.iter().map(|r: &RuleRun| r.run.max).max().unwrap_or(0).max(offset_max),
            runs,
        }
    }

    /// The targets of which some window is `before`, `bytes`, and then what follows ([`WILD`] or the end).
    #[inline]
    pub(crate) fn targets(&self, hit: Hit, before: u8, bytes: &[u8], then: u8, found: &mut Vec<Target>) {
        if hit.word {
            self.words.find(before, bytes, then, found);
        }
        for bucket in bits(hit.buckets.into()) {
            if let Some(gate) = self.gates.get(bucket) {
                gate.find(before, bytes, found);
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let gate = |g: &Gate| g.allowed.len() * 8 + g.targets.len() * size_of::<Target>() + 256;
        self.gates.iter().map(gate).sum::<usize>()
            + self.words.memory_bytes()
            + self.runs.len() * size_of::<RuleRun>()
            + self.tables.memory_bytes()
    }
}

impl Gate {
    fn new(windows: Vec<(Path, Target)>) -> Gate {
        let (class, classes) = byte_classes(&windows);
        let classes = classes.next_power_of_two();
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
        Gate {
            targets: windows.into_iter().map(|(_, target)| target).collect(),
            words,
            class,
            classes,
            allowed,
        }
    }

    #[inline]
    fn find(&self, before: u8, bytes: &[u8], found: &mut Vec<Target>) {
        for word in 0..self.words {
            let mut left = self.allowed(word, 0, before);
            let rest = match bytes.split_first_chunk::<{ WINDOW_LEN - 1 }>() {
                // Without a branch for each byte: where it ends can't be foretold.
                Some((first, rest)) => {
                    for (position, byte) in first.iter().enumerate() {
                        left &= self.allowed(word, position + 1, *byte);
                    }
                    rest
                }
                None => {
                    for (position, byte) in (1..PATH_LEN).zip(bytes) {
                        left &= self.allowed(word, position, *byte);
                    }
                    &[]
                }
            };
            if left == 0 {
                continue;
            }
            for (position, byte) in (WINDOW_LEN..PATH_LEN).zip(rest) {
                left &= self.allowed(word, position, *byte);
            }
            found.extend(bits(left).filter_map(|bit| self.targets.get(word * 64 + bit)));
        }
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

/// The symbols that a class may have by position; what has not come is one of them.
fn symbols(path: &Path) -> [SymbolSet; WINDOW_LEN] {
    std::array::from_fn(|i| match path.sets.get(i) {
        Some(set) => SymbolSet(set.symbols(Fold::Classes).0 | 1 << WILD),
        None => SymbolSet(u64::MAX),
    })
}

/// Shares classes out among the buckets: each, the likeliest first, to the bucket that it makes the least likelier.
fn into_buckets(mut windows: Vec<(Path, Target)>, models: &Models) -> Vec<Vec<(Path, Target)>> {
    windows.sort_by(|a, b| b.0.chance.total_cmp(&a.0.chance));
    let mut buckets: Vec<Vec<(Path, Target)>> = (0..BUCKETS).map(|_| Vec::new()).collect();
    let mut unions = [[SymbolSet(0); WINDOW_LEN]; BUCKETS];
    let mut chances = [0f32; BUCKETS];
    for (path, target) in windows {
        let own = symbols(&path);
        let with = |bucket: usize| -> [SymbolSet; WINDOW_LEN] {
            std::array::from_fn(|i| SymbolSet(unions[bucket][i].0 | own[i].0))
        };
        let chance = |sets: [SymbolSet; WINDOW_LEN]| {
            models.classes.chance(sets.map(|set| SymbolSet(set.0 & !(1 << WILD))))
        };
        let more = (0..BUCKETS).map(|bucket| (bucket, chance(with(bucket))));
        let cost = |(bucket, chance): &(usize, f32)| chance - chances[*bucket];
        if let Some((best, chance)) = more.min_by(|a, b| cost(a).total_cmp(&cost(b))) {
            unions[best] = with(best);
            chances[best] = chance;
            buckets[best].push((path, target));
        }
    }
    for bucket in &mut buckets {
        bucket.sort_by_key(|(_, target)| (target.rule, target.run, target.offset));
    }
    buckets
}
