//! What can't be masked is refused, and refusals have the shape that clients know.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Message, Wire, ok, post};

/// The URL of a port that nobody listens on.
fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    drop(listener);
    url
}

/// Checks a refusal of a path that no provider's API has: RFC 9457.
fn assert_problem(response: &Message, status: u16, code: &str) {
    assert_eq!(response.status(), status, "{:?}", response.head);
    assert_eq!(response.head.field("content-type"), Some("application/problem+json"));
    let problem = response.json();
    assert_eq!(problem["status"], status);
    assert_eq!(problem["code"], code);
    for field in ["type", "title", "detail"] {
        assert!(problem[field].as_str().is_some_and(|v| !v.is_empty()), "{field} in {problem}");
    }
    let id = response.head.field("sluice-request-id").expect("every response carries its id");
    assert_eq!(problem["request_id"], id);
}

/// Checks a refusal on a path of OpenAI's API.
fn assert_openai_error(response: &Message, status: u16, code: &str) {
    assert_eq!(response.status(), status, "{:?}", response.head);
    let body = response.json();
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
    assert!(body["error"]["type"].is_string(), "{body}");
}

/// Checks a refusal on a path of Anthropic's API.
fn assert_anthropic_error(response: &Message, status: u16) {
    assert_eq!(response.status(), status, "{:?}", response.head);
    let body = response.json();
    assert_eq!(body["type"], "error", "{body}");
    assert!(body["error"]["type"].is_string(), "{body}");
    assert!(body["error"]["message"].as_str().is_some_and(|m| !m.is_empty()), "{body}");
}

#[test]
fn an_upstream_that_is_not_there_is_said_to_be_unreachable() {
    for io in DRIVERS {
        let gateway = Gateway::with_driver(&nobody(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET /other HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_problem(&response, 502, "upstream_unreachable");
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange(post("/v1/chat/completions", "application/json", "{\"model\":\"m\"}"));
        assert_openai_error(&response, 502, "upstream_unreachable");
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange(post("/v1/messages", "application/json", "{\"model\":\"m\"}"));
        assert_anthropic_error(&response, 502);
    }
}

#[test]
fn a_coded_response_that_is_not_valid_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\ncontent-length: 6\r\n\r\nHIDDEN".to_vec()
        });
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response =
            client.exchange("GET /coded HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip, br\r\n\r\n");
        assert_problem(&response, 502, "unmaskable");
        assert!(!response.text().contains("HIDDEN"), "{io}");
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange(post("/v1/chat/completions", "application/json", "{}"));
        assert_openai_error(&response, 502, "unmaskable");
    }
}

#[test]
fn a_body_that_breaks_its_format_never_ends_complete() {
    let secret = "AKIAEZH5VTGLTMQAZX6T";
    for io in DRIVERS {
        let body = format!("{{\"a\": \"fine\", \"b\": }} and {secret}");
        let broken = body.clone();
        let upstream = Upstream::answering(move |_| ok("application/json", &broken));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET /json HTTP/1.1\r\nhost: test\r\n\r\n");
        let refused = response.status() == 502 || response.end == sluice_tests::wire::End::Truncated;
        let text = String::from_utf8_lossy(&response.body).into_owned();
        // Either the fault is refused, or what follows it is masked as text.
        assert!(refused || response.status() == 200, "{io}: {:?}", response.head);
        assert!(!text.contains(secret), "{io}: {text}");
    }
}

#[test]
fn a_body_of_grpc_is_refused_or_masked_at_equal_length() {
    let secret = "AKIAEZH5VTGLTMQAZX6T";
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| ok("application/grpc", &request.body));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let mut body = vec![0, 0, 0, 0, 22, 10, 20];
        body.extend_from_slice(secret.as_bytes());
        let response = client.exchange(post("/pkg.Service/Call", "application/grpc", &body));
        match response.status() {
            200 => assert_eq!(response.body.len(), body.len(), "{io}"),
            status => assert!(status == 415 || status == 502, "{io}: {status}"),
        }
        assert!(!String::from_utf8_lossy(&response.body).contains(secret), "{io}");
        for request in upstream.take_requests() {
            assert!(!String::from_utf8_lossy(&request.body).contains(secret), "{io}");
        }
    }
}

#[test]
fn no_refusal_carries_payload() {
    let secret = "AKIAEZH5VTGLTMQAZX6T";
    for io in DRIVERS {
        let mut gateway = Gateway::with_driver(&nobody(), io);
        for path in ["/v1/chat/completions", "/v1/messages", "/other"] {
            let mut client = Wire::connect(gateway.address);
            let response =
                client.exchange(post(path, "application/json", format!("{{\"key\":\"{secret}\"}}")));
            assert!(!response.text().contains(secret), "{io}: {}", response.text());
        }
        gateway.server.signal("TERM");
        gateway.server.exit();
        let printed = gateway.server.printed().join("\n");
        assert!(!printed.contains(secret), "{io}: {printed}");
    }
}

/// The page that the console is must not be framed, guessed at or kept; nor any other answer, refusals included.
#[test]
fn every_admin_answer_has_the_fields_that_hold_a_browser() {
    let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
    let gateway = Gateway::with_driver(&upstream.url(), "epoll");
    for (path, host, status) in [
        ("/", "localhost", 200),
        ("/metrics", "127.0.0.1", 200),
        ("/nowhere", "localhost", 404),
        ("/", "rebound.example", 421),
        ("/api/v1/status", "rebound.example:9090", 421),
    ] {
        let mut admin = Wire::connect(gateway.admin);
        let response = admin.exchange(format!("GET {path} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        assert_eq!(response.status(), status, "{path} {host}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(response.head.field(name), Some(value), "{path} {host}");
        }
        let policy = response.head.field("content-security-policy").expect("a policy");
        assert!(
            policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"),
            "{policy}"
        );
    }
}

#[test]
fn every_admin_answer_is_there() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "key AKIAEZH5VTGLTMQAZX6T here"));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET /masked HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(response.text(), "key [aws_access_key] here", "{io}");
        for path in ["/healthz", "/readyz"] {
            let mut admin = Wire::connect(gateway.admin);
            let response = admin.exchange(format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
            assert_eq!(response.status(), 200, "{io}: {path}");
        }
        let mut admin = Wire::connect(gateway.admin);
        let metrics = admin.exchange("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
        assert_eq!(metrics.status(), 200, "{io}");
        let text = metrics.text();
        let found = text.lines().find(|line| line.starts_with("sluice_") && line.contains("aws-access-key"));
        assert!(found.is_some_and(|line| line.ends_with(" 1")), "{io}: one match by its rule: {text}");
        assert!(!text.contains("AKIA"), "{io}");
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
            assert!(line.starts_with("sluice_"), "{io}: {line}");
        }
    }
}
