//! What is known of a request when it is decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Subject;

/// A request, as policies see it. Never its payload: only what was read out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Who asks.
    pub subject: Arc<Subject>,
    /// The configured name of the upstream.
    pub upstream: Arc<str>,
    /// The configured name of the route.
    pub route: Arc<str>,
    /// `GET`, `POST` …
    pub method: String,
    /// Normal form: percent-decoded where that is not ambiguous, without dot segments.
    pub path: String,
    /// Names and values in their order, decoded.
    pub query: Vec<(String, String)>,
    /// Values of the fields that a policy names, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// What its body says; `None` where nobody has read it yet.
    pub body: Option<BodyFacts>,
}

/// What was read out of a request's body.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct BodyFacts {
    /// The model asked for.
    pub model: Option<String>,
    /// Names of tools that the model may call.
    pub tools_offered: Vec<String>,
    /// Names of tools whose calls stand in the request.
    pub tools_called: Vec<String>,
    /// The greatest number of tokens of the answer.
    pub max_tokens: Option<u64>,
    /// The answer is asked for as a stream.
    pub stream: bool,
    /// Statements of SQL that the route says are in it, as they were written; never shown or recorded.
    pub statements: Vec<Statement>,
    /// Labels and how often the scan found each: `entity:us_ssn`, `word:password`.
    pub labels: BTreeMap<Arc<str>, u64>,
    /// Its length in bytes, decoded.
    pub bytes: u64,
}

/// A text of SQL. `Debug` shows its length alone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Statement(pub String);

impl std::fmt::Debug for Statement {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Statement({} bytes)", self.0.len())
    }
}
