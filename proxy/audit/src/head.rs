//! The head: a small file that says, signed, how far the record is durable.
//!
//! Segments alone can't tell that the last of them, or the last blocks of an open one, were taken away; the head can. It
//! is written after each sync and never before, so a record that it names is on the disk. Two slots are written by
//! turns: a write that is torn leaves the other. Who puts an older head back together with the older files is not seen
//! here: pin what `audit verify` prints, or ship segments.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::fields::Fields;
use crate::hash::{Hash, Kind};
use crate::key::{PublicKey, SigningKey};

/// Its name in the folder of the record.
pub(crate) const HEAD_FILE: &str = "HEAD";
const MAGIC: &[u8; 8] = b"SLUICHED";
const VERSION: u16 = 1;
const SIGNED_BYTES: usize = 184;
/// How long one slot is.
pub(crate) const SLOT_BYTES: usize = SIGNED_BYTES + 64;

/// How the last segment stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeadState {
    /// It is written.
    Open,
    /// It has its seal, or there is none yet; a writer runs, or ended without closing the record.
    Sealed,
    /// It has its seal, and the writer closed the record.
    Closed,
}

impl HeadState {
    fn byte(self) -> u8 {
        match self {
            HeadState::Open => 1,
            HeadState::Sealed => 2,
            HeadState::Closed => 3,
        }
    }

    fn of(byte: u8) -> Option<HeadState> {
        [HeadState::Open, HeadState::Sealed, HeadState::Closed].into_iter().find(|state| state.byte() == byte)
    }
}

/// How far the record is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) state: HeadState,
    pub(crate) log: [u8; 16],
    /// The last segment; 0: there is none.
    pub(crate) number: u64,
    /// The last record; 0: there is none.
    pub(crate) seq: u64,
    /// Grows with each write.
    pub(crate) counter: u64,
    pub(crate) last_record: Hash,
    /// The hash of the last block, or of the segment's header where it has none.
    pub(crate) last_block: Hash,
    /// The id of the last segment's seal; zero where it has none.
    pub(crate) seal: Hash,
    pub(crate) key: PublicKey,
}

impl Head {
    pub(crate) fn to_bytes(&self, key: &SigningKey) -> Vec<u8> {
        let mut out = Vec::with_capacity(SLOT_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&[self.state.byte(), 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.log);
        for number in [self.number, self.seq, self.counter] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for hash in [self.last_record, self.last_block, self.seal] {
            out.extend_from_slice(&hash.0);
        }
        out.extend_from_slice(&self.key.0);
        let signature = key.sign(&Hash::of(Kind::Head, &[&out]));
        out.extend_from_slice(&signature);
        out
    }

    /// The head that these bytes are, signed by the key that it names.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Head> {
        let (signed, signature) = bytes.split_at_checked(SIGNED_BYTES)?;
        let mut fields = Fields(signed);
        fields.bytes(MAGIC.len()).filter(|magic| *magic == MAGIC)?;
        fields.u16().filter(|version| *version == VERSION)?;
        let [state, reserved @ ..] = fields.array::<6>()?;
        if reserved != [0; 5] {
            return None;
        }
        let head = Head {
            state: HeadState::of(state)?,
            log: fields.array()?,
            number: fields.u64()?,
            seq: fields.u64()?,
            counter: fields.u64()?,
            last_record: fields.hash()?,
            last_block: fields.hash()?,
            seal: fields.hash()?,
            key: PublicKey(fields.array()?),
        };
        let is_signed = head.key.verifies(&Hash::of(Kind::Head, &[signed]), signature.try_into().ok()?);
        is_signed.then_some(head)
    }

    /// Where the slot of this head begins.
    pub(crate) fn offset(&self) -> u64 {
        (self.counter % 2) * SLOT_BYTES as u64
    }
}

/// What a file of a head holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HeadRead {
    /// The later of its slots that hold.
    pub(crate) head: Option<Head>,
    /// A slot does not hold, or the file has another length.
    pub(crate) is_damaged: bool,
}

/// Reads the head of the record in `folder`.
///
/// # Errors
/// Where the file can't be read; that there is none too.
pub(crate) fn read(folder: &Path) -> std::io::Result<HeadRead> {
    let mut bytes = Vec::new();
    File::open(folder.join(HEAD_FILE))?.take(4 * SLOT_BYTES as u64).read_to_end(&mut bytes)?;
    let (slots, rest) = bytes.as_chunks::<SLOT_BYTES>();
    let heads: Vec<Head> = slots.iter().filter_map(|slot| Head::parse(slot)).collect();
    let is_in_place = |(at, slot): (usize, &Head)| slot.counter % 2 == at as u64;
    let is_whole = slots.len() == 2 && rest.is_empty() && heads.len() == 2;
    let is_damaged = !is_whole || !heads.iter().enumerate().all(is_in_place);
    Ok(HeadRead { head: heads.into_iter().max_by_key(|head| head.counter), is_damaged })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_head_is_read_as_it_was_written_and_no_byte_may_differ() {
        let key = SigningKey::from_pem(PEM).unwrap();
        let head = Head {
            state: HeadState::Open,
            log: [1; 16],
            number: 2,
            seq: 3,
            counter: 5,
            last_record: Hash([6; 32]),
            last_block: Hash([7; 32]),
            seal: Hash([8; 32]),
            key: key.public(),
        };
        let mut bytes = head.to_bytes(&key);
        assert_eq!(bytes.len(), SLOT_BYTES);
        assert_eq!(Head::parse(&bytes), Some(head));
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            assert_eq!(Head::parse(&bytes), None, "byte {at}");
            bytes[at] ^= 1;
        }
    }
}
