//! Where in the files of a chain things stand, and what is told of a line: faults and warnings with their place, in the
//! order of the files and each once.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::rc::Rc;

use super::dialect;
use crate::order::sorted;
use crate::text::harmless;

/// A line of a file that is wrong or unwise; prints as `PATH:LINE: message`.
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

/// The part of the configuration that a notice is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// A key of `[buildsequencer]`.
    Key(&'static str),
    /// The job with this number.
    Job(usize),
    /// The command of the job with this number.
    Command(usize),
}

/// A file's number and a line's, each in 32 bits, because there may be a million.
pub(super) type Place = (u32, u32);

pub(super) fn place(file: usize, line: usize) -> Place {
    let narrow = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    (narrow(file), narrow(line))
}

/// Where in the files the parts of a configuration stand.
#[derive(Debug, Default)]
pub struct Origins {
    pub(super) files: Vec<Rc<str>>,
    /// The keys that are set somewhere.
    pub(super) keys: HashMap<&'static str, Place>,
    /// For each job: the section that first names it, and its command.
    pub(super) jobs: Vec<[Place; 2]>,
}

impl Origins {
    /// The files that were read, as they were named.
    pub fn names(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|name| Path::new(&**name))
    }

    /// Adds its place to a notice.
    pub fn locate(&self, (about, message): (About, String)) -> Fault {
        self.fault(self.place(about), message)
    }

    /// Where it stands; if it is set nowhere, the first line of the file that was named.
    pub(super) fn place(&self, about: About) -> Place {
        let top = place(self.files.len().saturating_sub(1), 1);
        let job = |index: usize, part: usize| self.jobs.get(index).map(|places| places[part]);
        match about {
            About::Key(key) => self.keys.get(key).copied(),
            About::Job(index) => job(index, 0),
            About::Command(index) => job(index, 1),
        }
        .unwrap_or(top)
    }

    pub(super) fn fault(&self, (file, line): Place, message: String) -> Fault {
        let line = line as usize;
        located(
            &self.files,
            (file as usize, dialect::Fault { line, message }),
        )
    }

    pub(super) fn located(&self, faults: Vec<(usize, dialect::Fault)>) -> Vec<Fault> {
        faults
            .into_iter()
            .map(|fault| located(&self.files, fault))
            .collect()
    }
}

/// Adds its file's name to a fault.
pub(super) fn located(files: &[Rc<str>], (file, fault): (usize, dialect::Fault)) -> Fault {
    let path = files.get(file);
    Fault {
        path: path.map_or_else(|| "".into(), Rc::clone),
        line: fault.line,
        message: fault.message,
    }
}

/// Sorts faults into the order in which the chain is read; faults of one line keep their order.
pub(super) fn in_order(faults: Vec<(usize, dialect::Fault)>) -> Vec<(usize, dialect::Fault)> {
    sorted(faults, &|(a, of_a), (b, of_b)| {
        (a, of_a.line).cmp(&(b, of_b.line))
    })
}

/// Leaves each finding once, where they are in order: a base that several files of a directory extend is read for each
/// of them. `files` are the paths of the files.
pub(super) fn once(
    files: &[Rc<str>],
    found: Vec<(usize, dialect::Fault)>,
) -> Vec<(usize, dialect::Fault)> {
    let mut first: HashMap<&str, usize> = HashMap::new();
    let numbers = files.iter().enumerate();
    let first: Vec<usize> = numbers
        .map(|(number, path)| *first.entry(path).or_insert(number))
        .collect();
    let is_repeated = |(file, fault): &(usize, dialect::Fault)| {
        let Some(&first) = first.get(*file).filter(|first| *first != file) else {
            return false;
        };
        let at = found.partition_point(|(file, of)| (*file, of.line) < (first, fault.line));
        let same_line = found[at..].iter();
        same_line
            .take_while(|(file, of)| (*file, of.line) == (first, fault.line))
            .any(|(_, of)| of == fault)
    };
    let repeated: Vec<bool> = found.iter().map(is_repeated).collect();
    let found = found.into_iter().zip(repeated);
    found
        .filter_map(|(found, repeated)| (!repeated).then_some(found))
        .collect()
}
