//! From rules to automata.

pub(crate) mod automaton;
mod buckets;
pub(crate) mod expression;
pub(crate) mod family;
mod grams;
pub(crate) mod group;
pub(crate) mod holds;
#[cfg(feature = "hyperscan")]
pub(crate) mod hyperscan;
pub(crate) mod lazy;
pub(crate) mod parts;
pub(crate) mod path;
pub(crate) mod prefilter;
pub(crate) mod runs;
pub(crate) mod sets;
pub(crate) mod symbol;
pub(crate) mod table;
pub(crate) mod threads;
pub(crate) mod tracker;
pub(crate) mod window;
pub(crate) mod words;
