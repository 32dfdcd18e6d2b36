//! SIGHUP: a new configuration is read completely before anything changes; a faulty one changes nothing.

use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Instant, SystemTime};

use super::{Daemon, Phase, delays};
use crate::config::{self, Config, Fault, Loaded};
use crate::job::record::Record;
use crate::system::files;
use crate::system::log::{Level, Rotation};

impl Daemon {
    pub(super) fn hangup(&mut self, now: Instant) {
        self.log
            .say(Level::Info, "Received SIGHUP, reloading configuration.");
        // What is to be told has been logged.
        let _ = self.reload(now);
    }

    /// Reads the configuration again; returns the lines that were logged: what has changed, or (`Err`) why nothing
    /// has.
    pub(super) fn reload(&mut self, now: Instant) -> Result<Vec<String>, Vec<String>> {
        self.supervisor.reloading(now);
        let result = if self.phase == Phase::Working {
            config::load(&self.source.path, &self.source.from, &files::source).map_err(refusal)
        } else {
            Err(vec![
                "Configuration not reloaded: the daemon stops.".to_string(),
            ])
        };
        self.counters.last_reload = Some((result.is_ok(), SystemTime::now()));
        let result = match result {
            Ok(loaded) => {
                self.counters.reloads_done += 1;
                Ok(self.adopt(loaded, now))
            }
            Err(lines) => {
                self.counters.reloads_refused += 1;
                for line in &lines {
                    self.log.say(Level::Error, line);
                }
                Err(lines)
            }
        };
        self.changed();
        self.supervisor.ready(now);
        result
    }

    /// Takes a sound configuration over and says what is different.
    fn adopt(&mut self, loaded: Loaded, now: Instant) -> Vec<String> {
        let Loaded {
            mut config,
            warnings,
            ..
        } = loaded;
        self.source.overrule(&mut config);
        let mut lines = config::diff::difference(&self.config, &config).lines;
        let old = std::mem::replace(&mut self.config, config);
        self.log.spew = self.config.spew;
        self.configured = SystemTime::now();
        self.carry_over(&old, now);
        if lines.is_empty() {
            lines.push("Configuration reloaded: nothing has changed.".to_string());
        }
        for warning in self.warnings.news(&warnings) {
            self.log.say(Level::Warning, &warning);
        }
        for line in &lines {
            self.log.say(Level::Info, line);
        }
        lines.extend(self.follow_log());
        lines.extend(self.move_control(&old.controlsocket));
        self.open_files();
        self.dismiss_waiters(now);
        lines
    }

    /// Takes on other limits of the log, and its new place; stays where it is if that cannot be, with the line that
    /// says so.
    fn follow_log(&mut self) -> Option<String> {
        self.log.set_rotation(Rotation {
            size: self.config.logsize,
            keep: self.config.logkeep,
        });
        let path = self.config.logfile.clone();
        if path.as_deref() == self.log.path() {
            return None;
        }
        self.log.flush(Instant::now(), SystemTime::now());
        match self.log.move_to(path.as_deref()) {
            Ok(()) => {
                self.watch_log();
                None
            }
            Err(error) => {
                self.log.say(Level::Error, &error);
                Some(error)
            }
        }
    }

    /// Moves what is known of the jobs to their new places. A running job goes on under its old definition.
    fn carry_over(&mut self, old: &Config, now: Instant) {
        let places: HashMap<&str, usize> = old
            .jobs
            .iter()
            .enumerate()
            .map(|(place, job)| (&*job.name, place))
            .collect();
        let mut records: Vec<Option<Record>> = std::mem::take(&mut self.records)
            .into_iter()
            .map(Some)
            .collect();
        let from: Vec<Option<usize>> = self
            .config
            .jobs
            .iter()
            .map(|job| places.get(&*job.name).copied())
            .collect();
        self.records = from
            .iter()
            .map(|place| {
                place
                    .and_then(|place| records[place].take())
                    .unwrap_or_default()
            })
            .collect();
        for (job, place) in self.config.jobs.iter_mut().zip(&from) {
            if let Some(place) = *place
                && old.jobs[place] == *job
            {
                // The old one stays, so that the new ones' memory is given back in one piece.
                *job = Rc::clone(&old.jobs[place]);
            }
        }
        let jobs = self.config.jobs.iter().zip(&from).map(|(job, place)| {
            (
                place.map(|place| (place, delays(&old.jobs[place]))),
                delays(job),
            )
        });
        self.schedule = self.schedule.reloaded(jobs, now);
        if let Some(run) = &mut self.run {
            run.place = run
                .place
                .and_then(|was| from.iter().position(|&place| place == Some(was)));
        }
        self.announced = self.announced.and_then(|(job, due)| {
            let is = from.iter().position(|&place| place == Some(job))?;
            Some((is, due))
        });
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
