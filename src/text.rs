//! Numbers and times as text: UTC stamps for log, mail and status, and Python's number format. And the known word
//! that is nearest to an unknown one.
//! Pure; whoever calls brings the time along.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A duration in seconds without trailing zeros: `5`, `0.25`.
pub fn seconds(duration: Duration) -> String {
    let nanos = duration.subsec_nanos();
    if nanos == 0 {
        return duration.as_secs().to_string();
    }
    let text = format!("{}.{nanos:09}", duration.as_secs());
    text.trim_end_matches('0').to_string()
}

/// A duration for people, at most two units: `41s`, `34m26s`, `1h34m`, `3d04h`.
pub fn brief(duration: Duration) -> String {
    let (all, minutes, hours) = (
        duration.as_secs(),
        duration.as_secs() / 60,
        duration.as_secs() / 3600,
    );
    match all {
        0..60 => format!("{all}s"),
        60..3600 => format!("{minutes}m{:02}s", all % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{}d{:02}h", hours / 24, hours % 24),
    }
}

/// The same for how long something took: under a minute to the tenth of a second.
pub fn precise(duration: Duration) -> String {
    // A value just below a minute must not print as 60.0s.
    if duration < Duration::from_millis(59_950) {
        format!("{:.1}s", duration.as_secs_f64())
    } else {
        brief(duration)
    }
}

/// Python's `%6.3g`: three significant digits in a field six wide, as the original printed delays.
pub fn six_three_g(value: f64) -> String {
    format!("{:>6}", three_g(value))
}

/// C's and Python's `%.3g` (ISO C 7.21.6.1): exponent notation below 1e-4 and from 1e3 on, no trailing zeros.
fn three_g(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format!("{value}");
    }
    // The exponent after rounding to three digits decides, so 999.6 is 1e+03.
    let scientific = format!("{value:.2e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..3).contains(&exponent) {
        let decimals = usize::try_from(2 - exponent).unwrap_or(0);
        return without_trailing_zeros(&format!("{value:.decimals$}")).to_string();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!(
        "{}e{sign}{:02}",
        without_trailing_zeros(digits),
        exponent.abs()
    )
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') {
        number.trim_end_matches('0').trim_end_matches('.')
    } else {
        number
    }
}

/// The one of `known` that `word` was most likely meant to be, the first of the nearest: by the least number of
/// letters to change, add, drop or swap with their neighbours (Damerau's distance), where a word that is part of the
/// other is nearer than any that is not. Capital letters do not matter.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // What is much longer than any name is no slip of the finger, and would take long to compare.
    let word: Vec<char> = word.to_lowercase().chars().take(LONGEST + 1).collect();
    let text: String = word.iter().collect();
    if text.is_empty() || word.len() > LONGEST {
        return None;
    }
    known
        .into_iter()
        .filter(|name| name.len() <= LONGEST)
        .take(MOST_COMPARED)
        .map(|name| {
            let folded = name.to_lowercase();
            // One letter is part of nearly everything.
            let part = text.len().min(folded.len()) > 1
                && (folded.contains(&text) || text.contains(&folded));
            (!part, distance(&word, &folded), name)
        })
        .min_by_key(|(whole, distance, _)| (*whole, *distance))
        .map(|(.., name)| name)
}

/// Whether `word` may well have been meant as `name`: at most a third of its letters are different.
pub fn resembles(word: &str, name: &str) -> bool {
    let word: Vec<char> = word.chars().take(LONGEST + 1).collect();
    let most = (word.len() / 3).max(1);
    name.len().abs_diff(word.len()) <= most && distance(&word, name) <= most
}

/// The longest word that is compared with others.
const LONGEST: usize = 64;
/// With more names than this, only so many are compared: a slip of the finger must not hold up the loop.
const MOST_COMPARED: usize = 10_000;

/// The optimal string alignment distance.
fn distance(word: &[char], name: &str) -> usize {
    let mut above: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=word.len()).collect();
    let mut last = None;
    for (i, c) in name.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        for (j, d) in word.iter().enumerate() {
            let changed = row[j] + usize::from(c != *d);
            let mut least = changed.min(row[j + 1] + 1).min(next[j] + 1);
            let swapped = j > 0 && last == Some(*d) && word[j - 1] == c;
            if swapped {
                least = least.min(above[j - 1] + 1);
            }
            next.push(least);
        }
        above = std::mem::replace(&mut row, next);
        last = Some(c);
    }
    row[word.len()]
}

/// A value in a message: in quotes, on one line, and not longer than a line.
pub fn shown(value: &str) -> String {
    let mut rest = value.chars();
    let start: String = rest.by_ref().take(60).flat_map(escaped).collect();
    let more = if rest.next().is_some() { "..." } else { "" };
    format!("'{start}{more}'")
}

/// A value on one line, whole.
pub fn on_one_line(value: &str) -> String {
    value.chars().flat_map(escaped).collect()
}

/// What could change the line, made visible.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let plain = (!c.is_control()).then_some(c);
    let escape = c.is_control().then(|| c.escape_debug());
    plain.into_iter().chain(escape.into_iter().flatten())
}

/// A moment as a calendar has it, in UTC; seconds are whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Utc {
    /// Year, proleptic Gregorian.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59; the system clock knows no leap seconds.
    pub second: u32,
    /// 0 is Sunday.
    weekday: usize,
}

const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
const MONTHS: [&str; 12] = [
    "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
];

impl Utc {
    /// The calendar's view of `time`; a time before 1970 works too.
    pub fn from(time: SystemTime) -> Utc {
        Utc::from_unix(unix_seconds(time))
    }

    fn from_unix(seconds: i64) -> Utc {
        let days = seconds.div_euclid(86_400);
        let second_of_day = seconds.rem_euclid(86_400);
        // Days since 0000-03-01, in eras of 400 years: the leap day comes last, so months fall out of a
        // linear formula (Hinnant, "chrono-compatible low-level date algorithms").
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * day_of_year + 2) / 153;
        let month = if march_month < 10 {
            march_month + 3
        } else {
            march_month - 9
        };
        let narrow = |n: i64| u32::try_from(n).unwrap_or(0);
        Utc {
            year: era * 400 + year_of_era + i64::from(month <= 2),
            month: narrow(month),
            day: narrow(day_of_year - (153 * march_month + 2) / 5 + 1),
            hour: narrow(second_of_day / 3_600),
            minute: narrow(second_of_day / 60 % 60),
            second: narrow(second_of_day % 60),
            weekday: usize::try_from((days + 4).rem_euclid(7)).unwrap_or(0),
        }
    }

    /// `2026-11-23T23:36:37+0000`, the stamp that twistd puts before each line.
    pub fn log_stamp(&self) -> String {
        format!("{}+0000", self.date_and_time())
    }

    /// `2026-11-23T23:36:37Z` (RFC 3339).
    pub fn rfc3339(&self) -> String {
        format!("{}Z", self.date_and_time())
    }

    /// `Mon, 23 Nov 2026 23:36:37 +0000`, for a `Date` header (RFC 5322, 3.3).
    pub fn rfc5322(&self) -> String {
        let month = usize::try_from(self.month).unwrap_or(1).clamp(1, 12);
        format!(
            "{}, {:02} {} {:04} {:02}:{:02}:{:02} +0000",
            DAYS[self.weekday],
            self.day,
            MONTHS[month - 1],
            self.year,
            self.hour,
            self.minute,
            self.second
        )
    }

    fn date_and_time(&self) -> String {
        format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}",
            self.year, self.month, self.day, self.hour, self.minute, self.second
        )
    }
}

/// Whole seconds since 1970, rounded down; negative before it.
pub fn unix_seconds(time: SystemTime) -> i64 {
    let whole = |d: Duration| i64::try_from(d.as_secs()).unwrap_or(i64::MAX / 2);
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => whole(after),
        Err(before) => {
            let before = before.duration();
            -whole(before) - i64::from(before.subsec_nanos() > 0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Utc {
        Utc::from(UNIX_EPOCH + Duration::from_secs(seconds))
    }

    #[test]
    fn seconds_have_no_trailing_zeros() {
        assert_eq!(seconds(Duration::from_secs(3600)), "3600");
        assert_eq!(seconds(Duration::from_millis(250)), "0.25");
        assert_eq!(seconds(Duration::from_nanos(1)), "0.000000001");
        assert_eq!(seconds(Duration::ZERO), "0");
    }

    #[test]
    fn durations_for_people_have_two_units_at_most() {
        let s = Duration::from_secs;
        let shown =
            [0, 59, 60, 2066, 3599, 3600, 5640, 86_399, 86_400, 273_600].map(|n| brief(s(n)));
        assert_eq!(
            shown,
            [
                "0s", "59s", "1m00s", "34m26s", "59m59s", "1h00m", "1h34m", "23h59m", "1d00h",
                "3d04h"
            ]
        );
        assert_eq!(precise(Duration::from_millis(1234)), "1.2s");
        assert_eq!(precise(Duration::from_millis(59_990)), "59s");
        assert_eq!(precise(s(182)), "3m02s");
    }

    #[test]
    fn the_nearest_name_is_offered() {
        let known = ["mindelay", "maxdelay", "command", "timeout"];
        assert_eq!(nearest("midnelay", known), Some("mindelay"));
        assert_eq!(nearest("comand", known), Some("command"));
        assert_eq!(nearest("time-out", known), Some("timeout"));
        assert_eq!(nearest("xdelay", known), Some("maxdelay"));
        assert_eq!(nearest("delay", known), Some("mindelay"));
        assert_eq!(nearest("TIMEOUT", known), Some("timeout"));
        assert_eq!(nearest("cmd", known), Some("command"));
        assert_eq!(nearest("bda", ["ab", "bad", "b"]), Some("bad"));
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("x", []), None);
        assert_eq!(nearest(&"command".repeat(100), known), None);
    }

    // Expected values are what Python 2.7 prints for '%6.3g' % value.
    #[test]
    fn delays_print_as_python_prints_them() {
        for (value, text) in [
            (5.0, "     5"),
            (0.0, "     0"),
            (0.99, "  0.99"),
            (0.001_74, "0.00174"),
            (900.0, "   900"),
            (999.4, "   999"),
            (999.6, " 1e+03"),
            (3600.0, "3.6e+03"),
            (86_400.0, "8.64e+04"),
            (0.000_05, " 5e-05"),
            (0.000_1, "0.0001"),
            (12.345, "  12.3"),
            (1.999_9, "     2"),
            (315_360_000.0, "3.15e+08"),
        ] {
            assert_eq!(six_three_g(value), text, "{value}");
        }
    }

    #[test]
    fn stamps_have_the_three_formats() {
        let utc = at(1_795_476_997);
        assert_eq!(utc.log_stamp(), "2026-11-23T23:36:37+0000");
        assert_eq!(utc.rfc3339(), "2026-11-23T23:36:37Z");
        assert_eq!(utc.rfc5322(), "Mon, 23 Nov 2026 23:36:37 +0000");
    }

    #[test]
    fn calendars_edges_are_right() {
        assert_eq!(at(0).rfc5322(), "Thu, 01 Jan 1970 00:00:00 +0000");
        assert_eq!(at(951_782_400).rfc3339(), "2000-02-29T00:00:00Z");
        assert_eq!(at(4_107_542_399).rfc3339(), "2100-02-28T23:59:59Z");
        assert_eq!(at(4_107_542_400).rfc3339(), "2100-03-01T00:00:00Z");
        let before = UNIX_EPOCH - Duration::from_millis(500);
        assert_eq!(Utc::from(before).rfc3339(), "1969-12-31T23:59:59Z");
    }
}
