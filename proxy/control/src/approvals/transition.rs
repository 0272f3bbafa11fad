//! What is told of every transition: to the record, to live listeners, to webhooks.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::people::Account;
use super::request::ApprovalId;
use super::state::{GrantKind, State, Step};

/// A transition of an approval: who, why, when, from where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The approval.
    pub approval: ApprovalId,
    /// 1 for the first of an approval, one more for each.
    pub seq: i64,
    /// When, in milliseconds since 1970.
    pub at_ms: i64,
    /// What happened.
    pub step: Step,
    /// The state before; none where it was asked for.
    pub from: Option<State>,
    /// The state after.
    pub to: State,
    /// What it gives.
    pub kind: GrantKind,
    /// Who did it; none: time, or the gateway itself.
    pub who: Option<Account>,
    /// Whose membership it rests on, where it was delegated.
    pub on_behalf_of: Option<Account>,
    /// The reason that was given.
    pub why: String,
    /// From where.
    pub origin: Origin,
    /// Who asked for the approval.
    pub subject: Account,
    /// The configured name of the upstream.
    pub upstream: Arc<str>,
    /// What the request does.
    pub operation: Arc<str>,
    /// The version of the policies.
    pub policy_version: Arc<str>,
    /// The policies.
    pub policies: Vec<Arc<str>>,
    /// SHA-256 over the canonical request in hexadecimal: of the request that was asked for, or that went through a
    /// window.
    pub digest: Option<String>,
    /// The exchange that it belongs to; of a use, the one that went through.
    pub request_id: String,
    /// The risk's score.
    pub risk: u32,
    /// Someone overrode the people who are asked: an alert.
    pub is_alert: bool,
}

/// Where a transition came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// By which way.
    pub via: Via,
    /// The address of the peer, where there is one.
    pub address: String,
}

/// A way by which transitions come about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Via {
    /// A request of the data path.
    #[default]
    DataPath,
    /// The admin API: `sluice approvals`, the approvals page, scripts.
    Api,
    /// A button in Slack.
    Slack,
    /// Its time was over.
    Sweeper,
}

/// The transition could not be recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SinkError;

impl fmt::Display for SinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the transition could not be recorded")
    }
}

impl std::error::Error for SinkError {}

/// What [`TransitionSink::record`] gives.
pub type Recorded<'a> = Pin<Box<dyn Future<Output = Result<(), SinkError>> + Send + 'a>>;

/// Takes every transition into a record.
///
/// A transition is given again until it was taken once, so one that was taken and not acknowledged comes twice:
/// `(approval, seq)` tells. Until all of an approval's transitions are taken, nothing goes on because of it.
pub trait TransitionSink: Send + Sync {
    /// Takes it; done when it is durable.
    fn record<'a>(&'a self, transition: &'a Transition) -> Recorded<'a>;
}
