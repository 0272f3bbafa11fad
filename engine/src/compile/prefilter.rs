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
use super::symbol::{ByteSet, Fold, Models, SymbolSet, WILD, bits};
use super::window::{Run, Trigger, WINDOW_LEN};
use super::words::{Words, add_grams, is_word};
use crate::kernel::{
    BUCKETS, Exact, Grams, InstructionSet, PAIR_SYMBOLS, PAIRS, Tables, WILD_PAIR, WORD_BUCKETS, WORDS, pair,
};

/// Longest keyword, in bytes.
pub(crate) const KEYWORD_LEN_MAX: usize = 64;


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
    words: Words,
    /// Of the buckets of classes.
    gates: Vec<Gate>,
    pub(crate) runs: Vec<RuleRun>,
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
            windows.extend(trigger.at_start.into_iter().map(|path| (path, Target { rule, run: None })));
            for (run, paths) in trigger.inside {
                let target = Target { rule, run: Some(runs.len() as u32) };
                runs.push(RuleRun { rule, run, first: trigger.first.clone() });
                windows.extend(paths.into_iter().map(|path| (path, target)));
            }
        }
        let buckets = into_buckets(windows, models);
        let mut exact = Exact::none();
        for (bucket, windows) in buckets.iter().enumerate() {
            for (path, _) in windows {
                let shape = if bucket < WORD_BUCKETS { Shape::word(path) } else { Shape::class(path) };
                shape.add_to(&mut exact, 1 << bucket);
            }
        }
        let mut grams = Grams::new();
        for (path, _) in buckets.iter().take(WORD_BUCKETS).flatten() {
            add_grams(path, |gram| grams.add(gram));
        }
        let mut buckets = buckets.into_iter();
        let words: Vec<(Path, Target)> = buckets.by_ref().take(WORD_BUCKETS).flatten().collect();
        Prefilter {
            tables: Tables::new(exact, grams).with(set),
            words: Words::new(words),
            gates: buckets.map(Gate::new).collect(),
            reach: runs.iter().map(|r: &RuleRun| r.run.max).max().unwrap_or(0),
            runs,
        }
    }

    /// The targets of which some window is `before` and then `bytes`, as far as those go.
    #[inline]
    pub(crate) fn targets(&self, buckets: u32, before: u8, bytes: &[u8], found: &mut Vec<Target>) {
        if buckets & WORDS != 0 {
            self.words.find(before, bytes, found);
        }
        for bucket in bits(u64::from(buckets & !WORDS)) {
            if let Some(gate) = self.gates.get(bucket - WORD_BUCKETS) {
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
    fn find(&self, before: u8, bytes: &[u8], found: &mut Vec<Target>) {
        for word in 0..self.words {
            let mut left = self.allowed(word, 0, before);
            for (position, byte) in (1..PATH_LEN).zip(bytes) {
                left &= self.allowed(word, position, *byte);
                if left == 0 {
                    break;
                }
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

/// What a window, or all of a bucket, allows in each look-up of the kernel.
#[derive(Clone)]
struct Shape {
    /// Of a word the byte before; of a class all.
    singles: Vec<SymbolSet>,
    /// Of a word.
    pairs: Vec<u128>,
}

impl Shape {
    fn none(word: bool) -> Shape {
        let (singles, pairs) = if word { (1, PAIRS) } else { (WINDOW_LEN, 0) };
        Shape { singles: vec![SymbolSet(0); singles], pairs: vec![0; pairs] }
    }

    fn word(path: &Path) -> Shape {
        let sets: Vec<SymbolSet> = (0..WINDOW_LEN).map(|i| symbols(path, i, Fold::Words)).collect();
        let of = |w: &[SymbolSet]| {
            let pairs = bits(w[0].0).flat_map(|a| bits(w[1].0).map(move |b| pair(a as u8, b as u8)));
            pairs.fold(1u128 << WILD_PAIR, |set, pair| set | 1 << pair)
        };
        let pairs = sets.get(1..).unwrap_or_default().windows(2).map(of).collect();
        Shape { singles: sets.into_iter().take(1).collect(), pairs }
    }

    fn class(path: &Path) -> Shape {
        let singles = (0..WINDOW_LEN).map(|i| symbols(path, i, Fold::Classes)).collect();
        Shape { singles, pairs: Vec::new() }
    }

    fn union(&mut self, other: &Shape) {
        self.singles.iter_mut().zip(&other.singles).for_each(|(a, b)| a.0 |= b.0);
        self.pairs.iter_mut().zip(&other.pairs).for_each(|(a, b)| *a |= b);
    }

    /// How often usual traffic has it with `other` added, if places were independent.
    fn chance_with(&self, other: &Shape, chances: &SymbolChances) -> f32 {
        let single = if self.pairs.is_empty() { &chances.classes } else { &chances.words };
        let wild = !(1u64 << WILD);
        let singles = self.singles.iter().zip(&other.singles);
        let singles = singles.map(|(a, b)| bits((a.0 | b.0) & wild).map(|s| single[s]).sum::<f32>());
        let wild = !(1u128 << WILD_PAIR);
        let pairs = self.pairs.iter().zip(&other.pairs).map(|(a, b)| {
            let set = (a | b) & wild;
            let (low, high) = (bits(set as u64), bits((set >> 64) as u64).map(|s| s + 64));
            low.chain(high).map(|s| chances.pairs[s]).sum::<f32>()
        });
        singles.product::<f32>() * pairs.product::<f32>()
    }

    fn add_to(&self, exact: &mut Exact, bucket: u32) {
        let word = !self.pairs.is_empty();
        let tables: &mut [[u32; 64]] =
            if word { std::slice::from_mut(&mut exact.before) } else { &mut exact.classes };
        for (table, set) in tables.iter_mut().zip(&self.singles) {
            bits(set.0).for_each(|symbol| table[symbol] |= bucket);
        }
        for (table, set) in exact.pairs.iter_mut().zip(&self.pairs) {
            (0..PAIR_SYMBOLS).filter(|s| set >> s & 1 == 1).for_each(|symbol| table[symbol] |= bucket);
        }
    }
}

/// The symbols that a window has at a position; what has not come is one of them.
fn symbols(path: &Path, position: usize, fold: Fold) -> SymbolSet {
    match path.sets.get(position) {
        Some(set) => SymbolSet(set.symbols(fold).0 | 1 << WILD),
        None => SymbolSet(u64::MAX),
    }
}

/// How likely symbols are in usual traffic.
struct SymbolChances {
    words: [f32; 64],
    classes: [f32; 64],
    pairs: [f32; PAIR_SYMBOLS],
}

impl SymbolChances {
    fn new(models: &Models) -> SymbolChances {
        let mut pairs = [0.0; PAIR_SYMBOLS];
        for a in 0..WILD {
            let first = models.words.first(SymbolSet(1 << a));
            for (b, chance) in (0..WILD).zip(models.words.next(&first, SymbolSet(u64::MAX))) {
                pairs[usize::from(pair(a, b))] += chance;
            }
        }
        let all = SymbolSet(u64::MAX);
        SymbolChances { words: models.words.first(all), classes: models.classes.first(all), pairs }
    }
}

/// Shares the windows out among the buckets: each, the likeliest first, to the bucket that it makes the least likelier.
fn into_buckets(mut windows: Vec<(Path, Target)>, models: &Models) -> Vec<Vec<(Path, Target)>> {
    let chances = SymbolChances::new(models);
    windows.sort_by(|a, b| b.0.chance.total_cmp(&a.0.chance));
    let mut buckets: Vec<Vec<(Path, Target)>> = (0..BUCKETS).map(|_| Vec::new()).collect();
    let mut unions: Vec<(Shape, f32)> =
        (0..BUCKETS).map(|bucket| (Shape::none(bucket < WORD_BUCKETS), 0.0)).collect();
    for (path, target) in windows {
        // At the end of a chunk, inner windows are looked for where words are not any more.
        let word = is_word(&path) && target.run.is_none();
        let own = if word { 0..WORD_BUCKETS } else { WORD_BUCKETS..BUCKETS };
        let shape = if word { Shape::word(&path) } else { Shape::class(&path) };
        let with = own.map(|bucket| (bucket, unions[bucket].0.chance_with(&shape, &chances)));
        let more = |(bucket, chance): &(usize, f32)| chance - unions[*bucket].1;
        if let Some((best, chance)) = with.min_by(|a, b| more(a).total_cmp(&more(b))) {
            unions[best].0.union(&shape);
            unions[best].1 = chance;
            buckets[best].push((path, target));
        }
    }
    for bucket in &mut buckets {
        bucket.sort_by_key(|(_, target)| (target.rule, target.run));
    }
    buckets
}
