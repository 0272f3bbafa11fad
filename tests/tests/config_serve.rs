//! `sluice serve --config`: what a file says is what runs, and it is read again whole or not at all.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fs;

use serde_json::Value;
use sluice_tests::configured::Configured;
use sluice_tests::process::keys_pack;
use sluice_tests::tls::{Identity, VERSIONS};
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::{Wire, ok, post};

const KEY: &str = "the key AKIAEZH5VTGLTMQAZX6T is here.";

/// What the upstream is sent for [`KEY`].
fn masked(gateway: &Configured, upstream: &Answering) -> String {
    let mut client = Wire::connect(gateway.address);
    assert_eq!(client.exchange(post("/x", "text/plain", KEY)).status(), 200);
    upstream.take_requests().pop().expect("one request").text().to_owned()
}

fn upstream() -> Answering {
    Upstream::answering(|_| ok("text/plain", KEY))
}

/// One listener, one route, one upstream.
fn one_route(upstream: &str) -> String {
    format!(
        r#"
[gateway]
shards = 2
allow_anonymous = true

[admin]
listen = "127.0.0.1:0"

[[listener]]
name = "only"
listen = "127.0.0.1:0"

[[upstream]]
name = "only"
url = "{upstream}"

[[route]]
name = "all"
upstream = "only"
packs = ["rules.toml"]
"#
    )
}

/// The rule of `rules.toml` under another name.
fn renamed_rules() -> String {
    fs::read_to_string(keys_pack()).expect("a pack").replace("\"aws_access_key\"", "\"renamed\"")
}

#[test]
fn a_file_is_served() {
    let upstream = upstream();
    let gateway = Configured::start(&one_route(&upstream.url()));
    assert_eq!(masked(&gateway, &upstream), "the key [aws_access_key] is here.");
    let mut client = Wire::connect(gateway.address);
    assert_eq!(client.exchange(post("/x", "text/plain", KEY)).text(), "the key [aws_access_key] is here.");
    let status = gateway.status();
    assert_eq!(status["configuration"]["version"], 1, "{status}");
    assert_eq!(status["configuration"]["sha256"].as_str().map(str::len), Some(64), "{status}");
    assert_eq!(status["upstream"], upstream.url(), "{status}");
    assert_eq!(status["shards"], 2, "{status}");
}

#[test]
fn a_tls_listener_of_a_file_is_served() {
    let identity = Identity::new(&["gateway.test"]);
    let upstream = upstream();
    let files = format!(
        "listen = \"127.0.0.1:0\"\ntls = {{ certificates = [{{ cert = \"{}\", key = \"{}\" }}] }}\n\n[[upstream]]",
        identity.certificate_file(),
        identity.key_file()
    );
    let text = one_route(&upstream.url()).replace("listen = \"127.0.0.1:0\"\n\n[[upstream]]", &files);
    let gateway = Configured::start(&text);
    let mut client = identity.connect(gateway.address, "gateway.test", VERSIONS[1]);
    client.send(post("/x", "text/plain", KEY));
    assert_eq!(client.message().text(), "the key [aws_access_key] is here.");
}

#[test]
fn a_hang_up_with_a_fault_changes_nothing_and_without_one_takes_all() {
    let upstream = upstream();
    let good = one_route(&upstream.url());
    let gateway = Configured::start(&good);
    let before = gateway.status()["configuration"].clone();
    for (n, bad) in [
        good.replace("\"only\"\npacks", "\"onyl\"\npacks"),
        "not TOML".to_owned(),
        good.replace("shards = 2", "shards = 3"),
        good.replace("shards = 2", "shards = 2\nio = \"epoll\""),
        good.replace("shards = 2", "shards = 2\nlimits = { idle_ms_max = 1 }"),
        good.replace("[admin]\nlisten = \"127.0.0.1:0\"", "[admin]\nlisten = \"127.0.0.1:1\""),
    ]
    .iter()
    .enumerate()
    {
        // What the packs say by now must not be taken either.
        gateway.write("rules.toml", &renamed_rules());
        gateway.write("sluice.toml", bad);
        gateway.server.signal("HUP");
        gateway.wait("a refused reload", |status| status["reloads_refused"] == n + 1);
        assert_eq!(gateway.status()["configuration"], before, "{bad}");
        assert_eq!(masked(&gateway, &upstream), "the key [aws_access_key] is here.", "{bad}");
    }
    let printed = gateway.server.printed().join("\n");
    assert!(
        printed.contains("sluice.toml:19: no upstream has the name `onyl`; did you mean `only`?"),
        "{printed}"
    );
    assert!(printed.contains("restart"), "{printed}");
    gateway.write("sluice.toml", &good);
    gateway.server.signal("HUP");
    gateway.wait("a reload", |status| status["configuration"]["version"] == 2);
    assert_eq!(masked(&gateway, &upstream), "the key [renamed] is here.");
    assert_ne!(gateway.status()["configuration"]["sha256"], before["sha256"]);
}

#[test]
fn a_pack_with_a_fault_changes_nothing() {
    let upstream = upstream();
    let gateway = Configured::start(&one_route(&upstream.url()));
    gateway.write("rules.toml", &renamed_rules().replace("(?P<secret>", "(?P<secret>("));
    let response = gateway.reload("");
    assert_eq!(response.status(), 422);
    let faults = response.json()["faults"].clone();
    assert!(faults[0]["file"].as_str().expect("a file").ends_with("rules.toml"), "{faults}");
    assert_eq!(faults[0]["line"], 11, "{faults}");
    assert_eq!(masked(&gateway, &upstream), "the key [aws_access_key] is here.");
}

#[test]
fn the_admin_server_reloads() {
    let upstream = upstream();
    let good = one_route(&upstream.url());
    let gateway = Configured::start(&good);
    gateway.write("rules.toml", &renamed_rules());
    let response = gateway.reload("");
    assert_eq!((response.status(), &response.json()["version"]), (200, &Value::from(2)));
    assert_eq!(response.json(), gateway.status()["configuration"]);
    assert_eq!(masked(&gateway, &upstream), "the key [renamed] is here.");

    gateway.write("sluice.toml", &good.replace("allow_anonymous", "allow_anonymos"));
    let response = gateway.reload("");
    assert_eq!(response.status(), 422);
    let reasons: Vec<String> = response.json()["faults"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|fault| format!("{}: {}", fault["line"], fault["reason"].as_str().expect("a reason")))
        .collect();
    assert_eq!(reasons.len(), 2, "{reasons:?}");
    assert!(
        reasons.contains(&"4: unknown key `allow_anonymos`; did you mean `allow_anonymous`?".to_owned()),
        "{reasons:?}"
    );
    assert_eq!((gateway.version(), gateway.status()["reloads_refused"].as_u64()), (2, Some(1)));

    // A page elsewhere must not, and nobody by GET.
    assert_eq!(gateway.reload("origin: https://evil.example\r\n").status(), 403);
    let mut admin = Wire::connect(gateway.admin);
    assert_eq!(admin.exchange("GET /api/v1/reload HTTP/1.1\r\nhost: localhost\r\n\r\n").status(), 405);
    assert_eq!(gateway.version(), 2);

    let mut admin = Wire::connect(gateway.admin);
    let metrics = admin.exchange("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n");
    for line in ["sluice_reloads_total{result=\"taken\"} 1", "sluice_reloads_total{result=\"refused\"} 1"] {
        assert!(metrics.text().contains(line), "{line}: {}", metrics.text());
    }
    let sha256 = gateway.status()["configuration"]["sha256"].as_str().expect("a digest").to_owned();
    let line = format!("sluice_configuration_info{{sha256=\"{sha256}\"}} 1");
    assert!(metrics.text().contains(&line), "{line}: {}", metrics.text());
}

#[test]
fn the_drain_is_as_long_as_the_file_says_by_now() {
    let upstream = Upstream::bind();
    let text = one_route(&upstream.url());
    let mut gateway = Configured::start(&text);
    gateway.write("sluice.toml", &text.replace("shards = 2", "shards = 2\ndrain_seconds = 0"));
    assert_eq!(gateway.reload("").status(), 200);
    let mut client = Wire::connect(gateway.address);
    client.send("GET /s HTTP/1.1\r\nhost: test\r\n\r\n");
    let mut server = upstream.accept();
    server.head();
    gateway.server.signal("TERM");
    assert_eq!(gateway.server.exit().code(), Some(0));
}

/// Two listeners, of which each route takes what comes to its host.
fn two_routes(models: &str, store: &str) -> String {
    format!(
        r#"
[gateway]
shards = 2
allow_anonymous = true

[admin]
listen = "127.0.0.1:0"

[[listener]]
name = "first"
listen = "127.0.0.1:0"

[[listener]]
name = "second"
listen = "127.0.0.1:0"

[[upstream]]
name = "models"
url = "{models}"

[[upstream]]
name = "store"
url = "{store}"

[[route]]
name = "traces"
path = "/v1/traces"
upstream = "store"
packs = ["rules.toml"]
mask = false

[[route]]
name = "models"
hosts = ["*.models.test"]
upstream = "models"
packs = ["rules.toml"]
"#
    )
}

#[test]
fn two_listeners_and_two_routes_lead_to_two_upstreams() {
    let (models, store) = (upstream(), upstream());
    let mut gateway = Configured::start(&two_routes(&models.url(), &store.url()));
    for listener in ["(first)", "(second)"] {
        let address = gateway.server.address(listener);
        for (host, path, to, wanted) in [
            ("a.models.test", "/v1/chat", Some(&models), "the key [aws_access_key] is here."),
            ("a.models.test", "/v1/traces/x", Some(&store), KEY),
            ("elsewhere.test", "/v1/traces", Some(&store), KEY),
            ("elsewhere.test", "/v1/tracesx", None, ""),
        ] {
            let mut client = Wire::connect(address);
            let length = KEY.len();
            let head = format!("POST {path} HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\n");
            let response = client.exchange(format!("{head}content-length: {length}\r\n\r\n{KEY}"));
            let place = format!("{listener} {host} {path}");
            match to {
                Some(upstream) => {
                    assert_eq!((response.status(), response.text()), (200, wanted), "{place}");
                    assert_eq!(
                        upstream.take_requests().pop().expect("one request").text(),
                        wanted,
                        "{place}"
                    );
                }
                None => assert_eq!(response.status(), 404, "{place}"),
            }
            assert!(models.take_requests().is_empty() && store.take_requests().is_empty(), "{place}");
        }
    }
}

#[test]
fn a_reload_moves_routes_to_other_upstreams() {
    let (before, after) = (upstream(), upstream());
    let gateway = Configured::start(&one_route(&before.url()));
    masked(&gateway, &before);
    gateway.write("sluice.toml", &one_route(&after.url()));
    assert_eq!(gateway.reload("").status(), 200);
    masked(&gateway, &after);
    assert_eq!(gateway.status()["upstream"], after.url());
    assert!(before.take_requests().is_empty());
}
