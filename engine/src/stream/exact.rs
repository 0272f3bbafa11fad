//! Exact values in a stream: where they are looked for, and what is held for them.
//!
//! ```text
//!   looked at │ undecided: the last word, or words that begin a value │
//!             at                                                     end of what is there
//! ```
//! Nothing begins in an enclosed value. Which ones there are is known later than their first bytes are looked at, so those
//! that lie behind `at` are kept until it has passed them.

use super::Scratch;
use super::scan::{Scan, Span};
use crate::exact::Place;
use crate::ruleset::Ruleset;

/// How far a text has been looked at.
#[derive(Clone, Debug, Default)]
pub(super) struct ExactScan {
    at: u64,
    inside: bool,
    /// Enclosed values that `at` has not passed; the last one may have no end yet.
    regions: Vec<(u64, u64)>,
}

/// An enclosed value without an end.
const NO_END: u64 = u64::MAX;

impl ExactScan {
    pub(super) fn reset(&mut self) {
        self.regions.clear();
        *self = ExactScan { regions: std::mem::take(&mut self.regions), ..ExactScan::default() };
    }

    /// An enclosed value begins.
    pub(super) fn open(&mut self, ruleset: &Ruleset, start: u64) {
        if ruleset.exact.is_some() {
            self.regions.push((start, NO_END));
        }
    }

    /// It ends.
    pub(super) fn close(&mut self, end: u64) {
        if let Some(region) = self.regions.last_mut().filter(|region| region.1 == NO_END) {
            region.1 = end;
        }
    }

    /// Before this no value can begin that is not among the spans.
    pub(super) fn mark(&self, ruleset: &Ruleset) -> u64 {
        if ruleset.exact.is_some() { self.at } else { u64::MAX }
    }
}

impl Scan {
    /// Looks at what is there.
    pub(super) fn find_exact(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, end: bool) {
        let Some(exact) = &ruleset.exact else { return };
        loop {
            let region = self.exact.regions.first().copied();
            match region {
                Some((from, NO_END)) if self.exact.at >= from => {
                    self.exact.at = self.end_at();
                    return;
                }
                Some((from, to)) if self.exact.at >= from => {
                    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || !byte.is_ascii();
                    (self.exact.at, self.exact.inside) = (to, self.byte_before(to).is_some_and(is_letter));
                    self.exact.regions.remove(0);
                    continue;
                }
                Some(_) | None => {}
            }
            let (base, until) = (self.base, region.map_or(u64::MAX, |(from, _)| from));
            let place = Place { at: (self.exact.at - base) as usize, inside: self.exact.inside };
            let before = usize::try_from(until - base).unwrap_or(usize::MAX);
            let next = exact.find(&self.text, place, before, end, &mut scratch.exact, &mut |rule, range| {
                let (start, end) = (base + range.start as u64, base + range.end as u64);
                let span = Span { rule, match_start: start, start, end, tail: None, unbounded: false };
                self.found = true;
                let masks = ruleset.compiled.get(rule as usize).is_some_and(|rule| rule.masks);
                if masks { self.spans.push(span) } else { self.labels.push(span) }
            });
            (self.exact.at, self.exact.inside) = (base + next.at as u64, next.inside);
            if self.exact.at < until {
                return;
            }
        }
    }
}
