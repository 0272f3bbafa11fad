//! The writer's loop.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::queue::{Message, Queued, Shared, State};
use super::{Durability, RecorderOptions};
use crate::Ack;
use crate::log::{Disk, Log, LogError, lock};
use crate::record::{Gap, Kind, NewRecord};

/// What the records of one block cost at most, but for the last of them: six times this and one more record stay below
/// what a block may have.
const BATCH_COST_MAX: usize = 1 << 20;
/// Records of one block.
const BATCH_RECORDS_MAX: usize = 4_096;
/// How often segments are looked at that nothing is written to.
const TICK: Duration = Duration::from_millis(250);
/// How many times as long as the first one a try waits at most.
const RETRY_GROWTH_MAX: u32 = 32;

pub(super) struct Worker {
    options: RecorderOptions,
    disk: Box<dyn Fn() -> Box<dyn Disk> + Send>,
    receiver: Receiver<Message>,
    shared: Arc<Shared>,
    /// None while the disk fails.
    log: Option<Log>,
    /// Held as long as the writer runs.
    _lock: File,
    started: Instant,
    /// Records written and not synced, and since when.
    unsynced: u64,
    synced: Instant,
    /// What the next gap tells.
    gap: Gap,
    retry_at: Instant,
    retry_growth: u32,
}

/// Nanoseconds since 1970.
fn wall_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

impl Worker {
    pub(super) fn open(
        options: RecorderOptions,
        disk: Box<dyn Fn() -> Box<dyn Disk> + Send>,
        receiver: Receiver<Message>,
        shared: Arc<Shared>,
    ) -> Result<Worker, LogError> {
        let lock = lock(&options.log.folder)?;
        let now = Instant::now();
        let mut worker = Worker {
            options,
            disk,
            receiver,
            shared,
            log: None,
            _lock: lock,
            started: now,
            unsynced: 0,
            synced: now,
            gap: Gap { reason: "stopped".to_owned(), ..Gap::default() },
            retry_at: now,
            retry_growth: 1,
        };
        let log = Log::open(worker.options.log.clone(), (worker.disk)(), wall_ns())?;
        let is_gap = log.cut.is_some();
        worker.gap.bytes_cut = log.cut.unwrap_or(0);
        worker.log = Some(log);
        if is_gap {
            worker.write_gap()?;
        }
        worker.gap = Gap::default();
        Ok(worker)
    }

    pub(super) fn run(mut self) -> Result<(), LogError> {
        loop {
            match self.receiver.recv_timeout(self.patience()) {
                Ok(Message::Record(first)) => {
                    let (batch, is_end) = self.batch(first);
                    self.take(batch);
                    if is_end {
                        break;
                    }
                }
                Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => {}
            }
            self.tick();
        }
        // What was on its way when the end was told.
        while let Ok(Message::Record(first)) = self.receiver.try_recv() {
            let (batch, _) = self.batch(first);
            self.take(batch);
        }
        self.shared.set_state(State::Closed);
        if self.log.is_none() {
            self.reopen();
        }
        match self.log.take() {
            Some(log) => log.close(wall_ns()),
            None => Err(LogError::thread(std::io::Error::other("the disk still fails"))),
        }
    }

    fn patience(&self) -> Duration {
        match self.log {
            Some(_) => TICK.min(Duration::from_millis(self.options.sync_ms)),
            None => TICK.min(self.retry_at.saturating_duration_since(Instant::now())),
        }
    }

    /// This record and what waits behind it, up to a block's worth; and whether the end was among it.
    fn batch(&mut self, first: Queued) -> (Vec<Queued>, bool) {
        let mut cost = first.cost;
        let mut batch = vec![first];
        let mut is_end = false;
        while cost < BATCH_COST_MAX && batch.len() < BATCH_RECORDS_MAX {
            match self.receiver.try_recv() {
                Ok(Message::Record(queued)) => {
                    cost += queued.cost;
                    batch.push(queued);
                }
                Ok(Message::Close) => {
                    is_end = true;
                    break;
                }
                Err(_) => break,
            }
        }
        (batch, is_end)
    }

    /// Writes a batch and says so, or says that it could not.
    fn take(&mut self, mut batch: Vec<Queued>) {
        let (records, bytes) = (batch.len(), batch.iter().map(|queued| queued.cost).sum());
        let written = self.write(&batch);
        let acks: Vec<Ack> = batch.iter_mut().filter_map(|queued| queued.ack.take()).collect();
        match written {
            Ok(()) => {
                acks.into_iter().for_each(Ack::durable);
                self.shared.records.fetch_add(records as u64, Ordering::Relaxed);
            }
            Err(error) => {
                let refused = acks.len() as u64;
                self.shared.count_refused(refused);
                self.gap.refused += refused;
                self.lose(records as u64 - refused);
                if let Some(error) = error {
                    self.fail(&error);
                }
                // Dropped, they say that nothing is durable; by then nothing more is taken.
                drop(acks);
            }
        }
        self.shared.taken(records, bytes);
        self.shared.wake();
    }

    /// None: there was no log to write to.
    fn write(&mut self, batch: &[Queued]) -> Result<(), Option<LogError>> {
        let log = self.log.as_mut().ok_or(None)?;
        let now_ns = wall_ns();
        log.append(batch.iter().map(|queued| (&queued.record, None)), now_ns).map_err(Some)?;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        match self.options.durability {
            Durability::Strict => log.commit().map_err(Some)?,
            Durability::Relaxed => self.unsynced += batch.len() as u64,
        }
        Ok(())
    }

    /// What is due without records.
    fn tick(&mut self) {
        let now_ns = wall_ns();
        let is_due = self.synced.elapsed() >= Duration::from_millis(self.options.sync_ms);
        let Some(log) = self.log.as_mut() else {
            if Instant::now() >= self.retry_at {
                self.reopen();
            }
            return;
        };
        self.shared.bytes.store(log.bytes(), Ordering::Relaxed);
        let is_full = log.is_due(now_ns);
        let mut done = Ok(());
        if self.unsynced > 0 && (is_due || is_full) {
            done = log.commit();
            self.synced = Instant::now();
        }
        if done.is_ok() && is_full {
            done = log.seal(now_ns);
        }
        match done {
            Ok(()) if is_due || is_full => self.unsynced = 0,
            Ok(()) => {}
            Err(error) => self.fail(&error),
        }
    }

    /// Records that nobody heard of again.
    fn lose(&mut self, records: u64) {
        self.gap.lost = Some(self.gap.lost.unwrap_or(0) + records);
        self.shared.lost.fetch_add(records, Ordering::Relaxed);
    }

    /// The log is given up; what is on the disk is read back when it is opened anew.
    fn fail(&mut self, error: &LogError) {
        self.log = None;
        let unsynced = std::mem::take(&mut self.unsynced);
        self.lose(unsynced);
        self.gap.error = error.to_string();
        self.retry_growth = 1;
        self.retry_at = Instant::now() + Duration::from_millis(self.options.retry_ms);
        self.shared.set_state(State::Failing);
    }

    fn reopen(&mut self) {
        let opened = Log::open(self.options.log.clone(), (self.disk)(), wall_ns());
        let done = opened.and_then(|log| {
            self.gap.bytes_cut += log.cut.unwrap_or(0);
            self.log = Some(log);
            self.gap.reason = "disk".to_owned();
            self.gap.refused += self.shared.take_refused();
            self.write_gap()
        });
        match done {
            Ok(()) => {
                self.gap = Gap::default();
                self.shared.set_state(State::Serving);
            }
            Err(error) => {
                self.log = None;
                self.gap.error = error.to_string();
                self.retry_growth = (self.retry_growth * 2).min(RETRY_GROWTH_MAX);
                let wait = Duration::from_millis(self.options.retry_ms) * self.retry_growth;
                self.retry_at = Instant::now() + wait;
            }
        }
    }

    /// Writes the gap as a record of its own, and syncs it.
    fn write_gap(&mut self) -> Result<(), LogError> {
        let Some(log) = self.log.as_mut() else { return Ok(()) };
        let mono_ns = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let now_ns = wall_ns();
        let record = NewRecord { wall_ns: now_ns, mono_ns, kind: Kind::Gap, ..NewRecord::default() };
        log.append([(&record, Some(&self.gap))], now_ns)?;
        log.commit()
    }
}
