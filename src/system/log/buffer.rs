//! The bytes that wait to be written, in whole lines. Written bytes are forgotten one line at a time, so that a line
//! that one file has taken in part can be written whole to the next. Each byte costs constant time, however long its
//! line is and however little is written at once.

/// The capacity kept, in bytes. What one large message needed beyond this is given back.
const KEPT: usize = 64 * 1024;

/// Lines on their way to the log.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Where the first line begins that has not been written completely.
    line: usize,
    /// How far everything has been written.
    written: usize,
}

impl Buffer {
    /// How many bytes wait. A line written in part counts whole.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.line
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is to be written next.
    pub(super) fn unwritten(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// Whether a line has been written in part.
    pub(super) fn is_within_a_line(&self) -> bool {
        self.written > self.line
    }

    /// How much of a line has been written that is not written completely.
    pub(super) fn part(&self) -> usize {
        self.written - self.line
    }

    /// Gives the rest of a partly written line up.
    pub(super) fn drop_line(&mut self) {
        let rest = self.unwritten();
        let end = rest.iter().position(|&byte| byte == b'\n');
        self.wrote(end.map_or(rest.len(), |end| end + 1));
    }

    /// Starts a partly written line again, because another file is written from now on.
    pub(super) fn begin_line_anew(&mut self) {
        self.written = self.line;
    }

    /// Replaces the waiting lines, each of them whole, by what `make` makes of them.
    pub(super) fn remake(&mut self, make: impl Fn(&[u8]) -> Vec<u8>) {
        self.begin_line_anew();
        self.bytes = make(self.unwritten());
        (self.line, self.written) = (0, 0);
    }

    /// The bytes, for adding lines at the end. Each line added must be whole.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Moves all lines of `other` to the end.
    pub(super) fn take(&mut self, mut other: Buffer) {
        if self.is_empty() {
            *self = other;
        } else {
            other.forget();
            self.bytes.append(&mut other.bytes);
        }
    }

    /// Notes that the first `count` unwritten bytes have been written.
    pub(super) fn wrote(&mut self, count: usize) {
        let now = &self.bytes[self.written..self.written + count];
        if let Some(end) = now.iter().rposition(|&byte| byte == b'\n') {
            self.line = self.written + end + 1;
        }
        self.written += count;
        // This moves fewer bytes than it forgets, and each byte is forgotten once.
        if self.line > self.bytes.len() / 2 {
            self.forget();
        }
    }

    /// Frees the room of the written lines.
    fn forget(&mut self) {
        self.bytes.drain(..self.line);
        self.written -= self.line;
        self.line = 0;
        if self.bytes.capacity() / 2 > self.bytes.len() + KEPT {
            self.bytes.shrink_to(self.bytes.len() + KEPT);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use nix::time::{ClockId, clock_gettime};
    use std::time::Duration;

    fn holding(lines: &str) -> Buffer {
        let mut buffer = Buffer::default();
        buffer.end().extend_from_slice(lines.as_bytes());
        buffer
    }

    #[test]
    fn a_line_counts_until_its_last_byte_is_written_and_can_begin_anew() {
        let mut buffer = holding("one\ntwo\nthree\n");
        buffer.wrote(6);
        assert_eq!(buffer.unwritten(), b"o\nthree\n");
        assert_eq!(buffer.len(), "two\nthree\n".len());
        assert!(buffer.is_within_a_line());
        buffer.begin_line_anew();
        assert!(!buffer.is_within_a_line());
        assert_eq!(buffer.unwritten(), b"two\nthree\n");
        buffer.wrote(4);
        assert!(!buffer.is_within_a_line());
        buffer.wrote(6);
        assert!(buffer.is_empty());
    }

    #[test]
    fn lines_of_another_come_after_those_that_wait() {
        for (written, whole) in [
            (0, "one\ntwo\nthree\n"),
            (5, "two\nthree\n"),
            (8, "three\n"),
        ] {
            let mut buffer = holding("one\ntwo\n");
            buffer.wrote(written);
            let mut other = holding("zero\nthree\n");
            other.wrote(5);
            buffer.take(other);
            buffer.begin_line_anew();
            assert_eq!(buffer.unwritten(), whole.as_bytes(), "{written}");
        }
    }

    #[test]
    fn memory_of_a_large_message_is_given_back_as_it_is_written() {
        let mut buffer = holding(&"0123456789abcde\n".repeat(1 << 20));
        while buffer.len() > 1 << 20 {
            buffer.wrote(65_536);
            assert!(buffer.bytes.capacity() < 4 * buffer.len() + 4 * KEPT);
        }
        buffer.wrote(buffer.len());
        assert!(
            buffer.bytes.capacity() <= 2 * KEPT,
            "{}",
            buffer.bytes.capacity()
        );
    }

    /// Compares the time for a line, written a little at once, with the time for a quarter of it. If the line were
    /// searched again for each piece, it would take sixteen times as long.
    #[test]
    fn a_large_line_costs_a_constant_time_for_each_byte() {
        // This thread's own time, which a busy machine does not stretch.
        let spent = || Duration::from(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap());
        let took = |length: usize| {
            let mut buffer = holding(&("x".repeat(length - 1) + "\n"));
            let began = spent();
            while !buffer.is_empty() {
                buffer.wrote(buffer.unwritten().len().min(4096));
            }
            spent() - began
        };
        let (quarter, whole) = (took(1 << 22), took(1 << 24));
        assert!(whole < quarter * 8, "{whole:?} and {quarter:?}");
    }
}
