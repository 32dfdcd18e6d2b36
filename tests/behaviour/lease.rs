//! A daemon that works under a lease: it goes on while the lease does, and not a moment longer. The test is who keeps
//! the lease.

use std::time::Duration;

use crate::at_once;
use crate::common::socket::idle_job;
use crate::common::{
    Daemon, Place, Signal, each_at_once, exists, findings, is_running, job, once, place_of, stderr,
    wait_for,
};

const CONFIG: &str =
    "[buildsequencer]\ncontrolsocket: socket\nstatefile: state\nleasefile: lease\n";
const MAIL: &str = "mailproblemsto: ops@example.com\nfromaddress: a@example.com\n";
const OVER: &str = "The lease in lease has run out.";
/// EX_TEMPFAIL (sysexits.h).
const NO_LEASE: i32 = 75;

/// The clock that leases count by: whole seconds since the machine was started.
fn uptime() -> u64 {
    let text = std::fs::read_to_string("/proc/uptime").unwrap();
    text.split('.').next().unwrap().parse().unwrap()
}

/// Gives the lease this many seconds from now, and returns its end.
fn lease(place: &Place, seconds: u64) -> u64 {
    let until = uptime() + seconds;
    place.write("lease", &format!("{until}\n"));
    until
}

fn wait_until(second: u64) {
    wait_for("the end of the lease", || {
        (uptime() >= second).then_some(())
    });
}

#[track_caller]
fn wait_for_loss(daemon: &Daemon<'_>) -> String {
    let status = daemon.wait();
    let log = daemon.log();
    assert_eq!(status.code(), Some(NO_LEASE), "{log}");
    assert_eq!(log.matches("has run out").count(), 1, "{log}");
    log
}

fn without_a_lease_nothing_is_touched() {
    for text in [
        None,
        Some("0\n"),
        Some("1\n"),
        Some("soon\n"),
        Some("-1"),
        Some(""),
    ] {
        let place = Place::new();
        if let Some(text) = text {
            place.write("lease", text);
        }
        let daemon = place.daemon(&format!("{CONFIG}{}", once("a", "touch ran")));
        assert_eq!(wait_for_loss(&daemon).lines().count(), 1, "{text:?}");
        for file in ["ran", "state", ".state.lock", "socket"] {
            assert!(!place.path(file).exists(), "{text:?}: {file}");
        }
    }
}

/// A directory in the file's place, and a FIFO that nobody writes to, are no lease either.
fn what_is_no_file_is_no_lease() {
    let place = Place::new();
    std::fs::create_dir(place.path("lease")).unwrap();
    wait_for_loss(&place.daemon(&format!("{CONFIG}{}", idle_job("a", "true"))));
    let place = Place::new();
    nix::unistd::mkfifo(&place.path("lease"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    wait_for_loss(&place.daemon(&format!("{CONFIG}{}", idle_job("a", "true"))));
}

/// What the job has told of its processes.
fn pids(place: &Place) -> Vec<i32> {
    let lines = place.wait_for_lines("pids", 2);
    lines.iter().map(|line| line.parse().unwrap()).collect()
}

/// Whether the state tells so a while before the lease ends. After a write that a busy disk has taken its time for, the
/// next one is as long in coming as the daemon lets the disk rest.
fn is_recorded(place: &Place, text: &str, until: u64) -> bool {
    wait_for("its record", || {
        let recorded = place.read("state").contains(text);
        (recorded || uptime() + 2 >= until).then_some(recorded)
    })
}

fn at_the_end_run_and_sendmail_are_killed_and_the_state_stays_the_next_hosts() {
    assert!((0..5).any(|_| run_and_sendmail_are_killed_at_the_end()));
}

/// Returns whether the state was recorded in time for that.
fn run_and_sendmail_are_killed_at_the_end() -> bool {
    let place = Place::new();
    let sendmail = place.sendmail("echo $$ >{dir}/sendmails; sleep 60; touch {dir}/sent");
    place.script(
        "stubborn",
        "trap 'touch {dir}/told' TERM\nsleep 60 &\necho $! >>{dir}/pids\necho $$ >>{dir}/pids\nwhile :; do wait; done",
    );
    let until = lease(&place, 12);
    let jobs = once("bad", "sh -c 'exit 3'") + &once("a", "./stubborn");
    let daemon = place.daemon(&format!("{CONFIG}{MAIL}{sendmail}\n{jobs}"));
    let mut processes = pids(&place);
    processes.push(place.wait_for_lines("sendmails", 1)[0].parse().unwrap());
    if !is_recorded(&place, "last=3", until) {
        return false;
    }
    let log = wait_for_loss(&daemon);
    assert!(uptime() >= until, "{log}");
    for pid in processes {
        wait_for("its death", || (!is_running(pid)).then_some(()));
    }
    assert!(!place.path("told").exists(), "SIGTERM was sent");
    assert!(!place.path("sent").exists());
    // It says so at once, and then how things end.
    let messages = daemon.messages();
    let over = place_of(&messages, OVER);
    let killed = "Job a completed with exit code 137 (stopped at shutdown)";
    assert!(over < place_of(&messages, killed), "{log}");
    assert!(log.contains("Subject: Job bad exited with code 3"), "{log}");
    assert!(log.contains("Subject: Job a exited with code 137"), "{log}");
    assert!(log.ends_with("Main loop terminated.\n"), "{log}");
    let state = place.read("state");
    assert!(
        state.contains("last=3") && !state.contains("last=137"),
        "{state}"
    );
    true
}

/// The run's own process has ended when the lease does, and the run waits for the end of its output.
fn at_the_end_what_keeps_a_runs_output_open_is_killed_too() {
    let place = Place::new();
    place.script(
        "parent",
        "sleep 60 &\necho $! >{dir}/pids\nread until <{dir}/lease\n\
         while read up rest </proc/uptime && [ ${up%.*} -lt $((until - 1)) ]; do sleep 0.1; done",
    );
    lease(&place, 12);
    let daemon = place.daemon(&format!("{CONFIG}{}", once("a", "./parent")));
    let pid: i32 = place.wait_for_lines("pids", 1)[0].parse().unwrap();
    let log = wait_for_loss(&daemon);
    wait_for("its death", || (!is_running(pid)).then_some(()));
    assert!(!log.contains("background process"), "{log}");
}

fn a_run_outlives_its_first_lease_if_that_is_extended() {
    let place = Place::new();
    let first = lease(&place, 10);
    place.gated("long", "exit 0");
    let daemon = place.daemon(&format!("{CONFIG}{}", once("a", "./long")));
    place.wait_for_begin();
    let second = lease(&place, 16);
    assert!(second > first);
    wait_until(first + 1);
    lease(&place, 3600);
    wait_until(second + 1);
    place.let_go();
    daemon.wait_for_log("Job a completed with exit code 0");
    let log = daemon.stop();
    assert!(!log.contains("has run out"), "{log}");
}

/// The lease ends while nothing runs, and the next start finds that out.
fn a_job_that_is_due_after_the_end_does_not_start() {
    let place = Place::new();
    lease(&place, 2);
    let later = job("a", "command: touch ran\nstartdelay: 4");
    let daemon = place.daemon(&format!("{CONFIG}{later}"));
    let log = wait_for_loss(&daemon);
    assert!(!log.contains("Running"), "{log}");
    assert!(!place.path("ran").exists());
}

/// Stopped as by a hypervisor or a debugger: what runs on meanwhile is killed once the daemon sees the clock.
fn a_daemon_that_was_stopped_past_the_end_starts_nothing_more() {
    let place = Place::new();
    let until = lease(&place, 10);
    let quick = job("quick", "command: sh -c 'echo >>runs'\nmindelay: 0");
    let daemon = place.daemon(&format!("{CONFIG}{quick}"));
    place.wait_for_lines("runs", 3);
    daemon.signal(Signal::SIGSTOP);
    wait_until(until + 1);
    let before = place.lines("runs").len();
    daemon.signal(Signal::SIGCONT);
    wait_for_loss(&daemon);
    // The run that was there already may have got to its line.
    let after = place.lines("runs").len();
    assert!(after <= before + 1, "{before} and then {after}");
}

fn an_idle_daemon_is_not_woken_by_the_end_and_refuses_what_the_next_host_should_be_asked_for() {
    let commands = ["pause a", "pause", "resume a", "run a", "run --wait a"];
    // Returns whether the state was recorded in time for that.
    let is_refused = |command: &str| {
        let place = Place::new();
        let until = lease(&place, 16);
        let jobs = once("first", "true") + &idle_job("a", "touch ran");
        let daemon = place.daemon(&format!("{CONFIG}{jobs}"));
        // The first run has the timer set; after it and its record there is nothing to do.
        daemon.wait_for_log("Job first completed");
        if !is_recorded(&place, "last=", until - 4) {
            return false;
        }
        let sleeps = wait_for("its rest", || {
            let sleeps = daemon.sleeps();
            std::thread::sleep(Duration::from_millis(1500));
            Some(sleeps).filter(|&before| before == daemon.sleeps())
        });
        place.write("state", "the next host's\n");
        wait_until(until + 1);
        assert_eq!(daemon.sleeps(), sleeps, "it was woken");
        let output = place.ask(command);
        assert_eq!(output.status.code(), Some(1), "{command}");
        let why = "the lease in 'lease' has run out; this daemon ends\n";
        assert_eq!(stderr(&output), why, "{command}");
        wait_for_loss(&daemon);
        assert_eq!(place.read("state"), "the next host's\n", "{command}");
        assert!(!place.path("ran").exists(), "{command}");
        true
    };
    each_at_once(commands, |command| {
        assert!((0..5).any(|_| is_refused(command)), "{command}");
    });
}

fn a_stop_in_order_writes_nothing_over_the_next_hosts_state() {
    let place = Place::new();
    let until = lease(&place, 10);
    let daemon = place.daemon(&format!("{CONFIG}{}", idle_job("a", "true")));
    place.wait_for_lines("state", 1);
    wait_until(until);
    place.write("state", "the next host's\n");
    daemon.signal(Signal::SIGTERM);
    wait_for_loss(&daemon);
    assert_eq!(place.read("state"), "the next host's\n");
}

/// The files that a reload names may be the next host's by now.
fn a_reload_after_the_end_claims_nothing() {
    let place = Place::new();
    let until = lease(&place, 16);
    let jobs = idle_job("a", "true");
    let daemon = place.listening(&format!("{CONFIG}{jobs}"));
    wait_until(until + 1);
    let other = CONFIG.replace("statefile: state", "statefile: other");
    place.write("conf", &format!("{other}{jobs}"));
    assert_eq!(place.ask("reload").status.code(), Some(78));
    wait_for_loss(&daemon);
    assert!(!place.path(".other.lock").exists());
}

pub fn a_lease_is_obeyed() {
    at_once!(
        a_reload_after_the_end_claims_nothing,
        without_a_lease_nothing_is_touched,
        what_is_no_file_is_no_lease,
        at_the_end_run_and_sendmail_are_killed_and_the_state_stays_the_next_hosts,
        at_the_end_what_keeps_a_runs_output_open_is_killed_too,
        a_run_outlives_its_first_lease_if_that_is_extended,
        a_job_that_is_due_after_the_end_does_not_start,
        a_daemon_that_was_stopped_past_the_end_starts_nothing_more,
        an_idle_daemon_is_not_woken_by_the_end_and_refuses_what_the_next_host_should_be_asked_for,
        a_stop_in_order_writes_nothing_over_the_next_hosts_state
    );
}

#[test]
fn a_reload_cannot_change_the_lease() {
    let place = Place::new();
    let until = lease(&place, 3600);
    let jobs = idle_job("a", "true");
    let daemon = place.listening(&format!("{CONFIG}{jobs}"));
    for (leasefile, expected) in [
        ("leasefile: other\n", 1),
        ("", 1),
        ("leasefile: lease\n", 0),
    ] {
        let config = CONFIG.replace("leasefile: lease\n", leasefile);
        place.write("conf", &format!("{config}{jobs}"));
        let output = place.ask("reload");
        assert_eq!(output.status.code(), Some(expected), "{leasefile}");
        let line = "The leasefile stays 'lease': only a restart can change it.\n";
        assert_eq!(stderr(&output).contains(line), expected > 0, "{leasefile}");
        assert!(!daemon.log().contains("Changed"));
    }
    let json: serde_json::Value = serde_json::from_str(&place.told("status --json")).unwrap();
    let left = json["lease_seconds_left"].as_u64().unwrap();
    assert!((1..=until).contains(&left), "{left}");
    daemon.stop();
}

#[test]
fn a_reload_cannot_bring_a_lease() {
    let place = Place::new();
    let jobs = idle_job("a", "true");
    let without = CONFIG.replace("leasefile: lease\n", "");
    let daemon = place.listening(&format!("{without}{jobs}"));
    place.write("conf", &format!("{CONFIG}{jobs}"));
    let output = place.ask("reload");
    let line = "The leasefile is not obeyed: only a restart can change it.\n";
    assert!(stderr(&output).contains(line), "{}", stderr(&output));
    let json: serde_json::Value = serde_json::from_str(&place.told("status --json")).unwrap();
    assert_eq!(json["lease_seconds_left"], serde_json::Value::Null);
    assert!(!place.told("status").contains("LEASE"));
    daemon.stop();
}

#[test]
fn what_is_left_is_shown_by_the_file_as_it_is() {
    let place = Place::new();
    lease(&place, 3600);
    let config = format!("{CONFIG}metricsfile: m.prom\n{}", idle_job("a", "true"));
    let daemon = place.listening(&config);
    lease(&place, 7230);
    assert!(
        place.told("status").contains("LEASE 2h00m left"),
        "{}",
        place.told("status")
    );
    let metric = "\nbuildd_sequencer_lease_seconds ";
    wait_for("the metric", || {
        place.read("m.prom").contains(metric).then_some(())
    });
    // What is shown decides nothing.
    std::fs::remove_file(place.path("lease")).unwrap();
    assert!(place.told("status").contains("LEASE has run out"));
    assert_eq!(place.told("pause a"), "paused a\n");
    daemon.stop();
}

#[test]
fn a_detached_daemon_tells_its_starter() {
    let place = Place::new();
    place.write("conf", &format!("{CONFIG}{}", idle_job("a", "true")));
    let output = place.run(&["-c", "conf", "--daemon"]);
    assert_eq!(output.status.code(), Some(NO_LEASE));
    assert_eq!(stderr(&output), format!("buildd-sequencer: {OVER}\n"));
    assert!(place.read("twistd.log").contains(OVER));
    assert!(!place.path("twistd.pid").exists());
}

#[test]
fn standard_output_is_told_once_with_the_priority_of_an_error() {
    let place = Place::new();
    place.write("conf", &format!("{CONFIG}{}", idle_job("a", "true")));
    let output = place.run(&["-c", "conf"]);
    assert_eq!(output.status.code(), Some(NO_LEASE));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.ends_with(&format!(" [-] {OVER}\n")), "{said}");
    assert_eq!(stderr(&output), "");
    let output = place.run(&["-c", "conf", "--logfile", "log"]);
    assert_eq!(output.status.code(), Some(NO_LEASE));
    assert_eq!(stderr(&output), format!("buildd-sequencer: {OVER}\n"));
}

#[test]
fn programs_are_told_by_an_event_of_its_own() {
    let place = Place::new();
    let config = format!("{CONFIG}logformat: json\n{}", idle_job("a", "true"));
    place.write("conf", &config);
    let output = place.run(&["-c", "conf"]);
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let fields = ["event", "level", "message"].map(|name| told[name].as_str().unwrap());
    assert_eq!(fields, ["lease", "error", OVER]);
}

#[test]
fn check_wants_the_directory_and_warns_of_a_disk() {
    let place = Place::new();
    let check = |leasefile: &str| {
        let config = format!(
            "[buildsequencer]\nleasefile: {leasefile}\n{}",
            idle_job("a", "true")
        );
        place.write("conf", &config);
        place.run(&["check", "-q", "-c", "conf"])
    };
    let output = check("/run/lease");
    assert_eq!(
        (output.status.code(), findings(&output).as_str()),
        (Some(0), "")
    );
    let output = check("{dir}/lease");
    assert_eq!(output.status.code(), Some(0));
    let warning = format!(
        "warning: conf:2: leasefile '{}/lease' is not below /run; ",
        place.dir()
    );
    assert!(
        findings(&output).starts_with(&warning),
        "{}",
        stderr(&output)
    );
    let output = check("/run/nowhere/lease");
    assert_eq!(output.status.code(), Some(78));
    let fault = "conf:2: leasefile: directory '/run/nowhere': No such file or directory\n";
    assert_eq!(findings(&output), fault);
}

/// Nothing reads the file before the time has come, and no run is the shorter for it.
#[test]
fn many_runs_go_by_one_reading() {
    let place = Place::new();
    lease(&place, 3600);
    let quick = job("quick", "command: sh -c 'echo >>runs'\nmindelay: 0");
    let daemon = place.daemon(&format!("{CONFIG}{quick}"));
    place.wait_for_lines("runs", 3);
    std::fs::remove_file(place.path("lease")).unwrap();
    let before = place.lines("runs").len();
    place.wait_for_lines("runs", before + 20);
    assert!(exists(daemon.pid()));
    daemon.stop();
}

#[test]
fn under_one_lease_works_one_daemon_of_a_host() {
    let place = Place::new();
    lease(&place, 3600);
    let jobs = idle_job("a", "true");
    let daemon = place.listening(&format!("{CONFIG}{jobs}"));
    let others = CONFIG
        .replace(": state", ": other")
        .replace("socket: socket", "socket: none");
    place.write("conf", &format!("{others}{jobs}"));
    let output = place.run(&["-c", "conf"]);
    assert_eq!(output.status.code(), Some(1));
    let pid = daemon.pid();
    let held = format!("another instance holds lease file 'lease' (process {pid})\n");
    assert_eq!(stderr(&output), format!("buildd-sequencer: {held}"));
    daemon.stop();
}

/// As if another host that is frozen, or a file server for one that is lost, had kept the lock.
#[test]
fn a_lock_that_outlives_its_hosts_lease_holds_up_nobody() {
    let place = Place::new();
    let jobs = idle_job("a", "true");
    let without = CONFIG.replace("leasefile: lease\n", "");
    let frozen = place.listening(&format!("{without}{jobs}"));
    frozen.signal(Signal::SIGSTOP);
    lease(&place, 3600);
    let config = CONFIG.replace("socket: socket", "socket: none");
    place.write("conf", &format!("{config}{}", once("a", "touch ran")));
    let mut next = place.command();
    next.args(["-c", "conf"]).stdout(place.append_to("next"));
    let mut next = crate::common::spawn(&mut next);
    wait_for("a run", || place.path("ran").exists().then_some(()));
    let pid = frozen.pid();
    let warning = format!(
        "The lease is ours, but another instance holds state file 'state' (process {pid}); going on without that lock.\n"
    );
    wait_for("the warning", || {
        place.read("next").contains(&warning).then_some(())
    });
    next.kill().unwrap();
    next.wait().unwrap();
    frozen.signal(Signal::SIGCONT);
    frozen.stop();
}
