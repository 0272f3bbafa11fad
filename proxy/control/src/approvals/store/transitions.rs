//! The changes of approvals: each a transaction that holds the approval's row, with the transition that tells of it.

use std::sync::Arc;

use sqlx::AnyConnection;

use super::super::approval::{Approval, Approver, BreakGlass, Change, Command, Forbidden, Rules};
use super::super::error::ApprovalError;
use super::super::people::{Account, People};
use super::super::request::{ApprovalId, ApprovalRequest, Asked, Detail, subject_key};
use super::super::state::{GrantKind, State, Step};
use super::super::transition::{Origin, Transition, Via};
use super::rows::{self, columns};

/// Windows of one subject to one upstream that are looked at.
const WINDOWS_MAX: i64 = 64;

/// What every change needs to know of the node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name, random for each start.
    pub(crate) name: Arc<str>,
    /// Transitions are taken by a record, which has to acknowledge them.
    pub(crate) has_sink: bool,
    /// Whom transitions are sent to: the names of webhooks, and of Slack.
    pub(crate) targets: Arc<[String]>,
}

/// An outcome, and the transitions on the way to it.
#[derive(Clone, Debug)]
pub(crate) struct Written<T> {
    pub(crate) outcome: T,
    pub(crate) transitions: Vec<Transition>,
}

/// Who does something, and whence.
#[derive(Clone, Debug, Default)]
pub(crate) struct Author {
    pub(crate) who: Option<Account>,
    pub(crate) on_behalf_of: Option<Account>,
    pub(crate) why: String,
    pub(crate) origin: Origin,
    /// The exchange and digest, where they are others than those of the approval.
    pub(crate) exchange: Option<(String, String)>,
}

/// The transition that a change of an approval is.
pub(super) fn transition(approval: &Approval, change: &Change, author: &Author, now_ms: i64) -> Transition {
    let from = (change.step != Step::Ask).then_some(approval.state);
    let (request_id, digest) = match &author.exchange {
        Some((request_id, digest)) => (request_id.clone(), Some(digest.clone())),
        None => (approval.detail.request_id.clone(), approval.detail.digest.clone()),
    };
    Transition {
        approval: approval.id.clone(),
        seq: approval.seq,
        at_ms: now_ms,
        step: change.step,
        from,
        to: change.to,
        kind: approval.kind,
        who: author.who.clone(),
        on_behalf_of: author.on_behalf_of.clone(),
        why: author.why.clone(),
        origin: author.origin.clone(),
        subject: approval.account(),
        upstream: Arc::clone(&approval.upstream),
        operation: Arc::clone(&approval.operation),
        policy_version: Arc::clone(&approval.policy_version),
        policies: approval.detail.policies.clone(),
        digest,
        request_id,
        risk: approval.detail.risk_score,
        is_alert: change.step == Step::BreakGlass,
    }
}

/// Writes what a change of a held approval leads to.
pub(super) async fn write(
    c: &mut AnyConnection,
    node: &Node,
    approval: &Approval,
    change: &Change,
    author: &Author,
    now_ms: i64,
) -> Result<Transition, ApprovalError> {
    let ended_ms = if change.to.is_open() { 0 } else { approval.ended_ms.unwrap_or(now_ms) };
    let is_broken = approval.is_glass_broken || change.step == Step::BreakGlass;
    let reason = if author.why.is_empty() { &approval.reason } else { &author.why };
    if !matches!(change.step, Step::Vote | Step::Use | Step::Review) {
        sqlx::query(
            "UPDATE approval SET state = $1, expires_ms = $2, ended_ms = $3, glass_broken = $4, reason = $5 \
             WHERE id = $6",
        )
        .bind(change.to.name())
        .bind(change.expires_ms)
        .bind(ended_ms)
        .bind(i64::from(is_broken))
        .bind(reason.as_str())
        .bind(approval.id.as_str())
        .execute(&mut *c)
        .await?;
    }
    if approval.state == State::Pending && change.to != State::Pending {
        sqlx::query("DELETE FROM approval_waiting WHERE approval_id = $1")
            .bind(approval.id.as_str())
            .execute(&mut *c)
            .await?;
    }
    let is_consent = matches!(change.step, Step::Vote | Step::Approve);
    if let Some(vote) = change.vote.as_ref().filter(|_| is_consent) {
        sqlx::query("INSERT INTO approval_vote (approval_id, n, member, body) VALUES ($1, $2, $3, $4)")
            .bind(approval.id.as_str())
            .bind(approval.votes.len() as i64)
            .bind(vote.on_behalf_of.as_ref().unwrap_or(&vote.account).to_string())
            .bind(serde_json::to_string(vote)?)
            .execute(&mut *c)
            .await?;
    }
    let transition = transition(approval, change, author, now_ms);
    super::events::insert(c, node, &transition).await?;
    Ok(transition)
}

/// What a request leads to: it is consumed, waits, or is denied. `denial_ms`: how long a denial answers for it.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) request: ApprovalRequest,
    pub(crate) id: ApprovalId,
    pub(crate) pending_ms: i64,
    pub(crate) grant_ms: i64,
    pub(crate) denial_ms: i64,
    pub(crate) retry_after_s: u32,
    pub(crate) of_subject_max: i64,
    /// Nothing more may wait: only what was decided already can be answered.
    pub(crate) is_full: bool,
}

impl Ask {
    pub(crate) async fn run(
        &self,
        c: &mut AnyConnection,
        node: &Node,
        now_ms: i64,
    ) -> Result<Written<Asked>, ApprovalError> {
        let mut transitions = Vec::new();
        if let Some(written) = self.through_window(c, node, now_ms).await? {
            return Ok(written);
        }
        let key = self.request.key();
        if let Some(used) = consume(c, node, &key, &self.request.request_id, now_ms).await? {
            return Ok(used);
        }
        let open: Option<(String, String, i64)> = sqlx::query_as(
            "SELECT id, state, expires_ms FROM approval WHERE request_key = $1 AND kind = 'single' \
             AND state IN ('pending', 'approved')",
        )
        .bind(key.as_str())
        .fetch_optional(&mut *c)
        .await?;
        if let Some((id, state, expires_ms)) = open {
            let id = rows::id(&id)?;
            if now_ms < expires_ms && state == State::Pending.name() {
                return Ok(self.pending(id, transitions));
            }
            // The sweeper has not come by yet.
            transitions.extend(expire(c, node, &id, now_ms).await?);
        }
        let denied: Option<(String, String)> = sqlx::query_as(
            "SELECT id, reason FROM approval WHERE request_key = $1 AND state = 'denied' AND ended_ms > $2 \
             ORDER BY ended_ms DESC LIMIT 1",
        )
        .bind(key.as_str())
        .bind(now_ms.saturating_sub(self.denial_ms))
        .fetch_optional(&mut *c)
        .await?;
        if let Some((id, reason)) = denied {
            return Ok(Written { outcome: Asked::Denied { id: rows::id(&id)?, reason }, transitions });
        }
        self.check_room(c).await?;
        self.insert(c, node, &key, now_ms, transitions).await
    }

    fn pending(&self, id: ApprovalId, transitions: Vec<Transition>) -> Written<Asked> {
        Written { outcome: Asked::Pending { id, retry_after_s: self.retry_after_s }, transitions }
    }

    async fn check_room(&self, c: &mut AnyConnection) -> Result<(), ApprovalError> {
        if self.is_full {
            return Err(ApprovalError::Overloaded);
        }
        check_subject(c, &subject_key(&self.request.subject), self.of_subject_max).await
    }

    async fn through_window(
        &self,
        c: &mut AnyConnection,
        node: &Node,
        now_ms: i64,
    ) -> Result<Option<Written<Asked>>, ApprovalError> {
        let windows: Vec<(String, String)> = sqlx::query_as(
            "SELECT a.id, d.body FROM approval a JOIN approval_detail d ON d.approval_id = a.id \
             WHERE a.subject_key = $1 AND a.state = 'approved' AND a.kind = 'window' AND a.upstream = $2 \
             AND a.expires_ms > $3 ORDER BY a.expires_ms DESC LIMIT $4",
        )
        .bind(subject_key(&self.request.subject))
        .bind(self.request.upstream.as_ref())
        .bind(now_ms)
        .bind(WINDOWS_MAX)
        .fetch_all(&mut *c)
        .await?;
        let asked = self.request.detail();
        for (id, body) in windows {
            let held: Detail = serde_json::from_str(&body)?;
            let is_enough = super::super::quorum::covers(&held.terms, &asked.terms);
            if !is_enough || !held.scope.covers(&asked.scope) {
                continue;
            }
            let approval = rows::hold(c, &rows::id(&id)?).await?;
            // It may have been revoked since it was looked for.
            if approval.state != State::Approved || now_ms >= approval.expires_ms {
                continue;
            }
            let change = approval.change(Step::Use, None, now_ms)?;
            let author = Author {
                who: Some(Account::of(&self.request.subject)),
                exchange: Some((self.request.request_id.clone(), self.request.digest.to_string())),
                ..Author::default()
            };
            let transition = write(c, node, &approval, &change, &author, now_ms).await?;
            let outcome = Asked::Consumed { id: approval.id, through_window: true };
            return Ok(Some(Written { outcome, transitions: vec![transition] }));
        }
        Ok(None)
    }

    async fn insert(
        &self,
        c: &mut AnyConnection,
        node: &Node,
        key: &str,
        now_ms: i64,
        mut transitions: Vec<Transition>,
    ) -> Result<Written<Asked>, ApprovalError> {
        let approval = self.approval(now_ms);
        let subject = subject_key(&self.request.subject);
        let chain = self.request.subject.chain.as_deref().unwrap_or_default();
        if !insert(c, &approval, key, &subject, chain).await? {
            // Another node was first.
            let sql =
                "SELECT id FROM approval WHERE request_key = $1 AND kind = 'single' AND state = 'pending'";
            let id: Option<String> = sqlx::query_scalar(sql).bind(key).fetch_optional(&mut *c).await?;
            return match id {
                Some(id) => Ok(self.pending(rows::id(&id)?, transitions)),
                None => Err(ApprovalError::Overloaded),
            };
        }
        let author = Author { who: Some(approval.account()), ..Author::default() };
        transitions.push(asked_for(c, node, &approval, &author, now_ms).await?);
        Ok(self.pending(approval.id, transitions))
    }

    fn approval(&self, now_ms: i64) -> Approval {
        Approval {
            id: self.id.clone(),
            kind: GrantKind::Single,
            state: State::Pending,
            upstream: Arc::clone(&self.request.upstream),
            operation: Arc::clone(&self.request.operation),
            policy_version: Arc::clone(&self.request.policy_version),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(self.pending_ms),
            ended_ms: None,
            grant_ms: self.grant_ms,
            is_glass_broken: false,
            reason: String::new(),
            seq: 1,
            detail: self.request.detail(),
            votes: Vec::new(),
        }
    }
}

pub(super) async fn check_subject(
    c: &mut AnyConnection,
    subject_key: &str,
    most: i64,
) -> Result<(), ApprovalError> {
    let sql = "SELECT COUNT(*) FROM approval WHERE subject_key = $1 AND state = 'pending'";
    let pending: i64 = sqlx::query_scalar(sql).bind(subject_key).fetch_one(c).await?;
    if pending >= most { Err(ApprovalError::TooManyOfSubject) } else { Ok(()) }
}

/// A window that is asked for.
pub(crate) async fn ask_window(
    c: &mut AnyConnection,
    node: &Node,
    approval: &Approval,
    keys: (&str, &str),
    author: &Author,
    of_subject_max: i64,
) -> Result<Written<ApprovalId>, ApprovalError> {
    let (subject, chain) = keys;
    check_subject(c, subject, of_subject_max).await?;
    if !insert(c, approval, "", subject, chain).await? {
        return Err(ApprovalError::Random);
    }
    let transition = asked_for(c, node, approval, author, approval.created_ms).await?;
    Ok(Written { outcome: approval.id.clone(), transitions: vec![transition] })
}

/// Tells of an approval that was inserted.
async fn asked_for(
    c: &mut AnyConnection,
    node: &Node,
    approval: &Approval,
    author: &Author,
    now_ms: i64,
) -> Result<Transition, ApprovalError> {
    let (to, expires_ms) = (State::Pending, approval.expires_ms);
    let change = Change { step: Step::Ask, to, expires_ms, vote: None };
    let told = transition(approval, &change, author, now_ms);
    super::events::insert(c, node, &told).await?;
    Ok(told)
}

/// False where the request has an open approval already.
async fn insert(
    c: &mut AnyConnection,
    approval: &Approval,
    request_key: &str,
    subject_key: &str,
    chain: &str,
) -> Result<bool, ApprovalError> {
    let inserted = sqlx::query(
        "INSERT INTO approval (id, kind, state, request_key, subject_key, subject, upstream, operation, \
         policy_version, chain, risk, created_ms, expires_ms, ended_ms, grant_ms, glass_broken, reason, seq) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, $14, 0, '', 1) ON CONFLICT DO NOTHING",
    )
    .bind(approval.id.as_str())
    .bind(approval.kind.name())
    .bind(approval.state.name())
    .bind(request_key)
    .bind(subject_key)
    .bind(approval.account().to_string())
    .bind(approval.upstream.as_ref())
    .bind(approval.operation.as_ref())
    .bind(approval.policy_version.as_ref())
    .bind(chain)
    .bind(i64::from(approval.detail.risk_score))
    .bind(approval.created_ms)
    .bind(approval.expires_ms)
    .bind(approval.grant_ms)
    .execute(&mut *c)
    .await?;
    if inserted.rows_affected() == 0 {
        return Ok(false);
    }
    sqlx::query("INSERT INTO approval_detail (approval_id, body) VALUES ($1, $2)")
        .bind(approval.id.as_str())
        .bind(serde_json::to_string(&approval.detail)?)
        .execute(&mut *c)
        .await?;
    for (group, _) in &approval.detail.terms {
        let sql = "INSERT INTO approval_waiting (group_name, created_ms, approval_id) VALUES ($1, $2, $3)";
        let waiting = sqlx::query(sql).bind(group.as_ref()).bind(approval.created_ms);
        waiting.bind(approval.id.as_str()).execute(&mut *c).await?;
    }
    Ok(true)
}

/// Uses up the grant of a request, if there is one: one statement, so of all who try, one gets it.
async fn consume(
    c: &mut AnyConnection,
    node: &Node,
    key: &str,
    request_id: &str,
    now_ms: i64,
) -> Result<Option<Written<Asked>>, ApprovalError> {
    let sql = concat!(
        "UPDATE approval SET state = 'consumed', ended_ms = $1, seq = seq + 1 WHERE request_key = $2 \
         AND kind = 'single' AND state = 'approved' AND expires_ms > $3 RETURNING ",
        columns!()
    );
    let row = sqlx::query(sql).bind(now_ms).bind(key).bind(now_ms).fetch_optional(&mut *c).await?;
    let Some(row) = row else { return Ok(None) };
    let consumed = rows::approval(c, &row).await?;
    let before = Approval { state: State::Approved, ..consumed };
    let change = before.change(Step::Consume, None, now_ms)?;
    let digest = before.detail.digest.clone().unwrap_or_default();
    let author = Author {
        who: Some(before.account()),
        exchange: Some((request_id.to_owned(), digest)),
        ..Author::default()
    };
    let told = transition(&before, &change, &author, now_ms);
    super::events::insert(c, node, &told).await?;
    let outcome = Asked::Consumed { id: before.id, through_window: false };
    Ok(Some(Written { outcome, transitions: vec![told] }))
}

/// Ends an approval whose time is over.
async fn expire(
    c: &mut AnyConnection,
    node: &Node,
    id: &ApprovalId,
    now_ms: i64,
) -> Result<Option<Transition>, ApprovalError> {
    let approval = rows::hold(c, id).await?;
    if !approval.state.is_open() || now_ms < approval.expires_ms {
        return Ok(None);
    }
    let change = approval.change(Step::Expire, None, now_ms)?;
    let origin = Origin { via: Via::Sweeper, ..Origin::default() };
    let author = Author { origin, ..Author::default() };
    Ok(Some(write(c, node, &approval, &change, &author, now_ms).await?))
}

/// What a person does to an approval.
#[derive(Clone, Debug)]
pub(crate) struct Deed {
    pub(crate) id: ApprovalId,
    pub(crate) command: Command,
    pub(crate) who: Approver,
    pub(crate) reason: String,
    pub(crate) origin: Origin,
    pub(crate) people: Arc<People>,
    pub(crate) break_glass: Option<Arc<BreakGlass>>,
}

impl Deed {
    pub(crate) async fn run(
        mut self,
        c: &mut AnyConnection,
        node: &Node,
        now_ms: i64,
    ) -> Result<Written<State>, ApprovalError> {
        let account = Account::of(&self.who.subject);
        self.who.delegated = super::delegations::to(c, &account, now_ms).await?;
        let approval = rows::hold(c, &self.id).await?;
        let review = rows::review(c, &self.id).await?.filter(|review| review.closed_ms == 0);
        let rules = Rules {
            people: &self.people,
            break_glass: self.break_glass.as_deref(),
            broken_by: review.as_ref().map(|review| &review.broken_by),
        };
        let change = approval.after(&self.command, &self.who, &self.reason, &rules, now_ms)?;
        let on_behalf_of = change.vote.as_ref().and_then(|vote| vote.on_behalf_of.clone());
        let author = Author {
            who: Some(account.clone()),
            on_behalf_of,
            why: self.reason.clone(),
            origin: self.origin.clone(),
            exchange: None,
        };
        let told = write(c, node, &approval, &change, &author, now_ms).await?;
        match change.step {
            Step::BreakGlass => open_review(c, &self.id, &account, now_ms).await?,
            Step::Review => close_review(c, &self.id, &account, &self.reason, now_ms).await?,
            Step::Ask
            | Step::Vote
            | Step::Approve
            | Step::Deny
            | Step::Expire
            | Step::Cancel
            | Step::Consume
            | Step::Use
            | Step::Revoke => {}
        }
        Ok(Written { outcome: change.to, transitions: vec![told] })
    }
}

async fn open_review(
    c: &mut AnyConnection,
    id: &ApprovalId,
    by: &Account,
    now_ms: i64,
) -> Result<(), ApprovalError> {
    sqlx::query(
        "INSERT INTO approval_review (approval_id, broken_by, opened_ms, closed_ms, closed_by, note) \
         VALUES ($1, $2, $3, 0, '', '')",
    )
    .bind(id.as_str())
    .bind(by.to_string())
    .bind(now_ms)
    .execute(c)
    .await?;
    Ok(())
}

async fn close_review(
    c: &mut AnyConnection,
    id: &ApprovalId,
    by: &Account,
    note: &str,
    now_ms: i64,
) -> Result<(), ApprovalError> {
    let closed = sqlx::query(
        "UPDATE approval_review SET closed_ms = $1, closed_by = $2, note = $3 WHERE approval_id = $4 AND closed_ms = 0",
    )
    .bind(now_ms)
    .bind(by.to_string())
    .bind(note)
    .bind(id.as_str())
    .execute(c)
    .await?;
    if closed.rows_affected() == 1 { Ok(()) } else { Err(Forbidden::NoReview.into()) }
}

/// The client of a request left before it was decided: it is cancelled if it is still pending.
pub(crate) async fn cancel(
    c: &mut AnyConnection,
    node: &Node,
    id: &ApprovalId,
    now_ms: i64,
) -> Result<Written<State>, ApprovalError> {
    let approval = rows::hold(c, id).await?;
    let change = approval.change(Step::Cancel, None, now_ms)?;
    let author = Author { why: "the client left".to_owned(), ..Author::default() };
    let told = write(c, node, &approval, &change, &author, now_ms).await?;
    Ok(Written { outcome: change.to, transitions: vec![told] })
}
