//! One approval and what people may do to it: pure code, which is told who, what and when.
//!
//! The store loads an approval under its row's lock, applies a [`Command`], and writes what came out: nobody else decides
//! anything. Nothing here reads a clock.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_policy::{Kind, Subject};

use super::people::{Account, People, Sameness};
use super::quorum;
use super::request::{ApprovalId, Detail};
use super::state::{GrantKind, NotNow, State, Step};

/// The longest reason, in bytes.
pub const REASON_BYTES_MAX: usize = 1_000;
/// The most votes of one approval that are kept.
pub const VOTES_MAX: usize = 64;

/// An approval as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Approval {
    pub(crate) id: ApprovalId,
    pub(crate) kind: GrantKind,
    pub(crate) state: State,
    pub(crate) upstream: Arc<str>,
    pub(crate) operation: Arc<str>,
    pub(crate) policy_version: Arc<str>,
    pub(crate) created_ms: i64,
    /// When the state it is in ends.
    pub(crate) expires_ms: i64,
    /// When it came into an end state; none while it is open.
    pub(crate) ended_ms: Option<i64>,
    /// How long the grant is good once it is approved.
    pub(crate) grant_ms: i64,
    pub(crate) is_glass_broken: bool,
    /// What the last one who decided gave as the reason.
    pub(crate) reason: String,
    /// How many transitions it has had.
    pub(crate) seq: i64,
    pub(crate) detail: Detail,
    pub(crate) votes: Vec<Vote>,
}

/// Someone's consent, and what it still counts for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vote {
    pub(crate) account: Account,
    /// Whose membership it rests on, where it was delegated.
    pub(crate) on_behalf_of: Option<Account>,
    /// The groups it counts for; those only that its giver has not left since.
    pub(crate) groups: Vec<Arc<str>>,
    pub(crate) reason: String,
    pub(crate) at_ms: i64,
}

/// Someone who decides, and whence.
#[derive(Clone, Debug)]
pub(crate) struct Approver {
    pub(crate) subject: Arc<Subject>,
    /// Groups that others have lent them, with the lender.
    pub(crate) delegated: Vec<(Account, Vec<Arc<str>>)>,
}

/// What someone wants of an approval.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Approve,
    Deny,
    BreakGlass,
    Revoke,
    Cancel,
    Review,
}

/// The groups that may break the glass, and close reviews.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BreakGlass {
    /// Each of their members may.
    pub groups: Vec<Arc<str>>,
    /// Whose members may close a review; where it is empty, those of `groups`.
    pub review_groups: Vec<Arc<str>>,
    /// Also for requests of one's own.
    pub own_requests: bool,
}

/// What a command has led to.
#[derive(Clone, Debug)]
pub(crate) struct Change {
    pub(crate) step: Step,
    pub(crate) to: State,
    /// The end of the new state, where it is another.
    pub(crate) expires_ms: i64,
    /// The vote that was cast; of a denial, whose membership it rests on.
    pub(crate) vote: Option<Vote>,
}

/// Why someone may not decide, or not this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forbidden {
    /// The state does not allow it.
    NotNow(NotNow),
    /// Its time is over.
    Expired,
    /// Only people decide.
    NotAPerson,
    /// They are who asks, the owner of who asks, or who acts in its name.
    OwnRequest,
    /// They may be who asks, its owner or who acts in its name: nobody has said that they are two people.
    PerhapsOwnRequest,
    /// They have decided already, by this account or another one, for themselves or for someone else.
    Twice,
    /// They may have decided already, by another account.
    PerhapsTwice,
    /// They are in none of the groups that are asked for.
    NotInGroup,
    /// There is no reason, or it is too long or holds control characters.
    Reason,
    /// No break-glass groups are configured.
    NoBreakGlass,
    /// A review is closed by someone else than who broke the glass or asked for the request.
    OwnReview,
    /// There is no review to close.
    NoReview,
    /// More people have agreed than are kept.
    TooManyVotes,
}

impl fmt::Display for Forbidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Forbidden::NotNow(not_now) => return not_now.fmt(f),
            Forbidden::Expired => "its time is over",
            Forbidden::NotAPerson => "only people decide: the account is not one of a person",
            Forbidden::OwnRequest => "nobody decides over a request of their own, or of their own agent or service",
            Forbidden::PerhapsOwnRequest => {
                "the account and the one that asks, its owner or its actor are of two issuers and could be one person: \
                 [[approvals.person]] says who is who"
            }
            Forbidden::Twice => "nobody decides twice",
            Forbidden::PerhapsTwice => {
                "the account and one that has decided are of two issuers and could be one person: [[approvals.person]] \
                 says who is who"
            }
            Forbidden::NotInGroup => "the account is in none of the groups that are asked for",
            Forbidden::Reason => "a reason is needed, of at most 1000 bytes and without control characters",
            Forbidden::NoBreakGlass => "no groups are configured that may break the glass",
            Forbidden::OwnReview => "a review is closed by someone else than who broke the glass or asked",
            Forbidden::NoReview => "there is no review to close",
            Forbidden::TooManyVotes => "more people have agreed than are kept",
        })
    }
}

impl std::error::Error for Forbidden {}

/// A reason as it is kept: not empty, not long, nothing that a terminal would act on.
pub(crate) fn checked_reason(reason: &str) -> Result<String, Forbidden> {
    let reason = reason.trim();
    let is_odd = |c: char| c.is_control() && c != '\n';
    let is_good = !reason.is_empty() && reason.len() <= REASON_BYTES_MAX && !reason.contains(is_odd);
    is_good.then(|| reason.to_owned()).ok_or(Forbidden::Reason)
}

/// What commands are held against.
pub(crate) struct Rules<'a> {
    pub(crate) people: &'a People,
    pub(crate) break_glass: Option<&'a BreakGlass>,
    /// Who broke the glass, while the review is open.
    pub(crate) broken_by: Option<&'a Account>,
}

impl Approval {
    /// What `command` of `who` leads to at `now_ms`. `reason` was checked.
    pub(crate) fn after(
        &self,
        command: &Command,
        who: &Approver,
        reason: &str,
        rules: &Rules<'_>,
        now_ms: i64,
    ) -> Result<Change, Forbidden> {
        match command {
            Command::Approve => self.agreed(who, reason, rules, now_ms),
            Command::Deny => {
                self.check_open(Step::Deny, now_ms)?;
                let vote = self.vote(who, reason, rules, now_ms)?;
                self.change(Step::Deny, Some(vote), now_ms)
            }
            Command::BreakGlass => self.glass_broken(who, rules, now_ms),
            Command::Revoke => {
                self.check_open(Step::Revoke, now_ms)?;
                self.check_may_end(who, rules)?;
                self.change(Step::Revoke, None, now_ms)
            }
            Command::Cancel => {
                self.check_open(Step::Cancel, now_ms)?;
                let is_own = Account::of(&who.subject) == self.account();
                if is_own { self.change(Step::Cancel, None, now_ms) } else { Err(Forbidden::NotInGroup) }
            }
            Command::Review => self.reviewed(who, rules, now_ms),
        }
    }

    /// What a step that no person makes leads to.
    pub(crate) fn change(&self, step: Step, vote: Option<Vote>, now_ms: i64) -> Result<Change, Forbidden> {
        let to = self.state.after(step, self.kind).map_err(Forbidden::NotNow)?;
        let is_granted = self.state == State::Pending && to == State::Approved;
        let expires_ms = if is_granted { now_ms.saturating_add(self.grant_ms) } else { self.expires_ms };
        Ok(Change { step, to, expires_ms, vote })
    }

    /// Which people each group still lacks.
    pub(crate) fn missing(&self, votes: &[Vote]) -> Vec<u32> {
        let votes: Vec<&[Arc<str>]> = votes.iter().map(|vote| vote.groups.as_slice()).collect();
        quorum::missing(&self.detail.terms, &votes)
    }

    /// Who asks.
    pub(crate) fn account(&self) -> Account {
        let subject = &self.detail.subject;
        Account { issuer: Arc::clone(&subject.issuer), id: Arc::clone(&subject.id) }
    }

    fn check_open(&self, step: Step, now_ms: i64) -> Result<(), Forbidden> {
        self.state.after(step, self.kind).map_err(Forbidden::NotNow)?;
        // The sweeper may not have come by yet.
        if now_ms >= self.expires_ms { Err(Forbidden::Expired) } else { Ok(()) }
    }

    fn agreed(
        &self,
        who: &Approver,
        reason: &str,
        rules: &Rules<'_>,
        now_ms: i64,
    ) -> Result<Change, Forbidden> {
        self.check_open(Step::Vote, now_ms)?;
        if self.votes.len() >= VOTES_MAX {
            return Err(Forbidden::TooManyVotes);
        }
        let vote = self.vote(who, reason, rules, now_ms)?;
        let all: Vec<Vote> =
            self.votes.iter().chain([&vote]).map(|vote| vote.current(rules.people)).collect();
        let is_complete = self.missing(&all).iter().all(|n| *n == 0);
        self.change(if is_complete { Step::Approve } else { Step::Vote }, Some(vote), now_ms)
    }

    /// The vote of someone who may cast one.
    fn vote(&self, who: &Approver, reason: &str, rules: &Rules<'_>, now_ms: i64) -> Result<Vote, Forbidden> {
        let account = Account::of(&who.subject);
        self.check_stranger(who, &account, rules.people)?;
        let asked = |groups: &[Arc<str>]| -> Vec<Arc<str>> {
            groups.iter().filter(|g| self.detail.terms.iter().any(|(name, _)| name == *g)).cloned().collect()
        };
        let own = asked(&rules.people.groups(&account, &who.subject.groups));
        let (groups, on_behalf_of) = if own.is_empty() {
            let lent = who
                .delegated
                .iter()
                .map(|(lender, groups)| (asked(&rules.people.groups(lender, groups)), lender));
            let (groups, lender) =
                lent.into_iter().find(|(g, _)| !g.is_empty()).ok_or(Forbidden::NotInGroup)?;
            (groups, Some(lender.clone()))
        } else {
            (own, None)
        };
        if let Some(lender) = &on_behalf_of {
            refused(
                rules.people.stands_behind(lender, &self.detail.subject.subject()),
                Forbidden::OwnRequest,
                Forbidden::PerhapsOwnRequest,
            )?;
        }
        for vote in &self.votes {
            for earlier in std::iter::once(&vote.account).chain(&vote.on_behalf_of) {
                for own in std::iter::once(&account).chain(&on_behalf_of) {
                    let sameness = rules.people.compare(earlier, own);
                    refused(sameness, Forbidden::Twice, Forbidden::PerhapsTwice)?;
                }
            }
        }
        Ok(Vote { account, on_behalf_of, groups, reason: reason.to_owned(), at_ms: now_ms })
    }

    /// They are a person, and not the one who asks.
    fn check_stranger(&self, who: &Approver, account: &Account, people: &People) -> Result<(), Forbidden> {
        check_person(who)?;
        let sameness = people.stands_behind(account, &self.detail.subject.subject());
        refused(sameness, Forbidden::OwnRequest, Forbidden::PerhapsOwnRequest)
    }

    fn glass_broken(&self, who: &Approver, rules: &Rules<'_>, now_ms: i64) -> Result<Change, Forbidden> {
        self.check_open(Step::BreakGlass, now_ms)?;
        let break_glass = rules.break_glass.ok_or(Forbidden::NoBreakGlass)?;
        let account = Account::of(&who.subject);
        check_person(who)?;
        if !break_glass.own_requests {
            self.check_stranger(who, &account, rules.people)?;
        }
        check_member(rules.people, &account, &who.subject, &break_glass.groups)?;
        self.change(Step::BreakGlass, None, now_ms)
    }

    fn reviewed(&self, who: &Approver, rules: &Rules<'_>, now_ms: i64) -> Result<Change, Forbidden> {
        let broken_by = rules.broken_by.ok_or(Forbidden::NoReview)?;
        let break_glass = rules.break_glass.ok_or(Forbidden::NoBreakGlass)?;
        let account = Account::of(&who.subject);
        check_person(who)?;
        let own = rules.people.stands_behind(&account, &self.detail.subject.subject());
        for sameness in [rules.people.compare(&account, broken_by), own] {
            refused(sameness, Forbidden::OwnReview, Forbidden::OwnReview)?;
        }
        let groups = match break_glass.review_groups.as_slice() {
            [] => &break_glass.groups,
            [_, ..] => &break_glass.review_groups,
        };
        check_member(rules.people, &account, &who.subject, groups)?;
        self.change(Step::Review, None, now_ms)
    }

    /// A grant is taken back by whom it was given to, or by a member of a group that could have given it.
    fn check_may_end(&self, who: &Approver, rules: &Rules<'_>) -> Result<(), Forbidden> {
        let account = Account::of(&who.subject);
        if account == self.account() {
            return Ok(());
        }
        check_person(who)?;
        let terms = self.detail.terms.iter().map(|(name, _)| name);
        let glass = rules.break_glass.iter().flat_map(|b| b.groups.iter().chain(&b.review_groups));
        let groups: Vec<Arc<str>> = terms.chain(glass).cloned().collect();
        check_member(rules.people, &account, &who.subject, &groups)
    }
}

impl Vote {
    /// With the groups that its giver is still in, as far as the configuration tells.
    pub(crate) fn current(&self, people: &People) -> Vote {
        let member = self.on_behalf_of.as_ref().unwrap_or(&self.account);
        Vote { groups: people.groups(member, &self.groups), ..self.clone() }
    }
}

fn check_person(who: &Approver) -> Result<(), Forbidden> {
    let is_person =
        who.subject.kind == Kind::Human && !who.subject.is_anonymous() && !who.subject.id.is_empty();
    // Someone who acts in a person's name is not that person.
    if is_person && who.subject.actor.is_none() { Ok(()) } else { Err(Forbidden::NotAPerson) }
}

fn check_member(
    people: &People,
    account: &Account,
    subject: &Subject,
    groups: &[Arc<str>],
) -> Result<(), Forbidden> {
    let is_member = people.groups(account, &subject.groups).iter().any(|group| groups.contains(group));
    if is_member { Ok(()) } else { Err(Forbidden::NotInGroup) }
}

/// What is the same is refused, and so is what nobody knows.
fn refused(sameness: Sameness, same: Forbidden, unknown: Forbidden) -> Result<(), Forbidden> {
    match sameness {
        Sameness::Same => Err(same),
        Sameness::Unknown => Err(unknown),
        Sameness::Distinct => Ok(()),
    }
}
