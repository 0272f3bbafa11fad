//! Passes over what is clean: the tokens of a chunk that lie in it whole, and in whose texts nothing is found.
//!
//! It does what [`Tokens`] and the walker's handler do for such tokens, without telling each of them: their texts are
//! looked at together ([`Batch`](crate::stream::Batch)), and what lies between two that are masked leaves as one. At the
//! first token that is not of this kind it stops and leaves it to them.
#![deny(clippy::indexing_slicing)]

use std::ops::Range;
use std::sync::Arc;

use super::token::{DEPTH_MAX, Kind, Number, State, unescaped};
use super::walk::{self, JsonWalker, NUMBER_BYTES_MAX, Texts};
use crate::format::carried::Target;
use crate::format::joined::Whole;
use crate::format::leaves::feed_string;
use crate::format::llm;
use crate::format::nested;
use crate::stream::Batch;

/// Longer strings are scanned on their own.
const STRING_BYTES_MAX: usize = 2048;

/// The texts of a chunk that wait to be looked at.
pub(super) struct Skim<'a> {
    chunk: &'a [u8],
    /// Where the chunk lies in the body.
    at: u64,
    /// Bytes of the chunk that have left.
    done: usize,
    batch: Batch,
    /// By text of the batch: where in the chunk it is spelled.
    found: Vec<(Range<usize>, Kind)>,
}

impl JsonWalker {
    /// Takes tokens of the chunk from `from` on; gives where it stopped. All before has left.
    pub(super) fn skim(&mut self, chunk: &[u8], from: usize, target: &mut Target<'_>) -> usize {
        let at = self.tokens.at - from as u64;
        let mut batch = std::mem::take(&mut target.scratch.batch);
        batch.begin(&self.texts.ruleset);
        let found = std::mem::take(&mut self.texts.found);
        let mut skim = Skim { chunk, at, done: from, batch, found };
        let to = self.skim_tokens(&mut skim, from, target);
        self.texts.settle(&mut skim, target);
        target.out.extend_from_slice(chunk.get(skim.done..to).unwrap_or_default());
        self.tokens.at += (to - from) as u64;
        target.scratch.batch = skim.batch;
        self.texts.found = skim.found;
        to
    }

    fn skim_tokens(&mut self, skim: &mut Skim<'_>, from: usize, target: &mut Target<'_>) -> usize {
        let chunk = skim.chunk;
        let (tokens, texts) = (&mut self.tokens, &mut self.texts);
        let mut at = from;
        while let Some(&byte) = chunk.get(at) {
            let is_value = matches!(tokens.state, State::Value | State::FirstElement);
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => at += 1,
                b',' if tokens.state == State::After
                    && let Some(in_array) = tokens.stack.last() =>
                {
                    tokens.state = if *in_array { State::Value } else { State::Key };
                    at += 1;
                }
                b':' if tokens.state == State::Colon => {
                    tokens.state = State::Value;
                    at += 1;
                }
                b'"' => {
                    let is_key = matches!(tokens.state, State::Key | State::FirstKey);
                    let rest = chunk.get(at + 1..).unwrap_or_default();
                    let Some(len) = string_len(rest, tokens.any_bytes).filter(|_| is_key || is_value) else {
                        return at;
                    };
                    let mut text = rest.get(..len).unwrap_or_default();
                    let mut end = at + len + 1;
                    let mut decoded = Vec::new();
                    if rest.get(len) == Some(&b'\\') {
                        decoded = std::mem::take(&mut texts.decoded);
                        // What is not UTF-8 is left to others.
                        let read = if tokens.any_bytes { None } else { decode(rest, len, &mut decoded) };
                        let Some(len) = read else { return at };
                        end = at + len + 1;
                        text = &decoded;
                    }
                    let place = at + 1..end;
                    if is_key {
                        texts.keys.begin();
                        texts.keys.push(text);
                        texts.add(skim, place, text, Kind::Key, target);
                        tokens.state = State::Colon;
                    } else {
                        if llm::may_be_opaque(texts.keys.of_value()) && llm::is_opaque(&texts.keys.path()) {
                            return at;
                        }
                        texts.add(skim, place, text, Kind::String, target);
                        tokens.value_ended();
                    }
                    if !decoded.is_empty() {
                        texts.decoded = decoded;
                    }
                    at = end + 1;
                }
                b'{' | b'[' if is_value => {
                    if tokens.stack.len() >= DEPTH_MAX
                        || llm::may_be_restating(texts.keys.of_value())
                            && llm::is_restating(&texts.keys.path())
                    {
                        return at;
                    }
                    let is_array = byte == b'[';
                    tokens.stack.push(is_array);
                    tokens.state = if is_array { State::FirstElement } else { State::FirstKey };
                    texts.keys.open(is_array);
                    at += 1;
                }
                b'}' | b']' => {
                    let first = if byte == b']' { State::FirstElement } else { State::FirstKey };
                    let may_close = tokens.state == State::After || tokens.state == first;
                    if !may_close || tokens.stack.last() != Some(&(byte == b']')) {
                        return at;
                    }
                    tokens.stack.pop();
                    texts.keys.close();
                    tokens.value_ended();
                    at += 1;
                }
                b'-' | b'0'..=b'9' if is_value => {
                    let rest = chunk.get(at..).unwrap_or_default();
                    let Some(len) = number_len(rest) else { return at };
                    let text = rest.get(..len).unwrap_or_default();
                    texts.add(skim, at..at + len, text, Kind::Number, target);
                    tokens.value_ended();
                    at += len;
                }
                b't' | b'f' | b'n' if is_value => {
                    let rest = chunk.get(at..).unwrap_or_default();
                    let words = [&b"true"[..], b"false", b"null"];
                    let Some(word) = words.into_iter().find(|word| rest.starts_with(word)) else {
                        return at;
                    };
                    tokens.value_ended();
                    at += word.len();
                }
                _ => return at,
            }
        }
        at
    }
}

impl Texts {
    /// A text is spelled at `place` of the chunk.
    #[inline]
    fn add(
        &mut self,
        skim: &mut Skim<'_>,
        place: Range<usize>,
        text: &[u8],
        kind: Kind,
        target: &mut Target<'_>,
    ) {
        let context = match kind {
            Kind::Key => &b""[..],
            Kind::String | Kind::Number => self.keys.context(kind == Kind::Number),
        };
        if skim.batch.add(context, text) {
            skim.found.push((place, kind));
            if skim.batch.is_full() {
                self.settle(skim, target);
            }
        }
    }
}

impl Texts {
    /// Looks at the texts that wait, and scans those on their own that are not clean.
    fn settle(&mut self, skim: &mut Skim<'_>, target: &mut Target<'_>) {
        let Skim { chunk, at, done, batch, found } = skim;
        if batch.is_empty() {
            return;
        }
        let mut spelled = std::mem::take(&mut self.spelled);
        nested::places_spelled(batch.bytes(), |at| spelled.push(at));
        spelled.drain(..).for_each(|at| batch.suspect(at));
        self.spelled = spelled;
        let ruleset = Arc::clone(&self.ruleset);
        batch.look(&ruleset, target.scratch);
        batch.settle(|unclean| {
            let Some((place, kind)) = found.get(unclean.number) else { return };
            target.out.extend_from_slice(chunk.get(*done..place.start).unwrap_or_default());
            *done = place.end;
            let spelled = chunk.get(place.clone()).unwrap_or_default();
            self.mask_whole(*kind, unclean.context, spelled, *at + place.start as u64, target);
        });
        found.clear();
    }

    /// Masks a text that is there whole, spelled so.
    fn mask_whole(&mut self, kind: Kind, context: &[u8], spelled: &[u8], at: u64, target: &mut Target<'_>) {
        if kind == Kind::Number {
            return walk::mask_number(&mut self.number, context, spelled, at, target);
        }
        if !context.is_empty() {
            self.string.prime(context);
        }
        if spelled.is_empty() {
            self.string.finish(target);
        } else if memchr::memchr(b'\\', spelled).is_none() {
            self.string.last(spelled, at, target);
        } else {
            let whole = [b"\"", spelled, b"\""].concat();
            // Its places count from the quote. It was tokenized before: it can't fail.
            let _ = feed_string(&whole, &mut Whole { text: &mut self.string, target, at: at - 1 });
        }
    }
}

/// The length of a string's text up to its quote, which is there, or up to its first escape.
#[inline]
fn string_len(bytes: &[u8], any_bytes: bool) -> Option<usize> {
    let mut len = plain_len(bytes);
    if bytes.get(len).is_some_and(|b| *b >= 0x80) {
        len = memchr::memchr2(b'"', b'\\', bytes)?;
        let text = bytes.get(..len)?;
        if text.iter().any(|b| *b < 0x20) || !any_bytes && std::str::from_utf8(text).is_err() {
            return None;
        }
    }
    (matches!(bytes.get(len), Some(b'"' | b'\\')) && len <= STRING_BYTES_MAX).then_some(len)
}

/// Reads a string whose first escape is at `from`; gives the length of its spelling up to its quote, which is there.
fn decode(bytes: &[u8], from: usize, text: &mut Vec<u8>) -> Option<usize> {
    text.clear();
    text.extend_from_slice(bytes.get(..from)?);
    let mut len = from;
    loop {
        match bytes.get(len)? {
            b'"' => break,
            b'\\' => match *bytes.get(len + 1)? {
                b'u' => {
                    let digits = bytes.get(len + 2..len + 6)?;
                    let code = std::str::from_utf8(digits).ok().filter(|d| !d.starts_with('+'))?;
                    // Halves of pairs are left to others.
                    let char = char::from_u32(u32::from_str_radix(code, 16).ok()?)?;
                    text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                    len += 6;
                }
                byte => {
                    text.push(unescaped(byte)?);
                    len += 2;
                }
            },
            _ => {
                let run = string_len(bytes.get(len..)?, false)?;
                text.extend_from_slice(bytes.get(len..len + run)?);
                len += run;
            }
        }
    }
    (len <= STRING_BYTES_MAX).then_some(len)
}

/// How many bytes come before the first that is a quote, a backslash, a control character or no ASCII.
fn plain_len(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES * 0x80;
    let (words, rest) = bytes.as_chunks::<8>();
    for (n, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest bit of each is right: what is borrowed goes up (Warren, Hacker's Delight, 6-1).
        let below = |word: u64, by: u64| word.wrapping_sub(ONES * by) & !word;
        let quote = below(word ^ (ONES * u64::from(b'"')), 1);
        let backslash = below(word ^ (ONES * u64::from(b'\\')), 1);
        let found = (quote | backslash | below(word, 0x20) | word) & HIGH;
        if found != 0 {
            return n * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let is_plain = |b: &&u8| matches!(**b, 0x20..0x80) && !matches!(**b, b'"' | b'\\');
    words.len() * 8 + rest.iter().take_while(is_plain).count()
}

/// The length of a number behind which something else is there.
fn number_len(bytes: &[u8]) -> Option<usize> {
    let mut number = match bytes.first()? {
        b'-' => Number::Minus,
        b'0' => Number::Zero,
        _ => Number::Integer,
    };
    let mut len = 1;
    while let Some(next) = number.next(*bytes.get(len)?) {
        number = next;
        len += 1;
    }
    (number.may_end() && len <= NUMBER_BYTES_MAX).then_some(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_bytes_are_counted() {
        for before in 0..20 {
            for byte in 0..=255u8 {
                for after in [&b""[..], b"\"", b"\x01", b"\x80abcdefgh", b"abcdefghijk"] {
                    let mut bytes = vec![b'a'; before];
                    bytes.push(byte);
                    bytes.extend_from_slice(after);
                    let is_plain = |b: &u8| matches!(*b, 0x20..0x80) && !matches!(*b, b'"' | b'\\');
                    let len = bytes.iter().position(|b| !is_plain(b)).unwrap_or(bytes.len());
                    assert_eq!(plain_len(&bytes), len, "{bytes:?}");
                }
            }
        }
    }
}
