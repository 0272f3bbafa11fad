//! How many requests may be sent again: a part of all, so that retries can't bring down what is slow.

use std::time::Instant;

/// Seconds over which requests and retries are counted.
pub(crate) const WINDOW_SECONDS: usize = 10;

/// Retries in a window that cost nothing, so that an upstream with few requests has retries too.
pub(crate) const FREE: u64 = 10;

/// What was counted in one second.
#[derive(Clone, Copy, Debug, Default)]
struct Second {
    requests: u64,
    retries: u64,
}

/// The retries of one upstream on one shard. The window slides by whole seconds.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    percent: u32,
    start: Instant,
    /// The second that is counted now, since `start`.
    second: u64,
    seconds: [Second; WINDOW_SECONDS],
}

impl RetryBudget {
    /// Retries may be `percent` of the requests, and [`FREE`].
    pub(crate) fn new(percent: u32, now: Instant) -> RetryBudget {
        RetryBudget { percent, start: now, second: 0, seconds: [Second::default(); WINDOW_SECONDS] }
    }

    /// Goes on with another percentage.
    pub(crate) fn set_percent(&mut self, percent: u32) {
        self.percent = percent;
    }

    /// Counts a request; not its retries.
    pub(crate) fn count_request(&mut self, now: Instant) {
        let second = self.at(now);
        second.requests = second.requests.saturating_add(1);
    }

    /// Takes a retry out of the budget; false: there is none left.
    #[must_use]
    pub(crate) fn take(&mut self, now: Instant) -> bool {
        self.at(now);
        let sum = |count: fn(&Second) -> u64| self.seconds.iter().map(count).fold(0, u64::saturating_add);
        let earned = u128::from(sum(|s| s.requests)) * u128::from(self.percent) / 100;
        let is_left = u128::from(sum(|s| s.retries)) < u128::from(FREE) + earned;
        self.at(now).retries += u64::from(is_left);
        is_left
    }

    /// The second of `now`, and forgets those that have left the window. A clock that goes back stands still.
    fn at(&mut self, now: Instant) -> &mut Second {
        let second = now.saturating_duration_since(self.start).as_secs().max(self.second);
        for passed in 1..=(second - self.second).min(WINDOW_SECONDS as u64) {
            self.seconds[(self.second + passed) as usize % WINDOW_SECONDS] = Second::default();
        }
        self.second = second;
        &mut self.seconds[second as usize % WINDOW_SECONDS]
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ten_are_free_and_the_rest_is_earned() {
        for (percent, requests, wanted) in [
            (0, 0, 10),
            (0, 1_000, 10),
            (20, 0, 10),
            (20, 4, 10),
            (20, 5, 11),
            (20, 99, 29),
            (20, 100, 30),
            (100, 7, 17),
            (250, 4, 20),
            (u32::MAX, 1, 10 + u64::from(u32::MAX) / 100),
        ] {
            let now = Instant::now();
            let mut budget = RetryBudget::new(percent, now);
            (0..requests).for_each(|_| budget.count_request(now));
            let most = wanted.min(2_000);
            for n in 0..most {
                assert!(budget.take(now), "{percent} % of {requests}: retry {n}");
            }
            assert_eq!(budget.take(now), most < wanted, "{percent} % of {requests}: one past {wanted}");
        }
    }

    #[test]
    fn what_leaves_the_window_counts_no_more() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut budget = RetryBudget::new(50, start);
        (0..20).for_each(|_| budget.count_request(start));
        (0..20).for_each(|_| assert!(budget.take(at(9_999))));
        assert!(!budget.take(at(9_999)), "ten free and ten earned are gone");
        // The requests are gone, the retries not yet.
        assert!(!budget.take(at(10_000)));
        assert!(!budget.take(at(18_999)));
        for _ in 0..10 {
            assert!(budget.take(at(19_000)));
        }
        assert!(!budget.take(at(19_000)));
        assert!(budget.take(at(3_600_000)), "a window without anything");
    }

    #[test]
    fn a_clock_that_goes_back_gives_nothing_away() {
        let start = Instant::now() + Duration::from_secs(100);
        let mut budget = RetryBudget::new(0, start);
        let late = start + Duration::from_secs(5);
        (0..10).for_each(|_| assert!(budget.take(late)));
        for back in [0, 1, 5, 50] {
            assert!(!budget.take(late - Duration::from_secs(back)), "{back} s back");
        }
    }

    proptest! {
        /// However requests and retries come: in no ten seconds more retries than are free and earned in the window
        /// that reaches back from the last.
        #[test]
        fn retries_are_never_more_than_the_budget(
            percent in 0..150u32,
            steps in prop::collection::vec((0..1_500u64, any::<bool>()), 1..400),
        ) {
            let start = Instant::now();
            let mut budget = RetryBudget::new(percent, start);
            let (mut ms, mut requests, mut retries) = (0, Vec::new(), Vec::new());
            for (step, is_retry) in steps {
                ms += step;
                let now = start + Duration::from_millis(ms);
                if !is_retry {
                    budget.count_request(now);
                    requests.push(ms);
                    continue;
                }
                let since = (ms / 1_000).saturating_sub(WINDOW_SECONDS as u64 - 1) * 1_000;
                let count = |all: &[u64]| all.iter().filter(|at| **at >= since).count() as u64;
                let wanted = count(&retries) < FREE + count(&requests) * u64::from(percent) / 100;
                prop_assert_eq!(budget.take(now), wanted);
                if wanted {
                    retries.push(ms);
                }
            }
        }
    }
}
