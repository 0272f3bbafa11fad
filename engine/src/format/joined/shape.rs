//! Events that are as an earlier one was but for some of their strings and numbers.
//!
//! ```text
//!   shape  data: {"id":"c1","created":17,"choices":[{"index":0,"delta":{"content":" words"}}]}
//!                      ──           ──                                          ──────       spots
//!   event  data: {"id":"c1","created":18,"choices":[{"index":0,"delta":{"content":" and more"}}]}
//! ```
//! What lies between the spots is compared byte by byte, so the event has the same lines, keys, paths and places in arrays,
//! and what was read of the first one ([`Reading`](crate::format::llm::Reading)) is what would be read of it: a value that
//! reading depends on ([`llm::is_read`]) is no spot. Only events in which nothing was found become shapes; a spot that is
//! the same as it was then is not looked at again.
//!
//! Whatever does not fit is read anew.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use super::text::Place;
use super::{Carry, Joined, Restating, last_key};
use crate::format::carried::Target;
use crate::format::json;
use crate::format::leaves::{Decoded, LeafKind, Leaves, feed_string};
use crate::format::llm::{self, Manner};

/// Most shapes of one stream.
const SHAPES_MAX: usize = 4;
/// Largest event that becomes a shape, in bytes, and most spots of one.
const BYTES_MAX: usize = 8 << 10;
const SPOTS_MAX: usize = 64;
/// Longest number that a spot takes: digits only.
const DIGITS_MAX: usize = 18;

/// The shapes of a stream, the last one used first.
#[derive(Debug, Default)]
pub(in crate::format) struct Shapes {
    /// None are noted.
    #[cfg(test)]
    pub(in crate::format) is_off: bool,
    shapes: Vec<Shape>,
    /// Where an event differs from its shape.
    new: Vec<New>,
}

/// An event as it came.
#[derive(Debug)]
struct Shape {
    bytes: Vec<u8>,
    /// Where its document begins.
    data: usize,
    spots: Vec<Spot>,
    restating: Vec<Restating>,
}

#[derive(Debug)]
struct Spot {
    /// In the event, without quotes.
    content: Range<usize>,
    is_number: bool,
    role: Role,
    /// What stands before the text.
    context: Vec<u8>,
}

#[derive(Debug)]
enum Role {
    /// A text of its own.
    Own,
    /// A part of this text.
    Part { key: Vec<u8>, manner: Manner },
}

/// A spot of an event that is new.
#[derive(Debug)]
struct New {
    spot: usize,
    content: Range<usize>,
    has_escapes: bool,
}

impl Shape {
    /// The length of the event that `bytes` begin with, if it has this shape; what is new in it is told.
    fn fits(&self, bytes: &[u8], new: &mut Vec<New>) -> Option<usize> {
        new.clear();
        let (mut from, mut at) = (0, 0);
        let mut spots = self.spots.iter().enumerate().peekable();
        while spots.peek().is_some() {
            // Mostly nothing is new up to the next part of a text.
            let mut ahead = spots.clone();
            if let Some((n, part)) = ahead.find(|(_, spot)| matches!(spot.role, Role::Part { .. })) {
                let same = self.bytes.get(from..part.content.start)?;
                if bytes.get(at..).is_some_and(|rest| rest.starts_with(same)) {
                    at = self.take(n, part, bytes, at + same.len(), new)?;
                    from = part.content.end;
                    spots = ahead;
                    continue;
                }
            }
            let (n, spot) = spots.next()?;
            let same = self.bytes.get(from..spot.content.start)?;
            bytes.get(at..)?.strip_prefix(same)?;
            at = self.take(n, spot, bytes, at + same.len(), new)?;
            from = spot.content.end;
        }
        let same = self.bytes.get(from..)?;
        bytes.get(at..)?.starts_with(same).then_some(at + same.len())
    }

    /// Takes a spot that begins at `at`; gives its end.
    fn take(&self, n: usize, spot: &Spot, bytes: &[u8], at: usize, new: &mut Vec<New>) -> Option<usize> {
        let rest = bytes.get(at..)?;
        let (len, has_escapes) = if spot.is_number { (digits(rest)?, false) } else { string(rest)? };
        let content = at..at + len;
        let end = content.end;
        let is_part = matches!(spot.role, Role::Part { .. });
        if is_part || self.bytes.get(spot.content.clone()) != bytes.get(content.clone()) {
            new.push(New { spot: n, content, has_escapes });
        }
        Some(end)
    }

    /// Where a place of the shape's document that is in no spot lies in that of an event.
    fn moved(&self, at: usize, new: &[New]) -> usize {
        let before = |new: &&New| self.spots.get(new.spot).is_some_and(|s| s.content.end <= at + self.data);
        let last = new.iter().take_while(before).last();
        let Some((new, old)) = last.and_then(|new| Some((new, self.spots.get(new.spot)?))) else { return at };
        (at + new.content.end).saturating_sub(old.content.end)
    }
}

/// The length of a number of digits that `bytes` begin with.
fn digits(bytes: &[u8]) -> Option<usize> {
    let len = bytes.iter().take(DIGITS_MAX + 1).take_while(|b| b.is_ascii_digit()).count();
    let is_number = len == 1 || (2..=DIGITS_MAX).contains(&len) && bytes.first() != Some(&b'0');
    is_number.then_some(len)
}

/// The length of a string's content that `bytes` begin with, its quote comes next; whether it has escapes.
fn string(bytes: &[u8]) -> Option<(usize, bool)> {
    let mut len = memchr::memchr2(b'"', b'\\', bytes)?;
    let has_escapes = bytes.get(len) == Some(&b'\\');
    while bytes.get(len) == Some(&b'\\') {
        len += 2;
        len += memchr::memchr2(b'"', b'\\', bytes.get(len..)?)?;
    }
    let content = bytes.get(..len)?;
    let is_valid = if has_escapes {
        let mut spelling = Vec::with_capacity(len + 2);
        spelling.push(b'"');
        spelling.extend_from_slice(content);
        spelling.push(b'"');
        feed_string(&spelling, &mut Decoded(Vec::new())).is_ok()
    } else {
        let is_plain = content.iter().fold(true, |is, b| is & (0x20..0x80).contains(b));
        is_plain || content.iter().all(|b| *b >= 0x20) && std::str::from_utf8(content).is_ok()
    };
    is_valid.then_some((len, has_escapes))
}

impl Shapes {
    /// The length of the event that `bytes` begin with, if it has a shape: the first one then.
    pub(in crate::format) fn fit(&mut self, bytes: &[u8]) -> Option<usize> {
        let Shapes { shapes, new, .. } = self;
        let (n, len) = shapes.iter().enumerate().find_map(|(n, s)| Some((n, s.fits(bytes, new)?)))?;
        if let Some(up_to) = shapes.get_mut(..=n) {
            up_to.rotate_right(1);
        }
        Some(len)
    }
}

impl<E: Carry> Joined<E> {
    /// Notes the event that came in last, of which `leaves` were read, as a shape. Its document begins at `data`. Nothing
    /// was found or changed in it, and it ended no text.
    pub(in crate::format) fn note_shape(
        &self,
        shapes: &mut Shapes,
        leaves: &Leaves<'_>,
        event: &[u8],
        data: usize,
    ) {
        #[cfg(test)]
        if shapes.is_off {
            return;
        }
        if self.fields.is_none()
            && event.len() <= BYTES_MAX
            && self.reading.ends().next().is_none()
            && let Some(spots) = self.spots(leaves, data)
        {
            let restating = self.queue.waiting.back().map(|w| w.restating.clone()).unwrap_or_default();
            shapes.shapes.truncate(SHAPES_MAX - 1);
            shapes.shapes.insert(0, Shape { bytes: event.to_vec(), data, spots, restating });
        }
    }

    fn spots(&self, leaves: &Leaves<'_>, data: usize) -> Option<Vec<Spot>> {
        let mut spots = Vec::new();
        let mut said = self.reading.said().iter().peekable();
        for (n, leaf) in leaves.iter().enumerate() {
            let said = said.next_if(|said| said.leaf == n);
            let key = last_key(leaves, leaf);
            let is_number = leaf.kind == LeafKind::Number;
            let role = match (leaf.kind, said) {
                (LeafKind::Key | LeafKind::Literal, _) => continue,
                (LeafKind::String | LeafKind::Number, Some(said)) => {
                    // What says a text again stays as it is, and so does what was read.
                    let Some(key) = &said.key else { continue };
                    Role::Part { key: self.reading.key(key).to_vec(), manner: said.manner }
                }
                (LeafKind::String | LeafKind::Number, None) => Role::Own,
            };
            let is_part = matches!(role, Role::Part { .. });
            if llm::is_read(leaves.path(leaf)) || llm::may_be_opaque(key) {
                if is_part {
                    return None;
                }
                continue;
            }
            if is_number && digits(leaves.bytes(leaf.content.clone())) != Some(leaf.content.len()) {
                continue;
            }
            let content = leaf.content.start + data..leaf.content.end + data;
            spots.push(Spot { content, is_number, role, context: json::context(key, is_number) });
        }
        (spots.len() <= SPOTS_MAX).then_some(spots)
    }

    /// Masks an event that has the first shape, as [`Joined::mask`] does; it lies at `at`. False: it can't be told by the
    /// shape, and nothing was done.
    pub(in crate::format) fn mask_alike(
        &mut self,
        shapes: &Shapes,
        event: &[u8],
        at: u64,
        target: &mut Target<'_>,
    ) -> bool {
        let Some(shape) = shapes.shapes.first() else { return false };
        let parts = || shapes.new.iter().filter_map(|new| Some((new, shape.spots.get(new.spot)?)));
        let has_text = |key: &[u8]| self.find(key).is_some();
        if !parts().all(|(_, spot)| !matches!(&spot.role, Role::Part { key, .. } if !has_text(key))) {
            return false;
        }
        self.begin();
        if let Some(waiting) = self.queue.waiting.back_mut() {
            waiting.restating.extend(shape.restating.iter().map(|restating| {
                let moved = |range: &Range<usize>| {
                    shape.moved(range.start, &shapes.new)..shape.moved(range.end, &shapes.new)
                };
                let (container, around) = (moved(&restating.container), moved(&restating.around));
                Restating { container, around, ..*restating }
            }));
        }
        let end = at + event.len() as u64;
        for (new, spot) in parts() {
            let content = new.content.clone();
            let bytes = event.get(content.clone()).unwrap_or_default();
            let is_known = matches!(spot.role, Role::Part { manner: Manner::Text | Manner::Json, .. });
            if is_known && bytes.is_empty() {
                continue;
            }
            let quote = usize::from(!spot.is_number);
            let spelling = content.start - quote - shape.data..content.end + quote - shape.data;
            if let Role::Part { key, .. } = &spot.role
                && is_known
                && !new.has_escapes
                && let Some(text) = self.find(key)
            {
                let place = Place { document: 0, spelling, is_json: true };
                self.put_ahead(text, bytes, place, at + content.start as u64, end, target);
                continue;
            }
            if is_known {
                // The text itself may have parts that wait.
                self.catch_up(target);
            }
            let mut findings = Vec::new();
            let mut apart =
                Target { scratch: &mut *target.scratch, out: &mut *target.out, findings: &mut findings };
            let raw = event.get(content.start - quote..content.end + quote).unwrap_or_default();
            self.mask_spot(spot, spelling, raw, at + shape.data as u64, &mut apart);
            if !findings.is_empty() {
                // What waits comes before.
                self.catch_up(target);
                target.findings.append(&mut findings);
            }
        }
        true
    }

    /// Masks a spot of a document that lies at `at`.
    fn mask_spot(
        &mut self,
        spot: &Spot,
        spelling: Range<usize>,
        raw: &[u8],
        at: u64,
        target: &mut Target<'_>,
    ) {
        let kind = if spot.is_number { LeafKind::Number } else { LeafKind::String };
        let own_at = at + spelling.start as u64;
        match &spot.role {
            Role::Own => self.mask_own(0, spelling, raw, kind, &spot.context, own_at, target),
            // An empty part says nothing.
            Role::Part { .. } if raw.len() == 2 => {}
            Role::Part { key, manner: Manner::Any } => {
                if self.says_the_same(key, raw, target) {
                    self.mask_own(0, spelling, raw, kind, &spot.context, own_at, target);
                } else {
                    self.go_on_by(0, spelling, raw, key, Manner::Any, &spot.context, at, target);
                }
            }
            Role::Part { key, manner } => {
                self.go_on_by(0, spelling, raw, key, *manner, b"", at, target);
            }
        }
    }
}
