//! Who may do what: pure functions over what is known of a caller and a request.
//!
//! A [`Subject`] is what was proved of a caller, [`Facts`] what is known of a request; policies make a [`Verdict`] of
//! both. Nothing here does I/O or reads a clock.
#![forbid(unsafe_code)]

mod access;
mod facts;
mod subject;
mod verdict;

pub use access::{Access, AccessError};
pub use facts::{BodyFacts, Facts, Statement};
pub use subject::{Kind, Proof, Subject};
pub use verdict::{Action, ApprovalTerms, Decision, FieldList, ResponseLimits, Risk, Verdict};
