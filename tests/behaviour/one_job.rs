//! What a running daemon tells of one job, and the metrics that it prints when asked.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;

use crate::common::socket::{SOCKET, idle_job};
use crate::common::{Place, job, stderr, stdout, wait_for};
use serde_json::Value;

fn json(place: &Place, name: &str) -> Value {
    serde_json::from_str(&place.told(&format!("status {name} --json"))).unwrap()
}

#[test]
fn one_job_is_told_of_with_settings_runs_and_what_its_failed_run_printed() {
    let place = Place::new();
    let command = "sh -c 'echo out; printf \"\\033[2J\\377\\n\" >&2; test -e well'";
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        idle_job("scan", command),
        idle_job("gone", "./nowhere"),
    ));
    place.ask("run --wait scan");
    place.write("well", "");
    place.told("run --wait scan");
    let told = place.told("status scan");
    assert!(
        told.starts_with("JOB scan: waiting\nDUE in 23h59m\nRUNS 2: 1 failed; last success "),
        "{told}"
    );
    assert!(
        told.contains(" ago\n\n[buildsequencer_job.scan]\ncommand: sh -c"),
        "{told}"
    );
    assert!(told.contains("\nmindelay: 86400\n"), "{told}");
    let runs = told.split("\nLAST RUNS\n").nth(1).unwrap();
    let (runs, failures) = runs.split_once("\n\nLAST FAILURES\n").unwrap();
    assert_eq!(runs.lines().count(), 3, "{told}");
    let (failures, output) = failures
        .split_once("\n\nOUTPUT of the failed run of ")
        .unwrap();
    assert_eq!(failures.lines().count(), 2, "{told}");
    let output = output.split_once('\n').unwrap();
    assert!(output.0.ends_with(" UTC, exit 1"), "{told}");
    assert_eq!(
        output.1,
        "standard error:\n\t\\u{1b}[2J\u{fffd}\nstandard output:\n\tout\n"
    );
    let all = json(&place, "scan");
    let status: Value = serde_json::from_str(&place.told("status --json")).unwrap();
    let jobs = status["jobs"].as_array().unwrap();
    let row = jobs.iter().find(|row| row["name"] == "scan").unwrap();
    for field in [
        "state",
        "started",
        "ended",
        "succeeded",
        "outcome",
        "runs",
        "failures",
    ] {
        assert_eq!(all["job"][field], row[field], "{field} as status has it");
    }
    assert_eq!(all["settings"]["mindelay"], "86400");
    assert_eq!(
        all["failed"]["stdout"],
        serde_json::json!({"bytes": 4, "end": "out\n"})
    );
    assert_eq!(all["failed"]["stderr"]["end"], "\u{1b}[2J\u{fffd}\n");
    // A command that could not be started has printed the system's words.
    place.ask("run --wait gone");
    let told = place.told("status gone");
    let end = "standard error:\n\tNo such file or directory\nstandard output: nothing\n";
    assert!(told.ends_with(end), "{told}");
    let (status, said) = place.refused("status scam");
    assert_eq!(status, 1);
    assert_eq!(said, "unknown job 'scam'; did you mean 'scan'?\n");
    daemon.stop();
}

#[test]
fn a_job_that_was_removed_is_told_of_while_its_run_goes_on() {
    let place = Place::new();
    let gated = "command: sh -c 'until test -e go; do sleep 0.02; done; exit 3'\nmindelay: 1d\nstartdelay: 0";
    let stays = idle_job("stays", "true");
    let daemon = place.listening(&format!("{SOCKET}{stays}{}", job("gated", gated)));
    daemon.wait_for_log("Running gated");
    place.write("conf", &format!("{SOCKET}{stays}"));
    place.told("reload");
    let told = place.told("status gated");
    let start =
        "JOB gated: no longer in the configuration, its last run goes on\nRUNNING gated, pid ";
    assert!(told.starts_with(start), "{told}");
    let all = json(&place, "gated");
    assert_eq!(
        (&all["removed"], &all["running"]["job"]),
        (&true.into(), &"gated".into())
    );
    assert_eq!(json(&place, "stays")["running"], Value::Null);
    place.write("go", "");
    daemon.wait_for_log("Job gated completed");
    assert_eq!(place.refused("status gated").0, 1);
    daemon.stop();
}

#[test]
fn a_job_that_is_removed_and_added_again_during_its_run_goes_on_with_it() {
    let place = Place::new();
    place.gated("gated", "exit 3");
    let other = idle_job("other", "true");
    let gated = job("a", "command: ./gated\nmindelay: 1d\nstartdelay: 0");
    let both = format!("{SOCKET}{gated}{other}");
    let daemon = place.listening(&both);
    place.wait_for_begin();
    for config in [&format!("{SOCKET}{other}"), &both] {
        place.write("conf", config);
        place.told("reload");
    }
    assert_eq!(json(&place, "a")["job"]["state"], "running");
    let all = place.told("status");
    assert!(!all.contains("WAITING"), "it waits for itself: {all}");
    place.let_go();
    daemon.wait_for_log("Scheduling other");
    let all = &json(&place, "a")["job"];
    assert_eq!((&all["runs"], &all["failures"]), (&1.into(), &1.into()));
    assert_eq!(daemon.stop().matches("Running a\n").count(), 1);
}

#[test]
fn a_daemon_that_knows_a_command_not_yet_is_said_to_be_another_version() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("socket")).unwrap();
    let server = std::thread::spawn(move || {
        for _ in 0..2 {
            let (mut client, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(client.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            let _ =
                client.write_all(b"2\nunexpected argument 'a'; see 'buildd-sequencer --help'\n");
        }
    });
    for (words, command) in [
        (&["status", "a"][..], "status a"),
        (&["metrics"], "metrics"),
    ] {
        let output = place.run(&[&["-s", "socket"], words].concat());
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(stdout(&output), "");
        let expected = format!(
            "the daemon does not know '{command}': it is of another version than this program; restart it\n"
        );
        assert_eq!(stderr(&output), expected);
    }
    server.join().unwrap();
}

pub fn metrics_prints_what_the_file_says_and_needs_no_file() {
    let place = Place::new();
    let jobs = idle_job("a", "true");
    let daemon = place.listening(&format!("{SOCKET}{jobs}"));
    let told = place.told("metrics");
    assert!(
        told.contains("\nbuildd_sequencer_job_runs_total{job=\"a\"} 0\n"),
        "{told}"
    );
    place.write(
        "conf",
        &format!("{SOCKET}metricsfile: metrics.prom\n{jobs}"),
    );
    place.told("reload");
    place.told("run --wait a");
    let told = wait_for("the file to say the same", || {
        let told = place.told("metrics");
        (told == place.read("metrics.prom")).then_some(told)
    });
    assert!(
        told.contains("\nbuildd_sequencer_job_runs_total{job=\"a\"} 1\n"),
        "{told}"
    );
    daemon.stop();
}
