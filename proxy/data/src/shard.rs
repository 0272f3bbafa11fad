//! A shard: one pinned thread that accepts connections and serves them, sharing nothing but the ruleset.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::task::Poll;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use sluice_audit::RequestIds;
use sluice_engine::Scratch;

use crate::config::{IoDriver, Limits, ListenerConfig};
use crate::desk::{Desk, RulingCache};
use crate::edge::connection::{Listener, Reader, Stream, Writer};
use crate::edge::exchange::SessionContext;
use crate::edge::http2::{self, server::Opening};
use crate::edge::recording::Recording;
use crate::edge::signal::Signal;
use crate::edge::upstreams::Upstreams;
use crate::edge::{health, http1, proxy_protocol};
use crate::mask::CodedPlaces;
use crate::problem::Problem;
use crate::stats::ShardStats;
use crate::table::Table;

/// How often a shard looks whether it is to drain.
const TICK: Duration = Duration::from_millis(20);
/// Entries of the io_uring.
const URING_ENTRIES: u32 = 1024;

/// What a shard is started with.
pub(crate) struct ShardConfig {
    pub(crate) number: u16,
    /// One a listener, in the order of `listeners`.
    pub(crate) sockets: Vec<ListenSocket>,
    pub(crate) listeners: Arc<ArcSwap<Vec<ListenerConfig>>>,
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) limits: Limits,
    pub(crate) desk: Option<Arc<Desk>>,
    pub(crate) recording: Option<Recording>,
    pub(crate) control: Arc<ShardControl>,
    pub(crate) seed: u64,
    /// How many there are.
    pub(crate) shards: usize,
}

/// A socket that listens, not yet known to a runtime.
#[derive(Debug)]
pub(crate) enum ListenSocket {
    Tcp(std::net::TcpListener),
    Unix(std::os::unix::net::UnixListener),
}

/// What the gateway tells its shards.
#[derive(Debug, Default)]
pub(crate) struct ShardControl {
    pub(crate) draining: AtomicBool,
    /// Milliseconds after `since` at which what is left is given up; 0: not set.
    pub(crate) deadline_ms: AtomicU64,
}

/// True when the kernel lets this process use io_uring.
pub(crate) fn has_uring() -> bool {
    monoio::utils::detect_uring()
}

/// Runs a shard to its end on this thread. `started` gets whether it accepts connections, or why it does not.
///
/// Gives the number of connections that were given up at the deadline.
pub(crate) fn run(
    config: ShardConfig,
    io: IoDriver,
    since: Instant,
    started: &Sender<std::io::Result<()>>,
) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A shard that can't be pinned works all the same.
    let _ = monoio::utils::bind_to_cpu_set([usize::from(config.number) % cores]);
    let failed = |e: std::io::Error| {
        // The receiver is there until every shard has answered.
        let _ = started.send(Err(e));
        0
    };
    match io {
        IoDriver::Uring | IoDriver::Auto => {
            let runtime =
                RuntimeBuilder::<IoUringDriver>::new().with_entries(URING_ENTRIES).enable_timer().build();
            match runtime {
                Ok(mut runtime) => runtime.block_on(serve_all(config, since, started)),
                Err(e) => failed(e),
            }
        }
        IoDriver::Epoll => match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
            Ok(mut runtime) => runtime.block_on(serve_all(config, since, started)),
            Err(e) => failed(e),
        },
    }
}

async fn serve_all(config: ShardConfig, since: Instant, started: &Sender<std::io::Result<()>>) -> u64 {
    let listening: std::io::Result<Vec<Listener>> =
        config.sockets.into_iter().map(Listener::from_socket).collect();
    let listening = match listening {
        Ok(listening) => listening,
        Err(e) => {
            let _ = started.send(Err(e));
            return 0;
        }
    };
    let drain = Signal::default();
    let open = Rc::new(Cell::new(0u64));
    let context = Rc::new(SessionContext {
        table: config.table,
        upstreams: Upstreams::new(Arc::clone(&config.stats), config.limits, config.seed, config.shards),
        places: CodedPlaces::new(config.limits.coded_bodies_max),
        rulings: RulingCache::new(config.desk.as_ref().map_or(0, |desk| desk.config().cached_max)).into(),
        desk: config.desk,
        recording: config.recording,
        held_bytes: Cell::new(0),
        limits: config.limits,
        stats: config.stats,
        scratch: Scratch::new().into(),
        ids: RequestIds::new(config.number, config.seed).into(),
        drain: drain.clone(),
        since,
    });
    for (number, listener) in listening.into_iter().enumerate() {
        let door = Door { number, listeners: Arc::clone(&config.listeners), open: Rc::clone(&open) };
        monoio::spawn(accept_loop(listener, door, Rc::clone(&context)));
    }
    monoio::spawn(health::watch(Rc::clone(&context)));
    let _ = started.send(Ok(()));
    tick(&config.control, &context).await;
    while open.get() > 0 {
        let deadline = config.control.deadline_ms.load(Ordering::Relaxed);
        if deadline > 0 && since.elapsed().as_millis() as u64 >= deadline {
            break;
        }
        monoio::time::sleep(TICK).await;
    }
    open.get()
}

/// One listener as one shard sees it.
struct Door {
    /// Its place among the listeners.
    number: usize,
    listeners: Arc<ArcSwap<Vec<ListenerConfig>>>,
    /// Connections of the shard that are open.
    open: Rc<Cell<u64>>,
}

async fn accept_loop(listener: Listener, door: Door, context: Rc<SessionContext>) {
    while let Some(stream) = accept(&listener, &context.drain).await {
        let Ok((stream, peer)) = stream else {
            // Out of descriptors, most likely: those that are open will end.
            monoio::time::sleep(TICK).await;
            continue;
        };
        // What a reload changes of a listener holds for new connections.
        let Some(config) = door.listeners.load().get(door.number).cloned() else { return };
        ShardStats::count(&context.stats.connections_accepted, 1);
        door.open.set(door.open.get() + 1);
        ShardStats::count(&context.stats.connections_open, 1);
        let (context, open) = (Rc::clone(&context), Rc::clone(&door.open));
        monoio::spawn(async move {
            let is_over = open.get() > context.limits.connections_max as u64;
            let stats = Arc::clone(&context.stats);
            guarded(connection(context, stream, peer, config, is_over), &stats).await;
            open.set(open.get() - 1);
            stats.connections_open.fetch_sub(1, Ordering::Relaxed);
        });
    }
}

/// The next connection; `None` once the shard drains.
async fn accept(
    listener: &Listener,
    drain: &Signal,
) -> Option<std::io::Result<(Stream, Option<SocketAddr>)>> {
    let mut accepted = pin!(listener.accept());
    let mut drained = pin!(drain.wait());
    poll_fn(|cx| {
        if let Poll::Ready(result) = accepted.as_mut().poll(cx) {
            return Poll::Ready(Some(result));
        }
        drained.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Looks at what the gateway tells, and at idle upstream connections, until the shard drains.
async fn tick(control: &ShardControl, context: &SessionContext) {
    let mut ticks = 0u64;
    while !control.draining.load(Ordering::Relaxed) {
        monoio::time::sleep(TICK).await;
        ticks += 1;
        if ticks.is_multiple_of(50) {
            context.upstreams.sweep();
        }
    }
    context.upstreams.clear();
    context.drain.set();
}

async fn connection(
    context: Rc<SessionContext>,
    stream: Stream,
    peer: Option<SocketAddr>,
    config: ListenerConfig,
    is_over: bool,
) {
    let admitted = proxy_protocol::admit(stream, peer, config, context.limits.head_ms_max).await;
    let Some((stream, mut client)) = admitted else { return };
    let socket = stream.as_raw_fd();
    let handshake = stream.split_server(client.listener.tls.as_ref());
    let limit = Duration::from_millis(context.limits.head_ms_max);
    let Ok(Ok((read, write, agreed))) = monoio::time::timeout(limit, handshake).await else { return };
    let (mut reader, mut writer) = (Reader::new(read), Writer::new(write, context.limits.write_ms_max));
    let is_agreed = agreed.alpn.as_deref() == Some(http2::ALPN);
    client.certificate = match agreed.certificate() {
        Ok(certificate) => certificate,
        Err(problem) => {
            http1::turn_away(&context, &mut reader, &mut writer, &problem).await;
            return;
        }
    };
    if is_over && !is_agreed {
        http1::turn_away(&context, &mut reader, &mut writer, &Problem::OVERLOADED).await;
        return;
    }
    match if is_agreed { Opening::Http2 } else { http2::server::opening(&context, &mut reader).await } {
        Opening::Http1 => http1::serve(context, client, reader, writer, socket).await,
        Opening::Http2 => http2::server::serve(context, client, reader, writer, is_over).await,
        Opening::Late => {
            let problem = Problem::bad_request(408, "the preface of HTTP/2 did not come in time");
            http1::turn_away(&context, &mut reader, &mut writer, &problem).await;
        }
        Opening::Gone => {}
    }
}

/// Runs a session; a panic ends it, closes its connection and is counted.
pub(crate) async fn guarded(session: impl Future<Output = ()>, stats: &ShardStats) {
    let mut session = Box::pin(session);
    poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| session.as_mut().poll(cx))) {
        Ok(poll) => poll,
        Err(_) => {
            ShardStats::count(&stats.panics, 1);
            Poll::Ready(())
        }
    })
    .await;
}
