//! Numbers among the settings: read, bounded and shown by one table each.

use std::fmt::Write;

use sluice_data::desk::DeskConfig;
use sluice_data::{HealthCheck, HealthConfig, Limits, PoolLimits, RetryConfig, RouteLimits};
use toml::de::DeTable;

use super::record::RecordLimits;
use super::source::Source;
use crate::approvals;

/// A number among settings `T`.
pub(super) struct Number<T> {
    /// Its key; units stand last.
    pub(super) key: &'static str,
    least: u64,
    most: u64,
    of: fn(&T) -> u64,
    set: fn(&mut T, u64),
}

macro_rules! numbers {
    ($(#[$doc:meta])* $name:ident: $type:ty { $($field:ident: $least:literal to $most:expr),+ $(,)? }) => {
        $(#[$doc])*
        pub(super) const $name: &[Number<$type>] = &[$(Number {
            key: stringify!($field),
            least: $least,
            most: $most,
            of: |settings| settings.$field as u64,
            set: |settings, number| settings.$field = number as _,
        }),+];
    };
}

/// The longest time that makes sense here: a day. Longer ones are mostly a unit mistaken.
const DAY_MS: u64 = 86_400_000;
/// The longest time that anything waits in the middle of an exchange.
const HOUR_MS: u64 = 3_600_000;
/// More connections, bodies or exchanges than this have no file descriptors.
const COUNT_MAX: u64 = 1 << 20;

numbers! {
    /// `[gateway.limits]`.
    LIMITS: Limits {
        head_bytes_max: 1_024 to 1 << 20,
        fields_max: 8 to 4_096,
        target_bytes_max: 256 to 1 << 20,
        coded_bodies_max: 1 to COUNT_MAX,
        connections_max: 1 to COUNT_MAX,
        idle_ms_max: 1 to DAY_MS,
        head_ms_max: 1 to HOUR_MS,
        write_ms_max: 1 to HOUR_MS,
        interim_max: 0 to 1_000,
        h2_streams_max: 1 to 10_000,
    }
}

numbers! {
    /// `[decide]`.
    DECIDE: DeskConfig {
        questions_max: 1 to COUNT_MAX,
        answer_ms_max: 1 to HOUR_MS,
        facts_bytes_max: 1_024 to 1 << 20,
        body_bytes_max: 1 to 1 << 30,
        held_bytes_max: 1 to 1 << 40,
        cached_max: 0 to COUNT_MAX,
    }
}

numbers! {
    /// `[record]`.
    RECORD: RecordLimits {
        segment_bytes_max: 65_536 to 1 << 40,
        segment_seconds_max: 1 to 31_536_000,
        queue_records_max: 1 to COUNT_MAX,
        queue_bytes_max: 1_048_576 to 1 << 40,
        sync_ms: 1 to HOUR_MS,
    }
}

numbers! {
    /// `pool` of an upstream.
    POOL: PoolLimits {
        connections_max: 1 to COUNT_MAX,
        idle_max: 0 to COUNT_MAX,
        idle_ms_max: 1 to DAY_MS,
        connect_ms_max: 1 to HOUR_MS,
    }
}

numbers! {
    /// `health` of an upstream.
    HEALTH: HealthConfig {
        faults_max: 0 to 1_000,
        out_ms: 1 to DAY_MS,
        out_ms_max: 1 to DAY_MS,
    }
}

numbers! {
    /// `health.check` of an upstream.
    CHECK: HealthCheck {
        every_ms: 100 to DAY_MS,
        ms_max: 1 to HOUR_MS,
        rises: 1 to 100,
        falls: 1 to 100,
    }
}

numbers! {
    /// `retry` of an upstream.
    RETRY: RetryConfig {
        retries_max: 0 to 10,
        budget_percent: 0 to 100,
        exchanges_max: 1 to COUNT_MAX,
    }
}

numbers! {
    /// `timeouts` of a route.
    TIMEOUTS: RouteLimits {
        body_ms_max: 1 to HOUR_MS,
        upstream_ms_max: 1 to DAY_MS,
    }
}

numbers! {
    /// `[approvals]`.
    APPROVALS: approvals::Settings {
        pending_ms: 1_000 to DAY_MS,
        grant_ms: 1_000 to DAY_MS,
        denial_ms: 0 to DAY_MS,
        kept_ms: 3_600_000 to 400 * DAY_MS,
        op_ms_max: 10 to 60_000,
        retry_after_s: 1 to 3_600,
        pending_max: 1 to 1_000_000,
        pending_of_subject_max: 1 to 1_000_000,
        tries_max: 1 to 100,
    }
}

/// Keys that a table may have: its numbers, and others.
pub(super) fn keys<T>(numbers: &[Number<T>], others: &[&'static str]) -> Vec<&'static str> {
    others.iter().copied().chain(numbers.iter().map(|number| number.key)).collect()
}

/// Takes what the table has of these numbers; the others stay.
pub(super) fn read<T>(source: &mut Source, table: &DeTable<'_>, numbers: &[Number<T>], settings: &mut T) {
    for number in numbers {
        if let Some(n) = source.integer(table, number.key, number.least, number.most) {
            (number.set)(settings, n);
        }
    }
}

/// The numbers as lines of TOML.
pub(super) fn lines<T>(numbers: &[Number<T>], settings: &T) -> String {
    let mut text = String::new();
    for number in numbers {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{} = {}", number.key, (number.of)(settings));
    }
    text
}

/// The numbers inside an inline table.
pub(super) fn inline<T>(numbers: &[Number<T>], settings: &T) -> String {
    let all: Vec<String> =
        numbers.iter().map(|number| format!("{} = {}", number.key, (number.of)(settings))).collect();
    all.join(", ")
}
