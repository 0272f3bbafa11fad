//! HTTP/1.1 (RFC 9110, RFC 9112) without I/O: heads and body framing, read strictly and written plainly.
//!
//! What two parties could read differently is refused, never repaired: that is where requests are smuggled.
#![deny(clippy::indexing_slicing)]

pub mod body;
mod deciding;
pub mod fields;
pub mod head;
pub mod target;
