//! What is kept of a run's output: the first and the last part of a stream in bounded memory, and the
//! stream cut into lines for the log. Pure: it reads no pipe and writes no log.

/// The longest piece of a line that a `LineSplitter` hands out, in bytes.
pub const MAX_PIECE: usize = 8192;

/// One stream of a run: everything up to `limit` bytes, beyond that its first and its last half.
/// Costs no memory until something is pushed, and never much more than `limit`.
#[derive(Debug, Default, Clone)]
pub struct Capture {
    head: Vec<u8>,
    /// A ring once it is full; its oldest byte is then at `oldest`.
    tail: Vec<u8>,
    oldest: usize,
    head_limit: usize,
    tail_limit: usize,
    total: u64,
}

impl Capture {
    /// A capture that keeps `limit` bytes; 0 keeps none but still counts.
    pub fn new(limit: u64) -> Capture {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Capture {
            head_limit: limit - limit / 2,
            tail_limit: limit / 2,
            ..Capture::default()
        }
    }

    /// Takes the next bytes of the stream.
    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let room = self.head_limit - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        append(&mut self.head, first, self.head_limit);
        // Of more than the tail holds only the end can stay.
        let rest = &rest[rest.len().saturating_sub(self.tail_limit)..];
        let room = self.tail_limit - self.tail.len();
        let (fill, over) = rest.split_at(room.min(rest.len()));
        append(&mut self.tail, fill, self.tail_limit);
        self.overwrite(over);
    }

    /// Writes over the oldest bytes of the full ring; `bytes` is not longer than it.
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

    /// Whether nothing has been pushed.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// What was kept, in order, around a `gap` that `gap` has given.
    pub fn parts<'a>(&'a self, gap: &'a str) -> [&'a [u8]; 4] {
        let (newer, older) = self.tail.split_at(self.oldest);
        [&self.head, gap.as_bytes(), older, newer]
    }

    /// Appends what was kept to `out`, with a line in between that says how many bytes are missing, if any.
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let gap = self.gap();
        out.reserve_exact(self.head.len() + gap.len() + self.tail.len());
        for part in self.parts(&gap) {
            out.extend_from_slice(part);
        }
    }

    /// What was kept, as `append_to` gives it. Without a gap in a short stream nothing is copied.
    pub fn into_bytes(mut self) -> Vec<u8> {
        let gap = self.gap();
        self.head.reserve_exact(gap.len() + self.tail.len());
        self.head.extend_from_slice(gap.as_bytes());
        let (newer, older) = self.tail.split_at(self.oldest);
        self.head.extend_from_slice(older);
        self.head.extend_from_slice(newer);
        self.head
    }

    /// The line that stands for what is missing, always on a line of its own; empty if nothing is.
    pub fn gap(&self) -> String {
        let missing = self.missing();
        if missing == 0 {
            return String::new();
        }
        let break_before = match self.head.last() {
            None | Some(b'\n') => "",
            Some(_) => "\n",
        };
        format!("{break_before}[... {missing} bytes left out ...]\n")
    }
}

/// Appends, growing by doubling but never to more than `limit`, where a plain `Vec` would go to twice that.
fn append(to: &mut Vec<u8>, bytes: &[u8], limit: usize) {
    let needed = to.len() + bytes.len();
    if needed > to.capacity() {
        let goal = needed.max(to.capacity().saturating_mul(2)).min(limit);
        to.reserve_exact(goal.max(needed) - to.len());
    }
    to.extend_from_slice(bytes);
}

/// Cuts a stream into lines as it comes. Holds at most one piece of `MAX_PIECE` bytes.
#[derive(Debug, Default)]
pub struct LineSplitter {
    pending: Vec<u8>,
}

impl LineSplitter {
    /// A splitter that has seen nothing.
    pub fn new() -> LineSplitter {
        LineSplitter::default()
    }

    /// Takes the next bytes and hands out each line they complete, without its LF. A line longer than
    /// `MAX_PIECE` bytes comes in pieces of that length.
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

    /// Hands out what the stream ended with, if its last line had no LF, and starts anew.
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
                each(&self.pending);
                self.pending.clear();
            }
            let room = MAX_PIECE - self.pending.len();
            let (now, later) = part.split_at(room.min(part.len()));
            self.pending.extend_from_slice(now);
            part = later;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may")]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn captured(limit: u64, stream: &str) -> String {
        let mut capture = Capture::new(limit);
        capture.push(stream.as_bytes());
        String::from_utf8(capture.into_bytes()).unwrap()
    }

    /// What a capture keeps, said in one go.
    fn kept(limit: usize, stream: &[u8]) -> Vec<u8> {
        if stream.len() <= limit {
            return stream.to_vec();
        }
        let (first, last) = (limit.div_ceil(2), limit / 2);
        let mut kept = stream[..first].to_vec();
        if !kept.is_empty() && kept[first - 1] != b'\n' {
            kept.push(b'\n');
        }
        let missing = stream.len() - limit;
        kept.extend(format!("[... {missing} bytes left out ...]\n").bytes());
        kept.extend(&stream[stream.len() - last..]);
        kept
    }

    #[test]
    fn a_long_stream_keeps_both_ends_with_a_line_in_between() {
        assert_eq!(captured(8, "abcdefgh"), "abcdefgh");
        assert_eq!(
            captured(8, "abcdefghi"),
            "abcd\n[... 1 bytes left out ...]\nfghi"
        );
        assert_eq!(
            captured(7, "abcdefghi"),
            "abcd\n[... 2 bytes left out ...]\nghi"
        );
        assert_eq!(
            captured(8, "abc\n5678def\n"),
            "abc\n[... 4 bytes left out ...]\ndef\n"
        );
        assert_eq!(captured(1, "abc"), "a\n[... 2 bytes left out ...]\n");
        assert_eq!(captured(0, "abc"), "[... 3 bytes left out ...]\n");
        assert_eq!(captured(0, ""), "");
    }

    #[test]
    fn an_endless_stream_costs_no_more_than_the_limit() {
        let mut capture = Capture::new(100_000);
        let chunk = [b'x'; 65_536];
        for _ in 0..1000 {
            capture.push(&chunk);
            assert!(capture.head.capacity() + capture.tail.capacity() <= 100_000);
        }
        assert_eq!(capture.total(), 65_536_000);
        assert_eq!(capture.missing(), 65_436_000);
    }

    #[test]
    fn a_capture_costs_nothing_before_there_is_output() {
        let mut capture = Capture::new(u64::MAX);
        capture.push(b"");
        assert!(capture.is_empty());
        assert_eq!(capture.head.capacity() + capture.tail.capacity(), 0);
        capture.push(b"FOO");
        assert!(!capture.is_empty());
        assert!(capture.head.capacity() < 100, "not what it might hold");
        let place = capture.head.as_ptr();
        let bytes = capture.into_bytes();
        assert_eq!(bytes, b"FOO");
        assert_eq!(bytes.as_ptr(), place, "not copied");
    }

    /// The lines of a stream, said in one go; `MAX_PIECE` is the 8 KiB of the manual.
    fn pieces(stream: &[u8]) -> Vec<Vec<u8>> {
        let mut pieces = Vec::new();
        for line in stream.split_inclusive(|&b| b == b'\n') {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            if line.is_empty() {
                pieces.push(Vec::new());
            }
            pieces.extend(line.chunks(8192).map(<[u8]>::to_vec));
        }
        pieces
    }

    fn split(stream: &[u8], cuts: &[usize]) -> Vec<Vec<u8>> {
        let mut splitter = LineSplitter::new();
        let mut got = Vec::new();
        let mut rest = stream;
        for &cut in cuts.iter().cycle() {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            splitter.push(now, |line| got.push(line.to_vec()));
            assert!(splitter.pending.len() <= MAX_PIECE);
            assert!(splitter.pending.capacity() <= 2 * MAX_PIECE);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        for _once_only in 0..2 {
            splitter.finish(|line| got.push(line.to_vec()));
        }
        got
    }

    #[test]
    fn lines_come_whole_however_they_arrive() {
        for cuts in [[1], [3], [100]] {
            let got = split(b"scanned 3 builders\n\n1 idle\r\nno end", &cuts);
            let lines: [&[u8]; 4] = [b"scanned 3 builders", b"", b"1 idle\r", b"no end"];
            assert_eq!(got, lines);
        }
    }

    #[test]
    fn a_line_is_handed_out_as_soon_as_its_end_is_there() {
        let mut splitter = LineSplitter::new();
        let mut got = Vec::new();
        splitter.push(b"sca", |line| got.push(line.to_vec()));
        assert!(got.is_empty());
        splitter.push(b"nned\n1 id", |line| got.push(line.to_vec()));
        assert_eq!(got, [b"scanned"]);
    }

    #[test]
    fn a_line_of_exactly_one_piece_is_not_followed_by_an_empty_one() {
        for (length, lengths) in [
            (8191, vec![8191]),
            (8192, vec![8192]),
            (8193, vec![8192, 1]),
            (16_384, vec![8192, 8192]),
        ] {
            for end in ["", "\n"] {
                let stream = "x".repeat(length) + end;
                let got = split(stream.as_bytes(), &[4096]);
                assert_eq!(got.iter().map(Vec::len).collect::<Vec<_>>(), lengths);
            }
        }
    }

    proptest! {
        #[test]
        fn both_ends_are_kept_and_the_missing_bytes_are_counted(
            limit in 0_usize..200,
            pushes in prop::collection::vec(prop::collection::vec(0_u8..20, 0..150), 0..30),
        ) {
            let mut capture = Capture::new(limit as u64);
            let mut stream = Vec::new();
            for push in pushes {
                capture.push(&push);
                stream.extend(push);
                prop_assert_eq!(capture.total(), stream.len() as u64);
                prop_assert_eq!(capture.missing(), stream.len().saturating_sub(limit) as u64);
                prop_assert_eq!(capture.is_empty(), stream.is_empty());
                prop_assert!(capture.head.capacity() + capture.tail.capacity() <= limit);
                let mut log = b"so far: ".to_vec();
                capture.append_to(&mut log);
                prop_assert_eq!(&log[8..], kept(limit, &stream));
            }
            prop_assert_eq!(capture.into_bytes(), kept(limit, &stream));
        }

        #[test]
        fn lines_and_pieces_do_not_depend_on_how_the_stream_arrives(
            lengths in prop::collection::vec(
                prop_oneof![0_usize..30, 8180_usize..8200, 16_380_usize..16_390, 0_usize..30_000],
                0..8,
            ),
            last_line_ends in any::<bool>(),
            cuts in prop::collection::vec(prop_oneof![1_usize..50, 1_usize..20_000], 1..20),
        ) {
            let lines: Vec<Vec<u8>> = (b'a'..).zip(lengths).map(|(c, n)| vec![c; n]).collect();
            let mut stream = lines.join(&b'\n');
            if last_line_ends {
                stream.push(b'\n');
            }
            prop_assert!(split(&stream, &cuts) == pieces(&stream));
        }
    }
}
