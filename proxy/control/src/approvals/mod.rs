//! Approvals: people decide over requests that no policy decides alone.
//!
//! A grant is given for one request, told by the SHA-256 of its canonical form ([`canonical_digest`]), and used up once;
//! or for a window: a scope, for a time. The rules stand in pure code ([`State`], and what people may do to an approval);
//! the store applies them under the lock of a row, in one transaction with the [`Transition`] that tells of it. In doubt,
//! whoever asks is refused.

mod approval;
mod canonical;
mod clock;
mod decide;
mod error;
mod notify;
mod people;
mod quorum;
mod request;
mod service;
mod settings;
mod state;
mod store;
mod transition;
mod view;
mod web;
mod worker;

pub use approval::{BreakGlass, Forbidden, REASON_BYTES_MAX, VOTES_MAX};
pub use canonical::{BODY_BYTES_MAX, CanonicalParts, RequestDigest, Uncanonical, canonical_digest};
pub use clock::{SystemTimeSource, TimeSource};
pub use decide::{DelegationRequest, WindowGroup, WindowRequest};
pub use error::{ApprovalError, StoreFault};
pub use people::{Account, AcrossIssuers, People, Person, Sameness};
pub use quorum::PLACES_MAX;
pub use request::{ApprovalId, ApprovalRequest, Asked, MaskedPreview, PREVIEW_BYTES_MAX, Scope, SubjectView};
pub use service::{Approvals, Watch};
pub use settings::{DELEGATION_MS_MAX, Settings, Slack, WINDOW_MS_MAX, Webhook};
pub use state::{GrantKind, NotNow, State, Step};
pub use store::{Database, Delegation, Review};
pub use transition::{Origin, Recorded, SinkError, Transition, TransitionSink, Via};
pub use web::{Authenticate, Authenticated, Unauthenticated, routes};

#[cfg(test)]
pub(crate) mod tests;
