//! What a running daemon tells of past runs.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::at_once;
use crate::common::socket::{SOCKET, idle_job};
use crate::common::{Place, job, stderr, wait_for};
use serde_json::Value;

fn runs(place: &Place, command: &str) -> Vec<Value> {
    let answer: Value = serde_json::from_str(&place.told(command)).unwrap();
    answer["runs"].as_array().unwrap().clone()
}

#[test]
fn the_last_runs_are_told_oldest_first() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}{}",
        idle_job("good", "true"),
        idle_job("bad", "sh -c 'exit 3'"),
        idle_job("gone", "./nowhere"),
    ));
    assert_eq!(place.told("history"), "no run is known\n");
    for name in ["good", "bad", "gone", "good"] {
        place.ask(&format!("run --wait {name}"));
    }
    let table = place.told("history");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let header = ["BEGAN", "(UTC)", "JOB", "TOOK", "LATE", "BY", "OUTCOME"];
    assert_eq!(rows[0], header);
    let told: Vec<(&str, String)> = rows[1..]
        .iter()
        .map(|row| (row[2], row[5..].join(" ")))
        .collect();
    let expected = [
        ("good", "ok"),
        ("bad", "exit 3"),
        ("gone", "start 127"),
        ("good", "ok"),
    ];
    assert_eq!(told, expected.map(|(name, end)| (name, end.to_string())));
    assert_eq!(place.told("history -n 1").lines().count(), 2);
    let failed = runs(&place, "history --json --failed");
    assert_eq!(failed.len(), 2);
    assert_eq!(
        (&failed[0]["job"], &failed[0]["code"]),
        (&"bad".into(), &3.into())
    );
    let one = runs(&place, "history good --json");
    assert_eq!(one.len(), 2);
    let last = &serde_json::from_str::<Value>(&place.told("status --json")).unwrap()["jobs"];
    let last = last
        .as_array()
        .unwrap()
        .iter()
        .find(|job| job["name"] == "good")
        .unwrap();
    for field in ["started", "took", "outcome", "code"] {
        assert_eq!(one[1][field], last[field], "{field} as status has it");
    }
    let refused = place.ask("history goood");
    assert_eq!(refused.status.code(), Some(1));
    assert!(
        stderr(&refused).contains("did you mean 'good'?"),
        "{}",
        stderr(&refused)
    );
    daemon.stop();
}

#[test]
fn a_job_that_a_reload_has_removed_is_still_told_of() {
    let place = Place::new();
    let config = |jobs: &str| format!("{SOCKET}{}{jobs}", idle_job("stays", "true"));
    let daemon = place.listening(&config(&idle_job("goes", "true")));
    place.ask("run --wait goes");
    place.write("conf", &config(""));
    place.told("reload");
    assert_eq!(runs(&place, "history goes --json").len(), 1);
    assert_eq!(place.told("history stays"), "no run is known\n");
    daemon.stop();
}

#[test]
fn the_picture_shows_the_run_under_way() {
    let place = Place::new();
    let gated =
        "command: sh -c 'until test -e go; do sleep 0.02; done'\nmindelay: 1d\nstartdelay: 0";
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        job("gated", gated),
        job("behind", "command: true\nmindelay: 1d\nstartdelay: 0")
    ));
    let picture = wait_for("a job to wait", || {
        let picture = place.told("history --svg");
        picture.contains("behind waits for").then_some(picture)
    });
    assert!(
        picture.starts_with("<svg") && picture.ends_with("</svg>\n"),
        "{picture}"
    );
    assert!(picture.contains("gated: running since"), "{picture}");
    place.write("go", "");
    daemon.wait_for_log("Job behind completed");
    wait_for("both runs to be drawn", || {
        let picture = place.told("history --svg");
        (picture.contains("behind: ok") && picture.contains("gated: ok")).then_some(())
    });
    daemon.stop();
}

/// A daemon's section with a state file, and so with a history beside it.
const KEPT: &str = "[buildsequencer]\ncontrolsocket: socket\nstatefile: state\n";

/// The jobs, codes and outcomes of what `history` tells.
fn told(place: &Place) -> Vec<String> {
    let runs = runs(place, "history --json -n 9999").into_iter();
    let told = runs.map(|run| format!("{} {} {}", run["job"], run["started"], run["outcome"]));
    told.collect()
}

#[test]
fn a_stop_and_a_crash_lose_no_run() {
    let place = Place::new();
    let config = format!(
        "{KEPT}{}{}{}",
        idle_job("good", "true"),
        idle_job("bad", "sh -c 'kill -9 $$'"),
        idle_job("goes", "true")
    );
    let daemon = place.listening(&config);
    for name in ["good", "bad", "goes", "good"] {
        place.ask(&format!("run --wait {name}"));
    }
    let before = told(&place);
    assert_eq!(before.len(), 4);
    let exactly = place.told("history --json");
    daemon.stop();
    let daemon = place.listening(&config);
    assert_eq!(place.told("history --json"), exactly, "after a stop");
    assert_eq!(place.told("history bad").lines().count(), 2);
    assert!(place.told("history --svg").contains("bad: SIGKILL"));
    place.ask("run --wait bad");
    let before = told(&place);
    assert_eq!(before.len(), 5);
    // The file is written in the turn in which the run ended, at the latest in the one after it.
    wait_for("the run's line", || {
        (place.read("state.history").lines().count() == 6).then_some(())
    });
    drop(daemon);
    let without = config.replace(&idle_job("goes", "true"), "");
    let daemon = place.listening(&without);
    assert_eq!(told(&place), before, "after SIGKILL");
    assert_eq!(runs(&place, "history goes --json").len(), 1);
    assert!(!daemon.stop().contains("istory file"), "no warning");
    let mode = fs::metadata(place.path("state.history")).unwrap().mode();
    assert_eq!(mode & 0o7777, 0o600);
    let state = place.read("state");
    assert!(state.starts_with("buildd-sequencer state 1\n"), "{state}");
    assert_eq!(state.lines().count(), 3, "the state's form is that of 1.0");
}

#[test]
fn a_history_file_that_somebody_has_removed_or_emptied_is_whole_again_at_the_end() {
    let place = Place::new();
    let config = format!("{KEPT}{}", idle_job("a", "true"));
    let deeds: [&dyn Fn(); 2] = [
        &|| fs::remove_file(place.path("state.history")).unwrap(),
        &|| drop(place.write("state.history", "")),
    ];
    for (n, deed) in deeds.iter().enumerate() {
        let daemon = place.listening(&config);
        assert_eq!(told(&place).len(), 2 * n);
        place.ask("run --wait a");
        wait_for("the run's line", || {
            (place.read("state.history").lines().count() == 2 * n + 2).then_some(())
        });
        deed();
        place.ask("run --wait a");
        let log = daemon.stop();
        assert!(!log.contains("istory file"), "no warning: {log}");
    }
    let daemon = place.listening(&config);
    assert_eq!(told(&place).len(), 4);
    daemon.stop();
}

fn killed_at_any_moment_it_loses_no_run_that_was_logged_and_has_none_twice() {
    let place = Place::new();
    let config = format!(
        "{KEPT}{}{}",
        job("a", "command: true\nmindelay: 0\nstartdelay: 0"),
        job("b", "command: sh -c 'exit 3'\nmindelay: 0\nstartdelay: 0"),
    );
    let ended = |place: &Place| {
        let log = place.read("log");
        // A line without its end may be torn.
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        let ends = whole
            .lines()
            .filter(|line| line.contains(" completed with "));
        ends.count()
    };
    for life in 0..12 {
        let before = ended(&place);
        let daemon = place.daemon(&config);
        wait_for("some runs", || {
            (ended(&place) > before + 7 * life % 23).then_some(())
        });
        drop(daemon);
    }
    let logged = ended(&place);
    let daemon = place.listening(&format!("{KEPT}{}", idle_job("a", "true")));
    assert!(!place.read("log").contains("istory file"), "no warning");
    let told = told(&place);
    let most = logged.min(1000);
    assert!(
        told.len() >= most && told.len() <= most + 12,
        "{} of {logged}",
        told.len()
    );
    let text = place.read("state.history");
    let lines: Vec<&str> = text.lines().skip(1).collect();
    assert!(
        lines
            .iter()
            .all(|line| line.starts_with("run ") && line.ends_with(" .")),
        "{text}"
    );
    assert_eq!(
        lines.iter().collect::<BTreeSet<_>>().len(),
        lines.len(),
        "{text}"
    );
    daemon.stop();
}

fn a_line_that_was_torn_is_dropped_and_one_that_is_damaged_is_told_of_once() {
    let place = Place::new();
    let config = format!("{KEPT}{}", idle_job("a", "true"));
    let good = "buildd-sequencer history 1\nrun a 1795476997000000000 1500000000 0 exited 3 .\n";
    place.write("state.history", &format!("{good}run a 17954770"));
    let daemon = place.listening(&config);
    assert_eq!(told(&place), [r#""a" "2026-11-23T23:36:37Z" "exit 3""#]);
    assert!(!daemon.stop().contains("istory file"), "no warning");
    assert_eq!(
        place.read("state.history"),
        good,
        "it is rewritten at the start"
    );
    place.write("state.history", &format!("{good}run a x .\nrun a x .\n"));
    let daemon = place.listening(&config);
    assert_eq!(told(&place).len(), 1);
    let log = daemon.stop();
    let warning = "History file 'state.history': line 3 cannot be read; the run that it tells of is not known (and 1 more such line).";
    assert_eq!(log.matches("istory file").count(), 1, "{log}");
    assert!(log.contains(warning), "{log}");
    place.write("state.history", "something else\n");
    let daemon = place.listening(&config);
    assert_eq!(told(&place).len(), 0);
    assert!(
        daemon
            .stop()
            .contains("'state.history': it is not a history file of this version.")
    );
    assert_eq!(place.read("state.history"), "buildd-sequencer history 1\n");
}

fn what_is_no_regular_file_is_told_of_once_and_jobs_run_on() {
    for kind in ["link", "fifo", "directory"] {
        let place = Place::new();
        let at = place.path("state.history");
        match kind {
            "link" => std::os::unix::fs::symlink("elsewhere", &at).unwrap(),
            "fifo" => nix::unistd::mkfifo(&at, nix::sys::stat::Mode::S_IRWXU).unwrap(),
            _ => fs::create_dir(&at).unwrap(),
        }
        let config = format!(
            "{KEPT}{}",
            job("a", "command: true\nmindelay: 0\nstartdelay: 0")
        );
        let daemon = place.listening(&config);
        daemon.wait_for_log_times("Job a completed", 3);
        assert!(told(&place).len() >= 3, "{kind}");
        let log = daemon.stop();
        assert_eq!(log.matches("istory file").count(), 1, "{kind}: {log}");
        assert!(
            log.contains("cannot write history file 'state.history': it is "),
            "{kind}: {log}"
        );
        assert!(
            !place.path("elsewhere").exists() && place.path("state").exists(),
            "{kind}"
        );
        let there = fs::symlink_metadata(&at).unwrap().file_type();
        assert!(!there.is_file(), "{kind}: it stays");
    }
}

fn a_directory_that_refuses_new_files_has_the_old_one_grow() {
    let place = Place::public();
    let config = format!(
        "[buildsequencer]\ncontrolsocket: none\nstatefile: kept/state\n{}",
        job("a", "command: true\nmindelay: 0\nstartdelay: 0")
    );
    place.write(
        "kept/state.history",
        "buildd-sequencer history 1\nrun a 5 6 7 exi",
    );
    place.give_away("kept/state.history");
    let mode = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(place.path("kept"), mode).unwrap();
    };
    mode(0o555);
    let daemon = place.daemon_by(place.command_without_rights(), &config, |_| {});
    daemon.wait_for_log_times("Job a completed", 5);
    let lines = wait_for("the file to grow", || {
        let lines = place.lines("kept/state.history");
        (lines.len() >= 5).then_some(lines)
    });
    let log = daemon.stop();
    mode(0o755);
    assert_eq!(lines[1], "run a 5 6 7 exi", "on a line of its own");
    assert!(
        lines[2..].iter().all(|line| line.ends_with(" exited 0 .")),
        "{lines:?}"
    );
    let why = "cannot write history file 'kept/state.history': Permission denied; trying again.";
    assert_eq!(log.matches(why).count(), 1, "{log}");
    assert_eq!(log.matches("istory file").count(), 1, "{log}");
}

fn a_reload_moves_the_file_and_removes_no_other() {
    let place = Place::new();
    let config = |state: &str| {
        format!(
            "[buildsequencer]\ncontrolsocket: socket\nstatefile: {state}\n{}",
            idle_job("a", "true")
        )
    };
    let lines = |name: &str| place.read(name).matches("run a ").count();
    let daemon = place.listening(&config("none"));
    place.ask("run --wait a");
    place.write("conf", &config("one"));
    place.told("reload");
    place.ask("run --wait a");
    wait_for("the first file", || {
        (lines("one.history") == 2).then_some(())
    });
    place.write("conf", &config("two"));
    place.told("reload");
    place.ask("run --wait a");
    wait_for("the second file", || {
        (lines("two.history") == 3).then_some(())
    });
    place.write("conf", &config("none"));
    place.told("reload");
    place.ask("run --wait a");
    assert_eq!(told(&place).len(), 4);
    daemon.stop();
    assert_eq!((lines("one.history"), lines("two.history")), (2, 3));
}

pub fn the_history_file_stands_whatever_happens_to_it() {
    at_once!(
        killed_at_any_moment_it_loses_no_run_that_was_logged_and_has_none_twice,
        a_line_that_was_torn_is_dropped_and_one_that_is_damaged_is_told_of_once,
        what_is_no_regular_file_is_told_of_once_and_jobs_run_on,
        a_directory_that_refuses_new_files_has_the_old_one_grow,
        a_reload_moves_the_file_and_removes_no_other
    );
}
