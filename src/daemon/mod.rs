//! The daemon: it owns all state and the only loop, and tells the pure modules the time. They decide what to do; this
//! file and the others in this folder do it. Jobs and deliveries are started in one place, at the top of a turn;
//! everything else only changes state. This file also holds what each signal does, and when `Scheduling` is logged.

mod announcement;
mod commands;
mod holds;
mod kept;
mod lease;
mod mailer;
mod ready;
mod reload;
mod reports;
mod runs;
mod serving;
mod showing;
mod socket;
mod source;
mod stop;
mod stream;
mod waiters;
mod web;

use std::collections::HashSet;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use mio::unix::SourceFd;
use mio::{Events, Interest, Poll};

use crate::clock::Moment;
use crate::config::{Config, Job, Sequencer};
use crate::event::{Decision, Event};
use crate::job::jobs::{Index, Jobs};
use crate::mail::report::Report;
use crate::message::Level;
use crate::status::{Counters, Running, View, table};
use crate::system;
use crate::system::control;
use crate::system::errors;
use crate::system::http;
use crate::system::log::Log;
use crate::system::notify::Supervisor;
use crate::system::process::{self, Spawner};
use crate::system::signals::{Signal, Signals};
use crate::text::harmless;

use announcement::Announcement;
pub use holds::Holds;
use kept::Files;
use lease::Held;
use mailer::{Lost, Mailer};
use ready::Ready;
use runs::Run;
use showing::Showing;
pub use source::Source;
use stop::{LastWords, Phase};
use waiters::Waiters;
use web::Missing;
pub use web::bind;

/// How many events one turn takes from the kernel: those of all sources, so that they are served in `Ready`'s order.
const EVENTS: usize = ready::SOURCES;
/// How many bytes one read takes.
const READ_SIZE: usize = 64 * 1024;
/// How often one turn reads one pipe, so that a chatty job starves neither signals nor mail.
const READS_PER_TURN: usize = 16;

/// The warnings that have been logged, so that a reload does not repeat them.
#[derive(Debug, Default)]
struct Warned(HashSet<String>);

impl Warned {
    /// Those of `warnings` that are new.
    fn news(&mut self, warnings: Vec<String>) -> Vec<String> {
        let before = std::mem::replace(&mut self.0, warnings.iter().cloned().collect());
        let is_news = |warning: &String| !before.contains(warning);
        warnings.into_iter().filter(is_news).collect()
    }
}

/// What runs and deliveries need of the operating system.
#[derive(Debug)]
struct Os {
    poll: Poll,
    spawner: Spawner,
    /// The buffer for every read of a pipe.
    buffer: Vec<u8>,
}

/// All state of a running daemon.
#[derive(Debug)]
pub struct Daemon {
    source: Source,
    config: Sequencer,
    jobs: Jobs,
    log: Log,
    run: Option<Run>,
    mailer: Mailer,
    phase: Phase,
    /// After a signal to stop: the moment from which on the log is not waited for any longer.
    stop_by: Option<Instant>,
    /// Lines about the start that are still to be logged.
    announcement: Option<Announcement>,
    /// Lines about the end that are still to be logged.
    last_words: Option<LastWords>,
    /// The next job, and its due time, that the log announced last.
    announced: Option<(Index, Instant)>,
    reports: u64,
    host: String,
    /// The configuration file's absolute path.
    file: PathBuf,
    started: Moment,
    configured: Moment,
    counters: Counters,
    files: Files,
    /// Without one, nothing limits the time.
    lease: Option<Held>,
    control: control::Server,
    http: http::Server,
    /// An address for HTTP that could not be had.
    missing: Option<Missing>,
    waiters: Waiters,
    showing: Showing,
    /// The warnings about the configuration that have been logged.
    warnings: Warned,
    signals: Signals,
    supervisor: Supervisor,
    os: Os,
    /// Released last of all: a daemon that waits for it may start only when nothing of this one is left.
    holds: Holds,
}

impl Daemon {
    /// A daemon that has loaded its configuration, opened its log and tried to bind `listener`. It has announced its
    /// start, with these warnings about the configuration. The error says what the system refused. It has a box, since
    /// each function that it is handed through would have it on its stack once more, for ever.
    pub fn new(
        source: Source,
        config: Config,
        log: Log,
        mut holds: Holds,
        mut signals: Signals,
        listener: Option<io::Result<TcpListener>>,
        warnings: Vec<String>,
    ) -> Result<Box<Daemon>, String> {
        let refused =
            |what: &str, error: io::Error| format!("cannot {what}: {}", errors::error_text(&error));
        let poll = Poll::new().map_err(|e| refused("create an epoll instance", e))?;
        signals
            .register(poll.registry(), Ready::Signal(0).token())
            .map_err(|e| refused("watch signals", e))?;
        let spawner = Spawner::new().map_err(|e| refused("prepare for starting jobs", e.into()))?;
        let Config { sequencer, jobs } = config;
        let lease = Held::watch(&sequencer, poll.registry())
            .map_err(|e| refused("make a timer for the lease", e))?;
        let now = system::now();
        let file = source.file().path;
        let state = kept::read_state(&sequencer, now.wall);
        let mut jobs = Jobs::restored(jobs, &state, now);
        let mut files = Files::default();
        let history = files.open_history(&sequencer, &mut jobs);
        let unlocked = holds.take_warnings();
        let mut daemon = Box::new(Daemon {
            source,
            jobs,
            config: sequencer,
            log,
            run: None,
            mailer: Mailer::new(),
            phase: Phase::Working,
            stop_by: None,
            announcement: None,
            last_words: None,
            announced: None,
            reports: 0,
            host: host_name(),
            file,
            started: now,
            configured: now,
            counters: Counters::default(),
            files,
            lease,
            control: control::Server::new(Ready::Client(0).token()),
            http: http::Server::new(Ready::HttpClient(0).token()),
            missing: None,
            waiters: Waiters::default(),
            showing: Showing::default(),
            warnings: Warned::default(),
            signals,
            supervisor: Supervisor::from_environment(now.instant),
            os: Os {
                poll,
                spawner,
                buffer: vec![0; READ_SIZE],
            },
            holds,
        });
        let files = unlocked.into_iter().chain(state.warning).chain(history);
        daemon.begin(listener, warnings, files)?;
        Ok(daemon)
    }

    /// Opens its sockets, and begins to log: the jobs, then what could not be had. `files` are the warnings about files.
    fn begin(
        &mut self,
        listener: Option<io::Result<TcpListener>>,
        warnings: Vec<String>,
        files: impl Iterator<Item = String>,
    ) -> Result<(), String> {
        self.watch_log();
        let control = self.open_control()?.map(|line| format!("{line}."));
        let http = self.open_http(listener, self.started.instant);
        self.open_files();
        self.announce_start(warnings);
        for line in files {
            self.log.tell(&Event::Warning(&line));
        }
        if let Some(line) = control {
            self.log.tell(&Event::Control(Level::Info, &line));
        }
        if let Some(line) = http {
            self.log.tell(&Event::Http(Level::Warning, &line));
        }
        self.go_on_announcing();
        Ok(())
    }

    /// Runs until a signal ends it, or the end of its lease.
    pub fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        let mut ready = Vec::with_capacity(EVENTS);
        self.supervisor.ready(Instant::now());
        loop {
            let now = system::now();
            self.act_on_deadlines(now);
            self.start_what_is_due(now);
            self.act_on_files(now);
            self.serve(now);
            self.go_on_announcing();
            self.say_last_words();
            self.log.flush(now.instant, now.wall);
            self.write_answers(now);
            if self.is_over() {
                break;
            }
            let timeout = self
                .deadline(now)
                .map(|at| at.saturating_duration_since(Instant::now()));
            self.set_lease_timer(timeout);
            match self.os.poll.poll(&mut events, timeout) {
                Ok(()) => self.dispatch(&events, &mut ready),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => self.log.tell(&Event::Fault(&error.to_string())),
            }
        }
    }

    /// Dispatches what is ready, in the order of `Ready`.
    fn dispatch(&mut self, events: &Events, ready: &mut Vec<(Ready, bool)>) {
        ready.clear();
        let of = events
            .iter()
            .map(|event| (Ready::of(event.token()), event.is_read_closed()));
        ready.extend(of.filter_map(|(ready, closed)| Some((ready?, closed))));
        sort(ready);
        for &(ready, closed) in &*ready {
            match ready {
                Ready::Lease => self.lease_rang(),
                Ready::Stdout | Ready::Stderr => {
                    if let Some(run) = &mut self.run {
                        run.event(ready, closed, &mut self.os, &mut self.log);
                    }
                }
                Ready::MailInput | Ready::MailOutput => self.mailer.event(ready, &mut self.os),
                Ready::Log => self.log.flush_ready(Instant::now(), SystemTime::now()),
                Ready::Client(slot) => self.control.clients.client_event(slot, Instant::now()),
                Ready::HttpClient(slot) => self.http.clients.client_event(slot, Instant::now()),
                Ready::Listener => {
                    let registry = self.os.poll.registry();
                    self.control.clients.accept(registry, Instant::now());
                }
                Ready::HttpListener => {
                    let registry = self.os.poll.registry();
                    self.http.clients.accept(registry, Instant::now());
                }
                Ready::Signal(index) => {
                    if let Some(signal) = self.signals.take(index) {
                        self.handle_signal(signal);
                    }
                }
            }
        }
    }

    fn handle_signal(&mut self, signal: Signal) {
        let now = system::now();
        match signal {
            Signal::Hangup => self.hangup(now),
            Signal::Terminate => self.stop("SIGTERM", now),
            Signal::Interrupt => self.stop("SIGINT", now),
            Signal::Quit => self.drain(now),
            Signal::User1 => self.rotate_log(),
            Signal::User2 => {
                let table = table::table(&self.view_with_lease(now), false);
                self.log.tell(&Event::Status(&table));
            }
            Signal::Child => self.reap(),
        }
    }

    fn reap(&mut self) {
        loop {
            let job = self.run.as_ref().map(|run| run.pid);
            let mail = self.mailer.pid();
            let ours: Vec<_> = job.into_iter().chain(mail).collect();
            let Some((pid, exit)) = process::reap(&ours, |pid| self.signals.killed(pid)) else {
                return;
            };
            let now = system::now();
            if Some(pid) == job {
                if let Some(run) = &mut self.run {
                    run.reaped(exit, &mut self.os, &mut self.log, now);
                }
            } else if Some(pid) == mail {
                let lost = self
                    .mailer
                    .reaped(exit, &mut self.os, &mut self.log, now.instant);
                self.delivery_over(&lost);
            } else {
                let decision = Decision::ReapedOrphan(pid.as_raw());
                self.log.tell(&Event::Decision(decision));
            }
        }
    }

    /// Starts the job and the delivery that are due. Nothing else starts any.
    fn start_what_is_due(&mut self, now: Moment) {
        if self.phase.starts_mail() && self.mailer.is_due(now.instant) && self.may_go_on(now) {
            let (config, os, log) = (&self.config, &mut self.os, &mut self.log);
            let over = self.mailer.start(config, os, log, now.instant);
            if let Some(lost) = over {
                self.delivery_over(&lost);
            }
        }
        if self.run.is_some() || !self.phase.starts_jobs() {
            return;
        }
        self.announce(now);
        if let Some(next) = self
            .jobs
            .next()
            .filter(|next| next.start(now.instant) <= now.instant)
        {
            if !self.start_run(next.job, now) {
                return;
            }
            // A run that could not be started is over already, and no event would bring the next turn.
            if self.run.is_none() {
                self.announce(now);
            }
        }
    }

    /// Logs which job is next, if that has changed. While one runs, nothing is next yet.
    fn announce(&mut self, now: Moment) {
        if self.run.is_some() || !self.phase.starts_jobs() {
            return;
        }
        let Some(next) = self.jobs.next() else {
            self.announced = None;
            return;
        };
        let start = next.start(now.instant);
        let wait = start.saturating_duration_since(now.instant);
        if self.announced != Some((next.job, next.due)) {
            self.announced = Some((next.job, next.due));
            let job = &self.jobs.job(next.job).name;
            self.log.tell(&Event::Scheduled { job, wait });
        }
    }

    /// When the next run may start, as seen at `now`; `None` while a run is under way.
    fn next_start(&self, now: Moment) -> Option<Instant> {
        if self.run.is_some() || !self.phase.starts_jobs() {
            return None;
        }
        self.jobs.next().map(|next| next.start(now.instant))
    }

    /// The earliest moment at which something has to be done although no event comes.
    fn deadline(&self, now: Moment) -> Option<Instant> {
        let next_start = self.next_start(now);
        [
            next_start,
            self.run.as_ref().and_then(Run::deadline),
            self.stuck_deadline(),
            self.mailer.deadline(self.phase.starts_mail()),
            self.log.deadline(),
            self.announces_more().then_some(now.instant),
            self.phase.deadline(),
            self.has_killed().then_some(now.instant),
            self.closing_deadline(),
            self.has_mailed().then_some(now.instant),
            self.supervisor.deadline(),
            self.files_deadline(now),
            self.control.clients.deadline(now.instant),
            self.http.clients.deadline(now.instant),
            self.http_deadline(),
            self.showing.deadline(next_start, now.instant),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn act_on_deadlines(&mut self, now: Moment) {
        // This turn may come late, because the daemon was stopped (SIGSTOP) or a disk was slow. A run that has ended
        // meanwhile has not timed out.
        let run = self.run.as_ref().and_then(Run::deadline);
        let due = [run, self.mailer.deadline(self.phase.starts_mail())];
        if due.iter().flatten().any(|&at| at <= now.instant) {
            self.reap();
        }
        self.act_on_run(now);
        let over = self.mailer.act(&mut self.os, &mut self.log, now.instant);
        if let Some(lost) = over {
            self.delivery_over(&lost);
        }
        self.act_on_phase(now);
        self.supervisor.act(now.instant);
        for clients in [&mut self.control.clients, &mut self.http.clients] {
            clients.act(self.os.poll.registry(), now.instant);
        }
        self.act_on_http(now.instant);
    }

    /// The daemon's state as the status shows it.
    fn view(&self, now: Moment) -> View<'_> {
        let running = self.run.as_ref().map(|run| Running {
            index: run.index,
            job: &run.job,
            pid: run.pid.as_raw(),
            began: run.began,
            late: run.late,
            refusal: run.refusal.as_deref(),
        });
        View {
            now,
            started: self.started,
            configured: self.configured,
            doing: self.phase.shown(),
            pid: std::process::id(),
            host: &self.host,
            file: &self.file,
            config: &self.config,
            jobs: &self.jobs,
            running,
            queue: &self.mailer.queue,
            counters: &self.counters,
            lines_dropped: self.log.lines_dropped(),
            not_listening: self.missing.as_ref().map(|missing| &*missing.why),
            lease: None,
        }
    }

    /// Sends a report to the job's recipients.
    fn send_report(&mut self, report: Report, job: &Job, level: Level, now: Moment) {
        let targets = self.config.recipients(job);
        let report = Rc::new(report);
        let log = &mut self.log;
        let lost = self.mailer.post(&report, targets, level, log, now.instant);
        self.forget_mailed(&lost);
    }

    fn delivery_over(&mut self, lost: &Lost) {
        self.changed();
        self.forget_mailed(lost);
    }

    fn rotate_log(&mut self) {
        match self.log.rotate_or_reopen(Instant::now(), SystemTime::now()) {
            Ok(true) => self.watch_log(),
            Ok(false) => self.log.tell(&Event::NothingToRotate),
            Err(error) => self.log.tell(&Event::Log(&error)),
        }
    }

    /// Registers the log's descriptor, so that the loop hears when the log takes more. A log without such a descriptor
    /// is tried again after a time.
    fn watch_log(&mut self) {
        if let Some(fd) = self.log.watchable() {
            let _ = self.os.poll.registry().register(
                &mut SourceFd(&fd.as_raw_fd()),
                Ready::Log.token(),
                Interest::WRITABLE,
            );
        }
    }
}

/// Sorts what is ready, which is seldom more than one or two: a sort of this size takes no memory and no time.
fn sort(ready: &mut [(Ready, bool)]) {
    for end in 1..ready.len() {
        let mut at = end;
        while at > 0 && ready[at - 1] > ready[at] {
            ready.swap(at - 1, at);
            at -= 1;
        }
    }
}

/// This machine's name on one line. The kernel accepts any bytes as a name.
fn host_name() -> String {
    let name = nix::unistd::gethostname().unwrap_or_default();
    match &*harmless(&name.to_string_lossy()) {
        "" => "localhost".to_string(),
        name => name.to_string(),
    }
}
