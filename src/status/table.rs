//! The status as a table for people: plain text, one line for each job, what is unusual on top.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::{Reader, Row, State, View};
use crate::config::listen::TRY_AGAIN;
use crate::job::record::Last;
use crate::text::{brief, counted, harmless, write_brief, write_precise};

/// How wide a terminal is.
const WIDTH: usize = 80;
pub(super) const COLUMNS: usize = 8;
pub(super) const TITLES: [&str; COLUMNS] = [
    "JOB", "STATE", "DUE", "ENDED", "TOOK", "LAST", "RUNS", "FAILED",
];
/// The columns that hold words and are set flush left.
const LEFT: [usize; 3] = [0, 1, 5];
const SPACES: &str = "                                                                ";

/// The whole table; of the jobs only those that fail if that is asked.
pub fn table(view: &View<'_>, failed: bool) -> String {
    let mut text = above(view, Reader::Operator);
    let mut cells = Cells::default();
    for title in TITLES {
        cells.push(|text| text.push_str(title));
    }
    for row in view.rows().filter(|row| !failed || row.is_failing()) {
        fill(&mut cells, view, &row);
    }
    text.push('\n');
    if failed && cells.ends.len() == COLUMNS {
        text.push_str("no job is failing\n");
    } else {
        cells.print(&mut text);
    }
    text
}

/// The lines above the table, as this reader may know them.
pub(super) fn above(view: &View<'_>, reader: Reader) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "buildd-sequencer {}{} on {}: pid {}, up {}, read {} {} ago{}",
        env!("CARGO_PKG_VERSION"),
        match &view.config.name {
            Some(name) => format!(" ({name})"),
            None => String::new(),
        },
        view.host,
        view.pid,
        brief(view.up()),
        harmless(&view.file.to_string_lossy()),
        brief(view.now.since(view.configured)),
        view.doing.ending(),
    );
    lease(view, &mut text);
    running(view, &mut text);
    if let Some((n, job, time)) = view.waiting() {
        let (jobs, time) = (counted(n, "job"), brief(time));
        let _ = writeln!(text, "WAITING {jobs}, {} longest ({time})", job.name);
    }
    mail(view, reader, &mut text);
    if let Some(why) = view.not_listening {
        let line = format!("HTTP {why}, tried again every {}", brief(TRY_AGAIN));
        fold(&mut text, &line, 0);
    }
    summary(view, &mut text);
    busy(view, &mut text);
    reload(view, reader, &mut text);
    text
}

/// `JOBS 40: 3 failing, 2 paused, 1 late`
fn summary(view: &View<'_>, text: &mut String) {
    let sum = view.summary();
    let parts = [
        (sum.failing, "failing"),
        (sum.paused, "paused"),
        (sum.late, "late"),
    ];
    let mut before = format!("JOBS {}: ", sum.jobs);
    for (n, word) in parts.into_iter().filter(|(n, _)| *n > 0) {
        let _ = write!(text, "{before}{n} {word}");
        before = ", ".to_string();
    }
    if sum.failing + sum.paused + sum.late > 0 {
        text.push('\n');
    }
}

/// `BUSY 83% of the last hour: slave_scanner 61%, queue_builder 20%`
fn busy(view: &View<'_>, text: &mut String) {
    let percent = |share: u32| (share + 50) / 100;
    let told = |share: u32| percent(share) > 0;
    let busy = view.busy();
    if !told(busy.share) {
        return;
    }
    let window = match busy.window.as_secs() {
        3600 => "hour".to_string(),
        _ => brief(busy.window),
    };
    let mut begin = text.len();
    let _ = write!(text, "BUSY {}% of the last {window}", percent(busy.share));
    let mut before = ':';
    for (job, share) in busy.jobs.iter().filter(|(_, share)| told(*share)) {
        let part = format!("{job} {}%", percent(*share));
        text.push(std::mem::replace(&mut before, ','));
        // A blank before it, and perhaps a comma behind it.
        if text.len() - begin + part.len() + 2 > WIDTH {
            text.push('\n');
            begin = text.len();
            text.push_str("    ");
        }
        text.extend([" ", &part]);
    }
    text.push('\n');
}

/// `RELOAD refused 3m12s ago: FILE:LINE: ...`
fn reload(view: &View<'_>, reader: Reader, text: &mut String) {
    let Some((false, at)) = view.counters.last_reload else {
        return;
    };
    let mut line = format!("RELOAD refused {} ago", brief(view.now.since(at)));
    let mut whole = 0;
    let count = view.counters.fault_count;
    if reader == Reader::Anybody {
        let _ = write!(line, ": {}", counted(count, "fault"));
    } else if let Some(first) = view.counters.faults.first() {
        let first = harmless(first);
        whole = line.len() + first.find(": ").unwrap_or(0) + 3;
        let _ = write!(line, ": {first}");
        if count > 1 {
            let _ = write!(line, " (and {} more)", count - 1);
        }
    }
    fold(text, &line, whole);
}

/// Writes a line in as many as it takes to keep the width, each further one indented. The first so many bytes of it stay
/// together, and so does each word.
fn fold(text: &mut String, line: &str, whole: usize) {
    let (first, rest) = line.split_at_checked(whole).unwrap_or((line, ""));
    text.push_str(first);
    let mut width = first.len();
    let words = (!rest.is_empty()).then(|| rest.strip_prefix(' ').unwrap_or(rest));
    for word in words.into_iter().flat_map(|words| words.split(' ')) {
        if width > 0 && width + 1 + word.len() > WIDTH {
            text.push_str("\n    ");
            width = 4;
        } else if width > 0 {
            text.push(' ');
            width += 1;
        }
        text.push_str(word);
        width += word.len();
    }
    text.push('\n');
}

/// `LEASE 12s left`
fn lease(view: &View<'_>, text: &mut String) {
    match view.lease {
        None => {}
        Some(0) => text.push_str("LEASE has run out\n"),
        Some(left) => {
            let _ = writeln!(text, "LEASE {} left", brief(Duration::from_secs(left)));
        }
    }
}

pub(super) fn running(view: &View<'_>, text: &mut String) {
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
    if let Some(why) = run.refusal {
        let _ = write!(text, ": STUCK, cannot be signalled: {why}");
    } else if view.stuck() {
        let _ = write!(
            text,
            ": STUCK (over {}, {timeout})",
            brief(settings.stuckafter)
        );
    }
    text.push('\n');
}

fn mail(view: &View<'_>, reader: Reader, text: &mut String) {
    let queue = view.queue;
    if queue.is_empty() && view.gave_up_mail().is_none() {
        return;
    }
    let mut line = format!("MAIL    {} queued", queue.len());
    if let Some(ago) = view.gave_up_mail() {
        let _ = write!(line, "; given up {} ago", brief(ago));
    }
    let mut whole = line.len();
    if let (Some(error), Some(at)) = (queue.last_error(), queue.last_error_at()) {
        let ago = view.now.instant.saturating_duration_since(at);
        let _ = write!(line, "; last error {} ago", brief(ago));
        whole = line.len() + 1;
        if reader == Reader::Operator {
            line.extend([": ", error]);
        }
    }
    fold(text, &line, whole);
}

/// All cells of the table, row by row in one text. With thousands of jobs, a string for each cell would take longer
/// than everything else.
#[derive(Default)]
pub(super) struct Cells {
    text: String,
    /// Where each cell ends in the text.
    ends: Vec<usize>,
    widths: [usize; COLUMNS],
}

impl Cells {
    /// Adds a cell with what `write` appends to the text.
    fn push(&mut self, write: impl FnOnce(&mut String)) {
        let start = self.text.len();
        write(&mut self.text);
        let width = &mut self.widths[self.ends.len() % COLUMNS];
        *width = (*width).max(self.text.len() - start);
        self.ends.push(self.text.len());
    }

    /// The cells of all rows, one row after the other.
    pub(super) fn all(&self) -> impl Iterator<Item = &str> {
        let mut start = 0;
        let ends = self.ends.iter();
        ends.map(move |&end| &self.text[std::mem::replace(&mut start, end)..end])
    }

    fn print(&self, text: &mut String) {
        let width = self.widths.iter().sum::<usize>() + 2 * COLUMNS;
        text.reserve(width * self.ends.len() / COLUMNS);
        let mut start = 0;
        for row in self.ends.chunks(COLUMNS) {
            for (column, (&end, width)) in row.iter().zip(self.widths).enumerate() {
                let cell = &self.text[start..end];
                let padding = width - cell.len();
                let is_left = LEFT.contains(&column);
                pad(text, if is_left { 0 } else { padding });
                text.push_str(cell);
                pad(text, if is_left { padding } else { 0 });
                // The last column is flush right, so that no line ends in blanks.
                text.push_str(if column + 1 < COLUMNS { "  " } else { "\n" });
                start = end;
            }
        }
    }
}

fn pad(text: &mut String, spaces: usize) {
    let whole = spaces / SPACES.len();
    (0..whole).for_each(|_| text.push_str(SPACES));
    text.push_str(&SPACES[..spaces % SPACES.len()]);
}

/// Adds the cells of a row.
pub(super) fn fill(cells: &mut Cells, view: &View<'_>, row: &Row<'_>) {
    let ago = |at: Instant| view.now.instant.saturating_duration_since(at);
    let or_none = |text: &mut String, duration: Option<Duration>| match duration {
        Some(duration) => write_brief(text, duration),
        None => text.push('-'),
    };
    cells.push(|text| text.push_str(&row.job.name));
    cells.push(|text| state(text, view, row));
    cells.push(|text| match row.due() {
        Some(due) if row.state != State::Waiting && ago(due).as_secs() > 0 => {
            text.push('-');
            write_brief(text, ago(due));
        }
        due => or_none(
            text,
            due.map(|due| due.saturating_duration_since(view.now.instant)),
        ),
    });
    let ended = row.timing.ran().then(|| ago(row.timing.since));
    cells.push(|text| or_none(text, ended));
    cells.push(|text| match row.record.took() {
        Some(took) => write_precise(text, took),
        None => text.push('-'),
    });
    cells.push(|text| outcome(text, row.last(), row.timing.failures));
    cells.push(|text| {
        let _ = write!(text, "{}", row.record.runs());
    });
    cells.push(|text| {
        let _ = write!(text, "{}", row.record.failures());
    });
}

pub(super) fn state(text: &mut String, view: &View<'_>, row: &Row<'_>) {
    text.push_str(row.state.word());
    match (row.record.paused_by(), view.behind(row)) {
        (Some((at, uid)), _) if row.state == State::Paused => {
            text.push(' ');
            write_brief(text, view.now.age(at));
            let _ = write!(text, " by uid {uid}");
        }
        // It runs, or comes next, since somebody has asked for it or it was held meanwhile.
        (Some(_), _) => text.push_str(", paused"),
        (None, Some(job)) => text.extend([" behind ", job]),
        (None, None) => {}
    }
}

/// `ok`, `exit 3 x12`
fn outcome(text: &mut String, last: Option<&Last>, in_a_row: u32) {
    text.push_str(last.map_or("-", |last| &last.word));
    if last.is_some() && in_a_row > 1 {
        let _ = write!(text, " x{in_a_row}");
    }
}

#[cfg(test)]
mod tests;
