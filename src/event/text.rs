//! The text of each event. What 1.0 has logged too keeps its words.

use std::fmt;

use super::{Decision, Event, Name, Who};
use crate::text::{seconds, shown, six_three_g};

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Event::Loading => f.write_str("Loading jobs..."),
            Event::Loaded(Some(job)) => write!(f, "   ...loaded {job}"),
            Event::Loaded(None) => f.write_str("Loaded."),
            Event::Scheduled { job, wait } => {
                let wait = six_three_g(wait);
                write!(f, "Scheduling {job} for {wait} seconds time")
            }
            Event::Started { job, .. } => write!(f, "Running {job}"),
            Event::Completed { job, outcome, .. } => {
                write!(f, "Job {job} completed with exit code {outcome}")
            }
            Event::Output { stream, .. } => f.write_str(match stream {
                Name::Stdout => "Job output was:\n",
                Name::Stderr => "Job error output was:\n",
            }),
            // A chatty job makes millions of these.
            Event::Line { job, .. } => f.write_str(job).and_then(|()| f.write_str(": ")),
            Event::Report { report, .. } => f.write_str(&report.log_headers("-", 0)),
            Event::UnsentReport(unsent) => f.write_str(&unsent.log_headers()),
            Event::Stuck {
                job,
                after,
                pid,
                waiting,
            } => {
                let after = seconds(after);
                write!(
                    f,
                    "Job {job} still running after {after} seconds (pid {pid}), {waiting}"
                )
            }
            Event::Unkillable {
                who,
                pid,
                why,
                left,
            } => {
                match who {
                    Who::Run(job) => write!(f, "Job {job} (pid {pid})"),
                    Who::Rest(job) => write!(f, "What is left of job {job} (process group {pid})"),
                    Who::Sendmail => write!(f, "sendmail (pid {pid})"),
                }?;
                match why {
                    Some(why) => write!(f, " cannot be signalled: {why}"),
                    None => f.write_str(" does not die of SIGKILL"),
                }?;
                f.write_str(match left {
                    true => "; leaving it behind.",
                    false => "; no other job starts before its end.",
                })
            }
            Event::Background { job } => write!(
                f,
                "Job {job} has ended, but a background process keeps its output open; closing it and going on."
            ),
            Event::Mailing { to, .. } => write!(f, "Mailing report to: {to}"),
            Event::MailNotSent { unsent, why } => {
                let to = &unsent.to;
                write!(f, "Mail to {to} was not sent: {why}, the report follows")
            }
            Event::NoSendmail(program) => write!(
                f,
                "sendmail is {} here; set it to a program that sends mail, or mailproblemsto to '-' to have reports in the log",
                shown(program)
            ),
            Event::NotWritten(why) => write!(f, "{why}; trying again."),
            Event::Stopping { signal, again } => {
                let how = if again {
                    " again, stopping at once"
                } else {
                    ", shutting down"
                };
                write!(f, "Received {signal}{how}.")
            }
            Event::Draining(Some(job)) => write!(
                f,
                "Received SIGQUIT, draining: {job} may end, then the daemon stops."
            ),
            Event::Draining(None) => f.write_str("Received SIGQUIT, draining: no job runs."),
            Event::Hangup => f.write_str("Received SIGHUP, reloading configuration."),
            Event::NothingToRotate => {
                f.write_str("Received SIGUSR1; the log is standard output, nothing to rotate.")
            }
            Event::Status(table) => {
                write!(f, "Received SIGUSR2, status:\n{}", table.trim_end())
            }
            Event::Asked {
                request,
                job,
                at_once,
                uid,
                pid,
            } => {
                let (gap, job) = job.map_or(("", ""), |job| (" ", job));
                let at_once = if at_once { " at once" } else { "" };
                write!(
                    f,
                    "Asked to {request}{gap}{job}{at_once} by uid {uid} (pid {pid})."
                )
            }
            Event::MailFailed { line, .. } => f.write_str(line),
            Event::Targets(line)
            | Event::Changed(line)
            | Event::Refused(line)
            | Event::Warning(line)
            | Event::Control(_, line)
            | Event::Http(_, line)
            | Event::LeaseLost(line)
            | Event::Log(line) => f.write_str(line),
            Event::Fault(why) => write!(f, "cannot wait for events: {why}; trying on"),
            Event::Decision(decision) => decision.fmt(f),
            Event::Terminated => f.write_str("Main loop terminated."),
        }
    }
}

impl fmt::Display for Decision<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Decision::NotMailing(job) => write!(
                f,
                "Not mailing: {job} was mailed for this within its mailinterval"
            ),
            Decision::Reaped(code) => write!(f, "Reaped the run's process, exit code {code}"),
            Decision::ReapedOrphan(pid) => write!(f, "Reaped orphan {pid}"),
            Decision::Sending(signal, group) => {
                write!(f, "Sending {signal} to process group {group}")
            }
            Decision::Delivering { to, pid } => write!(f, "Mail to {to} goes to process {pid}"),
            Decision::Delivered => f.write_str("sendmail took the message"),
        }
    }
}
