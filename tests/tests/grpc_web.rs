//! gRPC-Web: messages masked both ways over either version of HTTP, trailers that are a part of the body passed, and refusals
//! told as gRPC-Web tells them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::protobuf::{field, framed};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Message, ok, post};

const KEY: &str = "AKIAEZH5VTGLTMQAZX6T";
const KINDS: [&str; 2] = ["application/grpc-web", "application/grpc-web+proto"];

fn message() -> Vec<u8> {
    framed(0, &field(1, format!("the key {KEY} is here")))
}

/// The frame of trailers that ends an answer (gRPC-Web's protocol, "Message framing").
fn trailers() -> Vec<u8> {
    framed(0x80, b"grpc-status:0\r\ngrpc-message:fine\r\n")
}

fn holds(bytes: &[u8], what: &[u8]) -> bool {
    bytes.windows(what.len()).any(|window| window == what)
}

fn assert_masked(body: &[u8], what: &str) {
    assert!(!holds(body, KEY.as_bytes()), "{what}: the key is there");
    assert!(holds(body, b"the key ") && holds(body, b" is here"), "{what}: the rest is not");
}

#[test]
fn messages_are_masked_and_trailers_in_the_body_pass() {
    for io in DRIVERS {
        for kind in KINDS {
            let what = format!("{io} {kind}");
            let upstream =
                Upstream::answering(move |_: &Message| ok(kind, [message(), message(), trailers()].concat()));
            let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
            let mut client = sluice_tests::wire::Wire::connect(gateway.address);
            let answer = client.exchange(post("/pkg.Service/Method", kind, message()));
            assert_eq!((answer.status(), answer.head.field("content-type")), (200, Some(kind)), "{what}");
            assert_masked(&answer.body, &what);
            // Messages keep their lengths, and so what is behind them stays where it was.
            assert_eq!(answer.body.len(), 2 * message().len() + trailers().len(), "{what}");
            assert!(answer.body.ends_with(&trailers()), "{what}");
            let request = upstream.take_requests().pop().expect("one request");
            assert_masked(&request.body, &what);
            assert_eq!(request.body.len(), message().len(), "{what}");
        }
    }
}

#[test]
fn what_can_not_be_masked_is_refused_as_grpc_web_tells_it() {
    let upstream = Upstream::answering(|_| ok("application/grpc-web", Vec::new()));
    let gateway = Gateway::with_keys(&upstream.url(), "uring", &[]);
    // Text that is base64 of messages.
    let mut client = sluice_tests::wire::Wire::connect(gateway.address);
    let answer = client.exchange(post("/pkg.Service/Method", "application/grpc-web-text", "AAAAAAA="));
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.head.field("grpc-status"), Some("3"), "INVALID_ARGUMENT: {:?}", answer.head);
    assert!(upstream.take_requests().is_empty());
}
