//! A value that nothing shows and that is wiped when it goes.

use std::fmt;

use zeroize::Zeroizing;

/// Bytes of a secret.
pub const SECRET_BYTES_MAX: usize = 64 * 1024;

/// A secret text. `Debug` shows nothing of it, not even how long it is; its memory is zeroed when it goes.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text as it is.
    #[must_use]
    pub fn new(text: String) -> Secret {
        Secret(Zeroizing::new(text))
    }

    /// The secret itself: for what sends or masks it, never for what writes or logs.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl PartialEq for Secret {
    /// In a time that tells nothing of where they differ.
    fn eq(&self, other: &Secret) -> bool {
        blake3::hash(self.0.as_bytes()) == blake3::hash(other.0.as_bytes())
    }
}

impl Eq for Secret {}
