//! The state file's text: what a restart must not lose. For each job that is the due time, the last end and outcome,
//! the failures in a row, a pause, and what was mailed, on one line. Pure. All times are wall-clock times, because no
//! other clock survives a restart.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::clock::{Moment, Stamp};
use crate::job::record::{Last, Record, SUCCESS};
use crate::job::schedule::{Delays, Timing};
use crate::job::throttle::{Parts, Throttle};

/// The first line, which says what the file is.
const HEADER: &str = "buildd-sequencer state 1";
/// How far ahead of the clock a past time may lie before the entry counts as one from the future. Clocks are often
/// stepped by a little.
const TOLERANCE: Duration = Duration::from_secs(5);

/// One job's entry.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Entry {
    due: Option<SystemTime>,
    ended: Option<SystemTime>,
    succeeded: Option<SystemTime>,
    last: Option<(String, i32)>,
    failures: u32,
    paused: Option<(SystemTime, u32)>,
    mailed: Option<Mailed>,
}

/// What `mailinterval` remembers, in wall-clock times.
#[derive(Debug, Clone, PartialEq)]
struct Mailed {
    words: Vec<(String, Option<SystemTime>)>,
    row: u32,
    since: SystemTime,
    not_mailed: u64,
    owed: bool,
    notice: Option<SystemTime>,
}

/// The whole file: each job's name, timing and record.
pub fn write<'a>(
    jobs: impl IntoIterator<Item = (&'a str, &'a Timing, &'a Record)>,
    now: Moment,
) -> String {
    let jobs = jobs.into_iter();
    let mut text = String::with_capacity(64 * (jobs.size_hint().0 + 1));
    text.push_str(HEADER);
    text.push('\n');
    for (name, timing, record) in jobs {
        text.push_str(name);
        job_fields(&mut text, timing, record, now);
        text.push('\n');
    }
    text
}

fn job_fields(text: &mut String, timing: &Timing, record: &Record, now: Moment) {
    let mut field = |name: &str, value: &str| {
        let _ = write!(text, "\t{name}={value}");
    };
    if let Some(due) = now.wall_time(timing.due) {
        field("due", &stamp(due));
    }
    if let Some(ended) = timing.ran().then(|| now.wall_time(timing.since)).flatten() {
        field("ended", &stamp(ended));
    }
    if let Some(succeeded) = record.succeeded() {
        field("succeeded", &stamp(succeeded));
    }
    if let Some(last) = record.last() {
        field("last", &format!("{},{}", last.code, last.word));
    }
    if timing.failures > 0 {
        field("failures", &timing.failures.to_string());
    }
    if let Some((since, uid)) = record.paused_by() {
        field("paused", &format!("{},{uid}", stamp(since)));
    }
    let Some(parts) = record.throttle.to_parts(now.instant) else {
        return;
    };
    let ago = |age: Duration| {
        now.wall
            .checked_sub(age)
            .map_or_else(|| "-".to_string(), stamp)
    };
    let maybe = |age: Option<Duration>| age.map_or_else(|| "-".to_string(), ago);
    let Parts {
        mailed,
        row,
        since,
        not_mailed,
        owed,
        notice,
    } = parts;
    let (since, notice, owed) = (stamp(since), maybe(notice), u8::from(owed));
    // The form is that of version 1.0, which counts the row of failures under way and the last row separately.
    let (failures, last_row) = match timing.failures {
        0 => (0, row),
        failures => (failures, 0),
    };
    field(
        "row",
        &format!("{failures},{last_row},{since},{not_mailed},{owed},{notice}"),
    );
    for (word, age) in mailed {
        field("mailed", &format!("{},{word}", maybe(age)));
    }
}

/// Seconds since 1970, to the nanosecond.
fn stamp(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}.{:09}", since.as_secs(), since.subsec_nanos())
}

fn time(text: &str) -> Option<SystemTime> {
    let (seconds, nanoseconds) = text.split_once('.')?;
    if nanoseconds.len() != 9 {
        return None;
    }
    let since = Duration::new(seconds.parse().ok()?, nanoseconds.parse().ok()?);
    UNIX_EPOCH.checked_add(since)
}

fn maybe_time(text: &str) -> Option<Option<SystemTime>> {
    if text == "-" {
        Some(None)
    } else {
        time(text).map(Some)
    }
}

/// What a state file says of each job.
#[derive(Debug, Default)]
pub struct State {
    entries: HashMap<String, Entry>,
    /// What could not be used, and why, in one line.
    pub warning: Option<String>,
}

/// The lines that have the same fault.
#[derive(Debug, Default)]
pub(super) struct Faulty {
    /// The number of the first such line.
    first: usize,
    count: usize,
}

impl Faulty {
    pub(super) fn add(&mut self, number: usize) {
        if self.count == 0 {
            self.first = number;
        }
        self.count += 1;
    }

    /// The fault in words, if there is one.
    pub(super) fn told(&self, what: &str) -> Option<String> {
        let first = self.first;
        match self.count.checked_sub(1)? {
            0 => Some(format!("line {first} {what}")),
            1 => Some(format!("line {first} {what} (and 1 more such line)")),
            more => Some(format!("line {first} {what} (and {more} more such lines)")),
        }
    }
}

/// Reads a state file's text. An entry that cannot be read is ignored. If an entry's times lie in the future, because
/// the clock was set back or another host's clock is ahead, only its times are ignored.
pub fn read(text: &[u8], wall: SystemTime) -> State {
    let mut state = State::default();
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        state.warning = Some("it is not a state file of this version".to_string());
        return state;
    }
    let (mut unreadable, mut ahead) = (Faulty::default(), Faulty::default());
    for (number, line) in (2..).zip(lines) {
        let Some((name, mut entry)) = entry(line) else {
            unreadable.add(number);
            continue;
        };
        if entry.leave_the_future(wall) {
            ahead.add(number);
        }
        state.entries.insert(name.to_string(), entry);
    }
    let faults = [
        unreadable.told("cannot be read; what it says of its job is not used"),
        ahead.told("is from the future; its times are not used"),
    ];
    let faults: Vec<String> = faults.into_iter().flatten().collect();
    state.warning = (!faults.is_empty()).then(|| faults.join(", and "));
    state
}

impl Entry {
    /// Replaces past times that lie in the future by now. If the last end lies in the future, the due time is
    /// forgotten, so that the job is due its delay from now; so is the time of a success before a failure. True if a time lies further ahead than `TOLERANCE`.
    fn leave_the_future(&mut self, wall: SystemTime) -> bool {
        let latest = wall.checked_add(TOLERANCE).unwrap_or(wall);
        if self.ended.is_some_and(|ended| ended > latest) {
            self.due = None;
        }
        // The last end is now; a success before it was some time, nobody knows when.
        let is_lost = self.succeeded.is_some_and(|at| at > latest)
            && self
                .last
                .as_ref()
                .is_some_and(|(word, _)| *word != SUCCESS.word);
        let mut is_ahead = false;
        for time in self.past_times() {
            is_ahead |= *time > latest;
            *time = wall.min(*time);
        }
        if is_lost {
            self.succeeded = None;
        }
        is_ahead
    }

    /// All times except the due time, which may lie ahead.
    fn past_times(&mut self) -> impl Iterator<Item = &mut SystemTime> {
        let runs = [self.ended.as_mut(), self.succeeded.as_mut()];
        let pause = self.paused.as_mut().map(|(since, _)| since);
        let mailed = self.mailed.as_mut().into_iter().flat_map(|mailed| {
            let words = mailed.words.iter_mut().filter_map(|(_, at)| at.as_mut());
            words.chain([&mut mailed.since]).chain(&mut mailed.notice)
        });
        runs.into_iter().flatten().chain(pause).chain(mailed)
    }
}

fn entry(line: &str) -> Option<(&str, Entry)> {
    // No entry is written with a control character, and the status shows words as they are.
    if line.contains(|c: char| c.is_control() && c != '\t') {
        return None;
    }
    let mut fields = line.split('\t');
    let name = fields.next().filter(|name| !name.is_empty())?;
    let mut entry = Entry::default();
    for field in fields {
        let (key, value) = field.split_once('=')?;
        match key {
            "due" => entry.due = Some(time(value)?),
            "ended" => entry.ended = Some(time(value)?),
            "succeeded" => entry.succeeded = Some(time(value)?),
            "last" => {
                let (code, word) = value.split_once(',')?;
                entry.last = Some((word.to_string(), code.parse().ok()?));
            }
            "failures" => entry.failures = value.parse().ok()?,
            "paused" => {
                let (since, uid) = value.split_once(',')?;
                entry.paused = Some((time(since)?, uid.parse().ok()?));
            }
            "row" => entry.mailed = Some(row(value)?),
            "mailed" => {
                let (at, word) = value.split_once(',')?;
                entry
                    .mailed
                    .as_mut()?
                    .words
                    .push((word.to_string(), maybe_time(at)?));
            }
            // A later version wrote this field. This version does not need what it says.
            _ => {}
        }
    }
    Some((name, entry))
}

fn row(value: &str) -> Option<Mailed> {
    let mut parts = value.split(',');
    let mut next = || parts.next();
    let (failures, last_row): (u64, u64) = (next()?.parse().ok()?, next()?.parse().ok()?);
    let row = if failures > 0 { failures } else { last_row };
    Some(Mailed {
        words: Vec::new(),
        row: u32::try_from(row).unwrap_or(u32::MAX),
        since: time(next()?)?,
        not_mailed: next()?.parse().ok()?,
        owed: next()? == "1",
        notice: maybe_time(next()?)?,
    })
}

impl State {
    /// A state that holds nothing, with the reason.
    pub fn unusable(why: String) -> State {
        State {
            entries: HashMap::new(),
            warning: Some(why),
        }
    }

    /// The timing and the record of the job `name`: what the file says, or a fresh start. A known job is due at its
    /// stored due time, but at most its delay from now. Without a stored due time it is due its delay after its last
    /// end.
    pub fn restore(&self, name: &str, delays: &Delays, now: Moment) -> (Timing, Record) {
        let mut timing = Timing::new(delays, now.instant);
        let mut record = Record::default();
        let Some(entry) = self.entries.get(name) else {
            return (timing, record);
        };
        timing.failures = entry.failures;
        if let Some(ended) = entry.ended {
            timing.ended = Stamp::at(ended);
            timing.since = now.earlier(ended);
        }
        timing.due = match entry.due {
            Some(due) => due_again(due, timing.delay(delays), now),
            None => timing.due_by(delays),
        };
        let last = entry.last.as_ref().map(|(word, code)| Last {
            word: word.clone().into(),
            code: *code,
        });
        record.restore(entry.succeeded, last);
        record.set_paused(entry.paused);
        if let Some(mailed) = &entry.mailed {
            record.throttle = mailed.throttle(now);
        }
        (timing, record)
    }
}

/// When a job is due whose stored due time is `due`.
fn due_again(due: SystemTime, delay: Duration, now: Moment) -> Instant {
    match due.duration_since(now.wall) {
        Ok(ahead) => {
            let at = now.instant.checked_add(ahead.min(delay));
            at.unwrap_or(now.instant)
        }
        // Long overdue jobs keep their order.
        Err(_) => now.earlier(due),
    }
}

impl Mailed {
    fn throttle(&self, now: Moment) -> Throttle {
        let age = |at: SystemTime| now.age(at);
        let parts = Parts {
            mailed: self
                .words
                .iter()
                .map(|(word, at)| (word.clone(), at.map(age)))
                .collect(),
            row: self.row,
            since: self.since,
            not_mailed: self.not_mailed,
            owed: self.owed,
            notice: self.notice.map(age),
        };
        Throttle::from_parts(parts, now.instant)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
