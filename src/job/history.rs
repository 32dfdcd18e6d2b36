//! Who held the lane: the runs of the past, as many of all and as many of each job as the memory allows, so that a busy
//! job does not push a rare one out. Pure.

pub mod file;

use std::collections::{HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::clock::{Stamp, nanoseconds};
use crate::job::outcome::{Brief, Verdict};
use crate::order::sorted;
use crate::text::to_milliseconds;

/// Runs of all jobs that are kept.
pub const RECENT: usize = 1_000;
/// Runs, and failures, of each job that are kept beside them.
const OF_EACH: usize = 10;
/// With more jobs than this, fewer of each are kept, so that the whole stays within a few megabytes.
const MANY_JOBS: usize = 5_000;

/// A run that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// When it began.
    pub began: Stamp,
    /// How long it took, in nanoseconds, which is half of what a `Duration` takes; at most 584 years.
    took: u64,
    /// How much later than it was due it began, in whole milliseconds; at most 49 days.
    late: u32,
    /// How it ended.
    pub outcome: Brief,
}

impl Run {
    /// A run that began `late` after it was due.
    pub fn new(began: Stamp, took: Duration, late: Duration, outcome: Brief) -> Run {
        Run {
            began,
            took: nanoseconds(took).unwrap_or(u64::MAX),
            late: u32::try_from(to_milliseconds(late).as_millis()).unwrap_or(u32::MAX),
            outcome,
        }
    }

    /// How long it took.
    pub fn took(&self) -> Duration {
        Duration::from_nanos(self.took)
    }

    /// How much later than it was due it began.
    pub fn late(&self) -> Duration {
        Duration::from_millis(self.late.into())
    }

    /// Whether it failed.
    pub fn failed(&self) -> bool {
        self.outcome.verdict() == Verdict::Failure
    }
}

/// A run with its number: runs are serial, so this is the order in which they began and ended.
#[derive(Debug, Clone, Copy)]
struct Numbered {
    number: u64,
    run: Run,
}

/// What is kept of one job.
#[derive(Debug)]
struct Own {
    /// The job's name, once for all who keep it.
    name: Rc<str>,
    runs: VecDeque<Numbered>,
    failures: VecDeque<Numbered>,
}

/// The runs that are kept.
#[derive(Debug, Default)]
pub struct History {
    /// Without their numbers, which are the last ones before `next`.
    recent: VecDeque<(Rc<str>, Run)>,
    /// By the job's place in the configuration; empty if there are too many jobs.
    own: Vec<Option<Box<Own>>>,
    /// How many runs, and failures, of each job are kept.
    of_each: usize,
    next: u64,
}

/// A run and the job that it is of.
pub type Entry<'a> = (&'a str, &'a Run);

impl History {
    /// Nothing yet; there are this many jobs.
    pub fn new(jobs: usize) -> History {
        let mut history = History::default();
        history.moved(&vec![None; jobs], std::iter::empty());
        history
    }

    /// Adds a run that has ended of the job that has this `place` in the configuration, if it still has one.
    pub fn add(&mut self, place: Option<usize>, job: &str, run: Run) {
        let number = self.next;
        self.next += 1;
        let numbered = Numbered { number, run };
        let name = match place.and_then(|place| self.own.get_mut(place)) {
            Some(own) => {
                let own = own.get_or_insert_with(|| Own::new(job.into()));
                own.add(numbered, self.of_each);
                Rc::clone(&own.name)
            }
            None => job.into(),
        };
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((name, run));
    }

    /// Moves each job's runs to its new place after a reload: `from` has for each new place the old one. Of a removed job
    /// only its runs among the most recent of all stay; a job that returns starts from those.
    pub fn moved<'a>(&mut self, from: &[Option<usize>], names: impl IntoIterator<Item = &'a str>) {
        let most = of_each(from.len());
        let mut old = std::mem::take(&mut self.own);
        let mut take = |place: usize| old.get_mut(place)?.take();
        self.of_each = most;
        if most > 0 {
            self.own = from.iter().map(|from| from.and_then(&mut take)).collect();
        }
        for own in self.own.iter_mut().flatten() {
            for kept in [&mut own.runs, &mut own.failures] {
                kept.drain(..kept.len().saturating_sub(most));
            }
        }
        self.bring_back(names);
    }

    /// Keeps of each job of which nothing is kept what the most recent runs of all have of it.
    fn bring_back<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        if self.recent.is_empty() {
            return;
        }
        let first = self.first_of_recent();
        let own = &mut self.own;
        let nowhere = own.len();
        let names_of_runs = self.recent.iter().map(|(name, _)| (&**name, nowhere));
        let mut places: HashMap<&str, usize> = names_of_runs.collect();
        for (place, name) in names.into_iter().enumerate() {
            let is_bare = own.get(place).is_some_and(Option::is_none);
            if let Some(at) = places.get_mut(name).filter(|_| is_bare) {
                *at = place;
            }
        }
        for ((name, run), number) in self.recent.iter().zip(first..) {
            if let Some(own) = places.get(&**name).and_then(|&place| own.get_mut(place)) {
                let own = own.get_or_insert_with(|| Own::new(Rc::clone(name)));
                own.add(Numbered { number, run: *run }, self.of_each);
            }
        }
    }

    /// The last `most` of the runs that are kept, oldest first: of all jobs or of one, and only those that failed if
    /// that is asked.
    pub fn last(&self, job: Option<&str>, failed: bool, most: usize) -> Vec<Entry<'_>> {
        if job.is_none() && !failed && most <= self.recent.len() {
            let last = self.recent.iter().skip(self.recent.len() - most);
            return last.map(|(name, run)| (&**name, run)).collect();
        }
        let wanted = |&(_, (name, run)): &(u64, Entry<'_>)| {
            job.is_none_or(|job| job == name) && (!failed || run.failed())
        };
        let entries: Vec<(u64, Entry<'_>)> = self.all().filter(wanted).collect();
        let mut entries = sorted(entries, &|(a, _), (b, _)| a.cmp(b));
        entries.dedup_by_key(|(number, _)| *number);
        let from = entries.len().saturating_sub(most);
        let last = entries.into_iter().skip(from);
        last.map(|(_, entry)| entry).collect()
    }

    /// Each run that is kept, with its number, some of them several times.
    fn all(&self) -> impl Iterator<Item = (u64, Entry<'_>)> {
        let own = self.own.iter().flatten().flat_map(|own| {
            let kept = own.runs.iter().chain(&own.failures);
            kept.map(|of| (of.number, (&*own.name, &of.run)))
        });
        let recent = self.recent.iter().zip(self.first_of_recent()..);
        let recent = recent.map(|((name, run), number)| (number, (&**name, run)));
        recent.chain(own)
    }

    /// The number of the oldest of the most recent runs of all.
    fn first_of_recent(&self) -> u64 {
        let kept = u64::try_from(self.recent.len()).unwrap_or(u64::MAX);
        self.next.saturating_sub(kept)
    }
}

impl Own {
    fn new(name: Rc<str>) -> Box<Own> {
        Box::new(Own {
            name,
            runs: VecDeque::new(),
            failures: VecDeque::new(),
        })
    }

    fn add(&mut self, new: Numbered, most: usize) {
        keep(&mut self.runs, new, most);
        if new.run.failed() {
            keep(&mut self.failures, new, most);
        }
    }
}

/// How many runs of each job are kept with this many jobs.
fn of_each(jobs: usize) -> usize {
    if jobs <= MANY_JOBS {
        OF_EACH
    } else {
        OF_EACH * MANY_JOBS / jobs
    }
}

fn keep(kept: &mut VecDeque<Numbered>, new: Numbered, most: usize) {
    if kept.len() >= most {
        kept.pop_front();
    } else if kept.len() == kept.capacity() {
        // Doubling could take room for more than will ever be kept.
        kept.reserve_exact(kept.len().clamp(1, most - kept.len()));
    }
    kept.push_back(new);
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
