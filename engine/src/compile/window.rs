//! Where one rule is looked for: the windows that betray a match.
//!
//! Mostly that is the start of the match, as [`path`](super::path) describes it. An expression that begins with a
//! run of common bytes (`[a-z0-9.]{1,64}@…`) has no telling start: it is looked for *inside*, at what follows the
//! run, and its starts are the places before from which the run reaches there.

use regex_syntax::hir::{Class, Hir, HirKind};

use super::automaton::{Automaton, Before};
use super::expression::Expression;
use super::path::{self, PATH_LEN, Path};
use super::prefilter::is_behind_no_word;
use super::sets::{Sets, SetsWriter};
use super::symbol::{ByteSet, Fold, Models};
use super::words::{RARER_GRAMS_MAX, grams_count};
use crate::built::wire::{Damage, Reader, Writer};
use crate::kernel::{BUCKETS, BUCKETS_BEHIND};

/// Positions that the first look at a window covers.
pub(crate) const WINDOW_LEN: usize = 8;
/// A rule whose windows cost more than this in usual traffic is looked for inside, if that costs a quarter at most.
const COMMON: f32 = 3e-3;
/// A rule whose windows cost more than this is looked for inside if that costs next to nothing.
const NOT_RARE: f32 = 1e-5;
/// What follows a run must begin with rarer bytes than this.
const ANCHOR_COMMON: f32 = 0.15;
/// The same where the windows at the start are not common.
const ANCHOR_NOT_RARE: f32 = 0.03;
/// The longest run before an inner window, in bytes.
const RUN_MAX: usize = 256;
/// The most bytes before the run: a look-behind written as bytes, such as `(?:^|[^\w-])`.
pub(super) const GUARD_MAX: usize = 4;
/// The most branches of an alternation that are looked for apart.
const BRANCHES_MAX: usize = 16;
/// The fewest bytes of a path, and of a run, in a built pack.
const PATH_BYTES_MIN: usize = 7;
const RUN_BYTES_MIN: usize = 41;

/// What stands between the start of a match and its inner window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Run {
    /// The bytes of the run.
    pub(crate) class: ByteSet,
    /// Distance of the match's start from the window, guard included: at least.
    pub(crate) min: usize,
    /// At most.
    pub(crate) max: usize,
    /// Bytes of any kind that may stand before the run.
    pub(crate) guard_max: usize,
    /// They are not of the value.
    pub(crate) guard_outside: bool,
    /// Distance of the value from the window, at least; 0 where it may begin before.
    pub(crate) value_min: usize,
}

/// How the starts of one rule are found.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    pub(crate) at_start: Vec<Path>,
    pub(crate) inside: Vec<(Run, Vec<Path>)>,
    /// For inner windows, by look-behind: bytes that a match may start with.
    pub(crate) first: Vec<ByteSet>,
}

impl Trigger {
    pub(crate) fn of(expression: &Expression, automaton: &Automaton, models: &Models) -> Trigger {
        let at_start = path::paths(automaton, expression.place.before_min(), models);
        let cost = cost(&at_start, models);
        if cost > NOT_RARE
            && let Some((at_start, inside, apart)) =
                apart(&expression.hir, expression.place.before_min(), models)
            && !inside.is_empty()
            && is_worth(apart, cost)
        {
            let first = Before::ALL
                .into_iter()
                .map(|before| ByteSet::of((0..=255u8).filter(|b| automaton.may_start(before, *b))));
            let outside = guard_is_outside(&expression.hir);
            let inside = inside
                .into_iter()
                .map(|(run, paths)| (Run { guard_outside: outside, ..run }, paths))
                .collect();
            return Trigger { at_start, inside, first: first.collect() };
        }
        Trigger { at_start, ..Trigger::default() }
    }

    /// `buckets` are those of its paths.
    pub(crate) fn write(&self, buckets: &[u8], out: &mut Writer, sets: &mut SetsWriter) {
        write_paths(&self.at_start, out, sets);
        out.count(self.inside.len());
        for (run, paths) in &self.inside {
            out.u32(sets.index(&run.class));
            [run.min, run.max, run.guard_max, run.value_min].into_iter().for_each(|size| out.size(size));
            out.bool(run.guard_outside);
            write_paths(paths, out, sets);
        }
        out.count(self.first.len());
        self.first.iter().for_each(|set| out.u32(sets.index(set)));
        out.raw(buckets);
    }

    /// With the buckets of its paths.
    pub(crate) fn read(from: &mut Reader<'_>, sets: &Sets) -> Result<(Trigger, Vec<u8>), Damage> {
        let at_start = read_paths(from, sets)?;
        let inside = from.list(RUN_BYTES_MIN, |from| {
            let class = sets.read(from)?;
            let (max, guard_max) = (RUN_MAX + GUARD_MAX, GUARD_MAX);
            let (min, max, guard_max) = (from.size(max)?, from.size(max)?, from.size(guard_max)?);
            let value_min = from.size(WINDOW_LEN)?;
            if min > max {
                return Err(Damage("the length of a run"));
            }
            let run = Run { class, min, max, guard_max, guard_outside: from.bool()?, value_min };
            Ok((run, read_paths(from, sets)?))
        })?;
        let first = from.list(4, |from| sets.read(from))?;
        if first.len() != if inside.is_empty() { 0 } else { Before::ALL.len() } {
            return Err(Damage("the first bytes of a run"));
        }
        let trigger = Trigger { at_start, inside, first };
        let buckets = from.raw(trigger.paths().count())?.to_vec();
        if !trigger.paths().zip(&buckets).all(|(path, bucket)| fits(path, usize::from(*bucket))) {
            return Err(Damage("the bucket of a window"));
        }
        Ok((trigger, buckets))
    }

    /// All its paths.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.at_start.iter().chain(self.inside.iter().flat_map(|(_, paths)| paths))
    }
}

/// True when a path may be in the bucket: its windows are found there, and there are not too many of them.
fn fits(path: &Path, bucket: usize) -> bool {
    let words = || if is_behind_no_word(path) { 0..BUCKETS_BEHIND } else { BUCKETS_BEHIND..BUCKETS };
    (BUCKETS..2 * BUCKETS).contains(&bucket)
        || words().contains(&bucket) && grams_count(path) <= RARER_GRAMS_MAX
}

fn write_paths(paths: &[Path], out: &mut Writer, sets: &mut SetsWriter) {
    out.count(paths.len());
    for path in paths {
        [path.offset, path.value_min, path.sets.len() as u8].into_iter().for_each(|n| out.u8(n));
        path.sets.iter().for_each(|set| out.u32(sets.index(set)));
    }
}

fn read_paths(from: &mut Reader<'_>, sets: &Sets) -> Result<Vec<Path>, Damage> {
    from.list(PATH_BYTES_MIN, |from| {
        let (offset, value_min, len) = (from.u8()?, from.u8()?, usize::from(from.u8()?));
        if offset > value_min || usize::from(value_min) > PATH_LEN || len == 0 || len > PATH_LEN {
            return Err(Damage("the length of a window"));
        }
        let sets = (0..len).map(|_| sets.read(from)).collect::<Result<_, _>>()?;
        Ok(Path { sets, offset, value_min, exact: 0, chance: 0.0 })
    })
}

/// What the windows cost on usual traffic: how often they are seen, and how often that is not yet the end of it.
fn cost(paths: &[Path], models: &Models) -> f32 {
    paths.iter().map(|path| models.chance(path.window()) + further(path)).sum()
}

/// True when windows inside are to be preferred to those at the start.
fn is_worth(inside: f32, at_start: f32) -> bool {
    inside < at_start / if at_start > COMMON { 4.0 } else { 50.0 }
}

fn further(path: &Path) -> f32 {
    if path.sets.len() == PATH_LEN { 10.0 * path.chance } else { path.chance }
}

/// Windows at the start, windows inside, and what all of them cost.
type Apart = (Vec<Path>, Vec<(Run, Vec<Path>)>, f32);

/// The windows of each branch of an expression on its own, at its start or inside, and what all of them cost.
fn apart(hir: &Hir, offset_max: usize, models: &Models) -> Option<Apart> {
    let (mut at_start, mut inside, mut sum) = (Vec::new(), Vec::new(), 0.0);
    let value_len = from_value(hir).and_then(|parts| len_min(&parts));
    for branch in branches(hir) {
        let paths = path::paths(&Automaton::of_parts(&branch).ok()?, offset_max, models);
        let own = cost(&paths, models);
        let best = (1..branch.len())
            .filter(|_| own > NOT_RARE)
            .filter_map(|at| {
                let anchor_max = if own > COMMON { ANCHOR_COMMON } else { ANCHOR_NOT_RARE };
                let (run, paths, cost) = split(&branch, at, anchor_max, models)?;
                Some((at, run, paths, cost))
            })
            .min_by(|a, b| a.3.total_cmp(&b.3))
            .filter(|(.., cost)| is_worth(*cost, own));
        match best {
            Some((at, run, paths, cost)) => {
                sum += cost;
                let value_min =
                    value_len.zip(len_min(&branch[at..])).map_or(0, |(v, all)| all.saturating_sub(v));
                inside.push((Run { value_min: value_min.min(WINDOW_LEN), ..run }, paths));
            }
            None => {
                sum += own;
                at_start.extend(paths);
            }
        }
    }
    Some((at_start, inside, sum))
}

/// The expression as alternatives of parts one after another, captures left out.
fn branches(hir: &Hir) -> Vec<Vec<Hir>> {
    let parts = flat(&bare(hir));
    let wide = parts.iter().position(|p| match p.kind() {
        HirKind::Alternation(subs) => {
            subs.len() <= BRANCHES_MAX && p.properties().maximum_len().is_none_or(|len| len > GUARD_MAX)
        }
        _ => false,
    });
    let Some(HirKind::Alternation(subs)) = wide.and_then(|at| parts.get(at)).map(Hir::kind) else {
        return vec![parts];
    };
    let at = wide.unwrap_or_default();
    let (head, tail) = (&parts[..at], &parts[at + 1..]);
    subs.iter().map(|sub| [head, &flat(sub), tail].concat()).collect()
}

fn flat(hir: &Hir) -> Vec<Hir> {
    match hir.kind() {
        HirKind::Concat(subs) => subs.iter().flat_map(flat).collect(),
        _ => vec![hir.clone()],
    }
}

/// The parts from the group `secret` on, where it is not within an alternative or a repetition.
fn from_value(hir: &Hir) -> Option<Vec<Hir>> {
    match hir.kind() {
        HirKind::Capture(c) if c.name.as_deref() == Some("secret") => Some(vec![hir.clone()]),
        HirKind::Capture(c) => from_value(&c.sub),
        HirKind::Concat(subs) => subs.iter().enumerate().find_map(|(at, sub)| {
            let mut parts = from_value(sub)?;
            parts.extend_from_slice(&subs[at + 1..]);
            Some(parts)
        }),
        _ => None,
    }
}

/// The fewest bytes of the parts one after another.
fn len_min(parts: &[Hir]) -> Option<usize> {
    parts.iter().map(|part| part.properties().minimum_len()).sum()
}

/// Without capture groups.
fn bare(hir: &Hir) -> Hir {
    match hir.kind() {
        HirKind::Capture(c) => bare(&c.sub),
        HirKind::Repetition(r) => Hir::repetition(r.with(bare(&r.sub))),
        HirKind::Concat(subs) => Hir::concat(subs.iter().map(bare).collect()),
        HirKind::Alternation(subs) => Hir::alternation(subs.iter().map(bare).collect()),
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => hir.clone(),
    }
}

/// The window at `parts[at]` and the run before it.
fn split(parts: &[Hir], at: usize, anchor_max: f32, models: &Models) -> Option<(Run, Vec<Path>, f32)> {
    let (head, tail) = parts.split_at(at);
    if models.words.alone(first_bytes(tail.first()?)?.symbols(Fold::Words)) > anchor_max {
        return None;
    }
    let len = |parts: &[Hir]| {
        parts.iter().try_fold((0, 0), |(min, max), p| {
            let p = p.properties();
            Some((min + p.minimum_len()?, max + p.maximum_len()?))
        })
    };
    let (min, max) = len(head).filter(|(_, max)| *max <= RUN_MAX)?;
    let mut guard_max = 0;
    let mut class = ByteSet::EMPTY;
    for part in head {
        let part_max = part.properties().maximum_len()?;
        if class == ByteSet::EMPTY && part_max <= GUARD_MAX && guard_max == 0 && is_guard(part) {
            guard_max = part_max;
        } else {
            class = class.union(&bytes(part));
        }
    }
    let suffix = Automaton::of_parts(tail).ok()?;
    let mut paths = path::paths(&suffix, 0, models);
    if min > guard_max {
        for path in &mut paths {
            let before = path.sets.first_mut()?;
            *before = ByteSet(std::array::from_fn(|i| before.0[i] & class.0[i]));
            path.chance = models.chance(&path.sets);
        }
    }
    let cost = cost(&paths, models);
    Some((Run { class, min, max, guard_max, guard_outside: false, value_min: 0 }, paths, cost))
}

/// True when the expression begins with a guard, and its value after that.
fn guard_is_outside(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Concat(subs) => subs.first().is_some_and(|guard| {
            is_guard(guard) && guard.properties().explicit_captures_len() == 0 && subs.len() > 1
        }),
        _ => false,
    }
}

/// Alternatives of which one is a bare assertion: `(?:^|[^\w-])`.
fn is_guard(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Alternation(subs) => subs
            .iter()
            .any(|s| s.properties().maximum_len() == Some(0) && !s.properties().look_set().is_empty()),
        _ => false,
    }
}

/// All bytes that a match may have.
fn bytes(hir: &Hir) -> ByteSet {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => ByteSet::EMPTY,
        HirKind::Literal(literal) => ByteSet::of(literal.0.iter().copied()),
        HirKind::Class(Class::Bytes(class)) => ByteSet::of(class.iter().flat_map(|r| r.start()..=r.end())),
        HirKind::Class(Class::Unicode(class)) => {
            // What is no ASCII character is written with bytes from 0x80 on.
            let ranges = class.iter().map(|r| (u32::from(r.start()), u32::from(r.end())));
            let of = |(from, to): (u32, u32)| {
                (0..=255u8).filter(move |byte| match byte {
                    0..0x80 => (from..=to).contains(&u32::from(*byte)),
                    0x80.. => to >= 0x80,
                })
            };
            ByteSet::of(ranges.flat_map(of))
        }
        HirKind::Repetition(r) => bytes(&r.sub),
        HirKind::Capture(c) => bytes(&c.sub),
        HirKind::Concat(subs) | HirKind::Alternation(subs) => {
            subs.iter().fold(ByteSet::EMPTY, |all, s| all.union(&bytes(s)))
        }
    }
}

/// The bytes that a match may begin with; `None` when it may be empty.
fn first_bytes(hir: &Hir) -> Option<ByteSet> {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => None,
        HirKind::Literal(literal) => Some(ByteSet::of(literal.0.first().copied())),
        HirKind::Class(_) => Some(bytes(hir)),
        HirKind::Repetition(r) if r.min > 0 => first_bytes(&r.sub),
        HirKind::Repetition(_) => None,
        HirKind::Capture(c) => first_bytes(&c.sub),
        HirKind::Concat(subs) => first_bytes(subs.first()?),
        HirKind::Alternation(subs) => {
            subs.iter().try_fold(ByteSet::EMPTY, |all, s| Some(all.union(&first_bytes(s)?)))
        }
    }
}
