//! Words of a text, as exact values have them.
//!
//! A word is a run of letters, digits and marks on letters, of any script; in scripts that write no spaces between words
//! (Chinese, Japanese, Korean, Thai …) each character is a word of its own. Bytes that are no UTF-8 count as letters. All
//! other characters, `_` among them, stand between words.

/// A whole word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) start: usize,
    pub(crate) end: usize,
}

/// Whether the text stands within a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Open {
    /// It does not.
    None,
    /// In one that began here.
    From(usize),
    /// In one whose beginning is passed, or is too long to matter.
    Passed,
}

/// How a text ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) open: Open,
    /// The end, or where a character begins that is cut.
    pub(crate) at: usize,
}

/// Bytes that are looked at together.
const BLOCK: usize = 64;
const ONES: u64 = 0x0101_0101_0101_0101;
const HIGH: u64 = 0x80 * ONES;

/// Finds the whole words from `at` on, where the text stands as `open` says. At the `end` of the text the last one is
/// whole.
pub(crate) fn find(text: &[u8], mut at: usize, mut open: Open, end: bool, words: &mut Vec<Word>) -> Rest {
    let mut close = |open: &mut Open, end: usize| {
        if let Open::From(start) = *open {
            words.push(Word { start, end });
        }
        *open = Open::None;
    };
    while at < text.len() {
        if let Some(mask) = text.get(at..).and_then(<[u8]>::first_chunk).and_then(mask) {
            let mut turns = mask ^ (mask << 1 | u64::from(open != Open::None));
            while turns != 0 {
                let here = at + turns.trailing_zeros() as usize;
                turns &= turns - 1;
                if open == Open::None { open = Open::From(here) } else { close(&mut open, here) }
            }
            at += BLOCK;
            continue;
        }
        // One block of characters, or what is left of the text.
        let to = text.len().min(at + BLOCK);
        while at < to {
            let (kind, len) = kind(text.get(at..).unwrap_or_default(), end);
            match kind {
                Kind::Letter if open == Open::None => open = Open::From(at),
                Kind::Letter => {}
                Kind::Between => close(&mut open, at),
                Kind::Own => {
                    close(&mut open, at);
                    open = Open::From(at);
                    close(&mut open, at + len);
                }
                Kind::Cut => {
                    let open = if open == Open::None { Open::From(at) } else { open };
                    return Rest { open, at };
                }
            }
            at += len;
        }
    }
    if end {
        close(&mut open, text.len());
    }
    Rest { open, at: text.len() }
}

/// A bit for each byte that is a letter or digit; `None` where not all are ASCII.
#[inline]
fn mask(block: &[u8; BLOCK]) -> Option<u64> {
    let (words, _) = block.as_chunks::<8>();
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    if words.clone().fold(0, |all, word| all | word) & HIGH != 0 {
        return None;
    }
    // Sums of bytes below 0x80 stay within their byte, and their highest bit tells "at least".
    let at_least = |word: u64, byte: u8| word + ONES * u64::from(0x80 - byte);
    let within = |word: u64, low: u8, high: u8| at_least(word, low) & !at_least(word, high + 1);
    let bits = words.map(|word| {
        let is_of_word = within(word | (0x20 * ONES), b'a', b'z') | within(word, b'0', b'9');
        ((is_of_word & HIGH) >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56
    });
    Some(bits.enumerate().fold(0, |mask, (n, bits)| mask | bits << (8 * n)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Letter,
    /// A word of its own.
    Own,
    Between,
    /// The first bytes of a character.
    Cut,
}

/// The kind and the length of the first character.
fn kind(text: &[u8], end: bool) -> (Kind, usize) {
    let Some(first) = text.first() else { return (Kind::Between, 1) };
    if first.is_ascii() {
        return (if first.is_ascii_alphanumeric() { Kind::Letter } else { Kind::Between }, 1);
    }
    let head = text.get(..4).unwrap_or(text);
    let valid = match std::str::from_utf8(head) {
        Ok(valid) => valid,
        // Cut, and no more than that.
        Err(e) if e.valid_up_to() == 0 && e.error_len().is_none() => {
            return if end { (Kind::Letter, 1) } else { (Kind::Cut, 0) };
        }
        Err(e) => std::str::from_utf8(head.get(..e.valid_up_to()).unwrap_or_default()).unwrap_or_default(),
    };
    match valid.chars().next() {
        Some(c) if is_own(c) => (Kind::Own, c.len_utf8()),
        Some(c) if c.is_alphanumeric() || is_mark(c) => (Kind::Letter, c.len_utf8()),
        Some(c) => (Kind::Between, c.len_utf8()),
        None => (Kind::Letter, 1),
    }
}

/// Combining marks that belong to the letter before them (Unicode, block 0300 and Indic vowel signs), and joiners.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36F}' | '\u{900}'..='\u{DFF}' | '\u{200C}'..='\u{200D}')
}

/// Characters of scripts that write no spaces between words, or put endings to them without one.
fn is_own(c: char) -> bool {
    matches!(c,
        '\u{E00}'..='\u{EFF}' | '\u{1000}'..='\u{109F}' | '\u{1780}'..='\u{17FF}' | '\u{3005}'..='\u{3007}'
        | '\u{3040}'..='\u{30FF}' | '\u{3400}'..='\u{4DBF}' | '\u{4E00}'..='\u{9FFF}' | '\u{AC00}'..='\u{D7AF}'
        | '\u{F900}'..='\u{FAFF}' | '\u{20000}'..='\u{3FFFF}')
}

/// The words of a whole text, character by character.
#[cfg(any(test, feature = "oracle"))]
pub(crate) fn naive(text: &[u8]) -> Vec<Word> {
    let (mut words, mut at, mut start) = (Vec::new(), 0, None);
    while at < text.len() {
        let (kind, len) = kind(&text[at..], true);
        if kind != Kind::Letter {
            words.extend(start.take().map(|start| Word { start, end: at }));
        }
        match kind {
            Kind::Letter => start = start.or(Some(at)),
            Kind::Own => words.push(Word { start: at, end: at + len }),
            Kind::Between | Kind::Cut => {}
        }
        at += len;
    }
    words.extend(start.map(|start| Word { start, end: text.len() }));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &str) -> Vec<&str> {
        let mut words = Vec::new();
        find(text.as_bytes(), 0, Open::None, true, &mut words);
        assert_eq!(words, naive(text.as_bytes()), "{text:?}");
        words.iter().map(|w| &text[w.start..w.end]).collect()
    }

    #[test]
    fn words_of_every_script() {
        assert_eq!(
            texts("a_b-C9 \u{201c}Zo\u{eb}\u{201d}, x\u{301}y\u{a0}z"),
            ["a", "b", "C9", "Zoë", "x\u{301}y", "z"]
        );
        assert_eq!(texts("王小明さん a홍"), ["王", "小", "明", "さ", "ん", "a", "홍"]);
        let long = format!("{} {}é", "ab".repeat(70), "c@".repeat(50));
        assert_eq!(texts(&long).len(), 52);
    }

    #[test]
    fn every_ascii_byte_is_told_alike() {
        for byte in 0..128u8 {
            for at in [0, 7, 31, 63] {
                let mut text = [b' '; 64];
                text[at] = byte;
                let mut words = Vec::new();
                find(&text, 0, Open::None, true, &mut words);
                assert_eq!(!words.is_empty(), byte.is_ascii_alphanumeric(), "{byte} at {at}");
                assert_eq!(words, naive(&text));
            }
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_letters() {
        let text = b"a\xff\xc3 \xe2\x82 b\xc3";
        let mut words = Vec::new();
        find(text, 0, Open::None, true, &mut words);
        assert_eq!(words, naive(text));
        assert_eq!(words.iter().map(|w| (w.start, w.end)).collect::<Vec<_>>(), [(0, 3), (4, 6), (7, 9)]);
        words.clear();
        let rest = find(b"a b\xe2\x82", 0, Open::None, false, &mut words);
        assert_eq!(rest, Rest { open: Open::From(2), at: 3 });
    }
}
