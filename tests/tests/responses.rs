//! Upstreams that misbehave: nothing of theirs is taken for a complete message, or for another client's.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Wire};

const GET: &str = "GET /r HTTP/1.1\r\nhost: test\r\n\r\n";

/// Responses that are refused by their head.
const BAD_HEADS: &[(&str, &str)] = &[
    ("no response at all", ""),
    ("not HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n"),
    ("half a head", "HTTP/1.1 200 OK\r\ncontent-type: text/pl"),
    ("a status that is no number", "HTTP/1.1 2x0 OK\r\ncontent-length: 0\r\n\r\n"),
    ("a status below 100", "HTTP/1.1 099 Low\r\ncontent-length: 0\r\n\r\n"),
    (
        "length and chunked",
        "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!"),
    ("a length that is no number", "HTTP/1.1 200 OK\r\ncontent-length: five\r\n\r\nhello"),
    ("a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nhello"),
    (
        "a coding we don't know",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ),
    ("a NUL in a field", "HTTP/1.1 200 OK\r\nx: a\0b\r\ncontent-length: 0\r\n\r\n"),
    ("another protocol", "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"),
];

/// Responses that are cut short or broken after their head.
const BAD_BODIES: &[(&str, &str)] = &[
    ("shorter than its length", "content-length: 50\r\n\r\nshort of it "),
    ("chunked and cut between chunks", "transfer-encoding: chunked\r\n\r\n6\r\nshort \r\n"),
    ("chunked and cut in a chunk", "transfer-encoding: chunked\r\n\r\n50\r\nshort of it "),
    ("chunked and cut before its last line", "transfer-encoding: chunked\r\n\r\n6\r\nshort \r\n0\r\n"),
    (
        "chunked with a size that is no number",
        "transfer-encoding: chunked\r\n\r\n6\r\nshort \r\nzz\r\nof it\r\n0\r\n\r\n",
    ),
    ("chunked with data over its size", "transfer-encoding: chunked\r\n\r\n5\r\nshort of it\r\n0\r\n\r\n"),
];

#[test]
fn a_head_that_is_no_response_becomes_502() {
    for io in DRIVERS {
        for (what, response) in BAD_HEADS {
            let upstream = Upstream::bind();
            let gateway = Gateway::with_driver(&upstream.url(), io);
            let mut client = Wire::connect(gateway.address);
            client.send(
                "POST /r HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nhi",
            );
            let mut server = upstream.accept();
            let head = server.head();
            server.body_of(head);
            server.send(response);
            drop(server);
            let refusal = client.message();
            assert_eq!(refusal.status(), 502, "{io}: {what}");
            assert!(!refusal.text().contains("hello"), "{io}: {what}: {}", refusal.text());
        }
    }
}

#[test]
fn a_body_that_breaks_off_is_never_complete_downstream() {
    for io in DRIVERS {
        for (what, response) in BAD_BODIES {
            let upstream = Upstream::bind();
            let gateway = Gateway::with_driver(&upstream.url(), io);
            let mut client = Wire::connect(gateway.address);
            client.send(GET);
            let mut server = upstream.accept();
            server.head();
            server.send(format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n{response}"));
            drop(server);
            let head = client.head();
            if head.status() == 200 {
                assert_eq!(client.body_of(head).end, End::Truncated, "{io}: {what}");
            } else {
                assert_eq!(head.status(), 502, "{io}: {what}");
            }
        }
    }
}

#[test]
fn a_client_of_http_1_0_is_told_of_a_body_that_breaks_off() {
    // It can only be told by a reset, as a body without a length is complete at an orderly end.
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /r HTTP/1.0\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 50\r\n\r\nshort of it ");
        drop(server);
        let head = client.head();
        if head.status() == 200 && head.length().is_none() {
            assert!(client.ends_by_reset(), "{io}: a broken body ended in good order");
        }
    }
}

#[test]
fn bytes_after_a_response_are_nobodys_answer() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send(GET);
        let mut server = upstream.accept();
        server.head();
        let planted = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 7\r\n\r\nplanted";
        server.send(format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nok{planted}"
        ));
        assert_eq!(client.message().text(), "ok", "{io}");
        // The next request goes over another connection, and gets its own answer.
        client.send(GET);
        let mut other = upstream.accept();
        other.head();
        other.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 3\r\n\r\nown");
        assert_eq!(client.message().text(), "own", "{io}");
    }
}

#[test]
fn interim_responses_are_not_the_answer() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send(GET);
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n");
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nfinal");
        let response = client.message();
        assert_eq!((response.status(), response.text()), (200, "final"), "{io}");
    }
}
