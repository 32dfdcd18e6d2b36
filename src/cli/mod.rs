//! The command line: twistd's options under their own names, and the commands. It decides which file is the
//! configuration; what options do is decided elsewhere. Pure: the environment is an argument, and no path is opened.

mod request;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use lexopt::{Arg, Parser, ValueExt};

use crate::config::values::{self, is_stdout};
use crate::near;
use crate::text::{harmless, listed, shown};

pub use request::{Form, History, Request};

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
    /// Where the daemon listens, and where a command finds it.
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
        let is_to_start = matches!(action, Action::Daemon | Action::Check { .. });
        let detaches = is_to_start && self.options.daemon;
        if let Some(path) = log.filter(|path| detaches && is_stdout(path)) {
            let path = path.display();
            return Err(UsageError(format!(
                "'--daemon' leaves no standard output to log to, so '--logfile {path}' cannot be"
            )));
        }
        Ok((action, self.options))
    }

    /// Refuses a job or an option that does not go with the command.
    fn check(&self, command: Option<&str>, job: Option<&str>) -> Result<(), UsageError> {
        let takes_job = matches!(
            command,
            Some("status" | "history" | "run" | "kill" | "pause" | "resume")
        );
        if let (Some(extra), false) = (job, takes_job) {
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
        Ok(())
    }

    fn action(&self, command: Option<&str>, job: Option<String>) -> Result<Action, UsageError> {
        self.check(command, job.as_deref())?;
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
mod tests;
