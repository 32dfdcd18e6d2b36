//! SIGHUP: a new configuration is read completely before anything changes; a faulty one changes nothing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Instant, SystemTime};

use super::{Daemon, Phase, delays};
use crate::config::{self, Config};
use crate::log::{Level, Rotation};
use crate::record::Record;

impl Daemon {
    pub(super) fn reload(&mut self, now: Instant) {
        self.say(Level::Info, "Received SIGHUP, reloading configuration.");
        if self.phase != Phase::Working {
            self.say(
                Level::Warning,
                "The daemon stops; the configuration stays as it is.",
            );
            return;
        }
        match config::load(&self.source.path, &self.source.from) {
            Err(faults) => {
                for fault in &faults {
                    self.say(Level::Error, &fault.to_string());
                }
                let count = faults.len();
                let faults = if count == 1 { "fault" } else { "faults" };
                self.say(
                    Level::Error,
                    &format!("Configuration not reloaded: {count} {faults}, nothing has changed."),
                );
            }
            Ok(loaded) => self.adopt(loaded.config, now),
        }
    }

    /// Takes a sound configuration over and says what is different.
    fn adopt(&mut self, new: Config, now: Instant) {
        let lines = config::diff::difference(&self.config, &new).lines;
        let old = std::mem::replace(&mut self.config, new);
        self.carry_over(&old, now);
        if lines.is_empty() {
            self.say(Level::Info, "Configuration reloaded: nothing has changed.");
        }
        for line in lines {
            self.say(Level::Info, &line);
        }
        self.follow_log(old.logfile);
    }

    /// Takes on other limits of the log, and its new place unless the command line has named one.
    fn follow_log(&mut self, old: Option<PathBuf>) {
        self.log.set_rotation(Rotation {
            size: self.config.logsize,
            keep: self.config.logkeep,
        });
        if self.source.logfile.is_some() || self.config.logfile == old {
            return;
        }
        self.log.flush(Instant::now(), SystemTime::now());
        match self.log.move_to(self.config.logfile.as_deref()) {
            Ok(()) => self.watch_log(),
            Err(error) => {
                self.say(Level::Error, &error);
                // So that the next reload tries again.
                self.config.logfile = old;
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
