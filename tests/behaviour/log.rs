//! The log: its lines, where they go, and rotation.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use crate::common::{
    ALONE, Daemon, Place, Signal, job, messages, once, stderr, tick, wait_for, wait_for_file,
};
use nix::sys::stat::Mode;

/// A stamp as `date` gives it, by a clock and calendar that are not ours.
fn utc_now() -> String {
    let mut command = Command::new("date");
    command.args(["-u", "+%Y-%m-%dT%H:%M:%S+0000"]);
    let output = crate::common::finish(command);
    crate::common::stdout(&output).trim().to_string()
}

/// Whether a line begins as each message of the daemon does.
pub(crate) fn has_stamp(line: &str) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd+0000 [-] ";
    line.len() >= shape.len()
        && shape
            .bytes()
            .zip(line.bytes())
            .all(|(form, byte)| match form {
                b'd' => byte.is_ascii_digit(),
                form => byte == form,
            })
}

#[test]
fn every_message_has_a_stamp_in_utc_wherever_the_daemon_is() {
    let place = Place::new();
    let before = utc_now();
    let daemon = place.daemon_with(&format!("{ALONE}{}", once("a", "false")), |command| {
        command.env("TZ", "America/New_York").env("LC_ALL", "de_DE");
    });
    daemon.wait_for_log_times("Scheduling a", 2);
    let after = utc_now();
    for line in daemon.log().lines().filter(|line| !line.starts_with('\t')) {
        assert!(has_stamp(line), "{line}");
        let stamp = &line[..before.len()];
        assert!(
            before.as_str() <= stamp && stamp <= after.as_str(),
            "{line}"
        );
    }
}

#[test]
fn nothing_a_job_prints_looks_like_a_line_of_the_daemon() {
    let place = Place::new();
    let fake = "2026-11-23T23:36:37+0000 [-] Main loop terminated.";
    place.script(
        "job",
        &format!(
            "printf '%s\\n%s\\n\\n\\r%s\\n' '{fake}' '{fake}' '{fake}'; echo '{fake}' >&2; exit 1"
        ),
    );
    let daemon = place.daemon(&format!(
        "{ALONE}{}alwayslog: yes\n{}livelog: yes\n",
        once("a", "./job"),
        once("b", "./job"),
    ));
    daemon.wait_for_log("Scheduling a for 3.6e+03");
    let log = daemon.log();
    for line in log.split_terminator('\n') {
        assert!(line.starts_with('\t') || has_stamp(line), "{line:?}");
        let message = line.split_once(" [-] ").map(|(_, message)| message);
        assert_ne!(
            message.filter(|_| !line.starts_with('\t')),
            Some("Main loop terminated.")
        );
    }
    assert!(
        log.contains(&format!("\t{fake}\n\t{fake}\n\t\n\t\r{fake}\n\t\n")),
        "{log}"
    );
    assert!(log.contains(&format!(" [-] b: \r{fake}\n")), "{log}");
}

#[test]
fn the_command_lines_log_wins_and_each_path_counts_from_where_it_was_written() {
    let place = Place::new();
    place.write("run/marker", "");
    let config = format!("{ALONE}logfile: from-file\n{}", once("a", "true"));
    let daemon = place.daemon_with(&config, |command| {
        command.args(["-d", "run", "--logfile", "from-option"]);
    });
    wait_for_file(&place.path("from-option"));
    assert_eq!(fs::read_dir(place.path("run")).unwrap().count(), 1);
    assert_eq!(daemon.stop(), "", "standard output is not the log");

    let daemon = place.daemon_with(&config, |command| {
        command.args(["-d", "run"]);
    });
    wait_for_file(&place.path("run/from-file"));
    daemon.stop();

    let daemon = place.daemon_with(&config, |command| {
        command.args(["-l", "-"]);
    });
    daemon.wait_for_log("Loading jobs...");
    drop(daemon);
    let place = Place::new();
    let daemon = place.daemon(&format!("{ALONE}logfile: -\n{}", once("a", "true")));
    daemon.wait_for_log("Loading jobs...");
}

/// A daemon whose standard output is told to be the journal, and is the file `log`.
fn journalled<'a>(place: &'a Place, config: &str, wrong: bool, more: &[&str]) -> Daemon<'a> {
    place.gated("gated", "exit 1");
    let log = place.append_to("log").metadata().unwrap();
    let inode = log.ino() + u64::from(wrong);
    place.daemon_with(config, |command| {
        command.env("JOURNAL_STREAM", format!("{}:{inode}", log.dev()));
        command.args(more);
    })
}

const TROUBLE: &str = "mailproblemsto: ops@example.com\nsendmail: ./no-sendmail\n\
    [buildsequencer_job.a]\ncommand: ./gated\nmindelay: 3600\nstartdelay: 0\nstuckafter: 0.1\n\
    [buildsequencer_job.b]\ncommand: true\nmindelay: 3600\nstartdelay: 0\n";

#[test]
fn the_journal_gets_a_priority_on_each_line() {
    let place = Place::new();
    let daemon = journalled(&place, &format!("{ALONE}{TROUBLE}"), false, &[]);
    daemon.wait_for_log("Job a still running");
    place.let_go();
    daemon.wait_for_log("Scheduling a for 3.6e+03");
    place.write("conf", "[buildsequencer]\n");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("not reloaded");
    let log = daemon.stop();
    for (priority, start) in [
        ("<6>", "Running a"),
        ("<6>", "Job b completed with exit code 0"),
        ("<6>", "Main loop terminated."),
        ("<4>", "Job a completed with exit code 1"),
        ("<3>", "Job a still running"),
        ("<3>", "From: Launchpad Build Daemon Sequencer"),
        ("<3>", "Configuration not reloaded"),
    ] {
        let line = log
            .lines()
            .find(|line| line.contains(start))
            .unwrap_or(start);
        assert!(line.starts_with(priority), "{priority} {line}");
    }
    for line in log.lines() {
        assert!(matches!(&line[..3], "<3>" | "<4>" | "<6>"), "{line}");
        assert!(
            line[3..].starts_with('\t') || has_stamp(&line[3..]),
            "{line}"
        );
    }
}

#[test]
fn nobody_else_gets_a_priority() {
    for (wrong, more, log) in [
        (true, &[][..], "log"),
        (false, &["-l", "other"][..], "other"),
    ] {
        let place = Place::new();
        let daemon = journalled(&place, &format!("{ALONE}{TROUBLE}"), wrong, more);
        place.wait_for_begin();
        place.let_go();
        wait_for("the end of both jobs", || {
            place
                .read(log)
                .contains("Scheduling a for 3.6e+03")
                .then_some(())
        });
        for line in place.read(log).lines() {
            assert!(line.starts_with('\t') || has_stamp(line), "{line}");
        }
        daemon.stop();
    }
}

/// A daemon that logs to the file `log` by name, and has begun.
fn logging_to_file<'a>(place: &'a Place, config: &str) -> Daemon<'a> {
    let daemon = place.daemon_with(config, |command| {
        command.args(["-l", "log"]);
    });
    daemon.wait_for_log("Scheduling");
    daemon
}

#[test]
fn usr1_rotates_as_twistd_does() {
    let place = Place::new();
    let daemon = logging_to_file(
        &place,
        &format!("{ALONE}{}", job("a", "command: true\nmindelay: 0.05")),
    );
    let first = place.append_to("log").metadata().unwrap().ino();
    daemon.signal(Signal::SIGUSR1);
    wait_for_file(&place.path("log.1"));
    daemon.wait_for_log("Running a");
    let second = place.append_to("log").metadata().unwrap().ino();
    daemon.signal(Signal::SIGUSR1);
    wait_for_file(&place.path("log.2"));
    daemon.wait_for_log("Running a");
    let inode = |name: &str| fs::metadata(place.path(name)).unwrap().ino();
    assert_eq!((inode("log.2"), inode("log.1")), (first, second));
    assert!(place.read("log.2").contains("Loading jobs..."));
    daemon.stop();
    // Nothing is lost or cut where one file ends and the next begins.
    let all = place.read("log.2") + &place.read("log.1") + &place.read("log");
    let runs = all.matches("Running a\n").count();
    let ends = all.matches("Job a completed with exit code").count();
    assert_eq!(runs, ends, "{all}");
}

#[test]
fn usr1_only_reopens_a_log_that_logrotate_has_moved_or_removed() {
    let place = Place::new();
    let daemon = logging_to_file(
        &place,
        &format!("{ALONE}{}", job("a", "command: true\nmindelay: 0.05")),
    );
    fs::rename(place.path("log"), place.path("moved")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_for_log("Running a");
    assert!(place.read("moved").contains("Loading jobs..."));
    fs::remove_file(place.path("log")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_for_log("Running a");
    daemon.stop();
    assert!(!place.path("log.1").exists());
}

#[test]
fn usr1_with_the_logs_directory_gone_changes_nothing_and_says_so() {
    let place = Place::new();
    place.write("logs/log", "");
    let config = format!("{ALONE}{}", job("a", "command: true\nmindelay: 0.05"));
    let daemon = place.daemon_with(&config, |command| {
        command.args(["-l", "logs/log"]);
    });
    wait_for("a daemon that logs", || {
        place.read("logs/log").contains("Loaded.").then_some(())
    });
    let mut open = File::open(place.path("logs/log")).unwrap();
    fs::remove_dir_all(place.path("logs")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    let mut text = String::new();
    let mut log = |what: &str| {
        wait_for(what, || {
            open.read_to_string(&mut text).unwrap();
            text.contains(what).then(|| text.split_off(0))
        })
    };
    let text = log("cannot open log");
    assert!(text.contains("No such file or directory"), "{text}");
    log("Running a");
    daemon.stop();
}

#[test]
fn usr1_is_harmless_where_the_log_is_standard_output() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "{ALONE}{}",
        job("a", "command: true\nmindelay: 0.05")
    ));
    daemon.wait_for_log("Scheduling");
    daemon.signal(Signal::SIGUSR1);
    daemon.wait_for_log("SIGUSR1");
    let runs = daemon.log().matches("Running").count();
    daemon.wait_for_log_times("Running", runs + 1);
    daemon.stop();
    assert!(!place.path("log.1").exists());
}

/// Bits that the mask would take, and bits that it would leave.
pub fn a_turned_log_keeps_its_mode_whatever_the_mask() {
    for (mask, bits) in [
        ("022", 0o600),
        ("022", 0o640),
        ("077", 0o644),
        ("000", 0o640),
    ] {
        for size in [0, 2000] {
            let place = Place::new();
            let settings = "command: true\nmindelay: 0.02";
            let config = format!("{ALONE}logsize: {size}\n{}", job("a", settings));
            place.write("log", "");
            let allow = fs::Permissions::from_mode(bits);
            fs::set_permissions(place.path("log"), allow).unwrap();
            let daemon = place.daemon_after(&format!("umask {mask}"), &config, |command| {
                command.args(["-l", "log"]);
            });
            daemon.wait_for_log("Running a");
            if size == 0 {
                daemon.signal(Signal::SIGUSR1);
            }
            wait_for_file(&place.path("log.1"));
            daemon.wait_for_log("Running a");
            // It turns no more.
            daemon.stop();
            for name in ["log", "log.1"] {
                let mode = fs::metadata(place.path(name)).unwrap().mode() & 0o777;
                assert_eq!(mode, bits, "{name} with mask {mask}: {mode:o}");
            }
        }
    }
}

/// `/dev/stdout` itself is tried where it is nobody else's.
#[test]
fn a_name_of_standard_output_is_never_opened_or_renamed() {
    for name in ["/proc/self/fd/1", "/dev/fd/1", "{dir}/link"] {
        let place = Place::new();
        symlink("/proc/self/fd/1", place.path("link")).unwrap();
        let jobs = job("a", "command: true\nmindelay: 0.05");
        let config = format!("{ALONE}logfile: {name}\nlogsize: 100\n{jobs}");
        let daemon = place.daemon(&config);
        daemon.wait_for_log("Running a");
        daemon.signal(Signal::SIGUSR1);
        daemon.wait_for_log("the log is standard output, nothing to rotate");
        // Neither has a reload anything to move.
        daemon.signal(Signal::SIGHUP);
        daemon.wait_for_log("nothing has changed");
        daemon.stop();
        assert!(place.path("link").is_symlink());
        assert!(!place.path("link.1").exists() && !place.path("log.1").exists());
        let check = place.run(&["check", "-c", "conf"]);
        assert_eq!(check.status.code(), Some(0), "{}", stderr(&check));

        // What is a socket has no name to open.
        let (theirs, ours) = UnixStream::pair().unwrap();
        let name = name.replace("{dir}", place.dir());
        let config = format!("{ALONE}{}", once("a", "true"));
        let daemon = place.daemon_with(&config, |command| {
            command.args(["-l", &name]).stdout(OwnedFd::from(ours));
        });
        let mut line = String::new();
        BufReader::new(theirs).read_line(&mut line).unwrap();
        assert!(line.ends_with("Loading jobs...\n"), "{line}");
        drop(daemon);
    }
}

#[test]
fn check_refuses_a_log_that_the_daemon_would_refuse() {
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("fifo"), Mode::S_IRWXU).unwrap();
    let _socket = UnixListener::bind(place.path("socket")).unwrap();
    for (name, what) in [("fifo", "a named pipe"), ("socket", "a socket")] {
        let config = format!("{ALONE}logfile: {name}\n{}", once("a", "true"));
        place.write("conf", &config);
        let check = place.run(&["check", "-c", "conf"]);
        assert_eq!(check.status.code(), Some(78));
        let expected = format!("cannot open log '{name}': it is {what}; a log is");
        assert!(stderr(&check).contains(&expected), "{}", stderr(&check));
        assert_eq!(place.run(&["-c", "conf"]).status.code(), Some(1));
    }
}

#[test]
fn a_log_past_its_size_is_rotated_and_only_logkeep_files_stay() {
    let place = Place::new();
    place.script(
        "job",
        "echo x >>{dir}/runs; wc -l <{dir}/runs; printf '%300s.'",
    );
    let daemon = logging_to_file(
        &place,
        &format!(
            "{ALONE}logsize: 2000\nlogkeep: 2\n{}",
            job("a", "command: ./job\nmindelay: 0\nalwayslog: yes")
        ),
    );
    place.wait_for_lines("runs", 40);
    daemon.stop();
    assert!(place.path("log.2").exists() && !place.path("log.3").exists());
    for name in ["log.1", "log.2"] {
        let size = fs::metadata(place.path(name)).unwrap().len();
        assert!((2000..4000).contains(&size), "{name}: {size} bytes");
    }
    // The runs that the last files tell of are consecutive, up to the last one; the stop may have cut that one short.
    let all = place.read("log.2") + &place.read("log.1") + &place.read("log");
    let numbers: Vec<usize> = all
        .lines()
        .filter_map(|line| line.trim().parse().ok())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[1] == pair[0] + 1),
        "{numbers:?}"
    );
    assert!(
        numbers.len() > 5 && *numbers.last().unwrap() >= 39,
        "{numbers:?}"
    );
}

#[test]
fn a_reload_takes_on_another_log_and_other_limits_but_an_option_still_wins() {
    let place = Place::new();
    let jobs = job("a", "command: true\nmindelay: 0.02");
    let daemon = place.daemon(&format!("{ALONE}logfile: first\n{jobs}"));
    wait_for_file(&place.path("first"));
    place.write(
        "conf",
        &format!("{ALONE}logfile: second\nlogsize: 300\n{jobs}"),
    );
    daemon.signal(Signal::SIGHUP);
    wait_for_file(&place.path("second.1"));
    assert!(
        place
            .read("first")
            .contains("Changed logfile: first -> second")
    );
    // Where the new place refuses, the old one goes on.
    place.write(
        "conf",
        &format!("{ALONE}logfile: no/such/place\nlogsize: 0\n{jobs}"),
    );
    daemon.signal(Signal::SIGHUP);
    wait_for("an error in the old log", || {
        place
            .read("second")
            .contains("cannot open log 'no/such/place'")
            .then_some(())
    });
    place.write("conf", &format!("{ALONE}{jobs}"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Running a");
    daemon.stop();

    let place = Place::new();
    let daemon = logging_to_file(&place, &format!("{ALONE}{jobs}"));
    place.write("conf", &format!("{ALONE}logfile: other\n{jobs}"));
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Configuration reloaded: nothing has changed.");
    let runs = daemon.log().matches("Running").count();
    daemon.wait_for_log_times("Running", runs + 2);
    assert!(!place.path("other").exists());
    daemon.stop();
}

#[test]
fn spew_logs_every_decision_and_only_when_it_is_asked_for() {
    let jobs = format!("{}timeout: 0.1\n", once("a", "sleep 60"));
    let told = |config: &str, options: &[&str]| {
        let place = Place::new();
        let daemon = place.daemon_with(&format!("{ALONE}{config}{jobs}"), |command| {
            command.args(options);
        });
        daemon.wait_for_log("Scheduling a for 3.6e+03");
        daemon.stop().contains("SIGTERM to process group")
    };
    assert!(!told("", &[]));
    assert!(told("spew: true\n", &[]));
    assert!(told("", &["--spew"]));
}

#[test]
fn a_log_that_cannot_be_opened_ends_the_start_with_status_1_and_names_it() {
    let place = Place::new();
    place.write(
        "conf",
        &format!("{ALONE}{}", once("a", "sh -c 'echo ran >{dir}/ran'")),
    );
    nix::unistd::mkfifo(&place.path("fifo"), Mode::S_IRWXU).unwrap();
    for (path, why) in [
        ("no/such/log", "No such file or directory"),
        (".", "Is a directory"),
        (
            "fifo",
            "it is a named pipe; a log is a regular file or a terminal",
        ),
    ] {
        let output = place.run(&["-c", "conf", "-l", path]);
        assert_eq!(output.status.code(), Some(1));
        let said = stderr(&output);
        assert!(
            said.contains("cannot open log '") && said.contains(path),
            "{said}"
        );
        assert!(said.trim_end().ends_with(why), "{said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    assert!(!place.path("ran").exists());
}

#[test]
fn a_log_at_its_size_limit_that_is_past_logsize_turns_in_the_middle_of_a_message() {
    let place = Place::new();
    let config = format!(
        "[buildsequencer]\ncontrolsocket: none\nlogsize: 4000\n{}alwayslog: yes\n",
        once("j", "seq 1000 1599")
    );
    // In units of 512 bytes.
    let daemon = place.daemon_after("ulimit -f 8", &config, |command| {
        command.args(["-l", "log"]);
    });
    wait_for("the last lines in a new file", || {
        place
            .read("log")
            .contains("Scheduling j for 3.6e+03")
            .then_some(())
    });
    assert_eq!(place.bytes("log.1").len(), 4096);
    let all = place.read("log.1") + &place.read("log");
    assert!(
        (1000..1600).all(|n| all.contains(&format!("\t{n}\n"))),
        "{all}"
    );
    daemon.stop();
}

/// A limit on file sizes is a full disk that another file ends; the kernel's SIGXFSZ is not the daemon's death.
#[test]
fn a_log_at_its_size_limit_goes_on_in_the_next_file_with_no_line_cut_or_lost() {
    let jobs =
        (1..=8).map(|n| format!("{}alwayslog: yes\n", once(&format!("j{n}"), "seq 100 199")));
    let config = ALONE.to_string() + &jobs.collect::<String>();
    let last = "Scheduling j1 for 3.6e+03 seconds time\n";
    let place = Place::new();
    let whole = place.daemon(&config).wait_for_log(last);

    let place = Place::new();
    // In units of 512 bytes.
    let daemon = place.daemon_after("ulimit -f 8", &config, |command| {
        command.args(["-l", "log"]);
    });
    wait_for("a full log", || {
        (place.bytes("log").len() == 4096).then_some(())
    });
    fs::rename(place.path("log"), place.path("full")).unwrap();
    daemon.signal(Signal::SIGUSR1);
    let rest = daemon.wait_for_log(last);
    let full = place.read("full");
    let (full, _cut) = full.rsplit_once('\n').unwrap();
    let all = messages(&format!("{full}\n{rest}"));
    let without_times = |messages: Vec<String>| -> Vec<String> {
        let times = |message: &String| !message.starts_with("Scheduling");
        messages.into_iter().filter(times).collect()
    };
    assert_eq!(without_times(all), without_times(messages(&whole)));
    daemon.stop();
}

/// A line that is longer than any file may be is given up, and not begun again in one file after the other.
#[test]
fn a_line_that_no_file_can_hold_costs_no_old_log() {
    let place = Place::new();
    place.script("job", "printf '%010000d' 0; echo ran >>{dir}/ran");
    let config = format!(
        "[buildsequencer]\ncontrolsocket: none\nlogsize: 4000\nlogkeep: 9\n{}alwayslog: yes\n{}",
        once("long", "./job"),
        tick()
    );
    place.write("log.1", "precious\n");
    // In units of 512 bytes.
    let daemon = place.daemon_after("ulimit -f 8", &config, |command| {
        command.args(["-l", "log"]);
    });
    let logs = || {
        let numbered = (1..20).map(|n| place.read(&format!("log.{n}")));
        numbered.collect::<String>() + &place.read("log")
    };
    wait_for("what is missing, and more", || {
        let logs = logs();
        let (_, after) = logs.split_once("1 log line was dropped here")?;
        (after.matches("Running tick").count() > 3).then_some(())
    });
    daemon.stop();
    assert!(logs().contains("precious\n"));
    let zeros = "0".repeat(2000);
    let parts = (1..20).filter(|n| place.read(&format!("log.{n}")).contains(&zeros));
    assert!(parts.count() <= 2, "it was begun again and again");
}

/// The rest of a line could look like one of the daemon's own.
#[test]
fn a_line_whose_beginning_somebody_cuts_off_begins_anew() {
    let place = Place::new();
    let forged = "2026-01-01T00:00:00+0000 [-] Received SIGTERM, shutting down.  ";
    let line = forged.repeat(40);
    place.script(
        "job",
        &format!("echo ran >>{{dir}}/ran\nprintf '%s' '{line}'"),
    );
    let config = format!("{ALONE}logsize: 0\n{}", {
        job(
            "a",
            "command: ./job\nmindelay: 0.1\nstartdelay: 0\nalwayslog: yes\nstuckafter: 0",
        )
    });
    // In units of 512 bytes: the second line does not fit.
    let daemon = place.daemon_after("ulimit -f 8", &config, |command| {
        command.args(["-l", "log"]);
    });
    wait_for("a full log", || {
        (place.bytes("log").len() == 4096).then_some(())
    });
    fs::File::create(place.path("log")).unwrap();
    let first = wait_for("the line in the file as it is now", || {
        let text = place.read("log");
        text.split_once('\n').map(|(first, _)| first.to_string())
    });
    assert_eq!(first, format!("\t{line}"));
    daemon.signal(Signal::SIGKILL);
}

/// As a full disk leaves it, or a machine that has lost its power.
#[test]
fn a_line_without_an_end_in_an_old_log_is_ended() {
    for (old, expected) in [("whole\n", "whole\n2"), ("half", "half\n2"), ("", "2")] {
        let place = Place::new();
        place.write("log", old);
        let daemon = place.daemon_with(&format!("{ALONE}{}", once("a", "true")), |command| {
            command.args(["-l", "log"]);
        });
        wait_for("the start", || {
            place.read("log").contains("Loaded.").then_some(())
        });
        daemon.stop();
        assert!(place.read("log").starts_with(expected), "{old}");
    }
}
