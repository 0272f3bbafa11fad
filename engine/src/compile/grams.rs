//! Words told apart: behind each gram, the windows that begin with it.
//!
//! A window is compared as a whole, 16 bytes at once: bytes that it has alone, or in both cases, by a mask; the other
//! positions by their sets, which few places come to, all of them and without a branch: which one fails can't be foretold.
//!
//! # Rejected
//! Sets one after another, up to the first that fails: a third of what all words cost on source code.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::path::{PATH_LEN, Path};
use super::prefilter::Target;
use super::symbol::ByteSet;
use super::words::add_grams;
use crate::kernel::{GRAM_NUMBERS, GramNumber, Grams, NO_GRAM};

/// The windows of words.
pub(super) struct Words {
    /// By number of a gram: its list.
    of_gram: Box<[u16]>,
    /// Where each list begins in `windows`, and where the last one ends.
    lists: Vec<u32>,
    /// In the order of their targets within a list, so that those of one rule are seen as one.
    windows: Vec<Window>,
    /// For windows with positions that no mask tells.
    others: Vec<Row>,
    /// By byte: the sets that have it.
    sets_of: Box<[u64; 256]>,
    /// Sets that have no bit, and their positions.
    further: Vec<(u8, ByteSet)>,
}

/// Sets with a bit each: those that most positions have.
const SETS_MAX: usize = u64::BITS as usize;

/// What a window has where no mask tells it.
#[derive(Clone)]
struct Row {
    /// The set of each position, a bit each.
    needed: [u64; PATH_LEN],
    /// The others, in `further`.
    further: (u32, u32),
}
/// No entry of `others`.
const NO_OTHERS: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Window {
    value: u128,
    mask: u128,
    target: Target,
    /// Bytes it needs, the one before included.
    len: u8,
    /// The other positions, in `others`, or [`NO_OTHERS`].
    others: u32,
}

impl Words {
    /// Of these windows, whose grams are added to `grams`.
    pub(super) fn new(mut paths: Vec<(&Path, Target)>, grams: &mut Grams) -> Words {
        paths.sort_by_key(|(_, target)| (target.rule, target.run, target.offset));
        let mut others = Others::of(&paths);
        let windows: Vec<Window> =
            paths.iter().map(|(path, target)| Window::new(path, *target, &mut others)).collect();
        // By gram and window, each once.
        let mut pairs: Vec<u64> = Vec::new();
        for ((path, _), window) in paths.iter().zip(0u64..) {
            add_grams(path, |gram| {
                grams.add(gram);
                pairs.push(u64::from(Grams::number(gram)) << 32 | window);
            });
            if path.sets.len() <= 4 {
                // It may be there with too few bytes for a gram.
                pairs.push(u64::from(NO_GRAM) << 32 | window);
            }
        }
        pairs.sort_unstable();
        pairs.dedup();
        let mut words = Words {
            of_gram: vec![0; GRAM_NUMBERS].into(),
            lists: vec![0, 0],
            windows: Vec::new(),
            sets_of: others.sets_of(),
            others: others.rows,
            further: others.further,
        };
        let mut known = HashMap::new();
        for pairs in pairs.chunk_by(|a, b| a >> 32 == b >> 32) {
            let list: Vec<u32> = pairs.iter().map(|pair| *pair as u32).collect();
            let next = words.lists.len() as u16 - 1;
            let number = *known.entry(list).or_insert_with_key(|list| {
                words.windows.extend(list.iter().filter_map(|n| windows.get(*n as usize)));
                words.lists.push(words.windows.len() as u32);
                next
            });
            words.of_gram[(pairs[0] >> 32) as usize] = number;
        }
        words
    }

    /// The targets of which some window is `before` and `bytes`, which begin with the gram; where `ended`, the text ends
    /// with them, else windows may be cut.
    #[inline]
    pub(super) fn find(
        &self,
        gram: GramNumber,
        before: u8,
        bytes: &[u8],
        ended: bool,
        found: &mut impl FnMut(Target),
    ) {
        let list = usize::from(self.of_gram.get(gram as usize).copied().unwrap_or(0));
        let (Some(from), Some(to)) = (self.lists.get(list), self.lists.get(list + 1)) else { return };
        let windows = self.windows.get(*from as usize..*to as usize).unwrap_or_default();
        let (whole, len) = around(before, bytes);
        let seen = u128::MAX >> (8 * (PATH_LEN - len));
        for window in windows {
            if (whole ^ window.value) & window.mask & seen == 0
                && !(ended && usize::from(window.len) > len)
                && (window.others == NO_OTHERS || self.has_others(window.others, whole & seen, len))
            {
                found(window.target);
            }
        }
    }

    /// True when the positions that no mask tells are as the window has them, as far as they are there.
    #[inline]
    fn has_others(&self, others: u32, whole: u128, len: usize) -> bool {
        let Some(Row { needed, further }) = self.others.get(others as usize) else { return true };
        let text = whole.to_le_bytes();
        let places = needed.iter().zip(&text).take(len);
        let lacking = |(needed, byte): (&u64, &u8)| needed & !self.sets_of[usize::from(*byte)];
        if places.fold(0, |all, place| all | lacking(place)) != 0 {
            return false;
        }
        let further = self.further.get(further.0 as usize..further.1 as usize).unwrap_or_default();
        let text = text.get(..len).unwrap_or_default();
        further.iter().all(|(position, set)| text.get(usize::from(*position)).is_none_or(|b| set.has(*b)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.of_gram.len() * 2
            + self.windows.len() * size_of::<Window>()
            + self.others.len() * size_of::<Row>()
            + self.further.len() * size_of::<(u8, ByteSet)>()
            + size_of::<[u64; 256]>()
    }
}

/// A byte and those that follow it, as many as a window looks at, and how many are there.
#[inline]
fn around(before: u8, bytes: &[u8]) -> (u128, usize) {
    // In one load: bytes that were just written one by one can't be read back as a whole without a wait.
    if let Some(bytes) = bytes.first_chunk::<PATH_LEN>() {
        return (u128::from_le_bytes(*bytes) << 8 | u128::from(before), PATH_LEN);
    }
    let bytes = bytes.get(..PATH_LEN - 1).unwrap_or(bytes);
    let whole = bytes.iter().rev().fold(0, |all, byte| all << 8 | u128::from(*byte));
    (whole << 8 | u128::from(before), 1 + bytes.len())
}

/// The sets of positions that no mask tells, while windows are collected.
struct Others {
    /// Those that have a bit.
    sets: Vec<ByteSet>,
    rows: Vec<Row>,
    further: Vec<(u8, ByteSet)>,
}

impl Others {
    fn of(paths: &[(&Path, Target)]) -> Others {
        let mut counts: HashMap<ByteSet, usize> = HashMap::new();
        let sets = paths.iter().flat_map(|(path, _)| path.sets.iter().take(PATH_LEN));
        sets.filter(|set| is_other(set)).for_each(|set| *counts.entry(*set).or_default() += 1);
        let mut sets: Vec<(ByteSet, usize)> = counts.into_iter().collect();
        sets.sort_unstable_by_key(|(set, count)| (Reverse(*count), set.0));
        let sets = sets.into_iter().take(SETS_MAX).map(|(set, _)| set).collect();
        Others { sets, rows: Vec::new(), further: Vec::new() }
    }

    fn sets_of(&self) -> Box<[u64; 256]> {
        let mut sets_of = Box::new([0; 256]);
        for (number, set) in self.sets.iter().enumerate() {
            set.bytes().for_each(|byte| sets_of[usize::from(byte)] |= 1 << number);
        }
        sets_of
    }

    /// The number of the row of a window's positions; [`NO_OTHERS`] where a mask tells all of them.
    fn add(&mut self, path: &Path) -> u32 {
        let first = self.further.len() as u32;
        let mut needed = [0; PATH_LEN];
        let positions = path.sets.iter().zip(&mut needed).enumerate();
        for (position, (set, needed)) in positions.filter(|(_, (set, _))| is_other(set)) {
            match self.sets.iter().position(|known| known == set) {
                Some(number) => *needed = 1 << number,
                None => self.further.push((position as u8, *set)),
            }
        }
        let row = Row { needed, further: (first, self.further.len() as u32) };
        if needed == [0; PATH_LEN] && row.further.0 == row.further.1 {
            return NO_OTHERS;
        }
        self.rows.push(row);
        self.rows.len() as u32 - 1
    }
}

/// A byte, or one letter in both cases, and its mask.
fn masked(set: &ByteSet) -> Option<(u8, u8)> {
    // The capital comes first.
    let first = set.bytes().next()?;
    let both = first.is_ascii_uppercase() && *set == ByteSet::of([first, first | 0x20]);
    let mask = if both { 0xDF } else { 0xFF };
    (set.len() == 1 || both).then_some((first & mask, mask))
}

/// True when a position needs a look beyond the mask.
fn is_other(set: &ByteSet) -> bool {
    *set != ByteSet::ALL && *set != ByteSet::EMPTY && masked(set).is_none()
}

impl Window {
    fn new(path: &Path, target: Target, others: &mut Others) -> Window {
        let (mut value, mut mask) = ([0; PATH_LEN], [0; PATH_LEN]);
        for (position, set) in path.sets.iter().take(PATH_LEN).enumerate() {
            if let Some(byte) = masked(set) {
                (value[position], mask[position]) = byte;
            }
        }
        Window {
            value: u128::from_le_bytes(value),
            mask: u128::from_le_bytes(mask),
            target,
            len: path.sets.len() as u8,
            others: others.add(path),
        }
    }
}
