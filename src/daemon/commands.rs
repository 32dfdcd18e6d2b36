//! What operators ask for over the control socket: each request is carried out at once and answered, and what
//! changes anything is logged with who asked for it.

use std::time::SystemTime;

use super::{Daemon, Phase};
use crate::cli::{self, Request};
use crate::clock::Moment;
use crate::config::{CONTROL_SOCKET, ControlSocket};
use crate::exit;
use crate::job::jobs::Index;
use crate::job::lifecycle::Why;
use crate::status::{json, table};
use crate::system::control::{Asked, MAX_CLIENTS, Peer};
use crate::system::log::Level;
use crate::text::{brief, nearest};

/// A client that waits for the next run of a job.
#[derive(Debug)]
pub struct Waiter {
    client: u64,
    job: Box<str>,
    /// Whether that run is under way.
    begun: bool,
}

/// Exit status and text for the client.
type Reply = (u8, String);

impl Daemon {
    /// Listens where the configuration says. Without a socket the daemon works as well, so only a path that was
    /// set by hand is worth failing for: `Err` is the line that says why, `Ok` the one that says why not there.
    pub(super) fn open_control(&mut self) -> Result<Option<String>, String> {
        let (path, by_hand) = match &self.config.controlsocket {
            ControlSocket::Off => {
                self.control.close();
                return Ok(None);
            }
            ControlSocket::Default => (CONTROL_SOCKET.into(), false),
            ControlSocket::At(path) => (path.clone(), true),
        };
        let Err(why) = self.control.listen(&path, self.os.poll.registry()) else {
            return Ok(None);
        };
        let shown = path.display();
        if by_hand {
            return Err(format!("cannot listen on control socket '{shown}': {why}"));
        }
        Ok(Some(format!("No control socket at '{shown}': {why}")))
    }

    /// Follows the configuration to another socket, or stays where it is if that cannot be; the line that says so.
    /// That the default is still not there is no news after the start, unless it was another one that was wanted.
    pub(super) fn move_control(&mut self, wanted_before: &ControlSocket) -> Option<String> {
        let (level, mut line) = match self.open_control() {
            Ok(_) if *wanted_before == self.config.controlsocket => return None,
            Ok(line) => (Level::Info, line?),
            Err(line) => (Level::Error, line),
        };
        match self.control.path() {
            Some(path) => line.push_str(&format!("; it stays at '{}'", path.display())),
            None => line.push_str("; there is none now"),
        }
        self.log.say(level, &line);
        Some(line)
    }

    pub(super) fn client_event(&mut self, slot: usize, gone: bool, now: Moment) {
        if let Some(asked) = self.control.client_event(slot, gone, now.instant) {
            self.carry_out(&asked, now);
        }
    }

    fn carry_out(&mut self, asked: &Asked, now: Moment) {
        let reply = match cli::parse_request(&asked.line) {
            Err(error) => Some((exit::USAGE, error.to_string())),
            Ok(Request::Status { json: false }) => Some((exit::OK, table::table(&self.view(now)))),
            Ok(Request::Status { json: true }) => Some((exit::OK, json::json(&self.view(now)))),
            Ok(Request::Healthcheck { alive: true }) => {
                Some((exit::OK, "ok: the daemon answers".to_string()))
            }
            Ok(Request::Healthcheck { alive: false }) => Some(match self.view(now).health() {
                Ok(line) => (exit::OK, line),
                Err(line) => (exit::FAILURE, line),
            }),
            Ok(Request::Run { job, wait }) => self.ask_for_run(&job, wait, asked, now),
            Ok(Request::Kill(job)) => Some(self.kill_run(job.as_deref(), asked.peer, now)),
            Ok(Request::Pause(job)) => Some(self.hold(job.as_deref(), true, asked.peer)),
            Ok(Request::Resume(job)) => Some(self.hold(job.as_deref(), false, asked.peer)),
            Ok(Request::Reload) => Some(self.reload_for(asked.peer, now)),
        };
        if let Some((status, text)) = reply {
            self.reply(asked.client, status, text, now);
        }
    }

    fn reply(&mut self, client: u64, status: u8, mut text: String, now: Moment) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.control
            .answer(client, status, text.as_bytes(), now.instant);
    }

    /// The job of that name, or the refusal that offers the nearest one.
    fn find_job(&self, name: &str) -> Result<Index, Reply> {
        if let Some(job) = self.jobs.find(name) {
            return Ok(job);
        }
        let meant = nearest(name, self.jobs.names())
            .map(|name| format!("; is '{name}' meant?"))
            .unwrap_or_default();
        Err((
            exit::FAILURE,
            format!("unknown job '{}'{meant}", name.escape_debug()),
        ))
    }

    /// `None`: the answer comes when the run has ended.
    fn ask_for_run(&mut self, name: &str, wait: bool, asked: &Asked, now: Moment) -> Option<Reply> {
        let index = match self.find_job(name) {
            Ok(index) => index,
            Err(refusal) => return Some(refusal),
        };
        if self.phase != Phase::Working {
            return Some((
                exit::FAILURE,
                "the daemon stops; no job is started any more".to_string(),
            ));
        }
        // One place is left for those who only ask, a health check above all.
        if wait && self.control.held() >= MAX_CLIENTS {
            let line = format!("{} clients wait for runs already", MAX_CLIENTS - 1);
            return Some((exit::FAILURE, line));
        }
        self.say_asked(&format!("run {name}"), asked.peer);
        self.jobs.request(index, now.instant);
        self.changed();
        if wait {
            let job = self.jobs.job(index).name.clone();
            let control = &self.control;
            self.waiters.retain(|waiter| control.holds(waiter.client));
            self.waiters.push(Waiter {
                client: asked.client,
                job,
                begun: false,
            });
            return None;
        }
        let answer = match &self.run {
            None => "queued".to_string(),
            Some(run) => format!(
                "queued behind {} ({})",
                run.job.name,
                brief(now.since(run.began))
            ),
        };
        Some((exit::OK, answer))
    }

    /// A run begins: those who wait for it wait for this one.
    pub(super) fn waiters_run_begins(&mut self, job: &str) {
        for waiter in self.waiters.iter_mut().filter(|waiter| &*waiter.job == job) {
            waiter.begun = true;
        }
    }

    /// A run has ended: those who waited for it get its output and its exit code.
    pub(super) fn waiters_run_ended(&mut self, job: &str, code: i32, output: &[u8], now: Moment) {
        let (done, others) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(|w| w.begun && &*w.job == job);
        self.waiters = others;
        let status = u8::try_from(code).unwrap_or(u8::MAX);
        let done: Vec<Waiter> = done;
        for waiter in done {
            self.control
                .answer(waiter.client, status, output, now.instant);
        }
    }

    /// Whether anybody waits for the end of this job's run.
    pub(super) fn is_waited_for(&self, job: &str) -> bool {
        self.waiters
            .iter()
            .any(|waiter| waiter.begun && &*waiter.job == job)
    }

    /// Those who wait for a run that will not come are told so.
    pub(super) fn dismiss_waiters(&mut self, now: Moment) {
        let working = self.phase == Phase::Working;
        let jobs = &self.jobs;
        let stays = |waiter: &Waiter| waiter.begun || (working && jobs.find(&waiter.job).is_some());
        let (stay, go): (Vec<_>, Vec<_>) = std::mem::take(&mut self.waiters)
            .into_iter()
            .partition(stays);
        self.waiters = stay;
        for waiter in go {
            let text = format!(
                "{} will not run: the daemon stops, or a reload has removed the job",
                waiter.job
            );
            self.reply(waiter.client, exit::FAILURE, text, now);
        }
    }

    fn kill_run(&mut self, name: Option<&str>, peer: Peer, now: Moment) -> Reply {
        // A job that a reload has removed may still run.
        let runs = |name: &str| self.run.as_ref().is_some_and(|run| &*run.job.name == name);
        let other = name.filter(|name| !runs(name));
        if let Some(Err(refusal)) = other.map(|name| self.find_job(name)) {
            return refusal;
        }
        let Some(run) = &mut self.run else {
            return (exit::FAILURE, "no job runs".to_string());
        };
        let (running, pid) = (run.job.name.clone(), run.pid);
        if let Some(name) = name.filter(|name| *name != &*running) {
            return (
                exit::FAILURE,
                format!("{name} does not run; {running} does"),
            );
        }
        if !run.life.is_running() {
            return (
                exit::FAILURE,
                format!("{running} has ended already; only its output is still open"),
            );
        }
        run.life.stop(Why::Operator, now.instant);
        self.say_asked(&format!("kill {running}"), peer);
        (exit::OK, format!("stopping {running} (pid {pid})"))
    }

    /// `pause` and `resume`, of one job or of all.
    fn hold(&mut self, name: Option<&str>, hold: bool, peer: Peer) -> Reply {
        let jobs: Vec<Index> = match name.map(|name| self.find_job(name)) {
            Some(Err(refusal)) => return refusal,
            Some(Ok(job)) => vec![job],
            None => self.jobs.all().collect(),
        };
        let wall = SystemTime::now();
        let mut changed = 0_usize;
        for job in jobs {
            let is_news = if hold {
                self.jobs.pause(job, wall, peer.uid)
            } else {
                self.jobs.resume(job)
            };
            changed += usize::from(is_news);
        }
        let (verb, done) = if hold {
            ("pause", "paused")
        } else {
            ("resume", "resumed")
        };
        if changed > 0 {
            self.changed();
            self.say_asked(
                &format!(
                    "{verb}{}",
                    name.map(|name| format!(" {name}")).unwrap_or_default()
                ),
                peer,
            );
        }
        if let Err(why) = self.keep_state_now(changed > 0) {
            let line = format!("{done}, but a restart will not know: {why}");
            return (exit::FAILURE, line);
        }
        let answer = match (name, changed) {
            (Some(name), 0) if hold => format!("{name} was paused already"),
            (Some(name), 0) => format!("{name} was not paused"),
            (Some(name), _) => format!("{done} {name}"),
            (None, 1) => format!("{done} 1 job"),
            (None, n) => format!("{done} {n} jobs"),
        };
        (exit::OK, answer)
    }

    fn reload_for(&mut self, peer: Peer, now: Moment) -> Reply {
        self.say_asked("reload", peer);
        match self.reload(now) {
            Ok(lines) => (exit::OK, lines.join("\n")),
            Err(lines) => (exit::CONFIG, lines.join("\n")),
        }
    }

    fn say_asked(&mut self, what: &str, peer: Peer) {
        self.log.say(
            Level::Info,
            &format!("Asked to {what} by uid {} (pid {}).", peer.uid, peer.pid),
        );
    }
}
