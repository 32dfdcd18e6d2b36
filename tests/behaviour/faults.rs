//! Faults around the daemon: files that vanish, time that is lost, hostile names and surroundings. It also does nothing
//! when there is nothing to do.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use crate::at_once;
use crate::common::{ALONE, Daemon, Place, Signal, job, ran, wait_for};

/// How often the daemon has gone to sleep: each time it was woken before (proc_pid_status(5)).
fn sleeps(daemon: &Daemon<'_>) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

/// How often it slept anew in a second that begins when it has come to rest: files and status follow by a second.
fn sleeps_in_a_second(daemon: &Daemon<'_>) -> u64 {
    let rest = |time| std::thread::sleep(Duration::from_millis(time));
    wait_for("rest", || {
        let before = sleeps(daemon);
        rest(3000);
        (sleeps(daemon) == before).then_some(())
    });
    let before = sleeps(daemon);
    rest(1000);
    sleeps(daemon) - before
}

/// A daemon with all that could wake it: files to keep, a supervisor that listens, a socket, a log file.
fn with_everything<'a>(place: &'a Place, jobs: &str) -> (Daemon<'a>, UnixDatagram) {
    let supervisor = UnixDatagram::bind(place.path("notify")).unwrap();
    let config = format!(
        "[buildsequencer]\ncontrolsocket: {{dir}}/socket\nstatefile: {{dir}}/state\nlogfile: {{dir}}/log\n\
         metricsfile: {{dir}}/metrics.prom\nmailinterval: 1h\nmailproblemsto: ops@example.com\nsendmail: false\n{jobs}"
    );
    let daemon = place.daemon_with(&config, |command| {
        command.env("NOTIFY_SOCKET", place.path("notify"));
    });
    (daemon, supervisor)
}

fn an_idle_daemon_never_wakes_up() {
    let place = Place::new();
    let (daemon, _supervisor) = with_everything(&place, &job("a", "command: false"));
    // A failed run, and mail that waits for its next try in 30 seconds.
    daemon.wait_for_log("next try in 30 seconds");
    place.write(
        "conf",
        &place
            .read("conf")
            .replace("command: false", "command: false\nmindelay: 1h"),
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Changed");
    assert_eq!(sleeps_in_a_second(&daemon), 0);
    daemon.stop();
}

fn a_silent_job_wakes_the_daemon_when_it_ends_and_not_before() {
    let place = Place::new();
    let silent = "mindelay: 3600\nstartdelay: 0\ntimeout: 50\nstuckafter: 50";
    let waits = "command: true\nmindelay: 0\nstartdelay: 0.1";
    let jobs = job("a", &format!("command: sleep 60\n{silent}")) + &job("b", waits);
    let (daemon, _supervisor) = with_everything(&place, &jobs);
    daemon.wait_for_log("Running a");
    assert_eq!(sleeps_in_a_second(&daemon), 0);
    daemon.stop();
}

/// What ends while nobody looks has not timed out, and what was due then runs once.
fn a_daemon_that_was_stopped_for_a_while_takes_up_where_it_was() {
    let place = Place::new();
    place.gated("long", "echo x >>{dir}/end");
    let daemon = place.daemon(&format!(
        "{ALONE}{}{}",
        job(
            "long",
            "command: ./long\nmindelay: 3600\nstartdelay: 0\ntimeout: 3"
        ),
        job("a", "command: true\nmindelay: 0.5\nstartdelay: 0.1"),
    ));
    place.wait_for_begin();
    let begun = Instant::now();
    daemon.signal(Signal::SIGSTOP);
    wait_for("it to stand still", || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
        stat.contains(") T ").then_some(())
    });
    place.let_go();
    place.wait_for_lines("end", 1);
    wait_for("the timeout to be over", || {
        (begun.elapsed() > Duration::from_millis(3500)).then_some(())
    });
    assert!(!daemon.log().contains("completed"));
    daemon.signal(Signal::SIGCONT);
    daemon.wait_for_log("Job long completed with exit code 0\n");
    daemon.wait_for_log_times("Running a", 2);
    let messages = daemon.messages();
    let delays = crate::common::scheduled(&messages);
    let after_first: Vec<f64> = delays.iter().filter(|d| d.0 == "a").map(|d| d.1).collect();
    assert!(after_first.last().unwrap() > &0.4, "{messages:#?}");
    assert_eq!(ran(&messages)[0], "long");
    daemon.stop();
}

/// Removes a directory that the daemon may be making a file in.
fn remove_from_under(place: &Place, name: &str) {
    fs::rename(place.path(name), place.path("gone")).unwrap();
    wait_for("its removal", || {
        fs::remove_dir_all(place.path("gone")).ok()
    });
}

/// As a disk that is unmounted or a cleaning script does it; the file that is still open takes the lines, then the
/// new one does.
fn a_log_whose_file_or_directory_vanished_is_there_again_at_its_next_turn() {
    let place = Place::new();
    place.write("logs/log", "");
    let config = format!(
        "{ALONE}logsize: 3000\nlogfile: logs/log\n{}",
        job("a", "command: true\nmindelay: 0.01")
    );
    let daemon = place.daemon(&config);
    let wait_for_log = |what: &str| {
        wait_for(what, || {
            place.read("logs/log").contains("Running a").then_some(())
        });
    };
    wait_for_log("a log");
    fs::remove_file(place.path("logs/log")).unwrap();
    wait_for_log("a log after its file was removed");
    remove_from_under(&place, "logs");
    // Several turns fail while there is no directory.
    std::thread::sleep(Duration::from_millis(500));
    fs::create_dir(place.path("logs")).unwrap();
    wait_for_log("a log after its directory was removed");
    daemon.stop();
}

fn a_state_or_metrics_file_whose_directory_vanished_is_there_again_with_it() {
    let place = Place::new();
    place.write("kept/x", "");
    let daemon = place.daemon(&format!(
        "{ALONE}statefile: kept/state\nmetricsfile: kept/m.prom\n{}",
        job("a", "command: true\nmindelay: 0.05")
    ));
    crate::common::wait_for_file(&place.path("kept/m.prom"));
    remove_from_under(&place, "kept");
    for file in [
        "state file 'kept/state'",
        "history file 'kept/state.history'",
        "metrics file 'kept/m.prom'",
    ] {
        daemon.wait_for_log(&format!("cannot write {file}: No such file or directory"));
    }
    // The third try is in time: jobs go on, and the failure is told once.
    std::thread::sleep(Duration::from_secs(2));
    let log = daemon.log();
    assert_eq!(log.matches("cannot write").count(), 3, "{log}");
    fs::create_dir(place.path("kept")).unwrap();
    for name in ["state", "state.history", "m.prom"] {
        crate::common::wait_for_file(&place.path(&format!("kept/{name}")));
    }
    daemon.stop();
}

pub fn nothing_happens_for_a_while() {
    at_once!(
        an_idle_daemon_never_wakes_up,
        a_silent_job_wakes_the_daemon_when_it_ends_and_not_before,
        a_state_or_metrics_file_whose_directory_vanished_is_there_again_with_it,
        a_daemon_that_was_stopped_for_a_while_takes_up_where_it_was,
        a_log_whose_file_or_directory_vanished_is_there_again_at_its_next_turn,
        a_program_that_is_being_written_fails_and_runs_later
    );
}

/// Recipients that mean something to a shell or to sendmail are addresses and nothing else.
#[test]
fn an_address_can_be_neither_option_nor_command_nor_header() {
    let place = Place::new();
    let sendmail = place.sendmail("");
    let odd = [
        "|touch${IFS}x@b",
        "\u{60}touch${IFS}x\u{60}@b",
        "a&&touch|x@d",
        "'a'@c",
        "Bcc:x@b",
        "ü@b",
    ];
    let command = "sh -c 'exit 3'\n  X-Evil: yes\n  \"Subject: other\"";
    let daemon = place.daemon(&format!(
        "{ALONE}mailproblemsto: {}\nfromaddress: ${{x}}@b\n{sendmail}\n{}",
        odd.join(" "),
        job(
            "a",
            &format!("command: {command}\nmindelay: 3600\nstartdelay: 0")
        ),
    ));
    for (mail, to) in place.wait_for_mails(odd.len()).iter().zip(odd) {
        assert_eq!(mail.arguments, format!("-i -f ${{x}}@b -- {to}"));
        let text = mail.text();
        let (head, _) = text.split_once("\n\n").unwrap();
        assert_eq!(head.lines().count(), 16, "{head}");
        assert_eq!(mail.header("To"), to);
        assert_eq!(mail.header("Subject"), "Job a exited with code 3");
        assert_eq!(mail.header("X-Evil"), "");
    }
    daemon.stop();
    assert!(!place.path("x").exists());
    for bad in [
        "-oQ/tmp",
        "--",
        "$(touch)@b",
        "\"<a@b>\"@c",
        "a@b;touch",
        "a@b -C/etc/x",
        "a@b\n  -f",
        "a@\u{7f}b",
        "a@\u{85}b",
    ] {
        let text = format!(
            "{ALONE}mailproblemsto: {bad}\n{}",
            job("a", "command: true")
        );
        place.write("conf", &text);
        assert_eq!(
            place.run(&["check", "-c", "conf"]).status.code(),
            Some(78),
            "{bad:?}"
        );
    }
}

#[test]
fn a_name_with_a_path_in_it_is_refused_wherever_it_comes_from() {
    let place = Place::new();
    for name in [
        "../a", "a/b", "..", ".", "a\u{7}", "-a b", "a;b", "*", "a\\nb",
    ] {
        place.write("conf", &format!("{ALONE}{}", job(name, "command: true")));
        let output = place.run(&["check", "-c", "conf"]);
        assert_eq!(output.status.code(), Some(78), "{name:?}");
    }
    let config = "[buildsequencer]\ncontrolsocket: {dir}/socket\n";
    let daemon = place.daemon(&format!("{config}{}", job("-", "command: true")));
    crate::common::wait_for_file(&place.path("socket"));
    for name in ["../a", "a\n[-] Running a", "\u{1b}[2J", ""] {
        let output = place.run(&["run", "-c", "conf", "--", name]);
        assert_ne!(output.status.code(), Some(0), "{name:?}");
        let said = crate::common::stderr(&output) + &crate::common::stdout(&output);
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(!said.trim_end().contains(char::is_control), "{said:?}");
    }
    let output = place.run(&["run", "-c", "conf", "--", "-"]);
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        crate::common::stderr(&output)
    );
    let log = daemon.stop();
    assert!(!log.contains("../a") && !log.contains("Running a"), "{log}");
}

#[test]
fn a_huge_environment_reaches_the_job_whole() {
    let place = Place::new();
    place.script("job", "env | wc -c");
    let config = format!(
        "{ALONE}{}alwayslog: yes\n",
        job("a", "command: ./job\nstartdelay: 0\nmindelay: 3600")
    );
    let daemon = place.daemon_with(&config, |command| {
        for n in 0..10 {
            command.env(format!("BIG{n}"), "x".repeat(100_000));
        }
        command.env("BYTES", OsString::from_vec((1..=255).collect()));
    });
    let log = daemon.wait_for_log("Job error output was:");
    let bytes = log.split("Job output was:\n\t").nth(1).unwrap();
    let bytes: usize = bytes.lines().next().unwrap().parse().unwrap();
    assert!((1_000_000..1_002_000).contains(&bytes), "{bytes}");
    daemon.stop();
}

/// A program that cannot be replaced (ETXTBSY) or read as one fails like any other, and is tried again.
fn a_program_that_is_being_written_fails_and_runs_later() {
    let place = Place::new();
    place.script("program", "exit 0");
    let open = fs::File::options()
        .append(true)
        .open(place.path("program"))
        .unwrap();
    let config = format!("{ALONE}{}", job("a", "command: ./program\nmindelay: 0"));
    let daemon = place.daemon(&config);
    daemon.wait_for_log("Job a completed with exit code 126 (could not start: Text file busy)\n");
    drop(open);
    daemon.wait_for_log("Job a completed with exit code 0\n");
    daemon.stop();
}

/// What a daemon with a control socket in its directory answers, and not only after it has done much else. That is
/// told from its own processor time, since a busy machine gives it little of the clock's.
#[track_caller]
fn ask(place: &Place, daemon: &Daemon<'_>, command: &str) -> String {
    let before = daemon.processor_time();
    let output = place.run(&[command, "-s", "socket"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let took = daemon.processor_time().saturating_sub(before);
    assert!(took < Duration::from_secs(5), "{command}: {took:?}");
    crate::common::stdout(&output)
}

#[test]
fn a_job_that_never_stops_printing_starves_nobody() {
    for livelog in ["no", "yes"] {
        let place = Place::new();
        let sendmail = place.sendmail("");
        place.script("job", "yes >&2 &\nexec yes");
        let daemon = place.daemon(&format!(
            "[buildsequencer]\ncontrolsocket: socket\nmailproblemsto: ops@example.com\n{sendmail}\n\
             logfile: {{dir}}/log\nlogkeep: 1\n{}{}",
            job("failure", "command: false\nmindelay: 3600\nstartdelay: 0"),
            job(
                "a",
                &format!("command: ./job\nstartdelay: 0\nlivelog: {livelog}")
            ),
        ));
        crate::common::wait_for_file(&place.path("socket"));
        wait_for("the endless run", || {
            ask(&place, &daemon, "status")
                .contains("RUNNING a")
                .then_some(())
        });
        place.wait_for_mails(1);
        assert!(ask(&place, &daemon, "reload").contains("nothing has changed"));
        let before = daemon.processor_time();
        daemon.signal(Signal::SIGTERM);
        let mut took = Duration::ZERO;
        let status = wait_for("the daemon's end", || {
            took = took.max(daemon.processor_time().saturating_sub(before));
            daemon.ended()
        });
        assert_eq!(status.code(), Some(0));
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn ten_thousand_jobs_run_in_turn_and_can_be_asked_for() {
    let place = Place::new();
    let jobs = (0..10_000).map(|n| {
        let settings = format!("command: true\nmindelay: 3600\nstartdelay: {}", n / 2_000);
        job(&format!("j{n}"), &settings)
    });
    let jobs: String = jobs.collect();
    let daemon = place.daemon(&format!(
        "[buildsequencer]\ncontrolsocket: socket\nstatefile: state\nmetricsfile: m.prom\nlogfile: log\nlogsize: 0\n{jobs}"
    ));
    for n in [100, 200, 300, 400, 500] {
        daemon.wait_for_log(&format!("Running j{n}\n"));
    }
    assert!(ask(&place, &daemon, "status").lines().count() > 10_000);
    assert!(ask(&place, &daemon, "reload").contains("nothing has changed"));
    for n in (600..=1500).step_by(100) {
        daemon.wait_for_log(&format!("Running j{n}\n"));
    }
    let messages = daemon.messages();
    for (n, name) in ran(&messages)[..1500].iter().enumerate() {
        assert_eq!(*name, format!("j{n}"));
    }
    let peak = daemon.peak_memory();
    assert!(peak < 32 << 20, "{} KiB", peak >> 10);
    daemon.stop();
    assert_eq!(place.lines("state").len(), 10_001);
}
