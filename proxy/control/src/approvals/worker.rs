//! What runs beside the requests: approvals end in time, the record gets what it did not take, messages go out, and what
//! other nodes do is told here.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::error::ApprovalError;
use super::request::ApprovalId;
use super::service::Approvals;
use super::state::State;
use super::store::{Written, events, list, sweep};

/// How often it looks for what is over.
const TICK_MS: u64 = 200;
/// Ticks between two notes of the time, and between two looks at what the record lacks.
const TICKS_OF_NOTES: u64 = 5;
/// Ticks between two counts, and between two times that what is long over is forgotten.
const TICKS_OF_CARE: u64 = 150;
/// How far back transitions of other nodes are looked for: their clocks are not ours, and a transaction may end later
/// than it began.
const OVERLAP_MS: i64 = 5_000;
/// How long another node has to offer its transitions to the record itself.
const LEFT_MS: i64 = 30_000;

impl Approvals {
    /// Runs until it is dropped. A fault of the store is no end: what could not be done is done at the next tick.
    pub async fn run(self: Arc<Self>) {
        let mut seen = Seen::default();
        let mut ticks = tokio::time::interval(Duration::from_millis(TICK_MS));
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let messages = tokio::spawn(super::notify::run(Arc::downgrade(&self)));
        let _messages = AbortOnDrop(messages);
        for tick in 0_u64.. {
            ticks.tick().await;
            // Each part fails alone.
            let _ = self.sweep().await;
            let _ = self.note_recorded().await;
            let _ = self.hear_others(&mut seen).await;
            if tick % TICKS_OF_NOTES == 0 {
                let _ = self.note_time().await;
                let _ = self.record_left(self.clock.now_ms().saturating_sub(LEFT_MS)).await;
            }
            if tick % TICKS_OF_CARE == 0 {
                let _ = self.care().await;
            }
        }
    }

    /// Ends what is over now.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn sweep(&self) -> Result<usize, ApprovalError> {
        let mut ended = 0;
        for state in [State::Pending, State::Approved] {
            loop {
                let (clock, node) = (Arc::clone(&self.clock), self.node.clone());
                let transitions = self
                    .store
                    .write(move |c| {
                        Box::pin(async move { sweep::expire(c, &node, state, clock.now_ms()).await })
                    })
                    .await?;
                let count = transitions.len();
                ended += count;
                // What the record does not take now is offered again.
                let _ = self.told(Written { outcome: (), transitions }).await;
                if (count as i64) < sweep::BATCH_MAX {
                    break;
                }
            }
        }
        Ok(ended)
    }

    /// Stores the time, so that a restart goes on from it.
    pub(super) async fn note_time(&self) -> Result<(), ApprovalError> {
        let seen = self.clock.seen();
        self.store.write(move |c| Box::pin(async move { sweep::note_time(c, &seen).await })).await
    }

    async fn hear_others(&self, seen: &mut Seen) -> Result<(), ApprovalError> {
        let now_ms = self.clock.now_ms();
        let since_ms = *seen.since_ms.get_or_insert(now_ms);
        let name = Arc::clone(&self.node.name);
        let told = self
            .store
            .read(move |c| Box::pin(async move { events::of_others(c, &name, since_ms).await }))
            .await?;
        let ids: HashSet<(ApprovalId, i64)> = told.iter().map(|t| (t.approval.clone(), t.seq)).collect();
        for transition in &told {
            if !seen.told.contains(&(transition.approval.clone(), transition.seq)) {
                self.publish(transition);
            }
        }
        // A full batch goes on where it ended; else all but the overlap is done with.
        let last_ms = told.last().map_or(since_ms, |last| last.at_ms);
        seen.since_ms = Some(since_ms.max(last_ms.min(now_ms.saturating_sub(OVERLAP_MS))));
        seen.told = ids;
        Ok(())
    }

    async fn care(&self) -> Result<(), ApprovalError> {
        self.drop_idle_watches();
        let pending = self.store.read(|c| Box::pin(list::pending(c))).await?;
        self.pending.store(pending, Ordering::Relaxed);
        let before_ms = self.clock.now_ms().saturating_sub(self.settings.kept_ms);
        self.store.write(move |c| Box::pin(async move { sweep::forget(c, before_ms).await })).await?;
        Ok(())
    }
}

/// What was heard of other nodes.
#[derive(Debug, Default)]
struct Seen {
    since_ms: Option<i64>,
    told: HashSet<(ApprovalId, i64)>,
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
