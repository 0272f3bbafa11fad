//! An index over structured selectors: which policies could match a request, without looking at each.
//!
//! For each selector there is a set of the policies that lack it, and the policies of each value: by the whole value, or
//! by what a pattern begins with. What a request has is looked up, and the sets of all selectors are cut with each
//! other, 64 policies a step. So a verdict costs some look-ups and then what its candidates cost.
//!
//! A candidate may turn out not to match (operations, paths that are spelled in two ways); a policy that is none never
//! matches: a property test holds both against going through all of them.

use std::borrow::Cow;
use std::collections::HashMap;

use super::policy::{Effect, Policy};
use super::selectors::{DIMENSIONS, Dimension, Selectors, plain};
use crate::Facts;
use crate::operation::Acts;
use crate::pattern::{Pattern, Patterns};

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

/// The policies of one value: by their numbers, or as a set where that is shorter.
#[derive(Debug, Default)]
struct Posting {
    few: Vec<u32>,
    many: Option<Numbers>,
}

impl Posting {
    /// A set is joined 64 policies a step.
    fn pack(&mut self, policies: usize) {
        if self.few.len() > policies.div_ceil(64) {
            let mut many = Numbers::none(policies);
            self.few.drain(..).for_each(|number| many.insert(number as usize));
            self.few.shrink_to_fit();
            self.many = Some(many);
        }
    }

    fn join_into(&self, numbers: &mut Numbers) {
        self.few.iter().for_each(|number| numbers.insert(*number as usize));
        if let Some(many) = &self.many {
            numbers.join(many);
        }
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
    exact: HashMap<Box<str>, Posting>,
    /// Patterns by what they begin with.
    begins: HashMap<Box<str>, Vec<(Pattern, Posting)>>,
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
fn patterns(dimension: Dimension, effect: Effect, selectors: &Selectors) -> Option<Cow<'_, Patterns>> {
    if dimension == Dimension::Operation {
        return (!selectors.operations.is_empty()).then(|| Cow::Owned(selectors.operations.patterns()));
    }
    if dimension == Dimension::Tool && effect == Effect::Allow {
        // It takes requests without tools too.
        return None;
    }
    let list = selectors.lists.iter().find(|(of, _)| *of == dimension);
    list.map(|(_, patterns)| Cow::Borrowed(patterns))
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
            for text in patterns.exact() {
                selector.exact.entry(text.into()).or_default().few.push(number as u32);
            }
            for pattern in patterns.wild() {
                selector.add(pattern, number as u32);
            }
        }
        let patterns = selector.begins.values_mut().flatten().map(|(_, posting)| posting);
        selector.exact.values_mut().chain(patterns).for_each(|posting| posting.pack(policies.len()));
        selector.lengths = selector.begins.keys().map(|begin| begin.len()).collect();
        selector.lengths.sort_unstable();
        selector.lengths.dedup();
        is_used.then_some(selector)
    }

    /// Adds a pattern with `*`.
    fn add(&mut self, pattern: &Pattern, number: u32) {
        let same = self.begins.entry(pattern.prefix().into()).or_default();
        match same.iter_mut().find(|(other, _)| other == pattern) {
            Some((_, posting)) => posting.few.push(number),
            None => same.push((pattern.clone(), Posting { few: vec![number], many: None })),
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
        if let Some(posting) = self.exact.get(value) {
            posting.join_into(numbers);
        }
        for length in self.lengths.iter().take_while(|length| **length <= value.len()) {
            let Some(begin) = value.get(..*length) else { continue };
            for (pattern, posting) in self.begins.get(begin).into_iter().flatten() {
                if pattern.matches(value) {
                    posting.join_into(numbers);
                }
            }
        }
    }
}
