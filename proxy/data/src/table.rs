//! Where requests go: routes and upstreams, ready to be asked, shared by all shards and swapped as a whole.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;

use crate::balance::TargetAddress;
use crate::codec::head::RequestHead;
use crate::config::{EndpointAddress, PathMatch, RouteConfig, RouteMatch, Routing, UpstreamConfig};
use crate::rate::RateLimiter;

/// The routing in force.
#[derive(Debug)]
pub(crate) struct Table {
    version: u64,
    routes: Vec<Route>,
    upstreams: Vec<Arc<UpstreamShared>>,
}

/// A route, and what its exchanges share.
#[derive(Debug)]
pub(crate) struct Route {
    pub(crate) config: RouteConfig,
    pub(crate) rate: Option<Arc<RateLimiter>>,
}

/// An upstream, and what the shards share of it.
#[derive(Debug)]
pub(crate) struct UpstreamShared {
    pub(crate) config: UpstreamConfig,
    endpoints: Vec<EndpointShared>,
    /// Counts up with every change of the addresses.
    version: AtomicU64,
}

#[derive(Debug)]
struct EndpointShared {
    address: EndpointAddress,
    /// Where its name leads; written by whoever resolves it.
    resolved: ArcSwap<Vec<IpAddr>>,
}

impl Route {
    /// A rate limit that `old` has for the same route goes on where it stands.
    fn new(config: RouteConfig, old: Option<&Table>) -> Route {
        let rate = config.limits.rate.as_ref().map(|limit| {
            let same = old.and_then(|old| old.routes.iter().find(|route| route.config.name == config.name));
            let kept = same.and_then(|route| route.rate.clone()).filter(|rate| rate.limit() == limit);
            kept.unwrap_or_else(|| Arc::new(RateLimiter::new(limit)))
        });
        Route { config, rate }
    }
}

impl Table {
    /// A table of `routing`. Upstreams that are as in `old` are those of `old`, with their connections.
    pub(crate) fn new(routing: Routing, old: Option<&Table>) -> Table {
        let shared = |config: UpstreamConfig| {
            let kept = old.and_then(|old| old.upstreams.iter().find(|u| u.config.is_alike(&config)));
            kept.map_or_else(|| Arc::new(UpstreamShared::new(config, old)), Arc::clone)
        };
        Table {
            version: old.map_or(1, |old| old.version + 1),
            upstreams: routing.upstreams.into_iter().map(shared).collect(),
            routes: routing.routes.into_iter().map(|config| Route::new(config, old)).collect(),
        }
    }

    pub(crate) fn version(&self) -> u64 {
        self.version
    }

    pub(crate) fn upstreams(&self) -> &[Arc<UpstreamShared>] {
        &self.upstreams
    }

    pub(crate) fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The first route that takes a request, and its number.
    pub(crate) fn route(&self, head: &RequestHead) -> Option<(usize, &Route)> {
        let mut normal = None;
        let host = head.authority.as_deref().unwrap_or_default();
        self.routes.iter().enumerate().find(|(_, route)| {
            let matches = &route.config.matches;
            has_host(&matches.hosts, host)
                && (matches.methods.is_empty() || matches.methods.contains(&head.method))
                && (takes_all(&matches.path)
                    || has_path(&matches.path, normal.get_or_insert_with(|| normal_path(&head.target))))
                && has_headers(matches, head)
        })
    }
}

impl Table {
    /// Whether a route is for this host by name.
    pub(crate) fn names(&self, host: &str) -> bool {
        let names = |hosts: &[String]| !hosts.is_empty() && has_host(hosts, host);
        self.routes.iter().any(|route| names(&route.config.matches.hosts))
    }
}

fn takes_all(path: &PathMatch) -> bool {
    matches!(path, PathMatch::Prefix(prefix) if prefix == "/")
}

/// Names are compared without case, port and a dot at the end.
fn has_host(hosts: &[String], host: &str) -> bool {
    if hosts.is_empty() {
        return true;
    }
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        Some(_) | None => host,
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    hosts.iter().any(|wanted| match wanted.strip_prefix('*') {
        // At least one label stands for the star.
        Some(suffix) => {
            let cut = name.len().checked_sub(suffix.len()).filter(|cut| *cut > 0);
            cut.and_then(|cut| name.get(cut..)).is_some_and(|end| end.eq_ignore_ascii_case(suffix))
        }
        None => name.eq_ignore_ascii_case(wanted),
    })
}

fn has_path(wanted: &PathMatch, path: &str) -> bool {
    match wanted {
        PathMatch::Exact(exact) => path == exact,
        PathMatch::Prefix(prefix) => {
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
    }
}

fn has_headers(matches: &RouteMatch, head: &RequestHead) -> bool {
    matches.headers.iter().all(|wanted| match &wanted.value {
        None => head.fields.has(&wanted.name),
        Some(value) => head.fields.all(&wanted.name).any(|v| v == value.as_bytes()),
    })
}

/// The path of a target without its query, dot segments taken out and unreserved characters decoded (RFC 3986, sections
/// 5.2.4 and 6.2.2).
pub(crate) fn normal_path(target: &str) -> String {
    let path = target.split('?').next().unwrap_or_default();
    let mut decoded = String::with_capacity(path.len());
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let (before, code) = rest.split_at(at);
        decoded.push_str(before);
        let byte = code.get(1..3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match byte.filter(|b| b.is_ascii_alphanumeric() || b"-._~".contains(b)) {
            Some(byte) => {
                decoded.push(char::from(byte));
                rest = code.get(3..).unwrap_or_default();
            }
            None => {
                decoded.push('%');
                rest = code.get(1..).unwrap_or_default();
            }
        }
    }
    decoded.push_str(rest);
    without_dots(&decoded)
}

/// True when a path, decoded or not, has segments `.` or `..`: what it means depends on who reads it.
pub(crate) fn has_dot_segments(target: &str) -> bool {
    let path = target.split('?').next().unwrap_or_default();
    path.split('/').any(|segment| {
        let is_dot = |s: &str| matches!(s, "." | "..");
        is_dot(segment)
            || (segment.len() <= 6 && segment.contains('%') && {
                let plain = segment.replace("%2e", ".").replace("%2E", ".");
                is_dot(&plain)
            })
    })
}

fn without_dots(path: &str) -> String {
    if !path.contains("/.") {
        return path.to_owned();
    }
    let mut kept: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/').skip(1) {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    let mut out: String = kept.iter().flat_map(|segment| ["/", segment]).collect();
    if is_folder {
        out.push('/');
    }
    if out.is_empty() { "/".to_owned() } else { out }
}

impl UpstreamShared {
    /// Names that `old` knows have the addresses that they have there.
    fn new(config: UpstreamConfig, old: Option<&Table>) -> UpstreamShared {
        let known = |name: &str| -> Option<Arc<Vec<IpAddr>>> {
            let mut all = old?.upstreams.iter().flat_map(|upstream| &upstream.endpoints);
            let same = all.find(|e| matches!(&e.address, EndpointAddress::Tcp { host, .. } if host == name));
            same.map(|endpoint| endpoint.resolved.load_full())
        };
        let endpoint = |address: &EndpointAddress| {
            let resolved = match address {
                EndpointAddress::Tcp { host, .. } => match host.parse() {
                    Ok(literal) => Arc::new(vec![literal]),
                    Err(_) => known(host).unwrap_or_default(),
                },
                EndpointAddress::Unix(_) => Arc::default(),
            };
            EndpointShared { address: address.clone(), resolved: ArcSwap::new(resolved) }
        };
        let endpoints = config.endpoints.iter().map(endpoint).collect();
        UpstreamShared { config, endpoints, version: AtomicU64::new(1) }
    }

    /// The names of its endpoints that must be resolved.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().filter_map(|endpoint| match &endpoint.address {
            EndpointAddress::Tcp { host, .. } if host.parse::<IpAddr>().is_err() => Some(host.as_str()),
            EndpointAddress::Tcp { .. } | EndpointAddress::Unix(_) => None,
        })
    }

    /// Those of them that have no address yet.
    pub(crate) fn unresolved(&self) -> Vec<String> {
        let none = |e: &&EndpointShared| e.resolved.load().is_empty();
        let names = self.endpoints.iter().filter(none).filter_map(|e| match &e.address {
            EndpointAddress::Tcp { host, .. } => Some(host.clone()),
            EndpointAddress::Unix(_) => None,
        });
        names.collect()
    }

    /// Where a name leads from now on.
    pub(crate) fn set_addresses(&self, name: &str, addresses: &[IpAddr]) {
        for endpoint in &self.endpoints {
            if matches!(&endpoint.address, EndpointAddress::Tcp { host, .. } if host == name) {
                endpoint.resolved.store(Arc::new(addresses.to_vec()));
            }
        }
        self.version.fetch_add(1, Ordering::Release);
    }

    /// Which version [`UpstreamShared::targets`] are of, or an earlier one.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Where its endpoints are at this moment.
    pub(crate) fn targets(&self) -> Vec<TargetAddress> {
        let mut all = Vec::new();
        for endpoint in &self.endpoints {
            match &endpoint.address {
                EndpointAddress::Tcp { port, .. } => {
                    let resolved = endpoint.resolved.load();
                    all.extend(resolved.iter().map(|ip| TargetAddress::Tcp(SocketAddr::new(*ip, *port))));
                }
                EndpointAddress::Unix(path) => all.push(TargetAddress::Unix(path.clone())),
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_compared_as_rfc_3986_says() {
        for (target, path) in [
            ("/", "/"),
            ("/a/b?x=/../y", "/a/b"),
            ("/a/./b", "/a/b"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("/a/b/..", "/a/"),
            ("/../../a", "/a"),
            ("/a/%2e%2E/b", "/b"),
            ("/%61%2Fb", "/a%2Fb"),
            ("/a%", "/a%"),
            ("/a%zz%4", "/a%zz%4"),
            ("/...", "/..."),
            ("/a//b", "/a//b"),
            ("*", "*"),
        ] {
            assert_eq!(normal_path(target), path, "{target}");
        }
        for (target, has) in [
            ("/a/../b", true),
            ("/a/.", true),
            ("/%2e%2e/", true),
            ("/.%2E", true),
            ("/a?..", false),
            ("/a/...", false),
            ("/.well-known", false),
        ] {
            assert_eq!(has_dot_segments(target), has, "{target}");
        }
    }

    #[test]
    fn prefixes_end_at_segments() {
        let prefix = |p: &str| PathMatch::Prefix(p.to_owned());
        for (wanted, path, is) in [
            (prefix("/v1"), "/v1", true),
            (prefix("/v1"), "/v1/x", true),
            (prefix("/v1/"), "/v1/x", true),
            (prefix("/v1"), "/v10", false),
            (prefix("/"), "/x", true),
            (PathMatch::Exact("/v1".to_owned()), "/v1/", false),
        ] {
            assert_eq!(has_path(&wanted, path), is, "{wanted:?} {path}");
        }
    }

    #[test]
    fn hosts() {
        let hosts = |list: &[&str]| list.iter().map(|h| (*h).to_owned()).collect::<Vec<_>>();
        for (wanted, host, is) in [
            (hosts(&[]), "any", true),
            (hosts(&["api.example.com"]), "API.example.com:8443", true),
            (hosts(&["api.example.com"]), "api.example.com.", true),
            (hosts(&["api.example.com"]), "x.api.example.com", false),
            (hosts(&["*.example.com"]), "a.b.example.com", true),
            (hosts(&["*.example.com"]), "example.com", false),
            (hosts(&["*.example.com"]), ".example.com", false),
            (hosts(&["*.example.com"]), "badexample.com", false),
            (hosts(&["[::1]"]), "[::1]:80", true),
        ] {
            assert_eq!(has_host(&wanted, host), is, "{wanted:?} {host}");
        }
    }
}
