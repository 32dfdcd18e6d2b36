//! Jobs: when each is due, how a run of it goes and ends, what is kept of its output, and what is remembered of it.
//! Pure: time is an argument, and nothing here opens, starts or waits for anything.

pub mod busy;
pub mod history;
pub mod jobs;
pub mod lifecycle;
pub mod outcome;
pub mod output;
pub mod record;
pub mod requests;
pub mod schedule;
pub mod state;
pub mod stuck;
pub mod tails;
pub mod throttle;
