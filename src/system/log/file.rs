//! A log that is a file: how it is opened, and how it is rotated as twistd does.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::fcntl::OFlag;

use crate::system::errors::error_text;

/// When a file is rotated, and how many old ones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes a log file may have; zero: any number.
    pub size: u64,
    /// Rotated files that stay; zero: all.
    pub keep: u32,
}

/// O_NONBLOCK so that a log that is a named pipe cannot stop the daemon.
pub(super) fn appending() -> OpenOptions {
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let mut options = OpenOptions::new();
    options.append(true).mode(0o666).custom_flags(flags.bits());
    options
}

/// Opens the file that is there, or makes one. Not both in one call: a sticky directory may refuse that for
/// another user's file (proc_sys_fs(5), protected_regular).
pub(super) fn open_append(path: &Path) -> io::Result<(File, u64)> {
    let file = match appending().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            appending().create(true).open(path)?
        }
        opened => opened?,
    };
    let size = file.metadata()?.len();
    Ok((file, size))
}

/// Renames `LOG.1` to `LOG.2` and so on, highest first, then `LOG` to `LOG.1`; what is beyond `keep` goes.
pub(super) fn shift(path: &Path, keep: u32) -> Result<(), String> {
    let mut numbers = rotated(path).map_err(|e| {
        format!(
            "cannot list the directory of log '{}': {}; writing on to the same file",
            path.display(),
            error_text(&e)
        )
    })?;
    numbers.sort_unstable_by(|a, b| b.cmp(a));
    let name = |number: u32| {
        let mut name = path.as_os_str().to_os_string();
        name.push(format!(".{number}"));
        PathBuf::from(name)
    };
    for number in numbers {
        if keep > 0 && number >= keep {
            let _ = fs::remove_file(name(number));
        } else if number < u32::MAX {
            rename(&name(number), &name(number + 1))?;
        }
    }
    rename(path, &name(1))
}

fn rename(from: &Path, to: &Path) -> Result<(), String> {
    fs::rename(from, to).map_err(|e| {
        format!(
            "cannot rename log '{}' to '{}': {}; writing on to the same file",
            from.display(),
            to.display(),
            error_text(&e)
        )
    })
}

/// The numbers of the rotated files that are there.
fn rotated(path: &Path) -> io::Result<Vec<u32>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut prefix = path.file_name().unwrap_or_default().to_os_string();
    prefix.push(".");
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number = name
            .as_encoded_bytes()
            .strip_prefix(prefix.as_encoded_bytes());
        let number = number.and_then(|digits| std::str::from_utf8(digits).ok());
        // No leading zero or sign: only names that this module would have given.
        if let Some(number) = number.and_then(|text| {
            text.parse::<u32>()
                .ok()
                .filter(|n| n.to_string() == text && *n > 0)
        }) {
            numbers.push(number);
        }
    }
    Ok(numbers)
}
