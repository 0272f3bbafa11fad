//! Opens the record, whatever the last writer left.
//!
//! What the head names as durable must be there and good, else nothing is touched: that is damage, and a person must
//! look. What stands behind it was never acknowledged; of that the good part is kept and the rest cut off.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Chain, Disk, Log, LogError, LogOptions, sealed};
use crate::hash::Hash;
use crate::head::{self, HEAD_FILE, Head, HeadState};
use crate::key::random;
use crate::segment::{FaultReason, Named, Seal, WalkReason, Walked, file_name, list, tombstone_name, walk};
use crate::tombstone::Tombstone;

/// Holds the folder for one writer until it is dropped.
///
/// # Errors
/// Where another one holds it, or the folder can't be made.
pub(crate) fn lock(folder: &Path) -> Result<File, LogError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(LogError::io("create", folder))?;
    let path = folder.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(LogError::io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LogError::locked(folder)),
        Err(TryLockError::Error(e)) => Err(LogError::io("lock", &path)(e)),
    }
}

/// What the last segment says of the chain's end.
struct Found {
    chain: Chain,
    /// Bytes that were cut off; none: all was in order.
    cut: Option<u64>,
}

impl Log {
    /// Opens the record, and makes it where there is none. The caller holds the lock.
    pub(crate) fn open(options: LogOptions, disk: Box<dyn Disk>, now_ns: u64) -> Result<Log, LogError> {
        let path = options.folder.join(HEAD_FILE);
        let files = list(&options.folder).map_err(LogError::io("list", &options.folder))?;
        let last = files.last().map(|(named, _)| match *named {
            Named::Segment(number) | Named::Tombstone(number) => number,
        });
        let new = || Ok(Found { chain: Chain::new(random().map_err(LogError::key)?), cut: None });
        let (found, counter, is_damaged) = match head::read(&options.folder) {
            // The very first write was torn.
            Ok(read) if read.head.is_none() && last.is_none() => (new()?, 0, true),
            Ok(read) => {
                let head = read.head.ok_or_else(|| LogError::damaged(&path, "no slot of it holds"))?;
                let counter = head.counter;
                (recover(&options, disk.as_ref(), &head, last, now_ns)?, counter, read.is_damaged)
            }
            Err(e) if e.kind() == ErrorKind::NotFound && last.is_none() => (new()?, 0, true),
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Err(LogError::damaged(&path, "it is not there, but there are segments"));
            }
            Err(e) => return Err(LogError::io("read", &path)(e)),
        };
        let head_file = disk.open(&path).map_err(LogError::io("open", &path))?;
        let (chain, cut) = (found.chain, found.cut);
        let mut log =
            Log { options, disk, head_file, head_counter: counter, chain, open: None, cut, bytes: 0 };
        log.write_head(HeadState::Sealed)?;
        if is_damaged {
            log.write_head(HeadState::Sealed)?;
        }
        log.sync_head()?;
        log.disk.sync_folder(&log.options.folder).map_err(LogError::io("sync", &log.options.folder))?;
        Ok(log)
    }
}

impl Chain {
    /// Of a record that has nothing yet.
    fn new(log: [u8; 16]) -> Chain {
        Chain {
            log,
            number: 0,
            next_seq: 1,
            last_record: Hash::ZERO,
            last_block: Hash::ZERO,
            seal: Hash::ZERO,
            key: None,
        }
    }

    fn after(walked: &Walked, seal: Option<&Seal>) -> Chain {
        Chain {
            log: walked.header.log,
            number: walked.header.number,
            next_seq: walked.next_seq,
            last_record: walked.last_record,
            last_block: walked.last_block,
            seal: seal.map_or(Hash::ZERO, Seal::id),
            key: Some(walked.header.key),
        }
    }

    fn after_tombstone(tombstone: &Tombstone, log: [u8; 16]) -> Chain {
        Chain {
            log,
            number: tombstone.number,
            next_seq: tombstone.last_seq + 1,
            last_record: tombstone.last_record,
            last_block: tombstone.last_block,
            seal: tombstone.seal,
            key: tombstone.public_key(),
        }
    }
}

fn recover(
    options: &LogOptions,
    disk: &dyn Disk,
    head: &Head,
    last: Option<u64>,
    now_ns: u64,
) -> Result<Found, LogError> {
    let mut number = last.unwrap_or(0);
    let mut cut = if head.state == HeadState::Closed { None } else { Some(0) };
    // A segment that came to nothing: its first commit never was.
    if number > head.number {
        let path = options.folder.join(file_name(number));
        let is_nothing = match walk(&path, options.encryption_key.as_ref(), |_| {}) {
            Ok(walked) if walked.is_closed => return Err(LogError::needs_key(&path)),
            Ok(walked) => walked.records() == 0 && !is_unreadable(walked.fault.as_ref().map(|f| &f.reason)),
            Err(fault) => !is_unreadable(Some(&fault.reason)),
        };
        if is_nothing {
            let bytes = path.metadata().map_err(LogError::io("read", &path))?.len();
            std::fs::remove_file(&path).map_err(LogError::io("remove", &path))?;
            cut = Some(cut.unwrap_or(0) + bytes);
            number -= 1;
        }
    }
    if number < head.number {
        let path = options.folder.join(file_name(head.number));
        return Err(LogError::damaged(&path, "it is not there"));
    }
    if number == 0 {
        return Ok(Found { chain: Chain::new(head.log), cut });
    }
    let path = options.folder.join(file_name(number));
    if !path.exists() {
        let path = options.folder.join(tombstone_name(number));
        let read = Tombstone::read(&path).map_err(LogError::io("read", &path))?;
        let tombstone = read.ok_or_else(|| LogError::damaged(&path, "its signature does not hold"))?;
        return Ok(Found { chain: Chain::after_tombstone(&tombstone, head.log), cut });
    }
    last_segment(options, disk, head, path, cut, now_ns)
}

/// Whether the disk did not let us read, which says nothing of what is on it.
fn is_unreadable(reason: Option<&WalkReason>) -> bool {
    matches!(reason, Some(WalkReason::Segment(FaultReason::Io(_))))
}

/// Cuts off what is not good of the last segment, and seals it.
fn last_segment(
    options: &LogOptions,
    disk: &dyn Disk,
    head: &Head,
    path: PathBuf,
    cut: Option<u64>,
    now_ns: u64,
) -> Result<Found, LogError> {
    let walked = walk(&path, options.encryption_key.as_ref(), |_| {});
    let walked = walked.map_err(|fault| LogError::damaged(&path, fault.reason.to_string()))?;
    if walked.is_closed {
        return Err(LogError::needs_key(&path));
    }
    let why = walked.fault.as_ref().map_or_else(|| "it ends early".to_owned(), |f| f.reason.to_string());
    let is_sealed_in_head = head.number == walked.header.number && head.seal != Hash::ZERO;
    if is_unreadable(walked.fault.as_ref().map(|f| &f.reason)) {
        return Err(LogError::io("read", &path)(std::io::Error::other(why)));
    }
    if walked.header.log != head.log {
        return Err(LogError::damaged(&path, "it is of another record"));
    }
    if walked.next_seq <= head.seq || (is_sealed_in_head && walked.seal.is_none()) {
        return Err(LogError::damaged(&path, why));
    }
    if let Some(seal) = walked.seal.as_ref().filter(|_| walked.fault.is_none()) {
        return Ok(Found { chain: Chain::after(&walked, Some(seal)), cut });
    }
    let bytes = path.metadata().map_err(LogError::io("read", &path))?.len();
    let mut file = disk.open(&path).map_err(LogError::io("open", &path))?;
    file.cut(walked.good_bytes).map_err(LogError::io("cut", &path))?;
    let mut seal = walked.seal.clone();
    if let (Some(key), None) = (options.key_of(&walked.header.key), &seal) {
        let (chain, root) = (Chain::after(&walked, None), walked.merkle.root());
        let made = sealed(&walked.header, &chain, root, walked.places.clone(), key, now_ns);
        file.write_at(&made.to_bytes(), walked.good_bytes).map_err(LogError::io("write", &path))?;
        seal = Some(made);
    }
    file.sync().map_err(LogError::io("sync", &path))?;
    let cut = Some(cut.unwrap_or(0) + bytes.saturating_sub(walked.good_bytes));
    Ok(Found { chain: Chain::after(&walked, seal.as_ref()), cut })
}
