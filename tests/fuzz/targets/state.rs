//! Any bytes as a state file: no panic, no time that cannot be, and what is written after reading reads back as
//! the same, without a warning.

#![no_main]

use std::time::{Duration, Instant, SystemTime};

use buildd_sequencer::clock::Moment;
use buildd_sequencer::job::record::Record;
use buildd_sequencer::job::schedule::{Delays, Timing};
use buildd_sequencer::job::state::{self, State};
use libfuzzer_sys::fuzz_target;

const DELAYS: Delays = Delays {
    start: Duration::from_secs(7),
    min: Duration::from_secs(5),
    max: Duration::from_secs(300),
};

/// The jobs' names.
const NAMES: [&str; 3] = ["a", "b", "slave_scanner"];

fn restored(state: &State, now: Moment) -> (Vec<Timing>, Vec<Record>) {
    let known = NAMES.iter().map(|name| state.restore(name, &DELAYS, now));
    known.unzip()
}

fuzz_target!(|text: &[u8]| {
    let now = Moment {
        instant: Instant::now(),
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_476_997),
    };
    let state = state::read(text, now.wall);
    if let Some(warning) = &state.warning {
        assert!(!warning.contains(char::is_control), "{warning}");
    }
    let (mut timings, mut records) = restored(&state, now);
    for timing in &timings {
        assert!(timing.due <= now.instant + Duration::from_secs(300));
    }
    // What no daemon wrote is put right once, and stays as it is from then on.
    let mut written = Vec::new();
    for _ in 0..3 {
        let jobs = NAMES.iter().zip(&timings).zip(&records);
        let text = state::write(
            jobs.map(|((name, timing), record)| (*name, timing, record)),
            now,
        );
        let state = state::read(text.as_bytes(), now.wall);
        assert_eq!(state.warning, None, "{text}");
        (timings, records) = restored(&state, now);
        written.push(text);
    }
    assert_eq!(written[2], written[1]);
});
