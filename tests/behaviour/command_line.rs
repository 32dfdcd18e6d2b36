//! The command line: which configuration is read, what options mean, and the errors for wrong ones.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::Output;

use crate::common::{ALONE, Pid, Place, Signal, findings, stderr, stdout, wait_for};

/// A job that says which file it comes from.
fn job(name: &str) -> String {
    format!("[buildsequencer_job.{name}]\ncommand: true\n")
}

/// Runs `check` with these variables and arguments.
fn check(place: &Place, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = place.command();
    command.arg("check").args(arguments);
    command.envs(variables.iter().copied());
    crate::common::finish(command)
}

/// The only job of the configuration that is read.
#[track_caller]
fn job_read(place: &Place, variables: &[(&str, &str)], arguments: &[&str]) -> String {
    let output = check(place, variables, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let name = text
        .lines()
        .find_map(|line| line.strip_prefix("[buildsequencer_job.")?.strip_suffix(']'));
    name.unwrap().to_string()
}

/// Wrong usage: exit status 2, nothing on standard output, one line that says what and points to the help.
#[track_caller]
fn usage_error(place: &Place, arguments: &[&str]) -> String {
    let output = place.run(arguments);
    let errors = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{arguments:?}: {errors}");
    assert_eq!(stdout(&output), "");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    let error = errors.strip_prefix("buildd-sequencer: ").unwrap();
    error
        .strip_suffix("; see 'buildd-sequencer --help'\n")
        .unwrap()
        .to_string()
}

#[test]
fn the_configuration_is_named_by_option_then_variable_then_instance() {
    let place = Place::new();
    place.write("option.conf", &job("option"));
    place.write("variable.conf", &job("variable"));
    place.write("configs/site/launchpad-lazr.conf", &job("instance"));
    let variable = ("BUILDD_SEQUENCER_CONFIG", "variable.conf");
    let instance = ("LPCONFIG", "site");
    let both = [variable, instance];
    for option in [
        &["-c", "option.conf"][..],
        &["-coption.conf"],
        &["--config", "option.conf"],
        &["--config=option.conf"],
    ] {
        assert_eq!(job_read(&place, &both, option), "option");
    }
    assert_eq!(job_read(&place, &both, &[]), "variable");
    assert_eq!(job_read(&place, &[instance], &[]), "instance");
    let empty = [("BUILDD_SEQUENCER_CONFIG", ""), instance];
    assert_eq!(job_read(&place, &empty, &[]), "instance");
}

#[test]
fn what_a_variable_names_is_named_in_the_fault() {
    let place = Place::new();
    for (variables, path, named) in [
        (
            &[("BUILDD_SEQUENCER_CONFIG", "x/y.conf")][..],
            "x/y.conf",
            "$BUILDD_SEQUENCER_CONFIG names it, -c names another",
        ),
        (
            &[("LPCONFIG", "gone")],
            "configs/gone/launchpad-lazr.conf",
            "$LPCONFIG names it, counted from the working directory, and -c another",
        ),
    ] {
        let output = check(&place, variables, &[]);
        assert_eq!(output.status.code(), Some(78));
        let expected = format!(
            "{path}:1: cannot read the configuration: No such file or directory; {named}\n"
        );
        assert_eq!(findings(&output), expected);
    }
}

#[test]
fn the_last_resort_is_in_etc() {
    let default = "/etc/buildd-sequencer.conf";
    let place = Place::new();
    for variables in [
        &[][..],
        &[("LPCONFIG", ""), ("BUILDD_SEQUENCER_CONFIG", "")],
    ] {
        let output = check(&place, variables, &[]);
        let said = stderr(&output);
        if Path::new(default).exists() {
            // Whatever this machine's own configuration is like, the verdict names it.
            let verdict = said.lines().last().unwrap_or_default();
            assert!(verdict.starts_with(&format!("{default}: ")), "{said}");
            continue;
        }
        let expected = format!(
            "{default}:1: cannot read the configuration: No such file or directory; name one with -c\n"
        );
        assert!(said.starts_with(&expected), "{said}");
        assert!(
            said.contains("\n    [buildsequencer_job.hello]\n    command: echo hello\n"),
            "{said}"
        );
        assert_eq!(output.status.code(), Some(78));
    }
}

#[test]
fn paths_on_the_command_line_count_from_the_starting_directory_those_in_the_file_from_rundir() {
    let place = Place::new();
    fs::create_dir(place.path("run")).unwrap();
    place.script("run/job", "touch ran-in-rundir");
    place.write(
        "base.conf",
        "[buildsequencer]\nstatefile: state\ncontrolsocket: none\n",
    );
    let daemon = place.daemon_with(
        "[meta]\nextends: base.conf\n[buildsequencer]\nlogfile: from-file.log\n\
         [buildsequencer_job.a]\ncommand: ./job\nstartdelay: 0\nmindelay: 60\n",
        |command| {
            command.args(["-d", "run", "--pidfile", "the.pid"]);
        },
    );
    crate::common::wait_for_file(&place.path("run/ran-in-rundir"));
    crate::common::wait_for_file(&place.path("run/from-file.log"));
    let pid = daemon.pid().to_string();
    assert_eq!(place.read("the.pid").trim(), pid);
    drop(daemon);

    let daemon = place.daemon_with(
        "[meta]\nextends: base.conf\n[buildsequencer_job.a]\ncommand: ./job\n",
        |command| {
            command.args(["-d", "run", "-l", "from-option.log"]);
        },
    );
    crate::common::wait_for("the log", || {
        place
            .read("from-option.log")
            .contains("Loaded.")
            .then_some(())
    });
    drop(daemon);
}

#[test]
fn lpconfig_counts_from_the_starting_directory_too() {
    let place = Place::new();
    place.write("configs/site/launchpad-lazr.conf", &job("instance"));
    fs::create_dir(place.path("run")).unwrap();
    let variables = [("LPCONFIG", "site")];
    assert_eq!(job_read(&place, &variables, &["-d", "run"]), "instance");
}

#[test]
fn a_run_directory_that_is_not_there_is_a_failure() {
    let place = Place::new();
    place.write("conf", &job("a"));
    let output = place.run(&["-c", "conf", "-d", "gone"]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        stderr(&output),
        "buildd-sequencer: cannot change to run directory 'gone': No such file or directory\n"
    );
}

#[test]
fn a_start_script_of_twistd_runs_unchanged() {
    let place = Place::new();
    let daemon = place.daemon_with(
        "[buildsequencer]\ncontrolsocket: none\n[buildsequencer_job.a]\ncommand: sh -c 'umask >umask'\nstartdelay: 0\n",
        |command| {
            command.args([
                "--no_save", "--nodaemon", "--python", "daemons/buildd-sequencer.tac", "--prefix=Sequencer", "-b", "-e",
                "--reactor", "poll", "-o", "-n", "-y", "x.tac", "--pidfile", "sequencer.pid", "--logfile", "sequencer.log",
                "--rundir", ".", "--umask", "027", "--spew",
            ]);
        },
    );
    crate::common::wait_for("the job", || {
        place.read("umask").contains("0027").then_some(())
    });
    assert_eq!(place.read("sequencer.pid").trim(), daemon.pid().to_string());
    daemon.signal(Signal::SIGTERM);
    crate::common::wait_for("the end", || {
        place
            .read("sequencer.log")
            .contains("Main loop terminated.")
            .then_some(())
    });
}

#[test]
fn spew_logs_more_by_option_and_by_file() {
    let place = Place::new();
    let config = "[buildsequencer]\ncontrolsocket: none\n[buildsequencer_job.a]\ncommand: true\nstartdelay: 0\nmindelay: 60\n";
    let lines = |config: &str, option: Option<&str>| {
        let _ = fs::remove_file(place.path("log"));
        let daemon = place.daemon_with(config, |command| {
            command.args(option);
        });
        daemon.wait_for_log_times("Scheduling a", 2);
        daemon.stop().lines().count()
    };
    let plain = lines(config, None);
    assert!(lines(config, Some("--spew")) > plain);
    assert!(lines(&format!("{config}[buildsequencer]\nspew: on\n"), None) > plain);
}

#[test]
fn if_launch_starts_only_what_is_to_be_launched() {
    let place = Place::new();
    let config = |launch: &str| {
        format!(
            "[buildsequencer]\ncontrolsocket: none\nlogfile: log\n{launch}\n[buildsequencer_job.a]\ncommand: true\n"
        )
    };
    for launch in ["", "launch: false", "launch: none"] {
        place.write("conf", &config(launch));
        // A host that is not set up for it does not even have the run directory.
        let output = place.run(&[
            "-c",
            "conf",
            "--if-launch",
            "--pidfile",
            "pid",
            "-d",
            "gone",
        ]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!((stdout(&output), stderr(&output)), Default::default());
        assert!(!place.path("log").exists() && !place.path("pid").exists());
    }
    place.write("conf", &format!("{}mindelay: x\n", config("")));
    let output = place.run(&["-c", "conf", "--if-launch"]);
    assert_eq!(
        output.status.code(),
        Some(78),
        "a fault is told all the same"
    );

    let daemon = place.daemon_with(&config("launch: true"), |command| {
        command.arg("--if-launch");
    });
    daemon.wait_for_log("Loaded.");
    daemon.stop();
}

#[test]
fn without_if_launch_the_daemon_starts_whatever_the_file_says() {
    let place = Place::new();
    let daemon = place.daemon(&format!(
        "[buildsequencer]\ncontrolsocket: none\nlaunch: false\n{}",
        job("a")
    ));
    daemon.wait_for_log("Loaded.");
    daemon.stop();
}

#[test]
fn help_and_version_need_no_configuration() {
    let place = Place::new();
    for option in ["-h", "--help", "--he"] {
        let output = place.run(&[option]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(stderr(&output), "");
        let help = stdout(&output);
        assert!(help.contains("Usage: buildd-sequencer [OPTIONS]"));
        for word in [
            "check",
            "status",
            "run [--wait] JOB",
            "kill",
            "pause",
            "resume",
            "reload",
            "healthcheck [--alive]",
            "-c, --config",
            "-l, --logfile",
            "--pidfile",
            "-d, --rundir",
            "--umask",
            "-u, --uid",
            "-g, --gid",
            "--daemon",
            "-n, --nodaemon",
            "--spew",
            "--if-launch",
            "-s, --socket",
            "-V, --version",
            "--no_save",
            "--python",
            "--prefix",
            "--reactor",
        ] {
            assert!(help.contains(word), "{word}");
        }
        assert!(help.lines().all(|line| line.len() <= 100));
    }
    for option in ["-V", "--version"] {
        let output = place.run(&[option]);
        assert_eq!(output.status.code(), Some(0));
        let version = concat!("buildd-sequencer ", env!("CARGO_PKG_VERSION"), "\n");
        assert_eq!(stdout(&output), version);
    }
}

#[test]
fn wrong_usage_is_told_in_one_line_with_status_2() {
    let place = Place::new();
    for (arguments, expected) in [
        (&["--frobnicate"][..], "unknown option '--frobnicate'"),
        (&["-x"], "unknown option '-x'"),
        (&["--a\nb\x1b[2J"], r"unknown option '--a\nb\u{1b}[2J'"),
        (&["-ny"], "missing argument for option '-y'"),
        (&["frobnicate"], "unknown command 'frobnicate'"),
        (&["check", "extra"], "unexpected argument 'extra'"),
        (&["status", "a", "b"], "unexpected argument 'b'"),
        (&["run"], "'run' needs the name of a job"),
        (&["run", "a", "b"], "unexpected argument 'b'"),
        (&["reload", "a"], "unexpected argument 'a'"),
        (&["-c"], "missing argument for option '-c'"),
        (
            &["-c", ""],
            "option '--config' needs a path, not an empty one",
        ),
        (
            &["--umask", "8"],
            "'--umask' takes an octal number up to 777, not '8'",
        ),
        (&["--umask=-1"], "'--umask' takes"),
        (
            &["--nodaemon=1"],
            "unexpected argument for option '--nodaemon'",
        ),
        (
            &["--daemon", "-l", "-"],
            "'--daemon' leaves no standard output",
        ),
        (
            &["status", "--wait"],
            "option '--wait' goes with 'run' only",
        ),
        (
            &["check", "--json"],
            "option '--json' goes with 'status' and 'history' only",
        ),
        (
            &["pause", "--daemon"],
            "option '--daemon' is for the daemon",
        ),
    ] {
        let error = usage_error(&place, arguments);
        assert!(error.starts_with(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn bytes_that_are_no_text_are_an_argument_like_any_other() {
    let place = Place::new();
    let name = OsStr::from_bytes(b"conf-\xff");
    fs::write(place.path("").join(name), job("a")).unwrap();
    let mut command = place.command();
    command.arg("check").arg("-c").arg(name);
    let output = crate::common::finish(command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));

    let mut command = place.command();
    command.arg(name);
    let output = crate::common::finish(command);
    assert_eq!(output.status.code(), Some(2));
}

/// As twistd has it: no pid file, and standard output or, detached, twistd's own log.
#[test]
fn an_empty_pid_file_is_none_and_an_empty_log_is_what_it_is_by_default() {
    let place = Place::new();
    let config = format!("{ALONE}logfile: of-the-file\n{}mindelay: 1h\n", job("a"));
    let daemon = place.daemon_with(&config, |command| {
        command.args(["--pidfile=", "--logfile="]);
    });
    daemon.wait_for_log("Scheduling a");
    assert!(!place.path("of-the-file").exists());
    daemon.stop();
    let check = place.run(&["check", "-c", "conf", "--pidfile=", "--logfile="]);
    assert!(
        stdout(&check).contains("logfile: -\n"),
        "{}",
        stderr(&check)
    );

    let detached = place.run(&["--daemon", "-c", "conf", "--pidfile=", "--logfile="]);
    assert_eq!(detached.status.code(), Some(0), "{}", stderr(&detached));
    wait_for("the daemon's log", || {
        place
            .read("twistd.log")
            .contains("Scheduling a")
            .then_some(())
    });
    assert!(!place.path("twistd.pid").exists() && !place.path("of-the-file").exists());
    // Nothing says which process it is, but that it is in this directory.
    let here = std::fs::canonicalize(place.path("")).unwrap();
    let is_here = |pid: &i32| {
        std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == here)
    };
    let processes = std::fs::read_dir("/proc").unwrap();
    let pid = processes
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .find(is_here)
        .expect("the daemon");
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGTERM).unwrap();
    wait_for("its end", || {
        place
            .read("twistd.log")
            .contains("Main loop terminated")
            .then_some(())
    });
}
