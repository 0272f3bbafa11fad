//! Which upstreams and tools a subject has used.

use std::hash::{DefaultHasher, Hash, Hasher};

use super::table::Table;
use crate::{Facts, Subject};

/// A use that was not repeated for so long is a first one again: 30 days.
const KEPT_MS: u64 = 30 * 86_400_000;

/// Uses by subject, as hashes: two that fall together make one use known that was not, which costs the weight of one
/// part of a score.
#[derive(Debug)]
pub(crate) struct Seen {
    subjects: Table<(String, String), Vec<u64>>,
    uses_max: usize,
}

/// First uses in a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Firsts {
    pub(crate) upstream: bool,
    pub(crate) tool: bool,
}

impl Firsts {
    /// Where nothing is remembered, everything is new.
    pub(crate) fn unknown(facts: &Facts) -> Firsts {
        Firsts { upstream: true, tool: tools(facts).next().is_some() }
    }
}

impl Seen {
    pub(super) fn new(subjects_max: usize, uses_max: usize) -> Seen {
        Seen { subjects: Table::new(subjects_max), uses_max }
    }

    pub(crate) fn firsts(&self, facts: &Facts, now_ms: u64) -> Firsts {
        let Some(known) = self.subjects.get(&key(&facts.subject), now_ms) else {
            return Firsts::unknown(facts);
        };
        let is_new = |hash: u64| known.binary_search(&hash).is_err();
        Firsts {
            upstream: is_new(hash("upstream", &facts.upstream)),
            tool: tools(facts).any(|tool| is_new(hash("tool", tool))),
        }
    }

    /// Notes the uses of a request that goes on.
    pub(crate) fn note(&mut self, facts: &Facts, now_ms: u64) {
        let key = key(&facts.subject);
        let mut known = self.subjects.get(&key, now_ms).cloned().unwrap_or_default();
        let uses = tools(facts).map(|tool| hash("tool", tool));
        for hash in std::iter::once(hash("upstream", &facts.upstream)).chain(uses) {
            if let Err(at) = known.binary_search(&hash)
                && known.len() < self.uses_max
            {
                known.insert(at, hash);
            }
        }
        // Where there is no room its uses stay first ones, which score higher.
        let _ = self.subjects.set(key, known, now_ms.saturating_add(KEPT_MS), now_ms);
    }
}

fn tools(facts: &Facts) -> impl Iterator<Item = &str> {
    facts.body.iter().flat_map(|body| body.tools_called.iter().chain(&body.tools_offered)).map(String::as_str)
}

fn key(subject: &Subject) -> (String, String) {
    (subject.issuer.to_string(), subject.id.to_string())
}

fn hash(kind: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, name).hash(&mut hasher);
    hasher.finish()
}
