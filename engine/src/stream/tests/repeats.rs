//! Texts that repeat themselves.

use super::*;

/// Lines of a few kinds, each with a few places that differ.
fn lines(random: &mut Random, len: usize) -> Vec<u8> {
    let kinds: Vec<Vec<Vec<u8>>> = (0..random.below(3) + 1)
        .map(|_| {
            (0..random.below(4) + 1)
                .map(|_| {
                    let mut part = b"\"".to_vec();
                    let wanted = random.below(260) + 20;
                    while part.len() < wanted {
                        part.extend_from_slice(random.pick(FRAGMENTS).as_bytes());
                    }
                    // A value may begin at the end of what comes again.
                    let ends: [&str; 4] = ["\"", "password", "\nghp_", "-----BEGIN "];
                    part.extend_from_slice(random.pick(&ends).as_bytes());
                    part
                })
                .collect()
        })
        .collect();
    let mut all = Vec::new();
    while all.len() < len {
        for part in random.pick_of(&kinds) {
            all.extend_from_slice(part);
            for _ in 0..random.below(4) {
                all.extend_from_slice(random.pick(FRAGMENTS).as_bytes());
            }
        }
        all.push(b'\n');
    }
    all
}

#[test]
fn what_comes_again_is_found_again() {
    for rules in all_kinds_for_each_set() {
        let mut scratch = Scratch::new();
        for seed in 1..=rounds(60) as u64 {
            let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
            // Two texts in turns.
            let documents = [1, 2].map(|_| lines(&mut random, 6000));
            let most = [150, 300, 1000, 5000, 20_000][random.below(5)];
            let mut streams = documents.each_ref().map(|document| {
                let collector = Collector(&rules, Collected::default());
                (Stream::new(&rules, StreamOptions::default()), collector, document.as_slice())
            });
            while streams.iter().any(|(.., rest)| !rest.is_empty()) {
                for (stream, sink, rest) in &mut streams {
                    let (chunk, tail) = rest.split_at((random.below(most) + 1).min(rest.len()));
                    if random.below(2) == 0 && tail.is_empty() {
                        // The end comes with the last chunk, or after it.
                        stream.push_last(&mut scratch, chunk, sink);
                    } else {
                        stream.push(&mut scratch, chunk, sink);
                    }
                    *rest = tail;
                }
            }
            for ((mut stream, mut sink, _), document) in streams.into_iter().zip(&documents) {
                stream.finish(&mut scratch, &mut sink);
                let wanted = expect(&oracle::mask_whole(&rules, b"", document), document.len());
                assert_eq!(text(&sink.1.output), text(&wanted.output), "seed {seed}");
                assert_eq!(sink.1, wanted, "seed {seed}");
            }
        }
        let work = scratch.work();
        assert!(work.known * 8 > work.bytes, "too little came again: {work:?}");
    }
}
