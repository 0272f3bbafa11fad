//! Every instruction set against the scalar one.

use super::*;

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn instruction_sets_agree() {
    let mut seed = 0x9E37_79B9_7F4A_7C15;
    for round in 0..200 {
        let dense = round % 5;
        let exact: Box<[[u32; 64]; WINDOW_LEN]> = Box::new(std::array::from_fn(|_| {
            std::array::from_fn(|_| (0..dense).fold(random(&mut seed) as u32, |m, _| m | random(&mut seed) as u32))
        }));
        let windows = (random(&mut seed) % 300) as usize;
        let symbols: Vec<u8> = (0..windows + PADDING).map(|_| random(&mut seed) as u8 & 63).collect();
        let all = InstructionSet::available().iter().map(|set| {
            let mut hits = Vec::new();
            Tables::new(exact.clone()).with(*set).find(&symbols, windows, &mut hits);
            hits
        });
        let all: Vec<Vec<Hit>> = all.collect();
        assert!(all.windows(2).all(|w| w[0] == w[1]), "round {round}: {windows} windows");
        assert!(dense == 0 || windows == 0 || !all[0].is_empty(), "round {round} finds nothing");
    }
}

#[test]
fn folds_agree() {
    let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7 % 256) as u8).collect();
    let exact = Box::new([[0; 64]; WINDOW_LEN]);
    for len in 0..bytes.len() {
        let folded = InstructionSet::available().iter().map(|set| {
            let mut symbols = vec![1, 2, 3];
            Tables::new(exact.clone()).with(*set).fold(&bytes[..len], &mut symbols);
            symbols
        });
        let folded: Vec<Vec<u8>> = folded.collect();
        assert!(folded.windows(2).all(|w| w[0] == w[1]), "{len} bytes");
    }
}
