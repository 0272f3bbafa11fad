//! The control pool: the admin server with health, metrics and the console.
//!
//! It runs on tokio, apart from the shards; it reads their counters and never stands in the way of traffic.
#![forbid(unsafe_code)]

mod admin;
mod console;
mod metrics;

pub use admin::{Admin, AdminError, Readiness};
