//! A session as HAR 1.2.

use serde_json::{Value, json};

use super::time::rfc3339;
use crate::record::{Direction, Head, Kind, Record};

/// The exchange of these records as a HAR document. What is not known has HAR's `-1`; bodies are masked, as recorded.
#[must_use]
pub fn har(records: &[Record]) -> Value {
    let head = |kind: Kind| records.iter().find(|record| record.kind == kind);
    let (request, response) = (head(Kind::Request), head(Kind::Response));
    let start = records.first();
    let last = records.last();
    let ms = |from: Option<&Record>, to: Option<&Record>| match (from, to) {
        (Some(from), Some(to)) => json!(to.mono_ns.saturating_sub(from.mono_ns) as f64 / 1e6),
        _ => json!(-1),
    };
    let entry = json!({
        "startedDateTime": rfc3339(start.map_or(0, |record| record.wall_ns)),
        "time": ms(start, last),
        "request": request_of(records, request),
        "response": response_of(records, response),
        "cache": {},
        "timings": { "send": 0, "wait": ms(start, response.or(last)), "receive": ms(response, last) },
        "_session": start.map(|record| record.session.to_string()),
        "_verdict": records.iter().rev().find_map(|record| record.verdict).map(crate::VerdictName::name),
        "_policies": request.map(|record| record.policies.clone()),
    });
    let creator = json!({ "name": "sluice", "version": env!("CARGO_PKG_VERSION") });
    json!({ "log": { "version": "1.2", "creator": creator, "entries": [entry] } })
}

fn head_of(record: Option<&Record>) -> Head {
    record.and_then(|record| record.head.clone()).unwrap_or_default()
}

fn fields(head: &Head) -> Vec<Value> {
    head.fields.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect()
}

fn content_type(head: &Head) -> String {
    let field = head.fields.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    field.map(|(_, value)| value.clone()).unwrap_or_default()
}

fn protocol(head: &Head) -> String {
    if head.protocol.is_empty() { "HTTP/1.1".to_owned() } else { head.protocol.clone() }
}

fn request_of(records: &[Record], record: Option<&Record>) -> Value {
    let head = head_of(record);
    let body = super::body(records, Direction::Request);
    let query = head.target.split_once('?').map_or("", |(_, query)| query);
    let pairs = query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        json!({ "name": name, "value": value })
    });
    let mut request = json!({
        "method": head.method, "url": head.target, "httpVersion": protocol(&head), "cookies": [],
        "headers": fields(&head), "queryString": pairs.collect::<Vec<_>>(), "headersSize": -1, "bodySize": body.len(),
    });
    if !body.is_empty() {
        request["postData"] =
            json!({ "mimeType": content_type(&head), "text": String::from_utf8_lossy(&body) });
    }
    request
}

fn response_of(records: &[Record], record: Option<&Record>) -> Value {
    let head = head_of(record);
    let body = super::body(records, Direction::Response);
    let status = head.status.or_else(|| records.iter().find_map(|record| record.end.as_ref()?.status));
    let mut content = json!({ "size": body.len(), "mimeType": content_type(&head) });
    match String::from_utf8(body) {
        Ok(text) => content["text"] = json!(text),
        Err(e) => {
            use base64::Engine;
            content["text"] = json!(base64::engine::general_purpose::STANDARD.encode(e.as_bytes()));
            content["encoding"] = json!("base64");
        }
    }
    json!({
        "status": status.unwrap_or(0), "statusText": "", "httpVersion": protocol(&head), "cookies": [],
        "headers": fields(&head), "content": content, "redirectURL": "", "headersSize": -1, "bodySize": -1,
    })
}
