//! All 32 buckets of four positions in one look-up of 16 bytes, two such look-ups at once; a step for each byte.
//!
//! ```text
//!   state:   position 0   1   2   3        the buckets that the positions so far let through
//!             all ──► │ ──► │ ──► │ ──►    each step moves one on, and keeps what the byte's row has
//! ```
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_and_si128, _mm_castsi128_ps, _mm_cmpeq_epi32, _mm_cvtsi64_si128, _mm_load_si128,
    _mm_loadu_si128, _mm_movemask_ps, _mm_setzero_si128, _mm256_adds_epu8, _mm256_alignr_epi8,
    _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_castsi128_si256, _mm256_castsi256_ps,
    _mm256_castsi256_si128, _mm256_cmpeq_epi8, _mm256_cmpeq_epi32, _mm256_cmpgt_epi8, _mm256_cmpgt_epi32,
    _mm256_cvtepu8_epi32, _mm256_extracti128_si256, _mm256_inserti128_si256, _mm256_loadu_si256,
    _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_storeu_si256, _mm256_unpackhi_epi32,
    _mm256_unpackhi_epi64, _mm256_xor_si256,
};

use super::rows::{Row, Tables};
use super::{BUCKETS_BEHIND, Masks, PADDING, PAIRS, Symbols, WINDOW_LEN};
use crate::compile::symbol::WORD_SYMBOLS;

const LANES: usize = 32;

pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("bmi2")
}

/// Tells of each 64 places those with buckets of words, and of classes.
pub(super) fn find(tables: &Tables, symbols: &Symbols, windows: usize, masks: &mut Masks) {
    let Symbols { words, pairs, classes, .. } = symbols;
    let len = words.len().min(pairs.len()).min(classes.len());
    assert!(len >= windows + PADDING && is_here(), "checked by the caller");
    // SAFETY: the instructions are there; places are below windows, so all reads stay below windows + PADDING.
    unsafe { find_vectors(tables, symbols, windows, masks) }
}

/// # Safety
/// The instructions are there, and all lists of symbols have `windows` + [`PADDING`] bytes.
#[target_feature(enable = "avx2,bmi2")]
unsafe fn find_vectors(tables: &Tables, symbols: &Symbols, windows: usize, masks: &mut Masks) {
    for from in (0..windows).step_by(2 * LANES) {
        // SAFETY: from < windows.
        unsafe {
            masks.words.push(words(tables, symbols, from));
            masks.classes.push(classes(tables, &symbols.classes, from));
        }
    }
}

/// Two rows side by side.
///
/// # Safety
/// The instructions are there.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
unsafe fn rows(low: &Row, high: &Row) -> __m256i {
    // SAFETY: Rows are 16 bytes, aligned to 16.
    let (low, high): (__m128i, __m128i) =
        unsafe { (_mm_load_si128(low.0.as_ptr().cast()), _mm_load_si128(high.0.as_ptr().cast())) };
    _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(low), high)
}

/// The next state, of both halves.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn step(state: __m256i, rows: __m256i) -> __m256i {
    _mm256_and_si256(_mm256_alignr_epi8::<12>(state, _mm256_set1_epi8(-1)), rows)
}

/// Of four states, what has come to the last position: of the low halves, and of the high ones.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn last_positions(s: [__m256i; 4]) -> __m256i {
    _mm256_unpackhi_epi64(_mm256_unpackhi_epi32(s[0], s[1]), _mm256_unpackhi_epi32(s[2], s[3]))
}

/// Of the 64 places from `from` on, a bit for each with some bucket of classes.
///
/// # Safety
/// The instructions are there, and `symbols` has [`PADDING`] bytes from `from` on.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
unsafe fn classes(tables: &Tables, symbols: &[u8], from: usize) -> u64 {
    const HALF: usize = WINDOW_LEN / 2;
    let symbols = &symbols[from..][..2 * LANES + WINDOW_LEN];
    // The low half of a state is of a window's first positions, the high half of its last.
    let row = |at: usize| {
        let [low, high] = [symbols[at], symbols[at + HALF]].map(|symbol| usize::from(symbol & 63));
        // SAFETY: the instructions are there.
        unsafe { rows(&tables.classes[low][0], &tables.classes[high][1]) }
    };
    // The two halves of the places are independent of each other.
    let mut states = [_mm256_set1_epi8(-1); 2];
    for n in 0..HALF - 1 {
        states = [step(states[0], row(n)), step(states[1], row(LANES + n))];
    }
    let mut found = 0u64;
    for first in (0..LANES).step_by(4) {
        let mut steps = [[states[0]; 4]; 2];
        let [low, high] = &mut steps;
        for (at, (low, high)) in (first + HALF - 1..).zip(low.iter_mut().zip(high)) {
            states = [step(states[0], row(at)), step(states[1], row(LANES + at))];
            (*low, *high) = (states[0], states[1]);
        }
        for (half, steps) in steps.into_iter().enumerate() {
            let whole = last_positions(steps);
            let both = _mm_and_si128(_mm256_castsi256_si128(whole), _mm256_extracti128_si256::<1>(whole));
            let none = _mm_cmpeq_epi32(both, _mm_setzero_si128());
            let some = !_mm_movemask_ps(_mm_castsi128_ps(none)) as u64 & 0xF;
            found |= some << (first + half * LANES);
        }
    }
    found
}

/// Of the 64 places from `from` on, a bit for each with some bucket of words.
///
/// # Safety
/// The instructions are there, and the lists have [`PADDING`] bytes from `from` on.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
unsafe fn words(tables: &Tables, symbols: &Symbols, from: usize) -> u64 {
    let half = |half: usize| &symbols.pairs[from + 1 + half * LANES..][..LANES + PAIRS - 1];
    let (low, high) = (half(0), half(1));
    let mut state = _mm256_set1_epi8(-1);
    let mut step = |n: usize| {
        let [low, high] = [low[n], high[n]].map(usize::from);
        // SAFETY: the instructions are there.
        state = step(state, unsafe { rows(&tables.pairs[low], &tables.pairs[high]) });
        state
    };
    for n in 0..PAIRS - 1 {
        step(n);
    }
    let any_before = _mm256_set1_epi32(!0 << BUCKETS_BEHIND);
    let word_symbols = _mm256_set1_epi32(WORD_SYMBOLS.into());
    let mut found = 0u64;
    for first in (0..LANES).step_by(4) {
        let s: [__m256i; 4] = std::array::from_fn(|n| step(first + n + PAIRS - 1));
        let whole = last_positions(s);
        let before = |half: usize| -> u32 {
            let bytes: Option<&[u8; 4]> = symbols.words[from + first + half * LANES..].first_chunk();
            bytes.map_or(0, |b| u32::from_le_bytes(*b))
        };
        let before = _mm_cvtsi64_si128((u64::from(before(1)) << 32 | u64::from(before(0))) as i64);
        let behind_word = _mm256_cmpgt_epi32(word_symbols, _mm256_cvtepu8_epi32(before));
        // All ones unless behind a word character.
        let free = _mm256_xor_si256(behind_word, _mm256_set1_epi8(-1));
        let whole = _mm256_and_si256(whole, _mm256_or_si256(free, any_before));
        let none = _mm256_cmpeq_epi32(whole, _mm256_setzero_si256());
        let some = !_mm256_movemask_ps(_mm256_castsi256_ps(none)) as u64;
        found |= (some & 0xF) << first | (some >> 4 & 0xF) << (first + LANES);
    }
    found
}

/// What the table has for each byte; 0 for those beyond it.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn look_up<const SIXTEENS: usize>(table: &[__m256i; SIXTEENS], bytes: __m256i) -> __m256i {
    let mut all = _mm256_setzero_si256();
    for (n, sixteen) in table.iter().enumerate() {
        // A byte of another sixteen gets its highest bit set, for which a shuffle gives 0.
        let other = _mm256_xor_si256(bytes, _mm256_set1_epi8((n << 4) as i8));
        let index = _mm256_adds_epu8(other, _mm256_set1_epi8(0x70));
        all = _mm256_or_si256(all, _mm256_shuffle_epi8(*sixteen, index));
    }
    all
}

/// A table for [`look_up`]: sixteen bytes twice over in each vector.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
fn sixteens<const SIXTEENS: usize>(table: &[u8]) -> [__m256i; SIXTEENS] {
    let (sixteens, _) = table.as_chunks::<16>();
    std::array::from_fn(|n| {
        // SAFETY: there are 16 bytes.
        let sixteen = unsafe { _mm_loadu_si128(sixteens[n].as_ptr().cast()) };
        _mm256_broadcastsi128_si256(sixteen)
    })
}

/// As the scalar one, but for what is less than a vector.
pub(super) fn fold(table: &[u8; 256], bytes: &[u8], symbols: &mut [u8]) -> usize {
    let whole = bytes.len() / LANES * LANES;
    assert!(symbols.len() >= whole && is_here(), "checked by the caller");
    // SAFETY: the instructions are there.
    unsafe { fold_vectors(table, &bytes[..whole], symbols) };
    whole
}

/// All bytes from 0x80 on have one symbol.
///
/// # Safety
/// The instructions are there.
#[target_feature(enable = "avx2,bmi2")]
unsafe fn fold_vectors(table: &[u8; 256], bytes: &[u8], symbols: &mut [u8]) {
    let ascii = sixteens::<8>(table);
    let beyond = _mm256_set1_epi8(table[0x80] as i8);
    for (bytes, symbols) in bytes.chunks_exact(LANES).zip(symbols.chunks_exact_mut(LANES)) {
        // SAFETY: both are of 32 bytes.
        unsafe {
            let bytes = _mm256_loadu_si256(bytes.as_ptr().cast());
            let is_beyond = _mm256_cmpgt_epi8(_mm256_setzero_si256(), bytes);
            let folded = _mm256_or_si256(look_up(&ascii, bytes), _mm256_and_si256(is_beyond, beyond));
            _mm256_storeu_si256(symbols.as_mut_ptr().cast(), folded);
        }
    }
}

/// As the scalar one; both lists have [`PADDING`] bytes past `len`, of which some are written.
pub(super) fn pair(parts: &[[u8; 64]; 2], symbols: &[u8], pairs: &mut [u8], len: usize) {
    assert!(symbols.len().min(pairs.len()) >= len + PADDING && is_here(), "checked by the caller");
    // SAFETY: the instructions are there, and so are the bytes.
    unsafe { pair_vectors(parts, symbols, pairs, len) }
}

/// # Safety
/// The instructions are there, and both lists have [`LANES`] + 1 bytes past `len`.
#[target_feature(enable = "avx2,bmi2")]
unsafe fn pair_vectors(parts: &[[u8; 64]; 2], symbols: &[u8], pairs: &mut [u8], len: usize) {
    let (first_part, second_part) = (sixteens::<4>(&parts[0]), sixteens::<4>(&parts[1]));
    for from in (0..len).step_by(LANES) {
        // SAFETY: from + 1 + 32 <= len + 1 + LANES.
        unsafe {
            let first = _mm256_loadu_si256(symbols.as_ptr().add(from).cast());
            let second = _mm256_loadu_si256(symbols.as_ptr().add(from + 1).cast());
            let code = _mm256_xor_si256(look_up(&first_part, first), look_up(&second_part, second));
            _mm256_storeu_si256(pairs.as_mut_ptr().add(from).cast(), code);
        }
    }
}

/// Marks the anchors of whole vectors; of how many bytes.
pub(super) fn mark_anchors(bytes: &[u8], marks: &mut Vec<u64>) -> usize {
    assert!(is_here(), "checked by the caller");
    let (both, _) = bytes.as_chunks::<{ 2 * LANES }>();
    // SAFETY: the instructions are there.
    marks.extend(both.iter().map(|bytes| unsafe { anchors(bytes) }));
    both.len() * 2 * LANES
}

#[inline]
#[target_feature(enable = "avx2,bmi2")]
unsafe fn anchors(bytes: &[u8; 2 * LANES]) -> u64 {
    let [low, high] = [0, LANES].map(|from| {
        // SAFETY: there are 64 bytes.
        let bytes = unsafe { _mm256_loadu_si256(bytes.as_ptr().add(from).cast()) };
        let is = |anchor: u8| _mm256_cmpeq_epi8(bytes, _mm256_set1_epi8(anchor as i8));
        let [a, b] = super::scalar::ANCHORS.map(is);
        u64::from(_mm256_movemask_epi8(_mm256_or_si256(a, b)) as u32)
    });
    high << LANES | low
}
