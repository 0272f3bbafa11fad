//! The peer: Hyperscan 5.4 in streaming mode, by the engine's [`hyperscan`].
//!
//! It gets the expressions that ours gets, as [`pcre`] spells them, each with the start of its match, and no
//! flag: bytes, no Unicode, `.` and `$` spelled out. It tells matches and copies nothing, which is less than ours does.

use std::ffi::CString;
use std::fmt;

use sluice_engine::hyperscan::{self, Database, Mode, Refused as RefusedByHyperscan, Room};

use crate::contender::{Contender, Match};
use crate::import::{Imported, Refused};
use crate::pcre;

/// The peer refused the expressions.
#[derive(Debug)]
pub struct PeerError(RefusedByHyperscan);

impl fmt::Display for PeerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the peer: {}", self.0.reason)
    }
}

impl std::error::Error for PeerError {}

/// Compiled rules, and the memory to search with them.
#[derive(Debug)]
pub struct Hyperscan {
    database: Database,
    room: Room,
}

impl Hyperscan {
    /// Compiles all rules into one database.
    ///
    /// # Errors
    /// When one, or all together, can't be compiled.
    pub fn compile(rules: &[Imported]) -> Result<Hyperscan, PeerError> {
        let mut spelled = Vec::with_capacity(rules.len());
        for (index, rule) in rules.iter().enumerate() {
            let error = |reason| PeerError(RefusedByHyperscan { expression: Some(index), reason });
            let text = pcre::spell(&rule.expression).map_err(error)?;
            spelled.push(CString::new(text).map_err(|e| error(e.to_string()))?);
        }
        let database = Database::compile(&spelled, Mode::Stream).map_err(PeerError)?;
        Ok(Hyperscan { database, room: Room::default() })
    }

    /// Scans the document as one stream.
    fn scan(&mut self, document: &[u8], chunk: usize, mut take: impl FnMut(Match)) {
        let take = |m: hyperscan::Match| take(Match { rule: m.expression, start: m.start, end: m.end });
        let scanned = self.database.scan_chunks(&mut self.room, document.chunks(chunk), take);
        scanned.expect("the peer scans to the end");
    }
}

impl Contender for Hyperscan {
    fn name(&self) -> &str {
        "hyperscan"
    }

    fn count(&mut self, document: &[u8], chunk: usize) -> u64 {
        let mut count = 0;
        self.scan(document, chunk, |_| count += 1);
        count
    }

    fn matches(&mut self, document: &[u8], chunk: usize) -> Vec<Match> {
        let mut matches = Vec::new();
        self.scan(document, chunk, |found| matches.push(found));
        matches
    }

    fn memory_bytes(&self) -> usize {
        self.database.memory_bytes()
    }
}

/// Takes out the rules that the peer refuses, alone or with the others, and tells them.
#[must_use]
pub fn keep(rules: Vec<Imported>) -> (Vec<Imported>, Vec<Refused>) {
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for rule in rules {
        match Hyperscan::compile(std::slice::from_ref(&rule)) {
            Ok(_) => kept.push(rule),
            Err(error) => refused.push(Refused { id: rule.id, reason: error.to_string() }),
        }
    }
    while let Err(error) = Hyperscan::compile(&kept) {
        // Without a culprit, compiling all of them reports the same later.
        let Some(index) = error.0.expression.filter(|index| *index < kept.len()) else { break };
        let rule = kept.remove(index);
        refused.push(Refused { id: rule.id, reason: format!("{error} (with the others)") });
    }
    (kept, refused)
}

/// Its version, its settings, and what it may use of this machine.
#[must_use]
pub fn describe() -> String {
    format!("peer, streaming, leftmost starts, large horizon: {}", hyperscan::describe())
}
