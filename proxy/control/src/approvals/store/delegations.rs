//! Who lends whom their membership, and what is left of memberships that votes rest on.
//!
//! A vote counts for a group as long as nobody has seen its giver without that group. What was lost does not come back,
//! even with an older token that still has it.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sqlx::AnyConnection;

use super::super::approval::Vote;
use super::super::error::ApprovalError;
use super::super::people::Account;
use super::rows::unreadable;

/// Delegations of one account that are looked at.
const OF_ONE_MAX: i64 = 64;

/// A membership that is lent until an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegation {
    /// Its id.
    pub id: String,
    /// Whose membership it is.
    pub lender: Account,
    /// Who may decide with it.
    pub borrower: Account,
    /// Of which groups; those only that the lender has not left since.
    pub groups: Vec<Arc<str>>,
    /// Why.
    pub reason: String,
    /// Since when, in milliseconds since 1970.
    pub created_ms: i64,
    /// Until when.
    pub ends_ms: i64,
    /// When it was taken back; 0: it was not.
    pub revoked_ms: i64,
}

type Row = (String, String, String, String, String, i64, i64, i64);

fn read(
    (id, lender, borrower, groups, reason, created_ms, ends_ms, revoked_ms): Row,
) -> Result<Delegation, ApprovalError> {
    Ok(Delegation {
        id,
        lender: Account::parse(&lender).ok_or_else(unreadable)?,
        borrower: Account::parse(&borrower).ok_or_else(unreadable)?,
        groups: serde_json::from_str(&groups)?,
        reason,
        created_ms,
        ends_ms,
        revoked_ms,
    })
}

/// What is lent to an account now.
pub(crate) async fn to(
    c: &mut AnyConnection,
    borrower: &Account,
    now_ms: i64,
) -> Result<Vec<(Account, Vec<Arc<str>>)>, ApprovalError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, lender, borrower, group_names, reason, created_ms, ends_ms, revoked_ms FROM approval_delegation \
         WHERE borrower = $1 AND ends_ms > $2 AND revoked_ms = 0 ORDER BY ends_ms LIMIT $3",
    )
    .bind(borrower.to_string())
    .bind(now_ms)
    .bind(OF_ONE_MAX)
    .fetch_all(c)
    .await?;
    let lent = rows.into_iter().map(|row| read(row).map(|lent| (lent.lender, lent.groups)));
    lent.collect()
}

/// Those by and to an account that have not ended.
pub(crate) async fn of(
    c: &mut AnyConnection,
    account: &Account,
    now_ms: i64,
) -> Result<Vec<Delegation>, ApprovalError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, lender, borrower, group_names, reason, created_ms, ends_ms, revoked_ms FROM approval_delegation \
         WHERE (borrower = $1 OR lender = $1) AND ends_ms > $2 AND revoked_ms = 0 ORDER BY ends_ms LIMIT $3",
    )
    .bind(account.to_string())
    .bind(now_ms)
    .bind(2 * OF_ONE_MAX)
    .fetch_all(c)
    .await?;
    rows.into_iter().map(read).collect()
}

/// Lends a membership.
pub(crate) async fn insert(c: &mut AnyConnection, lent: &Delegation) -> Result<(), ApprovalError> {
    let sql =
        "SELECT COUNT(*) FROM approval_delegation WHERE lender = $1 AND ends_ms > $2 AND revoked_ms = 0";
    let open: i64 = sqlx::query_scalar(sql)
        .bind(lent.lender.to_string())
        .bind(lent.created_ms)
        .fetch_one(&mut *c)
        .await?;
    if open >= OF_ONE_MAX {
        return Err(ApprovalError::Overloaded);
    }
    sqlx::query(
        "INSERT INTO approval_delegation (id, lender, borrower, group_names, reason, created_ms, ends_ms, revoked_ms) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, 0)",
    )
    .bind(lent.id.as_str())
    .bind(lent.lender.to_string())
    .bind(lent.borrower.to_string())
    .bind(serde_json::to_string(&lent.groups)?)
    .bind(lent.reason.as_str())
    .bind(lent.created_ms)
    .bind(lent.ends_ms)
    .execute(c)
    .await?;
    Ok(())
}

/// Takes a membership back; only its lender can.
pub(crate) async fn revoke(
    c: &mut AnyConnection,
    id: &str,
    lender: &Account,
    now_ms: i64,
) -> Result<(), ApprovalError> {
    let sql =
        "UPDATE approval_delegation SET revoked_ms = $1 WHERE id = $2 AND lender = $3 AND revoked_ms = 0";
    let done = sqlx::query(sql).bind(now_ms).bind(id).bind(lender.to_string()).execute(c).await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(ApprovalError::NotFound) }
}

/// The votes on pending approvals, and the delegations, that rest on a membership which the account no longer has.
async fn lost(c: &mut AnyConnection, account: &Account, groups: &[Arc<str>]) -> Result<Lost, ApprovalError> {
    let votes: Vec<(String, i64, String)> = sqlx::query_as(
        "SELECT v.approval_id, v.n, v.body FROM approval_vote v JOIN approval a ON a.id = v.approval_id \
         WHERE v.member = $1 AND a.state = 'pending'",
    )
    .bind(account.to_string())
    .fetch_all(&mut *c)
    .await?;
    let mut lost = Lost::default();
    for (id, n, body) in votes {
        let vote: Vote = serde_json::from_str(&body)?;
        let left: Vec<Arc<str>> = vote.groups.iter().filter(|g| groups.contains(g)).cloned().collect();
        if left.len() != vote.groups.len() {
            lost.votes.push((id, n, serde_json::to_string(&Vote { groups: left, ..vote })?));
        }
    }
    let lent: Vec<(String, String)> = sqlx::query_as(
        "SELECT id, group_names FROM approval_delegation WHERE lender = $1 AND revoked_ms = 0",
    )
    .bind(account.to_string())
    .fetch_all(c)
    .await?;
    for (id, names) in lent {
        let held: Vec<Arc<str>> = serde_json::from_str(&names)?;
        let left: Vec<&Arc<str>> = held.iter().filter(|g| groups.contains(g)).collect();
        if left.len() != held.len() {
            lost.delegations.push((id, serde_json::to_string(&left)?));
        }
    }
    Ok(lost)
}

#[derive(Debug, Default)]
struct Lost {
    votes: Vec<(String, i64, String)>,
    delegations: Vec<(String, String)>,
}

/// Whether something rests on a membership that the account, which was just proved to be in `groups`, has not any more.
pub(crate) async fn has_lost(
    c: &mut AnyConnection,
    account: &Account,
    groups: &[Arc<str>],
) -> Result<bool, ApprovalError> {
    let lost = lost(c, account, groups).await?;
    Ok(!lost.votes.is_empty() || !lost.delegations.is_empty())
}

/// Takes from votes and delegations what the account has lost.
pub(crate) async fn take_lost(
    c: &mut AnyConnection,
    account: &Account,
    groups: &[Arc<str>],
) -> Result<(), ApprovalError> {
    let lost = lost(c, account, groups).await?;
    for (id, n, body) in lost.votes {
        let sql = "UPDATE approval_vote SET body = $1 WHERE approval_id = $2 AND n = $3";
        sqlx::query(sql).bind(body).bind(id).bind(n).execute(&mut *c).await?;
    }
    for (id, names) in lost.delegations {
        let sql = "UPDATE approval_delegation SET group_names = $1 WHERE id = $2";
        sqlx::query(sql).bind(names).bind(id).execute(&mut *c).await?;
    }
    Ok(())
}
