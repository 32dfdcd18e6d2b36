//! Obeys the lease, where the configuration names one: asks it before each start and each write of the state, has a
//! timer tell of its end while something runs, and stops everything when it has run out.

use std::io;
use std::time::Duration;

use mio::Registry;

use super::Daemon;
use super::ready::Ready;
use crate::clock::Moment;
use crate::config::Sequencer;
use crate::event::Event;
use crate::lease::Lease;
use crate::status::View;
use crate::system;
use crate::system::lease::{self, LeaseFile};

/// How much earlier than planned a sleep may seem to end, in whole seconds of two clocks.
const ROUNDING: u64 = 2;

/// The lease under which this daemon works, from its start to its end.
#[derive(Debug)]
pub(super) struct Held {
    lease: Lease,
    file: LeaseFile,
    /// Whether its end has been obeyed.
    is_over: bool,
}

impl Held {
    /// The lease that the configuration names.
    pub(super) fn watch(config: &Sequencer, registry: &Registry) -> io::Result<Option<Held>> {
        let Some(path) = &config.leasefile else {
            return Ok(None);
        };
        let file = LeaseFile::watch(path.clone(), registry, Ready::Lease.token())?;
        let lease = Lease::default();
        Ok(Some(Held {
            lease,
            file,
            is_over: false,
        }))
    }

    /// Whether it is in force.
    pub(super) fn holds(&mut self) -> bool {
        let path = self.file.path();
        self.lease.holds(lease::clock, || lease::read(path))
    }
}

impl Daemon {
    /// Whether something may be started now. If the lease has run out, everything is stopped before this returns.
    pub(super) fn may_go_on(&mut self, now: Moment) -> bool {
        let Some(held) = &mut self.lease else {
            return true;
        };
        if held.holds() {
            return true;
        }
        if !std::mem::replace(&mut held.is_over, true) {
            let line = lease::run_out(held.file.path());
            // The file is the next host's, and so is the time: kill first, and tell then.
            self.forget_state_file();
            self.stop_without_lease(now);
            self.log.tell(&Event::LeaseLost(&line));
        }
        false
    }

    /// Whether a file that the next host goes on with may be written now; if not, why.
    pub(super) fn may_write(&mut self, now: Moment) -> Result<(), String> {
        if self.may_go_on(now) {
            return Ok(());
        }
        let path = self.lease.as_ref().map(|held| held.file.path().display());
        let path = path.map(|path| path.to_string()).unwrap_or_default();
        Err(format!("the lease in '{path}' has run out"))
    }

    /// The timer has rung. The lease may be longer by now, or nothing may run any more that the end would matter to.
    pub(super) fn lease_rang(&mut self) {
        if let Some(held) = &mut self.lease {
            held.file.rung();
        }
        if self.is_at_work() {
            self.may_go_on(system::now());
        }
    }

    /// Sets the timer to the end of the lease while something runs. While nothing runs, the timer is stopped if it would
    /// ring before the loop wakes anyway; otherwise it stays, so that the next start need not set it. `sleep` is how
    /// long the loop sleeps if nothing happens.
    pub(super) fn set_lease_timer(&mut self, sleep: Option<Duration>) {
        let is_at_work = self.is_at_work();
        let Some(Held { lease, file, .. }) = &mut self.lease else {
            return;
        };
        let at = match file.timer() {
            _ if lease.has_run_out() => None,
            _ if is_at_work => Some(lease.until()),
            Some(set) => {
                let wakes = sleep.map(|time| {
                    let woken = lease::clock().saturating_add(time.as_secs());
                    woken.saturating_add(ROUNDING)
                });
                wakes.filter(|&at| at < set).and(Some(set))
            }
            None => None,
        };
        // It fails only if it is told nonsense (timerfd_settime(2)).
        let _ = file.set_timer(at);
    }

    fn is_at_work(&self) -> bool {
        self.run.is_some() || self.mailer.pid().is_some()
    }

    /// Keeps the lease that is in force, and says so if a reload names another one.
    pub(super) fn keep_lease(&self, new: &mut Sequencer) -> Option<String> {
        let is = &self.config.leasefile;
        if new.leasefile == *is {
            return None;
        }
        new.leasefile.clone_from(is);
        let stays = match is {
            Some(path) => format!("stays '{}'", path.display()),
            None => "is not obeyed".to_string(),
        };
        Some(format!(
            "The leasefile {stays}: only a restart can change it."
        ))
    }

    /// Whether the lease has run out.
    pub fn has_lost_lease(&self) -> bool {
        self.lease
            .as_ref()
            .is_some_and(|held| held.lease.has_run_out())
    }

    /// The state with what is left of the lease by its file. That costs reading the file.
    pub(super) fn view_with_lease(&self, now: Moment) -> View<'_> {
        let held = self.lease.as_ref();
        View {
            lease: held.map(|held| lease::left(held.file.path())),
            ..self.view(now)
        }
    }
}
