//! Rules compiled ahead of time, and the file that keeps them.
//!
//! Compiling a ruleset takes a second or so: expressions become automata, and windows are shared out among buckets.
//! None of that depends on [`CompileOptions`](crate::CompileOptions), so it may be done once and kept. A file has
//!
//! ```text
//!   magic  8 │ layout 4 │ engine 8 │ version 16 │ length 8 │ SHA-256 32 │ content
//! ```
//! where `engine` is a fingerprint of the code that the content's meaning depends on, and the hash is of all bytes
//! but itself. The content is the caller's *notes*, the rules as they are written, their byte sets, and for each rule
//! its tables, its windows with their buckets, and what else `Parts` has, then the families. What is not in it is
//! cheap (the kernel's tables and the gates, which depend on all packs together) or rarely asked for (the NFA that
//! tells where a group lies, made of the expression's text at its first use).
//!
//! The hash finds damage, it proves no origin. So whatever the content says is checked as it is read: numbers of
//! states, columns, sets, families and buckets, lengths before they are allocated, and all that keeps a scan within its
//! bounds. A file that someone made up may find the wrong values; it can't crash, hang or read past an end.
//!
//! # Rejected
//! A crate for the format (`postcard`, `rkyv`): what takes long is tables of numbers, which are copied as they are,
//! and the checks are ours to write either way. Tables mapped from the file: they would need to be aligned and read as
//! `u16` without a copy, which is `unsafe`, to save a few milliseconds. Dense DFAs of `regex-automata`, which can be
//! written down: ours are a third of their size and are read without its checks of every transition.

mod rules;
#[cfg(test)]
mod tests;
pub mod wire;

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};

use sha2::{Digest, Sha256};

use self::rules::{read_parts, read_rule, write_parts, write_rule};
use self::wire::{Damage, Reader, Writer};
use crate::compile::family::Families;
use crate::compile::parts::{self, Faults, Parts};
use crate::compile::prefilter::choose_buckets;
use crate::compile::sets::{Sets, SetsWriter};
use crate::compile::symbol::Models;
use crate::rule::{Action, Rule, RuleError};
use crate::ruleset::CompileError;

/// Not UTF-8, so that no text begins so.
const MAGIC: [u8; 8] = *b"\x8fsluice\n";
/// Of the bytes before the content.
const LAYOUT: u32 = 2;
/// The version's text, filled up with zeros.
const VERSION: [u8; 16] = padded(env!("CARGO_PKG_VERSION"));
/// Where the hash begins, and the content.
const HASH_AT: usize = 44;
const CONTENT_AT: usize = HASH_AT + 32;
/// The fewest bytes of a rule.
const RULE_BYTES_MIN: usize = 64;
/// Fewer rules are not worth another thread.
const RULES_A_THREAD_MIN: usize = 16;

const fn padded(text: &str) -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut at = 0;
    while at < text.len() && at < bytes.len() {
        bytes[at] = text.as_bytes()[at];
        at += 1;
    }
    bytes
}

/// Of the code that the content's meaning depends on (FNV-1a): a change of it makes older files unreadable, which is
/// better than reading them wrongly.
const ENGINE: u64 = fingerprint(&[
    include_bytes!("mod.rs"),
    include_bytes!("rules.rs"),
    include_bytes!("wire.rs"),
    include_bytes!("../compile/automaton.rs"),
    include_bytes!("../exact/mod.rs"),
    include_bytes!("../exact/words.rs"),
    include_bytes!("../exact/digest.rs"),
    include_bytes!("../compile/expression.rs"),
    include_bytes!("../compile/family.rs"),
    include_bytes!("../compile/group.rs"),
    include_bytes!("../compile/parts.rs"),
    include_bytes!("../compile/path.rs"),
    include_bytes!("../compile/prefilter.rs"),
    include_bytes!("../compile/sets.rs"),
    include_bytes!("../compile/symbol.rs"),
    include_bytes!("../compile/table.rs"),
    include_bytes!("../compile/threads.rs"),
    include_bytes!("../compile/window.rs"),
    include_bytes!("../compile/words.rs"),
    include_bytes!("../kernel/mod.rs"),
]);

const fn fingerprint(sources: &[&[u8]]) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut source = 0;
    while source < sources.len() {
        let mut at = 0;
        while at < sources[source].len() {
            hash = (hash ^ sources[source][at] as u64).wrapping_mul(0x0100_0000_01b3);
            at += 1;
        }
        source += 1;
    }
    hash
}

/// Rules compiled together, apart from the options: what a built pack keeps.
///
/// ```
/// use sluice_engine::{Built, CompileOptions, Rule, Ruleset, Source};
/// # use sluice_engine::{Action, Confidence, Pattern, Strategy, Suppress};
/// # let rule = Rule {
/// #     id: "acme-key".into(), entity: "acme_key".into(), description: String::new(),
/// #     pattern: Pattern::Regex("acme_[0-9a-f]{8}".into()), keywords: vec![], near: 0, validators: vec![],
/// #     suppress: Suppress::default(), max_len: None, confidence: Confidence::High, action: Action::Mask,
/// #     labels: vec![], strategy: Strategy::Label, priority: None,
/// # };
/// let bytes = Built::compile(vec![rule])?.to_bytes(b"notes");
/// let (built, notes) = Built::from_bytes(&bytes)?;
/// assert_eq!((built.rules()[0].id.as_str(), notes), ("acme-key", b"notes".as_slice()));
/// let ruleset = Ruleset::link(&[Source::Built(&built)], &CompileOptions::default())?;
/// assert_eq!(ruleset.rules().len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Built {
    rules: Vec<Rule>,
    /// By rule, with the buckets of its paths; none for those that are off.
    parts: Vec<Option<(Parts, Vec<u8>)>>,
    families: Families,
}

/// Why bytes are no [`Built`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuiltError(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// There is no magic.
    Other,
    /// Of another engine, whose version is told.
    Engine(String),
    /// Cut, or more than was written.
    Length,
    Hash,
    Content(Damage),
    Rule(RuleError),
}

impl fmt::Display for BuiltError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Other => f.write_str("it is no built pack"),
            Kind::Engine(version) => write!(
                f,
                "it was built by another version of sluice ({version}; this is {}): build it again with `sluice pack build`",
                env!("CARGO_PKG_VERSION")
            ),
            Kind::Length => f.write_str("the built pack is cut short or too long: build it again"),
            Kind::Hash => f.write_str("the built pack is damaged (its SHA-256 is another): build it again"),
            Kind::Content(damage) => {
                write!(f, "the built pack is not valid ({}): build it again", damage.0)
            }
            Kind::Rule(error) => write!(f, "the built pack is not valid ({error}): build it again"),
        }
    }
}

impl std::error::Error for BuiltError {}

impl From<Damage> for BuiltError {
    fn from(damage: Damage) -> BuiltError {
        BuiltError(Kind::Content(damage))
    }
}

impl Built {
    /// Bytes before the content; the last 32 of them are the SHA-256 of all other bytes.
    pub const HEAD_BYTES: usize = CONTENT_AT;

    /// Compiles rules; of those whose action is `off` only the text is kept.
    ///
    /// # Errors
    /// Every fault of every rule.
    pub fn compile(rules: Vec<Rule>) -> Result<Built, CompileError> {
        let (built, faults) = Built::compile_noting(rules);
        if faults.is_empty() { Ok(built) } else { Err(CompileError::new(faults)) }
    }

    /// What could be compiled, and the faults.
    pub(crate) fn compile_noting(rules: Vec<Rule>) -> (Built, Vec<RuleError>) {
        if rules.is_empty() {
            // Not even the statistics are looked at.
            return (Built { rules, parts: Vec::new(), families: Families::default() }, Vec::new());
        }
        let models = Models::new();
        let (parts, faults): (Vec<_>, Vec<_>) = compile_all(&rules, &models).into_iter().unzip();
        let faults: Vec<RuleError> = faults.into_iter().flatten().collect();
        if !faults.is_empty() {
            let parts = rules.iter().map(|_| None).collect();
            return (Built { rules, parts, families: Families::default() }, faults);
        }
        let told: Vec<_> =
            parts.iter().map(|p| p.as_ref().map(|p: &Parts| (&p.automaton, &*p.trigger))).collect();
        let families = Families::build(&told);
        let triggers: Vec<_> = told.iter().map(|rule| rule.map(|(_, trigger)| trigger)).collect();
        let buckets = choose_buckets(&triggers, &models);
        let parts = parts.into_iter().zip(buckets).map(|(parts, buckets)| Some((parts?, buckets))).collect();
        (Built { rules, parts, families }, faults)
    }

    /// The rules, in their order; those that are off, too.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// One of its rules alone; `None` when there is none of this number, or it is off.
    #[must_use]
    pub fn only(&self, index: usize) -> Option<Built> {
        let parts = self.parts.get(index)?.clone()?;
        let rules = vec![self.rules.get(index)?.clone()];
        Some(Built { rules, parts: vec![Some(parts)], families: Families::default() })
    }

    pub(crate) fn parts(&self, index: usize) -> Option<(&Parts, &[u8])> {
        let (parts, buckets) = self.parts.get(index)?.as_ref()?;
        Some((parts, buckets))
    }

    pub(crate) fn families(&self) -> &Families {
        &self.families
    }

    /// True when bytes begin as a built pack does.
    #[must_use]
    pub fn is_built(bytes: &[u8]) -> bool {
        bytes.starts_with(&MAGIC)
    }

    /// As a file, with `notes` that mean nothing here. The same rules give the same bytes.
    #[must_use]
    pub fn to_bytes(&self, notes: &[u8]) -> Vec<u8> {
        let (mut compiled, mut sets) = (Writer::default(), SetsWriter::default());
        for (parts, buckets) in self.parts.iter().flatten() {
            write_parts(parts, buckets, &mut compiled, &mut sets);
        }
        self.families.write(&mut compiled);
        let mut content = Writer::default();
        content.size(notes.len());
        content.raw(notes);
        content.count(self.rules.len());
        self.rules.iter().for_each(|rule| write_rule(rule, &mut content));
        sets.write(&mut content);
        content.raw(&compiled.into_bytes());
        seal(&content.into_bytes())
    }

    /// From a file's bytes, with its notes.
    ///
    /// # Errors
    /// They are no built pack, or one of another engine, or damaged, or say what can't be.
    pub fn from_bytes(bytes: &[u8]) -> Result<(Built, &[u8]), BuiltError> {
        let mut from = Reader::new(open(bytes)?);
        let notes_len = from.size(bytes.len())?;
        let notes = from.raw(notes_len)?;
        let rules = from.list(RULE_BYTES_MIN, read_rule)?;
        let mut faults = Vec::new();
        for (index, rule) in rules.iter().enumerate() {
            parts::check(rule, &mut Faults { rule: index, errors: &mut faults });
        }
        if let Some(fault) = faults.pop() {
            return Err(BuiltError(Kind::Rule(fault)));
        }
        let sets = Sets::read_all(&mut from)?;
        let parts = rules.iter().map(|rule| match rule.action {
            Action::Off => Ok(None),
            Action::Mask | Action::Label | Action::Shadow => read_parts(rule, &mut from, &sets).map(Some),
        });
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let families = Families::read(&mut from, rules.len())?;
        from.end()?;
        Ok((Built { rules, parts, families }, notes))
    }
}

/// The content with what stands before it.
fn seal(content: &[u8]) -> Vec<u8> {
    let mut file = Writer::default();
    file.raw(&MAGIC);
    file.u32(LAYOUT);
    file.u64(ENGINE);
    file.raw(&VERSION);
    file.size(content.len());
    let mut file = file.into_bytes();
    let hash = hash(&file, content);
    file.extend_from_slice(&hash);
    file.extend_from_slice(content);
    file
}

fn hash(head: &[u8], content: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(head).chain_update(content).finalize().into()
}

/// The content of a file that is whole and of this engine.
fn open(bytes: &[u8]) -> Result<&[u8], BuiltError> {
    let mut from = Reader::new(bytes);
    if !Built::is_built(bytes) {
        return Err(BuiltError(Kind::Other));
    }
    let cut = |_| BuiltError(Kind::Length);
    from.raw(MAGIC.len()).map_err(cut)?;
    let engine = (from.u32().map_err(cut)?, from.u64().map_err(cut)?);
    let version: &[u8; 16] = from.array().map_err(cut)?;
    if engine != (LAYOUT, ENGINE) || *version != VERSION {
        let text = version.iter().take_while(|byte| byte.is_ascii_graphic());
        return Err(BuiltError(Kind::Engine(text.map(|byte| char::from(*byte)).collect())));
    }
    let len = from.u64().map_err(cut)?;
    let known: &[u8; 32] = from.array().map_err(cut)?;
    let content = bytes.get(CONTENT_AT..).unwrap_or_default();
    if content.len() as u64 != len {
        return Err(BuiltError(Kind::Length));
    }
    if hash(bytes.get(..HASH_AT).unwrap_or_default(), content) != *known {
        return Err(BuiltError(Kind::Hash));
    }
    Ok(content)
}

/// Compiles each rule that is not off, on as many threads as there are cores: automata take most of a start.
fn compile_all(rules: &[Rule], models: &Models) -> Vec<(Option<Parts>, Vec<RuleError>)> {
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
                Action::Mask | Action::Label | Action::Shadow => Parts::compile(rule, models, &mut faults),
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
