//! Tests of `tails`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::clock::Stamp;
use crate::job::outcome::{Brief, Cause, Outcome};
use proptest::prelude::*;
use std::time::{Duration, UNIX_EPOCH};

fn run(number: u64) -> Run {
    let began = Stamp::at(UNIX_EPOCH + Duration::from_secs(number));
    let outcome = Outcome {
        code: 1,
        cause: Cause::Exited,
    };
    Run::new(began, Duration::ZERO, Duration::ZERO, Brief::of(&outcome))
}

/// What is kept of this many bytes, of which the last are `end`.
fn printed(bytes: usize, end: &str) -> Capture {
    let mut capture = Capture::new(1 << 20);
    capture.push(&vec![b'.'; bytes - end.len()]);
    capture.push(end.as_bytes());
    capture
}

/// The memory that is really taken, counted anew.
fn taken(tails: &Tails) -> usize {
    let each = tails.kept.iter();
    let each = each.map(|tail| tail.job.len() + tail.text.len() + ALLOCATIONS);
    each.sum::<usize>() + tails.kept.capacity() * size_of::<Tail>()
}

#[test]
fn the_end_of_each_stream_of_the_last_failed_run_is_kept() {
    let mut tails = Tails::default();
    tails.add("a", run(1), &printed(3, "old"), &printed(0, ""));
    tails.add("b", run(2), &printed(0, ""), &printed(5, "short"));
    tails.add("a", run(3), &printed(5000, "out"), &printed(4097, "err"));
    let tail = tails.of("a").unwrap();
    assert_eq!(tail.run, run(3));
    let (stdout, total) = tail.stdout();
    assert_eq!((stdout.len(), total), (OF_EACH, 5000));
    assert!(stdout.ends_with(b"..out"));
    let (stderr, total) = tail.stderr();
    assert_eq!((stderr.len(), total), (OF_EACH, 4097));
    assert!(stderr.ends_with(b"..err"));
    let tail = tails.of("b").unwrap();
    assert_eq!(
        (tail.stdout(), tail.stderr()),
        ((&b""[..], 0), (&b"short"[..], 5))
    );
    assert!(tails.of("c").is_none());
    assert_eq!(tails.kept.len(), 2);
}

#[test]
fn the_end_of_an_output_with_a_gap_says_where_the_gap_is() {
    let mut stdout = Capture::new(8);
    stdout.push(b"abcdefghi");
    let mut tails = Tails::default();
    tails.add("a", run(1), &stdout, &printed(0, ""));
    let expected = b"abcd\n[... 1 byte left out ...]\nfghi";
    assert_eq!(tails.of("a").unwrap().stdout(), (&expected[..], 9));
}

#[test]
fn an_end_does_not_begin_within_a_character() {
    let mut tails = Tails::default();
    let mut stdout = Capture::new(1 << 20);
    stdout.push("\u{1F600}".repeat(2000).as_bytes());
    stdout.push(b"ab\n");
    // Whatever it is, it is not UTF-8, so most of it stays.
    let mut stderr = Capture::new(1 << 20);
    stderr.push(&[0x80; OF_EACH + 1]);
    tails.add("a", run(1), &stdout, &stderr);
    let tail = tails.of("a").unwrap();
    let text = std::str::from_utf8(tail.stdout().0).unwrap();
    assert_eq!(text.len(), 4 * 1023 + 3);
    assert_eq!(tail.stderr().0.len(), OF_EACH - 3);
}

#[test]
fn the_oldest_go_first_and_those_of_removed_jobs_at_once() {
    let mut tails = Tails::default();
    for number in 0..200 {
        let full = printed(OF_EACH, "");
        tails.add(&format!("job{number}"), run(number), &full, &full);
    }
    assert!(tails.kept.len() > 120 && tails.kept.len() < 128);
    assert!(tails.of("job0").is_none() && tails.of("job199").is_some());
    let oldest = tails.kept.front().unwrap().job.clone();
    // A new failure makes it the youngest.
    tails.add(&oldest, run(200), &printed(1, ""), &printed(1, ""));
    assert_eq!(tails.kept.back().unwrap().job, oldest);
    tails.retain(["job199", "job1", "other"].into_iter());
    assert_eq!(tails.kept.len(), 1);
    assert!(tails.of("job199").is_some());
    assert_eq!(tails.size(), taken(&tails));
    assert!(tails.size() < 10_000);
}

#[test]
fn room_for_many_small_ones_does_not_stay_when_few_large_ones_come() {
    let mut tails = Tails::default();
    let nothing = printed(0, "");
    for number in 0..6000 {
        tails.add(&format!("small{number}"), run(number), &nothing, &nothing);
    }
    assert!(tails.kept.capacity() > 4096);
    let full = printed(OF_EACH, "");
    for number in 0..200 {
        tails.add(&format!("large{number}"), run(number), &full, &full);
    }
    assert!(tails.kept.len() > 120, "{}", tails.kept.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn all_of_them_together_stay_within_a_mebibyte(
        failures in prop::collection::vec((0..9_000_u32, 0..20_usize, any::<bool>()), 0..9_000),
        name in "[a-z]{1,40}",
    ) {
        let mut tails = Tails::default();
        let (nothing, much) = (printed(0, ""), printed(9000, ""));
        for (number, (job, kind, reload)) in (0..).zip(failures) {
            let both = [&nothing, if kind == 0 { &much } else { &nothing }];
            tails.add(&format!("{name}{job}"), run(number), both[0], both[1]);
            prop_assert_eq!(&*tails.kept.back().unwrap().job, &*format!("{name}{job}"));
            prop_assert!(tails.size() <= MOST, "{} after {number}", tails.size());
            if reload && kind == 1 && job < 9 {
                tails.retain([&*format!("{name}{job}")].into_iter());
            }
        }
        prop_assert_eq!(tails.size(), taken(&tails));
    }
}
