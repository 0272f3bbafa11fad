//! What a gateway is told: resolved, with defaults, so that nothing in it can be invalid.

mod limits;
mod listener;
mod network;
mod route;
mod upstream;

use std::fmt;
use std::sync::Arc;

use sluice_policy::Access;

use crate::desk::Desk;
use crate::edge::recording::Recording;

pub use limits::Limits;
pub use listener::{ListenAddress, ListenerConfig};
pub use network::{IpNetwork, IpNetworkError};
pub use route::{
    Concurrency, HeaderMatch, Masking, PathMatch, RateBy, RateLimit, ResponseCoding, RouteConfig,
    RouteLimits, RouteMatch,
};
pub use upstream::{
    EndpointAddress, HealthCheck, HealthConfig, PoolLimits, RetryConfig, UpstreamConfig, UpstreamProtocol,
    UpstreamUrl, UpstreamUrlError,
};

/// Everything a gateway needs to start.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// Where clients connect; at least one. Their addresses stay while the gateway runs.
    pub listeners: Vec<ListenerConfig>,
    /// Where requests go.
    pub routing: Routing,
    /// Who may call.
    pub access: Access,
    /// Threads, each pinned to a core; default: one a core. Stays while the gateway runs.
    pub shards: usize,
    /// How shards do I/O. Stays while the gateway runs.
    pub io: IoDriver,
    /// Limits and timeouts of connections.
    pub limits: Limits,
    /// Where requests are decided; none: all go on, masked. Stays while the gateway runs.
    pub desk: Option<Arc<Desk>>,
    /// Where exchanges are recorded; none: nowhere. Stays while the gateway runs.
    pub recording: Option<Recording>,
}

/// Where requests go: what a running gateway can be given anew.
#[derive(Clone, Debug)]
pub struct Routing {
    /// Upstreams, by index.
    pub upstreams: Vec<UpstreamConfig>,
    /// Routes; the first that matches takes a request.
    pub routes: Vec<RouteConfig>,
}

impl Routing {
    /// One route and one upstream for everything.
    #[must_use]
    pub fn everything_to(upstream: UpstreamConfig, route: RouteConfig) -> Routing {
        Routing { upstreams: vec![upstream], routes: vec![route] }
    }
}

impl GatewayConfig {
    /// A configuration with the defaults.
    #[must_use]
    pub fn new(listener: ListenerConfig, routing: Routing, access: Access) -> Self {
        let shards = std::thread::available_parallelism().map_or(1, usize::from);
        GatewayConfig {
            listeners: vec![listener],
            routing,
            access,
            shards,
            io: IoDriver::Auto,
            limits: Limits::default(),
            desk: None,
            recording: None,
        }
    }
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
