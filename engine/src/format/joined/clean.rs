//! Leaves in which nothing was found: most of an event says what the one before it said.
#![deny(clippy::indexing_slicing)]

use crate::format::leaves::LeafKind;

/// Leaves that are remembered.
const SLOTS: usize = 64;
/// Longest leaf, with its key, that is.
const BYTES_MAX: usize = 256;

/// A memory of leaves, each in a slot of its own: what is found in one depends on nothing but its kind, key and spelling.
#[derive(Debug, Default)]
pub(super) struct Clean(Vec<Option<Slot>>);

#[derive(Debug)]
struct Slot {
    kind: LeafKind,
    /// Key and spelling, one after another.
    bytes: Vec<u8>,
    key_len: usize,
}

impl Slot {
    fn is(&self, kind: LeafKind, key: &[u8], raw: &[u8]) -> bool {
        self.kind == kind && self.bytes.split_at_checked(self.key_len) == Some((key, raw))
    }
}

/// FNV-1a.
fn place(key: &[u8], raw: &[u8]) -> usize {
    let step = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193);
    key.iter().chain(raw).fold(0x811c_9dc5, step) as usize % SLOTS
}

impl Clean {
    /// Whether nothing was found in such a leaf.
    pub(super) fn has(&self, kind: LeafKind, key: &[u8], raw: &[u8]) -> bool {
        let is_short = key.len() + raw.len() <= BYTES_MAX;
        let slot = || self.0.get(place(key, raw))?.as_ref();
        is_short && slot().is_some_and(|slot| slot.is(kind, key, raw))
    }

    /// Nothing was found in this leaf.
    pub(super) fn add(&mut self, kind: LeafKind, key: &[u8], raw: &[u8]) {
        if key.len() + raw.len() > BYTES_MAX {
            return;
        }
        self.0.resize_with(SLOTS, || None);
        let Some(slot) = self.0.get_mut(place(key, raw)) else { return };
        let slot = slot.get_or_insert_with(|| Slot { kind, bytes: Vec::new(), key_len: 0 });
        slot.kind = kind;
        slot.key_len = key.len();
        slot.bytes.clear();
        slot.bytes.extend_from_slice(key);
        slot.bytes.extend_from_slice(raw);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_told_apart_by_all_that_matters() {
        let mut clean = Clean::default();
        assert!(!clean.has(LeafKind::String, b"ab", b"\"c\""));
        clean.add(LeafKind::String, b"ab", b"\"c\"");
        assert!(clean.has(LeafKind::String, b"ab", b"\"c\""));
        assert!(!clean.has(LeafKind::Key, b"ab", b"\"c\""));
        assert!(!clean.has(LeafKind::String, b"a", b"b\"c\""));
        assert!(!clean.has(LeafKind::String, b"ab", b"\"d\""));
        for (len, is_kept) in [(BYTES_MAX, true), (BYTES_MAX + 1, false)] {
            let raw = vec![b'1'; len];
            clean.add(LeafKind::Number, b"", &raw);
            assert_eq!(clean.has(LeafKind::Number, b"", &raw), is_kept);
        }
    }
}
