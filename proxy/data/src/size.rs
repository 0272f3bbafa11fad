//! How much a response says, held against what its caller may get: bytes, rows, spans.
//!
//! JSON is read byte by byte with a constant of memory and without a copy: strings, depth, and whether an array is inside
//! another one. Rows are the elements of the outermost arrays, wherever they stand (`[…]`, `{"data": […]}`), or the
//! values of JSON lines. Spans are the keys that name one (`spanId`, `span_id`), the links of a span
//! too: in doubt there are more.

use sluice_engine::Format;
use sluice_policy::ResponseLimits;

/// The longest key that counts, with its quotes.
const KEY_BYTES_MAX: usize = 9;

/// Counts what a body says.
pub(crate) struct Size {
    limits: ResponseLimits,
    /// Each value at the top is a row.
    by_value: bool,
    bytes: u64,
    rows: u64,
    spans: u64,
    /// Arrays and objects that are open.
    depth: u64,
    /// The depth of the outermost array that is open.
    array_at: Option<u64>,
    /// A value has begun at this place of an array, or at the top.
    in_value: bool,
    in_string: bool,
    is_escaped: bool,
    /// The string that is being read, or was last: its first bytes, and how many there are.
    key: [u8; KEY_BYTES_MAX],
    key_len: usize,
}

impl Size {
    /// `None`: nothing is limited, or a limit can't be held for this format, which is an error.
    ///
    /// # Errors
    /// Rows or spans are limited, and the body is not of a format in which they can be counted.
    pub(crate) fn new(limits: ResponseLimits, format: Format) -> Result<Option<Size>, ()> {
        if limits == ResponseLimits::default() {
            return Ok(None);
        }
        let by_value = match format {
            Format::Ndjson => true,
            Format::Json => false,
            _ if limits.rows_max.is_none() && limits.spans_max.is_none() => false,
            _ => return Err(()),
        };
        Ok(Some(Size {
            limits,
            by_value,
            bytes: 0,
            rows: 0,
            spans: 0,
            depth: 0,
            array_at: None,
            in_value: false,
            in_string: false,
            is_escaped: false,
            key: [0; KEY_BYTES_MAX],
            key_len: 0,
        }))
    }

    /// Takes the next bytes of the body, without codings.
    pub(crate) fn see(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.limits.rows_max.is_some() || self.limits.spans_max.is_some() {
            bytes.iter().for_each(|byte| self.byte(*byte));
        }
    }

    /// True once more has come than may.
    pub(crate) fn is_over(&self) -> bool {
        let over = |max: Option<u64>, count| max.is_some_and(|max| count > max);
        over(self.limits.bytes_max, self.bytes)
            || over(self.limits.rows_max, self.rows)
            || over(self.limits.spans_max, self.spans)
    }

    fn byte(&mut self, byte: u8) {
        if self.in_string {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            self.note(byte);
            return;
        }
        match byte {
            b' ' | b'\t' | b'\r' => {}
            b'\n' => {
                // In JSON lines a line ends what was on it.
                if self.by_value && self.depth == 0 {
                    self.in_value = false;
                }
            }
            b'"' => {
                self.value();
                (self.in_string, self.key_len) = (true, 0);
                self.note(byte);
            }
            b'[' | b'{' => {
                self.value();
                self.depth += 1;
                if byte == b'[' && self.array_at.is_none() {
                    (self.array_at, self.in_value) = (Some(self.depth), false);
                }
            }
            b']' | b'}' => {
                if self.array_at == Some(self.depth) {
                    (self.array_at, self.in_value) = (None, true);
                }
                self.depth = self.depth.saturating_sub(1);
            }
            b',' if self.array_at == Some(self.depth) => self.in_value = false,
            b':' => self.colon(),
            _ => self.value(),
        }
    }

    /// Something of a value: the first of one in an outermost array, or at the top, is a row.
    fn value(&mut self) {
        let is_row = if self.by_value { self.depth == 0 } else { self.array_at == Some(self.depth) };
        if is_row && !std::mem::replace(&mut self.in_value, true) {
            self.rows += 1;
        }
    }

    fn note(&mut self, byte: u8) {
        if let Some(place) = self.key.get_mut(self.key_len) {
            *place = byte;
        }
        self.key_len = self.key_len.saturating_add(1);
    }

    /// What was read last was a key.
    fn colon(&mut self) {
        let key = self.key.get(..self.key_len).unwrap_or_default();
        if matches!(key, b"\"spanId\"" | b"\"span_id\"") {
            self.spans += 1;
        }
        self.key_len = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(format: Format, body: &str) -> (u64, u64, u64) {
        let limits = ResponseLimits { bytes_max: Some(9), rows_max: Some(1), spans_max: Some(1) };
        let (mut whole, mut cut) =
            (Size::new(limits, format).unwrap().unwrap(), Size::new(limits, format).unwrap().unwrap());
        whole.see(body.as_bytes());
        body.as_bytes().iter().for_each(|byte| cut.see(&[*byte]));
        assert_eq!((whole.bytes, whole.rows, whole.spans), (cut.bytes, cut.rows, cut.spans), "{body}");
        (whole.bytes, whole.rows, whole.spans)
    }

    #[test]
    fn rows_and_spans() {
        for (format, body, rows, spans) in [
            (Format::Json, "[]", 0, 0),
            (Format::Json, " [ ] ", 0, 0),
            (Format::Json, "[1]", 1, 0),
            (Format::Json, "[1, [2, 3], {\"a\": [4, 5]}]", 3, 0),
            (Format::Json, "{\"data\": [\"a,b\", \"[\\\"x\\\",\", null]}", 3, 0),
            (Format::Json, "{\"a\": [1, 2], \"b\": {\"c\": [3]}}", 3, 0),
            (Format::Json, "{\"a\": 1}", 0, 0),
            (
                Format::Json,
                "[{\"spanId\": \"1\"}, {\"span_id\" : \"spanId\"}, {\"parentSpanId\": \"spanId:\"}]",
                3,
                2,
            ),
            (Format::Ndjson, "{\"a\": [1, 2]}\n{\"b\": 2}\n\n3", 3, 0),
            (Format::Ndjson, "[1,\n2]\n\"x\"\n", 2, 0),
        ] {
            assert_eq!(counted(format, body), (body.len() as u64, rows, spans), "{body}");
        }
    }

    #[test]
    fn a_limit_is_held_at_one_past_it() {
        let over = |limits, body: &str| {
            let mut size = Size::new(limits, Format::Json).unwrap().unwrap();
            size.see(body.as_bytes());
            size.is_over()
        };
        let none = ResponseLimits::default();
        for (limits, fits, over_it) in [
            (ResponseLimits { bytes_max: Some(3), ..none }, "[1]", "[12]"),
            (ResponseLimits { rows_max: Some(2), ..none }, "[1,2]", "[1,2,3"),
            (ResponseLimits { rows_max: Some(0), ..none }, "[]", "[1"),
            (ResponseLimits { spans_max: Some(0), ..none }, "{\"a\":1}", "{\"spanId\":"),
        ] {
            assert!(!over(limits, fits), "{fits}");
            assert!(over(limits, over_it), "{over_it}");
        }
        assert!(Size::new(none, Format::Text).unwrap().is_none());
        let rows = ResponseLimits { rows_max: Some(1), ..none };
        assert!(Size::new(rows, Format::Text).is_err(), "there they can't be counted");
        assert!(Size::new(ResponseLimits { bytes_max: Some(1), ..none }, Format::Text).is_ok());
    }
}
