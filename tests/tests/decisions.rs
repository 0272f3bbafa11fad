//! Who may, and what: identity, policies, credentials, approvals and the record, with the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_tests::configured::Configured;
use sluice_tests::issuer::Issuer;
use sluice_tests::process::{Build, binary};
use sluice_tests::upstream::{Answering, Upstream};
use sluice_tests::wire::{Message, Wire, ok};

const SECRET: &str = "sk-of-the-gateway-0123456789";
const KEY: &str = "AKIAEZH5VTGLTMQAZX6T";

const POLICIES: &str = r#"
[[policy]]
id = "team"
action = "allow"
groups = ["team"]

[[policy]]
id = "see-keys"
action = "allow"
groups = ["keys"]
reveal = ["aws_access_key"]

[[policy]]
id = "part"
action = "allow"
groups = ["team"]
path = ["/part"]
fields = { allow = ["$.id"] }

[[policy]]
id = "no-delete"
action = "block"
operation = ["http.delete"]
reason = "nothing is deleted here"

[[policy]]
id = "passwords"
action = "approve"
groups = ["team"]
when = '"word:password" in request.labels'
reason = "a prompt holds the word password"
approvers = [{ group = "approvers", min = 1 }]
"#;

/// A gateway before an upstream that tells what it got.
struct Set {
    gateway: Configured,
    upstream: Answering,
    issuer: Issuer,
}

fn start(hold_ms: u64) -> Set {
    let upstream = Upstream::answering(|request| {
        let echoed = request.head.field("authorization").unwrap_or_default().to_owned();
        ok("application/json", json!({"id": 7, "key": KEY, "echo": echoed}).to_string())
    });
    let issuer = Issuer::new("https://issuer.test", 1);
    let text = format!(
        r#"
policies = ["policies.toml"]
gateway = {{ shards = 1 }}
admin = {{ listen = "127.0.0.1:0" }}
record = {{ dir = "record" }}
approvals = {{ database = "sqlite:approvals.db", hold_ms_max = {hold_ms} }}
identity = {{ revocations = "revoked.jsonl" }}

[[issuer]]
name = "corp"
issuer = "https://issuer.test"
audience = ["sluice"]
jwks_file = "jwks.json"
subject_kind = "human"
claims = {{ groups = "claims.groups" }}

[[listener]]
name = "only"
listen = "127.0.0.1:0"

[[upstream]]
name = "llm"
url = "{}"
credential = {{ kind = "header", name = "authorization", prefix = "Bearer ", from = "file:secret.txt" }}

[[route]]
name = "all"
upstream = "llm"
packs = ["rules.toml", "builtin:words"]
"#,
        upstream.url()
    );
    let files = [
        ("policies.toml", POLICIES),
        ("jwks.json", &issuer.jwks()),
        ("secret.txt", SECRET),
        ("revoked.jsonl", ""),
    ];
    Set { gateway: Configured::start_with(&text, &files), upstream, issuer }
}

impl Set {
    fn token(&self, subject: &str, groups: &[&str]) -> String {
        self.issuer.token(subject, groups, &json!({}))
    }

    fn send(&self, method: &str, path: &str, token: Option<&str>, body: &str) -> Message {
        Wire::connect(self.gateway.address).exchange(request(method, path, token, body))
    }

    fn nothing_went_on(&self) {
        assert!(self.upstream.take_requests().is_empty(), "something went upstream");
    }

    /// `sluice approvals …` as this person.
    fn approvals(&self, token: &str, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(binary(Build::Debug));
        command.arg("approvals").args(args).arg("--admin").arg(format!("http://{}", self.gateway.admin));
        let output = command.env("SLUICE_TOKEN", token).output().unwrap();
        (
            output.status.success(),
            String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    /// The id of the one approval that is pending.
    fn pending(&self, token: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(20);
        loop {
            let (is_good, listed) = self.approvals(token, &["list", "--json"]);
            assert!(is_good, "{listed}");
            let found = listed
                .split('"')
                .find(|part| part.len() == 32 && part.bytes().all(|b| b.is_ascii_hexdigit()));
            if let Some(id) = found {
                return id.to_owned();
            }
            assert!(Instant::now() < deadline, "nothing is pending: {listed}");
            thread::park_timeout(Duration::from_millis(20));
        }
    }
}

fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> String {
    let proof = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
    let len = body.len();
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    format!("{method} {path} HTTP/1.1\r\nhost: test\r\n{proof}{kind}content-length: {len}\r\n\r\n{body}")
}

fn code(message: &Message) -> (u16, String) {
    let body: Value = serde_json::from_str(message.text()).unwrap_or_default();
    (message.status(), body["code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn only_who_may_and_only_what_they_may() {
    let set = start(0);
    let (alice, stranger) = (set.token("alice", &["team"]), set.token("eve", &["guests"]));
    let forged = Issuer::new("https://issuer.test", 2).token("alice", &["team"], &json!({}));
    let other = Issuer::new("https://other.test", 1).token("alice", &["team"], &json!({}));
    let old = set.issuer.token("alice", &["team"], &json!({"exp": 1_000_000_000}));
    for (token, method, status, name) in [
        (None, "GET", 401, "unauthenticated"),
        (Some("opaque"), "GET", 401, "unauthenticated"),
        (Some(forged.as_str()), "GET", 401, "unauthenticated"),
        (Some(other.as_str()), "GET", 401, "unauthenticated"),
        (Some(old.as_str()), "GET", 401, "unauthenticated"),
        (Some(stranger.as_str()), "GET", 403, "denied"),
        (Some(alice.as_str()), "DELETE", 403, "denied"),
    ] {
        let answer = set.send(method, "/x", token, "");
        assert_eq!(code(&answer), (status, name.to_owned()), "{method} {}", answer.text());
    }
    set.nothing_went_on();
    let blocked = set.send("DELETE", "/x", Some(&alice), "");
    assert!(blocked.text().contains("nothing is deleted here (policy no-delete)"), "{}", blocked.text());

    let answer = set.send("POST", "/x", Some(&alice), &json!({"k": KEY}).to_string());
    assert_eq!(
        answer.json(),
        json!({"id": 7, "key": "[aws_access_key]", "echo": "Bearer [upstream_credential]"})
    );
    let request = set.upstream.take_requests().pop().unwrap();
    assert_eq!(request.head.field("authorization"), Some(format!("Bearer {SECRET}").as_str()));
    assert!(request.text().contains("[aws_access_key]") && !request.text().contains(KEY));

    let both = set.token("bob", &["team", "keys"]);
    let answer = set.send("GET", "/x", Some(&both), "");
    assert_eq!(answer.json()["key"], KEY, "it is revealed to who may see it");
    assert_eq!(answer.json()["echo"], "Bearer [upstream_credential]");
    let answer = set.send("GET", "/part", Some(&alice), "");
    assert_eq!(answer.json(), json!({"id": 7, "key": null, "echo": null}));
}

#[test]
fn what_is_revoked_or_reloaded_holds_at_once() {
    let set = start(0);
    let alice = set.token("alice", &["team"]);
    assert_eq!(set.send("GET", "/x", Some(&alice), "").status(), 200);
    set.gateway.write("revoked.jsonl", "{\"issuer\": \"corp\", \"subject\": \"alice\"}\n");
    let deadline = Instant::now() + Duration::from_secs(20);
    while set.send("GET", "/x", Some(&alice), "").status() != 401 {
        assert!(Instant::now() < deadline, "it is not revoked: {:?}", set.gateway.server.printed());
    }
    set.gateway.write("revoked.jsonl", "");
    set.gateway
        .write("policies.toml", "[[policy]]\nid = \"none\"\naction = \"block\"\nreason = \"closed\"\n");
    assert_eq!(set.gateway.reload("").status(), 200);
    let bob = set.token("bob", &["team"]);
    assert!(set.send("GET", "/x", Some(&bob), "").text().contains("closed (policy none)"));
    set.gateway.write("policies.toml", "[[policy]]\nid = \"bad\"\naction = \"perhaps\"\n");
    assert_ne!(set.gateway.reload("").status(), 200);
    assert!(set.send("GET", "/x", Some(&bob), "").text().contains("closed (policy none)"), "what was holds");
}

#[test]
fn people_decide_over_what_a_policy_asks_for() {
    let set = start(0);
    let (alice, carol) = (set.token("alice", &["team", "approvers"]), set.token("carol", &["approvers"]));
    let body = r#"{"m": "the password is mine"}"#;
    let ask = |body: &str| set.send("POST", "/v1/chat/completions", Some(&alice), body);
    let sent_back = ask(body);
    assert_eq!(code(&sent_back), (403, "approval_pending".to_owned()), "{}", sent_back.text());
    assert!(sent_back.head.field("retry-after").is_some());
    set.nothing_went_on();
    let id = set.pending(&carol);
    let (is_good, said) = set.approvals(&alice, &["approve", &id, "--reason", "mine"]);
    assert!(!is_good, "nobody decides over a request of one's own: {said}");
    let (is_good, said) = set.approvals(&carol, &["approve", &id, "--reason", "known"]);
    assert!(is_good, "{said}");
    assert_eq!(code(&ask(r#"{"m": "the password is mine!"}"#)).1, "approval_pending", "another request");
    set.nothing_went_on();
    // The same meaning in another spelling is the same request; it goes through once.
    assert_eq!(ask(r#"{ "m":"the pass\u0077ord is mine" }"#).status(), 200);
    assert_eq!(set.upstream.take_requests().len(), 1);
    assert_eq!(code(&ask(body)).1, "approval_pending", "a grant is used up");
    set.nothing_went_on();
}

#[test]
fn a_request_is_held_while_people_decide() {
    let set = start(60_000);
    let (alice, carol) = (set.token("alice", &["team"]), set.token("carol", &["approvers"]));
    for (deed, status) in [("approve", 200), ("deny", 403)] {
        let body = json!({"m": format!("password {deed}")}).to_string();
        {
            let (address, request) = (set.gateway.address, request("POST", "/x", Some(&alice), &body));
            let asked = thread::spawn(move || Wire::connect(address).exchange(request));
            let id = set.pending(&carol);
            let (is_good, said) = set.approvals(&carol, &[deed, &id, "--reason", "so it is"]);
            assert!(is_good, "{said}");
            let answer = asked.join().unwrap();
            assert_eq!(answer.status(), status, "{}", answer.text());
            if status == 403 {
                assert_eq!(code(&answer).1, "approval_denied");
                assert!(answer.text().contains("so it is"), "{}", answer.text());
            }
        }
    }
    assert_eq!(set.upstream.take_requests().len(), 1);
}

#[test]
fn all_of_it_is_recorded_and_no_secret_is() {
    let mut set = start(0);
    let alice = set.token("alice", &["team"]);
    assert_eq!(set.send("POST", "/x", Some(&alice), &json!({"k": KEY}).to_string()).status(), 200);
    assert_eq!(set.send("DELETE", "/x", Some(&alice), "").status(), 403);
    assert_eq!(set.send("GET", "/x", None, "").status(), 401);
    set.gateway.server.signal("TERM");
    assert!(set.gateway.server.exit().success());
    let record = set.gateway.path("record");
    let run = |args: &[&str]| {
        let output = Command::new(binary(Build::Debug)).args(args).arg(&record).output().unwrap();
        let all = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        (output.status.success(), all)
    };
    let (is_good, said) = run(&["audit", "verify"]);
    assert!(is_good, "{said}");
    let (is_good, listed) = run(&["sessions", "list", "--dir"]);
    assert!(is_good && listed.contains("alice"), "{listed}");
    for entry in std::fs::read_dir(&record).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        for secret in [KEY, SECRET, &alice] {
            let is_there = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!is_there, "{}", path.display());
        }
        if path.extension().is_some_and(|extension| extension == "slr") {
            let mut changed = bytes.clone();
            let middle = changed.len() / 2;
            changed[middle] ^= 1;
            std::fs::write(&path, changed).unwrap();
        }
    }
    let (is_good, said) = run(&["audit", "verify"]);
    assert!(!is_good, "a changed byte shows: {said}");
}
