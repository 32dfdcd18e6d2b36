//! Whether an executable file can be started: what execve(2) makes of its first bytes. Looks and tells; starts nothing.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::system::{access, files};
use crate::text::shown;

/// As much as the kernel looks at (`BINPRM_BUF_SIZE`).
const LOOKED_AT: usize = 256;
/// The byte order mark that some editors put before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why the file at `path`, which is executable, cannot be started all the same, as far as can be told.
pub fn flaw(path: &Path) -> Option<String> {
    let start = start_of(path)?;
    match &start[..] {
        [] => Some("it is empty".to_string()),
        [b'#', b'!', line @ ..] => of_script(line),
        [0x7f, b'E', b'L', b'F', ..] => of_machine(&start),
        _ if start.starts_with(MARK) => {
            Some("a byte order mark stands before its first line; save it without one".to_string())
        }
        // Whatever else it is, the kernel may have been told how to start it.
        _ if !start.iter().all(is_of_text) => None,
        _ => Some("its first line does not say what runs it; write one like #!/bin/sh".to_string()),
    }
}

/// The first bytes; nothing of a file that may be executed but not read.
fn start_of(path: &Path) -> Option<Vec<u8>> {
    let mut start = vec![0; LOOKED_AT];
    let length = File::open(path).ok()?.read(&mut start).ok()?;
    start.truncate(length);
    Some(start)
}

fn is_of_text(byte: &u8) -> bool {
    !byte.is_ascii_control() || byte.is_ascii_whitespace()
}

/// A script, from behind `#!` on: blanks, the interpreter, and perhaps one argument (execve(2)).
fn of_script(start: &[u8]) -> Option<String> {
    let line = start.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let is_blank = |c: char| c == ' ' || c == '\t';
    let mut words = line.split(is_blank).filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else {
        return Some("its first line names no interpreter behind '#!'".to_string());
    };
    let mut missing = interpreter;
    let mut found = access::executable_file(Path::new(interpreter)).is_ok();
    if found && interpreter.ends_with("/env") {
        // It is a program that is looked for in PATH.
        if let Some(program) = words
            .next()
            .filter(|word| !word.starts_with('-') && !word.contains('='))
        {
            missing = program;
            found = access::executable(program).is_ok();
        }
    }
    if found {
        return None;
    }
    Some(match missing.strip_suffix('\r') {
        Some(_) => format!(
            "its lines end as Windows writes them, so {} is looked for to run it; take the \\r out of it",
            shown(missing)
        ),
        None => format!(
            "its first line wants {} to run it, which is not there",
            shown(missing)
        ),
    })
}

/// A program for a machine of another kind, unless the kernel has been told how to start such.
fn of_machine(start: &[u8]) -> Option<String> {
    let own = start_of(Path::new("/proc/self/exe"))?;
    let known = |header: &[u8]| header.get(18..20).map(|it| (header[5], [it[0], it[1]]));
    let (theirs, ours) = (known(start)?, known(&own)?);
    if theirs == ours || is_lesser(ours.1, theirs.1) || starts_others() {
        return None;
    }
    Some("it is a program for another kind of machine".to_string())
}

/// Whether machines of the first kind run what is for those of the second: of 64 bits what has 32 (elf.h).
fn is_lesser(ours: [u8; 2], theirs: [u8; 2]) -> bool {
    let number = u16::from_le_bytes;
    matches!((number(ours), number(theirs)), (62, 3) | (183, 40))
}

/// Whether other programs are started in the kernel's stead (binfmt_misc): there is more than two names of its own.
fn starts_others() -> bool {
    files::names(Path::new("/proc/sys/fs/binfmt_misc")).is_ok_and(|names| names.len() > 2)
}
