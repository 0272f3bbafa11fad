//! Reading `[risk]`, `[[chain]]` and `[[quota]]`.

use std::sync::Arc;

use toml::de::DeTable;

use super::policy::Effect;
use super::read::{File, Read, Value, pattern};
use super::selectors::{DIMENSIONS, Dimension};
use crate::ApprovalTerms;
use crate::pattern::Pattern;
use crate::risk::{self, Weights};
use crate::state::chain::{CAPABILITIES_MAX, Chain, STEPS_MAX, Step};
use crate::state::quota::{Per, Quota};

/// Chains, and quotas, of a set: a request is held against all of them.
const STATEFUL_MAX: usize = 256;
/// The greatest weight and threshold.
const WEIGHT_MAX: i64 = 1_000_000;
/// Minutes that a chain may last: a week.
const MINUTES_MAX: i64 = 7 * 24 * 60;
/// Minutes that a chain lasts where nothing is said.
const MINUTES: i64 = 60;
/// Seconds of a window: 31 days.
const SECONDS_MAX: i64 = 31 * 86_400;

const OUTSIDE: &[(&str, Effect)] = &[("block", Effect::Block), ("approve", Effect::Approve)];
const ORDERS: &[(&str, bool)] = &[("any", false), ("steps", true)];
const PERS: &[(&str, Per)] = &[("subject", Per::Subject), ("group", Per::Group), ("all", Per::All)];

fn dimensions(of: impl Fn(Dimension) -> bool) -> Vec<Dimension> {
    DIMENSIONS.into_iter().filter(|dimension| of(*dimension)).collect()
}

/// Keys of a table: its selectors and others.
fn keys(selectors: &[Dimension], others: &[&'static str]) -> Vec<&'static str> {
    others.iter().copied().chain(selectors.iter().map(|dimension| dimension.key())).collect()
}

impl Read {
    pub(super) fn risk(&mut self, file: &mut File<'_>, value: &Value<'_>) {
        let Some(table) = file.reader.table(value) else { return };
        if self.risk.is_some() {
            file.reader.fault(&value.span(), "there is one [risk] in all files");
        }
        let known = [
            "labels",
            "operations",
            "volumes",
            "first_upstream",
            "first_tool",
            "approve_from",
            "block_from",
            "approvers",
        ];
        file.reader.known_keys(table, &known);
        let mut number = |key: &str| {
            let read = table.get(key).and_then(|v| file.reader.integer(v, 1..WEIGHT_MAX + 1));
            read.and_then(|n| u32::try_from(n).ok())
        };
        let (first_upstream, first_tool) = (number("first_upstream"), number("first_tool"));
        let (approve_from, block_from) = (number("approve_from"), number("block_from"));
        let weights = Weights {
            labels: file.weights(table, "labels", |text| pattern(Dimension::Model, text)),
            operations: file.weights(table, "operations", |text| pattern(Dimension::Operation, text)),
            volumes: file.volumes(table),
            first_upstream: first_upstream.unwrap_or(0),
            first_tool: first_tool.unwrap_or(0),
            approve_from,
            block_from,
            approvers: file.approvers(table),
        };
        match (approve_from, weights.approvers.groups.is_empty()) {
            (Some(_), true) => {
                file.reader.fault(&value.span(), "`approve_from` needs `approvers = [{ group = \"…\" }]`");
            }
            (None, false) => file.reader.fault(&value.span(), "`approvers` is for `approve_from`"),
            (Some(_), false) | (None, true) => {}
        }
        self.risk = Some(weights);
    }

    pub(super) fn chain(&mut self, file: &mut File<'_>, value: &Value<'_>, table: &DeTable<'_>) {
        let members = dimensions(|dimension| {
            matches!(
                dimension,
                Dimension::Issuer
                    | Dimension::Subject
                    | Dimension::Groups
                    | Dimension::Purpose
                    | Dimension::Kind
                    | Dimension::Actor
            )
        });
        let others =
            ["id", "description", "order", "outside", "approvers", "minutes_max", "never_together", "steps"];
        file.reader.known_keys(table, &keys(&members, &others));
        let id = self.id(file, value, table, "chain");
        let selectors = file.selectors(table, &members);
        if selectors.is_empty() {
            let reason = "a chain needs `purpose`, or another selector that says whose requests belong to it";
            file.reader.fault(&value.span(), reason);
        }
        let (approvers, outside) = outside(file, value, table);
        let minutes =
            table.get("minutes_max").map_or(Some(MINUTES), |v| file.reader.integer(v, 1..MINUTES_MAX + 1));
        let mut capabilities = Vec::new();
        let steps = steps(file, value, table, &mut capabilities);
        let never_together = never_together(file, table, &capabilities);
        let is_ordered = table.get("order").and_then(|v| file.reader.word(v, ORDERS)).unwrap_or(false);
        let (Some(id), Some(outside), Some(minutes)) = (id, outside, minutes) else { return };
        self.chains.push(Chain {
            id,
            members: selectors,
            steps,
            is_ordered,
            outside,
            approvers,
            lasts_ms: minutes.unsigned_abs().saturating_mul(60_000),
            never_together,
        });
        if self.chains.len() > STATEFUL_MAX {
            file.reader.fault(&value.span(), format!("there are at most {STATEFUL_MAX} chains"));
        }
    }

    pub(super) fn quota(&mut self, file: &mut File<'_>, value: &Value<'_>, table: &DeTable<'_>) {
        let all = dimensions(|_| true);
        let others = ["id", "description", "per", "window_seconds", "requests", "tokens", "bytes"];
        file.reader.known_keys(table, &keys(&all, &others));
        let id = self.id(file, value, table, "quota");
        let selectors = file.selectors(table, &all);
        let per = table.get("per").map_or(Some(Per::Subject), |v| file.reader.word(v, PERS));
        if per == Some(Per::Group) && !table.contains_key("groups") {
            file.reader.fault(&value.span(), "`per = \"group\"` needs `groups`: those that are counted");
        }
        let window = match table.get("window_seconds") {
            Some(v) => file.reader.integer(v, 1..SECONDS_MAX + 1),
            None => {
                file.reader.fault(&value.span(), "a quota needs `window_seconds`");
                None
            }
        };
        let mut most = |key: &str| {
            table.get(key).and_then(|v| file.reader.integer(v, 0..i64::MAX)).map(i64::unsigned_abs)
        };
        let (requests_max, tokens_max, bytes_max) = (most("requests"), most("tokens"), most("bytes"));
        if ["requests", "tokens", "bytes"].iter().all(|key| !table.contains_key(*key)) {
            file.reader.fault(&value.span(), "a quota needs `requests`, `tokens` or `bytes`");
        }
        let (Some(id), Some(per), Some(window)) = (id, per, window) else { return };
        let window_ms = window.unsigned_abs().saturating_mul(1_000);
        self.quotas.push(Quota { id, selectors, per, window_ms, requests_max, tokens_max, bytes_max });
        if self.quotas.len() > STATEFUL_MAX {
            file.reader.fault(&value.span(), format!("there are at most {STATEFUL_MAX} quotas"));
        }
    }
}

/// What happens outside of a chain; asking needs people.
fn outside(file: &mut File<'_>, value: &Value<'_>, table: &DeTable<'_>) -> (ApprovalTerms, Option<Effect>) {
    let approvers = file.approvers(table);
    let outside = table.get("outside").map_or(Some(Effect::Block), |v| file.reader.word(v, OUTSIDE));
    match (outside, approvers.groups.is_empty()) {
        (Some(Effect::Approve), true) => {
            file.reader
                .fault(&value.span(), "`outside = \"approve\"` needs `approvers = [{ group = \"…\" }]`");
        }
        (Some(Effect::Block), false) => {
            file.reader.fault(&value.span(), "`approvers` is for `outside = \"approve\"`")
        }
        _ => {}
    }
    (approvers, outside)
}

fn steps(file: &mut File<'_>, value: &Value<'_>, table: &DeTable<'_>, names: &mut Vec<String>) -> Vec<Step> {
    let of_step = dimensions(|dimension| {
        matches!(
            dimension,
            Dimension::Upstream
                | Dimension::Route
                | Dimension::Method
                | Dimension::Path
                | Dimension::Model
                | Dimension::Tool
                | Dimension::Operation
        )
    });
    let known = keys(&of_step, &["id", "gives"]);
    let Some(all) = table.get("steps") else {
        file.reader.fault(&value.span(), "a chain needs [[chain.steps]]: what it may do");
        return Vec::new();
    };
    let mut steps: Vec<Step> = Vec::new();
    for (number, item) in file.reader.array(all).unwrap_or_default().iter().enumerate() {
        if number == STEPS_MAX {
            file.reader.fault(&item.span(), format!("a chain has at most {STEPS_MAX} steps"));
            break;
        }
        let Some(inner) = file.reader.table(item) else { continue };
        file.reader.known_keys(inner, &known);
        let selectors = file.selectors(inner, &of_step);
        if selectors.is_empty() {
            file.reader.fault(&item.span(), "a step needs a selector: what may be done in it");
        }
        let id = file.text_of(inner, "id", 64).filter(|id| !id.is_empty());
        match id {
            Some(id) if steps.iter().any(|step| *step.id == *id) => {
                file.reader.fault(&item.span(), format!("there is another step `{id}`"));
            }
            Some(id) => {
                let gives = capabilities(file, inner, "gives", names);
                steps.push(Step { id: id.into(), selectors, gives });
            }
            None => file.reader.fault(&item.span(), "each step needs `id`"),
        }
    }
    steps
}

/// Capabilities as bits; those that are new get one.
fn capabilities(file: &mut File<'_>, table: &DeTable<'_>, key: &str, names: &mut Vec<String>) -> u64 {
    let mut bits = 0;
    for (name, span) in file.texts(table, key) {
        let at = names.iter().position(|other| *other == name).unwrap_or_else(|| {
            names.push(name);
            names.len() - 1
        });
        match at < CAPABILITIES_MAX {
            true => bits |= 1 << at,
            false => file.reader.fault(&span, format!("a chain has at most {CAPABILITIES_MAX} capabilities")),
        }
    }
    bits
}

/// Lists of capabilities: one, or several.
fn never_together(file: &mut File<'_>, table: &DeTable<'_>, names: &[String]) -> Vec<u64> {
    let Some(value) = table.get("never_together") else { return Vec::new() };
    let items = file.reader.array(value).unwrap_or_default();
    let is_one = items.iter().all(|item| item.get_ref().is_str());
    let lists: Vec<&Value<'_>> = if is_one { vec![value] } else { items.iter().collect() };
    let mut sets = Vec::new();
    for list in lists {
        let mut bits = 0u64;
        for item in file.reader.array(list).unwrap_or_default() {
            let Some(name) = file.reader.string(item) else { continue };
            match names.iter().position(|other| *other == name) {
                Some(at) => bits |= 1u64.checked_shl(at as u32).unwrap_or(0),
                None => {
                    let reason = format!("no step gives `{name}`; there are: {}", names.join(", "));
                    file.reader.fault(&item.span(), reason);
                }
            }
        }
        if bits.count_ones() < 2 {
            file.reader.fault(&list.span(), "`never_together` names two capabilities or more");
        }
        sets.push(bits);
    }
    sets
}

impl File<'_> {
    /// `{ "entity:us_ssn" = 5 }`.
    fn weights(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        read: impl Fn(&str) -> Result<Pattern, String>,
    ) -> Vec<(Pattern, u32)> {
        let Some(inner) = table.get(key).and_then(|value| self.reader.table(value)) else {
            return Vec::new();
        };
        let mut weights = Vec::new();
        for (name, value) in inner {
            let weight = self.reader.integer(value, 1..WEIGHT_MAX + 1).and_then(|n| u32::try_from(n).ok());
            match read(name.get_ref()) {
                Ok(pattern) => weights.extend(weight.map(|weight| (pattern, weight))),
                Err(reason) => self.reader.fault(&name.span(), format!("`{key}`: {reason}")),
            }
        }
        weights
    }

    /// `[{ over = 1000000, weight = 10 }]`, in ascending order.
    fn volumes(&mut self, table: &DeTable<'_>) -> Vec<(u64, u32)> {
        let Some(value) = table.get("volumes") else { return Vec::new() };
        let mut volumes = Vec::new();
        for item in self.reader.array(value).unwrap_or_default() {
            let Some(inner) = self.reader.table(item) else { continue };
            self.reader.known_keys(inner, &["over", "weight"]);
            let over = inner.get("over").and_then(|v| self.reader.integer(v, 0..i64::MAX));
            let weight = inner.get("weight").and_then(|v| self.reader.integer(v, 1..WEIGHT_MAX + 1));
            match (over, weight.and_then(|weight| u32::try_from(weight).ok())) {
                (Some(over), Some(weight)) => volumes.push((over.unsigned_abs(), weight)),
                _ => self.reader.fault(&item.span(), "a volume needs `over` (bytes) and `weight`"),
            }
        }
        volumes.sort_unstable();
        volumes
    }
}

/// The id that no policy may take.
pub(super) fn is_taken(id: &str) -> bool {
    id == risk::ID
}

/// Everything that is read beside policies.
#[derive(Debug, Default)]
pub(crate) struct Stateful {
    pub(crate) chains: Vec<Chain>,
    pub(crate) quotas: Vec<Quota>,
    pub(crate) risk: Option<Weights>,
}

impl Stateful {
    /// Ids of chains and quotas.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.chains.iter().map(|chain| &chain.id).chain(self.quotas.iter().map(|quota| &quota.id))
    }

    /// Some verdict may depend on what went before.
    pub(crate) fn is_any(&self) -> bool {
        let risk = self.risk.as_ref().is_some_and(Weights::is_stateful);
        risk || !self.chains.is_empty() || !self.quotas.is_empty()
    }
}
