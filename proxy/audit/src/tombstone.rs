//! What stands where a segment was deleted: who follows the chain finds its ends there, signed.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::hash::{Hash, Kind, from_hex, to_hex};
use crate::key::{PublicKey, SigningKey};
use crate::segment::Walked;

/// A segment that was deleted, as its tombstone tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tombstone {
    /// Which record it was of, in hex.
    pub log: String,
    /// Its number.
    pub number: u64,
    /// Its first record.
    pub first_seq: u64,
    /// Its last one.
    pub last_seq: u64,
    /// What it followed: the id of the seal before.
    pub previous_seal: Hash,
    /// The hash of the record before.
    pub previous_record: Hash,
    /// The hash of the block before.
    pub previous_block: Hash,
    /// The hash of its last record.
    pub last_record: Hash,
    /// The hash of its last block.
    pub last_block: Hash,
    /// The id of its seal.
    pub seal: Hash,
    /// The key that signed the segment, in hex.
    pub key: String,
    /// What the key before signed of that one, in hex; zeros where it was the same.
    pub endorsement: String,
    /// The key that signs this, in hex.
    pub signer: String,
    /// When it was deleted, in nanoseconds since 1970.
    pub deleted_wall_ns: u64,
    /// Why: `age`, `size`.
    pub reason: String,
}

const SIGNATURE_MEMBER: &[u8] = b",\"signature\":\"";
const SIGNATURE_END: &[u8] = b"\"}";
/// No tombstone is longer.
const BYTES_MAX: u64 = 16 << 10;

impl Tombstone {
    /// Of a segment that is good and sealed; none where it has no seal.
    pub(crate) fn of(
        walked: &Walked,
        signer: &PublicKey,
        deleted_wall_ns: u64,
        reason: &str,
    ) -> Option<Tombstone> {
        let seal = walked.seal.as_ref()?;
        let header = &walked.header;
        Some(Tombstone {
            log: to_hex(&header.log),
            number: header.number,
            first_seq: header.first_seq,
            last_seq: seal.last_seq,
            previous_seal: header.previous_seal,
            previous_record: header.previous_record,
            previous_block: header.previous_block,
            last_record: seal.last_record,
            last_block: seal.last_block,
            seal: seal.id(),
            key: header.key.to_string(),
            endorsement: to_hex(&header.endorsement),
            signer: signer.to_string(),
            deleted_wall_ns,
            reason: reason.to_owned(),
        })
    }

    /// As the file has it: JSON, the signature its last member.
    pub(crate) fn to_bytes(&self, key: &SigningKey) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = serde_json::to_vec(self)?;
        let signature = key.sign(&Hash::of(Kind::Tombstone, &[&out]));
        out.pop();
        out.extend_from_slice(SIGNATURE_MEMBER);
        out.extend_from_slice(to_hex(&signature).as_bytes());
        out.extend_from_slice(SIGNATURE_END);
        Ok(out)
    }

    /// The tombstone that these bytes are, signed by the key that it names.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Tombstone> {
        let end_bytes = SIGNATURE_MEMBER.len() + 128 + SIGNATURE_END.len();
        let (body, end) = bytes.split_at_checked(bytes.len().checked_sub(end_bytes)?)?;
        let digits = end.strip_prefix(SIGNATURE_MEMBER)?.strip_suffix(SIGNATURE_END)?;
        let signature = from_hex::<64>(std::str::from_utf8(digits).ok()?)?;
        let signed = [body, b"}"].concat();
        let tombstone: Tombstone = serde_json::from_slice(&signed).ok()?;
        let is_signed = tombstone.signer()?.verifies(&Hash::of(Kind::Tombstone, &[&signed]), &signature);
        is_signed.then_some(tombstone)
    }

    /// Reads the one in `file`; none where it does not hold.
    ///
    /// # Errors
    /// Where the file can't be read.
    pub(crate) fn read(file: &Path) -> std::io::Result<Option<Tombstone>> {
        if std::fs::metadata(file)?.len() > BYTES_MAX {
            return Ok(None);
        }
        Ok(Tombstone::parse(&std::fs::read(file)?))
    }

    pub(crate) fn public_key(&self) -> Option<PublicKey> {
        from_hex(&self.key).map(PublicKey)
    }

    pub(crate) fn signer(&self) -> Option<PublicKey> {
        from_hex(&self.signer).map(PublicKey)
    }

    pub(crate) fn endorsement(&self) -> Option<[u8; 64]> {
        from_hex(&self.endorsement)
    }
}
