//! Warns of parts of a command that only a shell would understand, since no shell reads it, and of characters that look
//! like others. A quoted word counts as meant.

use std::collections::HashMap;

use super::first_word;
use super::line::{Line, Whose};
use super::look_alike::LookAlike;
use super::words::{Marked, Word};
use crate::config::command::Quoting;
use crate::text::{harmless, listed, shown};

/// The most words named in one message.
const MOST_NAMED: usize = 3;
/// The most words compared with each other, so that none is named twice.
const MOST_COMPARED: usize = 20;
/// The longest argument that Linux hands to a program, in bytes (execve(2), `MAX_ARG_STRLEN` without the NUL).
const LONGEST: usize = 131_071;
/// The most commands whose findings are kept for equal commands.
const MOST_KEPT: usize = 1000;

/// Looks at one command after another. Many jobs may have equal commands.
#[derive(Debug, Default)]
pub struct Commands<'a> {
    words: Marked,
    /// Places in the list below.
    known: HashMap<&'a str, usize>,
    found: Vec<Vec<String>>,
}

impl<'a> Commands<'a> {
    /// What is surely not meant in a job's `command`, one line each.
    pub fn of_job(&mut self, command: &'a str) -> &[String] {
        let place = match self.known.get(command) {
            Some(place) => *place,
            None => {
                let found = self.look(command, Whose::Job);
                // The last entry is for a command that is not kept.
                self.found.truncate(MOST_KEPT);
                self.found.push(found);
                let place = self.found.len() - 1;
                if place < MOST_KEPT {
                    self.known.insert(command, place);
                }
                place
            }
        };
        &self.found[place]
    }

    /// The same of any command.
    pub fn look(&mut self, command: &str, whose: Whose) -> Vec<String> {
        let line = Line::new(command, self.words.read(command), whose);
        let mut told = Vec::new();
        let mut from = 0;
        if let Some((message, told_of)) = first_word::look(&line) {
            told.push(message);
            from = told_of;
        }
        told.extend(for_a_shell(&line, from));
        told.extend(look_alike(&line));
        told.extend(too_long(&line));
        told
    }
}

/// Whether `command` holds nothing that any rule here looks for. This is decided without splitting the command, because
/// it is true of nearly all of a million.
pub fn is_plain(command: &str) -> bool {
    let special = |b: &u8| {
        matches!(
            b,
            b'|' | b'&' | b';' | b'#' | b'<' | b'>' | b'$' | b'`' | b'~' | b'*'
        ) || !b.is_ascii()
    };
    command.len() <= LONGEST
        && !command.as_bytes().iter().any(special)
        && first_word::is_plain(command)
}

/// Parts that only a shell would understand, all in one line. The words before number `from` have been dealt with.
fn for_a_shell(line: &Line<'_>, from: usize) -> Option<String> {
    let wrong = wrong_words(line, from);
    let first = *wrong.first()?;
    let is_bash = |word: &Word<'_>| {
        ["&>", "<(", ">(", "<<<"]
            .iter()
            .any(|start| word.text.starts_with(start))
    };
    let instead = line.in_a_shell(if wrong.iter().any(is_bash) {
        "bash"
    } else {
        "sh"
    });
    if std::ptr::eq(first.text, line.words[from].text) {
        let program = shown(first.text);
        return Some(format!(
            "no shell reads this command, so the program is looked for as {program}; {instead}"
        ));
    }
    let names: Vec<String> = wrong.iter().map(|word| shown(word.text)).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let stand = match names.len() {
        1 => "an argument, just as it stands",
        _ => "arguments, just as they stand",
    };
    Some(format!(
        "no shell reads this command, so {} gets {} as {stand}; {instead}, or put quotes around what is meant to be an \
         argument",
        harmless(line.words[from].program()),
        listed(&names, MOST_NAMED)
    ))
}

/// The words that only a shell would understand, each once.
fn wrong_words<'a>(line: &Line<'a>, from: usize) -> Vec<Word<'a>> {
    let mut wrong: Vec<Word<'a>> = Vec::new();
    // `find` has patterns of its own, and a semicolon ends its `-exec`.
    let (mut finds, mut executes) = (false, false);
    for (place, &word) in line.words.iter().enumerate().skip(from) {
        executes |= finds && matches!(word.text, "-exec" | "-execdir" | "-ok" | "-okdir");
        let ends_exec = word.text == ";" && std::mem::take(&mut executes);
        let is_last = place + 1 == line.words.len();
        let put_in =
            !line.readers.is_remote(place) && (word.begins("~/") || is_replaced(word, finds));
        finds |= word.program() == "find";
        if (put_in || is_redirection(word) || (is_operator(word, is_last) && !ends_exec))
            && !line.readers.shell_reads(place)
            && !wrong
                .iter()
                .take(MOST_COMPARED)
                .any(|known| known.text == word.text)
        {
            wrong.push(word);
        }
    }
    wrong
}

/// An argument that is too long for the system.
fn too_long(line: &Line<'_>) -> Option<String> {
    let word = line.words.iter().find(|word| word.text.len() > LONGEST)?;
    let length = word.text.len();
    Some(format!(
        "an argument of {length} bytes is too long to be started with, since at most {LONGEST} can be handed over; put it \
         into a file"
    ))
}

/// The first character outside of quotes that looks like another.
fn look_alike(line: &Line<'_>) -> Option<String> {
    for (place, word) in line.words.iter().enumerate() {
        if word.text.is_ascii() || line.readers.shell_reads(place) {
            continue;
        }
        for (at, c) in word.text.char_indices() {
            if let Some(alike) = LookAlike::of(c).filter(|_| word.quoting[at] == Quoting::Bare) {
                return Some(format!("{alike}, or put quotes around it"));
            }
        }
    }
    None
}

/// A word that ends a command or begins a comment. A semicolon at the end of a word does so, too, if a word follows.
fn is_operator(word: Word<'_>, is_last: bool) -> bool {
    match word.text {
        "|" | "||" | "&&" | "&" | ";" | "#" => word.is_bare(),
        text => text.ends_with(';') && !is_last && word.is_bare(),
    }
}

/// `>` or `<`, perhaps with a number before it, and `&>`.
fn is_redirection(word: Word<'_>) -> bool {
    let digits = word.text.bytes().take_while(u8::is_ascii_digit).count();
    let sign = word.text.as_bytes().get(digits);
    (matches!(sign, Some(b'>' | b'<')) && word.bare(digits + 1)) || word.begins("&>")
}

/// A part that a shell would replace: `$NAME`, `${`, `$(`, a backquote or, unless `find` reads it, a pattern of file
/// names. A pattern without a slash may be meant for the program.
fn is_replaced(word: Word<'_>, finds: bool) -> bool {
    let text = word.text.as_bytes();
    // A pattern for another host is expanded there.
    let slash = text
        .iter()
        .position(|b| *b == b'/')
        .filter(|at| !text[..*at].contains(&b':'));
    let is_path = !finds && slash.is_some() && text[0] != b'-';
    text.iter()
        .zip(word.quoting)
        .enumerate()
        .any(|(at, (byte, quoting))| match byte {
            b'*' => is_path && *quoting == Quoting::Bare,
            b'`' => *quoting != Quoting::Full,
            b'$' => {
                let next = text
                    .get(at + 1)
                    .is_some_and(|b| b.is_ascii_alphabetic() || b"_{(".contains(b));
                next && *quoting != Quoting::Full && word.quoting[at + 1] == *quoting
            }
            _ => false,
        })
}
