//! The files of a configuration: the one that is named and those it extends, at any depth. Has them read and says
//! which is missing or goes round in a circle; what they say, apart from `[meta] extends`, it does not know.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::dialect::{self, Entry, Fault, Section};
use super::{keys, values};
use crate::near::nearest;

/// What tells a file from all others, whatever its name: device and inode.
pub type Identity = (u64, u64);

/// A file as it was found.
#[derive(Debug)]
pub struct Source {
    /// Which file it is.
    pub identity: Identity,
    /// What it holds.
    pub text: Vec<u8>,
}

/// Reads the file at a path; the error says why it cannot be read.
pub trait Read: Fn(&Path) -> Result<Source, String> {}
impl<F: Fn(&Path) -> Result<Source, String>> Read for F {}

/// One file.
#[derive(Debug)]
pub struct File {
    /// Its path as it was named, for messages.
    pub path: Rc<str>,
    /// What it holds.
    pub text: Vec<u8>,
}

/// The files, the deepest base first, and what went wrong on the way. A fault's first part is the number of its
/// file.
#[derive(Debug, Default)]
pub struct Chain {
    /// The files.
    pub files: Vec<File>,
    /// Faults of the chain itself and of its `[meta]` sections.
    pub faults: Vec<(usize, Fault)>,
    /// Whether a file could not be read, so that something is missing.
    pub broken: bool,
}

/// Collects the file `path`, counted from the directory `from`, and what it extends.
pub fn collect(path: &Path, from: &Path, read: &impl Read) -> Chain {
    let mut chain = Chain::default();
    let mut seen = HashSet::new();
    // The next file, with the line that names it if another file does.
    let mut next = Some((None, path.to_path_buf()));
    while let Some((named_at, path)) = next {
        next = match read_once(&from.join(&path), read, &mut seen) {
            Ok(text) => chain
                .add(&path, text)
                .map(|(line, base)| (Some(line), beside(&path, &base))),
            Err(why) => {
                chain.cannot_read(&path, named_at, &why);
                None
            }
        };
    }
    // They were found from the top.
    chain.files.reverse();
    let last = chain.files.len().saturating_sub(1);
    for (number, _) in &mut chain.faults {
        *number = last - *number;
    }
    chain
}

impl Chain {
    /// Adds a file that has been read; returns the one that it extends, with the line that says so.
    fn add(&mut self, path: &Path, text: Vec<u8>) -> Option<(usize, PathBuf)> {
        let Meta {
            extends,
            faults,
            doubtful,
        } = meta(&text);
        self.broken |= doubtful;
        let number = self.files.len();
        self.faults
            .extend(faults.into_iter().map(|fault| (number, fault)));
        let path = path.display().to_string().into();
        self.files.push(File { path, text });
        extends
    }

    /// A fault of the file that names this one; of this one itself if none does.
    fn cannot_read(&mut self, path: &Path, named_at: Option<usize>, why: &Unreadable) {
        self.broken = true;
        let shown = path.display();
        let message = match (why, named_at) {
            (Unreadable::Loop, _) => {
                let route = self.route(path);
                format!("the files extend each other in a circle: {route}")
            }
            (Unreadable::Error(why), None) => format!("cannot read the configuration: {why}"),
            (Unreadable::Error(why), Some(_)) => {
                format!("cannot read '{shown}': {why} ({})", self.route(path))
            }
        };
        if named_at.is_none() {
            let path = shown.to_string().into();
            let text = Vec::new();
            self.files.push(File { path, text });
        }
        let line = named_at.unwrap_or(1);
        let number = self.files.len().saturating_sub(1);
        self.faults.push((number, Fault { line, message }));
    }

    /// `a.conf extends b.conf extends c.conf`
    fn route(&self, last: &Path) -> String {
        let names = self.files.iter().map(|file| file.path.to_string());
        let names: Vec<String> = names.chain([last.display().to_string()]).collect();
        names.join(" extends ")
    }
}

enum Unreadable {
    Loop,
    Error(String),
}

/// Reads a file that has not been read before.
fn read_once(
    path: &Path,
    read: &impl Read,
    seen: &mut HashSet<Identity>,
) -> Result<Vec<u8>, Unreadable> {
    let source = read(path).map_err(Unreadable::Error)?;
    if !seen.insert(source.identity) {
        return Err(Unreadable::Loop);
    }
    Ok(source.text)
}

/// `base` counted from the directory of the file that names it. A name and the `..` after it cancel out, as in
/// lazr.config, so that a directory may be a symbolic link to one that is kept elsewhere.
fn beside(namer: &Path, base: &Path) -> PathBuf {
    let joined = namer.parent().unwrap_or(Path::new("")).join(base);
    let mut path = PathBuf::new();
    for part in joined.components() {
        let name = matches!(path.components().next_back(), Some(Component::Normal(_)));
        if part == Component::ParentDir && name {
            path.pop();
        } else {
            path.push(part);
        }
    }
    path
}

/// What `[meta]` says.
#[derive(Debug, Default)]
struct Meta {
    /// The file that is extended, with the line that names it.
    extends: Option<(usize, PathBuf)>,
    faults: Vec<Fault>,
    /// A fault may be the reason why nothing is extended.
    doubtful: bool,
}

fn meta(text: &[u8]) -> Meta {
    let mut meta = Meta::default();
    let mut faults = Vec::new();
    let wanted = |section| section == Section::Meta;
    dialect::sections(text, wanted, &mut faults, |_, _, entries| {
        for entry in entries {
            let line = entry.line;
            let near = nearest(&entry.key, ["extends"]).is_some();
            match extends(entry) {
                Ok(base) => meta.extends = base.map(|path| (line, path)),
                Err(message) => {
                    meta.doubtful |= near;
                    let told = message.map(|message| Fault { line, message });
                    meta.faults.extend(told);
                }
            }
        }
    });
    meta.faults.extend(faults);
    meta
}

/// The path that an entry of `[meta]` names. The error is empty if its fault has been told.
fn extends(entry: Entry) -> Result<Option<PathBuf>, Option<String>> {
    let value = entry.value.ok_or(None)?;
    if entry.key != "extends" {
        return Err(Some(keys::unknown(&entry.key, &["extends"])));
    }
    if value.is_empty() || value.eq_ignore_ascii_case("none") {
        return Ok(None);
    }
    let path = values::path(&value).map_err(|message| format!("extends: {message}"))?;
    Ok(Some(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_counts_from_the_directory_of_the_file_that_names_it() {
        for (namer, base, expected) in [
            ("top.conf", "base.conf", "base.conf"),
            ("a/top.conf", "base.conf", "a/base.conf"),
            ("a/b/top.conf", "../base.conf", "a/base.conf"),
            ("a/b/top.conf", "../../base.conf", "base.conf"),
            ("a/top.conf", "../../base.conf", "../base.conf"),
            ("../top.conf", "../base.conf", "../../base.conf"),
            ("./top.conf", "./c/../base.conf", "./base.conf"),
            ("/top.conf", "x/base.conf", "/x/base.conf"),
            ("a/top.conf", "/x/base.conf", "/x/base.conf"),
            ("a/..b/top.conf", "../base.conf", "a/base.conf"),
        ] {
            let path = beside(Path::new(namer), Path::new(base));
            assert_eq!(path, Path::new(expected), "{namer} extends {base}");
        }
    }

    #[test]
    fn the_last_extends_of_a_file_counts_and_none_extends_nothing() {
        for (meta, expected) in [
            ("extends: a", Some((2, "a"))),
            ("EXTENDS = a\nextends: b c ; d", Some((3, "b c"))),
            ("extends:\n  a", Some((2, "a"))),
            ("extends: a\n[x]\n[meta]\nextends: None", None),
            ("extends:", None),
            ("", None),
        ] {
            let found = super::meta(format!("[meta]\n{meta}").as_bytes());
            let expected = expected.map(|(line, path)| (line, PathBuf::from(path)));
            assert_eq!((found.extends, found.faults), (expected, vec![]), "{meta}");
            assert!(!found.doubtful);
        }
    }

    #[test]
    fn what_else_meta_holds_is_a_fault() {
        let text = b"[meta]\nextend: a\nextends: b\n  c\njunk\nextends: \xff\n";
        let faults = meta(text).faults;
        let told: Vec<_> = faults.iter().map(|f| (f.line, &*f.message)).collect();
        assert_eq!(told.len(), 4, "{told:?}");
        for expected in [
            (2, "unknown key 'extend'; did you mean 'extends'?"),
            (
                3,
                r"extends: 'b\nc' is not a path: it has more than one line",
            ),
        ] {
            assert!(told.contains(&expected), "{told:?}");
        }
    }

    #[test]
    fn only_what_may_have_been_meant_as_extends_leaves_a_gap() {
        for (text, doubtful) in [
            ("extend: a", true),
            ("extends a", true),
            ("extends: a\n  b", true),
            ("extends: \u{7}", true),
            ("base: a", false),
            ("junk", false),
            ("extends: a\njunk", false),
        ] {
            let meta = meta(format!("[meta]\n{text}").as_bytes());
            assert_eq!(meta.doubtful, doubtful, "{text}");
            assert_eq!(meta.faults.len(), 1, "{text}");
        }
    }
}
