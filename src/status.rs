//! The state of the daemon as it is shown, in one place for all who show it: the status table, JSON, metrics,
//! the health check and the line that a supervisor sees. Pure: a view borrows the daemon's state at a moment.

pub mod json;
pub mod metrics;
pub mod table;

use std::time::{Duration, Instant, SystemTime};

use crate::config::{Config, Job};
use crate::mail::Queue;
use crate::record::{Last, Record};
use crate::schedule::{Schedule, Timing};
use crate::text::{brief, seconds};

/// How long mail has to fail before the daemon is called unhealthy.
const MAIL_FAILING_TOO_LONG: Duration = Duration::from_secs(3600);

/// What the daemon counts beside its jobs.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Messages that sendmail took.
    pub mails_sent: u64,
    /// Tries that failed.
    pub mail_tries_failed: u64,
    /// Messages that went to the log instead.
    pub mails_given_up: u64,
    /// Reloads that were adopted.
    pub reloads_done: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// How and when the last reload went.
    pub last_reload: Option<(bool, SystemTime)>,
}

/// The run under way.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// Its job's place in the configuration, unless a reload has removed it.
    pub place: Option<usize>,
    /// The job as the run began with it.
    pub job: &'a Job,
    /// Process id.
    pub pid: i32,
    /// When it began.
    pub started: Instant,
    /// When it began, by the wall clock.
    pub wall: SystemTime,
}

/// All that is to be shown, at the moment `now`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The moment.
    pub now: Instant,
    /// The same by the wall clock.
    pub wall: SystemTime,
    /// When the daemon started.
    pub started: SystemTime,
    /// When its configuration was read.
    pub configured: SystemTime,
    /// How long it has been up.
    pub up: Duration,
    /// `working`, `draining` or `stopping`.
    pub phase: &'static str,
    /// This machine's name.
    pub host: &'a str,
    /// The configuration.
    pub config: &'a Config,
    /// When each job is due.
    pub schedule: &'a Schedule,
    /// What is known of each job's runs.
    pub records: &'a [Record],
    /// The run under way.
    pub running: Option<Running<'a>>,
    /// Mail that waits.
    pub queue: &'a Queue,
    /// The daemon's own numbers.
    pub counters: &'a Counters,
    /// Log lines that could not be written.
    pub lines_dropped: u64,
}

/// What a job is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its run is under way.
    Running,
    /// Its run is under way for longer than its `stuckafter`.
    Stuck,
    /// It comes next because an operator asked for it.
    Next,
    /// It is due and waits for another job's end.
    Late,
    /// It is not due yet.
    Waiting,
    /// An operator holds it.
    Paused,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Running => "running",
            State::Stuck => "STUCK",
            State::Next => "next",
            State::Late => "late",
            State::Waiting => "waiting",
            State::Paused => "paused",
        }
    }
}

/// One job as it is shown.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// The job.
    pub job: &'a Job,
    /// Its past.
    pub record: &'a Record,
    /// Its time.
    pub timing: &'a Timing,
    /// What it is at.
    pub state: State,
}

impl Row<'_> {
    /// When it is due, if that means anything now.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Running | State::Stuck | State::Paused => None,
            State::Next | State::Late | State::Waiting => Some(self.timing.due),
        }
    }

    /// How its last run ended.
    pub fn last(&self) -> Option<&Last> {
        self.record.last()
    }
}

impl<'a> View<'a> {
    /// The job at a place of the configuration.
    pub fn row(&self, place: usize) -> Option<Row<'a>> {
        Some(Row {
            job: self.config.jobs.get(place)?,
            record: self.records.get(place)?,
            timing: self.schedule.timing(place)?,
            state: self.state(place),
        })
    }

    fn state(&self, place: usize) -> State {
        if self.running.is_some_and(|run| run.place == Some(place)) {
            return if self.stuck() {
                State::Stuck
            } else {
                State::Running
            };
        }
        if self.schedule.is_requested(place) {
            return State::Next;
        }
        match self.schedule.timing(place) {
            Some(timing) if timing.paused => State::Paused,
            Some(timing) if timing.due < self.now && self.running.is_some() => State::Late,
            _ => State::Waiting,
        }
    }

    /// All jobs: the running one, then those that were asked for, then in due order, paused ones last.
    pub fn rows(&self) -> impl Iterator<Item = Row<'a>> {
        let view = *self;
        let running = view.running.and_then(|run| run.place);
        let requested = view
            .schedule
            .requested()
            .filter(move |place| Some(*place) != running);
        let in_order = view
            .schedule
            .in_order()
            .filter(move |place| !view.schedule.is_requested(*place));
        let paused =
            (0..view.config.jobs.len()).filter(move |place| view.state(*place) == State::Paused);
        running
            .into_iter()
            .chain(requested)
            .chain(in_order)
            .chain(paused)
            .filter_map(move |place| view.row(place))
    }

    /// Whether the run under way takes longer than its job's `stuckafter`.
    pub fn stuck(&self) -> bool {
        self.running.is_some_and(|run| {
            let limit = run.job.settings.stuckafter;
            !limit.is_zero() && self.now.saturating_duration_since(run.started) >= limit
        })
    }

    /// How long the run under way has taken.
    pub fn running_for(&self) -> Duration {
        self.running.map_or(Duration::ZERO, |run| {
            self.now.saturating_duration_since(run.started)
        })
    }

    /// Jobs that wait behind the run under way: how many, which longest, and how long that one.
    pub fn waiting(&self) -> Option<(usize, &'a Job, Duration)> {
        self.running?;
        let waiting = || {
            let all = self.schedule.waiting(self.now);
            all.filter(|(_, time)| !time.is_zero())
        };
        // Of those that wait equally long, the one that comes first.
        let (place, time) = waiting().reduce(|a, b| if b.1 > a.1 { b } else { a })?;
        Some((waiting().count(), self.config.jobs.get(place)?, time))
    }

    /// The job that a late one or one that was asked for waits for.
    pub fn behind(&self, row: &Row<'_>) -> Option<&'a str> {
        let waits = matches!(row.state, State::Late | State::Next);
        self.running.filter(|_| waits).map(|run| &*run.job.name)
    }

    /// `3 jobs wait, queue_builder longest (3540 seconds)`
    pub fn who_waits(&self) -> String {
        match self.waiting() {
            None => "no job waits".to_string(),
            Some((1, job, time)) => format!(
                "1 job waits, {} longest ({} seconds)",
                job.name,
                time.as_secs()
            ),
            Some((n, job, time)) => format!(
                "{n} jobs wait, {} longest ({} seconds)",
                job.name,
                time.as_secs()
            ),
        }
    }

    /// An instant by the wall clock.
    pub fn wall_time(&self, at: Instant) -> SystemTime {
        match at.checked_duration_since(self.now) {
            Some(ahead) => self.wall.checked_add(ahead).unwrap_or(self.wall),
            None => self
                .wall
                .checked_sub(self.now.saturating_duration_since(at))
                .unwrap_or(self.wall),
        }
    }

    /// What the daemon does, in one line for its supervisor. It changes only when something happens.
    pub fn headline(&self) -> String {
        let doing = match (self.running, self.schedule.next()) {
            (Some(run), _) => format!("Running {} (pid {})", run.job.name, run.pid),
            (None, Some(next)) => match self.config.jobs.get(next.job) {
                Some(job) => format!("Next is {}", job.name),
                None => "Idle".to_string(),
            },
            (None, None) => "All jobs are paused".to_string(),
        };
        let stuck = if self.stuck() { ", STUCK" } else { "" };
        let mail = match self.queue.last_error() {
            Some(_) => format!(", {} mails queued", self.queue.len()),
            None => String::new(),
        };
        format!("{doing}{stuck}{mail}")
    }

    /// Whether all is well, in one line: `Err` says what is not.
    pub fn health(&self) -> Result<String, String> {
        if let (true, Some(run), Some((n, job, time))) =
            (self.stuck(), self.running, self.waiting())
        {
            let jobs = if n == 1 {
                "1 job waits".to_string()
            } else {
                format!("{n} jobs wait")
            };
            return Err(format!(
                "{} is stuck (pid {}, for {}, over {} seconds) and {jobs}, {} longest ({})",
                run.job.name,
                run.pid,
                brief(self.running_for()),
                seconds(run.job.settings.stuckafter),
                job.name,
                brief(time)
            ));
        }
        let failing = self
            .queue
            .failing_since()
            .map(|since| self.now.saturating_duration_since(since));
        if let Some(time) = failing.filter(|time| *time >= MAIL_FAILING_TOO_LONG) {
            let error = self.queue.last_error().unwrap_or_default();
            return Err(format!(
                "mail has been failing for {}: {error}",
                brief(time)
            ));
        }
        if let Some((false, at)) = self.counters.last_reload {
            let ago = self.wall.duration_since(at).unwrap_or_default();
            return Err(format!(
                "the last reload was refused {} ago; 'buildd-sequencer check' says why",
                brief(ago)
            ));
        }
        Ok(match self.running {
            Some(run) => format!(
                "ok: {} runs for {}",
                run.job.name,
                brief(self.running_for())
            ),
            None => "ok".to_string(),
        })
    }
}
