//! What changes in an event's documents, and how they are spelled then.

use super::decisions::Mask;
use super::text::Place;
use crate::format::json;
use crate::format::leaves::{StringHandler, feed_string};

/// A change of a document.
#[derive(Debug)]
pub(in crate::format) struct Change {
    pub(super) place: Place,
    pub(super) to: To,
}

/// What a spelling becomes.
#[derive(Debug)]
pub(super) enum To {
    Bytes(Vec<u8>),
    /// Its text, of which this is masked.
    Masked(Vec<Mask>),
}

impl Change {
    /// A spelling that becomes these bytes.
    pub(in crate::format) fn to_bytes(
        document: u8,
        spelling: std::ops::Range<usize>,
        bytes: Vec<u8>,
    ) -> Change {
        Change { place: Place { document, spelling, is_json: false }, to: To::Bytes(bytes) }
    }

    /// Which of the event's documents it is in.
    pub(in crate::format) fn document(&self) -> u8 {
        self.place.document
    }
}

/// A document with its changes.
pub(in crate::format) fn apply<'a>(
    document: &[u8],
    changes: impl IntoIterator<Item = &'a Change>,
) -> Vec<u8> {
    // An outer place comes before those inside it and hides them.
    let mut changes: Vec<&Change> = changes.into_iter().collect();
    changes.sort_by_key(|c| (c.place.spelling.start, usize::MAX - c.place.spelling.end));
    let mut new = Vec::with_capacity(document.len());
    let mut from = 0;
    let bytes = |range: std::ops::Range<usize>| document.get(range).unwrap_or_default();
    for Change { place, to } in changes {
        let spelling = place.spelling.clone();
        if spelling.start < from {
            continue;
        }
        new.extend_from_slice(bytes(from..spelling.start));
        from = spelling.end;
        match to {
            To::Bytes(text) => new.extend_from_slice(text),
            To::Masked(masks) => {
                let mut speller = Speller { masks, at: 0, is_json: place.is_json, out: &mut new };
                if place.is_json {
                    speller.out.push(b'"');
                    // The spelling was tokenized before: it can't fail.
                    let _ = feed_string(bytes(spelling), &mut speller);
                    speller.end_masks();
                    speller.out.push(b'"');
                } else {
                    speller.plain(bytes(spelling), 0);
                    speller.end_masks();
                }
            }
        }
    }
    new.extend_from_slice(bytes(from..document.len()));
    new
}

/// Spells a text as it was, but for what is masked.
struct Speller<'a> {
    /// What is masked from here on, in order.
    masks: &'a [Mask],
    /// Bytes of text so far.
    at: u64,
    is_json: bool,
    out: &'a mut Vec<u8>,
}

impl Speller<'_> {
    fn emit(&mut self, text: &[u8]) {
        if self.is_json {
            json::escape(text, self.out);
        } else {
            self.out.extend_from_slice(text);
        }
    }

    /// Bytes from here on, of at most `len`, that are of one kind, and whether they are masked.
    fn next(&mut self, len: u64) -> (u64, bool) {
        while let Some((mask, rest)) = self.masks.split_first() {
            if mask.from > self.at {
                return ((mask.from - self.at).min(len), false);
            }
            if mask.from == self.at {
                let text = mask.text.as_slice();
                self.emit(text);
            }
            if mask.to > self.at {
                return ((mask.to - self.at).min(len), true);
            }
            self.masks = rest;
        }
        (len, false)
    }

    fn end_masks(&mut self) {
        for mask in std::mem::take(&mut self.masks) {
            if mask.from >= self.at {
                self.emit(&mask.text);
            }
        }
    }
}

impl StringHandler for Speller<'_> {
    fn plain(&mut self, mut bytes: &[u8], _at: u64) {
        while !bytes.is_empty() {
            let (len, is_masked) = self.next(bytes.len() as u64);
            let (part, rest) = bytes.split_at(usize::try_from(len).unwrap_or(bytes.len()).min(bytes.len()));
            if !is_masked {
                self.out.extend_from_slice(part);
            }
            self.at += part.len() as u64;
            bytes = rest;
        }
    }

    fn spelled(&mut self, decoded: &[u8], raw: &[u8], _at: u64) {
        let mut is_any_masked = false;
        let end = self.at + decoded.len() as u64;
        while self.at < end {
            let (len, is_masked) = self.next(end - self.at);
            is_any_masked |= is_masked;
            self.at += len;
        }
        if !is_any_masked {
            self.out.extend_from_slice(raw);
        }
    }
}
