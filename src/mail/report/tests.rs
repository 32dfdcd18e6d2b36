//! Tests of `report`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use crate::job::outcome::Cause;
use proptest::prelude::*;

const FROM: &str = "launchpad@lists.canonical.com";
const HEADERS: [&str; 16] = [
    "From",
    "To",
    "Subject",
    "X-Launchpad",
    "X-Buildd",
    "X-Buildd-Host",
    "X-Buildd-Job",
    "X-Buildd-Started",
    "X-Buildd-Duration",
    "Date",
    "Message-ID",
    "Auto-Submitted",
    "Precedence",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
];

fn clock() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_476_997)
}

fn origin(host: &str) -> Origin<'_> {
    Origin {
        from: FROM,
        host,
        name: None,
        pid: 312,
        number: 7,
        now: clock(),
    }
}

fn run<'a>(job: &'a str, command: &'a str) -> Run<'a> {
    Run {
        job,
        command,
        started: clock() - Duration::from_secs(4),
        took: Duration::from_micros(3_250_999),
    }
}

fn exited(code: i32) -> Outcome {
    Outcome {
        code,
        cause: Cause::Exited,
    }
}

fn failure(run: &Run<'_>, outcome: &Outcome, stdout: &[u8], stderr: &[u8]) -> Report {
    let failed = Failed {
        outcome,
        repeat: None,
        stdout: stdout.to_vec().into(),
        stderr: stderr.to_vec().into(),
    };
    Report::failure(run, failed, &origin("cocoplum"))
}

/// The whole message, as sendmail reads it.
fn mailed(report: Report, to: &str) -> Vec<u8> {
    let mut message = Message::new(Rc::new(report), to, 1);
    let mut text = Vec::new();
    while message.fill(&mut text, usize::MAX) {}
    text
}

fn log_text(report: &Report, to: &str, copy: u64) -> Vec<u8> {
    [report.log_headers(to, copy).as_bytes(), report.body()].concat()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Splits a message into its header lines and its body.
fn parts(message: &str) -> (Vec<&str>, &str) {
    let (head, body) = message.split_once("\n\n").unwrap();
    (head.split('\n').collect(), body)
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let (head, _) = parts(message);
    let start = format!("{name}: ");
    head.iter()
        .find_map(|line| line.strip_prefix(&start))
        .unwrap()
}

#[test]
fn a_failure_is_reported_byte_for_byte_as_the_contract_says() {
    let run = run("queue_builder", "jobs/queue.sh --all");
    let report = failure(&run, &exited(3), b"2 builds\n", b"database is locked\n");
    assert_eq!(report.job(), "queue_builder");
    assert_eq!(report.subject(), "Job queue_builder exited with code 3");
    assert_eq!(*report.kind(), Kind::Failure("exit 3".to_string()));
    let expected = "\
From: Launchpad Build Daemon Sequencer <launchpad@lists.canonical.com>
To: ops@example.com
Subject: Job queue_builder exited with code 3
X-Launchpad: yes
X-Buildd: yes
X-Buildd-Host: cocoplum
X-Buildd-Job: queue_builder
X-Buildd-Started: 2026-11-23T23:36:33Z
X-Buildd-Duration: 3.251
Date: Mon, 23 Nov 2026 23:36:37 +0000
Message-ID: <1795476997.000000000.312.7.1@cocoplum>
Auto-Submitted: auto-generated
Precedence: bulk
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 7bit

Job: queue_builder
Command: jobs/queue.sh --all
Exit code: 3
Standard Error:

database is locked


Standard Output:

2 builds

";
    assert_eq!(text(log_text(&report, "ops@example.com", 1)), expected);
    assert_eq!(text(mailed(report, "ops@example.com")), expected);
}

// What an SMTP server received from the original daemon. Its five headers are our first five, and its body is our body.
#[test]
fn the_original_daemons_mail_is_what_its_reader_still_gets() {
    let original = "\
From: Launchpad Build Daemon Sequencer <launchpad@lists.canonical.com>
To: ops@example.com
Subject: Job queue_builder exited with code 3
X-Launchpad: yes
X-Buildd: yes

Job: queue_builder
Command: jobs/queue.sh
Exit code: 3
Standard Error:

queue: database is locked


Standard Output:

queue: 2 builds

";
    let run = run("queue_builder", "jobs/queue.sh");
    let out = b"queue: 2 builds\n";
    let errors = b"queue: database is locked\n";
    let message = text(mailed(
        failure(&run, &exited(3), out, errors),
        "ops@example.com",
    ));
    let (head, body) = parts(&message);
    let (original_head, original_body) = parts(original);
    assert_eq!(head[..5], original_head);
    assert_eq!(body, original_body);
}

// The original's test, `interpolateFailureFor("-", 0, job1)`: sender, recipient, job, code, command and both streams
// are each where they belong, empty or not.
#[test]
fn failure_messages_of_the_original_test_are_interpolated() {
    let report = failure(&run("job-name1", "job-command1"), &exited(0), b"FOO", b"");
    let message = text(log_text(&report, "-", 1));
    assert!(header(&message, "From").ends_with("<launchpad@lists.canonical.com>"));
    assert_eq!(header(&message, "To"), "-");
    assert_eq!(
        header(&message, "Subject"),
        "Job job-name1 exited with code 0"
    );
    let (_, body) = parts(&message);
    assert_eq!(
        body,
        "Job: job-name1\nCommand: job-command1\nExit code: 0\n\
         Standard Error:\n\n\n\nStandard Output:\n\nFOO\n"
    );
}

// The original's test, `mailOutFailure(1, job2)` with the one target `-`, then `mailOutFailure(1, job1)` with
// dsilvers@digital-scurf.org as a second target: the log and the mail hold the same report.
#[test]
fn failures_of_the_original_test_are_mailed_out() {
    let job2 = failure(&run("job-name2", "job-command2"), &exited(1), b"", b"BAR");
    let (message, to) = (text(log_text(&job2, "-", 1)), "dsilvers@digital-scurf.org");
    assert_eq!(header(&message, "To"), "-");
    let (_, body) = parts(&message);
    assert_eq!(
        body,
        "Job: job-name2\nCommand: job-command2\nExit code: 1\n\
         Standard Error:\n\nBAR\n\nStandard Output:\n\n\n"
    );
    let job1 = failure(&run("job-name1", "job-command1"), &exited(1), b"FOO", b"");
    let logged = text(log_text(&job1, "-", 1));
    let sent = text(mailed(job1, to));
    assert_eq!(header(&sent, "To"), to);
    assert_eq!(sent, logged.replace("To: -\n", &format!("To: {to}\n")));
}

#[test]
fn deaths_and_time_outs_say_so_in_subject_and_body() {
    for (code, cause, said) in [
        (137, Cause::Killed(9), "137 (killed by SIGKILL)"),
        (
            143,
            Cause::TimedOut(Duration::from_secs(30)),
            "143 (timed out after 30 seconds)",
        ),
        (143, Cause::Operator, "143 (stopped by operator)"),
        (
            137,
            Cause::Shutdown { forced: true },
            "137 (stopped at shutdown)",
        ),
        (
            127,
            Cause::NotStarted("No such file".to_string()),
            "127 (could not start: No such file)",
        ),
    ] {
        let outcome = Outcome { code, cause };
        let report = failure(&run("scan", "scan"), &outcome, b"", b"");
        assert_eq!(*report.kind(), Kind::Failure(outcome.word()));
        let message = text(mailed(report, "ops@example.com"));
        assert_eq!(
            header(&message, "Subject"),
            format!("Job scan exited with code {said}")
        );
        let (_, body) = parts(&message);
        assert!(
            body.contains(&format!("\nExit code: {said}\nStandard Error:\n")),
            "{body}"
        );
    }
}

#[test]
fn a_repeat_says_how_many_failures_were_not_mailed() {
    let failed = Failed {
        outcome: &exited(3),
        repeat: Some(Repeat {
            failures: 57,
            since: clock(),
            not_mailed: 56,
        }),
        stdout: Vec::new().into(),
        stderr: Vec::new().into(),
    };
    let report = Report::failure(&run("scan", "scan"), failed, &origin("cocoplum"));
    assert_eq!(report.subject(), "Job scan exited with code 3");
    let message = text(mailed(report, "ops@example.com"));
    let line = "\nExit code: 3 (57 failures in a row since 2026-11-23T23:36:37Z, 56 not mailed)\n";
    assert!(message.contains(line), "{message}");
}

#[test]
fn a_recovery_and_a_stuck_run_have_subjects_of_their_own() {
    let recovery = Recovery {
        failures: 57,
        since: clock(),
        not_mailed: 56,
    };
    let run = run("scan", "scan --all");
    let report = Report::recovered(&run, &recovery, &origin("cocoplum"));
    assert_eq!(*report.kind(), Kind::Recovery);
    let message = text(mailed(report, "ops@example.com"));
    assert_eq!(
        header(&message, "Subject"),
        "Job scan recovered after 57 failures"
    );
    let (_, body) = parts(&message);
    assert_eq!(
        body,
        "Job: scan\nCommand: scan --all\n\
         Recovered after: 57 failures in a row since 2026-11-23T23:36:37Z, 56 not mailed\n"
    );
    let after = Duration::from_secs(3600);
    let waiting = Waiting {
        all: "3 jobs wait,\nqueue_builder longest".to_string(),
        first: vec![
            (
                "queue_builder".to_string(),
                Duration::from_millis(3_540_900),
            ),
            ("cleanup".to_string(), Duration::from_secs(7)),
        ],
        more: 1,
    };
    let report = Report::stuck(&run, after, 20417, &waiting, &origin("cocoplum"));
    assert_eq!(*report.kind(), Kind::Stuck);
    let message = text(mailed(report, "ops@example.com"));
    assert_eq!(
        header(&message, "Subject"),
        "Job scan still running after 3600 seconds"
    );
    let (_, body) = parts(&message);
    assert_eq!(
        body,
        "Job: scan\nCommand: scan --all\nStill running after: 3600 seconds (pid 20417)\n\
         Waiting: 3 jobs wait, queue_builder longest\n\n\
         queue_builder: 3540 seconds\ncleanup: 7 seconds\nand 1 more\n"
    );
}

#[test]
fn a_line_feed_anywhere_makes_no_header_of_its_own() {
    let evil = "x\r\nBcc: evil@example.com\n\nbody";
    let outcome = Outcome {
        code: 126,
        cause: Cause::NotStarted(evil.to_string()),
    };
    let origin = Origin {
        from: evil,
        ..origin(evil)
    };
    let failed = Failed {
        outcome: &outcome,
        repeat: None,
        stdout: Vec::new().into(),
        stderr: Vec::new().into(),
    };
    let report = Report::failure(&run(evil, evil), failed, &origin);
    let message = text(mailed(report, evil));
    let (head, body) = parts(&message);
    assert_eq!(head.len(), HEADERS.len(), "{message}");
    assert_eq!(header(&message, "To"), "xBcc: evil@example.combody");
    assert_eq!(
        header(&message, "X-Buildd-Host"),
        "x??Bcc: evil@example.com??body"
    );
    let lines: Vec<&str> = body.lines().take(4).collect();
    assert_eq!(lines[0], "Job: x  Bcc: evil@example.com  body");
    assert_eq!(lines[1], "Command: x  Bcc: evil@example.com  body");
    assert_eq!(
        lines[2],
        "Exit code: 126 (could not start: x  Bcc: evil@example.com  body)"
    );
    assert_eq!(lines[3], "Standard Error:");
}

#[test]
fn output_that_is_not_ascii_is_encoded_in_mail_and_plain_in_the_log() {
    let bytes = b"caf\xc3\xa9 \xff\0 = \r\n.\nFrom me\n";
    let report = failure(&run("scan", "scan"), &exited(1), bytes, b"");
    let logged = log_text(&report, "-", 1);
    let body = [
        &b"Exit code: 1\nStandard Error:\n\n\n\nStandard Output:\n\n"[..],
        bytes,
        b"\n",
    ]
    .concat();
    assert!(logged.ends_with(&body));
    assert!(String::from_utf8_lossy(&logged).contains("\nContent-Transfer-Encoding: 8bit\n"));
    let sent = text(mailed(report, "ops@example.com"));
    assert_eq!(
        header(&sent, "Content-Transfer-Encoding"),
        "quoted-printable"
    );
    let encoded = "\nStandard Output:\n\ncaf=C3=A9 =FF=00 =3D =0D\n=2E\n=46rom me\n\n";
    assert!(sent.ends_with(encoded), "{sent}");
}

#[test]
fn a_sequencer_with_a_name_says_it_in_a_header_after_the_host() {
    let at = |name| {
        let origin = Origin {
            name,
            ..origin("cocoplum")
        };
        let waiting = Waiting {
            all: String::new(),
            first: Vec::new(),
            more: 0,
        };
        let report = Report::stuck(
            &run("scan", "scan"),
            Duration::from_secs(1),
            1,
            &waiting,
            &origin,
        );
        report.log_headers("-", 0)
    };
    let (with, without) = (at(Some("east")), at(None));
    let header = "X-Buildd-Sequencer: east\n";
    let both = without.replace("X-Buildd-Job: ", &format!("{header}X-Buildd-Job: "));
    assert_eq!(with, both);
    assert_ne!(with, without);
}

#[test]
fn names_that_are_not_ascii_leave_the_headers_ascii_but_for_addresses() {
    let origin = Origin {
        from: "b\u{e4}r@example.com",
        ..origin("k\u{fc}che.example.com")
    };
    let recovery = Recovery {
        failures: 1,
        since: clock(),
        not_mailed: 0,
    };
    let report = Report::recovered(&run("j\u{f6}b", "caf\u{e9}"), &recovery, &origin);
    let message = text(mailed(report, "m\u{fc}ller@example.com"));
    assert_eq!(
        header(&message, "From"),
        "Launchpad Build Daemon Sequencer <b\u{e4}r@example.com>"
    );
    assert_eq!(header(&message, "To"), "m\u{fc}ller@example.com");
    assert_eq!(
        header(&message, "Subject"),
        "Job j?b recovered after 1 failure"
    );
    assert_eq!(header(&message, "X-Buildd-Host"), "k?che.example.com");
    assert!(header(&message, "Message-ID").ends_with("@k-che.example.com>"));
    let (_, body) = parts(&message);
    assert!(
        body.starts_with("Job: j=C3=B6b\nCommand: caf=C3=A9\n"),
        "{body}"
    );
}

#[test]
fn any_host_name_gives_a_valid_domain() {
    for (host, expected) in [
        ("build.example.com", "build.example.com".to_string()),
        ("", "localhost".to_string()),
        ("...", "localhost".to_string()),
        ("-.--._", "localhost".to_string()),
        ("a..b.", "a.b".to_string()),
        ("my_host", "my-host".to_string()),
        ("[::1]", "1".to_string()),
        (&"x".repeat(1 << 20), "x".repeat(63)),
        (
            &"xy.".repeat(1 << 18),
            "xy.".repeat(84).trim_end_matches('.').to_string(),
        ),
        (
            &format!("{}.{}", "x".repeat(62) + "-y", "z"),
            format!("{}.z", "x".repeat(62)),
        ),
    ] {
        assert_eq!(domain(host), expected, "{:.80}", host);
    }
}

#[test]
fn each_copy_has_an_identity_that_its_retries_share() {
    let report = Rc::new(failure(&run("scan", "scan"), &exited(1), b"", b""));
    let id = |to: &str, copy: u64| {
        let mut headers = Vec::new();
        assert!(Message::new(Rc::clone(&report), to, copy).fill(&mut headers, 1));
        header(&text(headers), "Message-ID").to_string()
    };
    assert_eq!(id("a@example.com", 1), id("a@example.com", 1));
    assert_ne!(id("a@example.com", 1), id("b@example.com", 2));
    let origins = [
        origin("cocoplum"),
        Origin {
            number: 8,
            ..origin("cocoplum")
        },
        Origin {
            pid: 313,
            ..origin("cocoplum")
        },
        Origin {
            now: clock() + Duration::from_nanos(1),
            ..origin("cocoplum")
        },
        Origin {
            now: SystemTime::UNIX_EPOCH - Duration::from_nanos(1),
            ..origin("cocoplum")
        },
    ];
    let mut ids: Vec<String> = origins.iter().map(identity).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), origins.len());
}

#[test]
fn a_report_takes_the_memory_it_says() {
    let (output, errors) = (vec![b'x'; 20_000], vec![b'x'; 100_000]);
    let report = failure(&run("scan", "scan"), &exited(1), &output, &errors);
    assert!((120_000..121_000).contains(&report.size()));
    let spare = report.body.capacity() - report.body.len();
    assert!(spare < 100, "{spare} bytes to spare");
}

/// Text that tries to break out of its line.
fn hostile() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        Just("\n".to_string()),
        Just("\r\nBcc: x@example.com\r\n\r\n".to_string()),
        Just("\u{85}\u{2028}\u{b}\0".to_string()),
        Just("-.".to_string()),
        (0_usize..1200).prop_map(|n| "x".repeat(n)),
        (0_usize..500).prop_map(|n| "\u{20ac}".repeat(n)),
        prop::collection::vec(any::<char>(), 0..10).prop_map(String::from_iter),
    ];
    prop::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
}

proptest! {
    /// RFC 5322: lines are at most 998 bytes and hold no control characters. The names and their order are our own.
    #[test]
    fn headers_hold_whatever_names_and_addresses_hold(
        (job, command, host, from, to) in (hostile(), hostile(), hostile(), hostile(), hostile()),
        (reason, code) in (hostile(), any::<i32>()),
        unix in -5_000_000_000_i64..300_000_000_000,
    ) {
        let by = Duration::from_secs(unix.unsigned_abs());
        let epoch = SystemTime::UNIX_EPOCH;
        let now = if unix < 0 { epoch - by } else { epoch + by };
        let outcome = Outcome { code, cause: Cause::NotStarted(reason) };
        let run = Run { job: &job, command: &command, started: now, took: by };
        let origin = Origin { from: &from, host: &host, name: None, pid: u32::MAX, number: u64::MAX, now };
        let failed = Failed { outcome: &outcome, repeat: None, stdout: Vec::new().into(), stderr: Vec::new().into() };
        let report = Report::failure(&run, failed, &origin);
        let logged = text(log_text(&report, &to, 1));
        let sent = text(mailed(report, &to));
        for message in [&sent, &logged] {
            let (head, _) = parts(message);
            let names: Vec<&str> = head.iter().map(|line| line.split_once(": ").unwrap().0).collect();
            prop_assert_eq!(names, HEADERS);
            for line in head {
                prop_assert!(line.len() <= 998, "{} bytes", line.len());
                prop_assert!(!line.contains(char::is_control), "{:?}", line);
                prop_assert!(line.is_ascii() || line.starts_with("From: ") || line.starts_with("To: "));
            }
            let id = header(message, "Message-ID");
            let domain = id.strip_suffix('>').unwrap().split_once('@').unwrap().1;
            prop_assert!(domain.len() <= 253);
            for label in domain.split('.') {
                prop_assert!((1..=63).contains(&label.len()), "{:?}", domain);
                prop_assert!(!label.starts_with('-') && !label.ends_with('-'), "{:?}", domain);
                prop_assert!(label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
            }
        }
        let (_, body) = parts(&logged);
        let starts = ["Job: ", "Command: ", "Exit code: ", "Standard Error:"];
        for (line, start) in body.split('\n').zip(starts) {
            prop_assert!(line.starts_with(start), "{:?}", line);
        }
    }

    #[test]
    fn a_message_in_pieces_is_the_message(
        stdout in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..2000),
        plain in any::<bool>(),
        wants in prop::collection::vec(0_usize..700, 1..10),
    ) {
        let mut stdout = stdout;
        if plain {
            stdout.iter_mut().for_each(|b| *b = b'a' + *b % 26);
            stdout.chunks_mut(500).for_each(|line| line[0] = b'\n');
        }
        let report = failure(&run("scan", "scan"), &exited(1), &stdout, b"");
        let body = report.body.clone();
        let mut message = Message::new(Rc::new(report), "ops@example.com", 1);
        let mut sent = Vec::new();
        prop_assert!(message.fill(&mut sent, wants[0]));
        prop_assert!(sent.ends_with(b"\n\n"), "the headers come first, in one piece");
        let headers = sent.len();
        for &want in wants.iter().cycle() {
            let before = sent.len();
            if !message.fill(&mut sent, want) {
                prop_assert_eq!(sent.len(), before);
                break;
            }
            prop_assert!(sent.len() > before, "nothing, but not the end");
            prop_assert!(sent.len() < before + want.max(1) + 80, "a slow reader gets what it asked for");
        }
        let expected = if quoted_printable::needed(&body) {
            let mut encoded = Vec::new();
            quoted_printable::encode_chunk(&body, 0, &mut encoded, usize::MAX);
            encoded
        } else {
            body
        };
        prop_assert!(sent[headers..] == expected);
        prop_assert!(!message.fill(&mut sent, 1), "it ends once and for all");
    }
}
