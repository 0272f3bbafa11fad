//! Quotas: how much a subject, a group or everybody may use in a window that slides.
//!
//! Two windows are counted, the one that runs and the one before it, which still counts for the part of it
//! that the last `window_seconds` cover. So there is no moment at which twice the quota goes through.

use std::sync::Arc;

use super::table::Table;
use crate::Facts;
use crate::operation::Acts;
use crate::set::Effect;
use crate::set::selectors::{Dimension, Hold, Selectors};

/// Whose use is counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Per {
    Subject,
    /// Each of its groups that the quota names, or all where it names none.
    Group,
    All,
}

/// A quota.
#[derive(Debug)]
pub(crate) struct Quota {
    pub(crate) id: Arc<str>,
    pub(crate) selectors: Selectors,
    pub(crate) per: Per,
    pub(crate) window_ms: u64,
    pub(crate) requests_max: Option<u64>,
    pub(crate) tokens_max: Option<u64>,
    pub(crate) bytes_max: Option<u64>,
}

/// What was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Requests that went on.
    pub requests: u64,
    /// Tokens, of question and answer.
    pub tokens: u64,
    /// Bytes of bodies, both ways.
    pub bytes: u64,
}

impl Usage {
    fn add(self, other: Usage) -> Usage {
        Usage {
            requests: self.requests.saturating_add(other.requests),
            tokens: self.tokens.saturating_add(other.tokens),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    /// The part of it that `left` of `of` is, rounded up.
    fn part(self, left: u64, of: u64) -> Usage {
        let part = |n: u64| {
            let exact = (u128::from(n) * u128::from(left)).div_ceil(u128::from(of.max(1)));
            u64::try_from(exact).unwrap_or(u64::MAX)
        };
        Usage { requests: part(self.requests), tokens: part(self.tokens), bytes: part(self.bytes) }
    }
}

/// How a request stands to a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    /// It does not count.
    None,
    Within,
    Over(&'static str),
    NeedsBody,
}

/// The window that runs, and the one before it.
#[derive(Clone, Copy, Debug, Default)]
struct Counter {
    from_ms: u64,
    before: Usage,
    now: Usage,
}

impl Counter {
    fn at(self, now_ms: u64, window_ms: u64) -> Counter {
        let passed = now_ms.saturating_sub(self.from_ms);
        if passed < window_ms {
            return self;
        }
        let from_ms = now_ms - passed % window_ms;
        let before = if passed < window_ms.saturating_mul(2) { self.now } else { Usage::default() };
        Counter { from_ms, before, now: Usage::default() }
    }

    fn used(&self, now_ms: u64, window_ms: u64) -> Usage {
        let left = window_ms.saturating_sub(now_ms.saturating_sub(self.from_ms));
        self.now.add(self.before.part(left, window_ms))
    }
}

type Key = (String, String);

/// Counters of quotas.
#[derive(Debug)]
pub(crate) struct Quotas {
    table: Table<Key, Counter>,
}

impl Quotas {
    pub(super) fn new(counters_max: usize) -> Quotas {
        Quotas { table: Table::new(counters_max) }
    }

    /// Counts use.
    pub(crate) fn charge(&mut self, quota: &Quota, facts: &Facts, usage: Usage, now_ms: u64) {
        for key in quota.keys(facts) {
            let start = Counter { from_ms: now_ms, ..Counter::default() };
            let counter = self.table.get(&key, now_ms).copied().unwrap_or(start);
            let counter = counter.at(now_ms, quota.window_ms);
            let counter = Counter { now: counter.now.add(usage), ..counter };
            let until_ms = counter.from_ms.saturating_add(quota.window_ms.saturating_mul(2));
            // A request finds no room before it goes on: what comes here has some.
            let _ = self.table.set(key, counter, until_ms, now_ms);
        }
    }

    fn used(&self, key: &Key, quota: &Quota, now_ms: u64) -> Option<Usage> {
        match self.table.get(key, now_ms) {
            Some(counter) => Some(counter.at(now_ms, quota.window_ms).used(now_ms, quota.window_ms)),
            None => self.table.has_room(key, now_ms).then(Usage::default),
        }
    }
}

impl Quota {
    /// Whether a request counts for it.
    pub(crate) fn counts(&self, facts: &Facts, acts: &Acts) -> Hold {
        self.selectors.hold(Effect::Block, facts, acts)
    }

    /// Whose counters a request counts for.
    fn keys(&self, facts: &Facts) -> Vec<Key> {
        let subject = &*facts.subject;
        let key = |of: String| (self.id.to_string(), of);
        match self.per {
            // The length keeps an issuer's name and an id apart.
            Per::Subject => {
                vec![key(format!("{}:{}{}", subject.issuer.len(), subject.issuer, subject.id))]
            }
            Per::All => vec![key(String::new())],
            Per::Group => {
                let list = self.selectors.lists.iter().find(|(of, _)| *of == Dimension::Groups);
                let is_named = |group: &&Arc<str>| list.is_none_or(|(_, patterns)| patterns.matches(group));
                subject.groups.iter().filter(is_named).map(|group| key(group.to_string())).collect()
            }
        }
    }

    /// Whether there is room for another request. Without memory there is none.
    pub(crate) fn room(&self, facts: &Facts, acts: &Acts, memory: Option<(&Quotas, u64)>) -> Room {
        match self.counts(facts, acts) {
            Hold::Yes => {}
            Hold::No(_) => return Room::None,
            Hold::NeedsBody(_) => return Room::NeedsBody,
        }
        let Some((quotas, now_ms)) = memory else { return Room::Over("nothing of quotas is remembered") };
        for key in self.keys(facts) {
            let Some(used) = quotas.used(&key, self, now_ms) else {
                return Room::Over("there is no room for another counter of a quota");
            };
            let is_used_up = |used: u64, most: Option<u64>| most.is_some_and(|most| used >= most);
            if is_used_up(used.requests, self.requests_max) {
                return Room::Over("a quota of requests is used up");
            }
            if is_used_up(used.tokens, self.tokens_max) {
                return Room::Over("a quota of tokens is used up");
            }
            if is_used_up(used.bytes, self.bytes_max) {
                return Room::Over("a quota of bytes is used up");
            }
        }
        Room::Within
    }
}
