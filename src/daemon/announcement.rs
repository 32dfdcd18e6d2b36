//! Logs the start. A million jobs make a million lines, so each turn of the loop writes some of them, as the log takes
//! them. Nothing else waits for them: no job, no signal, no client.

use std::rc::Rc;
use std::time::SystemTime;

use super::Daemon;
use crate::config::Job;
use crate::config::diff::mailer_targets;
use crate::event::Event;
use crate::system;

/// How many lines one turn of the loop writes. That many take a few milliseconds.
const LINES_PER_TURN: usize = 1 << 14;

/// The jobs loaded at the start whose lines are still to be logged.
#[derive(Debug)]
pub(super) struct Announcement {
    /// When they were loaded. Their lines carry this time, however late they are written.
    at: SystemTime,
    next: usize,
    /// The jobs loaded at the start, kept here when a reload replaces them before they are all logged.
    replaced: Option<Vec<Rc<Job>>>,
}

impl Daemon {
    /// Logs what was loaded, in the original's words, and then the warnings.
    pub(super) fn announce_start(&mut self, warnings: Vec<String>) {
        self.log.tell(&Event::Loading);
        self.log.hold();
        self.announcement = Some(Announcement {
            at: system::now().wall,
            next: 0,
            replaced: None,
        });
        for line in mailer_targets(&self.config.mailproblemsto) {
            self.log.tell(&Event::Targets(&line));
        }
        self.log.tell(&Event::Loaded(None));
        for warning in self.warnings.news(warnings) {
            self.log.tell(&Event::Warning(&warning));
        }
    }

    /// Logs more of the loaded jobs. Their lines go before all lines logged since the start.
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
            let loaded = Event::Loaded(Some(&job.name));
            self.log.tell_first(announcement.at, &loaded);
            announcement.next += 1;
        }
        if announcement.next == jobs.len() {
            self.announcement = None;
            self.log.release();
        }
    }

    /// Whether more jobs can be logged at once.
    pub(super) fn announces_more(&self) -> bool {
        self.announcement.is_some() && self.log.takes_more_first()
    }

    /// Called before a reload replaces the jobs: keeps those loaded at the start until all of them are logged.
    pub(super) fn keep_announced(&mut self) {
        if let Some(announcement) = &mut self.announcement {
            let jobs = || self.jobs.definitions().to_vec();
            announcement.replaced.get_or_insert_with(jobs);
        }
    }
}
