//! Values: durations, sizes, numbers, booleans, addresses. Pure functions from text to a value, or to a message that
//! says what is wrong and what would be right.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::text::shown;

/// The longest duration: 3650 days.
pub const MAX_DURATION: Duration = Duration::from_secs(3650 * 86_400);

/// `true`, `yes`, `on`, `1` or `false`, `no`, `off`, `0`, in any case.
pub fn boolean(value: &str) -> Result<bool, String> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err(format!(
            "{} is not a boolean: true/false, yes/no, on/off or 1/0",
            shown(value)
        )),
    }
}

/// A sequencer's name: letters, digits, `_`, `-` and `.`.
pub fn name(value: &str) -> Result<Box<str>, String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let taken = value.is_empty() || value.eq_ignore_ascii_case("none");
    if taken || !value.bytes().all(valid) {
        return Err(format!(
            "{} is not a name: it is made of letters, digits, '_', '-' and '.', and is not 'none'",
            shown(value)
        ));
    }
    Ok(value.into())
}

/// One of the known words, in any case.
pub fn word<T: Copy>(value: &str, known: &[(&'static str, T)]) -> Result<T, String> {
    let is_it = |(word, _): &&(&str, T)| word.eq_ignore_ascii_case(value);
    known.iter().find(is_it).map(|(_, it)| *it).ok_or_else(|| {
        let words: Vec<&str> = known.iter().map(|(word, _)| *word).collect();
        format!("{} is none of {}", shown(value), words.join(", "))
    })
}

/// Seconds, whole or decimal, or with a unit: `5`, `0.25`, `250ms`, `15m`, `1d`.
pub fn duration(value: &str) -> Result<Duration, String> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let unit: u64 = match &value[digits.len()..] {
        "ms" => 1_000_000,
        "" | "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        "d" => 86_400_000_000_000,
        _ => return Err(not_a_duration(value)),
    };
    let (whole, fraction) = match digits.split_once('.') {
        Some((whole, fraction)) if is_number(fraction) => (whole, fraction),
        Some(_) => return Err(not_a_duration(value)),
        None => (digits, ""),
    };
    if !is_number(whole) {
        return Err(not_a_duration(value));
    }
    let too_long = || format!("{} is too long: a duration is at most 3650d", shown(value));
    let whole: u64 = whole.parse().map_err(|_| too_long())?;
    let nanoseconds = whole
        .checked_mul(unit)
        .and_then(|n| n.checked_add(nanoseconds(fraction, unit)))
        .ok_or_else(too_long)?;
    let duration = Duration::from_nanos(nanoseconds);
    if duration > MAX_DURATION {
        Err(too_long())
    } else {
        Ok(duration)
    }
}

/// The decimal fraction with these digits of a unit of this many nanoseconds. It is rounded up to a whole nanosecond,
/// so that only zero becomes zero.
fn nanoseconds(digits: &str, unit: u64) -> u64 {
    const PLACES: usize = 18;
    if digits.is_empty() {
        return 0;
    }
    let (first, rest) = digits.split_at(digits.len().min(PLACES));
    let first: u128 = format!("{first:0<PLACES$}").parse().unwrap_or(0);
    let rest = rest.bytes().any(|digit| digit != b'0');
    let scaled = first * u128::from(unit) + u128::from(rest);
    u64::try_from(scaled.div_ceil(10_u128.pow(18))).unwrap_or(unit)
}

fn not_a_duration(value: &str) -> String {
    format!(
        "{} is not a duration: seconds as in 5 or 0.25, or with a unit (ms, s, m, h, d) as in 15m",
        shown(value)
    )
}

/// A number of bytes; with `K`, `M` or `G`, powers of 1024.
pub fn size(value: &str) -> Result<u64, String> {
    let (digits, shift) = match value.as_bytes().last() {
        Some(b'K') => (&value[..value.len() - 1], 10),
        Some(b'M') => (&value[..value.len() - 1], 20),
        Some(b'G') => (&value[..value.len() - 1], 30),
        _ => (value, 0),
    };
    if !is_number(digits) {
        return Err(format!(
            "{} is not a size: bytes as in 65536, or with K, M or G as in 64K",
            shown(value)
        ));
    }
    let bytes = digits
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(1 << shift));
    bytes.ok_or_else(|| format!("{} is too large a size", shown(value)))
}

/// A whole number.
pub fn count(value: &str) -> Result<u32, String> {
    if !is_number(value) {
        return Err(format!("{} is not a whole number", shown(value)));
    }
    value
        .parse()
        .map_err(|_| format!("{} is too large a number", shown(value)))
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The path of a file.
pub fn path(value: &str) -> Result<PathBuf, String> {
    if value.contains('\n') {
        return Err(format!(
            "{} is not a path: it has more than one line",
            shown(value)
        ));
    }
    Ok(PathBuf::from(value))
}

/// Whether this is a name of standard output, which is never opened or renamed by name.
pub fn is_stdout(path: &Path) -> bool {
    let names = ["-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"];
    names.into_iter().any(|name| path == Path::new(name))
}

/// One mail address, fit to be an argument of sendmail and part of a header. `<` and `>` around it are removed.
pub fn address(value: &str) -> Result<Box<str>, String> {
    let inner = value
        .strip_prefix('<')
        .and_then(|rest| rest.strip_suffix('>'));
    let address = inner.filter(|inner| !inner.is_empty()).unwrap_or(value);
    let bad = |c: char| c.is_control() || c.is_whitespace() || "<>\"();,".contains(c);
    let fault = match address.chars().find(|c| bad(*c)) {
        _ if address.starts_with('-') => {
            "begins with '-', which sendmail would take for an option".to_string()
        }
        None => return Ok(address.into()),
        Some(c) if c.is_control() => "has a control character in it".to_string(),
        Some(c) if c.is_whitespace() => "has white space in it".to_string(),
        Some(c) => format!("has a '{c}' in it"),
    };
    Err(format!(
        "bad address {}: it {fault}; give the bare address, as in ops@example.com",
        shown(value)
    ))
}

/// Addresses with white space or commas between them; `-` is the log.
pub fn addresses(value: &str) -> Result<Box<[Box<str>]>, String> {
    let parts = |c: char| c == ',' || c.is_ascii_whitespace();
    let words = value.split(parts).filter(|word| !word.is_empty());
    words
        .map(|word| {
            if word == "-" {
                Ok("-".into())
            } else {
                address(word)
            }
        })
        .collect()
}

/// A command that can be split into words, the first of which is not empty.
pub fn command(value: &str) -> Result<Box<str>, String> {
    match super::command::first(value) {
        Ok(program) if !program.is_empty() => Ok(value.into()),
        Ok(_) => Err("the command names no program".to_string()),
        Err(error) => Err(format!("cannot split the command into words: {error}")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use crate::text::seconds;

    #[test]
    fn durations_are_seconds_or_have_a_unit() {
        for (value, printed) in [
            ("5", "5"),
            ("0.25", "0.25"),
            ("5s", "5"),
            ("250ms", "0.25"),
            ("1.5m", "90"),
            ("15m", "900"),
            ("0.5h", "1800"),
            ("3650d", "315360000"),
            ("0", "0"),
            ("007.10", "7.1"),
            ("0.000001ms", "0.000000001"),
        ] {
            assert_eq!(
                duration(value).map(seconds).as_deref(),
                Ok(printed),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_no_duration_says_what_one_is() {
        for value in [
            "", "-1", "+1", "5 s", "5S", "1e3", ".5", "5.", "1.2.3", "five", "5x", "5sm", "٣",
            "inf", "NaN", "s",
        ] {
            assert!(
                duration(value).unwrap_err().contains("is not a duration"),
                "{value}"
            );
        }
        for value in [
            "3650.1d",
            "315360001",
            "99999999999999999999999",
            "18446744073709551615d",
        ] {
            assert!(
                duration(value).unwrap_err().contains("at most 3650d"),
                "{value}"
            );
        }
    }

    #[test]
    fn what_is_finer_than_a_nanosecond_is_rounded_up() {
        for (value, printed) in [
            ("0.3333333333333", "0.333333334"),
            ("0.0000000001", "0.000000001"),
            ("0.0000000000000000000000000000000001d", "0.000000001"),
            ("0.1000000000000000000000000000000000", "0.1"),
            ("0.9999999999", "1"),
        ] {
            assert_eq!(
                duration(value).map(seconds).as_deref(),
                Ok(printed),
                "{value}"
            );
        }
        assert!(duration("3650.0000000000000000001d").is_err());
        assert!(duration("3650.0000000000000000000d").is_ok());
    }

    #[test]
    fn standard_output_has_many_names() {
        for name in [
            "-",
            "/dev/stdout",
            "//dev/./stdout",
            "/dev/fd/1",
            "/proc/self/fd/1",
        ] {
            assert!(is_stdout(Path::new(name)), "{name}");
        }
        for name in ["stdout", "/dev/stderr", "/dev/fd/10", "/proc/1/fd/1", "./-"] {
            assert!(!is_stdout(Path::new(name)), "{name}");
        }
    }

    #[test]
    fn a_path_is_one_line() {
        assert!(path("a\nb").unwrap_err().contains("more than one line"));
    }

    #[test]
    fn sizes_are_bytes_or_powers_of_1024() {
        assert_eq!(size("65536"), Ok(65_536));
        assert_eq!(size("64K"), Ok(65_536));
        assert_eq!(size("1M"), Ok(1 << 20));
        assert_eq!(size("2G"), Ok(2 << 30));
        assert_eq!(size("0"), Ok(0));
        for value in ["", "K", "1k", "1KB", "-1", "1.5M", "1 M"] {
            assert!(
                size(value).unwrap_err().contains("is not a size"),
                "{value}"
            );
        }
        assert!(size("99999999999G").unwrap_err().contains("too large"));
    }

    #[test]
    fn addresses_cannot_become_options_or_headers() {
        assert!(addresses("a -f").unwrap_err().contains("begins with '-'"));
        assert!(address("<-f>").unwrap_err().contains("begins with '-'"));
        assert!(address("-").is_err());
        assert!(address("a\u{7f}b").unwrap_err().contains("control"));
        assert!(address("a\u{a0}b").unwrap_err().contains("white space"));
        assert!(address("a b").unwrap_err().contains("white space"));
    }

    #[test]
    fn recipients_are_parted_by_white_space_or_commas_and_lose_their_brackets() {
        for (value, expected) in [
            (
                "- root ops@example.com",
                &["-", "root", "ops@example.com"][..],
            ),
            ("a@x, b@x", &["a@x", "b@x"]),
            ("a@x,b@x ,\tc@x\n,", &["a@x", "b@x", "c@x"]),
            ("<a@x>, <b@x> c@x", &["a@x", "b@x", "c@x"]),
            ("  ", &[]),
            (", ,", &[]),
        ] {
            let found = addresses(value).unwrap();
            assert!(
                found.iter().map(|to| &**to).eq(expected.iter().copied()),
                "{value}: {found:?}"
            );
        }
        assert_eq!(address("<a@x>").as_deref(), Ok("a@x"));
    }

    #[test]
    fn what_else_may_stand_around_an_address_is_refused_as_it_was_written() {
        for (value, sign) in [
            ("ops@example.com;", ";"),
            ("\"ops\"@x", "\""),
            ("a@x(night)", "("),
            ("(night)", "("),
            ("<a@x", "<"),
            ("a@x>", ">"),
            ("<<a@x>>", "<"),
            ("<>", "<"),
            ("a<b@x>", "<"),
        ] {
            let expected = format!(
                "bad address '{value}': it has a '{sign}' in it; give the bare address, as in ops@example.com"
            );
            assert_eq!(addresses(value), Err(expected));
        }
        assert!(
            address("Ops <a@b>")
                .unwrap_err()
                .starts_with("bad address 'Ops <a@b>': it has white space in it; give")
        );
        assert!(address("a@x,b@x").unwrap_err().contains("has a ',' in it"));
    }

    #[test]
    fn a_command_has_to_name_a_program() {
        assert!(command("true").is_ok());
        assert!(command("'' a").unwrap_err().contains("no program"));
        assert!(command("echo 'a").unwrap_err().contains("never closed"));
    }
}
