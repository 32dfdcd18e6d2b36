//! The run under way, of which there is at most one: starts it, reads its output, stops it, and makes log lines and a
//! record of its end. `job::lifecycle` decides when to signal it and when it has ended.

use std::rc::Rc;
use std::time::{Duration, Instant};

use nix::unistd::Pid;

use super::ready::Ready;
use super::stream::Stream;
use super::{Daemon, Os, READS_PER_TURN};
use crate::clock::{Moment, Stamp};
use crate::config::Job;
use crate::event::{Decision, Event, Name, Who};
use crate::exit::Exit;
use crate::job::history;
use crate::job::jobs::{End, Index};
use crate::job::lifecycle::{Action, Group, Lifecycle, Why};
use crate::job::outcome::{Brief, Cause, Outcome, Verdict};
use crate::job::output::Capture;
use crate::job::stuck;
use crate::system::log::Log;
use crate::system::process::{self, Signalled, SpawnError};

/// The run under way.
#[derive(Debug)]
pub struct Run {
    /// Its job; `None` once a reload has removed the job.
    pub index: Option<Index>,
    /// The job's definition when the run began, whatever a reload has changed since.
    pub job: Rc<Job>,
    /// The process id, which is also the process group's.
    pub pid: Pid,
    /// When it began.
    pub began: Moment,
    /// How much later than it was due.
    pub late: Duration,
    /// Where the run is between its start and its end, and what to do next.
    pub life: Lifecycle,
    /// Why its processes cannot be signalled, in the system's words, if the last signal was refused.
    pub refusal: Option<String>,
    /// Whether the log has told of that, which it does once.
    refusal_told: bool,
    stdout: Stream,
    stderr: Stream,
    /// Whether it has been reported as stuck, which happens once.
    pub(super) stuck_reported: bool,
    /// Whether the metrics file is to show it as stuck by now.
    pub(super) stuck_shown: bool,
}

/// A signal's result as the run's lifecycle understands it.
fn group(signalled: Signalled) -> Group {
    match signalled {
        Signalled::Delivered => Group::InReach,
        Signalled::Gone => Group::Gone,
        Signalled::Refused(_) => Group::OutOfReach,
    }
}

fn sending(signal: &'static str, group: Pid) -> Event<'static> {
    Event::Decision(Decision::Sending(signal, group.as_raw()))
}

/// How a run comes to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// Its process has been reaped, and its pipes are closed.
    Whole,
    /// A background process still holds a pipe open, so that we have to close it.
    PipesKept,
    /// A process of its does not die of SIGKILL.
    LeftBehind,
}

/// How a run is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// SIGTERM, and SIGKILL after `killdelay`.
    InOrder,
    /// SIGKILL.
    AtOnce,
}

/// A run that has ended: what its log line, its report and its record need.
pub(super) struct Ended {
    pub(super) index: Option<Index>,
    pub(super) job: Rc<Job>,
    pub(super) outcome: Outcome,
    pub(super) began: Moment,
    pub(super) late: Duration,
    pub(super) took: Duration,
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
}

impl Ended {
    /// A run whose command could not be started. The system's words stand for its error output.
    fn not_started(
        index: Index,
        job: Rc<Job>,
        error: &SpawnError,
        late: Duration,
        now: Moment,
    ) -> Ended {
        let why = error.to_string();
        let mut stderr = Capture::new(job.settings.maxoutput);
        stderr.push(why.as_bytes());
        stderr.push(b"\n");
        Ended {
            index: Some(index),
            stdout: Capture::new(job.settings.maxoutput),
            job,
            outcome: Outcome {
                code: error.code,
                cause: Cause::NotStarted(why),
            },
            began: now,
            late,
            took: Duration::ZERO,
            stderr,
        }
    }

    /// The log's event for this run.
    fn event(&self) -> Event<'_> {
        Event::Completed {
            job: &self.job.name,
            outcome: &self.outcome,
            took: self.took,
            late: self.late,
        }
    }

    /// The history's entry for this run.
    fn kept(&self) -> history::Run {
        let began = Stamp::at(self.began.wall);
        history::Run::new(began, self.took, self.late, Brief::of(&self.outcome))
    }
}

impl Run {
    fn stream(&mut self, output: Ready) -> &mut Stream {
        if output == Ready::Stdout {
            &mut self.stdout
        } else {
            &mut self.stderr
        }
    }

    /// Handles an event of one of its pipes, which is readable, or `closed` at the other end.
    pub(super) fn event(&mut self, output: Ready, closed: bool, os: &mut Os, log: &mut Log) {
        self.stream(output).hung_up |= closed;
        self.read(output, os, log);
    }

    /// Reads one of its pipes, within bounds.
    fn read(&mut self, output: Ready, os: &mut Os, log: &mut Log) {
        let job = Rc::clone(&self.job);
        let closed = self.stream(output).read(&job.name, &mut os.buffer, log);
        if closed {
            self.life.pipe_closed();
        }
    }

    /// Reads both pipes until they are empty, even if no event said that there is more.
    fn read_to_the_end(&mut self, os: &mut Os, log: &mut Log) {
        for output in [Ready::Stdout, Ready::Stderr] {
            self.stream(output).reaped();
            self.read(output, os, log);
        }
    }

    /// Notes that its process has been reaped.
    pub(super) fn reaped(&mut self, exit: Exit, os: &mut Os, log: &mut Log, now: Moment) {
        self.life.reaped(exit, now.instant);
        // The process has just closed its ends of the pipes. Reading now saves a turn.
        self.read_to_the_end(os, log);
        log.tell(&Event::Decision(Decision::Reaped(exit.code())));
    }

    /// When `act` has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        if self.stdout.more || self.stderr.more {
            return Some(self.began.instant);
        }
        self.life.deadline()
    }

    /// Does what is due at `now`. `Some` means that the run has ended.
    pub(super) fn act(&mut self, os: &mut Os, log: &mut Log, now: Moment) -> Option<Over> {
        for output in [Ready::Stdout, Ready::Stderr] {
            if self.stream(output).more {
                self.read(output, os, log);
            }
        }
        let pid = self.pid;
        loop {
            let look = || group(process::look_at(pid));
            match self.life.next(now.instant, look)? {
                Action::Terminate => {
                    log.tell(&sending("SIGTERM", pid));
                    self.signalled(process::terminate(pid), log);
                }
                Action::Kill => {
                    log.tell(&sending("SIGKILL", pid));
                    self.signalled(process::kill(pid, self.life.is_running()), log);
                }
                Action::End { pipes_kept: false } => return Some(Over::Whole),
                Action::End { pipes_kept: true } => return Some(Over::PipesKept),
                Action::LeaveBehind => {
                    log.tell(&self.unkillable(true));
                    return Some(Over::LeftBehind);
                }
            }
        }
    }

    /// Kills what is left in the group of a run whose own process has ended by itself. Otherwise only its pipes would be
    /// waited for.
    pub(super) fn kill_rest(&self, log: &mut Log) {
        if !self.life.is_running() && self.life.stopping().is_none() {
            log.tell(&sending("SIGKILL", self.pid));
            process::kill(self.pid, false);
        }
    }

    /// Notes whether a signal reached anybody.
    fn signalled(&mut self, signalled: Signalled, log: &mut Log) {
        self.life.signalled(group(signalled));
        self.refusal = signalled.refusal();
        if self.refusal.is_some() && !self.refusal_told {
            log.tell(&self.unkillable(false));
            self.refusal_told = true;
        }
    }

    /// What is left of the run does not end; it is `left` behind, or waited for.
    fn unkillable(&self, left: bool) -> Event<'_> {
        let job = &self.job.name;
        let who = match self.life.is_running() {
            true => Who::Run(job),
            false => Who::Rest(job),
        };
        let (pid, why) = (self.pid.as_raw(), self.refusal.as_deref());
        Event::Unkillable {
            who,
            pid,
            why,
            left,
        }
    }

    /// Ends the run, whatever state it is in.
    pub(super) fn end(mut self, over: Over, os: &mut Os, log: &mut Log, now: Moment) -> Ended {
        if self.stdout.is_open() || self.stderr.is_open() {
            // Read what is still in a pipe before it is closed: it belongs to the run. That may be more than one turn reads.
            for _ in 0..READS_PER_TURN {
                self.read_to_the_end(os, log);
                if !self.stdout.more && !self.stderr.more {
                    break;
                }
            }
            for stream in [&mut self.stdout, &mut self.stderr] {
                stream.finish_lines(&self.job.name, log);
            }
        }
        if over == Over::PipesKept {
            let job = &self.job.name;
            log.tell(&Event::Background { job });
        }
        Ended {
            index: self.index,
            job: self.job,
            outcome: self.life.outcome(),
            began: self.began,
            late: self.late,
            took: now.since(self.began),
            stdout: self.stdout.capture,
            stderr: self.stderr.capture,
        }
    }
}

impl Daemon {
    /// Starts a run. Returns false only if the lease has run out; a command that cannot be started makes a run that is
    /// over already.
    pub(super) fn start_run(&mut self, index: Index, now: Moment) -> bool {
        let job = Rc::clone(self.jobs.job(index));
        let argv = job.argv();
        // Nothing that can take time comes between this look at the clock and the start.
        if !self.may_go_on(now) {
            return false;
        }
        let spawned = self.spawn_run(&job, &argv);
        self.announced = None;
        let late = self.jobs.begin(index, now);
        self.waiters.run_begins(&job.name);
        self.log.tell(&Event::Started {
            job: &job.name,
            pid: spawned.as_ref().ok().map(|(pid, ..)| pid.as_raw()),
            late,
        });
        match spawned {
            Ok((pid, stdout, stderr)) => {
                let settings = &job.settings;
                let life = Lifecycle::new(now.instant, settings.timeout, settings.killdelay);
                self.run = Some(Run {
                    index: Some(index),
                    job,
                    pid,
                    began: now,
                    late,
                    life,
                    refusal: None,
                    refusal_told: false,
                    stdout,
                    stderr,
                    stuck_reported: false,
                    stuck_shown: false,
                });
                self.changed();
            }
            Err(error) => self.run_over(Ended::not_started(index, job, &error, late, now), now),
        }
        true
    }

    fn spawn_run(
        &mut self,
        job: &Job,
        argv: &[String],
    ) -> Result<(Pid, Stream, Stream), SpawnError> {
        let started = self.os.spawner.job(argv)?;
        let registry = self.os.poll.registry();
        let stdout = Stream::open(started.stdout, Ready::Stdout, job, registry);
        let stderr = Stream::open(started.stderr, Ready::Stderr, job, registry);
        match (stdout, stderr) {
            (Ok(stdout), Ok(stderr)) => Ok((started.pid, stdout, stderr)),
            (Err(error), _) | (_, Err(error)) => {
                // Nobody can watch this process, so it must not go on. It is reaped like an orphan.
                process::kill(started.pid, true);
                Err(error.into())
            }
        }
    }

    pub(super) fn act_on_run(&mut self, now: Moment) {
        if self.stuck_deadline().is_some_and(|at| now.instant >= at) {
            self.report_stuck(now);
        }
        let Some(run) = &mut self.run else { return };
        let was_refused = run.refusal.is_some();
        let over = run.act(&mut self.os, &mut self.log, now);
        if run.refusal.is_some() != was_refused {
            self.changed();
        }
        if let Some(over) = over {
            self.end_run(over, now);
        }
    }

    /// Ends the run under way, whatever state it is in.
    fn end_run(&mut self, over: Over, now: Moment) {
        if let Some(run) = self.run.take() {
            let ended = run.end(over, &mut self.os, &mut self.log, now);
            self.run_over(ended, now);
        }
    }

    /// Records, logs and reports the end of a run, also of one that could not be started.
    fn run_over(&mut self, ended: Ended, now: Moment) {
        self.log.tell(&ended.event());
        if ended.job.settings.alwayslog {
            self.log_output(&ended.job, Name::Stdout, &ended.stdout);
            self.log_output(&ended.job, Name::Stderr, &ended.stderr);
        }
        let run = ended.kept();
        if let Some(index) = ended.index {
            let (stdout, stderr) = (ended.stdout.missing(), ended.stderr.missing());
            let end = End {
                outcome: &ended.outcome,
                took: ended.took,
                left_out: stdout.saturating_add(stderr),
            };
            self.jobs.end(index, end, now);
            if ended.outcome.verdict() == Verdict::Failure {
                let (stdout, stderr) = (&ended.stdout, &ended.stderr);
                self.jobs.keep_tail(index, run, stdout, stderr);
            }
        }
        self.jobs
            .remember(ended.index, &ended.job, run, now.instant);
        self.files.ran(&ended.job.name, &run);
        self.tell_waiters(&ended, now);
        self.changed();
        match ended.outcome.verdict() {
            Verdict::Failure => self.report_failure(ended, now),
            Verdict::Success => self.report_recovery(&ended, now),
            Verdict::Neither => {}
        }
    }

    /// Sends the run's output to the clients that wait for it.
    fn tell_waiters(&mut self, ended: &Ended, now: Moment) {
        let job = &ended.job.name;
        if !self.waiters.wait_for(job) {
            return;
        }
        let mut output = Vec::new();
        ended.stdout.append_to(&mut output);
        ended.stderr.append_to(&mut output);
        let code = ended.outcome.status();
        let line = ended.event().to_string();
        self.waiters
            .run_ended(job, code, &line, &output, &mut self.control, now);
    }

    fn log_output(&mut self, job: &Job, stream: Name, output: &Capture) {
        let gap = output.gap();
        self.log.tell(&Event::Output {
            job: &job.name,
            stream,
            parts: output.parts(&gap),
            missing: output.missing(),
        });
    }

    /// When the run under way has to be reported as stuck, unless it has been.
    pub(super) fn stuck_deadline(&self) -> Option<Instant> {
        let run = self.run.as_ref();
        let run = run.filter(|run| !run.stuck_reported && run.life.is_running())?;
        stuck::report_at(
            &run.job.settings,
            run.began.instant,
            self.jobs.next_behind(),
        )
    }

    /// Stops the run under way, if there is one that has not ended by now.
    pub(super) fn stop_run(&mut self, why: Why, haste: Haste, now: Moment) {
        self.reap();
        let Some(run) = &mut self.run else { return };
        match haste {
            Haste::InOrder => run.life.stop(why, now.instant),
            Haste::AtOnce => run.life.kill(why, now.instant),
        }
        self.act_on_run(now);
    }
}
