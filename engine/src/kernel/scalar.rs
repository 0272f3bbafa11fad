//! The reference: one place after another.

use super::{Exact, Grams, Hit, PADDING, PAIRS, Symbols, WILD_PAIR, WINDOW_LEN, WORDS, pair};
use crate::compile::symbol::{CLASSES, FOLD, WILD};

/// The buckets that may be at a place.
#[inline]
pub(super) fn buckets(exact: &Exact, grams: &Grams, symbols: &Symbols, at: usize) -> u32 {
    let (Some(single), Some(pair), Some(class)) = (
        symbols.single.get(at..at + WINDOW_LEN),
        symbols.pair.get(at + 1..at + 1 + PAIRS),
        symbols.class.get(at..at + WINDOW_LEN),
    ) else {
        return 0;
    };
    let mut classes = !WORDS;
    for (table, symbol) in exact.classes.iter().zip(class) {
        classes &= table[usize::from(symbol & 63)];
        // Most places fall at the first few.
        if classes == 0 {
            break;
        }
    }
    if !grams.has([single[1], single[2], single[3], single[4]]) {
        return classes;
    }
    let mut words = WORDS & exact.before[usize::from(single[0] & 63)];
    for (table, symbol) in exact.pairs.iter().zip(pair) {
        words &= table[usize::from(symbol & 127)];
    }
    classes | words
}

pub(super) fn find(exact: &Exact, grams: &Grams, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
    for at in 0..windows {
        let buckets = buckets(exact, grams, symbols, at);
        if buckets != 0 {
            hits.push(Hit { at: at as u32, buckets });
        }
    }
}

/// Adds the symbols of `bytes` and the padding, and all pairs that are not there yet.
pub(super) fn fold(bytes: &[u8], symbols: &mut Symbols) {
    symbols.single.extend(bytes.iter().map(|b| FOLD[usize::from(*b)]));
    symbols.single.resize(symbols.single.len() + PADDING, WILD);
    let from = symbols.pair.len();
    let single = symbols.single.get(from..).unwrap_or_default();
    symbols.pair.extend(single.windows(2).map(|w| pair(w[0], w[1])));
    symbols.pair.push(WILD_PAIR);
    symbols.class.extend(bytes.iter().map(|b| CLASSES[usize::from(*b)]));
    symbols.class.resize(symbols.class.len() + PADDING, WILD);
}
