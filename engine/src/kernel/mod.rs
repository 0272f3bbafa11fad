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
/// Buckets of words among all.
const WORDS: u64 = (1 << BUCKETS) - 1;
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
/// Pair codes of a word that are looked up at places that those let through.
pub(crate) const PAIRS_MORE: usize = WINDOW_LEN - 2;
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

impl Grams {
    pub(crate) fn new() -> Grams {
        Grams(Box::new([0; GRAM_CELLS]))
    }

    #[inline]
    fn index(gram: Gram) -> (usize, u32) {
        let hash = u32::from_le_bytes(gram).wrapping_mul(FACTOR) >> (32 - GRAM_BITS);
        ((hash >> 5) as usize, hash & 31)
    }

    pub(crate) fn add(&mut self, gram: Gram) {
        let (cell, bit) = Grams::index(gram);
        self.0[cell] |= 1 << bit;
    }

    /// 1 when a word may begin with the gram.
    #[inline]
    fn has(&self, gram: Gram) -> u32 {
        let (cell, bit) = Grams::index(gram);
        self.0[cell] >> bit & 1
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
    pub(crate) pairs: [[u32; 256]; PAIRS_MORE],
    /// By position and symbol.
    pub(crate) classes: [[u32; 64]; WINDOW_LEN],
    /// By position and pair of kinds.
    pub(crate) kinds: [[u32; 256]; KIND_PAIRS],
    pub(crate) grams: Grams,
}

impl Exact {
    pub(crate) fn new() -> Box<Exact> {
        Box::new(Exact {
            pairs: [[0; 256]; PAIRS_MORE],
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

    /// The buckets of words that may begin with these bytes; more of them may be there.
    fn words(&self, before: u8, bytes: &[u8], asked: u32) -> u32 {
        let mut buckets = asked & Exact::behind(FOLD[usize::from(before)]);
        for (table, pair) in self.pairs.iter().zip(bytes.windows(2)) {
            let [first, second] = [pair[0], pair[1]].map(|byte| usize::from(FOLD[usize::from(byte)] & 63));
            buckets &= table[usize::from(PAIR_PARTS[0][first] ^ PAIR_PARTS[1][second])];
            if buckets == 0 {
                return 0;
            }
        }
        match bytes.first_chunk() {
            Some(gram) => buckets * self.grams.has(gram.map(|byte: u8| FOLD[usize::from(byte)])),
            None => buckets,
        }
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

/// A place at which windows may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) at: u32,
    /// A bit each; those of classes begin at [`BUCKETS`].
    pub(crate) buckets: u64,
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
    pub(crate) words: Vec<Hit>,
    pub(crate) classes: Vec<Hit>,
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
            let hit = self.look(before, &bytes[at..], !0);
            let (words, classes) = (hit & WORDS, hit & !WORDS);
            let at = at as u32;
            if words != 0 {
                hits.words.push(Hit { at, buckets: words });
            }
            if classes != 0 {
                hits.classes.push(Hit { at, buckets: classes });
            }
        }
    }

    /// Keeps the places whose gram is there, and looks those up: the same as [`Exact::words`], without a branch.
    fn confirm_words(&self, symbols: &Symbols, places: &mut [u32], hits: &mut Vec<Hit>) {
        let mut grams = 0;
        for n in 0..places.len() {
            let at = places[n];
            let gram = symbols.words.get(at as usize + 1..).and_then(<[u8]>::first_chunk);
            places[grams] = at;
            grams += gram.map_or(0, |gram| self.exact.grams.has(*gram)) as usize;
        }
        hits.resize(grams, Hit::default());
        let mut kept = 0;
        for &at in &places[..grams] {
            let from = at as usize;
            let codes: Option<&[u8; PAIRS_MORE]> =
                symbols.pairs.get(from + 1..).and_then(<[u8]>::first_chunk);
            let (Some(before), Some(codes)) = (symbols.words.get(from), codes) else { break };
            let mut buckets = Exact::behind(*before);
            for (table, code) in self.exact.pairs.iter().zip(codes) {
                buckets &= table[usize::from(*code)];
            }
            hits[kept] = Hit { at, buckets: buckets.into() };
            kept += usize::from(buckets != 0);
        }
        hits.truncate(kept);
    }

    /// Looks the places up by pairs of kinds, those of a whole window first: the same as [`Exact::classes`], without a
    /// branch.
    fn confirm_classes(&self, symbols: &Symbols, places: &[u32], hits: &mut Vec<Hit>) {
        let (of_window, further) = self.exact.kinds.split_at(WINDOW_LEN - 1);
        hits.resize(places.len(), Hit::default());
        let mut kept = 0;
        for &at in places {
            let kinds: Option<&[u8; WINDOW_LEN - 1]> =
                symbols.kinds.get(at as usize..).and_then(<[u8]>::first_chunk);
            let Some(kinds) = kinds else { break };
            let mut buckets = !0;
            for (table, kinds) in of_window.iter().zip(kinds) {
                buckets &= table[usize::from(*kinds)];
            }
            hits[kept] = Hit { at, buckets: buckets.into() };
            kept += usize::from(buckets != 0);
        }
        let mut left = 0;
        for n in 0..kept {
            let Hit { at, buckets } = hits[n];
            let (from, mut buckets) = (at as usize, buckets as u32);
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
            hits[left] = Hit { at, buckets: u64::from(buckets) << BUCKETS };
            left += usize::from(buckets != 0);
        }
        hits.truncate(left);
    }

    /// The buckets of these whose windows may begin with the bytes; more of them may be there.
    #[inline]
    pub(crate) fn look(&self, before: u8, bytes: &[u8], buckets: u64) -> u64 {
        let (words, classes) = (buckets as u32, (buckets >> BUCKETS) as u32);
        let words = if words == 0 { 0 } else { self.exact.words(before, bytes, words) };
        let classes = if classes == 0 { 0 } else { self.exact.classes(before, bytes, classes) };
        u64::from(classes) << BUCKETS | u64::from(words)
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
fn positions<'a>(masks: &[u64], there: u64, places: &'a mut Vec<u32>) -> &'a mut [u32] {
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
    places.get_mut(..len).unwrap_or_default()
}
