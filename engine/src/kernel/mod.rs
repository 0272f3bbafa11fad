//! The first look at every byte: where windows of rules may begin.
//!
//! ```text
//!              ┌─► pair codes ──► 4 look-ups of 32 buckets ──► gram is there ──► words
//!   bytes ──► symbols
//!              └─► symbols, kinds ──► 8 look-ups of 32 buckets ──► 8 of kinds ──► classes
//!                                        a bit a place              a place at a time
//! ```
//! Bytes are folded to symbols of 6 bits ([`crate::compile::symbol`]), in two ways: for *words*, windows that begin with
//! one of few sequences of symbols, and for *classes*, the others (runs of digits, of capitals, …). Either lie in 32
//! buckets. For each position of a window a table has, by the code of two symbols (words) or by symbol (classes), a bit
//! for each bucket; the buckets that may be at a place are the conjunction over the positions. Half of the words' buckets
//! hold windows that have no word character before them.
//!
//! Vectors look a byte's worth of buckets up at 64 places at once with `vpermb` (AVX-512 VBMI), or all buckets of four
//! positions at one place (AVX2, NEON), and tell the places with any. Only those are looked at closer, without a branch for
//! each: words must begin with a *gram* (four symbols) of a hashed bitmap, and classes are looked up again by pairs of
//! kinds, so that what one window allows at one position and another window at the next passes no more.
//!
//! All instruction sets give the same hits, in the order of the places.
//!
//! # Rejected
//! Words in buckets by their symbols: letters are so unevenly spread that a bucket of fifty keywords lets a third of all
//! words through; pair codes of 8 bits let 1 to 3 places of a hundred through. The bitmap for all places: the loads alone
//! take 0.5 ns a byte, all look-ups of both kinds 0.35. Classes in the bitmap: sets of digits or letters fill it. A
//! gathering load for the bitmap: slower than loads one by one. `pshufb` on the symbols' low and high bits: what it lets
//! through by mistake costs more than exact look-ups. Writing hits from within the vector loop: a branch that can't be
//! foretold for each 64 places took more time than the look-ups.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(feature = "hyperscan")]
pub mod hyperscan;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod rows;
mod scalar;
#[cfg(test)]
mod tests;

use crate::compile::symbol::{CLASSES, FOLD, KIND_PARTS, PAIR_PARTS, WORD_SYMBOLS, kind_pair};
pub(crate) use crate::compile::window::WINDOW_LEN;

/// Symbols past the last window that the caller provides, so that vectors may be read whole.
pub(crate) const PADDING: usize = 64 + WINDOW_LEN;
/// So few places are looked at one by one.
const FEW: usize = 16;
/// Groups of eight buckets: a byte of a look-up each.
const GROUPS: usize = 4;
/// Buckets of words, and as many of classes.
pub(crate) const BUCKETS: usize = 8 * GROUPS;
/// Buckets of words that have no word character before them: the first ones.
pub(crate) const BUCKETS_BEHIND: usize = BUCKETS / 2;
/// Pair codes of a word that vectors look up, from its first byte on.
pub(crate) const PAIRS: usize = 4;
/// Pairs of kinds that are looked up, from the byte before the window on.
pub(crate) const KIND_PAIRS: usize = 12;
/// Bits of a gram's hash.
const GRAM_BITS: u32 = 18;

/// The grams that words may begin with, by their hash.
pub(crate) struct Grams(Box<[u32; GRAM_CELLS]>);

const GRAM_CELLS: usize = 1 << (GRAM_BITS - 5);

/// Of the multiplicative hash (Knuth, TAOCP 6.4).
const FACTOR: u32 = 0x9E37_79B1;

/// Four symbols.
pub(crate) type Gram = [u8; 4];

/// A gram's hash, or [`NO_GRAM`].
pub(crate) type GramNumber = u32;

/// Of a place with fewer bytes than a gram.
pub(crate) const NO_GRAM: GramNumber = 1 << GRAM_BITS;
/// Numbers below this.
pub(crate) const GRAM_NUMBERS: usize = NO_GRAM as usize + 1;

impl Grams {
    pub(crate) fn new() -> Grams {
        Grams(Box::new([0; GRAM_CELLS]))
    }

    #[inline]
    pub(crate) fn number(gram: Gram) -> GramNumber {
        u32::from_le_bytes(gram).wrapping_mul(FACTOR) >> (32 - GRAM_BITS)
    }

    pub(crate) fn add(&mut self, gram: Gram) {
        let number = Grams::number(gram);
        self.0[(number >> 5) as usize] |= 1 << (number & 31);
    }

    /// 1 when a word may begin with the gram.
    #[inline]
    fn has(&self, number: GramNumber) -> u32 {
        self.0[(number >> 5) as usize & (GRAM_CELLS - 1)] >> (number & 31) & 1
    }
}

/// What the kernel reads of each byte; the first is the one before the first place.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    words: Vec<u8>,
    /// Of this byte and the next.
    pairs: Vec<u8>,
    classes: Vec<u8>,
    /// Of this byte and the next.
    kinds: Vec<u8>,
    /// Bytes folded, the one before included; what follows means nothing.
    len: usize,
}

/// What is looked for: bits of buckets by what stands at a position.
pub(crate) struct Exact {
    /// By position and pair code.
    pub(crate) pairs: [[u32; 256]; PAIRS],
    /// By position and symbol.
    pub(crate) classes: [[u32; 64]; WINDOW_LEN],
    /// By position and pair of kinds.
    pub(crate) kinds: [[u32; 256]; KIND_PAIRS],
    pub(crate) grams: Grams,
}

impl Exact {
    pub(crate) fn new() -> Box<Exact> {
        Box::new(Exact {
            pairs: [[0; 256]; PAIRS],
            classes: [[0; 64]; WINDOW_LEN],
            kinds: [[0; 256]; KIND_PAIRS],
            grams: Grams::new(),
        })
    }

    /// The buckets of words that may be behind a symbol.
    #[inline]
    fn behind(symbol: u8) -> u32 {
        if symbol < WORD_SYMBOLS { !0 << BUCKETS_BEHIND } else { !0 }
    }

    /// The gram with which words of these buckets may begin here; more of them may be there.
    fn words(&self, before: u8, bytes: &[u8], asked: u32) -> Option<GramNumber> {
        let mut buckets = asked & Exact::behind(FOLD[usize::from(before)]);
        for (table, pair) in self.pairs.iter().zip(bytes.windows(2)) {
            let [first, second] = [pair[0], pair[1]].map(|byte| usize::from(FOLD[usize::from(byte)] & 63));
            buckets &= table[usize::from(PAIR_PARTS[0][first] ^ PAIR_PARTS[1][second])];
            if buckets == 0 {
                return None;
            }
        }
        let Some(gram) = bytes.first_chunk() else { return (buckets != 0).then_some(NO_GRAM) };
        let number = Grams::number(gram.map(|byte: u8| FOLD[usize::from(byte)]));
        (buckets != 0 && self.grams.has(number) == 1).then_some(number)
    }

    /// The same of classes.
    fn classes(&self, before: u8, bytes: &[u8], mut buckets: u32) -> u32 {
        let symbol = |byte: u8| CLASSES[usize::from(byte)];
        let symbols = std::iter::once(before).chain(bytes.iter().copied()).map(symbol);
        for (table, symbol) in self.classes.iter().zip(symbols.clone()) {
            buckets &= table[usize::from(symbol & 63)];
            // Most places fall at the first few.
            if buckets == 0 {
                return 0;
            }
        }
        let pairs = self.kinds.iter().zip(symbols.clone().zip(symbols.skip(1)));
        pairs.fold(buckets, |buckets, (table, (a, b))| buckets & table[usize::from(kind_pair(a, b))])
    }
}

/// A place at which words may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct WordHit {
    pub(crate) at: u32,
    pub(crate) gram: GramNumber,
}

/// A place at which classes may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClassHit {
    pub(crate) at: u32,
    /// A bit each.
    pub(crate) buckets: u32,
}

/// For each 64 places, the bits of those with words, and with classes.
#[derive(Debug, Default)]
struct Masks {
    words: Vec<u64>,
    classes: Vec<u64>,
}

/// Places, and room to find them.
#[derive(Debug, Default)]
pub(crate) struct Hits {
    masks: Masks,
    /// Room for the places of the bits.
    places: Vec<u32>,
    pub(crate) words: Vec<WordHit>,
    pub(crate) classes: Vec<ClassHit>,
}

/// An instruction set for the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum InstructionSet {
    /// No vectors: the reference.
    Scalar,
    /// AVX2.
    Avx2,
    /// AVX-512 with VBMI and BW.
    Avx512,
    /// NEON, of 64-bit ARM.
    Neon,
}

impl InstructionSet {
    /// The best that this machine has.
    #[must_use]
    pub fn best() -> InstructionSet {
        InstructionSet::available().last().copied().unwrap_or(InstructionSet::Scalar)
    }

    /// All that this machine has, the slowest first.
    #[must_use]
    pub fn available() -> &'static [InstructionSet] {
        const ALL: &[InstructionSet] = &[
            InstructionSet::Scalar,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512,
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon,
        ];
        let count = ALL.iter().take_while(|set| set.is_here()).count();
        ALL.get(..count).unwrap_or_default()
    }

    fn is_here(self) -> bool {
        match self {
            InstructionSet::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::is_here(),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::is_here(),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => neon::is_here(),
            // Of another architecture.
            _ => false,
        }
    }
}

/// Look-up tables of one ruleset.
pub(crate) struct Tables {
    set: InstructionSet,
    exact: Box<Exact>,
    #[cfg(target_arch = "x86_64")]
    avx512: Box<avx512::Tables>,
    #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
    rows: Box<rows::Tables>,
}

impl Tables {
    pub(crate) fn new(exact: Box<Exact>) -> Tables {
        Tables {
            set: InstructionSet::best(),
            #[cfg(target_arch = "x86_64")]
            avx512: avx512::Tables::new(&exact),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            rows: rows::Tables::new(&exact),
            exact,
        }
    }

    /// Uses `set` from here on, when the machine has it.
    pub(crate) fn with(mut self, set: InstructionSet) -> Tables {
        if set.is_here() {
            self.set = set;
        }
        self
    }

    pub(crate) fn instruction_set(&self) -> InstructionSet {
        self.set
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let vectors: &[usize] = &[
            #[cfg(target_arch = "x86_64")]
            size_of::<avx512::Tables>(),
            #[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
            size_of::<rows::Tables>(),
        ];
        size_of::<Exact>() + size_of::<[u32; GRAM_CELLS]>() + vectors.iter().sum::<usize>()
    }

    /// Finds the hits among the first `windows` places of `bytes`, of each of which a whole window is there at least.
    pub(crate) fn find(
        &self,
        before: u8,
        bytes: &[u8],
        windows: usize,
        symbols: &mut Symbols,
        hits: &mut Hits,
    ) {
        assert!(bytes.len() + 2 >= windows + WINDOW_LEN || windows == 0, "windows are there");
        hits.words.clear();
        hits.classes.clear();
        if windows < FEW || self.set == InstructionSet::Scalar {
            return self.find_one_by_one(before, bytes, windows, hits);
        }
        self.fold(before, bytes, symbols);
        let padded = |list: &[u8]| list.len() >= windows + PADDING;
        assert!(padded(&symbols.words) && padded(&symbols.pairs), "vectors are read whole");
        assert!(padded(&symbols.classes) && padded(&symbols.kinds), "vectors are read whole");
        hits.masks.words.clear();
        hits.masks.classes.clear();
        match self.set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::find(&self.rows, symbols, windows, &mut hits.masks),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::find(&self.avx512, symbols, windows, &mut hits.masks),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => neon::find(&self.rows, symbols, windows, &mut hits.masks),
            _ => return self.find_one_by_one(before, bytes, windows, hits),
        }
        let there = u64::MAX >> (windows.wrapping_neg() % 64);
        let places = positions(&hits.masks.words, there, &mut hits.places);
        self.confirm_words(symbols, places, &mut hits.words);
        let places = positions(&hits.masks.classes, there, &mut hits.places);
        self.confirm_classes(symbols, places, &mut hits.classes);
    }

    fn find_one_by_one(&self, before: u8, bytes: &[u8], windows: usize, hits: &mut Hits) {
        let befores = std::iter::once(before).chain(bytes.iter().copied());
        for (at, before) in befores.take(windows).enumerate() {
            self.look(before, &bytes[at..], !0, at as u32, hits);
        }
    }

    /// Keeps the places whose gram is there, without a branch.
    fn confirm_words(&self, symbols: &Symbols, places: &[u32], hits: &mut Vec<WordHit>) {
        hits.resize(places.len(), WordHit::default());
        let mut kept = 0;
        for &at in places {
            let gram = symbols.words.get(at as usize + 1..).and_then(<[u8]>::first_chunk);
            let gram = gram.map_or(0, |gram| Grams::number(*gram));
            hits[kept] = WordHit { at, gram };
            kept += self.exact.grams.has(gram) as usize;
        }
        hits.truncate(kept);
    }

    /// Looks the places up by pairs of kinds, those of a whole window first: the same as [`Exact::classes`], without a
    /// branch.
    fn confirm_classes(&self, symbols: &Symbols, places: &[u32], hits: &mut Vec<ClassHit>) {
        let (of_window, further) = self.exact.kinds.split_at(WINDOW_LEN - 1);
        hits.resize(places.len(), ClassHit::default());
        let mut kept = 0;
        for &at in places {
            let kinds: Option<&[u8; WINDOW_LEN - 1]> =
                symbols.kinds.get(at as usize..).and_then(<[u8]>::first_chunk);
            let Some(kinds) = kinds else { break };
            let mut buckets = !0;
            for (table, kinds) in of_window.iter().zip(kinds) {
                buckets &= table[usize::from(*kinds)];
            }
            hits[kept] = ClassHit { at, buckets };
            kept += usize::from(buckets != 0);
        }
        let mut left = 0;
        for n in 0..kept {
            let ClassHit { at, mut buckets } = hits[n];
            let from = at as usize;
            let classes: Option<&[u8; WINDOW_LEN]> =
                symbols.classes.get(from..).and_then(<[u8]>::first_chunk);
            let kinds: Option<&[u8; KIND_PAIRS - WINDOW_LEN + 1]> =
                symbols.kinds.get(from + WINDOW_LEN - 1..).and_then(<[u8]>::first_chunk);
            let (Some(classes), Some(kinds)) = (classes, kinds) else { break };
            for (table, symbol) in self.exact.classes.iter().zip(classes) {
                buckets &= table[usize::from(symbol & 63)];
            }
            // The last few pairs of a text are not there.
            let known = (symbols.len - from - 1).saturating_sub(WINDOW_LEN - 1);
            if known >= kinds.len() {
                for (table, kinds) in further.iter().zip(kinds) {
                    buckets &= table[usize::from(*kinds)];
                }
            } else {
                for (table, kinds) in further.iter().zip(kinds).take(known) {
                    buckets &= table[usize::from(*kinds)];
                }
            }
            hits[left] = ClassHit { at, buckets };
            left += usize::from(buckets != 0);
        }
        hits.truncate(left);
    }

    /// Adds the place `at` to the hits when windows of these buckets may begin there.
    #[inline]
    pub(crate) fn look(&self, before: u8, bytes: &[u8], buckets: u64, at: u32, hits: &mut Hits) {
        let (words, classes) = (buckets as u32, (buckets >> BUCKETS) as u32);
        if words != 0
            && let Some(gram) = self.exact.words(before, bytes, words)
        {
            hits.words.push(WordHit { at, gram });
        }
        let buckets = if classes == 0 { 0 } else { self.exact.classes(before, bytes, classes) };
        if buckets != 0 {
            hits.classes.push(ClassHit { at, buckets });
        }
    }

    /// A bit for each byte that is a quote or ends a line, 64 a word.
    pub(crate) fn mark_anchors(&self, bytes: &[u8], marks: &mut Vec<u64>) {
        marks.clear();
        let done = match self.set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::mark_anchors(bytes, marks),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::mark_anchors(bytes, marks),
            _ => 0,
        };
        marks.extend(bytes.get(done..).unwrap_or_default().chunks(64).map(scalar::anchors));
    }

    /// Makes symbols of `before` and `bytes`.
    fn fold(&self, before: u8, bytes: &[u8], symbols: &mut Symbols) {
        symbols.len = bytes.len() + 1;
        let len = symbols.len + PADDING;
        for list in [&mut symbols.words, &mut symbols.pairs, &mut symbols.classes, &mut symbols.kinds] {
            if list.len() < len {
                list.resize(len, 0);
            }
        }
        let (fold, pair): (FoldBytes, PairSymbols) = match self.set {
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => (avx512::fold, avx512::pair),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => (avx2::fold, avx2::pair),
            #[cfg(target_arch = "aarch64")]
            InstructionSet::Neon => (neon::fold, neon::pair),
            _ => (scalar::fold, scalar::pair),
        };
        let Symbols { words, pairs, classes, kinds, .. } = symbols;
        let lists = [(&FOLD, &PAIR_PARTS, words, pairs), (&CLASSES, &KIND_PARTS, classes, kinds)];
        for (table, parts, symbols, pairs) in lists {
            symbols[0] = table[usize::from(before)];
            let folded = fold(table, bytes, &mut symbols[1..]);
            scalar::fold(table, &bytes[folded..], &mut symbols[1 + folded..]);
            pair(parts, symbols, pairs, bytes.len());
        }
    }
}

/// Folds bytes by a table, as many as it can; how many.
type FoldBytes = fn(&[u8; 256], &[u8], &mut [u8]) -> usize;
/// Makes codes of neighbours.
type PairSymbols = fn(&[[u8; 64]; 2], &[u8], &mut [u8], usize);

/// The places of the bits that are set, in the last mask only of those that are `there`.
fn positions<'a>(masks: &[u64], there: u64, places: &'a mut Vec<u32>) -> &'a [u32] {
    /// Written without asking whether there are as many.
    const AT_ONCE: usize = 8;
    places.resize(places.len().max(masks.len() * 64 + AT_ONCE), 0);
    let (mut len, mut from) = (0, 0);
    for (n, mask) in masks.iter().enumerate() {
        let mut rest = if n + 1 == masks.len() { mask & there } else { *mask };
        let count = rest.count_ones() as usize;
        let mut next = len;
        loop {
            if let Some(slots) = places.get_mut(next..next + AT_ONCE) {
                for slot in slots {
                    *slot = from + rest.trailing_zeros();
                    rest &= rest.wrapping_sub(1);
                }
            }
            next += AT_ONCE;
            if rest == 0 {
                break;
            }
        }
        len += count;
        from += 64;
    }
    places.get(..len).unwrap_or_default()
}
