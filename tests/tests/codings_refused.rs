//! Coded bodies that can't be decoded, or decode to too much: nothing unmasked leaves, and nothing looks whole.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_engine::{Codings, Encoder};
use sluice_tests::DRIVERS;
use sluice_tests::coding::{codings, decoded_so_far, encoded, stacks};
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Message, Wire, ok};

const SECRET: &str = "AKIAEZH5VTGLTMQAZX6T";

fn post(field: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /up HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-encoding: {field}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn answer(field: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: {field}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn get(field: &str) -> String {
    format!("GET /x HTTP/1.1\r\nhost: test\r\naccept-encoding: {field}\r\n\r\n")
}

/// Every request that came upstream, as far as it came, was not whole.
fn assert_nothing_whole(upstream: &Upstream, io: &str, what: &str) {
    if let Some(mut server) = upstream.try_accept(std::time::Duration::ZERO)
        && let Some(head) = server.try_head()
    {
        let request = server.body_of(head);
        assert_eq!(request.end, End::Truncated, "{io} {what}: a whole request left");
        assert!(!String::from_utf8_lossy(&request.body).contains(SECRET), "{io} {what}");
    }
}

fn assert_refused(response: &Message, status: u16, code: &str, what: &str) {
    assert_eq!((response.status(), &response.json()["code"]), (status, &code.into()), "{what}");
}

/// Text that decodes to more than `RATIO` bytes a byte, in every coding.
fn bomb(codings: &Codings) -> Vec<u8> {
    encoded(codings, vec![b'a'; 24 << 20])
}
const RATIO: [&str; 2] = ["--coding-ratio-max", "20"];

#[test]
fn a_request_that_is_a_bomb_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &RATIO);
        for (field, codings) in stacks() {
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(post(field, &bomb(&codings)));
            assert_refused(&response, 413, "too_large", &format!("{io} {field}"));
            assert_nothing_whole(&upstream, io, field);
        }
        let kib = gateway.server.resident_kib_max();
        assert!(kib < 200 * 1024, "{io}: {kib} KiB");
    }
}

#[test]
fn a_response_that_is_a_bomb_breaks_off_or_is_refused() {
    for io in DRIVERS {
        for (field, codings) in stacks() {
            let coded = bomb(&codings);
            let upstream = Upstream::answering(move |_| answer(field, &coded));
            let gateway = Gateway::with_keys(&upstream.url(), io, &RATIO);
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(get(field));
            if response.status() == 200 {
                assert_eq!(response.end, End::Truncated, "{io} {field}");
                assert!(!decoded_so_far(&codings, &response.body).1, "{io} {field}: it looks whole");
            } else {
                assert_refused(&response, 502, "unmaskable", &format!("{io} {field}"));
            }
        }
    }
}

#[test]
fn a_bomb_behind_much_that_is_none_breaks_off() {
    for io in DRIVERS {
        for field in ["br", "zstd"] {
            let codings = codings(field);
            let (mut encoder, mut coded) = (Encoder::new(&codings), Vec::new());
            let noise: String =
                (0..60_000u32).map(|n| format!("{:x} ", n.wrapping_mul(2_654_435_761))).collect();
            encoder.push(noise.as_bytes(), &mut coded).expect("it encodes");
            encoder.push(&vec![b'a'; 24 << 20], &mut coded).expect("it encodes");
            encoder.finish(&mut coded).expect("it encodes");
            let upstream = Upstream::answering(move |_| answer(field, &coded));
            let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(get(field));
            assert_eq!((response.status(), response.end), (200, End::Truncated), "{io} {field}");
            let (text, whole) = decoded_so_far(&codings, &response.body);
            assert!(
                !whole && noise.as_bytes().starts_with(&text[..text.len().min(noise.len())]),
                "{io} {field}"
            );
        }
    }
}

#[test]
fn the_ratio_is_a_setting() {
    // Two MiB out of less than a piece of 4 KiB: 512 bytes a byte.
    let coded = encoded(&codings("zstd"), vec![b'a'; 2 << 20]);
    assert!(coded.len() < 4096);
    for (ratio, status) in [("512", 200), ("511", 413)] {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = Gateway::with_keys(&upstream.url(), "uring", &["--coding-ratio-max", ratio]);
        let mut client = Wire::connect(gateway.address);
        assert_eq!(client.exchange(post("zstd", &coded)).status(), status, "{ratio}");
    }
}

#[test]
fn the_limit_of_a_request_counts_what_it_decodes_to() {
    for (max, status) in [("1000", 200), ("999", 413)] {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let gateway = Gateway::with_keys(&upstream.url(), "uring", &["--body-bytes-max", max]);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange(post("gzip", &encoded(&codings("gzip"), vec![b'a'; 1000])));
        assert_eq!(response.status(), status, "{max}");
    }
}

#[test]
fn coded_bodies_in_work_have_a_limit() {
    let upstream = Upstream::bind();
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &["--coded-bodies-max", "1", "--shards", "1"]);
    let coded = encoded(&codings("gzip"), "some text");
    let mut first = Wire::connect(gateway.address);
    let request = post("gzip", &coded);
    first.send(&request[..request.len() - 1]);
    let mut server = upstream.accept();
    let head = server.head();
    let mut second = Wire::connect(gateway.address);
    assert_refused(&second.exchange(&request), 503, "overloaded", "one more");
    first.send(&request[request.len() - 1..]);
    assert_eq!(server.body_of(head).end, End::Complete);
    server.send(ok("text/plain", "answered"));
    assert_eq!(first.message().text(), "answered");
    // The place is free again.
    first.send(&request);
    let head = server.head();
    server.body_of(head);
    server.send(ok("text/plain", "again"));
    assert_eq!(first.message().text(), "again");
}

#[test]
fn a_request_cut_short_in_its_coding_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        for (field, codings) in stacks() {
            let whole = encoded(&codings, format!("words before {SECRET} and words behind"));
            for cut in [1, whole.len() / 2, whole.len() - 1] {
                let mut client = Wire::connect(gateway.address);
                let response = client.exchange(post(field, &whole[..cut]));
                assert_refused(&response, 415, "unmaskable", &format!("{io} {field} {cut}"));
                assert_nothing_whole(&upstream, io, field);
            }
        }
    }
}

#[test]
fn a_response_cut_short_in_its_coding_never_looks_whole() {
    for io in DRIVERS {
        for (field, codings) in stacks() {
            let text = format!("words before {SECRET} and words behind");
            let whole = encoded(&codings, &text);
            let upstream = Upstream::answering(move |request| {
                let cut: usize = request.head.field("x-cut").expect("a cut").parse().expect("a number");
                answer(field, &whole[..cut])
            });
            let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
            let whole = encoded(&codings, &text).len();
            for cut in (1..whole).step_by(7).chain([whole - 1]) {
                let mut client = Wire::connect(gateway.address);
                let request = get(field).replace("host: test", &format!("host: test\r\nx-cut: {cut}"));
                let response = client.exchange(request);
                if response.status() == 200 {
                    assert_eq!(response.end, End::Truncated, "{io} {field} {cut}");
                    let (out, is_whole) = decoded_so_far(&codings, &response.body);
                    assert!(!is_whole, "{io} {field} {cut}: it looks whole");
                    assert!(!String::from_utf8_lossy(&out).contains(&SECRET[..8]), "{io} {field} {cut}");
                } else {
                    assert_refused(&response, 502, "unmaskable", &format!("{io} {field} {cut}"));
                }
            }
        }
    }
}

#[test]
fn a_client_of_http_1_0_is_told_of_a_coded_body_that_breaks_off() {
    for io in DRIVERS {
        let coded = encoded(&codings("gzip"), "some words ".repeat(10_000));
        let upstream = Upstream::bind();
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /r HTTP/1.0\r\nhost: test\r\naccept-encoding: gzip\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\n\r\n");
        server.send(&coded[..coded.len() / 2]);
        client.read_until(b"\r\n\r\n\x1f\x8b");
        drop(server);
        assert!(client.ends_by_reset(), "{io}: a broken body ended in good order");
    }
}

#[test]
fn an_unknown_coding_is_refused_by_name() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| {
            answer(request.head.field("x-coding").expect("a coding"), b"HIDDEN")
        });
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        for coding in ["compress", "aws-chunked", "gzip, x-unknown", "gzip;q=1", "gzip, gzip, gzip, gzip"] {
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(post(coding, b"HIDDEN"));
            assert_refused(&response, 415, "unmaskable", &format!("{io} {coding}"));
            assert_eq!(response.head.field("accept-encoding"), Some("gzip, deflate, br, zstd"), "{io}");
            assert!(upstream.take_requests().is_empty(), "{io} {coding}: it left");
            let mut client = Wire::connect(gateway.address);
            let request = format!("GET /x HTTP/1.1\r\nhost: test\r\nx-coding: {coding}\r\n\r\n");
            let response = client.exchange(request);
            assert_refused(&response, 502, "unmaskable", &format!("{io} {coding}"));
            assert!(!response.text().contains("HIDDEN"), "{io} {coding}");
            assert_eq!(upstream.take_requests().len(), 1, "{io}");
        }
    }
}

#[test]
fn what_is_not_in_its_coding_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| {
            answer(
                request.head.field("x-coding").expect("a coding"),
                b"plain HIDDEN words, in no coding at all",
            )
        });
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        for (coding, _) in stacks() {
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(post(coding, b"plain HIDDEN words, in no coding at all"));
            assert_refused(&response, 415, "unmaskable", &format!("{io} {coding}"));
            let mut client = Wire::connect(gateway.address);
            let request =
                format!("GET /x HTTP/1.1\r\nhost: test\r\naccept-encoding: *\r\nx-coding: {coding}\r\n\r\n");
            let response = client.exchange(request);
            assert_refused(&response, 502, "unmaskable", &format!("{io} {coding}"));
        }
        assert!(
            upstream.take_requests().iter().all(|r| r.head.method() == "GET"),
            "{io}: a request left whole"
        );
    }
}

#[test]
fn bytes_behind_the_end_of_a_coding_never_pass() {
    for io in DRIVERS {
        for (field, codings) in stacks() {
            let coded = [encoded(&codings, "some text"), SECRET.as_bytes().to_vec()].concat();
            let upstream = Upstream::answering(move |_| answer(field, &coded));
            let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(get(field));
            assert!(response.status() == 502 || response.end == End::Truncated, "{io} {field}");
            assert!(!String::from_utf8_lossy(&response.body).contains(SECRET), "{io} {field}");
        }
    }
}

#[test]
fn ranges_are_not_asked_for_and_not_passed() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| {
            let coded = encoded(&codings("gzip"), "part");
            let head = "HTTP/1.1 206 Partial Content\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\n\
                        content-range: bytes 0-3/9\r\n";
            [format!("{head}content-length: {}\r\n\r\n", coded.len()).as_bytes(), &coded].concat()
        });
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange(
            "GET /x HTTP/1.1\r\nhost: test\r\nrange: bytes=0-3\r\nif-range: \"v1\"\r\naccept-encoding: gzip\r\n\r\n",
        );
        assert_refused(&response, 502, "unmaskable", io);
        let request = upstream.take_requests().pop().expect("a request");
        assert!(request.head.field("range").is_none() && request.head.field("if-range").is_none(), "{io}");
    }
}
