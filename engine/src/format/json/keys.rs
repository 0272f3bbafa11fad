//! The keys that lead to where a tokenizer is.

use std::ops::Range;

/// Bytes of a key that are remembered as context: of a longer one, the last.
const KEY_BYTES_MAX: usize = 128;

/// Keys of the containers that are open.
#[derive(Clone, Debug, Default)]
pub(in crate::format) struct Keys {
    /// Keys as contexts of strings, one behind another.
    bytes: Vec<u8>,
    /// Outermost first.
    open: Vec<Open>,
    /// The key that was read last in the innermost object.
    key: Range<usize>,
}

/// What stands between a key and its string.
const BEHIND: &[u8] = b"\":\"";

/// A container.
#[derive(Clone, Debug)]
struct Open {
    /// The key that its values have if it is an array, and that it has itself.
    key: Range<usize>,
    /// Where keys in it are put.
    from: usize,
    is_array: bool,
}

impl Keys {
    /// The key within a context.
    fn bytes(&self, context: &Range<usize>) -> &[u8] {
        self.bytes.get(context.start + 1..context.end.saturating_sub(BEHIND.len())).unwrap_or_default()
    }

    fn range_of_value(&self) -> &Range<usize> {
        match self.open.last() {
            Some(Open { key, is_array: true, .. }) => key,
            Some(_) | None => &self.key,
        }
    }

    /// The key of the value that comes next; that of an array is the key of its elements.
    pub(in crate::format) fn of_value(&self) -> &[u8] {
        self.bytes(self.range_of_value())
    }

    /// How many containers are open.
    pub(in crate::format) fn depth(&self) -> usize {
        self.open.len()
    }

    /// A container opens.
    pub(in crate::format) fn open(&mut self, is_array: bool) {
        let (key, from) = (self.range_of_value().clone(), self.bytes.len());
        self.open.push(Open { key, from, is_array });
        self.key = from..from;
    }

    /// The innermost container closes.
    pub(in crate::format) fn close(&mut self) {
        let Some(Open { key, from, .. }) = self.open.pop() else { return };
        self.bytes.truncate(from);
        self.key = key;
    }

    /// A key begins.
    pub(in crate::format) fn begin(&mut self) {
        let from = self.open.last().map_or(0, |open| open.from);
        self.bytes.truncate(from);
        self.key = from..from;
    }

    /// The key goes on.
    pub(in crate::format) fn push(&mut self, bytes: &[u8]) {
        if self.key.is_empty() {
            self.bytes.push(b'"');
        } else {
            self.bytes.truncate(self.key.end - BEHIND.len());
        }
        self.bytes.extend_from_slice(bytes);
        let first = self.key.start + 1;
        let over = (self.bytes.len() - first).saturating_sub(KEY_BYTES_MAX);
        if over > 0 {
            self.bytes.drain(first..first + over);
        }
        self.bytes.extend_from_slice(BEHIND);
        self.key.end = self.bytes.len();
    }

    /// Keys from the outermost object to the value that comes next; arrays add none.
    pub(in crate::format) fn path(&self) -> Vec<&[u8]> {
        let mut path = self.path_of_container();
        if let Some(Open { is_array: false, .. }) = self.open.last() {
            path.push(self.bytes(&self.key));
        }
        path
    }

    /// Keys from the outermost object to the container that was opened last.
    pub(in crate::format) fn path_of_container(&self) -> Vec<&[u8]> {
        let inner = self.open.iter().skip(1).zip(&self.open).filter(|(_, around)| !around.is_array);
        inner.map(|(open, _)| self.bytes(&open.key)).collect()
    }

    /// What stands before the value that comes next; empty where it has no key.
    pub(in crate::format) fn context(&self, is_number: bool) -> &[u8] {
        let range = self.range_of_value();
        if range.len() <= 1 + BEHIND.len() {
            return b"";
        }
        self.bytes.get(range.start..range.end - usize::from(is_number)).unwrap_or_default()
    }
}

/// What stands before the value of this key.
pub(in crate::format) fn context(key: &[u8], is_number: bool) -> Vec<u8> {
    let mut context = Vec::with_capacity(key.len() + 4);
    context.push(b'"');
    context.extend_from_slice(key);
    context.extend_from_slice(if is_number { b"\":" } else { b"\":\"" });
    context
}
