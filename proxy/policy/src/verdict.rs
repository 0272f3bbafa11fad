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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It goes on, masked.
    Allow,
    /// It goes on once people have approved it.
    Approve(ApprovalTerms),
    /// It is refused.
    Block,
}

/// Who must approve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApprovalTerms {
    /// Of each group at least so many distinct people.
    pub groups: Vec<(Arc<str>, u32)>,
}

/// A decision and what made it.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// A documented score of what could go wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Risk {
    /// The sum of its parts.
    pub score: u32,
    /// What each part gave, by name.
    pub parts: Vec<(Arc<str>, u32)>,
}
