//! The data plane: shards that take requests, mask both ways while the bytes flow, and pass them on.
//!
//! [`codec`] reads and writes HTTP/1.1 without I/O, `table` tells where a request goes, `content` tells how a body is to be read, `forward` decides what goes
//! on, `mask` decodes, masks and encodes a body as it passes, `edge` and
//! `shard` move bytes on monoio, [`Gateway`] starts and drains it all.
//!
//! # Invariants
//! * No byte of a body passes but through a [`sluice_engine::Masker`]; what can't be scanned is refused.
//! * A body that breaks off, on either side, never looks complete on the other.
//! * Nothing is buffered whole: a read at a time is decoded, masked, framed and written before the next read, so
//!   that a slow reader stops the reads from the other side.
#![forbid(unsafe_code)]

#[allow(dead_code, unused_imports, reason = "the edge takes it up")]
mod balance;
mod client;
pub mod codec;
mod config;
mod content;
pub mod desk;
mod edge;
mod forward;
mod forwarded;
mod gateway;
mod mask;
mod problem;
mod rate;
mod shard;
mod size;
mod stats;
mod table;
mod tls;

pub use config::{
    Concurrency, EndpointAddress, GatewayConfig, HeaderMatch, HealthCheck, HealthConfig, IoDriver, IpNetwork,
    IpNetworkError, Limits, ListenAddress, ListenerConfig, Masking, PathMatch, PoolLimits, RateBy, RateLimit,
    ResponseCoding, RetryConfig, RouteConfig, RouteLimits, RouteMatch, Routing, UpstreamConfig,
    UpstreamProtocol, UpstreamUrl, UpstreamUrlError,
};
pub use edge::recording::Recording;
pub use forwarded::ForwardedFields;
pub use gateway::{DrainReport, Gateway, ReloadError, StartError};
pub use problem::Problem;
pub use stats::{FIRST_BYTE_US, GatewayStats, REFUSALS, StatsSnapshot};
pub use tls::{
    ClientTls, ClientTlsFiles, IdentityError, PeerIdentity, ServerTls, ServerTlsFiles, TlsError, TlsFiles,
    TlsWarning,
};
