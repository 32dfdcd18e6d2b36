//! The pid file: who holds it, when it is stale, who waits for it, and what is left of it at the end.

use std::fs::{self, File};
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, Flock, FlockArg, OFlag, fcntl, open};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

use crate::at_once;
use crate::common::{
    ALONE, Daemon, Pid, Place, Signal, exists, job, pipe, spawn, stderr, wait_for,
};

fn config() -> String {
    format!("{ALONE}{}", job("a", "command: true\nmindelay: 0.05"))
}

/// A daemon that has taken the pid file `pid` and works.
#[track_caller]
fn holder(place: &Place) -> Daemon<'_> {
    let daemon = place.daemon_with(&config(), |command| {
        command.args(["--pidfile", "pid"]);
    });
    wait_for("the pid file", || {
        let ended = daemon.ended();
        assert_eq!(ended, None, "{}", place.read("stderr"));
        (place.read("pid") == format!("{}\n", daemon.pid())).then_some(())
    });
    daemon.wait_for_log("Running a");
    daemon
}

/// A second daemon that is refused: status 1 and one line that names file and holder.
#[track_caller]
fn assert_refused(place: &Place, holder: &str) {
    place.write("conf", &config());
    let output = place.run(&["-c", "conf", "--pidfile", "pid"]);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(crate::common::stdout(&output), "", "nothing was started");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("another instance holds pid file"), "{said}");
    assert!(said.contains("/pid'") && said.contains(holder), "{said}");
}

pub fn starts_that_wait() {
    at_once!(
        a_running_twistd_holds_the_file_without_a_lock,
        another_programs_write_lock_holds_the_file,
        a_number_of_somebody_else_or_of_nobody_is_stale
    );
}

#[test]
fn a_daemon_started_twice_runs_once() {
    let place = Place::new();
    let daemon = holder(&place);
    let pid = daemon.pid().to_string();
    assert_refused(&place, &pid);
    // The refused one has touched neither the file nor the first.
    assert_eq!(place.read("pid"), format!("{pid}\n"));
    let runs = daemon.log().matches("Running a").count();
    daemon.wait_for_log_times("Running a", runs + 2);
    assert_refused(&place, &pid);
    daemon.stop();
}

#[test]
fn the_file_is_gone_after_every_kind_of_clean_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let place = Place::new();
        let daemon = holder(&place);
        daemon.stop_with(signal);
        assert!(!place.path("pid").exists());
    }
}

#[test]
fn the_lock_holds_whatever_the_file_says() {
    let place = Place::new();
    let daemon = holder(&place);
    for text in ["", "nonsense\n", "1\n"] {
        fs::write(place.path("pid"), text).unwrap();
        assert_refused(&place, "");
    }
    daemon.stop();
}

#[test]
fn what_a_killed_daemon_left_is_stale() {
    let place = Place::new();
    let daemon = holder(&place);
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    assert!(place.path("pid").exists());
    let next = holder(&place);
    next.stop();
    assert!(!place.path("pid").exists());
}

fn a_number_of_somebody_else_or_of_nobody_is_stale() {
    let own = std::process::id().to_string();
    for stale in [
        own.as_str(),
        "1\n",
        "4194305",
        "",
        "twistd",
        "-5",
        "0",
        "12 34",
        "\0\0\0",
    ] {
        let place = Place::new();
        fs::write(place.path("pid"), stale).unwrap();
        holder(&place).stop();
        assert!(!place.path("pid").exists(), "{stale:?}");
    }
}

/// A process called twistd that ends as soon as nobody can write to its standard input, and does `at_last` then.
fn twistd(place: &Place, at_last: &str) -> (Child, File) {
    place.script("twistd", &format!("read line; {at_last}"));
    let (input, keeps_it_running) = pipe();
    let mut command = Command::new(place.path("twistd"));
    command.current_dir(place.path(""));
    command.stdin(input).stdout(Stdio::null());
    let twistd = spawn(&mut command);
    // A process that is being started has no command line for a moment.
    wait_for("its command line", || {
        let words = fs::read(format!("/proc/{}/cmdline", twistd.id())).unwrap();
        (!words.is_empty()).then_some(())
    });
    (twistd, keeps_it_running)
}

fn a_running_twistd_holds_the_file_without_a_lock() {
    let place = Place::new();
    let (mut twistd, keeps_it_running) = twistd(&place, "true");
    let pid = twistd.id().to_string();
    fs::write(place.path("pid"), &pid).unwrap();
    assert_refused(&place, &pid);
    assert_eq!(place.read("pid"), pid);
    drop(keeps_it_running);
    twistd.wait().unwrap();
    holder(&place).stop();
}

/// Its own stop script has sent SIGTERM a moment ago, and it locks nothing that would say so.
#[test]
fn a_twistd_that_ends_is_waited_for() {
    let place = Place::new();
    let (mut twistd, keeps_it_running) = twistd(&place, "rm pid");
    fs::write(place.path("pid"), twistd.id().to_string()).unwrap();
    let daemon = waiting(&place);
    drop(keeps_it_running);
    twistd.wait().unwrap();
    wait_for("the daemon to work", || {
        assert_eq!(daemon.ended(), None, "{}", place.read("stderr"));
        place.read("next").contains("Running a").then_some(())
    });
    assert_eq!(place.read("pid"), format!("{}\n", daemon.pid()));
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
}

#[test]
fn a_running_sequencer_holds_the_file_without_a_lock() {
    let other = Place::new();
    let running = other.daemon(&config());
    running.wait_for_log("Running a");
    let place = Place::new();
    let pid = running.pid().to_string();
    fs::write(place.path("pid"), &pid).unwrap();
    assert_refused(&place, &pid);
    running.stop();
    holder(&place).stop();
}

#[test]
fn without_the_option_there_is_no_file() {
    let place = Place::new();
    let daemon = place.daemon(&config());
    daemon.wait_for_log("Running a");
    let mut names: Vec<_> = fs::read_dir(place.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["conf", "log", "stderr"]);
    daemon.stop();
}

#[test]
fn a_relative_name_counts_from_where_the_daemon_was_started() {
    let place = Place::new();
    place.write("run/marker", "");
    let daemon = place.daemon_with(&config(), |command| {
        command.args(["--pidfile", "pid", "-d", "run"]);
    });
    daemon.wait_for_log("Running a");
    assert_eq!(place.read("pid"), format!("{}\n", daemon.pid()));
    daemon.stop();
    assert!(!place.path("pid").exists());
}

#[test]
fn what_is_no_regular_file_is_not_even_opened() {
    let place = Place::new();
    place.write("conf", &config());
    let path = place.path("pipe");
    mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    let flags = OFlag::O_RDONLY | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let reader = open(&path, flags, Mode::empty()).unwrap();
    let output = place.run(&["-c", "conf", "--pidfile", "pipe"]);
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    // A pipe whose writer has gone would have hung up.
    let mut waiting = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
    assert_eq!(poll(&mut waiting, PollTimeout::ZERO), Ok(0), "{waiting:?}");
}

#[test]
fn a_file_that_cannot_be_written_ends_the_start_with_status_1() {
    let place = Place::new();
    place.write("conf", &config());
    place.write("plain", "");
    for (path, why) in [
        ("no/such/pid", "No such file or directory"),
        ("plain/pid", "Not a directory"),
        (".", "Is a directory"),
        ("/dev/full", "Invalid argument"),
    ] {
        let output = place.run(&["-c", "conf", "--pidfile", path]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert_eq!(crate::common::stdout(&output), "", "nothing was started");
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(
            said.contains("pid file '") && said.contains(path.trim_start_matches('.')),
            "{said}"
        );
        assert!(said.trim_end().ends_with(why), "{said}");
    }
}

/// As on a full disk: an empty file would look like a daemon's to who looks for the file alone.
#[test]
fn a_number_that_cannot_be_written_leaves_no_file() {
    let place = Place::new();
    let shell = "ulimit -f 0; exec 1>/dev/null 2>/dev/null";
    let daemon = place.daemon_after(shell, &config(), |command| {
        command.args(["--pidfile", "pid"]);
    });
    assert_eq!(daemon.wait().code(), Some(1));
    assert!(!place.path("pid").exists());
}

#[test]
fn where_the_directory_refuses_the_file_is_emptied() {
    let place = Place::public();
    place.write("run/pid", "");
    place.give_away("run/pid");
    fs::set_permissions(place.path("run"), fs::Permissions::from_mode(0o555)).unwrap();
    let daemon = place.daemon_by(place.command_without_rights(), &config(), |command| {
        command.args(["--pidfile", "run/pid"]);
    });
    daemon.wait_for_log("Running a");
    assert_eq!(place.read("run/pid"), format!("{}\n", daemon.pid()));
    daemon.stop();
    assert_eq!(place.read("run/pid"), "");
    assert!(place.path("run/pid").exists());
}

/// A lock lives as long as any process has its file open, so jobs must not get it.
#[test]
fn what_a_job_leaves_behind_does_not_hold_the_file() {
    let place = Place::new();
    place.script("job", "sleep 60 >/dev/null 2>&1 & echo $! >{dir}/left");
    place.write(
        "conf",
        &format!(
            "{ALONE}{}",
            job("a", "command: ./job\nmindelay: 3600\nstartdelay: 0")
        ),
    );
    let daemon = place.daemon_with(&place.read("conf"), |command| {
        command.args(["--pidfile", "pid"]);
    });
    daemon.wait_for_log("Job a completed");
    daemon.signal(Signal::SIGKILL);
    daemon.wait();
    holder(&place).stop();
    let left = crate::common::Pid::from_raw(place.read("left").trim().parse().unwrap());
    nix::sys::signal::kill(left, Signal::SIGKILL).unwrap();
}

/// Somebody has removed the file and another daemon has taken the name since: it is not ours to remove.
#[test]
fn a_file_that_is_no_longer_ours_stays() {
    let place = Place::new();
    let first = holder(&place);
    fs::remove_file(place.path("pid")).unwrap();
    let second = holder(&place);
    first.stop();
    assert_eq!(place.read("pid"), format!("{}\n", second.pid()));
    second.stop();
}

/// A daemon with the pid file `pid` whose only job lets nothing but SIGKILL end it before it is let go.
#[track_caller]
fn stubborn(place: &Place) -> Daemon<'_> {
    place.script(
        "stubborn",
        "trap '' TERM; echo >{dir}/begun; until test -e {dir}/go; do sleep 0.02; done",
    );
    let stubborn = job(
        "stubborn",
        "command: ./stubborn\nstartdelay: 0\nmindelay: 0\nkilldelay: 1h",
    );
    let daemon = place.daemon_with(&format!("{ALONE}{stubborn}"), |command| {
        command.args(["--pidfile", "pid"]);
    });
    place.wait_for_begin();
    daemon
}

/// A start that finds another daemon stopping, and waits.
#[track_caller]
fn waiting(place: &Place) -> Daemon<'_> {
    let daemon = place.daemon_with(&config(), |command| {
        let next = place.append_to("next");
        command.args(["--pidfile", "pid"]).stdout(next);
    });
    wait_for_look(place, &daemon, daemon.pid());
    daemon
}

/// Waits until this process, the daemon or its child, has opened the pid file.
#[track_caller]
fn wait_for_look(place: &Place, daemon: &Daemon<'_>, pid: Pid) {
    let pidfile = fs::canonicalize(place.path("pid")).unwrap();
    wait_for("it to look at the pid file", || {
        let ended = daemon.ended();
        assert_eq!(ended, None, "{}", place.read("stderr"));
        let open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?;
        open.map(|entry| fs::read_link(entry.unwrap().path()))
            .any(|link| link.is_ok_and(|path| path == pidfile))
            .then_some(())
    });
}

/// What scripts do to restart: SIGTERM, a moment, and the next start, however long the job takes to end.
#[test]
fn a_start_waits_for_the_daemon_that_stops() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let place = Place::new();
        let first = stubborn(&place);
        first.signal(signal);
        first.wait_for_log("Received SIG");
        let second = waiting(&place);
        assert!(exists(first.pid()));
        assert_eq!(place.read("next"), "", "{signal}: it has not begun");
        assert_eq!(place.read("pid"), format!("{}\n", first.pid()));
        place.let_go();
        assert_eq!(first.wait().code(), Some(0));
        wait_for("the second daemon's first run", || {
            place.read("next").contains("Running a").then_some(())
        });
        assert_eq!(place.read("pid"), format!("{}\n", second.pid()));
        assert_refused(&place, &second.pid().to_string());
        second.signal(Signal::SIGTERM);
        second.wait();
        assert!(!place.path("pid").exists());
    }
}

#[test]
fn a_signal_ends_the_wait() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGQUIT] {
        let place = Place::new();
        let first = stubborn(&place);
        first.signal(Signal::SIGTERM);
        first.wait_for_log("Received SIGTERM");
        let second = waiting(&place);
        // Kept for later, as at any time before the start is complete.
        second.signal(Signal::SIGHUP);
        second.signal(signal);
        assert_eq!(second.wait().code(), Some(0), "{signal}");
        assert_eq!(place.read("next"), "", "{signal}: it has not begun");
        assert_eq!(place.read("pid"), format!("{}\n", first.pid()));
        place.let_go();
        first.wait();
    }
}

/// The daemon is in a session of its own, where a Control-C does not reach it.
#[test]
fn a_signal_to_the_parent_of_a_detached_daemon_ends_the_wait_too() {
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let place = Place::new();
        let first = stubborn(&place);
        first.signal(Signal::SIGTERM);
        first.wait_for_log("Received SIGTERM");
        let parent = place.daemon_with(&config(), |command| {
            command.args(["--daemon", "--pidfile", "pid", "--logfile", "next"]);
        });
        let second = wait_for("the daemon", || parent.children().first().copied());
        wait_for_look(&place, &parent, second);
        parent.signal(signal);
        assert_eq!(parent.wait().code(), Some(0), "{signal}");
        assert!(!exists(second), "{signal}: it has gone");
        assert!(!place.path("next").exists(), "{signal}: it has not begun");
        assert_eq!(place.read("pid"), format!("{}\n", first.pid()));
        place.let_go();
        first.wait();
    }
}

#[track_caller]
fn lock(file: &File, kind: i32) {
    let wanted = libc::flock {
        l_type: kind as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: 0,
        l_len: 0,
        l_pid: 0,
    };
    fcntl(file.as_fd(), FcntlArg::F_OFD_SETLK(&wanted)).unwrap();
}

/// Anybody who may read the file can have such a lock, and would keep every daemon from starting.
#[test]
fn the_locks_of_somebody_who_may_read_the_file_are_no_hindrance() {
    let place = Place::new();
    for kind in ["read lock", "flock"] {
        place.write("pid", "");
        let file = File::open(place.path("pid")).unwrap();
        let inode = file.metadata().unwrap().ino();
        let _locked = if kind == "flock" {
            Some(Flock::lock(file, FlockArg::LockExclusiveNonblock).unwrap())
        } else {
            lock(&file, libc::F_RDLCK);
            let daemon = holder(&place);
            assert_ne!(fs::metadata(place.path("pid")).unwrap().ino(), inode);
            daemon.stop();
            None
        };
        holder(&place).stop();
    }
}

fn another_programs_write_lock_holds_the_file() {
    let place = Place::new();
    place.write("pid", "77\n");
    let file = File::options().write(true).open(place.path("pid")).unwrap();
    lock(&file, libc::F_WRLCK);
    assert_refused(&place, "(process 77)");
    assert_eq!(place.read("pid"), "77\n");
}

#[test]
fn a_program_that_only_names_a_daemon_does_not_hold_the_file() {
    let place = Place::new();
    for words in [
        ["grep", "twistd"],
        ["less", "twistd"],
        ["vi", "buildd-sequencer"],
    ] {
        place.script(words[1], "read line");
        let mut command = Command::new("sh");
        command.arg0(words[0]).arg(words[1]);
        command.current_dir(place.path(""));
        let (input, keeps_it_running) = crate::common::pipe();
        let mut named = spawn(command.stdin(input));
        fs::write(place.path("pid"), named.id().to_string()).unwrap();
        holder(&place).stop();
        drop(keeps_it_running);
        named.wait().unwrap();
    }
}

#[test]
fn a_command_of_ours_does_not_hold_the_file() {
    let place = Place::new();
    // It connects, and nobody answers.
    let _silent = UnixListener::bind(place.path("socket")).unwrap();
    let mut asking = spawn(
        place
            .command()
            .args(["run", "--wait", "-s", "socket", "a"])
            .stderr(Stdio::null()),
    );
    fs::write(place.path("pid"), asking.id().to_string()).unwrap();
    holder(&place).stop();
    asking.kill().unwrap();
    asking.wait().unwrap();
}
