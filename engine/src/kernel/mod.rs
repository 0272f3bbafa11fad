//! The first look at every byte: which buckets of windows may begin here.
//!
//! Bytes are folded to symbols of 6 bits ([`crate::compile::symbol`]). By position of the window (of
//! [`WINDOW_LEN`]) and symbol, a table has a bit for each of 32 buckets; the buckets that may be at a place are the
//! conjunction of eight look-ups. Vector units do 64 places at once with `vpermb` (AVX-512 VBMI), or 32 with
//! `pshufb` on the symbols' low and high bits (AVX2), whose few false answers the exact tables take out again. All give
//! the same hits, in the order of the places.
//!
//! # Rejected
//! Four positions instead of eight (many more false answers: with two hundred rules each bucket holds dozens of
//! windows); a hash of four bytes into a bitmap (fast, but sets of digits or letters fill it).

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod scalar;
#[cfg(test)]
mod tests;

pub(crate) use crate::compile::window::WINDOW_LEN;

/// Symbols past the last window that the caller provides, so that vectors may be read whole.
pub(crate) const PADDING: usize = 64 + WINDOW_LEN;
/// Groups of eight buckets: a byte of a look-up each.
const GROUPS: usize = 4;

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
    /// By position and symbol: the buckets.
    exact: Box<[[u32; 64]; WINDOW_LEN]>,
    #[cfg(target_arch = "x86_64")]
    avx512: Box<avx512::Tables>,
    #[cfg(target_arch = "x86_64")]
    avx2: Box<avx2::Tables>,
}

impl Tables {
    /// `exact` by position of the window and symbol.
    pub(crate) fn new(exact: Box<[[u32; 64]; WINDOW_LEN]>) -> Tables {
        Tables {
            set: InstructionSet::best(),
            #[cfg(target_arch = "x86_64")]
            avx512: avx512::Tables::new(&exact),
            #[cfg(target_arch = "x86_64")]
            avx2: avx2::Tables::new(&exact),
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

    /// Adds the hits among the first `windows` places of `symbols` to `hits`; [`PADDING`] more symbols must follow.
    pub(crate) fn find(&self, symbols: &[u8], windows: usize, hits: &mut Vec<Hit>) {
        assert!(symbols.len() >= windows + PADDING, "vectors are read whole");
        match self.set {
            InstructionSet::Scalar => scalar::find(&self.exact, symbols, windows, hits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx2 => avx2::find(&self.avx2, &self.exact, symbols, windows, hits),
            #[cfg(target_arch = "x86_64")]
            InstructionSet::Avx512 => avx512::find(&self.avx512, symbols, windows, hits),
            #[cfg(not(target_arch = "x86_64"))]
            InstructionSet::Avx2 | InstructionSet::Avx512 => {
                scalar::find(&self.exact, symbols, windows, hits);
            }
        }
    }

    /// Adds the symbols of `bytes` to `symbols`.
    pub(crate) fn fold(&self, bytes: &[u8], symbols: &mut Vec<u8>) {
        #[cfg(target_arch = "x86_64")]
        if self.set == InstructionSet::Avx512 {
            return avx512::fold(bytes, symbols);
        }
        scalar::fold(bytes, symbols);
    }
}
