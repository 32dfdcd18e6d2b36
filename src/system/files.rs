//! A file that always holds a whole state: written beside its place and renamed into it, at most so often.
//! On the disk (fdatasync) where the caller asks for it. Knows nothing of what it holds.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;

use crate::config::chain::Source;
use crate::system::errors::error_text;

/// Least time between two writes.
const INTERVAL: Duration = Duration::from_secs(1);
/// A write that takes long is followed by at least this many times as long without one.
const REST: u32 = 20;

/// No file that is read is larger.
const MAX_SIZE: u64 = 1 << 30;

/// A file that is kept up to date.
#[derive(Debug)]
pub struct Kept {
    path: PathBuf,
    mode: u32,
    changed: bool,
    not_before: Option<Instant>,
    /// Whether the last write failed, so that the failure is told once.
    failed: bool,
}

/// A write that failed.
#[derive(Debug)]
pub struct NotWritten {
    /// Why.
    pub error: io::Error,
    /// Whether the one before it did not fail.
    pub is_news: bool,
}

impl Kept {
    /// A file at `path` with this mode, to be written at once.
    pub fn new(path: PathBuf, mode: u32) -> Kept {
        Kept {
            path,
            mode,
            changed: true,
            not_before: None,
            failed: false,
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What it holds is out of date.
    pub fn touch(&mut self) {
        self.changed = true;
    }

    /// When it is to be written, if it is out of date; `now` if it may be at once.
    pub fn deadline(&self, now: Instant) -> Option<Instant> {
        self.changed.then(|| self.not_before.unwrap_or(now))
    }

    /// Writes `text` in place of what is there; with `sync` it is on the disk when this returns.
    pub fn write(&mut self, text: &[u8], sync: bool, now: Instant) -> Result<(), NotWritten> {
        self.changed = false;
        let result = replace(&self.path, text, self.mode, sync);
        self.not_before = Some(Instant::now() + INTERVAL.max(now.elapsed() * REST));
        match result {
            Ok(()) => {
                self.failed = false;
                Ok(())
            }
            Err(error) => {
                // It is still out of date: the next change is not waited for.
                self.changed = true;
                let is_news = !std::mem::replace(&mut self.failed, true);
                Err(NotWritten { error, is_news })
            }
        }
    }
}

/// Puts `text` in the place of the file at `path`: whoever reads it sees the old or the new one, whole.
fn replace(path: &Path, text: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    // rename(2) would put a file in the place of a device, too.
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(io::Error::other("what is there is not a regular file"));
    }
    let temporary = beside(path);
    let written =
        write_new(&temporary, text, mode, sync).and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
        return written;
    }
    if sync {
        // The new name is on the disk only once its directory is.
        let directory = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        match fs::File::open(directory).and_then(|directory| directory.sync_all()) {
            // A directory that may be searched but not read, and file systems that cannot do this.
            Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => {
            }
            other => return other,
        }
    }
    Ok(())
}

/// Reads a regular file whole; a FIFO or device is refused, because opening or reading it could block.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_regular(path).map(|source| source.text)
}

/// A configuration file; the error is in the system's own words.
pub fn source(path: &Path) -> Result<Source, String> {
    read_regular(path).map_err(|error| error_text(&error))
}

fn read_regular(path: &Path) -> io::Result<Source> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)?;
    let metadata = file.metadata()?;
    let refused = |why: &str| Err(io::Error::other(why.to_string()));
    if metadata.is_dir() {
        return refused("it is a directory");
    }
    if !metadata.is_file() {
        return refused("it is not a regular file");
    }
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_SIZE {
        return refused("it is larger than 1 GiB");
    }
    let identity = (metadata.dev(), metadata.ino());
    Ok(Source { identity, text })
}

/// `.NAME.new`: hidden, and with an ending that no collector reads.
fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

fn write_new(path: &Path, text: &[u8], mode: u32, sync: bool) -> io::Result<()> {
    let _ = fs::remove_file(path);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(OFlag::O_NOFOLLOW.bits())
        .open(path)?;
    // The mask does not decide who may read this file.
    file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))?;
    file.write_all(text)?;
    if sync { file.sync_data() } else { Ok(()) }
}
