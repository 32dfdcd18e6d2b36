//! What is known of one job's past runs: the numbers behind status, metrics and the state file. Pure. A record is small
//! on purpose, because each job has one and there may be a million jobs.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use crate::clock::{Stamp, nanoseconds};
use crate::job::outcome::{Cause, Outcome, Verdict};
use crate::job::throttle::Throttle;

/// Why a run failed, as the metrics name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// An exit code other than 0.
    Exit,
    /// A signal killed it.
    Signal,
    /// It ran longer than its `timeout`.
    Timeout,
    /// It could not be started.
    Start,
    /// An operator, or the daemon at shutdown, had to kill it.
    Killed,
}

impl Reason {
    /// All reasons with their names.
    pub const ALL: [(Reason, &'static str); 5] = [
        (Reason::Exit, "exit"),
        (Reason::Signal, "signal"),
        (Reason::Timeout, "timeout"),
        (Reason::Start, "start"),
        (Reason::Killed, "killed"),
    ];

    fn of(outcome: &Outcome) -> Reason {
        match outcome.cause {
            Cause::Exited => Reason::Exit,
            Cause::Killed(_) => Reason::Signal,
            Cause::TimedOut(_) => Reason::Timeout,
            Cause::NotStarted(_) => Reason::Start,
            Cause::Shutdown { .. } | Cause::Operator => Reason::Killed,
        }
    }
}

/// One job's past.
#[derive(Debug, Clone, Default)]
pub struct Record {
    runs: u32,
    run_nanoseconds: u64,
    took: u64,
    lateness: u64,
    lateness_in_all: u64,
    started: Stamp,
    succeeded: Stamp,
    rare: Option<Box<Rare>>,
    /// What `mailinterval` remembers of the job.
    pub throttle: Throttle,
}

/// What only few jobs have. It is allocated when it is needed.
#[derive(Debug, Clone, Default)]
struct Rare {
    failures: [u32; 5],
    left_out: u64,
    /// How the last run ended; `None` after a success.
    last: Option<Last>,
    paused: Option<(SystemTime, u32)>,
}

/// How the last run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// `Outcome::word`.
    pub word: Cow<'static, str>,
    /// Exit code.
    pub code: i32,
}

/// A run that succeeded.
pub(super) const SUCCESS: Last = Last {
    word: Cow::Borrowed("ok"),
    code: 0,
};

impl Record {
    /// Notes that a run begins, `late` after its due time.
    pub fn began(&mut self, now: SystemTime, late: Duration) {
        self.started = Stamp::at(now);
        self.lateness = nanoseconds(late).unwrap_or(u64::MAX);
        self.lateness_in_all = self.lateness_in_all.saturating_add(self.lateness);
    }

    /// Notes that a run has ended. `left_out` counts the output bytes that were not kept.
    pub fn ended(&mut self, now: SystemTime, took: Duration, outcome: &Outcome, left_out: u64) {
        self.runs = self.runs.saturating_add(1);
        self.took = nanoseconds(took).unwrap_or(u64::MAX);
        self.run_nanoseconds = self.run_nanoseconds.saturating_add(self.took);
        if left_out > 0 {
            let rare = self.rare();
            rare.left_out = rare.left_out.saturating_add(left_out);
        }
        let verdict = outcome.verdict();
        if verdict == Verdict::Failure {
            let count = &mut self.rare().failures[Reason::of(outcome) as usize];
            *count = count.saturating_add(1);
        }
        if verdict == Verdict::Success {
            self.succeeded = Stamp::at(now);
            self.set_last(None);
        } else {
            self.set_last(Some(Last {
                word: outcome.word().into(),
                code: outcome.code,
            }));
        }
    }

    fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    fn set_last(&mut self, last: Option<Last>) {
        if last.is_some() || self.rare.is_some() {
            self.rare().last = last;
        }
    }

    /// Restores what a state file says of the runs before this start.
    pub fn restore(&mut self, succeeded: Option<SystemTime>, last: Option<Last>) {
        self.succeeded = succeeded.map_or(Stamp::default(), Stamp::at);
        // After a success there is no `last`: `succeeded` alone says that the last run succeeded.
        self.set_last(last.filter(|last| succeeded.is_none() || *last != SUCCESS));
    }

    /// Notes that the operator with this user id holds the job, or that nobody does.
    pub fn set_paused(&mut self, by: Option<(SystemTime, u32)>) {
        if by.is_some() || self.rare.is_some() {
            self.rare().paused = by;
        }
    }

    /// Since when the job is held, and the user id of the operator who holds it.
    pub fn paused_by(&self) -> Option<(SystemTime, u32)> {
        self.rare.as_ref()?.paused
    }

    /// Runs since the daemon started.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// Failures for this reason since the daemon started.
    pub fn failures_for(&self, reason: Reason) -> u32 {
        self.rare
            .as_ref()
            .map_or(0, |rare| rare.failures[reason as usize])
    }

    /// Failures since the daemon started.
    pub fn failures(&self) -> u64 {
        let failures = self.rare.iter().flat_map(|rare| rare.failures);
        failures.map(u64::from).sum()
    }

    /// The time of all runs taken together.
    pub fn run_time(&self) -> Duration {
        Duration::from_nanos(self.run_nanoseconds)
    }

    /// How long the last run took; `None` before the first has ended.
    pub fn took(&self) -> Option<Duration> {
        (self.runs > 0).then(|| Duration::from_nanos(self.took))
    }

    /// How late the last run began; `None` before the first.
    pub fn lateness(&self) -> Option<Duration> {
        self.started
            .time()
            .map(|_| Duration::from_nanos(self.lateness))
    }

    /// The lateness of all runs taken together.
    pub fn lateness_in_all(&self) -> Duration {
        Duration::from_nanos(self.lateness_in_all)
    }

    /// Output bytes that were not kept.
    pub fn left_out(&self) -> u64 {
        self.rare.as_ref().map_or(0, |rare| rare.left_out)
    }

    /// When the last run began.
    pub fn started(&self) -> Option<SystemTime> {
        self.started.time()
    }

    /// When the last successful run ended.
    pub fn succeeded(&self) -> Option<SystemTime> {
        self.succeeded.time()
    }

    /// How the last run ended.
    pub fn last(&self) -> Option<&Last> {
        let failed = self.rare.as_ref().and_then(|rare| rare.last.as_ref());
        failed.or_else(|| self.succeeded.time().map(|_| &SUCCESS))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use proptest::prelude::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn clock() -> SystemTime {
        UNIX_EPOCH + s(1_795_476_997)
    }

    fn ended(code: i32, cause: Cause) -> Outcome {
        Outcome { code, cause }
    }

    #[test]
    fn what_is_not_known_is_none() {
        let mut record = Record::default();
        assert_eq!(record.took(), None);
        assert_eq!(record.lateness(), None);
        assert_eq!(record.started(), None);
        assert_eq!(record.succeeded(), None);
        assert_eq!(record.last(), None);
        assert_eq!(
            (record.runs(), record.failures(), record.left_out()),
            (0, 0, 0)
        );
        assert_eq!(record.run_time(), Duration::ZERO);
        record.began(clock(), Duration::ZERO);
        assert_eq!(record.started(), Some(clock()));
        assert_eq!(record.lateness(), Some(Duration::ZERO), "known, and none");
        assert_eq!(record.took(), None, "still running");
        record.ended(clock(), Duration::ZERO, &ended(1, Cause::Exited), 0);
        assert_eq!(record.took(), Some(Duration::ZERO));
        assert_eq!(record.succeeded(), None, "it never did");
    }

    #[test]
    fn runs_add_up_and_the_last_one_is_remembered() {
        let mut record = Record::default();
        record.began(clock(), s(2));
        record.ended(clock() + s(10), s(10), &ended(0, Cause::Exited), 5);
        record.began(clock() + s(20), s(3));
        record.ended(clock() + s(24), s(4), &ended(3, Cause::Exited), 6);
        assert_eq!(
            (record.runs(), record.failures(), record.left_out()),
            (2, 1, 11)
        );
        assert_eq!((record.run_time(), record.took()), (s(14), Some(s(4))));
        assert_eq!(
            (record.lateness_in_all(), record.lateness()),
            (s(5), Some(s(3)))
        );
        assert_eq!(record.started(), Some(clock() + s(20)));
        assert_eq!(record.succeeded(), Some(clock() + s(10)), "not the failure");
        let last = record.last().unwrap();
        assert_eq!((&*last.word, last.code), ("exit 3", 3));
    }

    #[test]
    fn each_failure_counts_for_its_reason() {
        let causes = [
            (Cause::Exited, 1, Some(Reason::Exit)),
            (Cause::Killed(9), 137, Some(Reason::Signal)),
            (Cause::TimedOut(s(30)), 0, Some(Reason::Timeout)),
            (Cause::NotStarted(String::new()), 127, Some(Reason::Start)),
            (Cause::Operator, 143, Some(Reason::Killed)),
            (Cause::Shutdown { forced: true }, 137, Some(Reason::Killed)),
            (Cause::Shutdown { forced: false }, 143, None),
            (Cause::Exited, 0, None),
        ];
        for (cause, code, reason) in causes {
            let mut record = Record::default();
            record.ended(clock(), s(1), &ended(code, cause.clone()), 0);
            assert_eq!(record.runs(), 1, "{cause:?}");
            assert_eq!(record.failures(), u64::from(reason.is_some()), "{cause:?}");
            for (other, _) in Reason::ALL {
                let count = u32::from(Some(other) == reason);
                assert_eq!(record.failures_for(other), count, "{cause:?}");
            }
            let succeeded = record.succeeded().is_some();
            assert_eq!(succeeded, cause == Cause::Exited && code == 0, "{cause:?}");
            assert_eq!(record.last().unwrap().code, code);
        }
    }

    #[test]
    fn an_outcome_with_the_same_word_but_another_code_is_remembered_too() {
        let mut record = Record::default();
        for code in [143, 0, 143] {
            record.ended(clock(), s(1), &ended(code, Cause::TimedOut(s(1))), 0);
            let last = record.last().unwrap();
            assert_eq!((&*last.word, last.code), ("timeout", code));
        }
        record.ended(clock(), s(1), &ended(143, Cause::Operator), 0);
        assert_eq!(&*record.last().unwrap().word, "killed");
    }

    #[test]
    fn numbers_that_are_full_stay_full() {
        let mut record = Record {
            runs: u32::MAX,
            ..Record::default()
        };
        record.rare().failures = [u32::MAX; 5];
        record.rare().left_out = u64::MAX;
        for _ in 0..2 {
            record.began(clock(), Duration::MAX);
            record.ended(clock(), Duration::MAX, &ended(1, Cause::Exited), 7);
        }
        assert_eq!((record.runs(), record.left_out()), (u32::MAX, u64::MAX));
        assert_eq!(record.failures_for(Reason::Exit), u32::MAX);
        assert_eq!(record.failures(), 5 * u64::from(u32::MAX));
        let longest = Duration::from_nanos(u64::MAX);
        assert_eq!((record.run_time(), record.took()), (longest, Some(longest)));
        assert_eq!(
            (record.lateness_in_all(), record.lateness()),
            (longest, Some(longest))
        );
    }

    #[test]
    fn a_state_file_gives_back_the_last_outcome_but_no_counts() {
        let mut record = Record::default();
        let last = Last {
            word: "exit 3".into(),
            code: 3,
        };
        record.restore(None, Some(last.clone()));
        assert_eq!(record.last(), Some(&last));
        assert_eq!((record.runs(), record.failures()), (0, 0));
        assert_eq!((record.took(), record.started()), (None, None));
        record.restore(None, None);
        assert_eq!(record.last(), None);
        record.restore(Some(clock()), Some(SUCCESS));
        assert_eq!(record.last(), Some(&SUCCESS));
        assert!(record.rare.as_ref().is_none_or(|rare| rare.last.is_none()));
    }

    #[test]
    fn a_moment_out_of_range_is_never() {
        let last = Duration::from_nanos(u64::MAX);
        let n = Duration::from_nanos(1);
        assert_eq!(Stamp::at(UNIX_EPOCH - n).time(), None);
        assert_eq!(Stamp::at(UNIX_EPOCH).time(), None);
        assert_eq!(Stamp::at(UNIX_EPOCH + n).time(), Some(UNIX_EPOCH + n));
        assert_eq!(Stamp::at(UNIX_EPOCH + last).time(), Some(UNIX_EPOCH + last));
        assert_eq!(Stamp::at(UNIX_EPOCH + last + n).time(), None);
        assert_eq!(Stamp::default().time(), None);
    }

    #[test]
    fn a_million_jobs_have_room() {
        assert!(size_of::<Record>() <= 112, "{} bytes", size_of::<Record>());
    }

    proptest! {
        #[test]
        fn moments_come_back_to_the_nanosecond_and_in_order(a in 1_u64.., b in 1_u64..) {
            let [a, b] = [a, b].map(|n| UNIX_EPOCH + Duration::from_nanos(n));
            prop_assert_eq!(Stamp::at(a).time(), Some(a));
            prop_assert_eq!(Stamp::at(a).cmp(&Stamp::at(b)), a.cmp(&b));
        }
    }
}
