//! The grammar of configuration files: INI as Python 2.7's ConfigParser reads it. Finds our sections and cuts them into
//! entries with line numbers. It does not know what keys mean, and skips all other sections unread. Pure.
//!
//! The `ini` crate does a part of the work: it separates keys from values and joins the lines of a value. The walk over
//! the lines is here, because ConfigParser's rules for comments and continuation lines depend on columns and white
//! space.

use std::fmt::Write as _;

use ini::configparser::ini::Ini;

use crate::text::shown;

/// Put around every piece of text on its way through `ini`, which would otherwise strip white space that Python keeps,
/// and take `[x]` for a section. As a control character it cannot occur in the text itself.
const GUARD: char = '\u{1}';

/// The name under which `ini` keeps lines without a section. It gets one section at a time, without the header.
const NO_SECTION: &str = "\u{1}";

/// The section that holds ConfigParser's defaults for all others.
const DEFAULT: &[u8] = b"DEFAULT";

/// Which of our sections a header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section<'a> {
    /// `[meta]`
    Meta,
    /// `[buildsequencer]`
    Sequencer,
    /// `[buildsequencer_job.template]`, which lazr.config also knows as `[buildsequencer_job.master]`
    Template,
    /// `[buildsequencer_job.NAME.optional]`
    Optional(&'a str),
    /// `[buildsequencer_job.NAME]`
    Job(&'a str),
    /// The same with a name that no job can have, which is a fault of its header
    Misnamed,
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line, counted from 1.
    pub line: usize,
    /// In lower case.
    pub key: String,
    /// Without white space around it; its lines are joined by LF. `None` if it has a fault, which has been reported.
    pub value: Option<String>,
    /// Whether a comment, which begins at ` ;`, was cut from it.
    pub cut: bool,
    /// The numbers of the lines that continue it.
    pub continued: Vec<usize>,
}

/// A place in the file that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// A fault outside of our sections.
#[derive(Debug, Default)]
pub struct Between {
    /// A line before any section, `[DEFAULT]`, a header that misnames a job.
    pub faults: Vec<Fault>,
    /// Whether a header misnames a job.
    pub misnamed: bool,
}

/// A line outside of our sections that begins with a bracket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stray<'a> {
    /// The name of a section that is none of ours.
    Section(&'a [u8]),
    /// The text after a bracket that begins no section, because something stands before it or it is not closed.
    Bracket(&'a [u8]),
}

/// Looks at the lines outside of our sections, and hands out those that may have been meant as one of them.
pub fn between<'a>(text: &'a [u8], mut stray: impl FnMut(usize, Stray<'a>)) -> Between {
    let mut between = Between::default();
    let (mut in_section, mut ours) = (false, false);
    for (line, text) in lines(text) {
        let message = if let Some(header) = header(text) {
            in_section = true;
            let section = section(header);
            ours = section != Ok(None);
            match section {
                Ok(Some(_)) => continue,
                Ok(None) => {
                    stray(line, Stray::Section(header));
                    continue;
                }
                Err(message) => {
                    between.misnamed |= header != DEFAULT;
                    message
                }
            }
        } else if in_section {
            // Lines of our sections are read elsewhere, which reports their faults.
            if let (Some(rest), false) = (unveiled(text).strip_prefix(b"["), ours) {
                stray(line, Stray::Bracket(rest));
            }
            continue;
        } else if is_comment_or_blank(text) {
            continue;
        } else {
            // One such line shows that this is no configuration file.
            in_section = true;
            before_any_section(text)
        };
        between.faults.push(Fault { line, message });
    }
    between
}

/// A line without blanks around it, and without what cannot be seen before it: byte order marks and no-break spaces.
fn unveiled(line: &[u8]) -> &[u8] {
    let mut rest = trim(line);
    while let Some(further) = ["\u{feff}", "\u{a0}"]
        .iter()
        .find_map(|hidden| rest.strip_prefix(hidden.as_bytes()))
    {
        rest = trim(further);
    }
    rest
}

/// The message about a line before any section.
fn before_any_section(line: &[u8]) -> String {
    let instead = match trim(line) {
        [b'[', ..] if !line.starts_with(b"[") => "a section begins in the first column",
        [b'[', ..] => "the bracket is not closed: a section is written [name]",
        [b'0'..=b'9' | b'*' | b'@', ..] => {
            "contrib/crontab-to-ini makes a configuration of a crontab"
        }
        _ => {
            "what is below [buildsequencer] is for the daemon, what is below [buildsequencer_job.NAME] for a job"
        }
    };
    format!("this line comes before any [section]; {instead}")
}

/// Hands out each section that is `wanted`, with its header's line and its entries, in the order of the file.
/// Faults of its lines go to `faults`.
pub fn sections<'a>(
    text: &'a [u8],
    wanted: impl Fn(Section<'a>) -> bool,
    faults: &mut Vec<Fault>,
    mut each: impl FnMut(Section<'a>, usize, Vec<Entry>),
) {
    let mut ini = parser();
    let mut open: Option<(Section<'a>, usize, Body)> = None;
    for (number, line) in lines(text) {
        if let Some(header) = header(line) {
            if let Some((section, line, body)) = open.take() {
                each(section, line, body.entries(&mut ini, faults));
            }
            let named = section(header)
                .unwrap_or_else(|_| (header != DEFAULT).then_some(Section::Misnamed));
            open = named
                .filter(|section| wanted(*section))
                .map(|section| (section, number, Body::new()));
        } else if let Some((.., body)) = open.as_mut().filter(|_| !is_comment_or_blank(line)) {
            let fault = body.take(line, number).err();
            faults.extend(fault.map(|message| Fault {
                line: number,
                message,
            }));
        }
    }
    if let Some((section, line, body)) = open {
        each(section, line, body.entries(&mut ini, faults));
    }
}

/// The lines of one section, prepared for `ini`.
#[derive(Debug)]
struct Body {
    /// The text for `ini`. Each key is preceded by the number of its entry, so that order, repeated keys and line
    /// numbers survive.
    text: String,
    /// The entries, whose keys and values `ini` will fill in.
    entries: Vec<Entry>,
}

impl Body {
    /// Empty, with room for a section of common size.
    fn new() -> Body {
        Body {
            text: String::with_capacity(512),
            entries: Vec::with_capacity(4),
        }
    }

    /// Takes a line that is neither blank nor a comment.
    fn take(&mut self, line: &[u8], number: usize) -> Result<(), String> {
        if line.first().is_some_and(is_space) {
            self.continuation(trim(line), number)
        } else {
            self.key(line, number)
        }
    }

    fn continuation(&mut self, line: &[u8], number: usize) -> Result<(), String> {
        let entry = self
            .entries
            .last_mut()
            .ok_or("an indented line continues a value, and there is no key above it")?;
        match printable(line) {
            // The key this line continues was rejected, so the line is dropped.
            Ok(_) if entry.value.is_none() => {}
            Ok(line) => {
                self.text.extend([" \u{1}", line, "\u{1}\n"]);
                entry.continued.push(number);
            }
            Err(message) => {
                entry.value = None;
                return Err(message);
            }
        }
        Ok(())
    }

    fn key(&mut self, line: &[u8], number: usize) -> Result<(), String> {
        let delimiter = line.iter().position(|b| matches!(b, b':' | b'='));
        let (key, rest) = line.split_at(delimiter.unwrap_or(line.len()));
        let (rest, cut) = without_comment(rest);
        let place = self.entries.len();
        let written = self.write(place, trim(key), rest);
        let (key, value) = match written {
            Ok(()) => (String::new(), Some(String::new())),
            Err(_) => (first_word(key), None),
        };
        self.entries.push(Entry {
            line: number,
            key,
            value,
            cut,
            continued: Vec::new(),
        });
        written
    }

    /// Writes an entry's key, and its text from the delimiter on, for `ini`.
    fn write(&mut self, place: usize, key: &[u8], rest: &[u8]) -> Result<(), String> {
        let key = printable(key)?;
        if key.starts_with('[') {
            return Err(format!(
                "{} looks like a section but is not: [name] has to be closed and not empty",
                shown(key)
            ));
        }
        let (delimiter, value) = rest.split_at(rest.len().min(1));
        let (delimiter, value) = (printable(delimiter)?, printable(trim(value))?);
        if delimiter.is_empty() {
            return Err(format!(
                "{} is neither 'key: value' nor 'key = value'; a line that continues a value is indented",
                shown(key)
            ));
        }
        if key.is_empty() {
            return Err(format!("there is no key before the '{delimiter}'"));
        }
        let _ = write!(self.text, "{place}");
        self.text
            .extend(["\u{1}", key, "\u{1}", delimiter, "\u{1}", value, "\u{1}\n"]);
        Ok(())
    }

    /// Has `ini` separate keys from values and join the values' lines.
    fn entries(self, ini: &mut Ini, faults: &mut Vec<Fault>) -> Vec<Entry> {
        let Body { text, mut entries } = self;
        let mut sections = match ini.read(text) {
            Ok(sections) => sections,
            Err(message) => {
                // The guards make every text acceptable to it.
                let line = entries.first().map_or(1, |entry| entry.line);
                faults.push(Fault { line, message });
                return Vec::new();
            }
        };
        for (mut key, value) in sections.remove(NO_SECTION).unwrap_or_default() {
            let number = key.split(GUARD).next().unwrap_or_default();
            let (place, number) = (number.parse().ok(), number.len());
            if let Some(entry) = place.and_then(|place: usize| entries.get_mut(place)) {
                key.drain(..number);
                key.retain(|c| c != GUARD);
                key.make_ascii_lowercase();
                entry.key = key;
                // None if one of its further lines had a fault.
                entry.value = entry.value.take().and(value).map(clean);
            }
        }
        entries
    }
}

fn parser() -> Ini {
    let mut ini = Ini::new_cs();
    ini.set_multiline(true);
    ini.set_comment_symbols(&[]);
    ini.set_inline_comment_symbols(Some(&[]));
    ini.set_default_section(NO_SECTION);
    ini
}

/// A value as ConfigParser leaves it: two quotes alone on the key's line are an empty value. lazr.config strips the
/// white space around the whole.
fn clean(mut value: String) -> String {
    value.retain(|c| c != GUARD);
    if value == "\"\"" {
        return String::new();
    }
    if value.starts_with("\"\"\n") {
        value.drain(..2);
    }
    // Empty lines are all that is left to remove.
    if value.starts_with('\n') {
        value = trim_text(&value).to_string();
    }
    value
}

/// The text of an unreadable line that was most likely meant as its key.
fn first_word(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let word = line.split_whitespace().next().unwrap_or_default();
    word.to_ascii_lowercase()
}

/// Lines with their numbers. Only LF ends a line. A byte order mark is cut from the first line, and the indentation
/// that all lines share from each.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    let margin = margin(text);
    let lines = text.split(|&byte| byte == b'\n');
    (1..).zip(lines.map(move |line| line.strip_prefix(margin).unwrap_or(line)))
}

/// The blanks and tabs that begin every line which is not blank, as Python's `textwrap.dedent` finds them:
/// lazr.config takes them off before it reads a file.
fn margin(text: &[u8]) -> &[u8] {
    let mut margin: Option<&[u8]> = None;
    for line in text.split(|&byte| byte == b'\n') {
        if line.iter().all(is_space) {
            continue;
        }
        let indented = line
            .iter()
            .take_while(|b| matches!(b, b' ' | b'\t'))
            .count();
        let indent = &line[..indented];
        let common = margin.map_or(indent, |margin| {
            let same = margin
                .iter()
                .zip(indent)
                .take_while(|(a, b)| a == b)
                .count();
            &margin[..same]
        });
        // Nearly every file ends here, at its first line.
        if common.is_empty() {
            return common;
        }
        margin = Some(common);
    }
    margin.unwrap_or_default()
}

/// White space as Python's `str.isspace` has it for bytes.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn trim(line: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !is_space(byte);
    let start = line.iter().position(is_text).unwrap_or(line.len());
    let end = line
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    &line[start..end]
}

fn trim_text(text: &str) -> &str {
    text.trim_matches(|c: char| u8::try_from(c).is_ok_and(|byte| is_space(&byte)))
}

/// A line that ConfigParser skips: blank, or with `#`, `;` or the word `rem` in the first column.
fn is_comment_or_blank(line: &[u8]) -> bool {
    match line {
        [b'#' | b';', ..] => true,
        [b'r' | b'R', b'e' | b'E', b'm' | b'M'] => true,
        [b'r' | b'R', b'e' | b'E', b'm' | b'M', next, ..] if is_space(next) => true,
        line => line.iter().all(is_space),
    }
}

/// The name in a section header: `[` in the first column, at least one character, and the first `]` ends it.
fn header(line: &[u8]) -> Option<&[u8]> {
    let rest = line.strip_prefix(b"[")?;
    let end = rest
        .iter()
        .position(|&byte| byte == b']')
        .filter(|&end| end > 0)?;
    Some(&rest[..end])
}

/// Which of our sections a header begins; `Ok(None)` if it is another program's.
fn section(header: &[u8]) -> Result<Option<Section<'_>>, String> {
    match header {
        b"meta" => return Ok(Some(Section::Meta)),
        b"buildsequencer" => return Ok(Some(Section::Sequencer)),
        DEFAULT => {
            return Err(
                "[DEFAULT] is not supported; defaults for jobs go to [buildsequencer_job.template]"
                    .into(),
            );
        }
        _ => {}
    }
    let Some(rest) = header.strip_prefix(b"buildsequencer_job.") else {
        return Ok(None);
    };
    if matches!(rest, b"template" | b"master") {
        return Ok(Some(Section::Template));
    }
    let (name, optional) = match rest.strip_suffix(b".optional") {
        Some(name) => (name, true),
        None => (rest, false),
    };
    let bad = |why: &str| {
        format!(
            "bad job name {}: {why}",
            shown(&String::from_utf8_lossy(name))
        )
    };
    let valid = !name.is_empty()
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|_| valid)
        .ok_or_else(|| bad("a name is made of letters, digits, '_' and '-'"))?;
    if matches!(name, "optional" | "template" | "master") {
        return Err(bad("the word has another meaning here"));
    }
    Ok(Some(if optional {
        Section::Optional(name)
    } else {
        Section::Job(name)
    }))
}

/// The text after a key, from the delimiter up to a comment. The first `;` begins a comment if white space precedes
/// it.
fn without_comment(rest: &[u8]) -> (&[u8], bool) {
    match rest.iter().position(|&b| b == b';') {
        Some(at) if at > 0 && is_space(&rest[at - 1]) => (&rest[..at], true),
        _ => (rest, false),
    }
}

/// Whether `value` is read back unchanged after `key: `. On an indented line of its own any value is.
pub fn stands_beside_key(value: &str) -> bool {
    let first = value.split('\n').next().unwrap_or_default();
    let (_, cut) = without_comment(first.as_bytes());
    !cut && !first.starts_with(';') && first != "\"\""
}

/// `line` as text. The error says that it is not UTF-8 or holds a control character other than the tab.
fn printable(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line).map_err(|error| {
        let byte = line.get(error.valid_up_to()).copied().unwrap_or_default();
        format!("byte 0x{byte:02x} is not UTF-8")
    })?;
    if line.iter().all(|b| matches!(b, b' '..=b'~' | b'\t')) {
        return Ok(text);
    }
    match text.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(text),
        Some(c) => Err(format!(
            "control character U+{:04X} in a value",
            u32::from(c)
        )),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
