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
mod tests {
    use std::time::Duration;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn settings(stuckafter: Duration, by_hand: bool) -> Settings {
        Settings {
            stuckafter,
            stuckafter_by_hand: by_hand,
            ..Settings::default()
        }
    }

    #[test]
    fn a_run_is_stuck_past_stuckafter_and_never_where_that_is_off() {
        let t0 = Instant::now();
        assert_eq!(stuck_at(&settings(HOUR, false), t0), Some(t0 + HOUR));
        assert_eq!(stuck_at(&settings(Duration::ZERO, true), t0), None);
        assert_eq!(report_at(&settings(Duration::ZERO, true), t0, None), None);
    }

    #[test]
    fn it_is_reported_when_another_job_waits_or_at_once_if_set_by_hand() {
        let t0 = Instant::now();
        assert_eq!(report_at(&settings(HOUR, false), t0, None), None);
        assert_eq!(report_at(&settings(HOUR, true), t0, None), Some(t0 + HOUR));
    }
}
