//! A log that is a file: opens it by name, and opens it again when it is rotated or somebody has moved it.

use std::fmt;
use std::fs::{self, File, FileType, Metadata};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::place::Place;
use super::rotation::{self, Rotation};
use crate::system::errors::error_text;
use crate::system::opening;
use crate::system::paths::OWN_DESCRIPTORS;
use crate::system::privileges::Account;
use crate::system::stat::Stat;

/// Why a log could not be opened.
#[derive(Debug)]
pub enum OpenError {
    /// The file is of a kind that cannot be a log.
    Kind(&'static str),
    /// The path could not be followed safely, or the file could not be opened.
    Opening(opening::Error),
    /// The system refused.
    System(io::Error),
}

impl OpenError {
    /// Whether permission is missing, so that another user may be able to open it.
    pub fn is_refusal(&self) -> bool {
        match self {
            OpenError::Kind(_) => false,
            OpenError::Opening(error) => error.is_refusal(),
            OpenError::System(error) => error.kind() == io::ErrorKind::PermissionDenied,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Kind(what) => {
                write!(f, "it is {what}; a log is a regular file or a terminal")
            }
            OpenError::Opening(error) => error.fmt(f),
            OpenError::System(error) => f.write_str(&error_text(error)),
        }
    }
}

impl From<opening::Error> for OpenError {
    fn from(error: opening::Error) -> OpenError {
        OpenError::Opening(error)
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> OpenError {
        OpenError::System(error)
    }
}

/// An open file that lines are appended to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    file: File,
    size: u64,
    /// Its last line may have no end, which is looked for and written before anything else. A daemon that does not come to
    /// write, because another one has the log, leaves it alone.
    may_be_torn: bool,
    /// The size at which it is rotated next, in bytes.
    rotate_at: u64,
    /// What keeps it from being rotated has been logged.
    told: bool,
}

impl LogFile {
    /// Opens or makes the file at `path`. `user` is the one that the daemon is going to become.
    pub(super) fn open(
        path: &Path,
        rotation: Rotation,
        user: Option<&Account>,
    ) -> Result<LogFile, OpenError> {
        let (file, size) = open(path, user)?;
        Ok(LogFile {
            path: path.to_path_buf(),
            may_be_torn: true,
            file,
            size,
            rotate_at: rotation.size,
            told: false,
        })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.may_be_torn && ends_within_a_line(&self.file) {
            self.size += self.file.write(b"\n")? as u64;
        }
        self.may_be_torn = false;
        let n = self.file.write(bytes)?;
        self.size += n as u64;
        Ok(n)
    }

    /// The descriptor to watch for room. Only a terminal has one, since a regular file always has room or is full.
    pub(super) fn watchable(&self) -> Option<RawFd> {
        (!self.is_regular()).then(|| self.file.as_raw_fd())
    }

    fn is_regular(&self) -> bool {
        self.file.metadata().is_ok_and(|file| file.is_file())
    }

    pub(super) fn set_rotation(&mut self, rotation: Rotation) {
        self.rotate_at = rotation.size;
    }

    /// Whether it has grown past its size. If the rotation then fails, the next try comes after it has grown by as much
    /// again.
    pub(super) fn has_grown(&mut self, rotation: Rotation) -> bool {
        if rotation.size == 0 || self.size < self.rotate_at {
            return false;
        }
        // It may have been truncated meanwhile (logrotate's copytruncate). Anything but a regular file has no length.
        let file = self.file.metadata();
        self.size = file.map_or(self.size, |metadata| metadata.len());
        if self.size < self.rotate_at {
            return false;
        }
        self.rotate_at = self.size.saturating_add(rotation.size);
        true
    }

    /// Rotates the file as twistd does, if the path still names it. Otherwise somebody else (logrotate) has moved it,
    /// and it is only opened again. Returns what is worth logging. On failure the same file stays in use.
    pub(super) fn turn(&mut self, rotation: Rotation) -> Result<Vec<String>, String> {
        let goes_on = |path: &Path, error: &OpenError| {
            let path = path.display();
            format!("cannot open log '{path}': {error}; writing on to the old file")
        };
        let place =
            opening::find(&self.path).map_err(|error| goes_on(&self.path, &error.into()))?;
        let mut notes = Vec::new();
        let mut is_renamed = false;
        let next = match place.filter(|_| self.is_regular()).map(Place::new) {
            Some(place) => {
                if self.is_named_by(&place) {
                    notes = rotation::rotate(&place, &self.path, rotation.keep)
                        .map_err(|line| format!("{line}; writing on to the same file"))?;
                    is_renamed = true;
                }
                let next = self.make_next(&place);
                if is_renamed && next.is_err() {
                    self.take_back(&place);
                }
                next
            }
            None => open(&self.path, None),
        };
        let (file, size) = next.map_err(|error| goes_on(&self.path, &error))?;
        self.may_be_torn = true;
        (self.file, self.size, self.rotate_at) = (file, size, rotation.size);
        // Tell it once, until a rotation has worked without it.
        let is_news = !std::mem::replace(&mut self.told, !notes.is_empty());
        notes.retain(|_| is_news);
        Ok(notes)
    }

    fn is_named_by(&self, place: &Place) -> bool {
        match (place.named(), self.file.metadata()) {
            (Some(named), Ok(open)) => named.identity == Stat::from(&open).identity,
            _ => false,
        }
    }

    /// Gives the file its name back, which a rotation has taken although no new one can be made.
    fn take_back(&self, place: &Place) {
        let Ok(ours) = Stat::of(&self.file) else {
            return;
        };
        let is_ours = |&number: &u32| {
            let found = place.numbered(number);
            found.is_ok_and(|found| found.identity == ours.identity)
        };
        let number = place
            .numbers()
            .unwrap_or_default()
            .into_iter()
            .find(is_ours);
        // If somebody has made a file with the name meanwhile, the old one stays where it is.
        if let Some(number) = number.filter(|_| place.is_free()) {
            let _ = place.rename(Some(number), None);
        }
    }

    /// Whether somebody has cut off what was written last (copytruncate). Asked again, it is what was written since.
    pub(super) fn is_cut(&mut self) -> bool {
        match self.file.metadata() {
            Ok(file) if file.is_file() && file.len() < self.size => {
                self.size = file.len();
                self.may_be_torn = true;
                true
            }
            _ => false,
        }
    }

    /// Whether all that is in the file are these `part` bytes of a line, so that no file can hold it. The line is then
    /// to be given up.
    pub(super) fn gives_line_up(&mut self, part: usize) -> bool {
        let is_all = self.size <= part as u64;
        self.may_be_torn |= is_all;
        is_all
    }

    /// Makes a new file with the old one's owner and mode, whatever the mask is. If somebody has put a file there
    /// meanwhile, that one is opened.
    fn make_next(&self, place: &Place) -> Result<(File, u64), OpenError> {
        let old = self.file.metadata()?;
        // Nobody else may open it before it has its owner. Its maker may, who could be killed now and has to open it at
        // the next start.
        match place.make(flags(), Mode::from_bits_truncate(old.mode() & 0o700)) {
            Ok(new) => {
                let made = new.metadata()?;
                let differs = |old: u32, new: u32| (old != new).then_some(old);
                let owner = differs(old.uid(), made.uid());
                let group = differs(old.gid(), made.gid());
                if fchown(&new, owner, group).is_err() {
                    // A user who is not root may still give it to one of their groups.
                    let _ = fchown(&new, None, group);
                }
                let _ = new.set_permissions(fs::Permissions::from_mode(old.mode() & 0o777));
                Ok((new, 0))
            }
            Err(Errno::EEXIST) => open(&self.path, None),
            Err(errno) => Err(io::Error::from(errno).into()),
        }
    }
}

/// The flags for opening a log. O_NONBLOCK, so that no kind of file at its path can block the daemon.
fn flags() -> OFlag {
    OFlag::O_WRONLY | OFlag::O_APPEND | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_LARGEFILE
}

/// Whether `open` could open the file at `path`. It makes nothing.
pub(super) fn look(path: &Path, user: Option<&Account>) -> Result<(), OpenError> {
    fit(path)?;
    Ok(opening::look(path, &opening::LOG, user)?)
}

fn open(path: &Path, user: Option<&Account>) -> Result<(File, u64), OpenError> {
    // This comes before opening, because opening some files has effects.
    fit(path)?;
    let file = opening::open(path, &opening::LOG, user)?;
    let opened = file.metadata()?;
    check_kind(opened.file_type())?;
    Ok((file, opened.len()))
}

/// Whether the last line of a file has no end, because a disk was full then or the machine lost its power. What cannot
/// be read is taken for whole.
fn ends_within_a_line(file: &File) -> bool {
    let regular = file.metadata().ok().filter(Metadata::is_file);
    let Some(last) = regular.and_then(|file| file.len().checked_sub(1)) else {
        return false;
    };
    let name = format!("{OWN_DESCRIPTORS}/{}", file.as_raw_fd());
    let mut byte = [b'\n'];
    File::open(name).is_ok_and(|it| it.read_at(&mut byte, last).is_ok()) && byte != [b'\n']
}

/// Whether the file at `path`, if there is one, can be a log.
fn fit(path: &Path) -> Result<(), OpenError> {
    match fs::metadata(path) {
        Ok(there) => check_kind(there.file_type()),
        Err(_) => Ok(()),
    }
}

/// Whether a file of this kind can be a log. A named pipe cannot: nothing could be written while nobody reads it, and
/// the daemon could not even start.
fn check_kind(kind: FileType) -> Result<(), OpenError> {
    let what = if kind.is_fifo() {
        "a named pipe"
    } else if kind.is_socket() {
        "a socket"
    } else if kind.is_block_device() {
        "a block device"
    } else {
        return Ok(());
    };
    Err(OpenError::Kind(what))
}
