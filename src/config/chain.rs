//! The files of a configuration: the one that is named and those it extends, at any depth. Reads them and says
//! which is missing or goes round in a circle; what they say, apart from `[meta] extends`, it does not know.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nix::fcntl::OFlag;

use super::dialect::{self, Fault, Section};
use crate::process::error_text;

/// No configuration is larger; a file that is must be something else.
const MAX_SIZE: u64 = 1 << 30;

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

/// Reads the file `path`, counted from the directory `from`, and what it extends.
pub fn collect(path: &Path, from: &Path) -> Chain {
    let mut chain = Chain::default();
    let mut named = path.to_path_buf();
    let mut seen: Vec<PathBuf> = Vec::new();
    // Where the name of the next file stands, if another file names it.
    let mut namer: Option<usize> = None;
    loop {
        let text = match read(&from.join(&named), &mut seen) {
            Ok(text) => text,
            Err(why) => {
                chain.broken = true;
                let shown = named.display();
                let line = namer.unwrap_or(1);
                if namer.is_none() {
                    chain.files.push(File {
                        path: shown.to_string().into(),
                        text: Vec::new(),
                    });
                }
                let message = match (why, namer) {
                    (Unreadable::Loop, _) => format!(
                        "the files extend each other in a circle: {}",
                        route(&chain, &named)
                    ),
                    (Unreadable::Error(why), None) => {
                        format!("cannot read the configuration: {why}")
                    }
                    (Unreadable::Error(why), Some(_)) => {
                        format!("cannot read '{shown}': {why} ({})", route(&chain, &named))
                    }
                };
                chain
                    .faults
                    .push((chain.files.len() - 1, Fault { line, message }));
                break;
            }
        };
        let (extends, faults) = extends(&text);
        chain.files.push(File {
            path: named.display().to_string().into(),
            text,
        });
        let number = chain.files.len() - 1;
        chain
            .faults
            .extend(faults.into_iter().map(|fault| (number, fault)));
        let Some((line, base)) = extends else { break };
        namer = Some(line);
        named = named.parent().unwrap_or(Path::new("")).join(base);
    }
    chain.files.reverse();
    let last = chain.files.len() - 1;
    for (number, _) in &mut chain.faults {
        *number = last - *number;
    }
    chain
}

enum Unreadable {
    Loop,
    Error(String),
}

fn read(path: &Path, seen: &mut Vec<PathBuf>) -> Result<Vec<u8>, Unreadable> {
    let error = |error: std::io::Error| Unreadable::Error(error_text(&error));
    let identity = fs::canonicalize(path).map_err(error)?;
    if seen.contains(&identity) {
        return Err(Unreadable::Loop);
    }
    seen.push(identity);
    // O_NONBLOCK: a named pipe must not stop the daemon when it reloads.
    let file = fs::OpenOptions::new()
        .read(true)
        .custom_flags(OFlag::O_NONBLOCK.bits())
        .open(path)
        .map_err(error)?;
    let kind = file.metadata().map_err(error)?.file_type();
    if !kind.is_file() {
        let what = if kind.is_dir() {
            "it is a directory"
        } else {
            "it is not a regular file"
        };
        return Err(Unreadable::Error(what.to_string()));
    }
    let mut text = Vec::new();
    file.take(MAX_SIZE + 1)
        .read_to_end(&mut text)
        .map_err(error)?;
    if text.len() as u64 > MAX_SIZE {
        return Err(Unreadable::Error("it is larger than 1 GiB".to_string()));
    }
    Ok(text)
}

/// `a.conf extends b.conf extends c.conf`
fn route(chain: &Chain, last: &Path) -> String {
    let names = chain.files.iter().map(|file| file.path.to_string());
    let names: Vec<String> = names.chain([last.display().to_string()]).collect();
    names.join(" extends ")
}

/// The file that `[meta] extends` names, with its line, and the faults of `[meta]`.
fn extends(text: &[u8]) -> (Option<(usize, String)>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut extends = None;
    dialect::sections(
        text,
        |section| section == Section::Meta,
        &mut faults,
        |_, _, entries| {
            for entry in entries.into_iter().filter(|entry| entry.key == "extends") {
                let unset = entry.value.is_empty() || entry.value.eq_ignore_ascii_case("none");
                extends = (!unset).then_some((entry.line, entry.value));
            }
        },
    );
    (extends, faults)
}
