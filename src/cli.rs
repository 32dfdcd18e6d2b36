//! The command line: twistd's options under their own names, and the commands. It decides which file is the
//! configuration; what options do is decided elsewhere. Pure: the environment is an argument, and no path is opened.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::config::values::{self, is_stdout};
use crate::near;
use crate::text::{harmless, listed, shown};

/// What `--help` prints.
pub const HELP: &str = "\
Runs jobs one after the other, each a delay after its last end.

Usage: buildd-sequencer [OPTIONS]            run the daemon in the foreground
       buildd-sequencer COMMAND [OPTIONS]

Commands:
  check [-q]               print the configuration and what is wrong with it
  status [--failed] [--json]
                           what runs, who waits, and how each job is doing
  status JOB [--json]      all about one job, with what it printed as it failed
  history [JOB] [-n N] [--failed] [--json | --svg]
                           the last 20 runs, or N; --svg: as a picture
  run [--wait] JOB         make a job due now, ahead of all others
  kill [JOB]               stop the running run
  pause [JOB]              hold a job, or all
  resume [JOB]             let it go on
  reload                   read the configuration again and say what changed
  healthcheck [--alive]    exit 0 if all is well (--alive: if it answers)
  metrics                  the numbers for Prometheus

Options:
  -c, --config FILE        configuration, a file or a directory of *.conf
                           [$BUILDD_SEQUENCER_CONFIG; with $LPCONFIG
                           configs/$LPCONFIG/launchpad-lazr.conf;
                           /etc/buildd-sequencer.conf]
  -l, --logfile FILE       log to FILE, '-' is standard output
      --pidfile FILE       write the process id to FILE, and hold it
  -d, --rundir DIR         change to DIR first
      --umask MODE         file creation mask, octal
      --name NAME          what it is called, where a host has several
  -u, --uid USER           run as this user, a name or number
  -g, --gid GROUP          run as this group, a name or number
      --daemon             detach once up, as twistd does
  -n, --nodaemon           stay in the foreground (the default)
      --spew               log every decision
      --if-launch          exit 0 at once unless the file says 'launch: true'
  -s, --socket PATH        control socket, to listen on or to ask [the
                           configuration's; for commands before that
                           $BUILDD_SEQUENCER_SOCKET]
  -q, --quiet              with check: only say what is wrong
  -h, --help               this text
  -V, --version            the version

Accepted as twistd's, without effect: -o/--no_save, -y/--python FILE,
--prefix NAME, -b/--debug, -e/--encrypted, -r/--reactor NAME, --originalname,
--savestats, --profiler NAME, -p/--profile FILE.

Exit status: 0 clean stop or done, 1 failure or refused, 2 wrong usage,
3 no daemon answers, 75 the lease has run out, 78 wrong configuration.
";

/// What one invocation is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Run the daemon.
    Daemon,
    /// Check the configuration.
    Check {
        /// Leave the configuration out, and only say what is wrong with it.
        quiet: bool,
    },
    /// Ask a running daemon.
    Ask(Request),
    /// Print the help text.
    Help,
    /// Print the version.
    Version,
}

/// What a running daemon can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// The status table, or all about one job.
    Status {
        /// The job; all of them if none is named.
        job: Option<String>,
        /// JSON instead of text.
        json: bool,
        /// Only of jobs that fail.
        failed: bool,
    },
    /// The runs of the past.
    History(History),
    /// Make a job due now.
    Run {
        /// Its name.
        job: String,
        /// Wait for the run's end, print its output and exit with its code.
        wait: bool,
    },
    /// Stop the running run, of this job if one is named.
    Kill(Option<String>),
    /// Hold one job or all.
    Pause(Option<String>),
    /// Let one job or all go on.
    Resume(Option<String>),
    /// Read the configuration again.
    Reload,
    /// Say whether all is well.
    Healthcheck {
        /// Only whether the loop answers.
        alive: bool,
    },
    /// The numbers for Prometheus.
    Metrics,
}

/// Which runs of the past are asked for, and in which form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Only this job's.
    pub job: Option<String>,
    /// The last so many.
    pub most: Option<usize>,
    /// Only those that failed.
    pub failed: bool,
    /// In which form.
    pub form: Form,
}

/// The form of an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Form {
    /// Lines for people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// A picture, as SVG.
    Svg,
}

impl Form {
    /// The option that asks for it, with a blank before it.
    fn option(self) -> &'static str {
        match self {
            Form::Table => "",
            Form::Json => " --json",
            Form::Svg => " --svg",
        }
    }
}

/// The request as the line that goes over the control socket: the command as one would type it.
impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name must not become two words or two lines. No job has a name with such characters, and the daemon says
        // so. `--` keeps a name from being read as an option.
        let name = |job: &str| {
            let dashes = if job.starts_with('-') { "-- " } else { "" };
            let word = job.replace(|c: char| c.is_whitespace() || c.is_control(), "?");
            format!("{dashes}{word}")
        };
        let of = |word: &str, job: &Option<String>| match job {
            Some(job) => format!("{word} {}", name(job)),
            None => word.to_string(),
        };
        let line = match self {
            Request::Status { job, json, failed } => {
                let json = if *json { " --json" } else { "" };
                let failed = if *failed { " --failed" } else { "" };
                of(&format!("status{json}{failed}"), job)
            }
            Request::History(history) => {
                let most = history.most.map(|most| format!(" -n {most}"));
                let word = format!(
                    "history{}{}{}",
                    most.unwrap_or_default(),
                    if history.failed { " --failed" } else { "" },
                    history.form.option(),
                );
                of(&word, &history.job)
            }
            Request::Run { job, wait: false } => format!("run {}", name(job)),
            Request::Run { job, wait: true } => format!("run --wait {}", name(job)),
            Request::Kill(job) => of("kill", job),
            Request::Pause(job) => of("pause", job),
            Request::Resume(job) => of("resume", job),
            Request::Reload => "reload".to_string(),
            Request::Healthcheck { alive: false } => "healthcheck".to_string(),
            Request::Healthcheck { alive: true } => "healthcheck --alive".to_string(),
            Request::Metrics => "metrics".to_string(),
        };
        f.write_str(&line)
    }
}

/// Reads a line that came over the control socket.
pub fn parse_request(line: &str) -> Result<Request, UsageError> {
    match parse(line.split_whitespace().map(OsString::from))? {
        (Action::Ask(request), options) if options == Options::default() => Ok(request),
        _ => Err(UsageError(format!(
            "not a command for a running daemon: {}",
            shown(line)
        ))),
    }
}

/// The options of an invocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Options {
    /// The configuration file, if one was named.
    pub config: Option<PathBuf>,
    /// The log, which wins over the configuration.
    pub logfile: Option<PathBuf>,
    /// Where to write the process id.
    pub pidfile: Option<PathBuf>,
    /// The directory to run in.
    pub rundir: Option<PathBuf>,
    /// The sequencer's name, which wins over the configuration.
    pub name: Option<Box<str>>,
    /// File creation mask.
    pub umask: Option<u32>,
    /// User to become, name or number.
    pub uid: Option<String>,
    /// Group to become, name or number.
    pub gid: Option<String>,
    /// Detach once up.
    pub daemon: bool,
    /// Log every decision.
    pub spew: bool,
    /// Start only if the configuration says `launch: true`.
    pub if_launch: bool,
    /// Where a command finds the daemon.
    pub socket: Option<PathBuf>,
}

/// A wrong command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

impl UsageError {
    /// What is wrong with it.
    pub(crate) fn new(message: String) -> UsageError {
        UsageError(message)
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let message = harmless(&self.0);
        write!(f, "{message}; see 'buildd-sequencer --help'")
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> UsageError {
        UsageError(error.to_string())
    }
}

/// Reads a command line, without the program's name.
pub fn parse(
    arguments: impl IntoIterator<Item = OsString>,
) -> Result<(Action, Options), UsageError> {
    let mut parser = Parser::from_args(arguments);
    let mut parsed = Parsed::default();
    while let Some(argument) = parser.next()? {
        let option = match argument {
            Arg::Value(word) => {
                parsed.words.push(text(word)?);
                continue;
            }
            // For every other command, and for the daemon, it is twistd's option.
            Arg::Short('n') if parsed.command() == Some("history") => {
                parsed.most = Some(number(&parser.value()?.string()?)?);
                continue;
            }
            Arg::Short(letter) => short_option(letter)?,
            Arg::Long(name) => long_option(name)?,
        };
        match option {
            "help" => return Ok((Action::Help, Options::default())),
            "version" => return Ok((Action::Version, Options::default())),
            option => parsed.option(option, &mut parser)?,
        }
    }
    parsed.finish()
}

/// Every option: its letter, its name, and whether it belongs to the daemon (and `check`) alone.
const OPTIONS: [(char, &str, bool); 31] = [
    ('c', "config", false),
    ('s', "socket", false),
    ('h', "help", false),
    ('V', "version", false),
    ('\0', "json", false),
    ('\0', "svg", false),
    ('\0', "failed", false),
    ('\0', "wait", false),
    ('\0', "alive", false),
    ('q', "quiet", false),
    ('l', "logfile", true),
    ('\0', "pidfile", true),
    ('d', "rundir", true),
    ('\0', "umask", true),
    ('\0', "name", true),
    ('u', "uid", true),
    ('g', "gid", true),
    ('n', "nodaemon", true),
    ('\0', "daemon", true),
    ('\0', "spew", true),
    ('\0', "if-launch", true),
    ('o', "no_save", true),
    ('y', "python", true),
    ('\0', "prefix", true),
    ('b', "debug", true),
    ('e', "encrypted", true),
    ('r', "reactor", true),
    ('\0', "originalname", true),
    ('\0', "savestats", true),
    ('\0', "profiler", true),
    ('p', "profile", true),
];

fn short_option(letter: char) -> Result<&'static str, UsageError> {
    let found = OPTIONS
        .iter()
        .find(|(short, ..)| *short == letter && letter != '\0');
    found
        .map(|(_, name, _)| *name)
        .ok_or_else(|| UsageError(format!("unknown option '-{letter}'")))
}

/// A long option by its name or, as twistd's getopt has it, by any unambiguous beginning.
fn long_option(given: &str) -> Result<&'static str, UsageError> {
    let wanted = given.replace('-', "_");
    let names = || OPTIONS.iter().map(|(_, name, _)| *name);
    let same = |name: &str| name.replace('-', "_");
    if let Some(name) = names().find(|name| same(name) == wanted) {
        return Ok(name);
    }
    let mut starting = names().filter(|name| !wanted.is_empty() && same(name).starts_with(&wanted));
    match (starting.next(), starting.next()) {
        (Some(name), None) => Ok(name),
        (Some(one), Some(other)) => Err(UsageError(format!(
            "option '--{given}' could be '--{one}' or '--{other}'"
        ))),
        _ => {
            let known: Vec<&str> = names().collect();
            let meant = near::nearest(given, &known);
            let meant = meant.map(|name| format!("; did you mean '--{name}'?"));
            let meant = meant.unwrap_or_default();
            Err(UsageError(format!("unknown option '--{given}'{meant}")))
        }
    }
}

/// The pieces of a command line while it is read.
#[derive(Debug, Default)]
struct Parsed {
    options: Options,
    words: Vec<String>,
    json: bool,
    svg: bool,
    failed: bool,
    wait: bool,
    alive: bool,
    /// How many runs of the past.
    most: Option<usize>,
    quiet: bool,
    /// The first option given that only the daemon knows.
    daemons_own: Option<&'static str>,
}

impl Parsed {
    fn option(&mut self, name: &'static str, parser: &mut Parser) -> Result<(), UsageError> {
        if OPTIONS
            .iter()
            .any(|(_, option, daemons_own)| *option == name && *daemons_own)
        {
            self.daemons_own.get_or_insert(name);
        }
        let options = &mut self.options;
        let mut path = || -> Result<Option<PathBuf>, UsageError> {
            let value = parser.value()?;
            if value.is_empty() {
                return Err(UsageError(format!(
                    "option '--{name}' needs a path, not an empty one"
                )));
            }
            Ok(Some(value.into()))
        };
        match name {
            "config" => options.config = path()?,
            "socket" => options.socket = path()?,
            // As with twistd, an empty path is standard output for the log and no pid file for the pid file.
            "logfile" => options.logfile = Some(parser.value()?.into()),
            "pidfile" => options.pidfile = Some(parser.value()?.into()),
            "rundir" => options.rundir = path()?,
            "name" => options.name = Some(called(&parser.value()?.string()?)?),
            "umask" => options.umask = Some(umask(&parser.value()?.string()?)?),
            "uid" => options.uid = Some(parser.value()?.string()?),
            "gid" => options.gid = Some(parser.value()?.string()?),
            "daemon" => options.daemon = true,
            "nodaemon" => options.daemon = false,
            "spew" => options.spew = true,
            "if-launch" => options.if_launch = true,
            "json" => self.json = true,
            "svg" => self.svg = true,
            "failed" => self.failed = true,
            "wait" => self.wait = true,
            "alive" => self.alive = true,
            "quiet" => self.quiet = true,
            "python" | "prefix" | "reactor" | "profiler" | "profile" => drop(parser.value()?),
            _ => {}
        }
        Ok(())
    }

    /// The command, if it has been read.
    fn command(&self) -> Option<&str> {
        self.words.first().map(String::as_str)
    }

    fn finish(self) -> Result<(Action, Options), UsageError> {
        let command = self.command();
        let mut words = self.words.iter().skip(1);
        let job = words.next().cloned();
        // `kill "$JOB"` must not stop whatever runs if JOB is empty.
        if job.as_deref() == Some("") {
            return Err(UsageError("the name of a job cannot be empty".into()));
        }
        if let Some(extra) = words.next() {
            return Err(UsageError(format!("unexpected argument '{extra}'")));
        }
        let action = self.action(command, job)?;
        if let (Action::Ask(_), Some(option)) = (&action, self.daemons_own) {
            return Err(UsageError(format!(
                "option '--{option}' is for the daemon, not for a command"
            )));
        }
        let log = self.options.logfile.as_deref();
        let detaches = action == Action::Daemon && self.options.daemon;
        if let Some(path) = log.filter(|path| detaches && is_stdout(path)) {
            let path = path.display();
            return Err(UsageError(format!(
                "'--daemon' leaves no standard output to log to, so '--logfile {path}' cannot be"
            )));
        }
        Ok((action, self.options))
    }

    fn action(&self, command: Option<&str>, job: Option<String>) -> Result<Action, UsageError> {
        let takes_job = matches!(
            command,
            Some("status" | "history" | "run" | "kill" | "pause" | "resume")
        );
        if let (Some(extra), false) = (&job, takes_job) {
            return Err(UsageError(format!("unexpected argument '{extra}'")));
        }
        let owners: [(bool, &str, &[&str]); 6] = [
            (self.json, "json", &["status", "history"]),
            (self.svg, "svg", &["history"]),
            (self.failed, "failed", &["status", "history"]),
            (self.wait, "wait", &["run"]),
            (self.alive, "alive", &["healthcheck"]),
            (self.quiet, "quiet", &["check"]),
        ];
        for (given, option, owners) in owners {
            if given && !command.is_some_and(|command| owners.contains(&command)) {
                let owners: Vec<String> = owners.iter().map(|owner| format!("'{owner}'")).collect();
                let owners: Vec<&str> = owners.iter().map(String::as_str).collect();
                let owners = listed(&owners, 2);
                return Err(UsageError(format!(
                    "option '--{option}' goes with {owners} only"
                )));
            }
        }
        let form = match (self.json, self.svg) {
            (true, true) => {
                return Err(UsageError("'--json' and '--svg' exclude each other".into()));
            }
            (true, false) => Form::Json,
            (false, true) => Form::Svg,
            (false, false) => Form::Table,
        };
        let request = match command {
            None => return Ok(Action::Daemon),
            Some("check") => return Ok(Action::Check { quiet: self.quiet }),
            Some("status") if self.failed && job.is_some() => {
                return Err(UsageError(
                    "'status --failed' is of all jobs; 'history --failed' takes the name of one"
                        .into(),
                ));
            }
            Some("status") => Request::Status {
                job,
                json: self.json,
                failed: self.failed,
            },
            Some("history") => Request::History(History {
                job,
                most: self.most,
                failed: self.failed,
                form,
            }),
            Some("run") => {
                let job = job.ok_or_else(|| UsageError("'run' needs the name of a job".into()))?;
                Request::Run {
                    job,
                    wait: self.wait,
                }
            }
            Some("kill") => Request::Kill(job),
            Some("pause") => Request::Pause(job),
            Some("resume") => Request::Resume(job),
            Some("reload") => Request::Reload,
            Some("healthcheck") => Request::Healthcheck { alive: self.alive },
            Some("metrics") => Request::Metrics,
            Some(other) => return Err(UsageError(unknown_command(other))),
        };
        Ok(Action::Ask(request))
    }
}

/// The commands.
const COMMANDS: [&str; 10] = [
    "check",
    "status",
    "history",
    "run",
    "kill",
    "pause",
    "resume",
    "reload",
    "healthcheck",
    "metrics",
];

fn unknown_command(word: &str) -> String {
    let instead = match word {
        "start" => "; without a command it is the daemon that starts".to_string(),
        "stop" | "restart" => {
            "; SIGTERM stops the daemon, SIGQUIT lets the running job end first".to_string()
        }
        _ => near::instead(word, &COMMANDS, "the commands are"),
    };
    format!("unknown command '{word}'{instead}")
}

fn text(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| {
        UsageError(format!(
            "argument '{}' is not UTF-8",
            word.to_string_lossy()
        ))
    })
}

/// A number of runs.
fn number(value: &str) -> Result<usize, UsageError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    let number = value.parse().ok().filter(|&number| digits && number > 0);
    let wrong = || UsageError(format!("'-n' takes a number of runs, not '{value}'"));
    number.ok_or_else(wrong)
}

/// What the daemon is called.
fn called(value: &str) -> Result<Box<str>, UsageError> {
    values::name(value).map_err(|why| UsageError(format!("'--name': {why}")))
}

/// A file creation mask, octal as twistd takes it.
fn umask(value: &str) -> Result<u32, UsageError> {
    let digits = value.strip_prefix("0o").unwrap_or(value);
    let mask = u32::from_str_radix(digits, 8)
        .ok()
        .filter(|&mask| mask <= 0o777 && !digits.starts_with('+'));
    mask.ok_or_else(|| {
        UsageError(format!(
            "'--umask' takes an octal number up to 777, not '{value}'"
        ))
    })
}

/// The configuration file: what was named, else what the environment names, else the default.
pub fn config_path(
    named: Option<PathBuf>,
    environment: impl Fn(&str) -> Option<OsString>,
) -> PathBuf {
    let set = |name: &str| environment(name).filter(|value: &OsString| value != OsStr::new(""));
    if let Some(path) = named.or_else(|| set("BUILDD_SEQUENCER_CONFIG").map(PathBuf::from)) {
        return path;
    }
    match set("LPCONFIG") {
        Some(instance) => PathBuf::from("configs")
            .join(instance)
            .join("launchpad-lazr.conf"),
        None => PathBuf::from(DEFAULT_CONFIG),
    }
}

/// The end of a message about a configuration that cannot be read: who named it, and how to name another.
pub fn how_named(by_option: bool, environment: impl Fn(&str) -> Option<OsString>) -> &'static str {
    let set = |name: &str| environment(name).is_some_and(|value| !value.is_empty());
    if by_option {
        ""
    } else if set("BUILDD_SEQUENCER_CONFIG") {
        "; $BUILDD_SEQUENCER_CONFIG names it, -c names another"
    } else if set("LPCONFIG") {
        "; $LPCONFIG names it, counted from the working directory, and -c another"
    } else {
        "; name one with -c"
    }
}

/// The configuration that is read when none is named.
pub const DEFAULT_CONFIG: &str = "/etc/buildd-sequencer.conf";

/// How to begin where there is no configuration at all.
pub const FIRST_STEPS: [&str; 4] = [
    "buildd-sequencer: a configuration needs one job to begin with; buildd-sequencer.conf(5) tells of the rest:",
    "    [buildsequencer_job.hello]",
    "    command: echo hello",
    "    mindelay: 5m",
];

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
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
}
