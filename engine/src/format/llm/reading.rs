//! What one event is to the texts of its stream.
//!
//! Every text has a key: the API, the index of its choice, block, output or candidate, and its field, outermost first,
//! so that what ends with an event is a prefix of keys:
//!
//! ```text
//!   OpenAI chat, completions   c/CHOICE/delta.content       Bedrock Converse   v/BLOCK/delta.text
//!   OpenAI Responses           r/OUTPUT/PART/FIELD          Gemini             g/CANDIDATE/text
//!   Anthropic messages         b/BLOCK/delta.text           of one member      o/completion
//!   Ollama, Cohere             l/message.content
//!   a schema that is not known u/TYPE/path, its indexes in it
//! ```
#![deny(clippy::indexing_slicing)]

use std::borrow::Cow;
use std::io::Write;
use std::ops::Range;

use crate::format::leaves::{Leaf, LeafKind, Leaves};

/// How a text is scanned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Manner {
    /// As text.
    Text,
    /// As JSON, whose escapes may be cut between deltas; as text where it is none.
    Json,
    /// Each leaf on its own behind its key, and all leaves as one text: nothing says whether they belong together.
    Any,
}

/// What a string of an event is, where it is more than a text of its own.
#[derive(Clone, Debug)]
pub(in crate::format) struct Said {
    /// Place among the event's leaves.
    pub(in crate::format) leaf: usize,
    /// The text it goes on with; without one it says a text again from its start to its end.
    pub(in crate::format) key: Option<Range<usize>>,
    pub(in crate::format) manner: Manner,
}

/// What an event is. Its memory is used again for the next one.
#[derive(Debug, Default)]
pub(in crate::format) struct Reading {
    keys: Vec<u8>,
    said: Vec<Said>,
    ends: Vec<Range<usize>>,
    ends_all: bool,
}

/// Strings that name something and are never a part of a longer one.
const NAMES: &[&[u8]] = &[
    b"id",
    b"type",
    b"object",
    b"model",
    b"role",
    b"name",
    b"status",
    b"finish_reason",
    b"stop_reason",
    b"system_fingerprint",
    b"service_tier",
    b"created_at",
    b"signature",
];

/// Outermost members that carry a completion, piece by piece: of Titan, Llama, and the older completions of Anthropic.
const COMPLETIONS: &[&[u8]] = &[b"outputText", b"generation", b"completion"];
/// Members that say, as a string, that such a completion has ended.
const COMPLETION_ENDS: &[&[u8]] = &[b"completionReason", b"stop_reason"];

impl Reading {
    /// What leaves are more than texts of their own, in the order of the leaves.
    pub(in crate::format) fn said(&self) -> &[Said] {
        &self.said
    }

    pub(in crate::format) fn key(&self, range: &Range<usize>) -> &[u8] {
        self.keys.get(range.clone()).unwrap_or_default()
    }

    /// Prefixes of the keys of texts that end with the event; an empty one for all.
    pub(in crate::format) fn ends(&self) -> impl Iterator<Item = &[u8]> {
        let all = self.ends_all.then_some(&b""[..]);
        all.into_iter().chain(self.ends.iter().map(|range| self.key(range)))
    }

    /// Whether the event is one of a stream of a known API: a part of a text, or what such a stream begins with.
    pub(in crate::format) fn is_of_stream(&self, leaves: &Leaves<'_>) -> bool {
        const FIRST: &[&[u8]] = &[b"message_start", b"content_block_start", b"response.created"];
        let kind = leaves.find("type").filter(|l| l.is_string()).map(|l| said(leaves, l));
        kind.is_some_and(|kind| FIRST.contains(&kind.as_ref()))
            || self.said.iter().any(|s| s.key.as_ref().is_some_and(|key| !self.key(key).starts_with(b"u/")))
    }

    /// Reads an event. `name`: what its carrier says it is, as the header `:event-type` of an event stream does.
    pub(in crate::format) fn read(&mut self, leaves: &Leaves<'_>, name: Option<&str>) {
        self.keys.clear();
        self.said.clear();
        self.ends.clear();
        self.ends_all = false;
        let kind = leaves.find("type").filter(|l| l.is_string()).map(|l| said(leaves, l));
        let kind = kind.as_deref();
        let under = |prefix: &[u8]| leaves.iter().any(|l| leaves.path(l).starts_with(prefix));
        match kind {
            Some(b"content_block_delta") => self.block(leaves, b"delta."),
            Some(b"content_block_start") => self.block(leaves, b"content_block."),
            Some(b"content_block_stop") => {
                let index = number(leaves, b"", b"index").unwrap_or(0);
                self.end(|keys| write!(keys, "b/{index}/"));
            }
            Some(b"message_start" | b"ping") => {}
            Some(b"message_delta" | b"message_stop" | b"error") => self.ends_all = true,
            Some(kind) if kind.starts_with(b"response.") => self.response(leaves, kind),
            _ if self.converse(leaves, name) => {}
            _ if self.lines(leaves) => {}
            _ if under(b"choices.") => self.choices(leaves),
            _ if under(b"candidates.") => self.candidates(leaves),
            _ if leaves.find("error.message").is_some() => self.ends_all = true,
            _ if is_complete(leaves, kind) || self.completion(leaves) => {}
            _ => {
                for (n, leaf) in strings(leaves) {
                    self.any(leaves, n, leaf, kind);
                }
            }
        }
    }

    fn part(&mut self, leaf: usize, manner: Manner, key: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        let key = self.spell(key);
        self.said.push(Said { leaf, key: Some(key), manner });
    }

    fn again(&mut self, leaf: usize, manner: Manner) {
        self.said.push(Said { leaf, key: None, manner });
    }

    fn end(&mut self, prefix: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) {
        let prefix = self.spell(prefix);
        self.ends.push(prefix);
    }

    fn spell(&mut self, key: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Range<usize> {
        let from = self.keys.len();
        // Writing to memory can't fail.
        let _ = key(&mut self.keys);
        from..self.keys.len()
    }

    /// A string of which nothing is known.
    fn any(&mut self, leaves: &Leaves<'_>, n: usize, leaf: &Leaf, kind: Option<&[u8]>) {
        if is_name(leaves.path(leaf)) {
            return;
        }
        self.part(n, Manner::Any, |keys| {
            keys.extend_from_slice(b"u/");
            keys.extend_from_slice(kind.unwrap_or_default());
            keys.push(b'/');
            place(leaves, leaf, keys)
        });
    }

    /// Anthropic messages: a delta of a block, or its start, which may hold the first of its text.
    fn block(&mut self, leaves: &Leaves<'_>, container: &[u8]) {
        let index = number(leaves, b"", b"index").unwrap_or(0);
        let is_delta = container == b"delta.";
        for (n, leaf) in strings(leaves) {
            let path = leaves.path(leaf);
            let manner = match path.strip_prefix(container) {
                Some(b"text" | b"thinking") => Manner::Text,
                Some(b"partial_json") => Manner::Json,
                Some(_) if is_delta && !is_name(path) => Manner::Any,
                _ => continue,
            };
            let field = path.get(container.len()..).unwrap_or_default();
            self.part(n, manner, |keys| {
                write!(keys, "b/{index}/")?;
                keys.write_all(field)
            });
        }
    }

    /// An event of Bedrock's ConverseStream (`contentBlockDelta`, `contentBlockStop`, `messageStop`), bare, or within a
    /// member of its own name, as the native events of Nova are. False: it is none.
    fn converse(&mut self, leaves: &Leaves<'_>, name: Option<&str>) -> bool {
        if matches!(name, Some("messageStop" | "metadata")) || leaves.find("messageStop.stopReason").is_some()
        {
            self.ends_all = true;
            return true;
        }
        let bare = number(leaves, b"", b"contentBlockIndex");
        let stop = match name {
            Some("contentBlockStop") => bare,
            _ => number(leaves, b"contentBlockStop", b"contentBlockIndex"),
        };
        if let Some(index) = stop {
            self.end(|keys| write!(keys, "v/{index}/"));
            return true;
        }
        let nested = number(leaves, b"contentBlockDelta", b"contentBlockIndex");
        let Some(index) = nested.or(bare) else { return false };
        let outer: &[u8] = if nested.is_some() { b"contentBlockDelta." } else { b"" };
        for (n, leaf) in strings(leaves) {
            let path = leaves.path(leaf);
            let Some(field) = path.strip_prefix(outer).and_then(|p| p.strip_prefix(b"delta.")) else {
                continue;
            };
            let manner = match field {
                b"text" | b"reasoningContent.text" => Manner::Text,
                b"toolUse.input" => Manner::Json,
                b"reasoningContent.redactedContent" => continue,
                _ if is_name(path) => continue,
                _ => Manner::Any,
            };
            self.part(n, manner, |keys| {
                write!(keys, "v/{index}/")?;
                keys.write_all(field)
            });
        }
        true
    }

    /// A completion whose text is an outermost member. False: it is none.
    fn completion(&mut self, leaves: &Leaves<'_>) -> bool {
        for (n, leaf) in strings(leaves) {
            let path = leaves.path(leaf);
            if COMPLETIONS.contains(&path) {
                self.part(n, Manner::Text, |keys| {
                    keys.extend_from_slice(b"o/");
                    keys.write_all(path)
                });
            }
        }
        if self.said.is_empty() {
            return false;
        }
        self.ends_all = strings(leaves).any(|(_, leaf)| COMPLETION_ENDS.contains(&leaves.path(leaf)));
        true
    }

    /// A line of Ollama's answers, or of Cohere's, which say in each whether it is the last. False: it is none.
    fn lines(&mut self, leaves: &Leaves<'_>) -> bool {
        const OLLAMA: &[&[u8]] = &[b"response", b"thinking", b"message.content", b"message.thinking"];
        const COHERE: &[&[u8]] = &[b"text"];
        const COHERE_AGAIN: &[u8] = b"response.text";
        let literal = |name| leaves.find(name).filter(|l| l.kind == LeafKind::Literal);
        let (last, texts) = match (literal("done"), literal("is_finished")) {
            (Some(last), _) => (last, OLLAMA),
            (None, Some(last)) => (last, COHERE),
            (None, None) => return false,
        };
        let is_text = |path: &[u8]| texts.contains(&path) || (texts == COHERE && path == COHERE_AGAIN);
        if !strings(leaves).any(|(_, leaf)| is_text(leaves.path(leaf))) {
            return false;
        }
        for (n, leaf) in strings(leaves) {
            let path = leaves.path(leaf);
            if is_text(path) && path == COHERE_AGAIN {
                self.again(n, Manner::Text);
            } else if is_text(path) || !is_name(path) {
                let manner = if is_text(path) { Manner::Text } else { Manner::Any };
                self.part(n, manner, |keys| {
                    keys.extend_from_slice(b"l/");
                    place(leaves, leaf, keys)
                });
            }
        }
        if leaves.bytes(last.content.clone()) == b"true" {
            self.end(|keys| keys.write_all(b"l/"));
        }
        true
    }

    /// OpenAI chat and completions.
    fn choices(&mut self, leaves: &Leaves<'_>) {
        for (n, leaf) in strings(leaves) {
            let path = leaves.path(leaf);
            let Some((outer, place, rest)) = element(path, b"choices.") else { continue };
            let index = || number(leaves, outer, b"index").unwrap_or(place);
            let manner = match rest {
                b"delta.content" | b"delta.refusal" | b"delta.reasoning_content" | b"delta.reasoning" => {
                    Manner::Text
                }
                b"text" => Manner::Text,
                b"delta.function_call.arguments" => Manner::Json,
                b"finish_reason" => {
                    let index = index();
                    self.end(|keys| write!(keys, "c/{index}/"));
                    continue;
                }
                _ if rest.starts_with(b"delta.tool_calls.") && rest.ends_with(b".function.arguments") => {
                    Manner::Json
                }
                // Tokens by which the text is said again, one after another.
                _ if rest.starts_with(b"logprobs.") => {
                    if let Some(list) = tokens(rest) {
                        let index = index();
                        self.part(n, Manner::Text, |keys| {
                            write!(keys, "c/{index}/")?;
                            keys.write_all(list)
                        });
                    }
                    continue;
                }
                _ if rest.starts_with(b"delta.") && !is_name(path) => Manner::Any,
                b"message.content" | b"message.refusal" => {
                    self.again(n, Manner::Text);
                    continue;
                }
                _ => continue,
            };
            let index = index();
            self.part(n, manner, |keys| {
                write!(keys, "c/{index}/")?;
                self::place(leaves, leaf, keys)
            });
        }
    }

    /// Gemini.
    fn candidates(&mut self, leaves: &Leaves<'_>) {
        for (n, leaf) in strings(leaves) {
            let path = leaves.path(leaf);
            let Some((outer, place, rest)) = element(path, b"candidates.") else { continue };
            let index = number(leaves, outer, b"index").unwrap_or(place);
            if matches!(rest, b"finishReason" | b"finish_reason") {
                self.end(|keys| write!(keys, "g/{index}/"));
            } else if let Some((part, _, field)) = element(rest, b"content.parts.") {
                if field == b"text" {
                    // The parts of an answer are numbered anew in each event.
                    let outer = path.get(..path.len() - rest.len() + part.len()).unwrap_or_default();
                    let thought = member(leaves, outer, b"thought");
                    let is_thought = thought.is_some_and(|l| leaves.bytes(l.content.clone()) == b"true");
                    self.part(n, Manner::Text, |keys| write!(keys, "g/{index}/text/{is_thought}"));
                } else if !is_name(path) {
                    self.part(n, Manner::Any, |keys| {
                        write!(keys, "g/{index}/")?;
                        self::place(leaves, leaf, keys)
                    });
                }
            } else if rest.starts_with(b"logprobsResult.chosenCandidates.") && rest.ends_with(b".token") {
                self.part(n, Manner::Text, |keys| write!(keys, "g/{index}/tokens"));
            }
        }
    }

    /// OpenAI Responses: deltas, and all that says their texts again.
    fn response(&mut self, leaves: &Leaves<'_>, kind: &[u8]) {
        let name = kind.strip_prefix(b"response.").unwrap_or(kind);
        if matches!(name, b"completed" | b"incomplete" | b"failed") {
            self.ends_all = true;
        }
        let (base, is_delta) = match name.strip_suffix(b".delta").or_else(|| name.strip_suffix(b"_delta")) {
            Some(base) => (base, true),
            None => (name.strip_suffix(b".done").unwrap_or(name), false),
        };
        let is_json = base.ends_with(b"arguments");
        let start = |keys: &mut Vec<u8>| -> std::io::Result<()> {
            match (number(leaves, b"", b"output_index"), member(leaves, b"", b"item_id")) {
                (Some(index), _) => write!(keys, "r/{index}/"),
                (None, Some(item)) => {
                    keys.extend_from_slice(b"r/");
                    keys.extend_from_slice(&said(leaves, item));
                    keys.write_all(b"/")
                }
                (None, None) => keys.write_all(b"r//"),
            }
        };
        let inner = |keys: &mut Vec<u8>| -> std::io::Result<()> {
            for name in [&b"content_index"[..], b"summary_index"] {
                if let Some(index) = number(leaves, b"", name) {
                    keys.extend_from_slice(name);
                    write!(keys, "{index}/")?;
                }
            }
            Ok(())
        };
        if name.ends_with(b".done") {
            let is_part = matches!(base, b"content_part" | b"reasoning_summary_part");
            self.end(|keys| {
                start(keys)?;
                if base != b"output_item" {
                    inner(keys)?;
                }
                keys.write_all(if is_part || base == b"output_item" { b"" } else { base })
            });
        }
        for (n, leaf) in strings(leaves) {
            let path = leaves.path(leaf);
            if is_delta {
                let field: &[u8] = match path {
                    b"delta" => b"",
                    _ if path.starts_with(b"delta.") && !is_name(path) => path,
                    _ if path.starts_with(b"logprobs.") && tokens(path).is_some() => b"logprobs",
                    _ => continue,
                };
                let manner = match field {
                    b"" if is_json => Manner::Json,
                    b"" | b"logprobs" => Manner::Text,
                    _ => Manner::Any,
                };
                self.part(n, manner, |keys| {
                    start(keys)?;
                    inner(keys)?;
                    keys.extend_from_slice(base);
                    keys.write_all(field)
                });
            } else {
                let last = path.rsplit(|b| *b == b'.').next().unwrap_or_default();
                let is_outer = path.len() == last.len();
                let is_text = is_outer
                    || [&b"part."[..], b"item.", b"response.output."].iter().any(|p| path.starts_with(p));
                match last {
                    b"arguments" if is_text => self.again(n, Manner::Json),
                    b"text" | b"refusal" | b"input" | b"code" | b"transcript" if is_text => {
                        self.again(n, Manner::Text);
                    }
                    _ => {}
                }
            }
        }
    }
}

/// Whether [`Reading::read`] may depend on what the scalar at this path says, not only on that it is there.
pub(in crate::format) fn is_read(path: &[u8]) -> bool {
    let last = path.rsplit(|b| *b == b'.').next().unwrap_or_default();
    matches!(last, b"type" | b"item_id" | b"jsonPath" | b"json_path" | b"index" | b"thought")
        || last.ends_with(b"_index")
        || last.ends_with(b"Index")
}

/// Events that are whole messages by their protocol: nothing goes on in the next one, which may never come.
fn is_complete(leaves: &Leaves<'_>, kind: Option<&[u8]>) -> bool {
    kind.is_none() && leaves.find("jsonrpc").is_some()
}

fn strings<'a>(leaves: &'a Leaves<'_>) -> impl Iterator<Item = (usize, &'a Leaf)> {
    leaves.iter().enumerate().filter(|(_, l)| l.is_string())
}

/// What a scalar says, without escapes.
fn said<'a>(leaves: &Leaves<'a>, leaf: &Leaf) -> Cow<'a, [u8]> {
    let raw = leaves.bytes(leaf.content.clone());
    let text = if raw.contains(&b'\\') { leaves.text(leaf) } else { None };
    match text {
        Some(text) => Cow::Owned(text.into_bytes()),
        None => Cow::Borrowed(raw),
    }
}

fn is_name(path: &[u8]) -> bool {
    let last = path.rsplit(|b| *b == b'.').next().unwrap_or_default();
    NAMES.contains(&last) || last.ends_with(b"_id") || last.ends_with(b"Id")
}

/// The scalar `name` of the object at `outer`.
fn member<'a>(leaves: &'a Leaves<'_>, outer: &[u8], name: &[u8]) -> Option<&'a Leaf> {
    leaves.iter().find(|l| {
        let path = leaves.path(l);
        let inner = match outer {
            [] => Some(path),
            _ => path.strip_prefix(outer).and_then(|p| p.strip_prefix(b".")),
        };
        l.kind != LeafKind::Key && inner == Some(name)
    })
}

fn number(leaves: &Leaves<'_>, outer: &[u8], name: &[u8]) -> Option<u64> {
    let leaf = member(leaves, outer, name).filter(|l| l.kind == LeafKind::Number)?;
    digits(leaves.bytes(leaf.content.clone()))
}

fn digits(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// Splits `prefixN.rest` to `prefixN`, N and `rest`.
fn element<'a>(path: &'a [u8], prefix: &[u8]) -> Option<(&'a [u8], u64, &'a [u8])> {
    let after = path.strip_prefix(prefix)?;
    let dot = after.iter().position(|b| *b == b'.')?;
    let place = digits(after.get(..dot)?)?;
    Some((path.get(..prefix.len() + dot)?, place, after.get(dot + 1..)?))
}

/// The list that a token of log probabilities is in; none for the tokens that were not taken.
fn tokens(path: &[u8]) -> Option<&[u8]> {
    let (head, last) = path.cut_last(b'.')?;
    if last == b"token" {
        let (list, _) = head.cut_last(b'.')?;
        return (!path.windows(12).any(|w| w == b"top_logprobs")).then_some(list);
    }
    (head.ends_with(b"tokens") && digits(last).is_some()).then_some(head)
}

trait Split {
    fn cut_last(&self, byte: u8) -> Option<(&[u8], &[u8])>;
}

impl Split for [u8] {
    /// Before and behind the last of these bytes.
    fn cut_last(&self, byte: u8) -> Option<(&[u8], &[u8])> {
        let at = self.iter().rposition(|b| *b == byte)?;
        Some((self.get(..at)?, self.get(at + 1..)?))
    }
}

/// Members by which elements are told apart: their value stands for the place in the array.
fn is_index(leaf: &Leaf, name: &[u8]) -> bool {
    match leaf.kind {
        LeafKind::Number => name == b"index" || name.ends_with(b"_index") || name.ends_with(b"Index"),
        LeafKind::String => matches!(name, b"jsonPath" | b"json_path"),
        LeafKind::Key | LeafKind::Literal => false,
    }
}

/// Appends a leaf's path with the indexes that objects around it have; an index stands for the place in an array.
fn place(leaves: &Leaves<'_>, leaf: &Leaf, keys: &mut Vec<u8>) -> std::io::Result<()> {
    let path = leaves.path(leaf);
    tell_indexes(leaves, b"", keys);
    let mut from = 0;
    while let Some(len) = path.get(from..).and_then(|rest| rest.iter().position(|b| *b == b'.')) {
        let part = path.get(from..from + len).unwrap_or_default();
        let is_told = tell_indexes(leaves, path.get(..from + len).unwrap_or_default(), keys);
        match digits(part) {
            Some(_) if is_told => {}
            Some(place) => write!(keys, "#{place}")?,
            None => keys.extend_from_slice(part),
        }
        keys.push(b'.');
        from += len + 1;
    }
    keys.write_all(path.get(from..).unwrap_or_default())
}

/// Appends the indexes of the object at `outer`; false: it has none.
fn tell_indexes(leaves: &Leaves<'_>, outer: &[u8], keys: &mut Vec<u8>) -> bool {
    let before = keys.len();
    for leaf in leaves.iter() {
        let path = leaves.path(leaf);
        let inner = match outer {
            [] => Some(path),
            _ => path.strip_prefix(outer).and_then(|p| p.strip_prefix(b".")),
        };
        if let Some(name) = inner.filter(|name| is_index(leaf, name)) {
            if name != b"index" {
                keys.extend_from_slice(name);
            }
            keys.push(b'#');
            keys.extend_from_slice(&said(leaves, leaf));
        }
    }
    keys.len() > before
}
