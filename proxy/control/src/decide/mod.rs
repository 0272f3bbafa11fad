//! The pool's side of the desk: who calls, what they may do, with which credential it goes on.
//!
//! ```text
//!   question ──► who? ──► facts ──► policies ──► allow ──► rules for that reader, credential ──► go
//!                 │ 401                │ needs the body ──► read it, and ask again
//!                 ▼                    ├ block ──► 403
//!               refused                └ approve ──► people
//! ```
//!
//! Whatever fails on the way is a refusal. Each question is one task; of those there are at most [`QUESTIONS_MAX`] at
//! once, and what comes behind them waits on the desk, where its time runs out.

mod approve;
mod credentials;
mod facts;
mod rules;
mod upkeep;

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use axum::Router;
use axum::http::HeaderMap;
use sluice_data::desk::{Answer, CREDENTIAL_FIELDS, Desk, Question, Refusal, RefusalKind, Rulesets, Ruling};
use sluice_engine::Ruleset;
use sluice_patterns::Fault;
use sluice_policy::{Action, Decision, Memory, MemoryLimits, PolicySet, Subject, Verdict};
use tokio::sync::Semaphore;

use crate::approvals::{Approvals, Authenticate, Authenticated, Settings, Unauthenticated};
use crate::config::Config;
use crate::identity::{Identity, Presented, Proved, Revocations, SetupError, Unproved};
use crate::keys::{self, Keys};
use crate::reload::lock;
use approve::{Approved, Case};
use credentials::{Credentials, Injected, Missing};
use facts::Surfaces;
use rules::ReaderRules;
pub(crate) use upkeep::Numbers;
use upkeep::revoked;

/// Questions that are decided at once.
pub const QUESTIONS_MAX: usize = 1024;

/// The longest that a shard remembers a ruling. What is revoked or reloaded ends it at once.
const REMEMBERED_MAX: Duration = Duration::from_secs(60);

/// The same, of one with a credential: it may have been renewed.
const CREDENTIAL_REMEMBERED_MAX: Duration = Duration::from_secs(5);

/// Seconds after which a caller may ask again whose issuer could not be asked.
const RETRY_S: u32 = 1;

/// What decides, swapped as a whole by a reload.
#[derive(Debug)]
pub(crate) struct Deciders {
    /// Who may prove who they are, and how; none: nobody can.
    identity: Option<Arc<Identity>>,
    /// A file of what is revoked.
    revocations: Option<PathBuf>,
    /// Callers who prove nothing are decided by the policies, too.
    allows_anonymous: bool,
    /// What is allowed; none: everything, which only a gateway without callers who prove themselves may say.
    policies: Option<Arc<PolicySet>>,
    /// What is spoken on each route, by its name.
    surfaces: Surfaces,
    credentials: Arc<Credentials>,
}

impl Deciders {
    /// As a configuration says.
    ///
    /// # Errors
    /// Its issuers can't be set up.
    fn new(
        config: &Config,
        keys: Option<&Arc<Keys>>,
        revocations: &Arc<Revocations>,
    ) -> Result<Deciders, SetupError> {
        let identity = match config.issuers.is_empty() && keys.is_none() {
            true => None,
            false => {
                let identity = Identity::new(config.issuers.clone(), Arc::clone(revocations))?;
                Some(Arc::new(match keys {
                    Some(keys) => identity.with_keys(Arc::clone(keys)),
                    None => identity,
                }))
            }
        };
        Ok(Deciders {
            identity,
            revocations: config.identity.revocations.clone(),
            allows_anonymous: config.allows_anonymous,
            policies: config.policies.clone(),
            surfaces: config.surfaces.clone(),
            credentials: Arc::new(Credentials::new(&config.gateway.routing, &config.credentials)),
        })
    }

    /// Asks for what takes its time.
    async fn prepare(&self) -> Vec<Fault> {
        let mut faults = self.credentials.prepare(SystemTime::now()).await;
        let fault = |reason: String| Fault { file: "sluice".to_owned(), line: 0, reason };
        if let Some(identity) = &self.identity {
            if let Some(path) = &self.revocations {
                faults.extend(revoked(identity.revocations(), path).await.map(fault));
            }
            let without = identity.keep_fresh(SystemTime::now()).await;
            let told = |name: &Arc<str>| fault(format!("the issuer `{name}` can't be asked for its keys"));
            faults.extend(without.iter().map(told));
        }
        faults
    }
}

/// Takes questions from a desk and answers them.
#[derive(Debug)]
pub struct Pool {
    desk: Arc<Desk>,
    deciders: ArcSwap<Deciders>,
    readers: ReaderRules,
    places: Arc<Semaphore>,
    /// Those that the gateway issued.
    keys: Option<Arc<Keys>>,
    /// Where people decide; none: what needs them is refused.
    approvals: Option<Arc<Approvals>>,
    /// What is revoked: by a file, and by who says so.
    revocations: Arc<Revocations>,
    /// What went before: chains, quotas, first uses. It outlives reloads.
    memory: Mutex<Memory>,
    since: Instant,
}

/// Why requests can't be decided.
#[derive(Debug)]
pub struct PoolError(String);

impl fmt::Display for PoolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PoolError {}

impl Pool {
    /// A pool at this desk; it answers once it runs. What can't be had yet (keys of issuers, credentials of upstreams)
    /// is told, and tried again: until then the requests that need it are refused.
    ///
    /// # Errors
    /// The configuration's issuers can't be set up, or the store of issued keys can't be opened.
    pub async fn start(
        desk: Arc<Desk>,
        config: &Config,
        approvals: Option<Arc<Approvals>>,
    ) -> Result<(Arc<Pool>, Vec<Fault>), PoolError> {
        let keys = match &config.identity.keys {
            Some((path, secret)) => {
                let secret = secret.value(SystemTime::now()).await.map_err(|e| PoolError(e.to_string()))?;
                let keys = Keys::open(path, &secret).await.map_err(|e| PoolError(e.to_string()))?;
                Some(Arc::new(keys))
            }
            None => None,
        };
        let revocations = Arc::default();
        let deciders =
            Deciders::new(config, keys.as_ref(), &revocations).map_err(|e| PoolError(e.to_string()))?;
        let faults = deciders.prepare().await;
        Ok((Arc::new(Pool::new(desk, deciders, keys, approvals, revocations)), faults))
    }

    /// As a configuration says, in place of what was: whole, or not at all. It waits for files and compilers: not for a
    /// thread that must not.
    ///
    /// # Errors
    /// Its issuers can't be set up.
    pub(crate) fn make(&self, config: &Config) -> Result<Deciders, SetupError> {
        let deciders = Deciders::new(config, self.keys.as_ref(), &self.revocations)?;
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            // What can't be had yet is tried again.
            let _ = runtime.block_on(deciders.prepare());
        }
        Ok(deciders)
    }

    fn new(
        desk: Arc<Desk>,
        deciders: Deciders,
        keys: Option<Arc<Keys>>,
        approvals: Option<Arc<Approvals>>,
        revocations: Arc<Revocations>,
    ) -> Pool {
        let pool = Pool {
            desk,
            deciders: ArcSwap::from_pointee(deciders),
            readers: ReaderRules::default(),
            places: Arc::new(Semaphore::new(QUESTIONS_MAX)),
            keys,
            approvals,
            revocations,
            memory: Memory::new(MemoryLimits::default()).into(),
            since: Instant::now(),
        };
        pool.look();
        pool
    }

    /// Decides by these from now on; what was decided before is forgotten.
    pub(crate) fn reload(&self, deciders: Deciders) {
        self.deciders.store(Arc::new(deciders));
        self.look();
    }

    /// The routes of issued keys, to be merged into those of the admin server; none where there are no such keys.
    #[must_use]
    pub fn key_routes(self: &Arc<Self>) -> Option<Router> {
        let keys = Arc::clone(self.keys.as_ref()?);
        let pool = Arc::clone(self);
        Some(keys::routes(Arc::new(move || pool.deciders.load().identity.clone()), keys))
    }

    /// From now on these are the people who decide.
    pub(crate) fn set_people(&self, settings: Option<&Settings>) {
        if let (Some(approvals), Some(settings)) = (&self.approvals, settings) {
            approvals.set_people(Arc::clone(&settings.people));
        }
    }

    /// Tells the shards which fields are facts.
    fn look(&self) {
        let deciders = self.deciders.load();
        let mut names: Vec<String> =
            deciders.policies.iter().flat_map(|policies| policies.headers().iter().cloned()).collect();
        if let Some(identity) = &deciders.identity {
            names.extend(identity.context_names().iter().map(|name| name.to_string()));
        }
        self.desk.set_fields(names);
    }

    /// Takes questions for as long as it is polled.
    pub async fn run(self: Arc<Self>) {
        loop {
            // Never closed.
            let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return };
            let question = self.desk.next().await;
            let pool = Arc::clone(&self);
            tokio::spawn(async move {
                let mut place = Some(place);
                if let Some(answer) = pool.decide(&question, || drop(place.take())).await {
                    question.answer(answer);
                }
            });
        }
    }

    /// None: nobody waits for it any more.
    async fn decide(&self, question: &Question, before_waiting: impl FnOnce()) -> Option<Answer> {
        let deciders = self.deciders.load_full();
        let now = SystemTime::now();
        let proved = tokio::select! {
            () = question.mailbox.gone() => return None,
            proved = who(&deciders, question, now) => proved,
        };
        match proved {
            Ok(proved) => self.judge(&deciders, question, proved, now, before_waiting).await,
            Err(reason) => Some(Answer::Refused(unproved(reason))),
        }
    }

    async fn judge(
        &self,
        deciders: &Deciders,
        question: &Question,
        proved: Proved,
        now: SystemTime,
        before_waiting: impl FnOnce(),
    ) -> Option<Answer> {
        let Question { asked, body, .. } = question;
        if !proved.subject.is_within(&asked.upstream, &asked.route, &asked.method) {
            return Some(Answer::Refused(Refusal {
                kind: RefusalKind::Denied,
                detail: "this key is not for that upstream, route or method".to_owned(),
                retry_after_s: 0,
            }));
        }
        let surface = deciders.surfaces.get(&asked.route).cloned().unwrap_or_default();
        let facts = match facts::of(asked, Arc::clone(&proved.subject), surface, body.as_ref()) {
            Ok(facts) => facts,
            Err(refusal) => return Some(Answer::Refused(refusal)),
        };
        let decision = deciders.policies.as_ref().map(|policies| {
            if !policies.is_stateful() {
                return policies.decide(&facts);
            }
            policies.decide_with(&facts, &mut lock(&self.memory), self.since.elapsed().as_millis() as u64)
        });
        let verdict = match decision {
            Some(Decision::NeedsBody) => return Some(Answer::ReadBody),
            Some(Decision::Decided(verdict)) => verdict,
            None => Arc::new(Verdict { action: Action::Allow, ..Verdict::default() }),
        };
        let approval = match (&verdict.action, &self.approvals) {
            (Action::Allow, _) => None,
            (Action::Block, _) => return Some(Answer::Refused(denied(&verdict))),
            // What is approved is bound to all of the request.
            (Action::Approve(_), Some(_)) if asked.has_body && body.is_none() => {
                return Some(Answer::ReadBody);
            }
            (Action::Approve(terms), Some(approvals)) => {
                let (subject, verdict, body) = (&proved.subject, &*verdict, facts.body.as_ref());
                let case = Case { pool: self, question, subject, verdict, terms, body };
                match case.ask(approvals, before_waiting).await {
                    Approved::Goes(id) => {
                        if let Some(policies) = &deciders.policies {
                            let now_ms = self.since.elapsed().as_millis() as u64;
                            policies.note(&facts, &mut lock(&self.memory), now_ms);
                        }
                        Some(id)
                    }
                    Approved::Answer(answer) => return Some(answer),
                    Approved::Gone => return None,
                }
            }
            (Action::Approve(_), None) => {
                let detail =
                    format!("{}: people have to approve it, and none are configured", told(&verdict));
                let kind = RefusalKind::ApprovalPending;
                return Some(Answer::Refused(Refusal { kind, detail, retry_after_s: 0 }));
            }
        };
        // What people took their time for is decided by what is known now.
        let now = if approval.is_some() { SystemTime::now() } else { now };
        Some(self.let_on(deciders, question, proved, verdict, approval, now).await)
    }

    /// Whether a request that has waited is still the same caller's, under the same policies.
    async fn still_holds(
        &self,
        question: &Question,
        subject: &Arc<Subject>,
        verdict: &Verdict,
    ) -> Result<(), Refusal> {
        let deciders = self.deciders.load_full();
        let proved = who(&deciders, question, SystemTime::now()).await.map_err(unproved)?;
        let version = deciders.policies.as_ref().map(|policies| policies.version());
        if proved.subject != *subject || version != Some(&verdict.version) {
            return Err(Refusal {
                kind: RefusalKind::ApprovalPending,
                detail: "the policies or the caller changed while the request waited: send it again"
                    .to_owned(),
                retry_after_s: RETRY_S,
            });
        }
        Ok(())
    }

    async fn let_on(
        &self,
        deciders: &Deciders,
        question: &Question,
        proved: Proved,
        verdict: Arc<Verdict>,
        approval: Option<Arc<str>>,
        now: SystemTime,
    ) -> Answer {
        let asked = &question.asked;
        let body = question.body.as_ref().map(|body| body.masked.as_slice());
        let injected = match deciders.credentials.of(asked, body, now).await {
            Ok(injected) => injected,
            Err(Missing::Body) => return Answer::ReadBody,
            Err(Missing::Unavailable) => {
                return Answer::Refused(Refusal {
                    kind: RefusalKind::Overloaded,
                    detail: "the gateway's own credential for the upstream can't be had: try again"
                        .to_owned(),
                    retry_after_s: RETRY_S,
                });
            }
        };
        let own = injected.as_ref().map(|injected| &injected.ruleset);
        let Ok(rulesets) = self.readers.of(own.unwrap_or(&asked.ruleset), &verdict) else {
            return Answer::Refused(Refusal {
                kind: RefusalKind::Denied,
                detail: "a policy's list of fields can't be held".to_owned(),
                retry_after_s: 0,
            });
        };
        let left = proved.until.map(|until| until.duration_since(now).unwrap_or_default());
        let most = if injected.is_some() { CREDENTIAL_REMEMBERED_MAX } else { REMEMBERED_MAX };
        let is_once = verdict.is_once || approval.is_some();
        let remembered = (!is_once).then(|| left.map_or(most, |left| left.min(most)));
        let both = |own: &Arc<Ruleset>| Rulesets { request: Arc::clone(own), response: Arc::clone(own) };
        let rulesets = rulesets.or_else(|| own.map(both));
        // What nobody here takes may be meant for the upstream.
        let is_taken = deciders.identity.is_some() || !proved.subject.is_anonymous();
        let strip_fields = if is_taken { CREDENTIAL_FIELDS.map(str::to_owned).to_vec() } else { Vec::new() };
        let (strip_fields, strip_query, set_fields, set_query) = match injected {
            Some(Injected { plan, .. }) => (
                plan.strip_fields,
                plan.strip_query,
                credentials::fields(plan.set_fields),
                credentials::fields(plan.set_query),
            ),
            None => (strip_fields, Vec::new(), Vec::new(), Vec::new()),
        };
        Answer::Go(Arc::new(Ruling {
            subject: proved.subject,
            verdict,
            approval,
            rulesets,
            strip_fields,
            strip_query,
            set_fields,
            set_query,
            remembered,
        }))
    }
}

impl Authenticate for Pool {
    fn authenticate<'a>(&'a self, headers: &'a HeaderMap, peer: Option<SocketAddr>) -> Authenticated<'a> {
        Box::pin(async move {
            let deciders = self.deciders.load_full();
            let identity = deciders.identity.as_ref().ok_or(Unauthenticated)?;
            let fields = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
            let names = identity.context_names();
            let peer = peer.map(|peer| peer.ip());
            let presented = Presented::read(fields, names, None, peer).map_err(|_| Unauthenticated)?;
            identity.prove(&presented, SystemTime::now()).await.map_err(|_| Unauthenticated)
        })
    }
}

/// Who sent a request.
async fn who(deciders: &Deciders, question: &Question, now: SystemTime) -> Result<Proved, Unproved> {
    let nobody = || Proved { subject: Arc::new(Subject::default()), until: None };
    let asked = &question.asked;
    let Some(identity) = &deciders.identity else {
        return if deciders.allows_anonymous { Ok(nobody()) } else { Err(Unproved::NoCredential) };
    };
    let credentials = asked.credentials.iter().map(|c| (c.field, c.value.bytes()));
    let fields = asked.fields.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let all = credentials.chain(fields);
    let presented = Presented::read(all, identity.context_names(), asked.certificate.clone(), asked.peer)?;
    match identity.proof(&presented, now).await {
        Err(Unproved::NoCredential) if deciders.allows_anonymous => Ok(nobody()),
        other => other,
    }
}

fn unproved(reason: Unproved) -> Refusal {
    let is_ours = reason.is_temporary();
    Refusal {
        kind: if is_ours { RefusalKind::Overloaded } else { RefusalKind::Unauthenticated },
        detail: reason.to_string(),
        retry_after_s: if is_ours { RETRY_S } else { 0 },
    }
}

fn denied(verdict: &Verdict) -> Refusal {
    Refusal { kind: RefusalKind::Denied, detail: told(verdict), retry_after_s: 0 }
}

/// What a caller is told of a verdict: why, and which policies made it.
fn told(verdict: &Verdict) -> String {
    if verdict.policies.is_empty() {
        return verdict.reason.clone();
    }
    let ids: Vec<&str> = verdict.policies.iter().map(|id| &**id).collect();
    format!("{} (policy {})", verdict.reason, ids.join(", "))
}
