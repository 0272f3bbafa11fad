//! Several endpoints behind one upstream: how requests are spread, who is left out and comes back, what is tried again,
//! and where the circuit breaks.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use sluice_tests::DRIVERS;
use sluice_tests::configured::Configured;
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::{Wire, ok, post};

const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// An endpoint that says who it is, or 503 where `is_ill`.
fn endpoint(name: &'static str, is_ill: &Arc<AtomicBool>) -> Answering {
    let is_ill = Arc::clone(is_ill);
    Upstream::answering(move |_| match is_ill.load(Ordering::SeqCst) {
        true => UNAVAILABLE.to_vec(),
        false => ok("text/plain", name),
    })
}

fn well(name: &'static str) -> Answering {
    endpoint(name, &Arc::default())
}

/// Lines of an upstream with these endpoints, and more.
fn lines(endpoints: &[String], more: &str) -> String {
    let list: Vec<String> = endpoints.iter().map(|url| format!("\"{url}\"")).collect();
    format!("endpoints = [{}]\nauthority = \"pool.test\"\n{more}", list.join(", "))
}

/// An address where nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

fn one_shard(io: &str, upstream: &str, route: &str) -> Configured {
    Configured::start(&Configured::text(io, "", upstream, route).replace("shards = 2", "shards = 1"))
}

#[test]
fn requests_are_spread_over_endpoints_that_are_alike() {
    for io in DRIVERS {
        let all: Vec<Answering> = ["a", "b", "c"].map(well).into_iter().collect();
        let urls: Vec<String> = all.iter().map(Answering::url).collect();
        let gateway = one_shard(io, &lines(&urls, ""), "");
        let mut client = Wire::connect(gateway.address);
        for _ in 0..90 {
            assert_eq!(client.exchange("GET /x HTTP/1.1\r\nhost: test\r\n\r\n").status(), 200, "{io}");
        }
        for endpoint in &all {
            let requests = endpoint.take_requests();
            assert!((10..=60).contains(&requests.len()), "{io}: {} of 90", requests.len());
            assert!(requests.iter().all(|r| r.head.field("host") == Some("pool.test")), "{io}");
        }
    }
}

/// With two endpoints both are compared each time, so that one that answers nothing gets one request more than the other
/// has in flight.
#[test]
fn an_endpoint_that_is_busy_gets_less() {
    for io in DRIVERS {
        let (stuck, free) = (Upstream::bind(), well("free"));
        let gateway = one_shard(io, &lines(&[stuck.url(), free.url()], ""), "");
        let mut clients = Vec::new();
        let (mut waiting, mut answered) = (0, 0);
        for _ in 0..40 {
            let mut client = Wire::connect(gateway.address);
            client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
            // Whether it is answered tells where it went.
            client.stream().set_read_timeout(Some(std::time::Duration::from_secs(2))).expect("a timeout");
            match client.stream().peek(&mut [0]) {
                Ok(_) => {
                    assert_eq!(client.message().text(), "free", "{io}");
                    answered += 1;
                }
                Err(_) => {
                    waiting += 1;
                    clients.push(client);
                }
            }
            if waiting > 1 {
                break;
            }
        }
        assert!(waiting <= 1 && answered >= 39, "{io}: {waiting} wait, {answered} were answered");
    }
}

#[test]
fn an_endpoint_that_takes_no_connections_is_left_out_and_nobody_notices() {
    for io in DRIVERS {
        let up = well("up");
        let health = "health = { faults_max = 2, out_ms = 3_600_000, out_ms_max = 3_600_000 }";
        let gateway = one_shard(io, &lines(&[nowhere(), up.url()], health), "");
        for _ in 0..40 {
            // A request with a body too: nothing of it was sent to the one that is not there.
            let answer = Wire::connect(gateway.address).exchange(post("/x", "text/plain", "body"));
            assert_eq!((answer.status(), answer.text()), (200, "up"), "{io}");
        }
        assert_eq!(up.take_requests().len(), 40, "{io}");
        gateway.wait_for("sluice_upstream_outs_total{upstream=\"only\"}", |n| n == 1);
        gateway.wait_for("sluice_upstream_targets{upstream=\"only\",state=\"out\"}", |n| n == 1);
        gateway.wait_for("sluice_upstream_targets{upstream=\"only\",state=\"in\"}", |n| n == 1);
    }
}

#[test]
fn an_endpoint_that_answers_503_is_left_out_for_a_time() {
    for io in DRIVERS {
        let is_ill = Arc::new(AtomicBool::new(true));
        let (ill, fine) = (endpoint("ill", &is_ill), well("fine"));
        let health = "health = { faults_max = 3, out_ms = 200, out_ms_max = 200 }";
        let gateway = one_shard(io, &lines(&[ill.url(), fine.url()], health), "");
        let mut statuses = Vec::new();
        for _ in 0..40 {
            statuses.push(gateway.get("/x").status());
        }
        let faults = statuses.iter().filter(|status| **status == 503).count();
        assert!((3..=8).contains(&faults), "{io}: {faults} answers of an endpoint that is ill");
        is_ill.store(false, Ordering::SeqCst);
        drop(ill.take_requests());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(8);
        while ill.take_requests().is_empty() {
            assert_eq!(gateway.get("/x").status(), 200, "{io}");
            assert!(std::time::Instant::now() < deadline, "{io}: it does not come back");
        }
    }
}

#[test]
fn checks_take_an_endpoint_out_and_bring_it_in_again() {
    for io in DRIVERS {
        let is_ill = Arc::new(AtomicBool::new(false));
        let (one, other) = (endpoint("one", &is_ill), well("other"));
        let check = "check = { path = \"/health\", every_ms = 300, ms_max = 300, rises = 2, falls = 2 }";
        let health = format!("health = {{ faults_max = 0, {check} }}");
        let gateway = one_shard(io, &lines(&[one.url(), other.url()], &health), "");
        let out = "sluice_upstream_targets{upstream=\"only\",state=\"out\"}";
        is_ill.store(true, Ordering::SeqCst);
        gateway.wait_for(out, |n| n == 1);
        for _ in 0..20 {
            assert_eq!(gateway.get("/x").text(), "other", "{io}");
        }
        assert!(one.take_requests().iter().any(|r| r.head.target() == "/health"), "{io}");
        is_ill.store(false, Ordering::SeqCst);
        gateway.wait_for(out, |n| n == 0);
        let texts: Vec<String> = (0..40).map(|_| gateway.get("/x").text().to_owned()).collect();
        assert!(texts.iter().any(|text| text == "one"), "{io}: {texts:?}");
    }
}

/// Where all would be left out all are tried: a fault of the check must not be an outage.
#[test]
fn where_all_are_out_all_are_tried() {
    let is_ill = Arc::new(AtomicBool::new(true));
    let (one, other) = (endpoint("one", &is_ill), endpoint("other", &is_ill));
    let health = "health = { faults_max = 1, out_ms = 3_600_000, out_ms_max = 3_600_000 }";
    let gateway = one_shard("uring", &lines(&[one.url(), other.url()], health), "");
    for _ in 0..6 {
        assert_eq!(gateway.get("/x").status(), 503);
    }
    is_ill.store(false, Ordering::SeqCst);
    assert_eq!(gateway.get("/x").status(), 200);
    gateway.wait_for("sluice_upstream_outs_total{upstream=\"only\"}", |n| n == 2);
    gateway.wait_for("sluice_upstream_panics_total{upstream=\"only\"}", |n| n >= 4);
}

/// An endpoint that takes requests and breaks off: what is idempotent is sent again, elsewhere, and what is not is not.
#[test]
fn only_what_is_idempotent_and_came_to_nothing_is_sent_again() {
    for io in DRIVERS {
        let (broken, fine) = (Upstream::answering(|_| Vec::new()), well("fine"));
        let health = "health = { faults_max = 0 }\nretry = { retries_max = 3, budget_percent = 100 }";
        let gateway = one_shard(io, &lines(&[broken.url(), fine.url()], health), "");
        for _ in 0..12 {
            assert_eq!(gateway.get("/x").status(), 200, "{io}");
        }
        assert!(!broken.take_requests().is_empty(), "{io}: it was tried");
        let mut failed = 0;
        for _ in 0..12 {
            let answer = Wire::connect(gateway.address).exchange(post("/x", "text/plain", "once"));
            failed += usize::from(answer.status() == 502);
        }
        assert_eq!(broken.take_requests().len(), failed, "{io}: each was sent once");
        assert!(failed > 0, "{io}");
    }
}

#[test]
fn retries_end_with_their_budget() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let broken = Upstream::answering(move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        Vec::new()
    });
    let more = "health = { faults_max = 0 }\nretry = { retries_max = 10, budget_percent = 0 }";
    let gateway = one_shard("uring", &lines(&[broken.url()], more), "");
    for _ in 0..20 {
        assert_eq!(gateway.get("/x").status(), 502);
    }
    // Ten retries are always free; the budget may have a second window where the machine is slow.
    let sent = count.load(Ordering::SeqCst);
    assert!((30..=40).contains(&sent), "{sent} requests of 20 with ten retries");
    assert!(gateway.metric("sluice_upstream_events_total{upstream=\"only\",event=\"retry_refused\"}") >= 10);
}

#[test]
fn the_circuit_breaks_at_its_exchanges_and_closes_again() {
    for io in DRIVERS {
        let upstream = Upstream::bind();
        let more = "retry = { exchanges_max = 2 }";
        let gateway = one_shard(io, &lines(&[upstream.url()], more), "");
        let get = "GET /x HTTP/1.1\r\nhost: test\r\n\r\n";
        let mut running: Vec<(Wire, Wire)> = (0..2)
            .map(|_| {
                let mut client = Wire::connect(gateway.address);
                client.send(get);
                let mut server = upstream.accept();
                server.head();
                (client, server)
            })
            .collect();
        let refused = gateway.get("/x");
        assert_eq!((refused.status(), refused.head.field("retry-after").is_some()), (503, true), "{io}");
        for (client, server) in &mut running {
            server.send(ok("text/plain", "at last"));
            assert_eq!(client.message().text(), "at last", "{io}");
        }
        // The connection used last is used first.
        let (client, server) = running.last_mut().expect("one");
        client.send(get);
        server.head();
        server.send(ok("text/plain", "again"));
        assert_eq!(client.message().text(), "again", "{io}");
        assert_eq!(gateway.metric("sluice_refusals_total{code=\"overloaded\"}"), 1, "{io}");
    }
}
