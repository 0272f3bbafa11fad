//! 32 places at once by `pshufb`, on the low four and the high two bits of the symbols.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m256i, _mm_load_si128, _mm256_and_si256, _mm256_broadcastsi128_si256, _mm256_cmpeq_epi8,
    _mm256_loadu_si256, _mm256_movemask_epi8, _mm256_or_si256, _mm256_set1_epi8, _mm256_setzero_si256,
    _mm256_shuffle_epi8, _mm256_srli_epi16,
};

use super::{Exact, GROUPS, Grams, Hit, PADDING, PAIRS, Symbols, WORD_GROUPS};

const LANES: usize = 32;
/// Positions of classes that the vectors look at; the exact tables look at all.
const POSITIONS: usize = 6;

#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Lanes([u8; 16]);

/// The buckets of a group by the low four bits of a symbol, and by the high ones.
type Halves = (Lanes, Lanes);

/// By group.
pub(super) struct Tables {
    before: [Halves; WORD_GROUPS],
    pairs: [[Halves; PAIRS]; WORD_GROUPS],
    classes: [[Halves; POSITIONS]; GROUPS - WORD_GROUPS],
}

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        Box::new(Tables {
            before: std::array::from_fn(|g| halves(&exact.before, g)),
            pairs: std::array::from_fn(|g| std::array::from_fn(|i| halves(&exact.pairs[i], g))),
            classes: std::array::from_fn(|g| {
                std::array::from_fn(|i| halves(&exact.classes[i], WORD_GROUPS + g))
            }),
        })
    }
}

fn halves(table: &[u32], group: usize) -> Halves {
    let (mut low, mut high) = (Lanes([0; 16]), Lanes([0; 16]));
    for (symbol, buckets) in table.iter().enumerate() {
        let buckets = buckets.to_le_bytes()[group];
        low.0[symbol & 15] |= buckets;
        high.0[symbol >> 4] |= buckets;
    }
    (low, high)
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
    assert!(symbols.single.len() >= windows + PADDING && symbols.pair.len() >= windows + PADDING);
    assert!(symbols.class.len() >= windows + PADDING && is_here(), "checked by the caller");
    for from in (0..windows).step_by(LANES) {
        // SAFETY: the instructions are there; from < windows, so all reads stay below windows + PADDING.
        let mut places = unsafe { places(tables, symbols, from) };
        if windows - from < LANES {
            places &= (1 << (windows - from)) - 1;
        }
        while places != 0 {
            let at = from + places.trailing_zeros() as usize;
            places &= places - 1;
            let buckets = super::scalar::buckets(exact, grams, symbols, at);
            if buckets != 0 {
                hits.push(Hit { at: at as u32, buckets });
            }
        }
    }
}

/// The places among the 32 from `from` on at which some bucket may be.
///
/// # Safety
/// AVX2 is there, and `symbols` has [`PADDING`] bytes from `from` on.
#[target_feature(enable = "avx2")]
unsafe fn places(tables: &Tables, symbols: &Symbols, from: usize) -> u32 {
    let low_bits = _mm256_set1_epi8(15);
    // SAFETY: from + i + 32 <= from + PADDING, which all lists have.
    let load = |list: &[u8], i: usize| -> (__m256i, __m256i) {
        let symbols = unsafe { _mm256_loadu_si256(list.as_ptr().add(from + i).cast()) };
        let high = _mm256_and_si256(_mm256_srli_epi16::<4>(symbols), low_bits);
        (_mm256_and_si256(symbols, low_bits), high)
    };
    // SAFETY: Lanes are 16 bytes, aligned to 16.
    let table = |lanes: &Lanes| unsafe {
        _mm256_broadcastsi128_si256(_mm_load_si128(lanes.0.as_ptr().cast()))
    };
    let look_up = |(by_low, by_high): &Halves, (low, high): (__m256i, __m256i)| {
        let by_low = _mm256_shuffle_epi8(table(by_low), low);
        _mm256_and_si256(by_low, _mm256_shuffle_epi8(table(by_high), high))
    };
    let mut groups = [_mm256_set1_epi8(-1); GROUPS];
    let (words, classes) = groups.split_at_mut(WORD_GROUPS);
    let before = load(&symbols.single, 0);
    for (group, table) in words.iter_mut().zip(&tables.before) {
        *group = look_up(table, before);
    }
    for i in 0..PAIRS {
        let pair = load(&symbols.pair, i + 1);
        for (group, tables) in words.iter_mut().zip(&tables.pairs) {
            *group = _mm256_and_si256(*group, look_up(&tables[i], pair));
        }
    }
    for i in 0..POSITIONS {
        let class = load(&symbols.class, i);
        for (group, tables) in classes.iter_mut().zip(&tables.classes) {
            *group = _mm256_and_si256(*group, look_up(&tables[i], class));
        }
    }
    let any = _mm256_or_si256(_mm256_or_si256(groups[0], groups[1]), _mm256_or_si256(groups[2], groups[3]));
    !_mm256_movemask_epi8(_mm256_cmpeq_epi8(any, _mm256_setzero_si256())) as u32
}
