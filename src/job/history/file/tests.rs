//! The history file's text, whole, torn and damaged.

use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;

use super::*;
use crate::job::outcome::{Cause, Outcome};

type Known = Vec<(String, Run)>;

fn parsed(text: &[u8]) -> (Known, Option<String>) {
    let mut runs = Known::new();
    let warning = read(text, &mut |job, run| runs.push((job.to_string(), run)));
    (runs, warning)
}

fn run(began: u64, took: u64, late: u64, cause: Cause, code: i32) -> Run {
    let began = Stamp::at(UNIX_EPOCH + Duration::from_nanos(began));
    let (took, late) = (Duration::from_nanos(took), Duration::from_millis(late));
    Run::new(began, took, late, Brief::of(&Outcome { code, cause }))
}

/// Three runs, the last of which ended badly.
fn three() -> (History, &'static str) {
    let mut history = History::new(2);
    let exit = |began, code| run(began, 1_250_000_000, 300, Cause::Exited, code);
    history.add(Some(0), "slave_scanner", exit(1_795_476_997_000_000_001, 0));
    history.add(Some(1), "queue-builder", exit(1_795_477_000_000_000_000, 3));
    let forced = Cause::Shutdown { forced: true };
    history.add(
        None,
        "gone",
        run(1_795_477_009_000_000_000, 0, 0, forced, 137),
    );
    let text = "\
buildd-sequencer history 1
run slave_scanner 1795476997000000001 1250000000 300 exited 0 .
run queue-builder 1795477000000000000 1250000000 300 exited 3 .
run gone 1795477009000000000 0 0 forced 137 .
";
    (history, text)
}

#[test]
fn a_run_is_a_line() {
    let (history, text) = three();
    assert_eq!(write(&history), text);
    assert_eq!(write(&History::new(1)), HEADER);
}

/// Whatever was written when the power failed or the disk was full, and whether or not somebody wrote on behind it.
#[test]
fn torn_at_any_byte_only_the_unfinished_line_is_lost_and_nothing_is_said() {
    let (_, text) = three();
    let (all, _) = parsed(text.as_bytes());
    assert_eq!(all.len(), 3);
    for end in 0..=text.len() {
        let whole = text[..end].matches('\n').count().saturating_sub(1);
        let (runs, warning) = parsed(&text.as_bytes()[..end]);
        assert_eq!(
            (&*runs, warning),
            (&all[..whole], None),
            "{:?}",
            &text[..end]
        );
        if end < HEADER.len() {
            continue;
        }
        let more = format!("{}\nrun later 5 6 7 timeout 143 .\n", &text[..end]);
        let (runs, warning) = parsed(more.as_bytes());
        // The line feed may be all that was missing.
        let whole = whole + usize::from(text[..end].ends_with(" ."));
        assert_eq!((&runs[..whole], warning), (&all[..whole], None), "{more:?}");
        assert_eq!(
            (runs.len(), &*runs[whole].0),
            (whole + 1, "later"),
            "{more:?}"
        );
    }
}

#[test]
fn what_a_later_version_adds_is_skipped() {
    let text = "\
buildd-sequencer history 1
busy 83 61
run a 5 6 7 timeout 143 and=more .
run b 8 9 10 killed 137 .
";
    let (runs, warning) = parsed(text.as_bytes());
    assert_eq!(warning, None);
    let names: Vec<&str> = runs.iter().map(|(job, _)| &**job).collect();
    assert_eq!(names, ["a", "b"]);
    assert_eq!(&*runs[0].1.outcome.word(), "timeout");
    assert_eq!(&*runs[1].1.outcome.word(), "killed");
}

#[test]
fn damaged_lines_are_told_of_once_and_the_others_are_known() {
    for damaged in [
        "run a 5 6 7 exit 0 .",
        "run a 5 6 7 exited .",
        "run a 5 6 -7 exited 0 .",
        "run a 5 6 4294967296 exited 0 .",
        "run a 5 6.0 7 exited 0 .",
        "run a 18446744073709551616 6 7 exited 0 .",
        "run  5 6 7 exited 0 .",
        "run a\u{1b}[31m 5 6 7 exited 0 .",
        "run a\0 5 6 7 exited 0 .",
        "\0\0\0\0\0",
    ] {
        let text = format!("{HEADER}run b 8 9 10 exited 0 .\n{damaged}\nrun c 8 9 10 exited 0 .\n");
        let (runs, warning) = parsed(text.as_bytes());
        assert_eq!(runs.len(), 2, "{damaged}");
        let told = "line 3 cannot be read; the run that it tells of is not known";
        assert_eq!(warning.as_deref(), Some(told), "{damaged}");
    }
    let mut text = HEADER.as_bytes().to_vec();
    text.extend(b"run \xff 8 9 10 exited 0 .\n\n\0\n");
    let (runs, warning) = parsed(&text);
    assert_eq!(runs, []);
    assert!(warning.unwrap().contains("and 1 more such line"));
}

#[test]
fn another_file_is_not_taken_for_it() {
    for text in [
        "buildd-sequencer state 1\n",
        "buildd-sequencer history 2\nrun a 5 6 7 exited 0 .\n",
        "\0\0",
    ] {
        let (runs, warning) = parsed(text.as_bytes());
        assert_eq!(runs, []);
        assert_eq!(
            warning.as_deref(),
            Some("it is not a history file of this version")
        );
    }
    assert_eq!(
        parsed(b""),
        (Known::new(), None),
        "new, or lost in a power cut"
    );
}

fn causes() -> impl Strategy<Value = Cause> {
    prop_oneof![
        Just(Cause::Exited),
        Just(Cause::Killed(9)),
        Just(Cause::TimedOut(Duration::ZERO)),
        Just(Cause::NotStarted(String::new())),
        Just(Cause::Operator),
        any::<bool>().prop_map(|forced| Cause::Shutdown { forced }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read(
        runs in proptest::collection::vec(
            ("[A-Za-z0-9_-]{1,30}", any::<u64>(), any::<u64>(), any::<u32>(), causes(), any::<i32>()),
            0..20,
        ),
    ) {
        let mut text = HEADER.to_string();
        let mut known = Known::new();
        for (job, began, took, late, cause, code) in runs {
            let run = run(began, took, late.into(), cause, code);
            write_run(&mut text, &job, &run);
            known.push((job, run));
        }
        prop_assert_eq!(parsed(text.as_bytes()), (known, None));
    }

    #[test]
    fn any_bytes_can_be_read(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let behind = [HEADER.as_bytes(), &text].concat();
        let _ = (parsed(&text), parsed(&behind));
    }
}
