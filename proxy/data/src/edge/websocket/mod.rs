//! A WebSocket (RFC 6455) between a client and an upstream: two ways, each masked message by message, and one end.
//!
//! ```text
//!              ┌── client ──► Mask ──► upstream ──┐   both closes passed: Closed
//!   101 ──► ───┤                                  ├── a frame that can't go on: Fault      ──► closes of our own
//!              └── upstream ──► Mask ──► client ──┘   quiet for too long, or a drain: Away ──► the same
//!              (watch: how long nothing came)         a side left without a close: Broken ──► none: it was cut off
//! ```
//!
//! # Invariants
//! * Nothing leaves but what the masker gave, and closes of our own; those stand between frames, because the way that
//!   writes to a side is the only one that does, and ends what it writes first.
//! * Behind a close nothing goes on, and none is sent twice.
//! * A way reads again when what it read has left: a slow reader stops the reads from the other side.
//!
//! Rejected: to pass frames on while their message is not whole. A value would have left by the time its end shows it.

mod frames;
mod handshake;

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant};

use sluice_audit::{FrameKind, RequestId};
use sluice_engine::{Codings, Format, FormatErrorKind, WebSocketSide};

use super::body::{Head, Sink, Source, SourceFault};
use super::exchange::{After, SessionContext};
use super::gate::Permit;
use super::recording::Log;
use super::signal::Signal;
use crate::codec::head::{RequestHead, ResponseHead};
use crate::content::Content;
use crate::forward::{self, BodyLength, ForwardRequest};
use crate::mask::{Direction, Mask};
use crate::problem::Problem;
use crate::stats::ShardStats;
use crate::table::Route;
use frames::{Seen, close};
pub(crate) use handshake::Handshake;

/// How long a side may be quiet once the other one has closed.
const CLOSE_MS_MAX: u64 = 10_000;
/// How long a session may be quiet once the gateway drains: what is said and not answered yet should be.
const DRAIN_QUIET_MS: u64 = 1_000;
/// How long a side that gets a close of ours may take to answer it.
const LINGER_MS_MAX: u64 = 1_000;
/// A read that ends with its session and not by itself.
const NO_LIMIT_MS: u64 = 365 * 24 * 3_600_000;

/// How a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Both sides have said so.
    Closed,
    /// This side sent what can't go on; the code says what it was (RFC 6455, section 7.4.1).
    Fault { by: WebSocketSide, code: u16 },
    /// Nothing came for too long, or the gateway drains.
    Away,
    /// A side left without a word, or takes no more.
    Broken,
}

impl End {
    /// The code of the close that a side gets.
    fn code(self, side: WebSocketSide) -> Option<u16> {
        match self {
            End::Closed | End::Broken => None,
            End::Fault { by, code } if by == side => Some(code),
            // Its peer can't be told what the other one did.
            End::Fault { .. } => Some(1011),
            End::Away => Some(1001),
        }
    }
}

/// The code that tells a side why its frames can't go on.
fn code_of(fault: Option<FormatErrorKind>) -> u16 {
    match fault {
        Some(FormatErrorKind::Limit(_)) => 1009,
        Some(FormatErrorKind::Invalid(what)) if what.ends_with("not UTF-8") => 1007,
        Some(FormatErrorKind::Invalid(_)) => 1002,
        Some(_) | None => 1011,
    }
}

/// A request for a WebSocket, on its way to the upstream.
pub(crate) fn request(handshake: &Handshake, plan: ForwardRequest, is_off: bool) -> ForwardRequest {
    let fields = handshake.request(&plan.fields, is_off);
    ForwardRequest { fields, length: BodyLength::Upgraded, ..plan }
}

/// What a session is made of.
pub(crate) struct Session<'a> {
    pub(crate) context: &'a SessionContext,
    pub(crate) route: &'a Route,
    pub(crate) permit: &'a Permit<'a>,
    pub(crate) log: Option<&'a Log<'a>>,
    pub(crate) head: &'a RequestHead,
    pub(crate) handshake: &'a Handshake,
    pub(crate) id: RequestId,
}

impl Session<'_> {
    /// Answers the client as the upstream did, and carries messages both ways to the end.
    ///
    /// # Errors
    /// The upstream's answer is not valid; nothing has been sent to the client.
    pub(crate) async fn run(
        &self,
        answer: &ResponseHead,
        (upstream, to_upstream): (&mut Source<'_>, &mut Sink<'_>),
        (client, to_client): (&mut Source<'_>, &mut Sink<'_>),
    ) -> Result<After, Problem> {
        let SessionContext { stats, scratch, drain, .. } = self.context;
        let masks = self.permit.masks(self.context, Direction::Response);
        self.handshake.check(answer, masks.masking.is_off)?;
        let plan = forward::response(answer, self.head, &masks, &mut scratch.borrow_mut())?;
        let mut fields = self.handshake.response(&plan.fields, masks.masking.is_off);
        fields.push("sluice-request-id", self.id.to_string());
        if let Some(log) = self.log {
            log.response(self.context, answer.status, &fields).await?;
        }
        let shared = Shared::default();
        let mut requests = self.way(WebSocketSide::Client, &shared)?;
        let mut responses = self.way(WebSocketSide::Server, &shared)?;
        to_client.head(
            Head::Response { status: answer.status, persists: true },
            fields,
            BodyLength::Upgraded,
        );
        stats.response(answer.status);
        if to_client.flush().await.is_err() {
            return Ok(After::Abort);
        }
        upstream.set_raw();
        client.set_raw();
        to_upstream.set_raw();
        let _open = Open::new(stats);
        let watch = shared.watch(self.route.config.limits.upstream_ms_max, drain);
        let ways = both(requests.run(client, to_upstream), responses.run(upstream, to_client));
        beside(ways, watch).await;
        requests.mask.close(stats);
        responses.mask.close(stats);
        match shared.end.get() {
            Some(End::Closed | End::Away) => Ok(After::Close),
            Some(End::Fault { .. }) => {
                stats.refusal(Problem::REQUEST_UNMASKABLE.code);
                Ok(After::Close)
            }
            Some(End::Broken) | None => Ok(After::Abort),
        }
    }

    fn way<'a>(&'a self, from: WebSocketSide, shared: &'a Shared) -> Result<Way<'a>, Problem> {
        let (direction, key) = match from {
            WebSocketSide::Client => (Direction::Request, Some(self.handshake.mask())),
            WebSocketSide::Server => (Direction::Response, None),
        };
        let masks = self.permit.masks(self.context, direction);
        let is_off = masks.masking.is_off;
        let mut mask = if is_off {
            Mask::off(&masks, direction)?
        } else {
            let content = Content { format: Format::WebSocket(from), codings: Codings::default() };
            Mask::new(&masks, &content, direction, false)?
        };
        if let Some(log) = self.log {
            log.watch(&mut mask);
        }
        let Session { context, log, .. } = *self;
        Ok(Way { context, log, shared, direction, from, key, mask, is_off, has_closed: false })
    }
}

/// What both ways know of each other.
struct Shared {
    /// The first reason to end stays.
    end: Cell<Option<End>>,
    stop: Signal,
    /// A close has passed.
    closing: Signal,
    /// When something came last.
    last: Cell<Instant>,
}

impl Default for Shared {
    fn default() -> Shared {
        let (stop, closing) = (Signal::default(), Signal::default());
        Shared { end: Cell::default(), stop, closing, last: Cell::new(Instant::now()) }
    }
}

impl Shared {
    fn stop(&self, end: End) {
        if self.end.get().is_none() {
            self.end.set(Some(end));
            self.stop.set();
        }
    }

    /// A close has passed; the second one ends the session.
    fn close(&self) {
        if self.closing.is_set() {
            self.stop(End::Closed);
        }
        self.closing.set();
    }

    /// Ends the session when nothing came for too long.
    async fn watch(&self, idle_ms_max: u64, drain: &Signal) {
        loop {
            let (end, ms_max) = match (self.closing.is_set(), drain.is_set()) {
                (true, _) => (End::Broken, CLOSE_MS_MAX),
                (false, true) => (End::Away, DRAIN_QUIET_MS),
                (false, false) => (End::Away, idle_ms_max),
            };
            let Some(left) = Duration::from_millis(ms_max).checked_sub(self.last.get().elapsed()) else {
                self.stop(end);
                return;
            };
            let sleep = monoio::time::sleep(left + Duration::from_millis(1));
            match (self.closing.is_set(), drain.is_set()) {
                (true, _) => sleep.await,
                (false, true) => drop(until(sleep, self.closing.wait()).await),
                (false, false) => drop(until(until(sleep, self.closing.wait()), drain.wait()).await),
            }
        }
    }
}

/// From one side to the other.
struct Way<'a> {
    context: &'a SessionContext,
    log: Option<&'a Log<'a>>,
    shared: &'a Shared,
    direction: Direction,
    from: WebSocketSide,
    /// Of closes of our own.
    key: Option<[u8; 4]>,
    mask: Mask,
    /// Bytes pass as they are: what frames they are is not known.
    is_off: bool,
    /// A close has passed, or the other side takes nothing more.
    has_closed: bool,
}

impl Way<'_> {
    async fn run(&mut self, source: &mut Source<'_>, sink: &mut Sink<'_>) {
        let mut content = Vec::new();
        while !self.shared.stop.is_set() {
            content.clear();
            let came = {
                let mut next = pin!(source.next(NO_LIMIT_MS, &mut content));
                let Some(came) = until(next.as_mut(), self.shared.stop.wait()).await else {
                    // The read goes on beside the close: who breaks it off can't read again (TLS).
                    if self.say_goodbye(sink).await {
                        linger(next).await;
                    }
                    return;
                };
                came
            };
            self.shared.last.set(Instant::now());
            // A connection that was cut ends as one that ended: without a close, neither is complete.
            let is_last = came.unwrap_or(true);
            if !self.has_closed {
                self.pass(&content, is_last, sink);
                self.shared.last.set(Instant::now());
                let is_gone = !self.record().await || sink.flush().await.is_err();
                self.has_closed |= is_gone;
                if is_gone || is_last && !self.has_closed {
                    self.shared.stop(End::Broken);
                }
            }
            // What comes behind a close is for nobody (RFC 6455, section 5.5.1).
            if is_last {
                self.shared.stop.wait().await;
            }
        }
        if self.say_goodbye(sink).await {
            content.clear();
            linger(pin!(source.next(NO_LIMIT_MS, &mut content))).await;
        }
    }

    /// Masks what came and lays it down.
    fn pass(&mut self, content: &[u8], is_last: bool, sink: &mut Sink<'_>) {
        let SessionContext { stats, scratch, .. } = self.context;
        let out = sink.content();
        let from = out.len();
        let pushed = self.mask.push(&mut scratch.borrow_mut(), stats, content, false, out);
        if pushed.is_ok() && is_last {
            // Messages that waited for the next one leave; one that is not whole does not.
            let _ = self.mask.push(&mut scratch.borrow_mut(), stats, &[], true, out);
        }
        if self.is_off {
            return;
        }
        let seen = Seen::of(out.get(from..).unwrap_or_default());
        let messages = match self.from {
            WebSocketSide::Client => &stats.websocket_request_messages,
            WebSocketSide::Server => &stats.websocket_response_messages,
        };
        ShardStats::count(messages, seen.messages);
        if seen.closes {
            self.has_closed = true;
            self.shared.close();
        } else if pushed.is_err() {
            self.shared.stop(End::Fault { by: self.from, code: code_of(self.mask.format_fault()) });
        }
    }

    /// Whether what was laid down is recorded: else it does not leave.
    async fn record(&mut self) -> bool {
        match self.log {
            Some(log) => log.body(&mut self.mask, self.direction, FrameKind::Body).await.is_ok(),
            None => true,
        }
    }

    /// Sends the close that the end asks for; whether there is one and it was sent.
    async fn say_goodbye(&mut self, sink: &mut Sink<'_>) -> bool {
        let to = match self.from {
            WebSocketSide::Client => WebSocketSide::Server,
            WebSocketSide::Server => WebSocketSide::Client,
        };
        let Some(end) = self.shared.end.get().filter(|_| !self.has_closed && !self.is_off) else {
            return false;
        };
        let Some(code) = end.code(to) else { return false };
        if end == End::Away {
            self.pass(&[], true, sink);
            if !self.record().await {
                return false;
            }
        }
        if !self.has_closed {
            sink.content().extend(close(code, self.key));
        }
        self.has_closed = true;
        sink.flush().await.is_ok()
    }
}

/// Waits for what a side still sends: a connection that is closed with something unread is reset, and takes the close
/// with it that was sent last. What comes is for nobody.
async fn linger(next: impl Future<Output = Result<bool, SourceFault>>) {
    // It comes or not: the connection is closed next.
    let _ = monoio::time::timeout(Duration::from_millis(LINGER_MS_MAX), next).await;
}

/// Counts a session for as long as it is there.
struct Open<'a>(&'a ShardStats);

impl<'a> Open<'a> {
    fn new(stats: &'a ShardStats) -> Open<'a> {
        ShardStats::count(&stats.websockets, 1);
        ShardStats::count(&stats.websockets_open, 1);
        Open(stats)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.websockets_open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a future gives; `None` once `stop` is ready before it.
async fn until<T>(future: impl Future<Output = T>, stop: impl Future) -> Option<T> {
    let (mut future, mut stop) = (pin!(future), pin!(stop));
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => stop.as_mut().poll(cx).map(|_| None),
    })
    .await
}

/// Runs both to their ends.
async fn both(a: impl Future<Output = ()>, b: impl Future<Output = ()>) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_runs, mut b_runs) = (true, true);
    poll_fn(|cx| {
        a_runs = a_runs && a.as_mut().poll(cx).is_pending();
        b_runs = b_runs && b.as_mut().poll(cx).is_pending();
        if a_runs || b_runs { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

/// Runs the first to its end, and the second for as long as it takes or wants.
async fn beside(work: impl Future<Output = ()>, watch: impl Future<Output = ()>) {
    let (mut work, mut watch) = (pin!(work), pin!(watch));
    let mut watches = true;
    poll_fn(|cx| {
        watches = watches && watch.as_mut().poll(cx).is_pending();
        work.as_mut().poll(cx)
    })
    .await;
}
