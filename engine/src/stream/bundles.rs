//! The rules that one place asks for, walked together until they fail.
//!
//! A word such as `password` is a window of many rules, each of which fails a few bytes later. What their automata would
//! be in, one beside the other, is a *stand*; it becomes a state of an automaton that is made as it goes (a *lazy DFA*), so
//! that what usual text asks for costs a look-up a byte, however many rules ask. It only tells which rules have not failed
//! by then; those are tried on their own. Where it tells nothing, all of them are.
//!
//! The walk begins where the farthest rule's match would, and a rule joins it at its own start.
//!
//! # Rejected
//! An automaton for all rules that share a word, made beforehand: its states multiply, and most of them are never seen.

use std::collections::HashMap;

use super::mix;
use crate::compile::automaton::{Before, Step};
use crate::compile::prefilter::Target;
use crate::compile::table::State;
use crate::ruleset::Ruleset;

/// The most rules of a bundle: a bit each. Further ones are tried on their own.
const MEMBERS_MAX: usize = 64;
/// The most bundles that are known at once.
const BUNDLES_MAX: usize = 2048;
/// Places for bundles by their hash: so many that half are free.
const SLOTS: usize = 2 * BUNDLES_MAX;
/// The most states.
const STATES_MAX: usize = 4096;
/// Bytes from the place on that are walked, at most.
const WALK_MAX: usize = 96;
/// Where more rules are left, a step is noted for its own byte and not for all that do the same.
const SAME_MAX: usize = 8;
/// No state yet, and no bundle.
const UNKNOWN: u16 = u16::MAX;
/// All have failed.
const DEAD: u16 = 0;
/// Log2 of the bytes: columns of a state.
const COLUMNS_SHIFT: u32 = 8;
/// So often may a walk end for want of states before all are forgotten; after each time, twice as often.
const PATIENCE_MIN: u32 = 1 << 12;
/// The most.
const PATIENCE_MAX: u32 = 1 << 20;

/// The bundles that one ruleset's places asked for.
#[derive(Default)]
pub(super) struct Bundles {
    /// The ruleset's number.
    of: u64,
    bundles: Vec<Bundle>,
    /// By hash of the members, or the next free one after it.
    slots: Vec<u16>,
    /// By state and byte: the next state.
    next: Vec<u16>,
    /// By state: the members that have not failed.
    alive: Vec<u64>,
    stands: Vec<Stand>,
    numbers: HashMap<Stand, u16>,
    /// Walks that ended for want of states.
    refused: u32,
    patience: u32,
}

/// What a place asks for.
struct Bundle {
    members: Vec<Target>,
    /// The farthest that a member's match begins before the place, in bytes.
    reach: u8,
    start: u16,
}

/// Where each member of a bundle stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Stand {
    bundle: u16,
    /// Bytes taken, up to the place.
    taken: u8,
    /// Members that are tried whatever follows: they have matched, their table has ended, or an inner window names them.
    kept: u64,
    running: Vec<(u8, State)>,
}

impl Bundle {
    /// The bytes that are taken before a member's match begins, the one before it included.
    fn before(&self, member: &Target) -> u8 {
        self.reach - member.offset + 1
    }

    fn bit(number: usize) -> u64 {
        1 << number
    }
}

impl Bundles {
    /// A bit for each of `targets` that may begin a match: their windows are at `at` of the text. Those past the 64th have
    /// none. `steps` counts.
    pub(super) fn alive(
        &mut self,
        ruleset: &Ruleset,
        targets: impl Iterator<Item = Target> + Clone,
        text: &[u8],
        at: usize,
        steps: &mut u64,
    ) -> u64 {
        if self.of != ruleset.number || self.refused > self.patience {
            self.forget(ruleset.number);
        }
        let Some(bundle) = self.bundle(ruleset, targets.take(MEMBERS_MAX)) else { return !0 };
        let before = usize::from(bundle.reach) + 1;
        let mut state = bundle.start;
        let Some(from) = at.checked_sub(before) else { return !0 };
        for byte in text.get(from..).unwrap_or_default().iter().take(before + WALK_MAX) {
            let mut next = self.next[usize::from(state) << COLUMNS_SHIFT | usize::from(*byte)];
            if next == UNKNOWN {
                match self.make(ruleset, state, *byte, steps) {
                    Some(made) => next = made,
                    None => break,
                }
            }
            *steps += 1;
            state = next;
            if state == DEAD {
                break;
            }
        }
        self.alive[usize::from(state)]
    }

    fn forget(&mut self, of: u64) {
        let again = self.of == of && self.refused > 0;
        self.patience = if again { (self.patience * 2).min(PATIENCE_MAX) } else { PATIENCE_MIN };
        (self.of, self.refused) = (of, 0);
        self.bundles.clear();
        self.slots.clear();
        self.slots.resize(SLOTS, UNKNOWN);
        self.next.clear();
        self.next.resize(1 << COLUMNS_SHIFT, DEAD);
        self.alive.clear();
        self.alive.push(0);
        self.numbers.clear();
        self.stands.clear();
        self.stands.push(Stand { bundle: UNKNOWN, taken: 0, kept: 0, running: Vec::new() });
    }

    /// The bundle of these members; `None` where there are too many.
    fn bundle(
        &mut self,
        ruleset: &Ruleset,
        members: impl Iterator<Item = Target> + Clone,
    ) -> Option<&Bundle> {
        let word = |target: Target| u64::from(target.rule) << 8 | u64::from(target.offset);
        let hash = members.clone().fold(0, |hash, target| mix(hash, word(target)));
        let mut slot = (hash >> 32) as usize % SLOTS;
        while self.slots[slot] != UNKNOWN {
            let number = usize::from(self.slots[slot]);
            if self.bundles[number].members.iter().copied().eq(members.clone()) {
                return self.bundles.get(number);
            }
            slot = (slot + 1) % SLOTS;
        }
        if self.bundles.len() >= BUNDLES_MAX {
            self.refused += 1;
            return None;
        }
        let members: Vec<Target> = members.collect();
        let is_walked = |m: &Target| m.run.is_none() && ruleset.compiled.get(m.rule as usize).is_some();
        let kept = members.iter().enumerate().filter(|(_, m)| !is_walked(m));
        let kept = kept.fold(0, |kept, (n, _)| kept | Bundle::bit(n));
        let number = self.bundles.len() as u16;
        let reach = members.iter().map(|m| m.offset).max().unwrap_or(0);
        self.bundles.push(Bundle { members, reach, start: DEAD });
        let start = self.number(Stand { bundle: number, taken: 0, kept, running: Vec::new() });
        let Some(start) = start else {
            self.bundles.pop();
            return None;
        };
        self.slots[slot] = number;
        let bundle = self.bundles.last_mut()?;
        bundle.start = start;
        Some(bundle)
    }

    /// The state after another; `None` where nothing more is to be told, or there is no room.
    fn make(&mut self, ruleset: &Ruleset, state: u16, byte: u8, steps: &mut u64) -> Option<u16> {
        let stand = &self.stands[usize::from(state)];
        let bundle = self.bundles.get(usize::from(stand.bundle))?;
        let is_begun = stand.taken > bundle.reach;
        if is_begun && stand.running.is_empty() {
            return None;
        }
        let automaton = |bit: u8| {
            let member = bundle.members.get(usize::from(bit))?;
            ruleset.compiled.get(member.rule as usize).map(|rule| &rule.automaton)
        };
        let taken = stand.taken + u8::from(!is_begun);
        let mut next = Stand { bundle: stand.bundle, taken, kept: stand.kept, running: Vec::new() };
        for (bit, state) in &stand.running {
            let mut state = *state;
            match automaton(*bit)?.step(&mut state, byte) {
                Step::On => next.running.push((*bit, state)),
                Step::Matched | Step::Beyond => next.kept |= Bundle::bit((*bit).into()),
                Step::Dead => {}
            }
        }
        let mut begins = false;
        for (n, member) in bundle.members.iter().enumerate() {
            let is_walked = stand.kept & Bundle::bit(n) == 0;
            if !is_begun && is_walked && bundle.before(member) == taken {
                begins = true;
                let automaton = automaton(n as u8)?;
                let state = automaton.start(Before::of(Some(byte)));
                if automaton.is_live(state) {
                    next.running.push((n as u8, state));
                }
            }
        }
        *steps += 1 + stand.running.len() as u64;
        let running = stand.running.iter().filter_map(|(bit, _)| automaton(*bit));
        let same = |other: u8| {
            !(begins && Before::of(Some(other)) != Before::of(Some(byte)))
                && running.clone().all(|a| a.column(other) == a.column(byte))
        };
        let all = if stand.running.len() > SAME_MAX { byte..=byte } else { 0..=u8::MAX };
        let same: Vec<u8> = all.filter(|other| same(*other)).collect();
        let number = self.number(next)?;
        let row = usize::from(state) << COLUMNS_SHIFT;
        same.into_iter().for_each(|other| self.next[row | usize::from(other)] = number);
        Some(number)
    }

    /// The number of what was stepped to; `None` where there is no room.
    fn number(&mut self, stand: Stand) -> Option<u16> {
        if let Some(number) = self.numbers.get(&stand) {
            return Some(*number);
        }
        let bundle = self.bundles.get(usize::from(stand.bundle))?;
        let to_begin =
            |(n, m): &(usize, &Target)| stand.taken < bundle.before(m) && stand.kept & Bundle::bit(*n) == 0;
        let alive = bundle.members.iter().enumerate().filter(to_begin).map(|(n, _)| n);
        let alive = alive.chain(stand.running.iter().map(|(bit, _)| usize::from(*bit)));
        let alive = alive.fold(stand.kept, |alive, n| alive | Bundle::bit(n));
        if alive == 0 {
            return Some(DEAD);
        }
        if self.stands.len() >= STATES_MAX {
            self.refused += 1;
            return None;
        }
        let number = self.stands.len() as u16;
        self.next.resize(self.next.len() + (1 << COLUMNS_SHIFT), UNKNOWN);
        self.alive.push(alive);
        self.numbers.insert(stand.clone(), number);
        self.stands.push(stand);
        Some(number)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::{Event, Scratch, Sink, Stream, StreamOptions};
    use super::*;
    use crate::random::Random;
    use crate::rule::{Pattern, Rule};
    use crate::{CompileOptions, oracle};

    #[derive(Default)]
    struct Output(Vec<u8>);

    impl Sink for Output {
        fn pass(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn emit(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn skip(&mut self, _len: usize) {}
        fn event(&mut self, _event: &Event) {}
    }

    fn rules(regexes: impl IntoIterator<Item = String>) -> Arc<Ruleset> {
        let rule = |(n, regex)| Rule::plain(&format!("r{n}"), Pattern::Regex(regex));
        let rules = regexes.into_iter().enumerate().map(rule).collect();
        Ruleset::compile(rules, &CompileOptions::default()).unwrap()
    }

    fn masked(rules: &Arc<Ruleset>, scratch: &mut Scratch, text: &[u8]) -> Vec<u8> {
        let mut output = Output::default();
        let mut stream = Stream::new(rules, StreamOptions::default());
        text.chunks(1000).for_each(|chunk| stream.push(scratch, chunk, &mut output));
        stream.finish(scratch, &mut output);
        output.0
    }

    /// Rules that share beginnings, some of which may go on for long.
    fn alike() -> Arc<Ruleset> {
        rules([
            r"\bkey=[a-f]{3}".into(),
            r"key[=:][a-z]{4}".into(),
            r"(?:^|[^a-z])ke[a-z]=b+".to_owned() + r"{1,9}c",
            r"(?i)KEY[a-z=: ]{0,100}!".into(),
            r"(?m)^key=".into(),
            r"(?:\b|_)[a-z=]{2,5}::".into(),
            r"key.{3}\b".into(),
            r"\w{3}=a(?:b|c:){2}".into(),
            r"k.{90}=".into(),
            r"key=a:?b".into(),
            r"[kK]e[yY] ?= ?a{2,200}b".into(),
            r"key\b.{0,3}a$".into(),
        ])
    }

    fn target(rule: usize, offset: u8) -> Target {
        Target { rule: rule as u32, run: None, offset, value_min: offset }
    }

    /// Whether the rule's own automaton has not failed after what a walk takes.
    fn is_left(rules: &Ruleset, target: Target, text: &[u8], at: usize) -> bool {
        let automaton = &rules.compiled[target.rule as usize].automaton;
        let start = at - usize::from(target.offset);
        let mut state = automaton.start(Before::of(Some(text[start - 1])));
        if !automaton.is_live(state) {
            return false;
        }
        for byte in &text[start..text.len().min(at + WALK_MAX)] {
            match automaton.step(&mut state, *byte) {
                Step::On => {}
                Step::Matched | Step::Beyond => return true,
                Step::Dead => return false,
            }
        }
        true
    }

    #[test]
    fn a_walk_tells_what_each_rule_would() {
        const PARTS: [&str; 14] =
            ["key", "KEY", "=", "a", "b", "bb", "c:", " ", "!", "\n", "_", "x", ":", "kez"];
        let rules = alike();
        let mut random = Random(0xb0_0d1e);
        let (mut left, mut failed) = (0, 0);
        for _ in 0..4000 {
            let text: String = (0..2 + random.below(40)).map(|_| PARTS[random.below(PARTS.len())]).collect();
            let text = text.as_bytes();
            let mut targets: Vec<Target> = Vec::new();
            for rule in 0..rules.rules().len() {
                let offset = random.below(6) as u8;
                targets.extend((offset < 4).then(|| target(rule, offset)));
            }
            let reach = targets.iter().map(|t| t.offset).max().unwrap_or(0);
            let at = random.below(text.len());
            // With room for all states: else more are left.
            let alive = Bundles::default().alive(&rules, targets.iter().copied(), text, at, &mut 0);
            if at <= usize::from(reach) {
                assert_eq!(alive, !0, "what stands before is not known");
                continue;
            }
            for (n, target) in targets.iter().enumerate() {
                let wanted = is_left(&rules, *target, text, at);
                assert_eq!(alive >> n & 1 == 1, wanted, "{target:?} at {at} of {text:?}");
                *if wanted { &mut left } else { &mut failed } += 1;
            }
        }
        assert!(left > 100 && failed > 1000, "{left} are left, {failed} failed");
    }

    #[test]
    fn bundles_past_the_most_are_not_walked() {
        let (rules, mut bundles) = (alike(), Bundles::default());
        // Each set of twelve rules is one.
        for set in 1..=BUNDLES_MAX + 1 {
            let targets = (0..12).filter(|n| set >> n & 1 == 1).map(|n| target(n, 0));
            let alive = bundles.alive(&rules, targets, b" nothing of it", 1, &mut 0);
            assert_eq!(alive, if set > BUNDLES_MAX { !0 } else { 0 }, "{set}");
        }
        assert_eq!((bundles.bundles.len(), bundles.refused), (BUNDLES_MAX, 1));
    }

    #[test]
    fn rules_past_the_most_of_a_bundle_are_tried() {
        for count in [MEMBERS_MAX, MEMBERS_MAX + 1] {
            let rules =
                rules((0..count).map(|n| format!(r"\bpassword ?= ?(?P<secret>[a-f0-9]{{{}}})\b", 20 + n)));
            let mut text = String::from("x ");
            for len in [19, 20, 20 + MEMBERS_MAX - 1, 20 + MEMBERS_MAX, 21 + MEMBERS_MAX] {
                text += &format!("password = {}, ", "0f".repeat(len)[..len].to_owned());
            }
            let wanted = oracle::mask_whole(&rules, b"", text.as_bytes()).output;
            assert_eq!(masked(&rules, &mut Scratch::new(), text.as_bytes()), wanted, "{count} rules");
            let last = String::from_utf8(wanted).unwrap();
            assert_eq!(last.contains(&format!("[r{MEMBERS_MAX}]")), count > MEMBERS_MAX);
        }
    }

    #[test]
    fn where_there_is_no_room_for_states_nothing_is_missed() {
        let rules = rules((0..60).map(|n| format!(r"\bkx{n:02}[a-z]{{80}}\b")));
        let mut text = String::new();
        for n in 0..60 {
            text += &format!("kx{n:02}{}! kx{n:02}{} ", "short".repeat(15), "whole".repeat(16));
        }
        let wanted = oracle::mask_whole(&rules, b"", text.as_bytes()).output;
        assert!(wanted.len() < text.len());
        let mut scratch = Scratch::new();
        let mut patience = 0;
        for _ in 0..2000 {
            assert!(scratch.bundles.stands.len() <= STATES_MAX);
            assert!(masked(&rules, &mut scratch, text.as_bytes()) == wanted);
            patience = scratch.bundles.patience;
            if patience > PATIENCE_MIN {
                break;
            }
            let bundles = &scratch.bundles;
            assert!(bundles.stands.len() == STATES_MAX && bundles.refused > 0, "there is room");
        }
        assert_eq!(patience, 2 * PATIENCE_MIN, "they were forgotten once");
    }
}
