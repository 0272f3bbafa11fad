//! Signed built packs, and whose signatures are trusted.
//!
//! ```text
//!   magic 8 │ public key 32 │ signature 64 │ built pack
//! ```
//! Signed are the first bytes of the built pack, up to and with the SHA-256 of all the rest (Ed25519, RFC 8032), so that
//! the signature costs the same for a pack of any size. Keys are PEM, as `openssl genpkey -algorithm ed25519` makes them
//! (PKCS #8, RFC 8410).
//!
//! Where keys are trusted, every pack that is a file must be built and signed with one of them: a TOML file in the same
//! place could say anything. Where none is, a signature must still be that of the key beside it.

use std::fmt;

use ed25519_dalek::pkcs8::DecodePrivateKey;
use ed25519_dalek::pkcs8::spki::DecodePublicKey;
use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use sluice_engine::Built;

/// Not UTF-8, as that of a built pack.
const MAGIC: [u8; 8] = *b"\x8fsl-sig\n";
const KEY_AT: usize = 8;
const SIGNATURE_AT: usize = KEY_AT + 32;
const PACK_AT: usize = SIGNATURE_AT + 64;
/// What a signature is of, so that none of another kind of thing passes for it.
const CONTEXT: &[u8] = b"sluice built pack, version 1\0";
/// The environment's name for files of trusted keys, separated by `:`.
pub const TRUST_VARIABLE: &str = "SLUICE_PACK_KEYS";
/// The most keys that are trusted.
const KEYS_MAX: usize = 64;
/// The most bytes of a key's file.
const KEY_BYTES_MAX: u64 = 64 << 10;

/// Whose built packs are loaded.
#[derive(Clone, Default)]
pub struct Trust {
    keys: Vec<VerifyingKey>,
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Trust({} keys)", self.keys.len())
    }
}

impl Trust {
    /// Everyone's, signed or not.
    #[must_use]
    pub fn anyone() -> Trust {
        Trust::default()
    }

    /// Of these keys in PEM, one or more a text.
    ///
    /// # Errors
    /// What is no public key; too many of them; none.
    pub fn of_pem<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Trust, String> {
        let mut keys = Vec::new();
        for text in texts {
            for part in
                text.split_inclusive("-----END PUBLIC KEY-----").filter(|part| !part.trim().is_empty())
            {
                let key = VerifyingKey::from_public_key_pem(part.trim());
                keys.push(key.map_err(|_| "not an Ed25519 public key in PEM".to_owned())?);
            }
        }
        match keys.len() {
            0 => Err("no public key".into()),
            count if count > KEYS_MAX => Err(format!("more than {KEYS_MAX} keys")),
            _ => Ok(Trust { keys }),
        }
    }

    /// Of the files that `SLUICE_PACK_KEYS` names; everyone's where it is not set or empty.
    ///
    /// # Errors
    /// `file: reason` of a file that can't be read, or has no key.
    pub fn from_env() -> Result<Trust, String> {
        let Some(names) = std::env::var_os(TRUST_VARIABLE).filter(|names| !names.is_empty()) else {
            return Ok(Trust::anyone());
        };
        let mut keys = Vec::new();
        for path in std::env::split_paths(&names) {
            let name = path.display();
            let large = std::fs::metadata(&path).is_ok_and(|m| m.len() > KEY_BYTES_MAX);
            let text = match large {
                true => return Err(format!("{name}: a file of keys has at most {KEY_BYTES_MAX} bytes")),
                false => std::fs::read_to_string(&path).map_err(|e| format!("{name}: {e}"))?,
            };
            keys.extend(Trust::of_pem([text.as_str()]).map_err(|reason| format!("{name}: {reason}"))?.keys);
        }
        Ok(Trust { keys })
    }

    /// Whether a pack that is a file must be signed.
    #[must_use]
    pub fn is_limited(&self) -> bool {
        !self.keys.is_empty()
    }
}

/// True when bytes begin as a signed pack does.
#[must_use]
pub fn is_signed(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// A built pack with a signature; one that it had is replaced. `key` is a private key in PEM (PKCS #8).
///
/// # Errors
/// The key is none, or the bytes are no built pack.
pub fn sign(bytes: &[u8], key: &str) -> Result<Vec<u8>, String> {
    let key = SigningKey::from_pkcs8_pem(key)
        .map_err(|_| "not an Ed25519 private key in PEM (PKCS #8)".to_owned())?;
    let built = if is_signed(bytes) { bytes.get(PACK_AT..).unwrap_or_default() } else { bytes };
    let message = message(built).ok_or("only a built pack can be signed: `sluice pack build` makes one")?;
    let signature = key.sign(&message);
    Ok([&MAGIC[..], key.verifying_key().as_bytes(), &signature.to_bytes(), built].concat())
}

fn message(built: &[u8]) -> Option<Vec<u8>> {
    let head = built.get(..Built::HEAD_BYTES).filter(|_| Built::is_built(built))?;
    Some([CONTEXT, head].concat())
}

/// The built pack in `bytes`, signed or not, if it may be loaded.
///
/// # Errors
/// Its signature is missing, wrong, or of a key that is not trusted.
pub fn open<'a>(bytes: &'a [u8], trust: &Trust) -> Result<&'a [u8], String> {
    if !is_signed(bytes) {
        let reason = format!("the pack is not signed, which {TRUST_VARIABLE} asks for");
        return if trust.is_limited() { Err(reason) } else { Ok(bytes) };
    }
    let wrong = "the pack's signature is wrong";
    let part = |from: usize, to: usize| bytes.get(from..to).ok_or(wrong);
    let key: [u8; 32] = part(KEY_AT, SIGNATURE_AT)?.try_into().map_err(|_| wrong)?;
    let signature: [u8; 64] = part(SIGNATURE_AT, PACK_AT)?.try_into().map_err(|_| wrong)?;
    let key = VerifyingKey::from_bytes(&key).map_err(|_| wrong)?;
    if trust.is_limited() && !trust.keys.contains(&key) {
        return Err(format!("the pack is signed with a key that {TRUST_VARIABLE} does not name"));
    }
    let built = bytes.get(PACK_AT..).unwrap_or_default();
    let message = message(built).ok_or("what is signed is no built pack")?;
    key.verify_strict(&message, &Signature::from_bytes(&signature)).map_err(|_| wrong)?;
    Ok(built)
}

#[cfg(test)]
mod tests {
    use ed25519_dalek::pkcs8::EncodePrivateKey;
    use ed25519_dalek::pkcs8::spki::EncodePublicKey;
    use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;

    use super::*;
    use crate::Pack;

    fn keys(seed: u8) -> (String, String) {
        let key = SigningKey::from_bytes(&[seed; 32]);
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF).unwrap();
        (key.to_pkcs8_pem(LineEnding::LF).unwrap().to_string(), public)
    }

    fn built() -> Vec<u8> {
        let text =
            "[pack]\nname = \"p\"\nversion = \"1\"\n[[rule]]\nid = \"a\"\nentity = \"a\"\nregex = 'abc'\n";
        Pack::parse("p", text).unwrap().build().unwrap()
    }

    #[test]
    fn only_what_a_trusted_key_signed_is_opened() {
        let (private, public) = keys(1);
        let (other_private, other_public) = keys(2);
        let built = built();
        let signed = sign(&built, &private).unwrap();
        let trust = Trust::of_pem([public.as_str()]).unwrap();
        let both = Trust::of_pem([format!("{other_public}\n{public}").as_str()]).unwrap();
        assert_eq!(open(&signed, &trust), Ok(built.as_slice()));
        assert_eq!(open(&signed, &both), Ok(built.as_slice()));
        assert_eq!(open(&signed, &Trust::anyone()), Ok(built.as_slice()));
        assert_eq!(open(&built, &Trust::anyone()), Ok(built.as_slice()));
        assert!(open(&built, &trust).unwrap_err().contains("not signed"));
        let others = sign(&signed, &other_private).unwrap();
        assert!(open(&others, &trust).unwrap_err().contains("does not name"));
        assert!(sign(b"text", &private).is_err() && sign(&built, &public).is_err());
        for at in [KEY_AT, SIGNATURE_AT, SIGNATURE_AT + 63, PACK_AT + Built::HEAD_BYTES - 1] {
            let mut wrong = signed.clone();
            wrong[at] ^= 1;
            assert!(open(&wrong, &trust).is_err(), "byte {at}");
            assert!(at == KEY_AT || open(&wrong, &Trust::anyone()).is_err(), "byte {at}");
        }
        // What the signature does not cover is covered by the hash that it covers.
        let mut wrong = signed.clone();
        *wrong.last_mut().unwrap() ^= 1;
        let opened = open(&wrong, &trust).unwrap();
        assert!(Pack::from_built("p", opened).unwrap_err().to_string().contains("damaged"));
        for len in 0..PACK_AT + Built::HEAD_BYTES {
            assert!(open(&signed[..len], &trust).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn keys_are_told_from_other_texts() {
        let (private, public) = keys(3);
        assert!(Trust::of_pem([private.as_str()]).is_err() && Trust::of_pem([""]).is_err());
        let many = |count: usize| public.repeat(count);
        assert!(Trust::of_pem([many(KEYS_MAX).as_str()]).is_ok());
        assert!(Trust::of_pem([many(KEYS_MAX + 1).as_str()]).is_err());
        assert_eq!(format!("{:?}", Trust::of_pem([public.as_str()]).unwrap()), "Trust(1 keys)");
    }
}
