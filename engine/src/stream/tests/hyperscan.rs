//! Hyperscan's windows against our own: the same windows, and with them the same output and events.

use super::*;
use crate::compile::hyperscan::SPAN;
use crate::stream::starts::hyperscan::windows_of;

/// The same rules, with the windows found by Hyperscan.
fn by_hyperscan(ruleset: &Ruleset) -> Arc<Ruleset> {
    let token_key = TokenKey::new(vec![7; 32]);
    let options = CompileOptions { token_key, hyperscan: true, ..CompileOptions::default() };
    Ruleset::compile(ruleset.rules().to_vec(), &options).unwrap()
}

/// Compares the windows of all places, and of some of them; how many there are.
fn check_windows(own: &Ruleset, other: &Ruleset, random: &mut Random, text: &[u8]) -> usize {
    let end = text.len() as u64;
    let cut = (end + 1).saturating_sub(crate::kernel::WINDOW_LEN as u64 - 1);
    let from = random.below(text.len()) as u64;
    let ranges = [(0, end), (0, cut), (from, end), (from, from + 1), (0, cut / 2)];
    let count = |(from, to): (u64, u64)| {
        let found = windows_of(other, text, from, to);
        let show = || format!("places from {from} to {to} of {:?}", self::text(text));
        assert_eq!(found, windows_of(own, text, from, to), "{}", show());
        found.len()
    };
    ranges.into_iter().filter(|(from, to)| from < to).map(count).sum()
}

#[test]
fn hyperscan_finds_the_same_windows() {
    let own = all_kinds();
    let other = by_hyperscan(&own);
    let mut found = 0;
    for seed in 1..=rounds(4000) as u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let document = document(&mut random, 40);
        found += check_windows(&own, &other, &mut random, &document);
    }
    assert!(found > 10_000, "only {found} windows");
}

/// Our own kernel lets places through that the gates refuse, such as words in capitals; Hyperscan does not.
#[test]
fn hyperscan_is_asked_for_all_places_but_the_first_and_the_last() {
    let own = compile(vec![rule("gh", r"\bghp_[A-Za-z0-9]{8}\b")]);
    let other = by_hyperscan(&own);
    let text = b" GHP_Abcd1234".repeat(100);
    let places = |ruleset: &Arc<Ruleset>| {
        let mut scratch = Scratch::new();
        let mut sink = Collector(ruleset, Collected::default());
        Stream::new(ruleset, StreamOptions::default()).push_last(&mut scratch, &text, &mut sink);
        scratch.work().places
    };
    assert!(places(&own) >= 100, "{}", places(&own));
    assert!(places(&other) <= 2, "{}", places(&other));
}

#[test]
fn hyperscan_on_the_table_and_random_documents() {
    let own = all_kinds();
    let other = by_hyperscan(&own);
    for document in ["", "p", "a ghp_Abcd1234 b", "<<< -----BEGIN KEY----- >>> ghp_Abcd1234 <<<x>>>", "zé"] {
        check(&other, b"", document.as_bytes());
        check(&other, b"aws ", document.as_bytes());
    }
    for seed in 1..=rounds(100) as u64 {
        let mut random = Random(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let document = document(&mut random, 12);
        check(&other, b"", &document);
    }
    for seed in 1..=rounds(1000) as u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let document = document(&mut random, 40);
        let context = if random.below(4) == 0 { random.pick(FRAGMENTS).as_bytes() } else { b"" };
        let wanted = run(&own, context, [document.as_slice()]);
        let chunks = random_chunks(&mut random, &document);
        let got = run(&other, context, chunks.iter().copied());
        assert_eq!(got, wanted, "seed {seed}: {:?} in {chunks:?}", text(&document));
    }
}

#[test]
fn hyperscan_on_random_rules_and_random_documents() {
    let (mut compiled, mut found) = (0, 0);
    for seed in 1..=rounds(1000) as u64 {
        let mut random = Random(seed.wrapping_mul(0xA076_1D64_78BD_642F));
        let Some(own) = random_rules(&mut random) else {
            continue;
        };
        let other = by_hyperscan(&own);
        // Of rules that nothing can match there is no window.
        compiled += usize::from(other.hyperscan.is_some());
        for _ in 0..4 {
            let document = letters(&mut random, 40 + 2 * SPAN);
            found += check_windows(&own, &other, &mut random, &document);
            let wanted = expect(&oracle::mask_whole(&other, b"", &document), document.len());
            let show = || other.rules().iter().map(|r| format!("{r:?}")).collect::<Vec<_>>().join("\n");
            for cut in 0..document.len() {
                let (a, b) = document.split_at(cut);
                assert_eq!(run(&other, b"", [a, b]), wanted, "seed {seed}, cut at {cut}\n{}", show());
            }
            assert_eq!(run(&other, b"", document.chunks(1)), wanted, "seed {seed}, byte by byte\n{}", show());
        }
    }
    assert!(compiled > 100 && found > 10_000, "{compiled} of the random rules compile, {found} windows");
}

/// Pieces, what is kept between them, and a scratch that serves rulesets of both kinds in turn.
#[test]
fn hyperscan_on_long_documents_with_one_scratch() {
    let own = all_kinds();
    let others = [by_hyperscan(&own), by_hyperscan(&compile(vec![rule("gh", r"\bghp_[A-Za-z0-9]{8}\b")]))];
    let mut random = Random(77);
    let mut document = Vec::new();
    while document.len() < 3 * PIECE_BYTES {
        document.extend(self::document(&mut random, 40));
    }
    let mut scratch = Scratch::new();
    for chunk in [document.len(), PIECE_BYTES + 1, 5000, 100, 17] {
        for ruleset in others.iter().chain([&own]) {
            let wanted = if ruleset.rules().len() == 1 { None } else { Some(run(&own, b"", [&*document])) };
            let mut sink = Collector(ruleset, Collected::default());
            let mut stream = Stream::new(ruleset, StreamOptions::default());
            for part in document.chunks(chunk) {
                stream.push(&mut scratch, part, &mut sink);
            }
            stream.finish(&mut scratch, &mut sink);
            assert_eq!(sink.1.taken, document.len() as u64);
            assert!(wanted.is_none_or(|wanted| wanted == sink.1), "chunks of {chunk}");
        }
    }
}

#[test]
fn hyperscan_needs_no_rule_to_find_nothing() {
    let options = CompileOptions { hyperscan: true, ..CompileOptions::default() };
    let off = Rule { action: Action::Off, ..rule("off", "abc") };
    for rules in [vec![], vec![off]] {
        let ruleset = Ruleset::compile(rules, &options).unwrap();
        assert!(ruleset.hyperscan.is_none());
        assert_eq!(run(&ruleset, b"", [&b"abcdefghijklmnopqrstuvwxyz"[..]]).output.len(), 26);
    }
}
