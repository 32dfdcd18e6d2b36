//! Any names and any output in a report: the headers are the sixteen that there should be, whatever the names hold,
//! every line can travel, and the body arrives with no byte changed, by a decoder written apart (RFC 2045, 6.7).

#![no_main]

use std::rc::Rc;
use std::time::{Duration, SystemTime};

use buildd_sequencer::job::outcome::{Cause, Outcome};
use buildd_sequencer::mail::quoted_printable::{encode_chunk, needed};
use buildd_sequencer::mail::report::{Failed, Message, Origin, Report, Run, Waiting};
use libfuzzer_sys::fuzz_target;

fn decoded(encoded: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = encoded;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        match (byte, rest) {
            (b'=', [b'\n', after @ ..]) => rest = after,
            (b'=', [high, low, after @ ..]) => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).unwrap();
                assert!(!digits.contains(char::is_lowercase));
                out.push(u8::from_str_radix(digits, 16).unwrap());
                rest = after;
            }
            (b'=', _) => panic!("a lone ="),
            _ => out.push(byte),
        }
    }
    out
}

/// The encoded form, however it is asked for.
fn encoded(raw: &[u8], want: usize) -> Vec<u8> {
    let (mut out, mut pos) = (Vec::new(), 0);
    while pos < raw.len() {
        let before = out.len();
        pos = encode_chunk(raw, pos, &mut out, want);
        assert!(out.len() - before < want.saturating_add(80));
    }
    out
}

fn check_encoding(raw: &[u8], want: usize) {
    let text = encoded(raw, want);
    assert_eq!(text, encoded(raw, usize::MAX), "in pieces or at once");
    assert_eq!(decoded(&text), raw);
    for line in text.split(|&byte| byte == b'\n') {
        assert!(line.len() <= 76);
        assert!(!line.starts_with(b"From ") && line != b".");
        assert!(line.iter().all(|&byte| matches!(byte, b' '..=b'~' | b'\t')));
        assert!(!line.ends_with(b" ") && !line.ends_with(b"\t"));
    }
}

fuzz_target!(|input: (u16, bool, [String; 5], Vec<u8>, Vec<u8>)| {
    let (number, failed, [job, command, from, host, to], stdout, stderr) = input;
    check_encoding(&stdout, usize::from(number) + 1);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_476_997);
    let origin = Origin {
        from: &from,
        host: &host,
        name: None,
        pid: 312,
        number: 7,
        now,
    };
    let run = Run {
        job: &job,
        command: &command,
        started: now,
        took: Duration::from_millis(number.into()),
    };
    let report = if failed {
        let outcome = Outcome {
            code: 126,
            cause: Cause::NotStarted(host.clone()),
        };
        let failed = Failed {
            outcome: &outcome,
            repeat: None,
            stdout: stdout.clone().into(),
            stderr: stderr.clone().into(),
        };
        Report::failure(&run, failed, &origin)
    } else {
        let waiting = Waiting {
            all: host.clone(),
            first: vec![(host.clone(), run.took)],
            more: usize::from(number),
        };
        Report::stuck(&run, Duration::from_secs(1), 1, &waiting, &origin)
    };
    let report = Rc::new(report);
    let body = report.body().to_vec();
    if failed {
        let end = [b"\n\nStandard Output:\n\n".as_slice(), &stdout, b"\n"].concat();
        assert!(body.ends_with(&end));
        let errors = [b"\nStandard Error:\n\n".as_slice(), &stderr, &end].concat();
        assert!(body.ends_with(&errors));
    }
    let mut message = Message::new(Rc::clone(&report), &to, 1);
    let mut text = Vec::new();
    while message.fill(&mut text, usize::from(number)) {}
    let at = text.windows(2).position(|two| two == b"\n\n").unwrap();
    let head = std::str::from_utf8(&text[..at]).unwrap();
    assert_eq!(head.lines().count(), 16, "{head}");
    for line in head.split('\n') {
        assert!(
            !line.contains(char::is_control) && line.len() <= 998,
            "{line}"
        );
        assert!(line.contains(": "), "{line}");
    }
    let quoted = head.ends_with("Content-Transfer-Encoding: quoted-printable");
    assert_eq!(quoted, needed(&body));
    let arrived = &text[at + 2..];
    if quoted {
        assert_eq!(decoded(arrived), body);
    } else {
        assert_eq!(arrived, body);
    }
});
