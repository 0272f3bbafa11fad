//! Every instruction set against the scalar one.

use super::*;
use crate::compile::symbol::{END, WILD};

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn instruction_sets_agree() {
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for round in 0..400 {
        let density = round % 9;
        let mut exact: Box<Exact> = Box::new([[0; 64]; WINDOW_LEN]);
        for entry in exact.as_flattened_mut() {
            *entry = (0..density).fold(0, |m, _| m | random(&mut seed) as u32);
        }
        let bytes: Vec<u8> = (0..random(&mut seed) % 300).map(|_| random(&mut seed) as u8).collect();
        let windows = bytes.len() - bytes.len().min((random(&mut seed) % 8) as usize);
        let hits = InstructionSet::available().iter().map(|set| {
            let mut grams = Grams::new();
            for (n, w) in bytes.windows(4).step_by(2).enumerate() {
                grams.add((n % 3 * 20) as u8, std::array::from_fn(|i| FOLD[usize::from(w[i])]));
            }
            let tables = Tables::new(exact.clone(), grams).with(*set);
            let (mut symbols, mut hits) = (Symbols::default(), Vec::new());
            tables.fold(b' ', &bytes, if round % 2 == 0 { WILD } else { END }, &mut symbols);
            tables.find(&symbols, windows, &mut hits);
            hits
        });
        let hits: Vec<Vec<Hit>> = hits.collect();
        assert!(hits.windows(2).all(|w| w[0] == w[1]), "round {round}: {windows} windows");
        assert!(density < 8 || windows == 0 || !hits[0].is_empty(), "round {round} finds nothing");
    }
}

#[test]
fn folds_agree() {
    let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 256) as u8).collect();
    let exact: Box<Exact> = Box::new([[0; 64]; WINDOW_LEN]);
    for len in 0..bytes.len() {
        let folded = InstructionSet::available().iter().map(|set| {
            let mut symbols = Symbols::default();
            Tables::new(exact.clone(), Grams::new()).with(*set).fold(b'x', &bytes[..len], WILD, &mut symbols);
            symbols
        });
        let folded: Vec<Symbols> = folded.collect();
        assert!(folded.windows(2).all(|w| w[0].words == w[1].words), "{len} bytes");
        assert!(folded.windows(2).all(|w| w[0].classes == w[1].classes), "{len} bytes");
        let padding = if len < FEW { WINDOW_LEN } else { PADDING };
        assert_eq!(folded[0].words.len(), 1 + len + padding);
        assert_eq!(folded[0].classes.len(), 1 + len + padding);
    }
}
