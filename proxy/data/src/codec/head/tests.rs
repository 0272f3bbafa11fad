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

/// By rules other than a server's.
fn request_by(text: &str, absolute_form: bool, connect: bool) -> Result<RequestHead, Refusal> {
    parse_request(text.as_bytes(), HeadRules { limits: LIMITS, absolute_form, connect })
}

#[test]
fn hosts_are_read() {
    for (text, authority) in [
        ("GET / HTTP/1.1\r\nHost: API.Example.com.:8443\r\n\r\n", Some("api.example.com:8443")),
        ("GET http://H/ HTTP/1.1\r\nHost: h\r\n\r\n", Some("h")),
        ("OPTIONS * HTTP/1.1\r\nHost: [::A]\r\n\r\n", Some("[::a]")),
        ("GET / HTTP/1.0\r\n\r\n", None),
        ("GET / HTTP/1.0\r\nHost: h\r\n\r\n", Some("h")),
    ] {
        assert_eq!(request(text).unwrap().authority.as_deref(), authority, "{text:?}");
    }
    for host in ["", "h:", "h:x", "a..b", "h,i", "a%20b", "[::1", "h:99999", "h:80:80", "\u{e9}"] {
        let text = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(request(&text).unwrap_err().status, 400, "{host:?}");
    }
}

#[test]
fn absolute_form_by_rule() {
    let other = "GET HTTPS://Other.:8443/x?y HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(request(other).unwrap_err().status, 400);
    let head = request_by(other, true, false).unwrap();
    let absolute = Absolute { is_https: true, authority: "other:8443".to_owned() };
    assert!(head.absolute == Some(absolute) && head.authority.as_deref() == Some("other:8443"));
    assert_eq!(head.target, "/x?y");
    assert!(request_by("GET http://h/ HTTP/1.0\r\n\r\n", true, false).is_ok());
    assert_eq!(request_by("OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n", false, false).unwrap().target, "*");
    for target in ["http://u@h/", "http:///x", "ftp://h/", "h:80", "http://h:x/", "//h/x\\", "http:/h/"] {
        let text = format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(request_by(&text, true, true).unwrap_err().status, 400, "{target}");
    }
}

#[test]
fn connect_by_rule() {
    let connect = |target: &str, fields: &str| {
        request_by(&format!("CONNECT {target} HTTP/1.1\r\n{fields}\r\n"), false, true)
    };
    for (target, fields) in
        [("H:443", "Host: h:443\r\n"), ("h:443", "Host: h\r\n"), ("[::1]:1", "Host: [::1]:1\r\n")]
    {
        let head = connect(target, fields).unwrap();
        assert_eq!((head.target.as_str(), head.framing), (target.to_lowercase().as_str(), Framing::Empty));
        assert_eq!(head.authority.as_deref(), Some(head.target.as_str()));
    }
    for (target, fields) in [
        ("h", "Host: h\r\n"),
        ("h:", "Host: h\r\n"),
        ("/", "Host: h\r\n"),
        ("http://h:1/", "Host: h:1\r\n"),
        ("u@h:1", "Host: h:1\r\n"),
        ("h:1", "Host: other:1\r\n"),
        ("h:1", "Host: h:2\r\n"),
        ("h:1", ""),
        ("h:1", "Host: h:1\r\nContent-Length: 1\r\n"),
        ("h:1", "Host: h:1\r\nTransfer-Encoding: chunked\r\n"),
    ] {
        assert_eq!(connect(target, fields).unwrap_err().status, 400, "{target} {fields:?}");
    }
}

#[test]
fn upgrades() {
    let ask = |fields: &str| {
        let text = format!("GET / HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        request(&text).unwrap().upgrade
    };
    assert_eq!(ask("Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"), Some(Upgrade::WebSocket));
    assert_eq!(ask("Connection: upgrade\r\nUpgrade: h2c, websocket\r\n"), Some(Upgrade::WebSocket));
    assert_eq!(ask("Upgrade: websocket\r\n"), None);
    assert_eq!(ask("Connection: upgrade\r\n"), None);
    assert_eq!(ask("Connection: upgrade\r\nUpgrade: h2c\r\n"), None);
    assert_eq!(ask("Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 1\r\n"), None);
    let old = "GET / HTTP/1.0\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    assert_eq!(request(old).unwrap().upgrade, None);
    let fields = "Connection: upgrade\r\nUpgrade: websocket\r\n";
    let answer = |status| {
        let text = format!("HTTP/1.1 {status} X\r\n{fields}\r\n");
        parse_response(text.as_bytes(), "GET", &LIMITS).map(|h| (h.upgrade, h.keep_alive)).unwrap()
    };
    assert_eq!(answer(101), (Some(Upgrade::WebSocket), false));
    assert_eq!(answer(426).0, None);
}

/// Every cut of a head, and byte by byte, find what the whole does; a finder looks at nothing twice.
#[test]
fn the_end_of_a_head_however_it_comes() {
    let limits = HeadLimits { bytes_max: 40, ..LIMITS };
    for text in [
        "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET",
        "GET / HTTP/1.1\r\nHost: h\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\n\n",
        "GET / HTTP/1.1\n\nHost",
        "GET / HT\0TP/1.1\r\n",
        "\r\n\r\n",
        "\n",
        "\r\r\n\r\n",
        "GET /0123456789012345678901234567890123\r\n",
        "GET /012345678901234567890123456789\r\n\r\n",
        "GET /0123456789012345678901234567890\r\n\r\n",
        "GET /01234567890123456789012345678901\r\n\r\n",
    ] {
        let bytes = text.as_bytes();
        let whole = find_end(bytes, &limits);
        for cut in 0..=bytes.len() {
            let mut finder = HeadFinder::new();
            let first = finder.find(&bytes[..cut], &limits);
            let found = if first == Ok(None) { finder.find(bytes, &limits) } else { first };
            assert_eq!(found, whole, "{text:?} cut at {cut}");
        }
        let mut finder = HeadFinder::new();
        let found = (0..=bytes.len()).map(|end| finder.find(&bytes[..end], &limits)).find(|f| *f != Ok(None));
        assert_eq!(found.unwrap_or(Ok(None)), whole, "{text:?} byte by byte");
    }
}

#[test]
fn more_requests_that_are_refused() {
    for (fields, status) in [
        ("content_length: 5\r\n", 400),
        ("Transfer_Encoding: chunked\r\n", 400),
        ("Connection: content-length\r\n", 400),
        ("Connection: close, Host\r\n", 400),
        ("Connection: content_type\r\n", 400),
        ("Connection: a b\r\n", 400),
        ("Connection: \"close\"\r\n", 400),
        ("Expect: 100-continue\r\nExpect: 100-continue\r\n", 417),
        ("Transfer-Encoding: chunked\u{a0}\r\n", 501),
        ("X: \u{7f}\r\n", 400),
    ] {
        let refusal = get(fields).map(|h| h.framing).unwrap_err();
        assert_eq!(refusal.status, status, "{fields:?}: {}", refusal.reason);
    }
    for (line, status) in [
        ("get / HTTP/1.1", 400),
        ("Head / HTTP/1.1", 400),
        ("GET /\\x HTTP/1.1", 400),
        ("GET /<x HTTP/1.1", 400),
        ("GET /%zz HTTP/1.1", 400),
        ("GET /% HTTP/1.1", 400),
        ("GET /%4 HTTP/1.1", 400),
        ("GET /?\"x HTTP/1.1", 400),
        ("GET /\u{e9} HTTP/1.1", 400),
        ("\r\nGET / HTTP/1.1", 400),
    ] {
        let text = format!("{line}\r\nHost: h\r\n\r\n");
        assert_eq!(parse_request(text.as_bytes(), &LIMITS).unwrap_err().status, status, "{line:?}");
    }
    for line in [
        "GET /[a]{b}|^~?q=%&`\\ HTTP/1.1",
        "PATCH /a%2Fb HTTP/1.1",
        "BREW /pot HTTP/1.1",
        "report / HTTP/1.1",
    ] {
        let text = format!("{line}\r\nHost: h\r\n\r\n");
        assert!(parse_request(text.as_bytes(), &LIMITS).is_ok(), "{line:?}");
    }
}

#[test]
fn responses_without_a_body_that_announce_one() {
    let parse = |text: &str, method: &str| {
        parse_response(text.as_bytes(), method, &LIMITS)
            .map(|h| (h.framing, h.keep_alive))
            .map_err(|r| r.status)
    };
    for (text, method, result) in [
        ("HTTP/1.1 204 X\r\nContent-Length: 5\r\n\r\n", "GET", Ok((Framing::Empty, false))),
        ("HTTP/1.1 204 X\r\nContent-Length: 0\r\n\r\n", "GET", Ok((Framing::Empty, true))),
        ("HTTP/1.1 204 X\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Ok((Framing::Empty, false))),
        ("HTTP/1.1 304 X\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Ok((Framing::Empty, true))),
        ("HTTP/1.1 200 X\r\nTransfer-Encoding: chunked\r\n\r\n", "HEAD", Ok((Framing::Empty, true))),
        ("HTTP/1.1 200 X\r\nTransfer-Encoding: gzip\r\n\r\n", "HEAD", Err(502)),
        ("HTTP/1.1 100 X\r\nContent-Length: 5\r\n\r\n", "GET", Err(502)),
        ("HTTP/1.1 103 X\r\nTransfer-Encoding: chunked\r\n\r\n", "GET", Err(502)),
        ("HTTP/1.1 100 X\r\nContent-Length: 0\r\n\r\n", "GET", Ok((Framing::Empty, true))),
        ("HTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n", "CONNECT", Ok((Framing::Empty, false))),
        ("HTTP/1.1 403 X\r\nContent-Length: 5\r\n\r\n", "CONNECT", Ok((Framing::Length(5), true))),
        ("HTTP/1.1 200 X\r\nConnection: content-type\r\n\r\n", "GET", Err(502)),
        ("HTTP/1.1 200 X\r\nContent_Length: 5\r\n\r\n", "GET", Err(502)),
        ("\r\nHTTP/1.1 200 X\r\nContent-Length: 5\r\n\r\n", "GET", Err(502)),
    ] {
        assert_eq!(parse(text, method), result, "{text:?} to {method}");
    }
}

#[test]
fn more_fields_than_fit_on_the_stack() {
    let limits = HeadLimits { fields_max: 2 * STACK_FIELDS, ..LIMITS };
    let of = |count: usize| format!("GET / HTTP/1.1\r\nHost: h\r\n{}\r\n", "X: 1\r\n".repeat(count - 1));
    assert_eq!(
        parse_request(of(limits.fields_max).as_bytes(), &limits).unwrap().fields.len(),
        limits.fields_max
    );
    assert_eq!(parse_request(of(limits.fields_max + 1).as_bytes(), &limits).unwrap_err().status, 431);
}
