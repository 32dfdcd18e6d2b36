//! What signals do: reload, stop, drain, and what the log says last.

use std::time::{Duration, Instant};

use crate::at_once;
use crate::common::{
    ALONE, Daemon, LIMIT, Place, Signal, Within, is_running, job, messages, once, place_of, ran,
    scheduled, tick, wait_for, wait_for_own_group,
};
use nix::sys::signal::{SigSet, kill};

const RELOADING: &str = "Received SIGHUP, reloading configuration.";

/// Waits for so many more of `text` in the log.
#[track_caller]
fn wait_for_more(daemon: &Daemon<'_>, text: &str, count: usize) {
    let before = daemon.log().matches(text).count();
    daemon.wait_for_log_times(text, before + count);
}

/// Puts a configuration in place and has it read; what the log says of it from the reload on.
#[track_caller]
fn reload(place: &Place, daemon: &Daemon<'_>, config: &str) -> Vec<String> {
    let before = daemon.messages().len();
    place.write("conf", config);
    daemon.signal(Signal::SIGHUP);
    wait_for("the reload's end", || {
        let new = daemon.messages().split_off(before);
        let at = new.iter().position(|message| message == RELOADING)?;
        // It is told within one turn, and written at its end.
        (new.len() > at + 1).then(|| new[at..].to_vec())
    })
}

/// Signals the daemon while its gated job runs, lets that end by itself, and waits for the daemon's end; the log.
#[track_caller]
fn end_gently(place: &Place, daemon: &Daemon<'_>, signal: Signal) -> String {
    place.wait_for_begin();
    daemon.signal(signal);
    daemon.wait_for_log(&format!("Received {}", signal.as_str()));
    place.let_go();
    assert_eq!(daemon.wait().code(), Some(0));
    daemon.log()
}

/// The last messages of a log.
fn closing(log: &str, count: usize) -> Vec<String> {
    let mut messages = messages(log);
    messages.split_off(messages.len() - count)
}

pub fn stops_that_take_their_time() {
    at_once!(
        all_is_over_in_nine_seconds_with_the_defaults,
        term_after_quit_gives_hanging_mail_three_seconds,
        a_changed_mindelay_counts_from_the_last_end,
        at_the_end_a_process_that_left_the_group_holds_up_for_half_a_second_only,
        after_stopdelay_the_job_is_stopped,
        an_unchanged_job_keeps_its_due_time_however_often_the_file_is_read
    );
}

#[test]
fn a_reload_says_what_was_added_removed_and_changed() {
    let place = Place::new();
    let changed = |mindelay: &str| job("changed", &format!("command: true\nmindelay: {mindelay}"));
    let calm = |name: &str| job(name, "command: true\nmindelay: 3600");
    let daemon = place.daemon(&format!(
        "{ALONE}stopdelay: 5\n{}{}{}",
        changed("1h"),
        calm("same"),
        calm("removed"),
    ));
    daemon.wait_for_log("Scheduling");
    let said = reload(
        &place,
        &daemon,
        &format!(
            "{ALONE}stopdelay: 1m\nmailproblemsto: - ops@example.com\n{}{}{}",
            changed("30m"),
            calm("same"),
            calm("added"),
        ),
    );
    let all = said.join("\n");
    assert_eq!(said[0], RELOADING);
    let line = |start: &str| said[place_of(&said, start)].as_str();
    let targets = place_of(&said, "Mailer targets set to:");
    assert_eq!(
        said[targets + 1..targets + 3],
        ["   ... -", "   ... ops@example.com"]
    );
    assert!(line("Changed stopdelay").ends_with("5 -> 60"), "{all}");
    assert!(
        line("Changed job changed").ends_with("mindelay 3600 -> 1800"),
        "{all}"
    );
    assert_eq!(line("Added job added"), "Added job added");
    assert_eq!(line("Removed job removed"), "Removed job removed");
    assert!(!all.contains("same"), "{all}");
    daemon.stop();
}

#[test]
fn a_file_with_errors_changes_nothing_and_each_error_is_logged() {
    let place = Place::new();
    let daemon = place.daemon(&format!("{ALONE}{}", tick()));
    daemon.wait_for_log("Running tick");
    let broken = "[buildsequencer]\nlogsiez: 5\n[buildsequencer_job.tick]\ncommand: false\nmindelay: soon\n\
                  [buildsequencer_job.new]\nmindelay: 1\n";
    let said = reload(&place, &daemon, broken);
    for fault in ["conf:2: ", "conf:5: ", "conf:6: "] {
        place_of(&said, fault);
    }
    assert!(
        said[place_of(&said, "conf:2: ")].contains("logsize"),
        "{said:#?}"
    );
    wait_for_more(&daemon, "Job tick completed with exit code 0\n", 2);
    // The same where there is no file at all.
    std::fs::remove_file(place.path("conf")).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("No such file or directory");
    wait_for_more(&daemon, "Job tick completed with exit code 0\n", 2);
    // And the next sound one is taken.
    let said = reload(
        &place,
        &daemon,
        &format!("{ALONE}{}{}", tick(), once("new", "true")),
    );
    place_of(&said, "Added job new");
    daemon.wait_for_log("Job new completed with exit code 0");
    // Its command has not become the one that was refused. At the stop a run may be under way.
    assert!(!daemon.stop().contains("exit code 1\n"));
}

/// The parent has SIGHUP blocked and it is pending before the daemon's first instruction; nothing loses it.
#[test]
fn a_hangup_that_is_there_before_the_daemon_reloads_when_the_start_is_complete() {
    for _ in 0..6 {
        let place = Place::new();
        let mut blocked = SigSet::empty();
        blocked.add(Signal::SIGHUP);
        let daemon = place.daemon_with_blocked(blocked, &format!("{ALONE}{}", tick()));
        daemon.signal(Signal::SIGHUP);
        let log = daemon.wait_for_log(RELOADING);
        assert!(log.find("Loaded.") < log.find(RELOADING), "{log}");
        daemon.stop();
    }
}

/// A daemon that has read its configuration, which shows that `main` has begun, and that has much of it to look
/// through before its start is complete. Nobody has blocked or ignored a signal here.
fn one_that_starts(place: &Place) -> Daemon<'_> {
    let ignored = "key: value\n".repeat(500_000);
    let daemon = place.daemon(&format!("[another.program]\n{ignored}{ALONE}{}", tick()));
    let counters = format!("/proc/{}/io", daemon.pid());
    wait_for("a file that has been read", || {
        let text = std::fs::read_to_string(&counters).unwrap_or_default();
        let read = text.lines().find_map(|line| line.strip_prefix("rchar: "))?;
        (read.parse::<usize>().unwrap() >= ignored.len()).then_some(())
    });
    daemon
}

#[test]
fn a_signal_to_stop_during_the_start_is_a_clean_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        // On a busy machine the signal may come when the start is over.
        let stops_in_time = |_| {
            let place = Place::new();
            let daemon = one_that_starts(&place);
            daemon.signal(signal);
            assert_eq!(daemon.wait().code(), Some(0), "{signal}");
            daemon.log().is_empty()
        };
        assert!((0..20).any(stops_in_time), "{signal}");
    }
}

#[test]
fn a_hangup_during_the_start_kills_nobody_and_reloads_afterwards() {
    let place = Place::new();
    let daemon = one_that_starts(&place);
    daemon.signal(Signal::SIGHUP);
    let log = daemon.wait_for_log(RELOADING);
    assert!(log.find("Loaded.") < log.find(RELOADING), "{log}");
    wait_for_more(&daemon, "Running tick", 2);
    daemon.stop();
}

#[test]
fn a_signal_that_asks_for_something_harms_no_start() {
    for signal in [Signal::SIGUSR1, Signal::SIGUSR2] {
        let place = Place::new();
        let daemon = one_that_starts(&place);
        daemon.signal(signal);
        daemon.wait_for_log("Running tick");
        daemon.stop();
    }
}

/// Until `main` begins the signal's fate is the parent's choice, here to ignore it; from then on it is ours.
#[test]
fn a_storm_of_hangups_from_the_first_moment_on_kills_nobody() {
    for _ in 0..8 {
        let place = Place::new();
        let daemon = place.daemon_after(
            "trap '' HUP; echo >ready",
            &format!("{ALONE}{}", tick()),
            |_| {},
        );
        crate::common::wait_for_file(&place.path("ready"));
        wait_for("the first run", || {
            daemon.signal(Signal::SIGHUP);
            daemon
                .log()
                .contains("Job tick completed with exit code 0")
                .then_some(())
        });
        daemon.stop();
    }
}

#[test]
fn hangups_at_once_are_one_or_two_reloads() {
    let place = Place::new();
    let daemon = place.daemon(&format!("{ALONE}{}", tick()));
    daemon.wait_for_log("Running tick");
    for _ in 0..2 {
        daemon.signal(Signal::SIGHUP);
    }
    wait_for_more(&daemon, "Running tick", 2);
    let log = daemon.stop();
    assert!((1..=2).contains(&log.matches(RELOADING).count()), "{log}");
}

#[test]
fn a_running_job_ends_under_its_old_definition_and_waits_under_its_new_one() {
    let place = Place::new();
    place.gated("old", "exit 3");
    let daemon = place.daemon(&format!("{ALONE}{}", once("a", "./old")));
    place.wait_for_begin();
    let new = job(
        "a",
        "command: true\nmindelay: 0.05\ntimeout: 0.01\nkilldelay: 0\nalwayslog: yes\nmailproblemsto: x@example.com",
    );
    reload(&place, &daemon, &format!("{ALONE}{new}"));
    // The new timeout would have had its turn by now.
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("nothing has changed");
    place.let_go();
    daemon.wait_for_log("Running a\n");
    daemon.wait_for_log_times("completed", 2);
    let messages = daemon.messages();
    let end = place_of(&messages, "Job a completed with exit code 3");
    assert_eq!(messages[end], "Job a completed with exit code 3");
    let after = &messages[end..];
    place_of(after, "\tCommand: ./old");
    assert!(
        place_of(after, "\tTo: -") < place_of(after, "Scheduling a"),
        "{messages:#?}"
    );
    assert!(
        !messages[..end + 2].iter().any(|m| m == "Job output was:"),
        "{messages:#?}"
    );
    let (_, delay) = scheduled(after)[0];
    assert!(delay <= 0.05, "{messages:#?}");
}

#[test]
fn a_job_that_is_removed_while_it_runs_finishes_and_is_reported() {
    let place = Place::new();
    place.gated("job", "exit 3");
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: ./job\nmindelay: 0\nstartdelay: 0")
    ));
    place.wait_for_begin();
    let said = reload(&place, &daemon, &format!("{ALONE}{}", tick()));
    place_of(&said, "Removed job a");
    place.let_go();
    daemon.wait_for_log("Job a completed with exit code 3\n");
    wait_for_more(&daemon, "Running tick", 3);
    let log = daemon.stop();
    assert!(
        log.contains("\tSubject: Job a exited with code 3\n"),
        "{log}"
    );
    assert_eq!(log.matches("Running a\n").count(), 1, "{log}");
}

#[test]
fn a_job_may_have_its_own_configuration_read_again() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job(
            "a",
            "command: sh -c 'kill -HUP $PPID'\nmindelay: 0.02\nstartdelay: 0"
        )
    ));
    daemon.wait_for_log_times(RELOADING, 5);
    daemon.wait_for_log_times("Job a completed with exit code 0\n", 5);
    daemon.stop();
}

fn a_changed_mindelay_counts_from_the_last_end() {
    let place = Place::new();
    let a = |mindelay: &str| {
        job(
            "a",
            &format!("command: true\nmindelay: {mindelay}\nstartdelay: 0"),
        )
    };
    let daemon = place.daemon(&format!("{ALONE}{}{}", a("3600"), tick()));
    daemon.wait_for_log("Job a completed");
    // Half a second and more has gone since then: with 0.5 it is due at once, with 3600 not for long.
    let half = Instant::now() + Duration::from_millis(500);
    wait_for("half a second of runs", || {
        (Instant::now() >= half).then_some(())
    });
    reload(&place, &daemon, &format!("{ALONE}{}{}", a("0.5"), tick()));
    daemon.wait_for_log_times("Running a", 2);
    let messages = daemon.messages();
    let reloaded = place_of(&messages, RELOADING);
    let runs = ran(&messages[reloaded..]);
    let ticks_before = runs.iter().take_while(|name| **name == "tick").count();
    assert!(ticks_before <= 2, "{messages:#?}");
    reload(&place, &daemon, &format!("{ALONE}{}{}", a("3600"), tick()));
    let runs = daemon.log().matches("Running a\n").count();
    wait_for_more(&daemon, "Running tick", 12);
    let log = daemon.stop();
    assert_eq!(log.matches("Running a\n").count(), runs, "{log}");
}

fn an_unchanged_job_keeps_its_due_time_however_often_the_file_is_read() {
    let place = Place::new();
    let a = job("a", "command: true\nmindelay: 3600\nstartdelay: 10");
    let other = |mindelay: usize| job("b", &format!("command: true\nmindelay: {mindelay}"));
    let daemon = place.daemon(&format!("{ALONE}{a}{}", other(3600)));
    daemon.wait_for_log("Scheduling a");
    // How many more than two fit into ten seconds is the machine's affair.
    let too_late = Instant::now() + LIMIT;
    let mut reloads = 0;
    while !daemon.log().contains("Running a") {
        reloads += 1;
        assert!(Instant::now() < too_late, "it never runs: {}", daemon.log());
        reload(
            &place,
            &daemon,
            &format!("{ALONE}{}{a}", other(3600 + reloads)),
        );
    }
    assert!(reloads > 2, "{reloads}");
    daemon.stop();
}

#[test]
fn a_new_job_is_due_its_startdelay_from_the_reload() {
    let place = Place::new();
    let calm = job("calm", "command: true\nmindelay: 3600");
    let daemon = place.daemon(&format!("{ALONE}{calm}"));
    daemon.wait_for_log("Scheduling");
    let new = job("new", "command: true\nmindelay: 1000\nstartdelay: 30");
    reload(&place, &daemon, &format!("{ALONE}{calm}{new}"));
    daemon.wait_for_log_times("Scheduling", 2);
    let messages = daemon.messages();
    let (name, delay) = scheduled(&messages)[1];
    assert!(
        name == "new" && delay > 10.0 && delay <= 30.0,
        "{messages:#?}"
    );
}

#[test]
fn a_hangup_during_the_stop_changes_nothing_about_it() {
    let place = Place::new();
    place.gated("job", "");
    let a = once("a", "./job");
    let daemon = place.daemon(&format!("{ALONE}stopdelay: 60\n{a}"));
    place.wait_for_begin();
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log("shutting down.");
    place.write("conf", &format!("{ALONE}{a}{}", once("b", "true")));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log(RELOADING);
    place.let_go();
    assert_eq!(daemon.wait().code(), Some(0));
    let log = daemon.log();
    assert!(
        log.contains("Job a completed with exit code 0\n") && !log.contains("job b"),
        "{log}"
    );
}

#[test]
fn term_and_int_stop_an_idle_daemon() {
    for (signal, name) in [(Signal::SIGTERM, "SIGTERM"), (Signal::SIGINT, "SIGINT")] {
        let place = Place::new();
        let daemon = place.daemon(&format!(
            "{ALONE}{}",
            job("a", "command: true\nmindelay: 3600")
        ));
        daemon.wait_for_log("Scheduling");
        let log = daemon.stop_with(signal);
        assert_eq!(
            closing(&log, 3),
            [
                "Scheduling a for 3.6e+03 seconds time".to_string(),
                format!("Received {name}, shutting down."),
                "Main loop terminated.".to_string(),
            ]
        );
    }
}

#[test]
fn a_term_that_is_there_before_the_daemon_stops_it_cleanly() {
    let place = Place::new();
    let mut blocked = SigSet::empty();
    blocked.add(Signal::SIGTERM);
    let daemon = place.daemon_with_blocked(blocked, &format!("{ALONE}{}", tick()));
    let log = daemon.stop();
    assert_eq!(closing(&log, 1), ["Main loop terminated."]);
}

/// A run that only our SIGTERM ended says nothing about the job, so there is no report.
#[test]
fn term_stops_the_running_job_and_starts_no_other() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script("job", "echo begun >{dir}/begun; sleep 60");
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: - ops@example.com\n{sendmail}\n{}{}",
        once("a", "./job"),
        once("b", "true"),
    ));
    place.wait_for_begin();
    let log = daemon.stop();
    assert_eq!(
        closing(&log, 4),
        [
            "Running a",
            "Received SIGTERM, shutting down.",
            "Job a completed with exit code 143 (stopped at shutdown)",
            "Main loop terminated.",
        ]
    );
    assert_eq!(place.mails().len(), 0);
}

#[test]
fn a_job_that_had_to_be_killed_at_the_end_is_reported() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script(
        "job",
        "trap '' TERM; echo begun >{dir}/begun; sleep 60 & echo $! >{dir}/pid; wait",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: ops@example.com\n{sendmail}\n{}killdelay: 0.3\n",
        once("a", "./job"),
    ));
    place.wait_for_lines("pid", 1);
    let log = daemon.stop();
    assert!(!log.contains("Subject"), "{log}");
    assert_eq!(
        closing(&log, 4),
        [
            "Received SIGTERM, shutting down.",
            "Job a completed with exit code 137 (stopped at shutdown)",
            "Mailing report to: ops@example.com",
            "Main loop terminated.",
        ]
    );
    let mails = place.mails();
    assert_eq!(mails.len(), 1);
    assert_eq!(
        mails[0].header("Subject"),
        "Job a exited with code 137 (stopped at shutdown)"
    );
    assert!(!is_running(place.read("pid").trim().parse().unwrap()));
}

#[test]
fn a_second_term_or_int_kills_the_job_and_logs_what_is_queued() {
    for (first, second) in [
        (Signal::SIGTERM, Signal::SIGTERM),
        (Signal::SIGINT, Signal::SIGTERM),
        (Signal::SIGTERM, Signal::SIGINT),
    ] {
        let place = Place::new();
        place.script("hanging", "exec sleep 60");
        place.script(
            "job",
            "trap '' TERM INT; echo begun >{dir}/begun; sleep 60 & echo $! >{dir}/pid; wait",
        );
        let daemon = place.daemon(&format!(
            "{ALONE}mailproblemsto: ops@example.com\nsendmail: ./hanging\n{}{}killdelay: 600\n",
            once("failure", "false"),
            once("a", "./job"),
        ));
        place.wait_for_lines("pid", 1);
        daemon.signal(first);
        daemon.wait_for_log("shutting down.");
        // Mail would have three seconds.
        let mut at_once = Within::seconds(2.5);
        let log = daemon.stop_with(second);
        at_once.is_kept();
        assert!(
            log.contains("Job a completed with exit code 137 (stopped at shutdown)\n"),
            "{log}"
        );
        for name in [
            "Job failure exited with code 1",
            "Job a exited with code 137 (stopped at shutdown)",
        ] {
            assert_eq!(
                log.matches(&format!("\tSubject: {name}\n")).count(),
                1,
                "{log}"
            );
        }
        assert_eq!(closing(&log, 1), ["Main loop terminated."]);
        assert!(!is_running(place.read("pid").trim().parse().unwrap()));
    }
}

#[test]
fn within_stopdelay_the_running_job_may_end_by_itself() {
    let place = Place::new();
    place.gated("job", "");
    let daemon = place.daemon(&format!(
        "{ALONE}stopdelay: 60\n{}{}",
        once("a", "./job"),
        once("b", "true"),
    ));
    let log = end_gently(&place, &daemon, Signal::SIGTERM);
    assert_eq!(
        closing(&log, 4),
        [
            "Running a",
            "Received SIGTERM, shutting down.",
            "Job a completed with exit code 0",
            "Main loop terminated.",
        ]
    );
}

fn after_stopdelay_the_job_is_stopped() {
    let place = Place::new();
    place.script(
        "job",
        "trap 'exit 5' TERM; echo begun >{dir}/begun; sleep 60 & wait",
    );
    let daemon = place.daemon(&format!("{ALONE}stopdelay: 0.4\n{}", once("a", "./job")));
    place.wait_for_begin();
    let told = Instant::now();
    let log = daemon.stop();
    assert!(
        told.elapsed() >= Duration::from_millis(400),
        "{:?}",
        told.elapsed()
    );
    assert_eq!(
        closing(&log, 2),
        [
            "Job a completed with exit code 5 (stopped at shutdown)",
            "Main loop terminated."
        ]
    );
    assert!(!log.contains("Subject"), "{log}");
}

#[test]
fn a_job_that_fails_by_itself_within_stopdelay_is_a_failure() {
    let place = Place::new();
    place.gated("job", "exit 3");
    let daemon = place.daemon(&format!("{ALONE}stopdelay: 60\n{}", once("a", "./job")));
    let log = end_gently(&place, &daemon, Signal::SIGTERM);
    assert!(log.contains("Job a completed with exit code 3\n"), "{log}");
    assert!(
        log.contains("\tSubject: Job a exited with code 3\n"),
        "{log}"
    );
}

fn at_the_end_a_process_that_left_the_group_holds_up_for_half_a_second_only() {
    let place = Place::new();
    // timeout(1) gives itself a group of its own.
    place.script("job", "timeout 60 sleep 60 & echo $! >{dir}/pid; wait");
    let daemon = place.daemon(&format!("{ALONE}{}", once("a", "./job")));
    let escaped = wait_for_own_group(&place, "pid");
    let mut less_than_without_a_stop = Within::seconds(1.9);
    let told = Instant::now();
    let log = daemon.stop();
    assert!(
        told.elapsed() >= Duration::from_millis(500),
        "{:?}",
        told.elapsed()
    );
    less_than_without_a_stop.is_kept();
    assert!(
        log.contains("Job a completed with exit code 143 (stopped at shutdown)\n"),
        "{log}"
    );
    kill(escaped, Signal::SIGTERM).unwrap();
}

/// The worst case that the default settings allow: a job that does not listen, a process that has left its group
/// with its pipes, a sendmail that hangs, and a log that nobody reads.
fn all_is_over_in_nine_seconds_with_the_defaults() {
    let place = Place::new();
    place.script("hanging", "exec sleep 60");
    place.script(
        "job",
        "timeout 60 sleep 60 & echo $! >{dir}/pid; trap '' TERM; sleep 60 & wait",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: ops@example.com\nsendmail: ./hanging\n{}{}",
        once("failure", "false"),
        once("a", "./job"),
    ));
    let escaped = wait_for_own_group(&place, "pid");
    // The times themselves are 8.5 seconds; the rest is the machine's.
    let mut in_time = Within::seconds(9.5);
    let told = Instant::now();
    let log = daemon.stop();
    in_time.is_kept();
    let took = told.elapsed();
    assert!(
        took >= Duration::from_millis(8500),
        "killdelay, pipes and mail had their time: {took:?}"
    );
    for name in [
        "Job failure exited with code 1",
        "Job a exited with code 137 (stopped at shutdown)",
    ] {
        assert_eq!(
            log.matches(&format!("\tSubject: {name}\n")).count(),
            1,
            "{log}"
        );
    }
    assert_eq!(closing(&log, 1), ["Main loop terminated."]);
    kill(escaped, Signal::SIGTERM).unwrap();
}

#[test]
fn quit_lets_the_running_job_end_flushes_mail_and_starts_no_other() {
    let place = Place::new();
    let sendmail = place.sendmail("sleep 0.2");
    place.gated("job", "exit 3");
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: a@example.com b@example.com\n{sendmail}\n{}{}",
        once("a", "./job"),
        once("b", "true"),
    ));
    let log = end_gently(&place, &daemon, Signal::SIGQUIT);
    let end = closing(&log, 5);
    assert!(end[0].starts_with("Received SIGQUIT"), "{log}");
    assert_eq!(
        end[1..],
        [
            "Job a completed with exit code 3",
            "Mailing report to: a@example.com",
            "Mailing report to: b@example.com",
            "Main loop terminated.",
        ]
    );
    assert_eq!(place.mails().len(), 2);
}

#[test]
fn quit_ends_an_idle_daemon() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: true\nmindelay: 3600")
    ));
    daemon.wait_for_log("Scheduling");
    let log = daemon.stop_with(Signal::SIGQUIT);
    assert_eq!(closing(&log, 1), ["Main loop terminated."]);
}

#[test]
fn term_after_quit_stops_the_job() {
    let place = Place::new();
    place.script("job", "echo begun >{dir}/begun; exec sleep 60");
    let daemon = place.daemon(&format!("{ALONE}{}", once("a", "./job")));
    place.wait_for_begin();
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_for_log("Received SIGQUIT");
    let log = daemon.stop();
    assert_eq!(
        closing(&log, 3),
        [
            "Received SIGTERM, shutting down.",
            "Job a completed with exit code 143 (stopped at shutdown)",
            "Main loop terminated.",
        ]
    );
}

/// A drain gives mail a minute in all, which is too long for a test here; a stop ends that, too.
fn term_after_quit_gives_hanging_mail_three_seconds() {
    let place = Place::new();
    place.script("hanging", "echo begun >{dir}/begun; exec sleep 60");
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: ops@example.com\nsendmail: ./hanging\n{}",
        once("failure", "false"),
    ));
    place.wait_for_begin();
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_for_log("Received SIGQUIT");
    let mut not_its_whole_time = Within::seconds(20.0);
    let told = Instant::now();
    let log = daemon.stop();
    not_its_whole_time.is_kept();
    let took = told.elapsed();
    assert!(took >= Duration::from_secs(3), "{took:?}");
    assert_eq!(
        log.matches("\tSubject: Job failure exited with code 1\n")
            .count(),
        1,
        "{log}"
    );
}

#[test]
fn usr2_harms_neither_an_idle_nor_a_busy_daemon() {
    let place = Place::new();
    let daemon = place.daemon(&format!("{ALONE}{}", tick()));
    daemon.wait_for_log("Running tick");
    for _ in 0..5 {
        daemon.signal(Signal::SIGUSR2);
        wait_for_more(&daemon, "Job tick completed with exit code 0\n", 1);
    }
    daemon.stop();
}

#[test]
fn signals_of_all_kinds_at_once_end_in_a_clean_stop() {
    let place = Place::new();
    let daemon = place.daemon(&format!("{ALONE}{}{}", tick(), once("a", "sleep 0.2")));
    daemon.wait_for_log("Running tick");
    for _ in 0..20 {
        for signal in [
            Signal::SIGHUP,
            Signal::SIGUSR1,
            Signal::SIGUSR2,
            Signal::SIGCHLD,
            Signal::SIGCONT,
        ] {
            daemon.signal(signal);
        }
    }
    wait_for_more(&daemon, "Running tick", 2);
    daemon.stop();
}
