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

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use sluice_engine::{Built, CompileOptions, Confidence, Rule, Ruleset, Scratch, Source, Validator};

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
    /// Its examples, but for those whose values have less entropy than it asks for: it does not find them either.
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
    let (built, reasons) = compile_all(&mut ready);
    imported.refused.extend(reasons);
    let (mut scratch, mut number) = (Scratch::new(), 0);
    for (foreign, rules) in ready {
        let alone = |n: usize| {
            let only = built.as_ref()?.only(number + n)?;
            Ruleset::link(&[Source::Built(&only)], &CompileOptions::default()).ok()
        };
        let count = rules.len();
        imported.take(foreign, rules, &alone, &mut scratch);
        number += count;
    }
    imported
}

/// Compiles all rules together, once more without those that the engine refuses.
fn compile_all(ready: &mut Vec<(Foreign, Vec<Rule>)>) -> (Option<Built>, Vec<Refused>) {
    let all =
        |ready: &[(Foreign, Vec<Rule>)]| ready.iter().flat_map(|(_, rules)| rules.iter().cloned()).collect();
    let error = match Built::compile(all(ready)) {
        Ok(built) => return (Some(built), Vec::new()),
        Err(error) => error,
    };
    let owners: Vec<usize> =
        ready.iter().enumerate().flat_map(|(n, (_, rules))| rules.iter().map(move |_| n)).collect();
    let mut reasons: BTreeMap<usize, String> = BTreeMap::new();
    for fault in error.errors() {
        if let Some(owner) = owners.get(fault.rule) {
            reasons.entry(*owner).or_insert_with(|| fault.reason.clone());
        }
    }
    let (mut refused, mut number) = (Vec::new(), 0);
    ready.retain(|(foreign, _)| {
        let reason = reasons.get(&number).cloned();
        number += 1;
        refused.extend(reason.map(|reason| Refused { id: foreign.id.clone(), reason }));
        !reasons.contains_key(&(number - 1))
    });
    (Built::compile(all(ready)).ok(), refused)
}

impl Imported {
    /// Takes the rules of one original, with the examples that hold; `alone` gives each of them compiled.
    fn take(
        &mut self,
        foreign: Foreign,
        rules: Vec<Rule>,
        alone: &dyn Fn(usize) -> Option<Arc<Ruleset>>,
        scratch: &mut Scratch,
    ) {
        let mut found = vec![false; foreign.examples.len()];
        let mut weak = vec![false; foreign.examples.len()];
        let ids = rules.iter().map(|rule| rule.id.clone()).collect();
        for (n, rule) in rules.into_iter().enumerate() {
            let Some(ruleset) = alone(n) else { continue };
            let mut kept = Vec::new();
            for (text, found) in foreign.examples.iter().zip(&mut found) {
                let matches = values(&ruleset, scratch, text);
                *found |= !matches.is_empty();
                if !matches.is_empty() && kept.len() < EXAMPLES_KEPT {
                    kept.extend(example(text, matches));
                }
            }
            if found.contains(&false) {
                mark_weak(&rule, &foreign.examples, &mut weak, scratch);
            }
            kept.extend(counterexamples(&foreign, &ruleset, scratch));
            let places = Places::default();
            self.rules.push(PackRule { rule, source: String::new(), examples: kept, line: 0, places });
        }
        let weak = weak.iter().zip(&found).filter(|(weak, found)| **weak && !**found).count();
        self.carried.push(Carried {
            id: foreign.id,
            rules: ids,
            notes: foreign.notes,
            examples: found.len() - weak,
            found: found.iter().filter(|found| **found).count(),
        });
    }

    /// The pack as a file.
    #[must_use]
    pub fn to_toml(&self, name: &str, version: &str, description: &str) -> String {
        write::pack(name, version, description, &self.rules)
    }
}

/// Marks the examples in which the rule finds a value of less entropy than it asks for: the original leaves those out as well.
fn mark_weak(rule: &Rule, examples: &[String], weak: &mut [bool], scratch: &mut Scratch) {
    let mut any = rule.clone();
    any.validators.retain(|validator| !matches!(validator, Validator::Entropy { .. }));
    if any.validators.len() == rule.validators.len() {
        return;
    }
    let Some(ruleset) = alone(&any) else { return };
    for (text, weak) in examples.iter().zip(weak) {
        *weak |= !values(&ruleset, scratch, text).is_empty();
    }
}

fn example(text: &str, matches: Vec<String>) -> Option<Example> {
    (text.len() <= LIMITS.example_bytes_max).then(|| Example { text: text.to_owned(), matches, line: 0 })
}

fn counterexamples(foreign: &Foreign, ruleset: &Arc<Ruleset>, scratch: &mut Scratch) -> Vec<Example> {
    let nothing = foreign.negative_examples.iter().filter(|text| values(ruleset, scratch, text).is_empty());
    nothing.take(EXAMPLES_KEPT).filter_map(|text| example(text, Vec::new())).collect()
}
