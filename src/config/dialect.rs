//! The grammar of configuration files: INI as Python 2.7's ConfigParser reads it. Finds our sections and cuts
//! them into entries with their line numbers; what the keys mean is not its business. Pure, and it passes over
//! all other sections unread.
//!
//! The work is shared with the `ini` crate: the walk over lines is here, because ConfigParser's rules for
//! comments and continuation lines depend on column and white space; a key is told from its value, and lines
//! of one value are joined, by the crate.

use std::fmt::Write as _;

use ini::configparser::ini::Ini;

use crate::text::shown;

/// Put around every piece of text on its way through `ini`, which would else strip white space that Python
/// leaves alone, and take `[x]` for a section. No text of ours holds it, since it is a control character.
const GUARD: char = '\u{1}';

/// Where `ini` keeps what stands in no section. It gets one section at a time, without its header.
const NO_SECTION: &str = "\u{1}";

/// The section that ConfigParser takes for defaults of all others.
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
}

/// One key with its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its line, counted from 1.
    pub line: usize,
    /// In lower case.
    pub key: String,
    /// Without white space around it; lines are joined by LF. `None` if it has a fault, which has been told.
    pub value: Option<String>,
    /// Whether a comment, from the first ` ;` on, was cut from it.
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

/// What is wrong outside of our sections.
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
    /// What follows a bracket that is never closed, or closed at once.
    Unclosed(&'a [u8]),
    /// What follows a bracket in a line that is indented, so that it begins no section.
    Indented(&'a [u8]),
}

/// Looks at what belongs to no section of ours, and hands out what may have been meant as one, with its line.
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
            match text {
                // In our sections these are read, and told where they are wrong.
                [b'[', rest @ ..] if !ours => stray(line, Stray::Unclosed(rest)),
                [b' ' | b'\t', ..] if !ours => {
                    let rest = trim(text).strip_prefix(b"[");
                    rest.into_iter()
                        .for_each(|rest| stray(line, Stray::Indented(rest)));
                }
                _ => {}
            }
            continue;
        } else if is_comment_or_blank(text) {
            continue;
        } else {
            // One such line is enough to say that this is no configuration file.
            in_section = true;
            "this line comes before any [section]".to_string()
        };
        between.faults.push(Fault { line, message });
    }
    between
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
            open = section(header)
                .ok()
                .flatten()
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

/// The lines of one section, made ready for `ini`.
#[derive(Debug)]
struct Body {
    /// What goes to `ini`. Each key has the number of its entry before it, so that order, repeated keys and line
    /// numbers survive.
    text: String,
    /// Key and value are still to come from there.
    entries: Vec<Entry>,
}

impl Body {
    /// With room for a section of common size.
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
            // What continues a faulty line has nothing to go to.
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

    /// Writes down for `ini` the key of an entry and what follows it, from the delimiter on.
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

    /// Has `ini` tell keys from values and join their lines.
    fn entries(self, ini: &mut Ini, faults: &mut Vec<Fault>) -> Vec<Entry> {
        let Body { text, mut entries } = self;
        let mut sections = match ini.read(text) {
            Ok(sections) => sections,
            Err(message) => {
                // The guards leave it nothing to complain about.
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
                // None where a further line of it had a fault.
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

/// A value as ConfigParser leaves it: two quotes alone on the key's line are nothing. The white space around the
/// whole is lazr.config's to strip.
fn clean(mut value: String) -> String {
    value.retain(|c| c != GUARD);
    if value == "\"\"" {
        return String::new();
    }
    if value.starts_with("\"\"\n") {
        value.drain(..2);
    }
    // Only lines that are empty are still to go.
    if value.starts_with('\n') {
        value = trim_text(&value).to_string();
    }
    value
}

/// What was most likely meant as the key of a line that cannot be read.
fn first_word(line: &[u8]) -> String {
    let line = String::from_utf8_lossy(line);
    let word = line.split_whitespace().next().unwrap_or_default();
    word.to_ascii_lowercase()
}

/// Lines with their numbers. Only LF ends a line; a byte order mark is not part of the first, and what all lines are
/// indented by not of any.
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

/// What follows a key, from the delimiter on, up to its comment: the first `;` begins one if white space
/// precedes it.
fn without_comment(rest: &[u8]) -> (&[u8], bool) {
    match rest.iter().position(|&b| b == b';') {
        Some(at) if at > 0 && is_space(&rest[at - 1]) => (&rest[..at], true),
        _ => (rest, false),
    }
}

/// Whether `value` would be read as it is after `key: `; on an indented line of its own any value is.
pub fn stands_beside_key(value: &str) -> bool {
    let first = value.lines().next().unwrap_or_default();
    let (_, cut) = without_comment(format!(" {first}").as_bytes());
    !cut && first != "\"\""
}

/// `line` as text, if it is UTF-8 and holds no control character but the tab.
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
mod tests {
    use super::*;
    use proptest::prelude::*;

    const JOB: Section<'_> = Section::Job("a");

    /// Entries and fault lines of all sections `[buildsequencer_job.a]` of a text.
    fn read(text: &[u8]) -> (Vec<Entry>, Vec<Fault>) {
        let mut faults = Vec::new();
        let mut all = Vec::new();
        let wanted = |section| section == JOB;
        sections(text, wanted, &mut faults, |_, _, entries| {
            all.extend(entries);
        });
        (all, faults)
    }

    /// Keys and values of the lines below the section's header.
    #[track_caller]
    fn values(lines: &str) -> Vec<(String, String)> {
        let (entries, faults) = read(format!("[buildsequencer_job.a]\n{lines}").as_bytes());
        assert_eq!(faults, [], "{lines}");
        let pairs = entries.into_iter().map(|e| (e.key, e.value.unwrap()));
        pairs.collect()
    }

    #[track_caller]
    fn value(line: &str) -> String {
        let values = values(line);
        assert_eq!(values.len(), 1, "{line}: {values:?}");
        values[0].1.clone()
    }

    #[track_caller]
    fn faults(text: &[u8], expected: &[(usize, &str)]) {
        let (_, mut faults) = read(text);
        faults.extend(between(text, |_, _| {}).faults);
        faults.sort_by_key(|fault| fault.line);
        let told: Vec<_> = faults.iter().map(|f| (f.line, &*f.message)).collect();
        assert_eq!(told.len(), expected.len(), "{told:?}");
        for ((line, message), (expected_line, part)) in told.iter().zip(expected) {
            assert_eq!(line, expected_line, "{told:?}");
            assert!(message.contains(part), "{message} should say {part}");
        }
    }

    #[test]
    fn the_first_colon_or_equals_sign_ends_the_key() {
        for (line, key, value) in [
            ("a: b", "a", "b"),
            ("a=b", "a", "b"),
            ("a : b = c", "a", "b = c"),
            ("a = b: c", "a", "b: c"),
            ("a:=b", "a", "=b"),
            ("A b\tC:d", "a b\tc", "d"),
            ("a:", "a", ""),
            ("a=\t \r", "a", ""),
            ("remark: x", "remark", "x"),
            ("rem: x", "rem", "x"),
            ("-x- : y", "-x-", "y"),
            (";", "", ""),
        ] {
            let expected: Vec<_> = [(key.to_string(), value.to_string())].into();
            let expected = if key.is_empty() { vec![] } else { expected };
            assert_eq!(values(line), expected, "{line}");
        }
    }

    #[test]
    fn per_cent_signs_backslashes_and_quotes_are_text() {
        for text in [
            "%(x)s %% 100%",
            r"a\nb \ c\",
            "'a' \"b\" \"",
            "\"x\"",
            "''",
            "$x #y",
        ] {
            assert_eq!(value(&format!("key: {text}")), text);
        }
    }

    #[test]
    fn two_quotes_alone_beside_the_key_are_an_empty_value() {
        assert_eq!(value("key: \"\" "), "");
        assert_eq!(value("key: \"\" ; comment"), "");
        assert_eq!(value("key: \"\"\n  x"), "x");
        assert_eq!(value("key:\n  \"\""), "\"\"");
        assert_eq!(value("key: \"\"\"\""), "\"\"\"\"");
    }

    #[test]
    fn a_semicolon_after_white_space_begins_a_comment_if_it_is_the_first() {
        for (line, value, cut) in [
            ("a: b ; c", "b", true),
            ("a: b\t;c", "b", true),
            ("a: b;c", "b;c", false),
            ("a: b;c ; d", "b;c ; d", false),
            ("a: b ;c ;d", "b", true),
            ("a: ; c", "", true),
            ("a:;c", ";c", false),
            ("a: sh -c 'x ; y'", "sh -c 'x", true),
            ("a: b # c", "b # c", false),
            ("a: b rem c", "b rem c", false),
            ("a: b\n ;c ; d", "b\n;c ; d", false),
            ("a: b ;c\n d", "b\nd", true),
        ] {
            let (entries, faults) = read(format!("[buildsequencer_job.a]\n{line}").as_bytes());
            assert_eq!(faults, [], "{line}");
            assert_eq!(entries[0].value.as_deref(), Some(value), "{line}");
            assert_eq!(entries[0].cut, cut, "{line}");
        }
    }

    #[test]
    fn a_semicolon_in_a_key_begins_no_comment() {
        assert_eq!(values("a ;b: c ;d"), [("a ;b".into(), "c".into())]);
    }

    #[test]
    fn comments_and_blank_lines_do_not_end_a_value() {
        let lines = "a: 1\n# x\n  2\n\n \t\n; y\n\t3\nrem z\nREM\nReM\tw\n 4\nb: 5";
        assert_eq!(
            values(lines),
            [("a".into(), "1\n2\n3\n4".into()), ("b".into(), "5".into())]
        );
    }

    #[test]
    fn whatever_is_indented_is_text() {
        let lines = "a:\n  # x\n  ; y\n  rem z\n  b: c\n  [meta]\n  = d";
        assert_eq!(value(lines), "# x\n; y\nrem z\nb: c\n[meta]\n= d");
    }

    #[test]
    fn keys_are_in_any_case_and_may_be_repeated() {
        let values = values("MinDelay: 1\nmindelay: 2\nMINDELAY = 3");
        let keys: Vec<_> = values
            .iter()
            .map(|(key, value)| (&**key, &**value))
            .collect();
        assert_eq!(
            keys,
            [("mindelay", "1"), ("mindelay", "2"), ("mindelay", "3")]
        );
    }

    #[test]
    fn only_ascii_letters_have_a_case() {
        // The Kelvin sign is a capital k to Unicode.
        assert_eq!(
            values("\u{212a}ILLDELAY: 1"),
            [("\u{212a}illdelay".into(), "1".into())]
        );
    }

    #[test]
    fn only_ascii_white_space_is_stripped() {
        assert_eq!(
            values("a\u{a0}:\u{a0}b\u{2003}\n \u{a0}c\u{a0}"),
            [("a\u{a0}".into(), "\u{a0}b\u{2003}\n\u{a0}c\u{a0}".into())]
        );
        assert_eq!(value("a: \u{b}\u{c}b\u{b}\r"), "b");
    }

    #[test]
    fn line_ends_of_dos_and_a_byte_order_mark_do_not_matter() {
        let text = "\u{feff}[buildsequencer_job.a]\r\na: b\r\n  c\r\n\r\n# d\r\nrem\r\ne = f\r\n";
        let (entries, faults) = read(text.as_bytes());
        assert_eq!(faults, []);
        let told: Vec<_> = entries
            .iter()
            .map(|e| (e.line, &*e.key, e.value.as_deref()))
            .collect();
        assert_eq!(told, [(2, "a", Some("b\nc")), (7, "e", Some("f"))]);
        assert!(between(text.as_bytes(), |_, _| {}).faults.is_empty());
    }

    #[test]
    fn what_every_line_is_indented_by_is_taken_off() {
        let expected = [(3, "a", "1"), (4, "b", "2\n3"), (8, "c", "4")];
        for margin in ["", "    ", "\t", " \t ", "\t\t"] {
            let lines = [
                "",
                "[buildsequencer_job.a]",
                "a: 1",
                "b: 2",
                "  3",
                "# x",
                "\r",
                "c: 4\r",
            ];
            let text: String = lines.map(|line| format!("{margin}{line}\n")).concat();
            // Blank lines need no margin.
            let ragged = text
                .replace(&format!("{margin}\n"), "\n")
                .replace(&format!("{margin}\r"), "\r");
            for text in [&text, &ragged, &format!("\u{feff}{text}"), text.trim_end()] {
                let (entries, faults) = read(text.as_bytes());
                let told: Vec<_> = entries
                    .iter()
                    .map(|e| (e.line, &*e.key, e.value.as_deref().unwrap()))
                    .collect();
                assert_eq!((&*told, faults), (&expected[..], vec![]), "{text:?}");
                assert!(
                    between(text.as_bytes(), |_, _| {}).faults.is_empty(),
                    "{text:?}"
                );
            }
        }
    }

    #[test]
    fn what_only_some_lines_are_indented_by_stays() {
        for (text, margin) in [
            ("  a\n\tb", ""),
            ("  a\n \tb", " "),
            ("\t a\n\t  b\n\tc", "\t"),
            ("  # x\n  a\n\x0bb", ""),
            ("  a\n# x", ""),
            ("  a\n; x", ""),
            ("  a\nrem", ""),
            ("\x0ca", ""),
            (" a\n  \x0c\x0b\n \r", " "),
            (" \n\t\n", ""),
            ("", ""),
        ] {
            let found = super::margin(text.as_bytes());
            assert_eq!(found, margin.as_bytes(), "{text:?}");
        }
        faults(
            b"  [buildsequencer_job.a]\n a: 1\n",
            &[(1, "before any [section]")],
        );
        faults(
            b"  [buildsequencer_job.a]\n\n  a: 1\n  b\n",
            &[(4, "neither 'key: value'")],
        );
    }

    #[test]
    fn a_header_begins_in_the_first_column_and_the_first_bracket_ends_it() {
        let (entries, _) = read(b"[buildsequencer_job.a]x: 1 [b]\nc: 2\n[buildsequencer_job.a]]\nd: 3\n[ buildsequencer_job.a]\ne: 4\n");
        let keys: Vec<_> = entries.iter().map(|e| &*e.key).collect();
        assert_eq!(keys, ["c", "d"]);
    }

    #[test]
    fn other_sections_may_hold_anything() {
        let text = b"[x]\n\xff\xfe\0 garbage\n  indented\n: y\n[z\n[]\n[buildsequencer_job.a]\na: b\n[Meta]\n\x07\n[default]\n?\n";
        let (entries, faults) = read(text);
        assert_eq!((entries.len(), faults), (1, vec![]));
        assert!(between(text, |_, _| {}).faults.is_empty());
    }

    #[test]
    fn each_line_that_cannot_be_read_is_told_once() {
        faults(
            b"[buildsequencer_job.a]\n  early\nno delimiter\n  continued\nb: \xe9t\xe9\n  continued\nc: d\n  \x07\n  e\n: f\n= g\n[h\n[]: i\n\xff: j\nk\x00: l\n",
            &[
                (2, "there is no key above it"),
                (3, "'no delimiter' is neither 'key: value' nor 'key = value'"),
                (5, "byte 0xe9 is not UTF-8"),
                (8, "control character U+0007"),
                (10, "no key before the ':'"),
                (11, "no key before the '='"),
                (12, "'[h' looks like a section but is not"),
                (13, "looks like a section"),
                (14, "byte 0xff"),
                (15, "control character U+0000"),
            ],
        );
    }

    #[test]
    fn a_key_whose_value_is_faulty_is_still_named() {
        let (entries, _) =
            read(b"[buildsequencer_job.a]\ncommand /bin/true\nCommand: \xff\ncommand: a\n  \xff\n");
        for entry in entries {
            assert_eq!((&*entry.key, entry.value), ("command", None));
        }
    }

    #[test]
    fn a_comment_may_hold_anything() {
        let text = b"# \xff\0\n[buildsequencer_job.a]\n; \xe9\nrem \x07\na: b ; \xff\0\n";
        faults(text, &[]);
        assert_eq!(read(text).0[0].value.as_deref(), Some("b"));
    }

    #[test]
    fn what_stands_outside_of_sections_is_refused() {
        faults(b"x: y\nz\n[meta]\n", &[(1, "before any [section]")]);
        faults(b"# c\n\n  x\n", &[(3, "before any [section]")]);
        faults(
            b"[x]\n[DEFAULT]\na\n[DEFAULT]\n",
            &[
                (2, "[DEFAULT] is not supported"),
                (4, "[buildsequencer_job.template]"),
            ],
        );
        faults(b"", &[]);
    }

    #[test]
    fn a_job_has_a_plain_name() {
        for name in ["a", "A-b_9", "0", "-", "templates", "optionals", "Master"] {
            let header = format!("buildsequencer_job.{name}");
            assert_eq!(section(header.as_bytes()), Ok(Some(Section::Job(name))));
            let header = header + ".optional";
            assert_eq!(
                section(header.as_bytes()),
                Ok(Some(Section::Optional(name)))
            );
        }
        for name in [
            "",
            "a b",
            "a.b",
            "a.template",
            "../a",
            "é",
            " a",
            ".optional",
            "a.optional.optional",
        ] {
            let header = format!("buildsequencer_job.{name}");
            let error = section(header.as_bytes()).unwrap_err();
            assert!(error.contains("letters, digits"), "{name}: {error}");
        }
        for name in [
            "optional",
            "template.optional",
            "master.optional",
            "optional.optional",
        ] {
            let header = format!("buildsequencer_job.{name}");
            let error = section(header.as_bytes()).unwrap_err();
            assert!(error.contains("another meaning"), "{name}: {error}");
        }
        for name in ["template", "master"] {
            let header = format!("buildsequencer_job.{name}");
            assert_eq!(section(header.as_bytes()), Ok(Some(Section::Template)));
        }
        for other in [
            "buildsequencer_job",
            "buildsequencer_jobs.a",
            "Buildsequencer",
            "default",
            "META",
        ] {
            assert_eq!(section(other.as_bytes()), Ok(None), "{other}");
        }
    }

    #[test]
    fn thousands_of_lines_keep_their_order() {
        let lines: String = (0..5_000).map(|n| format!("k{n}: {n}\n  more\n")).collect();
        for (n, (key, value)) in values(&lines).into_iter().enumerate() {
            assert_eq!((key, value), (format!("k{n}"), format!("{n}\nmore")));
        }
    }

    /// ConfigParser's walk over lines as its documentation and behaviour have it, for one section: what each key
    /// gets, and which lines it refuses; plus what we refuse beyond that.
    fn model(text: &str) -> (Vec<(String, String)>, Vec<usize>) {
        let space = |c: char| matches!(c, ' ' | '\t'..='\r');
        let mut ours = false;
        let mut open = false;
        let mut pairs: Vec<(String, Option<Vec<String>>)> = Vec::new();
        let mut refused = Vec::new();
        for (number, line) in (1..).zip(text.split('\n')) {
            let word = line.split(space).next().unwrap_or_default();
            if line.chars().all(space)
                || line.starts_with(['#', ';'])
                || word.eq_ignore_ascii_case("rem")
            {
                continue;
            }
            let name = line
                .strip_prefix('[')
                .and_then(|rest| rest.split_once(']'))
                .map(|(name, _)| name)
                .filter(|name| !name.is_empty());
            if let Some(name) = name {
                ours = name == "buildsequencer_job.a";
                open = false;
                continue;
            }
            if !ours {
                continue;
            }
            let bad = |piece: &str| piece.chars().any(|c| c.is_control() && c != '\t');
            if line.starts_with(space) {
                let piece = line.trim_matches(space);
                match pairs.last_mut().filter(|_| open) {
                    None => refused.push(number),
                    Some((_, value)) if bad(piece) => {
                        refused.push(number);
                        *value = None;
                    }
                    Some((_, value)) => value.iter_mut().for_each(|v| v.push(piece.into())),
                }
                continue;
            }
            open = true;
            let Some((key, value)) = line.split_once([':', '=']) else {
                refused.push(number);
                pairs.push((String::new(), None));
                continue;
            };
            let semicolon = value.find(';');
            let cut = semicolon.filter(|at| value[..*at].ends_with(space));
            let value = value[..cut.unwrap_or(value.len())].trim_matches(space);
            let key = key.trim_matches(space);
            if key.is_empty() || key.starts_with('[') || bad(key) || bad(value) {
                refused.push(number);
                pairs.push((String::new(), None));
                continue;
            }
            let value = if value == "\"\"" { "" } else { value };
            pairs.push((key.to_ascii_lowercase(), Some(vec![value.to_string()])));
        }
        let joined = |lines: Vec<String>| lines.join("\n").trim_matches(space).to_string();
        let pairs = pairs
            .into_iter()
            .filter_map(|(key, value)| value.map(|value| (key, joined(value))));
        (pairs.collect(), refused)
    }

    fn pieces() -> impl Strategy<Value = String> {
        let piece = prop::sample::select(vec![
            "\n",
            "\n",
            "\n",
            " ",
            " ",
            "\t",
            "\r",
            "\u{b}",
            ":",
            ":",
            "=",
            ";",
            ";",
            "#",
            "rem",
            "[",
            "]",
            "[buildsequencer_job.a]",
            "[buildsequencer_job.a]\n",
            "[x]\n",
            "\"\"",
            "'",
            "\\",
            "%",
            "a",
            "Key",
            "key: ",
            "value",
            "é",
            "\u{a0}",
            "\u{2028}",
            "\u{1}",
            "\u{85}",
        ]);
        prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn any_text_is_read_as_the_model_has_it(text in pieces()) {
            let text = format!("[buildsequencer_job.a]\n{text}");
            let (entries, faults) = read(text.as_bytes());
            let pairs: Vec<_> = entries
                .into_iter()
                .filter_map(|e| e.value.map(|value| (e.key, value)))
                .collect();
            let refused: Vec<_> = faults.iter().map(|fault| fault.line).collect();
            let (expected, expected_refused) = model(&text);
            prop_assert_eq!(pairs, expected);
            prop_assert_eq!(refused, expected_refused);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let mut text = b"[buildsequencer_job.a]\n".to_vec();
            text.extend(&bytes);
            let (_, faults) = read(&text);
            between(&bytes, |_, _| {});
            for fault in faults {
                prop_assert!(!fault.message.contains(char::is_control), "{}", fault.message);
            }
        }

        #[test]
        fn a_value_that_may_stand_beside_its_key_is_read_as_it_is(
            value in "[ -~é]{1,12}".prop_map(|text| text.trim().to_string())
        ) {
            let beside = values(&format!("key: {value}"))[0].1 == value;
            prop_assert_eq!(stands_beside_key(&value), beside);
            if !value.is_empty() {
                prop_assert_eq!(&values(&format!("key:\n    {value}"))[0].1, &value);
            }
        }
    }
}
