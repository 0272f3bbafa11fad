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
use monoio::net::{ListenerOpts, TcpListener, TcpStream};
use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use monoio_rustls::TlsAcceptor;
use sluice_audit::RequestIds;
use sluice_engine::{Ruleset, Scratch};

use crate::config::{IoDriver, Limits, RouteConfig, UpstreamConfig};
use crate::edge::connection::{Reader, Writer, split_server, split_tcp};
use crate::edge::session::{SessionContext, serve};
use crate::edge::signal::Signal;
use crate::edge::upstream::Pool;
use crate::mask::CodedPlaces;
use crate::problem::{self, Problem, Shape};
use crate::stats::ShardStats;

/// How often a shard looks whether it is to drain.
const TICK: Duration = Duration::from_millis(20);
/// Connections the kernel may hold for a shard before it accepts them.
const BACKLOG: i32 = 1024;
/// Entries of the io_uring.
const URING_ENTRIES: u32 = 1024;

/// What a shard is started with.
#[derive(Clone)]
pub(crate) struct ShardConfig {
    pub(crate) number: u16,
    pub(crate) listen: SocketAddr,
    pub(crate) upstream: UpstreamConfig,
    pub(crate) addresses: Arc<ArcSwap<Vec<SocketAddr>>>,
    pub(crate) ruleset: Arc<ArcSwap<Ruleset>>,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) route: RouteConfig,
    pub(crate) limits: Limits,
    pub(crate) downstream_tls: Option<Arc<rustls::ServerConfig>>,
    pub(crate) control: Arc<ShardControl>,
    pub(crate) seed: u64,
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

/// Runs a shard to its end on this thread. `bound` gets the address it listens on, or why it does not.
///
/// Gives the number of connections that were given up at the deadline.
pub(crate) fn run(
    config: ShardConfig,
    io: IoDriver,
    since: Instant,
    bound: &Sender<std::io::Result<SocketAddr>>,
) -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // A shard that can't be pinned works all the same.
    let _ = monoio::utils::bind_to_cpu_set([usize::from(config.number) % cores]);
    let failed = |e: std::io::Error| {
        // The receiver is there until every shard has answered.
        let _ = bound.send(Err(e));
        0
    };
    match io {
        IoDriver::Uring | IoDriver::Auto => {
            let runtime =
                RuntimeBuilder::<IoUringDriver>::new().with_entries(URING_ENTRIES).enable_timer().build();
            match runtime {
                Ok(mut runtime) => runtime.block_on(accept_loop(config, since, bound)),
                Err(e) => failed(e),
            }
        }
        IoDriver::Epoll => match RuntimeBuilder::<LegacyDriver>::new().enable_timer().build() {
            Ok(mut runtime) => runtime.block_on(accept_loop(config, since, bound)),
            Err(e) => failed(e),
        },
    }
}

async fn accept_loop(
    config: ShardConfig,
    since: Instant,
    bound: &Sender<std::io::Result<SocketAddr>>,
) -> u64 {
    let options = ListenerOpts::new().reuse_port(true).reuse_addr(true).backlog(BACKLOG);
    let listener = TcpListener::bind_with_config(config.listen, &options);
    let listener = match listener.and_then(|l| l.local_addr().map(|a| (l, a))) {
        Ok((listener, address)) => {
            let _ = bound.send(Ok(address));
            listener
        }
        Err(e) => {
            let _ = bound.send(Err(e));
            return 0;
        }
    };
    let drain = Signal::default();
    let open = Rc::new(Cell::new(0u64));
    let pool = Pool::new(
        config.upstream.clone(),
        Arc::clone(&config.addresses),
        config.limits,
        Arc::clone(&config.stats),
    );
    let context = Rc::new(SessionContext {
        upstream: config.upstream.clone(),
        ruleset: Arc::clone(&config.ruleset),
        pool: Rc::clone(&pool),
        masking: config.route.masking,
        route_limits: config.route.limits,
        places: CodedPlaces::new(config.limits.coded_bodies_max),
        limits: config.limits,
        stats: Arc::clone(&config.stats),
        scratch: Scratch::new().into(),
        ids: RequestIds::new(config.number, config.seed).into(),
        drain: drain.clone(),
    });
    monoio::spawn(tick(Arc::clone(&config.control), drain.clone(), Rc::clone(&pool)));
    while let Some(stream) = accept(&listener, &drain).await {
        let Ok(stream) = stream else {
            // Out of descriptors, most likely: those that are open will end.
            monoio::time::sleep(TICK).await;
            continue;
        };
        ShardStats::count(&config.stats.connections_accepted, 1);
        open.set(open.get() + 1);
        ShardStats::count(&config.stats.connections_open, 1);
        let (context, open, tls) = (Rc::clone(&context), Rc::clone(&open), config.downstream_tls.clone());
        monoio::spawn(async move {
            let is_over = open.get() > context.limits.connections_max as u64;
            let stats = Arc::clone(&context.stats);
            guarded(connection(context, stream, tls, is_over), &stats).await;
            open.set(open.get() - 1);
            stats.connections_open.fetch_sub(1, Ordering::Relaxed);
        });
    }
    drop(listener);
    while open.get() > 0 {
        let deadline = config.control.deadline_ms.load(Ordering::Relaxed);
        if deadline > 0 && since.elapsed().as_millis() as u64 >= deadline {
            break;
        }
        monoio::time::sleep(TICK).await;
    }
    open.get()
}

/// The next connection; `None` once the shard drains.
async fn accept(listener: &TcpListener, drain: &Signal) -> Option<std::io::Result<TcpStream>> {
    let mut accepted = pin!(listener.accept());
    let mut drained = pin!(drain.wait());
    poll_fn(|cx| {
        if let Poll::Ready(result) = accepted.as_mut().poll(cx) {
            return Poll::Ready(Some(result.map(|(stream, _)| stream)));
        }
        drained.as_mut().poll(cx).map(|()| None)
    })
    .await
}

/// Looks at what the gateway tells, and at idle upstream connections.
async fn tick(control: Arc<ShardControl>, drain: Signal, pool: Rc<Pool>) {
    let mut ticks = 0u64;
    while !control.draining.load(Ordering::Relaxed) {
        monoio::time::sleep(TICK).await;
        ticks += 1;
        if ticks.is_multiple_of(50) {
            pool.sweep();
        }
    }
    pool.clear();
    drain.set();
}

async fn connection(
    context: Rc<SessionContext>,
    stream: TcpStream,
    tls: Option<Arc<rustls::ServerConfig>>,
    is_over: bool,
) {
    // Small writes of a stream must not wait for each other; without it they still arrive.
    let _ = stream.set_nodelay(true);
    let socket = stream.as_raw_fd();
    let (read, write) = match tls {
        None => split_tcp(stream),
        Some(config) => {
            let acceptor = TlsAcceptor::from(config);
            let handshake = acceptor.accept(stream);
            let limit = Duration::from_millis(context.limits.head_ms_max);
            match monoio::time::timeout(limit, handshake).await {
                Ok(Ok(stream)) => split_server(stream),
                Ok(Err(_)) | Err(_) => return,
            }
        }
    };
    let (reader, mut writer) = (Reader::new(read), Writer::new(write, context.limits.write_ms_max));
    if is_over {
        context.stats.refusal(Problem::OVERLOADED.code);
        context.stats.response(Problem::OVERLOADED.status);
        let response = problem::response(&Problem::OVERLOADED, Shape::Problem, context.new_id(), false, true);
        if writer.write(response).await.is_ok() {
            writer.shutdown().await;
        }
        return;
    }
    serve(context, reader, writer, socket).await;
}

/// Runs a session; a panic ends it, closes its connection and is counted.
async fn guarded(session: impl Future<Output = ()>, stats: &ShardStats) {
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
