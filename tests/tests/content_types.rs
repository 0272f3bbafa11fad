//! Every content type is read as what it is, charsets that hide text are refused, and `--on-error` says what happens to
//! a body that is not what its type says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::coding::{codings, decoded, encoded};
use sluice_tests::process::Gateway;
use sluice_tests::protobuf::{field, framed, traces};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Message, Wire, ok, post};

const SECRET: &str = "AKIAEZH5VTGLTMQAZX6T";
const MASKED: &str = "[aws_access_key]";

/// A body and what becomes of it.
struct Case {
    kind: &'static str,
    path: &'static str,
    body: Vec<u8>,
}

fn case(kind: &'static str, path: &'static str, body: impl AsRef<[u8]>) -> Case {
    Case { kind, path, body: body.as_ref().to_vec() }
}

/// Values hidden as each type hides them: by escapes, by percent-encoding, by lengths.
fn cases() -> Vec<Case> {
    let escaped = SECRET.replacen('K', "\\u004b", 1);
    let json = format!("{{\"key\": \"{escaped}\"}}");
    let line = format!("{json}\n{json}\n");
    let events = format!("data: {json}\n\n");
    vec![
        case("application/json", "/x", &json),
        case("application/vnd.api+json; charset=utf-8", "/x", &json),
        case("application/problem+json", "/x", &json),
        case("application/json", "/v1/traces", &json),
        case("application/x-ndjson", "/x", &line),
        case("application/jsonl", "/x", &line),
        case("application/x-jsonlines", "/x", &line),
        case("text/event-stream", "/x", &events),
        case("text/plain", "/x", &events),
        case("text/plain", "/x", &json),
        case("text/plain; charset=iso-8859-1", "/x", format!("key {SECRET}")),
        case("text/html", "/x", format!("<p>{SECRET}</p>")),
        case("application/xml", "/x", format!("<?xml version=\"1.0\"?><p>{SECRET}</p>")),
        case("image/svg+xml", "/x", format!("<svg>{SECRET}</svg>")),
        case("application/x-www-form-urlencoded", "/x", format!("a=b&key=AK%49A{}", &SECRET[4..])),
        case("", "/x", &json),
        case("", "/x", &events),
        case("", "/x", format!("key {SECRET}")),
        case("application/octet-stream", "/x", format!("\0\x01\x02 key {SECRET} \0")),
        case("application/octet-stream", "/x", &json),
        case("application/x-something", "/x", &events),
        case("application/x-protobuf", "/v1/traces", traces("db.statement", &format!("key {SECRET}"))),
        case("application/x-protobuf", "/other", field(3, format!("key {SECRET}"))),
        case("application/protobuf", "/in/v1/traces?x", traces("db.statement", &format!("key {SECRET}"))),
        case("application/grpc-web+proto", "/pkg.S/M", framed(0, &field(1, format!("key {SECRET}")))),
        case(
            "application/grpc",
            "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
            framed(0, &traces("db.statement", &format!("key {SECRET}"))),
        ),
    ]
}

/// Both ways of hiding the value that `cases` uses are taken away.
fn holds_secret(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).replace("\\u004b", "K").replace("%49", "I");
    text.contains(&SECRET[4..12]) || text.contains(&SECRET[12..])
}

#[test]
fn every_type_is_masked_both_ways() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| {
            let at: usize = request.head.field("x-case").expect("its number").parse().expect("a number");
            let case = cases().swap_remove(at);
            ok(case.kind, case.body)
        });
        let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let mut client = Wire::connect(gateway.address);
        for (at, Case { kind, path, body }) in cases().into_iter().enumerate() {
            let what = format!("{io} {kind} {path} {at}");
            assert!(holds_secret(&body), "{what}: the test holds a value");
            let request = post(path, kind, &body);
            let line = format!("POST {path} HTTP/1.1\r\n");
            let request =
                [line.as_bytes(), format!("x-case: {at}\r\n").as_bytes(), &request[line.len()..]].concat();
            let response = client.exchange(request);
            assert_eq!((response.status(), response.end), (200, End::Complete), "{what}");
            let request = upstream.take_requests().pop().expect("a request");
            for masked in [&request.body, &response.body] {
                let text = String::from_utf8_lossy(masked);
                assert!(!holds_secret(masked), "{what}: {text}");
                assert!(text.contains("aws_access_key") || text.contains('*'), "{what}: {text}");
            }
            let keeps_length = kind.contains("proto") || kind.contains("grpc");
            if keeps_length || body.starts_with(b"\0") {
                assert_eq!((request.body.len(), response.body.len()), (body.len(), body.len()), "{what}");
            }
        }
    }
}

#[test]
fn messages_of_grpc_are_decoded_where_their_coding_is_known() {
    let message = field(1, format!("key {SECRET}"));
    let body = framed(1, &encoded(&codings("gzip"), &message));
    let upstream = Upstream::answering(|request| {
        let coding = request.head.field("x-coding").expect("a coding");
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/grpc\r\ngrpc-encoding: {coding}\r\n");
        [format!("{head}content-length: {}\r\n\r\n", request.body.len()).as_bytes(), &request.body].concat()
    });
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    for (coding, status) in [("gzip", 200), ("identity", 415), ("snappy", 415)] {
        let mut client = Wire::connect(gateway.address);
        let request = post("/pkg.S/M", "application/grpc", &body);
        let line = "POST /pkg.S/M HTTP/1.1\r\n";
        let fields = format!("grpc-encoding: {coding}\r\nx-coding: {coding}\r\n");
        let request = [line.as_bytes(), fields.as_bytes(), &request[line.len()..]].concat();
        let response = client.exchange(request);
        assert_eq!(response.status(), status, "{coding}");
        if status == 200 {
            let message = decoded(&codings("gzip"), &response.body[5..]);
            let text = String::from_utf8_lossy(&message).into_owned();
            assert!(!text.contains(&SECRET[4..]), "{text}");
        }
    }
    assert_eq!(upstream.take_requests().len(), 1);
}

fn utf16(text: &str, mark: bool, little: bool) -> Vec<u8> {
    let units = mark.then_some(0xFEFF).into_iter().chain(text.encode_utf16());
    units.flat_map(|u| if little { u.to_le_bytes() } else { u.to_be_bytes() }).collect()
}

fn utf32(text: &str) -> Vec<u8> {
    text.chars().flat_map(|c| u32::from(c).to_be_bytes()).collect()
}

/// Bodies whose ASCII text does not look like itself: said to be so, or by their first bytes.
fn hidden() -> Vec<Case> {
    let (json, text, xml) =
        (format!("{{\"key\":\"{SECRET}\"}}"), format!("key {SECRET}"), format!("<p>{SECRET}</p>"));
    let utf7 = format!("+AEs-ey {SECRET}");
    vec![
        case("text/plain; charset=utf-16", "/x", utf16(&text, false, true)),
        case("text/plain; charset=\"UTF-16BE\"", "/x", utf16(&text, false, false)),
        case("text/html; charset=utf-32", "/x", utf32(&text)),
        case("text/plain; charset=utf-7", "/x", &utf7),
        case("text/plain; charset=ibm037", "/x", b"\xD2\xC5\xE8"),
        case("text/plain; charset=iso-2022-kr", "/x", &text),
        case("application/json; charset=utf-16le", "/x", utf16(&json, false, true)),
        case("text/plain; format=flowed; Charset = utf-16", "/x", utf16(&text, false, true)),
        case("text/plain; charset=utf-8; charset=utf-16", "/x", utf16(&text, false, true)),
        case("text/plain", "/x", utf16(&text, true, true)),
        case("text/plain", "/x", utf16(&text, true, false)),
        case("text/csv", "/x", utf16(&text, false, true)),
        case("application/xml", "/x", utf16(&xml, false, false)),
        case("application/json", "/x", utf16(&json, true, true)),
        case("application/json", "/x", utf16(&json, false, false)),
        case("application/json", "/x", utf32(&json)),
        case("application/x-ndjson", "/x", utf16(&json, false, true)),
        case("text/event-stream", "/x", utf16(&text, true, true)),
        case("application/x-www-form-urlencoded", "/x", utf16(&text, false, true)),
        case("", "/x", utf16(&json, false, true)),
        case("", "/x", utf32(&text)),
        case("application/json, text/plain", "/x", &json),
        case("application/grpc+json", "/x", framed(0, json.as_bytes())),
        case("multipart/byteranges; boundary=x", "/x", &text),
    ]
}

fn assert_refused(response: &Message, status: u16, what: &str) {
    assert_eq!(response.status(), status, "{what}: {response:?}");
    assert_eq!(response.json()["code"], "unmaskable", "{what}");
}

#[test]
fn what_hides_text_is_refused_both_ways() {
    // Also where a fault of the format is not a reason to refuse: scanned as text it would be hidden.
    for (io, on_error) in [("uring", "block"), ("epoll", "text")] {
        let upstream = Upstream::answering(|request| {
            request.head.field("x-case").map_or_else(
                || ok("text/plain", "it left"),
                |at| {
                    let case = hidden().swap_remove(at.parse().expect("a number"));
                    ok(case.kind, case.body)
                },
            )
        });
        let gateway = with_on_error(&upstream.url(), io, on_error);
        for (at, Case { kind, path, body }) in hidden().into_iter().enumerate() {
            let what = format!("{io} {kind} {at}");
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(post(path, kind, &body));
            assert_refused(&response, 415, &what);
            let mut client = Wire::connect(gateway.address);
            let response = client.exchange(format!("GET /x HTTP/1.1\r\nhost: test\r\nx-case: {at}\r\n\r\n"));
            // The head of events does not wait for the first one.
            if kind == "text/event-stream" {
                assert_eq!((response.body.len(), response.end), (0, End::Truncated), "{what}");
            } else {
                assert_refused(&response, 502, &what);
            }
        }
        let left = upstream.take_requests();
        assert!(left.iter().all(|r| r.head.method() == "GET"), "{io}: a body that hides text left whole");
    }
}

fn with_on_error(upstream: &str, io: &'static str, on_error: &str) -> Gateway {
    Gateway::with_keys(upstream, io, &["--on-error", on_error])
}

/// Bodies that stop being what their type says, values on either side of where they do.
fn broken() -> Vec<Case> {
    let good = format!("{{\"key\":\"{SECRET}\",\"n\":1}}");
    vec![
        case("application/json", "/x", format!("{good} and {SECRET}")),
        case("application/json", "/x", format!("{{\"a\": {SECRET}}}")),
        case("application/json", "/x", format!("{{\"a\": \"{SECRET}")),
        case("application/json", "/x", format!("key {SECRET}")),
        case("application/x-ndjson", "/x", format!("{good}\n{good}{{\n{SECRET}\n")),
        case("application/vnd.x+json", "/x", format!("[{good},]{SECRET}")),
    ]
}

fn sent_in_pieces(case: &Case, piece: usize, path: &str) -> Vec<Vec<u8>> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-type: {}\r\ncontent-length: {}\r\n\r\n",
        case.kind,
        case.body.len()
    );
    [head.into_bytes()].into_iter().chain(case.body.chunks(piece).map(<[u8]>::to_vec)).collect()
}

#[test]
fn a_body_that_is_not_what_its_type_says_is_blocked_or_scanned() {
    for io in DRIVERS {
        for on_error in ["block", "text"] {
            for case in broken() {
                let what = format!("{io} {on_error} {:?}", String::from_utf8_lossy(&case.body));
                let answer = ok(case.kind, &case.body);
                let upstream = Upstream::answering(move |request| match request.head.method() {
                    "GET" => answer.clone(),
                    _ => ok("text/plain", "it left"),
                });
                let gateway = with_on_error(&upstream.url(), io, on_error);
                for piece in [1, case.body.len()] {
                    let mut client = Wire::connect(gateway.address);
                    for part in sent_in_pieces(&case, piece, "/x") {
                        if !client.try_send(part) {
                            break;
                        }
                    }
                    let response = client.message();
                    let requests = upstream.take_requests();
                    if on_error == "block" {
                        assert_eq!(response.status(), 415, "{what}");
                        assert!(requests.is_empty(), "{what}: it left");
                    } else {
                        assert_eq!(response.text(), "it left", "{what}");
                        assert_scanned(&requests[0], &case, &what);
                    }
                }
                let mut client = Wire::connect(gateway.address);
                let response = client.exchange("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
                if on_error == "block" {
                    let refused = response.status() == 502 || response.end == End::Truncated;
                    assert!(refused && !holds_secret(&response.body), "{what}");
                } else {
                    assert_scanned(&response, &case, &what);
                }
            }
        }
    }
}

/// All of it came, and every value in it is masked.
fn assert_scanned(message: &Message, case: &Case, what: &str) {
    let expected = String::from_utf8_lossy(&case.body).replace(SECRET, MASKED);
    assert_eq!((message.text(), message.end), (expected.as_str(), End::Complete), "{what}");
}

#[test]
fn what_decodes_is_blocked_whatever_is_asked_for() {
    let upstream = Upstream::answering(|_| ok("text/plain", "it left"));
    let gateway = with_on_error(&upstream.url(), "uring", "text");
    for (kind, body) in [
        ("application/grpc", [framed(0, &field(1, "x")), SECRET.as_bytes().to_vec()].concat()),
        ("application/x-protobuf", format!("key {SECRET}").into_bytes()),
        ("application/vnd.amazon.eventstream", SECRET.repeat(4).into_bytes()),
    ] {
        let mut client = Wire::connect(gateway.address);
        assert_eq!(client.exchange(post("/x", kind, body)).status(), 415, "{kind}");
    }
    assert!(upstream.take_requests().is_empty());
}
