//! What is to be sent out: written with the transition that causes it, sent until it was taken, or dead.

use sqlx::AnyConnection;

use super::super::error::ApprovalError;

/// Deliveries that are taken at once.
const BATCH_MAX: i64 = 32;
/// Dead letters that are listed.
const DEAD_MAX: i64 = 500;

/// Something to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) id: String,
    pub(crate) target: String,
    pub(crate) approval: String,
    pub(crate) created_ms: i64,
    pub(crate) due_ms: i64,
    /// How often it was tried.
    pub(crate) tries: i64,
    pub(crate) last_error: String,
    /// The transition, as JSON.
    pub(crate) body: String,
}

type Row = (String, String, String, i64, i64, i64, String, String);

fn read((id, target, approval, created_ms, due_ms, tries, last_error, body): Row) -> Delivery {
    Delivery { id, target, approval, created_ms, due_ms, tries, last_error, body }
}

/// What is due, held until `lease_ms` from now: no other node takes it before.
pub(crate) async fn take_due(
    c: &mut AnyConnection,
    now_ms: i64,
    lease_ms: i64,
) -> Result<Vec<Delivery>, ApprovalError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, target, approval_id, created_ms, due_ms, tries, last_error, body FROM approval_delivery \
         WHERE state = 'due' AND due_ms <= $1 ORDER BY due_ms LIMIT $2",
    )
    .bind(now_ms)
    .bind(BATCH_MAX)
    .fetch_all(&mut *c)
    .await?;
    let mut taken = Vec::new();
    for delivery in rows.into_iter().map(read) {
        let sql = "UPDATE approval_delivery SET due_ms = $1, tries = tries + 1 WHERE id = $2 AND due_ms = $3 AND state = 'due'";
        let held = sqlx::query(sql)
            .bind(now_ms.saturating_add(lease_ms))
            .bind(delivery.id.as_str())
            .bind(delivery.due_ms)
            .execute(&mut *c)
            .await?;
        if held.rows_affected() == 1 {
            taken.push(Delivery { tries: delivery.tries + 1, ..delivery });
        }
    }
    Ok(taken)
}

/// It was taken.
pub(crate) async fn done(c: &mut AnyConnection, id: &str) -> Result<(), ApprovalError> {
    sqlx::query("DELETE FROM approval_delivery WHERE id = $1").bind(id).execute(c).await?;
    Ok(())
}

/// It was not taken: it is due again, or dead where `due_ms` is none.
pub(crate) async fn failed(
    c: &mut AnyConnection,
    id: &str,
    due_ms: Option<i64>,
    error: &str,
) -> Result<(), ApprovalError> {
    let sql = "UPDATE approval_delivery SET state = $1, due_ms = $2, last_error = $3 WHERE id = $4";
    let state = if due_ms.is_some() { "due" } else { "dead" };
    sqlx::query(sql).bind(state).bind(due_ms.unwrap_or(0)).bind(error).bind(id).execute(c).await?;
    Ok(())
}

/// The dead letters, oldest first.
pub(crate) async fn dead(c: &mut AnyConnection) -> Result<Vec<Delivery>, ApprovalError> {
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT id, target, approval_id, created_ms, due_ms, tries, last_error, body FROM approval_delivery \
         WHERE state = 'dead' ORDER BY created_ms LIMIT $1",
    )
    .bind(DEAD_MAX)
    .fetch_all(c)
    .await?;
    Ok(rows.into_iter().map(read).collect())
}

/// A dead letter is tried again.
pub(crate) async fn revive(c: &mut AnyConnection, id: &str, now_ms: i64) -> Result<(), ApprovalError> {
    let sql =
        "UPDATE approval_delivery SET state = 'due', due_ms = $1, tries = 0 WHERE id = $2 AND state = 'dead'";
    let done = sqlx::query(sql).bind(now_ms).bind(id).execute(c).await?;
    if done.rows_affected() == 1 { Ok(()) } else { Err(ApprovalError::NotFound) }
}

/// Takes a callback, once; false where it was taken before.
pub(crate) async fn take_callback(
    c: &mut AnyConnection,
    digest: &str,
    now_ms: i64,
    until_ms: i64,
) -> Result<bool, ApprovalError> {
    sqlx::query("DELETE FROM approval_callback WHERE until_ms < $1").bind(now_ms).execute(&mut *c).await?;
    let sql = "INSERT INTO approval_callback (digest, until_ms) VALUES ($1, $2) ON CONFLICT DO NOTHING";
    Ok(sqlx::query(sql).bind(digest).bind(until_ms).execute(c).await?.rows_affected() == 1)
}
