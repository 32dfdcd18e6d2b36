//! How the daemon ends: stop (SIGTERM, SIGINT) and drain (SIGQUIT). It moves from phase to phase, and each phase has
//! its time limit.

use std::rc::Rc;
use std::time::{Duration, Instant};

use super::Daemon;
use super::mailer::log_unsent;
use super::runs::Haste;
use crate::clock::Moment;
use crate::event::Event;
use crate::job::lifecycle::Why;
use crate::mail::queue::Dropped;
use crate::status::Doing;

/// How long mail may take in all after the last run has ended, at a stop and at the end of a drain.
const MAIL_TIME: Duration = Duration::from_secs(3);
const DRAINED_MAIL_TIME: Duration = Duration::from_secs(60);
/// How long a log that takes nothing is waited for at the end.
const UNREAD_LOG_TIME: Duration = Duration::from_secs(1);
/// How long a log that takes something now and then is waited for.
const SLOW_LOG_TIME: Duration = Duration::from_secs(3);
/// When the rest of a stop has taken all the time, the log still gets this much, which is enough for a log that is
/// read.
const LEAST_LOG_TIME: Duration = Duration::from_millis(200);
/// How long after a signal to stop, and after `stopdelay`, the log is given up. Everything, the end of the process
/// included, is to take less than 9 seconds.
const STOP_TIME: Duration = Duration::from_millis(8800);
/// How long clients may take to read their last answers.
const ANSWER_TIME: Duration = Duration::from_millis(300);

/// How far the daemon is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It works; nobody has told it to end.
    Working,
    /// The run under way may end in its own time. Then the queued mail is sent.
    Draining,
    /// The run under way goes on until `at` and is stopped then; `None` once it has been.
    Stopping {
        /// When the run is stopped.
        at: Option<Instant>,
    },
    /// A killed run is waited for, as long as its lifecycle says. No mail is sent.
    Killing,
    /// No run is left. Each queued message gets one more try.
    Mailing {
        /// When the messages that are left go to the log.
        until: Instant,
        /// Whether a drain comes to its end so.
        drains: bool,
    },
    /// All work is done. The log is writing its last lines.
    Closing {
        /// When the wait for the log began.
        since: Instant,
    },
    /// Nothing is left to wait for.
    Over,
}

/// The last lines of the log: the reports that were not mailed, and the line that says it is the end.
pub(super) type LastWords = std::vec::IntoIter<Dropped>;

impl Phase {
    /// The phase as the status shows it.
    pub fn shown(self) -> Doing {
        match self {
            Phase::Working => Doing::Working,
            Phase::Draining | Phase::Mailing { drains: true, .. } => Doing::Draining,
            _ => Doing::Stopping,
        }
    }

    /// Whether mail may be sent.
    pub fn starts_mail(self) -> bool {
        !matches!(self, Phase::Killing | Phase::Closing { .. } | Phase::Over)
    }

    /// Whether jobs may be started.
    pub fn starts_jobs(self) -> bool {
        self == Phase::Working
    }

    pub(super) fn deadline(self) -> Option<Instant> {
        match self {
            Phase::Stopping { at } => at,
            Phase::Mailing { until, .. } => Some(until),
            _ => None,
        }
    }
}

impl Daemon {
    /// SIGTERM or SIGINT: the first one stops the daemon in order, the second at once.
    pub(super) fn stop(&mut self, signal: &str, now: Moment) {
        match self.phase {
            Phase::Working | Phase::Draining | Phase::Mailing { drains: true, .. } => {
                let again = false;
                self.log.tell(&Event::Stopping { signal, again });
                self.supervisor.stopping(now.instant);
                self.holds.begin_to_stop();
                self.stop_by = Some(now.instant + self.config.stopdelay + STOP_TIME);
                self.phase = match self.phase {
                    Phase::Mailing { until, .. } => Phase::Mailing {
                        until: until.min(now.instant + MAIL_TIME),
                        drains: false,
                    },
                    _ => Phase::Stopping {
                        at: Some(now.instant + self.config.stopdelay),
                    },
                };
            }
            Phase::Stopping { .. } | Phase::Killing | Phase::Mailing { .. } => {
                let again = true;
                self.log.tell(&Event::Stopping { signal, again });
                self.phase = Phase::Killing;
                self.mailer.abandon(&mut self.log);
                self.stop_run(Why::Shutdown, Haste::AtOnce, now);
            }
            Phase::Closing { .. } | Phase::Over => self.phase = Phase::Over,
        }
        self.dismiss_waiters(now);
        self.changed();
    }

    /// The lease has run out, so another host may be at work already: what runs is killed, and no time is given to it.
    pub(super) fn stop_without_lease(&mut self, now: Moment) {
        if !matches!(self.phase, Phase::Closing { .. } | Phase::Over) {
            self.phase = Phase::Killing;
        }
        self.mailer.abandon(&mut self.log);
        self.reap();
        if let Some(run) = &self.run {
            run.kill_rest(&mut self.log);
        }
        self.stop_run(Why::Shutdown, Haste::AtOnce, now);
        self.supervisor.stopping(now.instant);
        self.holds.begin_to_stop();
        self.stop_by.get_or_insert(now.instant + STOP_TIME);
        self.dismiss_waiters(now);
        self.changed();
    }

    /// SIGQUIT: no more jobs start, and the run under way ends in its own time.
    pub(super) fn drain(&mut self, now: Moment) {
        if self.phase == Phase::Working {
            let running = self.run.as_ref().map(|run| &*run.job.name);
            self.log.tell(&Event::Draining(running));
            self.holds.begin_to_stop();
            self.phase = Phase::Draining;
            self.dismiss_waiters(now);
            self.changed();
        }
    }

    /// Moves on to the next phase when this one has nothing left to do or its time is over.
    pub(super) fn act_on_phase(&mut self, now: Moment) {
        if matches!(self.phase, Phase::Stopping { at: Some(at) } if now.instant >= at) {
            self.phase = Phase::Stopping { at: None };
            self.stop_run(Why::Shutdown, Haste::InOrder, now);
        }
        match self.phase {
            Phase::Draining if self.run.is_none() => self.flush_mail(true, now),
            Phase::Stopping { .. } if self.run.is_none() => self.flush_mail(false, now),
            Phase::Killing if self.run.is_none() => self.close(),
            Phase::Mailing { until, .. } if self.mailer.is_idle() || now.instant >= until => {
                self.close();
            }
            _ => {}
        }
    }

    /// Begins to send what is queued. Only now does the supervisor hear of a drain, because its time limit for a stop
    /// runs from then.
    fn flush_mail(&mut self, drains: bool, now: Moment) {
        let time = if drains { DRAINED_MAIL_TIME } else { MAIL_TIME };
        let until = now.instant + time;
        self.supervisor.stopping(now.instant);
        self.mailer.close(now.instant, drains.then_some(until));
        self.phase = Phase::Mailing { until, drains };
        if self.mailer.is_idle() {
            self.close();
        }
    }

    /// Whether this phase waits for the end of a killed run, and that has ended.
    pub(super) fn has_killed(&self) -> bool {
        self.run.is_none() && self.phase == Phase::Killing
    }

    /// Whether this phase waits for mail and none is left.
    pub(super) fn has_mailed(&self) -> bool {
        self.mailer.is_idle() && matches!(self.phase, Phase::Mailing { .. })
    }

    /// Closes everything but the log. Reports that mail did not carry go to the log whole, as it takes them.
    fn close(&mut self) {
        let unsent = self.mailer.give_up_all(&mut self.log);
        let lost: Vec<_> = unsent.iter().map(|d| Rc::clone(&d.unsent.report)).collect();
        self.forget_mailed(&lost);
        // The state is written after the mail has ended, because it says which failures still have to be mailed.
        self.close_files();
        self.control.close();
        self.close_http();
        self.show_all();
        let until = Instant::now() + ANSWER_TIME;
        for clients in [&mut self.control.clients, &mut self.http.clients] {
            clients.finish_answers(until);
        }
        self.last_words = Some(unsent.into_iter());
        self.phase = Phase::Closing {
            since: Instant::now(),
        };
    }

    /// Logs the last lines that are left, as the log takes them.
    pub(super) fn say_last_words(&mut self) {
        let Some(words) = &mut self.last_words else {
            return;
        };
        while self.log.takes_more() {
            match words.next() {
                Some(dropped) => log_unsent(&mut self.log, &dropped, "the daemon stops"),
                None => {
                    self.log.tell(&Event::Terminated);
                    self.last_words = None;
                    return;
                }
            }
        }
    }

    /// Until when the log may take its last lines.
    pub(super) fn closing_deadline(&self) -> Option<Instant> {
        let Phase::Closing { since } = self.phase else {
            return None;
        };
        let progress = self.log.stuck_since().map_or(since, |at| at.max(since));
        let unread = progress + UNREAD_LOG_TIME;
        let slow = since + SLOW_LOG_TIME;
        let in_all = self.stop_by.map(|at| at.max(since + LEAST_LOG_TIME));
        [Some(unread), Some(slow), in_all]
            .into_iter()
            .flatten()
            .min()
    }

    /// Whether nothing is left to do, or no time to do it.
    pub(super) fn is_over(&self) -> bool {
        let is_said = self.last_words.is_none() && self.log.is_written();
        match self.closing_deadline() {
            Some(at) => is_said || Instant::now() >= at,
            None => self.phase == Phase::Over,
        }
    }
}
