//! What a pack may say, but had better not: slow rules, rules in each other's way, missing examples, long holds.
//!
//! Nothing here can be wrong by much: matching is linear whatever the expression. What is told is what it costs.

use std::collections::BTreeMap;

use sluice_engine::{Action, Pattern, RuleId, Ruleset, Scratch, Stream, StreamOptions};

use crate::score::Finder;
use crate::{Pack, PackRule, PackSet};

/// A rule of which more candidates are expected in usual traffic is told to be slow.
const CANDIDATES_MANY_PER_MIB: f64 = 10_000.0;
/// A rule that holds more bytes at the end of one of its examples, cut anywhere, is told to hold much.
const HELD_MANY_BYTES: usize = 512;
/// Examples that a rule should have of either kind.
const EXAMPLES_MIN: usize = 1;
/// Pairs of rules that are told to be in each other's way.
const PAIRS_MAX: usize = 200;
/// Bytes of an example at the ends of which it is asked what is held.
const CUTS_MAX: usize = 4096;

/// One warning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// The file, as it was named.
    pub file: String,
    /// Line, from 1; 0: the file as a whole.
    pub line: usize,
    /// What it is, and what to do.
    pub reason: String,
}

/// All warnings of packs that compile to `ruleset`, by file and line.
#[must_use]
pub fn of(set: &PackSet, ruleset: &std::sync::Arc<Ruleset>) -> Vec<Advice> {
    let mut all = Vec::new();
    let numbers: BTreeMap<&str, RuleId> =
        (0..).zip(ruleset.rules()).map(|(n, rule)| (rule.id.as_str(), RuleId(n))).collect();
    for (pack, rule) in set.packs().iter().flat_map(|pack| pack.rules.iter().map(move |rule| (pack, rule))) {
        let mut reasons = examples(rule);
        let number = numbers.get(rule.rule.id.as_str());
        reasons.extend(number.and_then(|number| slow(ruleset, *number)));
        reasons.extend(number.and_then(|_| holds(rule)));
        all.extend(reasons.into_iter().map(|reason| advice(pack, rule, &reason)));
    }
    all.extend(overlaps(set, ruleset));
    all.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    all
}

fn advice(pack: &Pack, rule: &PackRule, reason: &str) -> Advice {
    let fault = pack.fault(rule, sluice_engine::Field::Id, String::new());
    let line = if fault.line == 0 { 0 } else { rule.line };
    Advice { file: fault.file, line, reason: format!("rule `{}` {reason}", rule.rule.id) }
}

fn examples(rule: &PackRule) -> Vec<String> {
    let found = rule.examples.iter().filter(|example| !example.matches.is_empty()).count();
    let nothing = rule.examples.len() - found;
    match (found < EXAMPLES_MIN, nothing < EXAMPLES_MIN) {
        (true, true) => vec!["has no examples".into()],
        (true, false) => vec!["has no example with a match".into()],
        (false, true) => vec!["has no example without a match".into()],
        (false, false) => Vec::new(),
    }
}

fn slow(ruleset: &Ruleset, number: RuleId) -> Option<String> {
    let candidates = ruleset.prefilter(number)?.candidates_per_mib;
    (candidates > CANDIDATES_MANY_PER_MIB).then(|| {
        format!(
            "is expected to be tried {candidates:.0} times a MiB, which is slow: begin it with a literal or `\\b`, or \
             with rarer characters"
        )
    })
}

/// How much of its own examples the rule holds at most, wherever they are cut.
fn holds(rule: &PackRule) -> Option<String> {
    if !matches!(rule.rule.pattern, Pattern::Regex(_)) || rule.rule.action == Action::Off {
        return None;
    }
    let mut longest = 0;
    let mut scratch = Scratch::new();
    let alone = crate::examples::alone(&rule.rule)?;
    for example in rule.examples.iter().filter(|example| !example.matches.is_empty()) {
        let mut stream = Stream::new(&alone, StreamOptions::default());
        for byte in example.text.as_bytes().chunks(1).take(CUTS_MAX) {
            stream.push(&mut scratch, byte, &mut Nothing);
            longest = longest.max(stream.held());
        }
    }
    (longest > HELD_MANY_BYTES).then(|| {
        format!("holds up to {longest} bytes of a stream in its own examples: a smaller `max_len`, or what ends the value sooner, holds less")
    })
}

struct Nothing;

impl sluice_engine::Sink for Nothing {
    fn pass(&mut self, _bytes: &[u8]) {}
    fn emit(&mut self, _bytes: &[u8]) {}
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, _event: &sluice_engine::Event) {}
}

/// Rules that take the values of another's examples from it: it never gets to name them.
fn overlaps(set: &PackSet, ruleset: &std::sync::Arc<Ruleset>) -> Vec<Advice> {
    let mut finder = Finder::new(std::sync::Arc::clone(ruleset));
    let mut all = Vec::new();
    for (pack, rule) in set.packs().iter().flat_map(|pack| pack.rules.iter().map(move |rule| (pack, rule))) {
        if rule.rule.action != Action::Mask || all.len() >= PAIRS_MAX {
            continue;
        }
        let mut by: BTreeMap<String, usize> = BTreeMap::new();
        let (mut own, mut positive) = (0, 0);
        for example in rule.examples.iter().filter(|example| !example.matches.is_empty()) {
            positive += 1;
            let spans = finder.find(example.text.as_bytes());
            if spans.iter().any(|span| span.rule == rule.rule.id) {
                own += 1;
                continue;
            }
            let values = example
                .matches
                .iter()
                .filter_map(|value| example.text.find(value.as_str()).map(|at| at..at + value.len()));
            for value in values {
                let others = spans.iter().filter(|span| span.start < value.end && value.start < span.end);
                others.for_each(|span| *by.entry(span.rule.clone()).or_default() += 1);
            }
        }
        if own == 0 && positive > 0 && !by.is_empty() {
            let others: Vec<String> = by.keys().map(|id| format!("`{id}`")).collect();
            let reason = format!(
                "is hidden in all of its examples by {}: give it a higher `priority`, or leave it out",
                others.join(", ")
            );
            all.push(advice(pack, rule, &reason));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use sluice_engine::{CompileOptions, Strategy};

    use super::*;

    fn reasons(rules: &str) -> Vec<(usize, String)> {
        let folder = std::env::temp_dir().join(format!("sluice-advice-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("p.toml");
        std::fs::write(&path, format!("[pack]\nname = \"p\"\nversion = \"1\"\n{rules}")).unwrap();
        let set = PackSet::load(&[path.display().to_string()]).unwrap();
        let ruleset =
            set.compile(&CompileOptions { strategy: Some(Strategy::Label), ..CompileOptions::default() });
        std::fs::remove_dir_all(&folder).unwrap();
        of(&set, &ruleset.unwrap()).into_iter().map(|a| (a.line, a.reason)).collect()
    }

    #[test]
    fn what_costs_or_hides_is_told() {
        let long = "x".repeat(700);
        let rules = format!(
            "[[rule]]\nid = \"one\"\nentity = \"a\"\nregex = 'own_[0-9]{{4}}'\npriority = 90\n\
             examples = [{{ text = \"own_1234\", matches = [\"own_1234\"] }}, {{ text = \"own\", matches = [] }}]\n\
             [[rule]]\nid = \"two\"\nentity = \"b\"\nregex = 'own_1[0-9]{{3}}'\npriority = 1\n\
             examples = [{{ text = \"own_1234\", matches = [\"own_1234\"] }}]\n\
             [[rule]]\nid = \"three\"\nentity = \"c\"\nregex = 'long:x{{1,900}}!'\n\
             examples = [{{ text = \"long:{long}!\", matches = [\"long:{long}!\"] }}, {{ text = \"y\", matches = [] }}]\n\
             [[rule]]\nid = \"four\"\nentity = \"d\"\nregex = '[a-z]{{3}}[0-9]'\n"
        );
        let all = reasons(&rules);
        let has = |line: usize, part: &str| all.iter().any(|(l, reason)| *l == line && reason.contains(part));
        assert!(
            has(10, "no example without a match") && has(10, "hidden in all of its examples by `one`"),
            "{all:?}"
        );
        assert!(has(16, "holds up to 70"), "{all:?}");
        assert!(has(21, "has no examples") && has(21, "times a MiB"), "{all:?}");
        assert!(!all.iter().any(|(line, _)| *line == 4), "{all:?}");
    }
}
