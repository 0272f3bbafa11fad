//! A client's connection: requests one after another, each an exchange with the upstream.
//!
//! ```text
//!   idle ──byte──► head ──whole──► exchange ──done, keep-alive──► idle
//!                   │ refused          │ failed before the response began
//!                   ▼                  ▼
//!                  problem ─────────► close      (failed later: close at once, the body is not ended)
//! ```

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use sluice_audit::{RequestId, RequestIds};
use sluice_engine::{Ruleset, Scratch};

use super::connection::{IoFault, Reader, Writer, close};
use super::signal::Signal;
use super::upstream::{ConnectFault, Pool, Upstream};
use crate::codec::body::{BodyDecoder, Coding, Framing};
use crate::codec::head::{HeadLimits, RequestHead, find_end, parse_request, parse_response};
use crate::config::{Limits, Masking, RouteLimits, UpstreamConfig};
use crate::forward;
use crate::mask::{CodedPlaces, Mask, MaskContext};
use crate::problem::{self, Problem, Shape};
use crate::stats::ShardStats;

/// Bytes read and thrown away while a refused client is still sending.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// Milliseconds for that.
const LINGER_MS_MAX: u64 = 1_000;

/// What the sessions of one shard share.
pub(crate) struct SessionContext {
    pub(crate) upstream: UpstreamConfig,
    pub(crate) ruleset: Arc<ArcSwap<Ruleset>>,
    pub(crate) pool: Rc<Pool>,
    pub(crate) masking: Masking,
    pub(crate) places: CodedPlaces,
    pub(crate) limits: Limits,
    pub(crate) route_limits: RouteLimits,
    pub(crate) stats: Arc<ShardStats>,
    pub(crate) scratch: RefCell<Scratch>,
    pub(crate) ids: RefCell<RequestIds>,
    pub(crate) drain: Signal,
}

impl SessionContext {
    fn head_limits(&self) -> HeadLimits {
        HeadLimits {
            bytes_max: self.limits.head_bytes_max,
            fields_max: self.limits.fields_max,
            target_bytes_max: self.limits.target_bytes_max,
        }
    }

    fn masks<'a>(&'a self, ruleset: &'a Arc<Ruleset>) -> MaskContext<'a> {
        MaskContext { ruleset, masking: &self.masking, places: &self.places, stats: &self.stats }
    }

    pub(crate) fn new_id(&self) -> RequestId {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64);
        self.ids.borrow_mut().next(now)
    }
}

/// Serves one connection until it ends.
pub(crate) async fn serve(
    context: Rc<SessionContext>,
    mut reader: Reader,
    mut writer: Writer,
    socket: RawFd,
) {
    while next_request(&context, &mut reader).await {
        let head = match read_head(&context, &mut reader).await {
            Ok(Some(head)) => head,
            Ok(None) => return,
            Err(problem) => {
                ShardStats::count(&context.stats.requests, 1);
                refuse(&context, &mut writer, &problem, Shape::Problem, context.new_id(), false, true).await;
                linger(&mut reader, &mut writer).await;
                return;
            }
        };
        ShardStats::count(&context.stats.requests, 1);
        match exchange(&context, &head, &mut reader, &mut writer).await {
            After::KeepAlive => {}
            After::Close => {
                linger(&mut reader, &mut writer).await;
                return;
            }
            After::Abort => {
                ShardStats::count(&context.stats.aborted, 1);
                if !head.is_1_1 {
                    reset(socket);
                    close(reader, writer);
                }
                return;
            }
        }
    }
}

/// Makes the close of a connection a reset: the end of a body that only the close delimits must not look like one.
fn reset(socket: RawFd) {
    let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    // It fails only on a socket that is gone, whose client has seen its end already.
    let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Linger, &now);
}

/// What becomes of the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum After {
    KeepAlive,
    /// The response is whole.
    Close,
    /// The response is not, and must not look it.
    Abort,
}

/// Waits for the first byte of a request; false when none comes.
async fn next_request(context: &SessionContext, reader: &mut Reader) -> bool {
    if reader.buffered().is_empty() {
        if context.drain.is_set() {
            return false;
        }
        reader.shrink();
        let mut fill = pin!(reader.fill(context.limits.idle_ms_max));
        let mut drained = pin!(context.drain.wait());
        let came = poll_fn(|cx| {
            if let Poll::Ready(read) = fill.as_mut().poll(cx) {
                return Poll::Ready(matches!(read, Ok(len) if len > 0));
            }
            drained.as_mut().poll(cx).map(|()| false)
        });
        return came.await;
    }
    true
}

/// Reads a request's head; `None`: the client has left.
async fn read_head(context: &SessionContext, reader: &mut Reader) -> Result<Option<RequestHead>, Problem> {
    let deadline = Instant::now() + Duration::from_millis(context.limits.head_ms_max);
    let limits = context.head_limits();
    loop {
        // RFC 9112, section 2.2: an empty line before the request is no part of it.
        while reader.buffered().starts_with(b"\r\n") {
            reader.consume(2);
        }
        let refusal = |r: crate::codec::head::Refusal| Problem::bad_request(r.status, r.reason);
        if let Some(end) = find_end(reader.buffered(), &limits).map_err(refusal)? {
            let head =
                parse_request(reader.buffered().get(..end).unwrap_or_default(), &limits).map_err(refusal)?;
            reader.consume(end);
            return Ok(Some(head));
        }
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
        match reader.fill(left).await {
            Ok(0) | Err(IoFault::Failed) => return Ok(None),
            Ok(_) => {}
            Err(IoFault::TimedOut) => {
                return Err(Problem::bad_request(408, "the head of the request did not come in time"));
            }
        }
    }
}

/// Sends an error of the gateway's own; true when it was sent whole.
async fn refuse(
    context: &SessionContext,
    writer: &mut Writer,
    problem: &Problem,
    shape: Shape,
    id: RequestId,
    bodiless: bool,
    close: bool,
) -> bool {
    context.stats.refusal(problem.code);
    context.stats.response(problem.status);
    writer.write(problem::response(problem, shape, id, bodiless, close)).await.is_ok()
}

/// Closes so that the client reads the response even while it is still sending.
async fn linger(reader: &mut Reader, writer: &mut Writer) {
    writer.shutdown().await;
    let deadline = Instant::now() + Duration::from_millis(LINGER_MS_MAX);
    let mut read = 0;
    while read < LINGER_BYTES_MAX {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as u64;
        reader.consume(usize::MAX);
        match reader.fill(left).await {
            Ok(len) if len > 0 => read += len,
            Ok(_) | Err(_) => return,
        }
    }
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
    /// The connection was a pooled one and had been closed: nothing was received.
    Stale,
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

async fn exchange(
    context: &SessionContext,
    head: &RequestHead,
    reader: &mut Reader,
    writer: &mut Writer,
) -> After {
    let id = context.new_id();
    let shape = Shape::of(&head.target, &head.fields);
    let bodiless = head.method == "HEAD";
    // A request without a body leaves the connection at the start of the next one.
    let reusable = head.keep_alive && head.framing == Framing::Empty && !context.drain.is_set();
    let mut attempts = 0;
    let problem = loop {
        attempts += 1;
        match attempt(context, head, id, reader, writer, attempts == 1).await {
            Ok(after) => return after,
            Err(Attempt::Problem(problem)) => break problem,
            Err(Attempt::Abort) => return After::Abort,
            Err(Attempt::Again) if attempts == 1 => {}
            Err(Attempt::Again) => break Problem::UNREACHABLE,
        }
    };
    let sent = refuse(context, writer, &problem, shape, id, bodiless, !reusable).await;
    match (sent, reusable) {
        (true, true) => After::KeepAlive,
        (true, false) => After::Close,
        (false, _) => After::Abort,
    }
}

/// Why an attempt came to nothing.
enum Attempt {
    Problem(Problem),
    Abort,
    /// Nothing of the request's body was taken and nothing was received: it can be made over a new connection.
    Again,
}

async fn attempt(
    context: &SessionContext,
    head: &RequestHead,
    id: RequestId,
    reader: &mut Reader,
    writer: &mut Writer,
    may_reuse: bool,
) -> Result<After, Attempt> {
    let ruleset = context.ruleset.load_full();
    let plan =
        forward::request(head, &context.upstream, &context.masks(&ruleset)).map_err(Attempt::Problem)?;
    if let (Framing::Length(len), Some(max)) = (head.framing, context.route_limits.body_bytes_max)
        && len > max
    {
        return Err(Attempt::Problem(Problem::BODY_TOO_LARGE));
    }
    let idle = if may_reuse { context.pool.take_idle() } else { None };
    let mut upstream = match idle {
        Some(upstream) => upstream,
        None => context.pool.connect().await.map_err(|fault| {
            Attempt::Problem(match fault {
                ConnectFault::TimedOut => Problem::TIMEOUT,
                ConnectFault::Unreachable => Problem::UNREACHABLE,
            })
        })?,
    };
    let is_reused = upstream.is_reused;
    let Upstream { reader: up_reader, writer: up_writer, .. } = &mut upstream;
    if up_writer.write(plan.head).await.is_err() {
        return Err(if is_reused { Attempt::Again } else { Attempt::Problem(Problem::UNREACHABLE) });
    }
    if head.expects_continue && head.framing != Framing::Empty && reader.buffered().is_empty() {
        let go_on = writer.write(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec()).await;
        go_on.map_err(|_| Attempt::Abort)?;
    }
    let body_taken = Cell::new(false);
    let request_done = Cell::new(head.framing == Framing::Empty);
    let begun = Cell::new(false);
    let request = RequestSide { context, head, mask: plan.mask, ruleset: &ruleset, taken: &body_taken };
    let response =
        ResponseSide { context, head, id, ruleset: &ruleset, request_done: &request_done, begun: &begun };
    let (request, response) =
        both(request.run(reader, up_writer), response.run(up_reader, writer, is_reused), &request_done).await;
    let request_whole = request_done.get() && !matches!(request, Some(Err(_)));
    if let Some(Err(RequestFault::Problem(problem))) = request
        && response.is_none()
    {
        return Err(if begun.get() { count_refusal(context, &problem) } else { Attempt::Problem(problem) });
    }
    match response {
        Some(Ok(sent)) => {
            if sent.upstream && request_whole {
                context.pool.put(upstream);
            }
            let keep = sent.downstream && request_whole && head.keep_alive && !context.drain.is_set();
            Ok(if keep { After::KeepAlive } else { After::Close })
        }
        Some(Err(ResponseFault::Problem(problem))) => Err(Attempt::Problem(problem)),
        Some(Err(ResponseFault::Stale)) if !body_taken.get() => Err(Attempt::Again),
        Some(Err(ResponseFault::Stale)) => Err(Attempt::Problem(Problem::UNREACHABLE)),
        Some(Err(ResponseFault::Abort)) | None => Err(Attempt::Abort),
    }
}

/// A refusal that comes too late to be sent is counted all the same.
fn count_refusal(context: &SessionContext, problem: &Problem) -> Attempt {
    context.stats.refusal(problem.code);
    Attempt::Abort
}

/// Runs both sides until the response is over, or the request fails in a way that ends the exchange.
async fn both<A, B>(
    request: A,
    response: B,
    request_done: &Cell<bool>,
) -> (Option<Result<(), RequestFault>>, Option<Result<Sent, ResponseFault>>)
where
    A: Future<Output = Result<(), RequestFault>>,
    B: Future<Output = Result<Sent, ResponseFault>>,
{
    let (mut request, mut response) = (pin!(request), pin!(response));
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
    head: &'a RequestHead,
    mask: Option<Mask>,
    ruleset: &'a Arc<Ruleset>,
    /// A byte of the body has been taken from the client.
    taken: &'a Cell<bool>,
}

impl RequestSide<'_> {
    async fn run(mut self, reader: &mut Reader, upstream: &mut Writer) -> Result<(), RequestFault> {
        let Some(mut mask) = self.mask.take() else { return Ok(()) };
        let result = self.pump(&mut mask, reader, upstream).await;
        mask.close(&self.context.stats);
        result
    }

    async fn pump(
        &self,
        mask: &mut Mask,
        reader: &mut Reader,
        upstream: &mut Writer,
    ) -> Result<(), RequestFault> {
        let SessionContext { route_limits: limits, stats, scratch, .. } = self.context;
        let mut decoder = BodyDecoder::new(self.head.framing);
        let (mut content, mut masked, mut wire) = (Vec::new(), Vec::new(), Vec::new());
        let mut taken_bytes = 0u64;
        loop {
            if reader.buffered().is_empty() {
                match reader.fill(limits.body_ms_max).await {
                    Ok(0) | Err(IoFault::Failed) => return Err(RequestFault::Gone),
                    Ok(_) => {}
                    Err(IoFault::TimedOut) => {
                        let problem = Problem::bad_request(408, "the request's body did not go on in time");
                        return Err(RequestFault::Problem(problem));
                    }
                }
            }
            self.taken.set(true);
            content.clear();
            masked.clear();
            let taken = decoder
                .decode(reader.buffered(), &mut content)
                .map_err(|fault| RequestFault::Problem(Problem::bad_request(400, fault.0)))?;
            reader.consume(taken);
            taken_bytes += content.len() as u64;
            let done = decoder.is_done();
            let pushed = mask.push(&mut scratch.borrow_mut(), stats, &content, done, &mut masked);
            // Decoded it may be the larger one.
            let body_bytes = taken_bytes.max(mask.scanned());
            if limits.body_bytes_max.is_some_and(|max| body_bytes > max) {
                return Err(RequestFault::Problem(Problem::BODY_TOO_LARGE));
            }
            pushed.map_err(RequestFault::Problem)?;
            Coding::Chunked.write(&masked, &mut wire);
            if done {
                let trailers =
                    forward::trailers(decoder.trailers(), self.ruleset, &mut scratch.borrow_mut(), stats);
                Coding::Chunked.end(&trailers, &mut wire);
            }
            wire = upstream.write(wire).await.map_err(|_| RequestFault::Upstream)?;
            if done {
                return Ok(());
            }
        }
    }
}

/// The way from the upstream to the client.
struct ResponseSide<'a> {
    context: &'a SessionContext,
    head: &'a RequestHead,
    id: RequestId,
    ruleset: &'a Arc<Ruleset>,
    request_done: &'a Cell<bool>,
    /// A byte of the response has been sent.
    begun: &'a Cell<bool>,
}

impl ResponseSide<'_> {
    async fn run(
        self,
        upstream: &mut Reader,
        writer: &mut Writer,
        is_reused: bool,
    ) -> Result<Sent, ResponseFault> {
        let result = self.answer(upstream, writer, is_reused).await;
        if matches!(result, Err(ResponseFault::Abort)) {
            ShardStats::count(&self.context.stats.upstream_errors, 1);
        }
        result
    }

    async fn answer(
        &self,
        upstream: &mut Reader,
        writer: &mut Writer,
        is_reused: bool,
    ) -> Result<Sent, ResponseFault> {
        let SessionContext { stats, scratch, .. } = self.context;
        let head = self.read_head(upstream, is_reused).await?;
        let masks = self.context.masks(self.ruleset);
        let plan = forward::response(&head, self.head, &masks, &mut scratch.borrow_mut());
        let mut plan = plan.map_err(ResponseFault::Problem)?;
        let coding = if self.head.is_1_1 { Coding::Chunked } else { Coding::UntilClose };
        let ends_connection = plan.mask.is_some() && coding == Coding::UntilClose;
        let downstream = self.head.keep_alive && self.request_done.get() && !ends_connection;
        let bodiless = self.head.method == "HEAD" || matches!(head.status, 204 | 304);
        match (&plan.mask, coding) {
            (Some(_), Coding::Chunked) => plan.fields.push("Transfer-Encoding", "chunked"),
            (None, _) if !bodiless => plan.fields.push("Content-Length", "0"),
            (Some(_) | None, _) => {}
        }
        if !downstream || self.context.drain.is_set() {
            plan.fields.push("Connection", "close");
        } else if !self.head.is_1_1 {
            plan.fields.push("Connection", "keep-alive");
        }
        plan.fields.push("sluice-request-id", self.id.to_string());
        let mut wire = Vec::new();
        forward::write_response_head(head.status, &plan.fields, &mut wire);
        let Some(mut mask) = plan.mask else {
            self.send(head.status, wire, writer).await?;
            return Ok(Sent { downstream, upstream: head.keep_alive });
        };
        if plan.is_live {
            wire = self.send(head.status, wire, writer).await?;
        }
        let result = self.pump(&mut mask, head.status, head.framing, coding, wire, upstream, writer).await;
        mask.close(stats);
        result?;
        Ok(Sent { downstream, upstream: head.keep_alive })
    }

    /// Sends bytes of the response; the first ones begin it.
    async fn send(&self, status: u16, wire: Vec<u8>, writer: &mut Writer) -> Result<Vec<u8>, ResponseFault> {
        if !self.begun.replace(true) {
            self.context.stats.response(status);
        }
        writer.write(wire).await.map_err(|_| ResponseFault::Abort)
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

    /// Reads the final response's head; interim ones are not forwarded.
    async fn read_head(
        &self,
        upstream: &mut Reader,
        is_reused: bool,
    ) -> Result<crate::codec::head::ResponseHead, ResponseFault> {
        let limits = self.context.head_limits();
        let mut interim = 0;
        let mut received = false;
        loop {
            let end = find_end(upstream.buffered(), &limits);
            let bad = |_| ResponseFault::Problem(Problem::BAD_RESPONSE);
            if let Some(end) = end.map_err(bad)? {
                let bytes = upstream.buffered().get(..end).unwrap_or_default();
                let head = parse_response(bytes, &self.head.method, &limits).map_err(bad)?;
                upstream.consume(end);
                match head.status {
                    // No upgrade was asked for: the field is not forwarded.
                    101 => return Err(ResponseFault::Problem(Problem::BAD_RESPONSE)),
                    100..=199 if interim < self.context.limits.interim_max => interim += 1,
                    100..=199 => return Err(ResponseFault::Problem(Problem::BAD_RESPONSE)),
                    _ => return Ok(head),
                }
                continue;
            }
            match upstream.fill(self.context.route_limits.upstream_ms_max).await {
                Ok(0) | Err(IoFault::Failed) if is_reused && !received => return Err(ResponseFault::Stale),
                Ok(0) | Err(IoFault::Failed) => {
                    ShardStats::count(&self.context.stats.upstream_errors, 1);
                    return Err(ResponseFault::Problem(Problem::UNREACHABLE));
                }
                Ok(_) => received = true,
                // The clock of the answer starts when the request is whole.
                Err(IoFault::TimedOut) if !self.request_done.get() => {}
                Err(IoFault::TimedOut) => return Err(ResponseFault::Problem(Problem::TIMEOUT)),
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    async fn pump(
        &self,
        mask: &mut Mask,
        status: u16,
        framing: Framing,
        coding: Coding,
        mut wire: Vec<u8>,
        upstream: &mut Reader,
        writer: &mut Writer,
    ) -> Result<(), ResponseFault> {
        let SessionContext { route_limits: limits, stats, scratch, .. } = self.context;
        let mut decoder = BodyDecoder::new(framing);
        let (mut content, mut masked) = (Vec::new(), Vec::new());
        let mut first = true;
        loop {
            let mut ended = false;
            if upstream.buffered().is_empty() {
                match upstream.fill(limits.upstream_ms_max).await {
                    Ok(0) => ended = true,
                    Ok(_) => {}
                    Err(IoFault::Failed) => return Err(self.fault(Problem::UNREACHABLE)),
                    Err(IoFault::TimedOut) => return Err(self.fault(Problem::TIMEOUT)),
                }
            }
            let started = Instant::now();
            content.clear();
            masked.clear();
            let decoded = decoder.decode(upstream.buffered(), &mut content);
            upstream.consume(decoded.map_err(|_| self.fault(Problem::BAD_RESPONSE))?);
            if ended {
                decoder.end().map_err(|_| self.fault(Problem::UNREACHABLE))?;
            }
            let done = decoder.is_done();
            let pushed = mask.push(&mut scratch.borrow_mut(), stats, &content, done, &mut masked);
            pushed.map_err(|problem| self.fault(problem))?;
            coding.write(&masked, &mut wire);
            if done {
                let trailers =
                    forward::trailers(decoder.trailers(), self.ruleset, &mut scratch.borrow_mut(), stats);
                coding.end(&trailers, &mut wire);
            }
            if std::mem::take(&mut first) {
                stats.first_byte(started.elapsed().as_micros() as u64);
            }
            wire = self.send(status, wire, writer).await?;
            if done {
                return Ok(());
            }
        }
    }
}
