//! How approvals are run: times, limits, people, and who is told.

use std::fmt;
use std::sync::Arc;

use secrecy::SecretString;

use super::approval::BreakGlass;
use super::people::People;
use super::store::Database;

/// The longest window.
pub const WINDOW_MS_MAX: i64 = 8 * 3_600_000;
/// The longest delegation: 30 days.
pub const DELEGATION_MS_MAX: i64 = 30 * 86_400_000;

/// How approvals are run.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where they are kept.
    pub database: Database,
    /// How long people have to decide. Default: 15 minutes.
    pub pending_ms: i64,
    /// How long a grant is good. Default: 10 minutes.
    pub grant_ms: i64,
    /// How long a denial answers for the same request. Default: 15 minutes.
    pub denial_ms: i64,
    /// How long approvals are kept after their end. Default: 30 days.
    pub kept_ms: i64,
    /// The longest that anyone waits for the store. Default: 2 seconds.
    pub op_ms_max: u64,
    /// Seconds after which a request that was sent back is worth sending again. Default: 5.
    pub retry_after_s: u32,
    /// Pending approvals, each of about 20 KiB at most in the store. Default: 200,000.
    pub pending_max: i64,
    /// Pending approvals of one subject. Default: 100.
    pub pending_of_subject_max: i64,
    /// Callers who prove nothing may ask, and use each other's grants. Default: they may not.
    pub anonymous: bool,
    /// Who is who.
    pub people: Arc<People>,
    /// Who may override the others. None: nobody.
    pub break_glass: Option<Arc<BreakGlass>>,
    /// Whom transitions are sent to.
    pub webhooks: Vec<Webhook>,
    /// Where people are asked in Slack.
    pub slack: Option<Slack>,
    /// How often a delivery is tried before it is a dead letter. Default: 12, over about two hours.
    pub tries_max: i64,
    /// Where the approvals page is, for links in messages.
    pub page_url: Option<String>,
}

impl Settings {
    /// The defaults with this database.
    #[must_use]
    pub fn new(database: Database) -> Settings {
        Settings {
            database,
            pending_ms: 15 * 60_000,
            grant_ms: 10 * 60_000,
            denial_ms: 15 * 60_000,
            kept_ms: 30 * 86_400_000,
            op_ms_max: 2_000,
            retry_after_s: 5,
            pending_max: 200_000,
            pending_of_subject_max: 100,
            anonymous: false,
            people: Arc::default(),
            break_glass: None,
            webhooks: Vec::new(),
            slack: None,
            tries_max: 12,
            page_url: None,
        }
    }
}

/// Whom transitions are sent to.
#[derive(Clone)]
pub struct Webhook {
    /// Its name, unique; not `slack`.
    pub name: String,
    /// Where they are posted. It may hold a secret.
    pub url: SecretString,
    /// The key of their signatures (HMAC-SHA-256).
    pub secret: SecretString,
}

impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A channel of Slack, or of what speaks like it.
#[derive(Clone)]
pub struct Slack {
    /// The incoming webhook.
    pub url: SecretString,
    /// What callbacks are signed with.
    pub signing_secret: SecretString,
}

impl fmt::Debug for Slack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slack").finish_non_exhaustive()
    }
}
