//! Connections to upstreams in HTTP/2: each carries as many exchanges as the upstream lets it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong, Reason, RecvStream};
use http::uri::Scheme;

use super::guard::Guard;
use super::io::PolledIo;
use super::message::{Http2Sink, Http2Source, Stream};
use super::{
    FAULTS_MAX, FRAME_BYTES_MAX, PENDING_RESETS_MAX, RESET_STREAMS_MAX, RESET_STREAMS_TIME, SEND_BYTES_MAX,
    SMALL_FRAMES_BYTES_MAX, STREAM_WINDOW_BYTES, fields_of,
};
use crate::codec::body::Framing;
use crate::codec::head::ResponseHead;
use crate::edge::body::{Sink, Source};
use crate::edge::connection::{Reader, Writer};
use crate::edge::exchange::SessionContext;
use crate::edge::signal::Signal;
use crate::edge::upstream::AnswerFault;
use crate::shard::guarded;
use crate::stats::ShardStats;

/// Streams that all windows of a connection are sized for; the upstream may allow more.
const WINDOWS: u32 = 100;
/// Milliseconds without a byte after which an upstream that owes an answer is asked whether it is there.
const QUIET_MS_MAX: u64 = 15_000;
/// Milliseconds that it may take to say so.
const PONG_MS_MAX: u64 = 10_000;

/// The connections of one shard to one upstream.
pub(crate) struct Http2Pool {
    /// Bytes of a head of the upstream's.
    head_bytes_max: usize,
    write_ms_max: u64,
    connections: RefCell<Vec<Rc<Http2Connection>>>,
    /// Set once the connection that is being made is there or has failed.
    coming: RefCell<Option<Signal>>,
}

impl Http2Pool {
    pub(crate) fn new(head_bytes_max: usize, write_ms_max: u64) -> Http2Pool {
        Http2Pool {
            head_bytes_max,
            write_ms_max,
            connections: RefCell::default(),
            coming: RefCell::default(),
        }
    }

    /// A place on a connection that has one.
    pub(crate) fn take(&self) -> Option<Http2Upstream> {
        let mut connections = self.connections.borrow_mut();
        connections.retain(|connection| connection.is_open());
        connections.iter().find(|connection| connection.has_room()).map(Http2Upstream::on)
    }

    /// Waits for the connection that is being made, and tells of the next one once there is none: so many requests at
    /// once make one connection.
    pub(crate) async fn turn(&self) -> Turn<'_> {
        loop {
            let coming = self.coming.borrow().clone();
            match coming {
                Some(signal) => signal.wait().await,
                None => break,
            }
            if let Some(upstream) = self.take() {
                return Turn::Place(upstream);
            }
        }
        let signal = Signal::default();
        self.coming.replace(Some(signal.clone()));
        Turn::Connect(Connecting { pool: self, signal })
    }

    /// Closes connections that have been idle for too long.
    pub(crate) fn sweep(&self, oldest: Duration) {
        self.connections
            .borrow_mut()
            .retain(|connection| connection.is_open() && !connection.is_idle(oldest));
    }

    /// Closes connections as soon as they are idle.
    pub(crate) fn clear(&self) {
        self.connections.borrow_mut().clear();
    }

    /// Starts HTTP/2 on a new connection.
    pub(crate) async fn open(
        &self,
        reader: Reader,
        writer: Writer,
        is_tls: bool,
        stats: &Arc<ShardStats>,
    ) -> Option<Http2Upstream> {
        let io = PolledIo::new(reader, writer, Guard::new(false));
        let (sender, connection) =
            builder(self.head_bytes_max).handshake::<_, Bytes>(io.clone()).await.ok()?;
        let connected = Rc::new(Http2Connection {
            sender,
            io,
            scheme: if is_tls { Scheme::HTTPS } else { Scheme::HTTP },
            write_ms_max: self.write_ms_max,
            idle_since: Cell::new(Instant::now()),
            life: Rc::default(),
        });
        let drive = Drive { connection, io: connected.io.clone(), life: Rc::clone(&connected.life) };
        let stats = Arc::clone(stats);
        monoio::spawn(async move {
            let life = Rc::clone(&drive.life);
            guarded(drive.run(), &stats).await;
            life.is_over.set(true);
        });
        self.connections.borrow_mut().push(Rc::clone(&connected));
        Some(Http2Upstream::on(&connected))
    }
}

/// What [`Http2Pool::turn`] gives.
pub(crate) enum Turn<'a> {
    Place(Http2Upstream),
    /// A connection is to be made; those who wait go on when it is dropped.
    Connect(Connecting<'a>),
}

/// A connection that is being made.
pub(crate) struct Connecting<'a> {
    pool: &'a Http2Pool,
    signal: Signal,
}

impl Drop for Connecting<'_> {
    fn drop(&mut self) {
        self.pool.coming.replace(None);
        self.signal.set();
    }
}

/// What a connection and the task that drives it share.
#[derive(Default)]
struct Life {
    is_over: Cell<bool>,
    /// Exchanges that run.
    exchanges: Cell<usize>,
}

struct Http2Connection {
    sender: SendRequest<Bytes>,
    io: PolledIo,
    scheme: Scheme,
    write_ms_max: u64,
    idle_since: Cell<Instant>,
    life: Rc<Life>,
}

fn builder(head_bytes_max: usize) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .max_header_list_size(u32::try_from(head_bytes_max).unwrap_or(u32::MAX))
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(STREAM_WINDOW_BYTES * WINDOWS)
        .max_send_buffer_size(SEND_BYTES_MAX)
        .data_frame_budget(SMALL_FRAMES_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .reset_stream_duration(RESET_STREAMS_TIME)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(FAULTS_MAX));
    builder
}

impl Http2Connection {
    /// Whether it takes streams; after GOAWAY it takes none.
    fn is_open(&self) -> bool {
        let mut sender = self.sender.clone();
        let mut cx = Context::from_waker(std::task::Waker::noop());
        !self.life.is_over.get() && matches!(sender.poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    fn has_room(&self) -> bool {
        self.life.exchanges.get() < self.sender.current_max_send_streams()
    }

    fn is_idle(&self, oldest: Duration) -> bool {
        self.life.exchanges.get() == 0 && self.idle_since.get().elapsed() >= oldest
    }
}

/// Moves a connection's bytes until it ends.
struct Drive {
    connection: Connection<PolledIo, Bytes>,
    io: PolledIo,
    life: Rc<Life>,
}

impl Drive {
    async fn run(mut self) {
        let mut pings = self.connection.ping_pong();
        let mut received = self.io.received();
        loop {
            let mut quiet = pin!(monoio::time::sleep(Duration::from_millis(QUIET_MS_MAX)));
            let is_over = poll_fn(|cx| self.poll_over(cx, quiet.as_mut())).await;
            if is_over {
                return;
            }
            let owes = self.life.exchanges.get() > 0 && self.io.received() == received;
            if owes && let Some(pings) = &mut pings {
                let timed = Duration::from_millis(PONG_MS_MAX);
                if !matches!(monoio::time::timeout(timed, self.pong(pings)).await, Ok(true)) {
                    return;
                }
            }
            received = self.io.received();
        }
    }

    /// Ready with true when the connection is over, with false when `timer` is.
    fn poll_over(
        &mut self,
        cx: &mut Context<'_>,
        timer: std::pin::Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<bool> {
        let is_over = pin!(&mut self.connection).poll(cx).is_ready();
        if is_over || self.io.with_guard(|guard| guard.fault().is_some()) {
            return Poll::Ready(true);
        }
        timer.poll(cx).map(|()| false)
    }

    /// Asks whether the upstream is there; false when the connection ends before it says so.
    async fn pong(&mut self, pings: &mut PingPong) -> bool {
        if pings.send_ping(Ping::opaque()).is_err() {
            return true;
        }
        poll_fn(|cx| {
            if let Poll::Ready(answer) = pings.poll_pong(cx) {
                return Poll::Ready(answer.is_ok());
            }
            self.poll_over(cx, pin!(std::future::pending())).map(|_| false)
        })
        .await
    }
}

/// A place for one exchange on a connection.
pub(crate) struct Http2Upstream {
    connection: Rc<Http2Connection>,
}

impl Http2Upstream {
    fn on(connection: &Rc<Http2Connection>) -> Http2Upstream {
        let exchanges = &connection.life.exchanges;
        exchanges.set(exchanges.get() + 1);
        Http2Upstream { connection: Rc::clone(connection) }
    }

    /// Where a request goes, and where its answer comes from.
    pub(crate) fn split(&self) -> (Sink<'static>, Http2Answer) {
        let Http2Connection { sender, scheme, io, write_ms_max, .. } = &*self.connection;
        let stream = Stream::client(sender.clone(), scheme.clone(), io.clone());
        let sink = Http2Sink::new(Rc::clone(&stream), *write_ms_max);
        (Sink::Http2(sink), Http2Answer { stream, body: None })
    }
}

impl Drop for Http2Upstream {
    fn drop(&mut self) {
        let exchanges = &self.connection.life.exchanges;
        exchanges.set(exchanges.get() - 1);
        self.connection.idle_since.set(Instant::now());
    }
}

/// An answer that is to come on a stream.
pub(crate) struct Http2Answer {
    stream: Rc<Stream>,
    body: Option<RecvStream>,
}

impl Http2Answer {
    /// The head of the final response.
    pub(crate) async fn head(
        &mut self,
        method: &str,
        context: &SessionContext,
        ms_max: u64,
        request_done: &Cell<bool>,
    ) -> Result<ResponseHead, AnswerFault> {
        let mut coming = pin!(response(&self.stream, context.limits.interim_max));
        let response = loop {
            let timed = monoio::time::timeout(Duration::from_millis(ms_max), coming.as_mut()).await;
            match timed {
                Ok(response) => break response?,
                Err(_) if !request_done.get() => {}
                Err(_) => return Err(AnswerFault::TimedOut),
            }
        };
        let (parts, body) = response.into_parts();
        let fields = fields_of(&parts.headers);
        let status = parts.status.as_u16();
        let limits = context.head_limits();
        if !(200..=599).contains(&status) || fields.len() > limits.fields_max {
            return Err(AnswerFault::Invalid);
        }
        let is_empty = body.is_end_stream() || method == "HEAD" || matches!(status, 204 | 304);
        let len = fields.text("content-length").and_then(|text| text.parse().ok());
        let framing = match len {
            _ if is_empty => Framing::Empty,
            Some(len) if len > 0 => Framing::Length(len),
            Some(_) | None => Framing::Chunked,
        };
        self.body = Some(body);
        Ok(ResponseHead { status, fields, framing, keep_alive: true, upgrade: None })
    }

    /// The body behind that head.
    pub(crate) fn body<'a>(self) -> Option<Source<'a>> {
        self.body.map(|body| Source::Http2(Http2Source::new(body)))
    }
}

async fn response(stream: &Stream, interim_max: usize) -> Result<http::Response<RecvStream>, AnswerFault> {
    let mut response = stream.promised().await.ok_or(AnswerFault::Refused)?;
    let mut interim = 0;
    poll_fn(|cx| {
        while let Poll::Ready(Some(Ok(_))) = response.poll_informational(cx) {
            interim += 1;
            if interim > interim_max {
                return Poll::Ready(Err(AnswerFault::Invalid));
            }
        }
        pin!(&mut *response).poll(cx).map_err(|error: h2::Error| fault(&error))
    })
    .await
}

/// Whether the upstream says that it did nothing with the request (RFC 9113, sections 5.4.1 and 8.7): an error of
/// GOAWAY reaches only streams above the last one that it names.
fn fault(error: &h2::Error) -> AnswerFault {
    let is_refused =
        error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM));
    if is_refused { AnswerFault::Refused } else { AnswerFault::Gone }
}
