//! Where the value lies in a finished match: the group `secret`.

use regex_automata::dfa::onepass;
use regex_automata::nfa::thompson::backtrack::{self, BoundedBacktracker};
use regex_automata::nfa::thompson::{self, pikevm, pikevm::PikeVM};
use regex_automata::util::primitives::NonMaxUsize;
use regex_automata::{Anchored, Input};
use std::ops::Range;

/// The most bytes a one-pass DFA may take: rules that need more are told by the slower way.
const ONE_PASS_BYTES_MAX: usize = 256 << 10;
/// The most bytes that note what has been tried, a bit for each state at each byte of the match.
const TRIED_BYTES_MAX: usize = 128 << 10;

/// Finds the group in a match.
pub(crate) enum GroupFinder {
    /// Each byte decides alone where groups begin and end, as in most expressions.
    OnePass(Box<onepass::DFA>),
    /// All others: by trying, with each state at each byte tried once, where the match is short, else all at once.
    Simulation(Box<(BoundedBacktracker, PikeVM)>),
}

/// Memory for searches.
#[derive(Debug, Default)]
pub(crate) struct GroupScratch {
    one_pass: Option<onepass::Cache>,
    backtracker: Option<backtrack::Cache>,
    simulation: Option<pikevm::Cache>,
    slots: Vec<Option<NonMaxUsize>>,
}

impl GroupFinder {
    /// # Errors
    /// The expression is too large.
    pub(crate) fn build(nfa: &thompson::NFA) -> Result<GroupFinder, Box<thompson::BuildError>> {
        let config = onepass::Config::new().size_limit(Some(ONE_PASS_BYTES_MAX));
        match onepass::Builder::new().configure(config).build_from_nfa(nfa.clone()) {
            Ok(dfa) => Ok(GroupFinder::OnePass(Box::new(dfa))),
            Err(_) => {
                let config = backtrack::Config::new().visited_capacity(TRIED_BYTES_MAX);
                let backtracker = backtrack::Builder::new()
                    .configure(config)
                    .build_from_nfa(nfa.clone())
                    .map_err(Box::new)?;
                let vm = PikeVM::new_from_nfa(nfa.clone()).map_err(Box::new)?;
                Ok(GroupFinder::Simulation(Box::new((backtracker, vm))))
            }
        }
    }

    /// The bytes of group number `group` in the match at `span` of `text`; `None` when it took no part.
    pub(crate) fn find(
        &self,
        scratch: &mut GroupScratch,
        text: &[u8],
        span: Range<usize>,
        group: u32,
    ) -> Option<Range<usize>> {
        let input = Input::new(text).span(span).anchored(Anchored::Yes);
        let GroupScratch { one_pass, backtracker, simulation, slots } = scratch;
        slots.clear();
        slots.resize(2 * (group as usize + 1), None);
        let found = match self {
            GroupFinder::OnePass(dfa) => {
                let cache = one_pass.get_or_insert_with(|| dfa.create_cache());
                cache.reset(dfa);
                // The search is anchored: it does not fail.
                dfa.try_search_slots(cache, &input, slots).ok().flatten()
            }
            GroupFinder::Simulation(both) if input.get_span().len() < both.0.max_haystack_len() => {
                let cache = backtracker.get_or_insert_with(|| both.0.create_cache());
                cache.reset(&both.0);
                // The match is short enough: it does not fail.
                both.0.try_search_slots(cache, &input, slots).ok().flatten()
            }
            GroupFinder::Simulation(both) => {
                let vm = &both.1;
                let cache = simulation.get_or_insert_with(|| vm.create_cache());
                cache.reset(vm);
                vm.search_slots(cache, &input, slots)
            }
        };
        found?;
        let slot = |n: usize| slots.get(n).copied().flatten().map(NonMaxUsize::get);
        Some(slot(2 * group as usize)?..slot(2 * group as usize + 1)?)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            GroupFinder::OnePass(dfa) => dfa.memory_usage(),
            // The NFA is counted by its owner.
            GroupFinder::Simulation(_) => 0,
        }
    }
}
