//! A year of running jobs one after the other in simulated time, compared with a second, simpler model. It is small
//! under a plain `cargo test`; SIMULATION=full makes it a million jobs.

#![allow(clippy::unwrap_used, reason = "a test may")]

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant, SystemTime};

use buildd_sequencer::clock::Moment;
use buildd_sequencer::job::schedule::{Delays, Schedule, Timing};

const YEAR: u64 = 365 * 24 * 3600 * 1000;

/// Random numbers that are the same each time (xorshift64*).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// One job of the simple model; times are milliseconds.
#[derive(Clone)]
struct Job {
    mindelay: u64,
    maxdelay: u64,
    failures: u32,
    since: u64,
    runs: u64,
}

impl Job {
    fn delays(&self) -> Delays {
        Delays {
            start: Duration::from_millis(self.mindelay),
            min: Duration::from_millis(self.mindelay),
            max: Duration::from_millis(self.maxdelay),
        }
    }

    fn due(&self) -> u64 {
        let mut delay = self.mindelay;
        if self.failures > 0 && self.maxdelay > 0 {
            let doubled = self.mindelay.max(1000) << (self.failures - 1).min(20);
            delay = doubled.min(self.maxdelay).max(self.mindelay);
        }
        self.since + delay
    }
}

struct Simulation {
    t0: Instant,
    now: u64,
    random: Random,
    schedule: Schedule,
    jobs: Vec<Job>,
    order: BinaryHeap<Reverse<(u64, usize)>>,
    /// When each run so far began.
    starts: Vec<u64>,
    longest_wait: u64,
    reloaded: u64,
}

impl Simulation {
    fn new(jobs: usize, longest_delay: u64) -> Simulation {
        let t0 = Instant::now();
        let mut random = Random(0x5EED);
        let jobs: Vec<Job> = (0..jobs)
            .map(|_| Job {
                mindelay: random.below(longest_delay),
                maxdelay: if random.one_in(2) { 0 } else { longest_delay },
                failures: 0,
                since: 0,
                runs: 0,
            })
            .collect();
        let schedule = Schedule::new(jobs.iter().map(|job| Timing::new(&job.delays(), t0)));
        let mut simulation = Simulation {
            t0,
            now: 0,
            random,
            schedule,
            jobs,
            order: BinaryHeap::new(),
            starts: Vec::new(),
            longest_wait: 0,
            reloaded: 0,
        };
        simulation.order_anew();
        simulation
    }

    fn order_anew(&mut self) {
        let due = self.jobs.iter().enumerate();
        self.order = due
            .map(|(place, job)| Reverse((job.due(), place)))
            .collect();
    }

    fn at(&self, milliseconds: u64) -> Instant {
        self.t0 + Duration::from_millis(milliseconds)
    }

    /// Simulates one run, from the choice of the job to its end.
    fn run(&mut self, longest_run: u64) {
        let Reverse((due, place)) = self.order.pop().unwrap();
        let next = self.schedule.next().unwrap();
        assert_eq!(
            (next.job, next.due, next.requested),
            (place, self.at(due), false),
            "the earliest is next, of several the first of the configuration"
        );
        self.now = self.now.max(due);
        let late = self.schedule.begin(place, self.at(self.now));
        assert_eq!(late, Duration::from_millis(self.now - due));
        let other = self.schedule.next().map(|next| next.job);
        assert_ne!(other, Some(place), "never twice at once");
        // A reload may have made it due in the past.
        let waited_from = due.max(self.reloaded);
        let before = self.starts.partition_point(|&start| start < waited_from);
        let meanwhile = self.starts.len() - before;
        assert!(
            meanwhile <= self.jobs.len(),
            "while one waits, no other runs twice"
        );
        self.longest_wait = self.longest_wait.max(self.now - waited_from);
        self.starts.push(self.now);

        // Most runs are short; nine in ten take a tenth of the time.
        let most = if self.random.one_in(10) {
            longest_run
        } else {
            longest_run / 10
        };
        self.now += self.random.below(most);
        let failed = self.random.one_in(5);
        let job = &mut self.jobs[place];
        job.failures = if failed { job.failures + 1 } else { 0 };
        job.since = self.now;
        job.runs += 1;
        let (due, delays) = (job.due(), job.delays());
        let now = Moment {
            instant: self.at(self.now),
            wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1),
        };
        self.schedule.end(place, now, Some(failed), &delays, false);
        assert_eq!(self.schedule.timing(place).due, self.at(due));
        self.order.push(Reverse((due, place)));
    }

    /// Reloads: gives a few jobs other delays, one in a hundred none at all, and leaves the others alone.
    fn reload(&mut self, longest_delay: u64) {
        let old: Vec<Delays> = self.jobs.iter().map(Job::delays).collect();
        for job in &mut self.jobs {
            if self.random.one_in(20) {
                job.mindelay = self.random.below(longest_delay);
            } else if self.random.one_in(100) {
                job.mindelay = 0;
            }
        }
        let both = self.jobs.iter().zip(old).enumerate();
        let both = both.map(|(place, (job, old))| (Some((place, old)), job.delays()));
        self.schedule = self.schedule.reloaded(both, self.at(self.now));
        self.order_anew();
        self.reloaded = self.now;
    }
}

#[test]
fn a_year_of_runs_one_after_the_other_keeps_order_due_times_and_everybody_served() {
    let full = std::env::var("SIMULATION").is_ok_and(|size| size == "full");
    let jobs: usize = if full { 1_000_000 } else { 2_000 };
    // With this the year has three million runs, or thirty thousand.
    let longest_run = YEAR / if full { 300_000 } else { 3_000 };
    // On average the jobs ask for all the time there is.
    let longest_delay = 2 * jobs as u64 * longest_run / 20;
    let mut simulation = Simulation::new(jobs, longest_delay);
    for month in 1..=12 {
        while simulation.now < YEAR * month / 12 {
            simulation.run(longest_run);
        }
        simulation.reload(longest_delay);
    }
    let Simulation {
        starts,
        longest_wait,
        ..
    } = &simulation;
    println!(
        "{jobs} jobs, {} runs, longest wait {} s",
        starts.len(),
        longest_wait / 1000
    );
    assert!(starts.len() > jobs, "there was something to see");
    assert!(*longest_wait > 0, "not idle all the time");
    for (place, job) in simulation.jobs.iter().enumerate() {
        let waits = simulation.now.saturating_sub(job.due());
        assert!(
            job.runs > 0 || waits <= jobs as u64 * longest_run,
            "job {place} has starved"
        );
    }
}
