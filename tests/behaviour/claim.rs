//! One daemon for each state file: the lock, who waits for it, and what a reload does with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::common::{Daemon, Place, Signal, exists, job, stderr, stdout, wait_for};

/// A daemon's configuration with this state file and this socket, each in the place's directory.
fn config(state: &str, socket: &str) -> String {
    format!(
        "[buildsequencer]\nstatefile: {state}\ncontrolsocket: {socket}\n{}",
        job("a", "command: true\nmindelay: 1h")
    )
}

/// A daemon whose log and socket are called `name`.
#[track_caller]
fn start<'a>(place: &'a Place, name: &str, state: &str) -> Daemon<'a> {
    let config = config(state, &format!("{name}.socket"));
    let daemon = place.daemon_with(&config, |command| {
        command.stdout(place.append_to(&format!("{name}.log")));
    });
    wait_for("it to work", || {
        let ended = daemon.ended();
        assert_eq!(ended, None, "{}", place.read("stderr"));
        let log = place.read(&format!("{name}.log"));
        log.contains("Scheduling a").then_some(())
    });
    daemon
}

/// A second daemon that is refused: status 1 and one line that names file and holder.
#[track_caller]
fn assert_refused(place: &Place, state: &str, holder: &Daemon<'_>) {
    place.write("conf", &config(state, "none"));
    let output = place.run(&["-c", "conf"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(stdout(&output), "", "nothing was started");
    assert_eq!(
        said,
        format!(
            "buildd-sequencer: another instance holds state file '{state}' (process {})\n",
            holder.pid()
        )
    );
}

#[test]
fn two_daemons_do_not_share_a_state_file() {
    let place = Place::new();
    let first = start(&place, "first", "state");
    assert_refused(&place, "state", &first);
    // A link to the directory is another name of the same file.
    fs::create_dir(place.path("elsewhere")).unwrap();
    std::os::unix::fs::symlink("..", place.path("elsewhere/back")).unwrap();
    assert_refused(&place, "elsewhere/back/state", &first);
    first.signal(Signal::SIGTERM);
    assert_eq!(first.wait().code(), Some(0));
    start(&place, "second", "state").stop_with(Signal::SIGTERM);
}

#[test]
fn the_lock_stays_and_is_its_owners_alone_whatever_the_mask() {
    let place = Place::new();
    for mask in [0o000, 0o277] {
        let shell = format!("umask {mask:03o}");
        let daemon = place.daemon_after(&shell, &config("state", "none"), |_| {});
        daemon.wait_for_log("Scheduling a");
        let mode = || {
            fs::metadata(place.path(".state.lock"))
                .unwrap()
                .permissions()
                .mode()
                & 0o7777
        };
        assert_eq!(mode(), 0o600);
        daemon.stop();
        assert_eq!(mode(), 0o600);
        fs::remove_file(place.path("log")).unwrap();
    }
}

/// What scripts do to restart, with a job that takes its time.
#[test]
fn a_start_waits_for_the_daemon_that_stops() {
    for end in [None, Some(Signal::SIGTERM)] {
        let place = Place::new();
        place.script(
            "stubborn",
            "trap '' TERM; echo >{dir}/begun; until test -e {dir}/go; do sleep 0.02; done",
        );
        let stubborn = job("a", "command: ./stubborn\nstartdelay: 0\nkilldelay: 1h");
        let first = place.daemon(&format!(
            "[buildsequencer]\nstatefile: state\ncontrolsocket: none\n{stubborn}"
        ));
        place.wait_for_begin();
        first.signal(Signal::SIGTERM);
        first.wait_for_log("Received SIGTERM");
        let second = place.daemon_with(&config("state", "none"), |command| {
            command.stdout(place.append_to("next"));
        });
        let lock = fs::canonicalize(place.path(".state.lock")).unwrap();
        wait_for("it to look at the lock", || {
            assert_eq!(second.ended(), None, "{}", place.read("stderr"));
            let open = fs::read_dir(format!("/proc/{}/fd", second.pid())).unwrap();
            open.map(|entry| fs::read_link(entry.unwrap().path()))
                .any(|link| link.is_ok_and(|path| path == lock))
                .then_some(())
        });
        assert!(exists(first.pid()));
        assert_eq!(place.read("next"), "", "it has not begun");
        if let Some(signal) = end {
            second.signal(signal);
            assert_eq!(second.wait().code(), Some(0));
            assert_eq!(place.read("next"), "", "it has not begun");
        }
        place.let_go();
        assert_eq!(first.wait().code(), Some(0));
        if end.is_none() {
            wait_for("the second daemon to work", || {
                place.read("next").contains("Scheduling a").then_some(())
            });
        }
    }
}

#[test]
fn a_lock_that_cannot_be_had_is_one_warning() {
    let place = Place::new();
    fs::create_dir(place.path(".state.lock")).unwrap();
    let daemon = place.daemon(&config("state", "none"));
    let log = daemon.wait_for_log("Scheduling a");
    let warning = "State file 'state': nothing keeps another daemon from using it, because '.state.lock' \
                   cannot be locked: Is a directory.";
    assert_eq!(log.matches(warning).count(), 1, "{log}");
    daemon.stop();
    assert!(place.path("state").exists());
    let check = place.run(&["check", "-c", "conf"]);
    let said = stderr(&check);
    assert_eq!(check.status.code(), Some(0), "{said}");
    let warning = format!("warning: conf:2: {}\n", warning.trim_end_matches('.'));
    assert_eq!(said.matches(&warning).count(), 1, "{said}");
}

#[test]
fn a_reload_claims_the_new_file_and_lets_the_old_one_go() {
    let place = Place::new();
    let first = start(&place, "first", "state");
    place.write("conf", &config("moved", "first.socket"));
    let output = place.run(&["reload", "-s", "first.socket"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    wait_for("the state in its new place", || {
        place.path("moved").exists().then_some(())
    });
    assert_refused(&place, "moved", &first);
    let second = start(&place, "second", "state");
    // Another name of the same file is no other daemon's.
    place.write("conf", &config("./moved", "first.socket"));
    let output = place.run(&["reload", "-s", "first.socket"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_refused(&place, "moved", &first);

    place.write("conf", &config("state", "first.socket"));
    let output = place.run(&["reload", "-s", "first.socket"]);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!(output.status.code(), Some(1), "a part is not in force");
    let why = format!(
        "Cannot change the state file: another instance holds state file 'state' (process {}); the state stays in \
         './moved'.",
        second.pid()
    );
    assert!(said.contains(&why), "{said}");
    assert_refused(&place, "moved", &first);
    // It is tried again, and then it can be had.
    second.signal(Signal::SIGTERM);
    second.wait();
    place.write("conf", &config("state", "first.socket"));
    let output = place.run(&["reload", "-s", "first.socket"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_refused(&place, "state", &first);
    first.signal(Signal::SIGTERM);
    first.wait();
}

#[test]
fn check_takes_no_lock() {
    let place = Place::new();
    let first = start(&place, "first", "state");
    let output = place.run(&["check", "-c", "conf"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    first.signal(Signal::SIGTERM);
    first.wait();
    fs::remove_file(place.path(".state.lock")).unwrap();
    place.run(&["check", "-c", "conf"]);
    assert!(!place.path(".state.lock").exists());
}
