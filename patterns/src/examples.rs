//! A pack's own examples: each rule alone must find in each text exactly what the example says.

use std::sync::Arc;

use sluice_engine::{
    Action, CompileOptions, Event, Rule, Ruleset, Scratch, Sink, Source, Strategy, Stream, StreamOptions,
};

use crate::Pack;
use crate::exact::token_key_from_env;

/// An example that does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The rule.
    pub rule: String,
    /// Line of the example.
    pub line: usize,
    /// What the example says, as values.
    pub expected: Vec<String>,
    /// What was found.
    pub found: Vec<String>,
}

/// What a run of examples came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Examples run.
    pub examples: usize,
    /// Rules run.
    pub rules: usize,
    /// Rules that have no example, with their lines.
    pub without: Vec<(String, usize)>,
    /// What does not hold.
    pub failures: Vec<Failure>,
}

/// Values found in a text by one ruleset, in order.
struct Values<'a> {
    text: &'a str,
    found: Vec<String>,
}

impl Sink for Values<'_> {
    fn pass(&mut self, _bytes: &[u8]) {}
    fn emit(&mut self, _bytes: &[u8]) {}
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, event: &Event) {
        let range = event.input.start as usize..event.input.end as usize;
        self.found
            .push(String::from_utf8_lossy(self.text.as_bytes().get(range).unwrap_or_default()).into_owned());
    }
}

/// The values that `ruleset` finds in `text`, in order.
#[must_use]
pub fn values(ruleset: &Arc<Ruleset>, scratch: &mut Scratch, text: &str) -> Vec<String> {
    let mut stream = Stream::new(ruleset, StreamOptions::default());
    let mut sink = Values { text, found: Vec::new() };
    stream.push(scratch, text.as_bytes(), &mut sink);
    stream.finish(scratch, &mut sink);
    sink.found
}

/// A ruleset of the `index`th rule of a pack alone, switched on; of a built pack, what was compiled then.
#[must_use]
pub fn alone_in(pack: &Pack, index: usize) -> Option<Arc<Ruleset>> {
    let rule = &pack.rules.get(index)?.rule;
    let built = pack.built.as_ref().and_then(|built| built.only(index));
    let written = [switched_on(rule)];
    let exact = pack.exact.iter().filter(|set| set.rule() == rule.id);
    let mut sources = vec![built.as_ref().map_or(Source::Rules(&written), Source::Built)];
    sources.extend(exact.map(Source::Exact));
    let token_key = if pack.needs_key() { token_key_from_env() } else { None };
    let options = CompileOptions { strategy: Some(Strategy::Label), token_key, ..CompileOptions::default() };
    Ruleset::link(&sources, &options).ok()
}

/// The rule as it would be if it were on, with labels for values.
fn switched_on(rule: &Rule) -> Rule {
    let action = match rule.action {
        Action::Off | Action::Shadow => Action::Mask,
        Action::Mask | Action::Label => rule.action,
    };
    Rule { action, strategy: Strategy::Label, ..rule.clone() }
}

/// A ruleset of one rule alone, switched on.
#[must_use]
pub fn alone(rule: &Rule) -> Option<Arc<Ruleset>> {
    Ruleset::compile(vec![switched_on(rule)], &CompileOptions::default()).ok()
}

/// Runs all examples of `pack`.
#[must_use]
pub fn run(pack: &Pack) -> Report {
    let mut report = Report::default();
    let mut scratch = Scratch::new();
    for (index, rule) in pack.rules.iter().enumerate() {
        report.rules += 1;
        if rule.examples.is_empty() {
            report.without.push((rule.rule.id.clone(), rule.line));
        }
        let Some(ruleset) = alone_in(pack, index) else { continue };
        for example in &rule.examples {
            report.examples += 1;
            let found = values(&ruleset, &mut scratch, &example.text);
            if found != example.matches {
                let (rule, expected) = (rule.rule.id.clone(), example.matches.clone());
                report.failures.push(Failure { rule, line: example.line, expected, found });
            }
        }
    }
    report
}
