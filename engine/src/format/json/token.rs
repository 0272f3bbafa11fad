//! A tokenizer of JSON that takes any chunks.
//!
//! ```text
//!            "            "                       :            value
//!   Value ───────► Text ───────► After   Key ───────► Colon ───────► Value
//!     │ [ {  ▲                     │ ,    ▲
//!     └──────┴─────────────────────┴──────┘
//! ```
#![deny(clippy::indexing_slicing)]

/// Deepest nesting of containers.
pub(in crate::format) const DEPTH_MAX: usize = 128;

const BOM: &[u8; 3] = b"\xEF\xBB\xBF";

/// What the tokenizer finds, in order; every byte of the input is told exactly once.
pub(in crate::format) trait Handler {
    /// Bytes outside texts: punctuation, spaces, quotes, `true`, `false`, `null`.
    fn structure(&mut self, bytes: &[u8], at: u64);
    /// A container opens; an array if `array`. Its bracket has been told by `structure` before.
    fn open(&mut self, array: bool);
    /// The container closes; its bracket has been told.
    fn close(&mut self);
    /// `true`, `false` or `null` begins; its bytes are told by `structure`.
    fn literal(&mut self);
    /// A text begins. The quote of a string has been told.
    fn begin(&mut self, kind: Kind);
    /// Bytes of the text, spelled as they are.
    fn plain(&mut self, bytes: &[u8], at: u64);
    /// Bytes of the text, which ends with them.
    fn last(&mut self, bytes: &[u8], at: u64) {
        self.plain(bytes, at);
        self.end();
    }
    /// A character of the text, spelled by an escape.
    fn spelled(&mut self, decoded: &[u8], raw: &[u8], at: u64);
    /// The text ends. The quote of a string is told afterwards.
    fn end(&mut self);
    /// A limit of the handler's own was passed; its name.
    fn over(&self) -> Option<&'static str>;
}

/// What a backslash and this byte spell; `None` for `u`, and where they spell nothing (RFC 8259, section 7).
pub(in crate::format) fn unescaped(byte: u8) -> Option<u8> {
    match byte {
        b'"' | b'\\' | b'/' => Some(byte),
        b'b' => Some(8),
        b'f' => Some(12),
        b'n' => Some(b'\n'),
        b'r' => Some(b'\r'),
        b't' => Some(b'\t'),
        _ => None,
    }
}

/// A kind of text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) enum Kind {
    Key,
    String,
    Number,
}

/// Why a body is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::format) struct Fail {
    pub(in crate::format) limit: bool,
    pub(in crate::format) what: &'static str,
    /// Bytes of the chunk that were told before the fault.
    pub(in crate::format) taken: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A value must come.
    Value,
    /// A value or `]`.
    FirstElement,
    /// A key or `}`.
    FirstKey,
    Key,
    Colon,
    /// `,` or a close; at depth 0 the end.
    After,
    /// Inside a string.
    Text,
    Number(Number),
    /// Behind a number that broke off.
    Broken,
    /// Inside `true`, `false` or `null`, which go on with these bytes.
    Literal(&'static [u8]),
}

/// Where in a number (RFC 8259, section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    ExponentSign,
    ExponentDigits,
}

impl Number {
    pub(super) fn next(self, byte: u8) -> Option<Number> {
        match (self, byte) {
            (Number::Minus, b'0') => Some(Number::Zero),
            (Number::Minus, b'1'..=b'9') | (Number::Integer, b'0'..=b'9') => Some(Number::Integer),
            (Number::Zero | Number::Integer, b'.') => Some(Number::Point),
            (Number::Point | Number::Fraction, b'0'..=b'9') => Some(Number::Fraction),
            (Number::Zero | Number::Integer | Number::Fraction, b'e' | b'E') => Some(Number::Exponent),
            (Number::Exponent, b'+' | b'-') => Some(Number::ExponentSign),
            (Number::Exponent | Number::ExponentSign | Number::ExponentDigits, b'0'..=b'9') => {
                Some(Number::ExponentDigits)
            }
            _ => None,
        }
    }

    pub(super) fn may_end(self) -> bool {
        matches!(self, Number::Zero | Number::Integer | Number::Fraction | Number::ExponentDigits)
    }
}

/// The tokenizer.
#[derive(Clone, Debug)]
pub(in crate::format) struct Tokens {
    pub(super) state: State,
    /// Open containers; true for arrays.
    pub(super) stack: Vec<bool>,
    is_key: bool,
    /// An escape that is not complete, as spelled.
    spelling: Vec<u8>,
    /// What may follow in a UTF-8 sequence: bytes still to come, and the range of the next (RFC 3629, section 4).
    utf8: (u8, u8, u8),
    /// What is not UTF-8 is taken for text too.
    pub(super) any_bytes: bool,
    /// More than one value may come, with space between.
    many: bool,
    values: u64,
    /// Bytes of a byte order mark so far.
    bom: usize,
    pub(super) at: u64,
}

impl Tokens {
    pub(in crate::format) fn new(many: bool) -> Tokens {
        Tokens {
            state: State::Value,
            stack: Vec::new(),
            is_key: false,
            spelling: Vec::new(),
            utf8: (0, 0, 0),
            any_bytes: false,
            many,
            values: 0,
            bom: 0,
            at: 0,
        }
    }

    /// Takes what is not UTF-8 for text too, if `any`.
    pub(in crate::format) fn take_any_bytes(&mut self, any: bool) {
        self.any_bytes = any;
    }

    /// The document begins here in its body.
    pub(in crate::format) fn start_at(&mut self, at: u64) {
        self.at = at;
    }

    /// Bytes taken and not told: an incomplete escape.
    pub(in crate::format) fn pending(&self) -> &[u8] {
        &self.spelling
    }

    /// True inside a string or number.
    pub(in crate::format) fn in_text(&self) -> bool {
        matches!(self.state, State::Text | State::Number(_))
    }

    /// True between tokens, once the first bytes have come.
    pub(super) fn is_between(&self) -> bool {
        let is_between = match self.state {
            State::Value
            | State::FirstElement
            | State::FirstKey
            | State::Key
            | State::Colon
            | State::After => true,
            State::Text | State::Number(_) | State::Broken | State::Literal(_) => false,
        };
        is_between && self.at > 0 && !matches!(self.bom, 1 | 2)
    }

    /// Takes the next bytes of the body.
    pub(in crate::format) fn feed(
        &mut self,
        bytes: &[u8],
        handler: &mut (impl Handler + ?Sized),
    ) -> Result<(), Fail> {
        self.feed_while(bytes, handler, |_| true).map(drop)
    }

    /// As [`Tokens::feed`], up to where `goes_on` is no longer true: after a token, or a part of one. How many were taken.
    pub(super) fn feed_while<H: Handler + ?Sized>(
        &mut self,
        bytes: &[u8],
        handler: &mut H,
        goes_on: impl Fn(&Tokens) -> bool,
    ) -> Result<usize, Fail> {
        let mut index = 0;
        while let Some(rest) = bytes.get(index..).filter(|r| !r.is_empty() && (index == 0 || goes_on(self))) {
            let step = match self.state {
                State::Text => self.text(rest, handler),
                State::Number(number) => Ok(self.number(number, rest, handler)),
                State::Value
                | State::FirstElement
                | State::FirstKey
                | State::Key
                | State::Colon
                | State::After
                | State::Broken
                | State::Literal(_) => self.structure(rest, handler),
            };
            let taken = step.map_err(|fail| Fail { taken: index + fail.taken, ..fail })?;
            index += taken;
            self.at += taken as u64;
            if let Some(what) = handler.over() {
                return Err(Fail { limit: true, what, taken: index });
            }
        }
        Ok(index)
    }

    /// The body ends.
    pub(in crate::format) fn end(&mut self, handler: &mut (impl Handler + ?Sized)) -> Result<(), Fail> {
        if let State::Number(number) = self.state
            && number.may_end()
        {
            handler.end();
            self.value_ended();
        }
        let done = match self.state {
            State::After => self.stack.is_empty(),
            State::Value => self.stack.is_empty() && (self.values == 0 || self.many),
            _ => false,
        };
        if done { Ok(()) } else { Err(Fail { limit: false, what: "the JSON ends too early", taken: 0 }) }
    }

    pub(super) fn value_ended(&mut self) {
        self.values += 1;
        self.state = if self.stack.is_empty() && self.many { State::Value } else { State::After };
    }

    /// Bytes outside texts; tells them and gives their number.
    fn structure(&mut self, rest: &[u8], handler: &mut (impl Handler + ?Sized)) -> Result<usize, Fail> {
        for (index, &byte) in rest.iter().enumerate() {
            let before = rest.get(..index).unwrap_or_default();
            let with = rest.get(..=index).unwrap_or_default();
            if let State::Literal(expected) = self.state {
                match expected.split_first() {
                    Some((first, more)) if *first == byte => {
                        self.state = State::Literal(more);
                        if more.is_empty() {
                            self.value_ended();
                        }
                        continue;
                    }
                    _ => return fail_after(before, self.at, handler, "expected true, false or null"),
                }
            }
            if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                continue;
            }
            // A byte order mark at the very start passes (RFC 8259, section 8.1 lets parsers ignore it).
            if self.at + index as u64 == self.bom as u64 && BOM.get(self.bom) == Some(&byte) {
                self.bom += 1;
                continue;
            }
            match (self.state, byte) {
                (State::Value, _) if matches!(self.bom, 1 | 2) => {
                    return fail_after(before, self.at, handler, "expected a JSON value");
                }
                (State::Value | State::FirstElement, b'"') => {
                    handler.structure(with, self.at);
                    self.begin_text(Kind::String, handler);
                    return Ok(index + 1);
                }
                (State::Key | State::FirstKey, b'"') => {
                    handler.structure(with, self.at);
                    self.begin_text(Kind::Key, handler);
                    return Ok(index + 1);
                }
                (State::Value | State::FirstElement, b'{' | b'[') => {
                    if self.stack.len() >= DEPTH_MAX {
                        handler.structure(before, self.at);
                        return Err(Fail { limit: true, what: "JSON depth", taken: index });
                    }
                    handler.structure(with, self.at);
                    let array = byte == b'[';
                    self.stack.push(array);
                    self.state = if array { State::FirstElement } else { State::FirstKey };
                    handler.open(array);
                    return Ok(index + 1);
                }
                (State::Value | State::FirstElement, b'-' | b'0'..=b'9') => {
                    handler.structure(before, self.at);
                    let number = match byte {
                        b'-' => Number::Minus,
                        b'0' => Number::Zero,
                        _ => Number::Integer,
                    };
                    self.state = State::Number(number);
                    handler.begin(Kind::Number);
                    handler.plain(rest.get(index..=index).unwrap_or_default(), self.at + index as u64);
                    return Ok(index + 1);
                }
                (State::Value | State::FirstElement, b't' | b'f' | b'n') => {
                    handler.structure(before, self.at);
                    handler.literal();
                    self.state = State::Literal(match byte {
                        b't' => b"rue",
                        b'f' => b"alse",
                        _ => b"ull",
                    });
                    handler.structure(rest.get(index..=index).unwrap_or_default(), self.at + index as u64);
                    return Ok(index + 1);
                }
                (State::After | State::FirstElement | State::FirstKey, b'}' | b']')
                    if self.stack.last() == Some(&(byte == b']'))
                        && (self.state == State::After
                            || (self.state == State::FirstElement) == (byte == b']')) =>
                {
                    handler.structure(with, self.at);
                    self.stack.pop();
                    handler.close();
                    self.value_ended();
                    return Ok(index + 1);
                }
                (State::After, b',') if !self.stack.is_empty() => {
                    self.state = if self.stack.last() == Some(&true) { State::Value } else { State::Key };
                }
                (State::Colon, b':') => self.state = State::Value,
                (State::Value | State::FirstElement, _) => {
                    return fail_after(before, self.at, handler, "expected a JSON value");
                }
                (State::Key | State::FirstKey, _) => {
                    return fail_after(before, self.at, handler, "expected a key in quotes");
                }
                (State::Colon, _) => return fail_after(before, self.at, handler, "expected `:`"),
                (State::After, _) => {
                    let what = if self.stack.is_empty() {
                        "more after the JSON value"
                    } else {
                        "expected `,` or a close"
                    };
                    return fail_after(before, self.at, handler, what);
                }
                (State::Broken, _) => {
                    return fail_after(before, self.at, handler, "a number that breaks off");
                }
                (State::Text | State::Number(_) | State::Literal(_), _) => return Ok(index),
            }
        }
        handler.structure(rest, self.at);
        Ok(rest.len())
    }

    fn begin_text(&mut self, kind: Kind, handler: &mut (impl Handler + ?Sized)) {
        self.is_key = kind == Kind::Key;
        self.state = State::Text;
        handler.begin(kind);
    }

    fn number(&mut self, mut number: Number, rest: &[u8], handler: &mut (impl Handler + ?Sized)) -> usize {
        for (index, &byte) in rest.iter().enumerate() {
            match number.next(byte) {
                Some(next) => number = next,
                None => {
                    handler.plain(rest.get(..index).unwrap_or_default(), self.at);
                    if number.may_end() {
                        handler.end();
                        self.value_ended();
                    } else {
                        handler.end();
                        self.state = State::Broken;
                    }
                    return index;
                }
            }
        }
        self.state = State::Number(number);
        handler.plain(rest, self.at);
        rest.len()
    }

    /// Inside a string: a run of plain bytes, one escape, or the closing quote.
    fn text(&mut self, rest: &[u8], handler: &mut (impl Handler + ?Sized)) -> Result<usize, Fail> {
        if !self.spelling.is_empty() {
            return self.escape(rest, handler);
        }
        for (index, &byte) in rest.iter().enumerate() {
            if self.any_bytes && byte >= 0x80 {
                continue;
            }
            if self.utf8.0 > 0 || byte >= 0x80 {
                if !self.utf8_byte(byte) {
                    self.tell_plain(rest, index, handler);
                    return Err(invalid("a string is not valid UTF-8", index));
                }
                continue;
            }
            match byte {
                b'"' => {
                    match rest.get(..index) {
                        Some(run) if !run.is_empty() => handler.last(run, self.at),
                        _ => handler.end(),
                    }
                    handler.structure(b"\"", self.at + index as u64);
                    if self.is_key {
                        self.state = State::Colon;
                    } else {
                        self.value_ended();
                    }
                    return Ok(index + 1);
                }
                b'\\' => {
                    self.tell_plain(rest, index, handler);
                    self.spelling.push(byte);
                    return Ok(index + 1);
                }
                0..=0x1F => {
                    self.tell_plain(rest, index, handler);
                    return Err(invalid("a control character in a string", index));
                }
                _ => {}
            }
        }
        handler.plain(rest, self.at);
        Ok(rest.len())
    }

    fn tell_plain(&mut self, rest: &[u8], len: usize, handler: &mut (impl Handler + ?Sized)) {
        if len > 0 {
            handler.plain(rest.get(..len).unwrap_or_default(), self.at);
        }
    }

    fn utf8_byte(&mut self, byte: u8) -> bool {
        let (left, low, high) = self.utf8;
        if left > 0 {
            self.utf8 = (left - 1, 0x80, 0xBF);
            return (low..=high).contains(&byte);
        }
        self.utf8 = match byte {
            0xC2..=0xDF => (1, 0x80, 0xBF),
            0xE0 => (2, 0xA0, 0xBF),
            0xED => (2, 0x80, 0x9F),
            0xE1..=0xEF => (2, 0x80, 0xBF),
            0xF0 => (3, 0x90, 0xBF),
            0xF1..=0xF3 => (3, 0x80, 0xBF),
            0xF4 => (3, 0x80, 0x8F),
            _ => return false,
        };
        true
    }

    /// Goes on with an escape (RFC 8259, section 7). A lone surrogate is read as U+FFFD and leaves as it came.
    fn escape(&mut self, rest: &[u8], handler: &mut (impl Handler + ?Sized)) -> Result<usize, Fail> {
        let Some(&byte) = rest.first() else { return Ok(0) };
        let at = self.at - self.spelling.len() as u64;
        let len = self.spelling.len();
        if len == 6 && byte != b'\\' {
            // The first half of a pair, and no second.
            self.tell_lone(at, handler);
            return Ok(0);
        }
        if len == 7 && byte != b'u' {
            self.tell_lone(at, handler);
            self.spelling.push(b'\\');
            return Ok(0);
        }
        self.spelling.push(byte);
        match self.spelling.len() {
            2 if byte == b'u' => {}
            2 => {
                let Some(decoded) = unescaped(byte) else {
                    self.spelling.pop();
                    return Err(invalid("an unknown escape in a string", 0));
                };
                self.tell_escape(&[decoded], at, handler);
            }
            3..=6 | 9..=12 if !byte.is_ascii_hexdigit() => {
                self.spelling.pop();
                return Err(invalid("an escape \\u needs four hexadecimal digits", 0));
            }
            6 => match self.unit(0) {
                0xD800..=0xDBFF => {}
                unit => self.tell_char(unit, at, handler),
            },
            12 => match (self.unit(0), self.unit(6)) {
                (high, low @ 0xDC00..=0xDFFF) => {
                    let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
                    self.tell_char(code, at, handler);
                }
                (_, unit) => {
                    let second = self.spelling.split_off(6);
                    self.tell_lone(at, handler);
                    self.spelling = second;
                    if !(0xD800..=0xDBFF).contains(&unit) {
                        self.tell_char(unit, at + 6, handler);
                    }
                }
            },
            _ => {}
        }
        Ok(1)
    }

    /// The code unit of the escape that begins at `from` of the spelling.
    fn unit(&self, from: usize) -> u32 {
        let digits = self.spelling.get(from + 2..from + 6).unwrap_or_default();
        digits.iter().fold(0, |n, d| n << 4 | (*d as char).to_digit(16).unwrap_or(0))
    }

    fn tell_char(&mut self, code: u32, at: u64, handler: &mut (impl Handler + ?Sized)) {
        let mut buffer = [0; 4];
        let text = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER).encode_utf8(&mut buffer);
        self.tell_escape(text.as_bytes(), at, handler);
    }

    /// The first six bytes of the spelling are half a pair.
    fn tell_lone(&mut self, at: u64, handler: &mut (impl Handler + ?Sized)) {
        self.spelling.truncate(6);
        self.tell_char(0xFFFD, at, handler);
    }

    fn tell_escape(&mut self, decoded: &[u8], at: u64, handler: &mut (impl Handler + ?Sized)) {
        handler.spelled(decoded, &self.spelling, at);
        self.spelling.clear();
    }
}

fn invalid(what: &'static str, taken: usize) -> Fail {
    Fail { limit: false, what, taken }
}

fn fail_after(
    before: &[u8],
    at: u64,
    handler: &mut (impl Handler + ?Sized),
    what: &'static str,
) -> Result<usize, Fail> {
    handler.structure(before, at);
    Err(invalid(what, before.len()))
}
