//! Checks whether the present user could run, write or read something. It only looks: it opens nothing for writing, and
//! starts and makes nothing. It does not know what is needed or why.

use std::env;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::unistd::{AccessFlags, access, geteuid};

use crate::system::errors::{errno_of, is_refusal, system_text};
use crate::system::opening;
use crate::system::paths::{MOST_LINKS, directory_of};
use crate::system::stat::STICKY;

/// What is wrong with something that was checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    text: String,
    is_refusal: bool,
}

impl Flaw {
    /// A flaw with this text; `is_refusal` as below.
    pub fn new(text: String, is_refusal: bool) -> Flaw {
        Flaw { text, is_refusal }
    }

    /// A flaw that every user would find.
    pub fn of_all(text: String) -> Flaw {
        Flaw::new(text, false)
    }

    /// The flaw that the system reported about `what`.
    fn said(what: &str, errno: Errno) -> Flaw {
        Flaw::new(system_text(errno), is_refusal(errno)).of(what)
    }

    /// The same flaw, with `what` named first.
    pub fn of(self, what: &str) -> Flaw {
        Flaw::new(format!("{what}: {}", self.text), self.is_refusal)
    }

    /// Whether permission is missing, so that another user may not find this flaw.
    pub fn is_refusal(&self) -> bool {
        self.is_refusal
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The file that is executed for `program`. It is looked for as execvp(3) does.
pub fn executable(program: &str) -> Result<PathBuf, Flaw> {
    if program.contains('/') {
        let path = PathBuf::from(program);
        return match executable_file(&path) {
            Ok(()) => Ok(path),
            Err(flaw) => Err(flaw.of(&format!("command '{program}' cannot be run"))),
        };
    }
    let path = env::var_os("PATH").unwrap_or_else(|| "/bin:/usr/bin".into());
    let mut refused = None;
    for directory in env::split_paths(&path) {
        let candidate = directory.join(program);
        match executable_file(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(flaw) if candidate.exists() => {
                refused = Some(flaw.of(&format!("'{}' cannot be run", candidate.display())));
            }
            Err(_) => {}
        }
    }
    Err(refused.unwrap_or_else(|| {
        let path = path.to_string_lossy();
        Flaw::of_all(format!("command '{program}' not found in PATH ({path})"))
    }))
}

/// Whether the file at `path` can be executed.
pub fn executable_file(path: &Path) -> Result<(), Flaw> {
    access(path, AccessFlags::X_OK)
        .map_err(|errno| Flaw::new(system_text(errno), is_refusal(errno)))?;
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        _ => Err(Flaw::of_all("it is not a file".to_string())),
    }
}

/// Whether a file can be made, replaced and removed at `path`, as far as its directory decides.
pub fn writable_directory_of(path: &Path) -> Result<(), Flaw> {
    let directory = directory_of(path);
    let shown = directory.display();
    if directory.exists() && !directory.is_dir() {
        return Err(Flaw::of_all(format!("'{shown}' is not a directory")));
    }
    if let Err(error @ opening::Error::Dangerous(_)) = opening::open_directory_of(path) {
        return Err(Flaw::of_all(format!(
            "directory '{shown}' cannot be written: {error}"
        )));
    }
    let flags = AccessFlags::W_OK | AccessFlags::X_OK;
    access(directory, flags)
        .map_err(|errno| Flaw::said(&format!("directory '{shown}' cannot be written"), errno))?;
    if is_kept_from_us(path, directory) {
        let text = format!(
            "'{}' is another user's, so in '{shown}', whose sticky bit is set, it cannot be replaced",
            path.display()
        );
        return Err(Flaw::new(text, true));
    }
    Ok(())
}

/// Whether a sticky directory keeps the present user from renaming or removing what is there (rename(2), EPERM).
fn is_kept_from_us(path: &Path, directory: &Path) -> bool {
    let us = geteuid();
    let (Ok(there), Ok(directory)) = (fs::symlink_metadata(path), fs::metadata(directory)) else {
        return false;
    };
    let is_sticky = directory.mode() & STICKY != 0;
    // The third is root, whom this does not keep from anything.
    let owners = [there.uid(), directory.uid(), 0];
    is_sticky && owners.iter().all(|&owner| owner != us.as_raw())
}

/// Whether the directory is there in which `path` is to be.
pub fn directory_exists_for(path: &Path) -> Result<(), Flaw> {
    let directory = directory_of(path);
    let shown = directory.display();
    match fs::metadata(directory) {
        Ok(there) if there.is_dir() => Ok(()),
        Ok(_) => Err(Flaw::of_all(format!("'{shown}' is not a directory"))),
        Err(error) => {
            let what = format!("directory '{shown}'");
            Err(Flaw::said(&what, errno_of(&error)))
        }
    }
}

/// Whether a file can be made at `path`, where there is none yet.
pub fn directory_of_new(path: &Path) -> Result<(), Flaw> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(()),
        Err(_) => writable_directory_of(path),
    }
}

/// What the last part of `path` leads to, if it is a link, also to nothing yet; else `path` as it is.
pub fn where_it_leads(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..MOST_LINKS {
        let Ok(target) = fs::read_link(&path) else {
            break;
        };
        path = directory_of(&path).join(target);
    }
    path
}

/// Where `path` is, or would be: its directory with all links followed, and its name there.
pub fn place(path: &Path) -> PathBuf {
    let directory = fs::canonicalize(directory_of(path)).ok();
    match directory.zip(path.file_name()) {
        Some((directory, name)) => directory.join(name),
        None => path.to_path_buf(),
    }
}

/// Whether there is a regular file at `path`, or nothing.
pub fn is_file_or_nothing(path: &Path) -> bool {
    fs::metadata(path).map_or(true, |there| there.is_file())
}

/// Whether the file at `path` can be read, if there is one.
pub fn readable_if_there(path: &Path) -> Result<(), Flaw> {
    match access(path, AccessFlags::R_OK) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => {
            let what = format!("'{}' cannot be read", path.display());
            Err(Flaw::said(&what, errno))
        }
    }
}
