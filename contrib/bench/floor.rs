//! The floor: a bare loop of all that a run cannot do without (two pipes, a spawn, the drain, the wait), with the
//! daemon's own way of spawning and nothing else. It neither logs nor schedules nor watches signals.

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, OwnedFd};

use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::SigSet;
use nix::sys::wait::waitpid;
use nix::unistd::{Pid, pipe2};

/// The first argument that makes this program the floor.
pub const WORD: &str = "floor";

/// Runs the command for ever, each run beginning as the last one ends. A byte to standard output tells of each end.
pub fn run(command: &[String]) {
    let words: Vec<CString> = command
        .iter()
        .map(|word| CString::new(word.as_str()).unwrap())
        .collect();
    let environment: Vec<CString> = std::env::vars()
        .map(|(name, value)| CString::new(format!("{name}={value}")).unwrap())
        .collect();
    let null = OwnedFd::from(File::open("/dev/null").unwrap());
    let attributes = attributes();
    let mut buffer = vec![0; 64 * 1024];
    let mut runs = 0_u64;
    // The kernel gives the same lowest numbers each time, so one set of actions does for all runs.
    let mut known: Option<([i32; 2], PosixSpawnFileActions)> = None;
    loop {
        let (stdout, job_stdout) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let (stderr, job_stderr) = pipe2(OFlag::O_CLOEXEC).unwrap();
        let numbers = [job_stdout.as_raw_fd(), job_stderr.as_raw_fd()];
        if known.as_ref().is_none_or(|(known, _)| *known != numbers) {
            let mut actions = PosixSpawnFileActions::init().unwrap();
            actions.add_dup2(null.as_raw_fd(), 0).unwrap();
            actions.add_dup2(numbers[0], 1).unwrap();
            actions.add_dup2(numbers[1], 2).unwrap();
            known = Some((numbers, actions));
        }
        let (_, actions) = known.as_ref().unwrap();
        let pid = posix_spawnp(&words[0], actions, &attributes, &words, &environment).unwrap();
        drop((job_stdout, job_stderr));
        drain(stdout, &mut buffer);
        drain(stderr, &mut buffer);
        waitpid(pid, None).unwrap();
        runs += 1;
        if runs % 16 == 0 {
            nix::unistd::write(std::io::stdout(), b"................").unwrap();
        }
    }
}

fn attributes() -> PosixSpawnAttr {
    let mut attributes = PosixSpawnAttr::init().unwrap();
    attributes
        .set_flags(
            PosixSpawnFlags::POSIX_SPAWN_SETPGROUP
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
        )
        .unwrap();
    attributes.set_pgroup(Pid::from_raw(0)).unwrap();
    attributes.set_sigmask(&SigSet::empty()).unwrap();
    attributes.set_sigdefault(&SigSet::all()).unwrap();
    attributes
}

fn drain(pipe: OwnedFd, buffer: &mut [u8]) {
    let mut pipe = File::from(pipe);
    while pipe.read(buffer).unwrap() > 0 {}
}
