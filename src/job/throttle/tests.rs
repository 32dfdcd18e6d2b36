//! Tests of `throttle`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use proptest::prelude::*;

const HOUR: Duration = Duration::from_secs(3600);

fn m(minutes: u64) -> Duration {
    Duration::from_secs(60 * minutes)
}

/// One throttle and a clock that tests move, in minutes since the beginning.
struct Job {
    throttle: Throttle,
    /// Failures in a row, which its owner counts.
    row: u32,
    interval: Duration,
    t0: Instant,
    clock0: SystemTime,
}

impl Job {
    fn new(interval: Duration) -> Job {
        Job {
            throttle: Throttle::default(),
            row: 0,
            interval,
            t0: Instant::now(),
            clock0: SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_476_997),
        }
    }

    fn fails(&mut self, word: &str, at: Duration) -> Decision {
        let now = Moment {
            instant: self.t0 + at,
            wall: self.clock0 + at,
        };
        self.row += 1;
        self.throttle.failed(word, self.row, self.interval, now)
    }

    fn succeeds(&mut self, at: Duration) -> Option<Recovery> {
        self.row = 0;
        self.throttle.succeeded(self.interval, self.t0 + at)
    }

    fn repeat(&self, failures: u32, since: Duration, not_mailed: u64) -> Decision {
        let since = self.clock0 + since;
        Decision::Mail(Some(Repeat {
            failures,
            since,
            not_mailed,
        }))
    }

    fn recovery(&self, failures: u32, since: Duration, not_mailed: u64) -> Option<Recovery> {
        let since = self.clock0 + since;
        Some(Recovery {
            failures,
            since,
            not_mailed,
        })
    }
}

#[test]
fn without_an_interval_every_failure_is_mailed_and_no_recovery() {
    let mut job = Job::new(Duration::ZERO);
    for minute in 0..5 {
        assert_eq!(job.fails("exit 1", m(minute)), Decision::Mail(None));
    }
    assert_eq!(job.succeeds(m(5)), None);
    assert_eq!(job.throttle.to_parts(job.t0), None);
}

#[test]
fn a_failing_job_is_mailed_once_an_interval() {
    let mut job = Job::new(HOUR);
    assert_eq!(job.fails("exit 1", m(0)), Decision::Mail(None));
    for minute in 1..60 {
        assert_eq!(job.fails("exit 1", m(minute)), Decision::Hold, "{minute}");
    }
    assert_eq!(job.fails("exit 1", m(60)), job.repeat(61, m(0), 59));
    for minute in 61..120 {
        assert_eq!(job.fails("exit 1", m(minute)), Decision::Hold, "{minute}");
    }
    assert_eq!(job.fails("exit 1", m(120)), job.repeat(121, m(0), 118));
}

#[test]
fn a_new_outcome_is_mailed_at_once_and_leaves_the_others_alone() {
    let mut job = Job::new(HOUR);
    assert_eq!(job.fails("exit 1", m(0)), Decision::Mail(None));
    assert_eq!(job.fails("SIGKILL", m(1)), Decision::Mail(None));
    assert_eq!(job.fails("timeout", m(1)), Decision::Mail(None));
    assert_eq!(job.fails("exit 1", m(2)), Decision::Hold);
    assert_eq!(job.fails("SIGKILL", m(60)), Decision::Hold);
    assert_eq!(job.fails("exit 1", m(60)), job.repeat(6, m(0), 2));
    assert_eq!(job.fails("SIGKILL", m(61)), job.repeat(7, m(0), 2));
}

#[test]
fn the_first_success_after_a_mailed_failure_sends_one_notice() {
    let mut job = Job::new(HOUR);
    assert_eq!(job.succeeds(m(0)), None, "nothing to recover from");
    for minute in 1..58 {
        job.fails("exit 1", m(minute));
    }
    assert_eq!(job.succeeds(m(58)), job.recovery(57, m(1), 56));
    assert_eq!(job.succeeds(m(59)), None);
    assert_eq!(job.succeeds(m(200)), None);
}

#[test]
fn a_notice_clears_what_was_mailed_so_the_next_failure_is_mailed_at_once() {
    let mut job = Job::new(HOUR);
    job.fails("exit 1", m(0));
    job.fails("exit 1", m(1));
    assert_eq!(job.succeeds(m(2)), job.recovery(2, m(0), 1));
    assert_eq!(job.fails("exit 1", m(3)), Decision::Mail(None));
    assert_eq!(job.fails("exit 1", m(4)), Decision::Hold);
}

#[test]
fn a_flapping_job_sends_one_notice_an_interval_and_a_held_one_goes_at_the_next_success() {
    let mut job = Job::new(HOUR);
    job.fails("exit 1", m(0));
    assert_eq!(job.succeeds(m(1)), job.recovery(1, m(0), 0));
    assert_eq!(job.fails("exit 1", m(2)), Decision::Mail(None));
    assert_eq!(job.succeeds(m(3)), None, "held back");
    assert_eq!(
        job.fails("exit 1", m(4)),
        Decision::Hold,
        "what was mailed is not cleared by a notice held back"
    );
    assert_eq!(job.fails("exit 1", m(5)), Decision::Hold);
    assert_eq!(job.succeeds(m(60)), None, "a minute short of the interval");
    assert_eq!(job.succeeds(m(61)), job.recovery(2, m(4), 2));
    assert_eq!(job.succeeds(m(200)), None, "once only");
}

// The line of the manual: 57 failures in a row of which 56 were not mailed.
#[test]
fn a_row_that_begins_while_its_outcome_is_held_back_counts_every_failure_of_it() {
    let mut job = Job::new(HOUR);
    job.fails("exit 1", m(0));
    job.succeeds(m(1));
    job.fails("exit 1", m(2));
    assert_eq!(job.succeeds(m(3)), None);
    for minute in 4..60 {
        assert_eq!(job.fails("exit 1", m(minute)), Decision::Hold);
    }
    assert_eq!(job.fails("exit 1", m(62)), job.repeat(57, m(4), 56));
}

#[test]
fn a_report_given_up_makes_the_next_failure_mail_at_once() {
    let mut job = Job::new(HOUR);
    job.fails("exit 1", m(0));
    job.fails("exit 2", m(0));
    assert_eq!(job.fails("exit 1", m(1)), Decision::Hold);
    job.throttle.lost("exit 1");
    assert_eq!(job.fails("exit 2", m(2)), Decision::Hold, "it was mailed");
    assert_eq!(job.fails("exit 1", m(3)), job.repeat(5, m(0), 2));
    assert_eq!(job.fails("exit 1", m(4)), Decision::Hold);
    job.throttle.lost("exit 3");
    assert_eq!(job.fails("exit 3", m(5)), Decision::Mail(None));
    Throttle::default().lost("exit 1");
}

#[test]
fn an_interval_taken_away_by_a_reload_forgets_everything() {
    let mut job = Job::new(HOUR);
    job.fails("exit 1", m(0));
    job.interval = Duration::ZERO;
    assert_eq!(job.succeeds(m(1)), None);
    job.interval = HOUR;
    assert_eq!(job.succeeds(m(2)), None);
    assert_eq!(job.fails("exit 1", m(3)), Decision::Mail(None));
    job.interval = Duration::ZERO;
    assert_eq!(job.fails("exit 1", m(4)), Decision::Mail(None));
    job.interval = HOUR;
    assert_eq!(job.fails("exit 1", m(5)), Decision::Mail(None));
}

#[test]
fn a_healthy_job_costs_a_pointer() {
    assert_eq!(size_of::<Throttle>(), size_of::<usize>());
    let mut job = Job::new(HOUR);
    job.succeeds(m(0));
    assert!(job.throttle.0.is_none());
    job.fails("exit 1", m(1));
    job.succeeds(m(2));
    assert!(job.throttle.0.is_some(), "the notice is remembered");
    job.succeeds(m(62));
    assert!(job.throttle.0.is_none());
}

#[test]
fn a_state_file_full_of_nonsense_takes_no_more_than_its_share() {
    let now = Instant::now();
    let moment = Moment {
        instant: now,
        wall: SystemTime::UNIX_EPOCH,
    };
    let parts = Parts {
        mailed: vec![("exit 1".to_string(), Some(Duration::MAX)); 100_000],
        row: u32::MAX,
        since: SystemTime::UNIX_EPOCH,
        not_mailed: u64::MAX,
        owed: true,
        notice: Some(Duration::MAX),
    };
    let mut throttle = Throttle::from_parts(parts, now);
    let parts = throttle.to_parts(now).unwrap();
    assert_eq!(parts.mailed, vec![("exit 1".to_string(), None); 512]);
    assert_eq!(parts.notice, None);
    let decision = throttle.failed("exit 1", u32::MAX, HOUR, moment);
    assert!(matches!(decision, Decision::Mail(Some(repeat)) if repeat.failures == u32::MAX));
    let decision = throttle.failed("exit 1", u32::MAX, HOUR, moment);
    assert_eq!(decision, Decision::Hold);
    assert_eq!(throttle.succeeded(HOUR, now).unwrap().not_mailed, u64::MAX);
}

/// The end of every run so far. Each time the rules of `mailinterval` are applied to all of it anew.
#[derive(Default)]
struct History(Vec<Past>, Before);

/// Failures in a row before the first of these ends.
type Before = usize;

enum Past {
    Failure {
        word: &'static str,
        at: Duration,
        mailed: bool,
        lost: bool,
    },
    Success {
        at: Duration,
        notice: bool,
    },
}

impl History {
    fn last_notice(&self) -> Option<(usize, Duration)> {
        let past = self.0.iter().enumerate().rev();
        past.filter_map(|(i, past)| match past {
            Past::Success { at, notice: true } => Some((i, *at)),
            _ => None,
        })
        .next()
    }

    fn since_notice(&mut self) -> &mut [Past] {
        let start = self.last_notice().map_or(0, |(i, _)| i + 1);
        &mut self.0[start..]
    }

    fn not_mailed(&mut self) -> u64 {
        let held = |past: &&mut Past| matches!(past, Past::Failure { mailed: false, .. });
        self.since_notice().iter_mut().filter(held).count() as u64
    }

    /// The length and the beginning of the latest row of failures; `None` if there was no failure.
    fn row(&self) -> Option<(u32, Duration)> {
        let is_failure = |past: &&Past| matches!(past, Past::Failure { .. });
        let latest: Vec<&Past> = self
            .0
            .iter()
            .rev()
            .skip_while(|past| !is_failure(past))
            .collect();
        let row: Vec<&Past> = latest.iter().copied().take_while(is_failure).collect();
        let from_the_first = row.len() == latest.len();
        let before = if from_the_first { self.1 } else { 0 };
        let length = u32::try_from(row.len() + before).unwrap();
        match row.last() {
            Some(Past::Failure { at, .. }) => Some((length, *at)),
            _ => None,
        }
    }

    fn fails(&mut self, word: &'static str, at: Duration, job: &Job) -> Decision {
        let mut known = false;
        let mut recent = false;
        for past in self.since_notice() {
            match past {
                Past::Failure {
                    word: w,
                    at: then,
                    mailed: true,
                    lost,
                } if *w == word => {
                    known = true;
                    recent |= !*lost && at - *then < job.interval;
                }
                _ => {}
            }
        }
        self.0.push(Past::Failure {
            word,
            at,
            mailed: !recent,
            lost: false,
        });
        if recent {
            return Decision::Hold;
        }
        let (failures, since) = self.row().unwrap();
        match known {
            true => job.repeat(failures, since, self.not_mailed()),
            false => Decision::Mail(None),
        }
    }

    fn succeeds(&mut self, at: Duration, job: &Job) -> Option<Recovery> {
        let mut mailed = self.since_notice().iter();
        let owed = mailed.any(|past| matches!(past, Past::Failure { mailed: true, .. }));
        let last = self.last_notice();
        let too_soon = last.is_some_and(|(_, then)| at - then < job.interval);
        let notice = owed && !too_soon;
        let (failures, since) = self.row().unwrap_or_default();
        let recovery = job.recovery(failures, since, self.not_mailed());
        self.0.push(Past::Success { at, notice });
        recovery.filter(|_| notice)
    }

    fn lost(&mut self, given_up: &str) {
        for past in self.since_notice() {
            if let Past::Failure { word, lost, .. } = past {
                *lost |= *word == given_up;
            }
        }
    }
}

/// What happens next in a simulated life.
#[derive(Debug, Clone)]
enum Step {
    Fails(&'static str),
    Succeeds,
    Lost(&'static str),
    Restart,
    Reload,
}

fn word() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["exit 1", "exit 1", "exit 2", "SIGKILL", "timeout"])
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => word().prop_map(Step::Fails),
        8 => Just(Step::Succeeds),
        1 => word().prop_map(Step::Lost),
        1 => Just(Step::Restart),
    ]
}

proptest! {
    /// Compares the throttle with the history over days with a failure every few minutes and a restart now and then.
    #[test]
    fn the_rules_hold_at_every_moment_of_a_life(
        interval in prop_oneof![1_u64..300, Just(3600), 1_u64..100_000],
        steps in prop::collection::vec((prop_oneof![4 => 0_u64..600, 1 => 0_u64..20_000], step()), 0..200),
        reload_at in 0_usize..400,
    ) {
        let mut job = Job::new(Duration::from_secs(interval));
        let mut history = History::default();
        let mut at = Duration::ZERO;
        for (i, (pause, step)) in steps.into_iter().enumerate() {
            at += Duration::from_secs(pause);
            let step = if i == reload_at { Step::Reload } else { step };
            match step {
                Step::Fails(word) => {
                    let expected = history.fails(word, at, &job);
                    prop_assert_eq!(job.fails(word, at), expected, "{} at {:?}", word, at);
                }
                Step::Succeeds => {
                    let expected = history.succeeds(at, &job);
                    prop_assert_eq!(job.succeeds(at), expected, "success at {:?}", at);
                }
                Step::Lost(word) => {
                    history.lost(word);
                    job.throttle.lost(word);
                }
                Step::Restart => {
                    let saved = job.throttle.to_parts(job.t0 + at);
                    // The new process's monotonic clock starts elsewhere, with the same ages.
                    job.t0 += Duration::from_secs(7);
                    let now = job.t0 + at;
                    job.throttle = saved.map_or_else(Throttle::default, |parts| Throttle::from_parts(parts, now));
                }
                Step::Reload => {
                    let interval = std::mem::take(&mut job.interval);
                    prop_assert_eq!(job.fails("exit 1", at), Decision::Mail(None));
                    job.interval = interval;
                    history = History(Vec::new(), usize::try_from(job.row).unwrap());
                }
            }
        }
    }

    #[test]
    fn saved_and_restored_a_throttle_is_the_same_but_older(
        mailed in prop::collection::vec(("[a-z]{1,8} [0-9]", prop::option::of(0_u64..1_000_000)), 0..20),
        (row, not_mailed, owed) in any::<(u32, u64, bool)>(),
        since in 0_u64..4_000_000_000,
        notice in prop::option::of(0_u64..1_000_000),
        later in 0_u64..100_000,
    ) {
        let s = Duration::from_secs;
        let parts = |older: u64| Parts {
            mailed: mailed.iter().map(|(word, age)| (word.clone(), age.map(|age| s(age + older)))).collect(),
            row,
            since: SystemTime::UNIX_EPOCH + s(since),
            not_mailed,
            owed,
            notice: notice.map(|age| s(age + older)),
        };
        let now = Instant::now();
        let throttle = Throttle::from_parts(parts(0), now);
        prop_assert_eq!(throttle.to_parts(now), Some(parts(0)));
        prop_assert_eq!(throttle.to_parts(now + s(later)), Some(parts(later)));
    }
}
