//! HTTP/1.1: our codec against rules written naively ([`crate::http_naive`]), `httparse` alone, and hyper's server.
//!
//! A document is all that a client sends on a connection. What we take, hyper takes as well, with the same method, target,
//! fields, body and trailers; where hyper takes what we refuse, the reason is one of [`STRICTER`]. However the bytes are cut,
//! the outcome is the same.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper::service::service_fn;
use sluice_data::codec::body::BodyDecoder;
use sluice_data::codec::fields::Fields;
use sluice_data::codec::head::{HeadFinder, HeadLimits, parse_request};

use crate::http_naive;
use crate::random::Random;

/// Limits of heads; hyper's of fields is the same.
pub const LIMITS: HeadLimits =
    HeadLimits { bytes_max: 64 * 1024, fields_max: 100, target_bytes_max: 16 * 1024 };

/// Why we refuse what hyper takes. Each is a rule that RFC 9110 or 9112 has or allows and hyper leaves to others.
pub const STRICTER: &[&str] = &[
    "a line of the head does not end with CRLF, or holds NUL",
    "no Host",
    "more than one Host",
    "the Host is not valid",
    "the request target names another host than Host does",
    "the request target is not a path",
    "the request target is not valid",
    "a `%` in the request target does not begin a code",
    "CONNECT is not configured",
    "TRACE is not forwarded",
    "a method in another case than its own",
    "a field whose name is one of framing but for `_`",
    "Connection names a field that is not the connection's",
    "Connection is not a list of names",
    "more than one Content-Length",
    "the Content-Length is not a number",
    "both Transfer-Encoding and Content-Length",
    "a transfer coding other than chunked",
    "an expectation other than 100-continue",
    "what follows the size of a chunk is no extension",
    "the size of a chunk is not a hexadecimal number",
    "a line of the chunked body does not end with CRLF",
    "a line of the chunked body is longer than the limit",
    "a trailer is not a field",
    "more trailers than the limit",
];

/// A request as read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Path and query, or `*`.
    pub target: String,
    /// Fields in order, names in lower case.
    pub fields: Vec<(String, Vec<u8>)>,
    /// Its content.
    pub body: Vec<u8>,
    /// Trailers, names in lower case.
    pub trailers: Vec<(String, Vec<u8>)>,
}

/// How the reading of a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// No more bytes: between two requests or within one.
    Bytes,
    /// A request said that it is the last one.
    Close,
    /// What followed was refused.
    Refused(&'static str),
}

/// The body: a document as it is, and one made of parts of requests by its hash.
pub fn http(document: &[u8]) {
    check(document);
    check(&made(&mut Random::of(document)));
}

fn check(document: &[u8]) {
    let whole = ours(&[document]);
    let chunks = Random::of(document).chunks(document);
    assert_eq!(ours(&chunks), whole, "the outcome depends on the chunks");
    let bytes: Vec<&[u8]> = document.chunks(1).collect();
    assert_eq!(ours(&bytes), whole, "the outcome depends on the chunks: byte by byte");
    if document.len() <= 96 {
        for cut in 0..=document.len() {
            let (a, b) = document.split_at(cut);
            assert_eq!(ours(&[a, b]), whole, "cut at {cut}");
        }
    }
    let (requests, end) = whole;
    let (naive, naive_end) = http_naive::requests(document);
    assert_eq!(requests, naive, "naive rules read other requests");
    assert_eq!(
        matches!(end, End::Refused(_)),
        naive_end == http_naive::End::Refused,
        "{end:?}, naively {naive_end:?}"
    );
    let theirs = hypers(document);
    for (n, request) in requests.iter().enumerate() {
        let (their, is_whole) =
            theirs.get(n).unwrap_or_else(|| panic!("hyper refuses request {n}: {request:?}"));
        assert!(*is_whole, "hyper refuses the body of request {n}: {request:?}");
        let mut their = sorted(their);
        if request.method == "OPTIONS" && request.target == "*" && their.target == "/" {
            // How a client asks a proxy for `*` (RFC 9112, section 3.2.4): hyper has no other word for no path.
            their.target = "*".to_owned();
        }
        assert_eq!(sorted(request), their, "hyper reads another request {n}");
    }
    match (end, theirs.get(requests.len())) {
        (End::Refused(reason), Some((_, true))) => {
            assert!(STRICTER.contains(&reason), "hyper takes what is refused because: {reason}");
        }
        (End::Bytes, Some((their, true))) => {
            panic!("hyper reads a request where we wait for bytes: {their:?}")
        }
        _ => {}
    }
}

/// hyper keeps the order of the values of one name, not that of names; of trailers, it has those of all names.
fn sorted(request: &Request) -> Request {
    let mut sorted = request.clone();
    sorted.fields.sort_by(|a, b| a.0.cmp(&b.0));
    sorted.trailers.sort_by(|a, b| a.0.cmp(&b.0));
    sorted
}

/// Reads a connection with our codec, as its bytes come.
fn ours(chunks: &[&[u8]]) -> (Vec<Request>, End) {
    let mut reading = Reading::default();
    for chunk in chunks {
        reading.buffer.extend_from_slice(chunk);
        if let Err(end) = reading.run() {
            return (reading.requests, end);
        }
    }
    (reading.requests, End::Bytes)
}

#[derive(Default)]
struct Reading {
    buffer: Vec<u8>,
    finder: HeadFinder,
    /// A request whose body is being read, its decoder, and whether another one may follow.
    open: Option<(Request, BodyDecoder, bool)>,
    requests: Vec<Request>,
}

impl Reading {
    /// Takes what the buffer has.
    fn run(&mut self) -> Result<(), End> {
        loop {
            let Some((request, decoder, _)) = &mut self.open else {
                while self.buffer.starts_with(b"\r\n") {
                    self.buffer.drain(..2);
                    self.finder = HeadFinder::new();
                }
                let refused = |refusal: sluice_data::codec::head::Refusal| End::Refused(refusal.reason);
                let Some(end) = self.finder.find(&self.buffer, &LIMITS).map_err(refused)? else {
                    return Ok(());
                };
                let head: Vec<u8> = self.buffer.drain(..end).collect();
                self.finder = HeadFinder::new();
                let head = parse_request(&head, &LIMITS).map_err(refused)?;
                assert!(
                    !format!("{head:?}").contains(&*head.target) || head.target.len() < 3,
                    "Debug tells a target"
                );
                let request = Request {
                    method: head.method,
                    target: head.target,
                    fields: pairs(&head.fields),
                    body: Vec::new(),
                    trailers: Vec::new(),
                };
                self.open = Some((request, BodyDecoder::new(head.framing), head.keep_alive));
                continue;
            };
            let taken =
                decoder.decode(&self.buffer, &mut request.body).map_err(|fault| End::Refused(fault.0))?;
            self.buffer.drain(..taken);
            if !decoder.is_done() {
                return Ok(());
            }
            let Some((mut request, decoder, keep_alive)) = self.open.take() else { return Ok(()) };
            request.trailers = pairs(decoder.trailers());
            self.requests.push(request);
            if !keep_alive {
                return Err(End::Close);
            }
        }
    }
}

fn pairs(fields: &Fields) -> Vec<(String, Vec<u8>)> {
    fields.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.to_vec())).collect()
}

/// Bytes to read, then the end; what is written is dropped.
struct Memory {
    bytes: Vec<u8>,
    at: usize,
}

impl Read for Memory {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<std::io::Result<()>> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let now = rest.get(..buf.remaining().min(rest.len())).unwrap_or_default();
        buf.put_slice(now);
        self.at += now.len();
        Poll::Ready(Ok(()))
    }
}

impl Write for Memory {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// No content.
struct Nothing;

impl Body for Nothing {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(None)
    }

    fn is_end_stream(&self) -> bool {
        true
    }
}

type Log = Rc<RefCell<Vec<(Request, bool)>>>;

/// Reads a connection with hyper: its requests, and whether their bodies were whole.
fn hypers(document: &[u8]) -> Vec<(Request, bool)> {
    let log = Log::default();
    let seen = Rc::clone(&log);
    let service = service_fn(move |request: hyper::Request<Incoming>| answer(request, Rc::clone(&seen)));
    let memory = Memory { bytes: document.to_vec(), at: 0 };
    let mut server = hyper::server::conn::http1::Builder::new();
    let connection = server.half_close(true).header_read_timeout(None).serve_connection(memory, service);
    let mut connection = pin!(connection);
    let mut context = Context::from_waker(Waker::noop());
    // All I/O is ready at once: a bounded number of polls ends it, one way or the other.
    for _ in 0..document.len() + 16 {
        if connection.as_mut().poll(&mut context).is_ready() {
            break;
        }
    }
    log.take()
}

async fn answer(
    request: hyper::Request<Incoming>,
    log: Log,
) -> Result<hyper::Response<Nothing>, std::convert::Infallible> {
    let (head, mut body) = request.into_parts();
    let of = |map: &hyper::HeaderMap| -> Vec<(String, Vec<u8>)> {
        map.iter().map(|(name, value)| (name.as_str().to_owned(), value.as_bytes().to_vec())).collect()
    };
    let target = match head.uri.path_and_query().map(|target| target.as_str()) {
        Some(target) if target.starts_with('?') => format!("/{target}"),
        Some(target) => target.to_owned(),
        None => String::new(),
    };
    let mut read = Request {
        method: head.method.as_str().to_owned(),
        target,
        fields: of(&head.headers),
        body: Vec::new(),
        trailers: Vec::new(),
    };
    let mut is_whole = true;
    while let Some(frame) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => read.body.extend_from_slice(&data),
            Ok(Err(frame)) => read.trailers = frame.trailers_ref().map(of).unwrap_or_default(),
            Err(_) => {
                is_whole = false;
                break;
            }
        }
    }
    log.borrow_mut().push((read, is_whole));
    Ok(hyper::Response::new(Nothing))
}

const LINES: &[&str] = &[
    "GET / HTTP/1.1",
    "POST /a?b=c HTTP/1.1",
    "GET http://h/x HTTP/1.1",
    "OPTIONS * HTTP/1.1",
    "GET / HTTP/1.0",
    "HEAD /%41 HTTP/1.1",
    "PUT //x HTTP/1.1",
    "get / HTTP/1.1",
    "GET /\\ HTTP/1.1",
    "GET  / HTTP/1.1",
    "CONNECT h:1 HTTP/1.1",
    "GET / HTTP/1.2",
    "DELETE /{a}[b]|^~ HTTP/1.1",
    "GET /\"x HTTP/1.1",
    "GET http://h?q HTTP/1.1",
    "TRACE / HTTP/1.1",
    "GET / HTTP/1.1 ",
    "X-Y!# / HTTP/1.1",
    "GET /%zz HTTP/1.1",
    "GET HTTPS://H/ HTTP/1.1",
];

const FIELDS: &[&str] = &[
    "Host: h",
    "host:h",
    "Host: H.:80",
    "Host: a b",
    "Host:",
    "Content-Length: 5",
    "Content-Length: 0",
    "content-length:05",
    "Content-Length: 5, 5",
    "Content-Length: +5",
    "Content_Length: 5",
    "Transfer-Encoding: chunked",
    "transfer-encoding:\tCHUNKED ",
    "Transfer-Encoding: gzip, chunked",
    "Transfer-Encoding: identity",
    "Transfer_Encoding: chunked",
    "Transfer-Encoding : chunked",
    "Connection: close",
    "Connection: keep-alive",
    "Connection: Host",
    "Connection: x, ,y",
    "Connection: a b",
    "Upgrade: websocket",
    "Connection: upgrade",
    "Expect: 100-continue",
    "Expect: x",
    "X: y",
    "X:  y\tz ",
    "x_y: 1",
    "X: \u{e9}",
    "X: a\0b",
    " folded: x",
    "X",
    ": y",
    "X: a\rb",
    "X: a\nb",
    "TE: trailers",
    "Cookie: a=b; c=d",
];

const BODIES: &[&str] = &[
    "hello",
    "5\r\nhello\r\n0\r\n\r\n",
    "005;a=b\r\nhello\r\n0\r\n\r\n",
    "5;a=\"b;c\" ;d\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
    "5;\nhello\r\n0\r\n\r\n",
    "5 \r\nhello\r\n0\r\n\r\n",
    "0x5\r\nhello\r\n0\r\n\r\n",
    "5\r\nhello\n0\r\n\r\n",
    "0\r\n\r\n",
    "5\r\nhello\r\n0\r\nX : 1\r\n\r\n",
    "A\r\n0123456789\r\n1\r\nx\r\n0\r\n\r\n",
    "",
    "\r\n",
    "5;;\r\nhello\r\n0\r\n\r\n",
    "00000000000000005\r\nhello\r\n0\r\n\r\n",
    "5;\u{e9}\r\nhello\r\n0\r\n\r\n",
];

/// A connection of one to three requests made of parts, most of them right, and at times one byte changed.
fn made(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    for _ in 0..=random.below(3) {
        let lines = if random.below(3) == 0 { LINES.len() } else { 7 };
        out.extend_from_slice(LINES[random.below(lines)].as_bytes());
        out.extend_from_slice(b"\r\n");
        if random.below(8) > 0 {
            out.extend_from_slice(b"Host: h\r\n");
        }
        let framing = random.below(3);
        if framing > 0 {
            out.extend_from_slice(FIELDS[if framing == 1 { 5 } else { 11 }].as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        for _ in 0..random.below(3) {
            out.extend_from_slice(FIELDS[random.below(FIELDS.len())].as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
        let body = match (framing, random.below(4)) {
            (0, 1..) => "",
            (1, 1..) => BODIES[0],
            _ => BODIES[random.below(BODIES.len())],
        };
        out.extend_from_slice(body.as_bytes());
    }
    if random.below(4) == 0 && !out.is_empty() {
        let at = random.below(out.len());
        out[at] = b"\r\n\0 \t:;,\"x"[random.below(10)];
    }
    out
}
