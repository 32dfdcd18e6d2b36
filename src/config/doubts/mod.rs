//! Lines that are legal but surely do something other than their writer meant. Each finding says what will happen and
//! what to write instead, and stops nothing. Pure, and it opens no file.

mod command;
mod first_word;
mod line;
mod look_alike;
mod sections;
mod words;

use super::command::{Error, split};
use super::dialect::Entry;
use crate::text::{harmless, shown};

pub use command::{Commands, is_plain};
pub use first_word::shell_that_knows;
pub use line::Whose;
use look_alike::LookAlike;
use sections::meant;
pub use sections::{nearly_ours, no_header};

/// The most lines of one value that are looked at closely.
const MOST_CONTINUED: usize = 20;
/// With how many entries before it each one is compared: more than there are keys.
const MOST_COMPARED: usize = 64;

/// What is doubtful in the value of a key that is no command.
pub fn of_value(key: &str, is_path: bool, value: &str) -> Option<String> {
    if is_path {
        if let Some(found) = comment_behind_path(value).or_else(|| quoted_path(value)) {
            return Some(found);
        }
    }
    if key == "logfile" {
        if let Some(found) = stream_as_file(value) {
            return Some(found);
        }
    }
    if key == "mailproblemsto" && value.contains('<') {
        if let Some(found) = name_as_address(value) {
            return Some(found);
        }
    }
    // Nearly every value ends here.
    if value.is_ascii() {
        return None;
    }
    value
        .chars()
        .find_map(LookAlike::of)
        .map(LookAlike::where_nothing_quotes)
}

/// `"/var/lib/state"`
fn quoted_path(value: &str) -> Option<String> {
    let mark = value
        .chars()
        .next()
        .filter(|mark| matches!(mark, '"' | '\''))?;
    let inner = value[1..].strip_suffix(mark)?;
    Some(format!(
        "quotes are part of a path, so the file is {}, with them; write {} alone",
        shown(value),
        shown(inner)
    ))
}

/// `/x.log # main`, `/x/state; kept`
fn comment_behind_path(value: &str) -> Option<String> {
    let bytes = value.as_bytes();
    let parts = |at: usize| bytes.get(at).is_none_or(u8::is_ascii_whitespace);
    let begins_comment = |&at: &usize| match bytes[at] {
        b'#' => parts(at - 1),
        b';' => parts(at - 1) || parts(at + 1),
        _ => false,
    };
    let at = (1..bytes.len()).find(begins_comment)?;
    Some(format!(
        "'{}' begins no comment here, so the file is {}, all of it; write {} alone, or a blank and ';' before a comment",
        char::from(bytes[at]),
        shown(value),
        shown(value[..at].trim_end())
    ))
}

/// `Ops Team <ops@example.com>`
fn name_as_address(value: &str) -> Option<String> {
    let mut words = value.split_ascii_whitespace();
    let is_name = |word: &&str| !word.contains(['@', ',', '<']) && *word != "-";
    let name = words.by_ref().find(is_name)?;
    words.any(|word| word.starts_with('<')).then(|| {
        format!(
            "{} is an address of its own, which is mailed as well; write the bare addresses alone",
            shown(name)
        )
    })
}

/// A name that other programs give a meaning to.
fn stream_as_file(value: &str) -> Option<String> {
    let further = match &*value.to_ascii_lowercase() {
        "stdout" => "",
        "stderr" => "; there is no log on standard error",
        "syslog" => "; systemd takes it to its journal",
        _ => return None,
    };
    let name = shown(value);
    Some(format!(
        "this is a file called {name} in the run directory; write '-' for standard output{further}"
    ))
}

/// Lines that continue a value but read like entries of their own, each with its number. `keys` are the section's.
pub fn of_continuation(entry: &Entry, keys: &[&str]) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let value = entry.value.as_deref().unwrap_or_default();
    let is_command = matches!(&*entry.key, "command" | "sendmail");
    // The first line stands beside the key, unless it is empty there.
    let beside = value
        .split('\n')
        .count()
        .saturating_sub(entry.continued.len());
    // Where each line starts, and the last line that is not inside quotes.
    let (mut start, mut unquoted) = (0, 0);
    let mut looked_at = 0;
    for (place, line) in value.split('\n').enumerate() {
        let number = place
            .checked_sub(beside)
            .and_then(|at| entry.continued.get(at));
        let what = line_of_its_own(line, is_command, keys);
        if let (Some(number), Some(what), true) = (number, what, looked_at < MOST_CONTINUED) {
            looked_at += 1;
            let quoted =
                is_command && matches!(split(&value[unquoted..start]), Err(Error::Unclosed(_)));
            if !quoted {
                unquoted = start;
                let message = format!(
                    "this line is indented and so continues '{}'; {what}",
                    entry.key
                );
                found.push((*number, message));
            }
        }
        start += line.len() + 1;
    }
    found
}

/// What a line would be if it were not indented, and what to do.
fn line_of_its_own(line: &str, is_command: bool, keys: &[&str]) -> Option<String> {
    let end = line
        .bytes()
        .position(|b| b":=]".contains(&b))
        .unwrap_or(line.len());
    let what = match line.as_bytes().first() {
        Some(b'#') if is_command => "a comment",
        Some(b'[') => meant(&line.as_bytes()[1..end]).map(|_| "a section")?,
        _ => {
            let written = line[..end].trim_end();
            let is_it = |key: &&&str| key.eq_ignore_ascii_case(written);
            let key = keys.iter().find(is_it).filter(|_| end < line.len())?;
            return Some(format!(
                "to set {key} begin it in the first column, or put quotes around what is meant to be part of it"
            ));
        }
    };
    Some(format!("{what} begins in the first column"))
}

/// What is told of an entry whose key line `before` has set.
pub fn set_again(key: &str, before: usize) -> String {
    let key = harmless(key);
    format!(
        "{key} has been set in line {before} already; only this line counts, so take one of them out"
    )
}

/// Entries whose key an earlier entry has set, with the line of that entry.
pub fn repeated(entries: &[Entry]) -> Vec<(&Entry, usize)> {
    let mut found = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        let before = &entries[place.saturating_sub(MOST_COMPARED)..place];
        if let Some(before) = before.iter().rev().find(|before| before.key == entry.key) {
            found.push((entry, before.line));
        }
    }
    found
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]
mod tests;
