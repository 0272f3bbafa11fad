//! Keyed digests of originals: the same value has the same digest in all records of a key, and without the key it can't
//! be guessed back.

use std::fmt;

use zeroize::Zeroizing;

/// The key of digests. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct DigestKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for DigestKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DigestKey")
    }
}

impl DigestKey {
    /// From a secret of any length; at least 16 bytes are worth the name.
    #[must_use]
    pub fn new(secret: &[u8]) -> DigestKey {
        DigestKey(Zeroizing::new(blake3::derive_key("sluice record v1 digest of originals", secret)))
    }

    /// The first 128 bits of keyed BLAKE3 over the original's bytes, as 32 hex digits.
    #[must_use]
    pub fn digest(&self, original: &[u8]) -> String {
        let hash = blake3::keyed_hash(&self.0, original);
        hash.as_bytes().iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_depends_on_key_and_value_alone() {
        let (a, b) = (DigestKey::new(&[1; 16]), DigestKey::new(&[2; 16]));
        assert_eq!(a.digest(b"x"), DigestKey::new(&[1; 16]).digest(b"x"));
        assert_ne!(a.digest(b"x"), b.digest(b"x"));
        assert_ne!(a.digest(b"x"), a.digest(b"y"));
        assert_eq!(a.digest(b"x").len(), 32);
        assert_eq!(format!("{a:?}"), "DigestKey");
    }
}
