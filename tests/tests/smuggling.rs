//! Request smuggling: upstream never sees a request that the client's bytes don't hold as one, and no answer is taken
//! for another's. The vectors are in `tests/cases/smuggling.toml`; on both I/O drivers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::vectors::{Table, check_requests, check_responses};

/// The fewest vectors that there must be.
const VECTORS_MIN: usize = 150;

fn start(io: &'static str) -> impl Fn(&str) -> (Gateway, std::net::SocketAddr) {
    move |upstream| {
        let gateway = Gateway::with_keys(upstream, io, &[]);
        let address = gateway.address;
        (gateway, address)
    }
}

#[test]
fn there_are_enough_vectors_and_none_twice() {
    let table = Table::read("smuggling");
    let mut all: Vec<&str> = table.request.iter().map(|case| case.send.as_str()).collect();
    all.extend(table.response.iter().map(|case| case.answer.as_str()).filter(|answer| !answer.is_empty()));
    let count = all.len();
    all.sort_unstable();
    all.dedup();
    assert!(count >= VECTORS_MIN, "{count} vectors");
    assert!(count - all.len() <= 8, "{} of {count} are there twice", count - all.len());
}

#[test]
fn requests_over_uring() {
    check_requests(&Table::read("smuggling"), start(DRIVERS[0]));
}

#[test]
fn requests_over_epoll() {
    check_requests(&Table::read("smuggling"), start(DRIVERS[1]));
}

#[test]
fn responses_over_uring() {
    check_responses(&Table::read("smuggling"), start(DRIVERS[0]));
}

#[test]
fn responses_over_epoll() {
    check_responses(&Table::read("smuggling"), start(DRIVERS[1]));
}
