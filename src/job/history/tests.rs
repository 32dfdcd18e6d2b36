//! Past runs: which are kept, and in which order they come.

use std::time::{SystemTime, UNIX_EPOCH};

use super::*;
use crate::job::outcome::{Cause, Outcome};

fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + s(1_795_476_997 + seconds)
}

fn run(began: u64, code: i32) -> Run {
    let outcome = Outcome {
        code,
        cause: Cause::Exited,
    };
    let late = Duration::from_millis(300);
    Run::new(Stamp::at(at(began)), s(2), late, Brief::of(&outcome))
}

fn began(entries: &[Entry<'_>]) -> Vec<u64> {
    let times = entries.iter().map(|(_, run)| run.began.time().unwrap());
    times
        .map(|time| time.duration_since(at(0)).unwrap().as_secs())
        .collect()
}

#[test]
fn the_last_runs_come_oldest_first_each_once() {
    let mut history = History::new(2);
    for n in 0..30 {
        let place = (n % 2) as usize;
        let failed = i32::from(n % 4 == 0);
        history.add(Some(place), ["a", "b"][place], run(n, failed));
    }
    assert_eq!(began(&history.last(None, false, 3)), [27, 28, 29]);
    assert_eq!(began(&history.last(Some("a"), false, 2)), [26, 28]);
    assert_eq!(began(&history.last(None, true, 3)), [20, 24, 28]);
    assert_eq!(history.last(Some("b"), true, 9), []);
    assert_eq!(history.last(None, false, usize::MAX).len(), 30);
    assert_eq!(history.last(Some("c"), false, 9), []);
}

#[test]
fn a_busy_job_pushes_neither_a_rare_one_nor_its_own_failures_out() {
    let mut history = History::new(2);
    for n in 0..12 {
        history.add(Some(0), "rare", run(n, 0));
        history.add(Some(1), "busy", run(n, 1));
    }
    for n in 100..100 + 3 * RECENT as u64 {
        history.add(Some(1), "busy", run(n, 0));
    }
    let rare = history.last(Some("rare"), false, 99);
    assert_eq!(began(&rare), (2..12).collect::<Vec<_>>());
    let failed = history.last(Some("busy"), true, 99);
    assert_eq!(began(&failed), (2..12).collect::<Vec<_>>());
    let all = history.last(None, false, usize::MAX);
    assert_eq!(all.len(), RECENT + 20, "and the last runs of all");
}

#[test]
fn with_many_jobs_fewer_runs_of_each_are_kept() {
    for (jobs, expected) in [
        (0, 10),
        (5_000, 10),
        (5_001, 9),
        (25_000, 2),
        (50_000, 1),
        (50_001, 0),
        (1_000_000, 0),
    ] {
        assert_eq!(of_each(jobs), expected, "{jobs}");
    }
    let mut history = History::new(1_000_000);
    for n in 0..2_000 {
        history.add(Some(n as usize), &format!("job{n}"), run(n, 1));
    }
    assert_eq!(history.last(None, false, usize::MAX).len(), RECENT);
    assert!(history.own.is_empty());
}

#[test]
fn of_a_job_that_a_reload_removed_only_the_recent_runs_stay() {
    let mut history = History::new(2);
    history.add(Some(0), "gone", run(0, 1));
    history.add(Some(1), "stays", run(1, 1));
    history.moved(&[None, Some(1)], ["c", "b"]);
    history.add(None, "gone", run(2, 1));
    assert_eq!(began(&history.last(Some("gone"), false, 9)), [0, 2]);
    for n in 3..3 + RECENT as u64 {
        history.add(Some(0), "new", run(n, 0));
    }
    assert_eq!(history.last(Some("gone"), false, 9), []);
    assert_eq!(began(&history.last(Some("stays"), false, 9)), [1]);
    history.add(Some(1), "stays", run(4000, 0));
    assert_eq!(began(&history.last(Some("stays"), true, 9)), [1]);
    assert_eq!(history.last(Some("new"), false, 9999).len(), RECENT - 1);
}

#[test]
fn a_job_that_a_reload_brings_back_has_its_recent_runs_again_whatever_runs_then() {
    let mut history = History::new(2);
    for n in 0..30 {
        history.add(Some(0), "back", run(n, i32::from(n < 5)));
    }
    history.moved(&[Some(1)], ["stays"]);
    history.moved(&[Some(0), None, None], ["stays", "new", "back"]);
    for n in 100..100 + RECENT as u64 {
        history.add(Some(0), "stays", run(n, 0));
    }
    let back = history.last(Some("back"), false, 99);
    assert_eq!(began(&back), (0..5).chain(20..30).collect::<Vec<_>>());
    history.add(Some(2), "back", run(9000, 0));
    assert_eq!(began(&history.last(Some("back"), false, 2)), [29, 9000]);
}

#[test]
fn a_reload_to_many_jobs_keeps_the_last_of_what_was_kept() {
    let mut history = History::new(1);
    for n in 0..30 {
        history.add(Some(0), "a", run(n, 1));
    }
    for n in 100..100 + RECENT as u64 {
        history.add(None, "gone", run(n, 0));
    }
    let mut from = vec![None; 25_000];
    from[7] = Some(0);
    history.moved(&from, []);
    assert_eq!(began(&history.last(Some("a"), false, 99)), [28, 29]);
    history.add(Some(7), "a", run(5000, 0));
    assert_eq!(began(&history.last(Some("a"), false, 99)), [28, 29, 5000]);
    assert_eq!(began(&history.last(Some("a"), true, 99)), [28, 29]);
    history.moved(&vec![None; 60_000], []);
    history.moved(&[None], []);
    history.add(Some(0), "b", run(6000, 0));
    assert_eq!(began(&history.last(Some("b"), false, 99)), [6000]);
}

#[test]
fn room_grows_to_what_will_be_kept_and_not_beyond() {
    let mut history = History::new(1);
    for n in 0..40 {
        history.add(Some(0), "a", run(n, 1));
        let own = history.own[0].as_ref().unwrap();
        assert!(own.runs.capacity() <= OF_EACH && own.failures.capacity() <= OF_EACH);
    }
}

#[test]
fn a_run_that_the_stop_of_the_daemon_interrupted_has_not_failed() {
    let mut history = History::new(1);
    let cause = Cause::Shutdown { forced: false };
    let outcome = Brief::of(&Outcome { code: 143, cause });
    let interrupted = Run::new(Stamp::at(at(0)), s(1), s(0), outcome);
    history.add(Some(0), "a", interrupted);
    assert_eq!(history.last(None, true, 9), []);
    assert_eq!(history.last(None, false, 9).len(), 1);
}
