//! Everything that touches the operating system, in thin wrappers that know nothing of jobs, mail or status.

pub mod access;
pub mod capabilities;
pub mod claim;
pub mod clients;
pub mod control;
pub mod detach;
pub mod errors;
pub mod files;
pub mod http;
pub mod inherited;
pub mod lease;
pub mod lock;
pub mod log;
pub mod mounts;
pub mod notify;
pub mod opening;
pub mod paths;
pub mod pidfile;
pub mod privileges;
pub mod process;
pub mod program;
pub mod signals;
pub mod stat;
pub mod users;

use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};

use crate::clock::Moment;

/// The processor time of this thread (clock_gettime(2)), without the time of other programs.
pub fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
    time.map(Duration::from).unwrap_or_default()
}

/// Reads both clocks.
pub fn now() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: SystemTime::now(),
    }
}

/// A process that is being started has everything open that we have, locked files among them, until it has become its
/// program. Tests start processes while nobody shares this, and share it as long as they take locks and let them go.
#[cfg(test)]
pub(crate) static STARTING: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// A directory for sockets, whose names may have 107 bytes (unix(7)) while $TMPDIR may be longer.
#[cfg(test)]
pub(crate) fn short_directory() -> std::io::Result<tempfile::TempDir> {
    let usual = std::env::temp_dir();
    if usual.as_os_str().len() <= 64 {
        tempfile::tempdir()
    } else {
        tempfile::tempdir_in("/tmp")
    }
}
