//! What went before: chains, quotas and first uses, in tables of bounded size.
//!
//! No clock is read: every call is given the milliseconds of a clock that never goes back (one that does counts as
//! standing still). A table that is full forgets what is too old to count and nothing else: who could push others out
//! could push out what holds him. So a new chain or quota that finds no room is refused, and a first use that can't be
//! noted stays a first use.

pub(crate) mod chain;
pub(crate) mod quota;
mod seen;
mod table;

use chain::Chains;
use quota::Quotas;
pub use quota::Usage;
pub(crate) use seen::{Firsts, Seen};

/// How much is remembered.
#[derive(Clone, Copy, Debug)]
pub struct MemoryLimits {
    /// Chains at once; about 200 bytes each.
    pub chains_max: usize,
    /// Counters of quotas at once; about 150 bytes each.
    pub counters_max: usize,
    /// Subjects whose first uses are known; about 200 bytes each, and 8 for each upstream and tool.
    pub subjects_max: usize,
    /// Upstreams and tools that are known of a subject.
    pub uses_max: usize,
}

impl Default for MemoryLimits {
    fn default() -> MemoryLimits {
        MemoryLimits { chains_max: 100_000, counters_max: 200_000, subjects_max: 100_000, uses_max: 256 }
    }
}

/// What went before.
#[derive(Debug)]
pub struct Memory {
    pub(crate) chains: Chains,
    pub(crate) quotas: Quotas,
    pub(crate) seen: Seen,
    now_ms: u64,
}

impl Memory {
    /// Nothing yet.
    #[must_use]
    pub fn new(limits: MemoryLimits) -> Memory {
        Memory {
            chains: Chains::new(limits.chains_max),
            quotas: Quotas::new(limits.counters_max),
            seen: Seen::new(limits.subjects_max, limits.uses_max),
            now_ms: 0,
        }
    }

    /// The time, which never goes back.
    pub(crate) fn at(&mut self, now_ms: u64) -> u64 {
        self.now_ms = self.now_ms.max(now_ms);
        self.now_ms
    }
}

#[cfg(test)]
mod tests;
