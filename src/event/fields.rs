//! The fields of each event for programs.

use std::time::Duration;

use super::{Decision, Event, Name, Who};
use crate::json::Object;
use crate::mail::queue::Unsent;
use crate::mail::report::Report;
use crate::text::to_milliseconds;

/// The most bytes written from each end of a name or address, as escaped.
const END: usize = 256;
/// The most bytes written from each end of what a report says beside the output, as escaped.
const TEXT_END: usize = 1024;

pub(super) fn write(event: &Event<'_>, object: &mut Object<'_>) {
    match *event {
        Event::Loaded(job) => maybe_job(object, job),
        Event::Scheduled { job, wait } => {
            put(object, "job", job);
            duration(object, "seconds", wait);
        }
        Event::Started { job, pid, late } => {
            put(object, "job", job);
            if let Some(pid) = pid {
                number(object, "pid", pid);
            }
            duration(object, "late", late);
        }
        Event::Completed {
            job,
            outcome,
            took,
            late,
        } => {
            put(object, "job", job);
            number(object, "code", outcome.code);
            put(object, "outcome", &outcome.word());
            duration(object, "seconds", took);
            duration(object, "late", late);
        }
        Event::Output { job, stream, .. } | Event::Line { job, stream, .. } => {
            put(object, "job", job);
            put(object, "stream", stream.word());
        }
        Event::Report { report, .. } => {
            about(object, report);
            let text = String::from_utf8_lossy(report.text());
            object.bounded("text", &text, TEXT_END);
        }
        Event::UnsentReport(unsent) => about_unsent(object, unsent),
        Event::Stuck {
            job, after, pid, ..
        } => {
            put(object, "job", job);
            duration(object, "seconds", after);
            number(object, "pid", pid);
        }
        Event::Unkillable { who, pid, .. } => {
            if let Who::Run(job) | Who::Rest(job) = who {
                put(object, "job", job);
            }
            number(object, "pid", pid);
        }
        Event::Background { job } | Event::Decision(Decision::NotMailing(job)) => {
            put(object, "job", job);
        }
        Event::Mailing { report, to } => {
            put(object, "job", report.job());
            put(object, "recipient", to);
        }
        Event::MailFailed { unsent, .. } | Event::MailNotSent { unsent, .. } => {
            put(object, "job", unsent.report.job());
            put(object, "recipient", &unsent.to);
        }
        Event::Stopping { signal, .. } => put(object, "signal", signal),
        Event::Draining(job) => {
            put(object, "signal", "SIGQUIT");
            maybe_job(object, job);
        }
        Event::Hangup => put(object, "signal", "SIGHUP"),
        Event::NothingToRotate => put(object, "signal", "SIGUSR1"),
        Event::Asked {
            request,
            job,
            uid,
            pid,
            ..
        } => {
            put(object, "request", request);
            maybe_job(object, job);
            object.number("uid", uid.into());
            number(object, "pid", pid);
        }
        Event::Decision(Decision::Reaped(code)) => number(object, "code", code),
        Event::Decision(Decision::ReapedOrphan(pid) | Decision::Sending(_, pid)) => {
            number(object, "pid", pid);
        }
        Event::Decision(Decision::Delivering { to, pid }) => {
            put(object, "recipient", to);
            number(object, "pid", pid);
        }
        Event::Loading
        | Event::Targets(_)
        | Event::NoSendmail(_)
        | Event::NotWritten(_)
        | Event::Status(_)
        | Event::Changed(_)
        | Event::Refused(_)
        | Event::Warning(_)
        | Event::Control(..)
        | Event::Http(..)
        | Event::Log(_)
        | Event::Fault(_)
        | Event::LeaseLost(_)
        | Event::Decision(Decision::Delivered)
        | Event::Terminated => {}
    }
}

fn about(object: &mut Object<'_>, report: &Report) {
    put(object, "job", report.job());
    if let Some((code, outcome)) = report.outcome() {
        number(object, "code", code);
        put(object, "outcome", outcome);
    }
    duration(object, "seconds", report.took());
}

fn about_unsent(object: &mut Object<'_>, unsent: &Unsent) {
    about(object, &unsent.report);
    put(object, "recipient", &unsent.to);
}

fn put(object: &mut Object<'_>, name: &str, value: &str) {
    object.bounded(name, value, END);
}

fn maybe_job(object: &mut Object<'_>, job: Option<&str>) {
    if let Some(job) = job {
        put(object, "job", job);
    }
}

fn number(object: &mut Object<'_>, name: &str, value: i32) {
    object.display(name, Some(value));
}

/// Seconds, to the nearest millisecond.
fn duration(object: &mut Object<'_>, name: &str, value: Duration) {
    object.duration(name, Some(to_milliseconds(value)));
}

impl Name {
    /// The word for it in an object.
    pub(super) fn word(self) -> &'static str {
        match self {
            Name::Stdout => "stdout",
            Name::Stderr => "stderr",
        }
    }
}
