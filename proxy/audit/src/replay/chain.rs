//! The steps of one chain of thought, and which of them led to a privileged action.
//!
//! An action is privileged where it needed an approval, or was refused. What led to it is the last step before it whose
//! answer asked for a tool: agents act on what a model told them. Where none did, it is the step just before.

use super::llm;
use crate::record::{Direction, Record, VerdictName};

/// A step of a chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct ChainStep {
    /// The session.
    pub session: String,
    /// What the caller named the step.
    pub step: Option<String>,
    /// Its time, in nanoseconds since 1970.
    pub wall_ns: u64,
    /// Method and target.
    pub request: String,
    /// Its last verdict.
    pub verdict: Option<VerdictName>,
    /// The approval that it needed.
    pub approval: Option<String>,
    /// The tools that its answer asked for.
    pub tools: Vec<String>,
    /// It needed an approval, or was refused.
    pub is_privileged: bool,
    /// Where it is privileged: the session that led to it.
    pub led_by: Option<String>,
}

/// The steps of sessions, each given by its records, in the order of their beginnings.
#[must_use]
pub fn chain(sessions: &[Vec<Record>]) -> Vec<ChainStep> {
    let mut steps: Vec<ChainStep> = sessions.iter().filter_map(|records| step(records)).collect();
    steps.sort_by_key(|step| step.wall_ns);
    let led: Vec<Option<String>> = (0..steps.len())
        .map(|at| {
            let before = steps.get(..at).unwrap_or_default();
            let asked = before.iter().rev().find(|step| !step.tools.is_empty()).or(before.last());
            asked.map(|step| step.session.clone())
        })
        .collect();
    for (step, led_by) in steps.iter_mut().zip(led) {
        step.led_by = led_by.filter(|_| step.is_privileged);
    }
    steps
}

fn step(records: &[Record]) -> Option<ChainStep> {
    let first = records.first()?;
    let head = records.iter().find_map(|record| record.head.as_ref());
    let verdict = records.iter().rev().find_map(|record| record.verdict);
    let approval = records.iter().rev().find_map(|record| record.approval.clone());
    let is_privileged =
        approval.is_some() || matches!(verdict, Some(VerdictName::Approve | VerdictName::Block));
    Some(ChainStep {
        session: first.session.to_string(),
        step: records.iter().find_map(|record| record.step.clone()),
        wall_ns: first.wall_ns,
        request: head.map(|head| format!("{} {}", head.method, head.target)).unwrap_or_default(),
        verdict,
        approval,
        tools: llm::tools(&super::body(records, Direction::Response)),
        is_privileged,
        led_by: None,
    })
}
