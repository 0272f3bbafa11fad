//! Why a rule does or does not match a text, step by step.
//!
//! Offsets and lengths are told, never the value: an explanation may be pasted into a ticket.

use std::sync::Arc;

use regex_automata::dfa::{Automaton, dense};
use regex_automata::util::{start, syntax};
use regex_automata::{Anchored, Input, meta};
use sluice_engine::{
    Action, CompileOptions, Event, Pattern, Rule, RuleId, Ruleset, Scratch, Sink, Strategy, Stream,
    StreamOptions,
};

use crate::Pack;
use crate::examples::alone_in;

/// One step of an explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// `keyword`, `regex`, `value`, a validator's name, `suppress`, `overlap`, `verdict` …
    pub name: String,
    /// Whether the text passes it.
    pub passed: bool,
    /// What was seen, in offsets and lengths.
    pub detail: String,
}

fn step(name: &str, passed: bool, detail: impl Into<String>) -> Step {
    Step { name: name.to_owned(), passed, detail: detail.into() }
}

/// Explains the rule `id` of `pack` on `text`; `None` when the pack has no such rule.
#[must_use]
pub fn explain(pack: &Pack, id: &str, text: &str) -> Option<Vec<Step>> {
    let index = pack.rules.iter().position(|r| r.rule.id == id)?;
    let rule = &pack.rules.get(index)?.rule;
    let mut steps = Vec::new();
    if rule.action == Action::Off {
        steps.push(step("action", false, "the rule is off; the steps below are as if it were on"));
    }
    match (&rule.pattern, pack.exact.iter().find(|set| set.rule() == rule.id)) {
        (_, Some(set)) => {
            let detail =
                format!("the rule has {} exact values; a value is whole words of the text", set.len());
            steps.push(step("exact", true, detail));
        }
        (Pattern::Regex(regex), None) => explain_regex(rule, regex, text, &mut steps),
        (Pattern::Enclosed { begin, end }, None) => explain_enclosed(begin, end, text, &mut steps),
    }
    let found = alone_in(pack, index).map(|r| spans(&r, text)).unwrap_or_default();
    steps.push(match found.len() {
        0 => step("alone", false, "the rule finds nothing"),
        n => {
            step("alone", true, format!("the rule finds {n}: {}", list(found.iter().map(|(_, r)| r.clone()))))
        }
    });
    explain_in_pack(pack, rule, text, &found, &mut steps);
    Some(steps)
}

fn list(ranges: impl Iterator<Item = std::ops::Range<u64>>) -> String {
    ranges.map(|r| format!("bytes {}..{}", r.start, r.end)).collect::<Vec<_>>().join(", ")
}

fn compile(regex: &str) -> Option<meta::Regex> {
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    meta::Regex::builder().syntax(syntax).configure(meta::Config::new().utf8_empty(false)).build(regex).ok()
}

fn explain_regex(rule: &Rule, regex: &str, text: &str, steps: &mut Vec<Step>) {
    let Some(compiled) = compile(regex) else { return };
    if !rule.keywords.is_empty() {
        let lower = text.to_ascii_lowercase();
        let places =
            rule.keywords.iter().filter_map(|k| lower.find(&k.to_ascii_lowercase()).map(|at| (k, at)));
        let seen: Vec<String> = places.map(|(k, at)| format!("`{k}` at byte {at}")).collect();
        let detail = if seen.is_empty() {
            format!("none of the {} keywords is in the text", rule.keywords.len())
        } else {
            seen.join(", ")
        };
        steps.push(step("keyword", !seen.is_empty(), detail));
    }
    let mut any = false;
    for captures in compiled.captures_iter(text) {
        any = true;
        let Some(whole) = captures.get_match() else { continue };
        let value = captures.get_group_by_name("secret").unwrap_or(whole.span());
        steps.push(step("regex", true, format!("matches bytes {}..{}", whole.start(), whole.end())));
        explain_value(rule, text, whole.start(), whole.end(), value.start, value.end, steps);
    }
    if !any {
        let detail = match farthest(regex, text) {
            Some((from, to)) => format!("no match; it comes farthest from byte {from}: {} bytes", to - from),
            None => "no match; no byte of the text can start one".to_owned(),
        };
        steps.push(step("regex", false, detail));
    }
}

fn explain_value(
    rule: &Rule,
    text: &str,
    start: usize,
    end: usize,
    from: usize,
    to: usize,
    steps: &mut Vec<Step>,
) {
    let value = text.as_bytes().get(from..to).unwrap_or_default();
    steps.push(step("value", from < to, format!("bytes {from}..{to}, {} bytes", to - from)));
    if !rule.keywords.is_empty() {
        let (window, place) = match rule.near {
            0 => (start..end, "inside the match".to_owned()),
            near => (start.saturating_sub(near)..from, format!("within {near} bytes before the match")),
        };
        let window = text.as_bytes().get(window).unwrap_or_default().to_ascii_lowercase();
        let window = String::from_utf8_lossy(&window);
        let found = rule.keywords.iter().find(|k| window.contains(&k.to_ascii_lowercase()));
        let detail = match found {
            Some(keyword) => format!("`{keyword}` is {place}"),
            None => format!("no keyword is {place}"),
        };
        steps.push(step("proximity", found.is_some(), detail));
    }
    if rule.max_len.is_some_and(|max| end - start > max) {
        let detail = "longer than `max_len`: masked on to where the expression can't go on";
        steps.push(step("max_len", true, detail));
    }
    for validator in &rule.validators {
        let passed = validator.accepts(value);
        steps.push(step(
            validator.name(),
            passed,
            if passed { "accepts the value" } else { "rejects the value" },
        ));
    }
    if let Some(reason) = suppressed(rule, value) {
        steps.push(step("suppress", false, reason));
    }
}

fn suppressed(rule: &Rule, value: &[u8]) -> Option<String> {
    let list = &rule.suppress;
    let at =
        |found: Option<usize>, key: &str| found.map(|n| format!("`suppress.{key}[{n}]` holds for the value"));
    at(list.exact.iter().position(|s| s.as_bytes() == value), "exact")
        .or_else(|| at(list.starts_with.iter().position(|s| value.starts_with(s.as_bytes())), "starts_with"))
        .or_else(|| at(list.ends_with.iter().position(|s| value.ends_with(s.as_bytes())), "ends_with"))
        .or_else(|| {
            let matches = |s: &String| compile(s).is_some_and(|r| r.is_match(value));
            at(list.regex.iter().position(matches), "regex")
        })
}

/// The start from which the expression takes most bytes before it fails, and how far it comes.
fn farthest(regex: &str, text: &str) -> Option<(usize, usize)> {
    let config = dense::Config::new().start_kind(regex_automata::dfa::StartKind::Anchored);
    let syntax = syntax::Config::new().unicode(false).utf8(false);
    let mut builder = dense::Builder::new();
    let thompson = regex_automata::nfa::thompson::Config::new().utf8(false);
    let dfa = builder.configure(config).syntax(syntax).thompson(thompson).build(regex).ok()?;
    let bytes = text.as_bytes();
    let mut best: Option<(usize, usize)> = None;
    for from in 0..bytes.len() {
        let behind = from.checked_sub(1).and_then(|i| bytes.get(i)).copied();
        let begin = start::Config::new().anchored(Anchored::Yes).look_behind(behind);
        let mut state = dfa.start_state(&begin).ok()?;
        let mut to = from;
        for &byte in bytes.get(from..).unwrap_or_default() {
            state = dfa.next_state(state, byte);
            if dfa.is_dead_state(state) {
                break;
            }
            to += 1;
        }
        if to > from && best.is_none_or(|(a, b)| to - from > b - a) {
            best = Some((from, to));
        }
    }
    best
}

fn explain_enclosed(begin: &str, end: &str, text: &str, steps: &mut Vec<Step>) {
    let (Some(begin), Some(end)) = (compile(begin), compile(end)) else { return };
    let Some(opening) = begin.find(text) else {
        steps.push(step("begin", false, "no opening in the text"));
        return;
    };
    steps.push(step("begin", true, format!("bytes {}..{}", opening.start(), opening.end())));
    match end.find(Input::new(text).range(opening.end()..)) {
        Some(close) => steps.push(step("end", true, format!("bytes {}..{}", close.start(), close.end()))),
        None => steps.push(step("end", true, "none: masked to the end of the text")),
    }
}

struct Spans(Vec<(RuleId, std::ops::Range<u64>)>);

impl Sink for Spans {
    fn pass(&mut self, _bytes: &[u8]) {}
    fn emit(&mut self, _bytes: &[u8]) {}
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, event: &Event) {
        self.0.push((event.rule, event.input.clone()));
    }
}

fn spans(ruleset: &Arc<Ruleset>, text: &str) -> Vec<(RuleId, std::ops::Range<u64>)> {
    let (mut scratch, mut sink) = (Scratch::new(), Spans(Vec::new()));
    let mut stream = Stream::new(ruleset, StreamOptions::default());
    stream.push(&mut scratch, text.as_bytes(), &mut sink);
    stream.finish(&mut scratch, &mut sink);
    sink.0
}

/// With the other rules of the pack: which one wins.
fn explain_in_pack(
    pack: &Pack,
    rule: &Rule,
    text: &str,
    found: &[(RuleId, std::ops::Range<u64>)],
    steps: &mut Vec<Step>,
) {
    let options = CompileOptions { strategy: Some(Strategy::Label), ..CompileOptions::default() };
    let Ok(ruleset) = pack.compile(&options) else { return };
    let all = spans(&ruleset, text);
    let id_of = |id: &RuleId| ruleset.rule(*id).map_or("", |r| r.id.as_str());
    for (_, range) in found {
        let winners: Vec<&str> = all
            .iter()
            .filter(|(id, r)| r.start < range.end && range.start < r.end && id_of(id) != rule.id)
            .map(|(id, _)| id_of(id))
            .collect();
        if !winners.is_empty() {
            let detail = format!("bytes {}..{} overlap with: {}", range.start, range.end, winners.join(", "));
            steps.push(step("overlap", true, detail));
        }
    }
    let own: Vec<_> = all.iter().filter(|(id, _)| id_of(id) == rule.id).map(|(_, r)| r.clone()).collect();
    let done = match rule.action {
        Action::Label => "labelled",
        Action::Shadow => "counted, and changed in nothing",
        Action::Mask | Action::Off => "masked",
    };
    steps.push(match own.is_empty() {
        true => step("verdict", false, "the rule matches nothing in this text, in this pack"),
        false => step("verdict", true, format!("{done}: {}", list(own.into_iter()))),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: &str = r#"
[pack]
name = "p"
version = "1"
[[rule]]
id = "card"
entity = "card"
regex = '\b(?P<secret>\d{4}-\d{4})\b'
keywords = ["card"]
near = 12
validators = [{ kind = "luhn" }]
suppress = { exact = ["0000-0042"] }
[[rule]]
id = "all"
entity = "all"
regex = 'n 1\d{3}-\d{4}'
priority = 90
[[rule]]
id = "pem"
entity = "pem"
begin = '-----BEGIN'
end = '-----END'
"#;

    fn steps(id: &str, text: &str) -> Vec<(String, bool)> {
        let pack = Pack::parse("p", PACK).unwrap();
        let steps = explain(&pack, id, text).unwrap();
        assert!(!steps.iter().any(|s| s.detail.contains("1234") || s.detail.contains("0042")), "{steps:?}");
        steps.into_iter().map(|s| (s.name, s.passed)).collect()
    }

    fn has(steps: &[(String, bool)], name: &str, passed: bool) -> bool {
        steps.contains(&(name.to_owned(), passed))
    }

    #[test]
    fn every_step_is_told() {
        let good = steps("card", "card 1234-5674");
        assert!(
            has(&good, "keyword", true) && has(&good, "luhn", true) && has(&good, "verdict", true),
            "{good:?}"
        );
        let wrong = steps("card", "card 1234-5678");
        assert!(has(&wrong, "luhn", false) && has(&wrong, "verdict", false), "{wrong:?}");
        let far = steps("card", "card is a long way off 1234-5674");
        assert!(has(&far, "proximity", false), "{far:?}");
        let none = steps("card", "card 1234");
        assert!(has(&none, "regex", false), "{none:?}");
        let known = steps("card", "card 0000-0042");
        assert!(has(&known, "suppress", false), "{known:?}");
        let enclosed = steps("pem", "-----BEGIN x");
        assert!(has(&enclosed, "end", true) && has(&enclosed, "verdict", true), "{enclosed:?}");
        let pack = Pack::parse("p", PACK).unwrap();
        assert!(explain(&pack, "missing", "x").is_none());
    }

    #[test]
    fn overlaps_are_told() {
        let hidden = steps("card", "card n 1234-5674");
        assert!(has(&hidden, "alone", true) && has(&hidden, "overlap", true), "{hidden:?}");
    }
}
