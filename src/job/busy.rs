//! How full the lane is: the share of the last hour in which a job ran, and whose runs that were. Counted in minutes,
//! each with a bounded number of jobs. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use crate::clock::nanoseconds;
use crate::order::sorted;

/// The share is of this many minutes at most.
const MINUTES: u64 = 60;
/// In nanoseconds.
const MINUTE: u64 = 60_000_000_000;
/// Jobs that are counted apart in one minute; the time of others counts, but has no name.
const JOBS_A_MINUTE: usize = 64;

/// Whose runs held the lane for how long. Times are nanoseconds, moments count from the start.
#[derive(Debug)]
pub struct Busy {
    start: Instant,
    minutes: VecDeque<Minute>,
}

#[derive(Debug)]
struct Minute {
    number: u64,
    /// Time of runs, with and without a name.
    all: u64,
    jobs: Vec<(Box<str>, u64)>,
}

/// The shares of a window that ends now, in parts per 10,000.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shares {
    /// How long the window is: an hour, or as long as is known.
    pub window: Duration,
    /// The part of it in which a job ran.
    pub share: u32,
    /// The same of each job that had any, the busiest first.
    pub jobs: Vec<(String, u32)>,
}

impl Busy {
    /// Nothing has run yet.
    pub fn new(start: Instant) -> Busy {
        let minutes = VecDeque::new();
        Busy { start, minutes }
    }

    /// A run of `job` held the lane from `from` to `to`. Runs come in the order in which they ended.
    pub fn ran(&mut self, job: &str, from: Instant, to: Instant) {
        let (from, to) = (self.moment(from), self.moment(to));
        let last = to / MINUTE;
        let is_old = |minute: &Minute| minute.number + MINUTES < last;
        while self.minutes.front().is_some_and(is_old) {
            self.minutes.pop_front();
        }
        for number in (from / MINUTE).max(last.saturating_sub(MINUTES))..=last {
            let begin = number * MINUTE;
            let end = begin.saturating_add(MINUTE).min(to);
            let part = end.saturating_sub(from.max(begin));
            if part > 0 {
                self.minute(number).add(job, part);
            }
        }
    }

    /// The shares of the hour before `now`, or of as long as is known; `running` is the run under way and since when.
    pub fn shares(&self, now: Instant, running: Option<(&str, Instant)>) -> Shares {
        let now = self.moment(now);
        let window = now.min(MINUTES * MINUTE);
        let mut all = 0;
        let mut jobs: Vec<(&str, u64)> = Vec::new();
        let mut places: HashMap<&str, usize> = HashMap::new();
        for minute in &self.minutes {
            // Of the oldest minute only a part is within the window, and the same part of its runs, as far as is known.
            let part = match (now / MINUTE).saturating_sub(minute.number) {
                age if age > MINUTES => continue,
                MINUTES => MINUTE - now % MINUTE,
                _ => MINUTE,
            };
            // Milliseconds, so that the product has room.
            let within = |time: u64| time * (part / 1_000_000) / (MINUTE / 1_000_000);
            all += within(minute.all);
            for (job, time) in &minute.jobs {
                let place = *places.entry(job).or_insert(jobs.len());
                match jobs.get_mut(place) {
                    Some((_, known)) => *known += within(*time),
                    None => jobs.push((job, within(*time))),
                }
            }
        }
        if let Some((job, since)) = running {
            let time = (now - self.moment(since).min(now)).min(window);
            all += time;
            match places.get(job) {
                Some(&place) => jobs[place].1 += time,
                None => jobs.push((job, time)),
            }
        }
        let jobs = sorted(jobs, &|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
        let share = |time: u64| {
            let parts = (time * 10_000 + window / 2) / window.max(1);
            u32::try_from(parts.min(10_000)).unwrap_or(10_000)
        };
        let jobs = jobs.into_iter();
        Shares {
            window: Duration::from_nanos(window),
            share: share(all),
            jobs: jobs.map(|(job, time)| (job.into(), share(time))).collect(),
        }
    }

    fn moment(&self, at: Instant) -> u64 {
        nanoseconds(at.saturating_duration_since(self.start)).unwrap_or(u64::MAX)
    }

    /// The minute of this number, which is the last or a new one.
    fn minute(&mut self, number: u64) -> &mut Minute {
        if self.minutes.back().is_none_or(|last| last.number < number) {
            self.minutes.push_back(Minute {
                number,
                all: 0,
                jobs: Vec::new(),
            });
        }
        let last = self.minutes.len() - 1;
        &mut self.minutes[last]
    }
}

impl Minute {
    fn add(&mut self, job: &str, time: u64) {
        self.all += time;
        if let Some((_, known)) = self.jobs.iter_mut().find(|(name, _)| **name == *job) {
            *known += time;
            return;
        }
        if self.jobs.len() < JOBS_A_MINUTE {
            self.jobs.push((job.into(), time));
            return;
        }
        // The least of them loses its name to one that took longer.
        let least = self.jobs.iter_mut().min_by_key(|(_, known)| *known);
        if let Some(least) = least.filter(|(_, known)| *known < time) {
            *least = (job.into(), time);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Shares in per cent, rounded.
    fn percent(shares: &Shares) -> (u32, Vec<(&str, u32)>) {
        let whole = |share: u32| (share + 50) / 100;
        let jobs = shares.jobs.iter();
        let jobs = jobs.map(|(job, share)| (job.as_str(), whole(*share)));
        (whole(shares.share), jobs.collect())
    }

    #[test]
    fn shares_are_of_the_last_hour_or_of_as_long_as_is_known() {
        let t0 = Instant::now();
        let mut busy = Busy::new(t0);
        assert_eq!(percent(&busy.shares(t0, None)), (0, vec![]));
        busy.ran("scan", t0 + s(10), t0 + s(40));
        busy.ran("queue", t0 + s(50), t0 + s(70));
        let shares = busy.shares(t0 + s(100), None);
        assert_eq!(shares.window, s(100));
        assert_eq!(percent(&shares), (50, vec![("scan", 30), ("queue", 20)]));
        let shares = busy.shares(t0 + s(3600), None);
        assert_eq!((shares.window, percent(&shares).0), (s(3600), 1));
        let shares = busy.shares(t0 + s(3600 + 120), None);
        assert_eq!(
            percent(&shares),
            (0, vec![]),
            "an hour later it is forgotten"
        );
    }

    #[test]
    fn the_run_under_way_counts_up_to_now() {
        let t0 = Instant::now();
        let busy = Busy::new(t0);
        let shares = busy.shares(t0 + s(200), Some(("hangs", t0 + s(100))));
        assert_eq!(percent(&shares), (50, vec![("hangs", 50)]));
        let shares = busy.shares(t0 + s(90_000), Some(("hangs", t0 + s(100))));
        assert_eq!(percent(&shares), (100, vec![("hangs", 100)]));
    }

    #[test]
    fn of_the_oldest_minute_the_part_counts_that_is_within_the_hour() {
        let t0 = Instant::now();
        let mut busy = Busy::new(t0);
        busy.ran("old", t0, t0 + s(60));
        busy.ran("new", t0 + s(120), t0 + s(180));
        busy.ran("last", t0 + s(3600), t0 + s(3601));
        let of = |at: u64| {
            let shares = busy.shares(t0 + s(at), None);
            let jobs = shares.jobs.into_iter();
            (
                shares.share,
                jobs.map(|(job, share)| format!("{job} {share}"))
                    .collect::<Vec<_>>(),
            )
        };
        assert_eq!(
            of(3630),
            (
                253,
                ["new 167", "old 83", "last 3"].map(String::from).to_vec()
            )
        );
        assert_eq!(
            of(3660),
            (169, ["new 167", "last 3"].map(String::from).to_vec())
        );
    }

    #[test]
    fn a_job_that_runs_again_is_told_of_once_and_equals_come_by_name() {
        let t0 = Instant::now();
        let mut busy = Busy::new(t0);
        busy.ran("c", t0, t0 + s(20));
        busy.ran("b", t0 + s(20), t0 + s(30));
        let shares = busy.shares(t0 + s(100), Some(("b", t0 + s(90))));
        assert_eq!(percent(&shares), (40, vec![("b", 20), ("c", 20)]));
        let shares = busy.shares(t0 + s(8_640_000), Some(("hangs", t0)));
        assert_eq!(
            percent(&shares),
            (100, vec![("hangs", 100)]),
            "for 100 days"
        );
    }

    #[test]
    fn a_run_of_a_day_fills_the_hour_and_no_more_memory() {
        let t0 = Instant::now();
        let mut busy = Busy::new(t0);
        busy.ran("long", t0 + s(5), t0 + s(86_400));
        assert!(busy.minutes.len() <= 61);
        assert_eq!(percent(&busy.shares(t0 + s(86_400), None)).0, 100);
        busy.ran("other", t0 + s(86_400), t0 + s(86_401));
        assert!(busy.minutes.len() <= 62);
    }

    #[test]
    fn of_many_jobs_in_a_minute_the_busiest_keep_their_names() {
        let t0 = Instant::now();
        let mut busy = Busy::new(t0);
        let ms = Duration::from_millis;
        for n in 0..500 {
            let from = t0 + ms(n * 100);
            busy.ran(&format!("job{n}"), from, from + ms(10));
        }
        let named = busy.shares(t0 + s(51), None).jobs;
        assert!(
            named.iter().all(|(job, _)| job != "job499"),
            "it took no longer than others"
        );
        busy.ran("long", t0 + s(51), t0 + s(59));
        let shares = busy.shares(t0 + s(60), None);
        assert_eq!(shares.jobs[0].0, "long");
        assert_eq!(shares.jobs.len(), JOBS_A_MINUTE);
        assert_eq!(
            percent(&shares).0,
            22,
            "all of it counts: 5 s and 8 s of 60"
        );
    }
}
