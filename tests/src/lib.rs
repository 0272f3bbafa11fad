//! The harness of the end-to-end tests.
//!
//! Tests start the real `sluice` binary on port 0, talk to it over raw sockets and play its upstream themselves, so
//! that every byte on either side is the test's own. Nothing here sleeps: a test waits for bytes, for a line of
//! output or for an exit, each with a deadline that fails the test when it passes.
//!
//! A harness fails by panicking: that is what makes a test fail.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

pub mod checkout;
