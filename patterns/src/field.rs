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
    Scan,
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
    let words =
        [("mask", Action::Mask), ("allow", Action::Allow), ("drop", Action::Drop), ("scan", Action::Scan)];
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
        Some(Action::Allow | Action::Drop | Action::Scan) => {
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
        Action::Scan => FieldAction::Scan,
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
            FieldAction::Scan => ("scan", "", String::new()),
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
            "scan" => FieldAction::Scan,
            _ => return Err(DAMAGED),
        };
        let rule = FieldRule { id, path, action };
        Fields::new(vec![rule.clone()]).map_err(|_| DAMAGED)?;
        Ok(PackField { rule, description, line, path_line })
    })
}

#[cfg(test)]
mod tests {
    use sluice_engine::{CompileOptions, Format, Masker, MaskerOptions, Scratch};

    use super::*;
    use crate::PackSet;

    const HEAD: &str = "[pack]\nname = \"p\"\nversion = \"1\"\n[[field]]\n";

    #[test]
    fn each_fault_has_its_line() {
        for (body, line, part) in [
            ("path = \"a\"\nentity = \"a\"\n", 4, "needs `id`"),
            ("id = \"a\"\nentity = \"a\"\n", 4, "needs `path`"),
            ("id = \"a\"\npath = \"a\"\n", 4, "needs `entity`"),
            ("id = \"a\"\npath = \"a..b\"\naction = \"drop\"\n", 6, "not a path: a name is empty"),
            ("id = \"a\"\npath = \"a[1]\"\naction = \"drop\"\n", 6, "not a path: only"),
            ("id = \"a\"\npath = 1\naction = \"drop\"\n", 6, "expected a string"),
            ("id = \"A\"\npath = \"a\"\naction = \"drop\"\n", 5, "expected 1 to 64 of"),
            ("id = \"a\"\npath = \"a\"\nentity = \"a-b\"\n", 7, "expected 1 to 64 of"),
            (
                "id = \"a\"\npath = \"a\"\naction = \"drop\"\nentity = \"a\"\n",
                8,
                "is for fields that are masked",
            ),
            ("id = \"a\"\npath = \"a\"\naction = \"pass\"\n", 7, "one of `mask`, `allow`, `drop`, `scan`"),
            ("id = \"a\"\npath = \"a\"\nentity = \"a\"\nstrategy = \"token\"\n", 8, "is replaced by"),
            ("id = \"a\"\npaht = \"a\"\naction = \"drop\"\n", 6, "did you mean `path`"),
        ] {
            let error = Pack::parse("p.toml", &format!("{HEAD}{body}")).unwrap_err();
            let found = error.faults();
            assert!(found.iter().any(|f| f.line == line && f.reason.contains(part)), "{body:?}: {found:?}");
        }
        let many = |count: usize| {
            let field = |n: usize| format!("[[field]]\nid = \"f{n}\"\npath = \"a{n}\"\naction = \"drop\"\n");
            let fields: String = (0..count).map(field).collect();
            Pack::parse("p.toml", &format!("[pack]\nname = \"p\"\nversion = \"1\"\n{fields}"))
        };
        assert_eq!(many(LIMITS.fields_max).unwrap().fields.len(), LIMITS.fields_max);
        assert!(many(LIMITS.fields_max + 1).is_err());
    }

    const PACK: &str = r#"
        [pack]
        name = "fields"
        version = "1"
        [[field]]
        id = "own-hint"
        path = "password_hint"
        action = "scan"
        [[field]]
        id = "own-password"
        path = "*password*"
        entity = "password"
        strategy = "constant:-"
        [[field]]
        id = "own-debug"
        path = "$.debug"
        action = "drop"
        [[field]]
        id = "own-build"
        path = "build.id"
        action = "allow"
    "#;

    fn told(pack: &Pack, body: &str, options: &CompileOptions) -> (String, Vec<String>) {
        let ruleset = pack.compile(options).unwrap();
        let mut masker = Masker::new(&ruleset, Format::Auto, MaskerOptions::default());
        let (mut scratch, mut out) = (Scratch::new(), Vec::new());
        masker.push(&mut scratch, body.as_bytes(), &mut out).unwrap();
        masker.finish(&mut scratch, &mut out).unwrap();
        let name = |rule| ruleset.name(rule).map(|n| format!("{} {}", n.id, n.entity)).unwrap();
        let told = masker.take_findings().iter().map(|f| name(f.rule)).collect();
        (String::from_utf8(out).unwrap(), told)
    }

    #[test]
    fn a_pack_of_fields_masks_and_so_does_the_built_one() {
        let pack = Pack::parse("f.toml", PACK).unwrap();
        let built = Pack::from_built("f.built", &pack.build().unwrap()).unwrap();
        assert_eq!(format!("{:?}", built.fields), format!("{:?}", pack.fields));
        let body = r#"{"db_password":12,"password_hint":"cat","debug":{"a":1},"user":{"Password":"x"}}"#;
        for pack in [&pack, &built] {
            let (output, names) = told(pack, body, &CompileOptions::default());
            assert_eq!(
                output,
                r#"{"db_password":"-","password_hint":"cat","debug":null,"user":{"Password":"-"}}"#
            );
            assert_eq!(names, ["own-password password", "own-debug dropped", "own-password password"]);
            let fill = CompileOptions { strategy: Some(Strategy::Fill), ..CompileOptions::default() };
            assert_eq!(told(pack, r#"{"password":"xyz"}"#, &fill).0, r#"{"password":"***"}"#);
        }
    }

    #[test]
    fn names_are_of_one_only() {
        let folder = std::env::temp_dir().join(format!("sluice-fields-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let file = |name: &str| folder.join(name).display().to_string();
        std::fs::write(file("a.toml"), PACK).unwrap();
        std::fs::write(file("b.toml"), PACK.replace("own-debug", "email")).unwrap();
        let both = PackSet::load(&[file("a.toml"), file("b.toml"), "builtin:pii".to_owned()]);
        let faults = both.unwrap_err().to_string();
        std::fs::remove_dir_all(&folder).unwrap();
        for id in ["own-password", "own-build", "email"] {
            assert!(faults.contains(&format!("the id `{id}` is taken")), "{faults}");
        }
    }
}
