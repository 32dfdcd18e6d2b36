//! The parts of `buildd-sequencer`, lowest first. Imports run one way, up this list: values that decide
//! (no descriptor, no clock, no process; time is an argument), then thin wrappers around the operating
//! system (which know nothing of jobs), then `daemon`, which owns all state and the only loop.
//!
//! The program is `main.rs`; this library exists so that tests, benchmarks and fuzz targets can drive the
//! pure parts directly. It promises no stable interface.

pub mod cli;
pub mod client;
pub mod clock;
pub mod config;
pub mod daemon;
pub mod exit;
pub mod job;
pub mod mail;
pub mod start;
pub mod status;
pub mod system;
pub mod text;
pub mod verify;
