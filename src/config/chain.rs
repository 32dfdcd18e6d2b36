//! The files of a configuration: the one that is named, or all of a directory, and the files they extend, at any depth.
//! This file has them read and reports one that is missing or extends itself. Of their text it knows `[meta] extends`
//! alone.

use std::collections::{BinaryHeap, HashSet};
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use super::dialect::{self, Entry, Fault, Section};
use super::{doubts, keys, values};
use crate::near::nearest;
use crate::text::harmless;

/// A file's device and inode, which identify it under any name.
pub type Identity = (u64, u64);

/// A file as it was found.
#[derive(Debug)]
pub struct Source {
    /// Which file it is.
    pub identity: Identity,
    /// Its text.
    pub text: Vec<u8>,
}

/// What is at a path.
#[derive(Debug)]
pub enum Found {
    /// A file.
    File(Source),
    /// A directory with these names in it, in any order.
    Directory(Vec<OsString>),
}

/// Reads files and directories.
pub trait Read {
    /// Reads what is at a path. The error says why that failed.
    fn read(&self, path: &Path) -> Result<Found, String>;
}

/// One file.
#[derive(Debug)]
pub struct File {
    /// Its path as it was named, for messages.
    pub path: Rc<str>,
    /// Its text.
    pub text: Vec<u8>,
}

/// The files, the deepest base first, and the faults found on the way. A fault's first part is the number of its file.
#[derive(Debug, Default)]
pub struct Chain {
    /// The files.
    pub files: Vec<File>,
    /// Faults of the chain itself and of its `[meta]` sections.
    pub faults: Vec<(usize, Fault)>,
    /// What is doubtful in its `[meta]` sections.
    pub warnings: Vec<(usize, Fault)>,
    /// Whether a file could not be read, so that its jobs and keys are missing.
    pub broken: bool,
}

/// Collects the file `path`, relative to the directory `from`, and the files it extends. If it is a directory, collects
/// all its configuration files, each over those before it.
pub fn collect(path: &Path, from: &Path, read: &impl Read) -> Chain {
    let names = match read.read(&from.join(path)) {
        Ok(Found::Directory(names)) => names,
        found => return collect_file(path, from, found, read),
    };
    let mut chain = Chain::default();
    for name in in_order(names) {
        let path = path.join(name);
        let found = read.read(&from.join(&path));
        chain.lay_over(collect_file(&path, from, found, read));
    }
    // The directory has no text, but faults name it.
    let is_empty = chain.files.is_empty();
    let number = chain.files.len();
    chain.add(path, Vec::new());
    if is_empty {
        chain.broken = true;
        let message = "there is no file in this directory whose name ends in .conf".to_string();
        chain.faults.push((number, Fault { line: 1, message }));
    }
    chain
}

/// The names that are read, in their order: by bytes.
fn in_order(mut names: Vec<OsString>) -> Vec<OsString> {
    names.retain(|name| is_read(name));
    // Of all that can sort, a heap needs the least code.
    BinaryHeap::from(names).into_sorted_vec()
}

/// Whether a file of this name is read where the configuration is its directory.
pub fn is_read(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.ends_with(b".conf") && !name.starts_with(b".")
}

/// Collects one file, which has been found already, and the files it extends.
fn collect_file(path: &Path, from: &Path, found: Result<Found, String>, read: &impl Read) -> Chain {
    let mut chain = Chain::default();
    let mut seen = HashSet::new();
    let mut found = Some(found);
    // The next file, and the line that names it, if a file does.
    let mut next = Some((None, path.to_path_buf()));
    while let Some((named_at, path)) = next {
        let found = found.take().unwrap_or_else(|| read.read(&from.join(&path)));
        next = match not_seen(found, &mut seen) {
            Ok(text) => chain
                .add(&path, text)
                .map(|(line, base)| (Some(line), beside(&path, &base))),
            Err(why) => {
                chain.cannot_read(&path, named_at, &why);
                None
            }
        };
    }
    // The files were found from the top down.
    chain.files.reverse();
    let last = chain.files.len().saturating_sub(1);
    for (number, _) in chain.faults.iter_mut().chain(&mut chain.warnings) {
        *number = last - *number;
    }
    chain
}

impl Chain {
    /// Puts the files of another chain on top of these.
    fn lay_over(&mut self, upper: Chain) {
        let below = self.files.len();
        let above = |(number, fault)| (below + number, fault);
        self.faults.extend(upper.faults.into_iter().map(above));
        self.warnings.extend(upper.warnings.into_iter().map(above));
        self.files.extend(upper.files);
        self.broken |= upper.broken;
    }

    /// Adds a file that has been read; returns the one that it extends, with the line that says so.
    fn add(&mut self, path: &Path, text: Vec<u8>) -> Option<(usize, PathBuf)> {
        let Meta {
            extends,
            faults,
            again,
            doubtful,
        } = meta(&text);
        self.broken |= doubtful;
        let number = self.files.len();
        self.faults
            .extend(faults.into_iter().map(|fault| (number, fault)));
        self.warnings
            .extend(again.into_iter().map(|fault| (number, fault)));
        let path = (&*path.to_string_lossy()).into();
        self.files.push(File { path, text });
        extends
    }

    /// A fault at the line that names this file; if no file does, at this file's first line.
    fn cannot_read(&mut self, path: &Path, named_at: Option<usize>, why: &Unreadable) {
        self.broken = true;
        let path = path.to_string_lossy();
        let message = match (why, named_at) {
            (Unreadable::Loop, _) => {
                format!(
                    "the files extend each other in a circle: {}",
                    self.route(&path)
                )
            }
            (Unreadable::Error(why), None) => format!("cannot read the configuration: {why}"),
            (Unreadable::Error(why), Some(_)) => {
                format!(
                    "cannot read '{}': {why} ({})",
                    harmless(&path),
                    self.route(&path)
                )
            }
        };
        if named_at.is_none() {
            let path = (&*path).into();
            let text = Vec::new();
            self.files.push(File { path, text });
        }
        let line = named_at.unwrap_or(1);
        let number = self.files.len().saturating_sub(1);
        self.faults.push((number, Fault { line, message }));
    }

    /// `a.conf extends b.conf extends c.conf`
    fn route(&self, last: &str) -> String {
        let mut route = String::new();
        for file in &self.files {
            route.push_str(&file.path);
            route.push_str(" extends ");
        }
        route.push_str(last);
        harmless(&route).into_owned()
    }
}

enum Unreadable {
    Loop,
    Error(String),
}

/// The text of a file that has not been read before.
fn not_seen(
    found: Result<Found, String>,
    seen: &mut HashSet<Identity>,
) -> Result<Vec<u8>, Unreadable> {
    match found.map_err(Unreadable::Error)? {
        Found::Directory(_) => Err(Unreadable::Error("it is a directory".to_string())),
        Found::File(source) if !seen.insert(source.identity) => Err(Unreadable::Loop),
        Found::File(source) => Ok(source.text),
    }
}

/// `base` relative to the directory of the file that names it. A name and the `..` after it cancel out, as in
/// lazr.config, so that a directory may be a symbolic link to one elsewhere.
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
    /// Lines that set `extends` once more.
    again: Vec<Fault>,
    /// Whether an entry that is or nearly is `extends` has a fault, so that a file may be missing.
    doubtful: bool,
}

fn meta(text: &[u8]) -> Meta {
    let mut meta = Meta::default();
    let mut faults = Vec::new();
    let mut before = None;
    let wanted = |section| section == Section::Meta;
    dialect::sections(text, wanted, &mut faults, |_, _, entries| {
        for entry in entries {
            let line = entry.line;
            if entry.key == "extends" {
                let again = before
                    .replace(line)
                    .map(|at| doubts::set_again(&entry.key, at));
                meta.again
                    .extend(again.map(|message| Fault { line, message }));
            }
            let near = nearest(&entry.key, &["extends"]).is_some();
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

/// The path that an entry of `[meta]` names. The error is empty if the entry's fault has been reported already.
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
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    /// Files by path; a path that ends in a slash is a directory.
    struct Files<'a>(&'a [(&'a str, &'a str)]);

    impl Read for Files<'_> {
        fn read(&self, path: &Path) -> Result<Found, String> {
            let path = path.to_str().unwrap().trim_end_matches('/');
            let number = self
                .0
                .iter()
                .position(|(name, _)| name.trim_end_matches('/') == path);
            let number = number.ok_or("No such file or directory")?;
            let (name, text) = self.0[number];
            if name.ends_with('/') {
                return Ok(Found::Directory(
                    text.split_whitespace().map(OsString::from).collect(),
                ));
            }
            let identity = (0, u64::try_from(number).unwrap());
            let text = text.as_bytes().to_vec();
            Ok(Found::File(Source { identity, text }))
        }
    }

    fn paths(chain: &Chain) -> Vec<&str> {
        chain.files.iter().map(|file| &*file.path).collect()
    }

    fn faults(chain: &Chain) -> Vec<(&str, usize, &str)> {
        let told = chain.faults.iter();
        told.map(|(number, fault)| (&*chain.files[*number].path, fault.line, &*fault.message))
            .collect()
    }

    #[test]
    fn a_directory_is_its_files_by_name_each_over_what_it_extends() {
        let files = [
            (
                "/d/",
                "b.conf a.conf .hidden.conf c.conf~ README A.conf a.config 10.conf 9.conf conf",
            ),
            ("/d/a.conf", ""),
            ("/d/b.conf", "[meta]\nextends: ../base"),
            ("/d/A.conf", "[meta]\nextends: ../base"),
            ("/d/10.conf", ""),
            ("/d/9.conf", ""),
            ("/base", ""),
        ];
        let chain = collect(Path::new("d"), Path::new("/"), &Files(&files));
        assert_eq!(
            paths(&chain),
            [
                "d/10.conf",
                "d/9.conf",
                "base",
                "d/A.conf",
                "d/a.conf",
                "base",
                "d/b.conf",
                "d"
            ]
        );
        assert_eq!((faults(&chain), chain.broken), (vec![], false));
    }

    #[test]
    fn a_second_extends_in_a_file_is_told_since_it_replaces_the_first() {
        let files = [
            ("/d/", "a.conf b.conf"),
            ("/d/a.conf", ""),
            (
                "/d/b.conf",
                "[meta]\nextends: ../x\n[other]\n[meta]\nextends: ../base\n",
            ),
            ("/base", "[meta]\nextends: none\nextends: none\n"),
        ];
        let chain = collect(Path::new("d"), Path::new("/"), &Files(&files));
        let told = chain.warnings.iter().map(|(number, fault)| {
            let message = fault.message.split(';').next().unwrap();
            (&*chain.files[*number].path, fault.line, message)
        });
        let told: Vec<_> = told.collect();
        let expected = [
            ("d/b.conf", 5, "extends has been set in line 2 already"),
            ("base", 3, "extends has been set in line 2 already"),
        ];
        assert_eq!((told, faults(&chain)), (expected.to_vec(), vec![]));
    }

    #[test]
    fn faults_of_a_directory_are_those_of_its_files() {
        let files = [
            ("/d/", "a.conf b.conf c.conf e.conf f.conf"),
            ("/d/a.conf", "[meta]\nextends: b.conf"),
            ("/d/b.conf", "[meta]\n\nextends: a.conf"),
            ("/d/c.conf/", "x.conf"),
            ("/d/e.conf", "[meta]\nextend: x"),
        ];
        let chain = collect(Path::new("d"), Path::new("/"), &Files(&files));
        assert!(chain.broken);
        assert_eq!(
            faults(&chain),
            [
                (
                    "d/b.conf",
                    3,
                    "the files extend each other in a circle: d/a.conf extends d/b.conf extends d/a.conf"
                ),
                (
                    "d/a.conf",
                    2,
                    "the files extend each other in a circle: d/b.conf extends d/a.conf extends d/b.conf"
                ),
                (
                    "d/c.conf",
                    1,
                    "cannot read the configuration: it is a directory"
                ),
                (
                    "d/e.conf",
                    2,
                    "unknown key 'extend'; did you mean 'extends'?"
                ),
                (
                    "d/f.conf",
                    1,
                    "cannot read the configuration: No such file or directory"
                ),
            ]
        );
    }

    #[test]
    fn a_directory_without_files_and_one_that_is_extended_are_faults() {
        let files = [("/d/", ".a.conf b"), ("/x", "[meta]\nextends: d")];
        let read = Files(&files);
        let chain = collect(Path::new("d"), Path::new("/"), &read);
        let expected = "there is no file in this directory whose name ends in .conf";
        assert_eq!(
            (faults(&chain), chain.broken),
            (vec![("d", 1, expected)], true)
        );
        let chain = collect(Path::new("x"), Path::new("/"), &read);
        assert_eq!(
            faults(&chain),
            [("x", 2, "cannot read 'd': it is a directory (x extends d)")]
        );
    }

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
