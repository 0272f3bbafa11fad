//! The reference: one byte after another.

use super::Symbols;
use crate::compile::symbol::{CLASSES, FOLD, kind_pair, pair_code};

pub(super) fn fold(before: u8, bytes: &[u8], symbols: &mut Symbols) {
    let Symbols { words, pairs, classes, kinds, .. } = symbols;
    let mut last = (FOLD[usize::from(before)], CLASSES[usize::from(before)]);
    let mut lists = pairs.iter_mut().zip(kinds.iter_mut()).zip(words.iter_mut().zip(classes.iter_mut()));
    // The bytes are asked first: where they end, no place is taken from the lists.
    for (byte, ((pair, kind), (word, class))) in bytes.iter().zip(lists.by_ref()) {
        let next = (FOLD[usize::from(*byte)], CLASSES[usize::from(*byte)]);
        (*word, *class) = last;
        (*pair, *kind) = (pair_code(last.0, next.0), kind_pair(last.1, next.1));
        last = next;
    }
    // The last byte has no next one: its pairs are never looked up.
    if let Some((_, (word, class))) = lists.next() {
        (*word, *class) = last;
    }
}
