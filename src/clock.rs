//! A moment by both clocks: the one that is never stepped, which decides, and the one that people read and that
//! survives a restart. Reading them is for who owns a loop; everybody else is told.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Both clocks at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// The clock that is never stepped.
    pub instant: Instant,
    /// The clock that survives a restart.
    pub wall: SystemTime,
}

impl Moment {
    /// How long ago `earlier` was.
    pub fn since(self, earlier: Moment) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }

    /// What the wall clock will say, or has said, at `at`, if it is not stepped; `None` beyond what it can say.
    pub fn wall_time(self, at: Instant) -> Option<SystemTime> {
        match at.checked_duration_since(self.instant) {
            Some(ahead) => self.wall.checked_add(ahead),
            None => self
                .wall
                .checked_sub(self.instant.saturating_duration_since(at)),
        }
    }

    /// How long ago `at` was by the wall clock; nothing for what is still to come.
    pub fn age(self, at: SystemTime) -> Duration {
        self.wall.duration_since(at).unwrap_or_default()
    }

    /// A moment of the past by the clock that is never stepped; what lies before its beginning is now.
    pub fn earlier(self, at: SystemTime) -> Instant {
        self.instant
            .checked_sub(self.age(at))
            .unwrap_or(self.instant)
    }
}

/// A moment of the wall clock in eight bytes: nanoseconds since 1970, zero for never.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Stamp(u64);

impl Stamp {
    /// The moment `time`; what lies outside 1970 to 2554 is never.
    pub fn at(time: SystemTime) -> Stamp {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        Stamp(u64::try_from(since.as_nanos()).unwrap_or(0))
    }

    /// The moment, unless it is never.
    pub fn time(self) -> Option<SystemTime> {
        (self.0 > 0).then(|| UNIX_EPOCH + Duration::from_nanos(self.0))
    }
}
