//! Short texts that were found clean, so that they are not scanned again.
//!
//! Events of an LLM and spans of a trace repeat most of their strings: names, kinds, ids, attribute keys. A whole text
//! in which nothing was found is kept with the context that stood before it, and compared byte by byte when it seems to
//! come again. What is kept was let through as it came; nothing that was found is ever kept.

use super::mix;

/// The longest text that is kept, its context included, in bytes.
pub(super) const LEN_MAX: usize = 112;
/// Texts that are kept at once: each has one place.
const PLACES: usize = 256;

/// Texts of one ruleset.
#[derive(Default)]
pub(super) struct Clean {
    /// The ruleset's number.
    of: u64,
    /// Made when first needed.
    places: Vec<Text>,
}

/// What was clean.
#[derive(Clone, Copy)]
struct Text {
    /// Of the context and the text; 0 where nothing is kept.
    len: u8,
    /// Of the context.
    context: u8,
    bytes: [u8; LEN_MAX],
}

/// Where a text is kept, or would be.
#[derive(Clone, Copy)]
pub(super) struct Place(usize);

impl Clean {
    /// Where the text would be, of which the first `context` bytes are context; `Err` when it was found clean before.
    /// Texts that are not kept have no place.
    pub(super) fn look(&mut self, of: u64, context: usize, text: &[u8]) -> Result<Option<Place>, ()> {
        if text.len() > LEN_MAX || text.is_empty() {
            return Ok(None);
        }
        if self.of != of || self.places.is_empty() {
            self.of = of;
            self.places.clear();
            self.places.resize(PLACES, Text { len: 0, context: 0, bytes: [0; LEN_MAX] });
        }
        let place = place(text);
        match self.places.get(place) {
            Some(kept)
                if usize::from(kept.len) == text.len()
                    && usize::from(kept.context) == context
                    && kept.bytes.get(..text.len()) == Some(text) =>
            {
                Err(())
            }
            _ => Ok(Some(Place(place))),
        }
    }

    /// Keeps a text that was found clean, in place of the one that was there.
    pub(super) fn keep(&mut self, place: Place, context: usize, text: &[u8]) {
        if let Some(kept) = self.places.get_mut(place.0)
            && let Some(bytes) = kept.bytes.get_mut(..text.len())
        {
            bytes.copy_from_slice(text);
            (kept.len, kept.context) = (text.len() as u8, context as u8);
        }
    }
}

/// Eight bytes at a time.
fn place(text: &[u8]) -> usize {
    let (words, rest) = text.as_chunks::<8>();
    let hash = words.iter().fold(text.len() as u64, |hash, word| mix(hash, u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    (mix(hash, u64::from_le_bytes(last)) >> 40) as usize % PLACES
}
