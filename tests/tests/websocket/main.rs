//! WebSockets through the gateway, on both I/O drivers: opened as asked, masked both ways, closed in good order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod faults;
mod session;

use std::time::Duration;

use session::*;
use sluice_tests::DRIVERS;
use sluice_tests::planted::Planted;
use sluice_tests::process::{Gateway, GatewayOptions};
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Wire, ok};

const SECRET: &str = "the key AKIAEZH5VTGLTMQAZX6T is here";
const MASKED: &str = "the key [aws_access_key] is here";

#[test]
fn a_handshake_is_asked_for_and_answered_anew() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        client.send(asking(
            "sec-websocket-protocol: realtime, openai-beta.v1\r\norigin: http://test\r\nx-own: 1\r\n\
             sec-websocket-extensions: permessage-deflate; client_max_window_bits\r\n",
        ));
        let mut server = upstream.accept();
        let request = server.head();
        assert_eq!(request.line, "GET /v1/realtime HTTP/1.1", "{io}");
        for (name, value) in [
            ("upgrade", Some("websocket")),
            ("connection", Some("Upgrade")),
            ("sec-websocket-version", Some("13")),
            ("sec-websocket-protocol", Some("realtime, openai-beta.v1")),
            ("sec-websocket-extensions", None),
            ("origin", Some("http://test")),
            ("x-own", Some("1")),
            ("content-length", None),
            ("transfer-encoding", None),
        ] {
            assert_eq!(request.field(name), value, "{io}: {name}");
        }
        assert_ne!(request.field("sec-websocket-key"), Some(KEY), "{io}: the key is our own");
        server.send(granting(
            &request,
            "sec-websocket-protocol: realtime\r\nx-note: the key AKIAEZH5VTGLTMQAZX6T\r\n",
        ));
        let answer = client.head();
        assert_eq!(answer.line, "HTTP/1.1 101 Switching Protocols", "{io}");
        for (name, value) in [
            ("upgrade", Some("websocket")),
            ("connection", Some("Upgrade")),
            ("sec-websocket-accept", Some(accept_of(KEY).as_str())),
            ("sec-websocket-protocol", Some("realtime")),
            ("sec-websocket-extensions", None),
            ("content-length", None),
            ("transfer-encoding", None),
            ("x-note", Some("the key [aws_access_key]")),
        ] {
            assert_eq!(answer.field(name), value, "{io}: {name}");
        }
        assert!(answer.field("sluice-request-id").is_some(), "{io}");
    }
}

#[test]
fn a_handshake_that_is_not_valid_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        for (from, to, status) in [
            ("version: 13", "version: 8", 426),
            ("sec-websocket-version: 13\r\n", "", 426),
            (KEY, "c2hvcnQ=", 400),
            ("sec-websocket-key", "x-no-key", 400),
        ] {
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(asking("").replace(from, to));
            assert_eq!(response.status(), status, "{io}: {to}");
            assert_eq!(response.json()["code"], "bad_request", "{io}: {to}");
            let version = response.head.field("sec-websocket-version");
            assert_eq!(version, (status == 426).then_some("13"), "{io}: {to}");
            assert!(client.is_at_end(), "{io}: {to}: what comes behind is no request");
        }
        assert!(upstream.try_accept(Duration::ZERO).is_none(), "{io}: a request went upstream");
    }
}

#[test]
fn an_upstream_that_answers_otherwise() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &["--shards", "1"]);
        let open = || {
            let mut client = Wire::connect(gateway.address);
            client.send(asking("sec-websocket-protocol: a\r\n"));
            let mut server = upstream.accept();
            let request = server.head();
            (client, server, request)
        };
        for (from, to) in [
            ("sec-websocket-accept: ", "sec-websocket-accept: x"),
            ("sec-websocket-accept", "x-none"),
            ("upgrade: websocket", "upgrade: h2c"),
            ("connection: Upgrade", "connection: close"),
            ("upgrade: websocket", "upgrade: websocket\r\nsec-websocket-extensions: permessage-deflate"),
            ("upgrade: websocket", "upgrade: websocket\r\nsec-websocket-protocol: b"),
        ] {
            let (mut client, mut server, request) = open();
            server.send(granting(&request, "").replace(from, to));
            let response = client.message();
            assert_eq!(response.status(), 502, "{io}: {to}");
            assert_eq!(response.json()["code"], "upstream_unreachable", "{io}: {to}");
            assert!(server.is_at_end(), "{io}: {to}");
        }
        // Any other answer is one like any other.
        let (mut client, mut server, _) = open();
        server.send(ok("text/plain", SECRET));
        let response = client.message();
        assert_eq!((response.status(), response.text()), (200, MASKED), "{io}");
        // Its connection could take another request.
        drop(server);
        // Nobody asked for this one.
        let mut client = Wire::connect(gateway.address);
        client.send("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\r\n");
        assert_eq!(client.message().status(), 502, "{io}");
    }
}

/// A text as messages of one side: whole, in fragments, in fragments with a ping between them.
fn cut(text: &str, mask: Option<[u8; 4]>) -> Vec<Vec<u8>> {
    let text = text.as_bytes();
    let mut all = vec![frame(FIN | TEXT, mask, text)];
    for cut in (1..text.len()).step_by(19) {
        let (a, b) = text.split_at(cut);
        let (a, b) = (frame(TEXT, mask, a), frame(FIN | CONTINUATION, mask, b));
        all.push([a.as_slice(), &b].concat());
        all.push([a.as_slice(), &frame(FIN | PING, mask, "are you there"), &b].concat());
    }
    let mut bytes: Vec<Vec<u8>> = text.chunks(1).map(|byte| frame(CONTINUATION, mask, byte)).collect();
    bytes.first_mut().unwrap()[0] = TEXT;
    bytes.last_mut().unwrap()[0] |= FIN;
    all.push(bytes.concat());
    all
}

#[test]
fn values_are_masked_both_ways_however_they_are_cut() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut session = Session::open(&gateway, &upstream);
        for planted in Planted::all() {
            let sentence = planted.sentence();
            let json = serde_json::json!({"type": "item", "n": 1, "text": sentence}).to_string();
            for text in [&sentence, &json] {
                for frames in cut(text, Some(MASK)) {
                    session.client.send(&frames);
                    let (kind, payload, _) = message(&mut session.server);
                    assert_eq!(kind, TEXT);
                    assert_eq!(planted.leak_in(&payload), None, "{io}: {}: up", planted.class);
                }
                for frames in cut(&sentence, None) {
                    session.server.send(&frames);
                    let (kind, payload, _) = message(&mut session.client);
                    assert_eq!(kind, TEXT);
                    assert_eq!(planted.leak_in(&payload), None, "{io}: {}: down", planted.class);
                }
            }
        }
    }
}

#[test]
fn what_holds_no_value_passes_as_it_came() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut session = Session::open(&gateway, &upstream);
        for payload in [&b""[..], b"hello", b"{\"a\": [1, 2]}", &[0xFF; 300], &[7; 70_000]] {
            let kind = if std::str::from_utf8(payload).is_ok() { TEXT } else { BINARY };
            for (first, payload) in [(FIN | kind, payload), (FIN | PING, b"p"), (FIN | PONG, b"")] {
                session.ask(first, payload);
                let frame = read(&mut session.server).expect("a frame comes");
                assert_eq!((frame.first, frame.is_masked), (first, true), "{io}");
                assert!(frame.payload == payload, "{io}: it changed");
                session.answer(first, payload);
                let frame = read(&mut session.client).expect("a frame comes");
                assert_eq!((frame.first, frame.is_masked), (first, false), "{io}");
                assert!(frame.payload == payload, "{io}: it changed");
            }
        }
    }
}

#[test]
fn bytes_are_masked_at_equal_length() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut session = Session::open(&gateway, &upstream);
        for filler in [10usize, 40_000, 200_000] {
            let body = [&vec![0; filler][..], b" AKIAEZH5VTGLTMQAZX6T ", &vec![1; filler]].concat();
            session.ask(FIN | BINARY, &body);
            let (kind, up, _) = message(&mut session.server);
            session.answer(FIN | BINARY, &body);
            let (_, down, _) = message(&mut session.client);
            for masked in [up, down] {
                assert_eq!((kind, masked.len()), (BINARY, body.len()), "{io}");
                assert!(!masked.windows(8).any(|w| w == b"AKIAEZH5"), "{io}: it leaked");
                assert!(masked[..filler] == body[..filler], "{io}: what is before changed");
            }
        }
    }
}

/// Deltas as OpenAI's Realtime API sends them, a message each.
#[test]
fn a_value_over_messages_of_deltas_is_masked() {
    let kinds = ["response.audio_transcript.delta", "response.output_text.delta", "response.text.delta"];
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut session = Session::open(&gateway, &upstream);
        for kind in kinds {
            for size in [1, 3, 9] {
                for delta in SECRET.as_bytes().chunks(size) {
                    let delta = std::str::from_utf8(delta).unwrap();
                    let event = serde_json::json!({
                        "type": kind, "response_id": "r", "item_id": "i", "output_index": 0,
                        "content_index": 0, "delta": delta,
                    });
                    session.answer(FIN | TEXT, event.to_string());
                }
                let done = kind.replace(".delta", ".done");
                let end = serde_json::json!({
                    "type": done, "response_id": "r", "item_id": "i", "output_index": 0, "content_index": 0,
                });
                session.answer(FIN | TEXT, end.to_string());
                let mut text = String::new();
                loop {
                    let (_, payload, _) = message(&mut session.client);
                    let event: serde_json::Value = serde_json::from_slice(&payload).expect("JSON stays JSON");
                    if event["type"] == done.as_str() {
                        break;
                    }
                    text.push_str(event["delta"].as_str().unwrap());
                }
                assert_eq!(text, MASKED, "{io}: {kind}, deltas of {size}");
            }
        }
    }
}

#[test]
fn over_tls_on_both_sides() {
    let identity = Identity::new(&["gateway.test", "127.0.0.1"]);
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let url = format!("https://{}", upstream.address());
        let mut args = vec!["--upstream-ca".into(), identity.certificate_file()];
        args.extend(["--tls-cert".into(), identity.certificate_file()]);
        args.extend(["--tls-key".into(), identity.key_file()]);
        let gateway = Gateway::start(&url, &GatewayOptions { io, args, ..GatewayOptions::default() });
        for version in VERSIONS {
            let client = identity.connect(gateway.address, "gateway.test", version);
            let accept = |upstream: &Upstream| identity.accept(upstream.accept_stream());
            let mut session = Session::over(client, accept, &upstream);
            for repeated in [1, 10_000] {
                session.ask(FIN | TEXT, SECRET.repeat(repeated));
                assert!(
                    message(&mut session.server).1 == MASKED.repeat(repeated).as_bytes(),
                    "{io} {version:?}"
                );
                session.answer(FIN | TEXT, SECRET.repeat(repeated));
                assert!(
                    message(&mut session.client).1 == MASKED.repeat(repeated).as_bytes(),
                    "{io} {version:?}"
                );
            }
            // A fault ends both, and nobody is cut off in the middle of what TLS says.
            session.ask(FIN | 0x70 | TEXT, "x");
            assert_eq!(read(&mut session.client).and_then(|f| f.code()), Some(1002), "{io} {version:?}");
            assert_eq!(read(&mut session.server).and_then(|f| f.code()), Some(1011), "{io} {version:?}");
        }
        let metrics = metrics(&gateway);
        assert!(metrics.contains("sluice_panics_total 0"), "{io}: {metrics}");
    }
}

pub(crate) fn metrics(gateway: &Gateway) -> String {
    Wire::connect(gateway.admin)
        .exchange("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")
        .text()
        .to_owned()
}

#[test]
fn sessions_and_messages_are_counted() {
    let upstream = Upstream::bind();
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    let mut session = Session::open(&gateway, &upstream);
    session.ask(FIN | TEXT, SECRET);
    session.ask(FIN | PING, "");
    session.ask(BINARY, "a");
    session.ask(FIN | CONTINUATION, "b");
    for _ in 0..2 {
        message(&mut session.server);
    }
    session.answer(FIN | TEXT, SECRET);
    message(&mut session.client);
    let counted = metrics(&gateway);
    for line in [
        "sluice_requests_total 1",
        "sluice_responses_total{class=\"1xx\"} 1",
        "sluice_websockets_total 1",
        "sluice_websockets_open 1",
        "sluice_websocket_messages_total{direction=\"request\"} 2",
        "sluice_websocket_messages_total{direction=\"response\"} 1",
        "sluice_matches_total{rule=\"aws-access-key-id\"} 2",
    ] {
        assert!(counted.lines().any(|l| l == line), "{line}: {counted}");
    }
    session.ask(FIN | CLOSE, 1000u16.to_be_bytes());
    session.answer(FIN | CLOSE, 1000u16.to_be_bytes());
    assert_eq!(read(&mut session.client).and_then(|f| f.code()), Some(1000));
    assert!(session.client.is_at_end());
    let counted = metrics(&gateway);
    assert!(counted.contains("sluice_websockets_open 0"), "{counted}");
}
