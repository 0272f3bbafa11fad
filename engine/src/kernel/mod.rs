//! The first look at every byte: where windows of rules may begin.
//!
//! Bytes are folded to symbols of 6 bits ([`crate::compile::symbol`]), in two ways.
//!
//! *Words* are windows that begin with one of few sequences of four symbols, a *gram*. Each place's gram is hashed and
//! looked up in one bitmap of all words', by whether a word character stands before.
//!
//! *Classes* are the others (runs of digits, of capitals, …). They lie in 32 buckets; by position of the window (of
//! [`WINDOW_LEN`]) and symbol, a table has a bit for each bucket; the buckets that may be at a place are the
//! conjunction of eight look-ups. Vector units do 64 places at once with `vpermb` (AVX-512 VBMI), or 32 with four times
//! `pshufb` (AVX2).
//!
//! All instruction sets give the same hits, in the order of the places.
//!
//! # Rejected
//! Words in buckets, too: letters are so unevenly spread that a bucket of fifty keywords lets half of all words through,
//! by symbols and by hashed pairs of symbols alike. Classes in the bitmap: sets of digits or letters fill it. A
//! gathering load for the bitmap: slower than loads one by one. `pshufb` on the symbols' low and high bits: what it lets
//! through by mistake costs more than exact look-ups.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

use crate::compile::symbol::{CLASSES, FOLD, WORD_SYMBOLS};
pub(crate) use crate::compile::window::WINDOW_LEN;

/// Symbols past the last window that the caller provides, so that vectors may be read whole.
pub(crate) const PADDING: usize = 64 + WINDOW_LEN;
/// So few places are looked at one by one.
const FEW: usize = 16;
/// Groups of eight buckets: a byte of a look-up each.
const GROUPS: usize = 4;
/// Buckets of classes.
pub(crate) const BUCKETS: usize = 8 * GROUPS;
/// Bits of a gram's hash.
const GRAM_BITS: u32 = 19;

/// The grams that words may begin with: of each hash a bit for those behind a word character, and one for the others.
pub(crate) struct Grams(Box<[u32; GRAM_CELLS]>);

/// Words of 32 bits that hold two bits for each hash.
const GRAM_CELLS: usize = 1 << (GRAM_BITS - 4);

/// Of the multiplicative hash (Knuth, TAOCP 6.4).
const FACTOR: u32 = 0x9E37_79B1;

/// Four symbols.
pub(crate) type Gram = [u8; 4];

impl Grams {
    pub(crate) fn new() -> Grams {
        Grams(Box::new([0; GRAM_CELLS]))
    }

    #[inline]
    fn index(before: u8, gram: Gram) -> usize {
        let hash = u32::from_le_bytes(gram).wrapping_mul(FACTOR) >> (32 - GRAM_BITS);
        (hash << 1) as usize | usize::from(before < WORD_SYMBOLS)
    }

    /// Adds a gram that may stand behind symbols of the kind of `before`.
    pub(crate) fn add(&mut self, before: u8, gram: Gram) {
        let index = Grams::index(before, gram);
        self.0[index >> 5] |= 1 << (index & 31);
    }

    /// 1 when a word may begin with the gram behind `before`.
    #[inline]
    fn has(&self, before: u8, gram: Gram) -> u64 {
        let index = Grams::index(before, gram);
        u64::from(self.0[index >> 5] >> (index & 31) & 1)
    }
}

/// What the kernel reads of each byte.
#[derive(Debug, Default)]
pub(crate) struct Symbols {
    words: Vec<u8>,
    classes: Vec<u8>,
}

/// By position and symbol: the buckets that have a window with it.
pub(crate) type Exact = [[u32; 64]; WINDOW_LEN];

/// A place at which windows may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) at: u32,
    /// Of classes, a bit each.
    pub(crate) buckets: u32,
    /// A word.
    pub(crate) word: bool,
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
        // The exact tables, as much again for each kind of vectors, and the grams.
        3 * size_of::<Exact>() + (1 << (GRAM_BITS - 2))
    }

    /// Adds the hits among the first `windows` places of `symbols` to `hits`; [`PADDING`] more follow.
    pub(crate) fn find(&self, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
        assert!(symbols.words.len() == symbols.classes.len(), "one for one");
        let padding = if windows < FEW { WINDOW_LEN } else { PADDING };
        assert!(symbols.words.len() >= windows + padding, "vectors are read whole");
        let set = if windows < FEW { InstructionSet::Scalar } else { self.set };
        match set {
            InstructionSet::Scalar => scalar::find(&self.exact, &self.grams, symbols, windows, hits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::find(&self.avx2, &self.grams, symbols, windows, hits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::find(&self.avx512, &self.grams, symbols, windows, hits),
            #[cfg(not(target_arch = "x86_64"))]
            InstructionSet::Avx2 | InstructionSet::Avx512 => {
                scalar::find(&self.exact, &self.grams, symbols, windows, hits);
            }
        }
    }

    /// What may begin at one place, of these buckets and, if asked for, words.
    #[inline]
    pub(crate) fn look(&self, symbols: &Symbols, at: usize, buckets: u32, words: bool) -> Option<Hit> {
        let buckets = scalar::buckets(&self.exact, symbols, at, buckets);
        let word = words && scalar::words(&self.grams, symbols, at, 1) != 0;
        (word || buckets != 0).then_some(Hit { at: at as u32, buckets, word })
    }

    /// Makes symbols of `before`, `bytes` and what follows: [`WILD`] or [`END`](crate::compile::symbol::END).
    pub(crate) fn fold(&self, before: u8, bytes: &[u8], then: u8, symbols: &mut Symbols) {
        let Symbols { words, classes } = symbols;
        for (table, list) in [(&FOLD, words), (&CLASSES, classes)] {
            list.clear();
            list.push(table[usize::from(before)]);
            match self.set {
                #[cfg(target_arch = "x86_64")]
                InstructionSet::Avx512 => avx512::fold(table, bytes, list),
                _ => scalar::fold(table, bytes, list),
            }
            let padding = if bytes.len() < FEW { WINDOW_LEN } else { PADDING };
            list.resize(list.len() + padding, then);
        }
    }
}
