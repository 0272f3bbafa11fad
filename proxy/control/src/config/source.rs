//! The file while it is read: its faults and warnings, where its paths begin, and what it names that is loaded once.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_data::{ClientTls, ClientTlsFiles, TlsError};
use sluice_engine::{CompileOptions, Ruleset};
use sluice_patterns::read::{Reader, nearest};
use sluice_patterns::{Fault, PackSet, SetError, builtin};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::files::Files;

/// A value with its place.
pub(super) type Value<'i> = Spanned<DeValue<'i>>;

/// The longest name of a listener, upstream or route: it stands in logs and labels of metrics.
const NAME_BYTES_MAX: usize = 64;

/// The file while it is read.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) reader: Reader,
    /// What is allowed and hardly meant.
    pub(super) warnings: Vec<Fault>,
    /// What was read.
    pub(super) files: Files,
    file: String,
    folder: PathBuf,
    /// Compiled, by the packs they are of; none: they have faults, which are told.
    rulesets: BTreeMap<Vec<String>, Option<Arc<Ruleset>>>,
    /// Loaded, by the files they are of.
    clients: Vec<(ClientTlsFiles, ClientTls)>,
}

impl Source {
    pub(super) fn new(path: &Path, text: &str) -> Source {
        let file = path.display().to_string();
        let mut files = Files::default();
        files.note(path);
        Source {
            reader: Reader::new(&file, text),
            warnings: Vec::new(),
            files,
            file,
            folder: path.parent().unwrap_or(Path::new("")).to_owned(),
            rulesets: BTreeMap::new(),
            clients: Vec::new(),
        }
    }

    pub(super) fn warn(&mut self, line: usize, reason: impl Into<String>) {
        let reason = format!("warning: {}", reason.into());
        self.warnings.push(Fault { file: self.file.clone(), line, reason });
    }

    /// Notes a fault on a line.
    pub(super) fn fault_on(&mut self, line: usize, reason: String) {
        self.reader.faults.push(Fault { file: self.file.clone(), line, reason });
    }

    /// A path as the file names it: relative to the folder that the file is in.
    pub(super) fn joined(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// The tables of `[[key]]`, at most `most` of them.
    pub(super) fn tables<'a, 'i>(
        &mut self,
        document: &'a DeTable<'i>,
        key: &str,
        most: usize,
    ) -> Vec<(&'a Value<'i>, &'a DeTable<'i>)> {
        let Some(value) = document.get(key) else { return Vec::new() };
        if value.get_ref().is_table() {
            self.reader.fault(&value.span(), format!("there may be several of them: write [[{key}]]"));
            return Vec::new();
        }
        let all = self.reader.array(value).unwrap_or_default();
        if let Some(extra) = all.get(most) {
            self.reader.fault(&extra.span(), format!("there are at most {most} [[{key}]]"));
        }
        let tables = all.iter().take(most);
        tables.filter_map(|value| Some((value, self.reader.table(value)?))).collect()
    }

    /// A table inside another one, with its keys.
    pub(super) fn inner<'a, 'i>(
        &mut self,
        table: &'a DeTable<'i>,
        key: &str,
        known: &[&str],
    ) -> Option<(&'a Value<'i>, &'a DeTable<'i>)> {
        let value = table.get(key)?;
        let inner = self.reader.table(value)?;
        self.reader.known_keys(inner, known);
        Some((value, inner))
    }

    /// What was read of `key`; the fault, where it is none, names the key.
    fn of_key<T>(&mut self, key: &str, read: Option<T>) -> Option<T> {
        if read.is_none()
            && let Some(fault) = self.reader.faults.last_mut()
        {
            fault.reason = format!("`{key}`: {}", fault.reason);
        }
        read
    }

    /// A switch; off where it is not there.
    pub(super) fn switch(&mut self, table: &DeTable<'_>, key: &str) -> bool {
        let Some(value) = table.get(key) else { return false };
        let read = self.reader.boolean(value);
        self.of_key(key, read).unwrap_or(false)
    }

    /// One of a list of words; none where it is not there.
    pub(super) fn word<T: Copy>(&mut self, table: &DeTable<'_>, key: &str, words: &[(&str, T)]) -> Option<T> {
        let read = self.reader.word(table.get(key)?, words);
        self.of_key(key, read)
    }

    /// An integer from `least` to `most`; none where it is not there.
    pub(super) fn integer(&mut self, table: &DeTable<'_>, key: &str, least: u64, most: u64) -> Option<u64> {
        let read = self.reader.integer(table.get(key)?, least as i64..most as i64 + 1);
        self.of_key(key, read).and_then(|n| u64::try_from(n).ok())
    }

    /// A string; none where it is not there.
    pub(super) fn text(&mut self, table: &DeTable<'_>, key: &str) -> Option<String> {
        let read = self.reader.string(table.get(key)?);
        self.of_key(key, read)
    }

    /// The items of a list; none where it is not there.
    pub(super) fn items<'a, 'i>(&mut self, table: &'a DeTable<'i>, key: &str) -> &'a [Value<'i>] {
        match table.get(key) {
            Some(value) => self.reader.array(value).unwrap_or_default(),
            None => &[],
        }
    }

    /// The name that every `what` has, held against those before it.
    pub(super) fn name(
        &mut self,
        value: &Value<'_>,
        table: &DeTable<'_>,
        what: &str,
        taken: &mut Vec<(String, usize)>,
    ) -> Option<String> {
        let Some(name_value) = table.get("name") else {
            self.reader.fault(&value.span(), format!("each {what} needs `name`"));
            return None;
        };
        let name = self.reader.string(name_value)?;
        let is_of_name = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b);
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_of_name) {
            let reason = format!("a name is 1 to {NAME_BYTES_MAX} of `a`-`z`, `0`-`9`, `-`, `_`, `.`");
            self.reader.fault(&name_value.span(), reason);
            return None;
        }
        if let Some((_, line)) = taken.iter().find(|(other, _)| *other == name) {
            let reason = format!("the {what} on line {line} has the name `{name}` too: each needs its own");
            self.reader.fault(&name_value.span(), reason);
        }
        let line = self.reader.line(&name_value.span());
        taken.push((name.clone(), line));
        Some(name)
    }

    /// A path.
    pub(super) fn path(&mut self, value: &Value<'_>) -> Option<PathBuf> {
        let text = self.reader.string(value)?;
        if text.is_empty() || text.contains('\0') {
            self.reader.fault(&value.span(), "expected the path of a file");
            return None;
        }
        Some(self.joined(&text))
    }

    /// As [`Source::path`], of a file that is there and can be read.
    pub(super) fn file(&mut self, value: &Value<'_>) -> Option<PathBuf> {
        let path = self.path(value)?;
        match std::fs::File::open(&path).and_then(|file| file.metadata()) {
            Ok(metadata) if metadata.is_dir() => {
                let reason = format!("`{}` is a folder: name a file", path.display());
                self.reader.fault(&value.span(), reason);
                None
            }
            Ok(_) => Some(path),
            Err(e) => {
                let reason = format!("can't read `{}`: {e}", path.display());
                self.reader.fault(&value.span(), reason);
                None
            }
        }
    }

    /// Faults of TLS files, each on the line that names its file, else on `whole`.
    pub(super) fn tls_faults(
        &mut self,
        errors: &[TlsError],
        places: &[(PathBuf, Range<usize>)],
        whole: &Range<usize>,
    ) {
        for error in errors {
            let reason = error.to_string();
            let place = places.iter().find(|(path, _)| Some(path.as_path()) == error.file());
            self.reader.fault(place.map_or(whole, |(_, span)| span), reason);
        }
    }

    /// TLS to an upstream; upstreams with the same files share it.
    pub(super) fn client_tls(&mut self, files: &ClientTlsFiles) -> Result<ClientTls, Vec<TlsError>> {
        if let Some((_, tls)) = self.clients.iter().find(|(other, _)| other == files) {
            return Ok(tls.clone());
        }
        let tls = ClientTls::load(files)?;
        self.clients.push((files.clone(), tls.clone()));
        Ok(tls)
    }

    /// The names of a list of packs as they are loaded; none where one of them can't be.
    pub(super) fn packs(&mut self, value: Option<&Value<'_>>) -> Option<Vec<String>> {
        let Some(value) = value else {
            return Some(builtin::ALL.iter().map(|b| b.name.to_owned()).collect());
        };
        let items = self.reader.array(value)?;
        if items.is_empty() {
            let reason = "no packs, so nothing would be found: leave the key out for the built-in ones";
            self.reader.fault(&value.span(), reason);
            return None;
        }
        let mut packs: Vec<Option<String>> = Vec::new();
        for item in items {
            let pack = self.pack(item);
            let is_twice = pack.is_some() && packs.contains(&pack);
            if is_twice {
                let name = item.get_ref().as_str().unwrap_or_default();
                self.reader.fault(&item.span(), format!("`{name}` is there twice"));
            }
            packs.push(pack.filter(|_| !is_twice));
        }
        packs.into_iter().collect()
    }

    fn pack(&mut self, value: &Value<'_>) -> Option<String> {
        let name = self.reader.string(value)?;
        if !name.starts_with("builtin:") {
            let path = self.file(value)?;
            self.files.note(&path);
            return Some(path.display().to_string());
        }
        let known: Vec<&str> = builtin::ALL.iter().map(|b| b.name).collect();
        if !known.contains(&name.as_str()) {
            self.unknown(value, "no built-in pack", &name, &known);
            return None;
        }
        Some(name)
    }

    /// The rules of these packs; lists that are the same share them.
    pub(super) fn ruleset(&mut self, packs: &[String]) -> Option<Arc<Ruleset>> {
        if let Some(known) = self.rulesets.get(packs) {
            return known.clone();
        }
        let set = PackSet::load(packs).and_then(|set| {
            let compiled = set.compile(&CompileOptions::default());
            compiled.map_err(SetError::Packs)
        });
        let ruleset = match set {
            Ok(ruleset) => Some(ruleset),
            Err(SetError::Packs(error)) => {
                self.reader.faults.extend(error.faults().iter().cloned());
                None
            }
            Err(error @ SetError::Unknown(_)) => {
                self.reader.fault(&(0..0), error.to_string());
                None
            }
        };
        self.rulesets.insert(packs.to_vec(), ruleset.clone());
        ruleset
    }

    /// A name that nothing has.
    pub(super) fn unknown(&mut self, value: &Value<'_>, what: &str, name: &str, known: &[&str]) {
        let hint = match nearest(name, known) {
            Some(near) => format!("; did you mean `{near}`?"),
            None if known.is_empty() => String::new(),
            None => format!("; there are: {}", known.join(", ")),
        };
        self.reader.fault(&value.span(), format!("{what} has the name `{name}`{hint}"));
    }
}
