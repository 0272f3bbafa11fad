//! 64 places at once by `vpermb`.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_cmpeq_epi8_mask, _mm512_cmplt_epu8_mask, _mm512_load_si512,
    _mm512_loadu_si512, _mm512_mask_blend_epi8, _mm512_maskz_mov_epi8, _mm512_movepi8_mask, _mm512_or_si512,
    _mm512_permutex2var_epi8, _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_setzero_si512,
    _mm512_storeu_si512, _mm512_ternarylogic_epi32, _mm512_test_epi8_mask, _mm512_xor_si512,
};

use super::{BUCKETS_BEHIND, Exact, GROUPS, Masks, PADDING, PAIRS, Symbols, WINDOW_LEN};
use crate::compile::symbol::WORD_SYMBOLS;

const LANES: usize = 64;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Lanes([u8; LANES]);

const ZERO: Lanes = Lanes([0; LANES]);

/// By group and position: the group's byte of buckets.
pub(super) struct Tables {
    /// For each pair code.
    pairs: [[[Lanes; 4]; PAIRS]; GROUPS],
    /// For each symbol.
    classes: [[Lanes; WINDOW_LEN]; GROUPS],
}

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        let mut tables =
            Box::new(Tables { pairs: [[[ZERO; 4]; PAIRS]; GROUPS], classes: [[ZERO; WINDOW_LEN]; GROUPS] });
        for (group, positions) in tables.pairs.iter_mut().enumerate() {
            for (quarters, table) in positions.iter_mut().zip(&exact.pairs) {
                let lanes = quarters.iter_mut().flat_map(|q| &mut q.0);
                lanes.zip(table).for_each(|(lane, buckets)| *lane = buckets.to_le_bytes()[group]);
            }
        }
        for (group, positions) in tables.classes.iter_mut().enumerate() {
            for (lanes, table) in positions.iter_mut().zip(&exact.classes) {
                lanes
                    .0
                    .iter_mut()
                    .zip(table)
                    .for_each(|(lane, buckets)| *lane = buckets.to_le_bytes()[group]);
            }
        }
        tables
    }
}

pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
        && is_x86_feature_detected!("bmi2")
}

/// Tells of each 64 places those with buckets of words, and of classes.
pub(super) fn find(tables: &Tables, symbols: &Symbols, windows: usize, masks: &mut Masks) {
    let Symbols { words, pairs, classes, .. } = symbols;
    let len = words.len().min(pairs.len()).min(classes.len());
    assert!(len >= windows + PADDING && is_here(), "checked by the caller");
    // SAFETY: the instructions are there; places are below windows, so all reads stay below windows + PADDING.
    unsafe {
        find_words(tables, symbols, windows, &mut masks.words);
        find_classes(tables, classes, windows, &mut masks.classes);
    }
}

/// # Safety
/// The instructions are there, and all lists of symbols have `windows` + [`PADDING`] bytes.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn find_words(tables: &Tables, symbols: &Symbols, windows: usize, masks: &mut Vec<u64>) {
    for from in (0..windows).step_by(LANES) {
        // SAFETY: from < windows.
        masks.push(unsafe { words(tables, symbols, from) });
    }
}

/// # Safety
/// The instructions are there, and `symbols` has `windows` + [`PADDING`] bytes.
#[inline(never)]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn find_classes(tables: &Tables, symbols: &[u8], windows: usize, masks: &mut Vec<u64>) {
    for from in (0..windows).step_by(LANES) {
        // SAFETY: from < windows.
        masks.push(unsafe { classes(tables, symbols, from) });
    }
}

/// Of the 64 places from `from` on, a bit for each with some bucket of words.
///
/// # Safety
/// The instructions are there, and the lists have [`PADDING`] bytes from `from` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn words(tables: &Tables, symbols: &Symbols, from: usize) -> u64 {
    // SAFETY: from + 1 + PAIRS + 64 <= from + PADDING.
    let codes: [__m512i; PAIRS] = std::array::from_fn(|i| unsafe {
        _mm512_loadu_si512(symbols.pairs.as_ptr().add(from + 1 + i).cast())
    });
    // SAFETY: the same.
    let before = unsafe { _mm512_loadu_si512(symbols.words.as_ptr().add(from).cast()) };
    let free = !_mm512_cmplt_epu8_mask(before, _mm512_set1_epi8(WORD_SYMBOLS as i8));
    let upper = codes.map(|c| _mm512_movepi8_mask(c));
    let mut any = _mm512_setzero_si512();
    for (group, positions) in tables.pairs.iter().enumerate() {
        // SAFETY: Lanes are 64 bytes, aligned to 64.
        let quarter = |i: usize, q: usize| unsafe { _mm512_load_si512(positions[i][q].0.as_ptr().cast()) };
        let part: [__m512i; PAIRS] = std::array::from_fn(|i| {
            let low = _mm512_permutex2var_epi8(quarter(i, 0), codes[i], quarter(i, 1));
            let high = _mm512_permutex2var_epi8(quarter(i, 2), codes[i], quarter(i, 3));
            _mm512_mask_blend_epi8(upper[i], low, high)
        });
        let all = _mm512_ternarylogic_epi32::<0x80>(part[0], part[1], part[2]);
        let all = _mm512_and_si512(all, part[3]);
        let all = if group < BUCKETS_BEHIND / 8 { _mm512_maskz_mov_epi8(free, all) } else { all };
        any = _mm512_or_si512(any, all);
    }
    _mm512_test_epi8_mask(any, any)
}

/// The same of classes.
///
/// # Safety
/// The instructions are there, and `symbols` has [`PADDING`] bytes from `from` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn classes(tables: &Tables, symbols: &[u8], from: usize) -> u64 {
    // SAFETY: from + WINDOW_LEN + 64 <= from + PADDING <= symbols.len().
    let window: [__m512i; WINDOW_LEN] =
        std::array::from_fn(|i| unsafe { _mm512_loadu_si512(symbols.as_ptr().add(from + i).cast()) });
    let mut any = _mm512_setzero_si512();
    for positions in &tables.classes {
        // SAFETY: Lanes are 64 bytes, aligned to 64.
        let part: [__m512i; WINDOW_LEN] = std::array::from_fn(|i| unsafe {
            _mm512_permutexvar_epi8(window[i], _mm512_load_si512(positions[i].0.as_ptr().cast()))
        });
        let and = |a, b, c| _mm512_ternarylogic_epi32::<0x80>(a, b, c);
        let first = and(part[0], part[1], part[2]);
        let second = and(part[3], part[4], part[5]);
        any = _mm512_or_si512(any, and(first, second, _mm512_and_si512(part[6], part[7])));
    }
    _mm512_test_epi8_mask(any, any)
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
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn fold_vectors(table: &[u8; 256], bytes: &[u8], symbols: &mut [u8]) {
    // SAFETY: the table has 256 bytes.
    let (low, high) = unsafe {
        (_mm512_loadu_si512(table.as_ptr().cast()), _mm512_loadu_si512(table.as_ptr().add(LANES).cast()))
    };
    let beyond = _mm512_set1_epi8(table[0x80] as i8);
    for (bytes, symbols) in bytes.chunks_exact(LANES).zip(symbols.chunks_exact_mut(LANES)) {
        // SAFETY: both are of 64 bytes.
        unsafe {
            let bytes = _mm512_loadu_si512(bytes.as_ptr().cast());
            let ascii = _mm512_permutex2var_epi8(low, bytes, high);
            let folded = _mm512_mask_blend_epi8(_mm512_movepi8_mask(bytes), ascii, beyond);
            _mm512_storeu_si512(symbols.as_mut_ptr().cast(), folded);
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
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn pair_vectors(parts: &[[u8; 64]; 2], symbols: &[u8], pairs: &mut [u8], len: usize) {
    // SAFETY: each has 64 bytes.
    let [first_part, second_part] = [0, 1].map(|n| unsafe { _mm512_loadu_si512(parts[n].as_ptr().cast()) });
    for from in (0..len).step_by(LANES) {
        // SAFETY: from + 1 + 64 <= len + 1 + LANES.
        unsafe {
            let first = _mm512_loadu_si512(symbols.as_ptr().add(from).cast());
            let second = _mm512_loadu_si512(symbols.as_ptr().add(from + 1).cast());
            let code = _mm512_xor_si512(
                _mm512_permutexvar_epi8(first, first_part),
                _mm512_permutexvar_epi8(second, second_part),
            );
            _mm512_storeu_si512(pairs.as_mut_ptr().add(from).cast(), code);
        }
    }
}

/// Marks the anchors of whole vectors; of how many bytes.
pub(super) fn mark_anchors(bytes: &[u8], marks: &mut Vec<u64>) -> usize {
    assert!(is_here(), "checked by the caller");
    let (vectors, _) = bytes.as_chunks::<LANES>();
    // SAFETY: the instructions are there.
    marks.extend(vectors.iter().map(|bytes| unsafe { anchors(bytes) }));
    vectors.len() * LANES
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn anchors(bytes: &[u8; LANES]) -> u64 {
    // SAFETY: there are 64 bytes.
    let bytes = unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) };
    let [a, b] =
        super::scalar::ANCHORS.map(|anchor| _mm512_cmpeq_epi8_mask(bytes, _mm512_set1_epi8(anchor as i8)));
    a | b
}
