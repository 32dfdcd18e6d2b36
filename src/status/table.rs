//! The status as a table for people: plain text, one line a job, what is unusual on top.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use super::{Row, State, View};
use crate::record::Last;
use crate::text::{brief, precise};

const TITLES: [&str; 8] = [
    "JOB", "STATE", "DUE", "ENDED", "TOOK", "LAST", "RUNS", "FAILED",
];
/// Columns whose contents are words, to be read from the left.
const LEFT: [usize; 3] = [0, 1, 5];

/// The whole table.
pub fn table(view: &View<'_>) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "buildd-sequencer {} on {}: pid {}, up {}, configuration of {} ago{}",
        env!("CARGO_PKG_VERSION"),
        view.host,
        std::process::id(),
        brief(view.up),
        brief(since(view, view.configured)),
        if view.phase == "working" {
            String::new()
        } else {
            format!(", {}", view.phase)
        },
    );
    running(view, &mut text);
    if let Some((n, job, time)) = view.waiting() {
        let jobs = if n == 1 { "job" } else { "jobs" };
        let _ = writeln!(
            text,
            "WAITING {n} {jobs}, {} longest ({})",
            job.name,
            brief(time)
        );
    }
    mail(view, &mut text);
    let rows: Vec<([String; 8], Row<'_>)> =
        view.rows().map(|row| (cells(view, &row), row)).collect();
    let mut widths = TITLES.map(str::len);
    for (cells, _) in &rows {
        for (width, cell) in widths.iter_mut().zip(cells) {
            *width = (*width).max(cell.len());
        }
    }
    text.push('\n');
    line(&mut text, &TITLES.map(str::to_string), &widths);
    for (cells, _) in &rows {
        line(&mut text, cells, &widths);
    }
    text
}

fn running(view: &View<'_>, text: &mut String) {
    let Some(run) = view.running else { return };
    let _ = write!(
        text,
        "RUNNING {}, pid {}, for {}",
        run.job.name,
        run.pid,
        brief(view.running_for())
    );
    let settings = &run.job.settings;
    let timeout = match settings.timeout {
        Duration::ZERO => "no timeout set".to_string(),
        timeout => format!("timeout {}", brief(timeout)),
    };
    if view.stuck() {
        let _ = write!(
            text,
            ": STUCK (over {}, {timeout})",
            brief(settings.stuckafter)
        );
    }
    text.push('\n');
}

fn mail(view: &View<'_>, text: &mut String) {
    let queue = view.queue;
    if queue.is_empty() && queue.last_error().is_none() {
        return;
    }
    let _ = write!(text, "MAIL    {} queued", queue.len());
    if let (Some(error), Some(at)) = (queue.last_error(), queue.last_error_at()) {
        let ago = view.now.saturating_duration_since(at);
        let _ = write!(text, "; last error {} ago: {error}", brief(ago));
    }
    text.push('\n');
}

fn cells(view: &View<'_>, row: &Row<'_>) -> [String; 8] {
    let none = || "-".to_string();
    let due = row
        .due()
        .map_or_else(none, |due| match due.checked_duration_since(view.now) {
            Some(ahead) => brief(ahead),
            None if row.state == State::Waiting => brief(Duration::ZERO),
            None => format!("-{}", brief(view.now.saturating_duration_since(due))),
        });
    let state = match (view.behind(row), row.record.paused_by()) {
        (Some(job), _) => format!("{} behind {job}", row.state.word()),
        (None, Some((at, uid))) if row.state == State::Paused => {
            format!("paused {} by uid {uid}", brief(since(view, at)))
        }
        _ => row.state.word().to_string(),
    };
    let ended = row
        .timing
        .ran
        .then(|| brief(view.now.saturating_duration_since(row.timing.since)));
    [
        row.job.name.to_string(),
        state,
        due,
        ended.unwrap_or_else(none),
        row.record.took().map_or_else(none, precise),
        outcome(row.last(), row.timing.failures).unwrap_or_else(none),
        row.record.runs().to_string(),
        row.record.failures().to_string(),
    ]
}

/// How long ago that was; nothing for a moment that a step of the clock has put ahead.
fn since(view: &View<'_>, at: SystemTime) -> Duration {
    view.wall.duration_since(at).unwrap_or_default()
}

/// `ok`, `exit 3 x12`
fn outcome(last: Option<&Last>, in_a_row: u32) -> Option<String> {
    let last = last?;
    Some(if in_a_row < 2 {
        last.word.to_string()
    } else {
        format!("{} x{in_a_row}", last.word)
    })
}

fn line(text: &mut String, cells: &[String; 8], widths: &[usize; 8]) {
    let mut line = String::new();
    for (column, (cell, width)) in cells.iter().zip(widths).enumerate() {
        if column > 0 {
            line.push_str("  ");
        }
        let _ = if LEFT.contains(&column) {
            write!(line, "{cell:<width$}")
        } else {
            write!(line, "{cell:>width$}")
        };
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
