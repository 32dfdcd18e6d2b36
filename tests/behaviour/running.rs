//! A run: what it finds at its start, how it ends, and what is kept of it.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::time::Duration;

use crate::at_once;
use crate::common::{
    ALONE, Daemon, Pid, Place, Signal, is_running, job, place_of, ran, scheduled, wait_for,
    wait_for_own_group,
};
use nix::fcntl::FcntlArg;
use nix::sys::signal::{SigSet, kill};

/// A job that runs once, at once, and whose output is logged.
fn once(name: &str, command: &str) -> String {
    job(
        name,
        &format!("command: {command}\nmindelay: 3600\nstartdelay: 0\nalwayslog: yes"),
    )
}

/// The log's only job has ended: what it wrote to standard output, without the log's tabs.
#[track_caller]
fn output_of(daemon: &Daemon<'_>) -> Vec<String> {
    daemon.wait_for_log("Job error output was:\n");
    let messages = daemon.messages();
    let from = place_of(&messages, "Job output was:") + 1;
    let to = place_of(&messages, "Job error output was:");
    // The message itself ends in a line feed, and the output most often does.
    messages[from..to]
        .iter()
        .map(|line| line.strip_prefix('\t').unwrap().to_string())
        .filter(|line| !line.is_empty())
        .collect()
}

/// The process numbers that a job wrote to a file.
fn pids(place: &Place, name: &str, count: usize) -> Vec<i32> {
    let lines = place.wait_for_lines(name, count);
    lines
        .iter()
        .map(|line| line.trim().parse().unwrap())
        .collect()
}

pub fn runs_that_take_their_time() {
    at_once!(
        a_process_that_left_the_group_holds_a_timed_out_run_for_two_seconds_only,
        a_background_process_that_keeps_the_output_open_holds_the_sequence_for_two_seconds,
        what_is_printed_last_is_logged_live_also_where_a_background_process_keeps_the_output_open,
        what_a_stopped_leader_leaves_in_its_group_gets_the_rest_of_killdelay_then_sigkill,
        a_job_that_closes_its_output_and_runs_on_costs_no_processor_time,
        a_stuckafter_set_by_hand_applies_when_nobody_waits_and_0_turns_it_off,
        a_stopped_run_ends_as_soon_as_its_group_is_gone,
        a_run_past_its_timeout_is_told_to_stop_and_its_last_words_are_kept,
        a_run_that_timed_out_has_failed_even_with_exit_code_0,
        what_ignores_sigterm_is_killed_with_its_whole_group,
        a_stopped_process_is_no_match_for_a_timeout,
    );
}

#[test]
fn a_job_has_the_daemons_environment_without_what_its_supervisor_said_to_it() {
    let place = Place::new();
    let daemon = place.daemon_with(&format!("{ALONE}{}", once("a", "env")), |command| {
        for name in [
            "NOTIFY_SOCKET",
            "WATCHDOG_PID",
            "WATCHDOG_USEC",
            "LISTEN_FDS",
            "LISTEN_PID",
            "LISTEN_FDNAMES",
            "LISTEN_ANYTHING",
            "JOURNAL_STREAM",
        ] {
            command.env(name, "1");
        }
        command.env("PATH", "/usr/bin:/bin").env("EMPTY", "");
        command
            .env("LISTENER", "kept")
            .env("MY_NOTIFY_SOCKET", "kept");
        command.env("BYTES", OsString::from_vec(b"caf\xe9".to_vec()));
    });
    let mut output = output_of(&daemon);
    output.sort();
    assert_eq!(
        output,
        [
            "BYTES=caf\u{fffd}",
            "EMPTY=",
            "LISTENER=kept",
            "MY_NOTIFY_SOCKET=kept",
            "PATH=/usr/bin:/bin"
        ]
    );
    assert!(
        place
            .bytes("log")
            .windows(10)
            .any(|w| w == b"BYTES=caf\xe9"),
        "the bytes arrive as they are"
    );
}

#[test]
fn a_job_runs_in_the_daemons_directory() {
    let place = Place::new();
    let daemon = place.daemon(&format!("{ALONE}{}", once("a", "pwd -P")));
    let here = std::fs::canonicalize(place.dir()).unwrap();
    assert_eq!(output_of(&daemon), [here.to_str().unwrap()]);
    daemon.stop();

    let place = Place::new();
    place.write("elsewhere/marker", "");
    let daemon = place.daemon_with(&format!("{ALONE}{}", once("a", "ls")), |command| {
        command.args(["-d", "elsewhere"]);
    });
    assert_eq!(output_of(&daemon), ["marker"]);
}

#[test]
fn a_job_reads_end_of_file_and_never_the_daemons_input() {
    let place = Place::new();
    place.script("job", "cat; echo end of file; readlink /proc/self/fd/0");
    let (input, mut ours) = crate::common::pipe();
    ours.write_all(b"not for jobs\n").unwrap();
    let daemon = place.daemon_with(&format!("{ALONE}{}", once("a", "./job")), |command| {
        command.stdin(input);
    });
    assert_eq!(output_of(&daemon), ["end of file", "/dev/null"]);
}

#[test]
fn a_job_leads_a_session_and_a_process_group_of_its_own() {
    let place = Place::new();
    // Its own number, its group's and its session's (proc(5)).
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        once("a", "cut -d ' ' -f 1,5,6 /proc/self/stat")
    ));
    let output = output_of(&daemon);
    let numbers: Vec<&str> = output[0].split(' ').collect();
    assert_eq!(numbers, [numbers[0]; 3]);
    assert_ne!(numbers[0], daemon.pid().to_string());
}

#[test]
fn neither_a_job_nor_sendmail_gets_a_descriptor_that_the_daemon_opened_or_inherited() {
    let place = Place::new();
    let sendmail = place.sendmail(
        "ls /proc/self/fd >{dir}/sendmails\nsleep 60"
            .replace("{dir}", place.dir())
            .as_str(),
    );
    let daemon = place.daemon_after(
        // A start script's lock, say, and what it forgot.
        "exec 4<conf 7>>{dir}/lock 9>&7"
            .replace("{dir}", place.dir())
            .as_str(),
        &format!(
            "{ALONE}mailproblemsto: ops@example.com\n{sendmail}\n{}{}",
            job("failure", "command: false\nmindelay: 3600\nstartdelay: 0"),
            // By now the log, a pid file and a delivery are open.
            job(
                "a",
                "command: ls /proc/self/fd\nmindelay: 3600\nstartdelay: 0.1\nalwayslog: yes"
            ),
        ),
        |command| {
            command.args(["-l", "log", "--pidfile", "pid"]);
        },
    );
    // Listing a directory takes a descriptor as well.
    assert_eq!(output_of(&daemon), ["0", "1", "2", "3"]);
    assert_eq!(place.wait_for_lines("sendmails", 4), ["0", "1", "2", "3"]);
    let numbers = daemon.descriptor_numbers();
    for inherited in [4, 7, 9] {
        assert!(numbers.contains(&inherited), "{inherited} of {numbers:?}");
    }
}

/// Descriptors with such numbers are what a limit leaves that was lowered after they had been opened.
#[test]
fn what_is_inherited_beyond_the_limit_of_descriptors_reaches_no_job_either() {
    let place = Place::new();
    let file = place.append_to("forgotten");
    let forgotten = nix::fcntl::fcntl(&file, FcntlArg::F_DUPFD(300)).unwrap();
    let config = format!("{ALONE}{}", once("a", "ls /proc/self/fd"));
    let daemon = place.daemon_after("ulimit -n 64", &config, |_| {});
    nix::unistd::close(forgotten).unwrap();
    assert_eq!(output_of(&daemon), ["0", "1", "2", "3"]);
    daemon.stop();
}

/// The lines of `/proc/self/status` on signals, as numbers. glibc keeps 32 and 33 to itself.
#[track_caller]
fn signal_sets(daemon: &Daemon<'_>) -> (u64, u64) {
    let output = output_of(daemon);
    let set = |name: &str| {
        let line = output
            .iter()
            .find_map(|line| line.strip_prefix(name))
            .unwrap();
        u64::from_str_radix(line.trim(), 16).unwrap()
    };
    let internal = 1 << 31 | 1 << 32;
    (set("SigBlk:"), set("SigIgn:") & !internal)
}

#[test]
fn a_job_has_default_dispositions_whatever_the_daemons_parent_ignored() {
    let place = Place::new();
    let config = format!("{ALONE}{}", once("a", "cat /proc/self/status"));
    let every = "trap '' 1 2 3 6 10 12 13 14 15 17 18 20 21 22 23 24 25 26 27 28 29 30 34 50 64";
    let daemon = place.daemon_after(every, &config, |_| {});
    assert_eq!(signal_sets(&daemon), (0, 0));
    // SIGTERM and SIGCHLD among them: the daemon hears them all the same.
    daemon.stop();
}

#[test]
fn a_job_has_an_empty_mask_whatever_the_daemons_parent_blocked() {
    let place = Place::new();
    let config = format!("{ALONE}{}", once("a", "cat /proc/self/status"));
    let daemon = place.daemon_with_blocked(SigSet::all(), &config);
    assert_eq!(signal_sets(&daemon), (0, 0));
    daemon.stop();
}

#[test]
fn with_all_three_descriptors_closed_at_start_jobs_run_as_ever() {
    let place = Place::new();
    place.script("job", "echo out; echo err >&2; exec cat");
    let daemon = place.daemon_after(
        "exec <&- >&- 2>&-",
        &format!("{ALONE}{}", once("a", "./job")),
        |command| {
            command.args(["-l", "log"]);
        },
    );
    assert_eq!(output_of(&daemon), ["out"]);
    assert!(daemon.log().contains("Job error output was:\n\terr\n"));
    daemon.stop();
}

#[test]
fn exit_codes_are_what_a_shell_would_show() {
    let place = Place::new();
    place.write("plain", "no program\n");
    for (name, text) in [
        ("text", "no shebang, no ELF\n"),
        ("orphaned", "#!/no/such/interpreter\n"),
    ] {
        let path = place.write(name, text);
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let too_long = format!("true {}", "x".repeat(200_000));
    let cases = [
        ("c0", "true", "0"),
        ("c3", "sh -c 'exit 3'", "3"),
        ("c255", "sh -c 'exit 255'", "255"),
        (
            "gone",
            "./gone",
            "127 (could not start: No such file or directory)",
        ),
        (
            "nowhere",
            "no-such-program",
            "127 (could not start: No such file or directory)",
        ),
        (
            "below",
            "./plain/x",
            "127 (could not start: Not a directory)",
        ),
        (
            "interpreter",
            "./orphaned",
            "127 (could not start: No such file or directory)",
        ),
        (
            "plain",
            "./plain",
            "126 (could not start: Permission denied)",
        ),
        (
            "directory",
            "./",
            "126 (could not start: Permission denied)",
        ),
        ("text", "./text", "126 (could not start: Exec format error)"),
        (
            "long",
            &too_long,
            "126 (could not start: Argument list too long)",
        ),
    ];
    let jobs = cases.map(|(name, command, _)| {
        job(
            name,
            &format!("command: {command}\nmindelay: 3600\nstartdelay: 0"),
        )
    });
    let daemon = place.daemon_with(&format!("{ALONE}{}", jobs.concat()), |command| {
        // A directory of the search path that may not be searched would be what the system tells.
        command.env("PATH", "/usr/bin:/bin");
    });
    // By then the last report is there as well.
    daemon.wait_for_log("Scheduling c0 for 3.6e+03 ");
    let messages = daemon.messages();
    for (name, _, code) in cases {
        let line = format!("Job {name} completed with exit code {code}");
        let at = place_of(&messages, &line);
        assert_eq!(messages[at], line);
        if let Some((_, why)) = code.split_once("start: ") {
            let report = &messages[at..];
            let errors = place_of(report, "\tStandard Error:");
            assert_eq!(
                report[errors + 2],
                format!("\t{}", why.trim_end_matches(')'))
            );
        }
    }
}

#[test]
fn every_fatal_signal_is_named_in_log_and_report() {
    let named = [
        (1, "SIGHUP"),
        (2, "SIGINT"),
        (3, "SIGQUIT"),
        (4, "SIGILL"),
        (5, "SIGTRAP"),
        (6, "SIGABRT"),
        (7, "SIGBUS"),
        (8, "SIGFPE"),
        (9, "SIGKILL"),
        (10, "SIGUSR1"),
        (11, "SIGSEGV"),
        (12, "SIGUSR2"),
        (13, "SIGPIPE"),
        (14, "SIGALRM"),
        (15, "SIGTERM"),
        (16, "SIGSTKFLT"),
        (24, "SIGXCPU"),
        (25, "SIGXFSZ"),
        (26, "SIGVTALRM"),
        (27, "SIGPROF"),
        (29, "SIGIO"),
        (30, "SIGPWR"),
        (31, "SIGSYS"),
        (34, "SIGRTMIN"),
        (35, "SIGRTMIN+1"),
        (50, "SIGRTMIN+16"),
        (64, "SIGRTMIN+30"),
    ];
    let place = Place::new();
    let jobs: String = named
        .iter()
        .map(|(number, _)| {
            let command = format!("command: sh -c 'kill -{number} $$'");
            job(
                &format!("s{number}"),
                &format!("{command}\nmindelay: 3600\nstartdelay: 0"),
            )
        })
        .collect();
    let daemon = place.daemon_after("ulimit -c 0", &format!("{ALONE}{jobs}"), |_| {});
    // By then the last report is there as well.
    daemon.wait_for_log("Scheduling s1 for 3.6e+03 ");
    let messages = daemon.messages();
    for (number, name) in named {
        let what = format!("{} (killed by {name})", 128 + number);
        let log = format!("Job s{number} completed with exit code {what}");
        let subject = format!("\tSubject: Job s{number} exited with code {what}");
        let body = format!("\tExit code: {what}");
        for line in [log, subject, body] {
            assert!(messages.contains(&line), "no {line:?} in {messages:#?}");
        }
    }
}

#[test]
fn a_job_that_kills_its_own_group_kills_nobody_else() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}",
        once("a", "sh -c 'echo last words; kill -9 0'"),
        once("b", "true"),
    ));
    daemon.wait_for_log("Job a completed with exit code 137 (killed by SIGKILL)");
    daemon.wait_for_log("\tlast words\n");
    daemon.wait_for_log("Job b completed with exit code 0");
    daemon.stop();
}

fn a_background_process_that_keeps_the_output_open_holds_the_sequence_for_two_seconds() {
    let place = Place::new();
    place.script(
        "job",
        "sleep 60 & echo $! >{dir}/pid; echo from the job; date +%s%N >{dir}/end",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}",
        once("a", "./job"),
        job(
            "next",
            "command: sh -c 'date +%s%N >{dir}/next'\nmindelay: 3600\nstartdelay: 0"
        ),
    ));
    daemon.wait_for_log("Job next completed with exit code 0");
    let messages = daemon.messages();
    let said = messages
        .iter()
        .position(|m| m.contains("background process"))
        .unwrap();
    let ended = place_of(&messages, "Job a completed with exit code 0");
    assert!(
        said < ended && ended < place_of(&messages, "\tfrom the job"),
        "{messages:#?}"
    );
    let time = |name: &str| place.read(name).trim().parse::<u64>().unwrap();
    let waited = Duration::from_nanos(time("next") - time("end"));
    assert!(waited >= Duration::from_millis(1990), "{waited:?}");
    // A run that ended by itself leaves its children alone.
    let left = pids(&place, "pid", 1)[0];
    assert!(is_running(left));
    daemon.stop();
    kill(Pid::from_raw(left), Signal::SIGKILL).unwrap();
}

fn a_job_that_closes_its_output_and_runs_on_costs_no_processor_time() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}",
        job(
            "a",
            "command: sh -c 'exec >&- 2>&-; sleep 1'\nmindelay: 3600\nstartdelay: 0"
        ),
        job("b", "command: true\nmindelay: 3600\nstartdelay: 0"),
    ));
    // What its start took is no part of it.
    daemon.wait_for_log("Running a");
    let before = daemon.processor_time();
    daemon.wait_for_log("Job b completed");
    let used = daemon.processor_time() - before;
    let messages = daemon.messages();
    assert_eq!(ran(&messages), ["a", "b"]);
    assert!(used < Duration::from_millis(150), "{used:?}");
}

fn a_run_past_its_timeout_is_told_to_stop_and_its_last_words_are_kept() {
    let place = Place::new();
    place.script("job", "trap 'echo bye; exit 7' TERM; sleep 60 & wait");
    let daemon = place.daemon(&format!(
        "{ALONE}{}timeout: 5\nkilldelay: 60\n",
        once("a", "./job")
    ));
    daemon.wait_for_log("Job a completed with exit code 7 (timed out after 5 seconds)\n");
    daemon.wait_for_log("\tSubject: Job a exited with code 7 (timed out after 5 seconds)\n");
    daemon.wait_for_log("\tExit code: 7 (timed out after 5 seconds)\n");
    assert_eq!(output_of(&daemon), ["bye"]);
}

fn a_run_that_timed_out_has_failed_even_with_exit_code_0() {
    let place = Place::new();
    place.script("job", "trap 'exit 0' TERM; sleep 60 & wait");
    let daemon = place.daemon(&format!(
        "{ALONE}{}timeout: 5\nkilldelay: 60\n",
        once("a", "./job")
    ));
    daemon.wait_for_log("Job a completed with exit code 0 (timed out after 5 seconds)\n");
    daemon.wait_for_log("\tSubject: Job a exited with code 0 (timed out after 5 seconds)\n");
}

fn what_ignores_sigterm_is_killed_with_its_whole_group() {
    let place = Place::new();
    place.script(
        "job",
        "trap '' TERM\nsleep 60 & echo $! >>{dir}/pids\necho $$ >>{dir}/pids\nwait",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}{}timeout: 5\nkilldelay: 0.2\n",
        once("a", "./job")
    ));
    daemon.wait_for_log("Job a completed with exit code 137 (timed out after 5 seconds)\n");
    let pids = pids(&place, "pids", 2);
    assert_eq!(pids.into_iter().find(|&pid| is_running(pid)), None);
}

fn a_stopped_process_is_no_match_for_a_timeout() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}timeout: 5\nkilldelay: 0.1\n",
        once("a", "sh -c 'kill -STOP $$'")
    ));
    daemon.wait_for_log("Job a completed with exit code 137 (timed out after 5 seconds)\n");
}

fn what_a_stopped_leader_leaves_in_its_group_gets_the_rest_of_killdelay_then_sigkill() {
    let place = Place::new();
    // No pipe is open: it is the group alone that is waited for.
    place.script(
        "job",
        "sh -c 'trap \"\" TERM; sleep 60 & wait; sleep 60' >/dev/null 2>&1 & echo $! >{dir}/pid\n\
         trap 'exit 0' TERM\nwait",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}logformat: json\n{}timeout: 5\nkilldelay: 2\n{}",
        once("a", "./job"),
        once("next", "true"),
    ));
    let completed = "Job a completed with exit code 0 (timed out after 5 seconds)";
    let log = daemon.wait_for_log(completed);
    assert!(!is_running(pids(&place, "pid", 1)[0]));
    // By the daemon's own clock: that of the job would begin when a busy machine lets it.
    let line = log.lines().find(|l| l.contains(completed)).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    assert!(line["seconds"].as_f64().unwrap() >= 7.0, "{line}");
    daemon.wait_for_log("Job next completed");
}

fn a_stopped_run_ends_as_soon_as_its_group_is_gone() {
    let place = Place::new();
    place.script(
        "job",
        "sh -c 'trap \"sleep 0.3; echo tidied >{dir}/tidied; exit 0\" TERM; sleep 60 & wait' >/dev/null 2>&1 &\n\
         trap 'exit 0' TERM\nwait",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}{}timeout: 5\nkilldelay: 600\n",
        once("a", "./job")
    ));
    daemon.wait_for_log("Job a completed with exit code 0 (timed out after 5 seconds)\n");
    assert_eq!(place.read("tidied"), "tidied\n");
}

#[test]
fn a_run_that_takes_too_long_is_reported_once_with_who_waits_and_is_not_stopped() {
    let place = Place::new();
    place.gated("gated", "");
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}{}{}",
        job(
            "long",
            "command: ./gated\nmindelay: 3600\nstartdelay: 0\nstuckafter: 0.3"
        ),
        job("second", "command: true\nmindelay: 3600\nstartdelay: 0.1"),
        job("first", "command: true\nmindelay: 3600\nstartdelay: 0.05"),
        job("patient", "command: true\nmindelay: 3600"),
    ));
    daemon.wait_for_log("Running long");
    let pid = wait_for("the job's process", || daemon.children().first().copied());
    daemon.wait_for_log("\tSubject: Job long still running");
    place.let_go();
    daemon.wait_for_log("Job long completed with exit code 0\n");
    let messages = daemon.messages();
    let line = format!(
        "Job long still running after 0.3 seconds (pid {pid}), 2 jobs wait, first longest ("
    );
    let reports = messages
        .iter()
        .filter(|m| m.starts_with("Job long still running"));
    let reports: Vec<&String> = reports.collect();
    assert_eq!(reports.len(), 1, "{reports:?}");
    assert!(reports[0].starts_with(&line), "{reports:?}");
    assert!(reports[0].ends_with(" seconds)"), "{reports:?}");
    let subjects = messages
        .iter()
        .filter(|m| *m == "\tSubject: Job long still running after 0.3 seconds");
    assert_eq!(subjects.count(), 1, "{messages:#?}");
    let waiting = place_of(&messages, "\tWaiting: 2 jobs wait, first longest (");
    let waiters: Vec<&str> = messages[waiting + 1..waiting + 4]
        .iter()
        .map(|line| line.split(':').next().unwrap())
        .collect();
    assert_eq!(waiters, ["\t", "\tfirst", "\tsecond"]);
}

fn a_stuckafter_set_by_hand_applies_when_nobody_waits_and_0_turns_it_off() {
    let place = Place::new();
    place.gated("gated", "");
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}",
        job(
            "alone",
            "command: ./gated\nmindelay: 3600\nstartdelay: 0\nstuckafter: 0.1"
        ),
        job("other", "command: true\nmindelay: 3600"),
    ));
    daemon.wait_for_log("Job alone still running after 0.1 seconds (pid ");
    place.let_go();
    daemon.wait_for_log("Job alone completed with exit code 0\n");
    let log = daemon.log();
    assert!(!log.contains("wait,") && !log.contains("waits,"), "{log}");
    daemon.stop();

    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}",
        job(
            "off",
            "command: sleep 0.4\nmindelay: 3600\nstartdelay: 0\nstuckafter: 0"
        ),
        job("waits", "command: true\nmindelay: 3600\nstartdelay: 0"),
    ));
    daemon.wait_for_log("Job waits completed");
    assert!(!daemon.log().contains("still running"), "{}", daemon.log());
}

#[test]
fn livelog_logs_each_line_as_it_comes() {
    let place = Place::new();
    place.script(
        "job",
        "echo one; echo two >&2; until test -e {dir}/go; do sleep 0.02; done\n\
         echo; printf 'tail without line feed'",
    );
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job(
            "a",
            "command: ./job\nmindelay: 3600\nstartdelay: 0\nlivelog: yes"
        )
    ));
    daemon.wait_for_log(" [-] a: one\n");
    daemon.wait_for_log(" [-] a: two\n");
    assert!(!daemon.log().contains("completed"));
    place.let_go();
    daemon.wait_for_log("Scheduling a for 3.6e+03");
    let messages = daemon.messages();
    let end = place_of(&messages, "Job a completed");
    assert_eq!(messages[end - 2..end], ["a: ", "a: tail without line feed"]);
}

#[test]
fn livelog_cuts_a_line_over_8_kib_into_pieces() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job(
            "a",
            "command: sh -c 'printf %020000d 0; echo; echo end'\n\
             mindelay: 3600\nstartdelay: 0\nlivelog: yes"
        )
    ));
    daemon.wait_for_log(" [-] a: end\n");
    let messages = daemon.messages();
    let pieces: Vec<usize> = messages
        .iter()
        .filter_map(|m| m.strip_prefix("a: 0"))
        .map(|rest| rest.len() + 1)
        .collect();
    assert_eq!(pieces, [8192, 8192, 20000 - 2 * 8192]);
}

#[test]
fn of_too_much_output_the_first_and_the_last_half_stay_and_the_rest_is_counted() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    place.script("job", "seq 1 2000; seq 1 300 >&2; exit 1");
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: ops@example.com\n{sendmail}\n{}maxoutput: 1K\n",
        job("a", "command: ./job\nmindelay: 3600\nstartdelay: 0")
    ));
    let numbers = |to: u32| (1..=to).map(|n| format!("{n}\n")).collect::<String>();
    let kept = |all: &str, line_break: &str| {
        let missing = all.len() - 1024;
        let (head, tail) = (&all[..512], &all[all.len() - 512..]);
        format!("{head}{line_break}[... {missing} bytes left out ...]\n{tail}")
    };
    let expected = format!(
        "Job: a\nCommand: ./job\nExit code: 1\nStandard Error:\n\n{}\n\nStandard Output:\n\n{}\n",
        kept(
            &numbers(300),
            if numbers(300).as_bytes()[511] == b'\n' {
                ""
            } else {
                "\n"
            }
        ),
        kept(
            &numbers(2000),
            if numbers(2000).as_bytes()[511] == b'\n' {
                ""
            } else {
                "\n"
            }
        ),
    );
    assert_eq!(place.wait_for_mails(1)[0].body(), expected);
    daemon.stop();
}

#[test]
fn a_flood_of_output_is_read_to_its_end_in_bounded_memory() {
    let place = Place::new();
    place.script("job", "yes | tr -d '\\n' | head -c 100000000; echo end");
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job(
            "a",
            "command: ./job\nmindelay: 3600\nstartdelay: 0\nalwayslog: yes"
        )
    ));
    daemon.wait_for_log("Job error output was:");
    let left_out = 100_000_004 - (1 << 20);
    let log = daemon.log();
    assert!(log.contains(&format!("[... {left_out} bytes left out ...]\n")));
    assert!(log.contains("yend\n"));
    let peak = daemon.peak_memory();
    assert!(peak < 24 << 20, "{peak} bytes");
}

/// It always has more to read than is read in a turn.
pub fn a_job_that_never_stops_talking_starves_neither_signals_nor_its_timeout() {
    let place = Place::new();
    place.script("job", "trap '' TERM; echo >{dir}/begun; yes | cat");
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job(
            "a",
            "command: ./job\nmindelay: 3600\nstartdelay: 0\ntimeout: 3\nkilldelay: 0.1"
        )
    ));
    place.wait_for_begin();
    daemon.signal(Signal::SIGHUP);
    let log =
        daemon.wait_for_log("Job a completed with exit code 137 (timed out after 3 seconds)\n");
    assert!(
        log.find("Received SIGHUP") < log.find("Job a completed"),
        "{log}"
    );
    assert!(log.contains("Received SIGHUP"), "{log}");
    assert!(daemon.peak_memory() < 24 << 20, "{}", daemon.peak_memory());
    daemon.stop();
}

#[test]
fn any_bytes_are_carried() {
    let place = Place::new();
    let printed = r"nul \000, latin-1 \351, half a character \303, cr \r, escape \033[2J\n\n\f\377";
    place.script("job", &format!("printf '{printed}'; exit 1"));
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job(
            "a",
            "command: ./job\nmindelay: 3600\nstartdelay: 0\nalwayslog: yes"
        )
    ));
    daemon.wait_for_log_times("Scheduling a", 2);
    let expected: &[u8] =
        b"\tnul \0, latin-1 \xe9, half a character \xc3, cr \r, escape \x1b[2J\n\t\n\t\x0c\xff\n";
    let log = place.bytes("log");
    let count = log
        .windows(expected.len())
        .filter(|w| *w == expected)
        .count();
    assert_eq!(count, 2, "once for alwayslog, once in the report");
}

#[test]
fn an_endless_line_is_a_line() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}maxoutput: 4M\n",
        once("a", "sh -c 'printf %03000000d 0'")
    ));
    daemon.wait_for_log("Job error output was:");
    assert!(
        daemon
            .log()
            .contains(&format!("\t{}\n", "0".repeat(3_000_000)))
    );
}

/// The kernel has no descriptors left for the daemon: the run fails, waits, and is tried again.
#[test]
fn without_descriptors_a_run_fails_with_126_and_does_not_spin() {
    let place = Place::new();
    let config = format!(
        "{ALONE}{}",
        job("a", "command: true\nmindelay: 0\nstartdelay: 0.05")
    );
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: true\nmindelay: 60")
    ));
    daemon.wait_for_log("Scheduling");
    // Room for two more. Some that it inherited may have high numbers, beyond the limit.
    let open = daemon.descriptor_numbers();
    let limit = (0..).filter(|number| !open.contains(number)).nth(2);
    daemon.stop();

    let place = Place::new();
    let limit = format!("ulimit -n {}", limit.unwrap());
    let daemon = place.daemon_after(&limit, &config, |_| {});
    daemon.wait_for_log("completed with exit code 126 (could not start: Too many open files)\n");
    daemon.wait_for_log("\tToo many open files\n");
    daemon.wait_for_log_times("Scheduling a", 2);
    let messages = daemon.messages();
    assert!(scheduled(&messages)[1].1 > 0.5, "{messages:#?}");
    daemon.stop();
}

#[test]
fn many_runs_leave_no_descriptors_and_no_zombies() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}",
        job("a", "command: true\nmindelay: 0"),
        job("b", "command: ./gone\nmindelay: 0\nstartdelay: 0"),
    ));
    daemon.wait_for_log_times("Job a completed", 5);
    let before = daemon.descriptors();
    daemon.wait_for_log_times("Job a completed", 300);
    wait_for("as few descriptors as before", || {
        (daemon.descriptors() <= before).then_some(())
    });
    wait_for("a moment without more than one child", || {
        (daemon.children().len() <= 1).then_some(())
    });
    daemon.stop();
}

#[test]
fn output_that_comes_with_the_end_is_not_lost() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job(
            "a",
            "command: sh -c 'printf %060000d 0'\nmindelay: 0\nalwayslog: yes"
        )
    ));
    let log = daemon.wait_for_log_times("Running a", 21);
    for run in log.split("Job output was:\n").skip(1).take(20) {
        let line = run.lines().next().unwrap();
        assert_eq!(line.len(), "\t".len() + 60_000);
    }
}

/// A process that has left the group cannot be stopped with it; it must not stop the daemon either.
fn a_process_that_left_the_group_holds_a_timed_out_run_for_two_seconds_only() {
    let place = Place::new();
    // timeout(1) gives itself a group of its own.
    place.script("job", "timeout 60 sleep 60 & echo $! >{dir}/pid; wait");
    let daemon = place.daemon(&format!("{ALONE}{}timeout: 5\n", once("a", "./job")));
    let escaped = wait_for_own_group(&place, "pid");
    daemon.wait_for_log("Job a completed with exit code 143 (timed out after 5 seconds)\n");
    kill(escaped, Signal::SIGTERM).unwrap();
    assert!(
        daemon.log().contains("background process"),
        "{}",
        daemon.log()
    );
}

/// What the test binary is told in order to become a daemon that orphans come to, as to process 1.
const SUBREAPER: &str = "BECOME_A_SUBREAPER";

/// No test of its own: the next one has it run in a process where it turns into the daemon. The attribute belongs to
/// a process, survives exec, and no shell can set it (PR_SET_CHILD_SUBREAPER(2const)).
#[test]
fn in_a_process_of_its_own_this_becomes_a_daemon() {
    if std::env::var_os(SUBREAPER).is_some() {
        nix::sys::prctl::set_child_subreaper(true).unwrap();
        let mut daemon = std::process::Command::new(crate::common::PROGRAM);
        daemon.args(["-c", "conf", "-l", "log"]);
        let error = daemon.exec();
        assert_eq!(error.to_string(), "", "it returns only if it fails");
    }
}

#[test]
fn orphans_are_reaped_and_nobody_takes_their_exit_code_for_a_jobs() {
    let place = Place::new();
    // Each is left alone by a parent of its own. The last dies of a signal that has no name.
    place.script(
        "job",
        "(sh -c 'echo $$ >>{dir}/orphans; exit 9' &)\n(sh -c 'echo $$ >>{dir}/orphans; kill -9 $$' &)\n\
         (sh -c 'echo $$ >>{dir}/orphans; kill -40 $$' &)\n\
         until test $(wc -l <{dir}/orphans) -ge 3; do sleep 0.02; done\nsleep 0.1\nexit 3",
    );
    place.write(
        "conf",
        &format!(
            "{ALONE}{}{}",
            once("a", "./job"),
            once("b", "sh -c 'kill -41 $$'")
        ),
    );
    let mut command = std::process::Command::new(std::env::current_exe().unwrap());
    command.args([
        "--exact",
        "running::in_a_process_of_its_own_this_becomes_a_daemon",
    ]);
    command.current_dir(place.dir()).env(SUBREAPER, "1");
    let daemon = place.daemon_of(command);
    daemon.wait_for_log("Job a completed with exit code 3\n");
    daemon.wait_for_log("Job b completed with exit code 169 (killed by SIGRTMIN+7)\n");
    wait_for("nobody left to reap", || {
        daemon.children().is_empty().then_some(())
    });
    for orphan in pids(&place, "orphans", 3) {
        assert!(!std::path::Path::new(&format!("/proc/{orphan}")).exists());
    }
    daemon.stop();
}

fn what_is_printed_last_is_logged_live_also_where_a_background_process_keeps_the_output_open() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}livelog: yes\n",
        once("a", "sh -c 'sleep 60 & printf progress'")
    ));
    daemon.wait_for_log(" [-] a: progress\n");
    daemon.wait_for_log("keeps its output open");
    daemon.stop();
}
