//! The grammar of configuration files: INI as Python 2.7's ConfigParser reads it. Finds our sections and cuts
//! them into entries with their line numbers; what the keys mean is not its business. Pure, and it passes over
//! all other sections unread.
//!
//! The work is shared with the `ini` crate: the walk over lines is here, because ConfigParser's rules for
//! comments and continuation lines depend on column and white space; a key is told from its value, and lines
//! of one value are joined, by the crate.

use ini::configparser::ini::Ini;

/// Put before every continuation line on its way through `ini`, which would take `  [x]` for a section.
/// No value may hold it, since it is a control character.
const GUARD: char = '\u{1}';

/// Which of our sections a header names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section<'a> {
    /// `[meta]`
    Meta,
    /// `[buildsequencer]`
    Sequencer,
    /// `[buildsequencer_job.template]`
    Template,
    /// `[buildsequencer_job.NAME.optional]`
    Optional(&'a str),
    /// `[buildsequencer_job.NAME]`
    Job(&'a str),
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line, counted from 1.
    pub line: usize,
    /// In lower case.
    pub key: String,
    /// Without white space around it; lines are joined by LF.
    pub value: String,
    /// Whether a comment, from the first ` ;` on, was cut from it.
    pub cut: bool,
}

/// A place in the file that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub message: String,
}

/// A key that has been begun: what goes to `ini` for it.
#[derive(Debug)]
struct Pending {
    line: usize,
    text: String,
    cut: bool,
}

/// Faults that belong to no section of ours: a line before any section, `[DEFAULT]`, a header that is nearly
/// ours but misnames a job.
pub fn faults_between(text: &[u8]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut in_section = false;
    for (number, line) in lines(text) {
        if let Some(header) = header(line) {
            in_section = true;
            if let Err(message) = section(header) {
                faults.push(Fault {
                    line: number,
                    message,
                });
            }
        } else if !in_section && !is_comment_or_blank(line) {
            let message = "this line comes before any [section]".to_string();
            faults.push(Fault {
                line: number,
                message,
            });
            // One such line is enough to say that this is no configuration file.
            in_section = true;
        }
    }
    faults
}

/// Hands out each section that is `wanted`, with its header's line and its entries, in the order of the file.
/// Faults of its lines go to `faults`; the sound entries are handed out all the same.
pub fn sections<'a>(
    text: &'a [u8],
    wanted: impl Fn(Section<'a>) -> bool,
    faults: &mut Vec<Fault>,
    mut each: impl FnMut(Section<'a>, usize, Vec<Entry>),
) {
    let mut current: Option<(Section<'a>, usize)> = None;
    let mut body: Vec<Pending> = Vec::new();
    let mut finish = |current: Option<(Section<'a>, usize)>,
                      body: &mut Vec<Pending>,
                      faults: &mut Vec<Fault>| {
        if let Some((section, line)) = current {
            each(section, line, entries(body, faults));
        }
        body.clear();
    };
    for (number, line) in lines(text) {
        if let Some(header) = header(line) {
            finish(current.take(), &mut body, faults);
            current = section(header)
                .ok()
                .flatten()
                .filter(|s| wanted(*s))
                .map(|s| (s, number));
        } else if current.is_some() && !is_comment_or_blank(line) {
            if let Err(message) = take_line(line, number, &mut body) {
                faults.push(Fault {
                    line: number,
                    message,
                });
            }
        }
    }
    finish(current, &mut body, faults);
}

/// One line of a section of ours that is neither blank nor a comment.
fn take_line(line: &[u8], number: usize, body: &mut Vec<Pending>) -> Result<(), String> {
    if line.first().is_some_and(is_space) {
        let text = printable(trim(line))?;
        let pending = body
            .last_mut()
            .ok_or("an indented line continues a key, and there is none above it")?;
        pending.text.extend(['\n', ' ', GUARD]);
        pending.text.push_str(text);
        return Ok(());
    }
    let (line, cut) = without_comment(line);
    let mut text = String::from(printable(trim(line))?);
    // Keeps white space that is not ASCII, which Python's strip does not know, at the value's end.
    text.push(GUARD);
    body.push(Pending {
        line: number,
        text,
        cut,
    });
    Ok(())
}

/// Has `ini` tell keys from values: each key becomes a section of its own, named by its line, so that order,
/// repeated keys and line numbers survive.
fn entries(body: &[Pending], faults: &mut Vec<Fault>) -> Vec<Entry> {
    let Some(first) = body.first() else {
        return Vec::new();
    };
    let mut text = String::with_capacity(body.iter().map(|p| p.text.len() + 16).sum());
    for pending in body {
        text.push_str(&format!("[{}]\n", pending.line));
        let begins_like_a_header = pending.text.starts_with('[');
        if begins_like_a_header || pending.text.starts_with([':', '=']) {
            continue;
        }
        text.push_str(&pending.text);
        text.push('\n');
    }
    let mut ini = parser();
    let mut parsed = match ini.read(text) {
        Ok(parsed) => parsed,
        Err(message) => {
            faults.push(Fault {
                line: first.line,
                message,
            });
            return Vec::new();
        }
    };
    let mut entries = Vec::with_capacity(body.len());
    for pending in body {
        let found = parsed
            .remove(&pending.line.to_string())
            .and_then(|keys| keys.into_iter().next());
        match found {
            Some((key, Some(value))) => entries.push(Entry {
                line: pending.line,
                key: key.to_lowercase(),
                value: clean(&value),
                cut: pending.cut,
            }),
            _ => faults.push(Fault {
                line: pending.line,
                message: not_a_key(&pending.text),
            }),
        }
    }
    entries
}

fn parser() -> Ini {
    let mut ini = Ini::new_cs();
    ini.set_multiline(true);
    ini.set_comment_symbols(&[]);
    ini.set_inline_comment_symbols(Some(&[]));
    ini.set_default_section("\u{1}");
    ini
}

/// What ConfigParser does last: two quotes alone are an empty value.
fn clean(value: &str) -> String {
    let value = value.replace(GUARD, "");
    let value = value.trim_matches(|c: char| c.is_ascii_whitespace() || c == '\u{b}');
    if value == "\"\"" {
        String::new()
    } else {
        value.to_string()
    }
}

fn not_a_key(line: &str) -> String {
    let line = line.lines().next().unwrap_or_default().replace(GUARD, "");
    let shown: String = line.chars().take(60).collect();
    if line.starts_with('[') {
        format!("'{shown}' looks like a section but is not: [name] has to be closed and not empty")
    } else {
        format!(
            "'{shown}' is neither 'key: value' nor 'key = value'; a line that continues a value is indented"
        )
    }
}

/// Lines with their numbers. Only LF ends a line; a byte order mark is not part of the first.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    (1..).zip(text.split(|&byte| byte == b'\n'))
}

/// White space as Python's `str.isspace` has it for bytes.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn trim(mut line: &[u8]) -> &[u8] {
    while let [first, rest @ ..] = line
        && is_space(first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && is_space(last)
    {
        line = rest;
    }
    line
}

/// A line that ConfigParser passes over: blank, or with `#`, `;` or the word `rem` in the first column.
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

/// Whether a header is ours; `Ok(None)` if it is none of our business.
fn section(header: &[u8]) -> Result<Option<Section<'_>>, String> {
    match header {
        b"meta" => return Ok(Some(Section::Meta)),
        b"buildsequencer" => return Ok(Some(Section::Sequencer)),
        b"DEFAULT" => {
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
    if rest == b"template" {
        return Ok(Some(Section::Template));
    }
    let (name, optional) = match rest.strip_suffix(b".optional") {
        Some(name) => (name, true),
        None => (rest, false),
    };
    let shown = String::from_utf8_lossy(name).escape_debug().to_string();
    let valid = !name.is_empty()
        && name
            .iter()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    let name = std::str::from_utf8(name)
        .ok()
        .filter(|_| valid)
        .ok_or_else(|| {
            format!("bad job name '{shown}': a name is made of letters, digits, '_' and '-'")
        })?;
    if name == "optional" || name == "template" {
        return Err(format!(
            "bad job name '{shown}': the word has another meaning here"
        ));
    }
    Ok(Some(if optional {
        Section::Optional(name)
    } else {
        Section::Job(name)
    }))
}

/// A key's own line up to its comment: the first `;` after the delimiter begins one if white space precedes it.
fn without_comment(line: &[u8]) -> (&[u8], bool) {
    let Some(delimiter) = line.iter().position(|b| matches!(b, b':' | b'=')) else {
        return (line, false);
    };
    let semicolon = line[delimiter..]
        .iter()
        .position(|&b| b == b';')
        .map(|at| at + delimiter);
    match semicolon {
        Some(at) if is_space(&line[at - 1]) => (&line[..at], true),
        _ => (line, false),
    }
}

/// `line` as text, if it is UTF-8 and holds no control character but the tab.
fn printable(line: &[u8]) -> Result<&str, String> {
    let text = std::str::from_utf8(line).map_err(|error| {
        let byte = line.get(error.valid_up_to()).copied().unwrap_or_default();
        format!(
            "not UTF-8: byte 0x{byte:02x} in column {} of the value's line",
            error.valid_up_to() + 1
        )
    })?;
    match text.chars().find(|c| c.is_control() && *c != '\t') {
        None => Ok(text),
        Some(c) => Err(format!(
            "control character U+{:04X} in a value",
            u32::from(c)
        )),
    }
}
