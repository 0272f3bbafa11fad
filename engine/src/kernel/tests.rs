//! Every instruction set against the scalar one.

use super::*;
use crate::compile::symbol::FOLD;

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Tables of which each bit is set with a chance of `1 - 2^-density`, and the grams of every other place.
fn tables(seed: &mut u64, density: u64, bytes: &[u8]) -> Box<Exact> {
    let mut exact = Exact::new();
    let parts =
        [exact.pairs.as_flattened_mut(), exact.classes.as_flattened_mut(), exact.kinds.as_flattened_mut()];
    for entry in parts.into_iter().flatten() {
        *entry = (0..density).fold(0, |m, _| m | random(seed) as u32);
    }
    for word in bytes.windows(4).step_by(2) {
        exact.grams.add(std::array::from_fn(|i| FOLD[usize::from(word[i])]));
    }
    exact
}

/// Vectors that let through too much give the same hits, only later.
fn no_more_than_looked_up(exact: &Exact, symbols: &Symbols, windows: usize, masks: &Masks) {
    for at in 0..windows {
        let codes = exact.pairs.iter().zip(&symbols.pairs[at + 1..]).take(PAIRS);
        let words =
            codes.fold(Exact::behind(symbols.words[at]), |b, (table, code)| b & table[*code as usize]);
        let classes = exact.classes.iter().zip(&symbols.classes[at..]);
        let classes = classes.fold(!0, |b, (table, symbol)| b & table[*symbol as usize]);
        for (list, buckets) in [(&masks.words, words), (&masks.classes, classes)] {
            assert_eq!(list[at / 64] >> (at % 64) & 1, u64::from(buckets != 0), "place {at} of {windows}");
        }
    }
}

/// Else the tests below would compare nothing there.
#[cfg(target_arch = "aarch64")]
#[test]
fn arm_has_neon() {
    assert_eq!(InstructionSet::available(), [InstructionSet::Scalar, InstructionSet::Neon]);
}

#[test]
fn instruction_sets_agree() {
    for round in 0..400 {
        let begin = 0x9E37_79B9_7F4A_7C15 ^ round;
        let density = round % 9;
        let mut seed = begin;
        let bytes: Vec<u8> = (0..random(&mut seed) % 300).map(|_| random(&mut seed) as u8).collect();
        let windows = (bytes.len() + 2).saturating_sub(WINDOW_LEN + (random(&mut seed) % 3) as usize);
        let hits = InstructionSet::available().iter().map(|set| {
            let tables = Tables::new(tables(&mut seed.clone(), density, &bytes)).with(*set);
            let (mut symbols, mut hits) = (Symbols::default(), Hits::default());
            tables.find(b' ', &bytes, windows, &mut symbols, &mut hits);
            if *set != InstructionSet::Scalar && windows >= FEW {
                no_more_than_looked_up(&tables.exact, &symbols, windows, &hits.masks);
            }
            let mut looked = Hits::default();
            for at in 0..windows {
                let before = if at == 0 { b' ' } else { bytes[at - 1] };
                tables.look(before, &bytes[at..], !0, at as u32, &mut looked);
            }
            assert_eq!((&looked.words, &looked.classes), (&hits.words, &hits.classes), "round {round}");
            (hits.words, hits.classes)
        });
        let hits: Vec<(Vec<WordHit>, Vec<ClassHit>)> = hits.collect();
        assert!(hits.windows(2).all(|w| w[0] == w[1]), "round {round}: {windows} windows");
        assert!(density < 8 || windows < 4 || !hits[0].0.is_empty(), "round {round} finds no word");
        assert!(density < 8 || windows == 0 || !hits[0].1.is_empty(), "round {round} finds no class");
    }
}

#[test]
fn folds_agree() {
    let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 256) as u8).collect();
    for len in 0..bytes.len() {
        let folded = InstructionSet::available().iter().map(|set| {
            let mut symbols = Symbols::default();
            Tables::new(Exact::new()).with(*set).fold(b'x', &bytes[..len], &mut symbols);
            let Symbols { words, pairs, classes, kinds, .. } = symbols;
            [&words[..=len], &pairs[..len], &classes[..=len], &kinds[..len]].map(<[u8]>::to_vec)
        });
        let folded: Vec<[Vec<u8>; 4]> = folded.collect();
        assert!(folded.windows(2).all(|w| w[0] == w[1]), "{len} bytes");
    }
}

#[test]
fn places_of_masks() {
    let mut places = Vec::new();
    let places = positions(&[0, 1, u64::MAX, 0b1011 << 60], u64::MAX >> 1, &mut places);
    let expected: Vec<u32> = [64].into_iter().chain(128..192).chain([252, 253]).collect();
    assert_eq!(places, expected);
}

#[test]
fn anchors_agree() {
    let bytes: Vec<u8> =
        (0..300u32).map(|i| [b'"', b'\n', b'a', 0xA2, 0x8A][(i * i % 7 % 5) as usize]).collect();
    for len in 0..bytes.len() {
        let bytes = &bytes[..len];
        let wanted: Vec<bool> = bytes.iter().map(|b| matches!(b, b'"' | b'\n')).collect();
        for set in InstructionSet::available() {
            let mut marks = Vec::new();
            Tables::new(Exact::new()).with(*set).mark_anchors(bytes, &mut marks);
            assert_eq!(marks.len(), len.div_ceil(64), "{set:?}");
            let marked: Vec<bool> = (0..len).map(|at| marks[at / 64] >> (at % 64) & 1 == 1).collect();
            assert_eq!(marked, wanted, "{set:?}, {len} bytes");
        }
    }
}
