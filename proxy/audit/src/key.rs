//! Keys of the record: the one that signs, those that are trusted, and the one that encrypts.

use std::fmt;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce};
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{DecodePrivateKey, DecodePublicKey, EncodePrivateKey, EncodePublicKey};
use ed25519_dalek::{Signature, Signer};
use zeroize::Zeroizing;

use crate::hash::{Hash, Kind, from_hex, to_hex};

/// A key can't be used.
#[derive(Debug)]
pub struct KeyError {
    kind: KeyErrorKind,
}

#[derive(Debug)]
enum KeyErrorKind {
    Io(String, std::io::Error),
    NoSigningKey,
    NoPublicKey,
    NoEncryptionKey,
    Random,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            KeyErrorKind::Io(file, e) => write!(f, "{file}: {e}"),
            KeyErrorKind::NoSigningKey => f.write_str("no Ed25519 private key in PKCS #8 PEM"),
            KeyErrorKind::NoPublicKey => f.write_str("no Ed25519 public key in PEM"),
            KeyErrorKind::NoEncryptionKey => f.write_str("the key of AES-256-GCM is 64 hex digits"),
            KeyErrorKind::Random => f.write_str("the system gives no random bytes"),
        }
    }
}

impl std::error::Error for KeyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            KeyErrorKind::Io(_, e) => Some(e),
            _ => None,
        }
    }
}

fn error(kind: KeyErrorKind) -> KeyError {
    KeyError { kind }
}

fn io_error(file: &Path, e: std::io::Error) -> KeyError {
    error(KeyErrorKind::Io(file.display().to_string(), e))
}

/// Random bytes of the system.
pub(crate) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|_| error(KeyErrorKind::Random))?;
    Ok(bytes)
}

/// The key that signs (Ed25519, RFC 8032). `Debug` shows its public half.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.public())
    }
}

impl SigningKey {
    /// From PKCS #8 in PEM (RFC 8410), as `openssl genpkey -algorithm ed25519` writes it.
    ///
    /// # Errors
    /// Where it is no such key; the message shows nothing of it.
    pub fn from_pem(pem: &str) -> Result<SigningKey, KeyError> {
        let key = ed25519_dalek::SigningKey::from_pkcs8_pem(pem);
        key.map(SigningKey).map_err(|_| error(KeyErrorKind::NoSigningKey))
    }

    /// Reads the key in `file`; where there is no such file, a new key is made there that only its owner may read, and
    /// its public half beside it with `.pub` added.
    ///
    /// # Errors
    /// Where the file can't be read or made, or holds no key.
    pub fn load_or_create(file: &Path) -> Result<SigningKey, KeyError> {
        match std::fs::read_to_string(file) {
            Ok(pem) => SigningKey::from_pem(&Zeroizing::new(pem)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => SigningKey::create(file),
            Err(e) => Err(io_error(file, e)),
        }
    }

    fn create(file: &Path) -> Result<SigningKey, KeyError> {
        let key = SigningKey(ed25519_dalek::SigningKey::from_bytes(&Zeroizing::new(random()?)));
        let pem = key.0.to_pkcs8_pem(LineEnding::LF).map_err(|_| error(KeyErrorKind::NoSigningKey))?;
        if let Some(folder) = file.parent() {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
            made.map_err(|e| io_error(folder, e))?;
        }
        let mut options = std::fs::OpenOptions::new();
        let opened = options.write(true).create_new(true).mode(0o600).open(file);
        let written = opened.and_then(|mut f| f.write_all(pem.as_bytes()).and_then(|()| f.sync_all()));
        written.map_err(|e| io_error(file, e))?;
        let mut public = file.as_os_str().to_owned();
        public.push(".pub");
        let public = Path::new(&public);
        std::fs::write(public, key.public().to_pem()?).map_err(|e| io_error(public, e))?;
        Ok(key)
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    pub(crate) fn sign(&self, hash: &Hash) -> [u8; 64] {
        self.0.sign(&hash.0).to_bytes()
    }
}

/// The key that verifies; its hex where it is shown.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey(pub(crate) [u8; 32]);

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl PublicKey {
    /// From PEM (RFC 8410), or its 64 hex digits.
    ///
    /// # Errors
    /// Where it is neither.
    pub fn from_text(text: &str) -> Result<PublicKey, KeyError> {
        if let Some(bytes) = from_hex(text.trim()) {
            return Ok(PublicKey(bytes));
        }
        let key = ed25519_dalek::VerifyingKey::from_public_key_pem(text);
        key.map(|key| PublicKey(key.to_bytes())).map_err(|_| error(KeyErrorKind::NoPublicKey))
    }

    /// As PEM.
    ///
    /// # Errors
    /// Where its bytes are no point of the curve.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let no_key = |_| error(KeyErrorKind::NoPublicKey);
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0).map_err(no_key)?;
        key.to_public_key_pem(LineEnding::LF).map_err(|_| error(KeyErrorKind::NoPublicKey))
    }

    /// Whether this key signed the hash. Strict: keys and signatures of small order count for nothing.
    pub(crate) fn verifies(&self, hash: &Hash, signature: &[u8; 64]) -> bool {
        let key = ed25519_dalek::VerifyingKey::from_bytes(&self.0);
        key.is_ok_and(|key| key.verify_strict(&hash.0, &Signature::from_bytes(signature)).is_ok())
    }
}

/// What an old key signs so that a new one is believed from segment `number` of the record `log` on.
pub(crate) fn endorsed(log: &[u8; 16], number: u64, new: &PublicKey) -> Hash {
    Hash::of(Kind::Endorsement, &[log, &number.to_le_bytes(), &new.0])
}

/// The key of encryption at rest (AES-256-GCM, NIST SP 800-38D). `Debug` shows nothing of it.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EncryptionKey")
    }
}

impl EncryptionKey {
    /// From 64 hex digits.
    ///
    /// # Errors
    /// Where it is something else; the message shows nothing of it.
    pub fn from_hex(text: &str) -> Result<EncryptionKey, KeyError> {
        let bytes = from_hex(text.trim()).ok_or_else(|| error(KeyErrorKind::NoEncryptionKey))?;
        Ok(EncryptionKey(Zeroizing::new(bytes)))
    }

    /// The cipher of one segment: a key of its own, so that nonces may begin anew.
    pub(crate) fn of_segment(&self, log: &[u8; 16], number: u64, salt: &[u8; 32]) -> SegmentCipher {
        let mut hasher = blake3::Hasher::new_derive_key("sluice record v1 segment encryption");
        hasher.update(&*self.0).update(log).update(&number.to_le_bytes()).update(salt);
        let key = Zeroizing::new(*hasher.finalize().as_bytes());
        SegmentCipher(Aes256Gcm::new((&*key).into()))
    }
}

/// Encrypts the blocks of one segment.
#[derive(Clone)]
pub(crate) struct SegmentCipher(Aes256Gcm);

impl fmt::Debug for SegmentCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SegmentCipher")
    }
}

/// Bytes that encryption adds.
pub(crate) const TAG_BYTES: usize = 16;

fn nonce(number: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    for (to, from) in nonce.iter_mut().zip(number.to_le_bytes()) {
        *to = from;
    }
    nonce
}

impl SegmentCipher {
    /// None where there is too much to encrypt, which blocks never are.
    pub(crate) fn encrypt(&self, number: u64, associated: &[u8], body: &mut Vec<u8>) -> Option<()> {
        let nonce = Nonce::from(nonce(number));
        self.0.encrypt_in_place(&nonce, associated, body).ok()
    }

    /// None where it is not what was encrypted, or with another key.
    pub(crate) fn decrypt(&self, number: u64, associated: &[u8], body: &mut Vec<u8>) -> Option<()> {
        let nonce = Nonce::from(nonce(number));
        self.0.decrypt_in_place(&nonce, associated, body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The key of RFC 8410, section 10.3.
    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    #[test]
    fn keys_of_the_rfc_are_read_and_nothing_is_shown() {
        let key = SigningKey::from_pem(PEM).unwrap();
        let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
        assert_eq!(key.public().to_string(), public);
        assert_eq!(format!("{key:?}"), format!("SigningKey({public})"));
        assert_eq!(PublicKey::from_text(&key.public().to_pem().unwrap()).unwrap(), key.public());
        assert_eq!(PublicKey::from_text(public).unwrap(), key.public());
        let e = SigningKey::from_pem("MC4CAQAwBQYDK2VwBCIEINTuctv5").unwrap_err().to_string();
        assert!(!e.contains("MC4"), "{e}");
        let key = EncryptionKey::from_hex(&"0f".repeat(32)).unwrap();
        assert_eq!(format!("{key:?}"), "EncryptionKey");
        assert!(!EncryptionKey::from_hex("0f0f").unwrap_err().to_string().contains("0f0f"));
    }

    #[test]
    fn a_signature_holds_for_its_hash_and_key_alone() {
        let (key, other) =
            (SigningKey::from_pem(PEM).unwrap(), SigningKey(ed25519_dalek::SigningKey::from_bytes(&[7; 32])));
        let hash = Hash([3; 32]);
        let signature = key.sign(&hash);
        assert!(key.public().verifies(&hash, &signature));
        assert!(!key.public().verifies(&Hash([4; 32]), &signature));
        assert!(!other.public().verifies(&hash, &signature));
    }

    #[test]
    fn what_is_encrypted_is_read_with_the_same_key_nonce_and_place_alone() {
        let key = EncryptionKey::from_hex(&"0f".repeat(32)).unwrap();
        let cipher = key.of_segment(&[1; 16], 2, &[3; 32]);
        let mut body = b"text".to_vec();
        cipher.encrypt(9, b"place", &mut body).unwrap();
        assert_eq!(body.len(), 4 + TAG_BYTES);
        for (other, number, place, ok) in [
            (&cipher, 9, &b"place"[..], true),
            (&cipher, 8, b"place", false),
            (&cipher, 9, b"plac", false),
            (&key.of_segment(&[1; 16], 3, &[3; 32]), 9, b"place", false),
        ] {
            let mut again = body.clone();
            assert_eq!(other.decrypt(number, place, &mut again).is_some(), ok);
            assert!(!ok || again == b"text");
        }
    }
}
