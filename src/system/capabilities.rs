//! Inheritable capabilities, which stay with a process that has given up root and with everything that it starts
//! (capabilities(7)). It knows how to drop them, not when.
//!
//! capset(2) has no safe interface, and nothing else drops them. So setpriv(1), which is part of every distribution's
//! base, does it: this process becomes setpriv, and that becomes this program again. Without setpriv they cannot be
//! dropped.

use std::env;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, raise};
use nix::unistd::execve;

use crate::system::detach::marked_environment;
use crate::system::errors::{error_text, system_text};
use crate::system::process::SHEDDING;
use crate::system::signals::Early;

/// Where setpriv may be. PATH is not searched, because root runs it.
const SETPRIV: [&str; 3] = [
    "/usr/bin/setpriv",
    "/bin/setpriv",
    "/run/current-system/sw/bin/setpriv",
];

/// A set of capabilities, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Set(u64);

impl Set {
    /// The inheritable capabilities of this process. Empty if /proc does not tell.
    pub fn inheritable() -> Set {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        Set(parse(&status).unwrap_or(0))
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// setpriv's argument: the numbers, each with a minus, because it may not know the names of new capabilities.
    fn without(self) -> String {
        let numbers = (0..u64::BITS).filter(|number| self.0 & (1 << number) != 0);
        let minus: Vec<String> = numbers.map(|number| format!("-cap_{number}")).collect();
        minus.join(",")
    }
}

/// The set in the text of proc_pid_status(5).
fn parse(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|it| it.strip_prefix("CapInh:"))?;
    u64::from_str_radix(line.trim(), 16).ok()
}

/// Starts this program anew without the inheritable capabilities `set`. It returns only if that fails, and says why.
/// The process id, the descriptors and the parent stay the same. A SIGHUP that comes meanwhile waits for the new start.
pub fn begin_without(set: Set, early: &Early) -> String {
    let cannot = |why: &str| {
        format!(
            "cannot give up the inheritable capabilities {:016x}: {why}; start it without them, for instance by \
             'setpriv --inh-caps=-all'",
            set.0
        )
    };
    if env::var(SHEDDING).is_ok_and(|pid| pid == std::process::id().to_string()) {
        return cannot("setpriv has not taken them away");
    }
    let own = match env::current_exe() {
        Ok(own) => own,
        Err(error) => return cannot(&error_text(&error)),
    };
    let before = ["setpriv", "--inh-caps", &set.without(), "--"].map(Into::into);
    let arguments = before
        .into_iter()
        .chain([own.into_os_string()])
        .chain(env::args_os().skip(1))
        .map(|argument| CString::new(argument.into_vec()))
        .collect::<Result<Vec<CString>, _>>();
    let (Ok(arguments), Ok(environment)) = (arguments, marked_environment(SHEDDING)) else {
        return cannot(&system_text(Errno::EINVAL));
    };
    let mut kept = SigSet::empty();
    kept.add(Signal::SIGHUP);
    if let Err(errno) = kept.thread_block() {
        return cannot(&system_text(errno));
    }
    if early.hangup_has_come() {
        let _ = raise(Signal::SIGHUP);
    }
    let mut why = Errno::ENOENT;
    for setpriv in SETPRIV.iter().filter_map(|path| CString::new(*path).ok()) {
        match execve(&setpriv, &arguments, &environment) {
            Err(Errno::ENOENT) => {}
            Err(errno) => why = errno,
        }
    }
    let _ = kept.thread_unblock();
    match why {
        Errno::ENOENT => cannot("setpriv is not installed"),
        errno => cannot(&format!("cannot run setpriv: {}", system_text(errno))),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn the_inheritable_set_is_read_from_the_status() {
        let status = "Name:\tx\nCapInh:\t0000000000002001\nCapPrm:\t000001ffffffffff\n";
        assert_eq!(parse(status), Some(0x2001));
        assert_eq!(Set(0x2001).without(), "-cap_0,-cap_13");
        assert_eq!(parse("Name:\tx\n"), None);
        assert_eq!(parse("CapInh:\t\n"), None);
    }

    #[test]
    fn the_highest_number_there_could_be_is_one_too() {
        assert_eq!(Set(1 << 63).without(), "-cap_63");
        assert!(Set(0).is_empty() && !Set(1 << 63).is_empty());
    }
}
