//! The files that are kept up to date beside the log: the state across restarts, and the metrics.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Instant, SystemTime};

use super::Daemon;
use crate::clock::Moment;
use crate::config::Sequencer;
use crate::job::state::{self, State};
use crate::job::stuck;
use crate::status::metrics;
use crate::system;
use crate::system::errors::error_text;
use crate::system::files::{self, Kept, NotWritten};
use crate::system::log::Level;

const STATE_MODE: u32 = 0o600;
const METRICS_MODE: u32 = 0o644;

/// Both files, as far as they are wanted.
#[derive(Debug, Default)]
pub struct Files {
    state: Option<Kept>,
    metrics: Option<Kept>,
    /// The beginning of the run that they show as stuck.
    stuck: Option<Instant>,
}

/// What the configured state file holds, and why it is not used where that is so.
pub fn read_state(config: &Sequencer, wall: SystemTime) -> State {
    let Some(path) = &config.statefile else {
        return State::default();
    };
    let mut state = match files::read(path) {
        Ok(text) => state::read(&text, wall),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return State::default(),
        Err(error) => State::unusable(error_text(&error)),
    };
    let shown = path.display();
    state.warning = state
        .warning
        .map(|why| format!("State file '{shown}': {why}."));
    state
}

impl Daemon {
    /// Opens what the configuration names and lets go of what it no longer does.
    pub(super) fn open_files(&mut self) {
        let kept_at = |kept: &Option<Kept>, path: &Path| {
            kept.as_ref().is_some_and(|kept| kept.path() == path)
        };
        match &self.config.statefile {
            Some(path) if kept_at(&self.files.state, path) => {}
            other => self.files.state = other.clone().map(|path| Kept::new(path, STATE_MODE)),
        }
        match &self.config.metricsfile {
            Some(path) if kept_at(&self.files.metrics, path) => {}
            other => {
                let new = other.clone().map(|path| Kept::new(path, METRICS_MODE));
                self.remove_metrics();
                self.files.metrics = new;
            }
        }
        self.changed();
    }

    /// Something that is shown or kept has changed.
    pub(super) fn changed(&mut self) {
        for kept in [&mut self.files.state, &mut self.files.metrics]
            .into_iter()
            .flatten()
        {
            kept.touch();
        }
        if self.supervisor.listens() {
            let line = self.view(system::now()).headline();
            self.supervisor.status(line);
        }
    }

    pub(super) fn files_deadline(&self, now: Moment) -> Option<Instant> {
        let kept = [&self.files.state, &self.files.metrics]
            .into_iter()
            .flatten();
        let files = kept.filter_map(|kept| kept.deadline(now.instant));
        files.chain(self.becomes_stuck()).min()
    }

    /// When the run under way will have taken longer than its `stuckafter`: nothing else happens then that would
    /// bring it into the metrics.
    fn becomes_stuck(&self) -> Option<Instant> {
        let run = self.run.as_ref()?;
        let began = run.began.instant;
        let is_news = self.files.stuck != Some(began);
        stuck::stuck_at(&run.job.settings, began).filter(|_| is_news)
    }

    pub(super) fn act_on_files(&mut self, now: Moment) {
        if self.becomes_stuck().is_some_and(|at| at <= now.instant) {
            self.files.stuck = self.run.as_ref().map(|run| run.began.instant);
            self.changed();
        }
        let due = |kept: &Option<Kept>| {
            kept.as_ref()
                .and_then(|kept| kept.deadline(now.instant))
                .is_some_and(|at| at <= now.instant)
        };
        if due(&self.files.state) {
            let _ = self.write_state(false);
        }
        if due(&self.files.metrics) {
            self.write_metrics();
        }
    }

    /// Has the state on the disk when it returns.
    pub(super) fn keep_state_now(&mut self) -> Result<(), String> {
        self.write_state(true)
    }

    fn write_state(&mut self, sync: bool) -> Result<(), String> {
        let Some(mut kept) = self.files.state.take() else {
            return Ok(());
        };
        let now = system::now();
        let text = state::write(self.jobs.kept(), now);
        let result = kept.write(text.as_bytes(), sync, now.instant);
        let why = self.tell_failure("state file", &kept, result);
        self.files.state = Some(kept);
        why
    }

    fn write_metrics(&mut self) {
        let Some(mut kept) = self.files.metrics.take() else {
            return;
        };
        let now = system::now();
        let text = metrics::metrics(&self.view(now));
        let result = kept.write(text.as_bytes(), false, now.instant);
        let _ = self.tell_failure("metrics file", &kept, result);
        self.files.metrics = Some(kept);
    }

    fn tell_failure(
        &mut self,
        what: &str,
        kept: &Kept,
        result: Result<(), NotWritten>,
    ) -> Result<(), String> {
        let Err(NotWritten { error, is_news }) = result else {
            return Ok(());
        };
        let shown = kept.path().display();
        let why = format!("cannot write {what} '{shown}': {}", error_text(&error));
        if is_news {
            self.log
                .say(Level::Error, &format!("{why}; trying again every second."));
        }
        Err(why)
    }

    /// The last acts: the state as it is at the end, and no metrics that nobody keeps up to date.
    pub(super) fn close_files(&mut self) {
        let _ = self.write_state(true);
        self.remove_metrics();
    }

    fn remove_metrics(&mut self) {
        if let Some(kept) = self.files.metrics.take() {
            let _ = fs::remove_file(kept.path());
        }
    }
}
