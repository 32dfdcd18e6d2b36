//! `--daemon`: the program runs itself again in the background. The parent ends when that daemon is up, and passes on
//! its errors and its exit status. The daemon's own start is not done here.
//!
//! fork(2) without exec has no safe interface. Running `/proc/self/exe` again does the same for a program that has done
//! nothing yet. Until the daemon reports, its standard input is a pipe to the parent.

use std::env;
use std::ffi::{CString, NulError, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawn};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, Pid};

use crate::exit;
use crate::system::errors::{error_text, system_text};
use crate::system::process::DETACHING;

/// The running program, even if its path names another file by now.
const ITSELF: &str = "/proc/self/exe";

/// The byte that the daemon writes to the parent once it is up.
const UP: u8 = b'+';

/// Starts the daemon and waits until it is up. `Ok` holds the parent's exit status; the daemon itself has printed
/// whatever there was to say.
pub fn start() -> Result<u8, String> {
    let refused = |what: &str, errno| format!("cannot {what}: {}", system_text(errno));
    let (ready, daemons_end) =
        unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| refused("create a pipe", e))?;
    let inherited = SigSet::thread_get_mask().map_err(|e| refused("read the signal mask", e))?;
    let stops = Stops::watch().map_err(|e| refused("watch signals", e))?;
    let daemon = run_itself(&daemons_end, inherited)
        .map_err(|e| refused("detach by running /proc/self/exe", e))?;
    drop(daemons_end);
    stops.pass_on(daemon, ready.as_fd());
    let mut answer = [0];
    if File::from(ready).read_exact(&mut answer).is_ok() && answer == [UP] {
        return Ok(exit::OK);
    }
    match waitpid(daemon, None) {
        Ok(WaitStatus::Exited(_, code)) => Ok(u8::try_from(code).unwrap_or(exit::FAILURE)),
        Ok(WaitStatus::Signaled(_, signal, _)) => Err(format!(
            "the daemon was killed by {signal} before it was up"
        )),
        Ok(_) => Ok(exit::FAILURE),
        Err(errno) => Err(refused("wait for the daemon", errno)),
    }
}

/// The signals that stop a start. The daemon is in a session of its own, where a terminal's do not reach it.
struct Stops(SignalFd);

impl Stops {
    fn watch() -> nix::Result<Stops> {
        let stops: SigSet = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT]
            .into_iter()
            .collect();
        stops.thread_block()?;
        Ok(Stops(SignalFd::with_flags(&stops, SfdFlags::SFD_CLOEXEC)?))
    }

    /// Passes those that come on to the daemon, until it answers or ends.
    fn pass_on(&self, daemon: Pid, answers: BorrowedFd<'_>) {
        loop {
            let mut ready = [
                PollFd::new(answers, PollFlags::POLLIN),
                PollFd::new(self.0.as_fd(), PollFlags::POLLIN),
            ];
            match poll(&mut ready, PollTimeout::NONE) {
                Err(Errno::EINTR) => continue,
                Ok(_) if ready[0].any() != Some(true) => {}
                _ => return,
            }
            let Ok(Some(info)) = self.0.read_signal() else {
                continue;
            };
            let signal = i32::try_from(info.ssi_signo).map(Signal::try_from);
            if let Ok(Ok(signal)) = signal {
                let _ = kill(daemon, signal);
            }
        }
    }
}

fn run_itself(stdin: &OwnedFd, mut blocked: SigSet) -> nix::Result<Pid> {
    let mut actions = PosixSpawnFileActions::init()?;
    actions.add_dup2(stdin.as_raw_fd(), 0)?;
    let mut attributes = PosixSpawnAttr::init()?;
    // Block SIGHUP, so that an early one waits for the daemon to watch it.
    blocked.add(Signal::SIGHUP);
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK)?;
    attributes.set_sigmask(&blocked)?;
    let arguments: Result<Vec<CString>, NulError> = env::args_os().map(c_string).collect();
    let environment = marked_environment(DETACHING);
    posix_spawn(
        ITSELF,
        &actions,
        &attributes,
        &arguments.map_err(|_| Errno::EINVAL)?,
        &environment.map_err(|_| Errno::EINVAL)?,
    )
}

/// The environment with `mark` set to this process's id.
pub(super) fn marked_environment(mark: &str) -> Result<Vec<CString>, NulError> {
    let value = std::process::id().to_string();
    env::vars_os()
        .filter(|(name, _)| name != mark)
        .chain([(OsString::from(mark), OsString::from(value))])
        .map(|(mut name, value)| {
            name.push("=");
            name.push(value);
            c_string(name)
        })
        .collect()
}

fn c_string(text: OsString) -> Result<CString, NulError> {
    CString::new(text.into_vec())
}

/// Whether this is the second run of the program, the daemon's.
pub fn is_detaching() -> bool {
    env::var(DETACHING).is_ok_and(|parent| parent == unistd::getppid().to_string())
}

/// The daemon's side: leaves the parent's session, and reports when all is well.
#[derive(Debug)]
pub struct Detaching {
    parent: File,
}

impl Detaching {
    /// Leaves the parent's session; `None` if there is no parent to report to.
    pub fn begin() -> Result<Option<Detaching>, String> {
        if !is_detaching() {
            return Ok(None);
        }
        unistd::setsid()
            .map_err(|e| format!("cannot leave the parent's session: {}", system_text(e)))?;
        let parent: OwnedFd = io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map_err(|e| format!("cannot keep the pipe to the parent: {}", error_text(&e)))?;
        Ok(Some(Detaching {
            parent: File::from(parent),
        }))
    }

    /// Closes what is left of the parent's terminal and reports to the parent, which ends then.
    pub fn finish(mut self) -> Result<(), String> {
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map_err(|e| {
                let why = error_text(&e);
                format!("cannot let go of the terminal: cannot open '/dev/null': {why}")
            })?;
        unistd::dup2_stdin(&null)
            .and_then(|()| unistd::dup2_stdout(&null))
            .and_then(|()| unistd::dup2_stderr(&null))
            .map_err(|e| format!("cannot let go of the terminal: {}", system_text(e)))?;
        // A parent that has gone does not need the report.
        let _ = self.parent.write_all(&[UP]);
        Ok(())
    }
}
