//! A file that one daemon at a time holds, by write locks on two bytes of it: byte 0 until its end, byte 1 until it
//! begins to stop. A daemon that finds only byte 0 locked waits for that end. It knows nothing of what the file holds.
//!
//! The locks are open file description locks (fcntl(2), F_OFD_SETLK). They go with the last descriptor, however the
//! process ends, and only a user who may write the file can have one.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{self, off_t};

use crate::system::opening::{self, Wanted};
use crate::system::privileges::Account;

/// Held from beginning to end.
const WHOLE_LIFE: off_t = 0;
/// Held until the holder begins to stop.
const WORKING: off_t = 1;

/// How long a daemon that is stopping is waited for.
const STOP_TIME: Duration = Duration::from_secs(30);
/// How long the child of a killed daemon may still have the file open, until it has become its job.
const CHILD_TIME: Duration = Duration::from_secs(1);
/// How often to look whether it has ended. A wait for a lock cannot have a time limit.
pub const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// How often a file is opened again because it has lost its name or is under a read lock.
const MOST_TRIES: u32 = 100;

/// The error of a start that was told to stop while it waited.
pub const ENDED: &str = "told to stop while another instance was still stopping; not started";

/// How to wait, and when to stop waiting.
pub trait Patience {
    /// How long a daemon that is stopping may take to end.
    fn limit(&self) -> Duration {
        STOP_TIME
    }

    /// The clock that measures the wait.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// Waits this long; false if the wait is to end now.
    fn pause(&mut self, time: Duration) -> bool;

    /// Told while the daemon that holds the file at `path` is waited for.
    fn waits_for(&mut self, path: &Path, waited: Duration);
}

/// Does not wait at all, for a daemon that has jobs to run.
#[derive(Debug)]
pub struct NoPatience;

impl Patience for NoPatience {
    fn limit(&self) -> Duration {
        Duration::ZERO
    }

    fn pause(&mut self, _: Duration) -> bool {
        false
    }

    fn waits_for(&mut self, _: &Path, _: Duration) {}
}

/// A file that is this daemon's while this value lives.
#[derive(Debug)]
pub struct Lock {
    file: File,
    /// Why it is not locked, if the file system supports no locks.
    unsupported: Option<Errno>,
}

/// The daemon that holds a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder {
    /// Its process id, if the file says it.
    pub pid: Option<u32>,
    /// Whether it is stopping, and still was when the wait for it ended.
    pub is_stopping: bool,
}

/// Completes a sentence that begins with the file's name.
impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(pid) = self.pid {
            write!(f, " (process {pid})")?;
        }
        f.write_str(if self.is_stopping {
            ", and is still stopping"
        } else {
            ""
        })
    }
}

/// Why a file could not be locked.
#[derive(Debug)]
pub enum Error {
    /// Another daemon holds it.
    Held(Holder),
    /// The wait was ended from outside.
    Ended,
    /// The file could not be opened.
    Opening(opening::Error),
}

impl From<opening::Error> for Error {
    fn from(error: opening::Error) -> Error {
        Error::Opening(error)
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::Opening(errno.into())
    }
}

impl Lock {
    /// Locks the file at `path` and makes it if there is none. `user` is the one that the daemon is going to become.
    pub fn take(
        path: &Path,
        wanted: &Wanted,
        user: Option<&Account>,
        patience: &mut impl Patience,
    ) -> Result<Lock, Error> {
        let since = patience.now();
        let mut tries = 0;
        while tries < MOST_TRIES {
            let file = opening::open(path, wanted, user)?;
            let waited = patience.now().saturating_duration_since(since);
            let unsupported = match try_lock(&file)? {
                Attempt::Done => None,
                Attempt::Unsupported(errno) => Some(errno),
                Attempt::HeldByWorking => {
                    let has_ended = number(&file).is_some_and(|pid| !runs(pid));
                    if has_ended && waited < CHILD_TIME && patience.pause(LOOK_AGAIN) {
                        continue;
                    }
                    return Err(held(&file, false));
                }
                Attempt::HeldByStopping => {
                    if waited >= patience.limit() {
                        return Err(held(&file, true));
                    }
                    patience.waits_for(path, waited);
                    if !patience.pause(LOOK_AGAIN) {
                        return Err(Error::Ended);
                    }
                    continue;
                }
                // Anybody who may read the file can put a read lock on it. That is no daemon, but our write lock cannot
                // be set beside it.
                Attempt::UnderReadLock => {
                    opening::remove(path, &file, user)?;
                    tries += 1;
                    continue;
                }
            };
            // The last holder may have removed the file between our opening and locking it.
            if opening::names(path, &file) {
                return Ok(Lock { file, unsupported });
            }
            tries += 1;
        }
        Err(Errno::EAGAIN.into())
    }

    /// Tells other daemons that want the file that they need not wait long.
    pub fn begin_to_stop(&self) {
        // If the file is not locked, there is nothing to unlock.
        let _ = set(&self.file, libc::F_UNLCK, WORKING, 1);
    }

    /// Why no other daemon is kept out, if locks are not supported.
    pub fn unsupported(&self) -> Option<Errno> {
        self.unsupported
    }

    /// The file itself.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// The process id in the file, if there is one.
    pub fn named(&self) -> Option<u32> {
        number(&self.file)
    }

    /// Writes to the file who holds it.
    pub fn name(&self, pid: u32) -> io::Result<()> {
        let mut file = &self.file;
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{pid}")
    }
}

fn held(file: &File, is_stopping: bool) -> Error {
    let pid = number(file);
    Error::Held(Holder { pid, is_stopping })
}

fn number(mut file: &File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether a process with this number runs. A zombie has no command line any more, so it does not count.
fn runs(pid: u32) -> bool {
    std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|words| !words.is_empty())
}

/// The result of an attempt to lock.
#[derive(Debug, PartialEq, Eq)]
enum Attempt {
    Done,
    HeldByWorking,
    HeldByStopping,
    UnderReadLock,
    Unsupported(Errno),
}

/// Locks both bytes at once, so that nobody mistakes a starting daemon for a stopping one.
fn try_lock(file: &File) -> Result<Attempt, Errno> {
    for _ in 0..MOST_TRIES {
        match set(file, libc::F_WRLCK, WHOLE_LIFE, 2) {
            Ok(()) => return Ok(Attempt::Done),
            Err(Errno::EAGAIN | Errno::EACCES) => {}
            Err(Errno::EINTR) => continue,
            Err(errno @ (Errno::ENOLCK | Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOSYS)) => {
                return Ok(Attempt::Unsupported(errno));
            }
            Err(errno) => return Err(errno),
        }
        let bytes = (in_the_way(file, WHOLE_LIFE)?, in_the_way(file, WORKING)?);
        return Ok(match bytes {
            // The lock has been released meanwhile; try again.
            (None, None) => continue,
            (Some(Kind::Write), None | Some(Kind::Read)) => Attempt::HeldByStopping,
            (Some(Kind::Write), _) | (_, Some(Kind::Write)) => Attempt::HeldByWorking,
            _ => Attempt::UnderReadLock,
        });
    }
    Err(Errno::EAGAIN)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
}

/// The kind of lock that keeps us from a write lock on this byte.
fn in_the_way(file: &File, byte: off_t) -> Result<Option<Kind>, Errno> {
    let mut found = request(libc::F_WRLCK, byte, 1);
    fcntl(file.as_fd(), FcntlArg::F_OFD_GETLK(&mut found))?;
    Ok(match i32::from(found.l_type) {
        libc::F_UNLCK => None,
        libc::F_RDLCK => Some(Kind::Read),
        _ => Some(Kind::Write),
    })
}

/// Sets a write lock on the whole file, if nobody has one. It lasts until the last descriptor is closed.
pub(super) fn write_lock(file: &File) -> Result<(), Errno> {
    set(file, libc::F_WRLCK, WHOLE_LIFE, 2)
}

fn set(file: &File, kind: i32, first: off_t, length: off_t) -> Result<(), Errno> {
    let wanted = request(kind, first, length);
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&wanted)).map(drop)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "fcntl(2) has these small numbers in a narrower type than the C library's names for them"
)]
fn request(kind: i32, first: off_t, length: off_t) -> libc::flock {
    libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: first,
        l_len: length,
        // The kernel wants this zero for these locks.
        l_pid: 0,
    }
}

#[cfg(test)]
mod tests;
