//! The texts of a stream of events, joined over them.
//!
//! A text that goes on over events (an LLM's deltas) is one [`text::Text`] for all of them. An event leaves when all of
//! its texts are decided as far as it carries them, and every event before it has left: it leaves in its place, as it
//! came where nothing in it is masked, so order, numbers and what restates a text stay right. What ends a text lets all
//! events of it go.
//!
//! How an event is written is its carrier's: [`Carry`].
//!
//! Events of one stream are mostly alike: what was read of one stands for those that differ from it in a few strings
//! only ([`shape`]), and the parts that they have in one text are scanned together ([`ahead`]).
//!
//! Rejected: to let an event go with what is decided of it, and the rest with the next one. That is a delta sooner for
//! the words before the last one, but rewrites nearly every event of a stream without a single value, needs events that
//! nobody sent, and leaves log probabilities that no longer belong to their text.
#![deny(clippy::indexing_slicing)]

mod ahead;
mod decisions;
mod edits;
mod inner;
mod restating;
mod shape;
mod text;

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::Arc;

use super::carried::{Carried, Carrier, Target};
use super::fields::Fields;
use super::json;
use super::leaves::{Decoded, Leaf, LeafKind, Leaves, StringHandler, feed_string};
use super::llm::{self, Manner, Reading, Said};
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;
use ahead::Ahead;
use edits::To;
pub(super) use edits::{Change, apply};
pub(super) use restating::Restated;
pub(super) use shape::Shapes;
use text::{Feeder, Place, Rules, Text};

/// Most texts that go on over events at once.
pub(super) const TEXTS_MAX: usize = 256;
/// Most bytes of events that wait for what comes after them.
pub(super) const WAITING_BYTES_MAX: usize = 4 << 20;
/// Most events that are kept for their memory, and most bytes of one.
const SPARE_MAX: usize = 128;
const SPARE_BYTES_MAX: usize = 4096;
/// Shortest leaf that, when it comes again just as it was, is no part of a longer text.
const SAME_BYTES_MIN: usize = 8;

/// An event as its carrier knows it.
pub(super) trait Carry {
    /// Bytes it takes.
    fn len(&self) -> usize;
    /// Appends it with what is changed in it.
    ///
    /// # Errors
    /// The name of a limit.
    fn write(&self, changes: Vec<Change>, out: &mut Vec<u8>) -> Result<(), &'static str>;
}

/// The texts of one stream.
#[derive(Debug)]
pub(super) struct Joined<E> {
    ruleset: Arc<Ruleset>,
    options: StreamOptions,
    /// With their keys; there are few.
    texts: Vec<(Vec<u8>, Text)>,
    /// Parts of texts that have not been scanned.
    ahead: Vec<Ahead>,
    /// How often texts went on: their order.
    went_on: u64,
    queue: Queue<E>,
    reading: Reading,
    /// For texts that end where they begin.
    whole: Carried,
    json: Carried,
    restated: Restated,
    unscanned: u64,
    pub(super) fields: Option<Arc<Fields>>,
    /// Events that left, for their memory.
    pub(super) spare: Vec<E>,
}

/// Events that wait, and the one that comes in.
#[derive(Debug)]
struct Queue<E> {
    waiting: VecDeque<Waiting<E>>,
    /// Number of the first one.
    first: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Waiting<E> {
    /// None while it comes in.
    event: Option<E>,
    bytes: usize,
    changes: Vec<Change>,
    restating: Vec<Restating>,
    /// Parts of texts that are not decided.
    parts: usize,
}

/// A container that says a text again.
#[derive(Clone, Debug)]
struct Restating {
    document: u8,
    container: Range<usize>,
    /// The object with that text.
    around: Range<usize>,
    with: &'static [u8],
}

impl<E> Queue<E> {
    /// The number of the event that comes in.
    fn number(&self) -> u64 {
        self.first + (self.waiting.len() as u64).saturating_sub(1)
    }

    fn part_begins(&mut self) {
        if let Some(waiting) = self.waiting.back_mut() {
            waiting.parts += 1;
        }
    }

    fn part_done(&mut self, part: text::Part) {
        let place = usize::try_from(part.event - self.first).unwrap_or(usize::MAX);
        let Some(waiting) = self.waiting.get_mut(place) else {
            debug_assert!(false, "an event waits for its parts");
            return;
        };
        waiting.parts -= 1;
        if !part.masks.is_empty() {
            waiting.changes.push(Change { place: part.place, to: To::Masked(part.masks) });
        }
    }
}

impl<E: Carry> Joined<E> {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> Joined<E> {
        Joined {
            ruleset: Arc::clone(ruleset),
            options: options.clone(),
            texts: Vec::new(),
            ahead: Vec::new(),
            went_on: 0,
            queue: Queue { waiting: VecDeque::new(), first: 0, bytes: 0 },
            reading: Reading::default(),
            whole: Carried::new(ruleset, options, Carrier::Decoded),
            json: Carried::new(ruleset, options, Carrier::Json),
            restated: Restated::new(ruleset, options),
            unscanned: 0,
            fields: None,
            spare: Vec::new(),
        }
    }

    /// Bytes of texts that are not decided.
    pub(super) fn held(&self) -> usize {
        self.texts.iter().map(|(_, text)| text.held()).sum()
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
            self.whole.prime(context);
        }
        let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
        self.whole.last(bytes, at, &mut inner);
        masked
    }

    /// An event comes in; its documents and texts are told next, and [`Joined::commit`] ends it.
    pub(super) fn begin(&mut self) {
        let waiting = Waiting { event: None, bytes: 0, changes: Vec::new(), restating: Vec::new(), parts: 0 };
        self.queue.waiting.push_back(waiting);
    }

    /// The event is in: it and what waited for it leave, if they can. Gives one that left, for its memory.
    ///
    /// # Errors
    /// The name of a limit.
    pub(super) fn commit(&mut self, event: E, out: &mut Vec<u8>) -> Result<Option<E>, &'static str> {
        if let Some(waiting) = self.queue.waiting.back_mut() {
            waiting.bytes = event.len();
            self.queue.bytes += waiting.bytes;
            waiting.event = Some(event);
        }
        let left = self.drain(out)?;
        if self.queue.bytes > WAITING_BYTES_MAX {
            return Err("the size of events that wait");
        }
        Ok(left)
    }

    /// As [`Joined::commit`], for an event whose parts may wait to be scanned.
    ///
    /// # Errors
    /// The name of a limit.
    pub(super) fn commit_ahead(&mut self, event: E, target: &mut Target<'_>) -> Result<(), &'static str> {
        let bytes = event.len();
        if self.queue.bytes + bytes > WAITING_BYTES_MAX {
            self.catch_up(target);
        }
        if let Some(left) = self.commit(event, target.out)? {
            self.keep(left);
        }
        Ok(())
    }

    /// Keeps an event that left for its memory.
    fn keep(&mut self, event: E) {
        if self.spare.len() < SPARE_MAX && event.len() <= SPARE_BYTES_MAX {
            self.spare.push(event);
        }
    }

    /// Bytes that passed unscanned since that was last asked.
    pub(super) fn unscanned(&self) -> u64 {
        self.unscanned
    }

    /// Whether nothing is changed in the event that comes in, so far.
    pub(super) fn is_unchanged(&self) -> bool {
        self.queue.waiting.back().is_some_and(|waiting| waiting.changes.is_empty())
    }

    /// Writes events that can leave.
    pub(super) fn drain(&mut self, out: &mut Vec<u8>) -> Result<Option<E>, &'static str> {
        let mut last: Option<E> = None;
        while let Some(front) = self.queue.waiting.front()
            && front.parts == 0
            && front.event.is_some()
        {
            let Some(Waiting { event: Some(event), bytes, changes, restating, .. }) =
                self.queue.waiting.pop_front()
            else {
                break;
            };
            self.queue.first += 1;
            self.queue.bytes -= bytes;
            event.write(without_restating(changes, &restating), out)?;
            if let Some(event) = last.replace(event) {
                self.keep(event);
            }
        }
        Ok(last)
    }

    /// The event that came last, while it waits.
    pub(super) fn last_mut(&mut self) -> Option<&mut E> {
        self.queue.waiting.back_mut()?.event.as_mut()
    }

    /// A document of the event that comes in is, or has, this new text at `spelling`.
    pub(super) fn change(&mut self, document: u8, spelling: Range<usize>, bytes: Vec<u8>) {
        if let Some(waiting) = self.queue.waiting.back_mut() {
            waiting.changes.push(Change::to_bytes(document, spelling, bytes));
        }
    }

    /// The event that came in last and was told in part can't be masked: nothing of it leaves.
    pub(super) fn abandon(&mut self) {
        self.queue.waiting.pop_back();
    }

    /// Masks a document of the event that comes in. `name`: what the carrier says the event is; `at`: where the
    /// document lies; `done`: leaves that have been masked.
    ///
    /// # Errors
    /// The name of a limit.
    pub(super) fn mask(
        &mut self,
        document: u8,
        leaves: &Leaves<'_>,
        name: Option<&str>,
        at: u64,
        done: &[usize],
        target: &mut Target<'_>,
    ) -> Result<(), &'static str> {
        let mut reading = std::mem::take(&mut self.reading);
        reading.read(leaves, name);
        let keys = reading.said().iter().filter_map(|s| Some((reading.key(s.key.as_ref()?), s.manner)));
        let room = self.make_room(keys, target);
        if room.is_err() {
            self.reading = reading;
            return room;
        }
        self.restate(document, leaves, target);
        let mut declared = HashMap::new();
        if let Some(fields) = &self.fields {
            self.unscanned += fields.settle(leaves, at, &mut declared, target.findings);
        }
        let mut said = reading.said().iter().peekable();
        for (n, leaf) in leaves.iter().enumerate() {
            let said = said.next_if(|said| said.leaf == n);
            if done.contains(&n) {
                continue;
            }
            if let Some(spelled) = declared.remove(&n) {
                spelled.into_iter().for_each(|bytes| self.change(document, leaf.spelling(), bytes));
                continue;
            }
            match said {
                // An empty part says nothing.
                Some(_) if leaf.content.is_empty() => {}
                None => self.mask_leaf(document, leaves, leaf, at, target),
                Some(Said { key: None, manner, .. }) => {
                    self.mask_again(document, leaves, leaf, *manner, at, target);
                }
                Some(Said { key: Some(key), manner, .. }) => {
                    self.mask_part(document, leaves, leaf, reading.key(key), *manner, at, target);
                }
            }
        }
        for prefix in reading.ends() {
            self.end(prefix, target);
        }
        self.reading = reading;
        Ok(())
    }

    /// Masks data that is no JSON: all of a stream is one text, and each event's as well.
    ///
    /// # Errors
    /// The name of a limit.
    pub(super) fn mask_text(
        &mut self,
        data: &[u8],
        at: u64,
        target: &mut Target<'_>,
    ) -> Result<(), &'static str> {
        if data.is_empty() {
            return Ok(());
        }
        self.make_room([(TEXT_KEY, Manner::Any)].into_iter(), target)?;
        let place = Place { document: 0, spelling: 0..data.len(), is_json: false };
        self.go_on(TEXT_KEY, Manner::Any, b"", place, target, |feeder| feeder.plain(data, at));
        Ok(())
    }

    /// Whether data that is no JSON has come.
    pub(super) fn is_text(&self) -> bool {
        self.find(TEXT_KEY).is_some()
    }

    /// Ends the texts whose key begins so.
    pub(super) fn end(&mut self, prefix: &[u8], target: &mut Target<'_>) {
        debug_assert!(self.ahead.is_empty(), "what is scanned later is scanned before");
        self.end_those(|key, _| key.starts_with(prefix), target);
    }

    /// Ends the texts of which nothing is known.
    pub(super) fn end_unknown(&mut self, target: &mut Target<'_>) {
        self.end_those(|_, text| text.is_any(), target);
    }

    fn end_those(&mut self, of: impl Fn(&[u8], &Text) -> bool, target: &mut Target<'_>) {
        let mut ended: Vec<Text> =
            self.texts.extract_if(.., |(key, text)| of(key, text)).map(|(_, text)| text).collect();
        ended.sort_by_key(|text| text.number);
        for text in ended {
            self.finish(text, target);
        }
    }

    /// Where the text with this key is.
    fn find(&self, key: &[u8]) -> Option<usize> {
        self.texts.iter().position(|(own, _)| own == key)
    }

    fn finish(&mut self, mut text: Text, target: &mut Target<'_>) {
        text.finish(&Rules { ruleset: &self.ruleset, options: &self.options }, target.scratch);
        text.settle(true, target.findings, |part| self.queue.part_done(part));
    }

    /// Goes on with a text whose leaf is at `place`.
    fn go_on(
        &mut self,
        key: &[u8],
        manner: Manner,
        context: &[u8],
        place: Place,
        target: &mut Target<'_>,
        feed: impl FnOnce(&mut Feeder<'_>),
    ) {
        let rules = || Rules { ruleset: &self.ruleset, options: &self.options };
        let place_of_text = self.find(key).unwrap_or_else(|| {
            self.texts.push((key.to_vec(), Text::new(&rules(), manner, 0)));
            self.texts.len() - 1
        });
        let Some((_, text)) = self.texts.get_mut(place_of_text) else { return };
        text.number = self.went_on;
        self.went_on += 1;
        self.queue.part_begins();
        text.begin(self.queue.number(), place, context);
        feed(&mut Feeder { text, rules: rules(), scratch: target.scratch, at: 0 });
        text.end_leaf(target.scratch);
        text.settle(false, target.findings, |part| self.queue.part_done(part));
    }

    /// Goes on with a text by a leaf of a document that lies at `at`.
    #[allow(clippy::too_many_arguments)]
    fn mask_part(
        &mut self,
        document: u8,
        leaves: &Leaves<'_>,
        leaf: &Leaf,
        key: &[u8],
        manner: Manner,
        at: u64,
        target: &mut Target<'_>,
    ) {
        let raw = leaves.bytes(leaf.spelling());
        let is_any = manner == Manner::Any;
        if is_any && self.says_the_same(key, raw, target) {
            return self.mask_leaf(document, leaves, leaf, at, target);
        }
        let context = if is_any { context(leaves, leaf) } else { Vec::new() };
        self.go_on_by(document, leaf.spelling(), raw, key, manner, &context, at, target);
    }

    /// Goes on with a text by a string that is `raw`, at `spelling` of a document that lies at `at`.
    #[allow(clippy::too_many_arguments)]
    fn go_on_by(
        &mut self,
        document: u8,
        spelling: Range<usize>,
        raw: &[u8],
        key: &[u8],
        manner: Manner,
        context: &[u8],
        at: u64,
        target: &mut Target<'_>,
    ) {
        let at = at + spelling.start as u64;
        let place = Place { document, spelling, is_json: true };
        self.go_on(key, manner, context, place, target, |feeder| {
            feeder.at = at;
            // The string was tokenized before: it can't fail.
            let _ = feed_string(raw, feeder);
        });
    }

    /// Whether a text of which nothing is known says the same in every event: then each leaf stands for itself.
    fn says_the_same(&mut self, key: &[u8], raw: &[u8], target: &mut Target<'_>) -> bool {
        let Some(text) = self.find(key).and_then(|n| self.texts.get_mut(n)).map(|(_, text)| text) else {
            return false;
        };
        if is_short(raw) || text.last != raw {
            text.last.clear();
            text.last.extend_from_slice(raw);
            return false;
        }
        if text.is_open() {
            text.finish(&Rules { ruleset: &self.ruleset, options: &self.options }, target.scratch);
            text.settle(true, target.findings, |part| self.queue.part_done(part));
        }
        true
    }

    /// Sees that there is room for texts. Of those of which nothing is known, the ones end that went on least lately.
    ///
    /// # Errors
    /// The name of the limit.
    fn make_room<'k>(
        &mut self,
        keys: impl Iterator<Item = (&'k [u8], Manner)>,
        target: &mut Target<'_>,
    ) -> Result<(), &'static str> {
        let mut all = self.texts.len();
        let mut known = self.texts.iter().filter(|(_, text)| !text.is_any()).count();
        for (key, manner) in keys.filter(|(key, _)| self.find(key).is_none()) {
            debug_assert!(!key.is_empty(), "every text has a key");
            all += 1;
            known += usize::from(manner != Manner::Any);
        }
        if known > TEXTS_MAX {
            return Err("the number of texts");
        }
        for _ in TEXTS_MAX..all {
            let any = self.texts.iter().enumerate().filter(|(_, (_, text))| text.is_any());
            let Some(oldest) = any.min_by_key(|(_, (_, text))| text.number).map(|(n, _)| n) else {
                break;
            };
            let (_, text) = self.texts.swap_remove(oldest);
            self.finish(text, target);
        }
        Ok(())
    }

    /// Masks a leaf that says a text again from its start to its end: as that one was.
    fn mask_again(
        &mut self,
        document: u8,
        leaves: &Leaves<'_>,
        leaf: &Leaf,
        manner: Manner,
        at: u64,
        target: &mut Target<'_>,
    ) {
        let rules = || Rules { ruleset: &self.ruleset, options: &self.options };
        let mut text = Text::new(&rules(), manner, 0);
        let place = Place { document, spelling: leaf.spelling(), is_json: true };
        text.begin(self.queue.number(), place, b"");
        let at = at + leaf.spelling().start as u64;
        let raw = leaves.bytes(leaf.spelling());
        // The leaf was tokenized before: it can't fail.
        let _ =
            feed_string(raw, &mut Feeder { text: &mut text, rules: rules(), scratch: target.scratch, at });
        text.end_leaf(target.scratch);
        text.finish(&rules(), target.scratch);
        self.queue.part_begins();
        text.settle(true, target.findings, |part| self.queue.part_done(part));
    }

    /// Notes what says texts again, token by token: it leaves empty where a value is in it or in what it says again.
    fn restate(&mut self, document: u8, leaves: &Leaves<'_>, target: &mut Target<'_>) {
        for (container, _) in leaves.restating() {
            let bytes = leaves.bytes(container.clone());
            let with: &'static [u8] = if bytes.starts_with(b"[") { b"[]" } else { b"null" };
            let around = around(leaves, container);
            let Some(waiting) = self.queue.waiting.back_mut() else { return };
            waiting.restating.push(Restating { document, container: container.clone(), around, with });
            if self.restated.is_found(bytes, target.scratch) {
                self.change(document, container.clone(), with.to_vec());
            }
        }
    }

    /// Masks a leaf that is a text of its own.
    fn mask_leaf(
        &mut self,
        document: u8,
        leaves: &Leaves<'_>,
        leaf: &Leaf,
        at: u64,
        target: &mut Target<'_>,
    ) {
        let spelling = leaf.spelling();
        let raw = leaves.bytes(spelling.clone());
        let at = at + spelling.start as u64;
        if leaf.kind == LeafKind::Literal {
            return;
        }
        // No context stands before a key.
        let key = if leaf.kind == LeafKind::Key { b"" } else { last_key(leaves, leaf) };
        if leaf.is_string() && llm::may_be_opaque(key) && llm::is_opaque(&leaves.keys(leaf)) {
            self.unscanned += leaf.content.len() as u64;
            return;
        }
        let context = match leaf.kind {
            LeafKind::String | LeafKind::Number => json::context(key, leaf.kind == LeafKind::Number),
            LeafKind::Key | LeafKind::Literal => Vec::new(),
        };
        self.mask_own(document, spelling, raw, leaf.kind, &context, at, target);
    }

    /// Masks a text of its own that is `raw`, lies at `at`, and is at `spelling` of its document.
    #[allow(clippy::too_many_arguments)]
    fn mask_own(
        &mut self,
        document: u8,
        spelling: Range<usize>,
        raw: &[u8],
        kind: LeafKind,
        context: &[u8],
        at: u64,
        target: &mut Target<'_>,
    ) {
        let mut masked = Vec::with_capacity(raw.len());
        if kind == LeafKind::Number {
            masked = self.mask_whole(context, raw, at, target);
            if masked != raw {
                let number = std::mem::take(&mut masked);
                json::quote(&number, &mut masked);
            }
        } else {
            if !context.is_empty() {
                self.json.prime(context);
            }
            masked.push(b'"');
            let mut inner = Target { scratch: target.scratch, out: &mut masked, findings: target.findings };
            let mut feeder = Whole { text: &mut self.json, target: &mut inner, at };
            // The leaf was tokenized before: it can't fail.
            let _ = feed_string(raw, &mut feeder);
            masked.push(b'"');
        }
        if masked != raw {
            self.change(document, spelling, masked);
        }
    }
}

/// The text of data that is no JSON.
const TEXT_KEY: &[u8] = b"t";

/// What stands before a leaf.
fn context(leaves: &Leaves<'_>, leaf: &Leaf) -> Vec<u8> {
    json::context(last_key(leaves, leaf), leaf.kind == LeafKind::Number)
}

/// The key of a leaf, or that of its array.
fn last_key<'a>(leaves: &'a Leaves<'_>, leaf: &Leaf) -> &'a [u8] {
    let is_index = |part: &&[u8]| part.iter().all(u8::is_ascii_digit);
    leaves.path(leaf).rsplit(|b| *b == b'.').find(|part| !is_index(part)).unwrap_or_default()
}

/// Where the object lies that a container is a member of, as far as its leaves go.
fn around(leaves: &Leaves<'_>, container: &Range<usize>) -> Range<usize> {
    let Some(first) = leaves.iter().find(|l| container.contains(&l.content.start)) else {
        return container.clone();
    };
    let path = leaves.path(first);
    let names = [&b"logprobs"[..], b"logprobsResult", b"logprobs_result"];
    let mut from = 0;
    for part in path.split(|b| *b == b'.') {
        if names.contains(&part) {
            break;
        }
        from += part.len() + 1;
    }
    let outer = path.get(..from).unwrap_or_default();
    let within = leaves.iter().filter(|l| leaves.path(l).starts_with(outer));
    within.fold(container.clone(), |all, leaf| {
        all.start.min(leaf.spelling().start)..all.end.max(leaf.spelling().end)
    })
}

/// The changes, with what says a text again emptied where that text is changed.
fn without_restating(mut changes: Vec<Change>, restating: &[Restating]) -> Vec<Change> {
    for Restating { document, container, around, with } in restating {
        let is_changed = |change: &Change| {
            change.place.document == *document && around.contains(&change.place.spelling.start)
        };
        if changes.iter().any(is_changed) {
            changes.push(Change::to_bytes(*document, container.clone(), with.to_vec()));
        }
    }
    changes
}

/// Feeds a string's text to a carried text that ends with it.
pub(super) struct Whole<'a, 'b> {
    pub(super) text: &'a mut Carried,
    pub(super) target: &'a mut Target<'b>,
    /// Where the string's quote lies.
    pub(super) at: u64,
}

impl StringHandler for Whole<'_, '_> {
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
}

/// Whether a leaf, as it is written, says too little to be no part of a longer text.
fn is_short(raw: &[u8]) -> bool {
    let content = raw.strip_prefix(b"\"").and_then(|raw| raw.strip_suffix(b"\"")).unwrap_or(raw);
    // An escape is long and says little.
    let mut text = Decoded(Vec::new());
    let mut says_little = |raw| feed_string(raw, &mut text).is_err() || text.0.len() < SAME_BYTES_MIN;
    content.len() < SAME_BYTES_MIN || content.contains(&b'\\') && says_little(raw)
}
