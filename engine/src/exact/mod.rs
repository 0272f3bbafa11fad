//! Exact values: millions of customer numbers or names, found while streaming, none of them kept.
//!
//! ```text
//!   text ──► words ──► hash of a word ──► filter ──► hash with the words after it, as long as some value begins so
//!                                                         │
//!                                              keyed digest of the value ──► sorted digests ──► match
//! ```
//! A value is a sequence of words with what stands between them, byte for byte (ASCII case aside, if asked for). It is found
//! where its words are whole words of the text, for hashes can't tell where in a word a value might begin. Of the
//! values that begin at a word the longest is found.
//!
//! Kept of a value is its SipHash-2-4 under a key derived from a salt and, if asked for, a key that is not in the file; and
//! some bits of a Bloom filter, by a faster keyed hash of each of its beginnings. A false match takes two equal 64-bit
//! digests. Text costs a hash and a look-up of the filter a word, whatever the number of values.
//!
//! # Limits
//! What a word may begin is known when the word has ended, so the last word of what has come is held, and words that begin a
//! value are held with those after them: [`VALUE_BYTES_MAX`] at most.
//!
//! # Rejected
//! A finite-state transducer (`fst`): it holds every value as it is. A rule for each word with the set as a validator: a
//! candidate a word costs ten times as much. XOR filters: smaller, but three places a look-up.

mod digest;
#[cfg(test)]
mod tests;
pub(crate) mod words;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::built::wire::{Damage, Reader, Writer};
use crate::mask::TokenKey;
use digest::Keys;
use words::{Open, Word};

/// The most values of a set.
pub const VALUES_MAX: usize = 10_000_000;
/// The most bytes of a value, from its first word to its last.
pub const VALUE_BYTES_MAX: usize = 256;
/// The fewest: shorter ones are everywhere.
pub const VALUE_BYTES_MIN: usize = 3;
/// The most words of a value.
pub const VALUE_WORDS_MAX: usize = 32;
/// The most sets of one ruleset: each costs its own hash of every word.
pub const SETS_MAX: usize = 8;
/// Bytes of a salt.
pub const SALT_BYTES: usize = 16;
/// Faults of a list that are told.
const FAULTS_MAX: usize = 100;
/// Values and beginnings of values that share a word of the filter: 16 bits for each.
const KEYS_A_BLOCK: usize = 4;
/// Digests for each entry of the index.
const DIGESTS_A_SLOT: usize = 8;
/// Words whose blocks are asked for together, so that their ways to memory overlap.
const AHEAD: usize = 16;
/// The longest first word that is told from longer ones.
const LENS: usize = 63;

/// How values are kept.
#[derive(Clone, Copy, Debug)]
pub struct ExactOptions<'a> {
    /// ASCII letters' case is ignored.
    pub ignore_case: bool,
    /// Random bytes that no other set has.
    pub salt: [u8; SALT_BYTES],
    /// A key that is not kept: without it nobody can try values against the set, and it finds nothing.
    pub key: Option<&'a TokenKey>,
}

/// The values of one rule.
#[derive(Clone, PartialEq, Eq)]
pub struct ExactSet {
    rule: String,
    ignore_case: bool,
    salt: [u8; SALT_BYTES],
    is_keyed: bool,
    /// Of the keys, to tell a wrong one.
    check: u64,
    /// Of first words: a bit for each length, the last one for all that are longer.
    lens: u64,
    /// The longest first word, and the longest value.
    first_max: usize,
    bytes_max: usize,
    filter: Vec<u64>,
    /// In order.
    digests: Vec<u64>,
    /// By the first bits of a digest: where those begin.
    index: Vec<u32>,
}

impl fmt::Debug for ExactSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ExactSet({}, {} values)", self.rule, self.digests.len())
    }
}

/// Why a list of values is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExactError {
    /// Number of the value in its list, from 0, and what is wrong with it.
    pub faults: Vec<(usize, String)>,
}

impl ExactSet {
    /// Of `values`, for the rule with this id. Values that come twice count once.
    ///
    /// # Errors
    /// The first faults of values: too short, too long, without a word, too many.
    pub fn build<V: AsRef<[u8]>>(
        rule: &str,
        values: impl IntoIterator<Item = V>,
        options: &ExactOptions<'_>,
    ) -> Result<ExactSet, ExactError> {
        let keys = Keys::new(&options.salt, options.key);
        let mut set = ExactSet {
            rule: rule.to_owned(),
            ignore_case: options.ignore_case,
            salt: options.salt,
            is_keyed: options.key.is_some(),
            check: keys.check,
            lens: 0,
            first_max: 0,
            bytes_max: 0,
            filter: Vec::new(),
            digests: Vec::new(),
            index: Vec::new(),
        };
        let (mut faults, mut wholes, mut begins) = (Vec::new(), Vec::new(), Vec::new());
        let mut room = Vec::new();
        for (number, value) in values.into_iter().enumerate() {
            let fault = match number {
                VALUES_MAX => Some(format!("a set has at most {VALUES_MAX} values")),
                _ => set.add(value.as_ref(), &keys, &mut room, &mut wholes, &mut begins).err(),
            };
            faults.extend(fault.map(|reason| (number, reason)));
            if faults.len() >= FAULTS_MAX || number >= VALUES_MAX {
                break;
            }
        }
        if !faults.is_empty() {
            return Err(ExactError { faults });
        }
        [&mut wholes, &mut begins, &mut set.digests].into_iter().for_each(|list| {
            list.sort_unstable();
            list.dedup();
        });
        let blocks = (wholes.len() + begins.len()).div_ceil(KEYS_A_BLOCK).max(1);
        set.filter = vec![0; blocks];
        for (hashes, is_whole) in [(&wholes, true), (&begins, false)] {
            for hash in hashes {
                let place = digest::block(*hash, blocks);
                let (begin, whole) = digest::masks(*hash);
                if let Some(block) = set.filter.get_mut(place) {
                    *block |= if is_whole { whole } else { begin };
                }
            }
        }
        set.index = index(&set.digests);
        Ok(set)
    }

    /// Adds one value: what is kept of it.
    fn add(
        &mut self,
        value: &[u8],
        keys: &Keys,
        room: &mut Vec<Word>,
        wholes: &mut Vec<u64>,
        begins: &mut Vec<u64>,
    ) -> Result<(), String> {
        room.clear();
        words::find(value, 0, Open::None, true, room);
        let (Some(first), Some(last)) = (room.first().copied(), room.last().copied()) else {
            return Err("a value has at least one letter or digit".into());
        };
        let len = last.end - first.start;
        if !(VALUE_BYTES_MIN..=VALUE_BYTES_MAX).contains(&len) {
            return Err(format!("a value has {VALUE_BYTES_MIN} to {VALUE_BYTES_MAX} bytes"));
        }
        if room.len() > VALUE_WORDS_MAX {
            return Err(format!("a value has at most {VALUE_WORDS_MAX} words"));
        }
        let (mut hash, mut from) = (0, first.start);
        for (n, word) in room.iter().enumerate() {
            hash = keys.hash(hash, value, from..word.end, self.ignore_case);
            from = word.end;
            if n + 1 < room.len() { begins.push(hash) } else { wholes.push(hash) }
        }
        let first_len = first.end - first.start;
        self.lens |= 1 << first_len.min(LENS);
        self.first_max = self.first_max.max(first_len);
        self.bytes_max = self.bytes_max.max(len);
        let value = value.get(first.start..last.end).unwrap_or_default();
        self.digests.push(keys.digest(value, self.ignore_case));
        Ok(())
    }

    /// The id of the rule whose values these are.
    #[must_use]
    pub fn rule(&self) -> &str {
        &self.rule
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.digests.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        (self.filter.len() + self.digests.len()) * 8 + self.index.len() * 4
    }

    /// Whether a key is needed that is not kept.
    #[must_use]
    pub fn is_keyed(&self) -> bool {
        self.is_keyed
    }

    fn has(&self, digest: u64) -> bool {
        let slots = self.index.len().saturating_sub(1);
        let slot = digest::place(digest, slots);
        let part = self.index.get(slot).zip(self.index.get(slot + 1));
        let part = part.and_then(|(from, to)| self.digests.get(*from as usize..*to as usize));
        part.is_some_and(|part| part.contains(&digest))
    }

    /// Writes it down.
    pub fn write(&self, out: &mut Writer) {
        out.text(&self.rule);
        out.bool(self.ignore_case);
        out.raw(&self.salt);
        out.bool(self.is_keyed);
        out.u64(self.check);
        out.u64(self.lens);
        out.size(self.first_max);
        out.size(self.bytes_max);
        for list in [&self.filter, &self.digests] {
            out.count(list.len());
            out.words64(list);
        }
    }

    /// Reads what [`ExactSet::write`] wrote.
    ///
    /// # Errors
    /// It can't be one.
    pub fn read(from: &mut Reader<'_>) -> Result<ExactSet, Damage> {
        let mut set = ExactSet {
            rule: from.text()?,
            ignore_case: from.bool()?,
            salt: *from.array()?,
            is_keyed: from.bool()?,
            check: from.u64()?,
            lens: from.u64()?,
            first_max: from.size(VALUE_BYTES_MAX)?,
            bytes_max: from.size(VALUE_BYTES_MAX)?,
            filter: from.list(8, Reader::u64)?,
            digests: from.list(8, Reader::u64)?,
            index: Vec::new(),
        };
        if set.filter.is_empty() || set.digests.len() > VALUES_MAX || !set.digests.is_sorted() {
            return Err(Damage("a set of exact values"));
        }
        set.index = index(&set.digests);
        Ok(set)
    }
}

fn index(digests: &[u64]) -> Vec<u32> {
    let slots = (digests.len() / DIGESTS_A_SLOT).max(1);
    let mut index = Vec::with_capacity(slots + 1);
    for (n, digest) in digests.iter().enumerate() {
        while index.len() <= digest::place(*digest, slots) {
            index.push(n as u32);
        }
    }
    index.resize(slots + 1, digests.len() as u32);
    index
}

/// The sets of a ruleset, with the numbers of their rules.
#[derive(Debug, Default)]
pub(crate) struct Exact {
    sets: Vec<(u32, Arc<ExactSet>, Keys)>,
}

/// Room for the words of a piece.
#[derive(Default)]
pub(crate) struct Room {
    words: Vec<Word>,
    hits: Vec<Hit>,
}

/// A word with which a value of a set may begin.
#[derive(Clone, Copy)]
struct Hit {
    word: u32,
    set: u32,
    hash: u64,
}

/// Up to where a text has been looked at: within it, and whether that is in the middle of a word that begins nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) at: usize,
    pub(crate) inside: bool,
}

/// What became of the values that may begin at a word.
enum Chain {
    /// The longest one ends here.
    Found(usize),
    None,
    /// What comes next decides.
    Open,
}

impl Exact {
    pub(crate) fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// Adds a set for the rule of this number.
    ///
    /// # Errors
    /// The key is missing or another one; there are too many sets.
    pub(crate) fn add(
        &mut self,
        rule: u32,
        set: &Arc<ExactSet>,
        key: Option<&TokenKey>,
    ) -> Result<(), String> {
        if self.sets.len() >= SETS_MAX {
            return Err(format!("at most {SETS_MAX} rules have exact values"));
        }
        if set.is_keyed && key.is_none() {
            return Err("its exact values need the token key that they were built with".into());
        }
        let keys = Keys::new(&set.salt, key.filter(|_| set.is_keyed));
        if keys.check != set.check {
            return Err("its exact values were built with another token key".into());
        }
        self.sets.push((rule, Arc::clone(set), keys));
        Ok(())
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.sets.iter().map(|(_, set, _)| set.memory_bytes()).sum()
    }

    /// Looks for values that begin from `place` on and before `until`, and tells each by its rule, the longest of each
    /// set and start. Gives up to where that is decided; at the `end` of the text, all is.
    pub(crate) fn find(
        &self,
        text: &[u8],
        place: Place,
        until: usize,
        end: bool,
        room: &mut Room,
        found: &mut dyn FnMut(u32, Range<usize>),
    ) -> Place {
        room.words.clear();
        let open = if place.inside { Open::Passed } else { Open::None };
        let rest = words::find(text, place.at, open, end, &mut room.words);
        self.find_hits(text, room);
        for hits in room.hits.chunk_by(|a, b| a.word == b.word) {
            let words = hits.first().and_then(|hit| room.words.get(hit.word as usize..)).unwrap_or_default();
            let Some(start) = words.first().map(|word| word.start).filter(|start| *start < until) else {
                break;
            };
            // All sets are decided at once, so that none of them tells a value twice.
            let mut ends = [None; SETS_MAX];
            for (hit, to) in hits.iter().zip(&mut ends) {
                let Some((rule, set, keys)) = self.sets.get(hit.set as usize) else { continue };
                match set.follow(keys, text, words, hit.hash, end, text.len()) {
                    Chain::Found(end) => *to = Some((*rule, end)),
                    Chain::None => {}
                    Chain::Open => return Place { at: start, inside: false },
                }
            }
            ends.iter().flatten().for_each(|(rule, end)| found(*rule, start..*end));
        }
        self.rest_place(rest, text.len())
    }

    /// Where to go on behind the last whole word.
    fn rest_place(&self, rest: words::Rest, len: usize) -> Place {
        let first_max = self.sets.iter().map(|(_, set, _)| set.first_max).max().unwrap_or(0);
        match rest.open {
            Open::None => Place { at: rest.at, inside: false },
            Open::Passed => Place { at: rest.at, inside: true },
            // Longer than every first word: nothing begins with it.
            Open::From(start) if len - start > first_max + 4 => Place { at: rest.at, inside: true },
            Open::From(start) => Place { at: start, inside: false },
        }
    }

    /// The words that the filters let through, in order.
    fn find_hits(&self, text: &[u8], room: &mut Room) {
        let Room { words, hits } = room;
        hits.clear();
        for (number, (_, set, keys)) in self.sets.iter().enumerate() {
            let (mut first, blocks) = (0, set.filter.len());
            for some in words.chunks(AHEAD) {
                let (mut hashes, mut found) = ([0; AHEAD], [0; AHEAD]);
                for (word, hash) in some.iter().zip(&mut hashes) {
                    let is_len = set.lens >> (word.end - word.start).min(LENS) & 1 == 1;
                    *hash =
                        if is_len { keys.hash(0, text, word.start..word.end, set.ignore_case) } else { 0 };
                }
                for (hash, found) in hashes.iter().zip(&mut found) {
                    *found = if *hash == 0 { 0 } else { set.block(*hash, blocks) };
                }
                for (n, (hash, block)) in hashes.iter().zip(&found).enumerate().take(some.len()) {
                    let (begin, whole) = digest::masks(*hash);
                    if block & begin == begin || block & whole == whole {
                        hits.push(Hit { word: first + n as u32, set: number as u32, hash: *hash });
                    }
                }
                first += some.len() as u32;
            }
        }
        if self.sets.len() > 1 {
            hits.sort_unstable_by_key(|hit| (hit.word, hit.set));
        }
    }
}

impl ExactSet {
    #[inline]
    fn block(&self, hash: u64, blocks: usize) -> u64 {
        self.filter.get(digest::block(hash, blocks)).copied().unwrap_or(0)
    }

    /// Follows the words from the first one on, whose hash is known, as long as a value may begin so. They are all
    /// whole words of the text, which has so many bytes and may go on if this is not its end.
    fn follow(&self, keys: &Keys, text: &[u8], words: &[Word], hash: u64, end: bool, len: usize) -> Chain {
        let Some(start) = words.first().map(|word| word.start) else { return Chain::None };
        let (mut hash, mut longest) = (hash, None);
        for (n, word) in words.iter().enumerate() {
            if word.end - start > self.bytes_max {
                break;
            }
            if let Some(before) = n.checked_sub(1).and_then(|n| words.get(n)) {
                hash = keys.hash(hash, text, before.end..word.end, self.ignore_case);
            }
            let block = self.block(hash, self.filter.len());
            let (begin, whole) = digest::masks(hash);
            if block & whole == whole {
                let value = text.get(start..word.end).unwrap_or_default();
                if self.has(keys.digest(value, self.ignore_case)) {
                    longest = Some(word.end);
                }
            }
            if block & begin != begin {
                break;
            }
            // A character that is cut at the end says no sooner that the last word is whole.
            if n + 1 == words.len() && !end && len - start <= self.bytes_max + CUT_BYTES_MAX {
                return Chain::Open;
            }
        }
        longest.map_or(Chain::None, Chain::Found)
    }
}

/// Bytes of a character that is not whole.
const CUT_BYTES_MAX: usize = 3;

/// The spans that the sets find in a whole text, said again without the filter and the beginnings: every value from a word
/// to a word is asked for.
#[cfg(any(test, feature = "oracle"))]
pub(crate) fn find_naively(exact: &Exact, text: &[u8]) -> Vec<(u32, Range<usize>)> {
    let all = words::naive(text);
    let mut found = Vec::new();
    for (rule, set, keys) in &exact.sets {
        for (n, first) in all.iter().enumerate() {
            let ends =
                all.iter().skip(n).map(|word| word.end).filter(|end| end - first.start <= VALUE_BYTES_MAX);
            let is_value = |end: &usize| set.has(keys.digest(&text[first.start..*end], set.ignore_case));
            found.extend(ends.filter(is_value).max().map(|end| (*rule, first.start..end)));
        }
    }
    found
}
