//! Windows that begin with one of few words.
//!
//! The symbols of a window's bytes 1 to 4 are a *gram*.

use super::path::Path;
use super::symbol::{ByteSet, Fold, Models, SymbolSet, bits};
use crate::kernel::{Gram, PAIRS};

/// A window with more grams than this would fill the bitmap.
pub(crate) const RARER_GRAMS_MAX: u32 = 5000;
/// By how much it must be rarer as a word.
const RARER: f32 = 3.0;
/// Bytes of a word that vectors look at, and the one before.
const WORD_LEN: usize = PAIRS + 2;
/// A window is a word when it has no more grams than this.
const GRAMS_MAX: u32 = 64;
/// The same where at least two of the bytes are small letters, which classes don't tell apart.
const TELLING_GRAMS_MAX: u32 = 256;

/// True when the window is better looked for among words than among classes.
pub(super) fn is_rarer_as_word(path: &Path, models: &Models) -> bool {
    is_word(path)
        || grams_count(path) <= RARER_GRAMS_MAX
            && models.chance_by(Fold::Words, path.sets.get(..WORD_LEN).unwrap_or(&path.sets)) * RARER
                < models.chance_by(Fold::Classes, path.window())
}

/// True when the window has few grams.
pub(super) fn is_word(path: &Path) -> bool {
    let counts = gram_sets(path).map(|s| s.0.count_ones());
    let letters = |set: &ByteSet| (b'a'..=b'z').any(|b| set.has(b)) && !(b'g'..=b'z').all(|b| set.has(b));
    let telling = path.sets.iter().skip(1).take(4).filter(|set| letters(set)).count() >= 2;
    counts.iter().product::<u32>() <= if telling { TELLING_GRAMS_MAX } else { GRAMS_MAX }
}

/// How many grams the window has.
pub(crate) fn grams_count(path: &Path) -> u32 {
    gram_sets(path).map(|s| s.0.count_ones()).iter().product()
}

/// The symbols of bytes 1 to 4.
fn gram_sets(path: &Path) -> [SymbolSet; 4] {
    std::array::from_fn(|i| match path.sets.get(i + 1) {
        Some(set) => set.symbols(Fold::Words),
        None => SymbolSet(u64::MAX),
    })
}

/// Tells all that a window's bytes 1 to 4 can be.
pub(super) fn add_grams(path: &Path, mut add: impl FnMut(Gram)) {
    let sets = gram_sets(path);
    for a in bits(sets[0].0) {
        for b in bits(sets[1].0) {
            for c in bits(sets[2].0) {
                for d in bits(sets[3].0) {
                    add([a as u8, b as u8, c as u8, d as u8]);
                }
            }
        }
    }
}
