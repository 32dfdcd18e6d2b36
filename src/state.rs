//! What deploys must not lose: per job the due time, the last end and outcome, failures in a row, a pause, what was
//! mailed. As text, a line each, and back. Pure; wall times, because no other clock survives a restart.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::config::Config;
use crate::record::{Last, Record};
use crate::schedule::{Delays, Schedule, Timing};
use crate::throttle::{Parts, Throttle};

/// The first line: what the file is.
const HEADER: &str = "buildd-sequencer state 1";
/// How far ahead an end may lie before the entry is called one from the future: clocks are stepped a little.
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

/// What `mailinterval` remembers, with moments of the wall clock.
#[derive(Debug, Clone, PartialEq)]
struct Mailed {
    words: Vec<(String, Option<SystemTime>)>,
    failures: u64,
    last_row: u64,
    since: SystemTime,
    not_mailed: u64,
    owed: bool,
    notice: Option<SystemTime>,
}

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// The clock that is never stepped.
    pub instant: Instant,
    /// The clock that survives a restart.
    pub wall: SystemTime,
}

impl Now {
    fn wall_time(&self, at: Instant) -> Option<SystemTime> {
        match at.checked_duration_since(self.instant) {
            Some(ahead) => self.wall.checked_add(ahead),
            None => self
                .wall
                .checked_sub(self.instant.saturating_duration_since(at)),
        }
    }
}

/// The whole file.
pub fn write(config: &Config, schedule: &Schedule, records: &[Record], now: Now) -> String {
    let mut text = String::with_capacity(64 * (config.jobs.len() + 1));
    text.push_str(HEADER);
    text.push('\n');
    for (place, (job, record)) in config.jobs.iter().zip(records).enumerate() {
        let Some(timing) = schedule.timing(place) else {
            continue;
        };
        text.push_str(&job.name);
        job_fields(&mut text, timing, record, now);
        text.push('\n');
    }
    text
}

fn job_fields(text: &mut String, timing: &Timing, record: &Record, now: Now) {
    let mut field = |name: &str, value: &str| {
        let _ = write!(text, "\t{name}={value}");
    };
    if let Some(due) = now.wall_time(timing.due) {
        field("due", &stamp(due));
    }
    if let Some(ended) = timing.ran.then(|| now.wall_time(timing.since)).flatten() {
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
    if timing.paused {
        let (since, uid) = record.paused_by().unwrap_or((now.wall, 0));
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
        failures,
        last_row,
        since,
        not_mailed,
        owed,
        notice,
    } = parts;
    let (since, notice, owed) = (stamp(since), maybe(notice), u8::from(owed));
    field(
        "row",
        &format!("{failures},{last_row},{since},{not_mailed},{owed},{notice}"),
    );
    for (word, age) in mailed {
        field("mailed", &format!("{},{word}", maybe(age)));
    }
}

/// Seconds since 1970 with all their decimals.
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

/// What a state file holds, by job.
#[derive(Debug, Default)]
pub struct State {
    entries: HashMap<String, Entry>,
    /// What could not be used, and why, in one line.
    pub warning: Option<String>,
}

/// Reads a state file's text. An entry that cannot be read, or one from the future, counts as none.
pub fn read(text: &[u8], wall: SystemTime) -> State {
    let mut state = State::default();
    let text = String::from_utf8_lossy(text);
    let mut lines = text.lines();
    if lines.next() != Some(HEADER) {
        state.warning = Some("it is not a state file of this version".to_string());
        return state;
    }
    let latest = wall.checked_add(TOLERANCE).unwrap_or(wall);
    for (number, line) in (2..).zip(lines) {
        let fault = match entry(line) {
            None => "cannot be read",
            Some((_, entry)) if entry.ended.is_some_and(|ended| ended > latest) => {
                "is from the future"
            }
            Some((name, entry)) => {
                state.entries.insert(name.to_string(), entry);
                continue;
            }
        };
        let warning = || format!("line {number} {fault}; what it says of its job is not used");
        state.warning.get_or_insert_with(warning);
    }
    state
}

fn entry(line: &str) -> Option<(&str, Entry)> {
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
            // From a later version: what it says cannot matter to this one.
            _ => {}
        }
    }
    Some((name, entry))
}

fn row(value: &str) -> Option<Mailed> {
    let mut parts = value.split(',');
    let mut next = || parts.next();
    Some(Mailed {
        words: Vec::new(),
        failures: next()?.parse().ok()?,
        last_row: next()?.parse().ok()?,
        since: time(next()?)?,
        not_mailed: next()?.parse().ok()?,
        owed: next()? == "1",
        notice: maybe_time(next()?)?,
    })
}

impl State {
    /// Nothing is known, and why.
    pub fn unusable(why: String) -> State {
        State {
            entries: HashMap::new(),
            warning: Some(why),
        }
    }

    /// The time and the past of the job `name`: what the file knows of it, or a fresh start. A known job is due at
    /// its stored due time, but at most its delay from now.
    pub fn restore(&self, name: &str, delays: &Delays, now: Now) -> (Timing, Record) {
        let mut timing = Timing::new(delays, now.instant);
        let mut record = Record::default();
        let Some(entry) = self.entries.get(name) else {
            return (timing, record);
        };
        timing.failures = entry.failures;
        timing.paused = entry.paused.is_some();
        if let Some(ended) = entry.ended {
            timing.ran = true;
            timing.since = earlier(now, ended);
        }
        if let Some(due) = entry.due {
            let delay = if timing.ran {
                delays.after(timing.failures)
            } else {
                delays.start
            };
            timing.due = match due.duration_since(now.wall) {
                Ok(ahead) => now
                    .instant
                    .checked_add(ahead.min(delay))
                    .unwrap_or(now.instant),
                // Long overdue jobs keep their order among each other.
                Err(_) => earlier(now, due),
            };
        }
        let last = entry.last.as_ref().map(|(word, code)| Last {
            word: word.clone().into(),
            code: *code,
        });
        record.restore(entry.ended, entry.succeeded, last);
        record.set_paused(entry.paused);
        if let Some(mailed) = &entry.mailed {
            record.throttle = mailed.throttle(now);
        }
        (timing, record)
    }
}

impl Mailed {
    fn throttle(&self, now: Now) -> Throttle {
        let age = |at: SystemTime| now.wall.duration_since(at).unwrap_or_default();
        let parts = Parts {
            mailed: self
                .words
                .iter()
                .map(|(word, at)| (word.clone(), at.map(age)))
                .collect(),
            failures: self.failures,
            last_row: self.last_row,
            since: self.since,
            not_mailed: self.not_mailed,
            owed: self.owed,
            notice: self.notice.map(age),
        };
        Throttle::from_parts(parts, now.instant)
    }
}

/// A moment of the past by the clock that is never stepped; what lies before its beginning is at its beginning.
fn earlier(now: Now, at: SystemTime) -> Instant {
    let age = now.wall.duration_since(at).unwrap_or_default();
    now.instant.checked_sub(age).unwrap_or(now.instant)
}
