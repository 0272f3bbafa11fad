//! Exact values of a rule: a list in a file of its own, of which a pack keeps keyed digests alone.
//!
//! A rule with `exact` has an expression too, which the reader gives to it: `sluice-exact:ID`. A text with these words is
//! masked as though they were a value, so that a deployed list can be tried out without knowing a value of it.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sluice_engine::exact::{SALT_BYTES, VALUE_BYTES_MAX};
use sluice_engine::{ExactOptions, ExactSet, Pattern, TokenKey};
use toml::Spanned;
use toml::de::DeValue;

use crate::fault::Fault;
use crate::overrides::from_hex;
use crate::pack::Pack;
use crate::read::Reader;

const KEYS: &[&str] = &["file", "ignore_case", "key", "salt"];
/// The most bytes of a list.
const FILE_BYTES_MAX: u64 = 4 << 30;
/// The most bytes of a line: what stands around a value is passed over.
const LINE_BYTES_MAX: u64 = 4 * VALUE_BYTES_MAX as u64;
/// The environment's name for the key of tokens, which `key = "token"` asks for.
pub const TOKEN_KEY_VARIABLE: &str = "SLUICE_TOKEN_KEY";

/// The key of tokens, where the environment has one that is long enough.
#[must_use]
pub fn token_key_from_env() -> Option<TokenKey> {
    TokenKey::new(std::env::var_os(TOKEN_KEY_VARIABLE)?.into_encoded_bytes())
}

/// What finds the list's deployment out.
pub(crate) fn pattern(id: &str) -> Pattern {
    Pattern::Regex(format!(r"sluice-exact:{}\b", id.replace('.', r"\.")))
}

/// The values that `exact` names, for the rule with this id.
pub(crate) fn read(
    reader: &mut Reader,
    value: &Spanned<DeValue<'_>>,
    id: &str,
    pack: &str,
) -> Option<Arc<ExactSet>> {
    let table = reader.table(value)?;
    reader.known_keys(table, KEYS);
    let Some(name) = table.get("file").and_then(|v| reader.string(v)) else {
        reader.fault(&value.span(), "`exact` needs `file`: a list of values, one a line");
        return None;
    };
    let ignore_case = table.get("ignore_case").and_then(|v| reader.boolean(v)).unwrap_or(false);
    let keyed = table.get("key").and_then(|v| reader.word(v, &[("salt", false), ("token", true)]));
    let key = if keyed == Some(true) { token_key_from_env() } else { None };
    if keyed == Some(true) && key.is_none() {
        let least = TokenKey::BYTES_MIN;
        let reason = format!("`key = \"token\"` needs {TOKEN_KEY_VARIABLE}, of at least {least} bytes");
        reader.fault(&value.span(), reason);
        return None;
    }
    let mut salt = [0; SALT_BYTES];
    match table.get("salt") {
        Some(v) => match reader.string(v).and_then(|text| from_hex(&text)?.try_into().ok()) {
            Some(given) => salt = given,
            None => reader.fault(&v.span(), format!("a salt is {SALT_BYTES} bytes as digits of hex")),
        },
        None if getrandom::fill(&mut salt).is_err() => {
            reader.fault(&value.span(), "the system has no random bytes for a salt");
            return None;
        }
        None => {}
    }
    let path = Path::new(pack).parent().map_or_else(|| PathBuf::from(&name), |folder| folder.join(&name));
    let options = ExactOptions { ignore_case, salt, key: key.as_ref() };
    match build(&path, id, &options) {
        Ok(set) => Some(Arc::new(set)),
        Err(List::Unread(reason)) => {
            reader.fault(&value.span(), format!("{}: {reason}", path.display()));
            None
        }
        Err(List::Faults(faults)) => {
            let file = path.display().to_string();
            let faults = faults.into_iter().map(|(line, reason)| Fault { file: file.clone(), line, reason });
            reader.faults.extend(faults);
            None
        }
    }
}

/// Why a list gives no values.
enum List {
    Unread(String),
    /// By line.
    Faults(Vec<(usize, String)>),
}

fn build(path: &Path, id: &str, options: &ExactOptions<'_>) -> Result<ExactSet, List> {
    let file = File::open(path).map_err(|e| List::Unread(format!("can't read the values: {e}")))?;
    if file.metadata().is_ok_and(|m| m.len() > FILE_BYTES_MAX) {
        return Err(List::Unread(format!("a list of values has at most {FILE_BYTES_MAX} bytes")));
    }
    let input = BufReader::with_capacity(1 << 20, file);
    let mut lines = Lines { input, number: 0, values: 0, gaps: Vec::new(), failed: None };
    let built = ExactSet::build(id, &mut lines, options);
    match (lines.failed.take(), built) {
        (Some(reason), _) => Err(List::Unread(reason)),
        (None, Ok(set)) if set.is_empty() => Err(List::Unread("the list has no values".into())),
        (None, Ok(set)) => Ok(set),
        (None, Err(error)) => {
            let line = |n: usize| lines.line(n);
            Err(List::Faults(error.faults.into_iter().map(|(n, reason)| (line(n), reason)).collect()))
        }
    }
}

/// The lines of a list that are not empty.
struct Lines<R> {
    input: R,
    /// Lines so far, empty ones too, and values.
    number: usize,
    values: usize,
    /// Values behind empty lines: the value's number, from 0, and its line.
    gaps: Vec<(usize, usize)>,
    failed: Option<String>,
}

/// Runs of empty lines that are kept to tell lines by.
const GAPS_MAX: usize = 1 << 16;

impl<R> Lines<R> {
    /// The line, from 1, of a value by its number.
    fn line(&self, value: usize) -> usize {
        let before = self.gaps.partition_point(|(first, _)| *first <= value);
        let gap = before.checked_sub(1).and_then(|n| self.gaps.get(n));
        gap.map_or(value + 1, |(first, line)| line + (value - first))
    }
}

impl<R: BufRead> Iterator for &mut Lines<R> {
    type Item = Vec<u8>;

    fn next(&mut self) -> Option<Vec<u8>> {
        let before = self.number;
        loop {
            let mut line = Vec::new();
            match std::io::Read::take(&mut self.input, LINE_BYTES_MAX + 1).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => self.number += 1,
                Err(e) => {
                    self.failed = Some(format!("can't read the values: {e}"));
                    return None;
                }
            }
            if line.len() as u64 > LINE_BYTES_MAX {
                self.failed = Some(format!("line {} has more than {LINE_BYTES_MAX} bytes", self.number));
                return None;
            }
            if line.trim_ascii().is_empty() {
                continue;
            }
            if self.number > before + 1 && self.gaps.len() < GAPS_MAX {
                self.gaps.push((self.values, self.number));
            }
            self.values += 1;
            return Some(line);
        }
    }
}

impl Pack {
    /// Whether some of its exact values need the key of tokens.
    pub(crate) fn needs_key(&self) -> bool {
        self.exact.iter().any(|set| set.is_keyed())
    }
}

#[cfg(test)]
mod tests {
    use sluice_engine::{CompileOptions, Scratch};

    use super::*;
    use crate::examples::values;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sluice-exact-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn pack(extra: &str) -> String {
        format!(
            "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"own.list\"\nentity = \"own\"\n\
             exact = {{ file = \"values.txt\"{extra} }}\nexamples = [{{ text = \"is C-17 here\", matches = [\"C-17\"] }}]\n"
        )
    }

    #[test]
    fn a_list_becomes_a_rule_and_a_built_pack_has_no_value_of_it() {
        let folder = folder("list");
        std::fs::write(folder.join("values.txt"), "C-17\r\n\n Jane Doe \nC-18").unwrap();
        std::fs::write(folder.join("p.toml"), pack(", ignore_case = true")).unwrap();
        let read = Pack::read(&folder.join("p.toml")).unwrap();
        let bytes = read.build().unwrap();
        assert!(!bytes.windows(4).any(|w| w == b"Jane" || w == b"C-18"));
        let built = Pack::from_built("p.built", &bytes).unwrap();
        for pack in [read, built] {
            let ruleset = pack.compile(&CompileOptions::default()).unwrap();
            let found =
                values(&ruleset, &mut Scratch::new(), "JANE DOE, c-17, C-19 and sluice-exact:own.list");
            assert_eq!(found, ["JANE DOE", "c-17", "sluice-exact:own.list"]);
            let report = crate::examples::run(&pack);
            assert_eq!((report.examples, report.failures.len()), (1, 0), "{:?}", report.failures);
        }
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn each_fault_has_its_line_and_shows_no_value() {
        let folder = folder("faults");
        let read = |values: &str, extra: &str| {
            std::fs::write(folder.join("values.txt"), values).unwrap();
            std::fs::write(folder.join("p.toml"), pack(extra)).unwrap();
            Pack::read(&folder.join("p.toml")).map(drop).map_err(|e| e.to_string())
        };
        let faults = read("good one\n\n\nqq\nfine here\n--\n", "").unwrap_err();
        assert!(faults.contains("values.txt:4: ") && faults.contains("values.txt:6: "), "{faults}");
        assert!(!faults.contains("qq") && faults.lines().count() == 2, "{faults}");
        for (values, extra, part) in [
            ("\n\n", "", "p.toml:7: "),
            ("abc\n", ", key = \"no\"", "`salt`, `token`"),
            ("abc\n", ", salt = \"00\"", "16 bytes"),
            ("abc\n", ", files = 1", "did you mean `file`"),
        ] {
            let faults = read(values, extra).unwrap_err();
            assert!(faults.contains(part), "{extra}: {faults}");
        }
        let line = |len: u64| read(&format!("abc{}\n", " ".repeat(len as usize - 4)), "");
        assert!(
            line(LINE_BYTES_MAX).is_ok() && line(LINE_BYTES_MAX + 1).unwrap_err().contains("line 1 has more")
        );
        std::fs::remove_file(folder.join("values.txt")).unwrap();
        let gone = Pack::read(&folder.join("p.toml")).unwrap_err().to_string();
        assert!(gone.contains("can't read the values"), "{gone}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
