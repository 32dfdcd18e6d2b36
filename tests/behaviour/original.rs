//! The original's own test, example by example, run against ours. Some examples reach into objects that have no
//! counterpart (due times, the earliest job, mail queues): those are in the unit tests of `schedule`, `report` and
//! `mail`, under names that say so. What can be seen from outside is here.

use crate::common::{Place, Signal, messages};

/// "Check that stdout goes to log and stderr to errlog", "When a job has finished, we log information about it":
/// a success with `alwayslog`, then a failure without, whose report goes to the log because the target is `-`.
#[test]
fn both_outcomes_are_logged_as_the_original_logs_them() {
    let place = Place::new();
    place.script("job1", "printf FOO");
    place.script("job2", "printf BAR >&2; exit 1");
    let daemon = place.daemon(
        "[buildsequencer]\nmailproblemsto: -\ncontrolsocket: none\n\
         [buildsequencer_job.job-name1]\ncommand: ./job1\nmindelay: 5\nstartdelay: 0\nalwayslog: True\n\
         [buildsequencer_job.job-name2]\ncommand: ./job2\nmindelay: 10\nstartdelay: 0\nalwayslog: False\n",
    );
    daemon.wait_for_log_times("Scheduling job-name1", 2);
    let messages = daemon.messages();
    let seen: Vec<&str> = messages.iter().map(String::as_str).collect();
    assert_eq!(
        seen[..15],
        [
            "Loading jobs...",
            "   ...loaded job-name1",
            "   ...loaded job-name2",
            "Mailer targets set to:",
            "   ... -",
            "Loaded.",
            "Scheduling job-name1 for      0 seconds time",
            "Running job-name1",
            "Job job-name1 completed with exit code 0",
            "Job output was:",
            "\tFOO",
            "\t",
            "Job error output was:",
            "\t",
            "\t",
        ]
    );
    assert_eq!(
        seen[15..19],
        [
            "Scheduling job-name2 for      0 seconds time",
            "Running job-name2",
            "Job job-name2 completed with exit code 1",
            "From: Launchpad Build Daemon Sequencer <launchpad@lists.canonical.com>",
        ]
    );
    // "We can now check the interpolation of the failure messages..."
    let at = seen
        .iter()
        .position(|line| *line == "\tJob: job-name2")
        .unwrap();
    assert_eq!(
        seen[at..at + 11],
        [
            "\tJob: job-name2",
            "\tCommand: ./job2",
            "\tExit code: 1",
            "\tStandard Error:",
            "\t",
            "\tBAR",
            "\t",
            "\tStandard Output:",
            "\t",
            "\t",
            "\t",
        ]
    );
    assert!(
        seen[at + 11].starts_with("Scheduling job-name1 for "),
        "{}",
        seen[at + 11]
    );
}

/// "Since the sequencer itself loads all of its config from the config system we can check it against the config
/// specified in the launchpad.conf test section", "Ensure it believes the slave_scanner to be next", "see what
/// happens if we schedule a callback".
#[test]
fn slave_scanner_is_loaded_first_and_next_in_five_seconds() {
    let place = Place::new();
    let daemon = place.daemon(
        "[buildsequencer]\nmailproblemsto: -\ncontrolsocket: none\n\
         [buildsequencer_job.slave_scanner]\ncommand: true\nmindelay: 5\n\
         [buildsequencer_job.queue_builder]\ncommand: true\nmindelay: 900\n",
    );
    daemon.wait_for_log("Scheduling");
    assert_eq!(
        daemon.messages(),
        [
            "Loading jobs...",
            "   ...loaded slave_scanner",
            "   ...loaded queue_builder",
            "Mailer targets set to:",
            "   ... -",
            "Loaded.",
            "Scheduling slave_scanner for      5 seconds time",
        ]
    );
    let log = daemon.stop();
    assert_eq!(
        messages(&log)[7..],
        ["Received SIGTERM, shutting down.", "Main loop terminated.",]
    );
}

/// "Check that we call the sendmail path of the mailOutFailure method properly when there is a real email address
/// in the list of intended recipients": the report is in the log for `-`, then one message for the address.
#[test]
fn a_failure_goes_to_the_log_and_to_each_address() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script("job1", "printf FOO; exit 1");
    let daemon = place.daemon(&format!(
        "[buildsequencer]\nmailproblemsto: - dsilvers@digital-scurf.org\ncontrolsocket: none\n{sendmail}\n\
         [buildsequencer_job.job-name1]\ncommand: ./job1\nmindelay: 60\nstartdelay: 0\n",
    ));
    let mails = place.wait_for_mails(1);
    let messages = daemon.messages();
    let report = messages.iter().position(|line| line == "\tTo: -").unwrap();
    let mailing = messages
        .iter()
        .position(|line| line == "Mailing report to: dsilvers@digital-scurf.org")
        .unwrap();
    let next = messages
        .iter()
        .rposition(|line| line.starts_with("Scheduling job-name1 for"))
        .unwrap();
    assert!(report < mailing && mailing < next, "{messages:#?}");
    assert_eq!(
        mails[0].arguments,
        "-i -f launchpad@lists.canonical.com -- dsilvers@digital-scurf.org"
    );
    assert!(mails[0].text().starts_with(
        "From: Launchpad Build Daemon Sequencer <launchpad@lists.canonical.com>\n\
         To: dsilvers@digital-scurf.org\n\
         Subject: Job job-name1 exited with code 1\n\
         X-Launchpad: yes\n\
         X-Buildd: yes\n"
    ));
    assert_eq!(
        mails[0].body(),
        "Job: job-name1\nCommand: ./job1\nExit code: 1\nStandard Error:\n\n\n\nStandard Output:\n\nFOO\n"
    );
    daemon.signal(Signal::SIGTERM);
}

/// The original dropped the first argument of every command; the words arrive as they were written.
#[test]
fn a_command_gets_all_of_its_arguments() {
    let place = Place::new();
    place.script("job", "printf '%s|' \"$0\" \"$@\"");
    let daemon = place.daemon(
        "[buildsequencer]\ncontrolsocket: none\n[buildsequencer_job.a]\n\
         command: ./job first 'second one' \"th\\\"ird\" fo\\ urth '' $HOME *\nalwayslog: yes\nstartdelay: 0\nmindelay: 60\n",
    );
    daemon.wait_for_log("\t./job|first|second one|th\"ird|fo urth||$HOME|*|\n");
}
