//! What a running daemon shows of itself: as a table, as JSON, in its log.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::common::socket::{SOCKET, idle_job};
use crate::common::{Daemon, LIMIT, Place, Signal, job, wait_for};
use serde_json::Value;

/// A job that runs until the file `go` is there.
const GATED: &str = "sh -c 'until test -e go; do sleep 0.02; done'";

fn json(place: &Place) -> Value {
    serde_json::from_str(&place.told("status --json")).unwrap()
}

/// A line's words: how wide the columns are does not matter here.
#[track_caller]
fn row(table: &str, name: &str) -> Vec<String> {
    let lines = table.lines().map(|line| line.split_whitespace());
    let mut rows = lines.filter(|words| words.clone().next() == Some(name));
    let row = rows
        .next()
        .unwrap_or_else(|| panic!("no {name} in {table}"));
    row.map(str::to_string).collect()
}

fn waits_for_the_run<'a>(place: &'a Place, stuckafter: &str) -> Daemon<'a> {
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}{}",
        idle_job("idle", "true"),
        job("waits", "command: true\nmindelay: 1d\nstartdelay: 0.05"),
        job(
            "gated",
            &format!("command: {GATED}\nmindelay: 1d\nstartdelay: 0\nstuckafter: {stuckafter}")
        ),
    ));
    daemon.wait_for_log("Running gated");
    wait_for("a job to wait", || {
        (json(place)["waiting"] == 1).then_some(())
    });
    daemon
}

#[test]
fn the_table_shows_runs_as_they_went() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}{}",
        idle_job("good", "true"),
        idle_job("bad", "sh -c 'exit 3'"),
        idle_job("never", "true"),
    ));
    for command in ["run --wait bad", "run --wait bad", "run --wait good"] {
        place.ask(command);
    }
    let table = place.told("status");
    let first = table.lines().next().unwrap();
    let start = format!("buildd-sequencer {} on ", env!("CARGO_PKG_VERSION"));
    assert!(first.starts_with(&start), "{first}");
    assert!(
        first.contains(&format!(": pid {}, up ", daemon.pid())),
        "{first}"
    );
    assert_eq!(table.lines().nth(1), Some("JOBS 3: 1 failing"), "{table}");
    let table = table.split_once("\n\n").unwrap().1;
    let titles = [
        "JOB", "STATE", "DUE", "ENDED", "TOOK", "LAST", "RUNS", "FAILED",
    ];
    assert_eq!(row(table, "JOB"), titles);
    let bad = row(table, "bad");
    assert_eq!(bad[1..3], ["waiting", "23h59m"]);
    assert_eq!(bad[5..], ["exit", "3", "x2", "2", "2"]);
    assert_eq!(row(table, "good")[5..], ["ok", "1", "0"]);
    assert_eq!(row(table, "never")[3..], ["-", "-", "-", "0", "0"]);
    assert_eq!(table.lines().count(), 4);
    assert!(!table.contains('\u{1b}'), "plain text");
}

pub fn a_hung_run_is_named_as_stuck_and_blamed_by_those_who_wait() {
    let place = Place::new();
    let daemon = waits_for_the_run(&place, "0.2");
    let pid = wait_for("it to be stuck", || {
        let running = &json(&place)["running"];
        (running["stuck"] == true).then(|| running["pid"].as_u64().unwrap())
    });
    let table = place.told("status");
    let lines: Vec<&str> = table.lines().collect();
    assert!(
        lines[1].starts_with(&format!("RUNNING gated, pid {pid}, for ")),
        "{table}"
    );
    assert!(
        lines[1].ends_with(": STUCK (over 0s, no timeout set)"),
        "{table}"
    );
    assert!(
        lines[2].starts_with("WAITING 1 job, waits longest ("),
        "{table}"
    );
    assert_eq!(row(&table, "gated")[1], "STUCK");
    assert_eq!(row(&table, "waits")[1..4], ["late", "behind", "gated"]);
    wait_for("it to be overdue for a second", || {
        let due = &row(&place.told("status"), "waits")[4];
        due.starts_with('-').then_some(())
    });
    assert_eq!(row(&table, "idle")[1], "waiting");
    let jobs = &json(&place)["jobs"];
    assert_eq!(
        (&jobs[0]["name"], &jobs[0]["state"]),
        (&"gated".into(), &"stuck".into())
    );
    assert_eq!(
        (&jobs[1]["state"], &jobs[1]["behind"]),
        (&"late".into(), &"gated".into())
    );
    place.write("go", "");
    daemon.wait_for_log("Job waits completed");
    let table = place.told("status");
    assert!(
        !table.contains("STUCK") && !table.contains("WAITING"),
        "{table}"
    );
}

#[test]
fn failing_mail_has_a_line_with_what_sendmail_said() {
    let place = Place::new();
    let sendmail = place.sendmail("echo 'queue full' >&2; exit 75");
    let daemon = place.listening(&format!(
        "{SOCKET}mailproblemsto: ops@example.com\nfromaddress: a@example.com\n{sendmail}\n{}",
        idle_job("bad", "false")
    ));
    assert!(!place.told("status").contains("MAIL"));
    place.ask("run --wait bad");
    daemon.wait_for_log("next try in 30 seconds");
    let table = place.told("status");
    let line = table.lines().find(|line| line.starts_with("MAIL")).unwrap();
    assert!(line.starts_with("MAIL    1 queued; last error "), "{line}");
    assert!(
        line.ends_with(" ago: sendmail exited with 75: queue full"),
        "{line}"
    );
    let mail = &json(&place)["mail"];
    assert_eq!(mail["queued"], 1);
    assert_eq!(mail["last_error"], "sendmail exited with 75: queue full");
    assert!(mail["failing_since"].as_str().unwrap().ends_with('Z'));
    assert!(
        place.told("healthcheck").starts_with("ok"),
        "not for an hour yet"
    );
}

#[test]
fn a_paused_job_is_last_and_says_who_holds_it() {
    let place = Place::new();
    let _daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        idle_job("a", "true"),
        idle_job("b", "true")
    ));
    place.told("pause a");
    let table = place.told("status");
    let last = table.lines().last().unwrap();
    let uid = nix::unistd::getuid().to_string();
    assert!(last.starts_with("a "), "{table}");
    let words = row(&table, "a");
    assert_eq!(
        (&*words[1], &words[3..6]),
        ("paused", &["by".into(), "uid".into(), uid][..])
    );
    let jobs = &json(&place)["jobs"];
    assert_eq!(
        (&jobs[1]["name"], &jobs[1]["paused"]),
        (&"a".into(), &true.into())
    );
    assert!(jobs[1]["paused_since"].is_string());
}

#[test]
fn json_has_every_documented_field_also_where_nothing_is_known() {
    let place = Place::new();
    let _daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "true")));
    let all = json(&place);
    let names = |value: &Value| -> Vec<String> {
        let object = value.as_object().unwrap();
        object.keys().cloned().collect()
    };
    let mut expected = [
        "version",
        "host",
        "pid",
        "started",
        "configuration",
        "configured",
        "state",
        "running",
        "waiting",
        "mail",
        "reload",
        "not_listening",
        "log_lines_dropped",
        "lease_seconds_left",
        "busy",
        "summary",
        "jobs",
    ];
    expected.sort_unstable();
    assert_eq!(names(&all), expected);
    let file = place.working_directory() + "/conf";
    assert_eq!(all["configuration"], file.as_str());
    let first = place.told("status").lines().next().unwrap().to_string();
    assert!(first.contains(&format!(", read {file} ")), "{first}");
    let mut expected = [
        "name",
        "state",
        "behind",
        "due",
        "started",
        "ended",
        "succeeded",
        "took",
        "outcome",
        "code",
        "in_a_row",
        "runs",
        "failures",
        "paused",
        "paused_since",
        "paused_by_uid",
    ];
    expected.sort_unstable();
    assert_eq!(names(&all["jobs"][0]), expected);
    assert_eq!(
        names(&all["mail"]),
        ["failing_since", "given_up", "last_error", "queued"]
    );
    place.told("reload");
    assert_eq!(
        names(&json(&place)["reload"]),
        ["at", "fault_count", "faults", "ok"]
    );
}

#[test]
fn json_times_are_rfc_3339_in_utc_and_follow_the_run() {
    let place = Place::new();
    let _daemon = place.listening(&format!("{SOCKET}{}", idle_job("a", "sleep 0.1")));
    place.told("run --wait a");
    let job = json(&place)["jobs"][0].clone();
    for field in ["due", "started", "ended", "succeeded"] {
        let time = job[field].as_str().unwrap();
        let shape: String = time
            .chars()
            .map(|c| if c.is_ascii_digit() { '9' } else { c })
            .collect();
        assert_eq!(shape, "9999-99-99T99:99:99Z", "{field}");
    }
    let took = job["took"].as_f64().unwrap();
    assert!((0.1..10.0).contains(&took), "{took}");
    assert_eq!((&job["outcome"], &job["code"]), (&"ok".into(), &0.into()));
    assert!(job["due"].as_str() > job["ended"].as_str());
}

#[test]
fn sigusr2_writes_the_same_table_to_the_log() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}{}{}",
        idle_job("a", "true"),
        idle_job("b", "false")
    ));
    place.told("run --wait a");
    // The answer may come before the lines of the same turn are in the file.
    wait_for("the end of the run in the log", || {
        let messages = daemon.messages();
        let ended = messages
            .iter()
            .any(|line| line.starts_with("Job a completed"));
        let last = messages
            .last()
            .filter(|line| line.starts_with("Scheduling"));
        last.filter(|_| ended).map(drop)
    });
    // Both have to be of the same second.
    wait_for("the same from both", || {
        let before = daemon.messages().len();
        daemon.signal(Signal::SIGUSR2);
        let table = place.told("status");
        wait_for("the table in the log", || {
            (daemon.messages().len() > before + 4).then_some(())
        });
        let messages = daemon.messages();
        assert_eq!(messages[before], "Received SIGUSR2, status:");
        let logged = messages[before + 1..]
            .iter()
            .map(|line| line.strip_prefix('\t').unwrap());
        logged.eq(table.lines()).then_some(())
    });
}

#[test]
fn three_thousand_jobs_are_shown_at_once_and_in_order() {
    let place = Place::new();
    let jobs: String = (0..3000)
        .map(|n| {
            job(
                &format!("job{n}"),
                &format!("command: true\nstartdelay: {}\nmindelay: 1d", 90_000 - n),
            )
        })
        .collect();
    let daemon = place.listening(&format!("{SOCKET}{jobs}"));
    let used = daemon.processor_time();
    let table = place.told("status");
    let used = daemon.processor_time() - used;
    assert!(used.as_secs() < 1, "{used:?}");
    let names: Vec<&str> = table
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|word| word.starts_with("job"))
        .collect();
    let expected: Vec<String> = (0..3000).rev().map(|n| format!("job{n}")).collect();
    assert_eq!(names, expected);
    assert_eq!(json(&place)["jobs"].as_array().unwrap().len(), 3000);
    place.told("pause");
    let table = place.told("status");
    assert_eq!(table.matches(" paused ").count(), 3000);
    assert!(table.lines().count() < 3010, "a line for each");
    daemon.stop();
}

#[test]
fn in_a_crowd_too_the_status_shows_what_was_changed_before_it_was_asked_for() {
    let place = Place::new();
    let jobs: String = (0..300)
        .map(|n| idle_job(&format!("job{n}"), "true"))
        .collect();
    let daemon = place.listening(&format!("{SOCKET}{jobs}"));
    let (stop, begun) = (AtomicBool::new(false), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && begun.elapsed() < LIMIT {
                    assert!(place.say(b"status\n").starts_with("0\nbuildd-sequencer "));
                }
            });
        }
        let (paused, waiting) = ("\njob7    paused", "\njob7    waiting");
        for _ in 0..30 {
            assert_eq!(place.say(b"pause job7\n"), "0\npaused job7\n");
            assert!(place.say(b"status\n").contains(paused));
            assert_eq!(place.say(b"resume job7\n"), "0\nresumed job7\n");
            assert!(place.say(b"status\n").contains(waiting));
        }
        assert!(place.say(b"run --wait job7\n").starts_with("0\n"));
        let table = place.say(b"status\n");
        assert_eq!(row(&table, "job7")[5..], ["ok", "1", "0"]);
        stop.store(true, Ordering::Relaxed);
    });
    daemon.stop();
}

pub fn what_fails_how_busy_the_lane_is_and_a_refused_reload_are_told() {
    let place = Place::new();
    let config = format!(
        "{SOCKET}{}{}",
        idle_job("good", "sleep 0.3"),
        idle_job("bad", "sh -c 'exit 3'"),
    );
    let daemon = place.listening(&config);
    let quiet = place.told("status");
    for word in ["JOBS", "BUSY", "RELOAD"] {
        assert!(!quiet.contains(&format!("\n{word} ")), "{quiet}");
    }
    assert!(
        place
            .told("status --failed")
            .ends_with("\n\nno job is failing\n")
    );
    place.ask("run --wait good");
    place.ask("run --wait bad");
    let busy = &json(&place)["busy"];
    assert!(busy["share"].as_f64().unwrap() > 0.0, "{busy}");
    assert_eq!(busy["jobs"][0]["name"], "good");
    place.write("conf", &config.replace("mindelay", "mindelai"));
    assert_eq!(place.ask("reload").status.code(), Some(78));
    let table = place.told("status");
    assert!(table.contains("\nJOBS 2: 1 failing\n"), "{table}");
    assert!(table.contains("\nRELOAD refused "), "{table}");
    let told = json(&place);
    assert_eq!(
        told["summary"],
        serde_json::json!({"jobs": 2, "failing": 1, "paused": 0, "late": 0})
    );
    let faults = told["reload"]["faults"].as_array().unwrap();
    assert_eq!(
        faults.len(),
        2,
        "one a job, and no line about them: {faults:?}"
    );
    assert!(faults[0].as_str().unwrap().contains("mindelai"));
    let failing = place.told("status --failed");
    assert!(
        failing.contains("\nbad ") && !failing.contains("\ngood "),
        "{failing}"
    );
    place.write("conf", &config);
    place.told("reload");
    assert!(!place.told("status").contains("RELOAD"));
    assert_eq!(json(&place)["reload"]["faults"], serde_json::json!([]));
    daemon.stop();
}
