//! Replays the corpus of every body, then a bounded, seeded run of mutations of it: the same on every machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use sluice_fuzz::random::Random;
use sluice_fuzz::{BODIES, Body};

/// How many mutations are tried of each body's corpus, and how many with `SLUICE_LONG=1`.
const MUTATIONS: usize = 4000;
const MUTATIONS_LONG: usize = 400_000;
/// The largest of them.
const BYTES_MAX: usize = 2048;

/// The corpus of a body, by file name.
fn corpus(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(&folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .map(|path| (path.display().to_string(), fs::read(&path).expect("a file")))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "{name} has no corpus");
    files
}

/// Runs a body; where it panics, the document is kept for the corpus.
fn run(name: &str, body: Body, what: &str, document: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| body(document))) {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}-failing"));
        fs::write(&path, document).expect("the document is kept");
        eprintln!("{name}: {what} fails; the document is in {}", path.display());
        std::panic::resume_unwind(panic);
    }
}

fn replay(name: &str) {
    let (_, body) = BODIES.iter().find(|(n, _)| *n == name).expect("a body of that name");
    let corpus = corpus(name);
    for (file, document) in &corpus {
        run(name, *body, file, document);
    }
    let documents: Vec<Vec<u8>> = corpus.into_iter().map(|(_, document)| document).collect();
    let mut random = Random::seeded(20_261_121);
    let long = std::env::var("SLUICE_LONG").is_ok_and(|v| v == "1");
    for i in 0..if long { MUTATIONS_LONG } else { MUTATIONS } {
        run(name, *body, &format!("mutation {i}"), &random.mutate(&documents, BYTES_MAX));
    }
}

#[test]
fn stream() {
    replay("stream");
}

#[test]
fn instruction_sets() {
    replay("instruction_sets");
}

#[test]
fn builtin() {
    replay("builtin");
}

#[test]
fn json() {
    replay("json");
}

#[test]
fn ndjson() {
    replay("ndjson");
}

#[test]
fn sse() {
    replay("sse");
}

#[test]
fn form() {
    replay("form");
}

#[test]
fn multipart() {
    replay("multipart");
}

#[test]
fn nested() {
    replay("nested");
}

#[test]
fn auto() {
    replay("auto");
}

#[test]
fn protobuf() {
    replay("protobuf");
}

#[test]
fn otlp() {
    replay("otlp");
}

#[test]
fn grpc() {
    replay("grpc");
}

#[test]
fn event_stream() {
    replay("event_stream");
}

#[test]
fn websocket() {
    replay("websocket");
}

#[test]
fn coding() {
    replay("coding");
}

#[test]
fn pack() {
    replay("pack");
}

#[test]
fn built_pack() {
    replay("built_pack");
}

#[test]
fn http() {
    replay("http");
}

#[test]
fn every_body_has_a_test_and_a_corpus() {
    let tests = include_str!("replay.rs");
    for (name, _) in BODIES {
        assert!(tests.contains(&format!("replay(\"{name}\")")), "{name} is not replayed");
        corpus(name);
    }
}
