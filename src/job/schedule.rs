//! When each job is due and which one is next: the earliest due time first, ties in configuration order. It also owns
//! back-off, holds, requests by operators, and how a reload changes due times.
//! Pure: time is an argument. It knows jobs only by their place in the configuration. It knows which one runs only to
//! keep that one out of the order until its run has ended. Choosing a job and putting it back take O(log n).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::clock::{Moment, Stamp};
use crate::job::requests::Requests;

/// The delays of one job, from its configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delays {
    /// From the start of the daemon to the first run.
    pub start: Duration,
    /// From the end of a run to the next.
    pub min: Duration,
    /// The longest delay that repeated failures lead to. With zero, failures do not change the delay.
    pub max: Duration,
}

/// The least delay that back-off starts from, so that it works with `mindelay: 0` too.
const BACKOFF_STEP: Duration = Duration::from_secs(1);

impl Delays {
    /// The delay after a run when `failures` runs in a row have failed. It is `mindelay` (at least a second), doubled
    /// for each failure after the first; at most `max`, but never less than `mindelay`.
    pub fn after(&self, failures: u32) -> Duration {
        if failures == 0 || self.max.is_zero() {
            return self.min;
        }
        let doubled = 2_u32
            .checked_pow(failures - 1)
            .and_then(|n| self.min.max(BACKOFF_STEP).checked_mul(n));
        doubled
            .map_or(self.max, |delay| delay.min(self.max))
            .max(self.min)
    }
}

/// One job's timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// When it may run next.
    pub due: Instant,
    /// The moment that `due` counts from: the end of the last run, or when the job was loaded.
    pub since: Instant,
    /// The end of the last run by the wall clock; never, if the job has not run.
    pub ended: Stamp,
    /// Failed runs in a row.
    pub failures: u32,
}

impl Timing {
    /// A job that nothing is known of. It is due its start delay after `now`.
    pub fn new(delays: &Delays, now: Instant) -> Timing {
        Timing {
            due: later(now, delays.start),
            since: now,
            ended: Stamp::default(),
            failures: 0,
        }
    }

    /// The delay from `since` to the next run.
    pub fn delay(&self, delays: &Delays) -> Duration {
        if self.ran() {
            delays.after(self.failures)
        } else {
            delays.start
        }
    }

    /// Whether the job has ever run, so that `since` is the end of a run.
    pub fn ran(&self) -> bool {
        self.ended != Stamp::default()
    }

    /// The due time by these delays.
    pub fn due_by(&self, delays: &Delays) -> Instant {
        later(self.since, self.delay(delays))
    }
}

/// The job that is next, and when it is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next<Job = usize> {
    /// The job: its place in the configuration, until an owner of jobs has made more of that.
    pub job: Job,
    /// When it is due. For a requested job this is the schedule's due time, which does not matter then.
    pub due: Instant,
    /// Whether an operator has requested it. It goes before all others then, and at once.
    pub requested: bool,
}

impl<Job> Next<Job> {
    /// When it may start, as seen at `now`: a requested job at once.
    pub fn start(&self, now: Instant) -> Instant {
        if self.requested { now } else { self.due }
    }
}

/// The timing of all jobs. A running job is out of the order until its run has ended, and a held one until it is
/// released. The schedule is told that a job is held; who holds it stands in the job's record.
#[derive(Debug, Default)]
pub struct Schedule {
    jobs: Vec<Timing>,
    order: BTreeSet<(Instant, usize)>,
    requests: Requests,
    running: Option<usize>,
    /// When the daemon began: what was due before has waited for nobody until then.
    began: Option<Instant>,
    /// When jobs were released that were due before: what is held waits for nobody, so they wait since then. It is empty
    /// until there is one.
    released: Vec<Option<Instant>>,
}

impl Schedule {
    /// A schedule of jobs in configuration order.
    pub fn new(jobs: impl IntoIterator<Item = Timing>) -> Schedule {
        let jobs: Vec<Timing> = jobs.into_iter().collect();
        let order = jobs.iter().enumerate().map(|(i, t)| (t.due, i)).collect();
        Schedule {
            jobs,
            order,
            requests: Requests::default(),
            running: None,
            began: None,
            released: Vec::new(),
        }
    }

    /// Has no job wait since before this moment, at which the daemon begins.
    pub fn begins(&mut self, now: Instant) {
        self.began = Some(now);
    }

    /// The job that is next once nothing runs; `None` if no job is left that is not held.
    pub fn next(&self) -> Option<Next> {
        self.first(self.requests.first())
    }

    /// The first job that waits, or will wait, for the end of the one that runs, which does not wait for itself.
    pub fn next_behind(&self) -> Option<Next> {
        self.first(self.requested().find(|&job| Some(job) != self.running))
    }

    fn first(&self, requested: Option<usize>) -> Option<Next> {
        if let Some(job) = requested {
            return self.jobs.get(job).map(|t| Next {
                job,
                due: t.due,
                requested: true,
            });
        }
        self.order.first().map(|&(due, job)| Next {
            job,
            due,
            requested: false,
        })
    }

    /// Takes a job out of the order because its run begins. Returns how late it is (zero for a requested job).
    pub fn begin(&mut self, job: usize, now: Instant) -> Duration {
        let Some(timing) = self.jobs.get(job) else {
            return Duration::ZERO;
        };
        self.order.remove(&(timing.due, job));
        self.running = Some(job);
        let since = self.ready_since(timing.due, job);
        self.forget_release(job);
        match self.requests.remove(job) {
            true => Duration::ZERO,
            false => now.saturating_duration_since(since),
        }
    }

    /// Since when a job that is due could have run.
    fn ready_since(&self, due: Instant, job: usize) -> Instant {
        let released = self.released.get(job).copied().flatten();
        let due = self.began.map_or(due, |at| at.max(due));
        released.map_or(due, |at| at.max(due))
    }

    fn forget_release(&mut self, job: usize) {
        if let Some(released) = self.released.get_mut(job) {
            *released = None;
        }
    }

    /// Puts a job back after its run, unless it is held. `failed` is `None` for a run that says nothing about the job.
    pub fn end(
        &mut self,
        job: usize,
        now: Moment,
        failed: Option<bool>,
        delays: &Delays,
        held: bool,
    ) {
        if self.running == Some(job) {
            self.running = None;
        }
        let Some(timing) = self.jobs.get_mut(job) else {
            return;
        };
        self.order.remove(&(timing.due, job));
        timing.failures = match failed {
            Some(true) => timing.failures.saturating_add(1),
            Some(false) => 0,
            None => timing.failures,
        };
        timing.since = now.instant;
        timing.ended = Stamp::at(now.wall);
        timing.due = timing.due_by(delays);
        if !held {
            self.order.insert((timing.due, job));
        }
    }

    /// Makes a job next, before all others, held or not. A second request changes nothing.
    pub fn request(&mut self, job: usize, now: Instant) {
        if job < self.jobs.len() {
            self.requests.add(job, now);
        }
    }

    /// The requested jobs that wait, in the order of the requests.
    pub fn requested(&self) -> impl Iterator<Item = usize> + '_ {
        self.requests.iter().map(|(job, _)| job)
    }

    /// Whether a job waits because an operator has requested it.
    pub fn is_requested(&self, job: usize) -> bool {
        self.requests.contains(job)
    }

    /// Takes a job out of the order. Its due time stays the same.
    pub fn hold(&mut self, job: usize) {
        if let Some(timing) = self.jobs.get(job) {
            self.order.remove(&(timing.due, job));
            self.forget_release(job);
        }
    }

    /// Puts a held job back into the order, at its own due time, unless it runs.
    pub fn release(&mut self, job: usize, now: Instant) {
        let timing = self.jobs.get(job).filter(|_| self.running != Some(job));
        if let Some(timing) = timing {
            self.order.insert((timing.due, job));
            if timing.due < now {
                self.released.resize(self.jobs.len(), None);
                self.released[job] = Some(now);
            }
        }
    }

    /// A job's timing.
    pub fn timing(&self, job: usize) -> &Timing {
        &self.jobs[job]
    }

    /// The timing of each job, in the order of the configuration.
    pub fn timings(&self) -> &[Timing] {
        &self.jobs
    }

    /// The jobs that would run now if nothing else ran, and how long each has waited. Due jobs come first, in due order;
    /// then those that are requested but not due. What runs does not wait, though it may have been requested again.
    pub fn waiting(&self, now: Instant) -> impl Iterator<Item = (usize, Duration)> + '_ {
        let due = self.order.iter().take_while(move |(due, _)| *due <= now);
        let is_due = move |job: usize| {
            let timing = self.jobs.get(job);
            timing.is_some_and(|t| t.due <= now && self.order.contains(&(t.due, job)))
        };
        let requests = self.requests.iter();
        let asked_for =
            requests.filter(move |(job, _)| Some(*job) != self.running && !is_due(*job));
        let waited = move |due, job| now.saturating_duration_since(self.ready_since(due, job));
        due.map(move |&(due, job)| (job, waited(due, job)))
            .chain(asked_for.map(move |(job, since)| (job, now.saturating_duration_since(since))))
    }

    /// All jobs that are neither held nor running, in due order.
    pub fn in_order(&self) -> impl Iterator<Item = usize> + '_ {
        self.order.iter().map(|&(_, job)| job)
    }

    /// The schedule after a reload. `jobs` gives for each new job, in order: its old place and its old delays, if it
    /// was there before, and its new delays. A job whose delays are unchanged keeps its due time. Changed delays count
    /// from the end of its last run.
    pub fn reloaded(
        &self,
        jobs: impl IntoIterator<Item = (Option<(usize, Delays)>, Delays)>,
        now: Instant,
    ) -> Schedule {
        let mut places = vec![None; self.jobs.len()];
        let mut in_order = vec![false; self.jobs.len()];
        for &(_, job) in &self.order {
            in_order[job] = true;
        }
        let mut held = Vec::new();
        let timings: Vec<Timing> = jobs
            .into_iter()
            .enumerate()
            .map(|(place, (old, new))| {
                let Some((old_place, old_delays)) = old else {
                    return Timing::new(&new, now);
                };
                let Some(mut timing) = self.jobs.get(old_place).copied() else {
                    return Timing::new(&new, now);
                };
                places[old_place] = Some(place);
                if !in_order[old_place] {
                    held.push(place);
                }
                if new != old_delays {
                    timing.due = timing.due_by(&new);
                }
                timing
            })
            .collect();
        let moved = |old: usize| places.get(old).copied().flatten();
        let mut schedule = Schedule::new(timings);
        // A running job is among these.
        for job in held {
            schedule.hold(job);
        }
        let requests = self.requests.iter();
        schedule.requests = requests
            .filter_map(|(job, since)| Some((moved(job)?, since)))
            .collect();
        schedule.began = self.began;
        schedule.running = self.running.and_then(moved);
        for (job, released) in self.released.iter().enumerate() {
            if let (Some(job), Some(_)) = (moved(job), released) {
                schedule.released.resize(schedule.jobs.len(), None);
                schedule.released[job] = *released;
            }
        }
        schedule
    }
}

/// `time + delay`. A delay beyond the clock's range (over 200 years) counts as none.
fn later(time: Instant, delay: Duration) -> Instant {
    time.checked_add(delay).unwrap_or(time)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A moment whose wall clock does not matter.
    fn at(instant: Instant) -> Moment {
        Moment {
            instant,
            wall: std::time::UNIX_EPOCH + s(1_795_476_997),
        }
    }

    fn delays(min: u64) -> Delays {
        Delays {
            start: s(min),
            min: s(min),
            max: Duration::ZERO,
        }
    }

    fn schedule(mins: &[u64], t0: Instant) -> Schedule {
        Schedule::new(mins.iter().map(|&min| Timing::new(&delays(min), t0)))
    }

    // The original's test: job-name1 (5 s) and job-name2 (10 s) are due at 5 and 10; a success and a failure
    // that both end at 10 make them due at 15 and 20.
    #[test]
    fn jobs_of_the_original_test_are_due_when_it_says() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[5, 10], t0);
        assert_eq!(schedule.timing(0).due, t0 + s(5));
        assert_eq!(schedule.timing(1).due, t0 + s(10));
        schedule.begin(0, t0 + s(5));
        schedule.end(0, at(t0 + s(10)), Some(false), &delays(5), false);
        schedule.begin(1, t0 + s(10));
        schedule.end(1, at(t0 + s(10)), Some(true), &delays(10), false);
        assert_eq!(schedule.timing(0).due, t0 + s(15));
        assert_eq!(schedule.timing(1).due, t0 + s(20));
    }

    // The original's test: with slave_scanner at 5 s and a slower queue_builder, slave_scanner is earliest.
    #[test]
    fn earliest_job_of_the_original_test_is_next() {
        let t0 = Instant::now();
        let schedule = schedule(&[5, 900], t0);
        assert_eq!(
            schedule.next(),
            Some(Next {
                job: 0,
                due: t0 + s(5),
                requested: false
            })
        );
    }

    #[test]
    fn ties_go_to_the_order_of_the_configuration() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[3, 3, 3], t0);
        for job in 0..3 {
            assert_eq!(schedule.next().unwrap().job, job);
            schedule.begin(job, t0 + s(3));
            schedule.end(job, at(t0 + s(3)), Some(false), &delays(3), false);
        }
        assert_eq!(schedule.next().unwrap().job, 0);
    }

    #[test]
    fn late_job_runs_once_not_twice() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[1], t0);
        assert_eq!(schedule.begin(0, t0 + s(100)), s(99));
        schedule.end(0, at(t0 + s(101)), Some(false), &delays(1), false);
        assert_eq!(schedule.next().unwrap().due, t0 + s(102));
    }

    #[test]
    fn failures_in_a_row_back_off_and_a_success_resets() {
        let backing_off = Delays {
            start: s(5),
            min: s(5),
            max: s(60),
        };
        let expected = [5, 5, 10, 20, 40, 60, 60];
        for (failures, seconds) in (0..).zip(expected) {
            assert_eq!(backing_off.after(failures), s(seconds), "{failures}");
        }
        assert_eq!(backing_off.after(u32::MAX), s(60));
        assert_eq!(
            Delays {
                min: Duration::ZERO,
                ..backing_off
            }
            .after(1),
            s(1)
        );
        assert_eq!(
            Delays {
                max: s(2),
                ..backing_off
            }
            .after(9),
            s(5),
            "never before mindelay"
        );
        assert_eq!(delays(5).after(9), s(5), "off");
    }

    #[test]
    fn a_request_goes_before_all_others_paused_or_not() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[1, 50], t0);
        schedule.hold(1);
        schedule.request(1, t0);
        schedule.request(1, t0);
        assert_eq!(
            schedule.next().map(|n| (n.job, n.requested)),
            Some((1, true))
        );
        assert_eq!(schedule.begin(1, t0 + s(2)), Duration::ZERO);
        schedule.end(1, at(t0 + s(3)), Some(false), &delays(50), true);
        assert_eq!(
            schedule.next().map(|n| n.job),
            Some(0),
            "one run a request, then held again"
        );
        schedule.release(1, t0 + s(4));
        assert_eq!(schedule.timing(1).due, t0 + s(53));
        assert_eq!(schedule.in_order().collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn a_running_job_that_is_paused_and_resumed_stays_out_of_the_order() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[1], t0);
        schedule.begin(0, t0 + s(1));
        schedule.hold(0);
        schedule.release(0, t0 + s(2));
        assert_eq!(schedule.next(), None);
        schedule.end(0, at(t0 + s(2)), Some(false), &delays(1), false);
        assert_eq!(schedule.next().map(|n| n.due), Some(t0 + s(3)));
    }

    #[test]
    fn what_was_held_has_waited_only_since_it_was_released() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[10, 20, 3600], t0);
        schedule.hold(0);
        schedule.hold(2);
        let waiting = |schedule: &Schedule, now| -> Vec<(usize, Duration)> {
            schedule.waiting(t0 + s(now)).collect()
        };
        assert_eq!(waiting(&schedule, 1000), [(1, s(980))]);
        schedule.release(0, t0 + s(1000));
        schedule.release(2, t0 + s(1000));
        assert_eq!(waiting(&schedule, 1007), [(0, s(7)), (1, s(987))]);
        let same = [10, 20, 3600].map(delays);
        let same = same.iter().enumerate();
        schedule = schedule.reloaded(same.map(|(i, d)| (Some((i, *d)), *d)), t0 + s(1008));
        assert_eq!(
            schedule.next().map(|n| n.job),
            Some(0),
            "its due time stays"
        );
        assert_eq!(schedule.begin(0, t0 + s(1009)), s(9));
        schedule.end(0, at(t0 + s(1010)), Some(false), &delays(10), false);
        assert_eq!(schedule.begin(0, t0 + s(1021)), s(1), "once");
        assert_eq!(
            schedule.begin(2, t0 + s(3605)),
            s(5),
            "due after its release"
        );
    }

    #[test]
    fn what_was_due_before_the_daemon_began_has_waited_only_since_then() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[10, 2000], t0);
        schedule.begins(t0 + s(1000));
        let same = [10, 2000].map(delays);
        let same = same.iter().enumerate();
        schedule = schedule.reloaded(same.map(|(i, d)| (Some((i, *d)), *d)), t0 + s(1001));
        assert_eq!(
            schedule.waiting(t0 + s(1002)).collect::<Vec<_>>(),
            [(0, s(2))]
        );
        assert_eq!(schedule.begin(0, t0 + s(1003)), s(3));
        assert_eq!(schedule.begin(1, t0 + s(2004)), s(4));
    }

    #[test]
    fn what_runs_does_not_wait_for_itself() {
        let t0 = Instant::now();
        let mut schedule = schedule(&[1, 50], t0);
        schedule.begin(0, t0 + s(1));
        schedule.request(0, t0 + s(2));
        assert_eq!(schedule.waiting(t0 + s(3)).count(), 0);
        assert_eq!(
            schedule.next_behind().map(|n| (n.job, n.due)),
            Some((1, t0 + s(50)))
        );
        schedule.request(1, t0 + s(4));
        let behind = schedule.next_behind();
        assert_eq!(behind.map(|n| (n.job, n.requested)), Some((1, true)));
        assert_eq!(schedule.waiting(t0 + s(5)).collect::<Vec<_>>(), [(1, s(1))]);
        assert_eq!(
            schedule.next().map(|n| n.job),
            Some(0),
            "it is next all the same"
        );
    }

    #[test]
    fn a_reload_keeps_unchanged_due_times_and_counts_changed_ones_from_the_last_end() {
        let t0 = Instant::now();
        let mut old = schedule(&[10, 20, 30], t0);
        old.begin(0, t0 + s(10));
        old.end(0, at(t0 + s(12)), Some(false), &delays(10), false);
        let new = old.reloaded(
            [
                (Some((2, delays(30))), delays(30)),
                (Some((0, delays(10))), delays(60)),
                (Some((1, delays(20))), delays(25)),
                (None, delays(7)),
            ],
            t0 + s(15),
        );
        let due: Vec<Duration> = (0..4).map(|job| new.timing(job).due - t0).collect();
        assert_eq!(due, [s(30), s(72), s(25), s(22)]);
    }

    #[test]
    fn a_reload_leaves_the_running_job_out_of_the_order_wherever_it_moves() {
        let t0 = Instant::now();
        let mut old = schedule(&[1, 2], t0);
        old.begin(0, t0 + s(1));
        old.request(1, t0);
        let mut new = old.reloaded(
            [
                (Some((1, delays(2))), delays(2)),
                (Some((0, delays(1))), delays(1)),
            ],
            t0 + s(2),
        );
        assert_eq!(new.in_order().collect::<Vec<_>>(), [0]);
        assert!(new.is_requested(0));
        new.end(1, at(t0 + s(3)), Some(false), &delays(1), false);
        assert_eq!(new.in_order().collect::<Vec<_>>(), [0, 1]);
        let gone = old.reloaded([(Some((1, delays(2))), delays(2))], t0 + s(2));
        assert_eq!(gone.in_order().collect::<Vec<_>>(), [0]);
    }

    proptest! {
        /// Runs a serial daemon on any jobs and durations and watches it from outside.
        #[test]
        fn no_job_starts_early_or_out_of_order_and_none_starves(
            jobs in prop::collection::vec((0_u64..50, 1_u64..2000), 1..12),
            failures in prop::collection::vec(any::<bool>(), 64),
        ) {
            let t0 = Instant::now();
            let mut schedule = schedule(&jobs.iter().map(|j| j.0).collect::<Vec<_>>(), t0);
            let mut now = t0;
            let mut ready: Vec<Instant> = jobs.iter().map(|j| t0 + s(j.0)).collect();
            let mut passed_over = vec![0_usize; jobs.len()];
            for step in 0..400 {
                let next = schedule.next().unwrap();
                now = now.max(next.due);
                prop_assert!(ready[next.job] <= now, "started before it was due");
                let earliest = ready.iter().enumerate().min_by_key(|&(job, due)| (*due, job)).unwrap().0;
                prop_assert_eq!(next.job, earliest);
                for (job, due) in ready.iter().enumerate() {
                    if job == next.job {
                        passed_over[job] = 0;
                    } else if *due <= now {
                        passed_over[job] += 1;
                        prop_assert!(passed_over[job] < jobs.len(), "a waiting job is passed over once by each other");
                    }
                }
                schedule.begin(next.job, now);
                prop_assert!(schedule.in_order().all(|job| job != next.job));
                now += Duration::from_millis(jobs[next.job].1);
                schedule.end(next.job, at(now), Some(failures[step % 64]), &delays(jobs[next.job].0), false);
                ready[next.job] = now + s(jobs[next.job].0);
                prop_assert_eq!(schedule.in_order().count(), jobs.len());
            }
        }

        /// Pauses, requests and reloads in any sequence never lose a job or keep one twice.
        #[test]
        fn every_job_is_in_exactly_one_place(steps in prop::collection::vec((0_u8..6, 0_usize..5), 0..120)) {
            let t0 = Instant::now();
            let mut schedule = schedule(&[0, 1, 2, 3, 4], t0);
            let mut running: Option<usize> = None;
            let mut held = [false; 5];
            for (i, (step, job)) in (0_u64..).zip(steps) {
                let now = t0 + s(i);
                match (step, running) {
                    (0, None) => if let Some(next) = schedule.next() {
                        schedule.begin(next.job, now);
                        running = Some(next.job);
                    },
                    (1, Some(job)) => {
                        schedule.end(job, at(now), Some(i % 2 == 0), &delays(2), held[job]);
                        running = None;
                    }
                    (2, _) => {
                        held[job] = true;
                        schedule.hold(job);
                    }
                    (3, _) => {
                        held[job] = false;
                        schedule.release(job, now);
                    }
                    (4, _) => schedule.request(job, t0),
                    (5, _) => {
                        let same = (0..5).map(|j| (Some((j, delays(2))), delays(2))).collect::<Vec<_>>();
                        schedule = schedule.reloaded(same, now);
                    }
                    _ => {}
                }
                for (job, held) in held.iter().enumerate() {
                    let times = schedule.in_order().filter(|&j| j == job).count();
                    let out = *held || running == Some(job);
                    prop_assert_eq!(times, usize::from(!out), "job {} after step {}", job, i);
                }
            }
        }
    }
}
