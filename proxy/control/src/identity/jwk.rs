//! The public keys of an issuer (RFC 7517).
//!
//! Keys that can't be used here are left out, as the RFC has it (section 5): symmetric ones, those for encryption, weak
//! RSA keys, and those whose private half stands beside them, as then it is private no more.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::algorithm::{Algorithm, Family};
use super::json;

/// Keys of one set; issuers have a handful.
pub const KEYS_MAX: usize = 100;
/// Keys that one token is held against, where its header does not say which.
pub(super) const TRIED_MAX: usize = 4;
/// The least and most bits of an RSA key (RFC 7518, section 3.3; what the library takes).
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;
/// Bytes of a key's id.
pub(super) const KEY_ID_BYTES_MAX: usize = 256;

/// One key.
pub(super) struct Key {
    id: Option<String>,
    family: Family,
    /// The only algorithm that it is for, where the set says so.
    algorithm: Option<Algorithm>,
    key: DecodingKey,
    /// Of its public parts: the same key keeps it from one set to the next.
    pub(super) digest: [u8; 32],
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).field("family", &self.family).finish_non_exhaustive()
    }
}

impl Key {
    /// Whether it signed `message`; `signature` is in base64url.
    pub(super) fn has_signed(&self, message: &str, signature: &str, algorithm: Algorithm) -> bool {
        if algorithm.family() != self.family || self.algorithm.is_some_and(|only| only != algorithm) {
            return false;
        }
        jsonwebtoken::crypto::verify(signature, message.as_bytes(), &self.key, algorithm.library())
            .unwrap_or(false)
    }

    fn read(jwk: &Map<String, Value>) -> Option<Key> {
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let is_public = !["d", "p", "q", "k", "oth"].iter().any(|part| jwk.contains_key(*part));
        let is_for_signatures = match jwk.get("use") {
            Some(value) => value.as_str() == Some("sig"),
            None => true,
        };
        let verifies = match jwk.get("key_ops") {
            Some(Value::Array(uses)) => uses.iter().any(|usage| usage.as_str() == Some("verify")),
            Some(_) => false,
            None => true,
        };
        if !is_public || !is_for_signatures || !verifies {
            return None;
        }
        let algorithm = match jwk.get("alg") {
            Some(value) => Some(Algorithm::of(value.as_str()?)?),
            None => None,
        };
        let id = match jwk.get("kid") {
            Some(value) => Some(value.as_str().filter(|id| id.len() <= KEY_ID_BYTES_MAX)?.to_owned()),
            None => None,
        };
        let (family, parts) = match (text("kty")?, text("crv")) {
            ("RSA", _) => (Family::Rsa, rsa(bytes(text("n")?)?, bytes(text("e")?)?)?),
            ("EC", Some("P-256")) => (Family::P256, point(text("x")?, text("y")?, 32)?),
            ("EC", Some("P-384")) => (Family::P384, point(text("x")?, text("y")?, 48)?),
            ("OKP", Some("Ed25519")) => (Family::Ed25519, vec![bytes(text("x")?).filter(|x| x.len() == 32)?]),
            _ => return None,
        };
        if algorithm.is_some_and(|algorithm| algorithm.family() != family) {
            return None;
        }
        let digest = digest(family, &parts);
        let key = decoding_key(family, &parts)?;
        Some(Key { id, family, algorithm, key, digest })
    }
}

fn bytes(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Modulus and exponent of a key that is strong enough.
fn rsa(n: Vec<u8>, e: Vec<u8>) -> Option<Vec<Vec<u8>>> {
    let first = n.iter().position(|byte| *byte != 0)?;
    let n = n.get(first..)?.to_vec();
    let bits = n.len() * 8 - n.first()?.leading_zeros() as usize;
    let is_odd = |number: &[u8]| number.last().is_some_and(|byte| byte % 2 == 1);
    let exponent =
        e.iter().try_fold(0_u64, |sum, byte| sum.checked_mul(256)?.checked_add(u64::from(*byte)))?;
    let is_exponent = is_odd(&e) && (3..1 << 33).contains(&exponent);
    (RSA_BITS.contains(&bits) && is_odd(&n) && is_exponent).then(|| vec![n, e])
}

/// Both coordinates of a point, each in its full length (RFC 7518, section 6.2.1.2).
fn point(x: &str, y: &str, length: usize) -> Option<Vec<Vec<u8>>> {
    let coordinate = |text| bytes(text).filter(|bytes| bytes.len() == length);
    Some(vec![coordinate(x)?, coordinate(y)?])
}

fn digest(family: Family, parts: &[Vec<u8>]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&[family as u8]);
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn decoding_key(family: Family, parts: &[Vec<u8>]) -> Option<DecodingKey> {
    match (family, parts) {
        (Family::Rsa, [n, e]) => Some(DecodingKey::from_rsa_raw_components(n, e)),
        (Family::P256 | Family::P384, [x, y]) => {
            let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
            DecodingKey::from_ec_components(&encode(x), &encode(y)).ok()
        }
        (Family::Ed25519, [x]) => Some(DecodingKey::from_ed_der(x)),
        _ => None,
    }
}

/// The keys that an issuer has at one time.
#[derive(Debug, Default)]
pub(super) struct KeySet {
    keys: Vec<Key>,
}

/// A text is no set of keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotKeys;

impl KeySet {
    /// Reads a set; what can't be used of it is left out.
    ///
    /// # Errors
    /// It is no set, has too many keys, or none that can be used.
    pub(super) fn read(text: &[u8]) -> Result<KeySet, NotKeys> {
        let object = json::object(text).map_err(|_| NotKeys)?;
        let list = object.get("keys").and_then(Value::as_array).ok_or(NotKeys)?;
        if list.len() > KEYS_MAX {
            return Err(NotKeys);
        }
        let keys: Vec<Key> = list.iter().filter_map(|key| Key::read(key.as_object()?)).collect();
        if keys.is_empty() { Err(NotKeys) } else { Ok(KeySet { keys }) }
    }

    /// Keys that a token with this header may be signed by, the first [`TRIED_MAX`].
    pub(super) fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> impl Iterator<Item = &Key> {
        let fits = move |key: &&Key| {
            let is_meant = id.is_none() || key.id.as_deref() == id;
            is_meant && key.family == algorithm.family() && key.algorithm.is_none_or(|only| only == algorithm)
        };
        self.keys.iter().filter(fits).take(TRIED_MAX)
    }

    /// Whether a key is still among them.
    pub(super) fn holds(&self, digest: &[u8; 32]) -> bool {
        self.keys.iter().any(|key| key.digest == *digest)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const X: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE";

    fn count(keys: Value) -> usize {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).map_or(0, |set| set.keys.len())
    }

    fn modulus(bytes: usize) -> String {
        let mut n = vec![0xFF; bytes];
        n[0] = 0x80;
        URL_SAFE_NO_PAD.encode(n)
    }

    #[test]
    fn only_keys_that_can_be_used_are_taken() {
        let ed = |more: Value| {
            let mut key = json!({ "kty": "OKP", "crv": "Ed25519", "x": X });
            key.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!([key])
        };
        for (keys, wanted) in [
            (ed(json!({})), 1),
            (ed(json!({ "use": "sig", "key_ops": ["verify"], "alg": "EdDSA", "kid": "a" })), 1),
            (ed(json!({ "use": "enc" })), 0),
            (ed(json!({ "use": 1 })), 0),
            (ed(json!({ "key_ops": ["encrypt"] })), 0),
            (ed(json!({ "alg": "HS256" })), 0),
            (ed(json!({ "alg": "none" })), 0),
            (ed(json!({ "alg": "RS256" })), 0),
            (ed(json!({ "d": X })), 0),
            (ed(json!({ "kid": 5 })), 0),
            (ed(json!({ "x": "AAAA" })), 0),
            (ed(json!({ "crv": "Ed448" })), 0),
            (json!([{ "kty": "oct", "k": X, "alg": "HS256" }]), 0),
            (json!([{ "kty": "RSA", "n": modulus(256), "e": "AQAB" }]), 1),
            (json!([{ "kty": "RSA", "n": modulus(255), "e": "AQAB" }]), 0),
            (json!([{ "kty": "RSA", "n": modulus(128), "e": "AQAB" }]), 0),
            (json!([{ "kty": "RSA", "n": modulus(512), "e": "AQAB" }]), 1),
            (json!([{ "kty": "RSA", "n": modulus(513), "e": "AQAB" }]), 0),
            (json!([{ "kty": "RSA", "n": modulus(256), "e": "AQ" }]), 0),
            (json!([{ "kty": "RSA", "n": modulus(256), "e": "Ag" }]), 0),
            (json!([{ "kty": "EC", "crv": "P-256", "x": X, "y": "AAAA" }]), 0),
            (json!([{ "kty": "EC", "crv": "P-521", "x": X, "y": X }]), 0),
            (json!(["key", 5, null]), 0),
        ] {
            assert_eq!(count(keys.clone()), wanted, "{keys}");
        }
    }

    #[test]
    fn limits() {
        let key = json!({ "kty": "OKP", "crv": "Ed25519", "x": X });
        assert_eq!(count(json!(vec![key.clone(); KEYS_MAX])), KEYS_MAX);
        assert_eq!(count(json!(vec![key.clone(); KEYS_MAX + 1])), 0);
        let text = json!({ "keys": vec![key; KEYS_MAX] }).to_string();
        let set = KeySet::read(text.as_bytes()).unwrap();
        assert_eq!(set.fitting(None, Algorithm::EdDsa).count(), TRIED_MAX);
        assert_eq!(set.fitting(Some("a"), Algorithm::EdDsa).count(), 0);
        assert_eq!(set.fitting(None, Algorithm::Rs256).count(), 0);
    }
}
