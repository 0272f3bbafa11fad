//! Policies: TOML files read once, and decided by.
//!
//! ```text
//! files ─ read ─► policies (selectors, condition, what they give) ─► index over the selectors
//! facts ─ index ─► candidates ─ operations, condition ─► those that match ─ combine ─► verdict
//! ```
//!
//! Nothing is allowed that no policy allows. Among the policies that match, one that blocks beats those that ask for
//! approval, and those beat the ones that allow; so neither the order of policies nor of their files changes what is
//! done. What can't be computed counts against the request: a condition that fails makes a policy that blocks, or
//! asks, block, and one that allows not match.

mod decide;
mod fields;
mod index;
mod policy;
mod read;
mod selectors;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use sluice_patterns::Fault;

use crate::operation::{COPY_SOURCE, OVERRIDES};
use index::Index;
use policy::Policy;

/// Policies of a set.
pub(crate) const POLICIES_MAX: usize = 10_000;
/// Bytes of a file of policies.
pub(crate) const FILE_BYTES_MAX: usize = 16 << 20;

/// Policies, ready to decide.
#[derive(Debug)]
pub struct PolicySet {
    version: Arc<str>,
    policies: Vec<Policy>,
    index: Index,
    headers: BTreeSet<String>,
}

/// Every fault of a set of policies, one a line when displayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyError {
    faults: Vec<Fault>,
}

impl PolicyError {
    fn new(mut faults: Vec<Fault>) -> PolicyError {
        faults.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
        faults.dedup();
        PolicyError { faults }
    }

    /// All faults, by file and line.
    #[must_use]
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.faults.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            write!(f, "{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for PolicyError {}

impl PolicySet {
    /// Reads files, each with its name and its text.
    ///
    /// # Errors
    /// Every fault of every file. Nothing is half taken.
    pub fn read(files: &[(&str, &str)]) -> Result<PolicySet, PolicyError> {
        let mut read = read::Read::default();
        for (name, text) in files {
            read.file(name, text);
        }
        if !read.faults.is_empty() {
            return Err(PolicyError::new(read.faults));
        }
        let policies = read.policies;
        let conditions = policies.iter().filter_map(|policy| policy.condition.as_ref());
        let always = OVERRIDES.iter().chain([&COPY_SOURCE]).map(|name| (*name).to_owned());
        let headers =
            conditions.flat_map(|condition| condition.headers.iter().cloned()).chain(always).collect();
        Ok(PolicySet { version: version(files), index: Index::new(&policies), policies, headers })
    }

    /// The version of all policies together: the first 16 hex digits of the SHA-256 of their texts.
    #[must_use]
    pub fn version(&self) -> &Arc<str> {
        &self.version
    }

    /// Header fields that are read, in lower case: [`crate::Facts::headers`] holds these, values of several fields with
    /// one name joined by commas.
    #[must_use]
    pub fn headers(&self) -> &BTreeSet<String> {
        &self.headers
    }

    /// Ids of all policies, in the order of their files.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.policies.iter().map(|policy| &policy.id)
    }
}

fn version(files: &[(&str, &str)]) -> Arc<str> {
    let mut digest = Sha256::new();
    for (_, text) in files {
        digest.update((text.len() as u64).to_be_bytes());
        digest.update(text);
    }
    let all: String = digest.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    all.into()
}

#[cfg(test)]
mod tests;
