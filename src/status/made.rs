//! Made-up state for the tests of what is shown: three jobs, and a clock that tests move.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Counters, Running, View};
use crate::config::{Config, Job, Settings};
use crate::job::outcome::{Cause, Outcome};
use crate::job::record::Record;
use crate::job::schedule::{Delays, Schedule, Timing};
use crate::mail::queue::{Failure, Queue, Verdict};
use crate::mail::report::{Failed, Origin, Report, Run};

/// 2026-11-23T23:36:37Z
pub(super) const CLOCK: Duration = Duration::from_secs(1_795_476_997);

pub(super) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a daemon would know. Moments are counted from its start.
pub(super) struct Made {
    pub(super) t0: Instant,
    pub(super) config: Config,
    pub(super) schedule: Schedule,
    pub(super) records: Vec<Record>,
    pub(super) queue: Queue,
    pub(super) counters: Counters,
    pub(super) phase: &'static str,
    pub(super) lines_dropped: u64,
    running: Option<(Rc<Job>, Option<usize>, Duration)>,
}

impl Made {
    /// Jobs by name and `mindelay` in seconds.
    pub(super) fn new(jobs: &[(&str, u64)]) -> Made {
        let t0 = Instant::now();
        let jobs: Vec<Rc<Job>> = jobs
            .iter()
            .map(|(name, mindelay)| {
                let settings = Settings {
                    mindelay: s(*mindelay),
                    ..Settings::default()
                };
                Rc::new(Job {
                    name: (*name).into(),
                    command: "true".into(),
                    settings: Rc::new(settings),
                })
            })
            .collect();
        let timings = jobs.iter().map(|job| Timing::new(&delays(job), t0));
        Made {
            t0,
            schedule: Schedule::new(timings),
            records: jobs.iter().map(|_| Record::default()).collect(),
            config: Config {
                jobs,
                ..Config::default()
            },
            queue: Queue::new(),
            counters: Counters::default(),
            phase: "working",
            lines_dropped: 0,
            running: None,
        }
    }

    /// Launchpad's two, and one that runs once an hour.
    pub(super) fn three() -> Made {
        Made::new(&[
            ("slave_scanner", 5),
            ("queue_builder", 900),
            ("cleanup", 3600),
        ])
    }

    pub(super) fn wall(&self, at: Duration) -> SystemTime {
        UNIX_EPOCH + CLOCK + at
    }

    pub(super) fn set(&mut self, job: usize, change: impl FnOnce(&mut Settings)) {
        let job = Rc::make_mut(&mut self.config.jobs[job]);
        change(Rc::make_mut(&mut job.settings));
    }

    pub(super) fn begins(&mut self, job: usize, at: Duration) {
        let late = self.schedule.begin(job, self.t0 + at);
        let wall = self.wall(at);
        self.records[job].began(wall, late);
        self.running = Some((Rc::clone(&self.config.jobs[job]), Some(job), at));
    }

    pub(super) fn ends(&mut self, at: Duration, code: i32, cause: Cause) {
        let (job, place, began) = self.running.take().unwrap();
        let (place, wall) = (place.unwrap(), self.wall(at));
        let outcome = Outcome { code, cause };
        self.records[place].ended(wall, at - began, &outcome, 0);
        let failed = Some(code != 0);
        self.schedule
            .end(place, self.t0 + at, failed, &delays(&job));
    }

    /// A whole run.
    pub(super) fn runs(&mut self, job: usize, from: Duration, to: Duration, code: i32) {
        self.begins(job, from);
        self.ends(to, code, Cause::Exited);
    }

    pub(super) fn pauses(&mut self, job: usize, at: Duration, uid: u32) {
        self.schedule.pause(job);
        let wall = self.wall(at);
        self.records[job].set_paused(Some((wall, uid)));
    }

    /// The running job is in no configuration any more.
    pub(super) fn removes_running(&mut self) {
        let (job, place, _) = self.running.as_mut().unwrap();
        let place = place.take().unwrap();
        let others = |i: &usize| *i != place;
        let kept: Vec<usize> = (0..self.records.len()).filter(others).collect();
        let kept_jobs = kept.iter().map(|&i| Rc::clone(&self.config.jobs[i]));
        self.config.jobs = kept_jobs.collect();
        self.records = kept.iter().map(|&i| self.records[i].clone()).collect();
        let jobs = kept.iter().zip(&self.config.jobs);
        let jobs = jobs.map(|(&i, job)| (Some((i, delays(job))), delays(job)));
        self.schedule = self.schedule.reloaded(jobs, self.t0);
        assert!(!job.name.is_empty());
    }

    /// Queues a report, and has the try of it fail if that is said.
    pub(super) fn mails(&mut self, at: Duration, failure: Option<Failure>) {
        let run = Run {
            job: "queue_builder",
            command: "true",
            started: self.wall(at),
            took: s(1),
        };
        let outcome = Outcome {
            code: 1,
            cause: Cause::Exited,
        };
        let failed = Failed {
            outcome: &outcome,
            repeat: None,
            stdout: Vec::new(),
            stderr: Vec::new(),
        };
        let origin = Origin {
            from: "a@example.com",
            host: "build1",
            pid: 1,
            number: 1,
            now: self.wall(at),
        };
        let report = Rc::new(Report::failure(&run, failed, &origin));
        self.queue.push(report, "ops@example.com", self.t0 + at);
        if let Some(failure) = failure {
            self.queue.start(self.t0 + at).unwrap();
            let verdict = self.queue.finished(Err(failure), self.t0 + at);
            assert!(matches!(verdict, Some(Verdict::Retry { .. })));
        }
    }

    pub(super) fn view(&self, at: Duration) -> View<'_> {
        let running = self.running.as_ref().map(|(job, place, began)| Running {
            place: *place,
            job,
            pid: 20_417,
            started: self.t0 + *began,
            wall: self.wall(*began),
        });
        View {
            now: self.t0 + at,
            wall: self.wall(at),
            started: self.wall(s(0)),
            configured: self.wall(s(0)),
            up: at,
            phase: self.phase,
            host: "build1",
            config: &self.config,
            schedule: &self.schedule,
            records: &self.records,
            running,
            queue: &self.queue,
            counters: &self.counters,
            lines_dropped: self.lines_dropped,
        }
    }
}

fn delays(job: &Job) -> Delays {
    Delays {
        start: job.start_delay(),
        min: job.settings.mindelay,
        max: job.settings.maxdelay,
    }
}
