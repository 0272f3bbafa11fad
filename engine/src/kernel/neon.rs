//! Steps over the rows of [`super::rows`], in two runs: one over the first half of the places, one over the second.
//!
//! ```text
//!   state:   position 0   1   2   3 │ 4   5   6   7        the buckets that the positions so far let through
//!             all ──► │ ──► │ ──► │ ──► │ ──► │ ──►        each step moves one on, and keeps what the byte's row has
//! ```
//! A step waits for the one before it, but not for the other run's, nor words for classes. A place takes 4 instructions
//! for words, 8 for classes, and 5 that gather sixteen places' bits.
//!
//! # Rejected
//! Bytes of buckets by `tbl`, as with AVX-512: a place takes 6 of them in 64 bytes, 2 for classes and 4 for words, whose
//! codes have 8 bits. That is about as many instructions, but each such `tbl` is as dear as 2 to 4 others. Runs that take
//! turns at each step: more states at once than there are registers. Halves of each 64 places, as with AVX2: the first ten
//! steps of a half give no place.
#![allow(unsafe_code)]

use std::arch::aarch64::{
    uint8x16_t, uint8x16x4_t, uint16x8_t, uint32x4_t, vandq_u8, vandq_u32, vbicq_u8, vcltq_u8, vdupq_n_u8,
    vdupq_n_u32, veorq_u8, vextq_u32, vgetq_lane_u64, vld1q_u8, vld1q_u8_x4, vld1q_u32, vorrq_u8, vpaddq_u8,
    vqtbl4q_u8, vqtbx4q_u8, vreinterpretq_u8_u16, vreinterpretq_u16_u32, vreinterpretq_u32_u64,
    vreinterpretq_u64_u8, vreinterpretq_u64_u32, vst1q_u8, vtstq_u16, vtstq_u32, vuzp1q_u8, vuzp1q_u16,
    vuzp2q_u16, vzip2q_u32, vzip2q_u64,
};

use super::rows::{Row, Tables};
use super::{BUCKETS, BUCKETS_BEHIND, Masks, PADDING, PAIRS, Symbols, WINDOW_LEN};
use crate::compile::symbol::WORD_SYMBOLS;

const LANES: usize = 16;
/// A bit for each of eight places.
const WEIGHTS: [u8; LANES] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
/// Steps before the one that gives a run's first place.
const WORDS_AHEAD: usize = PAIRS - 1;
const CLASSES_AHEAD: usize = WINDOW_LEN - 1;

/// Buckets are told apart by the halves of a lane, which depends on the order of bytes.
pub(super) fn is_here() -> bool {
    const { assert!(BUCKETS == 32 && BUCKETS_BEHIND == 16, "halves of a lane") };
    cfg!(target_endian = "little") && std::arch::is_aarch64_feature_detected!("neon")
}

/// Tells of each 64 places those with buckets of words, and of classes.
pub(super) fn find(tables: &Tables, symbols: &Symbols, windows: usize, masks: &mut Masks) {
    assert!(is_here(), "checked by the caller");
    // SAFETY: the instructions are there.
    unsafe { find_vectors(tables, symbols, windows, masks) }
}

#[target_feature(enable = "neon")]
fn find_vectors(tables: &Tables, symbols: &Symbols, windows: usize, masks: &mut Masks) {
    let Masks { words, classes } = masks;
    words.resize(windows.div_ceil(64), 0);
    classes.resize(windows.div_ceil(64), 0);
    // The second run ends less than two vectors past the windows.
    let half = windows.div_ceil(2).next_multiple_of(LANES);
    let mut runs = [Run::new(tables, symbols, 0), Run::new(tables, symbols, half)];
    for first in (0..half).step_by(LANES) {
        let mut found = [[vdupq_n_u8(0); 2]; 2];
        for ((run, found), at) in runs.iter_mut().zip(&mut found).zip([first, half + first]) {
            *found = run.next(tables, symbols, at);
        }
        let found = bits(found);
        for (at, [word_bits, class_bits]) in [first, half + first].into_iter().zip(found) {
            words[at / 64] |= u64::from(word_bits) << (at % 64);
            classes[at / 64] |= u64::from(class_bits) << (at % 64);
        }
    }
}

/// What the positions so far let through.
struct Run {
    words: uint32x4_t,
    /// Of the first four positions, and of the last four.
    classes: [uint32x4_t; 2],
}

impl Run {
    /// One whose next step gives the place `at`.
    #[target_feature(enable = "neon")]
    fn new(tables: &Tables, symbols: &Symbols, at: usize) -> Run {
        let mut run = Run { words: vdupq_n_u32(!0), classes: [vdupq_n_u32(!0); 2] };
        for code in &symbols.pairs[at + 1..][..WORDS_AHEAD] {
            run.step_words(tables, *code);
        }
        for symbol in &symbols.classes[at..][..CLASSES_AHEAD] {
            run.step_classes(tables, *symbol);
        }
        run
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn step_words(&mut self, tables: &Tables, code: u8) -> uint32x4_t {
        self.words = step(vdupq_n_u32(!0), self.words, &tables.pairs[usize::from(code)]);
        self.words
    }

    #[inline]
    #[target_feature(enable = "neon")]
    fn step_classes(&mut self, tables: &Tables, symbol: u8) -> uint32x4_t {
        let rows = &tables.classes[usize::from(symbol & 63)];
        let [first, last] = self.classes;
        self.classes = [step(vdupq_n_u32(!0), first, &rows[0]), step(first, last, &rows[1])];
        self.classes[1]
    }

    /// Tells of the places from `at` on those with words, and with classes.
    #[inline]
    #[target_feature(enable = "neon")]
    fn next(&mut self, tables: &Tables, symbols: &Symbols, at: usize) -> [uint8x16_t; 2] {
        let codes = next_bytes(&symbols.pairs, at + 1 + WORDS_AHEAD);
        let ahead = next_bytes(&symbols.classes, at + CLASSES_AHEAD);
        let before = next_bytes(&symbols.words, at);
        let mut words = |from: usize| self.words(tables, &codes[from..]);
        let words = some_words([words(0), words(4), words(8), words(12)], before);
        let mut classes = |from: usize| self.classes(tables, &ahead[from..]);
        let classes = some([classes(0), classes(4), classes(8), classes(12)]);
        [words, classes]
    }

    /// The buckets of words at the next four places.
    #[inline]
    #[target_feature(enable = "neon")]
    fn words(&mut self, tables: &Tables, codes: &[u8]) -> uint32x4_t {
        last_positions(std::array::from_fn(|n| self.step_words(tables, codes[n])))
    }

    /// The same of classes.
    #[inline]
    #[target_feature(enable = "neon")]
    fn classes(&mut self, tables: &Tables, symbols: &[u8]) -> uint32x4_t {
        last_positions(std::array::from_fn(|n| self.step_classes(tables, symbols[n])))
    }
}

/// The next state: what comes in from the state before is its last position.
#[inline]
#[target_feature(enable = "neon")]
fn step(before: uint32x4_t, state: uint32x4_t, row: &Row) -> uint32x4_t {
    // SAFETY: a row is 16 bytes.
    let row = unsafe { vld1q_u32(row.0.as_ptr()) };
    vandq_u32(vextq_u32::<3>(before, state), row)
}

/// Of four states, what has come to the last position.
#[inline]
#[target_feature(enable = "neon")]
fn last_positions(s: [uint32x4_t; 4]) -> uint32x4_t {
    let (low, high) = (vzip2q_u32(s[0], s[1]), vzip2q_u32(s[2], s[3]));
    vreinterpretq_u32_u64(vzip2q_u64(vreinterpretq_u64_u32(low), vreinterpretq_u64_u32(high)))
}

/// The symbols or codes of the places from one on.
#[inline]
fn next_bytes(list: &[u8], from: usize) -> &[u8] {
    &list[from..][..LANES]
}

#[inline]
#[target_feature(enable = "neon")]
fn load(bytes: &[u8]) -> uint8x16_t {
    let bytes = &bytes[..LANES];
    // SAFETY: there are 16 bytes.
    unsafe { vld1q_u8(bytes.as_ptr()) }
}

/// The places with any bucket.
#[inline]
#[target_feature(enable = "neon")]
fn some([a, b, c, d]: [uint32x4_t; 4]) -> uint8x16_t {
    let low = vuzp1q_u16(some_lanes(a), some_lanes(b));
    let high = vuzp1q_u16(some_lanes(c), some_lanes(d));
    vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high))
}

#[inline]
#[target_feature(enable = "neon")]
fn some_lanes(lanes: uint32x4_t) -> uint16x8_t {
    vreinterpretq_u16_u32(vtstq_u32(lanes, lanes))
}

/// The places with any bucket of words that may be behind these symbols.
#[inline]
#[target_feature(enable = "neon")]
fn some_words([a, b, c, d]: [uint32x4_t; 4], before: &[u8]) -> uint8x16_t {
    let [a, b] = [vreinterpretq_u16_u32(a), vreinterpretq_u16_u32(b)];
    let [c, d] = [vreinterpretq_u16_u32(c), vreinterpretq_u16_u32(d)];
    // Low halves of lanes are of buckets that have no word character before them.
    let free = some_halves(vuzp1q_u16(a, b), vuzp1q_u16(c, d));
    let any = some_halves(vuzp2q_u16(a, b), vuzp2q_u16(c, d));
    let behind_word = vcltq_u8(load(before), vdupq_n_u8(WORD_SYMBOLS));
    vorrq_u8(any, vbicq_u8(free, behind_word))
}

#[inline]
#[target_feature(enable = "neon")]
fn some_halves(low: uint16x8_t, high: uint16x8_t) -> uint8x16_t {
    vuzp1q_u8(vreinterpretq_u8_u16(vtstq_u16(low, low)), vreinterpretq_u8_u16(vtstq_u16(high, high)))
}

/// A bit for each place, in the order of the arguments.
#[inline]
#[target_feature(enable = "neon")]
fn bits([[a, b], [c, d]]: [[uint8x16_t; 2]; 2]) -> [[u16; 2]; 2] {
    let weights = load(&WEIGHTS);
    let halves = vpaddq_u8(vandq_u8(a, weights), vandq_u8(b, weights));
    let more = vpaddq_u8(vandq_u8(c, weights), vandq_u8(d, weights));
    let quarters = vpaddq_u8(halves, more);
    let all = vgetq_lane_u64::<0>(vreinterpretq_u64_u8(vpaddq_u8(quarters, quarters)));
    [[all as u16, (all >> 16) as u16], [(all >> 32) as u16, (all >> 48) as u16]]
}

/// A table of 64 bytes.
#[inline]
#[target_feature(enable = "neon")]
fn load_table(table: &[u8; 64]) -> uint8x16x4_t {
    // SAFETY: there are 64 bytes.
    unsafe { vld1q_u8_x4(table.as_ptr()) }
}

/// As the scalar one, but for what is less than a vector. All bytes from 0x80 on have one symbol.
pub(super) fn fold(table: &[u8; 256], bytes: &[u8], symbols: &mut [u8]) -> usize {
    assert!(is_here(), "checked by the caller");
    // SAFETY: the instructions are there.
    unsafe { fold_vectors(table, bytes, symbols) }
}

#[target_feature(enable = "neon")]
fn fold_vectors(table: &[u8; 256], bytes: &[u8], symbols: &mut [u8]) -> usize {
    let (quarters, _) = table.as_chunks::<64>();
    let (low, high) = (load_table(&quarters[0]), load_table(&quarters[1]));
    let beyond = vdupq_n_u8(table[0x80]);
    let (bytes, _) = bytes.as_chunks::<LANES>();
    let (symbols, _) = symbols.as_chunks_mut::<LANES>();
    assert!(symbols.len() >= bytes.len(), "checked by the caller");
    for (bytes, symbols) in bytes.iter().zip(symbols) {
        let bytes = load(bytes);
        // What is not in a table's 64 stays as it is.
        let folded = vqtbx4q_u8(beyond, low, bytes);
        let folded = vqtbx4q_u8(folded, high, veorq_u8(bytes, vdupq_n_u8(64)));
        // SAFETY: there are 16 bytes.
        unsafe { vst1q_u8(symbols.as_mut_ptr(), folded) };
    }
    bytes.len() * LANES
}

/// As the scalar one; both lists have [`PADDING`] bytes past `len`, of which some are written.
pub(super) fn pair(parts: &[[u8; 64]; 2], symbols: &[u8], pairs: &mut [u8], len: usize) {
    assert!(symbols.len().min(pairs.len()) >= len + PADDING && is_here(), "checked by the caller");
    // SAFETY: the instructions are there, and so are the bytes.
    unsafe { pair_vectors(parts, symbols, pairs, len) }
}

/// # Safety
/// Both lists have [`LANES`] + 1 bytes past `len`.
#[target_feature(enable = "neon")]
unsafe fn pair_vectors(parts: &[[u8; 64]; 2], symbols: &[u8], pairs: &mut [u8], len: usize) {
    let (first_part, second_part) = (load_table(&parts[0]), load_table(&parts[1]));
    for from in (0..len).step_by(LANES) {
        // SAFETY: from + 1 + 16 <= len + 1 + LANES.
        unsafe {
            let first = vqtbl4q_u8(first_part, vld1q_u8(symbols.as_ptr().add(from)));
            let second = vqtbl4q_u8(second_part, vld1q_u8(symbols.as_ptr().add(from + 1)));
            vst1q_u8(pairs.as_mut_ptr().add(from), veorq_u8(first, second));
        }
    }
}
