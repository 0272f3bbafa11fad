//! The keys that an issuer has, kept fresh.
//!
//! ```text
//!             fetched                    fresh time over
//!   nothing ───────────► fresh ───────────────────────────► due
//!      ▲                   ▲                                │ │ fetch fails: the keys are used
//!      │                   └────────────────────────────────┘ │ on until they are too old
//!      └──────────────────────────────────────────────────────┘
//! ```
//!
//! [`State`] is that machine; it does no I/O, and the clock is an argument. A clock that went back makes keys due, and
//! none that were fetched in the future are used. [`Ring`] fetches, one at a time, whoever asks. A key id that nobody
//! knows lets it ask ahead of time, but not more often than a set interval: whoever can send tokens can't make the
//! gateway flood an issuer.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::Unproved;
use super::fetch::{ANSWER_BYTES_MAX, FetchError, Fetcher};
use super::json;
use super::jwk::KeySet;
use crate::credential::Source as Credential;
use crate::reload::lock;

/// For how long keys are taken for true, whatever an issuer says of it.
const FRESH_MIN: Duration = Duration::from_secs(10);

/// Where keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeysFrom {
    /// At the `jwks_uri` of the metadata at this address (OpenID Connect Discovery 1.0, section 4).
    Discovery(String),
    /// At this address (RFC 7517, section 5).
    Url(String),
    /// In this file.
    File(PathBuf),
}

/// How long keys are used, and how often they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// Asked for again after this, or sooner where the issuer's `max-age` says so.
    pub fresh: Duration,
    /// Used for so long after they were fetched, where the issuer can't be asked.
    pub stale_max: Duration,
    /// The least time between two fetches that a failure or an unknown key leads to.
    pub refetch_min: Duration,
}

impl Default for Freshness {
    fn default() -> Freshness {
        Freshness {
            fresh: Duration::from_secs(300),
            stale_max: Duration::from_secs(3600),
            refetch_min: Duration::from_secs(5),
        }
    }
}

/// The machine: what is known, and what may be done.
#[derive(Debug, Default)]
struct State {
    keys: Option<Arc<KeySet>>,
    fetched: Option<SystemTime>,
    fresh: Duration,
    failed: Option<SystemTime>,
    /// When a key that nobody knew last led to a fetch.
    unknown: Option<SystemTime>,
    /// Fetches that ended, for better or worse.
    attempts: u64,
}

/// Time since then; none where that is still to come.
fn since(then: Option<SystemTime>, now: SystemTime) -> Option<Duration> {
    now.duration_since(then?).ok()
}

impl State {
    fn is_fresh(&self, now: SystemTime) -> bool {
        self.keys.is_some() && since(self.fetched, now).is_some_and(|age| age < self.fresh)
    }

    /// The keys, where they are not too old.
    fn usable(&self, now: SystemTime, freshness: &Freshness) -> Option<Arc<KeySet>> {
        let age = since(self.fetched, now)?;
        (age < self.fresh.max(freshness.stale_max)).then(|| self.keys.clone()).flatten()
    }

    /// Whether it is time to fetch because they are due.
    fn may_fetch(&self, now: SystemTime, freshness: &Freshness) -> bool {
        !self.is_fresh(now) && since(self.failed, now).is_none_or(|age| age >= freshness.refetch_min)
    }

    /// Whether a key that nobody knows may lead to a fetch; that it does is noted.
    fn take_unknown(&mut self, now: SystemTime, freshness: &Freshness) -> bool {
        let is_rested = |then| since(then, now).is_none_or(|age| age >= freshness.refetch_min);
        let may = is_rested(self.unknown) && is_rested(self.failed);
        if may {
            self.unknown = Some(now);
        }
        may
    }

    fn took(&mut self, keys: KeySet, max_age: Option<Duration>, now: SystemTime, freshness: &Freshness) {
        self.keys = Some(Arc::new(keys));
        self.fetched = Some(now);
        let least = FRESH_MIN.min(freshness.fresh);
        self.fresh = max_age.map_or(freshness.fresh, |age| age.clamp(least, freshness.fresh));
        self.failed = None;
        self.attempts += 1;
    }

    fn failed(&mut self, now: SystemTime) {
        self.failed = Some(now);
        self.attempts += 1;
    }
}

/// The keys of one issuer.
#[derive(Debug)]
pub(super) struct Ring {
    issuer: String,
    from: KeysFrom,
    freshness: Freshness,
    fetcher: Fetcher,
    /// What the keys are asked for with: the API server of Kubernetes wants a token.
    token: Option<Credential>,
    state: Mutex<State>,
    /// Held while keys are fetched.
    flight: tokio::sync::Mutex<()>,
}

impl Ring {
    pub(super) fn new(
        issuer: &str,
        from: KeysFrom,
        freshness: Freshness,
        fetcher: Fetcher,
        token: Option<Credential>,
    ) -> Ring {
        let (state, flight) = (Mutex::default(), tokio::sync::Mutex::default());
        Ring { issuer: issuer.to_owned(), from, freshness, fetcher, token, state, flight }
    }

    /// The keys in force.
    ///
    /// # Errors
    /// There are none, or they are too old, and the issuer can't be asked.
    pub(super) async fn keys(&self, now: SystemTime) -> Result<Arc<KeySet>, Unproved> {
        let attempts = {
            let state = lock(&self.state);
            if state.is_fresh(now) {
                return state.usable(now, &self.freshness).ok_or(Unproved::IssuerUnreachable);
            }
            state.attempts
        };
        let _flight = self.flight.lock().await;
        let may_fetch = {
            let state = lock(&self.state);
            state.attempts == attempts && state.may_fetch(now, &self.freshness)
        };
        if may_fetch {
            self.fetch(now).await;
        }
        lock(&self.state).usable(now, &self.freshness).ok_or(Unproved::IssuerUnreachable)
    }

    /// The keys after a token came with one that is not among them; none where it is too soon to ask.
    pub(super) async fn keys_anew(&self, now: SystemTime) -> Option<Arc<KeySet>> {
        let attempts = lock(&self.state).attempts;
        let _flight = self.flight.lock().await;
        let may_fetch = {
            let mut state = lock(&self.state);
            // Another token has led to a fetch meanwhile: what it brought is new enough.
            if state.attempts != attempts {
                return state.usable(now, &self.freshness);
            }
            state.take_unknown(now, &self.freshness)
        };
        if !may_fetch {
            return None;
        }
        self.fetch(now).await;
        lock(&self.state).usable(now, &self.freshness)
    }

    /// Whether a key still is one of the issuer's, as far as is known without asking. Due keys are not: who asks then
    /// asks [`Ring::keys`].
    pub(super) fn holds(&self, key: &[u8; 32], now: SystemTime) -> bool {
        let state = lock(&self.state);
        state.is_fresh(now) && state.keys.as_ref().is_some_and(|keys| keys.holds(key))
    }

    async fn fetch(&self, now: SystemTime) {
        let fetched = match &self.from {
            KeysFrom::Discovery(address) => self.discover(address, now).await,
            KeysFrom::Url(address) => self.get(address, now).await,
            KeysFrom::File(path) => file(path).await,
        };
        let mut state = lock(&self.state);
        match fetched {
            Ok((keys, max_age)) => state.took(keys, max_age, now, &self.freshness),
            Err(_) => state.failed(now),
        }
    }

    async fn get(&self, address: &str, now: SystemTime) -> Result<(KeySet, Option<Duration>), FetchError> {
        let answer = self.ask(address, now).await?;
        let keys = KeySet::read(&answer.body).map_err(|_| FetchError("it has no keys there".to_owned()))?;
        Ok((keys, answer.max_age))
    }

    /// Asks for the metadata, which must be the issuer's own (OpenID Connect Discovery 1.0, section 4.3).
    async fn discover(
        &self,
        address: &str,
        now: SystemTime,
    ) -> Result<(KeySet, Option<Duration>), FetchError> {
        let answer = self.ask(address, now).await?;
        let broken = || FetchError("its metadata is none".to_owned());
        let metadata = json::object(&answer.body).map_err(|_| broken())?;
        let text = |name: &str| metadata.get(name).and_then(Value::as_str);
        if text("issuer") != Some(&self.issuer) {
            return Err(FetchError("its metadata is of another issuer".to_owned()));
        }
        self.get(text("jwks_uri").ok_or_else(broken)?, now).await
    }

    async fn ask(&self, address: &str, now: SystemTime) -> Result<super::fetch::Answer, FetchError> {
        let token = match &self.token {
            Some(token) => {
                let value = token.value(now).await;
                Some(value.map_err(|_| FetchError("the token for it can't be had".to_owned()))?)
            }
            None => None,
        };
        let answer = self.fetcher.get(address, token.as_deref()).await?;
        match answer.status {
            200 => Ok(answer),
            status => Err(FetchError(format!("it answers {status}"))),
        }
    }
}

async fn file(path: &std::path::Path) -> Result<(KeySet, Option<Duration>), FetchError> {
    let path = path.to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let is_small = std::fs::metadata(&path)?.len() <= ANSWER_BYTES_MAX as u64;
        if is_small { std::fs::read(&path) } else { Err(std::io::Error::other("too long")) }
    });
    let failed = || FetchError("the file of keys can't be read".to_owned());
    let text = read.await.map_err(|_| failed())?.map_err(|_| failed())?;
    let keys = KeySet::read(&text).map_err(|_| FetchError("the file has no keys".to_owned()))?;
    Ok((keys, None))
}
