//! Jobs that operators have asked for: each once, the one that was asked for first in front. Pure.

use std::collections::{HashSet, VecDeque};
use std::time::Instant;

/// Jobs by their place, and since when they wait.
#[derive(Debug, Default)]
pub struct Requests {
    queue: VecDeque<(usize, Instant)>,
    /// The same without an order: whoever shows all jobs asks of each whether it is here.
    jobs: HashSet<usize>,
}

impl Requests {
    /// Adds a job, unless it is here.
    pub fn add(&mut self, job: usize, now: Instant) {
        if self.jobs.insert(job) {
            self.queue.push_back((job, now));
        }
    }

    /// Removes a job; whether it was here.
    pub fn remove(&mut self, job: usize) -> bool {
        if !self.jobs.remove(&job) {
            return false;
        }
        // The next run is most often of the first.
        let place = self.queue.iter().position(|&(queued, _)| queued == job);
        place.is_some_and(|place| self.queue.remove(place).is_some())
    }

    /// The first.
    pub fn first(&self) -> Option<usize> {
        self.queue.front().map(|&(job, _)| job)
    }

    /// Whether a job is here.
    pub fn contains(&self, job: usize) -> bool {
        self.jobs.contains(&job)
    }

    /// All, the first one first.
    pub fn iter(&self) -> impl Iterator<Item = (usize, Instant)> + '_ {
        self.queue.iter().copied()
    }
}

impl FromIterator<(usize, Instant)> for Requests {
    fn from_iter<T: IntoIterator<Item = (usize, Instant)>>(all: T) -> Requests {
        let mut requests = Requests::default();
        for (job, since) in all {
            requests.add(job, since);
        }
        requests
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_is_here_once_in_the_order_of_its_first_request() {
        let t0 = Instant::now();
        let t1 = t0 + Duration::from_secs(1);
        let mut requests = Requests::default();
        assert_eq!(requests.first(), None);
        for (job, at) in [(5, t0), (2, t0), (5, t1), (9, t1)] {
            requests.add(job, at);
        }
        let all: Vec<_> = requests.iter().collect();
        assert_eq!(all, [(5, t0), (2, t0), (9, t1)]);
        assert!(requests.contains(2) && !requests.contains(3));
        assert!(requests.remove(2) && !requests.remove(2) && !requests.remove(3));
        assert!(!requests.contains(2));
        requests.add(2, t1);
        let jobs: Vec<_> = requests.iter().map(|(job, _)| job).collect();
        assert_eq!((requests.first(), jobs), (Some(5), vec![5, 9, 2]));
        let again: Requests = requests.iter().chain([(9, t0)]).collect();
        assert!(again.iter().eq(requests.iter()) && again.contains(9));
    }
}
