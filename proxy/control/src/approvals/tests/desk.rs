//! A desk with approvals, people, a clock that is set by hand, and a record that can be made to fail.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use sluice_policy::{ApprovalTerms, Kind, Proof, Risk, Subject};

use super::super::clock::tests::Hands;
use super::super::request::hex;
use super::super::service::lock;
use super::super::*;

/// A folder that is gone with the test.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        let mut name = [0; 8];
        getrandom::fill(&mut name).unwrap();
        let path = std::env::temp_dir().join(format!("sluice-approvals-{}", hex(&name)));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn path(&self) -> &std::path::Path {
        &self.0
    }

    pub(crate) fn sqlite(&self) -> Database {
        Database::new(format!("sqlite:{}", self.0.join("approvals.db").display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A record in memory.
#[derive(Default)]
pub(crate) struct Record {
    pub(crate) taken: Mutex<Vec<Transition>>,
    pub(crate) fails: AtomicBool,
}

impl TransitionSink for Record {
    fn record<'a>(&'a self, transition: &'a Transition) -> Recorded<'a> {
        Box::pin(async move {
            if self.fails.load(Ordering::SeqCst) {
                return Err(SinkError);
            }
            lock(&self.taken).push(transition.clone());
            Ok(())
        })
    }
}

pub(crate) struct Desk {
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) hands: Arc<Hands>,
    pub(crate) record: Arc<Record>,
}

/// When every desk opens.
pub(crate) const MORNING: i64 = 1_800_000_000_000;

pub(crate) fn settings(database: Database) -> Settings {
    Settings { op_ms_max: 20_000, ..Settings::new(database) }
}

impl Desk {
    pub(crate) async fn open(database: Database) -> Desk {
        Desk::with(settings(database)).await
    }

    pub(crate) async fn with(settings: Settings) -> Desk {
        Desk::at(settings, Hands::at(MORNING)).await
    }

    pub(crate) async fn at(settings: Settings, hands: Arc<Hands>) -> Desk {
        let record = Arc::new(Record::default());
        let sink: Arc<dyn TransitionSink> = Arc::<Record>::clone(&record);
        let approvals = Approvals::open_at(settings, Some(sink), Box::new(Arc::clone(&hands))).await;
        Desk { approvals: approvals.unwrap(), hands, record }
    }

    pub(crate) async fn ask(&self, request: &ApprovalRequest) -> Result<Asked, ApprovalError> {
        self.approvals.ask(request.clone()).await
    }

    /// The id of a request that waits now.
    pub(crate) async fn pending(&self, request: &ApprovalRequest) -> ApprovalId {
        match self.ask(request).await {
            Ok(Asked::Pending { id, .. }) => id,
            other => panic!("not pending: {other:?}"),
        }
    }

    pub(crate) async fn approve(&self, id: &ApprovalId, who: &Arc<Subject>) -> Result<State, ApprovalError> {
        self.approvals.approve(id, Arc::clone(who), "looks right", Origin::default()).await
    }

    pub(crate) async fn deny(&self, id: &ApprovalId, who: &Arc<Subject>) -> Result<State, ApprovalError> {
        self.approvals.deny(id, Arc::clone(who), "not today", Origin::default()).await
    }

    pub(crate) async fn revoke(&self, id: &ApprovalId, who: &Arc<Subject>) -> Result<State, ApprovalError> {
        self.approvals.revoke(id, Arc::clone(who), "changed my mind", Origin::default()).await
    }

    pub(crate) fn steps(&self) -> Vec<Step> {
        lock(&self.record.taken).iter().map(|told| told.step).collect()
    }
}

pub(crate) fn groups(names: &[&str]) -> Vec<Arc<str>> {
    let mut names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(*name)).collect();
    names.sort();
    names
}

/// A person at the issuer `corp`.
pub(crate) fn person(id: &str, names: &[&str]) -> Arc<Subject> {
    person_at("corp", id, names)
}

pub(crate) fn person_at(issuer: &str, id: &str, names: &[&str]) -> Arc<Subject> {
    Arc::new(Subject {
        issuer: issuer.into(),
        id: id.into(),
        groups: groups(names),
        kind: Kind::Human,
        proof: Proof::Token { jti: None },
        ..Subject::default()
    })
}

pub(crate) fn agent(issuer: &str, id: &str, owner: Option<&str>) -> Arc<Subject> {
    Arc::new(Subject {
        kind: Kind::Agent,
        owner: owner.map(Arc::from),
        ..Subject::clone(&person_at(issuer, id, &[]))
    })
}

/// A request of `subject` that needs `terms`; `what` tells it from others.
pub(crate) fn request(subject: &Arc<Subject>, what: &str, terms: &[(&str, u32)]) -> ApprovalRequest {
    let body = format!("{{\"prompt\": \"{what}\"}}");
    let digest = canonical_digest(&CanonicalParts {
        method: "POST",
        path: "/v1/chat/completions",
        query: None,
        fields: &[("content-type", b"application/json")],
        body: body.as_bytes(),
    });
    ApprovalRequest {
        subject: Arc::clone(subject),
        upstream: "llm".into(),
        policy_version: "0123456789abcdef".into(),
        policies: vec!["passwords".into()],
        digest: digest.unwrap(),
        operation: "llm.chat".into(),
        risk: Risk { score: 40, parts: vec![("label".into(), 40)] },
        labels: [("word:password".into(), 1)].into(),
        preview: MaskedPreview::new("POST /v1/chat/completions [password]"),
        terms: ApprovalTerms { groups: terms.iter().map(|(name, min)| ((*name).into(), *min)).collect() },
        reveal: Default::default(),
        fields: None,
        steps: Vec::new(),
        request_id: counted("r"),
    }
}

fn counted(start: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{start}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

#[track_caller]
pub(crate) fn forbidden<T: std::fmt::Debug>(done: Result<T, ApprovalError>, wanted: &Forbidden) {
    match done {
        Err(ApprovalError::Forbidden(why)) => assert_eq!(why, *wanted),
        other => panic!("not {wanted:?}: {other:?}"),
    }
}
