//! The configuration: what the daemon and each job are told to do, with every default filled in. A file is read
//! in three steps: `chain` collects the files that extend each other, `dialect` cuts them into entries, `keys`
//! says what each key means, and `layers` lays the files over each other and tells every fault of the whole at once.

pub mod chain;
pub mod check;
pub mod command;
pub mod dialect;
pub mod diff;
pub mod doubts;
pub mod keys;
mod layers;
pub mod values;
pub mod warnings;

use std::collections::{BinaryHeap, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::text::harmless;

pub use layers::parse;

/// The sender when none is configured, as Launchpad's schema has it.
pub const FROM_ADDRESS: &str = "launchpad@lists.canonical.com";
/// The mail program when none is configured.
pub const SENDMAIL: &str = "/usr/sbin/sendmail -i";
/// The control socket when none is configured.
pub const CONTROL_SOCKET: &str = "/run/buildd-sequencer/control.sock";

/// Something wrong or unwise at a place of a file; prints as `PATH:LINE: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The file, as it was named.
    pub path: Rc<str>,
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}: {}",
            harmless(&self.path),
            self.line,
            self.message
        )
    }
}

/// A configuration that has been read, and what was noticed on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What was noticed of lines and keys.
    noticed: Vec<(usize, dialect::Fault)>,
    /// Jobs whose commands may hold what was not meant.
    doubtful: Vec<u32>,
    /// Where it says what.
    pub origins: Origins,
}

/// The place of the configuration that a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A key of `[buildsequencer]`.
    Key(&'static str),
    /// The job at this place.
    Job(usize),
    /// The command of the job at this place.
    Command(usize),
}

/// A file's number and a line, in half the space.
pub(crate) type Place = (u32, u32);

fn place(file: usize, line: usize) -> Place {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(file), narrow(line))
}

/// Where in the files the parts of a configuration stand.
#[derive(Debug, Default)]
pub struct Origins {
    files: Vec<Rc<str>>,
    /// Only those that stand anywhere.
    keys: HashMap<&'static str, Place>,
    /// Of each job the section that first names it, and its command.
    jobs: Vec<[Place; 2]>,
}

impl Origins {
    /// A notice with its place.
    pub fn locate(&self, (about, message): (About, String)) -> Fault {
        self.fault(self.place(about), message)
    }

    /// What stands nowhere is at the first line of the file that was named.
    fn place(&self, about: About) -> Place {
        let top = place(self.files.len().saturating_sub(1), 1);
        let job = |index: usize, part: usize| self.jobs.get(index).map(|places| places[part]);
        match about {
            About::Key(key) => self.keys.get(key).copied(),
            About::Job(index) => job(index, 0),
            About::Command(index) => job(index, 1),
        }
        .unwrap_or(top)
    }

    fn fault(&self, (file, line): Place, message: String) -> Fault {
        let line = line as usize;
        located(
            &self.files,
            (file as usize, dialect::Fault { line, message }),
        )
    }

    fn located(&self, faults: Vec<(usize, dialect::Fault)>) -> Vec<Fault> {
        faults
            .into_iter()
            .map(|fault| located(&self.files, fault))
            .collect()
    }
}

/// A fault with its file's name.
fn located(files: &[Rc<str>], (file, fault): (usize, dialect::Fault)) -> Fault {
    let path = files.get(file);
    Fault {
        path: path.map_or_else(|| "".into(), Rc::clone),
        line: fault.line,
        message: fault.message,
    }
}

/// Brings faults into the order in which the chain is read; those of one line stay in theirs.
fn in_order(faults: Vec<(usize, dialect::Fault)>) -> Vec<(usize, dialect::Fault)> {
    let keys = faults
        .iter()
        .enumerate()
        .map(|(number, (file, fault))| (*file, fault.line, number));
    let keys = BinaryHeap::from_iter(keys).into_sorted_vec();
    let mut faults: Vec<_> = faults.into_iter().map(Some).collect();
    keys.into_iter()
        .filter_map(|(.., number)| faults[number].take())
        .collect()
}

/// Where the control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlSocket {
    /// At `CONTROL_SOCKET`, if that can be.
    Default,
    /// Nowhere.
    Off,
    /// At this path, or the start fails.
    At(PathBuf),
}

/// All that is configured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[buildsequencer]`
    pub sequencer: Sequencer,
    /// The jobs in their order.
    pub jobs: Vec<Rc<Job>>,
}

/// `[buildsequencer]`: what the daemon itself is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequencer {
    /// What it is called, where a host has several.
    pub name: Option<Box<str>>,
    /// The log's file; `None` is standard output.
    pub logfile: Option<PathBuf>,
    /// Whether start scripts should start the daemon.
    pub launch: bool,
    /// Who gets reports; `-` is the log, and so is an empty list.
    pub mailproblemsto: Rc<[Box<str>]>,
    /// Envelope sender and From.
    pub fromaddress: Box<str>,
    /// Kept for compatibility only.
    pub smtphost: Box<str>,
    /// Whether each decision of the loop is logged.
    pub spew: bool,
    /// The mail program with its arguments.
    pub sendmail: Box<str>,
    /// Least time between mails of one job and outcome; zero mails every failure.
    pub mailinterval: Duration,
    /// Bytes at which a log file is rotated; zero never.
    pub logsize: u64,
    /// Rotated files that stay; zero: all.
    pub logkeep: u32,
    /// Where the schedule is kept across restarts.
    pub statefile: Option<PathBuf>,
    /// How long a running job may go on after a stop was asked for.
    pub stopdelay: Duration,
    /// Where commands are taken.
    pub controlsocket: ControlSocket,
    /// Where metrics are written.
    pub metricsfile: Option<PathBuf>,
    /// Where it says until when this host may run anything.
    pub leasefile: Option<PathBuf>,
}

/// One job. Its settings are shared with every job that has the same.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Letters, digits, `_` and `-`.
    pub name: Box<str>,
    /// As configured; splits into words with a program.
    pub command: Box<str>,
    /// Everything else.
    pub settings: Rc<Settings>,
}

/// What is configured of a job beside its name and command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// From the end of a run to the next.
    pub mindelay: Duration,
    /// Whether the output of every run is logged.
    pub alwayslog: bool,
    /// A run that takes longer is stopped; zero never.
    pub timeout: Duration,
    /// From SIGTERM to SIGKILL.
    pub killdelay: Duration,
    /// A run that takes longer while others wait is reported; zero never.
    pub stuckafter: Duration,
    /// Whether `stuckafter` was set by hand, so that it holds also when nobody waits.
    pub stuckafter_by_hand: bool,
    /// Delay of the first run; `None`: `mindelay`.
    pub startdelay: Option<Duration>,
    /// Who gets this job's reports; `None`: the daemon's recipients.
    pub mailproblemsto: Option<Rc<[Box<str>]>>,
    /// Least time between mails; `None`: the daemon's.
    pub mailinterval: Option<Duration>,
    /// Longest back-off; zero: none.
    pub maxdelay: Duration,
    /// Bytes kept of each stream.
    pub maxoutput: u64,
    /// Whether each line of output is logged as it comes.
    pub livelog: bool,
}

impl Default for Sequencer {
    fn default() -> Sequencer {
        Sequencer {
            name: None,
            logfile: None,
            launch: false,
            mailproblemsto: Rc::new([]),
            fromaddress: FROM_ADDRESS.into(),
            smtphost: "localhost".into(),
            spew: false,
            sendmail: SENDMAIL.into(),
            mailinterval: Duration::ZERO,
            logsize: 1_000_000,
            logkeep: 10,
            statefile: None,
            stopdelay: Duration::ZERO,
            controlsocket: ControlSocket::Default,
            metricsfile: None,
            leasefile: None,
        }
    }
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            mindelay: Duration::from_secs(1),
            alwayslog: false,
            timeout: Duration::ZERO,
            killdelay: Duration::from_secs(5),
            stuckafter: Duration::from_secs(3600),
            stuckafter_by_hand: false,
            startdelay: None,
            mailproblemsto: None,
            mailinterval: None,
            maxdelay: Duration::ZERO,
            maxoutput: 1 << 20,
            livelog: false,
        }
    }
}

impl Config {
    /// Whether any address is named that a report may be mailed to.
    pub fn mails(&self) -> bool {
        let mailed = |targets: &[Box<str>]| targets.iter().any(|target| &**target != "-");
        let recipients = |job| self.sequencer.recipients(job);
        mailed(&self.sequencer.mailproblemsto)
            || self.jobs.iter().any(|job| mailed(recipients(job)))
    }
}

impl Sequencer {
    /// Who gets the reports of `job`; none means the log.
    pub fn recipients<'a>(&'a self, job: &'a Job) -> &'a [Box<str>] {
        job.settings
            .mailproblemsto
            .as_deref()
            .unwrap_or(&self.mailproblemsto)
    }

    /// The least time between mails about `job` with the same outcome.
    pub fn mail_interval(&self, job: &Job) -> Duration {
        job.settings.mailinterval.unwrap_or(self.mailinterval)
    }
}

impl Job {
    /// The command's words.
    pub fn argv(&self) -> Vec<String> {
        command::split(&self.command).unwrap_or_default()
    }

    /// The delay of the first run.
    pub fn start_delay(&self) -> Duration {
        self.settings.startdelay.unwrap_or(self.settings.mindelay)
    }
}

/// Reads the file at `path` (counted from the directory `from`) and all that it extends. The error is every
/// fault of the chain.
pub fn load(path: &Path, from: &Path, read: &impl chain::Read) -> Result<Loaded, Vec<Fault>> {
    parse(chain::collect(path, from, read))
}

/// The control socket that the configuration at `path` names, as far as it can be read: whatever else is wrong
/// with it must not keep anybody from asking a daemon that runs well.
pub fn control_socket(path: &Path, from: &Path, read: &impl chain::Read) -> ControlSocket {
    layers::settings_only(chain::collect(path, from, read)).controlsocket
}

/// What the tests of this module's parts share.
#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
pub(crate) mod made {
    use super::chain::{Chain, File};
    use super::{Config, parse};

    /// The configuration that a file `f` with this text makes.
    pub fn read(text: &str) -> Config {
        let file = File {
            path: "f".into(),
            text: text.as_bytes().to_vec(),
        };
        let chain = Chain {
            files: vec![file],
            ..Chain::default()
        };
        parse(chain).unwrap().config
    }
}
