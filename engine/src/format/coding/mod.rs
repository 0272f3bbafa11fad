//! Content codings (RFC 9110, section 8.4) as a stream: what is masked has to be decoded first and encoded again after.
//!
//! ```text
//!   body ──► Decoder (outermost coding first) ──► masker ──► Encoder (innermost first) ──► body
//! ```
//!
//! A coding is where a few bytes become many, so a [`Decoder`] gives no more than [`CodingLimits`] allow for what it
//! has taken, and refuses windows larger than they allow before it makes room for one. It gives all that its input
//! so far can tell, and an [`Encoder`] gives on `flush` all it has been given: a stream that is live stays live.
//!
//! Rejected: passing a coded body because it is coded (a value would pass with it); asking for `identity` only (it
//! costs the network what it saves here, and an upstream may not obey).

mod decode;
mod encode;
#[cfg(test)]
mod tests;

use std::fmt;

pub use decode::Decoder;
pub use encode::Encoder;

/// Most codings of one body: a stack of more is refused, for each multiplies what a byte may become.
pub const CODINGS_MAX: usize = 3;

/// One content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// `gzip`, also `x-gzip` (RFC 1952). Several members are one body.
    Gzip,
    /// `deflate`: the zlib format (RFC 1950). A decoder takes bare DEFLATE data for it too, as some servers send it.
    Deflate,
    /// Bare DEFLATE data (RFC 1951), which is what some servers mean by `deflate`. No header names it.
    RawDeflate,
    /// `br` (RFC 7932). Large windows, which are no part of it, are refused.
    Br,
    /// `zstd` (RFC 8878). Several frames are one body.
    Zstd,
}

impl Coding {
    /// The coding of a token (RFC 9110, section 8.4.1), in any case; `None` for `identity` and for one not known.
    #[must_use]
    pub fn of(token: &str) -> Option<Coding> {
        let is = |name: &str| token.eq_ignore_ascii_case(name);
        if is("gzip") || is("x-gzip") {
            Some(Coding::Gzip)
        } else if is("deflate") {
            Some(Coding::Deflate)
        } else if is("br") {
            Some(Coding::Br)
        } else if is("zstd") {
            Some(Coding::Zstd)
        } else {
            None
        }
    }
}

/// The codings of a body, in the order in which they were applied: the last one is decoded first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Codings(Vec<Coding>);

impl Codings {
    /// These codings, in the order in which they were applied.
    ///
    /// # Errors
    /// There are more than [`CODINGS_MAX`].
    pub fn new(list: Vec<Coding>) -> Result<Codings, CodingError> {
        if list.len() > CODINGS_MAX {
            return Err(CodingError(CodingErrorKind::Limit("the number of content codings")));
        }
        Ok(Codings(list))
    }

    /// The value of a field `Content-Encoding` (RFC 9110, section 8.4; several fields are joined by commas).
    /// `identity` and empty elements (section 5.6.1.2) add nothing.
    ///
    /// ```
    /// use sluice_engine::{Coding, Codings};
    ///
    /// assert_eq!(Codings::parse("gzip, BR")?.list(), [Coding::Gzip, Coding::Br]);
    /// assert!(Codings::parse("identity")?.list().is_empty());
    /// assert!(Codings::parse("compress").is_err());
    /// # Ok::<(), sluice_engine::CodingError>(())
    /// ```
    ///
    /// # Errors
    /// A coding is not known, or there are more than [`CODINGS_MAX`].
    pub fn parse(value: &str) -> Result<Codings, CodingError> {
        let mut list = Vec::new();
        for token in value.split(',').map(|t| t.trim_matches([' ', '\t'])) {
            if token.is_empty() || token.eq_ignore_ascii_case("identity") {
                continue;
            }
            let unknown = CodingError(CodingErrorKind::Invalid("an unknown content coding"));
            list.push(Coding::of(token).ok_or(unknown)?);
            if list.len() > CODINGS_MAX {
                break;
            }
        }
        Codings::new(list)
    }

    /// The codings, in the order in which they were applied.
    #[must_use]
    pub fn list(&self) -> &[Coding] {
        &self.0
    }
}

/// How much a [`Decoder`] may give for what it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodingLimits {
    /// Bytes of output a byte of the body, at most, of each coding of a stack; the body counts by pieces of 4 KiB, so that
    /// its chunks make no difference. A text of one repeated byte reaches 1032 with gzip, and no coding may give more
    /// for one piece, however little the body gave before; real traffic seldom passes 50.
    pub ratio_max: u32,
    /// Bytes of output that are allowed whatever the ratio is: short bodies of little content compress best.
    pub free_bytes: u32,
    /// Base-2 logarithm of the largest window, in bytes: what a decoder remembers of its output. 23 (8 MiB) is what
    /// RFC 8878, section 3.1.1.1.2 asks every decoder of zstd to support; gzip and deflate never pass 15.
    pub window_log_max: u32,
}

impl Default for CodingLimits {
    /// 250 bytes a byte, the first MiB free; windows of 16 MiB, the most of `br`: which is the worst case of memory
    /// for each coding of the stack.
    fn default() -> CodingLimits {
        CodingLimits { ratio_max: 250, free_bytes: 1 << 20, window_log_max: 24 }
    }
}

/// Why a coded body can't be decoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CodingError(CodingErrorKind);

/// The kinds of [`CodingError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CodingErrorKind {
    /// Not valid in its coding; what is wrong.
    Invalid(&'static str),
    /// A limit was passed; its name.
    Limit(&'static str),
}

impl CodingError {
    /// What is wrong.
    #[must_use]
    pub fn kind(&self) -> CodingErrorKind {
        self.0
    }
}

impl fmt::Display for CodingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            CodingErrorKind::Invalid(what) => f.write_str(what),
            CodingErrorKind::Limit(what) => write!(f, "over the limit of {what}"),
        }
    }
}

impl std::error::Error for CodingError {}
