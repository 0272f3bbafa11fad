//! Cases of the bench `formats`: documents of a format, masked as a whole, with their answers.
//!
//! A bench that times a wrong answer measures nothing, so [`Case::check`] runs before any timing, and a test of this crate
//! runs it for every case.

use std::fmt::Write;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use serde::Deserialize;
use serde::de::IgnoredAny;
use sluice_engine::{CompileOptions, Format, Masker, MaskerOptions, Ruleset, Scratch};
use sluice_patterns::PackSet;

use crate::cases::Cases;
use crate::corpus::Corpus;

/// The sizes of chunks that a case is timed with.
pub const CHUNKS: [usize; 2] = [64, 16 * 1024];

/// A document, and what must be found in it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// `group/name`.
    pub name: String,
    format: String,
    kib: usize,
    unit: String,
    #[serde(default)]
    before: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    value: String,
    every_kib: Option<usize>,
    found: usize,
}

/// The ruleset of all built-in packs.
///
/// # Panics
/// When one has a fault.
#[must_use]
pub fn ruleset() -> Arc<Ruleset> {
    let packs = PackSet::load::<&str>(&[]).unwrap_or_else(|faults| panic!("{faults}"));
    packs.compile(&CompileOptions::default()).unwrap_or_else(|faults| panic!("{faults}"))
}

impl Case {
    /// The document.
    #[must_use]
    pub fn document(&self) -> Vec<u8> {
        let unit = self.unit.strip_prefix('\n').unwrap_or(&self.unit);
        let mut document = self.before.clone();
        let mut next = self.every_kib.map(|kib| kib * 1024);
        while document.len() < self.kib * 1024 {
            document.push_str(unit);
            if let (Some(at), Some(kib)) = (next, self.every_kib)
                && document.len() >= at
            {
                document.push_str(&self.value);
                document.push(' ');
                next = Some(at + kib * 1024);
            }
        }
        document.push_str(&self.after);
        document.into_bytes()
    }

    /// The format of the document.
    ///
    /// # Panics
    /// When there is no such format.
    #[must_use]
    pub fn format(&self) -> Format {
        match self.format.as_str() {
            "text" => Format::Text,
            "json" => Format::Json,
            "sse" => Format::Sse,
            other => panic!("no format {other}"),
        }
    }

    /// Masks the document in chunks of this size; gives the output and the number of values found.
    ///
    /// # Panics
    /// When the document is not valid in its format.
    #[must_use]
    pub fn mask(&self, ruleset: &Arc<Ruleset>, document: &[u8], chunk: usize) -> (Vec<u8>, usize) {
        let (mut masker, mut scratch) =
            (Masker::new(ruleset, self.format(), MaskerOptions::default()), Scratch::new());
        let (mut output, mut found) = (Vec::with_capacity(document.len()), 0);
        for part in document.chunks(chunk) {
            masker.push(&mut scratch, part, &mut output).expect("the document is valid");
            found += masker.take_findings().len();
        }
        masker.finish(&mut scratch, &mut output).expect("the document is valid");
        (output, found + masker.take_findings().len())
    }

    /// Checks the answer for every size of chunks.
    ///
    /// # Panics
    /// When it is wrong.
    pub fn check(&self, ruleset: &Arc<Ruleset>) {
        let document = self.document();
        for chunk in CHUNKS {
            let (output, found) = self.mask(ruleset, &document, chunk);
            assert_eq!(found, self.found, "{}: values found in chunks of {chunk}", self.name);
            assert!(found > 0 || output == document, "{}: a clean document changed", self.name);
        }
    }
}

/// Runs of each contender, of which the median counts.
const ROUNDS: usize = 9;
/// Bytes of a document, at least.
const RATIO_BYTES: usize = 4 << 20;
/// Bytes of a chunk.
const RATIO_CHUNK: usize = 16 * 1024;

/// A contender's speeds, and how it runs; what it gives is so that it does run.
type Timed<'a> = (Vec<f64>, Box<dyn FnMut() -> usize + 'a>);

/// The table of `cargo bench -p sluice-bench --bench formats -- ratios`: MB/s of copying, of scanning as raw text, of
/// masking in the format, and of parsing the JSON in it, in turns within one run.
///
/// # Panics
/// When the corpus is not there, or an answer is wrong.
#[must_use]
pub fn ratios() -> String {
    let ruleset = ruleset();
    let mut table =
        String::from("| input | copied | raw text | in its format | format to raw | JSON parsed |\n");
    table.push_str("|---|--:|--:|--:|--:|--:|\n");
    for case in Cases::read().engine {
        let format = match case.name.as_str() {
            "sse" => Format::Sse,
            "otlp" | "json" => Format::Ndjson,
            _ => continue,
        };
        let document = Corpus::find().and_then(|corpus| case.document(&corpus, RATIO_BYTES));
        let mut bytes = document.unwrap_or_else(|e| panic!("{e}")).bytes;
        bytes.truncate(whole_len(&bytes));
        assert_eq!(masked(&ruleset, format, &bytes), bytes, "{}: a clean document changed", case.name);
        let mut contenders: [Timed<'_>; 4] = [
            (Vec::new(), Box::new(|| bytes.chunks(RATIO_CHUNK).map(|c| black_box(c.to_vec()).len()).sum())),
            (Vec::new(), Box::new(|| masked(&ruleset, Format::Text, &bytes).len())),
            (Vec::new(), Box::new(|| masked(&ruleset, format, &bytes).len())),
            (Vec::new(), Box::new(|| parsed(&bytes))),
        ];
        for _ in 0..ROUNDS {
            for (speeds, contender) in &mut contenders {
                let began = Instant::now();
                black_box(contender());
                speeds.push(bytes.len() as f64 / began.elapsed().as_secs_f64() / 1e6);
            }
        }
        let median = |n: usize| {
            let mut speeds = contenders[n].0.clone();
            speeds.sort_by(f64::total_cmp);
            speeds[ROUNDS / 2]
        };
        let [copied, raw, format, parsed] = [0, 1, 2, 3].map(median);
        let (name, ratio) = (case.name, format / raw);
        writeln!(table, "| {name} | {copied:.0} | {raw:.0} | {format:.0} | {ratio:.2} | {parsed:.0} |")
            .expect("writing to a string does not fail");
    }
    table
}

/// Where the last whole event or line ends.
fn whole_len(bytes: &[u8]) -> usize {
    let end = bytes.windows(2).rposition(|pair| pair == b"\n\n").map(|at| at + 2);
    end.or_else(|| bytes.iter().rposition(|b| *b == b'\n').map(|at| at + 1)).unwrap_or(bytes.len())
}

fn masked(ruleset: &Arc<Ruleset>, format: Format, document: &[u8]) -> Vec<u8> {
    let (mut masker, mut scratch) = (Masker::new(ruleset, format, MaskerOptions::default()), Scratch::new());
    let mut output = Vec::with_capacity(document.len());
    for part in document.chunks(RATIO_CHUNK) {
        masker.push(&mut scratch, part, &mut output).expect("the document is valid");
    }
    masker.finish(&mut scratch, &mut output).expect("the document is valid");
    output
}

/// Parses the JSON of each line, and keeps nothing; how many.
fn parsed(document: &[u8]) -> usize {
    let lines = document.split(|b| *b == b'\n');
    let json = lines.map(|line| line.strip_prefix(b"data: ").unwrap_or(line));
    json.filter(|line| serde_json::from_slice::<IgnoredAny>(line).is_ok()).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_case_has_its_answer() {
        let ruleset = ruleset();
        let cases = Cases::read().case;
        assert!(cases.len() >= 8, "only {} cases", cases.len());
        for case in cases {
            case.check(&ruleset);
        }
    }
}
