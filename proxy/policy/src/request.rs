//! A request as operators write it, in JSON or TOML: for `policy explain` and `policy test`.
//!
//! Keys that are not known are refused, so that a slip does not test something else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::{
    BodyFacts, Facts, Kind, PROTOCOLS, Proof, SQL_DIALECTS, Statement, Subject, Surface, Unreadable,
};

/// A request that is asked about.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    subject: Asker,
    upstream: String,
    route: String,
    method: String,
    path: String,
    query: BTreeMap<String, OneOrMore>,
    headers: BTreeMap<String, String>,
    content_type: String,
    /// As a route's.
    speaks: Option<String>,
    sql: Vec<String>,
    sql_dialect: Option<String>,
    body: Option<Body>,
    /// The body itself, in place of what it says.
    body_text: Option<String>,
    /// Labels of a body that is given itself.
    labels: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Asker {
    issuer: String,
    id: String,
    groups: Vec<String>,
    purpose: Option<String>,
    kind: Option<String>,
    chain: Option<String>,
    step: Option<String>,
    actor: Option<String>,
    owner: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Body {
    model: Option<String>,
    tools_offered: Vec<String>,
    tools_called: Vec<String>,
    max_tokens: Option<u64>,
    stream: bool,
    statements: Vec<String>,
    labels: BTreeMap<String, u64>,
    bytes: u64,
}

impl Request {
    /// Its facts.
    ///
    /// # Errors
    /// A word that is not known, or a body that is refused.
    pub fn facts(&self) -> Result<Facts, String> {
        if self.body.is_some() && self.body_text.is_some() {
            return Err(
                "`body` is what a body says, `body_text` the body itself: give one of them".to_owned()
            );
        }
        if self.body.is_some() && !self.labels.is_empty() {
            return Err("labels of `body` stand in it; `labels` is for `body_text`".to_owned());
        }
        let facts = Facts {
            subject: Arc::new(self.subject.subject()?),
            upstream: self.upstream.as_str().into(),
            route: self.route.as_str().into(),
            surface: Arc::new(self.surface()?),
            method: if self.method.is_empty() { "GET".to_owned() } else { self.method.clone() },
            path: if self.path.is_empty() { "/".to_owned() } else { self.path.clone() },
            query: self.query(),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
                .collect(),
            media_type: self.content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase(),
            body: None,
        };
        let labels = |labels: &BTreeMap<String, u64>| {
            labels.iter().map(|(label, count)| (Arc::from(label.as_str()), *count)).collect()
        };
        let body = match (&self.body, &self.body_text) {
            (Some(body), _) => BodyFacts {
                model: body.model.clone(),
                tools_offered: body.tools_offered.clone(),
                tools_called: body.tools_called.clone(),
                max_tokens: body.max_tokens,
                stream: body.stream,
                statements: body.statements.iter().cloned().map(Statement).collect(),
                labels: labels(&body.labels),
                bytes: body.bytes,
            },
            (None, Some(text)) => {
                let read = BodyFacts::read(&facts, &self.content_type, text.as_bytes());
                let read = read.map_err(|error: Unreadable| format!("`body_text` is refused: {error}"))?;
                BodyFacts { labels: labels(&self.labels), ..read }
            }
            (None, None) => BodyFacts { labels: labels(&self.labels), ..BodyFacts::default() },
        };
        Ok(Facts { body: Some(body), ..facts })
    }

    fn surface(&self) -> Result<Surface, String> {
        let protocol = self.speaks.as_deref().map(|name| word(PROTOCOLS, "protocol", name));
        let dialect = self.sql_dialect.as_deref().map(|name| word(SQL_DIALECTS, "dialect", name));
        Ok(Surface {
            protocol: protocol.transpose()?.unwrap_or_default(),
            sql: self.sql.iter().map(|place| place.parse()).collect::<Result<_, _>>()?,
            dialect: dialect.transpose()?.unwrap_or_default(),
        })
    }

    fn query(&self) -> Vec<(String, String)> {
        let pairs = self.query.iter().flat_map(|(name, values)| match values {
            OneOrMore::One(value) => vec![(name.clone(), value.clone())],
            OneOrMore::More(values) => values.iter().map(|value| (name.clone(), value.clone())).collect(),
        });
        pairs.collect()
    }
}

impl Asker {
    fn subject(&self) -> Result<Subject, String> {
        let optional = |text: &Option<String>| text.as_deref().map(Arc::from);
        let mut groups: Vec<Arc<str>> = self.groups.iter().map(|group| Arc::from(group.as_str())).collect();
        groups.sort_unstable();
        groups.dedup();
        let kinds = [Kind::Human, Kind::Service, Kind::Agent];
        let kind = match &self.kind {
            None => Kind::default(),
            Some(name) => *kinds
                .iter()
                .find(|kind| kind.name() == name)
                .ok_or_else(|| format!("`kind` is human, service or agent, not `{name}`"))?,
        };
        // Who has an id was proved, by whatever it may be.
        let proof = if self.id.is_empty() { Proof::None } else { Proof::Introspection };
        Ok(Subject {
            issuer: self.issuer.as_str().into(),
            id: self.id.as_str().into(),
            groups,
            purpose: optional(&self.purpose),
            kind,
            chain: optional(&self.chain),
            step: optional(&self.step),
            actor: optional(&self.actor),
            owner: optional(&self.owner),
            proof,
            ..Subject::default()
        })
    }
}

fn word<T: Copy>(words: &[(&str, T)], what: &str, name: &str) -> Result<T, String> {
    let found = words.iter().find(|(word, _)| *word == name).map(|(_, value)| *value);
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    found.ok_or_else(|| format!("no {what} `{name}`; there are: {}", known()))
}
