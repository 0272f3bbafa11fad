//! Windows found by Hyperscan, where the ruleset was compiled so.
//!
//! It is asked for the places of a piece that have all bytes a window may have, and the byte before. The others are few,
//! and our own stages look at them: the first of a text, and those at the end of what has come, where a window may be cut.
//! Should it give up (no memory is left), our own stages look at all of them: nothing is missed.

use super::{Found, Scan, Scratch};
use crate::compile::hyperscan::SPAN;
use crate::ruleset::Ruleset;

impl Scan {
    /// Finds the windows of places from `self.at` on, as far as it can; the first place that is left.
    pub(super) fn find_by_hyperscan(
        &self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        found: &mut Found,
        to: u64,
    ) -> u64 {
        let Some(windows) = &ruleset.hyperscan else { return self.at };
        let mut from = self.at;
        if self.byte_before(from).is_none() {
            self.find_block(ruleset, scratch, found, from, from + 1);
            from += 1;
        }
        let to = to.min((self.end_at() + 1).saturating_sub(SPAN as u64));
        if to <= from {
            return from;
        }
        let text = self.bytes(from - 1, to - 1 + SPAN as u64);
        let targets = &mut found.lists[0];
        let known = targets.len();
        let (places, first) = ((to - from) as usize, (from - found.from) as u32);
        if windows.find(&mut scratch.hyperscan, text, places, first, targets).is_err() {
            return from;
        }
        scratch.work.places += (targets.len() - known) as u64;
        to
    }
}

/// All windows of places from `at` to `to` of a text, in order.
#[cfg(test)]
pub(in crate::stream) fn windows_of(
    ruleset: &Ruleset,
    text: &[u8],
    at: u64,
    to: u64,
) -> Vec<(u32, crate::compile::prefilter::Target)> {
    let (mut scan, mut scratch) = (Scan::new(None), Scratch::new());
    scan.text.extend_from_slice(text);
    scan.at = at;
    let mut found = Found::none(&mut scratch);
    scan.find_windows(ruleset, &mut scratch, &mut found, to);
    for list in &found.lists {
        assert!(list.is_sorted_by_key(|(at, _)| *at), "windows come in the order of their places");
    }
    let mut all = found.lists.concat();
    all.sort_unstable();
    all.dedup();
    all
}
