//! Reading files of policies.

use std::collections::{BTreeSet, HashMap};
use std::ops::Range;
use std::sync::Arc;

use sluice_engine::{FieldAction, FieldRule, Fields};
use sluice_patterns::Fault;
use sluice_patterns::read::Reader;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::policy::{Effect, Policy};
use super::selectors::{DIMENSIONS, Dimension, Selectors};
use super::{FILE_BYTES_MAX, POLICIES_MAX};
use crate::condition::Condition;
use crate::pattern::Pattern;
use crate::{ApprovalTerms, FieldList, ResponseLimits};

/// A value with its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// Bytes of an id: it stands in records and labels of metrics.
const ID_BYTES_MAX: usize = 64;
/// Bytes of a text for people.
const TEXT_BYTES_MAX: usize = 512;
/// Items of a list.
const ITEMS_MAX: usize = 100_000;
/// People of a group that a policy may ask for.
const PEOPLE_MAX: i64 = 100;

const KEYS: &[&str] = &[
    "id",
    "description",
    "action",
    "shadow",
    "reason",
    "issuer",
    "subject",
    "groups",
    "purpose",
    "kind",
    "chain",
    "step",
    "actor",
    "upstream",
    "route",
    "method",
    "path",
    "model",
    "tool",
    "operation",
    "when",
    "reveal",
    "fields",
    "limits",
    "approvers",
];

const ACTIONS: &[(&str, Effect)] =
    &[("allow", Effect::Allow), ("approve", Effect::Approve), ("block", Effect::Block)];

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Read {
    pub(super) policies: Vec<Policy>,
    pub(super) faults: Vec<Fault>,
    /// Where each id was given first.
    ids: HashMap<Arc<str>, (Arc<str>, usize)>,
}

impl Read {
    /// Reads a file; what is wrong with it is noted.
    pub(super) fn file(&mut self, name: &str, text: &str) {
        if text.len() > FILE_BYTES_MAX {
            let reason = format!("a file of policies has at most {FILE_BYTES_MAX} bytes");
            self.faults.push(Fault { file: name.to_owned(), line: 0, reason });
            return;
        }
        let mut file = File { reader: Reader::new(name, text), text, name: name.into() };
        if let Some(document) = file.reader.document(text) {
            file.reader.known_keys(&document, &["policy"]);
            if let Some(value) = document.get("policy") {
                self.policies(&mut file, value);
            }
        }
        self.faults.append(&mut file.reader.faults);
    }

    fn policies(&mut self, file: &mut File<'_>, value: &Value<'_>) {
        if value.get_ref().is_table() {
            file.reader.fault(&value.span(), "there may be several of them: write [[policy]]");
            return;
        }
        for value in file.reader.array(value).unwrap_or_default() {
            if self.policies.len() >= POLICIES_MAX {
                file.reader.fault(&value.span(), format!("there are at most {POLICIES_MAX} policies"));
                return;
            }
            let Some(table) = file.reader.table(value) else { continue };
            if let Some(policy) = self.policy(file, value, table) {
                self.policies.push(Policy { number: self.policies.len(), ..policy });
            }
        }
    }

    fn policy(&mut self, file: &mut File<'_>, value: &Value<'_>, table: &DeTable<'_>) -> Option<Policy> {
        file.reader.known_keys(table, KEYS);
        let id = self.id(file, value, table);
        let effect = match table.get("action") {
            Some(action) => file.reader.word(action, ACTIONS),
            None => {
                file.reader.fault(&value.span(), "a policy needs `action`: allow, approve or block");
                None
            }
        };
        let is_shadow = table.get("shadow").and_then(|v| file.reader.boolean(v)).unwrap_or(false);
        file.text_of(table, "description", TEXT_BYTES_MAX);
        let reason = file.text_of(table, "reason", TEXT_BYTES_MAX);
        let selectors = file.selectors(table);
        let condition = file.condition(table);
        let place = (Arc::clone(&file.name), file.reader.line(&value.span()));
        let policy = Policy {
            number: 0,
            id: id?,
            effect: effect?,
            is_shadow,
            reason,
            selectors,
            condition,
            reveal: file.reveal(table),
            fields: file.fields(table),
            limits: file.limits(table),
            approvers: file.approvers(table),
            place,
        };
        let has_when = table.contains_key("when");
        file.whole(value, table, &policy, has_when);
        Some(policy)
    }

    fn id(&mut self, file: &mut File<'_>, value: &Value<'_>, table: &DeTable<'_>) -> Option<Arc<str>> {
        let Some(id_value) = table.get("id") else {
            file.reader.fault(&value.span(), "each policy needs `id`");
            return None;
        };
        let id = file.reader.string(id_value)?;
        let is_of_id = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(is_of_id) {
            let reason = format!("an id is 1 to {ID_BYTES_MAX} of `a`-`z`, `0`-`9`, `-`, `_`, `.`");
            file.reader.fault(&id_value.span(), reason);
            return None;
        }
        let line = file.reader.line(&id_value.span());
        let id: Arc<str> = id.into();
        if let Some((other, at)) = self.ids.get(&id) {
            let place = if *other == file.name { format!("line {at}") } else { format!("{other}:{at}") };
            file.reader.fault(&id_value.span(), format!("the policy on {place} has the id `{id}` too"));
        }
        self.ids.entry(Arc::clone(&id)).or_insert((Arc::clone(&file.name), line));
        Some(id)
    }
}

/// A file while it is read.
pub(super) struct File<'i> {
    pub(super) reader: Reader,
    text: &'i str,
    name: Arc<str>,
}

impl File<'_> {
    /// A string of bounded length; none where it is not there.
    fn text_of(&mut self, table: &DeTable<'_>, key: &str, most: usize) -> Option<String> {
        let value = table.get(key)?;
        let text = self.reader.string(value)?;
        if text.len() > most || text.chars().any(char::is_control) {
            self.reader.fault(&value.span(), format!("`{key}` is one line of at most {most} bytes"));
            return None;
        }
        Some(text)
    }

    /// A string, or a list of strings, each with its place; a fault where there is none at all.
    fn texts(&mut self, table: &DeTable<'_>, key: &str) -> Vec<(String, Range<usize>)> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let items = match value.get_ref() {
            DeValue::String(text) => return vec![(text.to_string(), value.span())],
            DeValue::Array(items) => items,
            other => {
                let found = other.type_str();
                self.reader.fault(
                    &value.span(),
                    format!("`{key}`: expected a string or an array of strings, found {found}"),
                );
                return Vec::new();
            }
        };
        if items.is_empty() {
            self.reader.fault(&value.span(), format!("`{key}` is empty: leave it out to take everything"));
        }
        if let Some(extra) = items.get(ITEMS_MAX) {
            self.reader.fault(&extra.span(), format!("`{key}` has at most {ITEMS_MAX} items"));
        }
        let items = items.iter().take(ITEMS_MAX);
        items.filter_map(|item| Some((self.reader.string(item)?, item.span()))).collect()
    }

    pub(super) fn selectors(&mut self, table: &DeTable<'_>) -> Selectors {
        let mut selectors = Selectors::default();
        for dimension in DIMENSIONS {
            let mut patterns = Vec::new();
            for (text, span) in self.texts(table, dimension.key()) {
                let read = match dimension {
                    Dimension::Operation => selectors.operations.add(&text).map(|()| None),
                    _ => pattern(dimension, &text).map(Some),
                };
                match read {
                    Ok(pattern) => patterns.extend(pattern),
                    Err(reason) => self.reader.fault(&span, format!("`{}`: {reason}", dimension.key())),
                }
            }
            if !patterns.is_empty() {
                selectors.lists.push((dimension, patterns));
            }
        }
        selectors
    }

    fn condition(&mut self, table: &DeTable<'_>) -> Option<Condition> {
        let value = table.get("when")?;
        let source = self.reader.string(value)?;
        match Condition::read(&source) {
            Ok(condition) => Some(condition),
            Err(faults) => {
                for fault in faults {
                    let span = self.place_in(value, &source, fault.at);
                    self.reader.fault(&span, format!("`when`: {}", fault.reason));
                }
                None
            }
        }
    }

    /// Where a byte of a string stands in the file, as far as it is written as it is.
    fn place_in(&self, value: &Value<'_>, string: &str, at: usize) -> Range<usize> {
        let span = value.span();
        let lines = string.get(..at).map_or(0, |before| before.matches('\n').count());
        let raw = self.text.get(span.clone()).unwrap_or_default();
        // The line break that opens a long string is not of it.
        let opens = ["'''\n", "\"\"\"\n", "'''\r\n", "\"\"\"\r\n"].iter().any(|open| raw.starts_with(open));
        let wanted = lines + usize::from(opens);
        let skipped: usize = raw.split_inclusive('\n').take(wanted).map(str::len).sum();
        let start = (span.start + skipped).min(span.end);
        start..span.end
    }

    fn reveal(&mut self, table: &DeTable<'_>) -> BTreeSet<Arc<str>> {
        let mut reveal = BTreeSet::new();
        for (entity, span) in self.texts(table, "reveal") {
            if entity.is_empty()
                || !entity.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
            {
                self.reader
                    .fault(&span, "`reveal` names entities of packs, such as `email`: `a`-`z`, `0`-`9`, `_`");
            }
            reveal.insert(entity.into());
        }
        reveal
    }

    fn fields(&mut self, table: &DeTable<'_>) -> Option<FieldList> {
        let value = table.get("fields")?;
        let inner = self.reader.table(value)?;
        self.reader.known_keys(inner, &["allow", "drop"]);
        if inner.is_empty() {
            self.reader.fault(&value.span(), "`fields` needs `allow`, `drop` or both");
        }
        let mut list = FieldList::default();
        for (key, paths) in [("allow", &mut list.allow), ("drop", &mut list.drop)] {
            for (path, span) in self.texts(inner, key) {
                let rule = FieldRule { id: String::new(), path: path.clone(), action: FieldAction::Drop };
                match Fields::new(vec![rule]) {
                    Ok(_) => paths.push(path),
                    Err(error) => {
                        self.reader.fault(&span, format!("`{key}`: not a path: {}", error.reason()))
                    }
                }
            }
        }
        Some(list)
    }

    fn limits(&mut self, table: &DeTable<'_>) -> ResponseLimits {
        let mut limits = ResponseLimits::default();
        let Some(value) = table.get("limits") else { return limits };
        let Some(inner) = self.reader.table(value) else { return limits };
        self.reader.known_keys(inner, &["bytes_max", "rows_max", "spans_max"]);
        for (key, limit) in [
            ("bytes_max", &mut limits.bytes_max),
            ("rows_max", &mut limits.rows_max),
            ("spans_max", &mut limits.spans_max),
        ] {
            let number = inner.get(key).and_then(|v| self.reader.integer(v, 0..i64::MAX));
            *limit = number.and_then(|number| u64::try_from(number).ok());
        }
        limits
    }

    fn approvers(&mut self, table: &DeTable<'_>) -> ApprovalTerms {
        let mut terms = ApprovalTerms::default();
        let Some(value) = table.get("approvers") else { return terms };
        for item in self.reader.array(value).unwrap_or_default() {
            let Some(inner) = self.reader.table(item) else { continue };
            self.reader.known_keys(inner, &["group", "min"]);
            let min = match inner.get("min") {
                Some(v) => self.reader.integer(v, 1..PEOPLE_MAX + 1),
                None => Some(1),
            };
            let group = self.text_of(inner, "group", TEXT_BYTES_MAX).filter(|group| !group.is_empty());
            match (group, min.and_then(|min| u32::try_from(min).ok())) {
                (Some(group), Some(min)) if terms.groups.iter().all(|(other, _)| **other != *group) => {
                    terms.groups.push((group.into(), min));
                }
                (Some(group), _) => {
                    self.reader.fault(&item.span(), format!("`{group}` is there twice, or has a fault"))
                }
                (None, _) => self.reader.fault(&item.span(), "an approver needs `group`"),
            }
        }
        terms
    }

    /// What keys mean together.
    fn whole(&mut self, value: &Value<'_>, table: &DeTable<'_>, policy: &Policy, has_when: bool) {
        let key = |key: &str| table.get(key).map(Spanned::span);
        let span = value.span();
        if policy.effect == Effect::Block {
            for name in ["reveal", "fields", "limits"] {
                if let Some(span) = key(name) {
                    self.reader.fault(
                        &span,
                        format!("`{name}` says what leaves, and a policy that blocks lets nothing"),
                    );
                }
            }
        }
        match (policy.effect, key("approvers")) {
            (Effect::Approve, None) => {
                self.reader
                    .fault(&span, "a policy that asks for approval needs `approvers = [{ group = \"…\" }]`");
            }
            (Effect::Approve, Some(span)) if policy.approvers.groups.is_empty() => {
                self.reader.fault(&span, "`approvers` is empty: nobody could approve");
            }
            (Effect::Allow | Effect::Block, Some(span)) => {
                self.reader.fault(&span, "`approvers` is for `action = \"approve\"`");
            }
            (Effect::Approve, Some(_)) | (Effect::Allow | Effect::Block, None) => {}
        }
        let names_any = DIMENSIONS.iter().any(|dimension| table.contains_key(dimension.key()));
        if !names_any && !has_when && policy.effect == Effect::Allow {
            let reason = "this allows everything to everybody: name who and what, or say `when = \"true\"`";
            self.reader.fault(&span, reason);
        }
        if policy.effect == Effect::Allow && policy.selectors.operations.is_tools_alone() {
            let span = key("operation").unwrap_or(span);
            let reason = "a call of a tool stands in another request: list that too, such as `llm.chat`";
            self.reader.fault(&span, reason);
        }
    }
}

fn pattern(dimension: Dimension, text: &str) -> Result<Pattern, String> {
    let read = match dimension {
        Dimension::Path => Pattern::path(text),
        _ => Pattern::name(text),
    };
    let pattern = read.map_err(str::to_owned)?;
    let kinds = ["human", "service", "agent"];
    match dimension {
        Dimension::Kind if !kinds.iter().any(|kind| pattern.matches(kind)) => {
            Err(format!("a subject is one of {}", kinds.join(", ")))
        }
        Dimension::Method if text != text.to_ascii_uppercase() => {
            Err(format!("methods are case-sensitive: write `{}`", text.to_ascii_uppercase()))
        }
        _ => Ok(pattern),
    }
}
