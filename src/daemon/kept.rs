//! The files that the daemon keeps up to date: the state file, the history beside it, and the metrics file. It decides
//! when to write them, so that a slow disk delays no job; `system::files` writes them.

use std::io;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use super::Daemon;
use super::lease::Held;
use crate::clock::Moment;
use crate::config::{Sequencer, apart};
use crate::event::Event;
use crate::job::history::{self, file as history_file};
use crate::job::jobs::Jobs;
use crate::job::state::{self, State};
use crate::job::stuck;
use crate::status::metrics;
use crate::system;
use crate::system::errors::error_text;
use crate::system::files::{self, Appended, Kept, NotWritten, Through, Unfit, Upcoming};
use crate::system::opening;

const STATE_MODE: u32 = 0o600;
const METRICS_MODE: u32 = 0o644;

/// The files; each is absent unless the configuration names it.
#[derive(Debug, Default)]
pub struct Files {
    state: Option<Kept>,
    history: Option<Appended>,
    metrics: Option<Kept>,
}

/// Reads the configured state file. What cannot be used is left out, and the state says why.
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

/// The history file beside a state file. Beside a device, which will not be written either, there is none.
fn history_beside(state: &Path) -> Option<PathBuf> {
    let is_kept = matches!(files::fit(state), Ok(()) | Err(Unfit::MountPoint));
    apart::history_beside(state).filter(|_| is_kept)
}

impl Files {
    /// Opens the history file and has `jobs` remember its runs. Returns what could not be used, and why, in one line.
    pub fn open_history(&mut self, config: &Sequencer, jobs: &mut Jobs) -> Option<String> {
        let path = history_beside(config.statefile.as_deref()?)?;
        let mut history = Appended::new(path, STATE_MODE);
        let path = history.path();
        // Where nothing can be written, the first write says why.
        let is_writable = files::fit(path).is_ok() && opening::open_directory_of(path).is_ok();
        let is_news = is_writable && files::identity(path).is_some();
        let why = match history.open() {
            Ok(text) => jobs.recall(&text),
            Err(error) => is_news.then(|| error_text(&error)),
        };
        let shown = history.path().display();
        let warning = why.map(|why| format!("History file '{shown}': {why}."));
        if warning.is_some() {
            history.leave();
        }
        self.history = Some(history);
        warning
    }

    /// Notes that a run has ended.
    pub(super) fn ran(&mut self, job: &str, run: &history::Run) {
        if let Some(history) = &mut self.history {
            history_file::write_run(history.lines(), job, run);
        }
    }
}

impl Daemon {
    /// Opens the files that the configuration names and closes those it no longer names.
    pub(super) fn open_files(&mut self) {
        let kept_at = |kept: &Option<Kept>, path: &Path| {
            kept.as_ref().is_some_and(|kept| kept.path() == path)
        };
        match &self.config.statefile {
            Some(path) if kept_at(&self.files.state, path) => {}
            other => {
                let new = other.clone().map(|path| Kept::new(path, STATE_MODE, true));
                self.files.state = new;
            }
        }
        let beside = self.config.statefile.as_deref().and_then(history_beside);
        if self.files.history.as_ref().map(Appended::path) != beside.as_deref() {
            self.files.history = beside.map(|path| Appended::new(path, STATE_MODE));
        }
        match &self.config.metricsfile {
            Some(path) if kept_at(&self.files.metrics, path) => {}
            other => {
                let new = other
                    .clone()
                    .map(|path| Kept::new(path, METRICS_MODE, false));
                self.remove_metrics();
                self.files.metrics = new;
            }
        }
        self.changed();
    }

    /// Notes that something in the files has changed, so that they are written again.
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
        let files = [
            self.state_deadline(now),
            self.history_deadline(now),
            self.metrics_deadline(now),
            self.becomes_stuck(),
        ];
        files.into_iter().flatten().min()
    }

    fn history_deadline(&self, now: Moment) -> Option<Instant> {
        let history = self.files.history.as_ref()?;
        if history.has_lines() {
            return Some(now.instant);
        }
        let behind = history.is_behind().then(|| self.upcoming(now))?;
        history.deadline(now.instant, &behind)
    }

    fn state_deadline(&self, now: Moment) -> Option<Instant> {
        let state = self.files.state.as_ref()?;
        state.deadline(now.instant, &self.upcoming(now))
    }

    /// When the metrics file is to be written. It needs no fsync, so that no disk holds it up.
    fn metrics_deadline(&self, now: Moment) -> Option<Instant> {
        let metrics = self.files.metrics.as_ref()?;
        metrics.deadline(now.instant, &Upcoming::default())
    }

    /// The coming starts, which a slow disk would delay.
    fn upcoming(&self, now: Moment) -> Upcoming {
        if !self.phase.starts_jobs() {
            return Upcoming::default();
        }
        let running = self.run.as_ref().and_then(|run| run.index);
        let comes_again = running.filter(|&job| !self.jobs.is_paused(job));
        Upcoming {
            next: self.jobs.next().map(|next| next.start(now.instant)),
            after_end: comes_again.map(|job| self.jobs.job(job).settings.mindelay),
        }
    }

    /// When the run under way will have taken longer than its `stuckafter`. Nothing else happens at that moment that
    /// would bring it into the metrics.
    fn becomes_stuck(&self) -> Option<Instant> {
        let run = self.run.as_ref().filter(|run| !run.stuck_shown)?;
        stuck::stuck_at(&run.job.settings, run.began.instant)
    }

    /// Writes the files that are due. It is called after the due job has started, because a slow disk delays a run that
    /// has just begun least.
    pub(super) fn act_on_files(&mut self, now: Moment) {
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= now.instant);
        if is_due(self.becomes_stuck()) {
            if let Some(run) = &mut self.run {
                run.stuck_shown = true;
            }
            self.changed();
        }
        let has_started = self
            .run
            .as_ref()
            .is_some_and(|run| run.began.instant >= now.instant);
        let may_write = self
            .files
            .state
            .as_ref()
            .is_some_and(|state| state.allows(now.instant));
        if has_started && may_write {
            // Write the log first, so that the disk does not delay it either.
            self.log.flush(now.instant, now.wall);
        }
        if has_started && may_write || is_due(self.state_deadline(now)) {
            let _ = self.write_state(Through::No);
        }
        let replace = self.may_replace_history(has_started, now);
        if replace || is_due(self.history_deadline(now)) {
            self.write_history(replace, now);
        }
        if is_due(self.metrics_deadline(now)) {
            self.write_metrics();
        }
    }

    /// Returns once an operator's change is on the disk. If nothing `has_changed`, it writes only when an earlier
    /// change has not reached the disk yet.
    pub(super) fn keep_state_now(&mut self, has_changed: bool) -> Result<(), String> {
        let is_owed = self.files.state.as_ref().is_some_and(Kept::is_owed);
        if has_changed || is_owed {
            self.write_state(Through::Yes)
        } else {
            Ok(())
        }
    }

    fn write_state(&mut self, through: Through) -> Result<(), String> {
        if self.files.state.is_none() {
            return Ok(());
        }
        let now = system::now();
        self.may_write(now)?;
        let Some(mut kept) = self.files.state.take() else {
            return Ok(());
        };
        // This is seldom enough to cost a run nothing.
        if let Some(history) = &mut self.files.history {
            history.look();
        }
        let text = state::write(self.jobs.kept(), now);
        // The disk may hold the text until the file is the next host's.
        let mut is_ours = || self.lease.as_mut().is_none_or(Held::holds);
        let result = kept.write_while(text.as_bytes(), now.instant, through, &mut is_ours);
        let why = self.tell_failure("state file", kept.path(), result);
        self.files.state = Some(kept);
        self.may_write(now)?;
        why
    }

    /// Whether the history file is to be replaced now, because that delays nothing or cannot wait.
    fn may_replace_history(&self, has_started: bool, now: Moment) -> bool {
        let Some(history) = &self.files.history else {
            return false;
        };
        let deadline = || history.deadline(now.instant, &self.upcoming(now));
        history.allows(now.instant)
            && (has_started || deadline().is_some_and(|at| at <= now.instant))
    }

    /// Appends to the history file, or replaces it.
    fn write_history(&mut self, replace: bool, now: Moment) {
        if self.files.history.is_none() || self.may_write(now).is_err() {
            return;
        }
        let Some(mut history) = self.files.history.take() else {
            return;
        };
        let jobs = &self.jobs;
        let whole = || history_file::write(jobs.history());
        let result = history.write(&whole, replace, now.instant);
        let _ = self.tell_failure("history file", history.path(), result);
        self.files.history = Some(history);
    }

    fn write_metrics(&mut self) {
        let Some(mut kept) = self.files.metrics.take() else {
            return;
        };
        let now = system::now();
        let text = metrics::metrics(&self.view_with_lease(now));
        let result = kept.write(text.as_bytes(), now.instant);
        let _ = self.tell_failure("metrics file", kept.path(), result);
        self.files.metrics = Some(kept);
    }

    fn tell_failure(
        &mut self,
        what: &str,
        path: &Path,
        result: Result<(), NotWritten>,
    ) -> Result<(), String> {
        let Err(NotWritten { error, is_news }) = result else {
            return Ok(());
        };
        let shown = path.display();
        let why = format!("cannot write {what} '{shown}': {error}");
        if is_news {
            self.log.tell(&Event::NotWritten(&why));
        }
        Err(why)
    }

    /// Writes the state no more: it is another host's by now.
    pub(super) fn forget_state_file(&mut self) {
        self.files.state = None;
        self.files.history = None;
    }

    /// Writes the state as it is at the end, brings the history up to date, and removes the metrics file, which nobody
    /// would update.
    pub(super) fn close_files(&mut self) {
        let _ = self.write_state(Through::Yes);
        let is_behind = self.files.history.as_ref().map(Appended::is_behind);
        self.write_history(is_behind.unwrap_or_default(), system::now());
        self.remove_metrics();
    }

    fn remove_metrics(&mut self) {
        if let Some(mut kept) = self.files.metrics.take() {
            kept.remove();
        }
    }
}
