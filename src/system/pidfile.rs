//! The pid file: a lock holds it, a stale one is recognised, and it is removed at exit. If another daemon holds it, the
//! error says which.

use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::system::errors::system_text;
use crate::system::lock::{self, Holder, LOOK_AGAIN, Lock, Patience};
use crate::system::opening::{self, PID_FILE};
use crate::system::privileges::Account;

/// How long a twistd may take to end. It locks nothing, so it cannot say that it is stopping.
const TWISTD_TIME: Duration = Duration::from_secs(5);

/// A pid file that is this daemon's while this value lives.
#[derive(Debug)]
pub struct PidFile {
    path: PathBuf,
    lock: Lock,
}

/// Why a pid file could not be taken.
#[derive(Debug)]
pub enum Error {
    /// Another daemon holds it.
    Held(PathBuf, Holder),
    /// A signal ended the wait for a daemon that is stopping.
    Ended,
    /// The file could not be opened or written.
    System(PathBuf, opening::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Held(path, holder) => {
                let path = path.display();
                write!(f, "another instance holds pid file '{path}'{holder}")
            }
            Error::Ended => f.write_str(lock::ENDED),
            Error::System(path, error) => {
                write!(f, "cannot write pid file '{}': {error}", path.display())
            }
        }
    }
}

/// Who takes a pid file.
#[derive(Debug, Clone, Copy)]
pub struct Taker<'a> {
    /// Its process id.
    pub pid: u32,
    /// The process that started it and waits for it. Its name looks like a daemon's, but it is none.
    pub starter: Option<u32>,
    /// The user that it is going to become.
    pub user: Option<&'a Account>,
    /// Whether this program, called with these arguments, is the daemon.
    pub is_daemon: fn(&[OsString]) -> bool,
}

impl PidFile {
    /// Takes the file and writes the taker's process id to it. If the number in it is that of a running twistd or
    /// buildd-sequencer, that one holds the file, lock or not. Anything else in the file is stale.
    pub fn take(
        path: &Path,
        taker: Taker<'_>,
        patience: &mut impl Patience,
    ) -> Result<PidFile, Error> {
        let shown = || path.to_path_buf();
        let since = patience.now();
        loop {
            let lock = Lock::take(path, &PID_FILE, taker.user, patience).map_err(|e| match e {
                lock::Error::Held(holder) => Error::Held(shown(), holder),
                lock::Error::Ended => Error::Ended,
                lock::Error::Opening(error) => Error::System(shown(), error),
            })?;
            let own = [Some(taker.pid), taker.starter];
            let named = lock.named().filter(|&pid| !own.contains(&Some(pid)));
            if let Some((pid, daemon)) = named.and_then(|pid| Some((pid, daemon(pid, taker)?))) {
                let waited = patience.now().saturating_duration_since(since);
                if daemon == Program::Sequencer || waited >= TWISTD_TIME {
                    let holder = Holder {
                        pid: Some(pid),
                        is_stopping: false,
                    };
                    return Err(Error::Held(shown(), holder));
                }
                patience.waits_for(path, waited);
                if !patience.pause(LOOK_AGAIN) {
                    return Err(Error::Ended);
                }
                continue;
            }
            // Without its number it is nobody's, and is removed.
            let file = PidFile {
                path: path.to_path_buf(),
                lock,
            };
            let named = file.lock.name(taker.pid);
            named.map_err(|e| Error::System(shown(), e.into()))?;
            return Ok(file);
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells a daemon that is started now to wait for the end of this one.
    pub fn begin_to_stop(&self) {
        self.lock.begin_to_stop();
    }

    /// Why it keeps no other daemon out, if locks are not supported.
    pub fn warning(&self) -> Option<String> {
        let why = system_text(self.lock.unsupported()?);
        let path = self.path.display();
        Some(format!(
            "Pid file '{path}' cannot be locked ({why}); only the number in it keeps a second daemon out."
        ))
    }
}

impl Drop for PidFile {
    /// Removes the file. If the directory does not allow that, empties it, so that the number is not taken for that of
    /// a later process.
    fn drop(&mut self) {
        let file = self.lock.file();
        if opening::names(&self.path, file) && opening::remove(&self.path, file, None).is_err() {
            let _ = file.set_len(0);
        }
    }
}

/// A program whose pid file this could be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Program {
    Twistd,
    Sequencer,
}

/// The program that the process runs, if this could be its pid file.
fn daemon(pid: u32, taker: Taker<'_>) -> Option<Program> {
    let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let command = command.strip_suffix(b"\0").unwrap_or(&command);
    let words: Vec<&[u8]> = command.split(|&byte| byte == 0).collect();
    program(&words, taker.is_daemon)
}

/// The daemon that this command line runs: `buildd-sequencer ...`, `twistd ...` or `python [-u] twistd ...`. A pager or
/// a `grep` with the word as its argument is none.
fn program(words: &[&[u8]], is_daemon: fn(&[OsString]) -> bool) -> Option<Program> {
    let (first, arguments) = words.split_first()?;
    let name = base_name(first);
    if name == b"buildd-sequencer" {
        let arguments: Vec<OsString> = arguments
            .iter()
            .map(|word| OsString::from_vec(word.to_vec()))
            .collect();
        return is_daemon(&arguments).then_some(Program::Sequencer);
    }
    let script = if is_interpreter(name) {
        base_name(script(arguments)?)
    } else {
        name
    };
    is_twistd(script).then_some(Program::Twistd)
}

fn base_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}

fn is_interpreter(name: &[u8]) -> bool {
    let shells: [&[u8]; 4] = [b"sh", b"bash", b"dash", b"ash"];
    name.starts_with(b"python") || name.starts_with(b"pypy") || shells.contains(&name)
}

/// The script that an interpreter runs; `None` after `-c` and `-m`.
fn script<'a>(arguments: &[&'a [u8]]) -> Option<&'a [u8]> {
    let mut words = arguments.iter();
    loop {
        let word = words.next()?;
        let Some(options) = word.strip_prefix(b"-").filter(|rest| !rest.is_empty()) else {
            return Some(word);
        };
        match options.iter().position(|letter| b"cmWXQo".contains(letter)) {
            Some(at) if b"cm".contains(&options[at]) && options[0] != b'-' => return None,
            // The option's value is the next word.
            Some(at) if at + 1 == options.len() && options[0] != b'-' => words.next(),
            _ => None,
        };
    }
}

/// Whether this is twistd's name: `twistd`, `twistd3`, `twistd-2.7`, `twistd.py`. `twistd.log` is not: somebody may be
/// reading it.
fn is_twistd(name: &[u8]) -> bool {
    let suffix = name.strip_prefix(b"twistd");
    suffix.is_some_and(|suffix| suffix.iter().all(|byte| b"0123456789.-py".contains(byte)))
}

#[cfg(test)]
mod tests;
