//! When a file that is kept up to date is written: at most so often, seldomer where that takes long, and where it can
//! be, at a moment at which a slow disk delays nothing that is due.
//! Pure: it is told the time, how long writes took, and what is to come.

use std::time::{Duration, Instant};

/// Least time between two writes.
const INTERVAL: Duration = Duration::from_secs(1);
/// A write is followed by at least this many times as long without one.
const REST: u32 = 20;
/// How much later a write is made, at most, so as not to stand in the way of anything.
const LATENESS: Duration = Duration::from_secs(10);
/// A write may take this many times as long as the ones before it, and this much longer.
const SURPRISE: (u32, Duration) = (2, Duration::from_millis(10));

/// What a slow write would delay.
#[derive(Debug, Clone, Copy, Default)]
pub struct Upcoming {
    /// When the next thing is due; `None`: nothing is awaited.
    pub next: Option<Instant>,
    /// Something is under way and may end at any moment; this long after its end it is due again.
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
    /// Since when the file has been out of date.
    changed: Option<Instant>,
    /// `None` until the first write, which waits for nothing.
    not_before: Option<Instant>,
    /// What writes take: the last one, or half of what was usual before it where that is more.
    usual: Duration,
}

impl Pace {
    /// What the file holds is out of date from `now` on, if it has not been before.
    pub fn touch(&mut self, now: Instant) {
        self.changed.get_or_insert(now);
    }

    /// Whether the file is out of date.
    pub fn is_behind(&self) -> bool {
        self.changed.is_some()
    }

    /// A write was tried; where it failed, the file is out of date.
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

    /// Whether a write may be made at `now`, at which it delays nothing.
    pub fn allows(&self, now: Instant) -> bool {
        self.earliest().is_some_and(|at| at <= now)
    }

    /// When to write, as far as is known at `now`; `None` while the file is up to date.
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
