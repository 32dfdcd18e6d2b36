//! When a run counts as stuck, and when that is reported: the one rule behind the report, the status, the metrics and
//! the health check. Pure.

use std::time::Instant;

use crate::config::Settings;
use crate::job::jobs::Next;

/// From when on a run that began at `began` is stuck; never if `stuckafter` is off.
pub fn stuck_at(settings: &Settings, began: Instant) -> Option<Instant> {
    let after = settings.stuckafter;
    (!after.is_zero()).then(|| began + after)
}

/// When a run has to be reported as stuck: once it is, as soon as another job waits; `next` is the first of those that
/// will. A `stuckafter` that was set by hand holds also when nobody waits.
pub fn report_at(settings: &Settings, began: Instant, next: Option<Next>) -> Option<Instant> {
    let stuck = stuck_at(settings, began)?;
    if settings.stuckafter_by_hand {
        return Some(stuck);
    }
    next.map(|next| next.start(stuck).max(stuck))
}

#[cfg(test)]
mod tests;
