//! Timing: rounds in which every contender runs once, each answer compared with one that was found beforehand.
//!
//! Contenders take turns (A, B, A, B, …), so that what the machine does meanwhile falls on all of them. One that is too slow
//! for the document gets a shorter part of it; the figure stays bytes a second, and the part's size is told.

use std::time::{Duration, Instant};

use crate::contender::Contender;
use crate::input::Document;

/// Bytes of the document that are also scanned byte by byte.
const BYTEWISE: usize = 32 * 1024;
/// Bytes that tell how slow a contender is; also the shortest part.
const PROBE: usize = 64 * 1024;
/// The chunk of the independent run: no power of two, and prime.
const OTHER_CHUNK: usize = 1021;

/// How long and how often.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Runs of every contender.
    pub rounds: usize,
    /// Bytes of a document.
    pub bytes: usize,
    /// The longest that one run should take.
    pub run: Duration,
}

impl Effort {
    /// For a table to keep.
    pub const FULL: Effort = Effort { rounds: 5, bytes: 8 << 20, run: Duration::from_millis(1000) };
    /// To see whether all is well.
    pub const QUICK: Effort = Effort { rounds: 3, bytes: 1 << 20, run: Duration::from_millis(150) };
}

/// What one contender did with one document.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Bytes that were scanned in a run.
    pub bytes: usize,
    /// Whether that is less than the document.
    pub cut: bool,
    /// Matches that were told in a run.
    pub matches: u64,
    /// MB/s of every run, in ascending order.
    speeds: Vec<f64>,
}

impl Figures {
    /// The slowest run, in MB/s.
    #[must_use]
    pub fn min(&self) -> f64 {
        self.speeds.first().copied().unwrap_or(0.0)
    }

    /// The middle run, in MB/s.
    #[must_use]
    pub fn median(&self) -> f64 {
        self.speeds.get(self.speeds.len() / 2).copied().unwrap_or(0.0)
    }

    /// The fastest run, in MB/s.
    #[must_use]
    pub fn max(&self) -> f64 {
        self.speeds.last().copied().unwrap_or(0.0)
    }
}

/// Checks and times all contenders on one document; figures in their order.
///
/// `finds_planted` says of each whether it must find every value that was put in.
///
/// # Panics
/// When an answer is wrong.
pub fn measure(
    contenders: &mut [(&mut dyn Contender, bool)],
    document: &Document,
    chunk: usize,
    effort: &Effort,
) -> Vec<Figures> {
    let mut figures: Vec<Figures> = contenders
        .iter_mut()
        .map(|(contender, finds_planted)| check(*contender, *finds_planted, document, chunk, effort))
        .collect();
    for _ in 0..effort.rounds {
        for ((contender, _), figures) in contenders.iter_mut().zip(&mut figures) {
            let part = &document.bytes[..figures.bytes];
            let began = Instant::now();
            let matches = contender.count(part, chunk);
            let seconds = began.elapsed().as_secs_f64();
            assert_eq!(matches, figures.matches, "{}: matches, chunks of {chunk}", contender.name());
            figures.speeds.push(part.len() as f64 / seconds / 1e6);
        }
    }
    for figures in &mut figures {
        figures.speeds.sort_by(f64::total_cmp);
    }
    figures
}

/// The part of the document that this contender gets, and its answer, found with other chunks.
fn check(
    contender: &mut dyn Contender,
    finds_planted: bool,
    document: &Document,
    chunk: usize,
    effort: &Effort,
) -> Figures {
    let start = &document.bytes[..BYTEWISE.min(document.bytes.len())];
    let (bytewise, chunked) = (contender.count(start, 1), contender.count(start, chunk));
    assert_eq!(bytewise, chunked, "{}: matches byte by byte, and in chunks of {chunk}", contender.name());
    let probe = &document.bytes[..PROBE.min(document.bytes.len())];
    let began = Instant::now();
    contender.count(probe, chunk);
    let share = effort.run.as_secs_f64() / began.elapsed().as_secs_f64().max(1e-9);
    let bytes = ((probe.len() as f64 * share) as usize).clamp(probe.len(), document.bytes.len());
    let matches = contender.count(&document.bytes[..bytes], OTHER_CHUNK);
    let planted = document.planted_before(bytes) as u64;
    assert!(
        !finds_planted || matches >= planted,
        "{}: {matches} matches, {planted} values were put in",
        contender.name()
    );
    Figures { bytes, cut: bytes < document.bytes.len(), matches, speeds: Vec::new() }
}
