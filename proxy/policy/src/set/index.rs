//! An index over structured selectors: which policies could match a request, without looking at each.
//!
//! For each selector there is a set of the policies that lack it, and the policies of each value: by the whole value, or
//! by what a pattern begins with. What a request has is looked up, and the sets of all selectors are cut with each
//! other, 64 policies a step. So a verdict costs some look-ups and then what its candidates cost.
//!
//! A candidate may turn out not to match (operations, paths that are spelled in two ways); a policy that is none never
//! matches: a property test holds both against going through all of them.

use std::collections::HashMap;

use super::policy::{Effect, Policy};
use super::selectors::{DIMENSIONS, Dimension, Selectors, plain};
use crate::Facts;
use crate::operation::Acts;
use crate::pattern::Pattern;

/// Numbers of policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Numbers(Vec<u64>);

impl Numbers {
    fn none(count: usize) -> Numbers {
        Numbers(vec![0; count.div_ceil(64)])
    }

    fn insert(&mut self, number: usize) {
        if let Some(word) = self.0.get_mut(number / 64) {
            *word |= 1 << (number % 64);
        }
    }

    fn cut(&mut self, other: &Numbers) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word &= other;
        }
    }

    fn join(&mut self, other: &Numbers) {
        for (word, other) in self.0.iter_mut().zip(&other.0) {
            *word |= other;
        }
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// In ascending order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(n, word)| {
            std::iter::successors(Some(*word), |rest| Some(rest & rest.wrapping_sub(1)))
                .take_while(|rest| *rest != 0)
                .map(move |rest| n * 64 + rest.trailing_zeros() as usize)
        })
    }
}

/// The policies of one selector.
#[derive(Debug)]
struct Selector {
    dimension: Dimension,
    /// Those that lack it.
    without: Numbers,
    /// Those for which a body decides.
    by_body: Numbers,
    exact: HashMap<Box<str>, Vec<u32>>,
    /// Patterns by what they begin with.
    begins: HashMap<Box<str>, Vec<(Pattern, Vec<u32>)>>,
    /// The lengths of those beginnings.
    lengths: Vec<usize>,
}

/// The index.
#[derive(Debug)]
pub(crate) struct Index {
    all: Numbers,
    /// Only those that some policy has.
    selectors: Vec<Selector>,
}

impl Index {
    pub(crate) fn new(policies: &[Policy]) -> Index {
        let mut all = Numbers::none(policies.len());
        (0..policies.len()).for_each(|number| all.insert(number));
        let selectors =
            DIMENSIONS.iter().filter_map(|dimension| Selector::new(*dimension, policies)).collect();
        Index { all, selectors }
    }

    /// Policies that could match.
    pub(crate) fn candidates(&self, facts: &Facts, acts: &Acts) -> Numbers {
        let mut candidates = self.all.clone();
        for selector in &self.selectors {
            candidates.cut(&selector.matching(facts, acts));
            if candidates.is_empty() {
                break;
            }
        }
        candidates
    }
}

/// The patterns by which a policy is found; none: this selector does not tell it from others.
fn patterns(dimension: Dimension, effect: Effect, selectors: &Selectors) -> Option<Vec<&Pattern>> {
    if dimension == Dimension::Operation {
        return (!selectors.operations.is_empty()).then(|| selectors.operations.patterns().collect());
    }
    if dimension == Dimension::Tool && effect == Effect::Allow {
        // It takes requests without tools too.
        return None;
    }
    let list = selectors.lists.iter().find(|(of, _)| *of == dimension);
    list.map(|(_, patterns)| patterns.iter().collect())
}

impl Selector {
    fn new(dimension: Dimension, policies: &[Policy]) -> Option<Selector> {
        let none = || Numbers::none(policies.len());
        let (exact, begins, lengths) = (HashMap::new(), HashMap::new(), Vec::new());
        let mut selector = Selector { dimension, without: none(), by_body: none(), exact, begins, lengths };
        let mut is_used = false;
        for (number, policy) in policies.iter().enumerate() {
            let Some(patterns) = patterns(dimension, policy.effect, &policy.selectors) else {
                selector.without.insert(number);
                continue;
            };
            is_used = true;
            let by_body = match dimension {
                Dimension::Operation => policy.selectors.operations.reads_body(),
                other => other.is_of_body(),
            };
            if by_body {
                selector.by_body.insert(number);
            }
            for pattern in patterns {
                selector.add(pattern, number as u32);
            }
        }
        selector.lengths = selector.begins.keys().map(|begin| begin.len()).collect();
        selector.lengths.sort_unstable();
        selector.lengths.dedup();
        is_used.then_some(selector)
    }

    fn add(&mut self, pattern: &Pattern, number: u32) {
        if let Some(exact) = pattern.exact() {
            self.exact.entry(exact.into()).or_default().push(number);
            return;
        }
        let same = self.begins.entry(pattern.prefix().into()).or_default();
        match same.iter_mut().find(|(other, _)| other == pattern) {
            Some((_, numbers)) => numbers.push(number),
            None => same.push((pattern.clone(), vec![number])),
        }
    }

    fn matching(&self, facts: &Facts, acts: &Acts) -> Numbers {
        let mut numbers = self.without.clone();
        if self.dimension.is_of_body() && facts.body.is_none() {
            numbers.join(&self.by_body);
        }
        for value in self.dimension.values(facts, acts) {
            self.look_up(value, &mut numbers);
        }
        if self.dimension == Dimension::Path {
            let plain = plain(&facts.path);
            if plain != facts.path {
                self.look_up(&plain, &mut numbers);
            }
        }
        numbers
    }

    fn look_up(&self, value: &str, numbers: &mut Numbers) {
        let mut insert = |found: &[u32]| found.iter().for_each(|number| numbers.insert(*number as usize));
        if let Some(found) = self.exact.get(value) {
            insert(found);
        }
        for begin in self.lengths.iter().map_while(|length| value.get(..*length).or(Some("\0"))) {
            for (pattern, found) in self.begins.get(begin).into_iter().flatten() {
                if pattern.matches(value) {
                    insert(found);
                }
            }
        }
    }
}
