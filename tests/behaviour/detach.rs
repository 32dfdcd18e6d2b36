//! `--daemon`: what the parent waits for and prints, and what kind of process the daemon is.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use crate::common::{PROGRAM, Place, Signal, finish, spawn, stderr, stdout, wait_for};
use nix::sys::signal::{kill, killpg};
use nix::unistd::Pid;

const QUIET: &str = "[buildsequencer]\ncontrolsocket: none\n[buildsequencer_job.quiet]\n\
                     command: true\nmindelay: 1h\n";

/// A daemon that nobody waits for; it ends with the test.
struct Detached(Pid);

impl Detached {
    /// The daemon that a pid file names.
    #[track_caller]
    fn named_by(pidfile: &Path) -> Detached {
        let text = fs::read_to_string(pidfile).expect("a pid file");
        Detached(Pid::from_raw(text.trim().parse().expect("a number")))
    }

    fn lives(&self) -> bool {
        // Process 1 of a container may not reap.
        fs::read_to_string(self.proc("stat"))
            .is_ok_and(|stat| !stat[stat.rfind(')').unwrap()..].starts_with(") Z"))
    }

    fn proc(&self, file: &str) -> String {
        format!("/proc/{}/{file}", self.0)
    }

    fn signal(&self, signal: Signal) {
        kill(self.0, signal).unwrap();
    }

    #[track_caller]
    fn stop(self) {
        self.signal(Signal::SIGTERM);
        wait_for("the daemon's end", || (!self.lives()).then_some(()));
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        if self.lives() {
            let children = fs::read_to_string(self.proc(&format!("task/{}/children", self.0)));
            for child in children.unwrap_or_default().split_whitespace() {
                let _ = killpg(Pid::from_raw(child.parse().unwrap()), Signal::SIGKILL);
            }
            let _ = kill(self.0, Signal::SIGKILL);
        }
    }
}

/// Runs `--daemon` with more arguments in a place with this configuration.
#[track_caller]
fn detach(place: &Place, config: &str, arguments: &[&str]) -> Output {
    place.write("conf", config);
    let mut all = vec!["--daemon", "-c", "conf"];
    all.extend(arguments);
    place.run(&all)
}

/// The same, which has to work without a word.
#[track_caller]
fn detached(place: &Place, config: &str, arguments: &[&str], pidfile: &str) -> Detached {
    let output = detach(place, config, arguments);
    let said = stdout(&output) + &stderr(&output);
    assert_eq!((output.status.code(), &*said), (Some(0), ""));
    Detached::named_by(&place.path(pidfile))
}

#[track_caller]
fn wait_for_text(place: &Place, file: &str, text: &str) {
    wait_for(&format!("{text:?} in {file}"), || {
        place.read(file).contains(text).then_some(())
    });
}

#[track_caller]
fn refused(output: &Output, status: i32, text: &str) {
    let said = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(said.contains(text), "{said}");
    assert_eq!(stdout(output), "");
}

fn mode(path: PathBuf) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn the_parent_ends_once_the_daemon_is_up() {
    let place = Place::new();
    for _ in 0..20 {
        let daemon = detached(&place, QUIET, &[], "twistd.pid");
        assert!(daemon.lives());
        daemon.stop();
        assert!(!place.path("twistd.pid").exists());
    }
    let log = place.read("twistd.log");
    assert_eq!(log.matches("Loaded.\n").count(), 20, "{log}");
    assert_eq!(log.matches("Main loop terminated.\n").count(), 20, "{log}");
}

#[test]
fn the_daemon_has_a_session_of_its_own_and_no_terminal() {
    let place = Place::new();
    let daemon = detached(&place, QUIET, &[], "twistd.pid");
    let stat = fs::read_to_string(daemon.proc("stat")).unwrap();
    // After the name: state, parent, group, session, terminal.
    let fields: Vec<&str> = stat[stat.rfind(')').unwrap()..].split(' ').collect();
    assert_eq!(fields[4], daemon.0.to_string(), "session: {stat}");
    assert_eq!(fields[5], "0", "terminal: {stat}");
    daemon.stop();
}

#[test]
fn standard_descriptors_lead_nowhere_and_nothing_of_the_parents_stays_open() {
    let place = Place::new();
    let daemon = detached(&place, QUIET, &[], "twistd.pid");
    for number in 0..3 {
        let link = fs::read_link(daemon.proc(&format!("fd/{number}"))).unwrap();
        assert_eq!(link, Path::new("/dev/null"), "{number}");
    }
    // `Place::run` has the parent write to files without a name, and its pipe to the daemon ends with it.
    wait_for_text(&place, "twistd.log", "Scheduling");
    for entry in fs::read_dir(daemon.proc("fd")).unwrap() {
        let link = fs::read_link(entry.unwrap().path()).unwrap();
        assert!(!link.to_string_lossy().contains("(deleted)"), "{link:?}");
    }
    daemon.stop();
}

#[test]
fn what_the_parent_inherited_stays_open_in_the_daemon_and_reaches_no_job() {
    let place = Place::new();
    place.write(
        "conf",
        &QUIET.replace("true", "ls /proc/self/fd\nalwayslog: true\nstartdelay: 0"),
    );
    let mut command = place.command_after("exec 9>>lock");
    command.args([PROGRAM, "--daemon", "-c", "conf"]);
    let output = finish(command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let daemon = Detached::named_by(&place.path("twistd.pid"));
    wait_for_text(&place, "twistd.log", "Job error output was:");
    let log = place.read("twistd.log");
    assert!(
        log.contains("Job output was:\n\t0\n\t1\n\t2\n\t3\n"),
        "{log}"
    );
    let kept = fs::read_link(daemon.proc("fd/9")).unwrap();
    assert_eq!(kept, fs::canonicalize(place.path("lock")).unwrap());
    daemon.stop();
}

#[test]
fn names_and_mask_are_twistds_in_the_run_directory() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    let config = QUIET.replace(
        "true",
        "sh -c 'umask; pwd; cat; echo end' \nalwayslog: true\nstartdelay: 0",
    );
    let daemon = detached(&place, &config, &["-d", "run"], "run/twistd.pid");
    wait_for_text(&place, "run/twistd.log", "completed with exit code 0");
    daemon.stop();
    let run = fs::canonicalize(place.path("run")).unwrap();
    let output = format!("\t0077\n\t{}\n\tend\n", run.display());
    let log = place.read("run/twistd.log");
    assert!(log.contains(&output), "{log}");
    // twistd opens its log before it sets the mask.
    assert_eq!(mode(place.path("run/twistd.log")), mode(place.path("conf")));
    assert!(!place.path("run/twistd.pid").exists());
    assert!(!place.path("twistd.log").exists());
}

#[test]
fn another_mask_wins_over_twistds() {
    let place = Place::new();
    let daemon = detached(&place, QUIET, &["--umask", "027"], "twistd.pid");
    assert_eq!(mode(place.path("twistd.pid")), 0o640);
    daemon.stop();
}

/// A collector of logs may depend on it, and a private one is to stay private.
#[test]
fn a_new_log_has_the_mode_of_the_mask_that_was_inherited() {
    for (inherited, expected) in [("022", 0o644), ("027", 0o640), ("002", 0o664)] {
        for options in [&["--daemon"][..], &["--daemon", "--umask", "077"]] {
            let place = Place::new();
            place.write("conf", QUIET);
            let mut command = place.command_after(&format!("umask {inherited}"));
            command
                .args([crate::common::PROGRAM, "-c", "conf"])
                .args(options);
            let output = crate::common::finish(command);
            assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
            let daemon = Detached::named_by(&place.path("twistd.pid"));
            assert_eq!(mode(place.path("twistd.log")), expected, "{options:?}");
            assert_eq!(mode(place.path("twistd.pid")), 0o600, "{options:?}");
            daemon.stop();
        }
    }
}

#[test]
fn paths_count_from_where_they_were_written() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    let config = format!("{QUIET}[buildsequencer]\nlogfile: of-the-file.log\n");
    let daemon = detached(
        &place,
        &config,
        &["-d", "run", "--pidfile", "my.pid"],
        "my.pid",
    );
    wait_for_text(&place, "run/of-the-file.log", "Loaded.");
    // The configuration is found again although the directory is another.
    place.write("conf", &config.replace("1h", "2h"));
    daemon.signal(Signal::SIGHUP);
    wait_for_text(&place, "run/of-the-file.log", "quiet: mindelay");
    daemon.stop();
    assert!(!place.path("my.pid").exists());

    let arguments = ["-d", "run", "--pidfile", "my.pid", "-l", "my.log"];
    let daemon = detached(&place, &config, &arguments, "my.pid");
    wait_for_text(&place, "my.log", "Loaded.");
    daemon.stop();
}

#[test]
fn a_log_to_standard_output_is_refused_on_the_command_line_and_moved_from_the_configuration() {
    let place = Place::new();
    let text = "'--daemon' leaves no standard output to log to";
    refused(&detach(&place, QUIET, &["-l", "-"]), 2, text);
    assert!(!place.path("twistd.pid").exists());
    std::os::unix::fs::symlink("/proc/self/fd/1", place.path("link")).unwrap();
    for name in ["-", "link"] {
        let config = format!("{QUIET}[buildsequencer]\nlogfile: {name}\n");
        let daemon = detached(&place, &config, &[], "twistd.pid");
        wait_for_text(&place, "twistd.log", "Loaded.");
        // Nor does a reload lead it away.
        place.write("conf", QUIET);
        daemon.signal(Signal::SIGHUP);
        wait_for_text(&place, "twistd.log", "Configuration reloaded");
        daemon.stop();
        assert!(place.read("twistd.log").contains("Main loop terminated."));
        fs::remove_file(place.path("twistd.log")).unwrap();
    }
}

#[test]
fn errors_of_the_start_are_the_parents() {
    let place = Place::new();
    let faulty = "[buildsequencer]\nnonsense: 1\n[buildsequencer_job.a]\nmindelay: x\n";
    let output = detach(&place, faulty, &[]);
    refused(&output, 78, "conf:2: ");
    refused(&output, 78, "conf:4: ");
    refused(&detach(&place, QUIET, &["--nonsense"]), 2, "--nonsense");
    for (arguments, text) in [
        (
            ["-d", "missing"],
            "cannot change to run directory 'missing': No such file",
        ),
        (
            ["-l", "missing/log"],
            "missing/log': No such file or directory",
        ),
        (
            ["--pidfile", "missing/pid"],
            "missing/pid': No such file or directory",
        ),
        (["-u", "no such user"], "there is no user 'no such user'"),
        (["-g", "no such group"], "there is no group 'no such group'"),
    ] {
        let output = detach(&place, QUIET, &arguments);
        refused(&output, 1, text);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
        assert!(!place.path("twistd.pid").exists(), "{text}");
    }
}

#[test]
fn a_second_start_is_refused_and_the_first_lives_on() {
    let place = Place::new();
    let daemon = detached(&place, QUIET, &[], "twistd.pid");
    let text = format!("twistd.pid' (process {})", daemon.0);
    let output = detach(&place, QUIET, &[]);
    refused(&output, 1, "another instance holds pid file");
    refused(&output, 1, &text);
    assert!(daemon.lives());
    assert_eq!(place.read("twistd.pid"), format!("{}\n", daemon.0));
    daemon.stop();
    detached(&place, QUIET, &[], "twistd.pid").stop();
}

#[test]
fn if_launch_starts_only_what_is_to_be_launched() {
    let place = Place::new();
    for launch in ["", "launch: false\n", "launch: none\n"] {
        let config = format!("{QUIET}[buildsequencer]\n{launch}");
        let output = detach(&place, &config, &["--if-launch"]);
        let said = stdout(&output) + &stderr(&output);
        assert_eq!((output.status.code(), &*said), (Some(0), ""), "{launch}");
        assert!(!place.path("twistd.pid").exists(), "{launch}");
        assert!(!place.path("twistd.log").exists(), "{launch}");
    }
    refused(
        &detach(&place, "launch: no", &["--if-launch"]),
        78,
        "conf:1: ",
    );
    let config = format!("{QUIET}[buildsequencer]\nlaunch: true\n");
    detached(&place, &config, &["--if-launch"], "twistd.pid").stop();
}

#[test]
fn a_hangup_right_after_the_parent_is_a_reload() {
    let place = Place::new();
    for _ in 0..10 {
        let daemon = detached(&place, QUIET, &[], "twistd.pid");
        daemon.signal(Signal::SIGHUP);
        wait_for_text(&place, "twistd.log", "Configuration reloaded");
        daemon.stop();
        fs::remove_file(place.path("twistd.log")).unwrap();
    }
}

/// As when its terminal goes away: the whole group hears it, the parent and whatever is already there of the daemon.
#[test]
fn hangups_during_the_start_kill_nobody() {
    let place = Place::new();
    for _ in 0..10 {
        place.write("conf", QUIET);
        let mut command = place.command();
        command
            .args(["--daemon", "-c", "conf"])
            .stdin(Stdio::null())
            .process_group(0);
        let mut parent = spawn(&mut command);
        let group = Pid::from_raw(parent.id().try_into().unwrap());
        wait_for("the parent's handler", || {
            let status = fs::read_to_string(format!("/proc/{group}/status")).ok()?;
            let caught = status
                .lines()
                .find_map(|line| line.strip_prefix("SigCgt:\t"));
            let caught = u64::from_str_radix(caught?, 16).unwrap();
            (caught & 1 == 1 || parent.try_wait().unwrap().is_some()).then_some(())
        });
        let status = loop {
            let _ = killpg(group, Signal::SIGHUP);
            if let Some(status) = parent.try_wait().unwrap() {
                break status;
            }
            std::thread::yield_now();
        };
        assert_eq!(status.code(), Some(0));
        let daemon = Detached::named_by(&place.path("twistd.pid"));
        daemon.signal(Signal::SIGHUP);
        wait_for_text(&place, "twistd.log", "Configuration reloaded");
        daemon.stop();
        fs::remove_file(place.path("twistd.log")).unwrap();
    }
}

#[test]
fn jobs_of_a_detached_daemon_are_like_any_others() {
    let place = Place::new();
    let config = QUIET.replace(
        "true",
        "sh -c 'env >env; grep -E \"^Sig(Blk|Ign)\" /proc/self/status >signals; exit 7'\nstartdelay: 0",
    );
    let daemon = detached(&place, &config, &[], "twistd.pid");
    wait_for_text(&place, "twistd.log", "completed with exit code 7");
    daemon.stop();
    let environment = place.read("env");
    assert!(environment.contains("PATH="), "{environment}");
    assert!(!environment.contains("BUILDD_SEQUENCER"), "{environment}");
    let signals = place.lines("signals");
    assert_eq!(signals.len(), 2, "{signals:?}");
    for line in signals {
        let mask = line.split('\t').next_back().unwrap();
        // Two of glibc's own cannot be asked for.
        assert!(
            ["0000000000000000", "0000000180000000"].contains(&mask),
            "{line}"
        );
    }
}
