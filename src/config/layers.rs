//! Lays the files of a chain over each other: the daemon's settings key by key, jobs over the template, optional
//! jobs under those that name them. Collects every fault and goes on. Pure.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::chain::{Chain, File};
use super::dialect::{self, Entry, Section};
use super::keys::{self, Key};
use super::values::shown;
use super::{Config, Fault, Job, Loaded, Settings};
use crate::text::nearest;

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

/// A job while the chain is read.
#[derive(Debug, Clone, Default)]
struct Draft {
    job: Job,
    /// Its command has a fault already, so that it does not also lack one.
    faulty: bool,
    /// The file and line that first name it, and its place in that order.
    named: Option<(usize, usize, usize)>,
}

impl Draft {
    fn apply(&mut self, entry: &Entry) -> Result<(), String> {
        let result = apply(&keys::JOB, &mut self.job, entry);
        if entry.key == "command" {
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
                    self.template.apply(entry)
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
        apply(&keys::SEQUENCER, &mut self.config, entry)
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
            if let Err(message) = self.drafts[place].apply(entry) {
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
        self.config.jobs = drafts.into_iter().map(|draft| Rc::new(draft.job)).collect();
        Ok(Loaded {
            config: self.config,
            warnings: located(self.warnings, files),
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

/// What to say of a key that is not known where it stands.
pub(super) fn unknown<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let nearest = nearest(key, known).map(|name| format!("; is '{name}' meant?"));
    format!("unknown key {}{}", shown(key), nearest.unwrap_or_default())
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
