//! Limits of the gateway, each at its limit and one past it, and what is answered when time is up; on both I/O drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::thread;
use std::time::{Duration, Instant};

use sluice_tests::DRIVERS;
use sluice_tests::process::{Gateway, GatewayOptions};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Message, WAIT, Wire, ok, post};

/// Bytes of a head, with its empty line.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// Fields of a head.
const FIELDS_MAX: usize = 128;
/// Bytes of a target.
const TARGET_BYTES_MAX: usize = 16 * 1024;
/// What is set for `--body-bytes-max` here.
const BODY_BYTES_MAX: usize = 100_000;

fn gateway(upstream: &str, io: &'static str, args: &[&str]) -> Gateway {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Gateway::start(upstream, &GatewayOptions { io, args, ..GatewayOptions::default() })
}

/// Checks a refusal of a path that no provider's API has.
fn assert_refused(response: &Message, status: u16, code: &str) {
    assert_eq!(response.status(), status, "{:?}", response.head);
    assert_eq!(response.json()["code"], code);
    assert_eq!(response.end, End::Complete);
    assert!(response.head.field("sluice-request-id").is_some(), "every response carries its id");
}

/// A request without a body whose head has this many bytes, in fields of 1 KiB.
fn head_of(bytes: usize) -> String {
    let mut head = "GET /x HTTP/1.1\r\nhost: test\r\n".to_owned();
    while bytes - head.len() > 2048 {
        head.push_str(&format!("x-long: {}\r\n", "y".repeat(1000)));
    }
    let rest = bytes - head.len() - "x-last: \r\n\r\n".len();
    head.push_str(&format!("x-last: {}\r\n\r\n", "z".repeat(rest)));
    assert_eq!(head.len(), bytes);
    head
}

#[test]
fn a_head_at_its_limits_passes_and_one_past_them_is_refused() {
    let target = |bytes: usize| {
        let target = format!("/{}", "t".repeat(bytes - 1));
        format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n")
    };
    let fields =
        |count: usize| format!("GET /x HTTP/1.1\r\nhost: test\r\n{}\r\n", "x: y\r\n".repeat(count - 1));
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = gateway(&upstream.url(), io, &[]);
        for (what, at, past, status) in [
            ("bytes", head_of(HEAD_BYTES_MAX), head_of(HEAD_BYTES_MAX + 1), 431),
            ("fields", fields(FIELDS_MAX), fields(FIELDS_MAX + 1), 431),
            ("target", target(TARGET_BYTES_MAX), target(TARGET_BYTES_MAX + 1), 414),
        ] {
            let mut client = Wire::connect(gateway.address);
            assert_eq!(client.exchange(at).text(), "answered", "{io}: {what} at the limit");
            assert_eq!(upstream.take_requests().len(), 1, "{io}: {what}");
            let mut client = Wire::connect(gateway.address);
            assert_refused(&client.exchange(past), status, "too_large");
            assert!(client.is_at_end(), "{io}: {what}: the connection goes on");
            assert!(upstream.take_requests().is_empty(), "{io}: {what}: it reached upstream");
        }
    }
}

#[test]
fn a_head_that_never_ends_is_refused_while_it_comes() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = gateway(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /x HTTP/1.1\r\nhost: test\r\nx-long: ");
        client.send(vec![b'y'; HEAD_BYTES_MAX]);
        assert_refused(&client.message(), 431, "too_large");
        assert!(client.is_at_end(), "{io}");
    }
}

#[test]
fn a_response_head_over_the_limit_is_not_passed_on() {
    for io in DRIVERS {
        let long = format!("x-long: {}\r\n", "y".repeat(1000)).repeat(HEAD_BYTES_MAX / 1000);
        let upstream = Upstream::answering(move |_| {
            format!("HTTP/1.1 200 OK\r\n{long}content-length: 2\r\n\r\nok").into_bytes()
        });
        let gateway = gateway(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_refused(&response, 502, "upstream_unreachable");
    }
}

#[test]
fn a_body_of_a_length_over_the_limit_is_refused_before_it_leaves() {
    let limit = BODY_BYTES_MAX.to_string();
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| ok("text/plain", request.body.len().to_string()));
        let gateway = gateway(&upstream.url(), io, &["--body-bytes-max", &limit]);
        let mut client = Wire::connect(gateway.address);
        let at = client.exchange(post("/x", "text/plain", vec![b'a'; BODY_BYTES_MAX]));
        assert_eq!(at.text(), limit, "{io}: at the limit");
        assert_eq!(upstream.take_requests().len(), 1, "{io}");
        let past = post("/x", "text/plain", vec![b'a'; BODY_BYTES_MAX + 1]);
        assert_refused(&client.exchange(&past), 413, "too_large");
        // A client that asks first is told before it sends a byte of the body.
        let mut client = Wire::connect(gateway.address);
        client.send(format!(
            "POST /x HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\nexpect: 100-continue\r\ncontent-length: {}\r\n\r\n",
            BODY_BYTES_MAX + 1
        ));
        let head = client.head();
        assert_eq!(head.status(), 413, "{io}: {head:?}");
        assert!(upstream.take_requests().is_empty(), "{io}: it reached upstream");
    }
}

#[test]
fn a_chunked_body_over_the_limit_is_refused_where_it_passes_it() {
    let limit = BODY_BYTES_MAX.to_string();
    let head =
        "POST /x HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n";
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| ok("text/plain", request.body.len().to_string()));
        let gateway = gateway(&upstream.url(), io, &["--body-bytes-max", &limit]);
        let mut client = Wire::connect(gateway.address);
        client.send(head);
        client.send_chunk(vec![b'a'; BODY_BYTES_MAX]);
        client.send("0\r\n\r\n");
        assert_eq!(client.message().text(), limit, "{io}: at the limit");
        assert_eq!(upstream.take_requests().len(), 1, "{io}");
        client.send(head);
        client.send_chunk(vec![b'a'; BODY_BYTES_MAX]);
        client.send_chunk("a");
        assert_refused(&client.message(), 413, "too_large");
        assert!(client.is_at_end(), "{io}: the connection goes on");
        assert!(upstream.take_requests().is_empty(), "{io}: a body cut short is complete upstream");
    }
}

#[test]
fn an_upstream_that_does_not_answer_in_time() {
    thread::scope(|scope| {
        for io in DRIVERS {
            scope.spawn(move || {
                let upstream = Upstream::bind();
                let gateway = gateway(&upstream.url(), io, &["--upstream-seconds-max", "1"]);
                for (path, member) in [
                    ("/x", "/code"),
                    ("/v1/chat/completions", "/error/code"),
                    ("/v1/messages", "/error/type"),
                ] {
                    let mut client = Wire::connect(gateway.address);
                    let began = Instant::now();
                    client.send(post(path, "application/json", "{}"));
                    let mut server = upstream.accept();
                    let head = server.head();
                    server.body_of(head);
                    let response = client.message();
                    assert_eq!(response.status(), 504, "{io}: {path}: {:?}", response.head);
                    let told = response.json().pointer(member).cloned().expect("a code");
                    let wanted = if path == "/v1/messages" { "timeout_error" } else { "upstream_timeout" };
                    assert_eq!(told, wanted, "{io}: {path}");
                    assert!(began.elapsed() >= Duration::from_millis(900), "{io}: too early");
                    assert!(server.is_at_end(), "{io}: {path}: the upstream's connection stays");
                }
            });
        }
    });
}

#[test]
fn an_upstream_that_falls_silent_within_its_answer_breaks_it() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = gateway(&upstream.url(), io, &["--upstream-seconds-max", "1"]);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
        server.send_chunk("so far ");
        let response = client.message();
        assert_eq!((response.status(), response.end), (200, End::Truncated), "{io}");
        assert_eq!(response.text(), "so far ", "{io}");
    }
}

/// The connection comes about, the handshake of TLS does not: after the limit of connecting, 10 s.
#[test]
fn an_upstream_that_does_not_shake_hands_in_time() {
    thread::scope(|scope| {
        for io in DRIVERS {
            scope.spawn(move || {
                let identity = sluice_tests::tls::Identity::new(&["127.0.0.1"]);
                let upstream = Upstream::bind();
                let url = format!("https://{}", upstream.address());
                let gateway = gateway(&url, io, &["--upstream-ca", &identity.certificate_file()]);
                let mut client = Wire::connect(gateway.address);
                client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
                let _silent = upstream.accept();
                assert_refused(&client.message(), 504, "upstream_timeout");
            });
        }
    });
}

#[test]
fn a_connection_over_the_limit_is_told_that_the_gateway_is_overloaded() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = gateway(&upstream.url(), io, &["--shards", "1", "--connections-max", "2"]);
        let request = post("/x", "text/plain", "a");
        let mut served: Vec<Wire> = (0..2).map(|_| Wire::connect(gateway.address)).collect();
        for client in &mut served {
            assert_eq!(client.exchange(&request).text(), "answered", "{io}: at the limit");
        }
        for _ in 0..20 {
            let mut client = Wire::connect(gateway.address);
            // What it has sent must not cost it the answer.
            client.send(&request);
            let response = client.message();
            assert_refused(&response, 503, "overloaded");
            assert_eq!(response.head.field("retry-after"), Some("1"), "{io}");
            assert!(client.is_at_end(), "{io}");
        }
        assert_eq!(upstream.take_requests().len(), 2, "{io}: what was refused reached upstream");
        // Those that were served go on, and a place that becomes free is taken.
        assert_eq!(served[0].exchange(&request).text(), "answered", "{io}");
        served.pop();
        let deadline = Instant::now() + WAIT;
        while Wire::connect(gateway.address).exchange(&request).status() != 200 {
            assert!(Instant::now() < deadline, "{io}: no place becomes free");
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}
