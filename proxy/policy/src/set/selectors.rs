//! Structured selectors: what of a request a policy names.

use super::policy::Effect;
use crate::Facts;
use crate::operation::{Acts, Cover, Selector as Operations};
use crate::pattern::Pattern;

/// What a selector looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Dimension {
    Issuer,
    Subject,
    Groups,
    Purpose,
    Kind,
    Chain,
    Step,
    Actor,
    Upstream,
    Route,
    Method,
    Path,
    Model,
    Tool,
    Operation,
}

/// All of them, in the order in which they are told.
pub(crate) const DIMENSIONS: [Dimension; 15] = [
    Dimension::Issuer,
    Dimension::Subject,
    Dimension::Groups,
    Dimension::Purpose,
    Dimension::Kind,
    Dimension::Chain,
    Dimension::Step,
    Dimension::Actor,
    Dimension::Upstream,
    Dimension::Route,
    Dimension::Method,
    Dimension::Path,
    Dimension::Model,
    Dimension::Tool,
    Dimension::Operation,
];

impl Dimension {
    /// Its key in a file.
    pub(crate) fn key(self) -> &'static str {
        match self {
            Dimension::Issuer => "issuer",
            Dimension::Subject => "subject",
            Dimension::Groups => "groups",
            Dimension::Purpose => "purpose",
            Dimension::Kind => "kind",
            Dimension::Chain => "chain",
            Dimension::Step => "step",
            Dimension::Actor => "actor",
            Dimension::Upstream => "upstream",
            Dimension::Route => "route",
            Dimension::Method => "method",
            Dimension::Path => "path",
            Dimension::Model => "model",
            Dimension::Tool => "tool",
            Dimension::Operation => "operation",
        }
    }

    /// Only a body says it.
    pub(crate) fn is_of_body(self) -> bool {
        match self {
            Dimension::Model | Dimension::Tool | Dimension::Operation => true,
            Dimension::Issuer
            | Dimension::Subject
            | Dimension::Groups
            | Dimension::Purpose
            | Dimension::Kind
            | Dimension::Chain
            | Dimension::Step
            | Dimension::Actor
            | Dimension::Upstream
            | Dimension::Route
            | Dimension::Method
            | Dimension::Path => false,
        }
    }

    /// The values that a request has for it. Empty ones are not there, and match nothing.
    pub(crate) fn values<'a>(self, facts: &'a Facts, acts: &'a Acts) -> Vec<&'a str> {
        let subject = &*facts.subject;
        let one = |value: &'a str| if value.is_empty() { Vec::new() } else { vec![value] };
        let optional = |value: &'a Option<std::sync::Arc<str>>| one(value.as_deref().unwrap_or_default());
        match self {
            Dimension::Issuer => one(&subject.issuer),
            Dimension::Subject => one(&subject.id),
            Dimension::Groups => {
                subject.groups.iter().map(|group| &**group).filter(|g| !g.is_empty()).collect()
            }
            Dimension::Purpose => optional(&subject.purpose),
            // Nobody proved what an anonymous caller is.
            Dimension::Kind if subject.is_anonymous() => Vec::new(),
            Dimension::Kind => vec![subject.kind.name()],
            Dimension::Chain => optional(&subject.chain),
            Dimension::Step => optional(&subject.step),
            Dimension::Actor => optional(&subject.actor),
            Dimension::Upstream => one(&facts.upstream),
            Dimension::Route => one(&facts.route),
            Dimension::Method => one(&facts.method),
            Dimension::Path => one(&facts.path),
            Dimension::Model => one(facts.body.as_ref().and_then(|b| b.model.as_deref()).unwrap_or_default()),
            Dimension::Tool => {
                let tools = facts.body.iter().flat_map(|b| b.tools_offered.iter().chain(&b.tools_called));
                tools.map(String::as_str).collect()
            }
            Dimension::Operation => acts.names().collect(),
        }
    }
}

/// The selectors of a policy; those that it lacks hold for everything.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selectors {
    /// Values of each that it has, but for operations.
    pub(crate) lists: Vec<(Dimension, Vec<Pattern>)>,
    pub(crate) operations: Operations,
}

/// Whether selectors hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    Yes,
    /// This one does not.
    No(Dimension),
    /// The head's do, and this one depends on a body that nobody has read yet.
    NeedsBody(Dimension),
}

impl Selectors {
    pub(crate) fn is_empty(&self) -> bool {
        self.lists.is_empty() && self.operations.is_empty()
    }

    /// Whether all of them hold.
    pub(crate) fn hold(&self, effect: Effect, facts: &Facts, acts: &Acts) -> Hold {
        let mut pending = None;
        for (dimension, patterns) in &self.lists {
            match list_holds(*dimension, patterns, effect, facts, acts) {
                Cover::Yes => {}
                Cover::No => return Hold::No(*dimension),
                Cover::NeedsBody => pending = pending.or(Some(*dimension)),
            }
        }
        let operations = match effect {
            _ if self.operations.is_empty() => Cover::Yes,
            Effect::Allow => self.operations.covers(acts),
            Effect::Approve | Effect::Block => self.operations.touches(acts),
        };
        match operations {
            Cover::Yes => pending.map_or(Hold::Yes, Hold::NeedsBody),
            Cover::No => Hold::No(Dimension::Operation),
            Cover::NeedsBody => Hold::NeedsBody(pending.unwrap_or(Dimension::Operation)),
        }
    }
}

fn list_holds(
    dimension: Dimension,
    patterns: &[Pattern],
    effect: Effect,
    facts: &Facts,
    acts: &Acts,
) -> Cover {
    if dimension.is_of_body() && facts.body.is_none() {
        return Cover::NeedsBody;
    }
    let values = dimension.values(facts, acts);
    let listed = |value: &&str| patterns.iter().any(|pattern| pattern.matches(value));
    let holds = match (dimension, effect) {
        // What is allowed are requests that offer and call no other tools.
        (Dimension::Tool, Effect::Allow) => values.iter().all(listed),
        (Dimension::Path, Effect::Approve | Effect::Block) => {
            values.iter().any(listed) || patterns.iter().any(|pattern| pattern.matches(&plain(&facts.path)))
        }
        _ => values.iter().any(listed),
    };
    if holds { Cover::Yes } else { Cover::No }
}

/// A path without empty segments, as many servers read it: what is blocked at `/a/b` is blocked at `//a/b/` too.
pub(crate) fn plain(path: &str) -> String {
    let mut plain = String::with_capacity(path.len());
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        plain.push('/');
        plain.push_str(segment);
    }
    if plain.is_empty() { "/".to_owned() } else { plain }
}
