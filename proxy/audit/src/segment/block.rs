//! A block: the records of one commit, compressed together, encrypted where that is asked for.

use crate::fields::Fields;
use crate::hash::{Hash, Kind};
use crate::key::{SegmentCipher, TAG_BYTES};

/// How long a block's header is.
pub(crate) const BLOCK_HEADER_BYTES: usize = 72;
/// What a block's records may have before they are compressed: one record of the largest cost, or very many.
pub(crate) const BLOCK_RAW_BYTES_MAX: usize = 16 << 20;
/// Room that zstd needs beyond its input, at worst, and the tag of the cipher.
const STORED_BYTES_MAX: usize = BLOCK_RAW_BYTES_MAX + (BLOCK_RAW_BYTES_MAX >> 7) + 1024;
pub(crate) const MAGIC: &[u8; 4] = b"BLCK";
/// What of the header is hashed; its hash follows.
const HASHED_BYTES: usize = BLOCK_HEADER_BYTES - 32;
/// How well blocks are compressed: the fastest of zstd's levels that are worth their time.
const LEVEL: i32 = 1;

/// What a block says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BlockHeader {
    /// The length of its body, as stored.
    pub(crate) stored_bytes: u32,
    /// The length of its records.
    pub(crate) raw_bytes: u32,
    pub(crate) records: u32,
    pub(crate) first_seq: u64,
    pub(crate) first_wall_ns: u64,
    /// What it is encrypted with; never twice the same in a segment.
    pub(crate) nonce: u64,
    pub(crate) hash: Hash,
}

impl BlockHeader {
    fn hashed_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(BLOCK_HEADER_BYTES);
        out.extend_from_slice(MAGIC);
        for number in [self.stored_bytes, self.raw_bytes, self.records] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        for number in [self.first_seq, self.first_wall_ns, self.nonce] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(bytes: &[u8; BLOCK_HEADER_BYTES]) -> Result<BlockHeader, &'static str> {
        let header = BlockHeader::fields(&mut Fields(bytes)).ok_or("is not well formed")?;
        let is_within = header.raw_bytes as usize <= BLOCK_RAW_BYTES_MAX
            && header.stored_bytes as usize <= STORED_BYTES_MAX
            && header.records > 0;
        if is_within { Ok(header) } else { Err("is larger than a block may be, or empty") }
    }

    fn fields(fields: &mut Fields<'_>) -> Option<BlockHeader> {
        fields.bytes(MAGIC.len()).filter(|magic| *magic == MAGIC)?;
        Some(BlockHeader {
            stored_bytes: fields.u32()?,
            raw_bytes: fields.u32()?,
            records: fields.u32()?,
            first_seq: fields.u64()?,
            first_wall_ns: fields.u64()?,
            nonce: fields.u64()?,
            hash: fields.hash()?,
        })
    }
}

/// A block as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) header: BlockHeader,
    pub(crate) body: Vec<u8>,
}

/// What a new block is made of.
#[derive(Debug)]
pub(crate) struct NewBlock<'a> {
    pub(crate) raw: &'a [u8],
    pub(crate) records: u32,
    pub(crate) first_seq: u64,
    pub(crate) first_wall_ns: u64,
    pub(crate) nonce: u64,
    /// The hash of the block before, or of the segment's header.
    pub(crate) previous: Hash,
}

impl Block {
    /// # Errors
    /// Where the records are more than a block may have, or can't be compressed or encrypted.
    pub(crate) fn new(new: &NewBlock<'_>, cipher: Option<&SegmentCipher>) -> std::io::Result<Block> {
        let too_large = || std::io::Error::other("a block is larger than it may be");
        let length = |bytes: usize| u32::try_from(bytes).map_err(|_| too_large());
        if new.raw.len() > BLOCK_RAW_BYTES_MAX {
            return Err(too_large());
        }
        let mut body = zstd::bulk::compress(new.raw, LEVEL)?;
        let tag_bytes = if cipher.is_some() { TAG_BYTES } else { 0 };
        let mut header = BlockHeader {
            stored_bytes: length(body.len() + tag_bytes)?,
            raw_bytes: length(new.raw.len())?,
            records: new.records,
            first_seq: new.first_seq,
            first_wall_ns: new.first_wall_ns,
            nonce: new.nonce,
            hash: Hash::ZERO,
        };
        let hashed = header.hashed_bytes();
        if let Some(cipher) = cipher {
            cipher.encrypt(new.nonce, &hashed, &mut body).ok_or_else(too_large)?;
        }
        header.hash = Hash::of(Kind::Block, &[&new.previous.0, &hashed, &body]);
        Ok(Block { header, body })
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = self.header.hashed_bytes();
        out.extend_from_slice(&self.header.hash.0);
        out.extend_from_slice(&self.body);
        out
    }

    /// Whether its hash holds after a block of this hash.
    pub(crate) fn follows(&self, previous: &Hash) -> bool {
        let hashed = self.header.hashed_bytes();
        debug_assert_eq!(hashed.len(), HASHED_BYTES);
        Hash::of(Kind::Block, &[&previous.0, &hashed, &self.body]) == self.header.hash
    }

    /// Its records as they were before they were compressed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn raw(&self, cipher: Option<&SegmentCipher>) -> Result<Vec<u8>, &'static str> {
        let compressed = match cipher {
            Some(cipher) => {
                let mut body = self.body.clone();
                let opened = cipher.decrypt(self.header.nonce, &self.header.hashed_bytes(), &mut body);
                opened.ok_or("can't be decrypted: it was changed, or the key is another")?;
                body
            }
            None => self.body.clone(),
        };
        let length = self.header.raw_bytes as usize;
        let raw = zstd::bulk::decompress(&compressed, length).map_err(|_| "can't be decompressed")?;
        if raw.len() == length { Ok(raw) } else { Err("has another length than it says") }
    }
}

/// The records in a block's bytes, each with its length before it; the error once, where that is not so.
pub(crate) fn records(raw: &[u8]) -> impl Iterator<Item = Result<&[u8], &'static str>> {
    let mut fields = Some(Fields(raw));
    std::iter::from_fn(move || {
        let rest = fields.as_mut().filter(|fields| !fields.0.is_empty())?;
        let record = rest.u32().and_then(|length| rest.bytes(length as usize));
        if record.is_none() {
            fields = None;
        }
        Some(record.ok_or("ends inside of a record"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key::EncryptionKey;

    fn block(cipher: Option<&SegmentCipher>) -> Block {
        let raw = [&3u32.to_le_bytes()[..], b"abc", &1u32.to_le_bytes(), b"d"].concat();
        let new = NewBlock {
            raw: &raw,
            records: 2,
            first_seq: 5,
            first_wall_ns: 6,
            nonce: 7,
            previous: Hash::ZERO,
        };
        Block::new(&new, cipher).unwrap()
    }

    #[test]
    fn a_block_is_read_as_it_was_written_and_no_byte_may_differ() {
        let cipher = EncryptionKey::from_hex(&"0f".repeat(32)).unwrap().of_segment(&[1; 16], 2, &[3; 32]);
        for cipher in [None, Some(&cipher)] {
            let block = block(cipher);
            let raw = block.raw(cipher).unwrap();
            let all: Vec<&[u8]> = records(&raw).map(Result::unwrap).collect();
            assert_eq!(all, [&b"abc"[..], b"d"]);
            let mut bytes = block.to_bytes();
            for at in 0..bytes.len() {
                bytes[at] ^= 4;
                let header = BlockHeader::parse(bytes[..BLOCK_HEADER_BYTES].try_into().unwrap());
                let body = bytes[BLOCK_HEADER_BYTES..].to_vec();
                let holds = header.is_ok_and(|header| Block { header, body }.follows(&Hash::ZERO));
                assert!(!holds, "byte {at}");
                bytes[at] ^= 4;
            }
            assert!(!block.follows(&Hash([1; 32])), "after another block");
        }
    }

    #[test]
    fn lengths_that_lie_are_told() {
        let all: Vec<_> = records(&[9, 0, 0, 0, 1]).collect();
        assert_eq!(all, [Err("ends inside of a record")]);
        assert_eq!(records(&[1, 0]).count(), 1);
        let mut long = block(None);
        long.header.raw_bytes += 1;
        assert_eq!(long.raw(None), Err("has another length than it says"));
    }

    #[test]
    fn a_block_holds_its_limit_and_not_one_byte_more() {
        let raw = vec![0; BLOCK_RAW_BYTES_MAX + 1];
        for (length, ok) in [(BLOCK_RAW_BYTES_MAX, true), (BLOCK_RAW_BYTES_MAX + 1, false)] {
            let raw = &raw[..length];
            let new =
                NewBlock { raw, records: 1, first_seq: 1, first_wall_ns: 0, nonce: 0, previous: Hash::ZERO };
            assert_eq!(Block::new(&new, None).is_ok(), ok);
        }
        let mut header = block(None).header;
        header.raw_bytes = BLOCK_RAW_BYTES_MAX as u32 + 1;
        let bytes = Block { header, body: Vec::new() }.to_bytes();
        assert!(BlockHeader::parse(bytes[..].try_into().unwrap()).is_err());
    }
}
