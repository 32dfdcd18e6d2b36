//! The configuration: what the daemon and each job are told to do, with every default filled in. `chain` collects the
//! files that extend each other, `dialect` cuts them into entries, and `layers` lays them over each other, asks `keys`
//! what each key means, and reports all faults at once.

pub mod apart;
pub mod chain;
pub mod check;
pub mod command;
pub mod dialect;
pub mod diff;
pub mod doubts;
pub mod keys;
mod layers;
pub mod listen;
mod origins;
pub mod values;
pub mod warnings;

use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::message::{Format, Level};

pub use layers::parse;
pub use origins::{About, Fault, Origins};

/// The sender when none is configured, as Launchpad's schema has it.
pub const FROM_ADDRESS: &str = "launchpad@lists.canonical.com";
/// The mail program when none is configured.
pub const SENDMAIL: &str = "/usr/sbin/sendmail -i";
/// The control socket when none is configured.
pub const CONTROL_SOCKET: &str = "/run/buildd-sequencer/control.sock";

/// A configuration that has been read, and the warnings found on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Warnings about lines and keys.
    noticed: Vec<(usize, dialect::Fault)>,
    /// Jobs whose commands may hold something that was not meant.
    doubtful: Vec<u32>,
    /// Where in the files its parts stand.
    pub origins: Origins,
}

/// Where the control socket is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ControlSocket {
    /// At `CONTROL_SOCKET`, if a socket can be made there.
    Default,
    /// Nowhere.
    Off,
    /// At this path; if no socket can be made there, the start fails.
    At(PathBuf),
}

impl ControlSocket {
    /// The path that was set by hand.
    pub fn configured(&self) -> Option<&Path> {
        match self {
            ControlSocket::At(path) => Some(path),
            ControlSocket::Default | ControlSocket::Off => None,
        }
    }
}

/// The whole configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Config {
    /// `[buildsequencer]`
    pub sequencer: Sequencer,
    /// The jobs in their order.
    pub jobs: Vec<Rc<Job>>,
}

/// `[buildsequencer]`: the daemon's own settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequencer {
    /// The sequencer's name, where a host has several.
    pub name: Option<Box<str>>,
    /// The log's file; `None` is standard output.
    pub logfile: Option<PathBuf>,
    /// Whether start scripts are to start the daemon.
    pub launch: bool,
    /// Who gets reports; `-` is the log, and so is an empty list.
    pub mailproblemsto: Rc<[Box<str>]>,
    /// Envelope sender and From.
    pub fromaddress: Box<str>,
    /// Accepted for compatibility, and not used.
    pub smtphost: Box<str>,
    /// What matters less is not logged.
    pub loglevel: Level,
    /// How the log is written.
    pub logformat: Format,
    /// Whether each decision of the loop is logged.
    pub spew: bool,
    /// The mail program with its arguments.
    pub sendmail: Box<str>,
    /// The least time between two mails about one job and outcome; with zero every failure is mailed.
    pub mailinterval: Duration,
    /// The size in bytes at which a log file is rotated; with zero never.
    pub logsize: u64,
    /// How many rotated files are kept; with zero all.
    pub logkeep: u32,
    /// Where the schedule is kept across restarts.
    pub statefile: Option<PathBuf>,
    /// How long a running job may go on after a signal to stop.
    pub stopdelay: Duration,
    /// Where the control socket is.
    pub controlsocket: ControlSocket,
    /// Where metrics are written.
    pub metricsfile: Option<PathBuf>,
    /// Where HTTP is served.
    pub listen: Option<listen::Listen>,
    /// The file that says until when this host may run anything.
    pub leasefile: Option<PathBuf>,
}

/// One job. Jobs with equal settings share them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Job {
    /// Letters, digits, `_` and `-`.
    pub name: Box<str>,
    /// As configured. It can be split into words, the first of which is a program.
    pub command: Box<str>,
    /// Everything else.
    pub settings: Rc<Settings>,
}

/// A job's settings other than name and command.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Settings {
    /// The time from the end of a run to the next.
    pub mindelay: Duration,
    /// Whether the output of every run is logged.
    pub alwayslog: bool,
    /// A run that takes longer is stopped; zero: none is.
    pub timeout: Duration,
    /// The time from SIGTERM to SIGKILL.
    pub killdelay: Duration,
    /// A run that takes longer while others wait is reported; zero: none is.
    pub stuckafter: Duration,
    /// Whether `stuckafter` was set by hand. It then applies also when nobody waits.
    pub stuckafter_by_hand: bool,
    /// The delay of the first run; `None`: `mindelay`.
    pub startdelay: Option<Duration>,
    /// Who gets this job's reports; `None`: the daemon's recipients.
    pub mailproblemsto: Option<Rc<[Box<str>]>>,
    /// The least time between two mails; `None`: the daemon's.
    pub mailinterval: Option<Duration>,
    /// The longest delay after failures; zero: failures do not lengthen it.
    pub maxdelay: Duration,
    /// How many bytes of each stream are kept.
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
            loglevel: Level::Info,
            logformat: Format::Twistd,
            spew: false,
            sendmail: SENDMAIL.into(),
            mailinterval: Duration::ZERO,
            logsize: 1_000_000,
            logkeep: 10,
            statefile: None,
            stopdelay: Duration::ZERO,
            controlsocket: ControlSocket::Default,
            metricsfile: None,
            listen: None,
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
    /// What has reports mailed, because it names a recipient other than the log: the daemon's list or the first such
    /// job. `None`: nothing is mailed.
    pub fn mailed(&self) -> Option<About> {
        let mailed = |targets: &[Box<str>]| targets.iter().any(|target| &**target != "-");
        if mailed(&self.sequencer.mailproblemsto) {
            return Some(About::Key("mailproblemsto"));
        }
        let mut jobs = self.jobs.iter();
        let is_mailed = |job: &Rc<Job>| mailed(self.sequencer.recipients(job));
        jobs.position(is_mailed).map(About::Job)
    }
}

impl Sequencer {
    /// The recipients of `job`'s reports; if there are none, reports go to the log.
    pub fn recipients<'a>(&'a self, job: &'a Job) -> &'a [Box<str>] {
        job.settings
            .mailproblemsto
            .as_deref()
            .unwrap_or(&self.mailproblemsto)
    }

    /// The least time between two mails about `job` with the same outcome.
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

/// Reads the file at `path`, relative to the directory `from`, and all files that it extends. The error is every fault
/// of the chain.
pub fn load(path: &Path, from: &Path, read: &impl chain::Read) -> Result<Loaded, Vec<Fault>> {
    parse(chain::collect(path, from, read))
}

/// The control socket that the configuration at `path` names, as far as it can be read. Other faults in it must not
/// keep anybody from asking a healthy daemon.
pub fn control_socket(path: &Path, from: &Path, read: &impl chain::Read) -> ControlSocket {
    layers::settings_only(chain::collect(path, from, read)).controlsocket
}

/// Shared by the tests of this folder.
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
