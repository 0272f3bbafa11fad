//! Which accounts are one person.
//!
//! Nobody decides over what they ask for themselves, and nobody counts twice. That holds for people, not for accounts: a
//! second issuer gives the same person a second account. So two accounts are held for two people only where that is
//! known: both of one issuer, which gives each person one account, or linked to different people in `[[approvals.person]]`.
//! What is not known counts against the one who would decide.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sluice_policy::{Kind, Subject};

/// An account at an issuer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Account {
    /// The configured name of the issuer.
    pub issuer: Arc<str>,
    /// Its id there.
    pub id: Arc<str>,
}

impl Account {
    /// Of a subject.
    #[must_use]
    pub fn of(subject: &Subject) -> Account {
        Account { issuer: Arc::clone(&subject.issuer), id: Arc::clone(&subject.id) }
    }

    /// From `issuer:id`; the id may hold colons.
    #[must_use]
    pub fn parse(text: &str) -> Option<Account> {
        let (issuer, id) = text.split_once(':')?;
        (!issuer.is_empty() && !id.is_empty()).then(|| Account { issuer: issuer.into(), id: id.into() })
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.issuer, self.id)
    }
}

/// What is known of a person beyond their tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// A name of its own.
    pub name: String,
    /// Their accounts.
    pub accounts: Vec<Account>,
    /// Their id in Slack (`U…`).
    pub slack: Option<String>,
    /// The groups they are in at most, whatever a token says; the groups of who decides in Slack, which gives no token.
    pub groups: Option<Vec<Arc<str>>>,
}

/// What holds for accounts of two issuers that nobody has linked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AcrossIssuers {
    /// They may be one person: neither decides over the other, nor beside it.
    #[default]
    Linked,
    /// They are one person where their ids are the same, in any case of letters, and else two.
    ById,
}

/// Whether two accounts are one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sameness {
    /// They are.
    Same,
    /// They are two people.
    Distinct,
    /// Nobody said.
    Unknown,
}

/// Everyone of whom something is known.
#[derive(Clone, Debug, Default)]
pub struct People {
    /// Linked accounts; an account is listed once.
    pub persons: Vec<Person>,
    /// What holds for the others.
    pub across_issuers: AcrossIssuers,
}

impl People {
    /// The person an account is linked to. The case of letters in its id makes no other account.
    #[must_use]
    pub fn of(&self, account: &Account) -> Option<&Person> {
        let is_it =
            |other: &Account| other.issuer == account.issuer && other.id.eq_ignore_ascii_case(&account.id);
        self.persons.iter().find(|person| person.accounts.iter().any(is_it))
    }

    /// The person with this id in Slack.
    #[must_use]
    pub fn of_slack(&self, user: &str) -> Option<&Person> {
        self.persons.iter().find(|person| person.slack.as_deref() == Some(user))
    }

    /// Whether two accounts are one person.
    #[must_use]
    pub fn compare(&self, a: &Account, b: &Account) -> Sameness {
        if a == b {
            return Sameness::Same;
        }
        let (first, second) = (self.of(a), self.of(b));
        if let (Some(first), Some(second)) = (first, second) {
            return if first.name == second.name { Sameness::Same } else { Sameness::Distinct };
        }
        if a.id.eq_ignore_ascii_case(&b.id) {
            return Sameness::Same;
        }
        let has_at = |person: Option<&Person>, issuer: &str| {
            person.is_some_and(|person| person.accounts.iter().any(|account| *account.issuer == *issuer))
        };
        // A person linked to an account at the other one's issuer is known there by that account.
        if a.issuer == b.issuer || has_at(first, &b.issuer) || has_at(second, &a.issuer) {
            return Sameness::Distinct;
        }
        match self.across_issuers {
            AcrossIssuers::Linked => Sameness::Unknown,
            AcrossIssuers::ById => Sameness::Distinct,
        }
    }

    /// Whether `account` stands behind `subject`: as itself, its owner, or who acts in its name.
    #[must_use]
    pub fn stands_behind(&self, account: &Account, subject: &Subject) -> Sameness {
        let own = Account::of(subject);
        let own = match subject.kind {
            Kind::Human => self.compare(account, &own),
            // A program is no person: only an account that may be the very same one counts.
            Kind::Service | Kind::Agent if *account == own || account.id.eq_ignore_ascii_case(&own.id) => {
                Sameness::Same
            }
            Kind::Service | Kind::Agent => Sameness::Distinct,
        };
        let named = [&subject.owner, &subject.actor].into_iter().flatten();
        named.map(|name| self.is_named(account, name, &subject.issuer)).fold(own, worse)
    }

    /// Whether a name out of a token (an owner, an actor) means `account`. It is `issuer:id` or `issuer/id`, the name of a
    /// person, or an id at the token's own issuer.
    fn is_named(&self, account: &Account, name: &str, issuer: &str) -> Sameness {
        if name.eq_ignore_ascii_case(&account.id) {
            return Sameness::Same;
        }
        let is_person = |person: &&Person| {
            person.name.eq_ignore_ascii_case(name)
                || person.accounts.iter().any(|a| a.id.eq_ignore_ascii_case(name) && *a.issuer == *issuer)
        };
        let known = self.persons.iter().find(is_person).and_then(|person| person.accounts.first().cloned());
        let knows_issuer = |other: &Account| {
            other.issuer == account.issuer
                || *other.issuer == *issuer
                || self.persons.iter().any(|p| p.accounts.iter().any(|a| a.issuer == other.issuer))
        };
        let with_colon = Account::parse(name).filter(knows_issuer);
        let with_slash =
            name.split_once('/').and_then(|(issuer, id)| Account::parse(&format!("{issuer}:{id}")));
        let spelled = with_colon.or(with_slash.filter(knows_issuer));
        let at_issuer = || Account { issuer: issuer.into(), id: name.into() };
        self.compare(account, &spelled.or(known).unwrap_or_else(at_issuer))
    }

    /// The groups of an account that count: those of its token, less what is configured of the person.
    #[must_use]
    pub fn groups(&self, account: &Account, of_token: &[Arc<str>]) -> Vec<Arc<str>> {
        match self.of(account).and_then(|person| person.groups.as_ref()) {
            Some(groups) => of_token.iter().filter(|group| groups.contains(group)).cloned().collect(),
            None => of_token.to_vec(),
        }
    }
}

/// The one that counts against who would decide.
fn worse(a: Sameness, b: Sameness) -> Sameness {
    match (a, b) {
        (Sameness::Same, _) | (_, Sameness::Same) => Sameness::Same,
        (Sameness::Unknown, _) | (_, Sameness::Unknown) => Sameness::Unknown,
        (Sameness::Distinct, Sameness::Distinct) => Sameness::Distinct,
    }
}

#[cfg(test)]
mod tests;
