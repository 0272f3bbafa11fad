//! Figures for the documents: how long packs take to load, and how fast text goes by ten million exact values.
//!
//! `SLUICE_LONG=1 cargo test --release -p sluice-patterns --test speed -- --nocapture`. Nothing is held to a time here: the
//! answers are checked, the times are printed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use sluice_engine::{CompileOptions, Event, Ruleset, Scratch, Sink, Stream, StreamOptions};
use sluice_patterns::import::{Dialect, import};
use sluice_patterns::{Pack, PackSet};

const VALUES: usize = 10_000_000;

#[derive(Default)]
struct Counts {
    passed: usize,
    events: usize,
}

impl Sink for Counts {
    fn pass(&mut self, bytes: &[u8]) {
        self.passed += bytes.len();
    }
    fn emit(&mut self, _bytes: &[u8]) {}
    fn skip(&mut self, _len: usize) {}
    fn event(&mut self, _event: &Event) {
        self.events += 1;
    }
}

/// The best of some passes, in MB/s, and the matches of one.
fn pass(ruleset: &Arc<Ruleset>, text: &[u8]) -> (f64, usize) {
    let (mut best, mut events) = (0.0f64, 0);
    for _ in 0..5 {
        let (mut scratch, mut sink) = (Scratch::new(), Counts::default());
        let from = Instant::now();
        let mut stream = Stream::new(ruleset, StreamOptions::default());
        text.chunks(16 << 10).for_each(|chunk| stream.push(&mut scratch, chunk, &mut sink));
        stream.finish(&mut scratch, &mut sink);
        best = best.max(text.len() as f64 / from.elapsed().as_secs_f64() / 1e6);
        events = sink.events;
    }
    (best, events)
}

fn is_long() -> bool {
    std::env::var_os("SLUICE_LONG").is_some()
}

fn shared() -> Option<PathBuf> {
    let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared");
    let path = std::env::var_os("SLUICE_SHARED").map_or(beside, PathBuf::from);
    path.join("corpus").is_dir().then_some(path)
}

#[test]
fn built_packs_load() {
    if !is_long() {
        return;
    }
    let load = |what: &str, bytes: &[u8]| {
        let mut best = f64::MAX;
        for _ in 0..9 {
            let from = Instant::now();
            let pack = Pack::from_built("p", bytes).unwrap();
            let ruleset = pack.compile(&CompileOptions::default()).unwrap();
            best = best.min(from.elapsed().as_secs_f64() * 1e3);
            assert_eq!(ruleset.rules().len(), pack.rules.len());
        }
        println!("{what}: {} KiB, {best:.1} ms", bytes.len() / 1024);
    };
    load("both built-in packs", &PackSet::load::<&str>(&[]).unwrap().build().unwrap());
    let Some(shared) = shared() else { return };
    let text = std::fs::read_to_string(shared.join("corpus/rules/kingfisher_rules.json")).unwrap();
    let mut imported = import(Dialect::Kingfisher, &[("k.json".into(), text)]).unwrap();
    imported.rules.truncate(500);
    let pack = Pack::parse("k.toml", &imported.to_toml("k", "1", "")).unwrap();
    load("500 of Kingfisher's rules", &pack.build().unwrap());
}

#[test]
fn text_goes_by_ten_million_values() {
    if !is_long() {
        return;
    }
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("exact-speed");
    std::fs::create_dir_all(&folder).unwrap();
    let mut list = String::with_capacity(VALUES * 24);
    let mut state = 1u64;
    let mut next = |n: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % n
    };
    for n in 0..VALUES {
        // Numbers of customers, and names of two words from twenty thousand.
        match n % 2 {
            0 => writeln!(list, "C-{:09}", next(1_000_000_000)).unwrap(),
            _ => writeln!(list, "Qua{:x} Zor{:x}", next(20_000), next(1 << 30)).unwrap(),
        }
    }
    std::fs::write(folder.join("values.txt"), &list).unwrap();
    let toml = "[pack]\nname = \"v\"\nversion = \"1\"\n[[rule]]\nid = \"v\"\nentity = \"v\"\nexact = { file = \"values.txt\" }\n";
    std::fs::write(folder.join("v.toml"), toml).unwrap();
    let from = Instant::now();
    let bytes = Pack::read(&folder.join("v.toml")).unwrap().build().unwrap();
    println!("built in {:.1} s: {} MiB", from.elapsed().as_secs_f64(), bytes.len() >> 20);
    std::fs::write(folder.join("v.built"), &bytes).unwrap();
    let from = Instant::now();
    let built = folder.join("v.built").display().to_string();
    let exact = PackSet::load(&[&built]).unwrap().compile(&CompileOptions::default()).unwrap();
    println!("loaded in {:.2} s, {} MiB of memory", from.elapsed().as_secs_f64(), exact.memory_bytes() >> 20);
    let packs = PackSet::load::<&str>(&[]).unwrap().compile(&CompileOptions::default()).unwrap();
    let names = ["builtin:secrets", "builtin:pii", built.as_str()];
    let both = PackSet::load(&names).unwrap().compile(&CompileOptions::default()).unwrap();
    let sample: Vec<&str> = list.lines().step_by(100_003).collect();
    let (_, found) = pass(&exact, sample.join("; ").as_bytes());
    assert_eq!(found, sample.len(), "every value is found");
    let Some(shared) = shared() else { return };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(shared.join("corpus/clean")).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    for file in files {
        let text = std::fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let ((alone, wrong), (without, _), (with, _)) =
            (pass(&exact, &text), pass(&packs, &text), pass(&both, &text));
        println!("{name:<28} values {alone:>6.0} MB/s, packs {without:>6.0}, both {with:>6.0}");
        assert_eq!(wrong, 0, "{name}: no value is in it");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
