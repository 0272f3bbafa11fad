//! Request and response heads: `httparse` splits them, the rules of RFC 9112 that it leaves to its caller are here.

use super::body::Framing;
use super::fields::Fields;

/// The head of a request.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// As it came; methods are case-sensitive.
    pub method: String,
    /// Path and query, or `*`.
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

/// What a target in absolute-form says besides path and query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Absolute {
    /// `https`, else `http`.
    pub is_https: bool,
    /// Host, and the port where one is named: in lower case, without the dot at the end of a name.
    pub authority: String,
}

/// A protocol that a connection can change to (RFC 9110, section 7.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upgrade {
    /// RFC 6455.
    WebSocket,
}

/// The head of a response.
#[derive(Clone, Debug)]
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

/// Why a head is refused: the status a client gets for it, and the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Status code for a request; a response is always 502.
    pub status: u16,
    /// What is wrong, in words that hold nothing of the message.
    pub reason: &'static str,
}

fn refuse<T>(status: u16, reason: &'static str) -> Result<T, Refusal> {
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

/// Where the head in `buffer` ends: bytes up to and with its empty line; `None` while it is not in.
///
/// # Errors
/// It can't become a head: too large, or a line end that is not CRLF (RFC 9112, section 2.2).
pub fn find_end(buffer: &[u8], limits: &HeadLimits) -> Result<Option<usize>, Refusal> {
    let within = buffer.get(..limits.bytes_max.min(buffer.len())).unwrap_or_default();
    let end = memchr::memmem::find(within, b"\r\n\r\n").map(|at| at + 4);
    let head = within.get(..end.unwrap_or(within.len())).unwrap_or_default();
    for (at, &byte) in head.iter().enumerate() {
        let next = head.get(at + 1);
        let bad = match byte {
            b'\n' => at.checked_sub(1).and_then(|p| head.get(p)) != Some(&b'\r'),
            b'\r' => next.is_some_and(|n| *n != b'\n'),
            0 => true,
            _ => false,
        };
        if bad {
            return refuse(400, "a line of the head does not end with CRLF, or holds NUL");
        }
    }
    if end.is_none() && buffer.len() >= limits.bytes_max {
        return refuse(431, "the head is larger than the limit");
    }
    Ok(end)
}

/// Reads a whole request head, as [`find_end`] found it, by the limits or rules.
///
/// # Errors
/// The rule it breaks.
pub fn parse_request(head: &[u8], rules: impl Into<HeadRules>) -> Result<RequestHead, Refusal> {
    let rules = rules.into();
    let limits = &rules.limits;
    no_folding(head)?;
    let mut slots = vec![httparse::EMPTY_HEADER; limits.fields_max];
    let mut request = httparse::Request::new(&mut slots);
    match request.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => {
            return refuse(431, "the head has more fields than the limit");
        }
        Err(httparse::Error::Version) => return refuse(505, "the version is neither HTTP/1.1 nor HTTP/1.0"),
        Ok(_) | Err(_) => return refuse(400, "the head is not that of an HTTP/1.1 request"),
    }
    let is_1_1 = request.version == Some(1);
    let method = request.method.unwrap_or_default().to_owned();
    let fields = read_fields(request.headers);
    let host = check_host(&fields, is_1_1)?;
    let Target { target, authority, absolute } =
        check_target(&method, request.path.unwrap_or_default(), host, &rules)?;
    let framing = request_framing(&fields, is_1_1)?;
    if method == "CONNECT" && framing != Framing::Empty {
        return refuse(400, "CONNECT with a body");
    }
    let expects_continue = check_expect(&fields, is_1_1)?;
    let keep_alive = keeps_alive(&fields, is_1_1);
    let upgrade = upgrade(&fields).filter(|_| is_1_1 && method == "GET" && framing == Framing::Empty);
    Ok(RequestHead {
        method,
        target,
        is_1_1,
        fields,
        framing,
        keep_alive,
        expects_continue,
        authority,
        absolute,
        upgrade,
    })
}

/// Reads a whole response head to a request with `method`.
///
/// # Errors
/// The rule it breaks.
pub fn parse_response(head: &[u8], method: &str, limits: &HeadLimits) -> Result<ResponseHead, Refusal> {
    no_folding(head)?;
    let mut slots = vec![httparse::EMPTY_HEADER; limits.fields_max];
    let mut response = httparse::Response::new(&mut slots);
    match response.parse(head) {
        Ok(httparse::Status::Complete(len)) if len == head.len() => {}
        Ok(_) | Err(_) => return refuse(502, "the upstream's head is not that of an HTTP/1.1 response"),
    }
    let is_1_1 = response.version == Some(1);
    let status = response.code.unwrap_or_default();
    if !(100..600).contains(&status) {
        return refuse(502, "the upstream's status code is out of range");
    }
    let fields = read_fields(response.headers);
    let framing = response_framing(&fields, is_1_1, status, method)?;
    let keep_alive = keeps_alive(&fields, is_1_1) && framing != Framing::UntilClose;
    let upgrade = upgrade(&fields).filter(|_| status == 101);
    Ok(ResponseHead { status, fields, framing, keep_alive, upgrade })
}

/// The protocol of `Upgrade` that is known, where `Connection` names it too.
fn upgrade(fields: &Fields) -> Option<Upgrade> {
    let asks = fields.lists("connection", "upgrade") && fields.lists("upgrade", "websocket");
    asks.then_some(Upgrade::WebSocket)
}

/// RFC 9112, section 5.2: folded lines are refused.
fn no_folding(head: &[u8]) -> Result<(), Refusal> {
    let folded = head.windows(3).any(|w| matches!(w, [b'\r', b'\n', b' ' | b'\t']));
    if folded { refuse(400, "a field is folded over lines") } else { Ok(()) }
}

fn read_fields(headers: &[httparse::Header<'_>]) -> Fields {
    let mut fields = Fields::default();
    for header in headers {
        fields.push(header.name, header.value.trim_ascii());
    }
    fields
}

/// RFC 9112, section 3.2: exactly one `Host`, and a valid one.
fn check_host(fields: &Fields, is_1_1: bool) -> Result<Option<String>, Refusal> {
    let mut hosts = fields.all("host");
    let (first, second) = (hosts.next(), hosts.next());
    if second.is_some() {
        return refuse(400, "more than one Host");
    }
    let Some(host) = first else {
        return if is_1_1 { refuse(400, "no Host") } else { Ok(None) };
    };
    let valid = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%:[]".contains(b);
    if !host.iter().all(valid) {
        return refuse(400, "the Host is not valid");
    }
    Ok(Some(String::from_utf8_lossy(host).into_owned()))
}

/// What is asked for, and of whom.
struct Target {
    target: String,
    authority: Option<String>,
    absolute: Option<Absolute>,
}

/// RFC 9112, section 3.2: origin-form; absolute-form; asterisk-form for `OPTIONS`; authority-form for `CONNECT`.
fn check_target(
    method: &str,
    target: &str,
    host: Option<String>,
    rules: &HeadRules,
) -> Result<Target, Refusal> {
    if target.len() > rules.limits.target_bytes_max {
        return refuse(414, "the request target is longer than the limit");
    }
    if target.bytes().any(|b| b <= b' ' || b == 0x7F || b >= 0x80 || b == b'#') {
        return refuse(400, "the request target is not valid");
    }
    let authority = host.as_deref().map(lower);
    match method {
        "CONNECT" if rules.connect => {
            let named = lower(target);
            let port = named.rsplit_once(':').map(|(_, port)| port);
            if !port.is_some_and(|p| p.parse::<u16>().is_ok()) || named.contains(['/', '?', '@', '*']) {
                return refuse(400, "the target of CONNECT is not a host and a port");
            }
            if authority.is_some_and(|host| host != named && !named.starts_with(&format!("{host}:"))) {
                return refuse(400, "the request target names another host than Host does");
            }
            return Ok(Target { target: named.clone(), authority: Some(named), absolute: None });
        }
        "CONNECT" => return refuse(405, "CONNECT is not configured"),
        "TRACE" => return refuse(405, "TRACE is not forwarded"),
        _ => {}
    }
    if target.starts_with('/') || target == "*" && method == "OPTIONS" {
        return Ok(Target { target: target.to_owned(), authority, absolute: None });
    }
    let absolute = target.split_once("://").and_then(|(scheme, rest)| {
        let is_https = scheme.eq_ignore_ascii_case("https");
        (is_https || scheme.eq_ignore_ascii_case("http")).then_some((is_https, rest))
    });
    let Some((is_https, rest)) = absolute else { return refuse(400, "the request target is not a path") };
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (named, path) = rest.split_at(at);
    if !rules.absolute_form && !host.is_some_and(|h| h.eq_ignore_ascii_case(named)) {
        return refuse(400, "the request target names another host than Host does");
    }
    if named.is_empty() || named.contains('@') {
        return refuse(400, "the host of the request target is not valid");
    }
    let target = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    let authority = lower(named);
    Ok(Target {
        target,
        authority: Some(authority.clone()),
        absolute: Some(Absolute { is_https, authority }),
    })
}

/// A host in the case and form in which hosts are compared.
fn lower(host: &str) -> String {
    let (name, port) = match host.find(':').filter(|_| !host.starts_with('[')) {
        Some(at) => host.split_at(at),
        None => (host, ""),
    };
    format!("{}{port}", name.strip_suffix('.').unwrap_or(name)).to_ascii_lowercase()
}

/// RFC 9112, section 6.3, with what it lets a server refuse refused.
fn request_framing(fields: &Fields, is_1_1: bool) -> Result<Framing, Refusal> {
    let length = content_length(fields).map_err(|reason| Refusal { status: 400, reason })?;
    if !fields.has("transfer-encoding") {
        return Ok(match length {
            Some(0) | None => Framing::Empty,
            Some(len) => Framing::Length(len),
        });
    }
    if !is_1_1 {
        return refuse(400, "Transfer-Encoding in HTTP/1.0");
    }
    if length.is_some() {
        return refuse(400, "both Transfer-Encoding and Content-Length");
    }
    if is_chunked(fields) {
        Ok(Framing::Chunked)
    } else {
        refuse(501, "a transfer coding other than chunked")
    }
}

fn response_framing(fields: &Fields, is_1_1: bool, status: u16, method: &str) -> Result<Framing, Refusal> {
    let length = content_length(fields).map_err(|reason| Refusal { status: 502, reason })?;
    let has_coding = fields.has("transfer-encoding");
    if has_coding && length.is_some() {
        return refuse(502, "both Transfer-Encoding and Content-Length in the response");
    }
    if method == "HEAD" || matches!(status, 100..=199 | 204 | 304) {
        return Ok(Framing::Empty);
    }
    match (has_coding, length) {
        (true, _) if !is_1_1 => refuse(502, "Transfer-Encoding in an HTTP/1.0 response"),
        (true, _) if is_chunked(fields) => Ok(Framing::Chunked),
        (true, _) => refuse(502, "a transfer coding other than chunked in the response"),
        (false, Some(0)) => Ok(Framing::Empty),
        (false, Some(len)) => Ok(Framing::Length(len)),
        (false, None) => Ok(Framing::UntilClose),
    }
}

fn is_chunked(fields: &Fields) -> bool {
    let mut values = fields.all("transfer-encoding");
    let only = values.next().is_some_and(|v| v.eq_ignore_ascii_case(b"chunked"));
    only && values.next().is_none()
}

/// RFC 9110, section 8.6: one value, of digits only. A repeated one is refused even where all are the same.
fn content_length(fields: &Fields) -> Result<Option<u64>, &'static str> {
    let mut values = fields.all("content-length");
    let (Some(value), second) = (values.next(), values.next()) else { return Ok(None) };
    if second.is_some() {
        return Err("more than one Content-Length");
    }
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(value).ok().filter(|_| digits).and_then(|t| t.parse().ok());
    number.map(Some).ok_or("the Content-Length is not a number")
}

/// RFC 9110, section 10.1.1.
fn check_expect(fields: &Fields, is_1_1: bool) -> Result<bool, Refusal> {
    let mut any = false;
    for value in fields.all("expect") {
        if !value.eq_ignore_ascii_case(b"100-continue") {
            return refuse(417, "an expectation other than 100-continue");
        }
        any = is_1_1;
    }
    Ok(any)
}

/// RFC 9112, section 9.3.
fn keeps_alive(fields: &Fields, is_1_1: bool) -> bool {
    !fields.lists("connection", "close") && (is_1_1 || fields.lists("connection", "keep-alive"))
}

#[cfg(test)]
mod tests;
