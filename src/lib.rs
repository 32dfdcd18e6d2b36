//! # A tour of `buildd-sequencer`
//!
//! The program runs configured jobs one after the other, for ever, each a delay after its last end. It is `main.rs`;
//! this library exists so that tests, the benchmark and fuzz targets can drive its parts, and promises no stable
//! interface. Values decide and one loop acts: what decides is told the time and what happened, and answers what to do.
//!
//! ## The folders
//!
//! What a file does stands in its own header. Imports run one way: no circle goes through any two folders, and
//! a test of the source (`tests/laws.rs`) holds that and the rules below.
//!
//! - `config`: what a configuration says, from bytes to values; every key, fault and warning. Pure.
//! - `job`: when a job is due, how a run of it goes and ends, what is kept and remembered of it. Pure.
//! - `mail`: reports, their encoding, and the queue that sends them until they are taken. Pure.
//! - `status`: the state as it is shown: table, JSON, metrics, health, picture. Pure.
//! - `system`: everything that touches the operating system; it knows no jobs.
//! - `daemon`: the loop that owns all state, and what it owns: the run, the mailer, the waiters, the kept files.
//!
//! And at the top: `start` (from the command line to a running daemon, and `check`), `verify` (what `check` looks for,
//! in part also a start and a reload), `client` (the commands that ask a daemon), `wire` (what they say to it), `cli`
//! (the command line), `event` (all that can be logged), `message` (what a log takes), `json` (objects and strings),
//! `exit` (how processes end), `clock` (a moment by both clocks), `lease` (until when this host may run anything),
//! `text` (times, durations and foreign words as text), `near` (the known word nearest to an unknown one), `order`
//! (sorts lists).
//!
//! ## How a byte of output travels
//!
//! `system::process` starts the job with a pipe for each of its outputs. The loop (`daemon`) waits for them, among
//! all else, and hands what is ready to `daemon::stream`, which reads within bounds, so that a chatty job starves
//! nobody. The bytes go into `job::output`, which keeps the first and the last of them, and with `livelog` line by line
//! to `system::log`. When `job::lifecycle` says that the run has ended, its `job::outcome` is logged and remembered in
//! `job::jobs`. If it failed, `daemon::reports` makes a `mail::report` of it, unless `job::throttle` holds it back;
//! `daemon::mailer` puts that into the `mail::queue` and feeds it to a sendmail, or into the log.
//!
//! ## How a key travels
//!
//! `config::chain` has the files read, `config::dialect` cuts them into entries, `config::layers` lays them over each
//! other and gives each entry to the key that `config::keys` declares, in one line, with its type. The value stands in
//! `config::Sequencer` or `config::Settings` under the key's own name, where whoever needs it reads it. `check`, `reload`
//! and the manual page's test know the key from the same line.
//!
//! ## How a SIGHUP travels
//!
//! `system::signals` turns it into a readable pipe, from the first moment of `main` on. The loop reads it and calls
//! `daemon::reload`: the whole configuration is read before anything changes. `config::diff` says what is different,
//! `job::jobs` moves what it knows of each job to its new place, and a run under way ends under its old definition.
//!
//! ## How a due time travels
//!
//! `job::schedule` orders jobs by it; `job::jobs` says which is next. The loop sleeps until the earliest of all deadlines
//! and starts what is due in one place, at the top of a turn. The end of the run and the job's delay make the next due
//! time, which `job::state` turns into text by the wall clock for the state file, and back at the next start.

// No number is cut without a word: what is `usize` has 32 bits on some machines.
#![cfg_attr(
    not(test),
    warn(
        clippy::cast_possible_truncation,
        clippy::cast_possible_wrap,
        clippy::cast_sign_loss
    )
)]

pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
mod event;
pub mod exit;
pub mod job;
pub mod json;
pub mod lease;
pub mod mail;
pub mod message;
pub mod near;
pub mod order;
pub mod start;
pub mod status;
pub mod system;
pub mod text;
pub mod verify;
pub mod wire;
