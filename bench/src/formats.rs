//! Cases of the bench `formats`: documents of a format, masked as a whole, with their answers.
//!
//! A bench that times a wrong answer measures nothing, so [`Case::check`] runs before any timing, and a test of this crate
//! runs it for every case.

use std::sync::Arc;

use serde::Deserialize;
use sluice_engine::{CompileOptions, Format, Masker, MaskerOptions, Ruleset, Scratch};
use sluice_patterns::PackSet;

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cases::Cases;

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
