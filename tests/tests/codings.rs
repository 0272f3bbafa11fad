//! Coded bodies are decoded, masked and coded again, both ways and while they stream.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_engine::{CodingLimits, Decoder, Encoder};
use sluice_tests::DRIVERS;
use sluice_tests::coding::{codings, decoded, encoded, stacks};
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Message, Wire};

const SECRET: &str = "AKIAEZH5VTGLTMQAZX6T";
const MASKED: &str = "[aws_access_key]";

/// A document of some length around a value.
fn document(value: &str) -> String {
    let filler: String = (0..400).map(|n| format!("\"n{n}\":{},", n * n * 7919)).collect();
    format!("{{{filler}\"key\":\"{value}\"}}")
}

/// A request with a coded body of JSON.
fn coded_post(field: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "POST /up HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip, deflate, br, zstd\r\ncontent-type: application/json\r\n\
         {}content-length: {}\r\n\r\n",
        fields(field),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// A response with a coded body of JSON, and fields that are not true of a masked one.
fn coded_ok(field: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n{}content-length: {}\r\netag: \"v1\"\r\n\
         content-md5: x\r\nrepr-digest: sha-256=:x:\r\ncontent-digest: sha-256=:x:\r\naccept-ranges: bytes\r\n\r\n",
        fields(field),
        body.len()
    );
    [head.as_bytes(), body].concat()
}

/// `Content-Encoding`: the stack with `br` over several lines, the others on one.
fn fields(value: &str) -> String {
    let lines: String = value.split(", ").map(|v| format!("content-encoding: {v}\r\n")).collect();
    if value.contains("br") { lines } else { format!("content-encoding: {value}\r\n") }
}

fn all_fields(message: &Message, name: &str) -> String {
    let values: Vec<&str> =
        message.head.fields.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
    values.join(", ")
}

#[test]
fn every_coding_is_masked_both_ways_over_one_connection() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| {
            let at: usize = request.head.field("x-case").expect("its number").parse().expect("a number");
            let (field, codings) = stacks().swap_remove(at);
            coded_ok(field, &encoded(&codings, document(SECRET)))
        });
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        for (at, (field, codings)) in stacks().into_iter().enumerate() {
            let request = coded_post(field, &encoded(&codings, document(SECRET)));
            let case = format!("POST /up HTTP/1.1\r\nx-case: {at}\r\n");
            let request = [case.as_bytes(), &request["POST /up HTTP/1.1\r\n".len()..]].concat();
            let response = client.exchange(&request);
            assert_eq!((response.status(), response.end), (200, End::Complete), "{io} {field}");
            assert_eq!(all_fields(&response, "content-encoding"), field, "{io}");
            let text = String::from_utf8(decoded(&codings, &response.body)).expect("text");
            assert_eq!(text, document(MASKED), "{io} {field}: the response");
            for gone in ["content-md5", "repr-digest", "content-digest", "accept-ranges"] {
                assert!(response.head.field(gone).is_none(), "{io} {field}: {gone}");
            }
            assert_eq!(response.head.field("etag"), Some("W/\"v1\""), "{io} {field}");
            let request = upstream.take_requests().pop().expect("a request");
            assert_eq!(all_fields(&request, "content-encoding"), field, "{io}");
            assert_eq!(request.head.field("accept-encoding"), Some("gzip, deflate, br, zstd"), "{io}");
            let text = String::from_utf8(decoded(&codings, &request.body)).expect("text");
            assert_eq!(text, document(MASKED), "{io} {field}: the request");
        }
        assert_eq!(upstream.connections(), 1, "{io}: the upstream connection is used again");
    }
}

#[test]
fn what_matches_nothing_is_the_same_decoded() {
    let upstream = Upstream::answering(|request| coded_ok("zstd", &request.body));
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    let mut client = Wire::connect(gateway.address);
    let text = document("nothing to see").replace(',', " ,\n\t");
    let response = client.exchange(coded_post("zstd", &encoded(&codings("zstd"), &text)));
    assert_eq!(decoded(&codings("zstd"), &response.body), text.as_bytes());
}

/// Reads chunks until what they decode to since the last call holds `wanted`.
fn decode_until(client: &mut Wire, decoder: &mut Decoder, wanted: &str) -> String {
    let mut out = Vec::new();
    while !String::from_utf8_lossy(&out).contains(wanted) {
        let chunk = client.try_chunk().expect("the stream goes on");
        assert!(!chunk.is_empty(), "the stream ended with {:?}", String::from_utf8_lossy(&out));
        decoder.push(&chunk, &mut out).expect("it is valid in its coding");
    }
    String::from_utf8(out).expect("text")
}

#[test]
fn events_arrive_one_by_one_through_every_coding() {
    for io in DRIVERS {
        for (field, codings) in stacks() {
            let upstream = Upstream::bind();
            let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
            let mut client = Wire::connect(gateway.address);
            client.send(format!("GET /events HTTP/1.1\r\nhost: test\r\naccept-encoding: {field}\r\n\r\n"));
            let mut server = upstream.accept();
            server.head();
            server.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: {field}\r\ntransfer-encoding: chunked\r\n\r\n"
            ));
            let head = client.head();
            assert_eq!(
                head.field("content-encoding"),
                Some(field),
                "{io}: the head is there before an event"
            );
            let mut encoder = Encoder::new(&codings);
            let mut decoder = Decoder::new(&codings, CodingLimits::default());
            for n in 0..5 {
                let mut coded = Vec::new();
                // The space is what decides the key: it can't go on in the next event.
                let event = format!("data: {{\"n\":{n},\"key\":\"{SECRET} \"}}\n\n");
                encoder.push(event.as_bytes(), &mut coded).expect("it encodes");
                encoder.flush(&mut coded).expect("it encodes");
                server.send_chunk(&coded);
                // The next event is sent only when this one is here.
                let text = decode_until(&mut client, &mut decoder, "\n\n");
                assert_eq!(text, format!("data: {{\"n\":{n},\"key\":\"{MASKED} \"}}\n\n"), "{io} {field}");
            }
            let mut coded = Vec::new();
            encoder.finish(&mut coded).expect("it encodes");
            server.send_chunk(&coded);
            server.send("0\r\n\r\n");
            let rest = client.body_of(head);
            let mut out = Vec::new();
            decoder.push(&rest.body, &mut out).and_then(|()| decoder.finish(&mut out)).expect("a whole body");
            assert_eq!((out.as_slice(), rest.end), (&b""[..], End::Complete), "{io} {field}");
        }
    }
}

#[test]
fn deltas_of_one_text_are_joined_through_a_coding() {
    let chunk = |text: &str| {
        format!(
            "data: {{\"object\":\"chat.completion.chunk\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"{text}\"}}}}]}}\n\n"
        )
    };
    let body: String =
        ["the key AKIAEZ", "H5VTGLT", "MQAZX6T is", " here"].map(chunk).concat() + "data: [DONE]\n\n";
    let upstream = Upstream::answering(move |_| {
        let coded = encoded(&codings("gzip"), &body);
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-encoding: gzip\r\n";
        [format!("{head}content-length: {}\r\n\r\n", coded.len()).as_bytes(), &coded].concat()
    });
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    let mut client = Wire::connect(gateway.address);
    let response = client.exchange("GET /events HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip\r\n\r\n");
    let text = String::from_utf8(decoded(&codings("gzip"), &response.body)).expect("text");
    assert!(text.contains(MASKED) && !text.contains("H5VTGLT"), "{text}");
}

#[test]
fn a_coded_answer_may_come_one_byte_at_a_time() {
    for io in DRIVERS {
        for (field, codings) in stacks() {
            let upstream = Upstream::bind();
            let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
            let mut client = Wire::connect(gateway.address);
            client.send(format!("GET /slow HTTP/1.1\r\nhost: test\r\naccept-encoding: {field}\r\n\r\n"));
            let mut server = upstream.accept();
            server.head();
            server.send(format!(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-encoding: {field}\r\ntransfer-encoding: chunked\r\n\r\n"
            ));
            let body = format!("{{\"key\":\"{SECRET}\",\"more\":true}}");
            for byte in encoded(&codings, &body) {
                server.send_chunk([byte]);
            }
            server.send("0\r\nx-sum: 42\r\ncontent-digest: sha-256=:x:\r\n\r\n");
            let response = client.message();
            assert_eq!((response.status(), response.end), (200, End::Complete), "{io} {field}");
            let text = String::from_utf8(decoded(&codings, &response.body)).expect("text");
            assert_eq!(text, body.replace(SECRET, MASKED), "{io} {field}");
            assert_eq!(response.trailers, [("x-sum".to_owned(), "42".to_owned())], "{io} {field}");
        }
    }
}

#[test]
fn a_client_that_takes_no_coding_gets_none() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| coded_ok("br", &encoded(&codings("br"), document(SECRET))));
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        for (accepted, asked) in [
            ("", "identity"),
            ("accept-encoding: identity\r\n", "identity"),
            ("accept-encoding: gzip\r\n", "gzip"),
            ("accept-encoding: br;q=0, gzip;q=0.5\r\n", "br;q=0, gzip;q=0.5"),
        ] {
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(format!("GET /x HTTP/1.1\r\nhost: test\r\n{accepted}\r\n"));
            assert_eq!((response.text(), response.end), (document(MASKED).as_str(), End::Complete), "{io}");
            assert!(response.head.field("content-encoding").is_none(), "{io} {accepted}");
            assert_eq!(response.head.field("vary"), Some("Accept-Encoding"), "{io} {accepted}");
            let request = upstream.take_requests().pop().expect("a request");
            assert_eq!(request.head.field("accept-encoding"), Some(asked), "{io} {accepted}");
        }
    }
}

#[test]
fn identity_can_be_preferred() {
    let upstream = Upstream::answering(|_| coded_ok("gzip", &encoded(&codings("gzip"), document(SECRET))));
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &["--response-coding", "identity"]);
    let mut client = Wire::connect(gateway.address);
    let response = client.exchange("GET /x HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip\r\n\r\n");
    assert_eq!(response.text(), document(MASKED));
    assert!(response.head.field("content-encoding").is_none());
    let request = upstream.take_requests().pop().expect("a request");
    assert_eq!(request.head.field("accept-encoding"), Some("identity"));
    // Not where the client does not take it.
    let response =
        client.exchange("GET /x HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip, identity;q=0\r\n\r\n");
    assert_eq!(response.head.field("content-encoding"), Some("gzip"));
    assert_eq!(decoded(&codings("gzip"), &response.body), document(MASKED).as_bytes());
}

#[test]
fn coded_messages_without_a_body_have_none() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| {
            let (status, length) = match request.head.target() {
                "/204" => ("204 No Content", ""),
                "/304" => ("304 Not Modified", "content-length: 50\r\n"),
                "/head" => ("200 OK", "content-length: 50\r\n"),
                "/empty" => ("200 OK", "content-length: 0\r\n"),
                _ => ("200 OK", "transfer-encoding: chunked\r\n"),
            };
            let end = if request.head.target() == "/chunked" { "0\r\n\r\n" } else { "" };
            format!("HTTP/1.1 {status}\r\ncontent-type: text/plain\r\ncontent-encoding: gzip\r\netag: \"1\"\r\n{length}\r\n{end}")
                .into_bytes()
        });
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        for round in 0..2 {
            client.send("HEAD /head HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip\r\n\r\n");
            let head = client.head();
            assert_eq!((head.status(), head.field("content-encoding")), (200, Some("gzip")), "{io}");
            assert_eq!((head.field("etag"), head.field("content-length")), (Some("W/\"1\""), None), "{io}");
            for (target, status) in [("/204", 204), ("/304", 304), ("/empty", 200), ("/chunked", 200)] {
                let response = client.exchange(format!(
                    "GET {target} HTTP/1.1\r\nhost: test\r\naccept-encoding: gzip\r\n\r\n"
                ));
                assert_eq!((response.status(), response.body.len()), (status, 0), "{io} {target} {round}");
                assert_eq!(response.end, End::Complete, "{io} {target}");
            }
        }
    }
}

#[test]
fn a_tag_that_was_weakened_still_matches_upstream() {
    let upstream = Upstream::answering(|_| b"HTTP/1.1 204 No Content\r\n\r\n".to_vec());
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    let mut client = Wire::connect(gateway.address);
    client.exchange(
        "PUT /x HTTP/1.1\r\nhost: test\r\nif-match: W/\"v1\", \"v2\"\r\nif-none-match: W/\"v1\"\r\ncontent-length: 0\r\n\r\n",
    );
    let request = upstream.take_requests().pop().expect("a request");
    assert_eq!(request.head.field("if-match"), Some("\"v1\", \"v2\""));
    assert_eq!(request.head.field("if-none-match"), Some("W/\"v1\""));
}

#[test]
fn coded_bodies_are_counted_decoded() {
    let upstream = Upstream::answering(|_| coded_ok("gzip", &encoded(&codings("gzip"), document(SECRET))));
    let gateway = Gateway::with_keys(&upstream.url(), "epoll", &[]);
    let mut client = Wire::connect(gateway.address);
    client.exchange(coded_post("zstd", &encoded(&codings("zstd"), document(SECRET))));
    let mut admin = Wire::connect(gateway.admin);
    let metrics = admin.exchange("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let len = document(SECRET).len();
    for line in [
        "sluice_coded_bodies_total{direction=\"request\"} 1".to_owned(),
        "sluice_coded_bodies_total{direction=\"response\"} 1".to_owned(),
        format!("sluice_scanned_bytes_total{{direction=\"request\"}} {len}"),
        format!("sluice_scanned_bytes_total{{direction=\"response\"}} {len}"),
        "sluice_hold_back_bytes 0".to_owned(),
    ] {
        assert!(metrics.text().lines().any(|l| l == line), "{line} in {}", metrics.text());
    }
}
