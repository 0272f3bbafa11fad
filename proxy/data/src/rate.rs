//! How many requests come in a time: the generic cell rate algorithm (GCRA, ITU-T I.371), without locks.
//!
//! One number is kept for those that are counted together: the time at which their next request would be due if they
//! came evenly. A request may come before its time by what a burst allows; each moves the time on by one interval.
//! That is a token bucket without a thread that fills it, and the number is one atomic that all shards share.
//!
//! **Exact.** Times are in units of a part of a millisecond, chosen so that an interval is a whole number of them: three
//! requests a second are three in every second, forever. Only where more than [`UNITS_MAX`] parts were needed is the
//! interval rounded up, by less than a nanosecond.
//!
//! **Bounded.** Subjects share a table of [`CELLS`] by a keyed hash. Two that meet in one cell are counted together: a
//! collision only ever limits more, and who does not know the key, made new for each limiter, can't seek one. A map
//! of subjects was rejected: it grows with what clients send, and is emptied by who sends most.

use std::fmt;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::config::{RateBy, RateLimit};

/// Cells for subjects, 8 bytes each.
const CELLS: usize = 64 * 1024;

/// Parts of a millisecond, at most.
const UNITS_MAX: u64 = 1 << 20;

/// The greatest time, interval or allowance, in units: the sum of all three still fits. With the smallest unit it is
/// 139 years.
const TIME_MAX: u64 = u64::MAX / 4;

/// A time further ahead than the limit can have set it is that of a clock that has gone back. By less than this it
/// is the clock of another shard.
const BACK_MS_MAX: u64 = 60_000;

/// Who sent a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject<'a> {
    /// An identity that was proved.
    Proved {
        /// Who vouches for it.
        issuer: &'a str,
        /// Its id there.
        id: &'a str,
    },
    /// An address. Of one of IPv6 the first 64 bits count: the rest is the client's to choose (RFC 4291, section
    /// 2.5.4).
    At(IpAddr),
}

impl Hash for Subject<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        match self {
            Subject::Proved { issuer, id } => (0u8, issuer, id).hash(state),
            Subject::At(address) => match address.to_canonical() {
                IpAddr::V4(v4) => (1u8, v4).hash(state),
                IpAddr::V6(v6) => (2u8, Ipv6Addr::to_bits(v6) >> 64).hash(state),
            },
        }
    }
}

/// A request over the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Milliseconds after which the next one is allowed, if no other comes first. At least 1.
    pub(crate) retry_after_ms: u64,
}

impl fmt::Display for Limited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "over the rate limit for {} ms", self.retry_after_ms)
    }
}

impl std::error::Error for Limited {}

/// A rate limit in force, shared by all shards.
pub(crate) struct RateLimiter {
    limit: RateLimit,
    /// Units in a millisecond.
    units: u64,
    /// Units between two requests that come evenly.
    interval: u64,
    /// Units that a request may come before its time.
    allowance: u64,
    /// When the next request is due, in units.
    due: Box<[AtomicU64]>,
    key: RandomState,
}

impl RateLimiter {
    /// Nobody has sent anything yet. Allocates one cell, or 512 KiB of them for subjects.
    pub(crate) fn new(limit: &RateLimit) -> RateLimiter {
        let (requests, window) = (u64::from(limit.requests).max(1), limit.window_ms);
        let units = (requests / common_divisor(requests, window)).min(UNITS_MAX);
        let interval = (u128::from(window) * u128::from(units)).div_ceil(u128::from(requests));
        let allowance = interval.saturating_mul(u128::from(limit.burst.max(1) - 1));
        let fit = |time: u128| u64::try_from(time).unwrap_or(TIME_MAX).min(TIME_MAX);
        let cells = match limit.by {
            RateBy::Route => 1,
            RateBy::Subject => CELLS,
        };
        RateLimiter {
            limit: *limit,
            units,
            interval: fit(interval),
            allowance: fit(allowance),
            due: (0..cells).map(|_| AtomicU64::new(0)).collect(),
            key: RandomState::new(),
        }
    }

    /// What it was made of.
    pub(crate) fn limit(&self) -> &RateLimit {
        &self.limit
    }

    /// Counts a request, if it is allowed; one that is not costs nothing. `now_ms` are milliseconds of any clock that
    /// all callers share; where it goes back, requests are allowed that much later, and after a minute it starts over.
    ///
    /// # Errors
    /// It is over the limit.
    pub(crate) fn take(&self, subject: Subject<'_>, now_ms: u64) -> Result<(), Limited> {
        if self.limit.requests == 0 {
            return Err(Limited { retry_after_ms: self.limit.window_ms.max(1) });
        }
        let cell = match self.limit.by {
            RateBy::Route => 0,
            RateBy::Subject => (self.key.hash_one(subject) % CELLS as u64) as usize,
        };
        // There is no other.
        let Some(due) = self.due.get(cell) else { return Err(Limited { retry_after_ms: 1 }) };
        let now = now_ms.saturating_mul(self.units).min(TIME_MAX);
        let latest = now + self.allowance;
        let set_latest = latest + self.interval;
        let unbelievable = set_latest.saturating_add(BACK_MS_MAX * self.units);
        // Relaxed: the number guards nothing but itself.
        let taken = due.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |due| {
            if due > unbelievable {
                return Some(now + self.interval);
            }
            (due <= latest).then_some(due.max(now) + self.interval)
        });
        taken.map(|_| ()).map_err(|due| Limited { retry_after_ms: (due - latest).div_ceil(self.units) })
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("limit", &self.limit).finish_non_exhaustive()
    }
}

/// The greatest number that divides both; `a` where `b` is 0.
fn common_divisor(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Arc;
    use std::thread;

    use proptest::prelude::*;

    use super::*;

    const ANYONE: Subject<'static> = Subject::Proved { issuer: "i", id: "anyone" };

    fn limiter(requests: u32, window_ms: u64, burst: u32, by: RateBy) -> RateLimiter {
        RateLimiter::new(&RateLimit { requests, window_ms, burst, by })
    }

    #[test]
    fn at_the_limit_and_one_past_it() {
        for (requests, window_ms, burst, wait) in [
            (1, 1_000, 1, 1_000),
            (3, 1_000, 3, 334),
            (3, 1_000, 1, 334),
            (10, 1_000, 5, 100),
            (1_000, 1_000, 1_000, 1),
            (7, 60_000, 2, 8_572),
            (u32::MAX, 1_000, 1, 1),
            (1, u64::MAX, 1, TIME_MAX),
        ] {
            let limiter = limiter(requests, window_ms, burst, RateBy::Route);
            for now in [0, 5] {
                // A day between the two, so that the whole burst is there again.
                let now = now * 86_400_000;
                if now > 0 && window_ms > 1_000_000 {
                    continue;
                }
                for n in 0..burst {
                    assert_eq!(limiter.take(ANYONE, now), Ok(()), "{requests}/{window_ms}: {n} of {burst}");
                }
                let over = limiter.take(ANYONE, now).unwrap_err();
                assert_eq!(over.retry_after_ms, wait, "{requests}/{window_ms}");
                assert_eq!(limiter.take(ANYONE, now), Err(over), "what is refused costs nothing");
                if let Some(before) = (now + wait).checked_sub(1).filter(|before| *before > now) {
                    assert!(limiter.take(ANYONE, before).is_err(), "{requests}/{window_ms}: 1 ms early");
                }
                assert_eq!(limiter.take(ANYONE, now + wait), Ok(()), "{requests}/{window_ms}: on time");
            }
        }
    }

    #[test]
    fn three_a_second_are_three_in_every_second() {
        for (requests, window_ms) in [(3, 1_000), (7, 1_000), (7, 60_000), (999, 1_000), (1_001, 1_000)] {
            let limiter = limiter(requests, window_ms, requests, RateBy::Route);
            for window in [0, 1, 2, 3, 1_000, 1_001, 1_000_000, 1_000_001] {
                for n in 0..requests {
                    let taken = limiter.take(ANYONE, window * window_ms);
                    assert_eq!(taken, Ok(()), "{requests}/{window_ms}: window {window}, request {n}");
                }
                assert!(
                    limiter.take(ANYONE, window * window_ms).is_err(),
                    "{requests}/{window_ms}: {window}"
                );
            }
        }
    }

    #[test]
    fn no_configuration_overflows() {
        let extremes = [0, 1, 2, 1_000, u32::MAX - 1, u32::MAX];
        for requests in extremes {
            for burst in extremes {
                for window_ms in [0, 1, 999, 1_000, 1 << 32, u64::MAX - 1, u64::MAX] {
                    let limiter = limiter(requests, window_ms, burst, RateBy::Route);
                    for now in [0, 1, 1_000, 1 << 41, u64::MAX / 2, u64::MAX, 0] {
                        let taken = limiter.take(ANYONE, now);
                        let after = taken.map_or_else(|over| over.retry_after_ms, |()| 1);
                        assert!(after >= 1, "{requests} {burst} {window_ms} {now}");
                        assert!(requests > 0 || taken.is_err());
                    }
                }
            }
        }
        let unlimited = limiter(1, 0, 1, RateBy::Route);
        assert!((0..1_000).all(|_| unlimited.take(ANYONE, 7).is_ok()), "no time, no limit");
    }

    #[test]
    fn subjects_are_counted_apart_and_collisions_only_limit_more() {
        let limiter = limiter(1, 1_000_000, 2, RateBy::Subject);
        let names: Vec<String> = (0..2_000).map(|n| format!("subject {n}")).collect();
        let mut refused = 0;
        for name in &names {
            let all = [(); 3].map(|()| limiter.take(Subject::Proved { issuer: "i", id: name }, 1).is_ok());
            assert!(!all[2], "{name}: one past its burst");
            refused += usize::from(all != [true, true, false]);
        }
        // About 2000² / 2 / 65536 = 31 meet another.
        assert!(refused < 100, "{refused} of {} met another", names.len());
        let by_route = self::limiter(1, 1_000_000, 2, RateBy::Route);
        assert!(
            by_route.take(Subject::Proved { issuer: "i", id: "a" }, 1).is_ok()
                && by_route.take(Subject::Proved { issuer: "i", id: "b" }, 1).is_ok()
        );
        assert!(
            by_route.take(Subject::Proved { issuer: "i", id: "c" }, 1).is_err(),
            "one count for all of the route"
        );
    }

    #[test]
    fn which_addresses_are_one_client() {
        let key = RandomState::new();
        let hash = |text: &str| key.hash_one(Subject::At(text.parse().unwrap()));
        for (a, b, is_one) in [
            ("192.0.2.1", "192.0.2.1", true),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            assert_eq!(hash(a) == hash(b), is_one, "{a} {b}");
        }
        let named = key.hash_one(Subject::Proved { issuer: "i", id: "192.0.2.1" });
        assert_ne!(named, hash("192.0.2.1"), "a name is no address");
    }

    #[test]
    fn a_clock_that_goes_back_is_harmless() {
        let limiter = limiter(10, 1_000, 2, RateBy::Route);
        let late = 1 << 40;
        assert!(limiter.take(ANYONE, late).is_ok() && limiter.take(ANYONE, late).is_ok());
        let over = limiter.take(ANYONE, late - 50).unwrap_err();
        assert_eq!(over.retry_after_ms, 150, "later by as much as it went back");
        assert!(limiter.take(ANYONE, late - 30_000).is_err());
        // By days: it starts over, and limits as ever.
        assert_eq!(limiter.take(ANYONE, 1_000), Ok(()));
        assert_eq!(limiter.take(ANYONE, 1_000), Ok(()));
        assert!(limiter.take(ANYONE, 1_000).is_err());
    }

    #[test]
    fn shards_share_one_limit() {
        let limiter = Arc::new(limiter(1, 1_000_000, 1_000, RateBy::Route));
        let shards: Vec<_> = (0..4)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                thread::spawn(move || (0..1_000).filter(|_| limiter.take(ANYONE, 9).is_ok()).count())
            })
            .collect();
        let taken: usize = shards.into_iter().map(|shard| shard.join().unwrap()).sum();
        assert_eq!(taken, 1_000);
    }

    proptest! {
        /// However requests come: in no stretch of time more than the burst and what the rate gives in it, and nobody
        /// is refused who would have fitted.
        #[test]
        fn never_more_and_never_less(
            requests in 1..50u32,
            window_ms in 1..5_000u64,
            burst in 1..20u32,
            steps in prop::collection::vec(0..300u64, 1..300),
        ) {
            let limiter = limiter(requests, window_ms, burst, RateBy::Route);
            let (requests, burst) = (u128::from(requests), u128::from(burst));
            let mut now = 0;
            // A bucket of `burst` requests, in parts of 1 / window_ms of a request.
            let full = burst * u128::from(window_ms);
            let (mut level, mut last) = (full, 0);
            let mut taken: VecDeque<u64> = VecDeque::new();
            for step in steps {
                now += step;
                level = (level + u128::from(now - last) * requests).min(full);
                last = now;
                let fits = level >= u128::from(window_ms);
                prop_assert_eq!(limiter.take(ANYONE, now).is_ok(), fits);
                if fits {
                    level -= u128::from(window_ms);
                    taken.push_back(now);
                }
            }
            while let Some(first) = taken.front().copied() {
                for (count, at) in taken.iter().enumerate() {
                    let most = full + u128::from(at - first) * requests;
                    prop_assert!((count as u128 + 1) * u128::from(window_ms) <= most);
                }
                taken.pop_front();
            }
        }
    }
}
