//! Who may do what: pure functions over what is known of a caller and a request.
//!
//! A [`Subject`] is what was proved of a caller, [`Facts`] what is known of a request; a [`PolicySet`] makes a
//! [`Verdict`] of both. Nothing here does I/O or reads a clock.
#![forbid(unsafe_code)]

mod access;
mod body;
pub mod cases;
mod condition;
mod facts;
mod operation;
mod pattern;
mod request;
mod risk;
mod set;
mod state;
mod subject;
mod verdict;

pub use access::{Access, AccessError};
pub use body::Unreadable;
pub use facts::{BodyFacts, FACT_LIMITS, FactLimits, Facts, Statement};
pub use operation::{
    BucketIn, PROTOCOLS, Protocol, SQL_DIALECTS, SqlDialect, SqlPlace, Surface, path_model,
    statement_operations,
};
pub use request::Request;
pub use set::{Considered, Explanation, FILE_BYTES_MAX, PolicyError, PolicySet};
pub use state::{Memory, MemoryLimits, Usage};
pub use subject::{Kind, Proof, Subject};
pub use verdict::{Action, ApprovalTerms, Decision, FieldList, ResponseLimits, Risk, Verdict};
