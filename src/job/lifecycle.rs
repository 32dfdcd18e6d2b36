//! The life of one run, from its process's start to the end of its pipes, and the ways to stop it: time-out, SIGTERM,
//! SIGKILL after `killdelay`, and how long a pipe may stay open after the end.
//! Pure: it is told what happened and answers what to do and when to ask again; it sends no signal itself.

use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::job::outcome::{Cause, Outcome};

/// How long a background process may keep a pipe open after the run's own process was reaped.
pub const PIPE_GRACE: Duration = Duration::from_secs(2);
/// The same while the daemon stops.
pub const PIPE_GRACE_AT_STOP: Duration = Duration::from_millis(500);
/// How often a stopped run's process group is asked for members: the kernel tells nobody when it empties.
const GROUP_POLL: Duration = Duration::from_millis(20);
/// How long after SIGKILL a group may still have members (unreaped by their own parent, or stuck in the kernel). No
/// longer than pipes have at a stop, whose time is counted.
const AFTER_KILL: Duration = PIPE_GRACE_AT_STOP;

/// Why a run is stopped before its own end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It ran longer than its `timeout`.
    TimedOut,
    /// An operator asked for it.
    Operator,
    /// The daemon stops.
    Shutdown,
}

/// What the owner of the process has to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Send SIGTERM to the process group.
    Terminate,
    /// Send SIGKILL to the process group.
    Kill,
    /// The run has ended. `pipes_kept` when a background process still holds a pipe, which is to be closed.
    End {
        /// Whether a pipe is still open.
        pipes_kept: bool,
    },
}

#[derive(Debug)]
struct Stop {
    why: Why,
    terminated: bool,
    kill_at: Instant,
    killed_at: Option<Instant>,
}

#[derive(Debug)]
struct Reaped {
    exit: Exit,
    at: Instant,
    /// How long the pipes have to come to their end.
    pipes_until: Instant,
}

impl Stop {
    fn kill_if_due(&mut self, now: Instant) -> Option<Action> {
        if self.killed_at.is_some() || now < self.kill_at {
            return None;
        }
        self.killed_at = Some(now);
        Some(Action::Kill)
    }
}

impl Reaped {
    fn end_of_pipes(&self, open: u8, now: Instant) -> Option<Action> {
        if open == 0 {
            return Some(Action::End { pipes_kept: false });
        }
        (now >= self.pipes_until).then_some(Action::End { pipes_kept: true })
    }
}

/// One run's life.
#[derive(Debug)]
pub struct Life {
    started: Instant,
    timeout: Duration,
    kill_delay: Duration,
    pipe_grace: Duration,
    open_pipes: u8,
    reaped: Option<Reaped>,
    stop: Option<Stop>,
    group_checked: Option<Instant>,
    /// Known to have no member left; its number may be another's by now.
    group_gone: bool,
}

impl Life {
    /// A run that has just been started, with two pipes. A `timeout` of zero is none.
    pub fn new(started: Instant, timeout: Duration, kill_delay: Duration) -> Life {
        Life {
            started,
            timeout,
            kill_delay,
            pipe_grace: PIPE_GRACE,
            open_pipes: 2,
            reaped: None,
            stop: None,
            group_checked: None,
            group_gone: false,
        }
    }

    /// One of the two pipes is at end of file.
    pub fn pipe_closed(&mut self) {
        self.open_pipes = self.open_pipes.saturating_sub(1);
    }

    /// The run's own process was reaped.
    pub fn reaped(&mut self, exit: Exit, now: Instant) {
        let pipes_until = now + self.pipe_grace;
        self.reaped.get_or_insert(Reaped {
            exit,
            at: now,
            pipes_until,
        });
    }

    /// Whether the run's own process still has to be reaped.
    pub fn is_running(&self) -> bool {
        self.reaped.is_none()
    }

    /// Stops the run; the first reason stays. A run whose process has gone by itself only loses patience with
    /// its pipes.
    pub fn stop(&mut self, why: Why, now: Instant) {
        if why == Why::Shutdown {
            self.pipe_grace = PIPE_GRACE_AT_STOP;
            if let Some(reaped) = &mut self.reaped {
                reaped.pipes_until = reaped.pipes_until.min(now + PIPE_GRACE_AT_STOP);
            }
        }
        if self.stop.is_none() && self.reaped.is_none() {
            let kill_at = now + self.kill_delay;
            self.stop = Some(Stop {
                why,
                terminated: false,
                kill_at,
                killed_at: None,
            });
        }
    }

    /// Stops the run with SIGKILL, without further delay.
    pub fn kill(&mut self, why: Why, now: Instant) {
        self.stop(why, now);
        if let Some(stop) = &mut self.stop {
            stop.terminated = true;
            stop.kill_at = stop.kill_at.min(now);
        }
    }

    /// When `next` is to be asked again, whatever else happens.
    pub fn deadline(&self) -> Option<Instant> {
        match (&self.stop, &self.reaped) {
            (None, None) => self.timeout_at(),
            (None, Some(reaped)) => Some(reaped.pipes_until),
            (Some(stop), None) if !stop.terminated => Some(self.started),
            (Some(stop), None) => stop.killed_at.is_none().then_some(stop.kill_at),
            (Some(_), Some(reaped)) if self.group_gone => Some(reaped.pipes_until),
            (Some(_), Some(reaped)) => {
                Some(self.group_checked.map_or(reaped.at, |at| at + GROUP_POLL))
            }
        }
    }

    fn timeout_at(&self) -> Option<Instant> {
        (!self.timeout.is_zero()).then(|| self.started + self.timeout)
    }

    /// What to do at `now`, if anything. `group_alive` tells whether the process group still has a member; it is
    /// asked only of a run that is being stopped, after its own process was reaped.
    pub fn next(&mut self, now: Instant, group_alive: impl FnOnce() -> bool) -> Option<Action> {
        if self.timeout_at().is_some_and(|at| now >= at) {
            self.stop(Why::TimedOut, now);
        }
        match (&mut self.stop, &self.reaped) {
            (None, None) => None,
            (Some(stop), None) if !stop.terminated => {
                stop.terminated = true;
                Some(Action::Terminate)
            }
            (Some(stop), None) => stop.kill_if_due(now),
            (Some(stop), Some(reaped)) if !self.group_gone => {
                self.group_checked = Some(now);
                let given_up = stop
                    .killed_at
                    .is_some_and(|killed| now >= killed.max(reaped.at) + AFTER_KILL);
                if group_alive() && !given_up {
                    // Its own process may have ended between the decision to stop it and now.
                    if !stop.terminated {
                        stop.terminated = true;
                        return Some(Action::Terminate);
                    }
                    return stop.kill_if_due(now);
                }
                self.group_gone = true;
                reaped.end_of_pipes(self.open_pipes, now)
            }
            (_, Some(reaped)) => reaped.end_of_pipes(self.open_pipes, now),
        }
    }

    /// Why the run is being stopped, if it is.
    pub fn stopping(&self) -> Option<Why> {
        self.stop.as_ref().map(|stop| stop.why)
    }

    /// How the run ended. A process that SIGKILL has not ended (it hangs in the kernel) counts as killed.
    pub fn outcome(&self) -> Outcome {
        let exit = self
            .reaped
            .as_ref()
            .map_or(Exit::Signal(9), |reaped| reaped.exit);
        let cause = match &self.stop {
            None => Cause::of(exit),
            Some(Stop {
                why: Why::TimedOut, ..
            }) => Cause::TimedOut(self.timeout),
            Some(Stop {
                why: Why::Operator, ..
            }) => Cause::Operator,
            Some(Stop {
                why: Why::Shutdown,
                killed_at,
                ..
            }) => Cause::Shutdown {
                forced: killed_at.is_some(),
            },
        };
        Outcome {
            code: exit.code(),
            cause,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn life(t0: Instant) -> Life {
        Life::new(t0, s(30), s(5))
    }

    fn nobody() -> bool {
        false
    }

    const END: Option<Action> = Some(Action::End { pipes_kept: false });

    #[test]
    fn a_run_ends_when_its_process_is_reaped_and_both_pipes_are_at_end() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.pipe_closed();
        run.pipe_closed();
        assert_eq!(
            run.next(t0, nobody),
            None,
            "a run that closes its output early runs on"
        );
        run.reaped(Exit::Code(3), t0 + s(1));
        assert_eq!(run.next(t0 + s(1), nobody), END);
        assert_eq!(run.outcome().to_string(), "3");
    }

    #[test]
    fn a_pipe_kept_open_holds_the_sequence_for_two_seconds_only() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.pipe_closed();
        run.reaped(Exit::Code(0), t0 + s(1));
        assert_eq!(run.next(t0 + s(2), nobody), None);
        assert_eq!(run.deadline(), Some(t0 + s(3)));
        assert_eq!(
            run.next(t0 + s(3), nobody),
            Some(Action::End { pipes_kept: true })
        );
    }

    #[test]
    fn a_timeout_terminates_then_kills() {
        let t0 = Instant::now();
        let mut run = life(t0);
        assert_eq!(run.deadline(), Some(t0 + s(30)));
        assert_eq!(run.next(t0 + s(29), nobody), None);
        assert_eq!(run.next(t0 + s(30), nobody), Some(Action::Terminate));
        assert_eq!(run.deadline(), Some(t0 + s(35)));
        assert_eq!(run.next(t0 + s(34), nobody), None);
        assert_eq!(run.next(t0 + s(35), nobody), Some(Action::Kill));
        assert_eq!(run.deadline(), None, "the reap comes by itself");
        run.pipe_closed();
        run.pipe_closed();
        run.reaped(Exit::Signal(9), t0 + s(36));
        assert_eq!(run.next(t0 + s(36), nobody), END);
        assert_eq!(
            run.outcome().to_string(),
            "137 (timed out after 30 seconds)"
        );
    }

    #[test]
    fn what_a_stopped_leader_leaves_has_the_rest_of_the_kill_delay() {
        let t0 = Instant::now();
        let mut run = life(t0);
        assert_eq!(run.next(t0 + s(30), nobody), Some(Action::Terminate));
        run.pipe_closed();
        run.pipe_closed();
        run.reaped(Exit::Signal(15), t0 + s(31));
        assert_eq!(run.next(t0 + s(31), || true), None);
        assert_eq!(run.deadline(), Some(t0 + s(31) + GROUP_POLL));
        assert_eq!(run.next(t0 + s(35), || true), Some(Action::Kill));
        assert_eq!(run.next(t0 + s(35) + GROUP_POLL, nobody), END);
    }

    #[test]
    fn a_group_that_is_gone_before_it_is_told_to_stop_is_told_nothing() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.pipe_closed();
        run.pipe_closed();
        run.stop(Why::Operator, t0 + s(1));
        run.reaped(Exit::Code(0), t0 + s(1));
        assert_eq!(run.next(t0 + s(1), nobody), END);
        let mut run = life(t0);
        run.stop(Why::Operator, t0 + s(1));
        run.reaped(Exit::Code(0), t0 + s(1));
        assert_eq!(run.next(t0 + s(1), || true), Some(Action::Terminate));
        assert_eq!(run.next(t0 + s(1), || true), None);
    }

    #[test]
    fn a_group_that_sigkill_does_not_empty_holds_nothing_up_for_long() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.pipe_closed();
        run.pipe_closed();
        run.next(t0 + s(30), nobody);
        run.reaped(Exit::Signal(15), t0 + s(31));
        assert_eq!(run.next(t0 + s(35), || true), Some(Action::Kill));
        assert_eq!(run.next(t0 + s(36), || true), END);
    }

    #[test]
    fn a_group_found_empty_is_never_asked_again() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.next(t0 + s(30), nobody);
        run.reaped(Exit::Code(0), t0 + s(31));
        assert_eq!(run.next(t0 + s(31), nobody), None, "a pipe is still open");
        assert_eq!(run.next(t0 + s(32), || unreachable!()), None);
        assert_eq!(
            run.next(t0 + s(33), || unreachable!()),
            Some(Action::End { pipes_kept: true })
        );
        assert_eq!(run.outcome().to_string(), "0 (timed out after 30 seconds)");
    }

    #[test]
    fn the_first_reason_to_stop_stays_and_a_second_stop_does_not_prolong() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.stop(Why::Operator, t0 + s(1));
        assert_eq!(run.next(t0 + s(1), nobody), Some(Action::Terminate));
        run.stop(Why::Shutdown, t0 + s(3));
        assert_eq!(run.next(t0 + s(3), nobody), None);
        assert_eq!(run.deadline(), Some(t0 + s(6)));
        assert_eq!(run.stopping(), Some(Why::Operator));
    }

    #[test]
    fn a_forced_stop_kills_at_once_and_counts_as_a_failure() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.stop(Why::Shutdown, t0 + s(1));
        assert_eq!(run.next(t0 + s(1), nobody), Some(Action::Terminate));
        run.kill(Why::Shutdown, t0 + s(2));
        assert_eq!(run.next(t0 + s(2), nobody), Some(Action::Kill));
        run.reaped(Exit::Signal(9), t0 + s(2));
        assert_eq!(run.outcome().cause, Cause::Shutdown { forced: true });
    }

    #[test]
    fn a_stop_leaves_pipes_half_a_second_and_the_outcome_as_it_was() {
        let t0 = Instant::now();
        let mut run = life(t0);
        run.reaped(Exit::Code(1), t0 + s(1));
        run.stop(Why::Shutdown, t0 + s(2));
        assert_eq!(run.deadline(), Some(t0 + s(2) + PIPE_GRACE_AT_STOP));
        assert_eq!(
            run.next(t0 + s(3), nobody),
            Some(Action::End { pipes_kept: true })
        );
        assert_eq!(run.outcome().to_string(), "1");
    }
}
