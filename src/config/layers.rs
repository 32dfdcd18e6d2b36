//! Lays the files of a chain over each other: the daemon's settings key by key, jobs over the template, optional
//! jobs under those that name them. Collects every fault and goes on; to an unknown key it names the nearest known
//! one. Pure.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::chain::{Chain, File};
use super::dialect::{self, Entry, Section};
use super::keys::{self, Key, unknown};
use super::{Config, Fault, Job, Loaded, Origins, Sequencer, Settings};
use crate::text::shown;

/// Makes a configuration of the files' text, base first.
pub fn parse(chain: Chain) -> Result<Loaded, Vec<Fault>> {
    let Chain {
        files,
        faults,
        broken,
    } = chain;
    let mut layers = Layers::new(faults);
    for (number, file) in files.iter().enumerate() {
        layers.sequencer_and_template(number, file);
    }
    for (number, file) in files.iter().enumerate() {
        layers.jobs(number, file);
    }
    layers.finish(&files, broken)
}

/// The daemon's own settings as far as they can be read, without jobs, whatever the faults.
pub fn settings_only(chain: Chain) -> Sequencer {
    let mut layers = Layers::new(chain.faults);
    for (number, file) in chain.files.iter().enumerate() {
        layers.sequencer_and_template(number, file);
    }
    layers.config.sequencer
}

/// A job while the chain is read.
#[derive(Debug, Clone, Default)]
struct Draft {
    job: Job,
    /// Its command has a fault already, so that it does not also lack one.
    faulty: bool,
    /// The file and line that first name it, and its place in that order.
    named: Option<(usize, usize, usize)>,
    /// The file and line of its command, or of the template's.
    command: (u32, u32),
}

impl Draft {
    fn apply(&mut self, file: usize, entry: &Entry) -> Result<(), String> {
        let result = apply(&keys::JOB, &mut self.job, entry);
        if entry.key == "command" {
            self.command = place(file, entry.line);
            self.faulty = result.is_err() || entry.value.is_none();
        }
        result.map_err(|message| belongs(message, &keys::SEQUENCER, entry, "[buildsequencer]"))
    }
}

/// The configuration while the chain is read. `'a` is the files' text. A fault's first part is the number of its
/// file.
#[derive(Debug)]
struct Layers<'a> {
    config: Config,
    template: Draft,
    drafts: Vec<Draft>,
    places: HashMap<&'a str, usize>,
    settings: HashSet<Rc<Settings>>,
    named: usize,
    keys: HashMap<&'static str, (u32, u32)>,
    /// A header misnames a job, so that one may be missing because of it.
    misnamed: bool,
    faults: Vec<(usize, dialect::Fault)>,
    warnings: Vec<(usize, dialect::Fault)>,
}

impl<'a> Layers<'a> {
    fn new(faults: Vec<(usize, dialect::Fault)>) -> Layers<'a> {
        Layers {
            config: Config::default(),
            template: Draft::default(),
            drafts: Vec::new(),
            places: HashMap::new(),
            settings: HashSet::new(),
            named: 0,
            keys: HashMap::new(),
            misnamed: false,
            faults,
            warnings: Vec::new(),
        }
    }

    fn fault(&mut self, file: usize, line: usize, message: String) {
        self.faults.push((file, dialect::Fault { line, message }));
    }

    fn faults(&mut self, file: usize, faults: Vec<dialect::Fault>) {
        self.faults
            .extend(faults.into_iter().map(|fault| (file, fault)));
    }

    fn sequencer_and_template(&mut self, number: usize, file: &'a File) {
        let between = dialect::between(&file.text);
        self.misnamed |= between.misnamed;
        self.faults(number, between.faults);
        let wanted = |section| matches!(section, Section::Sequencer | Section::Template);
        let mut faults = Vec::new();
        dialect::sections(&file.text, wanted, &mut faults, |section, _, entries| {
            for entry in &entries {
                let result = if section == Section::Sequencer {
                    self.sequencer(number, entry)
                } else {
                    self.note_cut(number, entry);
                    self.note_shared_command(number, entry);
                    self.template.apply(number, entry)
                };
                if let Err(message) = result {
                    self.fault(number, entry.line, message);
                }
            }
        });
        self.faults(number, faults);
    }

    fn sequencer(&mut self, number: usize, entry: &Entry) -> Result<(), String> {
        self.note_smtphost(number, entry);
        if let Some(key) = keys::SEQUENCER.iter().find(|key| key.name == entry.key) {
            self.keys.insert(key.name, place(number, entry.line));
        }
        apply(&keys::SEQUENCER, &mut self.config.sequencer, entry)
            .map_err(|message| belongs(message, &keys::JOB, entry, "a job"))
    }

    /// A plain section lies over an optional one of the same file, wherever it stands.
    fn jobs(&mut self, number: usize, file: &'a File) {
        let mut faults = Vec::new();
        for plain in [false, true] {
            let wanted = |section| match section {
                Section::Job(_) => plain,
                Section::Optional(_) => !plain,
                _ => false,
            };
            dialect::sections(&file.text, wanted, &mut faults, |section, line, entries| {
                if let Section::Job(name) | Section::Optional(name) = section {
                    let place = self.place(name);
                    if plain {
                        self.name(place, number, line);
                    }
                    self.job(place, number, &entries);
                }
            });
        }
        self.faults(number, faults);
    }

    /// Where the draft of the job `name` is; a new one is a copy of the template.
    fn place(&mut self, name: &'a str) -> usize {
        *self.places.entry(name).or_insert_with(|| {
            let mut draft = self.template.clone();
            draft.job.name = name.into();
            self.drafts.push(draft);
            self.drafts.len() - 1
        })
    }

    /// What makes it a job, and gives it its place in their order.
    fn name(&mut self, place: usize, file: usize, line: usize) {
        let draft = &mut self.drafts[place];
        if draft.named.is_none() {
            draft.named = Some((file, line, self.named));
            self.named += 1;
        }
    }

    fn job(&mut self, place: usize, number: usize, entries: &[Entry]) {
        for entry in entries {
            self.note_cut(number, entry);
            if let Err(message) = self.drafts[place].apply(number, entry) {
                self.fault(number, entry.line, message);
            }
        }
        // Most of many jobs have the same few settings.
        let settings = &mut self.drafts[place].job.settings;
        match self.settings.get(settings) {
            Some(known) => *settings = Rc::clone(known),
            None => drop(self.settings.insert(Rc::clone(settings))),
        }
    }

    fn note_cut(&mut self, file: usize, entry: &Entry) {
        if entry.cut && entry.key == "command" {
            let message = "the ';' after white space begins a comment, so the command ends before it; \
                           to pass a ';', leave out the white space before it or write it on an indented line of its own"
                .to_string();
            let line = entry.line;
            self.warnings.push((file, dialect::Fault { line, message }));
        }
    }

    /// Of the `entry` of a template.
    fn note_shared_command(&mut self, file: usize, entry: &Entry) {
        let said = entry.value.as_deref();
        if entry.key == "command" && said.is_some_and(|value| !value.eq_ignore_ascii_case("none")) {
            let message = "a command here is run by every job that has none of its own; \
                           write it in the section of the job that is to run it"
                .to_string();
            let line = entry.line;
            self.warnings.push((file, dialect::Fault { line, message }));
        }
    }

    /// Only the value that counts in the end gets a warning.
    fn note_smtphost(&mut self, file: usize, entry: &Entry) {
        let Some(value) = entry.value.as_ref().filter(|_| entry.key == "smtphost") else {
            return;
        };
        self.warnings
            .retain(|(_, warning)| !warning.message.starts_with("smtphost"));
        if !["localhost", "none", ""].contains(&&*value.to_ascii_lowercase()) {
            let message = format!(
                "smtphost has no effect: mail goes through sendmail, not to {}",
                shown(value)
            );
            let line = entry.line;
            self.warnings.push((file, dialect::Fault { line, message }));
        }
    }

    fn finish(mut self, files: &[File], broken: bool) -> Result<Loaded, Vec<Fault>> {
        let mut drafts = std::mem::take(&mut self.drafts);
        drafts.retain(|draft| draft.named.is_some());
        drafts.sort_unstable_by_key(|draft| draft.named.map(|(.., order)| order));
        // With a file missing, what looks undefined may well be defined there.
        if !broken {
            self.what_is_missing(&drafts, files.len().saturating_sub(1));
        }
        let faults = located(self.faults, files);
        if !faults.is_empty() {
            return Err(faults);
        }
        // With a million jobs this counts: a table less before there is another copy of each, and a list that was
        // made in the place of a larger one.
        self.places = HashMap::new();
        let named = |draft: &Draft| {
            let (file, line, _) = draft.named.unwrap_or_default();
            [place(file, line), draft.command]
        };
        let origins = Origins {
            files: files.iter().map(|file| Rc::clone(&file.path)).collect(),
            keys: self.keys,
            jobs: drafts.iter().map(named).collect(),
        };
        self.config.jobs = drafts.into_iter().map(|draft| Rc::new(draft.job)).collect();
        self.config.jobs.shrink_to_fit();
        Ok(Loaded {
            config: self.config,
            warnings: located(self.warnings, files),
            origins,
        })
    }

    fn what_is_missing(&mut self, drafts: &[Draft], top: usize) {
        for draft in drafts {
            if draft.job.command.is_empty() && !draft.faulty {
                let (file, line, _) = draft.named.unwrap_or_default();
                self.fault(file, line, format!("job {} has no command", draft.job.name));
            }
        }
        if drafts.is_empty() && !self.misnamed {
            let message = "no jobs: there is no [buildsequencer_job.NAME] section in this file or in those it extends";
            self.fault(top, 1, message.to_string());
        }
    }
}

/// A file's number and a line, in half the space.
fn place(file: usize, line: usize) -> (u32, u32) {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(file), narrow(line))
}

/// Gives `entry` to the key it names.
fn apply<T>(known: &[Key<T>], to: &mut T, entry: &Entry) -> Result<(), String> {
    let Some(value) = &entry.value else {
        return Ok(());
    };
    let Some(key) = known.iter().find(|key| key.name == entry.key) else {
        return Err(unknown(&entry.key, known.iter().map(|key| key.name)));
    };
    key.set(to, value).map_err(|message| {
        let cut = if entry.cut && message.contains("into words") {
            "; the ';' after white space began a comment and cut the rest of the line off"
        } else {
            ""
        };
        format!("{}: {message}{cut}", key.name)
    })
}

/// Adds to a `message` on a key where it would be known.
fn belongs<T>(message: String, elsewhere: &[Key<T>], entry: &Entry, place: &str) -> String {
    if message.starts_with("unknown key") && elsewhere.iter().any(|key| key.name == entry.key) {
        format!("unknown key '{}'; it belongs to {place}", entry.key)
    } else {
        message
    }
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

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests {
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
        let files: Vec<_> = ["0", "1", "2"]
            .into_iter()
            .zip(texts.iter().copied())
            .collect();
        let warnings = parse(chain(&files)).unwrap().warnings;
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
            let text = format!(
                "[buildsequencer]\ncontrolsocket: {value}\n[buildsequencer_job.a]\ncommand: x"
            );
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
                "0:5: unknown key 'mindelai'; is 'mindelay' meant?",
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
                   command: x\n[buildsequencer_job.template]\ntimeout: 4000d\n[buildsequencer_job.e]\ncommand: none\nlogsize: 5";
        let expected = [
            "0:1: this line comes before any [section]",
            "0:3: spew: 'maybe' is not a boolean: true/false, yes/no, on/off or 1/0",
            "0:4: logsize: '1T' is not a size: bytes as in 65536, or with K, M or G as in 64K",
            "0:5: logkeep: '-1' is not a whole number",
            "0:6: fromaddress: bad address 'a b': it has white space in it",
            "0:7: mailproblemsto: bad address '-oops': it begins with '-', which sendmail would take for an option",
            "0:8: unknown key 'mailintervall'; is 'mailinterval' meant?",
            "0:9: sendmail: a value is missing; 'none' stands for the default",
            "0:10: unknown key 'mindelay'; it belongs to a job",
            "0:11: [DEFAULT] is not supported; defaults for jobs go to [buildsequencer_job.template]",
            "1:1: job a has no command",
            "1:3: command: cannot split the command into words: a ' is opened and never closed",
            "1:4: mindelay: '5 s' is not a duration: seconds as in 5 or 0.25, or with a unit (ms, s, m, h, d) as in 15m",
            "1:5: 'what' is neither 'key: value' nor 'key = value'; a line that continues a value is indented",
            "1:6: bad job name 'c/d': a name is made of letters, digits, '_' and '-'",
            "1:9: timeout: '4000d' is too long: a duration is at most 3650d",
            "1:10: job e has no command",
            "1:12: unknown key 'logsize'; it belongs to [buildsequencer]",
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
        }
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
        for fault in &faults {
            assert!(fault.len() < 300, "{} bytes", fault.len());
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
        warnings.retain(|warning| !warning.contains("a command here"));
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].starts_with("0:4: the ';' after white space begins a comment"));
        assert!(warnings[1].starts_with("0:11: the ';'"));
    }

    #[test]
    fn a_command_of_the_template_is_a_warning() {
        let told = warnings(&[
            "[buildsequencer_job.template]\ncommand: a\ntimeout: 1\n[buildsequencer_job.a]\ncommand: none\ncommand: x",
            "[buildsequencer_job.b]\n[buildsequencer_job.master]\nCommand:\n  b\n[buildsequencer_job.template]\ncommand: NONE",
            "[buildsequencer_job.template]\ncommand: c",
        ]);
        let places: Vec<_> = told.iter().map(|line| &line[..4]).collect();
        assert_eq!(places, ["0:2:", "1:3:", "2:2:"], "{told:?}");
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
            lines(&[
                "\t[buildsequencer_job.a]\r\n\r\n\tcommand: x\r\n\t\ty\r\n\tmindelay: soon\r\n"
            ])
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
        let told = warnings(&[&format!("{job}first.example.com"), &twice]);
        assert_eq!(
            told,
            ["1:5: smtphost has no effect: mail goes through sendmail, not to 'mx.example.com'"]
        );
        assert!(warnings(&[&twice, "[buildsequencer]\nsmtphost: localhost"]).is_empty());
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
}
