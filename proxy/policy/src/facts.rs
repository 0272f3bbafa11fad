//! What is known of a request when it is decided.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Subject;
use crate::operation::Surface;

/// A request, as policies see it. Never its payload: only what was read out of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Facts {
    /// Who asks.
    pub subject: Arc<Subject>,
    /// The configured name of the upstream.
    pub upstream: Arc<str>,
    /// The configured name of the route.
    pub route: Arc<str>,
    /// What is spoken on that route: how operations are told.
    pub surface: Arc<Surface>,
    /// `GET`, `POST` …
    pub method: String,
    /// Normal form: percent-decoded where that is not ambiguous, without dot segments.
    pub path: String,
    /// Names and values in their order, decoded.
    pub query: Vec<(String, String)>,
    /// Values of the fields that a policy names, by lower-case name.
    pub headers: BTreeMap<String, String>,
    /// The type of its body, in lower case and without parameters; empty where the request names none.
    pub media_type: String,
    /// What its body says; `None` where nobody has read it yet. A request without a body has the default.
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

/// How much of each kind facts may hold. A request with more is refused: what was left out could be what a policy
/// blocks.
#[derive(Clone, Copy, Debug)]
pub struct FactLimits {
    /// Groups of a subject.
    pub groups_max: usize,
    /// Parameters of a query.
    pub query_max: usize,
    /// Header fields that policies name.
    pub headers_max: usize,
    /// Tools offered and called, together.
    pub tools_max: usize,
    /// Texts of SQL.
    pub statements_max: usize,
    /// Different labels.
    pub labels_max: usize,
    /// Bytes of any one text but SQL.
    pub text_bytes_max: usize,
    /// Bytes of a text of SQL.
    pub statement_bytes_max: usize,
}

/// What facts may hold.
pub const FACT_LIMITS: FactLimits = FactLimits {
    groups_max: 256,
    query_max: 256,
    headers_max: 64,
    tools_max: 256,
    statements_max: 16,
    labels_max: 1_024,
    text_bytes_max: 8 * 1024,
    statement_bytes_max: 64 * 1024,
};

impl Facts {
    /// Which limit they are over, by name.
    ///
    /// # Errors
    /// The name of the first limit that they are over.
    pub fn within(&self, limits: &FactLimits) -> Result<(), &'static str> {
        let subject = &*self.subject;
        let counts = [
            ("groups", subject.groups.len(), limits.groups_max),
            ("query parameters", self.query.len(), limits.query_max),
            ("header fields", self.headers.len(), limits.headers_max),
        ];
        let named = [&subject.purpose, &subject.chain, &subject.step, &subject.actor, &subject.owner];
        let mut texts = [&*subject.id, &*subject.issuer, &self.path, &self.method, &self.media_type]
            .into_iter()
            .chain(named.into_iter().flatten().map(|text| &**text))
            .chain(subject.groups.iter().map(|group| &**group))
            .chain(self.query.iter().flat_map(|(name, value)| [&**name, &**value]))
            .chain(self.headers.iter().flat_map(|(name, value)| [&**name, &**value]));
        if let Some((name, ..)) = counts.iter().find(|(_, count, most)| count > most) {
            return Err(name);
        }
        if texts.any(|text| text.len() > limits.text_bytes_max) {
            return Err("bytes of a text");
        }
        self.body.as_ref().map_or(Ok(()), |body| body.within(limits))
    }
}

impl BodyFacts {
    fn within(&self, limits: &FactLimits) -> Result<(), &'static str> {
        let counts = [
            ("tools", self.tools_offered.len() + self.tools_called.len(), limits.tools_max),
            ("statements of SQL", self.statements.len(), limits.statements_max),
            ("labels", self.labels.len(), limits.labels_max),
        ];
        if let Some((name, ..)) = counts.iter().find(|(_, count, most)| count > most) {
            return Err(name);
        }
        if self.statements.iter().any(|statement| statement.0.len() > limits.statement_bytes_max) {
            return Err("bytes of a statement of SQL");
        }
        let tools = self.tools_offered.iter().chain(&self.tools_called);
        let mut texts = tools.chain(&self.model).map(String::as_str).chain(self.labels.keys().map(|k| &**k));
        if texts.any(|text| text.len() > limits.text_bytes_max) {
            return Err("bytes of a text");
        }
        Ok(())
    }
}
