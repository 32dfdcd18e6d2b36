//! `check`: goes the way of a start as far as it can without a trace, and says what the daemon would need and not find.

use std::path::{Path, PathBuf};

use nix::unistd::geteuid;

use super::{Directories, Failed, load, pidfile_path, source};
use crate::cli::{self, Options};
use crate::config::{self, Loaded};
use crate::exit;
use crate::system::files::{self, Files};
use crate::system::opening::{self, PID_FILE};
use crate::system::pidfile;
use crate::system::privileges::Account;
use crate::text::counted;
use crate::verify;

/// What `check` found.
#[derive(Debug)]
pub struct Checked {
    /// The effective configuration.
    pub text: String,
    /// What is legal but unwise, one line each.
    pub warnings: Vec<String>,
    /// What the daemon would need and would not find, one line each.
    pub missing: Vec<String>,
    /// All that in one line.
    pub verdict: String,
}

/// Reads the configuration as the daemon would, and looks for everything the daemon would need, as the user it would
/// become. The error is a faulty configuration.
pub fn check(options: &Options) -> Result<Checked, Failed> {
    let mut directories = Directories::here();
    let (path, mut loaded) = load(options, &directories, &Files { streams: true })
        .map_err(|failed| failed.judged(options, &directories))?;
    let entered = directories.enter(options);
    entered.map_err(|failed| failed.found(options))?;
    source(options, &directories, path.clone()).overrule(&mut loaded.config.sequencer);
    let mut warnings = config::check::all_warnings(&loaded, usize::MAX);
    let Loaded {
        config, origins, ..
    } = loaded;
    let account = Account::find(options.uid.as_deref(), options.gid.as_deref());
    let user = account.as_ref().ok().and_then(Option::as_ref);
    let log = verify::log(&config.sequencer, user);
    let pidfile = pidfile_path(options, &directories);
    let shared = verify::apart(
        &config.sequencer,
        &directories.beside(&origins, pidfile.as_deref()),
    );
    let pidfile = pidfile.and_then(|path| look_at_pidfile(path, user));
    let view = View::take(&account);
    let commands = verify::commands(&config);
    let claims = match &view {
        View::Strangers(_) => Vec::new(),
        View::Users | View::Nobodys(_) => verify::claims(&config.sequencer),
    };
    let unfit = commands
        .warnings
        .into_iter()
        .chain(verify::listener(&config.sequencer))
        .chain(claims);
    warnings.extend(unfit.map(|notice| format!("warning: {}", origins.locate(notice))));
    let mut findings = commands.faults;
    findings.extend(verify::files(&config.sequencer, log));
    if let View::Strangers(why) = &view {
        findings.retain(|(_, flaw)| !flaw.is_refusal());
        warnings.push(format!("warning: {why}"));
    }
    let located = |(about, flaw): verify::Finding| origins.locate((about, flaw.to_string()));
    let faults = shared.into_iter().chain(findings.into_iter().map(located));
    let mut missing: Vec<String> = faults.map(|fault| fault.to_string()).collect();
    if let (View::Users, Some(user)) = (&view, user) {
        missing.extend(unreadable(&path, &directories, user));
    }
    let lines = [view.fault(), pidfile.filter(|_| !view.is_strangers())];
    let lines = lines.into_iter().flatten();
    missing.extend(lines.map(|line| format!("buildd-sequencer: {line}")));
    Ok(Checked {
        text: config::check::print(&config),
        verdict: verdict(&path, missing.len(), config.jobs.len(), warnings.len()),
        warnings,
        missing,
    })
}

/// `PATH: 3 jobs, 2 warnings`, or `PATH: 4 faults`.
fn verdict(path: &Path, faults: usize, jobs: usize, warnings: usize) -> String {
    let found = match (faults, warnings) {
        (0, 0) => counted(jobs, "job"),
        (0, _) => format!("{}, {}", counted(jobs, "job"), counted(warnings, "warning")),
        _ => counted(faults, "fault"),
    };
    format!("{}: {found}", path.display())
}

impl Failed {
    /// What would end a start, as a fault that a check has found.
    fn found(mut self, options: &Options) -> Failed {
        let path = cli::config_path(options.config.clone(), |name| std::env::var_os(name));
        self.status = exit::CONFIG;
        self.lines.push(verdict(&path, self.lines.len(), 0, 0));
        self
    }

    /// Adds the verdict that ends a check, and the first steps where there is no configuration at all.
    fn judged(mut self, options: &Options, directories: &Directories) -> Failed {
        if self.status != exit::CONFIG {
            return self;
        }
        let path = cli::config_path(options.config.clone(), |name| std::env::var_os(name));
        let verdict = verdict(&path, self.lines.len(), 0, 0);
        let is_default = path == Path::new(cli::DEFAULT_CONFIG);
        if is_default && files::identity(&directories.on_command_line(&path)).is_none() {
            self.lines.extend(cli::FIRST_STEPS.map(str::to_string));
        }
        self.lines.push(verdict);
        self
    }
}

/// As which user `check` looks.
enum View {
    /// As the daemon's own user.
    Users,
    /// As another user, who may not become the daemon's; with what that means.
    Strangers(String),
    /// Not at all: the daemon would not start, for this reason.
    Nobodys(String),
}

impl View {
    /// Becomes the daemon's user, if there is one to become.
    fn take(account: &Result<Option<Account>, String>) -> View {
        let account = match account {
            Ok(Some(account)) => account,
            Ok(None) => return View::Users,
            Err(why) => return View::Nobodys(why.clone()),
        };
        match account.assume() {
            Ok(()) => View::Users,
            Err(why) if geteuid().is_root() => View::Nobodys(why),
            Err(_) => View::Strangers(format!(
                "only root can look as {account} does: whether its permissions suffice for commands, files and \
                 configuration has not been checked"
            )),
        }
    }

    fn is_strangers(&self) -> bool {
        matches!(self, View::Strangers(_))
    }

    fn fault(&self) -> Option<String> {
        match self {
            View::Nobodys(why) => Some(why.clone()),
            _ => None,
        }
    }
}

fn look_at_pidfile(path: PathBuf, user: Option<&Account>) -> Option<String> {
    let error = opening::look(&path, &PID_FILE, user).err()?;
    Some(pidfile::Error::System(path, error).to_string())
}

/// The configuration files that the user that the daemon becomes cannot read, so that a reload would fail.
fn unreadable(path: &Path, directories: &Directories, user: &Account) -> Vec<String> {
    // A stream has been read to its end.
    if files::is_stream(path) {
        return Vec::new();
    }
    let Err(faults) = config::load(path, &directories.start, &Files { streams: false }) else {
        return Vec::new();
    };
    let line = |fault: config::Fault| format!("{fault} (as {user}, so no reload would succeed)");
    faults.into_iter().map(line).collect()
}
