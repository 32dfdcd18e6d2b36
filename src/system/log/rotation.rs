//! Old logs: `LOG` becomes `LOG.1`, `LOG.1` becomes `LOG.2`, and so on, as with twistd. Only regular files that can be
//! this log's are renamed or removed; whatever else has one of these names is left alone, and its number left out.

use std::collections::BTreeSet;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag};
use nix::unistd::geteuid;

use super::place::Place;
use crate::system::errors::system_text;

/// When a file is rotated, and how many old ones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Bytes a log file may have; zero: any number.
    pub size: u64,
    /// Rotated files that stay; zero: all.
    pub keep: u32,
}

/// Things in the way that are named one by one.
const MOST_NAMED: usize = 3;

/// Gives the log, which is at `place`, the number 1, after everything that has a number has made room. Returns what is
/// in the way and was gone around. On failure the log still has its name; in any case nothing is replaced.
pub(super) fn rotate(place: &Place, path: &Path, keep: u32) -> Result<Vec<String>, String> {
    let mut old = Old::look(place, path)?;
    old.remove_beyond(keep)?;
    for number in old.chain().into_iter().rev() {
        let is_last = keep > 0 && old.position(number) >= keep as usize;
        let moved = match old.free_after(number).filter(|_| !is_last) {
            Some(to) => old.rename(number, to)?,
            None => old.remove(number)?,
        };
        if !moved {
            old.in_the_way.insert(number);
        }
    }
    let first = old.free_after(0).unwrap_or(1);
    place
        .rename(None, first)
        .map_err(|errno| old.cannot_rename("", &suffix(first), errno))?;
    Ok(old.notes)
}

/// What has the names of old logs.
struct Old<'a> {
    place: &'a Place,
    path: &'a Path,
    files: BTreeSet<u32>,
    /// Numbers that something has that stays.
    in_the_way: BTreeSet<u32>,
    notes: Vec<String>,
}

impl<'a> Old<'a> {
    fn look(place: &'a Place, path: &'a Path) -> Result<Old<'a>, String> {
        let cannot_list = |errno| {
            let (path, why) = (path.display(), system_text(errno));
            format!("cannot list the directory of log '{path}': {why}")
        };
        let numbers = place.numbers().map_err(cannot_list)?;
        let owners = Owners::of(place).map_err(cannot_list)?;
        let mut old = Old {
            place,
            path,
            files: BTreeSet::new(),
            in_the_way: BTreeSet::new(),
            notes: Vec::new(),
        };
        for number in numbers {
            // What has gone since is in nobody's way.
            let Ok(found) = place.numbered(number) else {
                continue;
            };
            match owners.stranger(&found) {
                None => old.files.insert(number),
                Some(what) => {
                    old.note(&what, number);
                    old.in_the_way.insert(number)
                }
            };
        }
        let more = old.in_the_way.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            old.notes.push(format!(
                "and {more} more in the way of log '{}'",
                path.display()
            ));
        }
        Ok(old)
    }

    fn note(&mut self, what: &str, number: u32) {
        if self.notes.len() < MOST_NAMED {
            let path = self.path.display();
            self.notes.push(format!(
                "'{path}.{number}' is {what}, no old log; it stays, and rotation goes around it"
            ));
        }
    }

    /// Which one of all numbers that are not in the way this is, beginning with 1.
    fn position(&self, number: u32) -> usize {
        number as usize - self.in_the_way.range(..number).count()
    }

    fn free_after(&self, number: u32) -> Option<u32> {
        let mut after = number.checked_add(1)?;
        while self.in_the_way.contains(&after) {
            after = after.checked_add(1)?;
        }
        Some(after)
    }

    /// The files that have to make room for the log: those up to the first number that is free.
    fn chain(&self) -> Vec<u32> {
        let next = |&number: &u32| self.free_after(number);
        std::iter::successors(self.free_after(0), next)
            .take_while(|number| self.files.contains(number))
            .collect()
    }

    /// Removes what would not stay even if nothing were added.
    fn remove_beyond(&mut self, keep: u32) -> Result<(), String> {
        let beyond = |&number: &u32| keep > 0 && self.position(number) > keep as usize;
        let beyond: Vec<u32> = self.files.iter().copied().filter(beyond).collect();
        for number in beyond {
            self.remove(number)?;
        }
        Ok(())
    }

    /// False where the system does not let this one go; an error where it lets none.
    fn rename(&mut self, from: u32, to: u32) -> Result<bool, String> {
        match self.place.rename(Some(from), to) {
            Ok(()) => Ok(true),
            Err(errno) => self.refused(errno, |old| {
                old.cannot_rename(&suffix(from), &suffix(to), errno)
            }),
        }
    }

    /// The same.
    fn remove(&mut self, number: u32) -> Result<bool, String> {
        match self.place.remove(number) {
            Ok(()) | Err(Errno::ENOENT) => Ok(true),
            Err(errno) => self.refused(errno, |old| {
                let (path, why) = (old.path.display(), system_text(errno));
                format!("cannot remove old log '{path}.{number}': {why}")
            }),
        }
    }

    fn refused(&mut self, errno: Errno, line: impl Fn(&Self) -> String) -> Result<bool, String> {
        let line = line(self);
        if matches!(errno, Errno::EACCES | Errno::EROFS) {
            return Err(line);
        }
        if self.notes.len() < MOST_NAMED {
            self.notes.push(format!("{line}; rotation goes around it"));
        }
        Ok(false)
    }

    fn cannot_rename(&self, from: &str, to: &str, errno: Errno) -> String {
        let (path, why) = (self.path.display(), system_text(errno));
        format!("cannot rename log '{path}{from}' to '{path}{to}': {why}")
    }
}

fn suffix(number: u32) -> String {
    format!(".{number}")
}

/// Whose files are taken for old logs.
struct Owners {
    /// Anybody's, because nobody but root and ourselves can have put a file into the directory.
    all: bool,
    log: Option<u32>,
}

impl Owners {
    fn of(place: &Place) -> nix::Result<Owners> {
        let directory = place.directory()?;
        Ok(Owners {
            all: is_ours(directory.st_uid) && directory.st_mode & 0o022 == 0,
            log: place.named().map(|log| log.st_uid),
        })
    }

    /// What else than an old log it is.
    fn stranger(&self, found: &FileStat) -> Option<String> {
        let what = match SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT {
            SFlag::S_IFREG => {
                let owner = found.st_uid;
                let ours = self.all || is_ours(owner) || Some(owner) == self.log;
                return (!ours).then(|| format!("a file of user {owner}"));
            }
            SFlag::S_IFDIR => "a directory",
            SFlag::S_IFLNK => "a symbolic link",
            SFlag::S_IFIFO => "a named pipe",
            SFlag::S_IFSOCK => "a socket",
            _ => "a device",
        };
        Some(what.to_string())
    }
}

fn is_ours(owner: u32) -> bool {
    owner == 0 || owner == geteuid().as_raw()
}
