//! Reports to operators: of a failure, a recovery or a stuck run, as a mail message and as text for the log. It decides
//! neither who gets a report nor when, and it sends nothing.

use std::fmt::Write as _;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use crate::job::outcome::Outcome;
use crate::job::output::Kept;
use crate::job::throttle::{Recovery, Repeat};
use crate::mail::quoted_printable;
use crate::message::Stream;
use crate::text::{Utc, counted, seconds, to_milliseconds, unix_seconds};

/// The longest value of a header line, in bytes. With its name it stays below the 998 of RFC 5322, 2.1.1.
const MAX_VALUE: usize = 900;
/// The longest host name (RFC 1035, 2.3.4).
const MAX_HOST: usize = 253;
/// The longest label of a host name (RFC 1035, 2.3.4).
const MAX_LABEL: usize = 63;

/// The jobs that wait for a stuck run.
#[derive(Debug, Clone)]
pub struct Waiting {
    /// All of them in a few words, as in the log.
    pub all: String,
    /// The names of those that have waited longest, and how long.
    pub first: Vec<(String, Duration)>,
    /// How many more there are.
    pub more: usize,
}

/// Where and when a report is made. Its headers need this beside the run.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'a> {
    /// The configured `fromaddress`.
    pub from: &'a str,
    /// This machine's name; it may hold any characters.
    pub host: &'a str,
    /// What this sequencer is called, where a host has several.
    pub name: Option<&'a str>,
    /// The daemon's process number.
    pub pid: u32,
    /// The report's number. This daemon gives no number twice.
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
    /// How long it took, or how long it has run so far.
    pub took: Duration,
}

/// How a run failed.
#[derive(Debug)]
pub struct Failed<'a> {
    /// Its outcome.
    pub outcome: &'a Outcome,
    /// What to say of earlier failures.
    pub repeat: Option<Repeat>,
    /// The kept part of its standard output.
    pub stdout: Kept,
    /// The kept part of its standard error.
    pub stderr: Kept,
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

/// One report, complete but for its recipient. All recipients share it, so that its body is in memory once.
#[derive(Debug)]
pub struct Report {
    kind: Kind,
    job: String,
    from: String,
    subject: String,
    /// The header lines from `X-Launchpad` to `Date`.
    middle: String,
    /// The Message-ID's left side without the copy's number: `1795476997.000000000.312.7`.
    id: String,
    domain: String,
    body: Vec<u8>,
    /// Where the body's text about the run ends, and where its two streams are.
    text: usize,
    streams: Vec<Place>,
    code: i32,
    took: Duration,
    encoded: bool,
}

/// Where a stream stands in the body, and how many bytes its gap says are missing.
#[derive(Debug)]
struct Place {
    name: &'static str,
    begin: usize,
    gap: Range<usize>,
    end: usize,
    missing: u64,
}

impl Report {
    /// The report of a failed run. It takes the output over and changes nothing in it.
    pub fn failure(run: &Run<'_>, failed: Failed<'_>, origin: &Origin<'_>) -> Report {
        let outcome = one_line(&failed.outcome.to_string());
        let mut head = top_of_body(run);
        let _ = write!(head, "Exit code: {outcome}");
        if let Some(repeat) = failed.repeat {
            let _ = write!(
                head,
                " ({} in a row since {}, {} not mailed)",
                failures(repeat.failures),
                Utc::from(repeat.since).rfc3339(),
                repeat.not_mailed
            );
        }
        head.push('\n');
        let text = head.len();
        head.push_str("Standard Error:\n\n");
        let middle = b"\n\nStandard Output:\n\n";
        let mut body = head.into_bytes();
        let output = failed.stderr.bytes.len() + middle.len() + failed.stdout.bytes.len() + 1;
        body.reserve_exact(output);
        let stderr = append("stderr", failed.stderr, &mut body);
        body.extend_from_slice(middle);
        let stdout = append("stdout", failed.stdout, &mut body);
        body.push(b'\n');
        let subject = format!("Job {} exited with code {outcome}", run.job);
        let kind = Kind::Failure(failed.outcome.word());
        Report {
            text,
            streams: vec![stderr, stdout],
            code: failed.outcome.code,
            ..Report::new(kind, run, &subject, body, origin)
        }
    }

    /// The notice that a job works again. `run` is the run that succeeded.
    pub fn recovered(run: &Run<'_>, recovery: &Recovery, origin: &Origin<'_>) -> Report {
        let mut body = top_of_body(run);
        let _ = writeln!(
            body,
            "Recovered after: {} in a row since {}, {} not mailed",
            failures(recovery.failures),
            Utc::from(recovery.since).rfc3339(),
            recovery.not_mailed
        );
        let subject = format!(
            "Job {} recovered after {}",
            run.job,
            failures(recovery.failures)
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
        for (position, (job, time)) in waiting.first.iter().enumerate() {
            let gap = if position == 0 { "\n" } else { "" };
            let _ = writeln!(body, "{gap}{job}: {} seconds", time.as_secs());
        }
        if waiting.more > 0 {
            let _ = writeln!(body, "and {} more", waiting.more);
        }
        let subject = format!("Job {} still running after {after} seconds", run.job);
        Report::new(Kind::Stuck, run, &subject, body.into_bytes(), origin)
    }

    fn new(kind: Kind, run: &Run<'_>, subject: &str, body: Vec<u8>, origin: &Origin<'_>) -> Report {
        let name = match origin.name {
            Some(name) => format!("X-Buildd-Sequencer: {}\n", ascii_value(name)),
            None => String::new(),
        };
        let middle = format!(
            "X-Launchpad: yes\nX-Buildd: yes\nX-Buildd-Host: {}\n{name}X-Buildd-Job: {}\n\
             X-Buildd-Started: {}\nX-Buildd-Duration: {}\nDate: {}\n",
            ascii_value(origin.host),
            ascii_value(run.job),
            Utc::from(run.started).rfc3339(),
            seconds(to_milliseconds(run.took)),
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
            text: body.len(),
            body,
            streams: Vec::new(),
            code: 0,
            took: run.took,
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

    /// The bytes of memory that this report takes, without its recipients.
    pub fn size(&self) -> usize {
        let headers = self.from.len() + self.subject.len() + self.middle.len();
        headers + self.id.len() + self.domain.len() + self.job.len() + self.body.len()
    }

    /// The exit code and the outcome's word; `None` if the run goes on.
    pub fn outcome(&self) -> Option<(i32, &str)> {
        match &self.kind {
            Kind::Failure(word) => Some((self.code, word)),
            Kind::Recovery => Some((0, "ok")),
            Kind::Stuck => None,
        }
    }

    /// How long the run took, or how long it has run so far.
    pub fn took(&self) -> Duration {
        self.took
    }

    /// The headers of the report as it is logged: all of them. `to` is `-`, or the recipient who did not get it. `copy`
    /// tells the copies of a report apart, as in `Message::new`.
    pub fn log_headers(&self, to: &str, copy: u64) -> String {
        let encoding = if self.body.is_ascii() { "7bit" } else { "8bit" };
        self.headers(to, copy, encoding)
    }

    /// The body, which is never encoded in the log.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The body without the run's output.
    pub fn text(&self) -> &[u8] {
        &self.body[..self.text]
    }

    /// The run's output.
    pub fn streams(&self) -> Vec<Stream<'_>> {
        let stream = |place: &Place| Stream {
            before: &self.body[place.begin..place.gap.start],
            gap: &self.body[place.gap.clone()],
            after: [&self.body[place.gap.end..place.end], &[]],
            name: place.name,
            missing: place.missing,
        };
        self.streams.iter().map(stream).collect()
    }

    /// All header lines, and the empty line after them.
    fn headers(&self, to: &str, copy: u64, encoding: &str) -> String {
        format!(
            "{}To: {}\nSubject: {}\n{}\
             Message-ID: <{}.{copy}@{}>\nAuto-Submitted: auto-generated\nPrecedence: bulk\n\
             MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\
             Content-Transfer-Encoding: {encoding}\n\n",
            from_header(&self.from),
            address_value(to),
            self.subject,
            self.middle,
            self.id,
            self.domain,
        )
    }
}

/// A report on its way to one recipient: headers and body as sendmail reads them, piece by piece.
#[derive(Debug, Clone)]
pub struct Message {
    report: Rc<Report>,
    headers: Option<String>,
    /// How much of the raw body has been handed out.
    pos: usize,
}

impl Message {
    /// The message for recipient `to`. `copy` gives each copy a Message-ID of its own. A retry keeps it, so that a
    /// message that arrives twice can be recognised.
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

    /// Names another sender: a reload may have changed it since the report was made, and header and envelope have to
    /// agree.
    pub fn send_from(&mut self, from: &str) {
        if let Some(headers) = &mut self.headers {
            let length = from_header(&self.report.from).len();
            headers.replace_range(..length, &from_header(&address_value(from)));
        }
    }

    /// Appends the next piece to `buf`, about `want` bytes (the headers are one piece). False if nothing was left to
    /// append.
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

/// Appends what was kept of a stream to the body, and frees it.
fn append(name: &'static str, kept: Kept, body: &mut Vec<u8>) -> Place {
    let begin = body.len();
    body.extend_from_slice(&kept.bytes);
    Place {
        name,
        begin,
        gap: begin + kept.gap.start..begin + kept.gap.end,
        end: body.len(),
        missing: kept.missing,
    }
}

/// `1 failure`, `57 failures`
fn failures(count: u32) -> String {
    counted(usize::try_from(count).unwrap_or(usize::MAX), "failure")
}

/// The first header line.
fn from_header(address: &str) -> String {
    format!("From: Launchpad Build Daemon Sequencer <{address}>\n")
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

/// `text` as the value of a header: printable ASCII of bounded length, with `?` for anything else.
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

/// An address as it stands in a header. Line breaks and other controls are left out; UTF-8 stays (RFC 6532).
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

/// The part of a Message-ID before the copy's number. It holds the time to the nanosecond, because in a container the
/// daemon's process id is always 1.
fn identity(origin: &Origin<'_>) -> String {
    let nanos = match origin.now.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => after.subsec_nanos(),
        Err(before) => before.duration().subsec_nanos(),
    };
    let second = unix_seconds(origin.now);
    format!("{second}.{nanos:09}.{}.{}", origin.pid, origin.number)
}

/// The right side of a Message-ID: the valid domain (RFC 5321, 4.1.2) that is most like `host`.
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
mod tests;
