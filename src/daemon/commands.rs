//! Requests from the control socket. Each is executed and answered at once; one that changes anything is logged with
//! the user who sent it. How requests and answers travel belongs to `system::control`.

use super::reload::Reload;
use super::runs::Haste;
use super::showing::Form;
use super::waiters::MAX_WAITERS;
use super::{Daemon, Phase};
use crate::cli::Request;
use crate::clock::Moment;
use crate::event::Event;
use crate::exit;
use crate::job::jobs::Index;
use crate::job::lifecycle::Why;
use crate::near;
use crate::status::health::ALIVE;
use crate::system;
use crate::system::control::{Asked, Peer};
use crate::text::{brief, counted, harmless, shown};
use crate::wire::{self, Asker};

/// The exit status and the text that the client gets.
pub(super) type Reply = (u8, String);

impl Daemon {
    pub(super) fn execute(&mut self, asked: &Asked, now: Moment) {
        let line = match wire::parse(&asked.line) {
            Ok(line) => line,
            Err(error) => {
                return self.reply(asked.client, (exit::USAGE, error.to_string()), now);
            }
        };
        if let Err(refusal) = self.is_meant(&line.asker) {
            return self.reply(asked.client, refusal, now);
        }
        let reply = match line.request {
            Request::Status { job, json, failed } => {
                let form = match job {
                    Some(name) => Form::Job { name, json },
                    None if json => Form::Json { failed },
                    None => Form::Table { failed },
                };
                return self.show_to(asked.client, form, now);
            }
            Request::Metrics => return self.show_to(asked.client, Form::Metrics, now),
            Request::History(history) => match self.knows_past_of(history.job.as_deref()) {
                Ok(()) => return self.show_to(asked.client, Form::History(history), now),
                Err(refusal) => refusal,
            },
            Request::Run { job, wait: true } => {
                let wants_outcome = line.asker != Asker::Anybody;
                match self.wait_for_run(&job, wants_outcome, asked, now) {
                    Ok(()) => return,
                    Err(refusal) => refusal,
                }
            }
            Request::Run { job, wait: false } => self.ask_for_run(&job, asked.peer, now),
            Request::Healthcheck { alive: true } => (exit::OK, ALIVE.to_string()),
            Request::Healthcheck { alive: false } => match self.view(now).health() {
                Ok(line) => (exit::OK, line),
                Err(line) => (exit::FAILURE, line),
            },
            Request::Kill(job) => self.kill_run(job.as_deref(), asked.peer, now),
            Request::Pause(job) => self.hold(job.as_deref(), true, asked.peer),
            Request::Resume(job) => self.hold(job.as_deref(), false, asked.peer),
            Request::Reload => self.reload_for(asked.peer, now),
        };
        self.reply(asked.client, reply, now);
    }

    /// Shows the client the status, now or when it may be made.
    fn show_to(&mut self, client: u64, form: Form, now: Moment) {
        let others = self.control.clients.held().saturating_sub(1);
        if self.showing.is_full(others, now.instant) {
            let line = format!("{MAX_WAITERS} clients wait for answers already; ask again later");
            return self.reply(client, (exit::FAILURE, line), now);
        }
        self.showing.add(client, form, now);
    }

    fn reply(&mut self, client: u64, (status, mut text): Reply, now: Moment) {
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        self.control
            .answer(client, status, text.into_bytes(), now.instant);
    }

    /// Refuses a request that is meant for the daemon of another configuration.
    fn is_meant(&self, asker: &Asker) -> Result<(), Reply> {
        let Asker::Command(Some(meant)) = asker else {
            return Ok(());
        };
        let own = self.source.file();
        if own.is_same(meant) {
            return Ok(());
        }
        let named = match meant.path.display().to_string() {
            // The path was too long to be sent.
            path if path.is_empty() => "the configuration that was named".to_string(),
            path => format!("'{path}'"),
        };
        let line = format!(
            "this is the daemon of '{}', not of {named}: nothing was done; name its socket with -s to ask it all \
             the same",
            own.path.display(),
        );
        Err((exit::FAILURE, harmless(&line).into_owned()))
    }

    /// The job of that name, or a refusal that offers the nearest name.
    fn find_job(&self, name: &str) -> Result<Index, Reply> {
        if let Some(job) = self.jobs.find(name) {
            return Ok(job);
        }
        Err(self.unknown_job(name))
    }

    pub(super) fn unknown_job(&self, name: &str) -> Reply {
        let known: Vec<&str> = self.jobs.names().collect();
        let called = if known.len() == 1 {
            "there is"
        } else {
            "there are"
        };
        let instead = near::instead(name, &known, called);
        (
            exit::FAILURE,
            format!("unknown job {}{instead}\n", shown(name)),
        )
    }

    /// Refuses a job that is neither in the configuration nor, since it once was, in the history.
    fn knows_past_of(&self, job: Option<&str>) -> Result<(), Reply> {
        match job {
            Some(name) if self.jobs.history().last(Some(name), false, 1).is_empty() => {
                self.find_job(name).map(drop)
            }
            _ => Ok(()),
        }
    }

    fn ask_for_run(&mut self, name: &str, peer: Peer, now: Moment) -> Reply {
        if let Err(refusal) = self.request_run(name, peer, now) {
            return refusal;
        }
        let answer = match &self.run {
            None => "queued".to_string(),
            Some(run) => format!(
                "queued behind {} ({})",
                run.job.name,
                brief(now.since(run.began))
            ),
        };
        (exit::OK, answer)
    }

    /// Keeps the client waiting; `run_ended` answers it.
    fn wait_for_run(
        &mut self,
        name: &str,
        wants_outcome: bool,
        asked: &Asked,
        now: Moment,
    ) -> Result<(), Reply> {
        if self.waiters.is_full(&self.control) {
            let line = format!("{MAX_WAITERS} clients wait for runs already");
            return Err((exit::FAILURE, line));
        }
        let index = self.request_run(name, asked.peer, now)?;
        let job = self.jobs.job(index).name.clone();
        self.waiters.add(asked.client, job, wants_outcome);
        Ok(())
    }

    fn request_run(&mut self, name: &str, peer: Peer, now: Moment) -> Result<Index, Reply> {
        let index = self.find_job(name)?;
        self.may_change(now)?;
        if self.phase != Phase::Working {
            let line = "the daemon stops; no job is started any more";
            return Err((exit::FAILURE, line.to_string()));
        }
        self.log.tell(&asked("run", Some(name), peer));
        self.jobs.request(index, now.instant);
        self.changed();
        Ok(index)
    }

    /// Answers the clients whose run will never come, and says why.
    pub(super) fn dismiss_waiters(&mut self, now: Moment) {
        let works = self.phase == Phase::Working;
        let jobs = &self.jobs;
        let may_run = |job: &str| works && jobs.find(job).is_some();
        self.waiters.dismiss(may_run, &mut self.control, now);
    }

    fn kill_run(&mut self, name: Option<&str>, peer: Peer, now: Moment) -> Reply {
        // A run that has already ended cannot be stopped, so look for its end first.
        self.reap();
        self.act_on_run(now);
        // The name may be that of a removed job: its run goes on after a reload.
        let runs = |name: &str| self.run.as_ref().is_some_and(|run| &*run.job.name == name);
        let other = name.filter(|name| !runs(name));
        if let Some(Err(refusal)) = other.map(|name| self.find_job(name)) {
            return refusal;
        }
        let Some(run) = &self.run else {
            return (exit::FAILURE, "no job runs".to_string());
        };
        let running = run.job.name.clone();
        if let Some(name) = name.filter(|name| *name != &*running) {
            return (
                exit::FAILURE,
                format!("{name} does not run; {running} does"),
            );
        }
        let is_stopping = run.life.stopping().is_some();
        if !run.life.is_running() && !is_stopping {
            return (
                exit::FAILURE,
                format!("{running} has ended already; only its output is still open"),
            );
        }
        let who = format!("{running} (pid {})", run.pid);
        if run.life.is_killed() {
            return (exit::OK, format!("{who} has been sent SIGKILL already"));
        }
        let (haste, doing) = if is_stopping {
            (Haste::AtOnce, "killing")
        } else {
            (Haste::InOrder, "stopping")
        };
        self.log.tell(&Event::Asked {
            at_once: is_stopping,
            request: "kill",
            job: Some(&running),
            uid: peer.uid,
            pid: peer.pid,
        });
        self.stop_run(Why::Operator, haste, now);
        match self.run.as_ref().and_then(|run| run.refusal.as_ref()) {
            Some(why) => (exit::FAILURE, format!("{who} cannot be signalled: {why}")),
            None => (exit::OK, format!("{doing} {who}")),
        }
    }

    /// `pause` and `resume`, of one job or of all.
    fn hold(&mut self, name: Option<&str>, hold: bool, peer: Peer) -> Reply {
        let jobs: Vec<Index> = match name.map(|name| self.find_job(name)) {
            Some(Err(refusal)) => return refusal,
            Some(Ok(job)) => vec![job],
            None => self.jobs.all().collect(),
        };
        let now = system::now();
        if let Err(refusal) = self.may_change(now) {
            return refusal;
        }
        let mut changed = 0_usize;
        for job in jobs {
            let is_news = if hold {
                self.jobs.pause(job, now.wall, peer.uid)
            } else {
                self.jobs.resume(job, now.instant)
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
            self.log.tell(&asked(verb, name, peer));
        }
        if let Err(why) = self.keep_state_now(changed > 0) {
            let line = format!("{done}, but a restart will not know: {why}");
            return (exit::FAILURE, line);
        }
        let answer = match (name, changed) {
            (Some(name), 0) if hold => format!("{name} was paused already"),
            (Some(name), 0) => format!("{name} was not paused"),
            (Some(name), _) => format!("{done} {name}"),
            (None, n) => format!("{done} {}", counted(n, "job")),
        };
        (exit::OK, answer)
    }

    /// Refuses a change once the lease has run out: another host runs the jobs then.
    fn may_change(&mut self, now: Moment) -> Result<(), Reply> {
        self.may_write(now)
            .map_err(|why| (exit::FAILURE, format!("{why}; this daemon ends")))
    }

    fn reload_for(&mut self, peer: Peer, now: Moment) -> Reply {
        let (status, lines) = match self.reload(asked("reload", None, peer), now) {
            Reload::Refused(lines) => (exit::CONFIG, lines),
            Reload::Adopted {
                mut changes,
                not_in_force,
                warnings,
            } => {
                let status = match not_in_force.is_empty() {
                    true => exit::OK,
                    false => exit::FAILURE,
                };
                changes.extend(not_in_force);
                changes.extend(warnings);
                (status, changes)
            }
        };
        (status, lines.join("\n"))
    }
}

fn asked<'a>(request: &'a str, job: Option<&'a str>, peer: Peer) -> Event<'a> {
    Event::Asked {
        request,
        job,
        at_once: false,
        uid: peer.uid,
        pid: peer.pid,
    }
}
