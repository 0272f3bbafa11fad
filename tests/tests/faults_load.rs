//! Many connections at once: what an idle one costs, what happens when there are no more descriptors, and what is left
//! when all have gone; on both I/O drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;
use std::thread;
use std::time::Instant;

use sluice_tests::DRIVERS;
use sluice_tests::checkout::long_runs;
use sluice_tests::observed::{assert_well, descriptors, metric, reset, resident_kib, wait_for};
use sluice_tests::process::Gateway;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{WAIT, Wire, ok, post};

/// What an idle connection may cost.
const IDLE_KIB_MAX: u64 = 16;

const GET: &str = "GET /f HTTP/1.1\r\nhost: test\r\n\r\n";

fn connections(address: std::net::SocketAddr, count: usize, exchange: bool) -> Vec<Wire> {
    let mut clients: Vec<Wire> = Vec::with_capacity(count);
    for _ in 0..count {
        let mut client = Wire::connect(address);
        if exchange {
            assert_eq!(client.exchange(GET).text(), "answered");
        }
        clients.push(client);
    }
    clients
}

#[test]
fn an_idle_connection_costs_little() {
    let count = if long_runs() { 10_000 } else { 1_000 };
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let mut gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let pid = gateway.server.pid();
        // What is made once: scratch memory, pools, the allocator's pages.
        drop(connections(gateway.address, 100, true));
        wait_for(&gateway, "sluice_connections_open", |open| open == 0);
        for exchange in [true, false] {
            let before = resident_kib(pid);
            let clients = connections(gateway.address, count, exchange);
            wait_for(&gateway, "sluice_connections_open", |open| open == count as u64);
            let each = resident_kib(pid).saturating_sub(before) as f64 / count as f64;
            println!("{io}: {each:.1} KiB for each of {count} idle connections, used before: {exchange}");
            assert!(each <= IDLE_KIB_MAX as f64, "{io}: {each} KiB each, used before: {exchange}");
            drop(clients);
            assert_well(&mut gateway, io);
        }
        assert_eq!(Wire::connect(gateway.address).exchange(GET).text(), "answered", "{io}");
    }
}

#[test]
fn without_descriptors_it_waits_and_goes_on() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "answered"));
        let mut gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        assert_eq!(Wire::connect(gateway.address).exchange(GET).text(), "answered", "{io}");
        wait_for(&gateway, "sluice_connections_open", |open| open == 0);
        let pid = gateway.server.pid();
        let few = descriptors(pid) + 12;
        let limited =
            Command::new("prlimit").args([format!("--pid={pid}"), format!("--nofile={few}:{few}")]).status();
        assert!(limited.expect("prlimit runs").success());
        let mut clients: Vec<Wire> = (0..60).map(|_| Wire::connect(gateway.address)).collect();
        clients.iter_mut().for_each(|client| client.send(GET));
        // As many as can be are accepted; the others wait. Nothing of them is lost but time.
        let deadline = Instant::now() + WAIT;
        while descriptors(pid) < few && Instant::now() < deadline {
            thread::yield_now();
        }
        // An accept that was under way when the limit came has the one before (io_uring): one a shard.
        assert!(descriptors(pid) <= few + 2, "{io}");
        let mut statuses = Vec::new();
        while let Some(mut client) = clients.pop() {
            // A place that becomes free is taken by one that waits: the oldest, so they are dropped unread.
            if clients.len() < 3 {
                statuses.push(client.message().status());
            }
        }
        assert!(statuses.iter().all(|status| matches!(status, 200 | 502)), "{io}: {statuses:?}");
        wait_for(&gateway, "sluice_connections_open", |open| open == 0);
        assert_eq!(Wire::connect(gateway.address).exchange(GET).text(), "answered", "{io}");
        assert_well(&mut gateway, io);
    }
}

#[test]
fn many_that_break_off_leave_nothing() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|request| ok("text/plain", &request.body));
        let mut gateway = Gateway::with_keys(&upstream.url(), io, &[]);
        let pid = gateway.server.pid();
        let words = "words and words ".repeat(4096);
        let whole = |address| {
            assert_eq!(Wire::connect(address).exchange(post("/f", "text/plain", &words)).text(), words)
        };
        (0..20).for_each(|_| whole(gateway.address));
        let before = resident_kib(pid);
        for _ in 0..4 {
            let mut clients: Vec<Wire> = (0..100).map(|_| Wire::connect(gateway.address)).collect();
            for client in &mut clients {
                client.send("POST /f HTTP/1.1\r\nhost: test\r\ncontent-type: text/plain\r\ncontent-length: 1000000\r\n\r\n");
                client.send(&words);
            }
            clients.into_iter().for_each(reset);
        }
        assert_well(&mut gateway, io);
        let left = resident_kib(pid).saturating_sub(before);
        assert!(left < 32 * 1024, "{io}: {left} KiB are left");
        assert!(metric(&gateway, "sluice_aborted_total") > 0, "{io}");
        assert!(
            upstream.take_requests().iter().all(|r| r.body.len() == words.len()),
            "{io}: a cut request is whole"
        );
        whole(gateway.address);
    }
}
