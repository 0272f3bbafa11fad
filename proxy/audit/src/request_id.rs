//! The id of an exchange, as in `sluice-request-id`, in errors and, later, in the record.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// 128 bits: 48 of milliseconds since 1970, 16 of the source (a shard), 64 that are never the same twice in a
/// source. Ids of one gateway sort by time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

/// A text that is no [`RequestId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestIdError(());

impl fmt::Display for RequestIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an id is 32 of `0`-`9`, `a`-`f`")
    }
}

impl std::error::Error for RequestIdError {}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<RequestId, RequestIdError> {
        let is_of_id = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(is_of_id) {
            return Err(RequestIdError(()));
        }
        u128::from_str_radix(text, 16).map(RequestId).map_err(|_| RequestIdError(()))
    }
}

impl Serialize for RequestId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for RequestId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<RequestId, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A source of ids, one a shard: no lock, no system call.
#[derive(Debug)]
pub struct RequestIds {
    source: u16,
    next: u64,
    step: u64,
}

impl RequestIds {
    /// `seed` sets ids of two runs apart; it need not be secret.
    #[must_use]
    pub fn new(source: u16, seed: u64) -> RequestIds {
        // An odd step visits all 2^64 numbers before it repeats one.
        RequestIds { source, next: seed, step: 0x9E37_79B9_7F4A_7C15 }
    }

    /// The next id. `now_ms`: milliseconds since 1970.
    pub fn next(&mut self, now_ms: u64) -> RequestId {
        self.next = self.next.wrapping_add(self.step);
        let time = u128::from(now_ms & 0xFFFF_FFFF_FFFF);
        RequestId(time << 80 | u128::from(self.source) << 64 | u128::from(self.next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn ids_differ_and_sort_by_time() {
        let (mut a, mut b) = (RequestIds::new(0, 7), RequestIds::new(1, 7));
        let ids: HashSet<RequestId> = (0..1000).flat_map(|_| [a.next(5), b.next(5)]).collect();
        assert_eq!(ids.len(), 2000);
        assert!(a.next(6) > *ids.iter().max().unwrap());
        assert_eq!(a.next(1).to_string().len(), 32);
    }

    #[test]
    fn an_id_is_read_as_it_is_shown() {
        let id = RequestIds::new(3, 9).next(77);
        assert_eq!(id.to_string().parse(), Ok(id));
        for text in
            ["", "0", &"g".repeat(32), &"A".repeat(32), &"0".repeat(33), &format!("+{}", "0".repeat(31))]
        {
            assert!(text.parse::<RequestId>().is_err(), "{text}");
        }
    }
}
