//! The texts of one JSON document that is in memory whole, with their paths.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

use super::json::{Fail, Handler, Kind, Tokens};
use super::llm;

/// A scalar or key of the document.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    path: Range<usize>,
    /// Its bytes in the document, without quotes.
    pub(super) content: Range<usize>,
    pub(super) kind: LeafKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeafKind {
    Key,
    String,
    Number,
    /// `true`, `false` or `null`.
    Literal,
}

impl Leaf {
    pub(super) fn is_string(&self) -> bool {
        self.kind == LeafKind::String
    }

    /// Its bytes in the document, with quotes.
    pub(super) fn spelling(&self) -> Range<usize> {
        match self.kind {
            LeafKind::Key | LeafKind::String => self.content.start - 1..self.content.end + 1,
            LeafKind::Number | LeafKind::Literal => self.content.clone(),
        }
    }
}

/// All leaves of a document, in order.
#[derive(Debug)]
pub(super) struct Leaves<'a> {
    data: &'a [u8],
    /// Paths, one after another: keys and indexes joined by dots.
    paths: Vec<u8>,
    leaves: Vec<Leaf>,
    /// Containers that restate texts: their bytes, and the index of their choice.
    restating: Vec<(Range<usize>, u64)>,
}

impl<'a> Leaves<'a> {
    /// The leaves of `data`; `None` when it is not one JSON value.
    pub(super) fn of(data: &'a [u8]) -> Option<Leaves<'a>> {
        let mut collector = Collector::default();
        let mut tokens = Tokens::new(false);
        tokens.feed(data, &mut collector).ok()?;
        tokens.end(&mut collector).ok()?;
        let Collector { paths, leaves, restating, .. } = collector;
        Some(Leaves { data, paths, leaves, restating })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Leaf> {
        self.leaves.iter()
    }

    pub(super) fn restating(&self) -> &[(Range<usize>, u64)] {
        &self.restating
    }

    pub(super) fn path(&self, leaf: &Leaf) -> &[u8] {
        self.paths.get(leaf.path.clone()).unwrap_or_default()
    }

    pub(super) fn bytes(&self, range: Range<usize>) -> &'a [u8] {
        self.data.get(range).unwrap_or_default()
    }

    /// The scalar at `path`.
    pub(super) fn find(&self, path: &str) -> Option<&Leaf> {
        self.leaves.iter().find(|l| l.kind != LeafKind::Key && self.path(l) == path.as_bytes())
    }

    /// The string at `path`, decoded.
    #[cfg(test)]
    pub(super) fn string(&self, path: &str) -> Option<String> {
        self.text(self.find(path)?)
    }

    /// The string of a leaf, decoded.
    pub(super) fn text(&self, leaf: &Leaf) -> Option<String> {
        if !leaf.is_string() {
            return None;
        }
        let mut text = Decoded(Vec::new());
        feed_string(self.bytes(leaf.spelling()), &mut text).ok()?;
        String::from_utf8(text.0).ok()
    }

    /// The number at `path`.
    #[cfg(test)]
    pub(super) fn integer(&self, path: &str) -> Option<u64> {
        let leaf = self.find(path).filter(|l| l.kind == LeafKind::Number)?;
        std::str::from_utf8(self.bytes(leaf.content.clone())).ok()?.parse().ok()
    }

    /// Keys from the outermost object to the leaf, without indexes.
    pub(super) fn keys(&self, leaf: &Leaf) -> Vec<&[u8]> {
        keys_of(self.path(leaf))
    }
}

fn keys_of(path: &[u8]) -> Vec<&[u8]> {
    let is_index = |part: &&[u8]| !part.is_empty() && part.iter().all(u8::is_ascii_digit);
    path.split(|b| *b == b'.').filter(|part| !is_index(part) && !part.is_empty()).collect()
}

/// What is told of a string's text, as [`Handler`] has it.
pub(super) trait StringHandler {
    /// Bytes of the text, spelled as they are.
    fn plain(&mut self, bytes: &[u8], at: u64);
    /// Bytes of the text, which ends with them.
    fn last(&mut self, bytes: &[u8], at: u64) {
        self.plain(bytes, at);
        self.end();
    }
    /// A character of the text, spelled by an escape.
    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64);
    /// The text ends.
    fn end(&mut self) {}
}

/// Feeds a string with its quotes to a handler of its text.
pub(super) fn feed_string(spelling: &[u8], handler: &mut dyn StringHandler) -> Result<(), Fail> {
    let (mut tokens, mut only) = (Tokens::new(false), OnlyString(handler));
    tokens.feed(spelling, &mut only)?;
    tokens.end(&mut only)
}

/// A document that is a string.
struct OnlyString<'a>(&'a mut dyn StringHandler);

impl Handler for OnlyString<'_> {
    fn structure(&mut self, _bytes: &[u8], _at: u64) {}
    fn open(&mut self, _array: bool) {}
    fn close(&mut self) {}
    fn literal(&mut self) {}
    fn begin(&mut self, _kind: Kind) {}
    fn plain(&mut self, bytes: &[u8], at: u64) {
        self.0.plain(bytes, at);
    }
    fn last(&mut self, bytes: &[u8], at: u64) {
        self.0.last(bytes, at);
    }
    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64) {
        self.0.spelled(decoded, raw, at);
    }
    fn end(&mut self) {
        self.0.end();
    }
    fn over(&self) -> Option<&'static str> {
        None
    }
}

/// The text of a string.
pub(super) struct Decoded(pub(super) Vec<u8>);

impl StringHandler for Decoded {
    fn plain(&mut self, bytes: &[u8], _at: u64) {
        self.0.extend_from_slice(bytes);
    }
    fn spelled(&mut self, decoded: &[u8], _raw: &[u8], _at: u64) {
        self.0.extend_from_slice(decoded);
    }
}

/// Collects leaves as the tokenizer tells them.
#[derive(Default)]
struct Collector {
    paths: Vec<u8>,
    leaves: Vec<Leaf>,
    restating: Vec<(Range<usize>, u64)>,
    /// Path of the container that is open, and by container its length and what is in it.
    path: Vec<u8>,
    open: Vec<Open>,
    key: Vec<u8>,
    kind: Option<LeafKind>,
    /// End of what has been told.
    at: usize,
    start: usize,
}

struct Open {
    array: bool,
    next: u64,
    path_len: usize,
    restates: Option<(usize, u64)>,
}

impl Collector {
    fn end_literal(&mut self) {
        if self.kind == Some(LeafKind::Literal) {
            self.add(LeafKind::Literal, self.start..self.at);
        }
    }

    fn add(&mut self, kind: LeafKind, content: Range<usize>) {
        self.kind = None;
        let from = self.paths.len();
        self.paths.extend_from_slice(&self.path);
        if kind == LeafKind::Key {
            push_part(&mut self.paths, from, &self.key);
        } else {
            let part = self.part();
            push_part(&mut self.paths, from, &part);
        }
        self.leaves.push(Leaf { path: from..self.paths.len(), content, kind });
    }

    /// The key or index of the value that is being told; an index is used up.
    fn part(&mut self) -> Vec<u8> {
        match self.open.last_mut() {
            Some(open) if open.array => {
                open.next += 1;
                (open.next - 1).to_string().into_bytes()
            }
            Some(_) => self.key.clone(),
            None => Vec::new(),
        }
    }
}

fn push_part(path: &mut Vec<u8>, from: usize, part: &[u8]) {
    if path.len() > from {
        path.push(b'.');
    }
    path.extend_from_slice(part);
}

impl Handler for Collector {
    fn structure(&mut self, bytes: &[u8], at: u64) {
        if self.kind == Some(LeafKind::Literal) {
            let word = bytes.iter().take_while(|b| b.is_ascii_alphabetic()).count();
            self.at = at as usize + word;
            if word < bytes.len() {
                self.end_literal();
            }
        }
        self.at = at as usize + bytes.len();
    }

    fn open(&mut self, array: bool) {
        self.end_literal();
        let part = self.part();
        let path_len = self.path.len();
        push_part(&mut self.path, 0, &part);
        let restates = llm::is_restating(&keys_of(&self.path)).then(|| {
            let place = self.path.split(|b| *b == b'.').nth(1).and_then(|p| std::str::from_utf8(p).ok());
            (self.at - 1, place.and_then(|p| p.parse().ok()).unwrap_or(0))
        });
        self.open.push(Open { array, next: 0, path_len, restates });
    }

    fn close(&mut self) {
        self.end_literal();
        if let Some(open) = self.open.pop() {
            if let Some((from, choice)) = open.restates {
                self.restating.push((from..self.at, choice));
            }
            self.path.truncate(open.path_len);
        }
    }

    fn literal(&mut self) {
        self.end_literal();
        self.kind = Some(LeafKind::Literal);
        self.start = self.at;
    }

    fn begin(&mut self, kind: Kind) {
        self.end_literal();
        self.start = self.at;
        self.kind = Some(match kind {
            Kind::Key => LeafKind::Key,
            Kind::String => LeafKind::String,
            Kind::Number => LeafKind::Number,
        });
        if kind == Kind::Key {
            self.key.clear();
        }
    }

    fn plain(&mut self, bytes: &[u8], at: u64) {
        if self.kind == Some(LeafKind::Key) {
            self.key.extend_from_slice(bytes);
        }
        self.at = at as usize + bytes.len();
    }

    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64) {
        if self.kind == Some(LeafKind::Key) {
            self.key.extend_from_slice(decoded);
        }
        self.at = at as usize + raw.len();
    }

    fn end(&mut self) {
        if let Some(kind) = self.kind {
            self.add(kind, self.start..self.at);
        }
    }

    fn over(&self) -> Option<&'static str> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_and_spellings() {
        let data = br#" {"id":"a\"b","choices":[{"index":3,"delta":{"content":"x"},"logprobs":{"content":[1]},"f":null}],"n":[true,-1.5e3]} "#;
        let leaves = Leaves::of(data).unwrap();
        let all: Vec<String> = leaves
            .iter()
            .filter(|l| l.kind != LeafKind::Key)
            .map(|l| {
                let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
                format!("{}={}", text(leaves.path(l)), text(leaves.bytes(l.spelling())))
            })
            .collect();
        assert_eq!(
            all,
            [
                r#"id="a\"b""#,
                "choices.0.index=3",
                r#"choices.0.delta.content="x""#,
                "choices.0.logprobs.content.0=1",
                "choices.0.f=null",
                "n.0=true",
                "n.1=-1.5e3",
            ]
        );
        assert_eq!(leaves.string("id").unwrap(), "a\"b");
        assert_eq!(leaves.integer("choices.0.index"), Some(3));
        let (range, choice) = leaves.restating().last().unwrap().clone();
        assert_eq!((leaves.bytes(range), choice), (br#"{"content":[1]}"#.as_slice(), 0));
        assert!(Leaves::of(b"{} x").is_none() && Leaves::of(b"{").is_none());
    }
}
