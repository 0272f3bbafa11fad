//! What the data path asks, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use sluice_policy::{ApprovalTerms, FieldList, Kind, Proof, Risk, Subject};

use super::canonical::RequestDigest;

/// The longest preview kept, in bytes; the rest is cut off.
pub const PREVIEW_BYTES_MAX: usize = 16 << 10;
/// The most labels, steps, entities and paths of one request that are kept.
const LIST_MAX: usize = 256;

/// A request that people are to decide.
#[derive(Clone, Debug)]
pub struct ApprovalRequest {
    /// Who asks.
    pub subject: Arc<Subject>,
    /// The configured name of the upstream.
    pub upstream: Arc<str>,
    /// The version of the policies that ask for it.
    pub policy_version: Arc<str>,
    /// The policies that ask for it.
    pub policies: Vec<Arc<str>>,
    /// Of the request that would go on.
    pub digest: RequestDigest,
    /// What it does: `llm.chat`, `tool:NAME`, `sql.delete` …
    pub operation: Arc<str>,
    /// The score and its parts.
    pub risk: Risk,
    /// What the scan found, and how often.
    pub labels: BTreeMap<Arc<str>, u64>,
    /// The request as it would be recorded.
    pub preview: MaskedPreview,
    /// Who must approve.
    pub terms: ApprovalTerms,
    /// Entities that would leave as they are.
    pub reveal: BTreeSet<Arc<str>>,
    /// What of the answer would leave; none: all of it, masked.
    pub fields: Option<Arc<FieldList>>,
    /// The steps of the subject's chain so far.
    pub steps: Vec<Arc<str>>,
    /// The exchange.
    pub request_id: String,
}

/// The text of a request after masking. Approvers see it, and it is stored: nothing else may be put in here.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct MaskedPreview(String);

impl MaskedPreview {
    /// Of a text that was masked, cut to [`PREVIEW_BYTES_MAX`].
    #[must_use]
    pub fn new(masked: &str) -> MaskedPreview {
        if masked.len() <= PREVIEW_BYTES_MAX {
            return MaskedPreview(masked.to_owned());
        }
        let cut = masked.get(..masked.floor_char_boundary(PREVIEW_BYTES_MAX)).unwrap_or_default();
        MaskedPreview(format!("{cut} …"))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for MaskedPreview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MaskedPreview({} bytes)", self.0.len())
    }
}

/// The id of an approval: 128 random bits in hexadecimal, so that nobody guesses one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ApprovalId(Arc<str>);

impl ApprovalId {
    /// A new one.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub(crate) fn random() -> Result<ApprovalId, getrandom::Error> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes)?;
        Ok(ApprovalId(hex(&bytes).into()))
    }

    /// From its text.
    #[must_use]
    pub fn parse(text: &str) -> Option<ApprovalId> {
        let is_hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        is_hex.then(|| ApprovalId(text.into()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ApprovalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// People have to decide: hold it, or send it back with `approval_pending`.
    Pending {
        /// The approval.
        id: ApprovalId,
        /// Seconds after which it is worth asking again.
        retry_after_s: u32,
    },
    /// It goes on, this once: the grant is used up, or a window covers it.
    Consumed {
        /// The approval.
        id: ApprovalId,
        /// A window let it through, and stays.
        through_window: bool,
    },
    /// It is refused with `approval_denied`.
    Denied {
        /// The approval.
        id: ApprovalId,
        /// What the one who said no gave as the reason.
        reason: String,
    },
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A digest over parts that each stand behind their length.
pub(crate) fn keyed(domain: &str, parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(domain.as_bytes()).chain(parts.iter().copied()) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hex(&hash.finalize())
}

/// What stands for a subject in keys: who it is and who acts for it; not its purpose or chain, which may change between
/// two tries of one request.
pub(crate) fn subject_key(subject: &Subject) -> String {
    let actor = subject.actor.as_deref().unwrap_or_default();
    let has_actor: &[u8] = if subject.actor.is_some() { b"1" } else { b"0" };
    let parts: [&[u8]; 4] = [subject.issuer.as_bytes(), subject.id.as_bytes(), has_actor, actor.as_bytes()];
    keyed("sluice.subject.v1", &parts)
}

impl ApprovalRequest {
    /// What a single grant is bound to: subject, policy version, upstream and request.
    pub(crate) fn key(&self) -> String {
        let subject = subject_key(&self.subject);
        let version = self.policy_version.as_bytes();
        keyed(
            "sluice.grant.v1",
            &[subject.as_bytes(), version, self.upstream.as_bytes(), self.digest.as_bytes()],
        )
    }

    pub(crate) fn detail(&self) -> Detail {
        let cut = |list: &mut dyn Iterator<Item = Arc<str>>| list.take(LIST_MAX).collect::<Vec<_>>();
        Detail {
            subject: SubjectView::of(&self.subject),
            policies: cut(&mut self.policies.iter().cloned()),
            digest: Some(self.digest.to_string()),
            risk_score: self.risk.score,
            risk_parts: self.risk.parts.iter().take(LIST_MAX).cloned().collect(),
            labels: self.labels.iter().take(LIST_MAX).map(|(label, n)| (label.clone(), *n)).collect(),
            preview: self.preview.as_str().to_owned(),
            terms: self.terms.groups.clone(),
            scope: Scope {
                operations: vec![Arc::clone(&self.operation)],
                reveal: self.reveal.iter().take(LIST_MAX).cloned().collect(),
                fields: self.fields.as_ref().map(|fields| fields.allow.clone()).filter(|f| !f.is_empty()),
            },
            steps: cut(&mut self.steps.iter().cloned()),
            request_id: self.request_id.clone(),
            asked_because: String::new(),
        }
    }
}

/// What is stored of an approval beside the columns that are searched.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Detail {
    pub(crate) subject: SubjectView,
    pub(crate) policies: Vec<Arc<str>>,
    pub(crate) digest: Option<String>,
    pub(crate) risk_score: u32,
    pub(crate) risk_parts: Vec<(Arc<str>, u32)>,
    pub(crate) labels: BTreeMap<Arc<str>, u64>,
    pub(crate) preview: String,
    pub(crate) terms: Vec<(Arc<str>, u32)>,
    pub(crate) scope: Scope,
    pub(crate) steps: Vec<Arc<str>>,
    pub(crate) request_id: String,
    /// Why a window was asked for.
    pub(crate) asked_because: String,
}

/// What a window lets through; of a single grant, what its request would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// The operations; of a window, `*` at the end stands for any rest.
    pub operations: Vec<Arc<str>>,
    /// Entities that may leave as they are.
    pub reveal: BTreeSet<Arc<str>>,
    /// The paths of an answer that may leave; none: all of it, masked.
    pub fields: Option<Vec<String>>,
}

impl Scope {
    /// Whether a window of this scope lets a request of that scope through. More is never let through than was shown to
    /// the approvers: every entity and path that would leave is in the window's.
    #[must_use]
    pub fn covers(&self, asked: &Scope) -> bool {
        let operation = |name: &str| {
            self.operations.iter().any(|pattern| match pattern.strip_suffix('*') {
                Some(start) => name.starts_with(start),
                None => **pattern == *name,
            })
        };
        let fields = match (&self.fields, &asked.fields) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(held), Some(asked)) => asked.iter().all(|path| held.contains(path)),
        };
        asked.operations.iter().all(|name| operation(name)) && asked.reveal.is_subset(&self.reveal) && fields
    }
}

/// A subject as approvers see it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectView {
    /// The configured name of its issuer.
    pub issuer: Arc<str>,
    /// Its id there.
    pub id: Arc<str>,
    /// Its groups.
    pub groups: Vec<Arc<str>>,
    /// `human`, `service` or `agent`.
    pub kind: String,
    /// What it says that it does this for.
    pub purpose: Option<Arc<str>>,
    /// Its chain of thought.
    pub chain: Option<Arc<str>>,
    /// The step of that chain.
    pub step: Option<Arc<str>>,
    /// Who acts in its name.
    pub actor: Option<Arc<str>>,
    /// Whose agent or service it is.
    pub owner: Option<Arc<str>>,
    /// How it was proved.
    pub proof: String,
}

impl SubjectView {
    /// Of a subject.
    #[must_use]
    pub fn of(subject: &Subject) -> SubjectView {
        let proof = match &subject.proof {
            Proof::None => "nothing".to_owned(),
            Proof::Token { jti: Some(jti) } => format!("a signed token, jti {jti}"),
            Proof::Token { jti: None } => "a signed token".to_owned(),
            Proof::Introspection => "a token that its issuer vouched for".to_owned(),
            Proof::Certificate => "a client certificate".to_owned(),
            Proof::Key { id } => format!("the gateway's key {id}"),
        };
        SubjectView {
            issuer: Arc::clone(&subject.issuer),
            id: Arc::clone(&subject.id),
            groups: subject.groups.iter().take(LIST_MAX).cloned().collect(),
            kind: subject.kind.name().to_owned(),
            purpose: subject.purpose.clone(),
            chain: subject.chain.clone(),
            step: subject.step.clone(),
            actor: subject.actor.clone(),
            owner: subject.owner.clone(),
            proof,
        }
    }

    /// The subject as far as rules on people need it.
    pub(crate) fn subject(&self) -> Subject {
        let kinds = [Kind::Human, Kind::Service, Kind::Agent];
        Subject {
            issuer: Arc::clone(&self.issuer),
            id: Arc::clone(&self.id),
            kind: kinds.into_iter().find(|kind| kind.name() == self.kind).unwrap_or(Kind::Human),
            actor: self.actor.clone(),
            owner: self.owner.clone(),
            ..Subject::default()
        }
    }
}
