//! Bytes folded to the 64 symbols that the prefilter's tables tell apart, and how likely each is in traffic.
//!
//! There are two ways to fold. For *words* a letter's two cases are one symbol; for *classes* capitals are told apart
//! and small letters are not. In both, all bytes from 0x80 on are one symbol, and so is the punctuation that secrets
//! seldom have. Two words' symbols one after the other have a *pair code* of 8 bits, and two classes' symbols the pair
//! of their *kinds*. The confirming stages see the bytes themselves.
//!
//! `bigrams.bin` holds what a mix of LLM streams, traces, logs, source code, minified code, base64 and identifiers
//! says of pairs of symbols, for either way: 64 bytes of `-8 · log2 p(a)`, then 64 rows of `-8 · log2 p(b | a)`. It
//! steers which windows are looked at and how they are put into buckets; what is found does not depend on it.

use std::collections::HashSet;

/// Symbols below this are of `\w`, the others are not.
pub(crate) const WORD_SYMBOLS: u8 = 37;

/// What stands before the first byte of a text: look-behind takes it for the start of a line.
pub(crate) const BEFORE_TEXT: u8 = b'\n';

/// By byte: its symbol.
pub(crate) const FOLD: [u8; 256] = fold_table();

const fn fold_table() -> [u8; 256] {
    let mut table = [38u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        if b >= 0x80 {
            table[byte] = 39;
        } else if b.is_ascii_alphabetic() {
            table[byte] = b.to_ascii_lowercase() - b'a';
        } else if b.is_ascii_digit() {
            table[byte] = 26 + b - b'0';
        } else if b == b' ' {
            table[byte] = 45;
        } else if b == b'\n' {
            table[byte] = 37;
        } else if b.is_ascii_control() {
            table[byte] = 38;
        }
        byte += 1;
    }
    table = with_own(table, b"\"'()-_./:=+@$%&,;<>{}\\", 40);
    // The symbols of word characters come first.
    table[b'_' as usize] = WORD_SYMBOLS - 1;
    table
}

/// By byte: its symbol among the classes.
pub(crate) const CLASSES: [u8; 256] = class_table();

const fn class_table() -> [u8; 256] {
    let mut table = [61u8; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = match b {
            b'0'..=b'9' => b - b'0',
            b'A'..=b'Z' => 10 + b - b'A',
            b'a'..=b'f' => 36,
            b'x' => 37,
            b'g'..=b'w' | b'y' | b'z' => 38,
            b' ' => 39,
            b'\n' => 40,
            0..=31 | 127 => 41,
            128.. => 42,
            b'<' | b'>' => 57,
            b'{' | b'}' | b'[' | b']' => 58,
            b'\\' => 59,
            b'&' | b'%' | b'$' | b'#' => 60,
            _ => 61,
        };
        byte += 1;
    }
    with_own(table, b"\"'()-_./:=+@,;", 43)
}

/// Gives each of `bytes` a symbol of its own, from `first` on.
const fn with_own(mut table: [u8; 256], bytes: &[u8], first: u8) -> [u8; 256] {
    let mut n = 0;
    while n < bytes.len() {
        table[bytes[n] as usize] = first + n as u8;
        n += 1;
    }
    table
}

/// The pair code of two words' symbols: four symbols in a row are told by three codes nearly as well as by themselves.
pub(crate) const fn pair_code(first: u8, second: u8) -> u8 {
    // Odd factors: with either symbol given, the other decides.
    first.wrapping_mul(37) ^ second.wrapping_mul(101).rotate_left(3)
}

/// By symbol: its part of a pair code as the first, and as the second.
pub(crate) const PAIR_PARTS: [[u8; 64]; 2] = {
    let mut parts = [[0; 64]; 2];
    let mut symbol = 0;
    while symbol < 64 {
        parts[0][symbol] = pair_code(symbol as u8, 0);
        parts[1][symbol] = pair_code(0, symbol as u8);
        symbol += 1;
    }
    parts
};

/// The sixteen kinds of classes' symbols.
pub(crate) const KINDS: [u8; 64] = kind_table();

const fn kind_table() -> [u8; 64] {
    let mut table = [15u8; 64];
    let mut byte = 0;
    while byte < 256 {
        table[CLASSES[byte] as usize] = match byte as u8 {
            b'0'..=b'9' => 0,
            b'a'..=b'f' => 1,
            b'g'..=b'z' => 2,
            b'A'..=b'F' => 3,
            b'G'..=b'Z' => 4,
            b' ' => 5,
            b'-' => 6,
            b'.' => 7,
            b':' => 8,
            b'/' | b'+' => 9,
            b'_' => 10,
            b'"' | b'\'' | b'\\' => 11,
            b'=' | b',' | b';' => 12,
            b'(' | b')' | b'@' => 13,
            128.. => 14,
            _ => 15,
        };
        byte += 1;
    }
    table
}

/// The same as [`PAIR_PARTS`] of pairs of kinds.
pub(crate) const KIND_PARTS: [[u8; 64]; 2] = {
    let mut parts = [[0; 64]; 2];
    let mut symbol = 0;
    while symbol < 64 {
        parts[0][symbol] = kind_pair(symbol as u8, 0) & 0xF0;
        parts[1][symbol] = kind_pair(0, symbol as u8) & 0x0F;
        symbol += 1;
    }
    parts
};

/// The kinds of two classes' symbols.
pub(crate) const fn kind_pair(first: u8, second: u8) -> u8 {
    KINDS[(first & 63) as usize] << 4 | KINDS[(second & 63) as usize]
}

/// By byte its class, and a byte of each class: bytes that are in the same of the sets share one. Classes are numbered
/// in the order of their first bytes.
pub(super) fn byte_classes(sets: impl IntoIterator<Item = ByteSet>) -> (Box<[u8; 256]>, Vec<u8>) {
    let mut members = vec![ByteSet::ALL];
    let sets: HashSet<ByteSet> = sets.into_iter().collect();
    for set in sets {
        // A class that the set cuts becomes two.
        for old in 0..members.len() {
            let (inside, outside) = (members[old].common(&set), members[old].without(&set));
            if inside != ByteSet::EMPTY && outside != ByteSet::EMPTY {
                members[old] = inside;
                members.push(outside);
            }
        }
    }
    members.sort_unstable_by_key(|set| set.bytes().next());
    let mut class = Box::new([0u8; 256]);
    for (n, set) in members.iter().enumerate() {
        set.bytes().for_each(|byte| class[usize::from(byte)] = n as u8);
    }
    (class, members.iter().filter_map(|set| set.bytes().next()).collect())
}

/// A way to fold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    Words,
    Classes,
}

/// A set of symbols, a bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SymbolSet(pub(crate) u64);

/// A set of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ByteSet(pub(crate) [u64; 4]);

impl ByteSet {
    pub(crate) const EMPTY: ByteSet = ByteSet([0; 4]);
    pub(crate) const ALL: ByteSet = ByteSet([u64::MAX; 4]);

    pub(crate) fn add(&mut self, byte: u8) {
        self.0[usize::from(byte >> 6)] |= 1 << (byte & 63);
    }

    pub(crate) fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte >> 6)] >> (byte & 63) & 1 == 1
    }

    pub(crate) fn union(&self, other: &ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|i| self.0[i] | other.0[i]))
    }

    pub(crate) fn common(&self, other: &ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|i| self.0[i] & other.0[i]))
    }

    pub(crate) fn without(&self, other: &ByteSet) -> ByteSet {
        ByteSet(std::array::from_fn(|i| self.0[i] & !other.0[i]))
    }

    pub(crate) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Its bytes, in order.
    pub(crate) fn bytes(&self) -> impl Iterator<Item = u8> + use<> {
        let words = (0u16..).step_by(64).zip(self.0);
        words.flat_map(|(first, word)| bits(word).map(move |bit| (first + bit as u16) as u8))
    }

    pub(crate) fn of(bytes: impl IntoIterator<Item = u8>) -> ByteSet {
        let mut set = ByteSet::EMPTY;
        bytes.into_iter().for_each(|b| set.add(b));
        set
    }

    pub(crate) fn symbols(&self, fold: Fold) -> SymbolSet {
        let table = match fold {
            Fold::Words => &FOLD,
            Fold::Classes => &CLASSES,
        };
        let words = (0..).step_by(64).zip(self.0);
        let bytes = words.flat_map(|(first, word): (usize, u64)| bits(word).map(move |bit| first + bit));
        SymbolSet(bytes.fold(0, |s, b| s | 1 << table[b & 255]))
    }
}

/// How likely symbols are, alone and after each other.
pub(crate) struct Model {
    alone: [f32; 64],
    after: Box<[[f32; 64]; 64]>,
}

impl Model {
    pub(crate) fn new(fold: Fold) -> Model {
        const COSTS: &[u8; 2 * 64 * 65] = include_bytes!("bigrams.bin");
        let costs = match fold {
            Fold::Words => &COSTS[..64 * 65],
            Fold::Classes => &COSTS[64 * 65..],
        };
        let p = |cost: u8| if cost == u8::MAX { 0.0 } else { (-f32::from(cost) / 8.0).exp2() };
        let alone = std::array::from_fn(|a| p(costs[a]));
        let mut after = Box::new([[0.0; 64]; 64]);
        for (a, row) in after.iter_mut().enumerate() {
            *row = std::array::from_fn(|b| p(costs[64 + 64 * a + b]));
        }
        Model { alone, after }
    }

    /// The chance of a symbol of the set.
    pub(crate) fn alone(&self, set: SymbolSet) -> f32 {
        bits(set.0).map(|a| self.alone[a]).sum()
    }

    /// By symbol: the chance that a text has it at a place, and it is of the set.
    pub(crate) fn first(&self, set: SymbolSet) -> [f32; 64] {
        std::array::from_fn(|a| if set.0 >> a & 1 == 1 { self.alone[a] } else { 0.0 })
    }

    /// The same for the next place.
    pub(crate) fn next(&self, chances: &[f32; 64], set: SymbolSet) -> [f32; 64] {
        let mut next = [0.0; 64];
        let rows = chances.iter().zip(self.after.iter()).filter(|(c, _)| **c > 0.0);
        if set.0.count_ones() < 12 {
            for (chance, row) in rows {
                bits(set.0).for_each(|b| next[b] += chance * row[b]);
            }
            return next;
        }
        for (chance, row) in rows {
            next.iter_mut().zip(row).for_each(|(sum, after)| *sum += chance * after);
        }
        for (symbol, sum) in next.iter_mut().enumerate() {
            *sum *= f32::from((set.0 >> symbol & 1) as u8);
        }
        next
    }

    /// The chance that a place of usual traffic has these symbols.
    pub(crate) fn chance(&self, sets: impl IntoIterator<Item = SymbolSet>) -> f32 {
        let mut sets = sets.into_iter();
        let Some(first) = sets.next() else { return 1.0 };
        sets.fold(self.first(first), |chances, set| self.next(&chances, set)).iter().sum()
    }
}

/// How likely bytes are, by either way of folding.
pub(crate) struct Models {
    pub(crate) words: Model,
    pub(crate) classes: Model,
}

/// How likely a place is to have the bytes of a path so far, by its last symbol and way of folding.
#[derive(Clone)]
pub(crate) struct Chances {
    words: [f32; 64],
    classes: [f32; 64],
}

impl Models {
    pub(crate) fn new() -> Models {
        Models { words: Model::new(Fold::Words), classes: Model::new(Fold::Classes) }
    }

    pub(crate) fn first(&self, set: &ByteSet) -> Chances {
        Chances {
            words: self.words.first(set.symbols(Fold::Words)),
            classes: self.classes.first(set.symbols(Fold::Classes)),
        }
    }

    pub(crate) fn next(&self, chances: &Chances, set: &ByteSet) -> Chances {
        Chances {
            words: self.words.next(&chances.words, set.symbols(Fold::Words)),
            classes: self.classes.next(&chances.classes, set.symbols(Fold::Classes)),
        }
    }

    /// The chance that a place of usual traffic has these bytes.
    pub(crate) fn chance(&self, sets: &[ByteSet]) -> f32 {
        let Some((first, rest)) = sets.split_first() else { return 1.0 };
        rest.iter().fold(self.first(first), |chances, set| self.next(&chances, set)).sum()
    }

    /// The same by one way of folding alone.
    pub(crate) fn chance_by(&self, fold: Fold, sets: &[ByteSet]) -> f32 {
        let model = match fold {
            Fold::Words => &self.words,
            Fold::Classes => &self.classes,
        };
        model.chance(sets.iter().map(|set| set.symbols(fold)))
    }
}

impl Chances {
    /// Either way says too much where it can't tell bytes apart: the lower counts.
    pub(crate) fn sum(&self) -> f32 {
        self.words.iter().sum::<f32>().min(self.classes.iter().sum())
    }
}

/// The indices of the bits that are set.
pub(crate) fn bits(mut word: u64) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let bit = word.trailing_zeros() as usize;
        word &= word.wrapping_sub(1);
        (bit < 64).then_some(bit)
    })
}
