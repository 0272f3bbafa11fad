//! What shards and the writer share: the queue with its bounds, the state, and who waits for room.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use atomic_waker::AtomicWaker;

use super::RecorderStats;
use crate::ack::Ack;
use crate::record::{NewRecord, RECORD_COST_MAX};

/// A record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// More waits already than may: the disk is slower than traffic.
    Full,
    /// The disk fails.
    Failing,
    /// The writer has ended.
    Closed,
    /// The record costs more than [`RECORD_COST_MAX`].
    TooLarge,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refused::Full => "too many records wait for the disk",
            Refused::Failing => "the record can't be written",
            Refused::Closed => "the record is closed",
            Refused::TooLarge => "a record is larger than it may be",
        })
    }
}

impl std::error::Error for Refused {}

/// How the writer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Serving = 0,
    Failing = 1,
    Closed = 2,
}

/// What the writer gets.
#[derive(Debug)]
pub(super) enum Message {
    Record(Queued),
    /// Nothing comes any more.
    Close,
}

/// A record that waits.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) record: NewRecord,
    pub(super) ack: Option<Ack>,
    pub(super) cost: usize,
}

#[derive(Debug)]
pub(super) struct Shared {
    sender: SyncSender<Message>,
    records_max: usize,
    bytes_max: usize,
    queued: AtomicUsize,
    queued_bytes: AtomicUsize,
    state: AtomicU8,
    waiters: Mutex<Vec<Arc<Waiter>>>,
    pub(super) records: AtomicU64,
    pub(super) commits: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) lost: AtomicU64,
    refused: AtomicU64,
    /// Records refused since the disk began to fail.
    refused_failing: AtomicU64,
}

impl Shared {
    pub(super) fn new(records_max: usize, bytes_max: usize) -> (Arc<Shared>, Receiver<Message>) {
        // One place more than records may wait, so that the end always has one.
        let (sender, receiver) = sync_channel(records_max.saturating_add(1));
        let shared = Shared {
            sender,
            records_max,
            bytes_max,
            queued: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            state: AtomicU8::new(State::Serving as u8),
            waiters: Mutex::default(),
            records: AtomicU64::new(0),
            commits: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            refused_failing: AtomicU64::new(0),
        };
        (Arc::new(shared), receiver)
    }

    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::Acquire) {
            0 => State::Serving,
            1 => State::Failing,
            _ => State::Closed,
        }
    }

    /// Once closed it stays so.
    pub(super) fn set_state(&self, state: State) {
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, |now| {
            (now != State::Closed as u8).then_some(state as u8)
        });
        self.wake();
    }

    pub(super) fn push(&self, record: NewRecord, ack: Option<Ack>) -> Result<(), Refused> {
        let pushed = self.try_push(record, ack);
        if pushed.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        pushed
    }

    fn try_push(&self, record: NewRecord, ack: Option<Ack>) -> Result<(), Refused> {
        match self.state() {
            State::Serving => {}
            State::Failing => {
                self.refused_failing.fetch_add(1, Ordering::Relaxed);
                return Err(Refused::Failing);
            }
            State::Closed => return Err(Refused::Closed),
        }
        let cost = record.cost();
        if cost > RECORD_COST_MAX {
            return Err(Refused::TooLarge);
        }
        let queued = self.queued.fetch_add(1, Ordering::AcqRel);
        let bytes = self.queued_bytes.fetch_add(cost, Ordering::AcqRel);
        let is_over = queued >= self.records_max || (bytes > 0 && bytes + cost > self.bytes_max);
        let sent = if is_over {
            Err(Refused::Full)
        } else {
            self.sender.try_send(Message::Record(Queued { record, ack, cost })).map_err(|e| match e {
                TrySendError::Full(_) => Refused::Full,
                TrySendError::Disconnected(_) => Refused::Closed,
            })
        };
        if sent.is_err() {
            self.taken(1, cost);
        }
        sent
    }

    /// The writer has taken this out of the queue, or it never was in.
    pub(super) fn taken(&self, records: usize, bytes: usize) {
        self.queued.fetch_sub(records, Ordering::AcqRel);
        self.queued_bytes.fetch_sub(bytes, Ordering::AcqRel);
    }

    fn has_room(&self) -> bool {
        let bytes = self.queued_bytes.load(Ordering::Acquire);
        self.queued.load(Ordering::Acquire) < self.records_max
            && (bytes == 0 || bytes.saturating_add(RECORD_COST_MAX) <= self.bytes_max)
    }

    /// Records refused since the last time this was asked.
    pub(super) fn take_refused(&self) -> u64 {
        self.refused_failing.swap(0, Ordering::Relaxed)
    }

    pub(super) fn count_refused(&self, records: u64) {
        self.refused.fetch_add(records, Ordering::Relaxed);
    }

    /// Takes nothing more and tells the writer to end.
    pub(super) fn close(&self) {
        self.set_state(State::Closed);
        // A writer that has ended needs no telling.
        let _ = self.sender.send(Message::Close);
    }

    /// Wakes who waits for room.
    pub(super) fn wake(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for waiter in waiters {
            waiter.is_listed.store(false, Ordering::Release);
            waiter.waker.wake();
        }
    }

    pub(super) fn stats(&self) -> RecorderStats {
        let of = |number: &AtomicU64| number.load(Ordering::Relaxed);
        RecorderStats {
            records: of(&self.records),
            commits: of(&self.commits),
            bytes: of(&self.bytes),
            refused: of(&self.refused),
            lost: of(&self.lost),
            queued: self.queued.load(Ordering::Relaxed) as u64,
            queued_bytes: self.queued_bytes.load(Ordering::Relaxed) as u64,
            is_failing: self.state() != State::Serving,
        }
    }
}

#[derive(Debug, Default)]
struct Waiter {
    waker: AtomicWaker,
    is_listed: AtomicBool,
}

/// A future that ends when there is room for a record, or never will be.
#[derive(Debug)]
pub struct Room {
    shared: Arc<Shared>,
    waiter: Arc<Waiter>,
}

impl Room {
    pub(super) fn new(shared: Arc<Shared>) -> Room {
        Room { shared, waiter: Arc::default() }
    }

    fn now(&self) -> Option<Result<(), Refused>> {
        match self.shared.state() {
            State::Serving => self.shared.has_room().then_some(Ok(())),
            State::Failing => Some(Err(Refused::Failing)),
            State::Closed => Some(Err(Refused::Closed)),
        }
    }
}

impl Future for Room {
    type Output = Result<(), Refused>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(now) = self.now() {
            return Poll::Ready(now);
        }
        self.waiter.waker.register(cx.waker());
        if !self.waiter.is_listed.swap(true, Ordering::AcqRel) {
            let mut waiters = self.shared.waiters.lock().unwrap_or_else(PoisonError::into_inner);
            waiters.push(Arc::clone(&self.waiter));
        }
        // There may be room since before the waker was there.
        self.now().map_or(Poll::Pending, Poll::Ready)
    }
}
