//! Whether the daemon's files are apart: nothing is written to a file of the configuration, or to one that another key
//! names as well. `config::apart` knows which files there are; this file looks what their names lead to.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::config::apart::written;
use crate::config::chain;
use crate::config::{About, Fault, Origins, Sequencer};
use crate::system::access;
use crate::system::files;

/// What the daemon was started with, or read, that its files have to be apart from.
pub struct Beside<'a> {
    /// The files that were read, by names that start from the directory `from`.
    pub read: &'a Origins,
    /// See `read`.
    pub from: &'a Path,
    /// The pid file.
    pub pidfile: Option<&'a Path>,
    /// What is in force until a reload, of which parts may stay.
    pub before: Option<&'a Sequencer>,
}

/// Checks that nothing is written to a file of the configuration, or to one that another key names as well. `config` is
/// what is to be in force, options included.
pub fn apart(config: &Sequencer, beside: &Beside<'_>) -> Vec<Fault> {
    let mut known = Vec::new();
    for name in beside.read.names() {
        let path = beside.from.join(name);
        // A link can be replaced, and so can what it leads to.
        known.push(Used::new(None, &path));
        known.push(Used::new(None, &access::where_it_leads(&path)));
    }
    let before = beside.before.map(written).unwrap_or_default();
    known.extend(before.iter().map(|(key, path)| Used::new(Some(key), path)));
    let mut all = written(config);
    all.extend(beside.pidfile.map(|path| ("pidfile", path.to_path_buf())));
    let mut faults = Vec::new();
    // What else is there cannot be written, which is told elsewhere.
    for (key, path) in all {
        if !access::is_file_or_nothing(&path) {
            continue;
        }
        let new = Used::new(Some(key), &path);
        let clash = known.iter().find_map(|other| new.clash(other));
        if let Some(what) = clash {
            let text = format!("{key}: '{}' {what}; name another file", path.display());
            faults.push(beside.read.locate((About::Key(key), text)));
        }
        known.push(new);
    }
    faults
}

/// A file in use.
struct Used {
    /// The key that names it; of a file of the configuration there is none.
    key: Option<&'static str>,
    /// Its directory, with all links followed, and its name there.
    place: PathBuf,
    identity: Option<(u64, u64)>,
}

impl Used {
    fn new(key: Option<&'static str>, path: &Path) -> Used {
        let place = match key {
            // The others are replaced, and links to them are refused.
            Some("logfile") => access::place(&access::where_it_leads(path)),
            _ => access::place(path),
        };
        Used {
            key,
            place,
            identity: files::identity(path),
        }
    }

    /// Whether it is written itself, where others are replaced by a new file. Then it is lost under all its names.
    fn is_written_in_place(&self) -> bool {
        matches!(self.key, None | Some("logfile" | "pidfile"))
    }

    fn is(&self, other: &Used) -> bool {
        let in_place = self.is_written_in_place() && other.is_written_in_place();
        let is_same = in_place && self.identity.is_some() && self.identity == other.identity;
        is_same || self.place == other.place
    }

    /// Whether a rotation of this log would give its name to an old log, `LOG.1`, or take the file for one.
    fn rotates_over(&self, other: &Used) -> bool {
        let (Some(log), Some(name)) = (self.place.file_name(), other.place.file_name()) else {
            return false;
        };
        let number = name.as_bytes().strip_prefix(log.as_bytes());
        let number = number.and_then(|rest| rest.strip_prefix(b"."));
        self.key == Some("logfile")
            && self.place.parent() == other.place.parent()
            && number.is_some_and(|it| !it.is_empty() && it.iter().all(u8::is_ascii_digit))
    }

    /// Whether it lies in the directory that is the configuration, and would be read as a part of it.
    fn is_read_from(&self, other: &Used) -> bool {
        let name = self.place.file_name();
        other.key.is_none()
            && self.place.parent() == Some(&other.place)
            && name.is_some_and(chain::is_read)
    }

    /// Whether that file is written under the name of this one, before it is renamed.
    fn is_temporary_of(&self, other: &Used) -> bool {
        matches!(other.key, Some("statefile" | "metricsfile"))
            && files::is_temporary(&self.place, &other.place)
    }

    /// What is wrong with this file beside that one, if they are not apart.
    fn clash(&self, other: &Used) -> Option<String> {
        let whose = match other.key {
            None => "the configuration".to_string(),
            Some(owner) => format!("the file of {owner}"),
        };
        if self.key == other.key {
            None
        } else if self.is(other) {
            Some(match other.key {
                None => format!("is {whose}, which would be overwritten"),
                Some(_) => format!("is {whose}, too"),
            })
        } else if self.rotates_over(other) {
            Some(format!("would be rotated over {whose}"))
        } else if other.rotates_over(self) {
            Some("is a name that the rotated logfile takes".to_string())
        } else if self.is_read_from(other) {
            Some(format!("would be read as a part of {whose}"))
        } else if self.is_temporary_of(other) {
            Some(format!("is a name under which {whose} is written first"))
        } else if other.is_temporary_of(self) {
            Some(format!("would be written first under the name of {whose}"))
        } else {
            None
        }
    }
}
