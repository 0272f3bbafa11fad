//! Many short texts at once, to tell those in which nothing is found.
//!
//! ```text
//!   "key":"value⏎traceId⏎"traceId":"c0cd1ec6…⏎"kind":1⏎      contexts, texts, and what stands before any text
//!   └─────────────── one look by the kernel ──────────────┘
//! ```
//! Setting a scan up costs more than scanning a name. Texts are laid one behind another, each behind its context and
//! before the byte that stands for the start of a text, and the kernel looks at all of them in one go. A window that needs
//! fewer bytes than the kernel looks at allows any in their place, so it is found at the end of a text as well; one that
//! reaches beyond its text is told by the gates, which are given no more than that. Where a candidate lives the text is to
//! be scanned on its own: nothing is decided here but that nothing is found.
//!
//! A short text that was found clean is kept, and not looked at when it comes again.

use super::scan::Scan;
use super::{Scratch, mix};
use crate::compile::prefilter::Target;
use crate::compile::symbol::BEFORE_TEXT;
use crate::kernel::{Hit, KIND_PAIRS, WINDOW_LEN};
use crate::ruleset::Ruleset;

/// Texts are looked at once there are so many bytes of them.
const BYTES_MAX: usize = 8 << 10;
/// Places that are looked at in one go.
const BLOCK_BYTES: usize = 4096;
/// Bytes behind the last text, so that its windows are whole.
const PADDING: usize = WINDOW_LEN + KIND_PAIRS;
/// The longest text that is kept, its context included, in bytes.
const KEPT_LEN_MAX: usize = 62;
/// Texts that are kept at once: each has one place.
const PLACES: usize = 1024;

/// Texts of one ruleset.
#[derive(Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    texts: Vec<Text>,
    /// The ruleset's number, and what was found clean; made when first needed.
    of: u64,
    kept: Vec<Kept>,
    /// Room for what the gates let through.
    targets: Vec<Target>,
    scan: Option<Box<Scan>>,
}

/// A text among the bytes, its context included.
struct Text {
    from: u32,
    /// Where the context ends.
    begin: u32,
    to: u32,
    /// Where it would be kept.
    place: Option<u16>,
    is_clean: bool,
}

#[derive(Clone, Copy)]
struct Kept {
    len: u8,
    context: u8,
    bytes: [u8; KEPT_LEN_MAX],
}

/// A text that was not found clean.
pub(crate) struct Unclean<'a> {
    /// Its number among those that [`Batch::add`] took.
    pub(crate) number: usize,
    pub(crate) context: &'a [u8],
}

impl Batch {
    /// Adds a text and what stands before it, in pieces. False: it is known to be clean, and is not added.
    pub(crate) fn add(&mut self, ruleset: &Ruleset, context: &[&[u8]], text: &[u8]) -> bool {
        let from = self.bytes.len();
        context.iter().for_each(|piece| self.bytes.extend_from_slice(piece));
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(text);
        let all = self.bytes.get(from..).unwrap_or_default();
        let mut place = None;
        if all.len() <= KEPT_LEN_MAX {
            if self.of != ruleset.number || self.kept.is_empty() {
                self.of = ruleset.number;
                self.kept.clear();
                self.kept.resize(PLACES, Kept { len: 0, context: 0, bytes: [0; KEPT_LEN_MAX] });
            }
            let own = place_of(all);
            if let Some(kept) = self.kept.get(usize::from(own))
                && usize::from(kept.len) == all.len()
                && usize::from(kept.context) == begin - from
                && kept.bytes.get(..all.len()) == Some(all)
            {
                self.bytes.truncate(from);
                return false;
            }
            place = Some(own);
        }
        let to = self.bytes.len() as u32;
        self.bytes.push(BEFORE_TEXT);
        self.texts.push(Text { from: from as u32, begin: begin as u32, to, place, is_clean: true });
        true
    }

    /// Whether the texts should be looked at.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() >= BYTES_MAX
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// All texts, one behind another.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The text with the byte at `at` may spell another: it is not clean.
    pub(crate) fn suspect(&mut self, at: usize) {
        let n = self.texts.partition_point(|text| text.to as usize <= at);
        if let Some(text) = self.texts.get_mut(n) {
            text.is_clean &= at < text.begin as usize;
        }
    }

    /// Looks at the texts.
    pub(crate) fn look(&mut self, ruleset: &Ruleset, scratch: &mut Scratch) {
        let len = self.bytes.len();
        scratch.work.bytes += len as u64;
        self.bytes.resize(len + PADDING, BEFORE_TEXT);
        let mut first = 0;
        for from in (0..len).step_by(BLOCK_BYTES) {
            let to = len.min(from + BLOCK_BYTES);
            let before = from.checked_sub(1).and_then(|at| self.bytes.get(at)).copied();
            let block = self.bytes.get(from..to + PADDING).unwrap_or_default();
            let mut hits = std::mem::take(&mut scratch.hits);
            let before = before.unwrap_or(BEFORE_TEXT);
            ruleset.prefilter.tables.find(before, block, to - from, &mut scratch.symbols, &mut hits);
            scratch.work.places += (hits.words.len() + hits.classes.len()) as u64;
            while self.texts.get(first).is_some_and(|text| text.to as usize <= from) {
                first += 1;
            }
            for list in [&hits.words, &hits.classes] {
                self.look_at(ruleset, scratch, first, from, list);
            }
            scratch.hits = hits;
        }
        self.bytes.truncate(len);
    }

    /// Looks at hits of a block that begins at `from`; its first text is `n`.
    fn look_at(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, mut n: usize, from: usize, hits: &[Hit]) {
        let mut of = None;
        for hit in hits {
            let at = from + hit.at as usize;
            while self.texts.get(n).is_some_and(|text| text.to as usize <= at) {
                n += 1;
            }
            let Some(text) = self.texts.get(n) else { return };
            let (start, end) = (text.from as usize, text.to as usize);
            if !text.is_clean || at < start {
                continue;
            }
            let before = if at == start { BEFORE_TEXT } else { self.bytes[at - 1] };
            let targets = &mut self.targets;
            targets.clear();
            ruleset.prefilter.targets(*hit, before, &self.bytes[at..end], true, |target| {
                if targets.last() != Some(&target) {
                    targets.push(target);
                }
            });
            if targets.is_empty() {
                continue;
            }
            let scan = self.scan.get_or_insert_with(|| Box::new(Scan::new(None)));
            if of.replace(n) != Some(n) {
                scratch.forget_piece();
                scan.text.clear();
                scan.text.extend_from_slice(&self.bytes[start..end]);
            }
            let window = (at - start) as u64;
            if targets.iter().any(|target| scan.may_find(ruleset, scratch, window, *target)) {
                self.texts[n].is_clean = false;
            }
        }
        scratch.forget_piece();
    }

    /// Tells the texts that are not clean, in order, keeps the others, and is empty then.
    pub(crate) fn settle(&mut self, mut unclean: impl FnMut(Unclean<'_>)) {
        for (number, text) in self.texts.iter().enumerate() {
            let (from, begin, to) = (text.from as usize, text.begin as usize, text.to as usize);
            if !text.is_clean {
                unclean(Unclean { number, context: &self.bytes[from..begin] });
            } else if let Some(kept) = text.place.and_then(|place| self.kept.get_mut(usize::from(place))) {
                kept.bytes[..to - from].copy_from_slice(&self.bytes[from..to]);
                (kept.len, kept.context) = ((to - from) as u8, (begin - from) as u8);
            }
        }
        self.texts.clear();
        self.bytes.clear();
    }
}

/// Eight bytes at a time.
fn place_of(text: &[u8]) -> u16 {
    let (words, rest) = text.as_chunks::<8>();
    let mut hash = words.iter().fold(text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    if !rest.is_empty() {
        // The last eight bytes, some of them again.
        let last = match text.last_chunk::<8>() {
            Some(last) => u64::from_le_bytes(*last),
            None => rest.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
        };
        hash = mix(hash, last);
    }
    ((hash >> 40) as usize % PLACES) as u16
}

impl Scan {
    /// Whether a window of a text that is here whole, and of which nothing was scanned, may be of a match.
    fn may_find(&self, ruleset: &Ruleset, scratch: &mut Scratch, window: u64, target: Target) -> bool {
        match target.run.and_then(|run| ruleset.prefilter.runs.get(run)) {
            Some(run) => self
                .run_starts(run, window, run.run.min as u64)
                .any(|start| self.may_start(run, start) && self.may_begin(ruleset, scratch, run.rule, start)),
            None => window
                .checked_sub(target.offset.into())
                .is_some_and(|start| self.may_begin(ruleset, scratch, target.rule, start)),
        }
    }

    fn may_begin(&self, ruleset: &Ruleset, scratch: &mut Scratch, id: u32, start: u64) -> bool {
        let Some(rule) = ruleset.compiled.get(id as usize) else { return false };
        if !self.may_match(ruleset, scratch, id, start) {
            return false;
        }
        let Some((mut candidate, _)) = self.begin(rule, scratch, id, start) else { return false };
        candidate.recycle(&mut scratch.tracker);
        true
    }
}
