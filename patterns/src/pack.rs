//! One pack: a TOML file parsed and checked, or a built pack.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sluice_engine::{
    Action, Built, CompileOptions, Confidence, ExactSet, Field, Pattern, Rule, RuleError, Ruleset, Scheme,
    Source, Strategy, Suppress, TokenKey, Validator,
};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::exact;
use crate::fault::{Fault, PackError};
use crate::field::{self, PackField};
use crate::overrides;
use crate::read::Reader;
use crate::sign::{self, Trust};

/// Limits of a pack file.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of the file.
    pub file_bytes_max: usize,
    /// Bytes of a built pack: what a rule's tables take is a few KiB, seldom more than a hundred.
    pub built_bytes_max: usize,
    /// Rules of one pack.
    pub rules_max: usize,
    /// Bytes of one expression.
    pub regex_bytes_max: usize,
    /// Examples of one rule.
    pub examples_max: usize,
    /// Bytes of one example's text.
    pub example_bytes_max: usize,
    /// Entries of one list (keywords, suppressions, validators).
    pub list_max: usize,
    /// Declared fields of one pack: each value is held against all of them.
    pub fields_max: usize,
}

/// The limits in force: generous for people, small enough that a hostile file can't exhaust memory.
pub const LIMITS: Limits = Limits {
    file_bytes_max: 8 << 20,
    built_bytes_max: 256 << 20,
    rules_max: 10_000,
    regex_bytes_max: 16 << 10,
    examples_max: 1_000,
    example_bytes_max: 64 << 10,
    list_max: 10_000,
    fields_max: 256,
};

/// A pack of rules.
#[derive(Clone, Debug)]
pub struct Pack {
    /// The file, as it was named.
    pub file: String,
    /// `pack.name`.
    pub name: String,
    /// `pack.version`.
    pub version: String,
    /// `pack.description`.
    pub description: String,
    /// In the order of the file.
    pub rules: Vec<PackRule>,
    /// In the order of the file.
    pub fields: Vec<PackField>,
    /// Exact values of rules, each with the rule's id.
    pub(crate) exact: Vec<Arc<ExactSet>>,
    /// Of a built pack.
    pub(crate) built: Option<Arc<Built>>,
}

/// A rule with its examples and its place in the file.
#[derive(Clone, Debug)]
pub struct PackRule {
    /// The rule itself.
    pub rule: Rule,
    /// Where the form is described: a standard, a provider's documentation, a public rule set; may be empty.
    pub source: String,
    /// Texts and what the rule finds in them.
    pub examples: Vec<Example>,
    /// Line of its `[[rule]]`; in a built pack, that of the TOML file.
    pub line: usize,
    pub(crate) places: Places,
}

/// A text and the values that the rule finds in it, in order.
#[derive(Clone, Debug)]
pub struct Example {
    /// The text.
    pub text: String,
    /// The values; none: the rule must not match.
    pub matches: Vec<String>,
    /// Line in the file.
    pub line: usize,
}

/// Lines of a rule's fields.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    fields: Vec<(Field, usize)>,
    /// The file, where it is another one than the pack's.
    pub(crate) file: Option<Arc<str>>,
    /// What a `[[set]]` has changed, the last one last.
    pub(crate) set: Vec<(Field, Arc<str>, usize)>,
}

impl PackRule {
    /// The line of a field; the rule's own when the field is not written.
    #[must_use]
    pub fn line_of(&self, field: Field) -> usize {
        self.places.fields.iter().find(|(f, _)| *f == field).map_or(self.line, |(_, line)| *line)
    }
}

const RULE_KEYS: &[&str] = &[
    "id",
    "entity",
    "description",
    "source",
    "regex",
    "begin",
    "end",
    "exact",
    "keywords",
    "near",
    "validators",
    "suppress",
    "max_len",
    "confidence",
    "action",
    "labels",
    "strategy",
    "priority",
    "examples",
];

impl Pack {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// The file can't be read, or every fault in it.
    pub fn read(path: &Path) -> Result<Pack, PackError> {
        let pack = Pack::read_unchecked(path)?;
        pack.check()?;
        Ok(pack)
    }

    /// As [`Pack::read`] for packs that are compiled next.
    pub(crate) fn read_unchecked(path: &Path) -> Result<Pack, PackError> {
        Pack::read_at(path, 0, &Trust::anyone())
    }

    /// As [`Pack::read_unchecked`], of a pack that so many others extend, one the other, and whose signature is looked at.
    pub(crate) fn read_at(path: &Path, depth: usize, trust: &Trust) -> Result<Pack, PackError> {
        let file = path.display().to_string();
        let fault = |line, reason: String| PackError::new(vec![Fault { file: file.clone(), line, reason }]);
        let mut bytes = Vec::new();
        let read = std::fs::File::open(path).and_then(|mut file| {
            // Room for all of it at once, and a byte that tells that there is more than may be.
            let len = file.metadata().map_or(0, |m| m.len()).min(LIMITS.built_bytes_max as u64) as usize;
            bytes.reserve_exact(len + 1);
            file.by_ref().take(LIMITS.built_bytes_max as u64 + 1).read_to_end(&mut bytes)
        });
        read.map_err(|e| fault(1, format!("can't read the pack: {e}")))?;
        if Built::is_built(&bytes) || sign::is_signed(&bytes) || trust.is_limited() {
            let whole = |reason| PackError::new(vec![Fault { file: file.clone(), line: 0, reason }]);
            return Pack::from_built(&file, sign::open(&bytes, trust).map_err(whole)?);
        }
        let text = String::from_utf8(bytes).map_err(|_| fault(1, "a pack is UTF-8 text".into()))?;
        Pack::parse_at(&file, &text, depth)
    }

    /// Parses and checks the text of a pack; `file` names it in faults.
    ///
    /// # Errors
    /// Every fault of syntax, of unknown or missing keys, of values, and of rules that don't compile.
    pub fn parse(file: &str, text: &str) -> Result<Pack, PackError> {
        let pack = Pack::parse_unchecked(file, text)?;
        pack.check()?;
        Ok(pack)
    }

    /// As [`Pack::parse`] for packs that are compiled next, which tells what is wrong with their rules; where there
    /// are other faults, those are told too.
    pub(crate) fn parse_unchecked(file: &str, text: &str) -> Result<Pack, PackError> {
        Pack::parse_at(file, text, 0)
    }

    /// As [`Pack::parse_unchecked`], of a pack that so many others extend, one the other.
    pub(crate) fn parse_at(file: &str, text: &str, depth: usize) -> Result<Pack, PackError> {
        let mut reader = Reader::new(file, text);
        if text.len() > LIMITS.file_bytes_max {
            reader.fault(&(0..0), format!("a pack has at most {} bytes", LIMITS.file_bytes_max));
            return Err(PackError::new(reader.faults));
        }
        let Some(document) = reader.document(text) else { return Err(PackError::new(reader.faults)) };
        let pack = read_pack(&mut reader, file, &document, depth);
        if reader.faults.is_empty() {
            return Ok(pack);
        }
        if let Err(more) = pack.check() {
            reader.faults.extend(more.faults().iter().cloned());
        }
        Err(PackError::new(reader.faults))
    }

    /// Compiles the rules and throws the result away; the engine's faults get the lines of the fields they are in.
    pub(crate) fn check(&self) -> Result<(), PackError> {
        // Whether a key is at hand is known only where the pack is used.
        let options = CompileOptions {
            token_key: TokenKey::new(vec![0; TokenKey::BYTES_MIN]),
            ..CompileOptions::default()
        };
        link_together(&[self], &options, false).map(drop)
    }

    /// Compiles the rules of this pack alone.
    ///
    /// # Errors
    /// The faults of rules, and what only the options make one.
    pub fn compile(&self, options: &CompileOptions) -> Result<Arc<Ruleset>, PackError> {
        compile_together(&[self], options)
    }

    /// A fault of one of its rules.
    pub(crate) fn fault(&self, rule: &PackRule, field: Field, reason: String) -> Fault {
        if let Some((_, file, line)) = rule.places.set.iter().rev().find(|(set, ..)| *set == field) {
            return Fault { file: file.to_string(), line: *line, reason };
        }
        let line = if self.built.is_some() { 0 } else { rule.line_of(field) };
        let file = rule.places.file.as_deref().unwrap_or(&self.file).to_owned();
        Fault { file, line, reason }
    }
}

/// Compiles packs to one ruleset; rules of built packs come compiled.
pub(crate) fn compile_together(packs: &[&Pack], options: &CompileOptions) -> Result<Arc<Ruleset>, PackError> {
    if options.token_key.is_none() && packs.iter().any(|pack| pack.needs_key()) {
        let token_key = exact::token_key_from_env();
        return link_together(packs, &CompileOptions { token_key, ..options.clone() }, true);
    }
    link_together(packs, options, true)
}

/// As [`compile_together`], with exact values or without: whether their key is at hand is known only where they are used.
fn link_together(packs: &[&Pack], options: &CompileOptions, exact: bool) -> Result<Arc<Ruleset>, PackError> {
    let written = packs.iter().map(|pack| match &pack.built {
        Some(_) => Vec::new(),
        None => pack.rules.iter().map(|r| r.rule.clone()).collect(),
    });
    let written: Vec<Vec<Rule>> = written.collect();
    let sources = packs.iter().zip(&written).map(|(pack, rules)| match &pack.built {
        Some(built) => Source::Built(built),
        None => Source::Rules(rules),
    });
    let mut sources: Vec<Source<'_>> = sources.collect();
    let fields = field::read_together(packs)?;
    sources.push(Source::Fields(&fields));
    sources.extend(packs.iter().filter(|_| exact).flat_map(|pack| pack.exact.iter().map(Source::Exact)));
    Ruleset::link(&sources, options).map_err(|error| place_together(packs, error.errors()))
}

/// The engine's faults with their places in the files.
pub(crate) fn place_together(packs: &[&Pack], errors: &[RuleError]) -> PackError {
    let rules: Vec<_> = packs.iter().flat_map(|p| p.rules.iter().map(move |r| (p, r))).collect();
    let place = |e: &RuleError| {
        let (pack, rule) = rules.get(e.rule)?;
        Some(pack.fault(rule, e.field, format!("rule `{}`: {}", rule.rule.id, e.reason)))
    };
    PackError::new(errors.iter().filter_map(place).collect())
}

fn read_pack(reader: &mut Reader, file: &str, document: &DeTable<'_>, depth: usize) -> Pack {
    reader.known_keys(document, &["pack", "rule", "field", "set", "allow"]);
    let mut pack = Pack {
        file: file.to_owned(),
        name: String::new(),
        version: String::new(),
        description: String::new(),
        rules: Vec::new(),
        fields: Vec::new(),
        exact: Vec::new(),
        built: None,
    };
    match document.get("pack") {
        Some(value) => {
            if let Some(table) = reader.table(value) {
                reader.known_keys(table, &["name", "version", "description", "extends", "disable"]);
                let mut text = |key| table.get(key).and_then(|v| reader.string(v));
                pack.name = text("name").unwrap_or_default();
                pack.version = text("version").unwrap_or_default();
                pack.description = text("description").unwrap_or_default();
                for key in ["name", "version"] {
                    if !table.contains_key(key) {
                        reader.fault(&value.span(), format!("[pack] needs `{key}`"));
                    }
                }
            }
        }
        None => reader.fault(&(0..0), "a pack begins with a table [pack] with `name` and `version`"),
    }
    read_others(reader, document, &mut pack, depth);
    if let Some(fields) = document.get("field") {
        pack.fields.extend(field::read(reader, fields));
    }
    if let Some(rules) = document.get("rule") {
        read_rules(reader, rules, &mut pack);
    }
    let has_any = ["rule", "field"].iter().any(|key| document.contains_key(*key));
    if !has_any && pack.rules.is_empty() && pack.fields.is_empty() {
        reader.fault(&(0..0), "a pack has at least one [[rule]] or [[field]]");
    }
    if let Some(allow) = document.get("allow") {
        overrides::allow(reader, allow, &mut pack);
    }
    pack
}

/// What the pack extends, with what it leaves out and changes of that.
fn read_others(reader: &mut Reader, document: &DeTable<'_>, pack: &mut Pack, depth: usize) {
    let table = document.get("pack").and_then(|pack| pack.get_ref().as_table());
    if let Some(extends) = table.and_then(|table| table.get("extends")) {
        overrides::extend(reader, extends, pack, depth);
    }
    // Where what is extended could not be read, what is changed of it can't be found.
    if !reader.faults.is_empty() && pack.rules.is_empty() {
        return;
    }
    if let Some(disable) = table.and_then(|table| table.get("disable")) {
        overrides::disable(reader, disable, pack);
    }
    if let Some(set) = document.get("set") {
        overrides::set(reader, set, pack);
    }
}

fn read_rules(reader: &mut Reader, rules: &Spanned<DeValue<'_>>, pack: &mut Pack) {
    let rules = reader.array(rules).unwrap_or_default();
    if let Some(extra) = rules.get(LIMITS.rules_max) {
        reader.fault(&extra.span(), format!("a pack has at most {} rules", LIMITS.rules_max));
    }
    for value in rules.iter().take(LIMITS.rules_max) {
        if let Some(table) = reader.table(value) {
            let rule = read_rule(reader, value, table);
            let exact = table.get("exact").zip(rule.as_ref());
            pack.exact.extend(exact.and_then(|(v, rule)| exact::read(reader, v, &rule.rule.id, &pack.file)));
            pack.rules.extend(rule);
        }
    }
}

/// `high`, `medium` or `low`.
pub(crate) fn read_confidence(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Confidence> {
    let words = [("high", Confidence::High), ("medium", Confidence::Medium), ("low", Confidence::Low)];
    reader.word(value, &words)
}

/// `mask`, `label`, `shadow` or `off`.
pub(crate) fn read_action(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Action> {
    let words =
        [("mask", Action::Mask), ("label", Action::Label), ("shadow", Action::Shadow), ("off", Action::Off)];
    reader.word(value, &words)
}

fn read_rule(reader: &mut Reader, value: &Spanned<DeValue<'_>>, table: &DeTable<'_>) -> Option<PackRule> {
    reader.known_keys(table, RULE_KEYS);
    let faults_before = reader.faults.len();
    let mut places = Places::default();
    let note = |field: Field, v: &Spanned<DeValue<'_>>, reader: &Reader, places: &mut Places| {
        places.fields.push((field, reader.line(&v.span())));
    };
    let mut text = |key: &str, field: Field, reader: &mut Reader| {
        let v = table.get(key)?;
        note(field, v, reader, &mut places);
        let text = reader.string(v)?;
        if text.len() > LIMITS.regex_bytes_max {
            reader.fault(&v.span(), format!("at most {} bytes", LIMITS.regex_bytes_max));
            return None;
        }
        Some(text)
    };
    let id = text("id", Field::Id, reader);
    let entity = text("entity", Field::Entity, reader);
    let regex = text("regex", Field::Regex, reader);
    let begin = text("begin", Field::Begin, reader);
    let end = text("end", Field::End, reader);
    for key in ["id", "entity"] {
        if !table.contains_key(key) {
            reader.fault(&value.span(), format!("a rule needs `{key}`"));
        }
    }
    let has = |key: &str| table.contains_key(key);
    let pattern = match (has("regex"), has("begin"), has("end"), has("exact")) {
        (true, false, false, false) => regex.map(Pattern::Regex),
        (false, false, false, true) => id.as_deref().map(exact::pattern),
        (false, true, true, false) => begin.zip(end).map(|(begin, end)| Pattern::Enclosed { begin, end }),
        _ => {
            reader.fault(&value.span(), "a rule has either `regex`, or `begin` and `end`, or `exact`");
            None
        }
    };
    let mut plain = |key: &str| table.get(key).and_then(|v| reader.string(v)).unwrap_or_default();
    let (description, source) = (plain("description"), plain("source"));
    let keywords = list(reader, table, "keywords", &mut places, Field::Keyword);
    let validators = read_validators(reader, table, &mut places);
    let suppress = read_suppress(reader, table, &mut places);
    let labels = table.get("labels").map(|v| reader.strings(v)).unwrap_or_default();
    for (key, field) in [("near", Field::Near), ("max_len", Field::MaxLen), ("strategy", Field::Strategy)] {
        if let Some(v) = table.get(key) {
            note(field, v, reader, &mut places);
        }
    }
    let mut size = |key: &str| table.get(key).and_then(|v| reader.integer(v, 0..1 << 32));
    let (near, max_len) = (size("near").unwrap_or(0), size("max_len"));
    let priority = table.get("priority").and_then(|v| reader.integer(v, -1000..1001));
    let confidence = table.get("confidence").and_then(|v| read_confidence(reader, v));
    let action = table.get("action").and_then(|v| read_action(reader, v));
    let strategy = table.get("strategy").and_then(|v| read_strategy(reader, v));
    let examples = read_examples(reader, table);
    if reader.faults.len() > faults_before && (id.is_none() || entity.is_none() || pattern.is_none()) {
        return None;
    }
    let rule = Rule {
        id: id?,
        entity: entity?,
        description,
        pattern: pattern?,
        keywords,
        near: near as usize,
        validators,
        suppress,
        max_len: max_len.map(|n| n as usize),
        confidence: confidence.unwrap_or(Confidence::Medium),
        action: action.unwrap_or(Action::Mask),
        labels: labels.into_iter().map(|(text, _)| text).collect(),
        strategy: strategy.unwrap_or(Strategy::Label),
        priority: priority.map(|n| n as i32),
    };
    Some(PackRule { rule, source, examples, line: reader.line(&value.span()), places })
}

fn list(
    reader: &mut Reader,
    table: &DeTable<'_>,
    key: &str,
    places: &mut Places,
    field: fn(usize) -> Field,
) -> Vec<String> {
    let Some(value) = table.get(key) else { return Vec::new() };
    let strings = reader.strings(value);
    if strings.len() > LIMITS.list_max {
        reader.fault(&value.span(), format!("at most {} entries", LIMITS.list_max));
    }
    for (n, (_, line)) in strings.iter().enumerate() {
        places.fields.push((field(n), *line));
    }
    strings.into_iter().map(|(text, _)| text).collect()
}

pub(crate) fn read_validators(
    reader: &mut Reader,
    table: &DeTable<'_>,
    places: &mut Places,
) -> Vec<Validator> {
    let mut validators = Vec::new();
    let Some(value) = table.get("validators") else { return validators };
    for item in reader.array(value).unwrap_or_default() {
        places.fields.push((Field::Validator(validators.len()), reader.line(&item.span())));
        if let Some(table) = reader.table(item) {
            validators.extend(read_validator(reader, item, table));
        }
    }
    validators
}

/// Validators that take no settings.
const PLAIN_VALIDATORS: &[(&str, Validator)] = &[
    ("luhn", Validator::Luhn),
    ("mod97", Validator::Mod97),
    ("us_ssn", Validator::UsSsn),
    ("jwt", Validator::Jwt),
    ("ip", Validator::Ip),
    ("crc32_github", Validator::Crc32Github),
    ("crc32_npm", Validator::Crc32Npm),
    ("base64", Validator::Base64),
    ("date", Validator::Date),
    ("bitcoin", Validator::Bitcoin),
    ("ethereum", Validator::Ethereum),
];

fn read_validator(
    reader: &mut Reader,
    item: &Spanned<DeValue<'_>>,
    table: &DeTable<'_>,
) -> Option<Validator> {
    let Some(kind_value) = table.get("kind") else {
        reader.fault(&item.span(), "a validator needs `kind`");
        return None;
    };
    let kind = reader.string(kind_value)?;
    if let Some((_, validator)) = PLAIN_VALIDATORS.iter().find(|(name, _)| *name == kind) {
        reader.known_keys(table, &["kind"]);
        return Some(validator.clone());
    }
    if let Some(scheme) = Scheme::find(&kind) {
        reader.known_keys(table, &["kind"]);
        return Some(Validator::Scheme(scheme));
    }
    match kind.as_str() {
        "entropy" => {
            reader.known_keys(table, &["kind", "min"]);
            let Some(min) = table.get("min") else {
                reader.fault(&item.span(), "`entropy` needs `min`, in bits a byte");
                return None;
            };
            reader.number(min).map(|min| Validator::Entropy { min })
        }
        "chars" => {
            reader.known_keys(table, &["kind", "digits", "lower", "upper", "letters", "distinct"]);
            let mut count =
                |key| table.get(key).and_then(|v| reader.integer(v, 0..257)).unwrap_or(0) as usize;
            Some(Validator::Chars {
                digits: count("digits"),
                lower: count("lower"),
                upper: count("upper"),
                letters: count("letters"),
                distinct: count("distinct"),
            })
        }
        _ => {
            let mut names: Vec<&str> = PLAIN_VALIDATORS.iter().map(|(name, _)| *name).collect();
            names.extend(["entropy", "chars"]);
            names.extend(Scheme::all().map(Scheme::name));
            reader.fault(
                &kind_value.span(),
                format!("unknown validator `{kind}`: one of {}", names.join(", ")),
            );
            None
        }
    }
}

pub(crate) fn read_suppress(reader: &mut Reader, table: &DeTable<'_>, places: &mut Places) -> Suppress {
    let Some(value) = table.get("suppress") else { return Suppress::default() };
    let Some(table) = reader.table(value) else { return Suppress::default() };
    reader.known_keys(table, &["exact", "regex", "starts_with", "ends_with"]);
    let mut plain = |key: &str| -> Vec<String> {
        let strings = table.get(key).map(|v| reader.strings(v)).unwrap_or_default();
        strings.into_iter().map(|(text, _)| text).collect()
    };
    let (exact, starts_with, ends_with) = (plain("exact"), plain("starts_with"), plain("ends_with"));
    let regex = list(reader, table, "regex", places, Field::SuppressRegex);
    Suppress { exact, regex, starts_with, ends_with }
}

/// `label`, `fill`, `drop`, `token`, `keep:FIRST,LAST` or `constant:TEXT`.
pub(crate) fn read_strategy(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Strategy> {
    let text = reader.string(value)?;
    let strategy = text.parse();
    strategy.map_err(|e: sluice_engine::StrategyError| reader.fault(&value.span(), e.to_string())).ok()
}

fn read_examples(reader: &mut Reader, table: &DeTable<'_>) -> Vec<Example> {
    let mut examples = Vec::new();
    let Some(value) = table.get("examples") else { return examples };
    let items = reader.array(value).unwrap_or_default();
    if let Some(extra) = items.get(LIMITS.examples_max) {
        reader.fault(&extra.span(), format!("at most {} examples a rule", LIMITS.examples_max));
    }
    for item in items.iter().take(LIMITS.examples_max) {
        let Some(table) = reader.table(item) else { continue };
        reader.known_keys(table, &["text", "matches"]);
        let (Some(text), Some(matches)) = (table.get("text"), table.get("matches")) else {
            reader.fault(&item.span(), "an example needs `text` and `matches`");
            continue;
        };
        let matches = reader.strings(matches).into_iter().map(|(text, _)| text).collect();
        let Some(text) = reader.string(text) else { continue };
        if text.len() > LIMITS.example_bytes_max {
            reader.fault(&item.span(), format!("an example has at most {} bytes", LIMITS.example_bytes_max));
        }
        examples.push(Example { text, matches, line: reader.line(&item.span()) });
    }
    examples
}

#[cfg(test)]
mod tests;
