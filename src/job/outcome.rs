//! How a run ended, and the words for it in the log, the report and the status. It judges what the kernel reported and
//! never asks the kernel itself.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use crate::exit::Exit;
use crate::text::seconds;

/// Why a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cause {
    /// The process called `exit`.
    Exited,
    /// A signal that was not ours killed the process.
    Killed(i32),
    /// The run was stopped because it took longer than the job's `timeout`.
    TimedOut(Duration),
    /// The command could not be started, for this reason in the system's words.
    NotStarted(String),
    /// The daemon stopped, and stopped the run.
    Shutdown {
        /// Whether SIGTERM was not enough.
        forced: bool,
    },
    /// An operator stopped the run.
    Operator,
}

impl Cause {
    /// The cause of an end that the daemon did not bring about.
    pub fn of(exit: Exit) -> Cause {
        match exit {
            Exit::Code(_) => Cause::Exited,
            Exit::Signal(signal) => Cause::Killed(signal),
        }
    }
}

/// Whether a run counts as a success.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It exited with 0 by itself.
    Success,
    /// It ended in any other way. It is counted and reported by mail.
    Failure,
    /// Our own SIGTERM ended it at shutdown. This says nothing about the job.
    Neither,
}

/// How a run ended: its exit code (128+N for a death by signal N) and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Exit code as a shell would show it in `$?`.
    pub code: i32,
    /// Why the run ended.
    pub cause: Cause,
}

impl Outcome {
    /// Whether the run succeeded, failed, or was merely interrupted.
    pub fn verdict(&self) -> Verdict {
        Brief::of(self).verdict()
    }

    /// The exit code for who asks whether the run succeeded: that of the run, but 1 if it exited with 0 and has not
    /// succeeded all the same, as after a time-out.
    pub fn status(&self) -> i32 {
        match self.verdict() {
            Verdict::Failure | Verdict::Neither if self.code == 0 => 1,
            _ => self.code,
        }
    }

    /// The short word for tables and mail throttling: `ok`, `exit 3`, `SIGKILL`, `timeout`, `start 127`, `killed` (by
    /// an operator), `shutdown`. Failures with the same word count as the same failure.
    pub fn word(&self) -> String {
        Brief::of(self).word().into_owned()
    }
}

/// An outcome without the words of the moment, small enough to be kept of many runs: what a table shows of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Brief {
    manner: Manner,
    /// Exit code as a shell would show it in `$?`.
    pub code: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    Exited,
    Killed,
    TimedOut,
    NotStarted,
    Stopped,
    Forced,
    Operator,
}

/// Each with its word in a history file, in the order of the variants.
const MANNERS: [(Manner, &str); 7] = [
    (Manner::Exited, "exited"),
    (Manner::Killed, "signal"),
    (Manner::TimedOut, "timeout"),
    (Manner::NotStarted, "start"),
    (Manner::Stopped, "shutdown"),
    (Manner::Forced, "forced"),
    (Manner::Operator, "killed"),
];

impl Brief {
    /// What is kept of an outcome.
    pub fn of(outcome: &Outcome) -> Brief {
        let manner = match outcome.cause {
            Cause::Exited => Manner::Exited,
            Cause::Killed(_) => Manner::Killed,
            Cause::TimedOut(_) => Manner::TimedOut,
            Cause::NotStarted(_) => Manner::NotStarted,
            Cause::Shutdown { forced: false } => Manner::Stopped,
            Cause::Shutdown { forced: true } => Manner::Forced,
            Cause::Operator => Manner::Operator,
        };
        let code = outcome.code;
        Brief { manner, code }
    }

    /// How it ended, in a word that `read` knows. Unlike `word` it tells a forced end at shutdown from another.
    pub fn manner(self) -> &'static str {
        MANNERS[self.manner as usize].1
    }

    /// What `manner` and the code say; `None` if there is no such word.
    pub fn read(manner: &str, code: i32) -> Option<Brief> {
        let (manner, _) = *MANNERS.iter().find(|(_, word)| *word == manner)?;
        Some(Brief { manner, code })
    }

    /// Whether the run succeeded, failed, or was merely interrupted.
    pub fn verdict(self) -> Verdict {
        match self.manner {
            Manner::Exited if self.code == 0 => Verdict::Success,
            Manner::Stopped => Verdict::Neither,
            _ => Verdict::Failure,
        }
    }

    /// Whether the program itself said that it had failed, or could not even be started; a run that was ended by a
    /// signal, a time-out or a person did not.
    pub fn is_failed_exit(self) -> bool {
        match self.manner {
            Manner::Exited => self.code != 0,
            Manner::NotStarted => true,
            _ => false,
        }
    }

    /// `Outcome::word`.
    pub fn word(self) -> Cow<'static, str> {
        match self.manner {
            Manner::Exited if self.code == 0 => "ok".into(),
            Manner::Exited => format!("exit {}", self.code).into(),
            Manner::Killed => signal_name(self.code.saturating_sub(128)).into(),
            Manner::TimedOut => "timeout".into(),
            Manner::NotStarted => format!("start {}", self.code).into(),
            Manner::Stopped | Manner::Forced => "shutdown".into(),
            Manner::Operator => "killed".into(),
        }
    }
}

/// What follows `exit code` in the log and `exited with code` in a subject: `3`, `137 (killed by SIGKILL)`, `143 (timed
/// out after 30 seconds)`.
impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.code)?;
        match &self.cause {
            Cause::Exited => Ok(()),
            Cause::Killed(signal) => write!(f, " (killed by {})", signal_name(*signal)),
            Cause::TimedOut(limit) => write!(f, " (timed out after {} seconds)", seconds(*limit)),
            Cause::NotStarted(why) => write!(f, " (could not start: {why})"),
            Cause::Shutdown { .. } => write!(f, " (stopped at shutdown)"),
            Cause::Operator => write!(f, " (stopped by operator)"),
        }
    }
}

/// Linux's signal names by number, in the order of x86 and ARM (signal(7)). Number 16 is SIGSTKFLT there.
const SIGNALS: [&str; 31] = [
    "SIGHUP",
    "SIGINT",
    "SIGQUIT",
    "SIGILL",
    "SIGTRAP",
    "SIGABRT",
    "SIGBUS",
    "SIGFPE",
    "SIGKILL",
    "SIGUSR1",
    "SIGSEGV",
    "SIGUSR2",
    "SIGPIPE",
    "SIGALRM",
    "SIGTERM",
    "SIGSTKFLT",
    "SIGCHLD",
    "SIGCONT",
    "SIGSTOP",
    "SIGTSTP",
    "SIGTTIN",
    "SIGTTOU",
    "SIGURG",
    "SIGXCPU",
    "SIGXFSZ",
    "SIGVTALRM",
    "SIGPROF",
    "SIGWINCH",
    "SIGIO",
    "SIGPWR",
    "SIGSYS",
];

/// The name of a signal: `SIGKILL`, `SIGRTMIN+3` (glibc's SIGRTMIN is 34), or `signal 32` for one without a name. 0
/// stands for a real-time signal whose number is not known.
pub fn signal_name(number: i32) -> String {
    let known = usize::try_from(number.saturating_sub(1))
        .ok()
        .and_then(|i| SIGNALS.get(i));
    match (known, number) {
        (Some(name), _) => (*name).to_string(),
        (None, 34) => "SIGRTMIN".to_string(),
        (None, 35..=64) => format!("SIGRTMIN+{}", number - 34),
        (None, 0) => "a real-time signal".to_string(),
        (None, _) => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_the_kernels_names() {
        assert_eq!(signal_name(1), "SIGHUP");
        assert_eq!(signal_name(9), "SIGKILL");
        assert_eq!(signal_name(31), "SIGSYS");
        assert_eq!(signal_name(32), "signal 32");
        assert_eq!(signal_name(34), "SIGRTMIN");
        assert_eq!(signal_name(37), "SIGRTMIN+3");
        assert_eq!(signal_name(0), "a real-time signal");
        assert_eq!(signal_name(-4), "signal -4");
        // From a damaged history file.
        assert_eq!(signal_name(i32::MIN), "signal -2147483648");
    }

    #[test]
    fn a_time_out_is_a_failure_even_with_exit_code_0() {
        let outcome = Outcome {
            code: 0,
            cause: Cause::TimedOut(Duration::from_millis(1500)),
        };
        assert_eq!(outcome.verdict(), Verdict::Failure);
        assert_eq!(outcome.to_string(), "0 (timed out after 1.5 seconds)");
    }

    #[test]
    fn a_manner_is_read_as_it_is_told() {
        for (place, (manner, word)) in MANNERS.into_iter().enumerate() {
            assert_eq!(manner as usize, place, "{word}");
            let brief = Brief { manner, code: 3 };
            assert_eq!(Brief::read(brief.manner(), 3), Some(brief));
        }
        assert_eq!(Brief::read("exit", 3), None);
    }

    #[test]
    fn only_a_forced_stop_at_shutdown_is_a_failure() {
        let stop = |forced| Outcome {
            code: 143,
            cause: Cause::Shutdown { forced },
        };
        assert_eq!(stop(false).verdict(), Verdict::Neither);
        assert_eq!(stop(true).verdict(), Verdict::Failure);
        assert_eq!(stop(true).to_string(), "143 (stopped at shutdown)");
    }
}
