//! Why an approval can't be asked for, decided or shown. All of it means that no request goes on.

use std::fmt;

use super::approval::Forbidden;
use super::canonical::Uncanonical;

/// Why it did not work. No payload and no row is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApprovalError {
    /// The store is gone, slow or full: what it was asked for may not be done.
    Unavailable(StoreFault),
    /// More is asked for than may wait.
    Overloaded,
    /// The subject has as many pending requests as it may.
    TooManyOfSubject,
    /// Callers who prove nothing may not ask: whoever sends the same request would use the grant.
    Anonymous,
    /// The policies name nobody who could approve it, or more people than [`PLACES_MAX`](super::PLACES_MAX).
    Terms,
    /// The request can be read in more than one way.
    Uncanonical(Uncanonical),
    /// There is no such approval, delegation or delivery.
    NotFound,
    /// The one who asked for it may not.
    Forbidden(Forbidden),
    /// What was asked for is not valid.
    Invalid(&'static str),
    /// It happened and could not be recorded: nothing goes on because of it.
    Unrecorded,
    /// The system gives no random bytes.
    Random,
}

/// What is wrong with the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// It did not answer in time.
    Slow,
    /// No connection to it could be had.
    Unreachable,
    /// It has refused a statement.
    Refused,
    /// What it holds can't be read.
    Unreadable,
    /// It is being closed.
    Closed,
}

impl fmt::Display for ApprovalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ApprovalError::Unavailable(StoreFault::Slow) => "the store of approvals does not answer in time",
            ApprovalError::Unavailable(StoreFault::Unreachable) => "the store of approvals can't be reached",
            ApprovalError::Unavailable(StoreFault::Refused) => {
                "the store of approvals has refused a statement"
            }
            ApprovalError::Unavailable(StoreFault::Unreadable) => {
                "the store of approvals holds what can't be read"
            }
            ApprovalError::Unavailable(StoreFault::Closed) => "the store of approvals is closed",
            ApprovalError::Overloaded => "more approvals are pending than may be",
            ApprovalError::TooManyOfSubject => "the subject has as many pending approvals as it may",
            ApprovalError::Anonymous => "callers who prove nothing can't ask for an approval",
            ApprovalError::Terms => "the policies name nobody who could approve it, or too many people",
            ApprovalError::Uncanonical(why) => return why.fmt(f),
            ApprovalError::NotFound => "there is no such approval",
            ApprovalError::Forbidden(why) => return why.fmt(f),
            ApprovalError::Invalid(why) => why,
            ApprovalError::Unrecorded => "it could not be recorded, so nothing goes on because of it",
            ApprovalError::Random => "the system gives no random bytes",
        })
    }
}

impl std::error::Error for ApprovalError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ApprovalError::Uncanonical(why) => Some(why),
            ApprovalError::Forbidden(why) => Some(why),
            ApprovalError::Unavailable(_)
            | ApprovalError::Overloaded
            | ApprovalError::TooManyOfSubject
            | ApprovalError::Anonymous
            | ApprovalError::Terms
            | ApprovalError::NotFound
            | ApprovalError::Invalid(_)
            | ApprovalError::Unrecorded
            | ApprovalError::Random => None,
        }
    }
}

/// A message of a database may hold values of a row: only its kind is kept.
impl From<sqlx::Error> for ApprovalError {
    fn from(error: sqlx::Error) -> ApprovalError {
        ApprovalError::Unavailable(match error {
            sqlx::Error::PoolTimedOut => StoreFault::Slow,
            sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed => StoreFault::Closed,
            sqlx::Error::Io(_) | sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) => {
                StoreFault::Unreachable
            }
            sqlx::Error::Decode(_)
            | sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::RowNotFound => StoreFault::Unreadable,
            _ => StoreFault::Refused,
        })
    }
}

impl From<serde_json::Error> for ApprovalError {
    fn from(_: serde_json::Error) -> ApprovalError {
        ApprovalError::Unavailable(StoreFault::Unreadable)
    }
}

impl From<Forbidden> for ApprovalError {
    fn from(why: Forbidden) -> ApprovalError {
        ApprovalError::Forbidden(why)
    }
}

impl From<Uncanonical> for ApprovalError {
    fn from(why: Uncanonical) -> ApprovalError {
        ApprovalError::Uncanonical(why)
    }
}

impl From<getrandom::Error> for ApprovalError {
    fn from(_: getrandom::Error) -> ApprovalError {
        ApprovalError::Random
    }
}
