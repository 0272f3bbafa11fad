//! TLS from the client and towards the upstream, on both I/O drivers: served, verified, and never cut unnoticed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use rustls::HandshakeKind;
use sluice_tests::DRIVERS;
use sluice_tests::process::{Build, Gateway, run};
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::{End, Message, Wire, ok, post};

const KEY: &str = "the key AKIAEZH5VTGLTMQAZX6T is here. ";
const MASKED: &str = "the key [aws_access_key] is here. ";

/// The body that comes back for one of `repeated` keys: [`echo`]'s key first.
fn masked(repeated: usize) -> String {
    MASKED.repeat(repeated + 1)
}

fn echo(request: &Message) -> Vec<u8> {
    ok("text/plain", [KEY.as_bytes(), &request.body].concat())
}

/// A gateway with a TLS listener.
fn listening(identity: &Identity, upstream: &str, io: &'static str) -> Gateway {
    let (certificate, key) = (identity.certificate_file(), identity.key_file());
    Gateway::with_keys(upstream, io, &["--tls-cert", &certificate, "--tls-key", &key])
}

/// A gateway of one shard before a TLS upstream, which trusts this identity.
fn trusting(identity: &Identity, upstream: &str, io: &'static str) -> Gateway {
    Gateway::with_keys(upstream, io, &["--upstream-ca", &identity.certificate_file(), "--shards", "1"])
}

/// Calls `test` for each driver with a gateway that listens with TLS before an upstream that echoes.
fn each_listener(identity: &Identity, test: impl Fn(&Gateway, &Answering, &str)) {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        test(&listening(identity, &upstream.url(), io), &upstream, io);
    }
}

/// Calls `test` with each driver and each version of TLS: a client of such a gateway.
fn each_client(test: impl Fn(&mut Wire, &Answering, &str)) {
    let identity = Identity::new(&["gateway.test"]);
    each_listener(&identity, |gateway, upstream, io| {
        for version in VERSIONS {
            let mut client = identity.connect(gateway.address, "gateway.test", version);
            test(&mut client, upstream, &format!("{io} {version:?}"));
        }
    });
}

/// Calls `test` for each driver with the socket of an upstream and a client of a gateway that expects TLS there.
fn each_upstream(identity: &Identity, test: impl Fn(&Upstream, &mut Wire, &str)) {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = trusting(identity, &format!("https://{}", upstream.address()), io);
        test(&upstream, &mut Wire::connect(gateway.address), io);
    }
}

/// Sends `repeated` keys and checks what either side gets.
fn assert_masked_both_ways(client: &mut Wire, upstream: &Answering, repeated: usize, what: &str) {
    let response = client.exchange(post("/x", "text/plain", KEY.repeat(repeated)));
    assert_eq!(response.status(), 200, "{what}: {repeated} keys");
    assert!(response.text() == masked(repeated), "{what}: {repeated} keys: {:?}", response.head);
    let request = upstream.take_requests().pop().expect("one request");
    assert!(request.text() == MASKED.repeat(repeated), "{what}: {repeated} keys");
}

#[test]
fn a_client_over_tls_is_served() {
    each_client(|client, upstream, what| {
        for repeated in [1, 20_000] {
            assert_masked_both_ways(client, upstream, repeated, what);
        }
    });
}

#[test]
fn a_body_that_only_the_close_ends_is_closed_in_good_order() {
    each_client(|client, _, what| {
        client.send("GET /old HTTP/1.0\r\n\r\n");
        let response = client.message();
        assert_eq!((response.text(), response.end), (MASKED, End::Complete), "{what}");
    });
}

/// RFC 8446, section 2.2; RFC 5077: whichever shard takes the next connection.
#[test]
fn a_session_is_resumed_whichever_shard_it_meets() {
    let identity = Identity::new(&["gateway.test"]);
    each_listener(&identity, |gateway, upstream, io| {
        for version in VERSIONS {
            let client = identity.client(version);
            for turn in 0..12 {
                let (mut wire, kind) = client.connect(gateway.address, "gateway.test");
                let wanted = if turn == 0 { HandshakeKind::Full } else { HandshakeKind::Resumed };
                assert_eq!(kind, wanted, "{io} {version:?}: connection {turn}");
                assert_masked_both_ways(&mut wire, upstream, 1, io);
            }
        }
    });
}

#[test]
fn events_leave_one_by_one_over_tls() {
    let identity = Identity::new(&["gateway.test", "127.0.0.1"]);
    let (certificate, key) = (identity.certificate_file(), identity.key_file());
    let args = ["--upstream-ca", &certificate, "--tls-cert", &certificate, "--tls-key", &key];
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&format!("https://{}", upstream.address()), io, &args);
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
    each_listener(&identity, |gateway, upstream, io| {
        let mut client = Wire::connect(gateway.address);
        client.send("GET /plain HTTP/1.1\r\nhost: test\r\n\r\n");
        // At most an alert of TLS.
        let answer = client.rest();
        assert!(!answer.starts_with(b"HTTP"), "{io}: {answer:?}");
        assert!(upstream.take_requests().is_empty(), "{io}: it reached upstream");
        let mut client = identity.connect(gateway.address, "gateway.test", VERSIONS[1]);
        client.send("GET /tls HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!(client.message().text(), MASKED, "{io}");
    });
}

#[test]
fn an_upstream_over_tls_is_reached_and_its_connections_are_kept() {
    let identity = Identity::new(&["127.0.0.1", "localhost"]);
    for (io, name) in DRIVERS.into_iter().flat_map(|io| ["127.0.0.1", "localhost"].map(|name| (io, name))) {
        let upstream = Upstream::answering_tls(&identity, echo);
        let gateway = trusting(&identity, &upstream.url().replace("127.0.0.1", name), io);
        let mut client = Wire::connect(gateway.address);
        for repeated in [1, 20_000, 1] {
            assert_masked_both_ways(&mut client, &upstream, repeated, io);
        }
        assert_eq!(upstream.connections(), 1, "{io}: {name}: one connection for all");
    }
}

#[test]
fn an_upstreams_session_is_resumed() {
    let identity = Identity::new(&["127.0.0.1"]);
    each_upstream(&identity, |upstream, client, io| {
        for wanted in [HandshakeKind::Full, HandshakeKind::Resumed, HandshakeKind::Resumed] {
            client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
            let (mut server, kind) = identity.accept_now(upstream.accept_stream());
            assert_eq!(kind, wanted, "{io}");
            server.head();
            server.send("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok");
            assert_eq!(client.message().text(), "ok", "{io}");
        }
    });
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
            let response = Wire::connect(gateway.address).exchange(post("/x", "text/plain", KEY));
            assert_eq!(response.status(), 502, "{io}: {what}");
            assert_eq!(response.json()["code"], "upstream_unreachable", "{io}: {what}");
            assert!(upstream.take_requests().is_empty(), "{io}: {what}: a request was sent");
        }
    }
}

#[test]
fn an_upstream_that_does_not_speak_tls_is_unreachable() {
    let identity = Identity::new(&["127.0.0.1"]);
    each_upstream(&identity, |upstream, client, io| {
        client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
        upstream.accept().send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        let response = client.message();
        assert_eq!(response.status(), 502, "{io}");
        assert_eq!(response.json()["code"], "upstream_unreachable", "{io}");
    });
}

/// RFC 8446, section 6.1: who closes TCP without the alert may be anybody on the way.
#[test]
fn a_body_cut_below_tls_is_not_complete() {
    let identity = Identity::new(&["127.0.0.1"]);
    let answered = |upstream: &Upstream, client: &mut Wire, in_good_order: bool| {
        client.send("GET /close HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = identity.accept(upstream.accept_stream());
        server.head();
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the end");
        if in_good_order {
            server.end_sending();
        }
        drop(server);
        client.message()
    };
    each_upstream(&identity, |upstream, client, io| {
        let response = answered(upstream, client, true);
        assert_eq!((response.text(), response.end), ("until the end", End::Complete), "{io}");
    });
    each_upstream(&identity, |upstream, client, io| {
        let response = answered(upstream, client, false);
        assert!(response.end == End::Truncated || response.status() == 502, "{io}: {response:?}");
    });
}

#[test]
fn it_does_not_start_with_files_that_are_faulty_and_names_each() {
    let (one, two) = (Identity::new(&["a.test"]), Identity::new(&["b.test"]));
    let missing = "/nowhere/missing.pem".to_owned();
    for (certificate, key, named) in [
        (one.certificate_file(), two.key_file(), vec![two.key_file()]),
        (one.key_file(), one.certificate_file(), vec![one.key_file(), one.certificate_file()]),
        (missing.clone(), one.key_file(), vec![missing.clone()]),
        // The same fault of the same file is told once.
        (missing.clone(), missing.clone(), vec![missing.clone()]),
    ] {
        let serve =
            ["serve", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9", "--allow-anonymous"];
        let output =
            run(Build::Debug, &[&serve[..], &["--tls-cert", &certificate, "--tls-key", &key]].concat(), b"");
        let told = String::from_utf8(output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{told}");
        for file in &named {
            assert_eq!(told.matches(file).count(), 1, "{told}");
        }
        let secret = std::fs::read_to_string(two.key_file()).expect("a key");
        assert!(secret.lines().all(|line| line.starts_with('-') || !told.contains(line)), "{told}");
    }
}
