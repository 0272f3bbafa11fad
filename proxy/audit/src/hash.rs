//! BLAKE3 hashes of the record, each kind under a name of its own, and the Merkle root over a segment's records.
//!
//! Names set kinds apart: what is hashed as a record can never stand for a block or a node of the tree.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What is hashed: the context string of BLAKE3's key derivation mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Record,
    Header,
    Block,
    /// What a seal's signature is over.
    Seal,
    /// A seal with its signature, as the next segment names it.
    SealId,
    /// What the signature of the head is over.
    Head,
    /// What an old key signs of a new one.
    Endorsement,
    /// What the signature of a tombstone is over.
    Tombstone,
    MerkleLeaf,
    MerkleNode,
}

impl Kind {
    fn context(self) -> &'static str {
        match self {
            Kind::Record => "sluice record v1 record",
            Kind::Header => "sluice record v1 segment header",
            Kind::Block => "sluice record v1 block",
            Kind::Seal => "sluice record v1 seal",
            Kind::SealId => "sluice record v1 seal id",
            Kind::Head => "sluice record v1 head",
            Kind::Endorsement => "sluice record v1 key endorsement",
            Kind::Tombstone => "sluice record v1 tombstone",
            Kind::MerkleLeaf => "sluice record v1 merkle leaf",
            Kind::MerkleNode => "sluice record v1 merkle node",
        }
    }
}

/// 32 bytes of BLAKE3; lower-case hex where it is shown.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hash(pub(crate) [u8; 32]);

impl Hash {
    /// What stands where there is nothing before.
    pub const ZERO: Hash = Hash([0; 32]);

    /// Over these parts, one after the other.
    pub(crate) fn of(kind: Kind, parts: &[&[u8]]) -> Hash {
        let mut hasher = blake3::Hasher::new_derive_key(kind.context());
        for part in parts {
            hasher.update(part);
        }
        Hash(*hasher.finalize().as_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A text that is no hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashError(());

impl fmt::Display for HashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hash is 64 of `0`-`9`, `a`-`f`")
    }
}

impl std::error::Error for HashError {}

impl FromStr for Hash {
    type Err = HashError;

    fn from_str(text: &str) -> Result<Hash, HashError> {
        from_hex(text).map(Hash).ok_or(HashError(()))
    }
}

/// Bytes of lower-case hex of just this length.
pub(crate) fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let mut bytes = [0; N];
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

/// Lower-case hex.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Serialize for Hash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Hash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Hash, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The tree of RFC 6962 (section 2.1) over hashes, in the memory of its height: complete subtrees, the largest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Merkle {
    leaves: u64,
    subtrees: Vec<Hash>,
}

impl Merkle {
    pub(crate) fn push(&mut self, leaf: &Hash) {
        let mut node = Hash::of(Kind::MerkleLeaf, &[&leaf.0]);
        let mut leaves = self.leaves;
        while leaves & 1 == 1 {
            if let Some(left) = self.subtrees.pop() {
                node = join(&left, &node);
            }
            leaves >>= 1;
        }
        self.subtrees.push(node);
        self.leaves += 1;
    }

    /// The root; of no leaves: [`Hash::ZERO`].
    pub(crate) fn root(&self) -> Hash {
        let from_the_right = self.subtrees.iter().rev().copied();
        from_the_right.reduce(|right, left| join(&left, &right)).unwrap_or(Hash::ZERO)
    }
}

fn join(left: &Hash, right: &Hash) -> Hash {
    Hash::of(Kind::MerkleNode, &[&left.0, &right.0])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As RFC 6962 defines it.
    fn defined(leaves: &[Hash]) -> Hash {
        match leaves {
            [] => Hash::ZERO,
            [leaf] => Hash::of(Kind::MerkleLeaf, &[&leaf.0]),
            _ => {
                let half = leaves.len().next_power_of_two() / 2;
                join(&defined(&leaves[..half]), &defined(&leaves[half..]))
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_definition() {
        let leaves: Vec<Hash> = (0..70u8).map(|n| Hash([n; 32])).collect();
        let mut tree = Merkle::default();
        for n in 0..=leaves.len() {
            assert_eq!(tree.root(), defined(&leaves[..n]), "{n}");
            leaves.get(n).iter().for_each(|leaf| tree.push(leaf));
        }
    }

    #[test]
    fn hex_is_read_strictly() {
        let hash = Hash([0xa5; 32]);
        assert_eq!(hash.to_string().parse(), Ok(hash));
        for text in ["", "a5", &"A5".repeat(32), &"a5".repeat(33), &"zz".repeat(32)] {
            assert!(text.parse::<Hash>().is_err(), "{text}");
        }
    }
}
