//! A policy, read.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::selectors::Selectors;
use crate::condition::Condition;
use crate::{ApprovalTerms, FieldList, ResponseLimits};

/// What a policy does where it matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Allow,
    Approve,
    Block,
}

impl Effect {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Effect::Allow => "allow",
            Effect::Approve => "approve",
            Effect::Block => "block",
        }
    }
}

/// A policy.
#[derive(Debug)]
pub(crate) struct Policy {
    /// Its place among all policies.
    pub(crate) number: usize,
    pub(crate) id: Arc<str>,
    pub(crate) effect: Effect,
    /// It is evaluated and told, and changes nothing.
    pub(crate) is_shadow: bool,
    /// What the caller is told where it refuses.
    pub(crate) reason: Option<String>,
    pub(crate) selectors: Selectors,
    pub(crate) condition: Option<Condition>,
    pub(crate) reveal: BTreeSet<Arc<str>>,
    pub(crate) fields: Option<FieldList>,
    pub(crate) limits: ResponseLimits,
    pub(crate) approvers: ApprovalTerms,
    /// Its file, and the line of its `[[policy]]`.
    pub(crate) place: (Arc<str>, usize),
}
