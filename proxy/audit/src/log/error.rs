//! Why the record can't be opened or written.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::key::KeyError;

/// The record can't be opened or written.
#[derive(Debug)]
pub struct LogError {
    kind: LogErrorKind,
}

#[derive(Debug)]
enum LogErrorKind {
    Io(&'static str, PathBuf, io::Error),
    Locked(PathBuf),
    Damaged(PathBuf, String),
    NeedsKey(PathBuf),
    Key(KeyError),
    Thread(io::Error),
}

impl LogError {
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> LogError + 'a {
        move |e| LogError { kind: LogErrorKind::Io(what, path.to_owned(), e) }
    }

    pub(crate) fn locked(path: &Path) -> LogError {
        LogError { kind: LogErrorKind::Locked(path.to_owned()) }
    }

    pub(crate) fn damaged(path: &Path, why: impl Into<String>) -> LogError {
        LogError { kind: LogErrorKind::Damaged(path.to_owned(), why.into()) }
    }

    pub(crate) fn needs_key(path: &Path) -> LogError {
        LogError { kind: LogErrorKind::NeedsKey(path.to_owned()) }
    }

    pub(crate) fn key(e: KeyError) -> LogError {
        LogError { kind: LogErrorKind::Key(e) }
    }

    pub(crate) fn thread(e: io::Error) -> LogError {
        LogError { kind: LogErrorKind::Thread(e) }
    }

    /// Whether acknowledged records are missing or wrong: no retry helps, a person must look.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        matches!(self.kind, LogErrorKind::Damaged(..))
    }
}

impl fmt::Display for LogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            LogErrorKind::Io(what, path, e) => write!(f, "can't {what} {}: {e}", path.display()),
            LogErrorKind::Locked(path) => {
                write!(f, "another process writes the record in {}", path.display())
            }
            LogErrorKind::Damaged(path, why) => write!(
                f,
                "{}: {why}: acknowledged records are at stake, so nothing is changed; `sluice audit verify` tells more",
                path.display()
            ),
            LogErrorKind::NeedsKey(path) => {
                write!(f, "{} is encrypted, and the key is not there", path.display())
            }
            LogErrorKind::Key(e) => e.fmt(f),
            LogErrorKind::Thread(e) => write!(f, "can't start the writer: {e}"),
        }
    }
}

impl std::error::Error for LogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            LogErrorKind::Io(_, _, e) | LogErrorKind::Thread(e) => Some(e),
            LogErrorKind::Key(e) => Some(e),
            LogErrorKind::Locked(_) | LogErrorKind::Damaged(..) | LogErrorKind::NeedsKey(_) => None,
        }
    }
}
