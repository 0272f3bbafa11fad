//! The semantics of [`crate::Stream`], said again in the most naive way: over the whole text at once.
//!
//! Compiled only with the feature `oracle`, for tests. It shares with the stream the parsed rules, validators and
//! replacement texts, and nothing of the search: each expression is run by `regex-automata`'s own search at every
//! start. Only where a value may go on past its `len_max` is the rule's DFA walked, byte by byte, for "could go
//! on" is a question about the automaton.

use std::ops::Range;

use regex_automata::nfa::thompson::pikevm::PikeVM;
use regex_automata::{Anchored, Input};

use crate::compile::automaton::{Automaton, Before, Step};
use crate::compile::expression::Expression;
use crate::compile::lazy::Lazy;
use crate::compile::table::State;
use crate::compile::threads::Threads;
use crate::mask;
use crate::rule::Pattern;
use crate::ruleset::{CompiledRule, RuleId, Ruleset};
use crate::stream::Event;

/// What the oracle says of a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// The masked text.
    pub output: Vec<u8>,
    /// Events of masked values, in order.
    pub masked: Vec<Event>,
    /// Events of labels, in order.
    pub labels: Vec<Event>,
    /// By byte of the text: whether it was masked.
    pub hidden: Vec<bool>,
}

#[derive(Clone, Debug)]
struct Found {
    rule: u32,
    match_start: usize,
    start: usize,
    end: usize,
    unbounded: bool,
}

/// Masks `text`, which stands behind `context`.
///
/// # Panics
/// When the ruleset's own expressions don't compile, which they did.
#[must_use]
pub fn mask_whole(ruleset: &Ruleset, context: &[u8], text: &[u8]) -> Verdict {
    let all = [context, text].concat();
    let regions = enclosed_regions(ruleset, &all);
    let mut found = regions.clone();
    for (id, rule) in (0u32..).zip(&ruleset.compiled).filter(|(_, r)| r.end.is_none()) {
        let pike = pike_of(&rule.automaton);
        for start in 0..all.len() {
            if regions.iter().any(|r| (r.start..r.end).contains(&start)) {
                continue;
            }
            let floor = regions.iter().map(|r| r.end).filter(|e| *e <= start).max().unwrap_or(0);
            found.extend(match_at(rule, &pike, id, &all, start, floor));
        }
    }
    found.extend(exact_values(ruleset, &all, &regions));
    resolve(ruleset, context.len(), &all, found)
}

/// Exact values, from every word to every word behind it.
fn exact_values(ruleset: &Ruleset, all: &[u8], regions: &[Found]) -> Vec<Found> {
    let Some(exact) = &ruleset.exact else { return Vec::new() };
    let mut found = crate::exact::find_naively(exact, all);
    found.retain(|(_, range)| !regions.iter().any(|r| (r.start..r.end).contains(&range.start)));
    let found = found.into_iter();
    found
        .map(|(rule, Range { start, end })| Found { rule, match_start: start, start, end, unbounded: false })
        .collect()
}

#[allow(clippy::expect_used)]
fn pike(text: &str) -> PikeVM {
    let expression = Expression::parse(text).expect("it compiled before");
    pike_of(&Automaton::build(&expression).expect("it compiled before"))
}

/// The reference for places of groups, whatever way the automaton has.
#[allow(clippy::expect_used)]
fn pike_of(automaton: &Automaton) -> PikeVM {
    PikeVM::new_from_nfa(automaton.groups().expect("it compiled before").nfa.clone())
        .expect("it compiled before")
}

/// End and value of the match at `start`.
fn search(
    rule: &CompiledRule,
    pike: &PikeVM,
    all: &[u8],
    start: usize,
    end: usize,
) -> Option<(usize, usize, usize)> {
    let mut cache = pike.create_cache();
    let mut slots = vec![None; pike.get_nfa().group_info().slot_len()];
    let input = Input::new(all).span(start..end).anchored(Anchored::Yes);
    pike.search_slots(&mut cache, &input, &mut slots)?;
    let slot = |n: usize| slots.get(n).copied().flatten().map(|o| o.get());
    let group = rule.automaton.groups().and_then(|g| g.secret).map_or(0, |g| g as usize);
    let value = slot(2 * group).zip(slot(2 * group + 1));
    let (from, to) = value.unwrap_or((slot(0)?, slot(1)?));
    Some((slot(1)?, from, to))
}

fn match_at(
    rule: &CompiledRule,
    pike: &PikeVM,
    id: u32,
    all: &[u8],
    start: usize,
    floor: usize,
) -> Option<Found> {
    let over = goes_over(rule, all, start);
    let (end, from, to) = match over {
        Some((matched, _)) => search(rule, pike, all, start, matched?)?,
        None => search(rule, pike, all, start, all.len())?,
    };
    if from >= to || !accepted(rule, all, start, end, from, to, floor) {
        return None;
    }
    let (to, unbounded) = match over {
        Some((_, dies)) if rule.masks => (dies, true),
        _ => (to, false),
    };
    Some(Found { rule: id, match_start: start, start: from, end: to, unbounded })
}

/// For a value that could go on past `len_max`: its best match by then, and where its automaton dies.
fn goes_over(rule: &CompiledRule, all: &[u8], start: usize) -> Option<(Option<usize>, usize)> {
    let mut walk = Walk::new(&rule.automaton, Before::of(start.checked_sub(1).map(|i| all[i])));
    let mut matched = None;
    for (at, &byte) in all.iter().enumerate().skip(start) {
        let taken = at - start;
        match walk.step(byte) {
            Step::Dead | Step::Beyond if taken <= rule.len_max => return None,
            Step::Dead | Step::Beyond => return Some((matched, at)),
            Step::Matched if taken <= rule.len_max => matched = Some(at),
            Step::Matched | Step::On => {}
        }
        if taken >= rule.len_max && !walk.is_live() {
            return if taken == rule.len_max { None } else { Some((matched, at)) };
        }
    }
    (all.len() - start > rule.len_max).then_some((matched, all.len()))
}

/// Along a table, or the NFA where there is no whole one.
enum Walk<'a> {
    Table(&'a Automaton, State),
    Threads(&'a Automaton, Box<(Threads, Lazy)>),
}

impl Walk<'_> {
    #[allow(clippy::expect_used)]
    fn new(automaton: &Automaton, before: Before) -> Walk<'_> {
        if automaton.is_whole() {
            return Walk::Table(automaton, automaton.start(before));
        }
        let (mut lazy, mut threads) = (Lazy::default(), Threads::default());
        let start = lazy.start(0, &automaton.groups().expect("it compiled before").nfa, before);
        lazy.tell(start, &mut threads);
        Walk::Threads(automaton, Box::new((threads, lazy)))
    }

    fn step(&mut self, byte: u8) -> Step {
        match self {
            Walk::Table(automaton, state) => automaton.step(state, byte),
            Walk::Threads(automaton, both) => {
                let (threads, lazy) = &mut **both;
                automaton.groups().map_or(Step::Dead, |g| lazy.step_threads(&g.nfa, threads, byte))
            }
        }
    }

    fn is_live(&self) -> bool {
        match self {
            Walk::Table(automaton, state) => automaton.is_live(*state),
            Walk::Threads(_, both) => !both.0.is_dead(),
        }
    }
}

fn accepted(
    rule: &CompiledRule,
    all: &[u8],
    start: usize,
    end: usize,
    from: usize,
    to: usize,
    floor: usize,
) -> bool {
    let value = &all[from..to];
    let contains = |window: &[u8], k: &[u8]| window.windows(k.len()).any(|w| w.eq_ignore_ascii_case(k));
    let keyword = rule.keywords.is_empty()
        || rule.keywords.iter().any(|k| match rule.near {
            0 => contains(&all[start..end], k),
            near => contains(&all[start.saturating_sub(near).max(floor.min(start))..from], k),
        });
    keyword
        && rule.validators.iter().all(|v| v.accepts(value))
        && !rule.exact.contains(value)
        && !rule.starts_with.iter().any(|s| value.starts_with(s))
        && !rule.ends_with.iter().any(|s| value.ends_with(s))
        && !rule.suppress.iter().any(|s| s.is_found_in(value))
}

fn enclosed_regions(ruleset: &Ruleset, all: &[u8]) -> Vec<Found> {
    let mut rules = Vec::new();
    for (id, rule) in (0u32..).zip(&ruleset.compiled) {
        if let Pattern::Enclosed { end, .. } = &ruleset.rules()[id as usize].pattern {
            rules.push((id, rule, pike_of(&rule.automaton), pike(end)));
        }
    }
    let mut regions: Vec<Found> = Vec::new();
    let mut at = 0;
    while at < all.len() {
        let openings = rules.iter().filter_map(|(id, rule, begin, end)| {
            let (to, _, _) = search(rule, begin, all, at, all.len())?;
            Some((-rule.priority, usize::MAX - to, *id, to, end))
        });
        let Some((_, _, id, to, end)) = openings.min_by_key(|o| (o.0, o.1, o.2)) else {
            at += 1;
            continue;
        };
        let input = Input::new(all).span(to..all.len());
        let close = end.find(&mut end.create_cache(), input).map_or(all.len(), |m| m.end());
        regions.push(Found { rule: id, match_start: at, start: at, end: close, unbounded: true });
        at = close;
    }
    regions
}

fn resolve(ruleset: &Ruleset, origin: usize, all: &[u8], found: Vec<Found>) -> Verdict {
    let rule_of = |f: &Found| &ruleset.compiled[f.rule as usize];
    let (mut values, mut labels): (Vec<Found>, Vec<Found>) =
        found.into_iter().partition(|f| rule_of(f).masks);
    values.sort_by_key(|f| {
        let end = if f.unbounded { usize::MAX } else { f.end };
        (f.start, -rule_of(f).priority, usize::MAX - end, f.rule)
    });
    let mut verdict = Verdict { hidden: vec![false; all.len() - origin], ..Verdict::default() };
    let (mut covered, mut priority, mut passed) = (origin, i32::MIN, origin);
    for mut f in values {
        let rule = rule_of(&f);
        if f.start < covered {
            if f.end <= covered || !(f.unbounded || rule.priority >= priority) {
                continue;
            }
            f.start = covered;
        }
        let from = char_rest(&all[..f.start], passed, covered);
        verdict.output.extend_from_slice(&all[from..f.start]);
        let out = verdict.output.len() as u64;
        let value = &all[f.start..f.end];
        match (&rule.strategy, f.unbounded) {
            (mask::Strategy::Keep { .. }, true) => mask::label(&rule.entity, &mut verdict.output),
            (strategy, _) => {
                mask::replace(strategy, &rule.entity, value, ruleset.token_key.as_ref(), &mut verdict.output);
            }
        }
        let input = (f.start - origin) as u64..(f.end - origin) as u64;
        verdict.masked.push(Event { rule: RuleId(f.rule), input, output: out..verdict.output.len() as u64 });
        verdict.hidden[f.start - origin..f.end - origin].fill(true);
        (covered, priority, passed) = (f.end, rule.priority, f.end);
    }
    let from = char_rest(all, passed, covered);
    verdict.output.extend_from_slice(&all[from..]);
    labels.sort_by_key(|f| (f.match_start, f.rule, usize::MAX - f.end));
    let mut ends = std::collections::HashMap::new();
    for f in labels {
        let start = f.start.max(origin);
        if f.end > start && ends.get(&f.rule).is_none_or(|end| start >= *end) {
            ends.insert(f.rule, f.end);
            let input = (start - origin) as u64..(f.end - origin) as u64;
            verdict.labels.push(Event { rule: RuleId(f.rule), input, output: 0..0 });
        }
    }
    verdict
}

/// Where the text goes on after a value that ended at `passed`, possibly within a character.
fn char_rest(all: &[u8], passed: usize, covered: usize) -> usize {
    if passed == 0 || passed != covered {
        return passed;
    }
    let Some(lead) = (passed.saturating_sub(4)..passed).rev().find(|&i| all[i] & 0xC0 != 0x80) else {
        return passed;
    };
    let len = match all[lead] {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    };
    let end = (lead + len).max(passed).min(all.len());
    (passed..end).find(|&i| all[i] & 0xC0 != 0x80).unwrap_or(end)
}
