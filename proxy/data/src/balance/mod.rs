//! Which target an exchange goes to, whether it may be sent again, and when it has to wait: machines without I/O, each
//! owned by one shard, told the time by who calls them.
//!
//! [`Endpoints`] chooses among the targets of an upstream and leaves out those that fail; [`attempt_order`] is the
//! order in which a connection is tried; [`RetryBudget`] keeps retries a small part of all requests; [`Slots`] bounds
//! how many exchanges run and wait. Limits by time are [`crate::rate`]'s, which shards share.

mod attempts;
mod budget;
mod endpoints;
mod slots;

pub(crate) use attempts::{ATTEMPT_DELAY, attempt_order};
pub(crate) use budget::RetryBudget;
pub(crate) use endpoints::{Endpoints, Exchange, Outcome, TargetAddress, TargetId, TargetView};
pub(crate) use slots::{Full, Slot, Slots, Waiting};
