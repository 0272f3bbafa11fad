//! Cases of the benches, as data with their answers.
#![forbid(unsafe_code)]
