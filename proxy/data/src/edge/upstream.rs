//! Connections to upstreams: made, pooled by the shard, checked before they are used again.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};

use super::body::{Http1Sink, Sink, Source};
use super::connection::{IoFault, ReadIo, Reader, Stream, WriteIo, Writer};
use super::exchange::SessionContext;
use super::http2;
use super::http2::client::{Http2Answer, Http2Pool, Http2Upstream, Turn};
use crate::balance::{ATTEMPT_DELAY, Endpoints, Exchange, Outcome, RetryBudget, TargetAddress, TargetId};
use crate::codec::body::Framing;
use crate::codec::head::{HeadFinder, RequestHead, ResponseHead, parse_response};
use crate::config::{Limits, UpstreamConfig, UpstreamProtocol};
use crate::named::UpstreamStats;
use crate::problem::is_grpc;
use crate::stats::ShardStats;
use crate::table::UpstreamShared;

/// Targets that are tried for one connection.
const CONNECT_TARGETS_MAX: usize = 4;

/// A connection to an upstream.
pub(crate) enum Upstream {
    Http1(Http1Upstream),
    Http2(Http2Upstream),
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
    /// It has served a request before.
    pub(crate) fn is_reused(&self) -> bool {
        match self {
            Upstream::Http1(one) => one.is_reused,
            // What such a connection says of a stream is never that it had been closed.
            Upstream::Http2(_) => false,
        }
    }

    /// Where a request goes, and where its answer comes from.
    pub(crate) fn split(&mut self) -> (Sink<'_>, Answer<'_>) {
        match self {
            Upstream::Http1(one) => {
                let sink = Sink::Http1(Http1Sink::new(&mut one.writer, true));
                (sink, Answer::Http1 { reader: &mut one.reader })
            }
            Upstream::Http2(one) => {
                let (sink, answer) = one.split();
                (sink, Answer::Http2(answer))
            }
        }
    }
}

/// An answer that is to come.
pub(crate) enum Answer<'a> {
    Http1 { reader: &'a mut Reader },
    Http2(Http2Answer),
}

/// Why an answer's head did not come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerFault {
    /// The upstream broke off before a byte of it came.
    Nothing,
    /// The upstream has said that it did nothing with the request.
    Refused,
    /// It broke off later.
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
            Answer::Http1 { reader } => http1_head(reader, method, context, ms_max, request_done).await,
            Answer::Http2(answer) => answer.head(method, context, ms_max, request_done).await,
        }
    }

    /// The body behind that head.
    pub(crate) fn body(self, framing: Framing) -> Option<Source<'a>> {
        match self {
            Answer::Http1 { reader } => Some(Source::http1(reader, framing)),
            Answer::Http2(answer) => answer.body(),
        }
    }
}

pub(crate) async fn http1_head(
    reader: &mut Reader,
    method: &str,
    context: &SessionContext,
    ms_max: u64,
    request_done: &Cell<bool>,
) -> Result<ResponseHead, AnswerFault> {
    let limits = context.head_limits();
    let mut interim = 0;
    let mut received = false;
    let mut finder = HeadFinder::new();
    loop {
        let end = finder.find(reader.buffered(), &limits).map_err(|_| AnswerFault::Invalid)?;
        if let Some(end) = end {
            let bytes = reader.buffered().get(..end).unwrap_or_default();
            let head = parse_response(bytes, method, &limits).map_err(|_| AnswerFault::Invalid)?;
            reader.consume(end);
            finder = HeadFinder::new();
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
            Ok(0) | Err(IoFault::Failed) if !received => return Err(AnswerFault::Nothing),
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

/// The connections of one shard to one upstream.
pub(crate) struct Pool {
    shared: Arc<UpstreamShared>,
    limits: Limits,
    stats: Arc<ShardStats>,
    /// Its own counters.
    named: Arc<UpstreamStats>,
    endpoints: RefCell<Endpoints>,
    /// Which version of the addresses `endpoints` has.
    resolved: Cell<u64>,
    budget: RefCell<RetryBudget>,
    /// Exchanges that run.
    running: Cell<usize>,
    idle: RefCell<Vec<Idle>>,
    http2: RefCell<HashMap<TargetId, Rc<Http2Pool>>>,
    /// The last connection's TLS gave HTTP/2, or none was made: more requests wait for the first one to tell.
    gave_http2: Cell<bool>,
    /// When each target is to be checked.
    checks: RefCell<HashMap<TargetId, Instant>>,
    random: Cell<u64>,
}

struct Idle {
    upstream: Http1Upstream,
    target: TargetId,
    since: Instant,
}

/// Which version of HTTP a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// A WebSocket.
    Http1,
    /// gRPC.
    Http2,
    Any,
}

impl Spoken {
    pub(crate) fn by(head: &RequestHead, is_websocket: bool) -> Spoken {
        match is_grpc(&head.fields) {
            _ if is_websocket => Spoken::Http1,
            true => Spoken::Http2,
            false => Spoken::Any,
        }
    }
}

/// Which version of HTTP a request goes upstream in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
    /// TLS tells.
    ByAlpn,
}

/// An exchange counted at its target, until it is dropped.
pub(crate) struct Running<'a> {
    pool: &'a Pool,
    exchange: Option<Exchange>,
    outcome: Cell<Outcome>,
}

impl Running<'_> {
    pub(crate) fn target(&self) -> Option<TargetId> {
        self.exchange.as_ref().map(Exchange::target)
    }

    fn move_to(&mut self, target: TargetId) {
        let mut endpoints = self.pool.endpoints.borrow_mut();
        if let Some(exchange) = self.exchange.take() {
            endpoints.end(exchange, Outcome::Neutral, Instant::now());
        }
        self.exchange = Some(endpoints.begin(target));
    }

    /// What it tells of its target. The last word counts; without one it tells nothing.
    pub(crate) fn judge(&self, outcome: Outcome) {
        self.outcome.set(outcome);
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(exchange) = self.exchange.take() {
            let outcome = self.outcome.get();
            ShardStats::count(&self.pool.named.faults, u64::from(outcome == Outcome::Fault));
            self.pool.endpoints.borrow_mut().end(exchange, outcome, Instant::now());
        }
    }
}

/// A place among the exchanges of an upstream, until it is dropped.
pub(crate) struct Admitted<'a>(&'a Pool);

impl Drop for Admitted<'_> {
    fn drop(&mut self) {
        self.0.running.set(self.0.running.get().saturating_sub(1));
        self.0.named.running.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Pool {
    pub(crate) fn new(
        shared: Arc<UpstreamShared>,
        limits: Limits,
        stats: Arc<ShardStats>,
        seed: u64,
    ) -> Pool {
        let budget = RetryBudget::new(shared.config.retry.budget_percent, Instant::now());
        Pool {
            endpoints: RefCell::new(Endpoints::new(shared.config.health.clone())),
            resolved: Cell::new(0),
            budget: RefCell::new(budget),
            running: Cell::new(0),
            named: stats.named.upstream(&shared.config.name),
            shared,
            limits,
            stats,
            idle: RefCell::default(),
            http2: RefCell::default(),
            gave_http2: Cell::new(true),
            checks: RefCell::default(),
            random: Cell::new(seed | 1),
        }
    }

    pub(crate) fn config(&self) -> &UpstreamConfig {
        &self.shared.config
    }

    pub(crate) fn is_of(&self, shared: &Arc<UpstreamShared>) -> bool {
        Arc::ptr_eq(&self.shared, shared)
    }

    /// A place for an exchange; `None`: as many run as may.
    pub(crate) fn admit(&self) -> Option<Admitted<'_>> {
        let running = self.running.get();
        if running >= self.config().retry.exchanges_max {
            return None;
        }
        self.running.set(running + 1);
        ShardStats::count(&self.named.running, 1);
        self.budget.borrow_mut().count_request(Instant::now());
        Some(Admitted(self))
    }

    /// Whether the budget has another try.
    pub(crate) fn may_retry(&self) -> bool {
        let may = self.budget.borrow_mut().take(Instant::now());
        let (total, own) = match may {
            true => (&self.stats.upstream_retries, &self.named.retries),
            false => (&self.stats.upstream_retries_refused, &self.named.retries_refused),
        };
        ShardStats::count(total, 1);
        ShardStats::count(own, 1);
        may
    }

    /// The target for an exchange that was at `tried` before; `None`: there is no other.
    pub(crate) fn begin(&self, tried: &[TargetId]) -> Option<Running<'_>> {
        self.follow_addresses();
        let mut endpoints = self.endpoints.borrow_mut();
        let target = endpoints.pick(Instant::now(), self.next_random(), tried)?;
        let exchange = Some(endpoints.begin(target));
        Some(Running { pool: self, exchange, outcome: Cell::new(Outcome::Neutral) })
    }

    fn follow_addresses(&self) {
        let version = self.shared.version();
        if self.resolved.replace(version) != version {
            self.endpoints.borrow_mut().set_targets(self.shared.targets());
        }
    }

    /// xorshift64* (Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016).
    fn next_random(&self) -> u64 {
        let mut x = self.random.get();
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.set(x);
        x.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// In which version a request goes.
    fn version(&self, spoken: Spoken) -> Version {
        match (self.config().protocol, &self.config().tls, spoken) {
            (UpstreamProtocol::Http1, _, _) | (_, _, Spoken::Http1) => Version::Http1,
            (UpstreamProtocol::Http2, _, _) => Version::Http2,
            (UpstreamProtocol::Auto, Some(_), _) => Version::ByAlpn,
            (UpstreamProtocol::Auto, None, Spoken::Http2) => Version::Http2,
            (UpstreamProtocol::Auto, None, Spoken::Any) => Version::Http1,
        }
    }

    /// The connections of HTTP/2 to a target.
    fn http2_to(&self, target: TargetId) -> Rc<Http2Pool> {
        let Limits { head_bytes_max, write_ms_max, .. } = self.limits;
        let mut all = self.http2.borrow_mut();
        Rc::clone(all.entry(target).or_insert_with(|| Rc::new(Http2Pool::new(head_bytes_max, write_ms_max))))
    }

    /// A connection to a target that can take a request: one of HTTP/2 with a place, or an idle one that is still open,
    /// the one used last first.
    pub(crate) fn take_idle(&self, target: TargetId, spoken: Spoken) -> Option<Upstream> {
        let version = self.version(spoken);
        if version != Version::Http1
            && let Some(place) = self.http2_to(target).take()
        {
            self.count_reuse();
            return Some(Upstream::Http2(place));
        }
        if version == Version::Http2 {
            return None;
        }
        let oldest = Duration::from_millis(self.config().pool.idle_ms_max);
        loop {
            let mut all = self.idle.borrow_mut();
            let at = all.iter().rposition(|idle| idle.target == target)?;
            let Idle { mut upstream, since, .. } = all.remove(at);
            if since.elapsed() < oldest && is_open(upstream.fd) {
                upstream.is_reused = true;
                self.count_reuse();
                return Some(Upstream::Http1(upstream));
            }
        }
    }

    /// Keeps a connection for the next request.
    pub(crate) fn put(&self, target: TargetId, upstream: Upstream) {
        // One of HTTP/2 is kept from its first request on.
        let Upstream::Http1(mut upstream) = upstream else { return };
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.config().pool.idle_max && upstream.reader.buffered().is_empty() {
            upstream.reader.shrink();
            idle.push(Idle { upstream, target, since: Instant::now() });
        }
    }

    fn count_reuse(&self) {
        ShardStats::count(&self.stats.upstream_reuses, 1);
        ShardStats::count(&self.named.reuses, 1);
    }

    /// Tells the counters what is known of the targets.
    fn tell(&self) {
        let endpoints = self.endpoints.borrow();
        let (mut targets_in, mut targets_out) = (0, 0);
        for target in endpoints.targets(Instant::now()) {
            *(if target.is_in { &mut targets_in } else { &mut targets_out }) += 1;
        }
        for (counter, value) in [
            (&self.named.outs, endpoints.outs()),
            (&self.named.panics, endpoints.panics()),
            (&self.named.targets_in, targets_in),
            (&self.named.targets_out, targets_out),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self) {
        self.tell();
        let oldest = Duration::from_millis(self.config().pool.idle_ms_max);
        self.idle.borrow_mut().retain(|idle| idle.since.elapsed() < oldest);
        let targets: Vec<TargetId> =
            self.endpoints.borrow().targets(Instant::now()).map(|target| target.id).collect();
        self.http2.borrow_mut().retain(|target, pool| {
            pool.sweep(oldest);
            targets.contains(target)
        });
    }

    /// Closes all idle connections.
    pub(crate) fn clear(&self) {
        self.idle.borrow_mut().clear();
        self.http2.borrow().values().for_each(|pool| pool.clear());
    }

    /// Targets whose check is due; the next one of each is due after `every`.
    pub(crate) fn due_checks(&self, every: Duration, now: Instant) -> Vec<TargetId> {
        self.follow_addresses();
        let mut checks = self.checks.borrow_mut();
        let targets: Vec<TargetId> = self.endpoints.borrow().targets(now).map(|target| target.id).collect();
        checks.retain(|id, _| targets.contains(id));
        let due = |id: &TargetId| {
            let next = checks.entry(*id).or_insert(now);
            let is_due = *next <= now;
            if is_due {
                *next = now + every;
            }
            is_due
        };
        targets.into_iter().filter(due).collect()
    }

    /// Takes the result of a check.
    pub(crate) fn checked(&self, target: TargetId, is_well: bool) {
        self.endpoints.borrow_mut().checked(target, is_well);
    }

    /// A connection to a target that no request uses.
    pub(crate) async fn open(&self, target: TargetId) -> Option<(ReadIo, WriteIo)> {
        let address = self.endpoints.borrow().address(target).cloned()?;
        let version =
            if self.config().protocol == UpstreamProtocol::Http2 { Version::Http2 } else { Version::Http1 };
        let (read, write, _) = self.secured(Stream::connect(&address).await.ok()?, version).await?;
        Some((read, write))
    }

    async fn secured(&self, stream: Stream, version: Version) -> Option<(ReadIo, WriteIo, Option<Vec<u8>>)> {
        let tls = self.config().tls.as_ref();
        let name = tls.and_then(|tls| tls.server_name()).unwrap_or(self.config().host());
        stream.split_client(tls, name, version != Version::Http1).await.ok()
    }

    /// A new connection: to the target of `running`, or where that fails or takes long, to another one, which then is
    /// its target (RFC 8305, section 5).
    pub(crate) async fn connect(
        &self,
        running: &mut Running<'_>,
        spoken: Spoken,
    ) -> Result<Upstream, ConnectFault> {
        let version = self.version(spoken);
        let first = running.target().ok_or(ConnectFault::Unreachable)?;
        let http2 = self.http2_to(first);
        let _connecting = match version {
            Version::ByAlpn if !self.gave_http2.get() => None,
            Version::Http1 => None,
            Version::Http2 | Version::ByAlpn => match http2.turn().await {
                Turn::Connect(connecting) => Some(connecting),
                Turn::Place(place) => {
                    self.count_reuse();
                    return Ok(Upstream::Http2(place));
                }
            },
        };
        let mut left = self.endpoints.borrow().attempt_order(first, Instant::now());
        left.truncate(CONNECT_TARGETS_MAX);
        left.reverse();
        let mut attempts: Attempts<'_> = Vec::new();
        let mut fault = ConnectFault::Unreachable;
        loop {
            if let Some(target) = left.pop() {
                attempts.push((target, Box::pin(self.attempt(target, version))));
            }
            let delay = if left.is_empty() { Duration::MAX } else { ATTEMPT_DELAY };
            let (target, connected) = match first_of(&mut attempts, delay).await {
                Raced::Delayed => continue,
                Raced::Over => break,
                Raced::Done(target, connected) => (target, connected),
            };
            match connected {
                Ok(upstream) => {
                    if target != first {
                        running.move_to(target);
                    }
                    ShardStats::count(&self.stats.upstream_connects, 1);
                    ShardStats::count(&self.named.connects, 1);
                    if version == Version::ByAlpn {
                        self.gave_http2.set(matches!(upstream, Upstream::Http2(_)));
                    }
                    return Ok(upstream);
                }
                Err(why) => {
                    fault = why;
                    ShardStats::count(&self.stats.upstream_errors, 1);
                    ShardStats::count(&self.named.faults, 1);
                    let mut endpoints = self.endpoints.borrow_mut();
                    let exchange = endpoints.begin(target);
                    endpoints.end(exchange, Outcome::Fault, Instant::now());
                }
            }
        }
        Err(fault)
    }

    async fn attempt(&self, target: TargetId, version: Version) -> Connected {
        let address = self.endpoints.borrow().address(target).cloned();
        let connect = async {
            match address {
                Some(address) => self.connect_to(target, &address, version).await,
                None => None,
            }
        };
        let limit = Duration::from_millis(self.config().pool.connect_ms_max);
        match monoio::time::timeout(limit, connect).await {
            Ok(upstream) => upstream.ok_or(ConnectFault::Unreachable),
            Err(_) => Err(ConnectFault::TimedOut),
        }
    }

    async fn connect_to(
        &self,
        target: TargetId,
        address: &TargetAddress,
        version: Version,
    ) -> Option<Upstream> {
        let stream = Stream::connect(address).await.ok()?;
        let fd = stream.as_raw_fd();
        let (read, write, alpn) = self.secured(stream, version).await?;
        let (reader, writer) = (Reader::new(read), Writer::new(write, self.limits.write_ms_max));
        let (is_tls, is_agreed) = (self.config().tls.is_some(), alpn.as_deref() == Some(http2::ALPN));
        let is_http2 = match version {
            Version::Http1 => false,
            // With prior knowledge; over TLS only where both sides say so.
            Version::Http2 if !is_tls => true,
            Version::Http2 if !is_agreed => return None,
            Version::Http2 | Version::ByAlpn => is_agreed,
        };
        if is_http2 {
            return self
                .http2_to(target)
                .open(reader, writer, is_tls, &self.stats)
                .await
                .map(Upstream::Http2);
        }
        Some(Upstream::Http1(Http1Upstream { reader, writer, fd, is_reused: false }))
    }
}

type Connected = Result<Upstream, ConnectFault>;
type Attempts<'a> = Vec<(TargetId, Pin<Box<dyn Future<Output = Connected> + 'a>>)>;

/// How a race of connections went on.
enum Raced {
    Done(TargetId, Connected),
    /// None is done in time.
    Delayed,
    /// None is left.
    Over,
}

/// The first attempt that is done, taken out of the others.
async fn first_of(attempts: &mut Attempts<'_>, delay: Duration) -> Raced {
    if attempts.is_empty() {
        return Raced::Over;
    }
    let done = poll_fn(|cx| {
        let polled = attempts.iter_mut().enumerate().find_map(|(at, (target, attempt))| {
            match attempt.as_mut().poll(cx) {
                Poll::Ready(connected) => Some((at, *target, connected)),
                Poll::Pending => None,
            }
        });
        polled.map_or(Poll::Pending, Poll::Ready)
    });
    let done =
        if delay == Duration::MAX { Some(done.await) } else { monoio::time::timeout(delay, done).await.ok() };
    match done {
        Some((at, target, connected)) => {
            drop(attempts.swap_remove(at));
            Raced::Done(target, connected)
        }
        None => Raced::Delayed,
    }
}

/// True when the peer has neither ended nor sent anything: a look at the socket that takes nothing from it.
fn is_open(fd: RawFd) -> bool {
    let mut byte = [0u8];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(fd, &mut byte, flags) == Err(Errno::EAGAIN)
}
