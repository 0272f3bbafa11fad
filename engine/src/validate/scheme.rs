//! Public numbering schemes by name: what packs name as a validator beyond those of [`crate::Validator`].
//!
//! Each entry says where its arithmetic is published. A scheme takes the value as it stands in the text, with the usual
//! separators and, for tax numbers, with or without the letters of the country. A number of one digit repeated is a
//! placeholder and is refused by all of them.

use std::fmt;

use super::{
    americas, asia, central_europe, eastern_europe, global, northern_europe, southern_europe,
    southern_hemisphere, western_europe,
};

/// A numbering scheme with check digits.
///
/// ```
/// use sluice_engine::Scheme;
///
/// let scheme = Scheme::find("nl_bsn").ok_or("no such scheme")?;
/// assert!(scheme.accepts(b"1112.22.333"));
/// assert!(!scheme.accepts(b"1112.22.334"));
/// # Ok::<(), &str>(())
/// ```
pub struct Scheme {
    pub(super) name: &'static str,
    pub(super) source: &'static str,
    pub(super) accepts: fn(&[u8]) -> bool,
}

impl Scheme {
    /// The scheme of that name.
    #[must_use]
    pub fn find(name: &str) -> Option<&'static Scheme> {
        Scheme::all().find(|scheme| scheme.name == name)
    }

    /// All of them, by region.
    pub fn all() -> impl Iterator<Item = &'static Scheme> {
        let regions = [
            global::SCHEMES,
            western_europe::SCHEMES,
            northern_europe::SCHEMES,
            southern_europe::SCHEMES,
            central_europe::SCHEMES,
            eastern_europe::SCHEMES,
            americas::SCHEMES,
            asia::SCHEMES,
            southern_hemisphere::SCHEMES,
        ];
        regions.into_iter().flatten()
    }

    /// The name in packs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where its arithmetic is published.
    #[must_use]
    pub fn source(&self) -> &'static str {
        self.source
    }

    /// True when `value` is a number of the scheme. Never panics, whatever the bytes.
    #[must_use]
    pub fn accepts(&self, value: &[u8]) -> bool {
        (self.accepts)(value)
    }
}

impl fmt::Debug for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Scheme").field(&self.name).finish()
    }
}

impl PartialEq for Scheme {
    fn eq(&self, other: &Scheme) -> bool {
        self.name == other.name
    }
}

#[cfg(test)]
mod tests;
