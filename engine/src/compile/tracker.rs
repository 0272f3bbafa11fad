//! Where the value of an unfinished match may begin.
//!
//! For an expression such as `password\s*=\s*(?P<secret>\S+)` the distance from the match's start to the value's
//! is not fixed, and the DFA does not tell it. The tracker walks the expression's NFA beside the DFA, only at the
//! ends of chunks and only for candidates that are still undecided there, and keeps for each thread where it
//! entered the group `secret`. Threads are kept in priority order and cut at a match, as a Pike VM does (Russ
//! Cox, "Regular Expression Matching: the Virtual Machine Approach", 2009), so the positions told are those that
//! a leftmost-first match can still have.
//!
//! Threads are stored before their empty transitions are followed: look-ahead needs the next byte, which a chunk's
//! end does not have. There, look-around that some next byte would meet is followed, and that it may not be met, too.

use regex_automata::nfa::thompson::{NFA, State};
use regex_automata::util::look::{Look, LookMatcher};
use regex_automata::util::primitives::StateID;

use super::automaton::Groups;

/// The threads of one candidate.
#[derive(Clone, Debug)]
pub(crate) struct Tracker {
    /// State and, once inside, the value's start as an absolute offset.
    threads: Vec<(StateID, Option<u64>)>,
    /// Value start of the best match so far.
    matched: Option<u64>,
    /// Where the match began: a value that is the match as a whole begins there.
    start: u64,
    /// The next byte to take, absolute.
    at: u64,
    before: Option<u8>,
}

/// Reusable memory of [`Tracker`].
#[derive(Debug, Default)]
pub(crate) struct TrackerScratch {
    /// By state: the last closure that reached it.
    seen: Vec<u32>,
    closure: u32,
    stack: Vec<(StateID, Option<u64>)>,
    closed: Vec<(StateID, Option<u64>)>,
    /// Threads behind look-around that the next byte decides.
    undecided: Vec<(StateID, Option<u64>)>,
    /// Trackers that nobody uses now.
    #[allow(clippy::vec_box)]
    free: Vec<Box<Tracker>>,
}

/// Trackers kept for reuse.
const FREE_MAX: usize = 32;

impl TrackerScratch {
    /// A tracker at its start.
    pub(crate) fn tracker(&mut self, groups: &Groups, start: u64, before: Option<u8>) -> Box<Tracker> {
        match self.free.pop() {
            Some(mut tracker) => {
                tracker.restart(groups, start, before);
                tracker
            }
            None => Box::new(Tracker::new(groups, start, before)),
        }
    }

    /// Keeps it for another candidate.
    pub(crate) fn give_back(&mut self, tracker: Box<Tracker>) {
        if self.free.len() < FREE_MAX {
            self.free.push(tracker);
        }
    }
}

impl Tracker {
    pub(crate) fn new(groups: &Groups, start: u64, before: Option<u8>) -> Tracker {
        let mut tracker = Tracker { threads: Vec::new(), matched: None, start, at: start, before };
        tracker.restart(groups, start, before);
        tracker
    }

    /// As new, in the memory it has.
    fn restart(&mut self, groups: &Groups, start: u64, before: Option<u8>) {
        self.threads.clear();
        self.threads.push((groups.nfa.start_anchored(), None));
        (self.matched, self.start, self.at, self.before) = (None, start, start, before);
    }

    /// The next byte it wants, as an absolute offset.
    pub(crate) fn at(&self) -> u64 {
        self.at
    }

    /// Walks on over `bytes`, which begin at [`Tracker::at`].
    pub(crate) fn advance(&mut self, groups: &Groups, scratch: &mut TrackerScratch, bytes: &[u8]) {
        for &byte in bytes {
            if self.threads.is_empty() {
                self.at += bytes.len() as u64;
                return;
            }
            let found = self.close(groups, scratch, Next::Byte(byte));
            self.matched = found.or(self.matched);
            self.threads.clear();
            for &(state, start) in &scratch.closed {
                if let Some(next) = consume(groups.nfa.state(state), byte)
                    && !self.threads.iter().any(|t| t.0 == next)
                {
                    self.threads.push((next, start));
                }
            }
            self.before = Some(byte);
            self.at += 1;
        }
    }

    /// The least position at which the value of this candidate can begin; `at` when it has not begun.
    pub(crate) fn value_start_min(&self, groups: &Groups, scratch: &mut TrackerScratch) -> u64 {
        let found = self.close(groups, scratch, Next::Unknown);
        let skips = |state: StateID| groups.skips.get(state.as_usize()).is_some_and(|s| *s);
        let threads = scratch.closed.iter();
        let starts = threads.filter_map(|&(state, start)| start.or(skips(state).then_some(self.start)));
        starts.chain(found).chain(self.matched).min().unwrap_or(self.at).min(self.at)
    }

    /// Follows empty transitions in priority order into `scratch.closed`; tells the value start of a thread that
    /// matches here, which cuts all later ones.
    ///
    /// Look-around that the next byte decides is followed as well, but hides nothing: the threads behind it are added
    /// to those that there are without it.
    fn close(&self, groups: &Groups, scratch: &mut TrackerScratch, next: Next) -> Option<u64> {
        scratch.closed.clear();
        scratch.undecided.clear();
        let states = groups.nfa.states().len();
        if scratch.closure >= u32::MAX - states as u32 || scratch.seen.len() < states {
            scratch.seen.clear();
            scratch.seen.resize(states, 0);
            scratch.closure = 0;
        }
        scratch.closure += 1;
        let mut found = None;
        for &thread in &self.threads {
            found = self.follow(groups, scratch, thread, next, false);
            if found.is_some() {
                break;
            }
        }
        while let Some(thread) = scratch.undecided.pop() {
            scratch.closure += 1;
            let other = self.follow(groups, scratch, thread, next, true);
            found = found.into_iter().chain(other).min();
        }
        found
    }

    /// Follows one thread; with `undecided`, as if what the next byte decides were so.
    fn follow(
        &self,
        groups: &Groups,
        scratch: &mut TrackerScratch,
        thread: (StateID, Option<u64>),
        next: Next,
        undecided: bool,
    ) -> Option<u64> {
        let nfa: &NFA = &groups.nfa;
        scratch.stack.push(thread);
        while let Some((id, start)) = scratch.stack.pop() {
            if std::mem::replace(&mut scratch.seen[id.as_usize()], scratch.closure) == scratch.closure {
                continue;
            }
            match nfa.state(id) {
                State::ByteRange { .. } | State::Sparse(_) | State::Dense(_) => {
                    scratch.closed.push((id, start))
                }
                State::Look { look, next: to } => match look_met(nfa, *look, self.before, next) {
                    Some(true) => scratch.stack.push((*to, start)),
                    Some(false) => {}
                    None if undecided => scratch.stack.push((*to, start)),
                    None => scratch.undecided.push((*to, start)),
                },
                State::Union { alternates } => {
                    scratch.stack.extend(alternates.iter().rev().map(|&to| (to, start)));
                }
                State::BinaryUnion { alt1, alt2 } => {
                    scratch.stack.push((*alt2, start));
                    scratch.stack.push((*alt1, start));
                }
                State::Capture { next: to, slot, group_index, .. } => {
                    let opens = Some(group_index.as_u32()) == groups.secret && slot.as_usize() % 2 == 0;
                    scratch.stack.push((*to, if opens { Some(self.at) } else { start }));
                }
                State::Fail => {}
                State::Match { .. } => {
                    scratch.stack.clear();
                    return Some(start.unwrap_or(self.start));
                }
            }
        }
        None
    }
}

#[derive(Clone, Copy)]
enum Next {
    Byte(u8),
    Unknown,
}

pub(super) fn consume(state: &State, byte: u8) -> Option<StateID> {
    match state {
        State::ByteRange { trans } => trans.matches_byte(byte).then_some(trans.next),
        State::Sparse(sparse) => sparse.matches_byte(byte),
        State::Dense(dense) => dense.matches_byte(byte),
        State::Look { .. }
        | State::Union { .. }
        | State::BinaryUnion { .. }
        | State::Capture { .. }
        | State::Fail
        | State::Match { .. } => None,
    }
}

/// Whether look-around is met; `None` when the next byte decides.
fn look_met(nfa: &NFA, look: Look, before: Option<u8>, next: Next) -> Option<bool> {
    let matcher = nfa.look_matcher();
    match next {
        Next::Byte(byte) => Some(look_met_by(matcher, look, before, Some(byte))),
        Next::Unknown => {
            let mut met = [None, Some(b'a'), Some(b' '), Some(b'\n'), Some(b'\r')]
                .into_iter()
                .map(|n| look_met_by(matcher, look, before, n));
            let first = met.next().unwrap_or_default();
            met.all(|m| m == first).then_some(first)
        }
    }
}

pub(super) fn look_met_by(matcher: &LookMatcher, look: Look, before: Option<u8>, next: Option<u8>) -> bool {
    let mut text = [0u8; 2];
    let mut len = 0;
    for byte in [before, next].into_iter().flatten() {
        text[len] = byte;
        len += 1;
    }
    matcher.matches(look, &text[..len], usize::from(before.is_some()))
}
