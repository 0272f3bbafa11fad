//! Signatures, tries, dead letters, and Slack's callbacks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use serde_json::Value;
use tokio::sync::mpsc;

use super::slack::{Pressed, Untrusted};
use super::*;
use crate::approvals::tests::desk::{Desk, Folder, groups, person, request, settings};
use crate::approvals::*;

/// What a receiver gets, and the status it answers with.
struct Receiver {
    status: AtomicU16,
    taken: mpsc::UnboundedSender<(HeaderMap, Bytes)>,
}

async fn receive(Shared(receiver): Shared<Arc<Receiver>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let _ = receiver.taken.send((headers, body));
    StatusCode::from_u16(receiver.status.load(Ordering::SeqCst)).unwrap()
}

async fn receiver() -> (Arc<Receiver>, mpsc::UnboundedReceiver<(HeaderMap, Bytes)>, String) {
    let (taken, got) = mpsc::unbounded_channel();
    let receiver = Arc::new(Receiver { status: AtomicU16::new(200), taken });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook?key=s3cret", listener.local_addr().unwrap());
    let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&receiver));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (receiver, got, url)
}

fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

#[tokio::test]
async fn a_webhook_is_signed_tried_again_and_at_last_dead() {
    let (receiver, mut got, url) = receiver().await;
    let folder = Folder::new();
    let hook = Webhook { name: "ops".to_owned(), url: url.into(), secret: "key".to_owned().into() };
    let settings = Settings { webhooks: vec![hook], tries_max: 3, ..settings(folder.sqlite()) };
    let desk = Desk::with(settings).await;
    receiver.status.store(500, Ordering::SeqCst);
    desk.pending(&request(&person("alice", &[]), "x", &[("leads", 1)])).await;
    let client = client();
    let mut ids = Vec::new();
    for _ in 0..3 {
        assert_eq!(desk.approvals.send_due(&client).await, Ok(1));
        assert_eq!(desk.approvals.send_due(&client).await, Ok(0), "not at once again");
        let (headers, body) = got.recv().await.unwrap();
        let field = |name: &str| headers[name].to_str().unwrap().to_owned();
        let signed = field("sluice-signature");
        let (time, mac) = signed.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        let text = [time.as_bytes(), b".", &body].concat();
        assert!(signature::is_signed(b"key", &text, mac));
        assert!(!signature::is_signed(b"other", &text, mac));
        let read: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(
            (read["type"].as_str(), read["id"].as_str()),
            (Some("approval.ask"), ids.first().map(String::as_str).or(read["id"].as_str()))
        );
        ids.push(field("sluice-delivery"));
        desk.hands.pass(6_000);
    }
    assert_eq!(desk.approvals.send_due(&client).await, Ok(0));
    let dead = desk.approvals.dead_letters().await.unwrap();
    assert_eq!(
        (dead.len(), dead[0].tries, dead[0].last_error.as_str()),
        (1, 3, "it answered with status 500")
    );
    receiver.status.store(204, Ordering::SeqCst);
    desk.approvals.revive(&dead[0].id).await.unwrap();
    assert_eq!(desk.approvals.send_due(&client).await, Ok(1));
    assert!(desk.approvals.dead_letters().await.unwrap().is_empty());
    assert_eq!(desk.approvals.revive(&ids[0]).await, Err(ApprovalError::NotFound));
    assert!(!format!("{:?}", desk.approvals.settings).contains("s3cret"));
}

#[test]
fn waits_double_to_an_hour() {
    let waits: Vec<i64> = (1..=14).map(|tries| wait_ms(tries, "")).collect();
    assert_eq!(&waits[..5], [1_000, 2_000, 4_000, 8_000, 16_000]);
    assert_eq!(waits.last(), Some(&WAIT_MS_MAX));
    assert!((1_000..=1_250).contains(&wait_ms(1, "ffffffffffffffff")));
    assert!(wait_ms(i64::MAX, "ff") <= WAIT_MS_MAX + WAIT_MS_MAX / 4);
}

const ID: &str = "0123456789abcdef0123456789abcdef";

fn callback(user: &str, action: &str, id: &str, reason: &str) -> Vec<u8> {
    let payload = json!({
        "type": "block_actions",
        "user": { "id": user },
        "actions": [{ "action_id": action, "value": id }],
        "state": { "values": { "sluice_reason": { "reason": { "value": reason } } } },
    });
    let encoded: String = payload.to_string().bytes().map(|b| format!("%{b:02X}")).collect();
    format!("payload={encoded}").into_bytes()
}

fn signed(key: &[u8], time: &str, body: &[u8]) -> String {
    format!("v0={}", signature::sign(key, &[b"v0:", time.as_bytes(), b":", body].concat()))
}

/// The example of Slack's documentation on verifying requests.
#[test]
fn slacks_own_example_is_signed() {
    let key = b"8f742231b10e8888abcd99yyyzzz85a5";
    let body = b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c";
    let mac = "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503";
    assert_eq!(signed(key, "1531420618", body), mac);
    assert_eq!(slack::read(key, "1531420618", mac, body, 1_531_420_618), Err(Untrusted::Unreadable));
}

#[test]
fn callbacks_are_believed_only_signed_and_in_time() {
    let body = callback("U1", "sluice_approve", ID, "fine");
    let now = 1_800_000_000_i64;
    let read = |time: &str, mac: &str, body: &[u8]| slack::read(b"key", time, mac, body, now);
    let good = signed(b"key", "1800000000", &body);
    let pressed = Pressed {
        user: "U1".to_owned(),
        approval: ApprovalId::parse(ID).unwrap(),
        is_approval: true,
        reason: "fine".to_owned(),
    };
    assert_eq!(read("1800000000", &good, &body), Ok(pressed));
    let other = callback("U2", "sluice_approve", ID, "fine");
    for (time, mac, body) in [
        ("1800000001", good.as_str(), &body),
        ("01800000000", &good, &body),
        ("+1800000000", &good, &body),
        ("", &good, &body),
        ("1800000000", "", &body),
        ("1800000000", &good[3..], &body),
        ("1800000000", &good.replace("v0=", "v1="), &body),
        ("1800000000", &signed(b"other", "1800000000", &body), &body),
        ("1800000000", &good, &other),
    ] {
        assert_eq!(read(time, mac, body), Err(Untrusted::Unsigned), "{time} {mac}");
    }
    for (off, wanted) in [(300, true), (-300, true), (301, false), (-301, false)] {
        let time = (now + off).to_string();
        let is_taken = read(&time, &signed(b"key", &time, &body), &body).is_ok();
        assert_eq!(is_taken, wanted, "{off}");
    }
    for odd in [
        callback("U1", "other", ID, ""),
        callback("U1", "sluice_approve", "../x", ""),
        b"payload=%7B%7D".to_vec(),
        b"payload=1&payload=2".to_vec(),
        b"".to_vec(),
    ] {
        let mac = signed(b"key", "1800000000", &odd);
        assert_eq!(read("1800000000", &mac, &odd), Err(Untrusted::Unreadable));
    }
}

#[tokio::test]
async fn a_button_decides_once_for_who_is_known() {
    let (_receiver, mut got, url) = receiver().await;
    let folder = Folder::new();
    let known = |name: &str, slack: &str, names: Option<&[&str]>| Person {
        name: name.to_owned(),
        accounts: vec![Account::parse(&format!("corp:{name}")).unwrap()],
        slack: Some(slack.to_owned()),
        groups: names.map(groups),
    };
    let persons = vec![
        known("alice", "UA", Some(&["leads"])),
        known("bob", "UB", Some(&["leads"])),
        known("carol", "UC", None),
    ];
    let people = Arc::new(People { persons, ..People::default() });
    let slack = Slack { url: url.into(), signing_secret: "key".to_owned().into() };
    let settings = Settings { people, slack: Some(slack), ..settings(folder.sqlite()) };
    let desk = Desk::with(settings).await;
    let mut asked = request(&person("alice", &[]), "x", &[("leads", 1)]);
    asked.preview = MaskedPreview::new("```<!channel> & [password]");
    let id = desk.pending(&asked).await;
    assert_eq!(desk.approvals.send_due(&client()).await, Ok(1));
    let message: Value = serde_json::from_slice(&got.recv().await.unwrap().1).unwrap();
    let text = message.to_string();
    assert!(text.contains("'''&lt;!channel&gt; &amp; [password]") && !text.contains("<!"), "{text}");
    assert!(text.contains(id.as_str()) && text.contains("sluice_approve"), "{text}");
    let press = async |user: &str, reason: &str, time: i64| {
        let body = callback(user, "sluice_approve", id.as_str(), reason);
        let time = time.to_string();
        let mac = signed(b"key", &time, &body);
        desk.approvals.slack_callback(&time, &mac, &body, String::new()).await.unwrap()
    };
    let now = desk.approvals.clock.now_ms() / 1_000;
    for (user, reason, wanted) in [
        ("UX", "x", "Nobody is known"),
        ("UC", "x", "Nobody is known"),
        ("UA", "x", "nobody decides over a request of their own"),
        ("UB", "", "a reason is needed"),
        ("UB", "looks right", "approved"),
    ] {
        let said = press(user, reason, now).await.unwrap();
        assert!(said.contains(wanted), "{said}");
    }
    assert_eq!(press("UB", "looks right", now).await, Err(Untrusted::Replayed));
    let body = callback("UB", "sluice_approve", id.as_str(), "looks right");
    let upper = signed(b"key", &now.to_string(), &body).to_uppercase().replace("V0=", "v0=");
    let again = desk.approvals.slack_callback(&now.to_string(), &upper, &body, String::new()).await;
    assert_eq!(again.unwrap(), Err(Untrusted::Replayed), "another spelling of the signature");
    assert!(matches!(desk.ask(&asked).await, Ok(Asked::Consumed { .. })));
}
