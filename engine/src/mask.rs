//! What a masked value is replaced by.

use std::fmt;

/// How a value is replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Strategy {
    /// The entity in brackets: `[aws_access_key]`.
    Label,
    /// The same text for every value.
    Constant(String),
    /// As many `*` as the value has bytes, so that lengths around it stay right.
    Fill,
    /// Nothing.
    Drop,
    /// A keyed, deterministic token: `[entity:0123456789abcdef]`, the first 64 bits of HMAC-SHA-256 (RFC 2104)
    /// over the entity, a NUL and the value. Needs a [`TokenKey`].
    Token,
    /// The first and last characters stay, `*` stands for each of the others. A value no longer than
    /// `first + last` characters is filled whole.
    Keep {
        /// Characters kept at the start.
        first: usize,
        /// Characters kept at the end.
        last: usize,
    },
}

/// The key of [`Strategy::Token`]. Its `Debug` never shows it.
#[derive(Clone)]
pub struct TokenKey(Vec<u8>);

impl TokenKey {
    /// The fewest bytes a key may have.
    pub const BYTES_MIN: usize = 16;

    /// A key of at least [`TokenKey::BYTES_MIN`] bytes; `None` when it is shorter.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() >= Self::BYTES_MIN).then_some(Self(bytes))
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}
