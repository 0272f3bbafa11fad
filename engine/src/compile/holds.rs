//! Windows that are cut by the end of what is there, of which a value may have begun.
//!
//! For each number of bytes that have come of a window there is a bit for each window: set where those bytes are as the
//! window has them. A byte moves all bits one on (Shift-And; Baeza-Yates and Gonnet, "A new approach to text searching",
//! CACM 35(10), 1992). Windows whose value begins further in than they can be cut are not among them.

use super::path::Path;
use super::prefilter::Target;
use super::symbol::{ByteSet, bits, byte_classes};
use super::window::WINDOW_LEN;

/// What may stand before a window, and up to all of its bytes but one.
pub(crate) const DEPTH: usize = WINDOW_LEN - 1;

/// The windows, and how they are told apart.
pub(crate) struct Holds {
    targets: Vec<Target>,
    /// Lists of 64 windows.
    words: usize,
    /// By byte: its class.
    pub(crate) class: Box<[u8; 256]>,
    pub(crate) classes: usize,
    /// By class, position and list: the windows that allow it.
    allowed: Vec<u64>,
    /// By bytes that have come and list: the windows whose value may have begun.
    begun: Vec<u64>,
    /// By bytes that have come: the lists that have such windows are the first ones.
    begun_words: [usize; DEPTH],
}

/// A window of which `have` bytes have come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) have: u8,
    pub(crate) target: Target,
}

impl Holds {
    pub(super) fn new<'a>(windows: impl Iterator<Item = (&'a Path, Target)>) -> Holds {
        let mut windows: Vec<(&Path, Target)> =
            windows.filter(|(_, target)| target.may_have_begun(DEPTH - 1)).collect();
        // Those whose value begins the earliest come first.
        let begins = |target: &Target| (1..DEPTH).find(|have| target.may_have_begun(*have));
        windows.sort_by_key(|(_, target)| (begins(target), target.rule, target.run, target.offset));
        let set_of = |path: &Path, position| path.sets.get(position).copied().unwrap_or(ByteSet::ALL);
        let sets = windows.iter().flat_map(|(path, _)| (0..DEPTH).map(|position| set_of(path, position)));
        let (class, examples) = byte_classes(sets);
        let (words, classes) = (windows.len().div_ceil(64), examples.len());
        let mut holds = Holds {
            targets: windows.iter().map(|(_, target)| *target).collect(),
            words,
            class,
            classes,
            allowed: vec![0; classes * DEPTH * words],
            begun: vec![0; DEPTH * words],
            begun_words: std::array::from_fn(|have| {
                windows.iter().filter(|(_, target)| target.may_have_begun(have)).count().div_ceil(64)
            }),
        };
        for (n, (path, target)) in windows.iter().enumerate() {
            let (word, bit) = (n / 64, 1 << (n % 64));
            for position in 0..DEPTH {
                let set = set_of(path, position);
                for (class, _) in examples.iter().enumerate().filter(|(_, byte)| set.has(**byte)) {
                    holds.allowed[(class * DEPTH + position) * words + word] |= bit;
                }
                if position > 0 && target.may_have_begun(position) {
                    holds.begun[position * words + word] |= bit;
                }
            }
        }
        holds
    }

    /// The length of what [`Holds::step`] works on: by bytes that have come, a bit for each window.
    pub(crate) fn len(&self) -> usize {
        DEPTH * self.words
    }

    /// Takes a byte of the class: all windows are one byte further, and those that begin after it begin.
    pub(crate) fn step(&self, cut: &mut [u64], class: usize) {
        let kept = self.len().saturating_sub(self.words);
        cut.copy_within(..kept, self.words);
        let allowed = self.allowed.get(class * self.len()..).unwrap_or_default();
        let (first, rest) = cut.split_at_mut(self.words);
        first.copy_from_slice(allowed.get(..self.words).unwrap_or_default());
        rest.iter_mut().zip(allowed.iter().skip(self.words)).for_each(|(cut, allowed)| *cut &= allowed);
    }

    /// Those whose value may have begun, the farthest first.
    pub(crate) fn begun(&self, cut: &[u64], mut found: impl FnMut(Cut)) {
        for have in (1..DEPTH).rev() {
            let of = have * self.words..(have + 1) * self.words;
            let begun = cut[of.clone()].iter().zip(&self.begun[of]).map(|(cut, begun)| cut & begun);
            self.cuts(have, begun, &mut found);
        }
    }

    /// The same after `bytes`, of which the first stands before the others, without a state: cheaper for once.
    pub(crate) fn begun_after(&self, bytes: &[u8], room: &mut Vec<u64>, mut found: impl FnMut(Cut)) {
        const { assert!(DEPTH == 7, "as many calls as there are depths") };
        self.begun_at::<7>(bytes, room, &mut found);
        self.begun_at::<6>(bytes, room, &mut found);
        self.begun_at::<5>(bytes, room, &mut found);
        self.begun_at::<4>(bytes, room, &mut found);
        self.begun_at::<3>(bytes, room, &mut found);
        self.begun_at::<2>(bytes, room, &mut found);
    }

    /// Those of which the last `BYTES` have come, the one before included.
    fn begun_at<const BYTES: usize>(&self, bytes: &[u8], room: &mut Vec<u64>, found: &mut impl FnMut(Cut)) {
        let Some(bytes) = bytes.last_chunk::<BYTES>() else { return };
        let have = BYTES - 1;
        let words = self.begun_words[have];
        let rows: [&[u64]; BYTES] = std::array::from_fn(|position| {
            let class = usize::from(self.class[usize::from(bytes[position])]);
            &self.allowed[(class * DEPTH + position) * self.words..][..words]
        });
        let begun = &self.begun[have * self.words..][..words];
        room.clear();
        room.resize(words, 0);
        for (word, cut) in room.iter_mut().enumerate() {
            *cut = rows.iter().fold(begun[word], |cut, row| cut & row[word]);
        }
        self.cuts(have, room.iter().copied(), found);
    }

    /// Tells windows of which so many bytes have come.
    fn cuts(&self, have: usize, windows: impl Iterator<Item = u64>, found: &mut impl FnMut(Cut)) {
        let mut last = None;
        for (word, windows) in windows.enumerate() {
            for bit in bits(windows) {
                let target = self.targets[word * 64 + bit];
                // One window may be there twice over, by several ways to write it.
                if last.replace(target) != Some(target) {
                    found(Cut { have: have as u8, target });
                }
            }
        }
    }

    pub(super) fn memory_bytes(&self) -> usize {
        (self.allowed.len() + self.begun.len()) * 8 + self.targets.len() * size_of::<Target>() + 256
    }
}
