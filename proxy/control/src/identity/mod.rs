//! Who calls: what a request brings, held against the issuers that are configured.
//!
//! ```text
//!   fields of the head ──► Presented ──► token      ──► signed: keys of its issuer, claims ──┐
//!   client certificate ──►                          ──► opaque: its issuer is asked         ├─► mapping ─► Subject
//!                                        certificate ─────────────────────────────────────────┘
//! ```
//!
//! Nothing is guessed: a token goes to the one issuer that it names, and where what is presented can be read in two ways
//! nobody is proved. What was found of a token is cached by its digest for as long as it is valid; revocations, the
//! issuer's keys, and the clock are looked at each time.

mod algorithm;
mod cache;
mod checks;
mod fetch;
mod introspection;
mod issuer;
mod json;
mod jwk;
mod mapping;
mod presented;
mod revoked;
mod ring;
mod token;
mod types;
mod unproved;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::keys::{self, Keys};
use sluice_data::PeerIdentity;
use sluice_policy::{Proof, Subject};
use tokio::sync::Semaphore;

pub use algorithm::Algorithm;
use cache::Cache;
pub use checks::Rules;
use checks::{Checked, Window};
pub use fetch::{ANSWER_BYTES_MAX, ANSWER_TIME_MAX, FetchError, Fetching};
pub(crate) use fetch::{Answer, Fetcher, url};
use introspection::{Asked, Said};
pub use introspection::{CACHED_MAX, QUESTIONS_MAX};
pub use issuer::{Certificates, Introspection, Issuer, Means, Tokens};
pub use jwk::KEYS_MAX;
pub use mapping::{EXPRESSION_BYTES_MAX, GROUPS_MAX, Mapping, NAME_BYTES_MAX, Part, Source};
pub use presented::{CONTEXT_BYTES_MAX, CREDENTIAL_FIELDS, ContextNames, Presented, TOKEN_BYTES_MAX};
pub use revoked::{REVOCATIONS_MAX, RevocationError, Revocations, Revoked};
use ring::Ring;
pub use ring::{Freshness, KeysFrom};
use token::{Unverified, is_token};
pub use unproved::Unproved;

/// Issuers of one gateway.
pub const ISSUERS_MAX: usize = 100;
/// Tokens that are remembered as checked.
pub const TOKENS_CACHED_MAX: usize = 20_000;
/// Proofs that run at once; more are refused as [`Unproved::Busy`].
pub const PROOFS_MAX: usize = 1024;
/// For how long it is remembered that a token is not active.
const INACTIVE_CACHED: Duration = Duration::from_secs(10);
/// How far the clock may go back before what was checked is checked again.
const CLOCK_BACK_MAX: Duration = Duration::from_secs(5);

/// An issuer at work.
#[derive(Debug)]
struct AtWork {
    name: Arc<str>,
    means: MeansAtWork,
    mapping: Mapping,
    context: Vec<(Part, Arc<str>)>,
}

impl AtWork {
    /// The part of a subject that this issuer's callers may tell in a field.
    fn part(&self, field: &str) -> Option<Part> {
        self.context.iter().find(|(_, name)| &**name == field).map(|(part, _)| *part)
    }
}

#[derive(Debug)]
enum MeansAtWork {
    Tokens { algorithms: Vec<Algorithm>, rules: Rules, ring: Ring },
    Introspection(Asked),
    Certificates(Certificates),
}

/// What an opaque token was found to be.
#[derive(Debug)]
enum Opaque {
    Found(Found),
    /// Not active, until then.
    Inactive(SystemTime),
}

/// What was found of a credential.
#[derive(Clone, Debug)]
struct Found {
    issuer: usize,
    subject: Subject,
    id: Option<String>,
    bound_to: Option<[u8; 32]>,
    window: Option<Window>,
    /// The key that signed it.
    key: Option<[u8; 32]>,
    at: SystemTime,
}

/// A caller who was proved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// Who it is.
    pub subject: Arc<Subject>,
    /// Until when, unless it is revoked.
    pub until: Option<SystemTime>,
}

/// An identity can't be set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetupError {
    /// The issuer at fault.
    pub issuer: Arc<str>,
    /// What is wrong.
    pub reason: String,
}

impl fmt::Display for SetupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "issuer `{}`: {}", self.issuer, self.reason)
    }
}

impl std::error::Error for SetupError {}

/// The issuers of a gateway, at work.
#[derive(Debug)]
pub struct Identity {
    issuers: Vec<AtWork>,
    by_iss: BTreeMap<String, usize>,
    names: ContextNames,
    revocations: Arc<Revocations>,
    cache: Cache<Found>,
    opaque: Cache<Opaque>,
    proofs: Semaphore,
    refusals: Vec<AtomicU64>,
    keys: Option<Arc<Keys>>,
}

impl Identity {
    /// Of these issuers. Nothing is asked of them yet.
    ///
    /// # Errors
    /// An issuer can't be asked, or two can't be told apart.
    pub fn new(issuers: Vec<Issuer>, revocations: Arc<Revocations>) -> Result<Identity, SetupError> {
        let mut names: BTreeSet<Arc<str>> = presented::RESERVED.iter().map(|name| Arc::from(*name)).collect();
        names.extend(
            issuers.iter().flat_map(|issuer| issuer.context.iter().map(|(_, field)| Arc::clone(field))),
        );
        let mut by_iss = BTreeMap::new();
        let mut at_work = Vec::new();
        for issuer in issuers {
            let fault =
                |reason: &str| SetupError { issuer: Arc::clone(&issuer.name), reason: reason.to_owned() };
            if at_work.iter().any(|other: &AtWork| other.name == issuer.name) {
                return Err(fault("another issuer has that name"));
            }
            if let Means::Tokens(tokens) = &issuer.means
                && by_iss.insert(tokens.issuer.clone(), at_work.len()).is_some()
            {
                return Err(fault("another issuer has the same `iss`"));
            }
            if let Means::Introspection(asked) = &issuer.means
                && at_work.iter().any(|other| is_asked_alike(other, &asked.prefix))
            {
                return Err(fault("another issuer is asked of tokens with the same `prefix`"));
            }
            at_work.push(start(issuer)?);
        }
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|_| SetupError {
            issuer: Arc::from(""),
            reason: "the system gives no random bytes".to_owned(),
        })?;
        Ok(Identity {
            issuers: at_work,
            by_iss,
            names: ContextNames { names: names.into_iter().collect() },
            revocations,
            cache: Cache::new(TOKENS_CACHED_MAX, key),
            opaque: Cache::new(TOKENS_CACHED_MAX, key),
            proofs: Semaphore::new(PROOFS_MAX),
            refusals: Unproved::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            keys: None,
        })
    }

    /// Takes the gateway's own keys too.
    #[must_use]
    pub fn with_keys(self, keys: Arc<Keys>) -> Identity {
        Identity { keys: Some(keys), ..self }
    }

    /// Names of the fields that [`Presented::read`] must look for.
    #[must_use]
    pub fn context_names(&self) -> &ContextNames {
        &self.names
    }

    /// What is revoked.
    #[must_use]
    pub fn revocations(&self) -> &Arc<Revocations> {
        &self.revocations
    }

    /// How many were not proved, by reason.
    pub fn refusals(&self) -> impl Iterator<Item = (Unproved, u64)> {
        let counts = self.refusals.iter().map(|count| count.load(Ordering::Relaxed));
        Unproved::ALL.iter().copied().zip(counts)
    }

    /// Who it is that presents this.
    ///
    /// # Errors
    /// Why nobody was proved.
    pub async fn prove(&self, presented: &Presented, now: SystemTime) -> Result<Arc<Subject>, Unproved> {
        self.proof(presented, now).await.map(|proved| proved.subject)
    }

    /// As [`Identity::prove`], with the time that the proof is good for.
    ///
    /// # Errors
    /// Why nobody was proved.
    pub async fn proof(&self, presented: &Presented, now: SystemTime) -> Result<Proved, Unproved> {
        let proved = match self.proofs.try_acquire() {
            Ok(_permit) => self.find_out(presented, now).await,
            Err(_) => Err(Unproved::Busy),
        };
        if let Err(reason) = &proved
            && let Some(count) = self.refusals.get(*reason as usize)
        {
            count.fetch_add(1, Ordering::Relaxed);
        }
        proved
    }

    async fn find_out(&self, presented: &Presented, now: SystemTime) -> Result<Proved, Unproved> {
        let certificate = presented.certificate.as_deref();
        if let Some(token) = &presented.token
            && token.text().starts_with(keys::PREFIX)
        {
            return self.of_key(token.text(), &presented.context, now);
        }
        let found = match (&presented.token, certificate) {
            (Some(token), _) => self.of_text(token.text(), now).await?,
            (None, Some(owner)) => Arc::new(self.of_certificate(owner, now)?),
            (None, None) => return Err(Unproved::NoCredential),
        };
        if let Some(fingerprint) = &found.bound_to {
            let owner =
                certificate.filter(|owner| owner.fingerprint == *fingerprint && !owner.is_expired(now));
            owner.ok_or(Unproved::Bound)?;
        }
        let issuer = self.issuers.get(found.issuer).ok_or(Unproved::UnknownIssuer)?;
        if self.revocations.holds(&issuer.name, &found.subject.id, found.id.as_deref()) {
            return Err(Unproved::Revoked);
        }
        let mut subject = found.subject.clone();
        for (field, value) in &presented.context {
            tell(&mut subject, issuer.part(field).ok_or(Unproved::Context)?, value)?;
        }
        let until = match &found.window {
            Some(window) => Some(window.end()),
            None => certificate.map(|owner| owner.not_after),
        };
        Ok(Proved { subject: Arc::new(subject), until })
    }

    /// Who has a key of the gateway's own: nobody else is ever asked of it. It tells chain, step and purpose where its
    /// minter might.
    fn of_key(
        &self,
        text: &str,
        context: &[(Arc<str>, String)],
        now: SystemTime,
    ) -> Result<Proved, Unproved> {
        let key = self.keys.as_ref().ok_or(Unproved::UnknownCredential)?.find(text, now)?;
        if self.revocations.holds(&key.subject.issuer, &key.subject.id, Some(&key.id)) {
            return Err(Unproved::Revoked);
        }
        let mut subject = key.subject;
        // Keys of an issuer that is not configured any more end with it.
        let issuer = self.issuers.iter().find(|issuer| issuer.name == subject.issuer);
        let issuer = issuer.ok_or(Unproved::UnknownIssuer)?;
        for (field, value) in context {
            tell(&mut subject, issuer.part(field).ok_or(Unproved::Context)?, value)?;
        }
        Ok(Proved { subject: Arc::new(subject), until: Some(key.ends) })
    }

    /// What is found of a token, checked before or anew.
    async fn of_text(&self, text: &str, now: SystemTime) -> Result<Arc<Found>, Unproved> {
        let digest = self.cache.digest(text);
        if let Some(found) = self.cache.find(&digest) {
            if self.still_holds(&found, now)? {
                return Ok(found);
            }
            self.cache.forget(&digest);
        }
        if let Some(issuer) = self.asked(text) {
            return self.of_opaque(issuer, text, digest, now).await.map(Arc::new);
        }
        if !is_token(text) {
            return Err(Unproved::Malformed);
        }
        let found = Arc::new(self.of_token(text, now).await?);
        self.cache.put(digest, Arc::clone(&found));
        Ok(found)
    }

    /// Whether what was found once is still so without asking anybody.
    fn still_holds(&self, found: &Found, now: SystemTime) -> Result<bool, Unproved> {
        if now + CLOCK_BACK_MAX < found.at {
            return Ok(false);
        }
        if let Some(window) = &found.window {
            window.check(now)?;
        }
        let issuer = self.issuers.get(found.issuer).ok_or(Unproved::UnknownIssuer)?;
        Ok(match (&issuer.means, &found.key) {
            (MeansAtWork::Tokens { ring, .. }, Some(key)) => ring.holds(key, now),
            (
                MeansAtWork::Tokens { .. } | MeansAtWork::Introspection(_) | MeansAtWork::Certificates(_),
                _,
            ) => false,
        })
    }

    /// The issuer that is asked of a token: the one whose prefix it has, the longest of them; else, for what is no
    /// signed token, the one without a prefix.
    fn asked(&self, text: &str) -> Option<usize> {
        let prefix = |issuer: &AtWork| match &issuer.means {
            MeansAtWork::Introspection(asked) => Some(asked.config.prefix.clone()),
            MeansAtWork::Tokens { .. } | MeansAtWork::Certificates(_) => None,
        };
        let all = self.issuers.iter().enumerate().filter_map(|(n, issuer)| Some((prefix(issuer)?, n)));
        let fits = |prefix: &str| if prefix.is_empty() { !is_token(text) } else { text.starts_with(prefix) };
        all.filter(|(prefix, _)| fits(prefix)).max_by_key(|(prefix, _)| prefix.len()).map(|(_, n)| n)
    }

    /// Asks of an opaque token, unless it was asked of lately.
    async fn of_opaque(
        &self,
        issuer: usize,
        text: &str,
        digest: cache::Digest,
        now: SystemTime,
    ) -> Result<Found, Unproved> {
        let is_steady = |at: SystemTime| now + CLOCK_BACK_MAX >= at;
        match self.opaque.find(&digest).as_deref() {
            Some(Opaque::Found(found)) if is_steady(found.at) => {
                if found.window.is_some_and(|window| window.check(now).is_ok()) {
                    return Ok(found.clone());
                }
            }
            Some(Opaque::Inactive(until)) if now < *until && *until <= now + INACTIVE_CACHED => {
                return Err(Unproved::Inactive);
            }
            Some(Opaque::Found(_) | Opaque::Inactive(_)) | None => {}
        }
        self.opaque.forget(&digest);
        let at_work = self.issuers.get(issuer).ok_or(Unproved::UnknownIssuer)?;
        let MeansAtWork::Introspection(asked) = &at_work.means else { return Err(Unproved::UnknownIssuer) };
        let Said { claims, checked } = match asked.ask(text, now).await {
            Err(Unproved::Inactive) => {
                self.opaque.put(digest, Arc::new(Opaque::Inactive(now + INACTIVE_CACHED)));
                return Err(Unproved::Inactive);
            }
            said => said?,
        };
        let mut subject = at_work.mapping.of_claims(&claims)?;
        subject.issuer = Arc::clone(&at_work.name);
        subject.proof = Proof::Introspection;
        let Checked { id, bound_to, window } = checked;
        let found = Found { issuer, subject, id, bound_to, window: Some(window), key: None, at: now };
        self.opaque.put(digest, Arc::new(Opaque::Found(found.clone())));
        Ok(found)
    }

    /// Checks a signed token.
    async fn of_token(&self, text: &str, now: SystemTime) -> Result<Found, Unproved> {
        let token = Unverified::read(text)?;
        let issuer = *self.by_iss.get(token.issuer()?).ok_or(Unproved::UnknownIssuer)?;
        let at_work = self.issuers.get(issuer).ok_or(Unproved::UnknownIssuer)?;
        let MeansAtWork::Tokens { algorithms, rules, ring } = &at_work.means else {
            return Err(Unproved::UnknownIssuer);
        };
        if !algorithms.contains(&token.algorithm) {
            return Err(Unproved::Algorithm);
        }
        rules.check_type(token.kind.as_deref())?;
        let Checked { id, bound_to, window } = rules.check(&token.claims, now)?;
        let key = verify(&token, ring, now).await?;
        let mut subject = at_work.mapping.of_claims(&token.claims)?;
        subject.issuer = Arc::clone(&at_work.name);
        subject.proof = Proof::Token { jti: id.as_deref().map(Arc::from) };
        Ok(Found { issuer, subject, id, bound_to, window: Some(window), key: Some(key), at: now })
    }

    fn of_certificate(&self, owner: &PeerIdentity, now: SystemTime) -> Result<Found, Unproved> {
        if owner.is_expired(now) {
            return Err(Unproved::Expired);
        }
        let find = |named: bool| {
            self.issuers.iter().position(|issuer| match &issuer.means {
                MeansAtWork::Certificates(all) if named => all.authorities.contains(&owner.issuer),
                MeansAtWork::Certificates(all) => all.authorities.is_empty(),
                MeansAtWork::Tokens { .. } | MeansAtWork::Introspection(_) => false,
            })
        };
        let issuer = find(true).or_else(|| find(false)).ok_or(Unproved::Certificate)?;
        let at_work = self.issuers.get(issuer).ok_or(Unproved::Certificate)?;
        let mut subject = at_work.mapping.of_certificate(owner)?;
        subject.issuer = Arc::clone(&at_work.name);
        subject.proof = Proof::Certificate;
        Ok(Found { issuer, subject, id: None, bound_to: None, window: None, key: None, at: now })
    }

    /// Asks every issuer of tokens for its keys, where they are due; to be called now and then, so that requests
    /// seldom wait for it. Gives the names of those that have none that can be used.
    pub async fn keep_fresh(&self, now: SystemTime) -> Vec<Arc<str>> {
        let mut without = Vec::new();
        for issuer in &self.issuers {
            if let MeansAtWork::Tokens { ring, .. } = &issuer.means
                && ring.keys(now).await.is_err()
            {
                without.push(Arc::clone(&issuer.name));
            }
        }
        without
    }
}

/// Whether an issuer is asked of tokens with this prefix.
fn is_asked_alike(issuer: &AtWork, prefix: &str) -> bool {
    matches!(&issuer.means, MeansAtWork::Introspection(asked) if asked.config.prefix == prefix)
}

fn start(issuer: Issuer) -> Result<AtWork, SetupError> {
    let Issuer { name, means, mapping, context } = issuer;
    let fault = |reason: String| SetupError { issuer: Arc::clone(&name), reason };
    let means = match means {
        Means::Tokens(tokens) => {
            let fetcher = Fetcher::new(&tokens.fetching).map_err(|e| fault(e.to_string()))?;
            if let KeysFrom::Discovery(address) | KeysFrom::Url(address) = &tokens.keys {
                fetcher.url(address).map_err(|e| fault(e.to_string()))?;
            }
            if tokens.rules.audiences.is_empty() {
                return Err(fault("its tokens need an audience".to_owned()));
            }
            let ring = Ring::new(&tokens.issuer, tokens.keys, tokens.freshness, fetcher, tokens.token);
            MeansAtWork::Tokens { algorithms: tokens.algorithms, rules: tokens.rules, ring }
        }
        Means::Introspection(config) => {
            let asked = Asked::new(config).map_err(|e| fault(e.to_string()))?;
            MeansAtWork::Introspection(asked)
        }
        Means::Certificates(certificates) => MeansAtWork::Certificates(certificates),
    };
    Ok(AtWork { name, means, mapping, context })
}

/// The key that signed a token; its issuer is asked anew where it has none that could have.
async fn verify(token: &Unverified<'_>, ring: &Ring, now: SystemTime) -> Result<[u8; 32], Unproved> {
    let keys = ring.keys(now).await?;
    match token.verify(&keys) {
        Ok(key) => Ok(key.digest),
        Err(Unproved::UnknownKey) => {
            let keys = ring.keys_anew(now).await.ok_or(Unproved::UnknownKey)?;
            token.verify(&keys).map(|key| key.digest)
        }
        Err(reason) => Err(reason),
    }
}

/// Takes what a request's field tells of the subject's work. It may not differ from what was proved.
fn tell(subject: &mut Subject, part: Part, value: &str) -> Result<(), Unproved> {
    let place = match part {
        Part::Chain => &mut subject.chain,
        Part::Step => &mut subject.step,
        Part::Purpose => &mut subject.purpose,
        Part::Subject | Part::Groups | Part::Kind | Part::Actor | Part::Owner => {
            return Err(Unproved::Context);
        }
    };
    match place {
        Some(proved) if &**proved != value => Err(Unproved::Context),
        Some(_) => Ok(()),
        None => {
            *place = Some(Arc::from(value));
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests;
