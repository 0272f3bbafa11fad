//! Body framing (RFC 9112, sections 6 and 7): bytes in as they come, content out; and back.

use super::fields::Fields;

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
        BodyDecoder { state, line: Vec::new(), trailer_bytes: 0, trailers: Fields::default() }
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
                let more = self.take_line(rest, SIZE_LINE_BYTES_MAX)?;
                if let Some(more) = more {
                    let size = chunk_size(&std::mem::take(&mut self.line))?;
                    self.state = if size == 0 { State::Trailers } else { State::Data(size) };
                    return Ok(more);
                }
                Ok(&[])
            }
            State::Trailers => {
                let left = TRAILER_BYTES_MAX - self.trailer_bytes;
                let Some(more) = self.take_line(rest, left)? else { return Ok(&[]) };
                let line = std::mem::take(&mut self.line);
                self.trailer_bytes += line.len() + 2;
                if line.is_empty() {
                    self.state = State::Done;
                } else {
                    self.add_trailer(&line)?;
                }
                Ok(more)
            }
        }
    }

    /// Moves bytes of a line to `self.line`; gives what follows it once it is whole. It must end with CRLF.
    fn take_line<'a>(&mut self, rest: &'a [u8], max: usize) -> Result<Option<&'a [u8]>, BodyFault> {
        let (line, more) = match memchr::memchr(b'\n', rest) {
            Some(at) => (rest.get(..at).unwrap_or_default(), rest.get(at + 1..)),
            None => (rest, None),
        };
        if self.line.len() + line.len() > max {
            return Err(BodyFault("a line of the chunked body is longer than the limit"));
        }
        self.line.extend_from_slice(line);
        if more.is_some() && self.line.pop() != Some(b'\r') {
            return Err(BodyFault("a line of the chunked body does not end with CRLF"));
        }
        if more.is_some() && self.line.contains(&b'\r') {
            return Err(BodyFault("a line of the chunked body holds CR"));
        }
        Ok(more)
    }

    fn add_trailer(&mut self, line: &[u8]) -> Result<(), BodyFault> {
        let fault = BodyFault("a trailer is not a field");
        if self.trailers.len() >= TRAILER_FIELDS_MAX {
            return Err(BodyFault("more trailers than the limit"));
        }
        let at = line.iter().position(|b| *b == b':').ok_or(fault)?;
        let (name, value) = line.split_at(at);
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let token = |b: &u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b);
        let text = |b: &u8| *b == b'\t' || *b >= b' ' && *b != 0x7F;
        if name.is_empty() || !name.iter().all(token) || !value.iter().all(text) {
            return Err(fault);
        }
        self.trailers.push(String::from_utf8_lossy(name), value);
        Ok(())
    }
}

/// The size of a chunk (RFC 9112, section 7.1): hexadecimal digits, then nothing or extensions.
fn chunk_size(line: &[u8]) -> Result<u64, BodyFault> {
    let end = line.iter().position(|b| !b.is_ascii_hexdigit()).unwrap_or(line.len());
    let (digits, rest) = line.split_at(end);
    if digits.is_empty() || digits.len() > 16 {
        return Err(BodyFault("the size of a chunk is not a hexadecimal number"));
    }
    let extension = rest.trim_ascii_start();
    let plain = |b: &u8| *b == b'\t' || *b >= b' ' && *b != 0x7F;
    if !rest.is_empty() && (extension.first() != Some(&b';') || !extension.iter().all(plain)) {
        return Err(BodyFault("what follows the size of a chunk is no extension"));
    }
    let text = std::str::from_utf8(digits).unwrap_or_default();
    u64::from_str_radix(text, 16).map_err(|_| BodyFault("the size of a chunk is not a hexadecimal number"))
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
                out.extend_from_slice(format!("{:x}\r\n", content.len()).as_bytes());
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

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(framing: Framing, chunks: &[&[u8]]) -> Result<(String, usize, bool), BodyFault> {
        let mut decoder = BodyDecoder::new(framing);
        let (mut out, mut taken) = (Vec::new(), 0);
        for chunk in chunks {
            taken += decoder.decode(chunk, &mut out)?;
        }
        Ok((String::from_utf8(out).unwrap(), taken, decoder.is_done()))
    }

    #[test]
    fn every_split_of_a_chunked_body() {
        let body = b"5;ext=\"x\"\r\nhello\r\n00a \t;y\r\n, world...\r\n0\r\nX-Sum: 1\r\nETag: \"a\"\r\n\r\n";
        let wanted = ("hello, world...".to_owned(), body.len(), true);
        let bytes: Vec<&[u8]> = body.chunks(1).collect();
        assert_eq!(decode(Framing::Chunked, &bytes), Ok(wanted.clone()));
        for cut in 0..body.len() {
            let (a, b) = body.split_at(cut);
            assert_eq!(decode(Framing::Chunked, &[a, b]), Ok(wanted.clone()), "cut at {cut}");
        }
        let mut decoder = BodyDecoder::new(Framing::Chunked);
        decoder.decode(body, &mut Vec::new()).unwrap();
        assert_eq!(decoder.trailers().text("x-sum"), Some("1"));
    }

    #[test]
    fn what_follows_is_left() {
        assert_eq!(decode(Framing::Length(3), &[b"abcGET"]), Ok(("abc".into(), 3, true)));
        assert_eq!(decode(Framing::Chunked, &[b"1\r\na\r\n0\r\n\r\nGET"]), Ok(("a".into(), 11, true)));
        assert_eq!(decode(Framing::Empty, &[b"GET"]), Ok((String::new(), 0, true)));
    }

    #[test]
    fn broken_framing() {
        for body in [
            "x\r\n",
            "\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\na",
            "1\nx",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\r\r",
            "11111111111111111\r\n",
            "1 x\r\n",
            "1;\u{1}\r\n",
            "0\r\nbad\r\n",
            "0\r\n: x\r\n",
            "0\r\na b: x\r\n",
            "0\r\na: \u{1}\r\n",
            "1\r;\r\n",
            "0\r\n x: y\r\n",
        ] {
            assert!(decode(Framing::Chunked, &[body.as_bytes()]).is_err(), "{body:?}");
        }
    }

    #[test]
    fn limits() {
        let line = |n: usize| format!("1;{}\r\na\r\n", "e".repeat(n - 3));
        assert!(decode(Framing::Chunked, &[line(SIZE_LINE_BYTES_MAX).as_bytes()]).is_ok());
        assert!(decode(Framing::Chunked, &[line(SIZE_LINE_BYTES_MAX + 1).as_bytes()]).is_err());
        let trailers = |n: usize| format!("0\r\n{}\r\n", "a: b\r\n".repeat(n));
        assert!(decode(Framing::Chunked, &[trailers(TRAILER_FIELDS_MAX).as_bytes()]).is_ok());
        assert!(decode(Framing::Chunked, &[trailers(TRAILER_FIELDS_MAX + 1).as_bytes()]).is_err());
        let long = |n: usize| format!("0\r\na: {}\r\n", "b".repeat(n));
        assert!(decode(Framing::Chunked, &[long(TRAILER_BYTES_MAX - 4).as_bytes()]).is_ok());
        assert!(decode(Framing::Chunked, &[long(TRAILER_BYTES_MAX).as_bytes()]).is_err());
    }

    #[test]
    fn a_cut_body_is_not_whole() {
        for (framing, body) in
            [(Framing::Length(3), "ab"), (Framing::Chunked, "1\r\na\r\n"), (Framing::Chunked, "0\r\n")]
        {
            let mut decoder = BodyDecoder::new(framing);
            decoder.decode(body.as_bytes(), &mut Vec::new()).unwrap();
            assert!(decoder.end().is_err(), "{body}");
        }
        assert!(BodyDecoder::new(Framing::UntilClose).end().is_ok());
    }

    #[test]
    fn written_chunks() {
        let mut out = Vec::new();
        Coding::Chunked.write(b"", &mut out);
        Coding::Chunked.write(b"hello world, sixteen", &mut out);
        let mut trailers = Fields::default();
        trailers.push("a", "b");
        Coding::Chunked.end(&trailers, &mut out);
        assert_eq!(out, b"14\r\nhello world, sixteen\r\n0\r\na: b\r\n\r\n");
    }
}
