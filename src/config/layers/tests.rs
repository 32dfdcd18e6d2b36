//! Tests of `layers`.

use super::*;
use crate::config::ControlSocket;
use proptest::prelude::*;
use std::time::Duration;

/// The chain of these texts, base first, each with its name.
fn chain(files: &[(&str, &str)]) -> Chain {
    let file = |(path, text): &(&str, &str)| File {
        path: (*path).into(),
        text: text.as_bytes().to_vec(),
    };
    Chain {
        files: files.iter().map(file).collect(),
        ..Chain::default()
    }
}

/// Files with these texts, named `0` for the deepest base and so on.
#[track_caller]
fn over_each_other(texts: &[&str]) -> Config {
    let names = ["0", "1", "2", "3"];
    let files: Vec<_> = names.into_iter().zip(texts.iter().copied()).collect();
    match parse(chain(&files)) {
        Ok(loaded) => loaded.config,
        Err(faults) => panic!("{faults:#?}"),
    }
}

fn lines(texts: &[&str]) -> Vec<String> {
    let names = ["0", "1", "2", "3"];
    let files: Vec<_> = names.into_iter().zip(texts.iter().copied()).collect();
    match parse(chain(&files)) {
        Ok(loaded) => panic!("no fault in {:#?}", loaded.config),
        Err(faults) => faults.iter().map(ToString::to_string).collect(),
    }
}

fn warnings(texts: &[&str]) -> Vec<String> {
    let files: Vec<_> = ["0", "1", "2", "3"]
        .into_iter()
        .zip(texts.iter().copied())
        .collect();
    let (warnings, _) = parse(chain(&files)).unwrap().warnings(usize::MAX);
    warnings.iter().map(ToString::to_string).collect()
}

fn names(config: &Config) -> Vec<&str> {
    config.jobs.iter().map(|job| &*job.name).collect()
}

fn mindelays(config: &Config) -> Vec<u64> {
    let delay = |job: &Rc<Job>| job.settings.mindelay.as_secs();
    config.jobs.iter().map(delay).collect()
}

#[test]
fn a_job_without_settings_has_the_defaults() {
    let config = over_each_other(&["[buildsequencer_job.a]\ncommand: x y"]);
    assert_eq!(*config.jobs[0].settings, Settings::default());
    assert_eq!(config.jobs[0].argv(), ["x", "y"]);
    assert_eq!(
        Config {
            jobs: vec![],
            ..config
        },
        Config::default()
    );
}

#[test]
fn the_file_on_top_wins_key_by_key() {
    let config = over_each_other(&[
        "[buildsequencer]\nspew: yes\nlogsize: 1\n[buildsequencer_job.a]\ncommand: x\nmindelay: 2",
        "[buildsequencer]\nlogsize: 2\n[buildsequencer_job.a]\nmindelay: 3\ntimeout: 9",
        "[buildsequencer_job.a]\nmindelay: 4",
    ]);
    assert!(config.sequencer.spew);
    assert_eq!(config.sequencer.logsize, 2);
    assert_eq!(mindelays(&config), [4]);
    assert_eq!(config.jobs[0].settings.timeout, Duration::from_secs(9));
}

#[test]
fn in_one_file_the_last_of_repeated_sections_and_keys_wins() {
    let config = over_each_other(&[
        "[buildsequencer_job.a]\ncommand: x\nmindelay: 2\nMINDELAY: 3\n[buildsequencer]\nspew: yes\n\
             [buildsequencer_job.a]\nmindelay = 4\n[buildsequencer]\nspew: no\n",
    ]);
    assert_eq!(mindelays(&config), [4]);
    assert!(!config.sequencer.spew);
}

#[test]
fn jobs_keep_the_order_in_which_the_chain_first_names_them() {
    let config = over_each_other(&[
        "[buildsequencer_job.c]\ncommand: x\n[buildsequencer_job.z.optional]\ncommand: x\n[buildsequencer_job.b]\ncommand: x",
        "[buildsequencer_job.d]\ncommand: x\n[buildsequencer_job.b]\n[buildsequencer_job.z]",
        "[buildsequencer_job.a]\ncommand: x\n[buildsequencer_job.c]\n[buildsequencer_job.d]",
    ]);
    assert_eq!(names(&config), ["c", "b", "d", "z", "a"]);
}

#[test]
fn a_jobs_own_key_beats_the_template_wherever_they_stand() {
    let config = over_each_other(&[
        "[buildsequencer_job.a]\nmindelay: 5\ncommand: own\n[buildsequencer_job.b]",
        "[buildsequencer_job.template]\nmindelay: 6\ntimeout: 7\ncommand: shared",
        "[buildsequencer_job.template]\nmindelay: 8\n[buildsequencer_job.c]\ntimeout: 9",
    ]);
    assert_eq!(mindelays(&config), [5, 8, 8]);
    let timeouts: Vec<_> = config
        .jobs
        .iter()
        .map(|j| j.settings.timeout.as_secs())
        .collect();
    assert_eq!(timeouts, [7, 7, 9]);
    let commands: Vec<_> = config.jobs.iter().map(|j| &*j.command).collect();
    assert_eq!(commands, ["own", "shared", "shared"]);
}

#[test]
fn the_template_is_no_job() {
    let faults = lines(&["[buildsequencer_job.template]\ncommand: x"]);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("0:1: no jobs"), "{}", faults[0]);
}

#[test]
fn none_in_a_job_is_the_built_in_default_not_the_templates() {
    let config = over_each_other(&[
        "[buildsequencer_job.template]\nmindelay: 6\nstuckafter: 5\nmailproblemsto: t@x\nmailinterval: 7\nstartdelay: 3\n\
             maxoutput: 1\nalwayslog: on\n[buildsequencer_job.a]\ncommand: x\nmindelay: None\nstuckafter: NONE\n\
             mailproblemsto: none\nmailinterval: none\nstartdelay: none\nmaxoutput: none\nalwayslog: none",
    ]);
    assert_eq!(*config.jobs[0].settings, Settings::default());
}

#[test]
fn none_and_empty_recipients_of_a_job_are_not_the_same() {
    let config = over_each_other(&[
        "[buildsequencer]\nmailproblemsto: all@x\n[buildsequencer_job.template]\ncommand: x\nmailproblemsto: t@x -\n\
             [buildsequencer_job.a]\n[buildsequencer_job.b]\nmailproblemsto: none\n[buildsequencer_job.c]\nmailproblemsto:\n\
             [buildsequencer_job.d]\nmailproblemsto: -\n[buildsequencer_job.e]\nmailproblemsto: b@x\n   c@x\td@x",
    ]);
    let recipients: Vec<Vec<&str>> = config
        .jobs
        .iter()
        .map(|job| {
            config
                .sequencer
                .recipients(job)
                .iter()
                .map(|to| &**to)
                .collect()
        })
        .collect();
    let expected: [&[&str]; 5] = [&["t@x", "-"], &["all@x"], &[], &[], &["b@x", "c@x", "d@x"]];
    assert_eq!(recipients, expected);
}

#[test]
fn none_takes_back_what_a_lower_file_set() {
    let config = over_each_other(&[
        "[buildsequencer]\nlogfile: l\nstatefile: s\nmetricsfile: m\nmailproblemsto: a@x\nfromaddress: b@x\nsendmail: c\n\
             smtphost: h\nspew: 1\nlaunch: 1\nmailinterval: 9\nlogsize: 9\nlogkeep: 9\nstopdelay: 9\n[buildsequencer_job.a]\ncommand: x",
        "[buildsequencer]\nlogfile: none\nstatefile: none\nmetricsfile: none\nmailproblemsto: none\nfromaddress: none\nsendmail: none\n\
             smtphost: none\nspew: none\nlaunch: none\nmailinterval: none\nlogsize: none\nlogkeep: none\nstopdelay: none",
    ]);
    assert_eq!(
        Config {
            jobs: vec![],
            ..config
        },
        Config::default()
    );
}

#[test]
fn none_turns_the_control_socket_off() {
    for (value, expected) in [
        ("none", ControlSocket::Off),
        ("", ControlSocket::Off),
        ("/s", ControlSocket::At("/s".into())),
    ] {
        let text =
            format!("[buildsequencer]\ncontrolsocket: {value}\n[buildsequencer_job.a]\ncommand: x");
        assert_eq!(over_each_other(&[&text]).sequencer.controlsocket, expected);
    }
}

#[test]
fn paths_may_be_empty_and_a_dash_is_standard_output() {
    let config = over_each_other(&[
        "[buildsequencer]\nlogfile: x\nlogfile:\nstatefile: \"\"\nmetricsfile: ; nowhere\n[buildsequencer_job.a]\ncommand: x",
    ]);
    assert_eq!(
        (
            config.sequencer.logfile,
            config.sequencer.statefile,
            config.sequencer.metricsfile
        ),
        (None, None, None)
    );
    let config =
        over_each_other(&["[buildsequencer]\nlogfile: -\n[buildsequencer_job.a]\ncommand: x"]);
    assert_eq!(config.sequencer.logfile, None);
}

#[test]
fn an_optional_job_runs_only_if_it_is_named() {
    let base = "[buildsequencer_job.a.optional]\ncommand: x\nmindelay: 5\n[buildsequencer_job.b.optional]\ncommand: y\n\
                    [buildsequencer_job.d]\ncommand: z";
    assert_eq!(names(&over_each_other(&[base])), ["d"]);
    let named = over_each_other(&[
        base,
        "[buildsequencer_job.b]",
        "[buildsequencer_job.a]\ntimeout: 1",
    ]);
    assert_eq!(names(&named), ["d", "b", "a"]);
    assert_eq!(mindelays(&named), [1, 1, 5]);
}

#[test]
fn a_plain_section_names_the_optional_one_beside_it_and_lies_over_it() {
    let config = over_each_other(&[
        "[buildsequencer_job.a]\nmindelay: 7\n[buildsequencer_job.a.optional]\ncommand: x\nmindelay: 5\ntimeout: 3",
    ]);
    assert_eq!(names(&config), ["a"]);
    assert_eq!(mindelays(&config), [7]);
    assert_eq!(config.jobs[0].settings.timeout, Duration::from_secs(3));
}

#[test]
fn an_optional_job_that_nobody_names_may_lack_a_command_but_not_hold_faults() {
    let job = "[buildsequencer_job.b]\ncommand: x\n[buildsequencer_job.a.optional]\n";
    assert_eq!(names(&over_each_other(&[job])), ["b"]);
    assert_eq!(
        lines(&[&format!("{job}mindelay: x\nmindelai: 5")]),
        [
            "0:4: mindelay: 'x' is not a duration: seconds as in 5 or 0.25, or with a unit (ms, s, m, h, d) as in 15m",
            "0:5: unknown key 'mindelai'; did you mean 'mindelay'?",
        ]
    );
}

#[test]
fn settings_that_are_the_same_are_kept_once() {
    let config = over_each_other(&[
        "[buildsequencer_job.template]\ncommand: x\n[buildsequencer_job.a]\nmindelay: 5\n[buildsequencer_job.b]\nmindelay: 5s\n\
             [buildsequencer_job.c]\nmindelay: 6",
    ]);
    assert!(Rc::ptr_eq(
        &config.jobs[0].settings,
        &config.jobs[1].settings
    ));
    assert!(!Rc::ptr_eq(
        &config.jobs[0].settings,
        &config.jobs[2].settings
    ));
}

#[test]
fn every_fault_of_every_file_is_told_in_order() {
    let base = "stray\n[buildsequencer]\nspew: maybe\nlogsize: 1T\nlogkeep: -1\nfromaddress: a b\nmailproblemsto: a@x -oops\n\
                    mailintervall: 5\nsendmail:\nmindelay: 5\n[DEFAULT]\nx: y\n[unknown]\n\u{7}\n";
    let top = "[buildsequencer_job.a]\n[buildsequencer_job.b]\ncommand: 'x\nmindelay: 5 s\nwhat\n[buildsequencer_job.c/d]\n\
                   command: x\nmindelay: x\nwhat\n[buildsequencer_job.template]\ntimeout: 4000d\n[buildsequencer_job.e]\ncommand: none\nlogsize: 5";
    let expected = [
        "0:1: this line comes before any [section]; what is below [buildsequencer] is for the daemon, what is below [buildsequencer_job.NAME] for a job",
        "0:3: spew: 'maybe' is not a boolean: true/false, yes/no, on/off or 1/0",
        "0:4: logsize: '1T' is not a size: bytes as in 65536, or with K, M or G as in 64K",
        "0:5: logkeep: '-1' is not a whole number",
        "0:6: fromaddress: bad address 'a b': it has white space in it; give the bare address, as in ops@example.com",
        "0:7: mailproblemsto: bad address '-oops': it begins with '-', which sendmail would take for an option; give the bare address, as in ops@example.com",
        "0:8: unknown key 'mailintervall'; did you mean 'mailinterval'?",
        "0:9: sendmail: a value is missing; 'none' stands for the default",
        "0:10: unknown key 'mindelay'; it belongs to a job",
        "0:11: [DEFAULT] is not supported; defaults for jobs go to [buildsequencer_job.template]",
        "1:1: job a has no command",
        "1:3: command: cannot split the command into words: a ' is opened and never closed",
        "1:4: mindelay: '5 s' is not a duration: seconds as in 5 or 0.25, or with a unit (ms, s, m, h, d) as in 15m",
        "1:5: 'what' is neither 'key: value' nor 'key = value'; a line that continues a value is indented",
        "1:6: bad job name 'c/d': a name is made of letters, digits, '_' and '-'",
        "1:8: mindelay: 'x' is not a duration: seconds as in 5 or 0.25, or with a unit (ms, s, m, h, d) as in 15m",
        "1:9: 'what' is neither 'key: value' nor 'key = value'; a line that continues a value is indented",
        "1:11: timeout: '4000d' is too long: a duration is at most 3650d",
        "1:12: job e has no command",
        "1:14: unknown key 'logsize'; it belongs to [buildsequencer]",
    ];
    assert_eq!(lines(&[base, top]), expected);
}

#[test]
fn a_value_that_another_overrides_may_not_be_faulty_either() {
    let faults = lines(&[
        "[buildsequencer_job.a]\ncommand: x\nmindelay: soon\nmindelay: 5",
        "[buildsequencer_job.a]\nmindelay: 6",
    ]);
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("0:3: mindelay: 'soon'"));
}

#[test]
fn a_faulty_command_is_not_also_missing() {
    for command in [
        "command: 'x",
        "command x",
        "command: \u{7}",
        "Command:",
        "command: x\n  \u{7}",
    ] {
        let faults = lines(&[&format!("[buildsequencer_job.a]\n{command}\n")]);
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(!faults[0].contains("has no command"));
    }
    let shared = "[buildsequencer_job.template]\ncommand: \"x\n[buildsequencer_job.a]\n[buildsequencer_job.b]\ncommand: none";
    let faults = lines(&[shared]);
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert_eq!(faults[1], "0:4: job b has no command");
}

#[test]
fn a_misnamed_job_is_not_also_a_lack_of_jobs() {
    assert_eq!(lines(&["[buildsequencer_job.a.b]\ncommand: x"]).len(), 1);
    // Neither of these can be the reason why there is no job.
    assert_eq!(lines(&["[DEFAULT]"]).len(), 2);
    assert_eq!(lines(&["command: x"]).len(), 2);
}

#[test]
fn no_jobs_at_all_is_a_fault_of_the_topmost_file() {
    for texts in [
        &["", ""],
        &["[meta]\n", "\n\n[buildsequencer]\n"],
        &["", "\u{feff}"],
    ] {
        let faults = lines(texts);
        assert_eq!(faults.len(), 1);
        assert!(faults[0].starts_with("1:1: no jobs: there is no [buildsequencer_job.NAME]"));
        assert!(!faults[0].contains(".master"));
    }
    // It was a job of that name before there were templates.
    let faults = lines(&["[buildsequencer_job.master]\ncommand: x\n"]);
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert!(
        faults[0].ends_with("a job needs another name"),
        "{faults:?}"
    );
}

#[test]
fn where_a_file_is_missing_nothing_is_said_to_be_missing() {
    let mut chain = chain(&[("a", "[buildsequencer_job.a]\nmindelay: x")]);
    chain.broken = true;
    let faults = parse(chain).unwrap_err();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].line, 2);
}

#[test]
fn a_message_has_one_short_line_whatever_the_value() {
    let long = "x".repeat(1_000_000);
    let text = format!(
        "[buildsequencer]\nspew: {long}\nfromaddress: a\n  b\n{long}: 1\nlogfile: a\n  b\nlogsize: 1\n\t2\n\
             [buildsequencer_job.{long}!]\n[buildsequencer_job.a]\ncommand: x\n{long}\n"
    );
    let faults = lines(&[&text]);
    assert_eq!(faults.len(), 7, "{faults:?}");
    // The keys that there are, which are more with each new one, are not what is long.
    let keys = crate::config::keys::names(&crate::config::keys::SEQUENCER)
        .join(", ")
        .len();
    for fault in &faults {
        let listed = if fault.contains("the keys here are") {
            keys
        } else {
            0
        };
        assert!(fault.len() < 200 + listed, "{} bytes", fault.len());
        assert!(!fault.contains(char::is_control), "{fault}");
    }
    assert!(faults[1].contains(r"'a\nb'"), "{}", faults[1]);
}

#[test]
fn a_quote_that_a_comment_left_open_names_the_semicolon() {
    let faults = lines(&[
        "[buildsequencer_job.a]\ncommand: sh -c 'a ; b'\n[buildsequencer_job.b]\ncommand: sh -c 'a;b",
    ]);
    assert!(
        faults[0].contains("never closed; the ';' after white space began a comment"),
        "{}",
        faults[0]
    );
    assert!(faults[1].ends_with("never closed"), "{}", faults[1]);
}

#[test]
fn a_command_that_ends_in_a_comment_is_a_warning() {
    let text = "[buildsequencer]\nlogfile: x ; y\n[buildsequencer_job.template]\ncommand: a ; b\n\
                    [buildsequencer_job.b]\ncommand: sh -c 'a; b'\n[buildsequencer_job.c]\ncommand: \n  a ; b\n\
                    [buildsequencer_job.d]\ncommand: a\t;b\n";
    let mut warnings = warnings(&[text]);
    warnings.retain(|warning| warning.contains("begins a comment"));
    assert_eq!(warnings.len(), 2, "{warnings:?}");
    assert!(warnings[0].starts_with("0:4: the ';' after white space begins a comment"));
    assert!(warnings[1].starts_with("0:11: the ';'"));
}

#[test]
fn a_command_of_the_template_is_a_warning() {
    let told = warnings(&[
        "[buildsequencer_job.template]\ncommand: a\ntimeout: 1\n[buildsequencer_job.a]\ncommand: x",
        "[buildsequencer_job.b]\ncommand: y\n[buildsequencer_job.master]\nCommand:\n  b",
        "[buildsequencer_job.template]\ncommand: NONE",
        "[buildsequencer_job.template]\ncommand: c",
    ]);
    let places: Vec<_> = told.iter().map(|line| &line[..4]).collect();
    assert_eq!(places, ["0:2:", "1:4:", "3:2:"], "{told:?}");
    let expected = "0:2: a command here is run by every job that has none of its own; \
                        write it in the section of the job that is to run it";
    assert_eq!(told[0], expected);
}

#[test]
fn template_and_master_are_one_section() {
    let config = over_each_other(&[
        "[buildsequencer_job.master]\nmindelay: 2\ntimeout: 3\n[buildsequencer_job.template]\nmindelay: 4\n\
             [buildsequencer_job.a]\ncommand: x",
        "[buildsequencer_job.b]\ncommand: x\ntimeout: 5\n[buildsequencer_job.master]\nkilldelay: 6",
    ]);
    assert_eq!(names(&config), ["a", "b"]);
    assert_eq!(mindelays(&config), [4, 4]);
    let others: Vec<_> = config
        .jobs
        .iter()
        .map(|job| {
            (
                job.settings.timeout.as_secs(),
                job.settings.killdelay.as_secs(),
            )
        })
        .collect();
    assert_eq!(others, [(3, 6), (5, 6)]);
    let faults = lines(&["[buildsequencer_job.master]\ncommand: x"]);
    assert!(faults[0].starts_with("0:1: no jobs"), "{faults:?}");
}

#[test]
fn a_file_that_is_indented_as_a_whole_is_read_with_its_own_line_numbers() {
    let config = over_each_other(&[
        "    [buildsequencer_job.a]\n    command:\n        x\n          y\n\n    mindelay: 5\n",
    ]);
    assert_eq!(
        (&*config.jobs[0].command, mindelays(&config)),
        ("x\ny", vec![5])
    );
    assert_eq!(
        lines(&["\t[buildsequencer_job.a]\r\n\r\n\tcommand: x\r\n\t\ty\r\n\tmindelay: soon\r\n"])
            .len(),
        1
    );
    assert!(
        lines(&["\n  [buildsequencer_job.a]\n  command: x\n  what\n"])[0]
            .starts_with("0:4: 'what'")
    );
}

#[test]
fn an_smtphost_elsewhere_is_one_warning() {
    let job = "[buildsequencer_job.a]\ncommand: x\n[buildsequencer]\nsmtphost: ";
    for usual in ["localhost", "LOCALHOST", "none"] {
        assert!(warnings(&[&format!("{job}{usual}")]).is_empty());
    }
    let twice = format!("{job}mail.example.com\nsmtphost: mx.example.com");
    let mut told = warnings(&[&format!("{job}first.example.com"), &twice]);
    told.retain(|line| !line.contains("already"));
    assert_eq!(
        told,
        ["1:5: smtphost has no effect: mail goes through sendmail, not to 'mx.example.com'"]
    );
    let told = warnings(&[&twice, "[buildsequencer]\nsmtphost: localhost"]);
    assert!(told.iter().all(|line| line.contains("already")), "{told:?}");
}

proptest! {
    #[test]
    fn any_files_give_a_configuration_or_faults_of_one_line_each(
        texts in prop::collection::vec(prop::collection::vec(prop::sample::select(vec![
            "[meta]\n", "[buildsequencer]\n", "[buildsequencer_job.a]\n", "[buildsequencer_job.a.optional]\n",
            "[buildsequencer_job.template]\n", "[buildsequencer_job.\n]", "[x]\n", "[DEFAULT]\n", "command: ", "mindelay=",
            "mailproblemsto: ", "logfile:", "smtphost: ", "none", "\n", "\n  ", " ;", "'", "\"", "\\", "-", "a@x", "5", "99999999999999999999",
            ".", "d", "K", "\u{7}", "\u{202e}", "\u{a0}", "é", "\r",
        ]), 0..40), 0..4)
    ) {
        let texts: Vec<String> = texts.iter().map(|pieces| pieces.concat()).collect();
        let files: Vec<_> = texts.iter().map(|text| ("f", text.as_str())).collect();
        match parse(chain(&files)) {
            Ok(loaded) => {
                prop_assert!(!loaded.config.jobs.is_empty());
                for job in &loaded.config.jobs {
                    prop_assert!(!job.argv().is_empty());
                }
            }
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    let lines = texts.iter().map(|text| text.split('\n').count()).max().unwrap_or(1);
                    prop_assert!((1..=lines).contains(&fault.line));
                    prop_assert!(!fault.message.contains(char::is_control), "{}", fault);
                }
            }
        }
    }
}
