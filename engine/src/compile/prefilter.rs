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
use super::symbol::{ByteSet, Fold, Model, Models, SymbolSet, WILD, bits};
use super::window::{Run, Trigger, WINDOW_LEN};
use crate::kernel::{Exact, Grams, InstructionSet, LOOKUPS, Tables, WORD_BUCKETS, pair};

/// Longest keyword, in bytes.
pub(crate) const KEYWORD_LEN_MAX: usize = 64;

use crate::kernel::BUCKETS;

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
        let mut exact: Box<Exact> = Box::new([[0; 64]; LOOKUPS]);
        for (bucket, windows) in buckets.iter().enumerate() {
            let fold = if bucket < WORD_BUCKETS { Fold::Words } else { Fold::Classes };
            for symbols in windows.iter().map(|(path, _)| folded(path, fold)) {
                for (table, set) in exact.iter_mut().zip(symbols) {
                    bits(set.0).for_each(|symbol| table[symbol] |= 1 << bucket);
                }
            }
        }
        let mut grams = Grams::new();
        for (path, _) in buckets.iter().take(WORD_BUCKETS).flatten() {
            add_grams(path, &mut grams);
        }
        if std::env::var("DUMP").is_ok() { eprintln!("bitmap {}", grams.fill()); }
        Prefilter {
            tables: Tables::new(exact, grams).with(set),
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

/// What a window allows, by look-up: symbols, then pairs, of which classes have none. What has not come is in each.
fn folded(path: &Path, fold: Fold) -> [SymbolSet; LOOKUPS] {
    let singles: [SymbolSet; WINDOW_LEN] = std::array::from_fn(|i| match path.sets.get(i) {
        Some(set) => SymbolSet(set.symbols(fold).0 | 1 << WILD),
        None => SymbolSet(u64::MAX),
    });
    std::array::from_fn(|i| {
        if i < WINDOW_LEN {
            return singles[i];
        }
        if fold == Fold::Classes {
            return SymbolSet(u64::MAX);
        }
        let (first, second) = (singles[i - WINDOW_LEN + 1], singles[i - WINDOW_LEN + 2]);
        let pairs = bits(first.0).flat_map(|a| bits(second.0).map(move |b| pair(a as u8, b as u8)));
        SymbolSet(pairs.fold(1 << WILD, |set, pair| set | 1 << pair))
    })
}

/// A window is a word when its bytes 1 to 4 are of no more kinds than this.
const GRAMS_MAX: u32 = 1024;

fn is_word(path: &Path) -> bool {
    gram_sets(path).iter().map(|s| s.0.count_ones()).product::<u32>() <= GRAMS_MAX
}

/// The symbols of bytes 1 to 4.
fn gram_sets(path: &Path) -> [SymbolSet; 4] {
    std::array::from_fn(|i| match path.sets.get(i + 1) {
        Some(set) => SymbolSet(set.symbols(Fold::Words).0),
        None => SymbolSet(u64::MAX),
    })
}

/// Adds all that a window's bytes 1 to 4 can be, cut short by what has not come as well.
fn add_grams(path: &Path, grams: &mut Grams) {
    let sets = gram_sets(path);
    for known in 0..=4 {
        let set = |i: usize| if i < known { sets[i].0 } else { 1 << WILD };
        for a in bits(set(0)) {
            for b in bits(set(1)) {
                for c in bits(set(2)) {
                    for d in bits(set(3)) {
                        grams.add([a as u8, b as u8, c as u8, d as u8]);
                    }
                }
            }
        }
    }
}

/// Windows so far in a bucket, and how often it is expected to be hit.
#[derive(Clone, Copy)]
struct Union {
    sets: [SymbolSet; LOOKUPS],
    chance: f32,
}

/// Shares the windows out among the buckets: each, the likeliest first, to the bucket that it makes the least likelier.
fn into_buckets(mut windows: Vec<(Path, Target)>, models: &Models) -> Vec<Vec<(Path, Target)>> {
    let pairs = pair_chances(&models.words);
    let chance = |sets: &[SymbolSet; LOOKUPS], fold: Fold| -> f32 {
        let wild = 1u64 << WILD;
        let (single, pair) = sets.split_at(WINDOW_LEN);
        let alone = single.iter().map(|s| SymbolSet(s.0 & !wild));
        match fold {
            Fold::Classes => alone.map(|s| models.classes.alone(s)).product(),
            Fold::Words => {
                let pair = pair.iter().map(|s| bits(s.0 & !wild).map(|p| pairs[p]).sum::<f32>());
                alone.map(|s| models.words.alone(s)).product::<f32>() * pair.product::<f32>()
            }
        }
    };
    windows.sort_by(|a, b| b.0.chance.total_cmp(&a.0.chance));
    let mut buckets: Vec<Vec<(Path, Target)>> = (0..BUCKETS).map(|_| Vec::new()).collect();
    let mut unions = [Union { sets: [SymbolSet(0); LOOKUPS], chance: 0.0 }; BUCKETS];
    for (path, target) in windows {
        let (fold, own) = match is_word(&path) {
            true => (Fold::Words, 0..WORD_BUCKETS),
            false => (Fold::Classes, WORD_BUCKETS..BUCKETS),
        };
        let sets = folded(&path, fold);
        let with = |union: &Union| {
            let sets = std::array::from_fn(|i| SymbolSet(union.sets[i].0 | sets[i].0));
            Union { chance: chance(&sets, fold), sets }
        };
        let more = own.map(|bucket| (bucket, with(&unions[bucket])));
        let cost = |(bucket, more): &(usize, Union)| more.chance - unions[*bucket].chance;
        if let Some((best, union)) = more.min_by(|a, b| cost(a).total_cmp(&cost(b))) {
            unions[best] = union;
            buckets[best].push((path, target));
        }
    }
    if std::env::var("DUMP").is_ok() {
        for (i, b) in buckets.iter().enumerate() {
            for (path, t) in b.iter().filter(|_| i >= WORD_BUCKETS) { eprintln!("CLASS {i} {} {:e} {:?}", t.rule, models.chance(&path.sets[..path.sets.len().min(8)]), path.sets.iter().map(|s| s.symbols(Fold::Words).0.count_ones()).collect::<Vec<_>>()); }
            eprintln!("bucket {i} size {} chance {:e} sets {:?}", b.len(), unions[i].chance, unions[i].sets.map(|s| s.0.count_ones()));
        }
    }
    for bucket in &mut buckets {
        bucket.sort_by_key(|(_, target)| (target.rule, target.run));
    }
    buckets
}

/// By symbol of a pair: how likely it is.
fn pair_chances(model: &Model) -> [f32; 64] {
    let mut chances = [0.0; 64];
    for a in 0..WILD {
        let first = model.first(SymbolSet(1 << a));
        for (b, chance) in (0..WILD).zip(model.next(&first, SymbolSet(u64::MAX))) {
            chances[usize::from(pair(a, b))] += chance;
        }
    }
    chances
}
