//! Issued keys over the admin API: `POST`, `GET` and `DELETE /api/v1/keys`.
//!
//! Who asks proves itself as to the gateway, by a token or a client certificate's issuer; each sees and revokes its own
//! keys only. The answer to `POST` is the one place where a key is shown.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Json;
use axum::Router;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{delete, post};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_policy::{Kind, Proof, Subject};

use super::{Key, KeyError, Keys, Wish};
use crate::identity::{Identity, Presented, Unproved};

/// Bytes of a wish.
pub const WISH_BYTES_MAX: usize = 16 * 1024;

/// Gives the identity that is in force: a reload puts another in its place.
pub type InForce = Arc<dyn Fn() -> Option<Arc<Identity>> + Send + Sync>;

struct Shared {
    identity: InForce,
    keys: Arc<Keys>,
}

/// The body of `POST`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    label: String,
    groups: Option<Vec<String>>,
    purpose: Option<String>,
    kind: Option<String>,
    #[serde(default)]
    scopes: Vec<String>,
    life_seconds: Option<u64>,
}

/// The routes, to be merged into those of the admin server.
pub fn routes(identity: InForce, keys: Arc<Keys>) -> Router {
    Router::new()
        .route("/api/v1/keys", post(mint).get(list))
        .route("/api/v1/keys/{id}", delete(revoke))
        .layer(DefaultBodyLimit::max(WISH_BYTES_MAX))
        .with_state(Arc::new(Shared { identity, keys }))
}

fn problem(status: StatusCode, detail: &str) -> Response {
    let title = status.canonical_reason().unwrap_or_default();
    let body = json!({ "title": title, "status": status.as_u16(), "detail": detail });
    (status, [("content-type", "application/problem+json")], body.to_string()).into_response()
}

impl Shared {
    /// Who asks.
    async fn caller(&self, headers: &HeaderMap) -> Result<Arc<Subject>, Response> {
        let Some(identity) = (self.identity)() else {
            return Err(problem(StatusCode::SERVICE_UNAVAILABLE, "nobody can prove who they are"));
        };
        let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
        let proved = match Presented::read(fields, identity.context_names(), None, None) {
            Ok(presented) => identity.prove(&presented, SystemTime::now()).await,
            Err(reason) => Err(reason),
        };
        if proved.as_ref().is_ok_and(|subject| matches!(subject.proof, Proof::Key { .. })) {
            return Err(problem(StatusCode::FORBIDDEN, "a key manages no keys"));
        }
        proved.map_err(|reason: Unproved| {
            let status = match reason.is_temporary() {
                true => StatusCode::SERVICE_UNAVAILABLE,
                false => StatusCode::UNAUTHORIZED,
            };
            problem(status, &reason.to_string())
        })
    }
}

fn is_of(key: &Key, caller: &Subject) -> bool {
    key.subject.issuer == caller.issuer && key.subject.id == caller.id
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn shown(key: &Key) -> Value {
    json!({
        "id": &*key.id, "label": key.label, "subject": &*key.subject.id, "kind": key.subject.kind.name(),
        "groups": key.subject.groups.iter().map(|group| &**group).collect::<Vec<_>>(),
        "scopes": key.subject.scopes.iter().map(|scope| &**scope).collect::<Vec<_>>(),
        "purpose": key.subject.purpose.as_deref(), "minted": seconds(key.minted), "ends": seconds(key.ends),
        "revoked": key.revoked.map(seconds),
    })
}

async fn mint(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Json<Body>) -> Response {
    let caller = match shared.caller(&headers).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    let Json(Body { label, groups, purpose, kind, scopes, life_seconds }) = body;
    let kinds = [Kind::Human, Kind::Service, Kind::Agent];
    let known = kind.as_ref().map(|kind| kinds.into_iter().find(|known| known.name() == kind));
    let Ok(kind) = known.map_or(Ok(None), |known| known.map(Some).ok_or(())) else {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, "`kind` is human, service or agent");
    };
    let life = life_seconds.map(Duration::from_secs);
    let wish = Wish { label, groups, purpose, kind, scopes, life };
    match shared.keys.mint(&caller, &wish, SystemTime::now()).await {
        Ok(minted) => {
            let mut body = shown(&minted.key);
            if let Value::Object(members) = &mut body {
                members.insert("key".to_owned(), minted.secret.text().into());
            }
            (StatusCode::CREATED, [("cache-control", "no-store")], Json(body)).into_response()
        }
        Err(KeyError::Wish(reason)) => problem(StatusCode::UNPROCESSABLE_ENTITY, reason),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}

async fn list(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    match shared.caller(&headers).await {
        Ok(caller) => {
            let keys = shared.keys.list();
            let own: Vec<Value> = keys.iter().filter(|key| is_of(key, &caller)).map(shown).collect();
            Json(json!({ "keys": own })).into_response()
        }
        Err(refused) => refused,
    }
}

async fn revoke(State(shared): State<Arc<Shared>>, Path(id): Path<String>, headers: HeaderMap) -> Response {
    let caller = match shared.caller(&headers).await {
        Ok(caller) => caller,
        Err(refused) => return refused,
    };
    // Another's key looks as one that is not there.
    let is_own = shared.keys.list().iter().any(|key| *key.id == *id && is_of(key, &caller));
    if !is_own {
        return problem(StatusCode::NOT_FOUND, "you have no such key");
    }
    match shared.keys.revoke(&id, SystemTime::now()).await {
        Ok(_) => StatusCode::NO_CONTENT.into_response(),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string()),
    }
}
