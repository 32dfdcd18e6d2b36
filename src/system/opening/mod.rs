//! Opens files that a configuration or a command line names, so that nothing that an unprivileged user can put into the
//! path makes root do something. It knows nothing of what the file is for.
//!
//! While root is still to be given up, a file is opened as the user that the daemon becomes. If that is refused, root
//! opens it, but only if root alone can have put everything on the path. A daemon that stays root follows no links but
//! root's. Every other user opens files as usual, because the kernel protects the others.

mod walk;

use std::ffi::OsString;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open as open_path};
use nix::sys::stat::{Mode, SFlag};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use crate::system::errors::{errno_of, is_refusal, system_text};
use crate::system::paths::directory_of;
use crate::system::privileges::Account;
use crate::system::stat::Stat;

pub use walk::Danger;
use walk::{Rule, Stop, Walk};

/// How a file is opened, and made if there is none.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    access: OFlag,
    mode: Mode,
    /// Whether the last part of the path may be a link.
    follow: bool,
    /// Whether it has to be a regular file; the error for others is EINVAL.
    regular: bool,
    /// Whether a file that root had to make is given to the user that the daemon becomes.
    given_away: bool,
}

/// A log, which is appended to. O_NONBLOCK, so that a named pipe cannot block the daemon.
pub const LOG: Wanted = Wanted {
    access: OFlag::O_WRONLY.union(OFlag::O_APPEND),
    mode: Mode::from_bits_truncate(0o666),
    follow: true,
    regular: false,
    given_away: true,
};

/// A pid file, which is read and written. It stays root's if root had to make it.
pub const PID_FILE: Wanted = Wanted {
    access: OFlag::O_RDWR,
    mode: Mode::from_bits_truncate(0o644),
    follow: false,
    regular: true,
    given_away: false,
};

/// A file that is read once and then appended to.
pub const APPENDED: Wanted = Wanted {
    access: OFlag::O_RDWR.union(OFlag::O_APPEND),
    ..LOCK
};

/// A file that exists only to be locked.
pub const LOCK: Wanted = Wanted {
    access: OFlag::O_RDWR,
    mode: Mode::from_bits_truncate(0o600),
    follow: false,
    regular: true,
    given_away: false,
};

impl Wanted {
    fn flags(&self) -> OFlag {
        let nofollow = if self.follow {
            OFlag::empty()
        } else {
            OFlag::O_NOFOLLOW
        };
        self.access
            | OFlag::O_NONBLOCK
            | OFlag::O_NOCTTY
            | OFlag::O_CLOEXEC
            | OFlag::O_LARGEFILE
            | nofollow
    }

    /// Refuses a file of the wrong kind, which must not even be opened to find that out.
    fn judge(&self, found: &Stat) -> Result<(), Errno> {
        match found.kind {
            SFlag::S_IFIFO | SFlag::S_IFCHR | SFlag::S_IFBLK if self.regular => Err(Errno::EINVAL),
            // Opening it would look to its reader like a writer that comes and goes. Without a reader, open(2) gives
            // this error.
            SFlag::S_IFIFO => Err(Errno::ENXIO),
            _ => Ok(()),
        }
    }
}

/// Why a file was not opened.
#[derive(Debug)]
pub enum Error {
    /// The system refused.
    System(Errno),
    /// The user was refused, and root does not open it either.
    Refused {
        /// The user's name.
        user: String,
        /// What the system told the user.
        errno: Errno,
        /// Why root does not open it.
        danger: Danger,
    },
    /// A daemon that stays root does not open it.
    Dangerous(Danger),
    /// The daemon could not become the user, or root again.
    Account(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::System(errno) => f.write_str(&system_text(*errno)),
            Error::Refused {
                user,
                errno,
                danger,
            } => {
                let why = system_text(*errno);
                write!(f, "{why} for {user}, and root does not open it: {danger}")
            }
            Error::Dangerous(danger) => write!(f, "root does not go there: {danger}"),
            Error::Account(why) => f.write_str(why),
        }
    }
}

impl Error {
    /// Whether permission is missing, so that another user may be able to open it.
    pub fn is_refusal(&self) -> bool {
        match self {
            Error::System(errno) => is_refusal(*errno),
            Error::Refused { .. } | Error::Dangerous(_) | Error::Account(_) => true,
        }
    }
}

impl From<Errno> for Error {
    fn from(errno: Errno) -> Error {
        Error::System(errno)
    }
}

/// Opens the file at `path` and makes it if there is none. `user` is the one that the daemon is going to become; `None`
/// once it has, or if it does not.
pub fn open(path: &Path, wanted: &Wanted, user: Option<&Account>) -> Result<File, Error> {
    let file = act(
        user,
        || open_plainly(path, wanted),
        |rule| {
            let walk = Walk::to(path, wanted.follow, rule)?;
            let owner = user.filter(|_| wanted.given_away);
            walk.open(wanted, owner.map(Account::owner))
        },
    )?;
    if wanted.regular && Stat::of(&file)?.kind != SFlag::S_IFREG {
        return Err(Errno::EINVAL.into());
    }
    Ok(file)
}

/// Whether `open` would succeed. It makes nothing.
pub fn look(path: &Path, wanted: &Wanted, user: Option<&Account>) -> Result<(), Error> {
    act(
        user,
        || look_plainly(path, wanted),
        |rule| Walk::to(path, wanted.follow, rule)?.look(wanted),
    )
}

/// A name that a path led to, in a directory that is held open.
#[derive(Debug)]
pub struct Found {
    /// The directory, for calls that begin in it.
    pub directory: OwnedFd,
    /// The name in it.
    pub name: OsString,
    /// The file that has the name, if any; never a link.
    pub named: Option<Stat>,
}

/// Where `path` leads, after the start. It follows links as far as `open` would. `None` if it leads to a descriptor of
/// our own (`/dev/stderr`), whose file has no name there.
pub fn find(path: &Path) -> Result<Option<Found>, Error> {
    let walk = Walk::to(path, true, own_rule()).map_err(unasked)?;
    let found = Found {
        directory: walk.directory,
        name: walk.name,
        named: walk.named,
    };
    Ok(Some(found).filter(|_| !walk.is_own_descriptor))
}

/// The directory in which `path` names a file, after the start. What has the name does not matter.
pub fn open_directory_of(path: &Path) -> Result<OwnedFd, Error> {
    path.parent().ok_or(Errno::EISDIR)?;
    let directory = directory_of(path).join(".");
    act(
        None,
        || open_path(&directory, directory_flags(), Mode::empty()),
        |rule| Ok(Walk::to(&directory, true, rule)?.directory),
    )
}

/// Removes the name `path` if it is still this open file's. If another file has the name by now, it stays.
pub fn remove(path: &Path, file: &File, user: Option<&Account>) -> Result<(), Error> {
    let name = path.file_name().ok_or(Errno::EISDIR)?;
    let directory = directory_of(path);
    let open = Stat::of(file)?.identity;
    let unlink = |directory: &dyn Fn() -> Result<OwnedFd, Stop>| -> Result<(), Stop> {
        let directory = directory()?;
        if Stat::at(&directory, name)?.identity != open {
            return Err(Stop::System(Errno::ENOENT));
        }
        Ok(unlinkat(&directory, name, UnlinkatFlags::NoRemoveDir)?)
    };
    act(
        user,
        || {
            unlink(&|| Ok(open_path(directory, directory_flags(), Mode::empty())?)).map_err(
                |stop| match stop {
                    Stop::System(errno) => errno,
                    Stop::Danger(_) => Errno::EPERM,
                },
            )
        },
        |rule| unlink(&|| Ok(Walk::to(path, false, rule)?.directory)),
    )
}

/// Acts as is safe for this process: `plainly` as the user, or as a user without power over others' files; `walking` as
/// root.
fn act<T>(
    user: Option<&Account>,
    plainly: impl FnOnce() -> Result<T, Errno>,
    walking: impl FnOnce(Rule) -> Result<T, Stop>,
) -> Result<T, Error> {
    let Some(user) = user.filter(|user| user.leaves_root()) else {
        if !geteuid().is_root() {
            return Ok(plainly()?);
        }
        return walking(own_rule()).map_err(unasked);
    };
    match user.act_as(plainly).map_err(Error::Account)? {
        Err(errno @ (Errno::EACCES | Errno::EPERM)) => {
            walking(Rule::RootAlone).map_err(|stop| match stop {
                Stop::System(errno) => Error::System(errno),
                Stop::Danger(danger) => Error::Refused {
                    user: user.to_string(),
                    errno,
                    danger,
                },
            })
        }
        other => Ok(other?),
    }
}

/// The rule for a process that does not change its user.
fn own_rule() -> Rule {
    match geteuid().is_root() {
        true => Rule::LinksOfRoot,
        false => Rule::OwnRights,
    }
}

/// Why a process that does not change its user could not get there.
fn unasked(stop: Stop) -> Error {
    match stop {
        Stop::System(errno) => Error::System(errno),
        Stop::Danger(danger) => Error::Dangerous(danger),
    }
}

/// Opens a file as any program does. It does not try O_CREAT first: in a sticky directory the kernel may refuse that
/// for another user's file (proc_sys_fs(5), protected_regular).
fn open_plainly(path: &Path, wanted: &Wanted) -> Result<File, Errno> {
    if wanted.regular {
        // Before it is opened, because opening some files has effects.
        Stat::at(AT_FDCWD, path.as_os_str()).map_or(Ok(()), |there| wanted.judge(&there))?;
    }
    let opened = match open_path(path, wanted.flags(), wanted.mode) {
        Err(Errno::ENOENT) => open_path(path, wanted.flags() | OFlag::O_CREAT, wanted.mode),
        opened => opened,
    };
    Ok(File::from(opened?))
}

/// Looks by a walk, because the directory of a missing file may be another than the path says.
fn look_plainly(path: &Path, wanted: &Wanted) -> Result<(), Errno> {
    let walk = Walk::to(path, wanted.follow, Rule::OwnRights);
    match walk.and_then(|walk| walk.look(wanted)) {
        Err(Stop::System(errno)) => Err(errno),
        Err(Stop::Danger(_)) => Err(Errno::EPERM),
        Ok(()) => Ok(()),
    }
}

fn directory_flags() -> OFlag {
    OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

/// Whether `path` still names the open file.
pub fn names(path: &Path, file: &File) -> bool {
    match (std::fs::symlink_metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::System(errno_of(&error))
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        match error {
            Error::System(errno) => errno.into(),
            other => io::Error::other(other.to_string()),
        }
    }
}

#[cfg(test)]
mod tests;
