//! The API over real connections: who may ask, what other sites' pages can't, and what people see.

use std::sync::Arc;

use axum::http::HeaderMap;
use serde_json::{Value, json};

use super::*;
use crate::approvals::tests::desk::{Desk, Folder, agent, person, request, settings};
use crate::approvals::{ApprovalId, Asked, BreakGlass, Settings};

/// A token is `NAME/GROUP,GROUP`; a cookie of the same proves too, as a browser's session would.
struct Names;

impl Authenticate for Names {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap, peer: Option<SocketAddr>) -> Authenticated<'a> {
        Box::pin(async move {
            assert!(peer.is_some(), "the peer's address is known");
            let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
            let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer "));
            let named = bearer.or_else(|| text("cookie").and_then(|value| value.strip_prefix("session=")));
            let (name, groups) = named.and_then(|named| named.split_once('/')).ok_or(Unauthenticated)?;
            if name == "bot" {
                return Ok(agent("corp", "bot", Some("alice")));
            }
            Ok(person(name, &groups.split(',').filter(|g| !g.is_empty()).collect::<Vec<_>>()))
        })
    }
}

struct Site {
    desk: Desk,
    base: String,
    client: reqwest::Client,
    _folder: Folder,
}

impl Site {
    async fn open() -> Site {
        let folder = Folder::new();
        let glass = BreakGlass { groups: vec!["oncall".into()], ..BreakGlass::default() };
        let settings = Settings { break_glass: Some(Arc::new(glass)), ..settings(folder.sqlite()) };
        let desk = Desk::with(settings).await;
        let router = routes(Arc::clone(&desk.approvals), Arc::new(Names)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        let _ = rustls::crypto::ring::default_provider().install_default();
        Site { desk, base, client: reqwest::Client::new(), _folder: folder }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api/v1/approvals{path}", self.base)
    }

    async fn get(&self, path: &str, who: &str) -> (u16, Value) {
        answer(self.client.get(self.url(path)).bearer_auth(who)).await
    }

    async fn act(&self, path: &str, who: &str, body: Value) -> (u16, Value) {
        answer(self.client.post(self.url(path)).bearer_auth(who).json(&body)).await
    }
}

async fn answer(request: reqwest::RequestBuilder) -> (u16, Value) {
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    (status, serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap_or(Value::Null))
}

#[tokio::test]
async fn a_request_is_shown_and_decided() {
    let site = Site::open().await;
    let asked = request(&person("alice", &[]), "x", &[("leads", 1)]);
    let id = site.desk.pending(&asked).await;
    let (status, list) = site.get("?group=leads", "bob/leads").await;
    assert_eq!((status, list["approvals"][0]["id"].as_str()), (200, Some(id.as_str())));
    let (status, shown) = site.get(&format!("/{id}"), "bob/leads").await;
    assert_eq!(status, 200);
    for (pointer, wanted) in [
        ("/subject/id", json!("alice")),
        ("/subject/proof", json!("a signed token")),
        ("/operation", json!("llm.chat")),
        ("/policies", json!(["passwords"])),
        ("/risk", json!({ "score": 40, "parts": [{ "name": "label", "score": 40 }] })),
        ("/labels", json!({ "word:password": 1 })),
        ("/request", json!("POST /v1/chat/completions [password]")),
        ("/waits_for", json!([{ "group": "leads", "min": 1, "missing": 1 }])),
        ("/digest", json!(asked.digest.to_string())),
    ] {
        assert_eq!(shown.pointer(pointer), Some(&wanted), "{pointer}");
    }
    let deed = format!("/{id}/approve");
    for (who, body, wanted) in [
        ("alice/leads", json!({ "reason": "mine" }), 403),
        ("eve/ops", json!({ "reason": "x" }), 403),
        ("bot/", json!({ "reason": "x" }), 403),
        ("bob/leads", json!({ "reason": " " }), 422),
        ("bob/leads", json!({}), 422),
        ("bob/leads", json!({ "reason": "x", "force": true }), 422),
        ("bob/leads", json!({ "reason": "fine" }), 200),
        ("carol/leads", json!({ "reason": "fine" }), 409),
    ] {
        assert_eq!(site.act(&deed, who, body.clone()).await.0, wanted, "{who} {body}");
    }
    assert!(matches!(site.desk.ask(&asked).await, Ok(Asked::Consumed { .. })));
    let (_, shown) = site.get(&format!("/{id}"), "alice/").await;
    assert_eq!(shown["state"], "consumed");
    assert_eq!(shown["transitions"][1]["origin"]["via"], "api");
    assert!(shown["transitions"][1]["origin"]["address"].as_str().unwrap().starts_with("127.0.0.1:"));
}

#[tokio::test]
async fn nobody_sees_what_is_not_theirs() {
    let site = Site::open().await;
    let id = site.desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
    let own = site.desk.pending(&request(&agent("corp", "bot", Some("alice")), "y", &[("leads", 1)])).await;
    for (who, wanted) in
        [("eve/ops", 404), ("bot/", 404), ("alice/", 200), ("bob/leads", 200), ("dave/oncall", 200)]
    {
        assert_eq!(site.get(&format!("/{id}"), who).await.0, wanted, "{who}");
    }
    let (_, list) = site.get("?subject=corp:alice", "bot/").await;
    let ids: Vec<&str> =
        list["approvals"].as_array().unwrap().iter().filter_map(|a| a["id"].as_str()).collect();
    assert_eq!(ids, [own.as_str()], "a program sees its own");
    for path in ["", "/token", "/reviews", "/events", "/delegations", "/dead-letters"] {
        let (status, problem) = answer(site.client.get(site.url(path))).await;
        assert_eq!((status, problem["code"].as_str()), (401, Some("unauthenticated")), "{path}");
    }
    for path in ["/reviews", "/dead-letters"] {
        assert_eq!(site.get(path, "bot/").await.0, 403, "{path}");
    }
    for path in ["/x", "/../x", "?state=open", "?nothing=1", "?group=leads&state=denied"] {
        assert!(matches!(site.get(path, "bob/leads").await.0, 404 | 422), "{path}");
    }
}

#[tokio::test]
async fn other_sites_pages_decide_nothing() {
    let site = Site::open().await;
    let id = site.desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
    let deed = site.url(&format!("/{id}/approve"));
    let token = {
        let session = site.client.get(site.url("/token")).header("cookie", "session=bob/leads");
        answer(session).await.1["token"].as_str().unwrap().to_owned()
    };
    let carols = {
        let session = site.client.get(site.url("/token")).header("cookie", "session=carol/leads");
        answer(session).await.1["token"].as_str().unwrap().to_owned()
    };
    let post = |fields: &[(&str, &str)], body: &'static str| {
        let all = site.client.post(&deed).header("content-type", "application/json").body(body);
        answer(fields.iter().fold(all, |request, (name, value)| request.header(*name, *value)))
    };
    let (session, good) = (("cookie", "session=bob/leads"), "{\"reason\":\"r\"}");
    let origin = site.base.as_str();
    for fields in [
        vec![session],
        vec![session, ("x-sluice-token", "")],
        vec![session, ("x-sluice-token", "00")],
        vec![session, ("x-sluice-token", carols.as_str())],
        vec![session, ("x-sluice-token", token.as_str()), ("origin", "https://evil.example")],
        vec![session, ("x-sluice-token", token.as_str()), ("origin", "null")],
        vec![session, ("x-sluice-token", token.as_str()), ("sec-fetch-site", "cross-site")],
        vec![session, ("x-sluice-token", token.as_str()), ("sec-fetch-site", "same-site")],
        vec![("authorization", "Basic Ym9iOmxlYWRz"), session],
        vec![("authorization", "Bearer bob/leads"), ("origin", "https://evil.example")],
        vec![("authorization", "Bearer bob/leads"), session],
    ] {
        let (status, problem) = post(&fields, good).await;
        assert_eq!((status, problem["code"].as_str()), (403, Some("cross_site")), "{fields:?}");
    }
    // What a form of another site can send is no JSON.
    let form = site.client.post(&deed).header("cookie", session.1).header("x-sluice-token", &token);
    let (status, _) = answer(form.header("content-type", "text/plain").body(good)).await;
    assert_eq!(status, 415);
    let own =
        [session, ("x-sluice-token", token.as_str()), ("origin", origin), ("sec-fetch-site", "same-origin")];
    assert_eq!(post(&own, good).await.0, 200);
}

#[tokio::test]
async fn live_events_come_as_they_happen() {
    use tokio_stream::StreamExt;
    let site = Site::open().await;
    let stream = site.client.get(site.url("/events")).bearer_auth("bob/leads").send().await.unwrap();
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let id = site.desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
    site.desk.approve(&id, &person("bob", &["leads"])).await.unwrap();
    let mut text = String::new();
    let mut chunks = Box::pin(stream.bytes_stream());
    while !text.contains("event: approve") {
        text.push_str(std::str::from_utf8(&chunks.next().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.contains("event: ask\n") && text.contains(&format!("id: {id}-1\n")), "{text}");
}

#[tokio::test]
async fn windows_delegations_and_reviews_are_reached() {
    let site = Site::open().await;
    let window = json!({
        "upstream": "llm", "operations": ["llm.chat"], "minutes": 60, "reason": "moving",
        "groups": [{ "group": "leads", "min": 1 }],
    });
    let (status, made) = site.act("/windows", "alice/", window).await;
    assert_eq!(status, 200, "{made}");
    let id = made["id"].as_str().unwrap();
    let lent = json!({ "to": "corp:carol", "groups": ["leads"], "hours": 2, "reason": "away" });
    assert_eq!(site.act("/delegations", "eve/", lent.clone()).await.0, 403);
    let (status, lent) = site.act("/delegations", "bob/leads", lent).await;
    assert_eq!(status, 200);
    assert_eq!(site.get("/delegations", "carol/").await.1["delegations"][0]["id"], lent["id"]);
    assert_eq!(site.act(&format!("/{id}/approve"), "carol/", json!({ "reason": "for bob" })).await.0, 200);
    let end = format!("/delegations/{}/revoke", lent["id"].as_str().unwrap());
    assert_eq!(site.act(&end, "carol/", json!({})).await.0, 404);
    assert_eq!(site.act(&end, "bob/leads", json!({})).await.0, 200);
    let asked = request(&person("alice", &[]), "x", &[("dba", 1)]);
    let id = site.desk.pending(&asked).await;
    let why = json!({ "reason": "it burns" });
    assert_eq!(site.act(&format!("/{id}/break-glass"), "dave/oncall", why.clone()).await.0, 200);
    assert_eq!(site.get("/reviews", "erin/oncall").await.1["reviews"][0]["approval"], id.as_str());
    assert_eq!(site.act(&format!("/{id}/review"), "dave/oncall", why.clone()).await.0, 403);
    assert_eq!(site.act(&format!("/{id}/review"), "erin/oncall", why).await.0, 200);
    assert!(ApprovalId::parse(id.as_str()).is_some());
}

#[tokio::test]
async fn bodies_have_a_limit_and_the_page_is_there() {
    let site = Site::open().await;
    let id = "0".repeat(32);
    let long = json!({ "reason": "x".repeat(BODY_BYTES_MAX) });
    assert_eq!(site.act(&format!("/{id}/deny"), "bob/leads", long).await.0, 413);
    let page = site.client.get(format!("{}/approvals", site.base)).send().await.unwrap();
    assert_eq!(page.status(), 200);
    let page = page.text().await.unwrap();
    assert!(page.contains("Sluice approvals") && !page.contains("innerHTML"), "texts are never read as HTML");
    let unsigned = answer(site.client.post(site.url("/slack")).body("payload=1")).await;
    assert_eq!(unsigned.0, 404, "Slack is not configured");
}
