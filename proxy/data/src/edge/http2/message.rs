//! One stream of HTTP/2 as an exchange sees it: where a message is laid down, and where a body comes from.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::guard::Guard;
use super::io::PolledIo;
use super::{fields_of, map_of};
use crate::codec::fields::Fields;
use crate::config::Limits;
use crate::edge::body::{Head, SourceFault};
use crate::edge::connection::IoFault;
use crate::forward::BodyLength;

/// The sending side of a stream, from before its head to its end.
pub(crate) struct Stream {
    start: RefCell<Start>,
    /// Once the head was sent.
    body: RefCell<Option<SendStream<Bytes>>>,
    /// Of a request: what becomes of its response.
    promise: RefCell<Promise>,
    waiting: RefCell<Option<Waker>>,
    io: PolledIo,
    is_ended: Cell<bool>,
}

enum Start {
    Response(SendResponse<Bytes>),
    Request { sender: SendRequest<Bytes>, scheme: Scheme },
}

/// The response to a request that is being sent.
enum Promise {
    /// The request has not left.
    Open,
    Made(Box<ResponseFuture>),
    /// The connection took the request no more.
    Refused,
}

impl Stream {
    pub(crate) fn server(respond: SendResponse<Bytes>, io: PolledIo) -> Rc<Stream> {
        Stream::new(Start::Response(respond), io)
    }

    pub(crate) fn client(sender: SendRequest<Bytes>, scheme: Scheme, io: PolledIo) -> Rc<Stream> {
        Stream::new(Start::Request { sender, scheme }, io)
    }

    fn new(start: Start, io: PolledIo) -> Rc<Stream> {
        Rc::new(Stream {
            start: start.into(),
            body: RefCell::default(),
            promise: Promise::Open.into(),
            waiting: RefCell::default(),
            io,
            is_ended: Cell::new(false),
        })
    }

    /// Sends a head.
    fn begin(&self, head: &HeldHead, is_end: bool) -> Result<(), IoFault> {
        let sent = self.send_head(head, is_end);
        if sent.is_err() {
            self.promise.replace(Promise::Refused);
        }
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        self.body.replace(Some(sent?));
        self.is_ended.set(is_end);
        self.io.with_guard(Guard::answered);
        self.io.with_guard(Guard::sent);
        Ok(())
    }

    fn send_head(&self, head: &HeldHead, is_end: bool) -> Result<SendStream<Bytes>, IoFault> {
        let mut map = map_of(&head.fields).ok_or(IoFault::Failed)?;
        match (&mut *self.start.borrow_mut(), &head.first) {
            (Start::Response(respond), First::Response { status }) => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::from_u16(*status).map_err(|_| IoFault::Failed)?;
                *response.headers_mut() = map;
                respond.send_response(response, is_end).map_err(|_| IoFault::Failed)
            }
            (Start::Request { sender, scheme }, First::Request { method, target }) => {
                let authority = map.remove("host").ok_or(IoFault::Failed)?;
                if is_grpc(map.get("content-type")) {
                    // Without it a server may leave out the trailers, which have the status.
                    map.insert("te", HeaderValue::from_static("trailers"));
                }
                let mut request = Request::new(());
                *request.method_mut() = Method::from_bytes(method.as_bytes()).map_err(|_| IoFault::Failed)?;
                *request.uri_mut() = uri(scheme, &authority, target).ok_or(IoFault::Failed)?;
                *request.version_mut() = http::Version::HTTP_2;
                *request.headers_mut() = map;
                let (response, body) = sender.send_request(request, is_end).map_err(|_| IoFault::Failed)?;
                self.promise.replace(Promise::Made(Box::new(response)));
                Ok(body)
            }
            (Start::Response(_), First::Request { .. }) | (Start::Request { .. }, First::Response { .. }) => {
                Err(IoFault::Failed)
            }
        }
    }

    /// The response's future once the request has left; `None`: the connection took it no more.
    pub(crate) async fn promised(&self) -> Option<Box<ResponseFuture>> {
        poll_fn(|cx| {
            let mut promise = self.promise.borrow_mut();
            match &*promise {
                Promise::Open => {
                    self.waiting.replace(Some(cx.waker().clone()));
                    Poll::Pending
                }
                Promise::Refused => Poll::Ready(None),
                Promise::Made(_) => Poll::Ready(match std::mem::replace(&mut *promise, Promise::Refused) {
                    Promise::Made(response) => Some(response),
                    Promise::Open | Promise::Refused => None,
                }),
            }
        })
        .await
    }

    /// Ready when the peer has given the stream up, or the connection is gone.
    pub(crate) fn poll_reset(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_ended.get() {
            return Poll::Pending;
        }
        match (&mut *self.body.borrow_mut(), &mut *self.start.borrow_mut()) {
            (Some(body), _) => body.poll_reset(cx).map(drop),
            (None, Start::Response(respond)) => respond.poll_reset(cx).map(drop),
            (None, Start::Request { .. }) => Poll::Pending,
        }
    }

    /// Breaks the stream off: what was sent of it must not look complete.
    pub(crate) fn abort(&self, reason: Reason) {
        match (&mut *self.body.borrow_mut(), &mut *self.start.borrow_mut()) {
            (Some(body), _) => body.send_reset(reason),
            (None, Start::Response(respond)) => respond.send_reset(reason),
            (None, Start::Request { .. }) => {}
        }
    }

    fn send_data(&self, data: Bytes, is_end: bool) -> Result<(), IoFault> {
        let mut body = self.body.borrow_mut();
        let body = body.as_mut().ok_or(IoFault::Failed)?;
        body.send_data(data, is_end).map_err(|_| IoFault::Failed)?;
        self.is_ended.set(is_end);
        self.io.with_guard(Guard::sent);
        Ok(())
    }

    fn send_trailers(&self, trailers: &Fields) -> Result<(), IoFault> {
        let map = map_of(trailers).ok_or(IoFault::Failed)?;
        let mut body = self.body.borrow_mut();
        let body = body.as_mut().ok_or(IoFault::Failed)?;
        body.send_trailers(map).map_err(|_| IoFault::Failed)?;
        self.is_ended.set(true);
        Ok(())
    }

    /// How many of `wanted` bytes the peer takes now, once it takes any.
    fn poll_capacity(&self, cx: &mut Context<'_>, wanted: usize) -> Poll<Result<usize, IoFault>> {
        let mut body = self.body.borrow_mut();
        let Some(body) = body.as_mut() else { return Poll::Ready(Err(IoFault::Failed)) };
        body.reserve_capacity(wanted);
        loop {
            let capacity = body.capacity();
            if capacity > 0 {
                return Poll::Ready(Ok(capacity.min(wanted)));
            }
            match body.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(IoFault::Failed)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn go_on(&self) -> Result<(), IoFault> {
        match &mut *self.start.borrow_mut() {
            Start::Response(respond) => {
                let mut response = Response::new(());
                *response.status_mut() = StatusCode::CONTINUE;
                respond.send_informational(response).map_err(|_| IoFault::Failed)
            }
            Start::Request { .. } => Err(IoFault::Failed),
        }
    }
}

/// Whether a `content-type` is that of gRPC over HTTP/2.
fn is_grpc(value: Option<&HeaderValue>) -> bool {
    let rest = value.and_then(|v| v.as_bytes().strip_prefix(b"application/grpc"));
    rest.is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' ')))
}

fn uri(scheme: &Scheme, authority: &HeaderValue, target: &str) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme.clone());
    parts.authority = Some(Authority::try_from(authority.as_bytes()).ok()?);
    parts.path_and_query = Some(PathAndQuery::try_from(target).ok()?);
    Uri::from_parts(parts).ok()
}

/// A head that was laid down.
struct HeldHead {
    first: First,
    fields: Fields,
    length: BodyLength,
}

enum First {
    Request { method: String, target: String },
    Response { status: u16 },
}

/// A message on a stream.
pub(crate) struct Http2Sink {
    stream: Rc<Stream>,
    /// Milliseconds that the peer may take none of it.
    write_ms_max: u64,
    head: Option<HeldHead>,
    content: Vec<u8>,
    trailers: Option<Fields>,
}

impl Http2Sink {
    pub(crate) fn new(stream: Rc<Stream>, write_ms_max: u64) -> Http2Sink {
        Http2Sink { stream, write_ms_max, head: None, content: Vec::new(), trailers: None }
    }

    pub(crate) fn head(&mut self, head: Head<'_>, fields: Fields, length: BodyLength) {
        self.content.clear();
        self.trailers = None;
        let first = match head {
            Head::Request { method, target } => {
                First::Request { method: method.to_owned(), target: target.to_owned() }
            }
            Head::Response { status, persists: _ } => First::Response { status },
        };
        self.head = Some(HeldHead { first, fields, length });
    }

    pub(crate) fn content(&mut self) -> &mut Vec<u8> {
        &mut self.content
    }

    pub(crate) fn end(&mut self, trailers: Fields) {
        self.trailers = Some(trailers);
    }

    pub(crate) fn go_on(&self) -> Result<(), IoFault> {
        self.stream.go_on()
    }

    /// The head; true when it ends the message.
    fn send_head(&mut self) -> Result<bool, IoFault> {
        let Some(mut head) = self.head.take() else { return Ok(false) };
        let is_whole = self.trailers.as_ref().is_some_and(Fields::is_empty);
        let mut is_end = false;
        match head.length {
            // END_STREAM says that there is no body.
            BodyLength::None => {
                if head.fields.text("content-length") == Some("0") {
                    head.fields = head.fields.forwarded(&["content-length"]);
                }
                is_end = true;
            }
            BodyLength::Known(len) => head.fields.push("content-length", len.to_string()),
            BodyLength::Unknown if is_whole => {
                head.fields.push("content-length", self.content.len().to_string());
                is_end = self.content.is_empty();
            }
            BodyLength::Unknown => {}
            // What follows is content all the same; it is granted by another status (RFC 8441, section 5).
            BodyLength::Upgraded => {
                if let First::Response { status } = &mut head.first {
                    *status = 200;
                }
            }
        }
        self.stream.begin(&head, is_end)?;
        Ok(is_end)
    }

    pub(crate) async fn flush(&mut self) -> Result<(), IoFault> {
        if self.send_head()? {
            return Ok(());
        }
        let mut content = Bytes::from(std::mem::take(&mut self.content));
        let is_end = self.trailers.as_ref().is_some_and(Fields::is_empty);
        while !content.is_empty() {
            let capacity = poll_fn(|cx| self.stream.poll_capacity(cx, content.len()));
            let timed = monoio::time::timeout(Duration::from_millis(self.write_ms_max), capacity).await;
            let len = timed.map_err(|_| IoFault::TimedOut)??;
            let piece = content.split_to(len);
            self.stream.send_data(piece, is_end && content.is_empty())?;
        }
        match self.trailers.take() {
            Some(trailers) if !trailers.is_empty() => self.stream.send_trailers(&trailers),
            Some(_) if !self.stream.is_ended.get() => self.stream.send_data(Bytes::new(), true),
            Some(_) | None => Ok(()),
        }
    }
}

/// A body on a stream.
pub(crate) struct Http2Source {
    body: RecvStream,
    /// Bytes given out whose window has not been opened again: they may not have been sent on.
    given: usize,
    trailers: Fields,
}

impl Http2Source {
    pub(crate) fn new(body: RecvStream) -> Http2Source {
        Http2Source { body, given: 0, trailers: Fields::default() }
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.body.is_end_stream()
    }

    pub(crate) fn trailers(&self) -> &Fields {
        &self.trailers
    }

    pub(crate) async fn next(&mut self, ms_max: u64, content: &mut Vec<u8>) -> Result<bool, SourceFault> {
        let given = std::mem::take(&mut self.given);
        if given > 0 {
            // It fails where the stream is over, whose window nobody needs.
            let _ = self.body.flow_control().release_capacity(given);
        }
        let next = poll_fn(|cx| self.poll_next(cx, content));
        let timed = monoio::time::timeout(Duration::from_millis(ms_max), next).await;
        timed.map_err(|_| SourceFault::TimedOut)?
    }

    /// All that is at hand, up to what is read at once from a connection of HTTP/1.1.
    fn poll_next(&mut self, cx: &mut Context<'_>, content: &mut Vec<u8>) -> Poll<Result<bool, SourceFault>> {
        loop {
            match self.body.poll_data(cx) {
                Poll::Ready(Some(Ok(data))) => {
                    self.given += data.len();
                    content.extend_from_slice(&data);
                    if self.body.is_end_stream() {
                        return Poll::Ready(Ok(true));
                    }
                    if content.len() >= Limits::READ_BYTES {
                        return Poll::Ready(Ok(false));
                    }
                }
                Poll::Ready(Some(Err(_))) => return Poll::Ready(Err(SourceFault::Gone)),
                Poll::Ready(None) => break,
                Poll::Pending if content.is_empty() => return Poll::Pending,
                Poll::Pending => return Poll::Ready(Ok(false)),
            }
        }
        match self.body.poll_trailers(cx) {
            Poll::Ready(Ok(trailers)) => {
                self.trailers = trailers.as_ref().map(fields_of).unwrap_or_default();
                Poll::Ready(Ok(true))
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(SourceFault::Gone)),
            Poll::Pending if content.is_empty() => Poll::Pending,
            Poll::Pending => Poll::Ready(Ok(false)),
        }
    }
}
