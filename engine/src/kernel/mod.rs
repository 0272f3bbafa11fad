//! The first look at every byte: which buckets of windows may begin here.
//!
//! Bytes are folded to symbols of 6 bits ([`crate::compile::symbol`]), and so are pairs of neighbours, by a hash. By
//! position of the window (of [`WINDOW_LEN`]) and symbol, and by position and pair, a table has a bit for each of 32
//! buckets; the buckets that may be at a place are the conjunction of all look-ups. Symbols tell classes of bytes
//! apart, pairs tell words apart, and a set of hashes of four symbols takes out most of what only looks like one of
//! the words. Vector units do 64 places at once with `vpermb` (AVX-512 VBMI), or 32 with `pshufb`
//! on the symbols' low and high bits (AVX2), whose false answers the exact tables take out again. All give the same
//! hits, in the order of the places.
//!
//! # Rejected
//! Symbols alone (letters are so unevenly spread that a bucket of fifty keywords lets half of all words through); a
//! hash of four bytes into a bitmap alone (sets of digits or letters fill it).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

use crate::compile::symbol::{CLASSES, FOLD, WILD};
pub(crate) use crate::compile::window::WINDOW_LEN;

/// Symbols past the last window that the caller provides, so that vectors may be read whole.
pub(crate) const PADDING: usize = 64 + WINDOW_LEN;
/// Groups of eight buckets: a byte of a look-up each. The first are for words, the others are for classes.
const GROUPS: usize = 4;
/// Those for words.
const WORD_GROUPS: usize = 2;
/// All buckets.
pub(crate) const BUCKETS: usize = 8 * GROUPS;
/// Buckets of words: windows whose bytes 1 to 4 are of few kinds, which [`Grams`] knows. They come first.
pub(crate) const WORD_BUCKETS: usize = 8 * WORD_GROUPS;
/// Their bits.
pub(crate) const WORDS: u32 = (1 << WORD_BUCKETS) - 1;
/// Look-ups of pairs in a word's window: of the bytes 1 and 2, 2 and 3, and so on. The byte before is looked up alone.
pub(crate) const PAIRS: usize = WINDOW_LEN - 2;
/// Symbols of pairs.
pub(crate) const PAIR_SYMBOLS: usize = 128;
/// A pair of which one has not come: in every set.
pub(crate) const WILD_PAIR: u8 = 127;
/// Bits of a hash of four symbols.
const GRAM_BITS: u32 = 18;

/// By position and symbol: the buckets that have a window with it.
#[derive(Clone, Debug)]
pub(crate) struct Exact {
    /// Of words, the byte before.
    pub(crate) before: [u32; 64],
    /// Of words, the pairs.
    pub(crate) pairs: [[u32; PAIR_SYMBOLS]; PAIRS],
    /// Of classes.
    pub(crate) classes: [[u32; 64]; WINDOW_LEN],
}

impl Exact {
    /// No bucket anywhere.
    pub(crate) fn none() -> Box<Exact> {
        Box::new(Exact {
            before: [0; 64],
            pairs: [[0; PAIR_SYMBOLS]; PAIRS],
            classes: [[0; 64]; WINDOW_LEN],
        })
    }
}

/// The four symbols that words may begin with: a set of hashes.
pub(crate) struct Grams(Box<[u64; 1 << (GRAM_BITS - 6)]>);

impl Grams {
    pub(crate) fn new() -> Grams {
        Grams(Box::new([0; 1 << (GRAM_BITS - 6)]))
    }

    #[inline]
    fn hash(gram: [u8; 4]) -> usize {
        (u32::from_le_bytes(gram).wrapping_mul(0x9E37_79B1) >> (32 - GRAM_BITS)) as usize
    }

    pub(crate) fn add(&mut self, gram: [u8; 4]) {
        let hash = Grams::hash(gram);
        self.0[hash >> 6] |= 1 << (hash & 63);
    }

    /// True when a window with these symbols behind its first may be there.
    #[inline]
    fn has(&self, gram: [u8; 4]) -> bool {
        let hash = Grams::hash(gram);
        self.0[hash >> 6] >> (hash & 63) & 1 == 1
    }
}

/// What the kernel reads of each byte.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    /// Its symbol among words.
    single: Vec<u8>,
    /// The symbol of it and the next.
    pair: Vec<u8>,
    /// Its symbol among classes.
    class: Vec<u8>,
}

/// The symbol of a pair of symbols; [`WILD_PAIR`] when one has not come.
#[inline]
pub(crate) fn pair(first: u8, second: u8) -> u8 {
    if first == WILD || second == WILD {
        return WILD_PAIR;
    }
    let hash = (first << 1) ^ SPREAD[usize::from(second & 63)];
    if hash == WILD_PAIR { WILD_PAIR - 1 } else { hash }
}

/// Spreads neighbouring symbols, so that pairs of two classes don't fall together.
const SPREAD: [u8; 64] = spread();

const fn spread() -> [u8; 64] {
    let mut table = [0; 64];
    let mut symbol = 0;
    while symbol < 64 {
        table[symbol] = ((symbol * 37 + 11) & 127) as u8 ^ (symbol >> 3) as u8;
        symbol += 1;
    }
    table
}

/// A place, and the buckets (a bit each) of which a window may begin there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) at: u32,
    pub(crate) buckets: u32,
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
        const ALL: &[InstructionSet] =
            &[InstructionSet::Scalar, InstructionSet::Avx2, InstructionSet::Avx512];
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
            #[cfg(not(target_arch = "x86_64"))]
            InstructionSet::Avx2 | InstructionSet::Avx512 => false,
        }
    }
}

/// Look-up tables of one ruleset.
pub(crate) struct Tables {
    set: InstructionSet,
    exact: Box<Exact>,
    grams: Grams,
    #[cfg(target_arch = "x86_64")]
    avx512: Box<avx512::Tables>,
    #[cfg(target_arch = "x86_64")]
    avx2: Box<avx2::Tables>,
}

impl Tables {
    pub(crate) fn new(exact: Box<Exact>, grams: Grams) -> Tables {
        Tables {
            set: InstructionSet::best(),
            #[cfg(target_arch = "x86_64")]
            avx512: avx512::Tables::new(&exact),
            #[cfg(target_arch = "x86_64")]
            avx2: avx2::Tables::new(&exact),
            exact,
            grams,
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
        // The exact tables, as much again for vectors, and the grams.
        3 * size_of::<Exact>() + (1 << (GRAM_BITS - 3))
    }

    /// Adds the hits among the first `windows` places of `symbols` to `hits`; they end in [`PADDING`] wild ones.
    pub(crate) fn find(&self, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
        let len = symbols.single.len();
        assert!(symbols.pair.len() == len && symbols.class.len() == len, "one for one");
        assert!(len >= windows + PADDING, "vectors are read whole");
        match self.set {
            InstructionSet::Scalar => scalar::find(&self.exact, &self.grams, symbols, windows, hits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::find(&self.avx2, &self.exact, &self.grams, symbols, windows, hits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::find(&self.avx512, &self.grams, symbols, windows, hits),
            #[cfg(not(target_arch = "x86_64"))]
            InstructionSet::Avx2 | InstructionSet::Avx512 => {
                scalar::find(&self.exact, &self.grams, symbols, windows, hits);
            }
        }
    }

    /// Makes symbols of `before`, `bytes` and what has not come.
    pub(crate) fn fold(&self, before: u8, bytes: &[u8], symbols: &mut Symbols) {
        symbols.single.clear();
        symbols.pair.clear();
        symbols.class.clear();
        symbols.single.push(FOLD[usize::from(before)]);
        symbols.class.push(CLASSES[usize::from(before)]);
        #[cfg(target_arch = "x86_64")]
        if self.set == InstructionSet::Avx512 {
            return avx512::fold(bytes, symbols);
        }
        scalar::fold(bytes, symbols);
    }
}
