//! The log for programs: `logformat: json`, and `loglevel`.

use std::os::unix::fs::MetadataExt;

use serde_json::{Value, json};

use crate::common::socket::idle_job;
use crate::common::*;

/// A daemon's section whose log is for programs.
const JSON: &str = "[buildsequencer]\ncontrolsocket: none\nlogformat: json\n";

/// The objects of a log. Each line is one, and short.
fn objects(log: &str) -> Vec<Value> {
    let lines = log.lines();
    lines
        .map(|line| {
            assert!(line.len() < 16_384, "{} bytes", line.len());
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
        })
        .collect()
}

/// Those of one event.
fn of<'a>(objects: &'a [Value], event: &str) -> Vec<&'a Value> {
    objects.iter().filter(|it| it["event"] == event).collect()
}

#[test]
fn each_step_of_a_run_is_an_object_with_its_fields() {
    let place = Place::new();
    let daemon = place.daemon(&format!("{JSON}{}", once("a", "sh -c 'exit 3'")));
    daemon.wait_for_log("\"seconds\": 3600");
    let log = objects(&daemon.stop());
    let words: Vec<&str> = log.iter().map(|it| it["event"].as_str().unwrap()).collect();
    assert_eq!(
        words,
        [
            "loading",
            "loaded",
            "targets",
            "targets",
            "loaded",
            "scheduled",
            "started",
            "completed",
            "report",
            "scheduled",
            "signal",
            "terminated",
        ]
    );
    assert_eq!(log[1]["job"], "a");
    let (started, completed, report) = (&log[6], &log[7], &log[8]);
    assert_eq!(started["message"], "Running a");
    assert!(started["pid"].as_i64().unwrap() > 1);
    assert!(started["late"].is_number() && completed["seconds"].is_number());
    assert_eq!(completed["message"], "Job a completed with exit code 3");
    for object in [completed, report] {
        assert_eq!(
            (
                &object["level"],
                &object["job"],
                &object["code"],
                &object["outcome"]
            ),
            (&json!("warning"), &json!("a"), &json!(3), &json!("exit 3"))
        );
    }
    assert_eq!(report["message"], "Job a exited with code 3");
    assert_eq!(
        (&report["stdout"], &report["stderr"]),
        (&json!(""), &json!(""))
    );
    assert_eq!(log[10]["signal"], "SIGTERM");
    let time = log[0]["time"].as_str().unwrap();
    assert_eq!(time.len(), "2026-11-23T23:36:37.042Z".len());
    assert!(time.ends_with('Z') && &time[10..11] == "T" && &time[19..20] == ".");
}

/// How many of these characters are at most 2 KiB as escaped.
fn that_fit(characters: impl Iterator<Item = char>) -> usize {
    let widths = characters.map(|c| if c == '\n' { 2 } else { 1 });
    let ends = widths.scan(0, |end, width| {
        *end += width;
        Some(*end)
    });
    ends.take_while(|&end| end <= 2048).count()
}

#[test]
fn of_a_long_output_both_ends_are_in_the_report_and_how_much_is_not() {
    let place = Place::new();
    place.script(
        "job",
        "echo begin; seq 100000; echo end; printf 'no \\377 text' >&2; exit 1",
    );
    let daemon = place.daemon(&format!(
        "{JSON}[buildsequencer_job.template]\nmaxoutput: 10K\nalwayslog: yes\n{}",
        once("a", "./job")
    ));
    daemon.wait_for_log("\"seconds\": 3600");
    let log = objects(&daemon.stop());
    let outputs = of(&log, "output");
    assert_eq!(outputs.len(), 2);
    let report = of(&log, "report")[0];
    let numbers: String = (1..=100_000).map(|n| format!("{n}\n")).collect();
    let printed = format!("begin\n{numbers}end\n");
    let first = &printed[..that_fit(printed.chars())];
    let last = &printed[printed.len() - that_fit(printed.chars().rev())..];
    let gone = printed.len() - first.len() - last.len();
    let break_before = if first.ends_with('\n') { "" } else { "\n" };
    let expected = format!("{first}{break_before}[... {gone} bytes left out ...]\n{last}");
    for (object, name) in [
        (outputs[0], "stdout"),
        (outputs[1], "stderr"),
        (report, "stdout"),
        (report, "stderr"),
    ] {
        let text = object[name].as_str().unwrap();
        if name == "stderr" {
            assert_eq!(text, "no \u{fffd} text");
            continue;
        }
        assert_eq!(text, expected);
        assert_eq!(object["stdout_left_out"], gone);
    }
    assert_eq!(outputs[0]["stream"], "stdout");
}

#[test]
fn live_lines_of_any_bytes_are_whole_in_objects_that_name_their_stream() {
    let place = Place::new();
    place.script(
        "job",
        "head -c 7000 /dev/zero | tr '\\0' '\\1'; echo; printf '\\200\\377 \"x\\n' >&2",
    );
    let daemon = place.daemon(&format!(
        "{JSON}[buildsequencer_job.template]\nlivelog: yes\n{}",
        once("a", "./job")
    ));
    daemon.wait_for_log("\"seconds\": 3600");
    let log = objects(&daemon.stop());
    let said = |stream: &str| -> String {
        let lines = of(&log, "output")
            .into_iter()
            .filter(|it| it["stream"] == stream);
        lines
            .map(|it| {
                it["message"]
                    .as_str()
                    .unwrap()
                    .strip_prefix("a: ")
                    .unwrap()
                    .to_string()
            })
            .collect()
    };
    assert_eq!(said("stdout"), "\u{1}".repeat(7000));
    assert_eq!(said("stderr"), "\u{fffd}\u{fffd} \"x");
}

#[test]
fn a_report_that_mail_has_not_carried_is_whole_in_numbered_parts() {
    let place = Place::new();
    place.script("job", "seq 20000; exit 1");
    let sendmail = place.sendmail("exit 75");
    let daemon = place.daemon(&format!(
        "{JSON}mailproblemsto: ops@example.com\n{sendmail}\n{}",
        once("a", "./job")
    ));
    daemon.wait_for_log("next try in 30 seconds");
    let log = objects(&daemon.stop());
    let parts = of(&log, "report");
    assert!(parts.len() > 10, "{}", parts.len());
    for (number, part) in (1..).zip(&parts) {
        assert_eq!(
            (
                &part["part"],
                &part["parts"],
                &part["recipient"],
                &part["level"]
            ),
            (
                &json!(number),
                &json!(parts.len()),
                &json!("ops@example.com"),
                &json!("error")
            )
        );
    }
    let whole = |name: &str| -> String {
        parts
            .iter()
            .filter_map(|part| part[name].as_str())
            .collect()
    };
    let numbers: String = (1..=20_000).map(|n| format!("{n}\n")).collect();
    assert_eq!(whole("stdout"), numbers);
    assert!(whole("text").ends_with("\nExit code: 1\n"));
    let mail: Vec<&Value> = of(&log, "mail")
        .into_iter()
        .map(|it| &it["level"])
        .collect();
    assert_eq!(mail.first(), Some(&&json!("info")));
    assert_eq!(mail.last(), Some(&&json!("error")));
}

#[test]
fn a_status_and_a_refused_reload_are_an_object_a_line() {
    let place = Place::new();
    let daemon = place.daemon(&format!("{JSON}{}", once("a", "true")));
    daemon.wait_for_log("\"seconds\": 3600");
    daemon.signal(Signal::SIGUSR2);
    daemon.wait_for_log("\"event\": \"status\"");
    place.write(
        "conf",
        &format!(
            "{JSON}loglevel: loud\nlogformat: xml\n{}",
            once("a", "true")
        ),
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("nothing has changed");
    let log = objects(&daemon.stop());
    let status = of(&log, "status");
    assert_eq!(status[0]["message"], "Received SIGUSR2, status:");
    assert!(status.len() > 3);
    let refused = of(&log, "reload");
    let messages: Vec<&str> = refused
        .iter()
        .map(|it| it["message"].as_str().unwrap())
        .collect();
    assert!(
        messages[0].ends_with("conf:4: loglevel: 'loud' is none of info, warning, error"),
        "{messages:?}"
    );
    assert!(
        messages[1].ends_with("conf:5: logformat: 'xml' is none of twistd, json"),
        "{messages:?}"
    );
    assert_eq!(
        messages[2],
        "Configuration not reloaded: 2 faults, nothing has changed."
    );
    assert!(refused.iter().all(|it| it["level"] == "error"));
}

#[test]
fn what_matters_less_than_loglevel_is_not_logged_but_reports_are() {
    for (level, events) in [
        ("warning", &["completed", "report"][..]),
        ("error", &["report"][..]),
    ] {
        let place = Place::new();
        let daemon = place.daemon(&format!(
            "{JSON}loglevel: {level}\nspew: on\n{}",
            once("a", "sh -c 'exit 3'")
        ));
        daemon.wait_for_log("\"report\"");
        let log = objects(&daemon.stop());
        let words: Vec<&str> = log.iter().map(|it| it["event"].as_str().unwrap()).collect();
        assert_eq!(words, events);
    }
    // The same in the other format.
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}loglevel: error\n{}",
        once("a", "sh -c 'exit 3'")
    ));
    daemon.wait_for_log("Exit code: 3");
    assert!(daemon.stop().lines().next().unwrap().contains("] From: "));
}

#[test]
fn a_reload_that_moves_the_log_leaves_one_format_in_each_file() {
    let place = Place::new();
    let config = |log: &str, format: &str| {
        let job = idle_job("a", "true");
        format!(
            "[buildsequencer]\ncontrolsocket: socket\nlogfile: {log}\nlogformat: {format}\n{job}"
        )
    };
    let daemon = place.daemon(&config("one", "json"));
    wait_for_file(&place.path("socket"));
    for (log, format) in [("two", "twistd"), ("three", "json")] {
        place.write("conf", &config(log, format));
        place.told("reload");
        place.told("pause a");
    }
    daemon.stop();
    for (name, is_json) in [("one", true), ("two", false), ("three", true)] {
        let lines = place.lines(name);
        assert!(lines.len() > 1, "{name}: {lines:?}");
        let other = lines.iter().find(|line| line.starts_with('{') != is_json);
        assert_eq!(other, None, "{name}");
    }
}

#[test]
fn a_reload_changes_format_and_level() {
    let place = Place::new();
    let job = once("a", "true");
    let daemon = place.daemon(&format!("{ALONE}{job}"));
    daemon.wait_for_log("for 3.6e+03 seconds");
    let reload = |config: &str, done: &str| {
        place.write("conf", &format!("{config}{job}"));
        daemon.signal(Signal::SIGHUP);
        daemon.wait_for_log(done);
    };
    reload(
        &format!("{JSON}loglevel: error\n"),
        "\"Changed loglevel: info -> error\"",
    );
    // The signal of this one does not matter enough to be told of.
    reload(ALONE, "] Changed loglevel: error -> info");
    let log = daemon.stop();
    let lines: Vec<&str> = log.lines().collect();
    let of_programs: Vec<&str> = lines
        .iter()
        .filter(|line| line.starts_with('{'))
        .copied()
        .collect();
    let changes = objects(&of_programs.join("\n"));
    assert!(
        changes.len() >= 2 && changes.iter().all(|it| it["event"] == "reload"),
        "{changes:?}"
    );
    assert_eq!(log.matches("SIGHUP").count(), 1);
    assert!(
        log.contains("] Received SIGHUP, reloading configuration.\n{"),
        "{log}"
    );
    assert!(lines.last().unwrap().ends_with("[-] Main loop terminated."));
}

#[test]
fn in_the_journal_each_object_has_its_priority() {
    let place = Place::new();
    let log = place.append_to("log").metadata().unwrap();
    let stream = format!("{}:{}", log.dev(), log.ino());
    let config = format!("{JSON}{}", once("a", "sh -c 'echo \"<0>x\"; exit 3'"));
    let daemon = place.daemon_with(&config, |command| {
        command.env("JOURNAL_STREAM", stream);
    });
    daemon.wait_for_log("\"seconds\": 3600");
    let log = daemon.stop();
    for line in log.lines() {
        let (prefix, object) = line.split_at(3);
        let object: Value = serde_json::from_str(object).unwrap();
        let expected = if object["level"] == "info" {
            "<6>"
        } else {
            "<4>"
        };
        assert_eq!(prefix, expected, "{line}");
    }
    assert!(log.contains("<4>{"), "{log}");
}
