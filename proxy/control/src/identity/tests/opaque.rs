//! Opaque tokens, of which a server is asked that speaks RFC 7662.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::{Value, json};
use sluice_policy::{Kind, Proof};

use super::forge::{NOW, at, present};
use crate::credential::{Keeping, Reference, Source as Secret, Vaults};
use crate::identity::{
    Fetching, Identity, Introspection, Issuer, Mapping, Means, Revocations, Revoked, Rules, Source, Unproved,
};
use crate::reload::lock;

/// What the server says, and how often it was asked.
#[derive(Default)]
struct Server {
    says: std::sync::Mutex<Value>,
    asked: AtomicU64,
}

async fn answer(
    State(server): State<Arc<Server>>,
    headers: HeaderMap,
    body: String,
) -> Result<axum::Json<Value>, StatusCode> {
    server.asked.fetch_add(1, Ordering::Relaxed);
    // `gate way` and `s3:cret`, each encoded as in a form, then together.
    let is_known =
        headers.get("authorization").is_some_and(|value| value == "Basic Z2F0ZSUyMHdheTpzMyUzQWNyZXQ=");
    if !is_known || !body.starts_with("token=opq_") || !body.ends_with("&token_type_hint=access_token") {
        return Err(StatusCode::UNAUTHORIZED);
    }
    Ok(axum::Json(lock(&server.says).clone()))
}

async fn identity(server: &Arc<Server>) -> Identity {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/introspect", listener.local_addr().unwrap());
    let router = Router::new().route("/introspect", post(answer)).with_state(Arc::clone(server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let file = std::env::temp_dir().join(format!("sluice-introspection-{}", std::process::id()));
    std::fs::write(&file, "s3:cret\n").unwrap();
    let secret = Secret::new(Reference::File(file), Keeping::default(), Vaults::default());
    let asked = Introspection {
        address,
        prefix: "opq_".to_owned(),
        issuer: Some("https://opaque.example".to_owned()),
        client: "gate way".to_owned(),
        secret,
        rules: Rules { audiences: vec!["sluice".to_owned()], ..Rules::default() },
        cached: Duration::from_secs(30),
        fetching: Fetching::default(),
    };
    let issuer = Issuer {
        name: Arc::from("opaque"),
        means: Means::Introspection(asked),
        mapping: Mapping::new(Source::Token, Kind::Service),
        context: Vec::new(),
    };
    Identity::new(vec![issuer], Arc::new(Revocations::default())).unwrap()
}

fn active() -> Value {
    json!({ "active": true, "sub": "ann", "aud": "sluice", "exp": NOW + 20, "jti": "7" })
}

#[tokio::test]
async fn an_answer_counts_for_a_while_and_no_longer_than_the_token() {
    let server = Arc::new(Server::default());
    *lock(&server.says) = active();
    let identity = identity(&server).await;
    let asked = || server.asked.load(Ordering::Relaxed);
    let proved = present(&identity, "opq_1", at(0)).await.unwrap();
    assert_eq!((&*proved.subject.id, &proved.subject.proof), ("ann", &Proof::Introspection));
    assert_eq!(proved.until, Some(at(30)), "no longer than it is cached");
    assert!(present(&identity, "opq_1", at(29)).await.is_ok());
    assert_eq!(asked(), 1);
    *lock(&server.says) = json!({ "active": false });
    assert_eq!(present(&identity, "opq_1", at(30)).await, Err(Unproved::Inactive));
    assert_eq!(present(&identity, "opq_1", at(39)).await, Err(Unproved::Inactive));
    assert_eq!(asked(), 2, "that it is not active is remembered");
    *lock(&server.says) = json!({ "active": true, "sub": "ann", "aud": "sluice" });
    assert!(present(&identity, "opq_1", at(40)).await.is_ok(), "an answer need not tell an end");
    identity.revocations().revoke("opaque", Revoked::Subject("ann".to_owned())).unwrap();
    assert_eq!(present(&identity, "opq_1", at(41)).await, Err(Unproved::Revoked));
    assert_eq!(
        present(&identity, "other_1", at(41)).await,
        Err(Unproved::Malformed),
        "nobody is asked of it"
    );
    assert_eq!(asked(), 3);
}

#[tokio::test]
async fn what_an_issuer_says_is_held_to_its_rules() {
    let server = Arc::new(Server::default());
    let identity = identity(&server).await;
    let but = |name: &str, value: Value| {
        let mut says = active();
        says[name] = value;
        says
    };
    for (n, (says, wanted)) in [
        (json!({ "active": "true" }), Unproved::IssuerUnreachable),
        (json!({ "active": 1 }), Unproved::IssuerUnreachable),
        (json!({}), Unproved::IssuerUnreachable),
        (json!([true]), Unproved::IssuerUnreachable),
        (but("aud", json!("other")), Unproved::Audience),
        (but("aud", Value::Null), Unproved::Claim),
        (but("exp", json!(NOW - 31)), Unproved::Expired),
        (but("nbf", json!(NOW + 31)), Unproved::NotYet),
        (but("iss", json!("https://evil.example")), Unproved::UnknownIssuer),
        (but("sub", json!("")), Unproved::Subject),
        (but("cnf", json!({ "jkt": "x" })), Unproved::Bound),
    ]
    .into_iter()
    .enumerate()
    {
        *lock(&server.says) = says.clone();
        assert_eq!(present(&identity, &format!("opq_{n}"), at(0)).await, Err(wanted), "{says}");
    }
}
