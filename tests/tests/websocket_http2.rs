//! WebSockets over HTTP/2 (RFC 8441): asked for by an extended CONNECT, masked both ways, ended as a stream ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha1::{Digest, Sha1};
use sluice_tests::DRIVERS;
use sluice_tests::frames::{
    DATA, END_HEADERS, END_STREAM, Frame, Frames, HEADERS, RST_STREAM, SETTINGS, block, frame,
};
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Wire, ok};

const KEY: &str = "the key AKIAEZH5VTGLTMQAZX6T is here";
const MASKED: &str = "the key [aws_access_key] is here";

/// An extended CONNECT on a stream.
fn connect(stream: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let pseudo = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":path", "/v1/realtime"),
        (":authority", "test"),
    ];
    let fields = [("sec-websocket-version", "13"), ("sec-websocket-protocol", "realtime")];
    frame(HEADERS, END_HEADERS, stream, &[block(&pseudo), block(&fields), block(more)].concat())
}

/// Reads the upgrade that an upstream gets and grants it.
fn grant(upstream: &Upstream) -> Wire {
    let mut server = upstream.accept();
    let head = server.head();
    assert_eq!((head.method(), head.target()), ("GET", "/v1/realtime"));
    assert_eq!(head.field("upgrade"), Some("websocket"));
    assert_eq!(head.field("sec-websocket-version"), Some("13"));
    assert_eq!(head.field("sec-websocket-protocol"), Some("realtime"));
    let key = head.field("sec-websocket-key").expect("a key of the gateway's own").to_owned();
    let accept = Sha1::new().chain_update(key).chain_update("258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    let accept = STANDARD.encode(accept.finalize());
    server.send(format!(
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
         sec-websocket-accept: {accept}\r\nsec-websocket-protocol: realtime\r\n\r\n"
    ));
    server
}

/// A frame of a client, its key all zeros.
fn text(payload: &str) -> Vec<u8> {
    [&[0x81, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload.as_bytes()].concat()
}

/// So many bytes of content on a stream.
fn content(frames: &mut Frames, stream: u32, len: usize) -> Vec<u8> {
    let mut content = Vec::new();
    while content.len() < len {
        let next = frames.find(|f| f.stream == stream && f.kind != HEADERS).expect("content");
        assert_eq!(next.kind, DATA, "{next:?}");
        content.extend(next.payload);
    }
    content
}

fn is_open(frames: &mut Frames, stream: u32) -> Frame {
    frames.find(|f| f.stream == stream && f.kind == HEADERS).expect("an answer")
}

#[test]
fn the_server_says_that_it_takes_them() {
    let upstream = Upstream::bind();
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    let mut client = Frames::connect(gateway.address);
    let settings = client.find(|f| f.kind == SETTINGS).expect("settings");
    // SETTINGS_ENABLE_CONNECT_PROTOCOL (section 3).
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]), "{settings:?}");
}

#[test]
fn messages_are_masked_both_ways_and_the_end_is_said() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Frames::connect(gateway.address);
        client.send(&connect(1, &[]));
        let mut server = grant(&upstream);
        let answer = is_open(&mut client, 1);
        assert!(answer.is_ok() && answer.flags & END_STREAM == 0, "{io}: {answer:?}");
        let shown = String::from_utf8_lossy(&answer.payload).to_lowercase();
        for field in ["sec-websocket-accept", "upgrade", "connection"] {
            assert!(!shown.contains(field), "{io}: {field}");
        }

        client.send(&frame(DATA, 0, 1, &text(KEY)));
        let came = server.bytes(6 + MASKED.len());
        // Masked by a key, as a client must: of zeros where the message is as it came, else of the gateway's.
        assert_eq!(came[0], 0x81, "{io}");
        let key: [u8; 4] = came[2..6].try_into().expect("four bytes");
        let plain: Vec<u8> = came[6..].iter().enumerate().map(|(i, byte)| byte ^ key[i % 4]).collect();
        assert_eq!(String::from_utf8_lossy(&plain), MASKED, "{io}");

        server.send([&[0x81, KEY.len() as u8], KEY.as_bytes()].concat());
        let came = content(&mut client, 1, 2 + MASKED.len());
        assert_eq!(String::from_utf8_lossy(&came[2..]), MASKED, "{io}");

        // Both sides close; then the stream ends in good order (section 5).
        client.send(&frame(DATA, 0, 1, &[0x88, 0x82, 0, 0, 0, 0, 3, 0xE8]));
        assert_eq!(server.bytes(8).len(), 8, "{io}");
        server.send([0x88, 2, 3, 0xE8]);
        assert_eq!(content(&mut client, 1, 4), [0x88, 2, 3, 0xE8], "{io}");
        let end = client.find(|f| f.stream == 1).expect("an end");
        assert!(end.kind == DATA && end.flags & END_STREAM != 0, "{io}: {end:?}");
    }
}

#[test]
fn a_client_that_resets_its_stream_ends_the_session_and_others_go_on() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Frames::connect(gateway.address);
        client.send(&connect(1, &[]));
        let mut first = grant(&upstream);
        client.send(&connect(3, &[]));
        let mut second = grant(&upstream);
        is_open(&mut client, 3);
        client.send(&frame(RST_STREAM, 0, 1, &8u32.to_be_bytes()));
        assert!(first.is_at_end(), "{io}");
        client.send(&frame(DATA, 0, 3, &text("still here")));
        assert_eq!(second.bytes(16).len(), 16, "{io}");
        // An upstream that leaves without a close breaks the stream off.
        drop(second);
        let end = client.find(|f| f.stream == 3).expect("an end");
        assert_eq!(end.kind, RST_STREAM, "{io}: {end:?}");
    }
}

/// An answer of 200 without a 101 before it would open what the upstream has not granted.
#[test]
fn what_the_upstream_does_not_grant_is_not_granted() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Frames::connect(gateway.address);
        client.send(&connect(1, &[]));
        let mut server = upstream.accept();
        server.head();
        server.send(ok("text/plain", "no WebSocket here"));
        assert!(!is_open(&mut client, 1).is_ok(), "{io}");
        client.send(&connect(3, &[]));
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n");
        assert!(!is_open(&mut client, 3).is_ok(), "{io}");
    }
}

#[test]
fn what_is_no_such_request_is_refused() {
    let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    let request = |method: &str, protocol: &str, path: &[(&str, &str)]| {
        let pseudo = [(":method", method), (":protocol", protocol), (":authority", "test")];
        block(&[&pseudo[..], path].concat())
    };
    let path = [(":scheme", "http"), (":path", "/x")];
    let version = block(&[("sec-websocket-version", "13")]);
    let mut client = Frames::connect(gateway.address);
    for (number, (what, fields, flags)) in [
        (
            "another protocol",
            [request("CONNECT", "connect-udp", &path), version.clone()].concat(),
            END_HEADERS,
        ),
        ("another method", [request("GET", "websocket", &path), version.clone()].concat(), END_HEADERS),
        ("no version", request("CONNECT", "websocket", &path), END_HEADERS),
        (
            "the end at once",
            [request("CONNECT", "websocket", &path), version.clone()].concat(),
            END_HEADERS | END_STREAM,
        ),
        (
            "a key",
            [
                request("CONNECT", "websocket", &path),
                version.clone(),
                block(&[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]),
            ]
            .concat(),
            END_HEADERS,
        ),
        ("no path", [request("CONNECT", "websocket", &[]), version.clone()].concat(), END_HEADERS),
    ]
    .into_iter()
    .enumerate()
    {
        let stream = number as u32 * 2 + 1;
        client.send(&frame(HEADERS, flags, stream, &fields));
        let answer = client.find(|f| f.stream == stream && matches!(f.kind, HEADERS | RST_STREAM));
        assert!(answer.is_some_and(|answer| !answer.is_ok()), "{what}");
    }
    assert!(upstream.take_requests().is_empty());
    assert!(client.answers(99));
}
