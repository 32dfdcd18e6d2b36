//! From the command line to a running daemon: directory, mask, configuration, log, pid file, signals. `check` has a file
//! of its own. Any fault ends the start with a clear line and an exit status. Nothing is retried but the locks of
//! another daemon, which are waited for while that one stops.

mod check;

use std::fmt;
use std::io::{self, Write};
use std::os::unix::process::parent_id;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use nix::sys::stat::{Mode, umask};
use nix::unistd::geteuid;

use crate::cli::{self, Action, Options};
use crate::config::values::is_stdout;
use crate::config::{self, Fault, Loaded, Origins, Sequencer};
use crate::daemon::{self, Daemon, Holds, Source};
use crate::event::Event;
use crate::exit;
use crate::system::capabilities;
use crate::system::claim::{self, Claim, LEASE_FILE, STATE_FILE};
use crate::system::detach::Detaching;
use crate::system::errors::error_text;
use crate::system::files::{self, Files};
use crate::system::lease;
use crate::system::lock::Patience;
use crate::system::log::{Log, Rotation};
use crate::system::pidfile::{self, PidFile, Taker};
use crate::system::privileges::Account;
use crate::system::signals::{Early, Signals};
use crate::verify::{self, Beside};

pub use check::{Checked, check};

/// What an empty `--logfile=` means.
const STDOUT: &str = "-";
/// The pid file of a detached daemon. Like twistd's, it is in the run directory.
const TWISTD_PID: &str = "twistd.pid";
/// The umask of a detached daemon, as with twistd.
const TWISTD_UMASK: u32 = 0o077;

/// How long the daemon waits for another one's end before it logs that.
const QUIET_WAIT: Duration = Duration::from_secs(6);

/// Why the program ends before it has begun its work.
#[derive(Debug)]
pub struct Failed {
    /// Exit status.
    pub status: u8,
    /// Lines for the operator.
    pub lines: Vec<String>,
}

impl Failed {
    /// With this status, where everything has been said already.
    fn silently(status: u8) -> Failed {
        Failed {
            status,
            lines: Vec::new(),
        }
    }

    fn at_run_time(line: impl fmt::Display) -> Failed {
        Failed {
            status: exit::FAILURE,
            lines: vec![format!("buildd-sequencer: {line}")],
        }
    }
}

/// Where relative paths start from: those of the command line from the starting directory; those of the configuration
/// from the run directory, which is the working directory once `enter` has returned.
#[derive(Debug)]
pub struct Directories {
    start: PathBuf,
    /// The inherited file creation mask, if another one has been set.
    inherited_mask: Option<Mode>,
}

impl Directories {
    /// Before anything has been changed.
    pub fn here() -> Directories {
        Directories {
            start: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            inherited_mask: None,
        }
    }

    /// Changes to the run directory and sets the file creation mask.
    pub fn enter(&mut self, options: &Options) -> Result<(), Failed> {
        if let Some(directory) = &options.rundir {
            std::env::set_current_dir(directory).map_err(|error| {
                let directory = directory.display();
                Failed::at_run_time(format!(
                    "cannot change to run directory '{directory}': {}",
                    error_text(&error)
                ))
            })?;
        }
        let mask = options.umask.or(options.daemon.then_some(TWISTD_UMASK));
        self.inherited_mask = mask.map(|mask| umask(Mode::from_bits_truncate(mask)));
        Ok(())
    }

    /// Calls `act` under the inherited file creation mask.
    fn under_inherited_mask<T>(&self, act: impl FnOnce() -> T) -> T {
        let set = self.inherited_mask.map(umask);
        let result = act();
        set.map(umask);
        result
    }

    /// What the files of a daemon that starts here have to be apart from.
    fn beside<'a>(&'a self, read: &'a Origins, pidfile: Option<&'a Path>) -> Beside<'a> {
        Beside {
            read,
            from: &self.start,
            pidfile,
            before: None,
        }
    }

    fn on_command_line(&self, path: &Path) -> PathBuf {
        self.start.join(path)
    }
}

/// Reads the configuration that the command line and the environment name.
#[inline(never)] // As with `set_up`.
pub fn load(
    options: &Options,
    directories: &Directories,
    files: &Files,
) -> Result<(PathBuf, Loaded), Failed> {
    let environment = |name: &str| std::env::var_os(name);
    let path = cli::config_path(options.config.clone(), environment);
    match config::load(&path, &directories.start, files) {
        Ok(loaded) => Ok((path, loaded)),
        Err(faults) => {
            let mut failed = faulty(&faults);
            let is_unreadable = files::can_open(&directories.on_command_line(&path)).is_err();
            if let Some(line) = failed.lines.first_mut().filter(|_| is_unreadable) {
                line.push_str(cli::how_named(options.config.is_some(), environment));
            }
            Err(failed)
        }
    }
}

/// What the faults of a configuration end a start with.
fn faulty(faults: &[Fault]) -> Failed {
    Failed {
        status: exit::CONFIG,
        lines: faults.iter().map(ToString::to_string).collect(),
    }
}

/// Runs the daemon until it is told to stop.
pub fn daemon(options: &Options, early: Early) -> Result<(), Failed> {
    early.stop_cleanly().map_err(cannot_watch)?;
    shed_capabilities(options, &early)?;
    let detaching = match options.daemon {
        true => Detaching::begin().map_err(Failed::at_run_time)?,
        false => None,
    };
    let directories = Directories::here();
    let read = load(options, &directories, &Files { streams: false })?;
    if options.if_launch && !read.1.config.sequencer.launch {
        return Ok(());
    }
    let mut daemon = set_up(options, early, directories, read, detaching)?;
    daemon.run();
    if daemon.has_lost_lease() {
        return Err(Failed::silently(exit::NO_LEASE));
    }
    Ok(())
}

fn cannot_watch(error: io::Error) -> Failed {
    Failed::at_run_time(format!("cannot watch signals: {}", error_text(&error)))
}

/// Takes all that the daemon needs, and tells who waits for it that it is up.
#[inline(never)] // What is needed here alone would else take memory for as long as the daemon runs.
fn set_up(
    options: &Options,
    early: Early,
    mut directories: Directories,
    (path, loaded): (PathBuf, Loaded),
    detaching: Option<Detaching>,
) -> Result<Box<Daemon>, Failed> {
    directories.enter(options)?;
    let warnings = loaded.few_warnings();
    let (mut config, origins) = (loaded.config, loaded.origins);
    let signals = Signals::watch(early).map_err(cannot_watch)?;
    let account = Account::find(options.uid.as_deref(), options.gid.as_deref())
        .map_err(Failed::at_run_time)?;
    let source = source(options, &directories, path);
    source.overrule(&mut config.sequencer);
    let pidfile = pidfile_path(options, &directories);
    let beside = directories.beside(&origins, pidfile.as_deref());
    let shared = verify::apart(&config.sequencer, &beside);
    if !shared.is_empty() {
        return Err(faulty(&shared));
    }
    drop(origins);
    let taker = Taker {
        pid: std::process::id(),
        starter: detaching.as_ref().map(|_| parent_id()),
        user: account.as_ref(),
        is_daemon: |arguments| matches!(cli::parse(arguments.to_vec()), Ok((Action::Daemon, _))),
    };
    let Taken {
        pidfile,
        log,
        claims,
    } = take(&config.sequencer, pidfile, taker, &directories, &signals)?;
    let listener = claims
        .as_ref()
        .and_then(|_| daemon::bind(&config.sequencer));
    if let Some(account) = &account {
        account.assume().map_err(Failed::at_run_time)?;
    }
    // Become the reaper of what a job leaves behind. Another reaper may be slow, and until then a process group that
    // has ended looks alive. If the kernel refuses, the slow reaper remains.
    let _ = nix::sys::prctl::set_child_subreaper(true);
    let Some((lease, state)) = claims else {
        let path = config.sequencer.leasefile.unwrap_or_default();
        return Err(without_lease(&path, log, detaching.is_some()));
    };
    let holds = Holds {
        state,
        lease,
        pidfile,
    };
    let daemon = Daemon::new(source, config, log, holds, signals, listener, warnings)
        .map_err(Failed::at_run_time)?;
    if let Some(detaching) = detaching {
        detaching.finish().map_err(Failed::at_run_time)?;
    }
    Ok(daemon)
}

/// What a daemon takes before it gives up root.
struct Taken {
    pidfile: Option<PidFile>,
    log: Log,
    /// `None` if the lease has run out.
    claims: Option<Claims>,
}

/// Takes the pid file, opens the log and lays the claims. Root opens what needs root, but acts as the new user wherever
/// that user may.
fn take(
    config: &Sequencer,
    pidfile: Option<PathBuf>,
    taker: Taker<'_>,
    directories: &Directories,
    signals: &Signals,
) -> Result<Taken, Failed> {
    let new_user = taker.user.filter(|it| it.leaves_root());
    if let Some(user) = new_user {
        // Fail now if this user would keep root's rights: opening files as that user would prove nothing then.
        user.act_as(|| ()).map_err(Failed::at_run_time)?;
    }
    let mut waiting = Waiting::new(signals);
    let pidfile = match pidfile {
        Some(path) => Some(PidFile::take(&path, taker, &mut waiting).map_err(not_taken)?),
        None => None,
    };
    let log = directories.under_inherited_mask(|| open_log(config, taker.user))?;
    // The claims are the new user's, but they may have to wait for another daemon's end, which has to come before the
    // bind, and that is root's.
    let mut claims = || lay_claims(config, taker.pid, &mut waiting);
    let claims = match new_user {
        Some(user) => user.act_as(claims).map_err(Failed::at_run_time)?,
        None => claims(),
    };
    Ok(Taken {
        pidfile,
        log,
        claims: claims?,
    })
}

/// The claims on the lease file and the state file.
type Claims = (Option<Claim>, Option<Claim>);

/// Lays the claims that keep another daemon from the same lease or state; `None` if the lease has run out.
fn lay_claims(
    config: &Sequencer,
    pid: u32,
    waiting: &mut Waiting<'_>,
) -> Result<Option<Claims>, Failed> {
    let (lease, state) = (&config.leasefile, &config.statefile);
    // The state may be another host's. Nothing of it is touched.
    if lease.as_deref().is_some_and(|path| lease::left(path) == 0) {
        return Ok(None);
    }
    let mut claim = |what, path: &Path| Claim::lay(what, path, pid, waiting).map_err(not_claimed);
    let lease = lease.as_ref().map(|path| claim(LEASE_FILE, path));
    let lease = lease.transpose()?;
    let state = match state {
        // The lease decides between hosts. A lock can outlive it: a host that is frozen keeps it, or a file server for
        // one that is lost.
        Some(path) if lease.is_some() => Some(Claim::try_to_lay(STATE_FILE, path, pid)),
        Some(path) => Some(claim(STATE_FILE, path)?),
        None => None,
    };
    Ok(Some((lease, state)))
}

/// The end of a start without a lease. The log tells of it, and standard error too, where that is another place.
fn without_lease(path: &Path, mut log: Log, detached: bool) -> Failed {
    let line = lease::run_out(path);
    log.tell(&Event::LeaseLost(&line));
    log.flush(Instant::now(), SystemTime::now());
    if log.path().is_none() && !detached {
        return Failed::silently(exit::NO_LEASE);
    }
    Failed {
        status: exit::NO_LEASE,
        ..Failed::at_run_time(line)
    }
}

/// Gives up the inheritable capabilities, which would outlive root, if root is going to be given up. That starts the
/// program anew, so nothing may have been done before.
fn shed_capabilities(options: &Options, early: &Early) -> Result<(), Failed> {
    if options.uid.is_none() || !geteuid().is_root() {
        return Ok(());
    }
    let inheritable = capabilities::Set::inheritable();
    if inheritable.is_empty() {
        return Ok(());
    }
    match Account::find(options.uid.as_deref(), options.gid.as_deref()) {
        Ok(Some(account)) if account.leaves_root() => {
            let why = capabilities::begin_without(inheritable, early);
            Err(Failed::at_run_time(why))
        }
        // Why that user cannot be become is reported later, in its turn.
        _ => Ok(()),
    }
}

fn pidfile_path(options: &Options, directories: &Directories) -> Option<PathBuf> {
    match &options.pidfile {
        Some(path) if path.as_os_str().is_empty() => None,
        Some(path) => Some(directories.on_command_line(path)),
        None => options.daemon.then(|| PathBuf::from(TWISTD_PID)),
    }
}

fn not_taken(error: pidfile::Error) -> Failed {
    not_held(matches!(error, pidfile::Error::Ended), error)
}

fn not_claimed(error: claim::Error) -> Failed {
    not_held(matches!(error, claim::Error::Ended), error)
}

/// Being told to stop while waiting for another daemon is a clean end.
fn not_held(is_told_to_stop: bool, error: impl fmt::Display) -> Failed {
    let status = if is_told_to_stop {
        exit::OK
    } else {
        exit::FAILURE
    };
    Failed {
        status,
        ..Failed::at_run_time(error)
    }
}

/// The wait for another daemon's end. A signal ends it, and a line is logged if it takes long.
struct Waiting<'a> {
    signals: &'a Signals,
    has_told: bool,
}

impl<'a> Waiting<'a> {
    fn new(signals: &'a Signals) -> Self {
        Waiting {
            signals,
            has_told: false,
        }
    }
}

impl Patience for Waiting<'_> {
    fn pause(&mut self, time: Duration) -> bool {
        self.signals.pause(time)
    }

    fn waits_for(&mut self, path: &Path, waited: Duration) {
        if waited >= QUIET_WAIT && !self.has_told {
            self.has_told = true;
            let path = path.display();
            let line = format!(
                "buildd-sequencer: waiting for the daemon that holds '{path}', which is stopping\n"
            );
            let _ = io::stderr().write_all(line.as_bytes());
        }
    }
}

/// What the command line says in place of the file.
fn source(options: &Options, directories: &Directories, path: PathBuf) -> Source {
    let named = |path: &Option<PathBuf>| {
        path.as_deref()
            .map(|path| directories.on_command_line(path))
    };
    Source {
        identity: files::identity(&directories.on_command_line(&path)),
        path,
        from: directories.start.clone(),
        logfile: options
            .logfile
            .as_deref()
            .map(|path| command_line_log(path, directories)),
        name: options.name.clone(),
        socket: named(&options.socket),
        detached: options.daemon,
        spew: options.spew,
    }
}

/// The command line's log file. A name of standard output is kept as it is.
fn command_line_log(path: &Path, directories: &Directories) -> PathBuf {
    if path.as_os_str().is_empty() {
        PathBuf::from(STDOUT)
    } else if is_stdout(path) {
        path.to_path_buf()
    } else {
        directories.on_command_line(path)
    }
}

fn open_log(config: &Sequencer, account: Option<&Account>) -> Result<Log, Failed> {
    let path = config.logfile.as_deref();
    let rotation = Rotation {
        size: config.logsize,
        keep: config.logkeep,
    };
    let mut log = Log::open(path, rotation, account).map_err(|error| {
        let path = path.unwrap_or(Path::new("-")).display();
        Failed::at_run_time(format!("cannot open log '{path}': {error}"))
    })?;
    (log.level, log.format, log.spew) = (config.loglevel, config.logformat, config.spew);
    Ok(log)
}
