//! Rules whose automata are too large for a table: what lies beyond its head is found all the same, at every cut.

use super::*;

/// Gaps one behind the other, each of which may hold the beginning of what follows.
const GAPS: &str = r"(?i)key[a-z =:\n]{0,40}?(?:secret|token|pass)[a-z =:\n]{0,40}?\b(?P<secret>(?:[a-f0-9]{2}[a-z]?){6,40})\b";

fn head_only(rules: Vec<Rule>) -> Arc<Ruleset> {
    let rules = compile(rules);
    assert!(rules.compiled.iter().all(|rule| !rule.automaton.is_whole()), "a table holds it");
    rules
}

/// Like what the rules want, mostly.
fn document(random: &mut Random) -> Vec<u8> {
    const WORDS: [&str; 14] = [
        "key", "secret", "token", "pass", "se", "=", ": ", "ab", "0f1e2d", "c3d4e5f6", "z", "\n", " ", "KEY",
    ];
    let count = 4 + random.below(24);
    (0..count).flat_map(|_| WORDS[random.below(WORDS.len())].bytes()).collect()
}

#[test]
fn values_beyond_a_head_are_masked_at_every_cut() {
    let rules = head_only(vec![rule("gaps", GAPS)]);
    let filler = "key se token sec ".repeat(2);
    for (input, output) in [
        ("key is my secret = 0f1e2d3c4b5a.", "key is my secret = [gaps]."),
        ("key token 0f1e2d3c4b5", "key token 0f1e2d3c4b5"),
        ("key token 0f1e2d3c4b5a", "key token [gaps]"),
        ("key token 0f1e2d3c4b5az ab key pass 00112233445566", "key token [gaps] ab key pass [gaps]"),
        ("keykeykey tokentoken 00112233445566 z", "keykeykey tokentoken [gaps] z"),
        (&format!("{filler}00112233445566"), &format!("{filler}[gaps]")),
    ] {
        assert_eq!(masked(&rules, input), output, "{input}");
    }
}

#[test]
fn random_documents_come_out_as_the_oracle_says() {
    let bounded = Rule { max_len: Some(60), ..rule("cut", GAPS) };
    let open = Rule { max_len: Some(64), ..rule("open", &format!("{GAPS}.*")) };
    let ended = rule("ended", &format!(r"{GAPS}(?:$|\b z)"));
    let rules = head_only(vec![bounded, open, ended]);
    let mut random = Random(0xbe_d0d);
    for _ in 0..60 {
        check(&rules, b"", &document(&mut random));
    }
}

#[test]
fn what_is_noted_may_be_thrown_away() {
    let rules = head_only(vec![rule("gaps", GAPS), rule("more", &GAPS.replace("pass", "pwd|user|auth"))]);
    let (mut random, mut scratch) = (Random(0x7a_2e), Scratch::new());
    let documents: Vec<Vec<u8>> = (0..400).map(|_| document(&mut random)).collect();
    let all = documents.concat();
    let wanted = run(&rules, b"", [&*all]);
    for chunk in [3, 500] {
        // One scratch for all streams, each of which goes on from what it carries.
        let mut sink = Collector(&rules, Collected::default());
        let mut stream = Stream::new(&rules, StreamOptions::default());
        all.chunks(chunk).for_each(|chunk| {
            scratch.lazy.forget();
            stream.push(&mut scratch, chunk, &mut sink);
        });
        stream.finish(&mut scratch, &mut sink);
        assert_eq!(sink.1, wanted, "chunks of {chunk}");
    }
}

#[test]
fn work_a_byte_stays_bounded_beyond_heads() {
    let rules = head_only(vec![rule("gaps", GAPS)]);
    let most = |bytes: usize| {
        let mut scratch = Scratch::new();
        let mut sink = Collector(&rules, Collected::default());
        let mut stream = Stream::new(&rules, StreamOptions::default());
        let text = "key token se pass key ".repeat(bytes / 22);
        text.as_bytes().chunks(100).for_each(|chunk| stream.push(&mut scratch, chunk, &mut sink));
        scratch.work().steps as f64 / text.len() as f64
    };
    let (few, many) = (most(20_000), most(200_000));
    assert!(many <= few * 1.1, "{few} steps a byte of a short text, {many} of a long one");
}
