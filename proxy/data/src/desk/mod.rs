//! Where shards ask whether a request may go on, and whoever decides answers.
//!
//! ```text
//!   shard ──Question──► one bounded ring ──► the pool
//!     ▲                                        │
//!     └───Answer──── a small ring of its own ◄─┘
//! ```
//!
//! Nothing here waits or locks, and nothing here decides: a ring that is full, a question that is dropped and an answer that
//! does not come in time are refusals, which the asking side makes of them.

mod answer;
mod cache;
mod mailbox;
mod question;

use std::fmt;
use std::future::{Future, poll_fn};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use arc_swap::ArcSwap;
use atomic_waker::AtomicWaker;
use crossbeam_queue::ArrayQueue;

pub use answer::{Answer, Refusal, RefusalKind, Rulesets, Ruling, SetField};
pub(crate) use cache::{Key, RulingCache};
pub(crate) use mailbox::Answers;
pub use mailbox::Mailbox;
pub use question::{Asked, Credential, HeldBody, Question, Secret};

/// What shards ask by, and how long they wait.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeskConfig {
    /// Questions that may wait to be taken, of all shards together; one more is refused with 503. Each takes as much
    /// memory as its facts. Default 4,096.
    pub questions_max: usize,
    /// Milliseconds that an answer may take; then the request is refused with 503. Default 1,000.
    pub answer_ms_max: u64,
    /// Bytes of fields, credentials and target that a question may carry; a request with more is refused with 431.
    /// Default 64 KiB.
    pub facts_bytes_max: usize,
    /// Bytes of a request's body that may be held while it is decided; a larger one is refused with 413. Default 1 MiB.
    pub body_bytes_max: u64,
    /// Bytes of bodies that one shard may hold at once; beyond it requests are refused with 503. Default 64 MiB.
    pub held_bytes_max: u64,
    /// Rulings that a shard remembers. Default 8,192.
    pub cached_max: usize,
}

impl Default for DeskConfig {
    fn default() -> DeskConfig {
        DeskConfig {
            questions_max: 4096,
            answer_ms_max: 1000,
            facts_bytes_max: 64 << 10,
            body_bytes_max: 1 << 20,
            held_bytes_max: 64 << 20,
            cached_max: 8192,
        }
    }
}

/// Fields by which callers prove who they are, in lower case; none of them is ever among [`Asked::fields`].
pub const CREDENTIAL_FIELDS: [&str; 4] = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];

/// Where requests are decided.
pub struct Desk {
    config: DeskConfig,
    questions: ArrayQueue<Question>,
    taker: AtomicWaker,
    /// Lower-case names of the fields whose values are facts.
    fields: ArcSwap<Vec<String>>,
    epoch: AtomicU64,
}

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Desk")
            .field("config", &self.config)
            .field("depth", &self.depth())
            .finish_non_exhaustive()
    }
}

impl Desk {
    /// A desk at which nobody sits yet: until somebody takes questions they are refused, each after its time.
    #[must_use]
    pub fn new(config: DeskConfig) -> Desk {
        Desk {
            questions: ArrayQueue::new(config.questions_max.max(1)),
            config,
            taker: AtomicWaker::new(),
            fields: ArcSwap::default(),
            epoch: AtomicU64::new(1),
        }
    }

    /// Its limits.
    #[must_use]
    pub fn config(&self) -> &DeskConfig {
        &self.config
    }

    /// From now on the values of these fields, by lower-case name, are among the facts, and nothing that was decided
    /// before is remembered.
    pub fn set_fields(&self, mut names: Vec<String>) {
        names.retain(|name| !CREDENTIAL_FIELDS.contains(&name.as_str()));
        names.sort();
        names.dedup();
        self.fields.store(Arc::new(names));
        self.forget();
    }

    /// Nothing that was decided before is remembered: what decides has changed.
    pub fn forget(&self) {
        self.epoch.fetch_add(1, Ordering::Release);
    }

    /// The next question, in the order in which they were asked; for one taker.
    pub fn next(&self) -> impl Future<Output = Question> + Send {
        poll_fn(|cx| {
            if let Some(question) = self.questions.pop() {
                return Poll::Ready(question);
            }
            self.taker.register(cx.waker());
            // One may have come before the waker was there.
            self.questions.pop().map_or(Poll::Pending, Poll::Ready)
        })
    }

    /// Questions that nobody has taken.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.questions.len()
    }

    pub(crate) fn fields(&self) -> Arc<Vec<String>> {
        self.fields.load_full()
    }

    /// What is remembered from another epoch counts for nothing.
    pub(crate) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Asks; `None`: the ring is full.
    pub(crate) fn ask(&self, asked: Asked, body: Option<HeldBody>) -> Option<Answers> {
        let (mailbox, answers) = mailbox::new();
        self.questions.push(Question { asked, body, mailbox }).ok()?;
        self.taker.wake();
        Some(answers)
    }
}

#[cfg(test)]
mod tests;
