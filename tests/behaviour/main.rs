//! The program's behaviour, watched from outside, in one module for each behaviour. One test program links them all
//! once. Tests that need a process of their own (memory, simulation, campaign) are beside it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may"
)]

#[path = "../common/mod.rs"]
mod common;

mod check;
mod claim;
mod command_line;
mod commands;
mod configparser;
mod configuration;
mod control;
mod detach;
mod doubts;
mod faults;
mod history;
mod lease;
mod log;
mod mail;
mod metrics;
mod name;
mod notify;
mod one_job;
mod original;
mod pidfile;
mod readers;
mod readme;
mod rotation;
mod running;
mod schedule;
mod signals;
mod state;
mod status;
mod which_daemon;
