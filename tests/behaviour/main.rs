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

/// What mostly waits, of all modules at once: in turn it would take a minute, on however many processors. Tests begin in
/// the order of their names, and this one takes longest, so its name is the first.
#[test]
fn all_that_waits() {
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
        commands::runs_that_time_out,
        commands::a_health_check_of_a_frozen_daemon_fails_within_two_seconds,
        schedule::delays_are_kept,
        http::clients_have_five_seconds_and_not_more,
        http::an_address_that_is_taken_or_not_there_keeps_no_job_from_running_and_is_tried_again,
        http::after_its_clients_the_daemon_sleeps_as_before,
        control::after_its_clients_the_daemon_sleeps_as_before,
        http::what_was_made_within_a_second_is_given_to_all,
        log::a_turned_log_keeps_its_mode_whatever_the_mask,
        one_job::metrics_prints_what_the_file_says_and_needs_no_file,
        readers::a_full_disk_stops_neither_jobs_nor_the_end,
        readers::a_log_that_nobody_reads_does_not_hold_up_a_start_with_many_jobs,
        readers::a_stop_is_obeyed_while_the_log_has_not_taken_the_lines_of_the_start,
        running::a_job_that_never_stops_talking_starves_neither_signals_nor_its_timeout,
        state::a_file_that_cannot_be_used_is_as_none_with_one_warning,
        state::killed_at_any_moment_it_leaves_a_whole_file,
        status::a_hung_run_is_named_as_stuck_and_blamed_by_those_who_wait,
        status::what_fails_how_busy_the_lane_is_and_a_refused_reload_are_told,
        history::the_history_file_stands_whatever_happens_to_it,
        control::who_came_while_no_descriptor_was_free_is_served_once_there_is_one_and_costs_nothing_till_then,
    );
}
