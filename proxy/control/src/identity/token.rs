//! A signed token taken apart (RFC 7515, compact form; RFC 7519), before and while it is verified.
//!
//! Nothing of it is believed until [`Unverified::verify`] has found a key of its issuer; before that only `iss`, `alg` and
//! `kid` are looked at, to tell which key that would be. Each part has one spelling: base64url without padding and
//! without loose bits, JSON without a member twice.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::Unproved;
use super::algorithm::Algorithm;
use super::json::{self, NotJson};
use super::jwk::{KEY_ID_BYTES_MAX, Key, KeySet};

/// Bytes of a signature in base64url: those of RSA with 4096 bits.
const SIGNATURE_BYTES_MAX: usize = 700;
/// Bytes of a header in base64url.
const HEADER_BYTES_MAX: usize = 4096;

/// Members of a header that say where its key is: nobody but the issuer's configuration does (RFC 8725, section 3.10).
const KEY_TELLING: [&str; 3] = ["jwk", "jku", "x5u"];

/// A token whose signature nobody has checked.
#[derive(Debug)]
pub(super) struct Unverified<'t> {
    message: &'t str,
    signature: &'t str,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// `typ` as it stands, in lower case, without `application/` (RFC 7515, section 4.1.9).
    pub(super) kind: Option<String>,
    /// What it claims.
    pub(super) claims: Map<String, Value>,
}

/// Whether a text has the form of a signed or encrypted token; of anything else only its issuer knows what it is.
pub(super) fn is_token(text: &str) -> bool {
    let is_of_part = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    matches!(text.bytes().filter(|b| *b == b'.').count(), 2 | 4) && text.bytes().all(is_of_part)
}

impl<'t> Unverified<'t> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is none, or its header is not acceptable.
    pub(super) fn read(token: &'t str) -> Result<Unverified<'t>, Unproved> {
        let mut parts = token.split('.');
        let [Some(header), Some(payload), Some(signature)] = [parts.next(), parts.next(), parts.next()]
        else {
            return Err(Unproved::Malformed);
        };
        match parts.count() {
            0 => {}
            // Five parts are an encrypted token (RFC 7516, section 3.1).
            2 => return Err(Unproved::Encrypted),
            _ => return Err(Unproved::Malformed),
        }
        if header.len() > HEADER_BYTES_MAX {
            return Err(Unproved::TooLarge);
        }
        let header = object(header)?;
        let algorithm = check(&header)?;
        let is_signature =
            signature.len() <= SIGNATURE_BYTES_MAX && URL_SAFE_NO_PAD.decode(signature).is_ok();
        if signature.is_empty() || !is_signature {
            return Err(Unproved::Signature);
        }
        let message = token.get(..token.len() - signature.len() - 1).ok_or(Unproved::Malformed)?;
        let key_id = match header.get("kid") {
            None => None,
            Some(Value::String(id)) if id.len() <= KEY_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err(Unproved::Header),
        };
        let claims = object(payload)?;
        Ok(Unverified { message, signature, algorithm, key_id, kind: kind(&header)?, claims })
    }

    /// The key among these that signed it.
    ///
    /// # Errors
    /// There is none that could have, or none that has.
    pub(super) fn verify<'k>(&self, keys: &'k KeySet) -> Result<&'k Key, Unproved> {
        let mut fitting = keys.fitting(self.key_id.as_deref(), self.algorithm).peekable();
        if fitting.peek().is_none() {
            return Err(Unproved::UnknownKey);
        }
        let mut signers = fitting.filter(|key| key.has_signed(self.message, self.signature, self.algorithm));
        signers.next().ok_or(Unproved::Signature)
    }

    /// Who says to have issued it.
    pub(super) fn issuer(&self) -> Result<&str, Unproved> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(Unproved::Claim),
            None => Err(Unproved::MissingClaim),
        }
    }
}

/// The object in a part of a token.
fn object(part: &str) -> Result<Map<String, Value>, Unproved> {
    let text = URL_SAFE_NO_PAD.decode(part).map_err(|_| Unproved::Malformed)?;
    json::object(&text).map_err(|e| match e {
        NotJson::Twice => Unproved::DuplicateMember,
        NotJson::Malformed => Unproved::Malformed,
    })
}

/// The algorithm of a header that asks for nothing else.
fn check(header: &Map<String, Value>) -> Result<Algorithm, Unproved> {
    // `b64` changes what is signed, and is understood by nobody here (RFC 7797, section 6).
    let is_asking = ["crit", "b64"].iter().chain(&KEY_TELLING).any(|name| header.contains_key(*name));
    if is_asking {
        return Err(Unproved::Header);
    }
    let is_nested = match header.get("cty") {
        Some(Value::String(kind)) => kind.to_ascii_lowercase().contains("jwt"),
        Some(_) => true,
        None => false,
    };
    if is_nested || header.contains_key("enc") || header.contains_key("zip") {
        return Err(Unproved::Encrypted);
    }
    match header.get("alg") {
        Some(Value::String(name)) => Algorithm::of(name).ok_or(Unproved::Algorithm),
        Some(_) | None => Err(Unproved::Algorithm),
    }
}

fn kind(header: &Map<String, Value>) -> Result<Option<String>, Unproved> {
    match header.get("typ") {
        None => Ok(None),
        Some(Value::String(kind)) => {
            let kind = kind.to_ascii_lowercase();
            Ok(Some(kind.strip_prefix("application/").unwrap_or(&kind).to_owned()))
        }
        Some(_) => Err(Unproved::Type),
    }
}
