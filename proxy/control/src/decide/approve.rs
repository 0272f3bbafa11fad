//! Requests that people decide: asked for, held for a while, and let on once.

use std::sync::Arc;
use std::time::Duration;

use sluice_data::desk::{Answer, Asked, HeldBody, Question, Refusal, RefusalKind};
use sluice_policy::{ApprovalTerms, BodyFacts, Subject, Verdict};

use super::Pool;
use crate::approvals::{
    ApprovalError, ApprovalRequest, Approvals, Asked as Outcome, CanonicalParts, MaskedPreview, State,
    canonical_digest,
};

/// How much later than here a shard gives up: the answer comes from here.
const LATER: Duration = Duration::from_secs(2);

/// What becomes of a request that people decide.
pub(super) enum Approved {
    /// It goes on, this once, by this approval.
    Goes(Arc<str>),
    Answer(Answer),
    /// Nobody waits for it any more.
    Gone,
}

/// A request, as it is put to people.
pub(super) struct Case<'a> {
    pub(super) pool: &'a Pool,
    pub(super) question: &'a Question,
    pub(super) subject: &'a Arc<Subject>,
    pub(super) verdict: &'a Verdict,
    pub(super) terms: &'a ApprovalTerms,
    pub(super) body: Option<&'a BodyFacts>,
}

impl Case<'_> {
    /// Asks for its approval; held while people decide, for as long as its client may wait. `before_waiting` is called once
    /// it waits for people.
    pub(super) async fn ask(&self, approvals: &Arc<Approvals>, before_waiting: impl FnOnce()) -> Approved {
        let request = match self.request() {
            Ok(request) => request,
            Err(refusal) => return Approved::Answer(Answer::Refused(refusal)),
        };
        let (id, retry_after_s) = match approvals.ask(request.clone()).await {
            Ok(Outcome::Consumed { id, .. }) => return Approved::Goes(id.as_str().into()),
            Ok(Outcome::Denied { id, reason }) => return Approved::Answer(denied(id.as_str(), &reason)),
            Ok(Outcome::Pending { id, retry_after_s }) => (id, retry_after_s),
            Err(error) => return Approved::Answer(refused(&error)),
        };
        let pending = Approved::Answer(self.pending(approvals, id.as_str(), retry_after_s));
        let reads_events = self.reads_events();
        let settings = approvals.settings();
        let hold_ms = if reads_events { settings.pending_ms } else { settings.hold_ms_max };
        let at_most = Duration::from_millis(u64::try_from(hold_ms).unwrap_or(0));
        if at_most.is_zero() {
            return pending;
        }
        let waiting = Answer::Waiting { id: id.as_str().into(), at_most: at_most + LATER, reads_events };
        if !self.question.mailbox.put(waiting) {
            return Approved::Gone;
        }
        let Ok(mut watch) = approvals.watch(&id).await else { return pending };
        before_waiting();
        tokio::select! {
            () = self.question.mailbox.gone() => {
                // Where the store does not answer, it ends by itself in time.
                let _ = approvals.cancel(watch).await;
                return Approved::Gone;
            }
            () = tokio::time::sleep(at_most) => return pending,
            state = watch.decided() => match state {
                // Only to ask again uses it up, or tells who said no.
                Ok(State::Approved | State::Denied) => {}
                Ok(_) | Err(_) => return pending,
            },
        }
        // People take their time: who asks may be nobody by now, and the policies others.
        if let Err(refusal) = self.pool.still_holds(self.question, self.subject, self.verdict).await {
            return Approved::Answer(Answer::Refused(refusal));
        }
        match approvals.ask(request).await {
            Ok(Outcome::Consumed { id, .. }) => Approved::Goes(id.as_str().into()),
            Ok(Outcome::Denied { id, reason }) => Approved::Answer(denied(id.as_str(), &reason)),
            Ok(Outcome::Pending { .. }) => pending,
            Err(error) => Approved::Answer(refused(&error)),
        }
    }

    fn request(&self) -> Result<ApprovalRequest, Refusal> {
        let Question { asked, body, .. } = self.question;
        let (path, query) = match asked.target.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (asked.target.as_str(), None),
        };
        let fields: Vec<(&str, &[u8])> =
            asked.head.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        let plain = body.as_ref().map_or(&[][..], |body| &body.plain);
        let parts = CanonicalParts { method: &asked.method, path, query, fields: &fields, body: plain };
        let digest = canonical_digest(&parts).map_err(|e| Refusal {
            kind: RefusalKind::BadRequest,
            detail: format!("people have to approve this request, and it can be read in two ways: {e}"),
            retry_after_s: 0,
        })?;
        let verdict = self.verdict;
        Ok(ApprovalRequest {
            subject: Arc::clone(self.subject),
            upstream: asked.upstream.as_str().into(),
            policy_version: Arc::clone(&verdict.version),
            policies: verdict.policies.clone(),
            digest,
            operation: verdict.operations.first().cloned().unwrap_or_else(|| "unknown".into()),
            risk: verdict.risk.clone(),
            labels: self.body.map(|body| body.labels.clone()).unwrap_or_default(),
            preview: preview(asked, body.as_ref()),
            terms: self.terms.clone(),
            reveal: verdict.reveal.clone(),
            fields: verdict.fields.clone(),
            steps: Vec::new(),
            request_id: asked.id.to_string(),
        })
    }

    /// Its answer is events, so that it can be told that it waits.
    fn reads_events(&self) -> bool {
        let accepts = |(name, value): &(String, Vec<u8>)| {
            name == "accept" && value.windows(17).any(|w| w.eq_ignore_ascii_case(b"text/event-stream"))
        };
        self.body.is_some_and(|body| body.stream) || self.question.asked.head.iter().any(accepts)
    }

    fn pending(&self, approvals: &Approvals, id: &str, retry_after_s: u32) -> Answer {
        let page = approvals.settings().page_url.as_deref();
        let place = page.map(|page| format!(", see {page}#{id}")).unwrap_or_default();
        let detail = format!(
            "{}: approval {id} is pending{place}; send the same request again once it is approved",
            super::told(self.verdict)
        );
        Answer::Refused(Refusal { kind: RefusalKind::ApprovalPending, detail, retry_after_s })
    }
}

/// What approvers see: masked, as it would go on.
fn preview(asked: &Asked, body: Option<&HeldBody>) -> MaskedPreview {
    let text = body.map(|body| String::from_utf8_lossy(&body.masked)).unwrap_or_default();
    MaskedPreview::new(&format!("{} {}\n\n{text}", asked.method, asked.path))
}

fn denied(id: &str, reason: &str) -> Answer {
    let detail = format!("approval {id} was denied: {reason}");
    Answer::Refused(Refusal { kind: RefusalKind::ApprovalDenied, detail, retry_after_s: 0 })
}

fn refused(error: &ApprovalError) -> Answer {
    let kind = match error {
        ApprovalError::Uncanonical(_) | ApprovalError::Invalid(_) => RefusalKind::BadRequest,
        ApprovalError::Anonymous | ApprovalError::Terms | ApprovalError::Forbidden(_) => RefusalKind::Denied,
        ApprovalError::TooManyOfSubject => RefusalKind::RateLimited,
        ApprovalError::Unavailable(_)
        | ApprovalError::Overloaded
        | ApprovalError::NotFound
        | ApprovalError::Unrecorded
        | ApprovalError::Random => RefusalKind::Overloaded,
    };
    let detail = format!("people have to approve this request, and can't be asked: {error}");
    Answer::Refused(Refusal { kind, detail, retry_after_s: 0 })
}
