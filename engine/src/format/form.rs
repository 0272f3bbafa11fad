//! `application/x-www-form-urlencoded` (WHATWG URL, section 5) as a stream: each name and value is a text.
//!
//! A value is scanned decoded, behind the context `name=`. What is not masked leaves as it was spelled; a `%` that
//! two hexadecimal digits don't follow stands for itself, as the standard's parser has it.
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use super::carried::{Carried, Carrier, Target};
use super::fields::{self, FieldAction, Fields, Telling};
use crate::mask::{FILL, Strategy};
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;

/// Bytes of a name that are remembered as context: of a longer one, the last.
const NAME_BYTES_MAX: usize = 128;

/// Appends `bytes` percent-encoded.
pub(super) fn encode(bytes: &[u8], out: &mut Vec<u8>) {
    for &byte in bytes {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'*' | b'-' | b'.' | b'_' => out.push(byte),
            _ => out.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
}

/// The walker of one body.
#[derive(Debug)]
pub(super) struct FormWalker {
    text: Carried,
    name: Vec<u8>,
    in_value: bool,
    started: bool,
    /// `%`, or `%` and a digit.
    spelling: Vec<u8>,
    at: u64,
    unscanned: u64,
    fields: Option<Arc<Fields>>,
    telling: Option<Telling>,
    declared: Declared,
}

/// What a declared field asks for the value that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Declared {
    Nothing,
    Allowed,
    /// Its content is swallowed; `*` stands for each byte, if so asked.
    Replaced {
        fills: bool,
    },
}

impl FormWalker {
    pub(super) fn new(ruleset: &Arc<Ruleset>, options: &StreamOptions) -> FormWalker {
        FormWalker {
            text: Carried::new(ruleset, options, Carrier::Form),
            name: Vec::new(),
            in_value: false,
            started: false,
            spelling: Vec::new(),
            at: 0,
            unscanned: 0,
            fields: None,
            telling: None,
            declared: Declared::Nothing,
        }
    }

    pub(super) fn with_fields(mut self, fields: Option<Arc<Fields>>) -> FormWalker {
        self.fields = fields;
        self
    }

    /// Bytes that passed unscanned since this was last asked: allowed fields.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        std::mem::take(&mut self.unscanned)
    }

    pub(super) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) {
        let mut rest = chunk;
        while let Some((&byte, tail)) = rest.split_first() {
            if !self.spelling.is_empty() {
                if self.escape(byte, &mut target) {
                    rest = tail;
                }
                continue;
            }
            match byte {
                b'&' => self.end_text(byte, &mut target),
                b'=' if !self.in_value => self.end_text(byte, &mut target),
                b'%' => {
                    self.spelling.push(byte);
                    self.at += 1;
                }
                b'+' => self.spelled(b" ", b"+", self.at, 1, &mut target),
                _ => {
                    let special = |b: &u8| matches!(b, b'&' | b'=' | b'%' | b'+');
                    let len = rest.iter().skip(1).position(special).map_or(rest.len(), |n| n + 1);
                    let (run, more) = rest.split_at(len);
                    self.plain(run, self.at, &mut target);
                    self.at += len as u64;
                    rest = more;
                    continue;
                }
            }
            rest = tail;
        }
    }

    pub(super) fn finish(&mut self, mut target: Target<'_>) {
        self.literal(&mut target);
        self.tell(&mut target);
        self.text.finish(&mut target);
    }

    pub(super) fn held(&self) -> usize {
        self.text.held() + self.spelling.len()
    }

    /// Goes on with `%…`; true when `byte` was taken.
    fn escape(&mut self, byte: u8, target: &mut Target<'_>) -> bool {
        if !byte.is_ascii_hexdigit() {
            self.literal(target);
            return false;
        }
        self.spelling.push(byte);
        self.at += 1;
        if self.spelling.len() == 3 {
            let digit = |i: usize| self.spelling.get(i).and_then(|b| (*b as char).to_digit(16)).unwrap_or(0);
            let decoded = (digit(1) << 4 | digit(2)) as u8;
            let raw = std::mem::take(&mut self.spelling);
            self.spelled(&[decoded], &raw, self.at - 3, 0, target);
        }
        true
    }

    /// What was begun as an escape stands for itself.
    fn literal(&mut self, target: &mut Target<'_>) {
        let raw = std::mem::take(&mut self.spelling);
        if !raw.is_empty() {
            self.plain(&raw, self.at - raw.len() as u64, target);
        }
    }

    fn begin_text(&mut self) {
        if !std::mem::replace(&mut self.started, true) && self.in_value && !self.name.is_empty() {
            let mut context = std::mem::take(&mut self.name);
            context.push(b'=');
            self.text.prime(&context);
        }
    }

    fn plain(&mut self, bytes: &[u8], at: u64, target: &mut Target<'_>) {
        if self.settle(bytes.len(), bytes, at, target) {
            return;
        }
        self.begin_text();
        self.note_name(bytes);
        self.text.plain(bytes, at, target);
    }

    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64, taken: u64, target: &mut Target<'_>) {
        self.at += taken;
        if self.settle(decoded.len(), raw, at, target) {
            return;
        }
        self.begin_text();
        self.note_name(decoded);
        self.text.spelled(decoded, raw, at, target);
    }

    /// A value begins that may be declared.
    fn begin_declared(&mut self, target: &mut Target<'_>) {
        let found = self.fields.as_ref().and_then(|f| f.find_told(&[&self.name]));
        self.telling = found.map(|(rule, _)| Telling::of(rule));
        self.declared = match found.map(|(_, action)| action) {
            Some(FieldAction::Scan) | None => Declared::Nothing,
            Some(FieldAction::Allow) => Declared::Allowed,
            Some(FieldAction::Drop) => Declared::Replaced { fills: false },
            Some(FieldAction::Mask { entity, strategy }) => {
                let mut text = Vec::new();
                fields::replacement(entity, strategy, 0, &mut text);
                encode(&text, target.out);
                Declared::Replaced { fills: *strategy == Strategy::Fill }
            }
        };
    }

    /// Whether a declared field says what becomes of these bytes, which stand for `len`.
    fn settle(&mut self, len: usize, raw: &[u8], at: u64, target: &mut Target<'_>) -> bool {
        match self.declared {
            Declared::Nothing => return false,
            Declared::Allowed => {
                target.out.extend_from_slice(raw);
                self.unscanned += raw.len() as u64;
            }
            Declared::Replaced { fills } => {
                if fills {
                    target.out.resize(target.out.len() + len, FILL);
                }
                if let Some(telling) = &mut self.telling {
                    telling.see(at, raw.len());
                }
            }
        }
        true
    }

    fn note_name(&mut self, bytes: &[u8]) {
        if !self.in_value {
            self.name.extend_from_slice(bytes);
            let over = self.name.len().saturating_sub(NAME_BYTES_MAX);
            self.name.drain(..over);
        }
    }

    fn tell(&mut self, target: &mut Target<'_>) {
        self.telling.take().into_iter().for_each(|telling| telling.tell(target.findings));
    }

    fn end_text(&mut self, separator: u8, target: &mut Target<'_>) {
        self.tell(target);
        self.text.finish(target);
        target.out.push(separator);
        self.at += 1;
        self.in_value = separator == b'=';
        self.started = false;
        self.declared = Declared::Nothing;
        if self.in_value {
            self.begin_declared(target);
        } else {
            self.name.clear();
        }
    }
}
