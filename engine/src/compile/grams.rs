//! Words told apart: behind each gram, the windows that begin with it.
//!
//! A window is compared as a whole, 16 bytes at once: bytes that it has alone, or in both cases, by a mask; the other
//! positions by their sets, which few places come to.

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
    sets: Vec<(u8, ByteSet)>,
}

#[derive(Clone, Copy)]
struct Window {
    value: u128,
    mask: u128,
    target: Target,
    /// Bytes it needs, the one before included.
    len: u8,
    /// The other positions, in `sets`.
    sets: (u32, u32),
}

impl Words {
    /// Of these windows, whose grams are added to `grams`.
    pub(super) fn new(mut paths: Vec<(&Path, Target)>, grams: &mut Grams) -> Words {
        paths.sort_by_key(|(_, target)| (target.rule, target.run, target.offset));
        let mut sets = Vec::new();
        let windows: Vec<Window> =
            paths.iter().map(|(path, target)| Window::new(path, *target, &mut sets)).collect();
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
        let mut words =
            Words { of_gram: vec![0; GRAM_NUMBERS].into(), lists: vec![0, 0], windows: Vec::new(), sets };
        let mut known = std::collections::HashMap::new();
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
        let mut text = [0; PATH_LEN];
        let (first, rest) = text.split_at_mut(1);
        first.fill(before);
        let mut seen = u128::MAX;
        let mut len = PATH_LEN;
        match bytes.first_chunk::<{ PATH_LEN - 1 }>() {
            Some(bytes) => rest.copy_from_slice(bytes),
            None => {
                rest.iter_mut().zip(bytes).for_each(|(to, byte)| *to = *byte);
                len = 1 + bytes.len();
                seen >>= 8 * (PATH_LEN - len);
            }
        }
        let whole = u128::from_le_bytes(text);
        for window in windows {
            if (whole ^ window.value) & window.mask & seen == 0
                && !(ended && usize::from(window.len) > len)
                && self.has_others(window, &text[..len])
            {
                found(window.target);
            }
        }
    }

    /// True when the positions that no mask tells are as the window has them, as far as they are there.
    fn has_others(&self, window: &Window, text: &[u8]) -> bool {
        let sets = self.sets.get(window.sets.0 as usize..window.sets.1 as usize).unwrap_or_default();
        sets.iter().all(|(position, set)| text.get(usize::from(*position)).is_none_or(|byte| set.has(*byte)))
    }

    pub(super) fn memory_bytes(&self) -> usize {
        self.of_gram.len() * 2
            + self.windows.len() * size_of::<Window>()
            + self.sets.len() * size_of::<(u8, ByteSet)>()
    }
}

impl Window {
    fn new(path: &Path, target: Target, others: &mut Vec<(u8, ByteSet)>) -> Window {
        let from = others.len() as u32;
        let (mut value, mut mask) = ([0; PATH_LEN], [0; PATH_LEN]);
        for (position, set) in path.sets.iter().take(PATH_LEN).enumerate() {
            let Some(first) = set.bytes().next().filter(|_| *set != ByteSet::ALL) else { continue };
            // The capital comes first.
            let both = first.is_ascii_uppercase() && *set == ByteSet::of([first, first | 0x20]);
            if set.len() == 1 || both {
                mask[position] = if both { 0xDF } else { 0xFF };
                value[position] = first & mask[position];
            } else {
                others.push((position as u8, *set));
            }
        }
        Window {
            value: u128::from_le_bytes(value),
            mask: u128::from_le_bytes(mask),
            target,
            len: path.sets.len() as u8,
            sets: (from, others.len() as u32),
        }
    }
}
