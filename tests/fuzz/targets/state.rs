//! Any bytes as a state file: no panic, no time that cannot be, and what is written after reading reads back as
//! the same, without a warning.

#![no_main]

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use buildd_sequencer::config::{Config, Job};
use buildd_sequencer::job::record::Record;
use buildd_sequencer::job::schedule::{Delays, Schedule, Timing};
use buildd_sequencer::job::state::{self, Now, State};
use libfuzzer_sys::fuzz_target;

const DELAYS: Delays = Delays {
    start: Duration::from_secs(7),
    min: Duration::from_secs(5),
    max: Duration::from_secs(300),
};

fn restored(state: &State, config: &Config, now: Now) -> (Schedule, Vec<Record>) {
    let jobs = config.jobs.iter();
    let known = jobs.map(|job| state.restore(&job.name, &DELAYS, now));
    let (timings, records): (Vec<Timing>, Vec<Record>) = known.unzip();
    (Schedule::new(timings), records)
}

fuzz_target!(|text: &[u8]| {
    let now = Moment {
        instant: Instant::now(),
        wall: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_476_997),
    };
    let mut config = Config::default();
    config.jobs = ["a", "b", "slave_scanner"]
        .map(|name| {
            Rc::new(Job {
                name: name.into(),
                ..Job::default()
            })
        })
        .into();
    let state = state::read(text, now.wall);
    if let Some(warning) = &state.warning {
        assert!(!warning.contains(char::is_control), "{warning}");
    }
    let (schedule, records) = restored(&state, &config, now);
    for place in 0..config.jobs.len() {
        let due = schedule.timing(place).unwrap().due;
        assert!(due <= now.instant + Duration::from_secs(300));
    }
    // What no daemon wrote is put right once, and stays as it is from then on.
    let mut written = Vec::new();
    let (mut schedule, mut records) = (schedule, records);
    for _ in 0..3 {
        let text = state::write(&config, &schedule, &records, now);
        let state = state::read(text.as_bytes(), now.wall);
        assert_eq!(state.warning, None, "{text}");
        (schedule, records) = restored(&state, &config, now);
        written.push(text);
    }
    assert_eq!(written[2], written[1]);
});
