//! Tests of `stuck`.

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
