//! The routes of the API.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Extension, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use sluice_policy::{Kind, Subject};

use super::super::decide::{DelegationRequest, WindowRequest};
use super::super::notify::slack::Untrusted;
use super::super::people::Account;
use super::super::request::ApprovalId;
use super::super::store::Filter;
use super::Web;
use super::caller::{self, Caller};
use super::problem::Problem;

type Answer = Result<Json<Value>, Problem>;

/// Why someone does something.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Why {
    reason: String,
}

pub(super) async fn list(
    State(web): State<Arc<Web>>,
    caller: Caller,
    filter: Result<Query<Filter>, QueryRejection>,
) -> Answer {
    let Query(mut filter) = filter.map_err(|e| unreadable(&e.body_text()))?;
    if !is_person(&caller.subject) {
        // A program sees what it has asked for.
        filter.subject = Some(Account::of(&caller.subject).to_string());
    }
    Ok(Json(web.approvals.list(filter).await?))
}

pub(super) async fn show(State(web): State<Arc<Web>>, caller: Caller, Path(id): Path<String>) -> Answer {
    Ok(Json(web.approvals.show(&parse(&id)?, &caller.subject).await?))
}

pub(super) async fn act(
    State(web): State<Arc<Web>>,
    caller: Caller,
    Path((id, deed)): Path<(String, String)>,
    why: Result<Json<Why>, JsonRejection>,
) -> Answer {
    let id = parse(&id)?;
    let Json(Why { reason }) = read(why)?;
    let (approvals, Caller { subject, origin }) = (&web.approvals, caller);
    let state = match deed.as_str() {
        "approve" => approvals.approve(&id, subject, &reason, origin).await?,
        "deny" => approvals.deny(&id, subject, &reason, origin).await?,
        "revoke" => approvals.revoke(&id, subject, &reason, origin).await?,
        "cancel" => approvals.withdraw(&id, subject, &reason, origin).await?,
        "break-glass" => approvals.break_glass(&id, subject, &reason, origin).await?,
        "review" => approvals.close_review(&id, subject, &reason, origin).await?,
        _ => return Err(Problem::not_found()),
    };
    Ok(Json(json!({ "id": id, "state": state })))
}

pub(super) async fn token(State(web): State<Arc<Web>>, caller: Caller) -> Answer {
    let account = Account::of(&caller.subject).to_string();
    Ok(Json(json!({ "token": caller::token(&web, &caller.subject), "account": account })))
}

pub(super) async fn reviews(State(web): State<Arc<Web>>, caller: Caller) -> Answer {
    check_person(&caller.subject)?;
    Ok(Json(json!({ "reviews": web.approvals.open_reviews().await? })))
}

pub(super) async fn ask_window(
    State(web): State<Arc<Web>>,
    caller: Caller,
    asked: Result<Json<WindowRequest>, JsonRejection>,
) -> Answer {
    let Json(asked) = read(asked)?;
    let id = web.approvals.ask_window(&caller.subject, asked, caller.origin).await?;
    Ok(Json(json!({ "id": id, "state": "pending" })))
}

pub(super) async fn delegations(State(web): State<Arc<Web>>, caller: Caller) -> Answer {
    let delegations = web.approvals.delegations(&Account::of(&caller.subject)).await?;
    Ok(Json(json!({ "delegations": delegations })))
}

pub(super) async fn delegate(
    State(web): State<Arc<Web>>,
    caller: Caller,
    asked: Result<Json<DelegationRequest>, JsonRejection>,
) -> Answer {
    let Json(asked) = read(asked)?;
    Ok(Json(json!(web.approvals.delegate(&caller.subject, asked).await?)))
}

pub(super) async fn end_delegation(
    State(web): State<Arc<Web>>,
    caller: Caller,
    Path(id): Path<String>,
) -> Answer {
    web.approvals.end_delegation(&id, &Account::of(&caller.subject)).await?;
    Ok(Json(json!({ "id": id })))
}

pub(super) async fn dead_letters(State(web): State<Arc<Web>>, caller: Caller) -> Answer {
    check_person(&caller.subject)?;
    let letters: Vec<Value> = web
        .approvals
        .dead_letters()
        .await?
        .into_iter()
        .map(|letter| {
            json!({
                "id": letter.id, "target": letter.target, "approval": letter.approval,
                "created_ms": letter.created_ms, "tries": letter.tries, "last_error": letter.last_error,
            })
        })
        .collect();
    Ok(Json(json!({ "dead_letters": letters })))
}

pub(super) async fn revive(State(web): State<Arc<Web>>, caller: Caller, Path(id): Path<String>) -> Answer {
    check_person(&caller.subject)?;
    web.approvals.revive(&id).await?;
    Ok(Json(json!({ "id": id })))
}

/// Slack proves itself by its signature over the bytes of the body.
pub(super) async fn slack(
    State(web): State<Arc<Web>>,
    peer: Option<Extension<ConnectInfo<SocketAddr>>>,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Response, Problem> {
    let field = |name| headers.get(name).and_then(|value: &axum::http::HeaderValue| value.to_str().ok());
    let time = field("x-slack-request-timestamp").unwrap_or_default();
    let signature = field("x-slack-signature").unwrap_or_default();
    let address = peer.map(|Extension(ConnectInfo(peer))| peer.to_string()).unwrap_or_default();
    match web.approvals.slack_callback(time, signature, &body, address).await? {
        Ok(text) => {
            let body = json!({ "response_type": "ephemeral", "replace_original": false, "text": text });
            Ok(Json(body).into_response())
        }
        Err(Untrusted::NotConfigured) => Err(Problem::not_found()),
        Err(Untrusted::Unsigned | Untrusted::Stale | Untrusted::Replayed) => {
            let detail = "the callback is not signed, too old, or was taken before";
            Err(Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", detail))
        }
        Err(Untrusted::Unreadable) => Err(unreadable("the callback can't be read")),
    }
}

pub(super) fn is_person(subject: &Subject) -> bool {
    subject.kind == Kind::Human
}

fn check_person(subject: &Subject) -> Result<(), Problem> {
    match is_person(subject) {
        true => Ok(()),
        false => Err(Problem::new(StatusCode::FORBIDDEN, "denied", "only people may see or do this")),
    }
}

fn parse(id: &str) -> Result<ApprovalId, Problem> {
    ApprovalId::parse(id).ok_or_else(Problem::not_found)
}

fn read<T>(body: Result<Json<T>, JsonRejection>) -> Result<Json<T>, Problem> {
    body.map_err(|rejection| Problem::new(rejection.status(), "invalid", rejection.body_text()))
}

fn unreadable(detail: &str) -> Problem {
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail)
}
