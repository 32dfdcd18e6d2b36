//! One job as it is shown: what it is told, how it is doing, its last runs and failures, and the end of what its last
//! failed run printed. As text for people and as JSON for programs.

use std::fmt::Write as _;

use super::history::{self, began};
use super::json;
use super::{Row, State, View, table};
use crate::config::{Job, check};
use crate::job::history::Entry;
use crate::job::tails::Tail;
use crate::json::Object;
use crate::text::{Utc, brief, harmless};

/// Runs, and failed runs, that are shown.
const RUNS: usize = 10;

/// The job of this name; `None` if neither the configuration has it nor the run under way is one of it, whose job a
/// reload may have removed.
pub fn find<'a>(view: &View<'a>, name: &str) -> Option<(&'a Job, Option<Row<'a>>)> {
    if let Some(index) = view.jobs.find(name) {
        return Some((view.jobs.job(index), Some(view.row(index))));
    }
    let run = view.running.filter(|run| &*run.job.name == name)?;
    Some((run.job, None))
}

/// The job as text or as JSON; nothing if there is no such job.
pub fn job(view: &View<'_>, name: &str, json: bool) -> String {
    let Some((job, row)) = find(view, name) else {
        return String::new();
    };
    let last = |failed| view.jobs.history().last(Some(name), failed, RUNS);
    let shown = Shown {
        view,
        job,
        row,
        runs: last(false),
        failures: last(true),
        tail: view.jobs.tails().of(name),
    };
    if json { shown.json() } else { shown.text() }
}

struct Shown<'a> {
    view: &'a View<'a>,
    job: &'a Job,
    /// Nothing if a reload has removed the job, and its run goes on.
    row: Option<Row<'a>>,
    runs: Vec<Entry<'a>>,
    failures: Vec<Entry<'a>>,
    tail: Option<&'a Tail>,
}

impl Shown<'_> {
    fn runs_now(&self) -> bool {
        let running = self.view.running;
        running.is_some_and(|run| run.job.name == self.job.name)
    }

    fn text(&self) -> String {
        let mut text = format!("JOB {}: ", self.job.name);
        self.state(&mut text);
        if self.runs_now() {
            table::running(self.view, &mut text);
        }
        self.past(&mut text);
        text.push('\n');
        text.push_str(&check::print_job(self.view.config, self.job));
        text.push_str("\nLAST RUNS\n");
        history::table(&mut text, &self.runs, false, false);
        text.push_str("\nLAST FAILURES\n");
        history::table(&mut text, &self.failures, true, false);
        if let Some(tail) = self.tail {
            let began = Utc::from(began(&tail.run)).plain();
            let outcome = tail.run.outcome.word();
            let _ = writeln!(text, "\nOUTPUT of the failed run of {began} UTC, {outcome}");
            output(&mut text, "standard error", tail.stderr());
            output(&mut text, "standard output", tail.stdout());
        }
        text
    }

    /// `late behind queue_builder`, and on a line of its own `DUE 34m26s ago`.
    fn state(&self, text: &mut String) {
        let Some(row) = &self.row else {
            text.push_str("no longer in the configuration, its last run goes on\n");
            return;
        };
        table::state(text, self.view, row);
        if let Some(due) = row.due() {
            let now = self.view.now.instant;
            let ahead = due.saturating_duration_since(now);
            let _ = match now.saturating_duration_since(due) {
                ago if ago.as_secs() > 0 => write!(text, "\nDUE {} ago", brief(ago)),
                _ => write!(text, "\nDUE in {}", brief(ahead)),
            };
        }
        text.push('\n');
    }

    /// `RUNS 120: 3 failed, the last 2 in a row; last success 5m12s ago`
    fn past(&self, text: &mut String) {
        let Some(row) = &self.row else { return };
        let _ = write!(
            text,
            "RUNS {}: {} failed",
            row.record.runs(),
            row.record.failures()
        );
        if row.timing.failures > 1 {
            let _ = write!(text, ", the last {} in a row", row.timing.failures);
        }
        if let Some(at) = row.record.succeeded() {
            let _ = write!(text, "; last success {} ago", brief(self.view.now.age(at)));
        }
        text.push('\n');
    }

    fn json(&self) -> String {
        let mut text = String::new();
        let mut object = Object::begin(&mut text);
        let of = object.name("job");
        match &self.row {
            Some(row) => json::job(self.view, row, of),
            None => {
                let state = if self.view.stuck() {
                    State::Stuck
                } else {
                    State::Running
                };
                let mut removed = Object::begin(of);
                removed.text("name", &self.job.name);
                removed.text("state", state.lower_case());
                removed.end();
            }
        }
        object.boolean("removed", self.row.is_none());
        match self.runs_now() {
            true => json::running(self.view, object.name("running")),
            false => object.maybe("running", None),
        }
        let mut settings = Object::begin(object.name("settings"));
        for (key, value) in check::values(self.view.config, self.job) {
            settings.text(key, &value);
        }
        settings.end();
        history::runs(object.name("runs"), &self.runs);
        history::runs(object.name("failures"), &self.failures);
        match self.tail {
            None => object.maybe("failed", None),
            Some(tail) => {
                let mut failed = Object::begin(object.name("failed"));
                history::run(&mut failed, &self.job.name, &tail.run);
                for (name, (end, total)) in [("stdout", tail.stdout()), ("stderr", tail.stderr())] {
                    let mut stream = Object::begin(failed.name(name));
                    stream.number("bytes", total);
                    stream.text("end", &String::from_utf8_lossy(end));
                    stream.end();
                }
                failed.end();
            }
        }
        object.end();
        text.push('\n');
        text
    }
}

/// What a stream's end says, each line behind a tab, so that nothing in it looks like a line of ours.
fn output(text: &mut String, stream: &str, (end, total): (&[u8], u64)) {
    let _ = match total {
        0 => writeln!(text, "{stream}: nothing"),
        _ if total > end.len() as u64 => {
            writeln!(text, "{stream}, the end of {total} bytes:")
        }
        _ => writeln!(text, "{stream}:"),
    };
    let end = String::from_utf8_lossy(end);
    for line in end.lines() {
        for part in line.split('\t') {
            text.push('\t');
            text.push_str(&harmless(part));
        }
        text.push('\n');
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
