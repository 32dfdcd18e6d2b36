//! The runs of the past as they are shown: a table for people, JSON for programs, and the picture of the lane.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::View;
use super::picture::{self, Bar, Scene, Waits};
use crate::cli::{Form, History};
use crate::config::values::MAX_DURATION;
use crate::job::history::{Entry, RECENT, Run};
use crate::json::Object;
use crate::text::{Utc, precise};

/// Runs that are shown unless another number is asked for.
const RUNS: usize = 20;
/// A picture shows the runs of this long, and of longer where that would be fewer than a table shows.
const WINDOW: Duration = Duration::from_secs(3600);

/// What was asked for, in the form that was asked for.
pub fn history(view: &View<'_>, asked: &History) -> String {
    match asked.form {
        Form::Table => {
            let mut text = String::new();
            table(&mut text, &entries(view, asked), asked.failed, true);
            text
        }
        Form::Json => {
            let mut text = String::from("{\"runs\": ");
            runs(&mut text, &entries(view, asked));
            text.push_str("}\n");
            text
        }
        Form::Svg => svg(view, asked),
    }
}

/// The last runs, oldest first.
fn entries<'a>(view: &View<'a>, asked: &History) -> Vec<Entry<'a>> {
    let most = asked.most.unwrap_or(RUNS);
    let history = view.jobs.history();
    history.last(asked.job.as_deref(), asked.failed, most)
}

pub(super) fn began(run: &Run) -> SystemTime {
    run.began.time().unwrap_or(UNIX_EPOCH)
}

/// The runs as lines, with the names of their jobs where that is asked.
pub(super) fn table(text: &mut String, entries: &[Entry<'_>], failed: bool, jobs: bool) {
    if entries.is_empty() {
        let kind = if failed { "failed run" } else { "run" };
        let _ = writeln!(text, "no {kind} is known");
        return;
    }
    let names = entries.iter().map(|(job, _)| job.len());
    let width = names.chain(["JOB".len()]).max().unwrap_or(0);
    let mut line = |began: &str, job: &str, took: &str, late: &str, outcome: &str| {
        let _ = write!(text, "{began:19}  ");
        if jobs {
            let _ = write!(text, "{job:width$}  ");
        }
        let _ = writeln!(text, "{took:>6}  {late:>7}  {outcome}");
    };
    line("BEGAN (UTC)", "JOB", "TOOK", "LATE BY", "OUTCOME");
    for (job, run) in entries {
        let began = Utc::from(began(run)).plain();
        let (took, late) = (precise(run.took()), precise(run.late()));
        line(&began, job, &took, &late, &run.outcome.word());
    }
}

/// The runs as a JSON array.
pub(super) fn runs(text: &mut String, entries: &[Entry<'_>]) {
    text.push('[');
    for (n, (job, of)) in entries.iter().enumerate() {
        text.push_str(if n == 0 { "\n  " } else { ",\n  " });
        let mut object = Object::begin(text);
        run(&mut object, job, of);
        object.end();
    }
    text.push_str(if entries.is_empty() { "]" } else { "\n]" });
}

/// The fields of a run.
pub(super) fn run(object: &mut Object<'_>, job: &str, run: &Run) {
    object.text("job", job);
    object.time("started", run.began.time());
    object.duration("took", Some(run.took()));
    object.duration("late", Some(run.late()));
    object.text("outcome", &run.outcome.word());
    object.display("code", Some(run.outcome.code));
}

/// Which runs were asked for, where those were not all.
fn only(asked: &History) -> Option<String> {
    match (&asked.job, asked.failed, asked.most) {
        (Some(job), true, _) => Some(format!("failed runs of {job}")),
        (Some(job), false, _) => Some(job.clone()),
        (None, true, _) => Some("failed runs".to_string()),
        (None, false, Some(_)) => Some("these runs".to_string()),
        (None, false, None) => None,
    }
}

fn svg(view: &View<'_>, asked: &History) -> String {
    let history = view.jobs.history();
    let now = view.now.wall;
    let back = |time: Duration| now.checked_sub(time).unwrap_or(UNIX_EPOCH);
    // No delay is longer, so a run before that, like one in the future, tells of a clock that was wrong.
    let possible = back(MAX_DURATION)..=now;
    let last = |job: Option<&str>, failed, most| -> Vec<Bar<'_>> {
        let entries = history.last(job, failed, most).into_iter();
        let bars = entries.map(|(job, run)| Bar {
            job,
            began: began(run),
            took: run.took(),
            late: run.late(),
            outcome: Some(run.outcome),
        });
        bars.filter(|bar| possible.contains(&bar.began)).collect()
    };
    let of = asked.job.as_deref();
    let mut lane = last(None, false, RECENT);
    let mut bars = last(of, asked.failed, asked.most.unwrap_or(RECENT));
    let few = bars.len().saturating_sub(RUNS);
    let wanted = |name: &str| !asked.failed && of.is_none_or(|job| job == name);
    if let Some(run) = view.running {
        let bar = Bar {
            job: &run.job.name,
            began: run.began.wall.min(now),
            took: view.running_for(),
            late: run.late,
            outcome: None,
        };
        lane.push(bar);
        bars.extend(wanted(bar.job).then_some(bar));
    }
    let waits = || {
        let waiting = view.all_waiting().map(|(job, time)| Waits {
            job: &view.jobs.job(job).name,
            since: back(time),
        });
        waiting.filter(|wait| wanted(wait.job))
    };
    let mut from = picture::first(bars.iter().copied(), waits());
    if asked.most.is_none() {
        // The last hour's, or the last few, from where the first of them was due; and what held the lane from then on.
        let hour = back(WINDOW);
        let reach = bars.iter().enumerate();
        let reach = reach.filter(|(n, bar)| *n >= few || bar.ended() >= hour);
        from = picture::first(reach.map(|(_, bar)| *bar), waits());
        bars.retain(|bar| from.is_some_and(|from| bar.ended() > from || bar.began >= from));
    }
    let only = only(asked);
    let scene = Scene {
        title: &view.whose(),
        only: only.as_deref(),
        bars: &bars,
        lane: &lane,
        from,
        now,
    };
    picture::svg(&scene, waits())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
