//! Packs: versioned files of rules, as TOML or built, their examples, and the built-in ones.
//!
//! [`Pack::parse`] reads a file and reports every fault at once as `file:line: reason`; [`PackSet`] puts packs
//! together to one [`sluice_engine::Ruleset`]; [`examples`] runs a pack's own examples; [`explain`] says step by
//! step why a rule does or does not match a text. [`Pack::build`] compiles one to a file that loads in milliseconds.
#![forbid(unsafe_code)]

pub mod advice;
mod built;
pub mod builtin;
pub mod exact;
pub mod examples;
pub mod explain;
mod fault;
mod field;
pub mod import;
pub mod overrides;
mod pack;
pub mod read;
pub mod score;
mod set;
pub mod sign;
mod write;

/// The JSON Schema of a pack, for editors.
pub const SCHEMA: &str = include_str!("pack.schema.json");

pub use fault::{Fault, PackError};
pub use field::PackField;
pub use pack::{Example, LIMITS, Limits, Pack, PackRule};
pub use set::{PackSet, SetError, load};
