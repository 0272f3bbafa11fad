//! JSON inside a string that comes in deltas, as the arguments of tool calls do.
//!
//! Each string in it is a text of its own, read without its escapes, whose delta may have cut them; places are those of
//! the spelling. A number in which something is found becomes a string, so that the whole stays JSON.

use std::collections::VecDeque;
use std::sync::Arc;

use super::decisions::Decisions;
use crate::format::json::{self, Handler, Keys, Kind, NUMBER_BYTES_MAX, Tokens};
use crate::format::nested::Nested;
use crate::ruleset::Ruleset;
use crate::stream::{Event, Scratch, Sink, StreamOptions};

/// The scan of one document.
#[derive(Clone, Debug)]
pub(super) struct Inner {
    tokens: Tokens,
    texts: Texts,
}

#[derive(Clone, Debug)]
struct Texts {
    stream: Nested,
    keys: Keys,
    kind: Kind,
    /// The number that is being read.
    digits: Vec<u8>,
    spellings: VecDeque<Spelling>,
    decisions: Decisions,
    /// Where the value began that is being skipped.
    mark: Option<u64>,
}

/// How held text is spelled.
#[derive(Clone, Debug)]
struct Spelling {
    /// Bytes of text left.
    left: usize,
    /// Of an escape: bytes of its spelling.
    escape: Option<usize>,
    masked: bool,
}

struct Reader<'a> {
    texts: &'a mut Texts,
    scratch: &'a mut Scratch,
}

impl Inner {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> Inner {
        let texts = Texts {
            stream: Nested::new(ruleset, options.clone()),
            keys: Keys::default(),
            kind: Kind::String,
            digits: Vec::new(),
            spellings: VecDeque::new(),
            decisions: Decisions::default(),
            mark: None,
        };
        Inner { tokens: Tokens::new(false), texts }
    }

    pub(super) fn decisions(&self) -> &Decisions {
        &self.texts.decisions
    }

    pub(super) fn decisions_mut(&mut self) -> &mut Decisions {
        &mut self.texts.decisions
    }

    /// The next bytes. Where they are no JSON: what is left to be scanned in another way.
    pub(super) fn push(&mut self, bytes: &[u8], scratch: &mut Scratch) -> Result<(), Vec<u8>> {
        let fed = self.tokens.feed(bytes, &mut Reader { texts: &mut self.texts, scratch });
        fed.map_err(|fail| {
            let mut left = self.break_off(scratch);
            left.extend_from_slice(bytes.get(fail.taken..).unwrap_or_default());
            left
        })
    }

    /// The document ends. Where it is no JSON: as [`Inner::push`].
    pub(super) fn finish(&mut self, scratch: &mut Scratch) -> Result<(), Vec<u8>> {
        let ended = self.tokens.end(&mut Reader { texts: &mut self.texts, scratch });
        ended.map_err(|_| self.break_off(scratch))
    }

    /// Decides what was told; gives what was taken and not told.
    fn break_off(&mut self, scratch: &mut Scratch) -> Vec<u8> {
        if self.texts.kind == Kind::Number && !self.texts.digits.is_empty() {
            return std::mem::take(&mut self.texts.digits);
        }
        if self.tokens.in_text() {
            self.texts.finish(scratch);
        }
        self.tokens.pending().to_vec()
    }
}

impl Texts {
    fn push(&mut self, bytes: &[u8], scratch: &mut Scratch) {
        let mut sink = InnerSink {
            spellings: &mut self.spellings,
            decisions: &mut self.decisions,
            mark: &mut self.mark,
        };
        self.stream.push(scratch, bytes, &mut sink);
    }

    fn finish(&mut self, scratch: &mut Scratch) {
        let mut sink = InnerSink {
            spellings: &mut self.spellings,
            decisions: &mut self.decisions,
            mark: &mut self.mark,
        };
        self.stream.finish(scratch, &mut sink);
        self.mark = None;
    }
}

impl Handler for Reader<'_> {
    fn structure(&mut self, bytes: &[u8], _at: u64) {
        self.texts.decisions.pass_len(bytes.len() as u64);
    }

    fn open(&mut self, array: bool) {
        self.texts.keys.open(array);
    }

    fn close(&mut self) {
        self.texts.keys.close();
    }

    fn literal(&mut self) {}

    fn begin(&mut self, kind: Kind) {
        let texts = &mut *self.texts;
        texts.kind = kind;
        if kind == Kind::Key {
            texts.keys.begin();
        } else {
            let context = texts.keys.context(kind == Kind::Number);
            if !context.is_empty() {
                texts.stream.prime(context);
            }
        }
    }

    fn plain(&mut self, bytes: &[u8], _at: u64) {
        let texts = &mut *self.texts;
        match texts.kind {
            Kind::Number => return texts.digits.extend_from_slice(bytes),
            Kind::Key => texts.keys.push(bytes),
            Kind::String => {}
        }
        texts.spellings.push_back(Spelling { left: bytes.len(), escape: None, masked: false });
        texts.push(bytes, self.scratch);
    }

    fn spelled(&mut self, decoded: &[u8], raw: &[u8], _at: u64) {
        let texts = &mut *self.texts;
        if texts.kind == Kind::Key {
            texts.keys.push(decoded);
        }
        texts.spellings.push_back(Spelling { left: decoded.len(), escape: Some(raw.len()), masked: false });
        texts.push(decoded, self.scratch);
    }

    fn end(&mut self) {
        let texts = &mut *self.texts;
        if texts.kind != Kind::Number {
            return texts.finish(self.scratch);
        }
        let digits = std::mem::take(&mut texts.digits);
        let mut number = Number { digits: &digits, text: Vec::new(), found: Vec::new() };
        texts.stream.push_last(self.scratch, &digits, &mut number);
        let Number { text, found, .. } = number;
        let from = texts.decisions.at;
        if text == digits {
            texts.decisions.pass_len(digits.len() as u64);
        } else {
            let mut quoted = Vec::with_capacity(text.len() + 2);
            json::quote(&text, &mut quoted);
            texts.decisions.emit(&quoted);
            texts.decisions.skip_len(digits.len() as u64);
        }
        let found = found.into_iter().map(|(rule, range)| (rule, from + range.start..from + range.end));
        texts.decisions.found.extend(found);
    }

    fn over(&self) -> Option<&'static str> {
        (self.texts.digits.len() > NUMBER_BYTES_MAX).then_some("the length of a number")
    }
}

/// Takes what is decided of a number.
struct Number<'a> {
    digits: &'a [u8],
    text: Vec<u8>,
    found: Vec<(crate::ruleset::RuleId, std::ops::Range<u64>)>,
}

impl Sink for Number<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }
    fn emit(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }
    fn skip(&mut self, len: usize) {
        debug_assert!(len <= self.digits.len(), "no more is skipped than came");
    }
    fn event(&mut self, event: &Event) {
        self.found.push((event.rule, event.input.clone()));
    }
}

/// Takes what is decided of a string, and tells it by places of its spelling.
struct InnerSink<'a> {
    spellings: &'a mut VecDeque<Spelling>,
    decisions: &'a mut Decisions,
    mark: &'a mut Option<u64>,
}

impl InnerSink<'_> {
    fn take(&mut self, mut len: usize, masked: bool) {
        while len > 0 {
            let Some(front) = self.spellings.front_mut() else { return };
            let now = len.min(front.left);
            front.left -= now;
            front.masked |= masked;
            len -= now;
            // An escape is decided with its last byte, and masked with any.
            let (spelled, masked) = match front.escape {
                None => (now, masked),
                Some(spelled) if front.left == 0 => (spelled, front.masked),
                Some(_) => (0, masked),
            };
            if front.left == 0 {
                self.spellings.pop_front();
            }
            match (spelled as u64, masked) {
                (0, _) => {}
                (spelled, true) => self.decisions.skip_len(spelled),
                (spelled, false) => self.decisions.pass_len(spelled),
            }
        }
    }
}

impl Sink for InnerSink<'_> {
    fn pass(&mut self, bytes: &[u8]) {
        *self.mark = None;
        self.take(bytes.len(), false);
    }

    fn emit(&mut self, bytes: &[u8]) {
        let mut spelled = Vec::with_capacity(bytes.len());
        json::escape(bytes, &mut spelled);
        self.mark.get_or_insert(self.decisions.at);
        self.decisions.emit(&spelled);
    }

    fn skip(&mut self, len: usize) {
        self.mark.get_or_insert(self.decisions.at);
        self.take(len, true);
    }

    fn event(&mut self, event: &Event) {
        // What is only labelled has left: it is told where the text has come to.
        let from = self.mark.take().unwrap_or(self.decisions.at.saturating_sub(1));
        self.decisions.found.push((event.rule, from..self.decisions.at.max(from + 1)));
    }
}
