//! What in a text may spell another text: escapes, and runs of base64 characters.
#![deny(clippy::indexing_slicing)]

use crate::format::json::unescaped;

/// The fewest characters that are read as base64.
pub(super) const RUN_LEN_MIN: usize = 24;
/// What is found in base64 counts where its first bytes, this many, are printable ASCII: what is not text has such a
/// stretch seldom, and words and digests hardly ever.
pub(super) const TEXT_LEN_MIN: usize = 6;
/// Longest spelling of one character: `\ud83d\ude00`, `&#x0010ffff;`.
pub(super) const ESCAPE_LEN_MAX: usize = 12;

const NONE: u8 = 0xFF;

/// The six bits of a character, in either alphabet (RFC 4648, sections 4 and 5).
#[allow(clippy::indexing_slicing)]
const VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut n = 0;
    while n < 64 {
        let byte = match n {
            0..=25 => b'A' + n,
            26..=51 => b'a' + n - 26,
            52..=61 => b'0' + n - 52,
            62 => b'+',
            _ => b'/',
        };
        values[byte as usize] = n;
        n += 1;
    }
    values[b'-' as usize] = 62;
    values[b'_' as usize] = 63;
    values
};

fn value(byte: u8) -> u8 {
    VALUES.get(usize::from(byte)).copied().unwrap_or(NONE)
}

pub(super) fn is_run_byte(byte: u8) -> bool {
    value(byte) != NONE
}

/// Printable ASCII and the spaces of text.
pub(super) fn is_printable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7E | b'\t' | b'\n' | b'\r')
}

/// Bytes of the run that begins with `bytes`.
pub(super) fn run_len(bytes: &[u8]) -> usize {
    bytes.iter().position(|b| !is_run_byte(*b)).unwrap_or(bytes.len())
}

/// How far a run goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    /// What follows is not of it.
    Ends,
    /// All there is is of it.
    Open,
    /// What follows may be a line break within it.
    Cut,
}

/// Bytes of the run that begins with `bytes`, of which `chars` characters have come before, over line breaks: a line of
/// whole groups (RFC 2045, section 6.8, and RFC 7468 have them) goes on with the next. `last`: nothing comes behind.
pub(super) fn reach(bytes: &[u8], chars: u64, last: bool) -> (usize, Reach) {
    let (mut at, mut chars) = (0, chars);
    loop {
        let rest = bytes.get(at..).unwrap_or_default();
        let len = run_len(rest);
        (at, chars) = (at + len, chars + len as u64);
        let after = rest.get(len..).unwrap_or_default();
        let feed = match after {
            [] => return (at, Reach::Open),
            _ if !chars.is_multiple_of(4) => return (at, Reach::Ends),
            [b'\r'] if !last => return (at, Reach::Cut),
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return (at, Reach::Ends),
        };
        match after.get(feed) {
            Some(next) if is_run_byte(*next) => at += feed,
            None if !last => return (at, Reach::Cut),
            Some(_) | None => return (at, Reach::Ends),
        }
    }
}

/// The lines of a run.
pub(super) fn lines(run: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = run;
    std::iter::from_fn(move || {
        let feed = memchr::memchr2(b'\r', b'\n', rest);
        let (line, after) = rest.split_at(feed.unwrap_or(rest.len()));
        let skip = after.iter().take_while(|b| !is_run_byte(**b)).count();
        rest = after.get(skip..).unwrap_or_default();
        (!line.is_empty()).then_some(line)
    })
}

/// Bytes of the run that ends with `bytes`, of a longer one [`RUN_LEN_MIN`].
pub(super) fn trailing_run(bytes: &[u8]) -> usize {
    bytes.iter().rev().take(RUN_LEN_MIN).take_while(|b| is_run_byte(**b)).count()
}

/// Where the first run of at least [`RUN_LEN_MIN`] begins; no run may go on at `from`.
pub(super) fn next_run(bytes: &[u8], from: usize) -> Option<usize> {
    let mut start = from;
    loop {
        let window = bytes.get(start..start + RUN_LEN_MIN)?;
        match window.iter().rposition(|b| !is_run_byte(*b)) {
            Some(last) => start += last + 1,
            None => return Some(start),
        }
    }
}

/// Bits of base64 that make no whole byte yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits {
    bits: u32,
    count: u8,
}

impl Bits {
    /// Decodes characters of a run and appends the bytes that are whole.
    pub(super) fn decode(&mut self, run: &[u8], out: &mut Vec<u8>) {
        out.reserve(run.len() / 4 * 3 + 3);
        let mut rest = run;
        while self.count != 0 {
            let Some((&byte, tail)) = rest.split_first() else { return };
            out.extend(self.next(byte));
            rest = tail;
        }
        let mut groups = rest.chunks_exact(4);
        for group in groups.by_ref() {
            let bits = group.iter().fold(0, |bits, b| bits << 6 | u32::from(value(*b) & 63));
            let [_, a, b, c] = bits.to_be_bytes();
            out.extend_from_slice(&[a, b, c]);
        }
        out.extend(groups.remainder().iter().filter_map(|b| self.next(*b)));
    }

    /// Takes a character; gives the byte that is whole by it.
    fn next(&mut self, char: u8) -> Option<u8> {
        self.bits = self.bits << 6 | u32::from(value(char) & 63);
        self.count += 6;
        let byte = self.count.checked_sub(8).map(|left| {
            self.count = left;
            (self.bits >> left) as u8
        });
        self.bits &= (1 << self.count) - 1;
        byte
    }

    /// Whether the byte that has come in part could be printable; true when nothing of it has come.
    fn may_be_printable(&self) -> bool {
        match self.count {
            6 => matches!(self.bits, 2 | 3 | 8..=31),
            4 => matches!(self.bits, 0 | 2..=7),
            2 => self.bits < 2,
            _ => true,
        }
    }
}

/// Appends the characters of `bytes`, without padding.
pub(super) fn encode(bytes: &[u8], is_url: bool, out: &mut Vec<u8>) {
    let digit = |bits: u32| match (bits & 63) as u8 {
        n @ 0..=25 => b'A' + n,
        n @ 26..=51 => b'a' + n - 26,
        n @ 52..=61 => b'0' + n - 52,
        62 if is_url => b'-',
        62 => b'+',
        _ if is_url => b'_',
        _ => b'/',
    };
    for group in bytes.chunks(3) {
        let bits = group.iter().fold(0u32, |bits, b| bits << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        out.extend([18, 12, 6, 0].iter().take(group.len() + 1).map(|shift| digit(bits >> shift)));
    }
}

/// Characters of a run in which some of its first `bytes` bytes lie wholly.
pub(super) fn chars_of(bytes: u64) -> u64 {
    bytes * 8 / 6
}

/// Whether a run, all of which is here, could have a value that counts.
pub(super) fn has_text(head: &[u8], run: &[u8]) -> bool {
    let (mut bits, mut bytes, mut stretch) = (Bits::default(), Vec::new(), 0);
    for part in std::iter::once(head).chain(lines(run).flat_map(|line| line.chunks(1024))) {
        bytes.clear();
        bits.decode(part, &mut bytes);
        for byte in &bytes {
            stretch = if is_printable(*byte) { stretch + 1 } else { 0 };
            if stretch == TEXT_LEN_MIN {
                return true;
            }
        }
    }
    false
}

/// Whether the first [`RUN_LEN_MIN`] characters are text.
pub(super) fn is_text(head: &[u8], run: &[u8]) -> bool {
    let mut bytes = Vec::new();
    let mut bits = Bits::default();
    bits.decode(head, &mut bytes);
    bits.decode(run.get(..RUN_LEN_MIN.saturating_sub(head.len())).unwrap_or(run), &mut bytes);
    bytes.iter().all(|b| is_printable(*b))
}

/// Characters at the end of a run of fewer than [`RUN_LEN_MIN`] that a value may begin in, should it go on. The run is
/// `head` and then `run`.
pub(super) fn held_of_run(head: &[u8], run: &[u8]) -> usize {
    let mut bits = Bits::default();
    // Bytes so far, and where those began that are printable up to here.
    let (mut count, mut from) = (0, 0);
    for &char in head.iter().chain(run) {
        let Some(byte) = bits.next(char) else { continue };
        count += 1;
        if !is_printable(byte) {
            from = count;
        } else if count - from == TEXT_LEN_MIN as u64 {
            bits = Bits::default();
            break;
        }
    }
    let len = (head.len() + run.len()) as u64;
    if bits.may_be_printable() { len.saturating_sub(chars_of(from)) as usize } else { 0 }
}

/// How a text spells a character by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `%41` (RFC 3986, section 2.1).
    Percent,
    /// `\u0041`, `\n` (RFC 8259, section 7).
    Backslash,
    /// `&#65;`, `&amp;` (WHATWG HTML, section 13.5).
    Entity,
}

/// A character spelled by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Escape {
    pub(super) kind: Kind,
    /// Bytes of the spelling.
    pub(super) len: usize,
    decoded: [u8; 4],
    decoded_len: usize,
}

impl Escape {
    fn new(kind: Kind, len: usize, text: &[u8]) -> Escape {
        let mut decoded = [0; 4];
        decoded.iter_mut().zip(text).for_each(|(slot, byte)| *slot = *byte);
        Escape { kind, len, decoded, decoded_len: text.len() }
    }

    fn of_char(kind: Kind, len: usize, code: u32) -> Escape {
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        Escape::new(kind, len, c.encode_utf8(&mut [0; 4]).as_bytes())
    }

    pub(super) fn decoded(&self) -> &[u8] {
        self.decoded.get(..self.decoded_len).unwrap_or_default()
    }
}

/// What begins with a byte that may begin an escape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    Is(Escape),
    /// More is needed to tell.
    Cut,
    No,
}

/// The first escape from `from` on, or where what is there ends within one; `last`: the text ends with `bytes`.
pub(super) fn next_escape(bytes: &[u8], mut from: usize, last: bool) -> Option<(usize, Option<Escape>)> {
    loop {
        let rest = bytes.get(from..)?;
        from += memchr::memchr3(b'%', b'\\', b'&', rest)?;
        match spelling(bytes.get(from..).unwrap_or_default()) {
            Spelling::Is(escape) => return Some((from, Some(escape))),
            Spelling::Cut if !last => return Some((from, None)),
            Spelling::Cut | Spelling::No => from += 1,
        }
    }
}

/// What `bytes` begins with.
pub(super) fn spelling(bytes: &[u8]) -> Spelling {
    match bytes.first() {
        Some(b'%') => match hex(bytes, 1, 2) {
            Ok(code) => Spelling::Is(Escape::new(Kind::Percent, 3, &[code as u8])),
            Err(spelling) => spelling,
        },
        Some(b'\\') => backslash(bytes),
        Some(b'&') => entity(bytes),
        _ => Spelling::No,
    }
}

/// The number of `len` hexadecimal digits at `at`.
fn hex(bytes: &[u8], at: usize, len: usize) -> Result<u32, Spelling> {
    let mut number = 0;
    for index in at..at + len {
        let Some(byte) = bytes.get(index) else { return Err(Spelling::Cut) };
        number = number << 4 | (*byte as char).to_digit(16).ok_or(Spelling::No)?;
    }
    Ok(number)
}

fn backslash(bytes: &[u8]) -> Spelling {
    let Some(&byte) = bytes.get(1) else { return Spelling::Cut };
    match unescaped(byte) {
        Some(decoded) => Spelling::Is(Escape::new(Kind::Backslash, 2, &[decoded])),
        None if byte == b'u' => unicode(bytes),
        None => Spelling::No,
    }
}

fn unicode(bytes: &[u8]) -> Spelling {
    let high = match hex(bytes, 2, 4) {
        Ok(code) => code,
        Err(spelling) => return spelling,
    };
    if !(0xD800..=0xDBFF).contains(&high) {
        return Spelling::Is(Escape::of_char(Kind::Backslash, 6, high));
    }
    let lone = Spelling::Is(Escape::of_char(Kind::Backslash, 6, 0xFFFD));
    match (bytes.get(6), bytes.get(7)) {
        (None, _) | (Some(b'\\'), None) => return Spelling::Cut,
        (Some(b'\\'), Some(b'u')) => {}
        _ => return lone,
    }
    match hex(bytes, 8, 4) {
        Ok(low @ 0xDC00..=0xDFFF) => {
            let code = 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            Spelling::Is(Escape::of_char(Kind::Backslash, 12, code))
        }
        Ok(_) | Err(Spelling::No | Spelling::Is(_)) => lone,
        Err(Spelling::Cut) => Spelling::Cut,
    }
}

/// Named characters that stand for ASCII, and the no-break space (WHATWG HTML, section 13.5).
const NAMES: &[(&str, u8)] = &[
    ("amp", b'&'),
    ("AMP", b'&'),
    ("apos", b'\''),
    ("ast", b'*'),
    ("bsol", b'\\'),
    ("colon", b':'),
    ("comma", b','),
    ("commat", b'@'),
    ("dollar", b'$'),
    ("equals", b'='),
    ("excl", b'!'),
    ("grave", b'`'),
    ("gt", b'>'),
    ("GT", b'>'),
    ("Hat", b'^'),
    ("lbrace", b'{'),
    ("lbrack", b'['),
    ("lcub", b'{'),
    ("lowbar", b'_'),
    ("lpar", b'('),
    ("lsqb", b'['),
    ("lt", b'<'),
    ("LT", b'<'),
    ("nbsp", b' '),
    ("NewLine", b'\n'),
    ("num", b'#'),
    ("percnt", b'%'),
    ("period", b'.'),
    ("plus", b'+'),
    ("quest", b'?'),
    ("quot", b'"'),
    ("QUOT", b'"'),
    ("rbrace", b'}'),
    ("rbrack", b']'),
    ("rcub", b'}'),
    ("rpar", b')'),
    ("rsqb", b']'),
    ("semi", b';'),
    ("sol", b'/'),
    ("Tab", b'\t'),
    ("verbar", b'|'),
    ("vert", b'|'),
];

fn entity(bytes: &[u8]) -> Spelling {
    let body = bytes.get(1..bytes.len().min(ESCAPE_LEN_MAX)).unwrap_or_default();
    let (name, ended) = match memchr::memchr(b';', body) {
        Some(at) => (body.get(..at).unwrap_or_default(), true),
        None => (body, false),
    };
    let cut = !ended && bytes.len() < ESCAPE_LEN_MAX;
    let code = match name {
        [] | [b'#'] | [b'#', b'x' | b'X'] => None,
        [b'#', b'x' | b'X', digits @ ..] => number(digits, 16),
        [b'#', digits @ ..] => number(digits, 10),
        _ if ended => NAMES.iter().find(|(n, _)| n.as_bytes() == name).map(|(_, byte)| u32::from(*byte)),
        _ if cut && NAMES.iter().any(|(n, _)| n.as_bytes().starts_with(name)) => return Spelling::Cut,
        _ => return Spelling::No,
    };
    match code {
        Some(code) if ended => Spelling::Is(Escape::of_char(Kind::Entity, name.len() + 2, code)),
        Some(_) if cut => Spelling::Cut,
        None if cut && matches!(name, [] | [b'#'] | [b'#', b'x' | b'X']) => Spelling::Cut,
        _ => Spelling::No,
    }
}

fn number(digits: &[u8], base: u32) -> Option<u32> {
    digits.iter().try_fold(0u32, |n, d| n.checked_mul(base)?.checked_add((*d as char).to_digit(base)?))
}
