//! The control pool: the configuration from its file, the admin server with health, metrics and the console.
//!
//! It runs on tokio, apart from the shards; it reads their counters and never stands in the way of traffic.
#![forbid(unsafe_code)]

mod admin;
pub mod approvals;
mod config;
mod console;
pub mod credential;
mod decide;
pub mod identity;
pub mod keys;
mod metrics;
mod record;
mod recorder;
mod reload;
mod resolve;

pub use admin::{Admin, AdminError, Readiness};
pub use config::{
    Config, ConfigError, DRAIN_SECONDS, FILE_BYTES_MAX, Files, IdentityFiles, LISTENERS_MAX, ROUTES_MAX,
    RecordConfig, RecordLimits, SIGNING_KEY_FILE, UPSTREAMS_MAX,
};
pub use decide::{Pool, PoolError, QUESTIONS_MAX};
pub use record::{Filter, Index, IndexError, LIST_MAX, Session};
pub use recorder::{RecordError, RunningRecord};
pub use reload::{InForce, Reloads};
pub use resolve::{RETRY_MAX, ResolveError, TTL_MAX, TTL_MIN, keep_resolving};
