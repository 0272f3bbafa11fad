//! Whether two engines find the same, rule by rule.
//!
//! # What is the same
//! Ours tells, of every start, the match that its expression prefers (leftmost-first), and of overlapping ones the first.
//! A Hyperscan-like peer tells every end, each with its leftmost start. So the lists differ by design, and what is
//! compared is coverage:
//!
//! * every match of ours overlaps one of the peer's, and every one of the peer's overlaps one of ours;
//! * every byte that ours covers, the peer covers: the end we prefer is one of all ends.
//!
//! The peer may cover more bytes, behind the end that the expression prefers (`a+?`, `ab|abc`, a lazy `[\s\S]*?END`);
//! these are told, not counted as a fault. A match of the peer that is longer than the rule's `len_max` is told apart:
//! there ours gives up by its stated limit.

use crate::contender::{Contender, Match};

/// What the words of [`Difference::explained_by`] mean.
pub const LEGEND: &str = "* ends: of every start ours takes the one end that the expression prefers (`a+?`, `ab|abc`), the \
    peer tells all, and so covers bytes behind ours\n* max_len: the peer's match is longer than the rule allows, where ours \
    has given up\n* nothing: a fault of one side";

/// Bytes from `start` to before `end`.
type Span = (u64, u64);

/// How the matches of one rule differ over all texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Matches of ours.
    pub ours: usize,
    /// Runs of overlapping matches of the peer.
    pub peer: usize,
    /// Matches of ours that overlap none of the peer's.
    pub ours_alone: usize,
    /// Matches of the peer, no longer than the rule allows, that overlap none of ours.
    pub peer_alone: usize,
    /// Longer ones.
    pub peer_too_long: usize,
    /// Bytes that only ours covers.
    pub bytes_ours_alone: u64,
    /// Bytes that only the peer covers, where the two overlap.
    pub bytes_other_ends: u64,
    /// The first text, by index, with a fault, and the place in it.
    pub first_fault: Option<(usize, u64)>,
}

impl Difference {
    /// Whether the rules of semantics don't explain it.
    #[must_use]
    pub fn is_fault(&self) -> bool {
        self.ours_alone + self.peer_alone > 0 || self.bytes_ours_alone > 0
    }

    /// Whether there is anything to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.is_fault() && self.peer_too_long == 0 && self.bytes_other_ends == 0
    }

    /// The rules of semantics that explain it, as [`LEGEND`] has them; `nothing` where that is not all.
    #[must_use]
    pub fn explained_by(&self) -> String {
        let reasons = [
            (self.bytes_other_ends > 0, "ends"),
            (self.peer_too_long > 0, "max_len"),
            (self.is_fault(), "nothing"),
        ];
        let reasons = reasons.iter().filter(|(is, _)| *is).map(|(_, reason)| *reason);
        reasons.collect::<Vec<_>>().join(", ")
    }

    /// Compares what two contenders with the same one rule find in a text; `index` is the text's.
    pub fn add(&mut self, index: usize, ours: &[Match], peer: &[Match], len_max: Option<usize>) {
        let ours: Vec<Span> = sorted(ours);
        let peer: Vec<Span> = sorted(peer);
        let (ours_union, peer_union) = (union(&ours), union(&peer));
        let mut fault = None;
        for span in &ours {
            if !overlaps(&peer_union, *span) {
                self.ours_alone += 1;
                fault = fault.or(Some(span.0));
            }
        }
        for span in &peer {
            if !overlaps(&ours_union, *span) {
                if len_max.is_some_and(|max| span.1 - span.0 > max as u64) {
                    self.peer_too_long += 1;
                } else {
                    self.peer_alone += 1;
                    fault = fault.or(Some(span.0));
                }
            }
        }
        let both = shared(&ours_union, &peer_union);
        let only_ours = covered(&ours_union) - both;
        let touched = peer_union.iter().filter(|span| overlaps(&ours_union, **span));
        self.bytes_other_ends += touched.map(|(start, end)| end - start).sum::<u64>() - both;
        self.bytes_ours_alone += only_ours;
        self.ours += ours.len();
        self.peer += peer_union.len();
        let outside = || ours_union.iter().find(|s| shared(&[**s], &peer_union) < s.1 - s.0).map(|s| s.0);
        if self.first_fault.is_none() {
            self.first_fault = fault.or_else(outside).map(|at| (index, at));
        }
    }
}

/// Compares two contenders with the same one rule over texts, each a stream of its own.
pub fn compare(
    ours: &mut dyn Contender,
    peer: &mut dyn Contender,
    texts: &[Vec<u8>],
    len_max: Option<usize>,
    chunk: usize,
) -> Difference {
    let mut difference = Difference::default();
    for (index, text) in texts.iter().enumerate() {
        let (ours, peer) = (ours.matches(text, chunk), peer.matches(text, chunk));
        if !ours.is_empty() || !peer.is_empty() {
            difference.add(index, &ours, &peer, len_max);
        }
    }
    difference
}

fn sorted(matches: &[Match]) -> Vec<Span> {
    let mut spans: Vec<Span> = matches.iter().map(|m| (m.start, m.end)).collect();
    spans.sort_unstable();
    spans
}

/// Sorted spans, with those that overlap put together.
fn union(sorted: &[Span]) -> Vec<Span> {
    let mut union: Vec<Span> = Vec::new();
    for span in sorted {
        match union.last_mut() {
            Some(last) if span.0 < last.1 => last.1 = last.1.max(span.1),
            _ => union.push(*span),
        }
    }
    union
}

fn covered(union: &[Span]) -> u64 {
    union.iter().map(|(start, end)| end - start).sum()
}

fn overlaps(union: &[Span], span: Span) -> bool {
    let after = union.partition_point(|(start, _)| *start < span.1);
    after.checked_sub(1).and_then(|i| union.get(i)).is_some_and(|(_, end)| *end > span.0)
}

/// Bytes that both cover.
fn shared(one: &[Span], other: &[Span]) -> u64 {
    let (mut a, mut b, mut bytes) = (one.iter().peekable(), other.iter().peekable(), 0);
    while let (Some(x), Some(y)) = (a.peek(), b.peek()) {
        bytes += x.1.min(y.1).saturating_sub(x.0.max(y.0));
        if x.1 < y.1 {
            a.next();
        } else {
            b.next();
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(ours: &[Span], peer: &[Span], len_max: usize) -> Difference {
        let matches = |spans: &[Span]| -> Vec<Match> {
            spans.iter().map(|(start, end)| Match { rule: 0, start: *start, end: *end }).collect()
        };
        let mut difference = Difference::default();
        difference.add(3, &matches(ours), &matches(peer), Some(len_max));
        difference
    }

    #[test]
    fn other_ends_are_no_fault() {
        let d = difference(&[(5, 8), (20, 24)], &[(20, 24), (5, 8), (5, 9), (5, 10)], 9);
        assert_eq!((d.is_fault(), d.bytes_other_ends, d.ours, d.peer), (false, 2, 2, 2));
        assert_eq!(d.explained_by(), "ends");
        assert!(difference(&[(5, 8)], &[(5, 8)], 9).is_empty());
    }

    #[test]
    fn a_match_of_one_side_is_a_fault_unless_too_long() {
        assert_eq!(difference(&[(5, 8)], &[], 9).ours_alone, 1);
        assert_eq!(difference(&[], &[(5, 8), (8, 30)], 9).peer_alone, 1);
        let d = difference(&[], &[(5, 8), (8, 30)], 9);
        assert_eq!((d.peer_too_long, d.explained_by().as_str()), (1, "max_len, nothing"));
        let d = difference(&[(5, 8)], &[(6, 9)], 9);
        assert_eq!((d.bytes_ours_alone, d.first_fault), (1, Some((3, 5))));
    }
}
