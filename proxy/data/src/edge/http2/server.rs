//! A client's connection in HTTP/2: streams, each an exchange of its own.
//!
//! ```text
//!   preface, SETTINGS ──► open ──► stream ──► exchange, a task of the shard
//!        │ head_ms_max      │ idle_ms_max without a stream; the shard drains: GOAWAY, what runs goes on
//!        ▼                  │ a flood: GOAWAY ENHANCE_YOUR_CALM
//!      closed ◄─────────────┘
//! ```

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::server::{Builder, Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::Request;

use super::guard::Guard;
use super::head::request_head;
use super::io::PolledIo;
use super::message::{Http2Sink, Http2Source, Stream};
use super::{
    FAULTS_MAX, FRAME_BYTES_MAX, PENDING_RESETS_MAX, PREFACE, RESET_STREAMS_MAX, RESET_STREAMS_TIME,
    SEND_BYTES_MAX, SMALL_FRAMES_BYTES_MAX, STREAM_WINDOW_BYTES, fields_of,
};
use crate::client::Client;
use crate::config::Limits;
use crate::edge::body::{Sink, Source};
use crate::edge::connection::{IoFault, Reader, Writer};
use crate::edge::exchange::{After, SessionContext, exchange, refuse};
use crate::edge::http1::next_request;
use crate::problem::{Problem, Shape};
use crate::shard::guarded;
use crate::stats::ShardStats;

/// How long a connection that has no stream any more may take to say so.
const CLOSE_MS_MAX: u64 = 1_000;
/// Bytes read and thrown away while a peer that was told to go is still sending.
const LINGER_BYTES_MAX: u64 = 256 * 1024;

/// Streams of one connection that are open.
struct OpenStreams {
    count: Cell<usize>,
    /// When the last one ended.
    idle_since: Cell<Instant>,
}

impl OpenStreams {
    fn open(self: &Rc<Self>) -> OpenStream {
        self.count.set(self.count.get() + 1);
        OpenStream(Rc::clone(self))
    }

    fn is_empty(&self) -> bool {
        self.count.get() == 0
    }
}

struct OpenStream(Rc<OpenStreams>);

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
        self.0.idle_since.set(Instant::now());
    }
}

fn builder(limits: &Limits) -> Builder {
    let mut builder = Builder::new();
    builder
        .max_concurrent_streams(limits.h2_streams_max)
        .max_header_list_size(u32::try_from(limits.head_bytes_max).unwrap_or(u32::MAX))
        .max_frame_size(FRAME_BYTES_MAX)
        .initial_window_size(STREAM_WINDOW_BYTES)
        // As much as all streams together: none that stalls keeps another from going on.
        .initial_connection_window_size(
            STREAM_WINDOW_BYTES.saturating_mul(limits.h2_streams_max).min(1 << 30),
        )
        .max_send_buffer_size(SEND_BYTES_MAX)
        .data_frame_budget(SMALL_FRAMES_BYTES_MAX)
        .max_concurrent_reset_streams(RESET_STREAMS_MAX)
        .reset_stream_duration(RESET_STREAMS_TIME)
        .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
        .max_local_error_reset_streams(Some(FAULTS_MAX));
    builder
}

/// What a connection's first bytes are.
pub(crate) enum Opening {
    Http1,
    Http2,
    /// A part of the preface, and nothing more in time.
    Late,
    /// Nothing came.
    Gone,
}

/// Looks at the first bytes of a connection, which stay in the reader.
pub(crate) async fn opening(context: &SessionContext, reader: &mut Reader) -> Opening {
    if !next_request(context, reader).await {
        return Opening::Gone;
    }
    let deadline = Instant::now() + Duration::from_millis(context.limits.head_ms_max);
    loop {
        let bytes = reader.buffered();
        if bytes.starts_with(PREFACE) {
            return Opening::Http2;
        }
        if !PREFACE.starts_with(bytes) {
            return Opening::Http1;
        }
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
        match reader.fill(left).await {
            Ok(0) | Err(IoFault::Failed) => return Opening::Gone,
            Ok(_) => {}
            Err(IoFault::TimedOut) => return Opening::Late,
        }
    }
}

/// Serves one connection until it ends; `is_over`: it is one too many, and only told so.
pub(crate) async fn serve(
    context: Rc<SessionContext>,
    client: Client,
    reader: Reader,
    writer: Writer,
    is_over: bool,
) {
    let io = PolledIo::new(reader, writer, Guard::new(true));
    let limit = Duration::from_millis(context.limits.head_ms_max);
    let handshake = builder(&context.limits).handshake::<_, Bytes>(io.clone());
    let Ok(Ok(connection)) = monoio::time::timeout(limit, handshake).await else { return };
    let mut session = Session {
        streams: Rc::new(OpenStreams { count: Cell::new(0), idle_since: Cell::new(Instant::now()) }),
        connection,
        io: io.clone(),
        closing_since: None,
        is_over,
        client: Rc::new(client),
        context,
    };
    session.run().await;
    drop(session);
    io.linger(LINGER_BYTES_MAX, Duration::from_millis(CLOSE_MS_MAX)).await;
}

struct Session {
    context: Rc<SessionContext>,
    client: Rc<Client>,
    connection: Connection<PolledIo, Bytes>,
    io: PolledIo,
    streams: Rc<OpenStreams>,
    /// Since when the peer is told to open no more streams.
    closing_since: Option<Instant>,
    is_over: bool,
}

/// What happened on a connection.
enum Event {
    Stream(Box<Request<RecvStream>>, SendResponse<Bytes>),
    Over,
    /// The peer has sent what it may not.
    Fault(Reason),
    Drain,
    Tick,
}

impl Session {
    async fn run(&mut self) {
        let drain = self.context.drain.clone();
        let mut drained = pin!(drain.wait());
        loop {
            let mut tick = pin!(monoio::time::sleep(self.tick()));
            let event = poll_fn(|cx| self.poll(cx, drained.as_mut(), tick.as_mut())).await;
            match event {
                Event::Stream(request, respond) => self.open(*request, respond),
                Event::Over => return,
                Event::Fault(reason) => {
                    ShardStats::count(&self.context.stats.aborted, 1);
                    self.connection.abrupt_shutdown(reason);
                    self.finish().await;
                    return;
                }
                Event::Drain => self.close(),
                Event::Tick => {
                    if self.is_idle_for_too_long() {
                        self.close();
                    }
                }
            }
            if self.has_closed_for_too_long() {
                return;
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        drained: Pin<&mut impl Future<Output = ()>>,
        tick: Pin<&mut impl Future<Output = ()>>,
    ) -> Poll<Event> {
        let accepted = self.connection.poll_accept(cx);
        if let Some(reason) = self.io.with_guard(|guard| guard.fault()) {
            return Poll::Ready(Event::Fault(reason));
        }
        match accepted {
            Poll::Ready(Some(Ok((request, respond)))) => {
                return Poll::Ready(Event::Stream(Box::new(request), respond));
            }
            Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Event::Over),
            Poll::Pending => {}
        }
        if self.closing_since.is_none() && drained.poll(cx).is_ready() {
            return Poll::Ready(Event::Drain);
        }
        tick.poll(cx).map(|()| Event::Tick)
    }

    /// What is laid down still leaves.
    async fn finish(&mut self) {
        let closed = poll_fn(|cx| self.connection.poll_closed(cx));
        // Whether it arrives does not matter: the connection is closed next.
        let _ = monoio::time::timeout(Duration::from_millis(CLOSE_MS_MAX), closed).await;
    }

    /// Time until something must be looked at again.
    fn tick(&self) -> Duration {
        let ms = if self.closing_since.is_some() { CLOSE_MS_MAX } else { self.context.limits.idle_ms_max };
        let since = self.closing_since.unwrap_or(self.streams.idle_since.get());
        if !self.streams.is_empty() {
            return Duration::from_millis(ms);
        }
        Duration::from_millis(ms).saturating_sub(since.elapsed()).max(Duration::from_millis(1))
    }

    fn is_idle_for_too_long(&self) -> bool {
        let longest = Duration::from_millis(self.context.limits.idle_ms_max);
        self.streams.is_empty() && self.streams.idle_since.get().elapsed() >= longest
    }

    /// A peer that has no stream any more and does not go is left.
    fn has_closed_for_too_long(&mut self) -> bool {
        let Some(since) = &mut self.closing_since else { return false };
        if !self.streams.is_empty() {
            *since = Instant::now();
        }
        since.elapsed() >= Duration::from_millis(CLOSE_MS_MAX)
    }

    /// Takes no new streams; those that are open go on.
    fn close(&mut self) {
        if self.closing_since.is_none() {
            self.closing_since = Some(Instant::now());
            self.connection.graceful_shutdown();
        }
    }

    fn open(&mut self, request: Request<RecvStream>, respond: SendResponse<Bytes>) {
        let (context, client) = (Rc::clone(&self.context), Rc::clone(&self.client));
        let stream = Stream::server(respond, self.io.clone());
        let (place, is_over) = (self.streams.open(), self.is_over);
        if is_over {
            self.close();
        }
        monoio::spawn(async move {
            let stats = Arc::clone(&context.stats);
            guarded(serve_stream(context, client, request, stream, is_over), &stats).await;
            drop(place);
        });
    }
}

/// Serves one request; a client that gives it up ends all that is done for it.
async fn serve_stream(
    context: Rc<SessionContext>,
    client: Rc<Client>,
    request: Request<RecvStream>,
    stream: Rc<Stream>,
    is_over: bool,
) {
    let (parts, body) = request.into_parts();
    let mut sink = Sink::Http2(Http2Sink::new(Rc::clone(&stream), context.limits.write_ms_max));
    let head = request_head(&parts, body.is_end_stream(), &context.head_limits());
    let problem = match &head {
        Ok(_) if is_over => Some(Problem::OVERLOADED),
        Ok(_) => None,
        Err(refusal) => Some(Problem::bad_request(refusal.status, refusal.reason)),
    };
    let mut source = Source::Http2(Http2Source::new(body));
    let served = async {
        match (head, problem) {
            (Ok(head), None) => exchange(&context, &client, &head, &mut source, &mut sink).await,
            (_, problem) => {
                ShardStats::count(&context.stats.requests, 1);
                let shape = Shape::of(parts.uri.path(), &fields_of(&parts.headers));
                let bodiless = parts.method == http::Method::HEAD;
                let problem = problem.unwrap_or(Problem::OVERLOADED);
                let id = context.new_id();
                let sent =
                    refuse(&context, &mut sink, (&problem, problem.detail), shape, id, bodiless, true).await;
                if sent { After::Close } else { After::Abort }
            }
        }
    };
    let mut served = pin!(served);
    let after = poll_fn(|cx| match served.as_mut().poll(cx) {
        Poll::Ready(after) => Poll::Ready(after),
        Poll::Pending => stream.poll_reset(cx).map(|()| After::Abort),
    });
    match after.await {
        After::KeepAlive | After::Close => {}
        After::Abort => {
            ShardStats::count(&context.stats.aborted, 1);
            stream.abort(Reason::INTERNAL_ERROR);
        }
    }
}
