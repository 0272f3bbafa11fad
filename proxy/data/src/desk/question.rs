//! What a shard asks: a request as far as it is known, and who says to have sent it.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use sluice_audit::RequestId;
use sluice_engine::Ruleset;
use zeroize::Zeroizing;

use super::{Answer, Mailbox};
use crate::tls::PeerIdentity;

/// Bytes that nobody may see: overwritten when dropped, never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Secret {
        Secret(Zeroizing::new(bytes.into()))
    }

    /// The bytes themselves.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A field by which a caller says who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// Its lower-case name: one of [`CREDENTIAL_FIELDS`](super::CREDENTIAL_FIELDS).
    pub field: &'static str,
    /// Its value, as it came.
    pub value: Secret,
}

/// A request, as it is asked about.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Its id in answers, errors and the record.
    pub id: RequestId,
    /// The name of its route.
    pub route: String,
    /// The name of its upstream.
    pub upstream: String,
    /// The rules by which its route masks.
    pub ruleset: Arc<Ruleset>,
    /// Its method.
    pub method: String,
    /// Path and query as they came, and go on.
    pub target: String,
    /// The path in normal form (RFC 3986, section 6.2.2).
    pub path: String,
    /// The fields that were asked for ([`super::Desk::set_fields`]) and are there, by lower-case name, in their order.
    pub fields: Vec<(String, String)>,
    /// Its media type.
    pub content_type: Option<String>,
    /// It has a body.
    pub has_body: bool,
    /// What proves who sent it, all of it.
    pub credentials: Vec<Credential>,
    /// The client's certificate, verified.
    pub certificate: Option<Arc<PeerIdentity>>,
    /// Where it came from; none over a Unix socket.
    pub peer: Option<IpAddr>,
}

/// The body of a request that is held while it is decided.
#[derive(Clone)]
pub struct HeldBody {
    /// All of it, without content codings.
    pub plain: Vec<u8>,
    /// The same, masked by the rules of its route.
    pub masked: Vec<u8>,
    /// Labels and how often each was found: `entity:us_ssn`, `word:password`.
    pub labels: BTreeMap<String, u64>,
}

impl fmt::Debug for HeldBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HeldBody({} bytes, {:?})", self.plain.len(), self.labels)
    }
}

/// A question, and where its answers go.
#[derive(Debug)]
pub struct Question {
    /// What is asked.
    pub asked: Asked,
    /// The body, once it was asked for ([`Answer::ReadBody`]).
    pub body: Option<HeldBody>,
    /// Where answers go. To drop it unanswered is a refusal.
    pub mailbox: Mailbox,
}

impl Question {
    /// Answers, once and for all; false where nobody reads it.
    pub fn answer(self, answer: Answer) -> bool {
        self.mailbox.put(answer)
    }
}
