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

/// The file of jobs with these names, timings and records.
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
        assert_eq!(record.last(), None);
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
        ended: Stamp::at(ended),
        failures: 3,
    };
    let mut record = Record::default();
    let last = Last {
        word: "exit 3".into(),
        code: 3,
    };
    record.restore(Some(now.wall - s(500)), Some(last.clone()));
    record.set_paused(Some((now.wall - s(5), 1000)));
    let hour = s(3600);
    let failed = record.throttle.failed("exit 3", 3, hour, now);
    assert_eq!(failed, Decision::Mail(None));
    let later = now.plus(s(20));
    let (timing, mut record) = restarted(timing, record, now, later, &delays);
    assert_eq!(timing.due, now.instant + s(50), "not from the restart on");
    assert_eq!(timing.since, now.instant - s(10));
    assert_eq!((timing.ended.time(), timing.failures), (Some(ended), 3));
    assert_eq!(record.succeeded(), Some(now.wall - s(500)));
    assert_eq!(record.last(), Some(&last));
    assert_eq!(record.paused_by(), Some((now.wall - s(5), 1000)));
    let again = record.throttle.failed("exit 3", 4, hour, later);
    assert_eq!(again, Decision::Hold, "it has been mailed");
    let over = now.plus(hour);
    let mailed = record.throttle.failed("exit 3", 5, hour, over);
    assert!(matches!(mailed, Decision::Mail(Some(_))), "{mailed:?}");
}

#[test]
fn a_first_run_that_is_not_due_yet_keeps_its_time_too() {
    let now = start();
    let delays = delays(100, 5, 0);
    let timing = Timing::new(&delays, now.instant);
    let later = now.plus(s(60));
    let (again, _) = restarted(timing, Record::default(), now.plus(s(1)), later, &delays);
    assert_eq!((again.due, again.ran()), (now.instant + s(100), false));
}

#[test]
fn no_job_is_due_later_than_its_delay_from_now() {
    let now = start();
    let timing = Timing {
        due: now.instant + s(86_400),
        since: now.instant,
        ended: Stamp::at(now.wall),
        failures: 0,
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
        ended: Stamp::at(now.wall),
        failures: 0,
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
fn of_an_entry_from_the_future_all_but_the_times_is_kept() {
    let now = start();
    let delays = delays(9, 60, 6000);
    let ended = |ahead: u64| Timing {
        due: now.instant + s(ahead + 60),
        since: now.instant + s(ahead),
        ended: Stamp::at(now.wall),
        failures: 3,
    };
    let record = |ahead: u64| {
        let mut record = Record::default();
        let last = Last {
            word: "exit 3".into(),
            code: 3,
        };
        let ended = now.wall + s(ahead);
        record.restore(Some(ended - s(1)), Some(last));
        record.set_paused(Some((ended, 1000)));
        let parts = Parts {
            mailed: vec![("exit 3".to_string(), Some(Duration::ZERO))],
            row: 3,
            since: ended,
            not_mailed: 2,
            owed: true,
            notice: Some(Duration::ZERO),
        };
        record.throttle = Throttle::from_parts(parts, now.instant + s(ahead));
        record
    };
    let ahead = [0, 5, 6, 86_400];
    let names = ["a", "b", "c", "d"];
    let text = file(&names, &ahead.map(ended), &ahead.map(record), now);
    let state = read(text.as_bytes(), now.wall);
    let expected = "line 4 is from the future; its times are not used (and 1 more such line)";
    assert_eq!(state.warning.as_deref(), Some(expected));
    for (name, ahead) in names.iter().zip(ahead) {
        let (timing, record) = state.restore(name, &delays, now);
        // A time a little ahead comes from a clock that was set.
        let due = if ahead <= 5 { ahead + 60 } else { 240 };
        let expected = Timing {
            due: now.instant + s(due),
            since: now.instant,
            ended: Stamp::at(now.wall),
            failures: 3,
        };
        assert_eq!(timing, expected, "{name}");
        let before = now.wall - s(u64::from(ahead == 0));
        let succeeded = Some(before).filter(|_| ahead <= 6);
        assert_eq!(record.succeeded(), succeeded, "none is made up");
        assert_eq!(record.last().map(|last| last.code), Some(3));
        assert_eq!(record.paused_by(), Some((now.wall, 1000)));
        let parts = record.throttle.to_parts(now.instant).unwrap();
        assert_eq!(parts.since, now.wall);
        assert_eq!(parts.mailed, [("exit 3".to_string(), Some(Duration::ZERO))]);
        assert_eq!(parts.notice, Some(Duration::ZERO));
        let counts = (parts.row, parts.not_mailed, parts.owed);
        assert_eq!(counts, (3, 2, true));
    }
}

#[test]
fn a_pause_from_the_future_of_a_job_that_has_never_run_stays() {
    let now = start();
    let text = format!("{HEADER}\na\tdue=1795477001.000000000\tpaused=1795480000.000000000,7\n");
    let state = read(text.as_bytes(), now.wall);
    let expected = "line 2 is from the future; its times are not used";
    assert_eq!(state.warning.as_deref(), Some(expected));
    let (timing, record) = state.restore("a", &delays(9, 60, 0), now);
    assert_eq!(record.paused_by(), Some((now.wall, 7)));
    // The due time need not be past.
    assert_eq!(timing.due, now.instant + s(4));
}

#[test]
fn each_time_that_lies_ahead_is_told() {
    let now = start();
    let (past, ahead) = ("1795470000.000000000", "1795480000.000000000");
    let line = |ended, succeeded, paused, since, notice, mailed| {
        format!(
            "{HEADER}\na\tended={ended}\tsucceeded={succeeded}\tpaused={paused},0\trow=1,1,{since},1,1,{notice}\tmailed={mailed},x\n"
        )
    };
    let none = line(past, past, past, past, past, past);
    assert_eq!(read(none.as_bytes(), now.wall).warning, None);
    for text in [
        line(ahead, past, past, past, past, past),
        line(past, ahead, past, past, past, past),
        line(past, past, ahead, past, past, past),
        line(past, past, past, ahead, past, past),
        line(past, past, past, past, ahead, past),
        line(past, past, past, past, past, ahead),
    ] {
        let state = read(text.as_bytes(), now.wall);
        assert!(state.warning.is_some(), "{text}");
        let (timing, record) = state.restore("a", &delays(1, 60, 0), now);
        assert!(timing.ran() && record.paused_by().is_some());
    }
}

#[test]
fn there_is_one_warning_whatever_is_wrong() {
    let now = start();
    let ahead = "ended=4000000000.000000000";
    let text = format!("{HEADER}\na\t{ahead}\nb\tdue=x\nc\t{ahead}\n\nd\n\n");
    let state = read(text.as_bytes(), now.wall);
    let expected = "line 3 cannot be read; what it says of its job is not used (and 2 more such lines), and \
                    line 2 is from the future; its times are not used (and 1 more such line)";
    assert_eq!(state.warning.as_deref(), Some(expected));
}

/// As version 1.0 wrote it.
const OF_1_0: &str = "buildd-sequencer state 1
slave_scanner\tdue=1795477002.000000001\tended=1795476997.000000001\tsucceeded=1795476997.000000001\tlast=0,ok
queue_builder\tdue=1795477237.000000000\tended=1795476997.000000000\tsucceeded=1795470000.500000000\tlast=137,SIGKILL\tfailures=3\tpaused=1795476000.000000000,1000\trow=3,0,1795476900.000000000,2,0,-\tmailed=1795476900.000000000,SIGKILL\tmailed=-,exit 1
never_run\tdue=1795477000.000000000
";

#[test]
fn the_file_has_the_form_that_the_first_version_reads_and_writes() {
    let now = start().plus(s(1));
    let state = read(OF_1_0.as_bytes(), now.wall);
    assert_eq!(state.warning, None);
    let names = ["slave_scanner", "queue_builder", "never_run"];
    let delays = delays(60, 60, 6000);
    let known = names.map(|name| state.restore(name, &delays, now));
    let (timings, records): (Vec<Timing>, Vec<Record>) = known.into_iter().unzip();
    assert_eq!(file(&names, &timings, &records, now), OF_1_0);
    // Later it is written in the same form, too.
    let later = now.plus(s(100));
    let text = file(&names, &timings, &records, later);
    assert_eq!(text, OF_1_0);
}

#[test]
fn a_known_job_without_a_due_time_is_due_its_delay_after_its_end() {
    let now = start();
    let text = format!("{HEADER}\na\tended=1795476987.000000000\tfailures=2\nb\tfailures=2\n");
    let state = read(text.as_bytes(), now.wall);
    let due = |name| state.restore(name, &delays(9, 60, 6000), now).0.due;
    assert_eq!(due("a"), now.instant + s(110));
    assert_eq!(due("b"), now.instant + s(9));
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

/// A job's past, in times before a moment that the test chooses. `due` may lie after it.
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
            ended: self
                .ended
                .map_or(Stamp::default(), |age| Stamp::at(now.wall - age)),
            failures: self.failures,
        };
        let mut record = Record::default();
        let ago = |age: Option<Duration>| age.map(|age| now.wall - age);
        let last = self.last.clone().map(|(word, code)| Last {
            word: word.into(),
            code,
        });
        record.restore(ago(self.succeeded), last);
        record.set_paused(self.paused.map(|(age, uid)| (now.wall - age, uid)));
        if let Some((since, parts)) = self.throttle.clone() {
            let since = now.wall - since;
            // During a row of failures both count the same row.
            let row = if self.failures > 0 {
                self.failures
            } else {
                parts.row
            };
            record.throttle = Throttle::from_parts(
                Parts {
                    since,
                    row,
                    ..parts
                },
                now.instant,
            );
        }
        (timing, record)
    }
}

fn throttles() -> impl Strategy<Value = (Duration, Parts)> {
    let mailed = prop::collection::vec((words(), prop::option::of(ages())), 0..4);
    let numbers = any::<(u32, u64, bool)>();
    (mailed, numbers, ages(), prop::option::of(ages())).prop_map(
        |(mailed, (row, not_mailed, owed), since, notice)| {
            let parts = Parts {
                mailed,
                row,
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
    /// When it may start, as its own past alone says.
    due: u64,
}

/// A daemon that is stopped and started again and again, in true time.
struct Simulated {
    zero: Moment,
    /// How far the wall clock is wrong, in milliseconds.
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

    /// Stops for a while, and starts with what the file says.
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

    /// Works until `end`. `starts` is told of each start and says how the run goes.
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
                .end(next.job, now, Some(failed), &delays, false);
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
            let since = if timing.ran() { timing.since } else { now.instant };
            prop_assert_eq!(again, Timing { since, ..timing });
            prop_assert_eq!(past.succeeded(), record.succeeded());
            prop_assert_eq!(past.last(), record.last());
            prop_assert_eq!(past.paused_by(), record.paused_by());
            let parts = |record: &Record| record.throttle.to_parts(now.instant);
            prop_assert_eq!(parts(&past), parts(&record));
        }
    }

    /// Whatever the clock says after a restart, pauses, outcomes, rows of failures and what was mailed are known again.
    /// No past time lies ahead, and no job waits for longer than its delay.
    #[test]
    fn a_clock_that_is_wrong_after_a_restart_costs_times_alone(
        past in pasts(),
        step in -1_700_000_000_000_i64..1_000_000_000_000,
        delays in (0_u64..100_000, 0_u64..100_000, 0_u64..1_000_000),
    ) {
        let now = start();
        let delays = self::delays(delays.0, delays.1, delays.2);
        let (timing, record) = past.at(now);
        let text = file(&["a"], &[timing], std::slice::from_ref(&record), now);
        let step_by = ms(step.unsigned_abs());
        let wall = if step < 0 { now.wall - step_by } else { now.wall + step_by };
        let then = Moment { wall, ..now };
        let state = read(text.as_bytes(), wall);
        let (again, known) = state.restore("a", &delays, then);
        prop_assert_eq!((again.ran(), again.failures), (timing.ran(), timing.failures));
        prop_assert!(again.due <= now.instant + again.delay(&delays));
        prop_assert!(again.since <= now.instant);
        let by = |record: &Record| record.paused_by().map(|(_, uid)| uid);
        prop_assert_eq!(by(&known), by(&record));
        if record.last().is_some() {
            prop_assert_eq!(known.last(), record.last());
        }
        let parts = record.throttle.to_parts(now.instant);
        let known_parts = known.throttle.to_parts(now.instant);
        let mailed = |parts: &Option<Parts>| parts.as_ref().map(|parts| {
            let words: Vec<(String, bool)> =
                parts.mailed.iter().map(|(word, at)| (word.clone(), at.is_some())).collect();
            (words, parts.row, parts.not_mailed, parts.owed, parts.notice.is_some())
        });
        prop_assert_eq!(mailed(&known_parts), mailed(&parts));
        let times = |timing: &Timing, record: &Record, parts: &Option<Parts>| {
            [timing.ended.time(), record.succeeded(), record.paused_by().map(|(since, _)| since), parts.as_ref().map(|parts| parts.since)]
        };
        let (was, is) = (times(&timing, &record, &parts), times(&again, &known, &known_parts));
        // If the clock was ahead and was set back, each time that is now in the future shows it.
        let mut ahead = false;
        let is_ahead = |time: SystemTime| time > wall + TOLERANCE;
        let is_lost = was[1].is_some_and(is_ahead) && record.last() != Some(&SUCCESS);
        for (place, (was, is)) in was.into_iter().zip(is).enumerate() {
            let known = was.map(|time| time.min(wall)).filter(|_| place != 1 || !is_lost);
            prop_assert_eq!(is, known);
            ahead |= was.is_some_and(is_ahead);
        }
        let mailed_at = parts.into_iter().flat_map(|parts| {
            parts.mailed.into_iter().filter_map(|(_, age)| age).chain(parts.notice)
        });
        ahead |= mailed_at.into_iter().any(|age| now.wall - age > wall + TOLERANCE);
        prop_assert_eq!(state.warning.is_some(), ahead);
        if was[0].is_some_and(|ended| ended > wall + TOLERANCE) {
            prop_assert_eq!(again.due, now.instant + again.delay(&delays), "its delay from now");
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

    /// Changes, cuts and moves bytes of a real file.
    #[test]
    fn a_damaged_file_is_never_fatal(pasts in prop::collection::vec(pasts(), 1..4), damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6), cut in any::<prop::sample::Index>()) {
        let now = start();
        let (timings, records): (Vec<Timing>, Vec<Record>) = pasts.iter().map(|past| past.at(now)).unzip();
        let text = file(&["a", "b", "c"], &timings, &records, now);
        let mut text = text.into_bytes();
        text.truncate(cut.index(text.len()) + 1);
        for (index, byte) in damage {
            let index = index.index(text.len());
            text[index] = byte;
        }
        let state = read(&text, now.wall);
        for name in state.entries.keys() {
            let (timing, _) = state.restore(name, &delays(1, 60, 600), now);
            prop_assert!(timing.due <= now.instant + s(600));
        }
    }

    /// However soon each restart comes, no job starts before its delay is over, no restart delays one, and none is
    /// passed over.
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
                // No job goes before another that has been due for longer.
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

    /// The clock may be set back or ahead, while the daemon is up and while it is down. No job waits for longer than
    /// its delay, and nothing but times is lost.
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
            daemon.off += step_down;
            daemon.restart(down);
            let now = daemon.now();
            prop_assert!(text.starts_with(HEADER));
            for (job, was) in failures.into_iter().enumerate() {
                let timing = daemon.schedule.timing(job);
                let longest = jobs[job].after(timing.failures).max(jobs[job].start);
                prop_assert!(timing.due <= now.instant + longest, "job {}", job);
                prop_assert_eq!(timing.failures, was);
            }
        }
    }
}
