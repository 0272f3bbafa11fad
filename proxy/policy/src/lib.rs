//! Who may do what: pure functions over what is known of a caller and a request.
//!
//! There is one question so far: whether a gateway may serve callers whose identity nobody proves.
#![forbid(unsafe_code)]

mod access;

pub use access::{Access, AccessError};
