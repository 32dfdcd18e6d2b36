//! The pid file: taken with a lock, told from a stale one, removed at exit. It says who is in the way.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};

use crate::system::errors::error_text;

/// A pid file that is ours while this value lives.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    file: Flock<File>,
}

/// Why a pid file could not be taken.
#[derive(Debug)]
pub enum Error {
    /// Another daemon has it, with this process id if the file tells.
    Held(PathBuf, Option<u32>),
    /// The system refused.
    System(PathBuf, io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Held(path, pid) => {
                write!(f, "another instance holds pid file '{}'", path.display())?;
                pid.map_or(Ok(()), |pid| write!(f, " (process {pid})"))
            }
            Error::System(path, error) => {
                write!(
                    f,
                    "cannot write pid file '{}': {}",
                    path.display(),
                    error_text(error)
                )
            }
        }
    }
}

impl PidFile {
    /// Takes the file and writes `pid` to it. A number in it whose process is a running twistd or
    /// buildd-sequencer holds it as well as a lock does; anything else in it is stale.
    pub fn take(path: &Path, pid: u32) -> Result<PidFile, Error> {
        let system = |error: io::Error| Error::System(path.to_path_buf(), error);
        loop {
            let file = open(path).map_err(system)?;
            let mut file = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                Ok(locked) => locked,
                Err((mut file, Errno::EWOULDBLOCK)) => {
                    return Err(Error::Held(path.to_path_buf(), number(&mut file)));
                }
                Err((_, errno)) => return Err(system(errno.into())),
            };
            // The last holder may have removed the file between our opening and locking it.
            if !names(path, &file) {
                continue;
            }
            if let Some(holder) =
                number(&mut file).filter(|&holder| holder != pid && is_sequencer(holder))
            {
                return Err(Error::Held(path.to_path_buf(), Some(holder)));
            }
            write(&mut file, pid).map_err(system)?;
            return Ok(PidFile {
                path: path.to_path_buf(),
                file,
            });
        }
    }
}

impl Drop for PidFile {
    /// Removes the file; where its directory refuses, empties it, so that the number cannot be taken for a
    /// process that has it later.
    fn drop(&mut self) {
        if names(&self.path, &self.file) && fs::remove_file(&self.path).is_err() {
            let _ = self.file.set_len(0);
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    // O_NONBLOCK: a named pipe in the file's place must not stop the start. O_NOFOLLOW: root writes here, perhaps in
    // the directory of the user that it becomes, and a link could lead anywhere.
    let flags = (OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_NOFOLLOW).bits();
    let mut options = OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o644)
        .custom_flags(flags)
        .open(path)?;
    if file.metadata()?.is_file() {
        Ok(file)
    } else {
        Err(Errno::EINVAL.into())
    }
}

/// Whether `path` still names the open file.
fn names(path: &Path, file: &File) -> bool {
    match (fs::metadata(path), file.metadata()) {
        (Ok(named), Ok(open)) => (named.dev(), named.ino()) == (open.dev(), open.ino()),
        _ => false,
    }
}

/// The process id in the file, if there is one.
fn number(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

/// Whether the process is one of ours or the original: `buildd-sequencer ...` or `[python [-u]] twistd ...`.
fn is_sequencer(pid: u32) -> bool {
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let mut programs = command
        .split(|&byte| byte == 0)
        .take(3)
        .filter_map(|word| word.rsplit(|&byte| byte == b'/').next());
    programs.clone().next() == Some(b"buildd-sequencer") || programs.any(is_twistd)
}

/// `twistd`, `twistd3`, `twistd-2.7`, `twistd.py`; not `twistd.log`, which somebody may look at.
fn is_twistd(name: &[u8]) -> bool {
    let suffix = name.strip_prefix(b"twistd");
    suffix.is_some_and(|suffix| suffix.iter().all(|byte| b"0123456789.-py".contains(byte)))
}

fn write(file: &mut File, pid: u32) -> io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{pid}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    #[test]
    fn a_held_file_is_refused_and_a_stale_one_taken_over() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pid");
        for stale in [
            "",
            "nonsense",
            "1 2",
            "4000000000",
            "-1",
            "99999999999999999999",
        ] {
            fs::write(&path, stale).unwrap();
            let held = PidFile::take(&path, 4_000_000).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "4000000\n");
            let error = PidFile::take(&path, 4_000_001).unwrap_err().to_string();
            assert!(
                error.starts_with("another instance holds pid file"),
                "{error}"
            );
            assert!(error.ends_with("(process 4000000)"), "{error}");
            drop(held);
            assert!(!path.exists());
        }
    }

    #[test]
    fn a_program_that_looks_at_twistds_log_is_no_twistd() {
        for name in ["twistd", "twistd3", "twistd-2.7", "twistd.py"] {
            assert!(is_twistd(name.as_bytes()), "{name}");
        }
        for name in ["twistd.log", "twistd.pid", "twistd.log.1", "mytwistd", ""] {
            assert!(!is_twistd(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn a_directory_in_its_place_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        let error = PidFile::take(directory.path(), 1).unwrap_err().to_string();
        assert!(error.ends_with("Is a directory"), "{error}");
    }
}
