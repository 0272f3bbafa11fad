//! The id of an exchange, as in `sluice-request-id`, in errors and, later, in the record.

use std::fmt;

/// 128 bits: 48 of milliseconds since 1970, 16 of the source (a shard), 64 that are never the same twice in a
/// source. Ids of one gateway sort by time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u128);

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
}
