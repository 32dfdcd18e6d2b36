//! Numbers and times as text: UTC stamps for log, mail and status, and Python's number format. And foreign text made
//! harmless for messages.
//! Pure: times are arguments.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::nanoseconds;

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
    let mut text = String::new();
    write_brief(&mut text, duration);
    text
}

/// Writes the same to the end of a text.
pub fn write_brief(text: &mut String, duration: Duration) {
    let (all, minutes, hours) = (
        duration.as_secs(),
        duration.as_secs() / 60,
        duration.as_secs() / 3600,
    );
    let _ = match all {
        0..60 => write!(text, "{all}s"),
        60..3600 => write!(text, "{minutes}m{:02}s", all % 60),
        3600..86_400 => write!(text, "{hours}h{:02}m", minutes % 60),
        _ => write!(text, "{}d{:02}h", hours / 24, hours % 24),
    };
}

/// A duration to the nearest millisecond, as logs, mails and the history tell of one.
pub fn to_milliseconds(duration: Duration) -> Duration {
    let milliseconds = duration
        .saturating_add(Duration::from_micros(500))
        .as_millis();
    Duration::from_millis(u64::try_from(milliseconds).unwrap_or(u64::MAX))
}

/// How long something took: under a minute to the tenth of a second, else like `brief`.
pub fn precise(duration: Duration) -> String {
    let mut text = String::new();
    write_precise(&mut text, duration);
    text
}

/// Writes the same to the end of a text.
pub fn write_precise(text: &mut String, duration: Duration) {
    // A value just below a minute must not print as 60.0s.
    if duration < Duration::from_millis(59_950) {
        let tenths = (duration.as_secs() * 1000 + u64::from(duration.subsec_millis()) + 50) / 100;
        let _ = write!(text, "{}.{}s", tenths / 10, tenths % 10);
    } else {
        write_brief(text, duration);
    }
}

/// Python's `%6.3g` of a duration in seconds: three significant digits in a field six wide, as the original printed
/// delays. Like C's (ISO C 7.21.6.1), with an exponent below 1e-4 and from 1e3 on, and without trailing zeros.
/// Durations beyond 584 years count as that long.
pub fn six_three_g(duration: Duration) -> String {
    let nanos = nanoseconds(duration).unwrap_or(u64::MAX);
    if nanos == 0 {
        return "     0".to_string();
    }
    let length = nanos.ilog10();
    let unit = 10_u64.pow(length.saturating_sub(2));
    let mut digits = nanos / unit * 10_u64.pow(2_u32.saturating_sub(length));
    digits += u64::from(goes_up(nanos, unit, digits));
    // Of the first digit. The exponent after rounding decides, so 999.6 is 1e+03.
    let mut exponent = i64::from(length) - 9;
    if digits == 1000 {
        (digits, exponent) = (100, exponent + 1);
    }
    let mut text = digits.to_string();
    match exponent {
        -4..0 => {
            let zeros = &"0.000"[..usize::try_from(1 - exponent).unwrap_or(0)];
            text.insert_str(0, zeros);
        }
        0..3 => text.insert(usize::try_from(exponent + 1).unwrap_or(1), '.'),
        _ => text.insert(1, '.'),
    }
    text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    if !(-4..3).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        let _ = write!(text, "e{sign}{:02}", exponent.abs());
    }
    format!("{text:>6}")
}

/// Whether Python rounds so many nanoseconds, of which `digits` are the whole `unit`s, up to the next unit. It compares
/// the nearest number of seconds that it can hold with the middle, and takes the even digit if that is the middle itself.
fn goes_up(nanos: u64, unit: u64, digits: u64) -> bool {
    let rest = nanos % unit;
    // Far from the middle the nearest number is on the same side: it is off by 2^-53 of itself at most.
    if rest.abs_diff(unit - rest) > nanos >> 50 {
        return rest > unit - rest;
    }
    // A sum of seconds and nanoseconds would be rounded twice.
    let number = seconds(Duration::from_nanos(nanos)).parse::<f64>();
    let bits = number.unwrap_or_default().to_bits();
    // The number is `mantissa` / 2^`shift` (IEEE 754 binary64), and below 2^35.
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    let shift = 1075_u64.saturating_sub(bits >> 52);
    let twice_the_middle = 2 * u128::from(nanos - rest) + u128::from(unit);
    match (u128::from(mantissa) * 2_000_000_000).cmp(&(twice_the_middle << shift)) {
        Ordering::Equal => digits % 2 == 1,
        order => order == Ordering::Greater,
    }
}

/// Foreign text made fit for a line of ours: what cannot be seen, or could end or turn the line, becomes visible as
/// `\n` or `\u{a0}`.
pub fn harmless(text: &str) -> Cow<'_, str> {
    if text.chars().all(is_visible) {
        return Cow::Borrowed(text);
    }
    let mut made = String::new();
    for c in text.chars() {
        match c {
            '\n' => made.push_str("\\n"),
            '\t' => made.push_str("\\t"),
            '\r' => made.push_str("\\r"),
            c if is_visible(c) => made.push(c),
            c => drop(write!(made, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    Cow::Owned(made)
}

/// Whether a character is visible, and changes nothing around it. Unicode's controls, formats, fillers, private
/// characters and white space other than the blank are not.
pub fn is_visible(c: char) -> bool {
    !matches!(c, '\0'..='\x1f' | '\x7f'..='\u{a0}' | '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}'
        | '\u{1680}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}' | '\u{2000}'..='\u{200f}'
        | '\u{2028}'..='\u{202f}' | '\u{205f}'..='\u{206f}' | '\u{2800}' | '\u{3000}' | '\u{3164}'
        | '\u{e000}'..='\u{f8ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{fffe}'..='\u{ffff}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..)
}

/// A value in a message: in quotes, on one line, and not longer than a line.
pub fn shown(value: &str) -> String {
    let cut = value.char_indices().nth(60).map(|(at, _)| at);
    let start = harmless(&value[..cut.unwrap_or(value.len())]);
    let more = if cut.is_some() { "..." } else { "" };
    format!("'{start}{more}'")
}

/// `1 job`, `2 jobs`.
pub fn counted(number: usize, word: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {word}{plural}")
}

/// `a, b and c`, or `a, b and 5 more`.
pub fn listed(names: &[&str], most: usize) -> String {
    // A single name takes no more room than `1 more`.
    let told = if names.len() > most + 1 {
        most
    } else {
        names.len()
    };
    let mut text = String::new();
    for (place, name) in names[..told].iter().enumerate() {
        text.push_str(match place {
            0 => "",
            _ if place + 1 == names.len() => " and ",
            _ => ", ",
        });
        text.push_str(name);
    }
    if told < names.len() {
        let _ = write!(text, " and {} more", names.len() - told);
    }
    text
}

/// The line that stands where this many bytes are left out, on a line of its own. `before` is the byte before it.
pub fn left_out(bytes: u64, before: Option<u8>) -> String {
    let break_before = match before {
        None | Some(b'\n') => "",
        Some(_) => "\n",
    };
    let word = if bytes == 1 { "byte" } else { "bytes" };
    format!("{break_before}[... {bytes} {word} left out ...]\n")
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

    /// `2026-11-23T23:36:37.042Z` (RFC 3339).
    pub fn rfc3339_millis(time: SystemTime) -> String {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let second = Utc::from(time).date_and_time();
        format!("{second}.{:03}Z", since.subsec_millis())
    }

    /// `2026-11-23 23:36:37`, where a heading says that it is UTC.
    pub fn plain(&self) -> String {
        self.date_and_time().replace('T', " ")
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
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use proptest::prelude::*;

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
        assert_eq!(precise(Duration::from_millis(49)), "0.0s");
        assert_eq!(precise(Duration::from_millis(50)), "0.1s");
        assert_eq!(precise(Duration::from_millis(59_949)), "59.9s");
        assert_eq!(precise(Duration::from_millis(59_990)), "59s");
        assert_eq!(precise(s(182)), "3m02s");
    }

    #[test]
    fn what_cannot_be_seen_in_foreign_text_is_made_visible() {
        for (text, expected) in [
            ("it's \"x\" \\ é", "it's \"x\" \\ é"),
            ("a\nb\tc\rd\0e\u{7f}\u{85}", r"a\nb\tc\rd\u{0}e\u{7f}\u{85}"),
            ("a\u{a0}b\u{2003}c\u{3000}", r"a\u{a0}b\u{2003}c\u{3000}"),
            (
                "\u{feff}a\u{200b}\u{200d}\u{ad}",
                r"\u{feff}a\u{200b}\u{200d}\u{ad}",
            ),
            ("\u{202e}\u{2066}\u{2028}", r"\u{202e}\u{2066}\u{2028}"),
            (
                "\u{e000}\u{e0041}\u{3164}\u{10ffff}",
                r"\u{e000}\u{e0041}\u{3164}\u{10ffff}",
            ),
            ("“a – b” 日本 e\u{301} ที่ 🦀", "“a – b” 日本 e\u{301} ที่ 🦀"),
            ("\u{301}", "\u{301}"),
            ("", ""),
        ] {
            assert_eq!(harmless(text), expected, "{text:?}");
        }
    }

    #[test]
    fn no_control_white_space_or_mark_of_direction_is_left() {
        let hidden = "\u{200b}\u{200c}\u{200d}\u{200e}\u{200f}\u{2060}\u{2066}\u{2069}\u{feff}\u{ad}\u{61c}\u{180e}";
        for c in ('\0'..=char::MAX)
            .filter(|c| c.is_control() || c.is_whitespace() || hidden.contains(*c))
        {
            assert!(c == ' ' || !is_visible(c), "{c:?}");
        }
        for c in ('!'..='~').chain("é–“”’«»中あ한กा\u{301}🦀€№".chars()) {
            assert!(is_visible(c), "{c:?}");
        }
    }

    #[test]
    fn a_value_in_a_message_is_short_and_on_one_line() {
        assert_eq!(shown("a\nb\u{a0}c"), r"'a\nb\u{a0}c'");
        assert_eq!(shown(&"é".repeat(60)), format!("'{}'", "é".repeat(60)));
        assert_eq!(shown(&"é".repeat(61)), format!("'{}...'", "é".repeat(60)));
        assert_eq!(shown(""), "''");
    }

    #[test]
    fn a_list_names_as_many_as_it_may() {
        let told = |count: usize| listed(&["a", "b", "c", "d", "e"][..count], 2);
        let expected = [
            "",
            "a",
            "a and b",
            "a, b and c",
            "a, b and 2 more",
            "a, b and 3 more",
        ];
        assert_eq!([0, 1, 2, 3, 4, 5].map(told), expected);
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
            let duration = Duration::from_secs_f64(value);
            assert_eq!(six_three_g(duration), text, "{value}");
            assert_eq!(by_floats(value), text, "{value}");
        }
    }

    /// The same as this, which needs code to print any floating-point number.
    fn by_floats(value: f64) -> String {
        // Ties go to even, as Python and C have it.
        let scientific = format!("{value:.2e}");
        let (digits, exponent) = scientific.split_once('e').unwrap();
        let exponent: i32 = exponent.parse().unwrap();
        let trimmed = |number: &str| match number.contains('.') {
            true => number
                .trim_end_matches('0')
                .trim_end_matches('.')
                .to_string(),
            false => number.to_string(),
        };
        let text = if (-4..3).contains(&exponent) {
            let decimals = usize::try_from(2 - exponent).unwrap();
            trimmed(&format!("{value:.decimals$}"))
        } else {
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{}e{sign}{:02}", trimmed(digits), exponent.abs())
        };
        format!("{text:>6}")
    }

    #[test]
    fn delays_in_the_middle_between_two_numbers_print_as_python_prints_them() {
        for (nanos, text) in [
            (1_125_000_000, "  1.12"),
            (1_375_000_000, "  1.38"),
            (1_005_000_000, "     1"),
            (100_500_000, " 0.101"),
            (2_675_000_000, "  2.67"),
            (1_000_500_000_000, " 1e+03"),
            (1_025_000_000_000, "1.02e+03"),
            (2_595_000_000, "   2.6"),
            (296_500_000_000_000_001, "2.96e+08"),
            (295_499_999_999_999_999, "2.96e+08"),
        ] {
            assert_eq!(six_three_g(Duration::from_nanos(nanos)), text, "{nanos}");
        }
    }

    proptest! {
        #[test]
        fn delays_print_as_if_they_were_numbers_of_seconds(
            digits in 0_u64..100_000,
            power in 0_u32..14,
            more in prop_oneof![Just(0_i64), -100_i64..100],
        ) {
            let nanos = (digits * 10_u64.pow(power)).saturating_add_signed(more);
            let duration = Duration::from_nanos(nanos);
            let number = seconds(duration).parse().unwrap();
            prop_assert_eq!(six_three_g(duration), by_floats(number));
        }
    }

    #[test]
    fn stamps_have_the_three_formats() {
        let utc = at(1_795_476_997);
        assert_eq!(utc.log_stamp(), "2026-11-23T23:36:37+0000");
        assert_eq!(utc.rfc3339(), "2026-11-23T23:36:37Z");
        assert_eq!(utc.plain(), "2026-11-23 23:36:37");
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
