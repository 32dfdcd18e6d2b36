//! The metrics file: its format, checked by a strict reader, and when it is written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::at_once;
use crate::common::socket::{SOCKET, idle_job};
use crate::common::{Place, Within, job, wait_for, wait_for_file};

const CONFIG: &str = "[buildsequencer]\ncontrolsocket: socket\nmetricsfile: m.prom\n";

/// Values by name and labels.
type Samples = BTreeMap<String, f64>;

/// Prometheus' text format 0.0.4, and of that only what the program is to write.
#[track_caller]
fn parse(text: &str) -> Samples {
    let mut samples = Samples::new();
    let mut families = BTreeSet::new();
    assert!(text.is_empty() || text.ends_with('\n'), "cut off");
    let mut lines = text.lines().peekable();
    while let Some(help) = lines.next() {
        let (name, words) = help
            .strip_prefix("# HELP ")
            .unwrap()
            .split_once(' ')
            .unwrap();
        assert!(words.ends_with('.') && !words.contains('\\'), "{help}");
        assert!(
            is_name(name) && name.starts_with("buildd_sequencer_"),
            "{name}"
        );
        assert!(families.insert(name), "{name} comes twice");
        let kind = lines.next().unwrap();
        let kind = kind.strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert!(matches!(kind, "counter" | "gauge"), "{kind}");
        assert_eq!(
            kind == "counter",
            name.ends_with("_total"),
            "{name} is a {kind}"
        );
        let mut count = 0;
        while let Some(line) = lines.next_if(|line| !line.starts_with('#')) {
            let (key, value) = line.rsplit_once(' ').unwrap();
            let bare = key.strip_prefix(name).unwrap();
            if let Some(labels) = bare.strip_prefix('{') {
                for label in labels.strip_suffix('}').unwrap().split(',') {
                    let (label, value) = label.split_once('=').unwrap();
                    assert!(is_name(label), "{label}");
                    let value = value.strip_prefix('"').unwrap().strip_suffix('"').unwrap();
                    assert!(!value.contains(['"', '\\', '\n']), "{value}");
                }
            } else {
                assert_eq!(bare, "", "a time stamp, or another family: {line}");
            }
            let value: f64 = value.parse().unwrap();
            assert!(value.is_finite() && value >= 0.0, "{line}");
            let key = key.strip_prefix("buildd_sequencer_").unwrap();
            let before = samples.insert(key.to_string(), value);
            assert_eq!(before, None, "{key} comes twice");
            count += 1;
        }
        assert!(count > 0, "{name} has no value");
    }
    samples
}

fn is_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    bytes.next().is_some_and(|b| b.is_ascii_lowercase())
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
}

#[track_caller]
fn samples(place: &Place) -> Samples {
    parse(&place.read("m.prom"))
}

#[track_caller]
fn wait_for_value(place: &Place, name: &str, value: f64) -> Samples {
    wait_for(&format!("{name} {value}"), || {
        Some(samples(place)).filter(|samples| samples.get(name) == Some(&value))
    })
}

fn the_file_is_well_formed_and_true_whatever_jobs_do() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{CONFIG}{}{}{}{}{}{}",
        idle_job("good", "sleep 0.1"),
        idle_job("bad", "sh -c 'exit 3'"),
        idle_job("killed", "sh -c 'kill -9 $$'"),
        idle_job("missing", "./missing"),
        idle_job("slow", "sleep 1000") + "timeout: 0.1\n",
        idle_job(
            "long",
            "sh -c 'head -c 5000 /dev/zero; head -c 100 /dev/zero >&2'"
        ) + "maxoutput: 1K\n",
    ));
    let begun = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    for name in ["good", "bad", "bad", "killed", "missing", "slow", "long"] {
        place.ask(&format!("run --wait {name}"));
    }
    let found = wait_for_value(&place, "job_runs_total{job=\"long\"}", 1.0);
    let value = |name: &str| found.get(name).copied();
    let of = |name: &str, job: &str| value(&format!("job_{name}{{job=\"{job}\"}}"));
    for (job, runs, code, reason) in [
        ("good", 1.0, 0.0, None),
        ("bad", 2.0, 3.0, Some("exit")),
        ("killed", 1.0, 137.0, Some("signal")),
        ("missing", 1.0, 127.0, Some("start")),
        ("slow", 1.0, 143.0, Some("timeout")),
        ("long", 1.0, 0.0, None),
    ] {
        assert_eq!(of("runs_total", job), Some(runs), "{job}");
        assert_eq!(of("last_exit_code", job), Some(code), "{job}");
        let failures = if reason.is_some() { runs } else { 0.0 };
        assert_eq!(of("consecutive_failures", job), Some(failures), "{job}");
        for other in ["exit", "signal", "timeout", "start", "killed"] {
            let name = format!("job_failures_total{{job=\"{job}\",reason=\"{other}\"}}");
            let count = if Some(other) == reason { runs } else { 0.0 };
            assert_eq!(value(&name), Some(count), "{name}");
        }
        let succeeded = of("last_success_timestamp_seconds", job).is_some();
        assert_eq!(succeeded, reason.is_none(), "{job}");
        let ended = of("last_end_timestamp_seconds", job).unwrap();
        assert!((ended - begun.as_secs_f64()).abs() < 60.0, "{ended}");
        let due = of("next_due_timestamp_seconds", job).unwrap();
        assert!((due - ended - 86_400.0).abs() < 0.5, "{due} after {ended}");
        for zero in ["running", "stuck", "paused"] {
            assert_eq!(of(zero, job), Some(0.0));
        }
    }
    assert!(of("last_duration_seconds", "good").unwrap() >= 0.1);
    assert_eq!(
        of("last_duration_seconds", "good"),
        of("run_seconds_total", "good")
    );
    assert_eq!(
        of("output_left_out_bytes_total", "long"),
        Some(5000.0 - 1024.0)
    );
    assert_eq!(value("jobs"), Some(6.0));
    assert_eq!(value("last_reload_successful"), None, "none has been");
    let started = value("start_time_seconds").unwrap();
    daemon.stop();
    assert!((started - begun.as_secs_f64()).abs() < 60.0);
}

/// The versions of the file that a reader in a loop sees, until that is enough: inode and time of writing.
fn versions(
    place: &Place,
    enough: impl Fn(&BTreeSet<(u64, Duration)>) -> bool,
) -> BTreeSet<(u64, Duration)> {
    let path = place.path("m.prom");
    let mut seen = BTreeSet::new();
    wait_for("enough versions", || {
        let text = fs::read_to_string(&path).unwrap();
        parse(&text);
        assert!(!text.is_empty(), "half written");
        let metadata = fs::metadata(&path).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o644);
        let nanoseconds = u64::try_from(metadata.mtime_nsec()).unwrap();
        let seconds = u64::try_from(metadata.mtime()).unwrap();
        let written = Duration::from_secs(seconds) + Duration::from_nanos(nanoseconds);
        seen.insert((metadata.ino(), written));
        for entry in fs::read_dir(path.parent().unwrap()).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            assert!(!name.ends_with(".prom") || name == "m.prom", "{name}");
        }
        enough(&seen).then_some(())
    });
    seen
}

fn a_reader_sees_only_whole_files_and_a_new_one_at_most_once_a_second() {
    let place = Place::new();
    let jobs: String = (0..50)
        .map(|n| {
            job(
                &format!("j{n}"),
                "command: true\nmindelay: 0\nstuckafter: 0",
            )
        })
        .collect();
    let daemon = place.daemon_after("umask 077", &format!("{CONFIG}{jobs}"), |_| {});
    wait_for_file(&place.path("m.prom"));
    let seen = versions(&place, |seen| seen.len() == 3);
    let times: Vec<Duration> = seen.iter().map(|(_, written)| *written).collect();
    let mut times = times;
    times.sort_unstable();
    let gaps: Vec<Duration> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // The time of a file is that of the last clock tick.
    let second = Duration::from_millis(980);
    assert!(gaps.iter().all(|gap| *gap >= second), "{gaps:?}");
    wait_for("them to run, whoever reads", || {
        (samples(&place)["job_runs_total{job=\"j0\"}"] > 1.0).then_some(())
    });
    daemon.stop();
}

fn the_last_state_follows_within_about_a_second() {
    let place = Place::new();
    let _daemon = place.listening(&format!("{CONFIG}{}", idle_job("a", "true")));
    let mut runs = 0.0;
    for _ in 0..2 {
        // After a write that a busy machine has taken its time for, the daemon waits for longer.
        let one_of_three = (0..3).any(|_| {
            place.told("run --wait a");
            runs += 1.0;
            let mut in_time = Within::seconds(5.0);
            wait_for_value(&place, "job_runs_total{job=\"a\"}", runs);
            in_time.has_not_passed()
        });
        assert!(one_of_three);
    }
    // Nothing more happens: nothing more is written.
    let before = fs::metadata(place.path("m.prom")).unwrap().ino();
    let begun = Instant::now();
    let seen = versions(&place, |_| begun.elapsed() > Duration::from_millis(1300));
    assert_eq!(seen.len(), 1);
    assert_eq!(seen.first().unwrap().0, before);
}

fn a_job_that_hangs_from_its_start_shows_as_running_then_as_stuck() {
    let place = Place::new();
    let hangs = "command: sleep 1000\nstartdelay: 0\nstuckafter: 1.5";
    let _daemon = place.listening(&format!("{CONFIG}{}", job("a", hangs)));
    let found = wait_for_value(&place, "job_running{job=\"a\"}", 1.0);
    assert_eq!(found["job_stuck{job=\"a\"}"], 0.0);
    assert_eq!(found.get("job_next_due_timestamp_seconds{job=\"a\"}"), None);
    // Nothing else happens; nobody even waits.
    let found = wait_for_value(&place, "job_stuck{job=\"a\"}", 1.0);
    assert_eq!(found["job_running{job=\"a\"}"], 1.0);
    assert_eq!(found["job_runs_total{job=\"a\"}"], 0.0);
}

fn pauses_and_reloads_show_without_a_run() {
    let place = Place::new();
    let jobs = idle_job("a", "true") + &idle_job("b", "true");
    let _daemon = place.listening(&format!("{CONFIG}{jobs}"));
    place.told("pause a");
    let found = wait_for_value(&place, "job_paused{job=\"a\"}", 1.0);
    assert_eq!(found["jobs_paused"], 1.0);
    assert_eq!(found.get("job_next_due_timestamp_seconds{job=\"a\"}"), None);
    place.told("resume");
    place.told("reload");
    let found = wait_for_value(&place, "reloads_total{result=\"success\"}", 1.0);
    assert_eq!(found["job_paused{job=\"a\"}"], 0.0);
    assert_eq!(found["last_reload_successful"], 1.0);
    place.write("conf", &format!("{CONFIG}{jobs}mindelay: x\n"));
    place.ask("reload");
    let found = wait_for_value(&place, "reloads_total{result=\"refused\"}", 1.0);
    assert_eq!(found["last_reload_successful"], 0.0);
    assert_eq!(found["reloads_total{result=\"success\"}"], 1.0);
}

pub fn the_file_follows_in_its_time() {
    at_once!(
        the_last_state_follows_within_about_a_second,
        pauses_and_reloads_show_without_a_run,
        a_reader_sees_only_whole_files_and_a_new_one_at_most_once_a_second,
        a_file_that_cannot_be_written_is_told_once_and_tried_again,
        a_job_that_hangs_from_its_start_shows_as_running_then_as_stuck,
        mail_is_counted_message_by_message_and_once,
        a_file_that_somebody_put_in_the_place_of_ours_outlives_the_stop,
        the_file_is_well_formed_and_true_whatever_jobs_do,
        after_a_crash_the_file_stays_and_the_next_daemon_takes_it_over,
        what_a_full_queue_pushes_out_is_counted_as_given_up
    );
}

#[test]
fn a_reload_moves_the_file_and_a_clean_stop_removes_it() {
    let place = Place::new();
    let a = idle_job("a", "true");
    let daemon = place.listening(&format!("{CONFIG}{a}"));
    wait_for_file(&place.path("m.prom"));
    place.write("conf", &format!("{SOCKET}metricsfile: n.prom\n{a}"));
    place.told("reload");
    assert!(!place.path("m.prom").exists(), "nobody keeps it up to date");
    wait_for_file(&place.path("n.prom"));
    daemon.stop();
    let left: Vec<String> = fs::read_dir(place.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!left.iter().any(|name| name.contains("prom")), "{left:?}");
}

#[test]
fn what_somebody_else_put_in_its_place_is_neither_replaced_nor_removed() {
    type Prepare = fn(&Place);
    let cases: [(&str, Prepare); 4] = [
        ("it is a directory", |place| {
            fs::create_dir(place.path("m.prom")).unwrap();
        }),
        ("it is not a regular file", |place| {
            let mode = nix::sys::stat::Mode::S_IRUSR;
            nix::unistd::mkfifo(&place.path("m.prom"), mode).unwrap();
        }),
        (
            "it is a symbolic link, which is not followed (name the file that is meant)",
            |place| {
                std::os::unix::fs::symlink("target", place.path("m.prom")).unwrap();
            },
        ),
        (
            "it is a symbolic link, which is not followed (name the file that is meant)",
            |place| {
                std::os::unix::fs::symlink("/dev/null", place.path("m.prom")).unwrap();
            },
        ),
    ];
    for (why, prepare) in cases {
        let place = Place::new();
        place.write("target", "precious");
        prepare(&place);
        let before = fs::symlink_metadata(place.path("m.prom")).unwrap();
        let daemon = place.listening(&format!("{CONFIG}{}", idle_job("a", "true")));
        daemon.wait_for_log(&format!("cannot write metrics file 'm.prom': {why};"));
        assert_eq!(place.told("pause a"), "paused a\n");
        daemon.stop();
        let after = fs::symlink_metadata(place.path("m.prom")).unwrap();
        assert_eq!(after.ino(), before.ino(), "{why}");
        assert_eq!(place.read("target"), "precious");
        assert!(!place.path(".m.prom.new").exists());
    }
}

fn a_file_that_somebody_put_in_the_place_of_ours_outlives_the_stop() {
    let place = Place::new();
    let config = format!("{CONFIG}{}", idle_job("a", "true"));
    let daemon = place.listening(&config);
    place.told("pause a");
    // The last state is there: nothing more is written.
    wait_for_value(&place, "job_paused{job=\"a\"}", 1.0);
    fs::remove_file(place.path("m.prom")).unwrap();
    fs::write(place.path("m.prom"), "theirs").unwrap();
    daemon.stop();
    assert_eq!(place.read("m.prom"), "theirs");
    // One that is there at the start is replaced, and so is ours to remove.
    let daemon = place.listening(&config);
    wait_for_value(&place, "job_paused{job=\"a\"}", 0.0);
    daemon.stop();
    assert!(!place.path("m.prom").exists());
}

fn after_a_crash_the_file_stays_and_the_next_daemon_takes_it_over() {
    let place = Place::new();
    let config = format!("{CONFIG}{}", idle_job("a", "true"));
    let daemon = place.listening(&config);
    place.told("run --wait a");
    wait_for_value(&place, "job_runs_total{job=\"a\"}", 1.0);
    drop(daemon);
    assert!(place.path("m.prom").exists());
    // What a crash in the middle of a write leaves behind.
    place.write(".m.prom.new", "half");
    let daemon = place.listening(&config);
    wait_for_value(&place, "job_runs_total{job=\"a\"}", 0.0);
    assert!(!place.path(".m.prom.new").exists());
    daemon.stop();
}

fn a_file_that_cannot_be_written_is_told_once_and_tried_again() {
    let place = Place::new();
    let daemon = place.listening(&format!(
        "{SOCKET}metricsfile: later/m.prom\n{}",
        job("a", "command: true\nmindelay: 0.05\nstuckafter: 0")
    ));
    let line = "cannot write metrics file 'later/m.prom': No such file or directory";
    daemon.wait_for_log(line);
    daemon.wait_for_log_times("Running a", 25);
    fs::create_dir(place.path("later")).unwrap();
    wait_for_file(&place.path("later/m.prom"));
    assert_eq!(daemon.stop().matches(line).count(), 1);
}

fn mail_is_counted_message_by_message_and_once() {
    let place = Place::new();
    let sendmail = place.sendmail("case $to in fails*) exit 75;; esac");
    let daemon = place.listening(&format!(
        "{CONFIG}{sendmail}\nfromaddress: a@example.com\nmailproblemsto: one@example.com fails@example.com\n{}",
        idle_job("bad", "false")
    ));
    place.ask("run --wait bad");
    let found = wait_for_value(&place, "mail_tries_failed_total", 1.0);
    assert_eq!(found["mail_queue_length"], 1.0);
    wait_for_value(&place, "mails_sent_total", 1.0);
    assert_eq!(samples(&place)["mails_given_up_total"], 0.0);
    daemon.stop();
}

fn what_a_full_queue_pushes_out_is_counted_as_given_up() {
    let place = Place::new();
    let sendmail = place.sendmail("sleep 1000");
    let recipients: String = (0..300).map(|n| format!("r{n}@example.com ")).collect();
    let daemon = place.listening(&format!(
        "{CONFIG}{sendmail}\nfromaddress: a@example.com\nmailproblemsto: {recipients}\n{}",
        idle_job("bad", "false")
    ));
    place.ask("run --wait bad");
    let found = wait_for_value(&place, "mails_given_up_total", 300.0 - 256.0);
    assert_eq!(found["mail_queue_length"], 256.0);
    assert_eq!(found["mails_sent_total"], 0.0);
    let log = daemon.wait_for_log_times("was not sent: the queue is full", 44);
    assert_eq!(log.matches("was not sent: the queue is full").count(), 44);
}
