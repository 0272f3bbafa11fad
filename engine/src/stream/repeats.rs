//! What has come before is not looked at again.
//!
//! Events of a stream, lines of a log and records of a trace repeat most of what stands around their values. Which
//! windows begin at a place is told by the byte before it and the [`SEEN_BYTES`] from it on, so where a stretch of text
//! has come before, in the last [`TEXT_MAX`] bytes that were looked at, its windows are those of then. Stretches begin at
//! *anchors*, a quote or the end of a line, and are found by a hash of eight bytes, as LZ77 finds its matches (Ziv and
//! Lempel, IEEE Transactions on Information Theory 23(3), 1977); they are compared byte by byte.
//!
//! A place is told by more windows than it has where its text was cut when it was looked at. That is no fault: what
//! follows takes those out.
//!
//! Kept is text of any stream that used the scratch, so that small chunks profit as well. Where little comes again, texts
//! are passed over for a while.
//!
//! # Rejected
//! A bit for each place that is known, by which vectors pass over what needs no look: half of them were looked at all
//! the same, for what is new lies in between. Stretches of 32 bytes: finding them costs what they save.

use super::starts::Targets;
use crate::compile::path::PATH_LEN;
use crate::compile::prefilter::Target;
use crate::kernel::{KIND_PAIRS, Tables, WINDOW_LEN};

/// Bytes from a place on that tell its windows.
pub(super) const SEEN_BYTES: usize = if PATH_LEN > KIND_PAIRS + 1 { PATH_LEN - 1 } else { KIND_PAIRS + 1 };
/// Pieces of fewer places are passed over.
pub(super) const PLACES_MIN: usize = 128;
/// Text that is kept: a position fits 16 bits.
const TEXT_MAX: usize = u16::MAX as usize;
/// Windows that are kept, of each list; with more, text and windows are forgotten.
const TOLD_MAX: usize = 1 << 13;
/// Shorter stretches are not worth it.
const STRETCH_MIN: usize = 64;
/// Log2 of the anchors that are known at once.
const ANCHOR_BITS: u32 = 12;
/// After so many anchors in vain, only every second is looked up, then every third, …
const VAIN: u32 = 16;
/// The most that are passed over.
const PASSED_MAX: u32 = 15;
/// After so many places it is told whether it was worth it.
const JUDGED: usize = 1 << 14;
/// Of the places so many must have come before: one of this number.
const WORTH: usize = 2;
/// Places that are passed over where it was not, and twice as many after each further time.
const PAUSE_MIN: usize = 1 << 15;
/// The most.
const PAUSE_MAX: usize = 1 << 19;

/// The text looked at last, and the windows in it.
#[derive(Default)]
pub(super) struct Repeats {
    /// The prefilter's number.
    of: u64,
    text: Vec<u8>,
    parts: Vec<Part>,
    /// Windows by their position in the text, words and classes.
    told: [Told; 2],
    /// By hash: where an anchor is; 0 where none is known.
    anchors: Vec<u16>,
    /// Anchors looked up in vain, one after another.
    vain: u32,
    /// Places judged next, and how many of them have come before.
    seen: usize,
    known: usize,
    /// Places still to be passed over, and how many there were the last time.
    pause: usize,
    paused: usize,
    /// Of the piece: a bit for each byte that is an anchor.
    marks: Vec<u64>,
    /// The position of the piece's first place.
    first: usize,
    stretches: Vec<Stretch>,
    /// Where the stretch that reached the end of the text would go on.
    open: Option<usize>,
    pub(super) rest: Rest,
}

/// Text of one stream: the byte before its first place, its places, and what tells the last of them.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    /// The first position whose windows are not told.
    told: usize,
    end: usize,
}

/// Places that are told by others.
#[derive(Clone, Copy)]
struct Stretch {
    /// Position of the first place.
    at: usize,
    source: usize,
    len: usize,
}

/// Windows in the order of their positions.
#[derive(Default)]
struct Told {
    list: Targets,
    /// By 64 positions: how many windows there are before them.
    before: Vec<u16>,
}

impl Told {
    fn clear(&mut self) {
        self.list.clear();
        self.before.clear();
        self.before.reserve(TEXT_MAX / 64 + 1);
    }

    fn add(&mut self, position: u32, target: Target) {
        let (word, count) = (position as usize / 64, self.list.len() as u16);
        if self.before.len() <= word {
            self.before.resize(word + 1, count);
        }
        self.list.push((position, target));
    }

    /// The first that may be at a position or after it.
    fn first_at(&self, position: usize) -> usize {
        self.before.get(position / 64).map_or(self.list.len(), |before| usize::from(*before))
    }
}

/// What is to be done with a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Look {
    /// All of it is to be looked at; nothing of it is kept.
    Passed,
    /// All of it is to be looked at, and what is found is to be told.
    New,
    /// What [`Repeats::rest`] has is to be looked at, and what is found is to be told; so many places are known.
    Known(usize),
}

/// What has not come before: ranges of places side by side, each with the byte before and what tells its last place.
#[derive(Default)]
pub(super) struct Rest {
    bytes: Vec<u8>,
    ranges: Vec<Range>,
}

#[derive(Clone, Copy)]
struct Range {
    /// The first place, in the piece.
    place: usize,
    /// The same, in the bytes.
    at: usize,
    len: usize,
}

impl Rest {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.clear();
    }

    fn add(&mut self, place: usize, len: usize, bytes: &[u8]) {
        self.ranges.push(Range { place, at: self.bytes.len() + 1, len });
        self.bytes.extend_from_slice(bytes);
    }

    /// The bytes in blocks of so many places: where each begins, how many they are, and the byte before them with theirs
    /// and so many further ones. Not all of them are places of a range.
    pub(super) fn blocks(&self, most: usize, further: usize) -> impl Iterator<Item = (usize, usize, &[u8])> {
        let end = (self.bytes.len() + 2).saturating_sub(WINDOW_LEN);
        (1..end).step_by(most).map(move |from| {
            let to = end.min(from + most);
            let bytes = self.bytes.get(from - 1..self.bytes.len().min(to + further)).unwrap_or_default();
            (from, to - from, bytes)
        })
    }

    /// The place in the piece that is at `at` of the bytes; `range` is the one it may be in, or one before it.
    pub(super) fn place(&self, at: usize, range: &mut usize) -> Option<usize> {
        let rest = self.ranges.get(*range..)?;
        *range += rest.iter().take_while(|range| range.at + range.len <= at).count();
        self.ranges.get(*range).filter(|range| range.at <= at).map(|range| at - range.at + range.place)
    }
}

impl Repeats {
    /// Takes `places` from the start of `bytes` on, and tells whether many of them have come before. Where there are less
    /// than [`SEEN_BYTES`] bytes from a place on, more of the text is to come.
    pub(super) fn look(&mut self, of: u64, tables: &Tables, before: u8, bytes: &[u8], places: usize) -> Look {
        self.stretches.clear();
        let len = bytes.len().min(places + SEEN_BYTES - 1);
        if places < PLACES_MIN || len >= TEXT_MAX {
            return Look::Passed;
        }
        if self.pause > 0 {
            self.pause = self.pause.saturating_sub(places);
            return Look::Passed;
        }
        let told_most = self.told.iter().map(|told| told.list.len()).max().unwrap_or(0);
        if self.of != of || self.text.len() + 1 + len > TEXT_MAX || told_most > TOLD_MAX {
            self.of = of;
            self.forget();
        }
        self.take(before, bytes.get(..len).unwrap_or_default(), places);
        tables.mark_anchors(bytes.get(..places).unwrap_or_default(), &mut self.marks);
        self.find_stretches();
        let known: usize = self.stretches.iter().map(|stretch| stretch.len).sum();
        self.judge(known, places);
        if known * WORTH < places {
            self.stretches.clear();
            return Look::New;
        }
        self.collect_rest(places);
        Look::Known(known)
    }

    /// Pauses where little comes again.
    fn judge(&mut self, known: usize, places: usize) {
        self.seen += places;
        self.known += known;
        if self.seen < JUDGED {
            return;
        }
        if self.known * WORTH >= self.seen {
            self.paused = 0;
        } else {
            self.paused = (self.paused * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.pause = self.paused;
        }
        (self.seen, self.known) = (0, 0);
    }

    fn forget(&mut self) {
        self.open = None;
        self.text.clear();
        self.text.reserve(TEXT_MAX);
        self.parts.clear();
        self.parts.reserve(TEXT_MAX / PLACES_MIN);
        self.told.iter_mut().for_each(Told::clear);
        self.anchors.clear();
        self.anchors.resize(1 << ANCHOR_BITS, 0);
    }

    /// Adds what has come to the text. It goes on where the last part ended when its bytes do: what was told of the last
    /// places there holds for whatever follows them.
    fn take(&mut self, before: u8, bytes: &[u8], places: usize) {
        let goes_on = |part: &Part| {
            let shared = self.text.get(part.told - 1..).and_then(<[u8]>::split_first);
            shared.is_some_and(|(last, seen)| *last == before && bytes.starts_with(seen))
        };
        if !self.parts.last().is_some_and(goes_on) {
            self.open = None;
            let start = self.text.len();
            self.text.push(before);
            self.parts.push(Part { start, told: start + 1, end: start + 1 });
        }
        let Some(part) = self.parts.last_mut() else { return };
        self.first = part.told;
        let known = self.text.len() - self.first;
        self.text.extend_from_slice(bytes.get(known..).unwrap_or_default());
        (part.told, part.end) = (self.first + places, self.text.len());
    }

    /// Finds what has come before, from the first place of the piece on.
    fn find_stretches(&mut self) {
        let first = self.first;
        let open = self.open.take();
        let (mut next, mut pass) = (0, 0);
        if let Some(len) = open.and_then(|source| self.stretch(source, first - 1, SEEN_BYTES + 1)) {
            next = len - 1;
        }
        for word in 0..self.marks.len() {
            let mut marks = self.marks.get(word).copied().unwrap_or(0) & from_bit(next, word);
            while marks != 0 {
                let at = word * 64 + marks.trailing_zeros() as usize;
                marks &= marks - 1;
                if pass > 0 {
                    pass -= 1;
                    continue;
                }
                let source = self.anchor(first + at);
                if let Some(len) = source.and_then(|source| self.stretch(source, first + at, STRETCH_MIN)) {
                    self.vain = 0;
                    next = at + len;
                    marks &= from_bit(next, word);
                } else {
                    self.vain += 1;
                    pass = (self.vain / VAIN).min(PASSED_MAX);
                }
            }
        }
    }

    /// Where the bytes at `at` have come before, as far as eight of them tell.
    fn anchor(&mut self, at: usize) -> Option<usize> {
        let key = self.text.get(at..)?.first_chunk::<8>()?;
        let word = u64::from_le_bytes(*key);
        let slot = self.anchors.get_mut((super::mix(0, word) >> (64 - ANCHOR_BITS)) as usize)?;
        let source = usize::from(std::mem::replace(slot, at as u16));
        (source != 0 && self.text.get(source..)?.first_chunk::<8>()? == key).then_some(source)
    }

    /// Notes what stands at `source` and again at `at`, if that is `min` bytes: how many.
    fn stretch(&mut self, source: usize, at: usize, min: usize) -> Option<usize> {
        let part = match self.parts.last()? {
            last if last.start <= source => last,
            _ => self.parts.get(self.parts.partition_point(|part| part.end <= source))?,
        };
        // A stretch that overlaps what it tells would tell of places that are not told yet.
        let known = self.text.get(source..part.end.min(at))?;
        let len = common(known, self.text.get(at..)?);
        if len < min {
            return None;
        }
        // The byte before a place is compared as well.
        self.stretches.push(Stretch { at: at + 1, source: source + 1, len: len - SEEN_BYTES });
        if at + len == self.text.len() {
            let told = self.parts.last()?.told;
            self.open = (told - 1).checked_sub(at).map(|passed| source + passed);
        }
        Some(len)
    }

    /// Puts what has to be looked at side by side.
    fn collect_rest(&mut self, places: usize) {
        self.rest.clear();
        let mut from = self.first;
        let end = self.first + places;
        for (to, next) in self.stretches.iter().map(|s| (s.at, s.at + s.len)).chain([(end, end)]) {
            let to = to.min(end);
            let seen = self.text.len().min(to + SEEN_BYTES - 1);
            if from < to
                && let Some(bytes) = self.text.get(from - 1..seen)
            {
                self.rest.add(from - self.first, to - from, bytes);
            }
            from = next;
        }
    }

    /// Adds the windows of places that are known to those that were found, and keeps them all.
    pub(super) fn tell(&mut self, found: &mut [Targets; 2]) {
        let first = self.first as u32;
        for (told, found) in self.told.iter_mut().zip(found) {
            let known = told.list.len();
            let mut new = found.iter().map(|(place, target)| (first + place, *target)).peekable();
            let mut copied = false;
            for stretch in &self.stretches {
                let (at, source) = (stretch.at as u32, stretch.source as u32);
                while let Some((position, target)) = new.next_if(|(position, _)| *position < at) {
                    told.add(position, target);
                }
                let mut next = told.first_at(stretch.source);
                while let Some((position, target)) = told.list.get(next).copied()
                    && position < source + stretch.len as u32
                {
                    if position >= source {
                        told.add(position - source + at, target);
                        copied = true;
                    }
                    next += 1;
                }
            }
            new.for_each(|(position, target)| told.add(position, target));
            if copied {
                found.clear();
                found.extend(told.list.iter().skip(known).map(|(position, t)| (position - first, *t)));
            }
        }
    }
}

/// The bits of a word from the bit `next` of all words on.
fn from_bit(next: usize, word: usize) -> u64 {
    match next.saturating_sub(word * 64) {
        passed if passed >= 64 => 0,
        passed => !0 << passed,
    }
}

/// How many first bytes two texts share.
fn common(a: &[u8], b: &[u8]) -> usize {
    const AT_ONCE: usize = 32;
    let len = a.len().min(b.len());
    let (a, b) = (a.get(..len).unwrap_or_default(), b.get(..len).unwrap_or_default());
    let (blocks_a, blocks_b) = (a.as_chunks::<AT_ONCE>().0, b.as_chunks::<AT_ONCE>().0);
    let same = blocks_a.iter().zip(blocks_b).take_while(|(a, b)| a == b).count() * AT_ONCE;
    let (a, b) = (a.get(same..).unwrap_or_default(), b.get(same..).unwrap_or_default());
    let (words_a, words_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    for (n, (a, b)) in words_a.iter().zip(words_b).enumerate() {
        let differ = u64::from_le_bytes(*a) ^ u64::from_le_bytes(*b);
        if differ != 0 {
            return same + n * 8 + differ.trailing_zeros() as usize / 8;
        }
    }
    let done = words_a.len() * 8;
    same + done + a.iter().zip(b).skip(done).take_while(|(a, b)| a == b).count()
}
