//! One run at a time: started, read, stopped, and turned into log lines and a record.

use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use mio::event::Event;
use mio::unix::pipe::Receiver;
use mio::{Interest, Registry, Token};
use nix::unistd::Pid;

use super::{Daemon, JOB_STDERR, JOB_STDOUT, READS_PER_TURN, delays, say};
use crate::config::Job;
use crate::life::{Action, Exit, Life, Why};
use crate::log::Level;
use crate::outcome::{Cause, Outcome, Verdict};
use crate::output::{Capture, LineSplitter};
use crate::process::{self, SpawnError};

/// A command that could not even be started is not tried again sooner, whatever its `mindelay`.
const LEAST_DELAY_AFTER_FAILED_START: Duration = Duration::from_secs(1);

/// The run under way.
#[derive(Debug)]
pub struct Run {
    /// The job's place in the configuration; `None` once a reload has removed it.
    pub place: Option<usize>,
    /// The job as it was when the run began, whatever a reload has made of it since.
    pub job: Rc<Job>,
    /// Its process, and its process group.
    pub pid: Pid,
    /// When it began, by the wall clock.
    pub wall: SystemTime,
    /// When it began.
    pub started: Instant,
    /// How it goes on.
    pub life: Life,
    stdout: Stream,
    stderr: Stream,
    /// Whether it has been reported as stuck, which is done once.
    pub(super) stuck_reported: bool,
}

/// One of a run's outputs on its way to log and mail.
#[derive(Debug)]
struct Stream {
    pipe: Option<Receiver>,
    capture: Capture,
    lines: Option<LineSplitter>,
    /// The pipe was left before it was empty, for the sake of others; no event will tell of the rest.
    more: bool,
    /// Nobody is left to write to it, as far as is known: no event will tell of the end either.
    hung_up: bool,
    /// It has been full, and was given more room.
    widened: bool,
}

/// What is left of a run that has ended.
pub(super) struct Ended {
    pub(super) place: Option<usize>,
    pub(super) job: Rc<Job>,
    pub(super) outcome: Outcome,
    pub(super) wall: SystemTime,
    pub(super) took: Duration,
    pub(super) stdout: Capture,
    pub(super) stderr: Capture,
}

impl Run {
    fn stream(&mut self, token: Token) -> &mut Stream {
        if token == JOB_STDOUT {
            &mut self.stdout
        } else {
            &mut self.stderr
        }
    }
}

impl Stream {
    fn open(fd: OwnedFd, token: Token, job: &Job, registry: &Registry) -> std::io::Result<Stream> {
        let mut pipe = Receiver::from(fd);
        registry.register(&mut pipe, token, Interest::READABLE)?;
        Ok(Stream {
            pipe: Some(pipe),
            capture: Capture::new(job.settings.maxoutput),
            lines: job.settings.livelog.then(LineSplitter::new),
            more: false,
            hung_up: false,
            widened: false,
        })
    }
}

impl Daemon {
    pub(super) fn start_run(&mut self, place: usize, now: Instant) {
        let Some(job) = self.config.jobs.get(place).map(Rc::clone) else {
            return;
        };
        let wall = SystemTime::now();
        let late = self.schedule.begin(place, now);
        self.records[place].began(wall, late);
        self.waiters_run_begins(&job.name);
        self.say(Level::Info, &format!("Running {}", job.name));
        match self.spawn_run(&job) {
            Ok((pid, stdout, stderr)) => {
                let life = Life::new(now, job.settings.timeout, job.settings.killdelay);
                let place = Some(place);
                let run = Run {
                    place,
                    job,
                    pid,
                    wall,
                    started: now,
                    life,
                    stdout,
                    stderr,
                    stuck_reported: false,
                };
                self.run = Some(run);
                self.changed();
            }
            Err(error) => {
                let why = error.to_string();
                let mut stderr = Capture::new(job.settings.maxoutput);
                stderr.push(why.as_bytes());
                stderr.push(b"\n");
                let stdout = Capture::new(job.settings.maxoutput);
                let outcome = Outcome {
                    code: error.code,
                    cause: Cause::NotStarted(why),
                };
                let place = Some(place);
                self.run_over(
                    Ended {
                        place,
                        job,
                        outcome,
                        wall,
                        took: Duration::ZERO,
                        stdout,
                        stderr,
                    },
                    now,
                );
            }
        }
    }

    fn spawn_run(&mut self, job: &Job) -> Result<(Pid, Stream, Stream), SpawnError> {
        let started = self.spawner.job(&job.argv())?;
        let registry = self.poll.registry();
        let stdout = Stream::open(started.stdout, JOB_STDOUT, job, registry);
        let stderr = Stream::open(started.stderr, JOB_STDERR, job, registry);
        match (stdout, stderr) {
            (Ok(stdout), Ok(stderr)) => Ok((started.pid, stdout, stderr)),
            (Err(error), _) | (_, Err(error)) => {
                // Nobody could watch it, so it must not go on; it is reaped like an orphan.
                process::kill(started.pid);
                Err(error.into())
            }
        }
    }

    /// An event of one of the run's pipes.
    pub(super) fn run_event(&mut self, event: &Event) {
        let token = event.token();
        let Some(run) = &mut self.run else { return };
        run.stream(token).hung_up |= event.is_read_closed();
        self.read_run(token);
    }

    /// Reads what one of the run's pipes holds, within bounds.
    fn read_run(&mut self, token: Token) {
        let Some(run) = &mut self.run else { return };
        let job = Rc::clone(&run.job);
        let name = job.name.as_bytes();
        let stream = run.stream(token);
        let Some(pipe) = &mut stream.pipe else { return };
        stream.more = false;
        // Logged as they are cut: a turn's lines are too many to be kept.
        let mut live = |line: &[u8]| say(&mut self.log, Level::Info, &[name, b": ", line]);
        let mut closed = false;
        for turn in 0.. {
            if turn == READS_PER_TURN {
                stream.more = true;
                break;
            }
            match pipe.read(&mut self.buffer) {
                Ok(0) => closed = true,
                Ok(n) => {
                    stream.capture.push(&self.buffer[..n]);
                    if let Some(lines) = &mut stream.lines {
                        lines.push(&self.buffer[..n], &mut live);
                    }
                    if n == self.buffer.len() && !stream.widened {
                        stream.widened = true;
                        process::widen(&*pipe);
                    }
                    // Less than was asked for: it is empty, and what comes next is an event (epoll(7)).
                    if n == self.buffer.len() || stream.hung_up {
                        continue;
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => closed = error.kind() != ErrorKind::WouldBlock,
            }
            break;
        }
        if closed {
            if let Some(lines) = &mut stream.lines {
                lines.finish(&mut live);
            }
            stream.pipe = None;
            run.life.pipe_closed();
        }
    }

    /// Reads both pipes until they are empty, also where no event said that there is more.
    fn read_to_the_end(&mut self) {
        for token in [JOB_STDOUT, JOB_STDERR] {
            if let Some(run) = &mut self.run {
                run.stream(token).hung_up = true;
            }
            self.read_run(token);
        }
    }

    pub(super) fn run_reaped(&mut self, exit: Exit, now: Instant) {
        if let Some(run) = &mut self.run {
            run.life.reaped(exit, now);
        }
        // Its end of the pipes has just been closed: reading now saves a turn.
        self.read_to_the_end();
        self.spew(|| format!("Reaped the run's process, exit code {}", exit.code()));
    }

    pub(super) fn run_deadline(&self) -> Option<Instant> {
        let run = self.run.as_ref()?;
        if run.stdout.more || run.stderr.more {
            return Some(run.started);
        }
        [run.life.deadline(), self.stuck_deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    pub(super) fn act_on_run(&mut self, now: Instant) {
        for (token, more) in self.run.as_ref().map_or([(JOB_STDOUT, false); 2], |run| {
            [(JOB_STDOUT, run.stdout.more), (JOB_STDERR, run.stderr.more)]
        }) {
            if more {
                self.read_run(token);
            }
        }
        if self.stuck_deadline().is_some_and(|at| now >= at) {
            self.report_stuck(now);
        }
        while let Some(run) = &mut self.run {
            let pid = run.pid;
            match run.life.next(now, || process::group_exists(pid)) {
                None => return,
                Some(Action::Terminate) => {
                    self.spew(|| format!("Sending SIGTERM to process group {pid}"));
                    process::terminate(pid);
                }
                Some(Action::Kill) => {
                    self.spew(|| format!("Sending SIGKILL to process group {pid}"));
                    process::kill(pid);
                }
                Some(Action::End { pipes_kept }) => self.end_run(pipes_kept, now),
            }
        }
    }

    /// Ends the run under way, whatever state it is in.
    pub(super) fn end_run(&mut self, pipes_kept: bool, now: Instant) {
        // What a pipe that is about to be closed still holds belongs to the run.
        if pipes_kept {
            self.read_to_the_end();
        }
        let Some(mut run) = self.run.take() else {
            return;
        };
        if pipes_kept {
            let name = &run.job.name;
            for lines in [&mut run.stdout.lines, &mut run.stderr.lines] {
                let mut live = |line: &[u8]| {
                    say(&mut self.log, Level::Info, &[name.as_bytes(), b": ", line]);
                };
                if let Some(lines) = lines {
                    lines.finish(&mut live);
                }
            }
            // A process that SIGKILL has not ended is told of by who leaves it behind.
            if !run.life.is_running() {
                let line = format!(
                    "Job {name} has ended, but a background process keeps its output open; closing it and going on."
                );
                self.say(Level::Warning, &line);
            }
        }
        let ended = Ended {
            place: run.place,
            job: run.job,
            outcome: run.life.outcome(),
            wall: run.wall,
            took: now.saturating_duration_since(run.started),
            stdout: run.stdout.capture,
            stderr: run.stderr.capture,
        };
        self.run_over(ended, now);
    }

    /// The end of every run, also of one that never began.
    fn run_over(&mut self, ended: Ended, now: Instant) {
        let verdict = ended.outcome.verdict();
        let level = if verdict == Verdict::Failure {
            Level::Warning
        } else {
            Level::Info
        };
        self.say(
            level,
            &format!(
                "Job {} completed with exit code {}",
                ended.job.name, ended.outcome
            ),
        );
        if ended.job.settings.alwayslog {
            self.log_output(b"Job output was:\n", &ended.stdout);
            self.log_output(b"Job error output was:\n", &ended.stderr);
        }
        if let Some(place) = ended.place {
            let left_out = ended
                .stdout
                .missing()
                .saturating_add(ended.stderr.missing());
            self.records[place].ended(SystemTime::now(), ended.took, &ended.outcome, left_out);
            self.reschedule(place, &ended.outcome, now);
        }
        if self.is_waited_for(&ended.job.name) {
            let mut output = Vec::new();
            ended.stdout.append_to(&mut output);
            ended.stderr.append_to(&mut output);
            self.waiters_run_ended(&ended.job.name, ended.outcome.code, &output, now);
        }
        self.changed();
        match verdict {
            Verdict::Failure => self.report_failure(ended, now),
            Verdict::Success => self.report_recovery(&ended, now),
            Verdict::Neither => {}
        }
    }

    /// Puts the job back into the order, under the definition that it has now.
    fn reschedule(&mut self, place: usize, outcome: &Outcome, now: Instant) {
        let Some(job) = self.config.jobs.get(place) else {
            return;
        };
        let failed = match outcome.verdict() {
            Verdict::Success => Some(false),
            Verdict::Failure => Some(true),
            Verdict::Neither => None,
        };
        let mut delays = delays(job);
        if matches!(outcome.cause, Cause::NotStarted(_)) {
            delays.min = delays.min.max(LEAST_DELAY_AFTER_FAILED_START);
        }
        self.schedule.end(place, now, failed, &delays);
    }

    fn log_output(&mut self, heading: &[u8], output: &Capture) {
        let gap = output.gap();
        let [first, gap, older, newer] = output.parts(&gap);
        self.say_parts(Level::Info, &[heading, first, gap, older, newer, b"\n"]);
    }

    /// When the run will have to be called stuck: past its `stuckafter`, as soon as another job waits.
    fn stuck_deadline(&self) -> Option<Instant> {
        let run = self
            .run
            .as_ref()
            .filter(|run| !run.stuck_reported && run.life.is_running())?;
        let settings = &run.job.settings;
        if settings.stuckafter.is_zero() {
            return None;
        }
        let stuck = run.started + settings.stuckafter;
        if settings.stuckafter_by_hand {
            return Some(stuck);
        }
        self.schedule.next().map(|next| {
            if next.requested {
                stuck
            } else {
                stuck.max(next.due)
            }
        })
    }

    /// Stops the run under way, if there is one.
    pub(super) fn stop_run(&mut self, why: Why, now: Instant) {
        if let Some(run) = &mut self.run {
            run.life.stop(why, now);
        }
    }
}
