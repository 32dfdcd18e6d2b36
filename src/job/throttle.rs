//! What `mailinterval` decides for one job: which failures are mailed, which are held back and counted, and when a
//! recovery notice is sent. Pure: it neither mails nor reads a clock. A healthy job takes no memory for it.

use std::time::{Duration, Instant, SystemTime};

use crate::clock::Moment;

/// The most words kept. No job has more outcomes than there are exit codes and signals, but a state file might claim
/// so.
const MAX_WORDS: usize = 512;

/// What a report says of earlier failures of the same kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repeat {
    /// Failures in a row of any outcome, the one reported included.
    pub failures: u32,
    /// When the first failure of the row was seen.
    pub since: SystemTime,
    /// Failures not mailed since the last recovery notice.
    pub not_mailed: u64,
}

/// What to do with a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Report it. A repeat of a failure that was reported before says so.
    Mail(Option<Repeat>),
    /// Report nothing; it has been counted.
    Hold,
}

/// What a recovery notice says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Recovery {
    /// Failures in the last row of failures.
    pub failures: u32,
    /// When the first of them was seen.
    pub since: SystemTime,
    /// Failures not mailed since the last recovery notice.
    pub not_mailed: u64,
}

/// The throttle of one job. It allocates nothing until a failure is throttled.
#[derive(Debug, Clone, Default)]
pub struct Throttle(Option<Box<State>>);

#[derive(Debug, Clone)]
struct State {
    mailed: Vec<Mailed>,
    row: u32,
    since: SystemTime,
    not_mailed: u64,
    owed: bool,
    last_notice: Option<Instant>,
}

#[derive(Debug, Clone)]
struct Mailed {
    word: String,
    /// `None` if the report was lost, or mailed too long ago to matter.
    at: Option<Instant>,
}

/// A throttle as plain data for the state file. Ages count back from the moment of saving.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// Outcome words, and how long ago each was mailed. `None` means that the next such failure is mailed at once.
    pub mailed: Vec<(String, Option<Duration>)>,
    /// Failures in the latest row. A success may have ended that row.
    pub row: u32,
    /// When the first failure of the latest row was seen.
    pub since: SystemTime,
    /// Failures not mailed since the last recovery notice.
    pub not_mailed: u64,
    /// Whether a success has to send a recovery notice.
    pub owed: bool,
    /// How long ago the last recovery notice was sent.
    pub notice: Option<Duration>,
}

impl Throttle {
    /// Decides about a failure whose `Outcome::word` is `word`, the last of `row` failures in a row. With an `interval`
    /// of zero every failure is mailed.
    pub fn failed(&mut self, word: &str, row: u32, interval: Duration, now: Moment) -> Decision {
        if interval.is_zero() {
            self.0 = None;
            return Decision::Mail(None);
        }
        let state = self.0.get_or_insert_with(|| Box::new(State::new(now.wall)));
        if row <= state.row {
            state.since = now.wall;
        }
        state.row = row;
        let known = state.mailed.iter_mut().find(|m| m.word == word);
        let within = |at: Option<Instant>| at.is_some_and(|at| since(at, now.instant) < interval);
        let repeated = match known {
            Some(m) if within(m.at) => {
                state.not_mailed = state.not_mailed.saturating_add(1);
                return Decision::Hold;
            }
            Some(m) => {
                m.at = Some(now.instant);
                true
            }
            None => {
                state.mailed.push(Mailed {
                    word: word.to_string(),
                    at: Some(now.instant),
                });
                false
            }
        };
        state.owed = true;
        Decision::Mail(repeated.then_some(Repeat {
            failures: state.row,
            since: state.since,
            not_mailed: state.not_mailed,
        }))
    }

    /// Notes a success and says whether to send a recovery notice. With an `interval` of zero none is sent.
    pub fn succeeded(&mut self, interval: Duration, now: Instant) -> Option<Recovery> {
        let state = self.0.as_mut()?;
        if interval.is_zero() {
            self.0 = None;
            return None;
        }
        if state
            .last_notice
            .is_some_and(|at| since(at, now) < interval)
        {
            return None;
        }
        if !state.owed {
            self.0 = None;
            return None;
        }
        let recovery = Recovery {
            failures: state.row,
            since: state.since,
            not_mailed: state.not_mailed,
        };
        state.mailed = Vec::new();
        state.not_mailed = 0;
        state.owed = false;
        state.last_notice = Some(now);
        Some(recovery)
    }

    /// Notes that a report of the failure `word` was lost. The next such failure is mailed at once.
    pub fn lost(&mut self, word: &str) {
        let mailed = self.0.iter_mut().flat_map(|state| &mut state.mailed);
        for entry in mailed.filter(|m| m.word == word) {
            entry.at = None;
        }
    }

    /// The throttle as plain data; `None` if there is nothing to keep.
    pub fn to_parts(&self, now: Instant) -> Option<Parts> {
        let state = self.0.as_ref()?;
        let age = |at: Instant| since(at, now);
        Some(Parts {
            mailed: state
                .mailed
                .iter()
                .map(|m| (m.word.clone(), m.at.map(age)))
                .collect(),
            row: state.row,
            since: state.since,
            not_mailed: state.not_mailed,
            owed: state.owed,
            notice: state.last_notice.map(age),
        })
    }

    /// The throttle that `to_parts` described. An age beyond the clock's range counts as none.
    pub fn from_parts(parts: Parts, now: Instant) -> Throttle {
        let at = |age: Option<Duration>| age.and_then(|age| now.checked_sub(age));
        Throttle(Some(Box::new(State {
            mailed: parts
                .mailed
                .into_iter()
                .take(MAX_WORDS)
                .map(|(word, age)| Mailed { word, at: at(age) })
                .collect(),
            row: parts.row,
            since: parts.since,
            not_mailed: parts.not_mailed,
            owed: parts.owed,
            last_notice: at(parts.notice),
        })))
    }
}

impl State {
    fn new(clock: SystemTime) -> State {
        State {
            mailed: Vec::new(),
            row: 0,
            since: clock,
            not_mailed: 0,
            owed: false,
            last_notice: None,
        }
    }
}

fn since(at: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(at)
}

#[cfg(test)]
mod tests;
