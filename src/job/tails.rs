//! The end of what the last failed run of each job printed. All jobs together have a bounded memory for it; the oldest
//! ends go first. Pure.

use std::collections::{HashSet, VecDeque};
use std::mem::size_of;

use crate::job::history::Run;
use crate::job::output::Capture;

/// Bytes of each stream that are kept.
const OF_EACH: usize = 4096;
/// Bytes of memory that all of it may take, what it takes to keep it included.
const MOST: usize = 1 << 20;
/// What an allocator adds to the name and the text of a tail.
const ALLOCATIONS: usize = 32;

/// The end of what a failed run printed.
#[derive(Debug, Clone)]
pub struct Tail {
    job: Box<str>,
    /// The run.
    pub run: Run,
    /// The end of standard output, then that of standard error.
    text: Box<[u8]>,
    /// How much of the text is standard output.
    stdout: usize,
    /// Bytes that the run printed on each stream.
    totals: [u64; 2],
}

impl Tail {
    /// The end of standard output, and how many bytes the run printed there.
    pub fn stdout(&self) -> (&[u8], u64) {
        (&self.text[..self.stdout], self.totals[0])
    }

    /// The same of standard error.
    pub fn stderr(&self) -> (&[u8], u64) {
        (&self.text[self.stdout..], self.totals[1])
    }

    /// The memory that it takes beside its place in the queue, in bytes.
    fn size(&self) -> usize {
        self.job.len() + self.text.len() + ALLOCATIONS
    }
}

/// The tails of all jobs, at most one of each, oldest first.
#[derive(Debug, Default)]
pub struct Tails {
    kept: VecDeque<Tail>,
    /// The sizes of all, together.
    sizes: usize,
}

impl Tails {
    /// Keeps the end of what a failed run of `job` printed, in place of an earlier run's.
    pub fn add(&mut self, job: &str, run: Run, stdout: &Capture, stderr: &Capture) {
        let earlier = self.kept.iter().position(|tail| &*tail.job == job);
        if let Some(tail) = earlier.and_then(|at| self.kept.remove(at)) {
            self.sizes -= tail.size();
        }
        let mut text = Vec::with_capacity(2 * OF_EACH);
        stdout.append_end_to(OF_EACH, &mut text);
        let end_of_stdout = text.len();
        stderr.append_end_to(OF_EACH, &mut text);
        let tail = Tail {
            job: job.into(),
            run,
            text: text.into_boxed_slice(),
            stdout: end_of_stdout,
            totals: [stdout.total(), stderr.total()],
        };
        self.sizes += tail.size();
        self.kept.push_back(tail);
        while self.size() > MOST {
            if let Some(tail) = self.kept.pop_front() {
                self.sizes -= tail.size();
            }
            self.give_back();
        }
    }

    /// The tail of this job, if it is kept.
    pub fn of(&self, job: &str) -> Option<&Tail> {
        self.kept.iter().find(|tail| &*tail.job == job)
    }

    /// A reload has left these jobs: the tails of others go.
    pub fn retain<'a>(&mut self, jobs: impl Iterator<Item = &'a str>) {
        if self.kept.is_empty() {
            return;
        }
        let names: HashSet<&str> = jobs.collect();
        self.kept.retain(|tail| names.contains(&*tail.job));
        self.sizes = self.kept.iter().map(Tail::size).sum();
        self.give_back();
    }

    /// Gives room back that was for many more.
    fn give_back(&mut self) {
        if self.kept.len() < self.kept.capacity() / 2 {
            self.kept.shrink_to_fit();
        }
    }

    /// The memory that all take, in bytes.
    fn size(&self) -> usize {
        self.sizes + self.kept.capacity() * size_of::<Tail>()
    }
}

#[cfg(test)]
mod tests;
