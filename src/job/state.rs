//! What deploys must not lose: per job the due time, the last end and outcome, failures in a row, a pause, what was
//! mailed. As text, a line each, and back. Pure; wall times, because no other clock survives a restart.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Moment;
use crate::job::record::{Last, Record};
use crate::job::schedule::{Delays, Timing};
use crate::job::throttle::{Parts, Throttle};

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

/// The whole file: each job by its name, with its time and its past.
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
    let mut faults = 0_usize;
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
        faults += 1;
        let warning = || format!("line {number} {fault}; what it says of its job is not used");
        state.warning.get_or_insert_with(warning);
    }
    if let (Some(warning), 2..) = (&mut state.warning, faults) {
        let _ = write!(warning, " (and {} more such lines)", faults - 1);
    }
    state
}

fn entry(line: &str) -> Option<(&str, Entry)> {
    // No word that was written holds one, and status shows words as they are.
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
    pub fn restore(&self, name: &str, delays: &Delays, now: Moment) -> (Timing, Record) {
        let mut timing = Timing::new(delays, now.instant);
        let mut record = Record::default();
        let Some(entry) = self.entries.get(name) else {
            return (timing, record);
        };
        timing.failures = entry.failures;
        timing.paused = entry.paused.is_some();
        if let Some(ended) = entry.ended {
            timing.ran = true;
            timing.since = now.earlier(ended);
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
                Err(_) => now.earlier(due),
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
    fn throttle(&self, now: Moment) -> Throttle {
        let age = |at: SystemTime| now.age(at);
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::job::schedule::Schedule;
    use crate::job::throttle::Decision;
    use proptest::prelude::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// 2026-11-23T23:36:37Z, and an instant.
    fn start() -> Moment {
        Moment {
            instant: Instant::now(),
            wall: UNIX_EPOCH + s(1_795_476_997),
        }
    }

    impl Moment {
        fn plus(self, time: Duration) -> Moment {
            Moment {
                instant: self.instant + time,
                wall: self.wall + time,
            }
        }
    }

    fn delays(start: u64, min: u64, max: u64) -> Delays {
        Delays {
            start: s(start),
            min: s(min),
            max: s(max),
        }
    }

    /// The file of jobs with these names, times and pasts.
    fn file(names: &[&str], timings: &[Timing], records: &[Record], now: Moment) -> String {
        let jobs = names.iter().zip(timings).zip(records);
        write(
            jobs.map(|((name, timing), record)| (*name, timing, record)),
            now,
        )
    }

    /// What a restart makes of one job.
    fn restarted(
        timing: Timing,
        record: Record,
        now: Moment,
        then: Moment,
        delays: &Delays,
    ) -> (Timing, Record) {
        let text = file(&["a"], &[timing], &[record], now);
        let state = read(text.as_bytes(), then.wall);
        assert_eq!(state.warning, None, "{text}");
        state.restore("a", delays, then)
    }

    #[test]
    fn a_job_nothing_is_known_of_starts_afresh() {
        let now = start();
        let delays = delays(7, 60, 0);
        for text in [
            "",
            "junk",
            "buildd-sequencer state 2\na",
            HEADER,
            "\u{feff}",
        ] {
            let state = read(text.as_bytes(), now.wall);
            assert_eq!(state.warning.is_some(), text != HEADER, "{text}");
            let (timing, record) = state.restore("a", &delays, now);
            assert_eq!(timing, Timing::new(&delays, now.instant));
            assert_eq!(record.ended_at(), None);
        }
    }

    #[test]
    fn what_was_known_is_known_again() {
        let now = start();
        let delays = delays(7, 60, 600);
        let ended = now.wall - s(10);
        let timing = Timing {
            due: now.instant + s(50),
            since: now.instant - s(10),
            ran: true,
            failures: 3,
            paused: true,
        };
        let mut record = Record::default();
        let last = Last {
            word: "exit 3".into(),
            code: 3,
        };
        record.restore(Some(ended), Some(now.wall - s(500)), Some(last.clone()));
        record.set_paused(Some((now.wall - s(5), 1000)));
        let hour = s(3600);
        let failed = record
            .throttle
            .failed("exit 3", hour, now.instant, now.wall);
        assert_eq!(failed, Decision::Mail(None));
        let later = now.plus(s(20));
        let (timing, mut record) = restarted(timing, record, now, later, &delays);
        assert_eq!(timing.due, now.instant + s(50), "not from the restart on");
        assert_eq!(timing.since, now.instant - s(10));
        assert_eq!(
            (timing.ran, timing.failures, timing.paused),
            (true, 3, true)
        );
        assert_eq!(record.ended_at(), Some(ended));
        assert_eq!(record.succeeded(), Some(now.wall - s(500)));
        assert_eq!(record.last(), Some(&last));
        assert_eq!(record.paused_by(), Some((now.wall - s(5), 1000)));
        let again = record
            .throttle
            .failed("exit 3", hour, later.instant, later.wall);
        assert_eq!(again, Decision::Hold, "it has been mailed");
        let over = now.plus(hour);
        let mailed = record
            .throttle
            .failed("exit 3", hour, over.instant, over.wall);
        assert!(matches!(mailed, Decision::Mail(Some(_))), "{mailed:?}");
    }

    #[test]
    fn a_first_run_that_is_not_due_yet_keeps_its_time_too() {
        let now = start();
        let delays = delays(100, 5, 0);
        let timing = Timing::new(&delays, now.instant);
        let later = now.plus(s(60));
        let (again, _) = restarted(timing, Record::default(), now.plus(s(1)), later, &delays);
        assert_eq!((again.due, again.ran), (now.instant + s(100), false));
    }

    #[test]
    fn no_job_is_due_later_than_its_delay_from_now() {
        let now = start();
        let timing = Timing {
            due: now.instant + s(86_400),
            since: now.instant,
            ran: true,
            failures: 0,
            paused: false,
        };
        let shorter = restarted(timing, Record::default(), now, now, &delays(1, 60, 0)).0;
        assert_eq!(shorter.due, now.instant + s(60), "mindelay is shorter now");
        let failing = Timing {
            failures: 3,
            ..timing
        };
        let backing_off = restarted(failing, Record::default(), now, now, &delays(1, 60, 6000)).0;
        assert_eq!(backing_off.due, now.instant + s(240));
    }

    #[test]
    fn overdue_jobs_stay_in_order() {
        let now = start();
        let due = [30, 10, 20].map(|ago| Timing {
            due: now.instant - s(ago),
            since: now.instant - s(100),
            ran: true,
            failures: 0,
            paused: false,
        });
        let records = [Record::default(), Record::default(), Record::default()];
        let text = file(&["a", "b", "c"], &due, &records, now);
        let later = now.plus(s(1000));
        let state = read(text.as_bytes(), later.wall);
        let restored = ["a", "b", "c"].map(|name| state.restore(name, &delays(1, 1, 0), later).0);
        let schedule = Schedule::new(restored);
        assert_eq!(schedule.in_order().collect::<Vec<_>>(), [0, 2, 1]);
    }

    #[test]
    fn an_entry_from_the_future_counts_as_none_and_is_named_once() {
        let now = start();
        let ended = |ahead: u64| Timing {
            due: now.instant + s(ahead + 60),
            since: now.instant + s(ahead),
            ran: true,
            failures: 1,
            paused: false,
        };
        let timings = [ended(0), ended(5), ended(6), ended(86_400)];
        let records = [const { None }; 4].map(|r: Option<Record>| r.unwrap_or_default());
        let text = file(&["a", "b", "c", "d"], &timings, &records, now);
        let state = read(text.as_bytes(), now.wall);
        let expected = "line 4 is from the future; what it says of its job is not used (and 1 more such lines)";
        assert_eq!(state.warning.as_deref(), Some(expected));
        let failures =
            ["a", "b", "c", "d"].map(|n| state.restore(n, &delays(9, 60, 0), now).0.failures);
        assert_eq!(
            failures,
            [1, 1, 0, 0],
            "a little ahead is a clock that was set"
        );
        let fresh = state.restore("d", &delays(9, 60, 0), now).0;
        assert_eq!(fresh, Timing::new(&delays(9, 60, 0), now.instant));
    }

    #[test]
    fn a_line_that_cannot_be_read_costs_only_its_own_job() {
        let now = start();
        let good = "good\tdue=1795477000.000000000\tfailures=2";
        for bad in [
            "",
            "\tdue=1.000000000",
            "bad\tdue",
            "bad\tdue=1",
            "bad\tdue=1.5",
            "bad\tdue=-1.000000000",
            "bad\tdue=99999999999999999999.000000000",
            "bad\tdue=18446744073709551615.999999999",
            "bad\tlast=3",
            "bad\tlast=x,exit 3",
            "bad\tlast=3,\u{1b}[2J",
            "bad\tpaused=1.000000000",
            "bad\tfailures=4294967296",
            "bad\tmailed=-,exit 3",
            "bad\trow=1,2,3",
            "bad\u{0}\tdue=1.000000000",
        ] {
            let text = format!("{HEADER}\n{bad}\n{good}\n");
            let state = read(text.as_bytes(), now.wall);
            let warning = state.warning.clone().unwrap_or_default();
            assert!(
                warning.starts_with("line 2 cannot be read; "),
                "{bad:?}: {warning}"
            );
            assert_eq!(state.restore("good", &delays(1, 60, 0), now).0.failures, 2);
            assert!(!state.entries.contains_key("bad"));
        }
    }

    #[test]
    fn what_a_later_version_adds_does_no_harm() {
        let now = start();
        let text = format!("{HEADER}\na\tfailures=2\tcolour=blue\n");
        let state = read(text.as_bytes(), now.wall);
        assert_eq!(state.warning, None);
        assert_eq!(state.restore("a", &delays(1, 60, 0), now).0.failures, 2);
    }

    #[test]
    fn a_moment_out_of_the_clocks_reach_does_no_harm() {
        let now = start();
        for due in [
            "0.000000000",
            "9223372036854775807.000000000",
            "9223372036854775806.999999999",
        ] {
            let text = format!(
                "{HEADER}\na\tdue={due}\tended=0.000000000\tsucceeded={due}\trow=1,1,{due},1,1,{due}\tmailed={due},x\n"
            );
            let state = read(text.as_bytes(), now.wall);
            let (timing, record) = state.restore("a", &delays(1, 60, 0), now);
            assert!(timing.due <= now.instant + s(60));
            let again = file(&["a"], &[timing], &[record], now);
            assert_eq!(read(again.as_bytes(), now.wall).warning, None, "{again}");
        }
    }

    fn ages() -> impl Strategy<Value = Duration> {
        (0..40_000_000_u64, 0..1_000_000_000_u32).prop_map(|(s, n)| Duration::new(s, n))
    }

    fn words() -> impl Strategy<Value = String> {
        prop_oneof![
            (0..256).prop_map(|code| format!("exit {code}")),
            Just("SIGKILL".to_string()),
            Just("timeout".to_string()),
            Just("not started".to_string()),
        ]
    }

    /// A job's past, in times before a moment that is still to be told; `due` may lie after it.
    #[derive(Debug, Clone)]
    struct Made {
        due: (bool, Duration),
        ended: Option<Duration>,
        succeeded: Option<Duration>,
        last: Option<(String, i32)>,
        failures: u32,
        paused: Option<(Duration, u32)>,
        throttle: Option<(Duration, Parts)>,
    }

    /// Longer than any time that `ages` gives, so that no due time is cut.
    const LONGEST: u64 = 40_000_001;

    impl Made {
        fn at(&self, now: Moment) -> (Timing, Record) {
            let (ahead, time) = self.due;
            let timing = Timing {
                due: if ahead {
                    now.instant + time
                } else {
                    now.instant - time
                },
                since: now.instant - self.ended.unwrap_or_default(),
                ran: self.ended.is_some(),
                failures: self.failures,
                paused: self.paused.is_some(),
            };
            let mut record = Record::default();
            let ago = |age: Option<Duration>| age.map(|age| now.wall - age);
            let last = self.last.clone().map(|(word, code)| Last {
                word: word.into(),
                code,
            });
            record.restore(ago(self.ended), ago(self.succeeded), last);
            record.set_paused(self.paused.map(|(age, uid)| (now.wall - age, uid)));
            if let Some((since, parts)) = self.throttle.clone() {
                let since = now.wall - since;
                record.throttle = Throttle::from_parts(Parts { since, ..parts }, now.instant);
            }
            (timing, record)
        }
    }

    fn throttles() -> impl Strategy<Value = (Duration, Parts)> {
        let mailed = prop::collection::vec((words(), prop::option::of(ages())), 0..4);
        let numbers = any::<(u64, u64, u64, bool)>();
        (mailed, numbers, ages(), prop::option::of(ages())).prop_map(
            |(mailed, (failures, last_row, not_mailed, owed), since, notice)| {
                let parts = Parts {
                    mailed,
                    failures,
                    last_row,
                    since: UNIX_EPOCH,
                    not_mailed,
                    owed,
                    notice,
                };
                (since, parts)
            },
        )
    }

    fn pasts() -> impl Strategy<Value = Made> {
        (
            (any::<bool>(), ages()),
            prop::option::of(ages()),
            prop::option::of(ages()),
            prop::option::of((words(), any::<i32>())),
            any::<u32>(),
            prop::option::of((ages(), any::<u32>())),
            prop::option::of(throttles()),
        )
            .prop_map(
                |(due, ended, succeeded, last, failures, paused, throttle)| Made {
                    due,
                    ended,
                    succeeded,
                    last,
                    failures,
                    paused,
                    throttle,
                },
            )
    }

    /// One job as the simulation below sees it, in milliseconds of true time.
    #[derive(Debug, Clone, Copy)]
    struct Seen {
        /// When it may start, by what happened to it alone.
        due: u64,
    }

    /// A daemon that is stopped and started again and again, in true time.
    struct Simulated {
        zero: Moment,
        /// How far the wall clock is off, in milliseconds.
        off: i64,
        time: u64,
        delays: [Delays; 3],
        schedule: Schedule,
        records: Vec<Record>,
    }

    impl Simulated {
        const NAMES: [&str; 3] = ["a", "b", "c"];

        fn new(delays: [Delays; 3]) -> Simulated {
            let zero = start();
            Simulated {
                zero,
                off: 0,
                time: 0,
                delays,
                schedule: Schedule::new(delays.map(|d| Timing::new(&d, zero.instant))),
                records: vec![Record::default(); 3],
            }
        }

        fn now(&self) -> Moment {
            let mut now = self.zero.plus(ms(self.time));
            let off = ms(self.off.unsigned_abs());
            now.wall = if self.off < 0 {
                now.wall - off
            } else {
                now.wall + off
            };
            now
        }

        /// Down for a while, and up again with what the file says.
        fn restart(&mut self, down: u64) {
            let text = file(
                &Self::NAMES,
                self.schedule.timings(),
                &self.records,
                self.now(),
            );
            self.time += down;
            let now = self.now();
            let state = read(text.as_bytes(), now.wall);
            let jobs = Self::NAMES.iter().zip(self.delays);
            let known = jobs.map(|(name, delays)| state.restore(name, &delays, now));
            let (timings, records): (Vec<_>, Vec<_>) = known.unzip();
            self.schedule = Schedule::new(timings);
            self.records = records;
        }

        /// Up until `end`; each start is given to `starts`, which says how the run goes.
        fn work(&mut self, end: u64, mut starts: impl FnMut(usize, u64) -> (u64, bool)) {
            while let Some(next) = self.schedule.next() {
                let due = next.due.saturating_duration_since(self.zero.instant);
                let due = u64::try_from(due.as_nanos().div_ceil(1_000_000)).unwrap();
                if due.max(self.time) >= end {
                    break;
                }
                self.time = self.time.max(due);
                self.schedule.begin(next.job, self.now().instant);
                let (took, failed) = starts(next.job, self.time);
                self.time += took;
                let outcome = crate::job::outcome::Outcome {
                    code: i32::from(failed),
                    cause: crate::job::outcome::Cause::Exited,
                };
                let now = self.now();
                self.records[next.job].ended(now.wall, ms(took), &outcome, 0);
                let delays = self.delays[next.job];
                self.schedule
                    .end(next.job, now.instant, Some(failed), &delays);
            }
            self.time = self.time.max(end);
        }
    }

    proptest! {
        #[test]
        fn any_state_comes_back_as_it_was(pasts in prop::collection::vec(pasts(), 0..5)) {
            let now = start();
            let names = ["a", "b-c", "D_9", "1", "-"];
            let delays = delays(LONGEST, LONGEST, 0);
            let made: Vec<(Timing, Record)> = pasts.iter().map(|past| past.at(now)).collect();
            let (timings, records): (Vec<Timing>, Vec<Record>) = made.iter().cloned().unzip();
            let text = file(&names, &timings, &records, now);
            let state = read(text.as_bytes(), now.wall);
            prop_assert_eq!(&state.warning, &None);
            for (name, (timing, record)) in names.iter().zip(made) {
                let (again, past) = state.restore(name, &delays, now);
                let since = if timing.ran { timing.since } else { now.instant };
                prop_assert_eq!(again, Timing { since, ..timing });
                prop_assert_eq!(past.ended_at(), record.ended_at());
                prop_assert_eq!(past.succeeded(), record.succeeded());
                prop_assert_eq!(past.last(), record.last());
                prop_assert_eq!(past.paused_by(), record.paused_by());
                let parts = |record: &Record| record.throttle.to_parts(now.instant);
                prop_assert_eq!(parts(&past), parts(&record));
            }
        }

        #[test]
        fn nothing_that_can_be_in_a_file_is_fatal(bytes in prop::collection::vec(any::<u8>(), 0..400), header in any::<bool>()) {
            let now = start();
            let mut text = if header { format!("{HEADER}\n").into_bytes() } else { Vec::new() };
            text.extend(bytes);
            let state = read(&text, now.wall);
            for name in state.entries.keys() {
                state.restore(name, &delays(1, 60, 600), now);
            }
            prop_assert!(state.warning.is_none_or(|warning| warning.lines().count() == 1));
        }

        /// Bytes of a real file changed, cut and moved about.
        #[test]
        fn a_damaged_file_is_never_fatal(pasts in prop::collection::vec(pasts(), 1..4), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
            let now = start();
            let (timings, records): (Vec<Timing>, Vec<Record>) = pasts.iter().map(|past| past.at(now)).unzip();
            let text = file(&["a", "b", "c"], &timings, &records, now);
            let mut text = text.into_bytes();
            text.truncate(cut.index(text.len()) + 1);
            for (place, byte) in damage {
                let place = place.index(text.len());
                text[place] = byte;
            }
            let state = read(&text, now.wall);
            for name in state.entries.keys() {
                let (timing, _) = state.restore(name, &delays(1, 60, 600), now);
                prop_assert!(timing.due <= now.instant + s(600));
            }
        }

        /// However short each life of the daemon is: no job starts before its delay is over, no restart puts one
        /// off, and none is passed over.
        #[test]
        fn no_sequence_of_restarts_starts_a_job_early_or_starves_one(
            mins in prop::array::uniform3(1_u64..200),
            starts in prop::array::uniform3(0_u64..200),
            max in 0_u64..500,
            lives in prop::collection::vec((1_u64..90_000, 0_u64..60_000), 1..40),
            runs in prop::collection::vec((0_u64..20_000, any::<bool>()), 1..20),
        ) {
            let jobs = [0, 1, 2].map(|i| delays(starts[i], mins[i], max));
            let mut daemon = Simulated::new(jobs);
            let mut seen = jobs.map(|delays| Seen { due: u64::try_from(delays.start.as_millis()).unwrap()});
            let mut failures = [0_u32; 3];
            let mut next_run = 0;
            for (up, down) in lives {
                let mut early = None;
                let end = daemon.time + up;
                daemon.work(end, |job, time| {
                    // None goes before another that has been due for longer.
                    let first = seen.iter().map(|seen| seen.due).min().unwrap();
                    if time < seen[job].due || seen[job].due > first {
                        early = Some((job, time, seen.map(|seen| seen.due)));
                    }
                    let (took, failed) = runs[next_run % runs.len()];
                    next_run += 1;
                    failures[job] = if failed { failures[job] + 1 } else { 0 };
                    let delay = u64::try_from(jobs[job].after(failures[job]).as_millis()).unwrap();
                    seen[job] = Seen { due: time + took + delay };
                    (took, failed)
                });
                prop_assert_eq!(early, None, "job, start, all due times");
                daemon.restart(down);
                for (job, seen) in seen.iter().enumerate() {
                    let due = daemon.schedule.timing(job).due;
                    prop_assert_eq!(due, daemon.zero.instant + ms(seen.due), "job {} after a restart", job);
                }
            }
        }

        /// The clock may be set while the daemon is up and while it is down, both ways: no job waits for longer than
        /// its delay, and what is known of jobs is lost only where it lies in the future.
        #[test]
        fn no_step_of_the_clock_makes_a_job_wait_for_longer_than_its_delay(
            lives in prop::collection::vec((1_u64..90_000, -400_000_000_i64..400_000_000, 0_u64..60_000, -400_000_000_i64..400_000_000), 1..20),
        ) {
            let jobs = [delays(10, 20, 0), delays(0, 3600, 0), delays(100, 1, 64)];
            let mut daemon = Simulated::new(jobs);
            for (up, step_up, down, step_down) in lives {
                let end = daemon.time + up;
                daemon.work(end, |_, _| (500, true));
                daemon.off += step_up;
                let failures = [0, 1, 2].map(|job| daemon.schedule.timing(job).failures);
                let text = file(&Simulated::NAMES, daemon.schedule.timings(), &daemon.records, daemon.now());
                let before = daemon.now();
                daemon.off += step_down;
                daemon.restart(down);
                let now = daemon.now();
                prop_assert!(text.starts_with(HEADER));
                for (job, was) in failures.into_iter().enumerate() {
                    let timing = daemon.schedule.timing(job);
                    let longest = jobs[job].after(timing.failures).max(jobs[job].start);
                    prop_assert!(timing.due <= now.instant + longest, "job {}", job);
                    let lost = timing.failures != was;
                    prop_assert!(!lost || timing.failures == 0);
                    prop_assert!(!lost || now.wall < before.wall, "lost without a step back");
                }
            }
        }
    }
}
