//! Chains of thought: what each step of one may do, and what all its steps together may not.
//!
//! ```text
//!            a request of step n (or one that matches it)
//!   start ──────────────────────────────────────────────► at n ──┐
//!                                                          ▲      │ the same step, or the next one
//!                                                          └──────┘ (any step, where there is no order)
//! ```
//!
//! A chain holds the capabilities of all the steps that it has been through. A request that would make it hold all of a
//! set that is never together is outside, and so is one of no step, of a step out of order, without a chain's id, or for
//! whose chain there is no room.

use std::sync::Arc;

use super::table::Table;
use crate::operation::Acts;
use crate::set::Effect;
use crate::set::selectors::{Hold, Selectors};
use crate::{ApprovalTerms, Facts};

/// Steps of a chain.
pub(crate) const STEPS_MAX: usize = 256;
/// Capabilities of a chain, each a bit.
pub(crate) const CAPABILITIES_MAX: usize = 64;

/// What a chain may do.
#[derive(Debug)]
pub(crate) struct Chain {
    pub(crate) id: Arc<str>,
    /// Whose requests belong to such chains.
    pub(crate) members: Selectors,
    pub(crate) steps: Vec<Step>,
    pub(crate) is_ordered: bool,
    /// What happens to a request outside: blocked, or asked about.
    pub(crate) outside: Effect,
    pub(crate) approvers: ApprovalTerms,
    pub(crate) lasts_ms: u64,
    /// Sets of capabilities that no chain holds all of.
    pub(crate) never_together: Vec<u64>,
}

/// A step.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) id: Arc<str>,
    pub(crate) selectors: Selectors,
    /// Capabilities that it gives, as bits.
    pub(crate) gives: u64,
}

/// Where a chain stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct State {
    /// The step that it is at; none: before the first.
    at: Option<usize>,
    holds: u64,
}

/// How a request stands to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// It belongs to no such chain.
    None,
    /// It is a step of it, after which the chain stands so.
    Inside(State),
    /// It is not, and this says why.
    Outside(&'static str),
    /// That depends on its body.
    NeedsBody,
}

type Key = [String; 4];

/// Chains that run.
#[derive(Debug)]
pub(crate) struct Chains {
    table: Table<Key, State>,
}

impl Chains {
    pub(super) fn new(chains_max: usize) -> Chains {
        Chains { table: Table::new(chains_max) }
    }

    /// Notes where a chain stands now; false where there is no room.
    pub(crate) fn note(&mut self, chain: &Chain, facts: &Facts, state: State, now_ms: u64) -> bool {
        let Some(key) = key(chain, facts) else { return false };
        self.table.set(key, state, now_ms.saturating_add(chain.lasts_ms), now_ms)
    }

    fn state(&self, key: &Key, now_ms: u64) -> Option<State> {
        match self.table.get(key, now_ms) {
            Some(state) => Some(*state),
            None => self.table.has_room(key, now_ms).then(State::default),
        }
    }
}

/// A chain's id counts for one subject only: nobody goes on with another's.
fn key(chain: &Chain, facts: &Facts) -> Option<Key> {
    let subject = &*facts.subject;
    let id = subject.chain.as_deref().filter(|id| !id.is_empty())?;
    Some([chain.id.to_string(), subject.issuer.to_string(), subject.id.to_string(), id.to_owned()])
}

impl Chain {
    /// How a request stands to it. Without memory every member is outside.
    pub(crate) fn place(&self, facts: &Facts, acts: &Acts, memory: Option<(&Chains, u64)>) -> Place {
        match self.members.hold(Effect::Block, facts, acts) {
            Hold::Yes => {}
            Hold::No(_) => return Place::None,
            Hold::NeedsBody(_) => return Place::NeedsBody,
        }
        let Some(key) = key(self, facts) else { return Place::Outside("the request names no chain") };
        let Some((chains, now_ms)) = memory else { return Place::Outside("nothing of chains is remembered") };
        let Some(state) = chains.state(&key, now_ms) else {
            return Place::Outside("there is no room for another chain");
        };
        self.step(state, facts, acts)
    }

    /// The first step that it may be at and that the request is one of.
    fn step(&self, state: State, facts: &Facts, acts: &Acts) -> Place {
        let named = facts.subject.step.as_deref();
        let mut needs_body = false;
        let mut reason = "the request is no step of its chain";
        for (number, step) in self.steps.iter().enumerate() {
            if named.is_some_and(|named| named != &*step.id) {
                continue;
            }
            match step.selectors.hold(Effect::Allow, facts, acts) {
                Hold::No(_) => continue,
                Hold::NeedsBody(_) => {
                    needs_body = true;
                    continue;
                }
                Hold::Yes => {}
            }
            let is_next = state.at.map_or(number == 0, |at| number == at || number == at + 1);
            if self.is_ordered && !is_next {
                reason = "the request is a step of its chain out of order";
                continue;
            }
            let holds = state.holds | step.gives;
            if self.never_together.iter().any(|set| holds & set == *set) {
                reason = "its chain may not do this together with what it has done";
                continue;
            }
            return Place::Inside(State { at: Some(number), holds });
        }
        if needs_body { Place::NeedsBody } else { Place::Outside(reason) }
    }
}
