//! Slack, or what speaks like it: a message with buttons, and the callback of a button.
//!
//! A callback is believed where its signature is Slack's (`v0`, over time and body), its time is at most five minutes off,
//! and it was not taken before. Who pressed the button is the person in the configuration with that id in Slack; their
//! groups are those configured, for Slack proves none. Then every rule holds as for anyone else.

use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::{Value, json};
use sluice_policy::{Kind, Proof, Subject};

use super::super::error::ApprovalError;
use super::super::people::People;
use super::super::request::{ApprovalId, keyed};
use super::super::service::Approvals;
use super::super::state::{State, Step};
use super::super::store::deliveries;
use super::super::transition::{Origin, Transition, Via};
use super::{page, signature};

/// How far the time of a callback may be from ours, in seconds.
const WINDOW_S: i64 = 300;
/// The most of a masked request that a message shows, in characters: Slack takes 3,000 a section.
const SHOWN_MAX: usize = 2_000;

/// Why a callback is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untrusted {
    /// Slack is not configured here.
    NotConfigured,
    /// There is no signature of ours on it.
    Unsigned,
    /// Its time is too far off.
    Stale,
    /// It was taken before.
    Replayed,
    /// It can't be read.
    Unreadable,
}

/// A callback whose signature holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pressed {
    pub(crate) user: String,
    pub(crate) approval: ApprovalId,
    pub(crate) is_approval: bool,
    pub(crate) reason: String,
}

/// Which transitions the channel is told of.
pub(crate) fn is_told(told: &Transition) -> bool {
    matches!(told.step, Step::Ask | Step::Approve | Step::Deny | Step::BreakGlass | Step::Expire)
        && !(told.step == Step::Expire && told.from == Some(State::Approved))
}

/// Reads a callback: `time` and `signed` are the fields `X-Slack-Request-Timestamp` and `X-Slack-Signature`.
pub(crate) fn read(
    key: &[u8],
    time: &str,
    signed: &str,
    body: &[u8],
    now_s: i64,
) -> Result<Pressed, Untrusted> {
    let is_digits = !time.is_empty() && time.len() <= 12 && time.bytes().all(|b| b.is_ascii_digit());
    let at_s: i64 = time.parse().ok().filter(|_| is_digits).ok_or(Untrusted::Unsigned)?;
    let text = [b"v0:", time.as_bytes(), b":", body].concat();
    let mac = signed.strip_prefix("v0=").ok_or(Untrusted::Unsigned)?;
    if !signature::is_signed(key, &text, mac) {
        return Err(Untrusted::Unsigned);
    }
    if (now_s - at_s).abs() > WINDOW_S {
        return Err(Untrusted::Stale);
    }
    payload(body).and_then(|payload| pressed(&payload)).ok_or(Untrusted::Unreadable)
}

/// The field `payload` of the form.
fn payload(body: &[u8]) -> Option<Value> {
    let pairs = super::super::canonical::form_pairs(body).ok()?;
    let mut payloads = pairs.into_iter().filter(|(name, _)| name == b"payload");
    let (_, value) = payloads.next()?;
    if payloads.next().is_some() {
        return None;
    }
    serde_json::from_slice(&value).ok()
}

fn pressed(payload: &Value) -> Option<Pressed> {
    let action = match payload.get("actions")?.as_array()?.as_slice() {
        [action] => action,
        _ => return None,
    };
    let is_approval = match action.get("action_id")?.as_str()? {
        "sluice_approve" => true,
        "sluice_deny" => false,
        _ => return None,
    };
    let reason = payload.pointer("/state/values/sluice_reason/reason/value").and_then(Value::as_str);
    Some(Pressed {
        user: payload.pointer("/user/id")?.as_str()?.to_owned(),
        approval: ApprovalId::parse(action.get("value")?.as_str()?)?,
        is_approval,
        reason: reason.unwrap_or_default().to_owned(),
    })
}

/// The subject of who pressed a button; none where nobody is known by that id, or no groups of theirs.
pub(crate) fn subject(people: &People, user: &str) -> Option<Arc<Subject>> {
    let person = people.of_slack(user)?;
    let account = person.accounts.first()?;
    let mut groups = person.groups.clone()?;
    groups.sort();
    groups.dedup();
    Some(Arc::new(Subject {
        issuer: Arc::clone(&account.issuer),
        id: Arc::clone(&account.id),
        groups,
        kind: Kind::Human,
        proof: Proof::Key { id: format!("slack:{user}").into() },
        ..Subject::default()
    }))
}

impl Approvals {
    /// Takes a callback. The text is for the one who pressed the button.
    pub(crate) async fn slack_callback(
        &self,
        time: &str,
        signed: &str,
        body: &[u8],
        address: String,
    ) -> Result<Result<String, Untrusted>, ApprovalError> {
        let Some(slack) = &self.settings.slack else { return Ok(Err(Untrusted::NotConfigured)) };
        let now_ms = self.clock.now_ms();
        let key = slack.signing_secret.expose_secret().as_bytes();
        let pressed = match read(key, time, signed, body, now_ms / 1_000) {
            Ok(pressed) => pressed,
            Err(untrusted) => return Ok(Err(untrusted)),
        };
        // By what was signed: one signature can be spelled in several ways.
        let seen = keyed("sluice.callback.v1", &[time.as_bytes(), body]);
        let until_ms = now_ms.saturating_add(2 * WINDOW_S * 1_000);
        let is_first = self
            .store
            .write(move |c| {
                Box::pin(async move { deliveries::take_callback(c, &seen, now_ms, until_ms).await })
            })
            .await?;
        if !is_first {
            return Ok(Err(Untrusted::Replayed));
        }
        let Some(subject) = subject(&self.people(), &pressed.user) else {
            return Ok(
                Ok("Nobody is known to Sluice by your id in Slack, or no groups of yours.".to_owned()),
            );
        };
        let origin = Origin { via: Via::Slack, address };
        let done = match pressed.is_approval {
            true => self.approve(&pressed.approval, subject, &pressed.reason, origin).await,
            false => self.deny(&pressed.approval, subject, &pressed.reason, origin).await,
        };
        match done {
            Ok(State::Pending) => Ok(Ok("Noted. Others still have to agree.".to_owned())),
            Ok(state) => Ok(Ok(format!("The request is {} now.", state.name()))),
            Err(ApprovalError::Forbidden(why)) => Ok(Ok(format!("Not done: {why}."))),
            Err(ApprovalError::NotFound) => Ok(Ok("There is no such approval.".to_owned())),
            Err(error) => Err(error),
        }
    }
}

/// The message of a transition, in Slack's blocks.
pub(crate) fn message(told: &Transition, shown: &Value, page_url: Option<&str>) -> Value {
    let text = |pointer: &str| shown.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let who = format!("{}:{}", text("/subject/issuer"), text("/subject/id"));
    let what = format!("`{}` at `{}`", escaped(text("/operation")), escaped(text("/upstream")));
    let head = match told.step {
        Step::Ask => format!("*{}* asks for {what}", escaped(&who)),
        Step::BreakGlass => {
            format!(":rotating_light: *The glass was broken* for {what} of {}", escaped(&who))
        }
        Step::Approve
        | Step::Deny
        | Step::Expire
        | Step::Vote
        | Step::Cancel
        | Step::Consume
        | Step::Use
        | Step::Revoke
        | Step::Review => format!("{what} of {}: *{}*", escaped(&who), told.to.name()),
    };
    let mut blocks = vec![section(&head), section(&facts(told, shown))];
    let request = text("/request");
    if told.step == Step::Ask && !request.is_empty() {
        let cut: String = request.chars().take(SHOWN_MAX).collect();
        blocks.push(section(&format!("```{}```", escaped(&cut).replace("```", "'''"))));
    }
    if let Some(url) = page_url {
        blocks.push(section(&format!("<{}|Show it>", escaped(&page(url, &told.approval)))));
    }
    if told.step == Step::Ask {
        blocks.extend(asking(told.approval.as_str()));
    }
    json!({ "text": head, "blocks": blocks })
}

fn facts(told: &Transition, shown: &Value) -> String {
    let list = |pointer: &str| {
        let all = shown.pointer(pointer).and_then(Value::as_array).cloned().unwrap_or_default();
        all.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let labels = shown.get("labels").and_then(Value::as_object);
    let labels: Vec<String> =
        labels.into_iter().flatten().map(|(label, n)| format!("{label} × {n}")).collect();
    let proof = shown.pointer("/subject/proof").and_then(Value::as_str).unwrap_or_default();
    let mut facts = vec![
        format!("Proved by: {proof}"),
        format!("Policies: {}", list("/policies")),
        format!("Risk: {}", told.risk),
        format!("Found in it: {}", if labels.is_empty() { "nothing".to_owned() } else { labels.join(", ") }),
    ];
    if let Some(who) = &told.who
        && told.step != Step::Ask
    {
        facts.push(format!("By: {who}, because: {}", told.why));
    }
    escaped(&facts.join("\n"))
}

/// A field for the reason, and the buttons.
fn asking(id: &str) -> [Value; 2] {
    let plain = |text: &str| json!({ "type": "plain_text", "text": text });
    let button = |action: &str, text: &str, style: &str| json!({ "type": "button", "action_id": action, "value": id, "style": style, "text": plain(text) });
    [
        json!({
            "type": "input", "block_id": "sluice_reason", "label": plain("Reason"),
            "element": { "type": "plain_text_input", "action_id": "reason", "max_length": 1000 },
        }),
        json!({ "type": "actions", "elements": [
            button("sluice_approve", "Approve", "primary"), button("sluice_deny", "Deny", "danger"),
        ] }),
    ]
}

fn section(text: &str) -> Value {
    json!({ "type": "section", "text": { "type": "mrkdwn", "text": text } })
}

/// Slack reads these three as its own marks.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
