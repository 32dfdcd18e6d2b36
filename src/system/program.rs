//! Whether an executable file can be started: what execve(2) makes of its first bytes. Looks and tells; starts nothing.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::system::{access, files};
use crate::text::shown;

/// As much as the kernel looks at (`BINPRM_BUF_SIZE`).
const LOOKED_AT: usize = 256;
/// How many scripts may be each other's interpreters (execve(2)).
const MOST_SCRIPTS: usize = 5;
/// The byte order mark that some editors put before a text.
const MARK: &[u8] = b"\xef\xbb\xbf";

/// Why the file at `path`, which is executable, cannot be started all the same, as far as can be told.
pub fn flaw(path: &Path) -> Option<String> {
    flaw_at(path, 0)
}

/// The same of an interpreter, that of `depth` scripts.
fn flaw_at(path: &Path, depth: usize) -> Option<String> {
    let start = start_of(path)?;
    match &start[..] {
        [] => Some("it is empty".to_string()),
        [b'#', b'!', ..] if depth == MOST_SCRIPTS => Some(format!(
            "more than {MOST_SCRIPTS} scripts would run each other"
        )),
        [b'#', b'!', line @ ..] => of_script(line, depth),
        [0x7f, b'E', b'L', b'F', ..] => of_machine(&start),
        _ if start.starts_with(MARK) => {
            Some("a byte order mark stands before its first line; save it without one".to_string())
        }
        _ if start.iter().all(is_of_text) => {
            Some("its first line does not say what runs it; write one like #!/bin/sh".to_string())
        }
        _ if starts_others() => None,
        _ => Some("it is neither a script nor a program for this machine".to_string()),
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
fn of_script(start: &[u8], depth: usize) -> Option<String> {
    let line = start.split(|&b| b == b'\n').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let is_blank = |c: char| c == ' ' || c == '\t';
    let mut words = line.split(is_blank).filter(|word| !word.is_empty());
    let Some(interpreter) = words.next() else {
        return Some("its first line names no interpreter behind '#!'".to_string());
    };
    let path = Path::new(interpreter);
    if access::executable_file(path).is_err() {
        return Some(cannot_run(interpreter, path.exists()));
    }
    if let Some(why) = flaw_at(path, depth + 1) {
        let interpreter = shown(interpreter);
        return Some(format!(
            "{interpreter} is to run it, and cannot be started: {why}"
        ));
    }
    if interpreter.ends_with("/env") {
        // It looks for a program in PATH; behind -S more arguments are split off (env(1)).
        let program = match words.next() {
            Some("-S") => words.next(),
            first => first,
        };
        let program = program.filter(|word| !word.starts_with('-') && !word.contains('='));
        if let Some(program) = program.filter(|it| access::executable(it).is_err()) {
            return Some(cannot_run(program, false));
        }
    }
    let argument = line.split(is_blank).next_back();
    argument.filter(|it| it.ends_with('\r')).map(|argument| {
        format!(
            "its lines end as Windows writes them, so {} is given {}; take the \\r out of it",
            shown(interpreter),
            shown(argument)
        )
    })
}

/// What is told of a script that names a program which cannot run it: it is not executable, or nothing `is_there`.
fn cannot_run(program: &str, is_there: bool) -> String {
    let name = shown(program);
    match program.strip_suffix('\r') {
        Some(_) => format!(
            "its lines end as Windows writes them, so {name} is looked for to run it; take the \\r out of it"
        ),
        None if is_there => {
            format!("its first line wants {name} to run it, which cannot be executed")
        }
        None => format!("its first line wants {name} to run it, which is not there"),
    }
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
