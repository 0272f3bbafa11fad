//! Deciding: candidates, those that match, and what they make together.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::policy::{Effect, Policy};
use super::selectors::{Dimension, Hold};
use super::{PolicySet, fields};
use crate::condition::{Failure, Values};
use crate::operation::Acts;
use crate::{Action, ApprovalTerms, Decision, FACT_LIMITS, Facts, FieldList, ResponseLimits, Risk, Verdict};

/// How a policy stands to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    Matches,
    /// This selector does not hold.
    Selector(Dimension),
    /// Its condition is false.
    Condition,
    /// Its condition came to nothing.
    Failed(Failure),
    /// That depends on a body that nobody has read yet.
    NeedsBody,
}

/// What one policy leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Nothing,
    Does(Effect),
    Pending,
}

impl Policy {
    pub(crate) fn standing(&self, values: &Values<'_>) -> Standing {
        let (facts, acts) = (values.facts, values.acts);
        let pending = match self.selectors.hold(self.effect, facts, acts) {
            Hold::Yes => false,
            Hold::No(dimension) => return Standing::Selector(dimension),
            Hold::NeedsBody(_) => true,
        };
        let Some(condition) = &self.condition else {
            return if pending { Standing::NeedsBody } else { Standing::Matches };
        };
        if condition.reads_body && facts.body.is_none() {
            return Standing::NeedsBody;
        }
        match condition.holds(values) {
            Ok(false) => Standing::Condition,
            Ok(true) | Err(_) if pending => Standing::NeedsBody,
            Ok(true) => Standing::Matches,
            Err(failure) => Standing::Failed(failure),
        }
    }

    fn outcome(&self, standing: Standing) -> Outcome {
        match (standing, self.effect) {
            (Standing::Matches, effect) => Outcome::Does(effect),
            (Standing::Failed(_), Effect::Block | Effect::Approve) => Outcome::Does(Effect::Block),
            (Standing::Failed(_), Effect::Allow) => Outcome::Nothing,
            (Standing::Selector(_) | Standing::Condition, _) => Outcome::Nothing,
            (Standing::NeedsBody, _) => Outcome::Pending,
        }
    }
}

/// What the policies of one request come to.
#[derive(Debug, Default)]
struct Found<'s> {
    blocks: Vec<&'s Policy>,
    approves: Vec<&'s Policy>,
    allows: Vec<&'s Policy>,
    shadow: Vec<(Arc<str>, &'static str)>,
    /// Policies that could let it go on, once its body is read.
    may_let: bool,
    is_pending: bool,
}

impl PolicySet {
    /// Decides a request.
    #[must_use]
    pub fn decide(&self, facts: &Facts) -> Decision {
        if let Err(what) = facts.within(&FACT_LIMITS) {
            let reason = format!("the request has more {what} than policies look at");
            return self.decided(Verdict { reason, ..Verdict::default() });
        }
        let acts = Acts::of(facts);
        let values = Values { facts, acts: &acts, risk: 0 };
        let mut found = Found::default();
        for number in self.index.candidates(facts, &acts).iter() {
            if let Some(policy) = self.policies.get(number) {
                found.add(policy, policy.outcome(policy.standing(&values)));
            }
        }
        let is_settled = !found.blocks.is_empty();
        let may_go_on = found.may_let || !found.approves.is_empty() || !found.allows.is_empty();
        if found.is_pending && !is_settled && may_go_on {
            return Decision::NeedsBody;
        }
        let operations = acts.exact().collect();
        self.decided(Verdict { operations, risk: Risk::default(), ..found.verdict() })
    }

    fn decided(&self, verdict: Verdict) -> Decision {
        Decision::Decided(Arc::new(Verdict { version: Arc::clone(&self.version), ..verdict }))
    }
}

impl<'s> Found<'s> {
    fn add(&mut self, policy: &'s Policy, outcome: Outcome) {
        match outcome {
            Outcome::Nothing => {}
            Outcome::Pending => {
                self.is_pending = true;
                self.may_let |= !policy.is_shadow && policy.effect != Effect::Block;
            }
            Outcome::Does(effect) if policy.is_shadow => {
                self.shadow.push((Arc::clone(&policy.id), effect.name()));
            }
            Outcome::Does(Effect::Block) => self.blocks.push(policy),
            Outcome::Does(Effect::Approve) => self.approves.push(policy),
            Outcome::Does(Effect::Allow) => self.allows.push(policy),
        }
    }

    fn verdict(self) -> Verdict {
        let ids = |policies: &[&Policy]| policies.iter().map(|policy| Arc::clone(&policy.id)).collect();
        let shadow = self.shadow;
        if !self.blocks.is_empty() {
            let reason = reason(&self.blocks, "a policy blocks this request");
            return Verdict { policies: ids(&self.blocks), reason, shadow, ..Verdict::default() };
        }
        let mut let_on = self.approves.clone();
        let_on.extend(&self.allows);
        // Both lists are in the order of the files; so is their union.
        let_on.sort_by_key(|policy| policy.number);
        if let_on.is_empty() {
            let reason = "no policy allows this request".to_owned();
            return Verdict { reason, shadow, ..Verdict::default() };
        }
        let policies = ids(&let_on);
        let Ok(fields) = combined_fields(&let_on) else {
            let reason = "policies that allow this request allow no field together".to_owned();
            return Verdict { policies, reason, shadow, ..Verdict::default() };
        };
        let (action, reason) = if self.approves.is_empty() {
            (Action::Allow, String::new())
        } else {
            let reason = reason(&self.approves, "a policy asks for approval of this request");
            (Action::Approve(terms(&self.approves)), reason)
        };
        let reveal: BTreeSet<Arc<str>> =
            let_on.iter().flat_map(|policy| policy.reveal.iter().cloned()).collect();
        let limits =
            let_on.iter().fold(ResponseLimits::default(), |least, policy| least.least(policy.limits));
        Verdict { action, policies, reason, reveal, fields, limits, shadow, ..Verdict::default() }
    }
}

/// What the caller is told: the reasons of the policies, or this.
fn reason(policies: &[&Policy], otherwise: &str) -> String {
    let mut reasons: Vec<&str> = policies.iter().filter_map(|policy| policy.reason.as_deref()).collect();
    reasons.dedup();
    if reasons.is_empty() { otherwise.to_owned() } else { reasons.join("; ") }
}

fn combined_fields(policies: &[&Policy]) -> Result<Option<Arc<FieldList>>, fields::Nothing> {
    let mut lists = policies.iter().filter_map(|policy| policy.fields.as_ref());
    let Some(first) = lists.next() else { return Ok(None) };
    lists.try_fold(first.clone(), fields::both).map(|list| Some(Arc::new(list)))
}

/// Of each group as many people as any policy asks for.
fn terms(policies: &[&Policy]) -> ApprovalTerms {
    let mut groups: Vec<(Arc<str>, u32)> = Vec::new();
    for (group, min) in policies.iter().flat_map(|policy| &policy.approvers.groups) {
        match groups.iter_mut().find(|(other, _)| other == group) {
            Some((_, most)) => *most = (*most).max(*min),
            None => groups.push((Arc::clone(group), *min)),
        }
    }
    groups.sort_unstable();
    ApprovalTerms { groups }
}
