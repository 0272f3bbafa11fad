//! HTTP/1.1 by the sections of RFC 9112 and RFC 9110, on both I/O drivers: `tests/cases/http1.toml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::process::Gateway;
use sluice_tests::vectors::{Table, check_requests, check_responses};

/// The sections that have rules of syntax, framing and connections that a gateway can keep or break. Not among them:
/// 9112 5.3 and 6.4 say nothing of bytes, 9.2 and 9.4 speak of clients, 9.8 is in `tls.rs`, 10 is of media types.
const SECTIONS: &[&str] = &[
    "9112 2.1",
    "9112 2.2",
    "9112 2.3",
    "9112 3",
    "9112 3.1",
    "9112 3.2",
    "9112 3.2.1",
    "9112 3.2.2",
    "9112 3.2.3",
    "9112 3.2.4",
    "9112 4",
    "9112 5",
    "9112 5.1",
    "9112 5.2",
    "9112 6",
    "9112 6.1",
    "9112 6.2",
    "9112 6.3",
    "9112 7.1",
    "9112 7.1.1",
    "9112 7.1.2",
    "9112 7.2",
    "9112 7.4",
    "9112 8",
    "9112 9.3",
    "9112 9.3.2",
    "9112 9.6",
    "9112 11.1",
    "9110 5.1",
    "9110 5.3",
    "9110 5.5",
    "9110 6.5.1",
    "9110 7.2",
    "9110 7.6.1",
    "9110 7.8",
    "9110 8.6",
    "9110 9.3.1",
    "9110 9.3.6",
    "9110 9.3.8",
    "9110 10.1.1",
    "9110 15.2",
    "9110 15.2.2",
    "9110 15.3.5",
    "9110 15.3.6",
];

fn start(io: &'static str) -> impl Fn(&str) -> (Gateway, std::net::SocketAddr) {
    move |upstream| {
        let gateway = Gateway::with_keys(upstream, io, &[]);
        let address = gateway.address;
        (gateway, address)
    }
}

#[test]
fn every_section_has_a_case() {
    let table = Table::read("http1");
    let sections = table.request.iter().map(|case| &case.section);
    let sections: Vec<&String> = sections.chain(table.response.iter().map(|case| &case.section)).collect();
    for section in SECTIONS {
        assert!(sections.iter().any(|s| s == section), "RFC {section} has no case");
    }
}

#[test]
fn requests_by_section() {
    for io in DRIVERS {
        check_requests(&Table::read("http1"), start(io));
    }
}

#[test]
fn responses_by_section() {
    for io in DRIVERS {
        check_responses(&Table::read("http1"), start(io));
    }
}
