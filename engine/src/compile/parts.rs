//! One rule compiled, as far as no option changes it: what takes long to find out, and what a built pack keeps.

use std::sync::Arc;

use super::automaton::{Automaton, Searcher};
use super::expression::{Expression, RULE_LEN_MAX};
use super::symbol::Models;
use super::window::Trigger;
use crate::rule::{Action, Field, Pattern, Rule, RuleError, Validator};
use crate::ruleset::Prefilter;

/// Longest keyword, in bytes.
const KEYWORD_LEN_MAX: usize = 64;
/// The farthest a keyword may stand before a match, in bytes.
const NEAR_MAX: usize = 1024;
/// Longest `begin` or `end` of an enclosed rule, in bytes.
pub(crate) const ENCLOSURE_LEN_MAX: usize = 1024;
/// The most openings of an enclosed rule that usual traffic may be expected to have a mebibyte.
const ENCLOSED_PER_MIB_MAX: f64 = 20_000.0;
/// Longest entity, in bytes.
const ENTITY_LEN_MAX: usize = 64;

/// What was made of one rule.
#[derive(Clone, Debug)]
pub(crate) struct Parts {
    pub(crate) automaton: Automaton,
    /// The close of an enclosed rule.
    pub(crate) end: Option<Searcher>,
    /// Of `suppress.regex`, in their order.
    pub(crate) suppress: Vec<Searcher>,
    /// The most bytes a match takes before it is decided.
    pub(crate) len_max: usize,
    pub(crate) trigger: Arc<Trigger>,
    pub(crate) starts: Prefilter,
}

impl Parts {
    /// Compiles a rule; `None` with its faults noted.
    pub(crate) fn compile(rule: &Rule, models: &Models, faults: &mut Faults<'_>) -> Option<Parts> {
        check(rule, faults);
        let mut suppress = Vec::new();
        for (n, text) in rule.suppress.regex.iter().enumerate() {
            let built = Expression::parse(text).and_then(|e| Searcher::build(&e));
            suppress.extend(faults.take(Field::SuppressRegex(n), built));
        }
        let (field, text) = match &rule.pattern {
            Pattern::Regex(text) => (Field::Regex, text),
            Pattern::Enclosed { begin, .. } => (Field::Begin, begin),
        };
        let expression = faults.take(field, Expression::of_rule(text, !rule.keywords.is_empty()));
        let end = match &rule.pattern {
            Pattern::Regex(_) => None,
            Pattern::Enclosed { end, .. } => Some(faults.take(Field::End, compile_end(end))?),
        };
        let expression = expression?;
        let len_max = match_len_max(rule, &expression, end.is_some(), faults)?;
        let automaton = faults.take(field, Automaton::build(&expression))?;
        if end.is_some() && rule.action != Action::Mask {
            faults.add(Field::Begin, "an enclosed value can only be masked: use `regex` for a label".into());
        }
        let trigger = Trigger::of(&expression, &automaton, models);
        let starts = Prefilter {
            windows: trigger.paths().count(),
            at_start: trigger.inside.is_empty(),
            candidates_per_mib: trigger.paths().map(|p| f64::from(p.chance)).sum::<f64>()
                * f64::from(1 << 20),
        };
        if end.is_some() && (!starts.at_start || starts.candidates_per_mib > ENCLOSED_PER_MIB_MAX) {
            faults.add(
                Field::Begin,
                "an enclosed rule must begin with something rare: a literal of two bytes or more".into(),
            );
        }
        let automaton = automaton.kept(text, !rule.keywords.is_empty());
        Some(Parts { automaton, end, suppress, len_max, trigger: Arc::new(trigger), starts })
    }
}

/// Notes what is wrong with a rule besides its expressions.
pub(crate) fn check(rule: &Rule, faults: &mut Faults<'_>) {
    check_names(rule, faults);
    check_keywords(rule, faults);
}

/// Takes the faults of one rule.
pub(crate) struct Faults<'a> {
    pub(crate) rule: usize,
    pub(crate) errors: &'a mut Vec<RuleError>,
}

impl Faults<'_> {
    pub(crate) fn add(&mut self, field: Field, reason: String) {
        self.errors.push(RuleError { rule: self.rule, field, reason });
    }

    /// The value, or `None` with the fault noted.
    fn take<T>(&mut self, field: Field, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.add(field, reason)).ok()
    }
}

fn check_names(rule: &Rule, faults: &mut Faults<'_>) {
    let word = |s: &str, more: &[u8]| {
        !s.is_empty()
            && s.len() <= ENTITY_LEN_MAX
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || more.contains(&b))
    };
    if !word(&rule.id, b"-_.") {
        faults.add(Field::Id, format!("`{}` is no id: a-z, 0-9, `-`, `_` and `.`, 1 to 64 bytes", rule.id));
    }
    if !word(&rule.entity, b"_") {
        faults.add(Field::Entity, format!("`{}` is no entity: a-z, 0-9 and `_`, 1 to 64 bytes", rule.entity));
    }
    for (n, validator) in rule.validators.iter().enumerate() {
        if let Validator::Entropy { min } = validator
            && !(0.0..=8.0).contains(min)
        {
            faults.add(Field::Validator(n), format!("entropy is 0 to 8 bits a byte, not {min}"));
        }
    }
}

fn check_keywords(rule: &Rule, faults: &mut Faults<'_>) {
    if rule.near > NEAR_MAX {
        faults.add(Field::Near, format!("{} is too far: at most {NEAR_MAX} bytes", rule.near));
    }
    if rule.near > 0 && rule.keywords.is_empty() {
        faults.add(Field::Near, "`near` needs `keywords`".into());
    }
    for (n, keyword) in rule.keywords.iter().enumerate() {
        if !(2..=KEYWORD_LEN_MAX).contains(&keyword.len()) {
            faults.add(Field::Keyword(n), format!("a keyword has 2 to {KEYWORD_LEN_MAX} bytes"));
        } else if rule.near > 0 && keyword.len() > rule.near {
            faults.add(Field::Keyword(n), format!("it can't stand within `near` = {} bytes", rule.near));
        }
    }
}

fn compile_end(text: &str) -> Result<Searcher, String> {
    let expression = Expression::parse(text)?;
    match expression.len_max {
        Some(len) if len <= ENCLOSURE_LEN_MAX => Searcher::build(&expression),
        _ => Err(format!(
            "it has no finite length of at most {ENCLOSURE_LEN_MAX} bytes: bound its repetitions"
        )),
    }
}

fn match_len_max(
    rule: &Rule,
    expression: &Expression,
    enclosed: bool,
    faults: &mut Faults<'_>,
) -> Option<usize> {
    if enclosed {
        let len = expression.len_max.filter(|l| *l <= ENCLOSURE_LEN_MAX);
        let reason =
            format!("it has no finite length of at most {ENCLOSURE_LEN_MAX} bytes: bound its repetitions");
        if rule.max_len.is_some() {
            faults.add(Field::MaxLen, "an enclosed rule has no maximum: leave `max_len` out".into());
        }
        return faults.take(Field::Begin, len.ok_or(reason));
    }
    if rule.max_len.is_some_and(|m| m > RULE_LEN_MAX) {
        faults.add(Field::MaxLen, format!("at most {RULE_LEN_MAX} bytes"));
        return None;
    }
    if rule.max_len.is_some_and(|m| m < expression.len_min) {
        let reason = format!("the shortest match has {} bytes: nothing can match", expression.len_min);
        faults.add(Field::MaxLen, reason);
        return None;
    }
    let len = match (rule.max_len, expression.len_max) {
        (Some(max), Some(own)) => Some(max.min(own)),
        (Some(max), None) => Some(max),
        (None, own) => own.filter(|l| *l <= RULE_LEN_MAX),
    };
    let reason = match expression.len_max {
        None => "its matches can be of any length: give `max_len`, or bound its repetitions".to_owned(),
        Some(len) => format!("its matches can have {len} bytes: give a `max_len` of at most {RULE_LEN_MAX}"),
    };
    faults.take(Field::Regex, len.ok_or(reason))
}
