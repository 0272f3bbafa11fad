//! Declared fields of a pack: what is masked, let pass or dropped for where it stands.

use sluice_engine::built::wire::{Damage, Reader as WireReader, Writer};
use sluice_engine::{FieldAction, FieldRule, Fields, Strategy};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::fault::{Fault, PackError};
use crate::pack::{LIMITS, Pack, read_strategy};
use crate::read::Reader;

/// A declared field with its place in the file.
#[derive(Clone, Debug)]
pub struct PackField {
    /// The field itself.
    pub rule: FieldRule,
    /// One line for people.
    pub description: String,
    /// Line of its `[[field]]`; in a built pack, that of the TOML file.
    pub line: usize,
    /// Line of its path.
    path_line: usize,
}

const KEYS: &[&str] = &["id", "path", "action", "entity", "strategy", "description"];
/// Longest name of a field or entity.
const NAME_BYTES_MAX: usize = 64;
/// Longest path.
const PATH_BYTES_MAX: usize = 1024;
/// The fewest bytes of a field in a built pack.
const FIELD_BYTES_MIN: usize = 16;

const DAMAGED: Damage = Damage("a field is none");

/// What `action` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Mask,
    Allow,
    Drop,
}

/// The fields of `[[field]]`.
pub(crate) fn read(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Vec<PackField> {
    let tables = reader.array(value).unwrap_or_default();
    if let Some(extra) = tables.get(LIMITS.fields_max) {
        reader.fault(&extra.span(), format!("a pack has at most {} fields", LIMITS.fields_max));
    }
    let mut fields = Vec::new();
    for value in tables.iter().take(LIMITS.fields_max) {
        if let Some(table) = reader.table(value) {
            fields.extend(read_field(reader, value, table));
        }
    }
    fields
}

fn read_field(reader: &mut Reader, value: &Spanned<DeValue<'_>>, table: &DeTable<'_>) -> Option<PackField> {
    reader.known_keys(table, KEYS);
    for key in ["id", "path"] {
        if !table.contains_key(key) {
            reader.fault(&value.span(), format!("a field needs `{key}`"));
        }
    }
    let words = [("mask", Action::Mask), ("allow", Action::Allow), ("drop", Action::Drop)];
    let action = table.get("action").map_or(Some(Action::Mask), |v| reader.word(v, &words));
    let id = table.get("id").and_then(|v| name(reader, v, b"-_."));
    let entity = table.get("entity").and_then(|v| name(reader, v, b"_"));
    let strategy = table.get("strategy").and_then(|v| strategy(reader, v));
    let description = table.get("description").and_then(|v| reader.string(v)).unwrap_or_default();
    let path = table.get("path").and_then(|v| path(reader, v));
    match action {
        Some(Action::Mask) if !table.contains_key("entity") => {
            reader.fault(&value.span(), "a field that is masked needs `entity`");
        }
        Some(Action::Allow | Action::Drop) => {
            for key in ["entity", "strategy"] {
                if let Some(v) = table.get(key) {
                    reader.fault(&v.span(), format!("`{key}` is for fields that are masked"));
                }
            }
        }
        Some(Action::Mask) | None => {}
    }
    let action = match action? {
        Action::Mask => FieldAction::Mask { entity: entity?, strategy: strategy.unwrap_or(Strategy::Label) },
        Action::Allow => FieldAction::Allow,
        Action::Drop => FieldAction::Drop,
    };
    let path_line = table.get("path").map_or(0, |v| reader.line(&v.span()));
    let rule = FieldRule { id: id?, path: path?, action };
    Some(PackField { rule, description, line: reader.line(&value.span()), path_line })
}

/// A name of lower-case letters, digits and these.
fn name(reader: &mut Reader, value: &Spanned<DeValue<'_>>, marks: &[u8]) -> Option<String> {
    let name = reader.string(value)?;
    let is_of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || marks.contains(&b);
    if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_of_name) {
        let marks: Vec<String> = marks.iter().map(|b| format!("`{}`", char::from(*b))).collect();
        let marks = marks.join(", ");
        reader.fault(&value.span(), format!("expected 1 to {NAME_BYTES_MAX} of `a`-`z`, `0`-`9`, {marks}"));
        return None;
    }
    Some(name)
}

fn path(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<String> {
    let path = reader.string(value)?;
    if path.len() > PATH_BYTES_MAX {
        reader.fault(&value.span(), format!("a path has at most {PATH_BYTES_MAX} bytes"));
        return None;
    }
    let rule = FieldRule { id: String::new(), path: path.clone(), action: FieldAction::Allow };
    if let Err(error) = Fields::new(vec![rule]) {
        reader.fault(&value.span(), format!("not a path: {}", error.reason()));
        return None;
    }
    Some(path)
}

/// A strategy that needs nothing of the value.
fn strategy(reader: &mut Reader, value: &Spanned<DeValue<'_>>) -> Option<Strategy> {
    let strategy = read_strategy(reader, value)?;
    if matches!(strategy, Strategy::Token | Strategy::Keep { .. }) {
        reader.fault(&value.span(), "a field is replaced by `label`, `fill`, `drop` or `constant:TEXT`");
        return None;
    }
    Some(strategy)
}

impl Pack {
    /// A fault of one of its fields, at its id.
    pub(crate) fn field_fault(&self, field: &PackField, reason: String) -> Fault {
        let line = if self.built.is_some() { 0 } else { field.line };
        Fault { file: self.file.clone(), line, reason }
    }
}

/// The fields of packs, in order.
pub(crate) fn read_together(packs: &[&Pack]) -> Result<Fields, PackError> {
    let all: Vec<(&Pack, &PackField)> =
        packs.iter().flat_map(|pack| pack.fields.iter().map(move |field| (*pack, field))).collect();
    Fields::new(all.iter().map(|(_, field)| field.rule.clone()).collect()).map_err(|error| {
        let fault = all.get(error.rule()).map(|(pack, field)| Fault {
            file: pack.file.clone(),
            line: if pack.built.is_some() { 0 } else { field.path_line },
            reason: format!("field `{}`: not a path: {}", field.rule.id, error.reason()),
        });
        PackError::new(fault.into_iter().collect())
    })
}

/// Writes the fields of a built pack.
pub(crate) fn write(fields: &[PackField], out: &mut Writer) {
    out.count(fields.len());
    for PackField { rule, description, line, path_line } in fields {
        [&rule.id, &rule.path, description].into_iter().for_each(|text| out.text(text));
        out.size(*line);
        out.size(*path_line);
        let (action, entity, strategy) = match &rule.action {
            FieldAction::Mask { entity, strategy } => ("mask", entity.as_str(), spelled(strategy)),
            FieldAction::Allow => ("allow", "", String::new()),
            FieldAction::Drop => ("drop", "", String::new()),
        };
        [action, entity, &strategy].into_iter().for_each(|text| out.text(text));
    }
}

/// As packs spell it.
fn spelled(strategy: &Strategy) -> String {
    match strategy {
        Strategy::Fill => "fill".into(),
        Strategy::Drop => "drop".into(),
        Strategy::Constant(text) => format!("constant:{text}"),
        // The others need the value and are not written; of a field they label.
        Strategy::Label | Strategy::Token | Strategy::Keep { .. } => "label".into(),
    }
}

/// Reads what [`write`] wrote.
pub(crate) fn read_built(from: &mut WireReader<'_>) -> Result<Vec<PackField>, Damage> {
    from.list(FIELD_BYTES_MIN, |from| {
        let (id, path, description) = (from.text()?, from.text()?, from.text()?);
        let (line, path_line) = (from.size(usize::MAX)?, from.size(usize::MAX)?);
        let (action, entity, strategy) = (from.text()?, from.text()?, from.text()?);
        let action = match action.as_str() {
            "mask" => FieldAction::Mask { entity, strategy: strategy.parse().map_err(|_| DAMAGED)? },
            "allow" => FieldAction::Allow,
            "drop" => FieldAction::Drop,
            _ => return Err(DAMAGED),
        };
        let rule = FieldRule { id, path, action };
        Fields::new(vec![rule.clone()]).map_err(|_| DAMAGED)?;
        Ok(PackField { rule, description, line, path_line })
    })
}
