//! 32 places at once by `pshufb`, one sixteen of the symbols after another.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm256_adds_epu8, _mm256_and_si256, _mm256_castsi256_ps, _mm256_cmpeq_epi8, _mm256_cmpeq_epi32,
    _mm256_cmpgt_epi32, _mm256_load_si256, _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_movemask_ps,
    _mm256_mullo_epi32, _mm256_or_si256, _mm256_set1_epi8, _mm256_set1_epi32, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_slli_epi32, _mm256_sllv_epi32, _mm256_srli_epi32, _mm256_store_si256,
    _mm256_sub_epi32, _mm256_xor_si256, _pdep_u64,
};

use super::{
    Exact, FACTOR, FEW, GRAM_BITS, GRAM_CELLS, GROUPS, Grams, Hit, PADDING, Symbols, WINDOW_LEN, WORD_SYMBOLS,
};

const LANES: usize = 32;

#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Lanes([u8; LANES]);

#[repr(C, align(32))]
#[derive(Clone, Copy)]
struct Cells([u32; 8]);

/// By position, group and sixteen symbols: the group's byte of buckets for each, twice over.
pub(super) struct Tables([[[Lanes; 4]; GROUPS]; WINDOW_LEN]);

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        let mut tables = Box::new(Tables([[[Lanes([0; LANES]); 4]; GROUPS]; WINDOW_LEN]));
        for (groups, table) in tables.0.iter_mut().zip(exact) {
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

pub(super) fn find(tables: &Tables, grams: &Grams, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
    let len = symbols.classes.len().min(symbols.words.len());
    assert!(len >= windows + PADDING && is_here(), "checked by the caller");
    let mut found = [[Lanes([0; LANES]); GROUPS]; 2];
    for from in (0..windows).step_by(2 * LANES) {
        let mut classes = 0;
        for (half, found) in found.iter_mut().enumerate() {
            // SAFETY: the instructions are there; from < windows, so all reads stay below windows + PADDING.
            let some = unsafe { places(tables, &symbols.classes, from + half * LANES, found) };
            classes |= u64::from(some) << (half * LANES);
        }
        let words = match windows - from {
            few @ ..FEW => super::scalar::words(grams, symbols, from, few),
            // SAFETY: the same.
            _ => unsafe { words(grams, &symbols.words, from) },
        };
        let mut places = words | classes;
        if windows - from < 2 * LANES {
            places &= (1 << (windows - from)) - 1;
        }
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            places &= places - 1;
            let found = &found[place / LANES];
            let buckets = u32::from_le_bytes(std::array::from_fn(|g| found[g].0[place % LANES]));
            hits.push(Hit { at: (from + place) as u32, buckets, word: words >> place & 1 == 1 });
        }
    }
}

/// Writes the buckets that may be at each of the 32 places from `from` on to `found`; a bit for each place with some.
///
/// # Safety
/// The instructions are there, and `symbols` has 32 bytes and [`WINDOW_LEN`] from `from` on.
#[target_feature(enable = "avx2,bmi2")]
unsafe fn places(tables: &Tables, symbols: &[u8], from: usize, found: &mut [Lanes; GROUPS]) -> u32 {
    let mut groups = [_mm256_set1_epi8(-1); GROUPS];
    for (i, tables) in tables.0.iter().enumerate() {
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
    for (lanes, group) in found.iter_mut().zip(groups) {
        // SAFETY: Lanes are 32 bytes, aligned to 32.
        unsafe { _mm256_store_si256(lanes.0.as_mut_ptr().cast(), group) };
    }
    let any = _mm256_or_si256(_mm256_or_si256(groups[0], groups[1]), _mm256_or_si256(groups[2], groups[3]));
    !_mm256_movemask_epi8(_mm256_cmpeq_epi8(any, _mm256_setzero_si256())) as u32
}

/// Of the 64 places from `from` on, a bit for each at which a word may begin.
///
/// # Safety
/// The instructions are there, and `symbols` has [`PADDING`] bytes from `from` on.
#[target_feature(enable = "avx2,bmi2")]
unsafe fn words(grams: &Grams, symbols: &[u8], from: usize) -> u64 {
    let factor = _mm256_set1_epi32(FACTOR as i32);
    let (one, last) = (_mm256_set1_epi32(1), _mm256_set1_epi32(31));
    let word_symbols = _mm256_set1_epi32(WORD_SYMBOLS.into());
    let mut cells = [Cells([0; 8]); 8];
    let mut bits = [one; 8];
    // Every fourth place of a half at once, for its gram is a lane of 32 bits.
    for (n, (cells, bit)) in cells.iter_mut().zip(&mut bits).enumerate() {
        // SAFETY: from + 3 + 32 + 1 + 32 <= from + PADDING <= symbols.len().
        let (before, gram) = unsafe {
            let at = symbols.as_ptr().add(from + n % 4 + n / 4 * LANES);
            (_mm256_loadu_si256(at.cast()), _mm256_loadu_si256(at.add(1).cast()))
        };
        let hash = _mm256_srli_epi32::<{ 32 - GRAM_BITS as i32 }>(_mm256_mullo_epi32(gram, factor));
        let before = _mm256_and_si256(before, _mm256_set1_epi32(0xFF));
        // True is -1.
        let behind_word = _mm256_cmpgt_epi32(word_symbols, before);
        let index = _mm256_sub_epi32(_mm256_slli_epi32::<1>(hash), behind_word);
        *bit = _mm256_sllv_epi32(one, _mm256_and_si256(index, last));
        // SAFETY: Cells are 32 bytes, aligned to 32.
        unsafe { _mm256_store_si256(cells.0.as_mut_ptr().cast(), _mm256_srli_epi32::<5>(index)) };
    }
    for cell in cells.iter_mut().flat_map(|c| &mut c.0) {
        *cell = grams.0[*cell as usize & (GRAM_CELLS - 1)];
    }
    let mut all = 0;
    for (n, (cells, bit)) in cells.iter().zip(bits).enumerate() {
        // SAFETY: Cells are 32 bytes, aligned to 32.
        let cells = unsafe { _mm256_load_si256(cells.0.as_ptr().cast()) };
        let found = _mm256_cmpeq_epi32(_mm256_and_si256(cells, bit), bit);
        let found = _mm256_movemask_ps(_mm256_castsi256_ps(found)) as u64;
        all |= _pdep_u64(found, 0x1111_1111 << (n % 4 + n / 4 * LANES));
    }
    all
}
