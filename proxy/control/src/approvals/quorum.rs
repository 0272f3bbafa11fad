//! Whether enough people have agreed.
//!
//! Every group asked for needs so many people, and a person stands for one group only, even one who is in several. That
//! is a matching of people to places: it is searched for with augmenting paths (Kuhn), so nobody's vote is lost because
//! it was counted for another group first.

use std::sync::Arc;

/// The most places that all groups of a request may have together.
pub const PLACES_MAX: u32 = 32;

/// How many people each group still lacks, in the order of the terms; all zero: it is complete.
///
/// `votes` holds the groups of each person who agreed.
pub(crate) fn missing(terms: &[(Arc<str>, u32)], votes: &[&[Arc<str>]]) -> Vec<u32> {
    let places: Vec<usize> = terms
        .iter()
        .enumerate()
        .flat_map(|(group, (_, min))| std::iter::repeat_n(group, (*min).min(PLACES_MAX) as usize))
        .collect();
    let mut taken: Vec<Option<usize>> = vec![None; places.len()];
    let fits = |vote: usize, place: usize| {
        let group = places.get(place).and_then(|group| terms.get(*group)).map(|(name, _)| name);
        group.is_some_and(|group| votes.get(vote).is_some_and(|groups| groups.contains(group)))
    };
    for vote in 0..votes.len() {
        seat(vote, &mut taken, &mut vec![false; places.len()], &fits);
    }
    let mut missing = vec![0; terms.len()];
    for (place, group) in taken.iter().zip(&places) {
        if let (None, Some(count)) = (place, missing.get_mut(*group)) {
            *count += 1;
        }
    }
    missing
}

/// Finds a place for a vote, moving others where that helps. The depth is bounded by the number of places.
fn seat(
    vote: usize,
    taken: &mut [Option<usize>],
    tried: &mut [bool],
    fits: &impl Fn(usize, usize) -> bool,
) -> bool {
    for place in 0..taken.len() {
        if !fits(vote, place) || std::mem::replace(tried.get_mut(place).unwrap_or(&mut true), true) {
            continue;
        }
        let sitting = taken.get(place).copied().flatten();
        if sitting.is_none_or(|other| seat(other, taken, tried, fits)) {
            if let Some(place) = taken.get_mut(place) {
                *place = Some(vote);
            }
            return true;
        }
    }
    false
}

/// Whether approvals given for `held` are enough where `asked` is asked for: a window covers no stricter terms.
pub(crate) fn covers(held: &[(Arc<str>, u32)], asked: &[(Arc<str>, u32)]) -> bool {
    asked.iter().all(|(group, min)| held.iter().any(|(other, n)| other == group && n >= min))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn terms(groups: &[(&str, u32)]) -> Vec<(Arc<str>, u32)> {
        groups.iter().map(|(name, min)| ((*name).into(), *min)).collect()
    }

    fn lacks(groups: &[(&str, u32)], votes: &[&[&str]]) -> Vec<u32> {
        let votes: Vec<Vec<Arc<str>>> =
            votes.iter().map(|groups| groups.iter().map(|g| Arc::from(*g)).collect()).collect();
        let votes: Vec<&[Arc<str>]> = votes.iter().map(Vec::as_slice).collect();
        missing(&terms(groups), &votes)
    }

    #[test]
    fn each_person_stands_for_one_group() {
        assert_eq!(lacks(&[("dba", 1), ("security", 1)], &[&["dba", "security"]]), [0, 1]);
        assert_eq!(lacks(&[("dba", 1), ("security", 1)], &[&["dba", "security"], &["dba"]]), [0, 0]);
        assert_eq!(lacks(&[("dba", 2)], &[&["dba"]]), [1]);
        assert_eq!(lacks(&[("dba", 2)], &[&["dba"], &["ops"], &["dba"]]), [0]);
        assert_eq!(lacks(&[("a", 1), ("b", 1), ("c", 1)], &[&["a", "b"], &["a"], &["b", "c"]]), [0, 0, 0]);
        assert_eq!(lacks(&[("a", 1)], &[]), [1]);
    }

    #[test]
    fn a_window_covers_no_stricter_terms() {
        let held = terms(&[("dba", 2), ("ops", 1)]);
        assert!(covers(&held, &terms(&[("dba", 1)])));
        assert!(covers(&held, &terms(&[("ops", 1), ("dba", 2)])));
        assert!(!covers(&held, &terms(&[("dba", 3)])));
        assert!(!covers(&held, &terms(&[("security", 1)])));
    }

    proptest! {
        /// The matching against trying every order of handing out places.
        #[test]
        fn the_quorum_is_what_trying_everything_finds(
            mins in proptest::collection::vec(0u32..3, 1..4),
            people in proptest::collection::vec(proptest::collection::vec(any::<bool>(), 3), 0..6),
        ) {
            let names = ["a", "b", "c"];
            let asked: Vec<(&str, u32)> = names.iter().copied().zip(mins.iter().copied()).collect();
            let votes: Vec<Vec<&str>> = people
                .iter()
                .map(|is_in| names.iter().zip(is_in).filter(|(_, is)| **is).map(|(name, _)| *name).collect())
                .collect();
            let votes: Vec<&[&str]> = votes.iter().map(Vec::as_slice).collect();
            let places: Vec<&str> =
                asked.iter().flat_map(|(name, min)| std::iter::repeat_n(*name, *min as usize)).collect();
            let is_complete = lacks(&asked, &votes).iter().all(|n| *n == 0);
            prop_assert_eq!(is_complete, fillable(&places, &votes));
        }
    }

    fn fillable(places: &[&str], votes: &[&[&str]]) -> bool {
        let Some((place, rest)) = places.split_first() else { return true };
        (0..votes.len()).any(|n| {
            let mut others = votes.to_vec();
            others.remove(n).contains(place) && fillable(rest, &others)
        })
    }
}
