//! Frames (RFC 6455, section 5.2): their headers, and how payloads are masked with a key (section 5.3).
#![deny(clippy::indexing_slicing)]

use sha2::{Digest, Sha256};

/// Longest header: two bytes, a length of eight, a key.
pub(super) const HEADER_BYTES_MAX: usize = 14;
/// Most bytes of a control frame's payload (section 5.5).
pub(super) const CONTROL_BYTES_MAX: u64 = 125;

/// A masking key (section 5.3).
pub(super) type Key = [u8; 4];

/// What a frame is (section 5.2, "Opcode").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Opcode {
    Continuation,
    Text,
    Binary,
    Close,
    Ping,
    Pong,
}

impl Opcode {
    fn of(byte: u8) -> Option<Opcode> {
        match byte {
            0 => Some(Opcode::Continuation),
            1 => Some(Opcode::Text),
            2 => Some(Opcode::Binary),
            8 => Some(Opcode::Close),
            9 => Some(Opcode::Ping),
            10 => Some(Opcode::Pong),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Opcode::Continuation => 0,
            Opcode::Text => 1,
            Opcode::Binary => 2,
            Opcode::Close => 8,
            Opcode::Ping => 9,
            Opcode::Pong => 10,
        }
    }

    pub(super) fn is_control(self) -> bool {
        match self {
            Opcode::Close | Opcode::Ping | Opcode::Pong => true,
            Opcode::Continuation | Opcode::Text | Opcode::Binary => false,
        }
    }
}

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// It is the last one of its message.
    pub(super) is_last: bool,
    pub(super) opcode: Opcode,
    /// Bytes of the payload.
    pub(super) len: u64,
    pub(super) key: Option<Key>,
}

impl Header {
    /// The header that `bytes` begin with, and its bytes; `None` while more are needed.
    ///
    /// # Errors
    /// What is wrong, at the first byte that tells.
    pub(super) fn of(bytes: &[u8]) -> Result<Option<(Header, usize)>, &'static str> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        if first & 0x70 != 0 {
            return Err("a frame of an extension");
        }
        let opcode = Opcode::of(first & 15).ok_or("an unknown kind of frame")?;
        let is_last = first & 0x80 != 0;
        if opcode.is_control() && !is_last {
            return Err("a control frame in fragments");
        }
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let mut read = bytes.iter().skip(2);
        let mut number = |size: usize| -> Option<u64> {
            (0..size).try_fold(0, |n, _| Some(n << 8 | u64::from(*read.next()?)))
        };
        let (size, least) = match second & 0x7F {
            126 => (2, 126),
            127 => (8, 1 << 16),
            _ => (0, 0),
        };
        if opcode.is_control() && size > 0 {
            return Err("a control frame that is too long");
        }
        let len = if size == 0 { Some(u64::from(second & 0x7F)) } else { number(size) };
        let Some(len) = len else { return Ok(None) };
        if len < least || len > i64::MAX.unsigned_abs() {
            return Err("a length that is not spelled as it must be");
        }
        let key = if second & 0x80 == 0 {
            None
        } else {
            let Some(key) = number(4) else { return Ok(None) };
            Some((key as u32).to_be_bytes())
        };
        let head = 2 + size + key.map_or(0, |k| k.len());
        Ok(Some((Header { is_last, opcode, len, key }, head)))
    }

    /// Appends a frame.
    pub(super) fn write(self, payload: &[u8], out: &mut Vec<u8>) {
        debug_assert_eq!(self.len, payload.len() as u64, "a header tells its payload's length");
        out.push(u8::from(self.is_last) << 7 | self.opcode.byte());
        let bit = u8::from(self.key.is_some()) << 7;
        match self.len {
            len @ 0..126 => out.push(bit | len as u8),
            len @ 126..0x1_0000 => {
                out.push(bit | 126);
                out.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                out.push(bit | 127);
                out.extend_from_slice(&len.to_be_bytes());
            }
        }
        out.extend(self.key.into_iter().flatten());
        let from = out.len();
        out.extend_from_slice(payload);
        apply(self.key, 0, out.get_mut(from..).unwrap_or_default());
    }
}

/// Whether a close can have this code (section 7.4, and the registry that it makes): 1005, 1006 and 1015 only say what
/// became of a connection.
pub(super) fn is_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Masks or unmasks bytes of a payload, the first of which is the one with this index (section 5.3).
pub(super) fn apply(key: Option<Key>, index: u64, bytes: &mut [u8]) {
    let Some(mut key) = key else { return };
    key.rotate_left((index % 4) as usize);
    bytes.iter_mut().zip(key.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
}

/// The key of the frame with this number, of those that stand for one with this key: the first has that one, and the
/// others can't be told without it (section 10.3 asks for keys that whoever chooses the payload can't foresee).
pub(super) fn key_of(key: Option<Key>, number: u64) -> Option<Key> {
    let key = key?;
    if number == 0 {
        return Some(key);
    }
    let digest = Sha256::new().chain_update(key).chain_update(number.to_be_bytes()).finalize();
    digest.first_chunk().copied()
}
