//! Tests of `diff`.

use super::*;
use crate::config::Config;
use crate::config::made::read;

const JOBS: &str =
    "[buildsequencer_job.a]\ncommand: x\n[buildsequencer_job.b]\ncommand: y\nmindelay: 5\n";

/// What is told of these further lines over the same two jobs.
fn compare(old: &Config, new: &Config) -> Vec<String> {
    differences((&old.sequencer, &old.jobs), (&new.sequencer, &new.jobs))
}

fn told(before: &str, after: &str) -> Vec<String> {
    let (before, after) = (format!("{JOBS}{before}"), format!("{JOBS}{after}"));
    compare(&read(&before), &read(&after))
}

#[test]
fn the_same_configuration_has_no_differences() {
    for text in [
        "",
        "mailproblemsto: a@x\n[buildsequencer]\nlogfile: x\nmailproblemsto: b@x -",
    ] {
        assert!(told(text, text).is_empty(), "{text}");
    }
    // Written differently, and the same.
    assert!(told("timeout: 90", "timeout: 1.5m\nmaxdelay: none").is_empty());
    assert!(told("mailproblemsto:", "mailproblemsto: -").is_empty());
    assert!(told("", "[buildsequencer]\nmailproblemsto: -\nlogsize: 1000000").is_empty());
}

#[test]
fn jobs_that_were_added_removed_and_changed_are_named() {
    let old = read(&format!("{JOBS}[buildsequencer_job.c]\ncommand: z"));
    let new = read(
        "[buildsequencer_job.b]\ncommand: y\nmindelay: 7\ntimeout: 1m\n[buildsequencer_job.d]\ncommand: z\n\
         [buildsequencer_job.a]\ncommand: x -v",
    );
    let difference = compare(&old, &new);
    assert_eq!(
        difference,
        [
            "Removed job c",
            "Changed job b: mindelay 5 -> 7, timeout 0 -> 60",
            "Added job d",
            "Changed job a: command x -> x -v",
            "Changed the order of the jobs",
        ]
    );
}

#[test]
fn a_new_job_between_others_does_not_change_their_order() {
    let new = JOBS.replace(
        "[buildsequencer_job.b]",
        "[buildsequencer_job.n]\ncommand: n\n[buildsequencer_job.b]",
    );
    let lines = compare(&read(JOBS), &read(&new));
    assert_eq!(lines, ["Added job n"]);
}

#[test]
fn settings_are_told_as_old_and_new_value() {
    assert_eq!(
        told(
            "[buildsequencer]\nlogsize: 1K\nspew: yes\nlogfile: x",
            "[buildsequencer]\nstatefile: /s\ncontrolsocket: none",
        ),
        [
            "Changed logfile: x -> -",
            "Changed spew: true -> false",
            "Changed logsize: 1024 -> 1000000",
            "Changed statefile: none -> /s",
            "Changed controlsocket: /run/buildd-sequencer/control.sock -> none",
        ]
    );
    assert_eq!(
        told("", "startdelay: 5\nmailproblemsto: - a@x\nmailinterval: 1h"),
        [
            "Changed job b: startdelay none -> 5, mailproblemsto none -> - a@x, mailinterval none -> 3600"
        ]
    );
}

#[test]
fn changed_recipients_are_a_new_list_of_targets() {
    let targets = "[buildsequencer]\nmailproblemsto: a@x\n  -";
    assert_eq!(
        told("", targets),
        ["Mailer targets set to:", "   ... a@x", "   ... -"]
    );
    assert_eq!(told(targets, ""), ["Mailer targets set to:", "   ... -"]);
}

#[test]
fn the_default_stuckafter_set_by_hand_is_a_change() {
    assert_eq!(
        told("", "stuckafter: 1h"),
        ["Changed job b: stuckafter none -> 3600"]
    );
    assert_eq!(
        told("stuckafter: 3600", "stuckafter: none"),
        ["Changed job b: stuckafter 3600 -> none"]
    );
}

#[test]
fn a_command_of_several_lines_is_told_on_one() {
    assert_eq!(
        told("", "command: sh -c '\n  a\n  b'"),
        [r"Changed job b: command y -> sh -c '\na\nb'"]
    );
}
