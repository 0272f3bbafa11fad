//! A pack that changes another without copying it: `extends`, `disable`, `[[set]]` and `[[allow]]`.
//!
//! What is extended is read first, then some of it is left out, then changed, then the pack's own rules follow. So a rule
//! of the extended pack that is new in its next version is there without a change of this file.

use std::path::Path;
use std::sync::Arc;

use sluice_engine::{AllowList, Field, FieldAction, FieldRule, Pattern, Validator};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::SetError;
use crate::field;
use crate::pack::{
    LIMITS, Pack, PackRule, read_action, read_confidence, read_strategy, read_suppress, read_validators,
};
use crate::read::{Reader, nearest};
use crate::set::load_at;

/// How deep packs may extend packs.
pub(crate) const EXTENDS_DEPTH_MAX: usize = 8;
/// The most packs that one extends.
const EXTENDS_MAX: usize = 32;
/// The most tables `[[set]]` or `[[allow]]`.
const TABLES_MAX: usize = 1_000;

const SET_KEYS: &[&str] = &[
    "rule",
    "entity",
    "confidence",
    "priority",
    "action",
    "labels",
    "strategy",
    "max_len",
    "validators",
    "suppress",
];
const ALLOW_KEYS: &[&str] = &["description", "rules", "salt", "sha256", "paths"];

/// Takes over the rules and fields of the packs that `[pack]` names under `extends`.
pub(crate) fn extend(reader: &mut Reader, value: &Spanned<DeValue<'_>>, pack: &mut Pack, depth: usize) {
    let names = reader.strings(value);
    if names.len() > EXTENDS_MAX || depth >= EXTENDS_DEPTH_MAX {
        let reason = format!("a pack extends at most {EXTENDS_MAX} others, {EXTENDS_DEPTH_MAX} deep");
        return reader.fault(&value.span(), reason);
    }
    for (name, _) in names {
        let name = match Path::new(&pack.file).parent() {
            Some(folder) if !name.starts_with("builtin:") => folder.join(&name).display().to_string(),
            _ => name,
        };
        match load_at(&name, depth + 1) {
            Ok(other) => {
                let file: Arc<str> = other.file.as_str().into();
                pack.rules.extend(other.rules.into_iter().map(|mut rule| {
                    rule.places.file.get_or_insert_with(|| Arc::clone(&file));
                    rule
                }));
                pack.fields.extend(other.fields);
                pack.exact.extend(other.exact);
            }
            Err(SetError::Packs(error)) => reader.faults.extend(error.faults().iter().cloned()),
            Err(unknown) => reader.fault(&value.span(), unknown.to_string()),
        }
    }
}

/// Leaves out what `[pack]` names under `disable`: ids of rules and fields, in which `*` is any text.
pub(crate) fn disable(reader: &mut Reader, value: &Spanned<DeValue<'_>>, pack: &mut Pack) {
    for item in reader.array(value).unwrap_or_default() {
        let Some(name) = reader.string(item) else { continue };
        let before = pack.rules.len() + pack.fields.len();
        let ids = ids(pack);
        pack.rules.retain(|rule| !is_named(&name, &rule.rule.id));
        pack.fields.retain(|field| !is_named(&name, &field.rule.id));
        if pack.rules.len() + pack.fields.len() == before {
            reader.fault(&item.span(), unknown(&name, &ids));
        }
    }
}

fn ids(pack: &Pack) -> Vec<String> {
    let rules = pack.rules.iter().map(|rule| rule.rule.id.clone());
    rules.chain(pack.fields.iter().map(|field| field.rule.id.clone())).collect()
}

fn unknown(name: &str, ids: &[String]) -> String {
    let known: Vec<&str> = ids.iter().map(String::as_str).collect();
    let hint = nearest(name, &known).map_or(String::new(), |near| format!("; did you mean `{near}`?"));
    format!("no rule `{name}` in what this pack extends{hint}")
}

/// Whether a name with `*` is this one.
fn is_named(name: &str, id: &str) -> bool {
    let mut parts = name.split('*');
    let Some(mut rest) = parts.next().and_then(|first| id.strip_prefix(first)) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    rest.len() >= last.len() && rest.ends_with(last)
}

/// The tables of a list, as many as there may be.
fn tables<'a, 'i>(
    reader: &mut Reader,
    value: &'a Spanned<DeValue<'i>>,
) -> Vec<(&'a Spanned<DeValue<'i>>, &'a DeTable<'i>)> {
    let items = reader.array(value).unwrap_or_default();
    if let Some(extra) = items.get(TABLES_MAX) {
        reader.fault(&extra.span(), format!("at most {TABLES_MAX} of them"));
    }
    let tables = items.iter().take(TABLES_MAX).filter_map(|item| Some((item, reader.table(item)?)));
    tables.collect()
}

/// Changes rules as `[[set]]` says.
pub(crate) fn set(reader: &mut Reader, value: &Spanned<DeValue<'_>>, pack: &mut Pack) {
    let file: Arc<str> = pack.file.as_str().into();
    for (item, table) in tables(reader, value) {
        reader.known_keys(table, SET_KEYS);
        let Some(name) = table.get("rule").and_then(|v| reader.string(v)) else {
            reader.fault(&item.span(), "`[[set]]` needs `rule`: an id, in which `*` is any text");
            continue;
        };
        let mut is_found = false;
        let faults = reader.faults.len();
        for rule in pack.rules.iter_mut().filter(|rule| is_named(&name, &rule.rule.id)) {
            is_found = true;
            change(reader, table, rule, &file);
            if reader.faults.len() > faults {
                break;
            }
        }
        if !is_found {
            let ids = ids(pack);
            reader.fault(&item.span(), unknown(&name, &ids));
        }
    }
}

/// Changes one rule. What is not written stays; `suppress` adds to what there is.
fn change(reader: &mut Reader, table: &DeTable<'_>, pack_rule: &mut PackRule, file: &Arc<str>) {
    let PackRule { rule, places, .. } = pack_rule;
    let mut note = |field: Field, v: &Spanned<DeValue<'_>>, reader: &Reader| {
        places.set.push((field, Arc::clone(file), reader.line(&v.span())));
    };
    if let Some(v) = table.get("entity") {
        note(Field::Entity, v, reader);
        rule.entity = reader.string(v).unwrap_or_default();
    }
    if let Some(confidence) = table.get("confidence").and_then(|v| read_confidence(reader, v)) {
        rule.confidence = confidence;
    }
    if let Some(priority) = table.get("priority").and_then(|v| reader.integer(v, -1000..1001)) {
        rule.priority = Some(priority as i32);
    }
    if let Some(action) = table.get("action").and_then(|v| read_action(reader, v)) {
        rule.action = action;
    }
    if let Some(v) = table.get("labels") {
        rule.labels = reader.strings(v).into_iter().map(|(text, _)| text).collect();
    }
    if let Some(v) = table.get("strategy") {
        note(Field::Strategy, v, reader);
        rule.strategy = read_strategy(reader, v).unwrap_or_else(|| rule.strategy.clone());
    }
    if let Some(v) = table.get("max_len") {
        note(Field::MaxLen, v, reader);
        rule.max_len = reader.integer(v, 0..1 << 32).map(|n| n as usize);
    }
    let mut own = Default::default();
    if let Some(v) = table.get("validators") {
        rule.validators = read_validators(reader, table, &mut own);
        (0..rule.validators.len()).for_each(|n| note(Field::Validator(n), v, reader));
    }
    if let Some(v) = table.get("suppress") {
        let more = read_suppress(reader, table, &mut own);
        let first = rule.suppress.regex.len();
        (first..first + more.regex.len()).for_each(|n| note(Field::SuppressRegex(n), v, reader));
        rule.suppress.exact.extend(more.exact);
        rule.suppress.regex.extend(more.regex);
        rule.suppress.starts_with.extend(more.starts_with);
        rule.suppress.ends_with.extend(more.ends_with);
    }
}

/// Lets values pass as `[[allow]]` says: by their hashes, or by where they stand.
pub(crate) fn allow(reader: &mut Reader, value: &Spanned<DeValue<'_>>, pack: &mut Pack) {
    for (number, (item, table)) in tables(reader, value).into_iter().enumerate() {
        reader.known_keys(table, ALLOW_KEYS);
        let description = table.get("description").and_then(|v| reader.string(v)).unwrap_or_default();
        if !table.contains_key("sha256") && !table.contains_key("paths") {
            reader.fault(&item.span(), "`[[allow]]` needs `sha256` with `salt`, or `paths`");
        }
        let paths = table.get("paths").map(|v| (v, reader.strings(v))).into_iter();
        for (n, (v, path)) in paths.flat_map(|(v, all)| all.into_iter().map(move |p| (v, p.0))).enumerate() {
            let id = format!("allow-{}-{}", number + 1, n + 1);
            let rule = FieldRule { id, path, action: FieldAction::Allow };
            match field::checked(rule, &description, reader.line(&v.span())) {
                Ok(field) => pack.fields.push(field),
                Err(reason) => reader.fault(&v.span(), reason),
            }
        }
        let Some(list) = table.get("sha256").and_then(|v| allow_list(reader, item, table, v)) else {
            continue;
        };
        let names: Vec<String> = match table.get("rules") {
            Some(v) => reader.strings(v).into_iter().map(|(name, _)| name).collect(),
            None => vec!["*".into()],
        };
        for name in names {
            let ids = ids(pack);
            let is_meant = |rule: &&mut PackRule| {
                is_named(&name, &rule.rule.id) && matches!(rule.rule.pattern, Pattern::Regex(_))
            };
            let mut meant = pack.rules.iter_mut().filter(is_meant).peekable();
            if meant.peek().is_none() && name != "*" {
                reader.fault(&item.span(), unknown(&name, &ids));
            }
            meant.for_each(|rule| rule.rule.validators.push(Validator::Unlisted(list.clone())));
        }
    }
}

fn allow_list(
    reader: &mut Reader,
    item: &Spanned<DeValue<'_>>,
    table: &DeTable<'_>,
    value: &Spanned<DeValue<'_>>,
) -> Option<AllowList> {
    let mut digests = Vec::new();
    for (text, _) in reader.strings(value) {
        match from_hex(&text).and_then(|bytes| bytes.try_into().ok()) {
            Some(digest) => digests.push(digest),
            None => {
                reader.fault(&value.span(), "a digest is 64 digits of hex, as `sluice pack hash` prints it")
            }
        }
    }
    if digests.len() > LIMITS.list_max {
        reader.fault(&value.span(), format!("at most {} entries", LIMITS.list_max));
    }
    let salt = table.get("salt").and_then(|v| reader.string(v)).and_then(|text| from_hex(&text));
    let list = salt.and_then(|salt| AllowList::new(&salt, digests));
    if list.is_none() {
        let least = AllowList::SALT_BYTES_MIN;
        reader.fault(&item.span(), format!("`sha256` needs `salt`: at least {least} bytes as digits of hex"));
    }
    list
}

/// Bytes from their digits.
#[must_use]
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).map(|digit| digit as u8);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let bytes = pairs.iter().map(|[high, low]| Some(digit(high)? << 4 | digit(low)?));
    rest.is_empty().then(|| bytes.collect()).flatten()
}

/// Digits of bytes.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use sluice_engine::{Action, CompileOptions, Scratch, Strategy};

    use super::*;
    use crate::examples::values;

    fn faults(text: &str) -> String {
        Pack::parse("p.toml", text).unwrap_err().to_string()
    }

    #[test]
    fn names_with_a_star() {
        for (name, id, is) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*", "", true),
            ("a*b", "ab", true),
            ("ab*ba", "aba", false),
            ("*-key-*", "aws-key-id", true),
            ("*-key", "aws-key-id", false),
        ] {
            assert_eq!(is_named(name, id), is, "{name} {id}");
        }
        assert_eq!(from_hex("00fF"), Some(vec![0, 255]));
        assert_eq!((from_hex("0"), from_hex("0g")), (None, None));
        assert_eq!(to_hex(&[0, 255]), "00ff");
    }

    #[test]
    fn a_pack_is_changed_without_a_copy() {
        let text = r#"
[pack]
name = "mine"
version = "1"
extends = ["builtin:pii"]
disable = ["phone*"]
[[set]]
rule = "email"
strategy = "fill"
confidence = "low"
suppress = { ends_with = ["@example.com"] }
[[set]]
rule = "us-*"
action = "shadow"
[[rule]]
id = "own"
entity = "own"
regex = 'own_[0-9]{4}'
"#;
        let pack = Pack::parse("mine.toml", text).unwrap();
        let find = |id: &str| pack.rules.iter().find(|r| r.rule.id == id);
        let email = &find("email").unwrap().rule;
        assert_eq!(email.strategy, Strategy::Fill);
        assert!(email.suppress.ends_with.contains(&"@example.com".to_owned()));
        assert!(find("own").is_some() && !pack.rules.iter().any(|r| r.rule.id.starts_with("phone")));
        let shadows: Vec<_> = pack.rules.iter().filter(|r| r.rule.id.starts_with("us-")).collect();
        assert!(!shadows.is_empty() && shadows.iter().all(|r| r.rule.action == Action::Shadow));
        let built = Pack::from_built("b", &pack.build().unwrap()).unwrap();
        assert_eq!(format!("{:?}", built.rules[0].rule), format!("{:?}", pack.rules[0].rule));
    }

    #[test]
    fn each_fault_has_its_line() {
        let head = "[pack]\nname = \"p\"\nversion = \"1\"\nextends = [\"builtin:pii\"]\n";
        for (body, line, part) in [
            ("disable = [\"emial\"]\n", 5, "did you mean `email`"),
            ("[[set]]\nstrategy = \"fill\"\n", 5, "needs `rule`"),
            ("[[set]]\nrule = \"nothing-*\"\n", 5, "no rule `nothing-*`"),
            ("[[set]]\nrule = \"email\"\nregex = \"x\"\n", 7, "unknown key `regex`"),
            ("[[set]]\nrule = \"email\"\nstrategy = \"hide\"\n", 7, "expected label"),
            ("[[set]]\nrule = \"email\"\nvalidators = [{ kind = \"entropy\", min = 9 }]\n", 7, "0 to 8"),
            ("[[allow]]\nsha256 = [\"12\"]\nsalt = \"0011223344556677\"\n", 6, "64 digits"),
            ("[[allow]]\nsha256 = []\nsalt = \"00\"\n", 5, "at least 8 bytes"),
            ("[[allow]]\nrules = [\"*\"]\n", 5, "needs `sha256`"),
            ("[[allow]]\npaths = [\"a..b\"]\n", 6, "not a path"),
        ] {
            let error = Pack::parse("p.toml", &format!("{head}{body}")).unwrap_err();
            let found = error.faults();
            let is = |f: &crate::Fault| f.file == "p.toml" && f.line == line && f.reason.contains(part);
            assert!(found.iter().any(is), "{body:?}: {found:?}");
        }
        assert!(
            faults("[pack]\nname = \"p\"\nversion = \"1\"\nextends = [\"builtin:no\"]\n")
                .contains("built in are")
        );
        assert!(
            faults("[pack]\nname = \"p\"\nversion = \"1\"\nextends = [\"no.toml\"]\n").contains("can't read")
        );
    }

    #[test]
    fn packs_extend_packs_to_a_depth() {
        let folder = std::env::temp_dir().join(format!("sluice-extends-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let write = |n: usize, rest: String| {
            let text = format!("[pack]\nname = \"p\"\nversion = \"1\"\n{rest}");
            std::fs::write(folder.join(format!("{n}.toml")), text).unwrap();
        };
        write(0, "[[rule]]\nid = \"a\"\nentity = \"a\"\nregex = 'abc'\n".into());
        (1..=EXTENDS_DEPTH_MAX + 1).for_each(|n| write(n, format!("extends = [\"{}.toml\"]\n", n - 1)));
        write(99, "extends = [\"99.toml\"]\n".into());
        let read = |n: usize| Pack::read(&folder.join(format!("{n}.toml")));
        let deepest = read(EXTENDS_DEPTH_MAX).unwrap();
        assert_eq!(deepest.rules[0].rule.id, "a");
        assert!(read(EXTENDS_DEPTH_MAX + 1).unwrap_err().to_string().contains("deep"));
        assert!(read(99).unwrap_err().to_string().contains("deep"));
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_value_is_let_pass_by_its_hash() {
        let salt = b"salt-salt";
        let digest = to_hex(&AllowList::digest(salt, b"own_1234"));
        let text = format!(
            "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"own\"\nentity = \"own\"\nregex = 'own_[0-9]{{4}}'\n\
             [[allow]]\nsalt = \"{}\"\nsha256 = [\"{digest}\"]\npaths = [\"$.public\"]\n",
            to_hex(salt)
        );
        let pack = Pack::parse("p.toml", &text).unwrap();
        let built = Pack::from_built("b", &pack.build().unwrap()).unwrap();
        for pack in [pack, built] {
            let ruleset = pack.compile(&CompileOptions::default()).unwrap();
            let found = values(&ruleset, &mut Scratch::new(), "own_1234 own_1235");
            assert_eq!(found, ["own_1235"]);
            assert_eq!(pack.fields[0].rule.path, "$.public");
        }
    }
}
