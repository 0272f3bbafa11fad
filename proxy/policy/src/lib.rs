//! Who may do what: pure functions over what is known of a caller and a request.
//!
//! A [`Subject`] is what was proved of a caller, [`Facts`] what is known of a request; a [`PolicySet`] makes a
//! [`Verdict`] of both. Nothing here does I/O or reads a clock.
#![forbid(unsafe_code)]

mod access;
mod condition;
mod facts;
mod operation;
mod pattern;
mod set;
mod subject;
mod verdict;

pub use access::{Access, AccessError};
pub use facts::{BodyFacts, FACT_LIMITS, FactLimits, Facts, Statement};
pub use operation::{
    BucketIn, Protocol, SQL_DIALECTS, SqlDialect, SqlPlace, Surface, path_model, statement_operations,
};
pub use set::{PolicyError, PolicySet};
pub use subject::{Kind, Proof, Subject};
pub use verdict::{Action, ApprovalTerms, Decision, FieldList, ResponseLimits, Risk, Verdict};
