//! A moment by both clocks: the one that is never stepped, which decides, and the one that people read and that
//! survives a restart. Reading them is for who owns a loop; everybody else is told.

use std::time::{Duration, Instant, SystemTime};

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
