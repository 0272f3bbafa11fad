//! Messages to others: signed webhooks, and Slack.
//!
//! A delivery is written in the transaction of the transition that causes it, so none is lost, and sent until the other
//! side takes it with a status of 2xx: after 1 s, 2 s, 4 s and so on, to an hour at most. After `tries_max` it is a dead
//! letter, which is listed and can be sent again. It may arrive twice; its id tells.

pub(crate) mod signature;
pub(crate) mod slack;

use std::sync::Weak;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::error::ApprovalError;
use super::request::ApprovalId;
use super::service::Approvals;
use super::settings::Webhook;
use super::store::{Delivery, deliveries};
use super::transition::Transition;

/// The name of Slack among the targets.
pub(crate) const SLACK: &str = "slack";
/// How often it is looked for deliveries.
const TICK_MS: u64 = 200;
/// How long another side may take to answer.
const ANSWER_MS_MAX: u64 = 10_000;
/// How long a delivery that was taken up is left alone: longer than its answer may take.
const LEASE_MS: i64 = 60_000;
/// The longest wait between two tries.
const WAIT_MS_MAX: i64 = 3_600_000;

/// Sends what is due, for as long as there are approvals.
pub(crate) async fn run(approvals: Weak<Approvals>) {
    // Where another part of the program has chosen a provider, that one stays.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::builder()
        .timeout(Duration::from_millis(ANSWER_MS_MAX))
        .redirect(reqwest::redirect::Policy::none())
        .build();
    let Ok(client) = client else { return };
    let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(approvals) = approvals.upgrade() else { return };
        if !approvals.node.targets.is_empty() {
            // What could not be taken up now is due at the next tick.
            let _ = approvals.send_due(&client).await;
        }
    }
}

impl Approvals {
    /// Sends what is due now.
    pub(crate) async fn send_due(&self, client: &reqwest::Client) -> Result<usize, ApprovalError> {
        let now_ms = self.clock.now_ms();
        let due = self
            .store
            .write(move |c| Box::pin(async move { deliveries::take_due(c, now_ms, LEASE_MS).await }))
            .await?;
        let count = due.len();
        let sent = due.into_iter().map(|delivery| async move {
            let sent = self.send(client, &delivery).await;
            self.settle(&delivery, sent).await
        });
        for sent in join(sent.collect()).await {
            sent?;
        }
        Ok(count)
    }

    async fn send(&self, client: &reqwest::Client, delivery: &Delivery) -> Result<(), String> {
        let told: Transition =
            serde_json::from_str(&delivery.body).map_err(|_| "the transition can't be read".to_owned())?;
        if delivery.target == SLACK {
            let Some(slack) = &self.settings.slack else { return Err("Slack is not configured".to_owned()) };
            let Some(message) = self.slack_message(&told).await? else { return Ok(()) };
            return post(client, &slack.url, message.to_string(), &[]).await;
        }
        let webhook = self.settings.webhooks.iter().find(|webhook| webhook.name == delivery.target);
        let Some(webhook) = webhook else { return Err("no such webhook is configured".to_owned()) };
        let body = webhook_body(delivery, &told, self.settings.page_url.as_deref()).to_string();
        let fields = signed_fields(webhook, delivery, &body, self.clock.now_ms() / 1_000);
        post(client, &webhook.url, body, &fields).await
    }

    async fn slack_message(&self, told: &Transition) -> Result<Option<Value>, String> {
        if !slack::is_told(told) {
            return Ok(None);
        }
        let shown = match self.show_to_channel(&told.approval).await {
            Ok(shown) => shown,
            Err(ApprovalError::NotFound) => return Ok(None),
            Err(error) => return Err(error.to_string()),
        };
        Ok(Some(slack::message(told, &shown, self.settings.page_url.as_deref())))
    }

    async fn settle(&self, delivery: &Delivery, sent: Result<(), String>) -> Result<(), ApprovalError> {
        let (id, now_ms) = (delivery.id.clone(), self.clock.now_ms());
        let due_ms = (delivery.tries < self.settings.tries_max)
            .then(|| now_ms.saturating_add(wait_ms(delivery.tries, &delivery.id)));
        self.store
            .write(move |c| {
                Box::pin(async move {
                    match sent {
                        Ok(()) => deliveries::done(c, &id).await,
                        Err(error) => deliveries::failed(c, &id, due_ms, &error).await,
                    }
                })
            })
            .await
    }
}

/// How long to wait after so many tries: doubled each time, and up to a quarter more, so that not all come at once.
pub(crate) fn wait_ms(tries: i64, id: &str) -> i64 {
    let doubled = 1_000_i64 << (tries - 1).clamp(0, 12);
    let wait = doubled.min(WAIT_MS_MAX);
    let share = id.bytes().fold(0_i64, |sum, b| (sum * 31 + i64::from(b)) % 256);
    wait + wait / 4 * share / 256
}

/// What a webhook gets.
fn webhook_body(delivery: &Delivery, told: &Transition, page_url: Option<&str>) -> Value {
    json!({
        "id": delivery.id,
        "type": format!("approval.{}", told.step.name()),
        "alert": told.is_alert,
        "transition": told,
        "page": page_url.map(|url| page(url, &told.approval)),
    })
}

/// The page of one approval.
fn page(url: &str, id: &ApprovalId) -> String {
    format!("{}#{id}", url.trim_end_matches('/'))
}

/// The fields that a receiver checks: the id against what it has taken, the time against its clock, the signature.
fn signed_fields(
    webhook: &Webhook,
    delivery: &Delivery,
    body: &str,
    now_s: i64,
) -> [(&'static str, String); 2] {
    let text = format!("{now_s}.{body}");
    let mac = signature::sign(webhook.secret.expose_secret().as_bytes(), text.as_bytes());
    [("sluice-delivery", delivery.id.clone()), ("sluice-signature", format!("t={now_s},v1={mac}"))]
}

async fn post(
    client: &reqwest::Client,
    url: &SecretString,
    body: String,
    fields: &[(&'static str, String)],
) -> Result<(), String> {
    let mut request = client.post(url.expose_secret()).header("content-type", "application/json").body(body);
    for (name, value) in fields {
        request = request.header(*name, value);
    }
    // The URL may hold a secret, and a message of the client holds the URL.
    match request.send().await {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => Err(format!("it answered with status {}", answer.status().as_u16())),
        Err(error) if error.is_timeout() => Err("it did not answer in time".to_owned()),
        Err(error) if error.is_connect() => Err("it can't be reached".to_owned()),
        Err(_) => Err("the message could not be sent".to_owned()),
    }
}

/// Runs them beside each other.
async fn join<T, F: Future<Output = T>>(futures: Vec<F>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|f| (Some(Box::pin(f)), None)).collect();
    std::future::poll_fn(|context| {
        let mut is_done = true;
        for (future, done) in &mut running {
            if let Some(polled) = future {
                match polled.as_mut().poll(context) {
                    std::task::Poll::Ready(value) => (*future, *done) = (None, Some(value)),
                    std::task::Poll::Pending => is_done = false,
                }
            }
        }
        if is_done { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    running.into_iter().filter_map(|(_, done)| done).collect()
}

#[cfg(test)]
mod tests;
