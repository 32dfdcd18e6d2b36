//! Tests of `json`.

use super::*;
use proptest::prelude::*;

fn string(written: &str) -> String {
    serde_json::from_str(written).unwrap()
}

fn cut(before: &[&[u8]], after: &[&[u8]], missing: u64, end: usize) -> (String, u64) {
    let mut text = String::new();
    let gone = quote_ends(&mut text, [before, after], missing, end);
    (text, gone)
}

#[test]
fn any_text_is_a_string() {
    let hostile = "\"\\\u{0}\u{1f}\n\r\t\u{7f}\u{85}\u{2028}\u{10ffff}é";
    let mut quoted = String::new();
    quote(&mut quoted, hostile);
    assert_eq!(string(&quoted), hostile);
    assert!(quoted.chars().all(|c| !c.is_control()));
    let mut bytes = String::new();
    quote_bytes(&mut bytes, hostile.as_bytes());
    assert_eq!(bytes, quoted);
}

#[test]
fn a_short_text_is_whole_and_of_a_long_one_both_ends_are_left() {
    assert_eq!(cut(&[b"abc", b"def"], &[], 0, 3), ("\"abcdef\"".into(), 0));
    assert_eq!(
        cut(&[b"abc", b"\n"], &[b"ef", b"gh"], 0, 3),
        (r#""abc\n[... 2 bytes left out ...]\nfgh""#.into(), 2)
    );
    // Four bytes that are two as escaped each.
    assert_eq!(
        cut(&[b"\"\"\"\"\""], &[], 0, 4),
        (r#""\"\"\n[... 1 byte left out ...]\n\"\"""#.into(), 1)
    );
}

#[test]
fn what_was_lost_before_is_told_in_the_same_line() {
    assert_eq!(
        cut(&[b"ab\n"], &[b"cd", b"e"], 10, 100),
        (r#""ab\n[... 10 bytes left out ...]\ncde""#.into(), 10)
    );
    assert_eq!(
        cut(&[b"abcd"], &[b"ef", b"gh"], 10, 3),
        (r#""abc\n[... 12 bytes left out ...]\nfgh""#.into(), 12)
    );
    assert_eq!(
        cut(&[b""], &[b"", b""], 10, 3),
        (r#""[... 10 bytes left out ...]\n""#.into(), 10)
    );
}

#[test]
fn no_character_is_cut_wherever_its_bytes_lie() {
    let smile = "\u{1f600}".as_bytes();
    let parts: [&[u8]; 4] = [&smile[..2], &smile[2..], smile, &smile[..3]];
    assert_eq!(
        string(&cut(&parts, &[], 0, 100).0),
        "\u{1f600}\u{1f600}\u{fffd}"
    );
    let six = smile.repeat(6);
    let (written, gone) = cut(&[&six[..7], &six[7..]], &[], 0, 10);
    let two = "\u{1f600}\u{1f600}";
    assert_eq!(
        string(&written),
        format!("{two}\n[... 8 bytes left out ...]\n{two}")
    );
    assert_eq!(gone, 8);
}

/// Bytes as jobs print them: text, with some that are not.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        any::<u8>().prop_map(|byte| vec![byte]),
        any::<char>().prop_map(|c| c.to_string().into_bytes()),
        "[a-z\n\"]{1,8}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(piece, 0..200).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn the_ends_are_the_ends_whatever_the_bytes_are(
        stream in bytes(), at in 0..2000usize, end in 1..300usize, missing in 0..3u64,
    ) {
        let (before, after) = stream.split_at(at.min(stream.len()));
        let (written, gone) = cut(&[before], &[after], missing, end);
        let text = string(&written);
        if gone == 0 {
            prop_assert_eq!(text, String::from_utf8_lossy(&stream));
            prop_assert!(written.len() <= 2 * end + 2);
        } else {
            let words = left_out(gone, None);
            let (first, last) = text.split_once(&words).unwrap();
            // The first bytes of a character that is not whole are none.
            let first = first.trim_end_matches(['\n', '\u{fffd}']);
            let all = String::from_utf8_lossy(&stream);
            prop_assert!(all.starts_with(first), "{first:?}");
            // From the middle of what is not UTF-8 its first bytes are read differently.
            let sure: String = last.chars().skip(3).collect();
            prop_assert!(all.ends_with(&sure), "{last:?}");
            prop_assert!(written.len() <= 2 * end + words.len() + 8, "{}", written.len());
            prop_assert!(gone >= missing && gone <= missing + stream.len() as u64);
        }
    }

    #[test]
    fn pieces_are_the_whole(stream in bytes(), most in 6..300usize) {
        let mut rest = &*stream;
        let mut whole = String::new();
        while !rest.is_empty() {
            let (piece, others) = rest.split_at(fit(rest, most));
            prop_assert!(!piece.is_empty());
            let mut written = String::new();
            quote_bytes(&mut written, piece);
            prop_assert!(written.len() <= most + 2);
            whole += &string(&written);
            rest = others;
        }
        prop_assert_eq!(whole, String::from_utf8_lossy(&stream));
    }
}
