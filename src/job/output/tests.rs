//! Tests of `output`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use proptest::prelude::*;

fn captured(limit: u64, stream: &str) -> String {
    let mut capture = Capture::new(limit);
    capture.push(stream.as_bytes());
    String::from_utf8(capture.into_kept().bytes).unwrap()
}

/// What a capture of `limit` bytes keeps of a stream that comes at once.
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
    let bytes = if missing == 1 { "byte" } else { "bytes" };
    kept.extend(format!("[... {missing} {bytes} left out ...]\n").bytes());
    kept.extend(&stream[stream.len() - last..]);
    kept
}

#[test]
fn a_long_stream_keeps_both_ends_with_a_line_in_between() {
    assert_eq!(captured(8, "abcdefgh"), "abcdefgh");
    assert_eq!(
        captured(8, "abcdefghi"),
        "abcd\n[... 1 byte left out ...]\nfghi"
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
    assert_eq!(capture.total(), 0);
    assert_eq!(capture.head.capacity() + capture.tail.capacity(), 0);
    capture.push(b"FOO");
    assert!(capture.total() > 0);
    assert!(capture.head.capacity() < 100, "not what it might hold");
    let address = capture.head.as_ptr();
    let bytes = capture.into_kept().bytes;
    assert_eq!(bytes, b"FOO");
    assert_eq!(bytes.as_ptr(), address, "not copied");
}

/// The lines of a stream that comes at once. `MAX_PIECE` is the 8 KiB of the manual.
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
            prop_assert!(capture.head.capacity() + capture.tail.capacity() <= limit);
            let mut log = b"so far: ".to_vec();
            capture.append_to(&mut log);
            prop_assert_eq!(&log[8..], kept(limit, &stream));
        }
        prop_assert_eq!(capture.into_kept().bytes, kept(limit, &stream));
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

#[test]
fn no_character_is_cut_where_a_long_line_is() {
    for before in 0..4 {
        for character in ["é", "€", "🦀"] {
            let line = "x".repeat(before) + &character.repeat(MAX_PIECE);
            let mut pieces: Vec<Vec<u8>> = Vec::new();
            let mut splitter = LineSplitter::new();
            for bytes in line.as_bytes().chunks(1000) {
                splitter.push(bytes, |piece| pieces.push(piece.to_vec()));
            }
            splitter.finish(|piece| pieces.push(piece.to_vec()));
            assert_eq!(pieces.concat(), line.as_bytes());
            for piece in &pieces {
                assert!(std::str::from_utf8(piece).is_ok(), "{before} {character}");
                assert!(piece.len() <= MAX_PIECE);
            }
            assert!(pieces.len() <= line.len() / (MAX_PIECE - 3) + 1);
        }
    }
    // What is no UTF-8 is cut as before.
    let mut lengths = Vec::new();
    let mut splitter = LineSplitter::new();
    splitter.push(&[0x80; 2 * MAX_PIECE + 1], |piece| {
        lengths.push(piece.len())
    });
    splitter.finish(|piece| lengths.push(piece.len()));
    assert_eq!(lengths, [MAX_PIECE, MAX_PIECE, 1]);
}
