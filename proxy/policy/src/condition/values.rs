//! What the names of a condition stand for in a request, read where it lies.

use std::collections::{BTreeMap, HashMap};

use cel::common::types::{CelBool, CelInt, CelList, CelMap, CelMapKey};
use cel::common::value::{CowVal, Val};
use cel::context::VariableResolver;

use super::text;
use crate::operation::Acts;
use crate::{BodyFacts, Facts};

/// Prefix of names that stand for whether a value is there: `has(request.model)`.
pub(super) const PRESENT: &str = "@has:";
/// Prefix of names that stand for a label's count, 0 where it was not found.
pub(super) const COUNT: &str = "@count:";
/// Prefix of labels that tell an entity.
const ENTITY: &str = "entity:";

/// The facts of a request, as conditions see them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    pub(crate) facts: &'a Facts,
    pub(crate) acts: &'a Acts,
    pub(crate) risk: u32,
}

impl VariableResolver for Values<'_> {
    fn resolve<'b>(&'b self, variable: &str) -> Option<CowVal<'b, 'b>> {
        if let Some(name) = variable.strip_prefix(PRESENT) {
            return Some(CowVal::owned(CelBool::from(self.has(name))));
        }
        if let Some(label) = variable.strip_prefix(COUNT) {
            let count = self.facts.body.as_ref()?.labels.get(label).copied().unwrap_or(0);
            return Some(int(count));
        }
        match variable.split_once('.')? {
            ("subject", field) => self.subject(field),
            ("request", field) => self.head(field).or_else(|| self.body(self.facts.body.as_ref()?, field)),
            _ => None,
        }
    }
}

impl Values<'_> {
    fn subject<'b>(&'b self, field: &str) -> Option<CowVal<'b, 'b>> {
        let subject = &*self.facts.subject;
        let value = match field {
            "issuer" => &*subject.issuer,
            "id" => &*subject.id,
            "groups" => return Some(list(subject.groups.iter().map(|group| &**group))),
            "anonymous" => return Some(CowVal::owned(CelBool::from(subject.is_anonymous()))),
            "kind" => subject.kind.name(),
            "purpose" => subject.purpose.as_deref().unwrap_or_default(),
            "chain" => subject.chain.as_deref().unwrap_or_default(),
            "step" => subject.step.as_deref().unwrap_or_default(),
            "actor" => subject.actor.as_deref().unwrap_or_default(),
            "owner" => subject.owner.as_deref().unwrap_or_default(),
            _ => return None,
        };
        Some(CowVal::owned(text(value)))
    }

    fn head<'b>(&'b self, field: &str) -> Option<CowVal<'b, 'b>> {
        let facts = self.facts;
        let value = match field {
            "upstream" => &*facts.upstream,
            "route" => &*facts.route,
            "method" => &facts.method,
            "path" => &facts.path,
            "media_type" => &facts.media_type,
            "headers" => return Some(map(facts.headers.iter().map(|(k, v)| (&**k, boxed(text(v)))))),
            "query" => return Some(query(&facts.query)),
            _ => return None,
        };
        Some(CowVal::owned(text(value)))
    }

    fn body<'b>(&'b self, body: &'b BodyFacts, field: &str) -> Option<CowVal<'b, 'b>> {
        let offered = || body.tools_offered.iter().map(String::as_str);
        let called = || body.tools_called.iter().map(String::as_str);
        let value = match field {
            "model" => CowVal::owned(text(body.model.as_deref().unwrap_or_default())),
            "operations" => list(self.acts.names()),
            "tools" => list(offered().chain(called())),
            "tools_offered" => list(offered()),
            "tools_called" => list(called()),
            // Not there: what is asked of it comes to nothing, so that no limit is taken for a small one.
            "max_tokens" => int(body.max_tokens?),
            "stream" => CowVal::owned(CelBool::from(body.stream)),
            "labels" => map(body.labels.iter().map(|(label, count)| (&**label, boxed(number(*count))))),
            "counts" => map(body.labels.iter().filter_map(|(label, count)| {
                label.strip_prefix(ENTITY).map(|entity| (entity, boxed(number(*count))))
            })),
            "bytes" => int(body.bytes),
            "risk" => int(u64::from(self.risk)),
            _ => return None,
        };
        Some(value)
    }

    /// Whether a value is there, and not empty.
    fn has(&self, name: &str) -> bool {
        match (name, &self.facts.body) {
            ("request.max_tokens", Some(body)) => body.max_tokens.is_some(),
            ("request.max_tokens", None) => false,
            _ => self.resolve(name).is_some_and(|value| {
                let value = value.as_ref();
                value.as_zeroer().is_none_or(|zeroer| !zeroer.is_zero_value())
            }),
        }
    }
}

/// The label whose count an index of `request.labels` or `request.counts` asks for.
pub(super) fn label_of(variable: &str, key: &str) -> Option<String> {
    match variable {
        "request.labels" => Some(format!("{COUNT}{key}")),
        "request.counts" => Some(format!("{COUNT}{ENTITY}{key}")),
        _ => None,
    }
}

/// A count; what is beyond the numbers of conditions counts as the greatest.
fn number(count: u64) -> CelInt {
    CelInt::from(i64::try_from(count).unwrap_or(i64::MAX))
}

fn int<'b>(count: u64) -> CowVal<'b, 'b> {
    CowVal::owned(number(count))
}

fn boxed<'b, T: Val + 'b>(value: T) -> Box<dyn Val + 'b> {
    Box::new(value)
}

fn list<'b>(texts: impl Iterator<Item = &'b str>) -> CowVal<'b, 'b> {
    let all: Vec<Box<dyn Val + 'b>> = texts.map(|value| boxed(text(value))).collect();
    CowVal::owned(CelList::from(all))
}

fn map<'b>(entries: impl Iterator<Item = (&'b str, Box<dyn Val + 'b>)>) -> CowVal<'b, 'b> {
    let all: HashMap<CelMapKey<'b>, Box<dyn Val + 'b>> =
        entries.map(|(key, value)| (CelMapKey::String(text(key)), value)).collect();
    CowVal::owned(CelMap::from(all))
}

/// Every value of each parameter: of two with one name, who knows which one the upstream takes.
fn query(query: &[(String, String)]) -> CowVal<'_, '_> {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in query {
        values.entry(name).or_default().push(value);
    }
    map(values.into_iter().map(|(name, values)| (name, list(values.into_iter()).into_owned())))
}
