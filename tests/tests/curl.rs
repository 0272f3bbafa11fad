//! `curl` as the client, whose HTTP is nobody's here: plain, chunked uploads, an expectation, HEAD.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::Write;
use std::process::{Command, Output, Stdio};

use sluice_tests::DRIVERS;
use sluice_tests::coding::{encoded, stacks};
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::ok;

/// Runs curl with this input; fails the test where curl does.
fn curl(gateway: &Gateway, path: &str, args: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new("curl")
        .args(["--silent", "--show-error", "--http1.1", "--max-time", "20"])
        .args(args)
        .arg(format!("http://{}{path}", gateway.address))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("curl is there");
    child.stdin.take().expect("a pipe").write_all(input).expect("curl reads");
    let output = child.wait_with_output().expect("curl ends");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

const KEY: &str = "the key AKIAEZH5VTGLTMQAZX6T is here. ";
const MASKED: &str = "the key [aws_access_key] is here. ";

#[test]
fn uploads_of_every_kind_are_masked() {
    for io in DRIVERS {
        let upstream =
            Upstream::answering(|request| ok("text/plain", format!("{} bytes", request.body.len())));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let (large, expected) = (KEY.repeat(50_000), MASKED.repeat(50_000));
        let text = ["--header", "content-type: text/plain"];
        for (what, args) in [
            ("sized", &["--data-binary", "@-"][..]),
            ("chunked, from a pipe", &["--upload-file", "-", "--request", "POST"]),
            ("chunked, by request", &["--data-binary", "@-", "--header", "transfer-encoding: chunked"]),
            ("with an expectation", &["--data-binary", "@-", "--header", "expect: 100-continue"]),
        ] {
            let args: Vec<&str> = args.iter().chain(&text).copied().collect();
            let output = curl(&gateway, "/up", &args, large.as_bytes());
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                format!("{} bytes", expected.len()),
                "{io}: {what}"
            );
            let request = upstream.take_requests().pop().expect("a request");
            assert!(request.text() == expected, "{io}: {what}: the body is not as it should be");
        }
    }
}

#[test]
fn downloads_are_masked_and_head_has_no_body() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| match request.head.method() {
            "HEAD" => b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 38\r\n\r\n".to_vec(),
            _ => ok("text/plain", KEY.repeat(10_000)),
        });
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let output = curl(&gateway, "/down", &[], b"");
        assert!(output.stdout == MASKED.repeat(10_000).as_bytes(), "{io}");
        let output = curl(&gateway, "/down", &["--head"], b"");
        assert!(String::from_utf8_lossy(&output.stdout).starts_with("HTTP/1.1 200"), "{io}");
        // Two transfers over one connection.
        let second = format!("http://{}/again", gateway.address);
        let output = curl(&gateway, "/down", &["--write-out", "%{num_connects} ", &second], b"");
        assert!(
            String::from_utf8_lossy(&output.stdout).ends_with("0 "),
            "{io}: the connection is used again"
        );
    }
}

#[test]
fn a_form_is_masked() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "ok"));
        let gateway = Gateway::with_driver(&upstream.url(), io);
        curl(&gateway, "/form", &["--data-urlencode", &format!("note={KEY}"), "--data", "a=1"], b"");
        let request = upstream.take_requests().pop().expect("a request");
        assert!(!request.text().contains("AKIA"), "{io}: {}", request.text());
        assert!(
            request.text().starts_with("note=") && request.text().ends_with("&a=1"),
            "{io}: {}",
            request.text()
        );
    }
}

#[test]
fn what_curl_asks_for_coded_it_can_decode() {
    for io in DRIVERS {
        for (field, codings) in stacks() {
            let coded = encoded(&codings, KEY.repeat(5_000));
            let upstream = Upstream::answering(move |_| {
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-encoding: {field}\r\ncontent-length: {}\r\n\r\n",
                    coded.len()
                );
                [head.as_bytes(), &coded].concat()
            });
            let gateway = Gateway::with_keys(&upstream.url(), io, &[]);
            let output = curl(&gateway, "/coded", &["--compressed"], b"");
            assert!(output.stdout == MASKED.repeat(5_000).as_bytes(), "{io} {field}: not as it should be");
        }
    }
}
