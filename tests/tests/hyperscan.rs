//! Hyperscan's windows in place of ours: the built-in packs mask the labelled corpus the same.
#![cfg(feature = "hyperscan")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::sync::Arc;

use sluice_engine::{CompileOptions, Event, Ruleset, Scratch, Sink, Stream, StreamOptions};
use sluice_patterns::PackSet;
use sluice_tests::checkout;
use sluice_tests::planted::Planted;

/// Bytes of each file of clean traffic that are masked.
const CLEAN_BYTES: usize = 40_000;

/// What became of a text, and the events in the order of the input.
#[derive(Default, PartialEq, Eq)]
struct Outcome {
    output: Vec<u8>,
    events: Vec<Event>,
}

impl Sink for Outcome {
    fn pass(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    fn skip(&mut self, _len: usize) {}

    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

fn mask(ruleset: &Arc<Ruleset>, scratch: &mut Scratch, text: &[u8], chunk: usize) -> Outcome {
    let mut outcome = Outcome::default();
    let mut stream = Stream::new(ruleset, StreamOptions::default());
    for part in text.chunks(chunk) {
        stream.push(scratch, part, &mut outcome);
    }
    stream.finish(scratch, &mut outcome);
    outcome.events.sort_by_key(|e| (e.input.start, e.input.end, e.rule));
    outcome
}

/// The texts of the labelled rows, and a part of each file of clean traffic.
fn corpus() -> Vec<Vec<u8>> {
    let Some(shared) = checkout::shared() else {
        checkout::skip("hyperscan on the corpus", "no corpus beside the checkout (SLUICE_SHARED)");
        return Vec::new();
    };
    let rows = fs::read_to_string(shared.join("corpus/dev.jsonl")).expect("the labelled corpus");
    let text = |row: &str| {
        let row: serde_json::Value = serde_json::from_str(row).expect("a row is JSON");
        row["text"].as_str().expect("a row has a text").as_bytes().to_vec()
    };
    let mut texts: Vec<Vec<u8>> = rows.lines().map(text).collect();
    for entry in fs::read_dir(shared.join("corpus/clean")).expect("clean traffic") {
        let mut bytes = fs::read(entry.expect("an entry").path()).expect("a file");
        bytes.truncate(CLEAN_BYTES);
        texts.push(bytes);
    }
    texts
}

#[test]
fn hyperscan_masks_the_corpus_as_we_do() {
    let packs = PackSet::load::<&str>(&[]).unwrap();
    let own = packs.compile(&CompileOptions::default()).unwrap();
    let other = packs.compile(&CompileOptions { hyperscan: true, ..CompileOptions::default() }).unwrap();
    assert!(other.memory_bytes() > own.memory_bytes(), "Hyperscan's database is counted");
    let mut texts = corpus();
    texts.extend(Planted::all().iter().map(|planted| planted.sentence().into_bytes()));
    let (mut scratch, mut events) = (Scratch::new(), 0);
    for (index, text) in texts.iter().enumerate() {
        let wanted = mask(&own, &mut scratch, text, text.len().max(1));
        events += wanted.events.len();
        for chunk in [text.len().max(1), 61] {
            let got = mask(&other, &mut scratch, text, chunk);
            assert!(got == wanted, "text {index} in chunks of {chunk}: another output or other events");
        }
    }
    assert!(events >= Planted::all().len(), "only {events} values in {} texts", texts.len());
}
