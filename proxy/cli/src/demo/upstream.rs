//! The fake upstream's server: LLM endpoints, a trace store, and its own controls.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio_stream::wrappers::ReceiverStream;

use super::reply::Script;
use super::{anthropic, openai};

/// Requests that are remembered.
const REQUESTS_KEPT_MAX: usize = 256;
/// Bytes of a request's body.
const BODY_BYTES_MAX: usize = 16 << 20;
/// Traces and scripts that are kept.
const KEPT_MAX: usize = 4096;
/// Events that wait for a slow reader.
const EVENTS_WAITING_MAX: usize = 4;

#[derive(Default)]
struct Memory {
    requests: Mutex<VecDeque<Value>>,
    traces: Mutex<VecDeque<Value>>,
    scripts: Mutex<HashMap<String, Script>>,
}

impl Memory {
    fn keep(&self, request: Value) {
        let mut requests = lock(&self.requests);
        if requests.len() >= REQUESTS_KEPT_MAX {
            requests.pop_front();
        }
        requests.push_back(request);
    }
}

type Shared = State<Arc<Memory>>;

/// What a panic of another request left is still good: each is changed in one step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn router() -> Router {
    let memory = Arc::new(Memory::default());
    let api = Router::new()
        .route("/v1/chat/completions", post(chat))
        .route("/v1/messages", post(messages))
        .route("/v1/models", get(async || axum::Json(openai::models())))
        .route("/v1/traces", post(store_trace))
        .fallback(async || {
            (StatusCode::NOT_FOUND, axum::Json(json!({ "error": { "message": "no such path" } })))
        })
        .layer(from_fn_with_state(Arc::clone(&memory), remember));
    Router::new()
        .route("/v1/traces", get(list_traces))
        .route("/demo/script", post(script))
        .route("/demo/requests", get(list_requests).delete(forget_requests))
        .merge(api)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(memory)
}

/// Keeps each request as it came.
async fn remember(State(memory): Shared, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = axum::body::to_bytes(body, BODY_BYTES_MAX).await else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    let headers: Vec<Value> = parts
        .headers
        .iter()
        .map(|(name, value)| json!([name.as_str(), String::from_utf8_lossy(value.as_bytes())]))
        .collect();
    let entry = json!({
        "method": parts.method.as_str(), "path": parts.uri.to_string(), "headers": headers,
        "body": String::from_utf8_lossy(&body),
    });
    memory.keep(entry);
    next.run(Request::from_parts(parts, Body::from(body))).await
}

async fn list_requests(State(memory): Shared) -> Response {
    axum::Json(lock(&memory.requests).clone()).into_response()
}

async fn forget_requests(State(memory): Shared) -> StatusCode {
    lock(&memory.requests).clear();
    StatusCode::NO_CONTENT
}

async fn script(State(memory): Shared, body: Bytes) -> Response {
    let script: Script = match serde_json::from_slice(&body) {
        Ok(script) => script,
        Err(e) => return (StatusCode::BAD_REQUEST, format!("{e}\n")).into_response(),
    };
    let mut scripts = lock(&memory.scripts);
    if scripts.len() >= KEPT_MAX {
        scripts.clear();
    }
    scripts.insert(script.id.clone(), script);
    StatusCode::NO_CONTENT.into_response()
}

async fn store_trace(State(memory): Shared, body: Bytes) -> Response {
    let Ok(trace) = serde_json::from_slice(&body) else { return StatusCode::BAD_REQUEST.into_response() };
    let mut traces = lock(&memory.traces);
    if traces.len() >= KEPT_MAX {
        traces.pop_front();
    }
    traces.push_back(trace);
    axum::Json(json!({ "partialSuccess": {} })).into_response()
}

async fn list_traces(State(memory): Shared) -> Response {
    axum::Json(lock(&memory.traces).clone()).into_response()
}

/// What to answer: by script, or improvised.
fn reply(memory: &Memory, request: &Value) -> Option<Script> {
    match request["model"].as_str().and_then(|m| m.strip_prefix("script:")) {
        Some(id) => lock(&memory.scripts).get(id).cloned(),
        None => {
            let has_tools = request["tools"].as_array().is_some_and(|t| !t.is_empty());
            Some(Script::improvised(&openai::prompt(request), has_tools))
        }
    }
}

async fn chat(State(memory): Shared, body: Bytes) -> Response {
    answer(&memory, &body, openai::whole, openai::events)
}

async fn messages(State(memory): Shared, body: Bytes) -> Response {
    answer(&memory, &body, anthropic::whole, anthropic::events)
}

fn answer(
    memory: &Memory,
    body: &[u8],
    whole: fn(&Value, &Script) -> Value,
    events: fn(&Value, &Script) -> Vec<String>,
) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        let error =
            json!({ "error": { "message": "the body is not JSON", "type": "invalid_request_error" } });
        return (StatusCode::BAD_REQUEST, axum::Json(error)).into_response();
    };
    let Some(script) = reply(memory, &request) else {
        let error = json!({ "error": { "message": "no such script", "type": "invalid_request_error" } });
        return (StatusCode::NOT_FOUND, axum::Json(error)).into_response();
    };
    if request["stream"] != Value::Bool(true) {
        return axum::Json(whole(&request, &script)).into_response();
    }
    stream(events(&request, &script), &script)
}

/// Sends events one after another, as the script asks.
fn stream(events: Vec<String>, script: &Script) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<Bytes, Infallible>>(EVENTS_WAITING_MAX);
    let (pause, wire_bytes) = (Duration::from_millis(script.pause_ms), script.wire_bytes);
    tokio::spawn(async move {
        let parts: Vec<Bytes> = match wire_bytes {
            0 => events.into_iter().map(Bytes::from).collect(),
            size => events.concat().as_bytes().chunks(size).map(Bytes::copy_from_slice).collect(),
        };
        for part in parts {
            if sender.send(Ok(part)).await.is_err() {
                return;
            }
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
    });
    let headers = [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-cache")];
    (headers, Body::from_stream(ReceiverStream::new(receiver))).into_response()
}
