//! What a scan has decided of a text, by places in the text.

use std::ops::Range;

use crate::ruleset::RuleId;
use crate::stream::{Event, Sink};

/// Bytes that are masked, and what stands where they begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Mask {
    pub(super) from: u64,
    pub(super) to: u64,
    pub(super) text: Vec<u8>,
}

/// Takes what a stream decides.
#[derive(Clone, Debug, Default)]
pub(super) struct Decisions {
    /// Everything before is decided.
    pub(super) at: u64,
    /// Where the stream's text begins.
    pub(super) base: u64,
    /// What is masked, in order; whoever settles takes them.
    pub(super) masks: Vec<Mask>,
    /// What was last decided is masked, and that may go on.
    pub(super) in_mask: bool,
    /// What was found.
    pub(super) found: Vec<(RuleId, Range<u64>)>,
}

impl Decisions {
    pub(super) fn pass_len(&mut self, len: u64) {
        self.at += len;
        self.in_mask &= len == 0;
    }

    pub(super) fn skip_len(&mut self, len: u64) {
        match self.masks.last_mut() {
            Some(mask) if self.in_mask && mask.to == self.at => mask.to += len,
            _ => self.masks.push(Mask { from: self.at, to: self.at + len, text: Vec::new() }),
        }
        self.at += len;
        self.in_mask = true;
    }
}

impl Sink for Decisions {
    fn pass(&mut self, bytes: &[u8]) {
        self.pass_len(bytes.len() as u64);
    }

    fn emit(&mut self, bytes: &[u8]) {
        match self.masks.last_mut() {
            Some(mask) if self.in_mask && mask.from == self.at => mask.text.extend_from_slice(bytes),
            _ => self.masks.push(Mask { from: self.at, to: self.at, text: bytes.to_vec() }),
        }
        self.in_mask = true;
    }

    fn skip(&mut self, len: usize) {
        self.skip_len(len as u64);
    }

    fn event(&mut self, event: &Event) {
        self.found.push((event.rule, self.base + event.input.start..self.base + event.input.end));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_stand_where_values_begin() {
        let mut decisions = Decisions::default();
        decisions.pass(b"ab");
        decisions.emit(b"[x]");
        decisions.skip(3);
        decisions.skip(1);
        decisions.emit(b"[y]");
        decisions.skip(2);
        decisions.pass(b"c");
        decisions.skip(1);
        let mask = |from, to, text: &[u8]| Mask { from, to, text: text.to_vec() };
        assert_eq!(decisions.masks, [mask(2, 6, b"[x]"), mask(6, 8, b"[y]"), mask(9, 10, b"")]);
        assert_eq!((decisions.at, decisions.in_mask), (10, true));
    }
}
