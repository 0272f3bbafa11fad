//! The files that a configuration was read from, and their digest.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Files by name: the configuration, packs, certificates. Private keys are left out, so that no digest of one is told.
#[derive(Clone, Debug, Default)]
pub struct Files(BTreeSet<PathBuf>);

impl Files {
    /// Adds a file.
    pub fn note(&mut self, path: &Path) {
        self.0.insert(path.to_owned());
    }

    /// SHA-256 in hexadecimal over names and bytes of all of them, in the order of their names. A file that is gone
    /// by now counts as an empty one.
    #[must_use]
    pub fn sha256(&self) -> String {
        let mut digest = Sha256::new();
        for path in &self.0 {
            let bytes = std::fs::read(path).unwrap_or_default();
            for part in [path.as_os_str().as_encoded_bytes(), &bytes] {
                digest.update((part.len() as u64).to_be_bytes());
                digest.update(part);
            }
        }
        let mut text = String::new();
        for byte in digest.finalize() {
            // Writing to a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}
