//! The reference: one byte after another.

use super::Symbols;
use crate::compile::symbol::{CLASSES, FOLD, kind_pair, pair_code};

pub(super) fn fold(before: u8, bytes: &[u8], symbols: &mut Symbols) {
    let all = || std::iter::once(&before).chain(bytes);
    for (table, list) in [(&FOLD, &mut symbols.words), (&CLASSES, &mut symbols.classes)] {
        for (symbol, byte) in list.iter_mut().zip(all()) {
            *symbol = table[usize::from(*byte)];
        }
    }
    pairs(symbols, 0);
}

/// The codes of pairs from one on. What is at the end of the text is paired with a zero, and never looked up.
pub(super) fn pairs(symbols: &mut Symbols, from: usize) {
    let Symbols { words, pairs, classes, kinds, .. } = symbols;
    for (code, pair) in pairs.iter_mut().zip(words.windows(2)).skip(from) {
        *code = pair_code(pair[0], pair[1]);
    }
    for (code, pair) in kinds.iter_mut().zip(classes.windows(2)).skip(from) {
        *code = kind_pair(pair[0], pair[1]);
    }
}
