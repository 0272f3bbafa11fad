//! Streams of text: the same for every chunking, and as the naive oracle says.

use std::sync::{Arc, OnceLock};

use sluice_engine::{
    CompileOptions, Event, InstructionSet, Ruleset, Scratch, Sink, Stream, StreamOptions, TokenKey, oracle,
};
use sluice_patterns::{Pack, PackSet};

use crate::random::Random;

/// The longest text that is compared with the oracle, whose time grows with its square.
const ORACLE_BYTES_MAX: usize = 400;

/// Rules chosen to meet every part of the machine at once: `fuzz/packs/every_part.toml`.
///
/// # Panics
/// When the pack has a fault.
#[must_use]
pub fn every_part() -> Arc<Ruleset> {
    static RULESET: OnceLock<Arc<Ruleset>> = OnceLock::new();
    Arc::clone(RULESET.get_or_init(|| compile_every_part(None)))
}

fn compile_every_part(instruction_set: Option<InstructionSet>) -> Arc<Ruleset> {
    let pack = Pack::parse("every_part.toml", include_str!("../packs/every_part.toml"));
    let pack = pack.unwrap_or_else(|faults| panic!("{faults}"));
    let rules = pack.rules.into_iter().map(|rule| rule.rule).collect();
    let token_key = TokenKey::new(vec![7; 32]);
    let options = CompileOptions { token_key, instruction_set, ..CompileOptions::default() };
    Ruleset::compile(rules, &options).unwrap_or_else(|faults| panic!("{faults}"))
}

/// All built-in packs.
///
/// # Panics
/// When one has a fault.
#[must_use]
pub fn builtin() -> Arc<Ruleset> {
    static RULESET: OnceLock<Arc<Ruleset>> = OnceLock::new();
    let make = || {
        let packs = PackSet::load::<&str>(&[]).unwrap_or_else(|faults| panic!("{faults}"));
        packs.compile(&CompileOptions::default()).unwrap_or_else(|faults| panic!("{faults}"))
    };
    Arc::clone(RULESET.get_or_init(make))
}

/// What became of a text, and whether every byte of it was accounted for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    output: Vec<u8>,
    accounted: u64,
    events: Vec<Event>,
}

impl Sink for Outcome {
    fn pass(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
        self.accounted += bytes.len() as u64;
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    fn skip(&mut self, len: usize) {
        self.accounted += len as u64;
    }

    fn event(&mut self, event: &Event) {
        self.events.push(event.clone());
    }
}

/// Scans a text in these chunks.
fn scan(ruleset: &Arc<Ruleset>, chunks: &[&[u8]]) -> Outcome {
    let (mut stream, mut scratch) = (Stream::new(ruleset, StreamOptions::default()), Scratch::new());
    let mut outcome = Outcome::default();
    let mut pushed = 0;
    for chunk in chunks {
        stream.push(&mut scratch, chunk, &mut outcome);
        pushed += chunk.len() as u64;
        // What is masked of a match that still goes on is accounted for once it is decided.
        assert!(outcome.accounted <= pushed, "more came out than went in");
        assert!(stream.held() as u64 <= pushed, "more is held than came");
    }
    stream.finish(&mut scratch, &mut outcome);
    assert_eq!(outcome.accounted, pushed, "a byte is neither passed nor masked");
    assert_eq!(stream.held(), 0, "something is held after the end");
    outcome.events.sort_by_key(|e| (e.input.start, e.input.end, e.rule));
    outcome
}

/// The promise of every stream: chunks don't matter.
fn chunked_vs_whole(ruleset: &Arc<Ruleset>, text: &[u8]) -> Outcome {
    let whole = scan(ruleset, &[text]);
    let cut = scan(ruleset, &Random::of(text).chunks(text));
    assert_eq!(cut, whole, "the output depends on the chunks");
    whole
}

/// A text in chunks, whole, and by the oracle.
pub fn stream_vs_oracle(text: &[u8]) {
    let ruleset = every_part();
    let text = text.get(..ORACLE_BYTES_MAX).unwrap_or(text);
    let whole = chunked_vs_whole(&ruleset, text);
    let verdict = oracle::mask_whole(&ruleset, b"", text);
    assert_eq!(
        String::from_utf8_lossy(&whole.output),
        String::from_utf8_lossy(&verdict.output),
        "the oracle disagrees about {:?}",
        String::from_utf8_lossy(text)
    );
    let mut events: Vec<Event> = verdict.masked.into_iter().chain(verdict.labels).collect();
    events.sort_by_key(|e| (e.input.start, e.input.end, e.rule));
    assert_eq!(whole.events, events, "the oracle disagrees about events");
}

/// A text in chunks and whole, with all built-in rules.
pub fn builtin_vs_whole(text: &[u8]) {
    chunked_vs_whole(&builtin(), text);
}

/// A text with each instruction set of this machine, several times over so that vectors meet it at every offset.
pub fn instruction_sets(text: &[u8]) {
    static RULESETS: OnceLock<Vec<Arc<Ruleset>>> = OnceLock::new();
    let all = || InstructionSet::available().iter().map(|set| compile_every_part(Some(*set))).collect();
    let long = text.repeat(3);
    let outcomes = RULESETS.get_or_init(all).iter().map(|ruleset| chunked_vs_whole(ruleset, &long));
    let outcomes: Vec<Outcome> = outcomes.collect();
    assert!(outcomes.windows(2).all(|two| two[0] == two[1]), "the instruction sets disagree");
}
