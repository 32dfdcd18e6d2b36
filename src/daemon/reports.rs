//! Decides which runs are reported: failures, recoveries and stuck runs, as far as `mailinterval` lets them through.
//! How a report is delivered is the mailer's business.

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use super::Daemon;
use super::runs::Ended;
use crate::clock::Moment;
use crate::config::Job;
use crate::event::{Decision as Decided, Event};
use crate::job::throttle::Decision;
use crate::mail::report::{self, Kind, Origin, Report, Waiting};
use crate::message::Level;

/// How many of those who wait for a stuck run its report names.
const WAITERS_NAMED: usize = 20;

impl Daemon {
    pub(super) fn report_failure(&mut self, ended: Ended, now: Moment) {
        let job = &ended.job;
        let interval = self.config.mail_interval(job);
        let decision = ended.index.map_or(Decision::Mail(None), |index| {
            let row = self.jobs.timing(index).failures;
            let throttle = self.jobs.throttle(index);
            throttle.failed(&ended.outcome.word(), row, interval, now)
        });
        let Decision::Mail(repeat) = decision else {
            let decided = Decided::NotMailing(&job.name);
            self.log.tell(&Event::Decision(decided));
            return;
        };
        let run = about(job, ended.began.wall, ended.took);
        let failed = report::Failed {
            outcome: &ended.outcome,
            repeat,
            stdout: ended.stdout.into_kept(),
            stderr: ended.stderr.into_kept(),
        };
        let report = Report::failure(&run, failed, &self.origin(now.wall));
        self.send_report(report, job, Level::Warning, now);
    }

    pub(super) fn report_recovery(&mut self, ended: &Ended, now: Moment) {
        let job = &ended.job;
        let interval = self.config.mail_interval(job);
        let throttle = ended.index.map(|index| self.jobs.throttle(index));
        let recovery = throttle.and_then(|throttle| throttle.succeeded(interval, now.instant));
        let Some(recovery) = recovery else {
            return;
        };
        let run = about(job, ended.began.wall, ended.took);
        let report = Report::recovered(&run, &recovery, &self.origin(now.wall));
        self.send_report(report, job, Level::Info, now);
    }

    pub(super) fn report_stuck(&mut self, now: Moment) {
        let Some(run) = &mut self.run else { return };
        run.stuck_reported = true;
        let (job, pid, began) = (Rc::clone(&run.job), run.pid, run.began);
        let waiting = self.who_waits(now);
        self.log.tell(&Event::Stuck {
            job: &job.name,
            after: job.settings.stuckafter,
            pid: pid.as_raw(),
            waiting: &waiting.all,
        });
        let run = about(&job, began.wall, now.since(began));
        let pid = u32::try_from(pid.as_raw()).unwrap_or(0);
        let report = Report::stuck(
            &run,
            job.settings.stuckafter,
            pid,
            &waiting,
            &self.origin(now.wall),
        );
        self.send_report(report, &job, Level::Error, now);
        self.changed();
    }

    fn who_waits(&self, now: Moment) -> Waiting {
        let view = self.view(now);
        let (first, more) = view.waiters(WAITERS_NAMED);
        let first = first.into_iter();
        Waiting {
            all: view.who_waits(),
            first: first.map(|(name, time)| (name.to_string(), time)).collect(),
            more,
        }
    }

    /// Makes the next failure of the same kind be mailed at once, for each of these lost reports. It passes over the
    /// jobs once for any number of reports.
    pub(super) fn forget_mailed(&mut self, reports: &[Rc<Report>]) {
        let failures = reports.iter().filter_map(|report| match report.kind() {
            Kind::Failure(word) => Some((report.job(), &**word)),
            _ => None,
        });
        self.jobs.reports_lost(failures);
    }

    fn origin(&mut self, now: SystemTime) -> Origin<'_> {
        self.reports += 1;
        Origin {
            from: &self.config.fromaddress,
            host: &self.host,
            name: self.config.name.as_deref(),
            pid: std::process::id(),
            number: self.reports,
            now,
        }
    }
}

/// A run of `job`, as a report describes it.
fn about(job: &Job, started: SystemTime, took: Duration) -> report::Run<'_> {
    report::Run {
        job: &job.name,
        command: &job.command,
        started,
        took,
    }
}
