//! Rules compiled together.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::compile::automaton::{Automaton, Searcher};
use crate::compile::expression::{Expression, RULE_LEN_MAX};
use crate::compile::family::Families;
use crate::compile::prefilter::Prefilter as Starts;
use crate::compile::symbol::Models;
use crate::compile::window::Trigger;
use crate::kernel::InstructionSet;
use crate::mask::{Strategy, TokenKey};
use crate::rule::{Action, Confidence, Field, Pattern, Rule, RuleError, Validator};

/// Longest keyword, in bytes.
const KEYWORD_LEN_MAX: usize = 64;
/// The farthest a keyword may stand before a match, in bytes.
const NEAR_MAX: usize = 1024;
/// Longest `begin` or `end` of an enclosed rule, in bytes.
const ENCLOSURE_LEN_MAX: usize = 1024;
/// Fewer rules are not worth another thread.
const RULES_A_THREAD_MIN: usize = 16;
/// The most openings of an enclosed rule that usual traffic may be expected to have a mebibyte.
const ENCLOSED_PER_MIB_MAX: f64 = 20_000.0;
/// Longest entity, in bytes.
const ENTITY_LEN_MAX: usize = 64;

/// Index of a rule in its [`Ruleset`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuleId(pub u32);

/// Settings of [`Ruleset::compile`].
#[derive(Clone, Debug, Default)]
pub struct CompileOptions {
    /// In place of every rule's own strategy.
    pub strategy: Option<Strategy>,
    /// The key of [`Strategy::Token`]; a rule that needs it and has none is an error.
    pub token_key: Option<TokenKey>,
    /// In place of the best that the machine has; one that it has not is ignored. What is found is the same.
    pub instruction_set: Option<InstructionSet>,
}

/// Compiled rules: immutable, shared by all threads.
#[derive(Debug)]
pub struct Ruleset {
    rules: Vec<Rule>,
    pub(crate) compiled: Vec<CompiledRule>,
    pub(crate) prefilter: Starts,
    pub(crate) families: Families,
    pub(crate) token_key: Option<TokenKey>,
    /// Bytes behind the scan that later decisions may look at.
    pub(crate) history: usize,
}

/// What the scan needs of one rule.
#[derive(Debug)]
pub(crate) struct CompiledRule {
    pub(crate) automaton: Automaton,
    pub(crate) starts: Prefilter,
    /// The most bytes a match takes before it is decided.
    pub(crate) len_max: usize,
    /// The close of an enclosed rule.
    pub(crate) end: Option<Searcher>,
    pub(crate) priority: i32,
    /// False: matches are told, bytes stay.
    pub(crate) masks: bool,
    pub(crate) strategy: Strategy,
    pub(crate) entity: String,
    /// In lower case.
    pub(crate) keywords: Vec<Vec<u8>>,
    pub(crate) near: usize,
    pub(crate) validators: Vec<Validator>,
    pub(crate) exact: HashSet<Vec<u8>>,
    pub(crate) suppress: Vec<Searcher>,
    pub(crate) starts_with: Vec<Vec<u8>>,
    pub(crate) ends_with: Vec<Vec<u8>>,
}

impl CompiledRule {
    fn memory_bytes(&self) -> usize {
        self.automaton.memory_bytes()
            + self.end.as_ref().map_or(0, Searcher::memory_bytes)
            + self.suppress.iter().map(Searcher::memory_bytes).sum::<usize>()
    }
}

/// How the starts of a rule's matches are found: what it costs on text without a match.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Prefilter {
    /// Sequences of up to 16 byte sets of which every match has one.
    pub windows: usize,
    /// They stand at the start of the match; else behind a run of common bytes at its start.
    pub at_start: bool,
    /// Candidates that usual traffic (streams, traces, logs, code) is expected to have a mebibyte. Each costs tens
    /// of steps of the rule's automaton.
    pub candidates_per_mib: f64,
}

/// Every fault of a list of rules.
#[derive(Debug)]
pub struct CompileError {
    errors: Vec<RuleError>,
}

impl CompileError {
    /// All faults, in the order of the rules.
    #[must_use]
    pub fn errors(&self) -> &[RuleError] {
        &self.errors
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, e) in self.errors.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            write!(f, "{e}")?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

impl Ruleset {
    /// Compiles `rules`; those whose action is `off` are left out.
    ///
    /// A match is decided within [`Rule::max_len`] bytes of its start (or the expression's own maximum). Where the
    /// expression could go on there and has matched already, the value is masked on to where the expression can't
    /// go on; where it has not matched yet, there is no match.
    ///
    /// # Errors
    /// Every fault of every rule.
    pub fn compile(rules: Vec<Rule>, options: &CompileOptions) -> Result<Arc<Ruleset>, CompileError> {
        let mut errors = Vec::new();
        let (mut kept, mut compiled, mut triggers) = (Vec::new(), Vec::new(), Vec::new());
        let mut ids = HashSet::new();
        let models = Models::new();
        let built = compile_all(&rules, options, &models);
        for (index, (rule, (built, faults))) in rules.into_iter().zip(built).enumerate() {
            if rule.action != Action::Off && !ids.insert(rule.id.clone()) {
                let reason = format!("the id `{}` is taken by another rule", rule.id);
                errors.push(RuleError { rule: index, field: Field::Id, reason });
            }
            errors.extend(faults);
            if let Some((rule_compiled, trigger)) = built {
                compiled.push(rule_compiled);
                triggers.push(trigger);
                kept.push(rule);
            }
        }
        if !errors.is_empty() {
            return Err(CompileError { errors });
        }
        let set = options.instruction_set.unwrap_or_else(InstructionSet::best);
        let automata: Vec<&Automaton> = compiled.iter().map(|c: &CompiledRule| &c.automaton).collect();
        let families = Families::build(&automata, &triggers);
        let prefilter = Starts::build(triggers, &models, set);
        let near_max = compiled.iter().map(|c: &CompiledRule| c.near).max().unwrap_or(0);
        Ok(Arc::new(Ruleset {
            history: near_max + prefilter.reach + 2,
            rules: kept,
            compiled,
            prefilter,
            families,
            token_key: options.token_key.clone(),
        }))
    }

    /// Bytes of memory that the automata take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let rules = self.compiled.iter().map(CompiledRule::memory_bytes);
        rules.sum::<usize>() + self.prefilter.memory_bytes() + self.families.memory_bytes()
    }

    /// The rule with this id, as it was given.
    ///
    /// `RuleId`s come from this ruleset's own events; another ruleset's id gives another rule or `None`.
    #[must_use]
    pub fn rule(&self, id: RuleId) -> Option<&Rule> {
        self.rules.get(id.0 as usize)
    }

    /// How the rule's starts are found.
    #[must_use]
    pub fn prefilter(&self, id: RuleId) -> Option<Prefilter> {
        self.compiled.get(id.0 as usize).map(|r| r.starts)
    }

    /// The instruction set that its first stage uses.
    #[must_use]
    pub fn instruction_set(&self) -> InstructionSet {
        self.prefilter.tables.instruction_set()
    }

    /// Bytes of memory that one rule's automata take.
    #[must_use]
    pub fn rule_memory_bytes(&self, id: RuleId) -> usize {
        self.compiled.get(id.0 as usize).map_or(0, CompiledRule::memory_bytes)
    }

    /// All rules, in the order of their ids.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

type Built = (Option<(CompiledRule, Trigger)>, Vec<RuleError>);

/// Compiles each rule that is not off, on as many threads as there are cores: automata take most of a start.
fn compile_all(rules: &[Rule], options: &CompileOptions, models: &Models) -> Vec<Built> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((index, rule)) =
            Some(next.fetch_add(1, Ordering::Relaxed)).and_then(|i| Some((i, rules.get(i)?)))
        {
            let mut errors = Vec::new();
            let mut faults = Faults { rule: index, errors: &mut errors };
            let built = match rule.action {
                Action::Off => None,
                Action::Mask | Action::Label => compile_rule(rule, options, models, &mut faults),
            };
            done.push((index, (built, errors)));
        }
        done
    };
    let threads =
        std::thread::available_parallelism().map_or(1, usize::from).min(rules.len() / RULES_A_THREAD_MIN);
    let mut all = std::thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(work)).collect();
        let mut all = work();
        for other in others {
            // A thread that panicked loses its rules: the panic goes on here.
            all.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        all
    });
    all.sort_by_key(|(index, _)| *index);
    all.into_iter().map(|(_, built)| built).collect()
}

struct Faults<'a> {
    rule: usize,
    errors: &'a mut Vec<RuleError>,
}

impl Faults<'_> {
    fn add(&mut self, field: Field, reason: String) {
        self.errors.push(RuleError { rule: self.rule, field, reason });
    }

    /// The value, or `None` with the fault noted.
    fn take<T>(&mut self, field: Field, result: Result<T, String>) -> Option<T> {
        result.map_err(|reason| self.add(field, reason)).ok()
    }
}

fn compile_rule(
    rule: &Rule,
    options: &CompileOptions,
    models: &Models,
    faults: &mut Faults<'_>,
) -> Option<(CompiledRule, Trigger)> {
    check_names(rule, faults);
    let keywords = check_keywords(rule, faults);
    let strategy = options.strategy.clone().unwrap_or_else(|| rule.strategy.clone());
    if strategy == Strategy::Token && options.token_key.is_none() {
        faults.add(Field::Strategy, "the strategy `token` needs a token key".into());
    }
    let mut suppress = Vec::new();
    for (n, text) in rule.suppress.regex.iter().enumerate() {
        let built = Expression::parse(text).and_then(|e| Searcher::build(&e));
        suppress.extend(faults.take(Field::SuppressRegex(n), built));
    }
    let (field, text) = match &rule.pattern {
        Pattern::Regex(text) => (Field::Regex, text),
        Pattern::Enclosed { begin, .. } => (Field::Begin, begin),
    };
    let expression = faults.take(field, Expression::parse(text));
    let end = match &rule.pattern {
        Pattern::Regex(_) => None,
        Pattern::Enclosed { end, .. } => Some(faults.take(Field::End, compile_end(end))?),
    };
    let expression = expression?;
    let len_max = match_len_max(rule, &expression, end.is_some(), faults)?;
    let automaton = faults.take(field, Automaton::build(&expression))?;
    if end.is_some() && rule.action == Action::Label {
        faults.add(Field::Begin, "an enclosed value can only be masked: use `regex` for a label".into());
    }
    let trigger = Trigger::of(&expression, &automaton, models);
    let starts = Prefilter {
        windows: trigger.paths().count(),
        at_start: trigger.inside.is_empty(),
        candidates_per_mib: trigger.paths().map(|p| f64::from(p.chance)).sum::<f64>() * f64::from(1 << 20),
    };
    if end.is_some() && (!starts.at_start || starts.candidates_per_mib > ENCLOSED_PER_MIB_MAX) {
        faults.add(
            Field::Begin,
            "an enclosed rule must begin with something rare: a literal of two bytes or more".into(),
        );
    }
    let bytes = |list: &[String]| list.iter().map(|s| s.as_bytes().to_vec()).collect();
    let compiled = CompiledRule {
        automaton,
        starts,
        len_max,
        priority: rule.priority.unwrap_or(match (&end, rule.confidence) {
            (Some(_), _) => 40,
            (None, Confidence::High) => 30,
            (None, Confidence::Medium) => 20,
            (None, Confidence::Low) => 10,
        }),
        end,
        masks: rule.action == Action::Mask,
        strategy,
        entity: rule.entity.clone(),
        keywords,
        near: rule.near,
        validators: rule.validators.clone(),
        exact: rule.suppress.exact.iter().map(|s| s.as_bytes().to_vec()).collect(),
        suppress,
        starts_with: bytes(&rule.suppress.starts_with),
        ends_with: bytes(&rule.suppress.ends_with),
    };
    Some((compiled, trigger))
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

/// The keywords in lower case.
fn check_keywords(rule: &Rule, faults: &mut Faults<'_>) -> Vec<Vec<u8>> {
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
    rule.keywords.iter().map(|k| k.to_ascii_lowercase().into_bytes()).collect()
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
