//! Heads by the rules of RFC 9112: what is taken, what is refused and how.

use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 16 * 1024, fields_max: 100, target_bytes_max: 8 * 1024 };

fn request(text: &str) -> Result<RequestHead, Refusal> {
    match find_end(text.as_bytes(), &LIMITS)? {
        Some(end) => parse_request(&text.as_bytes()[..end], &LIMITS),
        None => refuse(0, "not whole"),
    }
}

fn get(fields: &str) -> Result<RequestHead, Refusal> {
    request(&format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n"))
}

#[test]
fn requests_that_are_taken() {
    let head = request("GET /a?b=c HTTP/1.1\r\nHost: h:80\r\nX: 1 \r\nx:\r\n\r\n").unwrap();
    assert_eq!((head.target.as_str(), head.framing, head.keep_alive), ("/a?b=c", Framing::Empty, true));
    assert_eq!(head.fields.all("X").collect::<Vec<_>>(), [&b"1"[..], b""]);
    assert!(!request("GET / HTTP/1.0\r\n\r\n").unwrap().keep_alive);
    assert!(request("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n").unwrap().keep_alive);
    assert!(!get("Connection: x, close\r\n").unwrap().keep_alive);
    assert_eq!(get("Content-Length: 0012\r\n").unwrap().framing, Framing::Length(12));
    assert_eq!(get("Transfer-Encoding: Chunked\r\n").unwrap().framing, Framing::Chunked);
    assert!(get("Expect: 100-Continue\r\n").unwrap().expects_continue);
    assert_eq!(request("GET http://h/x HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().target, "/x");
    assert_eq!(request("GET http://H?q HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().target, "/?q");
    assert_eq!(request("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n").unwrap().target, "*");
}

#[test]
fn requests_that_are_refused() {
    for (fields, status) in [
        ("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 0\r\n", 400),
        ("Content-Length: 1\r\nContent-Length: 1\r\n", 400),
        ("Content-Length: 1\r\nContent-Length: 2\r\n", 400),
        ("Content-Length: 1, 1\r\n", 400),
        ("Content-Length: +1\r\n", 400),
        ("Content-Length: -1\r\n", 400),
        ("Content-Length: 0x1\r\n", 400),
        ("Content-Length: 1 1\r\n", 400),
        ("Content-Length:\r\n", 400),
        ("Content-Length: 99999999999999999999\r\n", 400),
        ("Transfer-Encoding: identity\r\n", 501),
        ("Transfer-Encoding: gzip, chunked\r\n", 501),
        ("Transfer-Encoding: chunked, chunked\r\n", 501),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding: xchunked\r\n", 501),
        ("Transfer-Encoding: \"chunked\"\r\n", 501),
        ("Transfer-Encoding:\r\n", 501),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Transfer-Encoding\r\n", 400),
        ("Transfer Encoding: chunked\r\n", 400),
        ("X: a\r\n Transfer-Encoding: chunked\r\n", 400),
        ("X: a\r\n\tb\r\n", 400),
        ("X: a\nTransfer-Encoding: chunked\r\n", 400),
        ("X: a\rTransfer-Encoding: chunked\r\n", 400),
        ("X: a\0b\r\n", 400),
        ("X\0: a\r\n", 400),
        ("X: \u{1}\r\n", 400),
        (": a\r\n", 400),
        ("Host: other\r\n", 400),
        ("Expect: 200-ok\r\n", 417),
    ] {
        let refusal = get(fields).map(|h| h.framing).unwrap_err();
        assert_eq!(refusal.status, status, "{fields:?}: {}", refusal.reason);
    }
    for (line, status) in [
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/2.0\r\nHost: h\r\n\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: h\r\n\r\n", 505),
        ("GET / HTTP/0.9\r\nHost: h\r\n\r\n", 505),
        ("GET /\r\nHost: h\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1 \r\nHost: h\r\n\r\n", 400),
        ("GET /a b HTTP/1.1\r\nHost: h\r\n\r\n", 505),
        ("G@T / HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET / HTTP/1.1\nHost: h\n\n", 400),
        ("GET h:80 HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET /#f HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET http://other/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n", 400),
        ("CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("TRACE / HTTP/1.1\r\nHost: h\r\n\r\n", 405),
        ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        ("\u{16}\u{3}\u{1}\r\n\r\n", 400),
    ] {
        let refusal = request(line).map(|h| h.framing).unwrap_err();
        assert_eq!(refusal.status, status, "{line:?}: {}", refusal.reason);
    }
}

#[test]
fn responses() {
    let parse = |text: &str, method: &str| {
        parse_response(text.as_bytes(), method, &LIMITS).map(|h| (h.framing, h.keep_alive))
    };
    for (text, method, framing, keep_alive) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", Framing::Length(5), true),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "GET", Framing::Empty, true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Framing::Chunked, true),
        ("HTTP/1.1 200 OK\r\n\r\n", "GET", Framing::UntilClose, false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n", "GET", Framing::Length(5), false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "HEAD", Framing::Empty, true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "GET", Framing::Empty, true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", "GET", Framing::Empty, true),
        ("HTTP/1.1 100 Continue\r\n\r\n", "POST", Framing::Empty, true),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
            "GET",
            Framing::Length(5),
            false,
        ),
    ] {
        assert_eq!(parse(text, method), Ok((framing, keep_alive)), "{text:?}");
    }
    for text in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 5,5\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 99 X\r\n\r\n",
        "HTTP/1.1 600 X\r\n\r\n",
        "HTTP/1.1 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
    ] {
        assert!(parse(text, "GET").is_err(), "{text:?}");
    }
}

#[test]
fn limits() {
    let padded = |n: usize| {
        let head = "GET / HTTP/1.1\r\nHost: h\r\nX: \r\n\r\n";
        head.replace("X: ", &format!("X: {}", "a".repeat(n - head.len())))
    };
    assert!(request(&padded(LIMITS.bytes_max)).is_ok());
    assert_eq!(request(&padded(LIMITS.bytes_max + 1)).unwrap_err().status, 431);
    let many = |n: usize| get(&"X: 1\r\n".repeat(n - 1));
    assert!(many(LIMITS.fields_max).is_ok());
    assert_eq!(many(LIMITS.fields_max + 1).unwrap_err().status, 431);
    let path = |n: usize| request(&format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(n - 1)));
    assert!(path(LIMITS.target_bytes_max).is_ok());
    assert_eq!(path(LIMITS.target_bytes_max + 1).unwrap_err().status, 414);
}
