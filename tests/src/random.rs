//! Documents that are random, from a seed, with values planted in them; and all that somebody could decode of one.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::planted::Planted;

/// Numbers from a seed (Knuth's MMIX).
pub struct Random(pub u64);

impl Random {
    /// The next one below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound.max(1)
    }

    /// One of a list.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// So many bytes of any kind.
    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// JSON with letters of its strings escaped here and there.
pub fn spell(value: &Value, random: &mut Random) -> String {
    let mut out = String::new();
    let (mut in_string, mut escaped) = (false, false);
    for c in value.to_string().chars() {
        if in_string && !escaped && c.is_ascii_alphanumeric() && random.below(8) == 0 {
            write!(out, "\\u{:04x}", u32::from(c)).expect("memory");
        } else {
            out.push(c);
        }
        in_string ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    out
}

/// Plants values in documents.
pub struct Planter<'a> {
    all: &'a [Planted],
    /// What was planted.
    pub values: Vec<&'a Planted>,
}

impl<'a> Planter<'a> {
    /// One that has planted nothing yet.
    #[must_use]
    pub fn new(all: &'a [Planted]) -> Planter<'a> {
        Planter { all, values: Vec::new() }
    }

    /// A text of sentences, some of which have a value, in some encoding.
    pub fn text(&mut self, random: &mut Random) -> String {
        let mut text = String::new();
        for _ in 0..=random.below(2) {
            text += ["Nothing to see here. ", "So it goes, said the fox. ", "One, two and three; "]
                [random.below(3)];
            if random.below(3) == 0 {
                let planted = &self.all[random.below(self.all.len())];
                self.values.push(planted);
                text += &encoded(&planted.sentence(), random);
                text += " ";
            }
        }
        text
    }

    /// A JSON value of some depth.
    pub fn json(&mut self, depth: usize, random: &mut Random) -> Value {
        match random.below(if depth == 0 { 3 } else { 6 }) {
            0 | 1 => Value::from(self.text(random)),
            2 => json!([random.below(1000), true, null, 0.25]),
            3 => (0..random.below(4)).map(|_| self.json(depth - 1, random)).collect(),
            // JSON in a string.
            4 => Value::from(self.json(depth - 1, random).to_string()),
            _ => {
                let names = ["note", "text", "content", "db.statement", "x", "arguments", "value"];
                let name = |n: usize| format!("{}{n}", names[n % names.len()]);
                let members =
                    (0..random.below(5)).map(|n| (name(random.below(7) + n), self.json(depth - 1, random)));
                Value::Object(members.collect())
            }
        }
    }
}

/// The sentence as it is, or as something decodes it.
fn encoded(sentence: &str, random: &mut Random) -> String {
    let every = |one: &dyn Fn(u8) -> String| sentence.bytes().map(one).collect::<String>();
    // Its key has the base64 of this word in it.
    let is_of_base64 = sentence.contains("OpenAI");
    match random.below(8) {
        0 | 1 if is_of_base64 => sentence.to_owned(),
        0 => STANDARD_NO_PAD.encode(sentence),
        1 => URL_SAFE_NO_PAD.encode(sentence),
        2 => every(&|b| format!("%{b:02X}")),
        3 => every(&|b| {
            if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02x}") }
        }),
        4 => every(&|b| format!("\\u{b:04x}")),
        _ => sentence.to_owned(),
    }
}

/// Deepest decoding of one text in another.
const DEPTH_MAX: usize = 5;
/// The fewest characters of base64 that are decoded.
const BASE64_BYTES_MIN: usize = 24;

/// The text, and all that it says by any decoding: escapes of JSON, percent-encoding, base64, JSON in strings.
#[must_use]
pub fn decodings(text: &str) -> Vec<String> {
    let mut all = Vec::new();
    decode(text, DEPTH_MAX, &mut all);
    all
}

fn decode(text: &str, depth: usize, all: &mut Vec<String>) {
    if text.is_empty() || all.iter().any(|known| known == text) {
        return;
    }
    all.push(text.to_owned());
    if depth == 0 {
        return;
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_) | Value::String(_))) = serde_json::from_str(text) {
        strings(&value, &mut |string| decode(string, depth - 1, all));
    }
    for read in [unescape(text, "%", 2), unescape(text, "\\u", 4)] {
        decode(&read, depth - 1, all);
    }
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '-' | '_');
    for run in text.split(|c| !is_base64(c)).filter(|run| run.len() >= BASE64_BYTES_MIN) {
        let run = run.replace('-', "+").replace('_', "/");
        // Where it begins is not known: any of four places.
        for from in 0..4 {
            let whole = run.len() - from - (run.len() - from) % 4;
            if let Some(Ok(bytes)) = run.get(from..from + whole).map(|run| STANDARD_NO_PAD.decode(run)) {
                decode(&String::from_utf8_lossy(&bytes), depth - 1, all);
            }
        }
    }
}

/// The keys and strings of a value.
pub fn strings(value: &Value, each: &mut dyn FnMut(&str)) {
    match value {
        Value::String(text) => each(text),
        Value::Array(items) => items.iter().for_each(|item| strings(item, each)),
        Value::Object(members) => members.iter().for_each(|(key, item)| {
            each(key);
            strings(item, each);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A text without escapes that begin so and go on with so many hexadecimal digits.
fn unescape(text: &str, begin: &str, digits: usize) -> String {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(begin) {
        bytes.extend(rest[..at].bytes());
        let code = rest.get(at + begin.len()..at + begin.len() + digits);
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &rest[at + begin.len() + digits..];
            }
            None => {
                bytes.extend(begin.bytes());
                rest = &rest[at + begin.len()..];
            }
        }
    }
    bytes.extend(rest.bytes());
    String::from_utf8_lossy(&bytes).into_owned()
}
