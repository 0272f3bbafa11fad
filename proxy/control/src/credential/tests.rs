//! Secrets read where they are, a server that speaks Vault's API, and what is put into requests.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path as Place, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::*;
use crate::identity::{CREDENTIAL_FIELDS, Fetching};
use crate::reload::lock;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

fn folder(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("sluice-credential-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn source_with(reference: &str, folder: &Path, vaults: &Vaults) -> Source {
    Source::new(Reference::parse(reference, folder).unwrap(), Keeping::default(), vaults.clone())
}

fn source(reference: &str) -> Source {
    source_with(reference, Path::new("/"), &Vaults::default())
}

async fn value(source: &Source, seconds: u64) -> Result<String, String> {
    source.value(at(seconds)).await.map(|secret| secret.text().to_owned()).map_err(|e| e.to_string())
}

/// A file with a secret, as a source.
fn kept(name: &str, text: &str) -> Source {
    let folder = folder(name);
    std::fs::write(folder.join("secret"), text).unwrap();
    source_with("file:secret", &folder, &Vaults::default())
}

#[tokio::test]
async fn a_file_is_read_again_and_used_for_a_bounded_time_when_it_is_gone() {
    let folder = folder("again");
    let file = folder.join("secret");
    let source = source_with("file:secret", &folder, &Vaults::default());
    assert!(value(&source, 0).await.unwrap_err().contains("can't be read"));
    std::fs::write(&file, "one\r\n").unwrap();
    assert_eq!(value(&source, 0).await.as_deref(), Ok("one"));
    std::fs::write(&file, "two\n").unwrap();
    assert_eq!(value(&source, 29).await.as_deref(), Ok("one"), "kept");
    assert_eq!(value(&source, 30).await.as_deref(), Ok("two"));
    source.forget();
    std::fs::write(&file, "three").unwrap();
    assert_eq!(value(&source, 31).await.as_deref(), Ok("three"));
    std::fs::remove_file(&file).unwrap();
    assert_eq!(value(&source, 330).await.as_deref(), Ok("three"), "stale, but not too old");
    assert!(value(&source, 331).await.is_err());
    std::fs::write(&file, "four").unwrap();
    assert_eq!(value(&source, 332).await.as_deref(), Ok("four"));
    // A clock that went back makes what was read later unknown.
    std::fs::write(&file, "five").unwrap();
    assert_eq!(value(&source, 300).await.as_deref(), Ok("five"));
}

#[tokio::test]
async fn what_is_no_secret_is_refused() {
    let folder = folder("refused");
    for (name, bytes, is_taken) in [
        ("empty", Vec::new(), false),
        ("line", b"\n".to_vec(), false),
        ("binary", vec![0xFF, 0xFE], false),
        ("long", vec![b'a'; SECRET_BYTES_MAX], true),
        ("longer", vec![b'a'; SECRET_BYTES_MAX + 1], false),
    ] {
        std::fs::write(folder.join(name), bytes).unwrap();
        let source = source_with(&format!("file:{name}"), &folder, &Vaults::default());
        assert_eq!(source.value(at(0)).await.is_ok(), is_taken, "{name}");
    }
    assert!(source_with("file:.", &folder, &Vaults::default()).value(at(0)).await.is_err());
    assert!(source("env:SLUICE_NO_SUCH_VARIABLE").value(at(0)).await.is_err());
    assert_eq!(value(&source("env:CARGO_PKG_NAME"), 0).await.as_deref(), Ok("sluice-control"));
}

#[tokio::test]
async fn a_program_prints_a_secret_and_no_shell_reads_its_arguments() {
    let words = ["/bin/echo", "-n", "$HOME;x"].map(str::to_owned).to_vec();
    let reference = Reference::exec(words, Path::new("/")).unwrap();
    let echo = Source::new(reference, Keeping::default(), Vaults::default());
    assert_eq!(value(&echo, 0).await.as_deref(), Ok("$HOME;x"));
    for (reference, reason) in [
        ("exec:/bin/false", "it fails"),
        ("exec:/nonexistent/program", "can't run"),
        ("exec:/bin/true", "it is empty"),
        ("exec:/bin/cat /dev/zero", "prints more"),
    ] {
        let error = value(&source(reference), 0).await.unwrap_err();
        assert!(error.contains(reason), "{reference}: {error}");
        assert!(!error.contains("/dev/zero"), "arguments are not told: {error}");
    }
}

/// A server that speaks as much of Vault's API as is used.
#[derive(Default)]
struct Server {
    logins: AtomicU64,
    /// The token that it takes.
    token: std::sync::Mutex<String>,
}

async fn log_in(
    State(server): State<Arc<Server>>,
    Place(method): Place<String>,
    axum::Json(body): axum::Json<Value>,
) -> Result<axum::Json<Value>, StatusCode> {
    let is_known = match method.as_str() {
        "approle" => body == json!({ "role_id": "the-role", "secret_id": "the-secret" }),
        "kubernetes" => body == json!({ "role": "sluice", "jwt": "the-jwt" }),
        _ => false,
    };
    if !is_known {
        return Err(StatusCode::BAD_REQUEST);
    }
    let token = format!("login-{}", server.logins.fetch_add(1, Ordering::Relaxed));
    lock(&server.token).clone_from(&token);
    Ok(axum::Json(json!({ "auth": { "client_token": token, "lease_duration": 100 } })))
}

async fn read(
    State(server): State<Arc<Server>>,
    Place(path): Place<String>,
    headers: HeaderMap,
) -> Result<axum::Json<Value>, StatusCode> {
    let token = headers.get("x-vault-token").and_then(|value| value.to_str().ok()).unwrap_or_default();
    if token != lock(&server.token).as_str() || !headers.contains_key("x-vault-request") {
        return Err(StatusCode::FORBIDDEN);
    }
    match path.as_str() {
        "llm/openai" => Ok(axum::Json(json!({ "data": { "data": { "key": "sk-1", "n": 5 } } }))),
        _ => Err(StatusCode::NOT_FOUND),
    }
}

async fn vault(server: &Arc<Server>, auth: VaultAuth) -> Vaults {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new()
        .route("/v1/auth/{method}/login", post(log_in))
        .route("/v1/kv/data/{*path}", get(read))
        .with_state(Arc::clone(server));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let vault =
        Vault { address, mount: "kv".to_owned(), namespace: None, auth, fetching: Fetching::default() };
    Vaults::new(vec![("main".to_owned(), vault)]).unwrap()
}

#[tokio::test]
async fn vault_by_every_proof() {
    let approle = || VaultAuth::AppRole {
        mount: "approle".to_owned(),
        role: kept("role", "the-role\n"),
        secret: kept("secret-id", "the-secret"),
    };
    let kubernetes = VaultAuth::Kubernetes {
        mount: "kubernetes".to_owned(),
        role: "sluice".to_owned(),
        token: kept("jwt", "the-jwt"),
    };
    for auth in [VaultAuth::Token(kept("token", "root")), approle(), kubernetes] {
        let server = Arc::new(Server::default());
        "root".clone_into(&mut lock(&server.token));
        let vaults = vault(&server, auth).await;
        let of = |reference: &str| source_with(reference, Path::new("/"), &vaults);
        assert_eq!(value(&of("vault:main/llm/openai#key"), 0).await.as_deref(), Ok("sk-1"));
        for (reference, reason) in [
            ("vault:main/llm/other#key", "no such secret"),
            ("vault:main/llm/openai#other", "no such field"),
            ("vault:main/llm/openai#n", "no such field"),
            ("vault:other/llm/openai#key", "no such server"),
        ] {
            let error = value(&of(reference), 0).await.unwrap_err();
            assert!(error.contains(reason), "{reference}: {error}");
        }
    }
    // A login is kept for four fifths of its life, and got anew when its token is refused.
    let server = Arc::new(Server::default());
    let vaults = vault(&server, approle()).await;
    let secret = source_with("vault:main/llm/openai#key", Path::new("/"), &vaults);
    for (seconds, logins) in [(0, 1), (60, 1), (90, 2), (120, 2)] {
        assert_eq!(value(&secret, seconds).await.as_deref(), Ok("sk-1"), "{seconds}");
        assert_eq!(server.logins.load(Ordering::Relaxed), logins, "{seconds}");
    }
    "sealed".clone_into(&mut lock(&server.token));
    assert_eq!(value(&secret, 150).await.as_deref(), Ok("sk-1"));
    assert_eq!(server.logins.load(Ordering::Relaxed), 3);
}

#[tokio::test]
async fn vault_that_does_not_know_the_gateway_gives_nothing() {
    let server = Arc::new(Server::default());
    let role = VaultAuth::AppRole {
        mount: "approle".to_owned(),
        role: kept("wrong-role", "another"),
        secret: kept("wrong-secret", "the-secret"),
    };
    let vaults = vault(&server, role).await;
    let error =
        value(&source_with("vault:main/llm/openai#key", Path::new("/"), &vaults), 0).await.unwrap_err();
    assert!(error.contains("login is answered by 400") && !error.contains("the-secret"), "{error}");
}

fn outgoing<'r>(body: Option<&'r [u8]>) -> Outgoing<'r> {
    Outgoing {
        method: "POST",
        target: "/v1/chat?X-Amz-Signature=x&a=b",
        host: "h.example",
        body,
        length: None,
    }
}

fn pairs(set: &[(String, Secret)]) -> Vec<(&str, &str)> {
    set.iter().map(|(name, value)| (name.as_str(), value.text())).collect()
}

#[tokio::test]
async fn what_is_set_and_what_is_taken_away() {
    let secret = || kept("plan", "s3cr3t");
    let header = Injection::Header {
        name: "authorization".to_owned(),
        prefix: "Bearer ".to_owned(),
        secret: secret(),
    };
    let plan = header.plan(&outgoing(None), at(0)).await.unwrap();
    assert_eq!(pairs(&plan.set_fields), [("authorization", "Bearer s3cr3t")]);
    let query = Injection::Query { name: "key".to_owned(), secret: secret() };
    let plan = query.plan(&outgoing(None), at(0)).await.unwrap();
    assert_eq!((pairs(&plan.set_query), plan.strip_query), (vec![("key", "s3cr3t")], vec!["key".to_owned()]));
    let basic = Injection::Basic { user: "me".to_owned(), password: secret() };
    let plan = basic.plan(&outgoing(None), at(0)).await.unwrap();
    assert_eq!(pairs(&plan.set_fields), [("authorization", "Basic bWU6czNjcjN0")]);
    assert_eq!(plan.secrets.iter().map(|s| s.text()).collect::<Vec<_>>(), ["s3cr3t", "bWU6czNjcjN0"]);
    let own = Injection::Header { name: "x-team-key".to_owned(), prefix: String::new(), secret: secret() };
    let plan = own.plan(&outgoing(None), at(0)).await.unwrap();
    assert!(plan.strip_fields.iter().any(|field| field == "x-team-key"), "the caller's own goes");
    for plan in [plan, Plan::without()] {
        for field in CREDENTIAL_FIELDS {
            assert!(plan.strip_fields.iter().any(|stripped| stripped == field), "{field}");
        }
    }
}

#[tokio::test]
async fn a_credential_that_can_not_be_put_into_a_request_is_a_refusal() {
    let header = |secret| Injection::Header { name: "x".to_owned(), prefix: String::new(), secret };
    assert!(header(kept("two-lines", "a\r\nx-evil: b")).plan(&outgoing(None), at(0)).await.is_err());
    assert!(header(source("env:SLUICE_NO_SUCH_VARIABLE")).plan(&outgoing(None), at(0)).await.is_err());
}

#[tokio::test]
async fn signatures_of_bodies_and_streams() {
    let signing = |payload| Injection::SigV4 {
        service: AwsService { region: "r".to_owned(), service: "s3".to_owned() },
        id: kept("aws-id", "AKID"),
        secret: kept("aws-key", "key"),
        session: None,
        payload,
    };
    let held = outgoing(Some(b"abc"));
    let streamed = Outgoing { length: Some(3), ..outgoing(None) };
    for (part, request, is_signed, hash) in [
        (SignedPart::Whole, held, true, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (SignedPart::Whole, streamed, false, ""),
        (SignedPart::Nothing, streamed, true, "UNSIGNED-PAYLOAD"),
        (SignedPart::Chunks, streamed, true, "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
        (SignedPart::Chunks, outgoing(None), false, ""),
    ] {
        let plan = signing(part).plan(&request, at(0)).await;
        assert_eq!(plan.is_ok(), is_signed, "{part:?}");
        let Ok(plan) = plan else { continue };
        let fields = pairs(&plan.set_fields);
        assert!(fields.contains(&("x-amz-content-sha256", hash)), "{part:?} {fields:?}");
        assert_eq!(plan.chunks.is_some(), part == SignedPart::Chunks);
        assert!(plan.strip_query.iter().any(|name| name == "X-Amz-Signature"));
        assert!(plan.strip_fields.iter().any(|name| name == "x-amz-security-token"));
    }
    // What is taken away is not signed.
    let plain = Outgoing { target: "/v1/chat?a=b", ..held };
    let [a, b] =
        [signing(SignedPart::Whole).plan(&held, at(0)), signing(SignedPart::Whole).plan(&plain, at(0))];
    assert_eq!(pairs(&a.await.unwrap().set_fields), pairs(&b.await.unwrap().set_fields));
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let source = kept("debug", "s3cr3t-value");
    let secret = source.value(at(0)).await.unwrap();
    let token = VaultAuth::Token(source.clone());
    let vault = Vault {
        address: "http://127.0.0.1:1".to_owned(),
        mount: "kv".to_owned(),
        namespace: None,
        auth: token.clone(),
        fetching: Fetching::default(),
    };
    let vaults = Vaults::new(vec![("main".to_owned(), vault.clone())]).unwrap();
    let service = AwsService { region: "r".to_owned(), service: "s3".to_owned() };
    let header = Injection::Header { name: "x".to_owned(), prefix: String::new(), secret: source.clone() };
    let sigv4 = Injection::SigV4 {
        service: service.clone(),
        id: source.clone(),
        secret: source.clone(),
        session: Some(source.clone()),
        payload: SignedPart::Whole,
    };
    let key = AccessKey { id: "AKID", secret: &secret, session: Some(&secret) };
    let to_sign = ToSign {
        method: "GET",
        target: "/",
        host: "h",
        fields: &[],
        payload: Payload::Streamed { length: 1 },
    };
    let shown = [
        format!("{secret:?} {source:?} {token:?} {vault:?} {vaults:?} {header:?} {sigv4:?} {key:?}"),
        format!("{:?}", header.plan(&outgoing(None), at(0)).await.unwrap()),
        format!("{:?}", sigv4.plan(&outgoing(Some(b"")), at(0)).await.unwrap()),
        format!("{:?}", service.sign(key, &to_sign, at(0))),
    ];
    for text in shown {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
}
