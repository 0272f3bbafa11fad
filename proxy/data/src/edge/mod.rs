//! Sockets: all that names the runtime besides [`crate::shard`].

pub(crate) mod body;
pub(crate) mod connection;
pub(crate) mod exchange;
pub(crate) mod gate;
pub(crate) mod health;
pub(crate) mod http1;
pub(crate) mod http2;
pub(crate) mod proxy_protocol;
pub(crate) mod recording;
pub(crate) mod signal;
pub(crate) mod tunnel;
pub(crate) mod upstream;
pub(crate) mod upstreams;
pub(crate) mod websocket;
