//! Section names that are nearly ours. Such a section is ignored, like all others that are not ours.

use super::look_alike::LookAlike;
use crate::near::distance;
use crate::text::shown;

/// The beginning of our sections' names, in small letters and without separators.
const SEQUENCER: &str = "buildsequencer";
/// The same for jobs.
const JOB: &str = "buildsequencerjob";
/// How many of its letters may be wrong.
const MOST_WRONG: usize = 2;

/// The warning about a section that is not ours, if its name may have been meant as ours.
pub fn nearly_ours(header: &[u8]) -> Option<String> {
    let meant = meant(header)?;
    let header = shown(&format!("[{}]", String::from_utf8_lossy(header)));
    Some(format!(
        "the section {header} is ignored: no section that counts is called so; write [{meant}]"
    ))
}

/// The warning about a line outside of our sections that begins with a bracket and is no header; `rest` is the text
/// after the bracket.
pub fn no_header(rest: &[u8]) -> Option<String> {
    let name = rest.split(|&b| b == b']').next()?;
    let meant = meant(name).filter(|name| name != "meta")?;
    Some(format!(
        "this line begins no section, since something stands before its bracket or the bracket is not closed, and is ignored with what follows; \
         write [{meant}] in the first column"
    ))
}

/// Our section that `header` names, or was most likely meant to name.
pub fn meant(header: &[u8]) -> Option<String> {
    let header = std::str::from_utf8(header).ok()?.to_ascii_lowercase();
    // As TOML has it, or quoted.
    let header = header.trim_matches(['[', ']', '"', '\'']);
    let mut letters = String::new();
    let mut rest = "";
    for (at, c) in header.char_indices() {
        if c.is_ascii_lowercase() {
            letters.push(c);
        } else if !matches!(c, '_' | '-') && !is_blank(c) {
            rest = &header[at..];
            break;
        }
    }
    if distance(&letters, JOB, MOST_WRONG).is_some() {
        return Some(job(rest));
    }
    let is_sequencer = distance(&letters, SEQUENCER, MOST_WRONG).is_some();
    if rest.is_empty() && (is_sequencer || letters == "meta") {
        return Some(if is_sequencer {
            SEQUENCER.to_string()
        } else {
            letters
        });
    }
    match rest.get(1..).and_then(|rest| rest.strip_prefix("job")) {
        Some(name) if is_sequencer => Some(job(name)),
        _ => letters.starts_with(SEQUENCER).then(|| job("")),
    }
}

/// The section of the job whose name is the end of `rest`.
fn job(rest: &str) -> String {
    let mut name = rest.trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let valid = |b: u8| b.is_ascii_alphanumeric() || b"_-.".contains(&b);
    if name.is_empty() || !name.bytes().all(valid) {
        name = "NAME";
    }
    format!("buildsequencer_job.{name}")
}

fn is_blank(c: char) -> bool {
    c.is_ascii_whitespace() || LookAlike::of(c).is_some_and(LookAlike::is_invisible)
}
