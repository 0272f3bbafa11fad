//! The writer: a thread of its own that takes records from every shard, writes many with one sync, and says when they
//! are durable.
//!
//! ```text
//! serving ── a write fails ──▶ failing ── the record is opened anew, the gap is written ──▶ serving
//!    └───────── close ─────────▶ closed ◀──────────────── close ──────────────────┘
//! ```
//!
//! The queue is bounded in records and in bytes; what does not fit is refused, so a slow disk slows or refuses traffic.
//! While the disk fails everything is refused, and what was taken before and could not be written is told in a gap.
//! A plain thread with `fdatasync` was taken and not io_uring: there is one file, written in sequence, one write and
//! one sync at a time; what costs is the disk's flush, which a ring does not make faster.

mod queue;
mod worker;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::thread::JoinHandle;

use crate::ack::Ack;
use crate::log::{Disk, LogError, LogOptions, SystemDisk};
use crate::record::NewRecord;

use queue::Shared;
pub use queue::{Refused, Room};
use worker::Worker;

/// Records that wait for the writer, where nothing is said.
pub const QUEUE_RECORDS: usize = 16_384;
/// Bytes of records that wait for the writer, where nothing is said.
pub const QUEUE_BYTES: usize = 64 << 20;
/// Milliseconds between two syncs in `relaxed`, where nothing is said.
pub const SYNC_MS: u64 = 1_000;
/// Milliseconds to the first try after a failed write; each next waits twice as long, up to 32 times this.
pub const RETRY_MS: u64 = 500;

/// When a record counts as recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Once it is synced: it survives a loss of power.
    #[default]
    Strict,
    /// Once it is written: it survives a killed process, and a loss of power costs at most [`RecorderOptions::sync_ms`].
    Relaxed,
}

/// How records are taken and written.
#[derive(Clone, Debug)]
pub struct RecorderOptions {
    /// Where, and with which keys.
    pub log: LogOptions,
    /// When a record counts as recorded.
    pub durability: Durability,
    /// Records that may wait.
    pub queue_records_max: usize,
    /// Bytes of records that may wait; at least one record always may.
    pub queue_bytes_max: usize,
    /// Milliseconds between two syncs in `relaxed`.
    pub sync_ms: u64,
    /// Milliseconds to the first try after a failed write.
    pub retry_ms: u64,
}

impl RecorderOptions {
    /// Strict, with defaults.
    #[must_use]
    pub fn new(log: LogOptions) -> RecorderOptions {
        RecorderOptions {
            log,
            durability: Durability::Strict,
            queue_records_max: QUEUE_RECORDS,
            queue_bytes_max: QUEUE_BYTES,
            sync_ms: SYNC_MS,
            retry_ms: RETRY_MS,
        }
    }
}

/// How the writer is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderStats {
    /// Records written since the start.
    pub records: u64,
    /// Commits since the start: syncs in `strict`, writes in `relaxed`.
    pub commits: u64,
    /// Bytes written since the start.
    pub bytes: u64,
    /// Records refused since the start, for any reason.
    pub refused: u64,
    /// Records taken and not written, each told in a gap.
    pub lost: u64,
    /// Records that wait.
    pub queued: u64,
    /// Bytes that they cost.
    pub queued_bytes: u64,
    /// Nothing can be recorded: the disk fails, or the writer has ended.
    pub is_failing: bool,
}

/// Takes records; each shard has a clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    shared: Arc<Shared>,
}

/// The thread that writes. Dropped without [`Writer::close`] it writes what it has and leaves the record unclosed, which
/// the next start tells as a gap.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), LogError>>,
}

impl Recorder {
    /// Opens the record, recovers what the last writer left, and starts the writer.
    ///
    /// # Errors
    /// Where the record can't be opened or written, is damaged, or another process writes it.
    pub fn start(options: RecorderOptions) -> Result<(Recorder, Writer), LogError> {
        Recorder::start_on(options, || Box::new(SystemDisk))
    }

    fn start_on(
        options: RecorderOptions,
        disk: impl Fn() -> Box<dyn Disk> + Send + 'static,
    ) -> Result<(Recorder, Writer), LogError> {
        let (shared, receiver) = Shared::new(options.queue_records_max, options.queue_bytes_max);
        let worker = Worker::open(options, Box::new(disk), receiver, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new().name("record".to_owned()).spawn(|| worker.run());
        let thread = thread.map_err(LogError::thread)?;
        Ok((Recorder { shared: Arc::clone(&shared) }, Writer { shared, thread }))
    }

    /// Gives a record to the writer. `ack` hears when it is durable; without it nobody does, and should it then not be
    /// written, a gap tells of it.
    ///
    /// # Errors
    /// Where it was not taken: its exchange must not go on as if it were.
    pub fn record(&self, record: NewRecord, ack: Option<Ack>) -> Result<(), Refused> {
        self.shared.push(record, ack)
    }

    /// Waits until there is room for more, for who can wait.
    #[must_use]
    pub fn room(&self) -> Room {
        Room::new(Arc::clone(&self.shared))
    }

    /// How the writer is doing.
    #[must_use]
    pub fn stats(&self) -> RecorderStats {
        self.shared.stats()
    }
}

impl Writer {
    /// Takes nothing more, writes what waits, seals the segment and closes the record. Shards should have ended.
    ///
    /// # Errors
    /// Where that could not be written; the next start tells a gap.
    pub fn close(self) -> Result<(), LogError> {
        self.shared.close();
        match self.thread.join() {
            Ok(closed) => closed,
            Err(_) => Err(LogError::thread(std::io::Error::other("the writer has panicked"))),
        }
    }
}
