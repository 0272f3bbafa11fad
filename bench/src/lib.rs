//! Benches with checked answers, their cases as data in `bench/cases.toml`.
//!
//! * `engine` scans raw bytes, beside a peer (`peer`) where the feature `hyperscan` is on: [`input`] makes the documents,
//!   [`import`] and [`synthetic`] the rules, [`measure`] the figures, [`report`] the table. [`differential`] compares the
//!   matches of the two.
//! * `formats` masks whole documents of a format ([`formats`]).
//! * `codings` masks through content codings, beside the same libraries without masking.
#![forbid(unsafe_code)]
#![allow(clippy::expect_used, clippy::panic)]

pub mod cases;
pub mod contender;
pub mod corpus;
pub mod differential;
pub mod formats;
pub mod import;
pub mod input;
pub mod machine;
pub mod measure;
pub mod pcre;
#[cfg(feature = "hyperscan")]
pub mod peer;
pub mod random;
pub mod report;
pub mod synthetic;
