//! The canonical form of a request, and its digest: what an approval is given for.
//!
//! Two requests have one digest only where they mean the same to every reader that holds to the standards: the order of
//! a JSON object's members, the spelling of a number, the boundary of a multipart body and the case of a field's name
//! carry no meaning; everything else does. What could be read in two ways (a key twice, a lone surrogate, a dot segment)
//! has no canonical form and is refused. Every part goes into SHA-256 behind its length, so no part can reach into the
//! next one. `docs/canonical-request.md` is the specification, with test vectors that the tests read.
//!
//! Rejected: a list of the fields that count, for a field of an API that nobody listed could then be changed after the
//! approval. Instead every field counts but those that [`counts`] names.

mod form;
mod json;
mod multipart;
mod target;

use std::fmt;

use sha2::{Digest, Sha256};

/// Names and values of a form.
pub(crate) use form::pairs as form_pairs;

/// The greatest body that is brought into its canonical form, in bytes.
pub const BODY_BYTES_MAX: usize = 8 << 20;

/// What every digest begins with, so that it is never mistaken for one of something else.
const DOMAIN: &[u8] = b"sluice.request.v1";

/// A request as it would go to the upstream, before masking, its body without content codings.
#[derive(Clone, Copy)]
pub struct CanonicalParts<'a> {
    /// As it was sent; methods are case-sensitive.
    pub method: &'a str,
    /// Percent-encoded, without query.
    pub path: &'a str,
    /// Behind the `?`; none where there is no `?`.
    pub query: Option<&'a str>,
    /// Names and values of the fields, in their order.
    pub fields: &'a [(&'a str, &'a [u8])],
    /// All of it, decoded from its content codings.
    pub body: &'a [u8],
}

impl fmt::Debug for CanonicalParts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CanonicalParts")
            .field("method", &self.method)
            .field("fields", &self.fields.len())
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// SHA-256 over the canonical form of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestDigest([u8; 32]);

impl RequestDigest {
    /// Of these bytes, which someone else has computed.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> RequestDigest {
        RequestDigest(bytes)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for RequestDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a request has no canonical form. No word of it comes from the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Uncanonical {
    reason: &'static str,
    offset: Option<usize>,
}

impl Uncanonical {
    const fn new(reason: &'static str) -> Uncanonical {
        Uncanonical { reason, offset: None }
    }

    const fn at(reason: &'static str, offset: usize) -> Uncanonical {
        Uncanonical { reason, offset: Some(offset) }
    }

    /// What is wrong.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        self.reason
    }

    /// Where in the body it shows.
    #[must_use]
    pub fn offset(&self) -> Option<usize> {
        self.offset
    }
}

impl fmt::Display for Uncanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.reason)?;
        match self.offset {
            Some(offset) => write!(f, " (byte {offset} of the body)"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Uncanonical {}

/// A hash over parts that each stand behind their length.
struct Parts(Sha256);

impl Parts {
    fn new() -> Parts {
        let mut parts = Parts(Sha256::new());
        parts.add(DOMAIN);
        parts
    }

    fn add(&mut self, part: &[u8]) {
        self.count(part.len());
        self.0.update(part);
    }

    fn count(&mut self, number: usize) {
        self.0.update((number as u64).to_be_bytes());
    }
}

/// The digest of a request.
///
/// # Errors
/// It can be read in more than one way, is not valid in its content type, or is larger than [`BODY_BYTES_MAX`].
///
/// # Examples
/// ```
/// use sluice_control::approvals::{CanonicalParts, canonical_digest};
///
/// let json: &[(&str, &[u8])] = &[("content-type", b"application/json")];
/// let of = |body: &[u8]| {
///     canonical_digest(&CanonicalParts { method: "POST", path: "/v1/x", query: None, fields: json, body })
/// };
/// assert_eq!(of(br#"{"a": 1.0, "b": "\u0041"}"#), of(br#"{"b":"A","a":1}"#));
/// assert!(of(br#"{"a": 1, "a": 2}"#).is_err());
/// ```
pub fn canonical_digest(request: &CanonicalParts<'_>) -> Result<RequestDigest, Uncanonical> {
    if request.body.len() > BODY_BYTES_MAX {
        return Err(Uncanonical::new("the body is larger than what an approval can be asked for"));
    }
    let mut parts = Parts::new();
    parts.add(request.method.as_bytes());
    parts.add(target::path(request.path)?.as_bytes());
    match request.query {
        Some(query) => {
            parts.count(1);
            parts.add(target::normal(query)?.as_bytes());
        }
        None => parts.count(0),
    }
    let kind = ContentType::of(request.fields)?;
    add_fields(&mut parts, request.fields, kind.as_ref());
    add_body(&mut parts, kind.as_ref(), request.body)?;
    Ok(RequestDigest(parts.0.finalize().into()))
}

fn add_fields(parts: &mut Parts, fields: &[(&str, &[u8])], kind: Option<&ContentType>) {
    let mut counted: Vec<(String, Vec<u8>)> = fields
        .iter()
        .map(|(name, value)| (name.to_ascii_lowercase(), *value))
        .filter(|(name, _)| counts(name))
        .map(|(name, value)| match kind {
            Some(kind) if name == "content-type" => (name, kind.canonical().into_bytes()),
            Some(_) | None => (name, value.trim_ascii().to_vec()),
        })
        .collect();
    // Stable: fields of one name stay in their order, which carries meaning (RFC 9110, section 5.3).
    counted.sort_by(|a, b| a.0.cmp(&b.0));
    parts.count(counted.len());
    for (name, value) in &counted {
        parts.add(name.as_bytes());
        parts.add(value);
    }
}

fn add_body(parts: &mut Parts, kind: Option<&ContentType>, body: &[u8]) -> Result<(), Uncanonical> {
    let Some(kind) = kind.filter(|_| !body.is_empty()) else {
        parts.add(if body.is_empty() { b"none" } else { b"bytes" });
        parts.add(body);
        return Ok(());
    };
    let essence = kind.essence.as_str();
    let is_json = essence == "application/json" || essence == "text/json" || essence.ends_with("+json");
    if is_json {
        kind.check_utf8()?;
        parts.add(b"json");
        parts.add(json::canonical(body)?.as_bytes());
    } else if matches!(essence, "application/x-ndjson" | "application/jsonl" | "application/jsonlines") {
        kind.check_utf8()?;
        parts.add(b"ndjson");
        for value in json::canonical_lines(body)? {
            parts.add(value.as_bytes());
        }
    } else if essence == "application/x-www-form-urlencoded" {
        parts.add(b"form");
        let pairs = form::pairs(body)?;
        parts.count(pairs.len());
        for (name, value) in pairs {
            parts.add(&name);
            parts.add(&value);
        }
    } else if essence.starts_with("multipart/") {
        parts.add(b"multipart");
        let boundary =
            kind.parameter("boundary").ok_or(Uncanonical::new("a multipart body needs a boundary"))?;
        let all = multipart::parts(body, boundary)?;
        parts.count(all.len());
        for part in all {
            parts.count(part.fields.len());
            for (name, value) in &part.fields {
                parts.add(name.as_bytes());
                parts.add(value);
            }
            parts.add(part.body);
        }
    } else {
        parts.add(b"bytes");
        parts.add(body);
    }
    Ok(())
}

/// Whether a field, named in lower case, can change what a request means to its upstream. These can't: what holds for
/// one connection, what frames or codes the body, credentials (the subject is bound in their place), and what names the
/// exchange or its sender for traces and retries, which a client makes anew when it sends the same request again.
fn counts(name: &str) -> bool {
    const LEFT_OUT: &[&str] = &[
        "accept-encoding",
        "api-key",
        "authorization",
        "baggage",
        "connection",
        "content-encoding",
        "content-length",
        "date",
        "expect",
        "forwarded",
        "host",
        "idempotency-key",
        "keep-alive",
        "max-forwards",
        "newrelic",
        "priority",
        "proxy-authorization",
        "proxy-connection",
        "referer",
        "sentry-trace",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "uber-trace-id",
        "upgrade-insecure-requests",
        "user-agent",
        "via",
        "x-amz-date",
        "x-amz-security-token",
        "x-api-key",
        "x-cloud-trace-context",
        "x-correlation-id",
        "x-goog-api-client",
        "x-goog-api-key",
        "x-real-ip",
        "x-request-id",
    ];
    const PREFIXES: &[&str] = &[
        "amz-sdk-",
        "sec-ch-",
        "sec-fetch-",
        "sluice-",
        "x-b3-",
        "x-datadog-",
        "x-forwarded-",
        "x-stainless-",
    ];
    LEFT_OUT.binary_search(&name).is_err() && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// A content type (RFC 9110, section 8.3.1).
#[derive(Debug)]
struct ContentType {
    essence: String,
    parameters: Vec<(String, String)>,
}

impl ContentType {
    /// The one of the request; none where it has none.
    fn of(fields: &[(&str, &[u8])]) -> Result<Option<ContentType>, Uncanonical> {
        let mut values = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case("content-type"));
        let Some((_, value)) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(Uncanonical::new("the request has two content types"));
        }
        let unreadable = Uncanonical::new("the content type can't be read");
        let text = std::str::from_utf8(value).map_err(|_| unreadable)?;
        ContentType::parse(text).ok_or(unreadable).map(Some)
    }

    fn parse(text: &str) -> Option<ContentType> {
        let (essence, mut rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let mut parameters: Vec<(String, String)> = Vec::new();
        while let Some(next) = rest.strip_prefix(';') {
            let next = next.trim_ascii_start();
            let (name, value) = next.split_once('=')?;
            let (value, after) = quoted(value)?;
            let name = name.trim_ascii().to_ascii_lowercase();
            if name.is_empty() || parameters.iter().any(|(other, _)| *other == name) {
                return None;
            }
            parameters.push((name, value));
            rest = after.trim_ascii_start();
        }
        rest.is_empty().then(|| {
            parameters.sort();
            ContentType { essence: essence.trim_ascii().to_ascii_lowercase(), parameters }
        })
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// JSON is UTF-8 (RFC 8259, section 8.1).
    fn check_utf8(&self) -> Result<(), Uncanonical> {
        match self.parameter("charset") {
            Some(charset)
                if !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("us-ascii") =>
            {
                Err(Uncanonical::new("JSON is in UTF-8"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The boundary is left out: it frames a body and says nothing.
    fn canonical(&self) -> String {
        let mut text = self.essence.clone();
        let named = self.parameters.iter().filter(|(name, _)| name != "boundary");
        for (name, value) in named {
            let value = if name == "charset" { value.to_ascii_lowercase() } else { value.clone() };
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            text.push_str(&format!(";{name}=\"{value}\""));
        }
        text
    }
}

/// A token or a quoted string at the start (RFC 9110, section 5.6.4), and what is behind it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let Some(inner) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find(';').unwrap_or(text.len()));
        let value = value.trim_ascii_end();
        return (!value.is_empty() && !value.contains('"')).then(|| (value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = inner.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some((value, inner.get(at + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests;
