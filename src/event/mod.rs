//! Everything that the daemon can log: each event's word, its level, its text, and the fields that it has for programs.
//!
//! To add one: a variant of `Event`, its word and level in `head`, its text in `text.rs`, its fields in `fields.rs`, a
//! sample of it in `tests.rs`, and its word, level and fields in the table of buildd-sequencer.conf(5), which a test
//! compares. Then `log.tell(&Event::...)`. No word or field is ever renamed or removed; fields may be added. Pure.

mod fields;
mod text;

use std::time::Duration;

use crate::job::outcome::{Outcome, Verdict};
use crate::json::Object;
use crate::mail::queue::Unsent;
use crate::mail::report::Report;
use crate::message::{Level, Message, Output, Rank, Stream};

/// Something that the log tells of.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// The start.
    Loading,
    /// A job was loaded; `None`: all were.
    Loaded(Option<&'a str>),
    /// A line about who gets reports.
    Targets(&'a str),
    /// Which job is next, and how long until then.
    Scheduled { job: &'a str, wait: Duration },
    /// A run has begun, so long after it was due; without a process if there could be none.
    Started {
        job: &'a str,
        pid: Option<i32>,
        late: Duration,
    },
    /// A run has ended.
    Completed {
        job: &'a str,
        outcome: &'a Outcome,
        took: Duration,
        late: Duration,
    },
    /// What a run has printed, as `Capture::parts` has it, and how many bytes of it are missing.
    Output {
        job: &'a str,
        stream: Name,
        parts: [&'a [u8]; 4],
        missing: u64,
    },
    /// A line that a run has just printed.
    Line {
        job: &'a str,
        stream: Name,
        line: &'a [u8],
    },
    /// A report that goes to the log.
    Report { level: Level, report: &'a Report },
    /// A report that mail has not carried, whole.
    UnsentReport(&'a Unsent),
    /// A run takes long, and others wait.
    Stuck {
        job: &'a str,
        after: Duration,
        pid: i32,
        waiting: &'a str,
    },
    /// A process does not end, or may not be signalled for the reason `why`; it is `left` behind, or waited for.
    Unkillable {
        who: Who<'a>,
        pid: i32,
        why: Option<&'a str>,
        left: bool,
    },
    /// A background process of a run that has ended keeps its output open.
    Background { job: &'a str },
    /// A report was queued for a recipient.
    Mailing { report: &'a Report, to: &'a str },
    /// A try to send it has failed, or the last one has.
    MailFailed {
        level: Level,
        unsent: &'a Unsent,
        line: &'a str,
    },
    /// It was not sent at all.
    MailNotSent { unsent: &'a Unsent, why: &'a str },
    /// This program, which should send mail, is not here.
    NoSendmail(&'a str),
    /// A file that is kept could not be written.
    NotWritten(&'a str),
    /// A signal to stop.
    Stopping { signal: &'a str, again: bool },
    /// SIGQUIT; this job may end.
    Draining(Option<&'a str>),
    /// SIGHUP.
    Hangup,
    /// SIGUSR1, and nothing to rotate.
    NothingToRotate,
    /// SIGUSR2, and the table that it asks for.
    Status(&'a str),
    /// A request that changes something, and who sent it.
    Asked {
        request: &'a str,
        job: Option<&'a str>,
        at_once: bool,
        uid: u32,
        pid: i32,
    },
    /// What a reload has changed.
    Changed(&'a str),
    /// Why a reload, or a part of it, was refused.
    Refused(&'a str),
    /// What is legal but most likely not meant, or not as it should be.
    Warning(&'a str),
    /// Which control socket there is instead of the configured one, and why.
    Control(Level, &'a str),
    /// Where HTTP is served, or why it is not.
    Http(Level, &'a str),
    /// The log could not be moved or rotated.
    Log(&'a str),
    /// The kernel refused what it should never refuse.
    Fault(&'a str),
    /// The lease has run out.
    LeaseLost(&'a str),
    /// A decision of the loop.
    Decision(Decision<'a>),
    /// The end.
    Terminated,
}

/// One of a run's outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// What does not end.
#[derive(Debug, Clone, Copy)]
pub enum Who<'a> {
    /// The process of this job's run.
    Run(&'a str),
    /// What is left of this job's run, a process group.
    Rest(&'a str),
    /// sendmail.
    Sendmail,
}

/// What the loop decides; logged with `spew`.
#[derive(Debug, Clone, Copy)]
pub enum Decision<'a> {
    /// A failure was mailed not long ago.
    NotMailing(&'a str),
    /// The run's process was reaped, with this exit code.
    Reaped(i32),
    /// An orphan was.
    ReapedOrphan(i32),
    /// SIGTERM or SIGKILL for this process group.
    Sending(&'static str, i32),
    /// A message goes to a sendmail.
    Delivering { to: &'a str, pid: i32 },
    /// sendmail took it.
    Delivered,
}

impl Message for Event<'_> {
    fn head(&self) -> (&'static str, Level) {
        match *self {
            Event::Loading => ("loading", Level::Info),
            Event::Loaded(_) => ("loaded", Level::Info),
            Event::Targets(_) => ("targets", Level::Info),
            Event::Scheduled { .. } => ("scheduled", Level::Info),
            Event::Started { .. } => ("started", Level::Info),
            Event::Completed { outcome, .. } => match outcome.verdict() {
                Verdict::Failure => ("completed", Level::Warning),
                _ => ("completed", Level::Info),
            },
            Event::Output { .. } | Event::Line { .. } => ("output", Level::Info),
            Event::Report { level, .. } => ("report", level),
            Event::UnsentReport(_) => ("report", Level::Error),
            Event::Stuck { .. } => ("stuck", Level::Error),
            Event::Unkillable { .. } => ("unkillable", Level::Error),
            Event::Background { .. } => ("background", Level::Warning),
            Event::Mailing { .. } => ("mail", Level::Info),
            Event::MailFailed { level, .. } => ("mail", level),
            Event::MailNotSent { .. } => ("mail", Level::Error),
            Event::NoSendmail(_) => ("mail", Level::Warning),
            Event::NotWritten(_) => ("file", Level::Error),
            Event::Stopping { .. }
            | Event::Draining(_)
            | Event::Hangup
            | Event::NothingToRotate => ("signal", Level::Info),
            Event::Status(_) => ("status", Level::Info),
            Event::Asked { .. } => ("asked", Level::Info),
            Event::Changed(_) => ("reload", Level::Info),
            Event::Refused(_) => ("reload", Level::Error),
            Event::Warning(_) => ("warning", Level::Warning),
            Event::Control(level, _) => ("control", level),
            Event::Http(level, _) => ("http", level),
            Event::Log(_) => ("log", Level::Error),
            Event::Fault(_) => ("fault", Level::Error),
            Event::LeaseLost(_) => ("lease", Level::Error),
            Event::Decision(_) => ("decision", Level::Info),
            Event::Terminated => ("terminated", Level::Info),
        }
    }

    fn rank(&self) -> Rank {
        match self {
            Event::Report { .. } | Event::UnsentReport(_) => Rank::Always,
            Event::Decision(_) => Rank::Decision,
            _ => Rank::ByLevel,
        }
    }

    fn bytes(&self) -> Option<[&[u8]; 5]> {
        Some(match *self {
            Event::Output {
                parts: [a, b, c, d],
                ..
            } => [a, b, c, d, b"\n"],
            Event::Line { line, .. } => [line, b"", b"", b"", b""],
            Event::Report { report, .. } => [report.body(), b"", b"", b"", b""],
            Event::UnsentReport(unsent) => [unsent.report.body(), b"", b"", b"", b""],
            _ => return None,
        })
    }

    fn fields(&self, object: &mut Object<'_>) {
        fields::write(self, object);
    }

    fn output(&self) -> Output<'_> {
        match *self {
            Event::Output {
                stream,
                parts: [before, gap, older, newer],
                missing,
                ..
            } => Output::Ends(vec![Stream {
                name: stream.word(),
                before,
                gap,
                after: [older, newer],
                missing,
            }]),
            Event::Line { line, .. } => Output::Line(line),
            Event::Report { report, .. } => Output::Ends(report.streams()),
            Event::UnsentReport(unsent) => {
                let mut streams = unsent.report.streams();
                streams.insert(0, Stream::whole("text", unsent.report.text()));
                Output::Whole(streams)
            }
            _ => Output::None,
        }
    }

    fn title(&self) -> Option<&str> {
        match self {
            Event::Report { report, .. } => Some(report.subject()),
            Event::UnsentReport(unsent) => Some(unsent.report.subject()),
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
