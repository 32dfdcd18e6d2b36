//! The configuration: what the daemon and each job are told to do, with every default filled in. A file is read
//! in three steps: `chain` collects the files that extend each other, `dialect` cuts them into entries, `keys`
//! says what each key means. This file lays them over each other and tells every fault of the whole at once.

pub mod chain;
pub mod check;
pub mod dialect;
pub mod diff;
pub mod keys;
pub mod values;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use chain::{Chain, File};
use dialect::{Entry, Section};
use keys::Key;

use crate::words;

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
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A configuration that has been read, and what was noticed on the way.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// What is legal but most likely not meant.
    pub warnings: Vec<Fault>,
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

/// `[buildsequencer]`, and the jobs in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
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
    /// The jobs.
    pub jobs: Vec<Rc<Job>>,
}

/// One job. Its settings are shared with every job that has the same.
#[derive(Debug, Clone, PartialEq, Eq)]
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

impl Default for Config {
    fn default() -> Config {
        Config {
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
            jobs: Vec::new(),
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

    /// Whether any report may be mailed at all.
    pub fn mails(&self) -> bool {
        let mailed = |targets: &[Box<str>]| targets.iter().any(|target| &**target != "-");
        self.jobs.iter().any(|job| mailed(self.recipients(job)))
    }
}

impl Job {
    /// The command's words.
    pub fn argv(&self) -> Vec<String> {
        words::split(&self.command).unwrap_or_default()
    }

    /// The delay of the first run.
    pub fn start_delay(&self) -> Duration {
        self.settings.startdelay.unwrap_or(self.settings.mindelay)
    }
}

/// Reads the file at `path` (counted from the directory `from`) and all that it extends. The error is every
/// fault of the chain.
pub fn load(path: &Path, from: &Path) -> Result<Loaded, Vec<Fault>> {
    parse(chain::collect(path, from))
}

/// The control socket that the configuration at `path` names, as far as it can be read: whatever else is wrong
/// with it must not keep anybody from asking a daemon that runs well.
pub fn control_socket(path: &Path, from: &Path) -> ControlSocket {
    let Chain { files, faults, .. } = chain::collect(path, from);
    let mut building = Building::new(faults);
    for (number, file) in files.iter().enumerate() {
        building.sequencer_and_template(number, file);
    }
    building.config.controlsocket
}

/// Makes a configuration of the files' text, base first. Pure.
pub fn parse(chain: Chain) -> Result<Loaded, Vec<Fault>> {
    let Chain {
        files,
        faults,
        broken,
    } = chain;
    let mut building = Building::new(faults);
    for (number, file) in files.iter().enumerate() {
        building.sequencer_and_template(number, file);
    }
    for (number, file) in files.iter().enumerate() {
        building.jobs(number, file);
    }
    building.finish(&files, broken)
}

/// A job while the chain is read.
#[derive(Debug)]
struct Draft {
    job: Job,
    /// The file and line that first name it, and its place in that order.
    named: Option<(usize, usize, usize)>,
    /// Its command has a fault already, so that it does not also lack one.
    faulty: bool,
}

impl Draft {
    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        let result = apply(&keys::JOB, &mut self.job, entry);
        if entry.key == "command" {
            self.faulty = result.is_err();
        }
        result
    }
}

/// A configuration while the chain is read. A fault's first part is the number of its file.
#[derive(Debug)]
struct Building {
    config: Config,
    template: Draft,
    drafts: Vec<Draft>,
    places: HashMap<Box<str>, usize>,
    settings: HashSet<Rc<Settings>>,
    named: usize,
    /// A header has a fault, so that a job may be missing because of it.
    misnamed: bool,
    faults: Vec<(usize, dialect::Fault)>,
    warnings: Vec<(usize, dialect::Fault)>,
}

impl Building {
    fn new(faults: Vec<(usize, dialect::Fault)>) -> Building {
        Building {
            config: Config::default(),
            template: Draft {
                job: Job {
                    name: "".into(),
                    command: "".into(),
                    settings: Rc::default(),
                },
                named: None,
                faulty: false,
            },
            drafts: Vec::new(),
            places: HashMap::new(),
            settings: HashSet::new(),
            named: 0,
            misnamed: false,
            faults,
            warnings: Vec::new(),
        }
    }

    fn sequencer_and_template(&mut self, number: usize, file: &File) {
        let between = dialect::faults_between(&file.text);
        self.misnamed |= !between.is_empty();
        self.faults
            .extend(between.into_iter().map(|fault| (number, fault)));
        let wanted = |section| matches!(section, Section::Sequencer | Section::Template);
        let mut faults = Vec::new();
        dialect::sections(&file.text, wanted, &mut faults, |section, _, entries| {
            for entry in entries {
                let result = if section == Section::Sequencer {
                    self.note_smtphost(number, &entry);
                    apply(&keys::SEQUENCER, &mut self.config, &entry)
                } else {
                    self.note_cut(number, &entry);
                    self.template.apply(&entry)
                };
                if let Err(message) = result {
                    self.faults.push((
                        number,
                        dialect::Fault {
                            line: entry.line,
                            message,
                        },
                    ));
                }
            }
        });
        self.faults
            .extend(faults.into_iter().map(|fault| (number, fault)));
    }

    /// A plain section lies over an optional one of the same file, wherever it stands.
    fn jobs(&mut self, number: usize, file: &File) {
        let mut faults = Vec::new();
        for plain in [false, true] {
            let wanted = |section| match section {
                Section::Job(_) => plain,
                Section::Optional(_) => !plain,
                _ => false,
            };
            dialect::sections(&file.text, wanted, &mut faults, |section, line, entries| {
                if let Section::Job(name) | Section::Optional(name) = section {
                    self.job(name, plain.then_some((number, line)), number, &entries);
                }
            });
        }
        self.faults
            .extend(faults.into_iter().map(|fault| (number, fault)));
    }

    fn job(
        &mut self,
        name: &str,
        named_at: Option<(usize, usize)>,
        number: usize,
        entries: &[Entry],
    ) {
        let place = match self.places.get(name) {
            Some(&place) => place,
            None => {
                let job = Job {
                    name: name.into(),
                    ..self.template.job.clone()
                };
                self.drafts.push(Draft {
                    job,
                    named: None,
                    faulty: self.template.faulty,
                });
                self.places.insert(name.into(), self.drafts.len() - 1);
                self.drafts.len() - 1
            }
        };
        for entry in entries {
            self.note_cut(number, entry);
            if let Err(message) = self.drafts[place].apply(entry) {
                self.faults.push((
                    number,
                    dialect::Fault {
                        line: entry.line,
                        message,
                    },
                ));
            }
        }
        let draft = &mut self.drafts[place];
        if let (None, Some((file, line))) = (draft.named, named_at) {
            draft.named = Some((file, line, self.named));
            self.named += 1;
        }
        // Most of many jobs have the same few settings.
        match self.settings.get(&draft.job.settings) {
            Some(known) => draft.job.settings = Rc::clone(known),
            None => drop(self.settings.insert(Rc::clone(&draft.job.settings))),
        }
    }

    fn note_cut(&mut self, number: usize, entry: &Entry) {
        if entry.cut && entry.key == "command" {
            let message = "the ';' after white space begins a comment, so the command ends before it; \
                           to pass a ';', put it into quotes without white space before it or on an indented line of its own"
                .to_string();
            self.warnings.push((
                number,
                dialect::Fault {
                    line: entry.line,
                    message,
                },
            ));
        }
    }

    fn note_smtphost(&mut self, number: usize, entry: &Entry) {
        let usual = entry.key != "smtphost"
            || ["localhost", "none", ""].contains(&&*entry.value.to_ascii_lowercase());
        self.warnings
            .retain(|(_, warning)| usual || !warning.message.starts_with("smtphost"));
        if !usual {
            let message = format!(
                "smtphost has no effect: mail goes through sendmail, not to '{}'",
                entry.value
            );
            self.warnings.push((
                number,
                dialect::Fault {
                    line: entry.line,
                    message,
                },
            ));
        }
    }

    fn finish(mut self, files: &[File], broken: bool) -> Result<Loaded, Vec<Fault>> {
        let mut drafts = std::mem::take(&mut self.drafts);
        drafts.retain(|draft| draft.named.is_some());
        drafts.sort_unstable_by_key(|draft| draft.named.map(|(.., order)| order));
        // With a file missing, what looks undefined may well be defined there.
        if !broken {
            for draft in drafts
                .iter()
                .filter(|draft| draft.job.command.is_empty() && !draft.faulty)
            {
                let (file, line, _) = draft.named.unwrap_or_default();
                let message = format!("job {} has no command", draft.job.name);
                self.faults.push((file, dialect::Fault { line, message }));
            }
            if drafts.is_empty() && !self.misnamed {
                let message = "no jobs: there is no [buildsequencer_job.NAME] section in this file or in those it extends";
                let last = files.len().saturating_sub(1);
                self.faults.push((
                    last,
                    dialect::Fault {
                        line: 1,
                        message: message.to_string(),
                    },
                ));
            }
        }
        let faults = located(self.faults, files);
        if !faults.is_empty() {
            return Err(faults);
        }
        self.config.jobs = drafts.into_iter().map(|draft| Rc::new(draft.job)).collect();
        Ok(Loaded {
            config: self.config,
            warnings: located(self.warnings, files),
        })
    }
}

/// Gives `entry` to the key it names.
fn apply<T>(known: &[Key<T>], to: &mut T, entry: &Entry) -> Result<(), String> {
    let Some(key) = known.iter().find(|key| key.name == entry.key) else {
        let names = known.iter().map(|key| key.name);
        let nearest =
            crate::text::nearest(&entry.key, names).map(|name| format!("; is '{name}' meant?"));
        return Err(format!(
            "unknown key '{}'{}",
            entry.key.escape_debug(),
            nearest.unwrap_or_default()
        ));
    };
    key.set(to, &entry.value).map_err(|message| {
        let quote = message.contains("never closed") && entry.cut;
        let cut = if quote {
            "; the ';' after white space began a comment and cut the rest of the line off"
        } else {
            ""
        };
        format!("{}: {message}{cut}", key.name)
    })
}

/// The faults with their files' names, in the order in which the chain is read.
fn located(mut faults: Vec<(usize, dialect::Fault)>, files: &[File]) -> Vec<Fault> {
    faults.sort_by_key(|(file, fault)| (*file, fault.line));
    let path = |file: usize| {
        files
            .get(file)
            .map_or_else(|| "".into(), |file| Rc::clone(&file.path))
    };
    faults
        .into_iter()
        .map(|(file, fault)| Fault {
            path: path(file),
            line: fault.line,
            message: fault.message,
        })
        .collect()
}
