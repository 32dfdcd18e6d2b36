//! Tests of `event`: each event's text and fields, that the manual has all of them, and that no bytes break a line.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::job::outcome::Cause;
use crate::job::output::Capture;
use crate::job::throttle::Recovery;
use crate::mail::queue::Queue;
use crate::mail::report::{Failed, Origin, Run, Waiting};
use crate::message::Format;
use crate::system::log::{Log, Own, Rotation};

const MOST: usize = 16 * 1024;

fn outcome(code: i32) -> Outcome {
    Outcome {
        code,
        cause: Cause::Exited,
    }
}

fn origin() -> Origin<'static> {
    Origin {
        from: "lp@example.com",
        host: "build1",
        name: None,
        pid: 312,
        number: 7,
        now: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_476_997),
    }
}

fn run(job: &str) -> Run<'_> {
    Run {
        job,
        command: "scan --all",
        started: origin().now - Duration::from_secs(4),
        took: Duration::from_micros(3_249_600),
    }
}

fn captured(limit: u64, bytes: &[u8]) -> Capture {
    let mut capture = Capture::new(limit);
    capture.push(bytes);
    capture
}

fn failure(job: &str, stdout: Capture, stderr: Capture) -> Report {
    let failed = Failed {
        outcome: &outcome(3),
        repeat: None,
        stdout: stdout.into_kept(),
        stderr: stderr.into_kept(),
    };
    Report::failure(&run(job), failed, &origin())
}

fn unsent(report: Report, to: &str) -> Unsent {
    let mut queue = Queue::new();
    queue.push(Rc::new(report), to, Instant::now());
    queue.drain().pop().unwrap().unsent
}

/// The lines of a log that is told this.
fn logged(message: &dyn Message, format: Format) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let rotation = Rotation { size: 0, keep: 0 };
    let mut log = Log::open(Some(&path), rotation, None).unwrap();
    log.spew = true;
    log.format = format;
    log.tell(message);
    log.flush(Instant::now(), SystemTime::now());
    fs::read(path).unwrap()
}

fn objects(message: &dyn Message) -> Vec<Value> {
    let bytes = logged(message, Format::Json);
    let lines = bytes.strip_suffix(b"\n").unwrap().split(|&b| b == b'\n');
    lines
        .map(|line| {
            assert!(line.len() < MOST, "{} bytes", line.len());
            serde_json::from_slice(line).unwrap()
        })
        .collect()
}

/// The fields of an object beside those that each has.
fn fields(object: &Value) -> Value {
    let mut object = object.as_object().unwrap().clone();
    for name in ["time", "level", "event", "message"] {
        assert!(object.remove(name).unwrap().is_string());
    }
    object.into()
}

/// Calls `each` with a sample of every event, its text, and its fields.
fn samples(each: &mut dyn FnMut(&dyn Message, &str, Value)) {
    let (ok, three) = (outcome(0), outcome(3));
    let (wait, late) = (Duration::from_micros(4_999_700), Duration::from_millis(20));
    let (job, to, pid) = ("scan", "ops@example.com", 4711);
    let report = failure(job, captured(99, b"out\n"), captured(99, b"err\n"));
    let undelivered = unsent(failure(job, captured(99, b"out\n"), captured(99, b"")), to);
    let unsent = &undelivered;
    let recovery = Recovery {
        failures: 57,
        since: origin().now,
        not_mailed: 56,
    };
    let recovered = Report::recovered(&run(job), &recovery, &origin());
    let waiting = Waiting {
        all: "1 job waits".into(),
        first: Vec::new(),
        more: 0,
    };
    let stuck = Report::stuck(
        &run(job),
        Duration::from_secs(3600),
        4711,
        &waiting,
        &origin(),
    );
    let head = "Job: scan\nCommand: scan --all\n";
    let in_words: [(Event<'_>, &str, Value); 49] = [
        (Event::Loading, "Loading jobs...", json!({})),
        (
            Event::Loaded(Some(job)),
            "   ...loaded scan",
            json!({"job": job}),
        ),
        (Event::Loaded(None), "Loaded.", json!({})),
        (Event::Targets("   ... -"), "   ... -", json!({})),
        (
            Event::Scheduled { job, wait },
            "Scheduling scan for      5 seconds time",
            json!({"job": job, "seconds": 5}),
        ),
        (
            Event::Started {
                job,
                pid: Some(pid),
                late,
            },
            "Running scan",
            json!({"job": job, "pid": pid, "late": 0.02}),
        ),
        (
            Event::Started {
                job,
                pid: None,
                late,
            },
            "Running scan",
            json!({"job": job, "late": 0.02}),
        ),
        (
            Event::Completed {
                job,
                outcome: &ok,
                took: wait,
                late,
            },
            "Job scan completed with exit code 0",
            json!({"job": job, "code": 0, "outcome": "ok", "seconds": 5, "late": 0.02}),
        ),
        (
            Event::Completed {
                job,
                outcome: &three,
                took: late,
                late,
            },
            "Job scan completed with exit code 3",
            json!({"job": job, "code": 3, "outcome": "exit 3", "seconds": 0.02, "late": 0.02}),
        ),
        (
            Event::Output {
                job,
                stream: Name::Stdout,
                parts: [b"a\n", b"", b"", b""],
                missing: 0,
            },
            "Job output was:\n\ta\n\t\n\t",
            json!({"job": job, "stream": "stdout", "stdout": "a\n"}),
        ),
        (
            Event::Output {
                job,
                stream: Name::Stderr,
                parts: [b"a", b"gap", b"b", b"c"],
                missing: 1,
            },
            "Job error output was:\n\tagapbc\n\t",
            json!({"job": job, "stream": "stderr",
                "stderr": "a\n[... 1 byte left out ...]\nbc", "stderr_left_out": 1}),
        ),
        (
            Event::Line {
                job,
                stream: Name::Stderr,
                line: b"\xff",
            },
            "scan: \u{fffd}",
            json!({"job": job, "stream": "stderr"}),
        ),
        (
            Event::Report {
                level: Level::Warning,
                report: &report,
            },
            "From: ",
            json!({"job": job, "code": 3, "outcome": "exit 3",
            "seconds": 3.25, "text": format!("{head}Exit code: 3\n"), "stdout": "out\n", "stderr": "err\n"}),
        ),
        (
            Event::Report {
                level: Level::Info,
                report: &recovered,
            },
            "From: ",
            json!({"job": job, "code": 0, "outcome": "ok",
            "seconds": 3.25, "text": format!("{head}Recovered after: 57 failures in a row since 2026-11-23T23:36:37Z, 56 not mailed\n")}),
        ),
        (
            Event::Report {
                level: Level::Error,
                report: &stuck,
            },
            "From: ",
            json!({"job": job, "seconds": 3.25,
            "text": format!("{head}Still running after: 3600 seconds (pid 4711)\nWaiting: 1 job waits\n")}),
        ),
        (
            Event::UnsentReport(unsent),
            "From: ",
            json!({"job": job, "code": 3, "outcome": "exit 3", "seconds": 3.25,
            "recipient": to, "part": 1, "parts": 2, "text": format!("{head}Exit code: 3\n")}),
        ),
        (
            Event::Stuck {
                job,
                after: Duration::from_secs(3600),
                pid,
                waiting: "1 job waits",
            },
            "Job scan still running after 3600 seconds (pid 4711), 1 job waits",
            json!({"job": job, "seconds": 3600, "pid": pid}),
        ),
        (
            Event::Unkillable {
                who: Who::Run(job),
                pid,
                why: Some("no"),
                left: false,
            },
            "Job scan (pid 4711) cannot be signalled: no; no other job starts before its end.",
            json!({"job": job, "pid": pid}),
        ),
        (
            Event::Unkillable {
                who: Who::Rest(job),
                pid,
                why: None,
                left: true,
            },
            "What is left of job scan (process group 4711) does not die of SIGKILL; leaving it behind.",
            json!({"job": job, "pid": pid}),
        ),
        (
            Event::Unkillable {
                who: Who::Sendmail,
                pid,
                why: Some("no"),
                left: true,
            },
            "sendmail (pid 4711) cannot be signalled: no; leaving it behind.",
            json!({"pid": pid}),
        ),
        (
            Event::Background { job },
            "Job scan has ended, but a background process keeps its output open; closing it and going on.",
            json!({"job": job}),
        ),
        (
            Event::Mailing {
                report: &report,
                to,
            },
            "Mailing report to: ops@example.com",
            json!({"job": job, "recipient": to}),
        ),
        (
            Event::MailFailed {
                level: Level::Warning,
                unsent,
                line: "Mail to x failed",
            },
            "Mail to x failed",
            json!({"job": job, "recipient": to}),
        ),
        (
            Event::MailFailed {
                level: Level::Error,
                unsent,
                line: "Mail to x failed",
            },
            "Mail to x failed",
            json!({"job": job, "recipient": to}),
        ),
        (
            Event::MailNotSent {
                unsent,
                why: "the daemon stops",
            },
            "Mail to ops@example.com was not sent: the daemon stops, the report follows",
            json!({"job": job, "recipient": to}),
        ),
        (
            Event::NoSendmail("/x"),
            "sendmail is '/x' here; set it to a program that sends mail, or mailproblemsto to '-' to have reports in the log",
            json!({}),
        ),
        (
            Event::NotWritten("cannot write"),
            "cannot write; trying again.",
            json!({}),
        ),
        (
            Event::Stopping {
                signal: "SIGTERM",
                again: false,
            },
            "Received SIGTERM, shutting down.",
            json!({"signal": "SIGTERM"}),
        ),
        (
            Event::Stopping {
                signal: "SIGINT",
                again: true,
            },
            "Received SIGINT again, stopping at once.",
            json!({"signal": "SIGINT"}),
        ),
        (
            Event::Draining(Some(job)),
            "Received SIGQUIT, draining: scan may end, then the daemon stops.",
            json!({"signal": "SIGQUIT", "job": job}),
        ),
        (
            Event::Draining(None),
            "Received SIGQUIT, draining: no job runs.",
            json!({"signal": "SIGQUIT"}),
        ),
        (
            Event::Hangup,
            "Received SIGHUP, reloading configuration.",
            json!({"signal": "SIGHUP"}),
        ),
        (
            Event::NothingToRotate,
            "Received SIGUSR1; the log is standard output, nothing to rotate.",
            json!({"signal": "SIGUSR1"}),
        ),
        (
            Event::Status("JOB\nscan\n"),
            "Received SIGUSR2, status:\n\tJOB\n\tscan",
            json!({}),
        ),
        (
            Event::Asked {
                request: "kill",
                job: Some(job),
                at_once: true,
                uid: 7,
                pid,
            },
            "Asked to kill scan at once by uid 7 (pid 4711).",
            json!({"request": "kill", "job": job, "uid": 7, "pid": pid}),
        ),
        (
            Event::Asked {
                request: "reload",
                job: None,
                at_once: false,
                uid: 7,
                pid,
            },
            "Asked to reload by uid 7 (pid 4711).",
            json!({"request": "reload", "uid": 7, "pid": pid}),
        ),
        (Event::Changed("Added job a"), "Added job a", json!({})),
        (Event::Refused("a:1: no"), "a:1: no", json!({})),
        (Event::Warning("beware"), "beware", json!({})),
        (
            Event::Control(Level::Info, "No control socket"),
            "No control socket",
            json!({}),
        ),
        (
            Event::Control(Level::Error, "cannot listen"),
            "cannot listen",
            json!({}),
        ),
        (
            Event::Http(Level::Info, "Listening"),
            "Listening",
            json!({}),
        ),
        (
            Event::Http(Level::Warning, "Cannot listen"),
            "Cannot listen",
            json!({}),
        ),
        (Event::Log("cannot open log"), "cannot open log", json!({})),
        (
            Event::Fault("x"),
            "cannot wait for events: x; trying on",
            json!({}),
        ),
        (
            Event::Decision(Decision::NotMailing(job)),
            "Not mailing: scan was mailed for this within its mailinterval",
            json!({"job": job}),
        ),
        (
            Event::Decision(Decision::Delivering { to, pid }),
            "Mail to ops@example.com goes to process 4711",
            json!({"recipient": to, "pid": pid}),
        ),
        (Event::LeaseLost("run out"), "run out", json!({})),
        (Event::Terminated, "Main loop terminated.", json!({})),
    ];
    for (event, text, fields) in in_words {
        each(&event, text, fields);
    }
    for (decision, text, fields) in [
        (
            Decision::Reaped(3),
            "Reaped the run's process, exit code 3",
            json!({"code": 3}),
        ),
        (
            Decision::ReapedOrphan(9),
            "Reaped orphan 9",
            json!({"pid": 9}),
        ),
        (
            Decision::Sending("SIGTERM", 9),
            "Sending SIGTERM to process group 9",
            json!({"pid": 9}),
        ),
        (Decision::Delivered, "sendmail took the message", json!({})),
    ] {
        each(&Event::Decision(decision), text, fields);
    }
    for (own, text, fields) in [
        (
            Own::Dropped(2),
            "2 log lines were dropped here because the log could not be written",
            json!({"lines": 2}),
        ),
        (
            Own::File(Level::Warning, "in the way"),
            "in the way",
            json!({}),
        ),
    ] {
        each(&own, text, fields);
    }
}

#[test]
fn each_event_has_its_text_and_its_fields() {
    samples(&mut |message, text, expected| {
        let lines = String::from_utf8_lossy(&logged(message, Format::Twistd)).into_owned();
        let (_, said) = lines.split_once(" [-] ").unwrap();
        let objects = objects(message);
        let title = objects[0]["message"].as_str().unwrap();
        match message.title() {
            None => {
                assert_eq!(said, format!("{text}\n"));
                assert_eq!(title, text.split('\n').next().unwrap());
            }
            Some(subject) => {
                assert!(
                    said.contains(&format!("\n\tSubject: {subject}\n")),
                    "{said}"
                );
                assert_eq!(title, subject);
            }
        }
        assert_eq!(fields(&objects[0]), expected, "{text}");
        let (event, level) = message.head();
        assert_eq!(
            (&objects[0]["event"], &objects[0]["level"]),
            (&json!(event), &json!(level.word()))
        );
    });
}

#[test]
fn every_event_has_a_sample() {
    let source = include_str!("mod.rs");
    let (_, variants) = source.split_once("pub enum Event<'a> {\n").unwrap();
    let (variants, _) = variants.split_once("\n}\n").unwrap();
    let variants = variants
        .lines()
        .filter_map(|line| line.strip_prefix("    "));
    let names = variants.filter(|line| line.starts_with(|c: char| c.is_uppercase()));
    let (_, samples) = include_str!("tests.rs").split_once("fn samples(").unwrap();
    let (samples, _) = samples.split_once("\n}\n").unwrap();
    let without: Vec<&str> = names
        .map(|line| line.split(|c: char| !c.is_alphanumeric()).next().unwrap())
        .filter(|name| {
            !samples.contains(&format!(" Event::{name}"))
                && !samples.contains(&format!("(Event::{name}"))
        })
        .collect();
    assert!(without.is_empty(), "no sample of {without:?}");
}

/// What the manual says of an event: its levels and its fields.
type Told = BTreeMap<String, (BTreeSet<String>, BTreeSet<String>)>;

/// The events of buildd-sequencer.conf(5): `.It Ic WORD Po LEVEL , LEVEL Pc Ar FIELD , FIELD`.
fn manual() -> Told {
    let page = include_str!("../../contrib/man/buildd-sequencer.conf.5");
    let (_, table) = page.split_once("\n.Sh EVENTS\n").unwrap();
    let (table, _) = table.split_once("\n.Sh ").unwrap();
    let lines = table
        .lines()
        .filter_map(|line| line.strip_prefix(".It Ic "));
    let mut told = Told::new();
    for line in lines {
        let (word, rest) = line.split_once(" Po ").unwrap();
        let (levels, names) = rest.split_once(" Pc").unwrap();
        let list = |text: &str| {
            let words = text
                .split([' ', ','])
                .filter(|word| !["", "Ar"].contains(word));
            words.map(str::to_string).collect()
        };
        told.insert(word.to_string(), (list(levels), list(names)));
    }
    told
}

#[test]
fn the_manual_has_every_event_with_its_levels_and_fields() {
    let mut told = Told::new();
    samples(&mut |message, _, _| {
        let (word, level) = message.head();
        let (levels, names) = told.entry(word.to_string()).or_default();
        levels.insert(level.word().to_string());
        for object in objects(message) {
            let object = fields(&object);
            let all = object.as_object().unwrap().keys();
            names.extend(all.filter(|name| !name.ends_with("_left_out")).cloned());
        }
    });
    assert_eq!(manual(), told);
}

#[test]
fn a_message_of_several_lines_is_an_object_a_line() {
    let lines = objects(&Event::Status("JOB\n\nscan\n"));
    let messages: Vec<&Value> = lines.iter().map(|line| &line["message"]).collect();
    assert_eq!(messages, ["Received SIGUSR2, status:", "JOB", "", "scan"]);
    assert!(lines.iter().all(|line| line["event"] == "status"));
}

/// Bytes that are easily told from one another, most of them several as escaped.
fn noise(length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + n / 256) as u8).collect()
}

#[test]
fn the_longest_of_everything_makes_objects_that_are_short_enough() {
    let long = "\u{1}".repeat(20_000);
    let noise = noise(100_000);
    let report = || failure(&long, captured(9_000, &noise), captured(1 << 20, &noise));
    let streams = objects(&Event::Report {
        level: Level::Error,
        report: &report(),
    });
    assert_eq!(streams.len(), 1);
    for name in ["stdout_left_out", "stderr_left_out"] {
        let gone = streams[0][name].as_u64().unwrap();
        assert!((95_000..100_000).contains(&gone), "{name}: {gone}");
    }
    let undelivered = unsent(report(), &long);
    let parts = objects(&Event::UnsentReport(&undelivered));
    assert!(parts.len() > 10);
    let kept = captured(9_000, &noise).into_kept().bytes;
    for (name, whole) in [("stdout", &kept), ("stderr", &noise)] {
        let pieces = parts.iter().filter_map(|part| part[name].as_str());
        let pieces: String = pieces.collect();
        assert!(!pieces.is_empty());
        // A piece may end within what is no character.
        let plain = |text: &str| text.replace('\u{fffd}', "");
        assert_eq!(
            plain(&pieces),
            plain(&String::from_utf8_lossy(whole)),
            "{name}"
        );
    }
    for (number, part) in (1..).zip(&parts) {
        assert_eq!(
            (&part["part"], &part["parts"]),
            (&json!(number), &json!(parts.len()))
        );
    }
    let output = captured(1 << 20, &noise);
    let gap = output.gap();
    objects(&Event::Output {
        job: &long,
        stream: Name::Stdout,
        parts: output.parts(&gap),
        missing: output.missing(),
    });
    objects(&Event::Asked {
        request: "pause",
        job: Some(&long),
        at_once: false,
        uid: u32::MAX,
        pid: i32::MIN,
    });
    objects(&Event::Completed {
        job: &long,
        outcome: &outcome(3),
        took: Duration::MAX,
        late: Duration::MAX,
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    #[test]
    fn whatever_a_job_prints_a_line_of_its_output_is_whole_in_short_objects(
        line in prop::collection::vec(prop_oneof![any::<u8>(), Just(0), Just(b'x')], 0..8192),
    ) {
        let line: Vec<u8> = line.into_iter().filter(|&byte| byte != b'\n').collect();
        let lines = objects(&Event::Line { job: "a", stream: Name::Stdout, line: &line });
        let texts = lines.iter().map(|line| line["message"].as_str().unwrap().strip_prefix("a: ").unwrap());
        prop_assert_eq!(texts.collect::<String>(), String::from_utf8_lossy(&line));
        prop_assert!(lines.iter().all(|line| line["stream"] == "stdout" && line["event"] == "output"));
    }

    #[test]
    fn whatever_a_job_prints_its_report_has_both_ends_and_says_what_is_missing(
        stdout in prop::collection::vec(any::<u8>(), 0..9000), stderr in "[a\n\"\u{e9}]{0,3000}", limit in 0..9000_u64,
    ) {
        let report = failure("a", captured(limit, &stdout), captured(limit, stderr.as_bytes()));
        let objects = objects(&Event::Report { level: Level::Warning, report: &report });
        prop_assert_eq!(objects.len(), 1);
        let text = objects[0]["stderr"].as_str().unwrap();
        match objects[0]["stderr_left_out"].as_u64() {
            None => prop_assert_eq!(text, stderr),
            Some(gone) => {
                let words = format!("[... {gone} byte{} left out ...]\n", if gone == 1 { "" } else { "s" });
                let (first, last) = text.split_once(&words).unwrap();
                let broken = '\u{fffd}';
                let first = first.trim_end_matches('\n').trim_end_matches(broken);
                prop_assert!(stderr.starts_with(first) && stderr.ends_with(last.trim_start_matches(broken)));
            }
        }
    }
}
