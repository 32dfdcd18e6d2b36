//! The file that holds a deadline, the clock that it counts by, and a timer of that clock. It does not know what the
//! deadline is for.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::{Path, PathBuf};

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{
    ClockId as TimerClock, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags,
};
use nix::time::{ClockId, clock_gettime};

use super::files;
use crate::lease;

/// The seconds since the machine was started, those included in which it was suspended. It is no system call: the
/// kernel maps this clock into each process (vdso(7)).
pub fn clock() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME);
    // Without the clock nothing is known, and the end of all time is later than any deadline.
    time.map_or(u64::MAX, |time| u64::try_from(time.tv_sec()).unwrap_or(0))
}

/// The deadline in the file at `path`; 0 if there is none.
pub fn read(path: &Path) -> u64 {
    files::read_small(path).map_or(0, |text| lease::end(&text))
}

/// The file, and the timer that tells of its deadline.
#[derive(Debug)]
pub struct LeaseFile {
    path: PathBuf,
    timer: TimerFd,
    /// What the timer is set to.
    set: Option<u64>,
}

impl LeaseFile {
    /// The file at `path`; the timer's event carries `token`.
    pub fn watch(path: PathBuf, registry: &Registry, token: Token) -> io::Result<LeaseFile> {
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(TimerClock::CLOCK_BOOTTIME, flags)?;
        let fd = timer.as_fd().as_raw_fd();
        registry.register(&mut SourceFd(&fd), token, Interest::READABLE)?;
        Ok(LeaseFile {
            path,
            timer,
            set: None,
        })
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the timer is set to, if it is.
    pub fn timer(&self) -> Option<u64> {
        self.set
    }

    /// Notes that the timer has rung. It need not be read: setting it anew takes the old event away.
    pub fn rung(&mut self) {
        self.set = None;
    }

    /// Sets the timer, which also rings in a machine that wakes up later than that, or stops it.
    pub fn set_timer(&mut self, at: Option<u64>) -> io::Result<()> {
        if self.set == at {
            return Ok(());
        }
        match at {
            Some(second) => {
                // Some machines count in 32 bits; what lies beyond is 68 years away, and then the file is read again.
                let second = i32::try_from(second).unwrap_or(i32::MAX);
                let at = Expiration::OneShot(TimeSpec::new(second.into(), 0));
                self.timer.set(at, TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            }
            None => self.timer.unset()?,
        }
        self.set = at;
        Ok(())
    }
}

/// How many seconds are left until the deadline in the file at `path`.
pub fn left(path: &Path) -> u64 {
    read(path).saturating_sub(clock())
}

/// The line that says that none is left.
pub fn run_out(path: &Path) -> String {
    format!("The lease in {} has run out.", path.display())
}
