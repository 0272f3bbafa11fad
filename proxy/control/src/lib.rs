//! The control pool: the configuration from its file, the admin server with health, metrics and the console.
//!
//! It runs on tokio, apart from the shards; it reads their counters and never stands in the way of traffic.
#![forbid(unsafe_code)]

mod admin;
mod config;
mod console;
pub mod credential;
pub mod identity;
pub mod keys;
mod metrics;
mod reload;
mod resolve;

pub use admin::{Admin, AdminError, Readiness};
pub use config::{
    Config, ConfigError, DRAIN_SECONDS, FILE_BYTES_MAX, Files, IdentityFiles, LISTENERS_MAX, ROUTES_MAX,
    UPSTREAMS_MAX,
};
pub use reload::{InForce, Reloads};
pub use resolve::{RETRY_MAX, ResolveError, TTL_MAX, TTL_MIN, keep_resolving};
