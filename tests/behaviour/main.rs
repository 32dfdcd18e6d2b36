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
mod http;
mod lease;
mod log;
mod log_json;
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

/// What mostly waits, of all modules at once: in turn it would take a minute, on however many processors.
#[test]
fn what_waits() {
    at_once!(
        lease::a_lease_is_obeyed,
        readers::ends_that_wait_for_a_reader,
        signals::stops_that_take_their_time,
        control::clients_have_five_seconds_to_speak_and_to_listen_and_not_more,
        pidfile::starts_that_wait,
        faults::nothing_happens_for_a_while,
        mail::mail_that_takes_its_time,
        metrics::the_file_follows_in_its_time,
        state::the_file_follows_in_its_time,
        running::runs_that_take_their_time,
        notify::the_supervisor_waits,
        commands::a_health_check_of_a_frozen_daemon_fails_within_two_seconds,
        schedule::delays_are_kept,
        http::clients_have_five_seconds_and_not_more,
        http::an_address_that_is_taken_or_not_there_keeps_no_job_from_running_and_is_tried_again,
        http::after_its_clients_the_daemon_sleeps_as_before,
        control::who_came_while_no_descriptor_was_free_is_served_once_there_is_one_and_costs_nothing_till_then,
    );
}
