//! When a run counts as stuck and when that is reported: the one rule for the report, the status, the metrics and the
//! health check. Pure.

use std::time::Instant;

use crate::config::Settings;
use crate::job::jobs::Next;

/// When a run that began at `began` becomes stuck; `None` if `stuckafter` is off.
pub fn stuck_at(settings: &Settings, began: Instant) -> Option<Instant> {
    let after = settings.stuckafter;
    (!after.is_zero()).then(|| began + after)
}

/// Whether a run that began at `began` is stuck at `now`. One that could not be stopped, because a signal was `refused`,
/// is, however short.
pub fn is_stuck(settings: &Settings, began: Instant, refused: bool, now: Instant) -> bool {
    refused || stuck_at(settings, began).is_some_and(|at| at <= now)
}

/// When a run has to be reported as stuck: as soon as it is stuck and another job waits. `next` is the first job that
/// will wait. If `stuckafter` was set by hand, the run is reported even if nobody waits.
pub fn report_at(settings: &Settings, began: Instant, next: Option<Next>) -> Option<Instant> {
    let stuck = stuck_at(settings, began)?;
    if settings.stuckafter_by_hand {
        return Some(stuck);
    }
    next.map(|next| next.start(stuck).max(stuck))
}

#[cfg(test)]
mod tests;
