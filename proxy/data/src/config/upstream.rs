//! Where requests go: endpoints, how they are reached, and how their health is told.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::tls::ClientTls;

/// One upstream: endpoints that answer alike.
#[derive(Clone, Debug)]
pub struct UpstreamConfig {
    /// Its name in routes, logs, metrics and policies.
    pub name: String,
    /// At least one.
    pub endpoints: Vec<EndpointAddress>,
    /// The value of `Host` and `:authority`, and the name that certificates must prove; port and all.
    pub authority: String,
    /// Path that goes before every request's: empty, or `/…` without a slash at the end.
    pub base: String,
    /// Roots, and the certificate shown; none: plain.
    pub tls: Option<ClientTls>,
    /// Which version of HTTP is spoken.
    pub protocol: UpstreamProtocol,
    /// Connections to it.
    pub pool: PoolLimits,
    /// When an endpoint is left out.
    pub health: HealthConfig,
    /// When a request is sent again.
    pub retry: RetryConfig,
}

impl UpstreamConfig {
    /// One endpoint with the defaults. `tls` is for `https`.
    #[must_use]
    pub fn new(name: impl Into<String>, url: &UpstreamUrl, tls: Option<ClientTls>) -> UpstreamConfig {
        UpstreamConfig {
            name: name.into(),
            endpoints: vec![EndpointAddress::Tcp { host: url.host.clone(), port: url.port }],
            authority: url.authority(),
            base: url.base.clone(),
            tls: if url.is_tls { tls } else { None },
            protocol: UpstreamProtocol::Auto,
            pool: PoolLimits::default(),
            health: HealthConfig::default(),
            retry: RetryConfig::default(),
        }
    }

    /// Whether connections to one are as good as connections to the other.
    pub(crate) fn is_alike(&self, other: &UpstreamConfig) -> bool {
        let plain = |one: &UpstreamConfig| {
            let UpstreamConfig { name, endpoints, authority, base, tls: _, protocol, pool, health, retry } =
                one;
            let named = (name.clone(), endpoints.clone(), authority.clone(), base.clone());
            (named, *protocol, *pool, health.clone(), *retry)
        };
        let same_tls = match (&self.tls, &other.tls) {
            (None, None) => true,
            (Some(one), Some(other)) => one.is_alike(other),
            (Some(_), None) | (None, Some(_)) => false,
        };
        same_tls && plain(self) == plain(other)
    }

    /// The authority without its port and brackets.
    pub(crate) fn host(&self) -> &str {
        let host = match self.authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) => host,
            Some(_) | None => &self.authority,
        };
        host.trim_start_matches('[').trim_end_matches(']')
    }
}

/// Where an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EndpointAddress {
    /// A name or an address without brackets, and a port. Every address of a name takes its share.
    Tcp {
        /// Name or address.
        host: String,
        /// Port.
        port: u16,
    },
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for EndpointAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EndpointAddress::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            EndpointAddress::Tcp { host, port } => write!(f, "{host}:{port}"),
            EndpointAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Which version of HTTP an upstream is spoken to with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum UpstreamProtocol {
    /// HTTP/2 where ALPN gives it; HTTP/1.1 else, but for gRPC, which is HTTP/2 with prior knowledge.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, with prior knowledge where there is no TLS.
    Http2,
}

/// Connections to an upstream, of each shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PoolLimits {
    /// Connections to an endpoint; a request that needs one more is refused with 503.
    pub connections_max: usize,
    /// Idle connections kept.
    pub idle_max: usize,
    /// Milliseconds a connection may be idle.
    pub idle_ms_max: u64,
    /// Milliseconds to connect, TLS included.
    pub connect_ms_max: u64,
}

impl Default for PoolLimits {
    fn default() -> Self {
        PoolLimits { connections_max: 16 * 1024, idle_max: 64, idle_ms_max: 30_000, connect_ms_max: 10_000 }
    }
}

/// When an endpoint is left out. Where all would be, all are tried: a fault of the check must not be an outage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthConfig {
    /// Faults in a row (no connection, no answer, 502, 503, 504) after which an endpoint is left out; 0: never.
    pub faults_max: u32,
    /// Milliseconds that it is left out at first; twice as long each time again.
    pub out_ms: u64,
    /// The longest such time.
    pub out_ms_max: u64,
    /// Requests to ask it with; none: it is judged by its exchanges only.
    pub check: Option<HealthCheck>,
}

impl Default for HealthConfig {
    fn default() -> Self {
        HealthConfig { faults_max: 5, out_ms: 5_000, out_ms_max: 300_000, check: None }
    }
}

/// A `GET` that tells whether an endpoint is well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// Path; a status from 200 to 399 is well.
    pub path: String,
    /// Milliseconds between two.
    pub every_ms: u64,
    /// Milliseconds to the answer.
    pub ms_max: u64,
    /// Answers in a row that bring an endpoint in again.
    pub rises: u32,
    /// Faults in a row that leave it out.
    pub falls: u32,
}

/// When a request is sent again: only where nothing of it was sent, or its method is idempotent (RFC 9110, section
/// 9.2.2), it has no body, and nothing of an answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryConfig {
    /// Times that a request is sent again.
    pub retries_max: u32,
    /// Percent of an upstream's requests that may be retries, so that retries can't bring down what is slow; ten
    /// are always free.
    pub budget_percent: u32,
    /// Exchanges at once that an upstream gets from each shard; one more is refused with 503. It breaks the circuit
    /// before a slow upstream takes all memory.
    pub exchanges_max: usize,
}

impl Default for RetryConfig {
    fn default() -> Self {
        RetryConfig { retries_max: 2, budget_percent: 20, exchanges_max: 16 * 1024 }
    }
}

/// Where an upstream is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// `https`.
    pub is_tls: bool,
    /// Name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path that goes before every request's: empty, or `/…` without a slash at the end.
    pub base: String,
}

/// Why a text is no upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UpstreamUrlError(&'static str);

impl fmt::Display for UpstreamUrlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: an upstream is http://HOST[:PORT][/PATH] or https://…", self.0)
    }
}

impl std::error::Error for UpstreamUrlError {}

impl FromStr for UpstreamUrl {
    type Err = UpstreamUrlError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (scheme, rest) = text.split_once("://").ok_or(UpstreamUrlError("no scheme"))?;
        let is_tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(UpstreamUrlError("another scheme than http or https")),
        };
        let at = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if path.contains(['?', '#']) {
            return Err(UpstreamUrlError("a query or fragment"));
        }
        if authority.contains('@') {
            return Err(UpstreamUrlError("credentials in the address"));
        }
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, rest) = v6.split_once(']').ok_or(UpstreamUrlError("no `]`"))?;
                (host, rest.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(text) => text.parse().map_err(|_| UpstreamUrlError("the port is not a number"))?,
            None if is_tls => 443,
            None => 80,
        };
        let valid = |b: u8| b.is_ascii_alphanumeric() || b"-._:%".contains(&b);
        if host.is_empty() || !host.bytes().all(valid) {
            return Err(UpstreamUrlError("no valid host"));
        }
        if path.bytes().any(|b| b <= b' ' || b >= 0x7F) {
            return Err(UpstreamUrlError("a path with spaces or letters that must be encoded"));
        }
        let base = path.trim_end_matches('/').to_owned();
        Ok(UpstreamUrl { is_tls, host: host.to_owned(), port, base })
    }
}

impl UpstreamUrl {
    /// The value of `Host` for it.
    #[must_use]
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        match (self.is_tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn upstream_urls() {
        for (text, shown) in [
            ("http://h", "http://h"),
            ("HTTPS://api.example.com:8443/v1/", "https://api.example.com:8443/v1"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ] {
            assert_eq!(text.parse::<UpstreamUrl>().unwrap().to_string(), shown);
        }
        for text in [
            "h",
            "ftp://h",
            "http://",
            "http://h:x",
            "http://u:p@h",
            "http://h/?q",
            "http://h h",
            "http://[::1",
            "http://h/a b",
        ] {
            assert!(text.parse::<UpstreamUrl>().is_err(), "{text}");
        }
    }
}
