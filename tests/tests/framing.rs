//! Framing that two parsers could read differently, and other requests that are not HTTP: refused before anything of
//! them is complete upstream (RFC 9112), on both I/O drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Wire, ok, post};

/// A request that would do harm if it were believed, hidden behind an ambiguous one.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nhost: test\r\n\r\n";

/// Heads whose framing is ambiguous or wrong, without their request line and host: RFC 9112, sections 5, 6 and 11.2.
const BAD_FIELDS: &[(&str, &str)] = &[
    ("length and chunked", "content-length: 6\r\ntransfer-encoding: chunked\r\n"),
    ("chunked and length", "transfer-encoding: chunked\r\ncontent-length: 6\r\n"),
    ("two lengths", "content-length: 0\r\ncontent-length: 44\r\n"),
    ("a list of lengths", "content-length: 0, 44\r\n"),
    ("a length with a sign", "content-length: +5\r\n"),
    ("a negative length", "content-length: -1\r\n"),
    ("a length in hexadecimal", "content-length: 0x5\r\n"),
    ("a length with a space", "content-length: 5 5\r\n"),
    ("a length of nothing", "content-length:\r\n"),
    ("a length with a letter", "content-length: 5a\r\n"),
    ("a length over 64 bits", "content-length: 18446744073709551621\r\n"),
    ("chunked not last", "transfer-encoding: chunked, gzip\r\n"),
    ("chunked twice", "transfer-encoding: chunked, chunked\r\n"),
    ("chunked twice in two fields", "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
    ("a coding we don't know", "transfer-encoding: xchunked\r\n"),
    ("a coding besides chunked", "transfer-encoding: gzip, chunked\r\n"),
    ("chunked in quotes", "transfer-encoding: \"chunked\"\r\n"),
    ("chunked with a parameter", "transfer-encoding: chunked;q=1\r\n"),
    ("a coding of nothing", "transfer-encoding:\r\n"),
    ("chunked behind a vertical tab", "transfer-encoding: \x0bchunked\r\n"),
    ("a space before the colon", "content-length : 5\r\n"),
    ("a space before the colon of chunked", "transfer-encoding : chunked\r\n"),
    ("a folded line", "x-folded: a\r\n b\r\n"),
    ("a folded coding", "transfer-encoding:\r\n chunked\r\n"),
    ("no colon", "just words\r\n"),
    ("no name", ": value\r\n"),
    ("a NUL in a value", "x-nul: a\0b\r\n"),
    ("a bare CR in a value", "x-cr: a\rb\r\n"),
    ("a control character in a name", "x\x01y: 1\r\n"),
    ("two hosts", "host: other\r\n"),
];

/// First lines and heads that are no request.
const BAD_HEADS: &[(&str, &str)] = &[
    ("no host", "GET / HTTP/1.1\r\n\r\n"),
    ("no version", "GET /\r\nhost: test\r\n\r\n"),
    ("a version to come", "GET / HTTP/3.0\r\nhost: test\r\n\r\n"),
    ("a version that is none", "GET / HTTQ/1.1\r\nhost: test\r\n\r\n"),
    ("no target", "GET HTTP/1.1\r\nhost: test\r\n\r\n"),
    ("a space in the target", "GET /a b HTTP/1.1\r\nhost: test\r\n\r\n"),
    ("a space before the first field", "GET / HTTP/1.1\r\n host: test\r\nx: y\r\n\r\n"),
    ("a tunnel", "CONNECT test:443 HTTP/1.1\r\nhost: test:443\r\n\r\n"),
    ("a method that is no token", "G(T / HTTP/1.1\r\nhost: test\r\n\r\n"),
    ("TLS on a plain port", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n"),
    ("chunked in HTTP/1.0", "POST / HTTP/1.0\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n"),
];

/// Chunked bodies that are wrong, RFC 9112, section 7.1.
const BAD_CHUNKS: &[(&str, &str)] = &[
    ("no size", "\r\nhello\r\n0\r\n\r\n"),
    ("a size that is no number", "xyz\r\nhello\r\n0\r\n\r\n"),
    ("a negative size", "-5\r\nhello\r\n0\r\n\r\n"),
    ("a size with 0x", "0x5\r\nhello\r\n0\r\n\r\n"),
    ("a size with a plus", "+5\r\nhello\r\n0\r\n\r\n"),
    ("a size in two words", "5 5\r\nhello\r\n0\r\n\r\n"),
    ("a size over 64 bits", "10000000000000005\r\nhello\r\n0\r\n\r\n"),
    ("more data than its size", "5\r\nhello!\r\n0\r\n\r\n"),
    ("less data than its size", "6\r\nhello\r\n0\r\n\r\n"),
    ("a bare LF after the size", "5\nhello\r\n0\r\n\r\n"),
    ("a bare LF after the data", "5\r\nhello\n0\r\n\r\n"),
    ("a bare LF in an extension", "5;a\nhello\r\n0\r\n\r\n"),
    ("a bare CR in an extension", "5;a\rb\r\nhello\r\n0\r\n\r\n"),
    ("a trailer that is no field", "5\r\nhello\r\n0\r\nno field\r\n\r\n"),
    ("a length as a trailer that is no field", "5\r\nhello\r\n0\r\ncontent-length : 5\r\n\r\n"),
];

/// Sends `request` and checks that it is refused: an answer of 4xx or 5xx and the end of the connection.
fn refused(gateway: &Gateway, what: &str, request: &[u8]) {
    let mut client = Wire::connect(gateway.address);
    client.send(request);
    client.end_sending();
    let Some(head) = client.try_head() else { return };
    assert!(matches!(head.status(), 400..=599), "{what}: {head:?}");
    client.body_of(head);
    assert!(client.is_at_end(), "{what}: the connection goes on after what can't be framed");
}

#[test]
fn ambiguous_framing_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        for (what, fields) in BAD_FIELDS {
            let request = format!("POST / HTTP/1.1\r\nhost: test\r\n{fields}\r\n0\r\n\r\n{HIDDEN}");
            refused(&gateway, what, request.as_bytes());
            let answered = upstream.take_requests();
            assert!(answered.is_empty(), "{io}: {what}: reached upstream: {answered:?}");
        }
    }
}

#[test]
fn a_head_that_is_no_request_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        for (what, head) in BAD_HEADS {
            refused(&gateway, what, format!("{head}{HIDDEN}").as_bytes());
            let answered = upstream.take_requests();
            assert!(answered.is_empty(), "{io}: {what}: reached upstream: {answered:?}");
        }
    }
}

#[test]
fn a_chunked_body_that_is_wrong_is_never_complete_upstream() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        for (what, chunks) in BAD_CHUNKS {
            let head = "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
            refused(&gateway, what, format!("{head}{chunks}{HIDDEN}").as_bytes());
            let answered = upstream.take_requests();
            assert!(answered.is_empty(), "{io}: {what}: reached upstream: {answered:?}");
        }
    }
}

#[test]
fn what_is_unusual_but_clear_is_served() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| ok("text/plain", &request.body));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        for (what, request) in [
            (
                "codings in capitals",
                "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\nTransfer-Encoding: CHUNKED\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
            ),
            (
                "sizes in capitals with zeros",
                "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n005\r\nhello\r\n000\r\n\r\n",
            ),
            (
                "an extension in quotes",
                "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n5;a=\"b;c\"\r\nhello\r\n0\r\n\r\n",
            ),
            (
                "spaces about a value",
                "POST / HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: \t 5 \t\r\n\r\nhello",
            ),
            (
                "an empty line before the request",
                "\r\nPOST / HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello",
            ),
        ] {
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(request);
            assert_eq!((response.status(), response.text()), (200, "hello"), "{io}: {what}");
            let response = client.exchange(post("/", "text/plain", "again"));
            assert_eq!(response.text(), "again", "{io}: {what}: the connection still stands at a message");
        }
    }
}
