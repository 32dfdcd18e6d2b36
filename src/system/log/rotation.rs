//! Rotation as twistd does it: `LOG` becomes `LOG.1`, `LOG.1` becomes `LOG.2`, and so on. It renames and removes only
//! regular files that can be old logs of this one. Anything else with such a name is left alone, and its number is
//! skipped.

use std::collections::BTreeSet;
use std::path::Path;

use nix::errno::Errno;
use nix::sys::stat::SFlag;
use nix::unistd::geteuid;

use super::place::Place;
use crate::system::errors::system_text;
use crate::system::stat::Stat;

/// When a file is rotated, and how many old ones stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// How many bytes a log file may have; zero for any number.
    pub size: u64,
    /// How many rotated files stay; zero for all.
    pub keep: u32,
}

/// How many files in the way are named, and how many that could not be moved.
const MOST_NAMED: usize = 3;

/// Renames the log, which is at `place`, to number 1, after the old logs have made room, and removes those beyond
/// `keep`. Returns which files were in the way and were skipped. On failure the log keeps its name and no old log is
/// lost. No file is ever replaced.
pub(super) fn rotate(place: &Place, path: &Path, keep: u32) -> Result<Vec<String>, String> {
    let mut old = Old::look(place, path)?;
    for number in old.chain().into_iter().rev() {
        old.make_room(number)?;
    }
    let first = old.free_after(0).unwrap_or(1);
    place
        .rename(None, Some(first))
        .map_err(|errno| old.cannot_rename("", &suffix(first), errno))?;
    old.files.insert(first);
    old.remove_beyond(keep);
    Ok(old.notes)
}

/// The files that have names of old logs.
struct Old<'a> {
    place: &'a Place,
    path: &'a Path,
    files: BTreeSet<u32>,
    /// The numbers of files that are left alone.
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
            // A file that has gone meanwhile is not in the way.
            let Ok(found) = place.numbered(number) else {
                continue;
            };
            match owners.stranger(&found) {
                None => old.files.insert(number),
                Some(what) => {
                    let path = path.display();
                    old.note(MOST_NAMED, format!(
                        "'{path}.{number}' is {what}, no old log; it stays, and rotation goes around it"
                    ));
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

    fn note(&mut self, most: usize, line: String) {
        if self.notes.len() < most {
            self.notes.push(line);
        }
    }

    /// The position of `number` among the numbers that are not in the way, beginning with 1.
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

    /// Renames a file to the next number. A file that the system does not let us rename is in the way. It is an error
    /// only if the system lets us rename none.
    fn make_room(&mut self, number: u32) -> Result<(), String> {
        self.files.remove(&number);
        let to = self.free_after(number).unwrap_or(number);
        let Err(errno) = self.place.rename(Some(number), Some(to)) else {
            self.files.insert(to);
            return Ok(());
        };
        let line = self.cannot_rename(&suffix(number), &suffix(to), errno);
        if matches!(errno, Errno::EACCES | Errno::EROFS) {
            return Err(line);
        }
        self.note(2 * MOST_NAMED, format!("{line}; rotation goes around it"));
        self.in_the_way.insert(number);
        Ok(())
    }

    fn remove_beyond(&mut self, keep: u32) {
        let beyond = |&number: &u32| keep > 0 && self.position(number) > keep as usize;
        let beyond: Vec<u32> = self.files.iter().copied().filter(beyond).collect();
        for number in beyond {
            if let Err(errno) = self.place.remove(number) {
                let (path, why) = (self.path.display(), system_text(errno));
                self.note(
                    2 * MOST_NAMED,
                    format!("cannot remove old log '{path}.{number}': {why}"),
                );
            }
        }
    }

    fn cannot_rename(&self, from: &str, to: &str, errno: Errno) -> String {
        let (path, why) = (self.path.display(), system_text(errno));
        format!("cannot rename log '{path}{from}' to '{path}{to}': {why}")
    }
}

fn suffix(number: u32) -> String {
    format!(".{number}")
}

/// Whose files count as old logs.
struct Owners {
    /// Anybody's: only root and this user can have put a file into the directory.
    all: bool,
    log: Option<u32>,
}

impl Owners {
    fn of(place: &Place) -> nix::Result<Owners> {
        let directory = place.directory()?;
        Ok(Owners {
            all: is_ours(directory.owner) && directory.mode & 0o022 == 0,
            log: place.named().map(|log| log.owner),
        })
    }

    /// What the file is, if it is not an old log.
    fn stranger(&self, found: &Stat) -> Option<String> {
        let what = match found.kind {
            SFlag::S_IFREG => {
                let owner = found.owner;
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
