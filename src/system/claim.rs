//! Makes a file that is replaced by rename one daemon's alone, by a lock on another file beside it. That file stays
//! when the daemon has gone. It knows nothing of what the claimed file holds, and neither opens nor makes it.

use std::fmt;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::config::apart::lock_beside;
use crate::system::errors::system_text;
use crate::system::lock::{self, Holder, Lock, NoPatience, Patience};
use crate::system::opening::{self, LOCK};

/// What the file of the state is called.
pub const STATE_FILE: &str = "State file";
/// What the file of the lease is called.
pub const LEASE_FILE: &str = "Lease file";

/// A file that no other daemon may have while this value lives, if it could be locked.
#[derive(Debug)]
pub struct Claim {
    lock: Option<Lock>,
    warning: Option<String>,
}

/// Why a file cannot be claimed.
#[derive(Debug)]
pub enum Error {
    /// Another daemon holds it.
    Held(&'static str, PathBuf, Holder),
    /// A signal ended the wait for a daemon that is stopping.
    Ended,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Held(what, path, holder) => {
                let (what, path) = (what.to_ascii_lowercase(), path.display());
                write!(f, "another instance holds {what} '{path}'{holder}")
            }
            Error::Ended => f.write_str(lock::ENDED),
        }
    }
}

impl Claim {
    /// Claims the file at `path`, which is a `what`, for the process `pid`. If it cannot be locked, that is only a
    /// warning.
    pub fn lay(
        what: &'static str,
        path: &Path,
        pid: u32,
        patience: &mut impl Patience,
    ) -> Result<Claim, Error> {
        if is_not_claimed(path) {
            return Ok(Claim {
                lock: None,
                warning: None,
            });
        }
        let beside = lock_beside(path);
        let (lock, why) = match Lock::take(&beside, &LOCK, None, patience) {
            Ok(lock) => {
                // Set the mode, so that the mask does not decide who may lock it. The number in it is for people only.
                let _ = lock.file().set_permissions(Permissions::from_mode(0o600));
                let _ = lock.name(pid);
                let why = lock.unsupported().map(system_text);
                (Some(lock), why)
            }
            Err(lock::Error::Held(holder)) => {
                return Err(Error::Held(what, path.to_path_buf(), holder));
            }
            Err(lock::Error::Ended) => return Err(Error::Ended),
            Err(lock::Error::Opening(error)) => (None, Some(error.to_string())),
        };
        let warning = why.map(|why| format!("{}.", unguarded(what, path, &beside, &why)));
        Ok(Claim { lock, warning })
    }

    /// Why the file at `path` would not be kept from another daemon, as far as the file beside it shows that. Nothing
    /// is made or locked.
    pub fn look(what: &'static str, path: &Path) -> Option<String> {
        let beside = lock_beside(path);
        if is_not_claimed(path) || fs::symlink_metadata(&beside).is_err() {
            return None;
        }
        let error = opening::look(&beside, &LOCK, None).err()?;
        Some(unguarded(what, path, &beside, &error.to_string()))
    }

    /// Claims it as far as that is possible at once. Whoever else holds it is only a warning.
    pub fn try_to_lay(what: &'static str, path: &Path, pid: u32) -> Claim {
        Claim::lay(what, path, pid, &mut NoPatience).unwrap_or_else(|error| Claim {
            lock: None,
            warning: Some(format!(
                "The lease is ours, but {error}; going on without that lock."
            )),
        })
    }

    /// Whether it is the claim of the file at `path`, under whatever name that was claimed.
    pub fn is_of(&self, path: &Path) -> bool {
        let lock = self.lock.as_ref();
        lock.is_some_and(|lock| opening::names(&lock_beside(path), lock.file()))
    }

    /// Tells a daemon that is started now to wait for the end of this one.
    pub fn begin_to_stop(&self) {
        if let Some(lock) = &self.lock {
            lock.begin_to_stop();
        }
    }

    /// Why no other daemon is kept out; returned only once.
    pub fn take_warning(&mut self) -> Option<String> {
        self.warning.take()
    }
}

/// Whether nothing is made beside what is there, because it is no file, and will not be written either.
fn is_not_claimed(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|there| !there.is_file())
}

/// What an operator is told of a claim without a lock.
fn unguarded(what: &str, path: &Path, beside: &Path, why: &str) -> String {
    let (path, beside) = (path.display(), beside.display());
    format!(
        "{what} '{path}': nothing keeps another daemon from using it, because '{beside}' cannot be locked: {why}"
    )
}
