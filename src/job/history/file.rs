//! The history file's text: a line for each run, oldest first. It is only ever appended to or replaced as a whole, so a
//! crash, or a full disk, can leave a line without its end, which counts as not written. Pure.
//!
//! `run JOB BEGAN TOOK LATE MANNER CODE .` with BEGAN and TOOK in nanoseconds (BEGAN since 1970) and LATE in
//! milliseconds. Later versions may add lines that begin with another word, and fields before the full stop.

use super::{History, Run};
use crate::clock::Stamp;
use crate::job::outcome::Brief;
use crate::job::state::Faulty;

/// The first line, which says what the file is.
const HEADER: &str = "buildd-sequencer history 1\n";

/// Writes the line of one run to the end of a text. Digits are put together by hand, because each run costs this.
pub fn write_run(text: &mut String, job: &str, run: &Run) {
    let code = run.outcome.code;
    text.push_str("run ");
    text.push_str(job);
    write_number(text, run.began.nanoseconds(), " ");
    write_number(text, run.took, " ");
    write_number(text, run.late.into(), " ");
    text.push(' ');
    text.push_str(run.outcome.manner());
    let sign = if code < 0 { " -" } else { " " };
    write_number(text, code.unsigned_abs().into(), sign);
    text.push_str(" .\n");
}

fn write_number(text: &mut String, mut number: u64, before: &str) {
    let mut digits = [b'0'; 20];
    let mut first = digits.len();
    while number > 0 || first == digits.len() {
        first -= 1;
        digits[first] = b'0' + (number % 10) as u8;
        number /= 10;
    }
    text.push_str(before);
    text.push_str(std::str::from_utf8(&digits[first..]).unwrap_or_default());
}

/// The whole file.
pub fn write(history: &History) -> String {
    let runs = history.last(None, false, usize::MAX);
    let mut text = String::with_capacity(HEADER.len() + 80 * runs.len());
    text.push_str(HEADER);
    for (job, run) in runs {
        write_run(&mut text, job, run);
    }
    text
}

/// Reads a history file and hands each run that it tells of to `add`, in its order. Returns what could not be used, and
/// why, in one line.
pub fn read(text: &[u8], add: &mut dyn FnMut(&str, Run)) -> Option<String> {
    let Some(lines) = text.strip_prefix(HEADER.as_bytes()) else {
        let is_torn = HEADER.as_bytes().starts_with(text);
        return (!is_torn).then(|| "it is not a history file of this version".to_string());
    };
    let mut faulty = Faulty::default();
    let whole = lines.iter().rposition(|byte| *byte == b'\n').unwrap_or(0);
    for (number, line) in (2..).zip(lines[..whole].split(|byte| *byte == b'\n')) {
        match std::str::from_utf8(line).ok().and_then(entry) {
            Some(Line::Run(job, run)) => add(job, run),
            Some(Line::Skipped) => {}
            None => faulty.add(number),
        }
    }
    faulty.told("cannot be read; the run that it tells of is not known")
}

/// What a line holds.
enum Line<'a> {
    Run(&'a str, Run),
    /// Nothing, an unfinished line, or what only a later version knows.
    Skipped,
}

/// A line; `None` if it is damaged.
fn entry(line: &str) -> Option<Line<'_>> {
    // No line is written with one, and the table shows names as they are.
    if line.contains(char::is_control) {
        return None;
    }
    let Some(fields) = line.strip_prefix("run ").and_then(|l| l.strip_suffix(" .")) else {
        return Some(Line::Skipped);
    };
    let mut fields = fields.split(' ');
    let mut next = || fields.next().filter(|field| !field.is_empty());
    let job = next()?;
    let began = Stamp::of(next()?.parse().ok()?);
    let took = next()?.parse().ok()?;
    let late = next()?.parse().ok()?;
    let outcome = Brief::read(next()?, next()?.parse().ok()?)?;
    let run = Run {
        began,
        took,
        late,
        outcome,
    };
    Some(Line::Run(job, run))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests;
