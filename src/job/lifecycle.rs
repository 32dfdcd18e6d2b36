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
/// How long after SIGKILL a group may still have members (unreaped by their own parent, or stuck in the kernel), and
/// how long a stop waits for what may not be signalled. No longer than pipes have at a stop, whose time is counted.
const AFTER_KILL: Duration = PIPE_GRACE_AT_STOP;
/// How long a stop waits for a process that SIGKILL has reached. Longer than one that is reaped needs for its pipes
/// and group, and short enough for all to be over in 9 seconds.
const DYING: Duration = Duration::from_millis(750);
/// How often SIGKILL is sent, and the group asked for members, while none of them may be signalled: each of them may
/// end, or become the daemon's own user again.
const OUT_OF_REACH_POLL: Duration = Duration::from_secs(1);

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
    /// Send SIGTERM to the process group, and say with `signalled` what became of it.
    Terminate,
    /// The same with SIGKILL.
    Kill,
    /// The run has ended. `pipes_kept` when a background process still holds a pipe, which is to be closed.
    End {
        /// Whether a pipe is still open.
        pipes_kept: bool,
    },
    /// The daemon stops and can wait no longer: the run counts as ended although some of it goes on.
    LeaveBehind,
}

/// What a signal to a run's process group has met, or would meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Nobody: the group has no member left, a zombie included.
    Gone,
    /// A member that gets it.
    InReach,
    /// Only members that may not be signalled, because they have become another user's.
    OutOfReach,
}

#[derive(Debug)]
struct Stop {
    why: Why,
    terminated: bool,
    /// When SIGKILL is sent, for the first time or once more.
    kill_at: Instant,
    /// When it was first sent.
    killed_at: Option<Instant>,
    /// Whether a signal of ours has ever reached the group.
    reached: bool,
}

#[derive(Debug)]
struct Reaped {
    exit: Exit,
    at: Instant,
    /// How long the pipes have to come to their end.
    pipes_until: Instant,
}

impl Stop {
    /// SIGKILL is sent once; again only while nobody gets it.
    fn kill_if_due(&mut self, now: Instant, out_of_reach: bool) -> Option<Action> {
        if now < self.kill_at || (self.killed_at.is_some() && !out_of_reach) {
            return None;
        }
        self.killed_at.get_or_insert(now);
        self.kill_at = now + OUT_OF_REACH_POLL;
        Some(Action::Kill)
    }

    fn next_kill(&self, out_of_reach: bool) -> Option<Instant> {
        (self.killed_at.is_none() || out_of_reach).then_some(self.kill_at)
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
    /// Since when the daemon has wanted the run to end because it stops itself.
    leaving_since: Option<Instant>,
    group_checked: Option<Instant>,
    /// Known to have no member left; its number may be another's by now.
    group_gone: bool,
    /// Whether the last signal met nobody who may be signalled.
    out_of_reach: bool,
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
            leaving_since: None,
            group_checked: None,
            group_gone: false,
            out_of_reach: false,
        }
    }

    /// One of the two pipes is at end of file.
    pub fn pipe_closed(&mut self) {
        self.open_pipes = self.open_pipes.saturating_sub(1);
    }

    /// The run's own process was reaped. If no signal of ours has reached it, it has ended by itself and was not
    /// stopped; only its time may have been over.
    pub fn reaped(&mut self, exit: Exit, now: Instant) {
        let pipes_until = now + self.pipe_grace;
        self.reaped.get_or_insert(Reaped {
            exit,
            at: now,
            pipes_until,
        });
        let stopped = |stop: &Stop| stop.reached || stop.why == Why::TimedOut;
        self.stop = self.stop.take().filter(stopped);
    }

    /// Whether the run's own process still has to be reaped.
    pub fn is_running(&self) -> bool {
        self.reaped.is_none()
    }

    /// Stops the run; the first reason stays. A run whose process has gone by itself only loses patience with
    /// its pipes.
    pub fn stop(&mut self, why: Why, now: Instant) {
        if why == Why::Shutdown {
            self.leaving_since.get_or_insert(now);
            self.pipe_grace = PIPE_GRACE_AT_STOP;
            if let Some(reaped) = &mut self.reaped {
                reaped.pipes_until = reaped.pipes_until.min(now + PIPE_GRACE_AT_STOP);
            }
        }
        if self.stop.is_none() && self.reaped.is_none() {
            self.stop = Some(Stop {
                why,
                terminated: false,
                kill_at: now + self.kill_delay,
                killed_at: None,
                reached: false,
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

    /// What became of the signal that `next` has asked for. An operator's wish to stop the run that could not be
    /// carried out at all is no more.
    pub fn signalled(&mut self, group: Group) {
        self.out_of_reach = group == Group::OutOfReach;
        if let Some(stop) = &mut self.stop {
            stop.reached |= group == Group::InReach;
        }
        let refused = |stop: &Stop| stop.why == Why::Operator && !stop.reached;
        if self.out_of_reach && self.stop.as_ref().is_some_and(refused) {
            self.stop = None;
        }
    }

    /// When `next` is to be asked again, whatever else happens.
    pub fn deadline(&self) -> Option<Instant> {
        let Some(stop) = &self.stop else {
            return match &self.reaped {
                None => self.timeout_at(),
                Some(reaped) => Some(reaped.pipes_until),
            };
        };
        let next = match &self.reaped {
            None if !stop.terminated => Some(self.started),
            None => stop.next_kill(self.out_of_reach),
            Some(reaped) if self.group_gone => Some(reaped.pipes_until),
            Some(reaped) => Some(self.next_look(reaped)),
        };
        [next, self.leave_at()].into_iter().flatten().min()
    }

    fn timeout_at(&self) -> Option<Instant> {
        (!self.timeout.is_zero()).then(|| self.started + self.timeout)
    }

    /// When the group is asked for members the next time.
    fn next_look(&self, reaped: &Reaped) -> Instant {
        let Some(checked) = self.group_checked else {
            return reaped.at;
        };
        let stop = self.stop.as_ref();
        let kill_at = stop.and_then(|stop| stop.next_kill(self.out_of_reach));
        if self.out_of_reach {
            let look = checked + OUT_OF_REACH_POLL;
            return kill_at.map_or(look, |at| at.min(look));
        }
        checked + GROUP_POLL
    }

    /// When the daemon, which stops, goes on without the run.
    fn leave_at(&self) -> Option<Instant> {
        let killed_at = self.stop.as_ref()?.killed_at?;
        let patience = if self.out_of_reach { AFTER_KILL } else { DYING };
        Some(killed_at.max(self.leaving_since?) + patience)
    }

    /// What to do at `now`, if anything. `group` tells whether the process group still has a member; it is asked
    /// only of a run that is being stopped, after its own process was reaped.
    pub fn next(&mut self, now: Instant, group: impl FnOnce() -> Group) -> Option<Action> {
        if self.timeout_at().is_some_and(|at| now >= at) {
            self.stop(Why::TimedOut, now);
        }
        let Some(stop) = &mut self.stop else {
            let reaped = self.reaped.as_ref()?;
            return reaped.end_of_pipes(self.open_pipes, now);
        };
        let Some(reaped) = &self.reaped else {
            if !stop.terminated {
                stop.terminated = true;
                return Some(Action::Terminate);
            }
            let kill = stop.kill_if_due(now, self.out_of_reach);
            return kill.or_else(|| self.leave_if_due(now));
        };
        if self.group_gone {
            return reaped.end_of_pipes(self.open_pipes, now);
        }
        self.group_checked = Some(now);
        let group = group();
        self.out_of_reach = group == Group::OutOfReach;
        let killed_at = stop.killed_at.map(|at| at.max(reaped.at));
        let given_up = killed_at.is_some_and(|at| now >= at + AFTER_KILL);
        if group == Group::Gone || (group == Group::InReach && given_up) {
            self.group_gone = true;
            return reaped.end_of_pipes(self.open_pipes, now);
        }
        let kill = stop.kill_if_due(now, self.out_of_reach);
        kill.or_else(|| self.leave_if_due(now))
    }

    fn leave_if_due(&self, now: Instant) -> Option<Action> {
        let due = self.leave_at().is_some_and(|at| now >= at);
        due.then_some(Action::LeaveBehind)
    }

    /// Why the run is being stopped, if it is.
    pub fn stopping(&self) -> Option<Why> {
        self.stop.as_ref().map(|stop| stop.why)
    }

    /// Whether SIGKILL has been sent to it and has met somebody.
    pub fn is_killed(&self) -> bool {
        let killed = |stop: &Stop| stop.killed_at.is_some();
        !self.out_of_reach && self.stop.as_ref().is_some_and(killed)
    }

    /// How the run ended. A process that SIGKILL has not ended (it hangs in the kernel) counts as killed.
    pub fn outcome(&self) -> Outcome {
        let exit = self
            .reaped
            .as_ref()
            .map_or(Exit::Signal(9), |reaped| reaped.exit);
        let cause = match &self.stop {
            None => Cause::of(exit),
            Some(stop) => match stop.why {
                Why::TimedOut => Cause::TimedOut(self.timeout),
                Why::Operator => Cause::Operator,
                Why::Shutdown => Cause::Shutdown {
                    forced: stop.killed_at.is_some(),
                },
            },
        };
        Outcome {
            code: exit.code(),
            cause,
        }
    }
}

#[cfg(test)]
mod tests;
