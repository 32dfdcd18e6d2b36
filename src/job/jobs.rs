//! The jobs of a running daemon: the one owner of each job's definition, due time and record. A reload replaces them
//! all in one step and says which job has moved to which index. Pure.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use crate::clock::Moment;
use crate::config::Job;
use crate::job::busy::{Busy, Shares};
use crate::job::history::{History, Run, file};
use crate::job::outcome::{Cause, Outcome, Verdict};
use crate::job::output::Capture;
use crate::job::record::Record;
use crate::job::schedule::{self, Delays, Schedule, Timing};
use crate::job::state::State;
use crate::job::tails::Tails;
use crate::job::throttle::Throttle;

/// After a command that could not be started, the next try comes no sooner than this, however small `mindelay` is.
const LEAST_DELAY_AFTER_FAILED_START: Duration = Duration::from_secs(1);

/// Which job: its place in the configuration's order. An index is valid until the next reload, which says what becomes
/// of it (`Moves`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Index(usize);

/// The job that is next.
pub type Next = schedule::Next<Index>;

/// How a run ended, as far as it is remembered.
#[derive(Debug, Clone, Copy)]
pub struct End<'a> {
    /// The outcome.
    pub outcome: &'a Outcome,
    /// How long it took.
    pub took: Duration,
    /// Output bytes that were not kept.
    pub left_out: u64,
}

/// All jobs, in the order of the configuration.
#[derive(Debug)]
pub struct Jobs {
    defined: Vec<Rc<Job>>,
    schedule: Schedule,
    records: Vec<Record>,
    history: History,
    busy: Busy,
    tails: Tails,
}

impl Jobs {
    /// The jobs of a configuration, with what a state file knows of them.
    pub fn restored(defined: Vec<Rc<Job>>, state: &State, now: Moment) -> Jobs {
        let known = defined
            .iter()
            .map(|job| state.restore(&job.name, &delays(job), now));
        let (timings, records): (Vec<Timing>, Vec<Record>) = known.unzip();
        let mut schedule = Schedule::new(timings);
        schedule.begins(now.instant);
        for (job, record) in records.iter().enumerate() {
            if record.paused_by().is_some() {
                schedule.hold(job);
            }
        }
        Jobs {
            history: History::new(defined.len()),
            busy: Busy::new(now.instant),
            tails: Tails::default(),
            schedule,
            defined,
            records,
        }
    }

    /// The number of jobs.
    pub fn len(&self) -> usize {
        self.defined.len()
    }

    /// Whether there are no jobs.
    pub fn is_empty(&self) -> bool {
        self.defined.is_empty()
    }

    /// The indices of all jobs, in the order of the configuration.
    pub fn all(&self) -> impl Iterator<Item = Index> + use<> {
        (0..self.defined.len()).map(Index)
    }

    /// Their names, in the order of the configuration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.defined.iter().map(|job| &*job.name)
    }

    /// Their definitions, in the order of the configuration.
    pub fn definitions(&self) -> &[Rc<Job>] {
        &self.defined
    }

    /// The job of this name.
    pub fn find(&self, name: &str) -> Option<Index> {
        self.names().position(|known| known == name).map(Index)
    }

    /// The job's definition.
    pub fn job(&self, index: Index) -> &Rc<Job> {
        &self.defined[index.0]
    }

    /// When the job is due.
    pub fn timing(&self, index: Index) -> &Timing {
        self.schedule.timing(index.0)
    }

    /// What is known of the job's runs.
    pub fn record(&self, index: Index) -> &Record {
        &self.records[index.0]
    }

    /// What `mailinterval` remembers of the job.
    pub fn throttle(&mut self, index: Index) -> &mut Throttle {
        &mut self.records[index.0].throttle
    }

    /// Each job's name, timing and record, for the state file.
    pub fn kept(&self) -> impl Iterator<Item = (&str, &Timing, &Record)> {
        self.names()
            .zip(self.schedule.timings())
            .zip(&self.records)
            .map(|((name, timing), record)| (name, timing, record))
    }

    /// The job that is next once nothing runs; `None` if no job is left that is not paused.
    pub fn next(&self) -> Option<Next> {
        self.schedule.next().map(by_index)
    }

    /// The first job that waits, or will wait, for the end of the one that runs.
    pub fn next_behind(&self) -> Option<Next> {
        self.schedule.next_behind().map(by_index)
    }

    /// The runs of the past.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// How full the lane has been; `running` is the job under way and since when.
    pub fn busy(&self, now: Instant, running: Option<(&str, Instant)>) -> Shares {
        self.busy.shares(now, running)
    }

    /// Remembers a run that ends now, of a job that has no index any more if a reload has removed it.
    pub fn remember(&mut self, index: Option<Index>, job: &Job, run: Run, now: Instant) {
        let began = now.checked_sub(run.took()).unwrap_or(now);
        self.busy.ran(&job.name, began, now);
        let place = index.map(|index| index.0);
        self.history.add(place, &job.name, run);
    }

    /// Remembers the runs that a history file's text tells of. Returns what could not be used, and why, in one line.
    pub fn recall(&mut self, text: &[u8]) -> Option<String> {
        let names = self.defined.iter().map(|job| &*job.name);
        let places: HashMap<&str, usize> = (0..).zip(names).map(|(i, name)| (name, i)).collect();
        let history = &mut self.history;
        file::read(text, &mut |job, run| {
            history.add(places.get(job).copied(), job, run);
        })
    }

    /// The ends of what failed runs printed.
    pub fn tails(&self) -> &Tails {
        &self.tails
    }

    /// Keeps the end of what a failed run of the job printed.
    pub fn keep_tail(&mut self, index: Index, run: Run, stdout: &Capture, stderr: &Capture) {
        let job = &self.defined[index.0].name;
        self.tails.add(job, run, stdout, stderr);
    }

    /// Takes the job out of the order, because its run begins.
    pub fn begin(&mut self, index: Index, now: Moment) -> Duration {
        let late = self.schedule.begin(index.0, now.instant);
        self.records[index.0].began(now.wall, late);
        late
    }

    /// Takes the job out of the order, because a run of it that began `late` is still under way: a reload has removed the
    /// job, and another one has brought it back.
    pub fn goes_on(&mut self, index: Index, began: SystemTime, late: Duration, now: Instant) {
        self.schedule.begin(index.0, now);
        self.records[index.0].began(began, late);
    }

    /// Puts the job back into the order after its run, with the delay that its definition has now.
    pub fn end(&mut self, index: Index, end: End<'_>, now: Moment) {
        self.records[index.0].ended(now.wall, end.took, end.outcome, end.left_out);
        let failed = match end.outcome.verdict() {
            Verdict::Success => Some(false),
            Verdict::Failure => Some(true),
            Verdict::Neither => None,
        };
        let mut delays = delays(self.job(index));
        if matches!(end.outcome.cause, Cause::NotStarted(_)) {
            delays.min = delays.min.max(LEAST_DELAY_AFTER_FAILED_START);
        }
        let held = self.is_paused(index);
        self.schedule.end(index.0, now, failed, &delays, held);
    }

    /// Makes a job next, before all others, paused or not. A second request changes nothing.
    pub fn request(&mut self, index: Index, now: Instant) {
        self.schedule.request(index.0, now);
    }

    /// Whether a job waits because an operator has requested it.
    pub fn is_requested(&self, index: Index) -> bool {
        self.schedule.is_requested(index.0)
    }

    /// The requested jobs that wait, in the order of the requests.
    pub fn requested(&self) -> impl Iterator<Item = Index> + '_ {
        self.schedule.requested().map(Index)
    }

    /// Jobs that are neither held nor running, in due order.
    pub fn in_order(&self) -> impl Iterator<Item = Index> + '_ {
        self.schedule.in_order().map(Index)
    }

    /// The jobs that would run now if nothing else ran, and how long each has waited. Due jobs come first, in due order;
    /// then those that are requested but not due. What runs does not wait, though it may have been requested again.
    pub fn waiting(&self, now: Instant) -> impl Iterator<Item = (Index, Duration)> + '_ {
        let waiting = self.schedule.waiting(now);
        waiting.map(|(job, time)| (Index(job), time))
    }

    /// Whether an operator holds a job.
    pub fn is_paused(&self, index: Index) -> bool {
        self.record(index).paused_by().is_some()
    }

    /// Holds a job for the operator with this user id. False if it was held already.
    pub fn pause(&mut self, index: Index, at: SystemTime, uid: u32) -> bool {
        if self.is_paused(index) {
            return false;
        }
        self.records[index.0].set_paused(Some((at, uid)));
        self.schedule.hold(index.0);
        true
    }

    /// Releases a held job; it keeps its due time. False if it was not held.
    pub fn resume(&mut self, index: Index, now: Instant) -> bool {
        if !self.is_paused(index) {
            return false;
        }
        self.records[index.0].set_paused(None);
        self.schedule.release(index.0, now);
        true
    }

    /// Notes that the reports of these failures (job and `Outcome::word`) were lost, so that the next failures like
    /// them are mailed at once. It passes over the jobs once for any number of reports.
    pub fn reports_lost<'a>(&mut self, reports: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let mut lost: HashMap<&str, Vec<&str>> = HashMap::new();
        for (job, word) in reports {
            lost.entry(job).or_default().push(word);
        }
        if lost.is_empty() {
            return;
        }
        for (job, record) in self.defined.iter().zip(&mut self.records) {
            for word in lost.get(&*job.name).into_iter().flatten() {
                record.throttle.lost(word);
            }
        }
    }

    /// Replaces the jobs by those of another configuration. A job of the same name keeps its record and its pause, and
    /// its due time if its delays are unchanged.
    pub fn reload(&mut self, mut defined: Vec<Rc<Job>>, now: Instant) -> Moves {
        let places: HashMap<&str, usize> =
            (0..).zip(self.names()).map(|(i, name)| (name, i)).collect();
        let from: Vec<Option<usize>> = defined
            .iter()
            .map(|job| places.get(&*job.name).copied())
            .collect();
        for (job, from) in defined.iter_mut().zip(&from) {
            let was = from.map(|from| &self.defined[from]);
            if let Some(was) = was.filter(|was| *was == job) {
                // Keep the old definition: the new ones' memory is then given back in one piece.
                *job = Rc::clone(was);
            }
        }
        let delays = defined.iter().zip(&from).map(|(job, from)| {
            let was = from.map(|from| (from, delays(&self.defined[from])));
            (was, delays(job))
        });
        self.schedule = self.schedule.reloaded(delays, now);
        let mut records: Vec<Option<Record>> = std::mem::take(&mut self.records)
            .into_iter()
            .map(Some)
            .collect();
        let record = |from: &Option<usize>| from.and_then(|from| records[from].take());
        self.records = from
            .iter()
            .map(record)
            .map(Option::unwrap_or_default)
            .collect();
        self.defined = defined;
        let names = self.defined.iter().map(|job| &*job.name);
        self.tails.retain(names.clone());
        self.history.moved(&from, names);
        Moves { from }
    }
}

/// Which index each job had before a reload.
#[derive(Debug)]
pub struct Moves {
    /// For each new index the old one.
    from: Vec<Option<usize>>,
}

impl Moves {
    /// The new index of a job; `None` if the configuration no longer has it.
    pub fn to(&self, was: Index) -> Option<Index> {
        let is = self.from.iter().position(|&from| from == Some(was.0));
        is.map(Index)
    }
}

/// The job's delays as the schedule takes them.
fn delays(job: &Job) -> Delays {
    Delays {
        start: job.start_delay(),
        min: job.settings.mindelay,
        max: job.settings.maxdelay,
    }
}

fn by_index(next: schedule::Next) -> Next {
    Next {
        job: Index(next.job),
        due: next.due,
        requested: next.requested,
    }
}
