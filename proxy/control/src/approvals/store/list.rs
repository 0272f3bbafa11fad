//! Lists: a page of approvals by what an index covers.

use serde::{Deserialize, Serialize};
use sqlx::{AnyConnection, Row};

use super::super::error::ApprovalError;
use super::super::request::ApprovalId;
use super::super::state::State;
use super::rows::{self, Review, id, read_review};
use super::statement::Statement;

/// The most approvals of a page.
pub(crate) const PAGE_MAX: u32 = 200;

/// Which approvals are listed. An empty filter takes every one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    /// `pending` where nothing is said; `all` takes every state.
    pub(crate) state: Option<String>,
    pub(crate) upstream: Option<String>,
    pub(crate) operation: Option<String>,
    /// `issuer:id`.
    pub(crate) subject: Option<String>,
    /// Of those pending: the ones that wait for this group.
    pub(crate) group: Option<String>,
    pub(crate) chain: Option<String>,
    pub(crate) kind: Option<String>,
    pub(crate) risk_min: Option<i64>,
    /// Behind this one, as the page before has given it.
    pub(crate) after: Option<String>,
    pub(crate) limit: Option<u32>,
}

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Listed {
    pub(crate) id: ApprovalId,
    pub(crate) kind: String,
    pub(crate) state: &'static str,
    pub(crate) subject: String,
    pub(crate) upstream: String,
    pub(crate) operation: String,
    pub(crate) risk: i64,
    pub(crate) created_ms: i64,
    pub(crate) expires_ms: i64,
    pub(crate) reason: String,
}

/// The newest first, and where the next page begins.
pub(crate) async fn page(
    c: &mut AnyConnection,
    filter: &Filter,
    now_ms: i64,
) -> Result<(Vec<Listed>, Option<String>), ApprovalError> {
    let limit = filter.limit.unwrap_or(50).clamp(1, PAGE_MAX);
    let mut query = Statement::new(
        "SELECT id, kind, state, subject, upstream, operation, risk, created_ms, expires_ms, reason FROM approval \
         WHERE id IN (",
    );
    select_ids(&mut query, filter, limit, now_ms)?;
    query.push(") ORDER BY created_ms DESC, id DESC");
    let found = query.query().fetch_all(c).await?;
    let mut listed = Vec::with_capacity(found.len());
    for row in &found {
        let text = |name: &str| row.try_get::<String, _>(name);
        let number = |name: &str| row.try_get::<i64, _>(name);
        let (state, expires_ms) = (rows::state(&text("state")?)?, number("expires_ms")?);
        listed.push(Listed {
            id: id(&text("id")?)?,
            kind: text("kind")?,
            state: seen(state, expires_ms, now_ms).name(),
            subject: text("subject")?,
            upstream: text("upstream")?,
            operation: text("operation")?,
            risk: number("risk")?,
            created_ms: number("created_ms")?,
            expires_ms,
            reason: text("reason")?,
        });
    }
    let next = if listed.len() > limit as usize {
        listed.truncate(limit as usize);
        listed.last().map(|last| format!("{}-{}", last.created_ms, last.id))
    } else {
        None
    };
    Ok((listed, next))
}

/// The state as it counts: what the sweeper has not come by yet is over all the same.
pub(crate) fn seen(state: State, expires_ms: i64, now_ms: i64) -> State {
    if state.is_open() && now_ms >= expires_ms { State::Expired } else { state }
}

/// The ids of a page and one more, from one index.
fn select_ids(query: &mut Statement, filter: &Filter, limit: u32, now_ms: i64) -> Result<(), ApprovalError> {
    let state = match filter.state.as_deref() {
        None => Some(State::Pending),
        Some("all") => None,
        Some(name) => Some(State::named(name).ok_or(ApprovalError::Invalid("there is no such state"))?),
    };
    match &filter.group {
        Some(group) if state == Some(State::Pending) => {
            // From the few that wait for it, in their order.
            query.push(
                "SELECT a.id FROM approval_waiting w JOIN approval a ON a.id = w.approval_id \
                 WHERE w.group_name = ",
            );
            query.text(group);
        }
        Some(_) => return Err(ApprovalError::Invalid("`group` goes with the state `pending`")),
        None => {
            query.push("SELECT a.id FROM approval a WHERE 1 = 1");
        }
    }
    if let Some(state) = state {
        query.push(" AND a.state = ").text(state.name());
        if state.is_open() {
            query.push(" AND a.expires_ms > ").number(now_ms);
        }
    }
    let texts = [
        (" AND a.upstream = ", &filter.upstream),
        (" AND a.operation = ", &filter.operation),
        (" AND a.subject = ", &filter.subject),
        (" AND a.chain = ", &filter.chain),
        (" AND a.kind = ", &filter.kind),
    ];
    for (condition, value) in texts {
        if let Some(value) = value {
            query.push(condition).text(value);
        }
    }
    if let Some(risk) = filter.risk_min {
        query.push(" AND a.risk >= ").number(risk);
    }
    let (before, same, order) = if filter.group.is_some() {
        (
            " AND (w.created_ms < ",
            " OR (w.created_ms = ",
            " ORDER BY w.created_ms DESC, w.approval_id DESC LIMIT ",
        )
    } else {
        (" AND (a.created_ms < ", " OR (a.created_ms = ", " ORDER BY a.created_ms DESC, a.id DESC LIMIT ")
    };
    if let Some(after) = &filter.after {
        let unreadable = ApprovalError::Invalid("`after` is what the page before has given");
        let (ms, last) = after.split_once('-').ok_or(unreadable.clone())?;
        let ms: i64 = ms.parse().map_err(|_| unreadable.clone())?;
        let last = ApprovalId::parse(last).ok_or(unreadable)?;
        query.push(before).number(ms).push(same).number(ms);
        query.push(" AND a.id < ").text(last.as_str()).push("))");
    }
    query.push(order).number(i64::from(limit) + 1);
    Ok(())
}

/// Other approvals of the same chain of thought, newest first: its steps so far.
pub(crate) async fn of_chain(
    c: &mut AnyConnection,
    chain: &str,
) -> Result<Vec<(String, String, String, i64)>, ApprovalError> {
    let sql = "SELECT id, state, operation, created_ms FROM approval WHERE chain = $1 AND chain <> '' \
               ORDER BY created_ms DESC LIMIT 50";
    Ok(sqlx::query_as(sql).bind(chain).fetch_all(c).await?)
}

/// The reviews that are open, oldest first.
pub(crate) async fn open_reviews(c: &mut AnyConnection) -> Result<Vec<Review>, ApprovalError> {
    let found = sqlx::query_as(
        "SELECT approval_id, broken_by, opened_ms, closed_by, closed_ms, note FROM approval_review \
         WHERE closed_ms = 0 ORDER BY opened_ms LIMIT 500",
    );
    found.fetch_all(c).await?.into_iter().map(read_review).collect()
}

/// How many are pending.
pub(crate) async fn pending(c: &mut AnyConnection) -> Result<i64, ApprovalError> {
    Ok(sqlx::query_scalar("SELECT COUNT(*) FROM approval WHERE state = 'pending'").fetch_one(c).await?)
}
