//! What a file is (inode(7)), however large it is and whatever its times are. Where the C library of a 32-bit machine has
//! no room for its size or for times after 2038, stat(2) is EOVERFLOW there; then the standard library's calls tell.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use crate::system::errors::errno_of;

/// In a directory, this bit of its mode lets users rename and remove only their own files (inode(7), S_ISVTX).
pub const STICKY: u32 = 0o1000;

/// The device and inode of a file, which tell it from all others.
pub type Identity = (u64, u64);

/// What is known of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// Which file it is.
    pub identity: Identity,
    /// Its kind: one of `SFlag::S_IFMT`.
    pub kind: SFlag,
    /// Its permissions, and the bits of set-user-ID and their like: 12 bits.
    pub mode: u32,
    /// The user whose it is.
    pub owner: u32,
    /// How many names it has.
    pub links: u64,
}

impl Stat {
    /// What this open file is.
    pub fn of(file: impl AsFd) -> nix::Result<Stat> {
        match fstat(&file) {
            Err(Errno::EOVERFLOW) => Stat::of_any_size(file.as_fd().try_clone_to_owned()),
            found => found.map(|found| Stat::from(&found)),
        }
    }

    /// What has this name in the directory; of a link itself and not what it leads to.
    pub fn at(directory: impl AsFd, name: &OsStr) -> nix::Result<Stat> {
        match fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::EOVERFLOW) => Stat::at_of_any_size(directory, name),
            found => found.map(|found| Stat::from(&found)),
        }
    }

    fn of_any_size(file: io::Result<OwnedFd>) -> nix::Result<Stat> {
        let found = file.and_then(|file| File::from(file).metadata());
        found
            .map(|found| Stat::from(&found))
            .map_err(|error| errno_of(&error))
    }

    fn at_of_any_size(directory: impl AsFd, name: &OsStr) -> nix::Result<Stat> {
        // This opens the name and not the file.
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        Stat::of_any_size(Ok(openat(directory, name, flags, Mode::empty())?))
    }
}

impl From<&FileStat> for Stat {
    #[allow(clippy::useless_conversion, reason = "32 bits on some machines")]
    fn from(found: &FileStat) -> Stat {
        Stat {
            identity: (u64::from(found.st_dev), u64::from(found.st_ino)),
            kind: SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT,
            mode: found.st_mode & 0o7777,
            owner: found.st_uid,
            links: u64::from(found.st_nlink),
        }
    }
}

impl From<&Metadata> for Stat {
    fn from(found: &Metadata) -> Stat {
        Stat {
            identity: (found.dev(), found.ino()),
            kind: SFlag::from_bits_truncate(found.mode()) & SFlag::S_IFMT,
            mode: found.mode() & 0o7777,
            owner: found.uid(),
            links: found.nlink(),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn both_ways_tell_the_same() {
        let place = tempfile::tempdir().unwrap();
        let directory = File::open(place.path()).unwrap();
        File::create(place.path().join("file")).unwrap();
        std::fs::hard_link(place.path().join("file"), place.path().join("other")).unwrap();
        symlink("file", place.path().join("link")).unwrap();
        let at = |name: &str| Stat::at(&directory, OsStr::new(name));
        for name in ["file", "link", "."] {
            let found = at(name).unwrap();
            let any_size = Stat::at_of_any_size(&directory, OsStr::new(name));
            assert_eq!(any_size.unwrap(), found, "{name}");
        }
        assert_eq!(at("link").unwrap().kind, SFlag::S_IFLNK);
        assert_eq!(at("file").unwrap().links, 2);
        let open = File::open(place.path().join("link")).unwrap();
        let found = Stat::of(&open).unwrap();
        assert_eq!(found, at("other").unwrap());
        assert_eq!(
            Stat::of_any_size(open.as_fd().try_clone_to_owned()),
            Ok(found)
        );
        let none = OsStr::new("none");
        assert_eq!(Stat::at(&directory, none), Err(Errno::ENOENT));
        assert_eq!(Stat::at_of_any_size(&directory, none), Err(Errno::ENOENT));
    }
}
