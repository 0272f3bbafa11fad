//! SIGTERM: what runs is finished, nothing new is accepted, and the exit says that all went well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::ffi::OsString;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use sluice_tests::DRIVERS;
use sluice_tests::process::{Build, Gateway, Server};
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{End, Wire, ok};

/// Waits until nobody accepts connections there any more.
fn wait_until_refused(gateway: &Gateway) {
    let deadline = Instant::now() + Duration::from_secs(15);
    while TcpStream::connect_timeout(&gateway.address, Duration::from_secs(1)).is_ok() {
        assert!(Instant::now() < deadline, "a draining gateway still accepts connections");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

#[test]
fn a_running_stream_is_finished_and_nothing_new_accepted() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /s HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        server.send("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ntransfer-encoding: chunked\r\n\r\n");
        server.send_chunk("before, ");
        client.head();
        let mut received = client.try_chunk().expect("the first words");

        gateway.server.signal("TERM");
        wait_until_refused(&gateway);
        assert!(gateway.server.is_running(), "{io}: the stream still runs");

        server.send_chunk("and after.");
        server.send("0\r\n\r\n");
        while let Some(data) = client.try_chunk() {
            if data.is_empty() {
                break;
            }
            received.extend(data);
        }
        assert_eq!(String::from_utf8_lossy(&received), "before, and after.", "{io}");
        assert_eq!(gateway.server.exit().code(), Some(0), "{io}");
    }
}

/// Whoever has read the address may send a signal: it must not come too early.
#[test]
fn a_signal_at_the_first_line_of_output_drains() {
    let args = ["serve", "--listen", "127.0.0.1:0", "--upstream", "http://127.0.0.1:9", "--allow-anonymous"];
    let args: Vec<OsString> = args.into_iter().chain(["--pack", "builtin:pii"]).map(OsString::from).collect();
    for _ in 0..10 {
        let mut server = Server::start(Build::Debug, &args);
        server.address("gateway");
        server.signal("TERM");
        assert_eq!(server.exit().code(), Some(0), "{:?}", server.printed());
    }
}

#[test]
fn an_idle_connection_is_closed() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "ok"));
        let mut gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        let response = client.exchange("GET / HTTP/1.1\r\nhost: test\r\n\r\n");
        assert_eq!((response.text(), response.end), ("ok", End::Complete), "{io}");
        gateway.server.signal("TERM");
        assert!(client.is_at_end(), "{io}");
        assert_eq!(gateway.server.exit().code(), Some(0), "{io}");
    }
}

#[test]
fn a_draining_gateway_is_not_ready() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let mut gateway = Gateway::with_driver(&upstream.url(), io);
        let mut client = Wire::connect(gateway.address);
        client.send("GET /s HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut server = upstream.accept();
        server.head();
        gateway.server.signal("TERM");
        wait_until_refused(&gateway);
        let mut admin = Wire::connect(gateway.admin);
        assert_eq!(admin.exchange("GET /readyz HTTP/1.1\r\nhost: localhost\r\n\r\n").status(), 503, "{io}");
        let mut admin = Wire::connect(gateway.admin);
        assert_eq!(admin.exchange("GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").status(), 200, "{io}");
        server.send(ok("text/plain", "done"));
        assert_eq!(client.message().text(), "done", "{io}");
        assert_eq!(gateway.server.exit().code(), Some(0), "{io}");
    }
}
