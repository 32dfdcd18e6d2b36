//! A file that is appended to, on disks of all kinds.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::Duration;

use super::*;

/// A file `f` in a directory of its own, and when it was made.
fn place() -> (tempfile::TempDir, Appended, Instant) {
    let directory = tempfile::tempdir().unwrap();
    let file = Appended::new(directory.path().join("f"), 0o600);
    (directory, file, Instant::now())
}

fn add(file: &mut Appended, line: &str, replace: bool, now: Instant) -> Result<(), NotWritten> {
    file.lines().push_str(line);
    file.write(&|| "whole\n".to_string(), replace, now)
}

fn text(file: &Appended) -> String {
    fs::read_to_string(file.path()).unwrap()
}

#[test]
fn it_is_replaced_first_and_then_appended_to_until_it_has_doubled() {
    let (_directory, mut file, now) = place();
    assert!(file.is_behind() && file.allows(now));
    add(&mut file, "lost\n", true, now).unwrap();
    assert_eq!(text(&file), "whole\n");
    let there = fs::metadata(file.path()).unwrap();
    assert_eq!(there.permissions().mode() & 0o7777, 0o600);
    add(&mut file, "one\n", false, now).unwrap();
    assert!(!file.is_behind() && !file.has_lines());
    let more = "2".repeat(2 * 4096 - 12) + "\n";
    add(&mut file, &more, false, now).unwrap();
    assert!(!file.is_behind(), "not doubled yet");
    add(&mut file, "3", false, now).unwrap();
    assert_eq!(text(&file), format!("whole\none\n{more}3"));
    assert_eq!(fs::metadata(file.path()).unwrap().ino(), there.ino());
    assert!(file.is_behind(), "it has doubled");
    assert!(!file.allows(now), "not twice within a second");
    let later = now + Duration::from_secs(60);
    assert!(file.allows(later));
    add(&mut file, "4\n", true, later).unwrap();
    assert_eq!(text(&file), "whole\n");
    assert!(!file.is_behind());
    // From then on it has to double once more, however large it is.
    let large = || "5".repeat(8000);
    file.write(&large, true, later).unwrap();
    file.lines().push_str(&"6".repeat(7999));
    file.write(&large, false, later).unwrap();
    assert!(!file.is_behind());
    add(&mut file, "7", false, later).unwrap();
    assert!(file.is_behind());
}

#[test]
fn what_somebody_has_done_to_it_is_noticed_and_made_good() {
    let (directory, mut file, now) = place();
    add(&mut file, "", true, now).unwrap();
    file.look();
    assert!(!file.is_behind());
    let path = directory.path().join("f");
    let other = directory.path().join("other");
    let deeds: [&dyn Fn(); 4] = [
        &|| fs::remove_file(&path).unwrap(),
        &|| {
            fs::write(&other, "whole\n").unwrap();
            fs::rename(&other, &path).unwrap();
        },
        &|| fs::write(&path, "").unwrap(),
        &|| fs::write(&path, "whole\nmore\n").unwrap(),
    ];
    for (n, deed) in deeds.iter().enumerate() {
        deed();
        file.look();
        assert!(file.is_behind(), "{n}");
        let later = now + Duration::from_secs(60 * (n as u64 + 1));
        add(&mut file, "", true, later).unwrap();
        file.look();
        assert!(!file.is_behind(), "{n}");
        assert_eq!(text(&file), "whole\n");
    }
}

#[test]
fn an_unfinished_line_stays_a_line_of_its_own() {
    let (_directory, mut file, now) = place();
    fs::write(file.path(), "one\ntw").unwrap();
    assert_eq!(file.open().unwrap(), b"one\ntw");
    add(&mut file, "three\n", false, now).unwrap();
    add(&mut file, "four\n", false, now).unwrap();
    assert_eq!(text(&file), "one\ntw\nthree\nfour\n");
}

#[test]
fn a_new_file_that_cannot_be_replaced_gets_everything_once() {
    let (_directory, mut file, now) = place();
    assert_eq!(file.open().unwrap(), b"");
    assert_eq!(fs::metadata(file.path()).unwrap().mode() & 0o077, 0);
    add(&mut file, "in the whole\n", false, now).unwrap();
    add(&mut file, "one\n", false, now).unwrap();
    assert_eq!(text(&file), "whole\none\n");
}

#[test]
fn a_file_that_holds_something_else_is_not_appended_to() {
    let (_directory, mut file, now) = place();
    fs::write(file.path(), "theirs\n").unwrap();
    file.open().unwrap();
    file.leave();
    add(&mut file, "one\n", false, now).unwrap();
    assert_eq!(text(&file), "theirs\n");
    assert!(file.is_behind(), "it is still to be replaced");
}

#[test]
fn a_failure_is_news_once_until_the_file_is_whole_again() {
    let (_directory, mut file, now) = place();
    fs::create_dir(file.path()).unwrap();
    assert!(file.open().is_err());
    let error = add(&mut file, "one\n", true, now).unwrap_err();
    assert!(error.is_news);
    assert_eq!(error.error.to_string(), "it is a directory");
    let later = now + Duration::from_secs(60);
    assert!(file.is_behind() && file.allows(later));
    add(&mut file, "two\n", false, now).unwrap();
    assert!(!add(&mut file, "", true, later).unwrap_err().is_news);
    fs::remove_dir(file.path()).unwrap();
    add(&mut file, "three\n", true, later).unwrap();
    assert_eq!(text(&file), "whole\n");
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    let much_later = later + Duration::from_secs(60);
    assert!(add(&mut file, "", true, much_later).unwrap_err().is_news);
}

#[test]
fn lines_that_a_full_disk_does_not_take_have_the_file_replaced() {
    let (_directory, mut file, now) = place();
    add(&mut file, "", true, now).unwrap();
    let Ok(full) = File::options().append(true).open("/dev/full") else {
        return;
    };
    file.file = Some(full);
    let error = add(&mut file, "one\n", false, now).unwrap_err();
    assert!(error.is_news);
    assert_eq!(error.error.to_string(), "No space left on device");
    assert!(file.is_behind() && !file.has_lines());
    assert!(!add(&mut file, "two\n", false, now).unwrap_err().is_news);
    let later = now + Duration::from_secs(60);
    add(&mut file, "three\n", true, later).unwrap();
    assert_eq!(text(&file), "whole\n");
    add(&mut file, "four\n", false, later).unwrap();
    assert_eq!(text(&file), "whole\nfour\n");
}

#[test]
fn what_is_no_regular_file_is_not_opened() {
    let (directory, mut file, _) = place();
    let elsewhere = directory.path().join("elsewhere");
    std::os::unix::fs::symlink(&elsewhere, file.path()).unwrap();
    assert!(file.open().is_err());
    assert!(!elsewhere.exists(), "nothing is made through a link");
    fs::remove_file(file.path()).unwrap();
    nix::unistd::mkfifo(file.path(), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(file.open().is_err());
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    assert!(file.open().is_err());
}
