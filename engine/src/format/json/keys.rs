//! The keys that lead to where a tokenizer is.

/// Bytes of a key that are remembered as context: of a longer one, the last.
const KEY_BYTES_MAX: usize = 128;

/// Keys of the containers that are open.
#[derive(Clone, Debug, Default)]
pub(in crate::format) struct Keys {
    /// By open container, outermost first: the key that its values have, and true for arrays.
    open: Vec<(Vec<u8>, bool)>,
    /// The key that was read last in the innermost object.
    key: Vec<u8>,
}

impl Keys {
    /// The key of the value that comes next; that of an array is the key of its elements.
    pub(in crate::format) fn of_value(&self) -> &[u8] {
        match self.open.last() {
            Some((key, true)) => key,
            Some((_, false)) | None => &self.key,
        }
    }

    /// How many containers are open.
    pub(in crate::format) fn depth(&self) -> usize {
        self.open.len()
    }

    /// A container opens.
    pub(in crate::format) fn open(&mut self, array: bool) {
        let key = self.of_value().to_vec();
        self.open.push((key, array));
        self.key.clear();
    }

    /// The innermost container closes.
    pub(in crate::format) fn close(&mut self) {
        self.key = self.open.pop().map(|(key, _)| key).unwrap_or_default();
    }

    /// A key begins.
    pub(in crate::format) fn begin(&mut self) {
        self.key.clear();
    }

    /// The key goes on.
    pub(in crate::format) fn push(&mut self, bytes: &[u8]) {
        self.key.extend_from_slice(bytes);
        let over = self.key.len().saturating_sub(KEY_BYTES_MAX);
        self.key.drain(..over);
    }

    /// Keys from the outermost object to the value that comes next; arrays add none.
    pub(in crate::format) fn path(&self) -> Vec<&[u8]> {
        let mut path = self.path_of_container();
        if let Some((_, false)) = self.open.last() {
            path.push(&self.key);
        }
        path
    }

    /// Keys from the outermost object to the container that was opened last.
    pub(in crate::format) fn path_of_container(&self) -> Vec<&[u8]> {
        let within = self.open.iter().map(|(_, array)| *array);
        let inner = self.open.iter().skip(1).zip(within).filter(|(_, in_array)| !in_array);
        inner.map(|((key, _), _)| key.as_slice()).collect()
    }

    /// What stands before the value that comes next; empty where it has no key.
    pub(in crate::format) fn context(&self, is_number: bool) -> Vec<u8> {
        match self.of_value() {
            [] => Vec::new(),
            key => context(key, is_number),
        }
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
