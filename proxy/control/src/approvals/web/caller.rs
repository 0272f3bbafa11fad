//! Who calls the API, and from where: proved, and not sent by another site's page.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, StatusCode};
use sluice_policy::Subject;

use super::super::notify::signature;
use super::super::request::subject_key;
use super::super::transition::{Origin, Via};
use super::Web;
use super::problem::Problem;
use crate::admin::is_same_origin;

/// The field of the page's token.
const TOKEN: &str = "x-sluice-token";

/// Someone who was proved.
#[derive(Debug)]
pub(super) struct Caller {
    pub(super) subject: Arc<Subject>,
    pub(super) origin: Origin,
}

impl FromRequestParts<Arc<Web>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, web: &Arc<Web>) -> Result<Caller, Problem> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| *peer);
        let changes = parts.method != Method::GET && parts.method != Method::HEAD;
        if changes && !is_own_page(&parts.headers) {
            let detail = "only this admin server's own pages may ask for this";
            return Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", detail));
        }
        let nobody = || Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", "nobody was proved to ask");
        let subject = web.authenticate.authenticate(&parts.headers, peer).await.map_err(|_| nobody())?;
        if subject.is_anonymous() {
            return Err(nobody());
        }
        if changes && is_sent_by_itself(&parts.headers) && !has_token(web, &subject, &parts.headers) {
            let detail = "the request needs the token that /api/v1/approvals/token gives, as x-sluice-token";
            return Err(Problem::new(StatusCode::FORBIDDEN, "cross_site", detail));
        }
        web.approvals.observe(&subject).await?;
        let address = peer.map(|peer| peer.to_string()).unwrap_or_default();
        Ok(Caller { subject, origin: Origin { via: Via::Api, address } })
    }
}

/// Whether a request comes from no page, or from one of this server: browsers say so in two fields, which pages can't set.
fn is_own_page(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site").map(|site| site.as_bytes());
    is_same_origin(headers) && matches!(site, None | Some(b"same-origin" | b"none"))
}

/// Whether the proof may be one that a browser adds to any site's request. A bearer token or key in a field is not.
fn is_sent_by_itself(headers: &HeaderMap) -> bool {
    let bearer = headers.get("authorization").and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split_once(' ').is_some_and(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
    });
    let has_cookie = headers.contains_key("cookie");
    let key = ["x-api-key", "api-key", "x-goog-api-key"].iter().any(|name| headers.contains_key(*name));
    has_cookie || !(bearer || key)
}

/// The token of a subject's pages.
pub(super) fn token(web: &Web, subject: &Subject) -> String {
    signature::sign(&web.key, subject_key(subject).as_bytes())
}

fn has_token(web: &Web, subject: &Subject, headers: &HeaderMap) -> bool {
    let given = headers.get(TOKEN).and_then(|value| value.to_str().ok()).unwrap_or_default();
    signature::is_signed(&web.key, subject_key(subject).as_bytes(), given)
}
