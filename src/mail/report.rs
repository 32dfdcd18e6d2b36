//! What the daemon tells its operators: the report of a failure, a recovery or a stuck run, as a mail message
//! and as text for the log. It decides neither who gets a report nor when, and it sends nothing.

use std::fmt::Write as _;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::job::outcome::Outcome;
use crate::job::throttle::{Recovery, Repeat};
use crate::mail::quoted_printable;
use crate::text::{Utc, seconds, unix_seconds};

/// The longest value of a header line, in bytes: with its name it stays below the 998 of RFC 5322, 2.1.1.
const MAX_VALUE: usize = 900;
/// The longest host name (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;
/// The longest label of a host name (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// Who waits for a stuck run.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// All of them in a few words, as in the log.
    pub all: String,
    /// Those that have waited longest, by name, and how long.
    pub first: Vec<(String, Duration)>,
    /// How many more there are.
    pub more: usize,
}

/// Where and when a report is made: what goes into its headers beside the run itself.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The configured `fromaddress`.
    pub from: &'a str,
    /// This machine's name, whatever it holds.
    pub host: &'a str,
    /// The daemon's process number.
    pub pid: u32,
    /// Counts this daemon's reports: no two may have the same number.
    pub number: u64,
    /// The time of day.
    pub now: SystemTime,
}

/// The run a report is about.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Name of the job.
    pub job: &'a str,
    /// The command as configured.
    pub command: &'a str,
    /// When the run began.
    pub started: SystemTime,
    /// How long it took, or has taken so far.
    pub took: Duration,
}

/// How a run failed.
#[derive(Debug)]
pub struct Failed<'a> {
    /// Its outcome.
    pub outcome: &'a Outcome,
    /// What to say of the failures before it.
    pub repeat: Option<Repeat>,
    /// What was kept of its standard output.
    pub stdout: Vec<u8>,
    /// What was kept of its standard error.
    pub stderr: Vec<u8>,
}

/// What a report is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A failure, with its `Outcome::word`.
    Failure(String),
    /// The first success after failures.
    Recovery,
    /// A run that takes too long.
    Stuck,
}

/// One report, complete but for its recipient. All its recipients share it, so that its body exists once.
#[derive(Debug)]
pub struct Report {
    kind: Kind,
    job: String,
    from: String,
    subject: String,
    /// The header lines from `X-Launchpad` to `Date`.
    middle: String,
    /// The message's identity without the number of its copy: `1795476997.000000000.312.7`.
    id: String,
    domain: String,
    body: Vec<u8>,
    encoded: bool,
}

impl Report {
    /// The report of a failed run. Takes the output over; nothing of it is changed.
    pub fn failure(run: &Run<'_>, failed: Failed<'_>, origin: &Origin<'_>) -> Report {
        let outcome = one_line(&failed.outcome.to_string());
        let mut head = top_of_body(run);
        let _ = write!(head, "Exit code: {outcome}");
        if let Some(repeat) = failed.repeat {
            let _ = write!(
                head,
                " ({} failures in a row since {}, {} not mailed)",
                repeat.failures,
                Utc::from(repeat.since).rfc3339(),
                repeat.not_mailed
            );
        }
        head.push_str("\nStandard Error:\n\n");
        let middle = b"\n\nStandard Output:\n\n";
        let mut body = head.into_bytes();
        let output = failed.stderr.len() + middle.len() + failed.stdout.len() + 1;
        body.reserve_exact(output);
        body.extend_from_slice(&failed.stderr);
        drop(failed.stderr);
        body.extend_from_slice(middle);
        body.extend_from_slice(&failed.stdout);
        body.push(b'\n');
        let subject = format!("Job {} exited with code {outcome}", run.job);
        let kind = Kind::Failure(failed.outcome.word());
        Report::new(kind, run, &subject, body, origin)
    }

    /// The notice that a job works again; `run` is the success.
    pub fn recovered(run: &Run<'_>, recovery: &Recovery, origin: &Origin<'_>) -> Report {
        let mut body = top_of_body(run);
        let _ = writeln!(
            body,
            "Recovered after: {} failures in a row since {}, {} not mailed",
            recovery.failures,
            Utc::from(recovery.since).rfc3339(),
            recovery.not_mailed
        );
        let subject = format!(
            "Job {} recovered after {} failures",
            run.job, recovery.failures
        );
        Report::new(Kind::Recovery, run, &subject, body.into_bytes(), origin)
    }

    /// The warning that a run takes longer than `after`, the job's `stuckafter`.
    pub fn stuck(
        run: &Run<'_>,
        after: Duration,
        pid: u32,
        waiting: &Waiting,
        origin: &Origin<'_>,
    ) -> Report {
        let after = seconds(after);
        let mut body = top_of_body(run);
        let _ = writeln!(
            body,
            "Still running after: {after} seconds (pid {pid})\nWaiting: {}",
            one_line(&waiting.all)
        );
        for (place, (job, time)) in waiting.first.iter().enumerate() {
            let gap = if place == 0 { "\n" } else { "" };
            let _ = writeln!(body, "{gap}{job}: {} seconds", time.as_secs());
        }
        if waiting.more > 0 {
            let _ = writeln!(body, "and {} more", waiting.more);
        }
        let subject = format!("Job {} still running after {after} seconds", run.job);
        Report::new(Kind::Stuck, run, &subject, body.into_bytes(), origin)
    }

    fn new(kind: Kind, run: &Run<'_>, subject: &str, body: Vec<u8>, origin: &Origin<'_>) -> Report {
        let took = Duration::from_millis(u64::try_from(run.took.as_millis()).unwrap_or(u64::MAX));
        let middle = format!(
            "X-Launchpad: yes\nX-Buildd: yes\nX-Buildd-Host: {}\nX-Buildd-Job: {}\n\
             X-Buildd-Started: {}\nX-Buildd-Duration: {}\nDate: {}\n",
            ascii_value(origin.host),
            ascii_value(run.job),
            Utc::from(run.started).rfc3339(),
            seconds(took),
            Utc::from(origin.now).rfc5322(),
        );
        Report {
            kind,
            job: run.job.to_string(),
            from: address_value(origin.from),
            subject: ascii_value(subject),
            middle,
            id: identity(origin),
            domain: domain(origin.host),
            encoded: quoted_printable::needed(&body),
            body,
        }
    }

    /// What the report is about.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// The name of the job.
    pub fn job(&self) -> &str {
        &self.job
    }

    /// The subject, as in the header.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// Bytes held by this report, its recipients apart.
    pub fn size(&self) -> usize {
        let headers = self.from.len() + self.subject.len() + self.middle.len();
        headers + self.id.len() + self.domain.len() + self.job.len() + self.body.len()
    }

    /// The report as it goes to the log, all headers and then the body, which is never encoded. `to` is `-`, or the
    /// recipient who did not get it; `copy` tells the copies of a report apart, as in `Message::new`.
    pub fn log_parts(&self, to: &str, copy: u64) -> (String, &[u8]) {
        let encoding = if self.body.is_ascii() { "7bit" } else { "8bit" };
        (self.headers(to, copy, encoding), &self.body)
    }

    /// All header lines and the empty line after them.
    fn headers(&self, to: &str, copy: u64, encoding: &str) -> String {
        format!(
            "From: Launchpad Build Daemon Sequencer <{}>\nTo: {}\nSubject: {}\n{}\
             Message-ID: <{}.{copy}@{}>\nAuto-Submitted: auto-generated\nPrecedence: bulk\n\
             MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: {encoding}\n\n",
            self.from,
            address_value(to),
            self.subject,
            self.middle,
            self.id,
            self.domain,
        )
    }
}

/// A report on its way to one recipient: headers and body as sendmail reads them, a piece at a time.
#[derive(Debug, Clone)]
pub struct Message {
    report: Rc<Report>,
    headers: Option<String>,
    /// How much of the raw body has been handed out.
    pos: usize,
}

impl Message {
    /// The message for recipient `to`. `copy` makes its Message-ID its own; a retry has the same one, so that
    /// a message that arrived after all can be recognised.
    pub fn new(report: Rc<Report>, to: &str, copy: u64) -> Message {
        let encoding = if report.encoded {
            "quoted-printable"
        } else {
            "7bit"
        };
        let headers = Some(report.headers(to, copy, encoding));
        Message {
            report,
            headers,
            pos: 0,
        }
    }

    /// Appends the next piece to `buf`, about `want` bytes (the headers come as one piece). False: there was
    /// nothing left to append.
    pub fn fill(&mut self, buf: &mut Vec<u8>, want: usize) -> bool {
        if let Some(headers) = self.headers.take() {
            buf.extend_from_slice(headers.as_bytes());
            return true;
        }
        let body = &self.report.body;
        if self.pos >= body.len() {
            return false;
        }
        if self.report.encoded {
            self.pos = quoted_printable::encode_chunk(body, self.pos, buf, want);
        } else {
            let end = self.pos.saturating_add(want.max(1)).min(body.len());
            buf.extend_from_slice(&body[self.pos..end]);
            self.pos = end;
        }
        true
    }
}

/// The first two lines of every body.
fn top_of_body(run: &Run<'_>) -> String {
    format!(
        "Job: {}\nCommand: {}\n",
        one_line(run.job),
        one_line(run.command)
    )
}

/// `text` with a space for each line break, so that it stays on its line of the body.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}

/// `text` as the value of a header: printable ASCII, `?` for anything else, of bounded length.
fn ascii_value(text: &str) -> String {
    let printable = |c: char| {
        if c == ' ' || c.is_ascii_graphic() {
            c
        } else {
            '?'
        }
    };
    text.chars().take(MAX_VALUE).map(printable).collect()
}

/// An address as it stands in a header: without what would end the line; UTF-8 stays (RFC 6532).
fn address_value(text: &str) -> String {
    let mut value = String::new();
    for c in text.chars().filter(|c| !c.is_control()) {
        if value.len() + c.len_utf8() > MAX_VALUE {
            break;
        }
        value.push(c);
    }
    value
}

/// The part of a Message-ID before the copy's number. The time with its nanoseconds is in it because in a
/// container the daemon is always process 1.
fn identity(origin: &Origin<'_>) -> String {
    let nanos = match origin.now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.subsec_nanos(),
        Err(before) => before.duration().subsec_nanos(),
    };
    let second = unix_seconds(origin.now);
    format!("{second}.{nanos:09}.{}.{}", origin.pid, origin.number)
}

/// The right side of a Message-ID: a valid domain (RFC 5321, 4.1.2) as like `host` as can be.
fn domain(host: &str) -> String {
    let clean = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let mut domain = String::new();
    for label in host.split('.') {
        let label: String = label.chars().take(MAX_LABEL).map(clean).collect();
        let label = label.trim_matches('-');
        if label.is_empty() || domain.len() + 1 + label.len() > MAX_HOST {
            continue;
        }
        if !domain.is_empty() {
            domain.push('.');
        }
        domain.push_str(label);
    }
    if domain.is_empty() {
        domain.push_str("localhost");
    }
    domain
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
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
            stdout: stdout.to_vec(),
            stderr: stderr.to_vec(),
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
        let (headers, body) = report.log_parts(to, copy);
        [headers.as_bytes(), body].concat()
    }

    fn text(bytes: Vec<u8>) -> String {
        String::from_utf8(bytes).unwrap()
    }

    /// Header lines and body.
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
X-Buildd-Duration: 3.25
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

    // What an SMTP server received from the original daemon: its five headers are the first five, and its body
    // is the body.
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

    // The original's test, `interpolateFailureFor("-", 0, job1)`: sender, recipient, job, code, command and both
    // streams each stand in their place, empty or not.
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
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let report = Report::failure(&run("scan", "scan"), failed, &origin("cocoplum"));
        assert_eq!(report.subject(), "Job scan exited with code 3");
        let message = text(mailed(report, "ops@example.com"));
        let line =
            "\nExit code: 3 (57 failures in a row since 2026-11-23T23:36:37Z, 56 not mailed)\n";
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
            stdout: Vec::new(),
            stderr: Vec::new(),
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
            "Job j?b recovered after 1 failures"
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

    /// Text that tries to get out of the line it is put in.
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
        /// RFC 5322: lines of at most 998 bytes, no control characters; the names and their order are ours.
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
            let origin = Origin { from: &from, host: &host, pid: u32::MAX, number: u64::MAX, now };
            let failed = Failed { outcome: &outcome, repeat: None, stdout: Vec::new(), stderr: Vec::new() };
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
}
