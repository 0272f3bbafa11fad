//! Parts of texts that wait to be scanned together.
//!
//! An upstream's answer comes in deltas of a few bytes, and a scan costs more than they do. Parts that lie in one chunk of
//! the body are scanned at once; nothing may be seen of that. Where such a scan decides nothing but that bytes pass, it is
//! as if each part had been scanned in its turn. Else the scans go back to where they were, and take the parts one by one.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use super::text::{Place, Rules, Scan};
use super::{Carry, Joined};
use crate::format::carried::Target;

/// Most bytes that wait to be scanned.
const AHEAD_BYTES_MAX: usize = 64 << 10;

/// A part that has not been scanned.
#[derive(Debug)]
pub(super) struct Ahead {
    /// Which of the texts, and where in what it has not scanned.
    text: usize,
    bytes: Range<usize>,
    event: u64,
    place: Place,
    /// Where its bytes lie in the body, and where its event ends.
    at: u64,
    end: u64,
}

impl<E: Carry> Joined<E> {
    /// A text goes on with `bytes`, which lie at `at` and stand at `place`, in the event that comes in and ends at `end`.
    /// They are scanned when [`Joined::catch_up`] is called.
    pub(super) fn put_ahead(
        &mut self,
        text: usize,
        bytes: &[u8],
        place: Place,
        at: u64,
        end: u64,
        target: &mut Target<'_>,
    ) {
        self.queue.part_begins();
        let event = self.queue.number();
        let Some((_, of)) = self.texts.get_mut(text) else { return };
        of.number = self.went_on;
        self.went_on += 1;
        let from = of.ahead.len();
        of.ahead.extend_from_slice(bytes);
        let is_full = of.ahead.len() > AHEAD_BYTES_MAX;
        self.ahead.push(Ahead { text, bytes: from..from + bytes.len(), event, place, at, end });
        if is_full {
            self.catch_up(target);
        }
    }

    /// Scans what has not been scanned.
    pub(in crate::format) fn catch_up(&mut self, target: &mut Target<'_>) {
        if self.ahead.is_empty() {
            return;
        }
        let mut parts = std::mem::take(&mut self.ahead);
        if parts.len() == 1 || !self.pass_together(target) {
            for part in parts.drain(..) {
                let findings = target.findings.len();
                let end = part.end;
                self.pass_alone(part, target);
                for finding in target.findings.iter_mut().skip(findings) {
                    finding.end = finding.end.min(end);
                    finding.start = finding.start.min(finding.end.saturating_sub(1));
                }
            }
        }
        for part in parts.drain(..) {
            let Some((_, text)) = self.texts.get_mut(part.text) else { continue };
            text.begin(part.event, part.place, b"");
            text.note(part.bytes.len(), part.at);
            text.end_leaf(target.scratch);
        }
        self.ahead = parts;
        for (_, text) in self.texts.iter_mut().filter(|(_, text)| !text.ahead.is_empty()) {
            text.ahead.clear();
            text.settle(false, target.findings, |part| self.queue.part_done(part));
        }
    }

    /// Scans all parts together. False: something is found or masked, and the scans are as before.
    fn pass_together(&mut self, target: &mut Target<'_>) -> bool {
        let rules = Rules { ruleset: &self.ruleset, options: &self.options };
        let mut before: Vec<(usize, Scan)> = Vec::new();
        let mut is_quiet = true;
        for (n, (_, text)) in self.texts.iter_mut().enumerate().filter(|(_, (_, t))| !t.ahead.is_empty()) {
            is_quiet &= text.is_quiet();
            if !is_quiet {
                break;
            }
            before.push((n, text.scanned()));
            let bytes = std::mem::take(&mut text.ahead);
            text.scan(&bytes, &rules, target.scratch);
            text.ahead = bytes;
            is_quiet &= text.is_quiet();
        }
        if !is_quiet {
            for (n, scan) in before {
                if let Some((_, text)) = self.texts.get_mut(n) {
                    text.go_back(scan);
                }
            }
        }
        is_quiet
    }

    fn pass_alone(&mut self, part: Ahead, target: &mut Target<'_>) {
        let Some((_, text)) = self.texts.get_mut(part.text) else { return };
        let bytes = text.ahead.get(part.bytes).unwrap_or_default().to_vec();
        text.begin(part.event, part.place, b"");
        let rules = Rules { ruleset: &self.ruleset, options: &self.options };
        text.push(&bytes, part.at, &rules, target.scratch);
        text.end_leaf(target.scratch);
        text.settle(false, target.findings, |part| self.queue.part_done(part));
    }
}
