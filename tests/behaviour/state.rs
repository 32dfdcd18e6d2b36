//! What the state file carries over a restart of the daemon.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::at_once;
use crate::common::socket::{SOCKET, answer, idle_job};
use crate::common::{Place, Signal, job, not_tested, stderr, wait_for, wait_for_file};

const CONFIG: &str = "[buildsequencer]\ncontrolsocket: socket\nstatefile: state\n";
const MAIL: &str =
    "mailproblemsto: ops@example.com\nfromaddress: a@example.com\nmailinterval: 1h\n";

fn a_daemon_that_is_restarted_more_often_than_a_job_is_due_still_runs_it_in_time() {
    let place = Place::new();
    let config = format!(
        "{CONFIG}{}",
        job("a", "command: sh -c 'date +%s.%N >>runs'\nmindelay: 2.5")
    );
    let begun = Instant::now();
    let mut lives = 0;
    while place.lines("runs").len() < 2 {
        let daemon = place.listening(&config);
        let life = Instant::now();
        wait_for("a short life", || {
            (life.elapsed() > Duration::from_millis(300)).then_some(())
        });
        daemon.stop();
        lives += 1;
        assert!(begun.elapsed() < crate::common::LIMIT, "it starves");
    }
    let runs: Vec<f64> = place
        .lines("runs")
        .iter()
        .map(|l| l.parse().unwrap())
        .collect();
    assert!(lives > 2, "{lives} lives");
    let gap = runs[1] - runs[0];
    assert!(gap >= 2.5, "{runs:?} in {lives} lives");
}

pub fn the_file_follows_in_its_time() {
    at_once!(
        a_daemon_that_is_restarted_more_often_than_a_job_is_due_still_runs_it_in_time,
        the_file_is_written_at_most_once_a_second_however_fast_jobs_run,
        a_job_whose_delay_was_shortened_while_the_daemon_was_down_is_due_by_the_new_one
    );
}

#[test]
fn a_clean_restart_and_a_crash_keep_pause_row_and_past() {
    let place = Place::new();
    let config = format!(
        "{CONFIG}{}{}",
        idle_job("bad", "sh -c 'exit 3'"),
        idle_job("held", "true")
    );
    let daemon = place.listening(&config);
    for _ in 0..3 {
        place.ask("run --wait bad");
    }
    place.told("pause held");
    let json = |place: &Place| -> serde_json::Value {
        serde_json::from_str(&place.told("status --json")).unwrap()
    };
    let before = json(&place);
    let check = |place: &Place| {
        let after = json(place);
        for (was, is) in before["jobs"]
            .as_array()
            .unwrap()
            .iter()
            .zip(after["jobs"].as_array().unwrap())
        {
            for field in [
                "name",
                "state",
                "due",
                "ended",
                "outcome",
                "code",
                "in_a_row",
                "paused",
                "paused_since",
                "paused_by_uid",
            ] {
                assert_eq!(is[field], was[field], "{field} of {}", was["name"]);
            }
            assert_eq!(is["runs"], 0, "counts are of this life");
        }
        assert!(place.told("status").contains("exit 3 x3"));
    };
    daemon.stop();
    let daemon = place.listening(&config);
    check(&place);
    drop(daemon);
    let daemon = place.listening(&config);
    check(&place);
    place.told("resume held");
    daemon.stop();
    let daemon = place.listening(&config);
    assert!(!place.told("status").contains("paused"));
    assert!(!daemon.stop().contains("State file"), "no warning");
}

#[test]
fn what_was_mailed_is_not_mailed_again_after_a_restart() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script("work", "test -e good");
    let config = format!("{CONFIG}{MAIL}{sendmail}\n{}", idle_job("a", "./work"));
    let daemon = place.listening(&config);
    place.ask("run --wait a");
    place.wait_for_mails(1);
    place.ask("run --wait a");
    daemon.stop();
    let daemon = place.listening(&config);
    place.ask("run --wait a");
    place.write("good", "");
    place.told("run --wait a");
    let mails = place.wait_for_mails(2);
    assert_eq!(
        mails[1].header("Subject"),
        "Job a recovered after 3 failures"
    );
    daemon.stop();
    assert_eq!(place.mails().len(), 2);
}

#[test]
fn a_report_that_the_stop_left_unsent_is_mailed_by_the_next_life() {
    let place = Place::new();
    let sendmail = place.sendmail("test -e well || exit 75");
    let config = format!("{CONFIG}{MAIL}{sendmail}\n{}", idle_job("a", "false"));
    let daemon = place.listening(&config);
    place.ask("run --wait a");
    daemon.wait_for_log("next try in 30 seconds");
    let log = daemon.stop();
    assert!(log.contains("giving up, the report follows"), "{log}");
    place.write("well", "");
    let daemon = place.listening(&config);
    place.ask("run --wait a");
    daemon.wait_for_log_times("Mailing report to: ops@example.com", 2);
    daemon.stop();
    // The same where the stop did not even wait for the try.
    let place = Place::new();
    let sendmail = place.sendmail("sleep 1000");
    let config = format!("{CONFIG}{MAIL}{sendmail}\n{}", idle_job("a", "false"));
    let daemon = place.listening(&config);
    place.ask("run --wait a");
    wait_for("sendmail to have it", || place.mails().pop());
    daemon.signal(Signal::SIGTERM);
    daemon.wait_for_log("shutting down");
    let log = daemon.stop();
    assert!(log.contains("was not sent: the daemon stops"), "{log}");
    let daemon = place.listening(&config);
    place.ask("run --wait a");
    daemon.wait_for_log_times("Mailing report to: ops@example.com", 2);
}

#[test]
fn the_file_is_there_when_loading_ends_and_for_the_daemons_user_alone() {
    let place = Place::new();
    let config = format!("{CONFIG}{}", idle_job("a", "true"));
    let daemon = place.daemon_after("umask 0", &config, |_| {});
    wait_for_file(&place.path("state"));
    let mode = fs::metadata(place.path("state")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o7777, 0o600);
    assert!(
        place.read("state").contains("\na\tdue="),
        "{}",
        place.read("state")
    );
    daemon.stop();
    assert!(!place.path(".state.new").exists());
}

fn the_file_is_written_at_most_once_a_second_however_fast_jobs_run() {
    let place = Place::new();
    let quick = job("a", "command: true\nmindelay: 0\nstuckafter: 0");
    let daemon = place.daemon(&format!("{CONFIG}{quick}"));
    wait_for_file(&place.path("state"));
    let mut seen = BTreeSet::new();
    wait_for("three versions", || {
        let metadata = fs::metadata(place.path("state")).unwrap();
        let nanoseconds = u64::try_from(metadata.mtime_nsec()).unwrap();
        let seconds = u64::try_from(metadata.mtime()).unwrap();
        seen.insert(Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds));
        (seen.len() == 3).then_some(())
    });
    // The time of a file is that of the last clock tick.
    let seen: Vec<Duration> = seen.into_iter().collect();
    let gaps: Vec<Duration> = seen.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let second = Duration::from_millis(980);
    assert!(gaps.iter().all(|gap| *gap >= second), "{gaps:?}");
    daemon.stop();
}

#[test]
fn a_pause_is_in_the_file_before_it_is_answered() {
    let place = Place::new();
    let config = format!("{CONFIG}{}", idle_job("a", "true"));
    let mut daemon = place.listening(&config);
    for n in 0..10 {
        let (word, there) = if n % 2 == 0 {
            ("pause", true)
        } else {
            ("resume", false)
        };
        let mut client = place.connect();
        client.write_all(format!("{word} a\n").as_bytes()).unwrap();
        assert_eq!(answer(&mut client), format!("0\n{word}d a\n"));
        assert_eq!(
            place.read("state").contains("\tpaused="),
            there,
            "after {word}"
        );
        // And a crash at once forgets nothing.
        drop(daemon);
        daemon = place.listening(&config);
        let paused = place.told("status").contains(" paused ");
        assert_eq!(paused, there, "after {word} and a crash");
    }
}

#[test]
fn a_pause_or_resume_that_changes_nothing_writes_nothing() {
    let place = Place::new();
    let config = format!("{CONFIG}{}{}", idle_job("a", "true"), idle_job("b", "true"));
    let daemon = place.listening(&config);
    let version = || {
        let there = fs::metadata(place.path("state")).unwrap();
        (there.ino(), there.ctime(), there.ctime_nsec())
    };
    place.told("pause a");
    let before = version();
    assert_eq!(place.told("pause a"), "a was paused already\n");
    assert_eq!(place.told("resume b"), "b was not paused\n");
    assert_eq!(version(), before);
    place.told("pause");
    assert_ne!(version(), before, "b is paused now");
    let before = version();
    assert_eq!(place.told("pause"), "paused 0 jobs\n");
    assert_eq!(version(), before);
    place.told("resume");
    assert_ne!(version(), before);
    let before = version();
    assert_eq!(place.told("resume"), "resumed 0 jobs\n");
    assert_eq!(version(), before);
    daemon.stop();
}

#[test]
fn a_reload_to_another_file_has_the_pauses_there_before_the_next_is_answered() {
    let place = Place::new();
    let a = idle_job("a", "true");
    let daemon = place.listening(&format!("{CONFIG}{a}"));
    place.told("pause a");
    place.write("conf", &format!("{SOCKET}statefile: other\n{a}"));
    place.told("reload");
    assert_eq!(place.told("pause a"), "a was paused already\n");
    assert!(place.read("other").contains("\tpaused="));
    daemon.stop();
}

#[test]
fn a_link_in_its_place_is_read_but_never_replaced() {
    let place = Place::new();
    let config = format!("{CONFIG}{}", idle_job("a", "true"));
    let daemon = place.listening(&config);
    place.told("pause a");
    daemon.stop();
    fs::rename(place.path("state"), place.path("target")).unwrap();
    std::os::unix::fs::symlink("target", place.path("state")).unwrap();
    let before = place.read("target");
    let daemon = place.listening(&config);
    let why = "cannot write state file 'state': it is a symbolic link, which is not followed (name the file that is meant)";
    daemon.wait_for_log(why);
    assert!(place.told("status").contains(" paused "));
    let line = format!("resumed, but a restart will not know: {why}\n");
    assert_eq!(place.refused("resume a"), (1, line));
    daemon.stop();
    let there = fs::symlink_metadata(place.path("state")).unwrap();
    assert!(there.is_symlink());
    assert_eq!(place.read("target"), before);
}

#[test]
fn a_pause_that_cannot_be_kept_is_in_force_but_says_so_until_it_can() {
    let place = Place::new();
    let config = format!("{SOCKET}statefile: later/state\n{}", idle_job("a", "true"));
    let daemon = place.listening(&config);
    let why = "cannot write state file 'later/state': No such file or directory";
    for _ in 0..2 {
        let line = format!("paused, but a restart will not know: {why}\n");
        assert_eq!(place.refused("pause a"), (1, line));
    }
    assert!(place.told("status").contains(" paused "));
    fs::create_dir(place.path("later")).unwrap();
    assert_eq!(place.told("pause a"), "a was paused already\n");
    assert!(place.read("later/state").contains("\tpaused="));
    assert_eq!(daemon.stop().matches(why).count(), 1);
}

pub fn killed_at_any_moment_it_leaves_a_whole_file() {
    let place = Place::new();
    let names: Vec<String> = (0..200).map(|n| format!("job{n}")).collect();
    let jobs: String = names
        .iter()
        .map(|name| job(name, "command: true\nmindelay: 0.01\nstuckafter: 0"))
        .collect();
    let config = format!("{CONFIG}{jobs}");
    for life in 0..12_u64 {
        let daemon = place.listening(&config);
        crate::common::wait_for_file(&place.path("state"));
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            // Each of these writes the file.
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    if let Ok(mut client) =
                        std::os::unix::net::UnixStream::connect(place.path("socket"))
                    {
                        let word = if life % 2 == 0 { "pause" } else { "resume" };
                        let _ = writeln!(client, "{word}");
                        let _ = std::io::Read::read(&mut client, &mut [0; 64]);
                    }
                }
            });
            let moment = Duration::from_micros(20_000 + 7_919 * life);
            let begun = Instant::now();
            while begun.elapsed() < moment {
                std::thread::sleep(Duration::from_micros(200));
            }
            drop(daemon);
            stop.store(true, Ordering::Relaxed);
        });
        let state = place.read("state");
        assert!(state.starts_with("buildd-sequencer state 1\n") && state.ends_with('\n'));
        let known: Vec<&str> = state
            .lines()
            .skip(1)
            .map(|l| l.split('\t').next().unwrap())
            .collect();
        assert_eq!(known, names, "life {life}");
    }
    assert!(
        !place.read("log").contains("State file"),
        "{}",
        place.read("log")
    );
}

pub fn a_file_that_cannot_be_used_is_as_none_with_one_warning() {
    type Prepare = fn(&Place);
    let cases: [(&str, Prepare); 6] = [
        ("it is not a state file of this version", |place| {
            drop(place.write("state", ""))
        }),
        ("it is not a state file of this version", |place| {
            fs::write(place.path("state"), [0, 159, 146, 150, b'\n', 0]).unwrap();
        }),
        ("it is not a regular file", |place| {
            let path = place.path("state");
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::from_bits_truncate(0o600)).unwrap();
        }),
        ("it is a directory", |place| {
            fs::create_dir(place.path("state")).unwrap()
        }),
        ("it is not a regular file", |place| {
            std::os::unix::fs::symlink("/dev/zero", place.path("state")).unwrap();
        }),
        (
            "line 2 cannot be read; what it says of its job is not used (and 2 more such lines)",
            |place| {
                drop(place.write("state", "buildd-sequencer state 1\na\tdue=x\n\n\0\n"));
            },
        ),
    ];
    for (why, prepare) in cases {
        let place = Place::new();
        prepare(&place);
        let daemon = place.listening(&format!(
            "{CONFIG}{}",
            job("a", "command: true\nstartdelay: 0.1\nmindelay: 1d")
        ));
        let log = daemon.wait_for_log("Job a completed with exit code 0");
        let line = format!("[-] State file 'state': {why}.\n");
        assert_eq!(log.matches(&line).count(), 1, "{why}: {log}");
        assert_eq!(log.matches("State file").count(), 1);
        daemon.stop();
    }
}

#[test]
fn a_clock_that_was_set_back_costs_times_alone() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let config = |bad: &str| {
        let bad = job("bad", &format!("command: sh -c 'exit 3'\n{bad}"));
        let held = idle_job("held", "true");
        format!("{CONFIG}{MAIL}{sendmail}\n{bad}{held}")
    };
    let daemon = place.listening(&config("mindelay: 1d"));
    for job in ["bad", "held", "bad"] {
        place.ask(&format!("run --wait {job}"));
    }
    place.told("pause");
    place.wait_for_mails(1);
    daemon.stop();
    // As if the clock had been years ahead until now.
    let ahead = |field: &str| {
        let (name, value) = field.split_once('=')?;
        let begins = match name {
            "due" | "ended" | "succeeded" | "paused" | "mailed" => 0,
            "row" => value.match_indices(',').nth(1)?.0 + 1,
            _ => return None,
        };
        let (before, rest) = value.split_at(begins);
        let (seconds, rest) = rest.split_once('.')?;
        let seconds: u64 = seconds.parse().unwrap();
        Some(format!("{name}={before}{}.{rest}", seconds + 100_000_000))
    };
    let state = place.read("state");
    assert!(
        state.contains("\tmailed=") && state.contains("\trow="),
        "{state}"
    );
    let lines = state.lines().map(|line| {
        let fields = line.split('\t');
        let fields: Vec<String> = fields.map(|f| ahead(f).unwrap_or(f.to_string())).collect();
        fields.join("\t") + "\n"
    });
    place.write("state", &lines.collect::<String>());
    let daemon = place.listening(&config("mindelay: 0.3"));
    let status: serde_json::Value = serde_json::from_str(&place.told("status --json")).unwrap();
    let jobs = status["jobs"].as_array().unwrap();
    let find = |name| jobs.iter().find(|job| job["name"] == name).unwrap();
    for (name, outcome, row) in [("bad", "exit 3", 2), ("held", "ok", 0)] {
        assert_eq!(find(name)["paused"], true, "{name}");
        assert_eq!(find(name)["outcome"], outcome);
        assert_eq!(find(name)["in_a_row"], row);
    }
    let log = daemon.wait_for_log("Loaded.");
    let line = "State file 'state': line 2 is from the future; its times are not used (and 1 more such line).";
    assert_eq!(log.matches(line).count(), 1, "{log}");
    // It is due its delay from the start, not years from now, and has been mailed already.
    place.told("resume bad");
    daemon.wait_for_log_times("Job bad completed with exit code 3", 3);
    let log = daemon.stop();
    assert_eq!(log.matches("State file").count(), 1);
    assert_eq!(place.mails().len(), 1);
}

#[test]
fn what_only_root_may_read_is_a_warning_to_others() {
    if !nix::unistd::getuid().is_root() {
        return not_tested("only root can become somebody else");
    }
    let place = Place::new();
    fs::set_permissions(place.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    place.write("state", "buildd-sequencer state 1\n");
    fs::set_permissions(place.path("state"), fs::Permissions::from_mode(0o600)).unwrap();
    let config = format!("{CONFIG}{}", idle_job("a", "true"));
    let daemon = place.daemon_with(&config, |command| {
        command.args(["-u", "65534", "-g", "65534"]);
    });
    let log = daemon.wait_for_log("Loaded.");
    assert!(
        log.contains("State file 'state': Permission denied."),
        "{log}"
    );
}

fn a_job_whose_delay_was_shortened_while_the_daemon_was_down_is_due_by_the_new_one() {
    let place = Place::new();
    let daemon = place.listening(&format!("{CONFIG}{}", idle_job("a", "true")));
    place.told("run --wait a");
    daemon.stop();
    let daemon = place.listening(&format!(
        "{CONFIG}{}",
        job("a", "command: true\nmindelay: 0.2\nstartdelay: 1d")
    ));
    daemon.wait_for_log_times("Running a", 3);
    // And one that the file does not know is due its startdelay from now.
    drop(daemon);
    let daemon = place.listening(&format!(
        "{CONFIG}{}",
        job("b", "command: true\nstartdelay: 0.1")
    ));
    daemon.wait_for_log("Running b");
    assert_eq!(stderr(&place.ask("status")), "");
}
