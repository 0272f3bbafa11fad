//! The admin server: `/healthz`, `/readyz`, `/metrics`, `/api/v1/…`, and the console at `/`.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use sluice_data::{GatewayStats, REFUSALS};
use tokio::net::TcpListener;

use crate::reload::{InForce, Reloads};
use crate::{console, metrics};

/// Whether traffic may be sent to the gateway; set by whoever drains it.
#[derive(Clone, Debug, Default)]
pub struct Readiness(Arc<AtomicBool>);

impl Readiness {
    /// The gateway drains: no new traffic, please.
    pub fn set_draining(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_draining(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why the admin server does not start.
#[derive(Debug)]
pub struct AdminError(SocketAddr, std::io::Error);

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "can't listen on {} for the admin server: {}", self.0, self.1)
    }
}

impl std::error::Error for AdminError {}

/// A bound admin server.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    address: SocketAddr,
    others: Router,
}

struct Shared {
    stats: Arc<GatewayStats>,
    reloads: Arc<Reloads>,
    readiness: Readiness,
    /// What does not change: version, addresses, shards.
    about: Value,
    /// Only a loopback listener can be reached by a page through DNS rebinding in a way that matters: its `Host`
    /// must then be loopback too.
    is_loopback: bool,
}

impl Admin {
    /// Binds `address`.
    ///
    /// # Errors
    /// The address can't be bound.
    pub async fn bind(address: SocketAddr) -> Result<Admin, AdminError> {
        let failed = |e| AdminError(address, e);
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Admin { listener, address, others: Router::new() })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves these routes too, under the same guard against foreign hosts.
    #[must_use]
    pub fn with_routes(mut self, others: Router) -> Admin {
        self.others = self.others.merge(others);
        self
    }

    /// Serves until the task is dropped.
    ///
    /// # Errors
    /// The listener fails.
    pub async fn serve(self, reloads: Arc<Reloads>, readiness: Readiness) -> std::io::Result<()> {
        let gateway = reloads.gateway();
        let addresses: Vec<String> = gateway.addresses().iter().map(ToString::to_string).collect();
        let shared = Arc::new(Shared {
            stats: gateway.stats(),
            readiness,
            about: json!({
                "version": env!("CARGO_PKG_VERSION"),
                "gateway": addresses.join(", "),
                "shards": gateway.shards(),
                "io": gateway.io_driver().to_string(),
            }),
            is_loopback: self.address.ip().is_loopback(),
            reloads,
        });
        let router = router(shared, self.others);
        axum::serve(self.listener, router.into_make_service_with_connect_info::<SocketAddr>()).await
    }
}

fn router(shared: Arc<Shared>, others: Router) -> Router {
    let guarded = from_fn_with_state(Arc::clone(&shared), guard);
    Router::new()
        .route("/healthz", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .route("/metrics", get(export))
        .route("/api/v1/status", get(status))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/openapi.json", get(async || axum::Json(openapi())))
        .route("/", get(page))
        .with_state(shared)
        .merge(others)
        .layer(guarded)
}

/// Refuses foreign hosts; every answer, that one too, gets the fields that hold a browser to this page.
async fn guard(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let host = request.headers().get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default();
    let mut response = if shared.is_loopback && !is_loopback_host(host) {
        let text = "this admin server answers only to its loopback address\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(console::POLICY));
    response
}

fn is_loopback_host(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Reads the configuration again. A page elsewhere, which a browser lets send this, must not: its `Origin` tells.
async fn reload(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response {
    if !is_same_origin(&headers) {
        let text = "only this admin server's own pages may ask for a reload\n";
        return (StatusCode::FORBIDDEN, text).into_response();
    }
    let reloads = Arc::clone(&shared.reloads);
    match tokio::task::spawn_blocking(move || reloads.reload()).await {
        Ok(Ok(in_force)) => axum::Json(configuration(&in_force)).into_response(),
        Ok(Err(error)) => {
            let faults = error.faults().iter();
            let faults: Vec<Value> = faults
                .map(|fault| json!({ "file": fault.file, "line": fault.line, "reason": fault.reason }))
                .collect();
            let title = "The configuration has faults; the one before stays in force";
            let body = json!({ "title": title, "status": 422, "faults": faults });
            (StatusCode::UNPROCESSABLE_ENTITY, axum::Json(body)).into_response()
        }
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the reload broke off\n").into_response(),
    }
}

/// Whether a request comes from no page at all, or from one of the host that it is sent to.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let authority = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, rest)| rest);
    authority.is_some() && authority == text(header::HOST)
}

fn configuration(in_force: &InForce) -> Value {
    json!({ "version": in_force.version, "sha256": in_force.sha256 })
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    match shared.readiness.is_draining() {
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining\n").into_response(),
        false => "ready\n".into_response(),
    }
}

async fn export(State(shared): State<Arc<Shared>>) -> Response {
    const KIND: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match metrics::encode(&shared.stats, &shared.reloads) {
        Ok(text) => ([(header::CONTENT_TYPE, KIND)], text).into_response(),
        Err(_) => (StatusCode::INTERNAL_SERVER_ERROR, "the metrics can't be written\n").into_response(),
    }
}

async fn page() -> Response {
    ([(header::CONTENT_TYPE, "text/html; charset=utf-8")], console::PAGE).into_response()
}

async fn status(State(shared): State<Arc<Shared>>) -> Response {
    let stats = shared.stats.snapshot();
    let matches: serde_json::Map<String, Value> =
        stats.matches.into_iter().filter(|(_, n)| *n > 0).map(|(id, n)| (id, n.into())).collect();
    let refusals: serde_json::Map<String, Value> = REFUSALS
        .into_iter()
        .zip(stats.refusals)
        .filter(|(_, n)| *n > 0)
        .map(|(code, n)| (code.to_owned(), n.into()))
        .collect();
    let in_force = shared.reloads.in_force();
    let mut body = json!({
        "state": if shared.readiness.is_draining() { "draining" } else { "ready" },
        "requests": stats.requests,
        "aborted": stats.aborted,
        "connections_open": stats.connections_open,
        "upstream_errors": stats.upstream_errors,
        "request_bytes_scanned": stats.request_bytes_scanned,
        "response_bytes_scanned": stats.response_bytes_scanned,
        "hold_back_bytes": stats.hold_back_bytes,
        "matches": matches,
        "refusals": refusals,
        "upstream": in_force.upstreams,
        "configuration": configuration(&in_force),
        "reloads_refused": shared.reloads.refused(),
    });
    if let (Value::Object(body), Value::Object(about)) = (&mut body, &shared.about) {
        body.extend(about.clone());
    }
    axum::Json(body).into_response()
}

/// Describes what there is (OpenAPI 3.1).
fn openapi() -> Value {
    let number = json!({ "type": "integer", "minimum": 0 });
    let counts = json!({ "type": "object", "additionalProperties": number });
    let text = json!({ "type": "string" });
    let in_force = json!({ "type": "object", "properties": { "version": number, "sha256": text } });
    json!({
        "openapi": "3.1.0",
        "info": { "title": "Sluice admin API", "version": env!("CARGO_PKG_VERSION") },
        "paths": {
            "/api/v1/status": { "get": {
                "summary": "What the gateway is and has done since it started",
                "responses": { "200": { "description": "Status", "content": { "application/json": { "schema": {
                    "type": "object",
                    "properties": {
                        "state": { "enum": ["ready", "draining"] },
                        "version": text, "gateway": text, "upstream": text, "io": text,
                        "shards": number, "requests": number, "aborted": number, "connections_open": number,
                        "upstream_errors": number, "request_bytes_scanned": number,
                        "response_bytes_scanned": number, "hold_back_bytes": number,
                        "matches": counts, "refusals": counts, "reloads_refused": number,
                        "configuration": in_force,
                    },
                } } } } },
            } },
            "/api/v1/reload": { "post": {
                "summary": "Reads the configuration again, as SIGHUP does: whole, or nothing changes",
                "responses": {
                    "200": { "description": "It is in force", "content": { "application/json": {
                        "schema": in_force,
                    } } },
                    "422": { "description": "It has faults, and nothing has changed", "content": {
                        "application/json": { "schema": { "type": "object", "properties": {
                            "title": text, "status": number,
                            "faults": { "type": "array", "items": { "type": "object", "properties": {
                                "file": text, "line": number, "reason": text,
                            } } },
                        } } },
                    } },
                },
            } },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins() {
        for (origin, host, wanted) in [
            (None, "127.0.0.1:9090", true),
            (Some("http://127.0.0.1:9090"), "127.0.0.1:9090", true),
            (Some("http://127.0.0.1:8080"), "127.0.0.1:9090", false),
            (Some("https://evil.example"), "127.0.0.1:9090", false),
            (Some("null"), "127.0.0.1:9090", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_same_origin(&headers), wanted, "{origin:?}");
        }
    }

    #[test]
    fn hosts() {
        for (host, loopback) in [
            ("127.0.0.1:9090", true),
            ("localhost", true),
            ("[::1]:9090", true),
            ("evil.example:9090", false),
            ("127.0.0.1.evil.example", false),
            ("", false),
        ] {
            assert_eq!(is_loopback_host(host), loopback, "{host}");
        }
    }
}
