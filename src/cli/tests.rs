use super::*;

fn words(line: &str) -> Vec<OsString> {
    line.split_whitespace().map(OsString::from).collect()
}

fn ok(line: &str) -> (Action, Options) {
    parse(words(line)).unwrap()
}

fn error(line: &str) -> String {
    parse(words(line)).unwrap_err().to_string()
}

#[test]
fn a_twistd_start_script_needs_only_its_program_name_changed() {
    let (action, options) = ok(
        "--no_save --nodaemon --python daemons/buildd-sequencer.tac --prefix=Sequencer \
         --reactor poll -b -e --pidfile /run/s.pid --logfile /var/log/s.log -d /srv --umask 022 -u lp -g lp --spew",
    );
    assert_eq!(action, Action::Daemon);
    assert_eq!(options.pidfile, Some("/run/s.pid".into()));
    assert_eq!(options.logfile, Some("/var/log/s.log".into()));
    assert_eq!(options.rundir, Some("/srv".into()));
    assert_eq!(options.umask, Some(0o22));
    assert_eq!(
        (options.uid.as_deref(), options.gid.as_deref()),
        (Some("lp"), Some("lp"))
    );
    assert!(options.spew && !options.daemon);
    assert_eq!(
        ok("-noy daemons/x.tac -l- -u33").1.uid.as_deref(),
        Some("33")
    );
    assert_eq!(ok("--no-save --log x --pid y").1.pidfile, Some("y".into()));
    let profiled = "--originalname --savestats --profiler cProfile --profile f -p g -n";
    assert_eq!(ok(profiled), (Action::Daemon, Options::default()));
    assert_eq!(ok("--name b-1.C_d").1.name.as_deref(), Some("b-1.C_d"));
    let empty = ok("--pidfile= --logfile=").1;
    assert_eq!(empty.pidfile, Some("".into()));
    assert_eq!(empty.logfile, Some("".into()));
}

#[test]
fn commands_take_their_own_arguments() {
    assert_eq!(
        ok("status --json -s /x").0,
        Action::Ask(Request::Status {
            job: None,
            json: true,
            failed: false
        })
    );
    assert_eq!(
        ok("run --wait a").0,
        Action::Ask(Request::Run {
            job: "a".into(),
            wait: true
        })
    );
    let history = ok("history --json a -n5").0;
    let expected = History {
        job: Some("a".into()),
        most: Some(5),
        failed: false,
        form: Form::Json,
    };
    assert_eq!(history, Action::Ask(Request::History(expected)));
    assert_eq!(ok("-c x pause").0, Action::Ask(Request::Pause(None)));
    assert_eq!(ok("check -c x -l y").0, Action::Check { quiet: false });
    for quiet in ["check -q", "-q check", "check --quiet"] {
        assert_eq!(ok(quiet).0, Action::Check { quiet: true });
    }
    assert_eq!(
        ok("--frobnicate-not -h".split(' ').next_back().unwrap()).0,
        Action::Help
    );
}

#[test]
fn a_name_goes_to_the_daemon_as_one_word_that_is_no_option() {
    for (name, line) in [
        ("a", "kill a"),
        ("-a", "kill -- -a"),
        ("--socket=x", "kill -- --socket=x"),
        ("a b\nc\u{1}", "kill a?b?c?"),
    ] {
        let request = Request::Kill(Some(name.into()));
        assert_eq!(request.to_string(), line);
    }
    for request in [
        Request::Kill(Some("--a".into())),
        Request::Run {
            job: "-w".into(),
            wait: true,
        },
        Request::Pause(None),
        Request::Status {
            job: None,
            json: true,
            failed: true,
        },
        Request::Status {
            job: None,
            json: false,
            failed: true,
        },
        Request::Status {
            job: Some("--json".into()),
            json: true,
            failed: false,
        },
        Request::Metrics,
        Request::History(History::default()),
        Request::History(History {
            job: Some("-n".into()),
            most: Some(7),
            failed: true,
            form: Form::Svg,
        }),
        Request::Healthcheck { alive: true },
    ] {
        assert_eq!(parse_request(&request.to_string()), Ok(request));
    }
}

#[test]
fn an_empty_name_does_not_mean_all_jobs() {
    for command in ["status", "history", "run", "kill", "pause", "resume"] {
        let error = parse([command.into(), OsString::new()]).unwrap_err();
        let expected = "the name of a job cannot be empty";
        assert!(error.to_string().starts_with(expected), "{error}");
    }
}

#[test]
fn wrong_usage_is_named() {
    for (line, expected) in [
        ("--nope", "unknown option '--nope'; see"),
        (
            "--logfle x",
            "unknown option '--logfle'; did you mean '--logfile'?; see",
        ),
        (
            "statsu",
            "unknown command 'statsu'; did you mean 'status'?; see",
        ),
        ("stop", "unknown command 'stop'; SIGTERM stops the daemon"),
        ("-q", "option '--quiet' goes with 'check' only"),
        ("-x", "unknown option '-x'"),
        ("--p x", "option '--p' could be '--pidfile' or '--python'"),
        (
            "launch",
            "unknown command 'launch'; the commands are: check, status, history, run, kill, pause, resume, reload, healthcheck and metrics; see",
        ),
        ("run", "'run' needs the name of a job"),
        ("run a b", "unexpected argument 'b'"),
        ("reload a", "unexpected argument 'a'"),
        ("metrics a", "unexpected argument 'a'"),
        (
            "status --failed a",
            "'status --failed' is of all jobs; 'history --failed' takes",
        ),
        ("--wait", "option '--wait' goes with 'run' only"),
        (
            "run --json a",
            "option '--json' goes with 'status' and 'history' only",
        ),
        ("status --svg", "option '--svg' goes with 'history' only"),
        (
            "history --svg --json",
            "'--json' and '--svg' exclude each other",
        ),
        ("history -n 0", "'-n' takes a number of runs, not '0'"),
        ("history -n +1", "'-n' takes a number of runs, not '+1'"),
        ("history -n", "missing argument"),
        ("history a b", "unexpected argument 'b'"),
        ("status -n 5", "option '--nodaemon' is for the daemon"),
        ("status -l x", "option '--logfile' is for the daemon"),
        (
            "--umask 9",
            "'--umask' takes an octal number up to 777, not '9'",
        ),
        (
            "--name a/b",
            "'--name': 'a/b' is not a name: it is made of letters, digits",
        ),
        ("--name=", "'--name': '' is not a name"),
        ("--name none", "'--name': 'none' is not a name"),
        ("status --name a", "option '--name' is for the daemon"),
        ("--umask 1777", "'--umask' takes"),
        ("--daemon -l -", "'--daemon' leaves no standard output"),
        (
            "check --daemon -l -",
            "'--daemon' leaves no standard output",
        ),
        (
            "-l /dev/stdout --daemon",
            "'--daemon' leaves no standard output to log to, so '--logfile /dev/stdout' cannot be",
        ),
        ("-c", "missing argument"),
        ("--nodaemon=yes", "unexpected argument"),
    ] {
        let error = error(line);
        assert!(error.starts_with(expected), "{line}: {error}");
        assert!(
            error.ends_with("; see 'buildd-sequencer --help'"),
            "{error}"
        );
    }
}

#[test]
fn the_help_text_fits_a_terminal() {
    for line in HELP.lines() {
        assert!(line.chars().count() < 80, "{line}");
    }
    for command in COMMANDS {
        assert!(HELP.contains(&format!("\n  {command} ")), "{command}");
    }
    for (_, option, _) in OPTIONS {
        assert!(HELP.contains(&format!("--{option}")), "{option}");
    }
}

#[test]
fn who_named_a_configuration_that_is_not_there_is_told() {
    let told = |by_option, variables: &'static [&str]| {
        how_named(by_option, |name| {
            variables.contains(&name).then(|| "x".into())
        })
    };
    assert_eq!(told(true, &["LPCONFIG"]), "");
    assert!(
        told(false, &["LPCONFIG", "BUILDD_SEQUENCER_CONFIG"])
            .contains("$BUILDD_SEQUENCER_CONFIG names")
    );
    assert!(
        told(false, &["LPCONFIG"])
            .contains("$LPCONFIG names it, counted from the working directory")
    );
    assert!(told(false, &[]).contains("name one with -c"));
    assert!(how_named(false, |_| Some(OsString::new())).contains("name one with -c"));
}

#[test]
fn the_configuration_is_named_by_option_then_environment_then_default() {
    let environment = |pairs: &'static [(&str, &str)]| {
        move |name: &str| {
            pairs
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| OsString::from(v))
        }
    };
    let both = &[("BUILDD_SEQUENCER_CONFIG", "b"), ("LPCONFIG", "testrunner")];
    assert_eq!(
        config_path(Some("a".into()), environment(both)),
        PathBuf::from("a")
    );
    assert_eq!(config_path(None, environment(both)), PathBuf::from("b"));
    let instance = PathBuf::from("configs/testrunner/launchpad-lazr.conf");
    assert_eq!(config_path(None, environment(&both[1..])), instance);
    assert_eq!(
        config_path(None, environment(&[("LPCONFIG", "")])),
        PathBuf::from("/etc/buildd-sequencer.conf")
    );
}
