//! Request and response heads: `httparse` splits them, the rules of RFC 9110 and 9112 that it leaves to its caller are
//! here, in [`super::target`] and beside them.

use std::fmt;
use std::mem::MaybeUninit;

use super::body::Framing;
use super::deciding::Deciding;
use super::fields::Fields;
use super::target::{self, Absolute};

/// The head of a request.
#[derive(Clone)]
pub struct RequestHead {
    /// As it came; methods are case-sensitive.
    pub method: String,
    /// Path and query, or `*`; of `CONNECT` the host and port.
    pub target: String,
    /// HTTP/1.1, else HTTP/1.0.
    pub is_1_1: bool,
    /// All fields.
    pub fields: Fields,
    /// How the body is framed.
    pub framing: Framing,
    /// The connection can take another request.
    pub keep_alive: bool,
    /// The client waits for `100 Continue`.
    pub expects_continue: bool,
    /// The host it is for, and the port where one is named: in lower case, without the dot at the end of a name; none
    /// only in HTTP/1.0.
    pub authority: Option<String>,
    /// What else a target in absolute-form said (RFC 9112, section 3.2.2).
    pub absolute: Option<Absolute>,
    /// The protocol that the client would like to go on with. Others than those named there are as if not asked for.
    pub upgrade: Option<Upgrade>,
}

/// The head of a response.
#[derive(Clone)]
pub struct ResponseHead {
    /// Status code.
    pub status: u16,
    /// All fields.
    pub fields: Fields,
    /// How the body is framed.
    pub framing: Framing,
    /// The connection can take another request.
    pub keep_alive: bool,
    /// With 101: the protocol that follows.
    pub upgrade: Option<Upgrade>,
}

/// Targets and fields may hold secrets.
impl fmt::Debug for RequestHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestHead").field("fields", &self.fields).field("framing", &self.framing).finish()
    }
}

impl fmt::Debug for ResponseHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("ResponseHead");
        debug
            .field("status", &self.status)
            .field("fields", &self.fields)
            .field("framing", &self.framing)
            .finish()
    }
}

/// A protocol that a connection can change to (RFC 9110, section 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// RFC 6455.
    WebSocket,
}

/// Why a head is refused: the status a client gets for it, and the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code for a request; a response is always 502.
    pub status: u16,
    /// What is wrong, in words that hold nothing of the message.
    pub reason: &'static str,
}

pub(super) fn refuse<T>(status: u16, reason: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, reason })
}

/// Limits of a head.
#[derive(Clone, Copy, Debug)]
pub struct HeadLimits {
    /// Bytes, with the empty line.
    pub bytes_max: usize,
    /// Fields.
    pub fields_max: usize,
    /// Bytes of the request target.
    pub target_bytes_max: usize,
}

/// What of requests a listener takes.
#[derive(Clone, Copy, Debug)]
pub struct HeadRules {
    /// Limits.
    pub limits: HeadLimits,
    /// Targets in absolute-form whose host is not that of `Host`, which they overrule; without it both must be the same.
    pub absolute_form: bool,
    /// `CONNECT` to a host and port; without it, it is refused with 405.
    pub connect: bool,
}

/// A server's rules: neither is taken.
impl From<&HeadLimits> for HeadRules {
    fn from(limits: &HeadLimits) -> HeadRules {
        HeadRules { limits: *limits, absolute_form: false, connect: false }
    }
}

/// Looks for the end of a head in a buffer that grows; what it has looked at, it does not look at again.
#[derive(Clone, Copy, Debug, Default)]
pub struct HeadFinder {
    /// So many bytes have been looked at, and are not the end.
    seen: usize,
}

impl HeadFinder {
    /// At the start of a head.
    #[must_use]
    pub fn new() -> HeadFinder {
        HeadFinder::default()
    }

    /// Where the head at the start of `buffer` ends: bytes up to and with its empty line; `None` while it is not in. A
    /// later call gets the same buffer with more behind it.
    ///
    /// # Errors
    /// It can't become a head: too large, or a line end that is not CRLF (RFC 9112, section 2.2).
    pub fn find(&mut self, buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
        let within = buffer.get(..limits.bytes_max.min(buffer.len())).unwrap_or_default();
        // The empty line may have begun in what was there before.
        let from = self.seen.saturating_sub(3);
        let found = memchr::memmem::find(within.get(from..).unwrap_or_default(), b"\r\n\r\n");
        let end = found.map(|at| from + at + 4);
        let new = within.get(self.seen.saturating_sub(1)..end.unwrap_or(within.len())).unwrap_or_default();
        if within.first() == Some(&b'\n') || !ends_lines(new) {
            return refuse(400, "a line of the head does not end with CRLF, or holds NUL");
        }
        self.seen = within.len();
        if end.is_none() && buffer.len() >= limits.bytes_max {
            return refuse(431, "the head is larger than the limit");
        }
        Ok(end)
    }
}

/// False where CR and LF are not a pair, or for NUL. Without a branch a byte, so that it is done sixteen at a time.
fn ends_lines(bytes: &[u8]) -> bool {
    let pairs = bytes.iter().zip(bytes.get(1..).unwrap_or_default());
    let bad = pairs
        .fold(0u8, |bad, (a, b)| bad | (u8::from(*a == b'\r') ^ u8::from(*b == b'\n')) | u8::from(*b == 0));
    bad == 0 && bytes.first() != Some(&0)
}

/// As [`HeadFinder::find`], for a buffer that is seen once.
///
/// # Errors
/// It can't become a head.
pub fn find_end(buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
    HeadFinder::new().find(buffer, limits)
}

/// Fields for which there is room on the stack.
const STACK_FIELDS: usize = 128;

type Slots<'a, 'b> = &'a mut [MaybeUninit<httparse::Header<'b>>];

/// Calls `parse` with room for `count` fields: on the stack where that is enough, and never initialised.
fn with_slots<'b, T>(count: usize, parse: impl FnOnce(Slots<'_, 'b>) -> T) -> T {
    let mut stack = [const { MaybeUninit::uninit() }; STACK_FIELDS];
    match stack.get_mut(..count) {
        Some(slots) => parse(slots),
        None => {
            let mut heap = Vec::with_capacity(count);
            let slots = heap.spare_capacity_mut();
            let room = slots.len().min(count);
            parse(slots.get_mut(..room).unwrap_or_default())
        }
    }
}

/// Reads a whole request head, as [`find_end`] found it, by the limits or rules.
///
/// # Errors
/// The rule it breaks.
pub fn parse_request(head: &[u8], rules: impl Into<HeadRules>) -> Result<RequestHead, Refusal> {
    let rules = rules.into();
    with_slots(rules.limits.fields_max, |slots| {
        let mut request = httparse::Request::new(&mut []);
        match request.parse_with_uninit_headers(starts_at_once(head), slots) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => read_request(head, &request, &rules),
            Err(httparse::Error::TooManyHeaders) => refuse(431, "the head has more fields than the limit"),
            Err(httparse::Error::Version) => refuse(505, "the version is neither HTTP/1.1 nor HTTP/1.0"),
            Ok(_) | Err(_) => refuse(400, "the head is not that of an HTTP/1.1 request"),
        }
    })
}

fn read_request(
    head: &[u8],
    request: &httparse::Request<'_, '_>,
    rules: &HeadRules,
) -> Result<RequestHead, Refusal> {
    let bad = |reason| Refusal { status: 400, reason };
    let is_1_1 = request.version == Some(1);
    let method = request.method.unwrap_or_default();
    target::check_method(method, rules)?;
    let deciding = Deciding::of(head, request.headers).map_err(bad)?;
    let options = deciding.options().map_err(bad)?;
    let target = target::read(method, request.path.unwrap_or_default(), deciding.host, is_1_1, rules)?;
    let framing = request_framing(&deciding, is_1_1)?;
    if method == "CONNECT" && framing != Framing::Empty {
        return refuse(400, "CONNECT with a body");
    }
    let upgrade =
        deciding.upgrade(&options).filter(|_| is_1_1 && method == "GET" && framing == Framing::Empty);
    Ok(RequestHead {
        method: method.to_owned(),
        target: target.target,
        is_1_1,
        framing,
        keep_alive: options.keeps_alive(is_1_1),
        expects_continue: check_expect(&deciding, is_1_1)?,
        authority: target.authority,
        absolute: target.absolute,
        upgrade,
        fields: read_fields(request.headers, head.len()),
    })
}

/// Reads a whole response head to a request with `method`.
///
/// # Errors
/// The rule it breaks.
pub fn parse_response(head: &[u8], method: &str, limits: &HeadLimits) -> Result<ResponseHead, Refusal> {
    with_slots(limits.fields_max, |slots| {
        let mut response = httparse::Response::new(&mut []);
        let config = httparse::ParserConfig::default();
        match config.parse_response_with_uninit_headers(&mut response, starts_at_once(head), slots) {
            Ok(httparse::Status::Complete(len)) if len == head.len() => {
                read_response(head, &response, method)
            }
            Ok(_) | Err(_) => refuse(502, "the upstream's head is not that of an HTTP/1.1 response"),
        }
    })
}

fn read_response(
    head: &[u8],
    response: &httparse::Response<'_, '_>,
    method: &str,
) -> Result<ResponseHead, Refusal> {
    let bad = |reason| Refusal { status: 502, reason };
    let is_1_1 = response.version == Some(1);
    let status = response.code.unwrap_or_default();
    if !(100..600).contains(&status) {
        return refuse(502, "the upstream's status code is out of range");
    }
    let deciding = Deciding::of(head, response.headers).map_err(bad)?;
    let options = deciding.options().map_err(bad)?;
    let (framing, is_certain) = response_framing(&deciding, is_1_1, status, method)?;
    let upgrade = deciding.upgrade(&options).filter(|_| status == 101);
    Ok(ResponseHead {
        status,
        framing,
        keep_alive: options.keeps_alive(is_1_1) && is_certain,
        upgrade,
        fields: read_fields(response.headers, head.len()),
    })
}

/// A head begins with its first line: empty lines before a request are the caller's to drop, as `httparse` would.
fn starts_at_once(head: &[u8]) -> &[u8] {
    if head.starts_with(b"\r") { &[] } else { head }
}

fn read_fields(headers: &[httparse::Header<'_>], bytes: usize) -> Fields {
    let mut fields = Fields::with_capacity(headers.len(), bytes);
    headers.iter().for_each(|header| fields.push(header.name, super::fields::trim(header.value)));
    fields
}

/// RFC 9112, section 6.3, with what it lets a server refuse refused.
fn request_framing(deciding: &Deciding<'_>, is_1_1: bool) -> Result<Framing, Refusal> {
    let length = deciding.content_length().map_err(|reason| Refusal { status: 400, reason })?;
    match (deciding.has_coding(), length) {
        (false, Some(0) | None) => Ok(Framing::Empty),
        (false, Some(len)) => Ok(Framing::Length(len)),
        (true, _) if !is_1_1 => refuse(400, "Transfer-Encoding in HTTP/1.0"),
        (true, Some(_)) => refuse(400, "both Transfer-Encoding and Content-Length"),
        (true, None) if deciding.is_chunked() => Ok(Framing::Chunked),
        (true, None) => refuse(501, "a transfer coding other than chunked"),
    }
}

/// The framing, and whether the connection certainly stands at the next response behind it.
fn response_framing(
    deciding: &Deciding<'_>,
    is_1_1: bool,
    status: u16,
    method: &str,
) -> Result<(Framing, bool), Refusal> {
    // RFC 9112, section 6.3, rule 2: a tunnel; what it says of framing is ignored.
    if method == "CONNECT" && (200..300).contains(&status) {
        return Ok((Framing::Empty, false));
    }
    let length = deciding.content_length().map_err(|reason| Refusal { status: 502, reason })?;
    let has_coding = deciding.has_coding();
    if has_coding && length.is_some() {
        return refuse(502, "both Transfer-Encoding and Content-Length in the response");
    }
    if has_coding && !is_1_1 {
        return refuse(502, "Transfer-Encoding in an HTTP/1.0 response");
    }
    if has_coding && !deciding.is_chunked() {
        return refuse(502, "a transfer coding other than chunked in the response");
    }
    // RFC 9110, section 8.6, and RFC 9112, section 6.1: these have neither, as they have no body.
    let announces_body = has_coding || length.is_some_and(|len| len > 0);
    match (status, length) {
        (100..=199, _) if announces_body => refuse(502, "an interim response with a body"),
        (100..=199, _) => Ok((Framing::Empty, status != 101)),
        (204, _) => Ok((Framing::Empty, !announces_body)),
        (304, _) => Ok((Framing::Empty, true)),
        _ if method == "HEAD" => Ok((Framing::Empty, true)),
        _ if has_coding => Ok((Framing::Chunked, true)),
        (_, Some(0)) => Ok((Framing::Empty, true)),
        (_, Some(len)) => Ok((Framing::Length(len), true)),
        (_, None) => Ok((Framing::UntilClose, false)),
    }
}

/// RFC 9110, section 10.1.1.
fn check_expect(deciding: &Deciding<'_>, is_1_1: bool) -> Result<bool, Refusal> {
    match deciding.expect() {
        Ok(expects) => Ok(expects && is_1_1),
        Err(reason) => refuse(417, reason),
    }
}

#[cfg(test)]
mod tests;
