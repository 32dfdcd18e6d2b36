//! A file that always holds a whole state: written under another name and renamed into its place, no more often than
//! its pace allows. It never writes to, replaces or removes a file that this program did not make, except a regular
//! file at the path itself, and one of this user's under the other name (`.NAME.new`), which is taken for what a crash
//! has left. It knows nothing of what the file holds.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{self, File, Metadata, Permissions};
use std::io::ErrorKind::{
    AlreadyExists, InvalidInput, PermissionDenied, ResourceBusy, Unsupported,
};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime};

use nix::unistd::geteuid;

use super::directory::Directory;
use super::pace::{Pace, Upcoming};
use crate::system::errors::error_text;
use crate::system::mounts::is_mount_point;
use crate::system::paths::directory_of;

/// How many names the temporary file may try, if other files have the first ones.
const TEMPORARY_NAMES: u32 = 10;

/// How safe a written file is from a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sync {
    /// Not safe: the old file may be lost as well.
    No,
    /// A whole file is there, the old one or the new one.
    Data,
    /// The new file is there.
    DataAndName,
}

/// Whether a written file is to be on the disk when the write returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Through {
    /// Later will do.
    No,
    /// It is.
    Yes,
}

/// The calls that bring a file to the disk.
#[derive(Debug, Clone, Copy)]
struct Disk {
    sync_data: fn(&File) -> io::Result<()>,
    sync_directory: fn(&Path) -> io::Result<()>,
}

const DISK: Disk = Disk {
    sync_data: File::sync_data,
    sync_directory,
};

/// A file that is kept up to date.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    mode: u32,
    /// The least safety of each write.
    sync: Sync,
    pace: Pace,
    /// The file that was last put in place.
    ours: Option<Identity>,
    /// Whether a write that had to reach the disk was not made yet, or failed.
    owed: bool,
    /// Whether the last write failed, so that a failure is reported once.
    failed: bool,
}

/// Why no file can be kept at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfit {
    /// A directory is there.
    Directory,
    /// A symbolic link is there. rename(2) would replace the link itself. Following it would let whoever made it choose
    /// which file is replaced.
    Link,
    /// A device, FIFO or socket is there.
    NotRegular,
    /// A file is mounted there.
    MountPoint,
}

/// Completes a sentence that begins with the file's name, or `it`.
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfit::Directory => "is a directory",
            Unfit::Link => {
                "is a symbolic link, which is not followed (name the file that is meant)"
            }
            Unfit::NotRegular => "is not a regular file",
            Unfit::MountPoint => {
                "is a mount point, which cannot be replaced (mount its directory instead)"
            }
        })
    }
}

/// Why a write failed.
#[derive(Debug)]
pub enum Error {
    /// The file that is there must not be replaced.
    Unfit(Unfit),
    /// Every name for the temporary file is taken; this is the first one.
    Taken(PathBuf),
    /// Before the new file could take the old one's place, the caller said that it must not.
    Withheld,
    /// The system refused.
    System(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::System(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unfit(unfit) => write!(f, "it {unfit}"),
            Error::Taken(path) => {
                let shown = path.display();
                write!(f, "what is at '{shown}' is in the way (remove it)")
            }
            Error::Withheld => f.write_str("it is not ours to replace any more"),
            Error::System(error) => f.write_str(&error_text(error)),
        }
    }
}

/// A write that failed.
#[derive(Debug)]
pub struct NotWritten {
    /// Why.
    pub error: Error,
    /// Whether the write before it succeeded.
    pub is_news: bool,
}

/// Identifies one file, whatever its names. A new file can get the number of a removed one, so the time when it was
/// made is part of it, if the file system reports that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Identity {
    device: u64,
    inode: u64,
    made: Option<SystemTime>,
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Identity {
        Identity {
            device: metadata.dev(),
            inode: metadata.ino(),
            made: metadata.created().ok(),
        }
    }
}

impl Kept {
    /// A file at `path` with this mode, to be written at once. With `durable`, a power cut leaves the old or the new
    /// file whole.
    pub fn new(path: PathBuf, mode: u32, durable: bool) -> Kept {
        let mut kept = Kept {
            path,
            mode,
            sync: if durable { Sync::Data } else { Sync::No },
            pace: Pace::default(),
            ours: None,
            owed: durable,
            failed: false,
        };
        kept.touch();
        kept
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Notes that the file is out of date.
    pub fn touch(&mut self) {
        if !self.is_behind() {
            self.pace.touch(Instant::now());
        }
    }

    /// Whether the file is out of date.
    pub fn is_behind(&self) -> bool {
        self.pace.is_behind()
    }

    /// When the file is to be written, if it is out of date.
    pub fn deadline(&self, now: Instant, upcoming: &Upcoming) -> Option<Instant> {
        self.pace.deadline(now, upcoming)
    }

    /// Whether the file is out of date and may be written now, when a slow write delays nothing.
    pub fn allows(&self, now: Instant) -> bool {
        self.pace.allows(now)
    }

    /// Whether a write that had to reach the disk is still to be made.
    pub fn is_owed(&self) -> bool {
        self.owed
    }

    /// Replaces the file's text by `text`. `began` is when the work for it began.
    pub fn write(&mut self, text: &[u8], began: Instant) -> Result<(), NotWritten> {
        self.write_open(text, began).map(drop)
    }

    /// Replaces the file's text and leaves the new file open, to be appended to.
    pub(super) fn write_open(&mut self, text: &[u8], began: Instant) -> Result<File, NotWritten> {
        self.write_to(&DISK, text, began, &mut || true)
    }

    /// Replaces the file's text. `is_ours` is asked at the last moment, after the text is on the disk, which may have
    /// taken long: whether the file may still be replaced.
    pub fn write_while(
        &mut self,
        text: &[u8],
        began: Instant,
        through: Through,
        is_ours: &mut dyn FnMut() -> bool,
    ) -> Result<(), NotWritten> {
        self.owed |= through == Through::Yes;
        self.write_to(&DISK, text, began, is_ours).map(drop)
    }

    /// Removes the file, if it is still the one that was put there.
    pub fn remove(&mut self) {
        let Some(ours) = self.ours.take() else {
            return;
        };
        // A directory that cannot be reached leaves the file where it is.
        if let Ok(directory) = Directory::of(&self.path) {
            remove_only(&directory, name_of(&self.path), ours);
        }
    }

    fn write_to(
        &mut self,
        disk: &Disk,
        text: &[u8],
        began: Instant,
        is_ours: &mut dyn FnMut() -> bool,
    ) -> Result<File, NotWritten> {
        let sync = if self.owed {
            Sync::DataAndName
        } else {
            self.sync
        };
        let result = self.replace(disk, text, sync, is_ours);
        self.pace.wrote(began, Instant::now(), result.is_ok());
        let failed_before = std::mem::replace(&mut self.failed, result.is_err());
        self.owed &= self.failed;
        result.map_err(|error| NotWritten {
            error,
            is_news: !failed_before,
        })
    }

    /// Replaces the file. Whoever reads it sees the old or the new one, whole.
    fn replace(
        &mut self,
        disk: &Disk,
        text: &[u8],
        sync: Sync,
        is_ours: &mut dyn FnMut() -> bool,
    ) -> Result<File, Error> {
        let directory = Directory::of(&self.path)?;
        let name = name_of(&self.path);
        replaceable(directory.look(name)).map_err(Error::Unfit)?;
        // Check first, so that not every write is made in vain.
        if self.failed && is_mount_point(&self.path).unwrap_or(false) {
            return Err(Error::Unfit(Unfit::MountPoint));
        }
        let (temporary, file) = create_beside(&directory, &self.path, self.mode)?;
        let renamed = fill(&file, text, self.mode)
            .and_then(|()| match sync {
                Sync::No => Ok(()),
                // The data has to reach the disk before the rename: file systems bring a new name to the disk long
                // before the file's data.
                Sync::Data | Sync::DataAndName => (disk.sync_data)(&file),
            })
            .map_err(Error::from)
            .and_then(|()| is_ours().then_some(()).ok_or(Error::Withheld))
            .and_then(|()| Ok(directory.rename(&temporary, name)?));
        let identity = file.metadata().map(|metadata| Identity::from(&metadata));
        if let Err(error) = renamed {
            remove_only(&directory, &temporary, identity?);
            let is_busy = matches!(&error, Error::System(error) if error.kind() == ResourceBusy);
            return Err(if is_busy && is_mount_point(&self.path).unwrap_or(false) {
                Error::Unfit(Unfit::MountPoint)
            } else {
                error
            });
        }
        self.ours = Some(identity?);
        if sync == Sync::DataAndName {
            (disk.sync_directory)(directory_of(&self.path))?;
        }
        Ok(file)
    }
}

/// Whether a file can be kept at `path`, as far as what is there now tells.
pub fn fit(path: &Path) -> Result<(), Unfit> {
    replaceable(fs::symlink_metadata(path))?;
    match is_mount_point(path) {
        Ok(true) => Err(Unfit::MountPoint),
        _ => Ok(()),
    }
}

/// Refuses what must not be replaced. rename(2) would replace anything but a directory.
fn replaceable(there: io::Result<Metadata>) -> Result<(), Unfit> {
    // If this cannot be looked at, the rename will fail too, with the system's own error.
    let Ok(there) = there else {
        return Ok(());
    };
    let kind = there.file_type();
    if kind.is_file() {
        Ok(())
    } else if kind.is_dir() {
        Err(Unfit::Directory)
    } else if kind.is_symlink() {
        Err(Unfit::Link)
    } else {
        Err(Unfit::NotRegular)
    }
}

/// Makes a new file in the directory of `path` and returns its name too. A file that a crash left under that name is
/// removed. Anybody else's stays, and another name is tried.
fn create_beside(directory: &Directory, path: &Path, mode: u32) -> Result<(OsString, File), Error> {
    for number in 0..TEMPORARY_NAMES {
        let temporary = name_of(&beside(path, number)).to_os_string();
        if directory.look(&temporary).is_ok_and(is_left_over) {
            let _ = directory.remove(&temporary);
        }
        match directory.make(&temporary, mode) {
            Err(error) if error.kind() == AlreadyExists => {}
            other => return Ok((temporary, other?)),
        }
    }
    Err(Error::Taken(beside(path, 0)))
}

fn name_of(path: &Path) -> &OsStr {
    path.file_name().unwrap_or_default()
}

/// The temporary file's path: `.NAME.new`, `.NAME.1.new`. It is hidden, and no metrics collector reads this ending.
fn beside(path: &Path, number: u32) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    if number > 0 {
        name.push(format!(".{number}"));
    }
    name.push(".new");
    path.with_file_name(name)
}

/// Whether `path` may be the temporary file of the file `of`, in the same directory.
pub fn is_temporary(path: &Path, of: &Path) -> bool {
    (0..TEMPORARY_NAMES).any(|number| beside(of, number) == path)
}

/// Whether this is a regular file of ours. Removing it only takes this one name, if it has others.
fn is_left_over(there: Metadata) -> bool {
    there.is_file() && there.uid() == geteuid().as_raw()
}

fn fill(mut file: &File, text: &[u8], mode: u32) -> io::Result<()> {
    // Set the mode, so that the mask does not decide who may read this file.
    file.set_permissions(Permissions::from_mode(mode))?;
    file.write_all(text)
}

/// Syncs a directory, which brings a new name in it to the disk.
fn sync_directory(directory: &Path) -> io::Result<()> {
    tolerable(File::open(directory).and_then(|directory| directory.sync_all()))
}

/// Accepts that a directory that may not be read, or a file system without it, cannot be synced.
fn tolerable(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

/// Removes this name if it is this file's.
fn remove_only(directory: &Directory, name: &OsStr, identity: Identity) {
    let is_it = |there: Metadata| there.is_file() && Identity::from(&there) == identity;
    if directory.look(name).is_ok_and(is_it) {
        let _ = directory.remove(name);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
