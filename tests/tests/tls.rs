//! TLS from the client and towards the upstream, on both I/O drivers: served, verified, and never cut unnoticed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::process::{Gateway, GatewayOptions};
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Message, Wire, ok, post};

const KEY: &str = "the key AKIAEZH5VTGLTMQAZX6T is here. ";
const MASKED: &str = "the key [aws_access_key] is here. ";

/// A gateway with a TLS listener.
fn listening(identity: &Identity, upstream: &str, io: &'static str) -> Gateway {
    let args =
        vec!["--tls-cert".into(), identity.certificate_file(), "--tls-key".into(), identity.key_file()];
    Gateway::start(upstream, &GatewayOptions { io, args, ..GatewayOptions::default() })
}

/// A gateway before a TLS upstream, which trusts this identity.
fn trusting(identity: &Identity, upstream: &str, io: &'static str) -> Gateway {
    let args = vec!["--upstream-ca".into(), identity.certificate_file()];
    Gateway::start(upstream, &GatewayOptions { io, args, ..GatewayOptions::default() })
}

fn echo(request: &Message) -> Vec<u8> {
    ok("text/plain", [KEY.as_bytes(), &request.body].concat())
}

#[test]
fn a_client_over_tls_is_served() {
    let identity = Identity::new(&["gateway.test"]);
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = listening(&identity, &upstream.url(), io);
        for version in VERSIONS {
            let mut client = identity.connect(gateway.address, "gateway.test", version);
            for repeated in [1, 20_000] {
                let body = KEY.repeat(repeated);
                client.send(post("/x", "text/plain", &body));
                let response = client.message();
                let wanted = [MASKED, &MASKED.repeat(repeated)].concat();
                assert_eq!(response.status(), 200, "{io} {version:?}");
                assert!(response.text() == wanted, "{io} {version:?}: {repeated} keys");
                let request = upstream.take_requests().pop().expect("one request");
                assert!(request.text() == MASKED.repeat(repeated), "{io} {version:?}: {repeated} keys");
            }
        }
    }
}

#[test]
fn a_body_that_only_the_close_ends_is_closed_in_good_order() {
    let identity = Identity::new(&["gateway.test"]);
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = listening(&identity, &upstream.url(), io);
        for version in VERSIONS {
            let mut client = identity.connect(gateway.address, "gateway.test", version);
            client.send("GET /old HTTP/1.0\r\n\r\n");
            let response = client.message();
            assert_eq!((response.text(), response.end), (MASKED, End::Complete), "{io} {version:?}");
        }
    }
}

#[test]
fn events_leave_one_by_one_over_tls() {
    let identity = Identity::new(&["gateway.test", "127.0.0.1"]);
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let url = format!("https://{}", upstream.address());
        let mut args = vec!["--upstream-ca".into(), identity.certificate_file()];
        args.extend(["--tls-cert".into(), identity.certificate_file()]);
        args.extend(["--tls-key".into(), identity.key_file()]);
        let gateway = Gateway::start(&url, &GatewayOptions { io, args, ..GatewayOptions::default() });
        let mut client = identity.connect(gateway.address, "gateway.test", VERSIONS[1]);
        client.send("GET /events HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = identity.accept(upstream.accept_stream());
        server.head();
        server
            .send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
        assert_eq!(client.head().status(), 200, "{io}");
        for number in 0..3 {
            // The space is what decides the key: it can't go on in the next event.
            server.send_chunk(format!("data: event {number}, {KEY} \n\n"));
            let event = String::from_utf8(client.try_chunk().expect("an event comes")).expect("UTF-8");
            assert!(event.contains(&format!("event {number}, {MASKED}")), "{io}: {event}");
        }
        server.send("0\r\n\r\n");
        assert_eq!(client.try_chunk(), Some(Vec::new()), "{io}");
    }
}

#[test]
fn what_is_not_tls_is_not_served_on_a_tls_port() {
    let identity = Identity::new(&["gateway.test"]);
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = listening(&identity, &upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /plain HTTP/1.1\r\nhost: test\r\n\r\n");
        // At most an alert of TLS.
        let answer = client.rest();
        assert!(!answer.starts_with(b"HTTP"), "{io}: {answer:?}");
        assert!(upstream.take_requests().is_empty(), "{io}: it reached upstream");
        let mut client = identity.connect(gateway.address, "gateway.test", VERSIONS[1]);
        client.send("GET /tls HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(client.message().text(), MASKED, "{io}");
    }
}

#[test]
fn an_upstream_over_tls_is_reached_and_its_connections_are_kept() {
    let identity = Identity::new(&["127.0.0.1", "localhost"]);
    for io in DRIVERS {
        for name in ["127.0.0.1", "localhost"] {
            let upstream = Upstream::answering_tls(&identity, echo);
            let url = upstream.url().replace("127.0.0.1", name);
            let args = vec!["--upstream-ca".into(), identity.certificate_file()];
            let args = [args, vec!["--shards".into(), "1".into()]].concat();
            let gateway = Gateway::start(&url, &GatewayOptions { io, args, ..GatewayOptions::default() });
            let mut client = Wire::connect(gateway.address);
            for repeated in [1, 20_000, 1] {
                let response = client.exchange(post("/x", "text/plain", KEY.repeat(repeated)));
                let wanted = [MASKED, &MASKED.repeat(repeated)].concat();
                assert!(response.text() == wanted, "{io}: {repeated} keys: {:?}", response.head);
                let request = upstream.take_requests().pop().expect("one request");
                assert!(request.text() == MASKED.repeat(repeated), "{io}: {repeated} keys");
            }
            assert_eq!(upstream.connections(), 1, "{io}: {name}: one connection for all");
        }
    }
}

#[test]
fn an_upstream_that_is_not_trusted_gets_no_request() {
    let (real, other) = (Identity::new(&["127.0.0.1"]), Identity::new(&["127.0.0.1"]));
    let misnamed = Identity::new(&["elsewhere.test"]);
    for io in DRIVERS {
        for (what, served, trusted) in
            [("of another root", &real, &other), ("of another name", &misnamed, &misnamed)]
        {
            let upstream = Upstream::answering_tls(served, echo);
            let gateway = trusting(trusted, &upstream.url(), io);
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(post("/x", "text/plain", KEY));
            assert_eq!(response.status(), 502, "{io}: {what}");
            assert_eq!(response.json()["code"], "upstream_unreachable", "{io}: {what}");
            assert!(upstream.take_requests().is_empty(), "{io}: {what}: a request was sent");
        }
    }
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_unreachable() {
    let identity = Identity::new(&["127.0.0.1"]);
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = trusting(&identity, &format!("https://{}", upstream.address()), io);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        server.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let response = client.message();
        assert_eq!(response.status(), 502, "{io}");
        assert_eq!(response.json()["code"], "upstream_unreachable", "{io}");
    }
}

/// RFC 8446, section 6.1: who closes TCP without the alert may be anybody on the way.
#[test]
fn a_body_cut_below_tls_is_not_complete() {
    let identity = Identity::new(&["127.0.0.1"]);
    for io in DRIVERS {
        for in_good_order in [true, false] {
            let upstream = Upstream::bind();
            let gateway = trusting(&identity, &format!("https://{}", upstream.address()), io);
            let mut client = Wire::connect(gateway.address);
            client.send("GET /close HTTP/1.1\r\nhost: test\r\n\r\n");
            let mut server = identity.accept(upstream.accept_stream());
            server.head();
            server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end");
            if in_good_order {
                server.end_sending();
            }
            drop(server);
            let response = client.message();
            let wanted = if in_good_order { End::Complete } else { End::Truncated };
            let refused = response.status() == 502;
            assert!(response.end == wanted || (!in_good_order && refused), "{io}: {in_good_order}");
            if in_good_order {
                assert_eq!(response.text(), "until the end", "{io}");
            }
        }
    }
}
