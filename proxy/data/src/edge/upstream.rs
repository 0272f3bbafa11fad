//! Connections to upstreams: made, pooled by the shard, checked before they are used again.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsRawFd, RawFd};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use monoio::net::{TcpStream, UnixStream};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::body::{Http1Sink, Sink, Source};
use super::connection::{IoFault, Reader, Stream, Writer};
use super::exchange::SessionContext;
use crate::codec::body::Framing;
use crate::codec::head::{ResponseHead, find_end, parse_response};
use crate::config::UpstreamConfig;
use crate::stats::ShardStats;
use crate::table::{Table, TargetAddress, UpstreamShared};

/// A connection to an upstream.
pub(crate) enum Upstream {
    Http1(Http1Upstream),
}

/// One that speaks HTTP/1.1.
pub(crate) struct Http1Upstream {
    reader: Reader,
    writer: Writer,
    fd: RawFd,
    /// It has served a request before.
    is_reused: bool,
}

impl Upstream {
    /// Where a request goes, and where its answer comes from.
    pub(crate) fn split(&mut self) -> (Sink<'_>, Answer<'_>) {
        match self {
            Upstream::Http1(one) => {
                let sink = Sink::Http1(Http1Sink::new(&mut one.writer, true));
                (sink, Answer::Http1 { reader: &mut one.reader, is_reused: one.is_reused })
            }
        }
    }
}

/// An answer that is to come.
pub(crate) enum Answer<'a> {
    Http1 { reader: &'a mut Reader, is_reused: bool },
}

/// Why an answer's head did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerFault {
    /// The connection was a pooled one and had been closed: nothing was received.
    Stale,
    /// The upstream broke off.
    Gone,
    TimedOut,
    /// It is no valid head.
    Invalid,
}

impl<'a> Answer<'a> {
    /// The head of the final response; interim ones are not forwarded. `request_done`: the clock of the answer starts
    /// when the request is whole.
    pub(crate) async fn head(
        &mut self,
        method: &str,
        context: &SessionContext,
        ms_max: u64,
        request_done: &Cell<bool>,
    ) -> Result<ResponseHead, AnswerFault> {
        match self {
            Answer::Http1 { reader, is_reused } => {
                http1_head(reader, *is_reused, method, context, ms_max, request_done).await
            }
        }
    }

    /// The body behind that head.
    pub(crate) fn body(self, framing: Framing) -> Source<'a> {
        match self {
            Answer::Http1 { reader, .. } => Source::http1(reader, framing),
        }
    }
}

async fn http1_head(
    reader: &mut Reader,
    is_reused: bool,
    method: &str,
    context: &SessionContext,
    ms_max: u64,
    request_done: &Cell<bool>,
) -> Result<ResponseHead, AnswerFault> {
    let limits = context.head_limits();
    let mut interim = 0;
    let mut received = false;
    loop {
        let end = find_end(reader.buffered(), &limits).map_err(|_| AnswerFault::Invalid)?;
        if let Some(end) = end {
            let bytes = reader.buffered().get(..end).unwrap_or_default();
            let head = parse_response(bytes, method, &limits).map_err(|_| AnswerFault::Invalid)?;
            reader.consume(end);
            match head.status {
                // Whoever did not ask for it refuses it.
                101 => return Ok(head),
                100..=199 if interim < context.limits.interim_max => interim += 1,
                100..=199 => return Err(AnswerFault::Invalid),
                _ => return Ok(head),
            }
            continue;
        }
        match reader.fill(ms_max).await {
            Ok(0) | Err(IoFault::Failed) if is_reused && !received => return Err(AnswerFault::Stale),
            Ok(0) | Err(IoFault::Failed) => return Err(AnswerFault::Gone),
            Ok(_) => received = true,
            Err(IoFault::TimedOut) if !request_done.get() => {}
            Err(IoFault::TimedOut) => return Err(AnswerFault::TimedOut),
        }
    }
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConnectFault {
    TimedOut,
    Unreachable,
}

/// The pools of one shard, one an upstream of the table in force.
pub(crate) struct Upstreams {
    stats: Arc<ShardStats>,
    write_ms_max: u64,
    pools: RefCell<(u64, Vec<Rc<Pool>>)>,
}

impl Upstreams {
    pub(crate) fn new(stats: Arc<ShardStats>, write_ms_max: u64) -> Upstreams {
        Upstreams { stats, write_ms_max, pools: RefCell::default() }
    }

    /// The pool of an upstream of `table`. Another table than the last one brings pools for what is new in it; those
    /// that stay keep their connections.
    pub(crate) fn pool(&self, table: &Table, upstream: usize) -> Option<Rc<Pool>> {
        let mut pools = self.pools.borrow_mut();
        if pools.0 < table.version() {
            let old = std::mem::take(&mut pools.1);
            let kept = |shared: &Arc<UpstreamShared>| {
                old.iter().find(|pool| Arc::ptr_eq(&pool.shared, shared)).map(Rc::clone)
            };
            let new = |shared: &Arc<UpstreamShared>| {
                Rc::new(Pool::new(Arc::clone(shared), self.write_ms_max, Arc::clone(&self.stats)))
            };
            pools.1 = table.upstreams().iter().map(|s| kept(s).unwrap_or_else(|| new(s))).collect();
            pools.0 = table.version();
        }
        let shared = table.upstreams().get(upstream)?;
        // An exchange that began before the table was changed has no pool of its upstream any more: it gets one of its
        // own, which ends with it.
        let kept = pools.1.iter().find(|pool| Arc::ptr_eq(&pool.shared, shared)).map(Rc::clone);
        let own = || Rc::new(Pool::new(Arc::clone(shared), self.write_ms_max, Arc::clone(&self.stats)));
        Some(kept.unwrap_or_else(own))
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        self.pools.borrow().1.iter().for_each(|pool| pool.sweep());
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        self.pools.borrow().1.iter().for_each(|pool| pool.idle.borrow_mut().clear());
    }
}

/// The connections of one shard to one upstream.
pub(crate) struct Pool {
    shared: Arc<UpstreamShared>,
    write_ms_max: u64,
    stats: Arc<ShardStats>,
    idle: RefCell<Vec<(Http1Upstream, Instant)>>,
    turn: Cell<usize>,
}

impl Pool {
    fn new(shared: Arc<UpstreamShared>, write_ms_max: u64, stats: Arc<ShardStats>) -> Pool {
        Pool { shared, write_ms_max, stats, idle: RefCell::default(), turn: Cell::new(0) }
    }

    pub(crate) fn config(&self) -> &UpstreamConfig {
        &self.shared.config
    }

    /// An idle connection that is still open, the one used last first.
    pub(crate) fn take_idle(&self) -> Option<Upstream> {
        let oldest = Duration::from_millis(self.config().pool.idle_ms_max);
        loop {
            let (mut upstream, since) = self.idle.borrow_mut().pop()?;
            if since.elapsed() < oldest && is_open(upstream.fd) {
                upstream.is_reused = true;
                ShardStats::count(&self.stats.upstream_reuses, 1);
                return Some(Upstream::Http1(upstream));
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, upstream: Upstream) {
        let Upstream::Http1(mut upstream) = upstream;
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.config().pool.idle_max && upstream.reader.buffered().is_empty() {
            upstream.reader.shrink();
            idle.push((upstream, Instant::now()));
        }
    }

    fn sweep(&self) {
        let oldest = Duration::from_millis(self.config().pool.idle_ms_max);
        self.idle.borrow_mut().retain(|(_, since)| since.elapsed() < oldest);
    }

    /// A new connection, to the first address in turn that takes one.
    pub(crate) async fn connect(&self) -> Result<Upstream, ConnectFault> {
        let addresses = self.shared.addresses();
        let turn = self.turn.get();
        self.turn.set(turn.wrapping_add(1));
        let ms_max = self.config().pool.connect_ms_max;
        let mut fault = ConnectFault::Unreachable;
        for n in 0..addresses.len() {
            let Some(address) = addresses.get((turn + n) % addresses.len()) else { continue };
            match monoio::time::timeout(Duration::from_millis(ms_max), self.connect_to(address)).await {
                Ok(Some(upstream)) => {
                    ShardStats::count(&self.stats.upstream_connects, 1);
                    return Ok(Upstream::Http1(upstream));
                }
                Ok(None) => {}
                Err(_) => fault = ConnectFault::TimedOut,
            }
        }
        ShardStats::count(&self.stats.upstream_errors, 1);
        Err(fault)
    }

    async fn connect_to(&self, address: &TargetAddress) -> Option<Http1Upstream> {
        let stream = match address {
            TargetAddress::Tcp(address) => Stream::tcp(TcpStream::connect_addr(*address).await.ok()?),
            TargetAddress::Unix(path) => Stream::Unix(UnixStream::connect(path).await.ok()?),
        };
        let fd = stream.as_raw_fd();
        let tls = self.config().tls.as_ref();
        let name = tls.and_then(|tls| tls.server_name()).unwrap_or(self.config().host());
        let (read, write) = stream.split_client(tls, name).await.ok()?;
        let writer = Writer::new(write, self.write_ms_max);
        Some(Http1Upstream { reader: Reader::new(read), writer, fd, is_reused: false })
    }
}

/// True when the peer has neither ended nor sent anything: a look at the socket that takes nothing from it.
fn is_open(fd: RawFd) -> bool {
    let mut byte = [0u8];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(fd, &mut byte, flags) == Err(Errno::EAGAIN)
}
