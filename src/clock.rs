//! A moment by both clocks: the monotonic clock, which decides, and the wall clock, which people read and which
//! survives a restart. What decides is told the time; it reads no clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The monotonic clock, which is never stepped.
    pub instant: Instant,
    /// The wall clock, which survives a restart.
    pub wall: SystemTime,
}

impl Moment {
    /// How long ago `earlier` was.
    pub fn since(self, earlier: Moment) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }

    /// The wall clock's time at `at`, past or future, if the clock is not stepped; `None` beyond its range.
    pub fn wall_time(self, at: Instant) -> Option<SystemTime> {
        match at.checked_duration_since(self.instant) {
            Some(ahead) => self.wall.checked_add(ahead),
            None => self
                .wall
                .checked_sub(self.instant.saturating_duration_since(at)),
        }
    }

    /// How long ago `at` was by the wall clock; zero if it lies ahead.
    pub fn age(self, at: SystemTime) -> Duration {
        self.wall.duration_since(at).unwrap_or_default()
    }

    /// The monotonic clock's moment for `at`, which is past. If `at` lies before that clock's beginning, it is now.
    pub fn earlier(self, at: SystemTime) -> Instant {
        self.instant
            .checked_sub(self.age(at))
            .unwrap_or(self.instant)
    }
}

/// A duration in nanoseconds; `None` beyond 584 years.
pub fn nanoseconds(duration: Duration) -> Option<u64> {
    let seconds = duration.as_secs().checked_mul(1_000_000_000)?;
    seconds.checked_add(duration.subsec_nanos().into())
}

/// A wall-clock time in eight bytes: nanoseconds since 1970, zero for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// The time `time`. A time outside 1970 to 2554 becomes never.
    pub fn at(time: SystemTime) -> Stamp {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp(nanoseconds(since).unwrap_or(0))
    }

    /// The time so many nanoseconds after 1970 began; zero is never.
    pub fn of(nanoseconds: u64) -> Stamp {
        Stamp(nanoseconds)
    }

    /// Nanoseconds since 1970; zero for never.
    pub fn nanoseconds(self) -> u64 {
        self.0
    }

    /// The time; `None` for never.
    pub fn time(self) -> Option<SystemTime> {
        (self.0 > 0).then(|| UNIX_EPOCH + Duration::from_nanos(self.0))
    }
}
