//! Containers that say a text again, token by token: whether a value is in one.
//!
//! Tokens of one list are one text, and so are the bytes beside them; each is also looked at on its own, as the tokens
//! are that were not taken.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::format::leaves::{Decoded, Leaf, LeafKind, Leaves, feed_string};
use crate::ruleset::Ruleset;
use crate::stream::{Event, Scratch, Sink, Stream, StreamOptions};

/// Looks into such containers.
#[derive(Debug)]
pub(in crate::format) struct Restated(Stream);

impl Restated {
    pub(in crate::format) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> Restated {
        Restated(Stream::new(ruleset, options.clone()))
    }

    /// Whether a value is in it; what is not JSON may hold anything.
    pub(in crate::format) fn is_found(&mut self, container: &[u8], scratch: &mut Scratch) -> bool {
        let Some(leaves) = Leaves::of(container) else { return true };
        let mut lists: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
        for leaf in leaves.iter() {
            let text = decoded(&leaves, leaf);
            match leaf.kind {
                LeafKind::Literal => continue,
                LeafKind::Number => {
                    if let (Some(list), Ok(byte)) = (bytes_list(leaves.path(leaf)), parse(&text)) {
                        lists.entry(list).or_default().push(byte);
                        continue;
                    }
                }
                LeafKind::String => {
                    lists.entry(list(leaves.path(leaf))).or_default().extend_from_slice(&text);
                }
                LeafKind::Key => {}
            }
            if self.has_value(&text, scratch) {
                return true;
            }
        }
        lists.values().any(|text| self.has_value(text, scratch))
    }

    fn has_value(&mut self, text: &[u8], scratch: &mut Scratch) -> bool {
        let mut seen = Seen(false);
        self.0.push_last(scratch, text, &mut seen);
        seen.0
    }
}

fn parse(text: &[u8]) -> Result<u8, ()> {
    std::str::from_utf8(text).map_err(drop)?.parse().map_err(drop)
}

fn decoded(leaves: &Leaves<'_>, leaf: &Leaf) -> Vec<u8> {
    match leaf.kind {
        LeafKind::Key | LeafKind::String => {
            let mut text = Decoded(Vec::new());
            // The leaf was tokenized before: it can't fail.
            let _ = feed_string(leaves.bytes(leaf.spelling()), &mut text);
            text.0
        }
        LeafKind::Number | LeafKind::Literal => leaves.bytes(leaf.spelling()).to_vec(),
    }
}

fn is_index(part: &[u8]) -> bool {
    part.iter().all(u8::is_ascii_digit)
}

/// The path without the place of its token.
fn list(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = path.split(|b| *b == b'.').collect();
    if let Some(at) = parts.iter().position(|part| is_index(part)) {
        parts.remove(at);
    }
    parts.join(&b'.')
}

/// As [`list`], for a byte of a token.
fn bytes_list(path: &[u8]) -> Option<Vec<u8>> {
    let mut parts = path.rsplitn(3, |b| *b == b'.');
    let (last, name, outer) = (parts.next()?, parts.next()?, parts.next()?);
    (is_index(last) && name == b"bytes").then(|| [&list(outer)[..], b".bytes"].concat())
}

/// Whether anything is masked.
struct Seen(bool);

impl Sink for Seen {
    fn pass(&mut self, _bytes: &[u8]) {}
    fn emit(&mut self, _bytes: &[u8]) {
        self.0 = true;
    }
    fn skip(&mut self, _len: usize) {
        self.0 = true;
    }
    fn event(&mut self, _event: &Event) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::rules;

    #[test]
    fn values_are_found_over_tokens_and_bytes() {
        let mut restated = Restated::new(&rules(), &StreamOptions::default());
        let mut scratch = Scratch::new();
        for (container, is_found) in [
            (&br#"{"content":[{"token":"a","bytes":[97]},{"token":"b","bytes":null}]}"#[..], false),
            (br#"{"content":[{"token":"ghp_Ab"},{"token":"cd1234","top_logprobs":[]}]}"#, true),
            (br#"[{"token":"ghp_Abcd","logprob":-1},{"token":"1234"}]"#, true),
            (br#"{"tokens":["ghp_","Abcd","1234"],"token_logprobs":[-1]}"#, true),
            (br#"{"tokens":["x"],"top_logprobs":[{"ghp_Abcd1234":-1}]}"#, true),
            (br#"[{"token":"?","bytes":[103,104,112,95,65,98]},{"token":"?","bytes":[99,100,49,50,51,52]}]"#, true),
            (br#"[{"top_logprobs":[{"token":"x"},{"token":"ghp_Ab"}]},{"top_logprobs":[{"token":"y"},{"token":"cd1234"}]}]"#, true),
            (br#"[{"token":"ghp_"}"#, true),
        ] {
            assert_eq!(restated.is_found(container, &mut scratch), is_found, "{}", String::from_utf8_lossy(container));
        }
    }
}
