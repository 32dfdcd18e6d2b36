use std::cell::Cell;

use super::*;

/// Asks at `now`, when the file holds `file`; the second value is whether the file was read.
fn ask(lease: &mut Lease, now: u64, file: u64) -> (bool, bool) {
    let read = Cell::new(false);
    let holds = lease.holds(
        || now,
        || {
            read.set(true);
            file
        },
    );
    (holds, read.get())
}

#[test]
fn the_file_is_read_first_of_all_and_then_only_once_its_time_has_come() {
    let mut lease = Lease::default();
    assert_eq!(ask(&mut lease, 100, 110), (true, true));
    for now in 100..110 {
        assert_eq!(ask(&mut lease, now, 0), (true, false), "{now}");
    }
    assert_eq!(ask(&mut lease, 110, 120), (true, true));
    assert_eq!(lease.until(), 120);
    assert_eq!(ask(&mut lease, 119, 0), (true, false));
    assert_eq!(ask(&mut lease, 120, 120), (false, true));
    assert!(lease.has_run_out());
}

#[test]
fn what_has_run_out_does_not_come_back() {
    let mut lease = Lease::default();
    assert_eq!(ask(&mut lease, 100, 100), (false, true));
    assert_eq!(ask(&mut lease, 100, 200), (false, false));
}

#[test]
fn the_clock_counts_after_the_file_was_read() {
    let now = Cell::new(100);
    let mut lease = Lease::default();
    let stopped_while_reading = || {
        now.set(500);
        110
    };
    assert!(!lease.holds(|| now.get(), stopped_while_reading));
}

#[test]
fn only_a_whole_number_is_an_end() {
    for (text, expected) in [
        ("0", 0),
        ("1234", 1234),
        ("1234\n", 1234),
        (" 0012 \r\n", 12),
        ("18446744073709551615", u64::MAX),
        ("18446744073709551616", 0),
        ("", 0),
        ("\n", 0),
        ("+12", 0),
        ("-12", 0),
        ("12.5", 0),
        ("12 13", 0),
        ("1e3", 0),
        ("0x10", 0),
        ("١٢", 0),
        ("12s", 0),
    ] {
        assert_eq!(end(text.as_bytes()), expected, "{text:?}");
    }
    assert_eq!(end(b"12\xff"), 0);
    assert_eq!(end(b"12\0"), 0);
}
