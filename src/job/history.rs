//! Who held the lane: the runs of the past, as many of all and as many of each job as the memory allows, so that a busy
//! job does not push a rare one out. Pure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::rc::Rc;
use std::time::Duration;

use crate::clock::Stamp;
use crate::job::outcome::{Brief, Verdict};

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
    /// How long it took.
    pub took: Duration,
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
            took,
            late: u32::try_from(late.as_millis()).unwrap_or(u32::MAX),
            outcome,
        }
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
    recent: VecDeque<(Rc<str>, Numbered)>,
    own: HashMap<Rc<str>, Own, BuildHasherDefault<Hash>>,
    /// How many runs, and failures, of each job are kept.
    of_each: usize,
    next: u64,
}

/// FNV-1a: a run looks its job up, and std's hash, which withstands keys chosen by an enemy, costs many times as much.
/// The names of jobs are the operator's own.
#[derive(Debug, Clone, Copy)]
struct Hash(u64);

impl Default for Hash {
    fn default() -> Hash {
        Hash(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Hash {
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A run and the job that it is of.
pub type Entry<'a> = (&'a str, &'a Run);

impl History {
    /// Nothing yet; there will be this many jobs.
    pub fn new(jobs: usize) -> History {
        History {
            of_each: of_each(jobs),
            ..History::default()
        }
    }

    /// Adds a run that has ended.
    pub fn add(&mut self, job: &str, run: Run) {
        let numbered = Numbered {
            number: self.next,
            run,
        };
        self.next += 1;
        let most = self.of_each;
        let name = if most == 0 {
            Rc::from(job)
        } else {
            let own = match self.own.get_mut(job) {
                Some(own) => own,
                None => self.own(job),
            };
            keep(&mut own.runs, numbered, most);
            if run.failed() {
                keep(&mut own.failures, numbered, most);
            }
            Rc::clone(&own.name)
        };
        if self.recent.len() >= RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back((name, numbered));
    }

    /// What is kept of a job of which nothing has been.
    fn own(&mut self, job: &str) -> &mut Own {
        let name: Rc<str> = job.into();
        self.own.entry(Rc::clone(&name)).or_insert_with(|| Own {
            name,
            runs: VecDeque::new(),
            failures: VecDeque::new(),
        })
    }

    /// A reload has left these jobs: of others only the most recent runs of all are still kept.
    pub fn retain<'a>(&mut self, jobs: impl ExactSizeIterator<Item = &'a str>) {
        self.of_each = of_each(jobs.len());
        let names: HashSet<&str> = jobs.collect();
        let most = self.of_each;
        self.own
            .retain(|name, _| most > 0 && names.contains(&**name));
        for own in self.own.values_mut() {
            for kept in [&mut own.runs, &mut own.failures] {
                kept.drain(..kept.len().saturating_sub(most));
            }
        }
    }

    /// The last `most` of the runs that are kept, oldest first: of all jobs or of one, and only those that failed if
    /// that is asked.
    pub fn last(&self, job: Option<&str>, failed: bool, most: usize) -> Vec<Entry<'_>> {
        let wanted = |(name, of): &(&str, &Numbered)| {
            job.is_none_or(|job| job == *name) && (!failed || of.run.failed())
        };
        let mut entries: Vec<(&str, &Numbered)> = self.all().filter(wanted).collect();
        entries.sort_unstable_by_key(|(_, of)| of.number);
        entries.dedup_by_key(|(_, of)| of.number);
        let from = entries.len().saturating_sub(most);
        let last = entries.into_iter().skip(from);
        last.map(|(name, of)| (name, &of.run)).collect()
    }

    /// Each run that is kept, some of them several times.
    fn all(&self) -> impl Iterator<Item = (&str, &Numbered)> {
        let own = self.own.iter().flat_map(|(name, own)| {
            let kept = own.runs.iter().chain(&own.failures);
            kept.map(|of| (&**name, of))
        });
        self.recent
            .iter()
            .map(|(name, of)| (&**name, of))
            .chain(own)
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
