//! Opaque tokens: their issuer is asked what they are (RFC 7662).
//!
//! The answer stands for the token's claims, and is held to the same rules. It is taken for true for a short while, and
//! for no longer than the token is valid; "not active" is remembered too, so that guesses don't reach the issuer each
//! time. So many questions run at once, and no more.

use std::time::{Duration, SystemTime};

use reqwest::header::{self, HeaderValue};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::Unproved;
use super::checks::Checked;
use super::fetch::{FetchError, Fetcher};
use super::issuer::Introspection;
use super::json;

/// Questions to one issuer that run at once.
pub const QUESTIONS_MAX: usize = 64;
/// For how long an answer may be taken for true at most.
pub const CACHED_MAX: Duration = Duration::from_secs(300);

/// An issuer that is asked.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) config: Introspection,
    fetcher: Fetcher,
    questions: Semaphore,
}

/// What an issuer says of a token.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) claims: Map<String, Value>,
    pub(super) checked: Checked,
}

impl Asked {
    pub(super) fn new(config: Introspection) -> Result<Asked, FetchError> {
        let fetcher = Fetcher::new(&config.fetching)?;
        fetcher.url(&config.address)?;
        Ok(Asked { config, fetcher, questions: Semaphore::new(QUESTIONS_MAX) })
    }

    /// Asks of a token.
    ///
    /// # Errors
    /// It is not active, not for here, or nobody answers.
    pub(super) async fn ask(&self, token: &str, now: SystemTime) -> Result<Said, Unproved> {
        let _permit = self.questions.try_acquire().map_err(|_| Unproved::Busy)?;
        let answer = self.answer(token, now).await.map_err(|_| Unproved::IssuerUnreachable)?;
        let claims = json::object(&answer).map_err(|_| Unproved::IssuerUnreachable)?;
        match claims.get("active") {
            Some(Value::Bool(true)) => {}
            Some(Value::Bool(false)) => return Err(Unproved::Inactive),
            // Its issuer says nothing that can be understood: that is no yes.
            Some(_) | None => return Err(Unproved::IssuerUnreachable),
        }
        if let (Some(wanted), Some(issuer)) = (&self.config.issuer, claims.get("iss"))
            && issuer.as_str() != Some(wanted)
        {
            return Err(Unproved::UnknownIssuer);
        }
        let latest = now.checked_add(self.config.cached.min(CACHED_MAX)).ok_or(Unproved::Expired)?;
        let checked = self.config.rules.check_said(&claims, now, latest)?;
        Ok(Said { claims, checked })
    }

    async fn answer(&self, token: &str, now: SystemTime) -> Result<Zeroizing<Vec<u8>>, FetchError> {
        let secret = self.config.secret.value(now).await;
        let secret = secret.map_err(|_| FetchError("the gateway's secret can't be had".to_owned()))?;
        let pair = [form(&self.config.client), form(secret.text())].map(Zeroizing::new);
        let authorization = Zeroizing::new(format!("Basic {}", basic(&pair)));
        let value = HeaderValue::from_str(&authorization);
        let mut value = value.map_err(|_| FetchError("the gateway's secret is none".to_owned()))?;
        value.set_sensitive(true);
        let body = format!("token={}&token_type_hint=access_token", form(token));
        let request = self.fetcher.post(&self.config.address)?;
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let answer = self.fetcher.ask(request.header(header::AUTHORIZATION, value).body(body)).await?;
        match answer.status {
            200 => Ok(answer.body),
            status => Err(FetchError(format!("it answers {status}"))),
        }
    }
}

/// Name and secret of a client, each encoded as in a form (RFC 6749, section 2.3.1).
fn basic(pair: &[Zeroizing<String>; 2]) -> String {
    use base64::Engine;
    let [name, secret] = pair;
    let text = Zeroizing::new(format!("{}:{}", name.as_str(), secret.as_str()));
    base64::engine::general_purpose::STANDARD.encode(text.as_bytes())
}

/// A text as the value of a form.
fn form(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}
