//! An issuer of tokens: a key, its set, and tokens signed with it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// An issuer with one Ed25519 key.
#[derive(Debug)]
pub struct Issuer {
    name: String,
    key: SigningKey,
}

impl Issuer {
    /// Of this `iss`, with the key that the seed gives.
    #[must_use]
    pub fn new(name: &str, seed: u8) -> Issuer {
        Issuer { name: name.to_owned(), key: SigningKey::from_bytes(&[seed; 32]) }
    }

    /// Its set of keys (RFC 8037).
    #[must_use]
    pub fn jwks(&self) -> String {
        let x = URL_SAFE_NO_PAD.encode(self.key.verifying_key().as_bytes());
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "k1", "use": "sig", "alg": "EdDSA", "x": x}]})
            .to_string()
    }

    /// A token of `subject` in these groups, for the audience `sluice` and an hour, with these claims over all others.
    ///
    /// # Panics
    /// The claims are no object.
    #[must_use]
    pub fn token(&self, subject: &str, groups: &[&str], others: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("a time after 1970").as_secs();
        let mut claims = json!({
            "iss": self.name, "aud": "sluice", "sub": subject, "groups": groups,
            "iat": now, "exp": now + 3600, "jti": format!("{subject}-{now}"),
        });
        for (name, value) in others.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed =
            format!("{}.{}", part(&json!({"alg": "EdDSA", "typ": "JWT", "kid": "k1"})), part(&claims));
        let signature = self.key.sign(signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature.to_bytes()))
    }
}
