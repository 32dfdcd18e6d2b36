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
use crate::system::pidfile::PidFile;
use crate::text::{counted, listed};
use crate::verify::{self, Beside};

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
        // A reload claims files that may be the next host's. Without the lease this ends the daemon's work.
        let _ = self.may_go_on(now);
        let loaded = if self.phase == Phase::Working {
            let files = Files { streams: false };
            let loaded = config::load(&self.source.path, &self.source.from, &files);
            let loaded = loaded.and_then(|loaded| self.overruled(loaded));
            let loaded = loaded.map_err(refusal);
            self.count_reload(loaded.as_ref().err(), now);
            loaded
        } else {
            // No file has been read, so this says nothing about any.
            let why = "Configuration not reloaded: the daemon stops.";
            Err(vec![why.to_string()])
        };
        let reload = match loaded {
            Ok(loaded) => self.adopt(loaded, later.then_some(why), now),
            Err(lines) => {
                if later {
                    self.log.tell(&why);
                }
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

    /// Lets the command line's settings win. Refuses a configuration by which the daemon would write to one of its own
    /// configuration files, or to one file under two keys. Files in use until now count, because a part may stay in
    /// force.
    fn overruled(&self, mut loaded: Loaded) -> Result<Loaded, Vec<Fault>> {
        self.source.overrule(&mut loaded.config.sequencer);
        let beside = Beside {
            read: &loaded.origins,
            from: &self.source.from,
            pidfile: self.holds.pidfile.as_ref().map(PidFile::path),
            before: Some(&self.config),
        };
        match verify::apart(&loaded.config.sequencer, &beside) {
            faults if faults.is_empty() => Ok(loaded),
            faults => Err(faults),
        }
    }

    /// Notes what came of reading the configuration; `refused` are the lines that say what was wrong with it.
    fn count_reload(&mut self, refused: Option<&Vec<String>>, now: Moment) {
        // The last line is about the faults, where there are any.
        let faults = refused.map(|lines| match lines.as_slice() {
            [faults @ .., _] if !faults.is_empty() => faults,
            lines => lines,
        });
        let faults = faults.unwrap_or_default();
        self.counters.fault_count = faults.len();
        self.counters.faults = faults.iter().take(FAULTS_KEPT).cloned().collect();
        self.counters.last_reload = Some((refused.is_none(), now));
        match refused {
            None => self.counters.reloads_done += 1,
            Some(_) => self.counters.reloads_refused += 1,
        }
    }

    /// Puts a faultless configuration into force and says what has changed. If the log is stuck, the log is replaced
    /// first; `why` is the line that is still to be logged then.
    fn adopt(&mut self, loaded: Loaded, why: Option<Event<'_>>, now: Moment) -> Reload {
        let mut warnings = check::all_warnings(&loaded, FEW);
        let of_text = loaded.few_warnings();
        let Config {
            mut sequencer,
            jobs,
        } = loaded.config;
        let lease_stays = self.keep_lease(&mut sequencer);
        let before = (&self.config, self.jobs.definitions());
        let mut changes = config::diff::differences(before, (&sequencer, &jobs));
        let old = std::mem::replace(&mut self.config, sequencer);
        self.log.spew = self.config.spew;
        // Where the log moves, the old file keeps its format.
        if old.logfile == self.config.logfile {
            self.log.format = self.config.logformat;
        }
        // The lower of two levels holds until the changes are logged.
        self.log.level = self.log.level.min(self.config.loglevel);
        self.configured = now;
        let all_paused = !self.jobs.is_empty() && self.not_paused().is_empty();
        self.carry_over(jobs, now);
        let mut followed = Ok(());
        if let Some(why) = why {
            followed = self.follow_log(&old);
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
        if let Some(line) = all_paused.then(|| self.not_paused()).and_then(runs_alone) {
            self.log.tell(&Event::Warning(&line));
            warnings.push(format!("warning: {line}"));
        }
        self.log.level = self.config.loglevel;
        if why.is_none() {
            followed = self.follow_log(&old);
        }
        if let Err(line) = &followed {
            self.log.tell(&Event::Log(line));
        }
        let parts = [
            followed.err(),
            self.move_control(&old),
            self.follow_http(now.instant),
            self.follow_state(&old),
            self.follow_metrics(&old),
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
    /// be opened, the old one stays, and another reload may change it.
    fn follow_log(&mut self, old: &Sequencer) -> Result<(), String> {
        self.log.set_rotation(Rotation {
            size: self.config.logsize,
            keep: self.config.logkeep,
        });
        self.log.format = self.config.logformat;
        let path = self.config.logfile.clone();
        if path.as_deref() == self.log.path() {
            return Ok(());
        }
        self.log.flush(Instant::now(), SystemTime::now());
        if let Err(error) = self.log.move_to(path.as_deref()) {
            self.config.logfile.clone_from(&old.logfile);
            return Err(error);
        }
        self.watch_log();
        self.log.flush(Instant::now(), SystemTime::now());
        Ok(())
    }

    /// Claims the new state file. If it cannot be used or another daemon holds it, the old file stays in use, and the
    /// line that says so is returned.
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
        let claim = verify::state(path).map_err(|flaw| flaw.to_string());
        let claim = claim.and_then(|()| {
            let claim = Claim::lay(STATE_FILE, path, std::process::id(), &mut NoPatience);
            claim.map_err(|error| error.to_string())
        });
        match claim {
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

    /// If the new metrics file cannot be written, the old one stays in use, and the line that says so is returned.
    fn follow_metrics(&mut self, old: &Sequencer) -> Option<String> {
        let path = self.config.metricsfile.as_ref();
        let path = path.filter(|_| self.config.metricsfile != old.metricsfile)?;
        let flaw = verify::replaceable(path).err()?;
        let rest = match &old.metricsfile {
            Some(path) => format!("the metrics stay in '{}'", path.display()),
            None => "no metrics are written".to_string(),
        };
        self.config.metricsfile.clone_from(&old.metricsfile);
        let line = format!("Cannot change the metrics file: {flaw}; {rest}.");
        self.log.tell(&Event::Refused(&line));
        Some(line)
    }

    fn not_paused(&self) -> Vec<&str> {
        let jobs = self.jobs.all().filter(|&job| !self.jobs.is_paused(job));
        jobs.map(|job| &*self.jobs.job(job).name).collect()
    }

    /// Replaces the jobs by the new ones. A running job goes on under its old definition, also one that an earlier reload
    /// has removed and that is back now.
    fn carry_over(&mut self, jobs: Vec<Rc<Job>>, now: Moment) {
        self.keep_announced();
        let moves = self.jobs.reload(jobs, now.instant);
        if let Some(run) = &mut self.run {
            run.index = match run.index {
                Some(was) => moves.to(was),
                None => {
                    let back = self.jobs.find(&run.job.name);
                    if let Some(index) = back {
                        let (began, late) = (run.began.wall, run.late);
                        self.jobs.goes_on(index, began, late, now.instant);
                    }
                    back
                }
            };
        }
        self.announced = self
            .announced
            .and_then(|(was, due)| Some((moves.to(was)?, due)));
    }
}

/// Who has paused all jobs may not expect that one that is added runs.
fn runs_alone(added: Vec<&str>) -> Option<String> {
    let first = added.first()?;
    let jobs = listed(&added, FEW);
    Some(format!(
        "all other jobs are paused, but not {jobs}: 'buildd-sequencer pause {first}' holds it, too"
    ))
}

/// The lines that refuse a configuration.
fn refusal(faults: Vec<Fault>) -> Vec<String> {
    let number = counted(faults.len(), "fault");
    let last = format!("Configuration not reloaded: {number}, nothing has changed.");
    faults
        .iter()
        .map(ToString::to_string)
        .chain([last])
        .collect()
}
