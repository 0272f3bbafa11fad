//! The reference: one place after another.

use super::{Exact, Grams, Hit, Symbols, WINDOW_LEN};

/// Which of these buckets may be at a place.
#[inline]
pub(super) fn buckets(exact: &Exact, symbols: &Symbols, at: usize, mut buckets: u32) -> u32 {
    for (table, symbol) in exact.iter().zip(symbols.classes.get(at..at + WINDOW_LEN).unwrap_or_default()) {
        buckets &= table[usize::from(symbol & 63)];
        // Most places fall at the first few.
        if buckets == 0 {
            break;
        }
    }
    buckets
}

/// Of up to 64 places from `at` on, a bit for each at which a word may begin.
#[inline]
pub(super) fn words(grams: &Grams, symbols: &Symbols, at: usize, places: usize) -> u64 {
    let Some(symbols) = symbols.words.get(at..at + places.min(64) + 4) else {
        return u64::MAX;
    };
    let places = (0u32..).zip(symbols.windows(5));
    places.fold(0, |words, (place, s)| words | grams.has(s[0], [s[1], s[2], s[3], s[4]]) << place)
}

pub(super) fn find(exact: &Exact, grams: &Grams, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
    for from in (0..windows).step_by(64) {
        let words = words(grams, symbols, from, windows - from);
        for at in from..windows.min(from + 64) {
            let hit = Hit {
                at: at as u32,
                buckets: buckets(exact, symbols, at, u32::MAX),
                word: words >> (at - from) & 1 == 1,
            };
            if hit.word || hit.buckets != 0 {
                hits.push(hit);
            }
        }
    }
}

pub(super) fn fold(table: &[u8; 256], bytes: &[u8], symbols: &mut Vec<u8>) {
    symbols.extend(bytes.iter().map(|b| table[usize::from(*b)]));
}
