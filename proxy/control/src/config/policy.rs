//! `policies`, `[decide]`, and what is spoken on a route.

use std::path::PathBuf;
use std::sync::Arc;

use sluice_data::desk::DeskConfig;
use sluice_policy::{BucketIn, PolicySet, Protocol, SQL_DIALECTS, SqlPlace, Surface};
use toml::de::DeTable;

use super::number::{self, DECIDE};
use super::source::{Source, Value};

/// Files of policies.
const FILES_MAX: usize = 256;
/// Bytes of a file of policies.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Places of a route at which SQL stands.
const SQL_MAX: usize = 16;

/// Names of what is spoken.
pub(super) const PROTOCOLS: &[(&str, Protocol)] = &[
    ("auto", Protocol::Auto),
    ("http", Protocol::Http),
    ("llm", Protocol::Llm),
    ("grpc", Protocol::Grpc),
    ("object_store", Protocol::ObjectStore(BucketIn::Path)),
    ("object_store_by_host", Protocol::ObjectStore(BucketIn::Host)),
    ("secrets", Protocol::Secrets),
];

/// The policies of a gateway, and where they came from.
#[derive(Clone, Debug)]
pub(super) struct Policies {
    pub(super) set: Arc<PolicySet>,
    pub(super) files: Vec<PathBuf>,
}

/// None where there are none, or where they have faults, which are told.
pub(super) fn read(source: &mut Source, document: &DeTable<'_>) -> Option<Policies> {
    let value = document.get("policies")?;
    let items = source.reader.array(value)?;
    if items.is_empty() || items.len() > FILES_MAX {
        source.reader.fault(&value.span(), format!("expected 1 to {FILES_MAX} files of policies"));
        return None;
    }
    let before = source.reader.faults.len();
    let (mut files, mut texts): (Vec<PathBuf>, Vec<(String, String)>) = (Vec::new(), Vec::new());
    for item in items {
        let Some(path) = source.file(item) else { continue };
        if files.contains(&path) {
            source.reader.fault(&item.span(), format!("`{}` is there twice", path.display()));
            continue;
        }
        source.files.note(&path);
        match text(&path) {
            Ok(text) => texts.push((path.display().to_string(), text)),
            Err(reason) => source.reader.fault(&item.span(), reason),
        }
        files.push(path);
    }
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    match PolicySet::read(&texts) {
        Ok(set) if source.reader.faults.len() == before => Some(Policies { set: Arc::new(set), files }),
        Ok(_) => None,
        Err(error) => {
            source.reader.faults.extend(error.faults().iter().cloned());
            None
        }
    }
}

fn text(path: &std::path::Path) -> Result<String, String> {
    let size = std::fs::metadata(path).map(|m| m.len());
    if size.is_ok_and(|size| size > FILE_BYTES_MAX) {
        return Err(format!("`{}` has more than {FILE_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read_to_string(path).map_err(|e| format!("can't read `{}`: {e}", path.display()))
}

/// `[decide]`: how shards ask and how long they wait.
pub(super) fn desk(source: &mut Source, document: &DeTable<'_>) -> DeskConfig {
    let mut config = DeskConfig::default();
    if let Some((_, table)) = source.inner(document, "decide", &number::keys(DECIDE, &[])) {
        number::read(source, table, DECIDE, &mut config);
    }
    config
}

/// What is spoken on a route.
pub(super) fn surface(source: &mut Source, table: &DeTable<'_>) -> Surface {
    let mut surface = Surface {
        protocol: source.word(table, "speaks", PROTOCOLS).unwrap_or_default(),
        dialect: source.word(table, "sql_dialect", SQL_DIALECTS).unwrap_or_default(),
        sql: Vec::new(),
    };
    let items = source.items(table, "sql");
    if let Some(extra) = items.get(SQL_MAX) {
        source.reader.fault(&extra.span(), format!("`sql` names at most {SQL_MAX} places"));
    }
    for item in items.iter().take(SQL_MAX) {
        surface.sql.extend(place(source, item));
    }
    if surface.sql.is_empty()
        && let Some(value) = table.get("sql_dialect")
    {
        source.reader.fault(&value.span(), "`sql_dialect` is for routes that say where their `sql` is");
    }
    surface
}

fn place(source: &mut Source, value: &Value<'_>) -> Option<SqlPlace> {
    let text = source.reader.string(value)?;
    let place = match text.split_once(':') {
        None if text == "body" => Some(SqlPlace::Body),
        Some(("json", pointer)) if pointer.is_empty() || pointer.starts_with('/') => {
            Some(SqlPlace::Json(pointer.to_owned()))
        }
        Some(("form", name)) if !name.is_empty() => Some(SqlPlace::Form(name.to_owned())),
        Some(("query", name)) if !name.is_empty() => Some(SqlPlace::Query(name.to_owned())),
        _ => None,
    };
    if place.is_none() {
        let reason = "expected `body`, `json:/POINTER` (RFC 6901), `form:NAME` or `query:NAME`";
        source.reader.fault(&value.span(), reason);
    }
    place
}

/// As it is written in a configuration.
pub(super) fn spelled(place: &SqlPlace) -> String {
    match place {
        SqlPlace::Body => "body".to_owned(),
        SqlPlace::Json(pointer) => format!("json:{pointer}"),
        SqlPlace::Form(name) => format!("form:{name}"),
        SqlPlace::Query(name) => format!("query:{name}"),
    }
}
