//! The record of exchanges. For now it holds what names an exchange everywhere: its id.
#![forbid(unsafe_code)]

mod request_id;

pub use request_id::{RequestId, RequestIds};
