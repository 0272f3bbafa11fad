//! Classes: 32 places at once by `pshufb`, one sixteen of the symbols after another. Words: a place of each half of 64
//! at once, all 32 buckets of all positions in one look-up of 16 bytes.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m128i, __m256i, _mm_cvtsi64_si128, _mm_load_si128, _mm256_adds_epu8, _mm256_alignr_epi8,
    _mm256_and_si256, _mm256_castsi128_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi8, _mm256_cmpeq_epi32,
    _mm256_cmpgt_epi32, _mm256_cvtepu8_epi32, _mm256_inserti128_si256, _mm256_load_si256, _mm256_loadu_si256,
    _mm256_movemask_epi8, _mm256_movemask_ps, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_unpackhi_epi32, _mm256_unpackhi_epi64,
    _mm256_xor_si256,
};

use super::{BUCKETS_BEHIND, Exact, GROUPS, Masks, PADDING, PAIRS, Symbols, WINDOW_LEN};
use crate::compile::symbol::WORD_SYMBOLS;

const LANES: usize = 32;

#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Lanes([u8; LANES]);

/// Buckets by position.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Row([u32; PAIRS]);

pub(super) struct Tables {
    /// By pair code.
    pairs: [Row; 256],
    /// By position, group and sixteen symbols: the group's byte of buckets for each, twice over.
    classes: [[[Lanes; 4]; GROUPS]; WINDOW_LEN],
}

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        let mut tables = Box::new(Tables {
            pairs: [Row([0; PAIRS]); 256],
            classes: [[[Lanes([0; LANES]); 4]; GROUPS]; WINDOW_LEN],
        });
        for (code, row) in tables.pairs.iter_mut().enumerate() {
            row.0 = std::array::from_fn(|position| exact.pairs[position][code]);
        }
        for (groups, table) in tables.classes.iter_mut().zip(&exact.classes) {
            for (group, quarters) in groups.iter_mut().enumerate() {
                for (quarter, symbols) in quarters.iter_mut().zip(table.chunks_exact(16)) {
                    for (lane, buckets) in quarter.0.iter_mut().zip(symbols.iter().cycle()) {
                        *lane = buckets.to_le_bytes()[group];
                    }
                }
            }
        }
        tables
    }
}

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
        let (words, low, high) = unsafe {
            let classes = &symbols.classes;
            (
                words(tables, symbols, from),
                places(tables, classes, from),
                places(tables, classes, from + LANES),
            )
        };
        masks.words.push(words);
        masks.classes.push(u64::from(high) << LANES | u64::from(low));
    }
}

/// Of the 32 places from `from` on, a bit for each with some bucket of classes.
///
/// # Safety
/// The instructions are there, and `symbols` has 32 bytes and [`WINDOW_LEN`] from `from` on.
#[inline]
#[target_feature(enable = "avx2,bmi2")]
unsafe fn places(tables: &Tables, symbols: &[u8], from: usize) -> u32 {
    let mut groups = [_mm256_set1_epi8(-1); GROUPS];
    for (i, tables) in tables.classes.iter().enumerate() {
        // SAFETY: from + WINDOW_LEN + 32 <= symbols.len().
        let symbols: __m256i = unsafe { _mm256_loadu_si256(symbols.as_ptr().add(from + i).cast()) };
        // A symbol of another sixteen gets its highest bit set, for which a shuffle gives 0.
        let index: [__m256i; 4] = std::array::from_fn(|quarter| {
            let other = _mm256_xor_si256(symbols, _mm256_set1_epi8((quarter << 4) as i8));
            _mm256_adds_epu8(other, _mm256_set1_epi8(0x70))
        });
        for (group, quarters) in groups.iter_mut().zip(tables) {
            // SAFETY: Lanes are 32 bytes, aligned to 32.
            let part: [__m256i; 4] = std::array::from_fn(|q| unsafe {
                _mm256_shuffle_epi8(_mm256_load_si256(quarters[q].0.as_ptr().cast()), index[q])
            });
            let all = _mm256_or_si256(_mm256_or_si256(part[0], part[1]), _mm256_or_si256(part[2], part[3]));
            *group = _mm256_and_si256(*group, all);
        }
    }
    let any = _mm256_or_si256(_mm256_or_si256(groups[0], groups[1]), _mm256_or_si256(groups[2], groups[3]));
    !_mm256_movemask_epi8(_mm256_cmpeq_epi8(any, _mm256_setzero_si256())) as u32
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
    let row = |code: u8| -> __m128i {
        // SAFETY: Rows are 16 bytes, aligned to 16.
        unsafe { _mm_load_si128(tables.pairs[usize::from(code)].0.as_ptr().cast()) }
    };
    // The buckets that the positions so far let through: the last word of 32 bits is of a whole window.
    let mut state = _mm256_set1_epi8(-1);
    let mut step = |n: usize| {
        let rows = _mm256_inserti128_si256::<1>(_mm256_castsi128_si256(row(low[n])), row(high[n]));
        state = _mm256_and_si256(_mm256_alignr_epi8::<12>(state, _mm256_set1_epi8(-1)), rows);
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
        let whole =
            _mm256_unpackhi_epi64(_mm256_unpackhi_epi32(s[0], s[1]), _mm256_unpackhi_epi32(s[2], s[3]));
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
