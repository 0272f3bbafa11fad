//! The transitions: written with each change, read by the record, by other nodes and by those who look back.

use sqlx::AnyConnection;

use super::super::error::ApprovalError;
use super::super::request::{ApprovalId, hex};
use super::super::transition::Transition;
use super::transitions::Node;

/// Transitions of one approval that are shown.
const SHOWN_MAX: i64 = 200;
/// Transitions that are read at once.
const BATCH_MAX: i64 = 2_000;

/// Writes a transition, and a delivery of it for each target.
pub(super) async fn insert(
    c: &mut AnyConnection,
    node: &Node,
    transition: &Transition,
) -> Result<(), ApprovalError> {
    let body = serde_json::to_string(transition)?;
    for target in node.targets.iter() {
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        sqlx::query(
            "INSERT INTO approval_delivery (id, target, approval_id, state, created_ms, due_ms, tries, last_error, body) \
             VALUES ($1, $2, $3, 'due', $4, $5, 0, '', $6)",
        )
        .bind(hex(&id))
        .bind(target.as_str())
        .bind(transition.approval.as_str())
        .bind(transition.at_ms)
        .bind(transition.at_ms)
        .bind(body.as_str())
        .execute(&mut *c)
        .await?;
    }
    sqlx::query(
        "INSERT INTO approval_event (approval_id, seq, at_ms, node, recorded, body) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(transition.approval.as_str())
    .bind(transition.seq)
    .bind(transition.at_ms)
    .bind(node.name.as_ref())
    .bind(i64::from(!node.has_sink))
    .bind(body)
    .execute(c)
    .await?;
    Ok(())
}

fn read(bodies: Vec<String>) -> Result<Vec<Transition>, ApprovalError> {
    bodies.iter().map(|body| Ok(serde_json::from_str(body)?)).collect()
}

/// The latest transitions of an approval, in their order.
pub(crate) async fn of(c: &mut AnyConnection, id: &ApprovalId) -> Result<Vec<Transition>, ApprovalError> {
    let sql = "SELECT body FROM approval_event WHERE approval_id = $1 ORDER BY seq DESC LIMIT $2";
    let mut bodies: Vec<String> =
        sqlx::query_scalar(sql).bind(id.as_str()).bind(SHOWN_MAX).fetch_all(c).await?;
    bodies.reverse();
    read(bodies)
}

/// Transitions that other nodes have written since.
pub(crate) async fn of_others(
    c: &mut AnyConnection,
    node: &str,
    since_ms: i64,
) -> Result<Vec<Transition>, ApprovalError> {
    let sql = "SELECT body FROM approval_event WHERE at_ms >= $1 AND node <> $2 ORDER BY at_ms, seq LIMIT $3";
    read(sqlx::query_scalar(sql).bind(since_ms).bind(node).bind(BATCH_MAX).fetch_all(c).await?)
}

/// Transitions that no record has acknowledged: those of this node, and those that others have left for long.
pub(crate) async fn unrecorded(
    c: &mut AnyConnection,
    node: &str,
    others_before_ms: i64,
) -> Result<Vec<Transition>, ApprovalError> {
    let sql = "SELECT body FROM approval_event WHERE recorded = 0 AND (node = $1 OR at_ms < $2) \
               ORDER BY at_ms, seq LIMIT $3";
    read(sqlx::query_scalar(sql).bind(node).bind(others_before_ms).bind(BATCH_MAX).fetch_all(c).await?)
}

/// Whether some transition of an approval is not recorded yet.
pub(crate) async fn has_unrecorded(c: &mut AnyConnection, id: &ApprovalId) -> Result<bool, ApprovalError> {
    let sql = "SELECT COUNT(*) FROM approval_event WHERE approval_id = $1 AND recorded = 0";
    let count: i64 = sqlx::query_scalar(sql).bind(id.as_str()).fetch_one(c).await?;
    Ok(count > 0)
}

/// Notes that a record has taken these.
pub(crate) async fn recorded(
    c: &mut AnyConnection,
    taken: &[(ApprovalId, i64)],
) -> Result<(), ApprovalError> {
    for (id, seq) in taken {
        sqlx::query("UPDATE approval_event SET recorded = 1 WHERE approval_id = $1 AND seq = $2")
            .bind(id.as_str())
            .bind(*seq)
            .execute(&mut *c)
            .await?;
    }
    Ok(())
}
