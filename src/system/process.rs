//! Starts, signals and reaps processes. A job and a sendmail are both one, and this file knows of them which pipes each
//! has. In the daemon it alone calls `wait`: every child is reaped here, ours and, as PID 1 or subreaper, every orphan. It also
//! decides what a process finds at its start: standard input, descriptors, session, signal dispositions and mask,
//! environment; and which exit code stands for one that could not be started (127 or 126).

use std::ffi::{CString, OsString};
use std::fmt;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid, waitpid};
use nix::unistd::{self, Pid};

use crate::exit::{Exit, NOT_FOUND, NOT_STARTED};
use crate::system::errors::{errno_of, system_text};
use crate::system::inherited;

/// The environment variable that tells the second run of `--daemon` that it is one, by its parent's process id.
pub const DETACHING: &str = "BUILDD_SEQUENCER_DETACHING";

/// The environment variable that tells the second run, without inheritable capabilities, that it is one, by its own
/// process id.
pub const SHEDDING: &str = "BUILDD_SEQUENCER_SHEDDING";

/// Variables that the daemon's supervisor or parent meant for the daemon alone. A job that had them would speak in the
/// daemon's name (`sd_notify(3)`, `sd_listen_fds(3)`, `systemd.exec(5)` on `$JOURNAL_STREAM`).
const NOT_FOR_JOBS: [&str; 6] = [
    DETACHING,
    SHEDDING,
    "NOTIFY_SOCKET",
    "WATCHDOG_PID",
    "WATCHDOG_USEC",
    "JOURNAL_STREAM",
];

/// Why a process could not be started.
#[derive(Debug)]
pub struct SpawnError {
    /// 127 when the command was not found, else 126.
    pub code: i32,
    errno: Errno,
}

impl SpawnError {
    /// Whether it is the command that is wrong, and not the system that is short of something.
    pub fn is_of_the_command(&self) -> bool {
        self.code == NOT_FOUND || matches!(self.errno, Errno::EACCES | Errno::ENOEXEC)
    }
}

/// The system's own text, without Rust's `(os error N)`.
impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&system_text(self.errno))
    }
}

impl From<io::Error> for SpawnError {
    fn from(error: io::Error) -> SpawnError {
        SpawnError::from(errno_of(&error))
    }
}

impl From<Errno> for SpawnError {
    /// The exit code that shells give exec's errors: 127 if the program is missing, 126 if it cannot be used or
    /// resources are short.
    fn from(errno: Errno) -> SpawnError {
        let code = match errno {
            Errno::ENOENT | Errno::ENOTDIR | Errno::ENAMETOOLONG | Errno::ELOOP => NOT_FOUND,
            _ => NOT_STARTED,
        };
        SpawnError { code, errno }
    }
}

/// A job's process that has just been started, with the pipes for its two outputs.
#[derive(Debug)]
pub struct StartedJob {
    /// Its id, which is its session's and its process group's as well.
    pub pid: Pid,
    /// Where its standard output arrives.
    pub stdout: OutputPipe,
    /// Where its standard error arrives.
    pub stderr: OutputPipe,
}

/// A pipe that a process writes to and we read. Both ends are close-on-exec.
#[derive(Debug)]
pub struct OutputPipe {
    /// Our end, which does not block: each end has a file description of its own.
    pub ours: OwnedFd,
    /// The process's end, for as long as we keep it open as well: until then the pipe cannot come to its end.
    pub theirs: OwnedFd,
}

/// A process that reads what we write to it, with our ends of its pipes: close-on-exec and non-blocking.
#[derive(Debug)]
pub struct StartedFilter {
    /// Its id, which is its session's and its process group's as well.
    pub pid: Pid,
    /// Where its standard input is written.
    pub stdin: OwnedFd,
    /// Where both its outputs arrive.
    pub output: OwnedFd,
}

/// Each process starts as the leader of a new session. So it has no controlling terminal to read from or type into, and
/// it cannot leave its process group, which has its number (setsid(2), setpgid(2)).
const OWN_SESSION: PosixSpawnFlags =
    PosixSpawnFlags::from_bits_retain(nix::libc::POSIX_SPAWN_SETSID as nix::libc::c_int);

/// Everything that is the same for each process started.
pub struct Spawner {
    null: OwnedFd,
    environment: Vec<CString>,
    attributes: PosixSpawnAttr,
    /// The descriptors that the daemon's parent left open and no process may have.
    inherited: Vec<RawFd>,
    /// What was last done to the descriptors of a process, kept for the next process with the same numbers: glibc asks
    /// the kernel for its limit twice for each number.
    actions: Option<([RawFd; 3], PosixSpawnFileActions)>,
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner")
            .field("null", &self.null)
            .finish_non_exhaustive()
    }
}

impl Spawner {
    /// Takes the environment as it is now. It fails only if neither the null device nor a pipe can be opened.
    pub fn new() -> Result<Spawner, Errno> {
        let mut attributes = PosixSpawnAttr::init()?;
        attributes.set_flags(
            OWN_SESSION
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF
                | PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK,
        )?;
        attributes.set_sigmask(&SigSet::empty())?;
        // Exec resets handlers but leaves ignored signals ignored (signal(7)), and the daemon's parent may have ignored
        // any. Naming all signals is no slower: glibc asks for the disposition of each one that is not named.
        attributes.set_sigdefault(&SigSet::all())?;
        Ok(Spawner {
            null: null_input()?,
            environment: environment_for_jobs(),
            attributes,
            inherited: inherited::to_close(),
            actions: None,
        })
    }

    /// Starts a job: null input, a pipe for each of its two outputs.
    pub fn job(&mut self, argv: &[String]) -> Result<StartedJob, SpawnError> {
        let (stdout, stderr) = (OutputPipe::new()?, OutputPipe::new()?);
        let streams = [&self.null, &stdout.theirs, &stderr.theirs].map(AsRawFd::as_raw_fd);
        let pid = self.spawn(argv, streams)?;
        Ok(StartedJob {
            pid,
            stdout,
            stderr,
        })
    }

    /// Starts a program that reads a message: a pipe for its input, another one for both its outputs.
    pub fn filter(&mut self, argv: &[String]) -> Result<StartedFilter, SpawnError> {
        let output = OutputPipe::new()?;
        let (input, stdin) = unistd::pipe2(OFlag::O_CLOEXEC)?;
        set_nonblocking(&stdin)?;
        let streams = [&input, &output.theirs, &output.theirs].map(AsRawFd::as_raw_fd);
        let pid = self.spawn(argv, streams)?;
        let output = output.ours;
        Ok(StartedFilter { pid, stdin, output })
    }

    /// Starts a program with `streams` as its standard input, output and error.
    fn spawn(&mut self, argv: &[String], streams: [RawFd; 3]) -> Result<Pid, SpawnError> {
        let words: Result<Vec<CString>, _> = argv
            .iter()
            .map(|word| CString::new(word.as_str()))
            .collect();
        let words = words.map_err(|_| Errno::EINVAL)?;
        let program = words.first().ok_or(Errno::ENOENT)?;
        let (_, actions) = match self.actions.take() {
            Some(known) if known.0 == streams => self.actions.insert(known),
            _ => self
                .actions
                .insert((streams, only_standard(streams, &self.inherited)?)),
        };
        Ok(posix_spawnp(
            program,
            actions,
            &self.attributes,
            &words,
            &self.environment,
        )?)
    }
}

/// Makes these descriptors 0, 1 and 2, and closes the inherited ones. All others are close-on-exec.
fn only_standard(streams: [RawFd; 3], inherited: &[RawFd]) -> Result<PosixSpawnFileActions, Errno> {
    let mut actions = PosixSpawnFileActions::init()?;
    for (number, fd) in (0..).zip(streams) {
        actions.add_dup2(fd, number)?;
    }
    for &fd in inherited {
        actions.add_close(fd)?;
    }
    Ok(actions)
}

impl OutputPipe {
    fn new() -> Result<OutputPipe, Errno> {
        let (ours, theirs) = unistd::pipe2(OFlag::O_CLOEXEC)?;
        set_nonblocking(&ours)?;
        Ok(OutputPipe { ours, theirs })
    }
}

/// The size of a pipe whose writer is faster than its reader, in bytes.
const WIDE: i32 = 1 << 18;

/// Enlarges a pipe, so that its writer waits less often. It does no harm if the system refuses.
pub fn widen(pipe: impl AsFd) {
    let _ = nix::fcntl::fcntl(pipe, nix::fcntl::FcntlArg::F_SETPIPE_SZ(WIDE));
}

fn set_nonblocking(fd: &OwnedFd) -> Result<(), Errno> {
    nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).map(drop)
}

/// Opens `/dev/null`; where there is none, a pipe that is at its end.
fn null_input() -> Result<OwnedFd, Errno> {
    match File::open("/dev/null") {
        Ok(file) => Ok(file.into()),
        Err(_) => unistd::pipe2(OFlag::O_CLOEXEC).map(|(read, _closed)| read),
    }
}

fn environment_for_jobs() -> Vec<CString> {
    let private = |name: &OsString| {
        let name = name.to_string_lossy();
        NOT_FOR_JOBS.contains(&name.as_ref()) || name.starts_with("LISTEN_")
    };
    std::env::vars_os()
        .filter(|(name, _)| !private(name))
        .filter_map(|(name, value)| {
            let mut entry = name.into_vec();
            entry.push(b'=');
            entry.extend(value.into_vec());
            CString::new(entry).ok()
        })
        .collect()
}

/// What became of a signal to a process group (kill(2)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signalled {
    /// At least one member got it; a zombie counts.
    Delivered,
    /// It has no member left.
    Gone,
    /// None of its members may be signalled: a set-user-ID program has made them another user's (EPERM), or a security
    /// module forbids it (EACCES).
    Refused(Errno),
}

impl Signalled {
    /// Why no member may be signalled, in the system's words.
    pub fn refusal(self) -> Option<String> {
        match self {
            Signalled::Refused(errno) => Some(system_text(errno)),
            Signalled::Delivered | Signalled::Gone => None,
        }
    }
}

impl From<nix::Result<()>> for Signalled {
    fn from(result: nix::Result<()>) -> Signalled {
        match result {
            Ok(()) => Signalled::Delivered,
            Err(Errno::ESRCH) => Signalled::Gone,
            Err(errno) => Signalled::Refused(errno),
        }
    }
}

/// Sends SIGTERM to a process group.
pub fn terminate(group: Pid) -> Signalled {
    signal::killpg(group, Signal::SIGTERM).into()
}

/// Sends SIGKILL to a process group. `led` says that its leader has not been reaped. Then the leader decides whether
/// the signal was delivered, because the leader is waited for.
pub fn kill(group: Pid, led: bool) -> Signalled {
    match signal::killpg(group, Signal::SIGKILL).into() {
        Signalled::Delivered if led => signal::kill(group, None).into(),
        signalled => signalled,
    }
}

/// Whether a process group has a member left, a zombie included, and whether that may be signalled.
pub fn look_at(group: Pid) -> Signalled {
    signal::killpg(group, None).into()
}

/// Reaps one child that has ended, whichever it is; `None` if there is none. `ours` are the children whose end matters.
/// nix has no value for a real-time signal: `/proc` says which one it was, else `told` does, else it is 0. The end of
/// an orphan that such a signal killed is not returned.
pub fn reap(ours: &[Pid], mut told: impl FnMut(Pid) -> Option<i32>) -> Option<(Pid, Exit)> {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG;
    let mut killed = |pid| {
        let signal = signal_from_proc(pid).or_else(|| told(pid));
        (pid, Exit::Signal(signal.unwrap_or(0)))
    };
    loop {
        // Look first, then reap: a child that was reaped with nix's error would be gone without a name.
        let ended = match waitid(Id::All, flags | WaitPidFlag::WNOWAIT) {
            Ok(status) => Some(status.pid()?),
            Err(Errno::EINTR) => continue,
            Err(Errno::EINVAL) => {
                let mut ours = ours.iter().copied();
                if let Some(pid) = ours.find(|&pid| died_of_unknown_signal(pid)) {
                    let end = killed(pid);
                    let _ = waitpid(pid, Some(WaitPidFlag::WNOHANG));
                    return Some(end);
                }
                // This reaps an orphan. By now another child may have ended before it.
                None
            }
            Err(_) => return None,
        };
        match waitpid(ended, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(pid, code)) => return Some((pid, Exit::Code(code))),
            Ok(WaitStatus::Signaled(pid, signal, _)) => {
                return Some((pid, Exit::Signal(signal as i32)));
            }
            // It may have been one of ours that ended before the orphan.
            Err(Errno::EINVAL) => {
                if let Some(&pid) = ours.iter().find(|&&pid| is_no_child(pid)) {
                    return Some(killed(pid));
                }
            }
            _ => {}
        }
    }
}

fn is_no_child(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(pid), flags) == Err(Errno::ECHILD)
}

fn died_of_unknown_signal(pid: Pid) -> bool {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
    waitid(Id::Pid(pid), flags) == Err(Errno::EINVAL)
}

/// The signal that killed a zombie: the low seven bits of the last field of its `stat` (proc(5), exit_code). They are 0
/// where the kernel does not show them, because the process had become another user's.
fn signal_from_proc(zombie: Pid) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{zombie}/stat")).ok()?;
    let status: i32 = stat.split_whitespace().next_back()?.parse().ok()?;
    Some(status & 0x7f).filter(|&signal| signal != 0)
}
