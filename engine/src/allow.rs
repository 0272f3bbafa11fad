//! Values that are let pass, known by their hashes alone.

use std::fmt;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// Salted SHA-256 digests of values that do not matter: a known test key, a public address. The values themselves are
/// nowhere. A salt keeps digests of one list from being looked up in tables of common values; whoever has the list can still
/// try values one by one, so it is no place for a short secret that is in use.
#[derive(Clone, PartialEq, Eq)]
pub struct AllowList {
    salt: Arc<[u8]>,
    /// In order.
    digests: Arc<[[u8; 32]]>,
}

impl AllowList {
    /// The fewest bytes of a salt.
    pub const SALT_BYTES_MIN: usize = 8;

    /// Of these digests, each of the salt and a value behind it; `None` when the salt is too short.
    #[must_use]
    pub fn new(salt: &[u8], mut digests: Vec<[u8; 32]>) -> Option<AllowList> {
        digests.sort_unstable();
        digests.dedup();
        (salt.len() >= Self::SALT_BYTES_MIN).then(|| AllowList { salt: salt.into(), digests: digests.into() })
    }

    /// What the list keeps of a value.
    #[must_use]
    pub fn digest(salt: &[u8], value: &[u8]) -> [u8; 32] {
        Sha256::new().chain_update(salt).chain_update(value).finalize().into()
    }

    /// Whether `value` is on it.
    #[must_use]
    pub fn has(&self, value: &[u8]) -> bool {
        self.digests.binary_search(&Self::digest(&self.salt, value)).is_ok()
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The digests, in order.
    #[must_use]
    pub fn digests(&self) -> &[[u8; 32]] {
        &self.digests
    }
}

impl fmt::Debug for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AllowList({} values)", self.digests.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listed_values_are_on_it() {
        let salt = b"12345678";
        let list = AllowList::new(salt, vec![AllowList::digest(salt, b"known")]).unwrap();
        assert!(list.has(b"known") && !list.has(b"know") && !list.has(b"known "));
        assert!(AllowList::new(b"1234567", Vec::new()).is_none());
        assert_eq!(format!("{list:?}"), "AllowList(1 values)");
    }
}
