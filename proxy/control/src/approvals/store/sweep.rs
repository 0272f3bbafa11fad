//! What time does: approvals end, the clock is noted, what is long over is forgotten.

use sqlx::{AnyConnection, Row};

use super::super::clock::Seen;
use super::super::error::ApprovalError;
use super::super::state::{State, Step};
use super::super::transition::{Origin, Transition, Via};
use super::rows::{self, columns};
use super::statement::Statement;
use super::transitions::{Author, Node, transition};

/// Approvals that are ended in one transaction.
pub(crate) const BATCH_MAX: i64 = 200;

/// Ends approvals in one state whose time is over.
pub(crate) async fn expire(
    c: &mut AnyConnection,
    node: &Node,
    state: State,
    now_ms: i64,
) -> Result<Vec<Transition>, ApprovalError> {
    let ended = sqlx::query(concat!(
        "UPDATE approval SET state = 'expired', ended_ms = $1, seq = seq + 1 WHERE state = $2 AND expires_ms <= $3 \
         AND id IN (SELECT id FROM approval WHERE state IN ('pending', 'approved') AND state = $2 \
         AND expires_ms <= $3 ORDER BY expires_ms LIMIT $4) RETURNING ",
        columns!()
    ))
    .bind(now_ms)
    .bind(state.name())
    .bind(now_ms)
    .bind(BATCH_MAX)
    .fetch_all(&mut *c)
    .await?;
    if ended.is_empty() {
        return Ok(Vec::new());
    }
    if state == State::Pending {
        let mut gone = Statement::new("DELETE FROM approval_waiting WHERE approval_id IN (");
        for (n, row) in ended.iter().enumerate() {
            gone.push(if n == 0 { "" } else { ", " }).text(&row.try_get::<String, _>("id")?);
        }
        gone.push(")");
        gone.query().execute(&mut *c).await?;
    }
    let origin = Origin { via: Via::Sweeper, ..Origin::default() };
    let author = Author { origin, ..Author::default() };
    let mut transitions = Vec::with_capacity(ended.len());
    for row in &ended {
        let mut approval = rows::approval(&mut *c, row).await?;
        approval.state = state;
        let change = approval.change(Step::Expire, None, now_ms)?;
        let told = transition(&approval, &change, &author, now_ms);
        super::events::insert(&mut *c, node, &told).await?;
        transitions.push(told);
    }
    Ok(transitions)
}

/// Notes the farthest time.
pub(crate) async fn note_time(c: &mut AnyConnection, seen: &Seen) -> Result<(), ApprovalError> {
    sqlx::query(
        "INSERT INTO approval_clock (boot, steady_ms, now_ms) VALUES ($1, $2, $3) \
         ON CONFLICT (boot) DO UPDATE SET steady_ms = excluded.steady_ms, now_ms = excluded.now_ms \
         WHERE approval_clock.now_ms < excluded.now_ms",
    )
    .bind(seen.boot.as_str())
    .bind(seen.steady_ms)
    .bind(seen.now_ms)
    .execute(c)
    .await?;
    Ok(())
}

/// Forgets approvals that ended before `before_ms`; their transitions are in the record. Those whose review is open stay.
pub(crate) async fn forget(c: &mut AnyConnection, before_ms: i64) -> Result<u64, ApprovalError> {
    let over: Vec<String> = sqlx::query_scalar(
        "SELECT id FROM approval WHERE state IN ('denied', 'expired', 'cancelled', 'consumed', 'revoked') \
         AND created_ms < $1 AND ended_ms > 0 AND ended_ms < $1 \
         AND NOT EXISTS (SELECT 1 FROM approval_review r WHERE r.approval_id = approval.id AND r.closed_ms = 0) \
         AND NOT EXISTS (SELECT 1 FROM approval_event e WHERE e.approval_id = approval.id AND e.recorded = 0) \
         ORDER BY created_ms LIMIT $2",
    )
    .bind(before_ms)
    .bind(BATCH_MAX)
    .fetch_all(&mut *c)
    .await?;
    for id in &over {
        for sql in [
            "DELETE FROM approval_detail WHERE approval_id = $1",
            "DELETE FROM approval_vote WHERE approval_id = $1",
            "DELETE FROM approval_event WHERE approval_id = $1",
            "DELETE FROM approval_review WHERE approval_id = $1",
            "DELETE FROM approval WHERE id = $1",
        ] {
            sqlx::query(sql).bind(id.as_str()).execute(&mut *c).await?;
        }
    }
    Ok(over.len() as u64)
}
