//! Tests of `quoted_printable`.

#![allow(clippy::unwrap_used, reason = "a test may")]

use super::*;
use proptest::prelude::*;

fn encoded(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(encode_chunk(raw, 0, &mut out, usize::MAX), raw.len());
    out
}

/// Decodes by RFC 2045, 6.7, and accepts nothing that the RFC does not allow. It deletes white space at a line's end,
/// as the RFC tells a decoder to (rule 3). `None` if the text is not quoted-printable.
fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    let mut raw = Vec::new();
    for line in text.split_inclusive(|&b| b == b'\n') {
        let mut line = line.strip_suffix(b"\n")?.trim_ascii_end();
        let soft = line.ends_with(b"=");
        line = line.strip_suffix(b"=").unwrap_or(line);
        while let Some((&byte, after)) = line.split_first() {
            line = after;
            if byte != b'=' {
                raw.push(byte);
                continue;
            }
            let (digits, after) = line.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok()?;
            if digits.bytes().any(|b| b.is_ascii_lowercase()) {
                return None;
            }
            raw.push(u8::from_str_radix(digits, 16).ok()?);
            line = after;
        }
        if !soft {
            raw.push(b'\n');
        }
    }
    Some(raw)
}

/// Bytes that are special where lines begin, end and break.
fn raw() -> impl Strategy<Value = Vec<u8>> {
    let word = |word: &'static str| Just(word.as_bytes().to_vec());
    let part = prop_oneof![
        word("\n"),
        word("From "),
        word("From"),
        word("."),
        word(".\n"),
        word(" "),
        word("\t"),
        word("="),
        word("\r\n"),
        word("\0"),
        word("é"),
        (60_usize..160).prop_map(|n| vec![b'x'; n]),
        prop::collection::vec(any::<u8>(), 0..20),
    ];
    prop::collection::vec(part, 0..40).prop_map(|parts| parts.concat())
}

#[test]
fn text_is_encoded_as_the_rfc_has_it() {
    let x = |n| "x".repeat(n);
    for (raw, text) in [
        ("", String::new()),
        ("\n\n", "\n\n".to_string()),
        (
            "plain text, as it is\n",
            "plain text, as it is\n".to_string(),
        ),
        ("no end", "no end=\n".to_string()),
        ("1=1\n", "1=3D1\n".to_string()),
        ("caf\u{e9}\n", "caf=C3=A9\n".to_string()),
        ("dos\r\n", "dos=0D\n".to_string()),
        ("a \nb\t\n c\n", "a=20\nb=09\n c\n".to_string()),
        ("at the end ", "at the end=20=\n".to_string()),
        (".\n..\na.\n", "=2E\n=2E.\na.\n".to_string()),
        ("From me\nFrom:\n", "=46rom me\nFrom:\n".to_string()),
        (&format!("{}\n", x(76)), format!("{}\n", x(76))),
        (&format!("{}\n", x(77)), format!("{}=\nxx\n", x(75))),
        (&format!("{}=\n", x(73)), format!("{}=3D\n", x(73))),
        (&format!("{}=\n", x(74)), format!("{}=\n=3D\n", x(74))),
        (&format!("{}.\n", x(76)), format!("{}=\nx.\n", x(75))),
        (&format!("{}.xx\n", x(75)), format!("{}=\n=2Exx\n", x(75))),
        (
            &format!("{}From x\n", x(75)),
            format!("{}=\n=46rom x\n", x(75)),
        ),
    ] {
        assert_eq!(
            String::from_utf8(encoded(raw.as_bytes())).unwrap(),
            text,
            "{raw:?}"
        );
    }
}

#[test]
fn a_place_beyond_the_end_is_the_end() {
    let mut out = Vec::new();
    assert_eq!(encode_chunk(b"abc", 7, &mut out, 100), 3);
    assert_eq!(out, b"");
}

#[test]
fn only_what_cannot_travel_needs_encoding() {
    let line = |n| "x".repeat(n);
    for (body, needs) in [
        ("", false),
        ("plain\n\n.\n\ttext without end", false),
        ("\u{1b}[31mred\u{7f}\u{8}\n", false),
        (" From here\nFrom: there\nXFrom us\nFrom", false),
        (&format!("{}\n{}", line(998), line(998)), false),
        (&format!("{}\nx\n", line(999)), true),
        (&format!("x\n{}", line(999)), true),
        ("From here\n", true),
        ("text\nFrom ", true),
        ("caf\u{e9}", true),
        ("a\rb\n", true),
        ("dos\r\n", true),
        ("nul\0\n", true),
    ] {
        assert_eq!(needed(body.as_bytes()), needs, "{body:?}");
    }
    assert!(needed(b"half a character: \xc3\n"));
}

proptest! {
    #[test]
    fn any_bytes_decode_back_to_themselves(
        hostile in raw(),
        random in prop::collection::vec(any::<u8>(), 0..1000),
    ) {
        for mut raw in [hostile, random] {
            prop_assert_eq!(decoded(&encoded(&raw)), Some(raw.clone()));
            raw.push(b'\n');
            prop_assert_eq!(decoded(&encoded(&raw)), Some(raw));
        }
    }

    #[test]
    fn lines_are_short_and_nothing_on_the_way_takes_one_for_its_own(raw in raw()) {
        let text = encoded(&raw);
        prop_assert!(text.is_empty() || text.ends_with(b"\n"));
        for line in text.split(|&b| b == b'\n') {
            prop_assert!(line.len() <= 76, "{} bytes", line.len());
            prop_assert!(line.iter().all(|&b| matches!(b, b' '..=b'~' | b'\t')));
            prop_assert!(!line.starts_with(b"."));
            prop_assert!(!line.starts_with(b"From "));
            prop_assert!(!line.ends_with(b" ") && !line.ends_with(b"\t"));
        }
    }

    #[test]
    fn pieces_of_any_size_make_the_same_whole(
        raw in raw(),
        wants in prop::collection::vec(0_usize..300, 1..20),
    ) {
        let mut text = b"headers".to_vec();
        let mut pos = 0;
        for &want in wants.iter().cycle() {
            if pos == raw.len() {
                break;
            }
            let before = text.len();
            let next = encode_chunk(&raw, pos, &mut text, want);
            prop_assert!(next > pos, "no progress");
            prop_assert!(text.len() < before + want.max(1) + 80, "more than was wanted");
            prop_assert!(text.len() >= before + want.max(1) || next == raw.len(), "less than was wanted");
            pos = next;
        }
        prop_assert_eq!(&text[7..], encoded(&raw));
    }

    /// Compares `needed` with its rules, one condition after the other.
    #[test]
    fn needed_says_what_the_contract_says(raw in raw(), long in 990_usize..1005) {
        let mut body = raw;
        for _ in 0..2 {
            let at_start = [b"\n", body.as_slice()].concat();
            let from = at_start.windows(6).any(|w| w == b"\nFrom ");
            let held = body.iter().any(|&b| b > 127 || b == 0 || b == 13);
            let longest = body.split(|&b| b == b'\n').map(<[u8]>::len).max().unwrap();
            prop_assert_eq!(needed(&body), from || held || longest > 998);
            body = [vec![b'x'; long], b"\n".to_vec()].concat();
        }
    }
}
