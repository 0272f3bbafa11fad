//! From rules to automata.

pub(crate) mod automaton;
pub(crate) mod expression;
pub(crate) mod prefilter;
pub(crate) mod tracker;
