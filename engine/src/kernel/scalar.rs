//! The reference: one place after another.

use super::{Hit, WINDOW_LEN};
use crate::compile::symbol::FOLD;

pub(super) fn buckets(exact: &[[u32; 64]; WINDOW_LEN], window: &[u8; WINDOW_LEN]) -> u32 {
    exact.iter().zip(window).fold(u32::MAX, |all, (table, symbol)| all & table[usize::from(symbol & 63)])
}

pub(super) fn find(exact: &[[u32; 64]; WINDOW_LEN], symbols: &[u8], windows: usize, hits: &mut Vec<Hit>) {
    let all = symbols.windows(WINDOW_LEN).take(windows);
    for (at, window) in (0u32..).zip(all) {
        // Most places fall at the first four symbols.
        let mut buckets = u32::MAX;
        for (table, symbol) in exact.iter().zip(window) {
            buckets &= table[usize::from(symbol & 63)];
            if buckets == 0 {
                break;
            }
        }
        if buckets != 0 {
            hits.push(Hit { at, buckets });
        }
    }
}

pub(super) fn fold(bytes: &[u8], symbols: &mut Vec<u8>) {
    symbols.extend(bytes.iter().map(|b| FOLD[usize::from(*b)]));
}
