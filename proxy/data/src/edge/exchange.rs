//! An exchange: one request and its response, whatever versions of HTTP carry them.
//!
//! ```text
//!   route ──► places, rate ──► endpoint ──► connection ──► both ways at once ──► whole: the connections go on
//!     │ 404        │ 429, 503      │ 503         │ retry,            │ failed before the response began: problem
//!     ▼            ▼               ▼             ▼ 502, 504          ▼ later: broken off, never ended
//! ```

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use sluice_audit::{FrameKind, RequestId, RequestIds};
use sluice_engine::Scratch;
use sluice_policy::ResponseLimits;

use super::body::{Head, Sink, Source, SourceFault};
use super::gate::{AtGate, Barred, Permit};
use super::recording::{Log, Recording};
use super::signal::Signal;
use super::upstream::{Answer, AnswerFault, ConnectFault, Pool, Running, Spoken};
use super::upstreams::Upstreams;
use super::websocket::{self, Handshake, Session};
use crate::balance::{Outcome, TargetId};
use crate::client::Client;
use crate::codec::body::Framing;
use crate::codec::fields::Fields;
use crate::codec::head::{HeadLimits, RequestHead, ResponseHead};
use crate::config::Limits;
use crate::desk::{Desk, Refusal, RulingCache};
use crate::forward::{self, BodyLength};
use crate::forwarded;
use crate::mask::{CodedPlaces, Direction, Mask, MaskContext};
use crate::problem::{self, Problem, Shape};
use crate::stats::ShardStats;
use crate::table::{Route, Table, has_dot_segments};

/// What the sessions of one shard share.
pub(crate) struct SessionContext {
    pub(crate) table: Arc<ArcSwap<Table>>,
    pub(crate) upstreams: Upstreams,
    pub(crate) places: CodedPlaces,
    pub(crate) limits: Limits,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) scratch: RefCell<Scratch>,
    /// Where requests are decided; none: all go on.
    pub(crate) desk: Option<Arc<Desk>>,
    pub(crate) rulings: RefCell<RulingCache>,
    /// Bytes of requests' bodies that are held.
    pub(crate) held_bytes: Cell<u64>,
    /// Where exchanges are recorded; none: nowhere.
    pub(crate) recording: Option<Recording>,
    pub(crate) ids: RefCell<RequestIds>,
    pub(crate) drain: Signal,
    pub(crate) since: Instant,
}

impl SessionContext {
    pub(crate) fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            bytes_max: self.limits.head_bytes_max,
            fields_max: self.limits.fields_max,
            target_bytes_max: self.limits.target_bytes_max,
        }
    }

    pub(super) fn masks<'a>(&'a self, route: &'a Route) -> MaskContext<'a> {
        MaskContext {
            ruleset: &route.config.ruleset,
            counted: &route.config.ruleset,
            masking: &route.config.masking,
            limits: ResponseLimits::default(),
            places: &self.places,
            stats: &self.stats,
        }
    }

    pub(crate) fn new_id(&self) -> RequestId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        self.ids.borrow_mut().next(now)
    }
}

/// What becomes of the client's connection, or of its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    KeepAlive,
    /// The response is whole.
    Close,
    /// The response is not, and must not look it.
    Abort,
}

/// Sends an error of the gateway's own; true when it was sent whole.
pub(crate) async fn refuse(
    context: &SessionContext,
    sink: &mut Sink<'_>,
    (problem, detail): (&Problem, &str),
    shape: Shape,
    id: RequestId,
    bodiless: bool,
    persists: bool,
) -> bool {
    context.stats.refusal(problem.code);
    let status = problem::status(problem, shape);
    context.stats.response(status);
    let (mut fields, body) = problem::parts(problem, detail, shape, id);
    let head = Head::Response { status, persists };
    if bodiless || body.is_empty() {
        fields.push("Content-Length", body.len().to_string());
        sink.head(head, fields, BodyLength::None);
    } else {
        sink.head(head, fields, BodyLength::Unknown);
        sink.content().extend_from_slice(body.as_bytes());
        sink.end(Fields::default());
    }
    sink.flush().await.is_ok()
}

/// How the request's side of an exchange went wrong.
enum RequestFault {
    Problem(Problem),
    /// The client broke off.
    Gone,
    /// The upstream takes no more; it may have answered already.
    Upstream,
}

/// How the response's side went wrong.
enum ResponseFault {
    /// Nothing has been sent to the client.
    Problem(Problem),
    /// Nothing was received.
    Nothing,
    /// The upstream has said that it did nothing with the request.
    Refused,
    /// The upstream goes on with WebSocket, which was asked for; nothing has been sent to the client.
    Upgraded(Box<ResponseHead>),
    /// The response had begun, or the client is gone.
    Abort,
}

/// How a whole response went out.
struct Sent {
    /// The client's connection can take another request.
    downstream: bool,
    /// The upstream's can.
    upstream: bool,
}

/// Serves one request whose head is in.
pub(crate) async fn exchange(
    context: &SessionContext,
    client: &Client,
    head: &RequestHead,
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
) -> After {
    ShardStats::count(&context.stats.requests, 1);
    let id = context.new_id();
    let shape = Shape::of(&head.target, &head.fields);
    let bodiless = head.method == "HEAD";
    // A request without a body leaves the connection at the start of the next one.
    let reusable = head.keep_alive && head.framing == Framing::Empty && !context.drain.is_set();
    let begun = Cell::new(false);
    let refusal;
    let request = Request { context, client, head, id, begun: &begun };
    let (problem, detail) = match routed(&request, source, sink).await {
        Ok(after) => return after,
        Err(Attempt::Problem(problem)) => (problem, problem.detail),
        Err(Attempt::Refused(refused)) => {
            refusal = refused;
            (Problem::of_refusal(&refusal), refusal.detail.as_str())
        }
        Err(Attempt::Abort) => return After::Abort,
        Err(Attempt::Again { .. }) => (Problem::UNREACHABLE, Problem::UNREACHABLE.detail),
    };
    if begun.get() {
        context.stats.refusal(problem.code);
        sink.content().extend_from_slice(problem::event(&problem, detail, shape, id).as_bytes());
        sink.end(Fields::default());
        return if sink.flush().await.is_ok() { After::Close } else { After::Abort };
    }
    let sent = refuse(context, sink, (&problem, detail), shape, id, bodiless, reusable).await;
    match (sent, reusable) {
        (true, true) => After::KeepAlive,
        (true, false) => After::Close,
        (false, _) => After::Abort,
    }
}

/// A request whose head is in.
struct Request<'a> {
    context: &'a SessionContext,
    client: &'a Client,
    head: &'a RequestHead,
    id: RequestId,
    /// A byte of the response has been sent.
    begun: &'a Cell<bool>,
}

async fn routed(
    request: &Request<'_>,
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
) -> Result<After, Attempt> {
    let Request { context, client, head, id, begun } = *request;
    if has_dot_segments(&head.target) {
        return Err(Attempt::Problem(Problem::DOT_SEGMENTS));
    }
    let table = context.table.load_full();
    let (number, route) = table.route(head).ok_or(Attempt::Problem(Problem::NO_ROUTE))?;
    let limits = &route.config.limits;
    if let (Framing::Length(len), Some(max)) = (head.framing, limits.body_bytes_max)
        && len > max
    {
        return Err(Attempt::Problem(Problem::BODY_TOO_LARGE));
    }
    let is_tls = table.upstreams().get(route.config.upstream).is_some_and(|u| u.config.tls.is_some());
    if head.absolute.as_ref().is_some_and(|absolute| absolute.is_https) && !is_tls {
        return Err(Attempt::Problem(Problem::NOT_TLS));
    }
    let handshake = Handshake::of(head, id).map_err(Attempt::Problem)?;
    let gate = AtGate { context, client, table: &table, route, head, id, begun };
    let permit = match gate.pass(source, sink).await {
        Ok(permit) => permit,
        Err(barred) => {
            if let (Some(mut log), Some((code, status))) =
                (Log::new(context, &table, route, id, None), barred.outcome())
            {
                log.refused(context, head, code, status);
            }
            return Err(barred.into());
        }
    };
    let log = Log::new(context, &table, route, id, Some(&permit));
    if let Some(log) = &log {
        Box::pin(log.request(context, head)).await.map_err(|e| Attempt::Problem(e.into()))?;
    }
    let asked = Asked {
        context,
        client,
        table: &table,
        number,
        route,
        permit: &permit,
        log: log.as_ref(),
        head,
        id,
        begun,
        handshake,
    };
    let done = admitted(&asked, source, sink).await;
    if let Some(log) = &log {
        match &done {
            Ok(After::KeepAlive | After::Close) => log.end("complete", None),
            Ok(After::Abort) | Err(Attempt::Abort) => log.end("aborted", None),
            Err(Attempt::Problem(problem)) => log.end(problem.code, Some(problem.status)),
            Err(Attempt::Refused(refusal)) => log.end(Problem::of_refusal(refusal).code, None),
            Err(Attempt::Again { .. }) => {
                log.end(Problem::UNREACHABLE.code, Some(Problem::UNREACHABLE.status))
            }
        }
    }
    done
}

/// A request that may go on, where and when there is room for it.
async fn admitted(asked: &Asked<'_>, source: &mut Source<'_>, sink: &mut Sink<'_>) -> Result<After, Attempt> {
    let Asked { context, client, table, number, route, permit, head, .. } = *asked;
    if let Some(rate) = &route.rate {
        let now_ms = context.since.elapsed().as_millis() as u64;
        let subject = permit.subject(forwarded::client_address(&head.fields, client));
        rate.take(subject, now_ms).map_err(|limited| {
            let seconds = limited.retry_after_ms.div_ceil(1000).min(u64::from(u32::MAX)) as u32;
            Attempt::Problem(Problem { retry_after_s: seconds, ..Problem::RATE_LIMITED })
        })?;
    }
    let _slot = match (context.upstreams.slots(table, number), &route.config.limits.concurrency) {
        (Some(slots), Some(limit)) => {
            let full = Attempt::Problem(Problem::ROUTE_FULL);
            let Ok(waiting) = slots.acquire() else { return Err(full) };
            let limit = Duration::from_millis(limit.queue_ms_max);
            Some(monoio::time::timeout(limit, waiting).await.map_err(|_| full)?)
        }
        (Some(_) | None, _) => None,
    };
    let pool = context.upstreams.pool(table, route.config.upstream);
    let pool = pool.ok_or(Attempt::Problem(Problem::NO_ROUTE))?;
    let _place = pool.admit().ok_or(Attempt::Problem(Problem::UPSTREAM_FULL))?;
    let mut tries = Tries { may_reuse: true, tried: Vec::new() };
    loop {
        match attempt(asked, &pool, source, sink, &mut tries).await {
            // A connection that had been idle was closed: that is no fault of the request's.
            Err(Attempt::Again { is_free: true }) if tries.may_reuse => tries.may_reuse = false,
            Err(Attempt::Again { .. })
                if tries.tried.len() <= pool.config().retry.retries_max as usize && pool.may_retry() =>
            {
                tries.may_reuse = false;
            }
            other => return other,
        }
    }
}

/// What was tried for a request.
struct Tries {
    /// A connection that was idle may be used.
    may_reuse: bool,
    tried: Vec<TargetId>,
}

/// Why an attempt came to nothing.
enum Attempt {
    Problem(Problem),
    /// It was decided that it does not go on.
    Refused(Box<Refusal>),
    Abort,
    /// Nothing of the request's body was taken and nothing was received: it can be made again.
    Again {
        /// It was over a connection that had been idle.
        is_free: bool,
    },
}

impl From<Barred> for Attempt {
    fn from(barred: Barred) -> Attempt {
        match barred {
            Barred::Problem(problem) => Attempt::Problem(problem),
            Barred::Refused(refusal) => Attempt::Refused(Box::new(refusal)),
            Barred::Gone => Attempt::Abort,
        }
    }
}

/// A request, and what was decided of it.
struct Asked<'a> {
    context: &'a SessionContext,
    client: &'a Client,
    table: &'a Table,
    /// Of its route.
    number: usize,
    route: &'a Route,
    permit: &'a Permit<'a>,
    log: Option<&'a Log<'a>>,
    head: &'a RequestHead,
    id: RequestId,
    /// A byte of the response has been sent.
    begun: &'a Cell<bool>,
    /// It asks for a WebSocket.
    handshake: Option<Handshake>,
}

async fn attempt(
    asked: &Asked<'_>,
    pool: &Pool,
    source: &mut Source<'_>,
    sink: &mut Sink<'_>,
    tries: &mut Tries,
) -> Result<After, Attempt> {
    let Asked { context, client, route, permit, log, head, id, begun, ref handshake, .. } = *asked;
    let masks = permit.masks(context, Direction::Request);
    let mut plan = forward::request(head, pool.config(), &masks).map_err(Attempt::Problem)?;
    permit.apply(&mut plan.target, &mut plan.fields);
    if begun.get() {
        plan.fields = plan.fields.without(&["accept-encoding"]);
        plan.fields.push("Accept-Encoding", "identity");
    }
    forwarded::write(&mut plan.fields, head, client, route.config.forwarded);
    if let Some(handshake) = handshake {
        plan = websocket::request(handshake, plan, route.config.masking.is_off);
    }
    // Where every target was tried, one of them is tried again.
    let running = pool.begin(&tries.tried).or_else(|| pool.begin(&[]));
    let mut running = running.ok_or(Attempt::Problem(Problem::UNREACHABLE))?;
    let spoken = Spoken::by(head, handshake.is_some());
    let idle = running.target().filter(|_| tries.may_reuse).and_then(|target| pool.take_idle(target, spoken));
    let mut upstream = match idle {
        Some(upstream) => upstream,
        None => pool.connect(&mut running, spoken).await.map_err(|fault| {
            Attempt::Problem(match fault {
                ConnectFault::TimedOut => Problem::TIMEOUT,
                ConnectFault::Unreachable => Problem::UNREACHABLE,
            })
        })?,
    };
    let is_reused = upstream.is_reused();
    let (mut up_sink, answer) = upstream.split();
    let request_head = Head::Request { method: &head.method, target: &plan.target };
    up_sink.head(request_head, plan.fields, plan.length);
    let waits = head.expects_continue && permit.held().is_none();
    if waits && head.framing != Framing::Empty && !source.is_ready() {
        sink.go_on().await.map_err(|_| Attempt::Abort)?;
    }
    let body_taken = Cell::new(false);
    let request_done = Cell::new(false);
    let request = RequestSide { context, route, permit, log, mask: plan.mask, taken: &body_taken };
    let response = ResponseSide {
        context,
        route,
        permit,
        log,
        running: &running,
        head,
        id,
        asks_for_websocket: handshake.is_some(),
        request_done: &request_done,
        begun,
        continues: begun.get(),
    };
    let (request, response) = {
        let (request, response) = (pin!(request.run(source, &mut up_sink)), pin!(response.run(answer, sink)));
        both(request, response, &request_done).await
    };
    let request_whole = request_done.get() && !matches!(request, Some(Err(_)));
    drop(up_sink);
    if let Some(Err(RequestFault::Problem(problem))) = request
        && response.is_none()
    {
        running.judge(Outcome::Neutral);
        return Err(if begun.get() { count_refusal(context, &problem) } else { Attempt::Problem(problem) });
    }
    match response {
        Some(Ok(sent)) => {
            if let (true, true, Some(target)) = (sent.upstream, request_whole, running.target()) {
                pool.put(target, upstream);
            }
            let keep = sent.downstream && request_whole && head.keep_alive && !context.drain.is_set();
            Ok(if keep { After::KeepAlive } else { After::Close })
        }
        Some(Err(ResponseFault::Problem(problem))) => Err(Attempt::Problem(problem)),
        Some(Err(ResponseFault::Upgraded(answer))) => {
            let Some(handshake) = handshake else { return Err(Attempt::Problem(Problem::BAD_RESPONSE)) };
            let session = Session { context, route, permit, log, head, handshake, id };
            let (mut up_sink, messages) = upstream.split();
            let messages = messages.body(Framing::Empty);
            let mut messages = messages.ok_or(Attempt::Problem(Problem::BAD_RESPONSE))?;
            // In a place of its own: every exchange would be as large else.
            let done = Box::pin(session.run(&answer, (&mut messages, &mut up_sink), (source, sink))).await;
            done.map_err(Attempt::Problem)
        }
        Some(Err(ResponseFault::Refused)) if !body_taken.get() => {
            tries.tried.extend(running.target());
            Err(Attempt::Again { is_free: false })
        }
        Some(Err(fault @ (ResponseFault::Nothing | ResponseFault::Refused))) => {
            running.judge(if is_reused { Outcome::Neutral } else { Outcome::Fault });
            tries.tried.extend(running.target().filter(|_| !is_reused));
            let is_whole_upstream = head.framing == Framing::Empty || permit.held().is_some();
            // Without its body a request is not complete: the upstream can't have acted on it.
            let is_safe = !is_whole_upstream || is_idempotent(&head.method);
            if !body_taken.get() && is_safe && matches!(fault, ResponseFault::Nothing) {
                return Err(Attempt::Again { is_free: is_reused });
            }
            Err(Attempt::Problem(Problem::UNREACHABLE))
        }
        Some(Err(ResponseFault::Abort)) | None => Err(Attempt::Abort),
    }
}

/// RFC 9110, section 9.2.2.
fn is_idempotent(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE")
}

/// A refusal that comes too late to be sent is counted all the same.
fn count_refusal(context: &SessionContext, problem: &Problem) -> Attempt {
    context.stats.refusal(problem.code);
    Attempt::Abort
}

/// Runs both sides until the response is over, or the request fails in a way that ends the exchange.
async fn both<A, B>(
    mut request: Pin<&mut A>,
    mut response: Pin<&mut B>,
    request_done: &Cell<bool>,
) -> (Option<Result<(), RequestFault>>, Option<Result<Sent, ResponseFault>>)
where
    A: Future<Output = Result<(), RequestFault>>,
    B: Future<Output = Result<Sent, ResponseFault>>,
{
    let mut asked = None;
    poll_fn(|cx| {
        if asked.is_none()
            && let Poll::Ready(result) = request.as_mut().poll(cx)
        {
            request_done.set(result.is_ok());
            let ends = matches!(result, Err(RequestFault::Problem(_) | RequestFault::Gone));
            asked = Some(result);
            if ends {
                return Poll::Ready((asked.take(), None));
            }
        }
        response.as_mut().poll(cx).map(|result| (asked.take(), Some(result)))
    })
    .await
}

/// The way from the client to the upstream.
struct RequestSide<'a> {
    context: &'a SessionContext,
    route: &'a Route,
    permit: &'a Permit<'a>,
    log: Option<&'a Log<'a>>,
    mask: Option<Mask>,
    /// A byte of the body has been taken from the client.
    taken: &'a Cell<bool>,
}

impl RequestSide<'_> {
    async fn run(mut self, source: &mut Source<'_>, upstream: &mut Sink<'_>) -> Result<(), RequestFault> {
        let Some(mut mask) = self.mask.take() else {
            return upstream.flush().await.map_err(|_| RequestFault::Upstream);
        };
        if let Some(log) = self.log {
            log.watch(&mut mask);
        }
        let result = self.pump(&mut mask, source, upstream).await;
        mask.close(&self.context.stats);
        result
    }

    async fn pump(
        &self,
        mask: &mut Mask,
        source: &mut Source<'_>,
        upstream: &mut Sink<'_>,
    ) -> Result<(), RequestFault> {
        let SessionContext { stats, scratch, .. } = self.context;
        let limits = &self.route.config.limits;
        let mut content = Vec::new();
        let mut taken_bytes = 0u64;
        loop {
            if self.permit.held().is_none() && !source.is_ready() {
                // The head, or what came before, must not wait for what comes.
                upstream.flush().await.map_err(|_| RequestFault::Upstream)?;
            }
            content.clear();
            let done = if let Some(held) = self.permit.held() {
                content.extend_from_slice(held);
                true
            } else {
                let done = source.next(limits.body_ms_max, &mut content).await.map_err(request_fault)?;
                self.taken.set(true);
                done
            };
            taken_bytes += content.len() as u64;
            let pushed = mask.push(&mut scratch.borrow_mut(), stats, &content, done, upstream.content());
            // Decoded it may be the larger one.
            let body_bytes = taken_bytes.max(mask.scanned());
            if limits.body_bytes_max.is_some_and(|max| body_bytes > max) {
                return Err(RequestFault::Problem(Problem::BODY_TOO_LARGE));
            }
            pushed.map_err(RequestFault::Problem)?;
            if let Some(log) = self.log {
                let recorded = Box::pin(log.body(mask, Direction::Request, FrameKind::Body)).await;
                recorded.map_err(|e| RequestFault::Problem(e.into()))?;
            }
            if done {
                let masks = self.permit.masks(self.context, Direction::Request);
                upstream.end(forward::trailers(source.trailers(), &masks, &mut scratch.borrow_mut()));
            }
            upstream.flush().await.map_err(|_| RequestFault::Upstream)?;
            if done {
                return Ok(());
            }
        }
    }
}

fn request_fault(fault: SourceFault) -> RequestFault {
    match fault {
        SourceFault::Gone => RequestFault::Gone,
        SourceFault::TimedOut => RequestFault::Problem(Problem::BODY_TIMED_OUT),
        SourceFault::Framing(reason) => RequestFault::Problem(Problem::bad_request(400, reason)),
    }
}

/// The way from the upstream to the client.
struct ResponseSide<'a> {
    context: &'a SessionContext,
    route: &'a Route,
    permit: &'a Permit<'a>,
    log: Option<&'a Log<'a>>,
    running: &'a Running<'a>,
    head: &'a RequestHead,
    id: RequestId,
    asks_for_websocket: bool,
    request_done: &'a Cell<bool>,
    /// A byte of the response has been sent.
    begun: &'a Cell<bool>,
    /// The gate has begun it: events follow, without codings.
    continues: bool,
}

impl ResponseSide<'_> {
    async fn run(self, upstream: Answer<'_>, sink: &mut Sink<'_>) -> Result<Sent, ResponseFault> {
        let result = self.answer(upstream, sink).await;
        if matches!(result, Err(ResponseFault::Abort)) {
            ShardStats::count(&self.context.stats.upstream_errors, 1);
        }
        result
    }

    async fn answer(&self, mut upstream: Answer<'_>, sink: &mut Sink<'_>) -> Result<Sent, ResponseFault> {
        let SessionContext { stats, scratch, .. } = self.context;
        let ms_max = self.route.config.limits.upstream_ms_max;
        let head = upstream.head(&self.head.method, self.context, ms_max, self.request_done).await;
        let head = head.map_err(|fault| {
            if !matches!(fault, AnswerFault::Nothing | AnswerFault::Refused) {
                self.running.judge(Outcome::Fault);
            }
            ShardStats::count(&stats.upstream_errors, 1);
            match fault {
                AnswerFault::Nothing => ResponseFault::Nothing,
                AnswerFault::Refused => ResponseFault::Refused,
                AnswerFault::Gone => ResponseFault::Problem(Problem::UNREACHABLE),
                AnswerFault::TimedOut => ResponseFault::Problem(Problem::TIMEOUT),
                AnswerFault::Invalid => ResponseFault::Problem(Problem::BAD_RESPONSE),
            }
        })?;
        self.running.judge(if matches!(head.status, 502..=504) { Outcome::Fault } else { Outcome::Good });
        if head.status == 101 {
            return Err(if self.asks_for_websocket {
                ResponseFault::Upgraded(Box::new(head))
            } else {
                ResponseFault::Problem(Problem::BAD_RESPONSE)
            });
        }
        let masks = self.permit.masks(self.context, Direction::Response);
        let plan = forward::response(&head, self.head, &masks, &mut scratch.borrow_mut());
        let mut plan = plan.map_err(ResponseFault::Problem)?;
        if let Some(log) = self.log {
            let recorded = Box::pin(log.response(self.context, head.status, &plan.fields)).await;
            recorded.map_err(|e| ResponseFault::Problem(e.into()))?;
        }
        if self.continues && !(head.status == 200 && plan.is_events && !plan.fields.has("content-encoding")) {
            return Err(ResponseFault::Problem(Problem::NOT_EVENTS));
        }
        let persists = sink.persists(plan.length) && !self.continues;
        let downstream = self.head.keep_alive && self.request_done.get() && persists;
        plan.fields.push("sluice-request-id", self.id.to_string());
        let first =
            Head::Response { status: head.status, persists: downstream && !self.context.drain.is_set() };
        if !self.continues {
            sink.head(first, plan.fields, plan.length);
        }
        let Some(mut mask) = plan.mask else {
            self.send(head.status, sink).await?;
            return Ok(Sent { downstream, upstream: head.keep_alive });
        };
        if plan.is_live {
            self.send(head.status, sink).await?;
        }
        if let Some(log) = self.log {
            log.watch(&mut mask);
        }
        let mut body = upstream.body(head.framing).ok_or(ResponseFault::Abort)?;
        let result = self.pump(&mut mask, head.status, &mut body, sink).await;
        mask.close(stats);
        result?;
        Ok(Sent { downstream, upstream: head.keep_alive })
    }

    /// Sends what was laid down of the response; the first bytes begin it.
    async fn send(&self, status: u16, sink: &mut Sink<'_>) -> Result<(), ResponseFault> {
        if !self.begun.replace(true) {
            self.context.stats.response(status);
        }
        sink.flush().await.map_err(|_| ResponseFault::Abort)
    }

    /// A fault of the body: told to the client while nothing has been sent, else the connection breaks.
    fn fault(&self, problem: Problem) -> ResponseFault {
        if self.begun.get() {
            self.context.stats.refusal(problem.code);
            ResponseFault::Abort
        } else {
            ResponseFault::Problem(problem)
        }
    }

    async fn pump(
        &self,
        mask: &mut Mask,
        status: u16,
        upstream: &mut Source<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), ResponseFault> {
        let SessionContext { stats, scratch, .. } = self.context;
        let ms_max = self.route.config.limits.upstream_ms_max;
        let mut content = Vec::new();
        let mut first = true;
        loop {
            content.clear();
            let done = upstream.next(ms_max, &mut content).await.map_err(|fault| {
                self.running.judge(Outcome::Fault);
                self.fault(match fault {
                    SourceFault::Gone => Problem::UNREACHABLE,
                    SourceFault::TimedOut => Problem::TIMEOUT,
                    SourceFault::Framing(_) => Problem::BAD_RESPONSE,
                })
            })?;
            let started = Instant::now();
            let pushed = mask.push(&mut scratch.borrow_mut(), stats, &content, done, sink.content());
            pushed.map_err(|problem| self.fault(problem))?;
            if let Some(log) = self.log {
                let recorded = Box::pin(log.body(mask, Direction::Response, FrameKind::Body)).await;
                recorded.map_err(|e| self.fault(e.into()))?;
            }
            if done {
                let masks = self.permit.masks(self.context, Direction::Response);
                sink.end(forward::trailers(upstream.trailers(), &masks, &mut scratch.borrow_mut()));
            }
            if std::mem::take(&mut first) {
                stats.first_byte(started.elapsed().as_micros() as u64);
            }
            self.send(status, sink).await?;
            if done {
                return Ok(());
            }
        }
    }
}
