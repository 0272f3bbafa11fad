//! Approvals as the rest of the gateway uses them.
//!
//! [`Approvals::ask`] is what the data path calls for each request that needs people; [`Approvals::watch`] is how it waits
//! with a request that it holds. Every change tells its transition to the record before anyone is answered; where the
//! record does not take it, nothing goes on, and it is offered again.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_policy::Subject;
use tokio::sync::{broadcast, watch};

use super::approval::{Approver, Command, checked_reason};
use super::clock::{Clock, SystemTimeSource, TimeSource};
use super::error::ApprovalError;
use super::people::{Account, People};
use super::quorum::PLACES_MAX;
use super::request::{ApprovalId, ApprovalRequest, Asked, hex};
use super::settings::Settings;
use super::state::{State, Step};
use super::store::{Store, Written, delegations, events, list, rows, transitions};
use super::transition::{Origin, Transition, TransitionSink};

/// Transitions that a slow listener may be behind.
const EVENTS_MAX: usize = 1_024;
/// How often a watch looks into the store by itself: what another node decides shows then at the latest.
const WATCH_MS: u64 = 1_000;
/// Groups of a request's terms.
const GROUPS_MAX: usize = 16;

/// The approvals of a gateway.
pub struct Approvals {
    pub(super) settings: Settings,
    people: Mutex<Arc<People>>,
    pub(super) store: Store,
    pub(super) clock: Arc<Clock>,
    pub(super) node: transitions::Node,
    pub(super) sink: Option<Arc<dyn TransitionSink>>,
    pub(super) live: broadcast::Sender<Arc<Transition>>,
    watches: Mutex<HashMap<ApprovalId, watch::Sender<State>>>,
    /// How many are pending, as far as this node knows.
    pub(super) pending: AtomicI64,
    /// Taken by the record, and not yet noted so.
    pub(super) recorded: Mutex<Vec<(ApprovalId, i64)>>,
    /// Approvals with a transition that the record has not taken.
    pub(super) unrecorded: Mutex<HashSet<ApprovalId>>,
}

impl fmt::Debug for Approvals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Approvals")
            .field("store", &self.store)
            .field("clock", &self.clock)
            .finish_non_exhaustive()
    }
}

impl Approvals {
    /// Opens the store. Nothing ends by itself before [`Approvals::run`] runs, though nothing that is over is of use.
    ///
    /// # Errors
    /// The store can't be opened, or `sink` does not take what is left from before.
    pub async fn open(
        settings: Settings,
        sink: Option<Arc<dyn TransitionSink>>,
    ) -> Result<Arc<Approvals>, ApprovalError> {
        Approvals::open_at(settings, sink, Box::new(SystemTimeSource::new())).await
    }

    /// The same by another time.
    ///
    /// # Errors
    /// As [`Approvals::open`].
    pub async fn open_at(
        settings: Settings,
        sink: Option<Arc<dyn TransitionSink>>,
        time: Box<dyn TimeSource>,
    ) -> Result<Arc<Approvals>, ApprovalError> {
        let clock = Arc::new(Clock::new(time));
        let store = Store::open(&settings.database, settings.op_ms_max).await?;
        store.resume(&clock).await?;
        let mut name = [0; 8];
        getrandom::fill(&mut name)?;
        let targets = settings.webhooks.iter().map(|webhook| webhook.name.clone());
        let slack = settings.slack.iter().map(|_| super::notify::SLACK.to_owned());
        let node = transitions::Node {
            name: hex(&name).into(),
            has_sink: sink.is_some(),
            targets: targets.chain(slack).collect(),
        };
        let pending = store.read(|c| Box::pin(list::pending(c))).await?;
        let people = Mutex::new(Arc::clone(&settings.people));
        let approvals = Arc::new(Approvals {
            settings,
            people,
            store,
            clock,
            node,
            sink,
            live: broadcast::channel(EVENTS_MAX).0,
            watches: Mutex::default(),
            pending: AtomicI64::new(pending),
            recorded: Mutex::default(),
            unrecorded: Mutex::default(),
        });
        approvals.record_left(i64::MAX).await?;
        Ok(approvals)
    }

    /// What becomes of a request that needs people: asked again, the same request uses up its grant.
    ///
    /// # Errors
    /// It can't be decided now, or can't be asked for at all: refuse it.
    pub async fn ask(&self, request: ApprovalRequest) -> Result<Asked, ApprovalError> {
        if request.subject.is_anonymous() && !self.settings.anonymous {
            return Err(ApprovalError::Anonymous);
        }
        check_terms(&request.terms.groups)?;
        let ask = transitions::Ask {
            request,
            id: ApprovalId::random()?,
            pending_ms: self.settings.pending_ms,
            grant_ms: self.settings.grant_ms,
            denial_ms: self.settings.denial_ms,
            retry_after_s: self.settings.retry_after_s,
            of_subject_max: self.settings.pending_of_subject_max,
            is_full: self.is_full(),
        };
        let (clock, node) = (Arc::clone(&self.clock), self.node.clone());
        let written = self
            .store
            .write(move |c| {
                Box::pin(async move {
                    let now_ms = clock.now_ms();
                    ask.run(c, &node, now_ms).await
                })
            })
            .await?;
        self.told(written).await
    }

    /// Waits for what is decided of an approval.
    ///
    /// # Errors
    /// There is no such approval, or the store does not answer.
    pub async fn watch(self: &Arc<Self>, id: &ApprovalId) -> Result<Watch, ApprovalError> {
        // Listening before looking: what happens between the two is not missed.
        let receiver = {
            let mut watches = lock(&self.watches);
            let sender = watches.entry(id.clone()).or_insert_with(|| watch::channel(State::Pending).0);
            sender.subscribe()
        };
        let mut watch =
            Watch { approvals: Arc::clone(self), id: id.clone(), receiver, state: State::Pending };
        watch.look().await?;
        Ok(watch)
    }

    /// The client of a request that was held has left: where nobody else waits for the approval here, it is cancelled.
    /// True where it was.
    ///
    /// # Errors
    /// The store does not answer: the approval ends by itself in time.
    pub async fn cancel(&self, watch: Watch) -> Result<bool, ApprovalError> {
        let id = watch.id.clone();
        drop(watch);
        if lock(&self.watches).get(&id).is_some_and(|sender| sender.receiver_count() > 0) {
            return Ok(false);
        }
        let (clock, node) = (Arc::clone(&self.clock), self.node.clone());
        let cancelled = self
            .store
            .write(move |c| Box::pin(async move { transitions::cancel(c, &node, &id, clock.now_ms()).await }))
            .await;
        match cancelled {
            Ok(written) => self.told(written).await.map(|_| true),
            Err(ApprovalError::Forbidden(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Every transition from now on. Who is too slow misses some, and is told so.
    #[must_use]
    pub fn live(&self) -> broadcast::Receiver<Arc<Transition>> {
        self.live.subscribe()
    }

    /// How many are pending, as far as this node knows.
    #[must_use]
    pub fn pending(&self) -> u64 {
        u64::try_from(self.pending.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// From now on these are the people: links and groups count at once, for votes that were cast too.
    pub fn set_people(&self, people: Arc<People>) {
        *lock(&self.people) = people;
    }

    pub(super) fn people(&self) -> Arc<People> {
        Arc::clone(&lock(&self.people))
    }

    /// Closes the store: whatever is asked afterwards is refused.
    pub async fn close(&self) {
        self.store.close().await;
    }

    /// Someone was proved to be in these groups, and in no others: what rests on another membership of theirs counts no
    /// more. To be called for everyone who decides; other callers may be told of too.
    ///
    /// # Errors
    /// The store does not answer.
    pub async fn observe(&self, subject: &Subject) -> Result<(), ApprovalError> {
        if subject.is_anonymous() {
            return Ok(());
        }
        let (account, groups) = (Account::of(subject), subject.groups.clone());
        let has_lost = {
            let (account, groups) = (account.clone(), groups.clone());
            self.store
                .read(move |c| Box::pin(async move { delegations::has_lost(c, &account, &groups).await }))
                .await?
        };
        if has_lost {
            self.store
                .write(move |c| Box::pin(async move { delegations::take_lost(c, &account, &groups).await }))
                .await?;
        }
        Ok(())
    }

    /// A person does something to an approval, from `origin`.
    pub(super) async fn act(
        &self,
        id: ApprovalId,
        command: Command,
        subject: Arc<Subject>,
        reason: &str,
        origin: Origin,
    ) -> Result<State, ApprovalError> {
        let reason = checked_reason(reason)?;
        self.observe(&subject).await?;
        let deed = transitions::Deed {
            id,
            command,
            who: Approver { subject, delegated: Vec::new() },
            reason,
            origin,
            people: self.people(),
            break_glass: self.settings.break_glass.clone(),
        };
        let (clock, node) = (Arc::clone(&self.clock), self.node.clone());
        let written = self
            .store
            .write(move |c| Box::pin(async move { deed.run(c, &node, clock.now_ms()).await }))
            .await?;
        self.told(written).await
    }

    /// Tells of what was written, to the record first.
    pub(super) async fn told<T>(&self, written: Written<T>) -> Result<T, ApprovalError> {
        let mut is_recorded = true;
        for transition in &written.transitions {
            is_recorded &= self.record(transition).await;
            self.publish(transition);
        }
        if is_recorded { Ok(written.outcome) } else { Err(ApprovalError::Unrecorded) }
    }

    /// Offers a transition to the record. Where an earlier one of the approval was not taken, it waits its turn.
    async fn record(&self, transition: &Transition) -> bool {
        let Some(sink) = &self.sink else { return true };
        let id = &transition.approval;
        if !lock(&self.unrecorded).contains(id) && sink.record(transition).await.is_ok() {
            lock(&self.recorded).push((id.clone(), transition.seq));
            return true;
        }
        lock(&self.unrecorded).insert(id.clone());
        false
    }

    /// Offers the record what it has not taken: of this node, and of others from before `others_before_ms`.
    pub(super) async fn record_left(&self, others_before_ms: i64) -> Result<(), ApprovalError> {
        let Some(sink) = &self.sink else { return Ok(()) };
        self.note_recorded().await?;
        let name = Arc::clone(&self.node.name);
        let left = self
            .store
            .read(move |c| Box::pin(async move { events::unrecorded(c, &name, others_before_ms).await }))
            .await?;
        let mut taken: Vec<(ApprovalId, i64)> = Vec::new();
        let mut is_taken = true;
        for transition in &left {
            is_taken = sink.record(transition).await.is_ok();
            if !is_taken {
                break;
            }
            taken.push((transition.approval.clone(), transition.seq));
        }
        let ids: HashSet<ApprovalId> = taken.iter().map(|(id, _)| id.clone()).collect();
        lock(&self.recorded).extend(taken);
        self.note_recorded().await?;
        for id in ids {
            let asked = id.clone();
            let is_left = self
                .store
                .read(move |c| Box::pin(async move { events::has_unrecorded(c, &asked).await }))
                .await?;
            if !is_left {
                lock(&self.unrecorded).remove(&id);
            }
        }
        if is_taken { Ok(()) } else { Err(ApprovalError::Unrecorded) }
    }

    /// Notes in the store what the record has taken.
    pub(super) async fn note_recorded(&self) -> Result<(), ApprovalError> {
        let taken = std::mem::take(&mut *lock(&self.recorded));
        if taken.is_empty() {
            return Ok(());
        }
        let noted = taken.clone();
        let done =
            self.store.write(move |c| Box::pin(async move { events::recorded(c, &noted).await })).await;
        if done.is_err() {
            // They come again, which a record tells by their numbers.
            lock(&self.recorded).extend(taken);
        }
        done
    }

    /// Tells those who listen and wait.
    pub(super) fn publish(&self, transition: &Transition) {
        self.count(transition);
        let mut watches = lock(&self.watches);
        if let Some(sender) = watches.get(&transition.approval) {
            sender.send_replace(transition.to);
            if sender.receiver_count() == 0 {
                watches.remove(&transition.approval);
            }
        }
        drop(watches);
        // Nobody may listen.
        let _ = self.live.send(Arc::new(transition.clone()));
    }

    fn count(&self, transition: &Transition) {
        if transition.step == Step::Ask {
            self.pending.fetch_add(1, Ordering::Relaxed);
        } else if transition.from == Some(State::Pending) && transition.to != State::Pending {
            self.pending.fetch_sub(1, Ordering::Relaxed);
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.pending.load(Ordering::Relaxed) >= self.settings.pending_max
    }

    /// Forgets watches that nobody has any more.
    pub(super) fn drop_idle_watches(&self) {
        lock(&self.watches).retain(|_, sender| sender.receiver_count() > 0);
    }
}

/// The terms name someone, and not more than can be kept.
pub(super) fn check_terms(groups: &[(Arc<str>, u32)]) -> Result<(), ApprovalError> {
    let places = groups.iter().fold(0_u32, |sum, (_, min)| sum.saturating_add(*min));
    let is_named = groups.iter().all(|(name, min)| !name.is_empty() && *min > 0);
    let mut names: Vec<&str> = groups.iter().map(|(name, _)| name.as_ref()).collect();
    names.sort_unstable();
    let is_twice = names.iter().zip(names.iter().skip(1)).any(|(a, b)| a == b);
    let is_good = !groups.is_empty() && groups.len() <= GROUPS_MAX && is_named && !is_twice;
    if is_good && places <= PLACES_MAX { Ok(()) } else { Err(ApprovalError::Terms) }
}

/// Someone waits for an approval.
pub struct Watch {
    approvals: Arc<Approvals>,
    id: ApprovalId,
    receiver: watch::Receiver<State>,
    state: State,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("id", &self.id).field("state", &self.state).finish_non_exhaustive()
    }
}

impl Watch {
    /// The state that was seen last.
    #[must_use]
    pub fn state(&self) -> State {
        self.state
    }

    /// Waits until it is pending no more. Where it is approved, ask again: only that uses up the grant.
    ///
    /// It may be dropped at any time and called again.
    ///
    /// # Errors
    /// The store does not answer: refuse the request.
    pub async fn decided(&mut self) -> Result<State, ApprovalError> {
        while self.state == State::Pending {
            let changed =
                tokio::time::timeout(Duration::from_millis(WATCH_MS), self.receiver.changed()).await;
            match changed {
                Ok(Ok(())) => self.state = *self.receiver.borrow_and_update(),
                Ok(Err(_)) | Err(_) => self.look().await?,
            }
        }
        Ok(self.state)
    }

    async fn look(&mut self) -> Result<(), ApprovalError> {
        let id = self.id.clone();
        let approval =
            self.approvals.store.read(move |c| Box::pin(async move { rows::find(c, &id).await })).await?;
        self.state = list::seen(approval.state, approval.expires_ms, self.approvals.clock.now_ms());
        Ok(())
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
