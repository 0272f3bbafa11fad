//! Approvals in the admin server: the API, live events, Slack's callback, and a page.
//!
//! Whoever asks is proved anew with each request. What changes something is taken from no other site's page: its origin
//! must be this server, and where the proof is one that a browser sends by itself (a cookie, a client certificate, a
//! password), it needs a token that only this server's own page can read.

mod api;
mod caller;
mod events;
mod problem;

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use sluice_policy::Subject;
use tokio::sync::Semaphore;

use super::error::ApprovalError;
use super::service::Approvals;

/// The greatest body of a request to the API, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// Listeners to live events.
const LISTENERS_MAX: usize = 256;

/// The page; it loads nothing from anywhere but the API.
const PAGE: &str = include_str!("approvals.html");

/// What [`Authenticate::authenticate`] gives.
pub type Authenticated<'a> = Pin<Box<dyn Future<Output = Result<Arc<Subject>, Unauthenticated>> + Send + 'a>>;

/// Proves who asks the admin server.
pub trait Authenticate: Send + Sync {
    /// Who sends these fields from this address. Nobody is let through who proves nothing.
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap, peer: Option<SocketAddr>) -> Authenticated<'a>;
}

/// Nobody was proved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

impl fmt::Display for Unauthenticated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody was proved to ask")
    }
}

impl std::error::Error for Unauthenticated {}

/// What the routes share.
struct Web {
    approvals: Arc<Approvals>,
    authenticate: Arc<dyn Authenticate>,
    /// Of the page's tokens, new with each start.
    key: [u8; 32],
    listeners: Arc<Semaphore>,
}

/// The routes below `/api/v1/approvals`, and the page at `/approvals`.
///
/// # Errors
/// The system gives no random bytes.
pub fn routes(
    approvals: Arc<Approvals>,
    authenticate: Arc<dyn Authenticate>,
) -> Result<Router, ApprovalError> {
    let mut key = [0; 32];
    getrandom::fill(&mut key)?;
    let listeners = Arc::new(Semaphore::new(LISTENERS_MAX));
    let web = Arc::new(Web { approvals, authenticate, key, listeners });
    let api = Router::new()
        .route("/", get(api::list))
        .route("/token", get(api::token))
        .route("/events", get(events::stream))
        .route("/reviews", get(api::reviews))
        .route("/windows", post(api::ask_window))
        .route("/delegations", get(api::delegations).post(api::delegate))
        .route("/delegations/{id}/revoke", post(api::end_delegation))
        .route("/dead-letters", get(api::dead_letters))
        .route("/dead-letters/{id}/retry", post(api::revive))
        .route("/slack", post(api::slack))
        .route("/{id}", get(api::show))
        .route("/{id}/{deed}", post(api::act));
    Ok(Router::new()
        .nest("/api/v1/approvals", api)
        .route("/approvals", get(page))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(web))
}

/// Shows nothing by itself: the page asks the API, which asks who it is.
async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], PAGE).into_response()
}

#[cfg(test)]
mod tests;
