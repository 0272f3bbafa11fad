//! Rows, and how they become an approval.

use serde::{Deserialize, Serialize};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Row};

use super::super::approval::{Approval, Vote};
use super::super::error::{ApprovalError, StoreFault};
use super::super::people::Account;
use super::super::request::{ApprovalId, Detail};
use super::super::state::{GrantKind, State};

/// A review of a broken glass.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Review {
    /// The approval.
    pub approval: ApprovalId,
    /// Who broke the glass.
    pub broken_by: Account,
    /// When, in milliseconds since 1970.
    pub opened_ms: i64,
    /// Who closed it; none while it is open.
    pub closed_by: Option<Account>,
    /// When it was closed; 0 while it is open.
    pub closed_ms: i64,
    /// What they found.
    pub note: String,
}

/// The columns of `approval` that [`approval`] reads, behind `SELECT` or `RETURNING`.
macro_rules! columns {
    () => {
        "id, kind, state, upstream, operation, policy_version, created_ms, expires_ms, ended_ms, grant_ms, \
         glass_broken, reason, seq"
    };
}
pub(super) use columns;

pub(super) fn unreadable() -> ApprovalError {
    ApprovalError::Unavailable(StoreFault::Unreadable)
}

pub(super) fn id(text: &str) -> Result<ApprovalId, ApprovalError> {
    ApprovalId::parse(text).ok_or_else(unreadable)
}

pub(super) fn state(text: &str) -> Result<State, ApprovalError> {
    State::named(text).ok_or_else(unreadable)
}

/// The approval in a row of these columns, with its detail and votes.
pub(super) async fn approval(c: &mut AnyConnection, row: &AnyRow) -> Result<Approval, ApprovalError> {
    let text = |name: &str| row.try_get::<String, _>(name);
    let number = |name: &str| row.try_get::<i64, _>(name);
    let id = id(&text("id")?)?;
    let body: String = sqlx::query_scalar("SELECT body FROM approval_detail WHERE approval_id = $1")
        .bind(id.as_str())
        .fetch_one(&mut *c)
        .await?;
    let detail: Detail = serde_json::from_str(&body)?;
    let votes = votes(c, &id).await?;
    let kinds = [GrantKind::Single, GrantKind::Window];
    let kind = text("kind")?;
    let ended_ms = number("ended_ms")?;
    Ok(Approval {
        kind: kinds.into_iter().find(|k| k.name() == kind).ok_or_else(unreadable)?,
        state: state(&text("state")?)?,
        upstream: text("upstream")?.into(),
        operation: text("operation")?.into(),
        policy_version: text("policy_version")?.into(),
        created_ms: number("created_ms")?,
        expires_ms: number("expires_ms")?,
        ended_ms: (ended_ms != 0).then_some(ended_ms),
        grant_ms: number("grant_ms")?,
        is_glass_broken: number("glass_broken")? != 0,
        reason: text("reason")?,
        seq: number("seq")?,
        id,
        detail,
        votes,
    })
}

async fn votes(c: &mut AnyConnection, id: &ApprovalId) -> Result<Vec<Vote>, ApprovalError> {
    let bodies: Vec<String> =
        sqlx::query_scalar("SELECT body FROM approval_vote WHERE approval_id = $1 ORDER BY n")
            .bind(id.as_str())
            .fetch_all(c)
            .await?;
    bodies.iter().map(|body| Ok(serde_json::from_str(body)?)).collect()
}

/// The approval of this id as it is.
pub(crate) async fn find(c: &mut AnyConnection, id: &ApprovalId) -> Result<Approval, ApprovalError> {
    let sql = concat!("SELECT ", columns!(), " FROM approval WHERE id = $1");
    let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&mut *c).await?;
    approval(c, &row.ok_or(ApprovalError::NotFound)?).await
}

/// The same, held for this transaction, and with its next number.
pub(super) async fn hold(c: &mut AnyConnection, id: &ApprovalId) -> Result<Approval, ApprovalError> {
    let sql = concat!("UPDATE approval SET seq = seq + 1 WHERE id = $1 RETURNING ", columns!());
    let row = sqlx::query(sql).bind(id.as_str()).fetch_optional(&mut *c).await?;
    approval(c, &row.ok_or(ApprovalError::NotFound)?).await
}

/// The review of an approval.
pub(crate) async fn review(c: &mut AnyConnection, id: &ApprovalId) -> Result<Option<Review>, ApprovalError> {
    let sql = "SELECT approval_id, broken_by, opened_ms, closed_by, closed_ms, note FROM approval_review \
               WHERE approval_id = $1";
    let row = sqlx::query_as(sql).bind(id.as_str()).fetch_optional(c).await?;
    row.map(read_review).transpose()
}

/// A row of `approval_review`.
pub(super) type ReviewRow = (String, String, i64, String, i64, String);

pub(super) fn read_review(row: ReviewRow) -> Result<Review, ApprovalError> {
    let (approval, broken_by, opened_ms, closed_by, closed_ms, note) = row;
    Ok(Review {
        approval: id(&approval)?,
        broken_by: Account::parse(&broken_by).ok_or_else(unreadable)?,
        opened_ms,
        closed_by: Account::parse(&closed_by),
        closed_ms,
        note,
    })
}
