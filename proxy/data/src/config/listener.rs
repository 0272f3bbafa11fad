//! Where clients connect.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::IpNetwork;
use crate::tls::ServerTls;

/// One listening socket a shard, all on one address.
#[derive(Clone, Debug)]
pub struct ListenerConfig {
    /// Its name in logs, metrics and policies.
    pub name: String,
    /// Where it listens.
    pub address: ListenAddress,
    /// Who may connect to a Unix socket, as chmod(1) says it. Default: its owner, and its group.
    pub mode: u32,
    /// Certificates; none: plain, HTTP/1.1 and HTTP/2 with prior knowledge.
    pub tls: Option<ServerTls>,
    /// Peers whose `Forwarded` and `X-Forwarded-*` are believed, and extended; those of others are dropped.
    pub trusted: Vec<IpNetwork>,
    /// A PROXY protocol header, version 1 or 2, stands before the first byte of every connection from a trusted peer;
    /// others are refused.
    pub proxy_protocol: bool,
    /// `CONNECT host:port` reaches upstreams by that name. Default: refused with 405.
    pub connect: bool,
    /// Targets in absolute form reach routes of that host even where `Host` names another. Default: refused with 400.
    pub absolute_form: bool,
}

impl ListenerConfig {
    /// The mode of a Unix socket where nothing else is said.
    pub const MODE: u32 = 0o660;

    /// A plain listener with the defaults.
    #[must_use]
    pub fn new(name: impl Into<String>, address: ListenAddress) -> ListenerConfig {
        ListenerConfig {
            name: name.into(),
            address,
            mode: ListenerConfig::MODE,
            tls: None,
            trusted: Vec::new(),
            proxy_protocol: false,
            connect: false,
            absolute_form: false,
        }
    }
}

/// Where a listener listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP; port 0: one that is free, the same for all shards.
    Tcp(SocketAddr),
    /// A Unix socket, made anew at the start and removed at the end.
    Unix(PathBuf),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}
