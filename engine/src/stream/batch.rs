//! Many short texts at once, to tell those in which nothing is found.
//!
//! ```text
//!   "key":"value⏎traceId⏎"traceId":"c0cd1ec6…⏎"kind":1⏎      contexts, texts, and what stands before any text
//!   └─────────────── one look by the kernel ──────────────┘
//! ```
//! Setting a scan up costs more than scanning a name. Texts are laid one behind another, each behind its context and
//! before the byte that stands for the start of a text, and the kernel looks at all of them in one go. A window that needs
//! fewer bytes than the kernel looks at allows any in their place, so it is found at the end of a text as well; one that
//! reaches beyond its text is told by the gates, which are given no more than that. Where a value counts, the text is to be
//! scanned on its own: nothing is decided here but that nothing is found.
//!
//! A short text that was found clean is kept, and not looked at when it comes again.

use super::scan::Scan;
use super::{Scratch, mix};
use crate::compile::prefilter::Target;
use crate::compile::symbol::BEFORE_TEXT;
use crate::kernel::{Hits, KIND_PAIRS, WINDOW_LEN};
use crate::ruleset::Ruleset;

/// Texts are looked at once there are so many bytes of them.
const BYTES_MAX: usize = 8 << 10;
/// Places that are looked at in one go.
const BLOCK_BYTES: usize = 4096;
/// Bytes behind the last text, so that its windows are whole.
const PADDING: usize = WINDOW_LEN + KIND_PAIRS;
/// The longest text that is kept, its context included, in bytes.
const KEPT_LEN_MAX: usize = 61;
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

/// A text that was found clean.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Kept {
    /// Of the context and the text; the bytes from there on are 0.
    len: u8,
    /// Of the context.
    context: u8,
    bytes: [u8; KEPT_LEN_MAX + 1],
}

const NOTHING_KEPT: Kept = Kept { len: 0, context: 0, bytes: [0; KEPT_LEN_MAX + 1] };

/// A text that was not found clean.
pub(crate) struct Unclean<'a> {
    /// Its number among those that [`Batch::add`] took.
    pub(crate) number: usize,
    pub(crate) context: &'a [u8],
}

impl Batch {
    /// Begins to take texts of this ruleset.
    pub(crate) fn begin(&mut self, ruleset: &Ruleset) {
        if self.of != ruleset.number || self.kept.is_empty() {
            self.of = ruleset.number;
            self.kept.clear();
            self.kept.resize(PLACES, NOTHING_KEPT);
        }
    }

    /// Adds a text and what stands before it. False: it is known to be clean, and is not added.
    #[inline]
    pub(crate) fn add(&mut self, context: &[u8], text: &[u8]) -> bool {
        let from = self.bytes.len() as u32;
        let begin = from + context.len() as u32;
        let len = context.len() + text.len();
        let mut place = None;
        if len <= KEPT_LEN_MAX {
            let mut own = Kept { len: len as u8, context: context.len() as u8, ..NOTHING_KEPT };
            own.bytes[..context.len()].copy_from_slice(context);
            own.bytes[context.len()..len].copy_from_slice(text);
            let at = own.place();
            if self.kept.get(usize::from(at)).is_some_and(|kept| *kept == own) {
                return false;
            }
            place = Some(at);
            own.bytes[len] = BEFORE_TEXT;
            self.bytes.extend_from_slice(&own.bytes[..=len]);
        } else {
            self.bytes.extend_from_slice(context);
            self.bytes.extend_from_slice(text);
            self.bytes.push(BEFORE_TEXT);
        }
        let to = from + len as u32;
        self.texts.push(Text { from, begin, to, place, is_clean: true });
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
            let Hits { words, classes, .. } = &hits;
            let prefilter = &ruleset.prefilter;
            let words = words.iter().map(|hit| (hit.at, hit.gram));
            self.look_at(ruleset, scratch, first, from, words, |gram, before, bytes, found| {
                prefilter.word_targets(gram, before, bytes, true, found);
            });
            let classes = classes.iter().map(|hit| (hit.at, hit.buckets));
            self.look_at(ruleset, scratch, first, from, classes, |buckets, before, bytes, found| {
                prefilter.class_targets(buckets, before, bytes, true, found);
            });
            scratch.hits = hits;
        }
        self.bytes.truncate(len);
        self.look_for_exact(ruleset, scratch);
    }

    /// Looks at hits of a block that begins at `from`: the place of each, and what the prefilter tells its windows by, which
    /// `targets_of` does. The first text of the block is `n`.
    fn look_at(
        &mut self,
        ruleset: &Ruleset,
        scratch: &mut Scratch,
        mut n: usize,
        from: usize,
        hits: impl Iterator<Item = (u32, u32)>,
        targets_of: impl Fn(u32, u8, &[u8], &mut dyn FnMut(Target)),
    ) {
        let mut of = None;
        for (place, hit) in hits {
            let at = from + place as usize;
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
            targets_of(hit, before, &self.bytes[at..end], &mut |target| {
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
                scan.begin_whole(&self.bytes[start..end]);
            }
            let window = (at - start) as u64;
            if targets.iter().any(|target| scan.find_at(ruleset, scratch, window, *target)) {
                self.texts[n].is_clean = false;
            }
        }
        scratch.forget_piece();
    }

    /// Looks for exact values in the texts that are clean so far.
    fn look_for_exact(&mut self, ruleset: &Ruleset, scratch: &mut Scratch) {
        let Some(exact) = &ruleset.exact else { return };
        for text in self.texts.iter_mut().filter(|text| text.is_clean) {
            let bytes = self.bytes.get(text.from as usize..text.to as usize).unwrap_or_default();
            let place = crate::exact::Place::default();
            exact.find(bytes, place, usize::MAX, true, &mut scratch.exact, &mut |_, _| text.is_clean = false);
        }
    }

    /// Tells the texts that are not clean, in order, keeps the others, and is empty then.
    pub(crate) fn settle(&mut self, mut unclean: impl FnMut(Unclean<'_>)) {
        for (number, text) in self.texts.iter().enumerate() {
            let (from, begin, to) = (text.from as usize, text.begin as usize, text.to as usize);
            if !text.is_clean {
                unclean(Unclean { number, context: &self.bytes[from..begin] });
            } else if let Some(kept) = text.place.and_then(|place| self.kept.get_mut(usize::from(place))) {
                *kept = Kept { len: (to - from) as u8, context: (begin - from) as u8, ..NOTHING_KEPT };
                kept.bytes[..to - from].copy_from_slice(&self.bytes[from..to]);
            }
        }
        self.texts.clear();
        self.bytes.clear();
    }
}

impl Kept {
    /// Where it is kept: eight bytes at a time.
    #[inline]
    fn place(&self) -> u16 {
        let (words, _) = self.bytes.as_chunks::<8>();
        let words = words.iter().take((usize::from(self.len) + 8) / 8);
        let hash = words.fold(u64::from(self.len), |hash, word| mix(hash, u64::from_le_bytes(*word)));
        ((hash >> 40) as usize % PLACES) as u16
    }
}

impl Scan {
    /// Begins with a text that is here whole.
    fn begin_whole(&mut self, text: &[u8]) {
        self.reset();
        self.text.extend_from_slice(text);
    }

    /// Looks at a window of it; whether anything has been found. What becomes of that is not told here.
    fn find_at(&mut self, ruleset: &Ruleset, scratch: &mut Scratch, window: u64, target: Target) -> bool {
        self.take_target(ruleset, scratch, window, target);
        self.end_candidates(ruleset, scratch);
        self.found
    }
}
