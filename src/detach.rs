//! `--daemon`: the program runs itself again in the background, and the parent ends when that daemon is up, with
//! its errors and its exit status. Nothing of the daemon's own start is done here.
//!
//! fork(2) without exec has no safe interface; running `/proc/self/exe` again does the same for a program that
//! has done nothing yet. The daemon's standard input is a pipe to the parent until it reports.

use std::env;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::fcntl::OFlag;
use nix::unistd;

use crate::cli::exit;
use crate::process::error_text;

/// Tells the second run that it is one, by its parent's process id.
pub const MARK: &str = "BUILDD_SEQUENCER_DETACHING";

/// What the daemon writes once it is up.
const UP: u8 = b'+';

/// Starts the daemon and waits until it is up: `Ok` with the exit status for the parent.
pub fn start() -> Result<u8, String> {
    let refused = |what: &str, error: io::Error| format!("cannot {what}: {}", error_text(&error));
    let (ready, daemons_end) =
        unistd::pipe2(OFlag::O_CLOEXEC).map_err(|e| refused("create a pipe", e.into()))?;
    let mut arguments = env::args_os();
    let name = arguments
        .next()
        .unwrap_or_else(|| "buildd-sequencer".into());
    let mut child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(arguments)
        .env(MARK, std::process::id().to_string())
        .stdin(Stdio::from(daemons_end))
        .stdout(Stdio::null())
        .spawn()
        .map_err(|e| refused("detach by running /proc/self/exe", e))?;
    let mut answer = [0];
    let up = File::from(ready).read(&mut answer).is_ok_and(|n| n == 1) && answer == [UP];
    if up {
        return Ok(exit::OK);
    }
    let status = child
        .wait()
        .map_err(|e| refused("wait for the daemon", e))?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(exit::FAILURE))
}

/// Whether this is the second run.
pub fn is_detaching() -> bool {
    env::var(MARK).is_ok_and(|parent| parent == unistd::getppid().to_string())
}

/// The daemon's side: leaves the parent's session, and reports when all is well.
#[derive(Debug)]
pub struct Detaching {
    parent: File,
}

impl Detaching {
    /// Leaves the parent's session; `None` if there is no parent to report to.
    pub fn begin() -> io::Result<Option<Detaching>> {
        if !is_detaching() {
            return Ok(None);
        }
        unistd::setsid()?;
        let stdin: OwnedFd = unistd::dup(io::stdin())?;
        nix::fcntl::fcntl(
            &stdin,
            nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
        )?;
        Ok(Some(Detaching {
            parent: File::from(stdin),
        }))
    }

    /// Lets go of what is left of the parent's terminal and reports to the parent, which ends.
    pub fn finish(mut self) -> io::Result<()> {
        let null = OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")?;
        unistd::dup2_stdin(&null)?;
        unistd::dup2_stdout(&null)?;
        unistd::dup2_stderr(&null)?;
        // A parent that has gone does not want to know.
        let _ = self.parent.write_all(&[UP]);
        Ok(())
    }
}
