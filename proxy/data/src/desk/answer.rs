//! What is answered.

use std::sync::Arc;
use std::time::Duration;

use sluice_engine::Ruleset;
use sluice_policy::{Subject, Verdict};

use super::Secret;

/// What is answered to a question.
#[derive(Clone, Debug)]
pub enum Answer {
    /// The request goes on.
    Go(Arc<Ruling>),
    /// Its body decides: hold it, scan it and ask again.
    ReadBody,
    /// People decide; another answer comes within this time, and `id` names what waits.
    Waiting {
        /// The approval's id.
        id: Arc<str>,
        /// How long the request may be held for it.
        at_most: Duration,
        /// The client reads events: it is told with comments that it waits, so that nothing between gives up.
        reads_events: bool,
    },
    /// The request is refused; nothing of it goes on.
    Refused(Refusal),
}

/// How a request goes on.
#[derive(Clone, Debug)]
pub struct Ruling {
    /// Who sent it.
    pub subject: Arc<Subject>,
    /// What was decided, and by which policies.
    pub verdict: Arc<Verdict>,
    /// The approval that it consumed.
    pub approval: Option<Arc<str>>,
    /// The rules it is masked by, where they are others than its route's.
    pub rulesets: Option<Rulesets>,
    /// Fields that do not go upstream, in lower case: the caller's own credentials.
    pub strip_fields: Vec<String>,
    /// Parameters of the query that do not, decoded.
    pub strip_query: Vec<String>,
    /// Fields of the gateway's own, in place of any of the same name: the upstream's credential.
    pub set_fields: Vec<SetField>,
    /// Parameters of the query, likewise, by their names and values before encoding.
    pub set_query: Vec<SetField>,
    /// The same question, asked again within this time, need not be asked. None: it must.
    pub remembered: Option<Duration>,
}

/// Rules for one caller; both over the automata of the route's.
#[derive(Clone, Debug)]
pub struct Rulesets {
    /// For what it sends.
    pub request: Arc<Ruleset>,
    /// For what it gets.
    pub response: Arc<Ruleset>,
}

/// A field or parameter of the gateway's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetField {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: Secret,
}

/// Why a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of reason: it decides status and code.
    pub kind: RefusalKind,
    /// For the caller: what and why, and what to do. Never of the payload.
    pub detail: String,
    /// Seconds for `Retry-After`; 0: none is sent.
    pub retry_after_s: u32,
}

/// The kinds of refusals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Nobody proved who calls: 401.
    Unauthenticated,
    /// A policy forbids it, or none allows it: 403.
    Denied,
    /// People have to approve it first: 403.
    ApprovalPending,
    /// People refused it: 403.
    ApprovalDenied,
    /// A quota is used up: 429.
    RateLimited,
    /// What it says can't be read without doubt: 400.
    BadRequest,
    /// What decides can't be reached: 503.
    Overloaded,
}
