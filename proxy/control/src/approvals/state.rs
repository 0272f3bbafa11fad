//! The states of an approval, and every way from one to another.
//!
//! ```text
//!              vote                                  use (of a window)
//!            ┌──────┐                                 ┌──────┐
//!            │      ▼     approve · break glass       │      ▼
//!     ask ─► PENDING ─────────────────────────────►  APPROVED ─── consume ─► CONSUMED
//!            │ │ │                                    │   │                 (a single grant)
//!       deny │ │ │ cancel                      expire │   │ revoke
//!            ▼ │ ▼                                    ▼   ▼
//!       DENIED │ CANCELLED                     EXPIRED    REVOKED
//!              └── expire ─► EXPIRED
//! ```
//!
//! Nothing leads out of a state in the last two rows: what has ended stays ended.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What an approval gives once it is approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GrantKind {
    /// One request goes on, once.
    Single,
    /// Requests in a scope go on for a time.
    Window,
}

/// Where an approval stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// People have not decided yet.
    Pending,
    /// It can be consumed, or used while its window is open.
    Approved,
    /// Someone said no.
    Denied,
    /// Nobody decided in time, or the grant was not consumed in time, or the window's time is over.
    Expired,
    /// The client left, or took the request back.
    Cancelled,
    /// The request has gone on.
    Consumed,
    /// It was taken back after it had been approved.
    Revoked,
}

/// What happens to an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// It was asked for.
    Ask,
    /// Someone agreed, and others are still needed.
    Vote,
    /// Someone agreed, and no one else is needed.
    Approve,
    /// Someone of the break-glass group overrode the others; a review is open.
    BreakGlass,
    /// Someone said no.
    Deny,
    /// Its time is over.
    Expire,
    /// The client left, or took it back.
    Cancel,
    /// The request goes on.
    Consume,
    /// A request goes on through the window.
    Use,
    /// It was taken back.
    Revoke,
    /// The review of a broken glass was closed; the state stays.
    Review,
}

/// A step that the state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotNow {
    /// Where the approval stands.
    pub state: State,
    /// What was tried.
    pub step: Step,
}

impl fmt::Display for NotNow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the approval is {}: {} is not possible any more", self.state.name(), self.step.name())
    }
}

impl std::error::Error for NotNow {}

impl State {
    /// Every state.
    pub const ALL: [State; 7] = [
        State::Pending,
        State::Approved,
        State::Denied,
        State::Expired,
        State::Cancelled,
        State::Consumed,
        State::Revoked,
    ];

    /// The state behind a step.
    ///
    /// # Errors
    /// The step does not lead out of this state.
    pub fn after(self, step: Step, kind: GrantKind) -> Result<State, NotNow> {
        match (self, step, kind) {
            (State::Pending, Step::Vote, _) => Ok(State::Pending),
            (State::Pending, Step::Approve | Step::BreakGlass, _) => Ok(State::Approved),
            (State::Pending, Step::Deny, _) => Ok(State::Denied),
            (State::Pending, Step::Cancel, _) => Ok(State::Cancelled),
            (State::Pending | State::Approved, Step::Expire, _) => Ok(State::Expired),
            (State::Approved, Step::Consume, GrantKind::Single) => Ok(State::Consumed),
            (State::Approved, Step::Use, GrantKind::Window) => Ok(State::Approved),
            (State::Approved, Step::Revoke, _) => Ok(State::Revoked),
            // A review looks back: it is closed whatever has become of the grant, and changes nothing of it.
            (State::Approved | State::Expired | State::Consumed | State::Revoked, Step::Review, _) => {
                Ok(self)
            }
            (State::Pending, Step::Ask | Step::Consume | Step::Use | Step::Revoke | Step::Review, _)
            | (
                State::Approved,
                Step::Ask | Step::Vote | Step::Approve | Step::BreakGlass | Step::Deny | Step::Cancel,
                _,
            )
            | (State::Approved, Step::Consume, GrantKind::Window)
            | (State::Approved, Step::Use, GrantKind::Single)
            | (
                State::Denied | State::Cancelled,
                Step::Ask
                | Step::Vote
                | Step::Approve
                | Step::BreakGlass
                | Step::Deny
                | Step::Expire
                | Step::Cancel
                | Step::Consume
                | Step::Use
                | Step::Revoke
                | Step::Review,
                _,
            )
            | (
                State::Expired | State::Consumed | State::Revoked,
                Step::Ask
                | Step::Vote
                | Step::Approve
                | Step::BreakGlass
                | Step::Deny
                | Step::Expire
                | Step::Cancel
                | Step::Consume
                | Step::Use
                | Step::Revoke,
                _,
            ) => Err(NotNow { state: self, step }),
        }
    }

    /// Whether time ends it.
    #[must_use]
    pub fn is_open(self) -> bool {
        matches!(self, State::Pending | State::Approved)
    }

    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Pending => "pending",
            State::Approved => "approved",
            State::Denied => "denied",
            State::Expired => "expired",
            State::Cancelled => "cancelled",
            State::Consumed => "consumed",
            State::Revoked => "revoked",
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<State> {
        State::ALL.into_iter().find(|state| state.name() == name)
    }
}

impl Step {
    /// Every step.
    pub const ALL: [Step; 11] = [
        Step::Ask,
        Step::Vote,
        Step::Approve,
        Step::BreakGlass,
        Step::Deny,
        Step::Expire,
        Step::Cancel,
        Step::Consume,
        Step::Use,
        Step::Revoke,
        Step::Review,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Step::Ask => "ask",
            Step::Vote => "vote",
            Step::Approve => "approve",
            Step::BreakGlass => "break_glass",
            Step::Deny => "deny",
            Step::Expire => "expire",
            Step::Cancel => "cancel",
            Step::Consume => "consume",
            Step::Use => "use",
            Step::Revoke => "revoke",
            Step::Review => "review",
        }
    }
}

impl GrantKind {
    /// As it is stored and shown.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            GrantKind::Single => "single",
            GrantKind::Window => "window",
        }
    }
}
