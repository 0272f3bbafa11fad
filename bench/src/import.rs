//! Rules of others, and our own personal-data rules, as plain expressions that two engines can run alike.
//!
//! Only the expression is taken: no keywords, no entropy, no allow-lists, no validators. What is left is the same
//! language on both sides, so that their matches and their speed can be compared. A rule that one side refuses is left
//! out on both, and counted.
//!
//! Go's expressions need no rewriting for `regex-syntax`: both come from RE2. Two things are changed, alike for both sides:
//! the value's group gets its name, and the optional `LEAD` before a rule's own words is taken out. It moves where a
//! match starts, never whether there is one or what its value is, and with it Hyperscan refuses 70 expressions as too
//! large where it must tell starts (12 without it).

use std::fmt;

use serde::Deserialize;
use sluice_engine::{
    Action, CompileOptions, Confidence, Pattern, Rule, RuleError, Ruleset, Strategy, Suppress,
};
use sluice_patterns::import::LEAD;
use sluice_patterns::import::expression::name_value;
use sluice_patterns::{Pack, builtin};

use crate::corpus::{Corpus, CorpusError};

/// The most bytes of a match where the expression has no maximum of its own, or a greater one.
pub const MATCH_LEN_MAX: usize = 4096;

/// An expression that both sides run.
#[derive(Clone, Debug)]
pub struct Imported {
    /// `gitleaks.github-pat`.
    pub id: String,
    /// With the value in a group named `secret`, where the rule says that a part is the value.
    pub expression: String,
    /// As [`Rule::max_len`].
    pub len_max: Option<usize>,
}

/// A rule that can't be had, and why.
#[derive(Clone, Debug)]
pub struct Refused {
    /// The rule's id.
    pub id: String,
    /// Who refused it, and why.
    pub reason: String,
}

#[derive(Deserialize)]
struct File {
    rules: Vec<Entry>,
}

/// What is read of a rule; the other fields are left.
#[derive(Deserialize)]
struct Entry {
    id: String,
    regex: String,
    #[serde(default)]
    group: i64,
    value_group: Option<i64>,
}

/// Rules can't be read.
#[derive(Debug)]
pub enum ImportError {
    /// The corpus is not there.
    Corpus(CorpusError),
    /// The file of rules is not as it should be.
    Json(serde_json::Error),
}

impl fmt::Display for ImportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImportError::Corpus(error) => error.fmt(f),
            ImportError::Json(error) => write!(f, "gitleaks_rules.json: {error}"),
        }
    }
}

impl std::error::Error for ImportError {}

impl From<CorpusError> for ImportError {
    fn from(error: CorpusError) -> Self {
        ImportError::Corpus(error)
    }
}

/// All rules that may be common: gitleaks', and those of `builtin:pii` that are an expression and nothing else.
///
/// The second list tells the rules that are no valid expressions.
///
/// # Errors
/// When the corpus is not there, or not as it should be.
pub fn rules(corpus: &Corpus) -> Result<(Vec<Imported>, Vec<Refused>), ImportError> {
    let (mut rules, mut refused) = gitleaks(&corpus.read("rules/gitleaks_rules.json")?)?;
    let pii = builtin::find("builtin:pii").expect("the pack is built in").load().expect("the pack is valid");
    for rule in own(&pii) {
        match parse_length(&rule.expression) {
            Ok(len_max) => rules.push(Imported { len_max: len_max.or(rule.len_max), ..rule }),
            Err(reason) => refused.push(Refused { id: rule.id, reason }),
        }
    }
    Ok((rules, refused))
}

/// Reads gitleaks' rules as the corpus has them.
///
/// # Errors
/// When this is no such file.
pub fn gitleaks(json: &[u8]) -> Result<(Vec<Imported>, Vec<Refused>), ImportError> {
    read(json, |_, id| format!("gitleaks.{id}"))
}

/// More than 1,000 rules in use: gitleaks', Kingfisher's and Nosey Parker's, each numbered in its file.
///
/// # Errors
/// When the corpus is not there, or not as it should be.
pub fn everyone(corpus: &Corpus) -> Result<(Vec<Imported>, Vec<Refused>), ImportError> {
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    for source in ["gitleaks", "kingfisher", "noseyparker"] {
        let json = corpus.read(&format!("rules/{source}_rules.json"))?;
        let (more, faults) = read(&json, |number, _| format!("{source}.{number}"))?;
        rules.extend(more);
        refused.extend(faults);
    }
    Ok((rules, refused))
}

/// Reads a file's rules; `name` makes an id of a rule's number and its own.
fn read(
    json: &[u8],
    name: impl Fn(usize, &str) -> String,
) -> Result<(Vec<Imported>, Vec<Refused>), ImportError> {
    let file: File = serde_json::from_slice(json).map_err(ImportError::Json)?;
    let (mut rules, mut refused) = (Vec::new(), Vec::new());
    for (number, entry) in file.rules.into_iter().enumerate() {
        let group = if entry.group > 0 { entry.group } else { entry.value_group.unwrap_or(1) };
        let id = name(number, &entry.id);
        let named = name_value(&entry.regex.replace(LEAD, ""), group);
        match named.and_then(|expression| Ok((parse_length(&expression)?, expression))) {
            Ok((len_max, expression)) => rules.push(Imported { id, expression, len_max }),
            Err(reason) => refused.push(Refused { id, reason }),
        }
    }
    Ok((rules, refused))
}

/// The rules of a pack that are an expression and nothing else, as they are.
fn own(pack: &Pack) -> impl Iterator<Item = Imported> {
    let plain =
        pack.rules.iter().map(|r| &r.rule).filter(|r| r.validators.is_empty() && r.keywords.is_empty());
    plain.filter_map(|rule| match &rule.pattern {
        Pattern::Regex(expression) => Some(Imported {
            id: format!("{}.{}", pack.name, rule.id),
            expression: expression.clone(),
            len_max: rule.max_len,
        }),
        Pattern::Enclosed { .. } => None,
    })
}

/// A `max_len` for the expression, where it needs one.
fn parse_length(expression: &str) -> Result<Option<usize>, String> {
    let mut parser = regex_syntax::ParserBuilder::new().unicode(false).utf8(false).build();
    let hir = parser.parse(expression).map_err(|e| one_line(&e.to_string()))?;
    let own = hir.properties().maximum_len();
    Ok(own.is_none_or(|len| len > MATCH_LEN_MAX).then_some(MATCH_LEN_MAX))
}

/// The last line of an error that draws the expression.
fn one_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim().to_owned()
}

impl Imported {
    /// As a rule of ours that masks.
    #[must_use]
    pub fn rule(&self) -> Rule {
        Rule {
            id: self.id.clone(),
            entity: self.id.replace(['-', '.'], "_"),
            description: String::new(),
            pattern: Pattern::Regex(self.expression.clone()),
            keywords: Vec::new(),
            near: 0,
            validators: Vec::new(),
            suppress: Suppress::default(),
            max_len: self.len_max,
            confidence: Confidence::High,
            action: Action::Mask,
            labels: Vec::new(),
            strategy: Strategy::Label,
            priority: None,
        }
    }

    /// The same, with the whole match as the value.
    #[must_use]
    pub fn whole(&self) -> Imported {
        Imported { expression: self.expression.replace("(?P<secret>", "(?:"), ..self.clone() }
    }
}

/// Takes out the rules that our engine refuses, and tells them.
#[must_use]
pub fn keep_ours(rules: Vec<Imported>) -> (Vec<Imported>, Vec<Refused>) {
    let compiled = Ruleset::compile(rules.iter().map(Imported::rule).collect(), &CompileOptions::default());
    let Err(error) = compiled else { return (rules, Vec::new()) };
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for (index, rule) in rules.into_iter().enumerate() {
        match error.errors().iter().find(|e| e.rule == index) {
            Some(RuleError { reason, .. }) => {
                refused.push(Refused { id: rule.id, reason: format!("ours: {reason}") });
            }
            None => kept.push(rule),
        }
    }
    (kept, refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn import(regex: &str, group: i64) -> Imported {
        let json = serde_json::json!({"rules": [{"id": "acme-key", "regex": regex, "group": group}]});
        let (mut rules, refused) = gitleaks(json.to_string().as_bytes()).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        rules.remove(0)
    }

    #[test]
    fn the_value_is_the_group_that_the_rule_names() {
        assert_eq!(
            import(r"\bk(?:x|y)[(]([a-z]{4})\b", 0).expression,
            r"\bk(?:x|y)[(](?P<secret>[a-z]{4})\b"
        );
        assert_eq!(import(r"(a)\((b)", 2).expression, r"(a)\((?P<secret>b)");
        assert_eq!(import(r"x(?P<v>a)", 0).expression, r"x(?P<secret>a)");
        let led = import(r"(?i)[\w.-]{0,50}?acme[\w.-]{0,50}=([a-z]{4})", 0);
        assert_eq!(led.expression, r"(?i)acme[\w.-]{0,50}=(?P<secret>[a-z]{4})");
        assert_eq!(import(r"x(?i)ab", 0).expression, r"x(?i)ab");
    }

    #[test]
    fn an_imported_rule_compiles() {
        let rule = import(r"(?i)acme.{0,20}['\x60](a{2}[a-z0-9]+)['\x60]", 0);
        assert_eq!((rule.id.as_str(), rule.len_max), ("gitleaks.acme-key", Some(MATCH_LEN_MAX)));
        let empty = Imported { id: "b".into(), expression: "a*".into(), len_max: None };
        let (kept, refused) = keep_ours(vec![rule.whole(), empty]);
        assert_eq!((kept.len(), refused.len()), (1, 1));
    }
}
