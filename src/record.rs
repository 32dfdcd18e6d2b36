//! What is known of one job's past runs: the numbers behind status, metrics and the state file.
//! Pure, and small on purpose: there is one for each job, and there may be a million jobs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::outcome::{Cause, Outcome, Verdict};
use crate::throttle::Throttle;

/// A moment of the wall clock in eight bytes: nanoseconds since 1970, zero for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// The moment `time`; what lies outside 1970 to 2554 is never.
    pub fn at(time: SystemTime) -> Stamp {
        Stamp(time.duration_since(UNIX_EPOCH).map_or(0, nanoseconds))
    }

    /// The moment, unless it is never.
    pub fn time(self) -> Option<SystemTime> {
        (self.0 > 0).then(|| UNIX_EPOCH + Duration::from_nanos(self.0))
    }
}

/// Why a run counts as failed, as the metrics name it.
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
    failures: [u32; 5],
    run_nanoseconds: u64,
    took: u64,
    lateness: u64,
    lateness_in_all: u64,
    left_out: u64,
    started: Stamp,
    ended: Stamp,
    succeeded: Stamp,
    last: Option<Box<Last>>,
    /// What `mailinterval` remembers of the job.
    pub throttle: Throttle,
}

/// How the last run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Last {
    /// `Outcome::word`.
    pub word: Box<str>,
    /// Exit code.
    pub code: i32,
}

impl Record {
    /// A run begins, this much later than it was due.
    pub fn began(&mut self, now: SystemTime, late: Duration) {
        self.started = Stamp::at(now);
        self.lateness = nanoseconds(late);
        self.lateness_in_all = self.lateness_in_all.saturating_add(self.lateness);
    }

    /// A run has ended. `left_out` counts output bytes that were not kept.
    pub fn ended(&mut self, now: SystemTime, took: Duration, outcome: &Outcome, left_out: u64) {
        self.runs = self.runs.saturating_add(1);
        self.took = nanoseconds(took);
        self.run_nanoseconds = self.run_nanoseconds.saturating_add(self.took);
        self.left_out = self.left_out.saturating_add(left_out);
        self.ended = Stamp::at(now);
        match outcome.verdict() {
            Verdict::Success => self.succeeded = self.ended,
            Verdict::Failure => {
                let count = &mut self.failures[Reason::of(outcome) as usize];
                *count = count.saturating_add(1);
            }
            Verdict::Neither => {}
        }
        let same = self
            .last
            .as_ref()
            .is_some_and(|last| last.code == outcome.code && *last.word == *outcome.word());
        if !same {
            self.last = Some(Box::new(Last {
                word: outcome.word().into(),
                code: outcome.code,
            }));
        }
    }

    /// Takes over what a state file knows of the time before this start.
    pub fn restore(&mut self, ended: Option<SystemTime>, last: Option<Last>) {
        self.ended = ended.map_or(Stamp::default(), Stamp::at);
        self.last = last.map(Box::new);
    }

    /// Runs since the daemon started.
    pub fn runs(&self) -> u32 {
        self.runs
    }

    /// Failures for this reason since the daemon started.
    pub fn failures_for(&self, reason: Reason) -> u32 {
        self.failures[reason as usize]
    }

    /// Failures since the daemon started.
    pub fn failures(&self) -> u64 {
        self.failures.iter().map(|&n| u64::from(n)).sum()
    }

    /// How long all runs took together.
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

    /// How late all runs began, together.
    pub fn lateness_in_all(&self) -> Duration {
        Duration::from_nanos(self.lateness_in_all)
    }

    /// Output bytes that were not kept.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }

    /// When the last run began.
    pub fn started(&self) -> Option<SystemTime> {
        self.started.time()
    }

    /// When the last run ended.
    pub fn ended_at(&self) -> Option<SystemTime> {
        self.ended.time()
    }

    /// When a run last succeeded.
    pub fn succeeded(&self) -> Option<SystemTime> {
        self.succeeded.time()
    }

    /// How the last run ended.
    pub fn last(&self) -> Option<&Last> {
        self.last.as_deref()
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
