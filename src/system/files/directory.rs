//! The directory of a kept file, held open: every step of a replacement happens in the same directory, even if its path
//! leads elsewhere meanwhile.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::system::opening;

/// An open directory.
#[derive(Debug)]
pub(super) struct Directory(OwnedFd);

impl Directory {
    /// Opens the directory of the file at `path`. As root it follows no links but root's.
    pub(super) fn of(path: &Path) -> io::Result<Directory> {
        Ok(Directory(opening::open_directory_of(path)?))
    }

    /// Looks at the file of this name. It does not follow a link.
    pub(super) fn look(&self, name: &OsStr) -> io::Result<Metadata> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let there = openat(&self.0, name, flags, Mode::empty())?;
        File::from(there).metadata()
    }

    /// Makes a file of this name, to be appended to. Fails if the name is taken.
    pub(super) fn make(&self, name: &OsStr, mode: u32) -> io::Result<File> {
        let new = OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW;
        let flags = OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_CLOEXEC | new;
        let file = openat(&self.0, name, flags, Mode::from_bits_truncate(mode))?;
        Ok(File::from(file))
    }

    /// Removes this name.
    pub(super) fn remove(&self, name: &OsStr) -> io::Result<()> {
        Ok(unlinkat(&self.0, name, UnlinkatFlags::NoRemoveDir)?)
    }

    /// Renames `from` to `to`, and replaces a file that has that name.
    pub(super) fn rename(&self, from: &OsStr, to: &OsStr) -> io::Result<()> {
        Ok(renameat(&self.0, from, &self.0, to)?)
    }
}
