//! systemd's notification protocol, heard on a socket of the test's own. A status line may come at any time and is
//! skipped here.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::at_once;
use crate::common::{LIMIT, PROGRAM, Place, Signal, Within, wait_for};
use nix::time::{ClockId, clock_gettime};

const QUIET: &str = "[buildsequencer]\ncontrolsocket: none\n[buildsequencer_job.quiet]\n\
                     command: true\nmindelay: 1h\n";
const BUSY: &str = "[buildsequencer]\ncontrolsocket: none\n[buildsequencer_job.busy]\n\
                    command: sh -c 'echo ran >>ran'\nmindelay: 0.01\nstartdelay: 0\n";

/// The supervisor's end.
struct Supervisor {
    socket: UnixDatagram,
    name: String,
}

impl Supervisor {
    fn at_path(place: &Place) -> Supervisor {
        let path = place.path("notify");
        let name = path.to_str().unwrap().to_string();
        let socket = UnixDatagram::bind(path).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Supervisor { socket, name }
    }

    fn abstract_name() -> Supervisor {
        let name = format!("buildd-sequencer-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        let name = format!("@{name}");
        Supervisor { socket, name }
    }

    fn tell(&self, command: &mut Command) {
        command.env("NOTIFY_SOCKET", &self.name);
    }

    /// The next datagram.
    #[track_caller]
    fn hears_anything(&self) -> String {
        let mut buffer = [0; 4096];
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => return String::from_utf8(buffer[..length].to_vec()).unwrap(),
                // A wait with a limit is not taken up again by the system (signal(7)).
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => panic!("no message in time: {error}"),
            }
        }
    }

    /// The next datagram that is not about status.
    #[track_caller]
    fn hears(&self) -> String {
        loop {
            let message = self.hears_anything();
            if !message.starts_with("STATUS=") {
                return message;
            }
        }
    }

    /// All datagrams that have come so far.
    fn has_heard(&self) -> Vec<String> {
        self.socket.set_nonblocking(true).unwrap();
        let mut buffer = [0; 4096];
        let mut all = Vec::new();
        loop {
            match self.socket.recv(&mut buffer) {
                Ok(length) => all.push(String::from_utf8(buffer[..length].to_vec()).unwrap()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        self.socket.set_nonblocking(false).unwrap();
        all
    }
}

fn monotonic_microseconds() -> u128 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).unwrap();
    Duration::from(now).as_micros()
}

fn is_ready_and_stops(supervisor: &Supervisor, place: &Place) {
    let daemon = place.daemon_with(QUIET, |command| supervisor.tell(command));
    assert_eq!(supervisor.hears(), "READY=1");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(supervisor.hears(), "STOPPING=1");
    assert_eq!(daemon.wait().code(), Some(0));
}

pub fn the_supervisor_waits() {
    at_once!(
        signs_of_life_come_at_half_of_the_interval_also_during_a_run,
        a_drain_is_told_once_the_run_has_ended_and_not_before,
        an_address_of_nobody_is_no_reason_not_to_start
    );
}

#[test]
fn ready_and_stopping_are_told_to_a_socket_with_a_path() {
    let place = Place::new();
    is_ready_and_stops(&Supervisor::at_path(&place), &place);
}

#[test]
fn ready_and_stopping_are_told_to_an_abstract_socket() {
    let place = Place::new();
    is_ready_and_stops(&Supervisor::abstract_name(), &place);
}

#[test]
fn it_is_not_ready_when_it_cannot_start() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let daemon = place.daemon_with("nonsense", |command| supervisor.tell(command));
    assert_eq!(daemon.wait().code(), Some(78));
    assert_eq!(supervisor.has_heard(), [""; 0]);
}

const LONG: &str = "command: sh -c 'until test -e go; do sleep 0.02; done'\nstartdelay: 0";

/// systemd ends a service that has said STOPPING and takes longer than TimeoutStopSec.
fn a_drain_is_told_once_the_run_has_ended_and_not_before() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let config = QUIET.replace("command: true", LONG);
    let daemon = place.daemon_with(&config, |command| supervisor.tell(command));
    assert_eq!(supervisor.hears(), "READY=1");
    daemon.wait_for_log("Running quiet");
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_for_log("Received SIGQUIT, draining");
    let status = wait_for("a status", || {
        let all = supervisor.has_heard();
        assert!(!all.contains(&"STOPPING=1".to_string()), "{all:?}");
        all.into_iter()
            .find(|message| message.ends_with(", draining"))
    });
    assert!(status.starts_with("STATUS=Running quiet (pid "), "{status}");
    // Who asks for a reload now is told that it is over, and that is not the daemon's end.
    let asked_at = monotonic_microseconds();
    daemon.signal(Signal::SIGHUP);
    hears_a_reload(&supervisor, asked_at);
    daemon.wait_for_log("Configuration not reloaded: the daemon stops.");
    place.write("go", "");
    assert_eq!(daemon.wait().code(), Some(0));
    let all = supervisor.has_heard();
    assert_eq!(
        all.iter()
            .filter(|message| *message == "STOPPING=1")
            .count(),
        1,
        "{all:?}"
    );
}

#[test]
fn a_stop_during_a_drain_is_told_at_once_and_only_once() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let config = QUIET.replace("command: true", LONG);
    let daemon = place.daemon_with(&config, |command| supervisor.tell(command));
    assert_eq!(supervisor.hears(), "READY=1");
    daemon.wait_for_log("Running quiet");
    daemon.signal(Signal::SIGQUIT);
    daemon.wait_for_log("Received SIGQUIT, draining");
    let log = daemon.stop();
    assert!(log.contains("completed with exit code 143 (stopped at shutdown)"));
    let all = supervisor.has_heard();
    assert_eq!(
        all.iter()
            .filter(|message| *message == "STOPPING=1")
            .count(),
        1,
        "{all:?}"
    );
}

#[test]
fn a_hangup_during_the_stop_is_no_news_for_the_supervisor() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let config = QUIET.replace("command: true", LONG);
    let config = config.replace("controlsocket: none", "controlsocket: none\nstopdelay: 60");
    let daemon = place.daemon_with(&config, |command| supervisor.tell(command));
    assert_eq!(supervisor.hears(), "READY=1");
    daemon.wait_for_log("Running quiet");
    daemon.signal(Signal::SIGTERM);
    assert_eq!(supervisor.hears(), "STOPPING=1");
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Configuration not reloaded: the daemon stops.");
    place.write("go", "");
    assert_eq!(daemon.wait().code(), Some(0));
    let all = supervisor.has_heard();
    assert!(
        all.iter().all(|message| message.starts_with("STATUS=")),
        "{all:?}"
    );
}

/// One datagram with both lines, or systemd takes it for a reload of unknown age.
#[track_caller]
fn hears_a_reload(supervisor: &Supervisor, asked_at: u128) {
    let message = supervisor.hears();
    let time = message
        .strip_prefix("RELOADING=1\nMONOTONIC_USEC=")
        .unwrap_or_else(|| panic!("{message:?}"));
    let time: u128 = time.parse().unwrap();
    assert!((asked_at..=monotonic_microseconds()).contains(&time));
    assert_eq!(supervisor.hears(), "READY=1");
}

#[test]
fn a_reload_is_told_with_its_time_and_its_end_also_when_it_is_refused() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let daemon = place.daemon_with(QUIET, |command| supervisor.tell(command));
    assert_eq!(supervisor.hears(), "READY=1");
    for (config, outcome) in [
        (QUIET.to_string(), "Configuration reloaded"),
        ("nonsense".to_string(), "Configuration not reloaded"),
        (QUIET.replace("1h", "2h"), "Configuration reloaded"),
    ] {
        place.write("conf", &config);
        let asked_at = monotonic_microseconds();
        daemon.signal(Signal::SIGHUP);
        hears_a_reload(&supervisor, asked_at);
        daemon.wait_for_log(outcome);
    }
    daemon.stop();
    assert_eq!(supervisor.hears(), "STOPPING=1");
}

fn signs_of_life_come_at_half_of_the_interval_also_during_a_run() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let config = QUIET.replace("command: true", "command: sleep 600\nstartdelay: 0");
    let interval = Duration::from_secs(4);
    let begun = Instant::now();
    let daemon = place.daemon_with(&config, |command| {
        supervisor.tell(command);
        command.env("WATCHDOG_USEC", interval.as_micros().to_string());
    });
    assert_eq!(supervisor.hears(), "READY=1");
    daemon.wait_for_log("Running quiet");
    assert_eq!(supervisor.hears(), "WATCHDOG=1");
    let mut in_time = Within::seconds(0.95 * interval.as_secs_f64());
    assert_eq!(supervisor.hears(), "WATCHDOG=1");
    in_time.is_kept();
    let took = begun.elapsed();
    assert!(took >= interval / 2, "too often: {took:?}");
}

#[test]
fn a_watchdog_for_another_process_is_not_ours() {
    let place = Place::new();
    for (prefix, expected) in [
        ("WATCHDOG_PID=$$ WATCHDOG_USEC=2000", true),
        ("WATCHDOG_USEC=2000", true),
        ("WATCHDOG_PID=1 WATCHDOG_USEC=2000", false),
        ("WATCHDOG_PID=x WATCHDOG_USEC=2000", false),
        ("WATCHDOG_USEC=0", false),
        ("WATCHDOG_USEC=-1", false),
        ("WATCHDOG_USEC=", false),
    ] {
        let supervisor = Supervisor::at_path(&place);
        let script = format!("{prefix} exec \"$0\" -c conf");
        let daemon = place.daemon_with(BUSY, |command| {
            *command = Command::new("sh");
            command.args(["-c", &script, PROGRAM]);
            command.current_dir(place.dir()).stdout(Stdio::null());
            supervisor.tell(command);
        });
        let before = place.lines("ran").len();
        place.wait_for_lines("ran", before + 5);
        daemon.stop();
        let alive = supervisor
            .has_heard()
            .iter()
            .any(|message| message == "WATCHDOG=1");
        assert_eq!(alive, expected, "{prefix}");
        std::fs::remove_file(place.path("notify")).unwrap();
    }
}

#[test]
fn neither_jobs_nor_sendmail_see_what_is_for_the_daemon() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let sendmail = place.sendmail("env >{dir}/environment-of-sendmail");
    let config = format!(
        "[buildsequencer]\ncontrolsocket: none\nmailproblemsto: ops@example.com\n{sendmail}\n\
         [buildsequencer_job.env]\ncommand: sh -c 'env >environment-of-job; exit 1'\n\
         mindelay: 1h\nstartdelay: 0\n"
    );
    let daemon = place.daemon_with(&config, |command| {
        supervisor.tell(command);
        command
            .env("WATCHDOG_USEC", "60000000")
            .env("LISTEN_FDS", "0")
            .env("LISTEN_PID", "1")
            .env("LISTEN_FDNAMES", "")
            .env("LISTEN_PIDFDID", "1")
            .env("JOURNAL_STREAM", "1:2")
            .env("LISTENER", "stays");
    });
    assert_eq!(supervisor.hears(), "READY=1");
    place.wait_for_mails(1);
    daemon.stop();
    for name in ["environment-of-job", "environment-of-sendmail"] {
        let lines = place.wait_for_lines(name, 1);
        for private in ["NOTIFY_", "WATCHDOG_", "LISTEN_", "JOURNAL_", "BUILDD_"] {
            assert!(
                !lines.iter().any(|line| line.starts_with(private)),
                "{name}: {lines:?}"
            );
        }
        assert!(lines.contains(&"LISTENER=stays".to_string()), "{lines:?}");
    }
}

/// Says something until nobody can say anything more.
fn fill(address: &str) {
    loop {
        let socket = UnixDatagram::unbound().unwrap();
        socket.set_nonblocking(true).unwrap();
        if socket.send_to(b"FULL=1", address).is_err() {
            return;
        }
        while socket.send_to(b"FULL=1", address).is_ok() {}
    }
}

#[test]
fn a_full_socket_never_holds_up_the_jobs() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    fill(&supervisor.name);
    let daemon = place.daemon_with(BUSY, |command| {
        supervisor.tell(command);
        command.env("WATCHDOG_USEC", "1000");
    });
    place.wait_for_lines("ran", 20);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Configuration reloaded");
    let ran = place.lines("ran").len();
    place.wait_for_lines("ran", ran + 20);
    // What is read at last has not been forgotten.
    while supervisor.hears() != "READY=1" {}
    daemon.stop();
}

#[test]
fn a_socket_that_vanishes_never_holds_up_the_jobs() {
    let place = Place::new();
    let supervisor = Supervisor::at_path(&place);
    let daemon = place.daemon_with(BUSY, |command| {
        supervisor.tell(command);
        command.env("WATCHDOG_USEC", "1000");
    });
    assert_eq!(supervisor.hears(), "READY=1");
    drop(supervisor);
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Configuration reloaded");
    let ran = place.lines("ran").len();
    place.wait_for_lines("ran", ran + 20);
    std::fs::remove_file(place.path("notify")).unwrap();
    let ran = place.lines("ran").len();
    place.wait_for_lines("ran", ran + 20);
    daemon.stop();
}

fn an_address_of_nobody_is_no_reason_not_to_start() {
    let place = Place::new();
    for address in ["", "nonsense", "@", "/", "/nonexistent/socket", "vsock:2:1"] {
        let daemon = place.daemon_with(BUSY, |command| {
            command
                .env("NOTIFY_SOCKET", address)
                .env("WATCHDOG_USEC", "1000");
        });
        let ran = place.lines("ran").len();
        place.wait_for_lines("ran", ran + 2);
        daemon.stop();
    }
}
