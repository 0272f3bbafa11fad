//! A score of what could go wrong with a request, and what it asks for.
//!
//! It is a sum that can be told part by part. Each label that the scan found gives its weight once, whatever its count;
//! each act gives the greatest weight of its names; the volume gives the weight of the greatest size that it is over;
//! a subject's first use of an upstream, or of a tool, gives its own.

use std::sync::Arc;

use crate::operation::Acts;
use crate::pattern::Pattern;
use crate::state::Firsts;
use crate::{ApprovalTerms, Facts, Risk};

/// The id under which the threshold stands among the policies of a verdict.
pub(crate) const ID: &str = "risk";

/// Weights, and thresholds.
#[derive(Debug)]
pub(crate) struct Weights {
    pub(crate) labels: Vec<(Pattern, u32)>,
    pub(crate) operations: Vec<(Pattern, u32)>,
    /// Sizes in ascending order.
    pub(crate) volumes: Vec<(u64, u32)>,
    pub(crate) first_upstream: u32,
    pub(crate) first_tool: u32,
    /// From this score on, approval is asked for.
    pub(crate) approve_from: Option<u32>,
    /// From this score on, it is blocked.
    pub(crate) block_from: Option<u32>,
    pub(crate) approvers: ApprovalTerms,
}

impl Weights {
    /// Some part depends on a body.
    pub(crate) fn reads_body(&self) -> bool {
        !self.labels.is_empty()
            || !self.volumes.is_empty()
            || self.first_tool > 0
            || self.operations.iter().any(|(pattern, _)| {
                let text = pattern.as_str();
                text.starts_with("tool:") || text.starts_with("sql.") || text == "*"
            })
    }

    /// Some part depends on what went before.
    pub(crate) fn is_stateful(&self) -> bool {
        self.first_upstream > 0 || self.first_tool > 0
    }

    /// The score. What of it depends on a body that was not read is left out.
    pub(crate) fn score(&self, facts: &Facts, acts: &Acts, firsts: Firsts) -> Risk {
        let mut parts: Vec<(Arc<str>, u32)> = Vec::new();
        let weight_of = |weights: &[(Pattern, u32)], names: &mut dyn Iterator<Item = &str>| {
            let of = |name: &str| {
                let matching = weights.iter().filter(|(pattern, _)| pattern.matches(name));
                matching.map(|(_, weight)| *weight).max()
            };
            names.filter_map(of).max().unwrap_or(0)
        };
        for label in facts.body.iter().flat_map(|body| body.labels.keys()) {
            let weight = weight_of(&self.labels, &mut std::iter::once(&**label));
            parts.push((format!("label {label}").into(), weight));
        }
        for act in acts.each() {
            let weight = weight_of(&self.operations, &mut act.iter().map(|name| &**name));
            let exact = act.first().map_or("", |name| &**name);
            parts.push((format!("operation {exact}").into(), weight));
        }
        let bytes = facts.body.as_ref().map_or(0, |body| body.bytes);
        if let Some((over, weight)) = self.volumes.iter().rev().find(|(over, _)| bytes > *over) {
            parts.push((format!("volume over {over} bytes").into(), *weight));
        }
        for (is_first, name, weight) in [
            (firsts.upstream, "first use of an upstream", self.first_upstream),
            (firsts.tool, "first use of a tool", self.first_tool),
        ] {
            parts.push((name.into(), if is_first { weight } else { 0 }));
        }
        parts.retain(|(_, weight)| *weight > 0);
        Risk { score: parts.iter().fold(0, |sum: u32, (_, weight)| sum.saturating_add(*weight)), parts }
    }
}
