//! HTTP verbs, and the calls of a secrets service, which are told by them.

use std::borrow::Cow;

use super::Name;
use crate::Facts;

/// Header fields by which some servers take another method than the request's: each such method is an act too.
pub(crate) const OVERRIDES: &[&str] = &["x-http-method", "x-http-method-override", "x-method-override"];
/// The parameter of a query that does the same.
const OVERRIDE_PARAMETER: &str = "_method";

/// The request's method and those that a server may take in its place.
pub(super) fn methods(facts: &Facts) -> Vec<String> {
    let fields = OVERRIDES.iter().filter_map(|name| facts.headers.get(*name));
    let in_fields = fields.flat_map(|value| value.split(','));
    let in_query = facts.query.iter().filter(|(name, _)| name == OVERRIDE_PARAMETER).map(|(_, v)| v.as_str());
    let mut methods = vec![facts.method.clone()];
    for method in in_fields.chain(in_query) {
        let method = method.trim().to_ascii_uppercase();
        if !method.is_empty() && !methods.contains(&method) {
            methods.push(method);
        }
    }
    methods
}

/// Methods that ask for nothing to change (RFC 9110, section 9.2.1).
pub(super) fn is_read(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS")
}

pub(super) fn names(method: &str) -> Vec<Name> {
    let class = if is_read(method) { "http.read" } else { "http.write" };
    vec![Cow::Owned(format!("http.{}", method.to_ascii_lowercase())), Cow::Borrowed(class)]
}

/// Calls of Vault's HTTP API: what is below `/v1/sys` and `/v1/auth` is administration.
pub(super) fn secret_names(method: &str, facts: &Facts) -> Vec<Name> {
    let mut segments = facts.path.split('/').filter(|segment| !segment.is_empty());
    let mount = segments.nth(1).unwrap_or_default();
    let action = segments.next().unwrap_or_default();
    let lists = facts.query.iter().any(|(name, value)| name == "list" && value != "false");
    let exact = match method {
        _ if matches!(mount, "sys" | "auth" | "identity" | "") => "secret.admin",
        "LIST" => "secret.list",
        "GET" if lists => "secret.list",
        "GET" | "HEAD" => "secret.read",
        "DELETE" => "secret.delete",
        "POST" | "PUT" | "PATCH" if matches!(action, "delete" | "destroy") => "secret.delete",
        "POST" | "PUT" | "PATCH" => "secret.write",
        _ => "secret.admin",
    };
    vec![Cow::Borrowed(exact)]
}
