//! Body framing (RFC 9112, sections 6 and 7): bytes in as they come, content out; and back.

use super::fields::{Fields, is_text_byte, is_token_byte, trim};

/// How a body is delimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    Empty,
    /// So many bytes.
    Length(u64),
    /// Chunks.
    Chunked,
    /// All until the connection closes (responses only).
    UntilClose,
}

/// Longest line of a chunk's size with its extensions, which are dropped.
pub const SIZE_LINE_BYTES_MAX: usize = 4096;
/// Most bytes of all extensions of a body (RFC 9112, section 7.1.1, asks for such a limit).
pub const EXTENSION_BYTES_MAX: usize = 16 * 1024 - 1;
/// Most bytes of a trailer section.
pub const TRAILER_BYTES_MAX: usize = 16 * 1024;
/// Most trailer fields.
pub const TRAILER_FIELDS_MAX: usize = 64;

/// A fault of framing: what is wrong, in words that hold nothing of the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyFault(pub &'static str);

/// Takes a body apart.
///
/// ```text
///   Size ──CRLF──► Data ──all──► DataEnd ──CRLF──► Size
///     └──0──► Trailers ──empty line──► Done
/// ```
#[derive(Debug)]
pub struct BodyDecoder {
    state: State,
    /// A line of a chunk's size or of the trailers, as far as it is in.
    line: Vec<u8>,
    extension_bytes: usize,
    trailer_bytes: usize,
    trailers: Fields,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Length(u64),
    Size,
    Data(u64),
    /// Behind a chunk: CR, then LF.
    DataEnd(bool),
    Trailers,
    UntilClose,
    Done,
}

impl BodyDecoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new(framing: Framing) -> BodyDecoder {
        let state = match framing {
            Framing::Empty | Framing::Length(0) => State::Done,
            Framing::Length(len) => State::Length(len),
            Framing::Chunked => State::Size,
            Framing::UntilClose => State::UntilClose,
        };
        BodyDecoder {
            state,
            line: Vec::new(),
            extension_bytes: 0,
            trailer_bytes: 0,
            trailers: Fields::default(),
        }
    }

    /// True when the whole body has been taken.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// The trailers, once done.
    #[must_use]
    pub fn trailers(&self) -> &Fields {
        &self.trailers
    }

    /// Takes bytes and appends content to `out`; gives how many of `bytes` belong to the body.
    ///
    /// # Errors
    /// The framing is broken: nothing after this can be trusted.
    pub fn decode(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, BodyFault> {
        let mut rest = bytes;
        while !rest.is_empty() && self.state != State::Done {
            rest = self.step(rest, out)?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// The connection ended.
    ///
    /// # Errors
    /// The body did not.
    pub fn end(&mut self) -> Result<(), BodyFault> {
        match self.state {
            State::Done => Ok(()),
            State::UntilClose => {
                self.state = State::Done;
                Ok(())
            }
            State::Length(_) | State::Size | State::Data(_) | State::DataEnd(_) | State::Trailers => {
                Err(BodyFault("the body ends before its framing says"))
            }
        }
    }

    fn step<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], BodyFault> {
        match self.state {
            State::Done => Ok(rest),
            State::UntilClose => {
                out.extend_from_slice(rest);
                Ok(&[])
            }
            State::Length(left) | State::Data(left) => {
                let now = usize::try_from(left).unwrap_or(usize::MAX).min(rest.len());
                let (content, more) = rest.split_at(now);
                out.extend_from_slice(content);
                let left = left - now as u64;
                self.state = match (self.state, left) {
                    (State::Length(_), 0) => State::Done,
                    (State::Length(_), left) => State::Length(left),
                    (_, 0) => State::DataEnd(false),
                    (_, left) => State::Data(left),
                };
                Ok(more)
            }
            State::DataEnd(cr) => match (rest.split_first(), cr) {
                (Some((b'\r', more)), false) => {
                    self.state = State::DataEnd(true);
                    Ok(more)
                }
                (Some((b'\n', more)), true) => {
                    self.state = State::Size;
                    Ok(more)
                }
                _ => Err(BodyFault("a chunk does not end with CRLF")),
            },
            State::Size => {
                let Some((line, more)) = take_line(&mut self.line, rest, SIZE_LINE_BYTES_MAX)? else {
                    return Ok(&[]);
                };
                let (size, extension_bytes) = chunk_size(line)?;
                self.line.clear();
                self.extension_bytes += extension_bytes;
                if self.extension_bytes > EXTENSION_BYTES_MAX {
                    return Err(BodyFault("the extensions of the chunks are longer than the limit"));
                }
                self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                Ok(more)
            }
            State::Trailers => {
                // The line that reaches the limit counts with its CRLF, which passes it by one.
                let left = TRAILER_BYTES_MAX.saturating_sub(self.trailer_bytes);
                let Some((line, more)) = take_line(&mut self.line, rest, left)? else { return Ok(&[]) };
                self.trailer_bytes += line.len() + 2;
                if line.is_empty() {
                    self.state = State::Done;
                } else {
                    add_trailer(&mut self.trailers, line)?;
                }
                self.line.clear();
                Ok(more)
            }
        }
    }
}

/// The line that ends in `rest`, without its CRLF, and what follows it; it may have begun in `begun`, which keeps it
/// while it has not ended. It must end with CRLF.
#[allow(clippy::type_complexity)]
fn take_line<'a, 'b>(
    begun: &'b mut Vec<u8>,
    rest: &'a [u8],
    max: usize,
) -> Result<Option<(&'b [u8], &'a [u8])>, BodyFault>
where
    'a: 'b,
{
    let end = memchr::memchr(b'\n', rest);
    let (line, more) = rest.split_at(end.unwrap_or(rest.len()));
    if begun.len() + line.len() > max {
        return Err(BodyFault("a line of the chunked body is longer than the limit"));
    }
    if end.is_none() {
        begun.extend_from_slice(line);
        return Ok(None);
    }
    let whole = if begun.is_empty() {
        line
    } else {
        begun.extend_from_slice(line);
        begun.as_slice()
    };
    let Some((b'\r', whole)) = whole.split_last() else {
        return Err(BodyFault("a line of the chunked body does not end with CRLF"));
    };
    if memchr::memchr(b'\r', whole).is_some() {
        return Err(BodyFault("a line of the chunked body holds CR"));
    }
    Ok(Some((whole, more.get(1..).unwrap_or_default())))
}

fn add_trailer(trailers: &mut Fields, line: &[u8]) -> Result<(), BodyFault> {
    let fault = BodyFault("a trailer is not a field");
    if trailers.len() >= TRAILER_FIELDS_MAX {
        return Err(BodyFault("more trailers than the limit"));
    }
    let at = memchr::memchr(b':', line).ok_or(fault)?;
    let (name, value) = line.split_at(at);
    let value = trim(value.get(1..).unwrap_or_default());
    if name.is_empty() || !name.iter().copied().all(is_token_byte) || !value.iter().copied().all(is_text_byte)
    {
        return Err(fault);
    }
    trailers.push(std::str::from_utf8(name).map_err(|_| fault)?, value);
    Ok(())
}

/// The size of a chunk and the bytes of its extensions (RFC 9112, section 7.1): hexadecimal digits, then nothing or
/// extensions.
fn chunk_size(line: &[u8]) -> Result<(u64, usize), BodyFault> {
    let fault = BodyFault("the size of a chunk is not a hexadecimal number");
    let end = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, extensions) = line.split_at(end);
    if digits.is_empty() || digits.len() > 16 {
        return Err(fault);
    }
    if !are_extensions(extensions) {
        return Err(BodyFault("what follows the size of a chunk is no extension"));
    }
    let value = |b: &u8| char::from(*b).to_digit(16).map_or(0, u64::from);
    Ok((digits.iter().fold(0, |size, digit| size << 4 | value(digit)), extensions.len()))
}

/// RFC 9112, section 7.1.1: `*( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )`.
fn are_extensions(mut rest: &[u8]) -> bool {
    let is_space = |b: u8| matches!(b, b' ' | b'\t');
    while !rest.is_empty() {
        let Some((b';', after)) = skip(rest, is_space).split_first() else { return false };
        let name = skip(after, is_space);
        let after = skip(name, is_token_byte);
        if after.len() == name.len() {
            return false;
        }
        rest = after;
        let Some((b'=', value)) = skip(after, is_space).split_first() else { continue };
        let value = skip(value, is_space);
        rest = match value.split_first() {
            Some((b'"', text)) => match after_quoted(text) {
                Some(after) => after,
                None => return false,
            },
            Some((byte, _)) if is_token_byte(*byte) => skip(value, is_token_byte),
            Some(_) | None => return false,
        };
    }
    true
}

fn skip(bytes: &[u8], over: impl Fn(u8) -> bool) -> &[u8] {
    let at = bytes.iter().position(|b| !over(*b)).unwrap_or(bytes.len());
    bytes.get(at..).unwrap_or_default()
}

/// What follows a quoted string (RFC 9110, section 5.6.4) whose first quote has been taken.
fn after_quoted(mut rest: &[u8]) -> Option<&[u8]> {
    loop {
        rest = match rest {
            [b'"', after @ ..] => return Some(after),
            [b'\\', byte, after @ ..] | [byte, after @ ..] if is_text_byte(*byte) => after,
            _ => return None,
        };
    }
}

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    /// Chunks.
    Chunked,
    /// As it is; its end is the connection's.
    UntilClose,
}

impl Coding {
    /// Appends content; nothing for no content, for an empty chunk would end the body.
    pub fn write(self, content: &[u8], out: &mut Vec<u8>) {
        if content.is_empty() {
            return;
        }
        match self {
            Coding::UntilClose => out.extend_from_slice(content),
            Coding::Chunked => {
                write_hex(content.len(), out);
                out.extend_from_slice(b"\r\n");
                out.extend_from_slice(content);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends the end.
    pub fn end(self, trailers: &Fields, out: &mut Vec<u8>) {
        if self == Coding::Chunked {
            out.extend_from_slice(b"0\r\n");
            trailers.write(out);
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// Appends a number as hexadecimal digits.
fn write_hex(number: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - number.leading_zeros()).div_ceil(4).max(1);
    out.extend((0..digits).rev().map(|at| {
        let digit = (number >> (4 * at) & 0xF) as u32;
        char::from_digit(digit, 16).map_or(b'0', |c| c as u8)
    }));
}

#[cfg(test)]
mod tests;
