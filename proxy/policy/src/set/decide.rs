//! Deciding: candidates, those that match, and what they make together.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::policy::{Effect, Policy};
use super::selectors::{Dimension, Hold};
use super::{PolicySet, fields};
use crate::condition::{Failure, Values};
use crate::operation::Acts;
use crate::risk;
use crate::state::chain::Place;
use crate::state::quota::Room;
use crate::state::{Firsts, Memory, Usage};
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

/// What went before, and the time.
type Before<'m> = Option<(&'m Memory, u64)>;

/// Something that decides: a policy, a chain, a quota, the score.
#[derive(Clone, Debug)]
struct Ground<'s> {
    /// Policies by their place, what else there is behind them.
    order: usize,
    id: Arc<str>,
    reason: Option<&'s str>,
    approvers: Option<&'s ApprovalTerms>,
    policy: Option<&'s Policy>,
}

impl<'s> Ground<'s> {
    fn of_policy(policy: &'s Policy) -> Ground<'s> {
        Ground {
            order: policy.number,
            id: Arc::clone(&policy.id),
            reason: policy.reason.as_deref(),
            approvers: Some(&policy.approvers),
            policy: Some(policy),
        }
    }

    fn other(id: Arc<str>, reason: &'s str, approvers: Option<&'s ApprovalTerms>) -> Ground<'s> {
        Ground { order: usize::MAX, id, reason: Some(reason), approvers, policy: None }
    }
}

/// What the policies of one request come to.
#[derive(Debug, Default)]
struct Found<'s> {
    blocks: Vec<Ground<'s>>,
    approves: Vec<Ground<'s>>,
    allows: Vec<Ground<'s>>,
    shadow: Vec<(Arc<str>, &'static str)>,
    /// Policies that could let it go on, once its body is read.
    may_let: bool,
    is_pending: bool,
    is_once: bool,
}

impl PolicySet {
    /// Decides a request by itself. What depends on what went before counts against it: a member of a chain is outside,
    /// a quota is used up, every use is a first one.
    #[must_use]
    pub fn decide(&self, facts: &Facts) -> Decision {
        self.judge(facts, &Acts::of(facts), None)
    }

    /// Decides a request by what went before, and notes it where it goes on at once. `now_ms` is of a clock that does
    /// not go back.
    #[must_use]
    pub fn decide_with(&self, facts: &Facts, memory: &mut Memory, now_ms: u64) -> Decision {
        let now_ms = memory.at(now_ms);
        let acts = Acts::of(facts);
        let decision = self.judge(facts, &acts, Some((memory, now_ms)));
        if let Decision::Decided(verdict) = &decision
            && verdict.action == Action::Allow
        {
            self.note_acts(facts, &acts, memory, now_ms);
        }
        decision
    }

    /// Notes a request that goes on because people approved it.
    pub fn note(&self, facts: &Facts, memory: &mut Memory, now_ms: u64) {
        let now_ms = memory.at(now_ms);
        self.note_acts(facts, &Acts::of(facts), memory, now_ms);
    }

    /// Counts what an exchange used beyond its request, when that is known: tokens, and bytes of the answer.
    pub fn charge(&self, facts: &Facts, usage: Usage, memory: &mut Memory, now_ms: u64) {
        let now_ms = memory.at(now_ms);
        let acts = Acts::of(facts);
        for quota in self.stateful.quotas.iter().filter(|quota| quota.counts(facts, &acts) == Hold::Yes) {
            memory.quotas.charge(quota, facts, usage, now_ms);
        }
    }

    fn note_acts(&self, facts: &Facts, acts: &Acts, memory: &mut Memory, now_ms: u64) {
        for chain in &self.stateful.chains {
            if let Place::Inside(state) = chain.place(facts, acts, Some((&memory.chains, now_ms))) {
                memory.chains.note(chain, facts, state, now_ms);
            }
        }
        let bytes = facts.body.as_ref().map_or(0, |body| body.bytes);
        let usage = Usage { requests: 1, tokens: 0, bytes };
        for quota in self.stateful.quotas.iter().filter(|quota| quota.counts(facts, acts) == Hold::Yes) {
            memory.quotas.charge(quota, facts, usage, now_ms);
        }
        if self.stateful.risk.as_ref().is_some_and(risk::Weights::is_stateful) {
            memory.seen.note(facts, now_ms);
        }
    }

    fn judge(&self, facts: &Facts, acts: &Acts, before: Before<'_>) -> Decision {
        if let Err(what) = facts.within(&FACT_LIMITS) {
            let reason = format!("the request has more {what} than policies look at");
            return self.decided(Verdict { reason, ..Verdict::default() });
        }
        if !facts.subject.is_within(&facts.upstream, &facts.route, &facts.method) {
            let reason = "the caller's credential is not for such requests".to_owned();
            return self.decided(Verdict { reason, ..Verdict::default() });
        }
        let risk = self.score(facts, acts, before);
        let values = Values { facts, acts, risk: risk.score };
        let mut found = Found::default();
        for number in self.index.candidates(facts, acts).iter() {
            if let Some(policy) = self.policies.get(number) {
                found.add(policy, policy.outcome(policy.standing(&values)));
            }
        }
        let may_go_on = found.may_let || !found.approves.is_empty() || !found.allows.is_empty();
        // What would be refused anyhow uses nothing up and learns nothing of what went before.
        if found.blocks.is_empty() && may_go_on {
            self.add_stateful(facts, acts, before, &risk, &mut found);
        }
        if found.is_pending && found.blocks.is_empty() && may_go_on {
            return Decision::NeedsBody;
        }
        let operations = acts.exact().collect();
        let is_once = found.is_once || self.reads_history();
        self.decided(Verdict { operations, risk, is_once, ..found.verdict() })
    }

    /// A condition reads a score that depends on what went before.
    fn reads_history(&self) -> bool {
        self.has_risk_condition && self.stateful.risk.as_ref().is_some_and(risk::Weights::is_stateful)
    }

    pub(super) fn score(&self, facts: &Facts, acts: &Acts, before: Before<'_>) -> Risk {
        let Some(weights) = &self.stateful.risk else { return Risk::default() };
        let firsts = match before {
            Some((memory, now_ms)) => memory.seen.firsts(facts, now_ms),
            None => Firsts::unknown(facts),
        };
        weights.score(facts, acts, firsts)
    }

    /// Adds what chains, quotas and the score come to.
    fn add_stateful<'s>(
        &'s self,
        facts: &Facts,
        acts: &Acts,
        before: Before<'_>,
        risk: &Risk,
        found: &mut Found<'s>,
    ) {
        for chain in &self.stateful.chains {
            let place = chain.place(facts, acts, before.map(|(memory, now_ms)| (&memory.chains, now_ms)));
            found.is_once |= place != Place::None;
            match place {
                Place::None | Place::Inside(_) => {}
                Place::NeedsBody => found.is_pending = true,
                Place::Outside(reason) => {
                    let ground = Ground::other(Arc::clone(&chain.id), reason, Some(&chain.approvers));
                    match chain.outside {
                        Effect::Approve => found.approves.push(ground),
                        Effect::Block | Effect::Allow => found.blocks.push(ground),
                    }
                }
            }
        }
        for quota in &self.stateful.quotas {
            let room = quota.room(facts, acts, before.map(|(memory, now_ms)| (&memory.quotas, now_ms)));
            found.is_once |= room != Room::None;
            match room {
                Room::None | Room::Within => {}
                Room::NeedsBody => found.is_pending = true,
                Room::Over(reason) => found.blocks.push(Ground::other(Arc::clone(&quota.id), reason, None)),
            }
        }
        let Some(weights) = &self.stateful.risk else { return };
        found.is_once |= weights.is_stateful();
        let reaches = |from: Option<u32>| from.is_some_and(|from| risk.score >= from);
        let has_threshold = weights.approve_from.is_some() || weights.block_from.is_some();
        found.is_pending |= facts.body.is_none() && has_threshold && weights.reads_body();
        if reaches(weights.block_from) {
            found.blocks.push(Ground::other(risk::ID.into(), "its score of risk is too high", None));
        } else if reaches(weights.approve_from) {
            let reason = "its score of risk asks for approval";
            found.approves.push(Ground::other(risk::ID.into(), reason, Some(&weights.approvers)));
        }
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
            Outcome::Does(Effect::Block) => self.blocks.push(Ground::of_policy(policy)),
            Outcome::Does(Effect::Approve) => self.approves.push(Ground::of_policy(policy)),
            Outcome::Does(Effect::Allow) => self.allows.push(Ground::of_policy(policy)),
        }
    }

    fn verdict(self) -> Verdict {
        let ids = |grounds: &[Ground<'_>]| grounds.iter().map(|ground| Arc::clone(&ground.id)).collect();
        let shadow = self.shadow;
        if !self.blocks.is_empty() {
            let reason = reason(&self.blocks, "a policy blocks this request");
            return Verdict { policies: ids(&self.blocks), reason, shadow, ..Verdict::default() };
        }
        let mut let_on = self.approves.clone();
        let_on.extend(self.allows);
        let_on.sort_by_key(|ground| ground.order);
        if let_on.is_empty() {
            let reason = "no policy allows this request".to_owned();
            return Verdict { reason, shadow, ..Verdict::default() };
        }
        let policies: Vec<Arc<str>> = ids(&let_on);
        let own = || let_on.iter().filter_map(|ground| ground.policy);
        let Ok(fields) = combined_fields(own().filter_map(|policy| policy.fields.as_ref())) else {
            let reason = "policies that allow this request allow no field together".to_owned();
            return Verdict { policies, reason, shadow, ..Verdict::default() };
        };
        let (action, reason) = if self.approves.is_empty() {
            (Action::Allow, String::new())
        } else {
            let reason = reason(&self.approves, "a policy asks for approval of this request");
            (Action::Approve(terms(&self.approves)), reason)
        };
        let reveal: BTreeSet<Arc<str>> = own().flat_map(|policy| policy.reveal.iter().cloned()).collect();
        let limits = own().fold(ResponseLimits::default(), |least, policy| least.least(policy.limits));
        Verdict { action, policies, reason, reveal, fields, limits, shadow, ..Verdict::default() }
    }
}

/// What the caller is told: the reasons of what decided, or this.
fn reason(grounds: &[Ground<'_>], otherwise: &str) -> String {
    let mut reasons: Vec<&str> = grounds.iter().filter_map(|ground| ground.reason).collect();
    reasons.dedup();
    if reasons.is_empty() { otherwise.to_owned() } else { reasons.join("; ") }
}

fn combined_fields<'s>(
    mut lists: impl Iterator<Item = &'s FieldList>,
) -> Result<Option<Arc<FieldList>>, fields::Nothing> {
    let Some(first) = lists.next() else { return Ok(None) };
    lists.try_fold(first.clone(), fields::both).map(|list| Some(Arc::new(list)))
}

/// Of each group as many people as anything asks for.
fn terms(grounds: &[Ground<'_>]) -> ApprovalTerms {
    let mut groups: Vec<(Arc<str>, u32)> = Vec::new();
    for (group, min) in grounds.iter().filter_map(|ground| ground.approvers).flat_map(|terms| &terms.groups) {
        match groups.iter_mut().find(|(other, _)| other == group) {
            Some((_, most)) => *most = (*most).max(*min),
            None => groups.push((Arc::clone(group), *min)),
        }
    }
    groups.sort_unstable();
    ApprovalTerms { groups }
}
