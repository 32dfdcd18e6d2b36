//! The log by itself: its lines, rotation, and what it does when nobody takes the lines.

use super::*;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::time::UNIX_EPOCH;

use nix::fcntl::OFlag;
use nix::sys::stat::{Mode, SFlag, mknod};
use nix::unistd::{mkfifo, pipe2};

const STAMP: &str = "2026-11-23T23:36:37+0000 [-] ";

fn wall() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_795_476_997)
}

fn log_in(directory: &Path, size: u64, keep: u32) -> Log {
    let path = directory.join("log");
    Log::open(Some(&path), Rotation { size, keep }, None).unwrap()
}

fn info(text: &str) -> Own<'_> {
    Own::File(Level::Info, text)
}

fn write(log: &mut Log, message: &str) {
    log.add(wall(), &info(message));
    log.flush(Instant::now(), wall());
}

fn text(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}

// The original's log has this form for `Job output was:\n<output>\n`.
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

/// Room for a large message is made once. Doubling would take up to twice as much as it needs.
#[test]
fn a_large_message_takes_no_more_memory_than_its_lines_need() {
    let directory = tempfile::tempdir().unwrap();
    // Each of these becomes two bytes, or five.
    let message = "\n".repeat(1_200_000);
    for journal in [false, true] {
        let mut log = log_in(directory.path(), 0, 0);
        log.journal = journal;
        log.append(wall(), &info(&message));
        let bytes = log.waiting.end();
        let most = bytes.len() / 4 * 5 + 2 * BATCH;
        assert!(bytes.capacity() <= most, "{} of {most}", bytes.capacity());
    }
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
        assert_eq!(
            log.rotate_or_reopen(Instant::now(), SystemTime::now()),
            Ok(true)
        );
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
    assert_eq!(
        log.rotate_or_reopen(Instant::now(), SystemTime::now()),
        Ok(true)
    );
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
    let error = log
        .rotate_or_reopen(Instant::now(), SystemTime::now())
        .unwrap_err();
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
    let mut log = Log::open(Some(Path::new("/dev/full")), rotation, None).unwrap();
    let line = "x".repeat(1000);
    let t0 = Instant::now();
    for _ in 0..2000 {
        log.add(wall(), &info(&line));
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

#[test]
fn one_line_that_was_dropped_is_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let mut log = log_in(directory.path(), 0, 0);
    for (dropped, said) in [(1, "1 log line was"), (2, "2 log lines were")] {
        log.dropped = dropped;
        log.add_dropped_notice(wall());
        log.flush(Instant::now(), wall());
        let text = text(directory.path().join("log"));
        let line = format!("{STAMP}{said} dropped here because the log could not be written\n");
        assert!(text.ends_with(&line), "{text}");
    }
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

type Make = fn(&Path);

/// Things that can have an old log's name, and how to make each at a path.
fn things() -> [(&'static str, Make); 4] {
    [
        ("a directory", |path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("precious"), "precious").unwrap();
        }),
        ("a named pipe", |path| mkfifo(path, Mode::S_IRWXU).unwrap()),
        ("a socket", |path| {
            // As bind(2) makes one, but for its limit to a name's length.
            mknod(path, SFlag::S_IFSOCK, Mode::S_IRWXU, 0).unwrap();
        }),
        ("a symbolic link", |path| symlink("precious", path).unwrap()),
    ]
}

#[test]
fn what_is_in_an_old_logs_place_stays_and_rotation_goes_around_it() {
    for (what, make) in things() {
        for place in 1..=3 {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("log");
            fs::write(directory.path().join("precious"), "precious").unwrap();
            let thing = path.with_extension(place.to_string());
            make(&thing);
            let before = inode(&thing);
            let mut log = log_in(directory.path(), 0, 3);
            for message in ["one", "two", "three", "four", "five", "six"] {
                write(&mut log, message);
                assert_eq!(
                    log.rotate_or_reopen(Instant::now(), SystemTime::now()),
                    Ok(true),
                    "{what}"
                );
            }
            assert_eq!(inode(&thing), before);
            assert_eq!(text(directory.path().join("precious")), "precious");
            // As many as are to be kept, in order.
            let old = (1..9).filter(|&number| number != place);
            let old = old.map(|number| path.with_extension(number.to_string()));
            let old: Vec<String> = old.filter(|path| path.exists()).map(text).collect();
            assert_eq!(old.len(), 3, "{what} at {place}: {old:?}");
            for (text, message) in old.iter().zip(["six", "five", "four"]) {
                assert!(text.ends_with(&format!("] {message}\n")), "{old:?}");
            }
            write(&mut log, "end");
            let told = format!(
                "'{}' is {what}, no old log; it stays, and rotation goes around it\n",
                thing.display()
            );
            // The line that told of it has been rotated away by now, and is not repeated.
            assert!(!old.concat().contains(&told) && !text(&path).contains(&told));
        }
    }
}

#[test]
fn what_is_in_the_way_is_told_once_and_again_when_it_has_been_away() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = log_in(directory.path(), 0, 0);
    let mut times = |there: &[u32]| {
        for &number in there {
            fs::create_dir(path.with_extension(number.to_string())).unwrap();
        }
        for _ in 0..3 {
            assert_eq!(
                log.rotate_or_reopen(Instant::now(), SystemTime::now()),
                Ok(true)
            );
            write(&mut log, "x");
        }
        for &number in there {
            fs::remove_dir(path.with_extension(number.to_string())).unwrap();
        }
        let old = fs::read_dir(directory.path()).unwrap();
        let all: String = old.map(|entry| text(entry.unwrap().path())).collect();
        (
            all.matches("is a directory, no old log").count(),
            all.matches("more in the way").count(),
        )
    };
    assert_eq!(times(&[1]), (1, 0));
    assert_eq!(times(&[]), (1, 0));
    assert_eq!(times(&[20, 21, 22, 23, 24]), (1 + 3, 1));
}

#[test]
fn only_what_has_to_make_room_is_renamed() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    for number in ["1", "2", "4", "7"] {
        fs::write(path.with_extension(number), number).unwrap();
    }
    let mut log = log_in(directory.path(), 0, 5);
    write(&mut log, "log");
    assert_eq!(
        log.rotate_or_reopen(Instant::now(), SystemTime::now()),
        Ok(true)
    );
    let found = (1..9).filter_map(|n| fs::read_to_string(path.with_extension(n.to_string())).ok());
    let found: Vec<String> = found.collect();
    assert_eq!(found, [&format!("{STAMP}log\n"), "1", "2", "4"]);
    assert!(path.with_extension("4").exists() && !path.with_extension("7").exists());
}

#[test]
fn the_new_file_has_the_mode_of_the_old_one() {
    for bits in [0o600, 0o640, 0o644, 0o666, 0o604] {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut log = log_in(directory.path(), 10, 0);
        fs::set_permissions(&path, fs::Permissions::from_mode(bits)).unwrap();
        write(&mut log, "one");
        write(&mut log, "by size");
        assert_eq!((mode(&path), mode(&path.with_extension("1"))), (bits, bits));
        assert_eq!(
            log.rotate_or_reopen(Instant::now(), SystemTime::now()),
            Ok(true)
        );
        assert_eq!((mode(&path), mode(&path.with_extension("1"))), (bits, bits));
        // Somebody has moved the log and made no other.
        fs::rename(&path, directory.path().join("moved")).unwrap();
        assert_eq!(
            log.rotate_or_reopen(Instant::now(), SystemTime::now()),
            Ok(true)
        );
        assert_eq!(mode(&path), bits);
        // Somebody has moved the log and made another.
        fs::rename(&path, directory.path().join("moved")).unwrap();
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o620)).unwrap();
        assert_eq!(
            log.rotate_or_reopen(Instant::now(), SystemTime::now()),
            Ok(true)
        );
        write(&mut log, "end");
        assert_eq!(mode(&path), 0o620);
        assert_eq!(text(&path), format!("{STAMP}end\n"));
    }
}

#[test]
fn a_log_that_is_a_link_is_rotated_where_it_leads() {
    let directory = tempfile::tempdir().unwrap();
    let (path, inner) = (directory.path().join("log"), directory.path().join("inner"));
    fs::create_dir(&inner).unwrap();
    symlink("inner/other", &path).unwrap();
    let mut log = log_in(directory.path(), 0, 0);
    write(&mut log, "one");
    assert_eq!(
        log.rotate_or_reopen(Instant::now(), SystemTime::now()),
        Ok(true)
    );
    write(&mut log, "two");
    assert_eq!(text(inner.join("other.1")), format!("{STAMP}one\n"));
    assert_eq!(text(inner.join("other")), format!("{STAMP}two\n"));
    assert!(path.is_symlink() && !path.with_extension("1").exists());
    // The link may lead elsewhere by then.
    fs::remove_file(&path).unwrap();
    symlink("inner/next", &path).unwrap();
    assert_eq!(
        log.rotate_or_reopen(Instant::now(), SystemTime::now()),
        Ok(true)
    );
    write(&mut log, "three");
    assert_eq!(text(inner.join("next")), format!("{STAMP}three\n"));
    assert!(!inner.join("other.2").exists());
}

#[test]
fn what_cannot_be_a_log_is_refused_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let rotation = Rotation { size: 0, keep: 0 };
    for (what, make) in &things()[1..3] {
        make(&path);
        let error = Log::open(Some(&path), rotation, None).unwrap_err();
        let expected = format!("it is {what}; a log is a regular file or a terminal");
        assert_eq!(error.to_string(), expected);
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn links_to_our_own_standard_output_are_standard_output() {
    let directory = tempfile::tempdir().unwrap();
    let link = |name: &str, target: &str| {
        let path = directory.path().join(name);
        symlink(target, &path).unwrap();
        path
    };
    let of_process = format!("/proc/{}/fd/1", std::process::id());
    for target in ["/proc/self/fd/1", "/dev/stdout", "/dev/fd/1", &of_process] {
        let path = link(&format!("to-{}", target.replace('/', "-")), target);
        let again = link(
            &format!("again-{}", target.replace('/', "-")),
            path.to_str().unwrap(),
        );
        assert!(
            leads_to_stdout(&path) && leads_to_stdout(&again),
            "{target}"
        );
        let rotation = Rotation { size: 1, keep: 1 };
        let mut log = Log::open(Some(&again), rotation, None).unwrap();
        assert_eq!(log.path(), Some(&*again));
        assert_eq!(
            log.rotate_or_reopen(Instant::now(), SystemTime::now()),
            Ok(false)
        );
    }
    for target in [
        "/proc/self/fd/2",
        "/dev/stderr",
        "/proc/1/fd/1",
        "loop",
        "nowhere",
    ] {
        let path = link(target.rsplit('/').next().unwrap(), target);
        assert!(!leads_to_stdout(&path), "{target}");
        fs::remove_file(path).unwrap();
    }
}

/// A log on a full pipe, and the end that a test reads.
fn on_a_pipe() -> (Log, File) {
    let (theirs, ours) = pipe2(OFlag::O_NONBLOCK | OFlag::O_CLOEXEC).unwrap();
    (
        Log::new(Sink::Own(File::from(ours)), false),
        File::from(theirs),
    )
}

fn all_of(pipe: &mut File) -> String {
    let mut bytes = Vec::new();
    let end = pipe.read_to_end(&mut bytes).unwrap_err();
    assert_eq!(end.kind(), io::ErrorKind::WouldBlock);
    String::from_utf8(bytes).unwrap()
}

#[test]
fn what_is_said_first_comes_before_what_is_held_and_no_more_of_it_than_the_log_takes() {
    let (mut log, mut pipe) = on_a_pipe();
    log.add(wall(), &info("begin"));
    log.hold();
    let later = wall() + Duration::from_secs(60);
    log.add(later, &info("said meanwhile"));
    let (mut said, mut read) = (0, String::new());
    while said < 5000 {
        while said < 5000 && log.takes_more_first() {
            said += 1;
            log.tell_first(wall(), &info(&format!("line {said}")));
        }
        assert!(log.waiting.len() < 2 * BATCH, "{}", log.waiting.len());
        read += &all_of(&mut pipe);
        log.flush_ready(Instant::now(), wall());
    }
    assert!(!log.is_written());
    log.release();
    log.flush_ready(Instant::now(), wall());
    read += &all_of(&mut pipe);
    log.flush_ready(Instant::now(), wall());
    read += &all_of(&mut pipe);
    assert!(log.is_written());
    let lines = (1..=5000).map(|line| format!("{STAMP}line {line}\n"));
    let lines: String = lines.collect();
    let last = STAMP.replace("23:36:37", "23:37:37");
    assert_eq!(read, format!("{STAMP}begin\n{lines}{last}said meanwhile\n"));
}

#[test]
fn what_is_held_is_bounded_as_all_that_waits() {
    let (mut log, mut pipe) = on_a_pipe();
    log.hold();
    for _ in 0..3000 {
        log.add(wall(), &info(&"x".repeat(1000)));
    }
    assert!(!log.takes_more());
    assert!(log.takes_more_first());
    // Told once, when it is the turn of what was held.
    for _ in 0..3 {
        log.flush(Instant::now(), wall());
        log.add(wall(), &info("dropped as well"));
    }
    log.tell_first(wall(), &info("first"));
    log.release();
    let mut read = String::new();
    while !log.is_written() {
        log.flush_ready(Instant::now(), wall());
        read += &all_of(&mut pipe);
    }
    let there = read.matches("x\n").count();
    let lines: Vec<&str> = read.lines().collect();
    assert!(there > 1000 && there < 1100, "{there}");
    assert_eq!(lines[0], format!("{STAMP}first"));
    assert_eq!(read.matches("were dropped here").count(), 1);
    let notice = format!("] {} log lines were dropped here", 3003 - there);
    assert!(lines[there + 1].contains(&notice), "{}", lines[there + 1]);
    assert_eq!(log.lines_dropped(), 3003 - there as u64);
}

#[test]
fn a_log_that_moves_takes_what_waits_along_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (mut log, _pipe) = on_a_pipe();
    let long = "x".repeat(100_000);
    log.add(wall(), &info(&long));
    log.flush(Instant::now(), wall());
    assert!(log.stuck_since().is_some());
    log.hold();
    log.add(wall(), &info("held"));
    log.move_to(Some(&path)).unwrap();
    log.release();
    log.flush(Instant::now(), wall());
    assert_eq!(text(&path), format!("{STAMP}{long}\n{STAMP}held\n"));
    // It does not move to a path that cannot be opened.
    let error = log.move_to(Some(Path::new("/no/such/log"))).unwrap_err();
    assert!(error.ends_with("No such file or directory; the log stays where it is"));
    assert_eq!(log.path(), Some(&*path));
}

#[test]
fn lines_that_move_out_of_the_journal_lose_their_priorities() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (mut log, _pipe) = on_a_pipe();
    log.journal = true;
    log.add(wall(), &Own::File(Level::Error, "one\ntwo"));
    log.hold();
    log.add(wall(), &Own::File(Level::Warning, "held"));
    log.move_to(Some(&path)).unwrap();
    log.release();
    write(&mut log, "three");
    let expected = format!("{STAMP}one\n\ttwo\n{STAMP}held\n{STAMP}three\n");
    assert_eq!(text(&path), expected);
}

#[test]
fn a_line_that_a_file_has_taken_in_part_goes_on_there_before_it_is_rotated() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let mut log = log_in(directory.path(), 10, 0);
    write(&mut log, "one");
    log.waiting.end().extend_from_slice(b"(two)\n");
    log.waiting.wrote(1);
    log.flush(Instant::now(), wall());
    assert_eq!(text(&path), format!("{STAMP}one\ntwo)\n"));
    write(&mut log, "three");
    assert_eq!(text(&path), format!("{STAMP}three\n"));
}

#[test]
fn objects_that_move_into_the_journal_and_out_of_it_stay_whole() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("log");
    let (mut log, _pipe) = on_a_pipe();
    log.format = Format::Json;
    log.add(wall(), &Own::File(Level::Error, "one\ntwo"));
    log.waiting.remake(journal::put_on);
    log.journal = true;
    log.add(wall(), &Own::File(Level::Error, "three\0"));
    log.move_to(Some(&path)).unwrap();
    log.flush(Instant::now(), wall());
    let object = |message: &str| {
        format!(
            "{{\"time\": \"2026-11-23T23:36:37.000Z\", \"level\": \"error\", \"event\": \"log\", \
             \"message\": \"{message}\"}}\n"
        )
    };
    let expected = [object("one"), object("two"), object("three\\u0000")];
    assert_eq!(text(&path), expected.concat());
}

#[test]
fn dropped_objects_are_counted_and_told_of_by_one() {
    let (mut log, mut pipe) = on_a_pipe();
    log.format = Format::Json;
    let two_lines = format!("{}\n{}", "x".repeat(2000), "y".repeat(2000));
    for _ in 0..1000 {
        log.add(wall(), &info(&two_lines));
    }
    let mut read = String::new();
    while !log.is_written() {
        log.flush_ready(Instant::now(), wall());
        read += &all_of(&mut pipe);
    }
    let lines: Vec<serde_json::Value> = read
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let (last, kept) = lines.split_last().unwrap();
    assert_eq!(
        (&last["event"], &last["level"]),
        (&"dropped".into(), &"error".into())
    );
    assert_eq!(last["lines"].as_u64(), Some(2000 - kept.len() as u64));
    assert_eq!(log.lines_dropped(), 2000 - kept.len() as u64);
}

/// What only has a level, and cannot be put into words.
struct Unspeakable(Level, Rank);

impl std::fmt::Display for Unspeakable {
    fn fmt(&self, _: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        panic!("it was put into words")
    }
}

impl Message for Unspeakable {
    fn head(&self) -> (&'static str, Level) {
        ("unspeakable", self.0)
    }

    fn rank(&self) -> Rank {
        self.1
    }

    fn fields(&self, _: &mut crate::json::Object<'_>) {}
}

#[test]
fn what_is_not_logged_is_not_put_into_words() {
    let (mut log, mut pipe) = on_a_pipe();
    for format in [Format::Twistd, Format::Json] {
        log.format = format;
        log.level = Level::Error;
        log.spew = true;
        log.tell(&Unspeakable(Level::Warning, Rank::ByLevel));
        log.tell_first(wall(), &Unspeakable(Level::Info, Rank::Decision));
        log.level = Level::Info;
        log.spew = false;
        log.tell(&Unspeakable(Level::Error, Rank::Decision));
    }
    log.flush(Instant::now(), wall());
    assert_eq!(all_of(&mut pipe), "");
}
