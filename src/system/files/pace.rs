//! When a kept file is written: at most once a second, less often if writes take long, and if possible at a moment when
//! a slow disk delays nothing that is due.
//! Pure: it is told the time, how long writes took, and what is due next.

use std::time::{Duration, Instant};

/// The least time between two writes.
const INTERVAL: Duration = Duration::from_secs(1);
/// After a write, no other follows for at least this many times as long as it took.
const REST: u32 = 20;
/// How long at most a write is put off so that it delays nothing.
const LATENESS: Duration = Duration::from_secs(10);
/// How long a write is expected to take at most: this many times the usual time, and this much longer.
const SURPRISE: (u32, Duration) = (2, Duration::from_millis(10));

/// What a slow write would delay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upcoming {
    /// When the next thing is due; `None` if nothing is.
    pub next: Option<Instant>,
    /// How long after the end of what is under way it is due again. It may end at any moment.
    pub after_end: Option<Duration>,
}

impl Upcoming {
    /// Whether nothing starts within `time` from `at` on.
    fn leaves(&self, at: Instant, time: Duration) -> bool {
        self.next.is_none_or(|next| next > at + time)
            && self.after_end.is_none_or(|delay| delay > time)
    }
}

/// When one file may be written, and when it has to be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pace {
    /// When the file became out of date.
    changed: Option<Instant>,
    /// When the next write may be made at the earliest. `None` until the first write, which waits for nothing.
    not_before: Option<Instant>,
    /// How long writes usually take: the last one's time, or half of the value before it if that is more.
    usual: Duration,
}

impl Pace {
    /// Notes that the file is out of date from `now` on, unless it was already.
    pub fn touch(&mut self, now: Instant) {
        self.changed.get_or_insert(now);
    }

    /// Whether the file is out of date.
    pub fn is_behind(&self) -> bool {
        self.changed.is_some()
    }

    /// Notes that a write was tried. If it failed, the file is still out of date.
    pub fn wrote(&mut self, began: Instant, ended: Instant, succeeded: bool) {
        if succeeded {
            self.changed = None;
        } else {
            self.touch(began);
        }
        let took = ended.saturating_duration_since(began);
        self.usual = took.max(self.usual / 2);
        self.not_before = Some(ended + INTERVAL.max(took * REST));
    }

    /// Whether a write may be made at `now`, which the caller knows to delay nothing.
    pub fn allows(&self, now: Instant) -> bool {
        self.earliest().is_some_and(|at| at <= now)
    }

    /// When to write, as far as is known at `now`; `None` if the file is up to date.
    pub fn deadline(&self, now: Instant, upcoming: &Upcoming) -> Option<Instant> {
        let earliest = self.earliest()?;
        let (factor, more) = SURPRISE;
        let takes = self.usual * factor + more;
        let is_free = self.not_before.is_none() || upcoming.leaves(earliest.max(now), takes);
        Some(if is_free {
            earliest
        } else {
            earliest + LATENESS
        })
    }

    fn earliest(&self) -> Option<Instant> {
        let changed = self.changed?;
        Some(self.not_before.map_or(changed, |at| at.max(changed)))
    }
}

#[cfg(test)]
mod tests;
