//! What the daemon will need of the system: commands that can be executed, files that can be opened, directories that
//! can be written, and that no file is used twice, which a start and a reload ask as well. This file knows what is needed
//! and says what is wrong with it; `system` looks.

use std::collections::HashMap;
use std::path::Path;

use crate::config::apart::history_beside;
use crate::config::command;
use crate::config::doubts::shell_that_knows;
use crate::config::listen::TRY_AGAIN;
use crate::config::{About, Config, Sequencer};
use crate::system::access::{self, Flaw};
use crate::system::claim::{Claim, LEASE_FILE, STATE_FILE};
use crate::system::control;
use crate::system::errors::error_text;
use crate::system::files;
use crate::system::http;
use crate::system::log::{Log, leads_to_stdout};
use crate::system::mounts;
use crate::system::privileges::Account;
use crate::system::program;
use crate::text::seconds;

mod apart;

pub use apart::{Beside, apart};

/// What is wrong, and which part of the configuration it concerns.
pub type Finding = (About, Flaw);

/// A check of a path.
type Look = fn(&Path) -> Result<(), Flaw>;

/// What has been found about commands.
#[derive(Debug, Default)]
pub struct Commands {
    /// Those that are missing or not executable.
    pub faults: Vec<Finding>,
    /// Those that are executable and cannot be started all the same.
    pub warnings: Vec<(About, String)>,
}

impl Commands {
    fn take(&mut self, about: About, whose: &str, found: &Result<Option<String>, Flaw>) {
        match found {
            Ok(None) => {}
            Ok(Some(warning)) => self.warnings.push((about, format!("{whose}: {warning}"))),
            Err(flaw) => self.faults.push((about, flaw.clone().of(whose))),
        }
    }
}

/// Checks the commands of the jobs, and sendmail if mail is sent.
pub fn commands(config: &Config) -> Commands {
    let mut commands = Commands::default();
    // Many jobs may run the same few programs.
    let mut seen = HashMap::new();
    for (place, job) in config.jobs.iter().enumerate() {
        let program = command::first(&job.command).unwrap_or_default();
        let found = seen
            .entry(program)
            .or_insert_with_key(|program| startable(program));
        if !matches!(found, Ok(None)) {
            commands.take(About::Command(place), &format!("job {}", job.name), found);
        }
    }
    if config.mailed().is_some() {
        let found = startable(&command::first(&config.sequencer.sendmail).unwrap_or_default());
        commands.take(About::Key("sendmail"), "sendmail", &found);
    }
    commands
}

/// Whether there is such a program; if so, why it cannot be started.
fn startable(program: &str) -> Result<Option<String>, Flaw> {
    let path = match (access::executable(program), shell_that_knows(program)) {
        (Ok(path), _) => path,
        // There is a warning about that already.
        (Err(_), Some(_)) => {
            return Err(Flaw::of_all(format!(
                "command '{program}' not found: it is no program"
            )));
        }
        (Err(flaw), None) => return Err(flaw),
    };
    let flaw = program::flaw(&path);
    Ok(flaw.map(|why| {
        format!(
            "'{}' is executable, but cannot be started: {why}",
            path.display()
        )
    }))
}

/// Checks whether the log can be opened. To be called before root is given up for `user`.
pub fn log(config: &Sequencer, user: Option<&Account>) -> Option<Finding> {
    let path = config.logfile.as_deref()?;
    let error = Log::look(path, user).err()?;
    let shown = path.display();
    let in_its_way = if path.is_dir() {
        Some(Flaw::of_all(format!("'{shown}' is a directory")))
    } else {
        access::directory_of_new(path).err()
    };
    let flaw = in_its_way.unwrap_or_else(|| {
        let text = format!("cannot open log '{shown}': {error}");
        Flaw::new(text, error.is_refusal())
    });
    about("logfile", Err(flaw))
}

/// Checks the files that are made, replaced and renamed while the daemon runs. `log` is what was found about the log.
pub fn files(config: &Sequencer, log: Option<Finding>) -> Vec<Finding> {
    let rotated = config.logfile.as_deref();
    let rotated = rotated.filter(|path| log.is_none() && is_rotated(path, config));
    let socket = config.controlsocket.configured();
    let state = config.statefile.as_deref();
    let metrics = config.metricsfile.as_deref();
    let lease = config.leasefile.as_deref();
    let looks: [(_, _, Look); 5] = [
        ("logfile", rotated, rotatable),
        ("controlsocket", socket, bindable),
        ("statefile", state, self::state),
        ("metricsfile", metrics, replaceable),
        ("leasefile", lease, obeyed),
    ];
    let found = looks
        .into_iter()
        .filter_map(|(key, path, look)| about(key, look(path?)));
    log.into_iter().chain(found).collect()
}

/// Looks whether this machine has the address to listen on. If not, it may have it later, so the daemon starts all the
/// same.
pub fn listener(config: &Sequencer) -> Option<(About, String)> {
    let listen = config.listen?;
    let error = http::fit(listen).err()?;
    let (why, after) = (error_text(&error), seconds(TRY_AGAIN));
    let line = format!(
        "listen: cannot listen on {listen}: {why}; the daemon runs its jobs without it and tries again every {after} \
         seconds"
    );
    Some((About::Key("listen"), line))
}

/// Looks whether another daemon could be kept from the state and the lease. The daemon starts all the same.
pub fn claims(config: &Sequencer) -> Vec<(About, String)> {
    let (state, lease) = (config.statefile.as_deref(), config.leasefile.as_deref());
    let claimed = [
        ("statefile", STATE_FILE, state),
        ("leasefile", LEASE_FILE, lease),
    ];
    let look = |(key, what, path): (_, _, Option<&Path>)| {
        let why = Claim::look(what, path?)?;
        Some((About::Key(key), why))
    };
    claimed.into_iter().filter_map(look).collect()
}

/// Whether the log is rotated: it is a file, which is renamed within its directory once it has grown.
fn is_rotated(path: &Path, config: &Sequencer) -> bool {
    config.logsize > 0 && !leads_to_stdout(path) && access::is_file_or_nothing(path)
}

/// Checks whether the log can be renamed. If its name is a link, what the link leads to is renamed.
fn rotatable(path: &Path) -> Result<(), Flaw> {
    let path = access::where_it_leads(path);
    if mounts::is_mount_point(&path).unwrap_or(false) {
        let path = path.display();
        return Err(Flaw::of_all(format!(
            "'{path}' is a mount point, which cannot be renamed to rotate it; set logsize to 0"
        )));
    }
    access::writable_directory_of(&path)
}

/// Checks whether the control socket can be at this path.
fn bindable(path: &Path) -> Result<(), Flaw> {
    let shown = path.display();
    control::fit(path).map_err(|error| {
        Flaw::of_all(format!(
            "cannot listen on control socket '{shown}': {error}"
        ))
    })?;
    access::writable_directory_of(path)
}

/// Checks the state file and the history beside it.
pub fn state(path: &Path) -> Result<(), Flaw> {
    kept(path)?;
    history_beside(path).map_or(Ok(()), |history| kept(&history))
}

/// Checks a file that is read at the start and replaced from then on.
fn kept(path: &Path) -> Result<(), Flaw> {
    replaceable(path)?;
    access::readable_if_there(path)
}

/// Checks the file of the lease, which somebody else writes and which need not be there yet.
fn obeyed(path: &Path) -> Result<(), Flaw> {
    access::directory_exists_for(path)?;
    if !access::is_file_or_nothing(path) {
        let path = path.display();
        return Err(Flaw::of_all(format!("'{path}' is not a regular file")));
    }
    access::readable_if_there(path)
}

/// Checks a file that is replaced each time it is written.
pub fn replaceable(path: &Path) -> Result<(), Flaw> {
    files::fit(path).map_err(|unfit| Flaw::of_all(format!("'{}' {unfit}", path.display())))?;
    access::writable_directory_of(path)
}

fn about(key: &'static str, found: Result<(), Flaw>) -> Option<Finding> {
    let flaw = found.err()?;
    Some((About::Key(key), flaw.of(key)))
}
