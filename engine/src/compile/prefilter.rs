//! One pass that finds where candidates of any rule may start.
//!
//! A rule whose matches begin with one of a few literals is *led*: an Aho-Corasick automaton over all such leads,
//! ASCII case ignored, tells its starts. Any other rule is tried where a table by look-behind and first byte
//! allows it. A rule of the second kind whose value must follow a keyword within some distance is tried only
//! where that keyword, found by the same automaton, has *armed* it.
//!
//! At the end of a chunk a lead may be cut. What of the text could still grow into one is told by
//! [`Prefilter::cut_leads`], for only there does it matter.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};

use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::dfa::DFA;
use aho_corasick::{Anchored, MatchKind};

use super::automaton::Before;
use super::expression::Leads;

/// Longest keyword, in bytes.
pub(crate) const KEYWORD_LEN_MAX: usize = 64;

/// FNV-1a: the keys are a few bytes of packs, not of traffic, so nobody can choose them to collide.
#[derive(Default)]
struct Fnv(u64);

impl Hasher for Fnv {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01B3);
        }
    }
}

/// What an occurrence of a literal means for a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hit {
    /// The rule's match may start where the literal does, or so many bytes before it.
    Lead { rule: u32, behind_min: u8, behind_max: u8 },
    /// The rule's matches may start up to `near` bytes after the literal's start.
    Keyword { rule: u32, near: u32 },
}

/// A rule of which a lead may have begun.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutLead {
    pub(crate) rule: u32,
    pub(crate) behind_min: u8,
    pub(crate) behind_max: u8,
}

/// How one rule's starts are found.
#[derive(Debug, Default)]
pub(crate) struct Trigger {
    /// No literals: by first byte.
    pub(crate) leads: Leads,
    /// Keywords that arm the rule, and the distance; empty: always armed.
    pub(crate) keywords: Vec<Vec<u8>>,
    pub(crate) near: u32,
    /// True when a cut lead may already hold bytes of the value.
    pub(crate) lead_in_value: bool,
    /// For a rule without leads: whether it may start, by look-behind and byte.
    pub(crate) first: Vec<[bool; 256]>,
    /// For a rule without leads whose matches have two bytes or more: what the second can be.
    pub(crate) second: Option<Box<[bool; 256]>>,
}

/// The compiled prefilter of a ruleset.
pub(crate) struct Prefilter {
    literals: Option<DFA>,
    start: StateID,
    hits: Vec<(u32, Vec<Hit>)>,
    /// By look-behind and byte: index into `lists`; 0 is none.
    first: Box<[[u16; 256]; 5]>,
    lists: Vec<Vec<u32>>,
    /// By rule: what the second byte can be.
    second: Vec<Option<Box<[bool; 256]>>>,
    gated: HashMap<u32, Vec<[bool; 256]>>,
    cut: HashMap<Vec<u8>, Vec<CutLead>, BuildHasherDefault<Fnv>>,
    /// By the first byte of a tail and its length: whether `cut` may have it.
    cut_first: Box<[u64; 256]>,
    lead_len_max: usize,
    cut_len_max: usize,
}

impl fmt::Debug for Prefilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prefilter").field("literals", &self.hits.len()).finish_non_exhaustive()
    }
}

impl Prefilter {
    pub(crate) fn build(triggers: &[Trigger]) -> Result<Prefilter, String> {
        let mut literals: HashMap<Vec<u8>, Vec<Hit>> = HashMap::new();
        let mut cut: HashMap<Vec<u8>, Vec<CutLead>, BuildHasherDefault<Fnv>> = HashMap::default();
        let mut gated = HashMap::new();
        let (mut lead_len_max, mut cut_len_max) = (0, 0);
        for (rule, trigger) in (0u32..).zip(triggers) {
            let (behind_min, behind_max) = (trigger.leads.behind_min as u8, trigger.leads.behind_max as u8);
            for lead in &trigger.leads.literals {
                let hit = Hit::Lead { rule, behind_min, behind_max };
                literals.entry(lead.clone()).or_default().push(hit);
                lead_len_max = lead_len_max.max(lead.len() + trigger.leads.behind_max);
                if trigger.lead_in_value {
                    cut_len_max = cut_len_max.max(lead.len() - 1);
                    for len in 1..lead.len() {
                        let rules: &mut Vec<CutLead> = cut.entry(lead[..len].to_vec()).or_default();
                        if rules.last().is_none_or(|c| c.rule != rule) {
                            rules.push(CutLead { rule, behind_min, behind_max });
                        }
                    }
                }
            }
            if trigger.leads.literals.is_empty() && !trigger.keywords.is_empty() {
                for keyword in &trigger.keywords {
                    let hit = Hit::Keyword { rule, near: trigger.near };
                    literals.entry(keyword.clone()).or_default().push(hit);
                }
                gated.insert(rule, trigger.first.clone());
            }
        }
        let mut cut_first = Box::new([0u64; 256]);
        for tail in cut.keys() {
            if let Some(first) = tail.first() {
                cut_first[*first as usize] |= 1 << tail.len().min(63);
            }
        }
        let mut literals: Vec<(Vec<u8>, Vec<Hit>)> = literals.into_iter().collect();
        literals.sort_by(|a, b| a.0.cmp(&b.0));
        let (first, lists) = first_bytes(triggers);
        let second = triggers.iter().map(|t| t.second.clone()).collect();
        let automaton = literal_automaton(&literals)?;
        let start = match &automaton {
            Some(dfa) => dfa.start_state(Anchored::No).map_err(|e| e.to_string())?,
            None => StateID::ZERO,
        };
        let hits = literals.into_iter().map(|(text, hits)| (text.len() as u32, hits)).collect();
        Ok(Prefilter {
            literals: automaton,
            start,
            hits,
            first,
            lists,
            second,
            gated,
            cut,
            cut_first,
            lead_len_max,
            cut_len_max,
        })
    }

    /// The state of the literal automaton at the start of a text.
    pub(crate) fn start(&self) -> StateID {
        self.start
    }

    /// Takes a byte; true when [`Prefilter::hits`] has something to tell.
    #[inline]
    pub(crate) fn step(&self, state: &mut StateID, byte: u8) -> bool {
        match &self.literals {
            Some(dfa) => {
                *state = dfa.next_state(Anchored::No, *state, byte);
                dfa.is_special(*state) && dfa.is_match(*state)
            }
            None => false,
        }
    }

    /// The literals that end here: length and meaning.
    pub(crate) fn hits(&self, state: StateID) -> impl Iterator<Item = (u32, Hit)> {
        let dfa = self.literals.as_ref().filter(|d| d.is_match(state));
        let count = dfa.map_or(0, |d| d.match_len(state));
        (0..count).flat_map(move |i| {
            let pattern = dfa.map_or(0, |d| d.match_pattern(state, i).as_usize());
            let (len, hits) = &self.hits[pattern];
            hits.iter().map(|h| (*len, *h))
        })
    }

    /// Rules without leads that may start with `byte` after `before`.
    #[inline]
    pub(crate) fn starting(&self, before: Before, byte: u8) -> &[u32] {
        &self.lists[self.first[before as usize][byte as usize] as usize]
    }

    /// False when no match of the rule goes on with `byte` as its second; at the end of what is there any may come.
    #[inline]
    pub(crate) fn may_go_on(&self, rule: u32, byte: Option<u8>) -> bool {
        match (self.second.get(rule as usize), byte) {
            (Some(Some(second)), Some(byte)) => second[byte as usize],
            _ => true,
        }
    }

    /// As [`Prefilter::starting`] for one armed rule.
    pub(crate) fn may_start(&self, rule: u32, before: Before, byte: u8) -> bool {
        self.gated.get(&rule).is_some_and(|f| f[before as usize][byte as usize])
    }

    /// Rules of which a lead may begin with all of `tail`, given in lower case.
    pub(crate) fn cut_leads(&self, tail: &[u8]) -> &[CutLead] {
        let may_be = tail.first().is_some_and(|b| self.cut_first[*b as usize] >> tail.len().min(63) & 1 == 1);
        if may_be { self.cut.get(tail).map_or(&[], Vec::as_slice) } else { &[] }
    }

    /// Bytes of the longest cut lead that can hold a part of a value.
    pub(crate) fn cut_len_max(&self) -> usize {
        self.cut_len_max
    }

    /// The farthest that the end of a lead is from the start of its match.
    pub(crate) fn lead_len_max(&self) -> usize {
        self.lead_len_max
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.literals.as_ref().map_or(0, |d| d.memory_usage())
            + self.lists.iter().map(|l| l.len() * 4 + 24).sum::<usize>()
            + self.gated.len() * 5 * 256
            + self.cut.iter().map(|(k, v)| k.len() + v.len() * 4 + 48).sum::<usize>()
    }
}

fn literal_automaton(literals: &[(Vec<u8>, Vec<Hit>)]) -> Result<Option<DFA>, String> {
    if literals.is_empty() {
        return Ok(None);
    }
    DFA::builder()
        .ascii_case_insensitive(true)
        .match_kind(MatchKind::Standard)
        .start_kind(aho_corasick::StartKind::Unanchored)
        .prefilter(false)
        .build(literals.iter().map(|(text, _)| text))
        .map(Some)
        .map_err(|e| format!("the literals of all rules together are too many: {e}"))
}

type FirstBytes = (Box<[[u16; 256]; 5]>, Vec<Vec<u32>>);

fn first_bytes(triggers: &[Trigger]) -> FirstBytes {
    let mut first = Box::new([[0u16; 256]; 5]);
    let mut lists: Vec<Vec<u32>> = vec![Vec::new()];
    let mut known: HashMap<Vec<u32>, u16> = HashMap::from([(Vec::new(), 0)]);
    for before in Before::ALL {
        for byte in 0..=255u8 {
            let rules: Vec<u32> = (0u32..)
                .zip(triggers)
                .filter(|(_, t)| t.leads.literals.is_empty() && t.keywords.is_empty())
                .filter(|(_, t)| t.first[before as usize][byte as usize])
                .map(|(rule, _)| rule)
                .collect();
            // At most 5 * 256 lists: the number fits.
            let index = *known.entry(rules.clone()).or_insert_with(|| {
                lists.push(rules);
                (lists.len() - 1) as u16
            });
            first[before as usize][byte as usize] = index;
        }
    }
    (first, lists)
}
