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
    /// What proved it.
    pub proof: Proof,
}

impl Subject {
    /// True where nobody proved who calls.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.proof == Proof::None
    }
}
