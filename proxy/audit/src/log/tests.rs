//! The log on disks that fail, and after writers that were cut short.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::record::Payload;
use crate::segment::{Walked, list, walk};

/// A folder of its own that is removed.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Folder {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        // Thousands of syncs are no test of the disk: they go to memory where that can be had.
        let memory = std::path::Path::new("/dev/shm");
        let temporary = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let path = temporary.join(format!("sluice-record-{name}-{}-{n}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

pub(crate) fn options(folder: &Folder) -> LogOptions {
    let key = SigningKey::load_or_create(&folder.0.join("key.pem")).unwrap();
    LogOptions::new(folder.0.join("record"), key)
}

pub(crate) fn numbered(n: u64) -> NewRecord {
    NewRecord { wall_ns: n, payload: Payload::Bytes(format!("record {n}").into()), ..NewRecord::default() }
}

fn open(options: &LogOptions) -> Log {
    std::fs::create_dir_all(&options.folder).unwrap();
    Log::open(options.clone(), Box::new(SystemDisk), 1).unwrap()
}

fn add(log: &mut Log, n: u64) -> Result<(), LogError> {
    log.append([(&numbered(n), None)], n)?;
    log.commit()
}

/// The payloads of all records, in their order; every segment must be good.
pub(crate) fn payloads(options: &LogOptions) -> Vec<String> {
    let mut all = Vec::new();
    for (_, path) in list(&options.folder).unwrap() {
        let walked = walk(&path, options.encryption_key.as_ref(), |record| {
            all.push(record.payload.clone().unwrap_or_default());
        });
        let walked: Walked = walked.map_err(|e| e.reason.to_string()).unwrap();
        assert!(walked.fault.is_none(), "{:?}", walked.fault);
    }
    all
}

#[test]
fn what_was_closed_goes_on_where_it_ended() {
    let folder = Folder::new("goes-on");
    let options = options(&folder);
    for n in 1..4 {
        let mut log = open(&options);
        assert_eq!((log.cut, log.last_seq()), (None, n - 1));
        add(&mut log, n).unwrap();
        log.close(5).unwrap();
    }
    assert_eq!(payloads(&options), ["record 1", "record 2", "record 3"]);
    assert_eq!(list(&options.folder).unwrap().len(), 3);
}

#[test]
fn a_log_cut_anywhere_keeps_each_committed_record_or_refuses() {
    let folder = Folder::new("cut");
    let mut options = options(&folder);
    for is_encrypted in [false, true] {
        let key = EncryptionKey::from_hex(&"0f".repeat(32)).unwrap();
        options.encryption_key = Some(key).filter(|_| is_encrypted);
        options.folder = folder.0.join(format!("record-{is_encrypted}"));
        let mut log = open(&options);
        (1..4).for_each(|n| add(&mut log, n).unwrap());
        let good = log.open.as_ref().unwrap().offset;
        // Written, and neither synced nor acknowledged.
        log.append([(&numbered(4), None)], 4).unwrap();
        drop(log);
        let path = options.folder.join(file_name(1));
        let (whole, head) =
            (std::fs::read(&path).unwrap(), std::fs::read(options.folder.join(HEAD_FILE)).unwrap());
        for length in good as usize - 3..=whole.len() {
            std::fs::write(&path, &whole[..length]).unwrap();
            std::fs::write(options.folder.join(HEAD_FILE), &head).unwrap();
            let opened = Log::open(options.clone(), Box::new(SystemDisk), 9);
            if (length as u64) < good {
                assert!(opened.err().unwrap().is_damage(), "{length}: an acknowledged record is gone");
                assert_eq!(std::fs::read(&path).unwrap().len(), length, "nothing was changed");
                continue;
            }
            let log = opened.unwrap();
            let kept = if length == whole.len() { 4 } else { 3 };
            assert_eq!(log.last_seq(), kept, "{length}");
            let cut = if kept == 4 { 0 } else { length as u64 - good };
            assert_eq!(log.cut, Some(cut));
            assert_eq!(payloads(&options).len() as u64, kept);
        }
    }
}

#[test]
fn a_log_whose_acknowledged_part_was_changed_is_not_opened() {
    let folder = Folder::new("changed");
    let options = options(&folder);
    let mut log = open(&options);
    (1..4).for_each(|n| add(&mut log, n).unwrap());
    drop(log);
    let path = options.folder.join(file_name(1));
    let whole = std::fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        let error = Log::open(options.clone(), Box::new(SystemDisk), 9).err().unwrap();
        assert!(error.is_damage(), "byte {at}: {error}");
        assert_eq!(std::fs::read(&path).unwrap(), changed, "nothing was changed");
    }
    std::fs::remove_file(&path).unwrap();
    assert!(Log::open(options.clone(), Box::new(SystemDisk), 9).err().unwrap().is_damage());
    std::fs::write(&path, &whole).unwrap();
    std::fs::remove_file(options.folder.join(HEAD_FILE)).unwrap();
    assert!(Log::open(options, Box::new(SystemDisk), 9).err().unwrap().is_damage());
}

#[test]
fn a_segment_is_sealed_when_it_is_full_or_old() {
    let folder = Folder::new("full");
    let mut options = options(&folder);
    options.segment_bytes_max = 1_000;
    let mut log = open(&options);
    let mut n = 0;
    while !log.is_due(1) {
        n += 1;
        add(&mut log, n).unwrap();
    }
    assert!(log.open.as_ref().unwrap().offset >= 1_000 && n > 1);
    log.seal(2).unwrap();
    log.append([(&numbered(n + 1), None)], 7).unwrap();
    log.commit().unwrap();
    let age_ns = options.segment_seconds_max * 1_000_000_000;
    assert!(!log.is_due(7 + age_ns - 1));
    assert!(log.is_due(7 + age_ns));
    log.close(9).unwrap();
    assert_eq!(payloads(&options).len() as u64, n + 1);
}

/// A disk that fails at its n-th operation and each one after it, as long as it is told to.
#[derive(Clone)]
pub(crate) struct Faulty {
    /// Operations that still succeed.
    pub(crate) left: Arc<AtomicU64>,
    pub(crate) error: io::ErrorKind,
    /// A write that fails has written this many of its bytes.
    pub(crate) torn_bytes: usize,
}

struct FaultyFile(Faulty, Box<dyn DiskFile>);

impl Faulty {
    fn fails(&self) -> io::Result<()> {
        let left = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        left.map(|_| ()).map_err(|_| io::Error::from(self.error))
    }
}

impl Disk for Faulty {
    fn create(&self, path: &std::path::Path) -> io::Result<Box<dyn DiskFile>> {
        self.fails()?;
        Ok(Box::new(FaultyFile(self.clone(), SystemDisk.create(path)?)))
    }

    fn open(&self, path: &std::path::Path) -> io::Result<Box<dyn DiskFile>> {
        self.fails()?;
        Ok(Box::new(FaultyFile(self.clone(), SystemDisk.open(path)?)))
    }

    fn sync_folder(&self, path: &std::path::Path) -> io::Result<()> {
        self.fails()?;
        SystemDisk.sync_folder(path)
    }
}

impl DiskFile for FaultyFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let failed = self.0.fails();
        if failed.is_err() {
            self.1.write_at(&bytes[..bytes.len().min(self.0.torn_bytes)], offset)?;
        } else {
            self.1.write_at(bytes, offset)?;
        }
        failed
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.fails()?;
        self.1.sync()
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.0.fails()?;
        self.1.cut(bytes)
    }
}

#[test]
fn whichever_operation_fails_each_committed_record_is_there_afterwards() {
    let kinds = [io::ErrorKind::StorageFull, io::ErrorKind::ReadOnlyFilesystem, io::ErrorKind::Other];
    for (error, torn) in kinds.into_iter().zip([[0, 100], [1, usize::MAX], [7, 300]]) {
        for torn_bytes in torn {
            for operations in 0..28 {
                let folder = Folder::new("faulty");
                let mut options = options(&folder);
                options.segment_bytes_max = 900;
                std::fs::create_dir_all(&options.folder).unwrap();
                let left = Arc::new(AtomicU64::new(operations));
                let disk = Faulty { left, error, torn_bytes };
                let mut committed = Vec::new();
                if let Ok(mut log) = Log::open(options.clone(), Box::new(disk), 1) {
                    for n in 1..6 {
                        if add(&mut log, n).is_err() {
                            break;
                        }
                        committed.push(format!("record {n}"));
                        if log.is_due(1) && log.seal(1).is_err() {
                            break;
                        }
                    }
                }
                let log = Log::open(options.clone(), Box::new(SystemDisk), 2);
                let log = log.unwrap_or_else(|e| panic!("{operations} {torn_bytes}: {e}"));
                let kept = payloads(&options);
                assert!(kept.starts_with(&committed), "{operations} {torn_bytes}: {kept:?} {committed:?}");
                assert_eq!(log.last_seq(), kept.len() as u64);
            }
        }
    }
}
