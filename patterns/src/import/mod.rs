//! Rules of other tools as a pack of ours.
//!
//! A rule is carried when ours finds what the original finds; where ours finds more, a note says why. A rule that can't be
//! carried is named with the reason. What the original's own examples come to is counted, so that the import can be judged.
//!
//! Not carried, by design: checks over a network, and what a rule says of files and lines rather than of values.

mod carry;
pub mod expression;
mod presidio;
mod python;
mod tools;
mod value;

use std::collections::HashSet;
use std::sync::Arc;

use sluice_engine::{Built, Confidence, Rule, Ruleset, Scratch, Validator};

use crate::examples::{alone, values};
use crate::pack::{Example, LIMITS, PackRule, Places};
use crate::write;

pub use tools::LEAD;

/// Whose rules a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `gitleaks.toml`, or a JSON list of its rules.
    Gitleaks,
    /// A YAML file of rules, or a JSON list of them.
    Kingfisher,
    /// A YAML file of rules, or a JSON list of them.
    NoseyParker,
    /// Python source, or YAML or JSON of declared rules.
    Presidio,
}

/// Examples that go into the pack, of either kind.
const EXAMPLES_KEPT: usize = 3;

/// A foreign rule, as far as it can count here.
#[derive(Clone, Debug, Default)]
struct Foreign {
    id: String,
    description: String,
    /// What the value is; none: the id.
    entity: Option<String>,
    regex: String,
    /// Python's syntax, and the whole match is the value.
    is_python: bool,
    /// The group that is the value; -1: the last.
    group: Option<i64>,
    keywords: Vec<String>,
    validators: Vec<Validator>,
    suppress_regex: Vec<String>,
    confidence: Option<Confidence>,
    label_only: bool,
    examples: Vec<String>,
    negative_examples: Vec<String>,
    /// How the carried rule differs.
    notes: Vec<String>,
    /// Why it can't be carried.
    refused: Option<String>,
}

/// A rule that was carried.
#[derive(Clone, Debug)]
pub struct Carried {
    /// As the tool names it.
    pub id: String,
    /// Our rules for it, by id: more than one where an original is several conditions.
    pub rules: Vec<String>,
    /// How they differ from the original.
    pub notes: Vec<String>,
    /// Examples that the original finds a value in.
    pub examples: usize,
    /// Those in which ours find one.
    pub found: usize,
}

/// A rule that was not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// As the tool names it.
    pub id: String,
    /// Why.
    pub reason: String,
}

/// What an import came to.
#[derive(Clone, Debug, Default)]
pub struct Imported {
    /// Our rules.
    pub rules: Vec<PackRule>,
    /// In the order of the file.
    pub carried: Vec<Carried>,
    /// In the order of the file.
    pub refused: Vec<Refused>,
}

/// Carries all rules of some files, each by its name and text.
///
/// # Errors
/// `file: reason` of each file that is not one of that tool's, or too large.
pub fn import(dialect: Dialect, files: &[(String, String)]) -> Result<Imported, Vec<String>> {
    let (mut all, mut faults) = (Vec::new(), Vec::new());
    for (file, text) in files {
        if text.len() > LIMITS.built_bytes_max {
            faults.push(format!("{file}: a file of rules has at most {} bytes", LIMITS.built_bytes_max));
            continue;
        }
        let read = match dialect {
            Dialect::Presidio => presidio::read(file, text),
            _ => value::read(file, text).and_then(|document| tools::read(dialect, &document)),
        };
        match read {
            Ok(rules) => all.extend(rules),
            Err(reason) => faults.push(format!("{file}: {reason}")),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    Ok(carry_all(all))
}

fn carry_all(foreign: Vec<Foreign>) -> Imported {
    let (mut imported, mut taken) = (Imported::default(), HashSet::new());
    let mut ready: Vec<(Foreign, Vec<Rule>)> = Vec::new();
    for mut foreign in foreign {
        match carry::rules(&mut foreign, &mut taken) {
            Ok(rules) => ready.push((foreign, rules)),
            Err(reason) => imported.refused.push(Refused { id: foreign.id, reason }),
        }
    }
    let mut reasons = compile_all(&ready).into_iter();
    let mut scratch = Scratch::new();
    for (foreign, rules) in ready {
        match reasons.next().flatten() {
            Some(reason) => imported.refused.push(Refused { id: foreign.id, reason }),
            None => imported.take(foreign, rules, &mut scratch),
        }
    }
    imported
}

/// Why the engine refuses each of them, if it does.
fn compile_all(ready: &[(Foreign, Vec<Rule>)]) -> Vec<Option<String>> {
    let mut reasons = vec![None; ready.len()];
    let owners: Vec<usize> =
        ready.iter().enumerate().flat_map(|(n, (_, rules))| rules.iter().map(move |_| n)).collect();
    let rules = ready.iter().flat_map(|(_, rules)| rules.iter().cloned()).collect();
    let Err(error) = Built::compile(rules) else { return reasons };
    for fault in error.errors() {
        if let Some(reason) = owners.get(fault.rule).and_then(|owner| reasons.get_mut(*owner)) {
            *reason = Some(fault.reason.clone());
        }
    }
    reasons
}

impl Imported {
    /// Takes the rules of one original, with the examples that hold.
    fn take(&mut self, foreign: Foreign, rules: Vec<Rule>, scratch: &mut Scratch) {
        let mut found = vec![false; foreign.examples.len()];
        let ids = rules.iter().map(|rule| rule.id.clone()).collect();
        for rule in rules {
            let Some(ruleset) = alone(&rule) else { continue };
            let mut kept = Vec::new();
            for (text, found) in foreign.examples.iter().zip(&mut found) {
                let matches = values(&ruleset, scratch, text);
                *found |= !matches.is_empty();
                if !matches.is_empty() && kept.len() < EXAMPLES_KEPT {
                    kept.extend(example(text, matches));
                }
            }
            kept.extend(counterexamples(&foreign, &ruleset, scratch));
            self.rules.push(PackRule {
                rule,
                source: String::new(),
                examples: kept,
                line: 0,
                places: Places::default(),
            });
        }
        self.carried.push(Carried {
            id: foreign.id,
            rules: ids,
            notes: foreign.notes,
            examples: found.len(),
            found: found.iter().filter(|found| **found).count(),
        });
    }

    /// The pack as a file.
    #[must_use]
    pub fn to_toml(&self, name: &str, version: &str, description: &str) -> String {
        write::pack(name, version, description, &self.rules)
    }
}

fn example(text: &str, matches: Vec<String>) -> Option<Example> {
    (text.len() <= LIMITS.example_bytes_max).then(|| Example { text: text.to_owned(), matches, line: 0 })
}

fn counterexamples(foreign: &Foreign, ruleset: &Arc<Ruleset>, scratch: &mut Scratch) -> Vec<Example> {
    let nothing = foreign.negative_examples.iter().filter(|text| values(ruleset, scratch, text).is_empty());
    nothing.take(EXAMPLES_KEPT).filter_map(|text| example(text, Vec::new())).collect()
}
