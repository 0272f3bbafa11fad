//! What is timed and compared: something that scans a document in chunks and tells matches.

use std::ops::Range;
use std::sync::Arc;

use sluice_engine::{Event, Ruleset, Scratch, Sink, Stream, StreamOptions};

/// A match, as a rule's index and the bytes it takes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Match {
    /// Index of the rule in the list it was compiled from.
    pub rule: u32,
    /// First byte.
    pub start: u64,
    /// Byte after the last.
    pub end: u64,
}

/// A compiled list of rules that scans streams.
pub trait Contender {
    /// As the table names it.
    fn name(&self) -> &str;
    /// Scans the document as one stream in chunks of this size; the number of matches.
    fn count(&mut self, document: &[u8], chunk: usize) -> u64;
    /// The same, with every match.
    fn matches(&mut self, document: &[u8], chunk: usize) -> Vec<Match>;
    /// Memory of the compiled rules, in bytes.
    fn memory_bytes(&self) -> usize;
}

/// Our engine: finds, resolves overlaps, and replaces.
#[derive(Debug)]
pub struct Ours {
    name: String,
    ruleset: Arc<Ruleset>,
    scratch: Scratch,
}

/// Counts what comes out; nothing is copied.
#[derive(Default)]
struct Counter {
    matches: u64,
    bytes_in: u64,
    bytes_out: u64,
}

impl Sink for Counter {
    fn pass(&mut self, bytes: &[u8]) {
        self.bytes_in += bytes.len() as u64;
        self.bytes_out += bytes.len() as u64;
    }

    fn emit(&mut self, bytes: &[u8]) {
        self.bytes_out += bytes.len() as u64;
    }

    fn skip(&mut self, len: usize) {
        self.bytes_in += len as u64;
    }

    fn event(&mut self, _event: &Event) {
        self.matches += 1;
    }
}

#[derive(Default)]
struct Collector(Vec<Match>);

impl Sink for Collector {
    fn pass(&mut self, _bytes: &[u8]) {}
    fn emit(&mut self, _bytes: &[u8]) {}
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, event: &Event) {
        let Range { start, end } = event.input;
        self.0.push(Match { rule: event.rule.0, start, end });
    }
}

impl Ours {
    /// Our engine with these rules.
    #[must_use]
    pub fn new(name: &str, ruleset: Arc<Ruleset>) -> Ours {
        Ours { name: name.into(), ruleset, scratch: Scratch::new() }
    }

    fn scan(&mut self, document: &[u8], chunk: usize, sink: &mut dyn Sink) {
        let mut stream = Stream::new(&self.ruleset, StreamOptions::default());
        for part in document.chunks(chunk) {
            stream.push(&mut self.scratch, part, sink);
        }
        stream.finish(&mut self.scratch, sink);
    }
}

impl Contender for Ours {
    fn name(&self) -> &str {
        &self.name
    }

    fn count(&mut self, document: &[u8], chunk: usize) -> u64 {
        let mut counter = Counter::default();
        self.scan(document, chunk, &mut counter);
        assert_eq!(counter.bytes_in, document.len() as u64, "each byte is accounted for once");
        std::hint::black_box(counter.bytes_out);
        counter.matches
    }

    fn matches(&mut self, document: &[u8], chunk: usize) -> Vec<Match> {
        let mut collector = Collector::default();
        self.scan(document, chunk, &mut collector);
        collector.0
    }

    fn memory_bytes(&self) -> usize {
        self.ruleset.memory_bytes()
    }
}
