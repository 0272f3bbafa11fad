//! Who calls: what was proved of a caller, whatever proved it.

use std::sync::Arc;

/// What a caller is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A person.
    Human,
    /// A program that acts for itself.
    #[default]
    Service,
    /// A program that a model steers.
    Agent,
}

impl Kind {
    /// As policies and records spell it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Human => "human",
            Kind::Service => "service",
            Kind::Agent => "agent",
        }
    }
}

/// What proved who calls.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub enum Proof {
    /// Nothing: callers who prove nothing are allowed here.
    #[default]
    None,
    /// A signed token (RFC 7519), with its `jti` where it has one.
    Token {
        /// The token's id.
        jti: Option<Arc<str>>,
    },
    /// An opaque token that its issuer vouched for (RFC 7662).
    Introspection,
    /// A client certificate.
    Certificate,
    /// A key that the gateway issued.
    Key {
        /// Its public id.
        id: Arc<str>,
    },
}

/// A caller who was proved, or nobody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Subject {
    /// The configured name of the issuer who vouches for it; empty where nobody does.
    pub issuer: Arc<str>,
    /// Its id at that issuer; empty for anonymous callers.
    pub id: Arc<str>,
    /// Its groups, sorted, each once.
    pub groups: Vec<Arc<str>>,
    /// What it says that it does this for.
    pub purpose: Option<Arc<str>>,
    /// What it is.
    pub kind: Kind,
    /// The chain of thought it works on.
    pub chain: Option<Arc<str>>,
    /// The step of that chain.
    pub step: Option<Arc<str>>,
    /// Who acts in the subject's name (RFC 8693, `act`).
    pub actor: Option<Arc<str>>,
    /// Whose agent or service it is: never the one who may approve what it asks.
    pub owner: Option<Arc<str>>,
    /// What its credential is limited to: `upstream:NAME`, `route:NAME`, `method:NAME`; empty: nothing. Policies can only
    /// narrow it further ([`Subject::is_within`]).
    pub scopes: Vec<Arc<str>>,
    /// What proved it.
    pub proof: Proof,
}

impl Subject {
    /// True where nobody proved who calls.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.proof == Proof::None
    }

    /// Whether its credential is for such a request: of each kind of scope that it has, one must be the request's.
    #[must_use]
    pub fn is_within(&self, upstream: &str, route: &str, method: &str) -> bool {
        [("upstream:", upstream), ("route:", route), ("method:", method)].into_iter().all(|(kind, name)| {
            let mut names = self.scopes.iter().filter_map(|scope| scope.strip_prefix(kind)).peekable();
            names.peek().is_none() || names.any(|allowed| allowed == name)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_narrow_by_kind() {
        let of = |scopes: &[&str]| Subject {
            scopes: scopes.iter().map(|scope| Arc::from(*scope)).collect(),
            ..Subject::default()
        };
        for (scopes, wanted) in [
            (&[][..], true),
            (&["upstream:a"], true),
            (&["upstream:b"], false),
            (&["upstream:b", "upstream:a"], true),
            (&["upstream:a", "method:GET"], true),
            (&["upstream:a", "method:POST"], false),
            (&["route:r", "method:GET", "upstream:a"], true),
            (&["route:"], false),
        ] {
            assert_eq!(of(scopes).is_within("a", "r", "GET"), wanted, "{scopes:?}");
        }
    }
}
