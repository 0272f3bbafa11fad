//! What a rule's matches look like at their start: a few sequences of byte sets.
//!
//! The rule's automaton is walked from its start states. A *path* is a sequence of byte sets, the first of which is
//! for the byte before the match, and every match begins as one of the paths says. Paths are told apart where that
//! makes them rarer, the likeliest first, and put together again where they are too many or where it costs nothing.

use super::automaton::{Automaton, Before, Step};
use super::symbol::{BEFORE_TEXT, ByteSet, Chances, Models};
use super::table::State;
use super::tracker::{Tracker, TrackerScratch};
use super::window::WINDOW_LEN;
use super::words::is_word;

/// Positions of a path that are looked at: a byte and those that follow.
pub(crate) const PATH_LEN: usize = 16;
/// Positions of a path from the byte before the match on, from which the best are chosen.
const WALK_LEN: usize = 24;
/// The most paths of one rule while they are looked for.
const PATHS_MAX: usize = 256;
/// Positions at which paths are told apart; what follows is one for all.
const APART_LEN: usize = 7;
/// The same of words.
const WORD_APART_LEN: usize = 4;
/// A path of which more states have to be followed is long enough.
const STATES_MAX: usize = 64;
/// A path that is rarer than this is long enough.
const RARE: f32 = 1e-7;

/// Paths that are no words and differ at more positions are not put together.
const DIFFERENCES_MAX: usize = 3;
/// Two paths that are no words and whose union is so rare stay one.
const RARE_UNION: f32 = 1e-6;

/// A sequence of byte sets; positions past its end have any byte or none.
#[derive(Clone, Debug)]
pub(crate) struct Path {
    /// The first is for the byte before.
    pub(crate) sets: Vec<ByteSet>,
    /// Bytes of the match before the second set.
    pub(crate) offset: u8,
    /// Bytes of the match that are not of the value, at least.
    pub(crate) value_min: u8,
    /// Sets from the first on whose bytes all lead to the same state.
    pub(crate) exact: usize,
    /// The chance that a place of usual traffic has it.
    pub(crate) chance: f32,
}

impl Path {
    /// The positions that the first look covers.
    pub(crate) fn window(&self) -> &[ByteSet] {
        self.sets.get(..WINDOW_LEN).unwrap_or(&self.sets)
    }

    /// How many bytes into the match its value can begin at the earliest, as far as the path tells.
    fn value_start_min(&self, automaton: &Automaton) -> usize {
        let Some(groups) = automaton.groups() else { return 0 };
        let mut scratch = TrackerScratch::default();
        let first = |set: &ByteSet| (0..=255u8).find(|b| set.has(*b));
        let Some((before, sets)) = self.sets.get(..self.exact).and_then(<[ByteSet]>::split_first) else {
            return 0;
        };
        let bytes: Vec<u8> = sets.iter().filter_map(first).collect();
        // A line feed stands for the start of the text as well.
        let start_of_text = before.has(BEFORE_TEXT).then_some(None);
        let befores = start_of_text.into_iter().chain(std::iter::once(first(before)));
        let begins = befores.map(|before| {
            let mut tracker = Tracker::new(groups, 0, before);
            let not_begun = |len: &usize| {
                tracker.advance(groups, &mut scratch, bytes.get(len - 1..*len).unwrap_or_default());
                tracker.value_start_min(groups, &mut scratch) == *len as u64
            };
            (1..=bytes.len()).take_while(not_begun).count()
        });
        begins.min().unwrap_or(0)
    }

    /// The rarest part of it that begins at most `offset_max` bytes into the match.
    fn rarest(mut self, offset_max: usize, models: &Models) -> Path {
        let mut best = (0, models.chance(self.window()));
        for offset in 1..=offset_max.min(self.sets.len() - 1) {
            let rest = self.sets.get(offset..).unwrap_or_default();
            let chance = models.chance(rest.get(..WINDOW_LEN).unwrap_or(rest));
            // A later one needs more of the text to be kept.
            if chance < best.1 * 0.8 {
                best = (offset, chance);
            }
        }
        self.sets.drain(..best.0);
        self.sets.truncate(PATH_LEN);
        self.offset = best.0 as u8;
        self.chance = models.chance(&self.sets);
        self
    }
}

struct Open {
    path: Path,
    states: Vec<State>,
    chances: Chances,
}

/// The paths of an automaton's matches, each of its rarest part among those that begin at most `offset_max` bytes
/// into the match.
pub(crate) fn paths(automaton: &Automaton, offset_max: usize, models: &Models) -> Vec<Path> {
    let classes = automaton.classes();
    let mut open = starts(automaton, models);
    let mut closed = Vec::new();
    while let Some(next) = likeliest(&mut open) {
        let len = next.path.sets.len();
        let rare = next.path.chance < RARE;
        let done = len == WALK_LEN || next.states.len() > STATES_MAX;
        if done || next.states.iter().any(|s| ends(automaton, &classes, *s)) {
            closed.push(next.path);
            continue;
        }
        let groups = successors(automaton, &classes, &next.states);
        let apart_len = if is_word(&next.path) { WORD_APART_LEN } else { APART_LEN };
        let apart = len <= apart_len && !rare;
        if apart && open.len() + closed.len() + groups.len() <= PATHS_MAX {
            open.extend(groups.into_iter().map(|(state, set)| extend(&next, set, vec![state], models)));
        } else {
            let set = groups.iter().fold(ByteSet::EMPTY, |all, (_, set)| all.union(set));
            let states = groups.into_iter().map(|(state, _)| state).collect();
            open.push(extend(&next, set, states, models));
        }
    }
    let rarest = |mut path: Path| {
        let value_min = path.value_start_min(automaton).max(offset_max).min(WALK_LEN - PATH_LEN);
        path.value_min = value_min as u8;
        path.rarest(value_min, models)
    };
    merge(closed.into_iter().map(rarest).collect(), models)
}

fn likeliest(open: &mut Vec<Open>) -> Option<Open> {
    let index = (0..open.len()).max_by(|a, b| open[*a].path.chance.total_cmp(&open[*b].path.chance))?;
    Some(open.swap_remove(index))
}

/// One path for each start state, with the bytes that may stand before.
fn starts(automaton: &Automaton, models: &Models) -> Vec<Open> {
    let mut starts: Vec<(State, ByteSet)> = Vec::new();
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
    let open = |(state, set): (State, ByteSet)| {
        let chances = models.first(&set);
        let path = Path { sets: vec![set], offset: 0, value_min: 0, exact: 1, chance: chances.sum() };
        Open { path, states: vec![state], chances }
    };
    starts.into_iter().map(open).collect()
}

fn extend(from: &Open, set: ByteSet, states: Vec<State>, models: &Models) -> Open {
    // What is rare enough need not be told by how much.
    let rare = from.path.chance < RARE / 100.0;
    let chances = if rare { from.chances.clone() } else { models.next(&from.chances, &set) };
    let mut sets = from.path.sets.clone();
    sets.push(set);
    let exact = from.path.exact + usize::from(states.len() == 1 && from.path.exact + 1 == sets.len());
    Open { path: Path { sets, offset: 0, value_min: 0, exact, chance: chances.sum() }, states, chances }
}

/// True when a match may end where the state stands.
fn ends(automaton: &Automaton, classes: &[(u8, ByteSet)], state: State) -> bool {
    automaton.matches_at_end(state)
        || classes.iter().any(|(byte, _)| {
            let mut next = state;
            matches!(automaton.step(&mut next, *byte), Step::Matched | Step::Beyond)
        })
}

/// The states that come next, each with the bytes that lead to it.
fn successors(automaton: &Automaton, classes: &[(u8, ByteSet)], states: &[State]) -> Vec<(State, ByteSet)> {
    let mut groups: Vec<(State, ByteSet)> = Vec::new();
    for &state in states {
        for (byte, class) in classes {
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
        let word = is_word(&path);
        let mut like = kept.iter_mut().filter(|other| other.offset == path.offset);
        let found = like.find_map(|other| {
            if differences(other, &path) > if word { 1 } else { DIFFERENCES_MAX } {
                return None;
            }
            let both = union(other, &path, models);
            let free = both.chance <= (other.chance + path.chance) * 1.05;
            let common = !word && models.chance(both.window()) < RARE_UNION && !is_word(other);
            (free || common).then(|| *other = both)
        });
        if found.is_none() {
            kept.push(path);
        }
    }
    kept
}

/// Positions at which two paths differ.
fn differences(a: &Path, b: &Path) -> usize {
    a.sets.len().abs_diff(b.sets.len()) + a.sets.iter().zip(&b.sets).filter(|(a, b)| a != b).count()
}

fn union(a: &Path, b: &Path, models: &Models) -> Path {
    let sets: Vec<ByteSet> = a.sets.iter().zip(&b.sets).map(|(a, b)| a.union(b)).collect();
    Path {
        chance: models.chance(&sets),
        offset: a.offset,
        value_min: a.value_min.min(b.value_min),
        exact: 0,
        sets,
    }
}
