//! Passes over what is clean: the tokens of a chunk that lie in it whole, are spelled as they are, and in whose texts
//! nothing is found.
//!
//! It does what [`Tokens`] and the walker's handler do for such tokens, without telling each of them: their texts are
//! looked at together ([`Batch`](crate::stream::Batch)), and what lies between two that are masked leaves as one. At the
//! first token that is not of this kind it stops and leaves it to them.
#![deny(clippy::indexing_slicing)]

use std::sync::Arc;

use super::token::{DEPTH_MAX, Kind, Number, State};
use super::walk::{JsonWalker, NUMBER_BYTES_MAX, Texts};
use crate::format::carried::Target;
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
    /// By text of the batch: where in the chunk it is.
    found: Vec<(usize, usize, Kind)>,
}

impl JsonWalker {
    /// Takes tokens of the chunk from `from` on; gives where it stopped. All before has left.
    pub(super) fn skim(&mut self, chunk: &[u8], from: usize, target: &mut Target<'_>) -> usize {
        let at = self.tokens.at - from as u64;
        let batch = std::mem::take(&mut target.scratch.batch);
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
                    let text = rest.get(..len).unwrap_or_default();
                    if is_key {
                        texts.keys.begin();
                        texts.keys.push(text);
                        texts.add(skim, at + 1, text, Kind::Key, target);
                        tokens.state = State::Colon;
                    } else {
                        if llm::may_be_opaque(texts.keys.of_value()) && llm::is_opaque(&texts.keys.path()) {
                            return at;
                        }
                        texts.add(skim, at + 1, text, Kind::String, target);
                        tokens.value_ended();
                    }
                    at += len + 2;
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
                    texts.add(skim, at, text, Kind::Number, target);
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
    /// A text lies at `at` of the chunk.
    fn add(&mut self, skim: &mut Skim<'_>, at: usize, text: &[u8], kind: Kind, target: &mut Target<'_>) {
        let context = match kind {
            Kind::Key => [&b""[..]; 3],
            Kind::String | Kind::Number => self.keys.context(kind == Kind::Number),
        };
        if skim.batch.add(&self.ruleset, &context, text) {
            skim.found.push((at, at + text.len(), kind));
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
            let Some(&(from, to, kind)) = found.get(unclean.number) else { return };
            target.out.extend_from_slice(chunk.get(*done..from).unwrap_or_default());
            *done = to;
            let text = chunk.get(from..to).unwrap_or_default();
            self.mask_whole(kind, unclean.context, text, *at + from as u64, target);
        });
        found.clear();
    }

    /// Masks a text that is there whole.
    fn mask_whole(&mut self, kind: Kind, context: &[u8], text: &[u8], at: u64, target: &mut Target<'_>) {
        if kind == Kind::Number {
            return self.mask_number(context, text, at, target);
        }
        if !context.is_empty() {
            self.string.prime(context);
        }
        if text.is_empty() {
            self.string.finish(target);
        } else {
            self.string.last(text, at, target);
        }
    }
}

/// The length of a string's text, if it is spelled as it is and its quote is there.
fn string_len(bytes: &[u8], any_bytes: bool) -> Option<usize> {
    let mut len = plain_len(bytes);
    if bytes.get(len).is_some_and(|b| *b >= 0x80) {
        len = memchr::memchr2(b'"', b'\\', bytes)?;
        let text = bytes.get(..len)?;
        if text.iter().any(|b| *b < 0x20) || !any_bytes && std::str::from_utf8(text).is_err() {
            return None;
        }
    }
    (bytes.get(len) == Some(&b'"') && len <= STRING_BYTES_MAX).then_some(len)
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
        let quote = below(word ^ ONES * u64::from(b'"'), 1);
        let backslash = below(word ^ ONES * u64::from(b'\\'), 1);
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
