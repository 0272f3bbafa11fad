//! Credentials of upstreams, and the rules that mask them where an upstream echoes them.
//!
//! A credential goes upstream only with rules that know it: they are compiled when its value changes, apart from
//! requests, and until they are there a request that would need them is refused.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use sluice_data::desk::{Asked, SetField};
use sluice_data::{RouteConfig, Routing};
use sluice_engine::{Action, CompileOptions, Confidence, Pattern, Rule, Ruleset, Source, Strategy, Suppress};
use sluice_patterns::Fault;

use crate::credential::{Injection, Outgoing, Plan, Secret};
use crate::reload::lock;

/// The shortest credential that is masked where it is echoed: shorter ones stand in every text.
const ECHO_BYTES_MIN: usize = 6;

/// What is known of an upstream besides its credential.
#[derive(Clone, Debug)]
struct Place {
    /// Where its paths begin.
    base: String,
    host: String,
    injection: Option<Injection>,
}

/// Rules by those of the route (its address, which is not another's while it is kept) and the digest of the secrets.
type Kept = HashMap<(usize, [u8; 32]), (Arc<Ruleset>, Arc<Ruleset>)>;

/// The credentials of all upstreams.
pub(crate) struct Credentials {
    places: BTreeMap<String, Place>,
    /// Upstreams of routes, and the rules of those.
    routes: Vec<(String, Arc<Ruleset>)>,
    kept: Mutex<Kept>,
    compiling: Mutex<HashSet<(usize, [u8; 32])>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("upstreams", &self.places.keys()).finish_non_exhaustive()
    }
}

/// What a request goes on with.
pub(crate) struct Injected {
    pub(crate) plan: Plan,
    /// The rules of its route, and the credential's.
    pub(crate) ruleset: Arc<Ruleset>,
}

/// Why it does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// The body is to be signed, and was not held.
    Body,
    /// The credential can't be had, or its rules are not there yet.
    Unavailable,
}

impl Credentials {
    pub(crate) fn new(routing: &Routing, injections: &BTreeMap<String, Injection>) -> Credentials {
        let place = |upstream: &sluice_data::UpstreamConfig| {
            let injection = injections.get(&upstream.name).cloned();
            let (base, host) = (upstream.base.clone(), upstream.authority.clone());
            (upstream.name.clone(), Place { base, host, injection })
        };
        let route = |route: &RouteConfig| {
            let upstream = routing.upstreams.get(route.upstream)?;
            Some((upstream.name.clone(), Arc::clone(&route.ruleset)))
        };
        Credentials {
            routes: routing.routes.iter().filter_map(route).collect(),
            places: routing.upstreams.iter().map(place).collect(),
            kept: Mutex::default(),
            compiling: Mutex::default(),
        }
    }

    /// What a request to an upstream is given; `None`: nothing.
    ///
    /// # Errors
    /// It can't be given what it needs, so it must not go on.
    pub(crate) async fn of(
        self: &Arc<Self>,
        asked: &Asked,
        body: Option<&[u8]>,
        now: SystemTime,
    ) -> Result<Option<Injected>, Missing> {
        let place = self.places.get(&asked.upstream).ok_or(Missing::Unavailable)?;
        let Some(injection) = &place.injection else { return Ok(None) };
        if needs_body(injection) && asked.has_body && body.is_none() {
            return Err(Missing::Body);
        }
        let target = format!("{}{}", place.base, asked.target);
        let body = if asked.has_body { body } else { Some(&[][..]) };
        let outgoing =
            Outgoing { method: &asked.method, target: &target, host: &place.host, body, length: None };
        let plan = injection.plan(&outgoing, now).await.map_err(|_| Missing::Unavailable)?;
        if plan.chunks.is_some() {
            return Err(Missing::Unavailable);
        }
        let ruleset = self.rules(&asked.ruleset, &plan.secrets).ok_or(Missing::Unavailable)?;
        Ok(Some(Injected { plan, ruleset }))
    }

    /// The rules of a route and of these secrets; none while they are compiled.
    fn rules(self: &Arc<Self>, ruleset: &Arc<Ruleset>, secrets: &[Arc<Secret>]) -> Option<Arc<Ruleset>> {
        let key = (Arc::as_ptr(ruleset).addr(), digest(secrets));
        if let Some((_, known)) = lock(&self.kept).get(&key) {
            return Some(Arc::clone(known));
        }
        if lock(&self.compiling).insert(key) {
            let (all, ruleset, secrets) = (Arc::clone(self), Arc::clone(ruleset), secrets.to_vec());
            tokio::task::spawn_blocking(move || all.compile(key, &ruleset, &secrets));
        }
        None
    }

    fn compile(&self, key: (usize, [u8; 32]), ruleset: &Arc<Ruleset>, secrets: &[Arc<Secret>]) {
        if let Some(rules) = with_secrets(ruleset, secrets) {
            let mut kept = lock(&self.kept);
            // Values that were there before are for nobody any more; the route's own rules keep their address.
            kept.retain(|(address, _), _| *address != key.0);
            kept.insert(key, (Arc::clone(ruleset), rules));
        }
        lock(&self.compiling).remove(&key);
    }

    /// Reads every credential, where it is due, and compiles its rules, where it is new, so that no request waits for
    /// that. It may take a while.
    pub(crate) async fn prepare(self: &Arc<Self>, now: SystemTime) -> Vec<Fault> {
        let mut faults = Vec::new();
        for (upstream, ruleset) in &self.routes {
            let Some(Place { host, injection: Some(injection), .. }) = self.places.get(upstream) else {
                continue;
            };
            let nothing: Option<&[u8]> = Some(&[]);
            let outgoing = Outgoing { method: "GET", target: "/", host, body: nothing, length: None };
            match injection.plan(&outgoing, now).await {
                Ok(plan) => {
                    let key = (Arc::as_ptr(ruleset).addr(), digest(&plan.secrets));
                    if lock(&self.kept).contains_key(&key) || !lock(&self.compiling).insert(key) {
                        continue;
                    }
                    let (all, ruleset) = (Arc::clone(self), Arc::clone(ruleset));
                    let done = tokio::task::spawn_blocking(move || all.compile(key, &ruleset, &plan.secrets));
                    // A panic of the compiler leaves the rules away, and requests refused.
                    let _ = done.await;
                }
                Err(e) => {
                    let reason = format!("the credential of the upstream `{upstream}`: {e}");
                    faults.push(Fault { file: "sluice".to_owned(), line: 0, reason });
                }
            }
        }
        faults
    }
}

fn needs_body(injection: &Injection) -> bool {
    matches!(injection, Injection::SigV4 { payload: crate::credential::SignedPart::Whole, .. })
}

fn digest(secrets: &[Arc<Secret>]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for secret in secrets {
        digest.update((secret.text().len() as u64).to_be_bytes());
        digest.update(secret.text());
    }
    digest.finalize().into()
}

/// The rules, and one for each secret: what is behind theirs has numbers that nothing counts.
fn with_secrets(ruleset: &Ruleset, secrets: &[Arc<Secret>]) -> Option<Arc<Ruleset>> {
    let rule = |(n, secret): (usize, &Arc<Secret>)| Rule {
        id: format!("upstream-credential-{n}"),
        entity: "upstream_credential".into(),
        description: "the credential that the gateway presents".into(),
        pattern: Pattern::Regex(escaped(secret.text())),
        keywords: Vec::new(),
        near: 0,
        validators: Vec::new(),
        suppress: Suppress::default(),
        max_len: Some(secret.text().len()),
        confidence: Confidence::High,
        action: Action::Mask,
        labels: Vec::new(),
        strategy: Strategy::Label,
        // Before all others: what hides it hides all of it.
        priority: Some(i32::MAX),
    };
    let secrets = secrets.iter().filter(|secret| secret.text().len() >= ECHO_BYTES_MIN);
    let rules: Vec<Rule> = secrets.enumerate().map(rule).collect();
    let mut sources = vec![Source::Rules(ruleset.rules()), Source::Rules(&rules)];
    if let Some(fields) = ruleset.fields() {
        sources.push(Source::Fields(fields));
    }
    Ruleset::link(&sources, &CompileOptions::default()).ok()
}

/// An expression for just this text.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    for letter in text.chars() {
        if letter.is_ascii_alphanumeric() {
            out.push(letter);
        } else {
            out.push_str(&format!("\\x{{{:x}}}", u32::from(letter)));
        }
    }
    out
}

/// As shards take it.
pub(crate) fn fields(set: Vec<(String, Secret)>) -> Vec<SetField> {
    let field = |(name, value): (String, Secret)| SetField {
        name,
        value: sluice_data::desk::Secret::new(value.text().as_bytes()),
    };
    set.into_iter().map(field).collect()
}

#[cfg(test)]
mod tests {
    use sluice_engine::{Format, Masker, MaskerOptions, Scratch};

    use super::*;

    #[test]
    fn a_credential_is_masked_however_it_is_echoed() {
        let none = Ruleset::compile(Vec::new(), &CompileOptions::default()).unwrap();
        let secret = "sk-a+b/c.d|é$(x)[y]{z}^";
        let rules = with_secrets(&none, &[Arc::new(Secret::new(secret.to_owned()))]).unwrap();
        use base64::Engine;
        let coded = base64::engine::general_purpose::STANDARD.encode(format!("key={secret};"));
        let body = serde_json::json!({"a": secret, "b": format!("Bearer {secret}!"), "c": coded}).to_string();
        let mut masker = Masker::new(&rules, Format::Json, MaskerOptions::default());
        let (mut scratch, mut out) = (Scratch::new(), Vec::new());
        masker.push(&mut scratch, body.as_bytes(), &mut out).unwrap();
        masker.finish(&mut scratch, &mut out).unwrap();
        let out = String::from_utf8(out).unwrap();
        assert!(!out.contains("sk-a") && !out.contains(&coded), "{out}");
        assert!(out.contains("\"Bearer [upstream_credential]!\""), "{out}");
    }
}
