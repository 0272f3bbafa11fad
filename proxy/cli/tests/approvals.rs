//! `sluice approvals` as a process, against the API as the admin server serves it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;

use axum::http::HeaderMap;
use sluice_control::approvals::*;
use sluice_policy::{ApprovalTerms, Kind, Proof, Risk, Subject};

fn person(id: &str, groups: &[&str]) -> Arc<Subject> {
    Arc::new(Subject {
        issuer: "corp".into(),
        id: id.into(),
        groups: groups.iter().map(|group| Arc::from(*group)).collect(),
        kind: Kind::Human,
        proof: Proof::Token { jti: None },
        ..Subject::default()
    })
}

/// The token is the name.
struct Names;

impl Authenticate for Names {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap, _: Option<SocketAddr>) -> Authenticated<'a> {
        Box::pin(async move {
            match headers.get("authorization").and_then(|value| value.to_str().ok()) {
                Some("Bearer bob") => Ok(person("bob", &["leads"])),
                Some("Bearer eve") => Ok(person("eve", &[])),
                _ => Err(Unauthenticated),
            }
        })
    }
}

fn request() -> ApprovalRequest {
    ApprovalRequest {
        subject: person("alice", &[]),
        upstream: "llm".into(),
        policy_version: "1".into(),
        policies: vec!["passwords".into()],
        digest: RequestDigest::from_bytes([7; 32]),
        operation: "llm.chat".into(),
        risk: Risk::default(),
        labels: Default::default(),
        preview: MaskedPreview::new("say \u{1b}[2J [password]"),
        terms: ApprovalTerms { groups: vec![("leads".into(), 1)] },
        reveal: Default::default(),
        fields: None,
        steps: Vec::new(),
        request_id: "r1".to_owned(),
    }
}

struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn sluice(address: SocketAddr, token: &'static str, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command
        .arg("approvals")
        .args(args)
        .env("SLUICE_ADMIN", format!("http://{address}"))
        .env("SLUICE_TOKEN", token);
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_queue_is_worked_from_the_command_line() {
    let scratch = Scratch(std::env::temp_dir().join(format!("sluice-cli-approvals-{}", std::process::id())));
    std::fs::create_dir_all(&scratch.0).unwrap();
    let database = Database::new(format!("sqlite:{}/a.db", scratch.0.display()));
    let approvals = Approvals::open(Settings::new(database), None).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = routes(Arc::clone(&approvals), Arc::new(Names)).unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await });
    let Asked::Pending { id, .. } = approvals.ask(request()).await.unwrap() else { panic!("it waits") };
    let id = id.as_str();

    let list = sluice(address, "bob", &["list", "--group", "leads"]).await;
    let text = String::from_utf8(list.stdout).unwrap();
    assert!(
        list.status.success() && text.starts_with(id) && text.contains("corp:alice\tllm\tllm.chat"),
        "{text}"
    );
    let show = sluice(address, "bob", &["show", id]).await;
    let text = String::from_utf8(show.stdout).unwrap();
    assert!(text.contains("a signed token") && text.contains("say \u{FFFD}[2J [password]"), "{text}");
    let json = sluice(address, "bob", &["--json", "show", id]).await;
    let read: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(read["subject"]["id"], "alice");

    for (token, args, code, said) in [
        ("", vec!["approve", id, "--reason", "x"], 1, "nobody was proved to ask (status 401)"),
        ("eve", vec!["approve", id, "--reason", "x"], 1, "none of the groups"),
        ("bob", vec!["approve", id, "--reason", " "], 1, "a reason is needed"),
        ("bob", vec!["approve", "../x", "--reason", "x"], 2, "letters and digits"),
        ("bob", vec!["list", "--admin", "http://192.0.2.1"], 2, "in plain text"),
        ("bob", vec!["list", "--admin", "http://127.0.0.1:1"], 1, "can't be reached"),
        ("bob", vec!["list", "--token-file", "/nothing"], 2, "can't read the token"),
    ] {
        let done = sluice(address, token, &args).await;
        let text = String::from_utf8(done.stderr).unwrap();
        assert_eq!(done.status.code(), Some(code), "{args:?} {text}");
        assert!(text.contains(said), "{args:?}: {text}");
    }
    let done = sluice(address, "bob", &["approve", id, "--reason", "ticket 4711"]).await;
    assert_eq!(String::from_utf8(done.stdout).unwrap(), format!("{id} approved\n"));
    assert!(matches!(approvals.ask(request()).await, Ok(Asked::Consumed { .. })));
    let late = sluice(address, "bob", &["revoke", id, "--reason", "x"]).await;
    assert_eq!(late.status.code(), Some(1));
}
