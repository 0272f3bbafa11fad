//! TLS as a file says: certificates by name, certificates of clients, certificates shown to upstreams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use sluice_tests::DRIVERS;
use sluice_tests::configured::Configured;
use sluice_tests::tls::{Client, Identity, VERSIONS};
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::{Wire, ok};

fn upstream() -> Answering {
    Upstream::answering(|_| ok("text/plain", "answered"))
}

fn plain(upstream: &Answering) -> String {
    format!("url = \"{}\"", upstream.url())
}

/// A TLS listener with these certificates, and more.
fn tls(identities: &[&Identity], more: &str) -> String {
    let pair = |identity: &&Identity| {
        format!("{{ cert = \"{}\", key = \"{}\" }}", identity.certificate_file(), identity.key_file())
    };
    let pairs: Vec<String> = identities.iter().map(pair).collect();
    format!("tls = {{ certificates = [{}]{more} }}", pairs.join(", "))
}

fn is_served(client: &Client, gateway: &Configured, name: &'static str) -> bool {
    client.try_get(gateway.address, name).is_some_and(|answer| answer.ends_with(b"answered"))
}

#[test]
fn the_name_that_a_client_asks_for_chooses_the_certificate() {
    let first = Identity::new(&["first.test", "127.0.0.1"]);
    let second = Identity::new(&["second.test", "*.wild.test"]);
    for io in DRIVERS {
        let upstream = upstream();
        for (more, unknown) in [("", true), (", unknown_name = \"refuse\"", false)] {
            let text = Configured::text(io, &tls(&[&first, &second], more), &plain(&upstream), "");
            let gateway = Configured::start(&text);
            for version in VERSIONS {
                // A client trusts one identity alone, so that the answer tells which one it met.
                for (name, by_first, by_second) in [
                    ("first.test", true, false),
                    ("second.test", false, true),
                    ("a.wild.test", false, true),
                    ("b.a.wild.test", false, false),
                    ("127.0.0.1", true, false),
                ] {
                    let what = format!("{io} {version:?} {name}{more}");
                    assert_eq!(is_served(&first.client(version), &gateway, name), by_first, "{what}");
                    assert_eq!(is_served(&second.client(version), &gateway, name), by_second, "{what}");
                }
            }
            // Whoever verifies nothing sees whether there was a certificate at all.
            assert_eq!(shows_a_certificate(&gateway, "unknown.test"), unknown, "{io}{more}");
            assert!(shows_a_certificate(&gateway, "second.test"), "{io}{more}");
        }
    }
}

/// Whether openssl gets a certificate for a name.
fn shows_a_certificate(gateway: &Configured, name: &str) -> bool {
    let output = std::process::Command::new("openssl")
        .args(["s_client", "-connect", &gateway.address.to_string(), "-servername", name])
        .stdin(std::process::Stdio::null())
        .output()
        .expect("openssl is there");
    String::from_utf8_lossy(&output.stdout).contains("BEGIN CERTIFICATE")
}

#[test]
fn certificates_of_clients_are_asked_for_and_verified() {
    let server = Identity::new(&["gateway.test"]);
    let (known, stranger) = (Identity::new(&["client.test"]), Identity::new(&["client.test"]));
    for io in DRIVERS {
        let upstream = upstream();
        for (client, without) in [("required", false), ("optional", true)] {
            let more = format!(", client_ca = \"{}\", client = \"{client}\"", known.certificate_file());
            let text = Configured::text(io, &tls(&[&server], &more), &plain(&upstream), "");
            let gateway = Configured::start(&text);
            for version in VERSIONS {
                for (shown, wanted) in [(Some(&*known), true), (Some(&*stranger), false), (None, without)] {
                    let client_of = server.client_with(version, shown);
                    let is_met = is_served(&client_of, &gateway, "gateway.test");
                    assert_eq!(is_met, wanted, "{io} {version:?} {client} {}", shown.is_some());
                }
            }
        }
        let seen = upstream.take_requests().len();
        assert_eq!(seen, 6, "{io}: only those that were let in");
    }
}

/// What must be proved anew is not skipped by a session from before.
#[test]
fn a_reload_that_asks_for_certificates_resumes_nobody() {
    let server = Identity::new(&["gateway.test"]);
    let known = Identity::new(&["client.test"]);
    let upstream = upstream();
    let open = Configured::text("uring", &tls(&[&server], ""), &plain(&upstream), "");
    let gateway = Configured::start(&open);
    for version in VERSIONS {
        gateway.write("sluice.toml", &open);
        assert_eq!(gateway.reload("").status(), 200);
        let client = server.client(version);
        assert!(is_served(&client, &gateway, "gateway.test"), "{version:?}");
        let more = format!(", client_ca = \"{}\"", known.certificate_file());
        gateway
            .write("sluice.toml", &Configured::text("uring", &tls(&[&server], &more), &plain(&upstream), ""));
        assert_eq!(gateway.reload("").status(), 200);
        assert!(!is_served(&client, &gateway, "gateway.test"), "{version:?}");
        assert!(is_served(&server.client_with(version, Some(&known)), &gateway, "gateway.test"));
    }
}

#[test]
fn an_upstream_that_asks_for_a_certificate_gets_it() {
    let known = Identity::new(&["gateway.test"]);
    let store = Identity::asking_for(&["store.test"], &known);
    for io in DRIVERS {
        let upstream = Upstream::answering_tls(&store, |_| ok("text/plain", "answered"));
        let (ca, cert, key) = (store.certificate_file(), known.certificate_file(), known.key_file());
        let trusted = format!("url = \"{}\"\nca = \"{ca}\"\nserver_name = \"store.test\"", upstream.url());
        let shown = format!("{trusted}\nclient_cert = \"{cert}\"\nclient_key = \"{key}\"");
        for (lines, status) in [(&shown, 200), (&trusted, 502)] {
            let gateway = Configured::start(&Configured::text(io, "", lines, ""));
            assert_eq!(gateway.get("/x").status(), status, "{io}");
        }
        let misnamed = shown.replace("store.test", "other.test");
        let gateway = Configured::start(&Configured::text(io, "", &misnamed, ""));
        assert_eq!(gateway.get("/x").status(), 502, "{io}: the certificate proves another name");
        assert_eq!(upstream.take_requests().len(), 1, "{io}");
    }
}

#[test]
fn a_wire_that_is_not_tls_gets_no_answer() {
    let server = Identity::new(&["gateway.test"]);
    let upstream = upstream();
    let gateway = Configured::start(&Configured::text("uring", &tls(&[&server], ""), &plain(&upstream), ""));
    let mut client = Wire::connect(gateway.address);
    client.send("GET /x HTTP/1.1\r\nhost: test\r\n\r\n");
    assert!(!client.rest().starts_with(b"HTTP"));
    assert!(upstream.take_requests().is_empty());
}
