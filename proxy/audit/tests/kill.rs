//! A writer that is killed at random points: each record that it acknowledged is there afterwards, what it left
//! unfinished is cut off and told, and the record verifies. A hundred times, a thousand with `SLUICE_LONG=1`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use sluice_audit::{
    Ack, Archive, Cursor, LogOptions, NewRecord, Payload, Recorder, RecorderOptions, SigningKey,
    VerifyOptions, verify,
};

/// Says to a process of this test that it is the writer, and where.
const CHILD: &str = "SLUICE_KILLED_WRITER";

fn options(folder: &Path) -> RecorderOptions {
    let key = SigningKey::load_or_create(&folder.join("key.pem")).unwrap();
    let mut log = LogOptions::new(folder.join("record"), key);
    // Small, so that kills meet sealing too.
    log.segment_bytes_max = 20_000;
    RecorderOptions::new(log)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn wait<F: Future + Unpin>(mut future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match std::pin::Pin::new(&mut future).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
}

/// The writer: says each number once it is acknowledged, until it is killed.
#[test]
fn writer_that_is_killed() {
    let Ok(place) = std::env::var(CHILD) else { return };
    let (folder, from) = place.rsplit_once('=').unwrap();
    let (recorder, _writer) = Recorder::start(options(Path::new(folder))).unwrap();
    let mut waiting = std::collections::VecDeque::new();
    for n in from.parse::<u64>().unwrap().. {
        let text = format!("{n}:{}", "x".repeat((n * 7_919 % 3_000) as usize));
        let record = NewRecord { wall_ns: n, payload: Payload::Bytes(text.into()), ..NewRecord::default() };
        let (ack, durable) = Ack::new();
        recorder.record(record, Some(ack)).unwrap();
        waiting.push_back((n, durable));
        while waiting.len() > 8 {
            let (n, durable) = waiting.pop_front().unwrap();
            wait(durable).unwrap();
            println!("acknowledged {n}");
            std::io::stdout().flush().unwrap();
        }
    }
}

/// Starts the writer, kills it after so many acknowledgements and so many turns of this thread, and gives the numbers
/// that it acknowledged.
fn killed(folder: &Path, from: u64, lines: u64, turns: u64) -> Vec<u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["writer_that_is_killed", "--exact", "--nocapture"])
        .env(CHILD, format!("{}={from}", folder.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let number = |line: String| line.split_once("acknowledged ")?.1.parse::<u64>().ok();
    let mut acknowledged = Vec::new();
    let mut said = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    while (acknowledged.len() as u64) < lines {
        let line = said.next().expect("the writer goes on until it is killed");
        acknowledged.extend(number(line));
    }
    (0..turns).for_each(|_| thread::yield_now());
    child.kill().unwrap();
    // A line that was cut short tells nothing.
    acknowledged.extend(said.filter_map(number));
    child.wait().unwrap();
    acknowledged
}

fn numbers(folder: &Path) -> Vec<u64> {
    let mut tail = Archive::new(&folder.join("record"), None).tail(Cursor::default());
    let mut all = Vec::new();
    while let Some((_, entries)) = tail.next_block().unwrap() {
        let payloads = entries.iter().filter_map(|entry| entry.record.payload.as_ref());
        all.extend(payloads.map(|text| text.split_once(':').unwrap().0.parse::<u64>().unwrap()));
    }
    all
}

#[test]
fn each_acknowledged_record_outlives_a_killed_writer() {
    let kills = if std::env::var("SLUICE_LONG").is_ok_and(|v| v == "1") { 1_000 } else { 100 };
    let mut seed = 0x9E37_79B9_7F4A_7C15u64;
    let mut random = |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) % below
    };
    let mut folder = PathBuf::new();
    let (mut all, mut from) = (Vec::new(), 0);
    for n in 0..kills {
        if n % 10 == 0 {
            let _ = std::fs::remove_dir_all(&folder);
            // A killed process loses nothing that it wrote, whatever is below: memory is as good a test, and faster.
            let memory = Path::new("/dev/shm");
            let temporary = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
            folder = temporary.join(format!("sluice-killed-{}-{n}", std::process::id()));
            std::fs::create_dir_all(&folder).unwrap();
            (all, from) = (Vec::new(), 0);
        }
        let lines = random(12);
        // Sometimes while it starts, else in the middle of what it does.
        let turns = random(if lines == 0 { 4_000 } else { 300 });
        all.extend(killed(&folder, from, lines, turns));
        let (_, writer) = Recorder::start(options(&folder)).unwrap();
        writer.close().unwrap();
        let found = verify(&folder.join("record"), &VerifyOptions::default()).unwrap();
        let kept = numbers(&folder);
        let missing: Vec<&u64> = all.iter().filter(|n| kept.binary_search(n).is_err()).collect();
        assert!(missing.is_empty(), "kill {n}: {missing:?} were acknowledged");
        assert!(kept.is_sorted(), "each once, in its order");
        assert!(!found.gaps.is_empty() || all.is_empty(), "verification tells of the gap");
        from = kept.last().map_or(0, |last| last + 1);
    }
    let _ = std::fs::remove_dir_all(&folder);
}
