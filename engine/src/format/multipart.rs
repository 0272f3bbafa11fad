//! `multipart/form-data` (RFC 7578) and its kin (RFC 2046, section 5.1) as a stream: each part in its own format.
//!
//! ```text
//!              delimiter            blank line           delimiter
//!   Preamble ───────────► Headers ─────────────► Part ─────────────► Headers …
//!                                                 │ close delimiter
//!                                                 └─────────────────► Epilogue
//! ```
//! Delimiters leave as they came. The headers of a part are held until they are in and masked line by line. A part is
//! masked as its content type says: text behind the context `name=`, what can't be read as text by bytes, with
//! replacements of equal length. A part that is multipart itself is read to a fixed depth.
//!
//! A line that begins as a delimiter and goes on otherwise is content. Line ends may be LF alone, as lenient parsers
//! have it.
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use super::carried::{Carried, Carrier, Target};
use super::fields::{self, FieldAction, Fields, Telling};
use super::json::Fail;
use super::{Finding, Format, FormatErrorKind, InvalidUtf8, Masker, MaskerOptions, OnError};
use crate::mask::{FILL, Strategy};
use crate::ruleset::Ruleset;
use crate::stream::StreamOptions;

/// Longest boundary (RFC 2046, section 5.1.1).
const BOUNDARY_LEN_MAX: usize = 70;
/// Most bytes of the headers of one part.
pub(super) const HEADERS_BYTES_MAX: usize = 16 * 1024;
/// Most spaces behind a delimiter.
const PADDING_LEN_MAX: usize = 64;
/// Most parts of one body.
pub(super) const PARTS_MAX: u64 = 10_000;
/// Deepest nesting of multipart bodies.
pub(super) const DEPTH_MAX: u8 = 4;

/// What separates the parts of a multipart body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Boundary {
    bytes: [u8; BOUNDARY_LEN_MAX],
    len: u8,
}

impl Boundary {
    /// The boundary as the content type's parameter says it, without quotes; `None` when it is none (RFC 2046, section
    /// 5.1.1).
    #[must_use]
    pub fn new(text: &str) -> Option<Boundary> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b" '()+_,-./:=?".contains(&b);
        let is_one = (1..=BOUNDARY_LEN_MAX).contains(&text.len()) && text.bytes().all(allowed);
        if !is_one || text.ends_with(' ') {
            return None;
        }
        let mut bytes = [0; BOUNDARY_LEN_MAX];
        bytes.iter_mut().zip(text.bytes()).for_each(|(slot, byte)| *slot = byte);
        Some(Boundary { bytes, len: text.len() as u8 })
    }

    fn delimiter(&self) -> Vec<u8> {
        [b"--", self.bytes.get(..usize::from(self.len)).unwrap_or_default()].concat()
    }
}

/// The walker of one body.
#[derive(Debug)]
pub(super) struct MultipartWalker {
    ruleset: Arc<Ruleset>,
    options: StreamOptions,
    on_error: OnError,
    invalid_utf8: InvalidUtf8,
    fields: Option<Arc<Fields>>,
    depth: u8,
    /// `--` and the boundary.
    delimiter: Vec<u8>,
    state: State,
    /// Bytes that were taken and not told, the first of which lies at `at`.
    held: Vec<u8>,
    at: u64,
    /// `held` begins a line.
    at_line: bool,
    parts: u64,
    /// Where a fault was told.
    fault_at: u64,
    text: Carried,
    unscanned: u64,
}

#[derive(Debug)]
enum State {
    Preamble,
    Headers,
    Part(Part),
    Epilogue,
}

/// How a part is masked.
#[derive(Debug)]
enum Part {
    Text,
    Own(Box<Masker>, u64),
    Allowed,
    /// Its content is swallowed; `*` stands for each byte, if so asked.
    Replaced {
        fills: bool,
        telling: Telling,
    },
}

/// A delimiter that was found, or may be.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    /// Content, delimiter, and whether it is the last one.
    Delimiter(usize, usize, bool),
    /// Content, and what may become one.
    Content(usize),
}

impl MultipartWalker {
    pub(super) fn new(
        ruleset: &Arc<Ruleset>,
        options: &StreamOptions,
        masker: &MaskerOptions,
        boundary: Boundary,
        depth: u8,
    ) -> MultipartWalker {
        MultipartWalker {
            ruleset: Arc::clone(ruleset),
            options: options.clone(),
            on_error: masker.on_error,
            invalid_utf8: masker.invalid_utf8,
            fields: masker.fields.clone(),
            depth,
            delimiter: boundary.delimiter(),
            state: State::Preamble,
            held: Vec::new(),
            at: 0,
            at_line: true,
            parts: 0,
            fault_at: 0,
            text: Carried::new(ruleset, options, Carrier::Text),
            unscanned: 0,
        }
    }

    pub(super) fn push(&mut self, chunk: &[u8], mut target: Target<'_>) -> Result<(), Fail> {
        let before = self.held.len();
        let (at, mut bytes) = (self.at, std::mem::take(&mut self.held));
        bytes.extend_from_slice(chunk);
        let done = self.walk(&bytes, false, &mut target);
        let used = usize::try_from(self.at - at).unwrap_or(usize::MAX);
        self.held = bytes.split_off(used.min(bytes.len()));
        done.map_err(|fail| {
            // What was taken and not told goes with what comes.
            let kept = before.saturating_sub(used);
            self.held.truncate(kept);
            Fail { taken: used.saturating_sub(before), ..fail }
        })
    }

    pub(super) fn finish(&mut self, mut target: Target<'_>) -> Result<(), Fail> {
        let bytes = std::mem::take(&mut self.held);
        let at = self.at;
        let done = self.walk(&bytes, true, &mut target).and_then(|()| match self.state {
            State::Epilogue => {
                self.text.finish(&mut target);
                Ok(())
            }
            State::Preamble | State::Headers | State::Part(_) => {
                self.fault_at = at + bytes.len() as u64;
                Err(invalid("the multipart body ends too early"))
            }
        });
        let used = usize::try_from(self.at - at).unwrap_or(usize::MAX).min(bytes.len());
        self.held = bytes.get(used..).unwrap_or_default().to_vec();
        done.map_err(|fail| Fail { taken: 0, ..fail })
    }

    /// Where the body can't be read on.
    pub(super) fn fault_at(&self) -> u64 {
        self.fault_at
    }

    /// After a fault: ends the text it was in, and gives the bytes that were taken and not told.
    pub(super) fn break_off(&mut self, mut target: Target<'_>) -> Vec<u8> {
        // A part with a fault of its own has none where faults lead to text.
        let _ = self.end_content(&mut target);
        std::mem::take(&mut self.held)
    }

    pub(super) fn held(&self) -> usize {
        let inner = if let State::Part(Part::Own(masker, _)) = &self.state { masker.held() } else { 0 };
        self.held.len() + self.text.held() + inner
    }

    /// Bytes that passed unscanned since this was last asked.
    pub(super) fn take_unscanned(&mut self) -> u64 {
        if let State::Part(Part::Own(masker, _)) = &mut self.state {
            self.unscanned += masker.take_unscanned();
        }
        std::mem::take(&mut self.unscanned)
    }

    /// Takes what can be taken of `bytes`; `self.at` says how much that was.
    fn walk(&mut self, bytes: &[u8], last: bool, target: &mut Target<'_>) -> Result<(), Fail> {
        let mut rest = bytes;
        while !rest.is_empty() {
            self.fault_at = self.at;
            let taken = match self.state {
                State::Headers => self.headers(rest, target)?,
                State::Epilogue => {
                    self.content(rest, target)?;
                    rest.len()
                }
                State::Preamble | State::Part(_) => self.body(rest, last, target)?,
            };
            let Some(after) = rest.get(taken..).filter(|_| taken > 0) else { break };
            self.at += taken as u64;
            rest = after;
        }
        Ok(())
    }

    fn body(&mut self, bytes: &[u8], last: bool, target: &mut Target<'_>) -> Result<usize, Fail> {
        match self.find(bytes, last) {
            Found::Content(len) => {
                let content = bytes.get(..len).unwrap_or_default();
                self.content(content, target)?;
                self.at_line = content.last().map_or(self.at_line, |b| *b == b'\n');
                Ok(len)
            }
            Found::Delimiter(len, end, is_last) => {
                self.content(bytes.get(..len).unwrap_or_default(), target)?;
                self.end_content(target)?;
                target.out.extend_from_slice(bytes.get(len..end).unwrap_or_default());
                self.parts += 1;
                if self.parts > PARTS_MAX {
                    return Err(Fail { limit: true, what: "the number of parts", taken: 0 });
                }
                self.state = if is_last { State::Epilogue } else { State::Headers };
                Ok(end)
            }
        }
    }

    /// Looks for the next delimiter.
    fn find(&self, bytes: &[u8], last: bool) -> Found {
        let mut from = 0;
        while let Some(found) = memchr::memmem::find(bytes.get(from..).unwrap_or_default(), &self.delimiter) {
            let at = from + found;
            from = at + 1;
            let before = bytes.get(..at).unwrap_or_default();
            let content = match before {
                [] if self.at_line => 0,
                [.., b'\r', b'\n'] => at - 2,
                [.., b'\n'] => at - 1,
                _ => continue,
            };
            let after = bytes.get(at + self.delimiter.len()..).unwrap_or_default();
            match end_of_delimiter(after, last) {
                Some(Some((len, is_last))) => {
                    return Found::Delimiter(content, at + self.delimiter.len() + len, is_last);
                }
                Some(None) => return Found::Content(content),
                None => {}
            }
        }
        if last {
            return Found::Content(bytes.len());
        }
        let begins = |at: &usize| {
            let tail = bytes.get(*at..).unwrap_or_default();
            let line = match tail {
                [b'\r'] => &[],
                [b'\r', b'\n', line @ ..] | [b'\n', line @ ..] => line,
                line if *at == 0 && self.at_line => line,
                _ => return false,
            };
            self.delimiter.starts_with(line)
        };
        let first = bytes.len().saturating_sub(self.delimiter.len() + 2);
        Found::Content((first..bytes.len()).find(begins).unwrap_or(bytes.len()))
    }

    /// Bytes of what the state is in.
    fn content(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<(), Fail> {
        if bytes.is_empty() {
            return Ok(());
        }
        match &mut self.state {
            State::Preamble | State::Epilogue | State::Headers | State::Part(Part::Text) => {
                self.text.plain(bytes, self.at, target);
            }
            State::Part(Part::Own(masker, from)) => {
                let done = masker.push(target.scratch, bytes, target.out);
                shift(masker, *from, target.findings);
                if let Err(error) = done {
                    self.fault_at = *from + error.offset();
                    return Err(fail_of(error.kind()));
                }
            }
            State::Part(Part::Allowed) => {
                self.unscanned += bytes.len() as u64;
                target.out.extend_from_slice(bytes);
            }
            State::Part(Part::Replaced { fills, telling }) => {
                if *fills {
                    target.out.resize(target.out.len() + bytes.len(), FILL);
                }
                telling.see(self.at, bytes.len());
            }
        }
        Ok(())
    }

    fn end_content(&mut self, target: &mut Target<'_>) -> Result<(), Fail> {
        if let State::Part(Part::Own(masker, from)) = &mut self.state {
            let done = masker.finish(target.scratch, target.out);
            shift(masker, *from, target.findings);
            if let Err(error) = done {
                self.fault_at = *from + error.offset();
                return Err(fail_of(error.kind()));
            }
            self.unscanned += masker.take_unscanned();
        } else {
            if let State::Part(Part::Replaced { telling, .. }) = self.state {
                telling.tell(target.findings);
            }
            self.text.finish(target);
        }
        Ok(())
    }

    /// The headers of a part, once all of them are in.
    fn headers(&mut self, bytes: &[u8], target: &mut Target<'_>) -> Result<usize, Fail> {
        let mut end = None;
        let mut from = 0;
        while let Some(found) = memchr::memchr(b'\n', bytes.get(from..).unwrap_or_default()) {
            let line = bytes.get(from..from + found).unwrap_or_default();
            if line.starts_with(&self.delimiter) {
                return Err(invalid("a part without an end of its headers"));
            }
            from += found + 1;
            if matches!(line, [] | [b'\r']) {
                end = Some(from);
                break;
            }
        }
        let len = end.unwrap_or(bytes.len());
        if len > HEADERS_BYTES_MAX {
            return Err(Fail { limit: true, what: "the headers of a part", taken: 0 });
        }
        let Some(end) = end else { return Ok(0) };
        let block = bytes.get(..end).unwrap_or_default();
        let mut at = self.at;
        for line in block.split_inclusive(|b| *b == b'\n') {
            self.text.last(line, at, target);
            at += line.len() as u64;
        }
        self.begin_part(block, at, target)?;
        Ok(end)
    }

    fn begin_part(&mut self, block: &[u8], at: u64, target: &mut Target<'_>) -> Result<(), Fail> {
        let text =
            String::from_utf8_lossy(block).replace("\r\n", "\n").replace("\n ", " ").replace("\n\t", " ");
        let header = |name: &str| {
            let lines = text.lines().filter_map(|l| l.split_once(':'));
            lines
                .filter(|(n, _)| n.trim().eq_ignore_ascii_case(name))
                .map(|(_, value)| value.trim())
                .next_back()
        };
        let name = parameter(header("content-disposition").unwrap_or_default(), "name").unwrap_or_default();
        let kind = header("content-type").unwrap_or("text/plain");
        let declared = self.fields.as_ref().and_then(|f| f.find_told(&[name.as_bytes()]));
        let part = match declared {
            Some((_, FieldAction::Allow)) => Part::Allowed,
            Some((rule, FieldAction::Drop)) => Part::Replaced { fills: false, telling: Telling::of(rule) },
            Some((rule, FieldAction::Mask { entity, strategy })) => {
                fields::replacement(entity, strategy, 0, target.out);
                Part::Replaced { fills: *strategy == Strategy::Fill, telling: Telling::of(rule) }
            }
            Some((_, FieldAction::Scan)) | None => match Format::from_content_type(kind) {
                None => return Err(invalid("a part that can't be scanned")),
                Some(Format::Multipart(_)) if self.depth + 1 >= DEPTH_MAX => {
                    return Err(Fail { limit: true, what: "multipart depth", taken: 0 });
                }
                Some(Format::Text | Format::Auto) => Part::Text,
                // Its faults would have to end the body.
                Some(Format::EventStream) => self.own(Format::Bytes, at),
                Some(format) => self.own(format, at),
            },
        };
        if matches!(part, Part::Text) && !name.is_empty() {
            self.text.prime(format!("{name}=").as_bytes());
        }
        self.state = State::Part(part);
        self.at_line = true;
        Ok(())
    }

    fn own(&self, format: Format, at: u64) -> Part {
        let options = MaskerOptions {
            on_error: self.on_error,
            strategy: self.options.strategy.clone(),
            invalid_utf8: self.invalid_utf8,
            fields: self.fields.clone(),
        };
        Part::Own(Box::new(Masker::at_depth(&self.ruleset, format, options, self.depth + 1)), at)
    }
}

fn shift(masker: &mut Masker, by: u64, findings: &mut Vec<Finding>) {
    let shifted = |f: Finding| Finding { start: f.start + by, end: f.end + by, ..f };
    findings.extend(masker.take_findings().into_iter().map(shifted));
}

/// What follows a delimiter up to the end of its line, and whether it is the last one; `Some(None)` while more is needed,
/// `None` when it is no delimiter.
fn end_of_delimiter(after: &[u8], last: bool) -> Option<Option<(usize, bool)>> {
    let (is_last, rest) = match after {
        [b'-', b'-', rest @ ..] => (true, rest),
        [b'-'] | [] if !last => return Some(None),
        rest => (false, rest),
    };
    let padding = rest.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    if padding > PADDING_LEN_MAX {
        return None;
    }
    let end = match rest.get(padding..).unwrap_or_default() {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] => 2,
        [] | [b'\r'] if !last => return Some(None),
        [] if is_last => 0,
        _ => return None,
    };
    Some(Some((after.len() - rest.len() + padding + end, is_last)))
}

/// The value of a header's parameter, quoted or not.
fn parameter(header: &str, name: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once(';') {
        let (key, value) = after.split_once('=')?;
        let (value, next) = match value.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let end = quoted.find('"').unwrap_or(quoted.len());
                quoted.split_at(end)
            }
            None => value.split_at(value.find(';').unwrap_or(value.len())),
        };
        if key.trim().eq_ignore_ascii_case(name) {
            return Some(value.trim().to_owned());
        }
        rest = next;
    }
    None
}

fn invalid(what: &'static str) -> Fail {
    Fail { limit: false, what, taken: 0 }
}

fn fail_of(kind: FormatErrorKind) -> Fail {
    match kind {
        FormatErrorKind::Invalid(what) => invalid(what),
        FormatErrorKind::Limit(what) => Fail { limit: true, what, taken: 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::tests::{check_bytes, mask, rules};

    fn format() -> Format {
        Format::Multipart(Boundary::new("XyZ").unwrap())
    }

    fn masked(body: &str) -> String {
        let done = check_bytes(format(), body.as_bytes());
        assert_eq!(done.error, None, "{body}");
        String::from_utf8(done.output).unwrap()
    }

    #[test]
    fn leaves_as_it_came() {
        for body in [
            "--XyZ--",
            "--XyZ\r\n\r\n\r\n--XyZ--\r\n",
            "preamble\r\n--XyZ \t\r\nA: b\r\n\r\nx\r\n--XyZ\r\n\r\n--XyZ-- \r\nepilogue\r\n--XyZ\r\n",
            "--XyZ\n\nx --XyZ\n--XyZq\n-- XyZ\n--XyZ-\n\r\r\n--Xy\n\n--XyZ--\n",
            "--XyZ\r\nContent-Type: application/json\r\n\r\n{\"a\": 1}\r\n--XyZ--\r\n",
            "--XyZ\r\nContent-Type: multipart/mixed; boundary=\"in\"\r\n\r\n--in\r\n\r\nx\r\n--in--\r\n--XyZ--\r\n",
        ] {
            assert_eq!(masked(body), body);
        }
    }

    #[test]
    fn parts_are_masked_by_their_types() {
        let part = |head: &str, body: &str| format!("--XyZ\r\n{head}\r\n\r\n{body}\r\n");
        let text = "Content-Disposition: form-data; name=\"a\"";
        for (head, body, head_out, body_out) in [
            (text, "x ghp_Abcd1234\r\nnext", text, "x [gh]\r\nnext"),
            (text, "%67hp_Abcd1234", text, "%5Bgh%5D"),
            (
                "content-disposition: form-data; name=password",
                "hunter2",
                "content-disposition: form-data; name=password",
                "[pw]",
            ),
            (
                "Content-Type: application/json",
                "{\"password\":\"hunter2\"}",
                "Content-Type: application/json",
                "{\"password\":\"[pw]\"}",
            ),
            (
                "Content-Type: image/png",
                "\u{1}ghp_Abcd1234\u{2}",
                "Content-Type: image/png",
                "\u{1}************\u{2}",
            ),
            (
                "Content-Type: application/x-www-form-urlencoded",
                "a=ghp%5FAbcd1234",
                "Content-Type: application/x-www-form-urlencoded",
                "a=%5Bgh%5D",
            ),
            (
                "Content-Disposition: form-data; name=\"f\"; filename=\"ghp_Abcd1234.txt\"",
                "x",
                "Content-Disposition: form-data; name=\"f\"; filename=\"[gh].txt\"",
                "x",
            ),
            (
                "Content-Type: multipart/mixed;\r\n boundary=in",
                "--in\r\n\r\nghp_Abcd1234\r\n--in--",
                "Content-Type: multipart/mixed;\r\n boundary=in",
                "--in\r\n\r\n[gh]\r\n--in--",
            ),
        ] {
            let body = part(head, body) + &part("X: y", "me@example.org") + "--XyZ--\r\n";
            assert_eq!(masked(&body), part(head_out, body_out) + &part("X: y", "[mail]") + "--XyZ--\r\n");
        }
        assert_eq!(masked("ghp_Abcd1234\r\n--XyZ--\r\nghp_Abcd1234"), "[gh]\r\n--XyZ--\r\n[gh]");
    }

    #[test]
    fn faults_and_limits() {
        let rules = rules();
        let error =
            |body: &str| mask(&rules, format(), OnError::Block, [body.as_bytes()]).error.map(|e| e.kind());
        for body in [
            "",
            "x",
            "--XyZ\r\n\r\nx",
            "--XyZ\r\nA: b",
            "--XyZ\r\nA: b\r\n--XyZ--",
            "--XyZ\r\nContent-Type: text/plain; charset=utf-16\r\n\r\nx\r\n--XyZ--",
            "--XyZ\r\nContent-Type: application/json\r\n\r\n{\r\n--XyZ--",
        ] {
            assert!(matches!(error(body), Some(FormatErrorKind::Invalid(_))), "{body}");
            let text = format!("{body} ghp_Abcd1234");
            let whole = mask(&rules, format(), OnError::Text, [text.as_bytes()]);
            assert_eq!(whole.error, None);
            assert!(!String::from_utf8_lossy(&whole.output).contains("ghp_A"), "{body}");
            let bytes = mask(&rules, format(), OnError::Text, text.as_bytes().chunks(1));
            assert_eq!(bytes.output, whole.output, "{body}");
        }
        let headers = |n: usize| format!("--XyZ\r\nA: {}\r\n\r\n\r\n--XyZ--", "b".repeat(n - 7));
        assert_eq!(error(&headers(HEADERS_BYTES_MAX)), None);
        assert_eq!(
            error(&headers(HEADERS_BYTES_MAX + 1)),
            Some(FormatErrorKind::Limit("the headers of a part"))
        );
        let parts = |n: u64| "--XyZ\r\n\r\n\r\n".repeat(n as usize - 1) + "--XyZ--";
        assert_eq!(error(&parts(PARTS_MAX)), None);
        assert_eq!(error(&parts(PARTS_MAX + 1)), Some(FormatErrorKind::Limit("the number of parts")));
        let nest = |n: u8| {
            let inner = |body: String, depth: u8| {
                format!(
                    "--B{depth}\r\nContent-Type: multipart/mixed; boundary=B{}\r\n\r\n{body}\r\n--B{depth}--",
                    depth + 1
                )
            };
            (0..n - 1).rev().fold(format!("--B{}--", n - 1), inner)
        };
        let deep = |n: u8| {
            let format = Format::Multipart(Boundary::new("B0").unwrap());
            mask(&rules, format, OnError::Block, [nest(n).as_bytes()]).error.map(|e| e.kind())
        };
        assert_eq!(deep(DEPTH_MAX), None);
        assert_eq!(deep(DEPTH_MAX + 1), Some(FormatErrorKind::Limit("multipart depth")));
        assert!(Boundary::new(&"a".repeat(70)).is_some() && Boundary::new(&"a".repeat(71)).is_none());
        assert!(
            Boundary::new("").is_none() && Boundary::new("a ").is_none() && Boundary::new("a\n").is_none()
        );
    }
}
