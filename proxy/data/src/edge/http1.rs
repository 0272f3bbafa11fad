//! A client's connection in HTTP/1.1: requests one after another, each an exchange.
//!
//! ```text
//!   idle ──byte──► head ──whole──► exchange ──done, keep-alive──► idle
//!                   │ refused          │ failed before the response began
//!                   ▼                  ▼
//!                  problem ─────────► close      (failed later: close at once, the body is not ended)
//! ```
//!
//! Behind a `CONNECT` that is let in it goes on just so, for that host alone ([`super::tunnel`]).

use std::future::{Future, poll_fn};
use std::os::fd::RawFd;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::body::{Http1Sink, Sink, Source};
use super::connection::{IoFault, Reader, Writer, close};
use super::exchange::{After, SessionContext, exchange, refuse};
use super::tunnel::{self, Tunnel};
use crate::client::Client;
use crate::codec::head::{HeadFinder, HeadRules, Refusal, RequestHead, parse_request};
use crate::problem::{Problem, Shape};
use crate::stats::ShardStats;

/// Bytes read and thrown away while a refused client is still sending.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// Milliseconds for that.
const LINGER_MS_MAX: u64 = 1_000;
/// How often it is looked whether the client of an exchange is still there.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Milliseconds that an exchange goes on for a client that has ended its side.
const HALF_CLOSED_MS_MAX: u64 = 10_000;

/// Serves one connection until it ends.
pub(crate) async fn serve(
    context: Rc<SessionContext>,
    client: Client,
    mut reader: Reader,
    mut writer: Writer,
    socket: RawFd,
) {
    let mut tunnel: Option<Tunnel> = None;
    let mut rules = client.head_rules(context.head_limits());
    while next_request(&context, &mut reader).await {
        if tunnel.is_some() && tunnel::is_tls(reader.buffered()) {
            tunnel::refuse_tls(&context, &mut writer).await;
            linger(&mut reader, &mut writer).await;
            return;
        }
        let read = read_head(&context, &rules, &mut reader).await;
        let read = match (&tunnel, read) {
            (Some(tunnel), Ok(Some(head))) => tunnel.check(&head).map(|()| Some(head)),
            (_, read) => read,
        };
        let head = match read {
            Ok(Some(head)) if head.method == "CONNECT" => {
                ShardStats::count(&context.stats.requests, 1);
                match Tunnel::open(&context, &head, &mut writer).await {
                    Ok(opened) => tunnel = Some(opened),
                    Err(Some(problem)) => {
                        turn_away(&context, &mut reader, &mut writer, &problem).await;
                        return;
                    }
                    Err(None) => return,
                }
                // A tunnel in a tunnel would lead elsewhere.
                rules.connect = false;
                continue;
            }
            // Until it is known what the connection goes on with, nothing behind it is a request.
            Ok(Some(head)) => RequestHead { keep_alive: head.keep_alive && head.upgrade.is_none(), ..head },
            Ok(None) => return,
            Err(problem) => {
                ShardStats::count(&context.stats.requests, 1);
                turn_away(&context, &mut reader, &mut writer, &problem).await;
                return;
            }
        };
        let mut source = Source::http1(&mut reader, head.framing);
        let mut sink = Sink::Http1(Http1Sink::new(&mut writer, head.is_1_1));
        // The exchange's room is given back with it: an idle connection has none.
        let exchange = Box::pin(exchange(&context, &client, &head, &mut source, &mut sink));
        match unless_gone(socket, exchange).await {
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

/// Refuses a connection that can't go on: there is no request to answer.
pub(crate) async fn turn_away(
    context: &SessionContext,
    reader: &mut Reader,
    writer: &mut Writer,
    problem: &Problem,
) {
    let mut sink = Sink::Http1(Http1Sink::new(writer, true));
    refuse(context, &mut sink, (problem, problem.detail), Shape::Problem, context.new_id(), false, false)
        .await;
    linger(reader, writer).await;
}

/// Runs an exchange until its client has left: then nobody reads the answer, and the upstream need not go on with it.
async fn unless_gone(socket: RawFd, exchange: impl Future<Output = After>) -> After {
    let mut exchange = pin!(exchange);
    let mut ended_since = None;
    loop {
        let mut look = pin!(monoio::time::sleep(LOOK_EVERY));
        let after = poll_fn(|cx| match exchange.as_mut().poll(cx) {
            Poll::Ready(after) => Poll::Ready(Some(after)),
            Poll::Pending => look.as_mut().poll(cx).map(|()| None),
        });
        if let Some(after) = after.await {
            return after;
        }
        match end_of(socket) {
            End::None => ended_since = None,
            End::Both => return After::Abort,
            End::Its => {
                let since = *ended_since.get_or_insert_with(Instant::now);
                if since.elapsed() >= Duration::from_millis(HALF_CLOSED_MS_MAX) {
                    return After::Abort;
                }
            }
        }
    }
}

/// How far a connection has ended.
enum End {
    None,
    /// The client sends nothing more. It may still read, and may as well have left: only a write would tell.
    Its,
    /// It was reset.
    Both,
}

fn end_of(socket: RawFd) -> End {
    let mut polled = [PollFd::new(socket, PollFlags::empty())];
    let is_reset = PollFlags::POLLHUP | PollFlags::POLLERR;
    if poll(&mut polled, 0).is_ok()
        && polled.iter().any(|p| p.revents().is_some_and(|e| e.intersects(is_reset)))
    {
        return End::Both;
    }
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    if recv(socket, &mut [0u8], flags) == Ok(0) { End::Its } else { End::None }
}

/// Makes the close of a connection a reset: the end of a body that only the close delimits must not look like one.
fn reset(socket: RawFd) {
    let now = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    // It fails only on a socket that is gone, whose client has seen its end already.
    let _ = nix::sys::socket::setsockopt(socket, nix::sys::socket::sockopt::Linger, &now);
}

/// Waits for the first byte of a request; false when none comes.
pub(crate) async fn next_request(context: &SessionContext, reader: &mut Reader) -> bool {
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
async fn read_head(
    context: &SessionContext,
    rules: &HeadRules,
    reader: &mut Reader,
) -> Result<Option<RequestHead>, Problem> {
    let deadline = Instant::now() + Duration::from_millis(context.limits.head_ms_max);
    let mut finder = HeadFinder::new();
    loop {
        // RFC 9112, section 2.2: an empty line before the request is no part of it.
        while reader.buffered().starts_with(b"\r\n") {
            reader.consume(2);
            finder = HeadFinder::new();
        }
        let refusal = |r: Refusal| Problem::bad_request(r.status, r.reason);
        if let Some(end) = finder.find(reader.buffered(), &rules.limits).map_err(refusal)? {
            let head =
                parse_request(reader.buffered().get(..end).unwrap_or_default(), *rules).map_err(refusal)?;
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
