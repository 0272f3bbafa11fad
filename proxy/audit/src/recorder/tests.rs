//! The writer: what it promises is on the disk, and what it can't write is told.

use std::sync::atomic::AtomicU64;
use std::sync::mpsc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use super::*;
use crate::log::tests::{Faulty, Folder, numbered, options, payloads};
use crate::record::{Payload, RECORD_COST_MAX};
use crate::{Durable, VerifyOptions, verify};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits for a future on this thread.
fn wait<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut cx = Context::from_waker(&waker);
    loop {
        match std::pin::Pin::new(&mut future).poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

fn recorded(recorder: &Recorder, n: u64) -> Durable {
    let (ack, durable) = Ack::new();
    recorder.record(numbered(n), Some(ack)).unwrap();
    durable
}

#[test]
fn what_is_acknowledged_is_there_in_both_modes() {
    for durability in [Durability::Strict, Durability::Relaxed] {
        let folder = Folder::new("modes");
        let log = options(&folder);
        let options = RecorderOptions { durability, ..RecorderOptions::new(log.clone()) };
        let (recorder, writer) = Recorder::start(options).unwrap();
        let all: Vec<Durable> = (0..500).map(|n| recorded(&recorder, n)).collect();
        all.into_iter().for_each(|durable| wait(durable).unwrap());
        assert!(recorder.stats().commits < 500, "many share a commit");
        assert_eq!(payloads(&log).len(), 500);
        writer.close().unwrap();
        assert_eq!(recorder.record(numbered(1), None), Err(Refused::Closed));
        assert_eq!(wait(recorder.room()), Err(Refused::Closed));
        let found = verify(&log.folder, &VerifyOptions::default()).unwrap();
        assert_eq!((found.records, found.gaps.len()), (500, 0));
    }
}

#[test]
fn a_record_has_one_writer() {
    let folder = Folder::new("one");
    let options = RecorderOptions::new(options(&folder));
    let (_recorder, writer) = Recorder::start(options.clone()).unwrap();
    let second = Recorder::start(options.clone()).err().unwrap();
    assert!(second.to_string().contains("another process"), "{second}");
    writer.close().unwrap();
    Recorder::start(options).unwrap().1.close().unwrap();
}

#[test]
fn a_record_has_its_limit_and_not_one_byte_more() {
    let folder = Folder::new("limit");
    let (recorder, writer) = Recorder::start(RecorderOptions::new(options(&folder))).unwrap();
    let of_cost = |cost: usize| {
        let empty = NewRecord { payload: Payload::Bytes(Vec::new().into()), ..numbered(1) };
        // The byte that takes the most room in JSON.
        NewRecord { payload: Payload::Bytes(vec![1; cost - empty.cost()].into()), ..empty }
    };
    let (ack, durable) = Ack::new();
    recorder.record(of_cost(RECORD_COST_MAX), Some(ack)).unwrap();
    wait(durable).unwrap();
    let (ack, durable) = Ack::new();
    assert_eq!(recorder.record(of_cost(RECORD_COST_MAX + 1), Some(ack)), Err(Refused::TooLarge));
    wait(durable).expect_err("refused");
    writer.close().unwrap();
}

/// A disk whose syncs wait until they are let go.
struct Slow(Arc<std::sync::Mutex<mpsc::Receiver<()>>>);

struct SlowFile(Arc<std::sync::Mutex<mpsc::Receiver<()>>>, Box<dyn crate::log::DiskFile>);

impl Disk for Slow {
    fn create(&self, path: &std::path::Path) -> std::io::Result<Box<dyn crate::log::DiskFile>> {
        Ok(Box::new(SlowFile(Arc::clone(&self.0), SystemDisk.create(path)?)))
    }

    fn open(&self, path: &std::path::Path) -> std::io::Result<Box<dyn crate::log::DiskFile>> {
        SystemDisk.open(path)
    }

    fn sync_folder(&self, path: &std::path::Path) -> std::io::Result<()> {
        SystemDisk.sync_folder(path)
    }
}

impl crate::log::DiskFile for SlowFile {
    fn write_at(&mut self, bytes: &[u8], offset: u64) -> std::io::Result<()> {
        self.1.write_at(bytes, offset)
    }

    fn sync(&mut self) -> std::io::Result<()> {
        // Nobody holds the other end any more: it is fast from now on.
        let _ = self.0.lock().unwrap().recv();
        self.1.sync()
    }

    fn cut(&mut self, bytes: u64) -> std::io::Result<()> {
        self.1.cut(bytes)
    }
}

#[test]
fn a_slow_disk_refuses_at_the_bound_and_not_before_and_wakes_who_waits() {
    let folder = Folder::new("slow");
    let log = options(&folder);
    let (go, gate) = mpsc::channel();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let options = RecorderOptions { queue_records_max: 4, ..RecorderOptions::new(log.clone()) };
    let (recorder, writer) = Recorder::start_on(options, move || Box::new(Slow(Arc::clone(&gate)))).unwrap();
    // All count until they are written, also those that the writer has taken out.
    let mut waiting: Vec<Durable> = (0..4).map(|n| recorded(&recorder, n)).collect();
    assert_eq!(recorder.record(numbered(9), None), Err(Refused::Full));
    let waiter = {
        let room = recorder.room();
        thread::spawn(move || wait(room))
    };
    drop(go);
    assert_eq!(waiter.join().unwrap(), Ok(()));
    waiting.drain(..).for_each(|durable| wait(durable).unwrap());
    assert_eq!(recorder.stats().refused, 1);
    writer.close().unwrap();
    assert_eq!(payloads(&log).len(), 4);
}

#[test]
fn bytes_that_wait_are_bounded_too() {
    let folder = Folder::new("bytes");
    let (go, gate) = mpsc::channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let cost = numbered(1).cost();
    let options = RecorderOptions { queue_bytes_max: 3 * cost, ..RecorderOptions::new(options(&folder)) };
    let (recorder, writer) = Recorder::start_on(options, move || Box::new(Slow(Arc::clone(&gate)))).unwrap();
    for _ in 0..3 {
        recorder.record(numbered(1), None).unwrap();
    }
    assert_eq!(recorder.record(numbered(1), None), Err(Refused::Full));
    drop(go);
    writer.close().unwrap();
}

#[test]
fn a_disk_that_fails_refuses_everything_and_then_a_gap_tells_what_is_missing() {
    for error in
        [std::io::ErrorKind::StorageFull, std::io::ErrorKind::ReadOnlyFilesystem, std::io::ErrorKind::Other]
    {
        let folder = Folder::new("fails");
        let log = options(&folder);
        let left = Arc::new(AtomicU64::new(u64::MAX));
        let disk = Faulty { left: Arc::clone(&left), error, torn_bytes: 10 };
        let options = RecorderOptions { retry_ms: 1, ..RecorderOptions::new(log.clone()) };
        let (recorder, writer) = Recorder::start_on(options, move || Box::new(disk.clone())).unwrap();
        wait(recorded(&recorder, 1)).unwrap();
        left.store(0, std::sync::atomic::Ordering::SeqCst);
        wait(recorded(&recorder, 2)).expect_err("the disk fails");
        assert!(recorder.stats().is_failing);
        assert_eq!(recorder.record(numbered(3), None), Err(Refused::Failing));
        assert_eq!(wait(recorder.room()), Err(Refused::Failing));
        left.store(u64::MAX, std::sync::atomic::Ordering::SeqCst);
        while recorder.stats().is_failing {
            thread::yield_now();
        }
        wait(recorded(&recorder, 4)).unwrap();
        writer.close().unwrap();
        let found = verify(&log.folder, &VerifyOptions::default()).unwrap();
        let [(seq, gap)] = &found.gaps[..] else { panic!("{:?}", found.gaps) };
        assert_eq!(
            (*seq, gap.reason.as_str(), gap.refused, gap.bytes_cut > 0),
            (2, "disk", 2, true),
            "{gap:?}"
        );
        assert!(payloads(&log).contains(&"record 4".to_owned()));
    }
}

#[test]
fn a_writer_that_was_not_closed_leaves_a_gap() {
    let folder = Folder::new("unclosed");
    let log = options(&folder);
    let mut opened = {
        std::fs::create_dir_all(&log.folder).unwrap();
        crate::log::Log::open(log.clone(), Box::new(SystemDisk), 1).unwrap()
    };
    opened.append([(&numbered(1), None)], 1).unwrap();
    opened.commit().unwrap();
    drop(opened);
    let (_, writer) = Recorder::start(RecorderOptions::new(log.clone())).unwrap();
    writer.close().unwrap();
    let found = verify(&log.folder, &VerifyOptions::default()).unwrap();
    let [(2, gap)] = &found.gaps[..] else { panic!("{:?}", found.gaps) };
    assert_eq!((gap.reason.as_str(), gap.lost), ("stopped", None));
}
