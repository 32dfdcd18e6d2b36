//! The log by itself: its lines, rotation, and what it does when nobody takes the lines.

use super::*;
use std::time::UNIX_EPOCH;

const STAMP: &str = "2026-11-23T23:36:37+0000 [-] ";

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_476_997)
}

fn log_in(directory: &Path, size: u64, keep: u32) -> Log {
    let path = directory.join("log");
    Log::open(Some(&path), Rotation { size, keep }, None).unwrap()
}

fn write(log: &mut Log, message: &str) {
    log.add(wall(), Level::Info, message.as_bytes());
    log.flush(Instant::now(), wall());
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

// As original/two-jobs.log has it for `Job output was:\n<output>\n`.
#[test]
fn further_lines_of_a_message_begin_with_a_tab() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = log_in(directory.path(), 0, 0);
    write(&mut log, "Job output was:\nscanned\n\n1 idle\n\n");
    assert_eq!(
        text(directory.path().join("log")),
        format!("{STAMP}Job output was:\n\tscanned\n\t\n\t1 idle\n\t\n\t\n")
    );
}

#[test]
fn a_file_past_its_size_is_rotated_and_only_so_many_stay() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = log_in(directory.path(), 10, 2);
    for message in ["one", "two", "three", "four"] {
        write(&mut log, message);
    }
    let path = directory.path().join("log");
    assert_eq!(text(&path), format!("{STAMP}four\n"));
    assert_eq!(text(path.with_extension("1")), format!("{STAMP}three\n"));
    assert_eq!(text(path.with_extension("2")), format!("{STAMP}two\n"));
    assert!(!path.with_extension("3").exists());
}

#[test]
fn with_nothing_set_all_rotated_files_stay_and_strangers_are_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    for stranger in ["log.gz", "log.01", "log.1.gz", "log.-3"] {
        fs::write(directory.path().join(stranger), stranger).unwrap();
    }
    let mut log = log_in(directory.path(), 0, 0);
    for message in ["one", "two", "three"] {
        write(&mut log, message);
        assert_eq!(log.rotate_or_reopen(), Ok(true));
    }
    assert_eq!(text(path.with_extension("3")), format!("{STAMP}one\n"));
    assert_eq!(text(path.with_extension("1")), format!("{STAMP}three\n"));
    assert_eq!(text(directory.path().join("log.01")), "log.01");
    assert_eq!(text(directory.path().join("log.1.gz")), "log.1.gz");
}

#[test]
fn a_log_that_somebody_moved_is_only_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = log_in(directory.path(), 0, 0);
    write(&mut log, "one");
    fs::rename(&path, directory.path().join("moved")).unwrap();
    write(&mut log, "two");
    assert_eq!(log.rotate_or_reopen(), Ok(true));
    write(&mut log, "three");
    assert_eq!(
        text(directory.path().join("moved")),
        format!("{STAMP}one\n{STAMP}two\n")
    );
    assert_eq!(text(&path), format!("{STAMP}three\n"));
    assert!(!path.with_extension("1").exists());
}

#[test]
fn a_file_that_was_cut_is_not_rotated_before_it_has_grown_again() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let line = STAMP.len() as u64 + 4;
    let mut log = log_in(directory.path(), 2 * line, 0);
    write(&mut log, "one");
    write(&mut log, "two");
    File::options()
        .write(true)
        .open(&path)
        .unwrap()
        .set_len(0)
        .unwrap();
    for message in ["3rd", "4th", "5th"] {
        write(&mut log, message);
    }
    assert_eq!(text(&path), format!("{STAMP}5th\n"));
    assert_eq!(
        text(path.with_extension("1")),
        format!("{STAMP}3rd\n{STAMP}4th\n")
    );
}

#[test]
fn a_grown_file_that_somebody_moved_is_only_opened_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = log_in(directory.path(), 10, 0);
    write(&mut log, "one");
    fs::rename(&path, directory.path().join("moved")).unwrap();
    write(&mut log, "two");
    assert_eq!(text(&path), format!("{STAMP}two\n"));
    assert!(!path.with_extension("1").exists());
}

#[test]
fn a_grown_file_that_cannot_be_rotated_says_so_once_per_size() {
    let directory = tempfile::tempdir().unwrap();
    // The longest name that there is (NAME_MAX) leaves no room for a number.
    let path = directory.path().join("l".repeat(255));
    let rotation = Rotation { size: 700, keep: 1 };
    let mut log = Log::open(Some(&path), rotation, None).unwrap();
    for _ in 0..60 {
        write(&mut log, "x");
    }
    let log = text(&path);
    assert_eq!(log.matches("] x\n").count(), 60);
    let refusals = log.matches("cannot rename log").count() as u64;
    assert!((2..=log.len() as u64 / 700).contains(&refusals), "{log}");
    assert!(log.contains("; writing on to the same file\n"), "{log}");
}

#[test]
fn a_directory_that_is_gone_is_reported_and_the_old_file_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let inner = directory.path().join("inner");
    fs::create_dir(&inner).unwrap();
    let mut log = log_in(&inner, 0, 0);
    fs::remove_dir_all(&inner).unwrap();
    let error = log.rotate_or_reopen().unwrap_err();
    assert!(
        error.contains("No such file or directory; writing on to the old file"),
        "{error}"
    );
    write(&mut log, "still alive");
    assert_eq!(log.stuck_since(), None);
}

#[test]
fn a_full_disk_holds_lines_back_and_counts_the_dropped_ones() {
    let rotation = Rotation { size: 0, keep: 0 };
    let Ok(mut log) = Log::open(Some(Path::new("/dev/full")), rotation, None) else {
        return;
    };
    let line = "x".repeat(1000);
    let t0 = Instant::now();
    for _ in 0..2000 {
        log.add(wall(), Level::Info, line.as_bytes());
    }
    log.flush(t0, wall());
    assert_eq!(log.stuck_since(), Some(t0));
    assert_eq!(log.deadline(), Some(t0 + RETRY));
    let kept = MOST_WAITING.div_ceil(STAMP.len() + line.len() + 1);
    assert_eq!(log.lines_dropped(), 2000 - kept as u64);
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    log.sink = Sink::File(LogFile::open(&path, rotation, None).unwrap());
    log.flush(t0 + RETRY, wall());
    assert_eq!(log.stuck_since(), None);
    let text = text(&path);
    assert_eq!(text.lines().count(), kept + 1);
    assert!(text.ends_with(&format!(
        "{STAMP}{} log lines were dropped here because the log could not be written\n",
        2000 - kept
    )));
}
