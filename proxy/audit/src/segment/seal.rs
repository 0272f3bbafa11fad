//! A seal: what ends a segment that is complete. The signed root over its records, and where its blocks are.

use crate::fields::Fields;
use crate::hash::{Hash, Kind};
use crate::key::{PublicKey, SigningKey};

pub(crate) const MAGIC: &[u8; 4] = b"SEAL";
const END: &[u8; 8] = b"SLUICEND";
/// The bytes before the places of blocks.
const FIXED_BYTES: usize = 136;
const PLACE_BYTES: usize = 32;
/// The length and the last magic.
pub(crate) const END_BYTES: usize = 12;
const SIGNATURE_BYTES: usize = 64;
/// The blocks of one segment: the index of so many has 4 MiB.
pub(crate) const BLOCKS_MAX: usize = 1 << 17;

/// Where a block is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BlockPlace {
    /// From the beginning of the file, in bytes.
    pub(crate) offset: u64,
    pub(crate) first_seq: u64,
    pub(crate) first_wall_ns: u64,
    pub(crate) records: u32,
    pub(crate) stored_bytes: u32,
}

/// A segment's seal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) records: u64,
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) sealed_wall_ns: u64,
    pub(crate) last_record: Hash,
    pub(crate) last_block: Hash,
    pub(crate) root: Hash,
    pub(crate) places: Vec<BlockPlace>,
    pub(crate) signature: [u8; SIGNATURE_BYTES],
}

/// The length of a seal of so many blocks.
pub(crate) const fn bytes_of(blocks: usize) -> usize {
    FIXED_BYTES + blocks * PLACE_BYTES + SIGNATURE_BYTES + END_BYTES
}

/// The length of the seal that a file ends with, from its last bytes.
pub(crate) fn of_end(end: &[u8; END_BYTES]) -> Option<usize> {
    let mut fields = Fields(end);
    let length = fields.u32()? as usize;
    (fields.0 == END && length <= bytes_of(BLOCKS_MAX)).then_some(length)
}

/// How many blocks a seal is of, from the bytes after its magic.
pub(crate) fn blocks_of(bytes: [u8; 4]) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(bytes)).ok().filter(|blocks| *blocks <= BLOCKS_MAX)
}

impl Seal {
    fn signed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes_of(self.places.len()));
        out.extend_from_slice(MAGIC);
        // BLOCKS_MAX is far below what fits.
        out.extend_from_slice(&(self.places.len() as u32).to_le_bytes());
        for number in [self.records, self.first_seq, self.last_seq, self.sealed_wall_ns] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for hash in [self.last_record, self.last_block, self.root] {
            out.extend_from_slice(&hash.0);
        }
        for place in &self.places {
            for number in [place.offset, place.first_seq, place.first_wall_ns] {
                out.extend_from_slice(&number.to_le_bytes());
            }
            out.extend_from_slice(&place.records.to_le_bytes());
            out.extend_from_slice(&place.stored_bytes.to_le_bytes());
        }
        out
    }

    pub(crate) fn sign(&mut self, key: &SigningKey) {
        self.signature = key.sign(&Hash::of(Kind::Seal, &[&self.signed_bytes()]));
    }

    pub(crate) fn is_signed_by(&self, key: &PublicKey) -> bool {
        key.verifies(&Hash::of(Kind::Seal, &[&self.signed_bytes()]), &self.signature)
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.signed_bytes();
        out.extend_from_slice(&self.signature);
        out.extend_from_slice(&(bytes_of(self.places.len()) as u32).to_le_bytes());
        out.extend_from_slice(END);
        out
    }

    /// What the next segment and the head name it by.
    pub(crate) fn id(&self) -> Hash {
        Hash::of(Kind::SealId, &[&self.to_bytes()])
    }

    /// The seal that all these bytes are.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Seal> {
        let mut fields = Fields(bytes);
        fields.bytes(MAGIC.len()).filter(|magic| *magic == MAGIC)?;
        let blocks = blocks_of(fields.array()?)?;
        let mut seal = Seal {
            records: fields.u64()?,
            first_seq: fields.u64()?,
            last_seq: fields.u64()?,
            sealed_wall_ns: fields.u64()?,
            last_record: fields.hash()?,
            last_block: fields.hash()?,
            root: fields.hash()?,
            places: Vec::new(),
            signature: [0; SIGNATURE_BYTES],
        };
        for _ in 0..blocks {
            seal.places.push(BlockPlace {
                offset: fields.u64()?,
                first_seq: fields.u64()?,
                first_wall_ns: fields.u64()?,
                records: fields.u32()?,
                stored_bytes: fields.u32()?,
            });
        }
        seal.signature = fields.array()?;
        let length = of_end(fields.0.try_into().ok()?)?;
        (length == bytes.len()).then_some(seal)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PEM: &str = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";

    #[test]
    fn a_seal_is_read_as_it_was_written_and_no_byte_may_differ() {
        let place = BlockPlace { offset: 1, first_seq: 2, first_wall_ns: 3, records: 4, stored_bytes: 5 };
        let mut seal = Seal {
            records: 1,
            first_seq: 2,
            last_seq: 3,
            sealed_wall_ns: 4,
            last_record: Hash([5; 32]),
            last_block: Hash([6; 32]),
            root: Hash([7; 32]),
            places: vec![place; 2],
            signature: [0; SIGNATURE_BYTES],
        };
        let key = SigningKey::from_pem(PEM).unwrap();
        seal.sign(&key);
        let mut bytes = seal.to_bytes();
        assert_eq!(bytes.len(), bytes_of(2));
        assert_eq!(Seal::parse(&bytes), Some(seal));
        for at in 0..bytes.len() {
            bytes[at] ^= 1;
            let holds = Seal::parse(&bytes).is_some_and(|seal| seal.is_signed_by(&key.public()));
            assert!(!holds, "byte {at}");
            bytes[at] ^= 1;
        }
        assert_eq!(Seal::parse(&bytes[..bytes.len() - 1]), None);
        assert_eq!(blocks_of((BLOCKS_MAX as u32).to_le_bytes()), Some(BLOCKS_MAX));
        assert_eq!(blocks_of((BLOCKS_MAX as u32 + 1).to_le_bytes()), None);
    }
}
