//! The packs that come with Sluice.

use crate::{Pack, PackError};

/// A pack compiled into the binary.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// As commands name it: `builtin:secrets`.
    pub name: &'static str,
    pub(crate) text: &'static str,
}

/// All built-in packs; together they are the default.
pub const ALL: &[Builtin] = &[
    Builtin { name: "builtin:secrets", text: include_str!("../packs/secrets.toml") },
    Builtin { name: "builtin:pii", text: include_str!("../packs/pii.toml") },
];

impl Builtin {
    /// Parses it.
    ///
    /// # Errors
    /// None in a release: a test parses all of them.
    pub fn load(self) -> Result<Pack, PackError> {
        Pack::parse(self.name, self.text)
    }
}

/// The built-in pack of that name.
#[must_use]
pub fn find(name: &str) -> Option<Builtin> {
    ALL.iter().copied().find(|b| b.name == name)
}
