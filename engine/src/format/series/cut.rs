//! Cuts a series of JSON values: those that stand one after another, and the elements of an outermost array.
//!
//! ```text
//!             [           value            ,
//!      Top ───────► First ───────► After ───────► Next
//!    ▲  │             │ ]          │ ]  ▲           │
//!    └──┘ value       └─────► Over ◄┘   └───────────┘ value
//! ```
//!
//! It sees where a value ends and what stands between values, and leaves what a value is to others.
#![deny(clippy::indexing_slicing)]

/// Where between values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Outside of arrays.
    Top,
    /// Behind `[`.
    First,
    /// Behind an element.
    After,
    /// Behind a comma.
    Next,
    /// Nothing more may come.
    Over,
    /// Inside a value.
    Value(Value),
}

/// How far a value has been seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Value {
    /// Containers that are open in it.
    depth: usize,
    string: Option<InString>,
    /// It ends before the first byte that can't be a part of it.
    is_scalar: bool,
    in_array: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InString {
    Plain,
    /// Behind a backslash.
    Escape,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// So many bytes between values.
    Between(usize),
    /// So many bytes of a value.
    Part(usize),
    /// So many bytes of a value, which ends with them. A scalar ends with none of them.
    Last(usize),
    /// Nothing that could stand here.
    Fault(&'static str),
}

/// The cutter of one body.
#[derive(Debug)]
pub(super) struct Cutter {
    state: State,
    /// Values may stand one after another.
    many: bool,
}

impl Cutter {
    pub(super) fn new(many: bool) -> Cutter {
        Cutter { state: State::Top, many }
    }

    /// Inside a value.
    pub(super) fn in_value(&self) -> bool {
        matches!(self.state, State::Value(_))
    }

    /// Inside the outermost array.
    pub(super) fn in_array(&self) -> bool {
        match self.state {
            State::Top | State::Over => false,
            State::Value(value) => value.in_array,
            State::First | State::After | State::Next => true,
        }
    }

    /// Whether the body may end here, as far as its arrays tell.
    pub(super) fn may_end(&self) -> bool {
        !self.in_array()
    }

    /// What the next bytes are, of which there is at least one.
    pub(super) fn next(&mut self, bytes: &[u8]) -> Piece {
        if let State::Value(value) = self.state {
            return self.value(value, bytes);
        }
        let spaces = bytes.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        let Some(&byte) = bytes.get(spaces) else { return Piece::Between(spaces) };
        let state = match (self.state, byte) {
            (State::Top, b'[') => Some(State::First),
            (State::After, b',') => Some(State::Next),
            (State::First | State::After, b']') => Some(if self.many { State::Top } else { State::Over }),
            _ => None,
        };
        if let Some(state) = state {
            self.state = state;
            return Piece::Between(spaces + 1);
        }
        let is_place = matches!(self.state, State::Top | State::First | State::Next);
        let begins = matches!(byte, b'{' | b'[' | b'"' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n');
        if spaces > 0 {
            return Piece::Between(spaces);
        }
        if !is_place || !begins {
            return Piece::Fault(match self.state {
                State::After => "expected `,` or a close",
                State::Over => "more after the JSON value",
                State::Top | State::First | State::Next | State::Value(_) => "expected a JSON value",
            });
        }
        let is_scalar = !matches!(byte, b'{' | b'[' | b'"');
        let in_array = self.state != State::Top;
        self.state = State::Value(Value { depth: 0, string: None, is_scalar, in_array });
        self.next(bytes)
    }

    fn value(&mut self, mut value: Value, bytes: &[u8]) -> Piece {
        let len = if value.is_scalar {
            bytes
                .iter()
                .position(|b| !matches!(b, b'-' | b'+' | b'.' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z'))
        } else {
            value.take(bytes)
        };
        match len {
            Some(len) => {
                self.state = match (value.in_array, self.many) {
                    (true, _) => State::After,
                    (false, true) => State::Top,
                    (false, false) => State::Over,
                };
                Piece::Last(len)
            }
            None => {
                self.state = State::Value(value);
                Piece::Part(bytes.len())
            }
        }
    }
}

impl Value {
    /// Takes bytes of a container or string; how many, if it ends with them.
    fn take(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match self.string {
                Some(InString::Escape) => {
                    self.string = Some(InString::Plain);
                    at += 1;
                }
                Some(InString::Plain) => {
                    let found = memchr::memchr2(b'"', b'\\', rest)?;
                    at += found + 1;
                    let is_end = rest.get(found) == Some(&b'"');
                    self.string = if is_end { None } else { Some(InString::Escape) };
                    if is_end && self.depth == 0 {
                        return Some(at);
                    }
                }
                None => {
                    let found = rest.iter().position(|b| matches!(b, b'"' | b'{' | b'[' | b'}' | b']'))?;
                    at += found + 1;
                    match rest.get(found) {
                        Some(b'"') => self.string = Some(InString::Plain),
                        Some(b'{' | b'[') => self.depth += 1,
                        _ => {
                            self.depth = self.depth.saturating_sub(1);
                            if self.depth == 0 {
                                return Some(at);
                            }
                        }
                    }
                }
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The values of a body, and what is wrong with it.
    fn cut(body: &str, many: bool, chunk: usize) -> (Vec<String>, Option<&'static str>, bool) {
        let (mut cutter, mut values, mut value) = (Cutter::new(many), Vec::new(), Vec::new());
        for mut rest in body.as_bytes().chunks(chunk) {
            while !rest.is_empty() {
                let len = match cutter.next(rest) {
                    Piece::Between(len) => len,
                    Piece::Part(len) => {
                        value.extend_from_slice(&rest[..len]);
                        len
                    }
                    Piece::Last(len) => {
                        value.extend_from_slice(&rest[..len]);
                        values.push(String::from_utf8(std::mem::take(&mut value)).unwrap());
                        len
                    }
                    Piece::Fault(what) => return (values, Some(what), false),
                };
                rest = &rest[len..];
            }
        }
        let end = cutter.may_end();
        if !value.is_empty() {
            values.push(String::from_utf8(value).unwrap());
        }
        (values, None, end)
    }

    #[test]
    fn values_are_cut() {
        for (body, many, values, fault, end) in [
            (
                r#" {"a":"}\"{"} {"b":[1]}1 "x" "#,
                true,
                &[r#"{"a":"}\"{"}"#, r#"{"b":[1]}"#, "1", r#""x""#][..],
                None,
                true,
            ),
            ("[{\"a\":1}\n,\n[2], 3 ]\n", false, &["{\"a\":1}", "[2]", "3"], None, true),
            ("[1][2]", true, &["1", "2"], None, true),
            ("[]", false, &[], None, true),
            ("12", false, &["12"], None, true),
            ("[1", false, &["1"], None, false),
            ("[1,", false, &["1"], None, false),
            ("{\"a\"", true, &["{\"a\""], None, true),
            ("[1 2]", false, &["1"], Some("expected `,` or a close"), false),
            ("[1]2", false, &["1"], Some("more after the JSON value"), false),
            ("[,1]", false, &[], Some("expected a JSON value"), false),
            ("[1,]", false, &["1"], Some("expected a JSON value"), false),
            ("x", true, &[], Some("expected a JSON value"), false),
        ] {
            for chunk in [1, 2, 3, 100] {
                let (found, what, over) = cut(body, many, chunk);
                assert_eq!(
                    (found.as_slice(), what, over),
                    (values.iter().map(|v| (*v).to_owned()).collect::<Vec<_>>().as_slice(), fault, end),
                    "{body} by {chunk}"
                );
            }
        }
    }
}
