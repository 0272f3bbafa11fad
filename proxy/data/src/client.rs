//! What is known of who is at the other end of a connection: facts, told by the socket, the PROXY protocol and the listener.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use crate::codec::head::{HeadLimits, HeadRules};
use crate::config::ListenerConfig;
use crate::tls::PeerIdentity;

/// The client of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// Who connected, or for whom the proxy in between did; none on a Unix socket, and where the proxy does not tell.
    pub(crate) peer: Option<SocketAddr>,
    /// The proxy in between, where it told of the client by the PROXY protocol.
    pub(crate) via: Option<SocketAddr>,
    /// Its certificate, where it showed one that was verified.
    pub(crate) certificate: Option<Arc<PeerIdentity>>,
    /// As it was when the connection was accepted.
    pub(crate) listener: ListenerConfig,
}

impl Client {
    /// Who connected without a proxy in between.
    pub(crate) fn new(peer: Option<SocketAddr>, listener: ListenerConfig) -> Client {
        Client { peer, via: None, certificate: None, listener }
    }

    /// The connection is over TLS.
    pub(crate) fn is_tls(&self) -> bool {
        self.listener.tls.is_some()
    }

    /// What it says of others is believed.
    pub(crate) fn is_trusted(&self) -> bool {
        self.peer.is_some_and(|peer| self.trusts(peer.ip()))
    }

    /// What `address` says of others is believed.
    pub(crate) fn trusts(&self, address: IpAddr) -> bool {
        self.listener.trusted.iter().any(|network| network.contains(address))
    }

    /// What of requests is taken from it.
    pub(crate) fn head_rules(&self, limits: HeadLimits) -> HeadRules {
        let ListenerConfig { absolute_form, connect, .. } = self.listener;
        HeadRules { limits, absolute_form, connect }
    }
}
