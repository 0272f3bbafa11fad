//! Tokens of any kind, good and bad, signed with real keys.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Library, EncodingKey};
use serde_json::{Value, json};

use crate::identity::{ContextNames, Identity, Presented, Proved, Unproved};

pub(super) const ISSUER: &str = "https://issuer.example";
/// Seconds since 1970, when these tests take place.
pub(super) const NOW: u64 = 1_800_000_000;

pub(super) fn at(seconds: i64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW.checked_add_signed(seconds).unwrap())
}

/// A private key and what its header is told.
pub(super) struct Signer {
    pub(super) id: &'static str,
    pub(super) algorithm: Library,
    pub(super) key: EncodingKey,
}

impl Signer {
    pub(super) fn rsa(id: &'static str) -> Signer {
        let key = EncodingKey::from_rsa_pem(include_bytes!("rsa.pem")).unwrap();
        Signer { id, algorithm: Library::RS256, key }
    }

    pub(super) fn weak_rsa(id: &'static str) -> Signer {
        let key = EncodingKey::from_rsa_pem(include_bytes!("weak_rsa.pem")).unwrap();
        Signer { id, algorithm: Library::RS256, key }
    }

    pub(super) fn p256(id: &'static str) -> Signer {
        let key = EncodingKey::from_ec_pem(include_bytes!("p256.pem")).unwrap();
        Signer { id, algorithm: Library::ES256, key }
    }

    pub(super) fn p384(id: &'static str) -> Signer {
        let key = EncodingKey::from_ec_pem(include_bytes!("p384.pem")).unwrap();
        Signer { id, algorithm: Library::ES384, key }
    }

    /// Of a seed: as many as a test needs.
    pub(super) fn ed25519(id: &'static str, seed: u8) -> Signer {
        // PKCS #8 (RFC 8410, section 7) around the seed.
        let mut der = vec![0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
        der.extend([seed; 32]);
        Signer { id, algorithm: Library::EdDSA, key: EncodingKey::from_ed_der(&der) }
    }

    /// Its public half, as issuers publish it.
    pub(super) fn jwk(&self) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key, self.algorithm).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        jwk["kid"] = self.id.into();
        jwk["use"] = "sig".into();
        jwk
    }

    pub(super) fn header(&self) -> Value {
        json!({ "alg": format!("{:?}", self.algorithm), "typ": "at+jwt", "kid": self.id })
    }

    /// Signs whatever these parts are.
    pub(super) fn sign(&self, header: &str, claims: &str) -> String {
        self.sign_as(header, claims, self.algorithm)
    }

    pub(super) fn sign_as(&self, header: &str, claims: &str, algorithm: Library) -> String {
        let message = format!("{}.{}", encode(header), encode(claims));
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &self.key, algorithm).unwrap();
        format!("{message}.{signature}")
    }

    pub(super) fn token(&self, claims: &Value) -> String {
        self.sign(&self.header().to_string(), &claims.to_string())
    }
}

pub(super) fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

/// In the alphabet of plain base64, with padding.
pub(super) fn encode_otherwise(text: &str) -> String {
    STANDARD.encode(text)
}

/// Claims of a token that is taken.
pub(super) fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "sluice", "sub": "ann", "client_id": "cli", "jti": "7",
        "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 300, "groups": ["b", "a", "b"],
    })
}

/// Claims with some of them otherwise; `null` takes one away.
pub(super) fn but(changes: Value) -> Value {
    let mut claims = claims();
    let all = claims.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            all.remove(name);
        } else {
            all.insert(name.clone(), value.clone());
        }
    }
    claims
}

pub(super) fn presented(fields: &[(&str, &str)], names: &ContextNames) -> Result<Presented, Unproved> {
    Presented::read(fields.iter().map(|(name, value)| (*name, value.as_bytes())), names, None, None)
}

/// Presents a token as a bearer token.
pub(super) async fn present(identity: &Identity, token: &str, now: SystemTime) -> Result<Proved, Unproved> {
    let field = format!("Bearer {token}");
    identity.proof(&presented(&[("authorization", &field)], identity.context_names())?, now).await
}
