//! Which job runs when. Delays are short. A test judges only a delay's lower bound, or what the log says of it.

use crate::at_once;
use crate::common::socket::SOCKET;
use crate::common::{ALONE, Place, Signal, job, ran, scheduled, wait_for};

/// A delay that the log tells: what is left of `whole` when the line is written, a moment after it began.
fn is_about(delay: f64, whole: f64) -> bool {
    delay <= whole && delay > whole - 0.2
}

pub fn delays_are_kept() {
    at_once!(
        the_delay_counts_from_the_end_of_a_run,
        a_command_that_cannot_be_started_does_not_spin_even_with_mindelay_0,
        the_first_run_waits_for_startdelay_and_otherwise_for_mindelay,
        jobs_that_became_due_while_another_ran_run_in_due_order_and_once
    );
}

#[test]
fn the_job_that_is_due_first_runs_first() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}{}",
        job("c", "command: true\nmindelay: 60\nstartdelay: 0.15"),
        job("a", "command: true\nmindelay: 60\nstartdelay: 0.05"),
        job("b", "command: true\nmindelay: 60\nstartdelay: 0.1"),
    ));
    daemon.wait_for_log_times("completed", 3);
    assert_eq!(ran(&daemon.messages()), ["a", "b", "c"]);
}

#[test]
fn jobs_due_at_once_run_in_the_order_of_the_file() {
    let place = Place::new();
    let names = ["zebra", "ape", "mole", "Zebra", "1st"];
    let jobs = names.map(|name| job(name, "command: true\nmindelay: 60\nstartdelay: 0"));
    let daemon = place.daemon(&format!("{ALONE}{}", jobs.concat()));
    daemon.wait_for_log_times("completed", names.len());
    assert_eq!(ran(&daemon.messages()), names);
}

fn jobs_that_became_due_while_another_ran_run_in_due_order_and_once() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}{}",
        job(
            "late",
            "command: true\nmindelay: 60\nstartdelay: 0.1\nstuckafter: 0"
        ),
        job("later", "command: true\nmindelay: 0.02\nstartdelay: 0.11"),
        job("long", "command: sleep 0.4\nmindelay: 60\nstartdelay: 0.05"),
    ));
    daemon.wait_for_log_times("Running later", 2);
    let messages = daemon.messages();
    assert_eq!(ran(&messages)[..4], ["long", "late", "later", "later"]);
    // It was late for many of its delays; still the next counts from its end.
    let after_first_later = scheduled(&messages)[3];
    assert_eq!(after_first_later.0, "later");
    assert!(is_about(after_first_later.1, 0.02), "{messages:#?}");
}

fn the_delay_counts_from_the_end_of_a_run() {
    let place = Place::new();
    place.script(
        "job",
        "echo begin $(date +%s%N) >>{dir}/times; sleep 0.3; echo end $(date +%s%N) >>{dir}/times",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: ./job\nmindelay: 0.25\nstartdelay: 0")
    ));
    let lines = place.wait_for_lines("times", 5);
    let times: Vec<(&str, u64)> = lines
        .iter()
        .map(|line| line.split_once(' ').unwrap())
        .map(|(what, at)| (what, at.parse().unwrap()))
        .collect();
    for pair in times[1..5].chunks(2) {
        assert_eq!((pair[0].0, pair[1].0), ("end", "begin"), "{lines:?}");
        assert!(pair[1].1 - pair[0].1 >= 250_000_000, "{lines:?}");
    }
    let messages = daemon.messages();
    let (_, delay) = scheduled(&messages)[1];
    assert!(is_about(delay, 0.25), "{messages:#?}");
}

fn the_first_run_waits_for_startdelay_and_otherwise_for_mindelay() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}{}",
        job("plain", "command: true\nmindelay: 60"),
        job("soon", "command: true\nmindelay: 3600\nstartdelay: 0.1"),
        job("never", "command: true\nmindelay: 3600"),
    ));
    daemon.wait_for_log_times("Scheduling", 2);
    let messages = daemon.messages();
    let next = scheduled(&messages);
    assert_eq!(next[0].0, "soon");
    assert!(next[0].1 <= 0.1, "{messages:#?}");
    assert_eq!(next[1].0, "plain");
    assert!(next[1].1 > 0.0 && next[1].1 <= 59.9, "{messages:#?}");
}

#[test]
fn a_startdelay_of_0_is_at_once_and_the_log_pads_as_python_does() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: true\nmindelay: 90000\nstartdelay: 0")
    ));
    daemon.wait_for_log_times("Scheduling a", 2);
    let messages = daemon.messages();
    assert_eq!(
        messages[messages.len() - 4..],
        [
            "Scheduling a for      0 seconds time",
            "Running a",
            "Job a completed with exit code 0",
            "Scheduling a for  9e+04 seconds time",
        ]
    );
}

#[test]
fn failures_in_a_row_wait_longer_and_a_success_resets() {
    let place = Place::new();
    place.script(
        "job",
        "echo run >>{dir}/runs; test $(wc -l <{dir}/runs) -ge 5",
    );
    let daemon = place.listening(&format!(
        "{SOCKET}{}",
        job(
            "a",
            "command: ./job\nmindelay: 1000\nstartdelay: 1000\nmaxdelay: 5000"
        )
    ));
    // None is waited for: each is asked for, and ends like any other.
    for run in 1..=5 {
        place.ask("run --wait a");
        daemon.wait_for_log_times("Scheduling a for", run + 1);
    }
    let messages = daemon.messages();
    let delays: Vec<f64> = scheduled(&messages).iter().map(|next| next.1).collect();
    // Doubled, but not beyond maxdelay.
    assert_eq!(delays[1..], [1000.0, 2000.0, 4000.0, 5000.0, 1000.0]);
}

#[test]
fn without_maxdelay_a_failure_waits_as_long_as_a_success() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: false\nmindelay: 0.05\nstartdelay: 0")
    ));
    daemon.wait_for_log_times("Scheduling a", 4);
    let messages = daemon.messages();
    for (_, delay) in &scheduled(&messages)[1..] {
        assert!(is_about(*delay, 0.05), "{messages:#?}");
    }
}

#[test]
fn never_do_two_jobs_run_at_once() {
    let place = Place::new();
    place.script(
        "job",
        "mkdir {dir}/busy || echo overlap >>{dir}/overlaps\necho run >>{dir}/runs\nrmdir {dir}/busy",
    );
    let jobs = ["a", "b", "c", "d"].map(|name| job(name, "command: ./job\nmindelay: 0"));
    let daemon = place.daemon(&format!("{ALONE}{}", jobs.concat()));
    place.wait_for_lines("runs", 60);
    daemon.stop();
    assert_eq!(place.read("overlaps"), "");
}

#[test]
fn with_mindelay_0_jobs_take_turns() {
    let place = Place::new();
    let jobs = ["a", "b", "c"].map(|name| job(name, "command: true\nmindelay: 0"));
    let daemon = place.daemon(&format!("{ALONE}{}", jobs.concat()));
    daemon.wait_for_log_times("Running", 30);
    let messages = daemon.messages();
    for turn in ran(&messages)[..30].chunks(3) {
        assert_eq!(turn, ["a", "b", "c"], "{messages:#?}");
    }
}

/// A failing start is over at once, so nothing else would hold the loop back.
fn a_command_that_cannot_be_started_does_not_spin_even_with_mindelay_0() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("gone", "command: ./not-there\nmindelay: 0\nstartdelay: 0"),
    ));
    daemon.wait_for_log_times("Scheduling gone", 3);
    let messages = daemon.messages();
    for (_, delay) in &scheduled(&messages)[1..] {
        assert!(is_about(*delay, 1.0), "{messages:#?}");
    }
}

#[test]
fn the_next_job_is_logged_at_start_after_every_run_and_when_it_changes() {
    let place = Place::new();
    let first = job("a", "command: true\nmindelay: 60\nstartdelay: 0");
    let second = job("b", "command: true\nmindelay: 50");
    let daemon = place.daemon(&format!("{ALONE}{first}{second}"));
    daemon.wait_for_log("Scheduling b");
    // The same again is no news; a job that is due before the chosen one is.
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("nothing has changed");
    let third = job("c", "command: true\nmindelay: 40");
    place.write("conf", &format!("{ALONE}{first}{second}{third}"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Scheduling c");
    let messages = daemon.messages();
    let told: Vec<&str> = scheduled(&messages).iter().map(|(name, _)| *name).collect();
    assert_eq!(told, ["a", "b", "c"], "{messages:#?}");
    // And when the chosen one goes.
    place.write("conf", &format!("{ALONE}{first}{second}"));
    daemon.signal(Signal::SIGHUP);
    wait_for("the second choice of b", || {
        let messages = daemon.messages();
        let last = scheduled(&messages)
            .last()
            .map(|(name, _)| name.to_string());
        (last.as_deref() == Some("b")).then_some(())
    });
}
