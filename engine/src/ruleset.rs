//! Rules compiled together.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::built::Built;
use crate::compile::automaton::{Automaton, Searcher};
use crate::compile::family::Families;
#[cfg(feature = "hyperscan")]
use crate::compile::hyperscan::Windows;
use crate::compile::parts::Parts;
use crate::compile::prefilter::Prefilter as Starts;
use crate::exact::{Exact, ExactSet};
use crate::format::{FieldAction, FieldRule, Fields};
use crate::kernel::InstructionSet;
use crate::mask::{Strategy, TokenKey};
use crate::rule::{Action, Confidence, Field, Rule, RuleError, Validator};

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
    /// Hyperscan finds where matches may start, in place of our own first stages. What is found is the same. What
    /// Hyperscan can't compile is a fault: of the rule, or of the first one where it is all rules together.
    #[cfg(feature = "hyperscan")]
    pub hyperscan: bool,
}

/// Compiled rules: immutable, shared by all threads.
#[derive(Debug)]
pub struct Ruleset {
    /// No other of this process has it.
    pub(crate) number: u64,
    rules: Vec<Rule>,
    pub(crate) compiled: Vec<CompiledRule>,
    pub(crate) prefilter: Arc<Starts>,
    /// In its place, where the options say so.
    #[cfg(feature = "hyperscan")]
    pub(crate) hyperscan: Option<Arc<Windows>>,
    pub(crate) families: Arc<Families>,
    pub(crate) token_key: Option<TokenKey>,
    fields: Option<Arc<Fields>>,
    /// Exact values, where some rule has them.
    pub(crate) exact: Option<Arc<Exact>>,
    /// Bytes behind the scan that later decisions may look at.
    pub(crate) history: usize,
}

/// What the scan needs of one rule.
#[derive(Clone, Debug)]
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
    fn new(rule: &Rule, parts: &Parts, options: &CompileOptions) -> CompiledRule {
        let bytes = |list: &[String]| list.iter().map(|s| s.as_bytes().to_vec()).collect();
        CompiledRule {
            automaton: parts.automaton.clone(),
            starts: parts.starts,
            len_max: parts.len_max,
            end: parts.end.clone(),
            priority: rule.priority.unwrap_or(match (&parts.end, rule.confidence) {
                (Some(_), _) => 40,
                (None, Confidence::High) => 30,
                (None, Confidence::Medium) => 20,
                (None, Confidence::Low) => 10,
            }),
            masks: rule.action == Action::Mask,
            strategy: options.strategy.as_ref().unwrap_or(&rule.strategy).clone(),
            entity: rule.entity.clone(),
            keywords: rule.keywords.iter().map(|k| k.to_ascii_lowercase().into_bytes()).collect(),
            near: rule.near,
            validators: rule.validators.clone(),
            exact: rule.suppress.exact.iter().map(|s| s.as_bytes().to_vec()).collect(),
            suppress: parts.suppress.clone(),
            starts_with: bytes(&rule.suppress.starts_with),
            ends_with: bytes(&rule.suppress.ends_with),
        }
    }

    fn memory_bytes(&self) -> usize {
        self.automaton.memory_bytes()
            + self.end.as_ref().map_or(0, Searcher::memory_bytes)
            + self.suppress.iter().map(Searcher::memory_bytes).sum::<usize>()
    }
}

/// Rules for a [`Ruleset`]: as they are written, or compiled before.
#[derive(Clone, Copy, Debug)]
pub enum Source<'a> {
    /// Rules that are compiled now.
    Rules(&'a [Rule]),
    /// Rules that come compiled.
    Built(&'a Built),
    /// Declared fields. Their numbers follow those of all rules.
    Fields(&'a Fields),
    /// Exact values of the rule that they name: each is found as though it were a match of that rule.
    Exact(&'a Arc<ExactSet>),
}

/// What a value is told by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Name<'a> {
    /// The rule's, or the declared field's.
    pub id: &'a str,
    /// What the value is.
    pub entity: &'a str,
    /// How sure that is; what a field holds is sure.
    pub confidence: Confidence,
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
    pub(crate) fn new(errors: Vec<RuleError>) -> CompileError {
        CompileError { errors }
    }

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
        Ruleset::link(&[Source::Rules(&rules)], options)
    }

    /// As [`Ruleset::compile`], of rules from several sources: their order is that of the rules.
    ///
    /// # Errors
    /// Every fault of every rule; a rule's index is that in all sources together.
    pub fn link(sources: &[Source<'_>], options: &CompileOptions) -> Result<Arc<Ruleset>, CompileError> {
        let written = sources.iter().map(|s| match s {
            Source::Rules(rules) => *rules,
            Source::Built(_) | Source::Fields(_) | Source::Exact(_) => &[],
        });
        let (fresh, faults) = Built::compile_noting(written.flatten().cloned().collect());
        let mut linked = Vec::new();
        let mut next_fresh = 0..fresh.rules().len();
        for source in sources {
            match source {
                Source::Rules(rules) => {
                    linked.extend(next_fresh.by_ref().take(rules.len()).map(|n| (&fresh, n)))
                }
                Source::Built(built) => linked.extend((0..built.rules().len()).map(|n| (*built, n))),
                Source::Fields(_) | Source::Exact(_) => {}
            }
        }
        let is_fresh = |(_, (built, _)): &(usize, (&Built, usize))| std::ptr::eq(*built, &fresh);
        let index_of: Vec<usize> =
            linked.iter().copied().enumerate().filter(is_fresh).map(|(index, _)| index).collect();
        let moved = |e: RuleError| RuleError { rule: index_of.get(e.rule).copied().unwrap_or(e.rule), ..e };
        let mut errors: Vec<RuleError> = faults.into_iter().map(moved).collect();
        check_together(&linked, options, &mut errors);
        if errors.is_empty() {
            let ruleset = Ruleset::of(&linked, options)
                .with_fields(sources, options)
                .with_exact(sources, &linked, options)?;
            #[cfg(feature = "hyperscan")]
            let ruleset = if options.hyperscan { ruleset.with_hyperscan(&linked)? } else { ruleset };
            return Ok(Arc::new(ruleset));
        }
        errors.sort_by_key(|e| e.rule);
        Err(CompileError { errors })
    }

    /// Of rules without faults, each by what it is compiled in and its place there.
    fn of(linked: &[(&Built, usize)], options: &CompileOptions) -> Ruleset {
        let (mut rules, mut compiled, mut triggers) = (Vec::new(), Vec::new(), Vec::new());
        let mut families = Families::default();
        // The number of a rule by where it comes from.
        let mut numbers: Vec<(&Built, Vec<Option<u32>>)> = Vec::new();
        for &(built, index) in linked {
            let (Some(rule), Some((parts, buckets))) = (built.rules().get(index), built.parts(index)) else {
                continue;
            };
            let at = numbers.iter().position(|(other, _)| std::ptr::eq(*other, built)).unwrap_or_else(|| {
                numbers.push((built, vec![None; built.rules().len()]));
                numbers.len() - 1
            });
            numbers[at].1[index] = Some(compiled.len() as u32);
            compiled.push(CompiledRule::new(rule, parts, options));
            triggers.push((&*parts.trigger, buckets));
            rules.push(rule.clone());
        }
        numbers.iter().for_each(|(built, numbers)| families.add(built.families(), numbers));
        let set = options.instruction_set.unwrap_or_else(InstructionSet::best);
        let prefilter = Starts::build(&triggers, set);
        let near_max = compiled.iter().map(|c: &CompiledRule| c.near).max().unwrap_or(0);
        Ruleset {
            number: next_number(),
            history: near_max + prefilter.reach + 2,
            rules,
            compiled,
            prefilter: Arc::new(prefilter),
            #[cfg(feature = "hyperscan")]
            hyperscan: None,
            families: Arc::new(families),
            token_key: options.token_key.clone(),
            fields: None,
            exact: None,
        }
    }

    /// The same, with exact values; those of rules that are off, or not there, are left out.
    fn with_exact(
        self,
        sources: &[Source<'_>],
        linked: &[(&Built, usize)],
        options: &CompileOptions,
    ) -> Result<Ruleset, CompileError> {
        let mut exact = Exact::default();
        for source in sources {
            let Source::Exact(set) = source else { continue };
            let Some(rule) = self.rules.iter().position(|rule| rule.id == set.rule()) else { continue };
            exact.add(rule as u32, set, options.token_key.as_ref()).map_err(|reason| {
                let is_its =
                    |(built, n): &(&Built, usize)| built.rules().get(*n).is_some_and(|r| r.id == set.rule());
                let rule = linked.iter().position(is_its).unwrap_or(rule);
                CompileError::new(vec![RuleError { rule, field: Field::Regex, reason }])
            })?;
        }
        Ok(Ruleset { exact: Some(exact).filter(|exact| !exact.is_empty()).map(Arc::new), ..self })
    }

    fn with_fields(self, sources: &[Source<'_>], options: &CompileOptions) -> Ruleset {
        let mut all = Fields::default();
        for source in sources {
            if let Source::Fields(fields) = source {
                all.and(fields);
            }
        }
        if all.rules().next().is_none() {
            return self;
        }
        let fields = Some(Arc::new(all.behind(self.rules.len(), options.strategy.as_ref())));
        Ruleset { fields, ..self }
    }

    /// The same, with its windows found by Hyperscan.
    #[cfg(feature = "hyperscan")]
    fn with_hyperscan(self, linked: &[(&Built, usize)]) -> Result<Ruleset, CompileError> {
        // By the number of the rule here: its index in all sources together, and what was made of it.
        let rules = linked.iter().copied().enumerate();
        let rules: Vec<_> =
            rules.filter_map(|(index, (built, n))| Some((index, built.parts(n)?.0))).collect();
        let built = Windows::build(rules.iter().map(|(_, parts)| &*parts.trigger));
        let hyperscan = built.map_err(|fault| {
            let number = fault.rule.unwrap_or_default() as usize;
            let (rule, parts) = rules.get(number).map_or((0, None), |(index, parts)| (*index, Some(*parts)));
            let field = if parts.is_some_and(|p| p.end.is_some()) { Field::Begin } else { Field::Regex };
            CompileError::new(vec![RuleError { rule, field, reason: fault.reason }])
        })?;
        Ok(Ruleset { hyperscan: hyperscan.map(Arc::new), ..self })
    }

    /// These rules and fields, and then those rules, compiled together: it takes as long as the first time. Rules keep
    /// their numbers; those of the new ones follow them.
    ///
    /// # Errors
    /// Every fault of the new rules.
    pub fn with_rules(&self, others: &[Rule]) -> Result<Ruleset, CompileError> {
        let mut sources = vec![Source::Rules(&self.rules), Source::Rules(others)];
        let fields = self.fields.as_deref().cloned().unwrap_or_default();
        if self.fields.is_some() {
            sources.push(Source::Fields(&fields));
        }
        let options = CompileOptions { token_key: self.token_key.clone(), ..CompileOptions::default() };
        let linked = Ruleset::link(&sources, &options)?;
        let linked = Arc::into_inner(linked).ok_or_else(|| CompileError::new(Vec::new()))?;
        Ok(Ruleset { exact: self.exact.clone(), ..linked })
    }

    /// The same rules over the same automata, for one reader who may see more or less than others.
    ///
    /// Values of the rules for which `is_revealed` holds, asked by their entity, pass and are told all the same; where
    /// another rule masks a part of such a value, that part stays masked. Of an enclosed value its opening is told.
    /// `fields` come before those declared so far; their numbers follow those of all rules, theirs first.
    #[must_use]
    pub fn for_reader(&self, is_revealed: impl Fn(&str) -> bool, fields: Option<&Fields>) -> Ruleset {
        let (mut rules, mut compiled) = (self.rules.clone(), self.compiled.clone());
        for (rule, compiled) in rules.iter_mut().zip(&mut compiled) {
            if compiled.masks && is_revealed(&compiled.entity) {
                rule.action = Action::Label;
                // What a match of its opening says is told, and nothing behind it is closed off.
                *compiled = CompiledRule { masks: false, end: None, ..compiled.clone() };
            }
        }
        let revealed = |rule: &FieldRule| match &rule.action {
            FieldAction::Mask { entity, .. } => is_revealed(entity),
            FieldAction::Allow | FieldAction::Drop | FieldAction::Scan => false,
        };
        let mut all = fields.cloned().unwrap_or_default();
        if let Some(own) = &self.fields {
            all.and(&own.without(revealed));
        }
        let has_fields = all.rules().next().is_some();
        Ruleset {
            number: next_number(),
            rules,
            compiled,
            prefilter: Arc::clone(&self.prefilter),
            #[cfg(feature = "hyperscan")]
            hyperscan: self.hyperscan.clone(),
            families: Arc::clone(&self.families),
            token_key: self.token_key.clone(),
            fields: has_fields.then(|| Arc::new(all.behind(self.rules.len(), None))),
            exact: self.exact.clone(),
            history: self.history,
        }
    }

    /// Bytes of memory that the automata take.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let rules = self.compiled.iter().map(CompiledRule::memory_bytes);
        let exact = self.exact.as_ref().map_or(0, |exact| exact.memory_bytes());
        let own = rules.sum::<usize>() + self.prefilter.memory_bytes() + self.families.memory_bytes() + exact;
        #[cfg(feature = "hyperscan")]
        let own = own + self.hyperscan.as_ref().map_or(0, |windows| windows.memory_bytes());
        own
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

    /// Declared fields, if there are any; their numbers follow those of the rules.
    #[must_use]
    pub fn fields(&self) -> Option<&Arc<Fields>> {
        self.fields.as_ref()
    }

    /// What a rule or declared field is called where a value of it is told.
    #[must_use]
    pub fn name(&self, id: RuleId) -> Option<Name<'_>> {
        if let Some(Rule { id, entity, confidence, .. }) = self.rule(id) {
            return Some(Name { id, entity, confidence: *confidence });
        }
        let field = self.fields.as_ref()?.told(id)?;
        Some(Name { id: &field.id, entity: field.entity(), confidence: Confidence::High })
    }

    /// The names of all rules and declared fields, in the order of their numbers.
    pub fn names(&self) -> impl Iterator<Item = Name<'_>> {
        (0..).map_while(|number| self.name(RuleId(number)))
    }
}

fn next_number() -> u64 {
    static NUMBER: AtomicU64 = AtomicU64::new(1);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Notes what only the rules together, or the options, make a fault.
fn check_together(linked: &[(&Built, usize)], options: &CompileOptions, errors: &mut Vec<RuleError>) {
    let mut ids = HashSet::new();
    let rules =
        linked.iter().enumerate().filter_map(|(n, (built, index))| Some((n, built.rules().get(*index)?)));
    for (index, rule) in rules.filter(|(_, rule)| rule.action != Action::Off) {
        if !ids.insert(rule.id.as_str()) {
            let reason = format!("the id `{}` is taken by another rule", rule.id);
            errors.push(RuleError { rule: index, field: Field::Id, reason });
        }
        let strategy = options.strategy.as_ref().unwrap_or(&rule.strategy);
        if *strategy == Strategy::Token && options.token_key.is_none() {
            let reason = "the strategy `token` needs a token key".into();
            errors.push(RuleError { rule: index, field: Field::Strategy, reason });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Format, Masker, MaskerOptions};
    use crate::rule::{Pattern, Suppress};
    use crate::stream::Scratch;

    fn rule(id: &str, pattern: Pattern) -> Rule {
        Rule {
            id: id.into(),
            entity: id.into(),
            description: String::new(),
            pattern,
            keywords: Vec::new(),
            near: 0,
            validators: Vec::new(),
            suppress: Suppress::default(),
            max_len: None,
            confidence: Confidence::High,
            action: Action::Mask,
            labels: Vec::new(),
            strategy: Strategy::Label,
            priority: None,
        }
    }

    /// What leaves of a body in one push, byte by byte the same, and the rules that are told.
    fn masked(ruleset: Ruleset, body: &str) -> (String, Vec<String>) {
        let ruleset = Arc::new(ruleset);
        let (mut scratch, mut all) = (Scratch::new(), Vec::new());
        for len in [body.len(), 1] {
            let mut masker = Masker::new(&ruleset, Format::Json, MaskerOptions::default());
            let mut out = Vec::new();
            body.as_bytes().chunks(len).for_each(|c| masker.push(&mut scratch, c, &mut out).unwrap());
            masker.finish(&mut scratch, &mut out).unwrap();
            let told = masker.take_findings();
            let mut told: Vec<String> =
                told.iter().map(|f| ruleset.name(f.rule).unwrap().id.to_owned()).collect();
            told.sort();
            all.push((String::from_utf8(out).unwrap(), told));
        }
        assert_eq!(all.pop(), all.last().cloned());
        all.pop().unwrap()
    }

    #[test]
    fn a_reader_sees_what_is_revealed_and_no_more() {
        let enclosed = Pattern::Enclosed { begin: "-BEGIN-".into(), end: "-END-".into() };
        let rules = vec![
            rule("digits", Pattern::Regex(r"\b[0-9]{4}\b".into())),
            rule("word", Pattern::Regex(r"\bsecret [0-9]{2}".into())),
            rule("key", enclosed),
        ];
        let all = Ruleset::compile(rules, &CompileOptions::default()).unwrap();
        let body = r#"{"a":"1234 secret 5678","b":"-BEGIN-1234-END- 1234","c":"x"}"#;
        let told = |ids: &[&str]| ids.iter().map(|id| (*id).to_owned()).collect::<Vec<_>>();
        for (revealed, output, ids) in [
            (
                &[][..],
                r#"{"a":"[digits] [word][digits]","b":"[key] [digits]","c":"x"}"#,
                &["digits", "digits", "word", "key", "digits"][..],
            ),
            (
                &["digits"],
                r#"{"a":"1234 [word]78","b":"[key] 1234","c":"x"}"#,
                &["digits", "digits", "word", "key", "digits"],
            ),
            (
                &["key"],
                r#"{"a":"[digits] [word][digits]","b":"-BEGIN-[digits]-END- [digits]","c":"x"}"#,
                &["digits", "digits", "word", "key", "digits", "digits"],
            ),
        ] {
            let reader = all.for_reader(|entity| revealed.contains(&entity), None);
            let (out, rules) = masked(reader, body);
            let mut wanted = told(ids);
            wanted.sort();
            assert_eq!((out.as_str(), rules), (output, wanted), "{revealed:?}");
        }
        let fields = Fields::only(&["$.a".to_owned()], &[]).unwrap();
        let (out, rules) = masked(all.for_reader(|_| false, Some(&fields)), body);
        assert_eq!(out, r#"{"a":"[digits] [word][digits]","b":null,"c":null}"#);
        assert!(rules.contains(&"*".to_owned()), "{rules:?}");
        // The one it was made of is as it was.
        assert_eq!(
            masked(all.for_reader(|_| false, None), body).0,
            r#"{"a":"[digits] [word][digits]","b":"[key] [digits]","c":"x"}"#
        );
    }
}
