//! Upstreams that stall, refuse or never end: the exchange fails or goes on, the gateway stays as it was, and counters say
//! what happened. Upstreams of HTTP/2 are spoken to in clear, as a file says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::configured::Configured;
use sluice_tests::frames::{DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, frame};
use sluice_tests::observed::resident_kib;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Wire, post};

const GET: &str = "GET /x HTTP/1.1\r\nhost: test\r\n\r\n";
/// Memory that may stay behind, of all exchanges together.
const LEFT_KIB_MAX: u64 = 24 * 1024;
/// `:status: 200` of the static table.
const OK: u8 = 0x88;

fn start(io: &str, upstream: &Upstream, more: &str, route: &str) -> Configured {
    let lines = format!("url = \"{}\"\n{more}", upstream.url());
    Configured::start(&Configured::text(io, "", &lines, route).replace("shards = 2", "shards = 1"))
}

fn http2(io: &str, upstream: &Upstream, route: &str) -> Configured {
    start(io, upstream, "protocol = \"http2\"", route)
}

/// The stream of the next request.
fn asked(server: &mut Frames) -> u32 {
    server.find(|f| f.kind == HEADERS).expect("a request").stream
}

fn answer(stream: u32, body: &[u8]) -> Vec<u8> {
    [frame(HEADERS, END_HEADERS, stream, &[OK]), frame(DATA, END_STREAM, stream, body)].concat()
}

#[test]
fn an_upstream_of_http2_in_clear_is_asked_and_answers() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = http2(io, &upstream, "");
        let mut client = Wire::connect(gateway.address);
        client.send(post("/x", "text/plain", "the key AKIAEZH5VTGLTMQAZX6T is here."));
        let mut server = Frames::accept(upstream.accept_stream());
        let stream = asked(&mut server);
        let mut body = Vec::new();
        loop {
            let frame = server.find(|f| f.kind == DATA && f.stream == stream).expect("content");
            body.extend(&frame.payload);
            if frame.flags & END_STREAM != 0 {
                break;
            }
        }
        assert_eq!(String::from_utf8_lossy(&body), "the key [aws_access_key] is here.", "{io}");
        server.send(&answer(stream, b"and AKIAEZH5VTGLTMQAZX6T back."));
        assert_eq!(client.message().text(), "and [aws_access_key] back.", "{io}");
        // A second request takes the same connection.
        client.send(GET);
        let next = asked(&mut server);
        assert!(next > stream, "{io}");
        server.send(&answer(next, b"again"));
        assert_eq!(client.message().text(), "again", "{io}");
    }
}

#[test]
fn an_upstream_of_http2_that_is_silent_times_out() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = http2(io, &upstream, "timeouts = { upstream_ms_max = 200 }");
        let mut client = Wire::connect(gateway.address);
        client.send(GET);
        let mut server = Frames::accept(upstream.accept_stream());
        let stream = asked(&mut server);
        assert_eq!(client.message().status(), 504, "{io}");
        let end = server.find(|f| f.kind == RST_STREAM).expect("the stream is given up");
        assert_eq!(end.stream, stream, "{io}");
        // In the middle of a body the answer must not look whole.
        let mut client = Wire::connect(gateway.address);
        client.send(GET);
        let stream = asked(&mut server);
        server.send(&frame(HEADERS, END_HEADERS, stream, &[OK]));
        server.send(&frame(DATA, 0, stream, &vec![b'x'; 9_000]));
        let head = client.head();
        assert_eq!(client.body_of(head).end, sluice_tests::wire::End::Truncated, "{io}");
        assert_eq!(gateway.metric("sluice_refusals_total{code=\"upstream_timeout\"}"), 2, "{io}");
    }
}

#[test]
fn heads_and_trailers_without_end_are_cut_in_http1() {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n";
    for io in DRIVERS {
        for (what, begin, piece) in [
            ("a head", "HTTP/1.1 200 OK\r\n", "x: y\r\n".repeat(200)),
            ("a line of a head", "HTTP/1.1 200 OK\r\nx: ", "y".repeat(4_000)),
            ("interim heads", "", "HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n".repeat(20)),
            ("trailers", head, "x: y\r\n".repeat(200)),
            ("a line of trailers", &format!("{head}x: "), "y".repeat(4_000)),
            (
                "an extension of a chunk",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5;",
                "x".repeat(4_000),
            ),
        ] {
            let what = format!("{io}: {what}");
            let upstream = Upstream::bind();
            let mut gateway = start(io, &upstream, "", "");
            let before = resident_kib(gateway.server.pid());
            let mut client = Wire::connect(gateway.address);
            client.send(GET);
            let mut server = upstream.accept();
            server.head();
            server.send(begin);
            let mut count = 0;
            while count < 20_000 && server.try_send(&piece) {
                count += 1;
            }
            assert!(count < 20_000, "{what}: it was all taken");
            if let Some(head) = client.try_head() {
                let status = head.status();
                let is_cut = client.body_of(head).end == sluice_tests::wire::End::Truncated;
                assert!(status == 502 || status == 200 && is_cut, "{what}: {status}");
            }
            drop((client, server));
            assert!(gateway.server.is_running(), "{what}");
            gateway.wait_for("sluice_connections_open", |open| open == 0);
            let left = resident_kib(gateway.server.pid()).saturating_sub(before);
            assert!(left < LEFT_KIB_MAX, "{what}: {left} KiB are left");
        }
    }
}

/// RFC 9113, sections 6.8 and 8.7: what an upstream says it did nothing with is sent again.
#[test]
fn a_request_that_an_upstream_refuses_without_acting_is_sent_again() {
    for io in DRIVERS {
        for by_goaway in [false, true] {
            let upstream = Upstream::bind();
            let gateway = http2(io, &upstream, "");
            let mut client = Wire::connect(gateway.address);
            client.send("DELETE /x HTTP/1.1\r\nhost: test\r\n\r\n");
            let mut first = Frames::accept(upstream.accept_stream());
            let stream = asked(&mut first);
            if by_goaway {
                first.send(&frame(GOAWAY, 0, 0, &[0; 8]));
            } else {
                first.send(&frame(RST_STREAM, 0, stream, &7u32.to_be_bytes()));
            }
            let mut next = Frames::accept(upstream.accept_stream());
            let stream = asked(&mut next);
            next.send(&answer(stream, b"at last"));
            assert_eq!(client.message().text(), "at last", "{io} {by_goaway}");
        }
    }
}
