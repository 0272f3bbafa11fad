//! JSON by RFC 8785 (JCS), read strictly: a key twice, a lone surrogate, text behind the value and nesting beyond
//! [`DEPTH_MAX`] have no canonical form.
//!
//! One step beyond the RFC, which folds every number into a double: a whole number that no double spells (2^53 + 1, 1e400)
//! stands in its own exact decimal form. Readers with large integers tell it from its neighbours, so a digest must too.

use super::Uncanonical;

/// The deepest nesting.
pub(super) const DEPTH_MAX: usize = 128;
/// The longest spelling of a number.
const NUMBER_BYTES_MAX: usize = 1_024;
/// The greatest number of lines of JSON lines.
const LINES_MAX: usize = 10_000;

/// The canonical text of one value.
pub(super) fn canonical(text: &[u8]) -> Result<String, Uncanonical> {
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(e) => return Err(Uncanonical::at("the JSON is not UTF-8", e.valid_up_to())),
    };
    let mut reader = Reader { text, at: 0 };
    let mut written = String::with_capacity(text.len());
    reader.value(&mut written, DEPTH_MAX)?;
    reader.space();
    match reader.peek() {
        None => Ok(written),
        Some(_) => Err(reader.fault("there is something behind the JSON value")),
    }
}

/// The canonical text of each line that holds a value.
pub(super) fn canonical_lines(text: &[u8]) -> Result<Vec<String>, Uncanonical> {
    let lines = text.split(|&b| b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let mut values = Vec::new();
    for line in lines {
        if values.len() == LINES_MAX {
            return Err(Uncanonical::new("there are too many lines of JSON"));
        }
        values.push(canonical(line)?);
    }
    Ok(values)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Reader<'a> {
    fn fault(&self, reason: &'static str) -> Uncanonical {
        Uncanonical::at(reason, self.at)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn value(&mut self, out: &mut String, depth: usize) -> Result<(), Uncanonical> {
        self.space();
        match self.peek() {
            Some(b'{') if depth > 0 => self.object(out, depth - 1),
            Some(b'[') if depth > 0 => self.array(out, depth - 1),
            Some(b'{' | b'[') => Err(self.fault("the JSON is nested too deeply")),
            Some(b'"') => {
                let string = self.string()?;
                write_string(out, &string);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => self.number(out),
            Some(_) | None => {
                for word in ["true", "false", "null"] {
                    if self.rest().starts_with(word) {
                        self.at += word.len();
                        out.push_str(word);
                        return Ok(());
                    }
                }
                Err(self.fault("a JSON value was expected"))
            }
        }
    }

    fn array(&mut self, out: &mut String, depth: usize) -> Result<(), Uncanonical> {
        self.at += 1;
        out.push('[');
        self.space();
        if !self.take(b']') {
            loop {
                self.value(out, depth)?;
                self.space();
                if self.take(b']') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.fault("`,` or `]` was expected"));
                }
                out.push(',');
            }
        }
        out.push(']');
        Ok(())
    }

    fn object(&mut self, out: &mut String, depth: usize) -> Result<(), Uncanonical> {
        self.at += 1;
        let mut members: Vec<(String, String)> = Vec::new();
        self.space();
        if !self.take(b'}') {
            loop {
                self.space();
                if self.peek() != Some(b'"') {
                    return Err(self.fault("a key was expected"));
                }
                let key = self.string()?;
                self.space();
                if !self.take(b':') {
                    return Err(self.fault("`:` was expected"));
                }
                let mut value = String::new();
                self.value(&mut value, depth)?;
                members.push((key, value));
                self.space();
                if self.take(b'}') {
                    break;
                }
                if !self.take(b',') {
                    return Err(self.fault("`,` or `}` was expected"));
                }
            }
        }
        self.write_members(out, members)
    }

    /// Members sorted by their keys' UTF-16 code units (RFC 8785, section 3.2.3).
    fn write_members(&self, out: &mut String, mut members: Vec<(String, String)>) -> Result<(), Uncanonical> {
        members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
        if members.iter().zip(members.iter().skip(1)).any(|(a, b)| a.0 == b.0) {
            return Err(self.fault("an object has a key twice"));
        }
        out.push('{');
        for (n, (key, value)) in members.iter().enumerate() {
            if n > 0 {
                out.push(',');
            }
            write_string(out, key);
            out.push(':');
            out.push_str(value);
        }
        out.push('}');
        Ok(())
    }

    fn string(&mut self) -> Result<String, Uncanonical> {
        self.at += 1;
        let mut string = String::new();
        loop {
            let rest = self.rest();
            let plain = rest.find(|c: char| c == '"' || c == '\\' || c < ' ').unwrap_or(rest.len());
            string.push_str(rest.get(..plain).unwrap_or_default());
            self.at += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(string);
                }
                Some(b'\\') => string.push(self.escape()?),
                Some(_) => return Err(self.fault("a string has a control character")),
                None => return Err(self.fault("a string has no end")),
            }
        }
    }

    fn escape(&mut self) -> Result<char, Uncanonical> {
        self.at += 1;
        let kind = self.peek();
        self.at += 1;
        Ok(match kind {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                let unit = self.unit()?;
                let mut units = vec![unit];
                if (0xD800..0xDC00).contains(&unit) && self.rest().starts_with("\\u") {
                    self.at += 2;
                    units.push(self.unit()?);
                }
                let mut decoded = char::decode_utf16(units);
                match (decoded.next(), decoded.next()) {
                    (Some(Ok(c)), None) => c,
                    (_, _) => return Err(self.fault("a string has half of a surrogate pair")),
                }
            }
            Some(_) | None => return Err(self.fault("an escape can't be read")),
        })
    }

    fn unit(&mut self) -> Result<u16, Uncanonical> {
        let digits = self.rest().get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let unit = digits.and_then(|d| u16::from_str_radix(d, 16).ok());
        self.at += 4;
        unit.ok_or(self.fault("`\\u` has four digits"))
    }

    /// RFC 8259, section 6.
    fn number(&mut self, out: &mut String) -> Result<(), Uncanonical> {
        let start = self.at;
        let is_negative = self.take(b'-');
        let whole = self.digits();
        if whole.is_empty() || (whole.len() > 1 && whole.starts_with('0')) {
            return Err(self.fault("a number is not as JSON spells it"));
        }
        let mut fraction = "";
        if self.take(b'.') {
            fraction = self.digits();
            if fraction.is_empty() {
                return Err(self.fault("a number is not as JSON spells it"));
            }
        }
        let mut exponent: i64 = 0;
        if self.take(b'e') || self.take(b'E') {
            let is_less = if self.take(b'+') { false } else { self.take(b'-') };
            let digits = self.digits();
            let read = digits.parse::<i64>().ok().filter(|n| *n <= 1 << 32);
            let read = read.ok_or(self.fault("a number's exponent can't be read"))?;
            exponent = if is_less { -read } else { read };
        }
        let spelling = self.text.get(start..self.at).unwrap_or_default();
        if spelling.len() > NUMBER_BYTES_MAX {
            return Err(self.fault("a number is too long"));
        }
        let exact = Decimal::new(is_negative, whole, fraction, exponent);
        let double = spelling.parse::<f64>().ok().filter(|d| d.is_finite());
        let shortest = double.and_then(Decimal::of_double);
        match shortest {
            Some(shortest) if shortest == exact || !exact.is_whole() => shortest.write_as_ecmascript(out),
            Some(_) | None => exact.write_exactly(out),
        }
        Ok(())
    }

    fn digits(&mut self) -> &'a str {
        let rest = self.rest();
        let length = rest.bytes().take_while(u8::is_ascii_digit).count();
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }
}

/// A decimal number: 0.DIGITS times ten to the `exponent`, without zeros at either end; zero has no digits and no sign.
#[derive(Debug, PartialEq, Eq)]
struct Decimal {
    is_negative: bool,
    digits: String,
    exponent: i64,
}

impl Decimal {
    fn new(is_negative: bool, whole: &str, fraction: &str, exponent: i64) -> Decimal {
        let all = format!("{whole}{fraction}");
        let digits = all.trim_start_matches('0');
        let exponent = exponent + whole.len() as i64 - (all.len() - digits.len()) as i64;
        let digits = digits.trim_end_matches('0').to_owned();
        if digits.is_empty() {
            return Decimal { is_negative: false, digits, exponent: 0 };
        }
        Decimal { is_negative, digits, exponent }
    }

    fn is_whole(&self) -> bool {
        self.exponent >= self.digits.len() as i64
    }

    /// The shortest decimal that reads as this double.
    fn of_double(double: f64) -> Option<Decimal> {
        let text = format!("{double:e}");
        let (mantissa, exponent) = text.split_once('e')?;
        let (is_negative, mantissa) = match mantissa.strip_prefix('-') {
            Some(mantissa) => (true, mantissa),
            None => (false, mantissa),
        };
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        Some(Decimal::new(is_negative, whole, fraction, exponent.parse().ok()?))
    }

    /// As ECMAScript writes a number (ECMA-262, Number::toString with radix 10).
    fn write_as_ecmascript(&self, out: &mut String) {
        if self.digits.is_empty() {
            out.push('0');
            return;
        }
        if self.is_negative {
            out.push('-');
        }
        let (digits, point) = (self.digits.as_str(), self.exponent);
        let count = digits.len() as i64;
        if (count..=21).contains(&point) {
            out.push_str(digits);
            out.extend(std::iter::repeat_n('0', (point - count) as usize));
        } else if (1..=21).contains(&point) {
            let (whole, fraction) = digits.split_at(point as usize);
            out.push_str(&format!("{whole}.{fraction}"));
        } else if (-5..=0).contains(&point) {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', (-point) as usize));
            out.push_str(digits);
        } else {
            let (first, others) = digits.split_at(1);
            let dot = if others.is_empty() { "" } else { "." };
            let sign = if point > 0 { "+" } else { "-" };
            out.push_str(&format!("{first}{dot}{others}e{sign}{}", (point - 1).unsigned_abs()));
        }
    }

    fn write_exactly(&self, out: &mut String) {
        let sign = if self.is_negative { "-" } else { "" };
        out.push_str(&format!("{sign}0.{}e{}", self.digits, self.exponent));
    }
}

/// RFC 8785, section 3.2.2.2.
fn write_string(out: &mut String, string: &str) {
    out.push('"');
    for c in string.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}
