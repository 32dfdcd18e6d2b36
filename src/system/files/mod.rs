//! Reads whole files, and keeps files up to date (`kept`, `appended`). It knows nothing of what they hold.

mod appended;
mod directory;
mod kept;
mod pace;

pub use appended::Appended;
pub use kept::{Kept, NotWritten, Through, Unfit, fit, is_temporary};
pub use pace::Upcoming;

use std::ffi::OsString;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use nix::fcntl::OFlag;

use crate::config::chain::{self, Found, Source};
use crate::system::errors::error_text;

/// The largest file that is read, in bytes.
const MAX_SIZE: u64 = 1 << 30;
/// The largest of those that hold a line, in bytes.
const SMALL_SIZE: u64 = 1 << 10;

/// The device and inode of the file that a path leads to.
pub fn identity(path: &Path) -> Option<(u64, u64)> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

/// Whether a file may be read or a directory listed. It does not wait for a FIFO's writer.
pub fn can_open(path: &Path) -> io::Result<()> {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(flags.bits());
    options.open(path).map(drop)
}

/// Reads a regular file whole; a FIFO or device is refused, because opening or reading it could block.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    read_regular(path, MAX_SIZE).map(|source| source.text)
}

/// Reads a regular file that holds no more than a line.
pub fn read_small(path: &Path) -> io::Result<Vec<u8>> {
    read_regular(path, SMALL_SIZE).map(|source| source.text)
}

/// Reads configuration files, and directories of them; errors are in the system's own words.
#[derive(Debug, Clone, Copy)]
pub struct Files {
    /// Whether one may also come through standard input or another descriptor, as a shell's `<(...)` names them: it can
    /// be read only once.
    pub streams: bool,
}

impl chain::Read for Files {
    fn read(&self, path: &Path) -> Result<Found, String> {
        let found = match fs::metadata(path) {
            Ok(there) if there.is_dir() => names(path).map(Found::Directory),
            Ok(there) if self.streams && is_stream(path) => {
                let file = File::open(path);
                file.and_then(|file| read_whole(&file, &there, MAX_SIZE))
                    .map(Found::File)
            }
            _ => read_regular(path, MAX_SIZE).map(Found::File),
        };
        found.map_err(|error| error_text(&error))
    }
}

/// Whether a path names a descriptor of this process that is no regular file.
pub fn is_stream(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes();
    let is_descriptor = name == b"/dev/stdin"
        || name.starts_with(b"/dev/fd/")
        || name.starts_with(b"/proc/self/fd/");
    is_descriptor && fs::metadata(path).is_ok_and(|there| !there.is_file() && !there.is_dir())
}

/// The names in a directory.
pub fn names(directory: &Path) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(directory)? {
        names.push(entry?.file_name());
    }
    Ok(names)
}

fn read_regular(path: &Path, most: u64) -> io::Result<Source> {
    let file = OpenOptions::new()
        .read(true)
        .custom_flags((OFlag::O_NONBLOCK | OFlag::O_NOCTTY).bits())
        .open(path)?;
    let metadata = file.metadata()?;
    let refused = |why: &str| Err(io::Error::other(why.to_string()));
    if metadata.is_dir() {
        return refused("it is a directory");
    }
    if !metadata.is_file() {
        return refused("it is not a regular file");
    }
    read_whole(&file, &metadata, most)
}

fn read_whole(file: &File, metadata: &Metadata, most: u64) -> io::Result<Source> {
    let mut text = Vec::new();
    // Files in /proc show no size before they are read, and other files may grow meanwhile.
    if metadata.len() <= most {
        file.take(most + 1).read_to_end(&mut text)?;
    }
    if metadata.len().max(text.len() as u64) > most {
        let most = match most {
            MAX_SIZE => "1 GiB".to_string(),
            most => format!("{most} bytes"),
        };
        return Err(io::Error::other(format!("it is larger than {most}")));
    }
    let identity = (metadata.dev(), metadata.ino());
    Ok(Source { identity, text })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use std::path::PathBuf;

    use super::*;

    /// A file with this text. Its directory lives as long as the first value.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        fs::write(&path, text).unwrap();
        (directory, path)
    }

    #[test]
    fn a_file_of_the_greatest_size_is_read_and_a_greater_one_is_not() {
        let (_directory, path) = file("12345678");
        assert_eq!(read_regular(&path, 8).unwrap().text, b"12345678");
        let error = read_regular(&path, 7).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 7 bytes");
    }

    #[test]
    fn a_file_of_more_than_a_gibibyte_is_refused_before_it_is_read() {
        let (_directory, path) = file("");
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len((1 << 30) + 1)
            .unwrap();
        let error = read(&path).unwrap_err();
        assert_eq!(error.to_string(), "it is larger than 1 GiB");
        let files = Files { streams: true };
        let error = chain::Read::read(&files, &path).unwrap_err();
        assert_eq!(error, "it is larger than 1 GiB");
    }

    /// The file's size is said to be zero.
    #[test]
    fn a_file_that_turns_out_to_be_too_large_is_refused_too() {
        let path = Path::new("/proc/self/status");
        if path.exists() {
            assert_eq!(fs::metadata(path).unwrap().len(), 0);
            read_regular(path, 1 << 20).unwrap();
            read_regular(path, 16).unwrap_err();
        }
    }

    #[test]
    fn what_is_no_regular_file_is_refused_without_waiting_for_it() {
        let (directory, _) = file("");
        let fifo = directory.path().join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRUSR).unwrap();
        for (path, why) in [
            (directory.path(), "it is a directory"),
            (&fifo, "it is not a regular file"),
            (Path::new("/dev/zero"), "it is not a regular file"),
        ] {
            assert_eq!(read(path).unwrap_err().to_string(), why, "{path:?}");
            can_open(path).unwrap();
        }
        let nowhere = directory.path().join("nowhere");
        assert_eq!(
            read(&nowhere).unwrap_err().kind(),
            io::ErrorKind::NotFound,
            "a file that is missing is told from one that cannot be read"
        );
    }
}
