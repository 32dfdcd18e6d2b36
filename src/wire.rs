//! The line that goes over the control socket: the command as one would type it. This program's own commands put a word
//! before it that says which daemon is meant (`FOR`). It writes and parses lines and neither sends nor executes any.

use std::ffi::OsString;
use std::fmt::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::cli::{self, Request, UsageError};

/// The beginning of the word. If the command was given a configuration with `-c`, the file's device, inode and path
/// follow (`--for=2049:131:/etc/a.conf pause`).
///
/// Daemons before 1.1 do not know the word; they refuse such a line as wrong usage (2) and do nothing. `healthcheck
/// --alive` with the word tells whether a daemon knows it. A daemon that does refuses (1) a line that is meant for the
/// daemon of another configuration, and begins its answer to `run --wait` with a line that says how the run ended.
const FOR: &str = "--for=";

/// A configuration file, as the daemon or the command sees it. Both may see one file under different paths (a link, a
/// mount), or different files under one path (a container).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigFile {
    /// Device and inode, if the file can be found.
    pub identity: Option<(u64, u64)>,
    /// Its absolute path; empty if only device and inode count.
    pub path: PathBuf,
}

impl ConfigFile {
    /// Whether both are the same file or have the same path.
    pub fn is_same(&self, other: &ConfigFile) -> bool {
        let same_file = self.identity.is_some() && self.identity == other.identity;
        let same_path = self.path == other.path && self.path != Path::new("");
        same_file || same_path
    }
}

/// Who sent a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asker {
    /// Anybody: a person by hand, or a client before 1.1.
    Anybody,
    /// A command of this program. It is meant for the daemon of this configuration, if one was given.
    Command(Option<ConfigFile>),
}

/// A line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Who sent it.
    pub asker: Asker,
    /// What is asked for.
    pub request: Request,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.asker {
            Asker::Anybody => {}
            Asker::Command(None) => write!(f, "{FOR} ")?,
            Asker::Command(Some(file)) => {
                f.write_str(FOR)?;
                if let Some((device, inode)) = file.identity {
                    write!(f, "{device}:{inode}")?;
                } else {
                    f.write_char(':')?;
                }
                f.write_char(':')?;
                write_encoded(f, &file.path)?;
                f.write_char(' ')?;
            }
        }
        write!(f, "{}", self.request)
    }
}

/// Parses a line from the socket.
pub fn parse(line: &str) -> Result<Line, UsageError> {
    let start = line.trim_start();
    let word = start.split_whitespace().next().unwrap_or_default();
    let Some(meant) = word.strip_prefix(FOR) else {
        let request = cli::parse_request(line)?;
        let asker = Asker::Anybody;
        return Ok(Line { asker, request });
    };
    let file = match meant {
        "" => None,
        meant => Some(config_file(meant).ok_or_else(|| {
            UsageError::new(format!("'{FOR}' takes DEVICE:INODE:PATH, not '{meant}'"))
        })?),
    };
    Ok(Line {
        asker: Asker::Command(file),
        request: cli::parse_request(&start[word.len()..])?,
    })
}

/// Parses `DEVICE:INODE:PATH`, or `::PATH`.
fn config_file(text: &str) -> Option<ConfigFile> {
    let mut parts = text.splitn(3, ':');
    let identity = match (parts.next()?, parts.next()?) {
        ("", "") => None,
        (device, inode) => Some((device.parse().ok()?, inode.parse().ok()?)),
    };
    let path = decoded(parts.next()?)?;
    Some(ConfigFile { identity, path })
}

/// Writes a path as one word. A byte that is not a visible ASCII character becomes an escape such as `%20`.
fn write_encoded(f: &mut fmt::Formatter<'_>, path: &Path) -> fmt::Result {
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_graphic() && byte != b'%' {
            f.write_char(char::from(byte))?;
        } else {
            write!(f, "%{byte:02X}")?;
        }
    }
    Ok(())
}

fn decoded(word: &str) -> Option<PathBuf> {
    let mut bytes = Vec::new();
    let mut parts = word.split('%');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let digits = part.get(..2)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[2..]);
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;

    fn file(identity: Option<(u64, u64)>, path: &[u8]) -> ConfigFile {
        ConfigFile {
            identity,
            path: PathBuf::from(OsString::from_vec(path.to_vec())),
        }
    }

    fn pause(asker: Asker) -> Line {
        let request = Request::Pause(Some("a".into()));
        Line { asker, request }
    }

    #[test]
    fn every_line_reads_back_as_itself() {
        let every_byte: Vec<u8> = (1..=255).collect();
        for (asker, text) in [
            (Asker::Anybody, Some("pause a")),
            (Asker::Command(None), Some("--for= pause a")),
            (
                Asker::Command(Some(file(Some((2049, 131)), b"/etc/a.conf"))),
                Some("--for=2049:131:/etc/a.conf pause a"),
            ),
            (
                Asker::Command(Some(file(None, b"/a b:c%\n"))),
                Some("--for=::/a%20b:c%25%0A pause a"),
            ),
            (
                Asker::Command(Some(file(Some((1, 2)), b""))),
                Some("--for=1:2: pause a"),
            ),
            (Asker::Command(Some(file(None, &every_byte))), None),
        ] {
            let line = pause(asker);
            let shown = line.to_string();
            assert_eq!(shown, text.unwrap_or(&shown));
            assert!(shown.is_ascii() && shown.split(' ').count() <= 3, "{shown}");
            assert_eq!(parse(&shown).unwrap(), line);
        }
    }

    #[test]
    fn the_word_counts_only_in_front_and_only_whole() {
        for wrong in [
            "--for=x pause a",
            "--for=1:2 pause a",
            "--for=1:x:/a pause a",
            "--for=-1:2:/a pause a",
            "--for=::/a%2 pause a",
            "--for=::/a%zz pause a",
            "--for=::/a%+1 pause a",
            "--for=::/a%€ pause a",
            "pause --for=::/a a",
            "pause a --for=",
            "--for= --for= pause a",
            "--for pause a",
            "--for=",
        ] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            parse("  --for=\t pause  a ").unwrap(),
            pause(Asker::Command(None))
        );
    }

    #[test]
    fn a_configuration_is_the_same_by_its_file_or_by_its_path() {
        let known = file(Some((1, 2)), b"/etc/a.conf");
        for (other, same) in [
            (file(Some((1, 2)), b"/etc/a.conf"), true),
            (file(Some((1, 2)), b"/mnt/a.conf"), true),
            (file(Some((1, 3)), b"/etc/a.conf"), true),
            (file(None, b"/etc/a.conf"), true),
            (file(Some((2, 2)), b"/etc/b.conf"), false),
            (file(Some((1, 3)), b"/etc/b.conf"), false),
            (file(None, b"/etc/b.conf"), false),
            (file(None, b""), false),
        ] {
            assert_eq!(known.is_same(&other), same, "{other:?}");
            assert_eq!(other.is_same(&known), same, "{other:?}");
        }
        let unknown = file(None, b"");
        assert!(!unknown.is_same(&unknown), "nothing is not the same");
    }
}
