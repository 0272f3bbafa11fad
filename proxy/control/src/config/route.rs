//! `[[route]]`.

use sluice_data::{
    Concurrency, ForwardedFields, HeaderMatch, Masking, PathMatch, RateBy, RateLimit, ResponseCoding,
    RouteConfig, RouteLimits, RouteMatch,
};
use sluice_engine::OnError;
use sluice_policy::Surface;
use toml::de::DeTable;

use super::condition;
use super::number::{self, TIMEOUTS};
use super::policy;
use super::source::{Source, Value};

const KEYS: &[&str] = &[
    "name",
    "hosts",
    "path",
    "path_exact",
    "methods",
    "headers",
    "upstream",
    "packs",
    "mask",
    "on_error",
    "response_coding",
    "coding_ratio_max",
    "forwarded",
    "body_bytes_max",
    "timeouts",
    "rate",
    "concurrency",
    "speaks",
    "sql",
    "sql_dialect",
];

pub(super) const ON_ERROR: &[(&str, OnError)] = &[("block", OnError::Block), ("text", OnError::Text)];
pub(super) const RESPONSE_CODINGS: &[(&str, ResponseCoding)] =
    &[("same", ResponseCoding::Same), ("identity", ResponseCoding::Identity)];
pub(super) const FORWARDED: &[(&str, ForwardedFields)] = &[
    ("none", ForwardedFields::None),
    ("x-forwarded", ForwardedFields::XForwarded),
    ("rfc7239", ForwardedFields::Rfc7239),
    ("both", ForwardedFields::Both),
];
pub(super) const RATE_BY: &[(&str, RateBy)] = &[("route", RateBy::Route), ("subject", RateBy::Subject)];

/// The most that a byte of a coded body may be told to decode to.
const RATIO_MAX: u64 = 1_000_000;
/// The largest limit of a body that makes sense: a pebibyte.
const BODY_BYTES_MAX: u64 = 1 << 50;
/// The largest number of a rate or of exchanges.
const COUNT_MAX: u64 = 1 << 30;
/// The longest time of a rate: a day.
const DAY_MS: u64 = 86_400_000;
/// Milliseconds that a request may wait for a place where nothing is said.
const QUEUE_MS: u64 = 1_000;

/// A route, and what it is shown by.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) config: RouteConfig,
    pub(super) packs: Vec<String>,
    /// What is spoken there.
    pub(super) surface: Surface,
    /// Line of its `[[route]]`.
    pub(super) line: usize,
}

pub(super) fn read(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    names: &mut Vec<(String, usize)>,
    upstreams: &[(String, usize)],
) -> Option<Route> {
    source.reader.known_keys(table, KEYS);
    let name = source.name(value, table, "route", names);
    let matches = matches(source, table);
    let upstream = upstream(source, value, table, upstreams);
    let packs = source.packs(table.get("packs"));
    let ruleset = packs.as_ref().and_then(|packs| source.ruleset(packs));
    let masking = masking(source, table);
    let limits = limits(source, table);
    let surface = policy::surface(source, table);
    let config = RouteConfig {
        name: name?,
        matches: matches?,
        upstream: upstream?,
        ruleset: ruleset?,
        masking,
        limits: limits?,
        forwarded: source.word(table, "forwarded", FORWARDED).unwrap_or_default(),
    };
    Some(Route { config, packs: packs?, surface, line: source.reader.line(&value.span()) })
}

fn upstream(
    source: &mut Source,
    value: &Value<'_>,
    table: &DeTable<'_>,
    upstreams: &[(String, usize)],
) -> Option<usize> {
    let Some(v) = table.get("upstream") else {
        source.reader.fault(&value.span(), "a route needs `upstream`: the name of an [[upstream]]");
        return None;
    };
    let name = source.reader.string(v)?;
    let index = upstreams.iter().position(|(other, _)| *other == name);
    if index.is_none() {
        let known: Vec<&str> = upstreams.iter().map(|(name, _)| name.as_str()).collect();
        source.unknown(v, "no upstream", &name, &known);
    }
    index
}

/// Conditions; none where one of them is a fault, so that no route takes more than it was meant to.
fn matches(source: &mut Source, table: &DeTable<'_>) -> Option<RouteMatch> {
    let before = source.reader.faults.len();
    let mut matches = RouteMatch::default();
    for key in ["hosts", "methods", "headers"] {
        if let Some(v) = table.get(key).filter(|v| v.get_ref().as_array().is_some_and(|a| a.is_empty())) {
            source.warn(
                source.reader.line(&v.span()),
                format!("`{key}` is empty, which holds for every request"),
            );
        }
    }
    for item in source.items(table, "hosts") {
        matches.hosts.extend(condition::host(source, item));
    }
    for item in source.items(table, "methods") {
        matches.methods.extend(condition::method(source, item));
    }
    for item in source.items(table, "headers") {
        matches.headers.extend(condition::header(source, item));
    }
    condition::at_odds(source, table, &matches.headers);
    matches.path = match (table.get("path"), table.get("path_exact")) {
        (Some(_), Some(v)) => {
            source.reader.fault(&v.span(), "a route has either `path` or `path_exact`");
            PathMatch::default()
        }
        (Some(v), None) => condition::path(source, v, true).map(PathMatch::Prefix).unwrap_or_default(),
        (None, Some(v)) => condition::path(source, v, false).map(PathMatch::Exact).unwrap_or_default(),
        (None, None) => PathMatch::default(),
    };
    (source.reader.faults.len() == before).then_some(matches)
}

fn masking(source: &mut Source, table: &DeTable<'_>) -> Masking {
    let mut masking = Masking::default();
    if let Some(v) = table.get("mask") {
        masking.is_off = !source.switch(table, "mask");
        if masking.is_off {
            let line = source.reader.line(&v.span());
            source.warn(line, "what this route carries passes unmasked, both ways");
        }
    }
    masking.on_error = source.word(table, "on_error", ON_ERROR).unwrap_or_default();
    masking.response_coding = source.word(table, "response_coding", RESPONSE_CODINGS).unwrap_or_default();
    if let Some(ratio) = source.integer(table, "coding_ratio_max", 1, RATIO_MAX) {
        masking.coding_limits.ratio_max = ratio as u32;
    }
    masking
}

fn limits(source: &mut Source, table: &DeTable<'_>) -> Option<RouteLimits> {
    let before = source.reader.faults.len();
    let body_bytes_max = source.integer(table, "body_bytes_max", 1, BODY_BYTES_MAX);
    let mut limits = RouteLimits { body_bytes_max, ..RouteLimits::default() };
    if let Some((_, inner)) = source.inner(table, "timeouts", &number::keys(TIMEOUTS, &[])) {
        number::read(source, inner, TIMEOUTS, &mut limits);
    }
    if let Some((value, inner)) = source.inner(table, "rate", &["requests", "window_ms", "burst", "by"]) {
        limits.rate = rate(source, value, inner);
    }
    let keys = ["exchanges_max", "queue_max", "queue_ms_max"];
    if let Some((value, inner)) = source.inner(table, "concurrency", &keys) {
        limits.concurrency = concurrency(source, value, inner);
    }
    (source.reader.faults.len() == before).then_some(limits)
}

fn rate(source: &mut Source, value: &Value<'_>, table: &DeTable<'_>) -> Option<RateLimit> {
    for key in ["requests", "window_ms"] {
        if !table.contains_key(key) {
            source
                .reader
                .fault(&value.span(), format!("a rate needs `{key}`: so many `requests` in `window_ms`"));
        }
    }
    let requests = source.integer(table, "requests", 1, COUNT_MAX);
    let window_ms = source.integer(table, "window_ms", 1, DAY_MS);
    let burst = match table.contains_key("burst") {
        true => source.integer(table, "burst", 1, COUNT_MAX),
        false => requests,
    };
    let by = source.word(table, "by", RATE_BY).unwrap_or(RateBy::Route);
    Some(RateLimit { requests: requests? as u32, window_ms: window_ms?, burst: burst? as u32, by })
}

fn concurrency(source: &mut Source, value: &Value<'_>, table: &DeTable<'_>) -> Option<Concurrency> {
    if !table.contains_key("exchanges_max") {
        source.reader.fault(&value.span(), "`concurrency` needs `exchanges_max`: how many run at once");
    }
    let queue_max = source.integer(table, "queue_max", 0, COUNT_MAX).unwrap_or(0);
    if let Some(v) = table.get("queue_ms_max").filter(|_| queue_max == 0) {
        source.reader.fault(&v.span(), "nobody waits: `queue_max` says how many may");
    }
    let queue_ms_max = source.integer(table, "queue_ms_max", 1, DAY_MS).unwrap_or(QUEUE_MS);
    let exchanges_max = source.integer(table, "exchanges_max", 1, COUNT_MAX)?;
    Some(Concurrency { exchanges_max: exchanges_max as u32, queue_max: queue_max as u32, queue_ms_max })
}

/// Warns of routes that an earlier one leaves nothing.
pub(super) fn unreachable(source: &mut Source, routes: &[Route]) {
    for (n, route) in routes.iter().enumerate() {
        let earlier = routes.iter().take(n).find(|e| covers(&e.config.matches, &route.config.matches));
        if let Some(earlier) = earlier {
            let (name, other, line) = (&route.config.name, &earlier.config.name, earlier.line);
            let reason = format!(
                "route `{name}` never takes a request: `{other}` on line {line} comes first and takes all of them; \
                 put `{name}` before it"
            );
            source.warn(route.line, reason);
        }
    }
}

/// Whether `a` holds wherever `b` does.
fn covers(a: &RouteMatch, b: &RouteMatch) -> bool {
    let hosts = a.hosts.is_empty()
        || (!b.hosts.is_empty() && b.hosts.iter().all(|b| a.hosts.iter().any(|a| covers_host(a, b))));
    let methods =
        a.methods.is_empty() || (!b.methods.is_empty() && b.methods.iter().all(|m| a.methods.contains(m)));
    let headers = a.headers.iter().all(|a| b.headers.iter().any(|b| covers_header(a, b)));
    let path = match (&a.path, &b.path) {
        (PathMatch::Exact(a), PathMatch::Exact(b)) => a == b,
        (PathMatch::Exact(_), PathMatch::Prefix(_)) => false,
        (PathMatch::Prefix(a), PathMatch::Exact(b) | PathMatch::Prefix(b)) => {
            let a = a.trim_end_matches('/');
            b.strip_prefix(a).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    };
    hosts && methods && headers && path
}

fn covers_host(a: &str, b: &str) -> bool {
    match a.strip_prefix('*') {
        Some(suffix) => b.strip_prefix('*').unwrap_or(b).ends_with(suffix),
        None => a == b,
    }
}

fn covers_header(a: &HeaderMatch, b: &HeaderMatch) -> bool {
    a.name == b.name && (a.value.is_none() || a.value == b.value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_covers_what() {
        let any = RouteMatch::default();
        let host = |host: &str| RouteMatch { hosts: vec![host.to_owned()], ..RouteMatch::default() };
        let below =
            |path: &str| RouteMatch { path: PathMatch::Prefix(path.to_owned()), ..RouteMatch::default() };
        let exact =
            |path: &str| RouteMatch { path: PathMatch::Exact(path.to_owned()), ..RouteMatch::default() };
        let method = |m: &str| RouteMatch { methods: vec![m.to_owned()], ..RouteMatch::default() };
        let header = |value: Option<&str>| {
            let header = HeaderMatch { name: "x".to_owned(), value: value.map(str::to_owned) };
            RouteMatch { headers: vec![header], ..RouteMatch::default() }
        };
        for (a, b, wanted) in [
            (&any, &host("a.test"), true),
            (&host("a.test"), &any, false),
            (&host("*.test"), &host("a.test"), true),
            (&host("*.test"), &host("*.a.test"), true),
            (&host("*.test"), &host("test"), false),
            (&host("*.a.test"), &host("*.test"), false),
            (&below("/v1"), &below("/v1/x"), true),
            (&below("/v1"), &exact("/v1"), true),
            (&below("/v1"), &exact("/v10"), false),
            (&exact("/v1"), &below("/v1"), false),
            (&exact("/v1"), &exact("/v1"), true),
            (&method("GET"), &any, false),
            (&any, &method("GET"), true),
            (&header(None), &header(Some("1")), true),
            (&header(Some("1")), &header(None), false),
            (&header(Some("1")), &header(Some("2")), false),
        ] {
            assert_eq!(covers(a, b), wanted, "{a:?} {b:?}");
        }
    }
}
