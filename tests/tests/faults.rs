//! Faults of HTTP/1.1's peers: slow ones, those that leave, those that send too much. After each the gateway is as it was
//! before, and its counters say what has happened; on both I/O drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{ErrorKind, Write};
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use sluice_tests::DRIVERS;
use sluice_tests::observed::{assert_well, metric, reset, resident_kib, wait_for};
use sluice_tests::process::{Build, Gateway, Server, keys_pack};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Wire, ok, post};

const GET: &str = "GET /f HTTP/1.1\r\nhost: test\r\n\r\n";
const SECRET: &str = "AKIAEZH5VTGLTMQAZX6T";

/// Memory that may be left after much has come and gone: what an allocator keeps for next time.
const LEFT_KIB_MAX: u64 = 24 * 1024;
/// What sockets may hold between an upstream that is not slow and a client that is: two connections, two sides each.
const SOCKETS_BYTES_MAX: usize = 48 * 1024 * 1024;

fn gateway(upstream: &str, io: &'static str) -> Gateway {
    Gateway::with_keys(upstream, io, &[])
}

/// Writes until nothing has been taken for a while; gives how much was.
fn fill(wire: &Wire, pattern: &[u8]) -> usize {
    wire.stream().set_write_timeout(Some(Duration::from_millis(700))).expect("a timeout can be set");
    let (mut stream, mut sent) = (wire.stream(), 0);
    loop {
        match stream.write(&pattern[sent % pattern.len()..]) {
            Ok(n) => sent += n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return sent,
            Err(e) => panic!("after {sent} bytes: {e}"),
        }
        assert!(sent < SOCKETS_BYTES_MAX, "nothing holds the sender back");
    }
}

fn words() -> Vec<u8> {
    b"the quick brown fox jumps over the lazy dog and on. ".repeat(2048)
}

#[test]
fn a_reader_that_stops_holds_upstream_back() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = gateway(&upstream.url(), io);
        let pid = gateway.server.pid();
        let before = resident_kib(pid);
        let mut client = Wire::connect(gateway.address);
        client.send(GET);
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n");
        let pattern = words();
        let sent = fill(&server, &pattern);
        let grown = resident_kib(pid).saturating_sub(before);
        assert!(grown < LEFT_KIB_MAX, "{io}: {grown} KiB for {sent} bytes that nobody reads");
        // Once it reads on, it gets all of it.
        server.end_sending();
        let response = client.message();
        assert_eq!((response.end, response.body.len()), (End::Complete, sent), "{io}");
        assert!(
            response.body.chunks(pattern.len()).all(|part| pattern.starts_with(part)),
            "{io}: it changed"
        );
        drop(client);
        assert_well(&mut gateway, io);
    }
}

#[test]
fn an_upstream_that_stops_reading_holds_the_client_back() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = gateway(&upstream.url(), io);
        let pid = gateway.server.pid();
        let before = resident_kib(pid);
        let mut client = Wire::connect(gateway.address);
        let length = 1 << 30;
        client.send(format!(
            "POST /f HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n"
        ));
        let mut server = upstream.accept();
        let head = server.head();
        let sent = fill(&client, &words());
        let grown = resident_kib(pid).saturating_sub(before);
        assert!(grown < LEFT_KIB_MAX, "{io}: {grown} KiB for {sent} bytes that nobody reads");
        // It is not complete when the client leaves.
        drop(client);
        assert_eq!(server.body_of(head).end, End::Truncated, "{io}");
        assert_well(&mut gateway, io);
    }
}

#[test]
fn heads_that_come_slowly_hold_nobody_up() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let mut gateway = gateway(&upstream.url(), io);
        let mut slow: Vec<Wire> = (0..200).map(|_| Wire::connect(gateway.address)).collect();
        for byte in GET.bytes().take(30) {
            slow.iter_mut().for_each(|client| client.send([byte]));
        }
        wait_for(&gateway, "sluice_connections_open", |open| open >= 200);
        assert_eq!(Wire::connect(gateway.address).exchange(GET).text(), "answered", "{io}");
        assert_eq!(upstream.take_requests().len(), 1, "{io}: half a head reached upstream");
        drop(slow);
        assert_well(&mut gateway, io);
    }
}

/// A gateway that gives heads one second.
fn impatient(upstream: &str, io: &'static str) -> Gateway {
    let keys = keys_pack();
    let text = format!(
        r#"
gateway = {{ io = "{io}", allow_anonymous = true, limits = {{ head_ms_max = 1000 }} }}
admin = {{ listen = "127.0.0.1:0" }}
listener = [{{ name = "l", listen = "127.0.0.1:0" }}]
upstream = [{{ name = "u", url = "{upstream}" }}]
route = [{{ name = "r", upstream = "u", packs = ["{keys}"] }}]
"#
    );
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("faults-impatient-{io}.toml"));
    std::fs::write(&file, text).expect("a file can be written");
    let mut server = Server::start(Build::Debug, &["serve".into(), "--config".into(), file.into()]);
    let (address, admin) = (server.address("gateway"), server.address("admin"));
    Gateway { server, address, admin }
}

/// Slowloris: the whole head has a limit, not the time between two bytes.
#[test]
fn a_head_that_comes_too_slowly_is_refused() {
    thread::scope(|scope| {
        for io in DRIVERS {
            scope.spawn(move || {
                let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
                let mut gateway = impatient(&upstream.url(), io);
                let (mut client, began) = (Wire::connect(gateway.address), Instant::now());
                client.send("GET /f HTTP/1.1\r\nhost: test\r\nx: ");
                while began.elapsed() < Duration::from_secs(8) && client.try_send("y") {
                    thread::park_timeout(Duration::from_millis(100));
                }
                let answer = client.try_head().map(|head| head.status());
                assert!(answer.is_none_or(|status| status == 408), "{io}: {answer:?}");
                assert_eq!(metric(&gateway, "sluice_refusals_total{code=\"bad_request\"}"), 1, "{io}");
                assert!(upstream.take_requests().is_empty(), "{io}");
                drop(client);
                assert_well(&mut gateway, io);
            });
        }
    });
}

#[test]
fn an_upstream_that_resets_a_body_without_a_length_has_not_ended_it() {
    for io in DRIVERS {
        for version in ["1.0", "1.1"] {
            let upstream = Upstream::bind();
            let mut gateway = gateway(&upstream.url(), io);
            let mut client = Wire::connect(gateway.address);
            client.send(format!("GET /f HTTP/{version}\r\nhost: test\r\n\r\n"));
            let mut server = upstream.accept();
            server.head();
            server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nthe first words and ");
            client.read_until(b"and");
            reset(server);
            if version == "1.0" {
                assert!(client.ends_by_reset(), "{io}: a broken body ended in good order");
            } else {
                assert!(!client.rest().ends_with(b"0\r\n\r\n"), "{io}: a broken body has a last chunk");
            }
            drop(client);
            assert_eq!(metric(&gateway, "sluice_aborted_total"), 1, "{io}");
            assert_well(&mut gateway, io);
        }
    }
}

#[test]
fn an_upstream_that_ends_its_side_only_has_ended_its_body() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = gateway(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send(GET);
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nall of it");
        server.end_sending();
        let response = client.message();
        assert_eq!((response.text(), response.end), ("all of it", End::Complete), "{io}");
        // Nothing keeps the other half: nobody else is served by it.
        assert!(server.is_at_end(), "{io}");
        drop(client);
        assert_well(&mut gateway, io);
    }
}

#[test]
fn an_upstream_that_ends_before_it_answers() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = gateway(&upstream.url(), io);
        for by_reset in [false, true] {
            let mut client = Wire::connect(gateway.address);
            client.send(post("/f", "text/plain", "hello"));
            let mut server = upstream.accept();
            let head = server.head();
            server.body_of(head);
            if by_reset {
                reset(server)
            } else {
                drop(server)
            }
            let response = client.message();
            assert_eq!((response.status(), response.end), (502, End::Complete), "{io}, reset: {by_reset}");
        }
        assert_eq!(metric(&gateway, "sluice_refusals_total{code=\"upstream_unreachable\"}"), 2, "{io}");
        assert_well(&mut gateway, io);
    }
}

#[test]
fn a_client_that_ends_its_side_gets_its_answer() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = gateway(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send(post("/f", "text/plain", "a question"));
        client.end_sending();
        let mut server = upstream.accept();
        let head = server.head();
        assert_eq!(server.body_of(head).end, End::Complete, "{io}");
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
        for word in ["one ", "two ", "three "] {
            server.send_chunk(word);
        }
        server.send("0\r\n\r\n");
        assert_eq!(client.message().text(), "one two three ", "{io}");
        assert!(client.is_at_end(), "{io}");
        drop(client);
        assert_well(&mut gateway, io);
    }
}

/// The upstream may be at work for minutes: a client that has gone must not cost it that.
#[test]
fn a_client_that_resets_while_upstream_is_silent_ends_the_exchange() {
    for io in DRIVERS {
        for begun in [false, true] {
            let upstream = Upstream::bind();
            let mut gateway = gateway(&upstream.url(), io);
            let mut client = Wire::connect(gateway.address);
            client.send(GET);
            let mut server = upstream.accept();
            server.head();
            if begun {
                server.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n");
                server.send_chunk("data: one\n\n");
                client.read_until(b"one");
            }
            reset(client);
            assert!(server.is_at_end(), "{io}, begun: {begun}");
            assert_well(&mut gateway, io);
        }
    }
}

#[test]
fn a_client_that_resets_in_mid_body_leaves_nothing() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = gateway(&upstream.url(), io);
        for _ in 0..3 {
            let mut client = Wire::connect(gateway.address);
            client.send("POST /f HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
            client.send_chunk(format!("some words, and half a value: {}", &SECRET[..12]));
            let mut server = upstream.accept();
            let head = server.head();
            let mut first = server.try_chunk().expect("the words stream on");
            reset(client);
            let rest = server.body_of(head);
            assert_eq!(rest.end, End::Truncated, "{io}");
            first.extend(rest.body);
            assert!(!String::from_utf8_lossy(&first).contains("AKIA"), "{io}: what was held has left");
        }
        assert_well(&mut gateway, io);
    }
}

#[test]
fn heads_of_a_mebibyte_and_of_100_000_fields() {
    let long = format!("x: {}\r\n", "y".repeat(1 << 20));
    let many = "x: y\r\n".repeat(100_000);
    for io in DRIVERS {
        let (up_long, up_many) = (long.clone(), many.clone());
        let upstream = Upstream::answering(move |request| match request.head.target() {
            "/long" => format!("HTTP/1.1 200 OK\r\n{up_long}content-length: 2\r\n\r\nok").into_bytes(),
            "/many" => format!("HTTP/1.1 200 OK\r\n{up_many}content-length: 2\r\n\r\nok").into_bytes(),
            _ => ok("text/plain", "answered"),
        });
        let mut gateway = gateway(&upstream.url(), io);
        let pid = gateway.server.pid();
        assert_eq!(Wire::connect(gateway.address).exchange(GET).text(), "answered", "{io}");
        let before = resident_kib(pid);
        for _ in 0..20 {
            for fields in [&long, &many] {
                let mut client = Wire::connect(gateway.address);
                // It is refused while it comes: the rest of it may meet a closed socket.
                client.try_send(format!("GET /f HTTP/1.1\r\nhost: test\r\n{fields}\r\n"));
                let status = client.try_head().map(|head| head.status());
                assert!(status.is_none_or(|status| status == 431), "{io}: {status:?}");
            }
            for target in ["/long", "/many"] {
                let request = format!("GET {target} HTTP/1.1\r\nhost: test\r\n\r\n");
                assert_eq!(Wire::connect(gateway.address).exchange(request).status(), 502, "{io}");
            }
        }
        assert_eq!(metric(&gateway, "sluice_refusals_total{code=\"too_large\"}"), 40, "{io}");
        assert_eq!(metric(&gateway, "sluice_refusals_total{code=\"upstream_unreachable\"}"), 40, "{io}");
        let left = resident_kib(pid).saturating_sub(before);
        assert!(left < LEFT_KIB_MAX, "{io}: {left} KiB are left");
        assert_well(&mut gateway, io);
    }
}

#[test]
fn json_of_great_depth_is_answered_and_nothing_in_it_leaves() {
    let deep = |open: &str, close: &str| {
        let depth = 300_000;
        format!("{}\"{SECRET}\"{}", open.repeat(depth), close.repeat(depth))
    };
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| ok("application/json", &request.body));
        let mut gateway = gateway(&upstream.url(), io);
        let pid = gateway.server.pid();
        let before = resident_kib(pid);
        for body in [deep("[", "]"), deep("{\"a\":", "}")] {
            let mut client = Wire::connect(gateway.address);
            client.try_send(post("/f", "application/json", &body));
            if let Some(head) = client.try_head() {
                let response = client.body_of(head);
                assert!(!String::from_utf8_lossy(&response.body).contains(SECRET), "{io}");
            }
            for request in upstream.take_requests() {
                assert!(
                    !String::from_utf8_lossy(&request.body).contains(SECRET),
                    "{io}: it reached upstream"
                );
            }
        }
        let left = resident_kib(pid).saturating_sub(before);
        assert!(left < LEFT_KIB_MAX, "{io}: {left} KiB are left");
        assert_eq!(
            Wire::connect(gateway.address).exchange(post("/f", "application/json", "{}")).text(),
            "{}",
            "{io}"
        );
        assert_well(&mut gateway, io);
    }
}
