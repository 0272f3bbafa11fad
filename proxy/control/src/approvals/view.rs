//! What people see of approvals: who asks and how that was proved, what it would do and why it needs them, and the
//! request as it was masked. Never more: a plaintext value is in no column of the store.

use std::sync::Arc;

use serde_json::{Value, json};
use sluice_policy::Subject;

use super::approval::Approval;
use super::error::ApprovalError;
use super::people::{Account, People};
use super::request::ApprovalId;
use super::service::Approvals;
use super::store::{Filter, Review, delegations, events, list, rows};
use super::transition::Transition;

/// All of an approval that is shown.
#[derive(Debug)]
struct Whole {
    approval: Approval,
    transitions: Vec<Transition>,
    review: Option<Review>,
    chain: Vec<(String, String, String, i64)>,
    lent: Vec<Arc<str>>,
}

impl Approvals {
    /// A page of approvals, newest first.
    pub(super) async fn list(&self, filter: Filter) -> Result<Value, ApprovalError> {
        let now_ms = self.clock.now_ms();
        let (approvals, after) =
            self.store.read(move |c| Box::pin(async move { list::page(c, &filter, now_ms).await })).await?;
        Ok(json!({ "approvals": approvals, "after": after, "pending": self.pending(), "now_ms": now_ms }))
    }

    /// An approval as one sees it who may.
    pub(super) async fn show(&self, id: &ApprovalId, viewer: &Subject) -> Result<Value, ApprovalError> {
        let whole = self.whole(id, &Account::of(viewer)).await?;
        if !self.may_see(&whole, viewer) {
            // Whether it exists is nobody else's business.
            return Err(ApprovalError::NotFound);
        }
        Ok(self.shown(&whole))
    }

    /// An approval as it is told to the channel that asks its people.
    pub(super) async fn show_to_channel(&self, id: &ApprovalId) -> Result<Value, ApprovalError> {
        let nobody = Account { issuer: "".into(), id: "".into() };
        Ok(self.shown(&self.whole(id, &nobody).await?))
    }

    async fn whole(&self, id: &ApprovalId, viewer: &Account) -> Result<Whole, ApprovalError> {
        let (id, viewer, now_ms) = (id.clone(), viewer.clone(), self.clock.now_ms());
        self.store
            .read(move |c| {
                Box::pin(async move {
                    let approval = rows::find(c, &id).await?;
                    let transitions = events::of(c, &id).await?;
                    let review = rows::review(c, &id).await?;
                    let chain = approval.detail.subject.chain.clone().unwrap_or_default();
                    let chain = list::of_chain(c, &chain).await?;
                    let lent = delegations::to(c, &viewer, now_ms).await?;
                    let lent = lent.into_iter().flat_map(|(_, groups)| groups).collect();
                    Ok(Whole { approval, transitions, review, chain, lent })
                })
            })
            .await
    }

    /// Who asked, who could decide, and who looks after the broken glass.
    fn may_see(&self, whole: &Whole, viewer: &Subject) -> bool {
        let account = Account::of(viewer);
        if viewer.is_anonymous() {
            return false;
        }
        let own = self.people().groups(&account, &viewer.groups);
        let is_in = |group: &Arc<str>| own.contains(group) || whole.lent.contains(group);
        let glass = self.settings.break_glass.iter().flat_map(|b| b.groups.iter().chain(&b.review_groups));
        account == whole.approval.account()
            || whole.approval.detail.terms.iter().any(|(group, _)| is_in(group))
            || glass.into_iter().any(|group| own.contains(group))
    }

    fn shown(&self, whole: &Whole) -> Value {
        let (approval, now_ms) = (&whole.approval, self.clock.now_ms());
        let detail = &approval.detail;
        let state = list::seen(approval.state, approval.expires_ms, now_ms);
        let risk: Vec<Value> =
            detail.risk_parts.iter().map(|(name, n)| json!({ "name": name, "score": n })).collect();
        let chain: Vec<Value> = whole
            .chain
            .iter()
            .filter(|(id, ..)| id != approval.id.as_str())
            .map(|(id, state, operation, created_ms)| {
                json!({ "id": id, "state": state, "operation": operation, "created_ms": created_ms })
            })
            .collect();
        json!({
            "id": approval.id,
            "kind": approval.kind,
            "state": state,
            "subject": detail.subject,
            "steps": detail.steps,
            "chain_approvals": chain,
            "upstream": approval.upstream,
            "operation": approval.operation,
            "policy_version": approval.policy_version,
            "policies": detail.policies,
            "risk": { "score": detail.risk_score, "parts": risk },
            "labels": detail.labels,
            "scope": detail.scope,
            "digest": detail.digest,
            "request": detail.preview,
            "request_id": detail.request_id,
            "asked_because": detail.asked_because,
            "created_ms": approval.created_ms,
            "expires_ms": approval.expires_ms,
            "ended_ms": approval.ended_ms,
            "grant_ms": approval.grant_ms,
            "glass_broken": approval.is_glass_broken,
            "reason": approval.reason,
            "waits_for": waits_for(approval, &self.people()),
            "votes": votes(approval, &self.people()),
            "review": whole.review,
            "transitions": whole.transitions,
            "now_ms": now_ms,
        })
    }
}

/// What the quorum still lacks.
fn waits_for(approval: &Approval, people: &People) -> Vec<Value> {
    let votes: Vec<_> = approval.votes.iter().map(|vote| vote.current(people)).collect();
    let missing = approval.missing(&votes);
    let groups = approval.detail.terms.iter().zip(missing);
    groups.map(|((group, min), missing)| json!({ "group": group, "min": min, "missing": missing })).collect()
}

fn votes(approval: &Approval, people: &People) -> Vec<Value> {
    let votes = approval.votes.iter().map(|vote| {
        json!({
            "who": vote.account.to_string(),
            "on_behalf_of": vote.on_behalf_of.as_ref().map(ToString::to_string),
            "counts_for": vote.current(people).groups,
            "reason": vote.reason,
            "at_ms": vote.at_ms,
        })
    });
    votes.collect()
}
