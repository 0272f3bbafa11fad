//! Sockets: all that names the runtime besides [`crate::shard`].

pub(crate) mod connection;
pub(crate) mod session;
pub(crate) mod signal;
pub(crate) mod upstream;
