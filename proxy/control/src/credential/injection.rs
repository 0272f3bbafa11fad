//! How an upstream's credential is put into a request, in place of the caller's.
//!
//! [`Injection::plan`] says what to take away and what to set; it touches no request itself. The caller's own credentials
//! go whatever is set in their place, and so does every field and parameter that the plan sets.

use std::sync::Arc;
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::sigv4::{AWS_FIELDS, AccessKey, AwsService, ChunkSigner, Payload, ToSign, recoded};
use super::{CredentialError, Secret, Source};
use crate::identity::CREDENTIAL_FIELDS;

/// How an upstream's credential is presented.
#[derive(Clone, Debug)]
pub enum Injection {
    /// In a field, after a prefix such as `Bearer `.
    Header {
        /// The field, in lower case.
        name: String,
        /// What stands before the secret.
        prefix: String,
        /// The secret.
        secret: Source,
    },
    /// In a parameter of the query.
    Query {
        /// The parameter.
        name: String,
        /// The secret.
        secret: Source,
    },
    /// As name and password (RFC 7617).
    Basic {
        /// The name.
        user: String,
        /// The password.
        password: Source,
    },
    /// By a signature of AWS, version 4.
    SigV4 {
        /// Where the request goes.
        service: AwsService,
        /// The key's id.
        id: Source,
        /// The key.
        secret: Source,
        /// The session's token.
        session: Option<Source>,
        /// What of the body is signed.
        payload: SignedPart,
    },
}

/// What of a body is signed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SignedPart {
    /// All of it, which is held for that.
    #[default]
    Whole,
    /// Nothing of it: for S3 over TLS.
    Nothing,
    /// Each chunk, while it streams.
    Chunks,
}

/// A request as it goes upstream.
#[derive(Clone, Copy, Debug)]
pub struct Outgoing<'r> {
    /// Its method.
    pub method: &'r str,
    /// Path and query, encoded, the upstream's base path included.
    pub target: &'r str,
    /// `Host`, or `:authority`.
    pub host: &'r str,
    /// Its body, masked as it is sent, where it is held; none where it streams.
    pub body: Option<&'r [u8]>,
    /// The length of a body that streams, where it is known.
    pub length: Option<u64>,
}

/// What is done to a request's head.
#[derive(Debug)]
pub struct Plan {
    /// Fields that are taken away before any is set, in lower case.
    pub strip_fields: Vec<String>,
    /// Parameters of the query that are taken away, decoded.
    pub strip_query: Vec<String>,
    /// Fields that are set, names in lower case.
    pub set_fields: Vec<(String, Secret)>,
    /// Parameters of the query that are set, before they are encoded.
    pub set_query: Vec<(String, Secret)>,
    /// What the upstream must not echo: masked in this exchange.
    pub secrets: Vec<Arc<Secret>>,
    /// What puts the body into signed chunks.
    pub chunks: Option<ChunkSigner>,
}

impl Plan {
    /// That takes the caller's credentials away and sets nothing.
    #[must_use]
    pub fn without() -> Plan {
        Plan {
            strip_fields: CREDENTIAL_FIELDS.iter().map(|field| (*field).to_owned()).collect(),
            strip_query: Vec::new(),
            set_fields: Vec::new(),
            set_query: Vec::new(),
            secrets: Vec::new(),
            chunks: None,
        }
    }

    fn set_field(&mut self, name: &str, value: Secret) {
        if !self.strip_fields.iter().any(|field| field == name) {
            self.strip_fields.push(name.to_owned());
        }
        self.set_fields.push((name.to_owned(), value));
    }
}

impl Injection {
    /// What is done to this request.
    ///
    /// # Errors
    /// The credential can't be had, or can't be put into a request: then nothing goes upstream.
    pub async fn plan(&self, request: &Outgoing<'_>, now: SystemTime) -> Result<Plan, CredentialError> {
        let mut plan = Plan::without();
        match self {
            Injection::Header { name, prefix, secret } => {
                let value = visible(secret, now).await?;
                plan.set_field(name, Secret::new(format!("{prefix}{}", value.text())));
                plan.secrets.push(value);
            }
            Injection::Query { name, secret } => {
                let value = secret.value(now).await?;
                plan.strip_query.push(name.clone());
                plan.set_query.push((name.clone(), Secret::clone(&value)));
                plan.secrets.push(value);
            }
            Injection::Basic { user, password } => {
                use base64::Engine;
                let value = password.value(now).await?;
                let pair = Zeroizing::new(format!("{user}:{}", value.text()));
                let pair = base64::engine::general_purpose::STANDARD.encode(pair.as_bytes());
                plan.set_field("authorization", Secret::new(format!("Basic {pair}")));
                // Echoed as it was sent, the pair is one text, and not to be told from the password alone.
                plan.secrets.extend([value, Arc::new(Secret::new(pair))]);
            }
            Injection::SigV4 { .. } => self.sign(&mut plan, request, now).await?,
        }
        Ok(plan)
    }

    async fn sign(
        &self,
        plan: &mut Plan,
        request: &Outgoing<'_>,
        now: SystemTime,
    ) -> Result<(), CredentialError> {
        let Injection::SigV4 { service, id, secret, session, payload } = self else { return Ok(()) };
        let payload = match (payload, request.body, request.length) {
            (SignedPart::Nothing, ..) => Payload::Unsigned,
            (SignedPart::Whole, Some(body), _) => Payload::Hashed(Sha256::digest(body).into()),
            (SignedPart::Whole, None, _) => {
                let reason = "the whole body is to be signed, and it was not held";
                return Err(CredentialError::new(secret.reference(), reason));
            }
            (SignedPart::Chunks, Some(body), _) => Payload::Streamed { length: body.len() as u64 },
            (SignedPart::Chunks, None, Some(length)) => Payload::Streamed { length },
            (SignedPart::Chunks, None, None) => {
                let reason = "chunks are to be signed, and the body's length is not known";
                return Err(CredentialError::new(secret.reference(), reason));
            }
        };
        let (id, secret) = (visible(id, now).await?, secret.value(now).await?);
        let session = match session {
            Some(session) => Some(visible(session, now).await?),
            None => None,
        };
        let key = AccessKey { id: id.text(), secret: &secret, session: session.as_deref() };
        let Outgoing { method, host, .. } = *request;
        let target = unsigned(request.target);
        let signed = service.sign(key, &ToSign { method, target: &target, host, fields: &[], payload }, now);
        plan.strip_fields.extend(AWS_FIELDS.iter().map(|field| (*field).to_owned()));
        // A signature in the query would be a second one.
        plan.strip_query.extend(PRESIGNED.iter().map(|name| (*name).to_owned()));
        for (name, value) in signed.fields {
            plan.set_field(name, value);
        }
        plan.chunks = signed.chunks;
        plan.secrets.push(secret);
        plan.secrets.extend(session);
        Ok(())
    }
}

/// A target without the parameters that are taken away.
fn unsigned(target: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let is_of_signature = |pair: &&str| {
        let name = pair.split('=').next().unwrap_or_default();
        PRESIGNED.iter().any(|known| recoded(name, false) == *known)
    };
    let kept: Vec<&str> = query.split('&').filter(|pair| !is_of_signature(pair)).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// Parameters of a signature in a query.
const PRESIGNED: [&str; 7] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
    "X-Amz-Security-Token",
];

/// A secret that can stand in a field (RFC 9110, section 5.5): one with a line end would make more fields of it.
async fn visible(source: &Source, now: SystemTime) -> Result<Arc<Secret>, CredentialError> {
    let value = source.value(now).await?;
    if value.text().bytes().all(|b| (b' '..0x7F).contains(&b)) {
        Ok(value)
    } else {
        Err(CredentialError::new(source.reference(), "it has characters that no field has"))
    }
}
