//! The labelled corpus beside the checkout: `$SLUICE_SHARED/corpus`, else `<checkout>/../shared/corpus`.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// The corpus, or a part of it, can't be read.
#[derive(Debug)]
pub struct CorpusError {
    path: PathBuf,
    reason: String,
}

impl fmt::Display for CorpusError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "{path}: {} (is the corpus there? SLUICE_SHARED names the folder it is in)", self.reason)
    }
}

impl std::error::Error for CorpusError {}

/// A folder with `clean/`, `rules/` and `dev.jsonl`.
#[derive(Clone, Debug)]
pub struct Corpus {
    folder: PathBuf,
}

#[derive(Deserialize)]
struct Row {
    text: String,
}

impl Corpus {
    /// The corpus of this checkout.
    ///
    /// # Errors
    /// When it is not there.
    pub fn find() -> Result<Corpus, CorpusError> {
        let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
        let folder = std::env::var_os("SLUICE_SHARED").map_or_else(beside, PathBuf::from).join("corpus");
        if folder.join("clean").is_dir() {
            return Ok(Corpus { folder });
        }
        Err(CorpusError { path: folder, reason: "no folder `clean` in it".into() })
    }

    /// A file of it.
    ///
    /// # Errors
    /// When it can't be read.
    pub fn read(&self, file: &str) -> Result<Vec<u8>, CorpusError> {
        let path = self.folder.join(file);
        std::fs::read(&path).map_err(|e| CorpusError { path, reason: e.to_string() })
    }

    /// Every file of clean traffic, by name.
    ///
    /// # Errors
    /// When one can't be read.
    pub fn clean(&self) -> Result<Vec<Vec<u8>>, CorpusError> {
        let folder = self.folder.join("clean");
        let error = |e: std::io::Error| CorpusError { path: folder.clone(), reason: e.to_string() };
        let entries = std::fs::read_dir(&folder).map_err(error)?;
        let mut paths = entries.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>().map_err(error)?;
        paths.sort();
        paths.iter().map(std::fs::read).collect::<Result<_, _>>().map_err(error)
    }

    /// The text of every labelled row.
    ///
    /// # Errors
    /// When `dev.jsonl` can't be read, or a row is none.
    pub fn rows(&self) -> Result<Vec<Vec<u8>>, CorpusError> {
        let file = self.read("dev.jsonl")?;
        let lines = file.split(|b| *b == b'\n').filter(|line| !line.is_empty());
        let texts = lines.map(|line| serde_json::from_slice::<Row>(line).map(|row| row.text.into_bytes()));
        texts
            .collect::<Result<_, _>>()
            .map_err(|e| CorpusError { path: self.folder.join("dev.jsonl"), reason: e.to_string() })
    }
}
