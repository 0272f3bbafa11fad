//! Connections to the upstream: made, pooled by the shard, checked before they are used again.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use monoio::net::TcpStream;
use monoio_rustls::TlsConnector;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::connection::{Reader, Writer, split_client, split_tcp};
use crate::config::{Limits, UpstreamConfig};
use crate::stats::ShardStats;

/// A connection to the upstream.
pub(crate) struct Upstream {
    pub(crate) reader: Reader,
    pub(crate) writer: Writer,
    fd: RawFd,
    /// It has served a request before.
    pub(crate) is_reused: bool,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFault {
    TimedOut,
    Unreachable,
}

/// The connections of one shard.
pub(crate) struct Pool {
    url: UpstreamConfig,
    addresses: Arc<ArcSwap<Vec<SocketAddr>>>,
    limits: Limits,
    stats: Arc<ShardStats>,
    idle: RefCell<Vec<(Upstream, Instant)>>,
    turn: Cell<usize>,
}

impl Pool {
    pub(crate) fn new(
        url: UpstreamConfig,
        addresses: Arc<ArcSwap<Vec<SocketAddr>>>,
        limits: Limits,
        stats: Arc<ShardStats>,
    ) -> Rc<Pool> {
        Rc::new(Pool { url, addresses, limits, stats, idle: RefCell::default(), turn: Cell::new(0) })
    }

    /// An idle connection that is still open, the one used last first.
    pub(crate) fn take_idle(&self) -> Option<Upstream> {
        let oldest = Duration::from_millis(self.url.pool.idle_ms_max);
        loop {
            let (mut upstream, since) = self.idle.borrow_mut().pop()?;
            if since.elapsed() < oldest && is_open(upstream.fd) {
                upstream.is_reused = true;
                ShardStats::count(&self.stats.upstream_reuses, 1);
                return Some(upstream);
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, mut upstream: Upstream) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.url.pool.idle_max && upstream.reader.buffered().is_empty() {
            upstream.reader.shrink();
            idle.push((upstream, Instant::now()));
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        let oldest = Duration::from_millis(self.url.pool.idle_ms_max);
        self.idle.borrow_mut().retain(|(_, since)| since.elapsed() < oldest);
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
    }

    /// A new connection, to the first address in turn that takes one.
    pub(crate) async fn connect(&self) -> Result<Upstream, ConnectFault> {
        let addresses = self.addresses.load_full();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let ms_max = self.url.pool.connect_ms_max;
        let mut fault = ConnectFault::Unreachable;
        for n in 0..addresses.len() {
            let Some(address) = addresses.get((turn + n) % addresses.len()) else { continue };
            match monoio::time::timeout(Duration::from_millis(ms_max), self.connect_to(*address)).await {
                Ok(Some(upstream)) => {
                    ShardStats::count(&self.stats.upstream_connects, 1);
                    return Ok(upstream);
                }
                Ok(None) => {}
                Err(_) => fault = ConnectFault::TimedOut,
            }
        }
        ShardStats::count(&self.stats.upstream_errors, 1);
        Err(fault)
    }

    async fn connect_to(&self, address: SocketAddr) -> Option<Upstream> {
        let stream = TcpStream::connect_addr(address).await.ok()?;
        // Small writes of a stream must not wait for each other; without it they still arrive.
        let _ = stream.set_nodelay(true);
        let fd = stream.as_raw_fd();
        let (read, write) = match &self.url.tls {
            None => split_tcp(stream),
            Some(tls) => {
                let name = tls.server_name().unwrap_or(self.url.host()).to_owned();
                let name = rustls::pki_types::ServerName::try_from(name).ok()?;
                let connector = TlsConnector::from(tls.config());
                split_client(connector.connect(name, stream).await.ok()?)
            }
        };
        let writer = Writer::new(write, self.limits.write_ms_max);
        Some(Upstream { reader: Reader::new(read), writer, fd, is_reused: false })
    }
}

/// True when the peer has neither ended nor sent anything: a look at the socket that takes nothing from it.
fn is_open(fd: RawFd) -> bool {
    let mut byte = [0u8];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(fd, &mut byte, flags) == Err(Errno::EAGAIN)
}
