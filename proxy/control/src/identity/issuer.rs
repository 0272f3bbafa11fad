//! What is configured of an issuer.

use std::sync::Arc;
use std::time::Duration;

use super::algorithm::Algorithm;
use super::checks::Rules;
use super::fetch::Fetching;
use super::mapping::{Mapping, Part};
use super::ring::{Freshness, KeysFrom};
use crate::credential::Source as Credential;

/// Who vouches for callers, and how their subject is told.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// Its name in policies and records.
    pub name: Arc<str>,
    /// What it vouches with.
    pub means: Means,
    /// How subjects are made of what it says.
    pub mapping: Mapping,
    /// Fields of a request that its callers may tell chain, step and purpose in; none: they may not.
    pub context: Vec<(Part, Arc<str>)>,
}

/// What an issuer vouches with.
#[derive(Clone, Debug)]
pub enum Means {
    /// Signed tokens (RFC 7519).
    Tokens(Tokens),
    /// Opaque tokens, of which it is asked (RFC 7662).
    Introspection(Introspection),
    /// Client certificates.
    Certificates(Certificates),
}

/// An issuer of signed tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// `iss` of its tokens, byte for byte.
    pub issuer: String,
    /// Where its keys are.
    pub keys: KeysFrom,
    /// Algorithms that its tokens may have.
    pub algorithms: Vec<Algorithm>,
    /// What its tokens must claim.
    pub rules: Rules,
    /// How long its keys are used.
    pub freshness: Freshness,
    /// How it is asked.
    pub fetching: Fetching,
    /// What it is asked with, where it wants a token for it.
    pub token: Option<Credential>,
}

/// An issuer of opaque tokens.
#[derive(Clone, Debug)]
pub struct Introspection {
    /// Where it is asked.
    pub address: String,
    /// What its tokens begin with; empty: all that nobody else's begin with.
    pub prefix: String,
    /// `iss` of its answers, where they have one.
    pub issuer: Option<String>,
    /// The name that the gateway has there.
    pub client: String,
    /// The gateway's secret there.
    pub secret: Credential,
    /// What it must answer. Without an audience it need not tell one.
    pub rules: Rules,
    /// For how long an answer is taken for true.
    pub cached: Duration,
    /// How it is asked.
    pub fetching: Fetching,
}

/// An issuer of client certificates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificates {
    /// Names of the authorities (RFC 4514) whose certificates it is; empty: all that no other issuer names.
    pub authorities: Vec<String>,
}
