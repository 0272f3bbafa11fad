//! What is written is read again, what is damaged is refused, and what is made up does no harm.

use super::*;
use crate::rule::{Pattern, Suppress, Validator};
use crate::{CompileOptions, Event, RuleId, Ruleset, Scratch, Sink, Source, Strategy, Stream, StreamOptions};

fn rule(id: &str, regex: &str) -> Rule {
    Rule::plain(id, Pattern::Regex(regex.into()))
}

/// Every kind of thing that a file has: groups, runs, guards, families, an end, suppressions, a rule that is off.
fn rules() -> Vec<Rule> {
    let assigned = |name: &str| {
        let regex =
            format!(r#"(?i)\bpassword_{name}["']?\s{{0,3}}[:=]\s{{0,3}}["']?(?P<secret>[^\s"']{{4,20}})"#);
        rule(name, &regex)
    };
    vec![
        rule("gh", r"\bghp_[A-Za-z0-9]{8}\b"),
        assigned("one"),
        assigned("two"),
        rule("off", "("),
        Rule {
            validators: vec![Validator::Luhn, Validator::Entropy { min: 0.5 }],
            suppress: Suppress { regex: vec!["99$".into()], exact: vec!["1".into()], ..Suppress::default() },
            ..rule("card", r"\b\d{4}[ -]?\d{4}[ -]?\d{4}[ -]?\d{4}\b")
        },
        rule("mail", r"\b[a-z0-9.]{1,12}@[a-z0-9]{1,8}\.[a-z]{2,4}\b"),
        Rule {
            pattern: Pattern::Enclosed { begin: "<<<".into(), end: ">>>".into() },
            priority: Some(-3),
            ..rule("box", "")
        },
        Rule {
            keywords: vec!["AWS".into()],
            near: 12,
            max_len: Some(30),
            strategy: Strategy::Keep { first: 1, last: 2 },
            ..rule("near", r"[A-Z0-9]{6,}")
        },
        rule("guarded", r"(?:^|[^a-z])(?P<secret>sl\.[a-z]{3})"),
        Rule { action: Action::Label, labels: vec!["l".into()], ..rule("word", r"(?i)\bsecret\b") },
    ]
    .into_iter()
    .map(|rule| if rule.id == "off" { Rule { action: Action::Off, ..rule } } else { rule })
    .collect()
}

const TEXT: &[u8] =
    b"ghp_Abcd1234 password_one = 'hunter22' PASSWORD_TWO=abcd4 4111 1111 1111 1111 me@example.com \
    <<<ghp_Abcd1234>>> AWS ABCDEF123 sl.abc a secret 4111111111111199 password_one password_";

#[derive(Debug, Default, PartialEq)]
struct Seen(Vec<u8>, Vec<Event>);

impl Sink for Seen {
    fn pass(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn emit(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, event: &Event) {
        self.1.push(event.clone());
    }
}

fn mask(sources: &[Source<'_>], chunk: usize) -> Seen {
    let ruleset = Ruleset::link(sources, &CompileOptions::default()).unwrap();
    let (mut scratch, mut seen) = (Scratch::new(), Seen::default());
    let mut stream = Stream::new(&ruleset, StreamOptions::default());
    TEXT.chunks(chunk).for_each(|chunk| stream.push(&mut scratch, chunk, &mut seen));
    stream.finish(&mut scratch, &mut seen);
    seen
}

#[test]
fn what_is_written_is_read_again() {
    let rules = rules();
    let bytes = Built::compile(rules.clone()).unwrap().to_bytes(b"notes");
    let (built, notes) = Built::from_bytes(&bytes).unwrap();
    assert_eq!(notes, b"notes");
    assert!(built.to_bytes(b"notes") == bytes, "what was read is written alike");
    assert_eq!(format!("{:?}", built.rules()), format!("{rules:?}"));
    let wanted = mask(&[Source::Rules(&rules)], 1);
    assert_eq!(wanted.1.len(), 9, "{:?}", String::from_utf8_lossy(&wanted.0));
    for chunk in [1, 2, 7, 1000] {
        assert_eq!(mask(&[Source::Built(&built)], chunk), wanted, "chunks of {chunk}");
    }
}

/// What the ruleset tells of itself is the same, too.
#[test]
fn a_ruleset_of_a_file_is_that_of_its_rules() {
    let rules = rules();
    let bytes = Built::compile(rules.clone()).unwrap().to_bytes(&[]);
    let (built, _) = Built::from_bytes(&bytes).unwrap();
    let options = CompileOptions::default();
    let compiled = Ruleset::compile(rules, &options).unwrap();
    let linked = Ruleset::link(&[Source::Built(&built)], &options).unwrap();
    assert_eq!(linked.rules().len(), compiled.rules().len());
    for (n, rule) in compiled.rules().iter().enumerate() {
        let id = RuleId(n as u32);
        assert_eq!(linked.rule(id).map(|r| &r.id), Some(&rule.id));
        assert_eq!(linked.prefilter(id), compiled.prefilter(id));
        assert!(linked.rule_memory_bytes(id) <= compiled.rule_memory_bytes(id));
    }
}

/// Rules that come compiled, before, between and behind those that are compiled now.
#[test]
fn sources_are_linked_in_their_order() {
    let rules = rules();
    let whole = mask(&[Source::Rules(&rules)], 7);
    for (a, b) in [(0, 3), (2, 5), (4, rules.len())] {
        let (head, rest) = rules.split_at(a);
        let (middle, tail) = rest.split_at(b - a);
        let build = |rules: &[Rule]| Built::compile(rules.to_vec()).unwrap();
        let (built_head, built_middle, built_tail) = (build(head), build(middle), build(tail));
        let written = [Source::Rules(head), Source::Built(&built_middle), Source::Rules(tail)];
        assert_eq!(mask(&written, 7), whole, "{a}..{b}");
        let others = [Source::Built(&built_head), Source::Rules(middle), Source::Built(&built_tail)];
        assert_eq!(mask(&others, 7), whole, "{a}..{b}");
    }
}

#[test]
fn faults_are_of_the_rules_place_in_all_sources() {
    let built = Built::compile(vec![rule("a", "abcd"), rule("b", "efgh")]).unwrap();
    let written = [rule("c", "("), rule("a", "ijkl")];
    let link = |sources: &[Source<'_>]| {
        let error = Ruleset::link(sources, &CompileOptions::default()).unwrap_err();
        error.errors().iter().map(|e| (e.rule, e.field)).collect::<Vec<_>>()
    };
    use crate::Field;
    assert_eq!(link(&[Source::Built(&built), Source::Rules(&written)]), [(2, Field::Regex), (3, Field::Id)]);
    let token = CompileOptions { strategy: Some(Strategy::Token), ..CompileOptions::default() };
    let error = Ruleset::link(&[Source::Built(&built)], &token).unwrap_err();
    assert_eq!(error.errors().len(), 2);
}

#[test]
fn one_rule_of_a_file_stands_alone() {
    let built = Built::compile(rules()).unwrap();
    assert!(built.only(3).is_none(), "it is off");
    assert!(built.only(99).is_none());
    let alone = built.only(5).unwrap();
    assert_eq!(mask(&[Source::Built(&alone)], 3).1.len(), 1);
}

#[test]
fn every_flip_and_every_cut_is_refused() {
    let built = Built::compile(vec![rule("gh", r"\bgh_[0-9]{2}\b"), rule("m", "[a-z]{1,4}@x")]).unwrap();
    let bytes = built.to_bytes(b"notes");
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(Built::from_bytes(&damaged).is_err(), "byte {at}");
        assert!(Built::from_bytes(&bytes[..at]).is_err(), "cut at {at}");
    }
    assert!(Built::from_bytes(&[&bytes[..], &[0]].concat()).is_err());
    assert!(Built::from_bytes(&bytes).is_ok());
}

#[test]
fn a_file_of_another_engine_is_told() {
    let bytes = Built::compile(vec![rule("gh", "gh_[0-9]{2}")]).unwrap().to_bytes(&[]);
    // The layout, the fingerprint, the version.
    for at in [8, 12, 20] {
        let mut other = bytes.clone();
        other[at] = b'9';
        let error = Built::from_bytes(&other).unwrap_err().to_string();
        assert!(error.contains("another version") && error.contains("sluice pack build"), "{error}");
    }
    assert_eq!(Built::from_bytes(b"[pack]").unwrap_err().to_string(), "it is no built pack");
}

/// With the hash set right, it is the checks of the content that hold: each byte in turn says something else.
#[test]
fn what_is_made_up_does_no_harm() {
    let built = Built::compile(vec![
        rule("gh", r"\bgh_[0-9]{2}\b"),
        rule("m", "[a-z]{1,4}@x"),
        rule("p", "p(?P<secret>={0,3}a)b"),
        Rule { pattern: Pattern::Enclosed { begin: "<<".into(), end: ">>".into() }, ..rule("box", "") },
    ]);
    let bytes = built.unwrap().to_bytes(b"notes");
    let content = open(&bytes).unwrap();
    let (mut refused, mut loaded) = (0, 0);
    for (at, was) in content.iter().enumerate() {
        for byte in [0, 0xff, was ^ 1, was.wrapping_add(1)] {
            let mut made_up = content.to_vec();
            made_up[at] = byte;
            match Built::from_bytes(&seal(&made_up)) {
                Ok((built, _)) if at % 16 == 0 => {
                    loaded += 1;
                    mask(&[Source::Built(&built)], 1 + at % 40);
                }
                Ok(_) => loaded += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(Built::from_bytes(&seal(&content[..at])).is_err(), "cut at {at}");
    }
    assert!(refused > 100 && loaded > 100, "{refused} refused, {loaded} loaded");
}
