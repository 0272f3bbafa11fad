//! What a request does: operations, told by its head, its path and what was read of its body.
//!
//! A request does one or more *acts*, and each act has names from the most exact to the most general:
//!
//! ```text
//! DELETE /backups (an object store)   s3.delete_bucket  s3.write  http.delete  http.write
//! POST /v1/chat/completions           llm.chat  http.post  http.write
//!   with a call of the tool `search`  + tool:search
//! POST /query, SQL in its body        + sql.drop_database  sql.ddl  sql.write    (for each statement)
//! ```
//!
//! Whether a policy's list of operations holds for a request depends on what the policy does. One that blocks or asks
//! holds where any name of any act is listed. One that allows holds where every act is: the head's act by any of its
//! names, and each tool call and statement of SQL by a name of its own where the list names any of that family;
//! where it names none, the head's act stands for them.

mod http;
mod llm;
mod object_store;
mod selector;
mod sql;

use std::borrow::Cow;
use std::sync::Arc;

use crate::{BodyFacts, Facts};

pub(crate) use http::OVERRIDES;
pub use llm::path_model;
pub(crate) use object_store::COPY_SOURCE;
pub(crate) use selector::{Cover, Selector};
pub use sql::{SQL_DIALECTS, SqlDialect, statement_operations};

/// The name of an operation.
pub(crate) type Name = Cow<'static, str>;

/// What is spoken on a route.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Surface {
    /// How operations are told.
    pub protocol: Protocol,
    /// Where SQL stands in requests; empty: nowhere. All of them are read.
    pub sql: Vec<SqlPlace>,
    /// Its dialect.
    pub dialect: SqlDialect,
}

/// How operations are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// LLM calls by their known paths, gRPC by its media type, else the method.
    #[default]
    Auto,
    /// The method alone.
    Http,
    /// LLM calls; what is not known is `llm.other`.
    Llm,
    /// gRPC, whatever the media type says.
    Grpc,
    /// An S3-compatible object store.
    ObjectStore(BucketIn),
    /// A secrets service with Vault's API.
    Secrets,
}

/// Where requests to an object store name their bucket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BucketIn {
    /// `/bucket/key`.
    #[default]
    Path,
    /// In the host's name: a path is a key.
    Host,
}

/// Where a request has SQL.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum SqlPlace {
    /// Its whole body.
    Body,
    /// A string, or strings of an array, in its JSON body, by JSON pointer (RFC 6901).
    Json(String),
    /// A field of its form body.
    Form(String),
    /// A parameter of its query.
    Query(String),
}

/// What a request does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Acts {
    /// What its head says, names from the most exact on. More than one where the head can be read in several ways.
    pub(crate) base: Vec<Vec<Name>>,
    /// Tools whose calls stand in it; none: its body was not read.
    pub(crate) tools: Option<Vec<Name>>,
    /// Its statements of SQL; none: its body was not read.
    pub(crate) sql: Option<Vec<Vec<Name>>>,
    /// Its route has SQL: there is a statement, found or not.
    pub(crate) has_sql: bool,
}

/// The statement of a route with SQL in which none was found: it may be anywhere.
const SQL_UNKNOWN: &[&str] = &["sql.unknown", "sql.write"];

impl Acts {
    pub(crate) fn of(facts: &Facts) -> Acts {
        let mut acts = Acts { base: base(facts), has_sql: !facts.surface.sql.is_empty(), ..Acts::default() };
        if let Some(body) = &facts.body {
            acts.tools = Some(tools(body));
            acts.sql = Some(if acts.has_sql { statements(facts, body) } else { Vec::new() });
        }
        acts
    }

    /// Every name of every act.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        let sql = self.sql.iter().flatten().flatten();
        self.base.iter().flatten().chain(sql).chain(self.tools.iter().flatten()).map(|name| &**name)
    }

    /// The most exact name of each act.
    pub(crate) fn exact(&self) -> impl Iterator<Item = Arc<str>> {
        let sql = self.sql.iter().flatten().filter_map(|names| names.first());
        let base = self.base.iter().filter_map(|names| names.first());
        base.chain(sql).chain(self.tools.iter().flatten()).map(|name| Arc::from(&**name))
    }
}

fn base(facts: &Facts) -> Vec<Vec<Name>> {
    let mut all = Vec::new();
    for method in http::methods(facts) {
        let verbs = http::names(&method);
        let mut add = |names: Vec<Name>| {
            let act: Vec<Name> = names.into_iter().chain(verbs.iter().cloned()).collect();
            if !all.contains(&act) {
                all.push(act);
            }
        };
        let protocol = match facts.surface.protocol {
            Protocol::Auto if is_grpc(&facts.media_type) => Protocol::Grpc,
            other => other,
        };
        match protocol {
            Protocol::Auto => add(llm::names(&method, &facts.path, false)),
            Protocol::Http => add(Vec::new()),
            Protocol::Llm => add(llm::names(&method, &facts.path, true)),
            Protocol::Grpc => add(grpc(&facts.path)),
            Protocol::Secrets => add(http::secret_names(&method, facts)),
            Protocol::ObjectStore(bucket) => {
                object_store::acts(&method, facts, bucket).into_iter().for_each(add)
            }
        }
    }
    all
}

fn is_grpc(media_type: &str) -> bool {
    let rest = media_type.strip_prefix("application/grpc");
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['+', '-']))
}

/// `/package.Service/Method` (gRPC over HTTP/2, "Requests").
fn grpc(path: &str) -> Vec<Name> {
    let call = path.strip_prefix('/').filter(|call| {
        call.split_once('/').is_some_and(|(service, method)| {
            !service.is_empty() && !method.is_empty() && !method.contains('/')
        })
    });
    let exact = call.map_or(Cow::Borrowed("grpc.unknown"), |call| Cow::Owned(format!("grpc:{call}")));
    vec![exact, Cow::Borrowed("grpc.call")]
}

fn tools(body: &BodyFacts) -> Vec<Name> {
    let mut names: Vec<Name> =
        body.tools_called.iter().map(|tool| Cow::Owned(format!("tool:{tool}"))).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn statements(facts: &Facts, body: &BodyFacts) -> Vec<Vec<Name>> {
    let Surface { sql, dialect, .. } = &*facts.surface;
    let in_query = sql.iter().filter_map(|place| match place {
        SqlPlace::Query(name) => Some(name),
        SqlPlace::Body | SqlPlace::Json(_) | SqlPlace::Form(_) => None,
    });
    let in_query = in_query.flat_map(|name| facts.query.iter().filter(move |(n, _)| n == name));
    let texts = body.statements.iter().map(|s| s.0.as_str()).chain(in_query.map(|(_, value)| value.as_str()));
    let mut all: Vec<Vec<Name>> = Vec::new();
    for text in texts {
        for names in sql::statement_operations(text, *dialect) {
            let names = names.iter().map(|name| Cow::Borrowed(*name)).collect();
            if !all.contains(&names) {
                all.push(names);
            }
        }
    }
    if all.is_empty() {
        all.push(SQL_UNKNOWN.iter().map(|name| Cow::Borrowed(*name)).collect());
    }
    all
}

#[cfg(test)]
mod tests;
