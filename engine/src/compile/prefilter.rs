//! One pass that finds where candidates of any rule may start.
//!
//! ```text
//!   bytes ──► symbols ──► kernel ──┬─► (place, gram) ────► words ─┬─► (rule, start) ──► the rule's automaton
//!              6 bits     8 bytes  └─► (place, buckets) ─► gates ─┘
//!                                                       16 bytes, exact
//! ```
//! A rule's windows ([`window`](super::window)) are words or classes, as the [kernel](crate::kernel) has them, and are
//! put into 32 buckets of each kind such that the buckets' windows together stay rare ([`buckets`](super::buckets)).
//! Words are told apart by the gram they begin with ([`grams`](super::grams)). Behind each bucket of classes stands a
//! *gate*: by position and byte, a bit for each of its windows; the conjunction over up to sixteen bytes leaves those
//! that are there in full. A stage may pass what a later one takes out, never the other way round.
//!
//! At the end of what has come, stages that would need more bytes say yes: what remains there are the candidates that
//! a continuation could still make.
//!
//! # Rejected
//! Gates for words as well: a keyword of many rules has windows in several buckets, so that four or five gates were
//! asked where it stands (traces of OTLP took a fifth longer, JSON a quarter). Rows of 64 windows: no gate has more than
//! 33 classes, and a row of 32 is one line of the cache.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use super::buckets::{Traffic, share_out};
use super::grams::Words;
use super::holds::Holds;
use super::path::{PATH_LEN, Path};
use super::runs::{RuleRun, Runs};
use super::symbol::{
    ByteSet, CLASSES, FOLD, Fold, KINDS, Models, SymbolSet, WORD_SYMBOLS, bits, byte_classes, kind_pair,
    pair_code,
};
use super::window::{Trigger, WINDOW_LEN};
use super::words::is_rarer_as_word;
use crate::kernel::{BUCKETS, BUCKETS_BEHIND, Exact, GramNumber, InstructionSet, KIND_PAIRS, PAIRS, Tables};

/// What a window means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    pub(crate) rule: u32,
    /// For an inner window: its number in [`Prefilter::runs`].
    pub(crate) run: Option<u32>,
    /// Else how many bytes before the window the match starts. They are not of the value.
    pub(crate) offset: u8,
    /// How many bytes into the match, or after an inner window's first, its value begins, at least.
    pub(crate) value_min: u8,
}

impl Target {
    /// True when its value may have begun within so many bytes of its window.
    pub(super) fn may_have_begun(&self, have: usize) -> bool {
        usize::from(self.value_min) < have + usize::from(self.offset)
    }
}

/// The windows of one bucket, told apart by all their bytes.
struct Gate {
    targets: Vec<Target>,
    /// Lists of [`LIST`] windows.
    lists: usize,
    /// By byte: its class within this bucket.
    class: Box<[u8; 256]>,
    classes: usize,
    /// For each list, by class and position: the windows that allow it.
    allowed: Vec<Row>,
    /// For each list, by bytes that are there: the windows that need no more.
    whole: Vec<Row>,
}

/// Windows of a row.
const LIST: usize = u32::BITS as usize;

/// By position of a window; one line of the cache.
#[derive(Clone, Copy)]
#[repr(align(64))]
struct Row([u32; PATH_LEN]);

const NO_ROW: Row = Row([0; PATH_LEN]);

/// The first stages of the scan, for all rules.
pub(crate) struct Prefilter {
    /// No other of this process has it. Rulesets that share it share their automata, rule by rule.
    pub(crate) number: u64,
    pub(crate) tables: Tables,
    words: Words,
    /// By bucket of classes.
    gates: Vec<Gate>,
    pub(crate) runs: Runs,
    /// The windows that matter where a chunk ends.
    pub(crate) holds: Holds,
    /// By bytes before the end of a text, all of the last: the buckets of windows that need no more.
    pub(crate) whole: [u64; WINDOW_LEN + 1],
    /// The farthest that a start is before its window, in bytes.
    pub(crate) reach: usize,
}

impl fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: usize = self.gates.iter().map(|g| g.targets.len()).sum();
        f.debug_struct("Prefilter").field("classes", &classes).finish_non_exhaustive()
    }
}

impl Prefilter {
    /// Of rules by their triggers, with the bucket of each path.
    pub(crate) fn build(rules: &[(&Trigger, &[u8])], set: InstructionSet) -> Prefilter {
        let mut buckets: Vec<Vec<(&Path, Target)>> = (0..2 * BUCKETS).map(|_| Vec::new()).collect();
        let (windows, runs) = windows(rules.iter().map(|(trigger, _)| *trigger));
        for (window, bucket) in windows.into_iter().zip(rules.iter().flat_map(|(_, chosen)| *chosen)) {
            if let Some(bucket) = buckets.get_mut(usize::from(*bucket)) {
                bucket.push(window);
            }
        }
        let offset_max = buckets.iter().flatten().map(|(_, t)| usize::from(t.offset)).max().unwrap_or(0);
        let mut exact = Exact::new();
        for (bucket, windows) in buckets.iter_mut().enumerate() {
            // Targets of one rule stand together, so that they are seen as one.
            windows.sort_by_key(|(_, target)| (target.rule, target.run, target.offset));
            windows.iter().for_each(|(path, _)| add_window(&mut exact, bucket, path));
        }
        let words = Words::new(buckets.get(..BUCKETS).unwrap_or_default().concat(), &mut exact.grams);
        // The buckets that have some such window.
        let with = |is: &dyn Fn(&Path, &Target) -> bool| {
            let has = |windows: &[(&Path, Target)]| windows.iter().any(|(path, target)| is(path, target));
            (0u32..).zip(&buckets).fold(0, |all, (n, windows)| all | u64::from(has(windows)) << n)
        };
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        Prefilter {
            number: NUMBER.fetch_add(1, Ordering::Relaxed),
            holds: Holds::new(buckets.iter().flatten().copied()),
            whole: std::array::from_fn(|have| {
                with(&|path, _| have == WINDOW_LEN || path.sets.len() <= have + 1)
            }),
            tables: Tables::new(exact).with(set),
            words,
            gates: buckets.iter().skip(BUCKETS).map(|windows| Gate::new(windows)).collect(),
            reach: runs.iter().map(|r: &RuleRun| r.run.max).max().unwrap_or(0).max(offset_max),
            runs: Runs::new(runs),
        }
    }

    /// The targets of which some window is `before` and `bytes`; where `ended`, the text ends with them, else windows
    /// may be cut.
    #[inline]
    pub(crate) fn word_targets(
        &self,
        gram: GramNumber,
        before: u8,
        bytes: &[u8],
        ended: bool,
        mut found: impl FnMut(Target),
    ) {
        self.words.find(gram, before, bytes, ended, &mut found);
    }

    /// The same of classes, by the bits of their buckets.
    #[inline]
    pub(crate) fn class_targets(
        &self,
        buckets: u32,
        before: u8,
        bytes: &[u8],
        ended: bool,
        mut found: impl FnMut(Target),
    ) {
        for bucket in bits(buckets.into()) {
            if let Some(gate) = self.gates.get(bucket) {
                gate.find(before, bytes, ended, &mut found);
            }
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let gate =
            |g: &Gate| g.allowed.len() * size_of::<Row>() + g.targets.len() * size_of::<Target>() + 256;
        self.gates.iter().map(gate).sum::<usize>()
            + self.words.memory_bytes()
            + self.holds.memory_bytes()
            + self.runs.memory_bytes()
            + self.tables.memory_bytes()
    }
}

/// All windows of rules by their triggers, in the order of [`Trigger::paths`], and the runs that they name.
pub(super) fn windows<'a>(
    triggers: impl IntoIterator<Item = &'a Trigger>,
) -> (Vec<(&'a Path, Target)>, Vec<RuleRun>) {
    let (mut windows, mut runs) = (Vec::new(), Vec::new());
    for (rule, trigger) in (0u32..).zip(triggers) {
        for path in &trigger.at_start {
            windows.push((path, Target { rule, run: None, offset: path.offset, value_min: path.value_min }));
        }
        for (run, paths) in &trigger.inside {
            let target =
                Target { rule, run: Some(runs.len() as u32), offset: 0, value_min: run.value_min as u8 };
            runs.push(RuleRun { rule, run: run.clone(), first: trigger.first.clone() });
            windows.extend(paths.iter().map(|path| (path, target)));
        }
    }
    (windows, runs)
}

impl Gate {
    fn new(windows: &[(&Path, Target)]) -> Gate {
        let (class, examples) = byte_classes(windows.iter().flat_map(|(path, _)| path.sets.iter().copied()));
        let classes = examples.len();
        let mut allowed = vec![NO_ROW; windows.len().div_ceil(LIST) * classes];
        for (n, (path, _)) in windows.iter().enumerate() {
            let rows = &mut allowed[n / LIST * classes..][..classes];
            let bit = 1 << (n % LIST);
            for position in 0..PATH_LEN {
                match path.sets.get(position) {
                    Some(set) if set.len() < classes => {
                        set.bytes().for_each(|b| rows[usize::from(class[usize::from(b)])].0[position] |= bit);
                    }
                    Some(set) => {
                        let has = rows.iter_mut().zip(&examples).filter(|(_, example)| set.has(**example));
                        has.for_each(|(row, _)| row.0[position] |= bit);
                    }
                    None => rows.iter_mut().for_each(|row| row.0[position] |= bit),
                }
            }
        }
        let lists = windows.len().div_ceil(LIST);
        let mut whole = vec![NO_ROW; lists];
        for (n, (path, _)) in windows.iter().enumerate() {
            for (have, row) in whole[n / LIST].0.iter_mut().enumerate() {
                *row |= u32::from(path.sets.len() <= have + 1) << (n % LIST);
            }
        }
        let targets = windows.iter().map(|(_, target)| *target).collect();
        Gate { targets, lists, class, classes, allowed, whole }
    }

    #[inline]
    fn find(&self, before: u8, bytes: &[u8], ended: bool, found: &mut impl FnMut(Target)) {
        for list in 0..self.lists {
            let rows = self.allowed.get(list * self.classes..).unwrap_or_default();
            let allowed = |position: usize, byte: u8| {
                rows.get(usize::from(self.class[usize::from(byte)])).map_or(0, |row| row.0[position])
            };
            let mut left = allowed(0, before);
            if ended && bytes.len() < PATH_LEN {
                left &= self.whole.get(list).map_or(0, |row| row.0[bytes.len()]);
            }
            // Without a branch on the way: half of those that fail do so in the first half.
            match bytes.first_chunk::<{ PATH_LEN - 1 }>() {
                Some(bytes) => {
                    for (position, byte) in bytes.iter().enumerate() {
                        left &= allowed(position + 1, *byte);
                    }
                }
                None => {
                    for (position, byte) in (1..PATH_LEN).zip(bytes) {
                        left &= allowed(position, *byte);
                    }
                }
            }
            bits(left.into())
                .filter_map(|bit| self.targets.get(list * LIST + bit))
                .for_each(|target| found(*target));
        }
    }
}

/// The bucket of each path of each rule: words come first, then classes.
pub(crate) fn choose_buckets(triggers: &[Option<&Trigger>], models: &Models) -> Vec<Vec<u8>> {
    let paths = triggers.iter().enumerate();
    let paths = paths.flat_map(|(rule, t)| t.iter().flat_map(|t| t.paths()).map(move |path| (rule, path)));
    let paths: Vec<(usize, &Path, bool)> =
        paths.map(|(rule, path)| (rule, path, is_rarer_as_word(path, models))).collect();
    let of_kind = |word: bool| -> Vec<&Path> {
        paths.iter().filter(|(_, _, w)| *w == word).map(|(_, path, _)| *path).collect()
    };
    let (words, classes) = (of_kind(true), of_kind(false));
    // One after the other: what either keeps of the traffic is much of the memory that a start takes.
    let (words, classes) = (word_buckets(&words), class_buckets(&classes));
    let (mut words, mut classes) = (words.into_iter(), classes.into_iter().map(|bucket| BUCKETS + bucket));
    let mut chosen = vec![Vec::new(); triggers.len()];
    for (rule, _, word) in &paths {
        let bucket = if *word { words.next() } else { classes.next() };
        chosen[*rule].push(bucket.unwrap_or_default() as u8);
    }
    chosen
}

/// The bucket of each word.
fn word_buckets(windows: &[&Path]) -> Vec<usize> {
    let traffic = Traffic::new(PAIRS + 1, |bytes, position| match position {
        PAIRS => FOLD[usize::from(bytes[0])],
        _ => pair_code(FOLD[usize::from(bytes[position + 1])], FOLD[usize::from(bytes[position + 2])]),
    });
    let keys = windows.iter().map(|path| {
        let is_behind = is_behind_no_word(path);
        let range = if is_behind { 0..BUCKETS_BEHIND } else { BUCKETS_BEHIND..BUCKETS };
        let pairs = (0..PAIRS).map(|position| pair_codes(path, position));
        // What stands before is not looked up but for this.
        let mut any_before = ByteSet::ALL;
        if is_behind {
            any_before.0[0] = !((1 << WORD_SYMBOLS) - 1);
        }
        (pairs.chain(std::iter::once(any_before)).collect(), range)
    });
    let keys: Vec<_> = keys.collect();
    share_out(&keys, &traffic)
}

/// The same of classes, from 0 on.
fn class_buckets(windows: &[&Path]) -> Vec<usize> {
    let traffic = Traffic::new(WINDOW_LEN, |bytes, position| CLASSES[usize::from(bytes[position])]);
    let keys = windows.iter().map(|path| {
        let codes = (0..WINDOW_LEN).map(|p| ByteSet([symbols(path, p, Fold::Classes).0, 0, 0, 0]));
        (codes.collect(), 0..BUCKETS)
    });
    let keys: Vec<_> = keys.collect();
    share_out(&keys, &traffic)
}

/// Lets a window through to its bucket; the grams of words are added by [`Words`].
fn add_window(exact: &mut Exact, bucket: usize, path: &Path) {
    let Some(class_bucket) = bucket.checked_sub(BUCKETS) else {
        for (position, table) in exact.pairs.iter_mut().enumerate() {
            let codes = pair_codes(path, position);
            if codes == ByteSet::ALL {
                table.iter_mut().for_each(|buckets| *buckets |= 1 << bucket);
            } else {
                (0..=255u8).filter(|c| codes.has(*c)).for_each(|c| table[usize::from(c)] |= 1 << bucket);
            }
        }
        return;
    };
    let bit = 1 << class_bucket;
    let symbols: [SymbolSet; KIND_PAIRS + 1] = std::array::from_fn(|p| symbols(path, p, Fold::Classes));
    for (table, symbols) in exact.classes.iter_mut().zip(&symbols) {
        bits(symbols.0).for_each(|symbol| table[symbol] |= bit);
    }
    // A symbol of each kind: there are fewer kinds than symbols.
    let kinds = symbols.map(|set| {
        let mut of_kind = [None; 16];
        bits(set.0).for_each(|symbol| of_kind[usize::from(KINDS[symbol & 63])] = Some(symbol as u8));
        of_kind
    });
    for (table, pair) in exact.kinds.iter_mut().zip(kinds.windows(2)) {
        let [first, second] = pair else { continue };
        for first in first.iter().flatten() {
            for second in second.iter().flatten() {
                table[usize::from(kind_pair(*first, *second))] |= bit;
            }
        }
    }
}

/// True when no word character stands before the window.
pub(super) fn is_behind_no_word(path: &Path) -> bool {
    symbols(path, 0, Fold::Words).0 & ((1 << WORD_SYMBOLS) - 1) == 0
}

/// The symbols that a window may have at a position.
fn symbols(path: &Path, position: usize, fold: Fold) -> SymbolSet {
    path.sets.get(position).map_or(SymbolSet(u64::MAX), |set| set.symbols(fold))
}

/// The pair codes that a word may have at a position; the first is of its first two bytes.
fn pair_codes(path: &Path, position: usize) -> ByteSet {
    let [first, second] = [1, 2].map(|next| symbols(path, position + next, Fold::Words));
    if first.0 == u64::MAX && second.0 == u64::MAX {
        return ByteSet::ALL;
    }
    let mut codes = ByteSet::EMPTY;
    for first in bits(first.0) {
        bits(second.0).for_each(|second| codes.add(pair_code(first as u8, second as u8)));
    }
    codes
}
