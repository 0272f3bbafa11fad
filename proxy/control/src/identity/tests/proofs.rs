//! What proves a caller, for how long, and what of it becomes a subject.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use serde_json::{Value, json};
use sluice_data::PeerIdentity;
use sluice_policy::{Kind, Proof};

use super::forge::{ISSUER, NOW, Signer, at, but, claims, present, presented};
use super::{issuer_of, keys_file};
use crate::identity::{
    Certificates, Identity, Issuer, KeysFrom, Mapping, Means, Part, Presented, Revocations, Revoked, Source,
    Unproved,
};
use crate::reload::lock;

fn identity(issuers: Vec<Issuer>) -> Identity {
    Identity::new(issuers, Arc::new(Revocations::default())).unwrap()
}

fn names(groups: &[Arc<str>]) -> Vec<&str> {
    groups.iter().map(|group| &**group).collect()
}

/// An issuer over HTTP: its keys, whether it answers, and how often it was asked for them.
#[derive(Default)]
struct Server {
    keys: std::sync::Mutex<Vec<Value>>,
    issuer: std::sync::Mutex<String>,
    is_down: std::sync::atomic::AtomicBool,
    asked: AtomicU64,
}

impl Server {
    async fn start(self: &Arc<Server>) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        lock(&self.issuer).clone_from(&address);
        let metadata = |State(server): State<Arc<Server>>| async move {
            let issuer = lock(&server.issuer).clone();
            let keys = format!("{issuer}/keys");
            axum::Json(json!({ "issuer": issuer, "jwks_uri": keys }))
        };
        let keys = |State(server): State<Arc<Server>>| async move {
            server.asked.fetch_add(1, Ordering::Relaxed);
            if server.is_down.load(Ordering::Relaxed) {
                return Err(axum::http::StatusCode::SERVICE_UNAVAILABLE);
            }
            Ok(axum::Json(json!({ "keys": *lock(&server.keys) })))
        };
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(metadata))
            .route("/keys", get(keys))
            .with_state(Arc::clone(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        address
    }

    fn publish(&self, signers: &[&Signer]) {
        *lock(&self.keys) = signers.iter().map(|signer| signer.jwk()).collect();
    }

    fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn discovered(server: &Arc<Server>) -> (Identity, String) {
    let address = server.start().await;
    let from = KeysFrom::Discovery(format!("{address}/.well-known/openid-configuration"));
    (identity(vec![issuer_of("corp", &address, from)]), address)
}

#[tokio::test]
async fn a_token_becomes_a_subject() {
    let signer = Signer::ed25519("a", 1);
    let keys = keys_file("subject", &json!({ "keys": [signer.jwk()] }));
    let identity = identity(vec![issuer_of("corp", ISSUER, keys)]);
    let token = signer.token(&but(json!({ "act": { "sub": "robot", "act": { "sub": "older" } } })));
    let proved = present(&identity, &token, at(0)).await.unwrap();
    let subject = &proved.subject;
    assert_eq!((&*subject.issuer, &*subject.id, subject.kind), ("corp", "ann", Kind::Service));
    assert_eq!(names(&subject.groups), ["a", "b"]);
    assert_eq!(subject.actor.as_deref(), Some("robot"));
    assert_eq!(subject.proof, Proof::Token { jti: Some(Arc::from("7")) });
    assert_eq!(proved.until, Some(at(330)), "the skew is the issuer's");
    for field in ["x-api-key", "api-key", "X-Goog-Api-Key"] {
        let presented = presented(&[(field, &token)], identity.context_names()).unwrap();
        assert_eq!(identity.prove(&presented, at(0)).await.as_ref(), Ok(subject), "{field}");
    }
    assert_eq!(identity.prove(&Presented::default(), at(0)).await, Err(Unproved::NoCredential));
}

#[tokio::test]
async fn what_was_checked_ends_with_the_token_and_counts_no_longer_than_that() {
    let signer = Signer::ed25519("a", 1);
    let keys = keys_file("ends", &json!({ "keys": [signer.jwk()] }));
    let mut issuer = issuer_of("corp", ISSUER, keys);
    if let Means::Tokens(tokens) = &mut issuer.means {
        tokens.rules.age_max = Some(Duration::from_secs(100));
    }
    let identity = identity(vec![issuer]);
    let token = signer.token(&claims());
    for (second, wanted) in [
        (0, Ok(())),
        (119, Ok(())),
        (120, Err(Unproved::TooOld)),
        // A clock that goes back does not make it older or younger than it is.
        (-39, Ok(())),
        (-41, Err(Unproved::NotYet)),
        (330, Err(Unproved::Expired)),
        (0, Ok(())),
    ] {
        let found = present(&identity, &token, at(second)).await.map(drop);
        assert_eq!(found, wanted, "{second}");
    }
}

#[tokio::test]
async fn keys_rotate_and_withdrawn_ones_are_believed_no_more() {
    let server = Arc::new(Server::default());
    let [first, second] = [Signer::ed25519("a", 1), Signer::ed25519("b", 2)];
    server.publish(&[&first]);
    let (identity, address) = discovered(&server).await;
    let token = |signer: &Signer| signer.token(&but(json!({ "iss": address, "exp": NOW + 9000 })));
    assert!(present(&identity, &token(&first), at(0)).await.is_ok());
    // A new key is fetched with the first token that has it.
    server.publish(&[&first, &second]);
    assert!(present(&identity, &token(&second), at(1)).await.is_ok());
    assert_eq!(server.asked(), 2);
    // A withdrawn key ends with the next refresh, cached tokens of it too.
    server.publish(&[&second]);
    assert!(present(&identity, &token(&first), at(2)).await.is_ok());
    assert_eq!(present(&identity, &token(&first), at(302)).await, Err(Unproved::UnknownKey));
    assert!(present(&identity, &token(&second), at(302)).await.is_ok());
}

#[tokio::test]
async fn key_ids_that_nobody_knows_do_not_flood_the_issuer() {
    let server = Arc::new(Server::default());
    server.publish(&[&Signer::ed25519("a", 1)]);
    let (identity, address) = discovered(&server).await;
    let forged = Signer::ed25519("b", 2).token(&but(json!({ "iss": address })));
    for n in 0..50 {
        let other = format!("{forged}{}", "A".repeat(0));
        assert_eq!(present(&identity, &other, at(0)).await, Err(Unproved::UnknownKey), "{n}");
    }
    assert_eq!(server.asked(), 2, "the first one, and one for the unknown key");
    assert_eq!(present(&identity, &forged, at(4)).await, Err(Unproved::UnknownKey));
    assert_eq!(server.asked(), 2);
    assert_eq!(present(&identity, &forged, at(5)).await, Err(Unproved::UnknownKey));
    assert_eq!(server.asked(), 3);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_believed_for_a_bounded_time() {
    let server = Arc::new(Server::default());
    let signer = Signer::ed25519("a", 1);
    server.publish(&[&signer]);
    let (identity, address) = discovered(&server).await;
    let token = signer.token(&but(json!({ "iss": address, "exp": NOW + 9000 })));
    server.is_down.store(true, Ordering::Relaxed);
    assert_eq!(present(&identity, &token, at(0)).await, Err(Unproved::IssuerUnreachable), "from the start");
    assert_eq!(present(&identity, &token, at(1)).await, Err(Unproved::IssuerUnreachable));
    assert_eq!(server.asked(), 1, "it is not asked again at once");
    server.is_down.store(false, Ordering::Relaxed);
    assert!(present(&identity, &token, at(6)).await.is_ok());
    server.is_down.store(true, Ordering::Relaxed);
    assert!(present(&identity, &token, at(400)).await.is_ok(), "stale, but not too old");
    assert!(present(&identity, &token, at(3605)).await.is_ok());
    assert_eq!(present(&identity, &token, at(3606)).await, Err(Unproved::IssuerUnreachable));
    // The clock goes back to before the keys were fetched: none of the future are used.
    assert_eq!(present(&identity, &token, at(-20)).await, Err(Unproved::IssuerUnreachable));
}

#[tokio::test]
async fn metadata_of_another_issuer_is_not_believed() {
    let server = Arc::new(Server::default());
    let signer = Signer::ed25519("a", 1);
    server.publish(&[&signer]);
    let (identity, address) = discovered(&server).await;
    "https://other.example".clone_into(&mut lock(&server.issuer));
    let token = signer.token(&but(json!({ "iss": address })));
    assert_eq!(present(&identity, &token, at(0)).await, Err(Unproved::IssuerUnreachable));
    assert_eq!(server.asked(), 0);
}

#[tokio::test]
async fn tokens_of_one_issuer_are_not_those_of_another() {
    let [first, second] = [Signer::ed25519("a", 1), Signer::ed25519("a", 2)];
    let other = "https://other.example";
    let identity = identity(vec![
        issuer_of("corp", ISSUER, keys_file("one", &json!({ "keys": [first.jwk()] }))),
        issuer_of("other", other, keys_file("two", &json!({ "keys": [second.jwk()] }))),
    ]);
    for (signer, issuer, wanted) in [
        (&first, ISSUER, Ok("corp".to_owned())),
        (&second, other, Ok("other".to_owned())),
        (&first, other, Err(Unproved::Signature)),
        (&second, ISSUER, Err(Unproved::Signature)),
    ] {
        let token = signer.token(&but(json!({ "iss": issuer })));
        let proved = present(&identity, &token, at(0)).await;
        assert_eq!(proved.map(|proved| proved.subject.issuer.to_string()), wanted, "{issuer}");
    }
}

#[tokio::test]
async fn what_is_revoked_counts_for_the_next_request() {
    let signer = Signer::ed25519("a", 1);
    let keys = keys_file("revoked", &json!({ "keys": [signer.jwk()] }));
    let identity = identity(vec![issuer_of("corp", ISSUER, keys)]);
    let [ann, bob] = ["ann", "bob"].map(|sub| signer.token(&but(json!({ "sub": sub, "jti": sub }))));
    assert!(present(&identity, &ann, at(0)).await.is_ok());
    assert!(present(&identity, &bob, at(0)).await.is_ok());
    identity.revocations().revoke("corp", Revoked::Subject("ann".to_owned())).unwrap();
    identity.revocations().revoke("corp", Revoked::Token("bob".to_owned())).unwrap();
    assert_eq!(present(&identity, &ann, at(0)).await, Err(Unproved::Revoked));
    assert_eq!(present(&identity, &bob, at(0)).await, Err(Unproved::Revoked));
    let other = signer.token(&but(json!({ "sub": "bob", "jti": "9" })));
    assert!(present(&identity, &other, at(0)).await.is_ok());
}

#[tokio::test]
async fn chain_step_and_purpose_come_from_fields_only_where_the_issuer_allows_it() {
    let signer = Signer::ed25519("a", 1);
    let keys = json!({ "keys": [signer.jwk()] });
    let mut open = issuer_of("open", ISSUER, keys_file("context", &keys));
    open.mapping.set(Source::Token, Part::Purpose, "claims.?purpose").unwrap();
    open.context = vec![
        (Part::Chain, Arc::from("x-chain")),
        (Part::Step, Arc::from("sluice-step")),
        (Part::Purpose, Arc::from("sluice-purpose")),
    ];
    let closed = issuer_of("closed", "https://closed.example", keys_file("closed", &keys));
    let identity = identity(vec![open, closed]);
    let token = |issuer: &str, purpose: Value| signer.token(&but(json!({ "iss": issuer, "purpose": purpose })));
    let [free, told] = [Value::Null, json!("audit")].map(|purpose| token(ISSUER, purpose));
    let shut = token("https://closed.example", Value::Null);
    for (token, field, value, wanted) in [
        (&free, "x-chain", "c1", Ok(())),
        (&free, "sluice-step", "s1", Ok(())),
        (&free, "Sluice-Purpose", "audit", Ok(())),
        (&told, "sluice-purpose", "audit", Ok(())),
        (&told, "sluice-purpose", "export", Err(Unproved::Context)),
        (&free, "sluice-chain", "c1", Err(Unproved::Context)),
        (&shut, "x-chain", "c1", Err(Unproved::Context)),
        (&shut, "sluice-purpose", "audit", Err(Unproved::Context)),
        (&shut, "x-unrelated", "x", Ok(())),
    ] {
        let presented = presented(&[("x-api-key", token), (field, value)], identity.context_names()).unwrap();
        let found = identity.prove(&presented, at(0)).await;
        assert_eq!(found.as_ref().map(drop).map_err(|e| *e), wanted, "{field}: {value}");
        if let (Ok(subject), "x-chain") = (found, field) {
            assert_eq!(subject.chain.as_deref(), Some("c1"));
        }
    }
}

fn certificate(subject: &str, issuer: &str) -> PeerIdentity {
    PeerIdentity {
        subject: subject.to_owned(),
        uris: vec![subject.to_owned()],
        dns_names: Vec::new(),
        emails: Vec::new(),
        common_name: None,
        issuer: issuer.to_owned(),
        serial: "1".to_owned(),
        fingerprint: [7; 32],
        not_after: at(100),
    }
}

fn of_certificate(certificate: PeerIdentity) -> Presented {
    let names = super::super::ContextNames::default();
    Presented::read([], &names, Some(Arc::new(certificate)), None).unwrap()
}

#[tokio::test]
async fn a_client_certificate_is_an_identity() {
    let issuer = |name: &str, authorities: &[&str]| Issuer {
        name: Arc::from(name),
        means: Means::Certificates(Certificates {
            authorities: authorities.iter().map(|name| (*name).to_owned()).collect(),
        }),
        mapping: Mapping::new(Source::Certificate, Kind::Service),
        context: Vec::new(),
    };
    let mut mesh = issuer("mesh", &["CN=mesh"]);
    let groups = "certificate.uris.filter(u, u.startsWith('spiffe://prod/')).map(u, 'prod')";
    mesh.mapping.set(Source::Certificate, Part::Groups, groups).unwrap();
    let identity = identity(vec![mesh]);
    let known = of_certificate(certificate("spiffe://prod/job", "CN=mesh"));
    let proved = identity.proof(&known, at(0)).await.unwrap();
    assert_eq!((&*proved.subject.id, proved.until), ("spiffe://prod/job", Some(at(100))));
    assert_eq!((names(&proved.subject.groups), &proved.subject.proof), (vec!["prod"], &Proof::Certificate));
    assert_eq!(identity.prove(&known, at(101)).await, Err(Unproved::Expired));
    let unknown = of_certificate(certificate("spiffe://prod/job", "CN=evil"));
    assert_eq!(identity.prove(&unknown, at(0)).await, Err(Unproved::Certificate));
}

#[tokio::test]
async fn a_token_that_is_bound_needs_its_certificate() {
    use base64::Engine;
    let signer = Signer::ed25519("a", 1);
    let keys = keys_file("bound", &json!({ "keys": [signer.jwk()] }));
    let identity = identity(vec![issuer_of("corp", ISSUER, keys)]);
    let thumbprint = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode([7; 32]);
    let token = signer.token(&but(json!({ "cnf": { "x5t#S256": thumbprint } })));
    let fields = [("x-api-key", token.as_bytes())];
    let with = |certificate: Option<PeerIdentity>| {
        Presented::read(fields, identity.context_names(), certificate.map(Arc::new), None).unwrap()
    };
    let owner = certificate("spiffe://prod/job", "CN=mesh");
    assert!(identity.prove(&with(Some(owner.clone())), at(0)).await.is_ok());
    assert_eq!(identity.prove(&with(None), at(0)).await, Err(Unproved::Bound));
    let other = PeerIdentity { fingerprint: [8; 32], ..owner };
    assert_eq!(identity.prove(&with(Some(other)), at(0)).await, Err(Unproved::Bound));
}

#[test]
fn two_issuers_can_be_told_apart_or_do_not_start() {
    let file = || KeysFrom::File("/nonexistent".into());
    for issuers in [
        vec![issuer_of("a", ISSUER, file()), issuer_of("a", "https://other.example", file())],
        vec![issuer_of("a", ISSUER, file()), issuer_of("b", ISSUER, file())],
        vec![issuer_of("a", ISSUER, KeysFrom::Url("http://issuer.example/keys".to_owned()))],
    ] {
        assert!(Identity::new(issuers, Arc::default()).is_err());
    }
}

#[test]
fn the_clock_of_these_tests() {
    assert_eq!(at(0), UNIX_EPOCH + Duration::from_secs(NOW));
    assert!(at(-1) < at(0) && at(0) < SystemTime::now() + Duration::from_secs(1 << 33));
}
