//! Spans become output: overlaps are settled, and everything before the watermark leaves.

use std::cmp::Reverse;

use super::scan::{Scan, Span, Watermarks};
use super::{Event, Sink};
use crate::mask::{self, FILL, Strategy, TokenHash};
use crate::ruleset::{CompiledRule, RuleId, Ruleset};

/// How far the output has come.
#[derive(Clone)]
pub(super) struct Release {
    strategy: Option<Strategy>,
    /// Where the text begins: after the primed context.
    origin: u64,
    /// Everything before has been handed to the sink.
    released: u64,
    /// End of what is masked so far, and the priority of what masks it.
    covered: u64,
    priority: i32,
    /// Bytes that still belong to the character in which the last value ended, and what stands for each.
    rest: u8,
    rest_fill: &'static [u8],
    /// Bytes of output so far.
    out: u64,
    /// The value that is being skipped and has no end yet.
    open: Option<Box<Open>>,
    /// Room for a replacement.
    replacement: Vec<u8>,
    /// By label rule: end of the last match told.
    label_ends: Vec<(u32, u64)>,
}

#[derive(Clone)]
struct Open {
    span: Span,
    /// Where its replacement begins in the output.
    out: u64,
    token: Option<TokenHash>,
}

impl Release {
    pub(super) fn new(strategy: Option<Strategy>) -> Release {
        Release {
            strategy,
            origin: 0,
            released: 0,
            covered: 0,
            priority: i32::MIN,
            rest: 0,
            rest_fill: b"",
            out: 0,
            open: None,
            replacement: Vec::new(),
            label_ends: Vec::new(),
        }
    }

    pub(super) fn reset(&mut self) {
        let strategy = self.strategy.take();
        *self = Release {
            label_ends: std::mem::take(&mut self.label_ends),
            replacement: std::mem::take(&mut self.replacement),
            ..Release::new(strategy)
        };
        self.label_ends.clear();
    }

    /// The text begins at `origin`: what stands before is context.
    pub(super) fn begin_at(&mut self, origin: u64) {
        self.origin = origin;
        self.released = origin;
        self.covered = origin;
    }

    pub(super) fn origin(&self) -> u64 {
        self.origin
    }

    pub(super) fn released(&self) -> u64 {
        self.released
    }

    /// Whether no value reaches beyond `at`.
    pub(super) fn is_settled(&self, at: u64) -> bool {
        self.open.is_none() && self.rest == 0 && self.covered <= at
    }

    /// The value being skipped.
    pub(super) fn open_mut(&mut self) -> Option<&mut Span> {
        self.open.as_mut().map(|o| &mut o.span)
    }

    fn strategy<'a>(&'a self, rule: &'a CompiledRule) -> &'a Strategy {
        self.strategy.as_ref().unwrap_or(&rule.strategy)
    }

    fn emit(&mut self, sink: &mut dyn Sink, bytes: &[u8]) {
        if !bytes.is_empty() {
            sink.emit(bytes);
            self.out += bytes.len() as u64;
        }
    }

    fn event(&self, sink: &mut dyn Sink, rule: u32, from: u64, to: u64, out: u64) {
        let input = from.saturating_sub(self.origin)..to.saturating_sub(self.origin);
        sink.event(&Event { rule: RuleId(rule), input, output: out..self.out });
    }
}

impl Scan {
    /// Hands everything that is settled to the sink.
    pub(super) fn release_values(&mut self, ruleset: &Ruleset, sink: &mut dyn Sink, marks: &Watermarks) {
        let mut spans = std::mem::take(&mut self.spans);
        let key = |s: &Span| {
            let priority = ruleset.compiled.get(s.rule as usize).map_or(0, |r| r.priority);
            let end = if s.unbounded { u64::MAX } else { s.end };
            (s.start, -i64::from(priority), u64::MAX - end, s.rule)
        };
        // The next one last.
        spans.sort_unstable_by_key(|s| Reverse(key(s)));
        while self.release.open.is_none() || self.skip_open(ruleset, sink) {
            match spans.pop_if(|s| s.start < marks.values) {
                Some(span) => self.take_span(ruleset, sink, span),
                None => break,
            }
        }
        if let Some(open) = &self.release.open {
            // Whatever has ended by now lies inside.
            spans.retain(|s| s.tail.is_some() || s.end > open.span.end);
        }
        self.spans = spans;
        if self.release.open.is_some() {
            return;
        }
        let pending = self.spans.iter().map(|s| s.start).min().unwrap_or(u64::MAX);
        self.pass_to(sink, marks.values.min(pending).min(self.end_at()));
    }

    /// Settles the next span in order.
    fn take_span(&mut self, ruleset: &Ruleset, sink: &mut dyn Sink, mut span: Span) {
        let Some(rule) = ruleset.compiled.get(span.rule as usize) else {
            return;
        };
        if span.start < self.release.covered {
            let over = span.tail.is_none() && span.end <= self.release.covered;
            if over || !(span.unbounded || rule.priority >= self.release.priority) {
                // A dropped span is of fixed length: the enclosed one that the scan is in is unbounded.
                return;
            }
            span.start = self.release.covered;
        }
        self.pass_to(sink, span.start);
        self.release.priority = rule.priority;
        let out = self.release.out;
        if span.tail.is_some() || span.unbounded {
            self.open(ruleset, rule, sink, span);
            return;
        }
        let mut replacement = std::mem::take(&mut self.release.replacement);
        replacement.clear();
        let value = self.bytes(span.start, span.end);
        mask::replace(
            self.release.strategy(rule),
            &rule.entity,
            value,
            ruleset.token_key.as_ref(),
            &mut replacement,
        );
        self.release.emit(sink, &replacement);
        self.release.replacement = replacement;
        self.skip_to(sink, span.end);
        self.release.event(sink, span.rule, span.start, span.end, out);
        self.cover(rule, span.end);
    }

    /// Begins to skip a value without a maximum.
    fn open(&mut self, ruleset: &Ruleset, rule: &CompiledRule, sink: &mut dyn Sink, span: Span) {
        let out = self.release.out;
        let (mut first, mut token) = (Vec::new(), None);
        match self.release.strategy(rule) {
            Strategy::Label | Strategy::Keep { .. } => mask::label(&rule.entity, &mut first),
            Strategy::Constant(text) => first.extend_from_slice(text.as_bytes()),
            Strategy::Token => token = Some(TokenHash::new(&rule.entity, ruleset.token_key.as_ref())),
            Strategy::Fill | Strategy::Drop => {}
        }
        self.release.emit(sink, &first);
        self.release.open = Some(Box::new(Open { span, out, token }));
    }

    /// Skips what the open value has come to; true when it has ended.
    fn skip_open(&mut self, ruleset: &Ruleset, sink: &mut dyn Sink) -> bool {
        let Some(mut open) = self.release.open.take() else {
            return true;
        };
        let Some(rule) = ruleset.compiled.get(open.span.rule as usize) else {
            return true;
        };
        let (from, to) = (self.release.released, open.span.end);
        if let Some(token) = &mut open.token {
            token.update(self.bytes(from, to));
        }
        if *self.release.strategy(rule) == Strategy::Fill {
            let fill = vec![FILL; to.saturating_sub(from) as usize];
            self.release.emit(sink, &fill);
        }
        self.skip_to(sink, to);
        if open.span.tail.is_some() {
            self.release.open = Some(open);
            return false;
        }
        if let Some(token) = open.token.take() {
            let mut text = Vec::new();
            token.finish(&rule.entity, &mut text);
            self.release.emit(sink, &text);
        }
        self.release.event(sink, open.span.rule, open.span.start, to, open.out);
        self.cover(rule, to);
        true
    }

    /// Everything before `end` is masked; where that cuts a character, its rest goes with it.
    fn cover(&mut self, rule: &CompiledRule, end: u64) {
        self.release.covered = end;
        let filled = *self.release.strategy(rule) == Strategy::Fill;
        self.release.rest_fill = if filled { &[FILL] } else { &[] };
        let tail = self.bytes(end.saturating_sub(4).max(self.release.origin), end);
        self.release.rest = tail
            .iter()
            .rev()
            .enumerate()
            .find(|(_, b)| **b & 0xC0 != 0x80)
            .map_or(0, |(behind, lead)| char_len(*lead).saturating_sub(behind as u8 + 1));
    }

    fn skip_to(&mut self, sink: &mut dyn Sink, to: u64) {
        let len = to.saturating_sub(self.release.released);
        if len > 0 {
            sink.skip(len as usize);
            self.release.released = to;
        }
    }

    fn pass_to(&mut self, sink: &mut dyn Sink, to: u64) {
        while self.release.rest > 0 && self.release.released < to {
            let at = self.release.released;
            let inside = self.bytes(at, at + 1).first().is_some_and(|b| b & 0xC0 == 0x80);
            self.release.rest = if inside { self.release.rest - 1 } else { 0 };
            if inside {
                self.release.emit(sink, self.release.rest_fill);
                self.skip_to(sink, at + 1);
            }
        }
        let from = self.release.released;
        if from < to {
            sink.pass(self.bytes(from, to));
            self.release.out += to - from;
            self.release.released = to;
        }
    }

    /// Tells the matches of labelling rules that are settled; of one rule, the leftmost and then the longest.
    pub(super) fn release_labels(&mut self, ruleset: &Ruleset, sink: &mut dyn Sink, marks: &Watermarks) {
        if self.labels.is_empty() {
            return;
        }
        self.labels.sort_unstable_by_key(|s| (s.match_start, s.rule, u64::MAX - s.end));
        let settled = self.labels.iter().take_while(|s| s.match_start < marks.labels).count();
        for span in self.labels.drain(..settled) {
            debug_assert!(ruleset.rule(RuleId(span.rule)).is_some(), "spans carry ids of their ruleset");
            let release = &mut self.release;
            let start = span.start.max(release.origin);
            if span.end <= start {
                continue;
            }
            match release.label_ends.iter_mut().find(|(rule, _)| *rule == span.rule) {
                Some((_, end)) if start < *end => continue,
                Some((_, end)) => *end = span.end,
                None => release.label_ends.push((span.rule, span.end)),
            }
            let input = start - release.origin..span.end - release.origin;
            sink.event(&Event { rule: RuleId(span.rule), input, output: 0..0 });
        }
    }
}

/// Bytes of a character by its first (RFC 3629, section 3).
fn char_len(lead: u8) -> u8 {
    match lead {
        0xC2..=0xDF => 2,
        0xE0..=0xEF => 3,
        0xF0..=0xF4 => 4,
        _ => 1,
    }
}
