//! The lifecycle of one run, from its process's start to the end of its pipes, and the ways to stop it: time-out,
//! SIGTERM, SIGKILL after `killdelay`, and how long a pipe may stay open after the end.
//! Pure: it is told what happened, and answers what to do and when to ask again. It sends no signal itself.

use std::time::{Duration, Instant};

use crate::exit::Exit;
use crate::job::outcome::{Cause, Outcome};

/// How long a background process may keep a pipe open after the run's own process was reaped.
const PIPE_GRACE: Duration = Duration::from_secs(2);
/// The same while the daemon stops.
const PIPE_GRACE_AT_STOP: Duration = Duration::from_millis(500);
/// How often a stopped run's process group is checked for members. The kernel does not report that it has become empty.
const GROUP_POLL: Duration = Duration::from_millis(20);
/// How long after SIGKILL a group may still have members (not reaped by their own parent, or stuck in the kernel), and
/// how long a stop waits for processes that may not be signalled. It is as long as pipes stay open at a stop, because a
/// stop's time is limited.
const AFTER_KILL: Duration = PIPE_GRACE_AT_STOP;
/// How long a stop waits for a process that SIGKILL has reached. This is longer than a reaped process needs for its
/// pipes and its group, and short enough for the whole stop to take less than 9 seconds.
const DYING: Duration = Duration::from_millis(750);
/// How often SIGKILL is sent, and the group checked for members, while none of them may be signalled. Each of them may
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
    /// Send SIGTERM to the process group, and report the result with `signalled`.
    Terminate,
    /// Send SIGKILL to the process group, and report the result with `signalled`.
    Kill,
    /// The run has ended. If a background process still holds a pipe open, close that pipe.
    End {
        /// Whether a pipe is still open.
        pipes_kept: bool,
    },
    /// The daemon stops and can wait no longer. The run counts as ended, although processes of it go on.
    LeaveBehind,
}

/// Whom a signal to a run's process group has reached, or would reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Nobody: the group has no member left, not even a zombie.
    Gone,
    /// At least one member.
    InReach,
    /// Nobody: all members have become another user's and may not be signalled.
    OutOfReach,
}

#[derive(Debug)]
struct Stop {
    why: Why,
    terminated: bool,
    /// When SIGKILL is sent, for the first time or again.
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
    /// Until when the pipes may stay open.
    pipes_until: Instant,
}

impl Stop {
    /// Asks for SIGKILL once it is due, and again only while no member may be signalled.
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

/// The lifecycle of one run.
#[derive(Debug)]
pub struct Lifecycle {
    started: Instant,
    timeout: Duration,
    kill_delay: Duration,
    pipe_grace: Duration,
    open_pipes: u8,
    reaped: Option<Reaped>,
    stop: Option<Stop>,
    /// When the daemon began to stop and therefore to stop the run.
    leaving_since: Option<Instant>,
    group_checked: Option<Instant>,
    /// The group is known to have no member left. Its number may belong to another group by now.
    group_gone: bool,
    /// Whether the last signal reached nobody because no member may be signalled.
    out_of_reach: bool,
}

impl Lifecycle {
    /// A run that has just been started, with two open pipes. A `timeout` of zero means none.
    pub fn new(started: Instant, timeout: Duration, kill_delay: Duration) -> Lifecycle {
        Lifecycle {
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

    /// Notes that one of the two pipes is at its end.
    pub fn pipe_closed(&mut self) {
        self.open_pipes = self.open_pipes.saturating_sub(1);
    }

    /// Notes that the run's own process was reaped. If no signal of ours has reached it, it ended by itself and was not
    /// stopped; at most it has timed out.
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

    /// Stops the run. If it is being stopped already, the first reason stays. If its process has ended by itself, only
    /// the wait for its pipes gets shorter.
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

    /// Reports the result of the signal that `next` asked for. If an operator's stop reached nobody, it counts as not
    /// asked for.
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

    /// When `next` is to be asked again, even if nothing else happens.
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

    /// When the group is checked for members the next time.
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

    /// When a stopping daemon stops waiting for the run.
    fn leave_at(&self) -> Option<Instant> {
        let killed_at = self.stop.as_ref()?.killed_at?;
        let patience = if self.out_of_reach { AFTER_KILL } else { DYING };
        Some(killed_at.max(self.leaving_since?) + patience)
    }

    /// What to do at `now`, if anything. `group` tells whether the process group still has a member. It is called only
    /// if the run is being stopped and its own process has been reaped.
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

    /// Whether SIGKILL has been sent and has reached a process.
    pub fn is_killed(&self) -> bool {
        let killed = |stop: &Stop| stop.killed_at.is_some();
        !self.out_of_reach && self.stop.as_ref().is_some_and(killed)
    }

    /// How the run ended. A process that did not end after SIGKILL (it hangs in the kernel) counts as killed.
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
