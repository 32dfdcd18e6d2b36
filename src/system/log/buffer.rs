//! Bytes that wait to be written, in whole lines. What has been written is forgotten a line at a time, so that a line
//! that one file has taken in part is written whole to the next. All of it costs a constant time for each byte,
//! however long a line is and however little is written at once.

/// Bytes that were needed for one large message are given back beyond this.
const KEPT: usize = 64 * 1024;

/// Lines on their way to the log.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
    /// Where the first line begins that has not been written whole.
    line: usize,
    /// Up to where all has been written.
    written: usize,
}

impl Buffer {
    /// How much waits; a line that has been written in part counts whole.
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

    /// Has a line that has been written in part written whole: somebody else reads from now on.
    pub(super) fn begin_line_anew(&mut self) {
        self.written = self.line;
    }

    /// Puts in place of all lines that wait, each of them whole, what is made of them.
    pub(super) fn remake(&mut self, make: impl Fn(&[u8]) -> Vec<u8>) {
        self.begin_line_anew();
        self.bytes = make(self.unwritten());
        (self.line, self.written) = (0, 0);
    }

    /// The end, to which lines are added. Each of them has to be whole.
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

    /// The first `count` unwritten bytes have been written.
    pub(super) fn wrote(&mut self, count: usize) {
        let now = &self.bytes[self.written..self.written + count];
        if let Some(end) = now.iter().rposition(|&byte| byte == b'\n') {
            self.line = self.written + end + 1;
        }
        self.written += count;
        // What is moved is less than what is forgotten, which was added once.
        if self.line > self.bytes.len() / 2 {
            self.forget();
        }
    }

    /// Gives the place of the written lines back.
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

    /// The time for a line, written a little at once, of the time for a quarter of it. If a line is looked through
    /// again for each piece, it takes sixteen times as long.
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
