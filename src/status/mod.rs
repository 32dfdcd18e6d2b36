//! The state of the daemon as it is shown, in one place for all who show it: the status table, JSON, metrics,
//! the health check and the line that a supervisor sees. Pure: a view borrows the daemon's state at a moment.

pub mod health;
pub mod history;
pub mod job;
pub mod json;
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod made;
pub mod metrics;
pub mod page;
pub mod picture;
pub mod table;

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use crate::clock::Moment;
use crate::config::{Job, Sequencer};
use crate::job::busy::Shares;
use crate::job::jobs::{Index, Jobs};
use crate::job::record::{Last, Record};
use crate::job::schedule::Timing;
use crate::job::stuck;
use crate::mail::queue::Queue;
use crate::order::sorted;

/// The most jobs named with their share of the time.
const BUSIEST: usize = 5;

/// What the daemon counts beside its jobs.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    /// Reloads that were adopted.
    pub reloads_done: u64,
    /// Reloads that were refused.
    pub reloads_refused: u64,
    /// Whether the last reload was adopted, and when it was.
    pub last_reload: Option<(bool, Moment)>,
    /// Why it was refused, the first of many reasons.
    pub faults: Vec<String>,
    /// How many reasons there were.
    pub fault_count: usize,
}

/// What the daemon does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Doing {
    /// It runs jobs.
    Working,
    /// It lets the running job end and ends then.
    Draining,
    /// It ends.
    Stopping,
}

impl Doing {
    /// Its word in JSON and in lines.
    pub fn word(self) -> &'static str {
        match self {
            Doing::Working => "working",
            Doing::Draining => "draining",
            Doing::Stopping => "stopping",
        }
    }

    /// The end of a status line: `, draining` or `, stopping`; empty while it works.
    fn ending(self) -> String {
        match self {
            Doing::Working => String::new(),
            ends => format!(", {}", ends.word()),
        }
    }
}

/// The run under way.
#[derive(Debug, Clone, Copy)]
pub struct Running<'a> {
    /// Its job; `None` once a reload has removed the job.
    pub index: Option<Index>,
    /// The job's definition when the run began.
    pub job: &'a Job,
    /// Process id.
    pub pid: i32,
    /// When it began.
    pub began: Moment,
    /// How much later than it was due.
    pub late: Duration,
    /// Why its processes cannot be signalled, in the system's words, if the last signal was refused.
    pub refusal: Option<&'a str>,
}

/// Everything that the status shows, at the moment `now`.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The moment that is shown.
    pub now: Moment,
    /// When the daemon started.
    pub started: Moment,
    /// When its configuration was read.
    pub configured: Moment,
    /// What the daemon does.
    pub doing: Doing,
    /// The daemon's process id.
    pub pid: u32,
    /// This machine's name.
    pub host: &'a str,
    /// The file that the configuration was read from.
    pub file: &'a Path,
    /// The configuration.
    pub config: &'a Sequencer,
    /// The jobs, their due times and their records.
    pub jobs: &'a Jobs,
    /// The run under way.
    pub running: Option<Running<'a>>,
    /// The mail queue.
    pub queue: &'a Queue,
    /// The daemon's own numbers.
    pub counters: &'a Counters,
    /// Log lines that could not be written.
    pub lines_dropped: u64,
    /// The address for HTTP that cannot be had, and why.
    pub not_listening: Option<&'a str>,
    /// Seconds that are left of the lease, where there is one and that has been looked for.
    pub lease: Option<u64>,
}

/// Who reads what is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reader {
    /// Somebody who may connect to the control socket.
    Operator,
    /// Anybody who can reach this machine, and so is not told what other programs have said or the configuration holds.
    Anybody,
}

/// How many jobs are in which trouble.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// All jobs.
    pub jobs: usize,
    /// Those whose last run failed.
    pub failing: usize,
    /// Those that an operator holds, whatever they are doing.
    pub paused: usize,
    /// Those that wait for another job's end.
    pub late: usize,
}

/// What a job is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Its run is under way.
    Running,
    /// Its run has been under way for longer than its `stuckafter`.
    Stuck,
    /// An operator has requested it, so it comes next.
    Next,
    /// It is due and waits for another job's end.
    Late,
    /// It is not due yet.
    Waiting,
    /// An operator holds it.
    Paused,
}

impl State {
    /// The word for people.
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

    /// The word for programs.
    pub fn lower_case(self) -> &'static str {
        match self {
            State::Stuck => "stuck",
            other => other.word(),
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
    /// What it is doing.
    pub state: State,
    /// The moment that is shown.
    now: Instant,
}

impl Row<'_> {
    /// When it is due, if that means anything in its state. A requested job is due now at the latest.
    pub fn due(&self) -> Option<Instant> {
        match self.state {
            State::Running | State::Stuck | State::Paused => None,
            State::Next => Some(self.timing.due.min(self.now)),
            State::Late | State::Waiting => Some(self.timing.due),
        }
    }

    /// Whether it fails: its last run that was not interrupted did.
    pub fn is_failing(&self) -> bool {
        self.timing.failures > 0
    }

    /// How its last run ended.
    pub fn last(&self) -> Option<&Last> {
        self.record.last()
    }
}

impl<'a> View<'a> {
    /// One job.
    pub fn row(&self, job: Index) -> Row<'a> {
        Row {
            job: self.jobs.job(job),
            record: self.jobs.record(job),
            timing: self.jobs.timing(job),
            state: self.state(job),
            now: self.now.instant,
        }
    }

    fn state(&self, job: Index) -> State {
        if self.running.is_some_and(|run| run.index == Some(job)) {
            return if self.stuck() {
                State::Stuck
            } else {
                State::Running
            };
        }
        if self.jobs.is_requested(job) {
            return State::Next;
        }
        if self.jobs.is_paused(job) {
            return State::Paused;
        }
        let is_due = self.jobs.timing(job).due < self.now.instant;
        if is_due && self.running.is_some() {
            State::Late
        } else {
            State::Waiting
        }
    }

    /// All jobs: first the running one, then the requested ones, then the others in due order; paused ones come last.
    pub fn rows(&self) -> impl Iterator<Item = Row<'a>> {
        let view = *self;
        let running = view.running.and_then(|run| run.index);
        let requested = view.jobs.requested();
        let requested = requested.filter(move |job| Some(*job) != running);
        let in_order = view.jobs.in_order();
        let in_order = in_order.filter(move |job| !view.jobs.is_requested(*job));
        let paused = view.jobs.all();
        let paused = paused.filter(move |job| view.state(*job) == State::Paused);
        running
            .into_iter()
            .chain(requested)
            .chain(in_order)
            .chain(paused)
            .map(move |job| view.row(job))
    }

    /// Whether the run under way has taken longer than its job's `stuckafter`, or could not be stopped.
    pub fn stuck(&self) -> bool {
        self.running.is_some_and(|run| {
            let (settings, began) = (&run.job.settings, run.began.instant);
            stuck::is_stuck(settings, began, run.refusal.is_some(), self.now.instant)
        })
    }

    /// How many jobs are in which trouble.
    pub fn summary(&self) -> Summary {
        let mut sum = Summary::default();
        for row in self.rows() {
            sum.jobs += 1;
            sum.failing += usize::from(row.is_failing());
            sum.late += usize::from(row.state == State::Late);
            sum.paused += usize::from(row.record.paused_by().is_some());
        }
        sum
    }

    /// How full the lane has been.
    pub fn busy(&self) -> Shares {
        let running = self.running.as_ref();
        let running = running.map(|run| (&*run.job.name, run.began.instant));
        let mut shares = self.jobs.busy(self.now.instant, running);
        shares.jobs.truncate(BUSIEST);
        shares
    }

    /// How long the daemon has been up.
    pub fn up(&self) -> Duration {
        self.now.since(self.started)
    }

    /// How long the run under way has taken.
    pub fn running_for(&self) -> Duration {
        self.running
            .map_or(Duration::ZERO, |run| self.now.since(run.began))
    }

    /// The jobs that wait for the run under way and how long each has waited, in any order.
    pub fn all_waiting(&self) -> impl Iterator<Item = (Index, Duration)> + use<'a> {
        let all = self.jobs.waiting(self.now.instant);
        let behind = all.filter(|(_, time)| !time.is_zero());
        behind.take(self.running.map_or(0, |_| usize::MAX))
    }

    /// The jobs that wait for the run under way: how many, which has waited longest, and how long.
    pub fn waiting(&self) -> Option<(usize, &'a Job, Duration)> {
        // If several have waited equally long, take the one that comes first.
        let longest = |a: (Index, Duration), b: (Index, Duration)| if b.1 > a.1 { b } else { a };
        let (job, time) = self.all_waiting().reduce(longest)?;
        Some((self.all_waiting().count(), self.jobs.job(job), time))
    }

    /// The names of the `at_most` jobs that have waited longest, and how many more wait.
    pub fn waiters(&self, at_most: usize) -> (Vec<(&'a str, Duration)>, usize) {
        let all: Vec<(Index, Duration)> = self.all_waiting().collect();
        let all = sorted(all, &|(_, a), (_, b)| b.cmp(a));
        let first = all.iter().take(at_most);
        let first: Vec<_> = first
            .map(|&(job, time)| (&*self.jobs.job(job).name, time))
            .collect();
        let more = all.len() - first.len();
        (first, more)
    }

    /// The running job, if this one waits for it: it is late or requested.
    pub fn behind(&self, row: &Row<'_>) -> Option<&'a str> {
        let waits = matches!(row.state, State::Late | State::Next);
        self.running.filter(|_| waits).map(|run| &*run.job.name)
    }

    /// `3 jobs wait, queue_builder longest (3540 seconds)`
    pub fn who_waits(&self) -> String {
        self.waiting().map_or_else(
            || "no job waits".to_string(),
            |(n, job, time)| {
                let (who, seconds) = (jobs_wait(n), time.as_secs());
                format!("{who}, {} longest ({seconds} seconds)", job.name)
            },
        )
    }

    /// What the sequencer is called: `builds on HOST`, or the host where it has no name.
    pub fn whose(&self) -> String {
        match &self.config.name {
            Some(name) => format!("{name} on {}", self.host),
            None => self.host.to_string(),
        }
    }

    /// An instant by the wall clock.
    pub fn wall_time(&self, at: Instant) -> SystemTime {
        self.now.wall_time(at).unwrap_or(self.now.wall)
    }

    /// What the daemon does, in one line for its supervisor. The line changes only when something happens.
    pub fn headline(&self) -> String {
        let doing = match (self.running, self.jobs.next()) {
            (Some(run), _) => format!("Running {} (pid {})", run.job.name, run.pid),
            (None, _) if self.doing != Doing::Working => "No job runs".to_string(),
            (None, Some(next)) => format!("Next is {}", self.jobs.job(next.job).name),
            (None, None) => "All jobs are paused".to_string(),
        };
        let stuck = match self.running.and_then(|run| run.refusal) {
            Some(_) => ", STUCK, cannot be signalled",
            None if self.stuck() => ", STUCK",
            None => "",
        };
        let mail = match (self.queue.last_error(), self.queue.len()) {
            (None, _) | (_, 0) => String::new(),
            (Some(_), 1) => ", 1 mail queued".to_string(),
            (Some(_), n) => format!(", {n} mails queued"),
        };
        let ending = self.doing.ending();
        let name = match &self.config.name {
            Some(name) => format!("{name}: "),
            None => String::new(),
        };
        format!("{name}{doing}{stuck}{mail}{ending}")
    }
}

/// `1 job waits`, `3 jobs wait`
fn jobs_wait(number: usize) -> String {
    match number {
        1 => "1 job waits".to_string(),
        n => format!("{n} jobs wait"),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::made::{Made, s};
    use super::*;
    use crate::job::outcome::Cause;
    use crate::mail::queue::Failure;

    fn order(made: &Made, at: Duration) -> Vec<(&str, &'static str)> {
        let view = made.view(at);
        let rows = view.rows();
        rows.map(|row| (&*row.job.name, row.state.word())).collect()
    }

    #[test]
    fn the_running_job_comes_first_then_those_asked_for_then_due_order_then_the_paused() {
        let mut made = Made::new(&[("e", 50), ("d", 40), ("c", 30), ("b", 20), ("a", 10)]);
        let calm = ["a", "b", "c", "d", "e"].map(|name| (name, "waiting"));
        assert_eq!(order(&made, s(1)), calm);
        made.begins(4, s(10));
        made.requests(0, s(11));
        made.pauses(2, s(12), 0);
        assert_eq!(
            order(&made, s(25)),
            [
                ("a", "running"),
                ("e", "next"),
                ("b", "late"),
                ("d", "waiting"),
                ("c", "paused")
            ]
        );
        // A job that is requested, running and paused at once is shown once, by the state that matters most.
        made.pauses(4, s(26), 0);
        made.requests(4, s(26));
        made.requests(2, s(27));
        assert_eq!(
            order(&made, s(28)),
            [
                ("a", "running"),
                ("e", "next"),
                ("c", "next"),
                ("b", "late"),
                ("d", "waiting")
            ]
        );
    }

    #[test]
    fn a_job_is_late_only_behind_another_and_says_whose() {
        let mut made = Made::three();
        let view = made.view(s(6));
        assert_eq!(
            view.row(made.job(0)).state,
            State::Waiting,
            "its turn is now"
        );
        made.begins(1, s(4));
        let view = made.view(s(6));
        let row = view.row(made.job(0));
        assert_eq!(
            (row.state, view.behind(&row)),
            (State::Late, Some("queue_builder"))
        );
        let row = view.row(made.job(2));
        assert_eq!((row.state, view.behind(&row)), (State::Waiting, None));
        made.requests(2, s(5));
        let view = made.view(s(6));
        let row = view.row(made.job(2));
        assert_eq!(
            (row.state, view.behind(&row)),
            (State::Next, Some("queue_builder"))
        );
    }

    #[test]
    fn a_run_is_stuck_from_stuckafter_on() {
        let mut made = Made::three();
        made.begins(0, s(5));
        let almost = s(3605) - Duration::from_nanos(1);
        assert!(!made.view(almost).stuck());
        assert!(made.view(s(3605)).stuck());
        assert_eq!(order(&made, s(3605))[0], ("slave_scanner", "STUCK"));
        let mut made = Made::three();
        made.set(0, |settings| settings.stuckafter = Duration::ZERO);
        made.begins(0, s(5));
        assert!(!made.view(s(1_000_000)).stuck(), "off");
    }

    #[test]
    fn who_waits_counts_due_jobs_and_those_asked_for_and_names_the_longest() {
        let mut made = Made::new(&[("a", 1), ("b", 10), ("c", 20), ("d", 5000), ("e", 15)]);
        assert_eq!(
            made.view(s(100)).waiting().map(|w| w.0),
            None,
            "nothing runs"
        );
        made.begins(0, s(1));
        made.pauses(4, s(2), 0);
        assert_eq!(made.view(s(10)).who_waits(), "no job waits", "due only now");
        assert_eq!(
            made.view(s(13)).who_waits(),
            "1 job waits, b longest (3 seconds)"
        );
        assert_eq!(
            made.view(s(30)).who_waits(),
            "2 jobs wait, b longest (20 seconds)"
        );
        made.requests(3, s(5));
        assert_eq!(
            made.view(s(30)).who_waits(),
            "3 jobs wait, d longest (25 seconds)"
        );
        made.requests(1, s(6));
        assert_eq!(made.view(s(30)).waiting().unwrap().0, 3, "once");
        made.requests(4, s(29));
        assert_eq!(
            made.view(s(30)).waiting().unwrap().0,
            4,
            "paused, but asked for"
        );
        let view = made.view(s(30));
        assert_eq!(view.waiters(2), (vec![("d", s(25)), ("b", s(20))], 2));
        let all = vec![("d", s(25)), ("b", s(20)), ("c", s(10)), ("e", s(1))];
        assert_eq!(view.waiters(20), (all, 0));
    }

    #[test]
    fn the_headline_says_what_is_done_and_what_is_wrong() {
        let mut made = Made::three();
        assert_eq!(made.view(s(1)).headline(), "Next is slave_scanner");
        made.begins(0, s(5));
        assert_eq!(
            made.view(s(6)).headline(),
            "Running slave_scanner (pid 20417)"
        );
        let stuck = "Running slave_scanner (pid 20417), STUCK";
        assert_eq!(made.view(s(3606)).headline(), stuck);
        made.ends(s(3607), 0, Cause::Exited);
        made.mails(s(3607), Some(Failure::Exited(75, String::new())));
        let mail = "Next is queue_builder, 1 mail queued";
        assert_eq!(made.view(s(3608)).headline(), mail);
        for job in 0..3 {
            made.pauses(job, s(0), 0);
        }
        let paused = "All jobs are paused, 1 mail queued";
        assert_eq!(made.view(s(3608)).headline(), paused);
        made.config.name = Some("east".into());
        assert_eq!(
            made.view(s(3608)).headline(),
            format!("east: {paused}"),
            "where a host has several"
        );
    }

    #[test]
    fn a_run_that_cannot_be_signalled_is_stuck_and_unhealthy_whoever_waits() {
        let mut made = Made::three();
        made.begins(0, s(5));
        made.refusal = Some("Operation not permitted");
        assert_eq!(order(&made, s(6))[0], ("slave_scanner", "STUCK"));
        assert_eq!(
            made.view(s(8)).headline(),
            "Running slave_scanner (pid 20417), STUCK, cannot be signalled"
        );
        assert_eq!(
            made.view(s(8)).health(),
            Err(
                "slave_scanner cannot be signalled: Operation not permitted (pid 20417, for 3s)"
                    .to_string()
            )
        );
        assert_eq!(
            made.view(s(965)).health(),
            Err("slave_scanner cannot be signalled: Operation not permitted (pid 20417, for 16m00s) \
                 and 1 job waits, queue_builder longest (1m05s)"
                .to_string())
        );
        let table = table::table(&made.view(s(8)), false);
        let line = "RUNNING slave_scanner, pid 20417, for 3s: STUCK, cannot be signalled: \
                    Operation not permitted\n";
        assert!(table.contains(line), "{table}");
        assert!(table.contains("slave_scanner  STUCK"), "{table}");
    }

    #[test]
    fn a_supervisor_is_told_that_the_daemon_comes_to_its_end() {
        let mut made = Made::three();
        made.doing = Doing::Draining;
        assert_eq!(made.view(s(1)).headline(), "No job runs, draining");
        made.begins(0, s(5));
        assert_eq!(
            made.view(s(6)).headline(),
            "Running slave_scanner (pid 20417), draining"
        );
    }

    #[test]
    fn moments_follow_the_wall_clock_also_when_it_is_stepped() {
        let made = Made::three();
        let mut view = made.view(s(100));
        assert_eq!(view.wall_time(made.t0 + s(160)), made.wall(s(160)));
        assert_eq!(view.wall_time(made.t0 + s(40)), made.wall(s(40)));
        view.now.wall -= s(1_000_000);
        assert_eq!(
            view.wall_time(made.t0 + s(160)),
            made.wall(s(160)) - s(1_000_000)
        );
        view.now.wall = std::time::UNIX_EPOCH;
        let _ = (
            table::table(&view, false),
            json::json(&view, false, Reader::Operator),
            metrics::metrics(&view),
        );
    }
}
