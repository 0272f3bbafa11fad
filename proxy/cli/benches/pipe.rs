//! What `sluice mask` of a file in the page cache to `/dev/null` keeps of the engine's own speed, by `--chunk`.
//!
//! ```sh
//! cargo bench -p sluice --bench pipe               # the corpus beside the checkout: the table of docs/tune.md
//! cargo bench -p sluice --bench pipe -- FILE…      # other files
//! ```
//!
//! The second table is about an engine faster than today's: [`stand_in`] takes its place, fed by the command's own
//! [`read_ahead`] and, for comparison, by reading in turns on one thread.
//!
//! All contenders take turns within a round, the engine alone among them, so that what else the machine does falls on
//! all. Every output is compared with the engine's before anything is timed. Times are those of `--stats`: packs are
//! compiled before they begin.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

// The tests in it are compiled here as well, and have no harness.
#[allow(dead_code)]
#[path = "../src/read_ahead.rs"]
mod read_ahead;

use std::fs::File;
use std::hint::black_box;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use read_ahead::ReadAhead;
use sluice_engine::{CompileOptions, Format, Masker, MaskerOptions, Ruleset, Scratch};
use sluice_patterns::PackSet;

/// `--chunk`s that are compared, in KiB.
const CHUNKS_KIB: [usize; 7] = [4, 16, 64, 128, 256, 512, 1024];
/// What the engine alone is fed with.
const ENGINE_CHUNK_BYTES: usize = 16 * 1024;
/// Files of the corpus's clean traffic.
const CORPUS: [&str; 4] = ["llm_chat.sse", "base64_images.txt", "source_code.txt", "access.log"];
/// Least bytes of a document: shorter files are repeated.
const DOCUMENT_BYTES_MIN: usize = 64 << 20;
/// Runs of every contender.
const ROUNDS: usize = 7;
/// A pack that costs next to nothing, so that it is the pipe that is measured.
const ONE_RULE: &str = r#"
[pack]
name = "one"
version = "1.0.0"

[[rule]]
id = "one"
entity = "one"
regex = 'qzxj_[0-9]{16}'
"#;

/// MB/s of every run of a contender.
#[derive(Default)]
struct Speeds(Vec<f64>);

impl Speeds {
    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn cell(&self) -> String {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        let most = self.0.iter().copied().fold(0.0, f64::max);
        format!("**{:.0}** ({least:.0}–{most:.0})", self.median())
    }
}

/// The engine over a document in memory; gives MB/s, and the output where it is asked for.
fn engine(ruleset: &Arc<Ruleset>, document: &[u8], mut kept: Option<&mut Vec<u8>>) -> f64 {
    let started = Instant::now();
    let mut masker = Masker::new(ruleset, Format::Text, MaskerOptions::default());
    let (mut scratch, mut masked) = (Scratch::new(), Vec::new());
    for chunk in document.chunks(ENGINE_CHUNK_BYTES) {
        masker.push(&mut scratch, chunk, &mut masked).expect("any text is valid");
        if let Some(kept) = &mut kept {
            kept.extend_from_slice(&masked);
        }
        masked.clear();
    }
    masker.finish(&mut scratch, &mut masked).expect("any text is valid");
    if let Some(kept) = kept {
        kept.extend_from_slice(&masked);
    }
    document.len() as f64 / started.elapsed().as_secs_f64() / 1e6
}

fn mask(packs: &[String], chunk_kib: usize, file: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
    command.args(["mask", "--stats", "--format", "text", "--chunk", &(chunk_kib * 1024).to_string()]);
    command.args(packs.iter().flat_map(|pack| ["--pack", pack])).arg(file);
    command
}

/// MB/s as `--stats` tells them.
fn told(packs: &[String], chunk_kib: usize, file: &Path) -> f64 {
    let output = mask(packs, chunk_kib, file).stdout(Stdio::null()).output().expect("sluice runs");
    let told = String::from_utf8(output.stderr).expect("UTF-8");
    let line = told.lines().find_map(|line| line.trim_end().strip_suffix("MB/s"));
    line.unwrap_or_else(|| panic!("no speed in {told:?}")).trim().parse().expect("a number")
}

/// A row of the table.
fn row(packs: &[String], what: &str, file: &Path) {
    let document = std::fs::read(file).expect("the document");
    let set = PackSet::load(packs).expect("the packs");
    let ruleset = set.compile(&CompileOptions::default()).expect("the packs compile");
    let mut wanted = Vec::new();
    engine(&ruleset, &document, Some(&mut wanted));
    for chunk_kib in CHUNKS_KIB {
        let output = mask(packs, chunk_kib, file).output().expect("sluice runs");
        assert!(output.stdout == wanted, "{what}: --chunk of {chunk_kib} KiB gives another output");
    }
    drop(wanted);
    let (mut alone, mut piped) = (Speeds::default(), CHUNKS_KIB.map(|_| Speeds::default()));
    for _ in 0..ROUNDS {
        alone.0.push(engine(&ruleset, &document, None));
        for (chunk_kib, speeds) in CHUNKS_KIB.iter().zip(&mut piped) {
            speeds.0.push(told(packs, *chunk_kib, file));
        }
    }
    let cells: Vec<String> = piped
        .iter()
        .map(|speeds| format!("{}, {:.2}", speeds.cell(), speeds.median() / alone.median()))
        .collect();
    println!("| {what} | {} | {} |", alone.cell(), cells.join(" | "));
}

/// Work of about 2 GB/s and the copy to the output, in place of an engine.
fn stand_in(bytes: &[u8], masked: &mut Vec<u8>) {
    let words = bytes.chunks_exact(4).map(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]));
    black_box(words.fold(0x811c_9dc5_u32, |hash, word| (hash ^ word).wrapping_mul(0x0100_0193)));
    masked.clear();
    masked.extend_from_slice(bytes);
    black_box(&masked);
}

/// MB/s of the stand-in over a document: in memory, read in turns, read ahead.
fn stand_in_speeds(document: &[u8], file: &Path, chunk: usize) -> [f64; 3] {
    let mut masked = Vec::new();
    let timed = |work: &mut dyn FnMut()| {
        let started = Instant::now();
        work();
        document.len() as f64 / started.elapsed().as_secs_f64() / 1e6
    };
    let alone = timed(&mut || document.chunks(chunk).for_each(|bytes| stand_in(bytes, &mut masked)));
    let in_turns = timed(&mut || {
        let (mut file, mut buffer) = (File::open(file).expect("the document"), vec![0; chunk]);
        loop {
            match file.read(&mut buffer).expect("a file can be read") {
                0 => break,
                len => stand_in(&buffer[..len], &mut masked),
            }
        }
    });
    let ahead = timed(&mut || {
        let input = ReadAhead::start(File::open(file).expect("the document"), chunk).expect("a thread");
        while let Some(filled) = input.next().expect("a file can be read") {
            stand_in(filled.bytes(), &mut masked);
            input.give_back(filled);
        }
    });
    [alone, in_turns, ahead]
}

/// The table of the stand-in.
fn stand_in_table(file: &Path) {
    let document = std::fs::read(file).expect("the document");
    println!("| buffers of | a stand-in alone | reading in turns | reading ahead |\n|---|--:|--:|--:|");
    let mut rows = CHUNKS_KIB.map(|kib| (kib, [(); 3].map(|()| Speeds::default())));
    for _ in 0..ROUNDS {
        for (kib, speeds) in &mut rows {
            let told = stand_in_speeds(&document, file, *kib * 1024);
            speeds.iter_mut().zip(told).for_each(|(speeds, speed)| speeds.0.push(speed));
        }
    }
    for (kib, [alone, in_turns, ahead]) in &rows {
        let share = |speeds: &Speeds| speeds.median() / alone.median();
        let (turns, ahead) = ((in_turns.cell(), share(in_turns)), (ahead.cell(), share(ahead)));
        println!(
            "| {kib} KiB | {} | {}, {:.2} | {}, {:.2} |",
            alone.cell(),
            turns.0,
            turns.1,
            ahead.0,
            ahead.1
        );
    }
}

/// A document in the page cache: the file, repeated where it is short, in the target folder.
fn document(file: &Path) -> PathBuf {
    let unit = std::fs::read(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    assert!(!unit.is_empty(), "{} is empty", file.display());
    let name = file.file_name().expect("a file has a name");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, unit.repeat(DOCUMENT_BYTES_MIN.div_ceil(unit.len()))).expect("a scratch file");
    path
}

fn main() {
    let mut files: Vec<PathBuf> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).map(PathBuf::from).collect();
    if files.is_empty() {
        let beside = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared");
        let shared = std::env::var_os("SLUICE_SHARED").map_or(beside, PathBuf::from);
        files = CORPUS.iter().map(|name| shared.join("corpus/clean").join(name)).collect();
    }
    if let Some(file) = files.iter().find(|file| !file.is_file()) {
        println!("{} is not there: name a file, or the corpus's folder in SLUICE_SHARED", file.display());
        return;
    }
    println!("MB/s of {ROUNDS} runs: **median** (least–most), and share of the median of what is alone\n");
    if let Some(file) = files.first() {
        let path = document(file);
        stand_in_table(&path);
        std::fs::remove_file(&path).expect("a scratch file");
    }
    let one = Path::new(env!("CARGO_TARGET_TMPDIR")).join("one.toml");
    std::fs::write(&one, ONE_RULE).expect("a scratch file");
    let heads: Vec<String> = CHUNKS_KIB.iter().map(|kib| format!("`--chunk` {kib} KiB")).collect();
    println!();
    println!("| text, packs | the engine alone | {} |", heads.join(" | "));
    println!("|---|--:|{}", "--:|".repeat(heads.len()));
    for file in &files {
        let path = document(file);
        let name = file.file_name().expect("a file has a name").to_string_lossy();
        row(&[], &format!("{name}, built-in"), &path);
        row(&[one.display().to_string()], &format!("{name}, one rule"), &path);
    }
}
