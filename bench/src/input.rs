//! Documents of the bench `engine`: clean traffic of the corpus, values put into it, and texts made to hurt.
//!
//! A document is a unit of some hundred KiB, repeated. All of it is the same on every run.

use serde::Deserialize;

use crate::corpus::{Corpus, CorpusError};
use crate::random::Random;
use crate::synthetic;

/// Bytes between two values that are put into clean traffic.
const PLANT_EVERY: usize = 4096;
/// Bytes of a unit that is made up.
const UNIT_BYTES: usize = 512 * 1024;
/// Where a value may stand in the corpus's SSE: at the start of a delta's text.
const PLANT_AFTER: &[u8] = br#""content":""#;

const LOWER: &str = "abcdefghijklmnopqrstuvwxyz0123456789";
const BASE62: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
const BASE32: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const DIGITS: &str = "0123456789";
const WORDS: &[&str] = &[
    "order",
    "basket",
    "window",
    "shard",
    "queue",
    "receipt",
    "banner",
    "catalogue",
    "primary",
    "nested",
    "lazy",
    "sorted",
    "partial",
    "bundle",
    "coupon",
    "worker",
    "batch",
    "table",
    "column",
    "header",
];
const KEYWORDS: &[&str] = &[
    "api_key",
    "apikey",
    "secret",
    "token",
    "password",
    "passwd",
    "auth",
    "access",
    "credential",
    "creds",
    "key",
    "client_secret",
    "github",
    "gitlab",
    "slack",
    "twitter",
    "heroku",
    "datadog",
    "dropbox",
    "cloudflare",
];
const PREFIXES: &[&str] = &[
    "AKIA",
    "ghp_",
    "gho_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "sk-ant-api03-",
    "sk_live_",
    "AIza",
    "SG.",
    "npm_",
    "dop_v1_",
    "hvs.",
    "eyJ",
    "-----BEGIN ",
    "shpat_",
    "pypi-AgEIcHlwaS5vcmc",
    "rubygems_",
    "glsa_",
];

/// Prefixes of tokens, with the alphabet and the length of what follows; of kinds whose length no rule is lax about.
const NEAR_MISSES: &[(&str, &str, usize)] = &[
    ("AKIA", BASE32, 16),
    ("ghp_", BASE62, 36),
    ("gho_", BASE62, 36),
    ("glpat-", BASE62, 20),
    ("AIza", BASE62, 35),
    ("npm_", BASE62, 36),
    ("dop_v1_", DIGITS, 64),
    ("rubygems_", DIGITS, 48),
    ("hf_", LOWER, 34),
];

/// A case: what the document is made of.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// As `--only` names it.
    pub name: String,
    /// As the table describes it.
    pub about: String,
    /// A file of `clean/`.
    clean: Option<String>,
    /// What is made, or made of the file.
    make: Option<Make>,
    #[serde(default)]
    seed: u64,
}

/// How a unit is made.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Make {
    /// An IPv4 address at the start of every line, which has a date.
    Addresses,
    /// An AWS access key id every 4 KiB.
    Keys,
    /// A value of one of the first ten synthetic rules every 4 KiB.
    Synthetic,
    /// JSON documents of words and numbers.
    Json,
    /// Words that rules ask for, with assignments that come to nothing.
    Keywords,
    /// Prefixes of tokens with a value that is too short, or breaks off.
    NearMisses,
    /// Digits in groups of every length.
    Digits,
    /// Starts within starts.
    Nested,
}

/// What is scanned, and where values were put into it.
#[derive(Clone, Debug)]
pub struct Document {
    /// All of it.
    pub bytes: Vec<u8>,
    /// The byte after each value that was put in.
    planted: Vec<usize>,
}

impl Document {
    fn repeat(unit: &Document, bytes_min: usize) -> Document {
        let mut document = Document { bytes: Vec::new(), planted: Vec::new() };
        while document.bytes.len() < bytes_min {
            let at = document.bytes.len();
            document.bytes.extend_from_slice(&unit.bytes);
            document.planted.extend(unit.planted.iter().map(|end| at + end));
        }
        document
    }

    /// The values put into the first `len` bytes.
    #[must_use]
    pub fn planted_before(&self, len: usize) -> usize {
        self.planted.partition_point(|end| *end < len)
    }
}

impl Case {
    /// The document, of at least so many bytes.
    ///
    /// # Errors
    /// When the corpus's file is not there.
    pub fn document(&self, corpus: &Corpus, bytes_min: usize) -> Result<Document, CorpusError> {
        let clean = match &self.clean {
            Some(file) => corpus.read(&format!("clean/{file}"))?,
            None => Vec::new(),
        };
        Ok(Document::repeat(&unit(&clean, self.make, self.seed), bytes_min))
    }
}

fn unit(clean: &[u8], make: Option<Make>, seed: u64) -> Document {
    let mut random = Random::new(seed);
    let made = |line: fn(&mut Random) -> String, random: &mut Random| {
        let mut text = String::new();
        while text.len() < UNIT_BYTES {
            text += &line(random);
        }
        Document { bytes: text.into_bytes(), planted: Vec::new() }
    };
    match make {
        None => Document { bytes: clean.to_vec(), planted: Vec::new() },
        Some(Make::Addresses) => addresses(clean, &mut random),
        Some(Make::Keys) => plant(clean, |_| format!("AKIA{}", random.text(BASE32, 16))),
        Some(Make::Synthetic) => plant(clean, |index| synthetic::value(&mut random, index)),
        Some(Make::Json) => made(json, &mut random),
        Some(Make::Keywords) => made(keywords, &mut random),
        Some(Make::NearMisses) => made(near_miss, &mut random),
        Some(Make::Digits) => made(digits, &mut random),
        Some(Make::Nested) => made(nested, &mut random),
    }
}

/// Each line's host replaced by an address.
fn addresses(clean: &[u8], random: &mut Random) -> Document {
    let mut unit = Document { bytes: Vec::new(), planted: Vec::new() };
    for line in clean.split_inclusive(|b| *b == b'\n') {
        let mut part = || 1 + random.below(254);
        let address = format!("81.{}.{}.{}", part(), part(), part());
        unit.bytes.extend_from_slice(address.as_bytes());
        unit.planted.push(unit.bytes.len());
        let host = line.iter().position(|b| *b == b' ').unwrap_or(0);
        unit.bytes.extend_from_slice(&line[host..]);
    }
    unit
}

/// The clean text with a value at the next delta after every [`PLANT_EVERY`] bytes.
fn plant(clean: &[u8], mut value: impl FnMut(usize) -> String) -> Document {
    let mut unit = Document { bytes: Vec::new(), planted: Vec::new() };
    let (mut from, mut next) = (0, 0);
    for at in 0..clean.len() {
        if at >= next && clean[..at].ends_with(PLANT_AFTER) {
            unit.bytes.extend_from_slice(&clean[from..at]);
            unit.bytes.extend_from_slice(value(unit.planted.len()).as_bytes());
            unit.planted.push(unit.bytes.len());
            unit.bytes.push(b' ');
            (from, next) = (at, at + PLANT_EVERY);
        }
    }
    unit.bytes.extend_from_slice(&clean[from..]);
    unit
}

fn json(random: &mut Random) -> String {
    let lines: Vec<String> = (0..1 + random.below(6))
        .map(|_| {
            let (name, count) = (random.pick(WORDS), random.below(100));
            format!(r#"{{"name":"{name} {}","count":{count},"ok":{}}}"#, random.pick(WORDS), count % 2 == 0)
        })
        .collect();
    format!(
        "{{\"id\":{},\"kind\":\"{}\",\"note\":\"the {} {} waits for a {}\",\"price\":{}.{},\"lines\":[{}],\"next\":null}}\n",
        random.below(1_000_000),
        random.pick(WORDS),
        random.pick(WORDS),
        random.pick(WORDS),
        random.pick(WORDS),
        random.below(1000),
        random.below(10),
        lines.join(","),
    )
}

fn keywords(random: &mut Random) -> String {
    let joint = random.pick(&[" = ", ": ", "=", "\":\"", " => ", "-", "_", " ", "."]);
    let end = random.pick(&["\n", " ", "\", \"", ";", " and "]);
    format!("{}{joint}{}{end}", random.pick(KEYWORDS), random.pick(KEYWORDS))
}

fn near_miss(random: &mut Random) -> String {
    let (prefix, alphabet, len) = NEAR_MISSES[random.below(NEAR_MISSES.len())];
    let short = len - 1 - random.below(4);
    let value = random.text(alphabet, short);
    format!("{prefix}{value}{}", random.pick(&["! ", "\u{e9}", "~\n", "* ", ", ", "\n"]))
}

fn digits(random: &mut Random) -> String {
    let len = 1 + random.below(18);
    let joint = random.pick(&[" ", "-", ".", ",", "/", ":", "", "\n", "  ", "."]);
    format!("{}{joint}", random.text(DIGITS, len))
}

fn nested(random: &mut Random) -> String {
    match random.below(5) {
        0 => random.pick(PREFIXES).repeat(1 + random.below(12)),
        1 => format!("{}=", random.pick(KEYWORDS)).repeat(1 + random.below(6)),
        2 => "a.b@".repeat(1 + random.below(12)),
        3 => format!("{}{}", random.pick(PREFIXES), random.pick(KEYWORDS)).repeat(1 + random.below(6)),
        _ => format!("{}\n", random.text(BASE62, 8)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SSE: &[u8] = br#"data: {"content":"one"} data: {"content":"two"}"#;

    #[test]
    fn documents_are_the_same_on_every_run() {
        for make in [Make::Json, Make::Keywords, Make::NearMisses, Make::Digits, Make::Nested] {
            let [one, two, other] = [7, 7, 8].map(|seed| unit(&[], Some(make), seed).bytes);
            assert!(one.len() >= UNIT_BYTES && one == two && one != other, "{make:?}");
        }
    }

    #[test]
    fn values_are_put_in_where_the_text_allows_it() {
        let unit = unit(&SSE.repeat(200), Some(Make::Keys), 1);
        let text = String::from_utf8(unit.bytes.clone()).unwrap();
        assert_eq!(unit.planted.len(), text.matches("\"content\":\"AKIA").count());
        assert_eq!(unit.planted.len(), (SSE.len() * 200).div_ceil(PLANT_EVERY));
        let document = Document::repeat(&unit, 2 * unit.bytes.len());
        assert_eq!(document.planted_before(document.bytes.len()), 2 * unit.planted.len());
    }

    #[test]
    fn every_line_gets_an_address() {
        let unit = unit(b"edge-1 - a\nedge-2 - b\n", Some(Make::Addresses), 1);
        assert_eq!(unit.planted.len(), 2);
        assert!(unit.bytes.starts_with(b"81.") && !unit.bytes.windows(4).any(|w| w == b"edge"));
    }
}
