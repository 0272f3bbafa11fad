//! 64 places at once by `vpermb`.
#![allow(unsafe_code)]

use std::arch::x86_64::{
    __m512i, _mm512_add_epi8, _mm512_and_si512, _mm512_load_si512, _mm512_loadu_si512, _mm512_mask_blend_epi8,
    _mm512_cmpeq_epi8_mask, _mm512_movepi8_mask, _mm512_or_si512, _mm512_permutex2var_epi8, _mm512_permutexvar_epi8,
    _mm512_set1_epi8, _mm512_store_si512, _mm512_storeu_si512, _mm512_ternarylogic_epi32,
    _mm512_test_epi8_mask, _mm512_xor_si512,
};

use super::{
    Exact, GROUPS, Grams, Hit, PADDING, PAIRS, SPREAD, Symbols, WILD_PAIR, WINDOW_LEN, WORD_GROUPS, WORDS,
};
use crate::compile::symbol::{CLASSES, FOLD, WILD};

const LANES: usize = 64;

#[repr(C, align(64))]
#[derive(Clone, Copy)]
struct Lanes([u8; LANES]);

/// By group: the group's byte of buckets for each symbol.
pub(super) struct Tables {
    before: [Lanes; WORD_GROUPS],
    pairs: [[[Lanes; 2]; PAIRS]; WORD_GROUPS],
    classes: [[Lanes; WINDOW_LEN]; GROUPS - WORD_GROUPS],
}

impl Tables {
    pub(super) fn new(exact: &Exact) -> Box<Tables> {
        let lanes = |table: &[u32], group: usize| {
            let byte = |i: usize| table.get(i).map_or(0, |buckets| buckets.to_le_bytes()[group]);
            Lanes(std::array::from_fn(byte))
        };
        Box::new(Tables {
            before: std::array::from_fn(|g| lanes(&exact.before, g)),
            pairs: std::array::from_fn(|g| {
                std::array::from_fn(|i| {
                    let (low, high) = exact.pairs[i].split_at(LANES);
                    [lanes(low, g), lanes(high, g)]
                })
            }),
            classes: std::array::from_fn(|g| {
                std::array::from_fn(|i| lanes(&exact.classes[i], WORD_GROUPS + g))
            }),
        })
    }
}

pub(super) fn is_here() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vbmi")
}

pub(super) fn find(tables: &Tables, grams: &Grams, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
    assert!(symbols.single.len() >= windows + PADDING && symbols.pair.len() >= windows + PADDING);
    assert!(symbols.class.len() >= windows + PADDING && is_here(), "checked by the caller");
    // SAFETY: the instructions are there, and all reads stay below windows + PADDING.
    unsafe { find_vectors(tables, grams, symbols, windows, hits) }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn find_vectors(tables: &Tables, grams: &Grams, symbols: &Symbols, windows: usize, hits: &mut Vec<Hit>) {
    let mut found = [Lanes([0; LANES]); GROUPS];
    let mut at = 0;
    while at < windows {
        let mut groups = [_mm512_set1_epi8(0); GROUPS];
        // SAFETY: at < windows, so that at + WINDOW_LEN + 64 <= windows + PADDING, which all lists have.
        let (before, pair, class) = unsafe {
            let load = |list: &[u8], i: usize| _mm512_loadu_si512(list.as_ptr().add(at + i).cast());
            let pair: [__m512i; PAIRS] = std::array::from_fn(|i| load(&symbols.pair, i + 1));
            let class: [__m512i; WINDOW_LEN] = std::array::from_fn(|i| load(&symbols.class, i));
            (load(&symbols.single, 0), pair, class)
        };
        // SAFETY: Lanes are 64 bytes, aligned to 64.
        let table = |lanes: &Lanes| unsafe { _mm512_load_si512(lanes.0.as_ptr().cast()) };
        let and = |a, b, c| _mm512_ternarylogic_epi32::<0x80>(a, b, c);
        for g in 0..WORD_GROUPS {
            let b = _mm512_permutexvar_epi8(before, table(&tables.before[g]));
            let p: [__m512i; PAIRS] = std::array::from_fn(|i| {
                let [low, high] = &tables.pairs[g][i];
                _mm512_permutex2var_epi8(table(low), pair[i], table(high))
            });
            groups[g] = and(and(b, p[0], p[1]), and(p[2], p[3], p[4]), p[5]);
        }
        for g in WORD_GROUPS..GROUPS {
            let tables = &tables.classes[g - WORD_GROUPS];
            let c: [__m512i; WINDOW_LEN] =
                std::array::from_fn(|i| _mm512_permutexvar_epi8(class[i], table(&tables[i])));
            groups[g] = and(and(c[0], c[1], c[2]), and(c[3], c[4], c[5]), _mm512_and_si512(c[6], c[7]));
        }
        let (words, classes) = groups.split_at(WORD_GROUPS);
        let any = |groups: &[__m512i]| {
            let any = groups.iter().fold(_mm512_set1_epi8(0), |any, group| _mm512_or_si512(any, *group));
            _mm512_test_epi8_mask(any, any)
        };
        let (mut words, mut places) = (any(words), any(classes));
        while words != 0 {
            let lane = words.trailing_zeros() as usize;
            words &= words - 1;
            // SAFETY: at + lane + 5 <= windows + PADDING.
            let gram = unsafe { symbols.single.as_ptr().add(at + lane + 1).cast::<[u8; 4]>().read() };
            places |= u64::from(grams.has(gram)) << lane;
        }
        if windows - at < LANES {
            places &= (1 << (windows - at)) - 1;
        }
        if places != 0 {
            for (lanes, group) in found.iter_mut().zip(groups) {
                // SAFETY: Lanes are 64 bytes, aligned to 64.
                unsafe { _mm512_store_si512(lanes.0.as_mut_ptr().cast(), group) };
            }
            while places != 0 {
                let lane = places.trailing_zeros() as usize;
                places &= places - 1;
                let buckets = u32::from_le_bytes(std::array::from_fn(|g| found[g].0[lane & (LANES - 1)]));
                let single = &symbols.single[at + lane + 1..at + lane + 5];
                let word = grams.has([single[0], single[1], single[2], single[3]]);
                let buckets = if word { buckets } else { buckets & !WORDS };
                hits.push(Hit { at: (at + lane) as u32, buckets });
            }
        }
        at += LANES;
    }
}

/// Adds the symbols of `bytes` and the padding, and all pairs.
pub(super) fn fold(bytes: &[u8], symbols: &mut Symbols) {
    assert!(is_here(), "checked by the caller");
    let (whole, rest) = bytes.split_at(bytes.len() / LANES * LANES);
    let from = symbols.single.len();
    symbols.single.resize(from + whole.len(), WILD);
    symbols.class.resize(from + whole.len(), WILD);
    // SAFETY: the instructions are there.
    unsafe {
        fold_vectors(&FOLD, whole, &mut symbols.single[from..]);
        fold_vectors(&CLASSES, whole, &mut symbols.class[from..]);
    }
    if !whole.is_empty() {
        // The pair of the last symbol needs the next.
        let pairs = (from + whole.len() - 1) / LANES * LANES;
        symbols.pair.resize(pairs, WILD_PAIR);
        // SAFETY: the instructions are there.
        unsafe { pair_vectors(&symbols.single, &mut symbols.pair) };
    }
    super::scalar::fold(rest, symbols);
}

/// `single` has one symbol more than `pair` at least, and none of those that are used is wild.
#[target_feature(enable = "avx512f,avx512bw,avx512vbmi")]
unsafe fn pair_vectors(single: &[u8], pair: &mut [u8]) {
    assert!(single.len() > pair.len(), "the next symbol is there");
    // SAFETY: SPREAD has 64 bytes.
    let spread = unsafe { _mm512_loadu_si512(SPREAD.as_ptr().cast()) };
    let wild = _mm512_set1_epi8(WILD_PAIR as i8);
    for (at, pair) in (0..).step_by(LANES).zip(pair.chunks_exact_mut(LANES)) {
        // SAFETY: at + 64 < single.len(), and the chunk has 64 bytes.
        unsafe {
            let first = _mm512_loadu_si512(single.as_ptr().add(at).cast());
            let second = _mm512_loadu_si512(single.as_ptr().add(at + 1).cast());
            let hash = _mm512_xor_si512(_mm512_add_epi8(first, first), _mm512_permutexvar_epi8(second, spread));
            // As in `pair`: the wild one is for what has not come.
            let clash = _mm512_cmpeq_epi8_mask(hash, wild);
            let hash = _mm512_mask_blend_epi8(clash, hash, _mm512_set1_epi8(WILD_PAIR as i8 - 1));
            _mm512_storeu_si512(pair.as_mut_ptr().cast(), hash);
        }
    }
}

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
