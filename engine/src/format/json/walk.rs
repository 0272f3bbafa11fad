//! Masks a JSON body as it streams.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;
use std::sync::Arc;

use super::keys::Keys;
use super::token::{Fail, Handler, Kind, Tokens};
use crate::format::carried::{Carried, Carrier, Target};
use crate::format::fields::{self, FieldAction, Fields, Telling};
use crate::format::joined::Restated;
use crate::format::llm;
use crate::mask::{FILL, Strategy};
use crate::ruleset::{RuleId, Ruleset};
use crate::stream::StreamOptions;

/// Most bytes of what says a text again, token by token: it is held whole, and leaves empty when it is longer.
pub(in crate::format) const RESTATING_BYTES_MAX: usize = 1 << 20;
/// Longest number; it is held whole, for it may become a string.
pub(in crate::format) const NUMBER_BYTES_MAX: usize = 1024;

/// The walker of one body.
#[derive(Debug)]
pub(in crate::format) struct JsonWalker {
    pub(super) tokens: Tokens,
    pub(super) texts: Texts,
}

/// The texts of the body, one after another.
#[derive(Debug)]
pub(super) struct Texts {
    pub(super) ruleset: Arc<Ruleset>,
    pub(super) string: Carried,
    pub(super) number: Carried,
    kind: Kind,
    /// The number that is being read, and where it began.
    digits: Vec<u8>,
    digits_at: u64,
    pub(super) keys: Keys,
    /// Room for texts that wait, and for places in them.
    pub(super) found: Vec<(Range<usize>, Kind)>,
    pub(super) spelled: Vec<usize>,
    /// Room for a text without its escapes.
    pub(super) decoded: Vec<u8>,
    /// The text is passed as it is.
    opaque: bool,
    /// What says a text again, while it comes in.
    restating: Option<Restating>,
    restated: Restated,
    unscanned: u64,
    fields: Option<Arc<Fields>>,
    declared: Declared,
    /// The value that is replaced for where it stands.
    telling: Option<Telling>,
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

/// A container that says a text again.
#[derive(Debug)]
struct Restating {
    /// It is declared: nothing of it leaves.
    dropped: Option<Telling>,
    /// How many containers are open in it and around it when it has begun.
    depth: usize,
    bytes: Vec<u8>,
    is_over: bool,
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
            ruleset: Arc::clone(ruleset),
            string: Carried::new(ruleset, options, Carrier::Json),
            number: Carried::new(ruleset, options, Carrier::Decoded),
            kind: Kind::String,
            digits: Vec::new(),
            digits_at: 0,
            keys: Keys::default(),
            found: Vec::new(),
            spelled: Vec::new(),
            decoded: Vec::new(),
            opaque: false,
            restating: None,
            restated: Restated::new(ruleset, options),
            unscanned: 0,
            fields: None,
            declared: Declared::Nothing,
            telling: None,
        };
        JsonWalker { tokens: Tokens::new(many), texts }
    }

    pub(in crate::format) fn with_any_bytes(mut self, any: bool) -> JsonWalker {
        self.tokens.take_any_bytes(any);
        self
    }

    /// The document begins here in its body.
    pub(in crate::format) fn starting_at(mut self, at: u64) -> JsonWalker {
        self.tokens.start_at(at);
        self
    }

    pub(in crate::format) fn with_fields(mut self, fields: Option<Arc<Fields>>) -> JsonWalker {
        self.texts.fields = fields;
        self
    }

    pub(in crate::format) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) -> Result<(), Fail> {
        if self.texts.fields.is_some() {
            return self.tokens.feed(chunk, &mut Writer { texts: &mut self.texts, target });
        }
        let mut from = 0;
        while from < chunk.len() {
            if self.tokens.is_between() && self.texts.restating.is_none() {
                from = self.skim(chunk, from, &mut target);
            }
            let rest = chunk.get(from..).unwrap_or_default();
            let target = Target {
                scratch: &mut *target.scratch,
                out: &mut *target.out,
                findings: &mut *target.findings,
            };
            let mut writer = Writer { texts: &mut self.texts, target };
            let taken = self.tokens.feed_while(rest, &mut writer, |tokens| !tokens.is_between());
            from += taken.map_err(|fail| Fail { taken: from + fail.taken, ..fail })?;
        }
        Ok(())
    }

    pub(in crate::format) fn finish(&mut self, target: Target<'_>) -> Result<(), Fail> {
        self.tokens.end(&mut Writer { texts: &mut self.texts, target })
    }

    /// After a fault: ends the text it was in, and gives the bytes that were taken and not told.
    pub(in crate::format) fn break_off(&mut self, mut target: Target<'_>) -> Vec<u8> {
        if let Some(restating) = self.texts.restating.take() {
            // Of what is not whole nobody can say what it spells.
            target.out.extend_from_slice(restating.empty());
            return Vec::new();
        }
        if self.tokens.in_text() && !self.texts.opaque && self.texts.declared == Declared::Nothing {
            match self.texts.kind {
                Kind::Key | Kind::String => self.texts.string.finish(&mut target),
                Kind::Number => return std::mem::take(&mut self.texts.digits),
            }
        }
        self.tokens.pending().to_vec()
    }

    pub(in crate::format) fn held(&self) -> usize {
        let restating = self.texts.restating.as_ref().map_or(0, |r| r.bytes.len());
        self.texts.string.held() + self.texts.digits.len() + self.tokens.pending().len() + restating
    }

    /// Bytes that passed unscanned since this was last asked: opaque fields.
    pub(in crate::format) fn take_unscanned(&mut self) -> u64 {
        std::mem::take(&mut self.texts.unscanned)
    }
}

impl Texts {
    fn prime(&mut self) {
        let context = self.keys.context(false);
        if !context.is_empty() {
            self.string.prime(context);
        }
    }
}

impl Restating {
    fn push(&mut self, bytes: &[u8]) {
        self.is_over |= self.bytes.len() + bytes.len() > RESTATING_BYTES_MAX;
        if !self.is_over && self.dropped.is_none() {
            self.bytes.extend_from_slice(bytes);
        }
    }

    /// What stands in its place.
    fn empty(&self) -> &'static [u8] {
        if self.bytes.starts_with(b"[") && self.dropped.is_none() { b"[]" } else { b"null" }
    }
}

impl Handler for Writer<'_, '_> {
    fn structure(&mut self, bytes: &[u8], at: u64) {
        if let Some(restating) = &mut self.texts.restating {
            if let Some(telling) = &mut restating.dropped {
                // With the bracket, which was told before it was known.
                telling.see(at.saturating_sub(1), 1 + bytes.len());
            }
            return restating.push(bytes);
        }
        let rest = match self.texts.declared {
            Declared::Nothing | Declared::Replaced { .. } => bytes,
            Declared::Null => bytes.get(1..).unwrap_or_default(),
            Declared::Literal | Declared::Letters => self.replace_literal(bytes, at),
        };
        if !rest.is_empty() || self.texts.declared == Declared::Null {
            self.texts.declared = Declared::Nothing;
        }
        self.target.out.extend_from_slice(rest);
    }

    fn open(&mut self, array: bool) {
        let texts = &mut *self.texts;
        texts.keys.open(array);
        if texts.restating.is_some() {
            return;
        }
        // Only containers restate texts; the bracket has been told.
        let path = texts.keys.path_of_container();
        let dropped = texts.fields.as_ref().and_then(|f| f.find_container(&path));
        let dropped = dropped.filter(|(_, action)| **action == FieldAction::Drop);
        let dropped = dropped.map(|(rule, _)| Telling::of(rule));
        if dropped.is_some() || llm::is_restating(&path) {
            let bytes = self.target.out.pop().into_iter().collect();
            let depth = texts.keys.depth();
            texts.restating = Some(Restating { dropped, depth, bytes, is_over: false });
        }
    }

    fn close(&mut self) {
        let texts = &mut *self.texts;
        let depth = texts.keys.depth();
        texts.keys.close();
        if let Some(restating) = texts.restating.take_if(|restating| restating.depth == depth) {
            let leaves = !restating.is_over
                && restating.dropped.is_none()
                && !texts.restated.is_found(&restating.bytes, self.target.scratch);
            self.target.out.extend_from_slice(if leaves { &restating.bytes } else { restating.empty() });
            restating.dropped.into_iter().for_each(|telling| telling.tell(self.target.findings));
        }
    }

    fn literal(&mut self) {
        if self.declared_again() {
            return;
        }
        let texts = &mut *self.texts;
        if matches!(texts.declared_here(), Some(FieldAction::Mask { .. } | FieldAction::Drop)) {
            texts.declared = Declared::Literal;
        }
    }

    fn begin(&mut self, kind: Kind) {
        let texts = &mut *self.texts;
        texts.kind = kind;
        if kind == Kind::Key {
            texts.keys.begin();
        }
        if kind != Kind::Key && self.declared_again() {
            return;
        }
        let texts = &mut *self.texts;
        if texts.restating.is_some() {
            return;
        }
        texts.opaque = kind == Kind::String
            && llm::may_be_opaque(texts.keys.of_value())
            && llm::is_opaque(&texts.keys.path());
        if kind == Kind::String {
            self.begin_declared();
        }
        let texts = &mut *self.texts;
        if kind == Kind::String && !texts.opaque && texts.declared == Declared::Nothing {
            texts.prime();
        }
    }

    fn plain(&mut self, bytes: &[u8], at: u64) {
        let texts = &mut *self.texts;
        texts.note_key(bytes);
        if let Some(restating) = &mut texts.restating {
            restating.push(bytes);
        } else if texts.kind == Kind::Number {
            if texts.digits.is_empty() {
                texts.digits_at = at;
            }
            texts.digits.extend_from_slice(bytes);
        } else if texts.declared != Declared::Nothing {
            self.swallow(bytes.len(), at, bytes.len());
        } else if texts.opaque {
            texts.unscanned += bytes.len() as u64;
            self.target.out.extend_from_slice(bytes);
        } else {
            texts.string.plain(bytes, at, &mut self.target);
        }
    }

    fn last(&mut self, bytes: &[u8], at: u64) {
        let texts = &mut *self.texts;
        if texts.opaque || texts.restating.is_some() || texts.declared != Declared::Nothing {
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
        if let Some(restating) = &mut texts.restating {
            restating.push(raw);
        } else if texts.declared != Declared::Nothing {
            self.swallow(decoded.len(), at, raw.len());
        } else if texts.opaque {
            texts.unscanned += raw.len() as u64;
            self.target.out.extend_from_slice(raw);
        } else {
            texts.string.spelled(decoded, raw, at, &mut self.target);
        }
    }

    fn end(&mut self) {
        let texts = &mut *self.texts;
        if texts.restating.is_some() {
            return;
        }
        if texts.kind == Kind::Number {
            self.end_number();
        } else if texts.declared != Declared::Nothing {
            texts.telling.take().into_iter().for_each(|telling| telling.tell(self.target.findings));
            // A quote that is swallowed comes yet.
            if texts.declared != Declared::Null {
                texts.declared = Declared::Nothing;
            }
        } else if !texts.opaque {
            texts.string.finish(&mut self.target);
        }
        self.texts.opaque = false;
    }

    fn over(&self) -> Option<&'static str> {
        (self.texts.digits.len() > NUMBER_BYTES_MAX).then_some("the length of a number")
    }
}

impl Writer<'_, '_> {
    /// Within what says a text again, a value that is declared leaves nothing of it.
    fn declared_again(&mut self) -> bool {
        let texts = &mut *self.texts;
        let is_declared = texts.restating.is_some()
            && matches!(texts.declared_here(), Some(FieldAction::Mask { .. } | FieldAction::Drop));
        match &mut texts.restating {
            Some(restating) => restating.is_over |= is_declared,
            None => return false,
        }
        true
    }

    /// A string begins that may be declared; numbers are settled at their end.
    fn begin_declared(&mut self) {
        let texts = &mut *self.texts;
        let found = texts.told_here().map(|(rule, action)| (rule, action.clone()));
        texts.telling = found.as_ref().map(|(rule, _)| Telling::of(*rule));
        match found.map(|(_, action)| action) {
            Some(FieldAction::Allow) => texts.opaque = true,
            Some(FieldAction::Mask { entity, strategy }) => {
                let mut text = Vec::new();
                fields::replacement(&entity, &strategy, 0, &mut text);
                super::escape(&text, self.target.out);
                texts.opaque = false;
                texts.declared = Declared::Replaced { fills: strategy == Strategy::Fill };
            }
            Some(FieldAction::Drop) => {
                self.target.out.pop();
                self.target.out.extend_from_slice(b"null");
                texts.opaque = false;
                texts.declared = Declared::Null;
            }
            Some(FieldAction::Scan) | None => {}
        }
    }

    /// Bytes of a declared value that spell `len`.
    fn swallow(&mut self, len: usize, at: u64, spelled: usize) {
        if let Some(telling) = &mut self.texts.telling {
            telling.see(at, spelled);
        }
        if self.texts.declared == (Declared::Replaced { fills: true }) {
            self.target.out.resize(self.target.out.len() + len, FILL);
        }
    }

    /// Swallows the letters of a literal; `null` stays. Gives what is behind it.
    fn replace_literal<'a>(&mut self, bytes: &'a [u8], at: u64) -> &'a [u8] {
        let texts = &mut *self.texts;
        if texts.declared == Declared::Literal {
            let len = match bytes.first() {
                Some(b'n') => return bytes,
                Some(b't') => "true".len(),
                _ => "false".len(),
            };
            if let Some((rule, _)) = texts.told_here() {
                let mut telling = Telling::of(rule);
                telling.see(at, len);
                telling.tell(self.target.findings);
            }
            match texts.declared_here() {
                Some(FieldAction::Mask { entity, strategy }) => {
                    let mut text = Vec::new();
                    fields::replacement(entity, strategy, 4, &mut text);
                    super::quote(&text, self.target.out);
                }
                Some(FieldAction::Drop | FieldAction::Allow | FieldAction::Scan) | None => {
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
        if let Some((rule, FieldAction::Mask { .. } | FieldAction::Drop)) = texts.told_here() {
            let mut telling = Telling::of(rule);
            telling.see(texts.digits_at, digits.len());
            telling.tell(self.target.findings);
        }
        match texts.declared_here() {
            Some(FieldAction::Allow) => {
                out.extend_from_slice(digits);
                texts.unscanned += digits.len() as u64;
            }
            Some(FieldAction::Drop) => out.extend_from_slice(b"null"),
            Some(FieldAction::Mask { entity, strategy }) => {
                let mut text = Vec::new();
                fields::replacement(entity, strategy, digits.len(), &mut text);
                super::quote(&text, out);
            }
            Some(FieldAction::Scan) | None => return false,
        }
        true
    }

    fn end_number(&mut self) {
        let digits = std::mem::take(&mut self.texts.digits);
        if self.end_declared_number(&digits) {
            return;
        }
        let texts = &mut *self.texts;
        let Texts { number, keys, digits_at, .. } = texts;
        mask_number(number, keys.context(true), &digits, *digits_at, &mut self.target);
        texts.digits = digits;
        texts.digits.clear();
    }
}

impl Texts {
    /// Of the value that is being read.
    fn declared_here(&self) -> Option<&FieldAction> {
        self.told_here().map(|(_, action)| action)
    }

    fn told_here(&self) -> Option<(RuleId, &FieldAction)> {
        self.fields.as_ref()?.find_told(&self.keys.path())
    }

    fn note_key(&mut self, bytes: &[u8]) {
        if self.kind == Kind::Key {
            self.keys.push(bytes);
        }
    }
}

/// Masks a number that is there whole.
pub(super) fn mask_number(
    text: &mut Carried,
    context: &[u8],
    digits: &[u8],
    at: u64,
    target: &mut Target<'_>,
) {
    if !context.is_empty() {
        text.prime(context);
    }
    let mut masked = Vec::new();
    let mut inner =
        Target { scratch: &mut *target.scratch, out: &mut masked, findings: &mut *target.findings };
    text.last(digits, at, &mut inner);
    if masked == digits {
        target.out.extend_from_slice(digits);
    } else {
        super::quote(&masked, target.out);
    }
}
