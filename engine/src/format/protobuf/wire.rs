//! The wire format: tags, varints, and whether bytes can be a message.
//!
//! Source: protobuf.dev/programming-guides/encoding ("Base 128 Varints", "Message Structure", "Groups").
#![deny(clippy::indexing_slicing)]

/// Longest varint: 64 bits in groups of 7.
const VARINT_BYTES_MAX: usize = 10;
/// Longest field: implementations refuse messages of 2 GiB.
pub(super) const FIELD_BYTES_MAX: u64 = i32::MAX as u64;
/// Deepest nesting of groups that is looked through when bytes are judged.
const GROUPS_MAX: usize = 32;

/// How a field's value is written ("Message Structure").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    I64,
    Len,
    StartGroup,
    EndGroup,
    I32,
}

/// What comes first in some bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Read<T> {
    /// It, and how many bytes it takes.
    Done(T, usize),
    /// The bytes end before it does.
    Cut,
    /// The byte with this index can't stand there.
    Bad(usize),
}

/// A varint.
pub(super) fn varint(bytes: &[u8]) -> Read<u64> {
    let mut value = 0u64;
    for (index, &byte) in bytes.iter().enumerate() {
        let bits = u64::from(byte & 0x7F);
        // The tenth byte holds the last bit.
        if index + 1 == VARINT_BYTES_MAX && byte > 1 {
            return Read::Bad(index);
        }
        value |= bits << (7 * index);
        if byte & 0x80 == 0 {
            return Read::Done(value, index + 1);
        }
    }
    Read::Cut
}

/// The tag of a field: its number and how its value is written.
pub(super) fn tag(bytes: &[u8]) -> Read<(u32, Wire)> {
    let (value, len) = match varint(bytes) {
        Read::Done(value, len) => (value, len),
        Read::Cut => return Read::Cut,
        Read::Bad(index) => return Read::Bad(index),
    };
    let wire = match value & 7 {
        0 => Wire::Varint,
        1 => Wire::I64,
        2 => Wire::Len,
        3 => Wire::StartGroup,
        4 => Wire::EndGroup,
        5 => Wire::I32,
        _ => return Read::Bad(len - 1),
    };
    match u32::try_from(value >> 3) {
        Ok(number @ 1..=0x1FFF_FFFF) => Read::Done((number, wire), len),
        _ => Read::Bad(len - 1),
    }
}

/// Whether `bytes`, the first of `len` bytes, can be the beginning of a message of `len` bytes, or are one where they
/// are all of it. Only the outermost fields are looked at.
pub(super) fn may_be_message(bytes: &[u8], len: u64) -> bool {
    let whole = bytes.len() as u64 == len;
    let mut groups: Vec<u32> = Vec::new();
    let mut at = 0u64;
    loop {
        let rest = usize::try_from(at).ok().and_then(|at| bytes.get(at..)).unwrap_or_default();
        if rest.is_empty() {
            return at < len || (at == len && groups.is_empty());
        }
        let (number, wire, taken) = match tag(rest) {
            Read::Done((number, wire), taken) => (number, wire, taken as u64),
            Read::Cut => return !whole,
            Read::Bad(_) => return false,
        };
        let value = rest.get(taken as usize..).unwrap_or_default();
        let taken = taken
            + match wire {
                Wire::Varint => match varint(value) {
                    Read::Done(_, len) => len as u64,
                    Read::Cut => return !whole,
                    Read::Bad(_) => return false,
                },
                Wire::I64 => 8,
                Wire::I32 => 4,
                Wire::Len => match varint(value) {
                    Read::Done(inner, head) if inner <= FIELD_BYTES_MAX => head as u64 + inner,
                    Read::Cut => return !whole,
                    Read::Done(..) | Read::Bad(_) => return false,
                },
                Wire::StartGroup => {
                    groups.push(number);
                    if groups.len() > GROUPS_MAX {
                        return false;
                    }
                    0
                }
                Wire::EndGroup => {
                    if groups.pop() != Some(number) {
                        return false;
                    }
                    0
                }
            };
        at += taken;
        if at > len {
            return false;
        }
    }
}

/// Whether `bytes` are length-delimited fields and nothing else: what a message of strings or a list of messages is, and
/// text is not by accident, for each length has to lead to the next tag and the last one to the end. That is little
/// of one field alone; then its tag must be that of field 1, a line feed, with which no value begins. If there is `more`,
/// the last field may be cut, and does not count.
pub(super) fn is_list(bytes: &[u8], more: bool) -> bool {
    let (mut rest, mut fields) = (bytes, 0);
    while !rest.is_empty() {
        let head = match tag(rest) {
            Read::Done((_, Wire::Len), head) => head,
            Read::Cut if more => break,
            Read::Done(..) | Read::Cut | Read::Bad(_) => return false,
        };
        let value = rest.get(head..).unwrap_or_default();
        let (len, head) = match varint(value) {
            Read::Done(len, head) => (len, head),
            Read::Cut if more => break,
            Read::Cut | Read::Bad(_) => return false,
        };
        let after = usize::try_from(len).ok().and_then(|len| value.get(head..)?.get(len..));
        let Some(after) = after else { return more && fields > 1 };
        rest = after;
        fields += 1;
    }
    fields > 1 || (fields == 1 && !more && bytes.first() == Some(&b'\n'))
}

/// Whether the byte may stand in printable text: no control character but tab and line ends.
pub(super) fn is_text_byte(byte: u8) -> bool {
    !matches!(byte, 0..=8 | 11 | 12 | 14..=31 | 127)
}

/// Whether `bytes` are printable text in UTF-8 as far as they go; at the end, if there is `more`, a character may be cut.
pub(super) fn is_printable(bytes: &[u8], more: bool) -> bool {
    let valid = match std::str::from_utf8(bytes) {
        Ok(_) => true,
        Err(e) => more && e.error_len().is_none(),
    };
    valid && bytes.iter().all(|b| is_text_byte(*b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints() {
        for (bytes, read) in [
            (&[0x00][..], Read::Done(0, 1)),
            (&[0x96, 0x01, 0xFF], Read::Done(150, 2)),
            (&[0x80], Read::Cut),
            (&[], Read::Cut),
            (&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], Read::Done(u64::MAX, 10)),
            (&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02], Read::Bad(9)),
            (&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01], Read::Bad(9)),
        ] {
            assert_eq!(varint(bytes), read, "{bytes:?}");
        }
    }

    #[test]
    fn tags() {
        assert_eq!(tag(&[0x0A]), Read::Done((1, Wire::Len), 1));
        assert_eq!(tag(&[0xC2, 0x3E]), Read::Done((1000, Wire::Len), 2));
        assert_eq!(tag(&[0x02]), Read::Bad(0), "field 0");
        assert_eq!(tag(&[0x0E]), Read::Bad(0), "wire type 6");
        assert_eq!(tag(&[0xFF, 0xFF, 0xFF, 0xFF, 0x1F]), Read::Bad(4), "a number over 29 bits");
        assert_eq!(tag(&[0xF8, 0xFF, 0xFF, 0xFF, 0x0F]), Read::Done((0x1FFF_FFFF, Wire::Varint), 5));
    }

    #[test]
    fn messages_are_judged() {
        let judge = |bytes: &[u8]| may_be_message(bytes, bytes.len() as u64);
        for message in [
            &b""[..],
            b"\x0a\x03abc",
            b"\x08\x96\x01\x12\x00",
            b"\x09abcdefgh\x0dabcd",
            b"\x0b\x08\x01\x0c",
            b"\x0b\x13\x14\x0c",
        ] {
            assert!(judge(message), "{message:?}");
        }
        for other in [
            &b"hello world"[..],
            b"\x0a\x04abc",
            b"\x08",
            b"\x0a",
            b"\x0b\x08\x01",
            b"\x0b\x14",
            b"\x0c",
            b"\x09abcdefg",
        ] {
            assert!(!judge(other), "{other:?}");
        }
        assert!(may_be_message(b"\x0a", 4) && may_be_message(b"\x0a\x02a", 4) && may_be_message(b"", 4));
        assert!(!may_be_message(b"\x0a\x03", 4), "longer than what is there");
    }

    #[test]
    fn lists_are_judged() {
        for (bytes, list) in [
            (&b"\x0a\x01a\x0a\x00"[..], true),
            (b"\x12\x01a", false),
            (b"\x0a\x01a", true),
            (b"", false),
            (b"\x12\x01a\x08\x01", false),
            (b"\x12\x01a\x12\x02a", false),
        ] {
            assert_eq!(is_list(bytes, false), list, "{bytes:?}");
        }
        assert!(is_list(b"\x0a\x01a\x0a\x00\x0a\x05ab", true) && !is_list(b"\x0a\x01a\x0a\x05ab", true));
    }

    #[test]
    fn text_is_judged() {
        assert!(is_printable("é\t\n x".as_bytes(), false));
        assert!(is_printable(b"x\xC3", true) && !is_printable(b"x\xC3", false));
        assert!(!is_printable(b"\xC3x", true) && !is_printable(b"\x1b[0m", false));
    }
}
