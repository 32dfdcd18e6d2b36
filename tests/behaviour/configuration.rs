//! Configuration files: which ones the program reads, which values it takes from them, and the errors for wrong ones.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Output;

use crate::common::{Place, Signal, findings, stderr, stdout};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// A job that needs nothing.
const JOB: &str = "[buildsequencer_job.a]\ncommand: true\n";

fn check(place: &Place, file: &str) -> Output {
    place.run(&["check", "-c", file])
}

/// The effective configuration that `check` prints of a file without faults.
#[track_caller]
fn effective(place: &Place, file: &str) -> String {
    let output = check(place, file);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    stdout(&output)
}

/// The value of a job's key in what `check` prints; of the daemon's own for the job ``.
#[track_caller]
fn value(effective: &str, job: &str, key: &str) -> String {
    let header = if job.is_empty() {
        "[buildsequencer]\n".to_string()
    } else {
        format!("[buildsequencer_job.{job}]\n")
    };
    let (_, section) = effective.split_once(&header).expect(effective);
    let section = section.split("\n[").next().unwrap();
    let start = format!("{key}: ");
    let line = section.lines().find_map(|line| line.strip_prefix(&start));
    line.expect(section).to_string()
}

fn jobs(effective: &str) -> Vec<&str> {
    effective
        .lines()
        .filter_map(|line| line.strip_prefix("[buildsequencer_job.")?.strip_suffix(']'))
        .collect()
}

/// A faulty configuration: exit status 78, nothing on standard output, these lines. The daemon says the same.
#[track_caller]
fn faults(place: &Place, file: &str) -> Vec<String> {
    let checked = check(place, file);
    assert_eq!(checked.status.code(), Some(78), "{}", stderr(&checked));
    assert_eq!(stdout(&checked), "");
    let started = place.run(&["-c", file]);
    assert_eq!(started.status.code(), Some(78), "{}", stderr(&started));
    assert_eq!(stdout(&started), "");
    assert_eq!(stderr(&started), findings(&checked));
    stderr(&started).lines().map(str::to_string).collect()
}

#[test]
fn files_extend_each_other_to_any_depth_each_counted_from_the_one_that_names_it() {
    let place = Place::new();
    place.write(
        "etc/top.conf",
        "[meta]\nextends: ../lib/middle.conf\n[buildsequencer_job.a]\nmindelay: 3\n",
    );
    place.write(
        "lib/middle.conf",
        "[meta]\nextends: schema/base.conf\n[buildsequencer_job.a]\nmindelay: 2\ntimeout: 2\n",
    );
    place.write(
        "lib/schema/base.conf",
        &format!("{JOB}mindelay: 1\ntimeout: 1\nkilldelay: 1\n"),
    );
    let text = effective(&place, "etc/top.conf");
    assert_eq!(value(&text, "a", "mindelay"), "3");
    assert_eq!(value(&text, "a", "timeout"), "2");
    assert_eq!(value(&text, "a", "killdelay"), "1");
    assert_eq!(value(&text, "a", "command"), "true");
}

#[test]
fn two_thousand_files_may_extend_each_other_in_and_out_of_directories() {
    let place = Place::new();
    fs::create_dir(place.path("a")).unwrap();
    fs::create_dir(place.path("b")).unwrap();
    for n in 0..2_000 {
        let (here, there) = [("a", "b"), ("b", "a")][n % 2];
        let next = n + 1;
        let text = format!("[meta]\nextends: ../{there}/{next}.conf\n");
        fs::write(place.path(&format!("{here}/{n}.conf")), text).unwrap();
    }
    fs::write(place.path("a/2000.conf"), JOB).unwrap();
    assert_eq!(jobs(&effective(&place, "a/0.conf")), ["a"]);
}

#[test]
fn a_directory_of_configurations_may_be_a_symbolic_link() {
    let place = Place::new();
    place.write(
        "elsewhere/production/top.conf",
        "[meta]\nextends: ../development/base.conf\n",
    );
    place.write("tree/configs/development/base.conf", JOB);
    symlink(
        place.path("elsewhere/production"),
        place.path("tree/configs/production"),
    )
    .unwrap();
    let text = effective(&place, "tree/configs/production/top.conf");
    assert_eq!(jobs(&text), ["a"]);
}

#[test]
fn a_circle_is_an_error_that_names_the_chain() {
    let place = Place::new();
    place.write("a.conf", &format!("[meta]\nextends: b.conf\n{JOB}"));
    place.write("b.conf", "\n\n[meta]\nextends: sub/../c.conf\n");
    place.write("c.conf", "[meta]\n\nextends: a.conf\n");
    assert_eq!(
        faults(&place, "a.conf"),
        [
            "c.conf:3: the files extend each other in a circle: a.conf extends b.conf extends c.conf extends a.conf"
        ]
    );
    place.write("own.conf", &format!("[meta]\nextends: own.conf\n{JOB}"));
    assert_eq!(
        faults(&place, "own.conf"),
        ["own.conf:2: the files extend each other in a circle: own.conf extends own.conf"]
    );
}

#[test]
fn a_circle_by_way_of_a_link_is_one_too() {
    let place = Place::new();
    place.write("a.conf", &format!("[meta]\nextends: link.conf\n{JOB}"));
    symlink("a.conf", place.path("link.conf")).unwrap();
    let faults = faults(&place, "a.conf");
    assert!(faults[0].contains("in a circle"), "{faults:?}");
}

#[test]
fn a_missing_file_is_an_error_that_names_the_chain_and_hides_no_other_fault() {
    let place = Place::new();
    place.write(
        "a.conf",
        "[meta]\nextends: b.conf\n[buildsequencer_job.a]\nmindelay: x\n",
    );
    place.write(
        "b.conf",
        "[buildsequencer]\nspew: perhaps\n[meta]\nextends: gone/c.conf\n",
    );
    assert_eq!(
        faults(&place, "a.conf"),
        [
            "b.conf:2: spew: 'perhaps' is not a boolean: true/false, yes/no, on/off or 1/0",
            "b.conf:4: cannot read 'gone/c.conf': No such file or directory (a.conf extends b.conf extends gone/c.conf)",
            "a.conf:4: mindelay: 'x' is not a duration: seconds as in 5 or 0.25, or with a unit (ms, s, m, h, d) as in 15m",
        ]
    );
    assert_eq!(
        faults(&place, "gone.conf"),
        ["gone.conf:1: cannot read the configuration: No such file or directory"]
    );
}

#[test]
fn what_is_no_regular_file_is_refused_at_once() {
    let place = Place::new();
    fs::create_dir(place.path("dir.conf")).unwrap();
    mkfifo(&place.path("fifo.conf"), Mode::S_IRWXU).unwrap();
    place.write("up.conf", &format!("[meta]\nextends: fifo.conf\n{JOB}"));
    assert_eq!(
        faults(&place, "dir.conf"),
        ["dir.conf:1: there is no file in this directory whose name ends in .conf"]
    );
    assert_eq!(
        faults(&place, "fifo.conf"),
        ["fifo.conf:1: cannot read the configuration: it is not a regular file"]
    );
    assert_eq!(
        faults(&place, "up.conf"),
        [
            "up.conf:2: cannot read 'fifo.conf': it is not a regular file (up.conf extends fifo.conf)"
        ]
    );
    assert_eq!(
        faults(&place, "/dev/null"),
        ["/dev/null:1: cannot read the configuration: it is not a regular file"]
    );
}

#[test]
fn templates_optional_jobs_and_order_go_by_the_whole_chain() {
    let place = Place::new();
    place.write(
        "schema.conf",
        "[buildsequencer_job.template]\ncommand: none\nmindelay: 9\nkilldelay: 9\n\
         [buildsequencer_job.second]\ncommand: true 2\nmindelay: 5\n\
         [buildsequencer_job.offered.optional]\ncommand: true offered\n\
         [buildsequencer_job.unwanted.optional]\n\
         [buildsequencer_job.first]\ncommand: true 1\n",
    );
    place.write(
        "site.conf",
        "[meta]\nextends: schema.conf\n[buildsequencer_job.own]\ncommand: true own\nkilldelay: none\n\
         [buildsequencer_job.offered]\n[buildsequencer_job.first]\nmindelay: 1\n\
         [buildsequencer_job.template]\nmindelay: 7\n",
    );
    let text = effective(&place, "site.conf");
    assert_eq!(jobs(&text), ["second", "first", "own", "offered"]);
    let mindelays = ["second", "first", "own", "offered"].map(|job| value(&text, job, "mindelay"));
    assert_eq!(mindelays, ["5", "1", "7", "7"]);
    assert_eq!(value(&text, "first", "killdelay"), "9");
    assert_eq!(value(&text, "own", "killdelay"), "5");
    assert_eq!(value(&text, "offered", "command"), "true offered");
    assert_eq!(jobs(&effective(&place, "schema.conf")), ["second", "first"]);
}

#[test]
fn every_kind_of_fault_is_told_at_once_with_its_line() {
    let place = Place::new();
    let base = b"early: line\n\
        [meta]\n\
        base: x\n\
        [buildsequencer]\n\
        logfil: x\n\
        launch: 2\n\
        fromaddress: -f\n\
        mailproblemsto: ok@example.com a\xc2\xa0b\n\
        sendmail: /usr/sbin/sendmail \"\n\
        smtphost:\n\
        \x20 \xff\n\
        logsize: 1k\n\
        logkeep: 4294967296\n\
        timeout: 5\n\
        [other]\n\
        \xff\xfe\n\
        [DEFAULT]\n\
        also: ignored\n";
    fs::write(place.path("base.conf"), base).unwrap();
    let top = b"[meta]\n\
        extends: base.conf\n\
        [buildsequencer_job.empty]\n\
        # nothing\n\
        [buildsequencer_job.bad name]\n\
        [buildsequencer_job.]\n\
        [buildsequencer_job.x]\n\
        \x20 indented\n\
        command: sh -c 'a ; b'\n\
        no delimiter\n\
        : no key\n\
        mindelay: 1e3\n\
        stuckafter: 9999d\n\
        maxoutput: 99999999999G\n\
        alwayslog:\n\
        comand: x\n\
        livelog: \x07\n";
    fs::write(place.path("top.conf"), top).unwrap();
    let faults = faults(&place, "top.conf");
    let expected = [
        "base.conf:1: this line comes before any [section]",
        "base.conf:3: unknown key 'base'",
        "base.conf:5: unknown key 'logfil'; did you mean 'logfile'?",
        "base.conf:6: launch: '2' is not a boolean",
        "base.conf:7: fromaddress: bad address '-f': it begins with '-'",
        "base.conf:8: mailproblemsto: bad address 'a\\u{a0}b': it has white space in it",
        "base.conf:9: sendmail: cannot split the command into words: a \" is opened and never closed",
        "base.conf:11: byte 0xff is not UTF-8",
        "base.conf:12: logsize: '1k' is not a size",
        "base.conf:13: logkeep: '4294967296' is too large a number",
        "base.conf:14: unknown key 'timeout'; it belongs to a job",
        "base.conf:17: [DEFAULT] is not supported",
        "top.conf:3: job empty has no command",
        "top.conf:5: bad job name 'bad name': a name is made of letters, digits, '_' and '-'",
        "top.conf:6: bad job name '': a name",
        "top.conf:8: an indented line continues a value, and there is no key above it",
        "top.conf:9: command: cannot split the command into words: a ' is opened and never closed; \
         the ';' after white space began a comment",
        "top.conf:10: 'no delimiter' is neither 'key: value' nor 'key = value'",
        "top.conf:11: there is no key before the ':'",
        "top.conf:12: mindelay: '1e3' is not a duration",
        "top.conf:13: stuckafter: '9999d' is too long: a duration is at most 3650d",
        "top.conf:14: maxoutput: '99999999999G' is too large a size",
        "top.conf:15: alwayslog: a value is missing",
        "top.conf:16: unknown key 'comand'; did you mean 'command'?",
        "top.conf:17: control character U+0007",
    ];
    for (fault, expected) in faults.iter().zip(expected) {
        assert!(fault.starts_with(expected), "{fault}\n{expected}");
    }
    assert_eq!(faults.len(), expected.len(), "{faults:#?}");
}

#[test]
fn no_jobs_is_a_fault_of_line_one() {
    let place = Place::new();
    for text in [
        "",
        "\n\n# nothing\n",
        "[buildsequencer]\n",
        "[buildsequencer_job.template]\ncommand: true\n",
        "[buildsequencer_job.a.optional]\ncommand: true\n",
    ] {
        place.write("conf", text);
        let faults = faults(&place, "conf");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].starts_with("conf:1: no jobs"), "{faults:?}");
    }
}

#[test]
fn sections_of_others_may_hold_latin_1_and_nonsense() {
    let place = Place::new();
    let mut text =
        b"[canonical]\nname: Andr\xe9\n\xa7\n   indented\n: x\n[unclosed\n\0\x07\n".to_vec();
    text.extend(JOB.as_bytes());
    text.extend(b"# Andr\xe9\n[z]\n\x80\n");
    fs::write(place.path("conf"), &text).unwrap();
    assert_eq!(jobs(&effective(&place, "conf")), ["a"]);
}

#[test]
fn dos_line_ends_and_a_byte_order_mark_are_no_part_of_the_text() {
    let place = Place::new();
    let text = "\u{feff}[buildsequencer]\r\nlogfile: -\r\n\r\n[buildsequencer_job.a]\r\n\
                command: true\r\n  --more\r\nmindelay: 5\r\nrem\r\n";
    fs::write(place.path("conf"), text).unwrap();
    let text = effective(&place, "conf");
    assert_eq!(value(&text, "a", "mindelay"), "5");
    assert!(text.contains("command: true\n    --more\n"), "{text}");
}

#[test]
fn comments_and_continuation_lines_are_python_s() {
    let place = Place::new();
    place.write(
        "conf",
        "; comment\n# comment\nREM comment\n[buildsequencer_job.a] ; comment\n\
         Command = true 50% \\\\ one;two  ; comment\n\n# in between\n   ; three\n\t# four\nMINDELAY=5\t;comment\n\
         timeout: 1\ntimeout: 2\n",
    );
    let output = check(&place, "conf");
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert!(
        text.contains("command: true 50% \\\\ one;two  ; comment\n    ; three\n    # four\n"),
        "{text}"
    );
    assert_eq!(value(&text, "a", "mindelay"), "5");
    assert_eq!(value(&text, "a", "timeout"), "2");
}

#[test]
fn thirty_thousand_jobs_are_read() {
    let place = Place::new();
    let mut text = String::from("[buildsequencer_job.template]\nmindelay: 5m\n");
    for n in 0..30_000 {
        text += &format!("[buildsequencer_job.j{n}]\ncommand: true {n}\ntimeout: {n}\n");
    }
    place.write("conf", &text);
    let text = effective(&place, "conf");
    let jobs = jobs(&text);
    assert_eq!(jobs.len(), 30_000);
    assert!(
        jobs.iter()
            .enumerate()
            .all(|(n, job)| *job == format!("j{n}"))
    );
    assert_eq!(value(&text, "j29999", "timeout"), "29999");
}

#[test]
fn a_line_of_three_megabytes_is_quoted_in_part() {
    let place = Place::new();
    let long = "x".repeat(3_000_000);
    place.write("conf", &format!("{JOB}mindelay: {long}\n{long}\n"));
    let faults = faults(&place, "conf");
    assert_eq!(faults.len(), 2);
    assert!(faults.iter().all(|line| line.len() < 300));
}

#[test]
fn launchpad_s_shape_of_files_is_read_by_its_instance() {
    let place = Place::new();
    place.write(
        "lib/schema-lazr.conf",
        "[canonical]\n# datatype: string\nname: none\n[buildsequencer]\n# datatype: string\nlogfile: none\nlaunch: False\n\
         mailproblemsto: none\nfromaddress: launchpad@lists.canonical.com\nsmtphost: localhost\n\
         [buildsequencer_job.template]\n# datatype: string\ncommand: none\nmindelay: 1\nalwayslog: False\n\
         [buildsequencer_job.scan]\ncommand: true scan\nmindelay: 5\n",
    );
    place.write(
        "configs/development/launchpad-lazr.conf",
        "[meta]\nextends: ../../lib/schema-lazr.conf\n[buildsequencer]\nmailproblemsto: root\nlogfile: -\n[buildsequencer_job.scan]\nmindelay: 10\n",
    );
    place.write(
        "configs/testrunner/launchpad-lazr.conf",
        "[meta]\nextends: ../development/launchpad-lazr.conf\n[buildsequencer]\nmailproblemsto: -\n[buildsequencer_job.scan]\nmindelay: 7\n",
    );
    let mut command = place.command();
    command.arg("check").env("LPCONFIG", "testrunner");
    let output = crate::common::finish(command);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(value(&stdout(&output), "scan", "mindelay"), "7");
    assert_eq!(value(&stdout(&output), "", "mailproblemsto"), "-");
}

#[test]
fn a_directory_is_all_its_files_in_the_order_of_their_names() {
    let place = Place::new();
    place.write(
        "base.conf",
        "[buildsequencer]\nlogsize: 1\nlogkeep: 1\n[buildsequencer_job.template]\nmindelay: 7\n",
    );
    place.write(
        "conf.d/20-b.conf",
        "[buildsequencer_job.b]\ncommand: true b\n[buildsequencer_job.a]\ntimeout: 20\n",
    );
    place.write("conf.d/10-a.conf", "[meta]\nextends: ../base.conf\n[buildsequencer]\nlogkeep: 2\n[buildsequencer_job.a]\ncommand: true a\ntimeout: 10\n");
    place.write(
        "conf.d/Z.conf",
        "[buildsequencer_job.c]\ncommand: true c\n[buildsequencer]\nlogsize: 3\n",
    );
    place.write("conf.d/.hidden.conf", "faulty");
    place.write("conf.d/30.conf~", "faulty");
    place.write("conf.d/README", "faulty");
    for name in ["conf.d", "conf.d/", "./conf.d"] {
        let effective = effective(&place, name);
        assert_eq!(jobs(&effective), ["a", "b", "c"]);
        for (job, key, expected) in [
            ("", "logsize", "3"),
            ("", "logkeep", "2"),
            ("a", "timeout", "20"),
            ("a", "command", "true a"),
            ("b", "mindelay", "7"),
        ] {
            assert_eq!(value(&effective, job, key), expected, "{job} {key}");
        }
    }
    // By its bytes a capital letter is before a small one, and a digit before both.
    place.write("conf.d/a.conf", "[buildsequencer]\nlogsize: 4\n");
    assert_eq!(value(&effective(&place, "conf.d"), "", "logsize"), "4");
}

#[test]
fn faults_in_a_directory_name_the_file_and_what_is_no_file_is_one() {
    let place = Place::new();
    place.write("d/a.conf", &format!("{JOB}user: x\n"));
    fs::create_dir(place.path("d/b.conf")).unwrap();
    symlink("gone", place.path("d/c.conf")).unwrap();
    mkfifo(&place.path("d/e.conf"), Mode::S_IRWXU).unwrap();
    assert_eq!(
        faults(&place, "d"),
        [
            "d/a.conf:3: unknown key 'user'; everything runs as the user of option -u; for one job begin its command with: \
             runuser -u NAME -- (as root), or sudo -n -u NAME",
            "d/b.conf:1: cannot read the configuration: it is a directory",
            "d/c.conf:1: cannot read the configuration: No such file or directory",
            "d/e.conf:1: cannot read the configuration: it is not a regular file",
        ]
    );
    // A base is read for each file that extends it, and its faults are told once.
    place.write("based/base", "[buildsequencer]\nmindelay: 1\nlogkeep: x\n");
    for name in ["a", "b", "c"] {
        let file = format!("based/{name}.conf");
        place.write(&file, &format!("[meta]\nextends: base\n{JOB}"));
    }
    let found = faults(&place, "based");
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("based/base:2: unknown key 'mindelay'"));
    assert!(found[1].starts_with("based/base:3: logkeep"), "{found:?}");
    // A link to a file is as good as one.
    place.write("elsewhere", "[buildsequencer_job.z]\ncommand: true\n");
    place.write("sound/x", "");
    symlink("../elsewhere", place.path("sound/z.conf")).unwrap();
    assert_eq!(jobs(&effective(&place, "sound")), ["z"]);
    place.write("none/x", "");
    assert_eq!(
        faults(&place, "none"),
        ["none:1: there is no file in this directory whose name ends in .conf"]
    );
    place.write("jobless/x.conf", "[buildsequencer]\n");
    assert_eq!(faults(&place, "jobless").len(), 1);
    assert!(faults(&place, "jobless")[0].starts_with("jobless:1: no jobs: "));
    place.write("extending.conf", "[meta]\nextends: sound\n");
    assert_eq!(
        faults(&place, "extending.conf"),
        ["extending.conf:2: cannot read 'sound': it is a directory (extending.conf extends sound)"]
    );
}

#[test]
fn a_reload_lists_a_directory_anew() {
    let place = Place::new();
    place.write(
        "d/b.conf",
        "[buildsequencer_job.b]\ncommand: true\nmindelay: 1h\n",
    );
    let daemon = place.daemon_with("", |command| {
        command.args(["-c", "d"]);
    });
    daemon.wait_for_log("Scheduling b");
    place.write(
        "d/a.conf",
        "[buildsequencer]\nlogkeep: 3\n[buildsequencer_job.a]\ncommand: true\nmindelay: 1h\n",
    );
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Added job a\n");
    daemon.wait_for_log("Changed logkeep: 10 -> 3\n");
    fs::remove_file(place.path("d/b.conf")).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("Removed job b\n");
    fs::remove_file(place.path("d/a.conf")).unwrap();
    daemon.signal(Signal::SIGHUP);
    daemon.wait_for_log("d:1: there is no file in this directory whose name ends in .conf\n");
    daemon.wait_for_log("Configuration not reloaded: 1 fault, nothing has changed.\n");
    daemon.stop();
}

#[test]
fn a_file_of_optional_jobs_alone_says_how_to_name_them() {
    let place = Place::new();
    let job = |name: &str| format!("[buildsequencer_job.{name}.optional]\ncommand: true\n");
    place.write("conf", &format!("{}{}", job("b"), job("a")));
    assert_eq!(
        faults(&place, "conf"),
        [
            "conf:1: no jobs: there are only optional ones, b and a; to run one name it, as in [buildsequencer_job.b], here or in a file that extends this one"
        ]
    );
}

#[test]
fn where_there_are_no_jobs_a_section_that_may_hold_one_is_told() {
    let place = Place::new();
    place.write("conf", "[buildsequencer_job:a]\ncommand: true\n");
    let told = faults(&place, "conf");
    assert_eq!(told.len(), 2, "{told:#?}");
    assert!(told[0].starts_with("conf:1: no jobs"), "{told:#?}");
    assert!(
        told[1].starts_with("conf:1: the section '[buildsequencer_job:a]' is ignored"),
        "{told:#?}"
    );
}

#[test]
fn words_of_other_programs_say_what_to_do_here() {
    let place = Place::new();
    for (key, part) in [
        ("user", "option -u"),
        ("directory", "env -C DIRECTORY"),
        ("environment", "env NAME=value"),
        ("schedule", "'mindelay' after its last end"),
        ("enabled", "[buildsequencer_job.NAME.optional]"),
    ] {
        place.write("conf", &format!("{JOB}{key}: x\n"));
        let told = faults(&place, "conf");
        assert!(
            told[0].starts_with(&format!("conf:3: unknown key '{key}'; ")),
            "{told:#?}"
        );
        assert!(
            told[0].contains(part) && !told[0].contains("did you mean"),
            "{told:#?}"
        );
    }
    place.write("conf", &format!("{JOB}mindelai: 5\nfoo\u{a0}: 5\n"));
    let told = faults(&place, "conf");
    assert_eq!(
        told[0],
        "conf:3: unknown key 'mindelai'; did you mean 'mindelay'?"
    );
    assert!(
        told[1].starts_with(
            r"conf:4: unknown key 'foo\u{a0}'; the keys here are: command, mindelay, "
        ),
        "{told:#?}"
    );
}
