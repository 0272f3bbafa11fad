//! How much the default packs find of the labelled corpus, and how little in traffic without anything to find.
//!
//! The figures are those of `score.py` beside the corpus: a row counts as found where a span overlaps a labelled one, a
//! negative row as wrong where anything is found. Rows that only a model of names could find are left out.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::sync::{Arc, OnceLock};

use serde_json::Value;
use sluice_engine::{CompileOptions, Event, Ruleset, Scratch, Sink, Stream, StreamOptions};
use sluice_patterns::PackSet;
use sluice_tests::checkout;

/// Least F1 and precision of secrets, and least F1 of each source of them.
const SECRETS_F1_MIN: f64 = 0.93;
const SECRETS_PRECISION_MIN: f64 = 0.97;
const SOURCE_F1_MIN: f64 = 0.80;
/// Rows of a source below which its figure says nothing.
const SOURCE_ROWS_MIN: usize = 50;
/// Least F1 of personal data.
const PII_F1_MIN: f64 = 0.95;
/// Least part of the labelled spans found of which start and end agree.
const EXACT_MIN: f64 = 0.90;
/// Bytes of each kind of generated traffic without anything to find, of which nothing may be found.
const GENERATED_BYTES: usize = 1 << 20;

/// The default packs, compiled once.
fn rules() -> &'static Arc<Ruleset> {
    static RULES: OnceLock<Arc<Ruleset>> = OnceLock::new();
    RULES.get_or_init(|| PackSet::load::<&str>(&[]).unwrap().compile(&CompileOptions::default()).unwrap())
}

/// Where values are, and of which rules.
#[derive(Default)]
struct Spans(Vec<(u64, u64, u32)>);

impl Sink for Spans {
    fn pass(&mut self, _: &[u8]) {}
    fn emit(&mut self, _: &[u8]) {}
    fn skip(&mut self, _: usize) {}
    fn event(&mut self, event: &Event) {
        self.0.push((event.input.start, event.input.end, event.rule.0));
    }
}

fn spans(text: &[u8]) -> Vec<(u64, u64, u32)> {
    let (mut scratch, mut found) = (Scratch::new(), Spans::default());
    let mut stream = Stream::new(rules(), StreamOptions::default());
    stream.push(&mut scratch, text, &mut found);
    stream.finish(&mut scratch, &mut found);
    found.0
}

/// Rows by outcome.
#[derive(Default)]
struct Score {
    rows: usize,
    right: usize,
    missed: usize,
    wrong: usize,
    gold: usize,
    exact: usize,
}

impl Score {
    fn precision(&self) -> f64 {
        self.right as f64 / (self.right + self.wrong).max(1) as f64
    }

    fn f1(&self) -> f64 {
        2.0 * self.right as f64 / (2 * self.right + self.wrong + self.missed).max(1) as f64
    }

    fn add(&mut self, row: &Value, found: &[(u64, u64, u32)]) {
        self.rows += 1;
        if row["label"] == "negative" {
            self.wrong += usize::from(!found.is_empty());
            return;
        }
        let gold: Vec<(u64, u64)> = row["spans"]
            .as_array()
            .expect("spans")
            .iter()
            .map(|span| (span[0].as_u64().expect("a start"), span[1].as_u64().expect("an end")))
            .collect();
        let hit = |gold: &(u64, u64)| found.iter().any(|(start, end, _)| *start < gold.1 && gold.0 < *end);
        let exact = |gold: &(u64, u64)| found.iter().any(|(start, end, _)| (*start, *end) == *gold);
        let hits = gold.iter().filter(|span| hit(span)).count();
        self.right += usize::from(hits > 0);
        self.missed += usize::from(hits == 0);
        self.gold += hits;
        self.exact += gold.iter().filter(|span| exact(span)).count();
    }
}

#[test]
fn the_default_packs_find_what_is_labelled() {
    let Some(shared) = checkout::shared() else {
        checkout::skip("quality", "no corpus beside the checkout (SLUICE_SHARED)");
        return;
    };
    let text = fs::read_to_string(shared.join("corpus/dev.jsonl")).expect("the labelled corpus");
    let mut scores: BTreeMap<String, Score> = BTreeMap::new();
    for line in text.lines() {
        let row: Value = serde_json::from_str(line).expect("a row is JSON");
        if row["ner"] == true {
            continue;
        }
        let word = |key: &str| row[key].as_str().expect("a word").to_owned();
        let found = spans(row["text"].as_str().expect("a text").as_bytes());
        for group in [word("kind"), format!("{}/{}", word("kind"), word("source"))] {
            scores.entry(group).or_default().add(&row, &found);
        }
    }
    let mut table = String::new();
    for (group, score) in &scores {
        let (f1, precision) = (score.f1(), score.precision());
        let exact = score.exact as f64 / score.gold.max(1) as f64;
        writeln!(table, "{group}: F1 {f1:.4}, precision {precision:.4}, exact {exact:.4}").unwrap();
        assert!(exact >= EXACT_MIN || score.gold < SOURCE_ROWS_MIN || group.contains('/'), "{table}");
        let small = score.rows < SOURCE_ROWS_MIN || score.right + score.missed == 0;
        assert!(!group.starts_with("secret/") || small || f1 >= SOURCE_F1_MIN, "{table}");
    }
    let (secrets, personal) = (&scores["secret"], &scores["pii"]);
    assert!(secrets.f1() >= SECRETS_F1_MIN && secrets.precision() >= SECRETS_PRECISION_MIN, "{table}");
    assert!(personal.f1() >= PII_F1_MIN, "{table}");
    eprintln!("{table}");
}

#[test]
fn clean_traffic_stays_as_it_is() {
    let Some(shared) = checkout::shared() else {
        checkout::skip("quality of clean traffic", "no corpus beside the checkout (SLUICE_SHARED)");
        return;
    };
    for entry in fs::read_dir(shared.join("corpus/clean")).expect("clean traffic") {
        let path = entry.expect("an entry").path();
        assert_nothing(&path.display().to_string(), &fs::read(&path).expect("a file"));
    }
}

/// Values and the rules that found them would be in a failure: the traffic is generated and holds none.
fn assert_nothing(kind: &str, text: &[u8]) {
    let found = spans(text);
    let told: Vec<String> = found
        .iter()
        .take(8)
        .map(|(start, end, rule)| {
            let (start, end) = (*start as usize, *end as usize);
            let near = &text[start.saturating_sub(16)..(end + 8).min(text.len())];
            format!("{}: {}", rules().rules()[*rule as usize].id, String::from_utf8_lossy(near))
        })
        .collect();
    assert!(told.is_empty(), "{kind}: {} found: {told:#?}", found.len());
}

/// SplitMix64 (Steele, Lea, Flood 2014): the same traffic in each run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn text(&mut self, alphabet: &[u8], len: usize) -> String {
        (0..len).map(|_| char::from(alphabet[self.next() as usize % alphabet.len()])).collect()
    }
}

const HEX: &[u8] = b"0123456789abcdef";
const DIGITS: &[u8] = b"0123456789";
const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// A line of one kind of traffic.
type Line = fn(&mut Random) -> String;

const KINDS: &[(&str, Line)] = &[
    ("UUIDs", |r| {
        let part = |r: &mut Random, len| r.text(HEX, len);
        format!("{}-{}-4{}-a{}-{}\n", part(r, 8), part(r, 4), part(r, 3), part(r, 3), part(r, 12))
    }),
    ("hashes", |r| {
        let len = [32, 40, 64, 128][r.next() as usize % 4];
        format!("\"digest\": \"{}\"\n", r.text(HEX, len))
    }),
    ("trace ids", |r| {
        format!("{{\"traceId\":\"{}\",\"spanId\":\"{}\"}}\n", r.text(HEX, 32), r.text(HEX, 16))
    }),
    ("base64", |r| format!("{}\n", r.text(BASE64, 76))),
    ("versions", |r| {
        let part = |r: &mut Random| r.next() % 40;
        format!("crate-{} v{}.{}.{}-rc.{}\n", r.text(b"abcdefgh", 5), part(r), part(r), part(r), part(r))
    }),
    ("lock files", |r| {
        format!("checksum = \"{}\"\nintegrity sha512-{}==\n", r.text(HEX, 64), r.text(BASE64, 86))
    }),
    ("nanoseconds", |r| format!("\"timeUnixNano\": \"17{}\"\n", r.text(DIGITS, 17))),
    ("numbers like telephones", |r| {
        let len = [7, 8, 10, 11, 12, 13][r.next() as usize % 6];
        format!("order {}, {} of {}\n", r.text(DIGITS, len), r.text(DIGITS, 3), r.text(DIGITS, 5))
    }),
];

#[test]
fn generated_traffic_stays_as_it_is() {
    for (n, (kind, line)) in KINDS.iter().enumerate() {
        let mut random = Random(n as u64);
        let mut text = String::new();
        while text.len() < GENERATED_BYTES {
            text += &line(&mut random);
        }
        assert_nothing(kind, text.as_bytes());
    }
}
