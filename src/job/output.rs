//! What is kept of a run's output: the first and the last part of each stream, in bounded memory. It also cuts a stream
//! into lines for the log. Pure: it reads no pipe and writes no log.

use std::ops::Range;

use crate::text::left_out;

/// The longest piece of a line that a `LineSplitter` hands out, in bytes.
const MAX_PIECE: usize = 8192;

/// One stream of a run. Up to `limit` bytes are kept whole; of a longer stream the first half and the last half of
/// `limit`. It takes no memory until the first byte is pushed, and never much more than `limit`.
#[derive(Debug, Default, Clone)]
pub struct Capture {
    head: Vec<u8>,
    /// Becomes a ring once it is full. Its oldest byte is then at `oldest`.
    tail: Vec<u8>,
    oldest: usize,
    head_limit: usize,
    tail_limit: usize,
    total: u64,
}

impl Capture {
    /// A capture that keeps `limit` bytes. With 0 it keeps none but still counts them.
    pub fn new(limit: u64) -> Capture {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Capture {
            head_limit: limit - limit / 2,
            tail_limit: limit / 2,
            ..Capture::default()
        }
    }

    /// Adds the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = self.head_limit - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        append(&mut self.head, first, self.head_limit);
        // If more comes than the tail holds, only the end can stay.
        let rest = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let room = self.tail_limit - self.tail.len();
        let (fill, over) = rest.split_at(room.min(rest.len()));
        append(&mut self.tail, fill, self.tail_limit);
        self.overwrite(over);
    }

    /// Overwrites the oldest bytes of the full ring. `bytes` is not longer than the ring.
    fn overwrite(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let to_end = (self.tail.len() - self.oldest).min(bytes.len());
        let (before, after) = bytes.split_at(to_end);
        self.tail[self.oldest..self.oldest + to_end].copy_from_slice(before);
        self.tail[..after.len()].copy_from_slice(after);
        self.oldest = (self.oldest + bytes.len()) % self.tail.len();
    }

    /// Bytes pushed so far, kept or not.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes left out so far.
    pub fn missing(&self) -> u64 {
        self.total - (self.head.len() + self.tail.len()) as u64
    }

    /// The kept bytes in order, with `gap` (from `Capture::gap`) between the first part and the last.
    pub fn parts<'a>(&'a self, gap: &'a str) -> [&'a [u8]; 4] {
        let (newer, older) = self.tail.split_at(self.oldest);
        [&self.head, gap.as_bytes(), older, newer]
    }

    /// Appends the kept bytes to `out`. If bytes are missing, a line where they were says how many.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let gap = self.gap();
        out.reserve_exact(self.head.len() + gap.len() + self.tail.len());
        for part in self.parts(&gap) {
            out.extend_from_slice(part);
        }
    }

    /// Appends the last bytes of what `append_to` writes, at most `most`. They do not begin within a character of UTF-8.
    pub fn append_end_to(&self, most: usize, out: &mut Vec<u8>) {
        let begin = out.len();
        let gap = self.gap();
        let parts = self.parts(&gap);
        let all: usize = parts.iter().map(|part| part.len()).sum();
        let mut skip = all.saturating_sub(most);
        for part in parts {
            let from = skip.min(part.len());
            out.extend_from_slice(&part[from..]);
            skip -= from;
        }
        if all > most {
            // A character has three bytes after its first at most (RFC 3629, 3).
            let rest = out[begin..].iter().take(3);
            let rest = rest.take_while(|&&byte| byte & 0xC0 == 0x80).count();
            out.drain(begin..begin + rest);
        }
    }

    /// The kept bytes, as `append_to` writes them. A short stream without a gap is not copied.
    pub fn into_kept(mut self) -> Kept {
        let missing = self.missing();
        let gap = self.gap();
        let begin = self.head.len();
        self.head.reserve_exact(gap.len() + self.tail.len());
        self.head.extend_from_slice(gap.as_bytes());
        let (newer, older) = self.tail.split_at(self.oldest);
        self.head.extend_from_slice(older);
        self.head.extend_from_slice(newer);
        Kept {
            bytes: self.head,
            gap: begin..begin + gap.len(),
            missing,
        }
    }

    /// The line that stands where bytes are missing, on a line of its own; empty if none are.
    pub fn gap(&self) -> String {
        let missing = self.missing();
        if missing == 0 {
            return String::new();
        }
        left_out(missing, self.head.last().copied())
    }
}

/// What was kept of a stream, in one piece.
#[derive(Debug)]
pub struct Kept {
    /// The bytes, with a line where some are missing.
    pub bytes: Vec<u8>,
    /// Where that line is; empty if none are.
    pub gap: Range<usize>,
    /// How many are.
    pub missing: u64,
}

impl From<Vec<u8>> for Kept {
    fn from(bytes: Vec<u8>) -> Kept {
        let end = bytes.len();
        Kept {
            bytes,
            gap: end..end,
            missing: 0,
        }
    }
}

/// Appends `bytes`. The capacity doubles as it grows but stays within `limit`; a plain `Vec` would grow to twice that.
fn append(to: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let needed = to.len() + bytes.len();
    if needed > to.capacity() {
        let goal = needed.max(to.capacity().saturating_mul(2)).min(limit);
        to.reserve_exact(goal.max(needed) - to.len());
    }
    to.extend_from_slice(bytes);
}

/// Cuts a stream into lines as it comes. It holds at most one piece of `MAX_PIECE` bytes.
#[derive(Debug, Default)]
pub struct LineSplitter {
    pending: Vec<u8>,
}

impl LineSplitter {
    /// A splitter at the start of a stream.
    pub fn new() -> LineSplitter {
        LineSplitter::default()
    }

    /// Adds the next bytes and hands out each line that they complete, without its LF. A line longer than `MAX_PIECE`
    /// bytes is handed out in pieces of that length, or a little less where a character would be cut.
    pub fn push(&mut self, bytes: &[u8], mut each: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            self.add(&rest[..end], &mut each);
            each(&self.pending);
            self.pending.clear();
            rest = &rest[end + 1..];
        }
        self.add(rest, &mut each);
    }

    /// Ends the stream: hands out its last line if that had no LF, and starts anew.
    pub fn finish(&mut self, mut each: impl FnMut(&[u8])) {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            each(&pending);
        }
    }

    /// Adds a part of one line. A full piece waits until it is known that the line goes on.
    fn add(&mut self, mut part: &[u8], each: &mut impl FnMut(&[u8])) {
        while !part.is_empty() {
            if self.pending.len() >= MAX_PIECE {
                let end = whole_characters(&self.pending);
                each(&self.pending[..end]);
                self.pending.drain(..end);
            }
            let room = MAX_PIECE - self.pending.len();
            let (now, later) = part.split_at(room.min(part.len()));
            self.pending.extend_from_slice(now);
            part = later;
        }
    }
}

/// Where these bytes end, without a character of UTF-8 that only begins there.
fn whole_characters(bytes: &[u8]) -> usize {
    let near = bytes.len().saturating_sub(3);
    let begins = bytes[near..].iter().rposition(|&byte| byte >= 0xc0);
    let begins = begins.map(|at| near + at);
    let goes_on = |&at: &usize| bytes[at].leading_ones() as usize > bytes.len() - at;
    begins.filter(goes_on).unwrap_or(bytes.len())
}

#[cfg(test)]
mod tests;
