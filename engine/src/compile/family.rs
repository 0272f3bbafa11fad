//! Rules that begin with the same words, tried as one.
//!
//! A keyword such as `password` starts many rules, each of which fails a few bytes later. A *family's* automaton walks
//! them all at once: its states are what the rules' own automata would be in, one beside the other, up to a depth and
//! a number of states. It only tells which rules have not failed by then; those are tried on their own.

use std::collections::HashMap;
use std::sync::Arc;

use super::automaton::{Automaton, Before, Step};
use super::symbol::byte_classes;
use super::table::State;
use super::window::Trigger;
use super::words::{add_grams, is_word};
use crate::built::wire::{Damage, Reader, Writer};
use crate::kernel::Gram;

/// The most rules of a family: a bit each.
const RULES_MAX: usize = 64;
/// States further from the start than this are not walked.
const DEPTH_MAX: u32 = 24;
/// The most states of a family.
const STATES_MAX: usize = 2000;
/// A start is given up to the rules' own automata after as many bytes.
const STEPS_MAX: usize = 64;
/// The fewest bytes of a family in a built pack.
const FAMILY_BYTES_MIN: usize = 256;

/// All families of a ruleset.
#[derive(Clone, Debug, Default)]
pub(crate) struct Families {
    families: Vec<Family>,
    /// By rule: its family and its bit in it.
    of_rule: Vec<Option<(u32, u64)>>,
}

/// What a walk has told of a start.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    family: u32,
    start: u64,
    alive: u64,
}

#[derive(Clone)]
struct Family {
    class: Arc<[u8; 256]>,
    /// Log2 of the columns.
    shift: u32,
    next: Arc<[u16]>,
    /// By state: the rules that have not failed.
    alive: Arc<[u64]>,
    /// From here on, states are not walked any further.
    walked: u16,
    starts: [u16; 5],
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Family").field("states", &self.alive.len()).finish_non_exhaustive()
    }
}

impl Families {
    /// Puts rules together whose words are mostly the same; a rule that is left out has no parts.
    pub(crate) fn build(rules: &[Option<(&Automaton, &Trigger)>]) -> Families {
        let mut of_rule = vec![None; rules.len()];
        let mut families = Vec::new();
        for members in related(rules) {
            let automata: Vec<&Automaton> =
                members.iter().filter_map(|r| rules.get(*r).copied().flatten()).map(|(a, _)| a).collect();
            let index = families.len() as u32;
            families.push(Family::build(&automata));
            for (bit, rule) in members.into_iter().enumerate() {
                if let Some(slot) = of_rule.get_mut(rule) {
                    *slot = Some((index, 1 << bit));
                }
            }
        }
        Families { families, of_rule }
    }

    /// Adds families whose rules have other `numbers` here.
    pub(crate) fn add(&mut self, other: &Families, numbers: &[Option<u32>]) {
        let first = self.families.len() as u32;
        self.families.extend(other.families.iter().cloned());
        for (number, of_rule) in numbers.iter().zip(&other.of_rule) {
            let (Some(number), Some((family, bit))) = (number, of_rule) else { continue };
            if self.of_rule.len() <= *number as usize {
                self.of_rule.resize(*number as usize + 1, None);
            }
            self.of_rule[*number as usize] = Some((first + family, *bit));
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.count(self.families.len());
        self.families.iter().for_each(|family| family.write(out));
        for of_rule in &self.of_rule {
            out.option(*of_rule, |out, (family, bit)| {
                out.u32(family);
                out.u64(bit);
            });
        }
    }

    /// Families of so many rules.
    pub(crate) fn read(from: &mut Reader<'_>, rules: usize) -> Result<Families, Damage> {
        let families =
            (0..from.count(FAMILY_BYTES_MIN)?).map(|_| Family::read(from)).collect::<Result<Vec<_>, _>>()?;
        let mut of_rule = Vec::new();
        for _ in 0..rules {
            let family = from.option(|from| Ok((from.u32()?, from.u64()?)))?;
            if family.is_some_and(|(family, _)| family as usize >= families.len()) {
                return Err(Damage("the family of a rule"));
            }
            of_rule.push(family);
        }
        Ok(Families { families, of_rule })
    }

    /// False when a match of the rule can't begin at `start`, whose first byte is the first of `bytes`.
    ///
    /// `last` keeps what was told last, for the rules of a family are asked for one after another; `steps` counts.
    #[inline]
    pub(crate) fn may_match(
        &self,
        rule: u32,
        start: u64,
        before: Option<u8>,
        bytes: &[u8],
        last: &mut Option<Walked>,
        steps: &mut u64,
    ) -> bool {
        let Some(Some((family, bit))) = self.of_rule.get(rule as usize).copied() else { return true };
        let alive = match last {
            Some(walked) if walked.family == family && walked.start == start => walked.alive,
            _ => {
                let Some(automaton) = self.families.get(family as usize) else { return true };
                let (alive, taken) = automaton.walk(Before::of(before), bytes);
                *steps += taken as u64;
                *last = Some(Walked { family, start, alive });
                alive
            }
        };
        alive & bit != 0
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let family = |f: &Family| f.next.len() * 2 + f.alive.len() * 8 + 256;
        self.families.iter().map(family).sum::<usize>() + self.of_rule.len() * 16
    }
}

/// Rules that share two thirds of their words' grams, by their index; each list has two or more.
fn related(rules: &[Option<(&Automaton, &Trigger)>]) -> Vec<Vec<usize>> {
    let mut rules_of: HashMap<Gram, Vec<usize>> = HashMap::new();
    let mut grams = vec![0usize; rules.len()];
    let triggers = rules.iter().enumerate().filter_map(|(n, rule)| Some((n, rule.as_ref()?.1)));
    for (rule, trigger) in triggers {
        for path in trigger.at_start.iter().filter(|path| is_word(path)) {
            add_grams(path, |gram| {
                let rules = rules_of.entry(gram).or_default();
                if rules.last() != Some(&rule) {
                    rules.push(rule);
                    grams[rule] += 1;
                }
            });
        }
    }
    let mut shared: HashMap<(usize, usize), usize> = HashMap::new();
    for rules in rules_of.values() {
        for (n, a) in rules.iter().enumerate() {
            for b in rules.iter().skip(n + 1) {
                *shared.entry((*a, *b)).or_default() += 1;
            }
        }
    }
    // Rules of few common words would multiply each other's states.
    let alike = |(a, b): (usize, usize), both: usize| 3 * both >= 2 * grams[a].max(grams[b]);
    let mut pairs: Vec<((usize, usize), usize)> =
        shared.into_iter().filter(|(pair, both)| alike(*pair, *both)).collect();
    pairs.sort_unstable_by_key(|(pair, both)| (std::cmp::Reverse(*both), *pair));
    let mut family_of: Vec<usize> = (0..rules.len()).collect();
    let mut members: Vec<Vec<usize>> = family_of.iter().map(|rule| vec![*rule]).collect();
    for ((a, b), _) in pairs {
        let (a, b) = (family_of[a], family_of[b]);
        if a != b && members[a].len() + members[b].len() <= RULES_MAX {
            let moved = std::mem::take(&mut members[b]);
            moved.iter().for_each(|rule| family_of[*rule] = a);
            members[a].extend(moved);
        }
    }
    members.retain(|rules| rules.len() > 1);
    members
}

/// Where each rule of a family stands: `None` once it has failed.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Stand {
    states: Vec<Option<State>>,
    /// Rules that have matched, or that the text's end would let match: they are always tried.
    kept: u64,
}

impl Stand {
    fn alive(&self) -> u64 {
        let running = self.states.iter().enumerate().filter(|(_, state)| state.is_some());
        running.fold(self.kept, |alive, (bit, _)| alive | 1 << bit)
    }

    fn is_settled(&self) -> bool {
        self.states.iter().all(Option::is_none)
    }

    fn settle(&mut self, bit: usize, automaton: &Automaton, state: State, matched: bool) {
        let kept = matched || automaton.matches_at_end(state);
        self.kept |= u64::from(kept) << bit;
        self.states[bit] = (!kept && automaton.is_live(state)).then_some(state);
    }
}

impl Family {
    fn build(members: &[&Automaton]) -> Family {
        let (class, examples) = byte_classes(members.iter().flat_map(|a| a.classes()).map(|(_, set)| set));
        let shift = examples.len().next_power_of_two().trailing_zeros();
        let mut numbers: HashMap<Stand, u32> = HashMap::new();
        let mut stands: Vec<(Stand, u32)> = Vec::new();
        let mut number = |stand: Stand, depth: u32, stands: &mut Vec<(Stand, u32)>| {
            *numbers.entry(stand.clone()).or_insert_with(|| {
                stands.push((stand, depth));
                stands.len() as u32 - 1
            })
        };
        let starts = Before::ALL.map(|before| {
            let mut stand = Stand { states: vec![None; members.len()], kept: 0 };
            for (bit, automaton) in members.iter().enumerate() {
                stand.settle(bit, automaton, automaton.start(before), false);
            }
            number(stand, 0, &mut stands)
        });
        let mut rows: Vec<Vec<u32>> = Vec::new();
        // In the order of their depth: those that are not reached any more stay unwalked.
        while let Some((stand, depth)) = stands.get(rows.len()).cloned() {
            let walk = depth < DEPTH_MAX && !stand.is_settled() && stands.len() < STATES_MAX;
            let row = examples.iter().map(|byte| {
                let mut next = Stand { states: vec![None; members.len()], kept: stand.kept };
                for (bit, (automaton, state)) in members.iter().zip(&stand.states).enumerate() {
                    let Some(mut state) = *state else { continue };
                    match automaton.step(&mut state, *byte) {
                        Step::Dead => {}
                        step => next.settle(bit, automaton, state, step == Step::Matched),
                    }
                }
                number(next, depth + 1, &mut stands)
            });
            rows.push(if walk { row.collect() } else { Vec::new() });
        }
        Family::numbered(&stands, &rows, starts, class, shift)
    }

    /// States that are walked first.
    fn numbered(
        stands: &[(Stand, u32)],
        rows: &[Vec<u32>],
        starts: [u32; 5],
        class: Box<[u8; 256]>,
        shift: u32,
    ) -> Family {
        let mut order: Vec<usize> = (0..stands.len()).collect();
        order.sort_by_key(|n| rows[*n].is_empty());
        let mut number = vec![0u16; stands.len()];
        order.iter().enumerate().for_each(|(new, old)| number[*old] = new as u16);
        let walked = rows.iter().filter(|row| !row.is_empty()).count();
        let mut next = vec![0u16; walked << shift];
        let cells = order.iter().zip(next.chunks_exact_mut(1 << shift));
        for (old, cells) in cells {
            cells.iter_mut().zip(&rows[*old]).for_each(|(cell, to)| *cell = number[*to as usize]);
        }
        Family {
            class: class.into(),
            shift,
            next: next.into(),
            alive: order.iter().map(|old| stands[*old].0.alive()).collect(),
            walked: walked as u16,
            starts: starts.map(|start| number[start as usize]),
        }
    }

    fn write(&self, out: &mut Writer) {
        out.raw(&*self.class);
        out.u8(self.shift as u8);
        out.count(self.alive.len());
        out.words64(&self.alive);
        out.u16(self.walked);
        out.words16(&self.next);
        self.starts.iter().for_each(|start| out.u16(*start));
    }

    fn read(from: &mut Reader<'_>) -> Result<Family, Damage> {
        let class: [u8; 256] = *from.array()?;
        let shift = u32::from(from.u8()?);
        let states = from.count(8)?;
        let alive = from.words64(states)?;
        let walked = from.u16()?;
        if shift > 8 || states > usize::from(u16::MAX) || usize::from(walked) > states {
            return Err(Damage("the size of a family"));
        }
        let next = from.words16(usize::from(walked) << shift)?;
        let mut starts = [0; 5];
        for start in &mut starts {
            *start = from.u16()?;
        }
        let known = |state: u16| usize::from(state) < states;
        let columns = class.iter().all(|column| u32::from(*column) >> shift == 0);
        let last = next.iter().copied().max().unwrap_or(0);
        if !columns || !known(last) || !starts.iter().all(|start| known(*start)) {
            return Err(Damage("a state of a family"));
        }
        Ok(Family { class: class.into(), shift, next, alive, walked, starts })
    }

    /// The rules that have not failed over the bytes, and how many of them it took.
    #[inline]
    fn walk(&self, before: Before, bytes: &[u8]) -> (u64, usize) {
        let mut state = self.starts[before as usize];
        let mut taken = 0;
        for byte in bytes.iter().take(STEPS_MAX) {
            if state >= self.walked {
                break;
            }
            let column = usize::from(self.class[usize::from(*byte)]);
            state = self.next[usize::from(state) << self.shift | column];
            taken += 1;
        }
        (self.alive[usize::from(state)], taken)
    }
}
