//! Tests of `dialect`.

use super::*;
use proptest::prelude::*;

const JOB: Section<'_> = Section::Job("a");

/// Entries and fault lines of all sections `[buildsequencer_job.a]` of a text.
fn read(text: &[u8]) -> (Vec<Entry>, Vec<Fault>) {
    let mut faults = Vec::new();
    let mut all = Vec::new();
    let wanted = |section| section == JOB;
    sections(text, wanted, &mut faults, |_, _, entries| {
        all.extend(entries);
    });
    (all, faults)
}

/// Keys and values of the lines below the section's header.
#[track_caller]
fn values(lines: &str) -> Vec<(String, String)> {
    let (entries, faults) = read(format!("[buildsequencer_job.a]\n{lines}").as_bytes());
    assert_eq!(faults, [], "{lines}");
    let pairs = entries.into_iter().map(|e| (e.key, e.value.unwrap()));
    pairs.collect()
}

#[track_caller]
fn value(line: &str) -> String {
    let values = values(line);
    assert_eq!(values.len(), 1, "{line}: {values:?}");
    values[0].1.clone()
}

#[track_caller]
fn faults(text: &[u8], expected: &[(usize, &str)]) {
    let (_, mut faults) = read(text);
    faults.extend(between(text, |_, _| {}).faults);
    faults.sort_by_key(|fault| fault.line);
    let told: Vec<_> = faults.iter().map(|f| (f.line, &*f.message)).collect();
    assert_eq!(told.len(), expected.len(), "{told:?}");
    for ((line, message), (expected_line, part)) in told.iter().zip(expected) {
        assert_eq!(line, expected_line, "{told:?}");
        assert!(message.contains(part), "{message} should say {part}");
    }
}

#[test]
fn the_first_colon_or_equals_sign_ends_the_key() {
    for (line, key, value) in [
        ("a: b", "a", "b"),
        ("a=b", "a", "b"),
        ("a : b = c", "a", "b = c"),
        ("a = b: c", "a", "b: c"),
        ("a:=b", "a", "=b"),
        ("A b\tC:d", "a b\tc", "d"),
        ("a:", "a", ""),
        ("a=\t \r", "a", ""),
        ("remark: x", "remark", "x"),
        ("rem: x", "rem", "x"),
        ("-x- : y", "-x-", "y"),
        (";", "", ""),
    ] {
        let expected: Vec<_> = [(key.to_string(), value.to_string())].into();
        let expected = if key.is_empty() { vec![] } else { expected };
        assert_eq!(values(line), expected, "{line}");
    }
}

#[test]
fn per_cent_signs_backslashes_and_quotes_are_text() {
    for text in [
        "%(x)s %% 100%",
        r"a\nb \ c\",
        "'a' \"b\" \"",
        "\"x\"",
        "''",
        "$x #y",
    ] {
        assert_eq!(value(&format!("key: {text}")), text);
    }
}

#[test]
fn two_quotes_alone_beside_the_key_are_an_empty_value() {
    assert_eq!(value("key: \"\" "), "");
    assert_eq!(value("key: \"\" ; comment"), "");
    assert_eq!(value("key: \"\"\n  x"), "x");
    assert_eq!(value("key:\n  \"\""), "\"\"");
    assert_eq!(value("key: \"\"\"\""), "\"\"\"\"");
}

#[test]
fn a_semicolon_after_white_space_begins_a_comment_if_it_is_the_first() {
    for (line, value, cut) in [
        ("a: b ; c", "b", true),
        ("a: b\t;c", "b", true),
        ("a: b;c", "b;c", false),
        ("a: b;c ; d", "b;c ; d", false),
        ("a: b ;c ;d", "b", true),
        ("a: ; c", "", true),
        ("a:;c", ";c", false),
        ("a: sh -c 'x ; y'", "sh -c 'x", true),
        ("a: b # c", "b # c", false),
        ("a: b rem c", "b rem c", false),
        ("a: b\n ;c ; d", "b\n;c ; d", false),
        ("a: b ;c\n d", "b\nd", true),
    ] {
        let (entries, faults) = read(format!("[buildsequencer_job.a]\n{line}").as_bytes());
        assert_eq!(faults, [], "{line}");
        assert_eq!(entries[0].value.as_deref(), Some(value), "{line}");
        assert_eq!(entries[0].cut, cut, "{line}");
    }
}

#[test]
fn a_semicolon_in_a_key_begins_no_comment() {
    assert_eq!(values("a ;b: c ;d"), [("a ;b".into(), "c".into())]);
}

#[test]
fn comments_and_blank_lines_do_not_end_a_value() {
    let lines = "a: 1\n# x\n  2\n\n \t\n; y\n\t3\nrem z\nREM\nReM\tw\n 4\nb: 5";
    assert_eq!(
        values(lines),
        [("a".into(), "1\n2\n3\n4".into()), ("b".into(), "5".into())]
    );
}

#[test]
fn whatever_is_indented_is_text() {
    let lines = "a:\n  # x\n  ; y\n  rem z\n  b: c\n  [meta]\n  = d";
    assert_eq!(value(lines), "# x\n; y\nrem z\nb: c\n[meta]\n= d");
}

#[test]
fn keys_are_in_any_case_and_may_be_repeated() {
    let values = values("MinDelay: 1\nmindelay: 2\nMINDELAY = 3");
    let keys: Vec<_> = values
        .iter()
        .map(|(key, value)| (&**key, &**value))
        .collect();
    assert_eq!(
        keys,
        [("mindelay", "1"), ("mindelay", "2"), ("mindelay", "3")]
    );
}

#[test]
fn only_ascii_letters_have_a_case() {
    // The Kelvin sign is a capital k to Unicode.
    assert_eq!(
        values("\u{212a}ILLDELAY: 1"),
        [("\u{212a}illdelay".into(), "1".into())]
    );
}

#[test]
fn only_ascii_white_space_is_stripped() {
    assert_eq!(
        values("a\u{a0}:\u{a0}b\u{2003}\n \u{a0}c\u{a0}"),
        [("a\u{a0}".into(), "\u{a0}b\u{2003}\n\u{a0}c\u{a0}".into())]
    );
    assert_eq!(value("a: \u{b}\u{c}b\u{b}\r"), "b");
}

#[test]
fn line_ends_of_dos_and_a_byte_order_mark_do_not_matter() {
    let text = "\u{feff}[buildsequencer_job.a]\r\na: b\r\n  c\r\n\r\n# d\r\nrem\r\ne = f\r\n";
    let (entries, faults) = read(text.as_bytes());
    assert_eq!(faults, []);
    let told: Vec<_> = entries
        .iter()
        .map(|e| (e.line, &*e.key, e.value.as_deref()))
        .collect();
    assert_eq!(told, [(2, "a", Some("b\nc")), (7, "e", Some("f"))]);
    assert!(between(text.as_bytes(), |_, _| {}).faults.is_empty());
}

#[test]
fn what_every_line_is_indented_by_is_taken_off() {
    let expected = [(3, "a", "1"), (4, "b", "2\n3"), (8, "c", "4")];
    for margin in ["", "    ", "\t", " \t ", "\t\t"] {
        let lines = [
            "",
            "[buildsequencer_job.a]",
            "a: 1",
            "b: 2",
            "  3",
            "# x",
            "\r",
            "c: 4\r",
        ];
        let text: String = lines.map(|line| format!("{margin}{line}\n")).concat();
        // Blank lines need no margin.
        let ragged = text
            .replace(&format!("{margin}\n"), "\n")
            .replace(&format!("{margin}\r"), "\r");
        for text in [&text, &ragged, &format!("\u{feff}{text}"), text.trim_end()] {
            let (entries, faults) = read(text.as_bytes());
            let told: Vec<_> = entries
                .iter()
                .map(|e| (e.line, &*e.key, e.value.as_deref().unwrap()))
                .collect();
            assert_eq!((&*told, faults), (&expected[..], vec![]), "{text:?}");
            assert!(
                between(text.as_bytes(), |_, _| {}).faults.is_empty(),
                "{text:?}"
            );
        }
    }
}

#[test]
fn what_only_some_lines_are_indented_by_stays() {
    for (text, margin) in [
        ("  a\n\tb", ""),
        ("  a\n \tb", " "),
        ("\t a\n\t  b\n\tc", "\t"),
        ("  # x\n  a\n\x0bb", ""),
        ("  a\n# x", ""),
        ("  a\n; x", ""),
        ("  a\nrem", ""),
        ("\x0ca", ""),
        (" a\n  \x0c\x0b\n \r", " "),
        (" \n\t\n", ""),
        ("", ""),
    ] {
        let found = super::margin(text.as_bytes());
        assert_eq!(found, margin.as_bytes(), "{text:?}");
    }
    faults(
        b"  [buildsequencer_job.a]\n a: 1\n",
        &[(
            1,
            "before any [section]; a section begins in the first column",
        )],
    );
    faults(
        b"  [buildsequencer_job.a]\n\n  a: 1\n  b\n",
        &[(4, "neither 'key: value'")],
    );
}

#[test]
fn a_header_begins_in_the_first_column_and_the_first_bracket_ends_it() {
    let (entries, _) = read(b"[buildsequencer_job.a]x: 1 [b]\nc: 2\n[buildsequencer_job.a]]\nd: 3\n[ buildsequencer_job.a]\ne: 4\n");
    let keys: Vec<_> = entries.iter().map(|e| &*e.key).collect();
    assert_eq!(keys, ["c", "d"]);
}

#[test]
fn other_sections_may_hold_anything() {
    let text = b"[x]\n\xff\xfe\0 garbage\n  indented\n: y\n[z\n[]\n[buildsequencer_job.a]\na: b\n[Meta]\n\x07\n[default]\n?\n";
    let (entries, faults) = read(text);
    assert_eq!((entries.len(), faults), (1, vec![]));
    assert!(between(text, |_, _| {}).faults.is_empty());
}

#[test]
fn each_line_that_cannot_be_read_is_told_once() {
    faults(
        b"[buildsequencer_job.a]\n  early\nno delimiter\n  continued\nb: \xe9t\xe9\n  continued\nc: d\n  \x07\n  e\n: f\n= g\n[h\n[]: i\n\xff: j\nk\x00: l\n",
        &[
            (2, "there is no key above it"),
            (3, "'no delimiter' is neither 'key: value' nor 'key = value'"),
            (5, "byte 0xe9 is not UTF-8"),
            (8, "control character U+0007"),
            (10, "no key before the ':'"),
            (11, "no key before the '='"),
            (12, "'[h' looks like a section but is not"),
            (13, "looks like a section"),
            (14, "byte 0xff"),
            (15, "control character U+0000"),
        ],
    );
}

#[test]
fn a_key_whose_value_is_faulty_is_still_named() {
    let (entries, _) =
        read(b"[buildsequencer_job.a]\ncommand /bin/true\nCommand: \xff\ncommand: a\n  \xff\n");
    for entry in entries {
        assert_eq!((&*entry.key, entry.value), ("command", None));
    }
}

#[test]
fn a_comment_may_hold_anything() {
    let text = b"# \xff\0\n[buildsequencer_job.a]\n; \xe9\nrem \x07\na: b ; \xff\0\n";
    faults(text, &[]);
    assert_eq!(read(text).0[0].value.as_deref(), Some("b"));
}

#[test]
fn what_stands_outside_of_sections_is_refused() {
    faults(b"x: y\nz\n[meta]\n", &[(1, "before any [section]")]);
    faults(
        b"# c\n\n  x\n",
        &[(3, "before any [section]; what is below [buildsequencer]")],
    );
    faults(
        b"[buildsequencer\nx: y\n",
        &[(1, "the bracket is not closed")],
    );
    faults(b"[]\n", &[(1, "the bracket is not closed")]);
    faults(b"*/5 * * * * x\n", &[(1, "crontab-to-ini")]);
    faults(
        b"[x]\n[DEFAULT]\na\n[DEFAULT]\n",
        &[
            (2, "[DEFAULT] is not supported"),
            (4, "[buildsequencer_job.template]"),
        ],
    );
    faults(b"", &[]);
}

#[test]
fn a_job_has_a_plain_name() {
    for name in ["a", "A-b_9", "0", "-", "templates", "optionals", "Master"] {
        let header = format!("buildsequencer_job.{name}");
        assert_eq!(section(header.as_bytes()), Ok(Some(Section::Job(name))));
        let header = header + ".optional";
        assert_eq!(
            section(header.as_bytes()),
            Ok(Some(Section::Optional(name)))
        );
    }
    for name in [
        "",
        "a b",
        "a.b",
        "a.template",
        "../a",
        "é",
        " a",
        ".optional",
        "a.optional.optional",
    ] {
        let header = format!("buildsequencer_job.{name}");
        let error = section(header.as_bytes()).unwrap_err();
        assert!(error.contains("letters, digits"), "{name}: {error}");
    }
    for name in [
        "optional",
        "template.optional",
        "master.optional",
        "optional.optional",
    ] {
        let header = format!("buildsequencer_job.{name}");
        let error = section(header.as_bytes()).unwrap_err();
        assert!(error.contains("another meaning"), "{name}: {error}");
    }
    for name in ["template", "master"] {
        let header = format!("buildsequencer_job.{name}");
        assert_eq!(section(header.as_bytes()), Ok(Some(Section::Template)));
    }
    for other in [
        "buildsequencer_job",
        "buildsequencer_jobs.a",
        "Buildsequencer",
        "default",
        "META",
    ] {
        assert_eq!(section(other.as_bytes()), Ok(None), "{other}");
    }
}

#[test]
fn thousands_of_lines_keep_their_order() {
    let lines: String = (0..5_000).map(|n| format!("k{n}: {n}\n  more\n")).collect();
    for (n, (key, value)) in values(&lines).into_iter().enumerate() {
        assert_eq!((key, value), (format!("k{n}"), format!("{n}\nmore")));
    }
}

/// ConfigParser's walk over lines as its documentation and behaviour have it, for one section: what each key
/// gets, and which lines it refuses; plus what we refuse beyond that.
fn model(text: &str) -> (Vec<(String, String)>, Vec<usize>) {
    let space = |c: char| matches!(c, ' ' | '\t'..='\r');
    let mut ours = false;
    let mut open = false;
    let mut pairs: Vec<(String, Option<Vec<String>>)> = Vec::new();
    let mut refused = Vec::new();
    for (number, line) in (1..).zip(text.split('\n')) {
        let word = line.split(space).next().unwrap_or_default();
        if line.chars().all(space)
            || line.starts_with(['#', ';'])
            || word.eq_ignore_ascii_case("rem")
        {
            continue;
        }
        let name = line
            .strip_prefix('[')
            .and_then(|rest| rest.split_once(']'))
            .map(|(name, _)| name)
            .filter(|name| !name.is_empty());
        if let Some(name) = name {
            ours = name == "buildsequencer_job.a";
            open = false;
            continue;
        }
        if !ours {
            continue;
        }
        let bad = |piece: &str| piece.chars().any(|c| c.is_control() && c != '\t');
        if line.starts_with(space) {
            let piece = line.trim_matches(space);
            match pairs.last_mut().filter(|_| open) {
                None => refused.push(number),
                Some((_, value)) if bad(piece) => {
                    refused.push(number);
                    *value = None;
                }
                Some((_, value)) => value.iter_mut().for_each(|v| v.push(piece.into())),
            }
            continue;
        }
        open = true;
        let Some((key, value)) = line.split_once([':', '=']) else {
            refused.push(number);
            pairs.push((String::new(), None));
            continue;
        };
        let semicolon = value.find(';');
        let cut = semicolon.filter(|at| value[..*at].ends_with(space));
        let value = value[..cut.unwrap_or(value.len())].trim_matches(space);
        let key = key.trim_matches(space);
        if key.is_empty() || key.starts_with('[') || bad(key) || bad(value) {
            refused.push(number);
            pairs.push((String::new(), None));
            continue;
        }
        let value = if value == "\"\"" { "" } else { value };
        pairs.push((key.to_ascii_lowercase(), Some(vec![value.to_string()])));
    }
    let joined = |lines: Vec<String>| lines.join("\n").trim_matches(space).to_string();
    let pairs = pairs
        .into_iter()
        .filter_map(|(key, value)| value.map(|value| (key, joined(value))));
    (pairs.collect(), refused)
}

fn pieces() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "\n",
        "\n",
        "\n",
        " ",
        " ",
        "\t",
        "\r",
        "\u{b}",
        ":",
        ":",
        "=",
        ";",
        ";",
        "#",
        "rem",
        "[",
        "]",
        "[buildsequencer_job.a]",
        "[buildsequencer_job.a]\n",
        "[x]\n",
        "\"\"",
        "'",
        "\\",
        "%",
        "a",
        "Key",
        "key: ",
        "value",
        "é",
        "\u{a0}",
        "\u{2028}",
        "\u{1}",
        "\u{85}",
    ]);
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_text_is_read_as_the_model_has_it(text in pieces()) {
        let text = format!("[buildsequencer_job.a]\n{text}");
        let (entries, faults) = read(text.as_bytes());
        let pairs: Vec<_> = entries
            .into_iter()
            .filter_map(|e| e.value.map(|value| (e.key, value)))
            .collect();
        let refused: Vec<_> = faults.iter().map(|fault| fault.line).collect();
        let (expected, expected_refused) = model(&text);
        prop_assert_eq!(pairs, expected);
        prop_assert_eq!(refused, expected_refused);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let mut text = b"[buildsequencer_job.a]\n".to_vec();
        text.extend(&bytes);
        let (_, faults) = read(&text);
        between(&bytes, |_, _| {});
        for fault in faults {
            prop_assert!(!fault.message.contains(char::is_control), "{}", fault.message);
        }
    }

    #[test]
    fn a_value_that_may_stand_beside_its_key_is_read_as_it_is(
        value in "[ -~é]{1,12}".prop_map(|text| text.trim().to_string())
    ) {
        let beside = values(&format!("key: {value}"))[0].1 == value;
        prop_assert_eq!(stands_beside_key(&value), beside);
        if !value.is_empty() {
            prop_assert_eq!(&values(&format!("key:\n    {value}"))[0].1, &value);
        }
    }
}
