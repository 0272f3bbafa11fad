//! Which requests go to which upstream, and how they are masked on the way.

use std::sync::Arc;

use sluice_engine::{CodingLimits, OnError, Ruleset};

use crate::forwarded::ForwardedFields;

/// One route. The first one that a request matches takes it; a request that matches none is refused with 404.
#[derive(Clone, Debug)]
pub struct RouteConfig {
    /// Its name in logs, metrics and policies.
    pub name: String,
    /// Which requests it takes.
    pub matches: RouteMatch,
    /// Index of its upstream in [`Routing::upstreams`](super::Routing::upstreams).
    pub upstream: usize,
    /// What is masked, both ways.
    pub ruleset: Arc<Ruleset>,
    /// How bodies are masked.
    pub masking: Masking,
    /// Limits and timeouts of its exchanges.
    pub limits: RouteLimits,
    /// What the upstream is told of clients.
    pub forwarded: ForwardedFields,
}

impl RouteConfig {
    /// A route for every request, with the defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, upstream: usize, ruleset: Arc<Ruleset>) -> RouteConfig {
        RouteConfig {
            name: name.into(),
            matches: RouteMatch::default(),
            upstream,
            ruleset,
            masking: Masking::default(),
            limits: RouteLimits::default(),
            forwarded: ForwardedFields::default(),
        }
    }
}

/// Conditions of a route, all of which must hold; an empty list holds always.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteMatch {
    /// Host names without port, in lower case; `*.example.com` for every name below.
    pub hosts: Vec<String>,
    /// The path without query.
    pub path: PathMatch,
    /// Methods, case-sensitive (RFC 9110, section 9.1).
    pub methods: Vec<String>,
    /// Fields of the request.
    pub headers: Vec<HeaderMatch>,
}

/// A condition on the path, compared byte by byte after dot segments and needless percent-encoding are taken out
/// (RFC 3986, section 6.2.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathMatch {
    /// This path.
    Exact(String),
    /// This path and everything below it, segment by segment: `/v1` takes `/v1` and `/v1/x`, not `/v10`.
    Prefix(String),
}

impl Default for PathMatch {
    fn default() -> PathMatch {
        PathMatch::Prefix("/".to_owned())
    }
}

/// A condition on a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderMatch {
    /// Its name, in lower case.
    pub name: String,
    /// Its whole value; none: that the field is there.
    pub value: Option<String>,
}

/// How bodies are masked, both ways.
#[derive(Clone, Copy, Debug, Default)]
pub struct Masking {
    /// Bodies and fields go on as they are, counted as passed with the reason `off`. Only for routes whose data must
    /// not be touched, and to measure what masking costs. Default: they are masked.
    pub is_off: bool,
    /// What happens to a body that is not valid in its declared format. Default: nothing more of it leaves.
    pub on_error: OnError,
    /// How a response leaves that came with content codings. Default: with the same.
    pub response_coding: ResponseCoding,
    /// How much a coded body may give. Default: 250 bytes a byte, the first MiB free, windows of 16 MiB; the last is
    /// the memory of each coding of a body, of which there are at most three.
    pub coding_limits: CodingLimits,
}

/// How a response leaves that came with content codings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ResponseCoding {
    /// With the same; without, where the client takes no such coding.
    #[default]
    Same,
    /// Without, where the client takes that; and that is what the upstream is asked for. It costs less time and more
    /// network.
    Identity,
}

/// Limits and timeouts of a route's exchanges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLimits {
    /// Bytes of a request's body; none: no limit, for bodies are never held whole.
    pub body_bytes_max: Option<u64>,
    /// Milliseconds between two reads of a request's body.
    pub body_ms_max: u64,
    /// Milliseconds from the request to the upstream's head, and between two reads of its body: models think long.
    pub upstream_ms_max: u64,
    /// Requests in a time; none: no limit.
    pub rate: Option<RateLimit>,
    /// Exchanges at once; none: no limit.
    pub concurrency: Option<Concurrency>,
}

impl Default for RouteLimits {
    fn default() -> Self {
        RouteLimits {
            body_bytes_max: None,
            body_ms_max: 60_000,
            upstream_ms_max: 600_000,
            rate: None,
            concurrency: None,
        }
    }
}

/// How many requests come in a time; one more is refused with 429 and `Retry-After`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests …
    pub requests: u32,
    /// … in this many milliseconds.
    pub window_ms: u64,
    /// Requests that may come at once. At least 1.
    pub burst: u32,
    /// Whose requests are counted together.
    pub by: RateBy,
}

/// Whose requests are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RateBy {
    /// All of the route.
    Route,
    /// Those of one subject: the identity that was proved, else the client's address.
    Subject,
}

/// How many exchanges of a route run at once. Counted by each shard for itself: a shard runs its share, at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Concurrency {
    /// Exchanges of all shards together.
    pub exchanges_max: u32,
    /// Requests that may wait for a place, of all shards together; one more is refused with 503.
    pub queue_max: u32,
    /// Milliseconds that one may wait; then it is refused with 503.
    pub queue_ms_max: u64,
}
