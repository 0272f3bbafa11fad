//! What a rule's matches look like at their start: a few sequences of byte sets.
//!
//! The rule's automaton is walked from its start states. A *path* is a sequence of byte sets, the first of which is
//! for the byte before the match, and every match begins as one of the paths says. Paths are told apart where that
//! makes them rarer, the likeliest first, and put together again where they are too many or where it costs nothing.

use regex_automata::util::primitives::StateID;

use super::automaton::{Automaton, Before, Step};
use super::symbol::{BEFORE_TEXT, ByteSet, Chances, Models};
use super::words::is_word;

/// Positions of a path: the byte before the match and those that follow.
pub(crate) const PATH_LEN: usize = 16;
/// The most paths of one rule while they are looked for.
const PATHS_MAX: usize = 64;
/// A path of which more states have to be followed is long enough.
const STATES_MAX: usize = 64;
/// A path that is rarer than this is long enough.
const RARE: f32 = 1e-7;

/// Two paths that are no words and whose union is so rare stay one.
const RARE_UNION: f32 = 1e-6;

/// A sequence of byte sets; positions past its end have any byte or none.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    pub(crate) sets: Vec<ByteSet>,
    /// The chance that a place of usual traffic has it.
    pub(crate) chance: f32,
}

struct Open {
    path: Path,
    states: Vec<StateID>,
    chances: Chances,
}

/// The paths of an automaton's matches.
pub(crate) fn paths(automaton: &Automaton, models: &Models) -> Vec<Path> {
    let mut open = starts(automaton, models);
    let mut closed = Vec::new();
    while let Some(next) = likeliest(&mut open) {
        let len = next.path.sets.len();
        let rare = next.path.chance < RARE;
        let done = len == PATH_LEN || next.states.len() > STATES_MAX;
        if done || next.states.iter().any(|s| ends(automaton, *s)) {
            closed.push(next.path);
            continue;
        }
        let groups = successors(automaton, &next.states);
        if !rare && open.len() + closed.len() + groups.len() <= PATHS_MAX {
            open.extend(groups.into_iter().map(|(state, set)| extend(&next, set, vec![state], models)));
        } else {
            let set = groups.iter().fold(ByteSet::EMPTY, |all, (_, set)| all.union(set));
            let states = groups.into_iter().map(|(state, _)| state).collect();
            open.push(extend(&next, set, states, models));
        }
    }
    merge(closed, models)
}

fn likeliest(open: &mut Vec<Open>) -> Option<Open> {
    let index = (0..open.len()).max_by(|a, b| open[*a].path.chance.total_cmp(&open[*b].path.chance))?;
    Some(open.swap_remove(index))
}

/// One path for each start state, with the bytes that may stand before.
fn starts(automaton: &Automaton, models: &Models) -> Vec<Open> {
    let mut starts: Vec<(StateID, ByteSet)> = Vec::new();
    for before in Before::ALL {
        let state = automaton.start(before);
        if !automaton.is_live(state) {
            continue;
        }
        let bytes = match before {
            Before::Nothing => ByteSet::of([BEFORE_TEXT]),
            _ => ByteSet::of((0..=255u8).filter(|b| Before::of(Some(*b)) == before)),
        };
        match starts.iter_mut().find(|(s, _)| *s == state) {
            Some((_, set)) => *set = set.union(&bytes),
            None => starts.push((state, bytes)),
        }
    }
    let open = |(state, set): (StateID, ByteSet)| {
        let chances = models.first(&set);
        let path = Path { sets: vec![set], chance: chances.sum() };
        Open { path, states: vec![state], chances }
    };
    starts.into_iter().map(open).collect()
}

fn extend(from: &Open, set: ByteSet, states: Vec<StateID>, models: &Models) -> Open {
    let chances = models.next(&from.chances, &set);
    let mut sets = from.path.sets.clone();
    sets.push(set);
    Open { path: Path { sets, chance: chances.sum() }, states, chances }
}

/// True when a match may end where the state stands.
fn ends(automaton: &Automaton, state: StateID) -> bool {
    automaton.matches_at_end(state)
        || automaton.classes.iter().any(|(byte, _)| {
            let mut next = state;
            automaton.step(&mut next, *byte) == Step::Matched
        })
}

/// The states that come next, each with the bytes that lead to it.
fn successors(automaton: &Automaton, states: &[StateID]) -> Vec<(StateID, ByteSet)> {
    let mut groups: Vec<(StateID, ByteSet)> = Vec::new();
    for &state in states {
        for (byte, class) in &automaton.classes {
            let mut next = state;
            if automaton.step(&mut next, *byte) == Step::Dead || !automaton.is_live(next) {
                continue;
            }
            match groups.iter_mut().find(|(s, _)| *s == next) {
                Some((_, set)) => *set = set.union(class),
                None => groups.push((next, *class)),
            }
        }
    }
    groups
}

/// Puts paths together whose union is rare all the same.
fn merge(mut paths: Vec<Path>, models: &Models) -> Vec<Path> {
    paths.sort_by(|a, b| a.chance.total_cmp(&b.chance));
    let mut kept: Vec<Path> = Vec::new();
    for path in paths {
        let found = kept.iter_mut().find_map(|other| {
            let both = union(other, &path, models);
            let free = both.chance <= (other.chance + path.chance) * 1.05;
            let common = both.chance < RARE_UNION && !is_word(other) && !is_word(&path);
            (free || common).then(|| *other = both)
        });
        if found.is_none() {
            kept.push(path);
        }
    }
    kept
}

fn union(a: &Path, b: &Path, models: &Models) -> Path {
    let sets: Vec<ByteSet> = a.sets.iter().zip(&b.sets).map(|(a, b)| a.union(b)).collect();
    Path { chance: models.chance(&sets), sets }
}
