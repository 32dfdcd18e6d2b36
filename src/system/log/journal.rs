//! The form of lines on a standard output that is the journal. Each line begins with its priority (sd-daemon(3)). No
//! line is one that journald would split into two entries, so nothing that a job prints can begin an entry of its own.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::message::Level;

/// The most bytes of a message on one line. journald splits a line longer than `LineMax=` (49,152 bytes unless
/// journald.conf(5) says otherwise) and reads the rest as the next entry, priority included.
const MOST_ON_A_LINE: usize = 40_000;

/// Whether `$JOURNAL_STREAM` names this file (systemd.exec(5)).
pub(super) fn names(file: &Metadata) -> bool {
    std::env::var("JOURNAL_STREAM")
        .is_ok_and(|stream| stream == format!("{}:{}", file.dev(), file.ino()))
}

/// The prefix that journald reads as this priority.
pub(super) fn prefix(level: Level) -> &'static [u8] {
    match level {
        Level::Info => b"<6>",
        Level::Warning => b"<4>",
        Level::Error => b"<3>",
    }
}

/// How many bytes `append` needs beyond the message's own.
pub(super) fn more_bytes(parts: &[&[u8]]) -> usize {
    let bytes = parts.iter().flat_map(|part| part.iter());
    let (mut line_ends, mut nuls, mut all) = (0, 0, 0);
    for byte in bytes {
        line_ends += usize::from(*byte == b'\n');
        nuls += usize::from(*byte == 0);
        all += 1;
    }
    let begin = b"\n<6>\t".len();
    nuls + begin * (line_ends + (all + nuls) / (MOST_ON_A_LINE - 3))
}

/// Adds a message, which begins with `stamp`. journald ends an entry at a NUL, so each NUL becomes `\0`.
pub(super) fn append(to: &mut Vec<u8>, level: Level, stamp: &[u8], parts: &[&[u8]]) {
    let prefix = prefix(level);
    to.extend_from_slice(prefix);
    to.extend_from_slice(stamp);
    let mut lines = Lines {
        to,
        prefix,
        used: 0,
    };
    for part in parts {
        for (number, line) in part.split(|&byte| byte == b'\n').enumerate() {
            if number > 0 {
                lines.next();
            }
            for (number, text) in line.split(|&byte| byte == 0).enumerate() {
                if number > 0 {
                    lines.push_whole(b"\\0");
                }
                lines.push(text);
            }
        }
    }
    to.push(b'\n');
}

/// Turns whole lines that `append` made into the form of any other log.
pub(super) fn take_off(lines: &[u8]) -> Vec<u8> {
    let prefix = prefix(Level::Info).len();
    let lines = lines.split_inclusive(|&byte| byte == b'\n');
    lines
        .flat_map(|line| line.get(prefix..).unwrap_or(line))
        .copied()
        .collect()
}

/// Turns whole lines of any other log into the form that `append` makes. Their level is no longer known.
pub(super) fn put_on(lines: &[u8]) -> Vec<u8> {
    let mut to = Vec::with_capacity(lines.len() + more_bytes(&[lines]));
    for line in lines.split_inclusive(|&byte| byte == b'\n') {
        append(
            &mut to,
            Level::Info,
            b"",
            &[line.strip_suffix(b"\n").unwrap_or(line)],
        );
    }
    to
}

/// The lines of one message.
struct Lines<'a> {
    to: &'a mut Vec<u8>,
    prefix: &'static [u8],
    /// How many bytes of the message are on the line so far.
    used: usize,
}

impl Lines<'_> {
    fn next(&mut self) {
        self.to.push(b'\n');
        self.to.extend_from_slice(self.prefix);
        self.to.push(b'\t');
        self.used = 0;
    }

    /// Adds text, on as many lines as it needs.
    fn push(&mut self, mut text: &[u8]) {
        while text.len() > MOST_ON_A_LINE - self.used {
            let (fits, rest) = text.split_at(last_cut(text, MOST_ON_A_LINE - self.used));
            self.to.extend_from_slice(fits);
            self.next();
            text = rest;
        }
        self.to.extend_from_slice(text);
        self.used += text.len();
    }

    /// Adds a short text that must not be cut.
    fn push_whole(&mut self, text: &[u8]) {
        if self.used + text.len() > MOST_ON_A_LINE {
            self.next();
        }
        self.push(text);
    }
}

/// Where to cut `text`, at most `most` bytes from its beginning. A UTF-8 character is not cut, because journalctl(1)
/// shows text that is not UTF-8 only as a number of bytes.
fn last_cut(text: &[u8], most: usize) -> usize {
    let goes_on = |at: &usize| text[*at] & 0b1100_0000 == 0b1000_0000;
    let begins = (0..4).filter_map(|back| most.checked_sub(back));
    let mut begins = begins.skip_while(goes_on);
    begins.next().unwrap_or(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: &[u8] = b"2026-11-23T23:36:37+0000 [-] ";

    fn lines_of(level: Level, parts: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut bytes = Vec::new();
        append(&mut bytes, level, STAMP, parts);
        let size: usize = parts.iter().map(|part| part.len()).sum();
        let begin = prefix(level).len() + STAMP.len() + 1;
        assert!(
            bytes.len() <= begin + size + more_bytes(parts),
            "too little room"
        );
        assert_eq!(bytes.pop(), Some(b'\n'));
        bytes
            .split(|&byte| byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect()
    }

    /// The lines without what each begins with.
    fn said(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let begin = |number| if number == 0 { 3 + STAMP.len() } else { 4 };
        let numbered = lines.iter().enumerate();
        numbered
            .map(|(number, line)| line[begin(number)..].to_vec())
            .collect()
    }

    #[test]
    fn each_line_of_a_message_has_its_priority() {
        for (level, prefix) in [
            (Level::Info, "<6>"),
            (Level::Warning, "<4>"),
            (Level::Error, "<3>"),
        ] {
            let lines = lines_of(level, &[b"one\ntwo", b" more\n\n<0>four"]);
            let stamp = String::from_utf8_lossy(STAMP);
            let expected = [
                format!("{prefix}{stamp}one"),
                format!("{prefix}\ttwo more"),
                format!("{prefix}\t"),
                format!("{prefix}\t<0>four"),
            ];
            assert_eq!(lines, expected.map(String::into_bytes));
        }
    }

    #[test]
    fn a_nul_ends_no_entry() {
        let lines = lines_of(Level::Info, &[b"harmless\0<3>not\0\0\n\0", b"\0"]);
        let expected: [&[u8]; 2] = [br"harmless\0<3>not\0\0", br"\0\0"];
        assert_eq!(said(&lines), expected);
    }

    #[test]
    fn a_long_line_goes_on_in_others_none_of_which_is_long() {
        for (size, pieces) in [
            (40_000, 1),
            (40_001, 2),
            (80_000, 2),
            (80_001, 3),
            (1_000_000, 25),
        ] {
            // The text comes in two parts, which make one line.
            let text = vec![b'x'; size];
            let (one, other) = text.split_at(size / 3);
            let lines = said(&lines_of(Level::Info, &[one, other]));
            assert_eq!(lines.len(), pieces, "{size}");
            assert!(lines.iter().all(|line| line.len() <= MOST_ON_A_LINE));
            assert_eq!(lines.concat(), text);
        }
    }

    #[test]
    fn lines_that_move_to_another_kind_of_log_look_as_if_they_had_been_made_for_it() {
        let message: &[&[u8]] = &[b"one\n<0>two", b" more\n"];
        let mut plain = Vec::new();
        super::super::append_plainly(&mut plain, STAMP, message);
        let mut ours = Vec::new();
        append(&mut ours, Level::Info, STAMP, message);
        assert_eq!(put_on(&plain), ours);
        let mut error = Vec::new();
        append(&mut error, Level::Error, STAMP, message);
        assert_eq!(take_off(&error), plain);
        let lines = put_on(b"\ta\0b\n");
        assert_eq!(lines, b"<6>\ta\\0b\n");
    }

    #[test]
    fn neither_a_character_nor_what_stands_for_a_nul_is_cut() {
        for shift in 0..4 {
            let text = "x".repeat(shift) + &"\u{1f600}".repeat(30_001);
            let lines = said(&lines_of(Level::Info, &[text.as_bytes()]));
            assert_eq!(lines.len(), 4);
            assert!(lines.iter().all(|line| std::str::from_utf8(line).is_ok()));
            assert_eq!(lines.concat(), text.as_bytes());
        }
        let lines = said(&lines_of(Level::Info, &[b"x", &vec![0; 60_000]]));
        assert!(
            lines
                .iter()
                .all(|line| line.len() <= MOST_ON_A_LINE && line.ends_with(b"\\0"))
        );
        assert_eq!(lines.concat().len(), 1 + 120_000);
        // Bytes that are no UTF-8 are cut anywhere.
        let lines = said(&lines_of(Level::Info, &[&vec![0x80; 90_000]]));
        assert_eq!(
            lines.iter().map(Vec::len).collect::<Vec<_>>(),
            [40_000, 40_000, 10_000]
        );
    }
}
