//! How full the lane is: the share of the last hour in which a job ran, and whose runs that were. Counted in minutes,
//! each with a bounded number of jobs. Pure.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

/// The share is of this long at most.
const MINUTES: u64 = 60;
const MINUTE: Duration = Duration::from_secs(60);
/// Jobs that are counted apart in one minute; the time of others counts, but has no name.
const JOBS_A_MINUTE: usize = 64;

/// Whose runs held the lane for how long.
#[derive(Debug)]
pub struct Busy {
    start: Instant,
    minutes: VecDeque<Minute>,
}

#[derive(Debug)]
struct Minute {
    /// Counted from the start.
    number: u64,
    /// Time of runs, with and without a name.
    all: Duration,
    jobs: Vec<(Box<str>, Duration)>,
}

/// The shares of a window that ends now.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    /// How long the window is: an hour, or as long as is known.
    pub window: Duration,
    /// The part of it in which a job ran, from 0 to 1.
    pub share: f64,
    /// The same of each job that had any, the busiest first.
    pub jobs: Vec<(String, f64)>,
}

impl Busy {
    /// Nothing has run yet.
    pub fn new(start: Instant) -> Busy {
        let minutes = VecDeque::new();
        Busy { start, minutes }
    }

    /// A run of `job` held the lane from `from` to `to`.
    pub fn ran(&mut self, job: &str, from: Instant, to: Instant) {
        let to_number = self.number(to);
        while self
            .minutes
            .front()
            .is_some_and(|m| m.number + MINUTES < to_number)
        {
            self.minutes.pop_front();
        }
        let (start, first) = (
            self.start,
            self.number(from).max(to_number.saturating_sub(MINUTES)),
        );
        for number in first..=to_number {
            let part = overlap(start, number, from, to);
            if !part.is_zero() {
                self.minute(number).add(job, part);
            }
        }
    }

    /// The shares of the hour before `now`, or of as long as is known; `running` is the run under way and since when.
    pub fn shares(&self, now: Instant, running: Option<(&str, Instant)>) -> Shares {
        let window = (MINUTE * 60).min(now.saturating_duration_since(self.start));
        let number = self.number(now);
        let mut all = Duration::ZERO;
        let mut jobs: HashMap<&str, Duration> = HashMap::new();
        for minute in &self.minutes {
            // Of the oldest minute only a part is within the window, and the same part of its runs, as far as is known.
            let part = match number.saturating_sub(minute.number) {
                age if age > MINUTES => continue,
                MINUTES => self.rest_of_oldest(now),
                _ => 1.0,
            };
            all += minute.all.mul_f64(part);
            for (job, time) in &minute.jobs {
                *jobs.entry(job).or_default() += time.mul_f64(part);
            }
        }
        if let Some((job, since)) = running {
            let time = now.saturating_duration_since(since).min(window);
            all += time;
            *jobs.entry(job).or_default() += time;
        }
        let share = |time: Duration| {
            let of = time.as_secs_f64() / window.as_secs_f64().max(f64::MIN_POSITIVE);
            of.clamp(0.0, 1.0)
        };
        let mut jobs: Vec<(String, f64)> = jobs
            .into_iter()
            .map(|(job, time)| (job.to_string(), share(time)))
            .collect();
        jobs.sort_by(|a, b| b.1.total_cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        Shares {
            window,
            share: share(all),
            jobs,
        }
    }

    fn number(&self, at: Instant) -> u64 {
        at.saturating_duration_since(self.start).as_secs() / 60
    }

    /// Which part of the minute an hour ago is still within the hour.
    fn rest_of_oldest(&self, now: Instant) -> f64 {
        let past = now.saturating_duration_since(self.start).as_secs_f64() % 60.0;
        1.0 - past / 60.0
    }

    fn minute(&mut self, number: u64) -> &mut Minute {
        let place = self.minutes.partition_point(|m| m.number < number);
        if self.minutes.get(place).is_none_or(|m| m.number != number) {
            let new = Minute {
                number,
                all: Duration::ZERO,
                jobs: Vec::new(),
            };
            self.minutes.insert(place, new);
        }
        &mut self.minutes[place]
    }
}

impl Minute {
    fn add(&mut self, job: &str, time: Duration) {
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

/// How much of the minute `number` after `start` lies between `from` and `to`.
fn overlap(start: Instant, number: u64, from: Instant, to: Instant) -> Duration {
    let begin = start + Duration::from_secs(number * 60);
    let end = begin + MINUTE;
    to.min(end).saturating_duration_since(from.max(begin))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Shares in per cent, rounded.
    fn percent(shares: &Shares) -> (u64, Vec<(&str, i64)>) {
        let whole = |share: f64| (share * 100.0).round() as i64;
        let jobs = shares.jobs.iter();
        let jobs = jobs.map(|(job, share)| (job.as_str(), whole(*share)));
        (
            u64::try_from(whole(shares.share)).unwrap_or(0),
            jobs.collect(),
        )
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
