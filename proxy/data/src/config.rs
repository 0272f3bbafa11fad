//! What a gateway is told: resolved, with defaults, so that nothing in it can be invalid.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use sluice_engine::{CodingLimits, OnError, Ruleset};
use sluice_policy::Access;

/// Everything a gateway needs to start.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where it listens; port 0: one that is free, the same for all shards.
    pub listen: SocketAddr,
    /// Where everything goes.
    pub upstream: UpstreamUrl,
    /// What is masked, both ways.
    pub ruleset: Arc<Ruleset>,
    /// Who may call.
    pub access: Access,
    /// Threads, each pinned to a core; default: one a core.
    pub shards: usize,
    /// How shards do I/O.
    pub io: IoDriver,
    /// Certificate and key of the listener; none: plain HTTP.
    pub downstream_tls: Option<TlsFiles>,
    /// Roots that are trusted for `https` upstreams, in place of the system's.
    pub upstream_ca: Option<PathBuf>,
    /// How bodies are masked.
    pub masking: Masking,
    /// Limits and timeouts.
    pub limits: Limits,
}

impl GatewayConfig {
    /// A configuration with the defaults.
    #[must_use]
    pub fn new(listen: SocketAddr, upstream: UpstreamUrl, ruleset: Arc<Ruleset>, access: Access) -> Self {
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        GatewayConfig {
            listen,
            upstream,
            ruleset,
            access,
            shards,
            io: IoDriver::Auto,
            downstream_tls: None,
            upstream_ca: None,
            masking: Masking::default(),
            limits: Limits::default(),
        }
    }
}

/// How bodies are masked, both ways.
#[derive(Clone, Copy, Debug, Default)]
pub struct Masking {
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

/// Files of a TLS listener.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// PEM: the certificate, then its chain.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
}

/// How shards do I/O.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IoDriver {
    /// io_uring where the kernel allows it, else epoll.
    Auto,
    /// io_uring, or no start.
    Uring,
    /// epoll.
    Epoll,
}

impl fmt::Display for IoDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            IoDriver::Auto => "auto",
            IoDriver::Uring => "uring",
            IoDriver::Epoll => "epoll",
        })
    }
}

/// Limits and timeouts of a gateway. Memory: a connection holds at most two read buffers of
/// [`Limits::READ_BYTES`], two heads, the masked output of one read, and what its two bodies hold back; and for each
/// coded body, of which there are [`Limits::coded_bodies_max`], the windows that [`Masking::coding_limits`] allows.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a head, request or response. 64 KiB: cookies and tokens are large.
    pub head_bytes_max: usize,
    /// Fields of a head.
    pub fields_max: usize,
    /// Bytes of a request target.
    pub target_bytes_max: usize,
    /// Bytes of a request's body; none: no limit, for bodies are never held whole.
    pub body_bytes_max: Option<u64>,
    /// Bodies with content codings that a shard has in work at once, requests and responses; one more is refused with
    /// 503, for their windows are the most memory that a client can ask for.
    pub coded_bodies_max: usize,
    /// Connections a shard serves at once; one more is refused with 503.
    pub connections_max: usize,
    /// Idle upstream connections a shard keeps.
    pub pool_idle_max: usize,
    /// Milliseconds an upstream connection may be idle in the pool.
    pub pool_idle_ms_max: u64,
    /// Milliseconds a client's connection may be idle between requests.
    pub idle_ms_max: u64,
    /// Milliseconds from a request's first byte to the end of its head.
    pub head_ms_max: u64,
    /// Milliseconds between two reads of a body.
    pub body_ms_max: u64,
    /// Milliseconds a write may take.
    pub write_ms_max: u64,
    /// Milliseconds to connect to the upstream, TLS included.
    pub upstream_connect_ms_max: u64,
    /// Milliseconds from the request to the upstream's head: models think long.
    pub upstream_head_ms_max: u64,
    /// Interim responses (1xx) before the final one.
    pub interim_max: usize,
}

impl Limits {
    /// Bytes read at once.
    pub const READ_BYTES: usize = 16 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            head_bytes_max: 64 * 1024,
            fields_max: 128,
            target_bytes_max: 16 * 1024,
            body_bytes_max: None,
            coded_bodies_max: 4 * 1024,
            connections_max: 16 * 1024,
            pool_idle_max: 64,
            pool_idle_ms_max: 30_000,
            idle_ms_max: 75_000,
            head_ms_max: 15_000,
            body_ms_max: 60_000,
            write_ms_max: 60_000,
            upstream_connect_ms_max: 10_000,
            upstream_head_ms_max: 600_000,
            interim_max: 8,
        }
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
