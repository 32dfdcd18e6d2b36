//! JSON text (RFC 8259): objects that are written to the end of a text, and bytes of any kind and length as strings of
//! bounded length. Pure.

use std::fmt::{Display, Write as _};
use std::time::{Duration, SystemTime};

use crate::text::{Utc, left_out, seconds};

/// A JSON object being written to the end of a text.
pub struct Object<'a> {
    text: &'a mut String,
    is_empty: bool,
}

impl<'a> Object<'a> {
    /// Begins an object.
    pub fn begin(text: &'a mut String) -> Object<'a> {
        text.push('{');
        Object {
            text,
            is_empty: true,
        }
    }

    /// Ends it.
    pub fn end(self) {
        self.text.push('}');
    }

    /// Begins a field and returns the text that its value is to be written to.
    pub fn name(&mut self, name: &str) -> &mut String {
        if !std::mem::replace(&mut self.is_empty, false) {
            self.text.push_str(", ");
        }
        self.text.push('"');
        self.text.push_str(name);
        self.text.push_str("\": ");
        self.text
    }

    /// A string.
    pub fn text(&mut self, name: &str, value: &str) {
        quote(self.name(name), value);
    }

    /// A string of bounded length: of a longer one the first and the last `end` bytes, as escaped.
    pub fn bounded(&mut self, name: &str, value: &str, end: usize) {
        quote_ends(self.name(name), [&[value.as_bytes()], &[]], 0, end);
    }

    /// A string, or null.
    pub fn maybe(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.text(name, value),
            None => self.name(name).push_str("null"),
        }
    }

    /// A number, or null.
    pub fn display(&mut self, name: &str, value: Option<impl Display>) {
        let text = self.name(name);
        match value {
            Some(value) => {
                let _ = write!(text, "{value}");
            }
            None => text.push_str("null"),
        }
    }

    /// A number.
    pub fn number(&mut self, name: &str, value: u64) {
        self.display(name, Some(value));
    }

    /// True or false.
    pub fn boolean(&mut self, name: &str, value: bool) {
        self.name(name)
            .push_str(if value { "true" } else { "false" });
    }

    /// A number of seconds, or null.
    pub fn duration(&mut self, name: &str, value: Option<Duration>) {
        self.display(name, value.map(seconds));
    }

    /// A time (RFC 3339), or null.
    pub fn time(&mut self, name: &str, value: Option<SystemTime>) {
        let text = self.name(name);
        match value {
            Some(time) => {
                let _ = write!(text, "\"{}\"", Utc::from(time).rfc3339());
            }
            None => text.push_str("null"),
        }
    }
}

/// Writes `value` as a string (RFC 8259, 7).
pub fn quote(text: &mut String, value: &str) {
    text.push('"');
    escape_text(text, value);
    text.push('"');
}

/// Writes bytes as a string; what is not UTF-8 becomes U+FFFD.
pub fn quote_bytes(text: &mut String, bytes: &[u8]) {
    text.push('"');
    escape_all(text, bytes);
    text.push('"');
}

/// Writes the bytes of `before` and then of `after`, between which `missing` bytes are known to be lost, as a string.
/// Of more than twice `end` bytes, as escaped, only the first and the last `end` are written; in between stands how
/// many bytes are left out, which is also returned.
pub fn quote_ends(
    text: &mut String,
    [before, after]: [&[&[u8]]; 2],
    missing: u64,
    end: usize,
) -> u64 {
    let all = [before, after].concat();
    let size = size(&all);
    if missing == 0 && size <= 2 * end {
        let whole = part(&all, 0, size);
        if fit(&whole, 2 * end) == size {
            quote_bytes(text, &whole);
            return 0;
        }
    }
    // One line stands for all bytes that are left out, so neither end reaches over those that are lost.
    let (before, after) = match missing {
        0 => (&*all, &*all),
        _ => (before, after),
    };
    let mut first = part(before, 0, end);
    first.truncate(fit(&first, end));
    // The ends could overlap only where they read a broken character differently.
    let most = end.min(size - first.len());
    let last = part(after, self::size(after).saturating_sub(most), most);
    let last = &last[fit_end(&last, end)..];
    let gone = missing + (size - first.len() - last.len()) as u64;
    text.push('"');
    escape_all(text, &first);
    escape_all(text, left_out(gone, first.last().copied()).as_bytes());
    escape_all(text, last);
    text.push('"');
    gone
}

/// How many of the first bytes fit into a string of at most `most` bytes, as escaped; no character is cut.
pub fn fit(bytes: &[u8], mut most: usize) -> usize {
    let mut fits = 0;
    while let Some((width, length)) = first(&bytes[fits..]).filter(|(width, _)| *width <= most) {
        most -= width;
        fits += length;
    }
    fits
}

/// Where the last bytes begin that fit into a string of at most `most` bytes, as escaped.
fn fit_end(bytes: &[u8], most: usize) -> usize {
    let goes_on = |byte: &&u8| **byte & 0b1100_0000 == 0b1000_0000;
    let mut begin = bytes.iter().take(3).take_while(goes_on).count();
    let (mut at, mut used) = (begin, 0);
    while let Some((width, length)) = first(&bytes[at..]) {
        at += length;
        used += width;
    }
    while let Some((width, length)) = first(&bytes[begin..]).filter(|_| used > most) {
        used -= width;
        begin += length;
    }
    begin
}

/// How many bytes the first character is as escaped, and how many it is here. What is not UTF-8 is U+FFFD.
fn first(bytes: &[u8]) -> Option<(usize, usize)> {
    let near = &bytes[..bytes.len().min(char::MAX.len_utf8())];
    let chunk = near.utf8_chunks().next()?;
    Some(match chunk.valid().chars().next() {
        Some(c) => (width(c), c.len_utf8()),
        None => (width(char::REPLACEMENT_CHARACTER), chunk.invalid().len()),
    })
}

fn size(parts: &[&[u8]]) -> usize {
    parts.iter().map(|part| part.len()).sum()
}

/// At most `most` of the bytes of all parts, without the first `skip`.
fn part(parts: &[&[u8]], mut skip: usize, most: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        let rest = &part[skip.min(part.len())..];
        skip -= part.len() - rest.len();
        bytes.extend_from_slice(&rest[..rest.len().min(most - bytes.len())]);
    }
    bytes
}

fn escape_all(text: &mut String, bytes: &[u8]) {
    for chunk in bytes.utf8_chunks() {
        escape_text(text, chunk.valid());
        if !chunk.invalid().is_empty() {
            text.push(char::REPLACEMENT_CHARACTER);
        }
    }
}

fn escape_text(text: &mut String, mut rest: &str) {
    while let Some(at) = rest.find(|c| width(c) != c.len_utf8()) {
        text.push_str(&rest[..at]);
        let mut others = rest[at..].chars();
        others.next().into_iter().for_each(|c| escape(text, c));
        rest = others.as_str();
    }
    text.push_str(rest);
}

/// Adds a character as it stands in a string.
fn escape(text: &mut String, c: char) {
    match c {
        '"' | '\\' => text.extend(['\\', c]),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        c if c.is_control() => {
            let _ = write!(text, "\\u{:04x}", u32::from(c));
        }
        c => text.push(c),
    }
}

/// How many bytes `escape` adds.
fn width(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' => 2,
        c if c.is_control() => 6,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
