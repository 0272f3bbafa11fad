//! What scanning with the built-in packs costs, counted in allocations and steps.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use sluice_engine::{CompileOptions, Event, Ruleset, Scratch, Sink, Stream, StreamOptions, Work};
use sluice_patterns::{Pack, PackSet};

/// Takes everything and keeps nothing.
#[derive(Default)]
struct Nowhere {
    events: usize,
}

impl Sink for Nowhere {
    fn pass(&mut self, _: &[u8]) {}
    fn emit(&mut self, _: &[u8]) {}
    fn skip(&mut self, _: usize) {}
    fn event(&mut self, _: &Event) {
        self.events += 1;
    }
}

fn builtin() -> Arc<Ruleset> {
    let packs = PackSet::load::<&str>(&[]).unwrap();
    packs.compile(&CompileOptions::default()).unwrap()
}

const CHAT: &str = "data: {\"id\":\"chatcmpl-86327a9b603c\",\"object\":\"chat.completion.chunk\",\"created\":1770563762,\
                    \"choices\":[{\"index\":0,\"delta\":{\"content\":\" merge\"}}]}\n\n";

#[test]
fn a_chunk_in_steady_state_allocates_nothing() {
    let rules = builtin();
    let clean = CHAT.repeat(400);
    let masked =
        format!("{CHAT}curl -H 'Authorization: token ghp_{}'\n", "aB3dE6gH9jK2mN5pQ8sT1vW4xY7zA0cD3fG6");
    let masked = masked.repeat(100);
    for (text, chunk) in [(&clean, 16 * 1024), (&clean, 256), (&clean, 7), (&masked, 4096), (&masked, 100)] {
        let (mut scratch, mut sink) = (Scratch::new(), Nowhere::default());
        let mut stream = Stream::new(&rules, StreamOptions::default());
        let mut all = || {
            for chunk in text.as_bytes().chunks(chunk) {
                stream.push(&mut scratch, chunk, &mut sink);
            }
        };
        (0..4).for_each(|_| all());
        let counted = allocation_counter::measure(&mut all);
        assert_eq!(counted.count_total, 0, "{chunk} bytes a chunk of {} bytes", text.len());
    }
}

/// A rule whose automaton is too large for a table.
const GAPS: &str = r#"
[pack]
name = "gaps"
version = "1.0.0"
description = "Gaps that may hold what follows them"

[[rule]]
id = "gaps"
entity = "gaps"
description = "A value far behind its keyword"
regex = '''(?i)key[a-z =:\n]{0,40}?(?:secret|token|pass)[a-z =:\n]{0,40}?\b(?P<secret>(?:[a-f0-9]{2}[a-z]?){6,40})\b'''
confidence = "high"
examples = [
    { text = "key is my secret = 0f1e2d3c4b5a.", matches = ["0f1e2d3c4b5a"] },
    { text = "key token 0f1e2d3c4b5", matches = [] },
]
"#;

#[test]
fn beyond_the_head_of_a_table_neither() {
    let rules = Pack::parse("gaps.toml", GAPS).unwrap().compile(&CompileOptions::default()).unwrap();
    let text = "key is my secret: key = token 0f1e2d3c4b5a key pass words and more words key se ".repeat(100);
    for chunk in [4096, 100, 7] {
        let (mut scratch, mut sink) = (Scratch::new(), Nowhere::default());
        let mut stream = Stream::new(&rules, StreamOptions::default());
        let mut all = || {
            text.as_bytes().chunks(chunk).for_each(|chunk| stream.push(&mut scratch, chunk, &mut sink));
        };
        (0..4).for_each(|_| all());
        let counted = allocation_counter::measure(&mut all);
        assert_eq!(counted.count_total, 0, "{chunk} bytes a chunk");
        assert!(sink.events > 400, "{} values found", sink.events);
    }
}

fn work(rules: &Arc<Ruleset>, text: &[u8], chunk: usize) -> Work {
    let mut scratch = Scratch::new();
    let mut stream = Stream::new(rules, StreamOptions::default());
    for chunk in text.chunks(chunk) {
        stream.push(&mut scratch, chunk, &mut Nowhere::default());
    }
    stream.finish(&mut scratch, &mut Nowhere::default());
    scratch.work()
}

/// Steps of automata a byte, at most, on anything tried here: the bound that `docs/architecture.md` states.
const STEPS_A_BYTE_MAX: f64 = 400.0;

#[test]
fn inputs_made_to_hurt_stay_linear() {
    let rules = builtin();
    let units = [
        "password=",
        "key",
        "token=\"",
        "a.a.a.a@",
        "4111 ",
        "1234567890",
        "0123456789abcdef",
        "eyJhbGciOi.",
        "https://user:",
        "AKIA",
        "-----BEGIN ",
        "ghp_",
        "secret: ",
        "::1:2:",
        "a@b.",
        "+1 ",
        "xoxb-",
        "id id ",
        "api_key api_key=",
        "Bearer ",
        "\"key\":\"",
        "sk-",
        "127.0.0.",
        "01-01-",
        "/",
        "A",
        "aB3+",
    ];
    for unit in units {
        let text = unit.repeat(60_000 / unit.len());
        let (half, whole) = (text.as_bytes().split_at(text.len() / 2).0, text.as_bytes());
        let (less, more) = (work(&rules, half, 4096), work(&rules, whole, 4096));
        let a_byte = more.steps as f64 / more.bytes as f64;
        assert!(a_byte < STEPS_A_BYTE_MAX, "{unit:?}: {a_byte} steps a byte");
        assert!(
            more.steps <= less.steps * 5 / 2 + 10_000,
            "{unit:?}: {} steps, then {}",
            less.steps,
            more.steps
        );
        assert!(more.places <= more.bytes, "{unit:?}: a place is looked at once");
    }
}
