//! A file of lines that grows by one now and then, and is replaced as a whole when it has doubled or something went
//! wrong: what it should hold is in memory. A crash loses no line that was written, a power cut may. It knows nothing
//! of what the lines say.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::kept::{Error, Kept, NotWritten};
use super::pace::Upcoming;
use super::{MAX_SIZE, read_whole};
use crate::system::opening::{self, APPENDED};

/// A smaller file takes as much room, in bytes: it is not replaced because it has doubled.
const BLOCK: u64 = 4096;

/// A file that is appended to.
#[derive(Debug)]
pub struct Appended {
    /// Replaces it. It is out of date while lines are missing from the file, or there are too many.
    kept: Kept,
    file: Option<File>,
    /// Lines that are still to be appended.
    lines: String,
    /// The file's size, and what it was when it was replaced last, in bytes.
    size: u64,
    replaced: u64,
    /// Whether the file may end within a line.
    torn: bool,
    /// Whether a failure has been reported that is not over.
    failed: bool,
}

impl Appended {
    /// A file at `path` with this mode, to be replaced at once.
    pub fn new(path: PathBuf, mode: u32) -> Appended {
        Appended {
            kept: Kept::new(path, mode, false),
            file: None,
            lines: String::new(),
            size: 0,
            replaced: 0,
            torn: false,
            failed: false,
        }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        self.kept.path()
    }

    /// Opens the file that is there, or makes it, and reads it. Until it can be replaced, it is appended to.
    pub fn open(&mut self) -> io::Result<Vec<u8>> {
        let file = opening::open(self.path(), &APPENDED, None)?;
        let text = read_whole(&file, &file.metadata()?, MAX_SIZE)?.text;
        self.size = text.len() as u64;
        self.torn = text.last().is_some_and(|byte| *byte != b'\n');
        self.file = Some(file);
        Ok(text)
    }

    /// Leaves the file that was opened alone until it is replaced, because it holds something else.
    pub fn leave(&mut self) {
        self.file = None;
    }

    /// Looks whether the file is still there as it was written, and has it replaced if it is not: somebody may have
    /// removed, replaced or emptied it.
    pub fn look(&mut self) {
        let Some(file) = &self.file else { return };
        let is_whole = file.metadata().is_ok_and(|there| there.len() == self.size);
        if !is_whole || !opening::names(self.path(), file) {
            self.kept.touch();
        }
    }

    /// The lines that are still to be appended, for more of them.
    pub fn lines(&mut self) -> &mut String {
        &mut self.lines
    }

    /// Whether lines are still to be appended.
    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    /// Whether the file is to be replaced.
    pub fn is_behind(&self) -> bool {
        self.kept.is_behind()
    }

    /// Whether it may be replaced now, when that delays nothing.
    pub fn allows(&self, now: Instant) -> bool {
        self.kept.allows(now)
    }

    /// When it is to be replaced.
    pub fn deadline(&self, now: Instant, upcoming: &Upcoming) -> Option<Instant> {
        self.kept.deadline(now, upcoming)
    }

    /// Replaces the file by the text that `whole` makes, or appends to it what is still to be appended.
    pub fn write(
        &mut self,
        whole: &dyn Fn() -> String,
        replace: bool,
        now: Instant,
    ) -> Result<(), NotWritten> {
        let replaced = if replace {
            self.replace(&whole(), now)
        } else {
            Ok(())
        };
        // What cannot be replaced, because its directory refuses, may still grow.
        let result = replaced.and(self.append(whole));
        self.lines.clear();
        let is_news = !self.failed;
        self.failed = result.is_err() || self.failed && self.is_behind();
        result.map_err(|error| NotWritten { error, is_news })
    }

    fn replace(&mut self, text: &str, now: Instant) -> Result<(), Error> {
        let file = self.kept.write_open(text.as_bytes(), now);
        self.file = Some(file.map_err(|not| not.error)?);
        self.size = text.len() as u64;
        self.replaced = self.size;
        self.torn = false;
        self.lines.clear();
        Ok(())
    }

    fn append(&mut self, whole: &dyn Fn() -> String) -> Result<(), Error> {
        let (Some(mut file), false) = (self.file.as_ref(), self.lines.is_empty()) else {
            return Ok(());
        };
        if self.size == 0 {
            self.lines = whole();
        } else if self.torn {
            self.lines.insert(0, '\n');
        }
        let result = file.write_all(self.lines.as_bytes());
        if result.is_ok() {
            self.size += self.lines.len() as u64;
            self.torn = false;
        } else {
            self.size = file.metadata().map_or(self.size, |there| there.len());
            self.torn = self.size > 0;
        }
        if result.is_err() || self.size >= 2 * self.replaced.max(BLOCK) {
            self.kept.touch();
        }
        Ok(result?)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
