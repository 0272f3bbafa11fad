//! The texts of a stream of events, joined over them.
//!
//! A text that goes on over events (an LLM's deltas) is one [`super::carried::Carried`] for all of them; what it holds
//! moves to its next event, or to an event made for it before the one that ends it. How an event is written, and so how
//! one is made, is its carrier's: `F` is what it needs to know for that.
#![deny(clippy::indexing_slicing)]

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use super::carried::{Carried, Carrier, Target};
use super::fields::Fields;
use super::json::{self, Handler, Kind};
use super::leaves::{Leaf, LeafKind, Leaves, feed_string};
use super::llm::{self, Ends, Envelope, Key};
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;

/// Most texts that go on over events at once.
pub(super) const TEXTS_MAX: usize = 256;

/// The texts of one stream.
#[derive(Debug)]
pub(super) struct Joined<F> {
    ruleset: Arc<Ruleset>,
    options: StreamOptions,
    texts: HashMap<Key, Text<F>>,
    /// For texts that end where they begin.
    whole: Carried,
    json: Carried,
    unscanned: u64,
    pub(super) fields: Option<Arc<Fields>>,
}

/// A text that goes on over events.
#[derive(Debug)]
struct Text<F> {
    carried: Carried,
    /// Of the event that would carry what is held.
    frame: Option<(Envelope, F)>,
    /// Order of the first event.
    number: u64,
}

/// An event made for what a text held.
#[derive(Debug)]
pub(super) struct Made<F> {
    pub(super) frame: F,
    /// Its JSON.
    pub(super) data: Vec<u8>,
}

/// An event that is being masked.
pub(super) struct Event<'a, F> {
    pub(super) leaves: &'a Leaves<'a>,
    /// What the carrier says the event is.
    pub(super) name: Option<&'a str>,
    /// Where its data lies.
    pub(super) at: u64,
    /// The stream ends with it.
    pub(super) last: bool,
    /// Leaves that have been masked, by their index, and how they are spelled now if that is new.
    pub(super) given: Vec<(usize, Option<Vec<u8>>)>,
    /// What an event needs that is made like this one.
    pub(super) frame: &'a dyn Fn() -> F,
}

impl<F> Joined<F> {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> Joined<F> {
        Joined {
            ruleset: Arc::clone(ruleset),
            options: options.clone(),
            texts: HashMap::new(),
            whole: Carried::new(ruleset, options, Carrier::Decoded),
            json: Carried::new(ruleset, options, Carrier::Json),
            unscanned: 0,
            fields: None,
        }
    }

    pub(super) fn held(&self) -> usize {
        self.texts.values().map(|t| t.carried.held()).sum()
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        std::mem::take(&mut self.unscanned)
    }

    /// Masks a text that ends where it begins, behind `context`.
    pub(super) fn mask_whole(
        &mut self,
        context: &[u8],
        bytes: &[u8],
        at: u64,
        target: &mut Target<'_>,
    ) -> Vec<u8> {
        let mut masked = Vec::with_capacity(bytes.len());
        if !context.is_empty() {
            self.whole.prime(target.scratch, context);
        }
        let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
        self.whole.last(bytes, at, &mut inner);
        masked
    }

    /// The new data of an event, if it is new; what must come before it is added to `made`.
    ///
    /// # Errors
    /// The name of a limit.
    pub(super) fn mask(
        &mut self,
        event: Event<'_, F>,
        made: &mut Vec<Made<F>>,
        target: &mut Target<'_>,
    ) -> Result<Option<Vec<u8>>, &'static str> {
        let leaves = event.leaves;
        let mut reading = llm::read(leaves, event.name);
        if event.last {
            reading.ends = Ends::All;
        }
        let mut edits = Edits::default();
        let mut done: HashMap<usize, Option<Vec<u8>>> = event.given.into_iter().collect();
        self.unscanned += self.fields.as_ref().map_or(0, |f| f.settle(leaves, &mut done));
        for (n, key) in &reading.deltas {
            if let Some(leaf) = leaves.iter().nth(*n).filter(|_| !done.contains_key(n)) {
                let ends = ends(&reading.ends, *key);
                self.mask_delta(leaves, leaf, *key, ends, event.at, &mut edits, target)?;
                done.insert(*n, None);
            }
        }
        let mut skipped: Vec<Range<usize>> = Vec::new();
        for (range, choice) in leaves.restating() {
            let index = leaves.integer(&format!("choices.{choice}.index")).unwrap_or(*choice);
            let held = self.texts.iter().any(|(key, text)| key.index == index && text.carried.held() > 0);
            if held || edits.moved.contains(&index) {
                edits.list.push((range.clone(), b"null".to_vec()));
                skipped.push(range.clone());
            }
        }
        for (n, leaf) in leaves.iter().enumerate() {
            if skipped.iter().any(|r| r.contains(&leaf.content.start)) {
                continue;
            }
            match done.remove(&n) {
                Some(Some(spelled)) => edits.list.push((leaf.spelling(), spelled)),
                Some(None) => {}
                None => self.mask_leaf(leaves, leaf, event.at, &mut edits, target),
            }
        }
        for (_, key) in &reading.deltas {
            if let Some(text) = self.texts.get_mut(key).filter(|t| t.carried.held() > 0) {
                let envelope = Envelope::of(leaves, *key, &|leaf| edits.spell(leaves, leaf));
                text.frame = Some((envelope, (event.frame)()));
            }
        }
        self.end(&reading.ends, made, target);
        Ok(edits.apply(leaves))
    }

    /// Ends texts; for what they held, events are made.
    pub(super) fn end(&mut self, which: &Ends, made: &mut Vec<Made<F>>, target: &mut Target<'_>) {
        let mut keys: Vec<Key> = self.texts.keys().copied().filter(|k| ends(which, *k)).collect();
        keys.sort_by_key(|k| self.texts.get(k).map(|t| t.number));
        for key in keys {
            let Some(mut text) = self.texts.remove(&key) else { continue };
            let mut released = Vec::new();
            let mut inner = Target { scratch: target.scratch, out: &mut released, findings: target.findings };
            text.carried.finish(&mut inner);
            if let (false, Some((envelope, frame))) = (released.is_empty(), text.frame) {
                let mut data = envelope.before;
                json::escape(&released, &mut data);
                data.extend_from_slice(&envelope.after);
                made.push(Made { frame, data });
            }
        }
    }

    /// Goes on with a text; the leaf gets what is released of it now.
    #[allow(clippy::too_many_arguments)]
    fn mask_delta(
        &mut self,
        leaves: &Leaves<'_>,
        leaf: &Leaf,
        key: Key,
        ends: bool,
        at: u64,
        edits: &mut Edits,
        target: &mut Target<'_>,
    ) -> Result<(), &'static str> {
        let number = self.texts.len() as u64;
        if !self.texts.contains_key(&key) && self.texts.len() >= TEXTS_MAX {
            return Err("the number of texts");
        }
        let text = self.texts.entry(key).or_insert_with(|| {
            let carried = Carried::new(&self.ruleset, &self.options, Carrier::Decoded);
            Text { carried, frame: None, number }
        });
        let held_before = text.carried.held() > 0;
        let mut released = Vec::new();
        let findings = target.findings.len();
        let mut inner = Target { scratch: target.scratch, out: &mut released, findings: target.findings };
        let mut feeder = Feeder {
            text: &mut text.carried,
            target: &mut inner,
            at: at + leaf.spelling().start as u64,
            decoded: Vec::new(),
        };
        // The leaf was tokenized before: it can't fail.
        let _ = feed_string(leaves.bytes(leaf.spelling()), &mut feeder);
        let decoded = feeder.decoded;
        if ends {
            text.carried.finish(&mut inner);
        }
        let unchanged = !held_before && released == decoded && target.findings.len() == findings;
        if !unchanged {
            edits.moved.push(key.index);
            edits.list.push((leaf.spelling(), quoted(&released)));
        }
        if ends {
            self.texts.remove(&key);
        }
        Ok(())
    }

    /// Masks a leaf that is a text of its own.
    fn mask_leaf(
        &mut self,
        leaves: &Leaves<'_>,
        leaf: &Leaf,
        at: u64,
        edits: &mut Edits,
        target: &mut Target<'_>,
    ) {
        let keys = leaves.keys(leaf);
        let spelling = leaf.spelling();
        let raw = leaves.bytes(spelling.clone());
        let at = at + spelling.start as u64;
        let mut context = vec![b'"'];
        context.extend_from_slice(keys.last().copied().unwrap_or_default());
        let mut masked = Vec::new();
        match leaf.kind {
            LeafKind::Literal => return,
            LeafKind::String if llm::is_opaque(&keys) => {
                self.unscanned += leaf.content.len() as u64;
                return;
            }
            LeafKind::Key | LeafKind::String => {
                if leaf.is_string() {
                    context.extend_from_slice(b"\":\"");
                    self.json.prime(target.scratch, &context);
                }
                masked.push(b'"');
                let mut inner =
                    Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
                let mut feeder = Whole { text: &mut self.json, target: &mut inner, at };
                // The leaf was tokenized before: it can't fail.
                let _ = feed_string(raw, &mut feeder);
                masked.push(b'"');
            }
            LeafKind::Number => {
                context.extend_from_slice(b"\":");
                masked = self.mask_whole(&context, raw, at, target);
                if masked != raw {
                    masked = quoted(&masked);
                }
            }
        }
        if masked != raw {
            edits.list.push((spelling, masked));
        }
    }
}

/// What changes in an event's data.
#[derive(Default)]
struct Edits {
    list: Vec<(Range<usize>, Vec<u8>)>,
    /// Choices whose text did not leave in this event just as it came.
    moved: Vec<u64>,
}

impl Edits {
    fn apply(mut self, leaves: &Leaves<'_>) -> Option<Vec<u8>> {
        if self.list.is_empty() {
            return None;
        }
        // An outer range comes before those inside it and hides them.
        self.list.sort_by_key(|(range, _)| (range.start, usize::MAX - range.end));
        let mut data = Vec::new();
        let mut from = 0;
        for (range, text) in self.list {
            if range.start < from {
                continue;
            }
            data.extend_from_slice(leaves.bytes(from..range.start));
            data.extend_from_slice(&text);
            from = range.end;
        }
        data.extend_from_slice(leaves.bytes(from..leaves.len()));
        Some(data)
    }

    /// The leaf as it leaves.
    fn spell(&self, leaves: &Leaves<'_>, leaf: &Leaf) -> Vec<u8> {
        let range = leaf.spelling();
        match self.list.iter().find(|(r, _)| *r == range) {
            Some((_, text)) => text.clone(),
            None => leaves.bytes(range).to_vec(),
        }
    }
}

fn ends(ends: &Ends, key: Key) -> bool {
    match ends {
        Ends::Nothing => false,
        Ends::Of(list) => list.contains(&key.index),
        Ends::All => true,
    }
}

fn quoted(text: &[u8]) -> Vec<u8> {
    let mut spelled = vec![b'"'];
    json::escape(text, &mut spelled);
    spelled.push(b'"');
    spelled
}

/// Feeds a string's text to a carried text that goes on after it.
struct Feeder<'a, 'b> {
    text: &'a mut Carried,
    target: &'a mut Target<'b>,
    at: u64,
    decoded: Vec<u8>,
}

impl Handler for Feeder<'_, '_> {
    fn structure(&mut self, _bytes: &[u8], _at: u64) {}
    fn open(&mut self, _array: bool) {}
    fn close(&mut self) {}
    fn literal(&mut self) {}
    fn begin(&mut self, _kind: Kind) {}
    fn plain(&mut self, bytes: &[u8], at: u64) {
        self.decoded.extend_from_slice(bytes);
        self.text.plain(bytes, self.at + at, self.target);
    }
    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64) {
        self.decoded.extend_from_slice(decoded);
        self.text.spelled(decoded, raw, self.at + at, self.target);
    }
    fn end(&mut self) {}
    fn over(&self) -> Option<&'static str> {
        None
    }
}

/// Feeds a string's text to a carried text that ends with it.
struct Whole<'a, 'b> {
    text: &'a mut Carried,
    target: &'a mut Target<'b>,
    at: u64,
}

impl Handler for Whole<'_, '_> {
    fn structure(&mut self, _bytes: &[u8], _at: u64) {}
    fn open(&mut self, _array: bool) {}
    fn close(&mut self) {}
    fn literal(&mut self) {}
    fn begin(&mut self, _kind: Kind) {}
    fn plain(&mut self, bytes: &[u8], at: u64) {
        self.text.plain(bytes, self.at + at, self.target);
    }
    fn last(&mut self, bytes: &[u8], at: u64) {
        self.text.last(bytes, self.at + at, self.target);
    }
    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64) {
        self.text.spelled(decoded, raw, self.at + at, self.target);
    }
    fn end(&mut self) {
        self.text.finish(self.target);
    }
    fn over(&self) -> Option<&'static str> {
        None
    }
}
