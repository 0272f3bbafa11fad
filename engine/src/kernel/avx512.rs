//! 64 places at once by `vpermb`.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm512_and_si512, _mm512_cmplt_epi32_mask, _mm512_load_si512, _mm512_loadu_si512,
    _mm512_mask_blend_epi8, _mm512_mask_or_epi32, _mm512_movepi8_mask, _mm512_mullo_epi32, _mm512_or_si512,
    _mm512_permutex2var_epi8, _mm512_permutexvar_epi8, _mm512_set1_epi8, _mm512_set1_epi32,
    _mm512_slli_epi32, _mm512_sllv_epi32, _mm512_srli_epi32, _mm512_store_si512, _mm512_storeu_si512,
    _mm512_ternarylogic_epi32, _mm512_test_epi8_mask, _mm512_test_epi32_mask, _pdep_u64,
};

use super::{
    Exact, FACTOR, FEW, GRAM_BITS, GRAM_CELLS, GROUPS, Grams, Hit, PADDING, Symbols, WINDOW_LEN, WORD_SYMBOLS,
};

const LANES: usize = 64;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Lanes([u8; LANES]);

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Cells([u32; 16]);

/// By group and position: the group's byte of buckets for each symbol.
pub(super) struct Tables([[Lanes; WINDOW_LEN]; GROUPS]);

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        let mut tables = Box::new(Tables([[Lanes([0; LANES]); WINDOW_LEN]; GROUPS]));
        for (group, positions) in tables.0.iter_mut().enumerate() {
            for (lanes, table) in positions.iter_mut().zip(exact) {
                for (lane, buckets) in lanes.0.iter_mut().zip(table) {
                    *lane = buckets.to_le_bytes()[group];
                }
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

pub(super) fn find(tables: &Tables, grams: &Grams, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
    let len = symbols.classes.len().min(symbols.words.len());
    assert!(len >= windows + PADDING && is_here(), "checked by the caller");
    let mut found = [Lanes([0; LANES]); GROUPS];
    for from in (0..windows).step_by(LANES) {
        // SAFETY: the instructions are there; from < windows, so all reads stay below windows + PADDING.
        let classes = unsafe { classes(tables, &symbols.classes, from, &mut found) };
        let words = match windows - from {
            few @ ..FEW => super::scalar::words(grams, symbols, from, few),
            // SAFETY: the same.
            _ => unsafe { words(grams, &symbols.words, from) },
        };
        let mut places = words | classes;
        if windows - from < LANES {
            places &= (1 << (windows - from)) - 1;
        }
        while places != 0 {
            let lane = places.trailing_zeros() as usize;
            places &= places - 1;
            let buckets = u32::from_le_bytes(std::array::from_fn(|g| found[g].0[lane & (LANES - 1)]));
            hits.push(Hit { at: (from + lane) as u32, buckets, word: words >> lane & 1 == 1 });
        }
    }
}

/// Of the 64 places from `from` on, a bit for each at which a word may begin.
///
/// # Safety
/// The instructions are there, and `symbols` has [`PADDING`] bytes from `from` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi,bmi2")]
unsafe fn words(grams: &Grams, symbols: &[u8], from: usize) -> u64 {
    let factor = _mm512_set1_epi32(FACTOR as i32);
    let (one, last) = (_mm512_set1_epi32(1), _mm512_set1_epi32(31));
    let word_symbols = _mm512_set1_epi32(WORD_SYMBOLS.into());
    let mut cells = [Cells([0; 16]); 4];
    let mut bits = [one; 4];
    // Every fourth place at once, for its gram is a lane of 32 bits.
    for (first, (cells, bit)) in cells.iter_mut().zip(&mut bits).enumerate() {
        // SAFETY: from + first + 1 + 64 <= from + PADDING <= symbols.len().
        let (before, gram) = unsafe {
            let at = symbols.as_ptr().add(from + first);
            (_mm512_loadu_si512(at.cast()), _mm512_loadu_si512(at.add(1).cast()))
        };
        let hash = _mm512_srli_epi32::<{ 32 - GRAM_BITS }>(_mm512_mullo_epi32(gram, factor));
        let before = _mm512_and_si512(before, _mm512_set1_epi32(0xFF));
        let behind_word = _mm512_cmplt_epi32_mask(before, word_symbols);
        let index = _mm512_slli_epi32::<1>(hash);
        let index = _mm512_mask_or_epi32(index, behind_word, index, one);
        *bit = _mm512_sllv_epi32(one, _mm512_and_si512(index, last));
        // SAFETY: Cells are 64 bytes, aligned to 64.
        unsafe { _mm512_store_si512(cells.0.as_mut_ptr().cast(), _mm512_srli_epi32::<5>(index)) };
    }
    // Loads one after another are faster than a gathering instruction, on all machines measured.
    for cell in cells.iter_mut().flat_map(|c| &mut c.0) {
        *cell = grams.0[*cell as usize & (GRAM_CELLS - 1)];
    }
    let mut all = 0;
    for (first, (cells, bit)) in cells.iter().zip(bits).enumerate() {
        // SAFETY: Cells are 64 bytes, aligned to 64.
        let cells = unsafe { _mm512_load_si512(cells.0.as_ptr().cast()) };
        let found = _mm512_test_epi32_mask(cells, bit);
        all |= _pdep_u64(found.into(), 0x1111_1111_1111_1111 << first);
    }
    all
}

/// Writes the buckets that may be at each of the 64 places from `from` on to `found`; a bit for each place with some.
///
/// # Safety
/// The instructions are there, and `symbols` has [`PADDING`] bytes from `from` on.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn classes(tables: &Tables, symbols: &[u8], from: usize, found: &mut [Lanes; GROUPS]) -> u64 {
    // SAFETY: from + WINDOW_LEN + 64 <= from + PADDING <= symbols.len().
    let window: [__m512i; WINDOW_LEN] =
        std::array::from_fn(|i| unsafe { _mm512_loadu_si512(symbols.as_ptr().add(from + i).cast()) });
    let mut any = _mm512_set1_epi8(0);
    for (lanes, positions) in found.iter_mut().zip(&tables.0) {
        // SAFETY: Lanes are 64 bytes, aligned to 64.
        let part: [__m512i; WINDOW_LEN] = std::array::from_fn(|i| unsafe {
            _mm512_permutexvar_epi8(window[i], _mm512_load_si512(positions[i].0.as_ptr().cast()))
        });
        let and = |a, b, c| _mm512_ternarylogic_epi32::<0x80>(a, b, c);
        let first = and(part[0], part[1], part[2]);
        let second = and(part[3], part[4], part[5]);
        let group = and(first, second, _mm512_and_si512(part[6], part[7]));
        any = _mm512_or_si512(any, group);
        // SAFETY: Lanes are 64 bytes, aligned to 64.
        unsafe { _mm512_store_si512(lanes.0.as_mut_ptr().cast(), group) };
    }
    _mm512_test_epi8_mask(any, any)
}

pub(super) fn fold(table: &[u8; 256], bytes: &[u8], symbols: &mut Vec<u8>) {
    assert!(is_here(), "checked by the caller");
    let (whole, rest) = bytes.split_at(bytes.len() / LANES * LANES);
    let from = symbols.len();
    symbols.resize(from + whole.len(), 0);
    // SAFETY: the instructions are there.
    unsafe { fold_vectors(table, whole, &mut symbols[from..]) };
    super::scalar::fold(table, rest, symbols);
}

/// All bytes from 0x80 on have one symbol.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
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
