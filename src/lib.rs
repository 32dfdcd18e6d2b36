//! The parts of `buildd-sequencer`, lowest first. Imports run one way, up this list: values that decide
//! (no descriptor, no clock, no process; time is an argument), then thin wrappers around the operating
//! system (which know nothing of jobs), then `daemon`, which owns all state and the only loop.
//!
//! The program is `main.rs`; this library exists so that tests, benchmarks and fuzz targets can drive the
//! pure parts directly. It promises no stable interface.

pub mod cli;
pub mod client;
pub mod config;
pub mod control;
pub mod daemon;
pub mod detach;
pub mod errors;
pub mod exit;
pub mod files;
pub mod life;
pub mod log;
pub mod mail;
pub mod notify;
pub mod outcome;
pub mod output;
pub mod pidfile;
pub mod privileges;
pub mod process;
pub mod quoted_printable;
pub mod record;
pub mod report;
pub mod schedule;
pub mod signals;
pub mod start;
pub mod state;
pub mod status;
pub mod text;
pub mod throttle;
pub mod users;
pub mod verify;
pub mod words;
