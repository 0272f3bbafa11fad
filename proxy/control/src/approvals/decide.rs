//! What people do: decide, ask for windows, lend their membership, review.

use std::sync::Arc;

use serde::Deserialize;
use sluice_policy::{Kind, Subject};

use super::approval::{Approval, Command, Forbidden, checked_reason};
use super::error::ApprovalError;
use super::people::{Account, Sameness};
use super::request::{ApprovalId, Detail, Scope, SubjectView, hex, subject_key};
use super::service::{Approvals, check_terms};
use super::settings::{DELEGATION_MS_MAX, WINDOW_MS_MAX};
use super::state::{GrantKind, State};
use super::store::{Delegation, Delivery, Review, delegations, deliveries, list, transitions};
use super::transition::Origin;

/// The longest name, pattern or path of a scope, in bytes.
const TEXT_BYTES_MAX: usize = 256;
/// The most operations, entities or paths of a scope.
const SCOPE_MAX: usize = 64;

/// A window that someone asks for.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRequest {
    /// The configured name of the upstream.
    pub upstream: Arc<str>,
    /// What may be done; `*` at the end stands for any rest.
    pub operations: Vec<Arc<str>>,
    /// Entities that may leave as they are.
    #[serde(default)]
    pub reveal: Vec<Arc<str>>,
    /// The paths of an answer that may leave; none: all of it, masked.
    #[serde(default)]
    pub fields: Option<Vec<String>>,
    /// How long, from when it is approved: at most eight hours.
    pub minutes: i64,
    /// Why.
    pub reason: String,
    /// Who shall approve it: by group, how many. A window lets through what needs no more than these.
    pub groups: Vec<WindowGroup>,
}

/// A group that is to approve a window.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowGroup {
    /// Its name.
    pub group: Arc<str>,
    /// How many of its people.
    pub min: u32,
}

/// A membership that someone lends.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelegationRequest {
    /// To whom: `issuer:id`.
    pub to: String,
    /// Of which groups.
    pub groups: Vec<Arc<str>>,
    /// For how long: at most 30 days.
    pub hours: i64,
    /// Why.
    pub reason: String,
}

impl Approvals {
    /// `subject` agrees.
    ///
    /// # Errors
    /// They may not, or it is over, or the store or the record does not answer: nothing goes on because of it.
    pub async fn approve(
        &self,
        id: &ApprovalId,
        subject: Arc<Subject>,
        reason: &str,
        origin: Origin,
    ) -> Result<State, ApprovalError> {
        self.act(id.clone(), Command::Approve, subject, reason, origin).await
    }

    /// `subject` says no: one is enough.
    ///
    /// # Errors
    /// As [`Approvals::approve`].
    pub async fn deny(
        &self,
        id: &ApprovalId,
        subject: Arc<Subject>,
        reason: &str,
        origin: Origin,
    ) -> Result<State, ApprovalError> {
        self.act(id.clone(), Command::Deny, subject, reason, origin).await
    }

    /// A grant or window is taken back, at once: by whom it was given to, or by someone who could give it.
    ///
    /// # Errors
    /// As [`Approvals::approve`].
    pub async fn revoke(
        &self,
        id: &ApprovalId,
        subject: Arc<Subject>,
        reason: &str,
        origin: Origin,
    ) -> Result<State, ApprovalError> {
        self.act(id.clone(), Command::Revoke, subject, reason, origin).await
    }

    /// Who asked takes it back.
    ///
    /// # Errors
    /// As [`Approvals::approve`].
    pub async fn withdraw(
        &self,
        id: &ApprovalId,
        subject: Arc<Subject>,
        reason: &str,
        origin: Origin,
    ) -> Result<State, ApprovalError> {
        self.act(id.clone(), Command::Cancel, subject, reason, origin).await
    }

    /// Someone of the break-glass group overrides the others: it is approved, everyone is alerted, and a review is open
    /// until someone else closes it.
    ///
    /// # Errors
    /// As [`Approvals::approve`].
    pub async fn break_glass(
        &self,
        id: &ApprovalId,
        subject: Arc<Subject>,
        reason: &str,
        origin: Origin,
    ) -> Result<State, ApprovalError> {
        self.act(id.clone(), Command::BreakGlass, subject, reason, origin).await
    }

    /// Closes the review of a broken glass, with what was found.
    ///
    /// # Errors
    /// As [`Approvals::approve`].
    pub async fn close_review(
        &self,
        id: &ApprovalId,
        subject: Arc<Subject>,
        note: &str,
        origin: Origin,
    ) -> Result<State, ApprovalError> {
        self.act(id.clone(), Command::Review, subject, note, origin).await
    }

    /// The reviews that are open.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn open_reviews(&self) -> Result<Vec<Review>, ApprovalError> {
        self.store.read(|c| Box::pin(list::open_reviews(c))).await
    }

    /// `subject` asks for a window for itself. It is pending as any request is.
    ///
    /// # Errors
    /// It is not valid, or can't be asked for now.
    pub async fn ask_window(
        &self,
        subject: &Subject,
        asked: WindowRequest,
        origin: Origin,
    ) -> Result<ApprovalId, ApprovalError> {
        if subject.is_anonymous() {
            return Err(ApprovalError::Anonymous);
        }
        if self.is_full() {
            return Err(ApprovalError::Overloaded);
        }
        let approval = self.window(subject, asked)?;
        let author = transitions::Author {
            who: Some(approval.account()),
            why: approval.detail.asked_because.clone(),
            origin,
            ..transitions::Author::default()
        };
        let key = subject_key(subject);
        let chain = subject.chain.as_deref().unwrap_or_default().to_owned();
        let (node, most) = (self.node.clone(), self.settings.pending_of_subject_max);
        let written = self
            .store
            .write(move |c| {
                Box::pin(async move {
                    transitions::ask_window(c, &node, &approval, (&key, &chain), &author, most).await
                })
            })
            .await?;
        self.told(written).await
    }

    fn window(&self, subject: &Subject, asked: WindowRequest) -> Result<Approval, ApprovalError> {
        let terms: Vec<(Arc<str>, u32)> = asked.groups.into_iter().map(|g| (g.group, g.min)).collect();
        check_terms(&terms)?;
        let reason = checked_reason(&asked.reason)?;
        let grant_ms = asked.minutes.checked_mul(60_000).filter(|ms| (1..=WINDOW_MS_MAX).contains(ms));
        let grant_ms = grant_ms.ok_or(ApprovalError::Invalid("a window has 1 to 480 minutes"))?;
        let scope = Scope {
            operations: asked.operations,
            reveal: asked.reveal.into_iter().collect(),
            fields: asked.fields,
        };
        check_scope(&asked.upstream, &scope)?;
        let now_ms = self.clock.now_ms();
        let operation = scope.operations.iter().map(AsRef::as_ref).collect::<Vec<&str>>().join(", ");
        Ok(Approval {
            id: ApprovalId::random()?,
            kind: GrantKind::Window,
            state: State::Pending,
            upstream: asked.upstream,
            operation: operation.into(),
            policy_version: "".into(),
            created_ms: now_ms,
            expires_ms: now_ms.saturating_add(self.settings.pending_ms),
            ended_ms: None,
            grant_ms,
            is_glass_broken: false,
            reason: String::new(),
            seq: 1,
            detail: Detail {
                subject: SubjectView::of(subject),
                policies: Vec::new(),
                digest: None,
                risk_score: 0,
                risk_parts: Vec::new(),
                labels: Default::default(),
                preview: String::new(),
                terms,
                scope,
                steps: Vec::new(),
                request_id: String::new(),
                asked_because: reason,
            },
            votes: Vec::new(),
        })
    }

    /// `subject` lends its membership in groups that it is in.
    ///
    /// # Errors
    /// It is not valid: they are in no such group, or lend it to themselves.
    pub async fn delegate(
        &self,
        subject: &Subject,
        asked: DelegationRequest,
    ) -> Result<Delegation, ApprovalError> {
        let lender = Account::of(subject);
        if subject.kind != Kind::Human || subject.is_anonymous() || subject.actor.is_some() {
            return Err(Forbidden::NotAPerson.into());
        }
        let to = Account::parse(&asked.to).ok_or(ApprovalError::Invalid("`to` is issuer:id"))?;
        let people = self.people();
        if people.compare(&lender, &to) == Sameness::Same {
            return Err(ApprovalError::Invalid("nobody lends a membership to themselves"));
        }
        // What was borrowed is not lent on: only groups of one's own token count.
        let own = people.groups(&lender, &subject.groups);
        if asked.groups.is_empty() || !asked.groups.iter().all(|group| own.contains(group)) {
            return Err(Forbidden::NotInGroup.into());
        }
        let lent_ms = asked.hours.checked_mul(3_600_000).filter(|ms| (1..=DELEGATION_MS_MAX).contains(ms));
        let lent_ms = lent_ms.ok_or(ApprovalError::Invalid("a delegation has 1 to 720 hours"))?;
        let reason = checked_reason(&asked.reason)?;
        let mut id = [0; 16];
        getrandom::fill(&mut id)?;
        let created_ms = self.clock.now_ms();
        let lent = Delegation {
            id: hex(&id),
            lender,
            borrower: to,
            groups: asked.groups,
            reason,
            created_ms,
            ends_ms: created_ms.saturating_add(lent_ms),
            revoked_ms: 0,
        };
        let written = lent.clone();
        self.store.write(move |c| Box::pin(async move { delegations::insert(c, &written).await })).await?;
        Ok(lent)
    }

    /// What is lent by and to an account.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn delegations(&self, account: &Account) -> Result<Vec<Delegation>, ApprovalError> {
        let (account, now_ms) = (account.clone(), self.clock.now_ms());
        self.store.read(move |c| Box::pin(async move { delegations::of(c, &account, now_ms).await })).await
    }

    /// Its lender takes a membership back.
    ///
    /// # Errors
    /// There is no such delegation of theirs.
    pub async fn end_delegation(&self, id: &str, lender: &Account) -> Result<(), ApprovalError> {
        let (id, lender, now_ms) = (id.to_owned(), lender.clone(), self.clock.now_ms());
        self.store
            .write(move |c| Box::pin(async move { delegations::revoke(c, &id, &lender, now_ms).await }))
            .await
    }

    /// What could not be delivered.
    pub(super) async fn dead_letters(&self) -> Result<Vec<Delivery>, ApprovalError> {
        self.store.read(|c| Box::pin(deliveries::dead(c))).await
    }

    /// Tries a dead letter again.
    pub(super) async fn revive(&self, id: &str) -> Result<(), ApprovalError> {
        let (id, now_ms) = (id.to_owned(), self.clock.now_ms());
        self.store.write(move |c| Box::pin(async move { deliveries::revive(c, &id, now_ms).await })).await
    }
}

fn check_scope(upstream: &str, scope: &Scope) -> Result<(), ApprovalError> {
    let is_name =
        |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX && !text.chars().any(char::is_control);
    // `*` alone would be everything.
    let is_operation = |text: &Arc<str>| {
        let start = text.strip_suffix('*').unwrap_or(text);
        is_name(text) && !start.is_empty() && !start.contains('*')
    };
    let fields = scope.fields.as_deref().unwrap_or_default();
    let is_small =
        scope.operations.len() <= SCOPE_MAX && scope.reveal.len() <= SCOPE_MAX && fields.len() <= SCOPE_MAX;
    let is_good = is_small
        && is_name(upstream)
        && !scope.operations.is_empty()
        && scope.operations.iter().all(is_operation)
        && scope.reveal.iter().all(|name| is_name(name))
        && fields.iter().all(|path| is_name(path));
    is_good.then_some(()).ok_or(ApprovalError::Invalid(
        "a window needs an upstream and operations by name (`*` only at the end, behind something), and at most 64 of each",
    ))
}
