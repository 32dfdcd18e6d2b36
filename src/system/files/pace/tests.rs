//! Tests of `pace`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use proptest::prelude::*;

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

const NOTHING: Upcoming = Upcoming {
    next: None,
    after_end: None,
};

fn due(next: Instant) -> Upcoming {
    Upcoming {
        next: Some(next),
        after_end: None,
    }
}

/// A file whose last write took `took` and ended at `t0`. It has been out of date since.
fn behind(t0: Instant, took: Duration) -> Pace {
    let mut pace = Pace::default();
    pace.wrote(t0 - took, t0, true);
    pace.touch(t0);
    pace
}

/// An instant with time before it.
fn t0() -> Instant {
    Instant::now() + Duration::from_secs(3600)
}

#[test]
fn a_file_that_is_up_to_date_is_not_written() {
    let t0 = t0();
    let mut pace = Pace::default();
    assert_eq!(pace.deadline(t0, &NOTHING), None);
    assert!(!pace.allows(t0) && !pace.is_behind());
    pace.touch(t0);
    pace.wrote(t0, t0, true);
    assert_eq!(pace.deadline(t0 + ms(60_000), &NOTHING), None);
    assert!(!pace.allows(t0 + ms(60_000)) && !pace.is_behind());
}

#[test]
fn the_first_write_waits_for_nothing() {
    let t0 = t0();
    let mut pace = Pace::default();
    pace.touch(t0);
    assert_eq!(pace.deadline(t0, &due(t0)), Some(t0));
    assert!(pace.allows(t0));
}

#[test]
fn there_is_a_second_between_the_end_of_a_write_and_the_next() {
    let t0 = t0();
    let mut pace = behind(t0, ms(3));
    assert_eq!(pace.deadline(t0, &NOTHING), Some(t0 + ms(1000)));
    assert!(!pace.allows(t0 + ms(999)));
    assert!(pace.allows(t0 + ms(1000)));
    // A change that comes later than that is written at once.
    pace.wrote(t0, t0, true);
    pace.touch(t0 + ms(1500));
    pace.touch(t0 + ms(1700));
    assert_eq!(pace.deadline(t0 + ms(1700), &NOTHING), Some(t0 + ms(1500)));
}

#[test]
fn a_slow_write_is_followed_by_twenty_times_as_long_without_one() {
    let t0 = t0();
    for (took, rest) in [(50, 1000), (51, 1020), (300, 6000), (5000, 100_000)] {
        let pace = behind(t0, ms(took));
        assert_eq!(pace.deadline(t0, &NOTHING), Some(t0 + ms(rest)), "{took}");
        assert!(!pace.allows(t0 + ms(rest - 1)) && pace.allows(t0 + ms(rest)));
    }
}

#[test]
fn a_write_that_failed_is_tried_again_as_if_it_had_not() {
    let t0 = t0();
    // This holds even if nothing else has changed.
    for touched in [true, false] {
        let mut pace = Pace::default();
        if touched {
            pace.touch(t0);
        }
        pace.wrote(t0, t0 + ms(100), false);
        assert!(pace.is_behind());
        assert_eq!(pace.deadline(t0, &NOTHING), Some(t0 + ms(2100)));
    }
}

#[test]
fn a_write_makes_way_for_what_is_due_before_its_end() {
    let t0 = t0();
    let pace = behind(t0, ms(300));
    let earliest = t0 + ms(6000);
    // The write may take 610 ms.
    for (due_at, written_at) in [
        (6000, 16_000),
        (6610, 16_000),
        (6611, 6000),
        (60_000, 6000),
        // What is due before that may still be running: nobody knows yet what comes after it.
        (100, 16_000),
    ] {
        let upcoming = due(t0 + ms(due_at));
        for now in [t0, earliest] {
            let at = pace.deadline(now, &upcoming);
            assert_eq!(at, Some(t0 + ms(written_at)), "due after {due_at}");
        }
    }
    // The later it is, the more is due.
    let later = earliest + ms(2000);
    for (due_at, written_at) in [(8610, 16_000), (8611, 6000)] {
        let at = pace.deadline(later, &due(t0 + ms(due_at)));
        assert_eq!(at, Some(t0 + ms(written_at)), "due after {due_at}");
    }
    // Whatever is due: when a job has just started, the write waits only for its rest.
    assert!(pace.allows(earliest));
}

#[test]
fn a_write_during_a_run_makes_way_for_what_its_end_lets_start() {
    let t0 = t0();
    let pace = behind(t0, ms(300));
    let running = |next, after_end| Upcoming {
        next,
        after_end: Some(ms(after_end)),
    };
    let at = |upcoming: Upcoming| pace.deadline(t0, &upcoming).unwrap() - t0;
    assert_eq!(at(running(None, 0)), ms(16_000), "the job itself, at once");
    assert_eq!(at(running(None, 610)), ms(16_000));
    assert_eq!(at(running(None, 611)), ms(6000));
    let waits = Some(t0 - ms(5));
    assert_eq!(at(running(waits, 60_000)), ms(16_000), "one that waits");
    assert_eq!(at(running(Some(t0 + ms(60_000)), 60_000)), ms(6000));
}

#[test]
fn one_quick_write_does_not_make_a_slow_disk_a_quick_one() {
    let t0 = t0();
    let mut pace = behind(t0, ms(300));
    pace.wrote(t0, t0 + ms(1), true);
    pace.touch(t0);
    let earliest = t0 + ms(1001);
    let at = |next| pace.deadline(t0, &due(next)).unwrap();
    assert_eq!(at(earliest + ms(310)), earliest + LATENESS);
    assert_eq!(at(earliest + ms(311)), earliest);
    // It is written in time all the same.
    for _ in 0..10 {
        pace.wrote(t0, t0 + ms(1), true);
    }
    pace.touch(t0);
    let at = |next| pace.deadline(t0, &due(next)).unwrap();
    assert_eq!(at(earliest + ms(13)), earliest);
}

/// A lane that starts things, and the writes beside it. Times are milliseconds.
#[derive(Debug, Default)]
struct Lane {
    writes: Vec<(u64, u64)>,
    /// When each change was made and when the write began that holds it.
    waited: Vec<u64>,
    delayed: u64,
}

/// Each thing that is started takes the first time and is due again the second time after its end. `takes` are the
/// times of the writes, in order.
fn simulate(runs: &[(u64, u64)], takes: &[u64], end: u64) -> Lane {
    let t0 = t0();
    let mut pace = Pace::default();
    let mut lane = Lane::default();
    let (mut now, mut next, mut ends) = (0, 0, None);
    let mut changed = Some(0);
    let mut number = 0;
    pace.touch(t0);
    while now < end {
        let mut started = false;
        if ends.is_some_and(|at| at <= now) {
            ends = None;
            next = now + runs[number % runs.len()].1;
            number += 1;
            pace.touch(t0 + ms(now));
            changed.get_or_insert(now);
        }
        if ends.is_none() && next <= now {
            lane.delayed += now - next;
            ends = Some(now + runs[number % runs.len()].0);
            started = true;
            pace.touch(t0 + ms(now));
            changed.get_or_insert(now);
        }
        let upcoming = Upcoming {
            next: ends.is_none().then_some(t0 + ms(next)),
            after_end: ends.map(|_| ms(runs[number % runs.len()].1)),
        };
        let at = t0 + ms(now);
        let deadline = pace.deadline(at, &upcoming);
        if deadline.is_some_and(|due| due <= at) || (started && pace.allows(at)) {
            let took = takes[lane.writes.len() % takes.len()];
            lane.writes.push((now, took));
            lane.waited.extend(changed.take().map(|since| now - since));
            now += took;
            pace.wrote(at, t0 + ms(now), true);
            continue;
        }
        let wakes = [
            Some(ends.unwrap_or(next)),
            deadline.map(|due| (due - t0).as_millis().try_into().unwrap()),
        ];
        let wake = wakes.into_iter().flatten().min().unwrap();
        assert!(wake > now, "it would spin");
        now = wake;
    }
    lane
}

#[test]
fn on_a_slow_disk_runs_that_are_longer_than_a_write_start_in_time() {
    for runs in [
        &[(400, 0)][..],
        &[(400, 100)],
        &[(1, 5000)],
        &[(700, 0), (350, 20)],
    ] {
        let lane = simulate(runs, &[300], 600_000);
        assert_eq!(lane.delayed, 0, "{runs:?}");
        assert!(lane.writes.len() > 50, "{runs:?}: {lane:?}");
    }
}

proptest! {
    /// However long runs and writes take, the file is written, not too late, and not too often.
    #[test]
    fn writes_are_rare_enough_and_never_put_off_for_good(
        // At the end of a run of no time the simulation's clock would stand still.
        runs in prop::collection::vec((1_u64..20_000, 0_u64..20_000), 1..8),
        takes in prop::collection::vec(0_u64..2000, 1..8),
    ) {
        let end = 600_000;
        let lane = simulate(&runs, &takes, end);
        for pair in lane.writes.windows(2) {
            let (ended, begins) = (pair[0].0 + pair[0].1, pair[1].0);
            prop_assert!(begins >= ended + (20 * pair[0].1).max(1000));
        }
        let rest = |(_, took): &(u64, u64)| (20 * took).max(1000);
        let mut most = 0;
        for (waited, write) in lane.waited.iter().zip(&lane.writes) {
            prop_assert!(*waited <= most + 10_000, "{:?}", lane);
            most = rest(write) + write.1;
        }
        let busy: u64 = lane.writes.iter().map(|(_, took)| took).sum();
        prop_assert!(busy <= end / 20 + 2000);
    }
}
