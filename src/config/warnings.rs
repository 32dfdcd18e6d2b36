//! Warnings about a configuration. Those about lines and keys are gathered while the chain is read; those about
//! commands follow once it is known which commands will run. A warning never changes the configuration. Pure.

use super::dialect::{self, Entry, Stray};
use super::doubts::{self, Commands, Whose};
use super::keys::{self, Key};
use super::origins::in_order;
use super::{About, Fault, Loaded};
use crate::text::shown;

/// The most warnings that the daemon logs; `check` prints all.
pub const FEW: usize = 20;

/// The line that stands for the warnings left out.
pub fn and_more(more: usize) -> Option<String> {
    (more > 0).then(|| format!("and {more} more: see check"))
}

/// Findings, each with the number of its file.
#[derive(Debug, Default)]
pub struct Warnings {
    found: Vec<(usize, dialect::Fault)>,
    /// About lines that may have been meant as a section.
    of_sections: Vec<(usize, dialect::Fault)>,
    /// About the daemon's keys: of each the value that counts so far.
    values: Vec<(&'static str, (usize, dialect::Fault))>,
}

impl Warnings {
    /// Takes what was found while the files were collected.
    pub fn of_chain(&mut self, found: Vec<(usize, dialect::Fault)>) {
        self.found.extend(found);
    }

    fn add(&mut self, file: usize, line: usize, message: String) {
        self.found.push((file, dialect::Fault { line, message }));
    }

    /// Takes a line outside of our sections that may have been meant to begin one.
    pub fn stray(&mut self, file: usize, line: usize, stray: Stray<'_>) {
        let found = match stray {
            Stray::Section(header) => doubts::nearly_ours(header),
            Stray::Bracket(rest) => doubts::no_header(rest),
        };
        if let Some(message) = found {
            self.of_sections
                .push((file, dialect::Fault { line, message }));
        }
    }

    /// Takes an entry of `[buildsequencer]` that sets this key.
    pub fn value(&mut self, file: usize, key: &'static str, is_path: bool, entry: &Entry) {
        let Some(value) = &entry.value else { return };
        // Only the value that counts in the end gets a warning.
        self.values.retain(|(known, _)| *known != key);
        let mut found: Vec<String> = match key {
            "sendmail" => Commands::default().look(value, Whose::Sendmail),
            "smtphost" => Vec::new(),
            _ => Vec::from_iter(doubts::of_value(key, is_path, value)),
        };
        for message in &mut found {
            message.insert_str(0, ": ");
            message.insert_str(0, key);
        }
        found.extend(match key {
            "sendmail" => cut(entry),
            "smtphost" => smtphost(value),
            _ => None,
        });
        let line = entry.line;
        for message in found {
            self.values
                .push((key, (file, dialect::Fault { line, message })));
        }
        self.continuation(file, entry, &keys::SEQUENCER);
    }

    /// Takes an entry of a job or of the template.
    pub fn entry(&mut self, file: usize, entry: &Entry) {
        let Some(value) = &entry.value else { return };
        let found = match &*entry.key {
            "command" => cut(entry),
            key => doubts::of_value(key, false, value).map(|found| format!("{key}: {found}")),
        };
        if let Some(message) = found {
            self.add(file, entry.line, message);
        }
        self.continuation(file, entry, &keys::JOB);
    }

    fn continuation<T>(&mut self, file: usize, entry: &Entry, known: &[Key<T>]) {
        if !entry.continued.is_empty() {
            for (line, message) in doubts::of_continuation(entry, &keys::names(known)) {
                self.add(file, line, message);
            }
        }
    }

    /// Takes an entry of the template.
    pub fn of_template(&mut self, file: usize, entry: &Entry) {
        self.entry(file, entry);
        let said = entry.value.as_deref().unwrap_or("none");
        if entry.key == "command" && !said.eq_ignore_ascii_case("none") {
            let message = "a command here is run by every job that has none of its own; \
                           write it in the section of the job that is to run it";
            self.add(file, entry.line, message.to_string());
        }
    }

    /// Takes the entries of one section, or of several sections with one name in a file.
    pub fn repeated(&mut self, file: usize, entries: &[Entry]) {
        for (again, before) in doubts::repeated(entries) {
            self.add(file, again.line, doubts::set_again(&again.key, before));
        }
    }

    /// Takes a second section of the same name in a file.
    pub fn job_again(&mut self, file: usize, line: usize, name: &str, before: u32) {
        let message = format!(
            "job {name} has a section in line {before} already; they count as one, and of a key in both the later \
             counts; put them together, or give one of them another name"
        );
        self.add(file, line, message);
    }

    /// The findings about ignored sections. Where there are no jobs, they are faults.
    pub fn of_sections(&mut self) -> Vec<(usize, dialect::Fault)> {
        std::mem::take(&mut self.of_sections)
    }

    /// All findings, in the order in which the chain is read.
    pub fn finish(mut self) -> Vec<(usize, dialect::Fault)> {
        self.found.append(&mut self.of_sections);
        self.found
            .extend(self.values.into_iter().map(|(_, found)| found));
        in_order(self.found)
    }
}

/// The warning about a command from which a comment was cut.
fn cut(entry: &Entry) -> Option<String> {
    entry.cut.then(|| {
        "the ';' after white space begins a comment, so the command ends before it; to pass a ';', leave out the white \
         space before it or write it on an indented line of its own"
            .to_string()
    })
}

fn smtphost(value: &str) -> Option<String> {
    match &*value.to_ascii_lowercase() {
        "localhost" | "none" | "" => None,
        _ => Some(format!(
            "smtphost has no effect: mail goes through sendmail, not to {}",
            shown(value)
        )),
    }
}

impl Loaded {
    /// What is legal but surely not meant, as far as the text alone shows it: at most `most` warnings, in the order in
    /// which the chain is read, and the number of those left out.
    pub fn warnings(&self, most: usize) -> (Vec<Fault>, usize) {
        let mut told: Vec<(usize, dialect::Fault)> =
            self.noticed.iter().take(most).cloned().collect();
        let mut count = self.noticed.len();
        let wanted = told.len().saturating_add(most);
        let mut commands = Commands::default();
        for &index in &self.doubtful {
            let Some(job) = self.config.jobs.get(index as usize) else {
                continue;
            };
            let found = commands.of_job(&job.command);
            count += found.len();
            if told.len() < wanted {
                let (file, line) = self.origins.place(About::Command(index as usize));
                for message in found {
                    let message = format!("job {}: {message}", job.name);
                    let line = line as usize;
                    told.push((file as usize, dialect::Fault { line, message }));
                }
            }
        }
        let mut told = in_order(told);
        told.truncate(most);
        let more = count - told.len();
        (self.origins.located(told), more)
    }

    /// The same for the log, one line each: at most twenty, and the number of those left out.
    pub fn few_warnings(&self) -> Vec<String> {
        let (told, more) = self.warnings(FEW);
        let mut lines: Vec<String> = told.iter().map(ToString::to_string).collect();
        lines.extend(and_more(more));
        lines
    }
}
