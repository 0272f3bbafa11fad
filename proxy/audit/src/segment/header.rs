//! The first bytes of a segment: which record it is of, which number it has, and what it follows.

use crate::fields::Fields;
use crate::hash::{Hash, Kind};
use crate::key::PublicKey;

/// How long a header is.
pub(crate) const HEADER_BYTES: usize = 312;
const MAGIC: &[u8; 8] = b"SLUICREC";
const VERSION: u16 = 1;
const ENCRYPTED: u16 = 1;
/// What the hash is over.
const HASHED_BYTES: usize = HEADER_BYTES - 32;

/// A segment's header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) is_encrypted: bool,
    /// Which record it is of: random, the same in all its segments.
    pub(crate) log: [u8; 16],
    /// 1, 2, 3 …
    pub(crate) number: u64,
    /// The number of its first record, should it have any.
    pub(crate) first_seq: u64,
    pub(crate) created_wall_ns: u64,
    /// The id of the seal before; zero for the first segment, and after one that has no seal.
    pub(crate) previous_seal: Hash,
    /// The hash of the record before its first; zero for the first segment.
    pub(crate) previous_record: Hash,
    /// The hash of the last block before (or of the header, where there was no block); zero for the first segment.
    pub(crate) previous_block: Hash,
    /// Whose key signs it.
    pub(crate) key: PublicKey,
    /// Where the key is new: what the key before signed of it, or zero.
    pub(crate) endorsement: [u8; 64],
    /// What its encryption key is derived with.
    pub(crate) salt: [u8; 32],
}

impl Header {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&(if self.is_encrypted { ENCRYPTED } else { 0 }).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.log);
        for number in [self.number, self.first_seq, self.created_wall_ns] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for hash in [self.previous_seal, self.previous_record, self.previous_block] {
            out.extend_from_slice(&hash.0);
        }
        out.extend_from_slice(&self.key.0);
        out.extend_from_slice(&self.endorsement);
        out.extend_from_slice(&self.salt);
        let hash = Hash::of(Kind::Header, &[&out]);
        out.extend_from_slice(&hash.0);
        out
    }

    /// The header that these bytes are, and its hash.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Header, Hash), &'static str> {
        let Some((hashed, said)) = bytes.split_at_checked(HASHED_BYTES) else {
            return Err("is too short");
        };
        let mut fields = Fields(hashed);
        if fields.bytes(MAGIC.len()) != Some(MAGIC) {
            return Err("is not that of a segment");
        }
        if fields.u16() != Some(VERSION) {
            return Err("has a version that this sluice does not know");
        }
        let hash = Hash::of(Kind::Header, &[hashed]);
        if said != hash.0 {
            return Err("does not match its hash");
        }
        let header = Header::fields(&mut fields).ok_or("is not well formed")?;
        Ok((header, hash))
    }

    fn fields(fields: &mut Fields<'_>) -> Option<Header> {
        let flags = fields.u16().filter(|flags| *flags <= ENCRYPTED)?;
        fields.u32().filter(|reserved| *reserved == 0)?;
        Some(Header {
            is_encrypted: flags == ENCRYPTED,
            log: fields.array()?,
            number: fields.u64()?,
            first_seq: fields.u64().filter(|seq| *seq > 0)?,
            created_wall_ns: fields.u64()?,
            previous_seal: fields.hash()?,
            previous_record: fields.hash()?,
            previous_block: fields.hash()?,
            key: PublicKey(fields.array()?),
            endorsement: fields.array()?,
            salt: fields.array()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_as_it_was_written_and_no_byte_may_differ() {
        let header = Header {
            is_encrypted: true,
            log: [1; 16],
            number: 2,
            first_seq: 3,
            created_wall_ns: 4,
            previous_seal: Hash([5; 32]),
            previous_record: Hash([6; 32]),
            previous_block: Hash([10; 32]),
            key: PublicKey([7; 32]),
            endorsement: [8; 64],
            salt: [9; 32],
        };
        let mut bytes = header.to_bytes();
        assert_eq!(bytes.len(), HEADER_BYTES);
        assert_eq!(Header::parse(&bytes).unwrap().0, header);
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            assert!(Header::parse(&bytes).is_err(), "byte {at}");
            bytes[at] ^= 0x10;
        }
        assert!(Header::parse(&bytes[..HEADER_BYTES - 1]).is_err());
    }
}
