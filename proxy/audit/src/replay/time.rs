//! Times as people and HAR write them (RFC 3339), in UTC.

const DAY_S: u64 = 86_400;

/// `2026-11-22T04:05:06.789Z`, of nanoseconds since 1970.
#[must_use]
pub fn rfc3339(wall_ns: u64) -> String {
    let (seconds, ms) = (wall_ns / 1_000_000_000, wall_ns / 1_000_000 % 1_000);
    let (year, month, day) = date(seconds / DAY_S);
    let (h, m, s) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// Year, month and day of a day since 1970, counted in eras of 400 years that begin in March.
fn date(day: u64) -> (u64, u64, u64) {
    let day = day + 719_468;
    let (era, of_era) = (day / 146_097, day % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Nanoseconds since 1970 of `2026-11-22`, `2026-11-22T04:05` or `2026-11-22T04:05:06Z`, all in UTC.
#[must_use]
pub fn from_rfc3339(text: &str) -> Option<u64> {
    let (date, time) = text.split_once('T').unwrap_or((text, "00:00:00"));
    let number = |text: &str, digits: usize| {
        let is_number = text.len() == digits && text.bytes().all(|b| b.is_ascii_digit());
        text.parse::<u64>().ok().filter(|_| is_number)
    };
    let mut parts = date.split('-');
    let (year, month, day) =
        (number(parts.next()?, 4)?, number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let mut parts = time.trim_end_matches('Z').split(':');
    let (h, m) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let s = number(parts.next().unwrap_or("00"), 2)?;
    let is_within = (1970..=9999).contains(&year) && (1..=12).contains(&month) && h < 24 && m < 60 && s < 60;
    // Days until the date comes: few steps, for a year is at most so many days off.
    let guess = (year - 1970) * 365 + (month - 1) * 28;
    let found = (guess..guess + 2_100).find(|n| self::date(*n) == (year, month, day));
    let seconds = found.filter(|_| is_within)? * DAY_S + h * 3_600 + m * 60 + s;
    seconds.checked_mul(1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_and_read() {
        for (seconds, text) in [
            (0u64, "1970-01-01T00:00:00.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (1_795_320_306, "2026-11-22T04:05:06.000Z"),
            (4_107_542_399, "2100-02-28T23:59:59.000Z"),
        ] {
            let ns = seconds * 1_000_000_000;
            assert_eq!(rfc3339(ns), text);
            assert_eq!(from_rfc3339(&text.replace(".000", "")), Some(ns), "{text}");
        }
        assert_eq!(from_rfc3339("2026-11-22"), from_rfc3339("2026-11-22T00:00"));
        for text in ["", "2026", "2026-02-30", "2026-13-01", "2026-01-01T24:00", "2026-1-1", "+026-01-01"] {
            assert_eq!(from_rfc3339(text), None, "{text}");
        }
    }
}
