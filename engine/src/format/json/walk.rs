//! Masks a JSON body as it streams.
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use super::token::{Fail, Handler, Kind, Tokens};
use crate::format::carried::{Carried, Carrier, Target};
use crate::format::fields::{self, FieldAction, Fields};
use crate::format::llm;
use crate::mask::{FILL, Strategy};
use crate::ruleset::Ruleset;
use crate::stream::{Scratch, StreamOptions};

/// Bytes of a key that are remembered as context: of a longer one, the last.
const KEY_BYTES_MAX: usize = 128;
/// Longest number; it is held whole, for it may become a string.
pub(in crate::format) const NUMBER_BYTES_MAX: usize = 1024;

/// The walker of one body.
#[derive(Debug)]
pub(in crate::format) struct JsonWalker {
    tokens: Tokens,
    texts: Texts,
}

/// The texts of the body, one after another.
#[derive(Debug)]
struct Texts {
    string: Carried,
    number: Carried,
    kind: Kind,
    /// The number that is being read, and where it began.
    digits: Vec<u8>,
    digits_at: u64,
    /// By open container: the key that its values have.
    keys: Vec<Vec<u8>>,
    /// By open container: true for arrays.
    arrays: Vec<bool>,
    /// Keys of the objects that are open, outermost first.
    key: Vec<u8>,
    /// The text is passed as it is.
    opaque: bool,
    /// Depth at which a value began that is replaced by `null`.
    dropped: Option<usize>,
    unscanned: u64,
    fields: Option<Arc<Fields>>,
    declared: Declared,
}

/// What a declared field asks for the value that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    Nothing,
    /// Its content is swallowed; `*` stands for each byte, if so asked.
    Replaced {
        fills: bool,
    },
    /// As `Replaced`, and so is the quote that ends it.
    Null,
    /// A literal comes.
    Literal,
    /// The letters of a literal are swallowed.
    Letters,
}

/// What a [`Texts`] writes to while it handles one chunk.
struct Writer<'a, 'b> {
    texts: &'a mut Texts,
    target: Target<'b>,
}

impl JsonWalker {
    /// `many`: values one after another, with space between.
    pub(in crate::format) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions, many: bool) -> JsonWalker {
        let texts = Texts {
            string: Carried::new(ruleset, options, Carrier::Json),
            number: Carried::new(ruleset, options, Carrier::Decoded),
            kind: Kind::String,
            digits: Vec::new(),
            digits_at: 0,
            keys: Vec::new(),
            arrays: Vec::new(),
            key: Vec::new(),
            opaque: false,
            dropped: None,
            unscanned: 0,
            fields: None,
            declared: Declared::Nothing,
        };
        JsonWalker { tokens: Tokens::new(many), texts }
    }

    pub(in crate::format) fn with_any_bytes(mut self, any: bool) -> JsonWalker {
        self.tokens.take_any_bytes(any);
        self
    }

    pub(in crate::format) fn with_fields(mut self, fields: Option<Arc<Fields>>) -> JsonWalker {
        self.texts.fields = fields;
        self
    }

    pub(in crate::format) fn push(&mut self, chunk: &[u8], target: Target<'_>) -> Result<(), Fail> {
        self.tokens.feed(chunk, &mut Writer { texts: &mut self.texts, target })
    }

    pub(in crate::format) fn finish(&mut self, target: Target<'_>) -> Result<(), Fail> {
        self.tokens.end(&mut Writer { texts: &mut self.texts, target })
    }

    /// After a fault: ends the text it was in, and gives the bytes that were taken and not told.
    pub(in crate::format) fn break_off(&mut self, mut target: Target<'_>) -> Vec<u8> {
        if self.tokens.in_text() && !self.texts.opaque && self.texts.declared == Declared::Nothing {
            match self.texts.kind {
                Kind::Key | Kind::String => self.texts.string.finish(&mut target),
                Kind::Number => return std::mem::take(&mut self.texts.digits),
            }
        }
        self.tokens.pending().to_vec()
    }

    pub(in crate::format) fn held(&self) -> usize {
        self.texts.string.held() + self.texts.digits.len() + self.tokens.pending().len()
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(in crate::format) fn take_unscanned(&mut self) -> u64 {
        std::mem::take(&mut self.texts.unscanned)
    }
}

impl Texts {
    /// The key of the value that comes next, and whether it is the key of an array around it.
    fn key_of_value(&self) -> &[u8] {
        match self.arrays.last() {
            Some(true) => self.keys.last().map_or(&[], Vec::as_slice),
            Some(false) | None => &self.key,
        }
    }

    /// Keys from the outermost object to the value that comes next; arrays add none.
    fn path(&self) -> Vec<&[u8]> {
        let outer = self.keys.iter().zip(&self.arrays).enumerate();
        let mut path: Vec<&[u8]> = Vec::with_capacity(self.keys.len() + 1);
        for (depth, (key, _)) in outer {
            let within_array = depth > 0 && self.arrays.get(depth - 1) == Some(&true);
            if depth > 0 && !within_array {
                path.push(key);
            }
        }
        if self.arrays.last() == Some(&false) {
            path.push(&self.key);
        }
        path
    }

    fn prime(&mut self, kind: Kind, scratch: &mut Scratch) {
        let key = self.key_of_value();
        if key.is_empty() || kind == Kind::Key {
            return;
        }
        let mut context = Vec::with_capacity(key.len() + 4);
        context.push(b'"');
        context.extend_from_slice(key);
        context.extend_from_slice(if kind == Kind::Number { b"\":" } else { b"\":\"" });
        match kind {
            Kind::Number => self.number.prime(scratch, &context),
            Kind::Key | Kind::String => self.string.prime(scratch, &context),
        }
    }
}

impl Handler for Writer<'_, '_> {
    fn structure(&mut self, bytes: &[u8], _at: u64) {
        if self.texts.dropped.is_some() {
            return;
        }
        let rest = match self.texts.declared {
            Declared::Nothing | Declared::Replaced { .. } => bytes,
            Declared::Null => bytes.get(1..).unwrap_or_default(),
            Declared::Literal | Declared::Letters => self.replace_literal(bytes),
        };
        if !rest.is_empty() || self.texts.declared == Declared::Null {
            self.texts.declared = Declared::Nothing;
        }
        self.target.out.extend_from_slice(rest);
    }

    fn open(&mut self, array: bool) {
        let texts = &mut *self.texts;
        let key = texts.key_of_value().to_vec();
        texts.keys.push(key);
        texts.arrays.push(array);
        texts.key.clear();
        // Only containers restate texts; the bracket that has been told becomes `null`.
        let path = texts.path_of_container();
        let is_dropped =
            matches!(texts.declared_at(&path), Some(FieldAction::Drop)) || llm::is_restating(&path);
        if texts.dropped.is_none() && is_dropped {
            texts.dropped = Some(texts.keys.len());
            self.target.out.pop();
            self.target.out.extend_from_slice(b"null");
        }
    }

    fn close(&mut self) {
        let texts = &mut *self.texts;
        let depth = texts.keys.len();
        texts.arrays.pop();
        texts.key = texts.keys.pop().unwrap_or_default();
        if texts.dropped == Some(depth) {
            texts.dropped = None;
        }
    }

    fn literal(&mut self) {
        let texts = &mut *self.texts;
        let is_replaced =
            matches!(texts.declared_at(&texts.path()), Some(FieldAction::Mask { .. } | FieldAction::Drop));
        if texts.dropped.is_none() && is_replaced {
            texts.declared = Declared::Literal;
        }
    }

    fn begin(&mut self, kind: Kind) {
        let texts = &mut *self.texts;
        texts.kind = kind;
        texts.opaque = kind == Kind::String && llm::is_opaque(&texts.path());
        if kind == Kind::Key {
            texts.key.clear();
        }
        if kind != Kind::Key && texts.fields.is_some() && texts.dropped.is_none() {
            self.begin_declared(kind);
        }
        let texts = &mut *self.texts;
        if kind != Kind::Number && !texts.opaque && texts.declared == Declared::Nothing {
            texts.prime(kind, self.target.scratch);
        }
    }

    fn plain(&mut self, bytes: &[u8], at: u64) {
        let texts = &mut *self.texts;
        texts.note_key(bytes);
        if texts.kind == Kind::Number {
            if texts.digits.is_empty() {
                texts.digits_at = at;
            }
            texts.digits.extend_from_slice(bytes);
        } else if texts.declared != Declared::Nothing {
            self.fill(bytes.len());
        } else if texts.opaque && texts.dropped.is_none() {
            texts.unscanned += bytes.len() as u64;
            self.target.out.extend_from_slice(bytes);
        } else if texts.dropped.is_none() {
            texts.string.plain(bytes, at, &mut self.target);
        }
    }

    fn last(&mut self, bytes: &[u8], at: u64) {
        let texts = &mut *self.texts;
        if texts.opaque || texts.dropped.is_some() || texts.declared != Declared::Nothing {
            self.plain(bytes, at);
            self.end();
            return;
        }
        texts.note_key(bytes);
        texts.string.last(bytes, at, &mut self.target);
    }

    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64) {
        let texts = &mut *self.texts;
        texts.note_key(decoded);
        if texts.declared != Declared::Nothing {
            self.fill(decoded.len());
        } else if texts.opaque && texts.dropped.is_none() {
            texts.unscanned += raw.len() as u64;
            self.target.out.extend_from_slice(raw);
        } else if texts.dropped.is_none() {
            texts.string.spelled(decoded, raw, at, &mut self.target);
        }
    }

    fn end(&mut self) {
        let texts = &mut *self.texts;
        if texts.kind == Kind::Number {
            self.end_number();
        } else if texts.declared != Declared::Nothing {
            // A quote that is swallowed comes yet.
            if texts.declared != Declared::Null {
                texts.declared = Declared::Nothing;
            }
        } else if texts.dropped.is_none() && !texts.opaque {
            texts.string.finish(&mut self.target);
        }
        self.texts.opaque = false;
    }

    fn over(&self) -> Option<&'static str> {
        (self.texts.digits.len() > NUMBER_BYTES_MAX).then_some("the length of a number")
    }
}

impl Writer<'_, '_> {
    /// A text begins that may be declared; numbers are settled at their end.
    fn begin_declared(&mut self, kind: Kind) {
        let texts = &mut *self.texts;
        match texts.declared_at(&texts.path()).cloned() {
            Some(FieldAction::Allow) if kind == Kind::String => texts.opaque = true,
            Some(FieldAction::Mask { entity, strategy }) if kind == Kind::String => {
                let mut text = Vec::new();
                fields::replacement(&entity, &strategy, 0, &mut text);
                super::escape(&text, self.target.out);
                texts.opaque = false;
                texts.declared = Declared::Replaced { fills: strategy == Strategy::Fill };
            }
            Some(FieldAction::Drop) if kind == Kind::String => {
                self.target.out.pop();
                self.target.out.extend_from_slice(b"null");
                texts.opaque = false;
                texts.declared = Declared::Null;
            }
            Some(_) | None => {}
        }
    }

    fn fill(&mut self, len: usize) {
        if self.texts.declared == (Declared::Replaced { fills: true }) {
            self.target.out.resize(self.target.out.len() + len, FILL);
        }
    }

    /// Swallows the letters of a literal; `null` stays. Gives what is behind it.
    fn replace_literal<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let texts = &mut *self.texts;
        if texts.declared == Declared::Literal {
            if bytes.first() == Some(&b'n') {
                return bytes;
            }
            match texts.declared_at(&texts.path()) {
                Some(FieldAction::Mask { entity, strategy }) => {
                    let mut text = Vec::new();
                    fields::replacement(entity, strategy, 4, &mut text);
                    self.target.out.push(b'"');
                    super::escape(&text, self.target.out);
                    self.target.out.push(b'"');
                }
                Some(FieldAction::Drop | FieldAction::Allow) | None => {
                    self.target.out.extend_from_slice(b"null");
                }
            }
            texts.declared = Declared::Letters;
        }
        let letters = bytes.iter().take_while(|b| b.is_ascii_alphabetic()).count();
        bytes.get(letters..).unwrap_or_default()
    }

    /// Whether the number is declared; it is written then.
    fn end_declared_number(&mut self, digits: &[u8]) -> bool {
        let texts = &mut *self.texts;
        let out = &mut *self.target.out;
        match texts.declared_at(&texts.path()) {
            Some(FieldAction::Allow) => {
                out.extend_from_slice(digits);
                texts.unscanned += digits.len() as u64;
            }
            Some(FieldAction::Drop) => out.extend_from_slice(b"null"),
            Some(FieldAction::Mask { entity, strategy }) => {
                let mut text = Vec::new();
                fields::replacement(entity, strategy, digits.len(), &mut text);
                out.push(b'"');
                super::escape(&text, out);
                out.push(b'"');
            }
            None => return false,
        }
        true
    }

    fn end_number(&mut self) {
        let texts = &mut *self.texts;
        let digits = std::mem::take(&mut texts.digits);
        if texts.dropped.is_some() || self.end_declared_number(&digits) {
            return;
        }
        let texts = &mut *self.texts;
        texts.prime(Kind::Number, self.target.scratch);
        let mut text = Vec::new();
        let findings = &mut *self.target.findings;
        let mut target = Target { scratch: self.target.scratch, out: &mut text, findings };
        texts.number.plain(&digits, texts.digits_at, &mut target);
        texts.number.finish(&mut target);
        if text == digits {
            self.target.out.extend_from_slice(&digits);
        } else {
            self.target.out.push(b'"');
            super::escape(&text, self.target.out);
            self.target.out.push(b'"');
        }
        texts.digits = digits;
        texts.digits.clear();
    }
}

impl Texts {
    fn declared_at(&self, path: &[&[u8]]) -> Option<&FieldAction> {
        self.fields.as_ref()?.find(path)
    }

    fn note_key(&mut self, bytes: &[u8]) {
        if self.kind == Kind::Key {
            self.key.extend_from_slice(bytes);
            let over = self.key.len().saturating_sub(KEY_BYTES_MAX);
            self.key.drain(..over);
        }
    }

    /// The path of the container that has just been opened.
    fn path_of_container(&self) -> Vec<&[u8]> {
        let mut path = self.path();
        if self.arrays.last() == Some(&false) {
            path.pop();
        }
        path
    }
}
