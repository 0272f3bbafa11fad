//! 32 places at once by `pshufb`, on the low four and the high two bits of the symbols.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_load_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::{Exact, GROUPS, Grams, Hit, PADDING, Symbols};

const LANES: usize = 32;
/// Positions that the vectors look at; the exact tables look at all.
const POSITIONS: usize = 6;

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Lanes([u8; 16]);

/// By position and group: the buckets by the low four bits of the symbol, and by its high two.
pub(super) struct Tables([[(Lanes, Lanes); GROUPS]; POSITIONS]);

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        let none = (Lanes([0; 16]), Lanes([0; 16]));
        let mut tables = Box::new(Tables([[none; GROUPS]; POSITIONS]));
        for (groups, table) in tables.0.iter_mut().zip(exact) {
            for (group, (low, high)) in groups.iter_mut().enumerate() {
                for (symbol, buckets) in table.iter().enumerate() {
                    let buckets = buckets.to_le_bytes()[group];
                    low.0[symbol & 15] |= buckets;
                    high.0[symbol >> 4] |= buckets;
                }
            }
        }
        tables
    }
}

pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx2")
}

pub(super) fn find(
    tables: &Tables,
    exact: &Exact,
    grams: &Grams,
    symbols: &Symbols,
    windows: usize,
    hits: &mut Vec<Hit>,
) {
    assert!(symbols.classes.len() >= windows + PADDING && is_here(), "checked by the caller");
    for from in (0..windows).step_by(2 * LANES) {
        let words = super::scalar::words(grams, symbols, from);
        // SAFETY: the instructions are there; from < windows, so all reads stay below windows + PADDING.
        let [low, high] = unsafe { [0, LANES].map(|at| places(tables, &symbols.classes, from + at)) };
        let classes = u64::from(low) | u64::from(high) << LANES;
        let mut places = words | classes;
        if windows - from < 2 * LANES {
            places &= (1 << (windows - from)) - 1;
        }
        while places != 0 {
            let place = places.trailing_zeros() as usize;
            places &= places - 1;
            let word = words >> place & 1 == 1;
            let class = classes >> place & 1 == 1;
            let buckets = if class { super::scalar::buckets(exact, symbols, from + place) } else { 0 };
            if word || buckets != 0 {
                hits.push(Hit { at: (from + place) as u32, buckets, word });
            }
        }
    }
}

/// The places among the 32 from `from` on at which some bucket may be.
///
/// # Safety
/// AVX2 is there, and `symbols` has 64 bytes from `from` on.
#[target_feature(enable = "avx2")]
unsafe fn places(tables: &Tables, symbols: &[u8], from: usize) -> u32 {
    let low_bits = _mm256_set1_epi8(15);
    let mut groups = [_mm256_set1_epi8(-1); GROUPS];
    for (i, position) in tables.0.iter().enumerate() {
        // SAFETY: from + POSITIONS + 32 <= symbols.len().
        let symbols: __m256i = unsafe { _mm256_loadu_si256(symbols.as_ptr().add(from + i).cast()) };
        let low = _mm256_and_si256(symbols, low_bits);
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(symbols), low_bits);
        for (group, (by_low, by_high)) in groups.iter_mut().zip(position) {
            // SAFETY: Lanes are 16 bytes, aligned to 16.
            let (by_low, by_high) = unsafe {
                (_mm_load_si128(by_low.0.as_ptr().cast()), _mm_load_si128(by_high.0.as_ptr().cast()))
            };
            let by_low = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_low), low);
            let by_high = _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(by_high), high);
            *group = _mm256_and_si256(*group, _mm256_and_si256(by_low, by_high));
        }
    }
    let any = _mm256_or_si256(_mm256_or_si256(groups[0], groups[1]), _mm256_or_si256(groups[2], groups[3]));
    !_mm256_movemask_epi8(_mm256_cmpeq_epi8(any, _mm256_setzero_si256())) as u32
}
