//! Reload (SIGHUP and the `reload` command). The whole configuration is read before anything changes, and a faulty one
//! changes nothing.

use std::rc::Rc;
use std::time::{Instant, SystemTime};

use super::{Daemon, Phase};
use crate::clock::Moment;
use crate::config::warnings::FEW;
use crate::config::{self, Config, Fault, Job, Loaded, Sequencer, check};
use crate::event::Event;
use crate::system::claim::{Claim, STATE_FILE};
use crate::system::files::Files;
use crate::system::lock::NoPatience;
use crate::system::log::Rotation;

/// Faults of a refused reload that are kept, to be shown.
const FAULTS_KEPT: usize = 1_000;

/// What became of a reload. Each line of it that is news has been logged.
#[derive(Debug)]
pub(super) enum Reload {
    /// The configuration is in force.
    Adopted {
        /// What has changed.
        changes: Vec<String>,
        /// Parts that stay as they were because the system refused the new ones.
        not_in_force: Vec<String>,
        /// What is legal but most likely not meant.
        warnings: Vec<String>,
    },
    /// The old configuration stays in force, for these reasons.
    Refused(Vec<String>),
}

impl Daemon {
    pub(super) fn hangup(&mut self, now: Moment) {
        // `reload` has logged the outcome.
        let _ = self.reload(Event::Hangup, now);
    }

    /// Reads the configuration again. Logs `why`, and then what has changed or why nothing has.
    pub(super) fn reload(&mut self, why: Event<'_>, now: Moment) -> Reload {
        // A stuck log would drop this line, so it is logged after the reload, which may open another log.
        let later = self.log.stuck_since().is_some();
        if !later {
            self.log.tell(&why);
        }
        self.supervisor.reloading(now.instant);
        let loaded = if self.phase == Phase::Working {
            config::load(
                &self.source.path,
                &self.source.from,
                &Files { streams: false },
            )
            .map_err(refusal)
        } else {
            let why = "Configuration not reloaded: the daemon stops.";
            Err(vec![why.to_string()])
        };
        // The last line is about the faults, where there are any.
        let faults = loaded.as_ref().err().map(|lines| match lines.as_slice() {
            [faults @ .., _] if !faults.is_empty() => faults,
            lines => lines,
        });
        let faults = faults.unwrap_or_default().iter();
        self.counters.faults = faults.take(FAULTS_KEPT).cloned().collect();
        self.counters.last_reload = Some((loaded.is_ok(), now.wall));
        let reload = match loaded {
            Ok(loaded) => {
                self.counters.reloads_done += 1;
                self.adopt(loaded, later.then_some(why), now)
            }
            Err(lines) => {
                if later {
                    self.log.tell(&why);
                }
                self.counters.reloads_refused += 1;
                for line in &lines {
                    self.log.tell(&Event::Refused(line));
                }
                Reload::Refused(lines)
            }
        };
        self.changed();
        self.supervisor.ready(now.instant);
        reload
    }

    /// Puts a faultless configuration into force and says what has changed. If the log is stuck, the log is replaced
    /// first; `why` is the line that is still to be logged then.
    fn adopt(&mut self, mut loaded: Loaded, why: Option<Event<'_>>, now: Moment) -> Reload {
        self.source.overrule(&mut loaded.config.sequencer);
        let warnings = check::all_warnings(&loaded, FEW);
        let of_text = loaded.few_warnings();
        let Config {
            mut sequencer,
            jobs,
        } = loaded.config;
        let lease_stays = self.keep_lease(&mut sequencer);
        let before = (&self.config, self.jobs.definitions());
        let mut changes = config::diff::difference(before, (&sequencer, &jobs)).lines;
        let old = std::mem::replace(&mut self.config, sequencer);
        self.log.spew = self.config.spew;
        self.log.format = self.config.logformat;
        // The lower of two levels holds until the changes are logged.
        self.log.level = self.log.level.min(self.config.loglevel);
        self.configured = now.wall;
        self.carry_over(jobs, now);
        let mut followed = Ok(());
        if let Some(why) = why {
            followed = self.follow_log();
            self.log.tell(&why);
        }
        if let Some(line) = &lease_stays {
            self.log.tell(&Event::Refused(line));
        }
        if changes.is_empty() {
            changes.push("Configuration reloaded: nothing has changed.".to_string());
        }
        for warning in self.warnings.news(of_text) {
            self.log.tell(&Event::Warning(&warning));
        }
        for line in &changes {
            self.log.tell(&Event::Changed(line));
        }
        self.log.level = self.config.loglevel;
        if why.is_none() {
            followed = self.follow_log();
        }
        if let Err(line) = &followed {
            self.log.tell(&Event::Log(line));
        }
        let parts = [
            followed.err(),
            self.move_control(&old.controlsocket),
            self.follow_http(now.instant),
            self.follow_state(&old),
            lease_stays,
        ];
        self.open_files();
        self.dismiss_waiters(now);
        Reload::Adopted {
            changes,
            not_in_force: parts.into_iter().flatten().collect(),
            warnings,
        }
    }

    /// Applies the new limits of the log and moves it to its new path, with all lines that wait. If the new log cannot
    /// be opened, the old one stays.
    fn follow_log(&mut self) -> Result<(), String> {
        self.log.set_rotation(Rotation {
            size: self.config.logsize,
            keep: self.config.logkeep,
        });
        let path = self.config.logfile.clone();
        if path.as_deref() == self.log.path() {
            return Ok(());
        }
        self.log.flush(Instant::now(), SystemTime::now());
        self.log.move_to(path.as_deref())?;
        self.watch_log();
        self.log.flush(Instant::now(), SystemTime::now());
        Ok(())
    }

    /// Claims the new state file. If another daemon holds that one, the old file stays in use, and the line that says
    /// so is returned.
    fn follow_state(&mut self, old: &Sequencer) -> Option<String> {
        if self.config.statefile == old.statefile {
            return None;
        }
        let Some(path) = &self.config.statefile else {
            self.holds.state = None;
            return None;
        };
        if self.holds.state.as_ref().is_some_and(|it| it.is_of(path)) {
            return None;
        }
        match Claim::lay(STATE_FILE, path, std::process::id(), &mut NoPatience) {
            Ok(mut claim) => {
                if let Some(warning) = claim.take_warning() {
                    self.log.tell(&Event::Warning(&warning));
                }
                self.holds.state = Some(claim);
                None
            }
            Err(error) => {
                self.config.statefile = old.statefile.clone();
                let rest = match &old.statefile {
                    Some(path) => format!("the state stays in '{}'", path.display()),
                    None => "no state is kept".to_string(),
                };
                let line = format!("Cannot change the state file: {error}; {rest}.");
                self.log.tell(&Event::Refused(&line));
                Some(line)
            }
        }
    }

    /// Replaces the jobs by the new ones. A running job goes on under its old definition.
    fn carry_over(&mut self, jobs: Vec<Rc<Job>>, now: Moment) {
        self.keep_announced();
        let moves = self.jobs.reload(jobs, now.instant);
        if let Some(run) = &mut self.run {
            run.index = run.index.and_then(|was| moves.to(was));
        }
        self.announced = self
            .announced
            .and_then(|(was, due)| Some((moves.to(was)?, due)));
    }
}

/// The lines that refuse a configuration.
fn refusal(faults: Vec<Fault>) -> Vec<String> {
    let word = if faults.len() == 1 { "fault" } else { "faults" };
    let last = format!(
        "Configuration not reloaded: {} {word}, nothing has changed.",
        faults.len()
    );
    faults
        .iter()
        .map(ToString::to_string)
        .chain([last])
        .collect()
}
