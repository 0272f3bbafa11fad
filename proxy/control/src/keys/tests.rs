//! Keys: minted once, no more than their minter, gone when they end or are revoked.

use std::path::PathBuf;

use serde_json::json;

use super::*;
use crate::identity::Identity;
use crate::identity::tests::forge::{ISSUER, Signer, but, present};
use crate::identity::tests::{issuer_of, keys_file};

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn store(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sluice-keys-{}-{name}.db", std::process::id()));
    for end in ["", "-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{end}", path.display()));
    }
    path
}

fn secret() -> Secret {
    Secret::new("k".repeat(HASH_KEY_BYTES_MIN))
}

fn ann() -> Subject {
    Subject {
        issuer: Arc::from("corp"),
        id: Arc::from("ann"),
        groups: vec![Arc::from("dev"), Arc::from("ops")],
        kind: Kind::Human,
        proof: Proof::Token { jti: None },
        ..Subject::default()
    }
}

#[tokio::test]
async fn a_key_is_its_minter_until_it_ends_or_is_revoked() {
    let path = store("life");
    let keys = Keys::open(&path, &secret()).await.unwrap();
    let wish = Wish {
        label: "ci".to_owned(),
        groups: Some(vec!["dev".to_owned()]),
        kind: Some(Kind::Service),
        scopes: vec!["upstream:openai".to_owned()],
        life: Some(Duration::from_secs(100)),
        ..Wish::default()
    };
    let minted = keys.mint(&ann(), &wish, at(0)).await.unwrap();
    let text = minted.secret.text().to_owned();
    assert!(text.starts_with(PREFIX) && !format!("{minted:?}").contains(&text[24..]));
    let found = keys.find(&text, at(99)).unwrap();
    assert_eq!(found, minted.key);
    let subject = &found.subject;
    assert_eq!((&*subject.issuer, &*subject.id, subject.owner.as_deref()), ("corp", "ann", Some("ann")));
    assert_eq!((subject.groups.len(), subject.kind), (1, Kind::Service));
    assert!(subject.is_within("openai", "chat", "POST") && !subject.is_within("vault", "chat", "POST"));
    assert_eq!(keys.find(&text, at(100)), Err(Unproved::Expired));
    let end = if text.ends_with('A') { "B" } else { "A" };
    for wrong in [format!("{}{end}", &text[..text.len() - 1]), format!("{text}A"), PREFIX.to_owned()] {
        assert_eq!(keys.find(&wrong, at(1)), Err(Unproved::UnknownCredential), "{wrong}");
    }
    // The store holds no key, and another gateway that reads it knows the key all the same.
    let bytes =
        [std::fs::read(&path).unwrap(), std::fs::read(path.with_extension("db-wal")).unwrap()].concat();
    assert!(!bytes.windows(20).any(|window| window == &text.as_bytes()[24..44]));
    let again = Keys::open(&path, &secret()).await.unwrap();
    assert_eq!(again.find(&text, at(1)).unwrap(), minted.key);
    let stranger = Keys::open(&path, &Secret::new("x".repeat(32))).await.unwrap();
    assert_eq!(stranger.find(&text, at(1)), Err(Unproved::UnknownCredential), "hashes are keyed");
    assert!(keys.revoke(&minted.key.id, at(2)).await.unwrap());
    assert!(!keys.revoke("nobody", at(2)).await.unwrap());
    assert_eq!(keys.find(&text, at(3)), Err(Unproved::Revoked));
    let again = Keys::open(&path, &secret()).await.unwrap();
    assert_eq!(again.find(&text, at(3)), Err(Unproved::Revoked));
    assert_eq!(again.list().first().unwrap().revoked, Some(at(2)));
}

#[tokio::test]
async fn a_key_is_never_more_than_its_minter() {
    let keys = Keys::open(&store("more"), &secret()).await.unwrap();
    let wish = Wish::default;
    let agent = Subject { kind: Kind::Agent, purpose: Some(Arc::from("audit")), ..ann() };
    let key = Subject { proof: Proof::Key { id: Arc::from("1") }, ..ann() };
    for (minter, wish, is_granted) in [
        (&ann(), wish(), true),
        (&ann(), Wish { groups: Some(vec!["root".to_owned()]), ..wish() }, false),
        (&ann(), Wish { purpose: Some("audit".to_owned()), ..wish() }, true),
        (&agent, wish(), true),
        (&agent, Wish { purpose: Some("export".to_owned()), ..wish() }, false),
        (&agent, Wish { kind: Some(Kind::Human), ..wish() }, false),
        (&ann(), Wish { kind: Some(Kind::Human), ..wish() }, true),
        (&Subject::default(), wish(), false),
        (&key, wish(), false),
        (&ann(), Wish { scopes: vec!["everything".to_owned()], ..wish() }, false),
        (&ann(), Wish { scopes: vec!["route:a".to_owned(); SCOPES_MAX], ..wish() }, true),
        (&ann(), Wish { scopes: vec!["route:a".to_owned(); SCOPES_MAX + 1], ..wish() }, false),
        (&ann(), Wish { label: "l".repeat(LABEL_BYTES_MAX), ..wish() }, true),
        (&ann(), Wish { label: "l".repeat(LABEL_BYTES_MAX + 1), ..wish() }, false),
        (&ann(), Wish { life: Some(LIFE_MAX), ..wish() }, true),
        (&ann(), Wish { life: Some(LIFE_MAX + Duration::from_secs(1)), ..wish() }, false),
        (&ann(), Wish { life: Some(LIFE_MIN - Duration::from_secs(1)), ..wish() }, false),
    ] {
        assert_eq!(keys.mint(minter, &wish, at(0)).await.is_ok(), is_granted, "{minter:?} {wish:?}");
    }
}

#[tokio::test]
async fn a_store_that_can_not_be_used_opens_not() {
    let short = Secret::new("k".repeat(HASH_KEY_BYTES_MIN - 1));
    assert!(matches!(Keys::open(&store("short"), &short).await, Err(KeyError::HashKey)));
    let path = store("broken");
    std::fs::write(&path, "this is no database, however long it is read".repeat(100)).unwrap();
    assert!(matches!(Keys::open(&path, &secret()).await, Err(KeyError::Store(_))));
    assert!(Keys::open(Path::new("/nonexistent/keys.db"), &secret()).await.is_err());
}

/// An admin server with these routes and one issuer; its address, and what signs its tokens.
async fn server(name: &str) -> (String, Signer, Arc<Identity>) {
    let signer = Signer::ed25519("a", 1);
    let issuer = issuer_of("corp", ISSUER, keys_file(name, &json!({ "keys": [signer.jwk()] })));
    let keys = Arc::new(Keys::open(&store(name), &secret()).await.unwrap());
    let identity = Identity::new(vec![issuer], Arc::default()).unwrap().with_keys(Arc::clone(&keys));
    let identity = Arc::new(identity);
    let in_force = Arc::clone(&identity);
    let routes = routes(Arc::new(move || Some(Arc::clone(&in_force))), keys);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/api/v1/keys", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (address, signer, identity)
}

fn token(signer: &Signer, subject: &str) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let times = json!({ "sub": subject, "iat": now, "nbf": now, "exp": now + 100, "groups": ["dev"] });
    signer.token(&but(times))
}

#[tokio::test]
async fn keys_over_the_admin_api() {
    let (address, signer, identity) = server("api").await;
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let (ann, bob) = (token(&signer, "ann"), token(&signer, "bob"));
    let wish = json!({ "label": "ci", "kind": "service", "life_seconds": 60, "scopes": ["upstream:u"] });
    assert_eq!(client.post(&address).json(&wish).send().await.unwrap().status(), 401);
    let minted = client.post(&address).bearer_auth(&ann).json(&wish).send().await.unwrap();
    assert_eq!(minted.status(), 201);
    let minted: serde_json::Value = minted.json().await.unwrap();
    let (id, key) = (minted["id"].as_str().unwrap(), minted["key"].as_str().unwrap());
    let now = SystemTime::now();
    let proved = present(&identity, key, now).await.unwrap();
    assert_eq!((&*proved.subject.id, &*proved.subject.issuer), ("ann", "corp"));
    for (caller, count) in [(&ann, 1), (&bob, 0)] {
        let text = client.get(&address).bearer_auth(caller).send().await.unwrap().text().await.unwrap();
        assert_eq!(text.matches(id).count(), count, "{text}");
        assert!(!text.contains(key), "it is shown once");
    }
    for (caller, body, status) in [
        (&ann, json!({ "label": "x", "groups": ["root"] }), 422),
        (&ann, json!({ "label": "x", "kind": "root" }), 422),
        (&ann, json!({ "label": "x", "unknown": 1 }), 422),
        (&key.to_owned(), json!({ "label": "x" }), 403),
        (&ann, json!({ "label": "x".repeat(WISH_BYTES_MAX) }), 413),
    ] {
        let answer = client.post(&address).bearer_auth(caller).json(&body).send().await.unwrap();
        assert_eq!(answer.status(), status, "{:.80}", body.to_string());
    }
    let own = format!("{address}/{id}");
    assert_eq!(client.delete(&own).bearer_auth(&bob).send().await.unwrap().status(), 404);
    assert!(present(&identity, key, now).await.is_ok());
    assert_eq!(client.delete(&own).bearer_auth(&ann).send().await.unwrap().status(), 204);
    assert_eq!(present(&identity, key, now).await, Err(Unproved::Revoked));
}
