//! What waits in clean LLM streams: bytes of text that have come and not left, after each event.
//!
//! `cargo test -p sluice-tests --test hold_back -- --nocapture` prints the table of `docs/tune.md`. *Undecided* are the bytes
//! of which some continuation could still make a value, *waiting* is all text of the events that wait with them, for an event
//! leaves whole. They depend on the rules and the streams alone, so bounds are asserted.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;
use std::sync::Arc;

use serde_json::Value;
use sluice_engine::{CompileOptions, Format, Masker, MaskerOptions, Rule, RuleId, Ruleset, Scratch};
use sluice_tests::engine::builtin;
use sluice_tests::{checkout, llm};

/// Candidates in usual traffic beyond which what a rule begins with is no marker, but a word or a run of characters.
const CANDIDATES_RARE_PER_MIB: f64 = 20.0;

/// Bytes of text in an event's data.
fn text_bytes(data: &str) -> usize {
    let Ok(value) = serde_json::from_str::<Value>(data) else { return 0 };
    let choices = value["choices"].as_array().cloned().unwrap_or_default();
    let deltas = choices.iter().map(|choice| &choice["delta"]).chain([&value["delta"]]);
    deltas.filter_map(Value::as_object).flat_map(|d| d.values()).filter_map(Value::as_str).map(str::len).sum()
}

/// The events of a body with their bytes of text.
fn events(body: &str) -> Vec<(&str, usize)> {
    let event = |event| (event, llm::events(event).iter().map(|data| text_bytes(data)).sum());
    body.split_inclusive("\n\n").map(event).collect()
}

/// Clean streams, each of one answer.
fn streams() -> Option<Vec<String>> {
    let folder = checkout::shared()?;
    let body = fs::read_to_string(folder.join("corpus/clean/llm_chat.sse")).expect("clean streams");
    Some(body.split_inclusive("data: [DONE]\n\n").map(String::from).collect())
}

#[derive(Default)]
struct Held {
    /// By event, in bytes.
    undecided: Vec<usize>,
    waiting: Vec<usize>,
    /// By event that carries text: how many events came until it left.
    delays: Vec<usize>,
}

impl Held {
    fn add(&mut self, ruleset: &Arc<Ruleset>, body: &str) {
        let (mut masker, mut scratch) =
            (Masker::new(ruleset, Format::Sse, MaskerOptions::default()), Scratch::new());
        let (mut out, mut came, mut ends) = (Vec::new(), 0, Vec::new());
        for (number, (event, text)) in events(body).into_iter().enumerate() {
            masker.push(&mut scratch, event.as_bytes(), &mut out).expect("the stream is valid");
            came += event.len();
            ends.push((came, text, number));
            let (left, stay): (Vec<_>, Vec<_>) = ends.drain(..).partition(|(end, ..)| *end <= out.len());
            self.delays.extend(left.iter().filter(|(_, text, _)| *text > 0).map(|(.., from)| number - from));
            ends = stay;
            self.undecided.push(masker.held());
            self.waiting.push(ends.iter().map(|(_, text, _)| text).sum());
        }
        masker.finish(&mut scratch, &mut out).expect("the stream is valid");
        assert!(out == body.as_bytes(), "a clean stream changed");
    }
}

/// The mean, and the value at so many of a thousand.
fn mean(values: &[usize]) -> f64 {
    values.iter().sum::<usize>() as f64 / values.len() as f64
}

fn at(values: &[usize], per_mille: usize) -> usize {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * per_mille / 1000]
}

fn print(held: &Held) {
    for (kind, values) in [
        ("undecided bytes", &held.undecided),
        ("waiting bytes", &held.waiting),
        ("events until it left", &held.delays),
    ] {
        let (mean, p50, p90, p99, max) =
            (mean(values), at(values, 500), at(values, 900), at(values, 990), at(values, 1000));
        println!("{kind} | {mean:.2} | {p50} | {p90} | {p99} | {max}");
    }
}

/// Built-in rules whose matches begin with a literal of their own.
const LITERAL: &[&str] = &[
    "aws-access-key-id",
    "openai-api-key",
    "anthropic-api-key",
    "huggingface-token",
    "slack-token",
    "stripe-secret-key",
];

/// The built-in rules of which this holds.
fn some(is_taken: impl Fn(RuleId, &Rule) -> bool) -> Arc<Ruleset> {
    let all = builtin();
    let rules = all.rules().iter().enumerate().filter(|(n, rule)| is_taken(RuleId(*n as u32), rule));
    let rules: Vec<Rule> = rules.map(|(_, rule)| rule.clone()).collect();
    println!("{} of {} rules:", rules.len(), all.rules().len());
    Ruleset::compile(rules, &CompileOptions::default()).expect("they compile together, and so alone")
}

#[test]
fn little_waits_in_clean_streams() {
    let Some(streams) = streams() else {
        checkout::skip("little_waits_in_clean_streams", "no corpus beside the checkout (SLUICE_SHARED)");
        return;
    };
    let is_marked = |id| {
        let starts = builtin().prefilter(id);
        starts.is_some_and(|p| p.at_start && p.candidates_per_mib < CANDIDATES_RARE_PER_MIB)
    };
    println!("what | mean | p50 | p90 | p99 | max");
    let of = |ruleset| {
        let mut held = Held::default();
        streams.iter().for_each(|body| held.add(&ruleset, body));
        print(&held);
        held
    };
    let all = of(some(|_, _| true));
    for values in [&all.undecided, &all.waiting] {
        assert!(mean(values) <= 8.0 && at(values, 990) <= 40, "more waits than the built-in packs may hold");
    }
    let marked = of(some(|id, _| is_marked(id)));
    assert!(mean(&marked.undecided) <= 2.0 && at(&marked.delays, 990) <= 2, "more waits than a marker needs");
    let literal = of(some(|_, rule| LITERAL.contains(&rule.id.as_str())));
    assert!(mean(&literal.undecided) <= 0.5, "more waits than a literal needs");
}
