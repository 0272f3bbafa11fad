//! `bench/cases.toml`: the cases of all benches.

use serde::Deserialize;

use crate::{formats, input};

/// All cases.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cases {
    /// Of the bench `formats`.
    pub case: Vec<formats::Case>,
    /// Of the bench `engine`.
    pub engine: Vec<input::Case>,
}

impl Cases {
    /// Reads them.
    ///
    /// # Panics
    /// When `cases.toml` is not as it should be.
    #[must_use]
    pub fn read() -> Cases {
        toml::from_str(include_str!("../cases.toml")).expect("cases.toml is as it should be")
    }
}
