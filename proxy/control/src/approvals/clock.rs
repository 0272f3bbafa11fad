//! A time that never goes back, over steps of the clock and restarts.
//!
//! It is the farthest that any witness says: the clock of the wall, the time that has passed since the machine was booted
//! (suspended or not), and the farthest time that was seen before, which is stored. So a clock that is set back gives no
//! grant more time and brings none back; one that is set forward ends grants early. In doubt a grant is over.

use std::fmt;
use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where time comes from.
pub trait TimeSource: Send + Sync {
    /// Milliseconds since 1970, as the machine has it now; it may step.
    fn wall_ms(&self) -> i64;
    /// Milliseconds since some moment of this boot; it never goes back and runs on while the machine sleeps.
    fn steady_ms(&self) -> i64;
    /// The boot that [`TimeSource::steady_ms`] counts from.
    fn boot(&self) -> String;
}

/// The time of this machine.
#[derive(Debug)]
pub struct SystemTimeSource {
    started: Instant,
    /// Names the boot where Linux does not: no other process counts from this start.
    fallback: String,
}

impl SystemTimeSource {
    /// From now on.
    #[must_use]
    pub fn new() -> SystemTimeSource {
        let wall_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let fallback = format!("process-{}-{wall_ns}", std::process::id());
        SystemTimeSource { started: Instant::now(), fallback }
    }
}

impl Default for SystemTimeSource {
    fn default() -> SystemTimeSource {
        SystemTimeSource::new()
    }
}

impl TimeSource for SystemTimeSource {
    fn wall_ms(&self) -> i64 {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
    }

    fn steady_ms(&self) -> i64 {
        let since_start = || i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        uptime_ms().unwrap_or_else(since_start)
    }

    fn boot(&self) -> String {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok();
        let boot = boot.filter(|_| uptime_ms().is_some()).map(|boot| boot.trim().to_owned());
        boot.unwrap_or_else(|| self.fallback.clone())
    }
}

/// proc(5): seconds since the boot, with those asleep, to a hundredth.
fn uptime_ms() -> Option<i64> {
    let text = fs::read_to_string("/proc/uptime").ok()?;
    let (seconds, hundredths) = text.split_whitespace().next()?.split_once('.')?;
    Some(seconds.parse::<i64>().ok()? * 1_000 + hundredths.get(..2)?.parse::<i64>().ok()? * 10)
}

/// The time of approvals.
pub(crate) struct Clock {
    source: Box<dyn TimeSource>,
    /// A time, and what the steady source said then.
    base: Mutex<(i64, i64)>,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock").field("base", &self.base).finish_non_exhaustive()
    }
}

/// What is stored of the time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) boot: String,
    pub(crate) steady_ms: i64,
    pub(crate) now_ms: i64,
}

impl Clock {
    pub(crate) fn new(source: Box<dyn TimeSource>) -> Clock {
        let base = Mutex::new((source.wall_ms(), source.steady_ms()));
        Clock { source, base }
    }

    /// Goes on from what was stored: never before it, and by the time that has passed since where the boot is the same.
    pub(crate) fn resume(&self, stored: &[Seen]) {
        let (boot, steady) = (self.source.boot(), self.source.steady_ms());
        let farthest = stored.iter().map(|seen| {
            let passed = if seen.boot == boot { (steady - seen.steady_ms).max(0) } else { 0 };
            seen.now_ms.saturating_add(passed)
        });
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let now = farthest.max().unwrap_or(i64::MIN).max(base.0);
        *base = (now, steady);
    }

    /// Milliseconds since 1970.
    pub(crate) fn now_ms(&self) -> i64 {
        let (wall, steady) = (self.source.wall_ms(), self.source.steady_ms());
        let mut base = self.base.lock().unwrap_or_else(PoisonError::into_inner);
        let now = base.0.saturating_add((steady - base.1).max(0)).max(wall);
        *base = (now, steady.max(base.1));
        now
    }

    /// What is to be stored.
    pub(crate) fn seen(&self) -> Seen {
        let now_ms = self.now_ms();
        Seen { boot: self.source.boot(), steady_ms: self.source.steady_ms(), now_ms }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    use super::*;

    /// A clock that a test sets.
    #[derive(Debug, Default)]
    pub(crate) struct Hands {
        pub(crate) wall: AtomicI64,
        pub(crate) steady: AtomicI64,
    }

    impl Hands {
        pub(crate) fn at(wall: i64) -> Arc<Hands> {
            Arc::new(Hands { wall: AtomicI64::new(wall), steady: AtomicI64::new(1_000) })
        }

        /// Time passes.
        pub(crate) fn pass(&self, ms: i64) {
            self.wall.fetch_add(ms, Ordering::SeqCst);
            self.steady.fetch_add(ms, Ordering::SeqCst);
        }

        /// Someone sets the clock.
        pub(crate) fn step(&self, ms: i64) {
            self.wall.fetch_add(ms, Ordering::SeqCst);
        }
    }

    impl TimeSource for Arc<Hands> {
        fn wall_ms(&self) -> i64 {
            self.wall.load(Ordering::SeqCst)
        }
        fn steady_ms(&self) -> i64 {
            self.steady.load(Ordering::SeqCst)
        }
        fn boot(&self) -> String {
            "boot".to_owned()
        }
    }

    #[test]
    fn time_passes_as_the_steady_source_says_and_never_goes_back() {
        let hands = Hands::at(1_000_000);
        let clock = Clock::new(Box::new(Arc::clone(&hands)));
        assert_eq!(clock.now_ms(), 1_000_000);
        hands.pass(500);
        assert_eq!(clock.now_ms(), 1_000_500);
        hands.step(-900_000);
        assert_eq!(clock.now_ms(), 1_000_500);
        hands.pass(250);
        assert_eq!(clock.now_ms(), 1_000_750);
        hands.step(910_000);
        assert_eq!(clock.now_ms(), 1_010_750, "a step forward counts");
    }

    #[test]
    fn a_restart_goes_on_from_what_was_stored() {
        let hands = Hands::at(1_000_000);
        let seen = Clock::new(Box::new(Arc::clone(&hands))).seen();
        hands.pass(60_000);
        hands.step(-3_600_000);
        let clock = Clock::new(Box::new(Arc::clone(&hands)));
        clock.resume(std::slice::from_ref(&seen));
        assert_eq!(clock.now_ms(), 1_060_000, "by the time since the same boot");
        let other = Seen { boot: "another".to_owned(), ..seen };
        let clock = Clock::new(Box::new(Arc::clone(&hands)));
        clock.resume(&[other]);
        assert_eq!(clock.now_ms(), 1_000_000, "never before what was seen");
    }

    #[test]
    fn this_machine_has_a_time() {
        let source = SystemTimeSource::new();
        assert!(source.wall_ms() > 1_700_000_000_000);
        assert!(source.steady_ms() >= 0 && !source.boot().is_empty());
    }
}
