//! Messages of the event stream: reading one that is whole, and writing one.
//!
//! ```text
//!   ┌──────────────┬────────────────┬─────────────┬─────────┬─────────┬─────────────┐
//!   │ total length │ headers length │ prelude CRC │ headers │ payload │ message CRC │   numbers in network order
//!   └──────────────┴────────────────┴─────────────┴─────────┴─────────┴─────────────┘
//! ```
//!
//! Source: the Smithy specification, "Amazon Event Stream", section "Message format"; the CRCs are CRC-32 of RFC 1952.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;

/// Bytes of the lengths and their CRC.
pub(super) const PRELUDE_BYTES: usize = 12;
const CRC_BYTES: usize = 4;
/// The shortest message: no headers, no payload.
const MESSAGE_BYTES_MIN: usize = PRELUDE_BYTES + CRC_BYTES;
/// Most bytes of headers, by the specification.
const HEADERS_BYTES_MAX: usize = 128 * 1024;

/// The lengths of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prelude {
    pub(super) total: usize,
    headers: usize,
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b))
}

impl Prelude {
    /// Reads the first bytes of a message.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn of(bytes: &[u8]) -> Result<Prelude, &'static str> {
        let (Some(total), Some(headers), Some(crc)) = (number(bytes, 0), number(bytes, 4), number(bytes, 8))
        else {
            return Err("a prelude that is too short");
        };
        if crc32fast::hash(bytes.get(..8).unwrap_or_default()) != crc {
            return Err("the CRC of a prelude is wrong");
        }
        let (total, headers) = (total as usize, headers as usize);
        if headers > HEADERS_BYTES_MAX || total < MESSAGE_BYTES_MIN + headers {
            return Err("the lengths of a message are wrong");
        }
        Ok(Prelude { total, headers })
    }
}

/// A header, as ranges of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Range<usize>,
    pub(super) kind: u8,
    /// Of strings and bytes: without their length.
    pub(super) value: Range<usize>,
}

/// Types of header values.
const BYTES: u8 = 6;
const STRING: u8 = 7;

impl Header {
    /// Whether its value is a text: a string, or bytes.
    pub(super) fn is_text(&self) -> bool {
        matches!(self.kind, BYTES | STRING)
    }
}

/// A message that is whole.
#[derive(Debug)]
pub(super) struct Message<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) headers: Vec<Header>,
    pub(super) payload: Range<usize>,
}

impl<'a> Message<'a> {
    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn of(bytes: &'a [u8], prelude: Prelude) -> Result<Message<'a>, &'static str> {
        let body = bytes.len().checked_sub(CRC_BYTES).filter(|_| bytes.len() == prelude.total);
        let body = body.ok_or("the lengths of a message are wrong")?;
        if number(bytes, body) != Some(crc32fast::hash(bytes.get(..body).unwrap_or_default())) {
            return Err("the CRC of a message is wrong");
        }
        let payload = PRELUDE_BYTES + prelude.headers..body;
        let mut headers = Vec::new();
        let mut at = PRELUDE_BYTES;
        while at < payload.start {
            let block = bytes.get(..payload.start).unwrap_or_default();
            let header = header(block, at).ok_or("a header that breaks off")?;
            at = header.value.end;
            headers.push(header);
        }
        Ok(Message { bytes, headers, payload })
    }

    pub(super) fn part(&self, range: &Range<usize>) -> &'a [u8] {
        self.bytes.get(range.clone()).unwrap_or_default()
    }

    /// The string that a header has.
    pub(super) fn string(&self, name: &str) -> Option<&'a str> {
        let header = self.headers.iter().find(|h| self.part(&h.name) == name.as_bytes())?;
        std::str::from_utf8(self.part(&header.value)).ok().filter(|_| header.kind == STRING)
    }
}

/// The header that begins at `at`; `None` where it goes on after the end or has an unknown type.
fn header(bytes: &[u8], at: usize) -> Option<Header> {
    let name_len = usize::from(*bytes.get(at)?);
    let name = at + 1..at + 1 + name_len;
    let kind = *bytes.get(name.end)?;
    let from = name.end + 1;
    let value = match kind {
        // true, false
        0 | 1 => from..from,
        2 => from..from + 1,
        3 => from..from + 2,
        4 => from..from + 4,
        // A long, a timestamp.
        5 | 8 => from..from + 8,
        BYTES | STRING => {
            let len = bytes.get(from..)?.first_chunk().map(|b| u16::from_be_bytes(*b))?;
            from + 2..from + 2 + usize::from(len)
        }
        // A UUID.
        9 => from..from + 16,
        _ => return None,
    };
    (value.end <= bytes.len() && name_len > 0).then_some(Header { name, kind, value })
}

/// Appends a header.
///
/// # Errors
/// The name of a limit: of the name or of a text.
pub(super) fn write_header(
    name: &[u8],
    kind: u8,
    value: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), &'static str> {
    out.push(u8::try_from(name.len()).map_err(|_| "the length of a header")?);
    out.extend_from_slice(name);
    out.push(kind);
    if matches!(kind, BYTES | STRING) {
        let len = u16::try_from(value.len()).map_err(|_| "the length of a header")?;
        out.extend_from_slice(&len.to_be_bytes());
    }
    out.extend_from_slice(value);
    Ok(())
}

/// Appends a message with these headers, as they are spelled, and this payload.
///
/// # Errors
/// The name of a limit.
pub(super) fn write(headers: &[u8], payload: &[u8], out: &mut Vec<u8>) -> Result<(), &'static str> {
    if headers.len() > HEADERS_BYTES_MAX {
        return Err("the length of a header");
    }
    let total = u32::try_from(MESSAGE_BYTES_MIN + headers.len() + payload.len());
    let total = total.map_err(|_| "the size of a message")?;
    let from = out.len();
    out.extend_from_slice(&total.to_be_bytes());
    out.extend_from_slice(&(headers.len() as u32).to_be_bytes());
    let crc = crc32fast::hash(out.get(from..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(headers);
    out.extend_from_slice(payload);
    let crc = crc32fast::hash(out.get(from..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
    Ok(())
}
