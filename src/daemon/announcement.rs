//! What the log says of the start. With many jobs these are many lines, so they are put into words as the log takes them,
//! while the loop goes on: no job, signal or client waits for whoever reads the log.

use std::rc::Rc;
use std::time::SystemTime;

use super::Daemon;
use crate::config::Job;
use crate::config::diff::mailer_targets;
use crate::system;
use crate::system::log::Level;

/// Lines in one turn of the loop, which take a few milliseconds.
const LINES_PER_TURN: usize = 1 << 14;

/// The jobs of the start that the log has yet to name.
#[derive(Debug)]
pub(super) struct Announcement {
    /// When they were loaded, which is what their lines say whenever they are written.
    at: SystemTime,
    next: usize,
    /// The jobs of the start, once a reload has replaced them.
    replaced: Option<Vec<Rc<Job>>>,
}

impl Daemon {
    /// Logs what was loaded, in the original's words, and after them whatever else there is to say.
    pub fn announce_start(&mut self, warnings: Vec<String>) {
        self.log.say(Level::Info, "Loading jobs...");
        self.log.hold();
        self.announcement = Some(Announcement {
            at: system::now().wall,
            next: 0,
            replaced: None,
        });
        for line in mailer_targets(&self.config.mailproblemsto) {
            self.log.say(Level::Info, &line);
        }
        self.log.say(Level::Info, "Loaded.");
        for warning in self.warnings.news(warnings) {
            self.log.say(Level::Warning, &warning);
        }
        for (level, line) in std::mem::take(&mut self.notices) {
            self.log.say(level, &line);
        }
        self.go_on_announcing();
    }

    /// Names more of the jobs that were loaded, ahead of all that has been logged since.
    pub(super) fn go_on_announcing(&mut self) {
        let Some(announcement) = &mut self.announcement else {
            return;
        };
        let replaced = announcement.replaced.as_deref();
        let jobs = replaced.unwrap_or(self.jobs.definitions());
        let ahead = &jobs[announcement.next..];
        for job in ahead.iter().take(LINES_PER_TURN) {
            if !self.log.takes_more_first() {
                return;
            }
            let line = format!("   ...loaded {}", job.name);
            self.log.say_first(announcement.at, Level::Info, &line);
            announcement.next += 1;
        }
        if announcement.next == jobs.len() {
            self.announcement = None;
            self.log.release();
        }
    }

    /// Whether it can go on at once.
    pub(super) fn announces_more(&self) -> bool {
        self.announcement.is_some() && self.log.takes_more_first()
    }

    /// A reload is about to replace the jobs: those that were loaded at the start are kept until they have been named.
    pub(super) fn keep_announced(&mut self) {
        if let Some(announcement) = &mut self.announcement {
            let jobs = || self.jobs.definitions().to_vec();
            announcement.replaced.get_or_insert_with(jobs);
        }
    }
}
