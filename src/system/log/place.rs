//! A log's name in its directory. The directory is held open and every step of a rotation goes through it, so that
//! nobody can put another directory in its place.

use std::collections::BinaryHeap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::fd::OwnedFd;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{self, OFlag};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::system::opening::Found;
use crate::system::stat::Stat;

/// The log's name in its directory, and the names that a rotation makes of it: `NAME.NUMBER`.
#[derive(Debug)]
pub(super) struct Place(Found);

impl Place {
    pub(super) fn new(found: Found) -> Place {
        Place(found)
    }

    /// The file that has the log's name.
    pub(super) fn named(&self) -> Option<&Stat> {
        self.0.named.as_ref()
    }

    /// The file that has this number.
    pub(super) fn numbered(&self, number: u32) -> nix::Result<Stat> {
        Stat::at(&self.0.directory, &self.name(number))
    }

    /// Whether no file has the log's name by now.
    pub(super) fn is_free(&self) -> bool {
        Stat::at(&self.0.directory, &self.0.name).err() == Some(Errno::ENOENT)
    }

    pub(super) fn directory(&self) -> nix::Result<Stat> {
        Stat::of(&self.0.directory)
    }

    /// Makes the file, which must not be there.
    pub(super) fn make(&self, flags: OFlag, mode: Mode) -> nix::Result<File> {
        let flags = flags | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        fcntl::openat(&self.0.directory, &*self.0.name, flags, mode).map(File::from)
    }

    /// The numbers that files have, in order.
    pub(super) fn numbers(&self) -> nix::Result<Vec<u32>> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let mut directory = Dir::openat(&self.0.directory, ".", flags, Mode::empty())?;
        let mut numbers = Vec::new();
        for entry in directory.iter() {
            numbers.extend(number(&self.0.name, entry?.file_name().to_bytes()));
        }
        Ok(BinaryHeap::from(numbers).into_sorted_vec())
    }

    /// Renames the file that has the number `from` to the number `to`, which must be free. No number is the log itself.
    pub(super) fn rename(&self, from: Option<u32>, to: Option<u32>) -> nix::Result<()> {
        let here = &self.0.directory;
        let name = |number: Option<u32>| {
            number.map_or_else(|| self.0.name.clone(), |number| self.name(number))
        };
        let (from, to) = (name(from), name(to));
        match rename_to_free(here, &from, &to) {
            // Not every file system can do it, and a link cannot be made of a file that is mounted alone.
            Err(
                Errno::EINVAL | Errno::ENOSYS | Errno::EOPNOTSUPP | Errno::EPERM | Errno::EXDEV,
            ) => fcntl::renameat(here, &*from, here, &*to),
            done => done,
        }
    }

    pub(super) fn remove(&self, number: u32) -> nix::Result<()> {
        let name = self.name(number);
        unlinkat(&self.0.directory, &*name, UnlinkatFlags::NoRemoveDir)
    }

    fn name(&self, number: u32) -> OsString {
        let mut name = self.0.name.clone();
        name.push(format!(".{number}"));
        name
    }
}

/// Renames `from` to `to`, which must be free.
#[cfg(target_env = "gnu")]
fn rename_to_free(here: &OwnedFd, from: &OsStr, to: &OsStr) -> nix::Result<()> {
    fcntl::renameat2(here, from, here, to, fcntl::RenameFlags::RENAME_NOREPLACE)
}

/// Renames `from` to `to`, which must be free: `nix` has renameat2(2) for glibc alone. For a moment the file has both
/// names.
#[cfg(not(target_env = "gnu"))]
fn rename_to_free(here: &OwnedFd, from: &OsStr, to: &OsStr) -> nix::Result<()> {
    let remove = |name| unlinkat(here, name, UnlinkatFlags::NoRemoveDir);
    nix::unistd::linkat(here, from, here, to, fcntl::AtFlags::empty())?;
    remove(from).or_else(|error| remove(to).and(Err(error)))
}

/// The number in a name that a rotation of `log` makes. It has no leading zero and no sign.
fn number(log: &OsStr, name: &[u8]) -> Option<u32> {
    let rest = name.strip_prefix(log.as_encoded_bytes())?;
    let digits = std::str::from_utf8(rest.strip_prefix(b".")?).ok()?;
    let number: u32 = digits.parse().ok()?;
    (number > 0 && number.to_string() == digits).then_some(number)
}
