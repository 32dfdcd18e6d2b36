//! Everything that touches the operating system, as thin wrappers that know nothing of jobs.

pub mod access;
pub mod capabilities;
pub mod claim;
pub mod control;
pub mod detach;
pub mod errors;
pub mod files;
pub mod inherited;
pub mod lock;
pub mod log;
pub mod mounts;
pub mod notify;
pub mod opening;
pub mod pidfile;
pub mod privileges;
pub mod process;
pub mod signals;
pub mod users;

use std::time::{Instant, SystemTime};

use crate::clock::Moment;

/// Reads both clocks.
pub fn now() -> Moment {
    Moment {
        instant: Instant::now(),
        wall: SystemTime::now(),
    }
}
