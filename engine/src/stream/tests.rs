//! Tables, every split, seeded random documents and rules against the oracle, and hold-back by brute force.

mod beyond;
mod exact;
#[cfg(feature = "hyperscan")]
mod hyperscan;

mod repeats;

use std::sync::Arc;

use super::*;
use crate::oracle::{self, Verdict};
use crate::random::Random;
use crate::rule::*;
use crate::{CompileOptions, InstructionSet, TokenKey};

fn rule(id: &str, regex: &str) -> Rule {
    Rule::plain(id, Pattern::Regex(regex.into()))
}

fn enclosed(id: &str, begin: &str, end: &str) -> Rule {
    Rule { pattern: Pattern::Enclosed { begin: begin.into(), end: end.into() }, ..rule(id, "") }
}

fn compile(rules: Vec<Rule>) -> Arc<Ruleset> {
    let token_key = TokenKey::new(vec![7; 32]);
    match Ruleset::compile(rules, &CompileOptions { token_key, ..CompileOptions::default() }) {
        Ok(ruleset) => ruleset,
        Err(e) => panic!("{e}"),
    }
}

/// A ruleset that uses every part of the machine.
fn all_kinds() -> Arc<Ruleset> {
    compile(all_kinds_rules())
}

/// The same for each instruction set of this machine.
fn all_kinds_for_each_set() -> Vec<Arc<Ruleset>> {
    let compile = |set: &InstructionSet| {
        let token_key = TokenKey::new(vec![7; 32]);
        let options = CompileOptions { token_key, instruction_set: Some(*set), ..CompileOptions::default() };
        Ruleset::compile(all_kinds_rules(), &options).unwrap()
    };
    InstructionSet::available().iter().map(compile).collect()
}

fn all_kinds_rules() -> Vec<Rule> {
    vec![
        rule("gh", r"\bghp_[A-Za-z0-9]{8}\b"),
        Rule {
            max_len: Some(40),
            ..rule("pw", r#"(?i)\bpassword["']?\s*[:=]\s*["']?(?P<secret>[^\s"']{4,})"#)
        },
        Rule {
            confidence: Confidence::Medium,
            ..rule("mail", r"\b[a-z0-9.]{1,12}@[a-z0-9]{1,8}\.[a-z]{2,4}\b")
        },
        Rule {
            validators: vec![Validator::Luhn],
            ..rule("card", r"\b\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}\b")
        },
        enclosed("pem", "-----BEGIN [A-Z ]{0,12}KEY-----", "-----END [A-Z ]{0,12}KEY-----"),
        enclosed("box", "<<<", ">>>"),
        Rule {
            keywords: vec!["aws".into(), "amazon".into()],
            near: 12,
            max_len: Some(30),
            strategy: Strategy::Token,
            ..rule("near", r"[A-Z0-9]{6,}")
        },
        Rule { keywords: vec!["id".into()], near: 8, ..rule("led-near", r"key-(?P<secret>[a-z]{3,5})") },
        rule("guarded", r"(?:^|[^a-z])(?P<secret>sl\.[a-z]{3})"),
        rule("led", r"[\w.-]{0,20}?tok=(?P<secret>[a-z]{3,6})"),
        Rule { action: Action::Label, ..rule("word", r"(?i)\bsecret\b") },
        Rule { strategy: Strategy::Fill, max_len: Some(12), ..rule("fill", r"z[^ ]{2,}") },
        Rule {
            strategy: Strategy::Keep { first: 1, last: 2 },
            suppress: Suppress {
                exact: vec!["x-1".into()],
                regex: vec!["99$".into()],
                ..Suppress::default()
            },
            ..rule("keep", r"x-\d{1,6}")
        },
        Rule { strategy: Strategy::Drop, priority: Some(50), ..rule("line", r"(?m)^drop:[a-z]{0,5}$") },
    ]
}

#[derive(Default, Debug, PartialEq, Eq, Clone)]
struct Collected {
    output: Vec<u8>,
    masked: Vec<Event>,
    labels: Vec<Event>,
    taken: u64,
}

struct Collector<'a>(&'a Ruleset, Collected);

impl Sink for Collector<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        self.1.output.extend_from_slice(bytes);
        self.1.taken += bytes.len() as u64;
    }
    fn emit(&mut self, bytes: &[u8]) {
        self.1.output.extend_from_slice(bytes);
    }
    fn skip(&mut self, len: usize) {
        self.1.taken += len as u64;
    }
    fn event(&mut self, event: &Event) {
        let labels = self.0.rule(event.rule).is_some_and(|r| r.action == Action::Label);
        let list = if labels { &mut self.1.labels } else { &mut self.1.masked };
        list.push(event.clone());
    }
}

fn run<'a>(ruleset: &Arc<Ruleset>, context: &[u8], chunks: impl IntoIterator<Item = &'a [u8]>) -> Collected {
    let mut scratch = Scratch::new();
    let mut stream = Stream::new(ruleset, StreamOptions::default());
    let mut sink = Collector(ruleset, Collected::default());
    stream.prime(context);
    for chunk in chunks {
        stream.push(&mut scratch, chunk, &mut sink);
    }
    stream.finish(&mut scratch, &mut sink);
    sink.1
}

fn expect(verdict: &Verdict, len: usize) -> Collected {
    let Verdict { output, masked, labels, .. } = verdict.clone();
    Collected { output, masked, labels, taken: len as u64 }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Compares with the oracle: whole, byte by byte, and every cut in two.
fn check(ruleset: &Arc<Ruleset>, context: &[u8], document: &[u8]) {
    let wanted = expect(&oracle::mask_whole(ruleset, context, document), document.len());
    let show = || format!("{:?} behind {:?}", text(document), text(context));
    let whole = run(ruleset, context, [document]);
    let mut scratch = Scratch::new();
    for time in ["first", "second"] {
        let mut sink = Collector(ruleset, Collected::default());
        let mut stream = Stream::new(ruleset, StreamOptions::default());
        stream.prime(context);
        stream.push_last(&mut scratch, document, &mut sink);
        assert_eq!(sink.1, wanted, "the {time} time in one: {}", show());
    }
    assert_eq!(text(&whole.output), text(&wanted.output), "whole: {}", show());
    assert_eq!(whole, wanted, "whole: {}", show());
    assert_eq!(run(ruleset, context, document.chunks(1)), wanted, "byte by byte: {}", show());
    for cut in 1..document.len() {
        let (a, b) = document.split_at(cut);
        assert_eq!(run(ruleset, context, [a, b]), wanted, "cut at {cut}: {}", show());
    }
}

fn masked(ruleset: &Arc<Ruleset>, document: &str) -> String {
    check(ruleset, b"", document.as_bytes());
    text(&run(ruleset, b"", [document.as_bytes()]).output)
}

#[test]
fn table() {
    let rules = all_kinds();
    let long = "p".repeat(100);
    for (input, output) in [
        ("nothing here", "nothing here"),
        ("a ghp_Abcd1234 b", "a [gh] b"),
        ("aghp_Abcd1234 ghp_Abcd12345 ghp_", "aghp_Abcd1234 ghp_Abcd12345 ghp_"),
        ("password = hunter2!", "password = [pw]"),
        (r#"{"PassWord":"hunter2"}"#, r#"{"PassWord":"[pw]"}"#),
        ("me@example.com, you.too@site.org", "[mail], [mail]"),
        ("pay 4111 1111 1111 1111 or 4111-1111-1111-1112", "pay [card] or 4111-1111-1111-1112"),
        ("-----BEGIN KEY-----\nabc\n-----END KEY-----\n", "[pem]\n"),
        ("-----BEGIN RSA KEY-----\nabc ghp_Abcd1234", "[pem]"),
        ("<<< -----BEGIN KEY----- >>> ghp_Abcd1234 <<<x>>>", "[box] [gh] [box]"),
        ("secret zab x-123456 x-1 x-199", "secret *** x*****56 x-1 x-199"),
        ("id key-abcd key-abcd", "id key-[led_near] key-abcd"),
        ("drop:ab\ndrop:abcdefg", "\ndrop:abcdefg"),
        ("zé", "***"),
        ("sl.abc sl.abcd xsl.abc", "[guarded] [guarded]d xsl.abc"),
        ("zzzzzzzzzzzzzzzzzzzzzzzzzzzzzz z", "****************************** z"),
    ] {
        assert_eq!(masked(&rules, input), output, "{input}");
    }
    assert_eq!(masked(&rules, &format!("password={long} x")), "password=[pw] x");
    assert!(masked(&rules, "AWS key ABCDEF123 rest").starts_with("AWS key [near:"));
    assert_eq!(masked(&rules, "AWS    and far away  ABCDEF123 rest"), "AWS    and far away  ABCDEF123 rest");
}

#[test]
fn context_is_not_masked() {
    let rules = all_kinds();
    for (context, document, output) in [
        ("\"password\":\"", "hunter2", "[pw]"),
        ("\"ghp_Abcd1234\":\"", "x", "x"),
        ("ghp_Abc", "d1234", "[gh]"),
        ("<<<", "abc>>> ", "[box] "),
        ("password=hunter2 ", "aws 1", "aws 1"),
        ("\"id\":\"", "key-abcd", "key-[led_near]"),
    ] {
        check(&rules, context.as_bytes(), document.as_bytes());
        assert_eq!(text(&run(&rules, context.as_bytes(), [document.as_bytes()]).output), output);
    }
}

#[test]
fn overlaps() {
    let low = |r: Rule| Rule { confidence: Confidence::Low, ..r };
    // Same priority: what the loser covers beyond the winner is masked as its own.
    assert_eq!(masked(&compile(vec![rule("a", "abc"), rule("b", "cde")]), "xabcdex"), "x[a][b]x");
    // A loser of lower priority is dropped.
    assert_eq!(masked(&compile(vec![rule("a", "abc"), low(rule("b", "cde"))]), "xabcdex"), "x[a]dex");
    assert_eq!(masked(&compile(vec![low(rule("a", "abc")), rule("b", "cde")]), "xabcdex"), "x[a][b]x");
    // The same start: priority, then length, then order.
    assert_eq!(masked(&compile(vec![low(rule("a", "abcd")), rule("b", "ab")]), "abcd"), "[b]cd");
    assert_eq!(masked(&compile(vec![rule("a", "ab"), rule("b", "abcd")]), "abcd"), "[b]");
    assert_eq!(masked(&compile(vec![rule("a", "ab"), rule("b", "ab")]), "ab"), "[a]");
    // A winner that its validator rejects makes room.
    let strict = Rule { validators: vec![Validator::Luhn], ..rule("a", r"\d{4}") };
    assert_eq!(masked(&compile(vec![strict, low(rule("b", r"34"))]), "1234"), "12[b]");
}

const FRAGMENTS: &[&str] = &[
    "ghp_",
    "Abcd1234",
    "password",
    "PASSWORD",
    "=",
    ": ",
    "\"",
    " ",
    " ",
    "\n",
    "a",
    "b.c",
    "@",
    "site.org",
    "tok=",
    "4111",
    "1111",
    "-",
    "11111111",
    "-----BEGIN ",
    "-----END ",
    "RSA ",
    "KEY-----",
    "<<<",
    ">>>",
    "<",
    ">",
    "aws",
    "amazon ",
    "ABCDEF1",
    "secret",
    "id ",
    "key-",
    "abc",
    "z",
    "é",
    "x-",
    "199",
    "12345",
    "drop:",
    "\r\n",
    "日",
    "\u{1F600}",
    "hunter2",
];

fn document(random: &mut Random, parts: usize) -> Vec<u8> {
    let mut document = Vec::new();
    for _ in 0..random.below(parts) + 1 {
        match random.below(40) {
            0 => document.push(random.below(256) as u8),
            1 => document.extend(std::iter::repeat_n(b'q', random.below(60))),
            _ => document.extend_from_slice(random.pick(FRAGMENTS).as_bytes()),
        }
    }
    document
}

fn random_chunks<'a>(random: &mut Random, mut rest: &'a [u8]) -> Vec<&'a [u8]> {
    let mut chunks = Vec::new();
    let most = [1, 3, 9, 40][random.below(4)];
    while !rest.is_empty() {
        let (chunk, tail) = rest.split_at((random.below(most) + 1).min(rest.len()));
        chunks.push(chunk);
        rest = tail;
    }
    chunks
}

fn rounds(default: usize) -> usize {
    std::env::var("SLUICE_ROUNDS").ok().and_then(|r| r.parse().ok()).unwrap_or(default)
}

#[test]
fn random_documents() {
    let all = all_kinds_for_each_set();
    for seed in 1..=rounds(4000) as u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let document = document(&mut random, 30);
        let context = if random.below(4) == 0 { random.pick(FRAGMENTS).as_bytes() } else { b"" };
        let wanted = expect(&oracle::mask_whole(&all[0], context, &document), document.len());
        for rules in all.iter().cycle().take(3) {
            let chunks = random_chunks(&mut random, &document);
            let got = run(rules, context, chunks.iter().copied());
            assert_eq!(text(&got.output), text(&wanted.output), "seed {seed}: {:?}", text(&document));
            assert_eq!(got, wanted, "seed {seed}: {:?} in {chunks:?}", text(&document));
        }
    }
}

#[test]
fn random_documents_cut_everywhere() {
    let rules = all_kinds();
    for seed in 1..=rounds(150) as u64 {
        let mut random = Random(seed.wrapping_mul(0xD1B5_4A32_D192_ED03));
        let document = document(&mut random, 12);
        check(&rules, b"", &document);
    }
}

#[test]
fn three_way_cuts() {
    let rules = all_kinds();
    for document in
        ["a ghp_Abcd1234 b", "password: 'hunter2' x", "<<<a>>>b@c.de", "aws KEYS123 z", "drop:a\nx-12 "]
    {
        let wanted = expect(&oracle::mask_whole(&rules, b"", document.as_bytes()), document.len());
        for first in 0..document.len() {
            for second in first..document.len() {
                let bytes = document.as_bytes();
                let chunks = [&bytes[..first], &bytes[first..second], &bytes[second..]];
                assert_eq!(run(&rules, b"", chunks), wanted, "{document} cut at {first} and {second}");
            }
        }
    }
}

/// An expression over a, b and c.
fn expression(random: &mut Random, depth: usize) -> String {
    match random.below(if depth == 0 { 4 } else { 10 }) {
        0 | 1 => random.pick(&["a", "b", "c"]).into(),
        2 => random.pick(&["[ab]", "[^a ]", "[bc]", "."]).into(),
        3 => random.pick(&["ab", "bc", r"\b", "ca"]).into(),
        4..=6 => expression(random, depth - 1) + &expression(random, depth - 1),
        7 => format!("(?:{}|{})", expression(random, depth - 1), expression(random, depth - 1)),
        8 => {
            let times = random.pick(&["?", "{1,3}", "{2}", "*?", "+", "{0,2}?"]);
            format!("(?:{}){times}", expression(random, depth - 1))
        }
        _ => expression(random, depth - 1),
    }
}

fn random_rules(random: &mut Random) -> Option<Arc<Ruleset>> {
    let mut rules = Vec::new();
    for n in 0..random.below(4) + 1 {
        let mut regex = expression(random, 3);
        if random.below(3) == 0 {
            regex = format!("{regex}(?P<secret>{}){}", expression(random, 2), expression(random, 1));
        }
        let mut rule = rule(&format!("r{n}"), &regex);
        rule.max_len = Some(random.below(8) + 1);
        rule.priority = Some(random.below(3) as i32);
        if random.below(5) == 0 {
            rule.action = Action::Label;
        }
        if random.below(6) == 0 {
            rule.suppress.exact = vec!["ab".into(), "a".into()];
        }
        if random.below(6) == 0 {
            rule.keywords = vec!["ab".into(), "ca".into()];
            rule.near = random.below(2) * 3;
        }
        if random.below(8) == 0 {
            rule = enclosed(
                &format!("r{n}"),
                random.pick(&["aa", "ab|abc", "bca?"]),
                random.pick(&["b", "cc", "a.?c"]),
            );
        }
        rules.push(rule);
    }
    let key = TokenKey::new(vec![1; 16]);
    Ruleset::compile(
        rules,
        &CompileOptions {
            token_key: key,
            instruction_set: Some(*random.pick_of(InstructionSet::available())),
            ..CompileOptions::default()
        },
    )
    .ok()
}

fn letters(random: &mut Random, len: usize) -> Vec<u8> {
    (0..random.below(len) + 1)
        .map(|_| *random.pick(&[b"a", b"b", b"c", b"a", b"b", b" "]).first().unwrap())
        .collect()
}

#[test]
fn random_rules_on_random_documents() {
    let mut compiled = 0;
    for seed in 1..=rounds(2500) as u64 {
        let mut random = Random(seed.wrapping_mul(0xA076_1D64_78BD_642F));
        let Some(rules) = random_rules(&mut random) else {
            continue;
        };
        compiled += 1;
        for _ in 0..6 {
            let document = letters(&mut random, 40);
            let wanted = expect(&oracle::mask_whole(&rules, b"", &document), document.len());
            let chunks = random_chunks(&mut random, &document);
            let got = run(&rules, b"", chunks.iter().copied());
            let show = || rules.rules().iter().map(|r| format!("{r:?}")).collect::<Vec<_>>().join("\n");
            assert_eq!(got, wanted, "seed {seed}: {:?} as {chunks:?}\n{}", text(&document), show());
        }
    }
    assert!(compiled > 200, "too few of the random rules compile: {compiled}");
}

/// What is held after each prefix is exactly the suffix that some continuation could still mask.
#[test]
fn hold_back_is_shortest() {
    let cases: Vec<Vec<Rule>> = vec![
        vec![rule("a", "abc")],
        vec![rule("a", "ab(?P<secret>c)a")],
        vec![rule("a", "a b?(?P<secret>[bc]{2})")],
        vec![rule("a", "a(?P<secret>[bc]{1,2})"), rule("b", "ca")],
        vec![rule("a", r"\bab"), rule("b", "c+a")],
        vec![Rule { max_len: Some(3), ..rule("a", "ab+") }],
        vec![rule("a", "(?:a|b(?P<secret>c)) ")],
        vec![enclosed("a", "ab", "c")],
        vec![rule("a", r"[ab]{1,3}c\b")],
        vec![rule("a", "[ab]{0,2}(?P<secret>ca)")],
        vec![rule("a", "(?:^|[^a])(?P<secret>bc)")],
        vec![Rule { keywords: vec!["ca".into()], near: 3, ..rule("a", "[bc]b") }],
        vec![Rule { max_len: Some(4), ..rule("a", "c[ab]*?a(?P<secret>b)") }],
    ];
    for mut rules in cases {
        for rule in &mut rules {
            rule.max_len = rule.max_len.or((!matches!(rule.pattern, Pattern::Enclosed { .. })).then_some(5));
        }
        let name = format!("{:?}", rules.iter().map(|r| &r.pattern).collect::<Vec<_>>());
        let rules = compile(rules);
        for prefix in words(4) {
            let held = held_after(&rules, &prefix);
            let inside = inside_open(&rules, &prefix);
            let least = words(4)
                .iter()
                .filter_map(|more| {
                    let whole = [prefix.as_slice(), more].concat();
                    let hidden = oracle::mask_whole(&rules, b"", &whole).hidden;
                    hidden.iter().take(prefix.len()).enumerate().position(|(i, h)| *h && i >= inside)
                })
                .min()
                .unwrap_or(prefix.len());
            assert_eq!(held, prefix.len() - least, "{name} after {:?}", text(&prefix));
        }
    }
}

/// All texts over a, b, c and space of at most `len` bytes.
fn words(len: usize) -> Vec<Vec<u8>> {
    let mut all = vec![Vec::new()];
    let mut last = all.clone();
    for _ in 0..len {
        last =
            last.iter().flat_map(|w| b"abc ".iter().map(move |&l| [w.as_slice(), &[l]].concat())).collect();
        all.extend(last.iter().cloned());
    }
    all
}

fn held_after(rules: &Arc<Ruleset>, prefix: &[u8]) -> usize {
    let (mut scratch, mut sink) = (Scratch::new(), Collector(rules, Collected::default()));
    let mut stream = Stream::new(rules, StreamOptions::default());
    stream.push(&mut scratch, prefix, &mut sink);
    assert_eq!(stream.held() as u64, prefix.len() as u64 - sink.1.taken);
    stream.held()
}

/// Bytes that have been skipped are masked already, and so not held.
fn inside_open(rules: &Arc<Ruleset>, prefix: &[u8]) -> usize {
    let (mut scratch, mut sink) = (Scratch::new(), Collector(rules, Collected::default()));
    let mut stream = Stream::new(rules, StreamOptions::default());
    stream.push(&mut scratch, prefix, &mut sink);
    let masked = sink.1.masked.last().map_or(0, |e| e.input.end as usize);
    if sink.1.output.ends_with(b"]") { masked.max(sink.1.taken as usize) } else { masked }
}

#[test]
fn memory_is_bounded() {
    let rules = all_kinds();
    let mut scratch = Scratch::new();
    let mut sink = Collector(&rules, Collected::default());
    for unit in
        ["<<<aaaa ", "-----BEGIN KEY-----", "password=qqqq", "z", "ghp_", "a.", "4111 ", "aws ", "\u{e9}"]
    {
        let mut stream = Stream::new(&rules, StreamOptions::default());
        for _ in 0..200_000 / unit.len() {
            stream.push(&mut scratch, unit.as_bytes(), &mut sink);
            sink.1 = Collected::default();
        }
        assert!(stream.memory_bytes() < 64 * 1024, "{unit}: {}", stream.memory_bytes());
    }
}

#[test]
fn a_finished_stream_is_as_new() {
    let rules = all_kinds();
    let (mut scratch, mut stream) = (Scratch::new(), Stream::new(&rules, StreamOptions::default()));
    for document in ["<<< ghp_Abcd1234", "aws", " ABCDEF123", "password=", "hunter2", "zé", "\u{e9}"] {
        let mut sink = Collector(&rules, Collected::default());
        stream.push(&mut scratch, document.as_bytes(), &mut sink);
        stream.finish(&mut scratch, &mut sink);
        let wanted = expect(&oracle::mask_whole(&rules, b"", document.as_bytes()), document.len());
        assert_eq!(sink.1, wanted, "{document}");
        assert_eq!(stream.held(), 0);
    }
}

#[test]
fn bad_rules_are_refused_all_at_once() {
    let token = Rule { strategy: Strategy::Token, ..rule("t", "abc") };
    let rules = vec![
        rule("open", "a+"),
        rule("Bad Id", "ab"),
        rule("dup", "ab"),
        rule("dup", "ab"),
        Rule { max_len: Some(2), ..rule("short", "abc") },
        Rule { max_len: Some(20_000), ..rule("long", "a+") },
        enclosed("e", "[a-z]", "y"),
        enclosed("f", "abc", "y+"),
        Rule { near: 5, ..rule("n", "ab") },
        token,
        Rule { suppress: Suppress { regex: vec!["(".into()], ..Suppress::default() }, ..rule("s", "ab") },
    ];
    let error = Ruleset::compile(rules, &CompileOptions::default()).unwrap_err();
    let faults: Vec<(usize, Field)> = error.errors().iter().map(|e| (e.rule, e.field)).collect();
    let wanted = [
        (0, Field::Regex),
        (1, Field::Id),
        (3, Field::Id),
        (4, Field::MaxLen),
        (5, Field::MaxLen),
        (6, Field::Begin),
        (7, Field::End),
        (8, Field::Near),
        (9, Field::Strategy),
        (10, Field::SuppressRegex(0)),
    ];
    for fault in wanted {
        assert!(faults.contains(&fault), "{fault:?} is missing in {faults:?}");
    }
}

#[test]
fn a_stream_at_rest_is_small() {
    let rules = all_kinds();
    let mut scratch = Scratch::new();
    let mut sink = Collector(&rules, Collected::default());
    let mut stream = Stream::new(&rules, StreamOptions::default());
    let text = "words, and words again. ".repeat(4000);
    for chunk in text.as_bytes().chunks(7777) {
        stream.push(&mut scratch, chunk, &mut sink);
        assert!(stream.memory_bytes() <= 512 + rules.history + LAZY, "{}", stream.memory_bytes());
    }
    /// Text that may have been forgotten and has not been yet.
    const LAZY: usize = 256;
}

#[test]
fn look_around_that_is_not_decided_hides_no_value() {
    let regex = r"c+(?P<secret>(?:\b|c))[ab].";
    let rules = compile(vec![Rule { max_len: Some(8), ..rule("r", regex) }]);
    check(&rules, b"", b"bcbaabbcca   cbba");
}
