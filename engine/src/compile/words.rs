//! Windows that begin with one of few words, by their first bytes.
//!
//! The symbols of a window's bytes 1 to 4 are a *gram*. A table by the gram's hash gives the windows that may be
//! there; each is a sequence of up to sixteen byte sets, of which there are few different ones, so that a byte's
//! membership in all of them is a row of bits.

use std::collections::HashMap;

use super::path::{PATH_LEN, Path};
use super::prefilter::Target;
use super::symbol::{ByteSet, FOLD, Fold, SymbolSet, WILD, bits};
use crate::kernel::Gram;

/// A window is a word when it has no more grams than this.
const GRAMS_MAX: u32 = 64;
/// The same where at least two of the bytes are small letters, which classes don't tell apart.
const TELLING_GRAMS_MAX: u32 = 256;
/// Bits of a gram's hash.
const HASH_BITS: u32 = 16;
/// Number of the set of all bytes, which ends a window's check.
const ALL: u16 = 0;

struct Window {
    /// The eight bytes behind the first, as far as each is one or one letter's two cases.
    literal: u64,
    /// The bits of them that count.
    mask: u64,
    /// Numbers of its sets; [`ALL`] from its end on.
    sets: [u16; PATH_LEN],
    target: Target,
}

/// All windows that are words.
pub(super) struct Words {
    /// By hash: where its list begins; 0 is none.
    heads: Vec<u32>,
    /// Lists, each its length and then indices of windows.
    lists: Vec<u32>,
    windows: Vec<Window>,
    /// By byte: a bit for each set that has it.
    members: Vec<u64>,
    row: usize,
}

impl Words {
    pub(super) fn new(mut all: Vec<(Path, Target)>) -> Words {
        // Targets of one rule stand together, so that they are seen as one.
        all.sort_by_key(|(_, target)| (target.rule, target.run, target.offset));
        let mut numbers: HashMap<ByteSet, u16> = HashMap::from([(ByteSet::ALL, ALL)]);
        let mut lists: Vec<Vec<u32>> = vec![Vec::new(); 1 << HASH_BITS];
        let mut windows = Vec::with_capacity(all.len());
        for (path, target) in all {
            let index = windows.len() as u32;
            add_grams(&path, |gram| {
                let list = lists.get_mut(hash(gram));
                if let Some(list) = list.filter(|l| l.last() != Some(&index)) {
                    list.push(index);
                }
            });
            let mut sets = [ALL; PATH_LEN];
            for (number, set) in sets.iter_mut().zip(&path.sets) {
                let next = numbers.len() as u16;
                *number = *numbers.entry(*set).or_insert(next);
            }
            let (literal, mask) = literal(&path);
            windows.push(Window { literal, mask, sets, target });
        }
        let row = numbers.len().div_ceil(64);
        let mut members = vec![0u64; 256 * row];
        for (set, number) in &numbers {
            for byte in (0..=255u8).filter(|b| set.has(*b)) {
                members[usize::from(byte) * row + usize::from(number / 64)] |= 1 << (number % 64);
            }
        }
        let (heads, lists) = packed(lists);
        Words { heads, lists, windows, members, row }
    }

    /// Adds the targets of windows that are `before`, `bytes`, and then what follows ([`WILD`] or the end).
    #[inline]
    pub(super) fn find(&self, before: u8, bytes: &[u8], then: u8, found: &mut Vec<Target>) {
        let symbol = |i: usize| bytes.get(i).map_or(then, |b| FOLD[usize::from(*b)]);
        let head = self.heads[hash(std::array::from_fn(symbol))] as usize;
        let Some((len, list)) = self.lists.get(head..).and_then(<[u32]>::split_first) else {
            return;
        };
        let first = bytes.first_chunk().map(|b| u64::from_le_bytes(*b));
        for window in list.iter().take(*len as usize).filter_map(|w| self.windows.get(*w as usize)) {
            if first.is_none_or(|first| first & window.mask == window.literal)
                && self.is_there(window, before, bytes)
            {
                found.push(window.target);
            }
        }
    }

    #[inline]
    fn is_there(&self, window: &Window, before: u8, bytes: &[u8]) -> bool {
        let mut sets = window.sets.iter();
        let has = |set: u16, byte: u8| {
            let word = self.members[usize::from(byte) * self.row + usize::from(set / 64)];
            word >> (set % 64) & 1 == 1
        };
        sets.next().is_some_and(|set| has(*set, before))
            && sets.zip(bytes).all(|(set, byte)| has(*set, *byte))
    }

    pub(super) fn len(&self) -> usize {
        self.windows.len()
    }

    pub(super) fn memory_bytes(&self) -> usize {
        (self.heads.len() + self.lists.len()) * 4
            + self.windows.len() * size_of::<Window>()
            + self.members.len() * 8
    }
}

/// What is known of a window's bytes 1 to 8: the bits that count, and which.
fn literal(path: &Path) -> (u64, u64) {
    let (mut literal, mut mask) = ([0; 8], [0; 8]);
    for (i, set) in path.sets.iter().skip(1).take(8).enumerate() {
        let mut members = (0..=255u8).filter(|b| set.has(*b));
        (literal[i], mask[i]) = match (members.next(), members.next(), members.next()) {
            (Some(one), None, None) => (one, 0xFF),
            (Some(upper), Some(lower), None) if upper | 0x20 == lower => (upper, 0xDF),
            _ => (0, 0),
        };
    }
    (u64::from_le_bytes(literal), u64::from_le_bytes(mask))
}

#[inline]
fn hash(gram: Gram) -> usize {
    (u32::from_le_bytes(gram).wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize
}

/// Lists one after another, equal ones once.
fn packed(lists: Vec<Vec<u32>>) -> (Vec<u32>, Vec<u32>) {
    let mut known: HashMap<Vec<u32>, u32> = HashMap::from([(Vec::new(), 0)]);
    let mut packed = vec![0];
    let heads = lists.into_iter().map(|list| {
        *known.entry(list).or_insert_with_key(|list| {
            let head = packed.len() as u32;
            packed.push(list.len() as u32);
            packed.extend(list);
            head
        })
    });
    let heads = heads.collect();
    (heads, packed)
}

/// True when the window has few grams.
pub(super) fn is_word(path: &Path) -> bool {
    let counts = gram_sets(path).map(|s| s.0.count_ones());
    let letters = |set: &ByteSet| (b'a'..=b'z').any(|b| set.has(b)) && !(b'g'..=b'z').all(|b| set.has(b));
    let telling = path.sets.iter().skip(1).take(4).filter(|set| letters(set)).count() >= 2;
    counts.iter().product::<u32>() <= if telling { TELLING_GRAMS_MAX } else { GRAMS_MAX }
}

/// The symbols of bytes 1 to 4.
fn gram_sets(path: &Path) -> [SymbolSet; 4] {
    std::array::from_fn(|i| match path.sets.get(i + 1) {
        Some(set) => set.symbols(Fold::Words),
        None => SymbolSet(u64::MAX),
    })
}

/// Tells all that a window's bytes 1 to 4 can be, cut short by what has not come as well.
pub(super) fn add_grams(path: &Path, mut add: impl FnMut(Gram)) {
    let sets = gram_sets(path);
    for known in 0..=4 {
        let set = |i: usize| if i < known { sets[i].0 } else { 1 << WILD };
        for a in bits(set(0)) {
            for b in bits(set(1)) {
                for c in bits(set(2)) {
                    for d in bits(set(3)) {
                        add([a as u8, b as u8, c as u8, d as u8]);
                    }
                }
            }
        }
    }
}
