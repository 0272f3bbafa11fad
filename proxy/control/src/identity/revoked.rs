//! Subjects and tokens that are taken no more, whatever proves them.
//!
//! The set is looked at in every proof, cached ones too, so that what is added counts for the next request. What was
//! proved before is known elsewhere as well (verdicts that shards hold): [`Revocations::version`] moves with each change,
//! and who holds something made under another version asks again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::json;

/// Revocations of one gateway.
pub const REVOCATIONS_MAX: usize = 100_000;
/// Bytes of a file of revocations.
const FILE_BYTES_MAX: u64 = 32 << 20;

/// How often a file is looked at: what it revokes counts within a second.
const LOOK_EVERY: Duration = Duration::from_millis(400);

/// What is revoked.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Revoked {
    /// All that proves this subject.
    Subject(String),
    /// The token with this `jti`, or the key with this id.
    Token(String),
}

/// A revocation was not taken: nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RevocationError {
    /// There are [`REVOCATIONS_MAX`] already.
    Full,
    /// The file can't be read.
    File(std::io::ErrorKind),
    /// A line of the file is not a revocation.
    Line(usize),
}

impl fmt::Display for RevocationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RevocationError::Full => write!(f, "there are {REVOCATIONS_MAX} revocations already"),
            RevocationError::File(kind) => write!(f, "can't read the revocations: {kind}"),
            RevocationError::Line(line) => write!(
                f,
                "line {line}: a revocation is `{{\"issuer\": NAME, \"subject\": ID}}` or \
                 `{{\"issuer\": NAME, \"jti\": ID}}`"
            ),
        }
    }
}

impl std::error::Error for RevocationError {}

/// By the configured name of the issuer.
type Sets = BTreeMap<String, BTreeSet<Revoked>>;

/// The revocations in force: those that were made here, and those of a file.
#[derive(Debug, Default)]
pub struct Revocations {
    sets: RwLock<[Sets; 2]>,
    version: AtomicU64,
}

/// What tells that a file has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FileState(Option<(SystemTime, i64, u64, u64)>);

impl FileState {
    fn of(path: &Path) -> FileState {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok();
        let state = |m: std::fs::Metadata| Some((m.modified().ok()?, m.ctime_nsec(), m.ino(), m.len()));
        FileState(metadata.and_then(state))
    }
}

const MADE: usize = 0;
const OF_FILE: usize = 1;

impl Revocations {
    /// Revokes a subject or token of an issuer, by its configured name. True where that is new.
    ///
    /// # Errors
    /// There are too many.
    pub fn revoke(&self, issuer: &str, what: Revoked) -> Result<bool, RevocationError> {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if sets.iter().flat_map(|sets| sets.values()).map(BTreeSet::len).sum::<usize>() >= REVOCATIONS_MAX {
            return Err(RevocationError::Full);
        }
        let [made, _] = &mut *sets;
        let is_new = made.entry(issuer.to_owned()).or_default().insert(what);
        if is_new {
            self.version.fetch_add(1, Ordering::Release);
        }
        Ok(is_new)
    }

    /// Takes a revocation back that was made here; true where there was one.
    pub fn restore(&self, issuer: &str, what: &Revoked) -> bool {
        let mut sets = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        let [made, _] = &mut *sets;
        let was_there = made.get_mut(issuer).is_some_and(|set| set.remove(what));
        if was_there {
            self.version.fetch_add(1, Ordering::Release);
        }
        was_there
    }

    /// Takes the revocations of a file in place of those that it had before.
    ///
    /// # Errors
    /// The file can't be read or has a line that is none; what was in force stays.
    pub fn read(&self, path: &Path) -> Result<(), RevocationError> {
        let of_io = |e: std::io::Error| RevocationError::File(e.kind());
        let length = std::fs::metadata(path).map_err(of_io)?.len();
        if length > FILE_BYTES_MAX {
            return Err(RevocationError::Full);
        }
        self.take(&std::fs::read_to_string(path).map_err(of_io)?)
    }

    fn take(&self, text: &str) -> Result<(), RevocationError> {
        let mut sets = Sets::new();
        let mut count = 0;
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            count += 1;
            if count > REVOCATIONS_MAX {
                return Err(RevocationError::Full);
            }
            let (issuer, what) = revocation(line).ok_or(RevocationError::Line(n + 1))?;
            sets.entry(issuer).or_default().insert(what);
        }
        let mut all = self.sets.write().unwrap_or_else(PoisonError::into_inner);
        if all[OF_FILE] != sets {
            all[OF_FILE] = sets;
            self.version.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// Reads a file, and again whenever it changes, for as long as this is polled. `report` is told what goes wrong, once
    /// for each state of the file.
    pub async fn follow(self: Arc<Self>, path: PathBuf, report: impl Fn(&RevocationError)) {
        let mut known: Option<FileState> = None;
        loop {
            let (revocations, place) = (Arc::clone(&self), path.clone());
            let before = known.clone();
            let read = tokio::task::spawn_blocking(move || {
                let state = FileState::of(&place);
                let is_changed = Some(&state) != before.as_ref();
                (is_changed.then(|| revocations.read(&place)), state)
            });
            if let Ok((read, state)) = read.await {
                known = Some(state);
                if let Some(Err(error)) = read {
                    report(&error);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Whether a subject, or the token that proves it, is revoked.
    #[must_use]
    pub fn holds(&self, issuer: &str, subject: &str, token: Option<&str>) -> bool {
        let sets = self.sets.read().unwrap_or_else(PoisonError::into_inner);
        let is_in = |set: &BTreeSet<Revoked>| {
            set.contains(&Revoked::Subject(subject.to_owned()))
                || token.is_some_and(|id| set.contains(&Revoked::Token(id.to_owned())))
        };
        [MADE, OF_FILE].iter().any(|n| sets[*n].get(issuer).is_some_and(is_in))
    }

    /// Moves with each change.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }
}

/// One line of a file.
fn revocation(line: &str) -> Option<(String, Revoked)> {
    let object: Map<String, Value> = json::object(line.as_bytes()).ok()?;
    let text = |name: &str| object.get(name).and_then(Value::as_str).map(str::to_owned);
    let what = match (text("subject"), text("jti"), object.len()) {
        (Some(subject), None, 2) => Revoked::Subject(subject),
        (None, Some(id), 2) => Revoked::Token(id),
        _ => return None,
    };
    Some((text("issuer")?, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_or_a_token_of_one_issuer() {
        let revoked = Revocations::default();
        assert!(!revoked.holds("corp", "ann", None));
        assert_eq!(revoked.revoke("corp", Revoked::Subject("ann".to_owned())), Ok(true));
        assert_eq!(revoked.revoke("corp", Revoked::Subject("ann".to_owned())), Ok(false));
        assert_eq!(revoked.revoke("corp", Revoked::Token("7".to_owned())), Ok(true));
        assert_eq!(revoked.version(), 2);
        for (issuer, subject, token, wanted) in [
            ("corp", "ann", None, true),
            ("corp", "ann", Some("8"), true),
            ("corp", "bob", Some("7"), true),
            ("corp", "bob", Some("8"), false),
            ("corp", "7", Some("ann"), false),
            ("other", "ann", Some("7"), false),
        ] {
            assert_eq!(revoked.holds(issuer, subject, token), wanted, "{issuer} {subject} {token:?}");
        }
        assert!(revoked.restore("corp", &Revoked::Subject("ann".to_owned())));
        assert!(!revoked.holds("corp", "ann", None));
    }

    #[test]
    fn a_file_is_taken_whole_or_not_at_all() {
        let revoked = Revocations::default();
        let lines = "{\"issuer\":\"corp\",\"subject\":\"ann\"}\n\n{\"issuer\":\"corp\",\"jti\":\"7\"}\n";
        assert_eq!(revoked.take(lines), Ok(()));
        assert_eq!(revoked.version(), 1);
        assert!(revoked.holds("corp", "ann", None) && revoked.holds("corp", "bob", Some("7")));
        for broken in ["x", "{\"issuer\":\"corp\"}", "{\"issuer\":\"a\",\"subject\":\"b\",\"jti\":\"c\"}"] {
            assert_eq!(revoked.take(&format!("\n{broken}\n")), Err(RevocationError::Line(2)), "{broken}");
        }
        assert!(revoked.holds("corp", "ann", None), "what was in force stays");
        assert_eq!(revoked.take(lines), Ok(()));
        assert_eq!(revoked.version(), 1, "nothing has changed");
        assert_eq!(revoked.take(""), Ok(()));
        assert!(!revoked.holds("corp", "ann", None));
    }

    #[tokio::test]
    async fn a_file_is_followed() {
        let path = std::env::temp_dir().join(format!("sluice-revoked-{}.jsonl", std::process::id()));
        std::fs::write(&path, "{\"issuer\":\"corp\",\"subject\":\"ann\"}\n").unwrap();
        let revoked = Arc::new(Revocations::default());
        let following = tokio::spawn(Arc::clone(&revoked).follow(path.clone(), |_| {}));
        let until = async |subject: &str, wanted: bool| {
            while revoked.holds("corp", subject, None) != wanted {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        until("ann", true).await;
        std::fs::write(&path, "no revocation\n").unwrap();
        std::fs::write(&path, "{\"issuer\":\"corp\",\"subject\":\"bob\"}\n").unwrap();
        until("bob", true).await;
        assert!(!revoked.holds("corp", "ann", None));
        std::fs::remove_file(&path).unwrap();
        following.abort();
        assert!(revoked.holds("corp", "bob", None), "a file that goes revokes nothing less");
    }

    #[test]
    fn limit() {
        let line = |n: usize| format!("{{\"issuer\":\"c\",\"jti\":\"{n}\"}}\n");
        let lines: String = (0..REVOCATIONS_MAX).map(line).collect();
        let revoked = Revocations::default();
        assert_eq!(revoked.take(&lines), Ok(()));
        assert_eq!(revoked.take(&(lines + &line(REVOCATIONS_MAX))), Err(RevocationError::Full));
        assert_eq!(revoked.revoke("c", Revoked::Subject("a".to_owned())), Err(RevocationError::Full));
    }
}
