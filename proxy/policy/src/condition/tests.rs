//! Conditions: what is refused when they are read, and what holds.
