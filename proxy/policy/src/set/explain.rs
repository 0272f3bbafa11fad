//! Why a request is decided as it is: every policy, and whether it matches.

use std::fmt;
use std::sync::Arc;

use super::PolicySet;
use super::decide::Standing;
use crate::condition::Values;
use crate::operation::Acts;
use crate::{Decision, Facts};

/// A decision and what led to it.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// What is decided, with nothing of what went before.
    pub decision: Decision,
    /// What the request does: the names of each act, the most exact first.
    pub operations: Vec<Vec<String>>,
    /// Every policy, in the order of the files.
    pub policies: Vec<Considered>,
}

/// A policy, and how it stands to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Considered {
    /// Its id.
    pub id: Arc<str>,
    /// The file it is in, and the line of its `[[policy]]`.
    pub place: (Arc<str>, usize),
    /// What it does: allow, approve or block.
    pub action: &'static str,
    /// It changes nothing.
    pub is_shadow: bool,
    /// It matches.
    pub matches: bool,
    /// Why it does, or does not.
    pub why: String,
}

impl fmt::Display for Considered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, line) = &self.place;
        let word = if self.matches { "yes" } else { "no" };
        let shadow = if self.is_shadow { ", in shadow" } else { "" };
        write!(f, "{file}:{line}: {word}: `{}` ({}{shadow}): {}", self.id, self.action, self.why)
    }
}

impl PolicySet {
    /// Goes through all policies for a request, and says of each why it does or does not match. No value of the request
    /// is in it.
    #[must_use]
    pub fn explain(&self, facts: &Facts) -> Explanation {
        let acts = Acts::of(facts);
        let risk = self.score(facts, &acts, None);
        let values = Values { facts, acts: &acts, risk: risk.score };
        let considered = self.policies.iter().map(|policy| {
            let standing = policy.standing(&values);
            let why = match standing {
                Standing::Matches => "its selectors and its condition hold".to_owned(),
                Standing::Selector(dimension) => format!("`{}` does not hold", dimension.key()),
                Standing::Condition => "`when` is false".to_owned(),
                Standing::Failed(failure) => format!(
                    "`when` comes to nothing, for {}: {}",
                    failure.name(),
                    if policy.effect == super::Effect::Allow {
                        "so it does not allow"
                    } else {
                        "so it blocks"
                    }
                ),
                Standing::NeedsBody => "that depends on the body".to_owned(),
            };
            let matches = match standing {
                Standing::Matches => true,
                Standing::Failed(_) => policy.effect != super::Effect::Allow,
                Standing::Selector(_) | Standing::Condition | Standing::NeedsBody => false,
            };
            Considered {
                id: Arc::clone(&policy.id),
                place: policy.place.clone(),
                action: policy.effect.name(),
                is_shadow: policy.is_shadow,
                matches,
                why,
            }
        });
        Explanation {
            policies: considered.collect(),
            operations: acts
                .each()
                .map(|names| names.iter().map(|name| name.to_string()).collect())
                .collect(),
            decision: self.decide(facts),
        }
    }
}
