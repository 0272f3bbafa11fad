//! A request of HTTP/2 by the rules of HTTP/1.1's heads: it is written as one and read by the same code, so that
//! nothing is taken in one version that the other refuses, and nothing goes upstream that could be read as two requests.

use h2::ext::Protocol;
use http::request::Parts;

use crate::codec::body::Framing;
use crate::codec::fields::Fields;
use crate::codec::head::{HeadLimits, Refusal, RequestHead, Upgrade, find_end, parse_request};

fn refuse<T>(status: u16, reason: &'static str) -> Result<T, Refusal> {
    Err(Refusal { status, reason })
}

/// The head of a request; `is_end`: it has no body. An extended `CONNECT` for a WebSocket (RFC 8441) is the `GET` that
/// HTTP/1.1 has for it, so that it takes the same route; it has no key, and what follows has no framing.
///
/// # Errors
/// The rule it breaks.
pub(crate) fn request_head(parts: &Parts, is_end: bool, limits: &HeadLimits) -> Result<RequestHead, Refusal> {
    let is_websocket = asks_for_websocket(parts, is_end)?;
    if !matches!(parts.uri.scheme_str(), None | Some("http" | "https")) {
        return refuse(400, "the scheme is neither http nor https");
    }
    let path = parts.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
    if !path.starts_with('/') && path != "*" {
        return refuse(400, "the request target is not a path");
    }
    let method = if is_websocket { "GET" } else { parts.method.as_str() };
    let lines = lines(parts, method, path)?;
    if find_end(&lines, limits)? != Some(lines.len()) {
        return refuse(400, "a name or value holds what would end a head");
    }
    let mut head = parse_request(&lines, limits)?;
    if is_websocket {
        if head.framing != Framing::Empty || head.expects_continue {
            return refuse(400, "a WebSocket has no body");
        }
        head.upgrade = Some(Upgrade::WebSocket);
        return Ok(head);
    }
    head.framing = match (is_end, head.framing) {
        (true, _) => Framing::Empty,
        (false, Framing::Length(len)) => Framing::Length(len),
        (false, Framing::Empty | Framing::Chunked | Framing::UntilClose) => Framing::Chunked,
    };
    Ok(head)
}

/// RFC 8441, section 4.
fn asks_for_websocket(parts: &Parts, is_end: bool) -> Result<bool, Refusal> {
    let protocol = parts.extensions.get::<Protocol>().map(Protocol::as_str);
    match (parts.method == http::Method::CONNECT, protocol) {
        (false, None) => Ok(false),
        (false, Some(_)) => refuse(400, "a protocol is for CONNECT alone"),
        (true, None) => refuse(405, "CONNECT is not configured"),
        (true, Some("websocket")) if is_end => refuse(400, "a WebSocket that ends with its head"),
        (true, Some("websocket")) if parts.headers.contains_key("sec-websocket-key") => {
            refuse(400, "Sec-WebSocket-Key is for HTTP/1.1")
        }
        (true, Some("websocket")) => Ok(true),
        // RFC 9220, section 3, has this status for it.
        (true, Some(_)) => refuse(501, "a protocol other than websocket"),
    }
}

/// The head as HTTP/1.1 has it.
fn lines(parts: &Parts, method: &str, path: &str) -> Result<Vec<u8>, Refusal> {
    let mut fields = Fields::default();
    fields.push("host", host(parts)?);
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in &parts.headers {
        let value = value.as_bytes();
        if value.trim_ascii().len() != value.len() {
            // RFC 9113, section 8.2.1.
            return refuse(400, "a value begins or ends with a space");
        }
        match name.as_str() {
            "host" => {}
            // RFC 9113, section 8.2.3.
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(value);
            }
            name => fields.push(name, value),
        }
    }
    if !cookies.is_empty() {
        fields.push("cookie", cookies);
    }
    let mut out = Vec::with_capacity(256);
    for part in [method, " ", path, " HTTP/1.1\r\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    fields.write(&mut out);
    out.extend_from_slice(b"\r\n");
    Ok(out)
}

/// The one host that a request names (RFC 9113, section 8.3.1).
fn host(parts: &Parts) -> Result<Vec<u8>, Refusal> {
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut hosts = parts.headers.get_all("host").iter().map(http::HeaderValue::as_bytes);
    let first = hosts.next();
    if hosts.next().is_some() {
        return refuse(400, "more than one Host");
    }
    match (authority, first) {
        (Some(authority), Some(host)) if !authority.eq_ignore_ascii_case(host) => {
            refuse(400, "Host names another host than :authority does")
        }
        (Some(host), _) | (None, Some(host)) if !host.is_empty() => Ok(host.to_vec()),
        (Some(_), _) | (None, _) => refuse(400, "neither :authority nor Host"),
    }
}
