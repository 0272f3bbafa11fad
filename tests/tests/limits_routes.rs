//! Rates and places of routes: what is over them is refused or waits, and each route has its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::configured::Configured;
use sluice_tests::upstream::Upstream;
use sluice_tests::wire::{Wire, ok};

const GET: &str = "GET /limited/x HTTP/1.1\r\nhost: test\r\n\r\n";

/// One shard, so that its share is the whole; beside the limited route one that takes all else.
fn start(io: &str, upstream: &str, limit: &str) -> Configured {
    let route = format!(
        "path = \"/limited\"\n{limit}\n\n[[route]]\nname = \"free\"\nupstream = \"only\"\npacks = [\"rules.toml\"]"
    );
    let text = Configured::text(io, "", &format!("url = \"{upstream}\""), &route);
    Configured::start(&text.replace("shards = 2", "shards = 1"))
}

#[test]
fn a_rate_holds_for_its_route_alone_and_is_told() {
    for io in DRIVERS {
        let upstream = Upstream::answering(|_| ok("text/plain", "ok"));
        let limit = "rate = { requests = 5, window_ms = 3_600_000 }";
        let gateway = start(io, &upstream.url(), limit);
        let statuses: Vec<u16> = (0..8).map(|_| gateway.get("/limited/x").status()).collect();
        assert_eq!(statuses, [200, 200, 200, 200, 200, 429, 429, 429], "{io}");
        let refused = gateway.get("/limited/x");
        let seconds: u64 = refused.head.field("retry-after").expect("a time").parse().expect("seconds");
        assert!((1..=720).contains(&seconds), "{io}: {seconds}");
        assert_eq!(refused.json()["code"], "rate_limited", "{io}");
        assert_eq!(gateway.get("/other").status(), 200, "{io}");
        assert_eq!(upstream.take_requests().len(), 6, "{io}");
        assert_eq!(gateway.metric("sluice_refusals_total{code=\"rate_limited\"}"), 4, "{io}");
        assert_eq!(gateway.metric("sluice_route_requests_total{route=\"all\"}"), 9, "{io}");
        assert_eq!(gateway.metric("sluice_route_requests_total{route=\"free\"}"), 1, "{io}");
    }
}

#[test]
fn a_burst_is_smaller_than_the_rate_where_it_is_said() {
    let upstream = Upstream::answering(|_| ok("text/plain", "ok"));
    let limit = "rate = { requests = 100, window_ms = 3_600_000, burst = 2 }";
    let gateway = start("uring", &upstream.url(), limit);
    let statuses: Vec<u16> = (0..3).map(|_| gateway.get("/limited/x").status()).collect();
    assert_eq!(statuses, [200, 200, 429]);
}

#[test]
fn a_rate_outlives_a_reload_that_does_not_change_it() {
    let upstream = Upstream::answering(|_| ok("text/plain", "ok"));
    let gateway = start("uring", &upstream.url(), "rate = { requests = 1, window_ms = 3_600_000 }");
    assert_eq!(gateway.get("/limited/x").status(), 200);
    assert_eq!(gateway.reload("").status(), 200);
    assert_eq!(gateway.get("/limited/x").status(), 429);
}

/// A request that runs, with its upstream's side.
fn running(gateway: &Configured, upstream: &Upstream) -> (Wire, Wire) {
    let mut client = Wire::connect(gateway.address);
    client.send(GET);
    let mut server = upstream.accept();
    server.head();
    (client, server)
}

#[test]
fn who_is_over_the_places_waits_in_turn_and_who_is_over_the_queue_is_refused() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let limit = "concurrency = { exchanges_max = 1, queue_max = 1, queue_ms_max = 60_000 }";
        let gateway = start(io, &upstream.url(), limit);
        let (mut first, mut server) = running(&gateway, &upstream);
        let mut second = Wire::connect(gateway.address);
        second.send(GET);
        gateway.wait_for("sluice_requests_total", |n| n == 2);
        let refused = gateway.get("/limited/x");
        assert_eq!((refused.status(), refused.head.field("retry-after").is_some()), (503, true), "{io}");
        server.send(ok("text/plain", "first"));
        assert_eq!(first.message().text(), "first", "{io}");
        server.head();
        server.send(ok("text/plain", "second"));
        assert_eq!(second.message().text(), "second", "{io}");
        assert_eq!(gateway.metric("sluice_refusals_total{code=\"overloaded\"}"), 1, "{io}");
    }
}

#[test]
fn who_waits_too_long_is_refused_and_other_routes_go_on() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let limit = "concurrency = { exchanges_max = 1, queue_max = 5, queue_ms_max = 50 }";
        let gateway = start(io, &upstream.url(), limit);
        let (mut first, mut server) = running(&gateway, &upstream);
        assert_eq!(gateway.get("/limited/x").status(), 503, "{io}");
        let mut free = Wire::connect(gateway.address);
        free.send("GET /free HTTP/1.1\r\nhost: test\r\n\r\n");
        let mut beside = upstream.accept();
        beside.head();
        beside.send(ok("text/plain", "free"));
        assert_eq!(free.message().text(), "free", "{io}");
        server.send(ok("text/plain", "first"));
        assert_eq!(first.message().text(), "first", "{io}");
    }
}

#[test]
fn a_client_that_leaves_gives_its_place_back() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let limit = "concurrency = { exchanges_max = 1 }";
        let gateway = start(io, &upstream.url(), limit);
        let (first, mut server) = running(&gateway, &upstream);
        assert_eq!(gateway.get("/limited/x").status(), 503, "{io}");
        sluice_tests::observed::reset(first);
        assert!(server.is_at_end(), "{io}: the upstream's exchange is ended");
        let (mut next, mut server) = running(&gateway, &upstream);
        server.send(ok("text/plain", "next"));
        assert_eq!(next.message().text(), "next", "{io}");
    }
}
