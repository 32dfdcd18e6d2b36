//! Warns of a command that begins with something other than a program: a word of the shell, a variable, the times of a
//! crontab, a prefix of systemd.

use super::line::Line;
use super::words::Word;
use crate::text::{harmless, shown};

/// What is wrong, and the number of the first word that this does not cover.
type Wrong = Option<(String, usize)>;

/// Whether `command` begins with a program, as far as can be seen without splitting it.
pub fn is_plain(command: &str) -> bool {
    let end = command.bytes().position(|b| b.is_ascii_whitespace());
    let first = &command[..end.unwrap_or(command.len())];
    let begins = |b: &u8| b.is_ascii_alphabetic() || matches!(b, b'/' | b'.');
    first.as_bytes().first().is_some_and(begins)
        && !first.bytes().any(|b| matches!(b, b'=' | b'\\'))
        && shell_that_knows(first).is_none()
}

/// Looks at the beginning of a command.
pub fn look(line: &Line<'_>) -> Wrong {
    let first = *line.words.first()?;
    crontab(&line.words)
        .or_else(|| prefix(first))
        .or_else(|| assignment(line))
        .or_else(|| shell_word(line, first))
}

/// `*/5 * * * *` or `@daily` (crontab(5)).
fn crontab(words: &[Word<'_>]) -> Wrong {
    let first = words.first().filter(|word| word.is_bare())?;
    let count = match first.text {
        "@hourly" | "@daily" | "@midnight" | "@weekly" | "@monthly" | "@yearly" | "@annually"
        | "@reboot" => 1,
        _ if words.len() > 5 && (0..5).all(|place| is_time(words[place], place)) => 5,
        _ => return None,
    };
    let message = format!(
        "the times of a crontab mean nothing here: {} is looked for as a program; leave them out and set mindelay, the \
         time from the end of a run to the next",
        shown(first.text)
    );
    Some((message, count))
}

/// A field of crontab(5): numbers, ranges, steps and lists; in the last two of the five also names of three letters.
fn is_time(word: Word<'_>, place: usize) -> bool {
    let mut run = 0;
    let mut letters = 0;
    let fits = word.text.bytes().all(|b| {
        run = if b.is_ascii_alphanumeric() {
            run + 1
        } else {
            0
        };
        letters += usize::from(b.is_ascii_alphabetic());
        b"*/,-".contains(&b)
            || (b.is_ascii_digit() && run < 3)
            || (place > 2 && b.is_ascii_alphabetic() && run < 4)
    });
    let begins = |b: &u8| *b == b'*' || b.is_ascii_alphanumeric();
    word.text.as_bytes().first().is_some_and(begins) && fits && letters % 3 == 0 && word.is_bare()
}

/// `-/path` or `@/path` (systemd.service(5), `ExecStart=`).
fn prefix(first: Word<'_>) -> Wrong {
    let end = first.text.bytes().position(|b| !b"-@:+!".contains(&b))?;
    let (prefix, path) = first.text.split_at(end);
    if end == 0 || !path.starts_with('/') || !first.bare(end) {
        return None;
    }
    let message = format!(
        "{prefix} before a path is for systemd; here {} is looked for as a program; write {}",
        shown(first.text),
        harmless(path)
    );
    Some((message, 1))
}

/// `NAME=value`, which a shell would put into the environment.
fn assignment(line: &Line<'_>) -> Wrong {
    let count = line
        .words
        .iter()
        .take_while(|word| is_assignment(**word))
        .count();
    let first = line.words.first().filter(|_| count > 0)?;
    let message = format!(
        "no shell reads this command, so {} is looked for as a program; write: env {}",
        shown(first.text),
        line.whole().as_deref().unwrap_or("NAME=value ...")
    );
    Some((message, count))
}

fn is_assignment(word: Word<'_>) -> bool {
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let text = word.text.as_bytes();
    let end = text.iter().take_while(|b| is_name(b)).count();
    end > 0 && !text[0].is_ascii_digit() && text.get(end) == Some(&b'=') && word.bare(end + 1)
}

/// `cd`, `if`, `(`: what only a shell knows.
fn shell_word(line: &Line<'_>, first: Word<'_>) -> Wrong {
    let known = shell_that_knows(first.text).filter(|_| first.is_bare());
    let shell = known.or(if first.begins("(") { Some("sh") } else { None })?;
    let (instead, from) = match first.text {
        "exec" => ("leave it out".into(), 1),
        // The proposal covers the rest of the command, too.
        _ => (line.in_a_shell(shell), line.words.len()),
    };
    let message = format!(
        "only a shell knows {}, and none reads this command; {instead}",
        shown(first.text)
    );
    Some((message, from))
}

/// The shell that knows this word, unless there is a program of that name that does the same.
pub fn shell_that_knows(word: &str) -> Option<&'static str> {
    match word {
        "!" | "." | ":" | "alias" | "break" | "case" | "cd" | "continue" | "eval" | "exec"
        | "exit" | "export" | "for" | "if" | "readonly" | "return" | "set" | "shift" | "trap"
        | "ulimit" | "umask" | "unalias" | "unset" | "until" | "wait" | "while" | "{" => Some("sh"),
        "((" | "[[" | "builtin" | "coproc" | "declare" | "function" | "let" | "local" | "popd"
        | "pushd" | "shopt" | "source" | "typeset" => Some("bash"),
        _ => None,
    }
}
