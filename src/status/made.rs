//! Made-up state for the tests of the status: three jobs, and a clock that the tests move.

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::{Counters, Doing, Running, View};
use crate::clock::{Moment, Stamp};
use crate::config::{Job, Sequencer, Settings};
use crate::job::history;
use crate::job::jobs::{End, Index, Jobs};
use crate::job::outcome::{Brief, Cause, Outcome};
use crate::job::output::Capture;
use crate::job::state::State;
use crate::mail::queue::{Failure, Queue, Verdict};
use crate::mail::report::{Failed, Origin, Report, Run};

/// 2026-11-23T23:36:37Z
pub(super) const CLOCK: Duration = Duration::from_secs(1_795_476_997);

pub(super) fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// What a daemon would know. Moments count from its start.
pub(super) struct Made {
    pub(super) t0: Instant,
    pub(super) config: Sequencer,
    pub(super) jobs: Jobs,
    pub(super) queue: Queue,
    pub(super) counters: Counters,
    pub(super) doing: Doing,
    pub(super) lines_dropped: u64,
    pub(super) not_listening: Option<&'static str>,
    pub(super) lease: Option<u64>,
    /// Why the run under way cannot be signalled.
    pub(super) refusal: Option<&'static str>,
    running: Option<(Rc<Job>, Option<Index>, Duration)>,
    /// How much later than it was due the run under way has begun.
    late: Duration,
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
        let start = Moment {
            instant: t0,
            wall: UNIX_EPOCH + CLOCK,
        };
        Made {
            t0,
            jobs: Jobs::restored(jobs, &State::default(), start),
            config: Sequencer::default(),
            queue: Queue::new(),
            counters: Counters::default(),
            doing: Doing::Working,
            lines_dropped: 0,
            not_listening: None,
            lease: None,
            refusal: None,
            running: None,
            late: Duration::ZERO,
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

    pub(super) fn at(&self, at: Duration) -> Moment {
        Moment {
            instant: self.t0 + at,
            wall: self.wall(at),
        }
    }

    /// The job with this index.
    pub(super) fn job(&self, index: usize) -> Index {
        self.jobs.all().nth(index).unwrap()
    }

    /// Changes a job's settings, as a reload would.
    pub(super) fn set(&mut self, job: usize, change: impl FnOnce(&mut Settings)) {
        let mut jobs = self.jobs.definitions().to_vec();
        let job = Rc::make_mut(&mut jobs[job]);
        change(Rc::make_mut(&mut job.settings));
        self.jobs.reload(jobs, self.t0);
    }

    pub(super) fn begins(&mut self, job: usize, at: Duration) {
        let index = self.job(job);
        self.late = self.jobs.begin(index, self.at(at));
        self.running = Some((Rc::clone(self.jobs.job(index)), Some(index), at));
    }

    pub(super) fn ends(&mut self, at: Duration, code: i32, cause: Cause) {
        let (job, index, began) = self.running.take().unwrap();
        let outcome = Outcome { code, cause };
        let began_at = Stamp::at(self.wall(began));
        let run = history::Run::new(began_at, at - began, self.late, Brief::of(&outcome));
        self.jobs.remember(index, &job, run, self.t0 + at);
        let end = End {
            outcome: &outcome,
            took: at - began,
            left_out: 0,
        };
        self.jobs.end(index.unwrap(), end, self.at(at));
    }

    /// A run that takes a second, prints this and exits with 3.
    pub(super) fn fails(&mut self, job: usize, at: Duration, stdout: &[u8], stderr: &[u8]) {
        self.runs(job, at, at + s(1), 3);
        let index = self.job(job);
        let name = self.jobs.job(index).name.clone();
        let run = *self.jobs.history().last(Some(&name), true, 1)[0].1;
        let [stdout, stderr] = [stdout, stderr].map(|bytes| {
            let mut capture = Capture::new(1 << 20);
            capture.push(bytes);
            capture
        });
        self.jobs.keep_tail(index, run, &stdout, &stderr);
    }

    pub(super) fn requests(&mut self, job: usize, at: Duration) {
        self.jobs.request(self.job(job), self.t0 + at);
    }

    /// A run from its start to its end.
    pub(super) fn runs(&mut self, job: usize, from: Duration, to: Duration, code: i32) {
        self.begins(job, from);
        self.ends(to, code, Cause::Exited);
    }

    pub(super) fn pauses(&mut self, job: usize, at: Duration, uid: u32) {
        let wall = self.wall(at);
        self.jobs.pause(self.job(job), wall, uid);
    }

    /// Removes the running job from the configuration.
    pub(super) fn removes_running(&mut self) {
        let (job, index, _) = self.running.as_mut().unwrap();
        let others = self.jobs.definitions().iter();
        let others: Vec<Rc<Job>> = others.filter(|other| *other != job).cloned().collect();
        let moves = self.jobs.reload(others, self.t0);
        *index = index.and_then(|was| moves.to(was));
        assert_eq!(*index, None);
    }

    /// Queues a report. With a `failure`, the try to send it fails.
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
            stdout: Vec::new().into(),
            stderr: Vec::new().into(),
        };
        let origin = Origin {
            from: "a@example.com",
            host: "build1",
            name: None,
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
        let running = self.running.as_ref().map(|(job, index, began)| Running {
            index: *index,
            job,
            pid: 20_417,
            began: self.at(*began),
            late: self.late,
            refusal: self.refusal,
        });
        View {
            now: self.at(at),
            started: self.at(s(0)),
            configured: self.at(s(0)),
            doing: self.doing,
            pid: 4_711,
            host: "build1",
            file: Path::new("/etc/a\n.conf"),
            config: &self.config,
            jobs: &self.jobs,
            running,
            queue: &self.queue,
            counters: &self.counters,
            lines_dropped: self.lines_dropped,
            not_listening: self.not_listening,
            lease: self.lease,
        }
    }
}
