//! What a compiler can't hold: who may depend on whom, what a file may name, how long it may be, which words it uses,
//! whether its links lead anywhere.
//!
//! Each check collects every fault and names it as `file:line: reason`, then asserts that there is none. The checks
//! read the working tree as git lists it, so a new file is held before it is committed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dependencies;
mod links;
mod sources;
mod words;

/// Fails with every fault, a line each.
#[track_caller]
fn assert_none(faults: &[String]) {
    assert!(faults.is_empty(), "{} faults\n{}", faults.len(), faults.join("\n"));
}
