//! What a masked value is replaced by.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac};
use sha2::Sha256;

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
    /// `first + last` characters is filled whole. A value without a maximum (enclosed, or past its `max_len`) is
    /// labelled, for its end is not kept.
    Keep {
        /// Characters kept at the start.
        first: usize,
        /// Characters kept at the end.
        last: usize,
    },
}

/// Why a text names no [`Strategy`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StrategyError(());

impl fmt::Display for StrategyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected label, fill, drop, token, keep:FIRST,LAST or constant:TEXT")
    }
}

impl std::error::Error for StrategyError {}

impl FromStr for Strategy {
    type Err = StrategyError;

    /// As packs and commands spell it: `label`, `fill`, `drop`, `token`, `keep:FIRST,LAST`, `constant:TEXT`.
    fn from_str(text: &str) -> Result<Strategy, StrategyError> {
        let (name, rest) = text.split_once(':').map_or((text, None), |(name, rest)| (name, Some(rest)));
        match (name, rest) {
            ("label", None) => Ok(Strategy::Label),
            ("fill", None) => Ok(Strategy::Fill),
            ("drop", None) => Ok(Strategy::Drop),
            ("token", None) => Ok(Strategy::Token),
            ("constant", Some(text)) => Ok(Strategy::Constant(text.to_owned())),
            ("keep", Some(counts)) => {
                let (first, last) = counts.split_once(',').ok_or(StrategyError(()))?;
                let count = |text: &str| text.trim().parse().map_err(|_| StrategyError(()));
                Ok(Strategy::Keep { first: count(first)?, last: count(last)? })
            }
            _ => Err(StrategyError(())),
        }
    }
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

impl TokenKey {
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

/// Writes the replacement of `value`, known whole, to `out`.
pub(crate) fn replace(
    strategy: &Strategy,
    entity: &str,
    value: &[u8],
    key: Option<&TokenKey>,
    out: &mut Vec<u8>,
) {
    match strategy {
        Strategy::Label => label(entity, out),
        Strategy::Constant(text) => out.extend_from_slice(text.as_bytes()),
        Strategy::Fill => out.resize(out.len() + value.len(), FILL),
        Strategy::Drop => {}
        Strategy::Token => {
            let mut token = TokenHash::new(entity, key);
            token.update(value);
            token.finish(entity, out);
        }
        Strategy::Keep { first, last } => keep(*first, *last, value, out),
    }
}

/// The byte that stands for a byte of a filled value.
pub(crate) const FILL: u8 = b'*';

pub(crate) fn label(entity: &str, out: &mut Vec<u8>) {
    out.push(b'[');
    out.extend_from_slice(entity.as_bytes());
    out.push(b']');
}

/// Characters are told by their first bytes, so a value that is not UTF-8 is handled all the same.
fn keep(first: usize, last: usize, value: &[u8], out: &mut Vec<u8>) {
    let starts: Vec<usize> = (0..value.len()).filter(|&i| value[i] & 0xC0 != 0x80).collect();
    let count = starts.len();
    let whole = count <= first.saturating_add(last);
    for (n, &start) in starts.iter().enumerate() {
        let end = starts.get(n + 1).copied().unwrap_or(value.len());
        if !whole && (n < first || n >= count - last) {
            out.extend_from_slice(&value[start..end]);
        } else {
            out.push(FILL);
        }
    }
}

/// A token in the making; takes the value in pieces.
#[derive(Clone)]
pub(crate) struct TokenHash(Option<Hmac<Sha256>>);

impl TokenHash {
    pub(crate) fn new(entity: &str, key: Option<&TokenKey>) -> TokenHash {
        // Rulesets that ask for tokens don't compile without a key; should one be missing, the label stands in.
        let mut hash = key.and_then(|k| Hmac::<Sha256>::new_from_slice(&k.0).ok());
        if let Some(hash) = &mut hash {
            hash.update(entity.as_bytes());
            hash.update(&[0]);
        }
        TokenHash(hash)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        if let Some(hash) = &mut self.0 {
            hash.update(bytes);
        }
    }

    pub(crate) fn finish(self, entity: &str, out: &mut Vec<u8>) {
        let Some(hash) = self.0 else {
            return label(entity, out);
        };
        out.push(b'[');
        out.extend_from_slice(entity.as_bytes());
        out.push(b':');
        for byte in hash.finalize().into_bytes().iter().take(8) {
            for nibble in [byte >> 4, byte & 15] {
                out.push(b"0123456789abcdef"[nibble as usize]);
            }
        }
        out.push(b']');
    }
}
