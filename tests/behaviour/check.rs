//! `check`: the effective configuration, the warnings about it, and what the daemon would need and would not find.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Output;

use crate::common::{ALONE, Place, Signal, findings, stderr, stdout};

const JOB: &str = "[buildsequencer_job.a]\ncommand: true\n";

fn check(place: &Place, config: &str) -> Output {
    place.write("conf", config);
    place.run(&["check", "-c", "conf"])
}

/// The lines that `check` says beside the configuration, which it prints in any case.
#[track_caller]
fn said(place: &Place, config: &str, status: i32) -> Vec<String> {
    let output = check(place, config);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(status), "{said}");
    assert!(stdout(&output).starts_with("[buildsequencer]\n"));
    findings(&output).lines().map(str::to_string).collect()
}

#[test]
fn the_effective_configuration_is_printed_jobs_in_order_with_all_settings() {
    let place = Place::new();
    let output = check(
        &place,
        "[buildsequencer]\nmailproblemsto: -\n[buildsequencer_job.template]\ntimeout: 1.50m\n\
         [buildsequencer_job.b]\ncommand:  true  'x  y' \nmaxoutput: 64K\n[buildsequencer_job.a]\ncommand: true\nmindelay: 15m\nalwayslog: Yes\n",
    );
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(stderr(&output), "conf: 2 jobs\n");
    assert_eq!(
        stdout(&output),
        "[buildsequencer]\n\
         name: none\n\
         logfile: -\n\
         loglevel: info\n\
         logformat: twistd\n\
         launch: false\n\
         mailproblemsto: -\n\
         fromaddress: launchpad@lists.canonical.com\n\
         smtphost: localhost\n\
         spew: false\n\
         sendmail: /usr/sbin/sendmail -i\n\
         mailinterval: 0\n\
         logsize: 1000000\n\
         logkeep: 10\n\
         statefile: none\n\
         stopdelay: 0\n\
         controlsocket: /run/buildd-sequencer/control.sock\n\
         metricsfile: none\n\
         listen: none\n\
         leasefile: none\n\
         \n\
         [buildsequencer_job.b]\n\
         command: true  'x  y'\n\
         mindelay: 1\n\
         alwayslog: false\n\
         timeout: 90\n\
         killdelay: 5\n\
         stuckafter: 3600\n\
         startdelay: 1\n\
         mailproblemsto: -\n\
         mailinterval: 0\n\
         maxdelay: 0\n\
         maxoutput: 65536\n\
         livelog: false\n\
         \n\
         [buildsequencer_job.a]\n\
         command: true\n\
         mindelay: 900\n\
         alwayslog: true\n\
         timeout: 90\n\
         killdelay: 5\n\
         stuckafter: 3600\n\
         startdelay: 900\n\
         mailproblemsto: -\n\
         mailinterval: 0\n\
         maxdelay: 0\n\
         maxoutput: 1048576\n\
         livelog: false\n"
    );
}

#[test]
fn what_is_printed_is_a_configuration_that_prints_as_the_same() {
    let place = Place::new();
    place.script("sendmail", "exit 0");
    let first = check(
        &place,
        "[buildsequencer]\nmailproblemsto: a@example.com\n  - b@example.com\nsendmail: ./sendmail\nfromaddress: c@example.com\n\
         [buildsequencer_job.a]\ncommand:\n  true ; 'two ; three\n  four'\nmindelay: 0.0001\nmailproblemsto:\n",
    );
    let second = check(&place, &stdout(&first));
    assert_eq!(stdout(&second), stdout(&first));
    // The default socket, which may be missing, has become one set by hand, whose directory may not.
    let said = findings(&second);
    let socket = |line: &str| line.starts_with("conf:17: controlsocket: ");
    let warned = |line: &str| line.starts_with("warning: conf:23: job a: no shell reads this");
    assert!(
        said.lines().all(|line| socket(line) || warned(line)),
        "{said}"
    );
}

#[test]
fn options_win_over_the_file() {
    let place = Place::new();
    place.write("conf", &format!("[buildsequencer]\nlogfile: x\n{JOB}"));
    let output = place.run(&["check", "-c", "conf", "-l", "y/z", "--spew"]);
    let logfile = format!("logfile: {}/y/z\n", place.working_directory());
    assert!(stdout(&output).contains(&logfile), "{}", stdout(&output));
    assert!(stdout(&output).contains("spew: true\n"));
    assert_eq!(output.status.code(), Some(78), "its directory is missing");
    let output = place.run(&["check", "-c", "conf", "-l", "-"]);
    assert!(stdout(&output).contains("logfile: -\n"));
}

#[test]
fn what_is_legal_but_unwise_is_a_warning() {
    let place = Place::new();
    place.script("sendmail", "exit 0");
    let warnings = said(
        &place,
        "[buildsequencer]\nmailproblemsto: ops@example.com\nsendmail: ./sendmail\nmetricsfile: metrics\nsmtphost: mx\n\
         [buildsequencer_job.a]\ncommand: true ; and more\nmindelay: 0\nstuckafter: 2h\ntimeout: 1h\n\
         [buildsequencer_job.b]\ncommand: true\n",
        0,
    );
    let expected = [
        "warning: conf:5: smtphost has no effect",
        "warning: conf:7: the ';' after white space begins a comment",
        "warning: conf:6: job a: mindelay 0",
        "warning: conf:6: job a: stuckafter 7200 is beyond timeout 3600",
        "warning: conf:2: reports are mailed from the built-in launchpad@lists.canonical.com",
        "warning: conf:4: metricsfile 'metrics' does not end in .prom",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(expected), "{warning}");
    }
}

#[test]
fn commands_that_cannot_be_run_are_missing() {
    let place = Place::new();
    place.write("not-executable", "#!/bin/sh\n");
    place.script("fine", "exit 0");
    symlink("gone", place.path("dangling")).unwrap();
    let config = "[buildsequencer_job.a]\ncommand: no-such-program-anywhere x\n\
                  [buildsequencer_job.b]\ncommand: ./gone\n\
                  [buildsequencer_job.c]\ncommand: {dir}/not-executable\n\
                  [buildsequencer_job.d]\ncommand: /tmp\n\
                  [buildsequencer_job.e]\ncommand: ./fine/x\n\
                  [buildsequencer_job.f]\ncommand: './dangling'\n\
                  [buildsequencer_job.g]\ncommand: \"./fine\" x\n\
                  [buildsequencer_job.h]\ncommand: sh -c 'gone'\n";
    let missing = said(&place, config, 78);
    let dir = place.dir();
    let expected = [
        "conf:2: job a: command 'no-such-program-anywhere' not found in PATH (".to_string(),
        "conf:4: job b: command './gone' cannot be run: No such file or directory".to_string(),
        format!("conf:6: job c: command '{dir}/not-executable' cannot be run: Permission denied"),
        "conf:8: job d: command '/tmp' cannot be run: it is not a file".to_string(),
        "conf:10: job e: command './fine/x' cannot be run: Not a directory".to_string(),
        "conf:12: job f: command './dangling' cannot be run: No such file or directory".to_string(),
    ];
    assert_eq!(missing.len(), expected.len(), "{missing:#?}");
    for (line, expected) in missing.iter().zip(&expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn path_is_searched_as_the_daemon_would() {
    let place = Place::new();
    place.script("bin/tool", "exit 0");
    place.write("other/plain", "text");
    place.write(
        "conf",
        "[buildsequencer_job.a]\ncommand: tool\n[buildsequencer_job.b]\ncommand: plain\n",
    );
    let mut command = place.command();
    command
        .args(["check", "-c", "conf"])
        .env("PATH", format!("{0}/other:{0}/bin", place.dir()));
    let output = crate::common::finish(command);
    assert_eq!(
        findings(&output),
        format!(
            "conf:4: job b: '{}/other/plain' cannot be run: Permission denied\n",
            place.dir()
        )
    );
}

#[test]
fn sendmail_is_needed_only_if_something_is_to_be_mailed() {
    let place = Place::new();
    let with = |sequencer: &str, job: &str| {
        format!("[buildsequencer]\nsendmail: ./gone -i\nfromaddress: a@x\n{sequencer}\n{JOB}{job}")
    };
    for quiet in [with("", ""), with("mailproblemsto: -", "")] {
        assert!(said(&place, &quiet, 0).is_empty());
    }
    for mailed in [
        with("mailproblemsto: - a@x", ""),
        with("", "mailproblemsto: a@x"),
        with("mailproblemsto: a@x", "mailproblemsto: -"),
    ] {
        assert_eq!(
            said(&place, &mailed, 78),
            ["conf:2: sendmail: command './gone' cannot be run: No such file or directory"]
        );
    }
}

#[test]
fn directories_of_what_is_written_have_to_be_there() {
    let place = Place::new();
    fs::create_dir(place.path("dir")).unwrap();
    place.write("file", "");
    let all = |directory: &str| {
        format!(
            "[buildsequencer]\nlogfile: {directory}log\ncontrolsocket: {directory}socket\nstatefile: {directory}state\n\
             metricsfile: {directory}x.prom\n{JOB}"
        )
    };
    for there in ["", "./", "dir/", "{dir}/dir/"] {
        assert!(said(&place, &all(there), 0).is_empty());
    }
    let missing = said(&place, &all("gone/"), 78);
    assert_eq!(
        missing,
        [
            (2, "logfile"),
            (3, "controlsocket"),
            (4, "statefile"),
            (5, "metricsfile")
        ]
        .map(|(line, key)| format!(
            "conf:{line}: {key}: directory 'gone' cannot be written: No such file or directory"
        ))
    );
    let missing = said(&place, &all("file/"), 78);
    assert_eq!(missing.len(), 4);
    assert_eq!(missing[0], "conf:2: logfile: 'file' is not a directory");
    let config = format!(
        "[buildsequencer]\nlogfile: dir\nstatefile: dir\nmetricsfile: dir\ncontrolsocket: none\n{JOB}"
    );
    let missing = said(&place, &config, 78);
    assert_eq!(
        missing[1..],
        [(2, "logfile"), (3, "statefile"), (4, "metricsfile")]
            .map(|(line, key)| format!("conf:{line}: {key}: 'dir' is a directory"))
    );
}

#[test]
fn what_would_overwrite_the_configuration_is_a_fault_and_nothing_starts() {
    let place = Place::new();
    let config = format!(
        "[buildsequencer]\nstatefile: ./conf\nmetricsfile: base.prom\n[meta]\nextends: base.prom\n{JOB}"
    );
    place.write("base.prom", "[buildsequencer]\nlogkeep: 3\n");
    let why = "is the configuration, which would be overwritten; name another file";
    let expected = [
        format!("conf:2: statefile: './conf' {why}"),
        format!("conf:3: metricsfile: 'base.prom' {why}"),
    ];
    let output = check(&place, &config);
    assert_eq!(output.status.code(), Some(78));
    let found = findings(&output);
    assert_eq!(found.lines().collect::<Vec<_>>(), expected);
    let output = place.run(&["-c", "conf"]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(stderr(&output), expected.join("\n") + "\n");
    assert_eq!(place.read("conf"), config);
}

#[test]
fn under_whatever_name_and_by_whichever_option_no_file_is_used_twice() {
    let place = Place::new();
    let here = place.working_directory();
    std::os::unix::fs::symlink("conf", place.path("link")).unwrap();
    let own = "is the configuration, which would be overwritten; name another file";
    let twice = |key| format!("is the file of {key}, too; name another file");
    for (keys, options, fault) in [
        (
            "",
            &["--pidfile", "conf"][..],
            format!("1: pidfile: '{here}/conf' {own}"),
        ),
        (
            "",
            &["-l", "link"],
            format!("1: logfile: '{here}/link' {own}"),
        ),
        (
            &format!("statefile: {here}/conf\n"),
            &[],
            format!("2: statefile: '{here}/conf' {own}"),
        ),
        (
            "logfile: x\nstatefile: ./x\n",
            &[],
            format!("3: statefile: './x' {}", twice("logfile")),
        ),
        (
            "statefile: x\nmetricsfile: x.history\n",
            &[],
            format!("3: metricsfile: 'x.history' {}", twice("statefile")),
        ),
        (
            "statefile: x\n",
            &["--pidfile", "x"],
            format!("1: pidfile: '{here}/x' {}", twice("statefile")),
        ),
        (
            "statefile: x\nmetricsfile: .x.lock\n",
            &[],
            format!("3: metricsfile: '.x.lock' {}", twice("statefile")),
        ),
        (
            "statefile: x\n",
            &["--pidfile", ".x.lock"],
            format!("1: pidfile: '{here}/.x.lock' {}", twice("statefile")),
        ),
        (
            "statefile: x\nlogfile: .x.new\n",
            &[],
            "2: statefile: 'x' would be written first under the name of the file of logfile; name another file"
                .to_string(),
        ),
        (
            "statefile: x\nmetricsfile: .x.history.1.new\n",
            &[],
            "3: metricsfile: '.x.history.1.new' is a name under which the file of statefile is written first; name another file"
                .to_string(),
        ),
        (
            "logfile: x\nstatefile: x.1\n",
            &[],
            "3: statefile: 'x.1' is a name that the rotated logfile takes; name another file"
                .to_string(),
        ),
        (
            "logfile: conf-old\n",
            &["--pidfile", "conf-old.20"],
            format!(
                "1: pidfile: '{here}/conf-old.20' is a name that the rotated logfile takes; name another file"
            ),
        ),
    ] {
        let config = format!("[buildsequencer]\n{keys}{JOB}");
        place.write("conf", &config);
        for command in [&["check", "-q", "-c", "conf"][..], &["-c", "conf"]] {
            let output = place.run(&[command, options].concat());
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(78), "{keys}: {said}");
            assert!(said.contains(&format!("conf:{fault}\n")), "{fault}: {said}");
        }
        assert_eq!(place.read("conf"), config);
    }
    // What is replaced leaves other names of the same file alone; what is written does not.
    std::fs::hard_link(place.path("conf"), place.path("y")).unwrap();
    std::fs::hard_link(place.path("conf"), place.path("y.prom")).unwrap();
    std::os::unix::fs::symlink("run", place.path("also")).unwrap();
    std::fs::create_dir(place.path("run")).unwrap();
    for (keys, status) in [
        ("statefile: y\nmetricsfile: y.prom\n", 0),
        ("statefile: y\nlogfile: y.prom\n", 78),
        ("statefile: run/x.prom\nmetricsfile: also/x.prom\n", 78),
        (
            "statefile: x.log.a1\nmetricsfile: x.log.prom\nlogfile: x.log\n",
            0,
        ),
    ] {
        // In the same file, which has other names.
        let config = format!("[buildsequencer]\n{keys}{JOB}");
        std::fs::write(place.path("conf"), config).unwrap();
        let output = place.run(&["check", "-q", "-c", "conf"]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{keys}: {said}");
        assert_eq!(said.contains("name another file"), status > 0, "{said}");
    }
    place.write("l.1", &format!("[buildsequencer]\nlogfile: l\n{JOB}"));
    let output = place.run(&["check", "-q", "-c", "l.1"]);
    let fault = "l.1:2: logfile: 'l' would be rotated over the configuration; name another file\n";
    assert!(stderr(&output).contains(fault), "{}", stderr(&output));
    place.write("conf", &format!("[buildsequencer]\nstatefile: conf\n{JOB}"));
    // The same name in another directory is another file.
    let output = place.run(&["check", "-q", "-c", "conf", "-d", "run"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn nothing_is_written_where_a_directory_is_read_as_the_configuration() {
    let place = Place::new();
    std::fs::create_dir(place.path("d")).unwrap();
    std::os::unix::fs::symlink("d", place.path("link")).unwrap();
    for (keys, options, status) in [
        ("logfile: d/x.conf", &[][..], 78),
        ("statefile: d/x.conf", &[], 78),
        ("metricsfile: link/x.conf", &[], 78),
        ("controlsocket: d/x.conf", &[], 78),
        ("", &["--pidfile", "d/x.conf"], 78),
        ("logfile: d/.x.conf\nstatefile: d/state", &[], 0),
        ("statefile: x.conf\nmetricsfile: d/x.conf.prom", &[], 0),
    ] {
        place.write("d/a.conf", &format!("[buildsequencer]\n{keys}\n{JOB}"));
        for directory in ["d", "link"] {
            let command = ["check", "-q", "-c", directory];
            let output = place.run(&[&command[..], options].concat());
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(status), "{keys}: {said}");
            let told = "x.conf' would be read as a part of the configuration; name another file\n";
            assert_eq!(said.contains(told), status > 0, "{said}");
        }
    }
}

#[test]
fn a_run_directory_that_is_not_there_is_a_fault_like_any_other() {
    let place = Place::new();
    place.write("conf", JOB);
    let output = place.run(&["check", "-q", "-c", "conf", "-d", "gone"]);
    assert_eq!(output.status.code(), Some(78));
    assert_eq!(
        stderr(&output),
        "buildd-sequencer: cannot change to run directory 'gone': No such file or directory\nconf: 1 fault\n"
    );
}

#[test]
fn a_file_that_is_kept_can_only_take_the_place_of_a_regular_one() {
    let place = Place::new();
    place.write("file", "");
    let mode = nix::sys::stat::Mode::S_IRUSR;
    nix::unistd::mkfifo(&place.path("fifo"), mode).unwrap();
    std::os::unix::fs::symlink("file", place.path("link")).unwrap();
    let config = |key: &str, path: &str| {
        format!("[buildsequencer]\ncontrolsocket: none\n{key}: {path}\n{JOB}")
    };
    for (path, why) in [
        ("fifo", "is not a regular file"),
        ("/dev/null", "is not a regular file"),
        (
            "link",
            "is a symbolic link, which is not followed (name the file that is meant)",
        ),
    ] {
        for key in ["statefile", "metricsfile"] {
            let expected = format!("conf:3: {key}: '{path}' {why}");
            let said = said(&place, &config(key, path), 78);
            assert_eq!(said.last(), Some(&expected));
        }
    }
    // Nor can a daemon read anything else as its lease.
    for path in ["fifo", "/dev/null", "/"] {
        let expected = format!("conf:3: leasefile: '{path}' is not a regular file");
        let said = said(&place, &config("leasefile", path), 78);
        assert_eq!(said.last(), Some(&expected));
    }
    // That it is not named .prom is a warning alone.
    assert_eq!(said(&place, &config("metricsfile", "file"), 0).len(), 1);
    assert_eq!(said(&place, &config("statefile", "file"), 0), [""; 0]);
    // The history stands beside the state.
    nix::unistd::mkfifo(&place.path("file.history"), mode).unwrap();
    let history = "conf:3: statefile: 'file.history' is not a regular file";
    assert_eq!(said(&place, &config("statefile", "file"), 78), [history]);
}

#[test]
fn a_directory_that_cannot_be_written_is_told_to_who_is_not_root() {
    let place = Place::public();
    place.write("shut/log", "");
    place.write(
        "conf",
        "[buildsequencer]\nlogfile: shut/log\nstatefile: shut/state\n[buildsequencer_job.a]\ncommand: true\n",
    );
    place.write(
        "unrotated.conf",
        "[meta]\nextends: conf\n[buildsequencer]\nlogsize: 0\nstatefile: none\n",
    );
    for (path, mode) in [("shut", 0o555), ("shut/log", 0o666)] {
        fs::set_permissions(place.path(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let as_nobody = |file: &str| {
        let mut command = place.command_without_rights();
        command.args(["check", "-c", file]);
        crate::common::finish(command)
    };
    let output = as_nobody("conf");
    assert_eq!(
        findings(&output),
        "conf:2: logfile: directory 'shut' cannot be written: Permission denied\n\
         conf:3: statefile: directory 'shut' cannot be written: Permission denied\n"
    );
    assert_eq!(output.status.code(), Some(78));
    // Another program rotates this log, and the file itself is open to us.
    let output = as_nobody("unrotated.conf");
    assert_eq!(
        (findings(&output), output.status.code()),
        (String::new(), Some(0))
    );
}

#[test]
fn a_log_that_is_a_device_needs_no_directory() {
    let place = Place::new();
    assert!(
        said(
            &place,
            &format!("[buildsequencer]\nlogfile: /dev/null\n{JOB}"),
            0
        )
        .is_empty()
    );
}

/// What the daemon itself would say, and end with.
#[test]
fn what_ends_the_start_is_a_fault_in_the_same_words() {
    let place = Place::new();
    place.write("file", "");
    let mode = nix::sys::stat::Mode::S_IRWXU;
    nix::unistd::mkfifo(&place.path("fifo"), mode).unwrap();
    fs::create_dir(place.path("dir")).unwrap();
    let long = format!("{}/{}", place.dir(), "x".repeat(107));
    for (setting, options, daemons) in [
        (
            "logfile: fifo",
            &[][..],
            "cannot open log 'fifo': it is a named pipe; a log is a regular file or a terminal",
        ),
        (
            "controlsocket: file",
            &[],
            "cannot listen on control socket 'file': something that is not a socket is there",
        ),
        (
            &format!("controlsocket: {long}"),
            &[],
            &format!("cannot listen on control socket '{long}': the path is longer than 107 bytes"),
        ),
        (
            "",
            &["--pidfile", "fifo"],
            &format!(
                "cannot write pid file '{}/fifo': Invalid argument",
                place.working_directory()
            ),
        ),
        (
            "",
            &["--pidfile", "dir"],
            &format!(
                "cannot write pid file '{}/dir': Is a directory",
                place.working_directory()
            ),
        ),
        (
            "",
            &["--uid", "no such one"],
            "there is no user 'no such one'; give a number if users cannot be looked up here",
        ),
    ] {
        let config = format!("{ALONE}{setting}\n{JOB}");
        let checked: Vec<_> = ["check", "-c", "conf"]
            .iter()
            .chain(options)
            .copied()
            .collect();
        place.write("conf", &config);
        let output = place.run(&checked);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(78), "{said}");
        let line = match setting.split_once(':') {
            Some((key, _)) => format!("conf:3: {key}: {daemons}\n"),
            None => format!("buildd-sequencer: {daemons}\n"),
        };
        assert!(said.contains(&line), "{said}");
        let output = place.run(&checked[1..]);
        assert_eq!(stderr(&output), format!("buildd-sequencer: {daemons}\n"));
        assert_eq!(output.status.code(), Some(1));
    }
}

#[test]
fn what_a_running_daemon_holds_is_no_fault() {
    let place = Place::new();
    let config = format!(
        "[buildsequencer]\nlogfile: daemons.log\nstatefile: state\ncontrolsocket: socket\nmetricsfile: x.prom\n{JOB}"
    );
    let daemon = place.daemon_with(&config, |command| {
        command.args(["--pidfile", "pid"]);
    });
    for made in ["pid", "state", "socket", "x.prom"] {
        crate::common::wait_for_file(&place.path(made));
    }
    let output = place.run(&["check", "-c", "conf", "--pidfile", "pid"]);
    assert_eq!(
        (findings(&output), output.status.code()),
        (String::new(), Some(0))
    );
    daemon.signal(Signal::SIGTERM);
    daemon.wait();
}

/// Whoever tries a configuration before it is installed is not root.
#[test]
fn who_cannot_become_the_user_is_told_what_was_not_looked_at() {
    let place = Place::public();
    fs::create_dir(place.path("shut")).unwrap();
    fs::set_permissions(place.path("shut"), fs::Permissions::from_mode(0o555)).unwrap();
    place.write(
        "conf",
        "[buildsequencer]\nstatefile: shut/state\nlogfile: shut/log\n[buildsequencer_job.a]\ncommand: true\n",
    );
    place.write(
        "gone.conf",
        "[meta]\nextends: conf\n[buildsequencer]\nmetricsfile: gone/x.prom\n",
    );
    let check = |file: &str| {
        let mut command = place.command_without_rights();
        command.args(["check", "-c", file, "-u", "3999999998", "-g", "3999999999"]);
        command.args(["--pidfile", "shut/pid"]);
        let output = crate::common::finish(command);
        (findings(&output), output.status.code())
    };
    let warning = "warning: only root can look as user 3999999998 does: whether its permissions suffice for commands, \
                   files and configuration has not been checked\n";
    assert_eq!(check("conf"), (warning.to_string(), Some(0)));
    // What is missing is missing for everybody.
    let missing =
        "gone.conf:4: metricsfile: directory 'gone' cannot be written: No such file or directory\n";
    assert_eq!(
        check("gone.conf"),
        (format!("{warning}{missing}"), Some(78))
    );
}

#[test]
fn nothing_is_started_or_written() {
    let place = Place::new();
    place.script("job", "touch started");
    place.write(
        "conf",
        "[buildsequencer]\nlogfile: log\nstatefile: state\nmetricsfile: x.prom\ncontrolsocket: socket\n\
         [buildsequencer_job.a]\ncommand: ./job\nstartdelay: 0\n",
    );
    let output = place.run(&["check", "-c", "conf", "--pidfile", "pid"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let mut names: Vec<_> = fs::read_dir(place.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["conf", "job"]);
}

#[test]
fn a_reader_that_goes_away_does_not_matter() {
    let place = Place::new();
    let jobs: String = (0..2_000)
        .map(|n| format!("[buildsequencer_job.j{n}]\ncommand: true\n"))
        .collect();
    place.write("conf", &jobs);
    let (reader, writer) = crate::common::pipe();
    drop(reader);
    let mut command = place.command();
    command.args(["check", "-c", "conf"]).stdout(writer);
    let mut child = crate::common::spawn(&mut command);
    // The end to write is open in it as well.
    drop(command);
    let status = crate::common::wait_for("check", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_last_line_is_the_verdict() {
    let place = Place::new();
    let job =
        |name: &str, lines: &str| format!("[buildsequencer_job.{name}]\ncommand: true\n{lines}");
    for (config, verdict, status) in [
        (job("a", ""), "conf: 1 job", 0),
        (job("a", "") + &job("b", ""), "conf: 2 jobs", 0),
        (job("a", "mindelay: 0\n"), "conf: 1 job, 1 warning", 0),
        (
            job("a", "mindelay: 0\nmindelay: 0\n"),
            "conf: 1 job, 2 warnings",
            0,
        ),
        (job("a", "user: x\n"), "conf: 1 fault", 78),
        (job("a", "user: x\ntimeout: y\n"), "conf: 2 faults", 78),
        (
            format!(
                "[buildsequencer]\nstatefile: gone/state\nmetricsfile: gone/x\n{}",
                job("a", "mindelay: 0\n")
            ),
            "conf: 2 faults",
            78,
        ),
        (String::new(), "conf: 1 fault", 78),
    ] {
        for option in ["check", "-q"] {
            place.write("conf", &config);
            let output =
                place.run(&["check", option, "-c", "conf"][usize::from(option == "check")..]);
            let said = stderr(&output);
            assert_eq!(said.lines().last(), Some(verdict), "{said}");
            assert_eq!(output.status.code(), Some(status), "{said}");
        }
    }
}

#[test]
fn quiet_leaves_the_configuration_out_and_nothing_else() {
    let place = Place::new();
    for config in [
        JOB.to_string(),
        format!("{JOB}mindelay: 0\n"),
        format!("[buildsequencer]\nstatefile: gone/x\n{JOB}"),
    ] {
        let loud = check(&place, &config);
        let quiet = place.run(&["check", "-q", "-c", "conf"]);
        assert!(stdout(&loud).starts_with("[buildsequencer]\n"));
        assert_eq!(stdout(&quiet), "");
        assert_eq!(stderr(&quiet), stderr(&loud));
        assert_eq!(quiet.status.code(), loud.status.code());
    }
}

/// Nothing but `check` takes what can be read only once.
#[test]
fn a_configuration_may_come_through_a_pipe() {
    let place = Place::new();
    place.write("sound", JOB);
    place.write(
        "faulty",
        "[buildsequencer_job.a]\ncommand: true\ntimeout: soon\n",
    );
    for (name, stream) in [
        ("/dev/stdin", "0"),
        ("/dev/fd/0", "0"),
        ("/proc/self/fd/7", "7"),
        ("/dev/fd/3", "3"),
    ] {
        let piped = |file: &str, command: &str| {
            let shell = format!(
                "cat {file} | {{ eval 'exec {stream}<&0'; exec \"$0\" {command} -c {name}; }}"
            );
            let mut run = std::process::Command::new("sh");
            run.current_dir(place.path(""))
                .args(["-c", &shell, crate::common::PROGRAM]);
            crate::common::finish(run)
        };
        let output = piped("sound", "check");
        assert_eq!(stderr(&output), format!("{name}: 1 job\n"));
        assert!(stdout(&output).contains("\n[buildsequencer_job.a]\ncommand: true\n"));
        let output = piped("faulty", "check");
        assert!(
            stderr(&output).starts_with(&format!("{name}:3: timeout: 'soon'")),
            "{}",
            stderr(&output)
        );
        assert!(stderr(&output).ends_with(&format!("\n{name}: 1 fault\n")));
        let output = piped("sound", "");
        let refused =
            format!("{name}:1: cannot read the configuration: it is not a regular file\n");
        assert_eq!((output.status.code(), stderr(&output)), (Some(78), refused));
    }
}

#[test]
fn an_executable_file_that_cannot_be_started_is_a_warning() {
    let place = Place::new();
    let program = |name: &str, text: &[u8]| {
        place.write(name, "");
        fs::write(place.path(name), text).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    };
    let mut foreign = fs::read(crate::common::PROGRAM).unwrap();
    foreign.truncate(64);
    // No machine has this number (elf.h).
    foreign[18..20].copy_from_slice(&[0xfe, 0xfe]);
    let emulated =
        fs::read_dir("/proc/sys/fs/binfmt_misc").is_ok_and(|entries| entries.count() > 2);
    let cases: [(&str, &[u8], &str); 16] = [
        (
            "gone",
            b"#!/usr/bin/python9 -u\n",
            "its first line wants '/usr/bin/python9' to run it, which is not there",
        ),
        (
            "env",
            b"#! /usr/bin/env no-such-program\n",
            "its first line wants 'no-such-program' to run it",
        ),
        (
            "windows",
            b"#!/bin/sh\r\nexit 0\r\n",
            r"so '/bin/sh\r' is looked for to run it; take the \r out of it",
        ),
        (
            "env-windows",
            b"#!/usr/bin/env sh\r\nexit 0\r\n",
            r"so 'sh\r' is looked for",
        ),
        ("empty", b"", "it is empty"),
        (
            "marked",
            b"\xef\xbb\xbf#!/bin/sh\n",
            "a byte order mark stands before its first line",
        ),
        (
            "text",
            b"echo hello\n",
            "its first line does not say what runs it; write one like #!/bin/sh",
        ),
        ("nameless", b"#!  \n", "its first line names no interpreter"),
        (
            "closed",
            b"#!./plain\n",
            "its first line wants './plain' to run it",
        ),
        (
            "foreign",
            &foreign,
            "it is a program for another kind of machine",
        ),
        (
            "portable",
            b"MZ\x90\x00\x03",
            "it is neither a script nor a program for this machine",
        ),
        (
            "nested",
            b"#!./gone\n",
            "'./gone' is to run it, and cannot be started: its first line wants '/usr/bin/python9'",
        ),
        (
            "windows-argument",
            b"#!/bin/sh -e\r\nexit 0\r\n",
            r"so '/bin/sh' is given '-e\r'; take the \r out of it",
        ),
        (
            "split",
            b"#!/usr/bin/env -S no-such-program -x\n",
            "its first line wants 'no-such-program' to run it, which is not there",
        ),
        (
            "directory",
            b"#!/tmp\n",
            "its first line wants '/tmp' to run it, which cannot be executed",
        ),
        ("right", b"#! \t/bin/sh -e\n", ""),
    ];
    place.write("plain", "");
    let mut config = String::new();
    for (name, text, _) in cases {
        program(name, text);
        config += &format!("[buildsequencer_job.{name}]\ncommand: ./{name}\n");
    }
    config += "[buildsequencer_job.again]\ncommand: ./empty\n[buildsequencer]\nmailproblemsto: a@x\nfromaddress: a@x\nsendmail: ./empty\n";
    let told = said(&place, &config, 0);
    let mut told = told.iter();
    for (at, (name, _, why)) in cases.iter().enumerate() {
        if why.is_empty() || (matches!(*name, "foreign" | "portable") && emulated) {
            continue;
        }
        let line = told.next().unwrap();
        let start = format!(
            "warning: conf:{}: job {name}: './{name}' is executable, but cannot be started: ",
            2 * at + 2
        );
        assert!(line.starts_with(&start) && line.contains(why), "{line}");
    }
    assert!(told.next().unwrap().contains(": job again: './empty'"));
    assert!(told.next().unwrap().contains(": sendmail: './empty'"));
    assert_eq!(told.next(), None);
}

#[test]
fn a_word_that_only_a_shell_knows_is_warned_of_and_no_program() {
    let place = Place::new();
    let told = said(&place, "[buildsequencer_job.a]\ncommand: popd x\n", 78);
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(
        told[0].starts_with("warning: conf:2: job a: only a shell knows 'popd'"),
        "{told:#?}"
    );
    assert_eq!(
        told[1],
        "conf:2: job a: command 'popd' not found: it is no program"
    );
}
