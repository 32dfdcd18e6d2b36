//! Tests of `check`.

use super::*;
use crate::config::ControlSocket;
use crate::config::made::read;
use proptest::prelude::*;
use std::rc::Rc;

/// The configuration with everything said that was left to a default.
fn said(mut config: Config) -> Config {
    for at in 0..config.jobs.len() {
        let mut job = (*config.jobs[at]).clone();
        let settings = Rc::make_mut(&mut job.settings);
        settings.startdelay.get_or_insert(settings.mindelay);
        settings.stuckafter_by_hand = true;
        settings
            .mailinterval
            .get_or_insert(config.sequencer.mailinterval);
        let all = &config.sequencer.mailproblemsto;
        settings.mailproblemsto.get_or_insert(Rc::clone(all));
        config.jobs[at] = Rc::new(job);
    }
    if config.sequencer.controlsocket == ControlSocket::Default {
        config.sequencer.controlsocket = ControlSocket::At(crate::config::CONTROL_SOCKET.into());
    }
    config
}

#[test]
fn every_key_is_printed_with_its_value() {
    let config = read(
        "[buildsequencer_job.b]\ncommand: x  y\n[buildsequencer_job.a]\ncommand: z\nmindelay: 2.50m\nmailinterval: 1h",
    );
    assert_eq!(
        print(&config),
        "[buildsequencer]\nname: none\nlogfile: -\nloglevel: info\nlogformat: twistd\nlaunch: false\nmailproblemsto: -\nfromaddress: launchpad@lists.canonical.com\n\
         smtphost: localhost\nspew: false\nsendmail: /usr/sbin/sendmail -i\nmailinterval: 0\nlogsize: 1000000\nlogkeep: 10\n\
         statefile: none\nstopdelay: 0\ncontrolsocket: /run/buildd-sequencer/control.sock\nmetricsfile: none\nlisten: none\nleasefile: none\n\
         \n[buildsequencer_job.b]\ncommand: x  y\nmindelay: 1\nalwayslog: false\ntimeout: 0\nkilldelay: 5\nstuckafter: 3600\n\
         startdelay: 1\nmailproblemsto: -\nmailinterval: 0\nmaxdelay: 0\nmaxoutput: 1048576\nlivelog: false\n\
         \n[buildsequencer_job.a]\ncommand: z\nmindelay: 150\nalwayslog: false\ntimeout: 0\nkilldelay: 5\nstuckafter: 3600\n\
         startdelay: 150\nmailproblemsto: -\nmailinterval: 3600\nmaxdelay: 0\nmaxoutput: 1048576\nlivelog: false\n"
    );
}

#[test]
fn a_value_that_would_be_cut_beside_its_key_stands_below_it() {
    let config = read("[buildsequencer_job.a]\ncommand:\n  sh -c 'a ; b'\n  c ; d\n");
    let text = print(&config);
    assert!(
        text.contains("\ncommand:\n    sh -c 'a ; b'\n    c ; d\n"),
        "{text}"
    );
    assert_eq!(read(&text).jobs[0].command, config.jobs[0].command);
}

fn warned(lines: &str) -> Vec<String> {
    let config = read(&format!("[buildsequencer_job.a]\ncommand: x\n{lines}"));
    let warnings = warnings(&config).into_iter();
    warnings.map(|(_, line)| line).collect()
}

#[test]
fn a_job_without_a_pause_is_unwise() {
    assert!(warned("mindelay: 0.001").is_empty());
    assert_eq!(
        warned("mindelay: 0"),
        ["job a: mindelay 0 starts it again and again without a pause"]
    );
}

#[test]
fn stuckafter_beyond_timeout_is_unwise_if_someone_set_it() {
    for fine in [
        "timeout: 60",
        "stuckafter: 2h",
        "stuckafter: 60\ntimeout: 60",
        "stuckafter: 0\ntimeout: 60",
    ] {
        assert!(warned(fine).is_empty(), "{fine}");
    }
    assert_eq!(
        warned("stuckafter: 2m\ntimeout: 60"),
        ["job a: stuckafter 120 is beyond timeout 60, so it never has an effect"]
    );
}

#[test]
fn output_that_may_take_all_memory_is_unwise() {
    assert!(warned("maxoutput: 256M").is_empty());
    assert_eq!(
        warned("maxoutput: 1G"),
        [
            "job a: maxoutput 1073741824 is memory, for each stream and once more for a report; where there is too little, the daemon is ended"
        ]
    );
}

#[test]
fn maxdelay_below_mindelay_is_unwise() {
    assert!(warned("mindelay: 5\nmaxdelay: 6").is_empty());
    assert!(warned("mindelay: 5\nmaxdelay: 0").is_empty());
    assert_eq!(
        warned("mindelay: 1m\nmaxdelay: 60"),
        ["job a: maxdelay 60 is not beyond mindelay 60, so it never has an effect"]
    );
}

#[test]
fn mail_from_the_built_in_sender_is_unwise() {
    let sequencer = |lines: &str| warned(&format!("[buildsequencer]\n{lines}"));
    assert!(sequencer("mailproblemsto: -").is_empty());
    assert!(sequencer("mailproblemsto:").is_empty());
    assert!(sequencer("mailproblemsto: a@x\nfromaddress: b@x").is_empty());
    for mailed in [
        sequencer("mailproblemsto: - a@x"),
        warned("mailproblemsto: a@x"),
    ] {
        assert_eq!(mailed.len(), 1);
        assert!(mailed[0].contains("built-in launchpad@lists.canonical.com"));
    }
    // It is told where the first recipient stands.
    let text = "[buildsequencer]\nmailproblemsto: -\n[buildsequencer_job.a]\ncommand: x\n\
                [buildsequencer_job.b]\ncommand: x\nmailproblemsto: a@x\n";
    assert_eq!(warnings(&read(text))[0].0, About::Job(1));
}

#[test]
fn a_metrics_file_under_another_name_is_unwise() {
    for (path, expected) in [
        ("/x/a.prom", 0),
        ("none", 0),
        ("/x/a", 1),
        ("/x/a.prom.txt", 1),
        ("/x/prom", 1),
        ("/x/.prom", 1),
    ] {
        let warnings = warned(&format!("[buildsequencer]\nmetricsfile: {path}"));
        assert_eq!(warnings.len(), expected, "{path}");
    }
}

fn lines_of(
    keys: &'static [(&'static str, &'static [&'static str])],
) -> impl Strategy<Value = String> {
    let line = prop::sample::select(keys).prop_flat_map(|(key, values)| {
        prop::sample::select(values).prop_map(move |value| format!("{key}: {value}\n"))
    });
    prop::collection::vec(line, 0..8).prop_map(|lines| lines.concat())
}

const DURATIONS: &[&str] = &["0", "0.25", "90s", "1.5h", "3650d", "0.000000001", "none"];
const COMMANDS: &[&str] = &[
    "true",
    "sh -c 'a;b'",
    "\n  sh -c 'a ; b'\n  \"c\n  d\"",
    "\n ;x",
    "a # b %c \\; \u{a0}é",
    "\n\t\"\"x",
];
const TARGETS: &[&str] = &[
    "-",
    "",
    "none",
    "a@x",
    "- a@x\n  b@x",
    "- -",
    "<a@x>, b@x,",
    ",none",
    "none, a@x",
];
const PATHS: &[&str] = &["none", "", "-", "/a b", "\n /x ;y", "\n \"\"", "rel/é", ";"];
const LEVELS: &[&str] = &["error", "Warning", "none"];
const FORMATS: &[&str] = &["json", "TWISTD", "none"];
const BOOLEANS: &[&str] = &["yes", "OFF", "1", "none", "False"];

proptest! {
    #[test]
    fn a_printed_configuration_reads_back_as_the_same(
        sequencer in lines_of(&[
            ("name", &["a", "none", "b-1.C_d"]), ("logfile", PATHS), ("statefile", PATHS), ("metricsfile", PATHS), ("controlsocket", PATHS),
            ("mailproblemsto", TARGETS), ("launch", BOOLEANS), ("loglevel", LEVELS), ("logformat", FORMATS), ("spew", BOOLEANS), ("sendmail", COMMANDS),
            ("smtphost", &["localhost", "\n a ; b", "\n  \"\"", "none"]), ("fromaddress", &["a@x", "none", "<None>", "<b@x>", "\n é@x"]),
            ("listen", &["none", ":9", "localhost:80", "127.0.0.1:65535", "[::1]:5"]), ("leasefile", PATHS),
            ("mailinterval", DURATIONS), ("stopdelay", DURATIONS), ("logsize", &["0", "1G", "none"]), ("logkeep", &["7"]),
        ]),
        jobs in prop::collection::vec(lines_of(&[
            ("command", COMMANDS), ("mindelay", DURATIONS), ("timeout", DURATIONS), ("killdelay", DURATIONS),
            ("stuckafter", DURATIONS), ("startdelay", DURATIONS), ("maxdelay", DURATIONS), ("mailinterval", DURATIONS),
            ("mailproblemsto", TARGETS), ("alwayslog", BOOLEANS), ("livelog", BOOLEANS), ("maxoutput", &["0", "64K", "none"]),
        ]), 1..4),
    ) {
        let mut text = format!("[buildsequencer]\n{sequencer}");
        for (number, lines) in jobs.iter().enumerate() {
            let _ = write!(text, "[buildsequencer_job.j{number}]\ncommand: first\n{lines}");
        }
        let config = read(&text);
        let printed = print(&config);
        let again = read(&printed);
        prop_assert_eq!(&print(&again), &printed);
        prop_assert_eq!(said(again), said(config));
    }
}
