//! What the readings of a text decide of it, and how their decisions become one.
//!
//! Each reading tells a [`Source`] which bytes of the text pass and which are replaced. A byte leaves once every reading
//! has decided it; replaced is what any of them replaces. Where replacements overlap, what the one says that begins
//! first (of those that begin together, the first reading's) stands for all of them.
#![deny(clippy::indexing_slicing)]

use std::collections::VecDeque;

use crate::mask::FILL;
use crate::ruleset::{RuleId, Ruleset};
use crate::stream::{Event, Sink};

/// The readings of a text, in order.
pub(super) const PLAIN: usize = 0;
pub(super) const RUN: usize = 1;
pub(super) const ESCAPED: usize = 2;

/// Bytes that are replaced.
#[derive(Clone, Debug)]
pub(super) struct Edit {
    pub(super) from: u64,
    pub(super) to: u64,
    /// What stands for them, as far as it has not left.
    pub(super) new: Vec<u8>,
    pub(super) rules: Vec<RuleId>,
    /// It grows no more.
    pub(super) done: bool,
}

impl Edit {
    pub(super) fn at(at: u64) -> Edit {
        Edit { from: at, to: at, new: Vec::new(), rules: Vec::new(), done: false }
    }
}

/// What one reading has decided, in positions of the text.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    /// All before is decided.
    pub(super) at: u64,
    pub(super) edits: VecDeque<Edit>,
}

impl Source {
    pub(super) fn from(at: u64) -> Source {
        Source { at, edits: VecDeque::new() }
    }

    /// The edit that goes on at `at`, or a new one.
    pub(super) fn edit(&mut self, at: u64) -> Option<&mut Edit> {
        if self.edits.back().is_none_or(|e| e.done || e.to < at) {
            self.end_edit();
            self.edits.push_back(Edit::at(at));
        }
        self.edits.back_mut()
    }

    /// The last edit grows no more.
    pub(super) fn end_edit(&mut self) {
        if let Some(edit) = self.edits.back_mut() {
            edit.done = true;
        }
    }
}

/// Takes what the text's own stream tells.
pub(super) struct PlainSink<'a> {
    pub(super) source: &'a mut Source,
    pub(super) ruleset: &'a Ruleset,
    /// Labels are told on at once.
    pub(super) sink: &'a mut dyn Sink,
}

impl Sink for PlainSink<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        self.source.end_edit();
        self.source.at += bytes.len() as u64;
    }

    fn emit(&mut self, bytes: &[u8]) {
        if let Some(edit) = self.source.edit(self.source.at) {
            edit.new.extend_from_slice(bytes);
        }
    }

    fn skip(&mut self, len: usize) {
        let to = self.source.at + len as u64;
        if let Some(edit) = self.source.edit(self.source.at) {
            edit.to = to;
        }
        self.source.at = to;
    }

    fn event(&mut self, event: &Event) {
        if is_label(self.ruleset, event.rule) {
            self.sink.event(event);
        } else if let Some(edit) = self.source.edits.back_mut() {
            edit.rules.push(event.rule);
            edit.done = true;
        }
    }
}

/// Whether events of the rule say that bytes passed.
pub(super) fn is_label(ruleset: &Ruleset, rule: RuleId) -> bool {
    ruleset.compiled.get(rule.0 as usize).is_some_and(|r| !r.masks)
}

/// Replaced bytes that are being released.
#[derive(Clone, Debug)]
struct Region {
    from: u64,
    to: u64,
    /// The reading whose replacement stands for all, until it has been told.
    owner: Option<usize>,
    rules: Vec<RuleId>,
}

/// Bytes of a text that not all readings have decided.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) base: u64,
    pub(super) bytes: Vec<u8>,
    region: Option<Region>,
    /// Replacements are as long as what they replace.
    fill: bool,
}

impl Held {
    pub(super) fn new(base: u64, bytes: &[u8], fill: bool) -> Held {
        Held { base, bytes: bytes.to_vec(), region: None, fill }
    }

    pub(super) fn is_within_region(&self) -> bool {
        self.region.is_some()
    }

    /// Tells `sink` what all sources have decided.
    pub(super) fn release(&mut self, sources: &mut [Source; 3], sink: &mut dyn Sink) {
        let upto = sources.iter().map(|s| s.at).min().unwrap_or(self.base);
        let from = self.base;
        while self.base < upto || self.region.is_some() {
            if !self.in_region(upto, sources, sink) {
                break;
            }
            self.pass_to_edit(from, upto, sources, sink);
        }
        let len = usize::try_from(self.base - from).unwrap_or(usize::MAX).min(self.bytes.len());
        self.bytes.drain(..len);
    }

    fn pass_to_edit(&mut self, from: u64, upto: u64, sources: &[Source; 3], sink: &mut dyn Sink) {
        let starts = sources.iter().enumerate().filter_map(|(n, s)| Some((s.edits.front()?.from, n)));
        let next = starts.min().filter(|(start, _)| *start < upto);
        let to = next.map_or(upto, |(start, _)| start.max(self.base));
        let range = (self.base - from) as usize..(to - from) as usize;
        let bytes = self.bytes.get(range).unwrap_or_default();
        debug_assert_eq!(bytes.len() as u64, to - self.base, "what is not decided is held");
        if !bytes.is_empty() {
            sink.pass(bytes);
        }
        self.base = to;
        if let Some((_, owner)) = next {
            self.region = Some(Region { from: to, to, owner: Some(owner), rules: Vec::new() });
        }
    }

    /// Goes on with what is replaced; false when more must be decided.
    fn in_region(&mut self, upto: u64, sources: &mut [Source; 3], sink: &mut dyn Sink) -> bool {
        let Some(mut region) = self.region.take() else { return true };
        loop {
            // One that joins may reach where another begins.
            let mut joined = None;
            while joined.replace(region.to) != Some(region.to) {
                let fronts = sources.iter().filter_map(|s| s.edits.front());
                let reach = fronts.filter(|e| e.from <= region.from || e.from < region.to).map(|e| e.to);
                region.to = reach.max().map_or(region.to, |to| to.max(region.to));
            }
            let (mut step, mut grows) = (upto, false);
            for (n, source) in sources.iter_mut().enumerate() {
                let Some(edit) = source.edits.front_mut() else { continue };
                if edit.from > region.from && edit.from >= region.to {
                    continue;
                }
                if region.owner == Some(n) && !self.fill && !edit.new.is_empty() {
                    sink.emit(&edit.new);
                }
                if !self.fill {
                    edit.new.clear();
                }
                grows |= !edit.done;
                let edge = if edit.from > self.base { edit.from } else { edit.to };
                step = if edge > self.base { step.min(edge) } else { step };
            }
            let to = step.min(region.to);
            if to > self.base {
                if self.fill {
                    sink.emit(&self.filled(to, sources));
                }
                sink.skip((to - self.base) as usize);
                self.base = to;
            }
            let mut popped = false;
            for (n, source) in sources.iter_mut().enumerate() {
                let is_over = source.edits.front().is_some_and(|e| e.done && e.to <= self.base);
                if let Some(edit) = if is_over { source.edits.pop_front() } else { None } {
                    popped = true;
                    // As of values that overlap in one reading, only the one that is told stands.
                    if region.owner == Some(n) {
                        region.owner = None;
                        region.rules = edit.rules;
                    }
                }
            }
            if popped || (self.base < region.to && self.base < upto) {
                continue;
            }
            if self.base == region.to && !grows {
                let (start, end) = (region.from, region.to);
                for rule in region.rules {
                    sink.event(&Event { rule, input: start..end, output: 0..0 });
                }
                return true;
            }
            self.region = Some(region);
            return false;
        }
    }

    /// What stands for the bytes up to `to`, one for each.
    fn filled(&self, to: u64, sources: &[Source; 3]) -> Vec<u8> {
        let mut filled = vec![FILL; (to - self.base) as usize];
        let [plain, run, escaped] = sources;
        let covers =
            |source: &Source| source.edits.front().is_some_and(|e| e.from <= self.base && e.to >= to);
        let spelled = [escaped, run].into_iter().find(|s| covers(s)).and_then(|s| s.edits.front());
        if let Some(edit) = spelled.filter(|_| !covers(plain)) {
            let new = edit.new.get((self.base - edit.from) as usize..).unwrap_or_default();
            filled.iter_mut().zip(new).for_each(|(slot, byte)| *slot = *byte);
        }
        filled
    }
}
