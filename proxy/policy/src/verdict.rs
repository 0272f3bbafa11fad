//! What is decided of a request.

use std::collections::BTreeSet;
use std::sync::Arc;

/// What a body of facts leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Some policy that could match reads the body: hold the request, read it, and ask again.
    NeedsBody,
    /// It is decided.
    Decided(Arc<Verdict>),
}

/// Whether a request goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// It goes on, masked.
    Allow,
    /// It goes on once people have approved it.
    Approve(ApprovalTerms),
    /// It is refused.
    #[default]
    Block,
}

impl Action {
    /// As policies and records spell it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Action::Allow => "allow",
            Action::Approve(_) => "approve",
            Action::Block => "block",
        }
    }
}

/// Who must approve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalTerms {
    /// Of each group at least so many distinct people.
    pub groups: Vec<(Arc<str>, u32)>,
}

/// A decision and what made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the request goes on.
    pub action: Action,
    /// Ids of the policies that made it, in the order of their files. Empty: nothing allowed it.
    pub policies: Vec<Arc<str>>,
    /// The version of all policies together: the first 16 hex digits of their digest.
    pub version: Arc<str>,
    /// What the caller is told where it is refused.
    pub reason: String,
    /// Entities that leave as they are, in the response and the request.
    pub reveal: BTreeSet<Arc<str>>,
    /// What of a response's body may leave; `None`: all of it, masked.
    pub fields: Option<Arc<FieldList>>,
    /// Greatest sizes of the response; beyond them it ends with an error.
    pub limits: ResponseLimits,
    /// The score and its parts.
    pub risk: Risk,
    /// What the request does, the most exact name of each act: `llm.chat`, `tool:search`, `sql.delete_all`.
    pub operations: Vec<Arc<str>>,
    /// Policies in shadow that matched, and what each would have done. They changed nothing.
    pub shadow: Vec<(Arc<str>, &'static str)>,
    /// It depends on what went before (a chain, a quota, a first use): the same facts may be decided otherwise next
    /// time, so it must not be cached.
    pub is_once: bool,
}

/// Paths of a body, in the syntax of packs' fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldList {
    /// Only these leave; empty: all but the dropped.
    pub allow: Vec<String>,
    /// These never leave.
    pub drop: Vec<String>,
}

/// Greatest sizes of a response; `None`: no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResponseLimits {
    /// Bytes of its decoded body.
    pub bytes_max: Option<u64>,
    /// Elements of its outermost array, or lines of JSON lines.
    pub rows_max: Option<u64>,
    /// Spans of a trace.
    pub spans_max: Option<u64>,
}

impl ResponseLimits {
    /// The lesser of each.
    #[must_use]
    pub fn least(self, other: ResponseLimits) -> ResponseLimits {
        let least = |a: Option<u64>, b: Option<u64>| match (a, b) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (one, None) | (None, one) => one,
        };
        ResponseLimits {
            bytes_max: least(self.bytes_max, other.bytes_max),
            rows_max: least(self.rows_max, other.rows_max),
            spans_max: least(self.spans_max, other.spans_max),
        }
    }
}

/// A documented score of what could go wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// The sum of its parts.
    pub score: u32,
    /// What each part gave, by name.
    pub parts: Vec<(Arc<str>, u32)>,
}
