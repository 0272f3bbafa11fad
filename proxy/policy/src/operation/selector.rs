//! A policy's list of operations.

use super::{Acts, Name, llm, object_store, sql};
use crate::pattern::Pattern;

/// Families whose names are all known here.
const HTTP: &[&str] = &["http.read", "http.write"];
const GRPC: &[&str] = &["grpc.call", "grpc.unknown"];
const SECRET: &[&str] = &["secret.read", "secret.list", "secret.write", "secret.delete", "secret.admin"];

/// A list of operations.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selector {
    base: Vec<Pattern>,
    tools: Vec<Pattern>,
    sql: Vec<Pattern>,
}

/// Whether a list holds for what a request does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cover {
    Yes,
    No,
    /// That depends on a body that nobody has read yet.
    NeedsBody,
}

impl Selector {
    /// Adds a name or pattern.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn add(&mut self, text: &str) -> Result<(), String> {
        let pattern = Pattern::name(text).map_err(str::to_owned)?;
        let end = text.find(['.', ':']).unwrap_or(text.len());
        let (family, rest) = text.split_at(end);
        let known: &[&str] = match (family, rest.get(..1)) {
            ("*", None) | ("grpc" | "tool", Some(":")) => &[],
            ("http", Some(".")) if is_verb(rest) => &[],
            ("http", Some(".")) => HTTP,
            ("llm", Some(".")) => llm::NAMES,
            ("s3", Some(".")) => object_store::NAMES,
            ("grpc", Some(".")) => GRPC,
            ("secret", Some(".")) => SECRET,
            ("sql", Some(".")) => sql::NAMES,
            _ => {
                return Err(format!(
                    "no operation `{text}`: they begin with `http.`, `llm.`, `tool:`, `s3.`, `sql.`, `grpc:`, `grpc.` \
                     or `secret.`, or are `*`"
                ));
            }
        };
        if !known.is_empty() && !known.iter().any(|name| pattern.matches(name)) {
            return Err(format!("no operation `{text}`; there are: {}", known.join(", ")));
        }
        match family {
            "tool" => self.tools.push(pattern),
            "sql" => self.sql.push(pattern),
            _ => self.base.push(pattern),
        }
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.base.is_empty() && self.tools.is_empty() && self.sql.is_empty()
    }

    /// Tools are named, and nothing that could carry their calls.
    pub(crate) fn is_tools_alone(&self) -> bool {
        !self.tools.is_empty() && self.base.is_empty()
    }

    /// It may depend on a body.
    pub(crate) fn reads_body(&self) -> bool {
        !self.tools.is_empty() || !self.sql.is_empty()
    }

    pub(crate) fn patterns(&self) -> impl Iterator<Item = &Pattern> {
        self.base.iter().chain(&self.tools).chain(&self.sql)
    }

    /// Whether any name of any act is listed: how the lists of policies that block or ask hold.
    pub(crate) fn touches(&self, acts: &Acts) -> Cover {
        let base = acts.base.iter().any(|names| any(&self.base, names));
        let sql = acts.sql.as_ref().is_some_and(|all| all.iter().any(|names| any(&self.sql, names)));
        let tools = acts.tools.as_ref().is_some_and(|names| any(&self.tools, names));
        if base || sql || tools {
            return Cover::Yes;
        }
        self.or_needs_body(acts, Cover::No)
    }

    /// Whether every act is listed: how the lists of policies that allow hold.
    pub(crate) fn covers(&self, acts: &Acts) -> Cover {
        // Statements stand for the request that carries them, where the list names any.
        let is_sql = acts.has_sql && !self.sql.is_empty();
        let base = is_sql || acts.base.iter().all(|names| any(&self.base, names));
        let one = |patterns: &[Pattern], name: &Name| patterns.iter().any(|pattern| pattern.matches(name));
        let sql =
            !is_sql || acts.sql.as_ref().is_none_or(|all| all.iter().all(|names| any(&self.sql, names)));
        let tools = self.tools.is_empty()
            || acts.tools.as_ref().is_none_or(|names| names.iter().all(|name| one(&self.tools, name)));
        if !(base && sql && tools) {
            return Cover::No;
        }
        self.or_needs_body(acts, Cover::Yes)
    }

    fn or_needs_body(&self, acts: &Acts, known: Cover) -> Cover {
        let sql = !self.sql.is_empty() && acts.has_sql && acts.sql.is_none();
        let tools = !self.tools.is_empty() && acts.tools.is_none();
        if sql || tools { Cover::NeedsBody } else { known }
    }
}

fn any(patterns: &[Pattern], names: &[Name]) -> bool {
    patterns.iter().any(|pattern| names.iter().any(|name| pattern.matches(name)))
}

/// `http.` and a method in lower case.
fn is_verb(rest: &str) -> bool {
    let verb = rest.trim_start_matches('.');
    let is_class = verb == "read" || verb == "write";
    !is_class && !verb.is_empty() && verb.bytes().all(|b| b.is_ascii_lowercase() || b == b'-' || b == b'*')
}
