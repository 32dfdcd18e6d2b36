//! Lays the files of a chain over each other: the daemon's settings key by key, jobs over the template, optional jobs
//! under the sections that name them. It collects every fault and goes on. Pure.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::chain::{Chain, File};
use super::dialect::{self, Entry, Section};
use super::keys::{self, Key, unknown};
use super::origins::{Fault, Origins, Place, in_order, located, once, place};
use super::warnings::Warnings;
use super::{Config, Job, Loaded, Sequencer, Settings, command, doubts};
use crate::text::listed;

/// Makes a configuration of the files' text, base first.
pub fn parse(chain: Chain) -> Result<Loaded, Vec<Fault>> {
    let Chain {
        files,
        faults,
        warnings,
        broken,
    } = chain;
    let mut layers = Layers::new(faults);
    layers.warnings.of_chain(warnings);
    for (number, file) in files.iter().enumerate() {
        layers.sequencer_and_template(number, file);
    }
    for (number, file) in files.iter().enumerate() {
        layers.jobs(number, file);
    }
    layers.finish(&files, broken)
}

/// The daemon's own settings, without jobs, as far as they can be read despite any faults.
pub fn settings_only(chain: Chain) -> Sequencer {
    let mut layers = Layers::new(chain.faults);
    for (number, file) in chain.files.iter().enumerate() {
        layers.sequencer_and_template(number, file);
    }
    layers.config.sequencer
}

/// A job, while the chain is being read.
#[derive(Debug, Clone, Default)]
struct Draft {
    job: Job,
    /// Its command has a fault, so the job is not reported as one without a command.
    faulty: bool,
    /// Its command may hold something that was not meant.
    doubtful: bool,
    /// Where the chain first names it, and its number in that order.
    named: Option<(Place, u32)>,
    /// Where its command stands; this may be in the template.
    command: Place,
    /// Where its last optional section begins, and its last plain one.
    sections: [Option<Place>; 2],
}

impl Draft {
    fn apply(&mut self, file: usize, entry: &Entry) -> Result<(), String> {
        let result = apply(&keys::JOB, &mut self.job, entry);
        if entry.key == "command" {
            self.command = place(file, entry.line);
            self.faulty = result.is_err() || entry.value.is_none();
            self.doubtful = !doubts::is_plain(&self.job.command);
        }
        result.map_err(|wrong| match wrong {
            Wrong::Key if is_key(&keys::SEQUENCER, entry) => belongs(entry, "[buildsequencer]"),
            Wrong::Key => unknown(&entry.key, &keys::names(&keys::JOB)),
            Wrong::Value(message) => message,
        })
    }
}

/// The configuration, while the chain is being read. `'a` is the files' text. A fault's first part is the number of its
/// file.
#[derive(Debug)]
struct Layers<'a> {
    config: Config,
    template: Draft,
    drafts: Vec<Draft>,
    places: HashMap<&'a str, usize>,
    settings: HashSet<Rc<Settings>>,
    named: u32,
    keys: HashMap<&'static str, Place>,
    /// A header misnames a job, so a job may be missing because of it.
    misnamed: bool,
    faults: Vec<(usize, dialect::Fault)>,
    warnings: Warnings,
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
            warnings: Warnings::default(),
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
        let warnings = &mut self.warnings;
        let between = dialect::between(&file.text, |line, stray| {
            warnings.stray(number, line, stray)
        });
        self.misnamed |= between.misnamed;
        self.faults(number, between.faults);
        let wanted = |section| matches!(section, Section::Sequencer | Section::Template);
        let mut faults = Vec::new();
        let (mut sequencer, mut template) = (Vec::new(), Vec::new());
        dialect::sections(
            &file.text,
            wanted,
            &mut faults,
            |section, _, entries| match section {
                Section::Sequencer => sequencer.extend(entries),
                _ => template.extend(entries),
            },
        );
        self.faults(number, faults);
        self.warnings.repeated(number, &sequencer);
        self.warnings.repeated(number, &template);
        for entry in &sequencer {
            if let Err(message) = self.sequencer(number, entry) {
                self.fault(number, entry.line, message);
            }
        }
        for entry in &template {
            self.warnings.of_template(number, entry);
            if let Err(message) = self.template.apply(number, entry) {
                self.fault(number, entry.line, message);
            }
        }
    }

    fn sequencer(&mut self, number: usize, entry: &Entry) -> Result<(), String> {
        if let Some(key) = keys::SEQUENCER.iter().find(|key| key.name == entry.key) {
            self.keys.insert(key.name, place(number, entry.line));
            self.warnings.value(number, key.name, key.is_path(), entry);
        }
        apply(&keys::SEQUENCER, &mut self.config.sequencer, entry).map_err(|wrong| match wrong {
            Wrong::Key if is_key(&keys::JOB, entry) => belongs(entry, "a job"),
            Wrong::Key => unknown(&entry.key, &keys::names(&keys::SEQUENCER)),
            Wrong::Value(message) => message,
        })
    }

    /// A plain section lies over an optional one of the same file, whichever comes first.
    fn jobs(&mut self, number: usize, file: &'a File) {
        let mut faults = Vec::new();
        for plain in [false, true] {
            let wanted = |section| match section {
                Section::Job(_) => plain,
                Section::Optional(_) => !plain,
                Section::Misnamed => plain,
                _ => false,
            };
            dialect::sections(&file.text, wanted, &mut faults, |section, line, entries| {
                if let Section::Job(name) | Section::Optional(name) = section {
                    let index = self.index(name);
                    self.section(index, number, line, plain);
                    self.job(index, number, &entries);
                } else {
                    self.misnamed(number, &entries);
                }
            });
        }
        self.faults(number, faults);
    }

    /// The number of the draft of job `name`. A new draft is a copy of the template.
    fn index(&mut self, name: &'a str) -> usize {
        *self.places.entry(name).or_insert_with(|| {
            let mut draft = self.template.clone();
            draft.job.name = name.into();
            self.drafts.push(draft);
            self.drafts.len() - 1
        })
    }

    /// Reads a section of a job. A plain section makes it a job and gives it its place in the order.
    fn section(&mut self, index: usize, file: usize, line: usize, plain: bool) {
        let at = place(file, line);
        let draft = &mut self.drafts[index];
        if plain && draft.named.is_none() {
            draft.named = Some((at, self.named));
            self.named += 1;
        }
        let before = draft.sections[usize::from(plain)].replace(at);
        if let Some((_, before)) = before.filter(|(file, _)| *file == at.0) {
            self.warnings.job_again(file, line, &draft.job.name, before);
        }
    }

    fn job(&mut self, index: usize, number: usize, entries: &[Entry]) {
        self.warnings.repeated(number, entries);
        for entry in entries {
            self.warnings.entry(number, entry);
            if let Err(message) = self.drafts[index].apply(number, entry) {
                self.fault(number, entry.line, message);
            }
        }
        // Where there are many jobs, most have the same few settings.
        let settings = &mut self.drafts[index].job.settings;
        match self.settings.get(settings) {
            Some(known) => *settings = Rc::clone(known),
            None => drop(self.settings.insert(Rc::clone(settings))),
        }
    }

    /// Looks for more faults in a job whose name is one.
    fn misnamed(&mut self, number: usize, entries: &[Entry]) {
        let mut nobodys = self.template.clone();
        for entry in entries {
            if let Err(message) = nobodys.apply(number, entry) {
                self.fault(number, entry.line, message);
            }
        }
    }

    fn finish(mut self, files: &[File], broken: bool) -> Result<Loaded, Vec<Fault>> {
        let mut drafts = std::mem::take(&mut self.drafts);
        let offered = match self.named {
            0 => only_optional(&drafts),
            _ => None,
        };
        drafts.retain(|draft| draft.named.is_some());
        order(&mut drafts);
        // A job or command that seems to be missing may be in the file that is missing.
        if !broken {
            self.what_is_missing(&drafts, offered, files.len().saturating_sub(1));
        }
        let names: Vec<Rc<str>> = files.iter().map(|file| Rc::clone(&file.path)).collect();
        if !self.faults.is_empty() {
            return Err(once(&names, in_order(self.faults))
                .into_iter()
                .map(|fault| located(&names, fault))
                .collect());
        }
        // With a million jobs this counts: the table is freed before each job is copied, and the list is made in the
        // memory of a larger one.
        self.places = HashMap::new();
        let named = |draft: &Draft| [draft.named.unwrap_or_default().0, draft.command];
        let doubtful = doubtful(&drafts, self.template.command);
        let noticed = once(&names, self.warnings.finish());
        let origins = Origins {
            files: names,
            keys: self.keys,
            jobs: drafts.iter().map(named).collect(),
        };
        self.config.jobs = drafts.into_iter().map(|draft| Rc::new(draft.job)).collect();
        self.config.jobs.shrink_to_fit();
        Ok(Loaded {
            config: self.config,
            noticed,
            doubtful,
            origins,
        })
    }

    /// `offered` is the message for a configuration whose jobs are all optional and that names none of them.
    fn what_is_missing(&mut self, drafts: &[Draft], offered: Option<String>, top: usize) {
        for draft in drafts {
            if draft.job.command.is_empty() && !draft.faulty {
                let ((file, line), _) = draft.named.unwrap_or_default();
                let message = format!("job {} has no command", draft.job.name);
                self.fault(file as usize, line as usize, message);
            }
        }
        if drafts.is_empty() && !self.misnamed {
            let mut message = offered.unwrap_or_else(|| {
                "no jobs: there is no [buildsequencer_job.NAME] section in this file or in those it extends".to_string()
            });
            if !self.template.job.command.is_empty() {
                message += "; [buildsequencer_job.template] and .master only give jobs their defaults, so a job needs another name";
            }
            self.fault(top, 1, message);
            // The section that should name one of them may be misspelt.
            self.faults.extend(self.warnings.of_sections());
        }
    }
}

/// The message about these jobs, all of which are optional.
fn only_optional(drafts: &[Draft]) -> Option<String> {
    let names: Vec<&str> = drafts.iter().map(|draft| &*draft.job.name).collect();
    let first = names.first()?;
    Some(format!(
        "no jobs: there are only optional ones, {}; to run one name it, as in [buildsequencer_job.{first}], \
         here or in a file that extends this one",
        listed(&names, 5)
    ))
}

/// Puts each item at the place that its number says; each number occurs once. With a million jobs no sort is as fast.
fn order(drafts: &mut [Draft]) {
    for place in 0..drafts.len() {
        loop {
            let belongs = drafts[place]
                .named
                .map_or(place, |(_, number)| number as usize);
            if belongs == place {
                break;
            }
            drafts.swap(place, belongs);
        }
    }
}

/// The jobs, by their numbers in the order, whose commands may hold something that was not meant. Of the jobs that
/// share the template's command, only the first.
fn doubtful(drafts: &[Draft], shared: Place) -> Vec<u32> {
    let mut told = false;
    let mut is_news =
        |draft: &Draft| draft.command != shared || !std::mem::replace(&mut told, true);
    let doubtful = (0..).zip(drafts).filter(|(_, draft)| draft.doubtful);
    doubtful
        .filter(|(_, draft)| is_news(draft))
        .map(|(index, _)| index)
        .collect()
}

/// Why an entry is refused.
enum Wrong {
    /// Its section has no such key.
    Key,
    /// Its value is not one that the key can have.
    Value(String),
}

/// Sets the key that `entry` names.
fn apply<T>(known: &[Key<T>], to: &mut T, entry: &Entry) -> Result<(), Wrong> {
    let Some(value) = &entry.value else {
        return Ok(());
    };
    let key = known
        .iter()
        .find(|key| key.name == entry.key)
        .ok_or(Wrong::Key)?;
    key.set(to, value).map_err(|message| {
        let open = entry.cut && key.is_command() && command::split(value).is_err();
        let cut = match open {
            true => "; the ';' after white space began a comment and cut the rest of the line off",
            false => "",
        };
        Wrong::Value(format!("{}: {message}{cut}", key.name))
    })
}

fn is_key<T>(known: &[Key<T>], entry: &Entry) -> bool {
    known.iter().any(|key| key.name == entry.key)
}

fn belongs(entry: &Entry, section: &str) -> String {
    format!("unknown key '{}'; it belongs to {section}", entry.key)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests;
