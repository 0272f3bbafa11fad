//! Frames that leave (RFC 6455, section 5.2): those that the masker gave are told apart, and closes of our own are made.
//!
//! What the masker appends is whole frames with the lengths that they must have, so this reads headers and skips payloads.

/// What frames say of a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    /// Data messages whose last frame is among them.
    pub(super) messages: u64,
    /// A close is among them.
    pub(super) closes: bool,
}

impl Seen {
    /// In whole frames.
    pub(super) fn of(frames: &[u8]) -> Seen {
        let (mut seen, mut rest) = (Seen::default(), frames);
        while let [first, second, ..] = *rest {
            let (is_last, opcode) = (first & 0x80 != 0, first & 15);
            seen.messages += u64::from(is_last && opcode < 8);
            seen.closes |= opcode == 8;
            let long = match second & 0x7F {
                126 => 2,
                127 => 8,
                _ => 0,
            };
            let digits = rest.get(2..2 + long).unwrap_or_default();
            let len = match long {
                0 => u64::from(second & 0x7F),
                _ => digits.iter().fold(0, |len, byte| len << 8 | u64::from(*byte)),
            };
            let key = if second & 0x80 == 0 { 0 } else { 4 };
            let frame = usize::try_from(len).unwrap_or(usize::MAX).saturating_add(2 + long + key);
            rest = rest.get(frame..).unwrap_or_default();
        }
        seen
    }
}

/// A close with a code and no reason (section 5.5.1); `key` masks it, as a client must.
pub(super) fn close(code: u16, key: Option<[u8; 4]>) -> Vec<u8> {
    let bytes = code.to_be_bytes();
    match key {
        None => [&[0x88, 2], &bytes[..]].concat(),
        Some(key) => {
            let hidden = bytes.iter().zip(key).map(|(byte, key)| byte ^ key).collect::<Vec<u8>>();
            [&[0x88, 0x82], &key[..], &hidden].concat()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_told_apart() {
        let long = [&[0x82, 126, 1, 0][..], &[0x88; 256]].concat();
        let huge = [&[0x81, 0xFF, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4][..], &vec![0x88; 1 << 16]].concat();
        for (frames, messages, closes) in [
            (&b""[..], 0, false),
            (b"\x81\x00", 1, false),
            (b"\x01\x01a\x89\x00\x80\x01b", 1, false),
            (b"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x81\x01a", 2, false),
            (b"\x8a\x02\x88\x88", 0, false),
            (b"\x81\x01a\x88\x02\x03\xe8", 1, true),
            (&long, 1, false),
            (&huge, 1, false),
            (&close(1002, None), 0, true),
            (&close(1002, Some([1, 2, 3, 4])), 0, true),
        ] {
            assert_eq!(Seen::of(frames), Seen { messages, closes }, "{:?}", frames.get(..8));
        }
    }

    #[test]
    fn closes() {
        assert_eq!(close(1009, None), b"\x88\x02\x03\xf1");
        assert_eq!(close(1009, Some([0xFF, 0, 1, 1])), b"\x88\x82\xff\x00\x01\x01\xfc\xf1");
    }
}
