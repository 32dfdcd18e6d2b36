//! Configuration lines that surely do not mean what they say: the warnings of `check`, the start and a reload. None of
//! these lines stops anything.

use crate::common::{Place, messages, stderr, stdout};

/// A job that does nothing for now.
fn job(name: &str, command: &str) -> String {
    format!("[buildsequencer_job.{name}]\ncommand: {command}\nmindelay: 1h\n")
}

/// What `check` says of a configuration beside printing it.
fn said(place: &Place, config: &str) -> Vec<String> {
    place.write("conf", config);
    let output = place.run(&["check", "-c", "conf"]);
    assert!(
        stdout(&output).starts_with("[buildsequencer]\n"),
        "{}",
        stderr(&output)
    );
    stderr(&output).lines().map(str::to_string).collect()
}

/// The warnings among that.
fn warnings(place: &Place, config: &str) -> Vec<String> {
    let warning = |line: &String| Some(line.strip_prefix("warning: ")?.to_string());
    said(place, config).iter().filter_map(warning).collect()
}

#[test]
fn a_line_that_needs_a_shell_is_a_warning_with_its_place() {
    let place = Place::new();
    for (command, expected) in [
        (
            "rm -rfv old >> cleanup.log 2>&1",
            "rm gets '>>' and '2>&1' as arguments",
        ),
        (
            "touch stamp && ./work || ./alarm",
            "touch gets '&&' and '||' as arguments",
        ),
        ("sh -c './work' > work.log", "sh gets '>' as an argument"),
        (
            "touch backup-$(date +%F).tar",
            "touch gets 'backup-$(date' as an argument",
        ),
        (
            "echo test | mail ops@example.com",
            "echo gets '|' as an argument",
        ),
        ("true --prep\t# Prep", "true gets '#' as an argument"),
        (
            "env >> /logs/p.log 2>&1",
            "env gets '>>' and '2>&1' as arguments",
        ),
        (
            "test -x $HOME/daily && $HOME/daily",
            "test gets '$HOME/daily' and '&&' as arguments",
        ),
        ("rsync -a ~/src /dst", "rsync gets '~/src' as an argument"),
        (
            "FOO=bar cmd",
            "'FOO=bar' is looked for as a program; write: env FOO=bar cmd",
        ),
        ("cp a `date +%F`", "cp gets '`date' and '+%F`' as arguments"),
        (
            "rm -f /srv/st*.tmp 2>/dev/null",
            "rm gets '/srv/st*.tmp' and '2>/dev/null' as arguments",
        ),
        (
            "*/5 * * * * cmd",
            "the times of a crontab mean nothing here: '*/5' is looked for",
        ),
        (
            "@daily cmd",
            "the times of a crontab mean nothing here: '@daily'",
        ),
        ("-/usr/bin/x", "- before a path is for systemd"),
        ("cd /srv && make", "only a shell knows 'cd'"),
        (
            "echo a\u{a0}b",
            r"'\u{a0}' is a blank that separates nothing here",
        ),
    ] {
        let told = warnings(&place, &job("a", command));
        assert_eq!(told.len(), 1, "{command}\n{told:#?}");
        assert!(
            told[0].starts_with("conf:2: job a: ") && told[0].contains(expected),
            "{told:#?}"
        );
        // The same of sendmail, which is no job's.
        let sendmail = format!(
            "[buildsequencer]\nsendmail: {command}\n{}",
            job("a", "true")
        );
        let told = warnings(&place, &sendmail);
        assert_eq!(told.len(), 1, "{command}\n{told:#?}");
        assert!(told[0].starts_with("conf:2: sendmail: "), "{told:#?}");
    }
}

#[test]
fn a_line_that_is_right_is_passed_over() {
    let place = Place::new();
    for command in [
        "find /tmp -name \"*.x\" -exec rm {} \\;",
        "find . ( -name a -o -name b )",
        "echo http://h/?a=1&b=2",
        "sh -c 'a | b > c 2>&1'",
        "awk '{print $1}' f",
        "sh -c \"echo $HOME\"",
        "date +%F",
        "expr 3 '>' 2",
        "echo -g 'daemon off;'",
        "echo --x=a;b",
        "env python -c \"print(1 > 0)\"",
        "echo -Xloggc:/tmp/gc_%t_%p.log",
        "echo -c \"select * from x\"",
        "true %(ENV_HOME)s",
        "sh -c 'cd /srv && exec x'",
        "echo --range=1..5 -- *",
    ] {
        let told = said(&place, &job("a", command));
        assert!(
            !told.iter().any(|line| line.starts_with("warning")),
            "{command}\n{told:#?}"
        );
    }
}

#[test]
fn lines_keys_and_sections_that_are_not_what_they_seem_are_warnings() {
    let place = Place::new();
    let config = "[buildsequencer]\nlogfile: stdout\nstatefile: state; kept\nlogsize: 1\nlogsize: 0\n\
                  [buildsequencer_job.a]\ncommand: echo hi\n  mindelay: 5m\n[buildsequenser]\n[buildsequencer_job:b]\n\
                  [ buildsequencer_job.c ]\n[Meta]\n[buildsequencer_job.a]\nmindelay: 1h\n[other]\n  [buildsequencer_job.d]\n";
    let told = warnings(&place, config);
    let expected = [
        "conf:2: logfile: this is a file called 'stdout'",
        "conf:3: statefile: ';' begins no comment here",
        "conf:5: logsize has been set in line 4 already",
        "conf:8: this line is indented and so continues 'command'; to set mindelay",
        "conf:9: the section '[buildsequenser]' is ignored",
        "conf:10: the section '[buildsequencer_job:b]' is ignored",
        "conf:11: the section '[ buildsequencer_job.c ]' is ignored",
        "conf:12: the section '[Meta]' is ignored",
        "conf:13: job a has a section in line 6 already",
        "conf:16: this line begins no section, since something stands before its bracket",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (line, expected) in told.iter().zip(expected) {
        assert!(line.starts_with(expected), "{line}");
    }
}

#[test]
fn a_start_logs_twenty_warnings_after_loaded_and_goes_on() {
    let place = Place::new();
    let jobs: String = (0..25)
        .map(|n| job(&format!("a{n}"), &format!("echo {n} > out")))
        .collect();
    let daemon = place.daemon(&format!(
        "{jobs}[buildsequencer_job.first]\ncommand: echo ran >&2\nstartdelay: 0\n"
    ));
    daemon.wait_for_log("Job first completed with exit code 0");
    let told = messages(&daemon.log());
    let loaded = told.iter().position(|line| line == "Loaded.").unwrap();
    for (n, line) in told[loaded + 1..].iter().take(20).enumerate() {
        let start = format!("conf:{}: job a{n}: no shell reads this command", 3 * n + 2);
        assert!(line.starts_with(&start), "{line}");
    }
    assert_eq!(told[loaded + 21], "and 6 more: see check");
    // Not a shell: the sign is an argument.
    assert!(!place.path("out").exists());
    daemon.stop();
}

#[test]
fn a_reload_answers_with_warnings_each_time_and_logs_them_once() {
    let place = Place::new();
    let socket = "[buildsequencer]\ncontrolsocket: socket\n";
    let config = format!("{socket}{}", job("a", "echo hi > there"));
    let daemon = place.daemon(&config);
    daemon.wait_for_log("Scheduling a");
    let warning = "conf:4: job a: no shell reads this command, so echo gets '>' as an argument, just as it stands; \
                   write: sh -c 'echo hi > there', or put quotes around what is meant to be an argument";
    for _ in 0..2 {
        let output = place.run(&["reload", "-s", "socket"]);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(
            stdout(&output),
            format!("Configuration reloaded: nothing has changed.\nwarning: {warning}\n")
        );
    }
    assert_eq!(daemon.log().matches(warning).count(), 1, "{}", daemon.log());
    place.write("conf", &format!("{config}{}", job("b", "x | y")));
    let output = stdout(&place.run(&["reload", "-s", "socket"]));
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!((lines.len(), lines[0]), (3, "Added job b"), "{output}");
    assert!(
        lines[2].starts_with("warning: conf:7: job b: no shell"),
        "{output}"
    );
    let log = daemon.stop();
    assert_eq!(
        (
            log.matches("job a: no shell").count(),
            log.matches("job b: no shell").count()
        ),
        (1, 1),
        "{log}"
    );
}
