//! One logical text that lies in several events, and is masked where it stands.
//!
//! ```text
//!   leaves  │ my key is gh │ p_Ab │ cd1234, ok │     parts wait until all of their bytes are decided
//!   scans   └──────────────┴──────┴────────────┘     by every scan of the text
//!   masked  │ my key is [k]│      │ , ok       │     the replacement stands where the value begins
//! ```
//!
//! A text of which nothing is known ([`Manner::Any`]) has two scans, one of all leaves and one of each: what either
//! finds is masked. Where two masks overlap, the one that begins first is written.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use super::decisions::{Decisions, Mask};
use super::inner::Inner;
use crate::format::Finding;
use crate::format::leaves::StringHandler;
use crate::format::llm::Manner;
use crate::format::nested::Nested;
use crate::ruleset::{RuleId, Ruleset};
use crate::stream::{Scratch, StreamOptions};

/// A leaf of an event that goes on with a text.
#[derive(Debug)]
pub(super) struct Part {
    /// The event's number.
    pub(super) event: u64,
    pub(super) place: Place,
    from: u64,
    to: u64,
    /// What is masked in it, by places in its text.
    pub(super) masks: Vec<Mask>,
}

/// Where in an event a text stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Which of the event's documents.
    pub(super) document: u8,
    /// Its spelling.
    pub(super) spelling: Range<usize>,
    /// It is a string of JSON.
    pub(super) is_json: bool,
}

/// A logical text.
#[derive(Debug)]
pub(super) struct Text {
    scan: Scan,
    /// The scan of each leaf on its own.
    leaf: Option<Box<Single>>,
    /// Parts that wait.
    parts: VecDeque<Part>,
    /// Bytes that came.
    fed: u64,
    /// Where what is masked ends, and where a replacement of nothing was written last.
    masked: u64,
    marked: Option<u64>,
    /// Where text lies in the body: place in the text, offset in the body; a run goes on until the next.
    runs: VecDeque<(u64, u64)>,
    /// Where the value began that is being skipped: in the text, and in the body.
    open: Option<(u64, u64)>,
    /// What was told and could be found again by the other scan.
    told: Vec<(RuleId, u64, u64)>,
    /// The last leaf, of a text of which nothing is known.
    pub(super) last: Vec<u8>,
    /// Bytes of it that have not been scanned.
    pub(super) ahead: Vec<u8>,
    is_open: bool,
    /// Order of texts.
    pub(super) number: u64,
}

#[derive(Clone, Debug)]
pub(super) enum Scan {
    Text(Box<Single>),
    Json(Box<Inner>),
}

#[derive(Clone, Debug)]
pub(super) struct Single {
    stream: Nested,
    decisions: Decisions,
}

impl Single {
    fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> Single {
        Single { stream: Nested::new(ruleset, options.clone()), decisions: Decisions::default() }
    }
}

/// Of whom a text is.
pub(super) struct Rules<'a> {
    pub(super) ruleset: &'a Arc<Ruleset>,
    pub(super) options: &'a StreamOptions,
}

impl Text {
    pub(super) fn new(rules: &Rules<'_>, manner: Manner, number: u64) -> Text {
        let single = || Single::new(rules.ruleset, rules.options);
        let leaf = (manner == Manner::Any).then(|| Box::new(single()));
        let scan = match manner {
            Manner::Json => Scan::Json(Box::new(Inner::new(rules.ruleset, rules.options))),
            Manner::Text | Manner::Any => Scan::Text(Box::new(single())),
        };
        Text {
            scan,
            leaf,
            parts: VecDeque::new(),
            fed: 0,
            masked: 0,
            marked: None,
            runs: VecDeque::new(),
            open: None,
            told: Vec::new(),
            last: Vec::new(),
            ahead: Vec::new(),
            is_open: false,
            number,
        }
    }

    /// Whether it has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether nothing is known of it.
    pub(super) fn is_any(&self) -> bool {
        self.leaf.is_some()
    }

    /// Bytes that came and are not decided.
    pub(super) fn held(&self) -> usize {
        usize::try_from(self.fed - self.decided().min(self.fed)).unwrap_or(usize::MAX)
    }

    fn decided(&self) -> u64 {
        let at = match &self.scan {
            Scan::Text(scan) => scan.decisions.at,
            Scan::Json(inner) => inner.decisions().at,
        };
        self.leaf.as_ref().map_or(at, |leaf| at.min(leaf.decisions.at))
    }

    /// A leaf begins, behind `context` if it is scanned on its own or is the text's first.
    pub(super) fn begin(&mut self, event: u64, place: Place, context: &[u8]) {
        self.parts.push_back(Part { event, place, from: self.fed, to: self.fed, masks: Vec::new() });
        if !std::mem::replace(&mut self.is_open, true)
            && !context.is_empty()
            && let Scan::Text(scan) = &mut self.scan
        {
            scan.stream.prime(context);
        }
        if let Some(leaf) = &mut self.leaf {
            leaf.decisions.base = self.fed;
            if !context.is_empty() {
                leaf.stream.prime(context);
            }
        }
    }

    /// The leaf goes on with bytes that lie at `at`.
    pub(super) fn push(&mut self, bytes: &[u8], at: u64, rules: &Rules<'_>, scratch: &mut Scratch) {
        self.note(bytes.len(), at);
        self.scan(bytes, rules, scratch);
    }

    /// So many bytes that lie at `at` are of the leaf.
    pub(super) fn note(&mut self, len: usize, at: u64) {
        let goes_on = self.runs.back().is_some_and(|(text, body)| body + (self.fed - text) == at);
        if !goes_on {
            self.runs.push_back((self.fed, at));
        }
        self.fed += len as u64;
    }

    /// Scans the next bytes.
    pub(super) fn scan(&mut self, bytes: &[u8], rules: &Rules<'_>, scratch: &mut Scratch) {
        if let Some(leaf) = &mut self.leaf {
            leaf.stream.push(scratch, bytes, &mut leaf.decisions);
        }
        let left = match &mut self.scan {
            Scan::Text(scan) => return scan.stream.push(scratch, bytes, &mut scan.decisions),
            Scan::Json(inner) => inner.push(bytes, scratch),
        };
        if let Err(left) = left {
            self.go_on_as_text(&left, rules, scratch);
        }
    }

    /// Nothing is masked or found that has not been settled.
    pub(super) fn is_quiet(&self) -> bool {
        let decisions = match &self.scan {
            Scan::Text(scan) => &scan.decisions,
            Scan::Json(inner) => inner.decisions(),
        };
        !decisions.in_mask && decisions.masks.is_empty() && decisions.found.is_empty()
    }

    /// How far the scan is, to go back to with [`Text::go_back`].
    pub(super) fn scanned(&self) -> Scan {
        self.scan.clone()
    }

    pub(super) fn go_back(&mut self, scan: Scan) {
        self.scan = scan;
    }

    /// What is no JSON is scanned as text from there on.
    fn go_on_as_text(&mut self, left: &[u8], rules: &Rules<'_>, scratch: &mut Scratch) {
        let mut scan = Single::new(rules.ruleset, rules.options);
        if let Scan::Json(inner) = &mut self.scan {
            scan.decisions = std::mem::take(inner.decisions_mut());
        }
        scan.decisions.base = scan.decisions.at;
        scan.stream.push(scratch, left, &mut scan.decisions);
        self.scan = Scan::Text(Box::new(scan));
    }

    /// The leaf ends.
    pub(super) fn end_leaf(&mut self, scratch: &mut Scratch) {
        if let Some(part) = self.parts.back_mut() {
            part.to = self.fed;
        }
        if let Some(leaf) = &mut self.leaf {
            leaf.stream.finish(scratch, &mut leaf.decisions);
        }
    }

    /// The text ends: all of it is decided.
    pub(super) fn finish(&mut self, rules: &Rules<'_>, scratch: &mut Scratch) {
        if let Scan::Json(inner) = &mut self.scan
            && let Err(left) = inner.finish(scratch)
        {
            self.go_on_as_text(&left, rules, scratch);
        }
        if let Scan::Text(scan) = &mut self.scan {
            scan.stream.finish(scratch, &mut scan.decisions);
            scan.decisions.base = scan.decisions.at;
        }
        self.is_open = false;
    }

    /// Gives parts that wait no longer, in order, and tells what was found. `ended`: the text has ended.
    pub(super) fn settle(&mut self, ended: bool, findings: &mut Vec<Finding>, mut done: impl FnMut(Part)) {
        let decided = self.decided();
        self.tell(decided, findings);
        let in_mask = self.take_masks(decided, ended);
        // A replacement may yet come where a value ends that has no end so far: its last part waits for it.
        let keep = usize::from(in_mask && !ended);
        while self.parts.len() > keep && self.parts.front().is_some_and(|part| part.to <= decided) {
            let Some(part) = self.parts.pop_front() else { break };
            done(part);
        }
        while self.runs.len() > 1 && self.runs.get(1).is_some_and(|(text, _)| *text <= decided) {
            self.runs.pop_front();
        }
    }

    /// Lays what is masked before `decided` upon the parts. True: what is masked may go on there.
    fn take_masks(&mut self, decided: u64, ended: bool) -> bool {
        let main = match &mut self.scan {
            Scan::Text(scan) => &mut scan.decisions,
            Scan::Json(inner) => inner.decisions_mut(),
        };
        let in_mask = main.in_mask && main.at == decided;
        let leaf = self.leaf.as_mut().map(|leaf| &mut leaf.decisions);
        if main.masks.is_empty() && leaf.as_ref().is_none_or(|l| l.masks.is_empty()) {
            return in_mask;
        }
        let settled = |masks: &mut Vec<Mask>| {
            let count = masks.iter().take_while(|m| ended || m.from < decided).count();
            masks.drain(..count).collect::<Vec<_>>()
        };
        let mut masks = settled(&mut main.masks);
        masks.extend(leaf.map(|l| settled(&mut l.masks)).unwrap_or_default());
        masks.sort_by_key(|m| m.from);
        for mut mask in masks {
            let again = mask.from == mask.to && self.marked == Some(mask.from);
            if mask.from < self.masked || again {
                mask.text.clear();
            } else if mask.from == mask.to {
                self.marked = Some(mask.from);
            }
            self.masked = self.masked.max(mask.to);
            self.lay(mask);
        }
        in_mask
    }

    fn lay(&mut self, mask: Mask) {
        let last = self.parts.len().saturating_sub(1);
        let mut text = Some(mask.text).filter(|text| !text.is_empty());
        for (n, part) in self.parts.iter_mut().enumerate() {
            let (from, to) = (mask.from.max(part.from), mask.to.min(part.to));
            let begins = part.from <= mask.from && (mask.from < part.to || n == last);
            let text = if begins { text.take() } else { None };
            if from < to || text.is_some() {
                let (from, to) = (from - part.from, to.max(from) - part.from);
                part.masks.push(Mask { from, to, text: text.unwrap_or_default() });
            }
        }
    }

    /// Tells what was found, once.
    fn tell(&mut self, decided: u64, findings: &mut Vec<Finding>) {
        let main = match &mut self.scan {
            Scan::Text(scan) => &mut scan.decisions,
            Scan::Json(inner) => inner.decisions_mut(),
        };
        let mut found = std::mem::take(&mut main.found);
        let open = main.masks.last().filter(|m| main.in_mask && m.to == main.at).map(|m| m.from);
        let is_open = main.in_mask;
        found.extend(self.leaf.iter_mut().flat_map(|leaf| leaf.decisions.found.drain(..)));
        for (rule, range) in found {
            let of = (rule, range.start, range.end);
            if self.told.contains(&of) {
                continue;
            }
            if self.leaf.is_some() {
                self.told.push(of);
            }
            let start = match self.open {
                Some((text, body)) if text == range.start => body,
                _ => self.body(range.start),
            };
            let end = self.body(range.end.saturating_sub(1)) + 1;
            findings.push(Finding { rule, start, end: end.max(start + 1) });
        }
        self.told.retain(|(_, _, end)| *end > decided);
        match (is_open, open) {
            (false, _) => self.open = None,
            (true, Some(from)) if self.open.is_none() => self.open = Some((from, self.body(from))),
            (true, _) => {}
        }
    }

    /// Where a byte of the text lies in the body, of those that were not decided before.
    fn body(&self, at: u64) -> u64 {
        let run = self.runs.iter().rev().find(|(text, _)| *text <= at).or(self.runs.front());
        run.map_or(0, |(text, body)| body + at.saturating_sub(*text))
    }
}

/// Feeds a leaf's string to a text that goes on after it.
pub(super) struct Feeder<'a> {
    pub(super) text: &'a mut Text,
    pub(super) rules: Rules<'a>,
    pub(super) scratch: &'a mut Scratch,
    /// Where its spelling begins in the body.
    pub(super) at: u64,
}

impl StringHandler for Feeder<'_> {
    fn plain(&mut self, bytes: &[u8], at: u64) {
        self.text.push(bytes, self.at + at, &self.rules, self.scratch);
    }
    fn spelled(&mut self, decoded: &[u8], _raw: &[u8], at: u64) {
        self.text.push(decoded, self.at + at, &self.rules, self.scratch);
    }
    fn end(&mut self) {}
}
