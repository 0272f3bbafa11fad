//! Exchanges as well-behaved clients and upstreams make them, on both I/O drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::time::Duration;

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Message, Wire, ok, post};

/// Answers with what came: method, target and body.
fn echo(request: &Message) -> Vec<u8> {
    let mut body = format!("{} {} ", request.head.method(), request.head.target()).into_bytes();
    body.extend_from_slice(&request.body);
    ok("text/plain", body)
}

/// Reads what is left of a request whose head was read.
fn request_of(wire: &mut Wire) -> Message {
    let head = wire.head();
    wire.body_of(head)
}

#[test]
fn many_requests_share_one_connection_on_either_side() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        for i in 0..100 {
            let response = client.exchange(post(&format!("/n/{i}?q={i}"), "text/plain", format!("body {i}")));
            assert_eq!(response.status(), 200, "{io}");
            assert_eq!(response.text(), format!("POST /n/{i}?q={i} body {i}"), "{io}");
            assert_eq!(response.end, End::Complete, "{io}");
            assert!(response.head.field("sluice-request-id").is_some(), "{io}: {:?}", response.head);
        }
        assert_eq!(upstream.take_requests().len(), 100, "{io}");
        assert_eq!(upstream.connections(), 1, "{io}: the upstream connection is used again");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let mut all = Vec::new();
        for i in 0..20 {
            all.extend(post(&format!("/{i}"), "text/plain", "x".repeat(i)));
            all.extend_from_slice(format!("GET /g{i} HTTP/1.1\r\nhost: test\r\n\r\n").as_bytes());
        }
        client.send(&all);
        for i in 0..20 {
            assert_eq!(client.message().text(), format!("POST /{i} {}", "x".repeat(i)), "{io}");
            assert_eq!(client.message().text(), format!("GET /g{i} "), "{io}");
        }
    }
}

#[test]
fn a_request_may_come_one_byte_at_a_time() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let chunked = b"POST /c HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n\
            5;ext=1\r\nhello\r\n6\r\n world\r\n0\r\n\r\n";
        for byte in post("/slow", "text/plain", "in pieces").iter().chain(chunked) {
            client.send([*byte]);
        }
        assert_eq!(client.message().text(), "POST /slow in pieces", "{io}");
        assert_eq!(client.message().text(), "POST /c hello world", "{io}");
    }
}

#[test]
fn a_chunked_request_reaches_upstream_whole() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("POST /up HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send_chunk("first words ");
        let mut server = upstream.accept();
        let head = server.head();
        assert_eq!(head.method(), "POST", "{io}");
        assert!(head.is_chunked(), "{io}: a length that may change is chunked: {head:?}");
        let first = server.try_chunk().expect("the first words stream on");
        assert!(first.starts_with(b"first "), "{io}: {first:?}");
        client.send_chunk("and last.");
        client.send("0\r\n\r\n");
        let rest = server.body_of(head);
        assert_eq!([first, rest.body].concat(), b"first words and last.", "{io}");
        assert_eq!(rest.end, End::Complete, "{io}");
        server.send(ok("text/plain", "done"));
        assert_eq!(client.message().text(), "done", "{io}");
    }
}

#[test]
fn an_expectation_is_answered_before_the_body() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        for _ in 0..3 {
            client.send(
                "POST /e HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n",
            );
            assert_eq!(client.head().status(), 100, "{io}");
            client.send("hello");
            assert_eq!(client.message().text(), "POST /e hello", "{io}");
        }
    }
}

#[test]
fn an_expectation_may_be_met_by_a_body_that_does_not_wait() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send(
            "POST /e HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\nhello",
        );
        // `message` leaves out a 100 where one comes.
        assert_eq!(client.message().text(), "POST /e hello", "{io}");
    }
}

#[test]
fn messages_without_a_body_have_none() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| match request.head.target() {
            "/204" => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            "/304" => b"HTTP/1.1 304 Not Modified\r\netag: \"1\"\r\ncontent-length: 5\r\n\r\n".to_vec(),
            "/head" => b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n".to_vec(),
            "/empty" => b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_vec(),
            _ => echo(request),
        });
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        for round in 0..2 {
            client.send("HEAD /head HTTP/1.1\r\nhost: test\r\n\r\n");
            assert_eq!(client.head().status(), 200, "{io}");
            for status in [204, 304] {
                let response = client.exchange(format!("GET /{status} HTTP/1.1\r\nhost: test\r\n\r\n"));
                assert_eq!((response.status(), response.body.len()), (status, 0), "{io} {round}");
            }
            let response = client.exchange("GET /empty HTTP/1.1\r\nhost: test\r\n\r\n");
            assert_eq!((response.body.len(), response.end), (0, End::Complete), "{io}");
            let response = client.exchange(post("/last", "text/plain", ""));
            assert_eq!(response.text(), "POST /last ", "{io}: the connection still stands at a message");
        }
    }
}

#[test]
fn a_chunked_response_with_trailers_ends_complete() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| {
            match request.head.target() {
            "/t" => b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n\
                5\r\nhello\r\n0\r\nx-sum: 42\r\n\r\n"
                .to_vec(),
            _ => echo(request),
        }
        });
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET /t HTTP/1.1\r\nhost: test\r\nte: trailers\r\n\r\n");
        assert_eq!((response.text(), response.end), ("hello", End::Complete), "{io}");
        let known = [("x-sum".to_owned(), "42".to_owned())];
        assert!(response.trailers.iter().all(|t| known.contains(t)), "{io}: {:?}", response.trailers);
        let chunked = b"POST /u HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n\
            2\r\nhi\r\n0\r\nx-sum: 7\r\n\r\n";
        assert_eq!(
            client.exchange(chunked).text(),
            "POST /u hi",
            "{io}: the connection still stands at a message"
        );
    }
}

#[test]
fn fields_of_one_hop_do_not_travel() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| {
            b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 2\r\nconnection: x-hop\r\nx-hop: 1\r\n\
              keep-alive: timeout=5\r\nproxy-authenticate: Basic\r\nx-kept: yes\r\n\r\nok"
                .to_vec()
        });
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange(
            "GET /h HTTP/1.1\r\nhost: test\r\nconnection: x-mine, keep-alive\r\nx-mine: 1\r\nkeep-alive: 5\r\n\
             proxy-connection: keep-alive\r\nproxy-authorization: Basic eA==\r\nupgrade: h2c\r\nx-kept: yes\r\n\r\n",
        );
        assert_eq!(response.text(), "ok", "{io}");
        for gone in ["x-hop", "keep-alive", "proxy-authenticate"] {
            assert!(response.head.field(gone).is_none(), "{io}: {gone} came downstream");
        }
        assert_eq!(response.head.field("x-kept"), Some("yes"), "{io}");
        let request = upstream.take_requests().pop().expect("one request");
        for gone in ["x-mine", "keep-alive", "proxy-connection", "proxy-authorization", "upgrade"] {
            assert!(request.head.field(gone).is_none(), "{io}: {gone} went upstream");
        }
        assert_eq!(request.head.field("x-kept"), Some("yes"), "{io}");
        assert_eq!(request.head.fields.iter().filter(|(n, _)| n == "host").count(), 1, "{io}: one host");
    }
}

#[test]
fn a_client_that_asks_to_close_is_closed() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET /c HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        assert_eq!(response.text(), "GET /c ", "{io}");
        assert!(client.is_at_end(), "{io}");
    }
}

#[test]
fn a_client_of_http_1_0_gets_a_body_that_ends_with_its_connection() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET /old HTTP/1.0\r\n\r\n");
        assert!(!response.head.is_chunked(), "{io}: HTTP/1.0 knows no chunks");
        assert_eq!(response.text(), "GET /old ", "{io}");
        assert!(client.is_at_end(), "{io}");
    }
}

#[test]
fn a_response_without_a_length_ends_with_its_connection() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /close HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        request_of(&mut server);
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\nuntil the ");
        server.send("end");
        drop(server);
        let response = client.message();
        assert_eq!((response.text(), response.end), ("until the end", End::Complete), "{io}");
    }
}

#[test]
fn a_response_may_come_before_the_request_ends() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("POST /early HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
        client.send_chunk("so far ");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 403 Forbidden\r\ncontent-type: text/plain\r\ncontent-length: 2\r\n\r\nno");
        let response = client.message();
        assert_eq!((response.status(), response.text()), (403, "no"), "{io}");
    }
}

#[test]
fn a_request_cut_short_is_never_complete_upstream() {
    for io in DRIVERS {
        for request in [
            "POST /cut HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: 50\r\n\r\nonly this ",
            "POST /cut HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\na\r\nonly this \r\n",
        ] {
            let upstream = Upstream::bind();
            let gateway = Gateway::with_driver(&upstream.url(), io);
            let mut client = Wire::connect(gateway.address);
            client.send(request);
            let mut server = upstream.accept();
            let head = server.head();
            drop(client);
            assert_eq!(server.body_of(head).end, End::Truncated, "{io}: {request}");
        }
    }
}

#[test]
fn a_client_that_leaves_ends_its_upstream_exchange() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /leave HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        request_of(&mut server);
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
        server.send_chunk("first ");
        client.read_until(b"first ");
        drop(client);
        // The gateway closes the connection although upstream has more to say.
        let mut sent = 0;
        while server.try_send(
            b"400\r\n".iter().chain([b'x'; 1024].iter()).chain(b"\r\n").copied().collect::<Vec<_>>(),
        ) {
            sent += 1;
            assert!(sent < 1_000_000, "{io}: upstream talks to nobody");
        }
        // And still serves others.
        let mut other = Wire::connect(gateway.address);
        other.send("GET /other HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        request_of(&mut server);
        server.send(ok("text/plain", "still here"));
        assert_eq!(other.message().text(), "still here", "{io}");
    }
}

#[test]
fn a_pooled_connection_that_upstream_closed_is_not_an_error() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        for round in 0..3 {
            client.send("GET /again HTTP/1.1\r\nhost: test\r\n\r\n");
            let mut server = upstream.try_accept(Duration::from_secs(10)).expect("a new connection is made");
            request_of(&mut server);
            server.send(ok("text/plain", format!("{round}")));
            assert_eq!(client.message().text(), format!("{round}"), "{io}");
            // Closed by upstream with no word of it in the response.
            drop(server);
        }
    }
}

#[test]
fn an_upstream_with_a_base_path_gets_it_before_the_target() {
    for io in DRIVERS {
        let upstream = Upstream::answering(echo);
        let gateway = Gateway::with_driver(&format!("{}/base", upstream.url()), io);
        let mut client = Wire::connect(gateway.address);
        assert_eq!(
            client.exchange("GET /v1/x?y=1 HTTP/1.1\r\nhost: test\r\n\r\n").text(),
            "GET /base/v1/x?y=1 ",
            "{io}"
        );
    }
}
