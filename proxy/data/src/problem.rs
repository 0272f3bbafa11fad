//! Errors that the gateway itself answers with: RFC 9457 problems, and on LLM paths the provider's own shape, so
//! that SDKs raise their usual exceptions. No word of them comes from a message.

use sluice_audit::RequestId;

use crate::codec::fields::Fields;

/// Why an exchange is refused or has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Status of the response.
    pub status: u16,
    /// Stable name of the cause.
    pub code: &'static str,
    /// For people.
    pub detail: &'static str,
    /// Seconds for `Retry-After`; 0: none is sent.
    pub retry_after_s: u32,
}

impl Problem {
    pub(crate) const fn new(status: u16, code: &'static str, detail: &'static str) -> Problem {
        Problem { status, code, detail, retry_after_s: if status == 503 { 1 } else { 0 } }
    }

    /// A fault of the protocol.
    pub(crate) const fn bad_request(status: u16, detail: &'static str) -> Problem {
        let code = if matches!(status, 413 | 414 | 431) { "too_large" } else { "bad_request" };
        Problem::new(status, code, detail)
    }

    pub(crate) const UNREACHABLE: Problem = Problem::new(
        502,
        "upstream_unreachable",
        "the upstream can't be reached, or broke off before it answered",
    );
    pub(crate) const TIMEOUT: Problem =
        Problem::new(504, "upstream_timeout", "the upstream did not answer in time");
    pub(crate) const NO_ROUTE: Problem =
        Problem::new(404, "no_route", "no route of the gateway takes this host, path, method and fields");
    pub(crate) const DOT_SEGMENTS: Problem = Problem::new(
        400,
        "bad_request",
        "the path has segments `.` or `..`, which the gateway and the upstream could read differently",
    );
    pub(crate) const UNDECIDED: Problem = Problem::new(
        503,
        "overloaded",
        "nobody decided in time whether the request may go on, so it was refused: try again",
    );
    pub(crate) const NOT_EVENTS: Problem = Problem::new(
        502,
        "upstream_unreachable",
        "the upstream answered the request, once it was approved, with other than events",
    );
    pub(crate) const UNRECORDED: Problem = Problem::new(
        503,
        "overloaded",
        "the exchange could not be recorded, so it was not let on: try again",
    );
    pub(crate) const FACTS_TOO_LARGE: Problem = Problem::new(
        431,
        "too_large",
        "the target, credentials and fields that decide about the request are larger than the limit",
    );
    pub(crate) const FACTS_NOT_TEXT: Problem =
        Problem::new(400, "bad_request", "a field that decides about the request is not UTF-8 text");
    pub(crate) const CERTIFICATE_EXPIRED: Problem =
        Problem::new(401, "unauthenticated", "the client certificate has expired");
    pub(crate) const CERTIFICATE_UNCLEAR: Problem =
        Problem::new(401, "unauthenticated", "the client certificate does not name its owner without doubt");
    pub(crate) const HELD_TOO_LARGE: Problem = Problem::new(
        413,
        "too_large",
        "a policy reads the request's body, which is larger than what may be held for that",
    );
    pub(crate) const HELD_FULL: Problem =
        Problem::new(503, "overloaded", "the gateway holds as many bytes of requests as it may");
    pub(crate) const BODY_TIMED_OUT: Problem =
        Problem::bad_request(408, "the request's body did not go on in time");
    pub(crate) const RESPONSE_UNCUT: Problem = Problem::new(
        403,
        "denied",
        "a policy limits what of the response may be passed on, and it is of a type in which that can't be held",
    );
    pub(crate) const RESPONSE_TOO_LARGE: Problem = Problem::new(
        403,
        "denied",
        "the response has more bytes, rows or spans than the policy allows, so it was not passed on",
    );
    pub(crate) const OVERLOADED: Problem =
        Problem::new(503, "overloaded", "the gateway serves as many connections as it may");
    pub(crate) const UPSTREAM_FULL: Problem =
        Problem::new(503, "overloaded", "the upstream has as many exchanges in flight as it may");
    pub(crate) const ROUTE_FULL: Problem = Problem::new(
        503,
        "overloaded",
        "the route runs as many exchanges as it may, and no place came free in time",
    );
    pub(crate) const RATE_LIMITED: Problem =
        Problem::new(429, "rate_limited", "more requests came than the route's rate limit allows");
    pub(crate) const BODY_TOO_LARGE: Problem =
        Problem::new(413, "too_large", "the request's body is larger than the limit");
    pub(crate) const CODED_OVERLOADED: Problem =
        Problem::new(503, "overloaded", "the gateway has as many coded bodies in work as it may");
    pub(crate) const CODED_TOO_LARGE: Problem = Problem::new(
        413,
        "too_large",
        "the request's body decodes to more than its content coding may give, or needs a window over the limit",
    );
    pub(crate) const REQUEST_UNMASKABLE: Problem = Problem::new(
        415,
        "unmaskable",
        "the request's body can't be scanned, so it was not sent on: send it in a type and charset that can be \
         read, and valid in that type",
    );
    pub(crate) const REQUEST_CODING_UNKNOWN: Problem = Problem::new(
        415,
        "unmaskable",
        "the request's body has a content coding that can't be decoded, or more than three, so it was not sent on",
    );
    pub(crate) const REQUEST_CODING_INVALID: Problem = Problem::new(
        415,
        "unmaskable",
        "the request's body is not valid in its content coding, or ends before it does, so it was not sent on",
    );
    pub(crate) const RESPONSE_UNMASKABLE: Problem = Problem::new(
        502,
        "unmaskable",
        "the upstream's answer can't be scanned, so it was not passed on: it has a range, or a type or charset that \
         can't be read, or is not valid in its type",
    );
    pub(crate) const RESPONSE_CODING_UNKNOWN: Problem = Problem::new(
        502,
        "unmaskable",
        "the upstream's answer has a content coding that can't be decoded, or more than three, so it was not passed on",
    );
    pub(crate) const RESPONSE_CODING_INVALID: Problem = Problem::new(
        502,
        "unmaskable",
        "the upstream's answer is not valid in its content coding, ends before it does, or decodes to more than it may, \
         so it was not passed on",
    );
    pub(crate) const WEBSOCKET_VERSION: Problem =
        Problem::new(426, "bad_request", "the WebSocket is of another version than 13");
    pub(crate) const WEBSOCKET_KEY: Problem =
        Problem::new(400, "bad_request", "the WebSocket has no valid Sec-WebSocket-Key");
    pub(crate) const WEBSOCKET_ANSWER: Problem = Problem::new(
        502,
        "upstream_unreachable",
        "the upstream opened the WebSocket in a way that was not asked for, so it was not passed on",
    );
    pub(crate) const NOT_TLS: Problem = Problem::new(
        400,
        "bad_request",
        "the target is https and its upstream is reached without TLS: ask for http",
    );
    pub(crate) const OTHER_HOST: Problem = Problem::new(
        421,
        "bad_request",
        "the request is for another host than the tunnel that it came through",
    );
    pub(crate) const BAD_RESPONSE: Problem =
        Problem::new(502, "upstream_unreachable", "the upstream's answer is not valid HTTP/1.1");
}

/// Which shape an error has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Problem,
    OpenAi,
    Anthropic,
    /// The status stands in the fields: of gRPC, or of gRPC-Web.
    Grpc {
        is_web: bool,
    },
}

impl Shape {
    /// By the path (without the query) and fields of a request.
    pub(crate) fn of(target: &str, fields: &Fields) -> Shape {
        if let Some(kind) = fields.text("content-type") {
            let is_web = has_essence(kind, "application/grpc-web");
            if is_grpc(fields) || is_web {
                return Shape::Grpc { is_web };
            }
        }
        let path = target.split('?').next().unwrap_or_default();
        let is = |end: &str| path.ends_with(end);
        if fields.has("anthropic-version") || is("/v1/messages") || path.contains("/v1/messages/") {
            return Shape::Anthropic;
        }
        let known =
            ["/completions", "/responses", "/embeddings", "/moderations", "/models", "/files", "/batches"];
        let openai = path.starts_with("/v1/") || path.contains("/openai/") || known.iter().any(|k| is(k));
        if openai { Shape::OpenAi } else { Shape::Problem }
    }
}

/// Whether a request is gRPC over HTTP/2: besides its type it says that it reads trailers, as the protocol asks for, which
/// no request of HTTP/1.1 does that has just the type.
pub(crate) fn is_grpc(fields: &Fields) -> bool {
    let has_type = fields.text("content-type").is_some_and(|kind| has_essence(kind, "application/grpc"));
    has_type && fields.lists("te", "trailers")
}

/// Whether a media type is this one, with or without a suffix (`+proto`, `-text`).
fn has_essence(kind: &str, wanted: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let (start, rest) = essence.split_at_checked(wanted.len()).unwrap_or_default();
    start.eq_ignore_ascii_case(wanted)
        && (rest.is_empty()
            || rest.starts_with('+')
            || (wanted.ends_with("-web") && rest.starts_with("-text")))
}

/// The status of a response that tells of a problem.
pub(crate) fn status(problem: &Problem, shape: Shape) -> u16 {
    match shape {
        Shape::Grpc { .. } => 200,
        Shape::Problem | Shape::OpenAi | Shape::Anthropic => problem.status,
    }
}

/// The code of gRPC (its `statuscodes.md`) for a problem.
fn grpc_status(problem: &Problem) -> u8 {
    match (problem.code, problem.status) {
        ("upstream_timeout", _) | (_, 408) => 4, // DEADLINE_EXCEEDED
        ("denied" | "approval_pending" | "approval_denied", _) => 7, // PERMISSION_DENIED
        ("too_large" | "rate_limited", _) => 8,  // RESOURCE_EXHAUSTED
        ("no_route", _) => 12,                   // UNIMPLEMENTED
        ("overloaded" | "upstream_unreachable", _) => 14, // UNAVAILABLE
        ("unauthenticated", _) => 16,            // UNAUTHENTICATED
        (_, 400..=499) => 3,                     // INVALID_ARGUMENT
        _ => 13,                                 // INTERNAL
    }
}

/// The standard reason of a status (RFC 9110, section 15); the class's name for one that is not known.
pub(crate) fn reason(status: u16) -> &'static str {
    match status {
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => match status / 100 {
            1 => "Informational",
            2 => "Success",
            3 => "Redirection",
            4 => "Client Error",
            _ => "Server Error",
        },
    }
}

/// The fields but for framing, and the body.
pub(crate) fn parts(problem: &Problem, detail: &str, shape: Shape, id: RequestId) -> (Fields, String) {
    let kind = match shape {
        Shape::Problem => "application/problem+json",
        Shape::OpenAi | Shape::Anthropic => "application/json",
        Shape::Grpc { is_web: false } => "application/grpc",
        Shape::Grpc { is_web: true } => "application/grpc-web+proto",
    };
    let mut fields = Fields::default();
    if let Shape::Grpc { .. } = shape {
        fields.push("Content-Type", kind);
        fields.push("grpc-status", grpc_status(problem).to_string());
        fields.push("grpc-message", percent_encoded(detail));
        fields.push("sluice-request-id", id.to_string());
        return (fields, String::new());
    }
    fields.push("Content-Type", kind);
    fields.push("sluice-request-id", id.to_string());
    fields.push("Cache-Control", "no-store");
    if problem.retry_after_s > 0 {
        fields.push("Retry-After", problem.retry_after_s.to_string());
    }
    if problem.code == "unauthenticated" {
        // RFC 6750, section 3.
        fields.push("WWW-Authenticate", "Bearer");
    }
    if problem.status == 426 {
        // RFC 6455, section 4.4; RFC 9110, section 15.5.22.
        fields.push("Sec-WebSocket-Version", "13");
        fields.push("Upgrade", "websocket");
        fields.push("Connection", "Upgrade");
    }
    if problem.status == 405 {
        fields.push("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
    }
    if *problem == Problem::REQUEST_CODING_UNKNOWN {
        // RFC 9110, section 12.5.3: so that it is told apart from a type that is not known.
        fields.push("Accept-Encoding", "gzip, deflate, br, zstd");
    }
    (fields, body(problem, &json_escaped(detail), shape, id))
}

/// As `grpc-message` has it: printable ASCII without `%`, the rest in percent-encoding (gRPC over HTTP/2, "Responses").
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' => out.push_str("%25"),
            b' '..=b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// As it stands in a string of JSON (RFC 8259, section 7).
fn json_escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '"' | '\\' => out.extend(['\\', letter]),
            '\0'..='\x1f' => out.push_str(&format!("\\u{:04x}", u32::from(letter))),
            _ => out.push(letter),
        }
    }
    out
}

/// The same as an event, for a response of events that has begun: the shape in which each provider tells of an error then.
pub(crate) fn event(problem: &Problem, detail: &str, shape: Shape, id: RequestId) -> String {
    let body = body(problem, &json_escaped(detail), shape, id);
    match shape {
        // Their SDKs look at the data alone.
        Shape::OpenAi => format!("data: {body}\n\n"),
        Shape::Anthropic | Shape::Problem | Shape::Grpc { .. } => format!("event: error\ndata: {body}\n\n"),
    }
}

/// `detail` is escaped; no other text in it needs that, for all are constants of this crate.
fn body(problem: &Problem, detail: &str, shape: Shape, id: RequestId) -> String {
    let Problem { status, code, .. } = problem;
    let title = reason(*status);
    let members = format!(r#""title":"{title}","status":{status},"detail":"{detail}","code":"{code}""#);
    let kind = match (shape, status) {
        (Shape::Anthropic, 400 | 405 | 414 | 415 | 417 | 421 | 426 | 431 | 501 | 505) => {
            "invalid_request_error"
        }
        (Shape::Anthropic, 401) => "authentication_error",
        (Shape::Anthropic, 403) => "permission_error",
        (Shape::Anthropic, 413) => "request_too_large",
        (Shape::Anthropic, 503) => "overloaded_error",
        (Shape::Anthropic, 504) => "timeout_error",
        (Shape::Anthropic, _) => "api_error",
        (_, 401) => "authentication_error",
        (_, 403) => "permission_error",
        (_, 400..=499) => "invalid_request_error",
        _ => "server_error",
    };
    match shape {
        Shape::Problem => {
            format!(r#"{{"type":"urn:sluice:problem:{code}",{members},"request_id":"{id}"}}"#)
        }
        Shape::OpenAi => format!(
            r#"{{"error":{{"message":"{detail}","type":"{kind}","param":null,"code":"{code}"}},"type":"urn:sluice:problem:{code}",{members},"request_id":"{id}"}}"#
        ),
        Shape::Grpc { .. } => String::new(),
        Shape::Anthropic => format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"{detail}"}},{members},"request_id":"{id}"}}"#
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sluice_audit::RequestIds;

    #[test]
    fn shapes_by_path() {
        let none = Fields::default();
        let mut version = Fields::default();
        version.push("Anthropic-Version", "2023-06-01");
        for (target, fields, shape) in [
            ("/v1/chat/completions", &none, Shape::OpenAi),
            ("/v1/messages?beta=true", &none, Shape::Anthropic),
            ("/v1/models", &version, Shape::Anthropic),
            ("/v1/models", &none, Shape::OpenAi),
            ("/openai/deployments/x/chat/completions?api-version=1", &none, Shape::OpenAi),
            ("/api/things", &none, Shape::Problem),
        ] {
            assert_eq!(Shape::of(target, fields), shape, "{target}");
        }
    }

    #[test]
    fn grpc_has_a_shape_of_its_own() {
        let id = RequestIds::new(0, 0).next(0);
        for (kind, shape) in [
            ("application/grpc", Shape::Grpc { is_web: false }),
            ("Application/gRPC+proto; x=y", Shape::Grpc { is_web: false }),
            ("application/grpc-web", Shape::Grpc { is_web: true }),
            ("application/grpc-web-text+proto", Shape::Grpc { is_web: true }),
            ("application/grpcs", Shape::Problem),
            ("application/json", Shape::Problem),
            ("", Shape::Problem),
        ] {
            let mut fields = Fields::default();
            fields.push("content-type", kind);
            fields.push("te", "trailers");
            assert_eq!(Shape::of("/s/m", &fields), shape, "{kind}");
        }
        let mut fields = Fields::default();
        fields.push("content-type", "application/grpc");
        assert_eq!(Shape::of("/s/m", &fields), Shape::Problem, "it reads no trailers");
        for (problem, code) in [
            (Problem::new(403, "denied", ""), "7"),
            (Problem::new(401, "unauthenticated", ""), "16"),
            (Problem::OVERLOADED, "14"),
            (Problem::UNREACHABLE, "14"),
            (Problem::TIMEOUT, "4"),
            (Problem::bad_request(408, ""), "4"),
            (Problem::BODY_TOO_LARGE, "8"),
            (Problem::bad_request(431, ""), "8"),
            (Problem::REQUEST_UNMASKABLE, "3"),
            (Problem::bad_request(400, ""), "3"),
            (Problem::RESPONSE_UNMASKABLE, "13"),
            (Problem::NO_ROUTE, "12"),
        ] {
            let shape = Shape::Grpc { is_web: false };
            let (fields, body) = parts(&problem, problem.detail, shape, id);
            assert_eq!(fields.text("grpc-status"), Some(code), "{problem:?}");
            assert_eq!(
                (fields.text("content-type"), status(&problem, shape)),
                (Some("application/grpc"), 200)
            );
            assert!(body.is_empty());
            let message = fields.text("grpc-message").unwrap();
            assert!(message.bytes().all(|b| (b' '..=b'~').contains(&b) && b != b'%'), "{message}");
        }
    }

    #[test]
    fn responses_are_whole() {
        let id = RequestIds::new(0, 0).next(0);
        for shape in [Shape::Problem, Shape::OpenAi, Shape::Anthropic] {
            let (fields, body) = parts(&Problem::OVERLOADED, Problem::OVERLOADED.detail, shape, id);
            assert_eq!(fields.text("retry-after"), Some("1"));
            assert!(body.contains("\"code\":\"overloaded\"") && body.contains(&id.to_string()));
        }
    }
}
